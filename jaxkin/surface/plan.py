"""What all refinements of the surfaces of one or many Fermi levels share: pockets, seeds, counts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import NamedTuple

import numpy as np

from jaxkin.hamiltonian.bloch import BlochModel
from jaxkin.hamiltonian.eigensystem import DEGENERACY
from jaxkin.hamiltonian.spectrum import Spectrum
from jaxkin.memory import demand
from jaxkin.parallel.share import Share
from jaxkin.shelf import Arrays, Shelf, digest
from jaxkin.surface.carriers import Carriers
from jaxkin.surface.images import Image, pocket_images, stabiliser
from jaxkin.surface.maps import ZoneMap
from jaxkin.surface.nodes import Nodes
from jaxkin.surface.orbits import Orbits
from jaxkin.surface.points import kept_vectors
from jaxkin.surface.replica import Gathering, Replica, joined, room
from jaxkin.surface.resolution import RESOLVED, energy_noise
from jaxkin.surface.samples import Decided, Sampler, Samples
from jaxkin.surface.search import Pocket, certain_diameter, find_pockets
from jaxkin.surface.singular import flat_doubts, van_hove_doubts
from jaxkin.surface.surface import Kept, Layout, Surface
from jaxkin.surface.thermal import TAIL, Thermal

FEWEST = 6
"""Lines that the least important thermal levels still get."""
COARSEST = 0.5
"""How much less resolved the search may be for them."""
FEW = 10
"""Points of a lattice that carry a replica's density of states: fewer are too few."""
FEWEST_IN_BIN = 48
"""Points, images included, that a bin of energies holds: neighbours are joined until they do ..."""
GAP = 4
"""... but not across so many empty ones."""
SPENT = "spent"
"""Beside the columns of a replica that is put aside: its evaluations, and the nodes asked for until then."""
COPIES = 3
"""Of the points that exist at once: by replica, joined, and sorted for one Fermi level."""

Progress = Callable[[int, int, str], None]
"""Called with (done, total, what) while work goes on."""


@dataclass(frozen=True)
class Window:
    """An interval of energies, its pockets and which of these are images of others."""

    interval: tuple[float, float]
    pockets: list[Pocket]
    images: list[Image]
    stabilisers: list[tuple[ZoneMap, ...]]

    @property
    def boxes(self) -> list[np.ndarray]:
        """Edges of each pocket's box as it is sampled, one a row, (d, d): those of an image are turned."""
        return [
            np.diag(pocket.edges)
            if image.map is None
            else self.pockets[image.source].edges[:, None] * image.map.matrix.T
            for pocket, image in zip(self.pockets, self.images, strict=True)
        ]


