"""Line quadrature of the exact surface: the default sampler."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from jaxkin.checks import check_count, check_number, check_work
from jaxkin.hamiltonian.spectrum import Spectrum
from jaxkin.memory import demand
from jaxkin.surface.bundle import bundles
from jaxkin.surface.maps import ZoneMap
from jaxkin.surface.rule import LineRule, line_profile
from jaxkin.surface.samples import Decided, LevelSets, Samples
from jaxkin.surface.search import Pocket
from jaxkin.surface.thermal import Thermal, level_windows

POINT_BYTES = 450
"""That a point takes with its geometry, copies included."""


@dataclass(frozen=True)
class Lines(LevelSets):
    """Lattices of randomly shifted lines along each direction, every root on every line.

    In coordinates x ∈ [0, 1)^d of a pocket's box and with a partition of unity
    P_i = |∂_iε|^p / Σ_j |∂_jε|^p,

    ∫d^dx δ(ε−μ) F = Σ_i ∫d^{d−1}x_⊥ Σ_{roots on the line ∥ i} P_i F / |∂_iε|.

    There is no smearing and no bias: the mean over the random shift is the integral for every ``n``. Why:
    docs/method.md, "Line quadrature".

    Args:
        n: lines per perpendicular direction of each pocket's box (n^{d−1} lines for each direction).
        power: p, no unit, even or not; 6-8 leaves a very smooth integrand.

    Raises:
        JaxkinError: fewer lines than two, a power that is not from 1 to 100.
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
        thermals: Sequence[Thermal],
        stabiliser: tuple[ZoneMap, ...],
        pockets: Sequence[Pocket],
        rng: np.random.Generator,
    ) -> Samples:
        d = len(pocket.edges)
        check_work(self.n ** (d - 1), f"n = {self.n}: the lines along one direction of a pocket")
        crossed = sum(float(pocket.active.any(axis=axis + 1).mean(axis=tuple(range(1, d))).sum()) for axis in range(d))
        self._demand(0.5 * crossed * self.n ** (d - 1))  # nearly every such column has a root
        x, band, axes = [np.zeros((0, d))], [np.zeros(0, int)], [np.zeros(0, int)]
        for axis in range(d):
            for bundle in bundles(spectrum, pocket, level, axis, self.n, rng):
                line, t, of_band, _ = bundle.roots()
                x.append(bundle.points(line, t))
                band.append(of_band)
                axes.append(np.full(len(t), axis))
                self._demand(sum(map(len, x)))
        return Samples(
            k=pocket.origin + pocket.edges * np.concatenate(x),
            band=np.concatenate(band),
            axis=np.concatenate(axes),
            edges=pocket.edges,
            volume=float(np.prod(pocket.edges)) / self.n ** (len(pocket.edges) - 1),
            energy=np.full(sum(map(len, x)), level),
        )

    def profile(self, samples: Samples, distance: np.ndarray, slope: np.ndarray) -> np.ndarray:
        """P_i/|∂_iε| in 1/eV."""
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

    @staticmethod
    def _demand(points: float) -> None:
        demand(
            POINT_BYTES * points, f"the {points:.0f} points and more of one pocket", "raise it, or ask for a smaller n"
        )
