"""Integrals over the zone of a crystal on randomly shifted lattices of real k: for bands too entangled for a tree."""

from __future__ import annotations

from itertools import product

import numpy as np

from jaxkin.surface.zone import Cells, Function, Goal, Integral

REPLICAS = 8
"""Shifts, whose scatter is the error."""
FIRST = 8
"""Points of the first lattice in each direction."""
FINER = 1.5
"""The next one's, relative to that, at least."""
DIFFERENCE = (1.0, -4.0, 6.0, -4.0, 1.0)
CHUNK = 2**14
"""Points between two reports."""


def shifted_lattices(function: Function, dimension: int, goal: Goal, seed: int = 0) -> Integral:
    """Mean of ``function`` over the unit cube of k: lattices that become finer until the error is below what is asked.

    A shift that is uniformly random makes the mean over a lattice right on average at any size. The error is the
    standard error of the shifts, or that of as many independent points with the variance that fourth differences
    between neighbours have, if that is more: these vanish where the lattice resolves F, and know of spikes narrower
    than a cell what the scatter of a few shifts, one of which in ten may have met one, does not.

    Args:
        function: of k (N, d) its values (N, E, C).
        dimension: d.
        goal: error and budget; ``least`` as for any integral.
        seed: of the shifts.
    """
    rng, spent = np.random.default_rng(seed), 0
    affordable = int((goal.budget / REPLICAS) ** (1 / dimension) + 1e-9)
    across = max(min(FIRST, affordable), 1)
    while True:
        lattice = np.array(list(product(range(across), repeat=dimension))) / across
        means, local, magnitude = [], [], []
        for shift in rng.random((REPLICAS, dimension)):
            parts = []
            for start in range(0, len(lattice), CHUNK):
                parts.append(function((lattice[start : start + CHUNK] + shift / across) % 1.0))
                spent += len(parts[-1])
                goal.report(spent, goal.budget)
            values = np.concatenate(parts)
            means.append(values.mean(axis=0))
            magnitude.append(np.abs(values).mean(axis=0).max(axis=-1))
            grid = values.reshape(*(across,) * dimension, *values.shape[1:])
            local.append(np.mean([_rough(grid, axis, dimension) for axis in range(dimension)], axis=0))
        mean = np.mean(means, axis=0)
        scatter = np.std(means, axis=0, ddof=1) / np.sqrt(REPLICAS)
        independent = np.sqrt(np.mean(local, axis=0) / (REPLICAS * len(lattice)))
        error = np.max(np.maximum(scatter, independent), axis=-1)
        scale = np.maximum(np.abs(mean).max(axis=-1), goal.least)
        cells = Cells(np.zeros((1, dimension)), np.ones((1, dimension)))
        result = Integral(mean, error, scale, np.mean(magnitude, axis=0), spent, cells)
        excess = float(np.max(error / (goal.rtol * scale)))
        affordable = int((max(goal.budget - spent, 0) / REPLICAS) ** (1 / dimension) + 1e-9)
        if excess <= 1 or affordable < FINER * across:
            return result
        across = min(affordable, int(across * max(excess ** (2 / dimension), FINER)) + 1)


def _rough(grid: np.ndarray, axis: int, dimension: int) -> np.ndarray:
    """The variance that independent values with these fourth differences along an axis would have, (E, C)."""
    total = sum(c * np.roll(grid, shift, axis) for shift, c in zip(range(-2, 3), DIFFERENCE, strict=True))
    return np.mean(np.square(total), axis=tuple(range(dimension))) / np.sum(np.square(DIFFERENCE))
