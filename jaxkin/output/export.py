"""The Fermi surface for other programs: band energies for XCrySDen, triangles for ParaView, points, a web page."""

from __future__ import annotations

import base64
import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxkin.errors import JaxkinError
from jaxkin.hamiltonian.bloch import BlochModel
from jaxkin.hamiltonian.spectrum import Spectrum
from jaxkin.output.colouring import UNITS, colourings, known
from jaxkin.output.folder import replace_file
from jaxkin.surface.mesh import Mesh

if TYPE_CHECKING:
    from jaxkin.surface.surface import Surface

SUFFIXES = {
    ".bxsf": "band energies on a grid, for XCrySDen and FermiSurfer",
    ".vtk": "triangles with band geometry, for ParaView",
    ".csv": "sampled points",
    ".html": "a page that turns in any browser",
    ".png": "a picture",
}
APART = 1 / 3
"""Of the whole mesh, that the largest pocket is smaller than where a page begins with that pocket."""
GRID = 48
"""Points of a .bxsf along each reciprocal vector, if not asked for otherwise."""

Quantity = Callable[[Any, Any], Any]
"""A JAX function F(k, band) of one point, as :meth:`jaxkin.Surface.integrate` takes; a number or a vector (3,)."""


def check_suffix(path: Path) -> str:
    """The ending by which a format is chosen.

    Raises:
        JaxkinError: there is no such format.
    """
    if path.suffix not in SUFFIXES:
        formats = "; ".join(f"{suffix}: {what}" for suffix, what in SUFFIXES.items())
        raise JaxkinError(f"{path}: no format {path.suffix or 'without an ending'!r} to export to; choose {formats}.")
    return path.suffix


def evaluated(quantities: Mapping[str, Quantity], k: np.ndarray, band: np.ndarray) -> dict[str, np.ndarray]:
    """Each F(k, band) at all points, (N,) or (N, 3)."""
    return {
        name: np.asarray(jax.jit(jax.vmap(function))(jnp.asarray(k), jnp.asarray(band)))
        for name, function in quantities.items()
    }


def write(path: Path, content: str | bytes) -> Path:
    """Write a file, whole or not at all."""
    return replace_file(path, content if isinstance(content, bytes) else content.encode())


