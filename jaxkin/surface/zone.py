"""Integrals over a box by a tree of cells with Gauss-Legendre nodes, bisected where the error is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

NODES = {1: 16, 2: 10, 3: 6}
"""Gauss-Legendre nodes per direction of a cell, by dimension."""
FIRST = {1: 4, 2: 3, 3: 3}
"""Cells per direction of the first mesh."""
CELLS = {1: 64, 2: 40, 3: 18}
"""Cells whose nodes one call of the integrand gets at most."""
SPLIT = 0.1
"""A direction is bisected if its error is above this part of the largest direction's."""
WORST = 0.02
"""A round bisects no cell whose error is below this part of the largest one ..."""
LEAVE = 0.5
"""... and leaves cells alone whose errors add up to less than this part of the tolerance."""
SAFETY = 3.0
"""What the estimate of a cell's error is multiplied with."""
FLOOR = 1e-3
"""The tolerance is relative to |∫F|, or to this part of ∫|F| if the integral nearly cancels."""
ROUNDING = 4e-16
"""Error of ∫F over ∫|F| that no rule can avoid."""

Function = Callable[[np.ndarray], np.ndarray]
"""(N, d) points of the box → (N, E, C): E functions that each have C components."""


@dataclass(frozen=True)
class Goal:
    """What is asked of an integral.

    Attributes:
        rtol: error relative to the largest component.
        budget: points that may be spent.
        least: a component below it counts as that large.
        report: called with (points spent, budget).
    """

    rtol: float
    budget: int
    least: float = 0.0
    report: Callable[[int, int], None] = lambda spent, budget: None

    def after(self, spent: int) -> Goal:
        """What is left to do it with when ``spent`` points are gone."""
        return replace(self, budget=self.budget - spent, report=lambda now, left: self.report(spent + now, self.budget))


class Cells:
    """Boxes in model coordinates: lower corners and edges, (N, d), and how many equal ones each stands for, (N,)."""

    def __init__(self, low: np.ndarray, size: np.ndarray, count: np.ndarray | None = None):
        self.low, self.size = low, size
        self.count = np.ones(len(low)) if count is None else count

    def __len__(self) -> int:
        return len(self.low)

    def __getitem__(self, index) -> Cells:
        return Cells(self.low[index], self.size[index], self.count[index])

    def __add__(self, other: Cells) -> Cells:
        return Cells(*(np.concatenate(both) for both in zip(self._parts, other._parts, strict=True)))

    @property
    def _parts(self) -> tuple[np.ndarray, ...]:
        return self.low, self.size, self.count

    @property
    def volume(self) -> np.ndarray:
        """(N,), of all that each stands for."""
        return self.count * np.prod(self.size, axis=1)

    @property
    def points(self) -> int:
        """Nodes of all cells."""
        return len(self) * NODES[self.low.shape[1]] ** self.low.shape[1]

    def bisected(self, across: np.ndarray) -> Cells:
        """All halves of cells that are cut across the directions marked in (N, d)."""
        cells = self
        for axis in range(across.shape[1]):
            cut = across[:, axis]
            half = np.where(cut[:, None] & (np.arange(across.shape[1]) == axis), 0.5, 1.0) * cells.size
            upper = cells.low[cut].copy()
            upper[:, axis] += half[cut, axis]
            cells = Cells(cells.low, half, cells.count) + Cells(upper, half[cut], cells.count[cut])
            across = np.concatenate([across, across[cut]])
        return cells


@dataclass(frozen=True)
class Integral:
    """Values (E, C), errors (E,), sizes that they are compared with (E,), ∫|F| (E,), points spent, the cells.

    ``rules`` are the functions that were summed and the cells on whose :func:`nodes`, of one or more parts of the E.
    """

    values: np.ndarray
    error: np.ndarray
    scale: np.ndarray
    magnitude: np.ndarray
    evaluations: int
    cells: Cells
    rules: tuple[tuple[Function, Cells], ...] = ()

    @property
    def relative_error(self) -> float:
        """Error over size, of the worst function."""
        return float(np.max(self.error / self.scale))

    def joined(self, other: Integral) -> Integral:
        """These E functions and then the other's."""
        return Integral(
            np.concatenate([self.values, other.values]),
            np.concatenate([self.error, other.error]),
            np.concatenate([self.scale, other.scale]),
            np.concatenate([self.magnitude, other.magnitude]),
            self.evaluations + other.evaluations,
            other.cells,
            self.rules + other.rules,
        )

    def __add__(self, other: Integral) -> Integral:
        return Integral(
            self.values + other.values,
            self.error + other.error,
            np.maximum(self.scale, other.scale),
            self.magnitude + other.magnitude,
            self.evaluations + other.evaluations,
            self.cells,
        )


