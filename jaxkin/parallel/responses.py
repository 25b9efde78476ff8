"""One response from those that several processes have computed with their own replicas."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np

from jaxkin.estimate import Estimate
from jaxkin.parallel.share import Share
from jaxkin.response.gyrotropic import GyrotropicResponse
from jaxkin.response.quality import Quality
from jaxkin.response.scales import dilute_warning
from jaxkin.surface.shells import Shell, Surface


@dataclass(frozen=True, kw_only=True)
class JoinedSurface(Surface):
    """A surface whose points lie with several processes: integrals are over all of them.

    Arrays over points hold this process's own; ``replica`` and ``shells`` have the numbers of all
    replicas, and the shells of other processes have no points here. Every process must ask for the same integrals.
    """

    own: Surface
    share: Share
    points: int
    """Of all processes."""

    def __len__(self) -> int:
        return self.points

    def integrate(self, values) -> Estimate:
        return Estimate(self.share.gather(self.own.integrate(values).samples, self.replicas), self.evaluations)

    def density_of_states(self) -> Estimate:
        return self.integrate(np.ones(len(self.own)))


def joined(response: GyrotropicResponse, share: Share) -> GyrotropicResponse:
    """The response of all replicas from every process's own: the same as one process would have given.

    Sums are joined, points are not: ``skew_acceleration`` and ``side_jump_velocity`` are at the process's own points.

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
    g = dict(zip(sums.gyrotropic, parts[: len(sums.gyrotropic)], strict=True))
    sigma = dict(zip(sums.conductivity, parts[len(sums.gyrotropic) :], strict=True))
    quality = _quality(sums.quality, share)
    parts = {**g, "total": np.sum(list(g.values()), axis=0)}
    return replace(
        response,
        surface=surface,
        g={name: Estimate(samples[:, 1:], surface.evaluations) for name, samples in parts.items()},
        static={name: Estimate(samples[:, 0], surface.evaluations) for name, samples in parts.items()},
        tau=Estimate(tau, surface.evaluations),
        transport=replace(sums, gyrotropic=g, conductivity=sigma, tau=tau, quality=quality),
        warnings=(*surface.warnings, *quality.warnings(), *dilute_warning(surface, tau)),
    )


def _surface(own: Surface, share: Share) -> JoinedSurface:
    replicas, points = share.total(own.replicas), share.total(len(own))
    mine = share.of(range(replicas))
    counts = np.bincount([shell.replica for shell in own.shells], minlength=own.replicas)
    most = int(share.numbers(counts.max()).max())
    energies = np.full((own.replicas, most), np.nan)
    energies[np.arange(most) < counts[:, None]] = [shell.energy for shell in own.shells]
    energies, fillings = share.gather_all([energies, own.fillings], replicas)
    elsewhere = [
        Shell(slice(0, 0), replica, float(energy))
        for replica in range(replicas)
        if replica not in mine
        for energy in energies[replica][np.isfinite(energies[replica])]
    ]
    shells = [replace(shell, replica=mine[shell.replica]) for shell in own.shells]
    kept = {part.name: getattr(own, part.name) for part in fields(Surface) if part.init}
    return JoinedSurface(
        **kept
        | {
            "replicas": replicas,
            "replica": np.array(mine)[own.replica],
            "shells": tuple(sorted(shells + elsewhere, key=lambda shell: (shell.replica, shell.energy))),
            "fillings": fillings,
        },
        own=own,
        share=share,
        points=points,
    )


def _quality(own: Quality, share: Share) -> Quality:
    """Means weighted with the density of states, and the largest of what is a maximum."""
    optical = np.nan if own.optical_theorem is None else own.optical_theorem
    row = np.array([[own.flux, own.onsager, optical, own.residual, own.weight]])
    flux, onsager, optical, residual, weight = share.gather(row, share.count).T
    total = float(weight.sum())
    return Quality(
        flux=float(weight @ flux) / (total or 1.0),
        optical_theorem=None if np.isnan(optical).any() else float(optical.max()),
        onsager=float(weight @ onsager) / (total or 1.0),
        residual=float(residual.max()),
        weight=total,
    )
