"""Samples of the posterior by NUTS (blackjax, an optional extra): for likelihoods that are far from Gaussian."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import ModuleType

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Float

from jaxkin.brief import lines, plural
from jaxkin.errors import AccuracyWarning, JaxkinError
from jaxkin.fitting.data import Data
from jaxkin.fitting.parameters import from_free, to_free
from jaxkin.fitting.problem import FitProblem, Points, linearised
from jaxkin.fitting.result import FitResult
from jaxkin.fitting.solve import fit

MIXED = 1.01
"""Split R̂ up to which chains are said to agree ..."""
ENOUGH = 400
"""... and the effective draws that quantiles need."""
TARGET = 0.9
"""Acceptance that the step length is adapted to."""


@dataclass(frozen=True)
class Posterior:
    """Draws from the posterior of a fit's parameters: docs/fits.md, "What comes out".

    Attributes:
        problem: what was fitted.
        coordinates: draws of what is varied (ln τ, 1/τ_sk, ...), (chains, draws, P).
        r_hat: of each parameter, split R̂ of the coordinate: 1 where all halves of all chains agree.
        effective: number of independent draws, no unit, that the mean of each is worth.
        divergences: steps on which the integration failed.
    """

    problem: FitProblem
    coordinates: Float[np.ndarray, "C N P"] = field(repr=False)
    r_hat: dict[str, float]
    effective: dict[str, float]
    divergences: int

    def __repr__(self) -> str:
        chains, draws = self.coordinates.shape[:2]
        shown = [
            f"{name}: {self.quantile(name, 0.5):.4g}, 68 % {low:.4g} … {high:.4g}, R-hat {self.r_hat[name]:.3f}"
            for name in self.names
            for low, high in [self.interval(name, 0.6827)]
        ]
        return lines(
            f"Posterior: {chains} chains of {draws} draws, {plural(self.divergences, 'divergence')}",
            *shown,
            "ask for .draws[name], .interval(name, 0.95), .r_hat, .effective",
        )

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the parameters, in order."""
        return tuple(p.name for p in self.problem.parameters)

    @property
    def draws(self) -> dict[str, np.ndarray]:
        """Values by parameter in its unit, (chains, draws)."""
        with np.errstate(divide="ignore"):
            return {
                p.name: np.vectorize(p.to_value, otypes=[float])(self.coordinates[..., k])
                for k, p in enumerate(self.problem.parameters)
            }

    @property
    def mean(self) -> np.ndarray:
        """Of the coordinates, (P,)."""
        return self._flat.mean(axis=0)

    @property
    def covariance(self) -> np.ndarray:
        """Of the coordinates, (P, P)."""
        return np.atleast_2d(np.cov(self._flat.T))

    @property
    def _flat(self) -> np.ndarray:
        return self.coordinates.reshape(-1, self.coordinates.shape[-1])

    def quantile(self, name: str, probability: float) -> float:
        """The value whose coordinate has this probability below it.

        Args:
            name: of a fitted parameter.
            probability: from 0 to 1.

        Raises:
            JaxkinError: the parameter was not fitted.
        """
        if name not in self.names:
            raise JaxkinError(f"{name!r} was not fitted; fitted: {', '.join(self.names)}.")
        k = self.names.index(name)
        return self.problem.parameters[k].to_value(float(np.quantile(self._flat[:, k], probability)))

    def interval(self, name: str, level: float = 0.6827) -> tuple[float, float]:
        """Central interval of the coordinate, as values in the order of ``FitResult.interval``.

        Args:
            name: of a fitted parameter.
            level: probability inside.

        Raises:
            JaxkinError: the parameter was not fitted.
        """
        low, high = self.quantile(name, (1 - level) / 2), self.quantile(name, (1 + level) / 2)
        turned = self.problem.parameters[self.names.index(name)].coordinate == "reciprocal"
        return (high, low) if turned else (low, high)

    @property
    def doubts(self) -> tuple[str, ...]:
        """Why the draws may not be what they seem, in words."""
        lines = []
        apart = [name for name in self.names if not self.r_hat[name] < MIXED]
        few = [name for name in self.names if not self.effective[name] > ENOUGH]
        if apart:
            worst = max(self.r_hat[name] for name in apart)
            lines.append(
                f"chains disagree about {', '.join(apart)} (R-hat up to {worst:.3g}): several maxima, whose weights "
                "the draws do not have (narrow the bounds to one), or too few draws."
            )
        elif few:
            least = min(self.effective[name] for name in few)
            lines.append(f"{', '.join(few)}: worth only {least:.0f} independent draws; raise draws.")
        if self.divergences:
            lines.append(f"{self.divergences} divergent steps: the posterior has a corner that was not entered.")
        return tuple(lines)

    def to_dataset(self) -> xr.Dataset:
        """Draws of values, (chain, draw), with R̂ and effective draws as attributes."""
        data = {
            name: (
                ("chain", "draw"),
                values,
                {"units": p.unit, "r_hat": self.r_hat[name], "effective_draws": self.effective[name]},
            )
            for p, (name, values) in zip(self.problem.parameters, self.draws.items(), strict=True)
        }
        return xr.Dataset(data, attrs={"divergences": self.divergences, "remarks": "\n".join(self.doubts)})


