"""Kramers–Weyl metals: one spinful orbital on a chiral lattice, with a Weyl node at every Kramers point."""

from __future__ import annotations

import numpy as np

from jaxkin.checks import check_positive
from jaxkin.hamiltonian.tight_binding import TightBinding
from jaxkin.models.pauli import SIGMA, SPIN, Hoppings, along


def kramers_weyl_d4(
    hopping: float = 0.5,
    hopping_z: float = 0.35,
    spin_orbit: float = 0.4,
    spin_orbit_z: float = 0.25,
    lattice_constant: float = 1.0,
    lattice_constant_z: float = 1.0,
    spin_moment: bool = False,
) -> TightBinding:
    """Tetragonal: H = −2 Σ_i t_i cos(k_i a_i) + Σ_i λ_i σ_i sin(k_i a_i), t_x = t_y, λ_x = λ_y.

    Point group D4 (C_4 ∥ z). Kramers–Weyl metals: G. Chang et al., Nat. Mater. 17, 978 (2018).

    Args:
        hopping, hopping_z: t in the plane and along z, eV.
        spin_orbit, spin_orbit_z: λ in the plane and along z, eV.
        lattice_constant, lattice_constant_z: in Å.
        spin_moment: add the spin's magnetic moment to the orbital one.

    Raises:
        ModelError: a lattice constant of zero, or numbers that are not finite.
    """
    lattice = np.diag([lattice_constant, lattice_constant, lattice_constant_z])
    terms = Hoppings(3)
    for axis, t, strength in zip(
        range(3), (hopping, hopping, hopping_z), (spin_orbit, spin_orbit, spin_orbit_z), strict=True
    ):
        step = np.eye(3, dtype=int)[axis]
        terms.cosine(step, -2 * t * SIGMA[0])
        terms.sine(step, strength * SPIN[axis])
    return _spinful(lattice, terms, "D4", spin_moment)


def kramers_weyl_o(
    hopping: float = 0.5, spin_orbit: float = 0.5, lattice_constant: float = 1.0, spin_moment: bool = False
) -> TightBinding:
    """Cubic: H = −2t Σ_i cos(k_i a) + λ Σ_i σ_i sin(k_i a). Point group O.

    What skew scattering does in it: docs/beyond_relaxation_time.md. Kramers–Weyl metals: G. Chang et al., Nat. Mater.
    17, 978 (2018).

    Args:
        hopping, spin_orbit: t and λ in eV.
        lattice_constant: in Å.
        spin_moment: add the spin's magnetic moment to the orbital one.

    Raises:
        ModelError: a lattice constant of zero, or numbers that are not finite.
    """
    lattice = lattice_constant * np.eye(3)
    terms = Hoppings(3)
    for axis in range(3):
        step = np.eye(3, dtype=int)[axis]
        terms.cosine(step, -2 * hopping * SIGMA[0])
        terms.sine(step, spin_orbit * SPIN[axis])
    return _spinful(lattice, terms, "O", spin_moment)


def kramers_weyl_t(
    hopping: float = 0.5,
    spin_orbit: float = 0.5,
    tetrahedral: float = 0.3,
    lattice_constant: float = 1.0,
    spin_moment: bool = False,
) -> TightBinding:
    """Cubic without fourfold axes: ``kramers-weyl-o`` with one term more. Point group T.

    H = H_O + η Σ σ_x sin(k_x a)[cos(k_y a) − cos(k_z a)], the sum over cyclic xyz. Kramers–Weyl metals: G. Chang et
    al., Nat. Mater. 17, 978 (2018).

    Args:
        hopping, spin_orbit, tetrahedral: t, λ and η in eV.
        lattice_constant: in Å.
        spin_moment: add the spin's magnetic moment to the orbital one.

    Raises:
        ModelError: a lattice constant of zero, or numbers that are not finite.
    """
    unit = np.eye(3, dtype=int)
    terms = Hoppings(3)
    for axis in range(3):
        x, y, z = np.roll(unit, -axis, axis=0)
        terms.cosine(x, -2 * hopping * SIGMA[0])
        terms.sine(x, spin_orbit * SPIN[axis])
        for other, sign in ((y, 1), (z, -1)):  # 2 sin a cos b = sin(a+b) + sin(a−b)
            terms.sine(x + other, 0.5 * sign * tetrahedral * SPIN[axis])
            terms.sine(x - other, 0.5 * sign * tetrahedral * SPIN[axis])
    return _spinful(lattice_constant * np.eye(3), terms, "T", spin_moment)


def kramers_weyl_d3(
    hopping: float = 0.4,
    hopping_z: float = 0.35,
    spin_orbit: float = 0.3,
    spin_orbit_z: float = 0.25,
    trigonal: float = 0.2,
    lattice_constant: float = 1.0,
    lattice_constant_z: float = 1.0,
    spin_moment: bool = False,
) -> TightBinding:
    """Hexagonal lattice with bonds a_1, a_2, a_3 = −a_1−a_2 at 120° and c ∥ z. Point group D3 (C_3 ∥ z, C_2 ∥ y).

    H = −2t Σ_i cos k·a_i − 2t_z cos k_z c + λ Σ_i (σ·â_i) sin k·a_i + λ_z σ_z sin k_z c + η σ_z Σ_i sin k·a_i;
    the last term takes D6 down to D3. Kramers–Weyl metals: G. Chang et al., Nat. Mater. 17, 978 (2018).

    Args:
        hopping, hopping_z: t and t_z in eV.
        spin_orbit, spin_orbit_z, trigonal: λ, λ_z and η in eV.
        lattice_constant, lattice_constant_z: a and c in Å.
        spin_moment: add the spin's magnetic moment to the orbital one.

    Raises:
        JaxkinError: a lattice constant that is not positive, or numbers that are not finite.
    """
    check_positive("lattice_constant", lattice_constant, "a positive length in Å")
    lattice = np.array([[1, 0, 0], [-0.5, np.sqrt(3) / 2, 0], [0, 0, 1]]) * [
        [lattice_constant],
        [lattice_constant],
        [lattice_constant_z],
    ]
    terms = Hoppings(3)
    for step in ((1, 0, 0), (0, 1, 0), (-1, -1, 0)):
        bond = np.array(step) @ lattice / lattice_constant
        terms.cosine(step, -2 * hopping * SIGMA[0])
        terms.sine(step, spin_orbit * along(bond) + trigonal * SPIN[2])
    terms.cosine((0, 0, 1), -2 * hopping_z * SIGMA[0])
    terms.sine((0, 0, 1), spin_orbit_z * SPIN[2])
    return _spinful(lattice, terms, "D3", spin_moment)


def _spinful(lattice, terms: Hoppings, point_group: str, spin_moment: bool) -> TightBinding:
    return TightBinding(
        lattice,
        terms.translations,
        terms.matrices,
        np.zeros((2, 3)),
        spin=SPIN if spin_moment else None,
        point_group=point_group,
    )
