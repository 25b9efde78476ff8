"""Minimise χ²: Levenberg-Marquardt for few parameters and any data that fit in memory, Adam on minibatches beyond."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array

from jaxkin.errors import JaxkinError, nearest
from jaxkin.fitting.data import Data
from jaxkin.fitting.minimum import Minimum, minimise, settle
from jaxkin.fitting.parameters import at_bound, from_free
from jaxkin.fitting.problem import FitProblem, Points, linearised
from jaxkin.fitting.result import FitResult
from jaxkin.fitting.starts import starts as begin_at
from jaxkin.surface.plan import Progress

Method = Literal["levenberg-marquardt", "adam"]
METHODS = ("levenberg-marquardt", "adam")
LARGE = 5_000_000
"""Elements of the Jacobian from which Adam is the default."""
BATCH = 4096
"""Points of a minibatch."""
POLISH = 10
"""Steps of Levenberg-Marquardt on all data that end a run of Adam."""
DECREMENT = 1e-2
"""A fit has converged when the linearised step would change χ² by less."""
STARTS = 8
GROUP = 50
"""Starts that are run side by side; a group ends with its slowest."""


def fit(
    problem: FitProblem,
    data: Data | Sequence[Data],
    *,
    method: Method | None = None,
    starts: int | None = None,
    seed: int = 0,
    max_steps: int = 200,
    progress: Progress | None = None,
) -> FitResult:
    """Fit the problem's parameters to data sets of any kinds jointly, by least squares: docs/fits.md.

    Args:
        problem: table and parameters.
        data: one or several :class:`Data`.
        method: ``"levenberg-marquardt"``, or ``"adam"`` on minibatches (``max_steps`` hundreds of them, then a few
            steps on all data); None takes the first unless the data are too many for a Jacobian.
        starts: the first is the problem's start, others are the lowest of 512 points inside the bounds, or widely about
            the start (:mod:`jaxkin.fitting.starts`); 8 by default (1 for Adam). Minima nearly as good as the best
            are kept, and its intervals include them.
        seed: of the starts and minibatches.
        max_steps: of each start.
        progress: called with (done, total, what).

    Raises:
        JaxkinError: unknown method, fewer data than parameters, χ² not finite at the start.

    >>> import jaxkin as jk, numpy as np
    >>> surface = jk.fermi_surface(jk.models.get("kramers-weyl-d4"), -1.2, sampler=jk.Lines(n=8), replicas=2)
    >>> table = jk.tabulate(surface, jk.RelaxationTime(tau=1.0, tau_skew=50.0))
    >>> problem = jk.FitProblem(table, [jk.Parameter("tau", 1.0)])
    >>> frequency = np.linspace(0.05, 1.0, 9)
    >>> template = jk.Data("rotation", np.zeros(9), 1e-3, frequency)
    >>> measured = jk.Data("rotation", problem.predict({"tau": 0.7}, template), 1e-3, frequency)
    >>> round(jk.fit(problem, measured).values["tau"], 6)
    0.7
    """
    sets = [data] if isinstance(data, Data) else list(data)
    if method is not None and method not in METHODS:
        raise JaxkinError(f"method={method!r} is unknown{nearest(method, METHODS)}; choose {' or '.join(METHODS)}.")
    if (starts is not None and starts < 1) or max_steps < 1:
        raise JaxkinError("starts and max_steps must be at least 1.")
    for one in sets:
        problem.check_data(one)
    count = sum(map(len, sets))
    known = count + sum(p.prior is not None for p in problem.parameters)
    if known < len(problem.parameters):
        raise JaxkinError(
            f"{len(problem.parameters)} parameters need as many data points or priors; there are {known}."
        )
    if method is None:
        method = "adam" if count * len(problem.parameters) > LARGE else "levenberg-marquardt"
    if starts is None:
        starts = STARTS if method == "levenberg-marquardt" else 1
    points = tuple(Points.of(one) for one in sets)
    free = begin_at(problem, points, starts, np.random.default_rng(seed))
    report: Progress = progress or (lambda done, total, what: None)
    groups = []
    for begin in range(0, starts, GROUP):
        report(begin, starts, "starts")
        chosen = jnp.asarray(free[begin : begin + GROUP])
        if method == "adam":
            chosen = _adam(problem, points, chosen, jax.random.key(seed), max_steps)
        groups.append(_levenberg_marquardt(problem, points, chosen, max_steps if method != "adam" else POLISH))
    report(starts, starts, "starts")
    minima = Minimum(*(jnp.concatenate(part) for part in zip(*groups, strict=True)))
    if not np.isfinite(minima.chi2).any():
        raise JaxkinError("χ² is not finite at any start: check the data, the starts and the bounds.")
    ends, chi2 = _off_the_bounds(problem, points, minima)
    best = int(np.nanargmin(np.where(np.isfinite(chi2), chi2, np.nan)))
    coordinates, remaining = _settled(problem, points, ends[best])
    return FitResult.at(
        problem,
        sets,
        coordinates,
        reason=_reason(remaining, int(minima.steps[best]), max_steps),
        steps=int(minima.steps[best]),
        method=method,
        start_chi2=chi2,
        ends=ends,
    )


def _settled(problem: FitProblem, points: tuple[Points, ...], coordinates: np.ndarray) -> tuple[np.ndarray, float]:
    low, high = np.array([p.limits for p in problem.parameters]).T
    return settle(
        lambda u: linearised(problem, points, jnp.asarray(u)),
        lambda u: float(np.sum(problem.compiled_residuals(u, points) ** 2)),
        coordinates,
        (low, high),
        DECREMENT * 1e-3,
    )


def _off_the_bounds(problem: FitProblem, points: tuple[Points, ...], minima: Minimum) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates (starts, P) and χ² (starts,) of the ends, those at a bound settled.

    A long step may end beside a bound, where the unbounded x of :func:`from_free` no longer moves the coordinate,
    whatever the slope of χ².
    """
    ends, chi2 = np.array(minima.x), np.array(minima.chi2)
    done: dict[str, tuple[np.ndarray, float]] = {}  # many starts end alike
    for k, u in enumerate(ends):
        if np.isfinite(chi2[k]) and any(map(at_bound, problem.parameters, u)):
            key = f"{chi2[k]:.6g}"
            if key not in done:
                settled, _ = _settled(problem, points, u)
                done[key] = settled, float(np.sum(problem.compiled_residuals(settled, points) ** 2))
            ends[k], chi2[k] = done[key]
    return ends, chi2


