"""The sampler that is chosen, energies that resolve narrow bands, and doubts where a distribution is not sampled."""

import warnings

import numpy as np
import pytest
from scipy import special

import jaxkin as jk
from jaxkin.hamiltonian.spectrum import Spectrum
from jaxkin.surface.nodes import Nodes
from jaxkin.surface.resolution import RESOLVED, energy_noise, resolving
from jaxkin.surface.thermal import STEP, Thermal


def square(hopping, d=2):
    """ε = −2t Σ cos k_i."""
    steps = np.concatenate([np.eye(d), -np.eye(d)])
    return jk.TightBinding(np.eye(d), steps, -hopping * np.ones((2 * d, 1, 1)), np.zeros((1, d)))


def thermal_sums(hopping, level, kelvin, count=2000):
    """∫(−f⁰') and ∫f⁰ of the square lattice on a lattice that has converged."""
    k = 2 * np.pi * (np.arange(count) + 0.5) / count
    energy = -2 * hopping * np.add.outer(np.cos(k), np.cos(k))
    x = np.clip((energy - level) / (jk.units.BOLTZMANN * kelvin), -700, 700)
    return np.mean(0.25 / np.cosh(0.5 * x) ** 2) / (jk.units.BOLTZMANN * kelvin), np.mean(1 / (np.exp(x) + 1))


def states_of_a_wide_band(hopping, level, kelvin):
    """∫(−f⁰')ν with ν(ε) = K(1 − (ε/4t)²)/2π²t, where the window holds no singularity."""
    x, w = np.polynomial.legendre.leggauss(200)
    energy = level + 30 * x * jk.units.BOLTZMANN * kelvin
    density = special.ellipk(1 - (energy / (4 * hopping)) ** 2) / (2 * np.pi**2 * hopping)
    return float(30 * w @ (0.25 / np.cosh(15 * x) ** 2 * density))


def within(estimate, exact, cap):
    assert abs(estimate.mean - exact) < 6 * estimate.stderr + 1e-7 * exact
    assert estimate.stderr < cap * exact


class TestNarrowBand:
    """8 meV, a third of kT: with energies 1.5 kT apart one of five sees it."""

    MODEL, LEVEL = square(1e-3), 2e-3

    def test_is_resolved_by_default(self):
        surface = jk.fermi_surface(self.MODEL, self.LEVEL, 300.0, replicas=4)
        assert "Grid" in surface.verdict
        states, filled = thermal_sums(1e-3, self.LEVEL, 300.0)
        assert states == pytest.approx(9.64, abs=0.005) and filled == pytest.approx(0.5193, abs=5e-5)
        within(surface.density_of_states(), states, 1e-3)
        within(surface.carrier_density()["holes"], 1 - filled, 1e-3)

    def test_lines_take_energies_near_enough(self):
        states, _ = thermal_sums(1e-3, self.LEVEL, 300.0)
        for seed in range(10):
            surface = jk.fermi_surface(self.MODEL, self.LEVEL, 300.0, jk.Lines(8), replicas=8, seed=seed)
            within(surface.density_of_states(), states, 0.2)

    @pytest.mark.parametrize("kelvin", [30.0, 300.0])
    def test_half_a_step_finer_until_resolved(self, kelvin):
        nodes = Nodes(Spectrum(self.MODEL))
        (thermal,) = resolving(nodes, [Thermal(self.LEVEL, kelvin)])
        assert energy_noise(nodes, thermal) <= RESOLVED < energy_noise(nodes, Thermal(self.LEVEL, 300.0))
        assert thermal.step == {30.0: STEP, 300.0: STEP / 8}[kelvin]

    def test_too_narrow_is_said(self):
        with pytest.warns(jk.AccuracyWarning, match=r"bands are too narrow for energies .* use Grid"):
            jk.fermi_surface(square(1e-5), 0.0, 300.0, jk.Lines(4), replicas=2)


