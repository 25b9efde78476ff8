"""The Fermi level that a density of carriers makes."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import root_scalar

from jaxkin import units
from jaxkin.checks import check_count, check_kind, check_number, check_progress, numbers
from jaxkin.errors import AccuracyWarning, JaxkinError
from jaxkin.estimate import Estimate
from jaxkin.hamiltonian.bloch import BlochModel
from jaxkin.hamiltonian.spectrum import Spectrum
from jaxkin.surface.carriers import MOST_LINES, Carriers
from jaxkin.surface.density import net_density
from jaxkin.surface.maps import zone_maps
from jaxkin.surface.nodes import Nodes
from jaxkin.surface.plan import Progress
from jaxkin.surface.search import Pocket, find_pockets
from jaxkin.surface.thermal import HOTTEST, TAIL, Thermal

FIRST = 0.05
"""eV from the band's edge that is tried first."""
STEP = 1e-3
"""Of the bracket, over which the density of states is taken."""
NEAR = 10.0
"""Standard errors between which the level is looked for again with more points."""
FINER = 1.5
"""Times as many points."""
COARSE = 0.4
"""Of the fewest points suffice to bracket levels at T > 0."""
NARROW = 0.1
"""kT by which such a bracket is wider than its error at least."""
HALF = 0.5 * TAIL
"""kT within which levels have their lattices in common."""
LEFT_OUT = 1e-3
"""Of ``rtol``: states less occupied than those next to the gap by this are not counted."""
ENOUGH = 1e-9
"""eV to which the level is found."""
SMALLEST_GAP = 0.02
"""eV, from which on carriers are counted if it is the only one."""


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

    How carriers are counted: docs/method.md, "Electrons and holes".

    Args:
        model: any Bloch model; its bands are counted as it has them (no spin factor).
        density: such as ``"1e18 cm^-3 holes"``; or a number in Å^-d, of ``carriers``, or without them positive for
            electrons and negative for holes.
        temperature: T in K.
        carriers: ``"electrons"`` or ``"holes"``, of which ``density`` is a positive number.
        filled: bands that are filled where there are no carriers. None takes the one gap of the model; where it has
            none, electrons are counted from empty bands and holes from full ones.
        rtol: relative accuracy of the density; lines or points are added until the replicas show it.
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
    if not isinstance(density, str):
        check_number("density", density, "a number in Å^-d, or a text such as '1e18 cm^-3 holes' (many: fermi_levels)")
    return fermi_levels(
        model,
        [density],
        temperature,
        carriers=carriers,
        filled=filled,
        rtol=rtol,
        budget=budget,
        replicas=replicas,
        seed=seed,
        progress=progress,
    )[0]


