"""Smeared randomly shifted grid: the plain sampler, a cross-check of the lines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import pi, sqrt

import numpy as np
from scipy import ndimage

from jaxkin.surface.samples import Samples
from jaxkin.surface.search import Pocket
from jaxkin.surface.spectrum import Spectrum
from jaxkin.surface.thermal import BIN, TAIL, Thermal


def _gaussian(x: np.ndarray) -> np.ndarray:
    return np.exp(-(x**2)) / sqrt(pi)


def _methfessel_paxton(x: np.ndarray) -> np.ndarray:
    return np.exp(-(x**2)) * (1.5 - x**2) / sqrt(pi)


def _marzari_vanderbilt(x: np.ndarray) -> np.ndarray:
    return np.exp(-((x - 1 / sqrt(2)) ** 2)) * (2 - sqrt(2) * x) / sqrt(pi)


def _fermi_dirac(x: np.ndarray) -> np.ndarray:
    return 0.25 / np.cosh(0.5 * np.clip(x, -100, 100)) ** 2


SMEARINGS: dict[str, tuple[Callable[[np.ndarray], np.ndarray], float]] = {
    "gaussian": (_gaussian, 6.0),
    "mp1": (_methfessel_paxton, 6.5),
    "cold": (_marzari_vanderbilt, 7.0),
    "fermi-dirac": (_fermi_dirac, 35.0),
}
"""Name → (smeared δ(x), |x| beyond which it is below 1e-15)."""


@dataclass(frozen=True)
class Grid:
    """Points of a randomly shifted grid near the surface, with a smeared δ(ε−μ) or the thermal −f⁰'.

    Only points in the cells that can hold the level, and near them, are looked at. At T = 0 the
    standard error knows of the random shift, not of the bias that a finite width leaves: compare
    widths, or compare with :class:`Lines`. At T > 0 no smearing is needed, −f⁰' is smooth: the grid
    converges fast once kT is above the level spacing, and is then the better sampler. Scattering
    kernels see bins of half a kT there.

    Args:
        n: points per direction of each pocket's box; at T > 0 along its steepest direction.
        smearing: ``"gaussian"``, ``"mp1"`` (Methfessel–Paxton), ``"cold"`` (Marzari–Vanderbilt) or
            ``"fermi-dirac"``.
        width: width in eV of the smeared δ; None for the adaptive width
            ``adaptive`` · sqrt(Σ_i (∂_iε Δk_i)²) of every point.
        adaptive: factor of the adaptive width.
    """

    n: int = 64
    smearing: str = "mp1"
    width: float | None = None
    adaptive: float = 1.0

    def __post_init__(self):
        if self.smearing not in SMEARINGS:
            raise ValueError(f"smearing={self.smearing!r} is unknown; choose one of {', '.join(SMEARINGS)}.")
        if self.n < 2 or self.adaptive <= 0 or (self.width is not None and self.width <= 0):
            raise ValueError("Grid needs n >= 2 and a positive width.")

    def resized(self, n: int) -> Grid:
        return replace(self, n=n)

    def windows(self, thermal: Thermal) -> list[tuple[float, float]]:
        margin = TAIL * thermal.width
        if thermal.temperature == 0 and self.width:
            margin = self.width * SMEARINGS[self.smearing][1]
        return [(thermal.fermi_level - margin, thermal.fermi_level + margin)]

    def levels(self, thermal: Thermal, shift: float) -> tuple[np.ndarray, np.ndarray]:
        return np.array([thermal.fermi_level]), np.array([1.0])

    def bin_width(self, thermal: Thermal) -> float | None:
        return BIN * thermal.width or None

    def sample(
        self, spectrum: Spectrum, pocket: Pocket, level: float, thermal: Thermal, rng: np.random.Generator
    ) -> Samples:
        d = len(pocket.edges)
        hot = thermal.temperature > 0
        pocket = self._widened(pocket, spectrum, hot)
        bands = list(pocket.bands)
        centres = self._cell_centres(spectrum, pocket)[..., bands]
        n = self._points(pocket, centres, hot)
        index = np.stack(np.meshgrid(*[np.arange(m) for m in n], indexing="ij"), axis=-1).reshape(-1, d)
        x = (index + rng.random(d)) / n
        cell = (x * np.array(pocket.cells)).astype(int)
        near = pocket.active[(slice(None), *cell.T)]  # (bands, points)
        looked_at = near.any(axis=0)
        k = pocket.origin + pocket.edges * x[looked_at]
        energies = spectrum(k)[:, bands].T
        near = near[:, looked_at]
        if hot:
            reach = TAIL * thermal.width
        else:  # beyond it the smeared δ vanishes for the steepest point of the pocket
            reach = SMEARINGS[self.smearing][1] * (self.width or self.adaptive * self._steepest(centres, n))
        close = np.abs(energies - level) < reach
        row, point = np.nonzero(near & close)
        return Samples(
            k=k[point],
            band=np.array(bands)[row],
            axis=np.zeros(len(row), int),
            edges=pocket.edges * self.n / n,
            filling=self._filling(pocket, thermal, centres, energies, near, int(np.prod(n))),
        )

    def _widened(self, pocket: Pocket, spectrum: Spectrum, hot: bool) -> Pocket:
        """The pocket with the cells that the smeared δ reaches."""
        cells = np.array(pocket.cells)
        spread = 0.0 if self.width or hot else SMEARINGS[self.smearing][1] * self.adaptive
        grow = np.ceil(spread * cells / self.n).astype(int) + 1
        size = pocket.edges / cells
        lo, hi = np.array(spectrum.model.zone).T
        total = np.rint((hi - lo) / size).astype(int)
        if spectrum.model.periodic:
            before = after = np.where(pocket.closed, np.minimum(grow, (total - cells) // 2), 0)
        else:
            room = np.rint((pocket.origin - lo) / size).astype(int)
            before, after = np.minimum(grow, room), np.minimum(grow, total - room - cells)
        active = np.pad(pocket.active, [(0, 0), *zip(before, after, strict=True)])
        reach = np.ones((1, *(2 * grow + 1)), bool)
        wraps = ["constant", *("constant" if closed else "wrap" for closed in pocket.closed)]
        active = ndimage.maximum_filter(active, footprint=reach, mode=wraps)  # pyright: ignore[reportArgumentType]
        grown = cells + before + after
        return replace(
            pocket, origin=pocket.origin - before * size, edges=size * grown, cells=tuple(grown), active=active
        )

    def _points(self, pocket: Pocket, centres: np.ndarray, hot: bool) -> np.ndarray:
        """Points per direction of the box: equal at T = 0, as the band is steep at T > 0."""
        if not hot:
            return np.full(len(pocket.cells), self.n)
        change = [np.sqrt(np.mean(np.diff(centres, axis=axis) ** 2)) * c for axis, c in enumerate(pocket.cells)]
        return np.maximum(np.rint(self.n * np.array(change) / max(change)).astype(int), min(self.n, 8))

    @staticmethod
    def _cell_centres(spectrum: Spectrum, pocket: Pocket) -> np.ndarray:
        """Energies at the centres of all cells of the box, (*cells, n)."""
        x = np.stack(np.meshgrid(*[(np.arange(c) + 0.5) / c for c in pocket.cells], indexing="ij"), axis=-1)
        k = pocket.origin + pocket.edges * x.reshape(-1, len(pocket.cells))
        return spectrum(k).reshape(*pocket.cells, -1)

    @staticmethod
    def _steepest(centres: np.ndarray, n: np.ndarray) -> float:
        """Largest change of an energy from one grid point to the next."""
        squares = 0.0
        for axis, points in enumerate(n):
            cells = centres.shape[axis]
            if cells > 1:
                squares = squares + (np.abs(np.diff(centres, axis=axis)).max() * cells / points) ** 2
        return 2 * sqrt(squares) + 1e-12

    @staticmethod
    def _filling(pocket, thermal, centres, energies, near, points) -> float:
        """Filled volume: whole cells away from the surface, points near it, less a filled outside."""
        filled = 0.0
        for row in range(len(pocket.bands)):
            filled += np.sum(thermal.occupation(centres[..., row][~pocket.active[row]])) / np.prod(pocket.cells)
            filled += np.sum(thermal.occupation(energies[row][near[row]])) / points
            if pocket.closed.any():
                filled -= float(thermal.occupation(centres[(0,) * (centres.ndim - 1)][row]))
        return float(filled * np.prod(pocket.edges))

    def weights(
        self, samples: Samples, distance: np.ndarray, slope: np.ndarray, thermal: Thermal
    ) -> tuple[np.ndarray, np.ndarray]:
        """Cell volume times the smeared δ; at T > 0 times −f⁰' itself, and 1/bin width."""
        cell = np.prod(samples.edges) / self.n ** slope.shape[1]
        if thermal.temperature > 0:
            per_bin = np.full(len(distance), cell / (BIN * thermal.width))
            return cell * thermal.density(thermal.fermi_level + distance), per_bin
        delta, _ = SMEARINGS[self.smearing]
        width = np.maximum(self.width or self.adaptive * np.sqrt((slope**2).sum(axis=1)) / self.n, 1e-12)
        weight = cell * delta(-distance / width) / width
        return weight, weight
