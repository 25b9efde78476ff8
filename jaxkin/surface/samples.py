"""What a sampler hands on, and the interface that samplers share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from jaxkin.hamiltonian.spectrum import Spectrum
from jaxkin.surface.maps import ZoneMap
from jaxkin.surface.rule import Rule
from jaxkin.surface.search import Pocket
from jaxkin.surface.thermal import Thermal, levels


@dataclass(frozen=True)
class Samples:
    """Points on, or near, one level set inside one pocket for one random shift.

    Attributes:
        k: (N, d) model coordinates.
        band: (N,) band index.
        axis: (N,) direction of the line the point was found on.
        edges: (d,) edges of the pocket's box in model coordinates.
        volume: what each point stands for, in model coordinates, (N,) or one number.
        energy: (N,) in eV, where it is known.
        images: maps of the zone under which every point stands for its images, each with the point's weight.
    """

    k: np.ndarray
    band: np.ndarray
    axis: np.ndarray
    edges: np.ndarray
    volume: np.ndarray | float
    energy: np.ndarray | None = None
    images: tuple[ZoneMap, ...] = ()


class Decided(NamedTuple):
    """What the samples of all pockets, levels and replicas of one surface were made with, (N, ...).

    Attributes:
        start, band, pocket, axis, volume: of each point, as in :class:`Samples`.
        energy: of its shell in eV, and how wide that is where it is a bin of energies.
        weight, level_weight: as in :class:`jaxkin.Surface`.
        boxes: edges of each pocket's box, one a row, in model coordinates, (pockets, d, d).
    """

    start: np.ndarray
    band: np.ndarray
    pocket: np.ndarray
    axis: np.ndarray
    volume: np.ndarray
    energy: np.ndarray
    width: np.ndarray
    weight: np.ndarray
    level_weight: np.ndarray
    boxes: np.ndarray


class Sampler(Protocol):
    """How level sets, or the thermal shells round them, are turned into points."""

    @property
    def n(self) -> int:
        """Lines or points per direction of a pocket's box."""
        ...

    def resized(self, n: int) -> Sampler:
        """The same sampler with another ``n``."""
        ...

    def at(self, temperature: float) -> Sampler:
        """What samples at a temperature (K): this, or what stands for it there."""
        ...

    def windows(self, thermals: Sequence[Thermal]) -> list[tuple[float, float]]:
        """Energy intervals (eV) to search for pockets, one for each level."""
        ...

    def smooth(self, thermals: Sequence[Thermal]) -> float:
        """Variations (eV) of a band that need no resolution; 0 for level sets, which all matter."""
        ...

    def levels(self, thermals: Sequence[Thermal], shift: float) -> np.ndarray:
        """Levels (eV) to sample, which serve all ``thermals``, for one random shift in [0, 1)."""
        ...

    def sample(
        self,
        spectrum: Spectrum,
        pocket: Pocket,
        window: tuple[float, float],
        level: float,
        thermals: Sequence[Thermal],
        stabiliser: tuple[ZoneMap, ...],
        pockets: Sequence[Pocket],
        rng: np.random.Generator,
    ) -> Samples:
        """Points of a pocket for one level and one random shift.

        Args:
            spectrum: energies of the model.
            pocket: where the level set is.
            window: lowest and highest energy in eV.
            level: in eV.
            thermals: Fermi levels and temperatures that the points are for.
            stabiliser: the maps of the zone that map the pocket on itself.
            pockets: all of the window, this one too.
            rng: of the shift.
        """
        ...

    def profile(self, samples: Samples, distance: np.ndarray, slope: np.ndarray) -> np.ndarray:
        """(N,) P with Σ volume P F ≈ ∫dκ δ(ε−level)F in 1/eV, or one for points that stand for their volume.

        Args:
            samples: the points.
            distance: ε − level in eV, (N,).
            slope: ∂ε/∂x in eV per edge of the box, (N, d).
        """
        ...

    def rule(self, thermal: Thermal, decided: Decided) -> Rule:
        """How the points of a surface follow its μ, T and model."""
        ...

    def share(self, thermal: Thermal, level: np.ndarray, energy: np.ndarray) -> np.ndarray:
        """(N,) factor that makes W a weight of ∫dκ (−f⁰')F for points of ``level`` and ``energy`` (eV)."""
        ...

    def bin_width(self, thermal: Thermal) -> float | None:
        """Width (eV) of the energy bins that make shells of points of different energy; None: a level is a shell."""
        ...


class LevelSets:
    """What samplers have in common that take one level set at a time: −f⁰' is summed over a shifted trapezoid."""

    def levels(self, thermals: Sequence[Thermal], shift: float) -> np.ndarray:
        return levels(thermals, shift)

    def smooth(self, thermals: Sequence[Thermal]) -> float:
        return 0.0

    def share(self, thermal: Thermal, level: np.ndarray, energy: np.ndarray) -> np.ndarray:
        return thermal.share(level)

    def bin_width(self, thermal: Thermal) -> None:
        return None
