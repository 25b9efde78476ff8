"""Functions of many points, some rows at a time: one text for a loop of calls and for a loop inside what JAX traces."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxkin.devices import spread
from jaxkin.namespace import AnyArray, is_traced
from jaxkin.surface.spectrum import buckets


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
    return scanned(jax.checkpoint(function), tuple(_filled(x, rows) for x in arrays))


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
    results = jax.lax.map(jax.checkpoint(lambda tile: function(*tile)), tuple(_filled(x, rows) for x in arrays))
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:])[:count], results)


def _filled(x: AnyArray, rows: int) -> jax.Array:
    return jnp.pad(x, ((0, -len(x) % rows), *((0, 0),) * (x.ndim - 1))).reshape(-1, rows, *x.shape[1:])
