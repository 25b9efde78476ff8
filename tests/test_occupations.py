"""Moments of the Fermi function against quadrature, and analytic where contours are displaced to."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import loggamma

from jaxkin.surface.occupations import integrated_loggamma, occupation_moment

KT = 0.025


@pytest.mark.parametrize("power", [0, 1, 2])
@pytest.mark.parametrize("x", [-0.3, -0.05, 0.0, 0.01, 0.1, 1.0, 10.0])
def test_moment_is_the_integral_over_energies(power, x):
    """∫_ε^∞ (ε'−μ)^p (−f⁰') dε' with ε − μ = −x (worst 2e-11 of (kT)^p)."""

    def weighed(y):
        return y**power / (4 * KT * np.cosh(y / (2 * KT)) ** 2)

    start = max(-x, -60 * KT)
    points = [start, *(p for p in (-10 * KT, 0.0, 10 * KT) if p > start), max(-x, 0.0) + 60 * KT]
    expected = sum(quad(weighed, a, b, epsabs=0, epsrel=1e-13)[0] for a, b in pairwise(points))
    assert abs(occupation_moment(np.array([x + 0j]), KT, power)[0].real - expected) < 1e-10 * KT**power


@pytest.mark.parametrize("power", [0, 1, 2])
def test_moment_is_analytic(power):
    """Its mean over a circle above the real axis is its value at the centre."""
    circle = 0.05 * np.exp(2j * np.pi * np.arange(64) / 64)
    for centre in (-0.2 + 0.06j, 0.3j, 1.5 + 0.06j):
        around = occupation_moment(centre + circle, KT, power).mean()
        assert abs(around - occupation_moment(np.array(centre), KT, power)) < 1e-12


@pytest.mark.parametrize("z", [0.5, 2.0, 0.5 + 3j, 0.5 - 20j, 7 + 1j, 0.5 + 100j])
def test_integral_of_the_logarithm_of_gamma(z):
    """From zero, along a straight line that starts slowly (worst 4e-15)."""

    def along(s, part):
        return getattr(2 * s * z * loggamma(z * s * s), part)

    parts = [quad(along, 0, 1, args=(part,), epsabs=0, epsrel=1e-13, limit=500)[0] for part in ("real", "imag")]
    assert abs(integrated_loggamma(np.array(complex(z))) - complex(*parts)) < 1e-13 * (abs(z) ** 2 + 1)
