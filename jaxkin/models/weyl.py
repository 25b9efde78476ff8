"""A Weyl semimetal on a cubic lattice, with and without inversion."""

from __future__ import annotations

import numpy as np

from jaxkin.checks import check_number
from jaxkin.hamiltonian.tight_binding import TightBinding
from jaxkin.models.pauli import SIGMA, SPIN, Hoppings


def weyl(
    hopping: float = 0.5,
    node: float = 0.25,
    mass: float = 1.0,
    inversion: bool = True,
    tilt: float = 0.15,
    lattice_constant: float = 1.0,
) -> TightBinding:
    """Two Weyl nodes at k_z a = ±2π·node; time reversal broken.

    H = t (σ_x sin k_x a + σ_y sin k_y a) + σ_z [t (cos k_z a − cos 2π·node) + M (2 − cos k_x a − cos k_y a)],
    which σ_z inverts: point group C4h. Without ``inversion``, γ sin k_z a is added, the two nodes part in
    energy by 2γ sin 2π·node, and C4 is left. Response of one node: docs/theory.md, "Closed forms".

    Args:
        hopping, mass: t and M in eV.
        node: reduced k_z of the nodes, 0 < node < 1/2.
        inversion: keep the inversion centre.
        tilt: γ in eV, used without inversion.
        lattice_constant: in Å.

    Raises:
        JaxkinError: a node outside, a lattice constant of zero, or numbers that are not finite.
    """
    check_number("node", node, "a number above 0 and below 1/2", least=1e-9, most=0.5 - 1e-9)
    terms = Hoppings(3)
    x, y, z = np.eye(3, dtype=int)
    terms.onsite((2 * mass - hopping * np.cos(2 * np.pi * node)) * SPIN[2])
    for axis, step in enumerate((x, y)):
        terms.sine(step, hopping * SPIN[axis])
        terms.cosine(step, -mass * SPIN[2])
    terms.cosine(z, hopping * SPIN[2])
    if not inversion:
        terms.sine(z, tilt * SIGMA[0])
    return TightBinding(
        lattice_constant * np.eye(3),
        terms.translations,
        terms.matrices,
        np.zeros((2, 3)),
        point_group="C4h" if inversion else "C4",
    )
