"""Point impurities by N×N matrices and by kernels of pairs: what is faster is compared with it."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxkin.disorder.amplitude import golden_rule, scattering_terms
from jaxkin.disorder.collisions import Collisions, SummedCollisions
from jaxkin.disorder.onshell import on_shell_collisions
from jaxkin.disorder.orbital_kernels import OrbitalKernel, Orbitals
from jaxkin.disorder.pairs import TileKernel
from jaxkin.disorder.pairwise import PairwiseCollisions
from jaxkin.disorder.point import PointScatterer, local_states
from jaxkin.disorder.products import inner_products, real_form
from jaxkin.disorder.states import States
from jaxkin.disorder.two_impurities import density_matrix


def evaluated(scatterer: PointScatterer, states: States, way: str) -> Collisions:
    """The collisions of point impurities: ``"factorised"`` as they are, ``"pairwise"`` or ``"on-shell"``."""
    if way == "factorised":
        return scatterer(states)
    return SummedCollisions(states, [_site(scatterer, states, n, way) for n in range(len(scatterer.sites))])


def _site(scatterer: PointScatterer, states: States, number: int, way: str) -> Collisions:
    order, density = scatterer.orders[number], scatterer.densities[number]
    local, derivative = local_states(states, scatterer.sites[number].orbitals, scatterer.centres[number])
    bare, reaction = scatterer._potentials(number)
    if way == "on-shell":
        v, k = (local.conj() @ m @ local.T for m in (bare, reaction))
        slope = jnp.einsum("iam,mn,jn->aij", derivative.conj(), reaction, local)
        return on_shell_collisions(states, order, v, k, slope, density)
    terms, scale = scattering_terms(order, bare, reaction, density_matrix(states, local)), golden_rule(density)
    skew = OrbitalKernel(terms.antisymmetric, scale) if terms.antisymmetric else None
    jump = OrbitalJump(terms.amplitude, scale)
    return PairwiseCollisions(states, (local, derivative), OrbitalKernel(terms.symmetric, scale), skew, jump)


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
