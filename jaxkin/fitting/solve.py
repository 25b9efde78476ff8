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
from jaxkin.fitting.marquardt import Minimum, minimise, settle
from jaxkin.fitting.parameters import Parameter, from_free
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
TOLERANCE = 1e-9
"""Relative change of χ² at which Levenberg-Marquardt stops."""
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
    """Fit the problem's parameters to data sets of any kinds jointly, by least squares.

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
    best = int(np.nanargmin(np.where(np.isfinite(minima.chi2), minima.chi2, np.nan)))
    coordinates = np.asarray(from_free(problem.parameters, jnp.asarray(minima.x[best])))
    low, high = np.array([p.limits for p in problem.parameters]).T
    coordinates, remaining = settle(
        lambda u: linearised(problem, points, jnp.asarray(u)),
        lambda u: float(np.sum(problem.compiled_residuals(u, points) ** 2)),
        coordinates,
        (low, high),
        DECREMENT * 1e-3,
    )
    return FitResult.at(
        problem,
        sets,
        coordinates,
        reason=_reason(remaining, int(minima.steps[best]), max_steps),
        steps=int(minima.steps[best]),
        method=method,
        start_chi2=np.asarray(minima.chi2),
        ends=np.stack([np.asarray(from_free(problem.parameters, jnp.asarray(x))) for x in np.asarray(minima.x)]),
    )


@eqx.filter_jit
def _levenberg_marquardt(problem: FitProblem, points: tuple[Points, ...], starts: Array, max_steps: int) -> Minimum:
    def one(free: Array) -> Minimum:
        return minimise(
            lambda x: problem.residuals(from_free(problem.parameters, x), points), free, max_steps, TOLERANCE
        )

    return jax.vmap(one)(starts)


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


def at_bound(p: Parameter, coordinate: float) -> bool:
    """Whether a coordinate lies within 1e-4 of its range of a bound."""
    low, high = p.limits
    scale = high - low if np.isfinite(high - low) else max(abs(low) if np.isfinite(low) else abs(high), 1e-3)
    return min(coordinate - low, high - coordinate) < 1e-4 * scale
