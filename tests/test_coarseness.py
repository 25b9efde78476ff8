"""How much of the scattering sums over points take for scattering from a point to itself, and that results say so."""

import warnings

import numpy as np
import pytest
from test_low_rank import by_matrices

import jaxkin as jk
from jaxkin.disorder import finite_range
from jaxkin.disorder.states import ShellStates
from jaxkin.response.quality import COARSENESS_LIMIT, ONSAGER_LIMIT, Quality
from jaxkin.response.vanishing import Vanishing

WARNING = r"\d\d % of the scattering is from a point of the surface to itself: too few points"
NARROW = jk.FiniteRangeImpurity(jk.Gaussian(4.0), 3.0, 1e-4, order="born")
"""Of 4 Å: few neighbours are within its ¼ Å⁻¹."""


@pytest.fixture(scope="module")
def tetragonal():
    return jk.fermi_surface(jk.models.get("kramers-weyl-d4"), -1.2, sampler=jk.Lines(8), replicas=2)


def collisions(surface, disorder):
    scatterer, shell = disorder.on(surface), surface.shells[0]
    return scatterer.at(shell.energy)(ShellStates(surface, scatterer.bloch).of(shell))


def test_a_constant_rate(tetragonal):
    """Σ W²v²/(Σ W v² Σ W)."""
    shell = tetragonal.shells[0].points
    w, square = tetragonal.level_weight[shell], np.sum(tetragonal.velocity[shell] ** 2, axis=1)
    found = collisions(tetragonal, jk.KernelDisorder(lambda p, q: 0.7)).coarseness()
    np.testing.assert_allclose(found, (w**2 @ square) / (w @ square) / w.sum(), rtol=1e-12)
    assert collisions(tetragonal, jk.RelaxationTime(1.0)).coarseness() == 0


@pytest.mark.parametrize(
    "disorder",
    [
        jk.KernelDisorder(lambda p, q: 1 + p.velocity @ q.velocity / 9),
        jk.PointImpurity(1.5, [0, 1], 0.01, rtol=0.1),
        jk.PointImpurity(1.5, [0, 1], 0.01, order="born"),
        jk.FiniteRangeImpurity(jk.Gaussian(1.2), 3.0, 0.01, order="born"),
        jk.PointImpurity(1.5, [0], 0.01, order="born") + jk.FiniteRangeImpurity(jk.Gaussian(1), 3, 0.01, order="born"),
    ],
    ids=["kernel", "point", "born", "finite range", "mixture"],
)
def test_is_the_diagonal(tetragonal, disorder):
    c = collisions(tetragonal, disorder)
    matrix = np.asarray(c.symmetric(np.eye(len(c.weights))))
    own, whole = c.own_scattering
    np.testing.assert_allclose(own, np.diag(matrix), rtol=1e-6)  # that of V by pivots
    np.testing.assert_allclose(whole, matrix.sum(axis=1), rtol=1e-6)
    assert 1e-3 < c.coarseness() < 0.3


@pytest.mark.parametrize("strength", [0.3, 60.0])
def test_the_same_by_pivots_and_by_matrices(tetragonal, monkeypatch, strength):
    """And whatever the strength: a T-matrix that is saturated is forward, which is not for want of points."""
    monkeypatch.setattr(finite_range, "FULL", 1)  # pivots, however few points there are
    impurity = jk.FiniteRangeImpurity(jk.Gaussian(0.4), strength, 0.01, rtol=1e-9)
    scatterer, shell = impurity.on(tetragonal), tetragonal.shells[0]
    states = ShellStates(tetragonal, True).of(shell)
    low = scatterer(states)
    weak = collisions(tetragonal, jk.FiniteRangeImpurity(jk.Gaussian(0.4), 1e-3, 0.01, order="born"))
    for one in (low, low.for_solving(), by_matrices(scatterer)(states)):
        np.testing.assert_allclose(one.coarseness(), weak.coarseness(), rtol=1e-6)


def test_its_size_is_that_of_the_error():
    """1/τ of a potential that turns carriers by little, where more and more points are within its reach."""
    model = jk.models.get("massive-dirac-2d", velocity=1.0, mass=0.5)
    impurity = jk.FiniteRangeImpurity(jk.Gaussian(12.0), 1.0, 1e-4, order="born")
    found = []
    for n in (6, 12, 24, 192):
        surface = jk.fermi_surface(model, 0.7, sampler=jk.Lines(n), replicas=2)
        response = jk.gyrotropic_response(surface, impurity, theory="paper")
        found.append((float(response.quality.coarseness), float(response.tau.mean)))
    (*few, (least, exact)) = found
    assert least < 0.05 < COARSENESS_LIMIT < few[0][0], found
    assert exact < 0.5 * few[0][1]  # more mobile than it is
    for coarse, tau in few:
        assert abs(exact / tau - 1) < coarse, found


