"""What tables of the configuration are made of."""

from __future__ import annotations

from typing import Literal

import msgspec
import numpy as np

from jaxkin.checks import MOST_VALUES, check_count, check_number
from jaxkin.checks import numbers as finite
from jaxkin.errors import ConfigError

Vector = tuple[float, float, float]
Floats = float | list[float]


class Section(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """A table of the configuration; unknown keys are errors."""


class Range(Section, frozen=True):
    """``count`` values from ``start`` to ``stop``, both included."""

    start: float
    stop: float
    count: int
    spacing: Literal["linear", "log"] = "linear"

    def values(self, key: str) -> np.ndarray:
        check_count(f"{key}: count", self.count, most=MOST_VALUES)
        check_number(f"{key}: start", self.start, "a finite number")
        check_number(f"{key}: stop", self.stop, "a finite number")
        if self.spacing == "log":
            if self.start <= 0 or self.stop <= 0:
                raise ConfigError(f"{key}: a range with log spacing needs positive start and stop.")
            return np.geomspace(self.start, self.stop, self.count)
        return np.linspace(self.start, self.stop, self.count)


def numbers(key: str, value: Floats | Range | None) -> np.ndarray:
    """The scalar, list or range of a key as an array."""
    values = value.values(key) if isinstance(value, Range) else np.atleast_1d(finite(key, value, "finite numbers"))
    if not values.size:
        raise ConfigError(f"{key}: an empty list where at least one number is needed.")
    return values
