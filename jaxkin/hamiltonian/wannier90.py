"""Readers of Wannier90 files: ``*_tb.dat`` and ``*_hr.dat``, plain or gzipped."""

from __future__ import annotations

import gzip
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np
from numpy.typing import ArrayLike

from jaxkin.errors import FileFormatError, ModelError
from jaxkin.hamiltonian.tight_binding import TightBinding


def read_wannier90(
    path: str | Path,
    *,
    lattice: ArrayLike | None = None,
    positions: ArrayLike | None = None,
    position_matrices: bool = False,
    spin: ArrayLike | None = None,
    point_group: str | None = None,
) -> TightBinding:
    """Read a Wannier90 Hamiltonian into a :class:`TightBinding` model.

    Args:
        path: ``seed_tb.dat`` or ``seed_hr.dat``, either of them also with ``.gz``.
        lattice: (3, 3) rows in Å. A ``_tb.dat`` holds it; for a ``_hr.dat`` it is read from
            ``seed.win`` next to the file unless given.
        positions: (n, 3) reduced orbital centres. A ``_tb.dat`` holds them (the diagonal of its
            home-cell position matrix); for a ``_hr.dat`` they are read from ``seed_centres.xyz``
            next to the file unless given.
        position_matrices: also use the off-diagonal ⟨0α|r|Rβ⟩ of a ``_tb.dat`` in the covariant
            derivative. Off by default, the common "internal" convention of Wannier codes: the file
            lacks the matrices that would complete the orbital moment.
        spin: (3, n, n) Pauli matrices on the Wannier functions.
        point_group: Schoenflies name if known; see :func:`jaxkin.verify_point_group`.

    Degeneracy weights of the Wigner–Seitz points are divided out; translations without a matrix element are left out.

    Raises:
        FileFormatError: truncated, malformed, non-Hermitian or NaN content; one line that names the
            file, the line and what is wrong.
    """
    path = Path(path)
    text = _Lines(path)
    stem = path.name.removesuffix(".gz")
    try:
        if stem.endswith("_tb.dat"):
            content = _read_tb(text)
        elif stem.endswith("_hr.dat"):
            content = _read_hr(text)
        else:
            raise FileFormatError(f"{path}: the name must end in _tb.dat or _hr.dat (or these with .gz).")
    except IndexError:
        raise FileFormatError(f"{path}, line {len(text.lines)}: the file ends too early (truncated?).") from None
    seed = path.parent / stem[: -len("_tb.dat")]
    if lattice is not None:
        content.lattice = np.asarray(lattice, float)
    if content.lattice is None:
        content.lattice = _lattice_from_win(Path(f"{seed}.win"), path)
    if positions is not None:
        content.positions = np.asarray(positions, float)
    if content.positions is None:
        if not abs(np.linalg.det(content.lattice)) > 1e-6:
            raise FileFormatError(f"{path}: the lattice vectors of {seed}.win are linearly dependent.")
        content.positions = _centres_from_xyz(Path(f"{seed}_centres.xyz"), path, content)
    if position_matrices and content.position_matrices is None:
        raise FileFormatError(f"{path}: a _hr.dat holds no position matrices; write a _tb.dat (write_tb = true).")
    r = content.position_matrices if position_matrices else None
    kept = content.hoppings.any(axis=(1, 2)) | ~content.translations.any(axis=1)
    if r is not None:
        kept |= r.any(axis=(1, 2, 3))
    try:
        return TightBinding(
            content.lattice,
            content.translations[kept],
            content.hoppings[kept],
            content.positions,
            None if r is None else r[kept],
            spin,
            point_group=point_group,
        )
    except ModelError as error:
        where = f", line {content.first_line}" if "Hermitian" in str(error) else ""
        raise FileFormatError(f"{path}{where}: {error}") from error


@dataclass
class _Content:
    translations: np.ndarray
    hoppings: np.ndarray
    first_line: int
    lattice: np.ndarray | None = None
    positions: np.ndarray | None = None
    position_matrices: np.ndarray | None = None


