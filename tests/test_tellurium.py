"""The built-in tellurium model: its symmetry, and its bands and moments against the Wannier model."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize

import jaxkin as jk
from jaxkin.errors import ModelError
from jaxkin.geometry import batched_geometry
from jaxkin.hamiltonian import read_wannier90
from jaxkin.models.tellurium import tellurium

H_POINT = np.array([1 / 3, 1 / 3, 1 / 2])
TOP, TOP_FILE = 11, 17  # the valence band here and in the file
C3Z = np.array([[-0.5, -np.sqrt(0.75), 0], [np.sqrt(0.75), -0.5, 0], [0, 0, 1]])
C2Y, C2X = np.diag([-1.0, 1, -1]), np.diag([1.0, -1, -1])


def spectrum(model, k):
    return np.asarray(jax.lax.map(lambda q: model.bands(q), jnp.asarray(k)))


def turned(model, rotation, k):
    """Reduced coordinates of the turned Cartesian k."""
    return np.asarray(model.cartesian(k)) @ rotation.T @ np.asarray(model.dual).T


@pytest.fixture(scope="module")
def model():
    return tellurium()


@pytest.fixture(scope="module")
def reference(shared_data):
    return read_wannier90(shared_data / "te_sparse_tb.dat.gz")


@pytest.mark.parametrize("chirality", [1, -1])
def test_d3_and_time_reversal(chirality):
    model = tellurium(chirality)
    k = np.random.default_rng(0).uniform(-0.5, 0.5, (12, 3))
    energies = spectrum(model, k)
    for image in (turned(model, C3Z, k), turned(model, C2Y, k), -k):
        assert np.abs(spectrum(model, image) - energies).max() < 1e-9
    assert np.abs(spectrum(model, turned(model, C2X, k)) - energies).max() > 0.01


def test_mirror_image_reverses_the_moment_along_the_axis(model):
    k = H_POINT + np.array([[0.0, 0.0, 0.03]])
    ours = batched_geometry(model, jnp.asarray(k), jnp.array([TOP]))
    other = batched_geometry(tellurium(-1), jnp.asarray(k), jnp.array([TOP]))
    assert abs(ours.energy[0] - other.energy[0]) < 1e-9
    assert abs(ours.orbital_moment[0, 2] + other.orbital_moment[0, 2]) < 1e-7
    with pytest.raises(ModelError, match="chirality"):
        tellurium(0)


def test_valence_band_top_is_zero_on_the_line_through_h(model):
    band = jax.jit(lambda k: model.bands(k)[TOP])
    precise = {"xatol": 1e-7, "fatol": 1e-11}
    for sign in (1, -1):
        start = H_POINT + np.array([0.004, -0.003, 0.02 * sign])
        found = minimize(lambda k: -float(band(k)), start, method="Nelder-Mead", options=precise)
        assert abs(found.fun) < 1e-5
        offset = (found.x - H_POINT) @ np.asarray(model.basis)
        assert np.allclose(offset, [0, 0, 0.024 * sign], atol=1.5e-3)
    mesh = np.stack(np.meshgrid(*[np.arange(12) / 12] * 3, indexing="ij"), -1).reshape(-1, 3)
    energies = spectrum(model, mesh)
    assert energies[:, TOP].max() < 1e-5
    assert energies[:, TOP + 1].min() > 0.3


def test_spin_moment_is_optional():
    k = jnp.asarray(H_POINT + np.array([[0.0, 0.0, 0.03]]))
    plain = batched_geometry(tellurium(), k, jnp.array([TOP])).orbital_moment
    spinful = batched_geometry(tellurium(spin=True), k, jnp.array([TOP])).orbital_moment
    assert 0.1 < abs(spinful[0, 2] - plain[0, 2]) < 1.01


@pytest.mark.parametrize(("spin", "gauss"), [(False, 0.0106), (True, 0.0062)])
def test_magnetization_of_a_field_with_and_without_spin(spin, gauss):
    """The demo's headline, of the paper's mechanisms: 10⁴ V/m along z; the spin takes 4.4 mG of it."""
    surface = jk.fermi_surface(jk.models.get("tellurium", spin=spin), -0.02, sampler=jk.Lines(12), replicas=4)
    response = jk.gyrotropic_response(surface, jk.RelaxationTime(0.6, 200.0, 1.0), theory="paper")
    found = response.magnetization_gauss([0, 0, 1e4])["total"][0, 2].real
    assert abs(found.mean - gauss) < 5 * found.stderr + 5e-5  # as far as its digits go
    assert found.stderr < 1e-4


def test_bands_near_the_valence_band_top(model, reference):
    rng = np.random.default_rng(5)
    offset = rng.uniform(-1, 1, (300, 3)) * [0.09, 0.09, 0.12]
    k = H_POINT + offset @ np.asarray(model.dual).T
    exact = spectrum(reference, k)[:, TOP_FILE - 1 : TOP_FILE + 1] - 6.0718406
    error = spectrum(model, k)[:, TOP - 1 : TOP + 1] - exact
    near, wider = error[exact > -0.1], error[exact > -0.3]
    assert near.size > 100
    assert np.sqrt(np.mean(near**2)) < 0.9e-3  # measured 0.6 meV
    assert np.abs(near).max() < 3e-3  # measured 2.2 meV
    assert np.sqrt(np.mean(wider**2)) < 1.3e-3  # measured 0.97 meV


def test_moment_and_curvature_near_h(model, reference):
    kz = np.array([0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.07])
    offset = np.stack([0 * kz, 0 * kz, kz], 1)
    k = jnp.asarray(H_POINT + offset @ np.asarray(model.dual).T)
    for below, worst_m, worst_c in ((0, 0.05, 0.08), (1, 0.04, 0.05)):  # measured 0.035, 0.044; 0.028, 0.038
        ours = batched_geometry(model, k, jnp.full(7, TOP - below))
        exact = batched_geometry(reference, k, jnp.full(7, TOP_FILE - below))
        assert np.abs(ours.orbital_moment[:, 2] / exact.orbital_moment[:, 2] - 1).max() < worst_m
        curvature, goal = ours.berry_curvature[:, 2], exact.berry_curvature[:, 2]
        assert np.abs((curvature - goal) / np.maximum(np.abs(goal), 10)).max() < worst_c


def test_no_pocket_that_the_file_lacks(model, reference):
    mesh = np.stack(np.meshgrid(*[np.arange(16) / 16] * 3, indexing="ij"), -1).reshape(-1, 3)
    ours, exact = spectrum(model, mesh), spectrum(reference, mesh)[:, TOP_FILE - TOP :] - 6.0718406
    window = (ours > -0.1) & (ours < 0.2)
    assert np.all((exact[window] > -0.11) & (exact[window] < 0.01))
