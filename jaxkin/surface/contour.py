"""Integrals over the zone of functions of H that are singular where a band meets a level.

k is displaced into the complex round the level, so that the integrand is smooth there
(:mod:`jaxkin.surface.deformation`), and a tree of cells integrates it (:mod:`jaxkin.surface.zone`). Where no
displacement is possible - a k·p function that is not analytic, sheets that touch with opposite velocities -
k stays real, and the function of x = ε − ε_n + i0 is replaced by its mean Σ_j c_j F(x + η a_j), with the
nodes a_j above the axis and the coefficients of an extrapolation to η → 0 (Colbrook, Horning, Townsend 2021):
the error is O(η^8).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np

from jaxkin.errors import AccuracyWarning
from jaxkin.hamiltonian.bloch import BlochModel
from jaxkin.hamiltonian.eigenpair import CLOSED
from jaxkin.hamiltonian.eigensolvers import batched_eigensystems, batched_eigenvalues
from jaxkin.hamiltonian.spectrum import Spectrum
from jaxkin.hamiltonian.tiles import over_tiles, tile_rows
from jaxkin.surface.continuation import is_analytic
from jaxkin.surface.deformation import SLACK, Deformation, crosses, displaced, find_deformation, hamiltonians
from jaxkin.surface.nodes import Nodes
from jaxkin.surface.search import Pocket, find_pockets
from jaxkin.surface.zone import Cells, Folding, Goal, Integral, adaptive_integral, first_mesh
from jaxkin.threads import in_threads

ORDER = 8
"""Nodes of the kernel."""
WIDTHS = 12
"""Widths η of the kernel that are tried, each half the one before."""
ATTEMPTS = 4
"""Displacements that are tried, each for half the depth of the one before."""
EIGENSYSTEM, EIGENVALUES, GENERAL_EIGENSYSTEM = 9.0, 3.5, 27.0
"""What these take in LU factorisations, at n = 24 on one core: H = H†, its eigenvalues only, and H̃(κ) with L = R⁻¹."""
MESH = 0.8
"""Part of the budget that the first mesh may take."""
VALUES = 2**22
"""Energies times levels that are worked on at once."""

NODES = np.linspace(-1, 1, ORDER) + 1j
COEFFICIENTS = np.linalg.solve(np.vander(NODES, increasing=True).T, np.eye(ORDER)[0])


@dataclass(frozen=True)
class Resolved:
    """H̃ = R λ L at N points k, real or displaced: (N, d), (N, n), (N, n, n), (N, n, n); L = R† at real k."""

    k: np.ndarray
    eigenvalues: np.ndarray
    right: np.ndarray
    left: np.ndarray

    def __getitem__(self, index) -> Resolved:
        return Resolved(self.k[index], self.eigenvalues[index], self.right[index], self.left[index])


@dataclass(frozen=True)
class ZoneIntegral:
    """Values with an estimate of their absolute error, the number of H(k) diagonalised, and the rules used."""

    values: np.ndarray
    error: float
    evaluations: int
    rules: tuple = ()


class Integrand(Protocol):
    """A function of H that is analytic but for what a function of x = ε − λ, Im x > 0, does at x = 0."""

    levels: np.ndarray
    """ε, (E,)."""
    strip: float
    """How far into the complex k may be displaced, Å⁻¹; 0 where it is no function of complex k."""

    @property
    def folding(self) -> Folding | None:
        """Its symmetry, where any is known."""
        ...

    def __call__(self, resolved: Resolved, width: float, jacobian: np.ndarray) -> np.ndarray:
        """(N, E, C) values times the ``jacobian`` (N,); :func:`kernel_mean` at ``width`` η, if that is not zero."""
        ...

    def at(self, levels: np.ndarray) -> Integrand:
        """The same for other levels."""
        ...


@runtime_checkable
class Solvable(Protocol):
    """An integrand that linear equations with H give as well, energy by energy."""

    def solves(self, width: float) -> float:
        """How many factorisations of H its values at one k cost, their columns counted in."""
        ...

    def solved(self, k: np.ndarray, h: np.ndarray, width: float, jacobian: np.ndarray) -> np.ndarray:
        """What :class:`Integrand` gives, from H̃ (N, n, n) at real or displaced k (N, d)."""
        ...


def kernel(width: float) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients c_j and shifts η a_j of the energy that stand for +i0; one and none at η = 0."""
    return (COEFFICIENTS, width * NODES) if width else (np.ones(1, complex), np.zeros(1, complex))


def kernel_mean(function: Callable, x: np.ndarray, width: float) -> np.ndarray:
    """Σ_j c_j F(x + η a_j) → F(x + i0); F(x) itself at η = 0."""
    if width == 0:
        return function(x)
    return np.sum([c * function(x + shift) for c, shift in zip(*kernel(width), strict=True)], axis=0)