def sample_posterior(
    fitted: FitResult | FitProblem,
    data: Data | Sequence[Data] | None = None,
    *,
    draws: int = 1000,
    warmup: int = 500,
    chains: int = 4,
    seed: int = 0,
) -> Posterior:
    """Draw from p(parameters | data) ∝ e^{−χ²/2} by NUTS, with priors and bounds.

    NUTS: M. Hoffman, A. Gelman, J. Mach. Learn. Res. 15, 1593 (2014).

    The density is flat in the coordinate (ln τ, 1/τ_sk, a_sj, ...) inside its bounds, where no prior says otherwise;
    a prior is Gaussian in the value (in 1/τ_sk where that is varied). What is sampled are unbounded stand-ins of the
    bounded coordinates, with the logarithm of their Jacobian added. The chains start about the minimum, or about all
    minima that the fit lists. The integrals' own error is not included: see ``FitResult.integrator_covariance``.

    Args:
        fitted: a result, or a problem, which is then fitted first.
        data: of a problem.
        draws: kept of each chain.
        warmup: steps before them, in which step length and metric adapt.
        chains: run side by side.
        seed: makes the draws reproducible.

    Raises:
        JaxkinError: blackjax is not installed, a parameter that neither data nor bounds nor a prior determine.

    Warns:
        AccuracyWarning: chains disagree, or there are too few independent draws.

    >>> import jaxkin as jk, numpy as np
    >>> surface = jk.fermi_surface(jk.models.get("kramers-weyl-d4"), -1.2, sampler=jk.Lines(n=8), replicas=2)
    >>> problem = jk.FitProblem(jk.tabulate(surface, jk.RelaxationTime(tau=1.0)), ["moment_scale"])
    >>> data = jk.Data("rotation", problem.predict({"moment_scale": 1.0}, jk.Data("rotation", 0.0, 1.0, 0.2)), 1e3, 0.2)
    >>> posterior = jk.sample_posterior(problem, data, draws=500, warmup=100)  # doctest: +SKIP
    >>> posterior.interval("moment_scale", 0.95), posterior.r_hat, posterior.effective  # doctest: +SKIP
    """
    sampler = _blackjax()
    if draws < 10 or warmup < 10 or chains < 2:
        raise JaxkinError("a posterior needs at least 2 chains of 10 draws after 10 steps of warmup.")
    if isinstance(fitted, FitProblem):
        if data is None:
            raise JaxkinError("sample_posterior(problem, data) needs the data.")
        fitted = fit(fitted, data, seed=seed)
    elif data is not None:
        raise JaxkinError("a result has its data: sample_posterior(result), or sample_posterior(problem, data).")
    problem, points = fitted.problem, tuple(Points.of(one) for one in fitted.data)
    for p, loose in zip(problem.parameters, fitted.undetermined, strict=True):
        if loose and not np.all(np.isfinite(p.limits)):
            raise JaxkinError(
                f"{p.name!r} is not determined by the data: its posterior has no norm without two bounds or a prior."
            )
    minima = [fitted.coordinates, *(other.coordinates for other in fitted.alternatives)]
    rng = np.random.default_rng(seed)
    starts, spread = [], _spread(problem, points, fitted.coordinates)
    for number in range(chains):
        at = to_free(problem.parameters, minima[number % len(minima)])
        starts.append(np.linalg.solve(spread, at - to_free(problem.parameters, fitted.coordinates)))
    begin = np.array(starts) + rng.standard_normal((chains, len(minima[0])))
    centre = jnp.asarray(to_free(problem.parameters, fitted.coordinates))
    keys = jax.random.split(jax.random.key(seed), chains)
    u, divergent = _run(sampler, problem, points, centre, jnp.asarray(spread), jnp.asarray(begin), keys, draws, warmup)
    coordinates = np.asarray(u)
    if not np.all(np.isfinite(coordinates)):
        raise JaxkinError("the posterior's draws ran off to infinity: narrow the bounds, or give priors.")
    halves = coordinates[:, : 2 * (draws // 2)].reshape(2 * chains, draws // 2, -1)
    r_hat = sampler.diagnostics.potential_scale_reduction(jnp.asarray(halves))
    effective = sampler.diagnostics.effective_sample_size(jnp.asarray(coordinates))
    names = [p.name for p in problem.parameters]
    posterior = Posterior(
        problem,
        coordinates,
        dict(zip(names, np.atleast_1d(r_hat).tolist(), strict=True)),
        dict(zip(names, np.atleast_1d(effective).tolist(), strict=True)),
        int(np.sum(divergent)),
    )
    for line in posterior.doubts:
        warnings.warn(line, AccuracyWarning, stacklevel=2)
    return posterior


def _blackjax() -> ModuleType:
    try:
        import blackjax
        import blackjax.diagnostics
    except ImportError:
        raise JaxkinError("posterior sampling needs blackjax: pip install 'jaxkin[posterior]'.") from None
    return blackjax


def _spread(problem: FitProblem, points: tuple[Points, ...], coordinates: np.ndarray) -> np.ndarray:
    """A matrix (P, P) that turns numbers of order one into steps of the free parameters, from the linearised fit."""
    free = jnp.asarray(to_free(problem.parameters, coordinates))
    stretch = np.asarray(jax.jvp(lambda x: from_free(problem.parameters, x), (free,), (jnp.ones_like(free),))[1])
    jacobian = np.asarray(linearised(problem, points, jnp.asarray(coordinates))[1]) * stretch
    # the Jacobian of bounds, and what else keeps a coordinate, is of order one in the free parameter
    held = np.diag([0.1 * float(np.isfinite(p.limits).any()) for p in problem.parameters])
    size = np.sqrt(np.maximum(np.diag(jacobian.T @ jacobian + held), 1e-12))
    values, vectors = np.linalg.eigh((jacobian.T @ jacobian + held) / np.outer(size, size))
    return vectors / np.sqrt(np.maximum(values, 1e-8)) / size[:, None]


def _log_density(problem: FitProblem, points: tuple[Points, ...], free: Array) -> Array:
    """ln p of the free parameters, but for a constant."""
    u, stretch = jax.jvp(lambda x: from_free(problem.parameters, x), (free,), (jnp.ones_like(free),))
    # a prior Gaussian in the value, of a coordinate that is its logarithm: dτ = τ d ln τ
    from_values = sum((u[k] for k in problem.known if problem.parameters[k].coordinate == "log"), jnp.zeros(()))
    return -0.5 * jnp.sum(problem.residuals(u, points) ** 2) + jnp.sum(jnp.log(stretch)) + from_values


@eqx.filter_jit
def _run(sampler, problem, points, centre, spread, begin, keys, draws, warmup) -> tuple[Array, Array]:
    """Coordinates (C, N, P) and whether each step diverged (C, N)."""

    def density(z: Array) -> Array:
        return _log_density(problem, points, centre + spread @ z)

    def chain(z: Array, key: Array) -> tuple[Array, Array]:
        first, later = jax.random.split(key)
        adapt = sampler.window_adaptation(sampler.nuts, density, target_acceptance_rate=TARGET)
        (state, tuned), _ = adapt.run(first, z, num_steps=warmup)
        kernel = sampler.nuts(density, **tuned)

        def step(state, key):
            state, info = kernel.step(key, state)
            return state, (state.position, info.is_divergent)

        _, (drawn, divergent) = jax.lax.scan(step, state, jax.random.split(later, draws))
        return jax.vmap(lambda z: from_free(problem.parameters, centre + spread @ z))(drawn), divergent

    return jax.vmap(chain)(begin, keys)
