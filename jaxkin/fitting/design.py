"""Design of the next measurement: which further point shrinks a parameter's error most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import jax.numpy as jnp
import numpy as np

from jaxkin.errors import JaxkinError
from jaxkin.fitting.columns import PACKAGE_UNITS
from jaxkin.fitting.data import Data
from jaxkin.fitting.problem import Points, linearised

if TYPE_CHECKING:
    from jaxkin.fitting.result import FitResult

GRID = 61
"""Frequencies of an advice."""
WORTH = 0.9
"""Advice is given where one more point brings an error below this part of itself."""


@dataclass(frozen=True)
class Design:
    """Expected standard errors of one parameter after one more point: docs/fits.md, "What comes out".

    Attributes:
        parameter: its name.
        candidates: the points considered.
        now: standard error of the parameter's coordinate from the data at hand.
        after: by data set of candidates, (N,) the coordinate's error with that one point added.
        sequence: best points one after another, as (data set, point, the coordinate's error after it).
    """

    parameter: str
    candidates: tuple[Data, ...]
    now: float
    after: tuple[np.ndarray, ...]
    sequence: tuple[tuple[int, int, float], ...]

    @property
    def best(self) -> tuple[int, int]:
        """Data set and point that help most."""
        return self.sequence[0][:2]

    def rows(self) -> list[dict[str, float | str]]:
        """The sequence as a table: quantity, conditions in the units of :class:`Data`, and the error after each.

        That of the coordinate, and its ratio to that of now.
        """
        return [
            {**describe(self.candidates[s], i), "error": error, "error_over_now": error / self.now}
            for s, i, error in self.sequence
        ]


def describe(data: Data, index: int) -> dict[str, float | str]:
    """Quantity and conditions of a point."""
    row: dict[str, float | str] = {"quantity": data.quantity, "frequency": float(data.frequency[index])}
    for name in ("temperature", "field", "current_density"):
        column = getattr(data, name)
        if column is not None:
            row[name] = float(column[index])
    return row


def design(result: FitResult, candidates: Data | Sequence[Data], parameter: str, count: int = 5) -> Design:
    """Rank further points by the error they would leave a parameter with.

    The information of a point is jjᵀ with its derivatives j over its expected error, the same as in the fit; the
    error after it is that of (JᵀJ + jjᵀ)⁻¹. The best ``count`` points are taken one after another (a point may come
    twice: it is then to be measured twice as long). An example: docs/fits.md,
    "Example: is it skew scattering? Tellurium at 77 K".

    Args:
        result: of :func:`jaxkin.fit`.
        candidates: data sets whose conditions and errors are meant; their values are not used.
        parameter: name of a fitted one.
        count: points of the sequence.

    Raises:
        JaxkinError: a parameter that was not fitted, no candidates, temperatures the table does not reach.

    >>> import jaxkin as jk, numpy as np
    >>> surface = jk.fermi_surface(jk.models.get("kramers-weyl-d4"), -1.2, sampler=jk.Lines(n=8), replicas=2)
    >>> table = jk.tabulate(surface, jk.RelaxationTime(tau=1.0, tau_skew=50.0))
    >>> problem = jk.FitProblem(table, ["tau", "tau_skew"])
    >>> data = jk.Data("rotation", problem.predict({"tau": 1.0, "tau_skew": 50.0},
    ...     jk.Data("rotation", 0.0, 1.0, [0.05, 0.1, 0.2])), 1e-3, [0.05, 0.1, 0.2])
    >>> plan = jk.design(jk.fit(problem, data), jk.Data("rotation", 0.0, 1e-3, [0.05, 0.3, 1.0]), "tau_skew")
    >>> bool(plan.rows()[-1]["error_over_now"] < plan.rows()[0]["error_over_now"] < 1)
    True
    """
    sets = (candidates,) if isinstance(candidates, Data) else tuple(candidates)
    k = result.index(parameter)
    if not sets or count < 1:
        raise JaxkinError("design needs candidate points, and a count of at least 1.")
    for one in sets:
        result.problem.check_data(one)
    rows = _derivatives(result, sets)
    information = result.jacobian.T @ result.jacobian
    now = np.sqrt(_inverted(information)[k, k])
    after = _errors_after(information, rows, k)
    sequence = []
    for _ in range(count):
        best = int(np.argmin(_errors_after(information, rows, k)))
        information = information + np.outer(rows[best], rows[best])
        number, index = _located(sets, best)
        sequence.append((number, index, float(np.sqrt(_inverted(information)[k, k]))))
    ends = np.cumsum([len(one) for one in sets])[:-1]
    return Design(parameter, sets, float(now), tuple(np.split(after, ends)), tuple(sequence))


def advice(result: FitResult, parameter: str) -> str:
    """': add points near ...' of the quantities at hand (or of spectra), or nothing where no frequency helps."""
    sets = [_spread(data) for data in result.data if np.any(data.frequency > 0)]
    if not {"rotation", "dichroism"} & {data.quantity for data in sets}:
        sets += _spectra(result)
    plan = design(result, sets, parameter, count=1)
    number, index, error = plan.sequence[0]
    if not error < WORTH * plan.now:
        return ""
    point = sets[number]
    known = np.isfinite(result.coordinate_errors[result.index(parameter)])
    gain = f"brings that of {parameter} to {100 * error / plan.now:.2g} %" if known else f"determines {parameter}"
    return (
        f": add points near {point.frequency[index]:.2g} THz (one {point.quantity} there, with an error of "
        f"{point.error[index]:.2g} {PACKAGE_UNITS[point.quantity]}, {gain})"
    )


def _spread(data: Data) -> Data:
    """The same measurement over a wider range of frequencies, with its middle error."""
    seen = data.frequency[data.frequency > 0]
    columns = (data.temperature, data.field, data.current_density)
    t, field, current = (None if column is None else float(np.median(column)) for column in columns)
    return Data(
        data.quantity,
        0.0,
        float(np.median(data.error)),
        np.geomspace(seen.min() / 10, seen.max() * 10, GRID),
        temperature=t,
        field=field,
        current_density=current,
        axis=data.axis,
    )


def _spectra(result: FitResult) -> list[Data]:
    """Rotation and dichroism about ωτ = 1 to 1 % of their largest, where none has been measured."""
    tau = float(np.median(result.problem.table.at(result.problem.in_table(jnp.asarray(result.coordinates))).tau))
    frequency, axis = np.geomspace(0.03, 30.0, GRID) / (2 * np.pi * tau), result.data[0].axis
    sets = []
    for quantity in ("rotation", "dichroism"):
        expected = result.problem.predict(result.values, Data(quantity, 0.0, 1.0, frequency, axis=axis))
        sets.append(Data(quantity, 0.0, max(0.01 * float(np.abs(expected).max()), 1e-300), frequency, axis=axis))
    return sets


def _derivatives(result: FitResult, sets: tuple[Data, ...]) -> np.ndarray:
    """∂(prediction)/∂u over the expected error, (candidates, P)."""
    u, points = jnp.asarray(result.coordinates), tuple(Points.of(one) for one in sets)
    return np.asarray(linearised(result.problem, points, u)[1])[: sum(map(len, sets))]


def _inverted(information: np.ndarray) -> np.ndarray:
    """Inverse, with a trace of a prior (1e-12 of each diagonal) where the data leave a direction free."""
    scale = np.sqrt(np.maximum(np.diag(information), 1e-300))
    return np.linalg.inv(information / np.outer(scale, scale) + 1e-12 * np.eye(len(scale))) / np.outer(scale, scale)


def _errors_after(information: np.ndarray, rows: np.ndarray, k: int) -> np.ndarray:
    """Error of coordinate k with each row added: C − Cjj^TC/(1 + j^TCj)."""
    c = _inverted(information)
    moved = rows @ c
    return np.sqrt(np.maximum(c[k, k] - moved[:, k] ** 2 / (1 + np.sum(moved * rows, axis=1)), 0.0))


def _located(sets: tuple[Data, ...], index: int) -> tuple[int, int]:
    """Data set and point of a row."""
    for number, one in enumerate(sets):
        if index < len(one):
            return number, index
        index -= len(one)
    raise IndexError(index)
