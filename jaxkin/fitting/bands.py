"""Fit a model's parameters to band energies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optimistix
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float
from numpy.typing import ArrayLike

from jaxkin.errors import JaxkinError
from jaxkin.hamiltonian.bloch import BlochModel
from jaxkin.hamiltonian.perturbation import smooth_eigensystem

Build = Callable[[Any], BlochModel]
TOLERANCE = 1e-10
"""Relative change of χ² and of the scaled parameters at which Levenberg-Marquardt stops."""
DECREMENT = 1e-2
"""A fit has converged when the linearised step would change χ² by less, or by less than 1e-4 of it."""
SINGULAR = 1e-9
"""Directions in which the scaled Jacobian is smaller than this are not determined."""
BATCH = 64
"""k whose Hamiltonians' derivatives are held at a time."""


@dataclass(frozen=True)
class BandFit:
    """Parameters at the minimum of χ².

    Attributes:
        values: as ``start`` was given.
        errors: their standard errors by the linearised fit, infinite where the data say nothing.
        covariance: (P, P) in the order of ``jax.flatten_util.ravel_pytree(values)``; of what the data determine.
        model: with these values.
        chi2: Σ(prediction − value)²/error² with prior and further residuals.
        degrees_of_freedom: number of terms less that of parameters.
        energies: the model's, where data were given, (N, m) in eV.
        reason: empty if the fit converged, otherwise why not.
        steps: of Levenberg-Marquardt.
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
    prior: Any = None,
    residuals: Callable[[BlochModel], Any] | None = None,
    max_steps: int = 200,
) -> BandFit:
    """Fit the parameters of a model to band energies, by Levenberg–Marquardt with exact derivatives.

    dε_n = ⟨n|dH|n⟩ (Hellmann–Feynman), the mean over the set where bands are degenerate
    (:mod:`jaxkin.hamiltonian.perturbation`): finite everywhere, and exact for the sum over a set. Bands are
    compared in ascending order, so that crossings need no labels.

    Args:
        build: θ → model, a JAX function; θ is any pytree of real numbers and arrays. ``eqx.tree_at`` puts
            them into a model that exists; the classes' constructors check numbers and cannot be traced.
        start: θ to begin with.
        k: (N, d) model coordinates.
        energies: (N, m) in eV, ascending in each row; NaN where unknown.
        error: standard deviation in eV of every energy; broadcast against ``energies``.
        bands: the m bands of the model that these are; by default the lowest.
        prior: standard deviations about ``start``, one for all or shaped like it.
        residuals: more of what should vanish, in units of its standard deviation, as a function of the model.
        max_steps: of Levenberg-Marquardt.

    Raises:
        JaxkinError: shapes that do not fit, errors or standard deviations that are not positive, χ² that is not finite.

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
    problem = _Problem(
        build=build,
        unravel=unravel,
        further=residuals,
        bands=tuple(chosen.tolist()),
        k=jnp.asarray(k),
        energies=jnp.asarray(np.where(known, energies, 0.0)),
        inverse=jnp.asarray(np.where(known, 1 / sigma, 0.0)),
        start=first,
        pull=jnp.asarray(1 / np.broadcast_to(width, first.shape)),
    )
    flat, steps = _minimised(problem, max_steps)
    left, jacobian, predicted = (np.asarray(part) for part in _linearised(problem, flat))
    if not (np.all(np.isfinite(left)) and np.all(np.isfinite(jacobian))):
        raise JaxkinError("χ² or its derivative is not finite: check the start, the data and `build`.")
    chi2 = float(np.sum(left**2))
    covariance, errors, remaining = _uncertainty(left, jacobian)
    reason = ""
    if remaining > max(DECREMENT, 1e-4 * chi2):
        reason = f"after {steps} steps χ² = {chi2:.4g} should still fall by about {remaining:.2g}; raise max_steps"
    idle = energies.size - int(known.sum()) + int(np.sum(np.asarray(problem.pull) == 0))  # terms that are always zero
    return BandFit(
        values=unravel(flat),
        errors=unravel(jnp.asarray(errors)),
        covariance=covariance,
        model=build(unravel(flat)),
        chi2=chi2,
        degrees_of_freedom=len(left) - idle - len(first),
        energies=predicted,
        reason=reason,
        steps=steps,
    )


