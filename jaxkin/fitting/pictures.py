"""Pictures of a fit: data, fit, band and residuals; profiles; the design of the next measurement."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from jaxkin.fitting.columns import PACKAGE_UNITS
from jaxkin.fitting.data import Data
from jaxkin.fitting.design import Design
from jaxkin.fitting.parameters import Parameter
from jaxkin.fitting.posterior import Posterior
from jaxkin.fitting.profile import Profile
from jaxkin.fitting.result import FitResult

BLUE, RED, GREY = "#1b6ca8", "#c0392b", "0.55"
SMOOTH = 200
DOTS = 2000


def draw_fit(result: FitResult) -> Figure:
    """One column for each data set: points with the fit and its 95 % band above, residuals in errors below."""
    count = len(result.data)
    figure = Figure(figsize=(4.6 * count + 0.6, 5.2), layout="constrained")
    axes = figure.subplots(2, count, sharex="col", squeeze=False, height_ratios=(3, 1.2))
    ends = np.cumsum([len(one) for one in result.data])
    residuals = np.split(result.residuals, ends)
    for (top, bottom), data, r in zip(axes.T, result.data, residuals, strict=False):
        name, x = scanned(data)
        top.errorbar(x, data.value, yerr=data.error, fmt="o", ms=3, lw=0.8, color=BLUE, label="data")
        smooth = _between(data, name)
        centre, error = result.band(smooth)
        shown = scanned(smooth)[1]
        top.plot(shown, centre, color=RED, lw=1.6, label="fit")
        top.fill_between(shown, centre - 1.96 * error, centre + 1.96 * error, color=RED, alpha=0.2, lw=0, label="95 %")
        bottom.axhspan(-2, 2, color="0.93", zorder=0)
        bottom.axhline(0, color=GREY, lw=0.8)
        bottom.plot(x, -r, "o", ms=3, color=BLUE)
        bottom.set_ylim(-max(3.5, 1.1 * np.abs(r).max()), max(3.5, 1.1 * np.abs(r).max()))
        if x.min() > 0 and x.max() > 20 * x.min():
            bottom.set_xscale("log")
        top.set_title(data.name, fontsize=10)
        top.set_ylabel(f"{data.quantity.replace('_', ' ')} ({PACKAGE_UNITS[data.quantity]})")
        bottom.set_ylabel("(data − fit)/σ")
        bottom.set_xlabel(f"{name.replace('_', ' ')} ({PACKAGE_UNITS[name]})")
        top.grid(alpha=0.25)
    axes[0, 0].legend(frameon=False, fontsize=9)
    figure.suptitle(
        f"χ² = {result.chi2:.4g} for {result.degrees_of_freedom} degrees of freedom, p = {result.p_value:.2g}"
        + ("" if result.converged else "; not converged")
    )
    return figure


def draw_profile(profile: Profile) -> Figure:
    """Rise of χ² against the value, with its parabola."""
    figure = Figure(figsize=(4.8, 3.8), layout="constrained")
    ax = figure.subplots()
    u = profile.coordinate
    near = np.abs(profile.delta - 1).argsort()[:2]
    curvature = float(np.mean(profile.delta[near] / (u[near] - profile.best) ** 2))
    reciprocal = profile.parameter.coordinate == "reciprocal"
    x = u if reciprocal else profile.values
    ax.plot(x, profile.delta, "o-", color=BLUE, ms=3, label="profile")
    ax.plot(x, curvature * (u - profile.best) ** 2, "--", color=GREY, label="parabola")
    for level, label in ((1.0, "68 %"), (3.84, "95 %")):
        ax.axhline(level, color="0.8", lw=0.8)
        ax.annotate(label, (1.0, level), xycoords=("axes fraction", "data"), ha="right", va="bottom", fontsize=8)
    p = profile.parameter
    ax.set_xlabel(_varied(p) if reciprocal else f"{p.name} ({p.unit})")
    ax.set_ylabel("χ² − χ²$_{min}$")
    ax.set_ylim(0, min(float(profile.delta.max()), 12) * 1.05)
    ax.legend(frameon=False)
    return figure


def draw_posterior(posterior: Posterior) -> Figure:
    """Every parameter's draws, and every two against each other, in what is varied: docs/fits.md, "What comes out"."""
    draws = posterior.coordinates.reshape(-1, len(posterior.names))
    count, labels = len(posterior.names), [_varied(p) for p in posterior.problem.parameters]
    figure = Figure(figsize=(2.1 * count + 0.8, 2.1 * count + 0.6), layout="constrained")
    axes = figure.subplots(count, count, squeeze=False, sharex="col")
    for i in range(count):
        for j in range(count):
            ax = axes[i, j]
            if j > i:
                ax.set_axis_off()
            elif i == j:
                ax.hist(draws[:, i], 40, density=True, color=BLUE, alpha=0.7)
                for end in np.quantile(draws[:, i], (0.025, 0.5, 0.975)):
                    ax.axvline(end, color=RED, lw=0.9)
                ax.set_yticks([])
            else:
                ax.plot(draws[:: max(len(draws) // DOTS, 1), j], draws[:: max(len(draws) // DOTS, 1), i], ".", ms=1.5,
                        color=BLUE, alpha=0.35)  # fmt: skip
            if j == 0 and i:
                ax.set_ylabel(labels[i])
            if i == count - 1:
                ax.set_xlabel(labels[j], loc="left")
            ax.ticklabel_format(useOffset=False, style="sci", scilimits=(-3, 4))
            ax.locator_params("x", nbins=3)
    figure.align_ylabels()
    return figure


def _varied(p: Parameter) -> str:
    """The label of a coordinate."""
    unit = "" if p.unit in ("", "1") else p.unit
    if p.coordinate == "log":
        return f"ln({p.name}/{unit})" if unit else f"ln {p.name}"
    if p.coordinate == "reciprocal":
        return f"1/{p.name} (1/{unit})"
    return f"{p.name} ({unit})" if unit else p.name


def draw_design(design: Design) -> Figure:
    """Error of the parameter after one more point, over that now, against where the point is taken."""
    figure = Figure(figsize=(5.4, 3.9), layout="constrained")
    ax = figure.subplots()
    names = [scanned(data)[0] for data in design.candidates]
    for data, after, colour in zip(design.candidates, design.after, ("#1b6ca8", "#c0392b", "#e0a100", "#3b8f4a"),
                                   strict=False):  # fmt: skip
        x = scanned(data)[1]
        order = np.argsort(x)
        ax.plot(x[order], after[order] / design.now, color=colour, lw=1.8, label=data.quantity.replace("_", " "))
        if x.min() > 0 and x.max() > 20 * x.min():
            ax.set_xscale("log")
    number, index = design.best
    best = scanned(design.candidates[number])[1][index]
    ax.plot(best, design.after[number][index] / design.now, "o", color="black", label="best")
    ax.axhline(1, color=GREY, lw=0.8)
    ax.set_xlabel(f"{names[0].replace('_', ' ')} of one more point ({PACKAGE_UNITS[names[0]]})")
    ax.set_ylabel(f"error of {design.parameter}, of that now")
    ax.legend(frameon=False)
    ax.grid(alpha=0.25)
    return figure


def scanned(data: Data) -> tuple[str, np.ndarray]:
    """The condition that changes over a data set, and its values; the frequency where none does."""
    for name in ("frequency", "temperature", "field", "current_density"):
        column = getattr(data, name)
        if column is not None and np.ptp(column) > 0:
            return name, column
    return "frequency", data.frequency


def _between(data: Data, name: str) -> Data:
    """Many points over the range of the scanned condition, the others at their median."""
    x = getattr(data, name)
    low, high = float(x.min()), float(x.max())
    dense = np.geomspace(low, high, SMOOTH) if low > 0 and high > 20 * low else np.linspace(low, high, SMOOTH)
    columns = {}
    for other in ("frequency", "temperature", "field", "current_density"):
        column = getattr(data, other)
        if column is not None:
            columns[other] = dense if other == name else np.full(SMOOTH, np.median(column))
    return Data(data.quantity, 0.0, 1.0, axis=data.axis, **columns)
