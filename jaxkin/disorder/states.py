"""The states of one shell, as scattering sees them."""

from __future__ import annotations

from functools import cached_property
from itertools import pairwise
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float, Int
from scipy.sparse import coo_array, csgraph
from scipy.spatial import KDTree

from jaxkin.errors import JaxkinError
from jaxkin.memory import demand
from jaxkin.namespace import AnyArray, is_traced
from jaxkin.surface.orbits import Known
from jaxkin.surface.points import STATES, VECTORS, point_geometry, reduced_resolvents
from jaxkin.surface.surface import Layout, Shell, Surface

TOGETHER = 1e-8
"""Distance in model coordinates of points at the same k: bands that meet the level there are degenerate."""
COARSE, FINE = (256, 1024, 4096), (64, 128, 256, 512)
"""Numbers of points that shells of fewer are filled up to: where time is linear in them, and where it is cubic."""


class State(eqx.Module):
    """A state on a constant-energy surface; kernels get two of them.

    Attributes:
        k: Cartesian, in Å⁻¹.
        energy: ε in eV.
        velocity: ∂ε/∂k in eV Å.
        berry_curvature: Ω in Å², Eq. (15).
        orbital_moment: m in μ_B, Eq. (4).
        density_of_states: ν of the whole surface at this energy, 1/(eV Å^d).
    """

    k: Float[Array, "... 3"]
    energy: Float[Array, "..."]
    velocity: Float[Array, "... 3"]
    berry_curvature: Float[Array, "... 3"]
    orbital_moment: Float[Array, "... 3"]
    density_of_states: Float[Array, "..."]


class States(eqx.Module):
    """All states of a shell, leaves (M, ...); those that fill it up to a size of which few compile have no weight.

    Attributes:
        level: energy of the shell, eV.
        weights: W with Σ_i W_i F_i ≈ ∫(dk) δ(ε−ε_shell) F, 1/(eV Å^d).
        thermal: the same for the shell's part of ∫(dk)(−f⁰')F.
        k: Cartesian, Å⁻¹.
        energy: eV.
        velocity: ∂ε/∂k in eV Å.
        berry_curvature: Å².
        orbital_moment: μ_B.
        spin_moment: the part of it that is spin's.
        sheet: which closed piece of the surface, one band in one pocket, a state belongs to.
        bloch: |u⟩ (M, n) and the covariant derivative |D_a u⟩ (M, 3, n) in Å, zero where there is no weight; or None.
        reduced: ⟨m|Q|m'⟩ on the ``orbitals``, :func:`reduced_resolvents`, (M, o, o) in 1/eV; or None.
        sheets: how many closed pieces a shell of the surface has at most.
        along_k: whether derivatives are along k, or by fields that couple to operators and leave k as it is.
    """

    level: Float[AnyArray, ""]
    weights: Float[AnyArray, " M"]
    thermal: Float[AnyArray, " M"]
    k: Float[AnyArray, "M 3"]
    energy: Float[AnyArray, " M"]
    velocity: Float[AnyArray, "M 3"]
    berry_curvature: Float[AnyArray, "M 3"]
    orbital_moment: Float[AnyArray, "M 3"]
    spin_moment: Float[AnyArray, "M 3"]
    sheet: Int[AnyArray, " M"]
    bloch: tuple[Complex[AnyArray, "M n"], Complex[AnyArray, "M 3 n"]] | None
    sheets: int = eqx.field(static=True)
    reduced: Complex[AnyArray, "M o o"] | None = None
    orbitals: tuple[int, ...] = eqx.field(static=True, default=())
    along_k: bool = eqx.field(static=True, default=True)

    def __len__(self) -> int:
        return len(self.weights)

    @property
    def state(self) -> State:
        """The states as kernels get them, leaves (M, ...)."""
        return State(
            k=jnp.asarray(self.k),
            energy=jnp.asarray(self.energy),
            velocity=jnp.asarray(self.velocity),
            berry_curvature=jnp.asarray(self.berry_curvature),
            orbital_moment=jnp.asarray(self.orbital_moment),
            density_of_states=jnp.full(len(self), jnp.sum(jnp.asarray(self.weights))),
        )


