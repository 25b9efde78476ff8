"""Systems of WannierBerri: its objects and folders are read as they are, and WannierBerri itself is not imported."""

from __future__ import annotations

import warnings
from os import PathLike
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from jaxkin.checks import flat, numbers
from jaxkin.errors import FileFormatError, JaxkinError, ModelError, in_one_line
from jaxkin.hamiltonian.tight_binding import TightBinding, partners
from jaxkin.memory import demand


def from_wannierberri(system: Any, *, position_matrices: bool = True, point_group: str | None = None) -> TightBinding:
    """The :class:`TightBinding` model of a WannierBerri ``System_R``, with all that it has of H, ⟨r⟩, ⟨Hr⟩ and spin.

    H_R is its ``Ham``, in eV; ⟨0α|r|Rβ⟩ are its ``AA``, in Å, as ½(r_R + r†_{−R}), with the Wannier centres back on the
    diagonal; ``BB`` and ``CC`` complete the orbital moment (docs/theory.md, "Band geometry"); the Pauli matrices are
    its ``SS``.

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
        folder = Path(system)
        try:
            saved = _saved(folder)
            return from_wannierberri(saved, position_matrices=position_matrices, point_group=point_group)
        except ModelError as error:
            raise FileFormatError(f"{folder}: {error}") from error
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
    centres, n = np.asarray(system.wannier_centers_cart, float), hoppings.shape[-1]
    home = np.flatnonzero(~steps.any(axis=1))
    if not len(home):
        raise ModelError("the WannierBerri system has no home cell R = 0.")
    if flat(lattice):
        raise ModelError("the lattice vectors of the WannierBerri system are linearly dependent.")
    r = matrices("AA") if position_matrices else None
    more = (matrices("BB"), matrices("CC")) if r is not None and len(kept) == 3 else (None, None)
    if r is None and len(kept) < 3:
        r = np.zeros((*hoppings.shape, 3), complex)
    if r is not None:
        r = _hermitian(r, steps)
        r[home[0], np.arange(n), np.arange(n)] += centres
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

    def load(name: str, dtype: type, *shape: int) -> np.ndarray:
        """An array of ``shape``, where -1 is any length."""
        file = folder / f"{name}.npz"
        content = _array(file)
        try:
            found = numbers(name, content, "integers" if dtype is int else "finite numbers", dtype)
        except JaxkinError as error:
            raise FileFormatError(f"{file}: {error}") from error
        if len(found.shape) != len(shape) or any(a != b != -1 for a, b in zip(found.shape, shape, strict=True)):
            raise FileFormatError(f"{file}: has shape {found.shape}, not {shape} (-1: of any length).")
        return found

    steps, centres = load("iRvec", int, -1, 3), load("wannier_centers_cart", float, -1, 3)
    count, n, older = len(steps), len(centres), (folder / "use_wcc_phase.npz").exists()
    if older and not load("use_wcc_phase", int):
        raise FileFormatError(f"{folder}: saved without use_wcc_phase, the convention that is read; save it with that.")

    def matrices(name: str) -> np.ndarray:
        components = () if name == "Ham" else (3,)
        found = load(f"_XX_R_{name}", complex, *((n, n, count) if older else (count, n, n)), *components)
        return np.moveaxis(found, 2, 0) if older else found

    return SimpleNamespace(
        real_lattice=load("real_lattice", float, 3, 3),
        periodic=load("periodic", int, 3),
        rvec=SimpleNamespace(iRvec=steps),
        wannier_centers_cart=centres,
        has_R_mat=lambda name: (folder / f"_XX_R_{name}.npz").exists(),
        get_R_mat=matrices,
    )


def _array(file: Path) -> np.ndarray:
    """The first one of an ``.npz``."""
    try:
        with warnings.catch_warnings(action="error"), file.open("rb") as opened, np.load(opened) as content:
            demand(content.zip.infolist()[0].file_size, f"{file}: what is in it", "raise it")
            return content[content.files[0]]
    except FileNotFoundError:
        raise FileFormatError(f"{file}: missing in this WannierBerri system.") from None
    except JaxkinError:
        raise
    except Exception as error:  # whatever zipfile and NumPy say of a file that is none
        raise FileFormatError(f"{file}: could not be read ({in_one_line(error)}).") from error
