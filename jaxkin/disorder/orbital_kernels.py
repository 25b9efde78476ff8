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
