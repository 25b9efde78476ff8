"""How much of Born scattering unitarity takes away from a T-matrix without Re G, and that results say so."""

import json
import warnings

import jax
import numpy as np
import pytest
import xarray as xr
from test_low_rank import by_matrices, states_of

import jaxkin as jk
from jaxkin.cli import app
from jaxkin.disorder import finite_range_scatterers as scatterers
from jaxkin.response.quality import SATURATION_LIMIT, Quality, of_current, scattering_warnings

WARNING = r"potential of finite range is so strong that unitarity takes \d\d % of its Born scattering away"
WEAK, STRONG = 0.3, 60.0
"""eV Å³ of a Gaussian of 1 Å on the surface below."""


@pytest.fixture(scope="module")
def tetragonal():
    return jk.fermi_surface(jk.models.get("kramers-weyl-d4"), -1.2, sampler=jk.Lines(8), replicas=2)


@pytest.fixture(scope="module")
def contour():
    """One band of one orbital: a constant potential scatters in one channel."""
    steps = [[1, 0], [-1, 0], [0, 1], [0, -1]]
    model = jk.TightBinding(2.0 * np.eye(2), steps, -0.5 * np.ones((4, 1, 1)), [[0.0, 0.0]])
    return jk.fermi_surface(model, -1.2, sampler=jk.Lines(12), replicas=1)


def gaussian(strength, **options):
    return jk.FiniteRangeImpurity(jk.Gaussian(1.0), strength, 0.01, **options)


def flat(strength, **options):
    return jk.FiniteRangeImpurity(lambda q: 1 + 0 * q[0], strength, 0.01, periodic=True, **options)


