"""Kernels of impurities that act in d orbitals: exact actions in O(M d²) instead of O(M² d)."""

from __future__ import annotations

from functools import cached_property

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from jaxkin import units
from jaxkin.disorder.amplitude import Term, Terms, golden_rule, optical_theorem
from jaxkin.disorder.collisions import Collisions
from jaxkin.disorder.orbital_moments import OrbitalMoments, complex_states, dagger, hermitian
from jaxkin.disorder.states import States
from jaxkin.namespace import Number


class FactorisedCollisions(Collisions):
    """|⟨p|T|p'⟩|² = ⟨p|T P' T†|p⟩ with P' = |p'⟩⟨p'|: the sum over p' is taken inside, in d orbitals.

    Σ_j W_j Re[c ⟨i|X|j⟩⟨i|Y|j⟩*] x_j = Re⟨i|c X M Y†|i⟩ with M = Σ_j W_j x_j |j⟩⟨j|: one matrix product
    makes the M of all columns, one more all expectation values.

    Args:
        states: the shell.
        local: ⟨m|p⟩, (M, d): the states on the impurity's orbitals.
        derivative: ⟨m|D_a p⟩, (M, 3, d), in Å.
        terms: the kernels in these orbitals, eV Å^d.
        density: impurities per Å^d.
    """

    def __init__(
        self,
        states: States,
        local: Complex[Array, "M d"],
        derivative: Complex[Array, "M 3 d"],
        terms: Terms,
        density: Number,
    ):
        super().__init__(states)
        self._derivative, self._terms, self._scale = derivative, terms, golden_rule(density)
        self._orbitals = OrbitalMoments(local)

    def symmetric(self, x: Array) -> Array:
        return self._expected(sandwiched(self._terms.symmetric, self._moment(x)))

    def antisymmetric(self, x: Array) -> Array:
        if not self._terms.antisymmetric:
            return jnp.zeros_like(x)
        return self._expected(sandwiched(self._terms.antisymmetric, self._moment(x)))

    def chained(self, x: Array, m: int, scale: Array) -> Array:
        moment = self._moment(x)
        forms = sandwiched(self._terms.symmetric, moment)
        return self._expected(forms.at[m : 2 * m].add(scale * sandwiched(self._terms.antisymmetric, moment[:m])))

    def _moment(self, x: Array) -> Complex[Array, "m d d"]:
        return self._orbitals.moment(self.weights[:, None] * x)

    def _expected(self, forms: Complex[Array, "m d d"]) -> Float[Array, "M m"]:
        return self._scale * self._orbitals.expected(forms)

    @property
    def own_scattering(self) -> tuple[Array, Array]:
        def own(tile: Array) -> Array:
            u = complex_states(tile)

            def within(form: Array) -> Array:
                return jnp.sum(u.conj() * (u @ form.T), axis=1)

            terms = (jnp.real(c * within(x) * within(y).conj()) for c, x, y in self._terms.symmetric)
            return sum(terms, jnp.zeros(()))

        return self._scale * self.weights * self._orbitals.mapped(own), self.rate

    @cached_property
    def antisymmetric_size(self) -> Array | float:  # pyright: ignore[reportIncompatibleMethodOverride]
        """∫|w^A|δ ≤ √(ν ∫(w^A)²δ), where w^A = ⟨p'|N|p'⟩ and ⟨p'|N|p'⟩² ≤ ⟨p'|p'⟩⟨p'|NN†|p'⟩."""
        if not self._terms.antisymmetric:
            return 0.0
        size = jnp.abs(self.weights)
        rho = self._orbitals.moment(size[:, None])[0]
        squares, norms = self._squares(rho)
        bound = jnp.sum(size) * jnp.max(norms) * jnp.max(squares)
        return self._scale * jnp.sqrt(jnp.maximum(bound, 0.0))

    def _squares(self, rho: Complex[Array, "d d"]) -> tuple[Array, Array]:
        """Tr[N ρ N†], where Σ Re[c ⟨p|X|p'⟩⟨p|Y|p'⟩*] = ⟨p'|N|p'⟩ with N of low rank, and ⟨p|p⟩ of every state.

        With N = Σ_s f_s |F_s†p⟩⟨S_s†p| it is Σ_st f_s f_t* ⟨p|S_s ρ S_t†|p⟩⟨p|F_t F_s†|p⟩, of expectation values.
        """
        factors, first, second = [], [], []
        for c, x, y in self._terms.antisymmetric:
            parts = [(jnp.real(c), x, x)] if x is y else [(0.5 * c, y, x), (0.5 * jnp.conj(c), x, y)]
            for column, values in zip((factors, first, second), zip(*parts, strict=True), strict=True):
                column.extend(values)
        s, t = np.triu_indices(len(factors))
        f, left, right = jnp.stack([jnp.asarray(c, complex) for c in factors]), jnp.stack(first), jnp.stack(second)
        metric, gram = right[s] @ rho @ dagger(right[t]), left[t] @ dagger(left[s])
        forms = jnp.concatenate([metric, gram])
        values = self._orbitals.expected(
            jnp.concatenate([hermitian(forms), hermitian(-1j * forms), jnp.eye(len(rho), dtype=complex)[None]])
        )
        *parts, norms = jnp.split(values, np.arange(1, 5) * len(s), axis=1)
        metric, gram = (jax.lax.complex(parts[n], parts[n + 2]) for n in (0, 1))
        pairs = np.where(s == t, 1.0, 2.0) * f[s] * f[t].conj()
        return jnp.real((metric * gram) @ pairs), norms[:, 0]

    @cached_property
    def side_jump_velocity(self) -> Array:  # pyright: ignore[reportIncompatibleMethodOverride]
        """−(2πn/ħ) ħ Σ_j W_j of the part of Im{[⟨Du|T|u'⟩ + ⟨u|T|Du'⟩]⟨u|T|u'⟩*} that is odd under p ↔ p'."""
        t = self._terms.amplitude
        back = t.conj().T
        rho = self._orbitals.moment(self.weights[:, None])[0]
        flow = self._orbitals.summed(_flows, self._derivative, self.weights[:, None])[0]
        outer = t @ rho @ back + back @ rho @ t
        inner = t @ flow @ back - back @ dagger(flow) @ t
        inner = (inner - dagger(inner)) / 2j  # its expectation value is Im⟨u|inner|u⟩
        moved = self._orbitals.mapped(lambda tile, part: _moved(tile, part, outer), self._derivative)
        return -0.5 * units.HBAR * self._scale * (moved + self._orbitals.expected(inner))

    def displaced(self, left: Array, right: Array) -> Array:
        moments = (
            (self._orbitals.moment(x), self._orbitals.summed(_flows, self._derivative, x))
            for x in (self.weights[:, None] * part for part in (left, right))
        )
        return self._scale * displacement(self._terms.amplitude, *moments)

    @cached_property
    def optical_theorem(self) -> Array | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        if not self._terms.unitary:
            return None
        return optical_theorem(
            self._terms.amplitude, self._scale, self.rate, lambda form: self._orbitals.expected(form[None])[:, 0]
        )


