"""Where in k-space the levels lie: cells that can hold them, gathered into pockets.

A cell is kept when the range of ε_n over its corners, widened by what the second differences say
about its inside, meets the energy window. Kept cells are halved until each connected component (a
pocket) is several cells across. The widening, ½ Σ_i |Δ²_i ε|, is four times the bound of a smooth
band and covers the kink of a linear crossing; it is an estimate, not a certificate.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import product

import numpy as np
from scipy import sparse
from scipy.sparse import csgraph

from jaxkin.hamiltonian.bloch import BlochModel
from jaxkin.memory import batch_bytes
from jaxkin.surface.certificate import cells_for, covering_diameter, undecided
from jaxkin.surface.elements import Elements, build_elements
from jaxkin.surface.nodes import BASE_CELLS, Nodes, zone_box

POCKET_CELLS = 8
"""A pocket is refined until it is this many cells across its shortest direction ..."""
FLAT = 0.6
"""... and in this fraction of its cells the band is nearly linear: the widening is at most half its range ..."""
MOST_CELLS = 192
"""... or until it is this many cells long."""
ROUNDING = 1e-12
"""Of the largest energy: variations of a band below this are none."""
DEEPEST = 12
"""Halvings after which an unresolved candidate (smaller than 1e-4 of the zone) is dropped."""


@dataclass(frozen=True)
class Pocket:
    """A box that holds one connected piece of the level sets, and the cells that can hold it.

    Attributes:
        origin, edges: the box in model coordinates, (d,).
        cells: cells per direction of the box, (d,).
        closed: directions in which the piece does not wrap round the zone, (d,).
        bands: indices of the bands that have the level here.
        active: (len(bands), *cells) cells that can hold the level.
        per_edge, start: the cells are ``start``, ``start`` + 1, ... of ``per_edge`` on an edge of the zone, (d,).
        nodes: the energies known at the corners of cells.
    """

    origin: np.ndarray
    edges: np.ndarray
    cells: tuple[int, ...]
    closed: np.ndarray
    bands: tuple[int, ...]
    active: np.ndarray
    per_edge: int
    start: np.ndarray
    nodes: Nodes = field(repr=False)

    @cached_property
    def elements(self) -> Elements:
        """The bands inside the active cells, from what the search has diagonalised."""

        def energies(node: np.ndarray) -> np.ndarray:
            return self.nodes.energies(self.per_edge, node)

        return build_elements(energies, self.per_edge, self.start, self.active, self.bands)


@dataclass(frozen=True)
class _Cells:
    """Active cells on the grid of one level: integer corners (N, d), bands (N, n).

    ``flat`` is where these are nearly linear, (N, n).
    """

    per_edge: int
    corner: np.ndarray
    band: np.ndarray
    flat: np.ndarray

    @property
    def flatness(self) -> float:
        """Fraction of cells in which a level set is nearly a plane, so that a line crosses it at most once."""
        return float(self.flat.sum() / max(self.band.sum(), 1))


def find_pockets(
    nodes: Nodes,
    window: tuple[float, float],
    detail: float = 1.0,
    smallest: float | None = None,
    smooth: float = 0.0,
) -> list[Pocket]:
    """All pockets of the model with a level inside ``window`` (eV), largest first.

    Args:
        nodes: the energies known so far.
        window: lowest and highest level in eV.
        detail: below one asks for less resolved cells, for windows that hardly count.
        smallest: diameter in Å⁻¹ of a ball inside a pocket that must not be missed; None is content with
            :func:`certain_diameter`.
        smooth: variations in eV that need no resolution. Without any, cells in which a band is flat to rounding are
            left out: they have no level set.
    """
    model = nodes.spectrum.model
    d, base = model.dimension, BASE_CELLS[model.dimension]
    corner = np.stack(np.meshgrid(*[np.arange(base)] * d, indexing="ij"), axis=-1).reshape(-1, d)
    everything = np.ones((len(corner), model.size), bool)
    start = _Cells(base, corner, everything, everything)
    if d == 1:  # level sets are points, which no box encloses: look at the whole zone
        kept = _halve(nodes, start, window, smooth).band.any(axis=0) | (smooth > 0)
        return [_pocket(nodes, replace(start, band=everything & kept))] if kept.any() else []
    found = _resolved(nodes, [_halve(nodes, start, window, smooth)], window, detail, smooth)
    if smallest is not None and smallest < certain_diameter(model):
        found += _resolved(nodes, [_overlooked(nodes, found, window, smallest)], window, detail, smooth)
    merged = _merge(nodes, found)
    return sorted(merged, key=lambda pocket: -float(np.prod(pocket.edges)))


def certain_diameter(model: BlochModel) -> float:
    """Diameter in Å⁻¹ of a ball that the nodes of the first pass cannot miss."""
    return covering_diameter(model, 2 * BASE_CELLS[model.dimension])


def _resolved(
    nodes: Nodes, queue: list[_Cells], window: tuple[float, float], detail: float, smooth: float
) -> list[tuple[Pocket, _Cells]]:
    """Connected pieces of cells, halved until each is several cells across."""
    found = []
    for _ in range(DEEPEST):
        finer = []
        for cells in queue:
            for pocket, piece in _components(nodes, cells):
                if max(pocket.cells) >= MOST_CELLS or (
                    min(pocket.cells) >= POCKET_CELLS and piece.flatness >= FLAT * detail
                ):
                    found.append((pocket, piece))
                else:
                    finer.append(_halve(nodes, piece, window, smooth))
        queue = finer
    return found


def _overlooked(
    nodes: Nodes, found: list[tuple[Pocket, _Cells]], window: tuple[float, float], smallest: float
) -> _Cells:
    """Cells, small enough for ``smallest``, at whose corners a band crosses the window, and that no pocket covers.

    A pocket round a node of the grid shows as such a crossing, next to a node that the certificate does not exclude.
    """
    model = nodes.spectrum.model
    per_edge = cells_for(model, smallest, BASE_CELLS[model.dimension])
    near = undecided(nodes, window, BASE_CELLS[model.dimension], per_edge)
    corners = np.array(list(product(range(2), repeat=model.dimension)))
    around = nodes.distinct(per_edge, (near[:, None, :] - corners).reshape(-1, model.dimension))
    around = around[np.all(around < per_edge, axis=1)]
    kept, crosses = [around[:0]], [np.zeros((0, model.size), bool)]
    for part in _parts(around, len(corners) * model.size):
        energies = nodes.energies(per_edge, part[:, None, :] + corners)
        crossing = (energies.min(axis=1) <= window[1]) & (energies.max(axis=1) >= window[0])
        kept.append(part[crossing.any(axis=1)])
        crosses.append(crossing[crossing.any(axis=1)])
    band = np.concatenate(crosses)
    cells = _Cells(per_edge, np.concatenate(kept), band, np.zeros_like(band))
    free = cells.band.copy()
    for pocket, _ in found:
        free[:, pocket.bands] &= ~_touched(cells, pocket, model)
    kept = free.any(axis=1)
    return _Cells(per_edge, cells.corner[kept], free[kept], cells.flat[kept])


def _touched(cells: _Cells, pocket: Pocket, model: BlochModel) -> np.ndarray:
    """(N, bands of the pocket) whether an active cell of the pocket lies in, or round, each cell."""
    lo, edges = zone_box(model.zone)
    finer = max(1, pocket.per_edge // cells.per_edge)
    inside = (np.array(list(np.ndindex((finer,) * len(lo)))) + 0.5) / finer
    touched = np.zeros((len(cells.corner), len(pocket.bands)), bool)
    for rows in np.array_split(np.arange(len(cells.corner)), 1 + len(cells.corner) * len(inside) // 1_000_000):
        place = (cells.corner[rows, None, :] + inside) / cells.per_edge - (pocket.origin - lo) / edges
        place = place % 1.0 if model.periodic else place
        cell = np.floor(place * edges / pocket.edges * np.array(pocket.cells)).astype(int)
        valid = np.all((cell >= 0) & (cell < np.array(pocket.cells)), axis=-1)
        cell = np.where(valid[..., None], cell, 0)
        active = pocket.active[(slice(None), *np.moveaxis(cell, -1, 0))]  # (bands, rows, points)
        touched[rows] = (active & valid).any(axis=2).T
    return touched


def _halve(nodes: Nodes, cells: _Cells, window: tuple[float, float], smooth: float) -> _Cells:
    """The children of ``cells`` that can hold a level of the window."""
    if not len(cells.corner):
        return replace(cells, per_edge=2 * cells.per_edge)
    parts = _parts(np.arange(len(cells.corner)), 3 ** cells.corner.shape[1] * cells.band.shape[1])
    children = zip(*(_children(nodes, cells, part, window, smooth) for part in parts), strict=True)
    in_order = [piece for parts_of_child in children for piece in parts_of_child]  # whatever the parts are
    corner, band, flat = (np.concatenate(column) for column in zip(*in_order, strict=True))
    return _Cells(2 * cells.per_edge, corner, band, flat)


def _children(
    nodes: Nodes, cells: _Cells, which: np.ndarray, window: tuple[float, float], smooth: float
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """(corner, band, flat) of each of the 2^d children of some of the ``cells``, those that can hold a level."""
    d = cells.corner.shape[1]
    stencil = np.array(list(product(range(3), repeat=d)))
    node = 2 * cells.corner[which, None, :] + stencil  # (N, 3^d, d) on the finer grid
    energies = nodes.energies(2 * cells.per_edge, node).reshape(len(node), *(3,) * d, -1)
    widening = 0.5 * sum(_largest_bend(energies, axis) for axis in range(1, d + 1))
    low = high = energies
    for axis in range(1, d + 1):  # all children at once: (N, 2, ..., 2, n)
        low, high = _of_pairs(np.minimum, low, axis), _of_pairs(np.maximum, high, axis)
    rounding = ROUNDING * max(float(np.abs(energies).max()), 1.0)
    children = []
    for child in product(range(2), repeat=d):
        bottom, top = low[:, *child], high[:, *child]
        holds = (bottom - widening <= window[1]) & (top + widening >= window[0]) & cells.band[which]
        if not smooth:
            holds &= top + widening - bottom > rounding
        flat = holds & (widening <= np.maximum(0.5 * (top - bottom), smooth))
        keep = holds.any(axis=1)
        children.append((2 * cells.corner[which][keep] + np.array(child), holds[keep], flat[keep]))
    return children


def _largest_bend(energies: np.ndarray, axis: int) -> np.ndarray:
    """(N, n) largest second difference along one of three nodes' axes."""
    bend = np.abs(np.diff(energies, n=2, axis=axis))
    return bend.reshape(len(bend), -1, bend.shape[-1]).max(axis=1)


