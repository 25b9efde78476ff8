"""Minimal-distance replicas of Wannier functions: Wannier90's ``use_ws_distance``, its default for bands.

A Hamiltonian on a mesh of k does not tell ⟨0i|H|Rj⟩ from the same with R + T, T a vector of the mesh's supercell.
Of these the ones count, in equal parts, whose centres are nearest:

H(k) = Σ_R Σ_ij Σ_{T of R, i, j} exp[ik·(R + T)] H_ij(R)/(n_R n_T),

with n_R the degeneracy of R and n_T the number of replicas (Pizzi et al., J. Phys.: Condens. Matter 32, 165902 (2020),
Sec. 4.2).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np

from jaxkin.hamiltonian.text_file import FARTHEST, TextFile

NEAREST = 1e-3
"""Å: distances that differ by less are equal. Centres are off their sites by 1e-4 Å, and Wannier90's own 1e-5 then
tells replicas apart that symmetry does not (GaAs on 2×2×2 k: bands by 0.7 eV)."""
HOME = 0.01
"""Reduced distance from the home cell of centres that were moved into it."""
MOVED = 0.7
"""What is left at most of the spread of H by distance where moving centres back helps."""
REACH = 2
"""Supercells that are looked at on either side of the nearest by rounding."""


@dataclass(frozen=True)
class Replicas:
    """Which supercell vectors each matrix element stands for, one row a replica.

    Attributes:
        element: (M, 3) R (its number), i and j.
        shift: (M, d) T.
        share: (M,) 1/n_T.
    """

    element: np.ndarray
    shift: np.ndarray
    share: np.ndarray

    @classmethod
    def of(cls, element: np.ndarray, shift: np.ndarray, shape: tuple[int, int, int]) -> Replicas:
        """With equal shares of each element's replicas."""
        key = np.ravel_multi_index(element.T, shape)
        return cls(element, shift, 1 / np.bincount(key, minlength=int(np.prod(shape)))[key])

    def applied(self, steps: np.ndarray, *matrices: np.ndarray) -> tuple[np.ndarray, ...]:
        """The R + T there are, and each of the ``matrices`` (R, n, n, ...) on them."""
        r, i, j = self.element.T
        distinct, place = np.unique(steps[r] + self.shift, axis=0, return_inverse=True)
        parts = []
        for matrix in matrices:
            moved = np.zeros((len(distinct), *matrix.shape[1:]), complex)
            share = self.share.reshape(-1, *(1,) * (matrix.ndim - 3))
            np.add.at(moved, (place.ravel(), i, j), matrix[r, i, j] * share)
            parts.append(moved)
        return distinct, *parts


def minimal_distance(steps: np.ndarray, grid: Sequence[int], lattice: np.ndarray, centres: np.ndarray) -> Replicas:
    """The replicas that |τ_j + R + T − τ_i| makes.

    Args:
        steps: (R, 3) integers.
        grid: mesh of k, (3,): T are its multiples.
        lattice: rows in Å, (3, 3).
        centres: (n, 3) reduced.

    >>> lattice, centres = np.eye(3), np.array([[0.0, 0, 0], [0.1, 0, 0]])
    >>> found = minimal_distance(np.array([[1, 0, 0]]), (2, 1, 1), lattice, centres)
    >>> found.shift[(found.element == [0, 0, 1]).all(axis=1)].tolist()  # from 0 to 1.1 is farther than to -0.9
    [[-2, 0, 0]]
    >>> found.share[(found.element == [0, 0, 0]).all(axis=1)].tolist()
    [0.5, 0.5]
    """
    mesh = np.asarray(grid)
    offsets = np.array(list(product(range(-REACH, REACH + 1), repeat=3)))
    elements, shifts = [], []
    for number, step in enumerate(steps):
        way = step + centres[None, :] - centres[:, None]  # (n, n, 3)
        cells = (offsets[:, None, None] - np.rint(way / mesh).astype(int)) * mesh  # (S, n, n, 3)
        distance = np.linalg.norm((way + cells) @ lattice, axis=-1)
        which, i, j = np.nonzero(distance < distance.min(axis=0) + NEAREST)
        elements.append(np.stack([np.full(len(i), number), i, j], axis=1))
        shifts.append(cells[which, i, j])
    shape = (len(steps), len(centres), len(centres))
    return Replicas.of(np.concatenate(elements), np.concatenate(shifts), shape)


