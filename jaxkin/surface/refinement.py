"""Replicas of a plan, made until their error is as small as asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from jaxkin.estimate import Estimate
from jaxkin.surface.choice import Choice, chosen
from jaxkin.surface.plan import Plan, Replica
from jaxkin.surface.samples import Sampler
from jaxkin.surface.surface import Surface
from jaxkin.surface.thermal import Thermal

Target = Callable[[Surface], np.ndarray]
"""Values (N, ...) at the points of a surface."""
CANCELLED = 1e-2
"""Part of ∫|F| below which an integral counts as that large, or one that vanishes would be refined for ever."""
GROWTH = 1.5
"""Factor by which the number of lines grows while that pays."""


@dataclass(frozen=True)
class Run:
    """Replicas that were made for a plan with ``sampled`` diagonalisations, and what became of the refinement.

    ``searched`` are the nodes of its search, whoever diagonalised them.
    """

    plan: Plan
    sampler: Sampler
    made: list[Replica]
    sampled: int
    searched: int
    verdict: str = ""
    advice: tuple[str, ...] = ()
    known: dict[Thermal, tuple[str, ...]] = field(default_factory=dict)

    @property
    def evaluations(self) -> int:
        """Diagonalisations: the samples of all processes, and the search, which processes repeat and plans share."""
        return self.searched + self.sampled

    def surface(self, thermal: Thermal) -> Surface:
        surface = self.plan.surface(thermal, self.sampler, self.made, self.evaluations)
        return replace(surface, verdict=self.verdict, warnings=self.doubts(thermal))

    def doubts(self, thermal: Thermal) -> tuple[str, ...]:
        if thermal not in self.known:  # processes talk to each other about this: once only
            self.known[thermal] = self.plan.doubts(thermal, self.sampler, self.made)
        return (*self.known[thermal], *self.advice)


def sampled_run(
    plan: Plan, sampler: Sampler | None, replicas: int, rtol: float | None, target: Target | None, budget: int
) -> Run:
    """As many replicas as asked for, or as ``rtol`` needs; arguments as of :func:`jaxkin.fermi_surface`."""
    choice = chosen(plan) if sampler is None else Choice(sampler.at(plan.thermals[0].temperature), "")
    made = plan.replicas(choice.sampler, range(replicas))
    if rtol is None:
        run = _made(plan, choice.sampler, made)
        run = replace(run, verdict=f"{replicas} replicas as asked")
    else:
        run = _refined(plan, choice.sampler, made, replicas, rtol, target or _moment_velocity, budget)
    return replace(run, verdict=f"chosen: {choice.reason}; {run.verdict}") if choice.reason else run


def _made(plan: Plan, sampler: Sampler, made: list[Replica]) -> Run:
    return Run(plan, sampler, made, plan.share.total(plan.sampled), plan.nodes.evaluations)


def _moment_velocity(surface: Surface) -> np.ndarray:
    """m_a v_b, or v_a v_b where no state has a moment."""
    moment = surface.orbital_moment if np.any(surface.orbital_moment) else surface.velocity
    return moment[:, :, None] * surface.velocity[:, None, :]


def _refined(
    plan: Plan, sampler: Sampler, made: list[Replica], replicas: int, rtol: float, target: Target, budget: int
) -> Run:
    """More lines while the error falls faster with them than it would with replicas, else more replicas."""
    more_lines, before = True, (np.inf, 0)
    while True:
        run = _made(plan, sampler, made)
        error, cost = 0.0, 0
        for thermal in plan.thermals:
            surface = run.surface(thermal)
            values = target(surface)
            found, size = (
                Estimate(plan.share.gather(surface.integrate(x).samples, replicas)) for x in (values, np.abs(values))
            )
            error, cost = max(error, _relative_error(found, size)), cost + plan.share.total(len(surface))
        state = f"relative error {error:.2g} with {replicas} replicas of n = {sampler.n}, {run.evaluations} evaluations"
        if error <= rtol:
            return replace(run, verdict=f"rtol = {rtol:g} met: {state}")
        if cost == 0:
            return run
        if before[1]:
            more_lines = error / before[0] < (before[1] / cost) ** 0.5
        before = (error, cost)
        n = int(np.ceil(GROWTH * sampler.n))
        extra = min(int(np.ceil(replicas * ((1.1 * error / rtol) ** 2 - 1))), 3 * replicas)
        growth = (n / sampler.n) ** (plan.model.dimension - 1) if more_lines else extra / replicas
        per_point = run.evaluations / cost
        if run.evaluations + growth * cost * per_point > budget:
            verdict = f"budget of {budget} evaluations spent before rtol = {rtol:g}: {state}"
            advice = (
                f"{verdict}. Likely causes: (a) the budget is small for this surface: raise `budget`; (b) bands nearly "
                "touch at this level, so the integrand peaks; (c) the target nearly cancels: choose `target`."
            )
            return replace(run, verdict=verdict, advice=(advice,))
        if more_lines:
            sampler = sampler.resized(n)
            made = plan.replicas(sampler, range(replicas))
        else:
            made = made + plan.replicas(sampler, range(replicas, replicas + extra))
            replicas += extra


def _relative_error(estimate: Estimate, size: Estimate) -> float:
    """Relative to the largest component, or to a part of the integral of absolute values, its ``size``."""
    largest = max(float(np.max(np.abs(one), initial=0.0)) for one in (estimate.mean, CANCELLED * size.mean))
    return float(np.max(estimate.stderr, initial=0.0)) / largest if largest > 0 else 0.0
