"""Scattering by two impurities with smooth potentials, interpolated through pivots."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Complex, Float

from jaxkin.disorder.amplitude import golden_rule
from jaxkin.disorder.orbital_moments import dagger, hermitian
from jaxkin.disorder.pivots import Interpolation
from jaxkin.disorder.states import States
from jaxkin.disorder.two_impurities import (
    Amplitude,
    TwoImpurityScattering,
    scattered,
    self_energies,
)
from jaxkin.hamiltonian.tiles import map_over_tiles, sum_over_tiles

ROWS = 256
"""States of a tile."""


class SmoothKind(NamedTuple):
    """Impurities of one density and position.

    Attributes:
        amplitude: n, and T in the functions of the pivots.
        local: ⟨m|p⟩, (M, r).
        density: ρ = Σ W |p⟩⟨p| in these functions.
        through: ⟨m|k α⟩, the orbitals at their k in these functions.
    """

    amplitude: Amplitude
    local: Complex[Array, "M r"]
    density: Complex[Array, "r r"]
    through: Interpolation


class SmoothPairs(TwoImpurityScattering):
    """w⁽²⁾_{pp'} ∝ n² of :class:`TwoImpurities`, with functions of the pivots in place of a few orbitals.

    They are no orbitals, so that Q_s = Σ_αβ |k_s α⟩ Q_αβ ⟨k_s β| there has no matrix that may be kept: the sums over s
    are done for each function that w⁽²⁾ acts on, and ⟨m|k α⟩ is made tile by tile. As in the T-matrix itself, Green
    functions are those of the shell: what G^R G^R adds is left out with the real part of G. Flux is conserved:
    ∫w⁽²⁾_{pp'} δ = ∫w⁽²⁾_{p'p} δ = 0.

    Args:
        states: the shell, with the reduced resolvents on all orbitals.
        kinds: all of one sample.
    """

    def __init__(self, states: States, kinds: Sequence[SmoothKind]):
        assert states.reduced is not None
        self._kinds, self._weights = tuple(kinds), jnp.asarray(states.weights)
        self._k, self._reduced = jnp.asarray(states.k), jnp.asarray(states.reduced)
        densities = [kind.density for kind in kinds]
        sigma = [one[None] for one in self_energies([kind.amplitude for kind in kinds], densities)]
        spread = self._spread(sigma)

        def changed(*tile: Array) -> list[Array]:
            return [kind.through.reduced(y)[:, 0] for kind, y in zip(kinds, self._interband(tile, spread), strict=True)]

        self._mixed = map_over_tiles(changed, ROWS, *self._columns)  # |δp⟩

    def apply(self, x: Float[Array, "M m"]) -> tuple[Float[Array, "M m"], Float[Array, "M m"]]:
        return self._combined(x, 1.0, 0.0), self._combined(x, 0.0, 1.0)

    def skew(self, x: Float[Array, "M m"]) -> Float[Array, "M m"]:
        return self._combined(x, 0.5, -0.5)

    @property
    def _columns(self) -> tuple[Array, ...]:
        return (self._k, self._reduced, *(kind.local for kind in self._kinds))

    def _spread(self, forms: Sequence[Complex[Array, "m r r"]]) -> list[Array]:
        """R⁻¹F of every kind, with which F|p⟩ is on the sources themselves."""
        return [kind.through.on_sources(form) for kind, form in zip(self._kinds, forms, strict=True)]

    def _interband(self, tile: Sequence[Array], spread: Sequence[Complex[Array, "m t r"]]) -> list[Array]:
        """⟨q|V Q_p F|p⟩ of states of a tile and the sources q of each kind, for F on all kinds, (I, m, t)."""
        k, resolvents, *local = tile
        waves, on_orbitals = [], jnp.zeros(())
        for kind, p, form in zip(self._kinds, local, spread, strict=True):
            waves.append(kind.through.waves(k))
            on_orbitals = on_orbitals + kind.through.bra(waves[-1], jnp.einsum("mab,ib->ima", form, p))
        between = jnp.einsum("iab,imb->ima", resolvents, on_orbitals)
        return [kind.through.ket(wave, between) for kind, wave in zip(self._kinds, waves, strict=True)]

    def _combined(self, x: Float[Array, "M m"], there: float, back: float) -> Float[Array, "M m"]:
        """As :meth:`TwoAmplitudes.forms`, without G^R G^R."""
        weighed, kinds = self._weights[:, None] * x, self._kinds
        states = [kind.local for kind in kinds]
        moments = [sum_over_tiles(_moment, ROWS, weighed, p, p) for p in states]
        starts = [sum_over_tiles(_moment, ROWS, weighed, *pair) for pair in zip(self._mixed, states, strict=True)]
        ways = [(side, factor) for side, factor in ((1, there), (-1, back)) if factor]
        scatter = [[_turned(kind.amplitude, side) for side, _ in ways] for kind in kinds]
        once = [jnp.stack([scattered(one, rho) for one in way]) for way, rho in zip(scatter, moments, strict=True)]
        spread = self._spread([one.reshape(-1, *one.shape[2:]) for one in once])

        def step(weights: Array, *tile: Array) -> list[Array]:
            """Σ W Q_s X P_s on each kind, both ways beside one another."""
            bent = self._interband(tile, spread)
            return [_outer(weights[:, None, None] * y, p) for y, p in zip(bent, tile[2:], strict=True)]

        steps = sum_over_tiles(step, ROWS, self._weights, *self._columns)
        total = jnp.zeros(())
        for i, kind in enumerate(kinds):
            bent = kind.through.reduced(jnp.swapaxes(steps[i], 1, 2)).swapaxes(1, 2).reshape(once[i].shape)
            form, end = jnp.zeros_like(moments[i]), jnp.zeros_like(moments[i])
            for n, (side, factor) in enumerate(ways):
                inner = hermitian(2 * side * (starts[i] + 1j * jnp.pi * bent[n]))
                form = form + factor * scattered(scatter[i][n], inner)
                end = end - 2 * factor * side * once[i][n]

            def expected(p: Array, changed: Array, form: Array = form, end: Array = end) -> Array:
                image = jnp.einsum("mab,ib->ima", form, p) + jnp.einsum("mab,ib->ima", end, changed)
                return jnp.sum(p.conj()[:, None] * image, axis=2).real

            total = total + map_over_tiles(expected, ROWS, kind.local, self._mixed[i])
        return golden_rule(1.0) * total


def _turned(kind: Amplitude, side: int) -> Amplitude:
    """With T, or with T† where p and p' are exchanged."""
    return kind if side > 0 else kind._replace(matrix=dagger(kind.matrix))


def _moment(x: Array, left: Array, right: Array) -> Complex[Array, "m r r"]:
    """Σ x |left⟩⟨right|."""
    return _outer(x[:, :, None] * left[:, None], right)


def _outer(left: Complex[Array, "I m r"], right: Complex[Array, "I r"]) -> Complex[Array, "m r r"]:
    return jnp.einsum("ima,ib->mab", left, right.conj())
