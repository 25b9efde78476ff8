"""The Fermi surface as triangles, in two dimensions as segments, with the band geometry at their corners."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations, permutations, product
from typing import Any, NamedTuple

import numpy as np

from jaxkin.brief import lines, plural, ranged
from jaxkin.hamiltonian.bloch import BlochModel
from jaxkin.hamiltonian.spectrum import Spectrum
from jaxkin.surface.points import point_geometry
from jaxkin.surface.search import Pocket

ACROSS = 16
"""Cells across the shortest direction of a pocket, if not asked for otherwise."""
MOST_ACROSS = 400
LONGEST = 0.1
"""Of a cell, that the last step may be at most."""


@dataclass(frozen=True)
class Mesh:
    """A level set as triangles (T, 3), in two dimensions as segments (T, 2).

    The side of a triangle from which its corners run counterclockwise is that of higher energies.

    Attributes:
        vertices: (V, 3) Cartesian k in Å⁻¹.
        simplices: (T, d) numbers of the corners.
        k: (V, d) model coordinates.
        band, pocket: (V,) index of the band, and number of the pocket, largest first.
        velocity: ∂ε/∂k in eV Å, (V, 3); like the next two before the vertex's last, small step.
        berry_curvature: Å², (V, 3).
        orbital_moment: μ_B, (V, 3).
        further: other quantities at the vertices by name, (V,) or (V, 3).
    """

    vertices: np.ndarray
    simplices: np.ndarray
    k: np.ndarray
    band: np.ndarray
    pocket: np.ndarray
    velocity: np.ndarray
    berry_curvature: np.ndarray
    orbital_moment: np.ndarray
    further: dict[str, np.ndarray] = field(default_factory=dict)

    def part(self, kept: np.ndarray) -> Mesh:
        """The simplices all of whose vertices are ``kept`` (V,)."""
        simplices = (np.cumsum(kept) - 1)[self.simplices[kept[self.simplices].all(axis=1)]]
        values = self.each(lambda x: x[kept])
        return replace(self, simplices=simplices, band=self.band[kept], pocket=self.pocket[kept], **values)

    def each(self, function: Callable[[np.ndarray], np.ndarray]) -> dict[str, Any]:
        """What is known at vertices, numbers of band and pocket aside, with ``function`` applied to each array."""
        names = ("vertices", "k", "velocity", "berry_curvature", "orbital_moment")
        further = {name: function(values) for name, values in self.further.items()}
        return {**{name: function(getattr(self, name)) for name in names}, "further": further}

    def __repr__(self) -> str:
        kind = "triangle" if self.simplices.shape[1] == 3 else "segment"
        parts = {"v": (self.velocity, "eV Å"), "Ω": (self.berry_curvature, "Å²"), "m": (self.orbital_moment, "μ_B")}
        sizes = (f"|{name}| {ranged(np.linalg.norm(x, axis=1))} {unit}" for name, (x, unit) in parts.items())
        return lines(
            f"Mesh: {plural(len(self.simplices), kind)}, {len(self.vertices)} vertices, "
            f"bands {', '.join(map(str, np.unique(self.band)))}",
            "; ".join(sizes),
            "ask for .vertices (Å⁻¹), .simplices, .velocity, .orbital_moment, .berry_curvature, .measure",
        )

    @property
    def measure(self) -> np.ndarray:
        """(T,) areas of the triangles in Å⁻², or lengths of the segments in Å⁻¹."""
        corners = self.vertices[self.simplices]
        edges = corners[:, 1:] - corners[:, :1]
        return np.linalg.norm(edges[:, 0] if edges.shape[1] == 1 else 0.5 * np.cross(edges[:, 0], edges[:, 1]), axis=1)


def level_mesh(
    model: BlochModel, level: float, pockets: Sequence[Pocket], degeneracy: float, across: int = ACROSS
) -> Mesh:
    """The set ε(k) = ``level`` inside some pockets, by marching tetrahedra (triangles in two dimensions).

    Each cell of a pocket that can hold the level is divided into simplices with corners at the cell's; where the band
    crosses the level on an edge is a vertex, which all simplices round the edge share: closed pockets have no holes.
    Two false positions bring it there along the edge, and a Newton step along the velocity.

    Args:
        model: of two or three dimensions.
        level: energy in eV.
        pockets: of the search.
        degeneracy: eV, as of :func:`jaxkin.band_geometry`.
        across: cells across the shortest direction of each pocket, at least.
    """
    parts = [
        _marched(model, level, pocket, number, which, across)
        for number, pocket in enumerate(pockets)
        for which in range(len(pocket.bands))
    ]
    parts = [part for part in parts if len(part.simplices)]
    d = model.dimension
    starts = np.cumsum([0, *(len(part.k) for part in parts)])
    k = np.concatenate([part.k for part in parts]) if parts else np.zeros((0, d))
    simplices = [part.simplices + start for part, start in zip(parts, starts, strict=False)]
    simplices = np.concatenate(simplices) if parts else np.zeros((0, d), int)
    band = np.repeat(np.array([part.band for part in parts], int), np.diff(starts))
    pocket = np.repeat(np.array([part.pocket for part in parts], int), np.diff(starts))
    names = ("energy", "velocity", "berry_curvature", "orbital_moment")
    energy, velocity, curvature, moment = point_geometry(model, k, band, names, degeneracy=degeneracy).values()
    square = np.maximum(np.sum(velocity**2, axis=1), 1e-300)
    step = ((level - energy) / square)[:, None] * velocity @ np.asarray(model.dual).T
    reach = np.repeat(np.array([part.cell for part in parts]).reshape(-1, d), np.diff(starts), axis=0)
    k = k + np.clip(step, -LONGEST * reach, LONGEST * reach)  # so small that the geometry stays
    mesh = Mesh(np.asarray(model.cartesian(k)), simplices, k, band, pocket, velocity, curvature, moment)
    return replace(mesh, simplices=_oriented(mesh))


class _Part(NamedTuple):
    """One band in one pocket, before its vertices move; ``cell`` are the edges of a cell in model coordinates."""

    k: np.ndarray
    simplices: np.ndarray
    band: int
    pocket: int
    cell: np.ndarray


def _marched(model: BlochModel, level: float, pocket: Pocket, number: int, which: int, across: int) -> _Part:
    d, band = model.dimension, pocket.bands[which]
    fine = max(1, -(-across // min(pocket.cells)))
    coarse = np.argwhere(pocket.active[which])
    offsets = np.array(list(product(range(fine), repeat=d)))
    cells = (coarse[:, None, :] * fine + offsets).reshape(-1, d)
    shape = np.array(pocket.cells) * fine + 1
    width = pocket.edges / (shape - 1)
    corners = np.array(list(product((0, 1), repeat=d)))
    nodes, where = np.unique(
        np.ravel_multi_index(np.moveaxis(cells[:, None, :] + corners, -1, 0), shape), return_inverse=True
    )
    where = where.reshape(len(cells), len(corners))
    x = np.stack(np.unravel_index(nodes, shape), axis=1)
    k = pocket.origin + width * x
    spectrum = Spectrum(model)
    height = spectrum(k)[:, band] - level
    ends = np.concatenate([where[:, simplex] for simplex in SIMPLICES[d]])  # (S, d + 1) numbers of nodes
    code = (height[ends] < 0) @ (1 << np.arange(d + 1))
    edges = [ends[code == value][:, np.array(faces)] for value, faces in FACES[d].items() for faces in faces]
    edges = np.concatenate(edges) if edges else np.zeros((0, d, 2), int)  # (T, d, 2)
    pairs, simplices = np.unique(np.sort(edges.reshape(-1, 2), axis=1), axis=0, return_inverse=True)
    found = _crossings(spectrum, level, band, k[pairs], height[pairs])
    return _Part(found, simplices.reshape(-1, d), band, number, width)


def _crossings(spectrum: Spectrum, level: float, band: int, ends: np.ndarray, height: np.ndarray) -> np.ndarray:
    """Where a band has the level on edges (N, 2, d) with heights of either sign at their ends, (N, 2): (N, d)."""
    k, rows = _false_position(ends, height), np.arange(len(ends))
    found = spectrum(k)[:, band] - level
    side = np.where((found < 0) == (height[:, 0] < 0), 0, 1)  # the end that the point takes the place of
    ends[rows, side], height[rows, side] = k, found
    return _false_position(ends, height)


def _false_position(ends: np.ndarray, height: np.ndarray) -> np.ndarray:
    first, second = height.T
    t = (first / np.where(first == second, 1.0, first - second))[:, None]
    return (1 - t) * ends[:, 0] + t * ends[:, 1]


def _simplices(d: int) -> list[list[int]]:
    """Kuhn's division of a cube: the paths along its edges from the first corner to the last."""
    paths = [np.cumsum([[0] * d, *np.eye(d, dtype=int)[list(order)]], axis=0) for order in permutations(range(d))]
    return [[int(corner @ (1 << np.arange(d)[::-1])) for corner in path] for path in paths]


