"""Band geometry of many points, tile by tile; bands of the same k share its diagonalisation."""

from __future__ import annotations

from collections.abc import Iterator

import jax
import numpy as np

from jaxkin.devices import spread
from jaxkin.geometry import DEGENERACY_TOLERANCE, Eigen, mean_geometry, separate_geometry
from jaxkin.hamiltonian.bloch import BlochModel
from jaxkin.surface.eigensolvers import batched_eigensystems
from jaxkin.surface.spectrum import buckets, operators, tile_rows

VECTORS = ("energy", "velocity", "berry_curvature", "orbital_moment")
STATES = ("state", "covariant_derivative")


def point_geometry(
    model: BlochModel, k: np.ndarray, band: np.ndarray, names: tuple[str, ...] = VECTORS
) -> dict[str, np.ndarray]:
    """The attributes ``names`` of the :class:`BandGeometry` of N points; degenerate sets are taken as a whole.

    Several bands of one k, wherever they stand, cost one diagonalisation.
    """
    n = model.size
    shapes = {"energy": (), "state": (n,), "covariant_derivative": (3, n)}
    columns = {
        name: np.empty((len(k), *shapes.get(name, (3,))), complex if name in STATES else float) for name in names
    }
    for points in _sharing(k):
        for part, padded in buckets(points, tile_rows(model, arrays=12)):
            count = part.stop - part.start
            first = k[padded[:, 0]]
            eigen = _diagonalised(model, first)
            separate = separate_geometry(model, spread(first), eigen, band[padded], names)
            found, distance = jax.tree.map(np.asarray, separate)
            degenerate = np.argwhere(distance[:count] < DEGENERACY_TOLERANCE)
            for name, column in columns.items():  # a JAX array would compile a slice for every length
                column[points[part]] = found[name][:count]
            if len(degenerate):
                sets = points[part][tuple(degenerate.T)]
                for name, values in _sets(model, first, eigen, degenerate[:, 0], band[sets], names).items():
                    columns[name][sets] = values
    return columns


def _sharing(k: np.ndarray) -> Iterator[np.ndarray]:
    """Yield (K, m) indices of the points at each of K k; sets of fewer than m repeat their last one.

    m is a power of two, and at least half of it are different.
    """
    order = np.lexsort(k.T)
    new = np.any(k[order][1:] != k[order][:-1], axis=1)
    if new.all():
        yield np.arange(len(k))[:, None]
        return
    starts = np.flatnonzero(np.concatenate([[True], new]))
    counts = np.diff(np.append(starts, len(k)))
    size = 1
    while size < 2 * counts.max():
        chosen = (counts > size // 2) & (counts <= size)
        if chosen.any():
            yield order[starts[chosen, None] + np.minimum(np.arange(size), counts[chosen, None] - 1)]
        size *= 2


def _sets(
    model: BlochModel, k: np.ndarray, eigen: Eigen, place: np.ndarray, band: np.ndarray, names: tuple[str, ...]
) -> dict[str, np.ndarray]:
    """Geometry of the degenerate sets of ``band`` at ``k[place]``."""
    parts = []
    for part, padded in buckets(place, len(k)):
        bands = np.pad(band[part], (0, len(padded) - (part.stop - part.start)), mode="edge")
        found = mean_geometry(model, k[padded], jax.tree.map(lambda x, p=padded: x[p], eigen), bands)
        parts.append({name: np.asarray(getattr(found, name))[: part.stop - part.start] for name in names})
    return {name: np.concatenate([part[name] for part in parts]) for name in names}


def _diagonalised(model: BlochModel, k: np.ndarray) -> Eigen:
    h, derivative = operators(model, spread(k))
    return Eigen(*batched_eigensystems(h), derivative)