class _Problem(eqx.Module):
    """What is compared with what; ``inverse`` and ``pull`` are 1/σ of the energies and of the parameters."""

    build: Build
    unravel: Callable[[Array], Any]
    further: Callable[[BlochModel], Any] | None
    bands: tuple[int, ...] = eqx.field(static=True)
    k: Float[Array, "N d"]
    energies: Float[Array, "N m"]
    inverse: Float[Array, "N m"]
    start: Float[Array, " P"]
    pull: Float[Array, " P"]

    def __call__(self, flat: Float[Array, " P"]) -> tuple[Float[Array, " M"], Float[Array, "N m"]]:
        """(prediction − value)/σ of everything, and the energies."""
        model = self.build(self.unravel(flat))

        def chosen(point: Array) -> Array:
            return smooth_eigensystem(model.hamiltonian(point))[0][jnp.array(self.bands)]

        energies = jax.lax.map(chosen, self.k, batch_size=BATCH)
        further = jnp.zeros(0) if self.further is None else ravel_pytree(self.further(model))[0]
        parts = [((energies - self.energies) * self.inverse).ravel(), further, (flat - self.start) * self.pull]
        return jnp.concatenate(parts), energies


def _minimised(problem: _Problem, max_steps: int) -> tuple[Array, int]:
    # every scaled parameter changes the residuals alike
    size = np.linalg.norm(np.asarray(_linearised(problem, problem.start)[1]), axis=0)
    if not np.all(np.isfinite(size)):
        raise JaxkinError("χ² or its derivative is not finite at the start.")
    scale = jnp.asarray(1 / np.where(size > 0, size, 1.0))
    moved, steps = _levenberg_marquardt(problem, scale, max_steps)
    return problem.start + scale * moved, int(steps)


@eqx.filter_jit
def _levenberg_marquardt(problem: _Problem, scale: Array, max_steps: int) -> tuple[Array, Array]:
    def residuals(moved: Array, args: tuple[_Problem, Array]) -> Array:
        one, scale = args
        return one(one.start + scale * moved)[0]

    solver = optimistix.LevenbergMarquardt(rtol=TOLERANCE, atol=TOLERANCE)
    solution = optimistix.least_squares(
        residuals,
        solver,
        jnp.zeros_like(problem.start),
        (problem, scale),
        {"jac": "fwd"},
        max_steps=max_steps,
        throw=False,
    )
    return solution.value, solution.stats["num_steps"]


@eqx.filter_jit
def _linearised(problem: _Problem, flat: Array) -> tuple[Array, Array, Array]:
    """Residuals (M,), their derivatives (M, P), and the energies (N, m)."""
    jacobian, (residuals, energies) = jax.jacfwd(lambda x: (problem(x)[0], problem(x)), has_aux=True)(flat)
    return residuals, jacobian, energies


def _uncertainty(residuals: np.ndarray, jacobian: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Covariance (P, P), standard errors (P,), and by how much a Gauss-Newton step would lower χ²."""
    size = np.linalg.norm(jacobian, axis=0)
    size = np.where(size > 0, size, 1.0)
    left, sizes, right = np.linalg.svd(jacobian / size, full_matrices=False)
    kept = sizes > SINGULAR * sizes.max(initial=1e-300)
    half = right[kept].T / sizes[kept] / size[:, None]
    free = 1 - np.sum(right[kept] ** 2, axis=0)  # part of each parameter in directions that are not determined
    errors = np.where(free > 1e-6, np.inf, np.sqrt(np.sum(half**2, axis=1)))
    return half @ half.T, errors, float(np.sum((left.T[kept] @ residuals) ** 2))
