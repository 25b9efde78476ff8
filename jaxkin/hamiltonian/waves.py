"""Σ_R e^{ik·R} M_R of Hermitian matrices, M_R = M†_{−R}: for many k one real matrix product."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from jaxkin.namespace import is_traced

_KNOWN: dict[tuple[int, ...], tuple[Any, tuple[weakref.ref, ...]]] = {}
"""By the identities of arrays, the first of which that dies takes it away."""


def packed(matrices: Complex[Array, "R ... n n"], pairs: Array) -> Float[Array, "2H ... n n"]:
    """C_R and S_R of Σ_R e^{ik·R} M_R = Σ_pairs (C_R cos k·R + S_R sin k·R), which are Hermitian, packed.

    A Hermitian matrix has n² real numbers: the real part on and above the diagonal, minus the
    imaginary part below it.

    Args:
        matrices: M_R.
        pairs: indices of one translation of each pair R, −R, and of the other one, (2, H).
    """
    one, other = pairs
    there, back = matrices[one], jnp.swapaxes(matrices[other].conj(), -1, -2)
    half = jnp.where(one == other, 0.25, 0.5).reshape(-1, *(1,) * (matrices.ndim - 1)) * (there + back)
    dagger = jnp.swapaxes(half.conj(), -1, -2)
    waves = jnp.concatenate([half + dagger, 1j * (half - dagger)])
    return jnp.where(_upper(matrices.shape[-1]), waves.real, -waves.imag)


def summed(waves: Float[Array, "... 2H"], matrices: Float[Array, "2H ... n n"]) -> tuple[Array, Array]:
    """Re and Im of Σ_R e^{ik·R} M_R (or of its slopes).

    Args:
        waves: cos k·R and sin k·R of one of each pair (or their slopes).
        matrices: :func:`packed`.
    """
    n = matrices.shape[-1]
    total = jnp.tensordot(waves, matrices, axes=1)
    upper, mirrored = _upper(n), jnp.swapaxes(total, -1, -2)
    return jnp.where(upper, total, mirrored), jnp.where(upper, mirrored, -total) * (1 - np.eye(n))


def made_once(make: Callable[[], Any], arrays: tuple[Any, ...]) -> Any:
    """What ``make`` makes of ``arrays``, kept as long as they live: for 300 translations and 200 orbitals 0.1 s.

    Arrays of NumPy, which may change, and traced ones are not remembered.
    """
    if is_traced(arrays) or not all(isinstance(one, jax.Array) for one in arrays):
        return make()
    key = tuple(map(id, arrays))
    if key not in _KNOWN:
        with jax.ensure_compile_time_eval():  # something else may be traced
            made = make()
        _KNOWN[key] = made, tuple(weakref.ref(one, lambda _: _KNOWN.pop(key, None)) for one in arrays)
    return _KNOWN[key][0]


def _upper(n: int) -> np.ndarray:
    return np.triu(np.ones((n, n), bool))
