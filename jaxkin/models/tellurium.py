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

# One bond of each set that the point group makes equal: numbers in eV, read by hopping_block().
# fmt: off
PARAMETERS: Mapping[Bond, Sequence[float]] = MappingProxyType({
    (2, 2, (0, 0, 0)): (-1.932743, -1.644132, -1.702667, -0.298784),  # 0 Å, on site
    (0, 1, (0, 0, 0)): (  # 2.85 Å, along the chain
        0.951118, -0.762995, 0.877777, 0.048048, -0.004196, 1.662366,
    ),
    (0, 1, (1, 0, 0)): (  # 3.48 Å, between chains
        0.215574, -0.528703, -0.449983,
        -0.555042, 0.411443, 0.554008,
        -0.518797, 0.588665, 0.227574,
    ),
    (0, 1, (0, 0, 1)): (  # 4.45 Å, next nearest along the chain
        -0.035925, 0.010407, -0.271436, -0.064222, -0.162083, 0.104371,
    ),
    (2, 2, (1, 0, 0)): (  # 4.45 Å, lattice vector
        -0.013213, -0.004324, 0.005525,
        0.021198, 0.021459, 0.063653,
        0.034144, 0.026488, 0.055380,
    ),
    (2, 2, (0, 1, 0)): (  # 4.45 Å, lattice vector along the C2 axis
        0.017413, -0.106649, 0.179439, -0.043095, -0.028862,
    ),
    (0, 1, (1, 0, 1)): (  # 4.88 Å, between chains
        0.060230, 0.022512, -0.042468,
        -0.018679, -0.028090, 0.029122,
        0.040843, 0.068734, -0.063969,
    ),
    (2, 2, (0, 0, 1)): (0.050344, -0.016153),  # 5.92 Å, along c (σ, π)
    (0, 1, (0, 1, 1)): (  # 6.30 Å, between chains
        0.001880, -0.033638, 0.043664,
        -0.001496, 0.081692, -0.059619,
        -0.028138, 0.088352, 0.074193,
    ),
})
# fmt: on
SPIN_ORBIT = 0.330527  # λ of λ L·σ on each atom, eV

_PAULI = np.array([[[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]])
_ANGULAR = -1j * np.array(  # (L_a)_bc = −i ε_abc on (p_x, p_y, p_z)
    [[[0, 0, 0], [0, 0, 1], [0, -1, 0]], [[0, 0, -1], [0, 0, 0], [1, 0, 0]], [[0, 1, 0], [-1, 0, 0], [0, 0, 0]]]
)


def tellurium(chirality: int = 1, *, spin: bool = False) -> TightBinding:
    """Trigonal tellurium with spin-orbit coupling: 18 spinor p orbitals, valence band top at 0 eV.

    A fit as in docs/gradients.md, "Band fits".

    Three atoms on a helix along z, each with p_x, p_y, p_z (Cartesian) and spin up, down, the spin
    fastest: orbital 6·atom + 2·p + spin. Lattice constants 4.454 Å and 5.924 Å, a_2 along y; energies in
    eV. 12 of the 18 bands are occupied: the valence band is band 11, its top lies on the line through
    H = (⅓, ⅓, ½) and H' = −H at ±0.024 Å⁻¹ along k_z (the camel-back, 3.3 meV above H); the conduction
    band is band 12.

    Symmetry, exact: point group D3 with C3 along z and C2 along y (C2 along x is none), time reversal.

    The 59 hopping parameters and the spin-orbit coupling were fitted by scripts/fit_tellurium.py to the
    bands of the 24-orbital spinor Wannier model of tellurium in the test data of the WannierBerri project.
    Against that model, the two highest valence bands deviate by 0.6 meV rms (2.2 meV at most) where they
    are within 100 meV of the top; along k_z up to 0.07 Å⁻¹ from H their orbital moment by 4 % at most and
    their Berry curvature by 4 % (or 0.5 Å² where it is small); single bands over the whole zone by 20 to
    80 meV rms. The effective masses at the top are 0.189 m₀ (0.191) across and 0.214 m₀ (0.204) along z,
    the camel-back is 3.3 meV (3.7) deep, the gap 0.32 eV (0.31).

    Args:
        chirality: +1 for the right-handed screw 3_1 of the Wannier model, −1 for its mirror image (z → −z).
        spin: add the spin moment −½ g_s μ_B⟨σ⟩. The orbital moment is that of the hopping between
            orbitals: the atomic L of the p shell is not in it.

    Raises:
        ModelError: another chirality.

    >>> import jaxkin as jk
    >>> te = jk.models.get("tellurium")
    >>> te.size, te.point_group
    (18, 'D3')
    """
    if chirality not in (1, -1):
        raise ModelError(f"chirality must be +1 or -1, not {chirality!r}.")
    translations, blocks = symmetrised_hoppings(PARAMETERS)
    mirror = np.array([1, 1, chirality])
    atoms, translations = ATOMS * mirror, translations * mirror
    blocks = blocks * np.outer(np.tile(mirror, 3), np.tile(mirror, 3))
    return TightBinding(
        LATTICE,
        translations,
        with_spin(translations, blocks, SPIN_ORBIT),
        np.repeat(atoms, 6, axis=0),
        spin=np.array([np.kron(np.eye(9), pauli) for pauli in _PAULI]) if spin else None,
        point_group="D3",
    )


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
                whole = found.setdefault((int(r[0]), int(r[1]), int(r[2])), np.zeros((9, 9)))
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