class Plan:
    """Samples the surfaces of ``thermals``, which one set of levels serves, replica by replica."""

    def __init__(
        self,
        nodes: Nodes,
        thermals: Sequence[Thermal],
        seed: int = 0,
        progress: Progress | None = None,
        share: Share | None = None,
        smallest: float | None = None,
        degeneracy: float = DEGENERACY,
        shelf: Shelf | None = None,
    ):
        self.degeneracy = float(degeneracy)
        self.nodes, self.thermals, self.seed, self.smallest = nodes, tuple(thermals), seed, smallest
        self.share, self.shelf = share or Share(), shelf or Shelf()
        self.report: Progress = progress or (lambda done, total, what: None)
        self.found: dict[tuple[float, float], Window] = {}
        self.counted: dict[int, Carriers] = {}
        self.largest: float | None = None
        self.sampled = 0

    @property
    def model(self) -> BlochModel:
        return self.spectrum.model

    @property
    def spectrum(self) -> Spectrum:
        return self.nodes.spectrum

    @cached_property
    def certain(self) -> float:
        """Diameter in Å⁻¹ of the balls that are found for certain."""
        return min(certain_diameter(self.model), self.smallest or np.inf)

    def windows(self, sampler: Sampler) -> list[Window]:
        """Pockets of every window of the sampler."""
        intervals = sampler.windows(self.thermals)
        factors = self._factors(sampler, 0.5)
        for done, number in enumerate(np.argsort(-factors, kind="stable")):  # the most important first
            interval = intervals[number]
            if interval not in self.found:
                self.report(done, len(intervals), "searching pockets")
                detail = max(COARSEST, self.importance(float(factors[number])))
                pockets = self.pockets(interval, sampler.smooth(self.thermals), detail)
                own = [stabiliser(pocket, self.nodes.maps) for pocket in pockets]
                self.found[interval] = Window(interval, pockets, pocket_images(pockets, self.nodes.maps), own)
            if self.found[interval].pockets and self.largest is None:
                self.largest = float(factors[number])
        self.report(len(intervals), len(intervals), "searching pockets")
        return [self.found[interval] for interval in intervals]

    def pockets(self, interval: tuple[float, float], smooth: float, detail: float = 1.0) -> list[Pocket]:
        """The pockets of an interval of energies; known ones are not searched again."""
        known = self.found.get(interval)
        return find_pockets(self.nodes, interval, detail, self.smallest, smooth) if known is None else known.pockets

    def carriers(self, sampler: Sampler, made: list[Replica]) -> Callable[[Thermal], np.ndarray]:
        """Electrons and holes (Å^-d) of this process's replicas, (replicas, 2), by level and temperature."""
        if sampler.n not in self.counted:
            self.counted[sampler.n] = Carriers(self.nodes, self.pockets, self.thermals, self.seed, sampler.n)
        return partial(self.counted[sampler.n], numbers=self.share.of(range(len(made) * self.share.count)))

    def _factors(self, sampler: Sampler, shift: float) -> np.ndarray:
        """Largest weight that each level has for any of the Fermi levels; levels that stand for windows are equal."""
        levels = sampler.levels(self.thermals, shift)
        if sampler.bin_width(self.thermals[0]):
            return np.ones(len(levels))
        return np.max([sampler.share(thermal, levels, levels) for thermal in self.thermals], axis=0)

    def importance(self, factor: float) -> float:
        """How finely a thermal level is sampled relative to the most important one that has states."""
        return 1.0 if self.largest is None else min(1.0, (factor / self.largest) ** 0.125)

    def replicas(self, sampler: Sampler, which: range) -> list[Replica]:
        """This process's replicas among ``which``; the same number always gets the same random shift."""
        windows = self.windows(sampler)
        which = self.share.of(which)
        streams = np.random.SeedSequence(self.seed).spawn(which.stop)
        made = []
        group = digest(self.thermals, self.seed)
        for done, number in enumerate(which):
            self.report(done, len(which), "sampling the surface")
            name = f"sampled-{group}/{sampler.n}-{number}"
            made.append(self._kept(name, partial(self._replica, sampler, windows, streams[number])))
            points = sum(len(replica.columns["k"]) for replica in made)
            demand(
                COPIES * sum(column.nbytes for replica in made for column in replica.columns.values()),
                f"the {points} points of {len(made)} of {len(which)} replicas",
                "raise it, or ask for fewer replicas or a smaller n",
            )
        self.report(len(which), len(which), "sampling the surface")
        return made

    def _kept(self, name: str, make: Callable[[], Replica]) -> Replica:
        """A replica from the shelf, or made; with it the evaluations that are counted are the same."""

        known = []

        def counted() -> Arrays:
            before = self.spectrum.evaluations - self.nodes.diagonalised
            replica = make()
            known.append(replica.known)
            spent = self.spectrum.evaluations - self.nodes.diagonalised - before
            return {**replica.columns, SPENT: np.array([spent, self.nodes.evaluations])}

        columns = self.shelf.piece(name, counted)
        spent, searched = columns.pop(SPENT)
        if searched > self.nodes.evaluations:  # the nodes of the pockets' elements, asked for by the first that samples
            for window in self.found.values():
                for pocket in window.pockets:
                    pocket.elements  # noqa: B018
        self.sampled += int(spent)
        return Replica(columns, known[0] if known else None)

    def _replica(self, sampler: Sampler, windows: list[Window], stream: np.random.SeedSequence) -> Replica:
        rng = np.random.default_rng(stream)
        shift = rng.random()
        levels, factors = sampler.levels(self.thermals, shift), self._factors(sampler, shift)
        gathered = Gathering(self.spectrum, self.nodes.maps, self.degeneracy, 0 if self.shelf.keeps else room())
        gathered.add(sampler, _nothing(self.model), 0.0)
        for window, level, factor in zip(windows, levels, factors, strict=True):
            # Levels that hardly count get fewer lines: the integral stays unbiased for any number.
            n = max(min(sampler.n, FEWEST), round(sampler.n * self.importance(factor)))
            resized = sampler.resized(n)
            first = len(gathered.parts)
            for pocket, image, own in zip(window.pockets, window.images, window.stabilisers, strict=True):
                if image.map is None:
                    samples = resized.sample(
                        self.spectrum, pocket, window.interval, level, self.thermals, own, window.pockets, rng
                    )
                    gathered.add(resized, samples, level)
                else:
                    gathered.add_image(first + image.source, image.map)
        return gathered.replica()

    # --- one Fermi level's part of it -------------------------------------------------------------
    def surface(self, thermal: Thermal, sampler: Sampler, made: list[Replica], evaluations: int) -> Surface:
        """The surface of one of the ``thermals``; verdict and warnings are to follow."""
        windows = self.windows(sampler)
        low, high = thermal.window
        relevant = [window.interval[0] <= high and window.interval[1] >= low for window in windows]
        used = np.flatnonzero(np.repeat(relevant, [len(window.pockets) for window in windows]))
        parts = [_thermal_part(sampler, thermal, replica, used) for replica in made]
        for first, part in zip(_originals(made), parts, strict=True):
            part.columns["number"] += first
        columns = joined([part.columns for part in parts])
        known = [replica.known for replica in made if replica.known is not None]
        orbits = Orbits(
            self.model,
            columns["number"],
            columns["turn"],
            self.nodes.maps,
            known if len(known) == len(made) else None,
        )
        counts, energies = (
            np.concatenate(list(shells)) for shells in zip(*(part.shells for part in parts), strict=True)
        )
        levels = self.share.distinct(energies)
        layout = Layout.of(
            counts.tolist(),
            np.repeat(np.arange(len(made)), [len(part.shells[0]) for part in parts]).tolist(),
            np.searchsorted(levels, energies).tolist(),
        )
        chosen = [window for window, yes in zip(windows, relevant, strict=True) if yes]
        decided = Decided(
            start=columns["k"],
            **{name: columns[name] for name in ("band", "pocket", "axis", "volume", "width", "weight", "level_weight")},
            energy=np.repeat(energies, counts.astype(int)),
            boxes=np.array([box for window in chosen for box in window.boxes]).reshape(
                -1, *(self.model.dimension,) * 2
            ),
        )
        return Surface(
            model=self.model,
            fermi_level=thermal.fermi_level,
            temperature=thermal.temperature,
            **{"spin_moment": np.broadcast_to(0.0, (len(columns["k"]), 3))}
            | {name: columns[name] for name in ("k", *kept_vectors(self.model), "weight", "level_weight")},  # pyright: ignore[reportArgumentType]
            rule=sampler.rule(thermal, decided),
            heights=(levels - thermal.fermi_level) / (thermal.width or 1.0),
            carriers=Kept(self.carriers(sampler, made)),
            bloch=None,
            sampler=sampler,
            replicas=len(made),
            seed=self.seed,
            layout=layout,
            evaluations=evaluations,
            smallest_pocket=self.certain,
            decided=Kept(tuple(pocket for window in chosen for pocket in window.pockets)),
            degeneracy=self.degeneracy,
            orbits=Kept(orbits),
        ).as_sampled()

    def doubts(self, thermal: Thermal, sampler: Sampler, made: list[Replica]) -> tuple[str, ...]:
        """Reasons to distrust the surface of ``thermal`` as a whole."""
        k = np.concatenate([replica.columns["k"][_counts(sampler, thermal, replica)] for replica in made])
        level, doubts = thermal.fermi_level, self._unsampled(thermal, sampler, made)
        if not thermal.temperature:
            lines = sampler.n * self.share.total(len(made))
            pockets = [
                pocket
                for window in self.windows(sampler)
                if window.interval[0] <= level <= window.interval[1]
                for pocket, image in zip(window.pockets, window.images, strict=True)
                if image.map is None
            ]
            doubts += flat_doubts(self.nodes, level) + van_hove_doubts(self.nodes, pockets, level, lines)
        if not self.share.total(len(k)) and not doubts:
            spread = f" ± {TAIL:.0f} kT" if thermal.temperature else ""
            return (
                f"no state was found at {level:g} eV{spread}: the Fermi level lies in a gap or "
                "outside the bands; compare with model.bands(k) or `jaxkin info`.",
            )
        if not self.model.periodic:
            lo, hi = np.array(self.model.zone).T
            edge = 0.5 * (hi - lo) / sampler.n  # a cut surface has points in the outermost half spacing of the lines
            if self.share.total(int(np.sum((k < lo + edge) | (k > hi - edge)))):
                doubts.append("the Fermi surface leaves the k·p model's box and is cut there; enlarge `box`.")
        return tuple(doubts)

    def _unsampled(self, thermal: Thermal, sampler: Sampler, made: list[Replica]) -> list[str]:
        """Whether the replicas are too few, or too alike, for their scatter to be an error."""
        mend, weights = "or leave the sampler to jaxkin (sampler=None).", []
        for replica in made:
            share = sampler.share(thermal, replica.columns["level"], replica.columns["energy"])
            weights.append(replica.columns["measure"] * share)
        empty, total = self.share.total(sum(not weight.any() for weight in weights)), self.share.total(len(made))
        together = sampler.bin_width(thermal)
        if thermal.temperature and not together and (noise := energy_noise(self.nodes, thermal)) > RESOLVED:
            step = f"{thermal.step * thermal.width:.2g} eV apart, whose shift alone changes ν by {noise:.0%}"
            return [f"bands are too narrow for energies {step}: use Grid, {mend}"]
        if 0 < empty < total:
            return [f"{empty} of {total} replicas found no state: scatter is no standard error; raise n, {mend}"]
        if together and not empty:
            least = self.share.numbers(min(float(w.sum() ** 2 / (w @ w)) for w in weights)).min()
            if least < FEW:
                return [f"some {least:.0f} points carry a replica: too few for a standard error; raise n, {mend}"]
        return []


