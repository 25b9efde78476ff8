"""The Fermi level that a density of carriers makes."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from scipy.optimize import root_scalar

from jaxkin import units
from jaxkin.checks import check_count, check_kind, check_number, shown
from jaxkin.errors import AccuracyWarning, JaxkinError
from jaxkin.estimate import Estimate
from jaxkin.hamiltonian.bloch import BlochModel
from jaxkin.surface.carriers import MOST_LINES, Carriers
from jaxkin.surface.maps import zone_maps
from jaxkin.surface.nodes import Nodes
from jaxkin.surface.plan import Progress
from jaxkin.surface.search import Pocket, find_pockets
from jaxkin.surface.spectrum import Spectrum
from jaxkin.surface.thermal import HOTTEST, Thermal

UNITS = {"cm": 1e8, "m": 1e10, "nm": 10.0, "A": 1.0, "Å": 1.0}
"""In Å."""
SIGNS = {"electrons": 1.0, "holes": -1.0}
WRITTEN = re.compile(r"\s*(\S+)\s+(cm|m|nm|A|Å)\^?[-−]([123])\s+(electrons|holes)\s*")
FIRST = 0.05
"""eV from the band's edge that is tried first."""
STEP = 1e-3
"""Of the bracket, over which the density of states is taken."""
NEAR = 10.0
"""Standard errors between which the level is looked for again with more points."""
FINER = 1.5
"""Times as many points."""
ENOUGH = 1e-9
"""eV to which the level is found."""
SMALLEST_GAP = 0.02
"""eV, from which on carriers are counted if it is the only one."""


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


def fermi_level(
    model: BlochModel,
    density: float | str,
    temperature: float = 0.0,
    *,
    carriers: Literal["electrons", "holes"] | None = None,
    filled: int | None = None,
    rtol: float = 3e-3,
    budget: int = 1_000_000,
    replicas: int = 4,
    seed: int = 0,
    progress: Progress | None = None,
) -> FermiLevel:
    """μ in eV at which a model has a net density of carriers, electrons − holes, at any temperature.

    Args:
        model: any Bloch model; its bands are counted as it has them (no spin factor).
        density: such as ``"1e18 cm^-3 holes"``; or a number in Å^-d, of ``carriers``, or without them positive for
            electrons and negative for holes.
        temperature: T in K.
        carriers: ``"electrons"`` or ``"holes"``, of which ``density`` is a positive number.
        filled: bands that are filled where there are no carriers. None takes the one gap of the model; where it has
            none, electrons are counted from empty bands and holes from full ones.
        rtol: accuracy, of the density; lines or points are added until the replicas show it.
        budget: diagonalisations after which none are added.
        replicas: independent samples; their scatter is the standard error of the level.
        seed: makes the result reproducible.
        progress: called with (done, total, what).

    Warns:
        AccuracyWarning: ``rtol`` was not reached.

    Raises:
        JaxkinError: a density that cannot be read or is more than the bands hold; several gaps to count from.

    >>> import jaxkin as jk
    >>> model = jk.models.get("haldane")
    >>> level = jk.fermi_level(model, "1e14 cm^-2 electrons", 300.0, replicas=2)
    >>> surface = jk.fermi_surface(model, level, 300.0, jk.Grid(48), replicas=2)
    >>> found = surface.carrier_density()
    >>> bool(abs((found["electrons"].mean - found["holes"].mean) / 1e-2 - 1) < 1e-3)
    True
    """
    check_kind("model", model, BlochModel, "a Bloch model, such as jaxkin.models.get('tellurium')")
    check_number("temperature", temperature, f"a number of kelvin from 0 to {HOTTEST:g}", least=0, most=HOTTEST)
    check_count("replicas", replicas)
    check_count("budget", budget)
    check_number("rtol", rtol, "a number above 0 and below 1", least=1e-12, most=1)
    wanted = _wanted(density, carriers, model.dimension)
    nodes = Nodes(Spectrum(model), zone_maps(model, True))
    energies = nodes.first.reshape(-1, model.size)
    filled = _neutral(energies, wanted) if filled is None else filled
    if not 0 <= filled <= model.size:
        raise JaxkinError(f"filled={filled} must be a number of bands from 0 to {model.size}.")
    everything = energies.max() - energies.min()
    if 0 < filled < model.size:
        below, above = energies[:, :filled].max(), energies[:, filled:].min()
        edge, inner = above if wanted > 0 else below, 0.5 * (below + above)
    else:
        edge = energies.mean()
        inner = edge - np.sign(wanted) * everything
    sign, reach = np.sign(wanted), max(FIRST, 5 * Thermal(0.0, temperature).width)
    sampled = _Sampled(nodes, temperature, filled, range(replicas), seed, budget, progress)
    while (net := sampled(inner, edge + sign * reach)).off(edge + sign * reach, wanted) < 0:
        if reach > 2 * everything:
            most = abs(net(edge + sign * reach).mean())
            raise JaxkinError(f"density={shown(density)}: the bands beyond the gap hold {most:.3g} Å^-d only.")
        reach *= 4
    if net.off(inner, wanted) > 0:
        raise JaxkinError(
            f"density={shown(density)}: at {temperature:g} K there are more, "
            f"{abs(net(inner).mean()):.3g} Å^-d, with the level in the middle of the gap."
        )
    low, high = inner, edge + sign * reach
    while True:
        level = float(root_scalar(net.off, (wanted,), bracket=(low, high), xtol=ENOUGH).root)
        samples, step = net(level), STEP * (high - low)
        slope = (net(level + step).mean() - net(level - step).mean()) / (2 * step)
        found = FermiLevel(Estimate(level - (samples - wanted) / slope, nodes.spectrum.evaluations))
        error = found.stderr * slope / abs(wanted)
        if not error > rtol:
            return found
        if net.n >= MOST_LINES[model.dimension] or nodes.spectrum.evaluations > budget:
            warnings.warn(
                f"the Fermi level of density={shown(density)} is known to {error:.1g} of the density with "
                f"{nodes.spectrum.evaluations} evaluations, not to rtol={rtol:g}; raise budget or replicas.",
                AccuracyWarning,
                stacklevel=2,
            )
            return found
        near, n = NEAR * found.stderr, int(FINER * net.n)
        low, high = level - near, level + near
        net = sampled(low, high, n)
        while net.off(low, wanted) * net.off(high, wanted) > 0:  # rare: it was more than NEAR standard errors off
            near *= 2
            low, high = level - near, level + near
            net = sampled(low, high, n)