def first_mesh(
    zone, boxes: list[tuple[np.ndarray, np.ndarray]], periodic: bool, most: float = np.inf
) -> tuple[Cells, bool]:
    """Equal cells of the zone, bisected until none is larger than a box (origin, edges) that it meets.

    Also whether all boxes were resolved before the cells had more than ``most`` nodes.
    """
    lo, hi = np.array(zone, float).T
    d = len(lo)
    edges = (hi - lo) / FIRST[d]
    corner = np.array(list(np.ndindex((FIRST[d],) * d)))
    cells = Cells(lo + corner * edges, np.tile(edges, (len(corner), 1)))
    while True:
        across = np.zeros(cells.low.shape, bool)
        for origin, extent in boxes:
            gap = cells.low + 0.5 * cells.size - (origin + 0.5 * extent)
            if periodic:
                gap -= (hi - lo) * np.rint(gap / (hi - lo))
            meets = np.all(np.abs(gap) < 0.5 * (cells.size + extent), axis=1)
            across |= meets[:, None] & (cells.size > 1.01 * np.maximum(extent, 1e-4 * (hi - lo)))
        if not across.any():
            return cells, True
        finer = cells.bisected(across)
        if finer.points > most:
            return cells, False
        cells = finer


class Folding(Protocol):
    """Symmetry of an integral: ∫F over a cell and its images, of one of them."""

    def folded(self, cells: Cells) -> Cells:
        """Of cells that are images of one another the first, which stands for all."""
        ...

    def unfolded(self, cells: Cells) -> Cells:
        """Every cell with its images, of the same volume together."""
        ...

    def average(self, values: np.ndarray) -> np.ndarray:
        """F (..., C) over the images of a point from the integrand's (..., C') there; linear."""
        ...


def adaptive_integral(function: Function, cells: Cells, goal: Goal, folding: Folding | None = None) -> Integral:
    """∫d^dx F over the cells and their offspring, with ``folding`` of its average over their images.

    Stops when the errors of each of the E functions add up to ``goal.rtol`` times its largest component, or
    before ``goal.budget`` points are exceeded. The error of a cell is what the decay of its Legendre coefficients
    promises.

    >>> mesh, _ = first_mesh([(0.0, 1.0)], [], True)
    >>> result = adaptive_integral(lambda x: 1 / (1e-4 + x[:, :, None] ** 2), mesh, Goal(1e-12, 10_000))
    >>> bool(abs(result.values[0, 0] - 100 * np.arctan(100.0)) <= result.error[0])
    True
    """
    tree = _Tree(function, cells.low.shape[1], goal, folding)
    cells = tree.folded(cells)
    values, magnitude, error = tree.measure(cells)
    while True:
        total, absolute = values.sum(axis=0), magnitude.sum(axis=0)
        scale = np.maximum(np.maximum(np.abs(total).max(axis=1), FLOOR * absolute), max(goal.least, 1e-300))
        allowed = np.maximum(goal.rtol * scale, ROUNDING * absolute)  # (E,)
        excess = (error.sum(axis=-1) / allowed).max(axis=1)  # the worst of the E functions counts
        if excess.sum() <= 1:
            break
        order = np.argsort(excess)
        chosen = order[np.cumsum(excess[order]) > LEAVE]
        chosen = chosen[excess[chosen] >= WORST * excess.max()]
        by_direction = (error[chosen] / allowed[:, None]).max(axis=1)
        across = by_direction >= SPLIT * by_direction.max(axis=1, keepdims=True)
        # the worst cells first, as many as can be afforded
        cost = np.cumsum(2 ** across[::-1].sum(axis=1))[::-1] * len(tree.nodes)
        chosen, across = chosen[cost <= goal.budget - tree.points], across[cost <= goal.budget - tree.points]
        if not len(chosen):
            break
        fresh, kept = tree.folded(cells[chosen].bisected(across)), np.delete(np.arange(len(cells)), chosen)
        values, magnitude, error = (
            np.concatenate([old[kept], new])
            for old, new in zip((values, magnitude, error), tree.measure(fresh), strict=True)
        )
        cells = cells[kept] + fresh
    error_of_all = error.sum(axis=(0, 2)) + ROUNDING * absolute
    cells = cells if folding is None else folding.unfolded(cells)
    return Integral(total, error_of_all, scale, absolute, tree.points, cells, ((function, cells),))


