"""Sums over the states of a shell in the few orbitals that impurities act on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float

from jaxkin.disorder.products import real_form
from jaxkin.surface.tiles import map_over_tiles, sum_over_tiles

TILE_NUMBERS = {"cpu": 2**18}
"""Real numbers of a tile of states whose product with a few columns stays in a CPU's cache (twice as fast) ..."""
LARGEST = 2**25
"""... and of one on an accelerator, where only the memory counts."""


class OrbitalMoments:
    """Σ_j x_j |j⟩⟨j| and ⟨i|F|i⟩ of M states on d orbitals, O(M d²) for each column, in tiles.

    Tiles of states are 2d real numbers each, in which both are products of real matrices.

    Args:
        local: ⟨m|p⟩, (M, d).
    """

    def __init__(self, local: Complex[Array, "M d"]):
        self._local = local
        numbers = TILE_NUMBERS.get(jax.default_backend(), LARGEST)
        self._rows = max(256, 1 << (numbers // (2 * local.shape[1])).bit_length() - 1)

    def moment(self, x: Float[Array, "M m"]) -> Complex[Array, "m d d"]:
        """Σ_j x_j |j⟩⟨j| of every column."""
        g = jnp.swapaxes(self.summed(_project, x), 0, 1)
        d = g.shape[1] // 2
        return g[:, :d, :d] + g[:, d:, d:] + 1j * (g[:, d:, :d] - g[:, :d, d:])

    def expected(self, forms: Complex[Array, "m d d"]) -> Float[Array, "M m"]:
        """⟨i|F|i⟩ of Hermitian matrices F."""
        a, b = forms.real, forms.imag
        whole = jnp.concatenate([jnp.concatenate([a, -b], axis=2), jnp.concatenate([b, a], axis=2)], axis=1)
        real = jnp.swapaxes(whole, 0, 1)  # on (Re u, Im u)
        return self.mapped(lambda tile: _expand(tile, real))

    def summed(self, function: Callable, *columns: Array) -> Any:
        """Σ ``function(states, *columns)`` over tiles; :func:`complex_states` of what it gets first are states."""
        return sum_over_tiles(self._on_real(function), self._rows, self._local, *columns)

    def mapped(self, function: Callable, *columns: Array) -> Any:
        """``function(states, *columns)`` of all tiles as one."""
        return map_over_tiles(self._on_real(function), self._rows, self._local, *columns)

    @staticmethod
    def _on_real(function: Callable) -> Callable:
        return lambda tile, *columns: function(real_form(tile), *columns)


def complex_states(tile: Float[Array, "N 2d"]) -> Complex[Array, "N d"]:
    """⟨m|p⟩ of a tile."""
    d = tile.shape[1] // 2
    return tile[:, :d] + 1j * tile[:, d:]


def dagger(matrices: Complex[Array, "... d d"]) -> Complex[Array, "... d d"]:
    """M† of every matrix."""
    return jnp.conj(jnp.swapaxes(matrices, -1, -2))


def hermitian(matrices: Complex[Array, "... d d"]) -> Complex[Array, "... d d"]:
    """½(M + M†) of every matrix."""
    return 0.5 * (matrices + dagger(matrices))


def _project(tile: Float[Array, "N 2d"], x: Float[Array, "N m"]) -> Float[Array, "2d m 2d"]:
    n, numbers = tile.shape
    columns = (tile[:, None, :] * x[:, :, None]).reshape(n, -1)
    return (tile.T @ columns).reshape(numbers, -1, numbers)


def _expand(tile: Float[Array, "N 2d"], forms: Float[Array, "2d m 2d"]) -> Float[Array, "N m"]:
    numbers = tile.shape[1]
    images = (tile @ forms.reshape(numbers, -1)).reshape(len(tile), -1, numbers)
    return jnp.einsum("nmd,nd->nm", images, tile)
