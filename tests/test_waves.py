"""Matrices that are packed once for many k."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_hamiltonian import random_model

import jaxkin as jk
from jaxkin.hamiltonian.spectrum import hamiltonians


def complete() -> jk.TightBinding:
    """With every operator that a file may have."""
    model, rng = random_model(3, position_matrices=True), np.random.default_rng(1)
    steps = np.asarray(model.translations)
    partner = [int(np.flatnonzero(np.all(steps == -step, axis=1))[0]) for step in steps]

    def hermitian() -> np.ndarray:
        m = rng.normal(size=(len(steps), 3, 3, 3)) + 1j * rng.normal(size=(len(steps), 3, 3, 3))
        return m + m[partner].conj().swapaxes(1, 2)

    hr = rng.normal(size=(len(steps), 3, 3, 3)) + 0j
    arguments = (model.lattice, steps, model.hoppings, model.positions, model.position_matrices, hermitian())
    return jk.TightBinding(*arguments, hr_matrices=hr, rhr_matrices=hermitian())


@pytest.mark.parametrize("name", ["hamiltonian", "position", "pauli", "hamiltonian_moments", "derivative"])
def test_a_packed_model_is_the_same(name):
    model, k = complete(), jnp.array([0.13, -0.42, 0.31])
    plain, packed = (jax.tree.leaves(getattr(one, name)(k)) for one in (model, model.packed()))
    assert len(plain) == len(packed) > 0
    for one, other in zip(plain, packed, strict=True):
        assert np.abs(one).max() > 0
        np.testing.assert_allclose(other, one, rtol=1e-14, atol=1e-14)


def test_matrices_are_packed_once_and_those_of_another_model_anew():
    model, k = complete(), np.random.default_rng(0).random((5, 3))
    assert model.packed().packed_matrices["hamiltonian"] is model.packed().packed_matrices["hamiltonian"]
    before = np.asarray(hamiltonians(model, k))
    other = eqx.tree_at(lambda m: m.hoppings, model, 2 * model.hoppings)
    np.testing.assert_allclose(hamiltonians(other, k), 2 * before, rtol=1e-13)
    np.testing.assert_array_equal(hamiltonians(model, k), before)


def test_arrays_that_may_change_are_not_remembered():
    model, k = complete(), np.random.default_rng(0).random((5, 3))
    numbers = np.array(model.hoppings)
    loose = eqx.tree_at(lambda m: m.hoppings, model, numbers)
    before = np.asarray(hamiltonians(loose, k))
    numbers *= 3
    np.testing.assert_allclose(hamiltonians(loose, k), 3 * before, rtol=1e-13)


def test_what_is_traced_is_packed_where_it_is_used():
    model, k = complete(), jnp.array([0.13, -0.42, 0.31])

    def energy(scale):
        return hamiltonians(eqx.tree_at(lambda m: m.hoppings, model, scale * model.hoppings), k[None])[0, 0, 0].real

    assert float(jax.jit(jax.grad(energy))(1.0)) == pytest.approx(float(energy(1.0)), rel=1e-13)
