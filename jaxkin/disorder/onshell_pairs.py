"""Scattering by two impurities between all points of a shell, as matrices: potentials of finite range."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Complex, Float

from jaxkin.disorder.amplitude import Order, golden_rule, scattering_terms
from jaxkin.disorder.onshell import PAIR_BYTES
from jaxkin.disorder.orbital_moments import dagger
from jaxkin.disorder.states import States
from jaxkin.disorder.two_impurities import TwoImpurityScattering
from jaxkin.memory import demand, limit
from jaxkin.namespace import Number

ORBITAL_BYTES = 16 * 8
"""What a pair of points takes for each orbital, an estimate."""


class DressedOrbitals(NamedTuple):
    """n per Å^d impurities with T_ij = ⟨p_i|T|p_j⟩ in eV Å^d, and T between states and orbitals α at their k.

    Attributes:
        density: n.
        amplitude: T, (M, M).
        bra: ⟨k_i α|T|p_j⟩, (α, M, M).
        ket: ⟨p_i|T|k_j α⟩, (α, M, M).
    """

    density: Number
    amplitude: Complex[Array, "M M"]
    bra: Complex[Array, "a M M"]
    ket: Complex[Array, "a M M"]


def dressed_orbitals(
    states: States, order: Order, density: Number, potential: Complex[Array, "M M"], bra: Complex[Array, "a M M"]
) -> DressedOrbitals:
    """On the shell: T = V(1 − iπWT), from V_ij = ⟨p_i|V|p_j⟩ and ⟨k_i α|V|p_j⟩; T = V below ``"tmatrix"``.

    Args:
        states: the shell of M points; no weight may be negative.
        order: see :func:`scattering_terms`.
        density: n.
        potential: V, Hermitian.
        bra: V from states to orbitals.
    """
    ket = dagger(bra)
    if order != "tmatrix":
        return DressedOrbitals(density, potential, bra, ket)
    w = jnp.asarray(states.weights)
    root = jnp.sqrt(jnp.where(w == 0, 1.0, w))
    scaled, identity = root[:, None] * root, jnp.eye(len(w))
    t = scattering_terms(order, scaled * potential, scaled * potential, identity).amplitude / scaled
    ket = (identity - 1j * jnp.pi * t * w) @ ket
    return DressedOrbitals(density, t, bra @ (identity - 1j * jnp.pi * w[:, None] * t), ket)


class OnShellPairs(TwoImpurityScattering):
    """w⁽²⁾_{pp'} ∝ n² as a matrix: :class:`TwoImpurities` with the amplitude of every pair of points.

    With E^α_pp' = Σ n ⟨p|T|k'α⟩⟨p|T|p'⟩*, F^α_pp' = Σ n ⟨kα|T|p'⟩⟨p|T|p'⟩* (sums over kinds), Q_s the reduced resolvent
    between orbitals, and |δp⟩_α = −iπ Σ_sβ Q_p,αβ F^β_ps W_s,

    (ħ/2π) w⁽²⁾ = 2Re Σ_α [E^α_pp' δp'_α − δp_α* F^α_pp'] − 2π Im Σ_s W_s E^α_ps Q_s,αβ F^β_sp'.

    As in the T-matrix itself, Green functions are those of the shell: what G^R G^R adds (δT) is left out with the real
    part of G. Flux is conserved: ∫w⁽²⁾_{pp'} δ = ∫w⁽²⁾_{p'p} δ = 0.

    Args:
        states: the shell, with the reduced resolvents on all orbitals.
        kinds: all of one sample.
    """

    def __init__(self, states: States, kinds: Sequence[DressedOrbitals]):
        assert states.reduced is not None
        q, w = jnp.asarray(states.reduced), jnp.asarray(states.weights)
        self._weights = w
        ends = sum((k.density * k.ket * k.amplitude.conj() for k in kinds), jnp.zeros(()))
        starts = sum((k.density * k.bra * k.amplitude.conj() for k in kinds), jnp.zeros(()))
        mixed = jnp.einsum("iab,bi->ai", q, -1j * jnp.pi * (starts @ w))
        both = jnp.einsum("aij,aj->ij", ends, mixed) - jnp.einsum("aij,ai->ij", starts, mixed.conj())
        between = jnp.einsum("ais,asj->ij", ends, w[:, None] * jnp.einsum("sab,bsj->asj", q, starts))
        self._kernel: Float[Array, "M M"] = golden_rule(1.0) * (2 * both.real - 2 * jnp.pi * between.imag)

    def apply(self, x: Float[Array, "M m"]) -> tuple[Float[Array, "M m"], Float[Array, "M m"]]:
        weighed = self._weights[:, None] * x
        return self._kernel @ weighed, self._kernel.T @ weighed


def affordable(count: int, orbitals: int) -> bool:
    """Whether half of the memory is enough for the matrices of so many points, of one impurity and of two."""
    return max(PAIR_BYTES, ORBITAL_BYTES * orbitals) * count**2 <= limit() // 2


def demand_orbitals(states: States) -> None:
    """Refuse matrices for every orbital that are beyond the memory budget.

    Raises:
        JaxkinError: they are.
    """
    demand(
        ORBITAL_BYTES * len(states.orbitals) * len(states) ** 2,
        f"Gaussian skew scattering between {len(states)} points of {len(states.orbitals)} orbitals",
        'raise it, use fewer points (a smaller n), or theory="paper"',
    )
