"""Local conductivity σ_ab(ω)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from jaxkin import units
from jaxkin.disorder.kernels import Disorder
from jaxkin.estimate import Estimate
from jaxkin.surface.fermi import Surface


@dataclass(frozen=True)
class Conductivity:
    """σ_ab(ω) by mechanism (``drude``, ``total``) in ``unit``, each (frequency, 3, 3)."""

    frequency: np.ndarray
    sigma: dict[str, Estimate]
    unit: str


def conductivity(surface: Surface, disorder: Disorder, frequency: ArrayLike = (0.0,)) -> Conductivity:
    """Drude conductivity σ_ab = e² τ/(1−iωτ) ∫(dk)(−f⁰') v_a v_b in the relaxation-time approximation.

    Args:
        surface: from :func:`fermi_surface`.
        disorder: gives τ, shell by shell.
        frequency: f = ω/2π in THz.

    >>> import jaxkin as jk
    >>> surface = jk.fermi_surface(jk.models.get("helical-isotropic"), 0.5, sampler=jk.Lines(n=16), replicas=2)
    >>> sigma = jk.conductivity(surface, jk.RelaxationTime(tau=1.0)).sigma["total"]
    >>> round(float(sigma.mean[0, 0, 0].real) / 1e7, 1)  # n e² τ/m for n = 8.03e26 m⁻³
    2.3
    """
    f = np.atleast_1d(np.asarray(frequency, float))
    omega = 2 * np.pi * f
    samples = np.zeros((surface.replicas, len(f), 3, 3), complex)
    scale = 1e-12 * units.ELEMENTARY_CHARGE**2 * units.velocity_velocity_density(surface.model.dimension)
    for shell in surface.shells:
        tau = disorder.transport_time(surface, shell)
        v, w = surface.velocity[shell.points], surface.weight[shell.points]
        relaxed = tau / (1 - 1j * omega * tau)
        samples[shell.replica] += scale * relaxed[:, None, None] * ((w[:, None] * v).T @ v)
    drude = Estimate(samples, surface.evaluations)
    return Conductivity(f, {"drude": drude, "total": drude}, {3: "S/m", 2: "S", 1: "S m"}[surface.model.dimension])