class FermiLevel(float):
    """μ in eV, a number like any other, that knows its error.

    >>> level = FermiLevel(Estimate(np.array([0.1, 0.3])))
    >>> round(level, 3), round(float(level.stderr), 3)
    (0.2, 0.1)
    """

    estimate: Estimate
    """Of all replicas."""

    def __new__(cls, estimate: Estimate) -> FermiLevel:
        """The mean of an estimate."""
        level = super().__new__(cls, estimate.mean)
        level.estimate = estimate
        return level

    def __reduce__(self) -> tuple[type[FermiLevel], tuple[Estimate]]:
        return type(self), (self.estimate,)

    @property
    def mean(self) -> float:
        """The number itself."""
        return float(self)

    @property
    def stderr(self) -> float:
        """Standard error in eV over the replicas."""
        return float(self.estimate.stderr)


class _Sampled(NamedTuple):
    """How a model's carriers are counted at one temperature."""

    nodes: Nodes
    temperature: float
    filled: int
    """Bands that are full without carriers."""
    numbers: Sequence[int]
    """Of the replicas."""
    seed: int
    budget: int
    progress: Progress | None

    def __call__(self, one: float, other: float, n: int = 1) -> _Net:
        """Between two levels, with ``n`` lines or points along each direction or the fewest."""

        def pockets(interval: tuple[float, float], smooth: float) -> list[Pocket]:
            return find_pockets(self.nodes, interval, smooth=smooth)

        ends = [Thermal(level, self.temperature) for level in (one, other)]
        return _Net(self, Carriers(self.nodes, pockets, ends, self.seed, n))


class _Net(NamedTuple):
    """Electrons − holes in Å^-d of the replicas, at levels between two."""

    sampled: _Sampled
    carriers: Carriers

    @property
    def n(self) -> int:
        """Lines or points along each direction."""
        return self.carriers.points if self.sampled.temperature else self.carriers.lines

    def __call__(self, level: float) -> np.ndarray:
        """With what other bands than ``filled`` being full makes of the numbers of the carriers."""
        nodes, temperature, filled, numbers, _, budget, progress = self.sampled
        if progress is not None:
            progress(min(nodes.spectrum.evaluations, budget), budget, "Fermi level, H(k) at most")
        electrons, holes = self.carriers(Thermal(level, temperature), numbers).T
        band = float(nodes.spectrum.model.measure) * float(np.prod(self.carriers.edges))
        return electrons - holes + band * (self.carriers.full(level).sum() - filled)

    def off(self, level: float, wanted: float) -> float:
        """Logarithm of what is there over what is ``wanted``."""
        ratio = float(self(level).mean()) / wanted
        return np.log(ratio) if ratio > 0 else -100.0


def _wanted(density: float | str, carriers: str | None, dimension: int) -> float:
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


def _neutral(energies: np.ndarray, wanted: float) -> int:
    """The number of bands below the one gap; below no band or all of them where there is none."""
    gaps = energies[:, 1:].min(axis=0) - energies[:, :-1].max(axis=0)
    found = [n + 1 for n in np.flatnonzero(gaps > SMALLEST_GAP).tolist()]
    if len(found) > 1:
        raise JaxkinError(
            f"carriers are counted from a gap, and this model has several, above {found} bands: say how many bands are "
            "`filled` without them."
        )
    return found[0] if found else 0 if wanted > 0 else energies.shape[1]
