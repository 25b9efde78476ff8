"""Fits: data files and their units, parameters, the result's numbers and words, the command line."""

import errno
import json
import os
import re

import numpy as np
import pytest
from scipy import constants, stats
from scipy.optimize import least_squares

import jaxkin as jk
from jaxkin.cli import app
from jaxkin.fitting import pictures
from jaxkin.fitting.columns import FACTORS
from jaxkin.fitting.diagnostics import runs_test

FREQUENCY = np.geomspace(0.05, 3.0, 30)
TRUTH = {"tau": 0.7, "tau_skew": 3000.0, "side_jump": 0.3}


@pytest.fixture(scope="module")
def table():
    surface = jk.fermi_surface(jk.models.get("kramers-weyl-d4"), -1.6, sampler=jk.Lines(n=10), replicas=3)
    return jk.tabulate(surface, jk.RelaxationTime(1.0, 1000.0, 0.1))


@pytest.fixture(scope="module")
def problem(table):
    return jk.FitProblem(table, list(TRUTH))


def made(problem, truth=TRUTH, noise=0.01, seed=0, quantities=("rotation", "dichroism"), **where):
    rng, sets = np.random.default_rng(seed), []
    where = where or {"frequency": FREQUENCY}
    for quantity in quantities:
        exact = problem.predict(truth, jk.Data(quantity, 0.0, 1.0, **where))
        error = noise * np.abs(exact).max()
        sets.append(jk.Data(quantity, exact + error * rng.standard_normal(len(exact)), error, **where))
    return sets


@pytest.fixture(scope="module")
def result(problem):
    return jk.fit(problem, made(problem), starts=3)


def test_predictions_are_the_observables_of_the_response(table, problem):
    surface = jk.fermi_surface(jk.models.get("kramers-weyl-d4"), -1.6, sampler=jk.Lines(n=10), replicas=3)
    response = jk.gyrotropic_response(surface, jk.RelaxationTime(**TRUTH), [0.4])
    axis = np.array([1.0, 2.0, 2.0]) / 3
    rho = response.rotatory_power(axis)["total"].mean[0]
    sigma = response.conductivity.sigma["drude"].mean[0]
    magnetization = response.magnetization(axis * 1e4)["total"].mean[0] @ axis
    along = {"axis": axis, "frequency": 0.4}
    expected = {
        "rotation": (rho.real, {}),
        "dichroism": (rho.imag, {}),
        "conductivity": ((axis @ sigma @ axis).real, {}),
        "conductivity_imaginary": ((axis @ sigma @ axis).imag, {}),
        "magnetization": (magnetization.real, {"field": 1e4}),
    }
    for quantity, (exact, where) in expected.items():
        got = problem.predict(TRUTH, jk.Data(quantity, 0.0, 1.0, **along, **where))[0]
        assert got == pytest.approx(exact, rel=1e-11), quantity
    by_current = problem.predict(TRUTH, jk.Data("magnetization", 0.0, 1.0, axis=axis, current_density=1e6))[0]
    by_field = problem.predict(TRUTH, jk.Data("magnetization", 0.0, 1.0, axis=axis, field=1e4))[0]
    static = problem.predict(TRUTH, jk.Data("conductivity", 0.0, 1.0, axis=axis))[0]
    assert by_current == pytest.approx(by_field * 1e6 / (1e4 * static), rel=1e-3)  # equal up to the replicas' scatter


def test_units_two_ways():
    f = FACTORS["frequency"]
    assert f["meV"] == pytest.approx(1e-3 * constants.e / constants.h * 1e-12, rel=1e-12)
    assert f["cm-1"] == pytest.approx(100 * constants.c * 1e-12, rel=1e-12)
    assert f["rad/ps"] * 2 * np.pi == pytest.approx(1.0)
    assert FACTORS["rotation"]["deg/mm"] == pytest.approx(1000 * np.pi / 180)
    assert FACTORS["magnetization"]["G"] == pytest.approx(1e-4 / constants.mu_0)
    assert FACTORS["magnetization"]["uT"] == pytest.approx(1e-6 / constants.mu_0)


