"""What impurities with a smooth potential do, interpolated through pivots: in O(M r²), or as matrices where r is large."""

from __future__ import annotations

from functools import cached_property

import jax.numpy as jnp
from jaxtyping import Array, Complex

from jaxkin import units
from jaxkin.disorder.amplitude import Terms
from jaxkin.disorder.collisions import Collisions, DenseCollisions
from jaxkin.disorder.factorised import FactorisedCollisions
from jaxkin.disorder.orbital_kernels import OrbitalJump, OrbitalKernel
from jaxkin.disorder.states import States
from jaxkin.memory import limit
from jaxkin.namespace import Number
from jaxkin.surface.tiles import map_over_tiles

ROWS = 256
"""States of a tile of pairs."""
SAMPLED = 64
"""States whose ∫|w^A|δ is summed."""
PAIR_BYTES = 80
"""What a pair of points takes as matrices."""
FULL = 4
"""Points for each pivot up to which matrices cost no more than O(M r²)."""


class SmoothCollisions(FactorisedCollisions):
    """As :class:`FactorisedCollisions` on many functions, whose ⟨p|p⟩ says little about single pairs."""

    def __init__(
        self,
        states: States,
        local: Complex[Array, "M r"],
        derivative: Complex[Array, "M 3 r"],
        terms: Terms,
        density: Number,
    ):
        super().__init__(states, local, derivative, terms, density)
        self._states, self._local = states, local

    def _pairs(self, rows: Array | slice) -> Array:
        """w^A between some states and all."""
        bra, ket = (self._local[rows], None), (self._local, None)
        return OrbitalKernel(self._terms.antisymmetric, self._scale).tile(bra, ket)  # pyright: ignore[reportArgumentType]

    @cached_property
    def antisymmetric_size(self) -> Array | float:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The largest of some states."""
        if not self._terms.antisymmetric:
            return 0.0
        some = slice(0, None, max(1, len(self.weights) // SAMPLED))
        return jnp.max(jnp.abs(self._pairs(some)) @ jnp.abs(self.weights))

    def for_solving(self) -> Collisions:
        return self.matrices() if PAIR_BYTES * len(self.weights) ** 2 <= limit() // 2 else self

    def matrices(self) -> DenseCollisions:
        """The same by matrices of all pairs."""
        every = (self._local, self._derivative)
        skew = self._terms.antisymmetric

        def rows(local: Array, derivative: Array, weights: Array) -> tuple[Array, ...]:
            mine = (local, derivative)
            s = OrbitalKernel(self._terms.symmetric, self._scale).tile(mine, every)
            a = OrbitalKernel(skew, self._scale).tile(mine, every) if skew else jnp.zeros((len(local), 0))
            jump = OrbitalJump(self._terms.amplitude, self._scale).tile(mine, every)
            return s, a, units.HBAR * jump * (weights[:, None] * self.weights)[..., None]

        s, a, jump = map_over_tiles(rows, ROWS, *every, self.weights)
        odd = a if skew else None
        return DenseCollisions(self._states, s, odd, jnp.moveaxis(jump, 2, 0), self.optical_theorem)


def smooth_collisions(
    states: States, local: Array, derivative: Array, terms: Terms, density: Number
) -> SmoothCollisions | DenseCollisions:
    """By what costs less."""
    collisions = SmoothCollisions(states, local, derivative, terms, density)
    few = len(states) <= FULL * local.shape[1] and PAIR_BYTES * len(states) ** 2 <= limit() // 2
    return collisions.matrices() if few else collisions
