"""What drives the magnetization that tables and pictures show: a field, or a current density."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from jaxkin.estimate import Estimate
from jaxkin.response.conductivity import Conductivity
from jaxkin.response.gyrotropic import GyrotropicResponse


class Drive(NamedTuple):
    """E in V/m, or j in A/m² (in 2D: A/m)."""

    vector: tuple[float, float, float]
    current: bool = False

    def along(self, response: GyrotropicResponse, sigma: Conductivity) -> dict[str, Estimate]:
        """μ₀M along the drive in gauss, (frequency,), by mechanism; a current drives it through ``sigma``."""
        direction = np.array(self.vector) / (float(np.linalg.norm(self.vector)) or 1.0)
        made = response.magnetization_gauss(sigma.electric_field(self.vector) if self.current else self.vector)
        return {name: part.map(lambda m: m @ direction) for name, part in made.items()}

    def label(self, dimension: int) -> str:
        """Its symbol, size and unit.

        >>> Drive((0.0, 0.0, 1e4)).label(3), Drive((0.0, 0.0, 1e6), current=True).label(3)
        ('E = 10000 V/m', 'j = 1e+06 A/m²')
        """
        size = np.linalg.norm(self.vector)
        unit = {3: "A/m²", 2: "A/m", 1: "A"}[dimension]
        return f"j = {size:g} {unit}" if self.current else f"E = {size:g} V/m"
