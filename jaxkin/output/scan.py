"""A scan at a glance: g, M, carriers and σ of every point in one table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import xarray as xr

from jaxkin import units
from jaxkin.output.dataset import XYZ
from jaxkin.output.sheets import Sheets
from jaxkin.output.uncertainty import with_uncertainty

MOST = {"g": 3, "σ": 1, "Hall σ": 1}
"""Numbers of a tensor that are shown."""
SMALL = 1e-3
"""Components below this part of the largest, at every point, are not shown."""


class Quantity(NamedTuple):
    """One number with its standard error at every point of a scan."""

    name: str
    unit: str
    mean: np.ndarray
    stderr: np.ndarray


def quantities(points: Sequence[xr.Dataset]) -> list[Quantity]:
    """g at the lowest frequency, magnetization along what drives it, carriers, conductivity, where they are known.

    Args:
        points: datasets of one Fermi level and temperature each.
    """
    frequency = points[0].frequency.values
    lowest = int(np.argmin(np.abs(frequency)))
    mechanism = "mechanism" if "mechanism" in points[0].dims else "side"
    found = _components(
        np.stack([one.g.sel({mechanism: "total"}).values[lowest] * _allowed(one) for one in points]),
        np.stack([one.g_stderr.sel({mechanism: "total"}).values[lowest] for one in points]),
        "g",
        str(points[0].g.attrs.get("units", "S")),
        (np.imag,) if frequency[lowest] == 0 else (np.real, np.imag),
    )
    if "induced_field" in points[0] and found:
        found.append(_magnetization(points, lowest))
    for name in ("electrons", "holes"):
        if name in points[0] and any(float(one[name]) for one in points):
            unit, scale = _per_cm(points[0][name].attrs["units"])
            values = [(scale * float(one[name]), scale * float(one[f"{name}_stderr"])) for one in points]
            found.append(Quantity(name, unit, *np.array(values).T))
    sigma, error = ([one[name] for one in points] for name in ("sigma", "sigma_stderr"))
    if mechanism == "side":
        sigma, error = ([one.sel(side="total") for one in each] for each in (sigma, error))
    mean, error = (np.stack([one.values[lowest] for one in each]) for each in (sigma, error))
    unit = str(points[0].sigma.attrs.get("units", "S/m"))
    found += _components(_symmetric(mean, 1), error, "σ", unit, (np.real,))
    if str(points[0].attrs.get("time_reversal", "")).startswith("broken"):
        names = [name for name in points[0].sigma_mechanism.values if name not in ("drude", "total")]
        chosen = [one.sel(sigma_mechanism=names).isel(frequency=lowest) for one in points]
        mean = np.stack([one.sigma_parts.values.sum(axis=0) for one in chosen])
        error = np.stack([np.linalg.norm(one.sigma_parts_stderr.values, axis=0) for one in chosen])
        found += _components(_symmetric(mean, -1), error, "Hall σ", unit, (np.real,))
    return found


def by_mechanism(points: Sequence[xr.Dataset]) -> list[Quantity]:
    """The largest component of g at the lowest frequency, split into mechanisms; none where g is zero or in one piece.

    The unit says which component it is.
    """
    lowest = int(np.argmin(np.abs(points[0].frequency.values)))
    mechanism = "mechanism" if "mechanism" in points[0].dims else "side"
    mean, error = (
        np.stack([one[name].values[:, lowest] * _allowed(one) for one in points], axis=1) for name in ("g", "g_stderr")
    )
    names = [str(name) for name in points[0][mechanism].values]
    total = mean[names.index("total")]
    _, a, b = np.unravel_index(int(np.argmax(np.abs(total))), total.shape)
    part, label = max(((np.imag, "Im"), (np.real, "Re")), key=lambda pair: np.abs(pair[0](total[:, a, b])).max())
    unit = f"{label} g_{XYZ[a]}{XYZ[b]} in {points[0].g.attrs.get('units', 'S')}"
    found = [
        Quantity(name, unit, part(one[:, a, b]), np.abs(part(own[:, a, b])))
        for name, one, own in zip(names, mean, error, strict=True)
    ]
    return [one for one in found if np.any(one.mean)] if np.any(total) and len(found) > 2 else []


def _symmetric(tensor: np.ndarray, sign: int) -> np.ndarray:
    """½(σ_ab ± σ_ba): what dissipates, and the Hall part, to which Drude's adds nothing but noise."""
    return 0.5 * (tensor + sign * np.swapaxes(tensor, -1, -2))