def mesh_points(model: BlochModel, pockets: Sequence[Pocket], budget: int) -> int | None:
    """The budget of :func:`singular_integral` that its first mesh needs to resolve the pockets; None if it is more."""
    boxes = [(pocket.origin, pocket.edges) for pocket in pockets]
    mesh, resolved = first_mesh(model.zone, boxes, model.periodic, MESH * budget)
    points = math.ceil(mesh.points / MESH)
    return points if resolved and points <= budget else None


def singular_integral(
    model: BlochModel, integrand: Integrand, goal: Goal, known: Sequence[Pocket] | None = None
) -> Integral:
    """The integral of an integrand over the zone in model coordinates; the budget is for all levels together.

    One displacement serves all levels if it can; those on either side of a node or a band edge are parted. Where the
    budget does not resolve the pockets the error is the integral of the integrand's absolute value. The pockets are
    searched for where they are not ``known``.
    """
    spectrum, levels = Spectrum(model), integrand.levels
    nodes, analytic = Nodes(spectrum), integrand.strip > 0 and is_analytic(model)

    def over(chosen: np.ndarray, goal: Goal) -> Integral:
        part = integrand.at(levels[chosen])
        low, high = float(np.real(part.levels).min()), float(np.real(part.levels).max())
        pockets = find_pockets(nodes, (low, high)) if known is None else list(known)
        boxes = [box for pocket in pockets for box in _images(pocket, part.folding)]
        mesh, resolved = first_mesh(model.zone, boxes, model.periodic, MESH * goal.budget)
        deformation = find_deformation(model, pockets, low, high)
        if deformation is None:  # no state at the levels
            return adaptive_integral(Points(model, part), mesh, goal, part.folding)
        result, spent = None, 0
        if analytic:
            deformation = deformation.within(part.strip)
            result, spent = _by_displacement(model, part, deformation, pockets, mesh, goal)
        if result is None and analytic and low < high:
            left = goal.after(spent)
            first = over(chosen[: len(chosen) // 2], replace(left, budget=left.budget // 2))
            result = first.joined(over(chosen[len(chosen) // 2 :], left.after(first.evaluations)))
        result = result or _by_kernel(model, part, mesh, goal.after(spent))
        result = replace(result, evaluations=result.evaluations + spent)
        return result if resolved else replace(result, error=np.maximum(result.error, result.magnitude))

    order = np.argsort(np.real(levels))
    result, place = over(order, goal), np.argsort(order)
    return Integral(
        result.values[place],
        result.error[place],
        result.scale[place],
        result.magnitude[place],
        result.evaluations + spectrum.evaluations,
        result.cells,
        result.rules,
    )


def _images(pocket: Pocket, folding: Folding | None) -> list[tuple[np.ndarray, np.ndarray]]:
    """Origin and edges of a pocket's box and of its images."""
    cells = Cells(pocket.origin[None], pocket.edges[None])
    cells = cells if folding is None else folding.unfolded(cells)
    return list(zip(cells.low, cells.size, strict=True))


class Points:
    """An integrand as a function of k: (N, d) → (N, E, C)."""

    def __init__(
        self, model: BlochModel, integrand: Integrand, deformation: Deformation | None = None, width: float = 0.0
    ):
        self.model, self.integrand, self.deformation, self.width = model, integrand, deformation, width
        self.rows = max(64, VALUES // (len(integrand.levels) * model.size))
        self.spent = 0
        self.solvable = integrand if isinstance(integrand, Solvable) and model.size > CLOSED else None

    def __call__(self, k: np.ndarray) -> np.ndarray:
        self.spent += len(k)
        return np.concatenate([self._values(k[start : start + self.rows]) for start in range(0, len(k), self.rows)])

    def _values(self, k: np.ndarray) -> np.ndarray:
        if self.deformation is None:
            return self._undisplaced(k, lambda: resolved_at(self.model, k))
        plain = self._by_solves(self.width, EIGENSYSTEM - EIGENVALUES)
        every = None if plain else resolved_at(self.model, k)
        energies = _energies(self.model, k) if every is None else every.eigenvalues
        near = self.deformation.reaches(energies).any(axis=1)
        parts, places = [], [np.flatnonzero(~near), np.flatnonzero(near)]
        if not near.all():
            far = places[0]
            parts.append(
                self._undisplaced(k[far], lambda: resolved_at(self.model, k[far]) if every is None else every[far])
            )
        if near.any():
            real = resolved_at(self.model, k[near]) if every is None else every[near]
            parts.append(self._displaced(self.deformation, real))
        return np.concatenate(parts)[np.argsort(np.concatenate(places))]

    def _by_solves(self, width: float, eigensystem: float) -> Solvable | None:
        """The integrand, if solves are cheaper than an ``eigensystem`` that takes as long as so many factorisations."""
        solvable = self.solvable
        return solvable if solvable is not None and solvable.solves(width) < eigensystem else None

    def _undisplaced(self, k: np.ndarray, resolved: Callable[[], Resolved]) -> np.ndarray:
        limit = EIGENSYSTEM if self.deformation is None else EIGENSYSTEM - EIGENVALUES
        solvable, ones = self._by_solves(self.width, limit), np.ones(len(k))
        if solvable is None:
            return self.integrand(resolved(), self.width, ones)
        return solvable.solved(k, _matrices(self.model, k), self.width, ones)

    def _displaced(self, deformation: Deformation, real: Resolved) -> np.ndarray:
        bands = int(deformation.reaches(real.eigenvalues).sum(axis=1).max())
        count = min(1 << (bands - 1).bit_length(), self.model.size)  # few numbers: each compiles
        k, jacobian, h, wrong = over_tiles(
            lambda k, energies, states: displaced(self.model, deformation, k, energies, states, count),
            min(4096, tile_rows(self.model, arrays=16)),
            real.k,
            real.eigenvalues,
            real.right,
        )
        if wrong.max() > SLACK * deformation.depth:
            raise _Crossed
        solvable = self._by_solves(0.0, GENERAL_EIGENSYSTEM)
        if solvable is not None:
            return solvable.solved(k, h, 0.0, jacobian)
        eigenvalues, right, left = in_threads(_biorthogonal, h)
        return self.integrand(Resolved(k, eigenvalues, right, left), 0.0, jacobian)


class _Crossed(Exception):
    """A level came to the wrong side: the displacement is too far."""


def _by_displacement(
    model: BlochModel,
    integrand: Integrand,
    deformation: Deformation,
    pockets: list[Pocket],
    mesh: Cells,
    goal: Goal,
) -> tuple[Integral | None, int]:
    """With smaller and smaller displacements until no pole is crossed, or None; and the points lost on the others."""
    spent = 0
    for _ in range(ATTEMPTS):
        if spent > 0.5 * goal.budget:
            break
        if not crosses(model, deformation, pockets):
            points = Points(model, integrand, deformation)
            with suppress(_Crossed):
                return adaptive_integral(points, mesh, goal.after(spent), integrand.folding), spent
            spent += points.spent
        deformation = deformation.shallower()
    return None, spent


def _by_kernel(model: BlochModel, integrand: Integrand, mesh: Cells, goal: Goal) -> Integral:
    """At real k, for narrower and narrower kernels until two in a row agree."""
    lo, hi = np.array(model.zone).T
    k = lo + (hi - lo) * np.random.default_rng(0).random((64, model.dimension))
    width = 0.125 * max(float(np.ptp(Spectrum(model)(k))), 1e-6)
    best, before, last, spent = None, None, None, 0
    for _ in range(WIDTHS):
        points = Points(model, integrand, width=width)
        result = adaptive_integral(points, mesh, goal.after(spent), integrand.folding)
        spent, mesh, width = spent + result.evaluations, result.cells, 0.5 * width
        if before is not None:
            change = np.abs(result.values - before.values).max(axis=1)
            # the next change shrinks by the same factor, or more
            error = result.error + change * (1.0 if last is None else np.minimum(1.0, change / last))
            if best is None or error.max() < best.error.max():
                best = replace(result, error=error)
            if np.all(best.error <= goal.rtol * best.scale):
                break
            last = np.maximum(change, 1e-300)
        before = result
        if spent + mesh.points > goal.budget:
            break
    if best is None:  # one width only: it says nothing about its bias
        best = replace(result, error=result.magnitude)
    return replace(best, evaluations=spent)


def resolved_at(model: BlochModel, k: np.ndarray) -> Resolved:
    """Energies and states at real k in the periodic gauge."""
    rows = min(4096, tile_rows(model, arrays=4))
    energies, states = over_tiles(lambda part: batched_eigensystems(hamiltonians(model, part)), rows, k)
    return Resolved(k, energies, states, states.conj().swapaxes(1, 2))


def _energies(model: BlochModel, k: np.ndarray) -> np.ndarray:
    """(N, n) at real k."""
    rows = min(4096, tile_rows(model, arrays=4))
    return over_tiles(lambda part: (batched_eigenvalues(hamiltonians(model, part)),), rows, k)[0]


def _matrices(model: BlochModel, k: np.ndarray) -> np.ndarray:
    """H̃ (N, n, n) at real k."""
    return over_tiles(lambda part: (hamiltonians(model, part),), min(4096, tile_rows(model, arrays=4)), k)[0]


def _biorthogonal(h: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """λ, R and L = R⁻¹ of H̃ = R λ L."""
    eigenvalues, right = np.linalg.eig(h)
    return eigenvalues, right, np.linalg.inv(right)


def warn_of(result: Integral, enough: float, what: str, mend: str) -> None:
    """Warn that ``what`` is known to less than ``enough``; ``mend`` says what helps."""
    known = result.relative_error
    if known > enough:
        warnings.warn(
            f"an integral over the whole zone is known to {known:.1g} only (asked: {enough:g}), {what}: small "
            f"pockets, bands that nearly touch or a van Hove energy nearby; {mend}.",
            AccuracyWarning,
            stacklevel=3,
        )
