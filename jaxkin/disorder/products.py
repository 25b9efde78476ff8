"""Inner products between all states of two sets, in real numbers: on a CPU twice as fast as in complex ones."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Complex, Float


def real_form(states: Complex[Array, "N d"]) -> Float[Array, "N 2d"]:
    """(Re u, Im u)."""
    return jnp.concatenate([states.real, states.imag], axis=1)


def inner_products(bra: Float[Array, "I 2d"], ket: Complex[Array, "J d"]) -> tuple[Array, Array]:
    """Re and Im of ⟨i|j⟩, (I, J) each, for the :func:`real_form` of the bras."""
    return bra @ real_form(ket).T, bra @ real_form(-1j * ket).T
