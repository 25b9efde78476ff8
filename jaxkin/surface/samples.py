"""What a sampler hands on, and the interface that samplers share."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Protocol

import numpy as np

from jaxkin.surface.search import Pocket
from jaxkin.surface.spectrum import Spectrum


@dataclass(frozen=True)
class Samples:
    """Points on, or near, the level sets inside one pocket for one random shift.

    Attributes:
        k: (N, d) model coordinates.
        band: (N,) band index.
        level: (N,) index into the levels asked for.
        axis: (N,) direction of the line the point was found on.
        edges: (N, d) edges of the pocket's box in model coordinates.
        filling: (levels,) filled volume of the pocket: positive for electrons, negative for holes.
    """

    k: np.ndarray
    band: np.ndarray
    level: np.ndarray
    axis: np.ndarray
    edges: np.ndarray
    filling: np.ndarray

    @classmethod
    def joined(cls, parts: list[Samples]) -> Samples:
        """Points of several pockets together, one after another; fillings stay apart, (pockets, levels)."""
        joined = {
            f.name: np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(cls) if f.name != "filling"
        }
        return cls(**joined, filling=np.stack([part.filling for part in parts]))

    @classmethod
    def none(cls, dimension: int, levels: int) -> Samples:
        """No points at all."""
        empty = np.zeros(0, int)
        return cls(np.zeros((0, dimension)), empty, empty, empty, np.zeros((0, dimension)), np.zeros((0, levels)))


class Sampler(Protocol):
    """How level sets are turned into points: :class:`Lines` or :class:`Grid`."""

    @property
    def n(self) -> int:
        """Lines or points per direction of a pocket's box."""
        ...

    def reach(self, levels: np.ndarray) -> tuple[float, float]:
        """Energy window (eV) the search has to cover for these levels."""
        ...

    def sample(self, spectrum: Spectrum, pocket: Pocket, levels: np.ndarray, rng: np.random.Generator) -> Samples:
        """Points of ``pocket`` for every one of ``levels`` (eV) and one random shift."""
        ...

    def weights(self, samples: Samples, distance: np.ndarray, slope: np.ndarray) -> np.ndarray:
        """(N,) W with Σ W F ≈ ∫dκ δ(ε−level) F in model volume per eV.

        ``distance`` is ε − level in eV, ``slope`` ∂ε/∂x in eV per edge of the box, (N, d).
        """
        ...

    def resized(self, n: int) -> Sampler:
        """The same sampler with another ``n``."""
        ...
