"""Levenberg-Marquardt with Marquardt's scaling, small enough to compile in a second and to be vmapped."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

DAMPING, WEAKER, STRONGER, STRONGEST, NONE = 1e-2, 0.1, 4.0, 1e10, 1e-6
"""First damping, its factors after a step that lowers χ² and after one that does not, where to give up, and what is
as good as none."""
TINY = 1e-300
SETTLE, SHORTEST, SINGULAR = 30, 8, 1e-7
"""Most steps by which a minimum is settled, halvings of each, and the smallest scaled singular value that counts."""


class Minimum(NamedTuple):
    """Where a minimisation ended: the point, χ² there, and the number of steps tried."""

    x: Array
    chi2: Array
    steps: Array


def minimise(
    residuals: Callable[[Array], Array], start: Float[Array, " P"], max_steps: int | Array, tolerance: float = 1e-9
) -> Minimum:
    """Minimise χ² = Σ r² by steps (H + λ diag H) δ = −Jᵀr, H = JᵀJ.

    The damping relative to diag H makes the path independent of the parameters' units. It ends where a step without
    damping promises to lower χ² by less than ``tolerance`` of itself, or no step lowers it.

    Args:
        residuals: x (P,) → r (M,), a JAX function; what is not finite counts as larger.
        start: where to begin.
        max_steps: most steps that are tried.
        tolerance: relative, of χ².

    >>> import jax.numpy as jnp
    >>> valley = lambda x: jnp.array([10 * (x[1] - x[0] ** 2), 1 - x[0]])
    >>> minimise(valley, jnp.array([-1.2, 1.0]), 100).x.round(6).tolist()
    [1.0, 1.0]
    """

    def linearised(x: Array) -> tuple[Array, Array]:
        return residuals(x), jax.jacfwd(residuals)(x)

    def step(state):
        x, r, jacobian, damping, count, _ = state
        size = jnp.maximum(jnp.linalg.norm(jacobian, axis=0), TINY)
        scaled = jacobian / size
        slope, curvature = scaled.T @ r, scaled.T @ scaled
        move = -jnp.linalg.solve(curvature + damping * jnp.eye(len(x)), slope)
        tried = x + move / size
        promised = -(2 * slope @ move + move @ curvature @ move)
        here, there = jnp.sum(r**2), jnp.sum(residuals(tried) ** 2)
        lower = there <= here
        r, jacobian = jax.lax.cond(lower, linearised, lambda _: (r, jacobian), tried)
        done = (promised <= tolerance * here) & (damping < NONE) | (damping > STRONGEST)
        factor = jnp.where(lower, WEAKER, STRONGER)
        return jnp.where(lower, tried, x), r, jacobian, damping * factor, count + 1, done

    first = (start, *linearised(start), jnp.array(DAMPING), 0, jnp.array(False))
    x, r, _, _, count, _ = jax.lax.while_loop(lambda s: ~s[5] & (s[4] < max_steps), step, first)
    return Minimum(x, jnp.sum(r**2), jnp.asarray(count))


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
