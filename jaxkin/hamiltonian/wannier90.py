"""Reader of Wannier90: ``*_tb.dat``, ``*_hr.dat`` with what stands beside them, or a whole calculation (``.chk``)."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from jaxkin.checks import check_flag, check_kind, flat
from jaxkin.errors import FileFormatError, ModelError
from jaxkin.hamiltonian.crystal_files import centres_from_xyz, lattice_from_win, mesh_from_win, replicas_of_win
from jaxkin.hamiltonian.mesh_operators import read_operators
from jaxkin.hamiltonian.replicas import Replicas, mesh_of, minimal_distance, read_wsvec, shifted_centres
from jaxkin.hamiltonian.text_file import FARTHEST, POSITIVE, TextFile
from jaxkin.hamiltonian.tight_binding import TightBinding, asymmetry, partners

NAME = re.compile(r"(.+?)(?:_(tb|hr)\.dat(?:[._-].*?)?|\.(chk)(?:\.fmt)?)(?:\.gz|\.bz2)?")
"""seed_tb.dat, what programs append to that, as in seed_hr.dat_symm, and seed.chk; packed or not."""
POSITIONS_DIFFER = 0.3
"""Å between ⟨r⟩ and its adjoint that finite differences in k may leave; more is damage."""
MATTERS = 1e-5
"""eV that replicas move bands by at least where their absence is worth a line."""


def read_wannier90(
    path: str | Path,
    *,
    lattice: ArrayLike | None = None,
    positions: ArrayLike | None = None,
    position_matrices: bool | None = None,
    equivariant: bool = True,
    spin: ArrayLike | None = None,
    point_group: str | None = None,
    minimal_distance: bool | None = None,
) -> TightBinding:
    """Read a Wannier90 calculation into a :class:`TightBinding` model.

    Wannier90 and its files: G. Pizzi et al., J. Phys.: Condens. Matter 32, 165902 (2020).

    A ``seed.chk`` (or ``.chk.fmt``) with the ``seed.eig`` beside it gives H; ``seed.mmn`` gives ⟨r⟩ too, ``seed.uHu``
    what completes the orbital moment, ``seed.spn`` the spin (:mod:`jaxkin.hamiltonian.mesh_operators`). A ``_tb.dat``
    holds H and ⟨r⟩, a ``_hr.dat`` H alone.

    Args:
        path: ``seed.chk``, ``seed.chk.fmt``, ``seed_tb.dat`` or ``seed_hr.dat``, these also with an appendix as in
            ``seed_hr.dat_symm``; all files also with ``.gz`` or ``.bz2``.
        lattice: (3, 3) rows in Å. A ``_tb.dat`` holds it; for a ``_hr.dat`` it is read from
            ``seed.win`` next to the file unless given.
        positions: (n, 3) reduced orbital centres. A ``_tb.dat`` holds them (the diagonal of its
            home-cell position matrix); for a ``_hr.dat`` they are read from ``seed_centres.xyz``
            next to the file unless given.
        position_matrices: also use the off-diagonal ⟨0α|r|Rβ⟩ of a ``_tb.dat`` in the covariant
            derivative, made Hermitian as ½(r_R + r†_{−R}). By default for a ``seed.chk`` with its ``seed.mmn``, and not
            for a ``_tb.dat``, the common "internal" convention of Wannier codes: the file lacks the matrices that would
            complete the orbital moment.
        equivariant: of a ``seed.chk``: positions as finite differences about midpoints, as Wannier90 4 can have them;
            False, about the origin, as postw90 3 does.
        spin: (3, n, n) Pauli matrices on the Wannier functions.
        point_group: Schoenflies name if known; see :func:`jaxkin.verify_point_group`.
        minimal_distance: Wannier90's ``use_ws_distance``, its default for bands
            (:mod:`jaxkin.hamiltonian.replicas`). None reads the replicas from ``seed_wsvec.dat`` next to the file, and
            says how much bands differ where it is missing; True makes them from the centres where it is missing;
            False leaves them out. Of a ``seed.chk`` they are made unless ``seed.win`` says ``use_ws_distance = false``.

    Degeneracy weights of the Wigner–Seitz points are divided out; translations without a matrix element are left out.

    Raises:
        FileFormatError: truncated, malformed, non-Hermitian or NaN content; one line that names the
            file, the line and what is wrong.
        JaxkinError: ``path`` is none, or an argument that is not True, False or None.

    Warns:
        FileFormatWarning: what is not as usual but has one meaning only (rows in another order, counts on one line,
            exponents without E, no last newline), ⟨r⟩ that is not Hermitian, replicas that are missing, centres that
            seem to have been moved by a lattice vector.
    """
    check_kind("path", path, (str, PathLike), "the path of a file")
    check_flag("position_matrices", position_matrices, optional=True)
    check_flag("equivariant", equivariant)
    check_flag("minimal_distance", minimal_distance, optional=True)
    path = Path(path)
    named = NAME.fullmatch(path.name)
    if named is None:
        raise FileFormatError(f"{path}: the name must end in _tb.dat, _hr.dat or .chk (or these with .gz or .bz2).")
    if named[3]:
        if lattice is not None or positions is not None:
            raise FileFormatError(f"{path}: a checkpoint holds lattice and positions; leave them out.")
        replicas = replicas_of_win(path.parent / f"{named[1]}.win") if minimal_distance is None else minimal_distance
        return _read_chk(path, replicas, equivariant, position_matrices is not False, spin, point_group)
    text = TextFile(path)
    content = _read_tb(text) if named[2] == "tb" else _read_hr(text)
    text.finish()
    if not np.any(~content.steps.any(axis=1)):
        raise FileFormatError(f"{path}: R = (0, 0, 0) must appear once, found 0 times.")
    _check_hermitian(text, content)
    win, n = path.parent / f"{named[1]}.win", content.hoppings.shape[-1]
    cell = content.lattice if lattice is None else np.asarray(lattice, float)
    if cell is None:
        cell = lattice_from_win(win, path)
    centres = content.positions if positions is None else np.asarray(positions, float)
    if centres is None:
        centres = centres_from_xyz(path.parent / f"{named[1]}_centres.xyz", path, cell, n)
    if position_matrices and content.position is None:
        raise FileFormatError(f"{path}: a _hr.dat holds no position matrices; write a _tb.dat (write_tb = true).")
    r = _symmetrised(text, content) if position_matrices else None
    fits = np.shape(centres) == (n, 3) and np.shape(cell) == (3, 3) and np.all(np.isfinite(centres))
    replicas = None
    if fits and np.abs(centres).max() > FARTHEST:
        raise FileFormatError(f"{path}: a Wannier centre is far too far away.")
    if fits:  # else the model says what does not fit
        _note_moved_centres(text, content, cell, centres)
        replicas = _replicas(text, path.parent / named[1], content, cell, centres, minimal_distance)
    text.tell()
    matrices = [content.hoppings] if r is None else [content.hoppings, r]
    steps = content.steps
    if replicas is not None:
        steps, *matrices = replicas.applied(steps, *matrices)
    kept = ~steps.any(axis=1)
    for matrix in matrices:
        kept |= matrix.reshape(len(steps), -1).any(axis=1)
    hoppings, *r = (matrix[kept] for matrix in matrices)
    try:
        return TightBinding(cell, steps[kept], hoppings, centres, *r, spin=spin, point_group=point_group)
    except ModelError as error:
        raise FileFormatError(f"{path}: {error}") from error


def _read_chk(
    path: Path, replicas: bool, equivariant: bool, positions: bool, spin: ArrayLike | None, point_group: str | None
) -> TightBinding:
    checkpoint, found = read_operators(path, replicas=replicas, equivariant=equivariant, positions=positions)
    try:
        return TightBinding(
            checkpoint.lattice,
            found.steps,
            found.hoppings,
            checkpoint.centres @ np.linalg.inv(checkpoint.lattice),
            found.position,
            found.spin if spin is None else spin,
            hr_matrices=found.hr,
            rhr_matrices=found.rhr,
            point_group=point_group,
        )
    except ModelError as error:
        raise FileFormatError(f"{path}: {error}") from error


@dataclass(frozen=True)
class _Content:
    """What a file holds; matrices with the degeneracies divided out, and the line (from 0) of each element."""

    steps: np.ndarray
    weights: np.ndarray
    hoppings: np.ndarray
    lines: np.ndarray
    lattice: np.ndarray | None = None
    position: np.ndarray | None = None
    position_lines: np.ndarray | None = None

    @property
    def positions(self) -> np.ndarray | None:
        """Reduced centres, (n, 3)."""
        if self.position is None or self.lattice is None:
            return None
        home = int(np.flatnonzero(~self.steps.any(axis=1))[0])
        return np.real(np.diagonal(self.position[home])).T @ np.linalg.inv(self.lattice)


def _read_tb(text: TextFile) -> _Content:
    text.line()
    text.skip()
    lattice = text.table(3, 3, "lattice vectors in Å")
    if np.abs(lattice).max() > FARTHEST:
        text.fail("a lattice vector is far too long", 1)
    if flat(lattice):
        text.fail("the lattice vectors are linearly dependent", 1)
    content = _header(text)
    steps, n = content.steps, content.hoppings.shape[-1]
    seen: dict[tuple[int, ...], int] = {}
    for r in range(len(steps)):
        text.skip_blank()
        steps[r] = _new_step(text, seen, text.integers("R vector"), text.cursor - 1)
        content.hoppings[r], content.lines[r] = _block(text, n, 0, 2, "i j Re H Im H")
    position, lines = np.empty((*content.hoppings.shape, 3), complex), np.empty_like(content.lines)
    again: dict[tuple[int, ...], int] = {}
    for number in range(len(steps)):
        text.skip_blank()
        step = _new_step(text, again, text.integers("R vector"), text.cursor - 1)
        if step not in seen:
            text.fail(f"R vector {step} of the position matrices is not among those of H", text.cursor - 1)
        r = seen[step]
        if r != number:
            text.note("R vectors of the position matrices in another order were read as they are named")
        position[r], lines[r] = _block(text, n, 0, 6, "i j and Re, Im of x, y, z")
    shares = 1 / content.weights
    return replace(
        content,
        hoppings=content.hoppings * shares[:, None, None],
        lattice=lattice,
        position=position * shares[:, None, None, None],
        position_lines=lines,
    )


def _read_hr(text: TextFile) -> _Content:
    text.line()
    text.skip()
    content = _header(text)
    n = content.hoppings.shape[-1]
    seen: dict[tuple[int, ...], int] = {}
    for r in range(len(content.steps)):
        start = text.cursor
        rows = text.table(n * n, 7, "R1 R2 R3 i j Re H Im H")
        mixed = np.flatnonzero(np.any(rows[:, :3] != rows[0, :3], axis=1))
        if mixed.size:
            text.fail(f"the R vector changes inside a block of {n}² lines", start + int(mixed[0]))
        text.cursor = start
        step = text.whole(rows[:1, :3], "R1 R2 R3", start)[0]
        content.steps[r] = _new_step(text, seen, tuple(step.tolist()), start)
        content.hoppings[r], content.lines[r] = _block(text, n, 3, 2, "R1 R2 R3 i j Re H Im H")
    return replace(content, hoppings=content.hoppings / content.weights[:, None, None])


def _header(text: TextFile) -> _Content:
    """Counts and degeneracies, with room for the rest."""
    n, count = text.counts("the number of Wannier functions", "the number of R vectors")
    if count * n * n > len(text.lines):
        text.fail(f"{count} R vectors of {n} orbitals need {count * n * n} lines, the file has {len(text.lines)}")
    weights = _degeneracies(text, count)
    shape = (count, n, n)
    return _Content(np.empty((count, 3), int), weights, np.empty(shape, complex), np.empty(shape, int))


def _degeneracies(text: TextFile, count: int) -> np.ndarray:
    start, values = text.cursor, []
    while len(values) < count:
        fields = text.line().split()
        if not all(map(POSITIVE.fullmatch, fields)):
            text.fail(f"degeneracy weights must be positive integers: {text.line().strip()[:60]!r}")
        values += [int(field) for field in fields]
        text.skip()
    if len(values) != count:
        text.fail(f"found {len(values)} degeneracy weights for {count} R vectors", start)
    return np.array(values, float)


def _new_step(text: TextFile, seen: dict, step: tuple[int, ...], line: int) -> tuple[int, ...]:
    if step in seen:
        text.fail(f"R = {step} for the second time", line)
    seen[step] = len(seen)
    return step


def _block(text: TextFile, n: int, before: int, numbers: int, what: str) -> tuple[np.ndarray, np.ndarray]:
    """The next n² rows of ``before`` columns, i, j and ``numbers``, as (n, n, ...) complex; and their lines, (n, n)."""
    start = text.cursor
    rows = text.table(n * n, before + 2 + numbers, what)
    found, rows = rows[:, before : before + 2], rows[:, before + 2 :]
    usual = np.stack([np.tile(np.arange(1, n + 1), n), np.repeat(np.arange(1, n + 1), n)], axis=1)
    place = np.arange(n * n)
    if np.any(found != usual):
        key = (found[:, 1] - 1) * n + found[:, 0] - 1
        inside = np.all((found >= 1) & (found <= n), axis=1)
        if not inside.all() or not np.array_equal(np.sort(key), place):
            w = int(np.argmax(np.any(found != usual, axis=1)))
            text.fail(
                f"expected orbitals {usual[w, 0]} {usual[w, 1]}, found {found[w, 0]:g} {found[w, 1]:g}", start + w
            )
        text.note("rows in another order than i fastest, j slowest were read as they are named")
        place = np.argsort(key)
    values = (rows[:, 0::2] + 1j * rows[:, 1::2])[place].reshape(n, n, -1).swapaxes(0, 1)
    return values[..., 0] if numbers == 2 else values, (start + place).reshape(n, n).T


def _check_hermitian(text: TextFile, content: _Content) -> None:
    """H_R = H_{−R}†, with the lines of the two elements that differ most."""
    partner = partners(content.steps)
    excess, difference = asymmetry(content.hoppings, partner)
    r, i, j = np.unravel_index(int(np.argmax(excess)), excess.shape)
    if excess[r, i, j] <= 1:
        return
    other = "whose R has no -R" if partner[r] < 0 else f"and that of line {content.lines[partner[r], j, i] + 1}"
    text.fail(
        f"the Hamiltonian is not Hermitian: this element, i = {i + 1}, j = {j + 1}, R = "
        f"{tuple(content.steps[r].tolist())}, {other} differ by {difference[r, i, j]:.2g} eV",
        int(content.lines[r, i, j]),
    )


def _symmetrised(text: TextFile, content: _Content) -> np.ndarray:
    """½(r_R + r†_{−R})."""
    assert content.position is not None and content.position_lines is not None
    partner = partners(content.steps)
    if np.any(partner < 0):
        text.fail(f"R = {tuple(content.steps[int(np.argmin(partner))].tolist())} has no -R")
    adjoint = content.position[partner].conj().swapaxes(1, 2)
    difference = np.abs(content.position - adjoint)
    where = np.unravel_index(int(np.argmax(difference)), difference.shape)
    if difference[where] > POSITIONS_DIFFER:
        text.fail(
            "the position matrices are not Hermitian: this element and its adjoint differ by "
            f"{difference[where]:.2g} Å",
            int(content.position_lines[where[:3]]),
        )
    excess, _ = asymmetry(content.position, partner)
    if excess.max() > 1:
        text.note(
            f"the position matrices are not Hermitian, by up to {difference[where]:.1g} Å, as finite differences leave "
            "them: (r_R + r_-R^dagger)/2 is used, as postw90 does"
        )
    return 0.5 * (content.position + adjoint)


def _note_moved_centres(text: TextFile, content: _Content, cell: np.ndarray, centres: np.ndarray) -> None:
    moved = shifted_centres(content.steps, content.hoppings, cell, centres)
    if moved.any():
        some = ", ".join(f"{n + 1} by {moved[n].tolist()}" for n in np.flatnonzero(moved.any(axis=1))[:4])
        text.note(
            "the centres do not belong to the Hamiltonian: they seem to have been moved to the home cell "
            f"(translate_home_cell); H(R) puts functions elsewhere ({some}). Pass positions=... with these added"
        )


def _replicas(
    text: TextFile, seed: Path, content: _Content, cell: np.ndarray, centres: np.ndarray, wanted: bool | None
) -> Replicas | None:
    """Those that were asked for, or a line on what their absence means."""
    if wanted is False:
        return None
    n = content.hoppings.shape[-1]
    for name in (f"{seed.name}_wsvec.dat", f"{seed.name}_wsvec.dat.gz"):
        if (seed.parent / name).exists():
            return read_wsvec(seed.parent / name, content.steps, n)
    grid = mesh_of(content.steps, content.weights, mesh_from_win(Path(f"{seed}.win")))
    if grid is None:
        if wanted:
            raise FileFormatError(
                f"{text.path}: the R vectors are no Wigner-Seitz cell of a mesh of k, so minimal-distance replicas are "
                f"in them already, or cannot be made; put {seed.name}_wsvec.dat next to it, or leave minimal_distance "
                "out."
            )
        return None
    made = minimal_distance(content.steps, grid, cell, centres)
    if wanted:
        return made
    change = _bands_differ(content, made)
    if change > MATTERS:
        text.note(
            f"read without minimal-distance replicas (use_ws_distance, Wannier90's default for bands), as there is no "
            f"{seed.name}_wsvec.dat; bands differ by up to {change:.2g} eV. minimal_distance=True makes them from the "
            "centres, False is silent"
        )
    return None


def _bands_differ(content: _Content, replicas: Replicas) -> float:
    """Largest difference in eV that replicas make at a few k."""
    k = np.random.default_rng(0).random((8, 3))

    def bands(steps: np.ndarray, hoppings: np.ndarray) -> np.ndarray:
        h = np.tensordot(np.exp(2j * np.pi * k @ steps.T), hoppings, axes=1)
        return np.linalg.eigvalsh(0.5 * (h + h.conj().swapaxes(1, 2)))

    with_replicas = bands(*replicas.applied(content.steps, content.hoppings))
    return float(np.max(np.abs(with_replicas - bands(content.steps, content.hoppings))))
