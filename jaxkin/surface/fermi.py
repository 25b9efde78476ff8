"""From a model and a level to its surface: search, replicas, refinement."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from jaxkin.errors import AccuracyWarning, JaxkinError
from jaxkin.estimate import Estimate
from jaxkin.hamiltonian.bloch import BlochModel
from jaxkin.parallel.share import Share
from jaxkin.surface.images import Image, moved, pocket_images
from jaxkin.surface.lines import Lines
from jaxkin.surface.maps import ZoneMap, zone_maps
from jaxkin.surface.points import point_geometry
from jaxkin.surface.samples import Sampler, Samples
from jaxkin.surface.search import Nodes, Pocket, certain_diameter, find_pockets
from jaxkin.surface.shells import Shell, Surface
from jaxkin.surface.spectrum import Spectrum
from jaxkin.surface.thermal import TAIL, Thermal
from jaxkin.symmetry.operations import Operation

FEWEST = 6
"""Lines that the least important thermal levels still get."""
COARSEST = 0.5
"""How much less resolved the search may be for them."""

Progress = Callable[[int, int, str], None]
"""Called with (done, total, what) while work goes on."""


def fermi_surface(
    model: BlochModel,
    fermi_level: float,
    temperature: float = 0.0,
    sampler: Sampler | None = None,
    replicas: int = 8,
    seed: int = 0,
    *,
    symmetry: bool | Sequence[Operation] = True,
    smallest_pocket: float | None = None,
    rtol: float | None = None,
    target: Callable[[Surface], np.ndarray] | None = None,
    budget: int = 5_000_000,
    share: Share | None = None,
    progress: Progress | None = None,
) -> Surface:
    """Sample the Fermi surface, or at T > 0 the constant-energy surfaces within −f⁰'.

    Args:
        model: any Bloch model.
        fermi_level: μ in eV.
        temperature: T in K.
        sampler: :class:`Lines` (default) or :class:`Grid`.
        replicas: independent random shifts; their scatter is the standard error.
        seed: makes the result reproducible.
        symmetry: of equivalent nodes of the search one is diagonalised, and of equivalent pockets one is
            sampled. True finds the symmetries of a crystal on H(k) where that pays (8 bands and more);
            a list of operations is verified first; False uses none.
        smallest_pocket: diameter in Å⁻¹ of a ball inside a pocket that must not be missed, by a bound on
            ‖∂H‖ (:mod:`jaxkin.surface.certificate`); None takes what the search's first nodes make certain.
        rtol: keep refining until the standard error of ``target`` is below ``rtol`` of its largest
            component, or ``budget`` diagonalisations are spent; ``surface.verdict`` says which.
        target: per-point values (N, ...) whose integral ``rtol`` refers to; m_a v_b by default.
        share: this process's part of the replicas, :mod:`jaxkin.parallel`; the surface then holds these only.
        progress: called with (done, total, what).

    Raises:
        JaxkinError: a Fermi level or temperature that is not a finite number, fewer replicas than 1 or processes.
        SymmetryError: an operation of ``symmetry`` that H(k) does not have.

    Warns:
        AccuracyWarning: no state at the Fermi level, a surface that leaves a k·p model's box, or ``rtol`` not met.
    """
    sampler = Lines() if sampler is None else sampler
    if not np.isfinite(fermi_level):
        raise JaxkinError(f"fermi_level={fermi_level} must be a finite energy in eV.")
    if not (np.isfinite(temperature) and temperature >= 0):
        raise JaxkinError(f"temperature={temperature} must be a finite number of kelvin, not negative.")
    if replicas < 1 or (rtol is not None and replicas < 2):
        raise JaxkinError(f"replicas={replicas}: at least 1 is needed, and 2 for rtol.")
    share = share or Share()
    if replicas < share.count:
        raise JaxkinError(f"{share.count} processes share {replicas} replicas: raise replicas, or use fewer processes.")
    maps = zone_maps(model, symmetry)
    plan = _Plan(model, Thermal(float(fermi_level), float(temperature)), seed, progress, maps, share, smallest_pocket)
    made = plan.replicas(sampler, range(replicas))
    if rtol is None:
        surface = plan.surface(sampler, made, f"{replicas} replicas as asked")
    else:
        surface = _refine(plan, sampler, made, replicas, rtol, target or _moment_velocity, budget)
    for message in surface.warnings:
        warnings.warn(message, AccuracyWarning, stacklevel=2)
    return surface


def _moment_velocity(surface: Surface) -> np.ndarray:
    return surface.orbital_moment[:, :, None] * surface.velocity[:, None, :]


@dataclass(frozen=True)
class _Replica:
    """Points of one random shift, sorted into shells of the given energies."""

    columns: dict[str, np.ndarray]
    shells: list[tuple[slice, float]]
    filling: np.ndarray


class _Plan:
    """What all refinements of one Fermi surface share: the pockets, the seeds and the counts."""

    def __init__(
        self,
        model: BlochModel,
        thermal: Thermal,
        seed: int,
        progress: Progress | None,
        maps: tuple[ZoneMap, ...],
        share: Share,
        smallest: float | None,
    ):
        self.model, self.thermal, self.seed, self.maps, self.share = model, thermal, seed, maps, share
        self.smallest = smallest
        self.report: Progress = progress or (lambda done, total, what: None)
        self.spectrum = Spectrum(model)
        self.nodes = Nodes(self.spectrum, maps)
        self.found: dict[tuple[float, float], list[Pocket]] = {}
        self.images: dict[tuple[float, float], list[Image]] = {}
        self.largest: float | None = None
        self.searched = 0

    def pockets(self, sampler: Sampler) -> list[list[Pocket]]:
        """Pockets of every window of the sampler."""
        before = self.spectrum.evaluations
        windows = sampler.windows(self.thermal)
        _, factors = sampler.levels(self.thermal, 0.5)
        for done, number in enumerate(np.argsort(-factors)):  # the most important first
            window = windows[number]
            if window not in self.found:
                self.report(done, len(windows), "searching pockets")
                detail = max(COARSEST, self.importance(float(factors[number])))
                self.found[window] = find_pockets(self.nodes, window, detail, self.smallest)
                self.images[window] = pocket_images(self.found[window], self.maps)
            if self.found[window] and self.largest is None:
                self.largest = float(factors[number])
        self.report(len(windows), len(windows), "searching pockets")
        self.searched += self.spectrum.evaluations - before
        return [self.found[window] for window in windows]

    def importance(self, factor: float) -> float:
        """How finely a thermal level is sampled relative to the most important one that has states."""
        return 1.0 if self.largest is None else min(1.0, (factor / self.largest) ** 0.125)

    def replicas(self, sampler: Sampler, which: range) -> list[_Replica]:
        """This process's replicas among ``which``; the same number always gets the same random shift."""
        self.pockets(sampler)
        which = self.share.of(which)
        streams = np.random.SeedSequence(self.seed).spawn(which.stop)
        made = []
        for done, number in enumerate(which):
            self.report(done, len(which), "sampling the surface")
            made.append(self._replica(sampler, np.random.default_rng(streams[number])))
        self.report(len(which), len(which), "sampling the surface")
        return made

    def _replica(self, sampler: Sampler, rng: np.random.Generator) -> _Replica:
        levels, factors = sampler.levels(self.thermal, rng.random())
        filling = []
        parts = [self._columns(sampler, _nothing(self.model), 0.0, 0.0)]
        for window, level, factor in zip(sampler.windows(self.thermal), levels, factors, strict=True):
            # Levels that hardly count get fewer lines: the integral stays unbiased for any number.
            n = max(min(sampler.n, FEWEST), round(sampler.n * self.importance(factor)))
            resized = sampler.resized(n)
            first = len(filling)
            for pocket, image in zip(self.found[window], self.images[window], strict=True):
                if image.map is None:
                    samples = resized.sample(self.spectrum, pocket, level, self.thermal, rng)
                    parts.append(self._columns(resized, samples, level, factor))
                    filling.append(float(self.model.measure) * samples.filling * factor)
                else:
                    parts.append(moved(parts[1 + first + image.source], image.map))
                    filling.append(filling[first + image.source])
        columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        columns["pocket"] = np.repeat(np.arange(-1, len(filling)), [len(part["k"]) for part in parts])
        return _Replica(*self._shells(sampler, columns), np.array(filling))

    def _shells(self, sampler: Sampler, columns: dict[str, np.ndarray]):
        """Sort the points by level, or by energy bin, and cut them into shells."""
        energy = columns.pop("level")
        width = sampler.bin_width(self.thermal)
        if width:
            energy = self.thermal.fermi_level + width * (
                np.floor((columns["energy"] - self.thermal.fermi_level) / width) + 0.5
            )
        order = np.argsort(energy, kind="stable")
        values, starts, counts = np.unique(energy[order], return_index=True, return_counts=True)
        shells = [
            (slice(int(start), int(start + count)), float(value))
            for value, start, count in zip(values, starts, counts, strict=True)
        ]
        return {name: column[order] for name, column in columns.items()}, shells

    def _columns(self, sampler: Sampler, samples: Samples, level: float, factor: float) -> dict[str, np.ndarray]:
        """Geometry and weights of one pocket's points; those of zero weight are dropped."""
        self.spectrum.evaluations += len(samples.k)
        geometry = point_geometry(self.model, samples.k, samples.band)
        slope = (geometry["velocity"] @ np.asarray(self.model.basis).T) * samples.edges
        weight, level_weight = sampler.weights(samples, geometry["energy"] - level, slope, self.thermal)
        measure = float(self.model.measure)
        columns = {
            "k": samples.k,
            "band": samples.band,
            "level": np.full(len(weight), level),
            "weight": measure * factor * weight,
            "level_weight": measure * level_weight,
            **geometry,
        }
        return {name: values[weight != 0] for name, values in columns.items()}

    def surface(self, sampler: Sampler, made: list[_Replica], verdict: str) -> Surface:
        columns = {name: np.concatenate([r.columns[name] for r in made]) for name in made[0].columns}
        starts = np.cumsum([0, *(len(r.columns["k"]) for r in made)])
        shells = tuple(
            Shell(slice(int(start) + part.start, int(start) + part.stop), number, energy)
            for number, (start, r) in enumerate(zip(starts, made, strict=False))
            for part, energy in r.shells
        )
        return Surface(
            model=self.model,
            fermi_level=self.thermal.fermi_level,
            temperature=self.thermal.temperature,
            sampler=sampler,
            replicas=len(made),
            seed=self.seed,
            replica=np.repeat(np.arange(len(made)), np.diff(starts)),
            shells=shells,
            pockets=tuple(pocket for window in self.pockets(sampler) for pocket in window),
            fillings=np.stack([r.filling for r in made]),
            # of all processes; the search, which each of them repeats, once
            evaluations=self.searched + self.share.total(self.spectrum.evaluations - self.searched),
            verdict=verdict,
            smallest_pocket=min(certain_diameter(self.model), self.smallest or np.inf),
            warnings=_doubts(self, columns["k"], sampler.n),
            **columns,
        )


