"""The gyrotropic tensor g_ab(ω) and what follows from it, by mechanism."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import ArrayLike

from jaxkin import units
from jaxkin.disorder.kernels import Disorder, Scattering
from jaxkin.errors import JaxkinError
from jaxkin.estimate import Estimate
from jaxkin.response import observables
from jaxkin.surface.fermi import Progress, Surface

if TYPE_CHECKING:
    import xarray

MECHANISMS = ("intrinsic", "skew", "side_jump")
Solver = Literal["rta"]


@dataclass(frozen=True)
class GyrotropicResponse:
    """g_ab(ω), Eq. (10), with everything linear in it; keys ``intrinsic``, ``skew``, ``side_jump``, ``total``.

    Attributes:
        frequency: f = ω/2π in THz, (frequency,).
        g: gyrotropic tensor in S (in 2D: S m), each an Estimate of shape (frequency, 3, 3).
        static: g at ω = 0, whatever the frequencies, each (3, 3).
        tau: transport time in ps, thermally averaged, an Estimate.
        skew_acceleration: Q at the surface's points, (N, 3), eV Å / ps.
        side_jump_velocity: v_sj at the surface's points, (N, 3), eV Å.
        flux_violation: violation of ∫w^A δ = 0 relative to ∫|w^A| δ, largest of each shell, averaged over shells.
        warnings: reasons for caution.
    """

    surface: Surface
    disorder: Disorder
    frequency: np.ndarray
    g: dict[str, Estimate]
    static: dict[str, Estimate]
    tau: Estimate
    skew_acceleration: np.ndarray
    side_jump_velocity: np.ndarray
    flux_violation: float
    warnings: tuple[str, ...] = field(default=())

    def _each(self, function) -> dict[str, Estimate]:
        return {name: estimate.map(function) for name, estimate in self.g.items()}

    @cached_property
    def lam(self) -> dict[str, Estimate]:
        """λ_abc = ε_abd g_dc, Eq. (70): σ_ab(ω, q) = σ_ab(ω, 0) + λ_abc q_c; (frequency, 3, 3, 3) in S."""
        return self._each(observables.spatial_dispersion)

    @cached_property
    def chi(self) -> dict[str, Estimate]:
        """Kinetic magnetoelectric susceptibility χ_ab = g_ab − ½ δ_ab Tr g, Eq. (86), in S."""
        return self._each(observables.magnetoelectric)

    def magnetization(self, field: ArrayLike) -> dict[str, Estimate]:
        """M = −iχE in A/m for E (3,) in V/m, Eq. (87), (frequency, 3)."""
        return self._each(lambda g: observables.magnetization(g, field))

    def magnetization_gauss(self, field: ArrayLike) -> dict[str, Estimate]:
        """μ₀M in gauss for E (3,) in V/m."""
        return self._each(lambda g: observables.gauss(observables.magnetization(g, field)))

    def rotatory_power(self, axis: ArrayLike = (0, 0, 1)) -> dict[str, Estimate]:
        """Complex ρ = ½μ₀ω n·g·n along the optic axis n in rad/m, Eq. (78).

        Re ρ is the rotation per length, Im ρ the circular dichroism; (frequency,).
        """
        return self._each(lambda g: observables.rotatory_power(g, self.frequency, axis))

    def circular_dichroism(self, axis: ArrayLike = (0, 0, 1)) -> dict[str, Estimate]:
        """Im ρ in rad/m."""
        return self._each(lambda g: np.imag(observables.rotatory_power(g, self.frequency, axis)))

    def trace(self) -> dict[str, Estimate]:
        """Tr g in S: the dynamic chiral magnetic effect, and three times the average over a polycrystal."""
        return self._each(lambda g: np.trace(g, axis1=-2, axis2=-1))

    def crossover_frequency(self) -> float:
        """f = ω₀/2π in THz above which the intrinsic part is larger than the skew part (norms of g).

        From g_int ∝ 1/(1−iωτ) and g_sk ∝ 1/(1−iωτ)³, so |1−iω₀τ|² = |g_sk/g_int| at ω = 0.
        """
        skew, intrinsic = (np.linalg.norm(self.static[name].mean) for name in ("skew", "intrinsic"))
        if not intrinsic:
            return float("inf") if skew else 0.0
        ratio = skew / intrinsic
        tau = float(np.real(self.tau.mean))
        return float(np.sqrt(max(ratio - 1, 0.0)) / (2 * np.pi * tau))

    def to_dataset(self, axis: ArrayLike = (0, 0, 1)) -> xarray.Dataset:
        """All responses as a labelled ``xarray.Dataset``, rotation along the optic ``axis``.

        Units and provenance are in the attributes.
        """
        from jaxkin.output.dataset import gyrotropic_dataset

        return gyrotropic_dataset(self, axis)


def gyrotropic_response(
    surface: Surface,
    disorder: Disorder,
    frequency: ArrayLike = (0.0,),
    solver: Solver = "rta",
    *,
    progress: Progress | None = None,
) -> GyrotropicResponse:
    """Gyrotropic tensor in the relaxation-time approximation, split by mechanism.

    g_ab = e/(ω+i/τ) ∫(dp)[m_a ∂_b f⁰ − δ_ab m·∂f⁰], Eqs. (10), (74), for each of

    - m_int, Eq. (4), from the surface's ``orbital_moment``;
    - m_sk = eτ²/(1−iωτ)² Q×v, Eq. (6), Q from the double integral over w^A;
    - m_sj = eτ/(1−iωτ) v_sj×v, Eq. (7), v_sj from the double integral over w^S δr.

    Scattering is elastic: at finite temperature every energy is a problem of its own.

    Args:
        surface: from :func:`fermi_surface`.
        disorder: :class:`RelaxationTime`, or kernels of your own.
        frequency: f = ω/2π in THz, any number of them.
        solver: ``"rta"``.
        progress: called with (done, total, what).

    Raises:
        JaxkinError: a frequency that is not finite, an unknown solver.

    >>> import jaxkin as jk
    >>> model = jk.models.get("helical-isotropic", moment=1.0)
    >>> surface = jk.fermi_surface(model, 0.5, sampler=jk.Lines(n=8), replicas=2)
    >>> response = jk.gyrotropic_response(surface, jk.RelaxationTime(tau=1.0), frequency=[0.0, 1.0])
    >>> response.g["intrinsic"].mean.shape
    (2, 3, 3)
    """
    if solver != "rta":
        raise JaxkinError(f"solver={solver!r} is unknown; choose 'rta'.")
    f = np.atleast_1d(np.asarray(frequency, float))
    if not np.all(np.isfinite(f)):
        raise JaxkinError("frequency must be finite numbers in THz.")
    omega = 2 * np.pi * np.append(0.0, f)  # 1/ps, the static limit first
    g = {name: np.zeros((surface.replicas, len(omega), 3, 3), complex) for name in MECHANISMS}
    tau_weight = np.zeros((surface.replicas, 2))
    to_siemens = 1e-12 * units.moment_velocity_density(surface.model.dimension) * units.ELEMENTARY_CHARGE
    skew, jump = np.zeros_like(surface.velocity), np.zeros_like(surface.velocity)
    flux = 0.0
    for done, shell in enumerate(surface.shells):
        if progress:
            progress(done, len(surface.shells), "disorder kernels")
        scattering = disorder.scatter(surface, shell)
        skew[shell.points], jump[shell.points] = scattering.skew_acceleration, scattering.side_jump_velocity
        relaxed = scattering.tau / (1 - 1j * omega * scattering.tau)  # ps
        orders = {"intrinsic": np.ones_like(relaxed), "skew": relaxed**2, "side_jump": relaxed}
        for name, moment in _moments(surface, shell, scattering).items():
            v, w = surface.velocity[shell.points], surface.weight[shell.points]
            current = (w[:, None] * moment).T @ v  # ∫(dk)(−f⁰') m_a v_b
            tensor = current - np.trace(current) * np.eye(3)
            # e/(ω+i/τ)·(−1) with e·m = −|e| m for the electron's m: |e| τ/(i(1−iωτ)).
            g[name][shell.replica] += (-1j * relaxed * orders[name])[:, None, None] * tensor * to_siemens
        dos = float(np.sum(surface.weight[shell.points]))
        flux += dos * scattering.flux_violation
        tau_weight[shell.replica] += scattering.tau * dos, dos
    if progress:
        progress(len(surface.shells), len(surface.shells), "disorder kernels")
    violation = flux / max(float(tau_weight[:, 1].sum()), 1e-300)
    g["total"] = g["intrinsic"] + g["skew"] + g["side_jump"]
    return GyrotropicResponse(
        surface=surface,
        disorder=disorder,
        frequency=f,
        g={name: Estimate(samples[:, 1:], surface.evaluations) for name, samples in g.items()},
        static={name: Estimate(samples[:, 0], surface.evaluations) for name, samples in g.items()},
        tau=Estimate(tau_weight[:, 0] / np.maximum(tau_weight[:, 1], 1e-300), surface.evaluations),
        skew_acceleration=skew,
        side_jump_velocity=jump,
        flux_violation=violation,
        warnings=(*surface.warnings, *_flux_warning(violation)),
    )


FLUX_LIMIT = 0.02


def _flux_warning(violation: float) -> tuple[str, ...]:
    if violation < FLUX_LIMIT:
        return ()
    return (
        f"w^A does not conserve flux: |∫w^A δ| reaches {violation:.2g} of ∫|w^A| δ (Eq. (34) says zero). Either the "
        "surface is sampled too coarsely (raise n), or the kernel's axis is not a symmetry axis of the surface.",
    )


def _moments(surface: Surface, shell, scattering: Scattering) -> dict[str, np.ndarray]:
    """Moments (N, 3) in μ_B, without the factors τ^k/(1−iωτ)^k (ps^k)."""
    v = surface.velocity[shell.points]
    magneton = -units.KINETIC_MOMENT / units.BOHR_MAGNETON  # electrons: e = −|e|
    return {
        "intrinsic": surface.orbital_moment[shell.points],
        "skew": magneton * np.cross(scattering.skew_acceleration, v),
        "side_jump": magneton * np.cross(scattering.side_jump_velocity, v),
    }
