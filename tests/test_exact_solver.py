"""The exact collision operator: its spectrum, its resolvents, and the response beyond relaxation time."""

from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxkin as jk
from jaxkin.disorder.states import ShellStates
from jaxkin.response.krylov import TOLERANCE
from jaxkin.response.resolvent import Resolvent
from jaxkin.response.shell import shell_response
from jaxkin.response.sums import MAGNETON

MODEL_UNITS = 1e-12 * jk.units.moment_velocity_density(3) * jk.units.ELEMENTARY_CHARGE * MAGNETON * jk.units.HBAR**2
"""S per unit of g^sk with e = ħ = 1, eV and Å."""


def matrices(collisions):
    n = len(collisions.weights)
    return tuple(np.asarray(act(jnp.eye(n))) for act in (collisions.symmetric, collisions.antisymmetric))


@pytest.fixture(scope="module")
def tetragonal():
    return jk.fermi_surface(jk.models.get("kramers-weyl-d4"), -1.2, sampler=jk.Lines(9), replicas=2)


@pytest.fixture(scope="module")
def collisions(tetragonal):
    disorder = jk.FiniteRangeImpurity(jk.Gaussian(1.2), 3.0, 0.01)
    return disorder.collisions(tetragonal, tetragonal.shells[0])


def test_spectrum(collisions):
    """L ≥ 0 and symmetric under ⟨·|·⟩, with the constant as its one null vector."""
    s, a = matrices(collisions)
    w = np.asarray(collisions.weights)
    loss = np.sqrt(w)[:, None] * (np.diag(collisions.rate) - s) / np.sqrt(w)
    scale = np.abs(loss).max()
    assert np.abs(loss - loss.T).max() < 1e-12 * scale
    assert np.abs(w[:, None] * a + (w[:, None] * a).T).max() < 1e-12 * np.abs(w[:, None] * a).max()
    values = np.linalg.eigvalsh(0.5 * (loss + loss.T))
    assert abs(values[0]) < 1e-11 * scale
    assert values[1] > 1e-3 * scale
    np.testing.assert_allclose((np.diag(collisions.rate) - s) @ np.ones(len(w)), 0, atol=1e-11 * scale)


def test_resolvents_against_dense_solves(collisions):
    s, a = matrices(collisions)
    omega = np.array([0.0, 0.4, 30.0])
    solve = Resolvent(collisions, omega)
    v, n, root = collisions.velocity, len(collisions.weights), np.asarray(solve.root)
    loss, skew = (root * m / root.T for m in (np.diag(collisions.rate) - s, a))
    null = root @ root.T / np.sum(root**2)
    x, z = solve.first_order(solve.scaled(v))
    forward = solve.skewed(solve.scaled(v), 1)
    for f, w in enumerate(omega):
        # the null vector is given the eigenvalue 1, which no solution contains
        dense = w * np.eye(n) + 1j * (loss + null)
        exact = np.linalg.solve(dense, solve.scaled(v))
        first = np.linalg.solve(dense, 1j * skew @ exact)
        full = np.linalg.solve(dense - 1j * skew, solve.scaled(v))
        for got, want in ((x, exact), (z, first), (forward, full)):
            error = np.abs(got.basis @ got.coefficients[f] - want).max()
            assert error < 1e-9 * np.abs(want).max()
    assert max(x.residual, forward.residual) < 1e-10


def test_isotropic_kernel_gives_the_relaxation_time_results():
    """R → 1/(ω+i/τ): equal to the quadrature error of one shift."""
    surface = jk.fermi_surface(jk.models.get("helical-isotropic", moment=1.0), 0.5, sampler=jk.Lines(14), replicas=2)
    disorder = jk.RelaxationTime(0.7, 40.0, 0.8)
    rta, exact = (jk.gyrotropic_response(surface, disorder, [0.0, 0.3], solver) for solver in ("rta", "exact"))
    for name in ("intrinsic", "skew", "side_jump"):
        scale = np.abs(rta.g[name].mean).max()
        assert np.abs(rta.g[name].mean - exact.g[name].mean).max() < 1e-3 * scale, name  # worst 2e-4
    assert abs(exact.tau.mean / 0.7 - 1) < 1e-3
    # without the quadrature's error, ∫v δ = 0 on the points themselves, R v is v/(ω + i/τ) to rounding
    omega = np.array([0.0, 0.3, 5.0])
    solve = Resolvent(disorder.collisions(surface, surface.shells[0]), omega)
    start = solve.velocity()
    solution = solve.even(start)
    for f, w in enumerate(omega):
        expected = start / (w + 1j / 0.7)
        assert np.abs(solution.basis @ solution.coefficients[f] - expected).max() < 1e-11 * np.abs(expected).max()


