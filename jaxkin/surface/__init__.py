"""Fermi-surface points: search, samplers, shells."""

from jaxkin.surface.fermi import Shell, Surface, fermi_surface
from jaxkin.surface.grid import Grid
from jaxkin.surface.lines import Lines

__all__ = ["Grid", "Lines", "Shell", "Surface", "fermi_surface"]
