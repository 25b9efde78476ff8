"""Amplitudes between all points of a shell as N×N matrices: the on-shell (Heitler) T-matrix.

In the scaled amplitude √W_i T_ij √W_j the spectral density is the identity, so that
T = V − iπVWT is T = V(1 + iπV)⁻¹: unitary to rounding for any number of points.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex

from jaxkin import units
from jaxkin.disorder.amplitude import Order, Term, golden_rule, optical_theorem, scattering_terms
from jaxkin.disorder.collisions import DenseCollisions
from jaxkin.disorder.states import States
from jaxkin.errors import JaxkinError
from jaxkin.memory import demand
from jaxkin.namespace import Number, is_traced

SMALLEST = 64
"""Points of the smallest matrices."""
PAIR_BYTES, COMPILING = 320, 5 * 2**25
"""What a pair of points takes while the matrices are solved, and what the compiler takes; measured."""


def padded_size(count: int) -> int:
    """The next of few sizes, at most an eighth larger, so that few shapes of matrices compile.

    Raises:
        JaxkinError: matrices of this size are beyond the memory budget.
    """
    step = max(SMALLEST, 1 << max(count.bit_length() - 4, 0))
    size = -(-max(count, 1) // step) * step
    demand(
        PAIR_BYTES * size**2 + COMPILING,
        f"on-shell matrices of {count} points",
        "raise it, use fewer points (a smaller n), or a PointImpurity, whose kernels factorise",
    )
    return size


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
        states: the shell of N points; its weights must be positive.
        order: see :func:`scattering_terms`.
        potential: V, Hermitian; zero beyond the N points, see :func:`padded_size`, and on traced points
            without weight.
        reaction: K, Hermitian; V itself where the real part of the Green function is left out.
        slope: ⟨D_a p_i|K|p_j⟩ with the derivative of everything that depends on p_i, eV Å^{d+1}; of V
            below ``"tmatrix"``.
        density: impurities per Å^d.
    """
    scale = golden_rule(density)
    if is_traced(states.weights):
        absent = states.weights == 0  # their amplitudes are zero
        weights = jnp.where(absent, 1.0, states.weights)
        _, symmetric, antisymmetric, jump = _kernels(order, weights, potential, reaction, slope, scale)
        odd = None if order == "born" else antisymmetric
        return DenseCollisions(states, symmetric, odd, -units.HBAR * scale * jump.T)
    if np.any(states.weights < 0):
        raise JaxkinError(
            "on-shell amplitudes need positive weights of the points: use Lines, or Grid with smearing='gauss'."
        )
    n = len(states)
    weights = np.pad(states.weights, (0, len(potential) - n), constant_values=1.0)
    t, symmetric, antisymmetric, jump = _kernels(order, jnp.asarray(weights), potential, reaction, slope, scale)
    rate = np.asarray(symmetric @ jnp.asarray(np.pad(states.weights, (0, len(weights) - n))))[:n]
    return DenseCollisions(
        states,
        np.asarray(symmetric)[:n, :n],
        None if order == "born" else np.asarray(antisymmetric)[:n, :n],
        -units.HBAR * scale * np.asarray(jump).T[:n],
        optical_theorem(t, scale, rate, lambda m: np.real(np.diagonal(m))[:n] / states.weights),
    )


@partial(jax.jit, static_argnums=0)
def _kernels(order: Order, weights: Array, potential: Array, reaction: Array, slope: Array, scale: float):
    """T in the scaled amplitudes, w^S, w^A, and the odd part of Im Z T* summed over the second point, (3, M)."""
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
        jump.append(0.5 * jnp.sum(j - j.T, axis=1) / weights)
    symmetric, antisymmetric = (_kernel(part, scale / scaled**2) for part in terms[:2])
    return t, symmetric, antisymmetric, jnp.stack(jump)


def _kernel(terms: tuple[Term, ...], scale: Array) -> Array:
    total = jnp.zeros(scale.shape)
    for factor, left, right in terms:
        total = total + jnp.real(factor * left * right.conj())
    return scale * total
