"""One response from those that several processes have computed with their own replicas."""

from __future__ import annotations

from dataclasses import replace

import equinox as eqx
import jax
import numpy as np

from jaxkin.estimate import Estimate
from jaxkin.parallel.share import Share
from jaxkin.response.gyrotropic import GyrotropicResponse, from_sums
from jaxkin.response.quality import Quality, of_current
from jaxkin.surface.surface import Kept, Layout, Surface
from jaxkin.surface.thermal import Thermal


class JoinedSurface(Surface):
    """A surface whose points lie with several processes: integrals are over all of them.

    Arrays over points hold this process's own; ``replica`` and ``shells`` have the numbers of all
    replicas, and the shells of other processes have no points here. Every process must ask for the same integrals.
    """

    own: Kept = eqx.field(static=True, kw_only=True)
    share: Kept = eqx.field(static=True, kw_only=True)
    points: int = eqx.field(static=True, kw_only=True)
    """Of all processes."""

    def __len__(self) -> int:
        return self.points

    def integrate(self, values) -> Estimate:
        samples = self.own.value.integrate(values).samples
        return Estimate(self.share.value.gather(samples, self.replicas), self.evaluations)

    def density_of_states(self) -> Estimate:
        return self.integrate(np.ones(len(self.own.value)))


def joined(response: GyrotropicResponse, share: Share) -> GyrotropicResponse:
    """The response of all replicas from every process's own: the same as one process would have given.

    Sums are joined, points are not: ``skew_acceleration`` and ``side_jump_velocity`` are at the process's own points.
    What is sent: docs/parallel.md, "What is shared".

    Args:
        response: of this process's replicas.
        share: of this process.

    >>> import jaxkin as jk
    >>> surface = jk.fermi_surface(jk.models.get("helical-isotropic"), 0.5, sampler=jk.Lines(8), share=Share())
    >>> response = joined(jk.gyrotropic_response(surface, jk.RelaxationTime(tau=1.0)), Share())
    >>> len(response.g["total"].samples)
    8
    """
    if share.count == 1:
        return response
    surface, sums = _surface(response.surface, share), response.transport
    *parts, tau = share.gather_all([*sums.gyrotropic.values(), *sums.conductivity.values(), sums.tau], surface.replicas)
    sums = replace(
        sums,
        gyrotropic=dict(zip(sums.gyrotropic, parts[: len(sums.gyrotropic)], strict=True)),
        conductivity=dict(zip(sums.conductivity, parts[len(sums.gyrotropic) :], strict=True)),
        tau=tau,
        quality=_quality(sums.quality, share, surface.replicas),
    )
    return from_sums(surface, response.disorder, sums, response.solver)


def _surface(own: Surface, share: Share) -> JoinedSurface:
    replicas, points = share.total(own.replicas), share.total(len(own))
    mine = share.of(range(replicas))
    of_replica = [np.flatnonzero(np.array(own.layout.replica, int) == n) for n in range(own.replicas)]
    most = int(share.numbers(max(map(len, of_replica))).max())
    levels = np.full((own.replicas, most), np.nan)
    for row, shells in zip(levels, of_replica, strict=True):
        row[: len(shells)] = np.array(own.layout.level)[shells]
    thermal = Thermal(float(own.fermi_level), float(own.temperature))
    levels, carriers = share.gather_all([levels, own.carriers.value(thermal)], replicas)
    counts, replica, level = [], [], []
    for number in range(replicas):
        present = levels[number][np.isfinite(levels[number])].astype(int).tolist()
        shells = of_replica[list(mine).index(number)] if number in mine else []
        counts += [own.layout.starts[n + 1] - own.layout.starts[n] for n in shells] or [0] * len(present)
        replica, level = replica + [number] * len(present), level + present
    kept = {name: getattr(own, name) for name in Surface.__dataclass_fields__}
    kept |= {"replicas": replicas, "layout": Layout.of(counts, replica, level), "carriers": Kept(lambda _: carriers)}
    return JoinedSurface(**kept, own=Kept(own), share=Kept(share), points=points)


def _quality(own: Quality, share: Share, replicas: int) -> Quality:
    """Means weighted as those of shells, and the largest of what is a maximum."""
    optical = np.nan if own.optical_theorem is None else own.optical_theorem
    saturation = np.nan if own.saturation is None else own.saturation
    row = [own.flux, own.flux_noise, own.continuity, optical, saturation, own.coarseness, own.residual, own.weight]
    row.append(own.current)
    found = share.gather(np.array([row]), share.count).T
    flux, noise, continuity, optical, saturation, coarseness, residual, weight, current = found
    known = np.isfinite(saturation)  # a process without shells knows none
    total = float(weight.sum())
    return Quality(
        flux=float(weight @ flux) / (total or 1.0),
        flux_noise=float(weight @ noise) / (total or 1.0),
        lost=jax.tree.map(lambda x: share.gather(x, replicas), own.lost),
        optical_theorem=None if np.isnan(optical).any() else float(optical.max()),
        saturation=float(of_current(saturation[known], current[known])) if known.any() else None,
        coarseness=float(of_current(coarseness, current)),
        reversal=jax.tree.map(lambda x: share.gather(x, replicas), own.reversal),
        continuity=float(weight @ continuity) / (total or 1.0),
        residual=float(residual.max()),
        weight=total,
        current=float(current.sum()),
    )
