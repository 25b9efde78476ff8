"""The result of a fit: values, errors, and what speaks for or against them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import jax.numpy as jnp
import numpy as np
import xarray
from jaxtyping import Array
from scipy import stats

from jaxkin.brief import lines
from jaxkin.errors import JaxkinError, nearest
from jaxkin.fitting.data import Data
from jaxkin.fitting.diagnostics import Doubts, Residuals, diagnose
from jaxkin.fitting.parameters import slope
from jaxkin.fitting.problem import FitProblem, Points, linearised
from jaxkin.fitting.profile import Profile, profile, rises
from jaxkin.output.uncertainty import with_uncertainty

SINGULAR = 1e-9
"""Directions in which the scaled Jacobian is smaller than this are not determined at all."""

ALTERNATIVE = 10.0
"""Excess of χ² up to which another minimum is kept ..."""
APART = 4.0
"""... if from the other minima's derivatives χ should have risen by so much on the way."""


@dataclass(frozen=True)
class Alternative:
    """Another minimum: coordinates, their standard errors, and how much larger its χ² is."""

    coordinates: np.ndarray
    errors: np.ndarray
    delta: float


@dataclass(frozen=True)
class FitResult:
    """Parameters at the minimum of χ², in units of :class:`Parameter`: docs/fits.md, "What comes out".

    The errors are those of the linearised fit in the coordinates that are varied (ln τ, 1/τ_sk, ...). They have two
    parts: that of the data, (JᵀJ)⁻¹, and that of the surface integrals, from fits to each replica's integrals.

    Attributes:
        problem: what was fitted.
        data: to what.
        coordinates: those of the best values, (P,).
        reason: empty if the fit converged, otherwise why not.
        steps: of the best start.
        method: of minimisation.
        start_chi2: χ² that each start ended at.
        residuals: (prediction − value)/error of all points and priors, (M,).
        jacobian: derivative of the residuals by the coordinates, (M, P).
        data_covariance, integrator_covariance: of the coordinates, (P, P).
    """

    problem: FitProblem
    data: tuple[Data, ...]
    coordinates: np.ndarray
    reason: str
    steps: int
    method: str
    start_chi2: np.ndarray
    residuals: np.ndarray = field(repr=False)
    jacobian: np.ndarray = field(repr=False)
    data_covariance: np.ndarray = field(repr=False)
    integrator_covariance: np.ndarray = field(repr=False)
    predictions: tuple[np.ndarray, ...] = field(repr=False)
    """(replicas, N) of every data set, in its unit."""
    alternatives: tuple[Alternative, ...] = ()
    """Other minima, nearly as good."""

    @classmethod
    def at(
        cls,
        problem: FitProblem,
        data: Sequence[Data],
        coordinates: np.ndarray,
        reason: str,
        steps: int,
        method: str,
        start_chi2: np.ndarray,
        ends: np.ndarray,
    ) -> FitResult:
        """The result at given coordinates.

        Args:
            problem, data: what is fitted to what.
            coordinates: (P,).
            reason, steps, method: as of the result.
            start_chi2, ends: where the starts came to, χ² (starts,) and coordinates (starts, P).
        """
        u, points = jnp.asarray(coordinates), tuple(Points.of(one) for one in data)
        residuals, jacobian = (np.asarray(part) for part in linearised(problem, points, u))
        predictions = tuple(problem.by_replica(coordinates, one) for one in points)
        inverse = _inverse(jacobian)
        scatter = np.concatenate(
            [(p - p.mean(axis=0)) / one.error for p, one in zip(predictions, data, strict=True)], axis=1
        )
        replicas = len(scatter)
        moved = scatter @ inverse[:, : scatter.shape[1]].T
        integrator = moved.T @ moved / (replicas * (replicas - 1)) if replicas > 1 else np.zeros((len(u), len(u)))
        covariance = inverse @ inverse.T
        others = _alternatives(problem, points, u, float(np.sum(residuals**2)), jacobian, start_chi2, ends)
        return cls(
            problem, tuple(data), np.asarray(coordinates), reason, steps, method, start_chi2,
            residuals, jacobian, covariance, integrator, predictions, others,
        )  # fmt: skip

    def __repr__(self) -> str:
        fitted = [
            f"{name} = {'not determined' if free else with_uncertainty(self.values[name], self.errors[name])}"
            f"{'' if self.units[name] == '1' else ' ' + self.units[name]}"
            for name, free in zip(self.names, self.undetermined, strict=True)
        ]
        return lines(
            f"FitResult: {'converged' if self.converged else f'NOT CONVERGED: {self.reason}'}",
            *fitted,
            f"χ² = {self.chi2:.4g} for {self.degrees_of_freedom} degrees of freedom, p = {self.p_value:.3g}",
            "ask for .values, .errors, .interval(name, 0.95), .correlation, .doubts.lines, .profile(name)",
        )

    @property
    def converged(self) -> bool:
        """Whether a minimum was reached."""
        return not self.reason

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the parameters, in order."""
        return tuple(p.name for p in self.problem.parameters)

    @property
    def values(self) -> dict[str, float]:
        """Best values in the :attr:`units`."""
        return {p.name: p.to_value(u) for p, u in zip(self.problem.parameters, self.coordinates, strict=True)}

    @property
    def units(self) -> dict[str, str]:
        """Unit of every parameter."""
        return {p.name: p.unit for p in self.problem.parameters}

    @property
    def covariance(self) -> np.ndarray:
        """Of the coordinates, (P, P): data and integrator."""
        return self.data_covariance + self.integrator_covariance

    @property
    def coordinate_errors(self) -> np.ndarray:
        """Standard errors of the coordinates, (P,); infinite where the data say nothing."""
        errors = np.sqrt(np.diag(self.covariance))
        return np.where(self.undetermined, np.inf, errors)

    @cached_property
    def undetermined(self) -> np.ndarray:
        """Whether a parameter takes part in a direction that the data leave free, (P,)."""
        scaled, _ = _scaled(self.jacobian)
        _, sizes, right = np.linalg.svd(scaled, full_matrices=True)
        free = np.ones(len(right), bool)
        free[: len(sizes)] = sizes <= SINGULAR * sizes.max(initial=1e-300)
        return np.any(np.abs(right[free]) > 1e-3, axis=0) | ~np.any(self.jacobian, axis=0)

    @property
    def errors(self) -> dict[str, float]:
        """Standard errors of the values, to first order in those of the coordinates; see :meth:`interval`."""
        return {
            p.name: float(slope(p, p.to_value(u)) * e)
            for p, u, e in zip(self.problem.parameters, self.coordinates, self.coordinate_errors, strict=True)
        }

    def interval(self, name: str, level: float = 0.6827) -> tuple[float, float]:
        """Values within which the parameter lies with probability ``level``, at most its bounds.

        With other minima that χ² does not exclude at this level, the interval reaches from the first to the last.

        Of a τ_sk whose inverse may be zero, the interval goes through infinity: the first end is then above the second.

        Args:
            name: of a fitted parameter.
            level: probability, from 0 to 1.

        Raises:
            JaxkinError: the parameter was not fitted.
        """
        k = self.index(name)
        p, u, wanted = self.problem.parameters[k], self.coordinates[k], float(stats.chi2.ppf(level, 1))
        half = np.sqrt(wanted) * self.coordinate_errors[k]
        low, high = u - half, u + half
        for other in self.alternatives:
            if other.delta < wanted:
                reach = np.sqrt(wanted - other.delta) * other.errors[k]
                low, high = min(low, other.coordinates[k] - reach), max(high, other.coordinates[k] + reach)
        ends = p.to_value(max(low, p.limits[0])), p.to_value(min(high, p.limits[1]))
        return (ends[1], ends[0]) if p.coordinate == "reciprocal" else ends

    def index(self, name: str) -> int:
        """Position of a parameter.

        Raises:
            JaxkinError: it was not fitted.
        """
        if name not in self.names:
            raise JaxkinError(f"{name!r} was not fitted{nearest(name, self.names)}; fitted: {', '.join(self.names)}.")
        return self.names.index(name)

    @property
    def correlation(self) -> np.ndarray:
        """Of the coordinates, (P, P)."""
        size = np.sqrt(np.diag(self.covariance))
        return self.covariance / np.maximum(np.outer(size, size), 1e-300)

    @property
    def chi2(self) -> float:
        """Σ residuals², priors included."""
        return float(np.sum(self.residuals**2))

    @property
    def degrees_of_freedom(self) -> int:
        """Points and priors less parameters."""
        return len(self.residuals) - len(self.names)

    @property
    def p_value(self) -> float:
        """Probability of a larger χ² if model and errors are right; NaN without degrees of freedom."""
        return float(stats.chi2.sf(self.chi2, self.degrees_of_freedom)) if self.degrees_of_freedom > 0 else np.nan

    def prediction(self, number: int) -> np.ndarray:
        """Fitted values of data set ``number``, in its unit, (N,)."""
        return self.predictions[number].mean(axis=0)

    def band(self, data: Data) -> tuple[np.ndarray, np.ndarray]:
        """Prediction for any points, in the unit of such data, and its standard error, of the fitted data alone."""
        points = Points.of(data)
        samples = self.problem.by_replica(self.coordinates, points)
        unit = Data(data.quantity, samples.mean(axis=0), 1.0, data.frequency, temperature=data.temperature,
                    field=data.field, current_density=data.current_density, axis=data.axis)  # fmt: skip
        slopes = linearised(self.problem, (Points.of(unit),), jnp.asarray(self.coordinates))[1][: len(data)]
        slopes = np.asarray(slopes)
        return samples.mean(axis=0), np.sqrt(np.einsum("np,pq,nq->n", slopes, self.data_covariance, slopes))

    @cached_property
    def residual_tests(self) -> tuple[Residuals, ...]:
        """Diagnostics of every data set's residuals."""
        ends = np.cumsum([len(one) for one in self.data])
        return tuple(
            Residuals.of(one, part) for one, part in zip(self.data, np.split(self.residuals, ends)[: len(self.data)],
                                                         strict=True)
        )  # fmt: skip

    @cached_property
    def doubts(self) -> Doubts:
        """In words: what the data do not determine, and whether the model describes them."""
        return diagnose(self)

    @cached_property
    def rises(self) -> np.ndarray:
        """By how much χ² rises at either end of each 95 % interval of the data alone, (P, 2): 3.84 if Gaussian."""
        points = tuple(Points.of(one) for one in self.data)
        return rises(self.problem, points, self.coordinates, self.data_covariance)

    def profile(self, name: str, points: int = 25) -> Profile:
        """Profile likelihood: χ² minimised over all other parameters, against this one.

        Args:
            name: of a fitted parameter.
            points: values of it.

        Raises:
            JaxkinError: the parameter was not fitted, or the data do not determine it; fewer than 5 points.
        """
        return profile(
            self.problem,
            tuple(Points.of(one) for one in self.data),
            self.coordinates,
            self.data_covariance,
            self.index(name),
            points,
        )

    def to_dataset(self) -> xarray.Dataset:
        """Everything as a labelled dataset."""
        from jaxkin.fitting.store import fit_dataset

        return fit_dataset(self)


