"""Profile likelihood: χ² against one parameter, minimised over all others."""

from __future__ import annotations

from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from scipy import stats

from jaxkin.errors import JaxkinError
from jaxkin.fitting.minimum import minimise
from jaxkin.fitting.parameters import Parameter, from_free, to_free
from jaxkin.fitting.problem import FitProblem, Points, linearised

REACH = 3.5
"""Standard errors to either side that are profiled at first ..."""
FARTHEST = 4
"""... and how often that is doubled where χ² has not risen by as many squared."""
STEPS = 100
ENDS = 1.96
"""Standard errors at which a likelihood is compared with its Gaussian."""
CORRECTIONS = 4


@dataclass(frozen=True)
class Profile:
    """χ²(u) − χ²_min of one parameter: docs/fits.md, "What comes out".

    Attributes:
        parameter: which.
        coordinate: (N,) values of what is varied, the coordinate of the parameter.
        delta: (N,) the rise of χ².
        best: coordinate at the minimum.
    """

    parameter: Parameter
    coordinate: np.ndarray
    delta: np.ndarray
    best: float

    @property
    def values(self) -> np.ndarray:
        """The parameter's values in its unit, (N,)."""
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
    rest = np.delete(np.arange(len(best)), index)
    slope = covariance[rest, index] / covariance[index, index]
    low, high = parameter.limits
    reach = REACH * error
    least = float(jnp.sum(problem.residuals(jnp.asarray(best), points) ** 2))
    for _ in range(FARTHEST):
        grid = np.unique(np.clip(best[index] + reach * np.linspace(-1, 1, count), low, high))
        grid = np.unique(np.append(grid, best[index]))
        guesses = np.tile(best, (len(grid), 1))
        guesses[:, index] = grid
        guesses[:, rest] += (grid - best[index])[:, None] * slope
        guesses = np.clip(guesses, *np.array([p.limits for p in problem.parameters]).T)
        free = jnp.array([to_free(problem.parameters, row) for row in guesses])
        chi2 = np.asarray(_minimised(problem, points, jnp.arange(len(best)) == index, jnp.asarray(guesses), free))
        delta = chi2 - least
        ends = [e for e, limit in ((0, low), (-1, high)) if abs(grid[e] - limit) > 1e-9 * reach]
        if all(delta[e] > 4.0 for e in ends):
            break
        reach *= 2
    return Profile(parameter, grid, delta, float(best[index]))


def rises(problem: FitProblem, points: tuple[Points, ...], best: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """χ²(u) − χ²_min of every parameter 1.96 of its standard errors below and above the best, (P, 2).

    The others are minimised over by a few Gauss-Newton steps. A Gaussian likelihood has 3.84; NaN beyond bounds, and
    where nothing is determined.
    """
    low, high = np.array([p.limits for p in problem.parameters]).T
    least = float(np.sum(problem.compiled_residuals(best, points) ** 2))
    out = np.full((len(best), 2), np.nan)
    for k, column in enumerate(covariance.T):
        if not (np.isfinite(column).all() and column[k] > 0):
            continue
        rest = np.delete(np.arange(len(best)), k)
        for side in (0, 1):
            u = best + (2 * side - 1) * ENDS * column / np.sqrt(column[k])
            if not low[k] <= u[k] <= high[k]:
                continue
            u, found = np.clip(u, low, high), []
            for _ in range(CORRECTIONS):
                residuals, jacobian = (np.asarray(part) for part in linearised(problem, points, jnp.asarray(u)))
                found.append(float(np.sum(residuals**2)))
                if not (len(rest) and np.isfinite(jacobian).all()):
                    break
                step = np.linalg.lstsq(jacobian[:, rest], -residuals, rcond=1e-12)[0]
                u[rest] = np.clip(u[rest] + step, low[rest], high[rest])
            out[k, side] = min(found, key=lambda x: (np.isnan(x), x)) - least
    return out


@eqx.filter_jit
def _minimised(problem: FitProblem, points: tuple[Points, ...], held: Array, at: Array, starts: Array) -> Array:
    """χ² (N,) with the ``held`` coordinate at its value in ``at`` (N, P), the others free."""

    def residuals(free: Array, args: tuple[FitProblem, tuple[Points, ...], Array, Array]) -> Array:
        problem, points, held, values = args
        return problem.residuals(jnp.where(held, values, from_free(problem.parameters, free)), points)

    def one(values: Array, start: Array) -> Array:
        return minimise(residuals, start, (problem, points, held, values), STEPS).chi2

    return jax.vmap(one)(at, starts)


def _rising(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    order = np.argsort(x, kind="stable")
    return x[order], y[order]
