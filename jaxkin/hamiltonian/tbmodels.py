"""Reader of the HDF5 files of TBmodels."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

import h5py
import numpy as np
from scipy import sparse

from jaxkin.checks import check_kind
from jaxkin.errors import FileFormatError, ModelError
from jaxkin.hamiltonian.tight_binding import TightBinding

SUFFIXES = (".hdf5", ".h5")


def read_tbmodels(path: str | Path, *, point_group: str | None = None) -> TightBinding:
    """Read a TBmodels HDF5 file, dense or sparse, into a :class:`TightBinding` model.

    The file holds a half h_R of the matrices, and H_R = h_R + h†_{−R}. TBmodels has no units: energies are taken in eV
    and lengths in Å.

    Args:
        path: as ``Model.to_hdf5_file`` writes it.
        point_group: Schoenflies name if known; see :func:`jaxkin.verify_point_group`.

    Raises:
        FileFormatError: no HDF5 file, or none of TBmodels; a model without a unit cell; NaN, shapes that do not fit.

    >>> read_tbmodels("missing.hdf5")
    Traceback (most recent call last):
    jaxkin.errors.FileFormatError: missing.hdf5: no such file.
    """
    check_kind("path", path, (str, PathLike), "the path of a file")
    path = Path(path)
    if not path.is_file():
        raise FileFormatError(f"{path}: no such file.")
    try:
        with h5py.File(path, "r") as file:
            group = file.get("tb_model", file)
            assert isinstance(group, h5py.Group)
            if "hop" not in group or "pos" not in group:
                raise FileFormatError(f"{path}: no file of TBmodels: `hop` and `pos` are not in it.")
            if "uc" not in group:
                raise FileFormatError(
                    f"{path}: the model has no unit cell; give its `uc` in TBmodels and write it again."
                )
            lattice, positions = _array(group, "uc"), _array(group, "pos")
            hop = group["hop"]
            assert isinstance(hop, h5py.Group)
            half = {tuple(_array(one, "R").astype(int).tolist()): _matrix(one) for one in hop.values()}
    except (OSError, KeyError, AssertionError, TypeError, ValueError) as error:
        if isinstance(error, FileFormatError):
            raise
        raise FileFormatError(f"{path}: could not be read ({' '.join(str(error).split())}).") from error
    if not half:
        raise FileFormatError(f"{path}: holds no hopping.")
    steps = list(dict.fromkeys(step for one in half for step in (one, tuple(-x for x in one))))
    nothing = np.zeros_like(next(iter(half.values())))
    try:
        matrices = [half.get(step, nothing) + half.get(tuple(-x for x in step), nothing).conj().T for step in steps]
        return TightBinding(lattice, steps, matrices, positions, point_group=point_group)
    except (ModelError, ValueError) as error:
        raise FileFormatError(f"{path}: {error}") from error


def _array(group: h5py.Group, name: str) -> np.ndarray:
    return np.asarray(group[name])


def _matrix(group: h5py.Group) -> np.ndarray:
    """One R's, (n, n), of a dense or a sparse model."""
    if "mat" in group:
        return _array(group, "mat")
    parts = tuple(_array(group, name) for name in ("data", "indices", "indptr"))
    return sparse.csr_array(parts, shape=tuple(_array(group, "shape").tolist())).toarray()
