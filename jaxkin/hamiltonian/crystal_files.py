"""What stands beside a Wannier90 Hamiltonian: lattice and mesh of ``seed.win``, centres of ``seed_centres.xyz``."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from jaxkin.checks import flat
from jaxkin.errors import FileFormatError
from jaxkin.hamiltonian.text_file import FARTHEST, TextFile, as_number
from jaxkin.units import BOHR

UNITS = {"bohr": BOHR, "ang": 1.0, "angstrom": 1.0, "angstroms": 1.0}


def lattice_from_win(win: Path, path: Path) -> np.ndarray:
    """The lattice vectors in Å, rows.

    Raises:
        FileFormatError: no file, or no block ``unit_cell_cart`` in it.
    """
    if not win.exists():
        raise FileFormatError(
            f"{path}: a _hr.dat holds no lattice; pass lattice=(3, 3) rows in Å or put {win.name} next to it."
        )
    lines = _lines(win)
    try:
        start = lines.index("begin unit_cell_cart") + 1
        block = [line.split() for line in lines[start : lines.index("end unit_cell_cart")] if line]
        unit = UNITS[block.pop(0)[0]] if len(block[0]) == 1 else 1.0
        numbers = [[as_number(field) for field in row] for row in block]
        cell = unit * np.array(numbers).reshape(3, 3)
        if not np.all(np.abs(cell) <= FARTHEST):
            raise ValueError
    except (ValueError, KeyError, IndexError) as error:
        raise FileFormatError(
            f"{win}: unit_cell_cart block not found or malformed; pass lattice=... instead."
        ) from error
    if flat(cell):
        raise FileFormatError(f"{win}: the lattice vectors are linearly dependent.")
    return cell


def atoms_from_win(win: Path) -> tuple[np.ndarray, np.ndarray, list[str]] | None:
    """Lattice (rows, Å), reduced positions and species of ``atoms_frac`` or ``atoms_cart``; None without them.

    Raises:
        FileFormatError: no such file, or a malformed block.
    """
    lines = _lines(win)
    kind = next((one for one in ("frac", "cart") if f"begin atoms_{one}" in lines), None)
    if kind is None:
        return None
    cell = lattice_from_win(win, win)
    try:
        start = lines.index(f"begin atoms_{kind}") + 1
        block = [line.split() for line in lines[start : lines.index(f"end atoms_{kind}")] if line]
        unit = UNITS[block.pop(0)[0]] if len(block[0]) == 1 else 1.0
        places = np.array([[as_number(field) for field in row[1:4]] for row in block]).reshape(-1, 3)
        if not np.all(np.abs(places) <= FARTHEST):
            raise ValueError
    except (ValueError, KeyError, IndexError) as error:
        raise FileFormatError(f"{win}: the block atoms_{kind} has no end, or a line that is no atom.") from error
    species = [row[0].capitalize() for row in block]
    return cell, places if kind == "frac" else unit * places @ np.linalg.inv(cell), species


def mesh_from_win(win: Path) -> tuple[int, int, int] | None:
    """``mp_grid``, if the file is there and has it.

    Raises:
        FileFormatError: it is not three positive integers.
    """
    if not win.exists():
        return None
    found = re.search(r"^mp_grid(.*)$", "\n".join(_lines(win)), re.MULTILINE)
    if found is None:
        return None
    grid = re.fullmatch(r"\s*[=: ]\s*([1-9]\d{0,3})[\s,]+([1-9]\d{0,3})[\s,]+([1-9]\d{0,3})\s*", found[1], re.ASCII)
    if grid is None:
        raise FileFormatError(f"{win}: expected mp_grid = three positive integers, found {found[1].strip()[:60]!r}.")
    return int(grid[1]), int(grid[2]), int(grid[3])


def replicas_of_win(win: Path) -> bool:
    """``use_ws_distance``, which is true where a file does not say otherwise."""
    if not win.exists():
        return True
    found = re.search(r"^use_ws_distance\s*[=: ]\s*(\S+)", "\n".join(_lines(win)), re.MULTILINE)
    return found is None or found[1].strip(".").startswith("t")


def _lines(win: Path) -> list[str]:
    """Without comments, in lower case, with single spaces."""
    return [" ".join(re.split("[!#]", line)[0].lower().split()) for line in TextFile(win).lines]


def centres_from_xyz(xyz: Path, path: Path, lattice: np.ndarray, n: int) -> np.ndarray:
    """Reduced centres of the n Wannier functions, the atoms ``X``.

    Raises:
        FileFormatError: no file, another number of centres, what is not a number.
    """
    if not xyz.exists():
        raise FileFormatError(
            f"{path}: a _hr.dat holds no orbital positions; pass positions=(n, 3) reduced or put {xyz.name} next to it."
        )
    text, centres = TextFile(xyz), []
    for number, line in enumerate(text.lines):
        fields = line.split()
        if fields and fields[0] == "X":
            try:
                centres.append([as_number(field) for field in fields[1:4]])
            except ValueError:
                text.fail(f"not a centre: {line.strip()[:60]!r}", number)
    if len(centres) != n or any(len(centre) != 3 for centre in centres):
        raise FileFormatError(f"{xyz}: found {len(centres)} Wannier centres (lines 'X x y z') for {n} orbitals.")
    if not np.all(np.abs(centres) <= FARTHEST):
        raise FileFormatError(f"{xyz}: a Wannier centre is NaN, or far too far away.")
    return np.array(centres) @ np.linalg.inv(lattice)
