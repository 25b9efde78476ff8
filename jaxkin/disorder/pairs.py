"""Double integrals over two states, in tiles: memory stays bounded, no N×N array is made."""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from jaxkin.devices import spread
from jaxkin.hamiltonian.tiles import scanned
from jaxkin.memory import batch_bytes
from jaxkin.namespace import AnyArray, is_traced, namespace

TILE = 1024
"""States per side of a tile, less if the memory budget says so: 10⁶ pairs, whatever the number of states."""
PAIR_BYTES = 256
"""What a pair takes while its tile is computed, for a kernel that returns a vector."""
BLOCK = 128
"""Columns of a tile whose values exist at a time: they stay in the cache."""


class TileKernel(eqx.Module):
    """A kernel that computes whole tiles of pairs, where that is faster than pair by pair."""

    @abc.abstractmethod
    def tile(self, left: PyTree, right: PyTree) -> Array:
        """K(p_i, p_j) of all pairs, (I, J, ...), for pytrees with leaves (I, ...) and (J, ...)."""


Kernel = Callable[..., Array] | TileKernel


def pair_integral(kernel: Kernel, states: PyTree, columns: AnyArray) -> AnyArray:
    """y_i = Σ_j K(p_i, p_j) c_j for all i, which is ∫(dk') δ(ε−ε') K(p, p') x(p') for c = W x.

    As for Q and v_sj, Eqs. (8), (9): docs/method.md, "Double integrals".

    Args:
        kernel: JAX function of two states (pytrees of single states) that returns an array, or a
            :class:`TileKernel`.
        states: pytree whose leaves have the N states as leading axis.
        columns: c, the quadrature weights of one shell in 1/(eV Å^d), (N,), or functions times them, (N, m).

    Returns:
        (N, ...) or (N, ..., m) array, in the unit of K c.
    """
    if columns.ndim == 1:
        return _over_tiles(_vector_tile, kernel, states, columns[:, None])[0][..., 0]
    return _over_tiles(_vector_tile, kernel, states, columns)[0]


def pair_apply(kernel: Kernel, states: PyTree, weights: AnyArray, x: AnyArray) -> tuple[AnyArray, AnyArray]:
    """y_i = Σ_j W_j K(p_i, p_j) x_j of a scalar kernel for x (N, m), and Σ_j |W_j K(p_i, p_j)|.

    Returns:
        (N, m) and (N,) arrays.
    """
    xp, w = namespace(weights, x), weights[:, None]
    y, total = _over_tiles(_scalar_tile, kernel, states, xp.concatenate([xp.abs(w), w * x], axis=1))
    return y, total


def _over_tiles(tile: Callable, kernel: Kernel, states: PyTree, columns: AnyArray):
    """Sum ``tile`` over the right states, row of tiles by row; concatenate the rows."""
    if is_traced(states, columns):
        return _traced_tiles(tile, kernel, states, columns)
    count = len(columns)
    size = min(_tile_size(), max(64, 1 << (count - 1).bit_length())) if count else TILE
    padding = -count % size
    padded = jax.tree.map(lambda x: _tiles(np.asarray(x), padding, size), states)
    right_columns = np.pad(columns, ((0, padding), (0, 0))).reshape(-1, size, columns.shape[1])
    parts = [jax.tree.map(lambda x, t=t: x[t], padded) for t in range(len(right_columns))]

    def row(left: PyTree) -> list[np.ndarray]:
        left = jax.tree.map(spread, left)
        pieces: Iterator[tuple[Array, ...]] = (
            tile(kernel, left, right, c) for right, c in zip(parts, right_columns, strict=True)
        )
        return [np.asarray(total) for total in _sum(pieces)]

    # One thread per core hides what XLA does not spread over cores itself.
    with ThreadPoolExecutor(max_workers=2 if jax.default_backend() == "cpu" else 1) as pool:
        rows = list(pool.map(row, parts))
    return tuple(np.concatenate(column)[:count] for column in zip(*rows, strict=True))


def _traced_tiles(tile: Callable, kernel: Kernel, states: PyTree, columns: Array) -> tuple[Array, ...]:
    """The same in loops of one compiled function; reverse mode computes each tile again."""
    count = len(columns)
    size = min(_tile_size(), count if count < BLOCK else -(-count // BLOCK) * BLOCK)  # of whole blocks
    padding = -count % size
    padded = jax.tree.map(lambda x: _tiles(x, padding, size), states)
    right = (padded, jnp.pad(columns, ((0, padding), (0, 0))).reshape(-1, size, columns.shape[1]))

    def row(left: PyTree) -> tuple[Array, ...]:
        @jax.checkpoint
        def one(states: PyTree, x: Array) -> tuple[Array, ...]:
            return tile(kernel, left, states, x)

        return scanned(one, right)

    return tuple(part.reshape(-1, *part.shape[2:])[:count] for part in jax.lax.map(row, padded))


def _tile_size() -> int:
    pairs = batch_bytes() // PAIR_BYTES
    return min(TILE, 1 << (pairs.bit_length() - 1) // 2)


def _sum(pieces: Iterator[tuple[Array, ...]]) -> tuple[Array, ...]:
    total = next(pieces)
    for piece in pieces:
        total = tuple(a + b for a, b in zip(total, piece, strict=True))
    return total


def _tiles(leaf: AnyArray, padding: int, size: int) -> Array:
    """Repeat the last state to fill the last tile (its columns are zero), and cut; by NumPy, which does not compile."""
    xp = namespace(leaf)
    filled = xp.concatenate([leaf, xp.repeat(leaf[-1:], padding, axis=0)])
    return jnp.asarray(filled.reshape(-1, size, *leaf.shape[1:]))


def _matrix(kernel: Kernel, left: PyTree, right: PyTree) -> Array:
    if isinstance(kernel, TileKernel):
        return kernel.tile(left, right)
    return jax.vmap(lambda p: jax.vmap(lambda q: kernel(p, q))(right))(left)


@eqx.filter_jit
def _vector_tile(kernel: Kernel, left: PyTree, right: PyTree, columns: Array | np.ndarray) -> tuple[Array, ...]:
    if isinstance(kernel, TileKernel):

        def block(states: PyTree, x: Array) -> tuple[Array, ...]:
            return (jnp.einsum("ij...,jm->i...m", kernel.tile(left, states), x),)

        return _over_blocks(block, right, columns)

    def one(p: PyTree) -> Array:
        return jnp.tensordot(jax.vmap(lambda q: kernel(p, q))(right), columns, axes=(0, 0))

    return (jax.vmap(one)(left),)


@eqx.filter_jit
def _scalar_tile(kernel: Kernel, left: PyTree, right: PyTree, columns: Array | np.ndarray) -> tuple[Array, ...]:
    """K x as a matrix product, and |K| W."""

    def block(states: PyTree, x: Array) -> tuple[Array, ...]:
        values = _matrix(kernel, left, states)
        return values @ x[:, 1:], jnp.abs(values) @ x[:, 0]

    return _over_blocks(block, right, columns)


def _over_blocks(block: Callable, right: PyTree, columns: Array | np.ndarray) -> tuple[Array, ...]:
    """Sum ``block`` over parts of the right states."""
    size = min(BLOCK, len(columns))
    return scanned(block, jax.tree.map(lambda x: x.reshape(-1, size, *x.shape[1:]), (right, jnp.asarray(columns))))
