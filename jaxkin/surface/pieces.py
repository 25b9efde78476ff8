"""Connected pieces of one band's level sets, and what they enclose, by their topology.

A piece that some closed direction passes from filled to filled states, or from empty to empty ones, encloses its
inside. All others of a band (sheets that wrap round the zone, what a k·p model's box cuts) are taken as one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import ndimage, sparse
from scipy.sparse import csgraph

from jaxkin.surface.nodes import Nodes, zone_box
from jaxkin.surface.search import MOST_CELLS, Pocket, boxed


class Piece(NamedTuple):
    """One band's piece.

    Attributes:
        pocket: its cells, in a box of its own, or in the whole zone for what encloses nothing.
        axis: a direction of lines: closed, or that in which most lines meet the piece.
        outside: whether the states round an enclosing piece are filled; None for the others.
    """

    pocket: Pocket
    axis: int
    outside: bool | None

    @property
    def band(self) -> int:
        return self.pocket.bands[0]


def pieces(nodes: Nodes, pockets: Sequence[Pocket], level: float) -> list[Piece]:
    """The pieces of ``pockets``, enclosing ones first; ``level`` (eV) is any that their window holds."""
    enclosing, wrapping = [], {}
    for pocket in pockets:
        for row, band in enumerate(pocket.bands):
            corner = pocket.start + np.argwhere(pocket.active[row])
            corner = corner % pocket.per_edge if nodes.spectrum.model.periodic else corner
            own = pocket if len(pocket.bands) == 1 else boxed(nodes, pocket.per_edge, corner, band)
            piece = _enclosing(own, level)
            if piece is None:
                wrapping.setdefault(band, []).append((pocket.per_edge, corner))
            else:
                enclosing.append(piece)
    return enclosing + [_whole(nodes, band, parts) for band, parts in wrapping.items()]


def _enclosing(pocket: Pocket, level: float) -> Piece | None:
    """The piece if the states before and behind it are alike in a closed direction."""
    last = pocket.per_edge - 1
    cell = np.argwhere(pocket.active[0])
    for axis in np.flatnonzero(pocket.closed):
        step = np.eye(len(pocket.cells), dtype=int)[axis]
        before = pocket.start + cell[np.argmin(cell[:, axis])] - step
        behind = pocket.start + cell[np.argmax(cell[:, axis])] + step
        if not pocket.nodes.spectrum.model.periodic and (before[axis] < 0 or behind[axis] > last):
            continue
        energies = pocket.nodes.energies(pocket.per_edge, np.stack([before, behind]))[:, pocket.bands[0]]
        if (energies[0] < level) == (energies[1] < level):
            return Piece(pocket, int(axis), bool(energies[0] < level))
    return None


def _whole(nodes: Nodes, band: int, parts: Sequence[tuple[int, np.ndarray]]) -> Piece:
    """Cells (per edge of the zone, corners) of a band in one box, the zone."""
    model = nodes.spectrum.model
    per_edge = min(max(size for size, _ in parts), max(MOST_CELLS, min(size for size, _ in parts)))
    active = np.zeros((per_edge,) * model.dimension, bool)
    for size, corner in parts:
        finer = max(1, per_edge // size)
        inside = np.array(list(np.ndindex((finer,) * model.dimension)))
        at = (corner * per_edge // size)[:, None, :] + inside
        active[tuple(at.reshape(-1, model.dimension).T)] = True
    lo, edges = zone_box(model.zone)
    pocket = Pocket(
        origin=lo,
        edges=edges,
        cells=active.shape,
        closed=np.zeros(model.dimension, bool),
        bands=(band,),
        active=active[None],
        per_edge=per_edge,
        start=np.zeros(model.dimension, int),
        nodes=nodes,
    )
    return Piece(pocket, int(np.argmax([active.any(axis=axis).mean() for axis in range(active.ndim)])), None)


def filled_cells(piece: Piece, level: float) -> np.ndarray:
    """Which cells of the box that the piece leaves out are below ``level`` (eV) as far as this piece decides it.

    A region of such cells is what it is next to the piece: farther off other pieces of the band may lie.
    """
    pocket, active = piece.pocket, piece.pocket.active[0]
    labels, count = ndimage.label(~active)  # pyright: ignore[reportGeneralTypeIssues]
    links = [np.zeros((2, 0), int)]
    if pocket.nodes.spectrum.model.periodic:
        for axis in np.flatnonzero(~pocket.closed):
            faces = np.stack([np.ravel(np.take(labels, end, axis=axis)) for end in (0, -1)])
            links.append(faces[:, faces.all(axis=0)])
    i, j = np.concatenate(links, axis=1)
    graph = sparse.coo_array((np.ones(len(i)), (i, j)), shape=(count + 1,) * 2)
    region = csgraph.connected_components(graph, directed=False)[1][labels]
    near = np.argwhere(ndimage.binary_dilation(active) & ~active)
    known, first = np.unique(region[tuple(near.T)], return_index=True)
    below = np.zeros(count + 1, bool)
    below[known] = pocket.nodes.energies(pocket.per_edge, pocket.start + near[first])[:, piece.band] < level
    return below[region] & ~active


def wraps(inside: np.ndarray, periodic: bool) -> bool:
    """Whether a set of nodes of the zone holds a loop round it; without a lattice, whether it reaches the box's faces.

    A loop that leaves the zone an odd number of times in some direction connects a node with itself in the other
    of two copies of the set.
    """
    shape, size = inside.shape, inside.size
    if not periodic:
        return any(bool(np.take(inside, (0, -1), axis=axis).any()) for axis in range(inside.ndim))
    number = np.arange(size).reshape(shape)
    here, there, crossing = [], [], []
    for axis in range(inside.ndim):
        both = inside & np.roll(inside, -1, axis=axis)
        here.append(number[both])
        there.append(np.roll(number, -1, axis=axis)[both])
        last = np.indices(shape, sparse=True)[axis] == shape[axis] - 1
        crossing.append(np.where(np.broadcast_to(last, shape)[both], axis, -1))
    i, j, through = (np.concatenate(part) for part in (here, there, crossing))
    for axis in range(inside.ndim):
        other = np.where(through == axis, size, 0)
        rows, columns = np.concatenate([i, i + size]), np.concatenate([j + other, j + size - other])
        graph = sparse.coo_array((np.ones(len(rows)), (rows, columns)), shape=(2 * size,) * 2)
        copies = csgraph.connected_components(graph, directed=False)[1].reshape(2, *shape)
        if np.any((copies[0] == copies[1]) & inside):
            return True
    return False