def test_boltzmann_equation_at_finite_wave_vector(collisions):
    """σ_ab(q) of the Boltzmann equation itself, differentiated: the sign and size of λ^sk.

    This is independent of all formulas for λ: (ω − q·v + iL − iA) f = b, j = v.
    """
    s, a = matrices(collisions)
    v, w, omega, step = np.asarray(collisions.velocity), np.asarray(collisions.weights), 3.0, 1e-3
    operator = omega * np.eye(len(w)) + 1j * (np.diag(collisions.rate) - s - a)
    source = Resolvent(collisions, np.zeros(1)).velocity() / np.sqrt(w)[:, None]  # v, with zero mean on each sheet

    def sigma(q):
        return source.T @ (w[:, None] * np.linalg.solve(operator - np.diag(v @ q), source))

    lam = np.stack([(sigma(step * e) - sigma(-step * e)) / (2 * step) for e in np.eye(3)], axis=-1)
    lam = 0.5 * (lam - np.swapaxes(lam, 0, 1))
    g = shell_response(collisions, None, w, np.zeros_like(v), np.array([omega]), "exact", "all").gyrotropic["skew"][0]
    # λ = −ie²⟨·⟩ with f⁰' = −w; g = ½ε λ; MAGNETON stands for −e²
    from jaxkin.response.observables import gyrotropic

    expected = -MAGNETON * 1j * gyrotropic(lam)
    assert np.abs(g).max() > 1e-3 * abs(MAGNETON) * np.abs(lam).max()
    assert np.abs(g - expected).max() < 1e-6 * np.abs(expected).max()


def test_finite_range_impurity_in_d4():
    """g_sk is traceless and ∝ diag(1,1,−2) within the error, in the relaxation-time approximation."""
    surface = jk.fermi_surface(jk.models.get("kramers-weyl-d4"), -1.2, sampler=jk.Lines(10), replicas=4)
    disorder = jk.FiniteRangeImpurity(jk.Gaussian(1.2), 3.0, 0.01)
    skew = jk.gyrotropic_response(surface, disorder, [0.0]).g["skew"]
    diagonal, sigma = np.imag(np.diag(skew.mean[0])), np.imag(skew.stderr[0]).max()
    assert abs(diagonal.sum()) < 1e-10 * np.abs(diagonal).max()
    assert abs(diagonal[0] - diagonal[1]) < 8 * sigma
    assert sigma < 0.1 * np.abs(diagonal).max()


def cubic(anisotropy_level, n, replicas):
    surface = jk.fermi_surface(
        jk.models.get("kramers-weyl-o", hopping=0.5, spin_orbit=0.5),
        anisotropy_level,
        sampler=jk.Lines(n),
        replicas=replicas,
    )
    disorder = jk.FiniteRangeImpurity(lambda q: jnp.exp(1.44 * (jnp.cos(q).sum() - 3)), 3.0, 0.01, periodic=True)
    return surface, disorder


def test_cubic_trace_beyond_relaxation_time():
    """Point group O: Tr g^sk and Tr g^sj are zero in the RTA and not with the exact L (physics: 143.6, −5.5)."""
    surface, disorder = cubic(-1.6, 11, 3)
    rta = jk.gyrotropic_response(surface, disorder, [0.0]).trace()
    first = jk.gyrotropic_response(surface, disorder, [0.0], "exact").trace()
    every = jk.gyrotropic_response(surface, disorder, [0.0], "exact", skew_order="all").trace()
    for name, value, cap in (("skew", 143.60, 3.0), ("side_jump", 5.544, 0.1)):
        trace, sigma = (np.imag(x) / abs(MODEL_UNITS) for x in (first[name].mean[0], first[name].stderr[0]))
        assert abs(np.imag(rta[name].mean[0])) < 1e-10 * abs(MODEL_UNITS) * value
        assert abs(abs(trace) - value) < 5 * sigma + 1e-3 * value
        assert sigma < cap
    ratio = every["skew"].mean[0] / first["skew"].mean[0] - 1
    assert 1e-6 < abs(ratio) < 1e-4  # 7e-6: the next order is A³, (τ/τ_sk)²


