"""Systems of WannierBerri: its objects and folders are read as they are, and WannierBerri itself is not imported."""

from __future__ import annotations

import zipfile
from os import PathLike
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from jaxkin.errors import FileFormatError, ModelError
from jaxkin.hamiltonian.tight_binding import TightBinding, partners


def from_wannierberri(system: Any, *, position_matrices: bool = True, point_group: str | None = None) -> TightBinding:
    """The :class:`TightBinding` model of a WannierBerri ``System_R``, with all that it has of H, ⟨r⟩, ⟨Hr⟩ and spin.

    H_R is its ``Ham``, in eV; ⟨0α|r|Rβ⟩ are its ``AA``, in Å, as ½(r_R + r†_{−R}), with the Wannier centres back on the
    diagonal; ``BB`` and ``CC`` complete the orbital moment; the Pauli matrices are its ``SS``.

    Args:
        system: of ``wannierberri.System_R``, however it was made, or the path of a folder that it was saved in.
        position_matrices: use ``AA`` in the covariant derivative where the system has it; False, as
            :func:`jaxkin.read_wannier90` of a ``_tb.dat`` without it, uses the centres only.
        point_group: Schoenflies name if known; see :func:`jaxkin.verify_point_group`.

    Raises:
        ModelError: no such system; H that is not Hermitian; no periodic direction.
        FileFormatError: no such folder, or a file of it that is missing or damaged.

    >>> from_wannierberri(3)
    Traceback (most recent call last):
    jaxkin.errors.ModelError: system=int must be a WannierBerri System_R with R vectors and a real-space H.
    """
    if isinstance(system, str | PathLike):
        system = _saved(Path(system))
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

    def matrices(name: str) -> np.ndarray | None:
        return np.asarray(system.get_R_mat(name), complex)[inside] if system.has_R_mat(name) else None

    hoppings, spin = matrices("Ham"), matrices("SS")
    assert hoppings is not None
    centres = np.asarray(system.wannier_centers_cart, float)
    home, n = int(np.flatnonzero(~steps.any(axis=1))[0]), len(centres)
    r = matrices("AA") if position_matrices else None
    more = (matrices("BB"), matrices("CC")) if r is not None and len(kept) == 3 else (None, None)
    if r is None and len(kept) < 3:
        r = np.zeros((*hoppings.shape, 3), complex)
    if r is not None:
        r = _hermitian(r, steps)
        r[home, np.arange(n), np.arange(n)] += centres
    if more[0] is None or more[1] is None:
        hr = rhr = None
    else:
        hr, rhr = more[0], _hermitian(more[1], steps)
    reduced = (centres @ np.linalg.inv(lattice))[:, kept]
    spin = None if spin is None else _hermitian(spin, steps)
    return TightBinding(
        lattice[kept], steps, hoppings, reduced, r, spin, hr_matrices=hr, rhr_matrices=rhr, point_group=point_group
    )


def _hermitian(matrices: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """½(M_R + M†_{−R}); what has no −R loses half."""
    partner = partners(steps)
    adjoint = np.where((partner < 0)[:, None, None, None], 0, matrices[partner].conj().swapaxes(1, 2))
    return 0.5 * (matrices + adjoint)


def _saved(folder: Path) -> Any:
    """What a folder of ``.npz`` files keeps, as the object that wrote it."""
    if not folder.is_dir():
        raise FileFormatError(f"{folder}: no such folder; a WannierBerri system is saved as a folder of .npz files.")

    def load(name: str) -> np.ndarray:
        file = folder / f"{name}.npz"
        try:
            with np.load(file) as content:
                return content[content.files[0]]
        except FileNotFoundError:
            raise FileFormatError(f"{file}: missing in this WannierBerri system.") from None
        except (OSError, ValueError, EOFError, KeyError, IndexError, zipfile.BadZipFile) as error:
            raise FileFormatError(f"{file}: could not be read ({str(error)[:80]}).") from error

    steps, centres = load("iRvec"), load("wannier_centers_cart")
    shape, older = (len(steps), len(centres), len(centres)), (folder / "use_wcc_phase.npz").exists()
    if older and not load("use_wcc_phase"):
        raise FileFormatError(f"{folder}: saved without use_wcc_phase, the convention that is read; save it with that.")

    def matrices(name: str) -> np.ndarray:
        found = load(f"_XX_R_{name}")
        if older and found.ndim > 2:
            found = np.moveaxis(found, 2, 0)
        if found.shape[:3] != shape:
            raise FileFormatError(f"{folder}: {name} has shape {found.shape}, which does not begin with {shape}.")
        return found

    return SimpleNamespace(
        real_lattice=load("real_lattice"),
        periodic=load("periodic"),
        rvec=SimpleNamespace(iRvec=steps),
        wannier_centers_cart=centres,
        has_R_mat=lambda name: (folder / f"_XX_R_{name}.npz").exists(),
        get_R_mat=matrices,
    )
