"""Line quadrature of the exact surface: the default sampler."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from jaxkin.checks import check_count, check_number, check_work
from jaxkin.memory import demand
from jaxkin.surface.bundle import Bundle
from jaxkin.surface.maps import ZoneMap
from jaxkin.surface.rule import LineRule, line_profile
from jaxkin.surface.samples import Decided, LevelSets, Samples
from jaxkin.surface.search import Pocket
from jaxkin.surface.spectrum import Spectrum
from jaxkin.surface.thermal import Thermal, level_windows

LINE_BYTES = 400
"""That a line takes while its roots are looked for."""


@dataclass(frozen=True)
class Lines(LevelSets):
    """Lattices of randomly shifted lines along each direction, every root on every line.

    In coordinates x ∈ [0, 1)^d of a pocket's box and with a partition of unity
    P_i = |∂_iε|^p / Σ_j |∂_jε|^p,

    ∫d^dx δ(ε−μ) F = Σ_i ∫d^{d−1}x_⊥ Σ_{roots on the line ∥ i} P_i F / |∂_iε|.

    There is no smearing and no bias: the mean over the random shift is the integral for every ``n``.

    Args:
        n: lines per perpendicular direction of each pocket's box (n^{d−1} lines for each direction).
        power: p, even or not; 6-8 leaves a very smooth integrand.
    """

    n: int = 32
    power: float = 8

    def __post_init__(self):
        check_count("n", self.n, 2)
        check_number("power", self.power, "a number from 1 to 100", least=1, most=100)

    def resized(self, n: int) -> Lines:
        return replace(self, n=n)

    def at(self, temperature: float) -> Lines:
        return self

    def windows(self, thermals: Sequence[Thermal]) -> list[tuple[float, float]]:
        return level_windows(thermals)

    def sample(
        self,
        spectrum: Spectrum,
        pocket: Pocket,
        window: tuple[float, float],
        level: float,
        stabiliser: tuple[ZoneMap, ...],
        rng: np.random.Generator,
    ) -> Samples:
        pieces = [self._along(spectrum, pocket, level, axis, rng) for axis in range(len(pocket.edges))]
        x, band, filling = zip(*pieces, strict=True)
        return Samples(
            k=pocket.origin + pocket.edges * np.concatenate(x),
            band=np.concatenate(band),
            axis=np.repeat(np.arange(len(x)), [len(part) for part in x]),
            edges=pocket.edges,
            volume=float(np.prod(pocket.edges)) / self.n ** (len(pocket.edges) - 1),
            filling=sum(filling),
            energy=np.full(sum(map(len, x)), level),
        )

    def profile(self, samples: Samples, distance: np.ndarray, slope: np.ndarray) -> np.ndarray:
        """P_i/|∂_iε|."""
        return line_profile(slope, samples.axis, self.power)

    def rule(self, thermal: Thermal, decided: Decided) -> LineRule:
        return LineRule(
            start=decided.start,
            band=decided.band,
            pocket=decided.pocket,
            volume=decided.volume,
            axis=decided.axis,
            height=(decided.energy - thermal.fermi_level) / (thermal.width or 1.0),
            share=decided.weight / decided.level_weight,
            reference=decided.level_weight,
            boxes=decided.boxes,
            power=self.power,
        )

    def _along(self, spectrum: Spectrum, pocket: Pocket, level: float, axis: int, rng: np.random.Generator):
        """All roots on the lines along ``axis``: their box coordinates and bands; and the filling."""
        d = len(pocket.edges)
        shift = rng.random(d - 1)
        check_work(self.n ** (d - 1), f"n = {self.n}: the lines along one direction of a pocket")
        demand(LINE_BYTES * self.n ** (d - 1), f"{self.n}^{d - 1} lines", "raise it, or ask for a smaller n")
        grid = np.array(list(np.ndindex((self.n,) * (d - 1))))  # one line, no coordinates across, for d = 1
        bundle = Bundle(spectrum, pocket, level, axis, (grid + shift) / self.n)
        line, t, band, rising = bundle.roots()
        signed = float(np.sum(np.where(rising, t, -t))) / len(grid)
        return bundle.points(line, t), band, self._filling(pocket, axis, signed, bundle.starts_filled)

    @staticmethod
    def _filling(pocket: Pocket, axis: int, signed: float, starts_filled: Callable[[], float]) -> float:
        """Filled volume from the mean over lines of Σ ± t at their roots (+1 where a line starts filled).

        A closed direction counts from the outside of the pocket, so holes come out negative. A pocket
        without a closed direction counts all electrons of its bands, along the first axis.
        """
        if pocket.closed.any():
            length = signed / pocket.closed.sum() if pocket.closed[axis] else 0.0
        else:
            length = signed + starts_filled() if axis == 0 else 0.0
        return float(np.prod(pocket.edges) * length)
