"""Tables: the same responses as from the surface, at rounding; derivatives; the thermal average."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad

import jaxkin as jk
from jaxkin import units

FREQUENCY = [0.0, 0.4, 3.0]
LEVEL = -1.5
ROUNDING = 3e-12
"""Largest difference relative to the largest component; measured 1e-15 for τ, τ_sk, a_sj and 9e-13 for impurities."""


@pytest.fixture(scope="module")
def model():
    return jk.models.get("kramers-weyl-d4")


@pytest.fixture(scope="module")
def cold(model):
    return jk.fermi_surface(model, -1.2, sampler=jk.Lines(n=8), replicas=3)


@pytest.fixture(scope="module")
def warm(model):
    return jk.fermi_surface(model, -1.2, 200.0, sampler=jk.Lines(n=5), replicas=2)


def assert_same(table, values, surface, disorder):
    """Every replica, mechanism and component of g and of the Drude σ."""
    response = jk.gyrotropic_response(surface, disorder, FREQUENCY)
    for name, g in table.gyrotropic(values, FREQUENCY).items():
        exact = response.g[name].samples
        assert np.abs(np.asarray(g) - exact).max() <= ROUNDING * np.abs(exact).max(), name
    sigma, exact = table.conductivity(values, FREQUENCY), response.conductivity.sigma["drude"].samples
    assert np.abs(np.asarray(sigma) - exact).max() <= ROUNDING * np.abs(exact).max()


@pytest.mark.parametrize("surface", ["cold", pytest.param("warm", marks=pytest.mark.slow)])
def test_relaxation_time_equals_the_response(surface, request):
    surface = request.getfixturevalue(surface)
    table = jk.tabulate(surface, jk.RelaxationTime(1.0))
    values = {"tau": 0.6, "tau_skew": -40.0, "side_jump": 1.5}
    assert_same(table, values, surface, jk.RelaxationTime(**values))


@pytest.mark.parametrize("order", ["tmatrix", "third", "born"])
def test_point_impurity_equals_the_response(cold, order):
    table = jk.tabulate(cold, jk.PointImpurity(1.0, [[0, 1], [0, 1]], 0.01, order=order))
    disorder = jk.PointImpurity(2.5, [[0, 1], [0, 1]], 0.03, order=order)
    assert_same(table, {"strength": 2.5, "density": 0.03}, cold, disorder)


@pytest.mark.slow
def test_thermal_cluster_equals_the_response(warm):
    """A matrix on two cells; no Green function is needed in third order."""
    potential = np.array([[1.0, 0.3j], [-0.3j, 0.5]])
    cells = [[0, 0, 0], [1, 0, 0]]
    disorder = jk.PointImpurity(potential, [0, 1], 0.02, order="third", cells=cells)
    assert_same(jk.tabulate(warm, disorder), {}, warm, disorder)


def test_moment_scale_multiplies_the_intrinsic_part(cold):
    table = jk.tabulate(cold, jk.RelaxationTime(1.0, 30.0, 1.0))
    one, two = (table.gyrotropic({"moment_scale": scale}, FREQUENCY) for scale in (1.0, 2.5))
    assert np.allclose(two["intrinsic"], 2.5 * np.asarray(one["intrinsic"]), rtol=1e-14)
    assert np.array_equal(two["skew"], one["skew"])


CASES = {
    "relaxation": {"tau": 0.6, "tau_skew": 40.0, "side_jump": 1.5, "moment_scale": 1.2, "fermi_level": -1.19,
                   "temperature": 220.0},
    "impurity": {"strength": 1.7, "density": 0.03, "moment_scale": 0.8, "fermi_level": -1.21, "temperature": 230.0},
}  # fmt: skip


@pytest.mark.parametrize("case", ["relaxation", pytest.param("impurity", marks=pytest.mark.slow)])
def test_derivatives_equal_finite_differences(warm, case):
    """Forward, reverse, and fourth-order differences, of all components at two frequencies."""
    disorder = jk.RelaxationTime(1.0) if case == "relaxation" else jk.PointImpurity(1.0, [0, 1], 0.01, order="third")
    table, values = jk.tabulate(warm, disorder), CASES[case]
    names = list(values)

    @jax.jit
    def function(x):
        given = dict(zip(names, x, strict=True))
        g = table.gyrotropic(given, [0.4, 3.0])["total"]
        sigma = table.conductivity(given, [0.4, 3.0])
        flat = jnp.concatenate([g.ravel() / jnp.abs(g).max(), sigma.ravel() / jnp.abs(sigma).max()])
        return jnp.concatenate([flat.real, flat.imag])

    x = jnp.array(list(values.values()))
    forward = jax.jit(jax.jacfwd(function))(x)
    for k, name in enumerate(names):
        h = 1e-3 * abs(x[k]) * (0.1 if name == "fermi_level" else 1.0)
        step = jnp.zeros_like(x).at[k].set(h)
        near, far = function(x + step) - function(x - step), function(x + 2 * step) - function(x - 2 * step)
        difference = (8 * near - far) / (12 * h)
        # measured 3e-9 at worst (fermi_level)
        assert np.abs(forward[:, k] - difference).max() < 1e-7 * np.abs(difference).max(), name
    weights = jnp.asarray(np.random.default_rng(0).standard_normal(len(forward)))
    reverse = jax.jit(jax.grad(lambda x: weights @ function(x)))(x)
    assert np.allclose(reverse, weights @ forward, rtol=1e-9)


def test_dressed_impurity_has_finite_difference_derivatives(cold):
    table = jk.tabulate(cold, jk.PointImpurity(1.0, [0, 1], 0.01))

    @jax.jit
    def skew(v):
        return table.gyrotropic({"strength": v}, [0.5])["skew"].mean(axis=0)[0, 2, 2].imag

    for v in (0.7, 2.5, -1.5):
        h = 1e-3
        difference = (8 * (skew(v + h) - skew(v - h)) - skew(v + 2 * h) + skew(v - 2 * h)) / (12 * h)
        assert float(jax.grad(skew)(v)) == pytest.approx(float(difference), rel=1e-6)


HALL = {
    "relaxation": (jk.RelaxationTime(1.0), jk.RelaxationTime(0.6, -40.0, 1.5),
                   {"tau": 0.6, "tau_skew": -40.0, "side_jump": 1.5}),
    "point": (jk.PointImpurity(1.0, [0, 1], 1e-3), jk.PointImpurity(1.7, [0, 1], 2e-3),
              {"strength": 1.7, "density": 2e-3}),
    "finite": (jk.FiniteRangeImpurity(jk.Gaussian(1.2), 1.0, 1e-3), jk.FiniteRangeImpurity(jk.Gaussian(1.2), 1.7, 2e-3),
               {"strength": 1.7, "density": 2e-3}),
}  # fmt: skip


@pytest.mark.parametrize("case", ["relaxation", "point", pytest.param("finite", marks=pytest.mark.slow)])
def test_hall_conductivity_equals_the_response(case):
    """Intrinsic, skew and side-jump parts where time reversal is broken; and as a data column along any axis."""
    tabulated, disorder, values = HALL[case]
    model = jk.models.get("haldane")
    surface = jk.fermi_surface(model, LEVEL, sampler=jk.Lines(n=24), replicas=2)
    table = jk.tabulate(surface, tabulated, strengths=(0.5, 2.0) if case == "finite" else None)
    response = jk.conductivity(surface, disorder, FREQUENCY, hall_rtol=1e-8, hall_budget=500_000)
    found = table.hall_conductivity(values, FREQUENCY)
    scale = max(np.abs(response.sigma[name].samples).max() for name in ("intrinsic", "skew", "side_jump"))
    for name in ("intrinsic", "skew", "side_jump"):
        exact = response.sigma[name].samples
        assert np.abs(np.asarray(found[name]) - exact).max() < 1e-9 * scale, name
    assert np.abs(np.asarray(found["intrinsic"])).max() > 1e-3 * scale
    assert 0 < table.hall_error < 1e-4 * scale
    names = [jk.Parameter("density", bounds=(1e-4, 1e-2))] if case == "finite" else list(values)
    fixed = {"strength": 1.7} if case == "finite" else {}
    problem = jk.FitProblem(table, names, fixed)
    total = response.sigma["total"].mean
    for quantity, part in (("hall_conductivity", total.real), ("hall_conductivity_imaginary", total.imag)):
        got = problem.predict(values, jk.Data(quantity, 0.0, 1.0, FREQUENCY))
        assert np.allclose(got, 0.5 * (part[:, 0, 1] - part[:, 1, 0]), rtol=0, atol=1e-9 * scale)


def test_intrinsic_hall_part_keeps_the_level(model):
    warm = jk.fermi_surface(jk.models.get("haldane"), LEVEL, 300.0, sampler=jk.Lines(n=6), replicas=2)
    table = jk.tabulate(warm, jk.RelaxationTime(1.0))
    free = jk.FitProblem(table, [jk.Parameter("fermi_level", bounds=(LEVEL - 0.01, LEVEL + 0.01))])
    with pytest.raises(jk.JaxkinError, match="filled states' part of the Hall conductivity"):
        jk.fit(free, jk.Data("hall_conductivity", 1.0, 1.0))


@pytest.fixture(scope="module")
def coarse(model):
    return jk.fermi_surface(model, -1.2, sampler=jk.Lines(n=4), replicas=2)


def test_finite_range_impurity_equals_the_response_between_the_nodes(coarse):
    """Strengths and densities that were not tabulated, from weak to strong scattering."""
    shape = jk.Gaussian(1.2)
    table = jk.tabulate(coarse, jk.FiniteRangeImpurity(shape, 3.0, 0.01), strengths=(0.2, 5.0))
    assert 1e-10 < table.interpolation_error < 1e-4
    for strength, density in ((0.37, 0.02), (4.4, 0.003)):
        response = jk.gyrotropic_response(coarse, jk.FiniteRangeImpurity(shape, 3.0 * strength, density), FREQUENCY)
        found = table.gyrotropic({"strength": strength, "density": density}, FREQUENCY)
        for name, g in found.items():
            exact = response.g[name].samples
            # measured 6e-13 at worst
            assert np.abs(np.asarray(g) - exact).max() <= 1e-10 * np.abs(exact).max(), name
    skew = jax.jit(lambda v: table.gyrotropic({"strength": v}, [0.4])["skew"].mean(axis=0)[0, 2, 2].imag)
    h = 1e-4
    difference = (8 * (skew(1.7 + h) - skew(1.7 - h)) - skew(1.7 + 2 * h) + skew(1.7 - 2 * h)) / (12 * h)
    assert float(jax.grad(skew)(1.7)) == pytest.approx(float(difference), rel=1e-7)


def test_strengths_of_a_finite_range_are_stated_and_kept(coarse):
    impurity = jk.FiniteRangeImpurity(jk.Gaussian(1.2), 3.0, 0.01, order="born")
    for strengths in (None, (-1.0, 2.0), (2.0, 3.0)):
        with pytest.raises(jk.JaxkinError, match="two positive factors"):
            jk.tabulate(coarse, impurity, strengths=strengths)
    table = jk.tabulate(coarse, impurity, strengths=(0.5, 2.0))
    assert table.interpolation_error < 1e-12  # powers of the strength
    with pytest.raises(jk.JaxkinError, match="leaves the table's"):
        table.conductivity({"strength": 3.0}, [0.0])
    with pytest.raises(jk.JaxkinError, match="bound it inside"):
        jk.FitProblem(table, ["strength"])
    problem = jk.FitProblem(table, [jk.Parameter("strength", bounds=(0.5, 2.0)), "moment_scale"])
    frequency = np.geomspace(0.01, 3.0, 15)
    sets = []
    for quantity in ("rotation", "conductivity"):
        exact = problem.predict({"strength": 1.3, "moment_scale": 0.8}, jk.Data(quantity, 0.0, 1.0, frequency))
        sets.append(jk.Data(quantity, exact, 0.01 * np.abs(exact).max(), frequency))
    result = jk.fit(problem, sets, starts=2)
    assert result.values["strength"] == pytest.approx(1.3, rel=1e-6)
    assert result.values["moment_scale"] == pytest.approx(0.8, rel=1e-6)


@pytest.mark.slow
def test_reweighed_surface_agrees_with_one_made_there(model):
    warm = jk.fermi_surface(model, -1.2, 200.0, sampler=jk.Lines(n=8), replicas=4)
    table = jk.tabulate(warm, jk.RelaxationTime(1.0))
    there = jk.fermi_surface(model, -1.19, 260.0, sampler=jk.Lines(n=8), replicas=4, seed=5)
    exact = jk.conductivity(there, jk.RelaxationTime(1.0)).sigma["drude"].map(np.real)
    moved = jk.Estimate(np.asarray(table.conductivity({"fermi_level": -1.19, "temperature": 260.0}, [0.0])).real)
    error = np.hypot(moved.stderr, exact.stderr)[0, range(3), range(3)]
    assert np.all(np.abs(moved.mean - exact.mean)[0, range(3), range(3)] < 5 * error)
    assert np.all(error < 0.01 * exact.mean.max())  # measured 3e-3


@pytest.mark.slow
def test_window_over_a_band_edge_against_the_fermi_integral():
    """σ = n e²τ/m of a parabolic band with μ at, above and below its edge."""
    mass, tau = 0.5, 0.7
    model = jk.models.get("helical-isotropic", mass=mass, moment=1.0, box=0.3)
    window = (-0.02, 0.0, 0.25)
    table = jk.tabulate_window(model, jk.RelaxationTime(tau), window, 250.0, jk.Lines(n=8), replicas=4)
    for mu, temperature in ((0.0, 250.0), (0.02, 250.0), (-0.01, 300.0)):
        kt = units.BOLTZMANN * temperature
        prefactor = (mass / units.HBAR2_OVER_2M) ** 1.5 / (4 * np.pi**2)
        fermi = quad(lambda e: np.sqrt(e) / (np.exp((e - mu) / kt) + 1), 0, mu + 60 * kt)[0]  # noqa: B023
        weight = prefactor * fermi * 2 * units.HBAR2_OVER_2M / mass  # ∫(dk)(−f⁰')v_z² in eV Å²/Å³
        exact = tau * weight * 1e-12 * units.velocity_velocity_density(3) * units.ELEMENTARY_CHARGE**2
        values = {"fermi_level": mu, "temperature": temperature}
        sigma = jk.Estimate(np.asarray(table.conductivity(values, [0.0]))[:, 0, 2, 2].real)
        assert sigma.stderr < 0.01 * exact
        # the edge, x^{3/2}, costs the quadrature 3e-5
        assert abs(sigma.mean - exact) < 5 * sigma.stderr + 1e-4 * exact


def test_refusals(warm, cold, model):
    table = jk.tabulate(warm, jk.RelaxationTime(1.0))
    with pytest.raises(jk.JaxkinError, match="did you mean 'tau_skew'"):
        table.gyrotropic({"tau_skw": 1.0}, [0.0])
    free = [jk.Parameter("temperature", bounds=(100.0, 300.0))]
    with pytest.raises(jk.JaxkinError, match="below 200 K"):
        jk.FitProblem(table, free)
    with pytest.raises(jk.JaxkinError, match="tabulate_window"):
        jk.FitProblem(table, [jk.Parameter("fermi_level", bounds=(-1.5, -1.0))])
    with pytest.raises(jk.JaxkinError, match=r"for -1\.2 eV and 0 K only"):
        jk.FitProblem(jk.tabulate(cold, jk.RelaxationTime(1.0)), [jk.Parameter("fermi_level", bounds=(-1.3, -1.1))])
    with pytest.raises(jk.JaxkinError, match="not Mixture"):
        jk.tabulate(cold, jk.RelaxationTime(1.0) + jk.RelaxationTime(2.0))
    binned = jk.fermi_surface(model, -1.2, 300.0, sampler=jk.Grid(n=10), replicas=1)
    with pytest.raises(jk.JaxkinError, match="sample with Lines"):
        jk.tabulate(binned, jk.PointImpurity(1.0, [0], 0.01, order="born"))
    with pytest.raises(jk.JaxkinError, match="two increasing energies"):
        jk.tabulate_window(model, jk.RelaxationTime(1.0), (0.0,), 100.0)
