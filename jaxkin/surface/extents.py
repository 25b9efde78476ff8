"""What the pockets of a sampled surface are: band, closed or open, how large, and what they enclose."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from jaxkin.estimate import Estimate
from jaxkin.surface.surface import Surface


class Extent(NamedTuple):
    """One band's part of a pocket: docs/method.md, "Electrons and holes".

    Attributes:
        band: its index.
        closed: whether it does not wrap round the zone.
        middle: (d,) of its points, model coordinates, in the first zone about Γ.
        size: (3,) range of its points along x, y, z in Å⁻¹.
        density: of the carriers that it encloses in Å^-d, positive for electrons, negative for holes; None if open.
    """

    band: int
    closed: bool
    middle: np.ndarray
    size: np.ndarray
    density: Estimate | None


def pocket_extents(surface: Surface) -> list[Extent]:
    """The pockets of a surface at T = 0, as its points show them, largest first.

    A closed one encloses ∫_inside (dk) = (1/d) ∫(dk) δ(ε−μ) v·(k − k₀), Gauss's theorem for any k₀. Open and closed:
    docs/method.md, "Electrons and holes".

    >>> import jaxkin as jk
    >>> (sphere,) = jk.surface.pocket_extents(jk.fermi_surface(jk.models.get("massive-dirac-2d", mass=0.1), 0.15))
    >>> sphere.band, sphere.closed, round(float(sphere.size[0]), 2)
    (1, True, 0.22)
    """
    found = []
    for index, pocket in enumerate(surface.pockets):
        for band in pocket.bands:
            mine = (surface.pocket == index) & (surface.band == band)
            if not mine.any():
                continue
            reference = pocket.origin + 0.5 * pocket.edges
            apart = np.asarray(surface.k) - reference
            if surface.model.periodic:
                apart = np.where(pocket.closed, apart - np.rint(apart), apart)
            away = np.asarray(surface.model.cartesian(apart))
            low, high = apart[mine].min(axis=0), apart[mine].max(axis=0)
            middle = reference + 0.5 * (low + high)
            if surface.model.periodic:
                middle = middle - np.ceil(middle - 0.5)
            closed = bool(np.all(pocket.closed))
            flux = np.sum(np.asarray(surface.velocity) * away, axis=1) / surface.model.dimension
            density = surface.integrate(np.where(mine, flux, 0.0)) if closed else None
            found.append(Extent(int(band), closed, middle, np.ptp(away[mine], axis=0), density))
    return sorted(found, key=lambda one: -float(np.prod(one.size[one.size > 0])))
