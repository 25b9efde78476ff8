"""Reader of the HDF5 files of TBmodels."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

import h5py
import numpy as np

from jaxkin.checks import check_kind, numbers
from jaxkin.errors import FileFormatError, JaxkinError, ModelError, in_one_line
from jaxkin.hamiltonian.tight_binding import TightBinding
from jaxkin.memory import demand

SUFFIXES = (".hdf5", ".h5")


def read_tbmodels(path: str | Path, *, point_group: str | None = None) -> TightBinding:
    """Read a TBmodels HDF5 file, dense or sparse, into a :class:`TightBinding` model.

    TBmodels: D. Gresch et al., Phys. Rev. Materials 2, 103805 (2018).

    The file holds a half h_R of the matrices, and H_R = h_R + h†_{−R}. TBmodels has no units: energies are taken in eV
    and lengths in Å. HDF5 has no digest of such a file, and its own library may crash where bytes of it are damaged.

    Args:
        path: as ``Model.to_hdf5_file`` writes it.
        point_group: Schoenflies name if known; see :func:`jaxkin.verify_point_group`.

    Raises:
        FileFormatError: no HDF5 file, or none of TBmodels; a model without a unit cell; NaN, shapes that do not fit.
        JaxkinError: ``path`` is none.

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
            d, n = len(lattice), len(positions)
            for name, size in (("size", n), ("dim", d)):
                if name in group and _array(group, name, int) != size:
                    raise FileFormatError(f"{path}: `{name}` is not the {size} that `uc` and `pos` are of.")
            hop, half = group["hop"], {}
            assert isinstance(hop, h5py.Group)
            for one in hop.values():
                step = tuple(_array(one, "R", int, (d,)).tolist())
                if step in half:
                    raise FileFormatError(f"{path}: R = {step} for the second time.")
                half[step] = _matrix(one, n)
    except JaxkinError as error:
        raise error if str(path) in str(error) else FileFormatError(f"{path}: {error}") from error
    except Exception as error:  # whatever HDF5 and SciPy say of a file that is none
        raise FileFormatError(f"{path}: could not be read ({in_one_line(error)}).") from error
    if not half:
        raise FileFormatError(f"{path}: holds no hopping.")
    steps = list(dict.fromkeys(step for one in half for step in (one, tuple(-x for x in one))))
    nothing = np.zeros_like(next(iter(half.values())))
    try:
        matrices = [half.get(step, nothing) + half.get(tuple(-x for x in step), nothing).conj().T for step in steps]
        return TightBinding(lattice, steps, matrices, positions, point_group=point_group)
    except (ModelError, ValueError) as error:
        raise FileFormatError(f"{path}: {error}") from error


def _array(group: h5py.Group, name: str, dtype: type = float, shape: tuple[int, ...] | None = None) -> np.ndarray:
    dataset = group[name]
    assert isinstance(dataset, h5py.Dataset)
    demand(dataset.nbytes, f"the values of `{name}`", "raise it")
    found = numbers(name, dataset[()], "finite numbers", dtype)
    if shape is not None and found.shape != shape:
        raise FileFormatError(f"`{name}` has shape {found.shape}, not {shape}.")
    return found


def _matrix(group: h5py.Group, n: int) -> np.ndarray:
    """One R's, (n, n), of a dense or a sparse model."""
    if "mat" in group:
        return _array(group, "mat", complex, (n, n))
    if _array(group, "shape", int).tolist() != [n, n]:
        raise FileFormatError(f"the shape of a matrix is not ({n}, {n}).")
    data = _array(group, "data", complex)
    columns, ends = (_array(group, name, int, shape) for name, shape in (("indices", data.shape), ("indptr", (n + 1,))))
    lengths, inside = np.diff(ends, prepend=0), np.all((columns >= 0) & (columns < n))
    if lengths[0] or np.any(lengths < 0) or ends[-1] != data.size or not inside:
        raise FileFormatError("`indices` and `indptr` of a matrix do not fit.")
    matrix = np.zeros((n, n), complex)
    np.add.at(matrix, (np.repeat(np.arange(n), lengths[1:]), columns), data)
    return matrix
