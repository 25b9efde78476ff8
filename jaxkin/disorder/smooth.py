"""What impurities with a smooth potential do, interpolated through pivots: O(M r²), or matrices where r is large."""

from __future__ import annotations

from functools import cached_property

import jax.numpy as jnp
from jaxtyping import Array, Complex

from jaxkin import units
from jaxkin.disorder.amplitude import Terms
from jaxkin.disorder.collisions import Collisions, DenseCollisions
from jaxkin.disorder.factorised import FactorisedCollisions
from jaxkin.disorder.orbital_kernels import OrbitalKernel
from jaxkin.disorder.states import States
from jaxkin.memory import limit
from jaxkin.namespace import Number

SAMPLED = 64
"""States whose ∫|w^A|δ is summed."""
PAIR_BYTES = 160
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

    @cached_property
    def antisymmetric_size(self) -> Array | float:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The largest of some states."""
        if not self._terms.antisymmetric:
            return 0.0
        some = slice(0, None, max(1, len(self.weights) // SAMPLED))
        bra, ket = (self._local[some], None), (self._local, None)
        kernel = OrbitalKernel(self._terms.antisymmetric, self._scale)
        return jnp.max(jnp.abs(kernel.tile(bra, ket)) @ jnp.abs(self.weights))  # pyright: ignore[reportArgumentType]

    def for_solving(self) -> Collisions:
        return self.matrices() if PAIR_BYTES * len(self.weights) ** 2 <= limit() // 2 else self

    def matrices(self) -> DenseCollisions:
        """The same by matrices of all pairs."""
        bra, ket, t = self._local.conj(), self._local.T, self._terms.amplitude
        skew, w = self._terms.antisymmetric, self.weights
        amplitude, displaced = bra @ (t @ ket), []
        for c in range(3):
            slope = self._derivative[:, c]
            z = slope.conj() @ (t @ ket) + bra @ (t @ slope.T)
            jump = jnp.imag(z * amplitude.conj())
            displaced.append(-0.5 * units.HBAR * self._scale * (jump - jump.T) * w[:, None] * w)
        every = (self._local, None)
        s, a = (OrbitalKernel(terms, self._scale) for terms in (self._terms.symmetric, skew))
        odd = a.tile(every, every) if skew else None  # pyright: ignore[reportArgumentType]
        even = s.tile(every, every)  # pyright: ignore[reportArgumentType]
        return DenseCollisions(self._states, even, odd, jnp.stack(displaced), self.optical_theorem)


def smooth_collisions(
    states: States, local: Array, derivative: Array, terms: Terms, density: Number
) -> SmoothCollisions | DenseCollisions:
    """By what costs less."""
    collisions = SmoothCollisions(states, local, derivative, terms, density)
    few = len(states) <= FULL * local.shape[1] and PAIR_BYTES * len(states) ** 2 <= limit() // 2
    return collisions.matrices() if few else collisions
