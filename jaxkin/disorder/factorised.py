"""Kernels of impurities that act in d orbitals: exact actions in O(N d²) instead of O(N² d)."""

from __future__ import annotations

from functools import cached_property

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from jaxkin import units
from jaxkin.disorder.amplitude import Term, Terms, golden_rule
from jaxkin.disorder.collisions import Collisions, LowRank
from jaxkin.disorder.states import ShellStates

ROWS = 4096
"""Points whose d² features exist at a time."""


class FactorisedCollisions(Collisions):
    """|⟨p|T|p'⟩|² = Tr[P T P' T†] with P = |p⟩⟨p|: bilinear in the d² real numbers that P is made of.

    Args:
        states: the shell.
        local: ⟨m|p⟩, (N, d): the states on the impurity's orbitals.
        derivative: ⟨m|D_a p⟩, (N, 3, d), in Å.
        terms: the kernels in these orbitals, eV Å^d.
        density: impurities per Å^d.
    """

    def __init__(
        self,
        states: ShellStates,
        local: Complex[np.ndarray, "N d"],
        derivative: Complex[np.ndarray, "N 3 d"],
        terms: Terms,
        density: float,
    ):
        super().__init__(states)
        self._local, self._derivative, self._terms = local, derivative, terms
        self._scale = golden_rule(density)
        self._s, self._a = (self._scale * _bilinear(part, local.shape[1]) for part in terms[:2])

    def symmetric(self, x: np.ndarray) -> np.ndarray:
        return self._apply(self._s, x)

    def antisymmetric(self, x: np.ndarray) -> np.ndarray:
        return self._apply(self._a, x) if self._terms.antisymmetric else np.zeros_like(x)

    def _apply(self, kernel: np.ndarray, x: np.ndarray) -> np.ndarray:
        """X K Xᵀ W x."""
        weighted, inner = self.weights[:, None] * x, 0.0
        for part, tile in _tiles(self._local):
            inner = inner + _project(tile, _padded(weighted[part]))
        inner = jnp.asarray(kernel) @ inner
        y = np.empty_like(x)
        for part, tile in _tiles(self._local):
            y[part] = _expand(tile, inner)[: part.stop - part.start]
        return y

    @cached_property
    def antisymmetric_size(self) -> float:
        """By Schwarz: √(ν ∫ (w^A)² δ)."""
        if not self._terms.antisymmetric:
            return 0.0
        gram = 0.0
        for part, tile in _tiles(self._local):
            gram = gram + _gram(tile, _padded(self.weights[part][:, None]))
        form = jnp.asarray(self._a) @ gram @ jnp.asarray(self._a).T
        squares = [np.asarray(_quadratic(tile, form)) for _, tile in _tiles(self._local)]
        return float(np.sqrt(max(np.max(np.concatenate(squares)), 0.0) * np.abs(self.weights).sum()))

    @cached_property
    def side_jump_velocity(self) -> np.ndarray:
        """−(2πn/ħ) ħ Σ_j W_j of the part of Im{[⟨Du|T|u'⟩ + ⟨u|T|Du'⟩]⟨u|T|u'⟩*} that is odd under p ↔ p'."""
        u, du, w = self._local, self._derivative, self.weights
        t = np.asarray(self._terms.amplitude)
        rho = np.einsum("i,im,in->mn", w, u, u.conj(), optimize=True)
        flow = np.einsum("i,iam,in->amn", w, du, u.conj(), optimize=True)  # Σ W |Du⟩⟨u|
        into = np.einsum("iam,mn,in->ia", du.conj(), t @ rho @ t.conj().T, u, optimize=True)
        into += np.einsum("im,amn,in->ia", u.conj(), t @ flow @ t.conj().T, u, optimize=True)
        back = t.conj().T
        out = np.einsum("im,mn,ian->ia", u.conj(), back @ rho @ t, du, optimize=True)
        out += np.einsum("im,amn,in->ia", u.conj(), back @ np.swapaxes(flow.conj(), 1, 2) @ t, u, optimize=True)
        return -0.5 * units.HBAR * self._scale * np.imag(into - out)

    @property
    def optical_theorem(self) -> float | None:
        u = self._local
        return optical_theorem(self._terms, self._scale, self.rate, lambda t: np.einsum("im,mn,in->i", u.conj(), t, u))

    def low_rank(self) -> LowRank:
        features = np.concatenate(
            [np.asarray(_features(tile))[: part.stop - part.start] for part, tile in _tiles(self._local)]
        )
        return LowRank(features, self._s, self._a)


