"""Measured data: columns with units, from memory, CSV or NetCDF."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from jaxkin.brief import plural, ranged
from jaxkin.checks import cartesian
from jaxkin.checks import numbers as checked
from jaxkin.errors import FileFormatError, JaxkinError, in_one_line, nearest, nearest_file
from jaxkin.fitting.columns import CONDITIONS, FACTORS, QUANTITIES, factor, split
from jaxkin.hamiltonian.text_file import as_number


@dataclass(frozen=True)
class Data:
    """Points of one measured quantity.

    Quantities, all along one ``axis`` n (the optic axis, and that of the field):

    - ``rotation``, ``dichroism``: Re and Im ρ, ρ = ½μ₀ω n·g·n, Eq. (78), in rad/m;
    - ``magnetization``: Re n·M for E ∥ n, M = −iχE, Eq. (87), in A/m; needs ``field`` (V/m) or
      ``current_density`` (A/m²), from which E = j/σ;
    - ``conductivity``, ``conductivity_imaginary``: of n·σ·n in S/m;
    - ``hall_conductivity``, ``hall_conductivity_imaginary``: of ½ε_abc σ_ab n_c, that is of the antisymmetric part
      of σ_xy for n ∥ z, without a magnetic field: of models that break time reversal.

    Args:
        quantity: one of these.
        value: (N,) measured, in the unit above.
        error: standard deviation of each in that unit, (N,) or one number.
        frequency: f = ω/2π in THz, (N,) or one number.
        temperature: in K; None takes that of the fit.
        field: in V/m.
        current_density: in A/m².
        axis: n, Cartesian, of any length.
        name: for tables and messages.

    Raises:
        JaxkinError: unknown quantity, columns of different lengths, NaN, errors that are not positive, a
            magnetization without field or current.

    >>> Data("rotation", value=[-0.1, -0.2], error=0.01, frequency=[0.1, 0.2]).error
    array([0.01, 0.01])
    """

    quantity: str
    value: np.ndarray
    error: np.ndarray
    frequency: np.ndarray
    temperature: np.ndarray | None
    field: np.ndarray | None
    current_density: np.ndarray | None
    axis: tuple[float, float, float]
    name: str

    def __init__(
        self,
        quantity: str,
        value: ArrayLike,
        error: ArrayLike,
        frequency: ArrayLike = 0.0,
        *,
        temperature: ArrayLike | None = None,
        field: ArrayLike | None = None,
        current_density: ArrayLike | None = None,
        axis: Sequence[float] = (0.0, 0.0, 1.0),
        name: str = "",
    ):
        if quantity not in QUANTITIES:
            raise JaxkinError(
                f"quantity {quantity!r} is unknown{nearest(quantity, QUANTITIES)}; choose from {', '.join(QUANTITIES)}."
            )
        label = name or quantity
        columns = {"value": value, "error": error, "frequency": frequency, "temperature": temperature,
                   "field": field, "current_density": current_density}  # fmt: skip
        size = max(np.size(column) for column in columns.values() if column is not None)
        for key, column in columns.items():
            object.__setattr__(self, key, None if column is None else _column(label, key, column, size))
        if np.any(self.error <= 0):
            raise JaxkinError(f"{label}: every error must be positive.")
        if quantity == "magnetization" and (field is None) == (current_density is None):
            raise JaxkinError(f"{label}: a magnetization needs either a `field` or a `current_density`.")
        if temperature is not None and np.any(np.asarray(temperature) <= 0):
            raise JaxkinError(f"{label}: every temperature must be positive.")
        n = cartesian(axis, "axis")
        object.__setattr__(self, "quantity", quantity)
        object.__setattr__(self, "axis", tuple((n / np.linalg.norm(n)).tolist()))
        object.__setattr__(self, "name", label)

    def __len__(self) -> int:
        return len(self.value)

    def __repr__(self) -> str:
        name = self.quantity if self.name == self.quantity else f"{self.name} ({self.quantity})"
        size = f"{plural(len(self), 'point')}, values {ranged(self.value)}"
        return f"Data of {name}: {size}, f = {ranged(self.frequency)} THz"


def _column(label: str, name: str, column: ArrayLike, size: int) -> np.ndarray:
    try:
        values = np.asarray(column, float).ravel()
    except (TypeError, ValueError):
        values = checked(f"{label}: {name}", column, "numbers")
    if len(values) not in (1, size):
        raise JaxkinError(f"{label}: {name} has {len(values)} values, other columns {size}.")
    if not np.all(np.isfinite(values)):
        raise JaxkinError(f"{label}: {name} holds NaN or infinity at point {int(np.argmin(np.isfinite(values)))}.")
    return np.array(np.broadcast_to(values, size))


def read_data(file: str | Path, axis: Sequence[float] = (0.0, 0.0, 1.0)) -> list[Data]:
    """Data sets of a CSV file (``name[unit]`` in the first line) or of a NetCDF file (``units`` attributes).

    One :class:`Data` for every quantity in the file; each needs its ``_error`` column:

        frequency[THz], rotation[deg/mm], rotation_error[deg/mm], dichroism[deg/mm], dichroism_error[deg/mm]

    Columns and their units: docs/fits.md, "Data".

    Args:
        file: its path, with the ending .nc, .h5 or .netcdf of a NetCDF file.
        axis: of every quantity, as of :class:`Data`.

    Raises:
        FileFormatError: what is missing or not understood, where, and how to mend it.
    """
    path = Path(file)
    columns = _netcdf(path) if path.suffix in (".nc", ".h5", ".netcdf") else _csv(path)
    present = [name for name in QUANTITIES if name in columns]
    if not present:
        raise FileFormatError(
            f"{path}: holds no measured quantity; name a column {', '.join(f'{q}[..]' for q in QUANTITIES)}."
        )
    for name in columns:
        if name.endswith("_error") and name.removesuffix("_error") not in columns:
            raise FileFormatError(f"{path}: has {name!r} but no column {name.removesuffix('_error')!r}.")
    conditions = {name: columns[name] for name in CONDITIONS if name in columns}
    found = []
    for quantity in present:
        if f"{quantity}_error" not in columns:
            unit = next(iter(FACTORS[quantity]))
            raise FileFormatError(
                f"{path}: {quantity!r} has no error column; add {quantity}_error[{unit}], its standard deviation."
            )
        needed = "frequency" if quantity in ("rotation", "dichroism") or quantity.endswith("_imaginary") else None
        if needed and needed not in conditions:
            raise FileFormatError(f"{path}: {quantity!r} needs a column {needed}[THz].")
        if quantity == "magnetization" and not {"field", "current_density"} & set(conditions):
            raise FileFormatError(
                f"{path}: 'magnetization' needs a column field[V/m] or current_density[A/m2]: what drives it."
            )
        used = {k: v for k, v in conditions.items() if quantity == "magnetization" or k not in CONDITIONS[2:]}
        try:
            found.append(
                Data(
                    quantity,
                    columns[quantity],
                    columns[f"{quantity}_error"],
                    axis=axis,
                    name=f"{path.name}: {quantity}",
                    **used,
                )
            )
        except FileFormatError:
            raise
        except JaxkinError as error:
            raise FileFormatError(f"{path}: {error}") from error
    return found


def _csv(path: Path) -> dict[str, np.ndarray]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            rows = [(n, row) for n, row in enumerate(csv.reader(stream), 1) if row and not row[0].startswith("#")]
    except FileNotFoundError:
        raise FileFormatError(f"{path}: no such file{nearest_file(path)}.") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise FileFormatError(f"{path}: not a CSV file ({error}).") from error
    if len(rows) < 2:
        raise FileFormatError(f"{path}: needs a line of column names, name[unit], and at least one line of numbers.")
    where = f"{path} line {rows[0][0]}"
    headers = [split(where, header) for header in rows[0][1]]
    scale = [factor(where, name, unit) for name, unit in headers]
    names = [name for name, _ in headers]
    if len(set(names)) < len(names):
        raise FileFormatError(f"{where}: a column is there twice.")
    numbers = np.empty((len(rows) - 1, len(names)))
    for index, (line, row) in enumerate(rows[1:]):
        if len(row) != len(names):
            raise FileFormatError(f"{path} line {line}: has {len(row)} columns, the first line names {len(names)}.")
        try:
            numbers[index] = [as_number(cell.strip()) for cell in row]
        except ValueError:
            bad = next(name for name, cell in zip(names, row, strict=True) if not _is_number(cell))
            raise FileFormatError(f"{path} line {line}: {bad!r} is not a number.") from None
    return dict(zip(names, (numbers * scale).T, strict=True))


def _is_number(text: str) -> bool:
    try:
        as_number(text.strip())
    except ValueError:
        return False
    return True


def _netcdf(path: Path) -> dict[str, np.ndarray]:
    if not path.exists():
        raise FileFormatError(f"{path}: no such file{nearest_file(path)}.")
    try:
        with xr.open_dataset(path, engine="h5netcdf", phony_dims="access") as opened:
            dataset = opened.load()
    except Exception as error:  # whatever HDF5 and its readers say of a file that is none
        raise FileFormatError(f"{path}: not a NetCDF file ({in_one_line(error)}).") from error
    known = [*FACTORS, *(f"{quantity}_error" for quantity in QUANTITIES)]
    columns = {}
    for name in [*dataset.coords, *dataset.data_vars]:
        if name in known:
            unit = str(dataset[name].attrs.get("units", ""))
            if not unit:
                raise FileFormatError(f"{path}: variable {name!r} has no `units` attribute; give it one.")
            try:
                values = checked(str(name), dataset[name].values, "finite numbers")
            except JaxkinError as error:
                raise FileFormatError(f"{path}: {error}") from error
            columns[str(name)] = values.ravel() * factor(str(path), str(name), unit)
    return columns
