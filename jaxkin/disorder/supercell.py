"""The potential of a defect: the Hamiltonian of a supercell that holds it minus that of the host, orbital by orbital.

The Wannier functions of the two calculations come in any order and with any phase. An orbital p of the supercell is
matched with one a of the host by its centre, and its phase e^{iφ_p} by its hoppings to those that are matched already:
|p⟩ = e^{iφ_p}|a⟩ where ⟨p|H|q⟩ = e^{−iφ_p}⟨a|H₀|b⟩e^{iφ_q}. The one that is surest comes next, so that orbitals of the
defect, whose hoppings are others, come last.
"""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse.csgraph import breadth_first_order, minimum_spanning_tree

from jaxkin.checks import check_kind, check_number, numbers, shown
from jaxkin.errors import AccuracyWarning, JaxkinError
from jaxkin.hamiltonian.tight_binding import TightBinding

NEAR = 0.9
"""Å between the centres of orbitals that may be the same."""
ALIKE = 1e-3
"""eV, at least, that energies and hoppings of an orbital may be off those of its partner where a match begins."""
SEEDS = 12
"""Beginnings that are tried."""
REMOVED = 1e6
"""eV on an orbital that the defect lacks: it is out of reach, to a part in a million of the bands' width."""
WEAK = 1e-6
"""Of the largest bond, squared, below which bonds do not tell a phase."""
ROUNDING = 1e-13
"""Of a bond."""
NOTHING = 1e-9
"""Of the host's hoppings, as a potential."""
SWEEPS = 5
"""Over all phases."""
LOST = 0.05
"""Of the potential's norm that may be cut off without a warning."""


class Defect(NamedTuple):
    """What a supercell says of its defect."""

    potential: np.ndarray
    """⟨m|V|m'⟩ in eV, (m, m)."""
    orbitals: list[int]
    """Of the host."""
    cells: np.ndarray
    """Of the host, (m, d)."""
    tail: float
    """Norm of what is cut off over that of all, without orbitals that are missing."""
    shift: float
    """eV that the supercell's energies lie above the host's far from the defect."""


class _Folded(NamedTuple):
    """Hoppings (R, n, n) of a supercell with centres (n, d) in units of its vectors."""

    steps: np.ndarray
    hoppings: np.ndarray
    centres: np.ndarray


def defect_potential(host: TightBinding, defect: TightBinding, matrix: ArrayLike, smallest: float = 1e-3) -> Defect:
    """The potential of the defect in a supercell.

    Args:
        host: the perfect crystal.
        defect: the supercell, with the same origin.
        matrix: (d, d) integers, rows the supercell's vectors in those of the host.
        smallest: orbitals on which V is smaller than this part of its largest row are left out.

    Raises:
        JaxkinError: lattices that do not fit, a defect with orbitals of its own, no orbitals that are as in the host.

    Warns:
        AccuracyWarning: more than a twentieth of the potential is cut off.
    """
    for name, model in (("host", host), ("defect", defect)):
        check_kind(name, model, TightBinding, "a tight-binding model")
    check_number("smallest", smallest, "a number from 0 to 1", least=0, most=1)
    d = host.dimension
    multiples = numbers("matrix", matrix, f"({d}, {d}) integers", int)
    if multiples.shape == (3, 3) and d < 3:
        multiples = multiples[:d, :d]
    if multiples.shape != (d, d) or not round(abs(np.linalg.det(multiples))):
        raise JaxkinError(f"matrix={shown(matrix)} must be ({d}, {d}) integers, with a determinant that is not zero.")
    lattice = multiples @ np.asarray(host.lattice)
    if not np.allclose(lattice, np.asarray(defect.lattice), atol=1e-3 * np.abs(lattice).max()):
        raise JaxkinError(f"matrix={shown(matrix)}: makes other vectors of the host's lattice than the supercell has.")
    cells, number = _cells(multiples)
    folded = _fold(host, multiples, cells, number)
    steps = np.asarray(defect.translations).round().astype(int)
    found = _Folded(steps, np.asarray(defect.hoppings), np.asarray(defect.positions))
    folded, found = _same_steps(folded, found)
    partner, phase = _matched(folded, found, lattice)
    return _difference(folded, found, partner, phase, cells, multiples, lattice, smallest)