def test_tetrahedral_group_beyond_relaxation_time():
    """Point group T: the side jump's trace is zero in the RTA, many σ from zero with the exact L, and g ∝ 1."""
    surface = jk.fermi_surface(jk.models.get("kramers-weyl-t"), -1.6, sampler=jk.Lines(11), replicas=4)
    bond = jk.PointImpurity(2.0, [0, 1, 0, 1], 0.01, cells=[[0, 0, 0]] * 2 + [[1, 0, 0]] * 2, order="third")
    disorder = bond.symmetrized(surface.model)
    rta, exact = (jk.gyrotropic_response(surface, disorder, [0.0], solver) for solver in ("rta", "exact"))
    for name in ("skew", "side_jump"):
        trace, sigma = np.imag(exact.trace()[name].mean[0]), np.imag(exact.trace()[name].stderr[0])
        assert abs(np.imag(rta.trace()[name].mean[0])) < 1e-10 * abs(trace)
        assert abs(trace) > 10 * sigma, name
        g, error = np.imag(exact.g[name].mean[0]), np.imag(exact.g[name].stderr[0]).max()
        assert np.abs(g - np.trace(g) / 3 * np.eye(3)).max() < 8 * error


def test_only_odd_orders(collisions, tetragonal):
    """With A → −A the skew part changes sign at all orders."""
    from jaxkin.disorder.collisions import DenseCollisions

    states = ShellStates(tetragonal, bloch=False).of(tetragonal.shells[0])
    s, a = (m / collisions.weights for m in matrices(collisions))
    parts = []
    for sign in (20, -20):  # enlarged, so that higher orders show
        c = DenseCollisions(states, s, sign * a, np.zeros((3, *s.shape)))
        parts.append(shell_response(c, None, c.weights, c.velocity, np.zeros(1), "exact", "all").gyrotropic["skew"])
    assert np.abs(parts[0] + parts[1]).max() < 1e-9 * np.abs(parts[0]).max()


def masked(collisions, tetragonal, between):
    """The same scattering, between the two sheets a factor ``between`` weaker, and without skew."""
    from jaxkin.disorder.collisions import DenseCollisions

    states = ShellStates(tetragonal, bloch=False).of(tetragonal.shells[0])
    other = states.sheet[:, None] != states.sheet
    kernel = matrices(collisions)[0] / collisions.weights * np.where(other, between, 1.0)
    return DenseCollisions(states, kernel, None, np.zeros((3, *kernel.shape)))


def test_sheets_that_scattering_does_not_couple(collisions, tetragonal):
    """One null vector for each; the response is continuous in the rate between them, to the quadrature error.

    At ω = 0 a slow mode of rate b answers to the O(b) that scattering between the sheets feeds into it: zero
    by time reversal, 5e-4 by the shift of the points.
    """
    assert len(np.unique(masked(collisions, tetragonal, 0.0).sheet)) == 2
    drude = []
    for between in (0.0, 1e-14, 1e-8, 1e-4):
        c = masked(collisions, tetragonal, between)
        solve = Resolvent(c, np.zeros(1))
        assert np.sum(np.linalg.norm(solve.null, axis=0) > 0) == (2 if between < 1e-7 else 1)
        response = shell_response(c, None, c.weights, c.velocity, np.array([0.0, 2.0]), "exact")
        assert response.measures.residual < 1e-10
        drude.append(response.conductivity["drude"])
    for other, size in zip(drude[1:], (1e-11, 1e-7, 2e-3), strict=True):
        assert np.abs(other - drude[0]).max() < size * np.abs(drude[0]).max()


def test_dense_where_the_krylov_space_grows_without_end(collisions):
    """The same solutions by matrices, and as functions that are differentiated; a space of 12 columns says it fails."""
    omega = np.array([0.0, 5.0])

    def solved(*method):
        solve = Resolvent(collisions, omega, *method)
        return solve.first_order(solve.velocity())

    krylov = solved("krylov", 288)
    assert solved("krylov", 12)[0].residual > 1e3 * TOLERANCE
    for other in (solved("dense"), solved("differentiable", 288)):
        assert other[0].residual < 1e-11
        for a, b in zip(krylov, other, strict=True):
            for number in range(len(omega)):
                x, y = np.asarray(a.at(number)), np.asarray(b.at(number))
                assert np.abs(x - y).max() < 1e-9 * np.abs(x).max()


@pytest.fixture(scope="module")
def shells(tetragonal, collisions):
    """One at T = 0, and three of many at 300 K: states, weights in the current, and w^S."""
    cold = ShellStates(tetragonal, bloch=False).of(tetragonal.shells[0])
    found = {0.0: [(cold, matrices(collisions)[0] / collisions.weights)]}
    warm = jk.fermi_surface(tetragonal.model, -1.2, 300.0, sampler=jk.Lines(8), replicas=1)
    disorder = jk.FiniteRangeImpurity(jk.Gaussian(1.2), 3.0, 0.01)
    states = ShellStates(warm, bloch=False)
    found[300.0] = [
        (states.of(shell), matrices(c)[0] / c.weights)
        for shell in warm.shells[4::8]
        for c in [disorder.collisions(warm, shell)]
    ]
    assert len(found[300.0]) == 3
    return found


