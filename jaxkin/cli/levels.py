"""Fermi level and temperature of every point of a run, from levels or from densities of carriers."""

from __future__ import annotations

from typing import NamedTuple

from jaxkin.cli.config import SurfaceConfig
from jaxkin.cli.section import numbers
from jaxkin.hamiltonian.bloch import BlochModel
from jaxkin.surface.density import Density
from jaxkin.surface.filling import fermi_levels
from jaxkin.surface.plan import Progress


class Place(NamedTuple):
    """Where a point lies: μ in eV, T in K, and the density that made μ."""

    fermi_level: float
    temperature: float
    density: Density | None = None


def count(surface: SurfaceConfig) -> int:
    """How many points a configuration has."""
    levels = _densities(surface) or numbers("fermi_level", surface.fermi_level)
    return len(levels) * numbers("temperature", surface.temperature).size


def places(surface: SurfaceConfig, model: BlochModel, progress: Progress | None = None) -> list[Place]:
    """All points in the order in which they are computed: temperature by temperature.

    Raises:
        JaxkinError: a density that cannot be read, or that the model's bands do not hold.
    """
    temperatures = numbers("temperature", surface.temperature).tolist()
    if surface.density is None:
        levels = numbers("fermi_level", surface.fermi_level).tolist()
        return [Place(mu, kelvin) for kelvin in temperatures for mu in levels]
    wanted = [Density.read(text, model.dimension) for text in _densities(surface)]
    pairs = [(kelvin, density) for kelvin in temperatures for density in wanted]
    levels = fermi_levels(
        model,
        [density.value for _, density in pairs],
        [kelvin for kelvin, _ in pairs],
        filled=surface.filled,
        seed=surface.seed,
        budget=surface.budget,
        progress=progress,
    )
    return [Place(level, kelvin, density) for level, (kelvin, density) in zip(levels, pairs, strict=True)]


def _densities(surface: SurfaceConfig) -> list[str]:
    return [surface.density] if isinstance(surface.density, str) else surface.density or []
