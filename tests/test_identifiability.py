"""Which of the five mechanisms of g a spectrum tells apart: three by frequency, a fourth by another axis."""

from dataclasses import replace

import numpy as np
import pytest

import jaxkin as jk
from jaxkin.fitting.diagnostics import mechanism_overlaps
from jaxkin.fitting.problem import Points

FREQUENCY = np.geomspace(0.02, 20, 60)
AXES = ((0, 0, 1), (1, 0, 0))


@pytest.fixture(scope="module")
def problem():
    """A cluster of two cells in the tetragonal lattice (point group D4): skew scattering of both kinds."""
    surface = jk.fermi_surface(jk.models.get("kramers-weyl-d4"), -1.2, sampler=jk.Lines(12), replicas=1)  # one τ
    cells = [[0, 0, 0], [0, 0, 0], [0, 0, 1], [0, 0, 1]]
    impurity = jk.PointImpurity(np.diag([1.0, 1.0, -0.6, -0.6]), [0, 1, 0, 1], 0.02, order="third", cells=cells)
    return jk.FitProblem(jk.tabulate(surface, impurity), ["strength", "density"])


def spectra(problem, axes, error=1.0):
    table, found = problem.table, []
    tau = float(np.mean(table.at(table.complete({})).tau))
    for axis in axes:
        for quantity in ("rotation", "dichroism"):
            template = jk.Data(quantity, 0.0, error, FREQUENCY / tau, axis=axis)
            value = problem.predict(problem.start, template)
            found.append(jk.Data(quantity, value, error * np.abs(value).max(), FREQUENCY / tau, axis=axis))
    return found


def shapes(problem, axes):
    """Contributions of the mechanisms to all points, normalised, (mechanisms, N)."""
    parts = [problem.by_mechanism(problem.start_coordinates, Points.of(one)) for one in spectra(problem, axes)]
    rows = np.array([np.concatenate([part[name] for part in parts]) for name in parts[0]])
    return list(parts[0]), rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_a_spectrum_has_three_numbers(problem):
    """Of five mechanisms, at T = 0; a second axis tells side jumps, which have no Tr g, from nonlocal collisions."""
    names, rows = shapes(problem, AXES[:1])
    assert set(names) == {"intrinsic", "skew", "side_jump", "nonlocal", "gaussian_skew"}
    sizes = np.linalg.svd(rows, compute_uv=False)
    assert sizes[2] > 0.05 * sizes[0]
    assert np.all(sizes[3:] < 1e-12 * sizes[0])
    names, rows = shapes(problem, AXES)
    assert abs(rows[names.index("side_jump")] @ rows[names.index("nonlocal")]) < 0.99
    assert np.linalg.svd(rows, compute_uv=False)[3] > 0.01


@pytest.mark.slow
def test_doubts_say_which_shares_are_the_models(problem):
    data = spectra(problem, AXES[:1], 1e-6)
    fitted = jk.fit(problem, data, starts=1)
    overlaps = mechanism_overlaps(fitted)
    assert overlaps["skew", "gaussian_skew"] > 1 - 1e-9
    assert overlaps["side_jump", "nonlocal"] > 1 - 1e-9
    assert overlaps["intrinsic", "skew"] < 0.95
    said = "\n".join(fitted.doubts.mechanisms)
    assert "skew and gaussian_skew have one shape" in said
    assert "side_jump and nonlocal have one shape" in said
    assert "intrinsic and skew" not in said
    assert set(fitted.doubts.mechanisms) <= set(fitted.doubts.lines)
    unseen = replace(fitted, data=tuple(replace(one, error=1e9 * one.error) for one in fitted.data))
    assert not unseen.doubts.mechanisms  # of what all points together do not see there is nothing to tell
