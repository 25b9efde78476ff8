"""Kernels of a random potential that is the same on all orbitals and smooth in the cell, for whole tiles of pairs."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxkin.disorder.pairs import TileKernel
from jaxkin.disorder.products import inner_products, real_form
from jaxkin.namespace import AnyArray

States = tuple[AnyArray, AnyArray, AnyArray]
"""k in Å⁻¹ (N, 3), |u⟩ (N, n) and |D_a u⟩ (N, 3, n) in Å."""


class Crystal(eqx.Module):
    """What the nearest image of a k is found with.

    Attributes:
        basis: reciprocal vectors (d, 3) in Å⁻¹; None in a continuum.
        places: the different positions of orbitals, (s, 3) in Å.
        members: the orbitals at each.
    """

    basis: AnyArray | None
    places: AnyArray
    members: tuple[tuple[int, ...], ...] = eqx.field(static=True)


class Overlap(eqx.Module):
    """C(q) and ⟨u|u'⟩ of pairs, q = k − k' − G to the nearest image of k', where |u'⟩ is e^{−iG·τ}|u'⟩."""

    correlation: Callable
    crystal: Crystal

    def pairs(self, left: States, right: States) -> tuple[Array, list[Array]]:
        """C, (I, J), and the phase e^{−iG·x} at each place, (I, J)."""
        q = jnp.asarray(left[0])[:, None, :] - jnp.asarray(right[0])
        basis, phases = self.crystal.basis, [jnp.ones(())]
        if basis is not None:
            back = jax.lax.stop_gradient(_nearest(q, jnp.asarray(basis))) @ jnp.asarray(basis)
            q = q - back
            phases = [jnp.exp(-1j * (back @ x)) for x in jnp.asarray(self.crystal.places)]
        return jax.vmap(jax.vmap(self.correlation))(q), phases

    def braket(self, bra: Array, ket: Array, phases: list[Array]) -> Array:
        """Σ_x e^{−iG·x} Σ_{m at x} b*_m k_m of rows of both, (I, J)."""
        total = jnp.zeros(())
        for phase, here in zip(phases, map(np.array, self.crystal.members), strict=True):
            total = total + phase * jax.lax.complex(*inner_products(real_form(bra[:, here]), ket[:, here]))
        return total


def _nearest(q: Float[Array, "I J 3"], basis: Float[Array, "d 3"]) -> Float[Array, "I J d"]:
    """The integers of the G with the smallest |q − G|."""
    reduced = q @ jnp.linalg.pinv(basis)
    whole = jnp.round(reduced)
    steps = np.array(list(product((0.0, -1.0, 1.0), repeat=len(basis))))
    metric = basis @ basis.T
    lengths = jnp.sum((steps @ basis) ** 2, axis=1)
    # |f − s|² − |f|²; that the first of equals is taken leaves out a set of measure zero
    return whole + jnp.asarray(steps)[jnp.argmin(lengths - 2 * (reduced - whole) @ metric @ steps.T, axis=-1)]


class OverlapKernel(TileKernel):
    """s C(q) |⟨u|u'⟩|².

    Args:
        overlap: C and ⟨u|u'⟩.
        scale: s.
    """

    overlap: Overlap
    scale: Any

    def tile(self, left: States, right: States) -> Float[Array, "I J"]:
        size, phases = self.overlap.pairs(left, right)
        amplitude = self.overlap.braket(jnp.asarray(left[1]), jnp.asarray(right[1]), phases)
        return self.scale * size * (amplitude.real**2 + amplitude.imag**2)


class OverlapJump(TileKernel):
    """w^S δr_c = −s C(q) Im{[⟨D_c u|u'⟩ + ⟨u|D_c u'⟩]⟨u|u'⟩*}, Eq. (36) of a V that depends on p − p' only."""

    overlap: Overlap
    scale: Any

    def tile(self, left: States, right: States) -> Float[Array, "I J 3"]:
        size, phases = self.overlap.pairs(left, right)
        (u, du), (other, d_other) = (map(jnp.asarray, states[1:]) for states in (left, right))
        amplitude = self.overlap.braket(u, other, phases)
        slopes = [
            self.overlap.braket(du[:, c], other, phases) + self.overlap.braket(u, d_other[:, c], phases)
            for c in range(3)
        ]
        moved = jnp.stack([(slope * amplitude.conj()).imag for slope in slopes], axis=-1)
        return -self.scale * size[..., None] * moved
