"""All roots of ε_n(k) = level on a bundle of parallel lines through a pocket."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from jaxkin.hamiltonian.spectrum import Spectrum
from jaxkin.memory import batch_bytes
from jaxkin.surface.elements import Crossings
from jaxkin.surface.newton import Approach, solved_roots
from jaxkin.surface.points import SMALLEST_SOLVED
from jaxkin.surface.roots import bracketed_roots, dips, polished_roots
from jaxkin.surface.search import Pocket

DOUBLE = 1e-7
"""Of a cell: nearer roots of two bands may be one."""


CELL_BYTES, ACTIVE_BYTES = 6, 600
"""That a cell on a line takes while its roots are sought, and an active one."""


class Roots(NamedTuple):
    """Line, box coordinate along it, band index, and whether the energy rises there; one row per root."""

    line: np.ndarray
    t: np.ndarray
    band: np.ndarray
    rising: np.ndarray


@dataclass(frozen=True)
class Bundle:
    """Lines along ``axis`` of a pocket's box at box coordinates ``across`` (L, d−1).

    Elements of the search say where the roots are, and about three energies make each exact. Lines
    through rough elements, and those whose roots did not come out as foreseen, are scanned cell by cell.
    """

    spectrum: Spectrum
    pocket: Pocket
    level: float
    axis: int
    across: np.ndarray

    def points(self, line: np.ndarray, t: np.ndarray) -> np.ndarray:
        """Box coordinates (N, d) of points at ``t`` on lines."""
        x = np.empty((len(line), len(self.pocket.edges)))
        others = np.arange(x.shape[1]) != self.axis
        x[:, others], x[:, self.axis] = self.across[line], t
        return x

    def roots(self) -> Roots:
        """Every root of every band."""
        crossings, rough = self.pocket.elements.crossings(self.axis, self.across, self.level)
        smooth = Crossings(*(part[~rough[crossings.row, crossings.line]] for part in crossings))
        row, line, t, slope, bend, _ = smooth
        bands = np.array(self.pocket.bands)
        cell = 1.0 / self.pocket.cells[self.axis]
        if self.spectrum.model.size >= SMALLEST_SOLVED:
            t, good = self._solved(smooth, bands[row], cell)
        else:
            t, good = polished_roots(self._excess(line, bands[row]), t, slope, bend, cell)
        rough[row[~good], line[~good]] = True
        kept = ~rough[row, line]
        found = Roots(line[kept], t[kept], bands[row[kept]], slope[kept] > 0)
        if not rough.any():
            return found
        return Roots(*map(np.concatenate, zip(found, self._scanned(rough), strict=True)))

    def _solved(self, crossings: Crossings, band: np.ndarray, cell: float) -> tuple[np.ndarray, np.ndarray]:
        """Roots t by linear solves, and whether each is one and that of its band."""
        pocket, line, t = self.pocket, crossings.line, crossings.t
        scale = np.diag(pocket.edges)[self.axis]
        near = Approach(pocket.origin + pocket.edges * self.points(line, t), band, scale, *crossings[3:])
        step, good = solved_roots(self.spectrum, near, self.level, pocket.edges, cell)
        return t + step, good & ~_double(line, t + step, DOUBLE * cell)

    def _energies(self, line: np.ndarray, t: np.ndarray) -> np.ndarray:
        return self.spectrum(self.pocket.origin + self.pocket.edges * self.points(line, t))

    def _excess(self, line: np.ndarray, band: np.ndarray) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
        def function(t: np.ndarray, index: np.ndarray) -> np.ndarray:
            return self._energies(line[index], t)[np.arange(len(index)), band[index]] - self.level

        return function

    def _scanned(self, chosen: np.ndarray) -> Roots:
        """Roots of the ``chosen`` (bands, L) lines from the energies on the faces of their active cells."""
        pocket, level = self.pocket, self.level
        n_cells = pocket.cells[self.axis]
        others = np.arange(len(pocket.edges)) != self.axis
        column = tuple((self.across * np.array(pocket.cells)[others]).astype(int).T)
        active = np.moveaxis(pocket.active, self.axis + 1, -1)[(slice(None), *column)]
        active = active.reshape(len(pocket.bands), len(self.across), n_cells) & chosen[:, :, None]

        needed = np.zeros((len(self.across), n_cells + 1), bool)
        needed[:, :-1] |= active.any(axis=0)
        needed[:, 1:] |= active.any(axis=0)
        place = np.cumsum(needed).reshape(needed.shape) - 1
        line, face = np.nonzero(needed)
        scan = self._energies(line, face / n_cells)[:, pocket.bands] - level
        row, line, cell = np.nonzero(active)
        bands = np.array(pocket.bands)[row]

        f_low, f_high = scan[place[line, cell], row], scan[place[line, cell + 1], row]
        hit = (f_low < 0) != (f_high < 0)
        low, high = cell / n_cells, (cell + 1) / n_cells
        brackets = [(line[hit], bands[hit], low[hit], high[hit], f_low[hit], f_high[hit])]
        # A band may dip through the level inside a cell: look at the bottom where it seems to turn.
        before, after = (_beyond(scan, needed, place, line, face, row) for face in (cell - 1, cell + 2))
        turns = ~hit & (np.abs(before) > np.abs(f_low)) & (np.abs(after) > np.abs(f_high))
        brackets += dips(
            self._excess(line[turns], bands[turns]),
            (line[turns], bands[turns]),
            low[turns],
            high[turns],
            f_low[turns],
            f_high[turns],
        )
        line, band, low, high, f_low, f_high = (np.concatenate(part) for part in zip(*brackets, strict=True))
        t = bracketed_roots(self._excess(line, band), low, high, f_low, f_high)
        return Roots(line, t, band, f_high > f_low)


def bundles(
    spectrum: Spectrum, pocket: Pocket, level: float, axis: int, n: int, rng: np.random.Generator
) -> Iterator[Bundle]:
    """The n^{d−1} lines along ``axis`` of a lattice with one random shift, in parts that fit into the memory budget."""
    d = len(pocket.edges) - 1
    shift, count = rng.random(d), n**d
    along = len(pocket.bands) * pocket.cells[axis] * CELL_BYTES
    active = float(pocket.active.sum()) * pocket.cells[axis] / float(np.prod(pocket.cells)) * ACTIVE_BYTES
    rows = int(max(1, batch_bytes() // (along + active)))
    for first in range(0, count, rows):
        place = np.arange(first, min(first + rows, count))[:, None] // n ** np.arange(d)[::-1] % n
        yield Bundle(spectrum, pocket, level, axis, (place + shift) / n)


def _double(line: np.ndarray, t: np.ndarray, width: float) -> np.ndarray:
    """Which roots are nearer than ``width`` to another one on their line: one band found twice, or two that touch."""
    order = np.lexsort((t, line))
    same = (np.diff(line[order]) == 0) & (np.diff(t[order]) < width)
    double = np.zeros(len(t), bool)
    double[order[1:][same]] = double[order[:-1][same]] = True
    return double


def _beyond(scan, needed, place, line, face, row) -> np.ndarray:
    """ε − level at the face next to a cell; infinite where it was not scanned, as the level is far there."""
    inside = (face >= 0) & (face < needed.shape[1])
    known = inside & needed[line, np.clip(face, 0, needed.shape[1] - 1)]
    values = np.full(len(line), np.inf)
    values[known] = scan[place[line[known], face[known]], row[known]]
    return values
