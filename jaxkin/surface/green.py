"""Local Green functions: integrals over all states of functions with a pole at an energy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from numpy.typing import ArrayLike

from jaxkin.hamiltonian.bloch import BlochModel
from jaxkin.hamiltonian.linear import solve
from jaxkin.hamiltonian.tiles import over_tiles, tile_rows
from jaxkin.surface.contour import ORDER, Resolved, ZoneIntegral, kernel, kernel_mean, singular_integral, warn_of
from jaxkin.surface.folding import GreenFolding, Places, green_folding
from jaxkin.surface.search import Pocket
from jaxkin.surface.zone import Goal

COLUMN = 2.0
"""What n columns add to the time of a factorisation."""


def local_green_function(
    model: BlochModel,
    energies: ArrayLike,
    orbitals: Sequence[int],
    cells: ArrayLike | None = None,
    *,
    rtol: float = 1e-3,
    budget: int = 2_000_000,
) -> ZoneIntegral:
    """G_mm'(ε) = 𝒱 ∫(dk) e^{ik·(r_m−r_m')} ⟨m|(ε + i0 − H)⁻¹|m'⟩, (E, m, m) in 1/eV.

    Both parts, on the orbitals of an impurity with positions r_m = R_m + τ_m. In a k·p model the box is
    the cutoff, and the unit is 1/(eV Å^d). Many energies share eigensystems, for few the columns of the orbitals are
    solved for.

    Args:
        model: any.
        energies: ε in eV, (E,); real, which stands for ε + i0, or complex in the upper half plane.
        orbitals: m orbital indices.
        cells: (m, d) integers, the cell of each; zeros by default.
        rtol: accuracy relative to the largest element.
        budget: diagonalisations that may be spent.

    Warns:
        AccuracyWarning: ``rtol`` was not reached.

    >>> import jaxkin as jk, numpy as np
    >>> chain = jk.TightBinding([[1.0, 0, 0]], [[1], [-1]], -np.ones((2, 1, 1)), [[0.0]])
    >>> green = local_green_function(chain, [3.0], [0])
    >>> round(float(green.values[0, 0, 0].real), 6)  # 1/√(ε² − 4t²)
    0.447214
    """
    m = len(orbitals)
    where = np.zeros((m, model.dimension), int) if cells is None else np.asarray(cells, int)
    found = local_green_functions(model, energies, [Places(tuple(orbitals), where)], rtol=rtol, budget=budget)
    return replace(found, values=found.values.reshape(-1, m, m))


def local_green_functions(
    model: BlochModel,
    energies: ArrayLike,
    places: Sequence[Places],
    *,
    rtol: float = 1e-3,
    budget: int = 2_000_000,
    pockets: Sequence[Pocket] | None = None,
) -> ZoneIntegral:
    """:func:`local_green_function` of several impurities, values (E, Σ m²).

    Args:
        model, energies, rtol, budget: as there.
        places: the orbitals of each impurity.
        pockets: where the energies are inside of bands; searched for if not given.

    Warns:
        AccuracyWarning: ``rtol`` was not reached.
    """
    levels = np.atleast_1d(energies)
    if not len(levels):
        return ZoneIntegral(np.zeros((0, sum(len(place.orbitals) ** 2 for place in places)), complex), 0.0, 0)
    integrand = _Green(model, levels, places, green_folding(model, places, rtol))
    result = singular_integral(model, integrand, Goal(rtol, budget), pockets)
    warn_of(result, rtol, "a local Green function", "raise the impurity's `rtol` if that is enough")
    return ZoneIntegral(result.values, float(result.error.max()), result.evaluations, result.rules)


class _Green:
    """𝒱 Σ_n R_xn L_ny / (ε − λ_n) for orbitals x, y of one place after the other, times the measure of the zone."""

    strip = np.inf

    def __init__(
        self, model: BlochModel, levels: np.ndarray, places: Sequence[Places], folding: GreenFolding | None = None
    ):
        self.model, self.levels, self.folding, self.given = model, levels, folding, places
        self.measure = float(model.measure) * float(model.state_volume)
        needed = places if folding is None else folding.places
        self.orbitals = np.unique([orbital for place in needed for orbital in place.orbitals])
        pairs = []
        for orbitals, cells in needed:
            number, (x, y) = np.searchsorted(self.orbitals, orbitals), np.indices((len(orbitals),) * 2).reshape(2, -1)
            pairs.append(np.column_stack([number[x], number[y], cells[x] - cells[y]]))
        self.x, self.y, *steps = np.concatenate(pairs).T
        self.steps, self.step = np.unique(np.array(steps).T, axis=0, return_inverse=True)

    def __call__(self, resolved: Resolved, width: float, jacobian: np.ndarray) -> np.ndarray:
        energies = self.levels[:, None] - resolved.eigenvalues[:, None, :]  # (N, E, n)
        poles = kernel_mean(np.reciprocal, energies, width)
        right, left = resolved.right[:, self.orbitals], resolved.left[:, :, self.orbitals].swapaxes(1, 2)
        phase = self._phases(resolved.k, jacobian)
        if len(self.levels) < len(self.orbitals):  # fewer numbers than all pairs of orbitals
            green = (right[:, None] * poles[:, :, None, :]) @ left.swapaxes(1, 2)[:, None]
            return green[:, :, self.x, self.y] * phase
        pairs = right[:, self.x] * left[:, self.y]  # (N, C, n)
        return poles @ pairs.swapaxes(1, 2) * phase

    def _phases(self, k: np.ndarray, jacobian: np.ndarray) -> np.ndarray:
        """(N, 1, C), with all factors."""
        phase = np.exp(2j * np.pi * k @ self.steps.T) * (self.measure * jacobian)[:, None]
        return phase[:, None, self.step.ravel()]

    def solves(self, width: float) -> float:
        return len(self.levels) * (ORDER if width else 1) * (1 + COLUMN * len(self.orbitals) / self.model.size)

    def solved(self, k: np.ndarray, h: np.ndarray, width: float, jacobian: np.ndarray) -> np.ndarray:
        """𝒱 ⟨x|(ε − H̃)⁻¹|y⟩ on the impurities' columns only."""
        coefficients, shifts = kernel(width)
        levels = self.levels.astype(complex)[:, None] + shifts
        rows = min(4096, tile_rows(self.model, arrays=4 * levels.size))
        (green,) = over_tiles(lambda part: (_resolvents(part, levels, coefficients, self.orbitals),), rows, h)
        return green[:, :, self.x, self.y] * self._phases(k, jacobian)

    def at(self, levels: np.ndarray) -> _Green:
        return _Green(self.model, levels, self.given, self.folding)


@eqx.filter_jit
def _resolvents(h: Array, levels: np.ndarray, coefficients: np.ndarray, orbitals: np.ndarray) -> Array:
    """Σ_j c_j ⟨m|(ε_ij − H̃)⁻¹|m'⟩, (N, E, m, m)."""
    one = jnp.eye(h.shape[-1])

    def at(level: Array, h: Array) -> Array:
        return solve(level * one - h, one[:, orbitals].astype(complex))[orbitals]

    every = jax.vmap(lambda h: jax.vmap(jax.vmap(lambda level: at(level, h)))(levels))(h)
    return jnp.einsum("j,nejab->neab", coefficients, every)
