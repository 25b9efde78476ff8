"""``jaxkin plot RESULT --export FILE``: the Fermi surface of a result for other programs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import xarray as xr

from jaxkin.cli.ingredients import build_model
from jaxkin.cli.origin import origin
from jaxkin.errors import FileFormatError
from jaxkin.output import export
from jaxkin.output.dataset import mesh_of

COLUMNS = {
    "k": "k",
    "pocket": "pocket",
    "weight": "weight",
    "velocity": "velocity",
    "moment": "orbital_moment",
    "berry_curvature": "berry_curvature",
    "skew_acceleration": "skew_acceleration",
}
"""Of points in a result, and how a table calls them."""


def export_result(result: Path, data: xr.Dataset, path: Path, colours: Sequence[str] = ()) -> Path:
    """Write the surface at the first Fermi level and temperature of a result in the format of the file's ending.

    Args:
        result: the file that ``data`` is from, whose configuration makes the model again where energies are wanted.
        data: its content.
        path: to write.
        colours: of a picture.

    Raises:
        JaxkinError: another ending, a result without a surface, a model that is no longer there.
    """
    suffix = export.check_suffix(path)
    level = float(np.ravel(data.fermi_level.values)[0])
    if suffix == ".bxsf":
        return export.write(path, export.bxsf(build_model(origin(result, []).model), level))
    mesh = mesh_of(data)
    if mesh is None:
        raise FileFormatError(
            f"{result}: holds no Fermi surface to export; nothing was found at {level:g} eV, or it is old."
        )
    if suffix == ".csv":
        units = {name: data[f"point_{key}"].attrs.get("units") for key, name in COLUMNS.items()}
        columns = {name: data[f"point_{key}"].values for key, name in COLUMNS.items()}
        return export.write(path, export.table(columns, {name: unit for name, unit in units.items() if unit}))
    title = f"Fermi surface at {level:.6g} eV"
    if suffix == ".vtk":
        return export.write(path, export.vtk(mesh, f"{title}, k in 1/Angstrom"))
    if suffix == ".png":
        return export.write(path, export.picture(mesh, data.zone_edges.values, title, colours))
    return export.write(path, export.page(mesh, data.zone_edges.values, f"{title}, k in 1/Angstrom"))
