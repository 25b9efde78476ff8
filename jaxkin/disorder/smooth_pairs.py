"""Scattering by two impurities with smooth potentials, interpolated through pivots."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Complex, Float

from jaxkin.disorder.amplitude import golden_rule
from jaxkin.disorder.orbital_moments import dagger, hermitian
from jaxkin.disorder.pivots import Interpolation
from jaxkin.disorder.smooth import FULL
from jaxkin.disorder.states import States
from jaxkin.disorder.two_impurities import (
    Amplitude,
    TwoImpurityScattering,
    density_matrix,
    scattered,
    self_energies,
)
from jaxkin.memory import limit
from jaxkin.surface.tiles import map_over_tiles, sum_over_tiles

ROWS = 256
"""States of a tile."""
ARRAYS = 8
"""Complex matrices of all pairs that exist for each orbital at once, an estimate."""


class SmoothKind(NamedTuple):
    """Impurities of one density and position.

    Attributes:
        amplitude: n, and T in the functions of the pivots.
        local: ⟨m|p⟩, (M, r).
        phases: :meth:`Interpolation.phases` of the states.
        through: ⟨m|k α⟩, the orbitals at their k in these functions.
    """

    amplitude: Amplitude
    local: Complex[Array, "M r"]
    phases: Complex[Array, "M s r"]
    through: Interpolation


class SmoothPairs(TwoImpurityScattering):
    """w⁽²⁾_{pp'} ∝ n² of :class:`TwoImpurities`, with functions of the pivots in place of a few orbitals.

    They are no orbitals, so that Q_s = Σ_αβ |k_s α⟩ Q_αβ ⟨k_s β| there has no matrix that may be kept: the sums over s
    are done for each function that w⁽²⁾ acts on. As in the T-matrix itself, Green functions are those of the shell:
    what G^R G^R adds is left out with the real part of G. Flux is conserved: ∫w⁽²⁾_{pp'} δ = ∫w⁽²⁾_{p'p} δ = 0.

    Args:
        states: the shell, with the reduced resolvents on all orbitals.
        kinds: all of one sample.
    """

    def __init__(self, states: States, kinds: Sequence[SmoothKind]):
        assert states.reduced is not None
        self._kinds, self._weights, self._reduced = (
            tuple(kinds),
            jnp.asarray(states.weights),
            jnp.asarray(states.reduced),
        )
        densities = [density_matrix(states, kind.local) for kind in kinds]
        sigma = [one[None] for one in self_energies([kind.amplitude for kind in kinds], densities)]
        mixed = map_over_tiles(lambda *tile: self._interband(tile, sigma), ROWS, *self._columns)
        self._mixed = [one[:, 0] for one in mixed]  # |δp⟩

    def apply(self, x: Float[Array, "M m"]) -> tuple[Float[Array, "M m"], Float[Array, "M m"]]:
        return self._combined(x, 1.0, 0.0), self._combined(x, 0.0, 1.0)

    def skew(self, x: Float[Array, "M m"]) -> Float[Array, "M m"]:
        return self._combined(x, 0.5, -0.5)

    @property
    def _columns(self) -> tuple[Array, ...]:
        return (self._reduced, *(kind.local for kind in self._kinds), *(kind.phases for kind in self._kinds))

    def _interband(self, tile: tuple[Array, ...], forms: Sequence[Complex[Array, "m r r"]]) -> list[Array]:
        """Q_p F|p⟩ of states of a tile for F on all kinds, on each of them, (I, m, r)."""
        q, count = tile[0], len(self._kinds)
        local, phases = tile[1 : 1 + count], tile[1 + count :]
        on_orbitals = jnp.zeros(())
        for kind, p, f, form in zip(self._kinds, local, phases, forms, strict=True):
            on_orbitals = on_orbitals + kind.through.bra(f, jnp.einsum("mab,ib->ima", form, p))
        between = jnp.einsum("iab,imb->ima", q, on_orbitals)
        return [kind.through.ket(f, between) for kind, f in zip(self._kinds, phases, strict=True)]

    def _combined(self, x: Float[Array, "M m"], there: float, back: float) -> Float[Array, "M m"]:
        """As :meth:`TwoAmplitudes.forms`, without G^R G^R."""
        weighed = self._weights[:, None] * x
        moments = [sum_over_tiles(_moment, ROWS, weighed, kind.local, kind.local) for kind in self._kinds]
        starts = [
            sum_over_tiles(_moment, ROWS, weighed, mixed, kind.local)
            for mixed, kind in zip(self._mixed, self._kinds, strict=True)
        ]
        forms = [jnp.zeros_like(moment) for moment in moments]
        ends = [jnp.zeros_like(moment) for moment in moments]
        for side, factor in ((1, there), (-1, back)):
            if not factor:
                continue
            amplitudes = [kind.amplitude for kind in self._kinds]
            if side < 0:
                amplitudes = [one._replace(matrix=dagger(one.matrix)) for one in amplitudes]
            once = [scattered(one, moment) for one, moment in zip(amplitudes, moments, strict=True)]

            def step(weights: Array, *tile: Array, once: list[Array] = once) -> list[Array]:
                """Σ W Q_s X P_s on each kind."""
                bent, local = self._interband(tile, once), tile[1 : 1 + len(once)]
                return [_outer(weights[:, None, None] * y, p) for y, p in zip(bent, local, strict=True)]

            steps = sum_over_tiles(step, ROWS, self._weights, *self._columns)
            for i, one in enumerate(amplitudes):
                inner = hermitian(2 * side * (starts[i] + 1j * jnp.pi * steps[i]))
                forms[i] = forms[i] + factor * scattered(one, inner)
                ends[i] = ends[i] - 2 * factor * side * once[i]
        total = jnp.zeros(())
        for kind, mixed, form, end in zip(self._kinds, self._mixed, forms, ends, strict=True):

            def expected(p: Array, changed: Array, form: Array = form, end: Array = end) -> Array:
                image = jnp.einsum("mab,ib->ima", form, p) + jnp.einsum("mab,ib->ima", end, changed)
                return jnp.sum(p.conj()[:, None] * image, axis=2).real

            total = total + map_over_tiles(expected, ROWS, kind.local, mixed)
        return golden_rule(1.0) * total


class PairMatrix(TwoImpurityScattering):
    """The same as a matrix of all pairs, (M, M) in eV Å^d / ps.

    With E^α_pp' = Σ n ⟨p|T|k'α⟩⟨p|T|p'⟩*, F^α_pp' = Σ n ⟨kα|T|p'⟩⟨p|T|p'⟩* (sums over kinds), Q_s the reduced resolvent
    between orbitals, and |δp⟩_α = −iπ Σ_sβ Q_p,αβ F^β_ps W_s,

    (ħ/2π) w⁽²⁾ = 2Re Σ_α [E^α_pp' δp'_α − δp_α* F^α_pp'] − 2π Im Σ_s W_s E^α_ps Q_s,αβ F^β_sp'.
    """

    def __init__(self, states: States, kinds: Sequence[SmoothKind]):
        assert states.reduced is not None
        q, w = jnp.asarray(states.reduced), jnp.asarray(states.weights)
        self._weights = w
        ends, starts = jnp.zeros(()), jnp.zeros(())
        for kind in kinds:
            n, t = kind.amplitude
            amplitude = (kind.local.conj() @ t @ kind.local.T).conj()

            def bra(matrix: Array, kind: SmoothKind = kind) -> Array:
                """⟨k_i α|T|p_j⟩, (α, M, M)."""
                images = kind.local @ matrix.T

                def rows(phases: Array) -> Array:
                    every = jnp.broadcast_to(images, (len(phases), *images.shape))
                    return kind.through.bra(phases, every)

                return jnp.moveaxis(map_over_tiles(rows, 1, kind.phases), 2, 0)

            starts = starts + n * bra(t) * amplitude
            ends = ends + n * dagger(bra(dagger(t))) * amplitude
        mixed = jnp.einsum("iab,bi->ai", q, -1j * jnp.pi * (starts @ w))
        both = jnp.einsum("aij,aj->ij", ends, mixed) - jnp.einsum("aij,ai->ij", starts, mixed.conj())
        between = jnp.einsum("ais,asj->ij", ends, w[:, None] * jnp.einsum("sab,bsj->asj", q, starts))
        self._kernel: Float[Array, "M M"] = golden_rule(1.0) * (2 * both.real - 2 * jnp.pi * between.imag)

    def apply(self, x: Float[Array, "M m"]) -> tuple[Float[Array, "M m"], Float[Array, "M m"]]:
        weighed = self._weights[:, None] * x
        return self._kernel @ weighed, self._kernel.T @ weighed


def smooth_pairs(states: States, kinds: Sequence[SmoothKind]) -> SmoothPairs | PairMatrix:
    """By what costs less, if there is memory for it."""
    size, ranks = len(states), sum(kind.local.shape[1] for kind in kinds)
    room = 16 * ARRAYS * len(states.orbitals) * size**2 <= limit() // 2
    return PairMatrix(states, kinds) if size <= FULL * ranks and room else SmoothPairs(states, kinds)


def _moment(x: Array, left: Array, right: Array) -> Complex[Array, "m r r"]:
    """Σ x |left⟩⟨right|."""
    return _outer(x[:, :, None] * left[:, None], right)


def _outer(left: Complex[Array, "I m r"], right: Complex[Array, "I r"]) -> Complex[Array, "m r r"]:
    return jnp.einsum("ima,ib->mab", left, right.conj())