def _nothing(model: BlochModel) -> Samples:
    d, none = model.dimension, np.zeros(0, int)
    return Samples(k=np.zeros((0, d)), band=none, axis=none, edges=np.ones(d), filling=0.0)


def _doubts(plan: _Plan, k: np.ndarray, n: int) -> tuple[str, ...]:
    """Reasons to distrust the surface as a whole."""
    if not plan.share.total(len(k)):
        spread = f" ± {TAIL:.0f} kT" if plan.thermal.temperature else ""
        return (
            f"no state was found at {plan.thermal.fermi_level:g} eV{spread}: the Fermi level lies in a gap or "
            "outside the bands; compare with model.bands(k) or `jaxkin info`.",
        )
    if not plan.model.periodic:
        lo, hi = np.array(plan.model.zone).T
        edge = 0.5 * (hi - lo) / n  # a cut surface has points in the outermost half spacing of the lines
        if plan.share.total(int(np.sum((k < lo + edge) | (k > hi - edge)))):
            return ("the Fermi surface leaves the k·p model's box and is cut there; enlarge `box`.",)
    return ()


GROWTH = 1.5
"""Factor by which the number of lines grows while that pays."""


def _refine(
    plan: _Plan, sampler: Sampler, made: list[_Replica], replicas: int, rtol: float, target: Callable, budget: int
) -> Surface:
    """More lines while the error falls faster with them than it would with replicas, else more replicas."""
    more_lines, before = True, (np.inf, 0)
    while True:
        surface = plan.surface(sampler, made, "")
        samples = plan.share.gather(surface.integrate(target(surface)).samples, replicas)
        error = _relative_error(Estimate(samples))
        cost = plan.share.total(len(surface))
        state = (
            f"relative error {error:.2g} with {replicas} replicas of n = {sampler.n}, {surface.evaluations} evaluations"
        )
        if error <= rtol:
            return replace(surface, verdict=f"rtol = {rtol:g} met: {state}")
        if cost == 0:
            return surface
        if before[1]:
            more_lines = error / before[0] < (before[1] / cost) ** 0.5
        before = (error, cost)
        n = int(np.ceil(GROWTH * sampler.n))
        extra = min(int(np.ceil(replicas * ((1.1 * error / rtol) ** 2 - 1))), 3 * replicas)
        growth = (n / sampler.n) ** (plan.model.dimension - 1) if more_lines else extra / replicas
        per_point = surface.evaluations / cost
        if surface.evaluations + growth * cost * per_point > budget:
            verdict = f"budget of {budget} evaluations spent before rtol = {rtol:g}: {state}"
            advice = (
                f"{verdict}. Likely causes: (a) the budget is small for this surface: raise `budget`; (b) bands nearly "
                "touch at this level, so the integrand peaks; (c) the target vanishes by symmetry: choose `target`."
            )
            return replace(surface, verdict=verdict, warnings=(*surface.warnings, advice))
        if more_lines:
            sampler = sampler.resized(n)
            made = plan.replicas(sampler, range(replicas))
        else:
            made = made + plan.replicas(sampler, range(replicas, replicas + extra))
            replicas += extra


def _relative_error(estimate: Estimate) -> float:
    largest = float(np.max(np.abs(estimate.mean), initial=0.0))
    return float(np.max(estimate.stderr, initial=0.0)) / largest if largest > 0 else np.inf
