"""Pictures of a result file: the Fermi surface, the spectrum by mechanism, the convergence."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import matplotlib
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from jaxkin.output.dataset import XYZ
from jaxkin.output.folder import replace_file
from jaxkin.output.relief import fermi_surface
from jaxkin.output.scan import driven, quantities

matplotlib.use("Agg")
_COLOURS = {
    "intrinsic": "#1b6ca8",
    "skew": "#c0392b",
    "side_jump": "#e0a100",
    "nonlocal": "#2e8b57",
    "gaussian_skew": "#8e5bb5",
    "total": "#222222",
}
MOST_CURVES = 6
"""Of a scan in one panel."""
STEEP = 300
"""Largest over smallest above which a positive quantity is drawn against a logarithm."""
NOTHING = 1e-10
"""Of the largest part of a component: rounding, which a logarithmic axis has no place for."""


def draw(dataset: xr.Dataset, folder: Path, colours: Sequence[str] = ()) -> list[Path]:
    """Write ``fermi_surface.png``, ``spectrum.png``, ``convergence.png`` and a scan's pictures; return their paths.

    What the result has no numbers for is left out, and removed where an earlier result had it.

    Args:
        dataset: a result.
        folder: for the files.
        colours: of the surface, as for :func:`jaxkin.output.colouring.chosen`.

    Raises:
        JaxkinError: they cannot be written, or a colour is none.
    """
    pictures = {
        "fermi_surface.png": fermi_surface(dataset, colours),
        "spectrum.png": spectrum(dataset),
        "convergence.png": convergence(dataset),
        "scan.png": scan(dataset),
        "scan_temperature.png": scan(dataset, "temperature") if min(_counts(dataset)) > 1 else None,
        "scan_map.png": scan_map(dataset),
    }
    for name, figure in pictures.items():
        if figure is None:
            (folder / name).unlink(missing_ok=True)  # of a result that was there before
    return [replace_file(folder / name, png(figure)) for name, figure in pictures.items() if figure is not None]


def png(figure: Figure) -> bytes:
    """The file of a picture."""
    drawn = BytesIO()
    figure.savefig(drawn, format="png", dpi=130)
    return drawn.getvalue()


def _axes(dataset: xr.Dataset) -> dict[str, tuple[str, str]]:
    """Symbol and unit of what a scan is against: levels, or the densities that made them, and temperatures."""
    if "density" in dataset.coords:
        return {"density": ("n", str(dataset.density.attrs["units"])), "temperature": ("T", "K")}
    return {"fermi_level": ("μ", "eV"), "temperature": ("T", "K")}


def _counts(dataset: xr.Dataset) -> list[int]:
    """How many Fermi levels or densities, and temperatures, there are."""
    return [dataset.sizes.get(dim, 1) for dim in _axes(dataset)]


def scan(dataset: xr.Dataset, along: str | None = None) -> Figure | None:
    """g, M, carriers and σ against μ or the density with a curve for each temperature, or the other way round.

    Args:
        dataset: of all points.
        along: ``"fermi_level"``, ``"density"`` or ``"temperature"``; by default not T, where there is more than one.
    """
    axes, counts = _axes(dataset), _counts(dataset)
    if "temperature" not in dataset.coords:
        dataset = dataset.assign_coords(temperature=0.0)  # of the quantum solver
    if max(counts) < 2:
        return None
    along = along or next(dim for dim, count in zip(axes, counts, strict=True) if count > 1)
    other = next(dim for dim in axes if dim != along)
    label, (symbol, unit) = "{} ({})".format(*axes[along]), axes[other]
    curves = [
        dataset.isel({other: number}, missing_dims="ignore")
        for number in _spread(dataset.sizes.get(other, 1), MOST_CURVES)
    ]
    count = dataset.sizes[along]
    shown = quantities([curve.isel({along: n}) for curve in curves for n in range(count)])  # the same for all
    rows = [slice(start, start + count) for start in range(0, len(curves) * count, count)]
    known = [[one._replace(mean=one.mean[row], stderr=one.stderr[row]) for one in shown] for row in rows]
    names = [one.name for one in shown]
    figure = Figure(figsize=(4.1 * min(len(names), 3), 3.4 * -(-len(names) // 3)), layout="constrained")
    panels = figure.subplots(-(-len(names) // 3), min(len(names), 3), squeeze=False).ravel()
    colours = matplotlib.colormaps["viridis"](np.linspace(0, 0.85, len(curves)))
    for ax, values in zip(panels, zip(*known, strict=True), strict=False):  # of one quantity, for each curve
        for curve, one, colour in zip(curves, values, colours, strict=True):
            where = f"{symbol} = {float(curve[other]):g} {unit}" if len(curves) > 1 else ""
            style = {"color": colour, "label": where, "marker": "o", "ms": 3.5, "lw": 1.3, "capsize": 2}
            ax.errorbar(curve[along].values, one.mean, yerr=one.stderr, **style)
        ax.set_ylabel(f"{values[0].name} ({values[0].unit})")
        ax.set_xlabel(label)
        if along == "density":
            ax.set_xscale("log")
        size = np.concatenate([one.mean for one in values])
        if size.min() > 0 and size.max() > STEEP * size.min():
            ax.set_yscale("log")
        ax.grid(alpha=0.25)
    for ax in panels[len(names) :]:
        ax.set_axis_off()
    if len(curves) > 1:
        handles = panels[0].get_legend_handles_labels()
        figure.legend(*handles, loc="outside lower center", ncols=min(len(curves), 4), frameon=False, fontsize=8)
    frequency = float(np.min(np.abs(dataset.frequency.values)))
    place = "" if len(curves) > 1 else f"{symbol} = {float(curves[0][other]):g} {unit}, "
    figure.suptitle(f"{place}{frequency:g} THz{driven(dataset)}")
    return figure


def scan_map(dataset: xr.Dataset) -> Figure | None:
    """The largest components of g on the plane of μ or the density and T, where there are three of both."""
    if min(_counts(dataset)) < 3:
        return None
    axes = _axes(dataset)
    along = next(iter(axes))
    rows = [[dataset.isel({"temperature": t, along: m}) for m in range(dataset.sizes[along])]
            for t in range(dataset.sizes["temperature"])]  # fmt: skip
    known = [one for one in quantities([one for row in rows for one in row]) if one.name[3:5] == "g_"]
    if not known:
        return None
    figure = Figure(figsize=(4.4 * len(known), 3.6), layout="constrained")
    for ax, one in zip(figure.subplots(1, len(known), squeeze=False).ravel(), known, strict=True):
        values = one.mean.reshape(len(rows), -1)
        limit = float(np.abs(values).max()) or 1.0
        shades = ax.pcolormesh(
            dataset[along].values, dataset.temperature.values, values, cmap="RdBu_r", vmin=-limit, vmax=limit,
            shading="gouraud",
        )  # fmt: skip
        ax.set_xlabel("{} ({})".format(*axes[along]))
        ax.set_ylabel("T (K)")
        figure.colorbar(shades, ax=ax, label=f"{one.name} ({one.unit})")
    figure.suptitle(f"{float(np.min(np.abs(dataset.frequency.values))):g} THz")
    return figure


def _spread(count: int, most: int) -> list[int]:
    """At most so many of ``count`` numbers, first and last among them."""
    return sorted({int(n) for n in np.linspace(0, count - 1, min(count, most)).round()})


def _first(dataset: xr.Dataset) -> xr.Dataset:
    """The first Fermi level and temperature."""
    return dataset.isel({dim: 0 for dim in ("fermi_level", "density", "temperature") if dim in dataset.dims})


def _title(one: xr.Dataset) -> str:
    return f"{_level(one)}, T = {float(one.temperature):g} K"


def _level(one: xr.Dataset) -> str:
    """The Fermi level, or the density that made it at every temperature."""
    if "density" in one.coords:
        return f"n = {float(one.density):g} {one.density.attrs['units']}"
    return f"μ = {float(one.fermi_level):g} eV"


def spectrum(dataset: xr.Dataset) -> Figure | None:
    """|g_ab(ω)| of the largest component, and rotation, by mechanism with 1σ bands."""
    if "rotatory_power" not in dataset:
        return None
    one = _first(dataset)
    one = one.isel(frequency=one.frequency.values > 0)
    if one.sizes["frequency"] < 2 or not np.any(one.g.values):
        return None
    a, b = _largest(one)
    f = one.frequency.values
    figure = Figure(figsize=(10.5, 4.3), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name in one.mechanism.values:
        colour = _COLOURS[str(name)]
        style = {"color": colour, "label": name.replace("_", " "), "ls": "--" if name == "total" else "-", "lw": 1.8}
        g = one.g.sel(mechanism=name).values[:, a, b]
        error = np.abs(one.g_stderr.sel(mechanism=name).values[:, a, b])
        if np.abs(g).max() > NOTHING * np.abs(one.g.values[..., a, b]).max():
            left.loglog(f, np.abs(g), **style)
            left.fill_between(
                f, np.maximum(np.abs(g) - error, 1e-3 * np.abs(g)), np.abs(g) + error, color=colour, alpha=0.25
            )
        rho = one.rotatory_power.sel(mechanism=name).values.real
        error = one.rotatory_power_stderr.sel(mechanism=name).values.real
        if np.abs(rho).max() > NOTHING * np.abs(one.rotatory_power.values.real).max():
            right.semilogx(f, rho, **style)
            right.fill_between(f, rho - error, rho + error, color=colour, alpha=0.25)
    crossover = float(one.crossover_frequency)
    for ax in (left, right):
        if f[0] < crossover < f[-1]:
            ax.axvline(crossover, color="0.6", ls=":", lw=1.2)
        ax.set_xlabel("frequency $\\omega/2\\pi$ (THz)")
        ax.grid(alpha=0.25, which="major")
    left.set_ylabel(f"$|g_{{{XYZ[a]}{XYZ[b]}}}|$, the largest component ({one.g.attrs['units']})")
    right.set_ylabel("rotation Re $\\rho$ (rad/m)")
    for ax in (left, right):
        if ax.lines:
            ax.legend(frameon=False)
    figure.suptitle(f"{_title(one)}; dotted: skew-to-intrinsic crossover" if f[0] < crossover < f[-1] else _title(one))
    return figure


def convergence(dataset: xr.Dataset) -> Figure | None:
    """Every replica's value of g_ab, and the running mean with its standard error."""
    if "g_replicas" not in dataset:
        return None
    one = _first(dataset).isel(frequency=0)
    a, b = _largest(one)
    replicas = one.g_replicas.sel(mechanism="total").values[:, a, b]
    if len(replicas) < 2 or not replicas.any():
        return None
    values = replicas.imag if np.abs(replicas.imag).max() >= np.abs(replicas.real).max() else replicas.real
    mean = values.mean()
    shown = (values / mean - 1) if mean else values
    count = np.arange(1, len(shown) + 1)
    running = np.cumsum(shown) / count
    error = np.array([shown[:c].std(ddof=1) / np.sqrt(c) if c > 1 else np.nan for c in count])
    figure = Figure(figsize=(5.6, 4.2), layout="constrained")
    ax = figure.subplots()
    ax.plot(count, shown, "o", color="0.65", label="each random shift")
    ax.errorbar(count, running, yerr=error, color="#1b6ca8", capsize=3, label="running mean ± 1σ")
    ax.axhline(0, color="0.8", lw=1, zorder=0)
    ax.set_xlabel("replica")
    ax.set_ylabel(f"$g_{{{XYZ[a]}{XYZ[b]}}}$ relative to its mean − 1")
    ax.xaxis.get_major_locator().set_params(integer=True)  # pyright: ignore[reportCallIssue]
    ax.legend(frameon=False)
    ax.set_title(_title(one))
    return figure


def _largest(one: xr.Dataset) -> tuple[int, int]:
    """Component of the total g that is largest at any frequency shown."""
    size = np.abs(one.g.sel(mechanism="total").values).reshape(-1, 3, 3).max(axis=0)
    a, b = np.unravel_index(int(np.argmax(size)), (3, 3))
    return int(a), int(b)
