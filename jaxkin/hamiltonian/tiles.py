"""Functions of many points, some rows at a time: one text for a loop of calls and for a loop inside what JAX traces."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxkin.devices import spread
from jaxkin.hamiltonian.bloch import BlochModel
from jaxkin.memory import batch_bytes
from jaxkin.namespace import AnyArray, is_traced

TILE_BYTES = {"cpu": 2**25}
"""Size of one batch of Hamiltonians by backend, less if the memory budget says so: larger ones leave a CPU's cache."""
DEVICE_BYTES = 2**32
"""On other backends, which launches and transfers cost more: 32,768 points of 24 orbitals, twelve matrices each."""
SMALLEST_BUCKET, LARGEST_BUCKET = 64, 2**16
FEWEST = 32
"""Rows of a tile, at least: of 200 orbitals and 300 translations fewer are no faster, and more read H(R) again."""


def tile_rows(model: BlochModel, arrays: int = 1) -> int:
    """How many k a tile holds when each needs ``arrays`` complex (n, n) matrices; a power of two."""
    each = 16 * arrays * model.size**2
    size = TILE_BYTES.get(jax.default_backend(), DEVICE_BYTES)
    rows = min(max(size // each, FEWEST), LARGEST_BUCKET, max(batch_bytes() // each, 1))
    return 1 << (rows.bit_length() - 1)


def buckets(k: np.ndarray, rows: int):
    """Yield (slice, padded k): tiles of ``rows``, the last padded to a power of two so that few shapes compile."""
    for start in range(0, len(k), rows):
        part = slice(start, min(start + rows, len(k)))
        count = part.stop - part.start
        size = min(rows, max(SMALLEST_BUCKET, 1 << (count - 1).bit_length()))
        yield part, filled(k[part], size)


def filled(x: np.ndarray, size: int) -> np.ndarray:
    """``size`` rows, the last of ``x`` (N, ...) repeated."""
    return np.concatenate([x, np.repeat(x[-1:], size - len(x), axis=0)]) if len(x) < size else x


def over_tiles(function: Callable, rows: int, *arrays: AnyArray, given: Any = ()) -> Any:
    """``function(*tile, *given)`` of all tiles of arrays (N, ...) that share their first axis, leaves (N, ...).

    Where nothing is traced it is a loop of calls on bucketed tiles, and the leaves are NumPy's; else one compiled loop
    over tiles of one size, or a single tile without a loop, which reverse mode computes again.
    """
    count = len(arrays[0])
    if not is_traced(arrays, given):
        whole = None
        for part, padded in buckets(np.arange(count), rows):
            with jax.ensure_compile_time_eval():  # something else may be traced
                results = function(*(spread(array[padded]) for array in arrays), *given)
            if whole is None:  # at once, as parts that are joined take twice the memory
                whole = jax.tree.map(lambda x: np.empty((count, *x.shape[1:]), x.dtype), results)
            for column, x in zip(jax.tree.leaves(whole), jax.tree.leaves(results), strict=True):
                column[part] = np.asarray(x)[: part.stop - part.start]
        return whole
    tile = jax.checkpoint(lambda *tile: function(*tile, *given))
    if count <= rows:
        return tile(*map(jnp.asarray, arrays))
    fill = -count % rows

    def tiled(x: AnyArray) -> Any:
        return jnp.pad(x, ((0, fill), *((0, 0),) * (x.ndim - 1)), mode="edge").reshape(-1, rows, *x.shape[1:])

    results = jax.lax.map(lambda parts: tile(*parts), tuple(map(tiled, arrays)))
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:])[:count], results)


def sum_over_tiles(function: Callable, rows: int, *arrays: AnyArray) -> Any:
    """Σ function(*tile) over tiles of JAX arrays (N, ...), the last filled up with zeros; a compiled loop."""
    count = len(arrays[0])
    if count <= rows:
        return function(*arrays)
    return scanned(jax.checkpoint(function), tuple(_cut(x, rows) for x in arrays))


def scanned(function: Callable, tiles: Any) -> Any:
    """Σ function(*tile) over the leading axis of a tuple of pytrees; a compiled loop."""
    shapes = jax.eval_shape(function, *jax.tree.map(lambda x: x[0], tiles))
    start = jax.tree.map(lambda shape: jnp.zeros(shape.shape, shape.dtype), shapes)
    return jax.lax.scan(lambda total, tile: (jax.tree.map(jnp.add, total, function(*tile)), None), start, tiles)[0]


def map_over_tiles(function: Callable, rows: int, *arrays: AnyArray) -> Any:
    """``function(*tile)``, leaves (rows, ...), of all tiles of JAX arrays as one, (N, ...); a compiled loop."""
    count = len(arrays[0])
    if count <= rows:
        return function(*arrays)
    results = jax.lax.map(jax.checkpoint(lambda tile: function(*tile)), tuple(_cut(x, rows) for x in arrays))
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:])[:count], results)


def _cut(x: AnyArray, rows: int) -> jax.Array:
    return jnp.pad(x, ((0, -len(x) % rows), *((0, 0),) * (x.ndim - 1))).reshape(-1, rows, *x.shape[1:])
