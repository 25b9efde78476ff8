"""A potential of finite range on a surface: interpolated through pivots, or by matrices of all pairs of points."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Complex

from jaxkin.disorder.amplitude import Order, Terms, saturation, scattering_terms
from jaxkin.disorder.collisions import Collisions, SummedCollisions
from jaxkin.disorder.form_factors import FormFactors
from jaxkin.disorder.kernels import Scatterer
from jaxkin.disorder.onshell import demand_matrices, on_shell_collisions
from jaxkin.disorder.onshell_pairs import OnShellPairs, demand_orbitals, dressed_orbitals
from jaxkin.disorder.orbital_moments import hermitian
from jaxkin.disorder.pivots import Interpolation, Pivots, interpolated, members, potential_rows
from jaxkin.disorder.smooth import SmoothCollisions
from jaxkin.disorder.smooth_pairs import SmoothKind, SmoothPairs
from jaxkin.disorder.states import States
from jaxkin.disorder.two_impurities import Amplitude, TwoImpurityScattering, density_matrix
from jaxkin.memory import demand
from jaxkin.namespace import AnyArray, Number, namespace
from jaxkin.surface.tiles import map_over_tiles

POINT_BYTES = 160
"""What a point takes for each pivot: scattering by one impurity and by two, of 96 that are kept."""


class FiniteRangeScatterer(Scatterer):
    """A potential of finite range on a surface.

    Attributes:
        factors: its form factors, of each equivalent position.
        scale: that V is multiplied with.
        density: of each position, Å^-d.
        group: which of the different positions each orbital is at.
        order: of the kernels in V.
    """

    factors: tuple[FormFactors, ...]
    scale: Number
    density: Number
    group: tuple[int, ...] = eqx.field(static=True)
    order: Order = eqx.field(static=True)
    bloch: ClassVar[bool] = True  # pyright: ignore[reportIncompatibleMethodOverride]
    pairs: ClassVar[bool] = True  # pyright: ignore[reportIncompatibleMethodOverride]

    @property
    def orbitals(self) -> tuple[int, ...]:
        return tuple(range(len(self.group)))

    @abc.abstractmethod
    def kinds(self, states: States) -> Sequence[Any]:
        """V among the states, of each position.

        Raises:
            JaxkinError: it is beyond the memory budget.
        """

    @abc.abstractmethod
    def _collisions(self, states: States, kind: Any) -> Collisions:
        """Of one position."""

    @abc.abstractmethod
    def _pairs(self, states: States, kinds: Sequence[Any]) -> TwoImpurityScattering:
        """Of all positions."""

    def __call__(self, states: States) -> Collisions:
        return self._summed(states, self.kinds(states))

    def two_impurities(self, states: States) -> TwoImpurityScattering | None:
        return None if states.reduced is None else self._pairs(states, self.kinds(states))

    def scattering(self, states: States) -> tuple[Collisions, TwoImpurityScattering | None]:
        kinds = self.kinds(states)
        two = None if states.reduced is None else self._pairs(states, kinds)
        return self._summed(states, kinds), two

    def _summed(self, states: States, kinds: Sequence[Any]) -> Collisions:
        parts = [self._collisions(states, kind) for kind in kinds]
        return parts[0] if len(parts) == 1 else SummedCollisions(states, parts)

    def side_jump_of(self, states: States) -> Array:
        return self(states).side_jump_velocity

    @property
    def weak(self) -> bool:
        return self.order != "tmatrix"


class Matrices(NamedTuple):
    """⟨p|V|p'⟩ (M, M) and ⟨D_a p|V|p'⟩, along k with the derivative of V's phases, (3, M, M)."""

    potential: Complex[Array, "M M"]
    slope: Complex[Array, "3 M M"]


