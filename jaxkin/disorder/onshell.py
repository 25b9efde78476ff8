"""Amplitudes between all points of a shell as N×N matrices: the on-shell (Heitler) T-matrix.

In the scaled amplitude √W_i T_ij √W_j the spectral density is the identity, so that
T = V − iπVWT is T = V(1 + iπV)⁻¹: unitary to rounding for any number of points.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex

from jaxkin import units
from jaxkin.disorder.amplitude import Order, Term, golden_rule, optical_theorem, scattering_terms
from jaxkin.disorder.collisions import DenseCollisions
from jaxkin.disorder.states import ShellStates
from jaxkin.errors import JaxkinError


def on_shell_collisions(
    states: ShellStates,
    order: Order,
    potential: Complex[Array, "N N"],
    reaction: Complex[Array, "N N"],
    slope: Complex[Array, "3 N N"],
    density: float,
) -> DenseCollisions:
    """Collisions from V_ij = ⟨p_i|V|p_j⟩ in eV Å^d.

    Args:
        states: the shell; its weights must be positive.
        order: see :func:`scattering_terms`.
        potential: V, Hermitian.
        reaction: K, Hermitian; V itself where the real part of the Green function is left out.
        slope: ⟨D_a p_i|K|p_j⟩ with the derivative of everything that depends on p_i, eV Å^{d+1}; of V
            below ``"tmatrix"``.
        density: impurities per Å^d.
    """
    if np.any(states.weights < 0):
        raise JaxkinError(
            "on-shell amplitudes need positive weights of the points: use Lines, or Grid with smearing='gauss'."
        )
    root = jnp.sqrt(jnp.asarray(states.weights))
    scaled = root[:, None] * root
    terms = scattering_terms(order, scaled * potential, scaled * reaction, jnp.eye(len(root)))
    scale = golden_rule(density)
    t = terms.amplitude
    # Derivatives act on the outer factors only: Z = (∂V)(1 − iπWT) + (1 − iπTW)(V∂).
    dressed = jnp.eye(len(root)) - 1j * jnp.pi * t if order == "tmatrix" else None
    jump = []
    for part in slope:
        outer = scaled * part
        inner = outer.conj().T
        z = outer + inner if dressed is None else outer @ dressed + dressed @ inner
        j = jnp.imag(z * t.conj())
        jump.append(0.5 * jnp.sum(j - j.T, axis=1) / root**2)
    symmetric, antisymmetric = (_kernel(part, scale / scaled**2) for part in terms[:2])
    rate = np.asarray(symmetric @ jnp.asarray(states.weights))
    return DenseCollisions(
        states,
        symmetric,
        antisymmetric if terms.antisymmetric else None,
        -units.HBAR * scale * np.stack([np.asarray(j) for j in jump], axis=1),
        optical_theorem(t, scale, rate, lambda m: np.real(np.diagonal(m)) / states.weights),
    )


def _kernel(terms: tuple[Term, ...], scale: Array) -> Array:
    total = jnp.zeros(scale.shape)
    for factor, left, right in terms:
        total = total + jnp.real(factor * left * right.conj())
    return scale * total
