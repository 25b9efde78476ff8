"""The magnetic moment of all filled states as an integrand: orbital, with what circulates at the edges, and spin.

With g an occupation and L = ∫g, dL/dμ = g, the modern theory's Σ_n [g_n m_n + (|e|/ħ) L_n Ω_n] is a sum over pairs of
states. Where L = x g + s, x = μ − ε and s is kT times the entropy of a state,

M_c = (|e|/ħ) Re i Σ_nm v_a,nm v_b,mn [½(x_n + x_m)(g_n − g_m) + s_n − s_m]/(ε_n − ε_m)²,  abc cyclic:

the Berry curvature's flux between two states, weighed with μ less their mean energy. It is zero between two that
are filled alike, and finite where they touch.
"""

from __future__ import annotations

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxkin import units
from jaxkin.geometry import ELECTRON_G
from jaxkin.hamiltonian.bloch import BlochModel
from jaxkin.hamiltonian.eigensystem import DEGENERACY, DEGENERACY_TOLERANCE
from jaxkin.hamiltonian.tight_binding import TightBinding
from jaxkin.hamiltonian.tiles import over_tiles, tile_rows
from jaxkin.namespace import AnyArray
from jaxkin.observable import summed
from jaxkin.surface.continuation import covariant_derivative
from jaxkin.surface.contour import Resolved, kernel_mean
from jaxkin.surface.occupations import occupation_moment
from jaxkin.surface.thermal import Thermal

TOUCHING = 1e-5
"""Distance of two states relative to that from μ (or kT) below which their pair is rounding: it is cubic in it."""
_NEXT, _PREVIOUS = np.array([1, 2, 0]), np.array([2, 0, 1])


class FilledMoments:
    """Orbital and spin moment of the filled states, two rows of three, in μ_B/Å^d: an integrand in k."""

    strip, folding = np.inf, None

    def __init__(self, model: BlochModel, thermal: Thermal):
        self.model, self.thermal = model, thermal
        self.levels, self.measure = np.full(2, thermal.fermi_level), float(model.measure)

    def __call__(self, resolved: Resolved, width: float, jacobian: np.ndarray) -> np.ndarray:
        kt, level = self.thermal.width, self.thermal.fermi_level
        x = level - resolved.eigenvalues.astype(complex)
        filling, entropy = (
            kernel_mean(lambda y, power=power: occupation_moment(y, kt, power), x, 0.0 if kt else width)
            for power in (0, 1)
        )
        parts = (resolved.k, resolved.eigenvalues, resolved.right, resolved.left, x, filling, entropy)
        rows = min(4096, tile_rows(self.model, arrays=24))
        (moments,) = over_tiles(lambda *part: (_moments(self.model, np.asarray(kt), *part),), rows, *parts)
        return np.real(self.measure * jacobian[:, None, None] * moments)

    def at(self, levels: np.ndarray) -> FilledMoments:
        del levels  # one Fermi level
        return self


class _States(NamedTuple):
    """One k: ε_n, states as columns and their duals, x_n = μ − ε_n, g_n and s_n."""

    energies: Array
    right: Array
    left: Array
    x: Array
    filling: Array
    entropy: Array

    def between(self, operators: Array) -> Array:
        return self.left @ operators @ self.right

    def trace(self, operators: Array, weights: Array) -> Array:
        """Σ_n w_n ⟨n|O_a|n⟩ of matrices between the states."""
        return jnp.einsum("ann,n->a", operators, weights)


@eqx.filter_jit
def _moments(model: BlochModel, kt: AnyArray, k: Array, *states: Array) -> Array:
    """Complex integrand, (N, 2, 3)."""

    def one(k: Array, *parts: Array) -> Array:
        states = _States(*parts)
        slope, own = covariant_derivative(model, k)
        v = states.between(slope)
        orbital = 1j * _flux(v, states, kt)
        if own is not None:
            own = states.between(own)
            orbital = orbital + states.trace(own, states.x * states.filling + states.entropy)
            if isinstance(model, TightBinding) and model.hr_matrices is not None:
                orbital = orbital + _outside(model, k, states, v, own)
        spin = jnp.zeros(3)
        if model.spin is not None:
            spin = -0.5 * ELECTRON_G * states.trace(states.between(summed(model, model.spin, k)), states.filling)
        return jnp.stack([units.MAGNETON_PER_EV_A2 * orbital, spin])

    return jax.vmap(one)(k, *states)


def _flux(v: Array, states: _States, kt: AnyArray) -> Array:
    """Σ_nm v_a,nm v_b,mn [½(x_n + x_m)(g_n − g_m) + s_n − s_m]/(ε_n − ε_m)²."""

    def differences(values: Array) -> Array:
        return values[:, None] - values[None, :]

    gap, mean = differences(states.energies), 0.5 * (states.x[:, None] + states.x[None, :])
    apart = jnp.abs(gap) > jnp.maximum(DEGENERACY_TOLERANCE, TOUCHING * jnp.maximum(jnp.abs(mean), kt))
    pair = mean * differences(states.filling) + differences(states.entropy)
    quotient = jnp.where(apart, pair / jnp.where(apart, gap, 1.0) ** 2, 0.0)
    return jnp.sum(v[_NEXT] * jnp.swapaxes(v[_PREVIOUS], 1, 2) * quotient, axis=(1, 2))


def _outside(model: TightBinding, k: Array, states: _States, v: Array, own: Array) -> Array:
    """Σ_n g_n of what lies beyond the Wannier functions' space in a band's moment, in eV Å², analytic in k.

    The terms of :func:`jaxkin.geometry.band_geometry`, half the sum of each and its adjoint in place of real parts.
    """
    assert model.position_matrices is not None and model.hr_matrices is not None and model.rhr_matrices is not None
    matrices = model.position_matrices, model.hr_matrices, model.adjoint(model.hr_matrices), model.rhr_matrices
    r, b, dagger, c = (states.between(summed(model, one, k)) for one in matrices)
    energies = states.energies
    gap = energies[:, None] - energies[None, :]
    apart = jnp.abs(gap) > DEGENERACY
    mixing = jnp.where(apart, v / jnp.where(apart, gap, 1.0), 0.0)
    outer, adjoint = b - energies[:, None] * r, dagger - r * energies  # B̃ and B̃†

    def crossed(one: Array, other: Array) -> Array:
        """Σ_m (X_b,nm Y_a,mn − X_a,nm Y_b,mn), abc cyclic, (3, n)."""
        there, back = (jnp.einsum("anm,amn->an", one[i], other[j]) for i, j in ((_PREVIOUS, _NEXT), (_NEXT, _PREVIOUS)))
        return there - back

    every = 0.5 * (crossed(mixing, outer) + crossed(adjoint, mixing))
    every = every - 0.5j * (crossed(r, b) + crossed(dagger, r) - crossed(r * energies, r))
    own_and_c = 0.5 * (states.trace(own, states.filling * energies) - states.trace(c, states.filling))
    return every @ states.filling + own_and_c
