"""Densities of electrons and holes, band by band, whatever sampler and cell.

With s_n = 1 for a band whose empty states at T = 0 nowhere wrap round the zone, so that they are holes, and 0 else,

    electrons = Σ_{s_n = 0} ∫(dk) f⁰(ε_n),    holes = Σ_{s_n = 1} ∫(dk) (1 − f⁰(ε_n)).

Each enclosing piece of a band adds what it encloses; what encloses nothing is counted in the whole zone. At T = 0
lines do this, the signed positions of their roots; at T > 0 lattices, as those of :class:`ThermalGrid`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from jaxkin.surface.bundle import Bundle, bundles
from jaxkin.surface.images import pocket_images, stabiliser
from jaxkin.surface.maps import ZoneMap
from jaxkin.surface.nodes import Nodes
from jaxkin.surface.pieces import Piece, filled_cells, pieces, wraps
from jaxkin.surface.search import Pocket
from jaxkin.surface.thermal import FARTHEST, TAIL, Thermal
from jaxkin.surface.thermal_grid import UNRESOLVED, ThermalGrid

LINES = {1: 2, 2: 128, 3: 32}
"""Lines across each direction at T = 0, or the sampler's, if more."""
MOST_LINES = {1: 2, 2: 4096, 3: 256}
"""That add anything to an error that replicas show."""
POINTS = {1: 2048, 2: 192, 3: 56}
"""Points along the steepest direction at T > 0, or the sampler's, if more."""

Interval = tuple[float, float]


class Held(NamedTuple):
    """States of one piece in parts of the zone: energies (eV) with weights, and what is filled, or empty, anyway."""

    energy: np.ndarray
    weight: np.ndarray
    filled: float
    empty: float

    def beyond(self, thermal: Thermal, outside: bool) -> float:
        """∫(f⁰ − ``outside``) over the zone's volume, nothing of which cancels."""
        if outside:
            return -float(self.weight @ thermal.emptiness(self.energy)) - self.empty
        return float(self.weight @ thermal.occupation(self.energy)) + self.filled


class _Counted(NamedTuple):
    """A piece, the maps of the zone that keep it, and the number of the one that it is an image of."""

    piece: Piece
    kept: tuple[ZoneMap, ...]
    source: int | None


