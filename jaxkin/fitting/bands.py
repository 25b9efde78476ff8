"""Fit a model's parameters to band energies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float
from numpy.typing import ArrayLike

from jaxkin.errors import JaxkinError, nearest
from jaxkin.fitting.minimum import minimise, settle
from jaxkin.fitting.parameters import INFINITE, Parameter, from_free, slope, to_free
from jaxkin.hamiltonian.bloch import BlochModel
from jaxkin.hamiltonian.perturbation import smooth_eigensystem

Build = Callable[[Any], BlochModel]
DECREMENT = 1e-2
"""A fit has converged when the linearised step would change χ² by less, or by less than 1e-4 of it."""
SINGULAR = 1e-9
"""Directions in which the scaled Jacobian is smaller than this are not determined."""
BATCH = 64
"""k whose Hamiltonians' derivatives are held at a time."""


@dataclass(frozen=True)
class BandFit:
    """Parameters at the minimum of χ²: docs/gradients.md, "Band fits".

    Attributes:
        values: as ``start`` was given.
        errors: their standard errors by the linearised fit, infinite where the data say nothing.
        covariance: (P, P) in units of the values, in the order of ``jax.flatten_util.ravel_pytree(values)``; of what
            the data determine.
        model: with these values.
        chi2: Σ(prediction − value)²/error² with prior and further residuals.
        degrees_of_freedom: number of terms less that of parameters.
        energies: the model's, where data were given, (N, m) in eV.
        reason: empty if the fit converged, otherwise why not.
        steps: of Levenberg-Marquardt.
        at_bound: names of the parameters that lie at a bound; their errors mean nothing there.
    """

    values: Any
    errors: Any
    covariance: np.ndarray = field(repr=False)
    model: BlochModel = field(repr=False)
    chi2: float
    degrees_of_freedom: int
    energies: np.ndarray = field(repr=False)
    reason: str
    steps: int
    at_bound: tuple[str, ...] = ()

    @property
    def converged(self) -> bool:
        """Whether a minimum was reached."""
        return not self.reason


