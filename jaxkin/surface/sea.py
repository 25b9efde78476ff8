"""Integrals over the whole zone of functions with a pole or a step at an energy.

1/(ε − ε_n + i0) is replaced by Σ_j c_j/(ε − ε_n + η a_j) with the poles a_j above the axis and the
coefficients of an extrapolation to η → 0 (Colbrook, Horning, Townsend 2021): the error is O(η^8) wherever
the density of states is smooth within η, and the integrand is smooth on the scale η. The grid is doubled
until two sizes agree on the smallest width that both resolve.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from numpy.typing import ArrayLike

from jaxkin.errors import AccuracyWarning
from jaxkin.geometry import DEGENERACY_TOLERANCE
from jaxkin.hamiltonian.bloch import BlochModel
from jaxkin.hamiltonian.tight_binding import TightBinding
from jaxkin.surface.spectrum import Spectrum, buckets, one_lapack_thread, tile_rows
from jaxkin.surface.thermal import Thermal

ORDER = 8
"""Poles of the kernel."""
WIDTHS = 10
"""Widths η that are tried, halved from a quarter of the band width on."""
GRIDS = {1: (64, 128, 256, 512, 1024, 2048), 2: (32, 64, 128, 256, 512), 3: (16, 24, 36, 54, 80, 120)}
"""Points per direction."""
PANEL = 8
"""Gauss-Legendre points of a panel of a box that is not periodic."""

_POLES = np.linspace(-1, 1, ORDER) + 1j
_COEFFICIENTS = np.linalg.solve(np.vander(_POLES, increasing=True).T, np.eye(ORDER)[0])


@dataclass(frozen=True)
class ZoneIntegral:
    """Values with an estimate of their absolute error, and the number of H(k) diagonalised."""

    values: np.ndarray
    error: float
    evaluations: int


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
    the cutoff, and the unit is 1/(eV Å^d).

    Args:
        model: any.
        energies: ε in eV, (E,).
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
    chosen, d = np.asarray(orbitals), model.dimension
    where = np.zeros((len(chosen), d), int) if cells is None else np.asarray(cells, int)
    measure = float(model.measure) * float(model.state_volume)

    def elements(states: Array, k: Array) -> Array:
        """ψ_m ψ*_m' of every band, (n, m²)."""
        psi = states[chosen].T
        if isinstance(model, TightBinding):
            psi = psi * jnp.exp(2j * jnp.pi * (where + model.positions[chosen]) @ k)
        return (psi[:, :, None] * psi[:, None, :].conj()).reshape(model.size, -1)

    def pole(x: Array, width: Array) -> Array:
        return jnp.sum(_COEFFICIENTS / (x[..., None] + width * _POLES), axis=-1)

    result = _integrate(model, np.atleast_1d(np.asarray(energies, float)), elements, pole, measure, rtol, budget)
    m = len(chosen)
    return ZoneIntegral(result.values.reshape(-1, m, m), result.error, result.evaluations)


def filled_berry_curvature(
    model: BlochModel, fermi_level: float, temperature: float = 0.0, *, rtol: float = 1e-4, budget: int = 2_000_000
) -> ZoneIntegral:
    """∫(dk) Σ_n f⁰(ε_n) Ω_n in Å^{2−d}, (3,), of all bands below the Fermi level; over the box in a k·p model.

    Warns:
        AccuracyWarning: ``rtol`` was not reached.

    >>> import jaxkin as jk
    >>> flux = filled_berry_curvature(jk.models.get("haldane"), 0.0)
    >>> abs(round(2 * 3.141592653589793 * float(flux.values[2]), 4))  # Chern number
    1.0
    """
    thermal = Thermal(fermi_level, temperature)

    def elements(states: Array, k: Array) -> Array:
        """−2 Im⟨n|v_a|m⟩⟨m|v_b|n⟩/(ε_n − ε_m)², (n, 3); pairs that touch cancel."""
        energies = jnp.real(jnp.einsum("mb,mn,nb->b", states.conj(), model.hamiltonian(k), states))
        v = states.conj().T @ model.derivative(k) @ states
        gap = energies[:, None] - energies[None, :]
        apart = jnp.abs(gap) > DEGENERACY_TOLERANCE
        inverse = jnp.where(apart, 1 / jnp.where(apart, gap, 1.0) ** 2, 0.0)
        a, b = jnp.array([1, 2, 0]), jnp.array([2, 0, 1])
        curvature = -2 * jnp.imag(jnp.sum(v[a] * jnp.swapaxes(v[b], 1, 2) * inverse, axis=2)).T
        own = model.wannier_curvature(k)
        if own is not None:
            curvature = curvature + jnp.real(jnp.einsum("mb,amn,nb->ba", states.conj(), own, states))
        return curvature.astype(complex)

    def step(x: Array, width: Array) -> Array:
        if temperature:
            return (0.5 * (1 + jnp.tanh(0.5 * x / thermal.width))).astype(complex)
        logs = jnp.sum(_COEFFICIENTS * jnp.log(x[..., None] + width * _POLES), axis=-1)
        # log(x + i0) is iπ below zero and real above: the step is 1 − Im log/π
        return (1 - jnp.imag(logs) / jnp.pi).astype(complex)

    measure = float(model.measure)
    result = _integrate(model, np.array([fermi_level]), elements, step, measure, rtol, budget)
    return ZoneIntegral(np.real(result.values[0]), result.error, result.evaluations)


