"""What linear response takes from the shells of a surface, gathered in one pass over them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from jaxkin import units
from jaxkin.disorder.kernels import Disorder
from jaxkin.disorder.states import ShellStates
from jaxkin.errors import JaxkinError
from jaxkin.response.boltzmann import CURRENTS, MECHANISMS, SkewOrder, Solver, check_solver, shell_response
from jaxkin.response.quality import Quality
from jaxkin.surface.plan import Progress
from jaxkin.surface.shells import Surface


@dataclass(frozen=True)
class Transport:
    """Sums over the shells, replica by replica.

    Attributes:
        frequency: f = ω/2π in THz.
        gyrotropic: parts of g in S (in 2D: S m), (replicas, 1 + frequency, 3, 3), ω = 0 first.
        conductivity: parts of σ in S/m (in 2D: S), the same.
        tau: transport time in ps, thermally averaged, (replicas,).
        skew_acceleration: Q at the surface's points, (N, 3), eV Å / ps.
        side_jump_velocity: v_sj at the surface's points, (N, 3), eV Å.
        quality: diagnostics.
    """

    frequency: np.ndarray
    gyrotropic: dict[str, np.ndarray]
    conductivity: dict[str, np.ndarray]
    tau: np.ndarray
    skew_acceleration: np.ndarray
    side_jump_velocity: np.ndarray
    quality: Quality


def transport(
    surface: Surface,
    disorder: Disorder,
    frequency: ArrayLike,
    solver: Solver,
    skew_order: SkewOrder,
    progress: Progress | None = None,
) -> Transport:
    """Sum :func:`jaxkin.response.boltzmann.shell_response` over all shells.

    Raises:
        JaxkinError: a frequency that is not finite, an unknown solver.
    """
    check_solver(solver, skew_order)
    f = np.atleast_1d(np.asarray(frequency, float))
    if not np.all(np.isfinite(f)):
        raise JaxkinError("frequency must be finite numbers in THz.")
    omega, d = 2 * np.pi * np.append(0.0, f), surface.model.dimension  # 1/ps
    shape = (surface.replicas, len(omega), 3, 3)
    g = {name: np.zeros(shape, complex) for name in MECHANISMS}
    sigma = {name: np.zeros(shape, complex) for name in CURRENTS}
    g_unit = 1e-12 * units.moment_velocity_density(d) * units.ELEMENTARY_CHARGE
    sigma_unit = 1e-12 * units.velocity_velocity_density(d) * units.ELEMENTARY_CHARGE**2
    skew, jump = np.zeros_like(surface.velocity), np.zeros_like(surface.velocity)
    tau_weight, quality = np.zeros((surface.replicas, 2)), Quality()
    report: Progress = progress or (lambda done, total, what: None)
    scatterer = disorder.on(surface)
    for done, shell in enumerate(surface.shells):
        report(done, len(surface.shells), "disorder kernels")
        points = shell.points
        collisions = scatterer(ShellStates(surface, shell))
        part = shell_response(
            collisions, surface.weight[points], surface.orbital_moment[points], omega, solver, skew_order
        )
        for total, tensors, unit in ((g, part.gyrotropic, g_unit), (sigma, part.conductivity, sigma_unit)):
            for name, tensor in tensors.items():
                total[name][shell.replica] += unit * tensor
        skew[points], jump[points] = collisions.skew_acceleration, collisions.side_jump_velocity
        dos = float(np.sum(surface.weight[points]))
        quality = quality.including(collisions, part, dos)
        tau_weight[shell.replica] += part.tau * dos, dos
    report(len(surface.shells), len(surface.shells), "disorder kernels")
    tau = tau_weight[:, 0] / np.maximum(tau_weight[:, 1], 1e-300)
    return Transport(f, g, sigma, tau, skew, jump, quality)