def fermi_levels(
    model: BlochModel,
    densities: Sequence[float | str],
    temperatures: ArrayLike = 0.0,
    *,
    carriers: Literal["electrons", "holes"] | None = None,
    filled: int | None = None,
    rtol: float = 3e-3,
    budget: int = 1_000_000,
    replicas: int = 4,
    seed: int = 0,
    progress: Progress | None = None,
) -> list[FermiLevel]:
    """μ in eV of many densities and temperatures, which share all they can.

    All share the symmetries and the search; at one temperature a coarse lattice brackets all levels, and those that lie
    within half of what −f⁰' reaches have their fine lattices in common, so that many cost little more than one.
    How carriers are counted: docs/method.md, "Electrons and holes".

    Args:
        model, carriers, filled, rtol, replicas, seed, progress: as in :func:`fermi_level`.
        densities, temperatures: as there, broadcast against each other.
        budget: diagonalisations for each level.

    Raises:
        JaxkinError: as :func:`fermi_level`, and shapes that do not broadcast.

    Warns:
        AccuracyWarning: ``rtol`` was not reached.

    >>> import jaxkin as jk
    >>> model = jk.models.get("haldane")
    >>> levels = jk.fermi_levels(model, [1e-3, 2e-3], 300.0, carriers="electrons", replicas=2)
    >>> one = jk.fermi_level(model, 1e-3, 300.0, carriers="electrons", replicas=2)
    >>> bool(abs(float(levels[0]) - float(one)) < 1e-3), bool(levels[1] > levels[0])
    (True, True)
    """
    check_kind("model", model, BlochModel, "a Bloch model, such as jaxkin.models.get('tellurium')")
    check_count("replicas", replicas)
    check_count("budget", budget)
    check_number("rtol", rtol, "a number above 0 and below 1", least=1e-12, most=1)
    check_progress(progress)
    given = np.asarray(densities, object)
    if not given.size:
        raise JaxkinError("densities=[] must be at least one density.")
    wanted = np.array([net_density(one, carriers, model.dimension) for one in given.ravel()]).reshape(given.shape)
    kelvin = numbers("temperatures", temperatures, f"numbers of kelvin from 0 to {HOTTEST:g}")
    for one in kelvin.ravel().tolist():
        check_number("temperature", one, f"a number of kelvin from 0 to {HOTTEST:g}", least=0, most=HOTTEST)
    try:
        pairs = list(zip(*(part.ravel().tolist() for part in np.broadcast_arrays(wanted, kelvin)), strict=True))
    except ValueError as error:
        raise JaxkinError(f"densities and temperatures do not fit together: {error}.") from None
    nodes, found = Nodes(Spectrum(model), zone_maps(model, True)), {}
    for one, sign in sorted({(one, float(np.sign(net))) for net, one in pairs}):
        sampled = _Sampled(nodes, one, sign, filled, range(replicas), seed, rtol, budget, progress).counted()
        these = sorted({net for net, other in pairs if other == one and net * sign > 0}, key=abs)
        found |= {(net, one): level for net, level in sampled.levels(these).items()}
    return [found[pair] for pair in pairs]


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
    """How a model's carriers of one sign are counted at one temperature."""

    nodes: Nodes
    temperature: float
    sign: float
    filled: int | None
    """Bands that are full without carriers."""
    numbers: Sequence[int]
    """Of the replicas."""
    seed: int
    rtol: float
    budget: int
    progress: Progress | None

    def __call__(self, one: float, other: float, n: int = 1, coarse: float = 1.0) -> _Net:
        """Between two levels, with ``n`` lines or points along each direction or the fewest."""

        def pockets(interval: tuple[float, float], smooth: float) -> list[Pocket]:
            return find_pockets(self.nodes, interval, smooth=smooth)

        ends = [Thermal(level, self.temperature) for level in (one, other)]
        least = LEFT_OUT * self.rtol
        return _Net(self, Carriers(self.nodes, pockets, ends, self.seed, n, coarse=coarse, least=least))

    def counted(self) -> _Sampled:
        """With the number of bands that carriers are counted from."""
        size = self.nodes.spectrum.model.size
        filled = _neutral(self._energies, self.sign) if self.filled is None else self.filled
        if not 0 <= filled <= size:
            raise JaxkinError(f"filled={filled} must be a number of bands from 0 to {size}.")
        return self._replace(filled=filled)

    @property
    def _energies(self) -> np.ndarray:
        return self.nodes.first.reshape(-1, self.nodes.spectrum.model.size)

    def levels(self, wanted: Sequence[float]) -> dict[float, FermiLevel]:
        """Those of electrons − holes in Å^-d, all of one sign, in the order of their sizes."""
        before, kT = self.nodes.spectrum.evaluations, units.BOLTZMANN * self.temperature
        net, low, high = self._between(wanted)
        found = {one: net.level(one, low, high) for one in wanted}
        n = 1 if self.temperature else int(FINER * net.n)
        rough = [one for one in wanted if self.temperature or found[one].error > self.rtol]
        while rough:
            for group in _together({one: found[one].level for one in rough}, HALF * kT):
                near = {one: max(np.nan_to_num(NEAR * found[one].level.stderr), NARROW * kT) for one in group}
                ends = [(found[one].level - near[one], found[one].level + near[one]) for one in group]
                net = self(min(low for low, _ in ends), max(high for _, high in ends), n)
                for one, (low, high) in zip(group, ends, strict=True):
                    while net.off(low, one) * net.off(high, one) > 0:  # rare: more than NEAR standard errors off
                        low, high = 2 * low - found[one].level, 2 * high - found[one].level
                    found[one] = net.level(one, low, high)
            rough = [one for one in rough if found[one].error > self.rtol]
            spent = self.nodes.spectrum.evaluations - before
            if rough and (
                net.n >= MOST_LINES[self.nodes.spectrum.model.dimension] or spent > self.budget * len(wanted)
            ):
                for one in rough:
                    warnings.warn(
                        f"the Fermi level of density={one:.6g} Å^-d is known to {found[one].error:.1g} of the density "
                        f"with {spent} evaluations, not to rtol={self.rtol:g}; raise budget or replicas.",
                        AccuracyWarning,
                        stacklevel=3,
                    )
                break
            n = int(FINER * net.n)
        return {one: level for one, (level, _) in found.items()}

    def _between(self, wanted: Sequence[float]) -> tuple[_Net, float, float]:
        """Two levels between which all are, and what counts there.

        Raises:
            JaxkinError: there are none.
        """
        energies, filled, sign = self._energies, self.filled, self.sign
        assert filled is not None
        everything = energies.max() - energies.min()
        if 0 < filled < energies.shape[1]:
            below, above = energies[:, :filled].max(), energies[:, filled:].min()
            edge, inner = above if sign > 0 else below, 0.5 * (below + above)
        else:
            edge = energies.mean()
            inner = edge - sign * everything
        reach = max(FIRST, 5 * Thermal(0.0, self.temperature).width)
        while (net := self(inner, edge + sign * reach, coarse=COARSE)).off(edge + sign * reach, wanted[-1]) < 0:
            if reach > 2 * everything:
                most = abs(net(edge + sign * reach).mean())
                raise JaxkinError(f"density={wanted[-1]:g}: the bands beyond the gap hold {most:.3g} Å^-d only.")
            reach *= 4
        if net.off(inner, wanted[0]) > 0:
            raise JaxkinError(
                f"density={wanted[0]:g}: at {self.temperature:g} K there are more, "
                f"{abs(net(inner).mean()):.3g} Å^-d, with the level in the middle of the gap."
            )
        return net, inner, edge + sign * reach


