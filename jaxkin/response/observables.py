"""Linear maps from the gyrotropic tensor to what is measured; leading axes pass through."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from jaxkin import units
from jaxkin.checks import cartesian
from jaxkin.namespace import AnyArray, namespace

LEVI_CIVITA = np.zeros((3, 3, 3))
for _a, _b, _c in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
    LEVI_CIVITA[_a, _b, _c], LEVI_CIVITA[_b, _a, _c] = 1.0, -1.0


def spatial_dispersion(g: AnyArray) -> AnyArray:
    """λ_abc = ε_abd g_dc, Eq. (70)."""
    return namespace(g).einsum("abd,...dc->...abc", LEVI_CIVITA, g)


def gyrotropic(lam: AnyArray) -> AnyArray:
    """g_ab = ½ ε_cda λ_cdb, Eq. (71): the inverse of :func:`spatial_dispersion`."""
    return 0.5 * namespace(lam).einsum("cda,...cdb->...ab", LEVI_CIVITA, lam)


def magnetoelectric(g: AnyArray) -> AnyArray:
    """χ_ab = g_ab − ½ δ_ab Tr g, Eq. (86)."""
    return g - 0.5 * g.trace(axis1=-2, axis2=-1)[..., None, None] * np.eye(3)


def magnetization(g: AnyArray, field: ArrayLike) -> AnyArray:
    """M = −iχE, Eq. (87), A/m for V/m."""
    return -1j * magnetoelectric(g) @ cartesian(field, "field")


def electric_field(sigma: AnyArray, current: AnyArray, dimension: int) -> AnyArray:
    """E = σ⁻¹j in V/m for σ (..., 3, 3) and j (3,), which lie in the first ``dimension`` directions."""
    xp, d = namespace(sigma), dimension
    inside = xp.linalg.solve(sigma[..., :d, :d], xp.broadcast_to(current[:d, None], (*sigma.shape[:-2], d, 1)))[..., 0]
    return xp.concatenate([inside, xp.zeros((*sigma.shape[:-2], 3 - d), inside.dtype)], axis=-1)


def gauss(magnetization: AnyArray) -> AnyArray:
    """μ₀M in gauss for M in A/m."""
    return units.VACUUM_PERMEABILITY * units.TESLA_TO_GAUSS * magnetization


def rotatory_power(g: AnyArray, frequency: AnyArray, axis: ArrayLike = (0, 0, 1)) -> AnyArray:
    """ρ = ½μ₀ω n·g·n in rad/m, Eq. (78), for g (..., frequency, 3, 3) and f in THz."""
    n = cartesian(axis, "axis")
    n = n / np.linalg.norm(n)
    return 0.5 * units.VACUUM_PERMEABILITY * 2e12 * np.pi * frequency * (g @ n @ n)
