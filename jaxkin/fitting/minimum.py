"""Minima of χ²: Levenberg-Marquardt by optimistix in scaled variables, and a few steps on to the bounds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optimistix
from jaxtyping import Array, Float

UNIT = 10.0
"""By how much one unit of a scaled variable changes χ at the start: the first damping, 1, is then 1e-2 of JᵀJ."""
TOLERANCE = 1e-8
"""Relative change of χ² and of the scaled variables at which Levenberg-Marquardt stops."""
TINY = 1e-300
SETTLE, SHORTEST, SINGULAR = 30, 8, 1e-7
"""Most steps by which a minimum is settled, halvings of each, and the smallest scaled singular value that counts."""


class Minimum(NamedTuple):
    """Where a minimisation ended: the point, χ² there, and the number of steps tried."""

    x: Array
    chi2: Array
    steps: Array


def minimise(residuals: Callable[[Array, Any], Array], start: Float[Array, " P"], args: Any, max_steps: int) -> Minimum:
    """Minimise χ² = Σ r² by Levenberg-Marquardt.

    The variables are scaled by the lengths of the Jacobian's columns at the start, which makes the path independent
    of the parameters' units.

    Args:
        residuals: x (P,) and ``args`` → r (M,), a JAX function; what is not finite counts as larger.
        start: where to begin.
        args: pytree of what the residuals depend on.
        max_steps: most steps that are tried.

    >>> import jax.numpy as jnp
    >>> valley = lambda x, height: jnp.array([height * (x[1] - x[0] ** 2), 1 - x[0]])
    >>> minimise(valley, jnp.array([-1.2, 1.0]), 10.0, 100).x.round(6).tolist()
    [1.0, 1.0]
    """
    length = jnp.linalg.norm(jax.jacfwd(residuals)(start, args), axis=0)
    scale = jnp.where(length > TINY, UNIT / length, 1.0)

    def scaled(y: Array, args: tuple[Array, Array, Any]) -> Array:
        origin, scale, rest = args
        return residuals(origin + scale * y, rest)

    solver = optimistix.LevenbergMarquardt(rtol=TOLERANCE, atol=TOLERANCE)
    zero = jnp.zeros_like(start)
    solution = optimistix.least_squares(
        scaled, solver, zero, (start, scale, args), {"jac": "fwd"}, max_steps=max_steps, throw=False
    )
    x = start + scale * solution.value
    return Minimum(x, jnp.sum(residuals(x, args) ** 2), solution.stats["num_steps"])


def settle(
    linearised: Callable[[np.ndarray], tuple[Array, ...]],
    chi2: Callable[[np.ndarray], float],
    start: np.ndarray,
    limits: tuple[np.ndarray, np.ndarray],
    enough: float,
) -> tuple[np.ndarray, float]:
    """The minimum by a few Gauss-Newton steps that may end at a bound, and by how much χ² should still fall.

    Unbounded stand-ins of bounded parameters come near a bound only slowly.

    Args:
        linearised: u (P,) → residuals (M,) and their derivatives (M, P).
        chi2: u → χ².
        start: near the minimum.
        limits: lower and upper bounds (P,).
        enough: promised fall of χ² at which to stop.
    """
    low, high = limits
    u, remaining = np.clip(start, low, high), np.inf
    for _ in range(SETTLE):
        residuals, jacobian = (np.asarray(part) for part in linearised(u))
        if not (np.all(np.isfinite(residuals)) and np.all(np.isfinite(jacobian))):
            return u, np.nan
        slope = jacobian.T @ residuals
        held = ((u <= low) & (slope > 0)) | ((u >= high) & (slope < 0))
        move, remaining = _newton(residuals, jacobian, ~held)
        if remaining < enough:
            break
        for _ in range(len(u)):  # what would cross a bound goes there, and the others are solved for anew
            crossing = (u + move < low) | (u + move > high)
            if not crossing.any():
                break
            held |= crossing
            move = np.where(held, np.clip(u + move, low, high) - u, 0.0)
            move += _newton(residuals + jacobian @ move, jacobian, ~held)[0]
        least = np.sum(residuals**2)
        for shorter in 0.5 ** np.arange(SHORTEST):
            tried = np.clip(u + shorter * move, low, high)
            if chi2(tried) < least:
                u = tried
                break
        else:
            break
    return u, remaining


def _newton(residuals: np.ndarray, jacobian: np.ndarray, free: np.ndarray) -> tuple[np.ndarray, float]:
    """Gauss-Newton step of the ``free`` parameters, and the fall of χ² that it promises."""
    size = np.maximum(np.linalg.norm(jacobian, axis=0), TINY)
    left, sizes, right = np.linalg.svd((jacobian / size)[:, free], full_matrices=False)
    kept = sizes > SINGULAR * sizes.max(initial=0.0)
    along = left.T[kept] @ residuals
    step = np.zeros(len(size))
    step[free] = -(right[kept].T @ (along / sizes[kept])) / size[free]
    return step, float(np.sum(along**2))
