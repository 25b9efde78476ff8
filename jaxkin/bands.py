"""Bands along a path through the zone."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxkin.checks import check_count, check_kind, numbers
from jaxkin.errors import JaxkinError
from jaxkin.hamiltonian.bloch import BlochModel
from jaxkin.hamiltonian.structure import SYMMETRIC, Structure, optional
from jaxkin.hamiltonian.tight_binding import TightBinding

MOST_POINTS = 1_000_000
"""Of a path."""
SQUARE = {"Γ": (0, 0), "X": (0.5, 0), "M": (0.5, 0.5), "Y": (0, 0.5)}
HEXAGON = {"Γ": (0, 0), "M": (0.5, 0), "K": (1 / 3, 1 / 3)}
ABOVE = {"Γ": "A", "M": "L", "K": "H"}
"""The points half a reciprocal vector above those of the hexagon."""

Line = list[tuple[str, Sequence[float]]]
"""Labelled points that straight pieces join."""


class BandPath(NamedTuple):
    """Points along a path, for bands and their picture: docs/your_material.md, "1. Look at the file".

    Attributes:
        k: (N, d) model coordinates.
        distance: (N,) length along the path in Å⁻¹; a jump to another line adds nothing.
        ticks: (M,) lengths in Å⁻¹ at which the labelled points lie.
        labels: M names, "U|K" where the path jumps.
        lines: parts of the points that hang together.
        origin: which path it is, in words.
    """

    k: np.ndarray
    distance: np.ndarray
    ticks: np.ndarray
    labels: tuple[str, ...]
    lines: tuple[slice, ...]
    origin: str


def band_path(
    model: BlochModel,
    points: Any = None,
    labels: Sequence[str] | None = None,
    *,
    structure: Structure | None = None,
    n: int = 300,
) -> BandPath:
    """A path through labelled points of k, about equally dense in Å⁻¹: ``model.bands(path.k)`` are the bands on it.

    Standard paths: Y. Hinuma, G. Pizzi, Y. Kumagai, F. Oba, I. Tanaka, Comput. Mater. Sci. 128, 140 (2017).

    Args:
        model: any Bloch model.
        points: (M, d) model coordinates that straight pieces join, or a list of such lines. None takes the standard
            path of the crystal: seekpath's in three dimensions where it is installed (extra ``structure``), else one
            along the edges of the reduced coordinates; for a k·p model the axes through the middle of its box.
        labels: names of the points, one list for each line if there are several; numbers where left out.
        structure: the atoms, for the standard path of their space group; else it is that of the lattice.
        n: number of points, about.

    Raises:
        JaxkinError: points of another dimension, fewer than two, labels that do not fit.

    >>> import jaxkin as jk
    >>> path = jk.band_path(jk.models.get("haldane"), [[0, 0], [2 / 3, 1 / 3]], ["Γ", "K"], n=5)
    >>> [round(float(x), 4) for x in path.distance]  # K is 4π/3a away
    [0.0, 1.0472, 2.0944, 3.1416, 4.1888]
    """
    check_kind("model", model, BlochModel, "a Bloch model, such as jaxkin.models.get('tellurium')")
    check_count("n", n, 2, most=MOST_POINTS)
    lines, origin = _standard(model, structure) if points is None else (_named(model, points, labels), "as given")
    vertices = [np.array([where for _, where in line], float) for line in lines]
    metric = np.asarray(model.basis)
    lengths = [np.linalg.norm(np.diff(line, axis=0) @ metric, axis=1) for line in vertices]
    whole = sum(float(length.sum()) for length in lengths)
    if not whole > 0:
        raise JaxkinError("points: the path has no length.")
    k, distance, ticks, names, parts, start = [], [], [], [], [], 0.0
    for line, corner, length in zip(lines, vertices, lengths, strict=True):
        first = sum(map(len, k))
        along = np.concatenate([[0.0], np.cumsum(length)])
        steps = np.maximum(1, np.rint((n - 1) * length / whole)).astype(int)
        where = np.concatenate([
            [0.0], *(along[i] + length[i] * np.arange(1, count + 1) / count for i, count in enumerate(steps))
        ])  # fmt: skip
        k.append(np.stack([np.interp(where, along, column) for column in corner.T], axis=1))
        distance.append(start + where)
        if names:
            names[-1] = line[0][0] if names[-1] == line[0][0] else f"{names[-1]}|{line[0][0]}"
        else:
            ticks.append(start)
            names.append(line[0][0])
        ticks += (start + along[1:]).tolist()
        names += [name for name, _ in line[1:]]
        parts.append(slice(first, first + len(where)))
        start += float(along[-1])
    return BandPath(np.concatenate(k), np.concatenate(distance), np.array(ticks), tuple(names), tuple(parts), origin)


def _named(model: BlochModel, points: Any, labels: Any) -> list[Line]:
    """Lines of points as given."""
    try:
        several = np.ndim(points[0][0]) > 0
    except (TypeError, IndexError, KeyError):
        raise JaxkinError("points must be rows of model coordinates, or a list of such lines.") from None
    lines = list(points) if several else [points]
    meaning = f"rows of {model.dimension} model coordinates, two at least"
    found = [numbers("points", line, meaning) for line in lines]
    if any(line.ndim != 2 or line.shape[1] != model.dimension or len(line) < 2 for line in found):
        raise JaxkinError(f"points must be {meaning}.")
    names = [[_name(row) for row in line] for line in found] if labels is None else labels if several else [labels]
    if [len(line) for line in names] != [len(line) for line in found]:
        raise JaxkinError("labels must be one for each of the points.")
    return [list(zip(map(str, name), line, strict=True)) for name, line in zip(names, found, strict=True)]


def _name(row: np.ndarray) -> str:
    return "Γ" if not row.any() else "(" + " ".join(f"{x:.3g}" for x in row) + ")"


def _standard(model: BlochModel, structure: Structure | None) -> tuple[list[Line], str]:
    if not isinstance(model, TightBinding):
        return _axes(model), "axes through the middle of the box"
    if model.dimension == 1:
        return [[("−X", (-0.5,)), ("Γ", (0.0,)), ("X", (0.5,))]], "the zone"
    if model.dimension == 2:
        return _plane(np.asarray(model.lattice))
    try:
        seekpath = optional("seekpath", "structure")
    except JaxkinError:
        lines, origin = _solid(np.asarray(model.lattice))
        return lines, f'{origin} (the path of the space group needs pip install "jaxkin[structure]")'
    atoms = structure or Structure(np.asarray(model.lattice), np.zeros((1, 3)), ["X"])
    cell = (np.asarray(model.lattice), *atoms.cell[1:])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what it deprecates, and of supercells
        found = seekpath.get_path_orig_cell(cell, symprec=SYMMETRIC)
    where = found["point_coords"]
    lines: list[Line] = []
    for one, other in found["path"]:
        if not lines or lines[-1][-1][0] != _letter(one):
            lines.append([(_letter(one), where[one])])
        lines[-1].append((_letter(other), where[other]))
    kind = "space group" if structure else "lattice"
    return lines, f"seekpath's of the {kind}, {found['bravais_lattice_extended']}"


def _letter(name: str) -> str:
    return name.replace("GAMMA", "Γ").replace("_0", "₀").replace("_2", "₂")


def _plane(lattice: np.ndarray) -> tuple[list[Line], str]:
    """Γ–M–K–Γ of a hexagonal lattice, Γ–X–M–Y–Γ of any other."""
    one, other = np.linalg.norm(lattice, axis=1)
    cosine = float(lattice[0] @ lattice[1] / (one * other))
    if abs(one - other) > 1e-3 * one or abs(abs(cosine) - 0.5) > 1e-3:
        return [[(name, SQUARE[name]) for name in "ΓXMYΓ"]], "Γ X M Y Γ in reduced coordinates"
    corner = HEXAGON | ({"K": (2 / 3, 1 / 3)} if cosine > 0 else {})
    return [[(name, corner[name]) for name in "ΓMKΓ"]], "of the hexagonal lattice"


def _solid(lattice: np.ndarray) -> tuple[list[Line], str]:
    """Γ–M–K–Γ–A–L–H–A where the third axis is that of a hexagonal prism, else edges of the reduced coordinates."""
    slanted = np.abs(lattice[:2] @ lattice[2]).max() > 1e-3 * np.linalg.norm(lattice[2]) * np.linalg.norm(lattice[0])
    (bottom,), origin = _plane(lattice[:2])
    if slanted or "K" not in dict(bottom):
        corners = [(0, 0, 0), (0.5, 0, 0), (0.5, 0.5, 0), (0, 0, 0), (0, 0, 0.5), (0.5, 0, 0.5), (0.5, 0.5, 0.5)]
        return [[(_name(np.array(corner)), corner) for corner in corners]], "edges of the reduced coordinates"
    bases = ((bottom, 0.0), ([(ABOVE[name], where) for name, where in bottom], 0.5))
    return [[(name, (*where, height)) for base, height in bases for name, where in base]], origin


def _axes(model: BlochModel) -> list[Line]:
    low, high = np.array(model.zone, float).T
    middle = 0.5 * (low + high)
    lines: list[Line] = []
    for axis, name in zip(range(model.dimension), "xyz", strict=False):
        ends = [np.where(np.arange(model.dimension) == axis, end, middle) for end in (low, high)]
        lines.append([(f"−{name}", ends[0].tolist()), ("0", middle.tolist()), (name, ends[1].tolist())])
    return lines
