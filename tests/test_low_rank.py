"""Potentials of finite range through pivots: equality with the dense solve to the stated error, and what is chosen."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxkin as jk
from jaxkin.disorder import finite_range
from jaxkin.disorder.collisions import DenseCollisions
from jaxkin.disorder.finite_range_scatterers import MatrixScatterer, SmoothScatterer
from jaxkin.disorder.orbital_moments import OrbitalMoments
from jaxkin.disorder.smooth import SmoothCollisions
from jaxkin.disorder.states import ShellStates
from jaxkin.memory import memory_limit

TWO_SIGNS = jk.RealSpace(lambda r: (1 - 1.4 * (r @ r)) * jnp.exp(-1.4 * (r @ r)), radius=4.8)
"""A V(r) that is positive at the impurity and negative around it."""


@pytest.fixture(scope="module")
def tetragonal():
    return jk.fermi_surface(jk.models.get("kramers-weyl-d4"), -1.2, sampler=jk.Lines(12), replicas=1)


@pytest.fixture(scope="module")
def holes():
    surface = jk.fermi_surface(jk.models.get("tellurium"), -0.02, sampler=jk.Lines(20), replicas=1)
    assert len(surface) > 3000
    return surface


def by_matrices(scatterer):
    """The same potential without pivots."""
    return scatterer.by_matrices


def states_of(surface):
    return ShellStates(surface, bloch=True).of(surface.shells[0])


@eqx.filter_jit
def actions(scatterer, states):
    """S, A and D of three functions, and how far flux conservation and the optical theorem are violated."""
    c = scatterer(states)
    x = jnp.concatenate([jnp.ones((len(states), 1)), c.velocity], axis=1)
    found = c.symmetric(x), c.antisymmetric(x), c.side_jump_velocity, c.displaced(x, c.velocity)
    return found, c.flux_violation, c.optical_theorem


def differences(one, two):
    return [float(np.abs(a - b).max() / np.abs(b).max()) for a, b in zip(one, two, strict=True)]


@pytest.mark.parametrize(
    ("surface", "shape", "strength", "rtol"),
    [
        ("tetragonal", jk.Gaussian(0.6), 3.0, 1e-5),
        ("tetragonal", jk.Gaussian(0.6), 3.0, 1e-9),
        ("tetragonal", TWO_SIGNS, 3.0, 1e-5),
        ("tetragonal", TWO_SIGNS, 3.0, 1e-9),
        pytest.param("holes", jk.ScreenedCoulomb(20.0, 10.0, core=2.0), 1.0, 1e-6, marks=pytest.mark.slow),
    ],
    ids=["gaussian", "gaussian to 1e-9", "two signs", "two signs to 1e-9", "3,000 points of charges"],
)
def test_equals_the_dense_solve(request, surface, shape, strength, rtol):
    """Kernels are off by the order of rtol, what has slopes in it by √rtol at worst."""
    surface = request.getfixturevalue(surface)
    with memory_limit("400 MiB"):  # too little for matrices, whatever the rank
        scatterer = jk.FiniteRangeImpurity(shape, strength, 0.01, rtol=rtol).on(surface)
    states = states_of(surface)
    assert isinstance(scatterer, SmoothScatterer)
    found, flux, theorem = actions(scatterer, states)
    expected, *_ = actions(by_matrices(scatterer), states)
    even, odd, jump, displaced = differences(found, expected)
    assert max(even, odd) < 20 * rtol
    assert max(jump, displaced) < np.sqrt(rtol)
    assert flux < 1e-11
    assert theorem < 1e-11


def test_a_potential_of_two_signs_is_fitted_on_more_points_than_pivots(tetragonal):
    """... and one of a single sign is not; what was not looked at is missed by rtol."""
    for shape, fitted in ((TWO_SIGNS, 2), (jk.Gaussian(0.6), 1)):
        scatterer = jk.FiniteRangeImpurity(shape, 3.0, 0.01, order="born", rtol=1e-6).on(tetragonal)
        (pivots,) = scatterer.pivots
        assert pivots.k.shape[1] == fitted * pivots.rank
        states = states_of(tetragonal)
        through, local, *_ = scatterer.kinds(states)[0]
        present = np.ix_(states.weights > 0, states.weights > 0)
        v = np.abs(local.conj() @ through.core @ local.T)[present]
        exact = np.sqrt(np.asarray(by_matrices(scatterer)(states)._s))[present]  # |V| in its unit
        assert np.abs(v / v.max() - exact / exact.max()).max() < 4e-6


def test_matrices_where_there_is_memory_for_them(tetragonal):
    """The exact solver works on matrices of pairs or in O(N r²), and so does the kernel: the same (worst 1e-13)."""
    disorder = jk.FiniteRangeImpurity(jk.Gaussian(0.6), 3.0, 0.01)
    states, scatterer = states_of(tetragonal), disorder.on(tetragonal)
    low = scatterer(states)
    assert isinstance(low, SmoothCollisions)
    assert isinstance(low.for_solving(), DenseCollisions)
    x = np.random.default_rng(0).normal(size=(len(states), 2))
    for name in ("symmetric", "antisymmetric"):
        a, b = (np.asarray(getattr(c, name)(x)) for c in (low, low.for_solving()))
        assert np.abs(a - b).max() < 1e-11 * np.abs(a).max(), name
    with memory_limit("200 MiB"):
        assert low.for_solving() is low


def test_matrices_where_the_rank_is_that_of_the_points(tetragonal):
    """A potential that is wide against the cell; where its matrices have no room, pivots are."""
    narrow, wide = (jk.FiniteRangeImpurity(jk.Gaussian(width), 3.0, 0.01, rtol=1e-12) for width in (0.2, 1.2))
    assert isinstance(narrow.on(tetragonal), SmoothScatterer)
    assert isinstance(wide.on(tetragonal), MatrixScatterer)
    with memory_limit("200 MiB"):
        assert isinstance(wide.on(tetragonal), SmoothScatterer)


def test_pivots_are_chosen_once_for_a_surface(tetragonal, monkeypatch):
    """Whatever the strength and the density; another shape, position or accuracy has its own."""
    calls = []

    def counted(*arguments):
        calls.append(arguments)
        return choose(*arguments)

    choose = finite_range.choose_pivots
    monkeypatch.setattr(finite_range, "choose_pivots", counted)
    fresh = tetragonal.as_sampled()
    for width, strength, density, options, expected in (
        (0.6, 1.0, 0.01, {}, 1),
        (0.6, -2.0, 0.02, {"order": "born"}, 1),
        (0.5, 1.0, 0.01, {}, 2),
        (0.6, 1.0, 0.01, {"rtol": 1e-5}, 3),
        (0.6, 1.0, 0.01, {"positions": [0.5, 0.0, 0.0]}, 4),
        (0.6, 1.0, 0.01, {}, 4),
    ):
        jk.FiniteRangeImpurity(jk.Gaussian(width), strength, density, **options).on(fresh)
        assert len(calls) == expected


def test_points_of_a_level_that_others_fill_up_are_diagonalised_once(tetragonal, monkeypatch):
    """Pivots of many levels are filled up with one point: pairs of it with itself once took the square in memory."""
    seen = []
    diagonalised = ShellStates._diagonalised
    monkeypatch.setattr(
        ShellStates, "_diagonalised", lambda self, points: seen.append(len(points)) or diagonalised(self, points)
    )
    points = np.array([7, 0, 3, *[0] * 40_000, 3])
    k, u = ShellStates(tetragonal, bloch=True).some(points)
    assert seen == [3]
    alone = ShellStates(tetragonal, bloch=True).some(np.array([7, 0, 3]))
    np.testing.assert_array_equal(k[:3], alone[0])
    overlap = np.abs(np.einsum("mn,mn->m", u[:3].conj(), alone[1]))
    np.testing.assert_allclose(overlap, 1, atol=1e-12)
    np.testing.assert_array_equal(u[3:-1], np.broadcast_to(u[1], (40_000, u.shape[1])))


@pytest.mark.parametrize("columns", [1, 4])
@pytest.mark.parametrize("d", [1, 5])
def test_sums_over_states_on_few_orbitals(columns, d):
    """Of few columns by products of states, of many by products of orbitals; over more than one tile."""
    rng = np.random.default_rng(0)
    u = rng.normal(size=(30_000, d)) + 1j * rng.normal(size=(30_000, d))
    x = rng.normal(size=(30_000, columns))
    jk.precision.use_double()
    orbitals = OrbitalMoments(jnp.asarray(u))
    moments = orbitals.moment(jnp.asarray(x))
    np.testing.assert_allclose(moments, np.einsum("jm,ja,jb->mab", x, u, u.conj()), rtol=1e-10, atol=1e-9)
    expected = np.einsum("ia,mab,ib->im", u.conj(), moments, u).real
    np.testing.assert_allclose(orbitals.expected(moments), expected, rtol=1e-10, atol=1e-8)
    slope = jax.grad(lambda u: jnp.sum(jnp.abs(OrbitalMoments(u).moment(jnp.asarray(x))) ** 2))
    step = rng.normal(size=u.shape) + 1j * rng.normal(size=u.shape)
    ends = [np.sum(np.abs(np.einsum("jm,ja,jb->mab", x, v, v.conj())) ** 2) for v in (u + 1e-4 * step, u - 1e-4 * step)]
    assert np.sum(slope(jnp.asarray(u)) * step).real == pytest.approx((ends[0] - ends[1]) / 2e-4, rel=1e-5)