class _Lines:
    """The lines of a file with a cursor; errors name the file and the line."""

    def __init__(self, path: Path):
        self.path, self.cursor = path, 0
        try:
            if path.suffix == ".gz":
                with gzip.open(path, "rb") as file:
                    data = file.read()
            else:
                data = path.read_bytes()
        except FileNotFoundError:
            raise FileFormatError(f"{path}: no such file.") from None
        except (OSError, EOFError, zlib.error) as error:
            raise FileFormatError(f"{path}: could not be read ({error}).") from error
        self.lines = data.decode(errors="replace").splitlines()
        if not data.endswith(b"\n"):
            raise FileFormatError(f"{path}, line {len(self.lines)}: the last line has no end (truncated?).")

    def fail(self, what: str, line: int | None = None) -> NoReturn:
        number = (self.cursor if line is None else line) + 1
        raise FileFormatError(f"{self.path}, line {number}: {what}.")

    def skip(self, count: int = 1) -> None:
        self.cursor += count

    def skip_blank(self) -> None:
        while not self.lines[self.cursor].strip():
            self.cursor += 1

    def integer(self, what: str) -> int:
        values = self.numbers(1, what)
        if values[0] != int(values[0]) or values[0] < 1:
            self.fail(f"expected {what} (a positive integer), found {values[0]:g}", self.cursor - 1)
        return int(values[0])

    def numbers(self, count: int, what: str) -> np.ndarray:
        """The ``count`` numbers of the next line."""
        return self.table(1, count, what)[0]

    def table(self, rows: int, columns: int, what: str) -> np.ndarray:
        """The next ``rows`` lines as numbers; checks count, format and NaN line by line on failure."""
        block = self.lines[self.cursor : self.cursor + rows]
        try:
            values = np.array(" ".join(block).split(), dtype=float)
            good = values.size == rows * columns and np.all(np.isfinite(values))
        except ValueError:
            good = False
        if not good:
            self._find_fault(block, columns, what)
            raise IndexError
        self.cursor += rows
        return values.reshape(rows, columns)

    def _find_fault(self, block: list[str], columns: int, what: str) -> None:
        for offset, line in enumerate(block):
            fields, number = line.split(), self.cursor + offset
            if len(fields) != columns:
                if number == len(self.lines) - 1:
                    return  # cut in mid-line: truncated
                self.fail(f"expected {columns} numbers ({what}), found {len(fields)}: {line.strip()[:60]!r}", number)
            for field in fields:
                try:
                    value = float(field)
                except ValueError:
                    self.fail(f"{field!r} is not a number ({what})", number)
                if not np.isfinite(value):
                    self.fail(f"{field} where {what} should stand", number)

    def degeneracies(self, count: int) -> np.ndarray:
        start, values = self.cursor, []
        while len(values) < count:
            fields = self.lines[self.cursor].split()
            if not all(field.isdigit() and int(field) > 0 for field in fields):
                self.fail(f"degeneracy weights must be positive integers: {self.lines[self.cursor].strip()[:60]!r}")
            values += [int(field) for field in fields]
            self.cursor += 1
        if len(values) != count:
            self.fail(f"found {len(values)} degeneracy weights for {count} R vectors", start)
        return np.array(values, float)


def _check_indices(text: _Lines, start: int, found: np.ndarray, n: int) -> None:
    """Orbital columns must run i fastest, j slowest."""
    i, j = np.tile(np.arange(1, n + 1), n), np.repeat(np.arange(1, n + 1), n)
    wrong = np.flatnonzero((found[:, 0] != i) | (found[:, 1] != j))
    if wrong.size:
        w = int(wrong[0])
        text.fail(
            f"expected orbitals {i[w]} {j[w]}, found {found[w, 0]:g} {found[w, 1]:g}",
            start + w,
        )


def _integers(text: _Lines, found: np.ndarray, line: int) -> np.ndarray:
    if np.any(found != np.rint(found)):
        text.fail(f"an R vector is three integers, found {found}", line)
    return found.astype(int)


def _check_size(text: _Lines, n: int, count: int) -> None:
    if count * n * n > len(text.lines):
        text.fail(f"{count} R vectors of {n} orbitals need {count * n * n} lines, the file has {len(text.lines)}")


def _square(columns: np.ndarray, n: int) -> np.ndarray:
    """(n², 2) real and imaginary parts with i fastest → (n, n)."""
    return (columns[:, 0] + 1j * columns[:, 1]).reshape(n, n).T


