"""Scattering by two impurities without crossing, ∝ n²: Gaussian skew scattering, and what goes with it."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from jaxkin.disorder.amplitude import golden_rule
from jaxkin.disorder.orbital_moments import OrbitalMoments, dagger, hermitian, states_of_a_tile
from jaxkin.disorder.products import real_form
from jaxkin.disorder.states import States
from jaxkin.hamiltonian.tiles import map_over_tiles, sum_over_tiles
from jaxkin.namespace import AnyArray, Number

Pairs = Sequence[Sequence[Complex[AnyArray, "a2 b2"]]]
"""F_ij of kinds i and j: F_{(m n),(m' n')} = ∫(dk) G_mm' G_n'n at ε + i0, m and n of i, m' and n' of j, so that
Σ_j F_ij[X_j] = ∫(dk) G X G on i; 1/(eV² Å^d)."""


class Amplitude(NamedTuple):
    """n per Å^d impurities with T (Born and third order: V), (d, d) in eV Å^d."""

    density: Number
    matrix: Complex[Array, "d d"]


class Kind(NamedTuple):
    """One kind of impurity: all with the same amplitude on the same d orbitals.

    Attributes:
        amplitude: and density.
        orbitals: their indices.
        phase: e^{ik·(R_m+τ_m)} of each state, (M, d).
    """

    amplitude: Amplitude
    orbitals: tuple[int, ...]
    phase: Complex[Array, "M d"]


class TwoImpurityScattering(abc.ABC):
    """w⁽²⁾_{pp'} ∝ n² of one shell, as an operator on functions of the state."""

    @abc.abstractmethod
    def apply(self, x: Float[Array, "M m"]) -> tuple[Float[Array, "M m"], Float[Array, "M m"]]:
        """∫(dp') w⁽²⁾_{pp'} δ(ε−ε') x_p' and the same with p and p' exchanged in w⁽²⁾, in 1/ps."""

    def skew(self, x: Float[Array, "M m"]) -> Float[Array, "M m"]:
        """The odd half, A⁽²⁾ x: Gaussian skew scattering. It enters g as the A of one impurity does."""
        there, back = self.apply(x)
        return 0.5 * (there - back)


class TwoImpurities(TwoImpurityScattering):
    """w⁽²⁾_{pp'} ∝ n², p' → p, of impurities that act in few orbitals, in O(M d²) for each function.

    The averaged Green function between two scatterings is not that of the clean crystal: with the anti-Hermitian
    self-energy Σ = −iπ Σ_s W n T P_s T† (P_s = |s⟩⟨s|, the sum also over all kinds of impurities; its Hermitian part
    belongs to the bands), K[X] = Σ n T X T†, and ⟨p|T|p'⟩ = x,

    (ħ/2π) w⁽²⁾ = n 2Re{x* (⟨p|T|δp'⟩ − ⟨δp|T|p'⟩ + ⟨p|δT|p'⟩)} + ⟨p|K M K[P_p']|p⟩.

    - The ends: the right and left eigenvectors of H + Σ are |p⟩ ± |δp⟩ with |δp⟩ = Q_p Σ|p⟩ and the reduced resolvent
      Q_s = Σ_{m≠s} |m⟩⟨m|/(ε_s − ε_m).
    - The step in between: of G^R X G^A what is left beside the pole of one band is
      M[X] = iπ Σ_s W_s (Q_s X P_s − P_s X Q_s) + ½ ∫(G^R X G^R + G^A X G^A).
    - The amplitude itself: δT = T δG T with δG = ∫ G^R Σ G^R.

    With real amplitudes (Born) G^R G^R has no part that is odd in p ↔ p', and δT is of a higher order: leave
    ``pairs`` out. Each part alone violates flux conservation; their sum obeys ∫w⁽²⁾_{pp'} δ = ∫w⁽²⁾_{p'p} δ
    = Γ⁽²⁾_p, whatever G^R G^R is.

    Args:
        states: the shell, with the reduced resolvents on the kinds' orbitals.
        kinds: all of one sample.
        pairs: what complex amplitudes need.
    """

    def __init__(self, states: States, kinds: Sequence[Kind], pairs: Pairs | None = None):
        assert states.bloch is not None and states.reduced is not None
        self._weights, self.kinds = jnp.asarray(states.weights), tuple(kinds)
        u, self._reduced = jnp.asarray(states.bloch[0]), jnp.asarray(states.reduced)
        self._places = [np.array([states.orbitals.index(m) for m in kind.orbitals]) for kind in kinds]
        self._local = [kind.phase * u[:, np.array(kind.orbitals)] for kind in kinds]
        amplitudes = [kind.amplitude for kind in kinds]
        sigma = self_energies(amplitudes, [density_matrix(states, part) for part in self._local])
        number = range(len(kinds))
        # Q and P are Hermitian, and so is what belongs to i and j and to j and i
        found = {(i, j): self.step(self._weights[:, None], i, j)[0] for i in number for j in number if i <= j}
        steps = [[found[i, j] if i <= j else dagger(found[j, i]) for j in number] for i in number]
        self.algebra = TwoAmplitudes(amplitudes, sigma, steps, pairs)
        self._orbitals = [OrbitalMoments(local) for local in self._local]
        mixed = [self._mixed(i, sigma) for i in number]
        both = [jnp.concatenate(each, axis=1) for each in zip(self._local, mixed, strict=True)]
        self._both = [*map(real_form, both)]  # |p⟩ and |δp⟩

    def step(self, x: Float[Array, "M m"], i: int, j: int) -> Complex[Array, "m a2 b2"]:
        """Σ_s x_s Q_s X P_s of X on kind j, on kind i: :func:`step`."""
        a, b = self._places[i], self._places[j]

        def tile(x: Array, reduced: Array, bra: Array, ket: Array, *phases: Array) -> Array:
            return step(x, between_kinds(reduced, a, b, *phases), bra, ket)

        rows = states_of_a_tile(6 * len(a) * len(b))  # Q, P, and x P
        columns = (self._local[i], self._local[j], self.kinds[i].phase, self.kinds[j].phase)
        return sum_over_tiles(tile, rows, x, self._reduced, *columns)

    def _mixed(self, i: int, sigma: Sequence[Array]) -> Complex[Array, "M a"]:
        """|δp⟩ on kind i."""
        here, phases = self._places[i], [kind.phase for kind in self.kinds]

        def tile(reduced: Array, own: Array, *others: Array) -> Array:
            total = jnp.zeros(())
            for place, s, phase, u in zip(self._places, sigma, others[::2], others[1::2], strict=True):
                bent = u @ s.T
                total = total + jnp.sum(between_kinds(reduced, here, place, own, phase) * bent[:, None], axis=2)
            return total

        rows = states_of_a_tile(2 * self._reduced[0].size)
        others = [part for pair in zip(phases, self._local, strict=True) for part in pair]
        return map_over_tiles(tile, rows, self._reduced, phases[i], *others)

    def apply(self, x: Float[Array, "M m"]) -> tuple[Float[Array, "M m"], Float[Array, "M m"]]:
        return self._combined(x, 1.0, 0.0), self._combined(x, 0.0, 1.0)

    def skew(self, x: Float[Array, "M m"]) -> Float[Array, "M m"]:
        return self._combined(x, 0.5, -0.5)

    def _combined(self, x: Float[Array, "M m"], there: float, back: float) -> Float[Array, "M m"]:
        x, pairs = self._weights[:, None] * x, [*zip(self._orbitals, self._both, strict=True)]
        moments = [orbitals.mixed_moment(both, x) for orbitals, both in pairs]
        rho, mixed = zip(*(jnp.split(moment, 2, axis=1) for moment in moments), strict=True)
        total = jnp.zeros(())
        for (orbitals, both), (form, ends) in zip(pairs, self.algebra.forms(rho, mixed, there, back), strict=True):
            total = total + orbitals.mixed_expected(jnp.concatenate([form, 2 * ends], axis=2), both)
        return total


class TwoAmplitudes:
    """What :class:`TwoImpurities` is in the orbitals alone, once the states are summed over.

    Args:
        kinds: S amplitudes.
        sigma: Σ of each, :func:`self_energies`.
        steps: :func:`step` of the weights W from kind to kind.
        pairs: F_ij, or None.
    """

    def __init__(
        self,
        kinds: Sequence[Amplitude],
        sigma: Sequence[Array],
        steps: Sequence[Sequence[Array]],
        pairs: Pairs | None,
    ):
        self.kinds, self._steps, self._pairs = tuple(kinds), steps, pairs
        self.changes = [
            jnp.zeros_like(t) if pairs is None else t @ between(pairs[i], sigma) @ t for i, (_, t) in enumerate(kinds)
        ]

    def forms(
        self,
        rho: Sequence[Complex[Array, "m d d"]],
        mixed: Sequence[Complex[Array, "m d d"]],
        there: float,
        back: float,
    ) -> list[tuple[Complex[Array, "m d d"], Complex[Array, "m d d"]]]:
        """Hermitian F and E of each kind with ⟨p|F|p⟩ + 2Re⟨p|E|δp⟩ = ∫(dp') x_p' times w⁽²⁾_{pp'} and w⁽²⁾_{p'p}.

        w⁽²⁾_{p'p} is w⁽²⁾_{pp'} with T and T†, G^R and G^A exchanged.

        Args:
            rho: Σ W x |p⟩⟨p| of each kind, (m, d, d).
            mixed: Σ W x |δp⟩⟨p|, (m, d, d).
            there, back: factors.
        """
        forms, ends = ([jnp.zeros_like(moment) for moment in rho] for _ in range(2))
        for side, factor in ((1, there), (-1, back)):
            if not factor:
                continue
            kinds = self.kinds if side > 0 else [kind._replace(matrix=kind.matrix.conj().T) for kind in self.kinds]
            once = [scattered(kind, moment) for kind, moment in zip(kinds, rho, strict=True)]
            for i, kind in enumerate(kinds):
                inner = hermitian(2 * side * (mixed[i] + 1j * jnp.pi * between(self._steps[i], once)))
                if self._pairs is not None:
                    inner = inner + hermitian(between(self._pairs[i], once))
                change = self.changes[i] if side > 0 else self.changes[i].conj().T
                changed = hermitian(2 * kind.density * (change @ rho[i] @ kind.matrix.conj().T))
                forms[i] = forms[i] + factor * (scattered(kind, inner) + changed)
                ends[i] = ends[i] - factor * side * once[i]
        scale = golden_rule(1.0)
        return [(scale * form, scale * end) for form, end in zip(forms, ends, strict=True)]


def density_matrix(states: States, local: Complex[Array, "M d"]) -> Complex[Array, "d d"]:
    """ρ = Σ W |p⟩⟨p| of states on d orbitals, 1/(eV Å^d)."""

    def part(weights: Array, u: Array) -> Array:
        return (weights[:, None] * u).T @ u.conj()

    return sum_over_tiles(part, states_of_a_tile(4 * local.shape[1]), jnp.asarray(states.weights), local)


def self_energies(kinds: Sequence[Amplitude], densities: Sequence[Complex[Array, "d d"]]) -> list[Array]:
    """Σ = −iπ n T ρ T† of each kind, ρ = Σ W |p⟩⟨p|."""
    return [-1j * jnp.pi * scattered(kind, rho) for kind, rho in zip(kinds, densities, strict=True)]


def scattered(kind: Amplitude, x: Complex[Array, "... d d"]) -> Complex[Array, "... d d"]:
    """K[X] = n T X T† of one kind."""
    return kind.density * (kind.matrix @ x @ kind.matrix.conj().T)


def between(row: Sequence[AnyArray], x: Sequence[Array]) -> Array:
    """Σ_j F_ij[X_j], (..., d_i, d_i)."""
    total = jnp.zeros(())
    for block, one in zip(row, x, strict=True):
        total = total + one.reshape(*one.shape[:-2], -1) @ jnp.asarray(block).T
    d = round(total.shape[-1] ** 0.5)
    return total.reshape(*total.shape[:-1], d, d)


def between_kinds(
    reduced: Complex[Array, "M o o"],
    a: np.ndarray,
    b: np.ndarray,
    left: Complex[Array, "M a"],
    right: Complex[Array, "M b"],
) -> Complex[Array, "M a b"]:
    """Q on the orbitals at places ``a`` and ``b``, with the phases of two kinds."""
    return left[:, :, None] * _chosen(_chosen(reduced, a, 1), b, 2) * right[:, None].conj()


def _chosen(x: Array, places: np.ndarray, axis: int) -> Array:
    """A slice, if they follow on each other: ten times as fast."""
    first, count = int(places[0]), len(places)
    if np.array_equal(places, np.arange(first, first + count)):
        return jax.lax.slice_in_dim(x, first, first + count, axis=axis)
    return jnp.take(x, places, axis=axis)


def step(
    x: Float[Array, "M m"], q: Complex[Array, "M a b"], bra: Complex[Array, "M a"], ket: Complex[Array, "M b"]
) -> Complex[Array, "m a2 b2"]:
    """Σ_s x_s Q_s[a, a'] ⟨b'|s⟩⟨s|b⟩ as ((a b), (a' b')): Σ_s x_s Q_s X P_s for X on the other kind."""
    outer = ket[:, :, None] * bra.conj()[:, None]
    outer = (x[:, :, None, None] * outer[:, None]).reshape(len(x), -1)
    a, b = q.shape[1:]
    total = (q.reshape(len(q), -1).T @ outer).reshape(a, b, -1, b, a)  # a a' m b' b
    return jnp.transpose(total, (2, 0, 4, 1, 3)).reshape(-1, a * a, b * b)
