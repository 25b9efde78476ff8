"""Fits of impurities and phonons together: tables against responses, and parameters found again from data."""

import numpy as np
import pytest

import jaxkin as jk

LEVEL, KELVIN = -1.2, 200.0
FREQUENCY = [0.0, 0.4]
CASES = {
    "rate": (jk.RelaxationTime(0.5, 40.0, 0.3), jk.PhononRate(0.8, 1.3, 250.0, edge=-1.0, energy_exponent=0.7)),
    "impurity and rate": (
        jk.PointImpurity(np.diag([1.0, 2.0]), [0, 1], 0.01, order="born"),
        jk.PhononRate(0.05, temperature=77.0),
    ),
    "acoustic": (jk.RelaxationTime(0.5, 40.0, 0.3), jk.AcousticPhonons(20.0, 8e4, 3e4)),
}


@pytest.fixture(scope="module")
def warm():
    return jk.fermi_surface(jk.models.get("kramers-weyl-d4"), LEVEL, KELVIN, sampler=jk.Lines(6), replicas=2)


@pytest.fixture(scope="module")
def cold():
    return jk.fermi_surface(jk.models.get("kramers-weyl-d4"), LEVEL, sampler=jk.Lines(8), replicas=2)


@pytest.mark.parametrize("case", CASES)
def test_table_is_the_response(warm, cold, case):
    """At the table's own parameters to rounding, mechanism by mechanism and replica by replica."""
    surface = cold if case == "impurity and rate" else warm
    impurities, phonons = CASES[case]
    table = jk.tabulate(surface, impurities + phonons)
    found, response = table.gyrotropic({}, FREQUENCY), jk.gyrotropic_response(surface, impurities + phonons, FREQUENCY)
    scale = np.abs(response.g["total"].samples).max()
    for name, part in found.items():
        assert np.abs(part - response.g[name].samples).max() < 1e-10 * scale, name
    sigma = jk.conductivity(surface, impurities + phonons, FREQUENCY).sigma["drude"].samples
    np.testing.assert_allclose(table.conductivity({}, FREQUENCY), sigma, rtol=1e-10, atol=1e-10 * np.abs(sigma).max())


@pytest.mark.parametrize(
    ("impurities", "made", "values", "wanted"),
    [
        pytest.param(
            jk.RelaxationTime(0.5, 40.0, 0.3),
            lambda kelvin: jk.PhononRate(0.8, 1.3, 250.0, temperature=kelvin),
            {"tau_phonon": 0.3, "phonon_exponent": 2.1},
            lambda kelvin: jk.PhononRate(0.3, 2.1, 250.0, temperature=kelvin),
            id="rate",
        ),
        pytest.param(
            jk.RelaxationTime(0.5, 40.0, 0.3),
            lambda kelvin: jk.AcousticPhonons(20.0, 8e4, 3e4, kelvin),
            {"deformation_potential": 35.0},
            lambda kelvin: jk.AcousticPhonons(35.0, 8e4, 3e4, kelvin),
            id="acoustic",
        ),
        pytest.param(
            jk.RelaxationTime(0.5, 40.0, 0.3),
            lambda kelvin: jk.PolarPhonons(0.01, 20.0, 30.0, 5.0, kelvin),
            {},
            lambda kelvin: jk.PolarPhonons(0.01, 20.0, 30.0, 5.0, kelvin),
            id="polar",
        ),
    ],
)
def test_table_elsewhere(warm, impurities, made, values, wanted):
    """Other parameters and another temperature are those of a table made of phonons that have them."""
    kelvin = 1.2 * KELVIN
    found, exact = jk.tabulate(warm, impurities + made(None)), jk.tabulate(warm, impurities + wanted(kelvin))
    parts = [
        table.gyrotropic({**given, "temperature": kelvin}, FREQUENCY) for table, given in ((found, values), (exact, {}))
    ]
    for name, part in parts[0].items():
        scale = np.abs(parts[1][name]).max()
        np.testing.assert_allclose(part, parts[1][name], rtol=1e-10, atol=1e-10 * scale)


def test_every_temperature_of_data_has_its_phonons(warm):
    table = jk.tabulate(warm, sum_of("acoustic"))
    problem = jk.FitProblem(table, ["tau", "deformation_potential"])
    kelvins = np.array([200.0, 300.0, 240.0, 200.0])
    for quantity in ("conductivity", "rotation", "magnetization"):
        driven = {"current_density": 1e6} if quantity == "magnetization" else {}
        data = jk.Data(quantity, np.zeros(4), 1.0, [0.1, 0.1, 0.2, 0.3], temperature=kelvins, **driven)
        together = problem.predict(problem.start, data)
        for number, kelvin in enumerate(kelvins):
            alone = jk.FitProblem(table, ["tau"], fixed={"temperature": kelvin})
            one = jk.Data(quantity, [0.0], 1.0, [data.frequency[number]], **driven)
            np.testing.assert_allclose(together[number], alone.predict(alone.start, one), rtol=1e-12)
        assert abs(together[1] / together[0] - 1) > 0.01


def sum_of(case):
    return CASES[case][0] + CASES[case][1]


@pytest.mark.parametrize(
    ("phonons", "name", "truth"),
    [
        (jk.AcousticPhonons(10.0, 8e4, 3e4), "deformation_potential", 12.0),
        (jk.PhononRate(1.0, exponent=1.5), "tau_phonon", 0.4),
    ],
)
def test_impurities_and_phonons_are_found_again(warm, phonons, name, truth):
    """Resistivity against temperature parts the two, and its errors say how well."""
    table = jk.tabulate(warm, jk.RelaxationTime(1.0) + phonons)
    problem = jk.FitProblem(table, [jk.Parameter("tau", bounds=(0.05, 5.0)), jk.Parameter(name, bounds=(0.05, 100.0))])
    kelvins = np.linspace(200.0, 340.0, 15)
    clean = jk.Data("conductivity", np.zeros(15), 1.0, frequency=np.zeros(15), temperature=kelvins)
    exact = problem.predict({"tau": 0.5, name: truth}, clean)
    noise = 0.01 * exact * np.random.default_rng(3).normal(size=15)
    data = jk.Data("conductivity", exact + noise, 0.01 * exact, frequency=np.zeros(15), temperature=kelvins)
    result = jk.fit(problem, data, starts=2)
    assert result.converged
    for key, value in (("tau", 0.5), (name, truth)):
        assert abs(result.values[key] - value) < 4 * result.errors[key]
        assert result.errors[key] < 0.2 * value


def test_refusals(warm):
    with pytest.raises(jk.JaxkinError, match="of numbers"):
        jk.tabulate(warm, jk.RelaxationTime(1.0) + jk.PhononRate(lambda energy, kelvin: 1.0 + 0 * energy))
    with pytest.raises(jk.JaxkinError, match="one of phonons"):
        jk.tabulate(warm, jk.RelaxationTime(1.0) + jk.PhononRate(1.0) + jk.PhononRate(1.0))
    degenerate = jk.AcousticPhonons(20.0, 8e4, 3e4, bloch_gruneisen=True)
    table = jk.tabulate(warm, jk.RelaxationTime(1.0) + degenerate)
    with pytest.raises(jk.JaxkinError, match="those at 200 K"):
        jk.FitProblem(table, [jk.Parameter("temperature", bounds=(200.0, 250.0))])
