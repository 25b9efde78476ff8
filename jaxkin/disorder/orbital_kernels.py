"""Kernels of impurities that act in d orbitals, for whole tiles of pairs at a time.

The amplitudes ⟨p|X|p'⟩ between all states of a tile are matrix products.
"""

from __future__ import annotations

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float

from jaxkin.disorder.amplitude import Term
from jaxkin.disorder.pairs import TileKernel
from jaxkin.disorder.products import inner_products, real_form

Orbitals = tuple[Complex[Array, "N d"], Complex[Array, "N 3 d"]]
"""⟨m|p⟩, and ⟨m|D_a p⟩ in Å."""


class OrbitalKernel(TileKernel):
    """s Σ Re[c ⟨p|X|p'⟩⟨p|Y|p'⟩*]: w^S or w^A in the unit of s |X|².

    Args:
        terms: (c, X, Y) in the impurity's orbitals.
        scale: s.
    """

    matrices: tuple[Array, ...]
    terms: tuple[tuple[complex, int, int], ...] = eqx.field(static=True)
    scale: float

    def __init__(self, terms: tuple[Term, ...], scale: float):
        # amplitudes that several terms share are computed once
        known = {id(matrix): matrix for term in terms for matrix in (term.left, term.right)}
        number = {key: n for n, key in enumerate(known)}
        self.matrices = tuple(known.values())
        self.terms = tuple((complex(c), number[id(left)], number[id(right)]) for c, left, right in terms)
        self.scale = scale

    def tile(self, left: Orbitals, right: Orbitals) -> Float[Array, "I J"]:
        bra = real_form(left[0])
        amplitudes = [inner_products(bra, right[0] @ matrix.T) for matrix in self.matrices]
        total = jnp.zeros(())
        for c, i, j in self.terms:
            (x, ix), (y, iy) = amplitudes[i], amplitudes[j]
            if c.real:
                total = total + c.real * (x * y + ix * iy)
            if c.imag:
                total = total - c.imag * (ix * y - x * iy)
        return self.scale * total


class OrbitalJump(TileKernel):
    """The part of w δr that is odd under p ↔ p', −½s Im{z_T x_T* + z_T† x_T†*}.

    Here x_T = ⟨p|T|p'⟩ and z_T = ⟨Dp|T|p'⟩ + ⟨p|T|Dp'⟩; the exchange of p and p' is that of T and T†.

    Args:
        amplitude: T in the impurity's orbitals.
        scale: s.
    """

    amplitude: Array
    scale: float

    def tile(self, left: Orbitals, right: Orbitals) -> Float[Array, "I J 3"]:
        bra = real_form(left[0])
        slopes = [real_form(jnp.concatenate([left[1][:, a], left[0]], axis=1)) for a in range(3)]
        total = jnp.zeros(())
        for t in (self.amplitude, self.amplitude.conj().T):
            ket = right[0] @ t.T
            x, ix = inner_products(bra, ket)
            parts = []
            for a, slope in enumerate(slopes):
                z, iz = inner_products(slope, jnp.concatenate([ket, right[1][:, a] @ t.T], axis=1))
                parts.append(iz * x - z * ix)
            total = total + jnp.stack(parts, axis=-1)
        return -0.5 * self.scale * total
