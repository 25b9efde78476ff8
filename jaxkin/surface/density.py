"""Densities of carriers, and how they are written."""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np

from jaxkin import units
from jaxkin.checks import check_number, shown
from jaxkin.errors import JaxkinError

UNITS = {"cm": 1e8, "m": 1e10, "nm": 10.0, "A": 1.0, "Å": 1.0}
"""In Å."""
SIGNS = {"electrons": 1.0, "holes": -1.0}
WRITTEN = re.compile(r"\s*(\S+)\s+(cm|m|nm|A|Å)\^?[-−]([123])\s+(electrons|holes)\s*")


class Density(NamedTuple):
    """A density of carriers."""

    value: float
    """Electrons − holes in Å^-d."""
    dimension: int

    @property
    def carriers(self) -> str:
        """What there are."""
        return "electrons" if self.value > 0 else "holes"

    @property
    def per_cm(self) -> float:
        """How many in cm^-d."""
        return abs(self.value) * units.per_cm(self.dimension)

    @classmethod
    def read(cls, text: str, dimension: int, carriers: str | None = None) -> Density:
        """From such as ``"1e18 cm^-3 holes"``; of other ``carriers`` it is refused.

        Raises:
            JaxkinError: it is not written so.

        >>> Density.read("1e18 cm^-3 holes", 3)
        Density(value=-1e-06, dimension=3)
        """
        found = WRITTEN.fullmatch(text)
        try:
            assert found
            number = float(found[1])
            assert np.isfinite(number) and number > 0 and int(found[3]) == dimension
            assert carriers in (None, found[4])
        except (AssertionError, ValueError):
            raise JaxkinError(
                f"density={shown(text)} cannot be read: write it as '1e18 cm^-{dimension} {carriers or 'holes'}'"
                f"{'' if carriers else ', or electrons'}."
            ) from None
        return cls(SIGNS[found[4]] * number / UNITS[found[2]] ** dimension, dimension)


def net_density(density: float | str, carriers: str | None, dimension: int) -> float:
    """Electrons − holes in Å^-d."""
    if carriers is not None and carriers not in SIGNS:
        raise JaxkinError(f"carriers={shown(carriers)} must be 'electrons' or 'holes'.")
    if isinstance(density, str):
        return Density.read(density, dimension, carriers).value
    check_number("density", density, "a number in Å^-d, or a text such as '1e18 cm^-3 holes'")
    if density == 0:
        raise JaxkinError("density=0: give a density of electrons, or of holes; in between lies the whole gap.")
    if carriers is None:
        return float(density)
    if density < 0:
        raise JaxkinError(f"density={shown(density)} of carriers={carriers!r} must be a positive number in Å^-d.")
    return SIGNS[carriers] * float(density)
