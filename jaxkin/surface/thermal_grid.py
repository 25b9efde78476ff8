"""Lattices of k in the thermal shell round one or many Fermi levels: the sampler for T > 0 and smooth integrands."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import NamedTuple

import numpy as np

from jaxkin.checks import check_count
from jaxkin.hamiltonian.bloch import BlochModel
from jaxkin.hamiltonian.spectrum import Spectrum
from jaxkin.memory import batch_bytes, demand
from jaxkin.surface.cosets import mixed_directions, random_shifts
from jaxkin.surface.maps import ZoneMap, canonical_nodes
from jaxkin.surface.rule import LatticeRule
from jaxkin.surface.samples import Decided, Samples
from jaxkin.surface.search import Pocket
from jaxkin.surface.thermal import Thermal

BIN = 0.5
"""Width in kT of the energy bins in which scattering is taken to be elastic, if they hold enough points."""
SPREAD = 0.05
"""Relative half width of the interval that a symmetric lattice's numbers of points are drawn from ..."""
NARROWEST = 2
"""... and its least half width."""
COARSEST = 8
"""Points along the flattest edge of a pocket that are never gone below."""
FLAT = 1e-9
"""eV from one cell to the next: below, a band is flat, and no direction is its steepest."""
UNRESOLVED = 0.1
"""Of kT: variations of a band within a cell that the search need not resolve."""
HARDLY = 0.01
"""Of the largest −f⁰' of any state, or less where the lattice is off by less: below, nodes are taken at random ..."""
MANY = 1000
"""... of a pocket that has more nodes than these."""
NODE_BYTES = 200
"""That a node takes from its index to its orbit."""


class Passed(NamedTuple):
    """Nodes of a pocket's box at which a window holds no band.

    Attributes:
        volume: of a node in model coordinates.
        energy: near those of the bands at nodes of their active cells, eV.
        per_cell: number of all nodes in each cell of the box.
    """

    volume: float
    energy: np.ndarray
    per_cell: np.ndarray


