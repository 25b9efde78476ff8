"""Energy quadrature of ∫dε (−f⁰') G(ε)."""

from __future__ import annotations

import numpy as np

from jaxkin import units

STEP = 1.5
"""Spacing of the energies in units of kT: the randomly shifted sum of −f⁰' is 1 within 5e-5 for each shift."""
TAIL = 16.5
"""|ε−μ|/kT up to which energies are taken; e^{-16.5} = 7e-8 is left out."""


def thermal_levels(fermi_level: float, temperature: float, shift: float) -> tuple[np.ndarray, np.ndarray]:
    """Energies (eV) and weights of a trapezoid in (ε−μ)/kT shifted by ``shift`` steps; one energy at T = 0.

    A uniform ``shift`` in [0, 1) makes the sum unbiased, whatever band edges lie in the window.

    >>> levels, weights = thermal_levels(0.0, 300.0, 0.3)
    >>> round(float(weights.sum()), 4)
    1.0
    """
    if temperature == 0:
        return np.array([fermi_level]), np.array([1.0])
    count = int(np.ceil(TAIL / STEP))
    x = STEP * (np.arange(-count, count) + shift)
    return fermi_level + units.BOLTZMANN * temperature * x, STEP * 0.25 / np.cosh(x / 2) ** 2


def thermal_windows(fermi_level: float, temperature: float) -> list[tuple[float, float]]:
    """The interval each level of :func:`thermal_levels` moves in as its shift varies."""
    low, high = (thermal_levels(fermi_level, temperature, shift)[0] for shift in (0.0, 1.0))
    return list(zip(low.tolist(), high.tolist(), strict=True))