def _read_tb(text: _Lines) -> _Content:
    text.skip()
    lattice = text.table(3, 3, "lattice vectors in Å")
    n, count = text.integer("the number of Wannier functions"), text.integer("the number of R vectors")
    _check_size(text, n, count)
    weights = text.degeneracies(count)
    first = text.cursor + 2
    hoppings, steps = np.empty((count, n, n), complex), np.empty((count, 3), int)
    for r in range(count):
        text.skip_blank()
        steps[r] = _integers(text, text.numbers(3, "R vector"), text.cursor - 1)
        start = text.cursor
        rows = text.table(n * n, 4, "i j Re H Im H")
        _check_indices(text, start, rows, n)
        hoppings[r] = _square(rows[:, 2:], n) / weights[r]
    position = np.empty((count, n, n, 3), complex)
    for r in range(count):
        text.skip_blank()
        found = text.numbers(3, "R vector")
        if np.any(found != steps[r]):
            text.fail(f"R vector {found.astype(int)} of the position matrices should be {steps[r]}", text.cursor - 1)
        start = text.cursor
        rows = text.table(n * n, 8, "i j and Re, Im of x, y, z")
        _check_indices(text, start, rows, n)
        for a in range(3):
            position[r, :, :, a] = _square(rows[:, 2 + 2 * a : 4 + 2 * a], n) / weights[r]
    if abs(np.linalg.det(lattice)) < 1e-6:
        raise FileFormatError(f"{text.path}, line 2: the lattice vectors are linearly dependent.")
    home = np.flatnonzero(~steps.any(axis=1))
    if home.size != 1:
        raise FileFormatError(f"{text.path}: R = (0, 0, 0) must appear once, found {home.size} times.")
    centres = np.real(np.diagonal(position[home[0]])).T
    return _Content(
        steps,
        hoppings,
        first_line=first,
        lattice=lattice,
        positions=centres @ np.linalg.inv(lattice),
        position_matrices=position,
    )


def _read_hr(text: _Lines) -> _Content:
    text.skip()
    n, count = text.integer("the number of Wannier functions"), text.integer("the number of R vectors")
    _check_size(text, n, count)
    weights = text.degeneracies(count)
    first = text.cursor + 1
    hoppings, steps = np.empty((count, n, n), complex), np.empty((count, 3), int)
    for r in range(count):
        start = text.cursor
        rows = text.table(n * n, 7, "R1 R2 R3 i j Re H Im H")
        mixed = np.flatnonzero(np.any(rows[:, :3] != rows[0, :3], axis=1))
        if mixed.size:
            text.fail(f"the R vector changes inside a block of {n}² lines", start + int(mixed[0]))
        steps[r] = _integers(text, rows[0, :3], start)
        _check_indices(text, start, rows[:, 3:5], n)
        hoppings[r] = _square(rows[:, 5:], n) / weights[r]
    return _Content(steps, hoppings, first_line=first)


def _lattice_from_win(win: Path, path: Path) -> np.ndarray:
    if not win.exists():
        raise FileFormatError(
            f"{path}: a _hr.dat holds no lattice; pass lattice=(3, 3) rows in Å or put {win.name} next to it."
        )
    lines = [line.split("!")[0].split("#")[0].strip().lower() for line in win.read_text(errors="replace").splitlines()]
    try:
        start = lines.index("begin unit_cell_cart") + 1
        block = [line.split() for line in lines[start : lines.index("end unit_cell_cart")] if line]
        unit = 1.0
        if len(block[0]) == 1:
            unit = {"bohr": 0.529177210544, "ang": 1.0}[block.pop(0)[0]]
        return unit * np.array(block, float).reshape(3, 3)
    except (ValueError, KeyError, IndexError) as error:
        raise FileFormatError(
            f"{win}: unit_cell_cart block not found or malformed; pass lattice=... instead."
        ) from error


def _centres_from_xyz(xyz: Path, path: Path, content: _Content) -> np.ndarray:
    if not xyz.exists():
        raise FileFormatError(
            f"{path}: a _hr.dat holds no orbital positions; pass positions=(n, 3) reduced or put {xyz.name} next to it."
        )
    text, n = _Lines(xyz), content.hoppings.shape[-1]
    centres = []
    for number, line in enumerate(text.lines):
        fields = line.split()
        if fields and fields[0] == "X":
            try:
                centres.append([float(field) for field in fields[1:4]])
            except ValueError:
                text.fail(f"not a centre: {line.strip()[:60]!r}", number)
    if len(centres) != n or any(len(centre) != 3 for centre in centres):
        raise FileFormatError(f"{xyz}: found {len(centres)} Wannier centres (lines 'X x y z') for {n} orbitals.")
    assert content.lattice is not None
    return np.array(centres) @ np.linalg.inv(content.lattice)
