"""Band geometry of many points, tile by tile."""

from __future__ import annotations

import jax
import numpy as np

from jaxkin.geometry import DEGENERACY_TOLERANCE, batched_geometry, simple_geometry
from jaxkin.hamiltonian.bloch import BlochModel
from jaxkin.surface.spectrum import buckets, one_lapack_thread, tile_rows

VECTORS = ("energy", "velocity", "berry_curvature", "orbital_moment")
STATES = ("state", "covariant_derivative")


def point_geometry(
    model: BlochModel, k: np.ndarray, band: np.ndarray, names: tuple[str, ...] = VECTORS
) -> dict[str, np.ndarray]:
    """The attributes ``names`` of the :class:`BandGeometry` of N points; degenerate sets are taken as a whole."""
    n = model.size
    shapes = {"energy": (), "state": (n,), "covariant_derivative": (3, n)}
    columns = {
        name: np.empty((len(k), *shapes.get(name, (3,))), complex if name in STATES else float) for name in names
    }
    for part, padded in buckets(k, tile_rows(model, arrays=12)):
        count = part.stop - part.start
        padded_band = np.pad(band[part], (0, len(padded) - count), mode="edge")
        with one_lapack_thread():
            geometry, distance = jax.block_until_ready(simple_geometry(model, padded, padded_band))
            if np.min(distance) < DEGENERACY_TOLERANCE:
                degenerate = np.asarray(distance)[:, None] < DEGENERACY_TOLERANCE
                full = batched_geometry(model, padded, padded_band)
                geometry = jax.tree.map(
                    lambda a, b, d=degenerate: np.where(d.reshape(-1, *(1,) * (a.ndim - 1)), b, a), geometry, full
                )
        for name, column in columns.items():
            column[part] = getattr(geometry, name)[:count]
    return columns
