"""Scattering by two impurities without crossing, ∝ n²: Gaussian skew scattering, and what goes with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from jaxkin.disorder.amplitude import golden_rule
from jaxkin.disorder.orbital_moments import OrbitalMoments, dagger
from jaxkin.disorder.states import States
from jaxkin.namespace import AnyArray, Number
from jaxkin.surface.tiles import sum_over_tiles

ROWS = 4096
"""States of a tile."""

Pairs = Sequence[Sequence[Complex[AnyArray, "a2 b2"]]]
"""F_ij of kinds i and j: F_{(m n),(m' n')} = ∫(dk) G_mm' G_n'n at ε + i0, m and n of i, m' and n' of j, so that
Σ_j F_ij[X_j] = ∫(dk) G X G on i; 1/(eV² Å^d)."""


class Kind(NamedTuple):
    """One kind of impurity: all with the same amplitude on the same d orbitals.

    Attributes:
        density: n per Å^d.
        matrix: T (Born and third order: V), (d, d) in eV Å^d.
        orbitals: their indices.
        phase: e^{ik·(R_m+τ_m)} of each state, (M, d).
    """

    density: Number
    matrix: Complex[Array, "d d"]
    orbitals: tuple[int, ...]
    phase: Complex[Array, "M d"]


class TwoImpurities:
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
        u, reduced = jnp.asarray(states.bloch[0]), jnp.asarray(states.reduced)
        place = [np.array([states.orbitals.index(m) for m in kind.orbitals]) for kind in kinds]
        local = [kind.phase * u[:, np.array(kind.orbitals)] for kind in kinds]
        densities = [jnp.einsum("s,sa,sb->ab", self._weights, u, u.conj()) for u in local]
        sigma = [-1j * jnp.pi * scattered(kind, rho) for kind, rho in zip(kinds, densities, strict=True)]
        mixed = [jnp.zeros_like(part) for part in local]  # |δp⟩
        self._steps: list[list[Array]] = []
        for i, first in enumerate(kinds):
            row = []
            for j, second in enumerate(kinds):
                q = first.phase[:, :, None] * reduced[:, place[i][:, None], place[j]] * second.phase[:, None].conj()
                mixed[i] = mixed[i] + jnp.einsum("sab,bc,sc->sa", q, sigma[j], local[j])
                row.append(1j * jnp.pi * sum_over_tiles(_step, ROWS, self._weights, q, local[i], local[j]))
            self._steps.append(row)
        self._pairs = pairs
        self.changes = [
            jnp.zeros_like(kind.matrix) if pairs is None else kind.matrix @ _between(pairs[i], sigma) @ kind.matrix
            for i, kind in enumerate(kinds)
        ]
        self._orbitals = [OrbitalMoments(jnp.concatenate(both, axis=1)) for both in zip(local, mixed, strict=True)]

    def apply(self, x: Float[Array, "M m"]) -> tuple[Float[Array, "M m"], Float[Array, "M m"]]:
        """∫(dp') w⁽²⁾_{pp'} δ(ε−ε') x_p' and the same with p and p' exchanged in w⁽²⁾, in 1/ps."""
        return self._combined(x, 1.0, 0.0), self._combined(x, 0.0, 1.0)

    def skew(self, x: Float[Array, "M m"]) -> Float[Array, "M m"]:
        """The odd half, A⁽²⁾ x: Gaussian skew scattering. It enters g as the A of one impurity does."""
        return self._combined(x, 0.5, -0.5)

    def _combined(self, x: Float[Array, "M m"], there: float, back: float) -> Float[Array, "M m"]:
        """The two directions with factors; that of w⁽²⁾_{p'p} has T and T†, G^R and G^A exchanged."""
        moments = [orbitals.moment(self._weights[:, None] * x) for orbitals in self._orbitals]
        total = jnp.zeros(())
        forms = [jnp.zeros_like(moment) for moment in moments]  # in (|p⟩, |δp⟩)
        for side, factor in ((1, there), (-1, back)):
            if not factor:
                continue
            kinds = self.kinds if side > 0 else [kind._replace(matrix=kind.matrix.conj().T) for kind in self.kinds]
            sizes = [len(kind.matrix) for kind in kinds]
            once = [scattered(kind, moment[:, :d, :d]) for kind, moment, d in zip(kinds, moments, sizes, strict=True)]
            for i, (kind, d) in enumerate(zip(kinds, sizes, strict=True)):
                rho, mixed = moments[i][:, :d, :d], moments[i][:, d:, :d]
                inner = _hermitian(2 * side * mixed + 2 * side * _between(self._steps[i], once))
                if self._pairs is not None:
                    inner = inner + _hermitian(_between(self._pairs[i], once))
                change = self.changes[i] if side > 0 else self.changes[i].conj().T
                changed = _hermitian(2 * kind.density * (change @ rho @ kind.matrix.conj().T))
                forms[i] = forms[i].at[:, :d, :d].add(factor * (scattered(kind, inner) + changed))
                forms[i] = forms[i].at[:, d:, :d].add(-factor * side * once[i])
                forms[i] = forms[i].at[:, :d, d:].add(-factor * side * once[i])
        for orbitals, form in zip(self._orbitals, forms, strict=True):
            total = total + orbitals.expected(form)
        return golden_rule(1.0) * total


def scattered(kind: Kind, x: Complex[Array, "... d d"]) -> Complex[Array, "... d d"]:
    """K[X] = n T X T† of one kind."""
    return kind.density * (kind.matrix @ x @ kind.matrix.conj().T)


def _between(row: Sequence[AnyArray], x: Sequence[Array]) -> Array:
    """Σ_j F_ij[X_j], (..., d_i, d_i)."""
    total = jnp.zeros(())
    for block, one in zip(row, x, strict=True):
        total = total + one.reshape(*one.shape[:-2], -1) @ jnp.asarray(block).T
    d = round(total.shape[-1] ** 0.5)
    return total.reshape(*total.shape[:-1], d, d)


def _hermitian(matrices: Complex[Array, "... d d"]) -> Complex[Array, "... d d"]:
    return 0.5 * (matrices + dagger(matrices))


def _step(weights: Array, q: Array, bra: Array, ket: Array) -> Complex[Array, "a2 b2"]:
    """Σ_s W_s Q_s[a, a'] ⟨b'|s⟩⟨s|b⟩ as ((a b), (a' b'))."""
    outer = jnp.einsum("s,sB,sb->sBb", weights, ket, bra.conj())
    a, b = q.shape[1:]
    total = (q.reshape(len(q), -1).T @ outer.reshape(len(q), -1)).reshape(a, b, b, a)  # a a' b' b
    return jnp.transpose(total, (0, 3, 1, 2)).reshape(a * a, b * b)
