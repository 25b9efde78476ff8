"""The table of an impurity of finite range: its strength and density are the parameters.

The on-shell T = V(1 + iπWV)⁻¹ is not linear in the strength s. But s⁻²/τ, s⁻³Q and s⁻²v_sj are
smooth functions of ln s (their poles lie at Im ln s = ±π/2, whatever the potential), so that Chebyshev polynomials
through 33 strengths between 0.2 and 5 have them to 10⁻¹²; the density multiplies them.
"""

from __future__ import annotations

import warnings

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jaxkin.disorder import FiniteRangeImpurity
from jaxkin.errors import AccuracyWarning, JaxkinError
from jaxkin.fitting.table import Table, Values, gather, shell_sums
from jaxkin.response.sums import RelaxedSums, Theory
from jaxkin.surface.surface import Shell, Surface

RTOL = 1e-4
"""Error at held-out strengths, relative to the largest component, at which no more are taken: with these among the
nodes, that of the table is about its square ..."""
FIRST, MOST = 4, 64
"""... and the first and the highest degree; each is twice that before."""
SCALING = {
    "intrinsic": (0, 0),
    "drude": (0, 0),
    "skew": (1, 3),
    "side_jump": (1, 2),
    "nonlocal": (1, 2),
    "gaussian_skew": (2, 4),
}
"""Powers of density and strength in the sums of each mechanism, where the potential is weak; in 1/τ they are (1, 2)."""


class FiniteRangeTable(Table):
    """Parameters ``strength`` (in units of the impurity's own) and ``density`` (Å^-d).

    Its sums are coefficients (degree + 1, R, E, ...) of Chebyshev polynomials of ln|s|, over the powers of density
    and s that they have where the potential is weak; those of τ are of 1/τ in 1/ps.

    Attributes:
        strengths: between which s must lie.
        interpolation_error: of the polynomials of half the degree, at strengths that they were not made from; a bound.
        given: density of the impurity.
    """

    strengths: tuple[float, float] = eqx.field(static=True)
    interpolation_error: float = eqx.field(static=True)
    given: float = eqx.field(static=True)

    @classmethod
    def of(
        cls,
        surface: Surface,
        disorder: FiniteRangeImpurity,
        theory: Theory,
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

        def sampled(nodes: np.ndarray) -> RelaxedSums:
            return _sampled(surface, whole.shells, disorder, theory, strengths, nodes)

        degree, values, error = FIRST, sampled(_nodes(FIRST)), np.inf
        while error > RTOL and degree < MOST:
            between = _nodes(2 * degree)[1::2]
            held_out = sampled(between)
            guesses = jax.tree.map(lambda f, x=between: _at(_coefficients(f), x), values)
            error = max(map(_error, _measured(guesses), _measured(held_out)))
            values = jax.tree.map(_interleaved, values, held_out)
            degree *= 2
        if error > RTOL:
            warnings.warn(
                f"the table of the strength between {strengths[0]:g} and {strengths[1]:g} is good to {error:.1g} only: "
                "narrow its strengths.",
                AccuracyWarning,
                stacklevel=3,
            )
        sums = jax.tree.map(lambda f: jnp.asarray(_coefficients(f)), values)
        return cls(whole.energies, sums, *whole[1:4], strengths, float(error), float(disorder.density))

    @property
    def disorder_values(self) -> dict[str, float]:
        return {"strength": 1.0, "density": self.given}

    def check_range(self, name: str, low: float, high: float) -> None:
        if name == "strength" and not self.strengths[0] <= low <= high <= self.strengths[1]:
            raise JaxkinError(
                f"strength between {low:g} and {high:g} leaves the table's {self.strengths[0]:g} to "
                f"{self.strengths[1]:g}: bound it inside, or tabulate with wider `strengths`."
            )

    def at(self, values: Values) -> RelaxedSums:
        s, density = jnp.asarray(values["strength"]), jnp.asarray(values["density"])
        found = jax.tree.map(lambda part: _at(part, _scaled(s, self.strengths)), self.sums)
        rate = density * s**2 * found.tau
        scale = {name: density**n * s**power for name, (n, power) in SCALING.items()}
        scale["intrinsic"] = jnp.asarray(values["moment_scale"])
        return RelaxedSums(
            jnp.where(rate > 0, 1 / jnp.where(rate > 0, rate, 1.0), 1.0),
            {name: scale[name] * tensor for name, tensor in found.moments.items()},
            {name: scale[name] * tensor for name, tensor in found.currents.items()},
        )


def _sampled(
    surface: Surface,
    shells: list[list[Shell]],
    disorder: FiniteRangeImpurity,
    theory: Theory,
    strengths: tuple[float, float],
    nodes: np.ndarray,
) -> RelaxedSums:
    """What is interpolated, leaves (X, R, E, ...), at nodes in [−1, 1]."""
    low, high = np.log(strengths)
    found, given = [], disorder.on(surface)
    for s in np.exp(0.5 * (low + high) + 0.5 * (high - low) * nodes):
        scatterer = eqx.tree_at(lambda scatterer: scatterer.scale, given, s * given.scale)
        sums = shell_sums(surface, scatterer, shells, theory)

        def reduced(tensors: dict, s: float = s) -> dict:
            return {
                name: t / (disorder.density ** SCALING[name][0] * s ** SCALING[name][1]) for name, t in tensors.items()
            }

        rate = 1 / (sums.tau * s**2 * disorder.density)
        found.append(RelaxedSums(rate, reduced(sums.moments), reduced(sums.currents)))
    return jax.tree.map(lambda *parts: np.stack(parts), *found)


def _measured(sums: RelaxedSums) -> list[np.ndarray]:
    """The sums that the error of the table is that of; Gaussian skew scattering, where it is small, beside its like."""
    found = [sums.tau, sums.moments["skew"], sums.moments["side_jump"]]
    if "nonlocal" in sums.moments:
        gaussian = sums.moments["gaussian_skew"] / sums.tau[..., None, None]
        found.append(np.stack([sums.moments["nonlocal"], gaussian], axis=1))
    return found


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
