"""Amplitudes between all points of a shell as N×N matrices: the on-shell (Heitler) T-matrix.

In the scaled amplitude √W_i T_ij √W_j the spectral density is the identity, so that
T = V − iπVWT is T = V(1 + iπV)⁻¹: unitary to rounding for any number of points.
"""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Complex

from jaxkin import units
from jaxkin.disorder.amplitude import Order, Term, golden_rule, optical_theorem, saturation, scattering_terms
from jaxkin.disorder.collisions import DenseCollisions
from jaxkin.disorder.states import States
from jaxkin.memory import demand
from jaxkin.namespace import Number

PAIR_BYTES, COMPILING = 320, 5 * 2**25
"""What a pair of points takes while the matrices are solved, and what the compiler takes; measured."""


def demand_matrices(count: int) -> None:
    """Refuse matrices of so many points that are beyond the memory budget.

    Raises:
        JaxkinError: they are.
    """
    demand(
        PAIR_BYTES * count**2 + COMPILING,
        f"on-shell matrices of {count} points",
        "raise it, use fewer points (a smaller n), or a PointImpurity, whose kernels factorise",
    )


def on_shell_collisions(
    states: States,
    order: Order,
    potential: Complex[Array, "M M"],
    reaction: Complex[Array, "M M"] | None,
    slope: Complex[Array, "3 M M"],
    density: Number,
) -> DenseCollisions:
    """Collisions from V_ij = ⟨p_i|V|p_j⟩ in eV Å^d.

    Args:
        states: the shell of M points; no weight may be negative.
        order: see :func:`scattering_terms`.
        potential: V, Hermitian; zero for points without weight.
        reaction: K, Hermitian; None for V itself: the real part of the Green function is left out.
        slope: ⟨D_a p_i|K|p_j⟩ with the derivative of everything that depends on p_i, eV Å^{d+1}; of V
            below ``"tmatrix"``.
        density: impurities per Å^d.
    """
    scale, given = golden_rule(density), jnp.asarray(states.weights)
    weights = jnp.where(given == 0, 1.0, given)
    known = potential if reaction is None else reaction
    t, symmetric, antisymmetric, jump = _kernels(order, weights, potential, known, slope, scale)
    theorem = taken = None
    if order == "tmatrix":
        taken = saturation(t, jnp.sqrt(weights[:, None] * weights) * potential) if reaction is None else None
        theorem = optical_theorem(t, scale, symmetric @ given, lambda m: jnp.real(jnp.diagonal(m)) / weights)
    odd = None if order == "born" else antisymmetric
    square = scale * jnp.abs(potential) ** 2
    own = given * jnp.diagonal(square), square @ given
    return DenseCollisions(states, symmetric, odd, -units.HBAR * scale * jump, theorem, taken, own)


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