def fit_bands(
    build: Build,
    start: Any,
    k: ArrayLike,
    energies: ArrayLike,
    error: ArrayLike = 1e-3,
    *,
    bands: Sequence[int] | None = None,
    parameters: Sequence[Parameter] = (),
    prior: Any = None,
    residuals: Callable[[BlochModel], Any] | None = None,
    max_steps: int = 200,
) -> BandFit:
    """Fit the parameters of a model to band energies, by Levenberg–Marquardt with exact derivatives.

    dε_n = ⟨n|dH|n⟩ (Hellmann–Feynman), the mean over the set where bands are degenerate
    (:mod:`jaxkin.hamiltonian.perturbation`): finite everywhere, and exact for the sum over a set. Bands are
    compared in ascending order, so that crossings need no labels: docs/gradients.md, "Band fits".

    Args:
        build: θ → model, a JAX function; θ is any pytree of real numbers and arrays. Constructors of models may be
            called, or ``eqx.tree_at`` puts numbers into a model that exists.
        start: θ to begin with.
        k: (N, d) model coordinates.
        energies: (N, m) in eV, ascending in each row; NaN where unknown.
        error: standard deviation in eV of every energy; broadcast against ``energies``.
        bands: the m bands of the model that these are; by default the lowest.
        parameters: bounds, coordinate and prior of some, by name: the keys that lead to a leaf joined by dots,
            ``"hopping"``, ``"onsite.2"``; an array's name means all its elements. A start given there counts.
        prior: standard deviations about ``start``, one for all or shaped like it; those of ``parameters`` come first.
        residuals: more of what should vanish, in units of its standard deviation, as a function of the model.
        max_steps: of Levenberg-Marquardt.

    Raises:
        JaxkinError: shapes that do not fit, errors or standard deviations that are not positive, χ² that is not
            finite, a parameter that ``start`` does not have.

    >>> import equinox as eqx, jax.numpy as jnp, jaxkin as jk
    >>> from jax.tree_util import Partial
    >>> template = jk.KdotP(Partial(lambda t, k: -2 * t * jnp.cos(jnp.pi * k)[None], 0.0), ((-1.0, 1.0),))
    >>> build = lambda theta: eqx.tree_at(lambda m: m.function.args[0], template, theta["hopping"])
    >>> k = jnp.linspace(-1, 1, 9)[:, None]
    >>> fit = jk.fit_bands(build, {"hopping": 0.3}, k, -2 * jnp.cos(jnp.pi * k))
    >>> round(float(fit.values["hopping"]), 8), fit.converged
    (1.0, True)
    """
    k, energies = np.asarray(k, float), np.asarray(energies, float)
    model = build(start)
    chosen = np.arange(energies.shape[-1]) if bands is None else np.asarray(bands, int)
    if k.ndim != 2 or k.shape[1] != model.dimension or energies.shape != (len(k), len(chosen)):
        raise JaxkinError(
            f"k {k.shape} must be (N, {model.dimension}) and energies {energies.shape} (N, {len(chosen)}), "
            "a column for each band."
        )
    if not len(chosen) or chosen.min() < 0 or chosen.max() >= model.size:
        raise JaxkinError(f"bands {chosen.tolist()} must lie in 0..{model.size - 1} of this model.")
    sigma = np.broadcast_to(np.asarray(error, float), energies.shape)
    known = np.isfinite(energies)
    if not np.all(sigma[known] > 0):
        raise JaxkinError("error must be positive: the standard deviation of every energy in eV.")
    first, unravel = ravel_pytree(jax.tree.map(lambda x: jnp.asarray(x, float), start))
    width = np.full(len(first), np.inf) if prior is None else np.asarray(ravel_pytree(prior)[0], float)
    if width.shape not in ((1,), first.shape) or not np.all(width > 0):
        raise JaxkinError("prior must be positive standard deviations, one for all or as many as parameters.")
    varied = _varied(start, parameters, np.asarray(first), np.broadcast_to(width, first.shape))
    problem = _Problem(
        build=build,
        unravel=unravel,
        further=residuals,
        varied=varied,
        bands=tuple(chosen.tolist()),
        k=jnp.asarray(k),
        energies=jnp.asarray(np.where(known, energies, 0.0)),
        inverse=jnp.asarray(np.where(known, 1 / sigma, 0.0)),
        prior=jnp.array([(np.inf, np.inf) if p.prior is None else p.prior for p in varied]),
    )
    u, steps, remaining = _minimised(problem, max_steps)
    left, jacobian, predicted = (np.asarray(part) for part in _linearised(problem, jnp.asarray(u)))
    chi2 = float(np.sum(left**2))
    covariance, errors = _uncertainty(jacobian)
    values = np.array([p.to_value(x) for p, x in zip(varied, u, strict=True)])
    stretch = np.array([slope(p, x) for p, x in zip(varied, values, strict=True)])
    reason = ""
    if remaining > max(DECREMENT, 1e-4 * chi2):
        reason = f"after {steps} steps χ² = {chi2:.4g} should still fall by about {remaining:.2g}; raise max_steps"
    idle = energies.size - int(known.sum()) + sum(p.prior is None for p in varied)  # terms that are always zero
    low, high = np.array([p.limits for p in varied]).T
    return BandFit(
        values=unravel(jnp.asarray(values)),
        errors=unravel(jnp.asarray(stretch * errors)),
        covariance=stretch[:, None] * covariance * stretch,
        model=build(unravel(jnp.asarray(values))),
        chi2=chi2,
        degrees_of_freedom=len(left) - idle - len(first),
        energies=predicted,
        reason=reason,
        steps=steps,
        at_bound=tuple(p.name for p, x, *ends in zip(varied, u, low, high, strict=True) if not ends[0] < x < ends[1]),
    )


def _varied(start: Any, given: Sequence[Parameter], values: np.ndarray, width: np.ndarray) -> tuple[Parameter, ...]:
    """A complete parameter for every number of ``start``."""
    leaves = jax.tree_util.tree_leaves_with_path(start)
    names = [jax.tree_util.keystr(path, simple=True, separator=".") for path, _ in leaves]
    owners = [name for name, (_, leaf) in zip(names, leaves, strict=True) for _ in range(np.size(leaf))]
    chosen = {p.name: p for p in given}
    for p in given:
        if p.name not in names:
            raise JaxkinError(f"parameter {p.name!r} is unknown{nearest(p.name, names)}; start has {', '.join(names)}.")
        if len(chosen) < len(given) and sum(other.name == p.name for other in given) > 1:
            raise JaxkinError(f"parameter {p.name!r} is named twice.")
    complete = []
    for name, value, sigma in zip(owners, values, width, strict=True):
        p = chosen.get(name, Parameter(name)).completed(float(value))
        if p.prior is None and np.isfinite(sigma):
            p = replace(p, prior=(float(value), float(sigma)))
        complete.append(p)
    return tuple(complete)


