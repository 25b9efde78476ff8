"""Collisions that move the electron: D_c = w δr_c as an operator, for impurities that act in d orbitals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float

from jaxkin import units
from jaxkin.disorder.amplitude import golden_rule
from jaxkin.namespace import Number


class OrbitalStates(eqx.Module):
    """The N states of a shell on the d orbitals of all impurities together.

    Attributes:
        weights: W_i with Σ_i W_i F_i ≈ ∫(dk) δ(ε−ε_shell) F, (N,) in 1/(eV Å^d).
        local: ⟨m|p⟩, (N, d).
        derivative: ⟨m|D_a p⟩, positions included, (N, 3, d) in Å.
    """

    weights: Float[Array, " N"]
    local: Complex[Array, "N d"]
    derivative: Complex[Array, "N 3 d"]

    def moment(self, x: Float[Array, "N m"]) -> Complex[Array, "m d d"]:
        """Σ_j W_j x_j |j⟩⟨j| of every column."""
        return jnp.einsum("nm,na,nb->mab", self.weights[:, None] * x, self.local, self.local.conj(), optimize=True)

    def expected(self, forms: Complex[Array, "m d d"]) -> Complex[Array, "N m"]:
        """⟨i|F|i⟩ of every matrix F."""
        images = jnp.einsum("mab,nb->nma", forms, self.local)
        return jnp.einsum("na,nma->nm", self.local.conj(), images)

    @property
    def density(self) -> Complex[Array, "d d"]:
        """ρ = Σ W |p⟩⟨p| in 1/(eV Å^d)."""
        return self.moment(jnp.ones((len(self.weights), 1)))[0]


class Amplitude(NamedTuple):
    """One kind of impurity.

    Attributes:
        density: n per Å^d.
        matrix: T (Born and third order: V) on the d orbitals, zero on those of other kinds, (d, d) in eV Å^d.
    """

    density: Number
    matrix: Complex[Array, "d d"]


def displaced(
    states: OrbitalStates, impurities: Sequence[Amplitude], x: Float[Array, "N m"]
) -> tuple[Float[Array, "N 3 m"], Float[Array, "N 3 m"]]:
    """D_c x and its transpose D_cᵀ x, with (D_c)_{pp'} = ħ w_{pp'} δr_{c,pp'} δ(ε−ε'), in O(N d²) for each column.

    From Eq. (36) in its gauge-invariant form, without a division by the amplitude,

    ħ w δr = −2πn Im{[⟨Dp|T|p'⟩ + ⟨p|T|Dp'⟩] ⟨p|T|p'⟩*}.

    Electrons scattered p' → p arrive δr away, so a distribution f(r) ∝ e^{iq·r} evolves with
    iq·(v + D) + Γ − S, and the current and the force carry the same sum, as v_sj = D·1, Eqs. (9), (68). The half of
    D that is odd in p ↔ p', ½(D − Dᵀ) x, is what w^S δr means and what the response needs to the lowest order in
    w^A; the even half is of the order of w^A and drops out of g with time reversal.

    Args:
        states: the shell.
        impurities: all kinds; their kernels add.
        x: functions of the state.

    Returns:
        D x and Dᵀ x in eV Å times the unit of x.
    """
    there, back = (jnp.zeros((len(x), 3, x.shape[1])) for _ in range(2))
    rho = states.moment(x)
    flow = jnp.einsum("nm,nca,nb->mcab", states.weights[:, None] * x, states.derivative, states.local.conj())
    columns = x.shape[1]

    def moved(t: Complex[Array, "d d"]) -> Float[Array, "N 3 m"]:
        """−Im{⟨Dp|T ρ_x T†|p⟩ + ⟨p|T Σ Wx|Dp'⟩⟨p'| T†|p⟩}."""
        images = jnp.einsum("mab,nb->nma", t @ rho @ t.conj().T, states.local)
        outer = jnp.einsum("nca,nma->ncm", states.derivative.conj(), images)
        inner = states.expected((t @ flow @ t.conj().T).reshape(-1, *t.shape))
        return -jnp.imag(outer + jnp.swapaxes(inner.reshape(len(x), columns, 3), 1, 2))

    for density, t in impurities:
        scale = units.HBAR * golden_rule(density)
        there = there + scale * moved(t)
        back = back - scale * moved(t.conj().T)  # the exchange of p and p' is that of T and T†, and of the sign
    return there, back


def nonlocal_collisions(
    states: OrbitalStates, impurities: Sequence[Amplitude], x: Float[Array, "N m"]
) -> Float[Array, "N 3 m"]:
    """D_c x of w^S δr, odd in p ↔ p': :func:`displaced`; of x = 1 it is v_sj.

    The part of g that it makes is λ_abc = −ie² ⟨v_a|R D_c R|v_b⟩, antisymmetric in (a, b) by itself.
    """
    there, back = displaced(states, impurities, x)
    return 0.5 * (there - back)