class MatrixScatterer(FiniteRangeScatterer):
    """By N×N matrices of the points of a shell: where V has almost as many functions."""

    def kinds(self, states: States) -> list[Matrices]:
        demand_matrices(len(states))
        return [self._matrices(states, one) for one in self.factors]

    def _collisions(self, states: States, kind: Matrices) -> Collisions:
        return on_shell_collisions(states, self.order, kind.potential, None, kind.slope, self.density)

    def _pairs(self, states: States, kinds: Sequence[Matrices]) -> OnShellPairs:
        demand_orbitals(states)
        dressed = [
            dressed_orbitals(states, self.order, self.density, kind.potential, self._from_orbitals(states, one))
            for kind, one in zip(kinds, self.factors, strict=True)
        ]
        return OnShellPairs(states, dressed)

    def _matrices(self, states: States, factors: FormFactors) -> Matrices:
        k, u, du = _bloch(states)
        at = members(self.group)

        def rows(*mine: Array) -> tuple[Array, Array]:
            return potential_rows(factors, mine, k, u, at, states.along_k)

        v, slope = map_over_tiles(rows, factors.rows, k, u, du)
        return Matrices(hermitian(self.scale * v), self.scale * jnp.swapaxes(slope, 0, 1))

    def _from_orbitals(self, states: States, factors: FormFactors) -> Array:
        """⟨k_i α|V|p_j⟩, (α, M, M)."""
        k, u, _ = _bloch(states)
        f = map_over_tiles(lambda mine: jnp.swapaxes(factors(mine, k)[0], 0, 1), factors.rows, k)  # (I, s, J)
        return self.scale * jnp.swapaxes(f, 0, 1)[jnp.asarray(self.group)] * u.T[:, None, :]


class Interpolated(NamedTuple):
    """The states of a shell in the functions of the pivots, ⟨m|p⟩ and ⟨m|D_a p⟩, Σ W |p⟩⟨p| and the kernels there.

    ``saturation`` is what unitarity takes away, None below ``"tmatrix"``.
    """

    through: Interpolation
    local: Complex[Array, "M r"]
    derivative: Complex[Array, "M 3 r"]
    density: Complex[Array, "r r"]
    terms: Terms
    saturation: Array | None


class SmoothScatterer(FiniteRangeScatterer):
    """In O(N r²) by the functions of r pivots.

    Attributes:
        pivots: of each position.
        levels: (E,) energies in eV that there are pivots for.
    """

    pivots: tuple[Pivots, ...]
    levels: AnyArray

    def at(self, level: AnyArray) -> SmoothScatterer:
        if len(self.levels) == 1:
            return self
        nearest = namespace(self.levels, level).argmin(abs(self.levels - level))
        return replace(self, pivots=tuple(one.at(nearest) for one in self.pivots), levels=self.levels[nearest][None])

    def kinds(self, states: States) -> list[Interpolated]:
        functions = sum(one.rank for one in self.pivots)
        demand(
            POINT_BYTES * len(states) * functions,
            f"{len(states)} points interpolated through {functions}",
            "raise it, use fewer points (a smaller n), or a larger rtol of the impurity",
        )
        return [self._interpolated(states, *one) for one in zip(self.factors, self.pivots, strict=True)]

    def _interpolated(self, states: States, factors: FormFactors, pivots: Pivots) -> Interpolated:
        k, u, du = _bloch(states)
        through, (local, derivative) = interpolated(factors, members(self.group), pivots, k, (u, du), states.along_k)
        v = self.scale * through.core
        density = density_matrix(states, local)
        terms = scattering_terms(self.order, v, v, density)
        taken = saturation(terms.amplitude, v, density) if terms.unitary else None
        return Interpolated(through, local, derivative, density, terms, taken)

    def _collisions(self, states: States, kind: Interpolated) -> Collisions:
        return SmoothCollisions(states, kind.local, kind.derivative, kind.terms, self.density, kind.saturation)

    def _pairs(self, states: States, kinds: Sequence[Interpolated]) -> SmoothPairs:
        smooth = [
            SmoothKind(Amplitude(self.density, one.terms.amplitude), one.local, one.density, one.through)
            for one in kinds
        ]
        return SmoothPairs(states, smooth)


def _bloch(states: States) -> tuple[Array, Array, Array]:
    """Cartesian k, |u⟩ and |D_a u⟩."""
    assert states.bloch is not None
    return jnp.asarray(states.k), jnp.asarray(states.bloch[0]), jnp.asarray(states.bloch[1])