@dataclass(frozen=True)
class ThermalGrid:
    """∫(dk)(−f⁰')F by equal weights on a lattice: what :class:`jaxkin.Grid` becomes at T > 0.

    −f⁰' is smooth, so the sum over a lattice converges faster than any power of ``n`` once kT is above the
    level spacing. All Fermi levels and temperatures take their weights from the same points. Scattering
    kernels see bins of half a kT, or wider ones where these hold few points. Nodes that hardly count for any level
    are taken at random, each with its inverse probability, :func:`jaxkin.surface.thermal_grid.probability`.

    Only nodes are diagonalised at which the search's quadratic elements put a band into the window. The lattice
    is shifted at random, which is unbiased for every ``n``. Where symmetries map a pocket on itself one node
    of each orbit stands for all: the shift is then random along an axis that many of them leave alone and one
    of a few across it (:mod:`jaxkin.surface.cosets`), and the *number* of points along each edge is random (as in
    P. Kritzer, F. Kuo, D. Nuyens, M. Ullrich, J. Approx. Theory 240, 96 (2019)). What a lattice finer by
    1.7 across the axis is off stays in the mean over replicas.

    Args:
        n: points along the steepest direction of each pocket's box; along others as the band is steep.

    Raises:
        JaxkinError: fewer points than two.
    """

    n: int

    def __post_init__(self):
        check_count("n", self.n, 2)

    def resized(self, n: int) -> ThermalGrid:
        return replace(self, n=n)

    def at(self, temperature: float) -> ThermalGrid:
        return self

    def windows(self, thermals: Sequence[Thermal]) -> list[tuple[float, float]]:
        """The windows of −f⁰' of all ``thermals`` in eV, those that overlap joined."""
        joined: list[tuple[float, float]] = []
        for low, high in sorted(thermal.window for thermal in thermals):
            if joined and low <= joined[-1][1]:
                joined[-1] = joined[-1][0], max(high, joined[-1][1])
            else:
                joined.append((low, high))
        return joined

    def smooth(self, thermals: Sequence[Thermal]) -> float:
        return UNRESOLVED * min(thermal.width for thermal in thermals)

    def levels(self, thermals: Sequence[Thermal], shift: float) -> np.ndarray:
        return np.mean(self.windows(thermals), axis=1)

    def share(self, thermal: Thermal, level: np.ndarray, energy: np.ndarray) -> np.ndarray:
        return thermal.density(energy) * thermal.inside(energy)

    def bin_width(self, thermal: Thermal) -> float:
        return BIN * thermal.width

    def profile(self, samples: Samples, distance: np.ndarray, slope: np.ndarray) -> np.ndarray:
        return np.ones(len(distance))

    def rule(self, thermal: Thermal, decided: Decided) -> LatticeRule:
        return LatticeRule(decided.start, decided.band, decided.pocket, decided.volume, decided.width / thermal.width)

    def sample(
        self,
        spectrum: Spectrum,
        pocket: Pocket,
        window: tuple[float, float],
        level: float,
        thermals: Sequence[Thermal],
        stabiliser: tuple[ZoneMap, ...],
        pockets: Sequence[Pocket],
        rng: np.random.Generator,
    ) -> Samples:
        """Nodes of the pocket's active cells; ``edges`` are those of one node's volume here."""
        spacing = float(self.changes(pocket).max()) / self.n
        return self.drawn(spectrum.model, pocket, window, stabiliser, rng, partial(probability, thermals, spacing))[0]

    def drawn(
        self,
        model: BlochModel,
        pocket: Pocket,
        window: tuple[float, float],
        stabiliser: tuple[ZoneMap, ...],
        rng: np.random.Generator,
        chance: Callable[[np.ndarray], np.ndarray] | None = None,
    ) -> tuple[Samples, Passed]:
        """The nodes that may have a band in the window, and those that the bands pass by.

        Args:
            model: any.
            pocket: in whose box they lie.
            window: lowest and highest energy in eV.
            stabiliser: the maps of the zone that map the pocket on itself.
            rng: of the shift.
            chance: probability of taking a node, by its energy (eV); None takes all.
        """
        size = self._size(model, pocket, stabiliser)
        choices = random_shifts(stabiliser, 2 * np.pi * size[:, None] * np.asarray(model.dual)) if stabiliser else []
        shift, maps = rng.random(len(size)), ()
        if choices:
            shift, maps = choices[rng.integers(len(choices))].draw(rng)
            size = self._varied(size, stabiliser, rng)
        lattice = _Lattice(model, pocket, size, shift)
        row, node = lattice.active
        energy, doubt = lattice.predicted
        near = (energy > window[0] - doubt) & (energy < window[1] + doubt)
        if len(maps) > 1:  # one node of each orbit stands for all, also where only another one seemed near
            first = canonical_nodes(maps, tuple(size), lattice.node, shift)[node]
            key = first * len(pocket.bands) + row
            chosen, found = np.unique(key[near], return_index=True)
            own = energy[near][found]
            near = np.isin(key, chosen)
            first, row_of = np.divmod(chosen, len(pocket.bands))
            place = np.stack(np.unravel_index(first, tuple(size)), axis=-1) + shift
            moved = np.array([place @ one.matrix.T - place for one in maps]) / size
            multiplicity = np.all(np.abs(moved - np.rint(moved)) < 0.5 / size, axis=2).sum(axis=0).astype(float)
            k = place / size
        else:
            first, row_of, own = node[near], row[near], energy[near]
            k, multiplicity = lattice.k[first], np.ones(len(first))
        taken, count = slice(None), multiplicity
        if chance is not None and len(first) > MANY:
            taking = chance(own)
            _, at = np.unique(first, return_inverse=True)  # one draw for all bands of a node, which share its H(k)
            taken = np.flatnonzero(rng.random(at.max() + 1)[at] < taking)
            count = (multiplicity * taking)[taken]
        samples = Samples(
            k=k[taken],
            band=np.array(pocket.bands)[row_of[taken]],
            axis=np.zeros(len(count), int),
            edges=lattice.edges,
            volume=np.prod(lattice.edges) / count,
            images=maps if len(maps) > 1 else (),
        )
        return samples, Passed(float(np.prod(lattice.edges)), energy[~near], lattice.nodes_per_cell)

    def _size(self, model: BlochModel, pocket: Pocket, stabiliser: tuple[ZoneMap, ...]) -> np.ndarray:
        """Points along the edges of the zone, (d,) integers."""
        lo, hi = np.array(model.zone).T
        change = self.changes(pocket)
        steep = change / max(float(change.max()), FLAT)
        across = np.maximum(self.n * steep, min(self.n, COARSEST))
        size = across * (hi - lo) / pocket.edges
        for axes in mixed_directions(stabiliser) if stabiliser else ():
            size[axes] = size[axes].max()
        return np.maximum(np.rint(size).astype(int), 2)

    @staticmethod
    def changes(pocket: Pocket) -> np.ndarray:
        """Root mean square change of an energy along the edges of a pocket's box in eV, (d,)."""
        values = pocket.elements.values
        steps = [np.sqrt(np.mean(np.diff(values, axis=axis + 1) ** 2)) for axis in range(len(pocket.cells))]
        return np.array(steps) * pocket.cells

    @staticmethod
    def _varied(size: np.ndarray, stabiliser: tuple[ZoneMap, ...], rng: np.random.Generator) -> np.ndarray:
        """Random numbers of points round ``size``."""
        varied = size.copy()
        for axes in mixed_directions(stabiliser):
            width = max(SPREAD * size[axes[0]], NARROWEST)
            varied[axes] = np.rint(size[axes[0]] + width * (2 * rng.random() - 1))
        return np.maximum(varied, 2)