def _allowed(one: xr.Dataset) -> np.ndarray:
    """Where the point group allows g: elsewhere it is an error of the sampling."""
    return one.allowed.values if "allowed" in one else np.ones((3, 3))


def _components(mean: np.ndarray, stderr: np.ndarray, name: str, unit: str, parts: Sequence) -> list[Quantity]:
    """The largest components of a tensor (points, 3, 3)."""
    size = np.abs(mean).max(axis=0)
    shown = [(int(a), int(b)) for a, b in np.argwhere(size > SMALL * size.max())]
    # of those that are equal but for sampling, the first
    shown = sorted(sorted(shown, key=lambda ab: -float(f"{size[ab]:.1e}"))[: MOST[name] // len(parts)])
    label = {np.real: "Re ", np.imag: "Im "} if name == "g" else {np.real: ""}
    return [
        Quantity(f"{label[part]}{name}_{XYZ[a]}{XYZ[b]}", unit, part(mean[:, a, b]), np.abs(part(stderr[:, a, b])))
        for part in parts
        for a, b in shown
    ]


def _magnetization(points: Sequence[xr.Dataset], lowest: int) -> Quantity:
    along = [one.induced_field.sel(mechanism="total").values[lowest].real for one in points]
    error = [one.induced_field_stderr.sel(mechanism="total").values[lowest].real for one in points]
    name = "μ₀M∥j" if points[0].induced_field.attrs["drive"].startswith("j") else "μ₀M∥E"
    return Quantity(name, str(points[0].induced_field.attrs["units"]), np.array(along), np.array(error))


def _per_cm(unit: str) -> tuple[str, float]:
    """The unit of densities, and the factor to it of a file's, which before 0.1 was Å^-d."""
    length, _, dimension = unit.partition("^-")
    return f"cm^-{dimension}", 1.0 if length == "cm" else units.per_cm(int(dimension))


def driven(one: xr.Dataset) -> str:
    """What drives the magnetization, where it is known, for titles."""
    return f", M for {one.induced_field.attrs['drive']}" if "induced_field" in one else ""


def scan_tables(points: Sequence[xr.Dataset]) -> list[Sheets]:
    """One row for each point, values with their standard error; of the largest component of g also by mechanism.

    Args:
        points: datasets of one Fermi level and temperature each.
    """
    front, shown = _front(points), quantities(points)
    title = f"scan at {float(np.min(np.abs(points[0].frequency.values))):g} THz"
    columns = [(f"{one.name}\n({one.unit})", _cells(one)) for one in shown]
    tables = [Sheets(f"{title}{driven(points[0])}", front, columns)]
    if parts := by_mechanism(points):
        columns = [(one.name.replace("_", " "), _cells(one)) for one in parts]
        tables.append(Sheets(f"{title}, {parts[0].unit}", front, columns))
    return tables


def _front(points: Sequence[xr.Dataset]) -> list[tuple[str, list[str]]]:
    """What a point is at."""
    density = points[0].coords.get("density")
    made = [] if density is None else [(f"n ({density.attrs['units']})", [f"{float(one.density):g}" for one in points])]
    kelvin = [float(one.temperature) if "temperature" in one.coords else 0.0 for one in points]
    return [
        *made,
        ("μ (eV)", [f"{float(one.fermi_level):g}" for one in points]),
        ("T (K)", [f"{temperature:g}" for temperature in kelvin]),
    ]


def _cells(one: Quantity) -> list[str]:
    return [with_uncertainty(*pair) for pair in zip(map(float, one.mean), map(float, one.stderr), strict=True)]
