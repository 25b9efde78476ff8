"""Gaussian skew scattering by potentials of finite range, interpolated through pivots."""

import jax.numpy as jnp
import numpy as np
import pytest
from dense_boltzmann import on_shell_pairs
from equinox import tree_at
from test_quantum import plane

import jaxkin as jk
from jaxkin.disorder import finite_range
from jaxkin.disorder.amplitude import scattering_terms
from jaxkin.disorder.finite_range_scatterers import FiniteRangeMixture
from jaxkin.disorder.point import local_states, phases
from jaxkin.disorder.states import ShellStates
from jaxkin.disorder.two_impurities import Amplitude, Kind, TwoImpurities, density_matrix

AREA = np.sqrt(3) / 2
ORDERS = ("born", "third", "tmatrix")


@pytest.fixture(scope="module")
def contour():
    return jk.fermi_surface(plane(), -2.4, sampler=jk.Lines(16), replicas=1)


def gaussian(order, rtol=1e-12, **options):
    return jk.FiniteRangeImpurity(jk.Gaussian(0.6), 2.0, 0.3, order=order, rtol=rtol, **options)


def pairs(contour, disorder):
    scatterer = disorder.on(contour)
    states = ShellStates(contour, True, scatterer.orbitals).of(contour.shells[0])
    two = scatterer.two_impurities(states)
    delta = jnp.eye(len(states)) / states.weights
    there, back = (np.asarray(part) for part in two.apply(delta))
    return states, there, back


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("positions", [(0.1, 0.2, 0.0), [(0.1, 0.2, 0.0), (0.4, -0.3, 0.0)]])
def test_flux_conservation(contour, order, positions):
    """∫w⁽²⁾_{pp'} δ = ∫w⁽²⁾_{p'p} δ = 0, of one and of two places that interfere."""
    states, kernel, back = pairs(contour, gaussian(order, positions=positions))
    size = np.abs(kernel @ np.diag(states.weights)).sum(axis=1).max()
    assert np.abs(kernel - back.T).max() < 1e-12 * np.abs(kernel).max()  # two sums, worst 2e-14
    assert np.abs(kernel - kernel.T).max() > 0.01 * np.abs(kernel).max()
    for flow in (kernel @ states.weights, kernel.T @ states.weights):
        assert np.abs(flow).max() < 1e-11 * size  # worst 7e-14


def test_impurities_of_one_sample(contour, monkeypatch):
    """Half as many twice are the same impurities; different ones interfere, by pivots as by matrices; flux stays."""
    monkeypatch.setattr(finite_range, "FULL", 1)  # pivots, however few points there are
    one, other = gaussian("tmatrix"), jk.FiniteRangeImpurity(jk.Gaussian(0.4), -1.5, 0.2, rtol=1e-12)
    half = tree_at(lambda d: d.density, one, 0.5 * one.density)
    whole, both = (pairs(contour, disorder)[1] for disorder in (one, half + half))
    assert np.abs(whole - both).max() < 1e-12 * np.abs(whole).max()
    states, mixed, back = pairs(contour, one + other)
    alone = whole + pairs(contour, other)[1]
    assert np.abs(mixed - alone).max() > 0.05 * np.abs(mixed).max()
    for flow in (mixed @ states.weights, back @ states.weights):
        assert np.abs(flow).max() < 1e-11 * np.abs(mixed @ np.diag(states.weights)).sum(axis=1).max()
    scatterer = (one + other).on(contour)
    assert isinstance(scatterer, FiniteRangeMixture)
    matrices = FiniteRangeMixture(tuple(part.by_matrices for part in scatterer.parts))
    x = jnp.eye(len(states)) / states.weights
    np.testing.assert_allclose(mixed, matrices.two_impurities(states).apply(x)[0], atol=1e-5 * np.abs(mixed).max())
    assert not jk.gyrotropic_response(contour, one + other).left_out


@pytest.mark.parametrize("order", ["born", "tmatrix"])
@pytest.mark.parametrize("rtol", [1e-8, 1e-12])
def test_against_sums_over_bands(contour, order, rtol):
    """Other bands are not among the pivots: V between them and the shell is missed by √rtol at worst."""
    basis, centres = np.asarray(contour.model.basis), np.asarray(contour.model.centres)
    cells = np.stack(np.meshgrid(*[np.arange(-8, 9)] * 2, indexing="ij"), axis=-1).reshape(-1, 2) @ basis
    place = np.array([0.1, 0.2]) @ np.asarray(contour.model.lattice)

    def potential(p, q):
        shift = p - q + cells
        values = 2.0 * np.exp(-0.5 * 0.6**2 * np.sum(shift**2, axis=1))
        return np.exp(1j * (cells @ (centres - place).T)).T @ values

    _, kernel, _ = pairs(contour, gaussian(order, positions=(0.1, 0.2, 0.0), rtol=rtol))
    expected = on_shell_pairs(contour, potential, 0.3, order)
    # worst 3.3e-8 with 1e-12
    assert np.abs(kernel - expected).max() < 0.1 * np.sqrt(rtol) * np.abs(expected).max()


@pytest.mark.parametrize("order", ORDERS)
def test_point_impurity_of_finite_range(contour, order):
    """V(q) without dependence on q: the same as in the two orbitals, with the T-matrix of the shell alone."""
    states, kernel, _ = pairs(
        contour, jk.FiniteRangeImpurity(lambda q: 1 + 0 * q[0], 0.7, 0.3, periodic=True, order=order)
    )
    centres = np.asarray(contour.model.centres)
    local, bare = local_states(states, (0, 1), centres)[0], 0.7 * AREA * jnp.eye(2)
    terms = scattering_terms(order, bare, bare, density_matrix(states, local))
    two = TwoImpurities(states, [Kind(Amplitude(0.3, terms.amplitude), (0, 1), phases(states, centres))])
    expected = np.asarray(two.apply(jnp.eye(len(states)) / states.weights)[0])
    assert np.abs(kernel - expected).max() < 1e-11 * np.abs(expected).max()


def test_response_and_table(contour):
    """Nothing is left out, Born equals the point impurity, and the table has it at other strengths and densities."""
    flat = jk.FiniteRangeImpurity(lambda q: 1 + 0 * q[0], 0.7, 0.3, periodic=True, order="born")
    found = jk.gyrotropic_response(contour, flat, [0.0, 1.0], "exact")
    point = jk.gyrotropic_response(contour, jk.PointImpurity(0.7, [0, 1], 0.3, order="born"), [0.0, 1.0], "exact")
    assert not found.left_out
    for name, part in point.g.items():
        scale = np.abs(point.g["total"].mean).max()
        np.testing.assert_allclose(found.g[name].mean, part.mean, atol=1e-8 * scale, err_msg=name)
    table = jk.tabulate(contour, gaussian("tmatrix"), strengths=(0.5, 2.0))
    other = jk.FiniteRangeImpurity(jk.Gaussian(0.6), 2.0 * 1.3, 0.1)
    exact = jk.gyrotropic_response(contour, other, [1.0]).g
    values = table.gyrotropic({"strength": 1.3, "density": 0.1}, [1.0])
    for name in ("skew", "nonlocal", "gaussian_skew"):
        assert np.abs(exact[name].samples).max() > 0
        tolerance = 1e-4 * np.abs(exact[name].samples).max()
        np.testing.assert_allclose(values[name], exact[name].samples, atol=tolerance, err_msg=name)
