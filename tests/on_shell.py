"""Scattering among the points of a shell by N×N matrices and kernels of pairs: what is faster is compared with it.

In the scaled amplitude √W_i T_ij √W_j the spectral density is the identity, so that
T = V − iπVWT is T = V(1 + iπV)⁻¹: unitary to rounding for any number of points.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from jaxkin import units
from jaxkin.disorder.amplitude import Order, Term, golden_rule, optical_theorem, scattering_terms
from jaxkin.disorder.collisions import Collisions, DenseCollisions, SummedCollisions
from jaxkin.disorder.finite_range import FiniteRangeScatterer
from jaxkin.disorder.orbital_kernels import OrbitalKernel, Orbitals
from jaxkin.disorder.pairs import TileKernel
from jaxkin.disorder.pairwise import PairwiseCollisions
from jaxkin.disorder.pivots import members
from jaxkin.disorder.point import PointScatterer, local_states
from jaxkin.disorder.products import inner_products, real_form
from jaxkin.disorder.states import States
from jaxkin.disorder.two_impurities import density_matrix
from jaxkin.namespace import Number


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


def on_shell(scatterer: FiniteRangeScatterer, states: States) -> DenseCollisions:
    """The collisions of a potential of finite range at one position, from V between all points."""
    (factors,), (k, (u, du)) = scatterer.factors, (jnp.asarray(states.k), map(jnp.asarray, states.bloch))
    at = members(scatterer.group)
    potential, slope = [], []
    for rows in np.array_split(np.arange(len(k)), -(-len(k) // 64)):
        f, moved = factors(k[rows], k)  # (s, I, J), (3, s, I, J)
        bra = jnp.einsum("im,ms->sim", u[rows].conj(), at)
        dbra = jnp.einsum("iam,ms->asim", du[rows].conj(), at)
        overlap = bra @ u.T
        potential.append(jnp.sum(f * overlap, axis=0))
        slope.append(jnp.sum(f * (dbra @ u.T) + moved * overlap, axis=1))
    v, slopes = scatterer.scale * jnp.concatenate(potential), scatterer.scale * jnp.concatenate(slope, axis=1)
    v = 0.5 * (v + v.conj().T)
    return on_shell_collisions(states, scatterer.order, v, v, slopes, scatterer.density)


def on_shell_collisions(
    states: States,
    order: Order,
    potential: Complex[Array, "M M"],
    reaction: Complex[Array, "M M"],
    slope: Complex[Array, "3 M M"],
    density: Number,
) -> DenseCollisions:
    """Collisions from V_ij = ⟨p_i|V|p_j⟩ in eV Å^d.

    Args:
        states: the shell of M points; no weight may be negative.
        order: see :func:`scattering_terms`.
        potential: V, Hermitian; zero for points without weight.
        reaction: K, Hermitian; V itself where the real part of the Green function is left out.
        slope: ⟨D_a p_i|K|p_j⟩ with the derivative of everything that depends on p_i, eV Å^{d+1}; of V
            below ``"tmatrix"``.
        density: impurities per Å^d.
    """
    scale, given = golden_rule(density), jnp.asarray(states.weights)
    weights = jnp.where(given == 0, 1.0, given)
    t, symmetric, antisymmetric, jump = _kernels(order, weights, potential, reaction, slope, scale)
    theorem = None
    if order == "tmatrix":
        theorem = optical_theorem(t, scale, symmetric @ given, lambda m: jnp.real(jnp.diagonal(m)) / weights)
    odd = None if order == "born" else antisymmetric
    return DenseCollisions(states, symmetric, odd, -units.HBAR * scale * jump, theorem)


def _kernels(order: Order, weights: Array, potential: Array, reaction: Array, slope: Array, scale: Number):
    """T in the scaled amplitudes, w^S, w^A, and the odd part of Im Z T*, (3, M, M)."""
    root = jnp.sqrt(weights)
    scaled = root[:, None] * root
    terms = scattering_terms(order, scaled * potential, scaled * reaction, jnp.eye(len(root)))
    t = terms.amplitude
    # Derivatives act on the outer factors only: Z = (∂V)(1 − iπWT) + (1 − iπTW)(V∂).
    dressed = jnp.eye(len(root)) - 1j * jnp.pi * t if order == "tmatrix" else None
    jump = []
    for part in slope:
        outer = scaled * part
        inner = outer.conj().T
        z = outer + inner if dressed is None else outer @ dressed + dressed @ inner
        j = jnp.imag(z * t.conj())
        jump.append(0.5 * (j - j.T))
    symmetric, antisymmetric = (_kernel(part, scale / scaled**2) for part in terms[:2])
    return t, symmetric, antisymmetric, jnp.stack(jump)


def _kernel(terms: tuple[Term, ...], scale: Array) -> Array:
    total = jnp.zeros(scale.shape)
    for factor, left, right in terms:
        total = total + jnp.real(factor * left * right.conj())
    return scale * total


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
