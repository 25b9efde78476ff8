"""What is fitted to what: a table, parameters, and the predictions for data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from jaxkin import units
from jaxkin.brief import brief, lines
from jaxkin.errors import JaxkinError
from jaxkin.fitting.data import Data
from jaxkin.fitting.parameters import Parameter
from jaxkin.fitting.table import KNOWN, Table
from jaxkin.response.observables import LEVI_CIVITA
from jaxkin.response.sums import MECHANISMS, RelaxedSums, Weigh, conductivity_parts, gyrotropic_parts

HALL = ("hall_conductivity", "hall_conductivity_imaginary")
"""Quantities that the filled states enter."""
GYROTROPIC = ("rotation", "dichroism", "magnetization")
"""Quantities that are linear in g."""


class Points(eqx.Module):
    """One data set as arrays for JAX; attributes as in :class:`Data`, ω in 1/ps, one row per point."""

    quantity: str = eqx.field(static=True)
    value: Float[Array, " N"]
    error: Float[Array, " N"]
    omega: Float[Array, " N"]
    temperatures: Float[Array, " U"] | None
    which: Array
    field: Float[Array, " N"] | None
    current_density: Float[Array, " N"] | None
    axis: Float[Array, "3"]

    @classmethod
    def of(cls, data: Data) -> Points:
        """From a data set; equal temperatures share their thermal average."""
        if data.temperature is None:
            unique, which = None, np.zeros(len(data), int)
        else:
            unique, which = np.unique(data.temperature, return_inverse=True)
        optional = [None if part is None else jnp.asarray(part) for part in (unique, data.field, data.current_density)]
        return cls(
            data.quantity,
            jnp.asarray(data.value),
            jnp.asarray(data.error),
            jnp.asarray(2 * np.pi * data.frequency),
            optional[0],
            jnp.asarray(which),
            optional[1],
            optional[2],
            jnp.asarray(data.axis),
        )

    def take(self, index: Array) -> Points:
        """Some of the points."""
        rows = (self.value, self.error, self.omega, self.which, self.field, self.current_density)
        value, error, omega, which, field, current = (None if row is None else row[index] for row in rows)
        return Points(self.quantity, value, error, omega, self.temperatures, which, field, current, self.axis)  # pyright: ignore[reportArgumentType]

    def __len__(self) -> int:
        return len(self.value)


class FitProblem(eqx.Module):
    """A table with the parameters that are varied and those that are fixed: docs/fits.md.

    Args:
        table: from :func:`tabulate` or :func:`tabulate_window`.
        parameters: what is fitted, :class:`Parameter` or only its name.
        fixed: values of others in units of :class:`Parameter`; the table's own by default.

    Raises:
        JaxkinError: a parameter the table does not have, one named twice, a start that is missing or not finite,
            bounds of μ or T beyond the table's energies.

    >>> import jaxkin as jk
    >>> surface = jk.fermi_surface(jk.models.get("kramers-weyl-d4"), -1.2, sampler=jk.Lines(n=8), replicas=2)
    >>> table = jk.tabulate(surface, jk.RelaxationTime(tau=1.0, tau_skew=50.0))
    >>> problem = jk.FitProblem(table, ["tau", jk.Parameter("tau_skew", 100.0)], fixed={"moment_scale": 1.1})
    >>> data = jk.Data("rotation", value=[0.0], error=1.0, frequency=[0.2])
    >>> problem.predict(problem.start, data).shape
    (1,)
    """

    table: Table
    parameters: tuple[Parameter, ...] = eqx.field(static=True)
    fixed: dict[str, float]
    known: tuple[int, ...] = eqx.field(static=True)
    """Numbers of the parameters with a prior, whose means and standard deviations are the rows of ``prior``."""
    prior: Float[Array, "Q 2"]

    def __init__(self, table: Table, parameters: Sequence[Parameter | str], fixed: Mapping[str, float] | None = None):
        self.table = table
        given = [Parameter(p) if isinstance(p, str) else p for p in parameters]
        self.fixed = {name: float(value) for name, value in (fixed or {}).items()}
        if not given:
            raise JaxkinError("a fit needs at least one parameter.")
        names = [p.name for p in given] + list(self.fixed)
        for name in names:
            table.check_name(name)
            if names.count(name) > 1:
                raise JaxkinError(f"parameter {name!r} is named twice, or both fitted and fixed.")
        complete = []
        for p in given:
            unit, transform = KNOWN[p.name]
            complete.append(p.completed(table.values[p.name], transform, unit))
            table.check_range(p.name, *p.bounds)
        for name, value in self.fixed.items():
            table.check_range(name, value, value)
        self.parameters = tuple(complete)
        self.known = tuple(k for k, p in enumerate(self.parameters) if p.prior is not None)
        self.prior = jnp.array([p.prior for p in self.parameters if p.prior is not None], float).reshape(-1, 2)
        if {"fermi_level", "temperature"} & set(names):
            for mu in self._corners("fermi_level"):
                for t in self._corners("temperature"):
                    table.energies.check(mu, t)

    @brief
    def __repr__(self) -> str:
        fixed = ", ".join(f"{name} = {value:.4g}" for name, value in self.fixed.items())
        return lines(
            f"FitProblem of {', '.join(p.name for p in self.parameters)}{f'; fixed {fixed}' if fixed else ''}",
            *repr(self.table).splitlines()[:1],
            "ask for jaxkin.fit(problem, data), .predict(start, data)",
        )

    def _corners(self, name: str) -> list[float]:
        """The values a fermi_level or temperature may take: its bounds where it is fitted."""
        for p in self.parameters:
            if p.name == name:
                if not np.all(np.isfinite(p.bounds)):
                    raise JaxkinError(f"parameter {name!r} needs finite bounds: the table's energies are limited.")
                return list(p.bounds)
        return [self.fixed.get(name, self.table.values[name])]

    @property
    def start(self) -> dict[str, float]:
        """Where the fit begins, in units of :class:`Parameter`."""
        return {p.name: _start(p) for p in self.parameters}

    @property
    def start_coordinates(self) -> np.ndarray:
        """The same in the coordinates that are varied, (P,)."""
        return np.array([p.to_coordinate(_start(p)) for p in self.parameters])

    @property
    def linear(self) -> tuple[int, ...]:
        """Numbers of the parameters in whose coordinates every prediction is affine."""
        return tuple(
            k
            for k, p in enumerate(self.parameters)
            if p.key in self.table.linear and (p.coordinate == "linear" or p.key != p.name)
        )

    def coordinates(self, values: Mapping[str, float]) -> np.ndarray:
        """Coordinates (P,) of given values."""
        return np.array([p.to_coordinate(values[p.name]) for p in self.parameters])

    def check_data(self, data: Data) -> None:
        """Refuse temperatures that the table does not reach.

        Raises:
            JaxkinError: which ones.
        """
        if data.quantity in HALL and np.any(self.table.intrinsic_hall):
            temperatures = self._corners("temperature") if data.temperature is None else data.temperature
            for name, wanted in (("fermi_level", self._corners("fermi_level")), ("temperature", temperatures)):
                if np.any(np.asarray(wanted) != self.table.values[name]):
                    raise JaxkinError(
                        f"{data.name}: the filled states' part of the Hall conductivity is known at the table's own "
                        f"{name} only, {self.table.values[name]:g}; keep it there."
                    )
        if data.temperature is not None:
            if any(p.name == "temperature" for p in self.parameters):
                raise JaxkinError(f"{data.name}: states its temperatures, which then cannot be fitted.")
            for mu in self._corners("fermi_level"):
                for t in (data.temperature.min(), data.temperature.max()):
                    self.table.energies.check(mu, float(t))
                    self.table.check_range("temperature", float(t), float(t))

    def predict(self, values: Mapping[str, float], data: Data) -> np.ndarray:
        """What is expected for the points of a data set, in its units, (N,).

        Args:
            values: of the parameters, in units of :class:`Parameter`.
            data: whose conditions are meant.

        Raises:
            JaxkinError: conditions that the table does not reach.
        """
        self.check_data(data)
        return self.by_replica(self.coordinates(values), Points.of(data)).mean(axis=0)

    def by_replica(self, coordinates: np.ndarray, points: Points) -> np.ndarray:
        """As :meth:`replicas`, compiled."""
        return np.asarray(_by_replica(self, jnp.asarray(coordinates), points))

    def in_table(self, coordinates: Float[Array, " P"]) -> dict[str, Array]:
        """All parameters as the table wants them, in units of :class:`Parameter`."""
        fixed = {name: jnp.asarray(value, float) for name, value in {**self.table.values, **self.fixed}.items()}
        return fixed | {p.key: p.in_table(u) for p, u in zip(self.parameters, coordinates, strict=True)}

    def replicas(self, coordinates: Float[Array, " P"], points: Points, averaged: bool = False) -> Float[Array, "R N"]:
        """Prediction of every replica, in the unit of the data.

        Args:
            coordinates: of the parameters, (P,).
            points: of one data set.
            averaged: one row that is the replicas' mean, where that can be taken early.
        """
        averaged = averaged and points.current_density is None  # which enters through a quotient
        return _observed(self.table, *self._sums(coordinates, points), points, averaged).T

    def _sums(self, coordinates: Float[Array, " P"], points: Points) -> tuple[RelaxedSums, Array]:
        """Of the shells, and how they add up at the points' temperatures.

        Sums that follow those have one more axis: τ of the points, tensors of the temperatures.
        """
        values = self.in_table(coordinates)
        temperature = values["temperature"][None] if points.temperatures is None else points.temperatures
        factor = self.table.energies.factor(jnp.broadcast_to(values["fermi_level"], temperature.shape), temperature)
        if points.temperatures is None or not self.table.follows_temperature:
            return self.table.at(values), factor
        sums = jax.vmap(lambda kelvin: self.table.at({**values, "temperature": kelvin}))(temperature)
        return RelaxedSums(sums.tau[points.which], sums.moments, sums.currents), factor

    def mechanisms(self, coordinates: Float[Array, " P"], points: Points) -> dict[str, Float[Array, " N"]]:
        """As :meth:`by_mechanism`, traced."""
        sums, factor = self._sums(coordinates, points)
        alone = {name: RelaxedSums(sums.tau, {name: part}, sums.currents) for name, part in sums.moments.items()}
        return {
            name: jnp.mean(_observed(self.table, one, factor, points, False), axis=1) for name, one in alone.items()
        }

    def by_mechanism(self, coordinates: np.ndarray, points: Points) -> dict[str, np.ndarray]:
        """What each mechanism of g alone contributes to the prediction, (N,), in its unit; none to a conductivity.

        Args:
            coordinates: of the parameters, (P,).
            points: of one data set.

        >>> import jaxkin as jk
        >>> surface = jk.fermi_surface(jk.models.get("kramers-weyl-d4"), -1.2, sampler=jk.Lines(8), replicas=2)
        >>> problem = jk.FitProblem(jk.tabulate(surface, jk.RelaxationTime(0.7, 50.0, 0.3)), ["tau_skew"])
        >>> points = Points.of(jk.Data("rotation", 0.0, 1.0, [0.1, 0.2]))
        >>> u = problem.start_coordinates
        >>> total = sum(problem.by_mechanism(u, points).values())
        >>> bool(abs(total / problem.by_replica(u, points).mean(0) - 1).max() < 1e-9)
        True
        """
        if points.quantity not in GYROTROPIC:
            return {}
        found = _by_mechanism(self, jnp.asarray(coordinates), points)
        return {name: np.asarray(found[name]) for name in MECHANISMS["complete"] if name in found}

    def residuals(self, coordinates: Float[Array, " P"], points: Sequence[Points]) -> Float[Array, " M"]:
        """(prediction − value)/error of all points, then those of the priors.

        Args:
            coordinates: of the parameters, (P,).
            points: data sets.
        """
        return jnp.concatenate([*(self.data_residuals(coordinates, one) for one in points), self.priors(coordinates)])

    def compiled_residuals(self, coordinates: np.ndarray, points: tuple[Points, ...]) -> np.ndarray:
        """As :meth:`residuals`, compiled."""
        return np.asarray(_residuals(self, points, jnp.asarray(coordinates)))

    def data_residuals(self, coordinates: Float[Array, " P"], points: Points) -> Float[Array, " N"]:
        """(prediction − value)/error of one data set, with arguments as of :meth:`replicas`."""
        return (jnp.mean(self.replicas(coordinates, points, averaged=True), axis=0) - points.value) / points.error

    def priors(self, coordinates: Float[Array, " P"]) -> Float[Array, " Q"]:
        """(value − mean)/σ of every prior, a residual each."""
        rows = [
            self.parameters[k].prior_residual(coordinates[k], *row)
            for k, row in zip(self.known, self.prior, strict=True)
        ]
        return jnp.array(rows, float)


def _start(p: Parameter) -> float:
    assert p.start is not None  # completed
    return p.start


@eqx.filter_jit
def _residuals(problem: FitProblem, points: tuple[Points, ...], coordinates: Array) -> Array:
    return problem.residuals(coordinates, points)


@eqx.filter_jit
def _by_replica(problem: FitProblem, coordinates: Array, points: Points) -> Array:
    return problem.replicas(coordinates, points)


@eqx.filter_jit
def _by_mechanism(problem: FitProblem, coordinates: Array, points: Points) -> dict[str, Array]:
    return problem.mechanisms(coordinates, points)


def _observed(table: Table, sums: RelaxedSums, factor: Array, points: Points, averaged: bool) -> Array:
    """(N, R) or (N, 1) predictions; ``factor`` (U, R, E) for the points' temperatures."""
    n, which = points.axis, points.which
    plain = jnp.outer(n, n)
    omega = points.omega if jnp.ndim(sums.tau) < 3 else points.omega[:, None, None]

    def along(weights: Array) -> Weigh:
        """Σ_E c Σ_ab weights_ab K_ab, (N, R)."""

        def weigh(coefficient: Array, tensor: Array) -> Array:
            k = jnp.einsum("...reab,ab->...re", tensor, weights)
            if coefficient.ndim == 1:  # of one τ for all shells
                totals = jnp.einsum("ure,re->ur", factor, k)
                totals = jnp.mean(totals, axis=1, keepdims=True) if averaged else totals
                return coefficient[:, None] * (totals if len(totals) == 1 else totals[which])
            weighed = coefficient * (factor if len(factor) == 1 else factor[which])
            if k.ndim > 2:  # of each temperature
                return jnp.einsum("nre,nre->nr", weighed, k[which].astype(complex))
            return jnp.einsum("nre,re->nr", weighed, k.astype(complex))

        return weigh

    def gyrotropic(weights: Array) -> Complex[Array, "N R"]:
        parts = gyrotropic_parts(sums, omega, along(weights))
        return table.gyrotropic_unit * sum(parts.values(), jnp.zeros(()))

    def conductivity(weights: Array) -> dict[str, Complex[Array, "N R"]]:
        parts = conductivity_parts(sums, omega, along(weights))
        return {name: table.conductivity_unit * part for name, part in parts.items()}

    if points.quantity in ("rotation", "dichroism"):
        rho = 0.5e12 * units.VACUUM_PERMEABILITY * points.omega[:, None] * gyrotropic(plain)
        return rho.real if points.quantity == "rotation" else rho.imag
    if points.quantity == "magnetization":
        chi = gyrotropic(plain - 0.5 * jnp.eye(3))
        if points.field is not None:
            return (-1j * chi).real * points.field[:, None]
        assert points.current_density is not None
        return (-1j * chi / conductivity(plain)["drude"]).real * points.current_density[:, None]
    if points.quantity in HALL:
        # ½ ε_abc n_c is the matrix of n×
        across = 0.5 * jnp.einsum("abc,c->ab", LEVI_CIVITA, n)
        parts = conductivity(across)
        extrinsic = [part for name, part in parts.items() if name != "drude"]
        hall = sum(extrinsic, jnp.zeros(())) + jnp.sum(across * table.intrinsic_hall)
        return hall.real if points.quantity == "hall_conductivity" else hall.imag
    sigma = conductivity(plain)["drude"]
    return sigma.real if points.quantity == "conductivity" else sigma.imag


@eqx.filter_jit
def linearised(problem: FitProblem, points: tuple[Points, ...], coordinates: Array) -> tuple[Array, Array]:
    """Residuals (M,) and their derivatives by the coordinates (M, P)."""
    return problem.residuals(coordinates, points), jax.jacfwd(problem.residuals)(coordinates, points)
