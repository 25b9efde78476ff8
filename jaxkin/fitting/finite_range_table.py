"""The table of an impurity of finite range: its strength and density are the parameters.

The on-shell T = V(1 + iπWV)⁻¹ takes N×N matrices, and is not linear in the strength s. But s⁻²/τ, s⁻³Q and s⁻²v_sj are
smooth functions of ln s (their poles lie at Im ln s = ±π/2, whatever the potential), so that Chebyshev polynomials
through 33 strengths between 0.2 and 5 have them to 10⁻¹²; the density multiplies them.
"""

from __future__ import annotations

import warnings

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxkin.disorder import FiniteRangeImpurity
from jaxkin.errors import AccuracyWarning, JaxkinError
from jaxkin.fitting.table import Gathered, Kinetics, Table, Values, current, gather, turned
from jaxkin.fitting.thermal import padded
from jaxkin.surface.shells import Surface

RTOL = 1e-4
"""Error at held-out strengths, relative to the largest component, at which no more are taken: with these among the
nodes, that of the table is about its square ..."""
FIRST, MOST = 4, 64
"""... and the first and the highest degree; each is twice that before."""
POWERS = (2, 3, 2, 3, 2)
"""Of the strength in 1/τ, Q×v, v_sj×v, Q and v_sj where the potential is weak."""


class FiniteRangeTable(Table):
    """Parameters ``strength`` (in units of the impurity's own) and ``density`` (Å^-d).

    Attributes:
        rate: 1/τ in 1/ps, (degree + 1, R, E) coefficients of Chebyshev polynomials of ln|s| over s² and density.
        skew: Σ W (Q×v)_a v_b, (degree + 1, R, E, 3, 3), over s³ and density.
        jump: Σ W (v_sj×v)_a v_b, over s² and density.
        skew_current, jump_current: Σ W v_a Q_b and Σ W v_a v_sj,b, likewise.
        strengths: between which s must lie.
        interpolation_error: of the polynomials of half the degree, at strengths that they were not made from; a bound.
        given: density of the impurity.
    """

    rate: Float[Array, "C R E"]
    skew: Float[Array, "C R E 3 3"]
    jump: Float[Array, "C R E 3 3"]
    skew_current: Float[Array, "C R E 3 3"]
    jump_current: Float[Array, "C R E 3 3"]
    strengths: tuple[float, float] = eqx.field(static=True)
    interpolation_error: float = eqx.field(static=True)
    given: float = eqx.field(static=True)

    @classmethod
    def of(
        cls,
        surface: Surface,
        disorder: FiniteRangeImpurity,
        strengths: tuple[float, float] | None,
        window: tuple[float, float] | None = None,
    ) -> FiniteRangeTable:
        """Gather it from a surface.

        Raises:
            JaxkinError: strengths that are missing, of two signs, or do not hold the impurity's own, 1.
        """
        if strengths is None or not (0 < strengths[0] < strengths[1] < np.inf and strengths[0] <= 1 <= strengths[1]):
            raise JaxkinError(
                f"strengths={strengths}: a FiniteRangeImpurity is tabulated between two positive factors on its own "
                "strength, with 1 between them, for example strengths=(0.2, 5.0)."
            )
        whole = gather(surface, window)
        degree, values, error = FIRST, _sampled(surface, whole, disorder, strengths, _nodes(FIRST)), np.inf
        while error > RTOL and degree < MOST:
            between = _nodes(2 * degree)[1::2]
            held_out = _sampled(surface, whole, disorder, strengths, between)
            guesses = [_at(_coefficients(f), between) for f in values]
            error = max(map(_error, guesses[:3], held_out))
            values = [_interleaved(old, new) for old, new in zip(values, held_out, strict=True)]
            degree *= 2
        if error > RTOL:
            warnings.warn(
                f"the table of the strength between {strengths[0]:g} and {strengths[1]:g} is good to {error:.1g} only: "
                "narrow its strengths.",
                AccuracyWarning,
                stacklevel=3,
            )
        rate, skew, jump, skewed, jumped = (jnp.asarray(_coefficients(f)) for f in values)
        return cls(*whole[:6], rate, skew, jump, skewed, jumped, strengths, float(error), disorder.density)

    @property
    def disorder_values(self) -> dict[str, float]:
        return {"strength": 1.0, "density": self.given}

    def check_range(self, name: str, low: float, high: float) -> None:
        if name == "strength" and not self.strengths[0] <= low <= high <= self.strengths[1]:
            raise JaxkinError(
                f"strength between {low:g} and {high:g} leaves the table's {self.strengths[0]:g} to "
                f"{self.strengths[1]:g}: bound it inside, or tabulate with wider `strengths`."
            )

    def kinetics(self, values: Values) -> Kinetics:
        s, density = jnp.asarray(values["strength"]), jnp.asarray(values["density"])
        x = _scaled(s, self.strengths)
        tables = (self.rate, self.skew, self.jump, self.skew_current, self.jump_current)
        rate, skew, jump, skewed, jumped = (
            density * s**power * _at(part, x) for part, power in zip(tables, POWERS, strict=True)
        )
        present = rate > 0
        return Kinetics(
            jnp.where(present, 1 / jnp.where(present, rate, 1.0), 1.0),
            {"intrinsic": jnp.asarray(values["moment_scale"]) * self.moment, "skew": skew, "side_jump": jump},
            {"skew": skewed, "side_jump": jumped},
        )


