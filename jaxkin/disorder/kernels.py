"""Disorder: anything that scatters, and the kind that is given by kernels of two states."""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Self

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxkin.brief import brief, constructed
from jaxkin.checks import check_kind, check_positive
from jaxkin.disorder.collisions import Collisions, SummedCollisions
from jaxkin.disorder.pairwise import PairwiseCollisions
from jaxkin.disorder.states import ShellStates, State, States
from jaxkin.disorder.two_impurities import TwoImpurityScattering
from jaxkin.errors import JaxkinError, in_one_line
from jaxkin.namespace import AnyArray, leaf
from jaxkin.surface.surface import Shell, Surface

Kernel = Callable[[State, State], Array]


class Scatterer(eqx.Module):
    """Disorder on one surface: a pytree that makes the collisions of each of its shells."""

    @property
    @abc.abstractmethod
    def bloch(self) -> bool:
        """Whether it needs |u⟩ and |D_a u⟩."""

    @property
    @abc.abstractmethod
    def pairs(self) -> bool:
        """Whether it makes matrices of all pairs of points, which need weights that are not negative."""

    @abc.abstractmethod
    def __call__(self, states: States) -> Collisions:
        """The collision operator of one shell."""

    @property
    def rate_only(self) -> bool:
        """Whether a rate is all that is known, so that beside others nothing is made by two impurities."""
        return False

    @property
    def orbitals(self) -> tuple[int, ...]:
        """Those on which :meth:`two_impurities` needs the reduced resolvents of the states."""
        return ()

    def completed(self, surface: Surface) -> Scatterer:
        """With all that :meth:`two_impurities` needs of the surface it is on."""
        del surface
        return self

    def two_impurities(self, states: States) -> TwoImpurityScattering | None:
        """Scattering of the order n², where the potential that makes it and what it needs of the states are known."""
        del states
        return None

    def side_jump_of(self, states: States) -> Array | None:
        """What the operators that the states' derivatives belong to gain by scattering, (M, 3), where that is known.

        It is v_sj, Eq. (68), with |D_a u⟩ = Σ_m |m⟩⟨m|O_a|u⟩/(ε − ε_m) in place of the derivative along k, without the
        change of T itself, which a :attr:`weak` potential does not have.
        """
        del states
        return None

    @property
    def weak(self) -> bool:
        """Whether T is the potential itself, whatever the bands are."""
        return True

    def scattering(self, states: States) -> tuple[Collisions, TwoImpurityScattering | None]:
        """Of one impurity and of two; what both are made from is made once."""
        return self(states), self.two_impurities(states)

    def at(self, level: AnyArray) -> Scatterer:
        """With what it knows of other energies (eV) left out."""
        del level
        return self


class Disorder(eqx.Module):
    """Base of everything that scatters; ``a + b`` is a sample that holds both: docs/impurities.md."""

    def resolved(self, surface: Surface) -> Disorder:
        """This, or what does the same on this surface and goes together with others of its kind."""
        del surface
        return self

    @abc.abstractmethod
    def on(self, surface: Surface) -> Scatterer:
        """Do what is needed once for a surface; what takes decisions takes them on the surface that was sampled."""

    @classmethod
    def together(cls, parts: Sequence[Self], surface: Surface) -> Scatterer:
        """Several of this kind in one sample, which may share what is costly and interfere.

        Args:
            parts: of this kind.
            surface: that they are on.
        """
        scatterers = tuple(part.on(surface) for part in parts)
        return scatterers[0] if len(scatterers) == 1 else MixedScatterer(scatterers)

    @property
    def elastic(self) -> bool:
        """Whether averages over states of one energy are needed."""
        return True

    @brief
    def __repr__(self) -> str:
        return constructed(self)

    def collisions(self, surface: Surface, shell: Shell) -> Collisions:
        """The collision operator of one shell.

        Args:
            surface: sampled, or evaluated elsewhere.
            shell: one of its ``shells``.

        Raises:
            JaxkinError: disorder that does not fit the model; degenerate bands on a surface evaluated elsewhere.
        """
        scatterer = self.on(surface).at(shell.energy)
        return scatterer(ShellStates(surface, scatterer.bloch).of(shell))

    def __add__(self, other: Disorder) -> Mixture:
        return Mixture((self, other))


class MixedScatterer(Scatterer):
    """Several in one sample; what two impurities make is known where all but one are rates."""

    parts: tuple[Scatterer, ...]

    @property
    def bloch(self) -> bool:
        return any(part.bloch for part in self.parts)

    @property
    def pairs(self) -> bool:
        return any(part.pairs for part in self.parts)

    def __call__(self, states: States) -> Collisions:
        return SummedCollisions(states, [part(states) for part in self.parts])

    def side_jump_of(self, states: States) -> Array | None:
        known = [jump for part in self.parts if (jump := part.side_jump_of(states)) is not None]
        return sum(known, jnp.zeros(())) if len(known) == len(self.parts) else None

    @property
    def weak(self) -> bool:
        return all(part.weak for part in self.parts)

    @property
    def _potential(self) -> int | None:
        """The number of the only part that is more than a rate."""
        more = [number for number, part in enumerate(self.parts) if not part.rate_only]
        return more[0] if len(more) == 1 else None

    @property
    def orbitals(self) -> tuple[int, ...]:
        return () if self._potential is None else self.parts[self._potential].orbitals

    def completed(self, surface: Surface) -> MixedScatterer:
        if self._potential is None:
            return self
        n, whole = self._potential, self.parts[self._potential].completed(surface)
        return MixedScatterer((*self.parts[:n], whole, *self.parts[n + 1 :]))

    def two_impurities(self, states: States) -> TwoImpurityScattering | None:
        return None if self._potential is None else self.parts[self._potential].two_impurities(states)

    def at(self, level: AnyArray) -> Self:
        return type(self)(tuple(part.at(level) for part in self.parts))