def _integrate(model, energies, elements, kernel, measure, rtol, budget) -> ZoneIntegral:
    """Double the grid until the result at the best width is known to ``rtol``."""
    widths, before, spent, best = None, None, 0, None
    for n in GRIDS[model.dimension]:
        k, weights = _grid(model, n)
        if spent and spent + len(k) > budget:
            break
        spent += len(k)
        if widths is None:
            spread = Spectrum(model)(k[:: max(1, len(k) // 200)])
            widths = 0.25 * max(float(np.ptp(spread)), 1e-6) * 0.5 ** np.arange(WIDTHS)
        values = measure * _sum(model, k, weights, energies, widths, elements, kernel)  # (width, E, C)
        if before is not None:
            scale = max(float(np.abs(values).max()), 1e-300)
            change = np.abs(values - before).max(axis=(1, 2))
            steps = np.abs(np.diff(values, axis=0)).max(axis=(1, 2))
            # the error of a width, from the last two steps towards it
            left_out = steps[1:] * np.minimum(1.0, steps[1:] / np.maximum(steps[:-1], 1e-300))
            error = np.maximum(change[2:], left_out)
            pick = int(np.argmin(error))
            if best is None or error[pick] <= best.error:
                best = ZoneIntegral(values[pick + 2], float(error[pick]), spent)
            if best.error <= rtol * scale:
                return ZoneIntegral(best.values, best.error, spent)
        before = values
    assert best is not None
    size = max(float(np.abs(best.values).max()), 1e-300)
    if best.error > 1e-12:
        warnings.warn(
            f"an integral over the whole zone is known to {best.error / size:.1g} only (asked: {rtol:g}): small "
            "pockets or a van Hove energy nearby; raise the impurity's `rtol` if that is enough.",
            AccuracyWarning,
            stacklevel=4,
        )
    return ZoneIntegral(best.values, best.error, spent)


def _grid(model: BlochModel, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Points and weights of the zone: equidistant where it is periodic, Gauss-Legendre panels where not."""
    if model.periodic:
        axes = [((np.arange(n) + 0.5) / n, np.full(n, 1.0 / n))] * model.dimension
    else:
        node, weight = np.polynomial.legendre.leggauss(PANEL)
        panels = max(1, n // PANEL)
        unit = ((np.arange(panels)[:, None] + 0.5 * (node + 1)) / panels).ravel()
        axes = [(lo + (hi - lo) * unit, np.tile(0.5 * weight / panels, panels) * (hi - lo)) for lo, hi in model.zone]
    k = np.stack(np.meshgrid(*(a for a, _ in axes), indexing="ij"), axis=-1).reshape(-1, model.dimension)
    w = np.ones(1)
    for _, axis in axes:
        w = np.multiply.outer(w, axis).ravel()
    return k, w


def _sum(model, k, weights, energies, widths, elements, kernel) -> np.ndarray:
    """Σ_k w Σ_n kernel(ε − ε_n, η) elements_n for all widths and energies, tile by tile."""
    total = 0.0
    rows = min(tile_rows(model, arrays=8), 4096)
    for part, padded in buckets(k, rows):
        w = np.pad(weights[part], (0, len(padded) - (part.stop - part.start)))
        with one_lapack_thread():
            total = total + np.asarray(_tile(model, padded, w, energies, widths, elements, kernel))
    return np.asarray(total)


@eqx.filter_jit
def _tile(model, k, w, energies, widths, elements, kernel) -> Array:
    def one(point):
        bands, states = jnp.linalg.eigh(model.hamiltonian(point))
        return bands, elements(states, point)

    bands, parts = jax.vmap(one)(k)  # (K, n), (K, n, C)
    x = energies[:, None, None] - bands  # (E, K, n)
    factors = jax.lax.map(lambda width: kernel(x, width) * w[:, None], widths)  # (W, E, K, n)
    flat = factors.reshape(len(widths) * len(energies), -1)
    return (flat @ parts.reshape(flat.shape[1], -1)).reshape(len(widths), len(energies), -1)