@pytest.mark.parametrize("hopping", [1e-6, 1e-2, 1.0])
@pytest.mark.parametrize("kelvin", [3.0, 300.0])
def test_the_default_is_right_whatever_the_width(hopping, kelvin):
    """Bands from 1e-4 kT to 1e4 kT wide."""
    level = 0.7 * hopping
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        surface = jk.fermi_surface(square(hopping), level, kelvin, replicas=6)
    wide = hopping > 100 * jk.units.BOLTZMANN * kelvin
    exact = states_of_a_wide_band(hopping, level, kelvin) if wide else thermal_sums(hopping, level, kelvin)[0]
    within(surface.density_of_states(), exact, 3e-2)
    assert surface.verdict.startswith("chosen: ") and surface.verdict.endswith("6 replicas as asked")


def test_lines_at_zero_temperature_and_where_a_grid_cannot_be_afforded():
    model = square(1.0, 3)
    assert jk.fermi_surface(model, -4.0, replicas=1).verdict.startswith("chosen: Lines(n=32), as they are exact")
    cold = jk.fermi_surface(model, -4.0, 4.0, replicas=1)
    assert "of a grid that can be afforded are" in cold.verdict and "Lines" in repr(cold.sampler)


def test_every_temperature_of_a_scan_chooses():
    scan = jk.fermi_surfaces(square(1.0), [-3.0, -2.9], [[0.0], [300.0]], replicas=2)
    assert ["Grid" in surface.verdict for surface in scan] == [False, False, True, True]
    assert scan[2].verdict == scan[3].verdict


def test_a_tolerance_refines_the_choice():
    surface = jk.fermi_surface(jk.models.get("kramers-weyl-d3"), -1.2, 600.0, rtol=5e-3, replicas=4)
    assert surface.verdict.startswith("chosen: Grid(n=") and "rtol = 0.005 met" in surface.verdict


def test_an_integral_that_vanishes_by_symmetry_is_not_refined_for_ever():
    """∫m_a v_b of a hexagonal layer: m along z and v across it; an error of 1e-4 ∫|m||v| is enough for rtol = 1e-2."""
    surface = jk.fermi_surface(jk.models.get("haldane"), -0.6, 300.0, rtol=1e-2, replicas=4)
    found = surface.integrate(surface.orbital_moment[:, :, None] * surface.velocity[:, None, :])
    size = surface.integrate(np.abs(surface.orbital_moment[:, :, None] * surface.velocity[:, None, :])).mean.max()
    assert "rtol = 0.01 met" in surface.verdict and surface.evaluations < 50_000
    assert np.abs(found.mean).max() < 5 * found.stderr.max() + 1e-12 < 5e-4 * size + 1e-12


def test_replicas_without_states_and_grids_with_few_points_are_said():
    with pytest.warns(jk.AccuracyWarning, match=r"replicas found no state|points carry a replica: too few"):
        jk.fermi_surface(square(1.0), -3.0, 10.0, jk.Grid(6), replicas=8)


def test_the_default_is_better_than_lines_where_kt_is_wide():
    """Two bands at kT = 0.1 eV: Lines(8) took three times the diagonalisations for 190 times the error."""
    model, kelvin = jk.models.get("kramers-weyl-d4"), 0.1 / jk.units.BOLTZMANN
    chosen = jk.fermi_surface(model, -1.2, kelvin, replicas=4)
    lines = jk.fermi_surface(model, -1.2, kelvin, jk.Lines(8), replicas=4)
    assert "Grid" in chosen.verdict and chosen.evaluations < 0.5 * lines.evaluations
    one, other = (surface.density_of_states() for surface in (chosen, lines))
    assert abs(one.mean - other.mean) < 5 * np.hypot(one.stderr, other.stderr)
    assert one.stderr < 0.05 * other.stderr
    assert one.stderr < 1e-3 * one.mean
