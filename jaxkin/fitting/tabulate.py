"""From a surface, or from a window of energies, to a table."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from jaxkin import units
from jaxkin.disorder import (
    Disorder,
    ElasticPhonons,
    FiniteRangeImpurity,
    Mixture,
    PhononRate,
    PointImpurity,
    RelaxationTime,
)
from jaxkin.errors import AccuracyWarning, JaxkinError
from jaxkin.fitting.finite_range_table import FiniteRangeTable
from jaxkin.fitting.impurity_table import ImpurityTable
from jaxkin.fitting.phonon_table import PhononTable
from jaxkin.fitting.relaxation_table import RelaxationTable
from jaxkin.fitting.table import Table
from jaxkin.hamiltonian.bloch import BlochModel
from jaxkin.response.sums import Theory
from jaxkin.surface.fermi import fermi_surfaces
from jaxkin.surface.plan import Progress
from jaxkin.surface.rule import LineRule, Rule
from jaxkin.surface.samples import Sampler
from jaxkin.surface.surface import Kept, Layout, Surface
from jaxkin.surface.thermal import Thermal

PANEL = 4.0
"""Longest panel of the quadrature over energies in kT ..."""
NODES = 6
"""... and its Gauss-Legendre nodes: −f⁰' is integrated to 2e-7."""
COLUMNS = ("k", "energy", "velocity", "berry_curvature", "orbital_moment", "spin_moment", "level_weight")


def tabulate(
    surface: Surface,
    disorder: Disorder,
    window: tuple[float, float] | None = None,
    *,
    strengths: tuple[float, float] | None = None,
    theory: Theory = "complete",
) -> Table:
    """Gather what the relaxation-time response of a surface needs, so that one evaluation takes microseconds.

    At the disorder's own parameters ``table.gyrotropic`` is :func:`gyrotropic_response` to rounding. From a
    surface at T > 0 (sampled with Lines) the Fermi level and the temperature are parameters too, in a range around
    the surface's own: not below its T, not farther than its energies reach. How: docs/fits.md, "Tables".

    Args:
        surface: from :func:`fermi_surface`.
        disorder: :class:`RelaxationTime` (parameters tau, tau_skew, side_jump), or :class:`PointImpurity` or
            :class:`FiniteRangeImpurity` (strength, density); and one kind of phonons beside it, :class:`PhononRate`
            (tau_phonon, phonon_exponent), :class:`AcousticPhonons` (deformation_potential) or another
            (phonon_strength), which have the temperature of each of the data.
        window: interval of the surface's energies in eV, where it is not that of :func:`fermi_surface`.
        strengths: of a :class:`FiniteRangeImpurity`, between which factors on its own strength it is tabulated, at
            some 9 to 33 strengths; what that misses is ``table.interpolation_error``.
        theory: as for :func:`gyrotropic_response`.

    Raises:
        JaxkinError: another kind of disorder, a surface without states.

    Warns:
        AccuracyWarning: the strengths lie too far apart for 65 of them.

    >>> import jaxkin as jk
    >>> surface = jk.fermi_surface(jk.models.get("kramers-weyl-d4"), -1.2, sampler=jk.Lines(n=8), replicas=2)
    >>> table = jk.tabulate(surface, jk.RelaxationTime(tau=1.0, tau_skew=50.0))
    >>> table.gyrotropic({"tau": 0.5}, [0.0, 1.0])["skew"].shape  # (replica, frequency, a, b)
    (2, 2, 3, 3)
    """
    if not len(surface):
        raise JaxkinError(
            f"no states at {surface.fermi_level:g} eV and {surface.temperature:g} K: nothing to tabulate."
        )
    if isinstance(disorder, RelaxationTime):
        return RelaxationTable.of(surface, disorder, theory, window)
    if isinstance(disorder, PointImpurity):
        return ImpurityTable.of(surface, disorder, theory, window)
    if isinstance(disorder, FiniteRangeImpurity):
        return FiniteRangeTable.of(surface, disorder, theory, strengths, window)
    if isinstance(disorder, Mixture):
        phonons = [part for part in disorder.parts if isinstance(part, ElasticPhonons | PhononRate)]
        others = [part for part in disorder.parts if not isinstance(part, ElasticPhonons | PhononRate)]
        if len(phonons) == len(others) == 1:
            impurities = tabulate(surface, others[0], window, strengths=strengths, theory=theory)
            return PhononTable.of(surface, impurities, phonons[0], theory)
    raise JaxkinError(
        "fits know RelaxationTime, PointImpurity and FiniteRangeImpurity, one kind in a sample and one of phonons "
        f"beside it, not {type(disorder).__name__}."
    )


