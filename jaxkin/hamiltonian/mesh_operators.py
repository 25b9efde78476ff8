"""Operators between Wannier functions from a mesh of k: H, ⟨r⟩, ⟨Hr⟩, ⟨rHr⟩ and spin of a Wannier90 calculation.

Positions are finite differences, (r − r₀)|Rβ⟩ ≈ i Σ_b w_b b e^{−ib·(r−r₀)}|Rβ⟩, and so

⟨0α|r − r₀|Rβ⟩ = i Σ_b w_b b e^{ib·(r₀−R)} N⁻¹ Σ_k e^{−ik·R} ⟨w_α,k|w_β,k+b⟩,

with ⟨w|H_k|w⟩ in the same way. About the midpoint, r₀ = ½(τ_α + R + τ_β), they do not depend on where the origin is or
in which cell a function is counted, and are Hermitian; about r₀ = 0 for the bra and R for the ket, as postw90 3 has
them, ⟨r⟩ is made Hermitian afterwards. Both are right to second order in b.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jaxkin.errors import FileFormatError
from jaxkin.hamiltonian.checkpoint import (
    COMPANIONS,
    Checkpoint,
    Neighbours,
    companions,
    read_checkpoint,
    read_displaced_hamiltonian,
    read_energies,
    read_overlaps,
    read_spin,
)
from jaxkin.hamiltonian.replicas import Replicas, minimal_distance
from jaxkin.hamiltonian.text_file import FARTHEST


@dataclass(frozen=True)
class Operators:
    """Matrices between Wannier functions as :class:`jaxkin.TightBinding` takes them; what no file tells is None.

    Attributes:
        steps: (R, 3).
        hoppings: (R, n, n) in eV.
        position: (R, n, n, 3) in Å, with the centres.
        hr, rhr: (R, n, n, 3), about the centres, in eV Å and eV Å².
        spin: (R, n, n, 3).
    """

    steps: np.ndarray
    hoppings: np.ndarray
    position: np.ndarray | None
    hr: np.ndarray | None
    rhr: np.ndarray | None
    spin: np.ndarray | None


def read_operators(path: Path, *, replicas: bool, equivariant: bool, positions: bool) -> tuple[Checkpoint, Operators]:
    """All that stands beside ``seed.chk``.

    Args:
        path: of the checkpoint.
        replicas: minimal-distance replicas; else a Wigner–Seitz cell of R.
        equivariant: finite differences about midpoints.
        positions: read ``seed.mmn`` (and ``seed.uHu``).

    Raises:
        FileFormatError: no ``seed.eig``, a ``seed.uHu`` without ``seed.mmn``, or what its readers refuse.
    """
    checkpoint = read_checkpoint(path)
    eig, mmn, uhu, spn = map(companions(path).get, COMPANIONS)
    if eig is None:
        raise FileFormatError(f"{path}: the energies are missing: put the calculation's .eig next to it.")
    energies = read_energies(eig, checkpoint)
    lattice = Lattice(checkpoint, replicas)
    every = np.arange(len(checkpoint.k))
    h = checkpoint.between(every, energies[:, :, None] * np.eye(checkpoint.bands), every)
    hoppings = lattice.sites(h)
    position = hr = rhr = spin = None
    if positions and mmn is not None:
        overlaps, neighbours = read_overlaps(mmn, checkpoint)
        about = Differences(lattice, neighbours, equivariant)
        reach = range(len(neighbours.weight))
        s = [checkpoint.between(every, overlaps[:, b], neighbours.point[:, b]) for b in reach]
        position = about.positions(s)
        if uhu is not None:
            hs = [
                checkpoint.between(every, energies[:, :, None] * overlaps[:, b], neighbours.point[:, b]) for b in reach
            ]
            displaced = read_displaced_hamiltonian(uhu, checkpoint, neighbours)
            hr, rhr = about.hamiltonian_moments(hoppings, hs, displaced)
    elif positions and uhu is not None:
        raise FileFormatError(f"{uhu}: of no use without the overlaps: put the calculation's .mmn next to it.")
    if spn is not None:
        spin = np.stack([lattice.sites(one) for one in np.moveaxis(read_spin(spn, checkpoint), 1, 0)], axis=1)
    tables = (None if one is None else lattice.tabulated(one) for one in (hoppings, position, hr, rhr, spin))
    steps, matrix, *rest = lattice.distinct, *tables
    assert matrix is not None
    return checkpoint, Operators(steps, matrix, *rest)


class Lattice:
    """Where operators on the mesh of a checkpoint live in real space: elements (R, α, β), some in several cells.

    Attributes:
        cells: (M, 3) Cartesian R + T of each element, Å.
        distinct: (R, 3) all R + T.
    """

    def __init__(self, checkpoint: Checkpoint, replicas: bool):
        self.checkpoint, self.n, grid = checkpoint, checkpoint.states.shape[2], checkpoint.grid
        self._origin = checkpoint.k[0]
        turns = (checkpoint.k - self._origin) * grid
        place = np.rint(turns).astype(int)
        self._place = np.ravel_multi_index((place % grid).T, grid)
        if np.abs(turns - place).max() > 1e-4 or len(set(self._place.tolist())) < len(place):
            raise FileFormatError(f"{checkpoint.path}: the k points are no mesh of {grid}.")
        self._steps = np.stack(np.unravel_index(np.arange(len(place)), grid), axis=1)
        centres = checkpoint.centres @ np.linalg.inv(checkpoint.lattice)
        if np.abs(centres).max() > FARTHEST:
            raise FileFormatError(f"{checkpoint.path}: a Wannier centre is far too far away.")
        which = minimal_distance(self._steps, grid, checkpoint.lattice, centres if replicas else 0 * centres)
        self._replicas: Replicas = which
        every = self._steps[which.element[:, 0]] + which.shift
        self.distinct, where = np.unique(every, axis=0, return_inverse=True)
        self._where, self.cells = where.ravel(), every @ checkpoint.lattice

    def sites(self, matrices: np.ndarray) -> np.ndarray:
        """N⁻¹ Σ_k e^{−ik·R} O(k) of (K, n, n), at every element, (M,)."""
        grid, n = self.checkpoint.grid, self.n
        sorted_ = np.empty_like(matrices)
        sorted_[self._place] = matrices
        sums = np.fft.fftn(sorted_.reshape(*grid, n, n), axes=(0, 1, 2)).reshape(-1, n, n) / len(matrices)
        sums *= np.exp(-2j * np.pi * self._steps @ self._origin)[:, None, None]
        r, i, j = self._replicas.element.T
        shifted = np.exp(-2j * np.pi * self._replicas.shift @ self._origin)  # 1 on a mesh through Γ
        return sums[r, i, j] * shifted * self._replicas.share

    def tabulated(self, elements: np.ndarray) -> np.ndarray:
        """(R, n, n, ...) of (M, ...)."""
        _, i, j = self._replicas.element.T
        table = np.zeros((len(self.distinct), self.n, self.n, *elements.shape[1:]), complex)
        np.add.at(table, (self._where, i, j), elements)
        return table

    @property
    def ends(self) -> tuple[np.ndarray, np.ndarray]:
        """τ_α and τ_β of each element in Å, (M, 3)."""
        _, i, j = self._replicas.element.T
        return self.checkpoint.centres[i], self.checkpoint.centres[j]

    @property
    def own(self) -> np.ndarray:
        """Whether an element is that of a function with itself, (M,)."""
        _, i, j = self._replicas.element.T
        return (i == j) & ~self.distinct[self._where].any(axis=1)


class Differences:
    """Finite differences between neighbouring k, about midpoints or not.

    Attributes:
        bra, ket: τ_α − r₀ and R + τ_β − r₀ of each element in Å, (M, 3).
    """

    def __init__(self, lattice: Lattice, neighbours: Neighbours, equivariant: bool):
        self._lattice, self._neighbours, self._equivariant = lattice, neighbours, equivariant
        left, right = lattice.ends
        half = 0.5 * (lattice.cells + right - left)
        self.bra, self.ket = (-half, half) if equivariant else (left, right)
        self._weighed = neighbours.weight[:, None] * neighbours.step

    def positions(self, overlaps: list[np.ndarray]) -> np.ndarray:
        """⟨0α|r|Rβ⟩ from S_b = ⟨w_k|w_k+b⟩."""
        left, _ = self._lattice.ends
        found = self._first(overlaps)
        if self._equivariant:
            return found + np.where(self._lattice.own[:, None], left, 0.0)
        return 0.5 * (found + self._first(overlaps, adjoint=True))

    def hamiltonian_moments(
        self, hoppings: np.ndarray, weighed: list[np.ndarray], displaced: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """⟨Hr⟩ and the vector of ⟨rHr⟩ about the centres, from ⟨w_k|H_k|w_k+b⟩ and ⟨w_k+b₁|H_k|w_k+b₂⟩."""
        b, back = self._first(weighed), self._first(weighed, adjoint=True)
        c = hoppings[:, None] * np.cross(self.bra, self.ket) - np.cross(self.bra, b) - np.cross(back, self.ket)
        for one, step in enumerate(self._weighed):
            for two, other in enumerate(self._weighed):
                turned = np.cross(step, other)
                if np.any(turned):
                    found = self._lattice.sites(displaced[:, one, two])
                    c += (found * self._turn(one, bra=True) * self._turn(two))[:, None] * turned
        return b - hoppings[:, None] * self.ket, 1j * c

    def _first(self, matrices: list[np.ndarray], adjoint: bool = False) -> np.ndarray:
        """i Σ_b w_b b M_b about r₀, (M, 3); or its adjoint."""
        total = np.zeros(self.ket.shape, complex)
        for number, (step, matrix) in enumerate(zip(self._weighed, matrices, strict=True)):
            found = self._lattice.sites(matrix.conj().swapaxes(1, 2) if adjoint else matrix)
            total += (found * self._turn(number, bra=adjoint))[:, None] * step
        return -1j * total if adjoint else 1j * total

    def _turn(self, number: int, bra: bool = False) -> np.ndarray | complex:
        """e^{ib·(r₀−R)} of the ket's b, e^{−ib·r₀} of the bra's, (M,)."""
        if not self._equivariant:
            return 1.0
        left, right = self._lattice.ends
        outside = 0.5 * (left + right - (-1 if bra else 1) * self._lattice.cells)
        return np.exp((-1j if bra else 1j) * outside @ self._neighbours.step[number])
