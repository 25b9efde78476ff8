"""Collisions given by kernels of two states, summed in tiles: no M×M array is made."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from jaxkin import units
from jaxkin.disorder.collisions import Collisions
from jaxkin.disorder.pairs import Kernel, TileKernel, pair_apply, pair_integral
from jaxkin.disorder.states import States

ROWS = 512
"""States of a tile of single states."""


class PairwiseCollisions(Collisions):
    """Kernels as JAX functions of two states or of tiles.

    Args:
        states: the shell.
        arguments: pytree with leaves (M, ...), of which the kernels get two members (p, p').
        symmetric, antisymmetric: w^S and w^A in eV Å^d / ps; None is zero.
        jump: w^S δr, (3,), in eV Å^{d+1} / ps; None is zero.
        tau: transport time in ps; None takes it from ``symmetric``.
    """

    def __init__(
        self,
        states: States,
        arguments: Any,
        symmetric: Kernel,
        antisymmetric: Kernel | None,
        jump: Kernel | None,
        tau: Array | None = None,
    ):
        super().__init__(states)
        self._arguments, self._tau = arguments, tau
        self._kernels, self._jump = (symmetric, antisymmetric), jump

    def symmetric(self, x: Array) -> Array:
        return pair_apply(self._kernels[0], self._arguments, self.weights, x)[0]

    def antisymmetric(self, x: Array) -> Array:
        return jnp.zeros_like(x) if self._kernels[1] is None else self._skew(x)[0]

    def _skew(self, x: Array) -> tuple[Array, Array]:
        assert self._kernels[1] is not None
        return pair_apply(self._kernels[1], self._arguments, self.weights, x)

    @cached_property
    def _sized(self) -> tuple[Array, Array, Array | float]:
        """S and A of 1 and v, and ∫|w^A|δ, which comes with the latter."""
        columns = jnp.concatenate([jnp.ones((len(self.weights), 1)), self.velocity], axis=1)
        if self._kernels[1] is None:
            return self.symmetric(columns), jnp.zeros_like(columns), 0.0
        skewed, sizes = self._skew(columns)
        return self.symmetric(columns), skewed, jnp.max(jnp.where(self.weights != 0, sizes, 0.0))

    @property
    def _of_velocity(self) -> tuple[Array, Array]:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self._sized[:2]

    @property
    def own_scattering(self) -> tuple[Array, Array]:
        def own(one: Any) -> Array:
            pair = jax.tree.map(lambda x: jnp.asarray(x)[None], one)
            kernel = self._kernels[0]
            return kernel.tile(pair, pair)[0, 0] if isinstance(kernel, TileKernel) else kernel(one, one)

        return self.weights * jax.lax.map(own, self._arguments, batch_size=ROWS), self.rate

    @property
    def antisymmetric_size(self) -> Array | float:
        return self._sized[2]

    @property
    def transport_time(self) -> Any:  # pyright: ignore[reportIncompatibleVariableOverride]
        return super().transport_time if self._tau is None else jnp.asarray(self._tau)

    @cached_property
    def side_jump_velocity(self) -> Array:
        return self._moved(jnp.ones((len(self.weights), 1)))[:, :, 0]

    def displaced(self, left: Array, right: Array) -> Array:
        return jnp.einsum("im,icn->cmn", self.weights[:, None] * left, self._moved(right))

    def _moved(self, x: Array) -> Array:
        """D_c x, (M, 3, m)."""
        if self._jump is None:
            return jnp.zeros((len(x), 3, x.shape[1]))
        return units.HBAR * pair_integral(self._jump, self._arguments, self.weights[:, None] * x)
