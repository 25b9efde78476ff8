"""Pockets that symmetry makes of one another, so that only one of them is sampled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jaxkin.surface.maps import ZoneMap
from jaxkin.surface.search import Pocket

COVERED = 0.8
"""Of a pocket's cells the image must lie on this part of the other's."""
ITSELF = 0.5
"""Images of a pocket are the pocket itself or have hardly a cell in common with it."""


class Image(NamedTuple):
    """A pocket as the image of pocket number ``source`` under ``map``; None for a pocket that stands for itself."""

    source: int
    map: ZoneMap | None


def pocket_images(pockets: Sequence[Pocket], maps: Sequence[ZoneMap]) -> list[Image]:
    """For every pocket the one that it is an image of."""
    images: list[Image] = []
    for number, pocket in enumerate(pockets):
        found = Image(number, None)
        for source, one in ((s, m) for s in range(number) for m in maps if m.vectors and images[s].map is None):
            if _maps_on(pockets[source], one, pocket):
                found = Image(source, one)
                break
        images.append(found)
    return images


def stabiliser(pocket: Pocket, maps: Sequence[ZoneMap]) -> tuple[ZoneMap, ...]:
    """The maps that map a pocket on itself and that velocities, moments and curvatures follow."""
    return tuple(one for one in maps if one.vectors and _maps_on(pocket, one, pocket, ITSELF))


def _maps_on(source: Pocket, one: ZoneMap, target: Pocket, covered: float = COVERED) -> bool:
    """Whether the image of ``source``'s cells fills ``target``'s, band by band."""
    if source.bands != target.bands or not covered < source.active.sum() / target.active.sum() < 1 / covered:
        return False
    for mine, theirs in zip(source.active, target.active, strict=True):
        centres = source.origin + source.edges * (np.argwhere(mine) + 0.5) / np.array(source.cells)
        x = ((centres @ one.matrix.T - target.origin) % 1.0) / target.edges
        cell = np.floor(x * np.array(target.cells)).astype(int)
        inside = np.all(cell < np.array(target.cells), axis=1)
        hit = np.zeros(len(cell), bool)
        hit[inside] = theirs[tuple(cell[inside].T)]
        if hit.mean() < covered:
            return False
    return True


def moved(columns: dict[str, np.ndarray], one: ZoneMap, maps: Sequence[ZoneMap]) -> dict[str, np.ndarray]:
    """Columns of points (``k``, ``velocity``, ...) at their images under one of the ``maps``; the others stay."""
    number = {each.matrix.tobytes(): n for n, each in enumerate(maps)}
    after = np.array([number[(one.matrix @ each.matrix).tobytes()] for each in maps], np.int8)
    axial = [name for name in ("berry_curvature", "orbital_moment", "spin_moment") if name in columns]
    return columns | {
        "turn": after[columns["turn"]],
        "k": columns["k"] @ one.matrix.T % 1.0,
        "velocity": columns["velocity"] @ one.polar.T,
        **{name: columns[name] @ one.axial.T for name in axial},
    }