class _Found(NamedTuple):
    """A level, and the standard error of the density there, of that density."""

    level: FermiLevel
    error: float


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
        nodes, progress, budget = self.sampled.nodes, self.sampled.progress, self.sampled.budget
        if progress is not None:
            progress(min(nodes.spectrum.evaluations, budget), budget, "Fermi level, H(k) at most")
        electrons, holes = self.carriers(Thermal(level, self.sampled.temperature), self.sampled.numbers).T
        band = float(nodes.spectrum.model.measure) * float(np.prod(self.carriers.edges))
        return electrons - holes + band * (self.carriers.full(level).sum() - self.sampled.filled)

    def level(self, wanted: float, low: float, high: float) -> _Found:
        """Where there are ``wanted``, between two levels of which one has more and one less."""
        level = float(root_scalar(self.off, (wanted,), bracket=(low, high), xtol=ENOUGH).root)
        samples, step = self(level), STEP * (high - low)
        slope = (self(level + step).mean() - self(level - step).mean()) / (2 * step)
        found = Estimate(level - (samples - wanted) / slope, self.sampled.nodes.spectrum.evaluations)
        return _Found(FermiLevel(found), float(found.stderr) * slope / abs(wanted))

    def off(self, level: float, wanted: float) -> float:
        """Logarithm of what is there over what is ``wanted``."""
        ratio = float(self(level).mean()) / wanted
        return np.log(ratio) if ratio > 0 else -100.0


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


def _together(levels: Mapping[float, float], width: float) -> list[list[float]]:
    """The densities of ``levels`` in groups whose levels lie within ``width`` (eV); each by itself without any."""
    groups: list[list[float]] = []
    for one in sorted(levels, key=levels.__getitem__):
        if groups and width and levels[one] - levels[groups[-1][0]] <= width:
            groups[-1].append(one)
        else:
            groups.append([one])
    return groups
