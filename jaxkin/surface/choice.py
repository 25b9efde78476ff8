"""Which sampler, and how fine, from what the search knows: the energies at its first nodes, and its pockets."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from jaxkin.surface.lines import Lines
from jaxkin.surface.plan import Plan
from jaxkin.surface.samples import Sampler
from jaxkin.surface.thermal_grid import ThermalGrid

ACROSS = {1: 2, 2: 64, 3: 32}
"""Lines across each direction of a box: a relative error of about 1e-3 and less for a closed pocket."""
SPACING = 4.0
"""kT from one point of a lattice to the next along its steepest direction, root mean square: errors of some 1e-3."""
COARSEST = 2.0
"""Times this spacing a lattice is still the better choice."""
FINEST, SMALLEST = 2048, 24
"""Points along that direction."""
AFFORDED = {1: 1e5, 2: 1e5, 3: 3e5}
"""Diagonalisations of a lattice for each replica."""


class Choice(NamedTuple):
    """A sampler, and why."""

    sampler: Sampler
    reason: str


def chosen(plan: Plan) -> Choice:
    """Lines at T = 0; at T > 0 a lattice where one with points about 4 kT apart can be afforded, else lines."""
    d, kt = plan.model.dimension, min(thermal.width for thermal in plan.thermals)
    if not kt:
        return Choice(Lines(ACROSS[d]), f"Lines(n={ACROSS[d]}), as they are exact at T = 0")
    pockets = [pocket for window in plan.windows(ThermalGrid(2)) for pocket in window.pockets]
    changes = [ThermalGrid.changes(pocket) for pocket in pockets]
    wanted = max((float(change.max()) for change in changes), default=0.0) / (SPACING * kt)
    n = int(np.clip(np.ceil(wanted), SMALLEST, FINEST))
    nodes = sum(
        float(pocket.active.any(axis=0).mean() * np.prod(np.maximum(n * change / max(change.max(), 1e-300), 1)))
        for pocket, change in zip(pockets, changes, strict=True)
    ) / max(len(plan.nodes.maps), 1)
    n = max(min(n, int(n * (AFFORDED[d] / max(nodes, 1.0)) ** (1 / d))), SMALLEST)
    spacing = wanted / n * SPACING
    if spacing <= COARSEST * SPACING:
        return Choice(ThermalGrid(n), f"Grid(n={n}), whose points are {spacing:.2g} kT apart or less")
    return Choice(
        Lines(ACROSS[d]),
        f"Lines(n={ACROSS[d]}), as the points of a grid that can be afforded are {spacing:.2g} kT apart",
    )
