"""Band fits: known parameters recovered, errors of the right size, degenerate and unknown energies."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxkin as jk

NAMES = ("hopping", "hopping_z", "spin_orbit", "spin_orbit_z", "trigonal")
TRUTH = dict(zip(NAMES, (0.4, 0.35, 0.3, 0.25, 0.2), strict=True))
START = dict(zip(NAMES, (0.5, 0.3, 0.2, 0.2, 0.1), strict=True))


def unit(name: str) -> jk.TightBinding:
    return jk.models.get("kramers-weyl-d3", **{other: float(other == name) for other in NAMES})


UNITS = {name: unit(name).hoppings for name in NAMES}
TEMPLATE = unit("hopping")


def build(theta) -> jk.TightBinding:
    hoppings = sum(theta[name] * UNITS[name] for name in NAMES)
    return eqx.tree_at(lambda m: m.hoppings, TEMPLATE, hoppings)


@pytest.fixture(scope="module")
def data() -> tuple[np.ndarray, np.ndarray]:
    """Random k, and one where the bands touch."""
    k = np.concatenate([np.random.default_rng(0).random((40, 3)), np.zeros((1, 3))])
    return k, np.asarray(jax.vmap(jk.models.get("kramers-weyl-d3", **TRUTH).bands)(k))


def test_recovers_hoppings(data):
    result = jk.fit_bands(build, START, *data)
    assert result.converged
    assert result.chi2 < 1e-12
    assert result.degrees_of_freedom == 82 - 5
    for name in NAMES:
        assert float(result.values[name]) == pytest.approx(TRUTH[name], abs=1e-8)  # worst measured 6e-17
    np.testing.assert_allclose(result.energies, data[1], atol=1e-8)


def test_a_window_with_gaps(data):
    """Only the upper band, and that not everywhere."""
    k, energies = data
    upper = np.where(energies[:, 1:] < 1.0, energies[:, 1:], np.nan)
    assert np.isnan(upper).any()
    result = jk.fit_bands(build, START, k, upper, bands=[1])
    assert result.degrees_of_freedom == np.isfinite(upper).sum() - 5
    for name in NAMES:
        assert float(result.values[name]) == pytest.approx(TRUTH[name], abs=1e-8)


def test_errors_have_the_right_size(data):
    """Pulls of 40 noisy sets: mean square one within 5σ, and the covariance that of the scatter."""
    k, energies = data
    rng, found = np.random.default_rng(1), []
    for _ in range(40):
        result = jk.fit_bands(build, START, k, energies + 0.02 * rng.standard_normal(energies.shape), 0.02)
        assert result.converged
        found.append([float(result.values[name]) for name in sorted(NAMES)])
    truth = np.array([TRUTH[name] for name in sorted(NAMES)])
    errors = np.array([float(result.errors[name]) for name in sorted(NAMES)])
    pulls = (np.array(found) - truth) / errors
    assert np.mean(pulls**2) == pytest.approx(1.0, abs=5 * np.sqrt(2 / pulls.size))
    np.testing.assert_allclose(errors, np.sqrt(np.diag(result.covariance)))
    assert np.all(errors < 0.01)


def test_prior_and_further_residuals(data):
    """What the bands leave open is infinite in error, and held by a prior or by other data."""
    k, energies = data

    def wider(theta):
        return build({name: theta[name] for name in NAMES})

    start = START | {"idle": 0.7}
    free = jk.fit_bands(wider, start, k, energies)
    assert np.isinf(free.errors["idle"])
    assert float(free.values["idle"]) == 0.7
    held = jk.fit_bands(wider, start, k, energies, prior=0.5)
    assert float(held.errors["idle"]) == pytest.approx(0.5)
    assert held.degrees_of_freedom == free.degrees_of_freedom + 6
    point = jnp.array([0.1, 0.2, 0.3])

    def velocity(model):
        return (jk.band_geometry(model, point, 0).velocity - 1.0) / 1e-6

    pulled = jk.fit_bands(build, START, k, energies, residuals=velocity)
    np.testing.assert_allclose(jk.band_geometry(pulled.model, point, 0).velocity, 1.0, atol=1e-3)


def test_bounds_coordinates_and_priors_by_name(data):
    """The same Parameter as for tables: a bound that holds, ln t fitted, a prior pulled at."""
    k, energies = data
    noisy = energies + 0.02 * np.random.default_rng(2).standard_normal(energies.shape)
    free = jk.fit_bands(build, START, k, noisy, 0.02)
    log = jk.fit_bands(build, START, k, noisy, 0.02, parameters=[jk.Parameter("hopping", 2.0, transform="log")])
    inside = jk.fit_bands(build, START, k, noisy, 0.02, parameters=[jk.Parameter("hopping", bounds=(0.1, 3.0))])
    for other in (log, inside):
        assert other.converged
        assert other.chi2 == pytest.approx(free.chi2, rel=1e-9)
        np.testing.assert_allclose(other.covariance, free.covariance, rtol=1e-4, atol=1e-12)
        assert not other.at_bound
    held = jk.fit_bands(build, START, k, noisy, 0.02, parameters=[jk.Parameter("spin_orbit", bounds=(0.0, 0.25))])
    assert held.converged
    assert held.at_bound == ("spin_orbit",)
    assert float(held.values["spin_orbit"]) == 0.25
    sigma = float(free.errors["trigonal"])
    mean = float(free.values["trigonal"]) + 2 * sigma
    pulled = jk.fit_bands(build, START, k, noisy, 0.02, parameters=[jk.Parameter("trigonal", prior=(mean, sigma))])
    assert pulled.degrees_of_freedom == free.degrees_of_freedom + 1
    # two equal weights: half way, by one σ
    assert mean - float(pulled.values["trigonal"]) == pytest.approx(sigma, rel=0.05)
    assert float(pulled.errors["trigonal"]) == pytest.approx(sigma / np.sqrt(2), rel=0.05)
    with pytest.raises(jk.JaxkinError, match="did you mean 'hopping'"):
        jk.fit_bands(build, START, k, energies, parameters=[jk.Parameter("hoping")])
    with pytest.raises(jk.JaxkinError, match="outside the bounds"):
        jk.fit_bands(build, START, k, energies, parameters=[jk.Parameter("hopping", bounds=(1.0, 2.0))])


def test_refusals(data):
    k, energies = data
    for arguments, message in (
        ((k[:, :2], energies), "must be"),
        ((k, energies[:-1]), "must be"),
        ((k, energies, 0.0), "error must be positive"),
    ):
        with pytest.raises(jk.JaxkinError, match=message):
            jk.fit_bands(build, START, *arguments)
    with pytest.raises(jk.JaxkinError, match="must lie in 0"):
        jk.fit_bands(build, START, k, energies, bands=[1, 2])
    with pytest.raises(jk.JaxkinError, match="prior must be positive"):
        jk.fit_bands(build, START, k, energies, prior=-1.0)
    with pytest.raises(jk.JaxkinError, match="'hopping' needs a start that is finite"):
        jk.fit_bands(build, START | {"hopping": np.nan}, k, energies)