def optical_theorem(terms: Terms, scale: float, rate: np.ndarray, diagonal) -> float | None:
    """max |Γ + (2n/ħ) Im T_pp| / max Γ; None for an amplitude that is real (Hermitian)."""
    t = np.asarray(terms.amplitude)
    if not len(rate) or np.max(np.abs(t - t.conj().T)) <= 1e-12 * np.max(np.abs(t)):
        return None
    forward = scale / np.pi * np.imag(diagonal(t))
    return float(np.max(np.abs(rate + forward)) / np.max(np.abs(rate)))


def _bilinear(terms: tuple[Term, ...], d: int) -> np.ndarray:
    """Real (d², d²) matrix K with Re Σ c ⟨p|X|p'⟩⟨p|Y|p'⟩* = x K x'ᵀ for the features of :func:`_features`."""
    basis = _hermitian_basis(d)
    total = np.zeros((d * d, d * d))
    for factor, left, right in terms:
        # Tr[B_a X B_b Y†] for Hermitian basis matrices B
        moved = np.einsum("mn,bnk,lk->bml", np.asarray(left), basis, np.asarray(right).conj(), optimize=True)
        total += np.real(factor * basis.transpose(0, 2, 1).reshape(d * d, -1) @ moved.reshape(d * d, -1).T)
    return total


def _hermitian_basis(d: int) -> np.ndarray:
    """B_a with P = Σ_a x_a B_a, in the order of :func:`_features`, (d², d, d)."""
    rows, columns = np.triu_indices(d, 1)
    pairs = len(rows)
    basis = np.zeros((d * d, d, d), complex)
    basis[np.arange(d), np.arange(d), np.arange(d)] = 1
    real, imaginary = d + np.arange(pairs), d + pairs + np.arange(pairs)
    basis[real, rows, columns] = basis[real, columns, rows] = 1
    basis[imaginary, rows, columns], basis[imaginary, columns, rows] = 1j, -1j
    return basis


@jax.jit
def _features(local: Complex[Array, "N d"]) -> Float[Array, "N D"]:
    """The d² real numbers of P_mn = ⟨m|p⟩⟨p|n⟩: its diagonal, Re and Im above it."""
    rows, columns = np.triu_indices(local.shape[1], 1)
    off = local[:, rows] * local[:, columns].conj()
    return jnp.concatenate([jnp.abs(local) ** 2, off.real, off.imag], axis=1)


def _tiles(local: np.ndarray):
    """Yield (slice, rows), the last tile filled with zeros, so that one shape compiles."""
    for start in range(0, len(local), ROWS):
        part = slice(start, min(start + ROWS, len(local)))
        yield part, _padded(local[part])


def _padded(rows: np.ndarray) -> np.ndarray:
    return np.pad(rows, ((0, ROWS - len(rows)), (0, 0)))


@jax.jit
def _project(local: Array, x: Array) -> Array:
    return _features(local).T @ x


@jax.jit
def _expand(local: Array, inner: Array) -> Array:
    return _features(local) @ inner


@jax.jit
def _gram(local: Array, weights: Array) -> Array:
    x = _features(local)
    return x.T @ (weights * x)


@jax.jit
def _quadratic(local: Array, form: Array) -> Array:
    x = _features(local)
    return jnp.sum((x @ form) * x, axis=1)