class _Problem(eqx.Module):
    """What is compared with what; ``inverse`` is 1/σ of the energies, ``prior`` means and σ, infinite for none."""

    build: Build
    unravel: Callable[[Array], Any]
    further: Callable[[BlochModel], Any] | None
    varied: tuple[Parameter, ...] = eqx.field(static=True)
    bands: tuple[int, ...] = eqx.field(static=True)
    k: Float[Array, "N d"]
    energies: Float[Array, "N m"]
    inverse: Float[Array, "N m"]
    prior: Float[Array, "P 2"]

    def __call__(self, u: Float[Array, " P"]) -> tuple[Float[Array, " M"], Float[Array, "N m"]]:
        """(prediction − value)/σ of everything, and the energies, for coordinates."""
        model = self.build(self.unravel(self.values(u)))

        def chosen(point: Array) -> Array:
            return smooth_eigensystem(model.hamiltonian(point))[0][jnp.array(self.bands)]

        energies = jax.lax.map(chosen, self.k, batch_size=BATCH)
        further = jnp.zeros(0) if self.further is None else ravel_pytree(self.further(model))[0]
        return jnp.concatenate([((energies - self.energies) * self.inverse).ravel(), further, self.pulls(u)]), energies

    def values(self, u: Float[Array, " P"]) -> Float[Array, " P"]:
        """The parameters themselves."""
        if all(p.coordinate == "linear" for p in self.varied):
            return u
        return jnp.stack([p.in_table(x) for p, x in zip(self.varied, u, strict=True)])

    def pulls(self, u: Float[Array, " P"]) -> Float[Array, " P"]:
        """Residuals of the priors, zero where there is none."""
        held = jnp.isfinite(self.prior[:, 1])
        mean, sigma = jnp.where(held[:, None], self.prior, 1.0).T
        if all(p.coordinate == "linear" for p in self.varied):
            return jnp.where(held, (u - mean) / sigma, 0.0)
        rows = [p.prior_residual(x, m, s) for p, x, m, s in zip(self.varied, u, mean, sigma, strict=True)]
        return jnp.where(held, jnp.stack(rows), 0.0)

    def coordinates(self, free: Float[Array, " P"]) -> Float[Array, " P"]:
        """Coordinates inside the bounds for any numbers."""
        return free if all(p.bounds == INFINITE for p in self.varied) else from_free(self.varied, free)


def _minimised(problem: _Problem, max_steps: int) -> tuple[np.ndarray, int, float]:
    """Coordinates, steps, and by how much χ² should still fall."""
    start = np.array([p.to_coordinate(p.start) for p in problem.varied if p.start is not None])
    for part in _linearised(problem, jnp.asarray(start))[:2]:
        if not np.all(np.isfinite(part)):
            raise JaxkinError("χ² or its derivative is not finite at the start: check it, the data and `build`.")
    free, steps = _levenberg_marquardt(problem, jnp.asarray(to_free(problem.varied, start)), max_steps)
    low, high = np.array([p.limits for p in problem.varied]).T
    u, remaining = settle(
        lambda u: _linearised(problem, jnp.asarray(u))[:2],
        lambda u: float(_chi2(problem, jnp.asarray(u))),
        np.asarray(problem.coordinates(free)),
        (low, high),
        DECREMENT * 1e-3,
    )
    return u, int(steps), remaining


@eqx.filter_jit
def _levenberg_marquardt(problem: _Problem, start: Array, max_steps: int) -> tuple[Array, Array]:
    found = minimise(lambda free, one: one(one.coordinates(free))[0], start, problem, max_steps)
    return found.x, found.steps


@eqx.filter_jit
def _chi2(problem: _Problem, u: Array) -> Array:
    return jnp.sum(problem(u)[0] ** 2)


@eqx.filter_jit
def _linearised(problem: _Problem, u: Array) -> tuple[Array, Array, Array]:
    """Residuals (M,), their derivatives (M, P), and the energies (N, m)."""
    jacobian, (residuals, energies) = jax.jacfwd(lambda x: (problem(x)[0], problem(x)), has_aux=True)(u)
    return residuals, jacobian, energies


def _uncertainty(jacobian: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Covariance (P, P) and standard errors (P,), infinite where a parameter is not determined."""
    size = np.linalg.norm(jacobian, axis=0)
    size = np.where(size > 0, size, 1.0)
    _, sizes, right = np.linalg.svd(jacobian / size, full_matrices=False)
    kept = sizes > SINGULAR * sizes.max(initial=1e-300)
    half = right[kept].T / sizes[kept] / size[:, None]
    free = 1 - np.sum(right[kept] ** 2, axis=0)  # part of each parameter in directions that are not determined
    errors = np.where(free > 1e-6, np.inf, np.sqrt(np.sum(half**2, axis=1)))
    return half @ half.T, errors
