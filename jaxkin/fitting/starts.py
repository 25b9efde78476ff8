"""Where a fit begins: many points are tried, the linear parameters solved for at each, and the best few kept.

χ² of τ and τ_sk often has two minima, (τ, τ_sk) and (τ', −τ_sk'), and most random starts run to the one or off to
infinity. But g is affine in 1/τ_sk, a_sj and the scale of the moment (variable projection): with these solved for,
χ² is a function of the other parameters alone, most often of τ only, and a few hundred points show all its minima.
"""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.spatial import KDTree
from scipy.special import ndtri
from scipy.stats import qmc

from jaxkin.fitting.parameters import Parameter, to_free
from jaxkin.fitting.problem import FitProblem, Points

TRIED = 512
"""Points at which χ² is looked at, a power of two ..."""
THINNED = 256
"""... and of how many data of each set, at most."""
SIDE_BY_SIDE = 64
RIDGE = 1e-10
"""Of the linear solutions, relative: a direction that the data do not determine stays at the start."""
NEIGHBOURS = 4
"""A point better than so many nearest ones, for each dimension, stands for a minimum."""


def starts(problem: FitProblem, points: tuple[Points, ...], count: int, rng: np.random.Generator) -> np.ndarray:
    """Free parameters (count, P) of all starts: the problem's own, and the lowest points of χ².

    Low-discrepancy points lie inside the bounds, or widely about the start where there are none. Those lower than
    all their neighbours come first, others fill up.
    """
    first = problem.start_coordinates
    rows = [first]
    if count > 1:
        linear = problem.linear
        searched = [k for k in range(len(first)) if k not in linear]
        cube = _cube(len(searched), max(TRIED, 1 << (count - 1).bit_length()), rng)
        tried = np.tile(first, (len(cube), 1))
        for column, k in enumerate(searched):
            tried[:, k] = _spread(problem.parameters[k], first[k], cube[:, column])
        few = tuple(_thinned(one) for one in points)
        chi2, solved = (np.asarray(x) for x in _screened(problem, few, linear, jnp.asarray(tried)))
        chi2 = np.where(np.isfinite(chi2), chi2, np.inf)
        rows += list(np.where(np.isfinite(solved), solved, tried)[_lowest(cube, chi2)[: count - 1]])
        rows += [first] * (count - len(rows))
    return np.stack([to_free(problem.parameters, row) for row in rows])


def _cube(dimension: int, count: int, rng: np.random.Generator) -> np.ndarray:
    """Sobol points (count, dimension) of the unit cube, shifted at random; one point if there is no dimension."""
    if not dimension:
        return np.zeros((1, 0))
    points = qmc.Sobol(dimension, scramble=False).random(count)
    return (points + rng.random(dimension)) % 1.0


def _spread(p: Parameter, start: float, uniform: np.ndarray) -> np.ndarray:
    """Coordinates inside the bounds, or distributed about the start, for numbers uniform in (0, 1)."""
    low, high = p.limits
    if np.isfinite(low) and np.isfinite(high):
        return low + (high - low) * uniform
    width = 1.5 if p.coordinate == "log" else 2 * (abs(start) or 1.0)
    return np.clip(start + width * ndtri(np.clip(uniform, 1e-4, 1 - 1e-4)), low, high)


def _thinned(points: Points) -> Points:
    """At most so many points, which stand for all."""
    if len(points) <= THINNED:
        return points
    few = points.take(jnp.asarray(np.linspace(0, len(points) - 1, THINNED).round().astype(int)))
    return eqx.tree_at(lambda one: one.error, few, few.error * np.sqrt(THINNED / len(points)))


@eqx.filter_jit
def _screened(problem: FitProblem, points: tuple[Points, ...], linear: tuple[int, ...], tried: Float[Array, "S P"]):
    """χ² (S,) and the points (S, P) with their linear coordinates at the minimum, or at their bounds."""
    low, high = jnp.array([problem.parameters[k].limits for k in linear]).reshape(-1, 2).T

    def one(u: Array) -> tuple[Array, Array]:
        def of(x: Array) -> Array:
            return problem.residuals(u.at[jnp.array(linear)].set(x), points)

        if not linear:
            return jnp.sum(problem.residuals(u, points) ** 2), u
        x = u[jnp.array(linear)]
        residuals, slopes = of(x), jax.jacfwd(of)(x)
        size = jnp.maximum(jnp.linalg.norm(slopes, axis=0), 1e-300)
        slopes = slopes / size
        normal = slopes.T @ slopes + RIDGE * jnp.eye(len(linear))
        x = jnp.clip(x - jnp.linalg.solve(normal, slopes.T @ residuals) / size, low, high)
        return jnp.sum(of(x) ** 2), u.at[jnp.array(linear)].set(x)

    return jax.lax.map(one, tried, batch_size=SIDE_BY_SIDE)


def _lowest(cube: np.ndarray, chi2: np.ndarray) -> np.ndarray:
    """Numbers of the points: those lower than their neighbours from the lowest up, then the others as they are."""
    count, dimension = cube.shape
    if not dimension:
        return np.arange(count)
    _, near = KDTree(cube).query(cube, k=min(1 + NEIGHBOURS * dimension, count))
    minimum = np.isfinite(chi2) & (chi2 <= chi2[near].min(axis=1))
    return np.argsort(np.where(minimum, chi2, np.inf), kind="stable")
