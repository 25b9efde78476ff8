"""The main job: every Fermi level and temperature of a configuration, from model to dataset."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import xarray as xr

from jaxkin.cli import config as cfg
from jaxkin.disorder import Disorder
from jaxkin.errors import AccuracyWarning, FileFormatWarning, SymmetryError
from jaxkin.hamiltonian import BlochModel
from jaxkin.output import dataset as ds
from jaxkin.parallel import Share
from jaxkin.response import Conductivity, GyrotropicResponse, gyrotropic_response
from jaxkin.response.conductivity import HALL_RTOL, from_transport
from jaxkin.response.joined import joined
from jaxkin.surface import fermi_surfaces
from jaxkin.surface.plan import Progress
from jaxkin.symmetry import allowed_components, verify_point_group


@dataclass(frozen=True)
class Point:
    """The result at one Fermi level and temperature."""

    response: GyrotropicResponse
    conductivity: Conductivity
    data: xr.Dataset
    seconds: float

    @property
    def fermi_level(self) -> float:
        return self.response.surface.fermi_level

    @property
    def temperature(self) -> float:
        return self.response.surface.temperature


@dataclass
class Study:
    """What was asked and what has been computed so far; interrupted studies keep what they have."""

    config: cfg.Config
    model: BlochModel
    disorder: Disorder
    allowed: np.ndarray
    """(3, 3) components of g that the verified point group allows; all of them if none is stated."""
    points: list[Point] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def dataset(self) -> xr.Dataset:
        """All points with dimensions temperature and fermi_level; surface points of the first."""
        rows: dict[float, list[xr.Dataset]] = {}
        for point in self.points:
            rows.setdefault(point.temperature, []).append(point.data)
        complete = [row for row in rows.values() if len(row) == len(next(iter(rows.values())))]
        joined = ds.stack(complete)
        first = self.points[0].response
        joined = joined.merge(ds.surface_points(first))
        return joined.assign_attrs(config=cfg.as_toml(self.config), warnings="\n".join(self.warnings))


def prepare(config: cfg.Config) -> Study:
    """Build model and disorder; verify the stated point group on H(k) before anything uses it."""
    cfg.check_response(config.response)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = cfg.build_model(config.model)
    study = Study(config, model, cfg.build_disorder(config.disorder, model), np.ones((3, 3), bool))
    study.warnings += [str(w.message) for w in caught if issubclass(w.category, FileFormatWarning)]
    stated = config.model.point_group or model.point_group
    if stated:
        try:
            study.allowed = allowed_components(verify_point_group(model, stated))
        except SymmetryError as error:
            if config.model.point_group or config.model.file:
                raise
            study.warnings.append(f"the model's parameters change its point group: {error}")
    return study


def run(
    study: Study, progress: Progress, done: Callable[[Point], None] = lambda point: None, share: Share | None = None
) -> Study:
    """Compute the points one after another; ``done`` is called with each.

    With a ``share`` of the replicas every process runs the same study, and has all results in the end.
    """
    share = share or Share()
    c = study.config
    assert c.response.solver != "quantum"  # has no surface: jaxkin.cli.quantum
    sampler = cfg.build_sampler(c.surface)
    levels = cfg.numbers("fermi_level", c.surface.fermi_level)
    temperatures = cfg.numbers("temperature", c.surface.temperature)
    frequency = cfg.numbers("frequency", c.response.frequency)
    scan = fermi_surfaces(
        study.model,
        np.array(levels),
        np.array(temperatures)[:, None],
        sampler,
        c.surface.replicas,
        c.surface.seed,
        smallest_pocket=c.surface.smallest_pocket,
        degeneracy=c.surface.degeneracy,
        rtol=c.surface.rtol,
        budget=c.surface.budget,
        share=share,
        progress=progress,
    )
    for number in range(len(scan)):
        start = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they are in surface.warnings
            surface = scan[number]
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            response = gyrotropic_response(
                surface,
                study.disorder,
                frequency,
                c.response.solver,
                skew_order=c.response.skew_order,
                theory=c.response.theory,
                progress=progress,
            )
            response = joined(response, share)
            sigma = from_transport(
                response.surface,
                response.transport,
                hall=c.response.hall,
                hall_rtol=c.surface.rtol or HALL_RTOL,
                hall_budget=c.response.hall_budget,
                progress=progress,
            )
        study.warnings += share.lines([str(w.message) for w in caught if issubclass(w.category, AccuracyWarning)])
        data = _dataset(response, sigma, c.response.optic_axis)
        point = Point(response, sigma, data, time.perf_counter() - start)
        study.points.append(point)
        study.warnings += [
            f"μ = {surface.fermi_level:g} eV, T = {surface.temperature:g} K: {text}" for text in response.warnings
        ]
        done(point)
    return study


def _dataset(response: GyrotropicResponse, conductivity: Conductivity, axis: cfg.Vector) -> xr.Dataset:
    one, sigma, unit = response.to_dataset(axis), conductivity.sigma["total"], conductivity.unit
    one["sigma"] = (("frequency", "a", "b"), sigma.mean, {"units": unit, "long_name": "local conductivity"})
    one["sigma_stderr"] = (("frequency", "a", "b"), sigma.stderr, {"units": unit})
    return one.assign_attrs(time_reversal=conductivity.time_reversal)
