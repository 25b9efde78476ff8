"""Units of data columns, ``name[unit]``, and their factors to what the package uses."""

from __future__ import annotations

import re

from scipy import constants as si

from jaxkin import units
from jaxkin.errors import FileFormatError, nearest

_DEGREE = si.degree
_PER_LENGTH = {"m": 1.0, "cm": 1e2, "mm": 1e3, "um": 1e6}
_ROTATION = {f"rad/{length}": factor for length, factor in _PER_LENGTH.items()} | {
    f"deg/{length}": _DEGREE * factor for length, factor in _PER_LENGTH.items()
}
_GAUSS = 1 / (units.VACUUM_PERMEABILITY * units.TESLA_TO_GAUSS)  # A/m for μ₀M = 1 G

FACTORS: dict[str, dict[str, float]] = {
    "frequency": {
        "THz": 1.0,
        "GHz": 1e-3,
        "Hz": 1e-12,
        "rad/ps": 1 / (2 * si.pi),
        "meV": 1e-3 / (2 * si.pi * units.HBAR),
        "eV": 1 / (2 * si.pi * units.HBAR),
        "cm-1": si.c * 1e2 * 1e-12,
    },
    "temperature": {"K": 1.0, "mK": 1e-3},
    "field": {"V/m": 1.0, "V/cm": 1e2, "kV/m": 1e3, "kV/cm": 1e5},
    "current_density": {"A/m2": 1.0, "A/cm2": 1e4, "A/mm2": 1e6},
    "rotation": _ROTATION,
    "dichroism": _ROTATION,
    "magnetization": {"A/m": 1.0, "G": _GAUSS, "mG": 1e-3 * _GAUSS, "T": 1e4 * _GAUSS, "uT": 1e-2 * _GAUSS},
    "conductivity": {"S/m": 1.0, "S/cm": 1e2, "kS/m": 1e3, "kS/cm": 1e5, "S": 1.0},
}
for _name in ("conductivity_imaginary", "hall_conductivity", "hall_conductivity_imaginary"):
    FACTORS[_name] = FACTORS["conductivity"]
"""Factor of every unit of every column to THz, K, V/m, A/m², rad/m, A/m, S/m (sheets: S)."""

PACKAGE_UNITS = {name: next(iter(known)) for name, known in FACTORS.items()}
"""THz, K, V/m, A/m2, rad/m, A/m, S/m."""
CONDITIONS = ("frequency", "temperature", "field", "current_density")
"""Columns that say where a point was measured ..."""
QUANTITIES = tuple(name for name in FACTORS if name not in CONDITIONS)
"""... and what was measured."""


def factor(where: str, name: str, unit: str) -> float:
    """From ``unit`` to the package's unit of a column.

    Raises:
        FileFormatError: a column without unit, or with an unknown one; names those that are known.
    """
    known = FACTORS[name.removesuffix("_error")]
    if not unit:
        raise FileFormatError(
            f"{where}: column {name!r} states no unit; write {name}[{next(iter(known))}] (or {', '.join(known)})."
        )
    plain = unit.replace("^", "").replace("**", "").replace("²", "2").replace("µ", "u").replace("μ", "u")
    plain = {"1/cm": "cm-1", "cm⁻¹": "cm-1", "deg": "deg"}.get(plain, plain)
    if plain not in known:
        raise FileFormatError(f"{where}: unit {unit[:60]!r} of {name!r} is unknown{nearest(plain, known)}; "
                              f"choose from {', '.join(known)}.")  # fmt: skip
    return known[plain]


def split(where: str, header: str) -> tuple[str, str]:
    """Name and unit of a column header ``name[unit]``.

    Raises:
        FileFormatError: a name that is not a condition, a quantity, or a quantity's ``_error``.

    >>> split("file.csv", " rotation_error [deg/mm]")
    ('rotation_error', 'deg/mm')
    """
    match = re.fullmatch(r"\s*([A-Za-z_0-9]+)\s*(?:\[\s*(.*?)\s*\])?\s*", header)
    name, unit = (match[1], match[2] or "") if match else (header.strip(), "")
    known = [*FACTORS, *(f"{quantity}_error" for quantity in QUANTITIES)]
    if name not in known:
        raise FileFormatError(f"{where}: column {name[:60]!r} is unknown{nearest(name, known)}; "
                              f"known: {', '.join(FACTORS)}, and an _error of each quantity.")  # fmt: skip
    return name, unit