class Mixture(Disorder):
    """Several kinds of disorder in one sample; in the dilute limit their kernels add: docs/impurities.md, "Scope".

    Args:
        parts: the kinds.

    >>> import jaxkin as jk
    >>> mixture = jk.RelaxationTime(tau=1.0) + jk.RelaxationTime(tau=1.0)
    >>> surface = jk.fermi_surface(jk.models.get("helical-isotropic"), 0.5, sampler=jk.Lines(n=8), replicas=2)
    >>> abs(float(mixture.collisions(surface, surface.shells[0]).transport_time) - 0.5) < 0.01
    True
    """

    parts: tuple[Disorder, ...]

    def on(self, surface: Surface) -> Scatterer:
        parts = [part.resolved(surface) for part in self.parts]
        kinds = dict.fromkeys(map(type, parts))
        found = [kind.together([part for part in parts if type(part) is kind], surface) for kind in kinds]
        return found[0] if len(found) == 1 else MixedScatterer(tuple(found))

    def __add__(self, other: Disorder) -> Mixture:
        return Mixture((*self.parts, other))


class KernelDisorder(Disorder):
    """Disorder given by its kernels, Eqs. (32), (33), (36), as JAX functions of two states (p, p'), for p' → p.

    Args:
        symmetric: w^S in eV Å^d / ps, so that ∫(dk') w^S δ(ε−ε') is a rate in 1/ps.
        antisymmetric: w^A in the same unit, or None.
        shift: coordinate shift δr (3,) in Å, or None.
        tau: transport time in ps for the relaxation-time solver; None takes it from w^S,
            1/τ = ⟨v·∫w^S(v−v')δ⟩/⟨v·v⟩.

    Raises:
        JaxkinError: a kernel that is no JAX function of two states, or has another shape (when it meets a surface).

    >>> import jaxkin as jk
    >>> isotropic = jk.KernelDisorder(lambda p, q: 1 / q.density_of_states)  # 1 per ps
    >>> model = jk.models.get("helical-isotropic")
    >>> surface = jk.fermi_surface(model, 0.5, sampler=jk.Lines(n=8), replicas=2)
    >>> abs(float(isotropic.collisions(surface, surface.shells[0]).transport_time) - 1) < 0.02
    True
    """

    symmetric: Kernel
    antisymmetric: Kernel | None = None
    shift: Kernel | None = None
    tau: Float[AnyArray, ""] | None = eqx.field(default=None, converter=leaf)

    def __check_init__(self):
        check_positive("tau", self.tau, "a positive time in ps", optional=True)

    def on(self, surface: Surface) -> KernelScatterer:
        for name, shape in (("symmetric", ()), ("antisymmetric", ()), ("shift", (3,))):
            if (kernel := getattr(self, name)) is not None:
                _check_kernel(name, kernel, shape)
        jump = None if self.shift is None else _Jump(self.symmetric, self.shift)
        return KernelScatterer(self.symmetric, self.antisymmetric, jump, self.tau)


def _check_kernel(name: str, kernel: Kernel, shape: tuple[int, ...]) -> None:
    """Try a kernel on two states without values."""
    check_kind(name, kernel, Callable, "a JAX function of two states")
    number: Any = jax.ShapeDtypeStruct((), float)
    vector: Any = jax.ShapeDtypeStruct((3,), float)
    state = State(vector, number, vector, vector, vector, number)
    try:
        value = jax.eval_shape(lambda p, q: jnp.asarray(kernel(p, q)), state, state)
    except jax.errors.TracerArrayConversionError:
        raise JaxkinError(f"{name} must be a JAX function: write it with jax.numpy instead of numpy.") from None
    except (TypeError, AttributeError) as error:
        raise JaxkinError(f"{name} must be a JAX function of two states (p, p'): {in_one_line(error)}.") from error
    if value.shape != shape:
        meaning = "three components" if shape else "a number"
        raise JaxkinError(f"{name} of two states must be {meaning}, not of shape {value.shape}.")


class KernelScatterer(Scatterer):
    """Kernels of two states."""

    symmetric: Kernel
    antisymmetric: Kernel | None
    jump: Kernel | None
    tau: Float[AnyArray, ""] | None
    bloch: ClassVar[bool] = False  # pyright: ignore[reportIncompatibleMethodOverride]
    pairs: ClassVar[bool] = False  # pyright: ignore[reportIncompatibleMethodOverride]

    def __call__(self, states: States) -> Collisions:
        return PairwiseCollisions(states, states.state, self.symmetric, self.antisymmetric, self.jump, self.tau)


class _Jump(eqx.Module):
    """w^S δr."""

    kernel: Kernel
    shift: Kernel

    def __call__(self, p: State, q: State) -> Array:
        return self.kernel(p, q) * self.shift(p, q)
