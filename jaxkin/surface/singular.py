"""Where the density of states is singular: flat bands, and van Hove energies, at the level."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from jaxkin.surface.nodes import Nodes, zone_box
from jaxkin.surface.points import point_geometry
from jaxkin.surface.search import ROUNDING, Pocket

POLISH_STEPS = 8
LONGEST = 0.02
"""Of an edge of the zone: the longest of these steps."""
EXACT = 1e-9
"""Distance from a critical energy, in units of the band's second derivative over the zone, that counts as none."""
NEARER = 8
"""Lines this much denser than all there are would show what they do not."""
SINGULAR = 1e-6
"""Determinant of ∂²ε, of what it could be, below which a critical point is degenerate."""
MOST = 64
"""Critical points that are looked at."""


def flat_doubts(nodes: Nodes, level: float) -> list[str]:
    """A line of text for each band that is flat to rounding at ``level`` (eV)."""
    energies, found = nodes.first, []
    near = ROUNDING * max(float(np.abs(energies).max()), 1.0)
    mode = "wrap" if nodes.spectrum.model.periodic else "nearest"
    for band in np.flatnonzero(np.any(np.abs(energies - level) <= near, axis=tuple(range(energies.ndim - 1)))):
        one = energies[..., band]
        spread = ndimage.maximum_filter(one, 3, mode=mode) - ndimage.minimum_filter(one, 3, mode=mode)
        flat = (spread <= near) & (np.abs(one - level) <= near)
        if flat.any():
            found.append(
                f"band {band} is flat at {level:g} eV in {flat.mean():.0%} of the zone: its density of states is "
                "infinite at T = 0 and left out, with the bands that cross it there; move the level, or raise T."
            )
    return found


def van_hove_doubts(nodes: Nodes, pockets: Sequence[Pocket], level: float, lines: int) -> list[str]:
    """A line of text for each band with a critical point so near in energy to ``level`` (eV) that it does not show.

    In two dimensions the density of states diverges like a logarithm, and what cuts it off is seen by lines only that
    come as near to the saddle in k: of ``lines`` across a box none may. In one dimension roots are exact, in three
    there is a kink: the level itself must be critical.
    """
    found: dict[int, str] = {}
    edges, periodic = zone_box(nodes.spectrum.model.zone)[1], nodes.spectrum.model.periodic
    for pocket in pockets:
        band, k, hessian = _candidates(pocket, level)
        if not len(k):
            continue
        for _ in range(POLISH_STEPS):
            slope = point_geometry(nodes.spectrum.model, k, band, ("velocity",), spectrum=nodes.spectrum)["velocity"]
            slope = slope @ np.asarray(nodes.spectrum.model.basis).T * edges
            k = k - edges * np.clip(np.linalg.solve(hessian, slope[..., None])[..., 0], -LONGEST, LONGEST)
        energy = nodes.spectrum(k)[np.arange(len(k)), band]
        apart = float(np.max(pocket.edges / edges)) / (NEARER * lines) if k.shape[1] == 2 else 0.0
        near = np.abs(np.linalg.eigvalsh(hessian)).max(axis=1) * max(apart**2, EXACT)
        for one in np.flatnonzero(np.abs(energy - level) <= near):
            place, distance = np.round(k[one] % 1.0 if periodic else k[one], 4).tolist(), abs(energy[one] - level)
            found[int(band[one])] = (
                f"{level:g} eV is a van Hove energy of band {band[one]} (critical at k = {place}, {distance:.1g} eV "
                "away): the density of states is singular there, and its standard error means little; move the "
                f"level by more than {near[one]:.1g} eV."
            )
    return list(found.values())


def _candidates(pocket: Pocket, level: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Band, k and ∂²ε over the zone's edges where an element's polynomial is critical at about the ``level``."""
    elements, d = pocket.elements, len(pocket.edges)
    f = elements.values
    middle = (slice(None), *(1,) * d)

    def at(*steps: tuple[int, int]) -> np.ndarray:
        index = [1] * d
        for axis, step in steps:
            index[axis] += step
        return f[(slice(None), *index)]

    slope = np.stack([0.5 * (at((i, 1)) - at((i, -1))) for i in range(d)], axis=1)
    bend = np.empty((len(f), d, d))
    for i in range(d):
        bend[:, i, i] = at((i, 1)) - 2 * f[middle] + at((i, -1))
        for j in range(i):
            mixed = at((i, 1), (j, 1)) - at((i, 1), (j, -1)) - at((i, -1), (j, 1)) + at((i, -1), (j, -1))
            bend[:, i, j] = bend[:, j, i] = 0.25 * mixed
    regular = ~elements.rough & (np.abs(np.linalg.det(bend)) > SINGULAR * elements.bend**d)
    regular &= elements.bend > ROUNDING * max(float(np.abs(f).max(initial=0.0)), 1.0)
    step = np.zeros((len(f), d))
    step[regular] = -np.linalg.solve(bend[regular], slope[regular][..., None])[..., 0]
    energy = f[middle] + 0.5 * (slope * step).sum(axis=1)
    chosen = np.flatnonzero(regular & np.all(np.abs(step) <= 1.1, axis=1) & (np.abs(energy - level) <= elements.bend))
    chosen = chosen[np.argsort(np.abs(energy[chosen] - level))][:MOST]
    row, *cell = np.nonzero(elements.index >= 0)
    first = np.unique(elements.index[elements.index >= 0], return_index=True)[1][chosen]
    block = (pocket.start + np.stack(cell, axis=1)[first]) % pocket.per_edge // 2
    lo, edges = zone_box(pocket.nodes.spectrum.model.zone)
    k = lo + edges * (2 * block + 1 + step[chosen]) / pocket.per_edge
    return np.array(pocket.bands)[row[first]], k, bend[chosen] * pocket.per_edge**2
