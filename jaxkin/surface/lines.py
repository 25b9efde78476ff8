"""Line quadrature of the exact surface: the default sampler."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from jaxkin.surface.roots import bracketed_roots
from jaxkin.surface.samples import Samples
from jaxkin.surface.search import Pocket
from jaxkin.surface.spectrum import Spectrum


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

    def reach(self, levels: np.ndarray) -> tuple[float, float]:
        return float(levels.min()), float(levels.max())

    def sample(
        self, spectrum: Spectrum, pocket: Pocket, levels: np.ndarray, rng: np.random.Generator
    ) -> Samples:
        d = len(pocket.edges)
        pieces = [self._along(spectrum, pocket, levels, axis, rng) for axis in range(d)]
        x, band, level, axis, filling = (np.concatenate(part) for part in zip(*pieces, strict=True))
        return Samples(
            k=pocket.origin + pocket.edges * x,
            band=band,
            level=level,
            axis=axis,
            edges=np.broadcast_to(pocket.edges, x.shape),
            filling=filling.reshape(-1, len(levels)).sum(axis=0),
        )

    def weights(self, samples: Samples, distance: np.ndarray, slope: np.ndarray) -> np.ndarray:
        """∏edges P_i/(n^{d−1}|∂_iε|), so written that nothing overflows where all slopes are small."""
        del distance
        steepest = np.maximum(np.abs(slope).max(axis=1), 1e-300)
        relative = np.abs(slope) / steepest[:, None]
        own = relative[np.arange(len(slope)), samples.axis]
        partition = own ** (self.power - 1) / (relative**self.power).sum(axis=1)
        volume = np.prod(samples.edges, axis=1)
        return volume * partition / steepest / self.n ** (slope.shape[1] - 1)

    def _along(self, spectrum: Spectrum, pocket: Pocket, levels: np.ndarray, axis: int, rng: np.random.Generator):
        """All roots on the lines along ``axis``: box coordinates, band, level, axis; and the filling."""
        d, n_cells = len(pocket.edges), pocket.cells[axis]
        others = [i for i in range(d) if i != axis]
        shift = rng.random(d - 1)
        grid = np.stack(np.meshgrid(*[np.arange(self.n)] * (d - 1), indexing="ij"), axis=-1).reshape(-1, d - 1)
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
        low, high = scan[row[cell_line, cell], where], scan[row[cell_line, cell + 1], where]
        hit, level = np.nonzero((low[:, None] < levels) != (high[:, None] < levels))
        band, line, start = np.array(pocket.bands)[where[hit]], cell_line[hit], cell[hit] / n_cells

        def excess(t: np.ndarray, index: np.ndarray) -> np.ndarray:
            values = energies(points(line[index], t))
            return values[np.arange(len(index)), band[index]] - levels[level[index]]

        f_low, f_high = low[hit] - levels[level], high[hit] - levels[level]
        t = bracketed_roots(excess, start, start + 1 / n_cells, f_low, f_high)
        rising = np.where(f_high > f_low, 1.0, -1.0)
        filling = self._filling(pocket, levels, axis, energies, points, rising * t, level, len(across))
        return points(line, t), band, level, np.full(len(t), axis), filling

    def _filling(self, pocket, levels, axis, energies, points, signed_t, level, n_lines) -> np.ndarray:
        """Filled length of every line, averaged: Σ ± t over its roots (+1 where the line starts filled).

        A closed direction counts from the outside of the pocket, so holes come out negative. A pocket
        without a closed direction counts all electrons of its bands, along the first axis.
        """
        counted = np.flatnonzero(pocket.closed) if pocket.closed.any() else np.array([0])
        if axis not in counted:
            return np.zeros(len(levels))
        length = np.bincount(level, weights=signed_t, minlength=len(levels)) / n_lines
        if not pocket.closed[axis]:
            start = energies(points(np.arange(n_lines), np.zeros(n_lines)))[:, pocket.bands]
            length += (start[:, :, None] < levels).sum(axis=1).mean(axis=0)
        return np.prod(pocket.edges) * length / len(counted)
