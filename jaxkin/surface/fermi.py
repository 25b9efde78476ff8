"""From a model and Fermi levels to their surfaces."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import overload

import numpy as np
from numpy.typing import ArrayLike

from jaxkin.brief import lines, ranged
from jaxkin.checks import (
    MOST_REPLICAS,
    MOST_VALUES,
    check_count,
    check_kind,
    check_number,
    check_progress,
    numbers,
    shown,
)
from jaxkin.errors import AccuracyWarning, JaxkinError
from jaxkin.hamiltonian.bloch import BlochModel
from jaxkin.hamiltonian.eigensystem import DEGENERACY
from jaxkin.hamiltonian.spectrum import Spectrum
from jaxkin.parallel.share import Share
from jaxkin.shelf import Shelf
from jaxkin.surface.maps import zone_maps
from jaxkin.surface.nodes import Nodes, level_distance
from jaxkin.surface.plan import Plan, Progress
from jaxkin.surface.refinement import Run, Target, sampled_run
from jaxkin.surface.resolution import resolving
from jaxkin.surface.samples import Sampler
from jaxkin.surface.surface import Surface
from jaxkin.surface.thermal import FARTHEST, HOTTEST, Thermal
from jaxkin.symmetry.operations import Operation

SMALLEST_RTOL = 1e-9
"""That double precision and a random shift can be asked for."""
SMALLEST_BALL = 1e-4
"""Part of the zone's longest edge below which no search for pockets would end."""


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
    degeneracy: float = DEGENERACY,
    rtol: float | None = None,
    target: Target | None = None,
    budget: int = 5_000_000,
    share: Share | None = None,
    progress: Progress | None = None,
) -> Surface:
    """Sample the Fermi surface, or at T > 0 the constant-energy surfaces within −f⁰': docs/method.md.

    Args:
        model: any Bloch model.
        fermi_level: μ in eV.
        temperature: T in K.
        sampler: :class:`Lines` or :class:`Grid`; None takes the one, and the size, that the bands and kT ask for
            (:mod:`jaxkin.surface.choice`), and ``surface.verdict`` says which and why.
        replicas: independent random shifts; their scatter is the standard error.
        seed: makes the result reproducible.
        symmetry: of equivalent nodes of the search, and of a :class:`Grid` at T > 0, one is diagonalised, and of
            equivalent pockets one is sampled. True finds the symmetries of a crystal on H(k) where that pays
            (8 bands and more); a list of operations is verified first; False uses none.
        smallest_pocket: diameter in Å⁻¹ of a ball inside a pocket that must not be missed
            (:mod:`jaxkin.surface.certificate`); None takes what the search's first nodes make certain.
        degeneracy: eV; bands that lie closer count as one set in moments, curvatures and scattering: Wannier functions
            split what symmetry makes equal by some 0.1 to 1 meV, and moments of the parts are accidents.
        rtol: relative accuracy: refine until the error of ``target`` is below ``rtol`` of its largest component
            (of 0.01 ∫|target|, if that is more), or ``budget`` is spent; ``surface.verdict`` says which.
        target: per-point values (N, ...) whose integral ``rtol`` refers to; m_a v_b, without any moment v_a v_b.
        budget: diagonalisations that ``rtol`` may cost.
        share: this process's part of the replicas, :mod:`jaxkin.parallel`; the surface then holds these only.
        progress: called with (done, total, what).

    Raises:
        JaxkinError: a Fermi level or temperature that is not a finite number, fewer replicas than 1 or processes.
        SymmetryError: an operation of ``symmetry`` that H(k) does not have.

    Warns:
        AccuracyWarning: no state at the Fermi level, a surface that leaves a k·p model's box, or ``rtol`` not met.
    """
    check_progress(progress)
    share = _checked(model, sampler, symmetry, share, replicas, seed, smallest_pocket, degeneracy, rtol, budget)
    (thermal,) = _thermals([fermi_level], [temperature])
    nodes = Nodes(Spectrum(model), zone_maps(model, symmetry))
    (thermal,) = _resolved(nodes, [thermal], sampler)
    plan = Plan(nodes, [thermal], int(seed), progress, share, smallest_pocket, degeneracy)
    surface = sampled_run(plan, sampler, replicas, rtol, target, budget).surface(thermal)
    for message in surface.warnings:
        warnings.warn(message, AccuracyWarning, stacklevel=2)
    return surface


