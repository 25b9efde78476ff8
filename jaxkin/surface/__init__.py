"""Fermi-surface points: search, samplers, shells."""

from jaxkin.surface.edges import BandEdges, band_edges
from jaxkin.surface.extents import Extent, pocket_extents
from jaxkin.surface.fermi import Surfaces, fermi_surface, fermi_surfaces
from jaxkin.surface.filling import fermi_level, fermi_levels
from jaxkin.surface.grid import Grid
from jaxkin.surface.lines import Lines
from jaxkin.surface.surface import Shell, Surface
from jaxkin.surface.thermal_grid import ThermalGrid

__all__ = [
    "BandEdges",
    "Extent",
    "Grid",
    "Lines",
    "Shell",
    "Surface",
    "Surfaces",
    "ThermalGrid",
    "band_edges",
    "fermi_level",
    "fermi_levels",
    "fermi_surface",
    "fermi_surfaces",
    "pocket_extents",
]
