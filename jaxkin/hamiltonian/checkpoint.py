"""A Wannier90 calculation on its mesh of k: ``seed.chk`` and what the ab-initio code wrote for it.

``seed.chk`` (or ``.chk.fmt``) holds the Wannier functions, ``seed.eig`` the energies, ``seed.mmn`` the overlaps
⟨u_mk|u_n,k+b⟩, ``seed.uHu`` the ⟨u_m,k+b₁|H_k|u_n,k+b₂⟩ and ``seed.spn`` the ⟨ψ_mk|σ|ψ_nk⟩; each also with ``.gz`` or
``.bz2``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jaxkin.checks import flat
from jaxkin.errors import FileFormatError
from jaxkin.hamiltonian.fortran_file import FortranFile, fortran_file
from jaxkin.hamiltonian.text_file import FARTHEST, PACKED, TextFile
from jaxkin.memory import demand

COMPANIONS = ("eig", "mmn", "uHu", "spn")
"""Endings of what is read with a checkpoint."""
MOST = 10**5
"""Bands, points or neighbours that a count may say: more is damage."""
FAR = 1e-5
"""Reduced distance from the mesh of k + b that neighbours may have."""
SAME_SHELL = 1e-3
"""Relative difference of |b| within a shell of neighbours."""
COMPLETE = 1e-4
"""By which Σ w b_a b_b may differ from δ_ab."""


@dataclass(frozen=True)
class Checkpoint:
    """The Wannier functions of a calculation.

    Attributes:
        path: of the file.
        lattice: rows in Å.
        grid: mesh of k.
        k: (K, 3) reduced.
        states: V, (K, bands, n): the Wannier functions' Bloch sums in the ab-initio bands, zero outside the window.
        centres: (n, 3) Cartesian in Å, as Wannier90 minimised them.
    """

    path: Path
    lattice: np.ndarray
    grid: tuple[int, int, int]
    k: np.ndarray
    states: np.ndarray
    centres: np.ndarray

    @property
    def bands(self) -> int:
        return self.states.shape[1]

    def between(self, left: np.ndarray | int, matrices: np.ndarray, right: np.ndarray | int) -> np.ndarray:
        """V†_l M V_r of matrices between the bands of the points ``left`` and ``right``."""
        return self.states[left].conj().swapaxes(-1, -2) @ matrices @ self.states[right]


@dataclass(frozen=True)
class Neighbours:
    """The points k + b of every k, with the weights of finite differences, Σ_b w b_a b_b = δ_ab.

    Attributes:
        point: (K, B) which k' = k + b − G it is.
        step: b in Å⁻¹, (B, 3): the same b in the same order for every k.
        weight: w in Å², (B,).
        order: (K, B) place in the file of each b.
    """

    point: np.ndarray
    step: np.ndarray
    weight: np.ndarray
    order: np.ndarray


def read_checkpoint(path: Path) -> Checkpoint:
    """``seed.chk`` as Wannier90 writes it, formatted or not.

    Raises:
        FileFormatError: truncated, malformed, or not yet wannierised.
    """
    file = fortran_file(path)
    file.text()
    bands = _count(file, "the number of bands")
    excluded = _count(file, "the number of excluded bands", least=0)
    file.integers(excluded, "excluded bands")
    lattice = file.reals(9, "lattice vectors in Å").reshape(3, 3).T
    if flat(lattice):
        file.fail("the lattice vectors are linearly dependent")
    if np.abs(file.reals(9, "reciprocal lattice vectors").reshape(3, 3) @ lattice - 2 * np.pi * np.eye(3)).max() > 1e-3:
        file.fail("lattice and reciprocal lattice vectors do not belong together")
    points = _count(file, "the number of k points")
    grid = tuple(file.integers(3, "mp_grid").tolist())
    if min(grid) < 1 or int(np.prod(grid)) != points:
        file.fail(f"{points} k points are no mesh of {grid}")
    k = file.reals(3 * points, "k points").reshape(points, 3)
    if np.abs(k).max() > FARTHEST or np.abs(lattice).max() > FARTHEST:
        file.fail("k points, or lattice vectors, are far too large")
    neighbours = _count(file, "the number of neighbours")
    n = _count(file, "the number of Wannier functions")
    demand(64 * points * bands * max(bands, n), f"{path}: {points} k points of {bands} bands", "raise it")
    stage = file.text()
    if stage not in ("postwann", "postdis"):
        file.fail(f"the checkpoint is {stage[:60]!r}: Wannier90 must have finished (postwann)")
    disentangled = bool(file.flags(1, "have_disentangled")[0])
    first = None
    if disentangled:
        file.reals(1, "omega_invariant")
        window = file.flags(bands * points, "lwindow").reshape(points, bands)
        inside = file.integers(points, "ndimwin")
        if np.any(inside != window.sum(axis=1)) or np.any(inside < n):
            file.fail("the window of some k holds another number of bands than it says, or too few")
        packed = file.complexes(bands * n * points, "u_matrix_opt").reshape(points, n, bands).swapaxes(1, 2)
        first = np.zeros((points, bands, n), complex)
        for one, mine, rows, count in zip(first, window, packed, inside, strict=True):
            one[mine] = rows[:count]
    elif bands != n:
        file.fail(f"{bands} bands for {n} Wannier functions without disentanglement")
    u = file.complexes(n * n * points, "u_matrix").reshape(points, n, n).swapaxes(1, 2)
    file.complexes(n * n * neighbours * points, "m_matrix")
    centres = file.reals(3 * n, "Wannier centres in Å").reshape(n, 3)
    if np.abs(centres).max() > FARTHEST:
        file.fail("a Wannier centre is far too far away")
    file.reals(n, "spreads")
    file.finish()
    states = u if first is None else first @ u
    gram = states.conj().swapaxes(1, 2) @ states
    if np.abs(gram - np.eye(n)).max() > 1e-5:
        raise FileFormatError(f"{path}: the Wannier functions are not orthonormal at every k: damaged.")
    return Checkpoint(path, lattice, (grid[0], grid[1], grid[2]), k, states, centres)


def companions(path: Path) -> dict[str, Path]:
    """What of :data:`COMPANIONS` is next to ``seed.chk``, packed or not, by kind; of another file nothing."""
    if ".chk" not in path.name:
        return {}
    name = path.name.partition(".chk")[0]
    files = {kind: [path.parent / f"{name}.{kind}{packed}" for packed in ("", *PACKED)] for kind in COMPANIONS}
    found = {kind: [file for file in some if file.exists()] for kind, some in files.items()}
    return {kind: some[0] for kind, some in found.items() if some}


def read_energies(path: Path, checkpoint: Checkpoint) -> np.ndarray:
    """(K, bands) in eV of ``seed.eig``: rows of band, k and energy.

    Raises:
        FileFormatError: of another calculation, truncated or malformed.
    """
    text, (count, bands) = TextFile(path), checkpoint.states.shape[:2]
    rows = text.table(count * bands, 3, "band, k point and energy in eV")
    text.finish()
    text.tell()
    band, k = text.whole(rows[:, :2], "band and k point", 0).T - 1
    inside = (band >= 0) & (band < bands) & (k >= 0) & (k < count)
    place = np.where(inside, k * bands + band, 0)
    if not inside.all() or len(set(place.tolist())) < len(place):
        raise FileFormatError(
            f"{path}: does not hold {bands} bands at {count} k points once each, as {checkpoint.path}."
        )
    energies = np.empty(count * bands)
    energies[place] = rows[:, 2]
    return energies.reshape(count, bands)


def read_overlaps(path: Path, checkpoint: Checkpoint) -> tuple[np.ndarray, Neighbours]:
    """⟨u_mk|u_n,k+b⟩, (K, B, bands, bands), of ``seed.mmn``, and the neighbours that it lists.

    Raises:
        FileFormatError: of another calculation, truncated or malformed; neighbours that are no shells.
    """
    text, (count, bands) = TextFile(path), checkpoint.states.shape[:2]
    text.skip()
    *found, each = text.integers("bands, k points and neighbours")
    if found != [bands, count] or not 1 <= each <= MOST:
        text.fail(f"{found[0]} bands at {found[1]} k points, but {checkpoint.path} has {bands} at {count}", 1)
    demand(32 * each * count * bands**2, f"{path}: overlaps of {count} k points with {each} neighbours", "raise it")
    point, step = np.empty((count, each), int), np.empty((count, each, 3))
    overlaps = np.empty((count, each, bands, bands), complex)
    found = np.zeros(count, int)
    for _ in range(count * each):
        where = text.cursor
        here, there, *cell = text.integers("k, its neighbour and the cell of that", 5)
        if not (1 <= here <= count and 1 <= there <= count) or found[here - 1] == each:
            text.fail(f"k points {here} and {there} do not belong here", where)
        number = found[here - 1]
        found[here - 1] += 1
        point[here - 1, number] = there - 1
        step[here - 1, number] = checkpoint.k[there - 1] + cell - checkpoint.k[here - 1]
        rows = text.table(bands**2, 2, "Re, Im of an overlap")
        overlaps[here - 1, number] = (rows[:, 0] + 1j * rows[:, 1]).reshape(bands, bands).T
    text.finish()
    text.tell()
    neighbours = _neighbours(path, checkpoint, point, step)
    return np.take_along_axis(overlaps, neighbours.order[:, :, None, None], axis=1), neighbours


def read_displaced_hamiltonian(path: Path, checkpoint: Checkpoint, neighbours: Neighbours) -> np.ndarray:
    """⟨u_m,k+b₁|H_k|u_n,k+b₂⟩ between the Wannier functions, (K, B, B, n, n) in eV, of ``seed.uHu``.

    Raises:
        FileFormatError: of another calculation, truncated or malformed.
    """
    file, (count, bands, n) = fortran_file(path), checkpoint.states.shape
    file.text()
    each = neighbours.point.shape[1]
    _agree(file, file.integers(3, "bands, k points and neighbours"), (bands, count, each), checkpoint)
    demand(16 * count * each**2 * n**2, f"{path}: H between the neighbours of {count} k points", "raise it")
    result = np.empty((count, each, each, n, n), complex)
    for k in range(count):
        # written with the first index of the second state first, so that in C order it is ⟨b₁|H|b₂⟩ as [b₂, b₁]
        matrices = [file.complexes(bands**2, "H between neighbours") for _ in range(each**2)]
        ends = np.empty((each, bands, n), complex)
        ends[neighbours.order[k]] = checkpoint.states[neighbours.point[k]]  # in the file's order of neighbours
        found = ends.conj().swapaxes(1, 2) @ np.reshape(matrices, (each, each, bands, bands)) @ ends[:, None]
        result[k] = found.swapaxes(0, 1)[np.ix_(neighbours.order[k], neighbours.order[k])]
    file.finish()
    return result


def read_spin(path: Path, checkpoint: Checkpoint) -> np.ndarray:
    """Pauli matrices between the Wannier functions' Bloch sums, (K, 3, n, n), of ``seed.spn``.

    Raises:
        FileFormatError: of another calculation, truncated or malformed.
    """
    file, (count, bands, n) = fortran_file(path), checkpoint.states.shape
    file.text()
    _agree(file, file.integers(2, "bands and k points"), (bands, count), checkpoint)
    result = np.empty((count, 3, n, n), complex)
    row, column = np.tril_indices(bands)
    for k in range(count):
        packed = file.complexes(3 * len(row), "spin").reshape(-1, 3).T
        full = np.zeros((3, bands, bands), complex)
        full[:, column, row] = packed  # ⟨n|σ|m⟩ with n ≤ m
        full[:, row, column] = packed.conj()
        result[k] = checkpoint.between(k, full, k)
    file.finish()
    return result


def _neighbours(path: Path, checkpoint: Checkpoint, point: np.ndarray, step: np.ndarray) -> Neighbours:
    """With every k's neighbours in the order of the first one's, and the weights of their shells."""
    basis = 2 * np.pi * np.linalg.inv(checkpoint.lattice).T
    first, order = step[0], np.empty(point.shape, int)
    for k, mine in enumerate(step):
        near = np.linalg.norm(first[:, None] - mine, axis=-1) < FAR
        if np.any(near.sum(axis=1) != 1):
            raise FileFormatError(f"{path}: k point {k + 1} has other neighbours k + b than the first one.")
        order[k] = np.argmax(near, axis=1)
    b = first @ basis
    length = np.linalg.norm(b, axis=1)
    shell = np.cumsum(np.diff(np.sort(length), prepend=0) > SAME_SHELL * length.max())[np.argsort(np.argsort(length))]
    shells = np.unique(shell)
    squares = np.stack([np.einsum("ia,ib->ab", b[shell == s], b[shell == s]).ravel() for s in shells], axis=1)
    weights = np.linalg.lstsq(squares, np.eye(3).ravel(), rcond=1e-8)[0]
    if np.abs(squares @ weights - np.eye(3).ravel()).max() > COMPLETE:
        raise FileFormatError(f"{path}: the neighbours k + b are no shells with Σ w b_a b_b = δ_ab.")
    weight = weights[np.searchsorted(shells, shell)]
    return Neighbours(np.take_along_axis(point, order, axis=1), b, weight, order)


def _agree(file: FortranFile, found: np.ndarray, expected: tuple[int, ...], checkpoint: Checkpoint) -> None:
    if tuple(found.tolist()) != expected:
        file.fail(
            f"bands, k points (and neighbours) are {found.tolist()}; of {checkpoint.path} they are {list(expected)}"
        )


def _count(file: FortranFile, what: str, least: int = 1) -> int:
    count = int(file.integers(1, what)[0])
    if not least <= count <= MOST:
        file.fail(f"{what} is {count}")
    return count