def bxsf(model: BlochModel, level: float, grid: int = GRID) -> str:
    """Energies of the bands that have the ``level`` (eV), on a grid that holds both ends of each reciprocal vector.

    Vectors are in Å⁻¹, 2π included, and the last index runs fastest, as in files of Wannier90. Of a k·p model it is the
    box. Where no band has the level, the nearest one is written.

    Raises:
        JaxkinError: a model that is not of three dimensions.
    """
    if model.dimension != 3:
        raise JaxkinError(
            f".bxsf holds bands in three dimensions, and this model has {model.dimension}; take .vtk or .csv."
        )
    low, high = np.array(model.zone).T
    x = np.stack(np.meshgrid(*[np.linspace(0, 1, grid + 1)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    energy = Spectrum(model)(low + (high - low) * x)
    crossing = np.flatnonzero((energy.min(axis=0) < level) & (energy.max(axis=0) > level))
    if not crossing.size:
        crossing = np.array([int(np.argmin(np.abs(energy - level).min(axis=0)))])
    vectors, points = (high - low)[:, None] * np.asarray(model.basis), grid + 1
    lines = [
        "BEGIN_INFO", f"  # jaxkin: eV, 1/Angstrom; bands are numbered from 1, {model.size} in all",
        f"  Fermi Energy: {level:.10g}", "END_INFO", "BEGIN_BLOCK_BANDGRID_3D", "  jaxkin", "  BEGIN_BANDGRID_3D_bands",
        f"    {len(crossing)}", f"    {points} {points} {points}",
        *("    " + " ".join(f"{value:.10f}" for value in row) for row in (low @ np.asarray(model.basis), *vectors)),
    ]  # fmt: skip
    for band in crossing:
        rows = energy[:, band].reshape(-1, points)
        lines += [f"    BAND: {band + 1}", *("      " + " ".join(f"{value:.8e}" for value in row) for row in rows)]
    return "\n".join([*lines, "  END_BANDGRID_3D", "END_BLOCK_BANDGRID_3D", ""])


def vtk(mesh: Mesh, title: str) -> str:
    """Triangles, or segments, with what is known at their corners, in VTK's legacy format; k in Å⁻¹.

    Args:
        mesh: in the first zone.
        title: one line.
    """
    corners = mesh.simplices.shape[1]
    lines = ["# vtk DataFile Version 3.0", title, "ASCII", "DATASET POLYDATA", f"POINTS {len(mesh.vertices)} double"]
    lines += [" ".join(f"{value:.9g}" for value in row) for row in mesh.vertices]
    kind, count = ("POLYGONS" if corners == 3 else "LINES"), len(mesh.simplices)
    lines += [f"{kind} {count} {count * (corners + 1)}"]
    lines += [" ".join(map(str, [corners, *row])) for row in mesh.simplices]
    lines += [f"POINT_DATA {len(mesh.vertices)}"]
    for name, values in {"band": mesh.band, "pocket": mesh.pocket}.items():
        lines += [f"SCALARS {name} int 1", "LOOKUP_TABLE default", *map(str, values)]
    for name, values in known(mesh).items():
        vector = values.ndim == 2
        lines += (
            [f"VECTORS {_spelt(name)} double"]
            if vector
            else [f"SCALARS {_spelt(name)} double 1", "LOOKUP_TABLE default"]
        )
        lines += [" ".join(f"{value:.9g}" for value in np.atleast_1d(row)) for row in values]
    return "\n".join([*lines, ""])


def table(columns: Mapping[str, np.ndarray], units: Mapping[str, str]) -> str:
    """CSV with ``name[unit]`` in the first line; vectors make three columns.

    >>> print(table({"k": np.array([[0.0, 0.5, 1.0]]), "band": np.array([3])}, {"k": "1/A"}).strip())
    k_x[1/A],k_y[1/A],k_z[1/A],band
    0.0,0.5,1.0,3
    """
    flat = {}
    for name, values in columns.items():
        unit = f"[{units[name]}]" if name in units else ""
        parts = {f"{name}_{axis}{unit}": values[:, a] for a, axis in enumerate("xyz")} if values.ndim == 2 else {}
        flat |= parts or {f"{name}{unit}": values}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(flat)
    writer.writerows(zip(*(values.tolist() for values in flat.values()), strict=True))
    return text.getvalue()


def points(surface: Surface, further: Mapping[str, np.ndarray]) -> str:
    """CSV of a surface's points with their weights, and of ``further`` values (N,) or (N, 3)."""
    weight = f"1/(eV A^{surface.model.dimension})"
    columns = {
        "k": np.asarray(surface.model.cartesian(surface.k)),
        **{name: getattr(surface, name) for name in ("band", "pocket", "replica", "weight", "energy", "velocity")},
        **{name: getattr(surface, name) for name in ("orbital_moment", "berry_curvature")},
        **further,
    }
    return table(columns, {"k": "1/A", "weight": weight, "energy": "eV", **UNITS})


def page(mesh: Mesh, edges: np.ndarray, title: str) -> str:
    """A web page of its own that shows the surface, to be turned, coloured by any quantity.

    Args:
        mesh: in the first zone.
        edges: (E, 2, 3) of the zone in Å⁻¹.
        title: one line.
    """
    data = {
        "title": title,
        "corners": mesh.simplices.shape[1],
        "vertices": _packed(mesh.vertices, np.float32),
        "normals": _packed(mesh.velocity, np.float32),
        "simplices": _packed(mesh.simplices, np.uint32),
        "edges": _packed(edges, np.float32),
        "boxes": (boxes := _boxes(mesh)),
        "first": int(_widest(boxes[1]) < APART * _widest(boxes[0])),
        "quantities": [
            {"label": one.label, "signed": one.signed, "values": _packed(one.values, np.float32)}
            for one in colourings(mesh).values()
            if np.any(one.values)
        ],
    }
    template = resources.files("jaxkin.output").joinpath("viewer.html").read_text(encoding="utf-8")
    return template.replace("/*DATA*/null", json.dumps(data, ensure_ascii=False).replace("<", "\\u003c"))


def picture(mesh: Mesh, edges: np.ndarray, title: str, colours: Sequence[str]) -> bytes:
    """A PNG with a panel for each of the ``colours``; the rest as for :func:`page`.

    Raises:
        JaxkinError: no such quantity, or no matplotlib.
    """
    try:
        from jaxkin.output import pictures, relief
    except ImportError as error:
        raise JaxkinError("a picture needs matplotlib: pip install matplotlib.") from error
    return pictures.png(relief.drawn(mesh, edges, title, colours))


def _boxes(mesh: Mesh) -> list[dict[str, Any]]:
    """The ends of all of the mesh, and of each pocket."""
    parts = {"all pockets": mesh.vertices}
    parts |= {f"pocket {number + 1}": mesh.vertices[mesh.pocket == number] for number in np.unique(mesh.pocket)}
    return [{"label": name, "low": x.min(axis=0).tolist(), "high": x.max(axis=0).tolist()} for name, x in parts.items()]


def _widest(box: dict[str, Any]) -> float:
    return float(np.max(np.subtract(box["high"], box["low"])))


def _spelt(name: str) -> str:
    """A name without spaces, with its unit."""
    return f"{name}_{UNITS[name]}".replace(" ", "_").replace("/", "_per_") if name in UNITS else name.replace(" ", "_")


def _packed(values: np.ndarray, kind: type) -> str:
    """Little-endian numbers in base 64."""
    return base64.b64encode(np.ascontiguousarray(values, np.dtype(kind).newbyteorder("<")).tobytes()).decode()
