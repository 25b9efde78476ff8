"""The Fermi function and its moments as functions that are analytic in half of the plane of complex energies."""

from __future__ import annotations

import numpy as np
from jaxtyping import Complex
from scipy.special import bernoulli, digamma, loggamma

RAISED = 12
"""Steps by which z is moved to where the asymptotic series of ∫ln Γ is exact to rounding."""
TERMS = 9
"""Of that series."""
GLAISHER = 0.24875447703378426
"""ln A, A the constant of Glaisher and Kinkelin."""


def occupation_moment(x: Complex[np.ndarray, "*shape"], width: float, power: int) -> Complex[np.ndarray, "*shape"]:
    """g_p(x) with Re g_p = ∫_ε^∞ (ε' − μ)^p [−f⁰'(ε')] dε' at real x = μ − ε, analytic above the real axis of x.

    - p = 0, f⁰ itself: ½ + (i/π) ψ(z), z = ½ − ix/2πkT, and ½ + (i/π) ln(−ix) at T = 0;
    - p = 1, kT times the entropy of a state: I − x g_0, I = ∫g_0 = ½x − kT[2 ln Γ(z) − ln 2π]; −ix/π at T = 0;
    - p = 2, of the heat that heat moves: x² g_0 − 2x I + 2∫I, with ∫ln Γ.

    Args:
        x: in eV.
        width: kT in eV; 0 for p < 2 only.
        power: p.

    >>> kt = 0.025
    >>> bool(abs(occupation_moment(np.array([0.0j]), kt, 2)[0].real - np.pi**2 / 6 * kt**2) < 1e-15)  # half of all
    True
    """
    if not width and power:
        return -1j / np.pi * x
    if not width:  # −ix keeps the cut of the logarithm away from the real axis
        return 0.5 + 1j / np.pi * np.log(-1j * x)
    z = 0.5 - 1j * x / (2 * np.pi * width)
    occupation = 0.5 + 1j / np.pi * digamma(z)
    if not power:
        return occupation
    once = 0.5 * x - width * (2 * loggamma(z) - np.log(2 * np.pi))
    if power == 1:
        return once - x * occupation
    # ∫ln Γ dx = 2πi kT ∫ln Γ dz from z = ½, where the real part of ∫I is (π²/12)(kT)²
    start = integrated_loggamma(np.array(0.5 + 0j))
    area = 2j * np.pi * width * (integrated_loggamma(z) - start)
    twice = 0.25 * x**2 + width * (np.log(2 * np.pi) * x - 2 * area) + np.pi**2 / 12 * width**2
    return x**2 * occupation - 2 * x * once + 2 * twice


def integrated_loggamma(z: Complex[np.ndarray, "*shape"]) -> Complex[np.ndarray, "*shape"]:
    """∫_0^z ln Γ(t) dt for Re z > 0, by its asymptotic series at z + 12 (worst 3e-15 of |z|² + 1)."""
    down = np.zeros_like(z)
    for step in range(RAISED):
        t = z + step
        down = down + t * np.log(t) - t + 0.5 * np.log(2 * np.pi)  # of ln t between t and t + 1
    t = z + RAISED
    total = (0.5 * t**2 - 0.5 * t + 1 / 12) * np.log(t) - 0.75 * t**2 + 0.5 * t * (1 + np.log(2 * np.pi))
    for n, b in enumerate(bernoulli(2 * TERMS)[4::2], start=2):
        total = total - b / (2 * n * (2 * n - 1) * (2 * n - 2) * t ** (2 * n - 2))
    return total + GLAISHER - down
