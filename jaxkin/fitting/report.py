"""Readable tables of a fit and of a design."""

from __future__ import annotations

import numpy as np
from rich.console import Group
from rich.table import Table
from rich.text import Text

from jaxkin.fitting.columns import PACKAGE_UNITS
from jaxkin.fitting.design import Design
from jaxkin.fitting.posterior import Posterior
from jaxkin.fitting.result import FitResult
from jaxkin.output.uncertainty import with_uncertainty


def fit_table(result: FitResult) -> Group:
    """Parameters, χ², residuals, correlations, and what is to be said about them."""
    p = result.p_value
    verdict = "converged" if result.converged else f"NOT CONVERGED: {result.reason}"
    lines = [
        Text(
            f"χ² = {result.chi2:.5g} for {result.degrees_of_freedom} degrees of freedom, p = {p:.3g}; "
            f"{verdict} in {result.steps} steps, {len(result.start_chi2)} starts",
            style="" if result.converged else "bold red",
        )
    ]
    lines += [Text(f"warning: {line}", style="yellow") for line in result.doubts.lines]
    return Group(_parameters(result), _data(result), _correlation(result), *lines)


def _parameters(result: FitResult) -> Table:
    table = Table(title="parameters", title_justify="left")
    for column in ("", "value", "68 %", "95 %", "unit", "error of the integrals"):
        table.add_column(column, justify="right" if column else "left", no_wrap=True)
    share = np.sqrt(np.diag(result.integrator_covariance) / np.maximum(np.diag(result.covariance), 1e-300))
    for name, part in zip(result.names, share, strict=True):
        value, error = result.values[name], result.errors[name]
        table.add_row(
            name,
            with_uncertainty(value, error),
            *(_interval(*result.interval(name, level)) for level in (0.6827, 0.95)),
            result.units[name].replace("1", "", 1) if result.units[name] == "1" else result.units[name],
            f"{error * part:.2g}",
        )
    return table


def posterior_table(posterior: Posterior) -> Table:
    """Medians, intervals, and how far the chains are to be trusted."""
    table = Table(title="posterior", title_justify="left")
    for column in ("", "median", "68 %", "95 %", "R-hat", "independent draws"):
        table.add_column(column, justify="right" if column else "left", no_wrap=True)
    for name in posterior.names:
        intervals = (_interval(*posterior.interval(name, level)) for level in (0.6827, 0.95))
        table.add_row(name, f"{posterior.quantile(name, 0.5):.4g}", *intervals, f"{posterior.r_hat[name]:.3f}",
                      f"{posterior.effective[name]:.0f}")  # fmt: skip
    return table


def _interval(low: float, high: float) -> str:
    """low … high, or what lies outside where the interval goes through infinity."""
    return f"{low:.4g} … {high:.4g}" if low <= high else f"below {high:.4g} or above {low:.4g}"


def _data(result: FitResult) -> Table:
    table = Table(title="residuals", title_justify="left")
    for column in ("data", "points", "χ²", "runs", "p of so few runs", "largest"):
        table.add_column(column, justify="left" if column == "data" else "right")
    for test in result.residual_tests:
        table.add_row(
            test.name, str(test.count), f"{test.chi2:.4g}", str(test.runs), f"{test.runs_p_value:.2g}",
            f"{test.largest[0]:.2g} σ",
        )  # fmt: skip
    return table


def _correlation(result: FitResult) -> Table:
    table = Table(title="correlations", title_justify="left")
    table.add_column("")
    for name in result.names:
        table.add_column(name, justify="right")
    for name, row in zip(result.names, result.correlation, strict=True):
        table.add_row(name, *(f"{x:+.3f}" for x in row))
    return table


def design_table(design: Design) -> Table:
    """The best further points one after another."""
    table = Table(title=f"points that shrink the error of {design.parameter} most", title_justify="left")
    for column in ("", "quantity", "where", "error, of that now"):
        table.add_column(column, justify="right" if "error" in column else "left")
    for number, row in enumerate(design.rows(), 1):
        where = ", ".join(f"{row[name]:.4g} {unit}" for name, unit in PACKAGE_UNITS.items() if name in row)
        table.add_row(str(number), str(row["quantity"]), where, f"{100 * float(row['error_over_now']):.1f} %")
    return table
