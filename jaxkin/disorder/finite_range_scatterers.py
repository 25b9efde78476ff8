"""A potential of finite range on a surface: interpolated through pivots, or by matrices of all pairs of points."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar, NamedTuple, Self

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Complex

from jaxkin.disorder.amplitude import Order, Terms, saturation, scattering_terms
from jaxkin.disorder.collisions import Collisions, SummedCollisions
from jaxkin.disorder.form_factors import FormFactors
from jaxkin.disorder.kernels import MixedScatterer, Scatterer
from jaxkin.disorder.off_shell import OffShell
from jaxkin.disorder.onshell import demand_matrices, on_shell_collisions
from jaxkin.disorder.onshell_pairs import (
    DressedOrbitals,
    FromOrbitals,
    OnShellPairs,
    demand_pairs,
    dressed_orbitals,
)
from jaxkin.disorder.orbital_moments import hermitian
from jaxkin.disorder.pivots import (
    Interpolation,
    Pivots,
    Separable,
    interpolated,
    members,
    potential_rows,
    potential_slopes,
)
from jaxkin.disorder.smooth import SmoothCollisions
from jaxkin.disorder.smooth_pairs import SmoothKind, SmoothPairs
from jaxkin.disorder.states import States
from jaxkin.disorder.two_impurities import Amplitude, TwoImpurityScattering, density_matrix
from jaxkin.hamiltonian.tiles import map_over_tiles
from jaxkin.memory import demand
from jaxkin.namespace import AnyArray, Number, namespace
from jaxkin.surface.surface import Surface

POINT_BYTES = 160
"""What a point takes for each pivot: scattering by one impurity and by two, of 96 that are kept."""


class FiniteRangeScatterer(Scatterer):
    """A potential of finite range on a surface.

    Attributes:
        factors: its form factors, of each equivalent position.
        scale: that V is multiplied with.
        density: of each position, Å^-d.
        off_shell: of each position, what V does through states off the shell; None leaves that out.
        group: which of the different positions each orbital is at.
        order: of the kernels in V.
    """

    factors: tuple[FormFactors, ...]
    scale: Number
    density: Number
    off_shell: tuple[OffShell, ...] | None
    group: tuple[int, ...] = eqx.field(static=True)
    order: Order = eqx.field(static=True)
    bloch: ClassVar[bool] = True  # pyright: ignore[reportIncompatibleMethodOverride]
    pairs: ClassVar[bool] = True  # pyright: ignore[reportIncompatibleMethodOverride]

    @property
    def orbitals(self) -> tuple[int, ...]:
        return tuple(range(len(self.group)))

    def at(self, level: AnyArray) -> Self:
        if self.off_shell is None:
            return self
        return replace(self, off_shell=tuple(one.at(level) for one in self.off_shell))

    @property
    def _added(self) -> list[Separable | None]:
        """What stands beside V of each position, of strength one."""
        if self.off_shell is None:
            return [None] * len(self.factors)
        return [one.added(self.scale) for one in self.off_shell]

    @abc.abstractmethod
    def kinds(self, states: States) -> Sequence[Any]:
        """V among the states, of each position.

        Raises:
            JaxkinError: it is beyond the memory budget.
        """

    @abc.abstractmethod
    def collisions(self, states: States, kind: Any) -> Collisions:
        """Of one position."""

    @abc.abstractmethod
    def amplitudes(self, states: States, kinds: Sequence[Any]) -> list[Any]:
        """Of all positions, with what scattering by two of them needs ..."""

    @classmethod
    @abc.abstractmethod
    def between(cls, states: States, amplitudes: Sequence[Any]) -> TwoImpurityScattering:
        """... in one sample."""

    def __call__(self, states: States) -> Collisions:
        return FiniteRangeMixture((self,))(states)

    def two_impurities(self, states: States) -> TwoImpurityScattering | None:
        return FiniteRangeMixture((self,)).two_impurities(states)

    def scattering(self, states: States) -> tuple[Collisions, TwoImpurityScattering | None]:
        return FiniteRangeMixture((self,)).scattering(states)

    def side_jump_of(self, states: States) -> Array:
        return self(states).side_jump_velocity

    @property
    def weak(self) -> bool:
        return self.order != "tmatrix"


class Matrices(NamedTuple):
    """⟨p|V|p'⟩ (M, M), and of K, which is V where states off the shell are left out, ⟨p|K|p'⟩ and ⟨D_a p|K|p'⟩.

    The latter, (3, M, M), is along k with the derivative of V's phases.
    """

    potential: Complex[Array, "M M"]
    reaction: Complex[Array, "M M"]
    slope: Complex[Array, "3 M M"]


class MatrixScatterer(FiniteRangeScatterer):
    """By N×N matrices of the points of a shell: where V has almost as many functions."""

    def kinds(self, states: States) -> list[Matrices]:
        demand_matrices(len(states))
        return [self._matrices(states, *one) for one in zip(self.factors, self._added, strict=True)]

    def collisions(self, states: States, kind: Matrices) -> Collisions:
        reaction = None if self.off_shell is None else kind.reaction
        return on_shell_collisions(states, self.order, kind.potential, reaction, kind.slope, self.density)

    def amplitudes(self, states: States, kinds: Sequence[Matrices]) -> list[DressedOrbitals]:
        demand_pairs(len(states), max(self.group) + 1)
        return [
            dressed_orbitals(states, self.order, self.density, kind.reaction, self._from_orbitals(states, one, added))
            for kind, one, added in zip(kinds, self.factors, self._added, strict=True)
        ]

    @classmethod
    def between(cls, states: States, amplitudes: Sequence[DressedOrbitals]) -> OnShellPairs:
        return OnShellPairs(states, amplitudes)

    def _matrices(self, states: States, factors: FormFactors, added: Separable | None) -> Matrices:
        k, u, du = _bloch(states)
        at = members(self.group)

        def rows(k_others: AnyArray, u_others: AnyArray) -> tuple[Array, Array]:
            """⟨p|V|q⟩ and ⟨D_a p|V|q⟩ (3, M, ·) of all states and others."""

            def tile(*mine: Array) -> tuple[Array, Array]:
                return potential_slopes(factors, mine, k_others, u_others, at, states.along_k)

            values, slopes = map_over_tiles(tile, factors.rows, k, u, du)
            return values, jnp.swapaxes(slopes, 0, 1)

        v, slope = rows(k, u)
        if added is None:
            v = hermitian(self.scale * v)
            return Matrices(v, v, self.scale * slope)
        beside, bent = rows(*map(jnp.asarray, added[:2]))
        back = added.q @ beside.conj().T
        reaction, slope = v + beside @ back, slope + bent @ back
        return Matrices(hermitian(self.scale * v), hermitian(self.scale * reaction), self.scale * slope)

    def _from_orbitals(self, states: States, factors: FormFactors, added: Separable | None) -> FromOrbitals:
        k, u, _ = _bloch(states)
        at, back, there, there_u = members(self.group), None, k, u
        if added is not None:
            beside = potential_rows(factors, (k, u), added.k, added.u, at)
            there, there_u = jnp.concatenate([k, added.k]), jnp.concatenate([u, added.u])
            back = added.q @ beside.conj().T
        rows = map_over_tiles(lambda mine: jnp.swapaxes(factors(mine, there)[0], 0, 1), factors.rows, k)  # (I, s, J)
        return FromOrbitals(jnp.swapaxes(rows, 0, 1), there_u, at, back, self.scale)


class Interpolated(NamedTuple):
    """The states of a shell in the functions of the pivots, ⟨m|p⟩ and ⟨m|D_a p⟩, Σ W |p⟩⟨p|, the kernels and V there.

    ``saturation`` is what unitarity takes away, None where Re G is known or T is V.
    """

    through: Interpolation
    local: Complex[Array, "M r"]
    derivative: Complex[Array, "M 3 r"]
    density: Complex[Array, "r r"]
    terms: Terms
    potential: Complex[Array, "r r"]
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
        pivots = tuple(one.at(nearest) for one in self.pivots)
        return replace(super().at(level), pivots=pivots, levels=self.levels[nearest][None])

    def kinds(self, states: States) -> list[Interpolated]:
        functions = sum(one.rank for one in self.pivots)
        demand(
            POINT_BYTES * len(states) * functions,
            f"{len(states)} points interpolated through {functions}",
            "raise it, use fewer points (a smaller n), or a larger rtol of the impurity",
        )
        return [self._interpolated(states, *one) for one in zip(self.factors, self.pivots, self._added, strict=True)]

    def _interpolated(
        self, states: States, factors: FormFactors, pivots: Pivots, added: Separable | None
    ) -> Interpolated:
        k, u, du = _bloch(states)
        at = members(self.group)
        through, (local, derivative) = interpolated(factors, at, pivots, added, k, (u, du), states.along_k)
        v = self.scale * through.core
        density = density_matrix(states, local)
        terms = scattering_terms(self.order, v, v, density)
        taken = saturation(terms.amplitude, v, density) if terms.unitary and added is None else None
        return Interpolated(through, local, derivative, density, terms, v, taken)

    def collisions(self, states: States, kind: Interpolated) -> Collisions:
        return SmoothCollisions(
            states, kind.local, kind.derivative, kind.terms, self.density, kind.potential, kind.saturation
        )

    def amplitudes(self, states: States, kinds: Sequence[Interpolated]) -> list[SmoothKind]:
        del states
        return [
            SmoothKind(Amplitude(self.density, one.terms.amplitude), one.local, one.density, one.through)
            for one in kinds
        ]

    @classmethod
    def between(cls, states: States, amplitudes: Sequence[SmoothKind]) -> SmoothPairs:
        return SmoothPairs(states, amplitudes)

    @property
    def by_matrices(self) -> MatrixScatterer:
        """The same without pivots."""
        return MatrixScatterer(self.factors, self.scale, self.density, self.off_shell, self.group, self.order)


class FiniteRangeMixture(MixedScatterer):
    """Potentials of finite range in one sample, which interfere: all through pivots, or all by matrices."""

    parts: tuple[FiniteRangeScatterer, ...]

    @property
    def orbitals(self) -> tuple[int, ...]:
        return self.parts[0].orbitals

    def completed(self, surface: Surface) -> FiniteRangeMixture:
        del surface
        return self

    def __call__(self, states: States) -> Collisions:
        return self._summed(states, self._kinds(states))

    def two_impurities(self, states: States) -> TwoImpurityScattering | None:
        return None if states.reduced is None else self._between(states, self._kinds(states))

    def scattering(self, states: States) -> tuple[Collisions, TwoImpurityScattering | None]:
        kinds = self._kinds(states)
        two = None if states.reduced is None else self._between(states, kinds)
        return self._summed(states, kinds), two

    def _kinds(self, states: States) -> list[Sequence[Any]]:
        """Of each part, made once."""
        return [part.kinds(states) for part in self.parts]

    def _summed(self, states: States, kinds: Sequence[Sequence[Any]]) -> Collisions:
        parts = [part.collisions(states, one) for part, mine in zip(self.parts, kinds, strict=True) for one in mine]
        return parts[0] if len(parts) == 1 else SummedCollisions(states, parts)

    def _between(self, states: States, kinds: Sequence[Sequence[Any]]) -> TwoImpurityScattering:
        parts = zip(self.parts, kinds, strict=True)
        return self.parts[0].between(states, [one for part, mine in parts for one in part.amplitudes(states, mine)])


def _bloch(states: States) -> tuple[Array, Array, Array]:
    """Cartesian k, |u⟩ and |D_a u⟩."""
    assert states.bloch is not None
    return jnp.asarray(states.k), jnp.asarray(states.bloch[0]), jnp.asarray(states.bloch[1])
