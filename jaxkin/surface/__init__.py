"""Fermi-surface points: search, samplers, shells."""

from jaxkin.surface.fermi import fermi_surface
from jaxkin.surface.grid import Grid
from jaxkin.surface.lines import Lines
from jaxkin.surface.shells import Shell, Surface

__all__ = ["Grid", "Lines", "Shell", "Surface", "fermi_surface"]