def fermi_surfaces(
    model: BlochModel,
    fermi_levels: ArrayLike,
    temperatures: ArrayLike = 0.0,
    sampler: Sampler | None = None,
    replicas: int = 8,
    seed: int = 0,
    *,
    symmetry: bool | Sequence[Operation] = True,
    smallest_pocket: float | None = None,
    degeneracy: float = DEGENERACY,
    rtol: float | None = None,
    target: Target | None = None,
    budget: int = 5_000_000,
    share: Share | None = None,
    progress: Progress | None = None,
    shelf: Shelf | None = None,
) -> Surfaces:
    """Surfaces of many Fermi levels and temperatures that share all they can, each sampled when it is asked for.

    All share the search and the symmetries. At T > 0 a :class:`Grid` takes every level and temperature from the same
    points, and :class:`Lines` the levels of one temperature from the same energies, so that many cost little more than
    one; their errors are then correlated: docs/method.md, "Temperature".

    Args:
        model, sampler, replicas, seed, symmetry, smallest_pocket, degeneracy, target, budget, share, progress: as in
            :func:`fermi_surface`.
        fermi_levels, temperatures: μ in eV and T in K, broadcast against each other.
        rtol: relative accuracy, met by every one of those that share their points.
        shelf: where replicas are put that took long, and found by a later call.

    Raises:
        JaxkinError: as :func:`fermi_surface`, and shapes that do not broadcast.
        SymmetryError: an operation of ``symmetry`` that H(k) does not have.

    Warns:
        AccuracyWarning: when a surface is taken from the result, as :func:`fermi_surface`.

    >>> import jaxkin as jk, numpy as np
    >>> model = jk.models.get("kramers-weyl-d4")
    >>> scan = jk.fermi_surfaces(model, np.linspace(-1.6, -1.4, 5), 600.0, jk.Grid(12), replicas=2)
    >>> [round(float(surface.density_of_states().mean), 3) for surface in scan]
    [0.29, 0.304, 0.321, 0.346, 0.369]
    """
    check_progress(progress)
    share = _checked(model, sampler, symmetry, share, replicas, seed, smallest_pocket, degeneracy, rtol, budget)
    levels = numbers("fermi_levels", fermi_levels, "finite energies in eV")
    kelvin = numbers("temperatures", temperatures, f"numbers of kelvin from 0 to {HOTTEST:g}")
    for name, values in (("fermi_levels", levels), ("temperatures", kelvin)):
        check_count(f"the number of {name}", values.size, most=MOST_VALUES)
    try:
        pairs = np.broadcast_arrays(levels, kelvin)
    except ValueError as error:
        raise JaxkinError(f"fermi_levels and temperatures do not fit together: {error}.") from None
    thermals = _thermals(*(part.ravel().tolist() for part in pairs))
    nodes = Nodes(Spectrum(model), zone_maps(model, symmetry))
    thermals = _resolved(nodes, thermals, sampler)

    def run(group: Sequence[Thermal]) -> Run:
        plan = Plan(nodes.shared(), group, int(seed), progress, share, smallest_pocket, degeneracy, shelf)
        return sampled_run(plan, sampler, replicas, rtol, target, budget)

    return Surfaces(thermals, _groups(thermals, sampler), nodes, run)


class Surfaces(Sequence[Surface]):
    """The surfaces of a scan in its order, each sampled when asked for first: docs/method.md, "Temperature".

    Args:
        thermals, groups, nodes, run: μ and T, what shares points, the search, the sampling, of :func:`fermi_surfaces`.
    """

    def __init__(
        self, thermals: Sequence[Thermal], groups: dict[Thermal, tuple[Thermal, ...]], nodes: Nodes, run: Callable
    ):
        self._thermals, self._groups, self._nodes, self._run = thermals, groups, nodes, run
        self._known: dict[tuple[Thermal, ...], Run] = {}

    def __len__(self) -> int:
        return len(self._thermals)

    def __repr__(self) -> str:
        levels, kelvin = ({getattr(one, name) for one in self._thermals} for name in ("fermi_level", "temperature"))
        made = sum(self._groups[one] in self._known for one in self._thermals)
        return lines(
            f"Surfaces: {len(self)} of μ = {ranged([*levels])} eV, T = {ranged([*kelvin])} K; {made} sampled so far",
            f"{self.evaluations} H(k) evaluations for all together",
            "ask for [number], a slice, or iterate",
        )

    @property
    def evaluations(self) -> int:
        """How many H(k) were diagonalised so far, for all surfaces together."""
        return self._nodes.diagonalised + sum(run.sampled for run in self._known.values())

    @overload
    def __getitem__(self, index: int) -> Surface: ...

    @overload
    def __getitem__(self, index: slice) -> list[Surface]: ...

    def __getitem__(self, index):
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        thermal = self._thermals[index]
        group = self._groups[thermal]
        if group not in self._known:
            self._known[group] = self._run(group)
        surface = self._known[group].surface(thermal)
        for message in surface.warnings:
            warnings.warn(message, AccuracyWarning, stacklevel=2)
        return surface


