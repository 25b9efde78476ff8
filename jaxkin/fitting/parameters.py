"""Parameters of a fit: start, bounds, prior, and the coordinate in which they are varied."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxkin.checks import LARGEST, check_kind, check_number, shown
from jaxkin.errors import JaxkinError

Transform = Literal["linear", "log", "reciprocal"]
TRANSFORMS = ("linear", "log", "reciprocal")
INFINITE = (-np.inf, np.inf)


@dataclass(frozen=True)
class Parameter:
    """A fitted number.

    Two are equal where fits compiled for one serve the other: start and prior do not matter.

    It is varied, and its error is Gaussian, in a coordinate: itself (``"linear"``), its logarithm (``"log"``, which
    keeps it positive), or its inverse (``"reciprocal"``, for τ_sk: the response is linear in 1/τ_sk, and no skew
    scattering is an ordinary point, 0). Those of tables: docs/fits.md, "Tables".

    Args:
        name: of a table's parameter, see ``table.values``, or of one of a band model, see :func:`fit_bands`.
        start: where the fit begins, in its ``unit``; by default the table's or the model's own value.
        bounds: (lower, upper) in its ``unit``; infinite where there is none.
        prior: (mean, standard deviation) in its ``unit`` of what is known from elsewhere, Gaussian.
        transform: the coordinate; by default what suits the table's parameter, and ``"linear"`` of band models.
        unit: of the value; that of a table's parameter is fixed (ps, Å, eV, K, Å^-d) and filled in.

    Raises:
        JaxkinError: bounds that do not increase or of two signs where 1/x is varied, a prior without width. Names are
            checked by what they are given to.

    >>> Parameter("tau", 0.5, bounds=(0.05, 5.0), transform="log").limits
    (-2.995732273553991, 1.6094379124341003)
    """

    name: str
    start: float | None = field(default=None, compare=False)
    bounds: tuple[float, float] = INFINITE
    prior: tuple[float, float] | None = field(default=None, compare=False)
    transform: Transform | None = None
    unit: str = ""

    def __post_init__(self):
        where = f"parameter {self.name!r}"
        if self.transform is not None and self.transform not in TRANSFORMS:
            raise JaxkinError(f"{where}: transform={self.transform!r} must be one of {', '.join(TRANSFORMS)}.")
        check_kind("name", self.name, str, "the name of a parameter")
        limit = np.inf if self.coordinate == "reciprocal" else LARGEST  # no skew scattering is τ_sk = ∞
        check_number(f"{where}: start", self.start, "a finite number", least=-limit, most=limit, optional=True)
        low, high = _pair(f"{where}: bounds", self.bounds, "(lower, upper)", infinite=True)
        if not low < high:
            raise JaxkinError(f"{where}: bounds={self.bounds} must increase.")
        if self.coordinate == "log" and (high <= 0 or (self.start is not None and self.start <= 0)):
            raise JaxkinError(f"{where} is varied as its logarithm: start and bounds must be positive.")
        if self.coordinate == "reciprocal" and self.bounds != INFINITE and low * high <= 0:
            raise JaxkinError(f"{where} is varied as its inverse: bounds={self.bounds} must have one sign.")
        if self.start is not None and not low <= self.start <= high:
            raise JaxkinError(f"{where}: start={self.start:g} lies outside the bounds {self.bounds}.")
        if self.prior is not None and not _pair(f"{where}: prior", self.prior, "(mean, standard deviation)")[1] > 0:
            raise JaxkinError(f"{where}: prior={self.prior} needs a positive standard deviation.")

    def completed(self, start: float, transform: Transform = "linear", unit: str = "") -> Parameter:
        """With these where nothing was said; the unit is replaced.

        Args:
            start: in the ``unit``.
            transform: the coordinate.
            unit: of the value.

        Raises:
            JaxkinError: a start that is missing or not finite, or that does not lie in the bounds.
        """
        value = start if self.start is None else self.start
        full = replace(self, transform=self.transform or transform, unit=unit)
        with np.errstate(divide="ignore", invalid="ignore"):
            if not np.isfinite(full.to_coordinate(value)):
                raise JaxkinError(f"parameter {self.name!r} needs a start that is finite; that at hand is {value:g}.")
        if not self.bounds[0] <= value <= self.bounds[1]:
            raise JaxkinError(f"parameter {self.name!r}: the start {value:g} lies outside the bounds {self.bounds}.")
        return replace(full, start=float(value))

    @property
    def coordinate(self) -> Transform:
        """What is varied."""
        return self.transform or "linear"

    @property
    def key(self) -> str:
        """Name under which a table takes it: the inverse of τ_sk goes in as it is."""
        return "skew_rate" if self.name == "tau_skew" and self.coordinate == "reciprocal" else self.name

    @property
    def limits(self) -> tuple[float, float]:
        """Bounds of the coordinate, increasing."""
        low, high = self.bounds
        if self.coordinate == "log":
            return float(np.log(low)) if low > 0 else -np.inf, float(np.log(high))
        if self.coordinate == "reciprocal" and self.bounds != INFINITE:
            return 1 / high, 1 / low
        return low, high

    def to_coordinate(self, value: float) -> float:
        """The coordinate of a value."""
        return float({"linear": float, "log": np.log, "reciprocal": lambda x: 1 / x}[self.coordinate](value))

    def to_value(self, coordinate: float) -> float:
        """The value of a coordinate; 1/0 is infinite."""
        if self.coordinate == "reciprocal":
            return float(1 / coordinate) if coordinate else np.inf
        with np.errstate(over="ignore"):
            return float(np.exp(coordinate) if self.coordinate == "log" else coordinate)

    def in_table(self, coordinate: Array) -> Array:
        """What the table gets for a coordinate."""
        if self.coordinate == "log":
            return jnp.exp(coordinate)
        return 1 / coordinate if self.coordinate == "reciprocal" and self.key == self.name else coordinate

    def prior_residual(self, coordinate: Array, mean: Array, sigma: Array) -> Array:
        """(value − mean)/σ, of the inverse where that is varied: Gaussian in what the fit varies linearly.

        Args:
            coordinate: that is varied.
            mean, sigma: of the prior, in units of the value.
        """
        if self.coordinate == "reciprocal":
            return (coordinate - 1 / mean) * mean**2 / sigma
        return (self.in_table(coordinate) - mean) / sigma


def _pair(name: str, value: tuple[float, float], meaning: str, *, infinite: bool = False) -> tuple[float, float]:
    """Two numbers; ``infinite`` ones are allowed."""
    check_kind(name, value, (tuple, list, np.ndarray), f"two numbers, {meaning}")
    if len(value) != 2:
        raise JaxkinError(f"{name}={shown(value)} must be two numbers, {meaning}.")
    limit = np.inf if infinite else LARGEST
    for number in value:
        check_number(name, number, f"two numbers, {meaning}", least=-limit, most=limit)
    return value


def slope(p: Parameter, value: float) -> float:
    """|d value/d coordinate|."""
    return {"linear": 1.0, "log": abs(value), "reciprocal": value**2}[p.coordinate]


def at_bound(p: Parameter, coordinate: float) -> bool:
    """Whether a coordinate lies within 1e-4 of its range of a bound."""
    low, high = p.limits
    scale = high - low if np.isfinite(high - low) else max(abs(low) if np.isfinite(low) else abs(high), 1e-3)
    return min(coordinate - low, high - coordinate) < 1e-4 * scale


def to_free(parameters: tuple[Parameter, ...], coordinates: np.ndarray) -> np.ndarray:
    """Unbounded numbers x for coordinates u inside their bounds: :func:`from_free` turned round."""
    free = []
    for p, u in zip(parameters, coordinates, strict=True):
        low, high = p.limits
        if np.isfinite(low) and np.isfinite(high):
            s = np.clip((u - low) / (high - low), 1e-6, 1 - 1e-6)
            free.append(np.log(s / (1 - s)))
        elif np.isfinite(low):
            free.append(_inverse_softplus(max(u - low, 1e-6 * max(abs(low), 1e-6))))
        elif np.isfinite(high):
            free.append(-_inverse_softplus(max(high - u, 1e-6 * max(abs(high), 1e-6))))
        else:
            free.append(u)
    return np.array(free, float)


def from_free(parameters: tuple[Parameter, ...], free: Float[Array, " P"]) -> Float[Array, " P"]:
    """Coordinates inside their bounds for any numbers: u = l + (h−l)/(1+e^{−x}), l + ln(1+eˣ), or x."""
    out = []
    for p, x in zip(parameters, free, strict=True):
        low, high = p.limits
        if np.isfinite(low) and np.isfinite(high):
            out.append(low + (high - low) * jax.nn.sigmoid(x))
        elif np.isfinite(low):
            out.append(low + jax.nn.softplus(x))
        elif np.isfinite(high):
            out.append(high - jax.nn.softplus(-x))
        else:
            out.append(x)
    return jnp.stack(out)


def _inverse_softplus(y: float) -> float:
    return float(y + np.log(-np.expm1(-y)))
