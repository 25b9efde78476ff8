"""Steps between energies of a thermal sum, small enough for the bands there are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from jaxkin.surface.nodes import Nodes
from jaxkin.surface.thermal import STEP, Thermal, levels

RESOLVED = 0.25
"""Relative standard deviation of one replica's density of states, over the shift of its energies, that is allowed."""
HALVINGS = 4
"""Of the step between energies, before it is given up."""
SHIFTS = 16


def resolving(nodes: Nodes, thermals: Sequence[Thermal]) -> tuple[Thermal, ...]:
    """``thermals`` with steps between energies that resolve the narrowest bands; one step for each temperature."""
    steps: dict[float, float] = {}
    for thermal in thermals:
        if thermal.temperature:
            finer = (replace(thermal, step=STEP / 2**number) for number in range(HALVINGS + 1))
            enough = next((one.step for one in finer if energy_noise(nodes, one) <= RESOLVED), STEP)
            # where none is enough, none is better
            steps[thermal.temperature] = min(steps.get(thermal.temperature, STEP), enough)
    return tuple(replace(one, step=steps[one.temperature]) if one.temperature else one for one in thermals)


def energy_noise(nodes: Nodes, thermal: Thermal) -> float:
    """Relative standard deviation of Σ_levels w ν(ε) over the levels' shift, with ν of the cells' ranges."""
    low, high = nodes.first, nodes.first
    for axis in range(nodes.spectrum.model.dimension):
        after = [np.roll(part, -1, axis=axis) for part in (low, high)]
        if not nodes.spectrum.model.periodic:
            low, high, *after = (np.delete(part, -1, axis=axis) for part in (low, high, *after))
        low, high = np.minimum(low, after[0]), np.maximum(high, after[1])
    near = (high >= thermal.window[0]) & (low <= thermal.window[1])
    middle, width = 0.5 * (low + high)[near], (high - low)[near]
    width = np.maximum(width, thermal.step * thermal.width / SHIFTS)  # what is narrower meets one shift in so many
    density = [_running(middle - 0.5 * width, 1 / width), _running(middle + 0.5 * width, 1 / width)]
    sums = []
    for shift in (np.arange(SHIFTS) + 0.5) / SHIFTS:
        energies = levels([thermal], shift)
        starts, ends = (total[np.searchsorted(ordered, energies)] for ordered, total in density)
        sums.append(float(thermal.share(energies) @ (starts - ends)))
    return float(np.std(sums) / max(np.mean(sums), 1e-300)) if near.any() else 0.0


def _running(place: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Places in order, and the weight up to each."""
    order = np.argsort(place)
    return place[order], np.concatenate([[0.0], np.cumsum(weight[order])])
