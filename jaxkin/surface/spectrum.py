"""Energies of many k at once, for searching: batched, bucketed, counted.

On a CPU the eigenvalues come from NumPy's LAPACK, one batch per core with one LAPACK thread each:
2-4 times faster than XLA's (which always computes vectors), and LAPACK's own threads on small
matrices fight XLA's. On an accelerator they come from XLA.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from threadpoolctl import ThreadpoolController

from jaxkin.hamiltonian.bloch import BlochModel

TILE_BYTES = 2**26
"""Upper size of one batch of Hamiltonians."""
SMALLEST_BUCKET = 64


class Spectrum:
    """ε_n(k) of a model over arrays of k, counting the diagonalisations."""

    def __init__(self, model: BlochModel):
        self.model = model
        self.evaluations = 0

    def __call__(self, k: np.ndarray) -> np.ndarray:
        """(N, d) model coordinates → (N, n) ascending energies in eV."""
        self.evaluations += len(k)
        energies = np.empty((len(k), self.model.size))
        for part, padded in buckets(k, tile_rows(self.model)):
            energies[part] = _eigenvalues(self.model, padded)[: part.stop - part.start]
        return energies


def tile_rows(model: BlochModel, arrays: int = 1) -> int:
    """How many k a tile holds when each needs ``arrays`` complex (n, n) matrices; a power of two."""
    rows = TILE_BYTES // (16 * arrays * model.size**2)
    return int(2 ** np.clip(np.floor(np.log2(max(rows, 1))), 6, 16))


def buckets(k: np.ndarray, rows: int):
    """Yield (slice, padded k): tiles of ``rows``, the last padded to a power of two so that few shapes compile."""
    for start in range(0, len(k), rows):
        part = slice(start, min(start + rows, len(k)))
        count = part.stop - part.start
        size = min(rows, max(SMALLEST_BUCKET, 1 << (count - 1).bit_length()))
        yield part, np.concatenate([k[part], np.repeat(k[part][-1:], size - count, axis=0)])


def _eigenvalues(model: BlochModel, k: np.ndarray) -> np.ndarray:
    if jax.default_backend() != "cpu":
        return np.asarray(_eigenvalues_on_device(model, k))
    h = np.asarray(_hamiltonians(model, k))
    with one_lapack_thread():
        parts = np.array_split(h, min(_workers(), max(1, len(h) // 32)))
        return np.concatenate(list(_pool().map(np.linalg.eigvalsh, parts)))


@eqx.filter_jit
def _hamiltonians(model: BlochModel, k: jax.Array | np.ndarray) -> jax.Array:
    return jax.vmap(model.hamiltonian)(k)


@eqx.filter_jit
def _eigenvalues_on_device(model: BlochModel, k: jax.Array | np.ndarray) -> jax.Array:
    return jnp.linalg.eigvalsh(jax.vmap(model.hamiltonian)(k))


def one_lapack_thread():
    """Context in which BLAS and LAPACK use one thread each (a 40-fold loss was measured without)."""
    return _controller().limit(limits=1)


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()


def _workers() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_workers(), thread_name_prefix="jaxkin")
