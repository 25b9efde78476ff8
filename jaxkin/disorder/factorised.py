"""Kernels of impurities that act in d orbitals: exact actions in O(N d²) instead of O(N² d)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from jaxkin import units
from jaxkin.devices import spread
from jaxkin.disorder.amplitude import Term, Terms, golden_rule, optical_theorem
from jaxkin.disorder.collisions import Collisions
from jaxkin.disorder.states import States
from jaxkin.namespace import AnyArray, Number, namespace

TILE_NUMBERS = 2**18
"""Real numbers of a tile of states: its product with a few columns stays in the cache (twice as fast)."""


class FactorisedCollisions(Collisions):
    """|⟨p|T|p'⟩|² = ⟨p|T P' T†|p⟩ with P' = |p'⟩⟨p'|: the sum over p' is taken inside, in d orbitals.

    Σ_j W_j Re[c ⟨i|X|j⟩⟨i|Y|j⟩*] x_j = Re⟨i|c X M Y†|i⟩ with M = Σ_j W_j x_j |j⟩⟨j|: one matrix product
    makes the M of all columns, one more all expectation values. States are held as 2d real numbers, in
    which both products are real.

    Args:
        states: the shell.
        local: ⟨m|p⟩, (N, d): the states on the impurity's orbitals.
        derivative: ⟨m|D_a p⟩, (N, 3, d), in Å.
        terms: the kernels in these orbitals, eV Å^d.
        density: impurities per Å^d.
    """

    def __init__(
        self,
        states: States,
        local: Complex[Array | np.ndarray, "N d"],
        derivative: Complex[Array | np.ndarray, "N 3 d"],
        terms: Terms,
        density: Number,
    ):
        super().__init__(states)
        self._derivative, self._terms, self._scale = derivative, terms, golden_rule(density)
        count, d = local.shape
        self._xp = xp = namespace(states.weights)
        largest = max(256, 1 << (TILE_NUMBERS // (2 * d)).bit_length() - 1)
        # what is traced is one tile
        self._rows = count if xp is jnp else min(largest, max(256, 1 << max(count - 1, 0).bit_length()))
        self._tiles = [self._tile(u) for u in self._cut(local)]

    def _tile(self, u: AnyArray) -> Array:
        """Real and imaginary parts of ⟨m|p⟩, on all devices."""
        parts = self._xp.concatenate([self._xp.real(u), self._xp.imag(u)], axis=1)
        return parts if self._xp is jnp else jnp.asarray(spread(parts))

    def symmetric(self, x: AnyArray) -> AnyArray:
        return self._apply(self._terms.symmetric, x)

    def antisymmetric(self, x: AnyArray) -> AnyArray:
        return self._apply(self._terms.antisymmetric, x) if self._terms.antisymmetric else 0.0 * x

    def _apply(self, terms: tuple[Term, ...], x: AnyArray) -> AnyArray:
        if not len(x):
            return 0.0 * x
        return self._scale * self._expected(_sandwiched(terms, self._moment(self.weights[:, None] * x)))

    def _cut(self, columns: AnyArray) -> Iterator[AnyArray]:
        """The rows of each tile; the last is filled with zeros, so that one shape compiles."""
        for start in range(0, len(columns), self._rows):
            part = columns[start : start + self._rows]
            fill = self._rows - len(part)
            yield np.pad(part, ((0, fill), *((0, 0),) * (part.ndim - 1))) if fill else part

    def _moment(self, x: AnyArray) -> Complex[Array, "m d d"]:
        """Σ_j x_j |j⟩⟨j| of every column."""
        pieces = (_project(tile, part) for tile, part in zip(self._tiles, self._cut(x), strict=True))
        return _complex_matrices(sum(pieces, jnp.zeros(())))

    def _expected(self, forms: Complex[Array, "m d d"]) -> AnyArray:
        """⟨i|F|i⟩ of Hermitian matrices F."""
        real = _real_matrices(forms)
        return self._xp.concatenate([_expand(tile, real) for tile in self._tiles])[: len(self.weights)]

    @cached_property
    def antisymmetric_size(self) -> float:
        """∫|w^A|δ ≤ √(ν ∫(w^A)²δ), where w^A = ⟨p'|N|p'⟩ and ⟨p'|N|p'⟩² ≤ ⟨p'|p'⟩⟨p'|N²|p'⟩."""
        if not self._terms.antisymmetric or not self._tiles:
            return 0.0
        size = np.abs(self.weights)
        rho = self._moment(size[:, None])[0]
        bounds = [_squares(tile, self._terms.antisymmetric, rho) for tile in self._tiles]
        squares, norms = (float(jnp.max(jnp.stack(part))) for part in zip(*bounds, strict=True))
        return self._scale * float(np.sqrt(size.sum() * norms * squares))

    @cached_property
    def side_jump_velocity(self) -> AnyArray:
        """−(2πn/ħ) ħ Σ_j W_j of the part of Im{[⟨Du|T|u'⟩ + ⟨u|T|Du'⟩]⟨u|T|u'⟩*} that is odd under p ↔ p'."""
        if not self._tiles:
            return 0.0 * self.velocity
        t = self._terms.amplitude
        back = t.conj().T
        rho = self._moment(self.weights[:, None])[0]
        cut = zip(self._tiles, self._cut(self._derivative), self._cut(self.weights), strict=True)
        flow = sum((_flow(*part) for part in cut), jnp.zeros(()))
        outer = t @ rho @ back + back @ rho @ t
        inner = t @ flow @ back - back @ _dagger(flow) @ t
        inner = (inner - _dagger(inner)) / 2j  # its expectation value is Im⟨u|inner|u⟩
        moved = [_moved(tile, part, outer) for tile, part in zip(self._tiles, self._cut(self._derivative), strict=True)]
        total = self._xp.concatenate(moved)[: len(self.weights)] + self._expected(inner)
        return -0.5 * units.HBAR * self._scale * total

    @property
    def optical_theorem(self) -> float | None:
        return optical_theorem(
            self._terms.amplitude, self._scale, self.rate, lambda form: self._expected(form[None])[:, 0]
        )


def _dagger(matrices: Complex[Array, "m d d"]) -> Complex[Array, "m d d"]:
    return jnp.conj(jnp.swapaxes(matrices, 1, 2))


@jax.jit
def _complex_matrices(real: Float[Array, "2d m 2d"]) -> Complex[Array, "m d d"]:
    """Σ x |u⟩⟨u| from the products of real and imaginary parts of u."""
    d = len(real) // 2
    g = jnp.swapaxes(real, 0, 1)
    return g[:, :d, :d] + g[:, d:, d:] + 1j * (g[:, d:, :d] - g[:, :d, d:])


@jax.jit
def _real_matrices(forms: Complex[Array, "m d d"]) -> Float[Array, "2d m 2d"]:
    """The quadratic form ⟨u|F|u⟩ on (Re u, Im u)."""
    a, b = forms.real, forms.imag
    whole = jnp.concatenate([jnp.concatenate([a, -b], axis=2), jnp.concatenate([b, a], axis=2)], axis=1)
    return jnp.swapaxes(whole, 0, 1)


@jax.jit
def _sandwiched(terms: tuple[Term, ...], moment: Complex[Array, "m d d"]) -> Complex[Array, "m d d"]:
    """The Hermitian part of Σ c X M Y†."""
    total = jnp.zeros_like(moment)
    for factor, left, right in terms:
        total = total + factor * (left @ moment @ right.conj().T)
    return 0.5 * (total + _dagger(total))


def _states(tile: Float[Array, "N 2d"]) -> Complex[Array, "N d"]:
    d = tile.shape[1] // 2
    return tile[:, :d] + 1j * tile[:, d:]


@jax.jit
def _project(tile: Float[Array, "N 2d"], x: Float[Array, "N m"]) -> Float[Array, "2d m 2d"]:
    n, numbers = tile.shape
    columns = (tile[:, None, :] * x[:, :, None]).reshape(n, -1)
    return (tile.T @ columns).reshape(numbers, -1, numbers)


@jax.jit
def _expand(tile: Float[Array, "N 2d"], forms: Float[Array, "2d m 2d"]) -> Float[Array, "N m"]:
    numbers = tile.shape[1]
    images = (tile @ forms.reshape(numbers, -1)).reshape(len(tile), -1, numbers)
    return jnp.einsum("nmd,nd->nm", images, tile)


@jax.jit
def _flow(tile: Float[Array, "N 2d"], derivative: Complex[Array, "N 3 d"], weights: Float[Array, " N"]) -> Array:
    """Σ W |D_a u⟩⟨u|, (3, d, d)."""
    return jnp.einsum("iam,in->amn", derivative, weights[:, None] * _states(tile).conj())


@jax.jit
def _moved(tile: Float[Array, "N 2d"], derivative: Complex[Array, "N 3 d"], form: Complex[Array, "d d"]) -> Array:
    """Im⟨D_a u|F|u⟩, (N, 3)."""
    return jnp.imag(jnp.sum(derivative.conj() * (_states(tile) @ form.T)[:, None, :], axis=2))


@jax.jit
def _squares(tile: Float[Array, "N 2d"], terms: tuple[Term, ...], rho: Complex[Array, "d d"]) -> tuple[Array, Array]:
    """Largest Tr[N ρ N], where Σ Re[c ⟨p|X|p'⟩⟨p|Y|p'⟩*] = ⟨p'|N|p'⟩ with N of low rank, and largest ⟨p|p⟩."""
    u = _states(tile)
    left = [u @ right.conj() for _, _, right in terms]  # Y†|p⟩
    right = [u @ left.conj() for _, left, _ in terms]  # X†|p⟩
    # N = ½ Σ c |Y†p⟩⟨X†p| + h.c.
    first, second = jnp.stack(left + right, axis=1), jnp.stack(right + left, axis=1)
    factors = 0.5 * jnp.stack([c for c, _, _ in terms] + [jnp.conj(c) for c, _, _ in terms])
    metric = jnp.einsum("nsd,ntd->nst", second.conj(), second @ rho.T)
    gram = jnp.einsum("ntd,nsd->nst", first.conj(), first)
    squares = jnp.einsum("s,t,nst,nst->n", factors, factors.conj(), metric, gram).real
    return jnp.max(squares), jnp.max(jnp.sum(tile**2, axis=1))
