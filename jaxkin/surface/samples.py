"""What a sampler hands on, and the interface that samplers share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from jaxkin.surface.search import Pocket
from jaxkin.surface.spectrum import Spectrum
from jaxkin.surface.thermal import Thermal


@dataclass(frozen=True)
class Samples:
    """Points on, or near, one level set inside one pocket for one random shift.

    Attributes:
        k: (N, d) model coordinates.
        band: (N,) band index.
        axis: (N,) direction of the line the point was found on.
        edges: (d,) edges of the pocket's box in model coordinates.
        filling: filled volume of the pocket: positive for electrons, negative for holes.
    """

    k: np.ndarray
    band: np.ndarray
    axis: np.ndarray
    edges: np.ndarray
    filling: float


class Sampler(Protocol):
    """How level sets are turned into points: :class:`Lines` or :class:`Grid`."""

    @property
    def n(self) -> int:
        """Lines or points per direction of a pocket's box."""
        ...

    def resized(self, n: int) -> Sampler:
        """The same sampler with another ``n``."""
        ...

    def windows(self, thermal: Thermal) -> list[tuple[float, float]]:
        """Energy intervals (eV) to search for pockets, one for each level."""
        ...

    def levels(self, thermal: Thermal, shift: float) -> tuple[np.ndarray, np.ndarray]:
        """Levels (eV) to sample and the factor of each in ∫dε (−f⁰')."""
        ...

    def sample(
        self, spectrum: Spectrum, pocket: Pocket, level: float, thermal: Thermal, rng: np.random.Generator
    ) -> Samples:
        """Points of ``pocket`` for ``level`` (eV) and one random shift."""
        ...

    def weights(
        self, samples: Samples, distance: np.ndarray, slope: np.ndarray, thermal: Thermal
    ) -> tuple[np.ndarray, np.ndarray]:
        """(N,) W and W_ε with Σ W F ≈ ∫dκ (−f⁰')F up to the level's factor and Σ_shell W_ε F ≈ ∫dκ δ(ε−ε_shell)F.

        In model volume per eV; ``distance`` is ε − level in eV, ``slope`` ∂ε/∂x in eV per edge of the
        box, (N, d).
        """
        ...

    def bin_width(self, thermal: Thermal) -> float | None:
        """Width (eV) of the energy bins that make shells of points of different energy; None: a level is a shell."""
        ...