def test_csv_and_netcdf_give_the_same(tmp_path):
    import xarray as xr

    (tmp_path / "a.csv").write_text(
        "# from the spectrometer\nfrequency[meV], rotation[deg/mm], rotation_error[deg/mm], temperature[K]\n"
        "1.0,-0.2,0.01,77\n2.0,-0.3,0.02,77\n"
    )
    columns = {"frequency": ([1.0, 2.0], "meV"), "rotation": ([-0.2, -0.3], "deg/mm"),
               "rotation_error": ([0.01, 0.02], "deg/mm"), "temperature": ([77.0, 77.0], "K")}  # fmt: skip
    xr.Dataset({name: ("point", v, {"units": u}) for name, (v, u) in columns.items()}).to_netcdf(
        tmp_path / "a.nc", engine="h5netcdf"
    )
    (one,), (two,) = jk.read_data(tmp_path / "a.csv"), jk.read_data(tmp_path / "a.nc")
    assert one.quantity == two.quantity == "rotation"
    for name in ("value", "error", "frequency", "temperature"):
        assert np.array_equal(getattr(one, name), getattr(two, name))
    assert one.value[0] == pytest.approx(-0.2 * np.pi / 180 * 1000)
    assert one.frequency[1] == pytest.approx(2e-3 * constants.e / constants.h / 1e12)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("frequency[THz],rotation[rad/m]\n1,2\n", "add rotation_error[rad/m]"),
        ("rotation[rad/m],rotation_error[rad/m]\n1,2\n", "needs a column frequency[THz]"),
        (
            "frequency,rotation[rad/m],rotation_error[rad/m]\n1,2,3\n",
            "'frequency' states no unit; write frequency[THz]",
        ),
        ("frequency[Thz],rotation[rad/m],rotation_error[rad/m]\n1,2,3\n", "did you mean 'THz'"),
        ("frequency[THz],rotaton[rad/m],rotation_error[rad/m]\n1,2,3\n", "did you mean 'rotation'"),
        ("frequency[THz],rotation[rad/m],rotation_error[rad/m]\n1,2\n", "line 2: has 2 columns"),
        ("frequency[THz],rotation[rad/m],rotation_error[rad/m]\n1,x,3\n", "line 2: 'rotation' is not a number"),
        ("frequency[THz],rotation[rad/m],rotation_error[rad/m]\n1,nan,3\n", "NaN or infinity at point 0"),
        ("frequency[THz],rotation[rad/m],rotation_error[rad/m]\n1,1,0\n", "every error must be positive"),
        ("frequency[THz]\n1\n", "holds no measured quantity"),
        ("rotation_error[rad/m]\n1\n", "holds no measured quantity"),
        ("magnetization[G],magnetization_error[G]\n1,1\n", "field[V/m] or current_density[A/m2]"),
        ("", "needs a line of column names"),
    ],
)
def test_data_files_say_what_is_wrong(tmp_path, text, message):
    path = tmp_path / "data.csv"
    path.write_text(text)
    with pytest.raises(jk.FileFormatError, match=re.escape(message)) as error:
        jk.read_data(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_missing_units_in_netcdf(tmp_path):
    import xarray as xr

    xr.Dataset({"rotation": ("point", [1.0])}).to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    with pytest.raises(jk.FileFormatError, match="'rotation' has no `units`"):
        jk.read_data(tmp_path / "a.nc")
    with pytest.raises(jk.FileFormatError, match="no such file"):
        jk.read_data(tmp_path / "b.nc")


def test_parameters_refuse_nonsense(table):
    for arguments, message in (
        (("tua",), "did you mean 'tau'"),
        (("tau", -1.0), "must be positive"),
        (("tau", 1.0, (2.0, 3.0)), "outside the bounds"),
        (("tau_skew", 1.0, (-1.0, 5.0)), "one sign"),
        (("tau", 1.0, (3.0, 2.0)), "must increase"),
        (("side_jump", 1.0, (0.0, 3.0), (1.0, 0.0)), "positive standard deviation"),
    ):
        with pytest.raises(jk.JaxkinError, match=message):
            jk.FitProblem(table, [jk.Parameter(*arguments)])
    with pytest.raises(jk.JaxkinError, match="named twice"):
        jk.FitProblem(table, ["tau", "tau"])
    with pytest.raises(jk.JaxkinError, match="named twice, or both"):
        jk.FitProblem(table, ["tau"], fixed={"tau": 1.0})
    with pytest.raises(jk.JaxkinError, match="strength"):
        jk.FitProblem(table, ["strength"])
    with pytest.raises(jk.JaxkinError, match="as many data points"):
        jk.fit(jk.FitProblem(table, ["tau", "side_jump"]), jk.Data("rotation", 1.0, 1.0, 1.0))


def test_covariance_and_chi2_are_those_of_scipy(problem, result):
    data = made(problem)
    assert result.converged

    def residuals(u):
        values = dict(zip(TRUTH, (np.exp(u[0]), 1 / u[1], u[2]), strict=True))
        return np.concatenate([(problem.predict(values, one) - one.value) / one.error for one in data])

    other = least_squares(residuals, result.coordinates * 1.001, x_scale="jac", xtol=1e-12, ftol=1e-12, gtol=1e-12)
    assert 2 * other.cost == pytest.approx(result.chi2, rel=1e-8)
    assert np.allclose(np.linalg.inv(other.jac.T @ other.jac), result.data_covariance, rtol=1e-3)
    assert result.degrees_of_freedom == 2 * len(FREQUENCY) - 3
    assert result.p_value == pytest.approx(stats.chi2.sf(result.chi2, 57))


@pytest.mark.slow
def test_integrator_error_is_the_scatter_of_fits_to_single_replicas(problem, result):
    """The replicas' own fits scatter as the stated error says, to first order."""
    import equinox as eqx
    import jax

    ends = []
    for replica in range(3):
        parts = (problem.table.energies.energy, problem.table.sums)
        one = jax.tree.map(lambda x, r=replica: x[r : r + 1], parts)
        alone = eqx.tree_at(lambda p: (p.table.energies.energy, p.table.sums), problem, one)
        ends.append(jk.fit(alone, made(problem), starts=1).coordinates)
    scatter = np.std(ends, axis=0, ddof=1) / np.sqrt(3)
    assert np.allclose(scatter, np.sqrt(np.diag(result.integrator_covariance)), rtol=0.05)


@pytest.mark.slow
def test_profile_is_a_parabola_where_the_model_is_linear(problem, result):
    """Of the side jump with τ fixed the model is linear; jointly, the profile and the covariance nearly agree."""
    linear = jk.FitProblem(problem.table, ["side_jump", "moment_scale"], fixed={"tau": 0.7, "tau_skew": 3000.0})
    fitted = jk.fit(linear, made(problem))
    profile = fitted.profile("side_jump")
    error = np.sqrt(fitted.data_covariance[0, 0])
    assert np.allclose(profile.delta, ((profile.coordinate - profile.best) / error) ** 2, atol=1e-6)
    low, high = profile.interval(0.6827)
    assert high - low == pytest.approx(2 * error, rel=1e-3)
    low, high = result.profile("tau_skew").interval()
    stated = result.interval("tau_skew")
    assert np.allclose([low, high], stated, rtol=0.05)


@pytest.mark.slow
def test_a_prior_alone_and_with_data(problem):
    weak = jk.FitProblem(problem.table, [jk.Parameter("tau", prior=(0.5, 0.1)), "side_jump"], fixed={"tau_skew": 3e3})
    sharp = jk.FitProblem(problem.table, [jk.Parameter("tau", prior=(0.5, 1e-6)), "side_jump"], fixed={"tau_skew": 3e3})
    data = made(problem)
    assert jk.fit(weak, data).values["tau"] == pytest.approx(0.7, rel=0.02)
    assert jk.fit(sharp, data).values["tau"] == pytest.approx(0.5, rel=1e-4)
    assert jk.fit(sharp, data).p_value < 1e-6


@pytest.mark.slow
def test_bounds_hold_and_are_reported(table):
    parameter = jk.Parameter("tau", 0.4, bounds=(0.1, 0.5))
    problem = jk.FitProblem(table, [parameter], fixed={"tau_skew": 3000.0, "side_jump": 0.3})
    fitted = jk.fit(problem, made(jk.FitProblem(table, ["tau"], fixed=problem.fixed), {"tau": 0.55}))
    assert fitted.converged
    assert fitted.values["tau"] == pytest.approx(0.5)
    assert any("tau lies at its bound" in line for line in fitted.doubts.numerics)


def test_static_data_leave_two_parameters_on_a_line_and_say_so(table):
    problem = jk.FitProblem(table, ["tau_skew", "moment_scale"], fixed={"tau": 0.7, "side_jump": 0.3})
    data = made(problem, {"tau_skew": 3000.0, "moment_scale": 1.0}, 0.01, 0, ("magnetization",),
                field=np.linspace(1e3, 1e4, 8))  # fmt: skip
    fitted = jk.fit(problem, data, starts=1)
    assert fitted.undetermined.all()
    assert fitted.errors["moment_scale"] == np.inf
    (line,) = fitted.doubts.parameters
    assert "tau_skew and moment_scale: not determined at all" in line
    assert re.search(r"add points near [\d.e+-]+ THz \(one (rotation|dichroism) there", line)


@pytest.mark.slow
def test_nearly_inseparable_parameters_are_named(table):
    problem = jk.FitProblem(table, ["tau_skew", "side_jump"], fixed={"tau": 0.7})
    low = made(problem, {"tau_skew": 3000.0, "side_jump": 0.3}, 0.01, frequency=np.linspace(0.01, 0.05, 20))
    fitted = jk.fit(problem, low)
    (line,) = [line for line in fitted.doubts.parameters if "hardly separable" in line]
    assert "tau_skew and side_jump" in line
    assert "add points near" in line


@pytest.mark.slow
def test_design_predicts_the_error_after_the_point(problem, result):
    where = np.geomspace(0.02, 10, 40)
    candidates = [
        jk.Data(q, 0.0, float(result.data[k].error[0]), where) for k, q in enumerate(("rotation", "dichroism"))
    ]
    plan = jk.design(result, candidates, "tau_skew", count=3)
    number, index = plan.best
    assert min(map(np.min, plan.after)) == plan.after[number][index]
    best = candidates[number]
    extra = jk.Data(best.quantity, problem.predict(result.values, best)[index], best.error[index], where[index])
    again = jk.fit(problem, [*result.data, extra])
    k = result.index("tau_skew")
    assert np.sqrt(again.data_covariance[k, k]) == pytest.approx(plan.sequence[0][2], rel=1e-4)
    errors = [row["error"] for row in plan.rows()]
    assert errors == sorted(errors, reverse=True)
    assert pictures.draw_design(plan).axes


@pytest.mark.slow
def test_adam_on_minibatches_agrees(table):
    problem = jk.FitProblem(table, ["tau", "side_jump"], fixed={"tau_skew": 3000.0})
    truth = {"tau": 0.7, "side_jump": 0.3}
    data = made(problem, truth, 0.05, frequency=np.geomspace(0.02, 5, 6000))
    one, two = jk.fit(problem, data), jk.fit(problem, data, method="adam", max_steps=3)
    assert two.converged
    assert np.allclose(one.coordinates, two.coordinates, rtol=1e-5)


@pytest.mark.slow
def test_impossible_fit_is_not_called_converged(problem):
    stopped = jk.fit(problem, made(problem), starts=1, max_steps=1)
    assert stopped.converged or "raise max_steps" in stopped.reason


def test_runs_test_against_all_sequences():
    from itertools import permutations

    everything = set(permutations([0] * 4 + [1] * 5))
    counts = np.array([runs_test(np.array(s, bool))[0] for s in everything])
    for runs in range(2, 10):
        some = next(s for s in everything if runs_test(np.array(s, bool))[0] == runs)
        assert runs_test(np.array(some, bool))[1] == pytest.approx(np.mean(counts <= runs))


CONFIG = """
[model]
name = "kramers-weyl-d4"
[surface]
fermi_level = -1.6
n = 10
replicas = 3
[disorder]
tau = 1.0
tau_skew = 1000.0
side_jump = 0.1
[fit]
starts = 2
profiles = ["tau"]
[fit.parameters]
tau = {{start = 0.5, bounds = [0.05, 5.0]}}
tau_skew = {{}}
side_jump = {{}}
{extra}
[[fit.data]]
file = "spectrum.csv"
"""


def command(*arguments, code=0):
    """Run ``jaxkin`` in this process; (stdout, stderr)."""
    import contextlib
    import io
    import sys

    out, err, argv = io.StringIO(), io.StringIO(), sys.argv
    sys.argv = ["jaxkin", *map(str, arguments)]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                app.main()
                status = 0
            except SystemExit as stop:
                status = int(stop.code or 0)
    finally:
        sys.argv = argv
    assert status == code, err.getvalue()
    return out.getvalue(), err.getvalue()


def write_study(folder, problem, noise=0.01):
    """A configuration of a fit and its data."""
    rotation, dichroism = made(problem, noise=noise)
    rows = zip(FREQUENCY, rotation.value, rotation.error, dichroism.value, dichroism.error, strict=True)
    head = "frequency[THz],rotation[rad/m],rotation_error[rad/m],dichroism[rad/m],dichroism_error[rad/m]"
    (folder / "spectrum.csv").write_text("\n".join([head, *(",".join(map(repr, map(float, row))) for row in rows)]))
    (folder / "fit.toml").write_text(CONFIG.format(extra=""))


@pytest.fixture
def study(tmp_path, problem):
    write_study(tmp_path, problem)
    return tmp_path


def test_command_line(study, result):
    import xarray as xr

    out, _ = command("fit", study / "fit.toml", "--out", study / "results")
    assert "tau_skew" in out
    assert "converged" in out
    document = json.loads((study / "results" / "fit.json").read_text())
    for name, value in result.values.items():
        assert document["parameters"][name]["value"] == pytest.approx(value, rel=1e-5)
        assert document["parameters"][name]["error"] == pytest.approx(result.errors[name], rel=1e-3)
    assert document["profiles"]["tau"]["interval_68"][0] < document["parameters"]["tau"]["value"]
    with xr.open_dataset(study / "results" / "fit.nc", engine="h5netcdf") as stored:
        assert list(stored.parameter.values) == list(TRUTH)
        assert stored.attrs["converged"] == 1
        assert stored.data_0_fit.attrs["units"] == "rad/m"
    assert {"fit.png", "profile_tau.png"} <= {path.name for path in (study / "results").iterdir()}


def test_a_fit_is_written_before_it_is_shown(study, monkeypatch):
    """What cannot be printed is not lost; a folder that cannot be written is refused before the fit."""

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("jaxkin.cli.fit.show", full)
    _, error = command("fit", study / "fit.toml", "--out", study / "results", code=1)
    assert error.endswith("jaxkin: standard output: No space left on device.\n")
    assert json.loads((study / "results" / "fit.json").read_text())["parameters"]
    monkeypatch.setattr("jaxkin.cli.fit.run", full)  # is not come to
    _, error = command("fit", study / "fit.toml", "--out", study / "fit.toml" / "x", code=1)
    assert "fit.toml/x: cannot be written to" in error and error.count("\n") == 1


@pytest.mark.slow
def test_command_line_refuses_and_fails_loudly(study):
    path = study / "fit.toml"
    out, err = command("fit", path, "--json", code=0)
    assert json.loads(out)["converged"] is True
    path.write_text(CONFIG.format(extra="tua = {}"))
    assert "did you mean 'tau'" in command("fit", path, code=1)[1]
    path.write_text(CONFIG.format(extra="").replace("starts", "strats"))
    assert "did you mean 'starts'" in command("fit", path, code=1)[1]
    path.write_text("[model]\nname = 'weyl'\n")
    assert "has no section [fit]" in command("fit", path, code=1)[1]
    path.write_text(CONFIG.format(extra="").replace("starts = 2", "starts = 1\nmax_steps = 1"))
    out, err = command("fit", path, "--json", code=json_code(path))
    assert bool(err) != json.loads(out)["converged"]


def json_code(path):
    """1 where one step is not enough: the exit code must follow ``converged``."""
    from jaxkin.cli import fit

    return int(not fit.run(path, lambda done, total, what: None).result.converged)


@pytest.mark.slow
def test_tellurium_example(capsys):
    """Static data cannot split the moment; spectra can, and the ratio is that of examples/tellurium_77K.py."""
    import importlib.util
    from pathlib import Path

    path = Path(__file__).resolve().parents[1] / "examples" / "tellurium_fit.py"
    spec = importlib.util.spec_from_file_location("tellurium_fit", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    numbers = module.main()
    assert not numbers["static_determined"]
    for name in module.TRUTH:
        assert abs(numbers[f"{name}_pull"]) < 3
    assert numbers["tau_skew_relative_error"] < 0.03  # measured 0.017
    assert abs(numbers["ratio"] - 1.31) < 3 * numbers["ratio_error"]
    assert numbers["ratio_error"] < 0.1
    assert numbers["p_value"] > 1e-3
    assert 0.1 < numbers["best_frequency"] < 1.0  # ωτ = 1 is 0.27 THz
    assert "m_kin/m_int" in capsys.readouterr().out
