"""Smeared randomly shifted grid: the plain sampler at T = 0, a cross-check of the lines."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import pi, sqrt

import numpy as np
from scipy import ndimage

from jaxkin.checks import check_count, check_positive, check_work, shown
from jaxkin.errors import JaxkinError
from jaxkin.hamiltonian.spectrum import Spectrum
from jaxkin.memory import batch_bytes, demand
from jaxkin.surface.maps import ZoneMap
from jaxkin.surface.rule import SmearedRule
from jaxkin.surface.samples import Decided, LevelSets, Samples
from jaxkin.surface.search import Pocket
from jaxkin.surface.thermal import Thermal
from jaxkin.surface.thermal_grid import UNRESOLVED, ThermalGrid


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
POINT_BYTES = 64
"""That a grid point takes for each direction and band while its cell is looked up."""


@dataclass(frozen=True)
class Grid(LevelSets):
    """Points of a randomly shifted grid near the surface, with a smeared δ(ε−μ) or the thermal −f⁰'.

    Only points in the cells that can hold the level, and near them, are looked at. The standard error
    knows of the random shift, not of the bias that a finite width leaves: compare widths, or compare with
    :class:`Lines`. At T > 0 no smearing is needed, −f⁰' is smooth: :class:`ThermalGrid` of the same ``n`` then
    does the work. Smearings: M. Methfessel, A. Paxton, PRB 40, 3616 (1989), N. Marzari et al., PRL 82, 3296 (1999);
    adaptive widths: J. Yates, X. Wang, D. Vanderbilt, I. Souza, PRB 75, 195121 (2007).

    Args:
        n: points per direction of each pocket's box.
        smearing: ``"gaussian"``, ``"mp1"`` (Methfessel–Paxton), ``"cold"`` (Marzari–Vanderbilt) or
            ``"fermi-dirac"``.
        width: width in eV of the smeared δ; None for the adaptive width
            ``adaptive`` · sqrt(Σ_i (∂_iε Δk_i)²) of every point.
        adaptive: factor of the adaptive width.

    Raises:
        JaxkinError: fewer points than two, an unknown smearing, widths that are not positive.
    """

    n: int = 64
    smearing: str = "mp1"
    width: float | None = None
    adaptive: float = 1.0

    def __post_init__(self):
        if not isinstance(self.smearing, str) or self.smearing not in SMEARINGS:
            raise JaxkinError(f"smearing={shown(self.smearing)} is unknown; choose one of {', '.join(SMEARINGS)}.")
        check_count("n", self.n, 2)
        check_positive("width", self.width, "a positive energy in eV, or None", optional=True)
        check_positive("adaptive", self.adaptive, "a positive number")

    def resized(self, n: int) -> Grid:
        return replace(self, n=n)

    def at(self, temperature: float) -> Grid | ThermalGrid:
        return ThermalGrid(self.n) if temperature > 0 else self

    def windows(self, thermals: Sequence[Thermal]) -> list[tuple[float, float]]:
        margin = self.width * SMEARINGS[self.smearing][1] if self.width else 0.0
        return [(thermal.fermi_level - margin, thermal.fermi_level + margin) for thermal in thermals]

    def smooth(self, thermals: Sequence[Thermal]) -> float:
        return UNRESOLVED * (self.width or 0.0)

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
        check_work(self.n ** len(pocket.edges), f"n = {self.n}: the points of a pocket's grid")
        others = [
            self._widened(one, spectrum) for one in pockets if one is not pocket and set(one.bands) & set(pocket.bands)
        ]
        pocket = self._widened(pocket, spectrum)
        bands = list(pocket.bands)
        centres = self._cell_centres(spectrum, pocket)
        # beyond it the smeared δ vanishes for the steepest point of the pocket
        reach = SMEARINGS[self.smearing][1] * (self.width or self.adaptive * self._steepest(centres))
        points, rows, shared = [], [], []
        for x, near in self._active(pocket, rng.random(len(pocket.edges))):
            k = pocket.origin + pocket.edges * x
            energies = spectrum(k)[:, bands].T
            row, point = np.nonzero(near & (np.abs(energies - level) < reach))
            points.append(k[point])
            rows.append(row)
            held = [_holds(other, spectrum, k[point], np.array(bands)[row]) for other in others]
            shared.append(np.sum(held, axis=0) + np.ones(len(point)))
        row = np.concatenate(rows)
        return Samples(
            k=np.concatenate(points),
            band=np.array(bands)[row],
            axis=np.zeros(len(row), int),
            edges=pocket.edges,
            volume=float(np.prod(pocket.edges)) / self.n ** len(pocket.edges) / np.concatenate(shared),
        )

    def _active(self, pocket: Pocket, shift: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield points (N, d) of active cells, in units of the box, and for which bands they are active, (bands, N)."""
        d, bands = len(pocket.edges), len(pocket.bands)
        rows = max(1, batch_bytes() // (POINT_BYTES * d * bands))
        for start in range(0, self.n**d, rows):
            number = np.arange(start, min(start + rows, self.n**d))
            x = (np.stack(np.unravel_index(number, (self.n,) * d), axis=-1) + shift) / self.n
            near = pocket.active[(slice(None), *(x * np.array(pocket.cells)).astype(int).T)]
            looked_at = near.any(axis=0)
            yield x[looked_at], near[:, looked_at]

    def _widened(self, pocket: Pocket, spectrum: Spectrum) -> Pocket:
        """The pocket with the cells that the smeared δ reaches."""
        cells = np.array(pocket.cells)
        spread = 0.0 if self.width else SMEARINGS[self.smearing][1] * self.adaptive
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

    @staticmethod
    def _cell_centres(spectrum: Spectrum, pocket: Pocket) -> np.ndarray:
        """Energies of the pocket's bands at the centres of all cells of the box, (*cells, bands)."""
        count, bands = int(np.prod(pocket.cells)), list(pocket.bands)
        rows = max(1, batch_bytes() // (8 * spectrum.model.size))
        demand(
            16 * count * len(bands),
            f"the energies in {count} cells of a pocket",
            "raise it, or use Lines, which need the surface only",
        )
        parts = []
        for start in range(0, count, rows):
            cell = np.unravel_index(np.arange(start, min(start + rows, count)), pocket.cells)
            x = (np.stack(cell, axis=-1) + 0.5) / np.array(pocket.cells)
            parts.append(spectrum(pocket.origin + pocket.edges * x)[:, bands])
        return np.concatenate(parts).reshape(*pocket.cells, -1)

    def _steepest(self, centres: np.ndarray) -> float:
        """Largest change of an energy from one grid point to the next."""
        squares = 0.0
        for axis, cells in enumerate(centres.shape[:-1]):
            if cells > 1:
                squares = squares + (np.abs(np.diff(centres, axis=axis)).max() * cells / self.n) ** 2
        return 2 * sqrt(squares) + 1e-12

    def profile(self, samples: Samples, distance: np.ndarray, slope: np.ndarray) -> np.ndarray:
        """The smeared δ in 1/eV."""
        delta, _ = SMEARINGS[self.smearing]
        width = np.maximum(self.width or self.adaptive * np.sqrt((slope**2).sum(axis=1)) / self.n, 1e-12)
        return delta(-distance / width) / width

    def rule(self, thermal: Thermal, decided: Decided) -> SmearedRule:
        return SmearedRule(decided.start, decided.band, decided.pocket, decided.volume)


def _holds(pocket: Pocket, spectrum: Spectrum, k: np.ndarray, band: np.ndarray) -> np.ndarray:
    """Whether a widened pocket has the points k (N, d) of bands (N,) in its cells as well: they are then shared."""
    x = k - pocket.origin
    if spectrum.model.periodic:
        lo, hi = np.array(spectrum.model.zone).T
        x = np.mod(x, hi - lo)
    cell = np.floor(x / pocket.edges * np.array(pocket.cells)).astype(int)
    inside = np.all((cell >= 0) & (cell < pocket.cells), axis=1) & np.isin(band, pocket.bands)
    held = np.zeros(len(k), bool)
    row = np.searchsorted(pocket.bands, band[inside])
    held[inside] = pocket.active[(row, *cell[inside].T)]
    return held