def drude(states, kernel):
    """The conductivity of a shell, scattered by w^S only."""
    from jaxkin.disorder.collisions import DenseCollisions

    c, weight = DenseCollisions(states, kernel, None, np.zeros((3, *kernel.shape))), np.asarray(states.thermal)
    response = shell_response(c, None, weight, c.velocity, np.array([0.0]), "exact", "first", "paper", "dense")
    assert response.measures.residual < 1e-9
    return np.real(response.conductivity["drude"][0])


@pytest.mark.parametrize("temperature", [0.0, 300.0])
@pytest.mark.parametrize("labelled", [True, False])
@pytest.mark.parametrize("between", [1.0, 1e-2, 1e-4, 1e-6, 1e-7, 1e-8, 1e-12, 1e-16])
def test_two_valleys_tend_to_the_uncoupled_answer(shells, temperature, between, labelled):
    """Twice the same surface, at ±k, between which a rate is left; also where both valleys are one sheet of the search.

    What is odd in the valleys obeys [(1+b)Γ − (1−b)S]x = v. As the points have a mean velocity that the surface has
    not, that is solved for v without it where the valleys are closed pieces, by their label or b.
    """
    total = expected = alone = 0.0
    for states, kernel in shells[temperature]:
        count, w, v = len(states), np.asarray(states.weights), np.asarray(states.velocity)
        twice = jax.tree.map(lambda x, n=count: np.concatenate([x, x]) if np.ndim(x) and len(x) == n else x, states)
        twice = eqx.tree_at(lambda s: s.velocity, twice, np.concatenate([v, -v]))
        sheet = np.concatenate([states.sheet, states.sheet + states.sheets]) if labelled else twice.sheet
        twice = replace(twice, sheet=sheet, sheets=2 * states.sheets if labelled else states.sheets)
        total = total + drude(twice, np.block([[kernel, between * kernel], [between * kernel.T, kernel]]))
        alone = alone + 2 * drude(states, kernel)
        start = v
        if labelled or between < 1e-5:
            parts = np.asarray(states.sheet) == np.arange(states.sheets)[:, None]
            start = v - sum(np.outer(part, (part * w) @ v / (part @ w)) for part in parts)
        gain = kernel * w
        operator = np.diag((1 + between) * gain.sum(axis=1)) - (1 - between) * gain
        if between >= 1e-7:
            expected = expected + 2 * (np.asarray(states.thermal)[:, None] * v).T @ np.linalg.solve(operator, start)
    if between >= 1e-7:
        assert np.abs(total - expected).max() < 1e-6 * np.abs(expected).max()
    if between < 1e-7:
        assert np.abs(total - alone).max() < 1e-6 * np.abs(alone).max()
    elif labelled and between < 0.1:
        assert np.abs(total - alone).max() < max(50 * between, 2e-3) * np.abs(alone).max()


def test_a_rate_that_is_none_is_refused(shells):
    """A kernel of negative rates, by either solver; and points of one velocity, which lose nothing but rounding."""
    from jaxkin.disorder.collisions import DenseCollisions

    model = jk.models.get("kramers-weyl-d4")
    surface = jk.fermi_surface(model, -1.2, sampler=jk.Lines(6), replicas=1)
    for solver in ("rta", "exact"):
        with pytest.raises(jk.JaxkinError, match="it must be positive: the shells have too few points"):
            jk.gyrotropic_response(surface, jk.KernelDisorder(lambda p, q: -1.0), [0.0], solver)
    (states, kernel), *_ = shells[0.0]
    one_way = replace(states, velocity=np.broadcast_to(states.velocity[:1], states.velocity.shape))
    with pytest.raises(jk.JaxkinError, match="it must be positive"):
        DenseCollisions(one_way, kernel, None, np.zeros((3, *kernel.shape))).transport_time  # noqa: B018


def test_what_is_not_solved_is_refused(monkeypatch):
    """A Krylov space that is too small, where matrices do not fit."""
    from jaxkin.response import transport

    monkeypatch.setattr(transport, "COLUMNS", (6, 6))
    monkeypatch.setattr(transport, "DENSE", 0)
    surface = jk.fermi_surface(jk.models.get("kramers-weyl-d4"), -1.2, sampler=jk.Lines(6), replicas=1)
    impurity = jk.FiniteRangeImpurity(jk.Gaussian(1.2), 3.0, 0.01)
    with pytest.raises(jk.JaxkinError, match=r"did not converge: residual .* Raise the memory budget or n"):
        jk.gyrotropic_response(surface, impurity, [0.0], "exact", theory="paper")
