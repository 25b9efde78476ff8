"""Pictures of the Fermi surface: shaded triangles, in two dimensions lines, coloured by what lives on them."""

from __future__ import annotations

from typing import Any, NamedTuple

import matplotlib
import numpy as np
import xarray as xr
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure
from mpl_toolkits.mplot3d.art3d import Line3DCollection, Poly3DCollection

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
ZONE = 0.25
"""Of the zone's size, from which a surface is drawn together with the zone."""


class Quantity(NamedTuple):
    """Numbers at the vertices, (V,), with a label; signed ones get a range of colours that is symmetric about zero."""

    label: str
    values: np.ndarray
    signed: bool

    @property
    def colours(self) -> tuple[Colormap, Normalize]:
        """The map, and the range it covers: but for the outermost percent, which bands that nearly touch have."""
        limit = float(np.quantile(np.abs(self.values), 0.99)) or 1.0
        if self.signed:
            return matplotlib.colormaps["RdBu_r"], Normalize(-limit, limit)
        return matplotlib.colormaps["viridis"], Normalize(float(self.values.min()), limit)


def fermi_surface(dataset: xr.Dataset) -> Figure | None:
    """The surface coloured by a component of the orbital moment and by the skew acceleration, or else the velocity.

    Where small pockets lie far apart only the largest, and what shares its place, is drawn.
    """
    mesh = mesh_of(dataset)
    if mesh is None:
        return None
    mesh, pockets = _together(mesh)
    quantities, edges = _panels(mesh), dataset.zone_edges.values
    if np.ptp(mesh.vertices, axis=0).max() < ZONE * np.ptp(edges.reshape(-1, 3), axis=0).max():
        edges = edges[:0]
    figure = Figure(figsize=(5.4 * len(quantities), 5.0), layout="constrained")
    for number, quantity in enumerate(quantities, start=1):
        if mesh.simplices.shape[1] == 3:
            ax: Any = figure.add_subplot(1, len(quantities), number, projection="3d", computed_zorder=False)
            _draw_triangles(ax, mesh, quantity, edges)
        else:
            ax = figure.add_subplot(1, len(quantities), number)
            _draw_lines(ax, mesh, quantity, edges)
        colours, norm = quantity.colours
        bar = figure.colorbar(ScalarMappable(norm, colours), ax=ax, shrink=0.72, pad=0.13, aspect=24)
        bar.set_label(quantity.label)
        bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
    total = int(dataset.mesh_k.attrs["pockets_found"])
    remark = f" ({pockets} of {total} pockets)" if pockets < total else ""
    level, mu = float(dataset.mesh_k.attrs["energy_eV"]), float(np.ravel(dataset.fermi_level.values)[0])
    name = "Fermi surface" if level == mu else f"surface of ε = {level:.4g} eV"
    kelvin = float(np.ravel(dataset.temperature.values)[0])
    figure.suptitle(f"{name}, μ = {mu:g} eV, T = {kelvin:g} K{remark}")
    return figure


def _panels(mesh: Mesh) -> list[Quantity]:
    moment, skew = mesh.orbital_moment, np.linalg.norm(mesh.further["skew_acceleration"], axis=1)
    axis = int(np.argmax(np.mean(moment**2, axis=0)))
    second = Quantity("skew acceleration $|Q|$ (eV Å/ps)", skew, False)
    if not skew.any():
        second = Quantity(
            "velocity $|\\partial\\varepsilon/\\partial k|$ (eV Å)", np.linalg.norm(mesh.velocity, axis=1), False
        )
    return [Quantity(f"orbital moment $m_{XYZ[axis]}$ ($\\mu_B$)", moment[:, axis], True), second]


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


def _draw_triangles(ax: Any, mesh: Mesh, quantity: Quantity, edges: np.ndarray) -> None:
    corners = np.concatenate([mesh.vertices, mesh.velocity, quantity.values[:, None]], axis=1)[mesh.simplices]
    if len(corners) < SMOOTH:
        corners = _divided(corners)
    colours, norm = quantity.colours
    face = colours(norm(corners[..., 6].mean(axis=1)))
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


def _draw_lines(ax: Any, mesh: Mesh, quantity: Quantity, edges: np.ndarray) -> None:
    colours, norm = quantity.colours
    values = quantity.values[mesh.simplices].mean(axis=1)
    ax.add_collection(LineCollection(list(edges[..., :2]), colors="0.6", linewidths=0.8))
    drawn = LineCollection(
        list(mesh.vertices[mesh.simplices][..., :2]), cmap=colours, norm=norm, linewidths=2.6, capstyle="round"
    )
    drawn.set_array(values)
    ax.add_collection(drawn)
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
