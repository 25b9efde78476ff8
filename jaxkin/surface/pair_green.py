"""Two Green functions of one energy between the orbitals of impurities: G^R X G^R over the zone."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from jaxkin.errors import AccuracyWarning
from jaxkin.hamiltonian.bloch import BlochModel
from jaxkin.surface.contour import Resolved, kernel_mean, singular_integral
from jaxkin.surface.zone import Goal


def pair_green(
    model: BlochModel,
    energy: float,
    orbitals: Sequence[int],
    cells: ArrayLike,
    *,
    rtol: float = 1e-3,
    budget: int = 2_000_000,
) -> tuple[np.ndarray, np.ndarray]:
    """F_{(m n),(m' n')} = ∫(dk) G_mm'(k) G_n'n(k), and ∂G_mm'/∂ε = −∫(dk) (G²)_mm', at ε + i0.

    G_mm'(k) = e^{ik·(r_m−r_m')} ⟨m|(ε + i0 − H)⁻¹|m'⟩ with r_m = R_m + τ_m. Double poles are no harder than single
    ones where k is displaced into the complex.

    Args:
        model: any.
        energy: ε in eV.
        orbitals: d orbital indices.
        cells: (d, dimension) integers, the cell of each.
        rtol: accuracy relative to the largest element.
        budget: diagonalisations that may be spent.

    Returns:
        F (d², d²) and ∂G/∂ε (d, d) in 1/(eV² Å^d).

    Warns:
        AccuracyWarning: ``rtol`` was not reached.

    >>> import jaxkin as jk, numpy as np
    >>> chain = jk.TightBinding([[1.0, 0, 0]], [[1], [-1]], -np.ones((2, 1, 1)), [[0.0]])
    >>> pairs, slope = pair_green(chain, 3.0, [0], [[0]])
    >>> round(float(slope[0, 0].real), 5), round(float(pairs[0, 0].real), 5)  # d/dε of 1/√(ε² − 4t²)
    (-0.26833, 0.26833)
    """
    d = len(orbitals)
    integrand = _Pair(model, np.array([energy]), np.asarray(orbitals), np.asarray(cells, int))
    result = singular_integral(model, integrand, Goal(rtol, budget))
    excess = float(np.max(result.error / result.scale))
    if excess > rtol:
        warnings.warn(
            f"the pair of Green functions is known to {excess:.1g} only (asked: {rtol:g}).",
            AccuracyWarning,
            stacklevel=2,
        )
    values = result.values.reshape(-1)
    return values[: d**4].reshape(d * d, d * d), values[d**4 :].reshape(d, d)


class _Pair:
    """F and ∂G/∂ε of :func:`pair_green` as an integrand."""

    def __init__(self, model: BlochModel, levels: np.ndarray, orbitals: np.ndarray, cells: np.ndarray):
        self.model, self.levels, self.orbitals, self.cells = model, levels, orbitals, cells
        # of ∫d^dκ over the model coordinates
        self.measure = float(model.measure)

    def __call__(self, resolved: Resolved, width: float, jacobian: np.ndarray) -> np.ndarray:
        x = self.levels[:, None] - resolved.eigenvalues[:, None, :]  # (N, E, n)
        phase = np.exp(2j * np.pi * resolved.k @ self.cells.T)[:, :, None]
        right = resolved.right[:, self.orbitals] * phase
        left = resolved.left[:, :, self.orbitals] / np.swapaxes(phase, 1, 2)

        def pair(y: np.ndarray) -> np.ndarray:
            green = np.einsum("kma,kea,kan->kemn", right, 1 / y, left, optimize=True)
            slope = -np.einsum("kma,kea,kan->kemn", right, 1 / y**2, left, optimize=True)
            product = np.einsum("keij,kelm->keimjl", green, green)
            flat = (*green.shape[:2], -1)
            return np.concatenate([product.reshape(flat), slope.reshape(flat)], axis=-1)

        return kernel_mean(pair, x, width) * (self.measure * jacobian)[:, None, None]

    def at(self, levels: np.ndarray) -> _Pair:
        return _Pair(self.model, levels, self.orbitals, self.cells)
