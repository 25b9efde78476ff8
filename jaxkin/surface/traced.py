"""A frozen surface at some model, μ and T: all points of all shells as JAX arrays, and what disorder asks a surface."""

from __future__ import annotations

from typing import NamedTuple

import equinox as eqx
import numpy as np
from jaxtyping import Array, Bool, Complex, Float, Int

from jaxkin import units
from jaxkin.geometry import BandGeometry
from jaxkin.hamiltonian.bloch import BlochModel
from jaxkin.surface.frozen_green import FrozenGreen, freeze_green
from jaxkin.surface.shells import Surface


class Layout(NamedTuple):
    """Where each shell's points stand among all.

    Attributes:
        place: their numbers, the first repeated where a shell has fewer than the largest, (shells, M).
        present: where they are not.
        sheet: number of the closed piece of the surface a point belongs to.
        level: which of the different energies is the shell's, (shells,).
        height: (energy − μ)/kT of those energies, (E,).
    """

    place: Int[Array | np.ndarray, "shells M"]
    present: Bool[Array | np.ndarray, "shells M"]
    sheet: Int[Array | np.ndarray, "shells M"]
    level: Int[Array | np.ndarray, " shells"]
    height: Float[Array | np.ndarray, " E"]


class TracedShells(eqx.Module):
    """The states of all shells, leaves (shells, M, ...); one shell of it is what collisions are made of.

    Attributes:
        energy: of each shell, eV.
        weights, thermal: in ∫(dk) δ(ε−ε_shell) and ∫(dk)(−f⁰'), zero where a shell has no such point.
        k: Cartesian, Å⁻¹.
        geometry: of each point.
        bloch: |u⟩ and |D_a u⟩, zero where a shell has no such point.
        sheet: closed piece of the surface.
    """

    energy: Array
    weights: Array
    thermal: Array
    k: Array
    geometry: BandGeometry
    bloch: tuple[Complex[Array, "... n"], Complex[Array, "... 3 n"]]
    sheet: Array | np.ndarray


class TracedSurface(eqx.Module):
    """What disorder asks a :class:`Surface` for, as JAX arrays.

    Attributes:
        model: of the points.
        levels: the different energies of the shells, eV, (E,).
        shells: their points.
        states: density of states per eV and Å^d.
        greens: what :func:`frozen_greens` kept of Green functions.
    """

    model: BlochModel
    levels: Array
    shells: TracedShells
    states: Array
    greens: tuple[FrozenGreen, ...]
    keys: tuple = eqx.field(static=True)

    def green_function(self, key: tuple) -> Array:
        """G at all :attr:`levels`, (E, m, m), which the sampled surface keeps under ``key``."""
        return self.greens[self.keys.index(key)](self.model, self.levels)

    def density_of_states(self) -> _Mean:
        """Its mean over replicas, as an estimate has it."""
        return _Mean(self.states)


class _Mean(NamedTuple):
    mean: Array


def layout(surface: Surface) -> Layout:
    """Where the points of a surface's shells are."""
    counts = np.array([shell.points.stop - shell.points.start for shell in surface.shells])
    starts = np.array([shell.points.start for shell in surface.shells])
    present = np.arange(counts.max()) < counts[:, None]
    place = starts[:, None] + np.where(present, np.arange(counts.max()), 0)
    levels, level = np.unique([shell.energy for shell in surface.shells], return_inverse=True)
    width = units.BOLTZMANN * surface.temperature
    sheets = np.unique(surface.pocket * surface.model.size + surface.band, return_inverse=True)[1]
    height = (levels - surface.fermi_level) / (width or 1.0)
    return Layout(place, present, sheets.ravel()[place], level.ravel(), height)


def frozen_greens(surface: Surface) -> dict[tuple, FrozenGreen]:
    """The Green functions that a surface keeps, each with the quadrature that gave it."""
    levels = np.unique([shell.energy for shell in surface.shells])
    found = {}
    for key in [key for key in surface.kept if key[0] == "green function"]:
        orbitals, cells = zip(*key[1], strict=True)
        name = ("frozen", *key)
        if name not in surface.kept:
            surface.kept[name] = freeze_green(surface.kept[key], levels, orbitals, np.array(cells))
        found[key] = surface.kept[name]
    return found
