"""Systems of WannierBerri: its objects are read as they are, and WannierBerri itself is not imported."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from jaxkin.errors import FileFormatWarning, ModelError
from jaxkin.hamiltonian.tight_binding import TightBinding, partners

SPIN_ELSEWHERE = 0.05
"""Element of the spin operator between cells that is worth a line where it is left out."""


def from_wannierberri(system: Any, *, position_matrices: bool = True, point_group: str | None = None) -> TightBinding:
    """The :class:`TightBinding` model of a WannierBerri ``System_R``, with all that it has of H, ⟨r⟩ and spin.

    H_R is its ``Ham``, in eV; ⟨0α|r|Rβ⟩ are its ``AA``, in Å, as ½(r_R + r†_{−R}), with the Wannier centres back on the
    diagonal; the Pauli matrices are its ``SS`` inside the home cell.

    Args:
        system: of ``wannierberri.System_R``, however it was made.
        position_matrices: use ``AA`` in the covariant derivative where the system has it; False, as
            :func:`jaxkin.read_wannier90` without it, uses the centres only.
        point_group: Schoenflies name if known; see :func:`jaxkin.verify_point_group`.

    Raises:
        ModelError: no such system; H that is not Hermitian; no periodic direction.

    Warns:
        FileFormatWarning: ``SS`` between different cells, which is left out, is more than 0.05.

    >>> from_wannierberri("Te")
    Traceback (most recent call last):
    jaxkin.errors.ModelError: system=str must be a WannierBerri System_R with R vectors and a real-space H.
    """
    if not (hasattr(system, "rvec") and hasattr(system, "has_R_mat") and system.has_R_mat("Ham")):
        raise ModelError(
            f"system={type(system).__name__} must be a WannierBerri System_R with R vectors and a real-space H."
        )
    lattice, every = np.asarray(system.real_lattice, float), np.asarray(system.rvec.iRvec, int)
    kept = np.flatnonzero(system.periodic)
    if not len(kept):
        raise ModelError("the WannierBerri system is periodic in no direction.")
    inside = ~np.delete(every, kept, axis=1).any(axis=1)
    steps = every[inside][:, kept]
    hoppings = np.asarray(system.get_R_mat("Ham"), complex)[inside]
    centres = np.asarray(system.wannier_centers_cart, float)
    home, n = int(np.flatnonzero(~steps.any(axis=1))[0]), len(centres)
    r = None
    if position_matrices and system.has_R_mat("AA"):
        r = _hermitian(np.asarray(system.get_R_mat("AA"), complex)[inside], steps)
    elif len(kept) < 3:
        r = np.zeros((*hoppings.shape, 3), complex)
    if r is not None:
        r[home, np.arange(n), np.arange(n)] = centres
    spin = _home_spin(np.asarray(system.get_R_mat("SS"), complex)[inside], home) if system.has_R_mat("SS") else None
    reduced = centres @ np.linalg.inv(lattice)
    return TightBinding(lattice[kept], steps, hoppings, reduced[:, kept], r, spin, point_group=point_group)


def _hermitian(r: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """½(r_R + r†_{−R}); what has no −R loses half."""
    partner = partners(steps)
    adjoint = np.where((partner < 0)[:, None, None, None], 0, r[partner].conj().swapaxes(1, 2))
    return 0.5 * (r + adjoint)


def _home_spin(spin: np.ndarray, home: int) -> np.ndarray:
    """(3, n, n) Pauli matrices of the home cell."""
    elsewhere = float(np.abs(np.delete(spin, home, axis=0)).max(initial=0.0))
    if elsewhere > SPIN_ELSEWHERE:
        warnings.warn(
            f"the spin matrices SS have elements of up to {elsewhere:.2g} between different cells; those are left out.",
            FileFormatWarning,
            stacklevel=3,
        )
    own = np.moveaxis(spin[home], -1, 0)
    return 0.5 * (own + own.conj().swapaxes(1, 2))
