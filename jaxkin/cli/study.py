"""The main job: every Fermi level and temperature of a configuration, from the model to records."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr
from rich.console import Group

from jaxkin.cli import config as cfg
from jaxkin.cli.defaults import completed
from jaxkin.cli.ingredients import build_disorder, build_model, build_sampler, check_response
from jaxkin.cli.levels import Place, places
from jaxkin.cli.record import Record, parts
from jaxkin.cli.section import numbers
from jaxkin.disorder import Disorder
from jaxkin.errors import AccuracyWarning, FileFormatWarning, SymmetryError
from jaxkin.hamiltonian import BlochModel
from jaxkin.output import dataset as ds
from jaxkin.output.drive import Drive
from jaxkin.parallel import Share
from jaxkin.response import Conductivity, GyrotropicResponse, gyrotropic_response
from jaxkin.response.conductivity import HALL_RTOL, from_transport
from jaxkin.response.joined import joined
from jaxkin.shelf import Shelf
from jaxkin.surface import fermi_surfaces
from jaxkin.surface.plan import Progress
from jaxkin.symmetry import allowed_components, verify_point_group

ONCE = {"point", "vertex", "simplex", "edge"}
"""Dimensions of what is kept of the first point of a scan only."""


@dataclass(frozen=True)
class Point:
    """The result at one Fermi level and temperature, and what is kept of it."""

    number: int
    response: GyrotropicResponse
    conductivity: Conductivity
    record: Record
    study: Study

    def summary(self) -> Group:
        """Its tables."""
        from jaxkin.output.tables import summary

        axis = self.study.config.response.optic_axis
        return summary(self.response, self.conductivity, self.study.allowed, self.study.drive, axis)


@dataclass
class Study:
    """What was asked, and what was found of the model before anything is computed."""

    config: cfg.Config
    model: BlochModel
    disorder: Disorder
    places: list[Place]
    """In the order in which they are computed."""
    allowed: np.ndarray
    """(3, 3) components of g that the verified point group allows; all of them if none is stated."""
    warnings: list[str] = field(default_factory=list)

    @property
    def provenance(self) -> dict[str, Any]:
        """Attributes of every file."""
        wanted = self.config.surface
        return {"config": cfg.as_toml(self.config), "rtol": wanted.rtol, "budget": wanted.budget}

    @property
    def drive(self) -> Drive:
        """What the magnetization is of."""
        wanted = self.config.response
        if wanted.current is not None:
            return Drive(wanted.current, current=True)
        assert wanted.field is not None  # jaxkin.cli.defaults
        return Drive(wanted.field)

    def dataset(self, records: Sequence[Record], cautions: Sequence[str]) -> xr.Dataset:
        """All points with dimensions temperature and fermi_level, or density; surface points of the first.

        Of a scan that was stopped the temperatures that have all levels, or the first as far as it got.
        """
        rows: dict[float, list[xr.Dataset]] = {}
        for record in records:
            rows.setdefault(record.document["temperature"], []).append(record.data)
        first = next(iter(rows.values()))
        of_points = [name for name in first[0] if ONCE & set(first[0][name].dims)]
        complete = [[one.drop_vars(of_points, errors="ignore") for one in row] for row in rows.values()]
        stacked = ds.stack([row for row in complete if len(row) == len(first)])
        return stacked.merge(first[0][of_points]).assign_attrs(warnings="\n".join(cautions))

    def run(
        self, progress: Progress, done: Callable[[Point], None], share: Share, kept: Collection[int], shelf: Shelf
    ) -> None:
        """Compute the points that are not ``kept``; see :func:`run`."""
        run(self, progress, done, share, kept, shelf)


def prepare(config: cfg.Config, progress: Progress | None = None) -> Study:
    """Build model and disorder; verify the stated point group on H(k) before anything uses it.

    Raises:
        JaxkinError: what model, disorder or densities cannot be made of.
    """
    config = completed(config)
    check_response(config.response)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = build_model(config.model)
        disorder = build_disorder(config.disorder, model)
        found = places(config.surface, model, progress)
    study = Study(config, model, disorder, found, np.ones((3, 3), bool))
    study.warnings += [str(w.message) for w in caught if issubclass(w.category, FileFormatWarning | AccuracyWarning)]
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
    study: Study,
    progress: Progress,
    done: Callable[[Point], None] = lambda point: None,
    share: Share | None = None,
    kept: Collection[int] = (),
    shelf: Shelf | None = None,
) -> None:
    """Compute the points one after another, but for those ``kept``; ``done`` is called with each.

    Pieces of a long point are put on the ``shelf``, and taken from it.

    With a ``share`` of the replicas every process runs the same study, and has all results in the end. A point is
    the same, whichever others are computed.
    """
    share = share or Share()
    c = study.config
    assert c.response.solver != "quantum"  # has no surface: jaxkin.cli.quantum
    frequency = numbers("frequency", c.response.frequency)
    levels, temperatures = np.array([place[:2] for place in study.places]).T
    scan = fermi_surfaces(
        study.model,
        levels,
        temperatures,
        build_sampler(c.surface),
        c.surface.replicas,
        c.surface.seed,
        smallest_pocket=c.surface.smallest_pocket,
        degeneracy=c.surface.degeneracy,
        rtol=c.surface.rtol,
        budget=c.surface.budget,
        share=share,
        progress=progress,
        shelf=shelf,
    )
    for number in [number for number in range(len(scan)) if number not in kept]:
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
                shelf=shelf,
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
        cautions = share.lines([str(w.message) for w in caught if issubclass(w.category, AccuracyWarning)])
        where = f"μ = {surface.fermi_level:g} eV, T = {surface.temperature:g} K"
        cautions += [f"{where}: {text}" for text in response.warnings]
        # by all processes, as some sums are over the points of all
        data = ds.with_conductivity(response.to_dataset(c.response.optic_axis), sigma)
        data = ds.with_magnetization(data, response, sigma, study.drive)
        data["allowed"] = (("a", "b"), study.allowed, {"long_name": "components of g that the point group allows"})
        if number == 0:
            data = data.merge(ds.surface_points(response)).merge(ds.surface_mesh(response))
        data = ds.with_density(data, study.places[number].density)
        document = _document(response, sigma, data, time.perf_counter() - start)
        record = Record(document, data.assign_attrs(study.provenance), tuple(cautions))
        done(Point(number, response, sigma, record, study))


def _document(response: GyrotropicResponse, conductivity: Conductivity, data: xr.Dataset, seconds: float) -> dict:
    surface, sigma, quality = response.surface, conductivity.sigma, response.quality

    return {
        "fermi_level": float(surface.fermi_level),
        "temperature": float(surface.temperature),
        "frequency": response.frequency.tolist(),
        "g": {name: parts(estimate.mean) for name, estimate in response.g.items()},
        "g_stderr": {name: parts(estimate.stderr) for name, estimate in response.g.items()},
        "rotatory_power": {name: parts(data.rotatory_power.sel(mechanism=name).values) for name in response.g},
        "sigma": parts(sigma["total"].mean),
        "sigma_stderr": parts(sigma["total"].stderr),
        "sigma_mechanisms": {name: parts(estimate.mean) for name, estimate in sigma.items()},
        "sigma_mechanisms_stderr": {name: parts(estimate.stderr) for name, estimate in sigma.items()},
        "time_reversal": conductivity.time_reversal,
        **{name: float(data[name]) for one in ("tau", "electrons", "holes") for name in (one, f"{one}_stderr")},
        "density_unit": data.electrons.attrs["units"],
        **{
            field: {name: parts(data[field].sel(mechanism=name).values) for name in response.g}
            for field in ("induced_field", "induced_field_stderr")
        },
        "drive": data.induced_field.attrs["drive"],
        "density_of_states": float(data.density_of_states),
        "crossover_frequency": response.crossover_frequency(),
        "verdict": surface.verdict,
        "evaluations": surface.evaluations,
        "surface_points": len(surface),
        "seed": surface.seed,
        "error_budget": {
            "relative_stderr": float(data.relative_stderr),
            "replicas": surface.replicas,
            "flux": float(quality.flux),
            "onsager": float(quality.onsager),
            "continuity": float(quality.continuity),
            "optical_theorem": None if quality.optical_theorem is None else float(quality.optical_theorem),
            "saturation": None if quality.saturation is None else float(quality.saturation),
            "coarseness": float(quality.coarseness),
            "residual": float(quality.residual),
        },
        "seconds": seconds,
        "warnings": list(response.warnings),
    }