def sandwiched(terms: tuple[Term, ...], moment: Complex[Array, "m d d"]) -> Complex[Array, "m d d"]:
    """The Hermitian part of Σ c X M Y†."""
    total = jnp.zeros_like(moment)
    for factor, left, right in terms:
        total = total + factor * (left @ moment @ right.conj().T)
    return hermitian(total)


Moments = tuple[Complex[Array, "m d d"], Complex[Array, "m 3 d d"]]
"""ρ_x = Σ W x|p⟩⟨p| and F_x = Σ W x|D_c p⟩⟨p| of every function x."""


def displacement(amplitude: Complex[Array, "d d"], left: Moments, right: Moments) -> Float[Array, "3 m n"]:
    """⟨x|D_c|y⟩ per 2πn/ħ, −½ħ Im Σ_T Tr[F_x† T ρ_y T† + ρ_x T F_y T†] over T and T†.

    From Eq. (36): w δr = −(2πn/ħ) Im{[⟨Dp|T|p'⟩ + ⟨p|T|Dp'⟩]⟨p|T|p'⟩*}, of which the exchange of T and T† (and of
    the sign) makes p ↔ p'.
    """
    (rho_x, flow_x), (rho_y, flow_y) = left, right
    total = jnp.zeros(())
    for t in (amplitude, amplitude.conj().T):
        total = total + jnp.einsum("mcba,nba->cmn", flow_x.conj(), t @ rho_y @ t.conj().T)
        total = total + jnp.einsum("mab,ncba->cmn", rho_x, t @ flow_y @ t.conj().T)
    return -0.5 * units.HBAR * jnp.imag(total)


def _flows(tile: Float[Array, "N 2d"], derivative: Complex[Array, "N 3 d"], x: Float[Array, "N m"]) -> Array:
    """Σ x |D_c u⟩⟨u|, (m, 3, d, d)."""
    n, d = len(tile), derivative.shape[2]
    columns = (complex_states(tile).conj()[:, None, :] * x[:, :, None]).reshape(n, -1)
    return jnp.moveaxis((derivative.reshape(n, -1).T @ columns).reshape(3, d, -1, d), 2, 0)


def _moved(tile: Float[Array, "N 2d"], derivative: Complex[Array, "N 3 d"], form: Complex[Array, "d d"]) -> Array:
    """Im⟨D_a u|F|u⟩, (N, 3)."""
    return jnp.imag(jnp.sum(derivative.conj() * (complex_states(tile) @ form.T)[:, None, :], axis=2))
