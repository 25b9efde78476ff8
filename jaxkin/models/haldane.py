"""Honeycomb models: Haldane's, and its chiral stack without magnetic flux."""

from __future__ import annotations

import numpy as np

from jaxkin.hamiltonian.tight_binding import TightBinding
from jaxkin.models.pauli import SPIN, Hoppings

_NEIGHBOURS = ((0, 0), (-1, 0), (0, -1))
"""Cells of the three B neighbours of an A site at the origin (B sits at (1/3, 1/3))."""
_CIRCLE = ((1, 0), (-1, 1), (0, -1))
"""Second-neighbour steps that turn counter-clockwise round a hexagon."""
_POSITIONS = np.array([[0, 0], [1 / 3, 1 / 3]])


def _layer(lattice_constant: float) -> np.ndarray:
    return lattice_constant * np.array([[1, 0], [0.5, np.sqrt(3) / 2]])


def haldane(
    hopping: float = -1.0,
    second_hopping: float = 0.15,
    flux: float = np.pi / 2,
    mass: float = 0.2,
    lattice_constant: float = 1.0,
) -> TightBinding:
    """The model of F. D. M. Haldane, PRL 61, 2015 (1988): honeycomb, broken time reversal, two dimensions.

    Nearest neighbours t, second neighbours t_2 exp(±iφ) (+ counter-clockwise on A, clockwise on B), ±M on A, B.
    Unitary point group C3; C6 at M = 0.

    Args:
        hopping, second_hopping, mass: t, t_2, M in eV.
        flux: φ in rad.
        lattice_constant: in Å.

    Raises:
        ModelError: a lattice constant of zero, or numbers that are not finite.
    """
    terms = Hoppings(2)
    terms.onsite(mass * SPIN[2])
    for step in _NEIGHBOURS:
        _bond(terms, step, 0, 1, hopping)
    for step in _CIRCLE:
        _bond(terms, step, 0, 0, second_hopping * np.exp(1j * flux))
        _bond(terms, step, 1, 1, second_hopping * np.exp(-1j * flux))
    return TightBinding(
        _layer(lattice_constant),
        terms.translations,
        terms.matrices,
        _POSITIONS,
        point_group="C3" if mass else "C6",
    )


def haldane_chiral(
    hopping: float = -1.0,
    interlayer: float = 0.15,
    mass: float = 0.2,
    chirality: int = 1,
    lattice_constant: float = 1.0,
    lattice_constant_z: float = 1.0,
) -> TightBinding:
    """Chiral stack of honeycomb layers, T. Yoda, T. Yokoyama, S. Murakami, Sci. Rep. 5, 12024 (2015).

    Nearest neighbours t in each layer; interlayer hopping t_3 to the second neighbours of the next layer,
    counter-clockwise on A and clockwise on B, so that k_z c plays Haldane's flux and time reversal holds.
    ±M on A, B. Point group D3 (C_3 ∥ z); D6 at M = 0.

    Args:
        hopping, interlayer, mass: t, t_3, M in eV.
        chirality: +1 or −1, the handedness of the stack.
        lattice_constant, lattice_constant_z: a and c in Å.

    Raises:
        ModelError: a lattice constant of zero, or numbers that are not finite.
    """
    lattice = np.diag([0.0, 0.0, lattice_constant_z])
    lattice[:2, :2] = _layer(lattice_constant)
    terms = Hoppings(3)
    terms.onsite(mass * SPIN[2])
    for step in _NEIGHBOURS:
        _bond(terms, (*step, 0), 0, 1, hopping)
    for step in np.array(_CIRCLE) * chirality:
        _bond(terms, (*step, 1), 0, 0, interlayer)
        _bond(terms, (*-step, 1), 1, 1, interlayer)
    positions = np.column_stack([_POSITIONS, np.zeros(2)])
    return TightBinding(lattice, terms.translations, terms.matrices, positions, point_group="D3" if mass else "D6")


def _bond(terms: Hoppings, step, a: int, b: int, value: complex) -> None:
    """⟨0a|H|Rb⟩ = value and its Hermitian partner."""
    matrix = value * np.outer(np.eye(2)[a], np.eye(2)[b])
    terms.add(step, matrix if np.any(step) else matrix + matrix.conj().T)
