"""Scattering by two impurities between all points of a shell, as matrices: potentials of finite range."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float

from jaxkin.disorder.amplitude import Order, golden_rule, scattering_terms
from jaxkin.disorder.orbital_moments import dagger
from jaxkin.disorder.states import States
from jaxkin.disorder.two_impurities import TwoImpurityScattering
from jaxkin.memory import demand, limit
from jaxkin.namespace import Number

COPIES = 20
"""Complex matrices of all pairs beside two of each position, those of one impurity included; measured."""


class FromOrbitals(eqx.Module):
    """K between the orbitals α at the k of each state and the states, without a matrix for each orbital.

    ⟨k_i α|K|p_j⟩ = F_s(k_i − k_j) u_j,α of the position s that α is at; with more terms behind, of other states, that
    ``back`` makes functions of the p_j.

    Attributes:
        factors: F_s, (s, M, M + A).
        u: |u⟩ of the states, and of the others, (M + A, n).
        members: which position each orbital is at, (n, s) of zeros and ones.
        back: (A, M), or None.
        scale: that K is multiplied with.
    """

    factors: Complex[Array, "s M MA"]
    u: Complex[Array, "MA n"]
    members: Array
    back: Complex[Array, "A M"] | None
    scale: Number

    def __call__(self, bra: Complex[Array, "M n"]) -> Complex[Array, "M M"]:
        """Σ_α x_i,α ⟨k_i α|K|p_j⟩."""
        found = sum((f * ((bra * self.members[:, s]) @ self.u.T) for s, f in enumerate(self.factors)), jnp.zeros(()))
        count = len(bra)
        return self.scale * (found if self.back is None else found[:, :count] + found[:, count:] @ self.back)


class DressedOrbitals(NamedTuple):
    """n per Å^d impurities with T_ij = ⟨p_i|T|p_j⟩ in eV Å^d, and K between states and orbitals at their k.

    Attributes:
        density: n.
        amplitude: T, (M, M).
        dressing: 1 − iπWT, which makes T of K between orbitals and states; None where T is K.
        bare: K.
    """

    density: Number
    amplitude: Complex[Array, "M M"]
    dressing: Complex[Array, "M M"] | None
    bare: FromOrbitals

    def bra(self, x: Complex[Array, "M n"]) -> Complex[Array, "M M"]:
        """Σ_α n x_i,α ⟨k_i α|T|p_j⟩⟨p_i|T|p_j⟩*."""
        k = self.bare(x)
        return self.density * (k if self.dressing is None else k @ self.dressing) * self.amplitude.conj()

    def ket(self, weights: Array, x: Complex[Array, "M n"]) -> Complex[Array, "M M"]:
        """Σ_α n ⟨p_i|T|k_j α⟩ x*_j,α ⟨p_i|T|p_j⟩*."""
        k = dagger(self.bare(x))
        if self.dressing is not None:
            k = k - 1j * jnp.pi * self.amplitude @ (weights[:, None] * k)
        return self.density * k * self.amplitude.conj()


def dressed_orbitals(
    states: States, order: Order, density: Number, potential: Complex[Array, "M M"], bare: FromOrbitals
) -> DressedOrbitals:
    """On the shell: T = V(1 − iπWT), from V_ij = ⟨p_i|V|p_j⟩; T = V below ``"tmatrix"``.

    Args:
        states: the shell of M points; no weight may be negative.
        order: see :func:`scattering_terms`.
        density: n.
        potential: V, Hermitian.
        bare: V between orbitals and states.
    """
    if order != "tmatrix":
        return DressedOrbitals(density, potential, None, bare)
    w = jnp.asarray(states.weights)
    root = jnp.sqrt(jnp.where(w == 0, 1.0, w))
    scaled, identity = root[:, None] * root, jnp.eye(len(w))
    t = scattering_terms(order, scaled * potential, scaled * potential, identity).amplitude / scaled
    return DressedOrbitals(density, t, identity - 1j * jnp.pi * w[:, None] * t, bare)


class OnShellPairs(TwoImpurityScattering):
    """w⁽²⁾_{pp'} ∝ n² as a matrix: :class:`TwoImpurities` with the amplitude of every pair of points.

    With E^α_pp' = Σ n ⟨p|T|k'α⟩⟨p|T|p'⟩*, F^α_pp' = Σ n ⟨kα|T|p'⟩⟨p|T|p'⟩* (sums over kinds), Q_s the reduced resolvent
    between orbitals, and |δp⟩_α = −iπ Σ_sβ Q_p,αβ F^β_ps W_s,

    (ħ/2π) w⁽²⁾ = 2Re Σ_α [E^α_pp' δp'_α − δp_α* F^α_pp'] − 2π Im Σ_s W_s E^α_ps Q_s,αβ F^β_sp'.

    As in the T-matrix itself, Green functions are those of the shell: what G^R G^R adds (δT) is left out with the real
    part of G. Flux is conserved: ∫w⁽²⁾_{pp'} δ = ∫w⁽²⁾_{p'p} δ = 0. Orbitals are taken one after the other.

    Args:
        states: the shell, with the reduced resolvents on all orbitals.
        kinds: all of one sample.
    """

    def __init__(self, states: States, kinds: Sequence[DressedOrbitals]):
        assert states.reduced is not None
        q, w = jnp.asarray(states.reduced), jnp.asarray(states.weights)
        count, orbitals = q.shape[:2]
        self._weights = w

        def starts(x: Array) -> Array:
            return sum((kind.bra(x) for kind in kinds), jnp.zeros(()))

        def ends(x: Array) -> Array:
            return sum((kind.ket(w, x) for kind in kinds), jnp.zeros(()))

        @jax.checkpoint
        def of_orbital(between: Array, orbital: Array) -> tuple[Array, Array]:
            """Im Σ_s W_s E^α_ps Q_s,αβ F^β_sp' of one α beside the others', and |δp⟩_α."""
            onward = w[:, None] * (start := starts(q[:, orbital]))
            end = ends(jnp.broadcast_to(jax.nn.one_hot(orbital, orbitals), (count, orbitals)) + 0j)
            pair = jnp.concatenate([onward.imag, onward.real])  # of Im: half the multiplications
            between = between + jnp.concatenate([end.real, end.imag], axis=1) @ pair
            return between, -1j * jnp.pi * (start @ w)

        between, mixed = jax.lax.scan(of_orbital, jnp.zeros((count, count)), jnp.arange(orbitals))
        conjugate = mixed.T.conj()
        both = ends(conjugate) - starts(conjugate)
        self._kernel: Float[Array, "M M"] = golden_rule(1.0) * (2 * both.real - 2 * jnp.pi * between)

    def apply(self, x: Float[Array, "M m"]) -> tuple[Float[Array, "M m"], Float[Array, "M m"]]:
        weighed = self._weights[:, None] * x
        return self._kernel @ weighed, self._kernel.T @ weighed


def pair_bytes(positions: int) -> int:
    """What a pair of points takes in the matrices of two impurities: 415 bytes of three positions."""
    return 16 * (2 * positions + COPIES)


def affordable(count: int, positions: int) -> bool:
    """Whether half of the memory is enough for the matrices of so many points, of one impurity and of two."""
    return pair_bytes(positions) * count**2 <= limit() // 2


def demand_pairs(count: int, positions: int) -> None:
    """Refuse matrices of two impurities that are beyond the memory budget.

    Raises:
        JaxkinError: they are.
    """
    demand(
        pair_bytes(positions) * count**2,
        f"Gaussian skew scattering between {count} points",
        'raise it, use fewer points (a smaller n), or theory="paper"',
    )