def _sampled(
    surface: Surface, whole: Gathered, disorder: FiniteRangeImpurity, strengths: tuple[float, float], nodes: np.ndarray
) -> list[np.ndarray]:
    """The three quantities over their powers of the strength and over the density, (nodes, R, E, ...)."""
    low, high = np.log(strengths)
    found: list[list[np.ndarray]] = [[] for _ in POWERS]
    for s in np.exp(0.5 * (low + high) + 0.5 * (high - low) * nodes):
        scatterer = eqx.tree_at(lambda d: d.strength, disorder, float(s) * disorder.strength).on(surface)
        rows: list[list[list[np.ndarray]]] = [[] for _ in POWERS]
        for row in whole.states:
            collisions = [(states, scatterer(states)) for states in row]
            rows[0].append([np.array(1 / c.transport_time if len(c.weights) else 0.0) for _, c in collisions])
            for number, tensor in ((1, turned), (3, current)):
                rows[number].append([tensor(surface, states, c.skew_acceleration) for states, c in collisions])
                rows[number + 1].append([tensor(surface, states, c.side_jump_velocity) for states, c in collisions])
        for number, power in enumerate(POWERS):
            values = padded(rows[number], (3, 3) if number else ())
            found[number].append(values / (s**power * disorder.density))
    return [np.stack(part) for part in found]


def _nodes(degree: int) -> np.ndarray:
    """Extrema of T_degree; every second is one of half the degree."""
    return np.cos(np.pi * np.arange(degree + 1) / degree)


def _scaled(s, strengths: tuple[float, float]):
    """ln s on [−1, 1]."""
    low, high = np.log(strengths)
    return (2 * jnp.log(s) - low - high) / (high - low)


def _coefficients(values: np.ndarray) -> np.ndarray:
    """Of the Chebyshev polynomial through values at all nodes, along the first axis."""
    degree = len(values) - 1
    matrix = np.polynomial.chebyshev.chebvander(_nodes(degree), degree)
    return np.linalg.solve(matrix, values.reshape(degree + 1, -1)).reshape(values.shape)


def _at(coefficients, x):
    """Σ c_n T_n(x): (..., ) for a number x, (X, ...) for many."""
    basis = [jnp.ones_like(x), x]
    for _ in range(len(coefficients) - 2):
        basis.append(2 * x * basis[-1] - basis[-2])
    return jnp.tensordot(jnp.stack(basis, axis=-1), coefficients, axes=1)


def _error(guess, exact: np.ndarray) -> float:
    """Largest difference, relative to the largest component at the same strength."""
    flat, known = np.asarray(guess).reshape(len(exact), -1), exact.reshape(len(exact), -1)
    return float(np.max(np.abs(flat - known).max(axis=1) / np.maximum(np.abs(known).max(axis=1), 1e-300)))


def _interleaved(old: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Values at all nodes of twice the degree."""
    out = np.empty((len(old) + len(new), *old.shape[1:]))
    out[::2], out[1::2] = old, new
    return out
