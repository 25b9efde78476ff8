"""``solver = "quantum"``: the same configuration by averaged Green functions, without a Boltzmann equation."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import xarray as xr
from rich.console import Group
from rich.table import Table
from rich.text import Text

from jaxkin.cli import config as cfg
from jaxkin.cli.defaults import completed
from jaxkin.cli.ingredients import build_disorder, build_model
from jaxkin.cli.levels import Place, places
from jaxkin.cli.record import Record, parts
from jaxkin.cli.section import numbers
from jaxkin.disorder import Disorder
from jaxkin.errors import ConfigError
from jaxkin.hamiltonian import TightBinding
from jaxkin.output import dataset as ds
from jaxkin.output.uncertainty import with_uncertainty
from jaxkin.parallel import Share
from jaxkin.quantum import QuantumResponse, gyrotropic
from jaxkin.response.conductivity import UNITS
from jaxkin.shelf import Shelf
from jaxkin.surface.plan import Progress

QUALITY = ("ward", "onsager", "residual", "grid")
"""What a result says of how well it is known."""


@dataclass(frozen=True)
class Point:
    """The result at one Fermi level."""

    number: int
    place: Place
    response: QuantumResponse
    study: Study
    seconds: float

    @cached_property
    def record(self) -> Record:
        """What is kept of it."""
        cautions = tuple(f"μ = {self.place.fermi_level:g} eV: {text}" for text in self.response.warnings)
        return Record(self._document(), self._dataset(), cautions)

    def _document(self) -> dict[str, Any]:
        """With the keys of the other solvers where they have a meaning."""
        response = self.response

        return {
            "fermi_level": self.place.fermi_level,
            "temperature": 0.0,
            "frequency": response.frequency.tolist(),
            "g": {name: parts(estimate.mean) for name, estimate in response.g.items()},
            "g_stderr": {name: parts(estimate.stderr) for name, estimate in response.g.items()},
            "sigma": parts(response.sigma["total"].mean),
            "self_energy": parts(response.self_energy.mean),
            "evaluations": response.g["total"].evaluations,
            "surface_points": 0,
            "seed": self.study.config.surface.seed,
            "error_budget": {
                "replicas": self.study.config.surface.replicas,
                **{name: getattr(response.quality, name) for name in QUALITY},
            },
            "seconds": self.seconds,
            "warnings": list(response.warnings),
        }

    def _dataset(self) -> xr.Dataset:
        """g and σ by side of the cut, with standard errors."""
        response, dims = self.response, ("side", "frequency", "a", "b")
        data = xr.Dataset(
            coords={"side": list(response.g), "frequency": response.frequency, "a": ds.XYZ, "b": ds.XYZ},
            attrs=ds.versions()
            | {
                "solver": "quantum",
                "seed": self.study.config.surface.seed,
                "replicas": self.study.config.surface.replicas,
                "config": cfg.as_toml(self.study.config),
            },
        )
        dimension = self.study.model.dimension
        units = {"g": ds.tensor_unit(dimension), "sigma": UNITS[dimension]}
        for name, values in (("g", response.g), ("sigma", response.sigma)):
            unit = {"units": units[name]}
            data[name] = (dims, np.stack([one.mean for one in values.values()]), unit)
            data[f"{name}_stderr"] = (dims, np.stack([one.stderr for one in values.values()]), unit)
        for name in QUALITY:
            data[name] = ((), getattr(response.quality, name), {"units": "1"})
        return ds.with_density(data.assign_coords(fermi_level=self.place.fermi_level), self.place.density)

    def summary(self) -> Group:
        """g at the lowest frequency, σ, Σ and what to be careful about."""
        response = self.response
        index = int(np.argmin(np.abs(response.frequency)))
        broadening = -np.imag(np.diagonal(response.self_energy.mean))
        sigma = ", ".join(f"{x:.3g}" for x in broadening)
        title = f"μ = {self.place.fermi_level:g} eV, −Im Σ = {sigma} eV on the impurities"
        table = Table(title=f"{title}\nIm g_ab at {response.frequency[index]:g} THz", title_justify="left")
        for column in ("ab", *response.g):
            table.add_column(column, justify="right")
        for a, b in np.ndindex(3, 3):
            parts = [one.map(lambda g, a=a, b=b: np.imag(g[:, index, a, b])) for one in response.g.values()]
            if any(np.any(part.mean) for part in parts):
                row = (with_uncertainty(float(part.mean), float(part.stderr)) for part in parts)
                table.add_row(ds.XYZ[a] + ds.XYZ[b], *row)
        return Group(table, *(Text(f"warning: {message}", style="yellow") for message in response.warnings))


@dataclass
class Study:
    """What was asked, with model and disorder; as :class:`jaxkin.cli.study.Study`."""

    config: cfg.Config
    model: TightBinding
    disorder: Disorder
    places: list[Place]
    warnings: list[str] = field(default_factory=list)

    def dataset(self, records: Sequence[Record], cautions: Sequence[str]) -> xr.Dataset:
        """All points with a dimension fermi_level, or density."""
        whole = ds.row([record.data for record in records])
        return whole.assign_attrs(warnings="\n".join(cautions))

    def run(
        self, progress: Progress, done: Callable[[Point], None], share: Share, kept: Collection[int], shelf: Shelf
    ) -> None:
        """Compute the points that are not ``kept``; ``done`` is called with each.

        Raises:
            JaxkinError: what :func:`jaxkin.quantum.gyrotropic` refuses.
        """
        c = self.config
        for number, place in enumerate(self.places):
            if number in kept:
                continue
            start = time.perf_counter()
            response = gyrotropic(
                self.model,
                self.disorder,
                place.fermi_level,
                numbers("frequency", c.response.frequency),
                grid=c.quantum.grid,
                replicas=c.surface.replicas,
                seed=c.surface.seed,
                bands=c.quantum.bands,
                sea=c.quantum.sea,
                progress=progress,
                shelf=shelf,
            )
            done(Point(number, place, response, self, time.perf_counter() - start))


def prepare(config: cfg.Config, progress: Progress | None = None) -> Study:
    """Build model and disorder.

    Raises:
        ConfigError: a temperature, or phenomenological disorder, which has no self-energy.
    """
    if any(numbers("temperature", config.surface.temperature)):
        raise ConfigError("response.solver = 'quantum' is at T = 0: set surface.temperature = 0.")
    if not config.disorder.impurities:
        raise ConfigError(
            "response.solver = 'quantum' needs a potential: give [[disorder.impurities]] with kind = 'point'."
        )
    config = completed(config)
    model = build_model(config.model)
    if not isinstance(model, TightBinding):
        raise ConfigError("response.solver = 'quantum' needs a tight-binding model.")
    found = places(config.surface, model, progress)
    return Study(config, model, build_disorder(config.disorder, model), found)