@pytest.mark.parametrize("strength", [1e-9, 0.1, -1.0, 30.0, 1e6])
def test_one_channel(contour, strength):
    """s = sin²δ = π²v²/(1 + π²v²) with v = VνΩ, by either way and by matrices of the solver; worst 1e-15."""
    scatterer, states = flat(strength).on(contour), states_of(contour)
    assert isinstance(scatterer, scatterers.SmoothScatterer)
    v = np.pi * strength * contour.model.state_volume * np.sum(states.weights)
    low = scatterer(states)
    for c in (low, low.for_solving(), by_matrices(scatterer)(states)):
        np.testing.assert_allclose(c.saturation, v**2 / (1 + v**2), rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("strength", [0.3, 3.0, 100.0])
def test_many_channels(tetragonal, strength):
    """Σ v² sin²δ / Σ v² over the eigenvalues of √W V √W, and the same through pivots."""
    impurity = jk.FiniteRangeImpurity(jk.Gaussian(0.4), strength, 0.01, rtol=1e-9)
    scatterer, states = impurity.on(tetragonal), states_of(tetragonal)
    assert isinstance(scatterer, scatterers.SmoothScatterer)
    matrices = by_matrices(scatterer)
    potential = matrices._matrices(states, matrices.factors[0], None).potential
    v = np.pi * np.linalg.eigvalsh(np.sqrt(states.weights) * np.sqrt(states.weights)[:, None] * potential)
    exact = np.sum(v**4 / (1 + v**2)) / np.sum(v**2)
    np.testing.assert_allclose(matrices(states).saturation, exact, rtol=1e-10)
    np.testing.assert_allclose(scatterer(states).saturation, exact, rtol=1e-7)


def test_of_whom_it_is_known(tetragonal):
    """Of a T-matrix without Re G alone; of several the largest, and of equivalent positions that of one."""
    states, point = states_of(tetragonal), jk.PointImpurity(3.0, [0, 1], 0.01, rtol=0.1)
    none = [point, gaussian(3.0, order="born"), gaussian(3.0, order="third"), jk.RelaxationTime(1.0)]
    for disorder in none:
        on = disorder.on(tetragonal)
        assert on(jk.disorder.states.ShellStates(tetragonal, True).of(tetragonal.shells[0])).saturation is None
    one = gaussian(3.0).on(tetragonal)(states).saturation
    assert 0.01 < one < 0.1
    for more in (none[0] + gaussian(3.0) + gaussian(1.0), gaussian(3.0, positions=[[0, 0, 0], [0.5, 0.5, 0]])):
        np.testing.assert_allclose(more.on(tetragonal)(states).saturation, one, rtol=1e-2)
    assert gaussian(0.0).on(tetragonal)(states).saturation == 0


def test_a_weak_potential_is_silent(tetragonal):
    response = jk.gyrotropic_response(tetragonal, gaussian(WEAK))
    assert 0 < response.quality.saturation < 1e-3
    assert not [line for line in response.warnings if "unitarity" in line]
    born = jk.gyrotropic_response(tetragonal, gaussian(WEAK, order="born"))
    assert born.quality.saturation is None
    assert abs(response.tau.mean / born.tau.mean - 1) < 1e-3
    assert "saturation" not in repr(born.quality)


@pytest.mark.parametrize("solver", ["rta", "exact"])
def test_a_strong_potential_says_so(tetragonal, solver):
    """The artefact: carriers become more mobile than Born's, and do so without bound."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        response = jk.gyrotropic_response(tetragonal, gaussian(STRONG), solver=solver)
    assert response.quality.saturation > SATURATION_LIMIT
    (line,) = [line for line in response.warnings if "unitarity" in line]
    assert "order='third'" in line
    assert "\n" not in line
    assert "saturation 0." in repr(response.quality)
    with pytest.warns(jk.AccuracyWarning, match=WARNING) as caught:
        sigma = jk.conductivity(tetragonal, gaussian(STRONG), solver=solver).sigma["drude"].mean[0, 0, 0].real
    assert len(caught) == 1
    assert caught[0].filename == __file__
    third = jk.conductivity(tetragonal, gaussian(STRONG, order="third"), solver=solver).sigma["drude"]
    assert sigma > 5 * third.mean[0, 0, 0].real


def test_other_results_say_so(tetragonal):
    current = jk.Observable.current()
    for compute in (
        lambda: jk.linear_response(tetragonal, current, gaussian(STRONG), intrinsic=False),
        lambda: jk.relaxation_modes(tetragonal, gaussian(STRONG), count=4),
    ):
        with pytest.warns(jk.AccuracyWarning, match=WARNING) as caught:
            compute()
        assert [one.filename for one in caught] == [__file__]
    jk.linear_response(tetragonal, current, gaussian(WEAK), intrinsic=False)


def test_traced(tetragonal):
    """The number without a warning, and derivatives of what else is computed."""

    def response(strength):
        return jk.gyrotropic_response(tetragonal, gaussian(strength), theory="paper")

    def found(strength):
        made = response(strength)
        assert made.warnings == tetragonal.warnings
        return made.quality.saturation

    known = response(STRONG).quality.saturation
    np.testing.assert_allclose(jax.jit(found)(STRONG), known, rtol=1e-9)
    slope = jax.grad(lambda strength: response(strength).tau.mean)(STRONG)
    assert np.isfinite(slope)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        jax.jit(lambda s: jk.conductivity(tetragonal, gaussian(s), hall=False).sigma["drude"].mean)(STRONG)


def test_shells_count_as_they_carry_current():
    """One in the tail of the distribution does not shout, and one that carries everything does."""
    saturation = np.array([0.01, 0.9])
    assert of_current(saturation, np.array([1.0, 1e-3])) < 0.02
    assert of_current(saturation, np.array([1.0, 1e9])) == pytest.approx(0.9)
    assert of_current(np.zeros(0), np.zeros(0)) == 0
    assert Quality(saturation=0.19).warnings() == ()
    assert len(Quality(saturation=0.21).warnings()) == 1
    assert scattering_warnings(None, 0.0) == ()


def test_command_line(tmp_path, monkeypatch, capsys):
    """In the document's error budget, among its warnings, and among those of the file."""
    (tmp_path / "study.toml").write_text(
        """
[model]
name = "kramers-weyl-d4"
[surface]
fermi_level = -1.2
n = 10
replicas = 2
[[disorder.impurities]]
kind = "gaussian"
width = 1.0
strength = 60.0
density = 0.01
"""
    )
    out = str(tmp_path / "out")
    monkeypatch.setattr("sys.argv", ["jaxkin", "run", str(tmp_path / "study.toml"), "--out", out])
    with pytest.raises(SystemExit) as left:
        app.main()
    assert left.value.code == 0
    assert "unitarity" in capsys.readouterr().out
    document = json.loads((tmp_path / "out" / "result.json").read_text())
    assert document["error_budget"]["saturation"] > SATURATION_LIMIT
    assert any("unitarity" in line for line in document["warnings"])
    with xr.open_dataset(tmp_path / "out" / "result.nc") as dataset:
        assert "unitarity" in dataset.attrs["warnings"]
