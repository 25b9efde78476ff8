"""Eigenvalues and states of one Hermitian matrix, in JAX: closed forms for two bands, LAPACK for more.

The batched LAPACK call costs ten times the closed form for a 2 × 2 matrix.
"""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Complex, Float

DEGENERACY_TOLERANCE = 1e-7
"""eV: bands closer than this have one energy (rounding splits exact ones by ~1e-13)."""
DEGENERACY = 1e-3
"""eV: bands that lie closer count as one set in moments and curvatures, unless another distance is given. Wannier
functions split what symmetry makes equal by some 0.1 to 1 meV."""


def eigenvalues(h: Complex[Array, "n n"]) -> Float[Array, " n"]:
    """Ascending eigenvalues of a Hermitian matrix."""
    if len(h) != 2:
        return jnp.linalg.eigvalsh(h, UPLO="U")
    mean, x, y, z = _pauli(h)
    length = _length(x, y, z)
    return jnp.stack([mean - length, mean + length])


def eigensystem(h: Complex[Array, "n n"]) -> tuple[Float[Array, " n"], Complex[Array, "n n"]]:
    """Ascending eigenvalues, and eigenvectors as columns.

    For two bands H = c + d·σ: ε = c ∓ |d|, and with d_z ≥ 0 the upper state is ∝ (|d| + d_z, d_x + i d_y), with
    d_z < 0 it is ∝ (d_x − i d_y, |d| − d_z). Nothing cancels in either, so that states are as accurate
    near a degeneracy as away from it; at |d| = 0 they are the basis.
    """
    if len(h) != 2:
        energies, states = jnp.linalg.eigh(h, UPLO="U")
        return energies, states
    mean, x, y, z = _pauli(h)
    length = _length(x, y, z)
    flat = length == 0
    long = jnp.where(flat, 1.0, length + jnp.abs(z))  # |d| + |d_z|
    norm = jnp.sqrt(long**2 + x**2 + y**2)
    large, small = long / norm, (x + 1j * y) / norm
    above = z >= 0
    upper = jnp.where(above, jnp.stack([large + 0j, small]), jnp.stack([small.conj(), large + 0j]))
    lower = jnp.stack([-upper[1].conj(), upper[0].conj()])
    return jnp.stack([mean - length, mean + length]), jnp.stack([lower, upper], axis=1)


def _pauli(h: Complex[Array, "2 2"]) -> tuple[Array, Array, Array, Array]:
    """c and d of the Hermitian part of H = c + d·σ."""
    off = 0.5 * (h[0, 1] + h[1, 0].conj())
    first, second = h[0, 0].real, h[1, 1].real
    return 0.5 * (first + second), off.real, -off.imag, 0.5 * (first - second)


def _length(x: Array, y: Array, z: Array) -> Array:
    """|d|, with derivative zero where it vanishes."""
    square = x**2 + y**2 + z**2
    safe = jnp.where(square == 0, 1.0, square)
    return jnp.where(square == 0, 0.0, jnp.sqrt(safe))
