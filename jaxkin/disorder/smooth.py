"""What impurities with a smooth potential do, interpolated through pivots: O(M r²)."""

from __future__ import annotations

from functools import cached_property

import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex

from jaxkin import units
from jaxkin.disorder.amplitude import Term, Terms, optical_theorem
from jaxkin.disorder.collisions import Collisions, DenseCollisions
from jaxkin.disorder.factorised import FactorisedCollisions
from jaxkin.disorder.orbital_kernels import OrbitalKernel
from jaxkin.disorder.orbital_moments import hermitian
from jaxkin.disorder.states import States
from jaxkin.hamiltonian.tiles import sum_over_tiles
from jaxkin.memory import limit
from jaxkin.namespace import Number

ROWS = 4096
"""States of a tile."""
SAMPLED = 64
"""States whose ∫|w^A|δ is summed."""
PAIR_BYTES = 160
"""What a pair of points takes as matrices."""


class SmoothCollisions(FactorisedCollisions):
    """As :class:`FactorisedCollisions` on many functions, whose ⟨p|p⟩ says little about single pairs."""

    def __init__(
        self,
        states: States,
        local: Complex[Array, "M r"],
        derivative: Complex[Array, "M 3 r"],
        terms: Terms,
        density: Number,
        potential: Complex[Array, "r r"],
        saturation: Array | None = None,
    ):
        super().__init__(states, local, derivative, terms, density)
        self._states, self._local, self._saturation = states, local, saturation
        self._potential = potential

    @property
    def saturation(self) -> Array | None:
        return self._saturation

    @property
    def own_scattering(self) -> tuple[Array, Array]:
        v = self._potential
        rho = self._orbitals.moment(self.weights[:, None])[0]
        forward, square = self._orbitals.expected(jnp.stack([v, hermitian(v @ rho @ v)])).T
        return self._scale * self.weights * forward**2, self._scale * square

    @cached_property
    def antisymmetric_size(self) -> Array | float:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The largest of some states."""
        if not self._terms.antisymmetric:
            return 0.0
        local = self._local
        some = local[:: max(1, len(local) // SAMPLED)]
        kernel = OrbitalKernel(self._terms.antisymmetric, self._scale)

        def size(weights: Array, tile: Array) -> Array:
            return jnp.abs(kernel.tile((some, some), (tile, tile))) @ jnp.abs(weights)

        return jnp.max(sum_over_tiles(size, ROWS, self.weights, local))

    def for_solving(self) -> Collisions:
        return self._dense() if PAIR_BYTES * len(self._local) ** 2 <= limit() // 2 else self

    def _dense(self) -> DenseCollisions:
        """The same by matrices of all pairs, O(M² r)."""
        local, derivative, terms, scale, w = self._local, self._derivative, self._terms, self._scale, self.weights
        bra, ket = local.conj(), local.T
        made: dict[int, Array] = {}

        def between(matrix: Array) -> Array:
            """⟨p|X|p'⟩, each X once."""
            if id(matrix) not in made:
                made[id(matrix)] = bra @ (matrix @ ket)
            return made[id(matrix)]

        def kernel(parts: tuple[Term, ...]) -> Array:
            return scale * sum((jnp.real(c * between(x) * between(y).conj()) for c, x, y in parts), jnp.zeros(()))

        even, odd = kernel(terms.symmetric), kernel(terms.antisymmetric) if terms.antisymmetric else None
        t, theorem = terms.amplitude, None
        amplitude, left, right = between(t), bra @ t, t @ ket

        def displaced(c: Array) -> Array:
            slope = derivative[:, c]
            jump = jnp.imag((slope.conj() @ right + left @ slope.T) * amplitude.conj())
            return -0.5 * units.HBAR * scale * (jump - jump.T) * w[:, None] * w

        if terms.unitary:
            rate = even @ w
            theorem = optical_theorem(t, scale, rate, lambda form: jnp.real(jnp.sum((bra @ form) * local, axis=1)))
        return DenseCollisions(
            self._states,
            even,
            odd,
            jax.lax.map(displaced, jnp.arange(3)),
            theorem,
            self._saturation,
            self.own_scattering,
        )