def test_results_say_so(tetragonal):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        response = jk.gyrotropic_response(tetragonal, NARROW, theory="paper")
    assert response.quality.coarseness > COARSENESS_LIMIT
    (line,) = [line for line in response.warnings if "to itself" in line]
    assert "\n" not in line
    assert "Raise n" in line
    current = jk.Observable.current()
    for compute in (
        lambda: jk.conductivity(tetragonal, NARROW, theory="paper"),
        lambda: jk.linear_response(tetragonal, current, NARROW, intrinsic=False, theory="paper"),
        lambda: jk.relaxation_modes(tetragonal, NARROW, count=4),
    ):
        with pytest.warns(jk.AccuracyWarning, match=WARNING) as caught:
            compute()
        assert [one.filename for one in caught] == [__file__]


def test_one_dimension():
    """A shell of two or four points is all of it."""
    chain = jk.TightBinding([[3.0, 0, 0]], [[1], [-1]], -np.ones((2, 1, 1)), [[0.0]])
    surface = jk.fermi_surface(chain, -0.5, replicas=2)
    response = jk.gyrotropic_response(surface, jk.PointImpurity(0.3, [0], 0.01, order="born"))
    assert response.quality.coarseness == 0
    assert Quality(coarseness=COARSENESS_LIMIT + 0.01).warnings()
    assert not Quality(coarseness=COARSENESS_LIMIT - 0.01).warnings()


def test_bins_of_few_points_are_joined():
    """A thermal lattice of few points has no shells of two of them, on which nothing is lost."""
    model, point = jk.models.get("kramers-weyl-d4"), jk.PointImpurity(1.5, [0], 0.01, order="third")
    surface = jk.fermi_surface(model, -1.2, 100.0, sampler=jk.Grid(12), replicas=4)
    counts = np.diff(surface.layout.starts)
    assert 48 <= counts.min() < counts.sum() / 4
    moved = surface.at()
    for name in ("weight", "level_weight", "energy"):
        np.testing.assert_allclose(getattr(moved, name), getattr(surface, name), rtol=1e-9)
    response = jk.gyrotropic_response(surface, point)
    assert response.quality.coarseness < 0.05
    exact = jk.gyrotropic_response(jk.fermi_surface(model, -1.2, 100.0, sampler=jk.Lines(12), replicas=4), point)
    assert abs(response.tau.mean - exact.tau.mean) < 5 * np.hypot(response.tau.stderr, exact.tau.stderr)
    assert response.tau.stderr < 0.3 * exact.tau.mean
    assert response.quality.onsager > ONSAGER_LIMIT  # a number of so few points, which is its own error
    assert not response.warnings


def test_an_alarm_is_above_its_error():
    noise = np.array([[0.3], [-0.4], [0.2], [-0.25]])
    assert not Quality(reversal=Vanishing(noise, np.ones(4))).warnings()
    (line,) = Quality(reversal=Vanishing(0.3 + 0.1 * noise, np.ones(4))).warnings()
    assert "Onsager" in line
    assert not Quality(flux=0.3, flux_noise=0.4).warnings()
    (line,) = Quality(flux=0.3, flux_noise=0.2).warnings()
    assert "w^A does not conserve flux" in line


def test_no_skew_scattering_is_no_violation_of_flux():
    """One isotropic band, whose w^A is rounding."""
    steps = np.concatenate([np.eye(3), -np.eye(3)])
    model = jk.TightBinding(2.0 * np.eye(3), steps, -0.5 * np.ones((6, 1, 1)), [[0.0, 0.0, 0.0]])
    surface = jk.fermi_surface(model, -2.0, sampler=jk.Lines(8), replicas=2)
    for impurity in (jk.PointImpurity(1.5, [0], 0.01, rtol=0.1), jk.FiniteRangeImpurity(jk.Gaussian(1.2), 3.0, 0.01)):
        response = jk.gyrotropic_response(surface, impurity)
        assert response.quality.flux < 1e-3
        assert not response.warnings


@pytest.mark.slow  # four minutes
@pytest.mark.parametrize("form", [jk.ScreenedCoulomb(28.0, core=4.0), jk.Gaussian(3.0)], ids=["coulomb", "gaussian"])
def test_pockets_of_tellurium_on_few_points(form):
    """The exact solver once gave −10¹³ ps, or none: now a time of the order of the other's, and a doubt."""
    impurity = jk.FiniteRangeImpurity(form, -1.0, 1e-6)
    model = jk.models.get("tellurium")
    warm, cold = (jk.fermi_surface(model, -0.02, t, sampler=jk.Lines(8), replicas=2) for t in (77.0, 0.0))
    for surface in (warm, cold):
        rta, exact = (jk.gyrotropic_response(surface, impurity, solver=solver) for solver in ("rta", "exact"))
        assert 1 < exact.tau.mean / rta.tau.mean < 6
        assert float(exact.quality.residual) < 1e-9
        said = [line for line in exact.warnings if "to itself" in line]
        assert bool(said) == (surface is warm)