def _alternatives(
    problem: FitProblem,
    points: tuple[Points, ...],
    best: Array,
    chi2: float,
    jacobian: np.ndarray,
    end_chi2: np.ndarray,
    ends: np.ndarray,
) -> tuple[Alternative, ...]:
    """Distinct ends of starts with a χ² that is not much larger."""
    found = [(np.asarray(best), jacobian)]
    others = []
    for k in np.argsort(end_chi2):
        delta = float(end_chi2[k]) - chi2
        if not delta < ALTERNATIVE:
            break
        if all(np.linalg.norm(j @ (ends[k] - u)) > APART for u, j in found):
            slopes = np.asarray(linearised(problem, points, jnp.asarray(ends[k]))[1])
            found.append((ends[k], slopes))
            others.append(Alternative(ends[k], np.linalg.norm(_inverse(slopes), axis=1), max(delta, 0.0)))
    return tuple(others)


def _scaled(jacobian: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Columns of length one, and their lengths."""
    size = np.maximum(np.linalg.norm(jacobian, axis=0), 1e-300)
    return jacobian / size, size


def _inverse(jacobian: np.ndarray) -> np.ndarray:
    """Pseudo-inverse (P, M), from columns of length one."""
    scaled, size = _scaled(jacobian)
    return np.linalg.pinv(scaled, rcond=SINGULAR) / size[:, None]