class ShellStates:
    """The states of a surface's shells: one by one where they are known, stacked where they are traced.

    Args:
        surface: sampled, or evaluated elsewhere.
        bloch: whether |u⟩ and |D_a u⟩ are needed.
        orbitals: those that reduced resolvents are needed on.

    Raises:
        JaxkinError: degenerate bands on a surface evaluated elsewhere, whose states are then not determined.
    """

    def __init__(self, surface: Surface, bloch: bool, orbitals: tuple[int, ...] = ()):
        self.surface, self._bloch, self._orbitals = surface, bloch, orbitals
        sampled = surface.sampled  # whose numbers are known
        self._sheet, self._sheets = _numbered(sampled.pocket * sampled.model.size + sampled.band, surface.layout)
        if bloch and surface.bloch is not None and self._degenerate:
            raise JaxkinError(
                "the bands of this surface are degenerate, and scattering between their states is not known away from "
                "where it was sampled: leave out the spin that nothing depends on, use RelaxationTime, or sample anew."
            )

    @property
    def _degenerate(self) -> bool:
        k = self.surface.sampled.k
        return any(np.any(np.diff(np.sort(first_together(k[shell.points]))) == 0) for shell in self.surface.shells)

    @cached_property
    def _k(self) -> AnyArray:
        basis = self.surface.model.basis
        return self.surface.k @ (basis if is_traced(basis) else np.asarray(basis))

    def some(self, points: np.ndarray) -> tuple[AnyArray, AnyArray]:
        """Cartesian k and |u⟩ of any points of the surface, (m, 3) and (m, n); each is diagonalised once."""
        if self.surface.bloch is not None:
            return self._k[points], self.surface.bloch[0][points]
        different, place = np.unique(points, return_inverse=True)
        return self._k[points], self._diagonalised(different)[0][place]

    def of(self, shell: Shell, size: int | None = None) -> States:
        """One shell's, filled up to ``size`` points."""
        points = shell.points
        fill = (size or points.stop - points.start) - (points.stop - points.start)

        def filled(values: AnyArray, **mode) -> np.ndarray:
            return np.pad(values, ((0, fill), *((0, 0),) * (np.ndim(values) - 1)), **mode)

        weights, thermal, *others = (np.asarray(column)[points] for column in self._columns)
        bloch, reduced = None, None
        if self._bloch:
            known = self.surface.bloch
            bloch = (
                tuple(self._diagonalised(points, size))
                if known is None
                else tuple(filled(np.asarray(x)[points]) for x in known)
            )
            if self._orbitals:
                reduced = filled(self._reduced(points, bloch[0][: points.stop - points.start]))
        columns = [filled(weights), filled(thermal), *(filled(x, mode="edge") for x in others)]
        return self._states(np.asarray(shell.energy, float), columns, bloch, reduced)

    def stacked(self) -> States:
        """All shells', leaves (shells, M, ...), each filled up to the largest."""
        place, present = self.layout
        surface = self.surface

        def column(values: AnyArray) -> Array:
            return jnp.asarray(values)[place]

        def weighed(values: AnyArray) -> Array:
            return jnp.where(present.reshape(*present.shape, *(1,) * (values.ndim - 1)), column(values), 0.0)

        weights, thermal, *others = self._columns
        levels = jnp.asarray(surface.levels)[np.array(surface.layout.level)]
        bloch, reduced = None, None
        if self._bloch and surface.bloch is not None:
            bloch = tuple(map(weighed, surface.bloch))
            if self._orbitals:
                reduced = weighed(self._reduced(slice(None), surface.bloch[0]))
        return self._states(levels, [weighed(weights), weighed(thermal), *map(column, others)], bloch, reduced)

    def _states(self, level: AnyArray, columns: list[AnyArray], bloch: Any, reduced: Any) -> States:
        names = ("weights", "thermal", "k", *VECTORS, "sheet")
        found = dict(zip(names, columns, strict=True))
        return States(level, **found, bloch=bloch, reduced=reduced, orbitals=self._orbitals, sheets=self._sheets)

    def _reduced(self, points: slice, state: AnyArray) -> AnyArray:
        surface, own = self.surface, len(state) * len(self._orbitals) ** 2
        demand(2 * 16 * own, f"resolvents of {len(state)} points", 'raise it, use fewer points, or theory="paper"')
        k, energy = surface.k[points], surface.energy[points]
        return reduced_resolvents(surface.model, k, energy, state, self._orbitals, surface.degeneracy)

    @property
    def layout(self) -> tuple[np.ndarray, np.ndarray]:
        """Where each shell's points are among all, the first repeated up to the largest's number; which are there."""
        starts = np.array(self.surface.layout.starts)
        counts = np.diff(starts)
        present = np.arange(counts.max()) < counts[:, None]
        return starts[:-1, None] + np.where(present, np.arange(counts.max()), 0), present

    @property
    def _columns(self) -> tuple[AnyArray, ...]:
        s = self.surface
        return (s.level_weight, s.weight, self._k, *(getattr(s, name) for name in VECTORS), self._sheet)

    def _diagonalised(self, points: slice | np.ndarray, size: int | None = None) -> Known:
        """States of points of a shell, filled up to ``size`` with zeros; those of a degenerate set are orthogonal."""
        surface, chosen = self.surface, np.arange(len(self.surface))[points]
        count, n = len(chosen), surface.model.size
        demand(2 * 64 * count * n, f"the states of {count} points", "raise it, or use fewer points (a smaller n)")
        k, orbits = np.asarray(surface.k), surface.orbits.value
        together = first_together(k[chosen])
        follows = np.zeros(count, bool)
        if orbits is not None:
            follows = orbits.followed(chosen) & (np.bincount(together, minlength=count)[together] == 1)
        found = Known(np.zeros((size or count, n), complex), np.zeros((size or count, 3, n), complex))
        if not follows.all():
            rest = ~follows
            for column, values in zip(found, self._solved(chosen[rest], k[chosen][together[rest]]), strict=True):
                column[:count][rest] = values
        if orbits is not None:
            orbits.fill(found, np.flatnonzero(follows), chosen[follows], k, self._solved)
        return found

    def _solved(self, chosen: np.ndarray, k: np.ndarray | None = None) -> Known:
        """States of points at ``k``, which is where they are unless points of a degenerate set are to be together."""
        surface, band = self.surface, self.surface.sampled.band[chosen]
        k = np.asarray(surface.k)[chosen] if k is None else k
        energy = np.asarray(surface.energy)[chosen]
        geometry = point_geometry(surface.model, k, band, STATES, energy, degeneracy=surface.degeneracy)
        return Known(*(geometry[name] for name in STATES))