def _of_pairs(function: np.ufunc, x: np.ndarray, axis: int) -> np.ndarray:
    """``function`` of neighbours along an axis."""
    before = (slice(None),) * axis
    return function(x[*before, :-1], x[*before, 1:])


def _parts(rows: np.ndarray, numbers: int) -> list[np.ndarray]:
    """``rows`` in parts that fit into a batch if each needs so many numbers, and half as many again for copies."""
    count = int(max(1, batch_bytes() // (16 * numbers)))
    return [rows[first : first + count] for first in range(0, len(rows), count)]


def _components(nodes: Nodes, cells: _Cells):
    """Connected pieces, band by band, as (Pocket, its cells)."""
    periodic = nodes.spectrum.model.periodic
    for band in np.flatnonzero(cells.band.any(axis=0)):
        mine = np.flatnonzero(cells.band[:, band])
        labels = _label(cells.corner[mine], cells.per_edge, periodic)
        for label in np.unique(labels):
            part = mine[labels == label]
            this_band = np.arange(cells.band.shape[1]) == band
            one_band = np.broadcast_to(this_band, (len(part), len(this_band)))
            piece = _Cells(cells.per_edge, cells.corner[part], one_band, cells.flat[part] & this_band)
            yield _pocket(nodes, piece), piece


def _label(corner: np.ndarray, per_edge: int, periodic: bool) -> np.ndarray:
    """Number the components of a set of cells that touch by a face, an edge or a corner."""
    d = corner.shape[1]
    span = per_edge + 2  # room for neighbours beyond a non-periodic boundary
    key = np.asarray(np.ravel_multi_index((corner + 1).T, (span,) * d))
    order = np.argsort(key)
    links = []
    for step in product((-1, 0, 1), repeat=d):
        if step <= (0,) * d:  # the opposite step makes the same links
            continue
        neighbour = corner + np.array(step)
        if periodic:
            neighbour %= per_edge
        wanted = np.ravel_multi_index((neighbour + 1).T, (span,) * d)
        place = np.minimum(np.searchsorted(key, wanted, sorter=order), len(key) - 1)
        here = np.flatnonzero(key[order[place]] == wanted)
        links.append(np.stack([here, order[place[here]]]))
    i, j = np.concatenate(links, axis=1)
    graph = sparse.coo_array((np.ones(len(i)), (i, j)), shape=(len(corner),) * 2)
    return csgraph.connected_components(graph, directed=False)[1]


def _extent(index: np.ndarray, per_edge: int, periodic: bool) -> tuple[int, int]:
    """(start, length) of the shortest interval of cells, on the circle if periodic, that covers ``index``."""
    used = np.unique(index)
    if not periodic:
        return int(used[0]), int(used[-1] - used[0] + 1)
    gaps = np.diff(np.append(used, used[0] + per_edge))
    widest = int(np.argmax(gaps))
    start = int(used[(widest + 1) % len(used)])
    return start, int(per_edge - gaps[widest] + 1)


def _pocket(nodes: Nodes, cells: _Cells) -> Pocket:
    """The box round a set of cells."""
    periodic = nodes.spectrum.model.periodic
    lo, edges = zone_box(nodes.spectrum.model.zone)
    extents = [_extent(cells.corner[:, i], cells.per_edge, periodic) for i in range(len(lo))]
    # A piece that fills a direction but for less than a cell is treated as wrapping round it.
    start = np.array([0 if length >= cells.per_edge else begin for begin, length in extents])
    shape = tuple(min(length, cells.per_edge) for _, length in extents)
    bands = np.flatnonzero(cells.band.any(axis=0))
    active = np.zeros((len(bands), *shape), bool)
    local = cells.corner - start
    local = local % cells.per_edge if periodic else local
    for row, band in enumerate(bands):
        active[(row, *local[cells.band[:, band]].T)] = True
    return Pocket(
        origin=lo + edges * start / cells.per_edge,
        edges=edges * np.array(shape) / cells.per_edge,
        cells=shape,
        closed=np.array([not periodic or length < cells.per_edge for length in shape]),
        bands=tuple(int(b) for b in bands),
        active=active,
        per_edge=cells.per_edge,
        start=start,
        nodes=nodes,
    )


def boxed(nodes: Nodes, per_edge: int, corner: np.ndarray, band: int) -> Pocket:
    """The pocket of one band's cells at integer corners (N, d)."""
    mine = np.broadcast_to(np.arange(nodes.spectrum.model.size) == band, (len(corner), nodes.spectrum.model.size))
    return _pocket(nodes, _Cells(per_edge, corner, mine, mine))


def _merge(nodes: Nodes, found: list[tuple[Pocket, _Cells]]) -> list[Pocket]:
    """Join pockets of different bands whose boxes nearly coincide, so that one diagonalisation serves both."""
    groups: list[tuple[Pocket, _Cells]] = []
    for pocket, cells in found:
        for index, (other, theirs) in enumerate(groups):
            shared = set(pocket.bands) & set(other.bands)
            if not shared and theirs.per_edge == cells.per_edge and _overlap(pocket, other) > 0.5:
                both = _Cells(
                    cells.per_edge,
                    np.concatenate([theirs.corner, cells.corner]),
                    np.concatenate([theirs.band, cells.band]),
                    np.concatenate([theirs.flat, cells.flat]),
                )
                groups[index] = (_pocket(nodes, both), both)
                break
        else:
            groups.append((pocket, cells))
    return [pocket for pocket, _ in groups]


def _overlap(a: Pocket, b: Pocket) -> float:
    """Volume of the boxes' intersection over that of their union."""
    low = np.maximum(a.origin, b.origin)
    high = np.minimum(a.origin + a.edges, b.origin + b.edges)
    common = float(np.prod(np.clip(high - low, 0, None)))
    return common / (float(np.prod(a.edges)) + float(np.prod(b.edges)) - common)