def _counts(sampler: Sampler, thermal: Thermal, replica: Replica) -> np.ndarray:
    """Which points of a replica have weight for ``thermal``."""
    return sampler.share(thermal, replica.columns["level"], replica.columns["energy"]) > 0


class _ThermalPart(NamedTuple):
    """One replica's columns for a Fermi level in the order of its shells, and these shells."""

    columns: dict[str, np.ndarray]
    shells: tuple[np.ndarray, np.ndarray]
    """Points of each shell, and its energy in eV."""


def _thermal_part(sampler: Sampler, thermal: Thermal, replica: Replica, used: np.ndarray) -> _ThermalPart:
    """The part for ``thermal``; ``used`` are the pockets that may matter for it, their numbers become 0, 1, ..."""
    columns, width = replica.columns, sampler.bin_width(thermal)
    share = sampler.share(thermal, columns["level"], columns["energy"])
    kept = np.flatnonzero(share > 0)
    energy, widths = columns["level"][kept], np.zeros(len(kept))
    if width:
        first, last = _joined_bins(np.floor((columns["energy"][kept] - thermal.fermi_level) / width))
        energy = thermal.fermi_level + 0.5 * width * (first + last + 1)
        widths = width * (last - first + 1)
    order = np.argsort(energy, kind="stable")
    values, counts = np.unique(energy[order], return_counts=True)
    kept = kept[order]
    measure = columns["measure"][kept]
    part = {name: values[kept] for name, values in columns.items() if name not in ("level", "measure")}
    part["pocket"] = np.searchsorted(used, part["pocket"])
    part["weight"] = measure * share[kept]
    part["width"] = widths[order]
    part["level_weight"] = measure / part["width"] if width else measure
    return _ThermalPart(part, (counts, values))