@eqx.filter_jit
def _levenberg_marquardt(problem: FitProblem, points: tuple[Points, ...], starts: Array, max_steps: int) -> Minimum:
    """Where the free ``starts`` end, in coordinates."""

    def one(free: Array) -> Minimum:
        found = minimise(_free_residuals, free, (problem, points), max_steps)
        return found._replace(x=from_free(problem.parameters, found.x))

    return jax.vmap(one)(starts)


def _free_residuals(free: Array, args: tuple[FitProblem, tuple[Points, ...]]) -> Array:
    problem, points = args
    return problem.residuals(from_free(problem.parameters, free), points)


@eqx.filter_jit
def _adam(problem: FitProblem, points: tuple[Points, ...], starts: Array, key: Array, hundreds: int) -> Array:
    """Where Adam on minibatches gets to from every start."""
    steps = 100 * hundreds
    optimiser = optax.adam(optax.cosine_decay_schedule(1.0, steps))
    size = sum(map(len, points))

    def batch(key: Array) -> tuple[tuple[Points, float], ...]:
        """Some points of every data set, with what each stands for."""
        keys = zip(points, jax.random.split(key, len(points)), strict=True)
        return tuple(
            (one.take(jax.random.randint(k, (min(BATCH, len(one)),), 0, len(one))), len(one) / min(BATCH, len(one)))
            for one, k in keys
        )

    def one(free: Array, key: Array) -> Array:
        def residuals(free: Array, parts: tuple[tuple[Points, float], ...]) -> Array:
            u = from_free(problem.parameters, free)
            rows = [problem.data_residuals(u, part) * jnp.sqrt(each / size) for part, each in parts]
            return jnp.concatenate([*rows, problem.priors(u) / jnp.sqrt(size)])

        # One unit of y changes a point by one standard deviation: all parameters move alike.
        scale = 1 / jnp.maximum(jnp.linalg.norm(jax.jacfwd(residuals)(free, batch(key)), axis=0), 1e-12)

        def step(carry, k):
            y, state = carry
            slope = jax.grad(lambda y: jnp.sum(residuals(free + scale * y, batch(k)) ** 2))(y)
            updates, state = optimiser.update(slope, state)
            return (optax.apply_updates(y, updates), state), None

        zero = jnp.zeros_like(free)
        (y, _), _ = jax.lax.scan(step, (zero, optimiser.init(zero)), jax.random.split(key, steps))
        return free + scale * jnp.asarray(y)

    return jax.vmap(one)(starts, jax.random.split(key, len(starts)))


def _reason(remaining: float, steps: int, most: int) -> str:
    """Empty where the fit converged, otherwise why not."""
    if np.isnan(remaining):
        return "the prediction or its derivative is not finite at the best parameters; narrow the bounds"
    if remaining < DECREMENT:
        return ""
    if steps >= most:
        return f"stopped after max_steps = {most} with χ² still to fall by about {remaining:.2g}; raise max_steps"
    return f"stopped where χ² should still fall by about {remaining:.2g}: try several starts, or narrower bounds"
