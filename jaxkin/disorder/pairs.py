"""Double integrals over two states, in tiles: memory stays bounded, no N×N array is made."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

TILE = 1024
"""States per side of a tile: 10⁶ pairs, some ten MB, whatever the number of states."""


def pair_integral(kernel: Callable, states: PyTree, weights: np.ndarray) -> np.ndarray:
    """y_i = Σ_j W_j K(p_i, p_j) for all i, which is ∫(dk') δ(ε−ε') K(p, p').

    Args:
        kernel: JAX function of two states (pytrees of single states) that returns an array.
        states: pytree whose leaves have the N states as leading axis.
        weights: (N,) quadrature weights of one shell.

    Returns:
        (N, ...) array.
    """
    count = len(weights)
    tile = min(TILE, max(64, 1 << (count - 1).bit_length())) if count else TILE
    padding = -count % tile
    padded = jax.tree.map(lambda x: _tiles(jnp.asarray(x), padding, tile), states)
    padded_weights = np.pad(np.asarray(weights), (0, padding)).reshape(-1, tile)
    parts = [jax.tree.map(lambda x, t=t: x[t], padded) for t in range(len(padded_weights))]

    def row(left: PyTree) -> np.ndarray:
        total = 0.0
        for right, weight in zip(parts, padded_weights, strict=True):
            total = total + _tile_sum(kernel, left, right, weight)
        return np.asarray(total)

    # One thread per core hides what XLA does not spread over cores itself.
    with ThreadPoolExecutor(max_workers=2 if jax.default_backend() == "cpu" else 1) as pool:
        return np.concatenate(list(pool.map(row, parts)))[:count]


def _tiles(leaf: Array, padding: int, tile: int) -> Array:
    """Repeat the last state to fill the last tile (its weight there is zero), and cut."""
    filled = jnp.concatenate([leaf, jnp.repeat(leaf[-1:], padding, axis=0)])
    return filled.reshape(-1, tile, *leaf.shape[1:])


@eqx.filter_jit
def _tile_sum(kernel: Callable, left: PyTree, right: PyTree, weights: Array | np.ndarray) -> Array:
    def one(p: PyTree) -> Array:
        values = jax.vmap(kernel, in_axes=(None, 0))(p, right)
        return jnp.tensordot(weights, values, axes=1)

    return jax.vmap(one)(left)
