"""Kernels of impurities that act in d orbitals: exact actions in O(M d²) instead of O(M² d)."""

from __future__ import annotations

from functools import cached_property

import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float

from jaxkin import units
from jaxkin.disorder.amplitude import Term, Terms, golden_rule, optical_theorem
from jaxkin.disorder.collisions import Collisions
from jaxkin.disorder.states import States
from jaxkin.namespace import Number
from jaxkin.surface.tiles import map_over_tiles, sum_over_tiles

TILE_NUMBERS = {"cpu": 2**18}
"""Real numbers of a tile of states whose product with a few columns stays in a CPU's cache (twice as fast) ..."""
LARGEST = 2**25
"""... and of one on an accelerator, where only the memory counts."""


class FactorisedCollisions(Collisions):
    """|⟨p|T|p'⟩|² = ⟨p|T P' T†|p⟩ with P' = |p'⟩⟨p'|: the sum over p' is taken inside, in d orbitals.

    Σ_j W_j Re[c ⟨i|X|j⟩⟨i|Y|j⟩*] x_j = Re⟨i|c X M Y†|i⟩ with M = Σ_j W_j x_j |j⟩⟨j|: one matrix product
    makes the M of all columns, one more all expectation values. States are held as 2d real numbers, in
    which both products are real.

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
        self._local = jnp.concatenate([local.real, local.imag], axis=1)
        numbers = TILE_NUMBERS.get(jax.default_backend(), LARGEST)
        self._rows = max(256, 1 << (numbers // self._local.shape[1]).bit_length() - 1)

    def symmetric(self, x: Array) -> Array:
        return self._apply(self._terms.symmetric, x)

    def antisymmetric(self, x: Array) -> Array:
        return self._apply(self._terms.antisymmetric, x) if self._terms.antisymmetric else jnp.zeros_like(x)

    def _apply(self, terms: tuple[Term, ...], x: Array) -> Array:
        return self._scale * self._expected(_sandwiched(terms, self._moment(self.weights[:, None] * x)))

    def _moment(self, x: Array) -> Complex[Array, "m d d"]:
        """Σ_j x_j |j⟩⟨j| of every column."""
        return _complex_matrices(sum_over_tiles(_project, self._rows, self._local, x))

    def _expected(self, forms: Complex[Array, "m d d"]) -> Array:
        """⟨i|F|i⟩ of Hermitian matrices F, (M, m)."""
        real = _real_matrices(forms)
        return map_over_tiles(lambda tile: _expand(tile, real), self._rows, self._local)

    @cached_property
    def antisymmetric_size(self) -> Array | float:  # pyright: ignore[reportIncompatibleMethodOverride]
        """∫|w^A|δ ≤ √(ν ∫(w^A)²δ), where w^A = ⟨p'|N|p'⟩ and ⟨p'|N|p'⟩² ≤ ⟨p'|p'⟩⟨p'|N²|p'⟩."""
        if not self._terms.antisymmetric:
            return 0.0
        size = jnp.abs(self.weights)
        rho = self._moment(size[:, None])[0]
        squares, norms = map_over_tiles(
            lambda tile: _squares(tile, self._terms.antisymmetric, rho), self._rows, self._local
        )
        bound = jnp.sum(size) * jnp.max(norms) * jnp.max(squares)
        return self._scale * jnp.sqrt(jnp.maximum(bound, 0.0))

    @cached_property
    def side_jump_velocity(self) -> Array:  # pyright: ignore[reportIncompatibleMethodOverride]
        """−(2πn/ħ) ħ Σ_j W_j of the part of Im{[⟨Du|T|u'⟩ + ⟨u|T|Du'⟩]⟨u|T|u'⟩*} that is odd under p ↔ p'."""
        t = self._terms.amplitude
        back = t.conj().T
        rho = self._moment(self.weights[:, None])[0]
        flow = sum_over_tiles(_flows, self._rows, self._local, self._derivative, self.weights[:, None])[0]
        outer = t @ rho @ back + back @ rho @ t
        inner = t @ flow @ back - back @ _dagger(flow) @ t
        inner = (inner - _dagger(inner)) / 2j  # its expectation value is Im⟨u|inner|u⟩
        moved = map_over_tiles(lambda tile, part: _moved(tile, part, outer), self._rows, self._local, self._derivative)
        return -0.5 * units.HBAR * self._scale * (moved + self._expected(inner))

    def displaced(self, left: Array, right: Array) -> Array:
        """−½ħ(2πn/ħ) Im Σ_T Tr[F_x† T ρ_y T† + ρ_x T F_y T†] over T and T†, ρ_x = Σ W x|p⟩⟨p|, F_x = Σ W x|D_c p⟩⟨p|.

        From Eq. (36): w δr = −(2πn/ħ) Im{[⟨Dp|T|p'⟩ + ⟨p|T|Dp'⟩]⟨p|T|p'⟩*}, of which the exchange of T and T† (and of
        the sign) makes p ↔ p'.
        """
        (rho_x, flow_x), (rho_y, flow_y) = (
            (self._moment(x), sum_over_tiles(_flows, self._rows, self._local, self._derivative, x))
            for x in (self.weights[:, None] * part for part in (left, right))
        )
        total, t = jnp.zeros(()), self._terms.amplitude
        for t in (t, t.conj().T):
            total = total + jnp.einsum("mcba,nba->cmn", flow_x.conj(), t @ rho_y @ t.conj().T)
            total = total + jnp.einsum("mab,ncba->cmn", rho_x, t @ flow_y @ t.conj().T)
        return -0.5 * units.HBAR * self._scale * jnp.imag(total)

    @cached_property
    def optical_theorem(self) -> Array | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        if not self._terms.unitary:
            return None
        return optical_theorem(
            self._terms.amplitude, self._scale, self.rate, lambda form: self._expected(form[None])[:, 0]
        )


def _dagger(matrices: Complex[Array, "m d d"]) -> Complex[Array, "m d d"]:
    return jnp.conj(jnp.swapaxes(matrices, 1, 2))


def _complex_matrices(real: Float[Array, "2d m 2d"]) -> Complex[Array, "m d d"]:
    """Σ x |u⟩⟨u| from the products of real and imaginary parts of u."""
    d = len(real) // 2
    g = jnp.swapaxes(real, 0, 1)
    return g[:, :d, :d] + g[:, d:, d:] + 1j * (g[:, d:, :d] - g[:, :d, d:])


def _real_matrices(forms: Complex[Array, "m d d"]) -> Float[Array, "2d m 2d"]:
    """The quadratic form ⟨u|F|u⟩ on (Re u, Im u)."""
    a, b = forms.real, forms.imag
    whole = jnp.concatenate([jnp.concatenate([a, -b], axis=2), jnp.concatenate([b, a], axis=2)], axis=1)
    return jnp.swapaxes(whole, 0, 1)


def _sandwiched(terms: tuple[Term, ...], moment: Complex[Array, "m d d"]) -> Complex[Array, "m d d"]:
    """The Hermitian part of Σ c X M Y†."""
    total = jnp.zeros_like(moment)
    for factor, left, right in terms:
        total = total + factor * (left @ moment @ right.conj().T)
    return 0.5 * (total + _dagger(total))


def _states(tile: Float[Array, "N 2d"]) -> Complex[Array, "N d"]:
    d = tile.shape[1] // 2
    return tile[:, :d] + 1j * tile[:, d:]


def _project(tile: Float[Array, "N 2d"], x: Float[Array, "N m"]) -> Float[Array, "2d m 2d"]:
    n, numbers = tile.shape
    columns = (tile[:, None, :] * x[:, :, None]).reshape(n, -1)
    return (tile.T @ columns).reshape(numbers, -1, numbers)


def _expand(tile: Float[Array, "N 2d"], forms: Float[Array, "2d m 2d"]) -> Float[Array, "N m"]:
    numbers = tile.shape[1]
    images = (tile @ forms.reshape(numbers, -1)).reshape(len(tile), -1, numbers)
    return jnp.einsum("nmd,nd->nm", images, tile)


def _flows(tile: Float[Array, "N 2d"], derivative: Complex[Array, "N 3 d"], x: Float[Array, "N m"]) -> Array:
    """Σ x |D_c u⟩⟨u|, (m, 3, d, d)."""
    n, d = len(tile), derivative.shape[2]
    columns = (_states(tile).conj()[:, None, :] * x[:, :, None]).reshape(n, -1)
    return jnp.moveaxis((derivative.reshape(n, -1).T @ columns).reshape(3, d, -1, d), 2, 0)


def _moved(tile: Float[Array, "N 2d"], derivative: Complex[Array, "N 3 d"], form: Complex[Array, "d d"]) -> Array:
    """Im⟨D_a u|F|u⟩, (N, 3)."""
    return jnp.imag(jnp.sum(derivative.conj() * (_states(tile) @ form.T)[:, None, :], axis=2))


def _squares(tile: Float[Array, "N 2d"], terms: tuple[Term, ...], rho: Complex[Array, "d d"]) -> tuple[Array, Array]:
    """Tr[N ρ N], where Σ Re[c ⟨p|X|p'⟩⟨p|Y|p'⟩*] = ⟨p'|N|p'⟩ with N of low rank, and ⟨p|p⟩ of every state."""
    u = _states(tile)
    left = [u @ right.conj() for _, _, right in terms]  # Y†|p⟩
    right = [u @ left.conj() for _, left, _ in terms]  # X†|p⟩
    # N = ½ Σ c |Y†p⟩⟨X†p| + h.c.
    first, second = jnp.stack(left + right, axis=1), jnp.stack(right + left, axis=1)
    factors = 0.5 * jnp.stack([c for c, _, _ in terms] + [jnp.conj(c) for c, _, _ in terms])
    metric = jnp.einsum("nsd,ntd->nst", second.conj(), second @ rho.T)
    gram = jnp.einsum("ntd,nsd->nst", first.conj(), first)
    squares = jnp.einsum("s,t,nst,nst->n", factors, factors.conj(), metric, gram).real
    return squares, jnp.sum(tile**2, axis=1)