def tabulate_window(
    model: BlochModel,
    disorder: Disorder,
    energies: Sequence[float],
    temperature: float,
    sampler: Sampler | None = None,
    replicas: int = 8,
    seed: int = 0,
    *,
    strengths: tuple[float, float] | None = None,
    theory: Theory = "complete",
    progress: Progress | None = None,
) -> Table:
    """A table over a whole window of energies, for wide ranges of the Fermi level and of temperature.

    ∫dε(−f⁰')g(ε) by Gauss-Legendre panels between the given energies. Where a band edge, from which g grows like a
    power of the distance, lies in the window, name it among them: the panels then meet there.
    See docs/fits.md, "Tables".

    Args:
        model: any.
        disorder: as for :func:`tabulate`.
        energies: increasing, the two ends and band edges between them, eV.
        temperature: the lowest that will be needed, in K.
        sampler: as for :func:`fermi_surface`.
        replicas: independent random shifts.
        seed: makes the result reproducible.
        strengths, theory: as for :func:`tabulate`.
        progress: called with (done, total, what).

    Raises:
        JaxkinError: energies that do not increase, a temperature that is not positive, no states in the window.

    Warns:
        AccuracyWarning: what a surface of the window warns of; and as :func:`tabulate`.

    >>> import jaxkin as jk
    >>> model = jk.models.get("helical-isotropic", moment=1.0)
    >>> table = jk.tabulate_window(model, jk.RelaxationTime(1.0), (0.4, 0.6), 600.0, jk.Lines(n=6), replicas=2)
    >>> table.conductivity({"fermi_level": 0.5, "temperature": 600.0}, [0.0]).shape
    (2, 1, 3, 3)
    """
    edges = np.asarray(energies, float)
    if len(edges) < 2 or not np.all(np.diff(edges) > 0):
        raise JaxkinError(f"energies={list(energies)} must be at least two increasing energies in eV.")
    if not (np.isfinite(temperature) and temperature > 0):
        raise JaxkinError(f"temperature={temperature} must be a positive number of kelvin: the lowest that is needed.")
    levels, weights = _panels(edges, PANEL * units.BOLTZMANN * temperature)
    report: Progress = progress or (lambda done, total, what: None)
    scan, surfaces = fermi_surfaces(model, levels, 0.0, sampler, replicas, seed), []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AccuracyWarning)  # many an energy of the window has no states
        for done in range(len(levels)):
            report(done, len(levels), "energies of the table")
            surfaces.append(scan[done])
    report(len(levels), len(levels), "energies of the table")
    with_states = np.array([len(surface) > 0 for surface in surfaces])
    if not with_states.any():
        raise JaxkinError(f"no states between {edges[0]:g} and {edges[-1]:g} eV: compare with model.bands(k).")
    middle = float(np.mean(levels[with_states]))
    joined = replace(_joined(surfaces, weights, Thermal(middle, float(temperature))), evaluations=scan.evaluations)
    for message in joined.warnings:
        warnings.warn(message, AccuracyWarning, stacklevel=2)
    return tabulate(joined, disorder, (float(edges[0]), float(edges[-1])), strengths=strengths, theory=theory)


def _panels(edges: np.ndarray, longest: float) -> tuple[np.ndarray, np.ndarray]:
    """Energies and weights of ∫dε over panels no longer than ``longest``."""
    x, w = np.polynomial.legendre.leggauss(NODES)
    levels, weights = [], []
    for low, high in itertools.pairwise(edges):
        cuts = np.linspace(low, high, int(np.ceil((high - low) / longest)) + 1)
        half = 0.5 * np.diff(cuts)[:, None]
        levels.append((cuts[:-1, None] + half * (1 + x)).ravel())
        weights.append((half * w).ravel())
    return np.concatenate(levels), np.concatenate(weights)


def _joined(surfaces: list[Surface], weights: np.ndarray, thermal: Thermal) -> Surface:
    """One thermal surface from surfaces at single energies and the weights of these."""
    factors = [w * float(thermal.density(s.fermi_level)) for s, w in zip(surfaces, weights, strict=True)]  # pyright: ignore[reportArgumentType]
    columns = {name: np.concatenate([getattr(s, name) for s in surfaces]) for name in COLUMNS}
    before = np.cumsum([0, *(len(s.pockets) for s in surfaces[:-1])]).tolist()
    heights = [(s.fermi_level - thermal.fermi_level) / thermal.width for s in surfaces]
    rules = [
        _at_height(surface.rule, height, factor)
        for surface, height, factor in zip(surfaces, heights, factors, strict=True)
    ]
    counts = [np.diff(s.layout.starts).tolist() for s in surfaces]
    return replace(
        surfaces[0],
        **columns,
        weight=np.concatenate([f * s.weight for f, s in zip(factors, surfaces, strict=True)]),
        rule=rules[0].joined(rules[1:], before),
        layout=Layout.of(
            [n for row in counts for n in row],
            [r for s in surfaces for r in s.layout.replica],
            [level for level, s in enumerate(surfaces) for _ in s.layout.replica],
        ),
        heights=np.array(heights),
        fermi_level=thermal.fermi_level,
        temperature=thermal.temperature,
        decided=Kept(tuple(pocket for surface in surfaces for pocket in surface.pockets)),
        orbits=Kept(None),
        verdict=f"{len(surfaces)} energies",
        warnings=tuple(dict.fromkeys(m for s in surfaces if len(s) for m in s.warnings)),
    ).as_sampled()


def _at_height(rule: Rule, height: float, share: float) -> Rule:
    """The rule of a single energy as that of one among many."""
    if not isinstance(rule, LineRule):
        return rule
    return replace(rule, height=np.full(len(rule), height), share=share * rule.share)
