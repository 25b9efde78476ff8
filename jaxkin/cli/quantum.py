"""``solver = "quantum"``: the same configuration by averaged Green functions, without a Boltzmann equation."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr
from rich.console import Group
from rich.table import Table
from rich.text import Text

from jaxkin.cli import config as cfg
from jaxkin.errors import ConfigError
from jaxkin.hamiltonian import TightBinding
from jaxkin.output import dataset as ds
from jaxkin.output.uncertainty import with_uncertainty
from jaxkin.quantum import QuantumResponse, gyrotropic
from jaxkin.surface.plan import Progress

_AXES = "xyz"


@dataclass(frozen=True)
class Point:
    """The result at one Fermi level."""

    fermi_level: float
    response: QuantumResponse
    seconds: float

    @property
    def document(self) -> dict:
        """As JSON takes it, with the keys of the other solvers where they have a meaning."""
        response = self.response

        def parts(values: np.ndarray) -> list:
            return np.stack([np.real(values), np.imag(values)], axis=-1).tolist()

        return {
            "fermi_level": self.fermi_level,
            "temperature": 0.0,
            "frequency": response.frequency.tolist(),
            "g": {name: parts(estimate.mean) for name, estimate in response.g.items()},
            "g_stderr": {name: parts(estimate.stderr) for name, estimate in response.g.items()},
            "sigma": parts(response.sigma["total"].mean),
            "self_energy": parts(response.self_energy.mean),
            "evaluations": response.g["total"].evaluations,
            "surface_points": 0,
            "seconds": self.seconds,
            "warnings": list(response.warnings),
        }

    @property
    def dataset(self) -> xr.Dataset:
        """g and σ by side of the cut, with standard errors."""
        response, dims = self.response, ("side", "frequency", "a", "b")
        data = xr.Dataset(
            coords={"side": list(response.g), "frequency": response.frequency, "a": ds.XYZ, "b": ds.XYZ},
            attrs=ds.versions() | {"solver": "quantum", "warnings": "\n".join(response.warnings)},
        )
        for name, values in (("g", response.g), ("sigma", response.sigma)):
            data[name] = (dims, np.stack([one.mean for one in values.values()]))
            data[f"{name}_stderr"] = (dims, np.stack([one.stderr for one in values.values()]))
        return data.assign_coords(fermi_level=self.fermi_level)

    def summary(self) -> Group:
        """g at the lowest frequency, σ, Σ and what to be careful about."""
        response = self.response
        index = int(np.argmin(np.abs(response.frequency)))
        broadening = -np.imag(np.diagonal(response.self_energy.mean))
        title = f"μ = {self.fermi_level:g} eV, −Im Σ = {', '.join(f'{x:.3g}' for x in broadening)} eV on the impurities"
        table = Table(title=f"{title}\nIm g_ab at {response.frequency[index]:g} THz", title_justify="left")
        for column in ("ab", *response.g):
            table.add_column(column, justify="right")
        for a, b in np.ndindex(3, 3):
            parts = [one.map(lambda g, a=a, b=b: np.imag(g[:, index, a, b])) for one in response.g.values()]
            if any(np.any(part.mean) for part in parts):
                row = (with_uncertainty(float(part.mean), float(part.stderr)) for part in parts)
                table.add_row(_AXES[a] + _AXES[b], *row)
        return Group(table, *(Text(f"warning: {message}", style="yellow") for message in response.warnings))


def run(config: cfg.Config, progress: Progress, done: Callable[[Point], None]) -> None:
    """Every Fermi level of the configuration; ``done`` is called with each.

    Raises:
        ConfigError: a temperature, or phenomenological disorder, which has no self-energy.
        JaxkinError: what :func:`jaxkin.quantum.gyrotropic` refuses.
    """
    if any(cfg.numbers("temperature", config.surface.temperature)):
        raise ConfigError("response.solver = 'quantum' is at T = 0: set surface.temperature = 0.")
    if not config.disorder.impurities:
        raise ConfigError(
            "response.solver = 'quantum' needs a potential: give [[disorder.impurities]] with kind = 'point'."
        )
    model = cfg.build_model(config.model)
    if not isinstance(model, TightBinding):
        raise ConfigError("response.solver = 'quantum' needs a tight-binding model.")
    disorder, quantum = cfg.build_disorder(config.disorder, model), config.quantum
    for level in cfg.numbers("fermi_level", config.surface.fermi_level):
        start = time.perf_counter()
        response = gyrotropic(
            model,
            disorder,
            float(level),
            cfg.numbers("frequency", config.response.frequency),
            grid=quantum.grid,
            replicas=config.surface.replicas,
            seed=config.surface.seed,
            bands=quantum.bands,
            sea=quantum.sea,
            progress=progress,
        )
        done(Point(float(level), response, time.perf_counter() - start))


def write(points: list[Point], config: cfg.Config, document: str, folder: Path) -> list[Path]:
    """``result.nc``, ``result.json`` and ``config.toml`` in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / name for name in ("result.nc", "result.json", "config.toml")]
    ds.save(xr.concat([point.dataset for point in points], dim="fermi_level"), paths[0])
    paths[1].write_text(document)
    paths[2].write_text(cfg.as_toml(config))
    return paths
