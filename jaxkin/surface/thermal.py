"""The thermal factor −f⁰' and its quadrature."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from jaxkin import units

STEP = 1.5
"""Spacing of the energies in units of kT: the randomly shifted sum of −f⁰' is 1 within 5e-5 for each shift."""
TAIL = 16.5
"""|ε−μ|/kT up to which energies are taken; e^{-16.5} = 7e-8 is left out."""
BIN = 0.5
"""Width in kT of the energy bins in which a thermal grid takes scattering to be elastic."""


@dataclass(frozen=True)
class Thermal:
    """Fermi level (eV) and temperature (K).

    >>> levels, weights = Thermal(0.0, 300.0).levels(0.3)
    >>> round(float(weights.sum()), 4)
    1.0
    """

    fermi_level: float
    temperature: float

    @property
    def width(self) -> float:
        """kT in eV."""
        return units.BOLTZMANN * self.temperature

    def levels(self, shift: float) -> tuple[np.ndarray, np.ndarray]:
        """Energies and weights of a trapezoid in (ε−μ)/kT shifted by ``shift`` steps; one energy at T = 0.

        A uniform ``shift`` in [0, 1) makes the sum unbiased, whatever band edges lie in the window.
        """
        if self.temperature == 0:
            return np.array([self.fermi_level]), np.array([1.0])
        count = int(np.ceil(TAIL / STEP))
        x = STEP * (np.arange(-count, count) + shift)
        return self.fermi_level + self.width * x, STEP * minus_fermi_derivative(x)

    def windows(self) -> list[tuple[float, float]]:
        """The interval each of :meth:`levels` moves in as its shift varies."""
        low, high = self.levels(0.0)[0], self.levels(1.0)[0]
        return list(zip(low.tolist(), high.tolist(), strict=True))

    def occupation(self, energy: np.ndarray) -> np.ndarray:
        """f⁰(ε)."""
        if self.temperature == 0:
            return np.asarray(energy < self.fermi_level, float)
        return 0.5 * (1 - np.tanh(0.5 * (energy - self.fermi_level) / self.width))

    def density(self, energy: np.ndarray) -> np.ndarray:
        """−f⁰'(ε) in 1/eV, for T > 0."""
        return minus_fermi_derivative((energy - self.fermi_level) / self.width) / self.width


def minus_fermi_derivative(x: np.ndarray) -> np.ndarray:
    """−df/dx = 1/(4 cosh²(x/2)) of f = 1/(eˣ + 1)."""
    return 0.25 / np.cosh(0.5 * np.clip(x, -200, 200)) ** 2