class Carriers:
    """Electrons and holes of one model at any Fermi level and temperature.

    Args:
        nodes: of the search.
        find: the pockets of an interval of energies, and of variations that need no resolution, in eV.
        thermals: levels and temperatures that will be asked for, which share their lattices.
        seed: makes the result reproducible.
        n: lines or points of the sampler.
        coarse: of the fewest points at T > 0.
        least: occupation, of that at the nearest band, down to which states count; None counts electrons and holes to
            7e-8 of their own.
    """

    def __init__(
        self,
        nodes: Nodes,
        find: Callable[[Interval, float], list[Pocket]],
        thermals: Sequence[Thermal],
        seed: int,
        n: int,
        *,
        coarse: float = 1.0,
        least: float | None = None,
    ):
        self.nodes, self.find, self.seed, self.least = nodes, find, seed, least
        self.edges = np.ptp(np.array(nodes.spectrum.model.zone), axis=1)
        least, most = (bound[nodes.spectrum.model.dimension] for bound in (LINES, MOST_LINES))
        self.lines = min(max(n, least), most)
        self.points = max(min(n, most), round(coarse * POINTS[nodes.spectrum.model.dimension]))
        self._full: dict[float, np.ndarray] = {}
        warm = [self._window(thermal) for thermal in thermals if thermal.temperature]
        self.unresolved = UNRESOLVED * min((t.width for t in thermals if t.temperature), default=0.0)
        self.shared = min((low for low, _ in warm), default=0.0), max((high for _, high in warm), default=0.0)
        self._pieces: dict[Interval, list[_Counted]] = {}
        self._held: dict[tuple[Interval, int], list[Held]] = {}
        self._known: dict[tuple[Thermal, int], tuple[float, float]] = {}

    def __call__(self, thermal: Thermal, numbers: Sequence[int]) -> np.ndarray:
        """(replicas, 2) electrons and holes in Å^-d of the replicas with these ``numbers``."""
        for number in numbers:
            if (thermal, number) not in self._known:
                self._known[thermal, number] = self._replica(thermal, number)
        return np.array([self._known[thermal, number] for number in numbers])

    def _replica(self, thermal: Thermal, number: int) -> tuple[float, float]:
        full = self.full(thermal.fermi_level)
        excess, rest = np.zeros(len(full)), np.ones(len(full), bool)
        for piece, held in self._added(thermal, number):
            if piece.outside is None:
                rest[piece.band] = False
            excess[piece.band] += held.beyond(thermal, full[piece.band] if piece.outside is None else piece.outside)
        # Where no piece is counted in the whole zone, the states round all pieces are filled or empty.
        occupied = thermal.occupation(self.nodes.first).reshape(-1, len(full)).mean(axis=0)
        excess += np.where(rest, np.rint(occupied - full - excess), 0.0)
        density = float(self.nodes.spectrum.model.measure) * float(np.prod(self.edges))
        return density * float(excess[~full].sum()), -density * float(excess[full].sum())

    def full(self, level: float) -> np.ndarray:
        """s_n, (bands,), of a level in eV."""
        if level not in self._full:
            bands, periodic = np.moveaxis(self.nodes.first < level, -1, 0), self.nodes.spectrum.model.periodic
            self._full[level] = np.array(
                [band.all() or (band.any() and wraps(band, periodic) and not wraps(~band, periodic)) for band in bands]
            )
        return self._full[level]

    def _window(self, thermal: Thermal) -> Interval:
        """Energies of carriers: up to :data:`TAIL` kT beyond μ, and beyond the edges of the bands on either side.

        Where only the difference of electrons and holes is wanted, as far on both sides as ``least`` reaches beyond the
        nearer edge: across a gap of many kT nothing is sampled.
        """
        full, width = self.full(thermal.fermi_level), thermal.width
        if not width:
            return thermal.fermi_level, thermal.fermi_level
        energies = self.nodes.first.reshape(-1, len(full))
        up = np.min(energies.min(axis=0)[~full], initial=np.inf) - thermal.fermi_level
        down = thermal.fermi_level - np.max(energies.max(axis=0)[full], initial=-np.inf)
        edges, tail = (max(down, 0.0), max(up, 0.0)), TAIL if self.least is None else -np.log(self.least)
        edges = edges if self.least is None else (min(edges),) * 2
        reach = [tail * width + (edge if edge < FARTHEST * width else 0.0) for edge in edges]
        return thermal.fermi_level - reach[0], thermal.fermi_level + reach[1]

    def _in(self, window: Interval, smooth: float) -> list[_Counted]:
        if window not in self._pieces:
            maps, found = self.nodes.maps, pieces(self.nodes, self.find(window, smooth), float(np.mean(window)))
            images = pocket_images([piece.pocket for piece in found], maps)
            self._pieces[window] = [
                _Counted(piece, stabiliser(piece.pocket, maps), None if image.map is None else image.source)
                for piece, image in zip(found, images, strict=True)
            ]
        return self._pieces[window]

    def _added(self, thermal: Thermal, number: int) -> list[tuple[Piece, Held]]:
        """What each piece of a window holds; pieces that are images of others hold the same."""
        level, window, smooth = thermal.fermi_level, self._window(thermal), UNRESOLVED * thermal.width
        if smooth and self.shared[0] <= window[0] and window[1] <= self.shared[1]:
            window, smooth = self.shared, self.unresolved
        found = self._in(window, smooth)
        if (window, number) not in self._held:
            rng, results = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(number, 0))), []
            for piece, own, source in found:
                if source is not None:
                    results.append(results[source])
                elif smooth:
                    results.append(self._by_lattice(piece, window, own, rng))
                else:
                    results.append(self._by_lines(piece, level, rng))
            self._held[window, number] = results
        return [(one.piece, held) for one, held in zip(found, self._held[window, number], strict=True)]

    def _by_lines(self, piece: Piece, level: float, rng: np.random.Generator) -> Held:
        """Filled length of lines: at a root at t it grows by 1 − t where the band falls, and shrinks where it rises."""
        pocket, length, full, whole = piece.pocket, 0.0, 0.0, piece.outside is None
        states = filled_cells(piece, level) if whole else None
        for bundle in bundles(self.nodes.spectrum, pocket, level, piece.axis, self.lines, rng):
            roots = bundle.roots()
            length += float(np.sum(np.where(roots.rising, roots.t - 1, 1 - roots.t)))
            if states is not None:
                length += self._starts_filled(piece, bundle, states)
            full += len(bundle.across)
        length = min(max(length / full, -1.0 if piece.outside else 0.0), 1.0)  # grazing lines may miss a root
        part = float(np.prod(pocket.edges / self.edges))
        return Held(np.zeros(0), np.zeros(0), part * length, part * (float(whole) - length))

    def _starts_filled(self, piece: Piece, bundle: Bundle, states: np.ndarray) -> int:
        """How many lines start in filled states as this piece has them, ``states`` where it leaves cells out."""
        start = np.zeros(len(bundle.across))
        x = bundle.points(np.arange(len(start)), start)
        cell = tuple((x * np.array(piece.pocket.cells)).astype(int).T)
        filled, cut = states[cell], piece.pocket.active[0][cell]
        k = piece.pocket.origin + piece.pocket.edges * x[cut]
        filled[cut] = self.nodes.spectrum(k)[:, piece.band] < bundle.level
        return int(filled.sum())

    def _by_lattice(self, piece: Piece, window: Interval, own: tuple[ZoneMap, ...], rng: np.random.Generator) -> Held:
        spectrum, level = self.nodes.spectrum, float(np.mean(window))
        samples, passed = ThermalGrid(self.points).drawn(spectrum.model, piece.pocket, window, own, rng)
        zone = float(np.prod(self.edges))
        weight = np.broadcast_to(samples.volume, len(samples.k)) * max(len(samples.images), 1) / zone
        filled, below = filled_cells(piece, level), passed.energy < level
        inside = passed.per_cell[filled].sum() + below.sum()
        others = passed.per_cell[~filled & ~piece.pocket.active[0]].sum() + (~below).sum()
        part = passed.volume / zone
        return Held(spectrum(samples.k)[:, piece.band], weight, part * inside, part * others)
