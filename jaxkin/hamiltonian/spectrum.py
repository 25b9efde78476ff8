"""H(k), its derivatives and its energies at many k at once: batched, bucketed, counted."""

from __future__ import annotations

import equinox as eqx
import jax
import numpy as np

from jaxkin.devices import spread
from jaxkin.hamiltonian.bloch import BlochModel
from jaxkin.hamiltonian.eigensolvers import batched_eigenvalues
from jaxkin.hamiltonian.tiles import buckets, tile_rows


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
