"""Line quadrature of the exact surface: the default sampler."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from jaxkin.surface.roots import bracketed_roots, dips
from jaxkin.surface.samples import Samples
from jaxkin.surface.search import Pocket
from jaxkin.surface.spectrum import Spectrum
from jaxkin.surface.thermal import Thermal


@dataclass(frozen=True)
class Lines:
    """Lattices of randomly shifted lines along each direction, every root on every line.

    In coordinates x ∈ [0, 1)^d of a pocket's box and with a partition of unity
    P_i = |∂_iε|^p / Σ_j |∂_jε|^p,

    ∫d^dx δ(ε−μ) F = Σ_i ∫d^{d−1}x_⊥ Σ_{roots on the line ∥ i} P_i F / |∂_iε|.

    There is no smearing and no bias: the mean over the random shift is the integral for every ``n``.

    Args:
        n: lines per perpendicular direction of each pocket's box (n^{d−1} lines for each direction).
        power: p, even or not; 6-8 leaves a very smooth integrand.
    """

    n: int = 32
    power: float = 8

    def __post_init__(self):
        if self.n < 2 or self.power < 1:
            raise ValueError(f"Lines needs n >= 2 and power >= 1, not n={self.n}, power={self.power}.")

    def resized(self, n: int) -> Lines:
        return replace(self, n=n)

    def windows(self, thermal: Thermal) -> list[tuple[float, float]]:
        return thermal.windows()

    def levels(self, thermal: Thermal, shift: float) -> tuple[np.ndarray, np.ndarray]:
        return thermal.levels(shift)

    def bin_width(self, thermal: Thermal) -> None:
        return None

    def sample(
        self, spectrum: Spectrum, pocket: Pocket, level: float, thermal: Thermal, rng: np.random.Generator
    ) -> Samples:
        pieces = [self._along(spectrum, pocket, level, axis, rng) for axis in range(len(pocket.edges))]
        x, band, filling = zip(*pieces, strict=True)
        return Samples(
            k=pocket.origin + pocket.edges * np.concatenate(x),
            band=np.concatenate(band),
            axis=np.repeat(np.arange(len(x)), [len(part) for part in x]),
            edges=pocket.edges,
            filling=sum(filling),
        )

    def weights(
        self, samples: Samples, distance: np.ndarray, slope: np.ndarray, thermal: Thermal
    ) -> tuple[np.ndarray, np.ndarray]:
        """∏edges P_i/(n^{d−1}|∂_iε|), so written that nothing overflows where all slopes are small."""
        steepest = np.maximum(np.abs(slope).max(axis=1), 1e-300)
        relative = np.abs(slope) / steepest[:, None]
        own = relative[np.arange(len(slope)), samples.axis]
        partition = own ** (self.power - 1) / (relative**self.power).sum(axis=1)
        weight = np.prod(samples.edges) * partition / steepest / self.n ** (slope.shape[1] - 1)
        return weight, weight

    def _along(self, spectrum: Spectrum, pocket: Pocket, level: float, axis: int, rng: np.random.Generator):
        """All roots on the lines along ``axis``: their box coordinates and bands; and the filling."""
        d, n_cells = len(pocket.edges), pocket.cells[axis]
        others = [i for i in range(d) if i != axis]
        shift = rng.random(d - 1)
        grid = np.array(list(np.ndindex((self.n,) * (d - 1))))  # one line, no coordinates across, for d = 1
        across = (grid + shift) / self.n
        column = tuple((across * np.array([pocket.cells[i] for i in others])).astype(int).T)
        active = np.moveaxis(pocket.active, axis + 1, -1)[(slice(None), *column)]
        active = active.reshape(len(pocket.bands), len(across), n_cells)

        def points(line: np.ndarray, t: np.ndarray) -> np.ndarray:
            x = np.empty((len(line), d))
            x[:, others], x[:, axis] = across[line], t
            return x

        def energies(x: np.ndarray) -> np.ndarray:
            return spectrum(pocket.origin + pocket.edges * x)

        # Scan the faces of the active cells only.
        needed = np.zeros((len(across), n_cells + 1), bool)
        needed[:, :-1] |= active.any(axis=0)
        needed[:, 1:] |= active.any(axis=0)
        row = np.cumsum(needed).reshape(needed.shape) - 1
        line, face = np.nonzero(needed)
        scan = energies(points(line, face / n_cells))[:, pocket.bands]
        where, cell_line, cell = np.nonzero(active)
        bands = np.array(pocket.bands)

        def excess(line: np.ndarray, band: np.ndarray) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
            def function(t: np.ndarray, index: np.ndarray) -> np.ndarray:
                return energies(points(line[index], t))[np.arange(len(index)), band[index]] - level

            return function

        f_low = scan[row[cell_line, cell], where] - level
        f_high = scan[row[cell_line, cell + 1], where] - level
        hit = (f_low < 0) != (f_high < 0)
        brackets = [
            (cell_line[hit], bands[where[hit]], cell[hit] / n_cells, (cell[hit] + 1) / n_cells, f_low[hit], f_high[hit])
        ]
        # A band may dip through the level inside a cell: look at the bottom where it seems to turn.
        before = _beyond(scan, needed, row, cell_line, cell - 1, where, level)
        after = _beyond(scan, needed, row, cell_line, cell + 2, where, level)
        turns = ~hit & (np.abs(before) > np.abs(f_low)) & (np.abs(after) > np.abs(f_high))
        brackets += dips(
            excess(cell_line[turns], bands[where[turns]]),
            (cell_line[turns], bands[where[turns]]),
            cell[turns] / n_cells,
            (cell[turns] + 1) / n_cells,
            f_low[turns],
            f_high[turns],
        )
        line, band, start, stop, f_low, f_high = (np.concatenate(part) for part in zip(*brackets, strict=True))
        t = bracketed_roots(excess(line, band), start, stop, f_low, f_high)
        signed = np.sum(np.where(f_high > f_low, t, -t)) / len(across)

        def starts_filled() -> float:
            start = energies(points(np.arange(len(across)), np.zeros(len(across))))[:, pocket.bands]
            return float((start < level).sum(axis=1).mean())

        return points(line, t), band, self._filling(pocket, axis, signed, starts_filled)

    @staticmethod
    def _filling(pocket: Pocket, axis: int, signed: float, starts_filled: Callable[[], float]) -> float:
        """Filled volume from the mean over lines of Σ ± t at their roots (+1 where a line starts filled).

        A closed direction counts from the outside of the pocket, so holes come out negative. A pocket
        without a closed direction counts all electrons of its bands, along the first axis.
        """
        if pocket.closed.any():
            length = signed / pocket.closed.sum() if pocket.closed[axis] else 0.0
        else:
            length = signed + starts_filled() if axis == 0 else 0.0
        return float(np.prod(pocket.edges) * length)


def _beyond(scan, needed, row, line, face, where, level) -> np.ndarray:
    """ε − level at the face next to a cell; infinite where it was not scanned, as the level is far there."""
    inside = (face >= 0) & (face < needed.shape[1])
    known = inside & needed[line, np.clip(face, 0, needed.shape[1] - 1)]
    values = np.full(len(line), np.inf)
    values[known] = scan[row[line[known], face[known]], where[known]] - level
    return values
