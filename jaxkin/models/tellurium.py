"""Trigonal tellurium: a p-orbital tight-binding model with spin-orbit coupling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np

from jaxkin.errors import ModelError
from jaxkin.hamiltonian import TightBinding

A, C = 4.454, 5.924  # lattice constants in Å
U = 0.2663  # radius of the helix in units of A
LATTICE = np.array([[np.sqrt(0.75) * A, -A / 2, 0.0], [0.0, A, 0.0], [0.0, 0.0, C]])
ATOMS = np.array([[U, 0.0, 1 / 3], [-U, -U, 0.0], [0.0, U, 2 / 3]])  # atom 2 sits on the C2 axis along y

Bond = tuple[int, int, tuple[int, int, int]]
"""Atom i of the home cell, atom j, and the cell R of atom j."""

PARAMETERS: Mapping[Bond, Sequence[float]] = MappingProxyType({})
SPIN_ORBIT = 0.32

_PAULI = np.array([[[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]])
_ANGULAR = -1j * np.array(  # (L_a)_bc = −i ε_abc on (p_x, p_y, p_z)
    [[[0, 0, 0], [0, 0, 1], [0, -1, 0]], [[0, 0, -1], [0, 0, 0], [1, 0, 0]], [[0, 1, 0], [-1, 0, 0], [0, 0, 0]]]
)


def tellurium(chirality: int = 1, *, spin: bool = False) -> TightBinding:
    """Tellurium."""
    if chirality not in (1, -1):
        raise ModelError(f"chirality must be +1 or -1, not {chirality!r}.")
    translations, blocks = symmetrised_hoppings(PARAMETERS)
    hoppings = with_spin(translations, blocks, SPIN_ORBIT)
    atoms = ATOMS
    if chirality == -1:
        pass
    return TightBinding(LATTICE, translations, hoppings, np.repeat(atoms, 6, axis=0), point_group="D3")


def symmetrised_hoppings(parameters: Mapping[Bond, Sequence[float]]) -> tuple[np.ndarray, np.ndarray]:
    """Every bond that D3 makes of the listed ones: translations (R, 3) and spinless (R, 9, 9) matrices."""
    found: dict[tuple[int, int, int], np.ndarray] = {}
    for (i, j, step), numbers in parameters.items():
        vector = (np.array(step) + ATOMS[j] - ATOMS[i]) @ LATTICE
        block = hopping_block(numbers, vector)
        for turn, cells, shift in _screw_group():
            (i2, home), (j2, away) = _image(i, cells, shift), _image(j, cells, shift)
            cell = cells @ np.array(step) + away - home
            turned = turn @ block @ turn.T
            for row, column, r, matrix in ((i2, j2, cell, turned), (j2, i2, -cell, turned.T)):
                whole = found.setdefault(tuple(int(x) for x in r), np.zeros((9, 9)))
                whole[3 * row : 3 * row + 3, 3 * column : 3 * column + 3] = matrix
    steps = sorted(found)
    return np.array(steps), np.array([found[step] for step in steps])


def hopping_block(numbers: Sequence[float], vector: np.ndarray) -> np.ndarray:
    """3 × 3 hopping ⟨p_a|H|p_b⟩ of a bond, from as many numbers as its symmetry leaves free."""
    match len(numbers):
        case 9:  # general: row by row
            return np.array(numbers, float).reshape(3, 3)
        case 6:  # C2 along y reverses the bond
            xx, yy, zz, xy, yz, zx = numbers
            return np.array([[xx, xy, zx], [-xy, yy, yz], [zx, -yz, zz]])
        case 5:  # C2 along y maps the bond on itself
            xx, yy, zz, xz, zx = numbers
            return np.array([[xx, 0, xz], [0, yy, 0], [zx, 0, zz]])
        case 4:  # an atom on the axis
            xx, yy, zz, zx = numbers
            return np.array([[xx, 0, zx], [0, yy, 0], [zx, 0, zz]])
        case 2:  # Slater-Koster
            sigma, pi = numbers
            along = np.outer(vector, vector) / (vector @ vector)
            return pi * np.eye(3) + (sigma - pi) * along
    raise ModelError(f"a bond has 2, 4, 5, 6 or 9 numbers, not {len(numbers)}.")


def with_spin(translations: np.ndarray, blocks: np.ndarray, spin_orbit: float) -> np.ndarray:
    """Hoppings (R, 18, 18) diagonal in spin, plus λ L·σ on every atom."""
    hoppings = np.kron(blocks, np.eye(2)).astype(complex)
    home = int(np.flatnonzero(~translations.any(axis=1))[0])
    atom = sum(np.kron(ang, pauli) for ang, pauli in zip(_ANGULAR, _PAULI, strict=True))
    hoppings[home] += spin_orbit * np.kron(np.eye(3), atom)
    return hoppings


def _screw_group() -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """The six operations {W|t}: Cartesian rotation, rotation of reduced coordinates, reduced shift."""
    cos, sin = -0.5, np.sqrt(0.75)
    third = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
    half = np.diag([-1.0, 1.0, -1.0])
    group = []
    for turns in range(3):
        for flips in range(2):
            rotation = np.linalg.matrix_power(third, turns) @ np.linalg.matrix_power(half, flips)
            reduced = np.rint(np.linalg.inv(LATTICE.T) @ rotation @ LATTICE.T).astype(int)
            group.append((rotation, reduced, np.array([0, 0, (turns + 4 * flips) / 3])))
    return group


def _image(atom: int, rotation: np.ndarray, shift: np.ndarray) -> tuple[int, np.ndarray]:
    """The atom, and its cell, on which an operation puts an atom of the home cell."""
    offsets = rotation @ ATOMS[atom] + shift - ATOMS
    other = int(np.argmin(np.abs(offsets - np.rint(offsets)).max(axis=1)))
    return other, np.rint(offsets[other]).astype(int)
