"""Bands between the nodes of the search: quadratic elements that say where a line meets the level.

Blocks of 2^d cells share 3^d nodes that the search has diagonalised already. The polynomial of second order
through them gives every crossing of a line and its slope at no further cost; a few steps on H(k) itself make
the root exact. Where bands touch, a polynomial says nothing: such elements are marked rough.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import numpy as np

from jaxkin.hamiltonian.eigensystem import DEGENERACY_TOLERANCE

TOUCHING = 2.0
"""A gap to the next band below this many second differences may close inside the element."""

AT_ONCE = 1024
"""Elements whose energies of all bands are in memory at a time."""

SMOOTH, KINKED = 0.25, 0.5
"""Second differences that the energy inside an element may differ from the polynomial."""


class Crossings(NamedTuple):
    """Where lines meet the level: row of the band, line, coordinate t along it, dε/dt, ½d²ε/dt², and the doubt in ε."""

    row: np.ndarray
    line: np.ndarray
    t: np.ndarray
    slope: np.ndarray
    bend: np.ndarray
    doubt: np.ndarray


@dataclass(frozen=True)
class Elements:
    """Elements of the active cells of a pocket's box.

    Attributes:
        start: (d,) first cell of the box on the grid of the zone.
        index: (bands, *cells) element of each cell; −1 where the cell cannot hold the level.
        values: (elements, 3, ..., 3) energies at the nodes, eV.
        bend: (elements,) largest second difference, eV.
        rough: (elements,) another band comes so near that the energy may have a kink.
    """

    start: np.ndarray
    index: np.ndarray
    values: np.ndarray
    bend: np.ndarray
    rough: np.ndarray

    def crossings(self, axis: int, across: np.ndarray, level: float) -> tuple[Crossings, np.ndarray]:
        """Crossings on lines along ``axis`` at box coordinates ``across`` (L, d−1), and (bands, L) rough lines."""
        shape = np.array(self.index.shape[1:])
        others = np.arange(len(shape)) != axis
        place = across * shape[others]
        column = tuple(place.astype(int).T)
        along = np.moveaxis(self.index, axis + 1, -1)[(slice(None), *column)]
        along = along.reshape(len(self.index), len(across), shape[axis])
        row, line, cell = np.nonzero(along >= 0)
        element = along[row, line, cell]
        rough = np.zeros(along.shape[:2], bool)
        np.logical_or.at(rough, (row, line), self.rough[element])

        block = 0.5 * (self.start[others] + place)
        values = np.moveaxis(self.values, axis + 1, -1)[element]
        for basis in np.moveaxis(_basis(block - np.floor(block)), 0, 1):  # (L, 3) of each direction across
            values = np.einsum("ki...,ki->k...", values, basis[line])
        f0, f1, f2 = (values - level).T
        c0, c1, c2 = f0, -3 * f0 + 4 * f1 - f2, 2 * f0 - 4 * f1 + 2 * f2
        half = 0.5 * ((self.start[axis] + cell) % 2)
        found = []
        for u in _quadratic_roots(c0, c1, c2):
            inside = (u >= half) & (u < half + 0.5)
            t = (cell[inside] + 2 * (u[inside] - half[inside])) / shape[axis]
            per_t = 0.5 * shape[axis]  # du/dt
            slope, bend = (c1 + 2 * c2 * u)[inside] * per_t, c2[inside] * per_t**2
            doubt = SMOOTH * self.bend[element[inside]]
            found.append((row[inside], line[inside], t, slope, bend, doubt))
        return Crossings(*(np.concatenate(part) for part in zip(*found, strict=True))), rough

    def energies(self, row: np.ndarray, cell: np.ndarray, inside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Energies at ``inside`` ∈ [0, 1)^d of active cells (N, d) of bands' rows, and how far they may be off, (N,).

        In units of the element's largest second difference: measured for tellurium, 0.2 at most where the band is
        smooth and 0.3 where it touches another.
        """
        element = self.index[(row, *cell.T)]
        doubt = np.where(self.rough, KINKED, SMOOTH) * self.bend
        values = self.values[element]
        block = 0.5 * ((self.start + cell) % 2 + inside)
        for basis in np.moveaxis(_basis(block), 0, 1):  # (N, 3) of each direction
            values = np.einsum("ni...,ni->n...", values, basis)
        return values, doubt[element]


def build_elements(energies, per_edge: int, start: np.ndarray, active: np.ndarray, bands: tuple[int, ...]) -> Elements:
    """Elements of the cells ``active`` (bands, *cells) of the grid with ``per_edge`` cells per edge of the zone.

    ``energies(nodes)`` gives (..., n) energies at integer nodes of that grid.
    """
    d = len(start)
    row, *cell = np.nonzero(active)
    block = ((start + np.stack(cell, axis=1)) % per_edge) // 2
    keys, inverse = np.unique(np.concatenate([row[:, None], block], axis=1), axis=0, return_inverse=True)
    index = np.full(active.shape, -1, np.int32)
    index[(row, *cell)] = inverse.ravel()
    stencil = np.array(list(product(range(3), repeat=d)))
    own = np.array(bands)[keys[:, 0]]
    values, gap = np.empty((len(keys), len(stencil))), np.empty(len(keys))
    for first in range(0, len(keys), AT_ONCE):
        part = slice(first, first + AT_ONCE)
        every = energies(2 * keys[part, None, 1:] + stencil)  # (elements, 3^d, n)
        values[part] = np.take_along_axis(every, own[part, None, None], axis=2)[:, :, 0]
        distance = np.abs(every - values[part, :, None])
        gap[part] = np.where(distance > DEGENERACY_TOLERANCE, distance, np.inf).min(axis=(1, 2))
    values = values.reshape(-1, *(3,) * d)
    axes = tuple(range(1, d + 1))
    bend = np.max([np.abs(np.diff(values, n=2, axis=axis)).max(axis=axes) for axis in axes], axis=0)
    return Elements(np.asarray(start), index, values, bend, gap < TOUCHING * bend)


def _basis(y: np.ndarray) -> np.ndarray:
    """Lagrange polynomials of second order on the nodes 0, ½, 1; (..., 3)."""
    return np.stack([(2 * y - 1) * (y - 1), 4 * y * (1 - y), y * (2 * y - 1)], axis=-1)


def _quadratic_roots(c0: np.ndarray, c1: np.ndarray, c2: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Real roots of c0 + c1 u + c2 u², NaN or infinite where there is none."""
    with np.errstate(all="ignore"):
        q = -0.5 * (c1 + np.where(c1 < 0, -1.0, 1.0) * np.sqrt(c1**2 - 4 * c0 * c2))
        return q / c2, c0 / q