def mesh_of(
    steps: np.ndarray, weights: np.ndarray, said: tuple[int, int, int] | None = None
) -> tuple[int, int, int] | None:
    """The mesh of k of which the R with degeneracies ``weights`` are a Wigner–Seitz cell; None if there is none.

    Every class of R modulo the mesh must have Σ 1/n_R = 1. Of several meshes the one that is ``said`` to be theirs is
    taken, or the most even one.

    >>> mesh_of(np.array([[-1, 0, 0], [0, 0, 0], [1, 0, 0]]), np.array([2, 1, 2]))
    (2, 1, 1)
    """
    total = round(float(np.sum(1 / weights)))
    found = []
    for grid in _triples(total):
        place = np.ravel_multi_index((steps % grid).T, grid)
        if np.allclose(np.bincount(place, 1 / weights, minlength=total), 1):
            found.append(grid)
    return said if said in found else min(found, key=max, default=None)


def _triples(total: int) -> list[tuple[int, int, int]]:
    divisors = [n for n in range(1, total + 1) if total % n == 0]
    return [(a, b, total // a // b) for a in divisors for b in divisors if total // a % b == 0]


def read_wsvec(path: Path, steps: np.ndarray, n: int) -> Replicas:
    """The replicas in ``seed_wsvec.dat``, which must be those of the R and n orbitals of the Hamiltonian.

    Raises:
        FileFormatError: truncated, malformed, or of another Hamiltonian; with the line.
    """
    text = TextFile(path)
    text.line()
    text.skip()
    number = {tuple(step): r for r, step in enumerate(steps.tolist())}
    elements, shifts, seen = [], [], set()
    for _ in range(len(steps) * n * n):
        text.skip_blank()
        where = text.cursor
        *step, i, j = _integers(text, 5, "R1 R2 R3 i j")
        r = number.get(tuple(step))
        if r is None or not (1 <= i <= n and 1 <= j <= n):
            text.fail(f"R = {tuple(step)}, orbitals {i} {j} are not in the Hamiltonian: another run's file?", where)
        if (r, i, j) in seen:
            text.fail(f"R = {tuple(step)}, orbitals {i} {j} for the second time", where)
        seen.add((r, i, j))
        (count,) = _integers(text, 1, "the number of replicas")
        if count < 1:
            text.fail(f"expected the number of replicas, found {count}", text.cursor - 1)
        for _ in range(count):
            shifts.append(_integers(text, 3, "T1 T2 T3"))
            elements.append((r, i - 1, j - 1))
    text.finish()
    text.tell()
    return Replicas.of(np.array(elements), np.array(shifts), (len(steps), n, n))


def _integers(text: TextFile, count: int, what: str) -> list[int]:
    line = text.line()
    try:
        values = [int(field) for field in line.split()] if line.isascii() and "_" not in line else []
    except ValueError:
        values = []
    if len(values) != count or max(map(abs, values)) > FARTHEST:
        text.fail(f"expected {count} integers ({what}), found {line.strip()[:60]!r}")
    text.skip()
    return values


def shifted_centres(steps: np.ndarray, hoppings: np.ndarray, lattice: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """By which lattice vectors (n, 3) centres in the home cell seem to be away from the functions of ``hoppings``.

    Σ |H_ij(R)|² |R + τ_j − τ_i|² is least where centres belong to H: the integers that a least-squares solution
    rounds to, or zeros if these do not make the sum markedly smaller.
    """
    if np.any((centres < -HOME) | (centres > 1 + HOME)):
        return np.zeros(centres.shape, int)
    size = np.abs(hoppings) ** 2
    diagonal = np.arange(len(centres))
    size[:, diagonal, diagonal] = 0.0
    total = size.sum(axis=0)
    wanted = np.einsum("rij,ra->ija", size, -steps.astype(float)) - total[:, :, None] * (centres - centres[:, None])
    laplacian = np.diag(total.sum(axis=0) + total.sum(axis=1)) - total - total.T
    pull = wanted.sum(axis=0) - wanted.sum(axis=1)  # on n_j − n_i
    moved = np.linalg.pinv(laplacian, rcond=1e-10, hermitian=True) @ pull
    moved = np.rint(moved - np.median(moved, axis=0)).astype(int)

    def spread(positions: np.ndarray) -> float:
        way = (steps[:, None, None] + positions - positions[:, None]) @ lattice
        return float(np.sum(size * np.sum(way**2, axis=-1)))

    return moved if moved.any() and spread(centres + moved) < MOVED * spread(centres) else np.zeros_like(moved)
