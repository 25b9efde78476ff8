"""Energies of many k at once, for searching: batched, bucketed, counted."""

from __future__ import annotations

import equinox as eqx
import jax
import numpy as np

from jaxkin.devices import spread
from jaxkin.hamiltonian.bloch import BlochModel
from jaxkin.memory import batch_bytes
from jaxkin.surface.eigensolvers import batched_eigenvalues

TILE_BYTES = {"cpu": 2**25}
"""Size of one batch of Hamiltonians by backend, less if the memory budget says so: larger ones leave a CPU's cache."""
DEVICE_BYTES = 2**32
"""On other backends, which launches and transfers cost more: 32,768 points of 24 orbitals, twelve matrices each."""
SMALLEST_BUCKET, LARGEST_BUCKET = 64, 2**16
FEWEST = 32
"""Rows of a tile, at least: of 200 orbitals and 300 translations fewer are no faster, and more read H(R) again."""


class Spectrum:
    """ε_n(k) of a model over arrays of k, counting the diagonalisations."""

    def __init__(self, model: BlochModel):
        self.model = model
        self.evaluations = 0

    def __call__(self, k: np.ndarray) -> np.ndarray:
        """(N, d) model coordinates → (N, n) ascending energies in eV."""
        self.evaluations += len(k)
        energies = np.empty((len(k), self.model.size))
        for part, padded in buckets(k, tile_rows(self.model, arrays=4)):
            energies[part] = batched_eigenvalues(hamiltonians(self.model, spread(padded)), part.stop - part.start)
        return energies


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
        yield part, np.concatenate([k[part], np.repeat(k[part][-1:], size - count, axis=0)])


def hamiltonians(model: BlochModel, k: jax.Array | np.ndarray) -> jax.Array:
    """H (N, n, n) at N points k."""
    return _hamiltonians(model.packed(), k)


def operators(model: BlochModel, k: jax.Array | np.ndarray) -> tuple[jax.Array, jax.Array]:
    """H (N, n, n) and its covariant derivatives (N, 3, n, n) at N points k."""
    return _operators(model.packed(), k)


@eqx.filter_jit
def _hamiltonians(model: BlochModel, k: jax.Array | np.ndarray) -> jax.Array:
    return jax.vmap(model.hamiltonian)(k)


@eqx.filter_jit
def _operators(model: BlochModel, k: jax.Array | np.ndarray) -> tuple[jax.Array, jax.Array]:
    return jax.vmap(model.hamiltonian_and_derivative)(k)
