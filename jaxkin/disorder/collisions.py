"""What disorder does on one shell: the collision operator and all that follows from it."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from functools import cached_property

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxkin.disorder.states import States
from jaxkin.errors import JaxkinError
from jaxkin.namespace import is_traced

ROUNDING = 1e-10
"""An ∫(dp') |w^A| δ(ε−ε') that is smaller, relative to that of w^S, is no skew scattering."""
PIECES = 16
"""Parts of the sheets of a shell that are told apart."""


class Collisions(abc.ABC):
    """Scattering among the M states of one shell, as operators on functions of the state, in JAX.

    S_{pp'} = w^S δ(ε−ε'), A_{pp'} = w^A δ(ε−ε') and D_{pp'} = w^S δr δ(ε−ε') act by ∫(dp') → Σ_j W_j; L = Γ − S,
    Eq. (47). Rates in 1/ps, velocities in eV Å.

    Args:
        states: weights and velocities of the shell.
    """

    def __init__(self, states: States):
        self.weights: Array = jnp.asarray(states.weights)
        self.velocity: Array = jnp.asarray(states.velocity)
        self.sheet: Array = jnp.asarray(states.sheet)
        self.sheets = states.sheets

    @abc.abstractmethod
    def symmetric(self, x: Array) -> Array:
        """S x for x (M, m); S in 1/ps."""

    @abc.abstractmethod
    def antisymmetric(self, x: Array) -> Array:
        """A x for x (M, m); A in 1/ps."""

    def chained(self, x: Array, m: int, scale: Array) -> Array:
        """S x, and A of its first columns added to the next ones: what both make of x is made once.

        Args:
            x: functions (M, n), in any unit; S and A in 1/ps.
            m: number of columns that A acts on.
            scale: factor of A, a number.
        """
        return self.symmetric(x).at[:, m : 2 * m].add(scale * self.antisymmetric(x[:, :m]))

    @property
    @abc.abstractmethod
    def antisymmetric_size(self) -> Array | float:
        """A bound of max_p ∫(dp') |w^A| δ(ε−ε') in 1/ps, to compare its integral with."""

    @property
    @abc.abstractmethod
    def side_jump_velocity(self) -> Array:
        """v_sj = ∫(dp') w^S_{pp'} δr_{pp'} δ(ε−ε'), Eqs. (9), (68), (M, 3): ħ times Å/ps."""

    @abc.abstractmethod
    def displaced(self, left: Array, right: Array) -> Float[Array, "3 m n"]:
        """Σ_i W_i x_i (D_c y)_i: nonlocal collisions, docs/complete_theory.md, "Expansion in n".

        An electron that is scattered p' → p arrives δr away, so that in a distribution ∝ e^{iq·r} the gradient is
        iq·(v + D), where v_sj = D·1. D is odd in p ↔ p'. In eV Å times the unit of x y.

        Args:
            left: x, (M, m), in any unit.
            right: y, (M, n), in any unit.
        """

    @property
    @abc.abstractmethod
    def own_scattering(self) -> tuple[Float[Array, " M"], Float[Array, " M"]]:
        """W_p w^S_pp, which sums over points take for scattering from a point to itself, and Γ_p, in 1/ps.

        Of a potential of finite range in Born's approximation: a T-matrix that is saturated is forward by itself.
        """

    def coarseness(self, path: Float[Array, "M 3"] | None = None) -> Float[Array, ""]:
        """The part of scattering that is from a point to itself: one over the number of points in reach.

        Each point counts by the current W v·``path`` that it carries; by W v² if its mean free path is left out.
        """
        current = jnp.abs(self.weights * jnp.sum(self.velocity * (self.velocity if path is None else path), axis=1))
        own, whole = self.own_scattering
        share = own / jnp.maximum(jnp.abs(whole), 1e-300)
        return current @ share / jnp.maximum(jnp.sum(current), 1e-300)

    @property
    def optical_theorem(self) -> Array | None:
        """Largest violation of 2 Im T_pp = −ħΓ_p/n, relative; None where T has no imaginary part (Born)."""
        return None

    @property
    def saturation(self) -> Array | None:
        """The part of Born scattering that unitarity takes away, :func:`saturation`, of a T without Re G; else None."""
        return None

    def for_solving(self) -> Collisions:
        """The same, as it acts fastest on many functions one after another."""
        return self

    def pieces(self, weakest: float) -> tuple[Int[Array, " M"], int]:
        """Index of the piece that each state belongs to, and how many there are at most: sheets, or parts of them.

        States of one sheet are parted where less than ``weakest`` of their rate connects them, if pairs are known.
        """
        del weakest
        return self.sheet, self.sheets

    @cached_property
    def _of_velocity(self) -> tuple[Array, Array]:
        """S and A of 1 and v."""
        columns = jnp.concatenate([jnp.ones((len(self.weights), 1)), self.velocity], axis=1)
        both = self.chained(jnp.concatenate([columns, jnp.zeros_like(columns)], axis=1), 4, jnp.ones(()))
        return both[:, :4], both[:, 4:]

    @property
    def rate(self) -> Float[Array, " M"]:
        """Γ_p = ∫(dp') w^S_{pp'} δ(ε−ε') in 1/ps."""
        return self._of_velocity[0][:, 0]

    @cached_property
    def transport_time(self) -> Float[Array, ""]:
        """τ in ps: 1/τ = ⟨v|L|v⟩/⟨v|v⟩.

        Raises:
            JaxkinError: it is not positive, if it is known.
        """
        scattered, w = self.rate[:, None] * self.velocity, self.weights[:, None]
        lost, met = (jnp.sum(w * self.velocity * x) for x in (scattered - self._of_velocity[0][:, 1:], scattered))
        # of too few points nothing but rounding may be lost
        time = jnp.sum(w * self.velocity**2) / jnp.where(jnp.abs(lost) > ROUNDING * jnp.abs(met), lost, -0.0)
        check_transport_time(time)
        return time

    @property
    def skew_acceleration(self) -> Float[Array, "M 3"]:
        """Q = ∫(dp') w^A_{pp'} δ(ε−ε') (v' − v) in eV Å / ps.

        The order of the velocities is opposite to that printed in Eq. (8), so that m_sk = eτ² Q×v,
        Eq. (6), follows from the Boltzmann equation with w_{pp'} for p' → p (docs/theory.md).
        """
        a = self._of_velocity[1]
        return a[:, 1:] - a[:, :1] * self.velocity

    @property
    def lost(self) -> Float[Array, " M"]:
        """∫(dp') w^A δ(ε−ε') in 1/ps; zero."""
        return self._of_velocity[1][:, 0]

    @property
    def flux_violation(self) -> Float[Array, ""]:
        """Largest |∫(dp') w^A δ| relative to ∫(dp') |w^A| δ; Eqs. (34), (35) say zero."""
        largest = jnp.max(jnp.abs(self.lost) * (self.weights != 0), initial=0.0)
        least = ROUNDING * jnp.max(jnp.abs(self.rate) * (self.weights != 0), initial=0.0)
        size = jnp.maximum(self.antisymmetric_size, least)
        return jnp.where(largest > 0, largest / jnp.maximum(size, 1e-300), 0.0)


def check_transport_time(time: Array, source: str = "w^S") -> None:
    """Refuse a transport time that is not positive, if it has a value yet; ``source`` is what gives it.

    Raises:
        JaxkinError: it is not.
    """
    if not is_traced(time) and not time > 0:
        raise JaxkinError(
            f"{source} gives the transport rate {1 / time:.3g}/ps; it must be positive: the shells have too few points "
            "(raise n, or use Lines in place of Grid), or the kernel is not that of a rate."
        )


class DenseCollisions(Collisions):
    """Kernels as (M, M) matrices.

    Args:
        states: the shell.
        symmetric, antisymmetric: w^S and w^A in eV Å^d / ps.
        displaced: W ħw^S δr_c W of all pairs, (3, M, M).
        optical_theorem: its relative violation, if T is complex.
        saturation: what unitarity takes away, if T leaves out Re G.
        own_scattering: if it is not that of ``symmetric``.
    """

    def __init__(
        self,
        states: States,
        symmetric: Array,
        antisymmetric: Array | None,
        displaced: Array,
        optical_theorem: Array | None = None,
        saturation: Array | None = None,
        own_scattering: tuple[Array, Array] | None = None,
    ):
        super().__init__(states)
        self._s, self._a, self._own = symmetric, antisymmetric, own_scattering
        self._displaced, self._optical, self._saturation = displaced, optical_theorem, saturation

    def symmetric(self, x: Array) -> Array:
        return self._s @ (self.weights[:, None] * x)

    def antisymmetric(self, x: Array) -> Array:
        return jnp.zeros_like(x) if self._a is None else self._a @ (self.weights[:, None] * x)

    def pieces(self, weakest: float) -> tuple[Int[Array, " M"], int]:
        w, count = self.weights, len(self.weights)
        flow = self._s * jnp.sqrt(w[:, None] * w)
        linked = (flow > weakest * jnp.max(self.rate)) & (self.sheet[:, None] == self.sheet)
        linked = jax.lax.stop_gradient(linked | jnp.eye(count, dtype=bool))

        def spread(state: tuple[Array, Array]) -> tuple[Array, Array]:
            label, _ = state
            new = jnp.min(jnp.where(linked, label[None], count), axis=1)
            new = new[new]  # halves the way along chains
            return new, jnp.any(new != label)

        start = (jnp.arange(count), jnp.array(True))
        label, _ = jax.lax.while_loop(lambda state: state[1], spread, start)
        first = (label == jnp.arange(count)) & (w > 0)
        number = jnp.cumsum(first) - 1
        return jnp.clip(number[label], 0, PIECES - 1), PIECES

    @property
    def own_scattering(self) -> tuple[Array, Array]:
        return self._own or (self.weights * jnp.diagonal(self._s), self.rate)

    @property
    def antisymmetric_size(self) -> Array | float:
        return 0.0 if self._a is None else jnp.max(jnp.abs(self._a) @ jnp.abs(self.weights))

    @property
    def side_jump_velocity(self) -> Array:
        return unweighted(jnp.sum(self._displaced, axis=2).T, self.weights[:, None])

    def displaced(self, left: Array, right: Array) -> Array:
        return left.T @ (self._displaced @ right)

    @property
    def optical_theorem(self) -> Array | None:
        return self._optical

    @property
    def saturation(self) -> Array | None:
        return self._saturation


class SummedCollisions(Collisions):
    """Several kinds of impurities: their kernels add, and so do their transport rates (Matthiessen)."""

    def __init__(self, states: States, parts: Sequence[Collisions]):
        super().__init__(states)
        self._states, self.parts = states, tuple(parts)

    def symmetric(self, x: Array) -> Array:
        return sum((part.symmetric(x) for part in self.parts), jnp.zeros(()))

    def antisymmetric(self, x: Array) -> Array:
        return sum((part.antisymmetric(x) for part in self.parts), jnp.zeros(()))

    def chained(self, x: Array, m: int, scale: Array) -> Array:
        return sum((part.chained(x, m, scale) for part in self.parts), jnp.zeros(()))

    @cached_property
    def _of_velocity(self) -> tuple[Array, Array]:  # pyright: ignore[reportIncompatibleVariableOverride]
        even, odd = zip(*(part._of_velocity for part in self.parts), strict=True)
        return sum(even, jnp.zeros(())), sum(odd, jnp.zeros(()))

    @cached_property
    def transport_time(self) -> Array:
        return 1 / sum((1 / part.transport_time for part in self.parts), jnp.zeros(()))

    def for_solving(self) -> Collisions:
        return SummedCollisions(self._states, [part.for_solving() for part in self.parts])

    @property
    def own_scattering(self) -> tuple[Array, Array]:
        own, whole = zip(*(part.own_scattering for part in self.parts), strict=True)
        return sum(own, jnp.zeros(())), sum(whole, jnp.zeros(()))

    @property
    def antisymmetric_size(self) -> Array | float:
        return sum(part.antisymmetric_size for part in self.parts)

    @property
    def side_jump_velocity(self) -> Array:
        return sum((part.side_jump_velocity for part in self.parts), jnp.zeros(()))

    def displaced(self, left: Array, right: Array) -> Array:
        return sum((part.displaced(left, right) for part in self.parts), jnp.zeros(()))

    @property
    def optical_theorem(self) -> Array | None:
        return _largest([part.optical_theorem for part in self.parts])

    @property
    def saturation(self) -> Array | None:
        return _largest([part.saturation for part in self.parts])


def _largest(values: Sequence[Array | None]) -> Array | None:
    """Of those that are known."""
    known = [jnp.asarray(one) for one in values if one is not None]
    return jnp.max(jnp.stack(known)) if known else None


def unweighted(values: np.ndarray | Array, weights: Array) -> Array:
    """``values`` over weights, zero where there is no weight."""
    present = weights != 0
    return jnp.where(present, values / jnp.where(present, weights, 1.0), 0.0)
