"""Compiled functions do not wait for ever for threads that they hold themselves."""

import jax
import jax.numpy as jnp
import pytest
from conftest import lapack_batches

import jaxkin as jk
from jaxkin.hamiltonian.linear import solve

SOLVES, TRIANGULAR = jax.vmap(jnp.linalg.solve), jax.vmap(jax.scipy.linalg.solve_triangular)


@pytest.mark.parametrize(
    ("function", "count"),
    [
        (lambda a: jnp.linalg.solve(a[0], a[1]), 0),
        (lambda a: SOLVES(a, a), 1),
        (lambda a: (SOLVES(a, a), TRIANGULAR(a, a)), 2),
        (lambda a: TRIANGULAR(jnp.linalg.qr(a, mode="r"), a), 1),
        (lambda a: jnp.linalg.qr(a)[0], 1),
        (lambda a: (TRIANGULAR(a, a), TRIANGULAR(a + 1, a)), 2),
        (lambda a: (jnp.linalg.eigh(a), jnp.linalg.eigh(a + 1)), 2),
        (lambda a: (jax.vmap(solve)(a, a), jax.vmap(solve)(a + 1, a)), 0),
    ],
)
def test_batches_are_seen(function, count):
    """What tests/conftest.py asks of whatever the tests compile."""
    text = jax.jit(function).lower(jnp.zeros((4, 3, 3))).as_text()
    if jax.default_backend() != "cpu":
        pytest.skip("LAPACK is the CPU's")
    assert len(lapack_batches(text)) == count


def test_gaussian_skew_scattering_of_a_mixture_ends(compiled_batches):
    """It was a batch of triangular equations for each kind of impurity, and hung now and then on two cores."""
    surface = jk.fermi_surface(jk.models.get("massive-dirac-2d"), 0.3, sampler=jk.Lines(n=24), replicas=1)
    one, other = (jk.FiniteRangeImpurity(jk.Gaussian(width), 1.0, 0.1) for width in (0.5, 0.8))
    response = jk.gyrotropic_response(surface, one + other)
    assert "gaussian_skew" in response.g and not compiled_batches
