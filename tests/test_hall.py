"""The intrinsic Hall conductivity of a run: its accuracy, its budget, its error, and how well time reversal holds."""

import importlib
import warnings

import numpy as np
import pytest
from scipy import constants as si

import jaxkin as jk
from jaxkin.surface.sea import filled_berry_curvature

NODE, LEVEL = 0.2, 0.02
QUANTUM = si.e**2 / si.h
IMPURITY = jk.RelaxationTime(1.0)


def weyl_surface(level=LEVEL):
    return jk.fermi_surface(jk.models.get("weyl", node=NODE), level, sampler=jk.Lines(6), replicas=2)


def hall(sigma):
    return float(np.real(sigma.mean[0, 0, 1]))


def test_the_part_of_a_weyl_semimetal_has_the_accuracy_of_the_run_and_states_its_error():
    """±(e²/h)(1 − 2·0.2)/a while μ is near the nodes: both cones add and take the same."""
    sigma = jk.conductivity(weyl_surface(), IMPURITY).sigma
    exact = QUANTUM * (1 - 2 * NODE) / 1e-10
    error = float(np.real(sigma["intrinsic"].stderr[0, 0, 1]))
    assert 0 < error < 1e-2 * exact
    assert (
        abs(abs(hall(sigma["intrinsic"])) - exact) < error + 1e-3 * exact
    )  # worst 7e-4: the cones are not quite straight
    total, drude = (np.real(sigma[name].stderr[0, 0, 1]) for name in ("total", "drude"))
    assert total >= error * (1 - 1e-12) and drude < total


@pytest.mark.parametrize("budget", [6_000, 20_000])
def test_the_budget_holds_for_the_first_mesh_and_what_is_not_known_is_said(budget):
    """Two pockets of 1.5 % of the zone's width, which 6,000 points do not resolve."""
    model, reports = jk.models.get("weyl", node=NODE), []
    surface = weyl_surface(level=0.02)
    with pytest.warns(jk.AccuracyWarning, match="raise `hall_budget`, or give hall=False"):
        found = filled_berry_curvature(
            model, 0.02, rtol=1e-6, budget=budget, pockets=surface.pockets, progress=lambda *one: reports.append(one)
        )
    assert found.evaluations <= budget
    assert [done for done, *_ in reports] == sorted(done for done, *_ in reports)
    assert reports[-1][:2] == (found.evaluations, budget)
    assert abs(abs(found.values[2]) - (1 - 2 * NODE) / (2 * np.pi)) < found.error


def test_hall_false_computes_nothing(monkeypatch):
    module = importlib.import_module("jaxkin.response.conductivity")  # the package has the function of this name
    monkeypatch.setattr(module, "filled_berry_curvature", lambda *_, **__: pytest.fail("it was computed"))
    found = jk.conductivity(weyl_surface(), IMPURITY, hall=False)
    assert "intrinsic" not in found.sigma
    parts = [found.sigma[name].samples for name in ("drude", "skew", "side_jump")]
    np.testing.assert_array_equal(found.sigma["total"].samples, sum(parts))


@pytest.mark.parametrize("level", [-50.0, 50.0])
def test_empty_and_full_bands_have_none_and_raise_no_alarm(level):
    """The error is compared with the quantum e²/ha, not with what rounding leaves of zero."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = filled_berry_curvature(jk.models.get("weyl", node=NODE), level)
    assert np.abs(found.values).max() <= found.error < 1e-10


@pytest.mark.parametrize(("split", "holds"), [(0.0, True), (1e-4, True), (0.02, False)])
def test_the_statement_on_time_reversal(split, holds):
    """An exchange field of ``split`` on a lattice that has time reversal otherwise; energies move by 2·split/2."""
    model = jk.models.get("kramers-weyl-d4")
    steps = np.vstack([model.translations, [0, 0, 0]])
    hoppings = np.concatenate([model.hoppings, 0.5 * split * np.diag([1.0, -1.0])[None]])
    broken = jk.TightBinding(model.lattice, steps, hoppings, model.positions)
    surface = jk.fermi_surface(broken, -1.5, sampler=jk.Lines(6), replicas=2)
    found = jk.conductivity(surface, IMPURITY)
    assert found.time_reversal.startswith("holds" if holds else "broken: energies differ by 0.0")
    assert bool(found.sigma["intrinsic"].samples.any()) == (not holds)


def test_a_shared_error_goes_through_functions_and_into_the_standard_error():
    rng = np.random.default_rng(0)
    samples = rng.normal(size=(5, 2)) + 1j * rng.normal(size=(5, 2))
    estimate = jk.Estimate(samples, shared=np.array([3.0, 4.0j]))
    plain = jk.Estimate(samples)
    np.testing.assert_allclose(estimate.stderr[0].real, np.hypot(plain.stderr[0].real, 3.0))
    np.testing.assert_allclose(estimate.stderr[1].imag, np.hypot(plain.stderr[1].imag, 4.0))
    np.testing.assert_allclose(estimate.map(lambda x: 2 * x).stderr, 2 * estimate.stderr)
    assert estimate.stderr[0].imag == plain.stderr[0].imag


@pytest.mark.parametrize("solver", ["rta", "exact"])
def test_the_total_has_no_noise_of_the_drude_part(solver):
    """A metal on few lines: σ_xy is known to 5e-4 S, its antisymmetric part, where the Drude part has none, to 1e-5."""
    surface = jk.fermi_surface(jk.models.get("haldane"), -1.5, sampler=jk.Lines(6), replicas=4)
    found = jk.conductivity(surface, jk.PointImpurity(0.3, [0], 1e-2, order="third"), solver=solver, theory="paper")
    parts = [part.samples for name, part in found.hall.items() if name != "total"]
    total = found.hall["total"].samples
    np.testing.assert_allclose(total, sum(parts), atol=1e-10 * np.abs(found.sigma["drude"].samples).max())
    errors = [float(one.stderr[0, 0, 1].real) for one in (found.hall["total"], found.sigma["total"])]
    assert errors[0] < 0.05 * errors[1]  # worst 0.004
    assert "drude" not in found.hall


def test_progress_is_told_of_the_intrinsic_part():
    reports = []
    surface = jk.fermi_surface(jk.models.get("haldane"), -1.5, sampler=jk.Lines(6), replicas=2)
    jk.conductivity(surface, IMPURITY, hall_budget=50_000, progress=lambda *one: reports.append(one))
    told = [(done, total) for done, total, what in reports if what.startswith("Hall integral")]
    assert told[-1][1] == 50_000 and told[-1][0] <= 50_000
