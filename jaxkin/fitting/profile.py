"""Profile likelihood: χ² against one parameter, minimised over all others."""

from __future__ import annotations

from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optimistix
from jaxtyping import Array
from scipy import stats

from jaxkin.errors import JaxkinError
from jaxkin.fitting.parameters import Parameter, from_free, to_free
from jaxkin.fitting.problem import FitProblem, Points

REACH = 3.5
"""Standard errors to either side that are profiled at first ..."""
FARTHEST = 4
"""... and how often that is doubled where χ² has not risen by as many squared."""
STEPS = 100


@dataclass(frozen=True)
class Profile:
    """χ²(u) − χ²_min of one parameter.

    Attributes:
        parameter: which.
        coordinate: (N,) what is varied.
        delta: (N,) the rise of χ².
        best: coordinate at the minimum.
    """

    parameter: Parameter
    coordinate: np.ndarray
    delta: np.ndarray
    best: float

    @property
    def values(self) -> np.ndarray:
        """The parameter's values, (N,)."""
        return np.array([self.parameter.to_value(u) for u in self.coordinate])

    def interval(self, level: float = 0.6827) -> tuple[float, float]:
        """Values where χ² has risen by the quantile of χ² with one degree of freedom; of the data's errors alone.

        Of a reciprocal parameter through infinity the first end is above the second, as for ``FitResult.interval``;
        an end that the profile does not reach is that of the coordinate's bound.
        """
        wanted = float(np.sqrt(stats.chi2.ppf(level, 1)))
        root = np.sign(self.coordinate - self.best) * np.sqrt(np.maximum(self.delta, 0.0))
        below, above = self.coordinate <= self.best, self.coordinate >= self.best
        low, high = self.parameter.limits
        if root[below].min(initial=0.0) <= -wanted:
            low = float(np.interp(-wanted, *_rising(root[below], self.coordinate[below])))
        if root[above].max(initial=0.0) >= wanted:
            high = float(np.interp(wanted, *_rising(root[above], self.coordinate[above])))
        ends = self.parameter.to_value(low), self.parameter.to_value(high)
        return (ends[1], ends[0]) if self.parameter.coordinate == "reciprocal" else ends


def profile(
    problem: FitProblem,
    points: tuple[Points, ...],
    best: np.ndarray,
    covariance: np.ndarray,
    index: int,
    count: int,
) -> Profile:
    """χ² on ``count`` values of parameter ``index`` about the best coordinates.

    Raises:
        JaxkinError: fewer than 5 points, a parameter without a finite error.
    """
    error = float(np.sqrt(covariance[index, index]))
    parameter = problem.parameters[index]
    if count < 5:
        raise JaxkinError("a profile needs at least 5 points.")
    if not (np.isfinite(error) and error > 0):
        raise JaxkinError(f"{parameter.name!r} is not determined by the data: there is nothing to profile.")
    others = tuple(p for k, p in enumerate(problem.parameters) if k != index)
    rest = np.delete(np.arange(len(best)), index)
    slope = covariance[rest, index] / covariance[index, index]
    low, high = parameter.limits
    reach = REACH * error
    least = float(jnp.sum(problem.residuals(jnp.asarray(best), points) ** 2))
    for _ in range(FARTHEST):
        grid = np.unique(np.clip(best[index] + reach * np.linspace(-1, 1, count), low, high))
        grid = np.unique(np.append(grid, best[index]))
        bounds = np.array([p.limits for p in others]).reshape(-1, 2).T
        guesses = np.clip(best[rest] + (grid - best[index])[:, None] * slope, *bounds)
        free = np.array([to_free(others, row) for row in guesses]).reshape(len(grid), len(others))
        chi2 = np.asarray(_minimised(problem, points, index, jnp.asarray(grid), jnp.asarray(free)))
        delta = chi2 - least
        ends = [e for e, limit in ((0, low), (-1, high)) if abs(grid[e] - limit) > 1e-9 * reach]
        if all(delta[e] > 4.0 for e in ends):
            break
        reach *= 2
    return Profile(parameter, grid, delta, float(best[index]))


@eqx.filter_jit
def _minimised(problem: FitProblem, points: tuple[Points, ...], index: int, grid: Array, starts: Array) -> Array:
    others = tuple(p for k, p in enumerate(problem.parameters) if k != index)

    def residuals(free: Array, value: Array) -> Array:
        rest = from_free(others, free) if others else free
        return problem.residuals(jnp.concatenate([rest[:index], value[None], rest[index:]]), points)

    def one(value: Array, start: Array) -> Array:
        if not others:
            return jnp.sum(residuals(start, value) ** 2)
        solver = optimistix.LevenbergMarquardt(rtol=1e-8, atol=1e-8)
        solution = optimistix.least_squares(
            residuals, solver, start, value, {"jac": "fwd"}, max_steps=STEPS, throw=False
        )
        return jnp.sum(residuals(solution.value, value) ** 2)

    return jax.vmap(one)(grid, starts)


def _rising(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    order = np.argsort(x, kind="stable")
    return x[order], y[order]
