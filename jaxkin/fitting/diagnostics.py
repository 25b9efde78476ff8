"""Does the model describe the data, and do the data determine the parameters: numbers, and words."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from math import comb
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from jaxkin.fitting.data import Data
from jaxkin.fitting.parameters import at_bound
from jaxkin.fitting.problem import Points
from jaxkin.fitting.profile import ENDS

if TYPE_CHECKING:
    from jaxkin.fitting.result import FitResult

UNLIKELY = 1e-3
"""p-value below which a test speaks against the model."""
INSEPARABLE = 0.95
"""|correlation| from which two parameters are called hardly separable."""
LOOSE = 1.0
"""Standard error of a logarithm from which a parameter is called undetermined."""
INTEGRATOR = 0.5
"""Error of the integrals in errors of the data that is worth a warning."""
APART = {
    ("skew", "gaussian_skew"): "at every frequency: other densities of impurities tell them apart",
    (
        "side_jump",
        "nonlocal",
    ): "at every frequency: another axis or a polycrystal tells them apart (side jumps have no Tr g)",
}
FREQUENCIES = "frequencies around 1/2πτ would tell them apart"
EXACT_RUNS = 60
CURVED = 1.3
"""Ratio of a likelihood's width to its Gaussian's that is worth a warning."""


@dataclass(frozen=True)
class Residuals:
    """Tests of one data set's residuals r = (prediction − value)/error.

    Attributes:
        name: of the data set.
        count: of points.
        chi2: Σ r².
        runs: of equal sign along the measured axis.
        runs_p_value: probability of so few runs by chance (Wald and Wolfowitz).
        largest: |r| of the worst point, and its number.
    """

    name: str
    count: int
    chi2: float
    runs: int
    runs_p_value: float
    largest: tuple[float, int]

    @classmethod
    def of(cls, data: Data, residuals: np.ndarray) -> Residuals:
        """Order the points as they were scanned, and test them."""
        keys = [data.frequency, data.temperature, data.field, data.current_density]
        order = np.lexsort([key for key in keys if key is not None])
        runs, p_value = runs_test(residuals[order] > 0)
        worst = int(np.argmax(np.abs(residuals)))
        return cls(
            data.name, len(data), float(np.sum(residuals**2)), runs, p_value, (float(abs(residuals[worst])), worst)
        )


def runs_test(signs: np.ndarray) -> tuple[int, float]:
    """Number of runs in a sequence of two values, and the probability of so few.

    >>> runs_test(np.array([1, 1, 1, 1, 0, 0, 0, 0], bool))
    (2, 0.02857142857142857)
    """
    signs = np.asarray(signs, bool)
    a, b = int(signs.sum()), int(len(signs) - signs.sum())
    runs = int(np.sum(signs[1:] != signs[:-1])) + (len(signs) > 0)
    if not a or not b:
        return runs, 2.0 ** (1 - len(signs)) if len(signs) else 1.0
    if a + b <= EXACT_RUNS:
        ways = 0
        for r in range(2, runs + 1):
            k = r // 2
            ways += (
                2 * comb(a - 1, k - 1) * comb(b - 1, k - 1)
                if r % 2 == 0
                else comb(a - 1, k) * comb(b - 1, k - 1) + comb(a - 1, k - 1) * comb(b - 1, k)
            )
        return runs, ways / comb(a + b, a)
    mean = 1 + 2 * a * b / (a + b)
    spread = np.sqrt((mean - 1) * (mean - 2) / (a + b - 1))
    return runs, float(stats.norm.cdf((runs + 0.5 - mean) / spread))


@dataclass(frozen=True)
class Doubts:
    """Lines of a report.

    Attributes:
        model: reasons to think that the model, or the stated errors, are wrong.
        parameters: what the data do not determine, and which points would help.
        mechanisms: which of them the data see together only, so that their shares are the model's.
        numerics: what the integrator or the bounds have to do with the result.
    """

    model: tuple[str, ...]
    parameters: tuple[str, ...]
    mechanisms: tuple[str, ...]
    numerics: tuple[str, ...]

    @property
    def lines(self) -> tuple[str, ...]:
        """All of them."""
        return self.model + self.parameters + self.mechanisms + self.numerics


def diagnose(result: FitResult) -> Doubts:
    """Put the numbers of a result into words."""
    return Doubts(*(tuple(find(result)) for find in (_model, _parameters, _mechanisms, _numerics)))


def _model(result: FitResult) -> list[str]:
    lines = []
    chi2, dof, p = result.chi2, result.degrees_of_freedom, result.p_value
    if p < UNLIKELY:
        lines.append(
            f"χ² = {chi2:.4g} for {dof} degrees of freedom (p = {p:.1g}): the model does not describe the data, or "
            "their errors are understated. The parameters' errors do not cover that."
        )
    if p > 1 - UNLIKELY:
        lines.append(f"χ² = {chi2:.4g} for {dof} degrees of freedom is too good (p = {p:.4f}): errors are overstated.")
    for test in result.residual_tests:
        if test.runs_p_value < UNLIKELY:
            lines.append(
                f"{test.name}: residuals stay on one side ({test.runs} runs in {test.count} points, p = "
                f"{test.runs_p_value:.1g}): a trend that the model does not have."
            )
        if test.count * 2 * stats.norm.sf(test.largest[0]) < UNLIKELY:
            lines.append(f"{test.name}: point {test.largest[1]} is {test.largest[0]:.3g} of its errors off the fit.")
    return lines


def _parameters(result: FitResult) -> list[str]:
    from jaxkin.fitting.design import advice

    lines = []
    pairs = list(zip(result.problem.parameters, result.coordinates, result.coordinate_errors, strict=True))
    free = [p.name for p, _, error in pairs if not np.isfinite(error)]
    if free:
        lines.append(
            f"{' and '.join(free)}: not determined at all by these data{'' if len(free) == 1 else ' (together)'}; "
            f"fix {'it' if len(free) == 1 else 'one of them'}, give a prior{advice(result, free[0])}."
        )
    for other in result.alternatives[:3]:
        values = ", ".join(
            f"{p.name} = {p.to_value(u):.4g} {p.unit}".removesuffix(" 1")
            for p, u in zip(result.problem.parameters, other.coordinates, strict=True)
        )
        lines.append(
            f"another minimum is nearly as good (χ² larger by {other.delta:.2g}): {values}. Intervals of a level that "
            "does not exclude it include it; bounds or other quantities may."
        )
    for (i, a), (j, b) in combinations(enumerate(result.names), 2):
        both = np.isfinite(result.coordinate_errors[[i, j]]).all()
        if both and abs(result.correlation[i, j]) > INSEPARABLE:
            weaker = max((a, b), key=lambda n: _looseness(result, n))
            lines.append(
                f"{a} and {b} are hardly separable from these data (correlation {result.correlation[i, j]:+.3f})"
                f"{advice(result, weaker)}."
            )
    for p, u, error in pairs:
        if np.isfinite(error) and p.coordinate == "log" and error > LOOSE:
            factor = f"{np.exp(error):.2g}" if error < 20 else "of many orders"
            lines.append(f"{p.name} is known to a factor {factor} only{advice(result, p.name)}.")
        if np.isfinite(error) and p.coordinate != "log" and p.name != "fermi_level" and abs(u) < error:
            what = f"1/{p.name}" if p.coordinate == "reciprocal" else p.name
            lines.append(f"{what} is compatible with zero ({u:.2g} ± {error:.2g}){advice(result, p.name)}.")
    return lines + _curved(result)


def mechanism_overlaps(result: FitResult) -> dict[tuple[str, str], float]:
    """|cos| of the angle between the contributions of two mechanisms to all data of g, over the errors, no unit.

    One for two that the data cannot tell apart. Along one axis g is Σ a_n [τ/(1−iωτ)]ⁿ with n = 1 (intrinsic),
    2 (side jump, nonlocal), 3 (skew, Gaussian skew): a spectrum gives three numbers, whatever its range. Of mechanisms
    that all points together see with less than one error there is nothing to tell. An example: docs/fits.md,
    "Example: is it skew scattering? Tellurium at 77 K".
    """
    points = [Points.of(one) for one in result.data]
    found = [result.problem.by_mechanism(result.coordinates, one) for one in points]
    names = dict.fromkeys(name for parts in found for name in parts)
    seen = {
        name: np.concatenate([parts[name] / one.error for parts, one in zip(found, result.data, strict=True) if parts])
        for name in names
    }
    visible = {name: part / size for name, part in seen.items() if (size := np.linalg.norm(part)) > 1}
    return {(a, b): float(abs(visible[a] @ visible[b])) for a, b in combinations(visible, 2)}


def _mechanisms(result: FitResult) -> list[str]:
    together = {pair: overlap for pair, overlap in mechanism_overlaps(result).items() if overlap > INSEPARABLE}
    return [
        f"{a} and {b} have one shape in these data (overlap {overlap:.3f}): their shares are the model's, not the "
        f"data's; {APART.get((a, b), FREQUENCIES)}."
        for (a, b), overlap in together.items()
    ]


def _curved(result: FitResult) -> list[str]:
    """Parameters whose likelihood is far from the Gaussian that their intervals are made of."""
    lines = []
    for name, pair in zip(result.names, result.rises, strict=True):
        seen = pair[np.isfinite(pair)]
        ratio = np.sqrt(np.maximum(seen, 1e-9)) / ENDS
        if np.any((ratio < 1 / CURVED) | (ratio > CURVED)) and not result.undetermined.any():
            shown = " and ".join(f"{rise:.2g}" for rise in seen)
            lines.append(
                f"the likelihood of {name} is not Gaussian: χ² rises by {shown}, not 3.84, at the ends of its 95 % "
                f'interval; take that of the profile, result.profile("{name}").interval(0.95).'
            )
    return lines


def _looseness(result: FitResult, name: str) -> float:
    """Relative error."""
    k = result.index(name)
    error, u = result.coordinate_errors[k], result.coordinates[k]
    return float(error if result.problem.parameters[k].coordinate == "log" else error / max(abs(u), 1e-300))


def _numerics(result: FitResult) -> list[str]:
    lines = [
        f"{p.name} lies at its bound ({p.to_value(u):.4g} {p.unit}): its error means nothing there."
        for p, u in zip(result.problem.parameters, result.coordinates, strict=True)
        if at_bound(p, u)
    ]
    hall = [one for one in result.data if one.quantity.startswith("hall_")]
    if hall and result.problem.table.hall_error > INTEGRATOR * min(one.error.min() for one in hall):
        lines.append(
            f"the filled states' part of the Hall conductivity is uncertain by {result.problem.table.hall_error:.2g} "
            "S/m, which neither χ² nor the errors know."
        )
    if any(len(samples) < 2 for samples in result.predictions):
        return [*lines, "one replica of the surface: the error of the integrals is not known, and not included."]
    worst = max(
        float(np.max(samples.std(axis=0, ddof=1) / np.sqrt(len(samples)) / one.error))
        for samples, one in zip(result.predictions, result.data, strict=True)
    )
    if worst > INTEGRATOR:
        lines.append(
            f"the surface integrals are uncertain by up to {worst:.2g} of the data's errors, which χ² does not know: "
            "raise n or replicas of the surface."
        )
    return lines