def _cells(matrix: np.ndarray) -> tuple[np.ndarray, dict[tuple[int, ...], int]]:
    """The host's cells in one supercell, and the number of each."""
    corners = np.stack(np.meshgrid(*[(0, 1)] * len(matrix), indexing="ij"), axis=-1).reshape(-1, len(matrix)) @ matrix
    axes = [np.arange(low, high + 1) for low, high in zip(corners.min(axis=0), corners.max(axis=0), strict=True)]
    every = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(matrix))
    inside = every @ np.linalg.inv(matrix)
    chosen = every[np.all((inside > -1e-9) & (inside < 1 - 1e-9), axis=1)]
    return chosen, {tuple(cell): n for n, cell in enumerate(chosen.tolist())}


def _fold(host: TightBinding, matrix: np.ndarray, cells: np.ndarray, number: dict[tuple[int, ...], int]) -> _Folded:
    """The host in the supercell, orbitals cell by cell."""
    n, inverse = host.size, np.linalg.inv(matrix)
    blocks: dict[tuple[int, ...], np.ndarray] = {}
    for step, hopping in zip(np.asarray(host.translations).round().astype(int), np.asarray(host.hoppings), strict=True):
        ends = cells + step
        over = np.floor(ends @ inverse + 1e-9).astype(int)
        for start, (end, big) in enumerate(zip(ends - over @ matrix, over, strict=True)):
            block = blocks.setdefault(tuple(big.tolist()), np.zeros((len(cells) * n,) * 2, complex))
            stop = number[tuple(end.tolist())]
            block[start * n : (start + 1) * n, stop * n : (stop + 1) * n] += hopping
    centres = (cells[:, None, :] + np.asarray(host.positions)).reshape(-1, len(matrix)) @ inverse
    return _Folded(np.array(list(blocks)), np.array(list(blocks.values())), centres)


def _same_steps(one: _Folded, other: _Folded) -> tuple[_Folded, _Folded]:
    """Both with the translations of either."""
    steps = np.unique(np.concatenate([one.steps, other.steps]), axis=0)
    place = {tuple(step): n for n, step in enumerate(steps.tolist())}

    def filled(model: _Folded) -> _Folded:
        hoppings = np.zeros((len(steps), *model.hoppings.shape[1:]), complex)
        for step, hopping in zip(model.steps.tolist(), model.hoppings, strict=True):
            hoppings[place[tuple(step)]] += hopping
        return _Folded(steps, hoppings, model.centres)

    return filled(one), filled(other)


def _apart(x: np.ndarray, y: np.ndarray, lattice: np.ndarray) -> np.ndarray:
    """Shortest Cartesian vectors from each y to each x modulo the supercell, (x, y, 3)."""
    between = x[:, None, :] - y[None, :, :]
    return (between - np.rint(between)) @ lattice