def _numbered(sheet: np.ndarray, layout: Layout) -> tuple[np.ndarray, int]:
    """The sheets of each shell as 0, 1, ..., and the largest number of them."""
    number, most = np.empty(len(sheet), int), 1
    for start, stop in pairwise(layout.starts):
        different, number[start:stop] = np.unique(sheet[start:stop], return_inverse=True)
        most = max(most, len(different))
    return number, most


def filled_size(count: int, fine: bool) -> int:
    """The number of points that a shell of ``count`` is filled up to, of which few are different.

    ``fine``: at most an eighth more for large ones and twice as many for small ones, as matrices of all pairs need it.
    """
    for size in FINE if fine else COARSE:
        if count <= size:
            return size
    step = 1 << max(count.bit_length() - 4, 0)
    return -(-count // step) * step


def first_together(k: np.ndarray) -> np.ndarray:
    """For each of (N, d) points the number of the first that is at the same k.

    Bands that are degenerate have roots of their own, which rounding moves apart. Diagonalised one by one they
    would get states of the set that have nothing to do with each other.
    """
    pairs = KDTree(k).query_pairs(TOGETHER, output_type="ndarray") if len(k) else np.zeros((0, 2), int)
    if not len(pairs):
        return np.arange(len(k))
    graph = coo_array((np.ones(len(pairs)), pairs.T), shape=(len(k), len(k)))
    _, number = csgraph.connected_components(graph, directed=False)
    return np.unique(number, return_index=True)[1][number]
