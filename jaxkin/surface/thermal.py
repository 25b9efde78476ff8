"""The thermal factor −f⁰' and its quadrature."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from jaxkin import units

STEP = 1.5
"""Spacing of the energies in units of kT: the shifted sum of −f⁰' is 1 within 1e-4, and exactly 1 in the mean."""
TAIL = 16.5
"""Energies are taken up to here, in kT beyond the band edge next to μ, or beyond μ; e^{-16.5} = 7e-8 is left out."""

HOTTEST = 1e7
"""K that a temperature may have."""
FARTHEST = 200
"""kT from a band beyond which a Fermi level in a gap counts as having no carriers (e^{-200})."""


@dataclass(frozen=True)
class Thermal:
    """Fermi level (eV) and temperature (K).

    ``distance`` (eV) from μ to the nearest band widens the window, so that in a gap it is the carriers' own
    energies that are cut at 7e-8 of them, not −f⁰' at 7e-8 of its largest value. ``step`` is the spacing of
    :func:`levels` in kT: that of the shifted sum, less where bands are narrower.
    """

    fermi_level: float
    temperature: float
    distance: float = 0.0
    step: float = STEP

    @property
    def width(self) -> float:
        """kT in eV."""
        return units.BOLTZMANN * self.temperature

    @property
    def reach(self) -> float:
        """|ε−μ| in eV up to which energies count."""
        return TAIL * self.width + self.distance

    @property
    def window(self) -> tuple[float, float]:
        """The energies that count."""
        return self.fermi_level - self.reach, self.fermi_level + self.reach

    def occupation(self, energy: np.ndarray) -> np.ndarray:
        """f⁰(ε)."""
        if self.temperature == 0:
            return np.asarray(energy < self.fermi_level, float)
        return expit((self.fermi_level - energy) / self.width)

    def emptiness(self, energy: np.ndarray) -> np.ndarray:
        """1 − f⁰(ε), exact also where it is tiny."""
        return 1 - self.occupation(energy) if self.temperature == 0 else expit((energy - self.fermi_level) / self.width)

    def density(self, energy: np.ndarray) -> np.ndarray:
        """−f⁰'(ε) in 1/eV, for T > 0."""
        return minus_fermi_derivative((energy - self.fermi_level) / self.width) / self.width

    def importance(self, energy: np.ndarray) -> np.ndarray:
        """−f⁰'(ε) over its largest value for any state: that at μ, or in a gap at the edge next to it; at most one."""
        x, edge = np.abs(energy - self.fermi_level) / self.width, self.distance / self.width
        return np.where(x > edge, np.exp(edge - x) * ((1 + np.exp(-edge)) / (1 + np.exp(-x))) ** 2, 1.0)

    def inside(self, energy: np.ndarray) -> np.ndarray:
        """Whether energies lie in :attr:`window`."""
        return np.abs(energy - self.fermi_level) <= self.reach * (1 + 1e-12)

    def share(self, level: np.ndarray) -> np.ndarray:
        """Weight in ∫dε (−f⁰') of each of :func:`levels`; at T = 0 one for the Fermi level and nothing for others."""
        if self.temperature == 0:
            return np.asarray(level == self.fermi_level, float)
        return self.step * self.width * self.density(level) * self.inside(level)


def levels(thermals: Sequence[Thermal], shift: float) -> np.ndarray:
    """Energies that serve all ``thermals`` of one temperature: their levels at T = 0, else a shifted trapezoid.

    A uniform ``shift`` in [0, 1) of the trapezoid, whose step is 1.5 kT or less, makes each sum unbiased, whatever
    band edges lie in its window.

    >>> energies = levels([Thermal(0.0, 300.0), Thermal(0.1, 300.0)], 0.3)
    >>> round(float(Thermal(0.1, 300.0).share(energies).sum()), 4)
    1.0
    """
    fermi = np.array([thermal.fermi_level for thermal in thermals])
    step = thermals[0].step * thermals[0].width
    if step == 0:
        return fermi
    reach = np.array([thermal.reach for thermal in thermals])
    low, high = (fermi - fermi[0] - reach) / step, (fermi - fermi[0] + reach) / step
    every = np.arange(np.floor(low.min()), np.ceil(high.max()))
    near = (every[:, None] + 1 > low) & (every[:, None] < high)  # for some shift
    return fermi[0] + step * (every[near.any(axis=1)] + shift)


def level_windows(thermals: Sequence[Thermal]) -> list[tuple[float, float]]:
    """The interval each of :func:`levels` moves in as its shift varies."""
    low, high = levels(thermals, 0.0), levels(thermals, 1.0)
    return list(zip(low.tolist(), high.tolist(), strict=True))


def minus_fermi_derivative(x: np.ndarray) -> np.ndarray:
    """−df/dx = 1/(4 cosh²(x/2)) of f = 1/(eˣ + 1)."""
    return 0.25 / np.cosh(0.5 * np.clip(x, -700, 700)) ** 2