def _matched(host: _Folded, defect: _Folded, lattice: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The host's orbital of each of the defect's, and its phase."""
    near = np.linalg.norm(_apart(defect.centres, host.centres, lattice), axis=-1) < NEAR
    _check_partners(near.any(axis=1))
    zero = int(np.flatnonzero(~host.steps.any(axis=1))[0])
    energy = [np.real(np.diagonal(one.hoppings[zero])) for one in (defect, host)]
    size = [np.linalg.norm(one.hoppings, axis=(0, 2)) for one in (defect, host)]
    unlike = np.abs(energy[0][:, None] - energy[1]) + np.abs(size[0][:, None] - size[1])
    unlike = np.where(near, unlike, np.inf)
    limit = max(2 * unlike.min(), ALIKE)
    strangest = defect.centres[[int(np.argmax(unlike.min(axis=1)))]]
    far = np.linalg.norm(_apart(defect.centres, strangest, lattice)[:, 0], axis=-1)
    seeds = np.argwhere(unlike <= limit)
    seeds = seeds[np.argsort(-far[seeds[:, 0]], kind="stable")]
    seeds = seeds[seeds[:, 0] == seeds[0, 0]][:SEEDS]
    grown = [_grown(host, defect, near, tuple(seed)) for seed in seeds]
    partner = min(grown, key=lambda pair: _unlike(host, defect, *pair))[0]
    _check_partners(partner >= 0)
    return partner, _phases(host, defect, partner)


def _check_partners(has: np.ndarray) -> None:
    """Refuse orbitals of the defect that no orbital of the host is left for."""
    if not has.all():
        lonely = np.flatnonzero(~has).tolist()
        raise JaxkinError(
            f"defect: its orbitals {lonely} have none of the host within {NEAR} Å, and a potential on the host's "
            "orbitals cannot stand for them; leave them out of the wannierisation, or give both one origin."
        )


def _phases(host: _Folded, defect: _Folded, partner: np.ndarray) -> np.ndarray:
    """Along a tree of the bonds that differ least from the host's, then as most bonds have it.

    With e^{iφ_p} = u_p, ⟨p|H|q⟩⟨b|H₀|a⟩ = u_p* u_q |⟨a|H₀|b⟩|² where the defect does not reach.
    """
    mine, theirs = defect.hoppings, host.hoppings[:, partner[:, None], partner]
    product = np.sum(mine * theirs.conj(), axis=0)
    sizes = [np.linalg.norm(one, axis=0) for one in (mine, theirs)]
    off = np.abs(sizes[0] - sizes[1]) + np.sqrt(np.maximum(sizes[0] * sizes[1] - np.abs(product), 0.0))
    bound = np.abs(product) > WEAK * np.abs(product).max()
    np.fill_diagonal(bound, False)
    cost = np.where(bound, 1 + off / np.maximum(sizes[0] + sizes[1], ROUNDING), 0.0)  # near 0 there would be no bond
    tree = minimum_spanning_tree(cost)
    order, before = breadth_first_order(tree, int(np.argmax(sizes[1].sum(axis=1))), directed=False)
    phase = np.ones(len(partner), complex)
    for p in order[1:]:
        phase[p] = _unit(phase[before[p]] * product[p, before[p]].conj())
    scale = np.abs(product)
    for _ in range(SWEEPS):  # weights of least absolute deviations: the bonds of the defect do not pull
        for p in order:
            wrong = np.abs(product[p] - phase[p].conj() * phase * scale[p]) + ROUNDING * scale.max()
            weight = np.where(bound[p], 1 / wrong, 0.0)
            phase[p] = _unit(np.sum(weight * phase * product[p].conj()))
    return phase


def _unit(value: complex) -> complex:
    return value / abs(value) if abs(value) > 0 else 1.0 + 0.0j


def _grown(host: _Folded, defect: _Folded, near: np.ndarray, seed: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Partners and phases from one pair on, the surest next."""
    count = len(near)
    partner, phase = np.full(count, -1), np.ones(count, complex)
    overlap, mine, theirs = np.zeros(near.shape, complex), np.zeros(count), np.zeros(near.shape[1])
    free = near.copy()
    (p, a), factor = seed, 1.0 + 0.0j
    for _ in range(count):
        partner[p], phase[p] = a, factor
        free[p, :], free[:, a] = False, False
        b, h = defect.hoppings[:, :, p] * np.conj(factor), host.hoppings[:, :, a]  # from every orbital to this one
        overlap += np.einsum("rp,ra->pa", b, h.conj())
        mine += np.sum(np.abs(b) ** 2, axis=0)
        theirs += np.sum(np.abs(h) ** 2, axis=0)
        if not free.any():
            break
        larger = np.maximum(np.maximum(mine[:, None], theirs), 1e-300)
        cost = np.sqrt(np.maximum(mine[:, None] + theirs - 2 * np.abs(overlap), 0.0) / larger)
        ordered = np.sort(np.where(free, np.minimum(cost, 1.0), 1.0), axis=1)
        best, second = ordered[:, 0], ordered[:, 1] if near.shape[1] > 1 else np.ones(count)
        known = np.sqrt(mine / mine.max())
        sure = np.where(free.any(axis=1), known * (second - best + 1e-6) / (best + 1e-2), -1.0)
        p = int(np.argmax(sure))
        a = int(np.argmin(np.where(free[p], cost[p], np.inf)))
        factor = _unit(np.conj(overlap[p, a]))  # that is e^{−iφ_p} times what is positive
    return partner, phase


def _turned(defect: _Folded, partner: np.ndarray, phase: np.ndarray, size: int) -> np.ndarray:
    """The defect's hoppings on the host's orbitals."""
    found, there = np.zeros((len(defect.steps), size, size), complex), partner >= 0
    block = phase[:, None] * defect.hoppings * phase.conj()
    found[:, partner[there][:, None], partner[there]] = block[:, there][:, :, there]
    return found


def _unlike(host: _Folded, defect: _Folded, partner: np.ndarray, phase: np.ndarray) -> float:
    """How far the half of the orbitals that is most alike is from the host."""
    rows = np.linalg.norm(_turned(defect, partner, phase, len(host.centres)) - host.hoppings, axis=(0, 2))
    return float(np.median(rows[partner[partner >= 0]]))


def _difference(
    host: _Folded,
    defect: _Folded,
    partner: np.ndarray,
    phase: np.ndarray,
    cells: np.ndarray,
    matrix: np.ndarray,
    lattice: np.ndarray,
    smallest: float,
) -> Defect:
    size, zero = len(host.centres), int(np.flatnonzero(~host.steps.any(axis=1))[0])
    change = _turned(defect, partner, phase, size) - host.hoppings
    missing = np.setdiff1d(np.arange(size), partner)
    change[:, missing, :], change[:, :, missing] = 0.0, 0.0
    rows = np.linalg.norm(change, axis=(0, 2))
    rows[missing] = np.inf
    centre = host.centres[int(np.argmax(rows))]
    away = _apart(host.centres, centre[None], lattice)[:, 0]
    distance = np.where(np.isfinite(rows), np.linalg.norm(away, axis=-1), -1.0)
    shift = float(np.median(np.real(np.diagonal(change[zero]))[distance >= np.quantile(distance, 0.75)]))
    there = np.setdiff1d(np.arange(size), missing)
    change[zero, there, there] -= shift

    images = -np.rint(host.centres - centre).astype(int)  # supercells that bring each orbital nearest to the defect
    between, potential = images[None, :, :] - images[:, None, :], np.zeros((size, size), complex)
    for step, hopping in zip(host.steps, change, strict=True):
        there = (between == step).all(axis=-1)
        potential[there] = hopping[there]
    whole = float(np.linalg.norm(change))
    whole = whole if whole > NOTHING * np.linalg.norm(host.hoppings) else 0.0
    potential[missing, missing] = REMOVED
    strength = np.linalg.norm(potential, axis=1)
    ordinary = np.delete(strength, missing)
    kept = np.flatnonzero(strength > smallest * ordinary.max(initial=0.0) + 1e-12)
    if not len(kept):
        raise JaxkinError("defect: is the host itself, every orbital of it; there is no potential.")
    inside = potential[np.ix_(kept, kept)]
    own = np.isin(kept, missing)
    tail = float(np.sqrt(max(whole**2 - np.linalg.norm(inside[~own][:, ~own]) ** 2, 0.0)) / whole) if whole else 0.0
    if tail > LOST:
        warnings.warn(
            f"{tail:.0%} of the defect's potential is cut off: parts that are small, or reach its images in the next "
            "supercells; lower `smallest`, or take a larger supercell.",
            AccuracyWarning,
            stacklevel=4,
        )
    orbitals = size // len(cells)
    where = cells[kept // orbitals] + images[kept] @ matrix
    return Defect(0.5 * (inside + inside.conj().T), (kept % orbitals).tolist(), where, tail, shift)
