"""The random lines that a sampled surface's points lie on, recognised from their weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import jax
import numpy as np

from jaxkin.errors import JaxkinError
from jaxkin.namespace import namespace
from jaxkin.surface.search import Pocket
from jaxkin.surface.shells import Surface

RECOGNISED = 1e-6
"""Relative deviation of a stored weight from the formula of the lines it belongs to."""


def recognised_lines(surface: Surface, power: float) -> dict[str, np.ndarray]:
    """``box``, ``axis`` and ``volume`` of every point, recognised by the stored weights."""
    model, d = surface.model, surface.model.dimension
    measure, slope = float(model.measure), surface.velocity @ np.asarray(model.basis).T
    box, axis, volume = np.empty((len(surface), d, d)), np.empty(len(surface), int), np.empty(len(surface))
    for number in np.unique(surface.pocket):
        mine = np.flatnonzero(surface.pocket == number)
        weight = surface.level_weight[mine] / measure
        for candidate in _boxes(surface.pockets, int(number)):
            size = abs(float(np.linalg.det(candidate)))
            profile = np.stack(
                [line_profile(slope[mine] @ candidate.T, np.full(len(mine), a), power) for a in range(d)], axis=1
            )
            with np.errstate(divide="ignore", over="ignore"):
                lines = size * profile / weight[:, None]  # n^{d−1} if the point lies on a line along this axis
            n = np.clip(np.rint(lines ** (1 / max(d - 1, 1))), 1, surface.sampler.n)
            off = np.abs(lines / n ** (d - 1) - 1)
            chosen = np.argmin(off, axis=1)
            rows = np.arange(len(mine))
            if off[rows, chosen].max() < RECOGNISED:
                box[mine], axis[mine], volume[mine] = candidate, chosen, size / n[rows, chosen] ** (d - 1)
                break
        else:
            raise JaxkinError(f"the weights of pocket {number} are not those of {surface.sampler}.")
    return {"box": box, "axis": axis, "volume": volume}


def _boxes(pockets: Sequence[Pocket], number: int) -> Iterator[np.ndarray]:
    """The edges of pocket ``number``, and those of all images that it may be sampled as, (d, d), a row each."""
    pocket = pockets[number]
    yield np.diag(pocket.edges)
    for source in pockets:
        for one in pocket.nodes.maps:
            if source.bands == pocket.bands:
                yield source.edges[:, None] * one.matrix.T


def line_profile(slope, axis, power: float):
    """P_i/|∂_iε| of points with slopes (N, d), as in :meth:`Lines.weights`."""
    xp = namespace(slope)
    steepest = xp.maximum(xp.abs(jax.lax.stop_gradient(slope)).max(axis=1), 1e-300)
    relative = xp.abs(slope) / steepest[:, None]
    own = relative[np.arange(len(slope)), axis]
    return own ** (power - 1) / (relative**power).sum(axis=1) / steepest
