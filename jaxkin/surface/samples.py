"""What a sampler hands on, and the interface that samplers share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from jaxkin.surface.search import Pocket
from jaxkin.surface.spectrum import Spectrum


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

    def reach(self, low: float, high: float) -> tuple[float, float]:
        """Energy window (eV) the search has to cover for levels from ``low`` to ``high``."""
        ...

    def sample(self, spectrum: Spectrum, pocket: Pocket, level: float, rng: np.random.Generator) -> Samples:
        """Points of ``pocket`` at ``level`` (eV) for one random shift."""
        ...

    def weights(self, samples: Samples, distance: np.ndarray, slope: np.ndarray) -> np.ndarray:
        """(N,) W with Σ W F ≈ ∫dκ δ(ε−level) F in model volume per eV.

        ``distance`` is ε − level in eV, ``slope`` ∂ε/∂x in eV per edge of the box, (N, d).
        """
        ...

    def resized(self, n: int) -> Sampler:
        """The same sampler with another ``n``."""
        ...
