"""Posterior samples: exact where the posterior is known, and where priors and bounds are all there is."""

import json

import numpy as np
import pytest
from test_fitting import CONFIG, command, made, write_study

import jaxkin as jk
from jaxkin.fitting import pictures

pytest.importorskip("blackjax")


@pytest.fixture(scope="module")
def table():
    surface = jk.fermi_surface(jk.models.get("kramers-weyl-d4"), -1.6, sampler=jk.Lines(n=10), replicas=3)
    return jk.tabulate(surface, jk.RelaxationTime(1.0, 1000.0, 0.1))


def test_linear_model_has_its_exact_gaussian(table):
    """With τ and τ_sk known ρ is affine in a_sj and the scale: mean and covariance are those of the fit."""
    prior = jk.Parameter("moment_scale", prior=(1.0, 0.01))
    problem = jk.FitProblem(table, ["side_jump", prior], fixed={"tau": 0.7, "tau_skew": 3000.0})
    exact = jk.fit(problem, made(jk.FitProblem(table, ["tau", "tau_skew", "side_jump"]), noise=0.1))
    posterior = jk.sample_posterior(exact, seed=1)
    effective = np.array(list(posterior.effective.values()))
    assert np.all(effective > 1500)  # measured 3,200 of 4,000
    assert max(posterior.r_hat.values()) < 1.01
    sigma = np.sqrt(np.diag(exact.data_covariance))
    assert np.all(np.abs(posterior.mean - exact.coordinates) < 5 * sigma / np.sqrt(effective))
    relative = posterior.covariance / np.outer(sigma, sigma)
    assert np.allclose(relative, exact.data_covariance / np.outer(sigma, sigma), atol=5 * np.sqrt(2 / effective.min()))
    for level in (0.6827, 0.95):
        ends = np.array([posterior.interval("side_jump", level), exact.interval("side_jump", level)])
        assert np.allclose(*ends, atol=0.15 * sigma[0])
    assert posterior.divergences == 0


def test_without_data_it_is_prior_and_bounds(table):
    """The Jacobians: a Gaussian in τ while ln τ is varied, and a flat density between two bounds."""
    parameters = [jk.Parameter("tau", prior=(1.0, 0.25)), jk.Parameter("side_jump", 0.5, bounds=(0.0, 1.0))]
    blind = jk.Data("rotation", [0.0, 0.0], 1e9, [0.1, 0.2])
    posterior = jk.sample_posterior(jk.FitProblem(table, parameters), blind, seed=2)
    tau, jump = posterior.draws["tau"], posterior.draws["side_jump"]
    error = 0.25 / np.sqrt(posterior.effective["tau"])
    assert error < 0.012  # 0.06 is missing where the Jacobian is
    assert abs(tau.mean() - 1.0) < 5 * error
    assert abs(tau.std() - 0.25) < 5 * error
    assert np.sqrt(1 / 12 / posterior.effective["side_jump"]) < 0.01
    for probability in (0.025, 0.25, 0.5, 0.975):
        assert posterior.quantile("side_jump", probability) == pytest.approx(probability, abs=0.04)
    assert jump.min() > 0
    assert jump.max() < 1


def test_refusals(table, monkeypatch):
    blind = jk.Data("rotation", [0.0, 0.0], 1.0, [0.0, 0.0])  # no rotation at ω = 0
    with pytest.raises(jk.JaxkinError, match=r"'side_jump' is not determined .* two bounds or a prior"):
        jk.sample_posterior(jk.FitProblem(table, ["side_jump"]), blind)
    with pytest.raises(jk.JaxkinError, match="needs the data"):
        jk.sample_posterior(jk.FitProblem(table, ["side_jump"]))
    monkeypatch.setitem(__import__("sys").modules, "blackjax", None)
    with pytest.raises(jk.JaxkinError, match=r"pip install 'jaxkin\[posterior\]'"):
        jk.sample_posterior(jk.FitProblem(table, ["side_jump"]), blind)


@pytest.mark.slow
def test_command_line(tmp_path, table):
    """The posterior agrees with the covariance where the likelihood is nearly Gaussian."""
    write_study(tmp_path, jk.FitProblem(table, ["tau", "tau_skew", "side_jump"]), noise=0.004)
    (tmp_path / "fit.toml").write_text(CONFIG.format(extra="").replace("[fit]", "[fit]\nposterior = true"))
    out, _ = command("fit", tmp_path / "fit.toml", "--out", tmp_path / "results")
    assert "R-hat" in out
    document = json.loads((tmp_path / "results" / "fit.json").read_text())
    for name, drawn in document["posterior"].items():
        fitted = document["parameters"][name]
        assert drawn["r_hat"] < 1.01
        assert drawn["median"] == pytest.approx(fitted["value"], abs=0.2 * fitted["error"])
        width = fitted["interval_95"][1] - fitted["interval_95"][0]
        assert np.allclose(
            drawn["interval_95"], fitted["interval_95"], atol=0.1 * width
        )  # the integrals' error is not in it
    assert {"posterior.nc", "posterior.png"} <= {path.name for path in (tmp_path / "results").iterdir()}


@pytest.mark.slow
def test_two_maxima_are_named(table):
    """Two maxima of τ: the chains stay in theirs, and that is said; a bound leaves one."""
    problem = jk.FitProblem(table, [jk.Parameter("tau", 0.7), "tau_skew", "side_jump"])
    data = made(problem, noise=0.01)
    with pytest.warns(jk.AccuracyWarning, match="chains disagree"):
        jk.sample_posterior(problem, data, draws=300, warmup=200)
    one = jk.FitProblem(table, [jk.Parameter("tau", 0.7, bounds=(0.62, 2.0)), "tau_skew", "side_jump"])
    posterior = jk.sample_posterior(one, data)
    assert posterior.draws["tau"].min() > 0.62
    low, high = jk.fit(one, data).profile("tau_skew").interval(0.95)
    mine = posterior.interval("tau_skew", 0.95)
    assert np.allclose([1 / x for x in mine], [1 / low, 1 / high], atol=0.1 * abs(1 / low - 1 / high))
    assert len(pictures.draw_posterior(posterior).axes) == 9