def _thermals(fermi_levels: Sequence[float], temperatures: Sequence[float]) -> tuple[Thermal, ...]:
    for level, temperature in zip(fermi_levels, temperatures, strict=True):
        check_number("fermi_level", level, "a finite energy in eV (many: fermi_surfaces)")
        check_number("temperature", temperature, f"a number of kelvin from 0 to {HOTTEST:g}", least=0, most=HOTTEST)
    return tuple(Thermal(float(mu), float(kelvin)) for mu, kelvin in zip(fermi_levels, temperatures, strict=True))


def _resolved(nodes: Nodes, thermals: Sequence[Thermal], sampler: Sampler | None) -> tuple[Thermal, ...]:
    """``thermals`` with the windows, and steps between energies, that the bands ask for."""
    thermals = tuple(_reaching(nodes, thermal) for thermal in thermals)
    takes_energies = sampler is None or any(t.temperature and not _together(sampler, t) for t in thermals)
    return resolving(nodes, thermals) if takes_energies else thermals


def _together(sampler: Sampler, thermal: Thermal) -> bool:
    """Whether the sampler takes all energies of all levels and temperatures from the same points."""
    return sampler.at(thermal.temperature).bin_width(thermal) is not None


def _reaching(nodes: Nodes, thermal: Thermal) -> Thermal:
    """``thermal`` with a window that reaches the nearest band, if carriers there are not absurdly few."""
    if thermal.temperature == 0:
        return thermal
    distance = level_distance(nodes, thermal.fermi_level)
    return replace(thermal, distance=distance) if distance < FARTHEST * thermal.width else thermal


def _checked(
    model: BlochModel,
    sampler: Sampler | None,
    symmetry: bool | Sequence[Operation],
    share: Share | None,
    replicas: int,
    seed: int,
    smallest: float | None,
    degeneracy: float,
    rtol: float | None,
    budget: int,
) -> Share:
    check_kind("model", model, BlochModel, "a Bloch model, such as jaxkin.models.get('tellurium')")
    if sampler is not None and (isinstance(sampler, type) or not hasattr(sampler, "sample")):
        raise JaxkinError(f"sampler={shown(sampler)} must be a sampler, such as jaxkin.Lines(24).")
    check_kind("symmetry", symmetry, (bool, list, tuple), "True, False or a list of operations")
    check_count("replicas", replicas, most=MOST_REPLICAS)
    check_count("seed", seed, 0)
    check_count("budget", budget)
    check_number("degeneracy", degeneracy, "a distance in eV from 0 to 0.1", least=0, most=0.1)
    check_number("rtol", rtol, "a number above 0 and below 1", least=SMALLEST_RTOL, most=1, optional=True)
    edge = float(np.max(np.linalg.norm(np.asarray(model.basis), axis=1) * np.ptp(model.zone, axis=1)))
    least = SMALLEST_BALL * edge
    check_number("smallest_pocket", smallest, f"a length of at least {least:.1g} Å⁻¹", least=least, optional=True)
    if rtol is not None and replicas < 2:
        raise JaxkinError(f"replicas={replicas}: at least 1 is needed, and 2 for rtol.")
    share = share or Share()
    if replicas < share.count:
        raise JaxkinError(f"{share.count} processes share {replicas} replicas: raise replicas, or use fewer processes.")
    return share


def _groups(thermals: Sequence[Thermal], sampler: Sampler | None) -> dict[Thermal, tuple[Thermal, ...]]:
    """For each thermal those that one plan serves together with it.

    They are itself at T = 0, those of its temperature (which may choose a sampler of their own), or all T > 0 for a
    sampler that takes them together.
    """
    groups: dict[object, list[Thermal]] = {}
    keys = {}
    for thermal in dict.fromkeys(thermals):
        together = thermal.temperature and sampler is not None and _together(sampler, thermal)
        keys[thermal] = "together" if together else thermal.temperature or thermal
        groups.setdefault(keys[thermal], []).append(thermal)
    return {thermal: tuple(groups[key]) for thermal, key in keys.items()}
