"""One eigenpair by linear solves: closed forms, eigensystems, derivatives, and what must not be trusted."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import jaxkin as jk
from jaxkin.hamiltonian.eigenpair import CONVERGED, line_root, nearest_eigenpair, reduced_resolvent
from jaxkin.hamiltonian.linear import solve
from jaxkin.hamiltonian.perturbation import smooth_eigensystem

jk.precision.use_double()
seeds = st.integers(0, 2**32 - 1)
SIZES = [1, 2, 3, 8, 24]
pair_of = jax.jit(nearest_eigenpair)
resolvent_of = jax.jit(reduced_resolvent)


def hermitian(rng, n):
    a = rng.normal(size=(n, n)) + 1j * rng.normal(size=(n, n))
    return 0.5 * (a + a.conj().T)


def spin_one(field):
    """B·S of a spin 1: −|B|, 0, |B|."""
    bx, by, bz = field
    down = (bx - 1j * by) / np.sqrt(2)
    return np.array([[bz, down, 0], [np.conj(down), 0, down], [0, np.conj(down), -bz]])


@settings(max_examples=20, deadline=None)
@given(seeds)
def test_spin_one_in_a_field(seed):
    field = np.random.default_rng(seed).normal(size=3)
    b = np.linalg.norm(field)
    h = spin_one(field)
    projector = h @ (h + b * np.eye(3)) / (2 * b**2)  # of the upper level
    pair = pair_of(h, 1.05 * b)
    assert float(pair.energy) == pytest.approx(b, rel=1e-13)
    np.testing.assert_allclose(np.outer(pair.state, np.conj(pair.state)), projector, atol=1e-13)
    resolvent = (np.eye(3) - h @ h / b**2) / b + (h @ (h - b * np.eye(3)) / (2 * b**2)) / (2 * b)
    np.testing.assert_allclose(resolvent_of(h, b, pair.state, np.eye(3) + 0j), resolvent, atol=1e-12 / b)


@pytest.mark.parametrize("n", SIZES)
@settings(max_examples=20, deadline=None)
@given(seeds)
def test_nearest_eigenpair_is_that_of_the_eigensystem(n, seed):
    rng = np.random.default_rng(seed)
    h = hermitian(rng, n)
    energies, states = np.linalg.eigh(h)
    band = rng.integers(n)
    gaps = np.abs(np.delete(energies, band) - energies[band])
    gap = gaps.min(initial=np.inf)
    pair = pair_of(h, energies[band] + 0.03 * min(gap, 1.0) * rng.uniform(-1, 1))
    scale = np.abs(energies).max()
    rounding = 1e-14 * max(1.0, scale / gap)  # of the state; worst 2e-15
    assert abs(float(pair.energy) - energies[band]) < 1e-14 * n * max(scale, 1.0)
    assert np.linalg.norm(h @ pair.state - pair.energy * pair.state) < 1e-13 * max(scale, 1.0)
    assert 1 - abs(np.vdot(states[:, band], pair.state)) < rounding
    # from above; after four iterations a vector that is nearly that of the next one
    assert n == 1 or gap * (1 - 1e-6) < float(pair.gap) < 3 * gap
    right = rng.normal(size=(n, 2)) + 0j
    quotient = np.where(np.arange(n) == band, 0.0, 1 / np.where(np.arange(n) == band, 1.0, energies[band] - energies))
    expected = (states * quotient) @ (states.conj().T @ right)
    found = resolvent_of(h, pair.energy, pair.state, right)
    np.testing.assert_allclose(found, expected, atol=1e-13 * (1 + scale / gap) * (1 + np.abs(quotient).max()))


@pytest.mark.parametrize("split", [0.0, 1e-13, 1e-9, 1e-7, 1e-5])
@settings(max_examples=10, deadline=None)
@given(seeds)
def test_a_degenerate_set_shows_in_the_gap(split, seed):
    """Bands whose distance is below the tolerance, or not far above it, are never taken for separate ones."""
    rng = np.random.default_rng(seed)
    h = np.kron(hermitian(rng, 4), np.eye(2))
    energies, states = np.linalg.eigh(h)
    h = h + split * np.outer(states[:, 3], states[:, 3].conj())
    assert not float(pair_of(h, energies[3]).gap) > 10 * split + 1e-12


def test_far_energies_show_in_the_residual():
    """Half way between two levels a single solve finds neither."""
    h = np.diag([0.0, 1.0, 3.0]).astype(complex)
    pair = nearest_eigenpair(h, 0.5, iterations=1)
    true = np.linalg.norm(h @ pair.state - pair.energy * pair.state)
    assert float(pair.residual) == pytest.approx(true, rel=1e-10)
    assert true > 0.1


class TestDerivatives:
    """First and second order, forward and reverse, against perturbation theory with all states."""

    @staticmethod
    def curve(seed, n):
        rng = np.random.default_rng(seed)
        a, b, c, d = (hermitian(rng, n) for _ in range(4))
        return lambda x: jnp.asarray(a) + x[0] * b + x[1] * c + x[0] * x[1] * d

    @pytest.mark.parametrize("n", [2, 3, 9])
    @pytest.mark.parametrize("first", [jax.jacfwd, jax.jacrev])
    @pytest.mark.parametrize("second", [jax.jacfwd, jax.jacrev])
    def test_energy_and_projector(self, n, first, second):
        h, band = self.curve(n, n), n // 2
        energies, other = np.linalg.eigh(h(jnp.zeros(2)))[0], np.random.default_rng(5).normal(size=(n, n))

        def both(energy, state):
            return jnp.stack([energy, jnp.real(state.conj() @ other @ state)])

        def by_solves(x):
            pair = nearest_eigenpair(h(x), energies[band])
            return both(pair.energy, pair.state)

        def by_eigensystem(x):
            energies, states = smooth_eigensystem(h(x))
            return both(energies[band], states[:, band])

        for order in (first, lambda f: second(first(f))):
            found, expected = (jax.jit(order(f))(jnp.zeros(2)) for f in (by_solves, by_eigensystem))
            np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-10 * np.abs(expected).max())

    @pytest.mark.parametrize("derivative", [jax.jacfwd, jax.jacrev])
    def test_root_on_a_line(self, derivative):
        """t with ε(t, x) = μ of ε = ε₀ + vt: closed in a constant basis; then against differences of eigenvalues."""
        turn = np.linalg.qr(np.random.default_rng(2).normal(size=(4, 4)))[0]

        def straight(x):
            def h(t):
                return turn @ jnp.diag(jnp.array([-1.0, x[0] + x[1] * t, 2.0, 3.0])).astype(complex) @ turn.T

            return line_root(h, 0.01).t

        x0, v = 0.003, 0.7
        exact = (0.01 - x0) / v
        found = jax.jit(lambda x: (straight(x), derivative(straight)(x), jax.hessian(straight)(x)))
        t, slope, bend = found(jnp.array([x0, v]))
        assert float(t) == pytest.approx(exact, rel=1e-12)
        np.testing.assert_allclose(slope, [-1 / v, -exact / v], rtol=1e-11)
        np.testing.assert_allclose(bend, [[0, 1 / v**2], [1 / v**2, 2 * exact / v**2]], atol=1e-10)

    def test_many_roots_at_once(self):
        h, band, n = self.curve(7, 6), 2, 6
        level = float(np.linalg.eigh(h(jnp.zeros(2)))[0][band])
        starts = jnp.linspace(-0.02, 0.02, 50)
        roots = jax.jit(jax.vmap(lambda s: line_root(lambda t: h(jnp.array([t, s])), level)))(starts)
        assert np.all(roots.step <= CONVERGED)
        for s, t in zip(starts, roots.t, strict=True):
            assert abs(np.linalg.eigvalsh(h(jnp.array([t, s])))[band] - level) < 1e-13 * n


class TestSolve:
    def test_singular_matrices_do_not_spoil_the_others(self):
        rng = np.random.default_rng(3)
        a, b = rng.normal(size=(5, 4, 4)) + 0j, rng.normal(size=(5, 4, 2)) + 0j
        a[2], a[4, 0] = 0.0, np.nan
        x = np.asarray(jax.jit(jax.vmap(solve))(a, b))
        assert not np.isfinite(x[[2, 4]]).any(axis=(1, 2)).all()
        for good in (0, 1, 3):
            np.testing.assert_allclose(a[good] @ x[good], b[good], atol=1e-13)

    def test_batches_of_either_argument(self):
        rng = np.random.default_rng(4)
        a, b = rng.normal(size=(3, 4, 4)) + 0j, rng.normal(size=(5, 4, 2)) + 0j
        every = jax.vmap(jax.vmap(solve, (None, 0)), (0, None))(a, b)
        assert every.shape == (3, 5, 4, 2)
        np.testing.assert_allclose(every, np.linalg.solve(a[:, None], b), atol=1e-12)
        looped = jax.lax.map(lambda one: solve(one, b[0]), jnp.asarray(a))
        np.testing.assert_allclose(looped, every[:, 0], atol=1e-14)

    @pytest.mark.parametrize("mode", [jax.jacfwd, jax.jacrev])
    def test_derivative_of_an_inverse(self, mode):
        """d(A⁻¹) = −A⁻¹ dA A⁻¹, and once more."""
        rng = np.random.default_rng(5)
        a, da = (rng.normal(size=(4, 4)) + 1j * rng.normal(size=(4, 4)) for _ in range(2))
        inverse = np.linalg.inv(a)

        def function(x):
            return solve(a + x * da, jnp.eye(4) + 0j).view(float)

        first = -inverse @ da @ inverse
        np.testing.assert_allclose(mode(function)(0.0), first.view(float), atol=1e-11)
        second = -2 * first @ da @ inverse
        np.testing.assert_allclose(jax.jacfwd(mode(function))(0.0), second.view(float), atol=1e-10)

    def test_one_core_does_not_wait_for_itself(self):
        """Large batches, twice in one compiled function, with one thread for everything."""
        script = (
            "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
            "import jax, jax.numpy as jnp; jax.config.update('jax_enable_x64', True)\n"
            "from jaxkin.hamiltonian.linear import solve\n"
            "a = jnp.eye(25) + 0.01j * jnp.arange(1025 * 625).reshape(1025, 25, 25) / 1e6\n"
            "twice = jax.jit(lambda a: jax.vmap(solve)(a, jnp.roll(jax.vmap(solve)(a, a + 1), 1, 0)))\n"
            "for _ in range(30): jax.block_until_ready(twice(a))\n"
        )
        if not hasattr(os, "sched_setaffinity"):
            pytest.skip("no affinity here")
        subprocess.run([sys.executable, "-c", script], check=True, timeout=120)
