"""Disorder: anything that scatters, and the kind that is given by kernels of two states."""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence
from typing import Self

import equinox as eqx
from jaxtyping import Array, Float

from jaxkin.disorder.collisions import Collisions, SummedCollisions, TiledCollisions
from jaxkin.disorder.states import ShellStates, State, States
from jaxkin.errors import JaxkinError
from jaxkin.namespace import is_traced
from jaxkin.surface.shells import Shell, Surface

Kernel = Callable[[State, State], Array]
Scatterer = Callable[[States], Collisions]


class Disorder(eqx.Module):
    """Base of everything that scatters; ``a + b`` is a sample that holds both."""

    @abc.abstractmethod
    def on(self, surface: Surface) -> Scatterer:
        """Do what is needed once for a surface; the result makes the collisions of each of its shells."""

    @classmethod
    def together(cls, parts: Sequence[Self], surface: Surface) -> list[Scatterer]:
        """:meth:`on` of several of this kind in one sample, which may share what is costly."""
        return [part.on(surface) for part in parts]

    def frozen(self, surface: Surface) -> Self:
        """The same with what depends on discrete decisions decided on this surface, for its derivatives."""
        del surface
        return self

    def collisions(self, surface: Surface, shell: Shell) -> Collisions:
        """The collision operator of one shell."""
        return self.on(surface)(ShellStates(surface, shell))

    def __add__(self, other: Disorder) -> Mixture:
        return Mixture((self, other))


class Mixture(Disorder):
    """Several kinds of disorder in one sample; in the dilute limit their kernels add.

    >>> import jaxkin as jk
    >>> mixture = jk.RelaxationTime(tau=1.0) + jk.RelaxationTime(tau=1.0)
    >>> surface = jk.fermi_surface(jk.models.get("helical-isotropic"), 0.5, sampler=jk.Lines(n=8), replicas=2)
    >>> abs(mixture.collisions(surface, surface.shells[0]).transport_time - 0.5) < 0.01
    True
    """

    parts: tuple[Disorder, ...]

    def on(self, surface: Surface) -> Scatterer:
        scatterers: list[Scatterer] = []
        for kind in dict.fromkeys(map(type, self.parts)):
            scatterers += kind.together([part for part in self.parts if type(part) is kind], surface)
        return lambda states: SummedCollisions(states, [scatterer(states) for scatterer in scatterers])

    def frozen(self, surface: Surface) -> Mixture:
        return Mixture(tuple(part.frozen(surface) for part in self.parts))

    def __add__(self, other: Disorder) -> Mixture:
        return Mixture((*self.parts, other))


class KernelDisorder(Disorder):
    """Disorder given by its kernels as JAX functions of two states (p, p'), for scattering p' → p.

    Args:
        symmetric: w^S in eV Å^d / ps, so that ∫(dk') w^S δ(ε−ε') is a rate in 1/ps.
        antisymmetric: w^A in the same unit, or None.
        shift: coordinate shift δr (3,) in Å, or None.
        tau: transport time in ps for the relaxation-time solver; None takes it from w^S,
            1/τ = ⟨v·∫w^S(v−v')δ⟩/⟨v·v⟩.

    >>> import jaxkin as jk
    >>> isotropic = jk.KernelDisorder(lambda p, q: 1 / q.density_of_states)  # 1 per ps
    >>> model = jk.models.get("helical-isotropic")
    >>> surface = jk.fermi_surface(model, 0.5, sampler=jk.Lines(n=8), replicas=2)
    >>> abs(isotropic.collisions(surface, surface.shells[0]).transport_time - 1) < 0.02
    True
    """

    symmetric: Kernel
    antisymmetric: Kernel | None = None
    shift: Kernel | None = None
    tau: Float[Array, ""] | float | None = None

    def on(self, surface: Surface) -> Scatterer:
        jump = None if self.shift is None else _Jump(self.symmetric, self.shift)
        tau = self.tau if self.tau is None or is_traced(self.tau) else float(self.tau)
        if tau is not None and not is_traced(tau) and not tau > 0:
            raise JaxkinError(f"tau={tau} must be a positive time in ps.")
        return lambda states: TiledCollisions(states, states.state, self.symmetric, self.antisymmetric, jump, tau)


class _Jump(eqx.Module):
    """w^S δr."""

    kernel: Kernel
    shift: Kernel

    def __call__(self, p: State, q: State) -> Array:
        return self.kernel(p, q) * self.shift(p, q)