def nodes(cells: Cells, count: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The Gauss-Legendre nodes (N, d) of all cells and their weights (N,); ``count`` in a direction instead of all."""
    d = cells.low.shape[1]
    x, w = np.polynomial.legendre.leggauss(count or NODES[d])
    inside = np.stack(np.meshgrid(*(0.5 * (x + 1),) * d, indexing="ij"), axis=-1).reshape(-1, d)
    weights = np.prod(np.stack(np.meshgrid(*(0.5 * w,) * d, indexing="ij"), axis=-1), axis=-1).ravel()
    points = cells.low[:, None] + cells.size[:, None] * inside
    return points.reshape(-1, d), (cells.volume[:, None] * weights).ravel()


class _Tree:
    def __init__(self, function: Function, d: int, goal: Goal, folding: Folding | None):
        self.function, self.d, self.p, self.points, self.goal = function, d, NODES[d], 0, goal
        self.folded = folding.folded if folding else lambda cells: cells
        self._average = folding.average if folding else lambda values: values
        x, w = np.polynomial.legendre.leggauss(self.p)
        self.nodes = np.stack(np.meshgrid(*(0.5 * (x + 1),) * d, indexing="ij"), axis=-1).reshape(-1, d)
        self.weights = w / 2
        vander = np.polynomial.legendre.legvander(x, self.p - 1).T
        self.legendre = vander * np.sqrt(2 * np.arange(self.p) + 1)[:, None] * self.weights

    def measure(self, cells: Cells) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Integrals (N, E, C), ∫|F| (N, E) and errors by direction (N, E, d) of the cells."""
        parts = []
        for start in range(0, len(cells), CELLS[self.d]):
            batch = cells[start : start + CELLS[self.d]]
            x = batch.low[:, None] + batch.size[:, None] * self.nodes
            self.points += x.shape[0] * x.shape[1]
            values = self.function(x.reshape(-1, self.d))
            self.goal.report(self.points, self.goal.budget)
            means = self._means(values.reshape(len(batch), *(self.p,) * self.d, *values.shape[1:]))
            volume = batch.volume
            parts.append([mean * volume.reshape(-1, *(1,) * (mean.ndim - 1)) for mean in means])
        return tuple(np.concatenate(part) for part in zip(*parts, strict=True))  # pyright: ignore[reportReturnType]

    def _means(self, values: np.ndarray):
        """Means of F and |F| over each cell, and the error of the first by direction.

        Integrated over the other directions F has Legendre coefficients a_j along a direction, j < p. They
        decay geometrically in the end, F being analytic, and the error of Gauss's rule is of order a_{2p}:
        as far beyond a_p as the square of the decay from a_{p/2} to a_p, or farther.
        """
        errors = []
        for axis in range(self.d):
            along = np.moveaxis(values, axis + 1, 1)
            for _ in range(self.d - 1):
                along = np.tensordot(self.weights, along, axes=(0, 2))
            a = np.abs(self._average(np.einsum("jp,np...->jn...", self.legendre[-6:], along)))
            late, middle, early = (np.maximum(a[-j], a[-j - 1]) for j in (1, 3, 5))
            rate = np.maximum((late / np.maximum(middle, 1e-300)) ** 0.5, (late / np.maximum(early, 1e-300)) ** 0.25)
            errors.append(SAFETY * (late * np.minimum(rate, 1.0) ** (self.p - 1)).max(axis=-1))
        mean, magnitude = values, np.abs(values)
        for _ in range(self.d):
            mean, magnitude = (np.tensordot(self.weights, part, axes=(0, 1)) for part in (mean, magnitude))
        return self._average(mean), magnitude.max(axis=-1), np.stack(errors, axis=-1)