def probability(thermals: Sequence[Thermal], spacing: float, energy: np.ndarray) -> np.ndarray:
    """(N,) of taking a node of ``energy`` (eV): sqrt(p/p₀) where p, its −f⁰' over the largest, is below p₀.

    p₀ is 0.01, or the size e^{−2π²kT/Δ} of the Fourier component of −f⁰' that a lattice with ``spacing`` Δ (eV)
    misses, if that is less: so the noise, about p₀ over the square root of the number of nodes that count, stays
    below what the lattice is off. The root leaves enough nodes for :meth:`jaxkin.Surface.at` a few kT away.

    >>> probability([Thermal(0.0, 300.0)], 0.1, np.array([0.0, 0.2, 0.4])).round(2).tolist()
    [1.0, 0.54, 0.01]
    """
    taken = np.zeros(len(energy))
    for thermal in thermals:
        least = min(HARDLY, np.exp(-2 * np.pi**2 * thermal.width / max(spacing, FLAT)))
        np.maximum(taken, thermal.importance(energy) / max(least, np.finfo(float).tiny), out=taken)
    return np.sqrt(np.minimum(taken, 1.0))


class _Lattice:
    """The nodes (j + shift)/size of the zone that lie in a pocket's box, cell by cell."""

    def __init__(self, model: BlochModel, pocket: Pocket, size: np.ndarray, shift: np.ndarray):
        self.pocket, self.size, self.shift = pocket, size, shift
        self.lo, hi = np.array(model.zone).T
        self.edges = (hi - self.lo) / size
        self._along = [self._axis(axis, model.periodic) for axis in range(len(size))]

    def _axis(self, axis: int, periodic: bool) -> tuple[np.ndarray, np.ndarray]:
        """Indices j along one direction sorted by the cell of the box, and how many lie in each cell."""
        pocket, j = self.pocket, np.arange(self.size[axis])
        cell = np.floor((j + self.shift[axis]) * pocket.per_edge / self.size[axis] + 1e-9).astype(int)
        cell = cell - pocket.start[axis]
        cell = cell % pocket.per_edge if periodic else cell
        inside = (cell >= 0) & (cell < pocket.cells[axis])
        order = np.argsort(cell[inside], kind="stable")
        return j[inside][order], np.bincount(cell[inside], minlength=pocket.cells[axis])

    @cached_property
    def _nodes(self) -> tuple[np.ndarray, np.ndarray]:
        """Integer nodes (N, d) of the active cells, and these cells of the box, (N, d)."""
        cell = np.argwhere(self.pocket.active.any(axis=0))
        counts = np.stack([count[cell[:, a]] for a, (_, count) in enumerate(self._along)], axis=1)
        total = counts.prod(axis=1)
        found = int(total.sum())
        demand(NODE_BYTES * found, f"the {found} nodes of a lattice in one pocket", "raise it, or ask for a smaller n")
        owner = np.repeat(np.arange(len(cell)), total)
        place = np.arange(len(owner)) - np.repeat(np.cumsum(total) - total, total)
        node = np.empty((len(owner), len(self.size)), int)
        for axis, (index, count) in enumerate(self._along):
            place, inside = np.divmod(place, counts[owner, axis])
            node[:, axis] = index[(np.cumsum(count) - count)[cell[owner, axis]] + inside]
        return node, cell[owner]

    @property
    def node(self) -> np.ndarray:
        return self._nodes[0]

    @property
    def k(self) -> np.ndarray:
        return self.lo + self.edges * (self.node + self.shift)

    @cached_property
    def active(self) -> tuple[np.ndarray, np.ndarray]:
        """Row of the band and node, where the band's cells are active."""
        row, node = np.nonzero(self.pocket.active[(slice(None), *self._nodes[1].T)])
        return row, node

    @cached_property
    def predicted(self) -> tuple[np.ndarray, np.ndarray]:
        """Energies of :attr:`active` by the search's elements, and how far they may be off."""
        found = [np.zeros((2, 0))]
        for row, node in zip(*(np.array_split(part, self._batches) for part in self.active), strict=True):
            place = (self.node[node] + self.shift) * self.pocket.per_edge / self.size
            inside = place - np.floor(place + 1e-9)
            found.append(np.stack(self.pocket.elements.energies(row, self._nodes[1][node], inside)))
        energy, doubt = np.concatenate(found, axis=1)
        return energy, doubt

    @property
    def _batches(self) -> int:
        """In how many parts :attr:`active` is looked at, each with copies of the elements it lies in."""
        return 1 + 2 * 8 * 3 ** len(self.size) * len(self.active[0]) // batch_bytes()

    @property
    def nodes_per_cell(self) -> np.ndarray:
        """How many nodes each cell of the box holds, (*cells)."""
        count = np.ones(self.pocket.cells, int)
        for axis, (_, along) in enumerate(self._along):
            count = count * along.reshape(-1, *(1,) * (len(self.size) - 1 - axis))
        return count