def _joined_bins(number: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The first and the last of the bins that are joined with that of each point, by the points' numbers of bins.

    >>> first, last = _joined_bins(np.repeat([-9, 0, 1, 2, 3], [1, 60, 20, 30, 5]))
    >>> sorted(set(zip(first.tolist(), last.tolist())))
    [(-9, -9), (0, 0), (1, 3)]
    """
    values, place, counts = np.unique(number, return_inverse=True, return_counts=True)
    runs = np.split(np.arange(len(values)), np.flatnonzero(np.diff(values) > GAP) + 1)
    starts = []
    for run in runs if len(values) else []:
        left, held, mine = counts[run].sum(), 0, [run[0]]
        for n in run:
            if min(held, left) >= FEWEST_IN_BIN:
                mine.append(n)
                held = 0
            held, left = held + counts[n], left - counts[n]
        starts += mine
    first = np.array(starts, int)
    group = np.searchsorted(first, np.arange(len(values)), side="right") - 1
    last = np.append(first[1:], len(values)) - 1
    return values[first[group]][place], values[last[group]][place]


def _originals(made: list[Replica]) -> np.ndarray:
    """How many points that are no images the replicas before each have."""
    counts = [int(replica.columns["number"].max(initial=-1)) + 1 for replica in made[:-1]]
    return np.cumsum([0, *counts]).astype(np.int32)


def _nothing(model: BlochModel) -> Samples:
    d, none = model.dimension, np.zeros(0, int)
    return Samples(k=np.zeros((0, d)), band=none, axis=none, edges=np.ones(d), volume=1.0)
