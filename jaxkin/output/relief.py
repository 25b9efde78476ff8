"""Pictures of the Fermi surface: shaded triangles, in two dimensions lines, coloured by what lives on them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any

import matplotlib
import numpy as np
import xarray as xr
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from mpl_toolkits.mplot3d.art3d import Line3DCollection, Poly3DCollection

from jaxkin.output.colouring import Colouring, chosen
from jaxkin.output.dataset import XYZ, mesh_of
from jaxkin.surface.mesh import Mesh

ELEVATION, AZIMUTH = 18.0, -58.0
"""Degrees from which the surface is seen."""
SMOOTH = 6000
"""Triangles below which each is drawn as four, so that colours run smoothly."""
LIT, AMBIENT = (0.35, -0.55, 0.75), 0.58
"""Direction of the light from the viewer's side, and the part of it that is everywhere."""
THINNEST = 0.35
"""Of the longest edge of the picture's box, that the others are at least."""
SPELT = {"mu_B": "$\\mu_B$", "A^2": "Å$^2$", "eV A": "eV Å"}
"""Units of files, in pictures."""
ACROSS = 3
"""Panels beside each other."""
ZONE = 0.25
"""Of the zone's size, from which a surface is drawn together with the zone."""


def fermi_surface(dataset: xr.Dataset, colours: Sequence[str] = ()) -> Figure | None:
    """The surface of a result, by default with the orbital moment and the skew acceleration, or else the velocity.

    Raises:
        JaxkinError: what :func:`jaxkin.output.colouring.chosen` refuses.
    """
    mesh = mesh_of(dataset)
    if mesh is None:
        return None
    level, mu = float(dataset.mesh_k.attrs["energy_eV"]), float(np.ravel(dataset.fermi_level.values)[0])
    name = "Fermi surface" if level == mu else f"surface of ε = {level:.4g} eV"
    title = f"{name}, μ = {mu:g} eV, T = {float(np.ravel(dataset.temperature.values)[0]):g} K"
    return drawn(mesh, dataset.zone_edges.values, title, colours, int(dataset.mesh_k.attrs["pockets_found"]))