def _faces(d: int) -> dict[int, list[list[tuple[int, int]]]]:
    """For each set of corners of a simplex below the level (as bits) the edges that make each triangle or segment."""
    table = {}
    for count in range(1, d + 1):
        for below in combinations(range(d + 1), count):
            above = [corner for corner in range(d + 1) if corner not in below]
            edges = list(product(below, above))
            if len(edges) == d:
                faces = [edges]
            else:  # two below and two above: a quadrangle
                (a, c), (_, f), (b, _), _ = edges
                faces = [[(a, c), (a, f), (b, f)], [(a, c), (b, f), (b, c)]]
            table[sum(1 << corner for corner in below)] = faces
    return table


SIMPLICES = {d: _simplices(d) for d in (2, 3)}
FACES = {d: _faces(d) for d in (2, 3)}


def _oriented(mesh: Mesh) -> np.ndarray:
    """Simplices with corners in the order that sees higher energies on their right side."""
    corners = mesh.vertices[mesh.simplices]
    edges = corners[:, 1:] - corners[:, :1]
    normal = np.cross(edges[:, 0], [0.0, 0.0, 1.0]) if edges.shape[1] == 1 else np.cross(edges[:, 0], edges[:, 1])
    wrong = np.sum(normal * mesh.velocity[mesh.simplices].mean(axis=1), axis=1) < 0
    return np.where(wrong[:, None], mesh.simplices[:, ::-1], mesh.simplices)