def drawn(mesh: Mesh, edges: np.ndarray, title: str, colours: Sequence[str], total: int = 0) -> Figure:
    """A mesh in the first zone, a panel for each colour.

    Where small pockets lie far apart only the largest, and what shares its place, is drawn.

    Args:
        mesh: not empty.
        edges: (E, 2, 3) of the zone in Å⁻¹.
        title: one line.
        colours: names, as for :func:`jaxkin.output.colouring.chosen`.
        total: pockets of the surface, if the mesh has not all of them.
    """
    total = max(total, len(np.unique(mesh.pocket)))
    mesh, pockets = _together(mesh)
    panels = chosen(mesh, colours)
    if np.ptp(mesh.vertices, axis=0).max() < ZONE * np.ptp(edges.reshape(-1, 3), axis=0).max():
        edges = edges[:0]
    rows = -(-len(panels) // ACROSS)
    across = -(-len(panels) // rows)
    figure = Figure(figsize=(5.4 * across, 5.0 * rows), layout="constrained")
    for number, panel in enumerate(panels, start=1):
        shades = _shades(panel)
        if mesh.simplices.shape[1] == 3:
            ax: Any = figure.add_subplot(rows, across, number, projection="3d", computed_zorder=False)
            _draw_triangles(ax, mesh, panel.values, shades, edges)
        else:
            ax = figure.add_subplot(rows, across, number)
            _draw_lines(ax, mesh, panel.values, shades, edges)
        bar = figure.colorbar(shades, ax=ax, shrink=0.72, pad=0.13, aspect=24)
        bar.set_label(reduce(lambda text, pair: text.replace(*pair), SPELT.items(), panel.label))
        bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
    figure.suptitle(title + (f" ({pockets} of {total} pockets)" if pockets < total else ""))
    return figure


def _shades(panel: Colouring) -> ScalarMappable:
    """Colours, and the range they cover: but for the outermost percent, which bands that nearly touch have."""
    limit = float(np.quantile(np.abs(panel.values), 0.99)) or 1.0
    if panel.signed:
        return ScalarMappable(Normalize(-limit, limit), matplotlib.colormaps["RdBu_r"])
    return ScalarMappable(Normalize(float(panel.values.min()), limit), matplotlib.colormaps["viridis"])


def _together(mesh: Mesh) -> tuple[Mesh, int]:
    """All of the mesh, or the largest pocket and what shares its place if others lie far away; how many pockets."""
    k, count = mesh.vertices, len(np.unique(mesh.pocket))
    first = k[mesh.pocket == mesh.pocket.min()]
    low, high = first.min(axis=0), first.max(axis=0)
    if np.ptp(k, axis=0).max() < 3 * (high - low).max():
        return mesh, count
    near = [np.abs(k[mesh.pocket == p].mean(axis=0) - 0.5 * (low + high)) for p in np.unique(mesh.pocket)]
    kept = np.unique(mesh.pocket)[[bool(np.all(one <= high - low)) for one in near]]
    return mesh.part(np.isin(mesh.pocket, kept)), len(kept)


def _draw_triangles(ax: Any, mesh: Mesh, values: np.ndarray, shades: ScalarMappable, edges: np.ndarray) -> None:
    corners = np.concatenate([mesh.vertices, mesh.velocity, values[:, None]], axis=1)[mesh.simplices]
    if len(corners) < SMOOTH:
        corners = _divided(corners)
    face = shades.to_rgba(corners[..., 6].mean(axis=1))
    face[:, :3] *= _light(corners[..., 3:6].mean(axis=1))[:, None]
    ax.view_init(ELEVATION, AZIMUTH)
    ax.add_collection3d(Poly3DCollection(corners[..., :3], facecolors=face, edgecolors=face, linewidths=0.25, zorder=2))
    if len(edges):
        ax.add_collection3d(Line3DCollection(edges, colors="0.55", linewidths=0.8, zorder=1))
    points = np.concatenate([mesh.vertices, edges.reshape(-1, 3)])
    middle, half = 0.5 * (points.min(axis=0) + points.max(axis=0)), 0.52 * np.ptp(points, axis=0)
    half = np.maximum(half, THINNEST * half.max())
    for name, centre, reach in zip(XYZ, middle, half, strict=True):
        getattr(ax, f"set_{name}lim")(centre - reach, centre + reach)
        getattr(ax, f"set_{name}label")(f"$k_{name}$ (Å$^{{-1}}$)", labelpad=6)
        axis = getattr(ax, f"{name}axis")
        axis.set_pane_color((0.97, 0.97, 0.97, 1.0))
        axis._axinfo["grid"].update(color="0.88", linewidth=0.6)
    ax.set_box_aspect(half, zoom=0.95)
    ax.locator_params(nbins=4)
    ax.tick_params(labelsize=8, pad=2)


def _draw_lines(ax: Any, mesh: Mesh, values: np.ndarray, shades: ScalarMappable, edges: np.ndarray) -> None:
    ax.add_collection(LineCollection(list(edges[..., :2]), colors="0.6", linewidths=0.8))
    segments, style = list(mesh.vertices[mesh.simplices][..., :2]), {"cmap": shades.cmap, "norm": shades.norm}
    lines = LineCollection(segments, linewidths=2.6, capstyle="round", **style)
    lines.set_array(values[mesh.simplices].mean(axis=1))
    ax.add_collection(lines)
    ax.set_aspect("equal")
    ax.autoscale_view()
    ax.margins(0.08)
    ax.set_xlabel("$k_x$ (Å$^{-1}$)")
    ax.set_ylabel("$k_y$ (Å$^{-1}$)")
    ax.grid(alpha=0.25)


def _divided(corners: np.ndarray) -> np.ndarray:
    """Each triangle (T, 3, ...) as four."""
    a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
    ab, bc, ca = 0.5 * (a + b), 0.5 * (b + c), 0.5 * (c + a)
    parts = [(a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca)]
    return np.concatenate([np.stack(part, axis=1) for part in parts])


def _light(normal: np.ndarray) -> np.ndarray:
    """Brightness (T,) of faces with a normal along (T, 3), on the side that is seen."""
    up, turn = np.radians([ELEVATION, AZIMUTH])
    towards = np.array([np.cos(up) * np.cos(turn), np.cos(up) * np.sin(turn), np.sin(up)])
    right = np.array([-np.sin(turn), np.cos(turn), 0.0])
    light = np.array(LIT) @ np.stack([right, -towards, np.cross(towards, right)])
    n = normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-300)
    n = n * np.where(n @ towards < 0, -1.0, 1.0)[:, None]
    return np.clip(AMBIENT + (1 - AMBIENT) * np.maximum(n @ light, 0.0) / np.linalg.norm(light) * 1.15, 0.0, 1.0)
