"""The gyrotropic tensor g_ab(ω) and what follows from it, by mechanism."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal, cast

import equinox as eqx
import numpy as np
from numpy.typing import ArrayLike

from jaxkin.brief import brief, lines, listed, plural
from jaxkin.checks import shown
from jaxkin.disorder.kernels import Disorder
from jaxkin.disorder.relaxation_time import RelaxationTime
from jaxkin.errors import JaxkinError
from jaxkin.estimate import Estimate, side_by_side
from jaxkin.namespace import AnyArray, is_traced
from jaxkin.response import observables, scales
from jaxkin.response.conductivity import Conductivity, from_transport
from jaxkin.response.quality import Quality
from jaxkin.response.shell import SkewOrder, Solver
from jaxkin.response.sums import MECHANISMS, Theory
from jaxkin.response.transport import Transport, transport
from jaxkin.shelf import Shelf
from jaxkin.surface.plan import Progress
from jaxkin.surface.surface import Surface
from jaxkin.symmetry.operations import Operation
from jaxkin.symmetry.verify import is_symmetry

if TYPE_CHECKING:
    import xarray


class GyrotropicResponse(eqx.Module):
    """g_ab(ω), Eq. (10), with everything linear in it; keys ``intrinsic``, ``skew``, ``side_jump``, ``total``.

    It is a pytree: of a surface that :meth:`Surface.at` evaluated with traced arguments, or of traced numbers of the
    disorder, it is traced itself, and has derivatives.

    Attributes:
        surface, disorder: what it is the response of.
        frequency: f = ω/2π in THz, (frequency,).
        g: gyrotropic tensor in S (in 2D: S m), each an Estimate of shape (frequency, 3, 3).
        static: g at ω = 0 in the same unit, whatever the frequencies, each (3, 3).
        tau: transport time in ps, thermally averaged, an Estimate.
        transport: the sums over the shells that all this comes from.
        solver: ``"rta"`` or ``"exact"``.
        warnings: reasons for caution.
    """

    surface: Surface
    disorder: Disorder
    frequency: AnyArray
    g: dict[str, Estimate]
    static: dict[str, Estimate]
    tau: Estimate
    transport: Transport
    solver: Solver = eqx.field(static=True)
    warnings: tuple[str, ...] = eqx.field(static=True, default=())

    @brief
    def __repr__(self) -> str:
        surface, static = self.surface, int(np.argmin(np.abs(self.frequency)))
        a, b = np.unravel_index(int(np.argmax(np.abs(self.g["total"].mean[static]))), (3, 3))
        named = f"g_{'xyz'[a]}{'xyz'[b]} in S{'' if surface.model.dimension == 3 else ' m'}"
        known = [name for name in self.g if name not in self.left_out]
        parts = [self.g[name][static, a, b] for name in known]
        return lines(
            f"GyrotropicResponse: μ = {surface.fermi_level:g} eV, T = {surface.temperature:g} K, "
            f"f = {listed(self.frequency)} THz, solver {self.solver!r}",
            f"largest component at {self.frequency[static]:g} THz, {named}:",
            *(f"  {name.replace('_', ' ')} {text}" for name, text in zip(known, side_by_side(parts), strict=True)),
            f"τ = {self.tau} ps; {len(surface)} points, {plural(surface.replicas, 'replica')}",
            f"not known of this disorder: {', '.join(self.left_out).replace('_', ' ')}" if self.left_out else "",
            *(f"warning: {line}" for line in self.warnings),
            "ask for .g[mechanism].mean, .stderr (frequency, 3, 3), .magnetization(E), .rotatory_power(),",
            ".conductivity, .quality, .to_dataset()",
        )

    @property
    def quality(self) -> Quality:
        """Diagnostics of the run: flux conservation, optical theorem, Onsager relation, residuals."""
        return self.transport.quality

    @property
    def left_out(self) -> tuple[str, ...]:
        """Mechanisms that are zero as this disorder does not determine them, having rates alone, or is not treated."""
        return self.transport.left_out

    @property
    def skew_acceleration(self) -> AnyArray:
        """Q at the surface's points, (N, 3), eV Å / ps."""
        return self.transport.skew_acceleration

    @property
    def side_jump_velocity(self) -> AnyArray:
        """v_sj at the surface's points, (N, 3), eV Å."""
        return self.transport.side_jump_velocity

    def of_moment(self, which: Literal["orbital", "spin"]) -> GyrotropicResponse:
        """The intrinsic part alone, as if states had their orbital moment or that of their spin only.

        Everything else follows as of the whole: ``response.of_moment("spin").magnetization(field)``.

        Raises:
            JaxkinError: another moment.

        >>> import jaxkin as jk
        >>> surface = jk.fermi_surface(jk.models.get("weyl"), 0.1, sampler=jk.Lines(n=8), replicas=2)
        >>> response = jk.gyrotropic_response(surface, jk.RelaxationTime(tau=1.0))
        >>> bool(response.of_moment("spin").g["total"].mean.any())  # this model has no spin operators
        False
        """
        if which not in ("orbital", "spin"):
            raise JaxkinError(f"of_moment: which={shown(which)} must be 'orbital' or 'spin'.")
        parts = self.transport.gyrotropic
        kept = parts["spin"] if which == "spin" else parts["intrinsic"] - parts["spin"]
        alone = {"intrinsic": kept, "spin": kept if which == "spin" else 0 * kept}
        return from_sums(self.surface, self.disorder, replace(self.transport, gyrotropic=alone), self.solver)

    @cached_property
    def conductivity(self) -> Conductivity:
        """Local conductivity from the same kernels: :func:`jaxkin.conductivity`."""
        return from_transport(self.surface, self.transport)

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

    def magnetization(
        self, field: ArrayLike | Estimate | None = None, *, current: ArrayLike | None = None
    ) -> dict[str, Estimate]:
        """M = −iχE, Eq. (87), of a field, or of the field E = ρj that a current density makes; (frequency, 3).

        With ``current`` each replica has its own χ and its own ρ = σ⁻¹, all mechanisms of σ in it, so that what both
        have in common drops out of the error.

        Args:
            field: E (3,) in V/m, or an estimate of it of as many replicas, (frequency, 3).
            current: j (3,) in A/m² (in 2D: A/m), in its place.

        Returns:
            In A/m (in 2D: A).

        Raises:
            JaxkinError: both or none given, or a current out of the plane of a two-dimensional model.

        >>> import jaxkin as jk
        >>> surface = jk.fermi_surface(jk.models.get("weyl"), 0.1, sampler=jk.Lines(n=8), replicas=2)
        >>> response = jk.gyrotropic_response(surface, jk.RelaxationTime(tau=1.0))
        >>> response.magnetization(current=[0, 0, 1e8])["total"].mean.shape
        (1, 3)
        """
        if (field is None) == (current is None):
            raise JaxkinError("magnetization: give either a field in V/m or current=, a current density in A/m².")
        electric = field if current is None else self.electric_field(current)
        if not isinstance(electric, Estimate):
            return self._each(lambda g: observables.magnetization(g, cast("ArrayLike", electric)))
        each = electric[:, None, :]
        return {name: -1j * (chi * each).map(lambda part: part.sum(axis=-1)) for name, chi in self.chi.items()}

    def magnetization_gauss(
        self, field: ArrayLike | Estimate | None = None, *, current: ArrayLike | None = None
    ) -> dict[str, Estimate]:
        """μ₀M in gauss, as :meth:`magnetization`."""
        return {name: part.map(observables.gauss) for name, part in self.magnetization(field, current=current).items()}

    def electric_field(self, current: ArrayLike) -> Estimate:
        """E = ρj, :meth:`Conductivity.electric_field`."""
        return self.conductivity.electric_field(current)

    def rotatory_power(self, axis: ArrayLike = (0, 0, 1)) -> dict[str, Estimate]:
        """Complex ρ = ½μ₀ω n·g·n along the optic axis n in rad/m, Eq. (78).

        Re ρ is the rotation per length, Im ρ the circular dichroism; (frequency,).
        """
        return self._each(lambda g: observables.rotatory_power(g, self.frequency, axis))

    def circular_dichroism(self, axis: ArrayLike = (0, 0, 1)) -> dict[str, Estimate]:
        """Im ρ in rad/m."""
        return self._each(lambda g: observables.rotatory_power(g, self.frequency, axis).imag)

    def trace(self) -> dict[str, Estimate]:
        """Tr g in S: the dynamic chiral magnetic effect, and three times the average over a polycrystal."""
        return self._each(lambda g: g.trace(axis1=-2, axis2=-1))

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

    def skew_time(self) -> Estimate:
        """|τ_sk| in ps, from Q as in Eq. (12); infinite without skew scattering."""
        return scales.skew_time(self.surface, self.skew_acceleration)

    def side_jump_length(self) -> Estimate:
        """|a_sj| in Å, from v_sj as in Eq. (18)."""
        return scales.side_jump_length(self.surface, self.side_jump_velocity, self.tau.samples)

    def mean_free_path(self) -> Estimate:
        """ℓ = τ√⟨v²⟩ in Å."""
        return scales.mean_free_path(self.surface, self.tau.samples)

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
    skew_order: SkewOrder = "first",
    theory: Theory = "complete",
    progress: Progress | None = None,
    shelf: Shelf | None = None,
) -> GyrotropicResponse:
    """Gyrotropic tensor, split by mechanism.

    With ``solver="rta"``, g_ab = e/(ω+i/τ) ∫(dp)[m_a ∂_b f⁰ − δ_ab m·∂f⁰], Eqs. (10), (74), for each of

    - m_int, Eq. (4), from the surface's ``orbital_moment``;
    - m_sk = eτ²/(1−iωτ)² Q×v, Eq. (6), Q from the double integral over w^A;
    - m_sj = eτ/(1−iωτ) v_sj×v, Eq. (7), v_sj from the double integral over w^S δr;

    and two parts of the same order in the impurity density as the intrinsic one, which the paper leaves out
    (docs/complete_theory.md):

    - ``"nonlocal"``: scattered electrons arrive δr away, λ_abc = −ie² ⟨v_a|R D_c R|v_b⟩ with D = w^S δr;
    - ``"gaussian_skew"``: w^A ∝ n² that two impurities make without crossing. It needs the potential: of point
      impurities, of sums of them, and of one of finite range it is computed; of other disorder it is zero and named in
      :attr:`GyrotropicResponse.left_out`.

    With ``solver="exact"`` the resolvent of the whole collision operator stands for 1/(ω+i/τ):
    :func:`jaxkin.response.shell.shell_response`. In cubic crystals only this gives a skew part.

    Scattering is elastic: at finite temperature every energy is a problem of its own. Valid for dilute
    impurities and k_Fℓ ≫ 1; crossed diagrams are left out.

    Args:
        surface: from :func:`fermi_surface`, or evaluated elsewhere by :meth:`Surface.at`, also with traced arguments.
        disorder: :class:`RelaxationTime`, :class:`PointImpurity`, :class:`FiniteRangeImpurity`, a sum of
            them, or kernels of your own.
        frequency: f = ω/2π in THz, any number of them.
        solver: ``"rta"`` or ``"exact"``.
        skew_order: ``"first"`` order in w^A, or ``"all"`` (exact solver only).
        theory: ``"complete"``, or ``"paper"`` without the last two parts.
        progress: called with (done, total, what).
        shelf: where shells are put that took long, and found by a later call.

    Raises:
        JaxkinError: a frequency that is not finite, an unknown solver; of a surface elsewhere, what is not known there:
            a thermal lattice's bins of energy, the states of degenerate bands.

    >>> import jaxkin as jk
    >>> model = jk.models.get("helical-isotropic", moment=1.0)
    >>> surface = jk.fermi_surface(model, 0.5, sampler=jk.Lines(n=8), replicas=2)
    >>> response = jk.gyrotropic_response(surface, jk.RelaxationTime(tau=1.0), frequency=[0.0, 1.0])
    >>> response.g["intrinsic"].mean.shape
    (2, 3, 3)

    The same under ``jax.grad``, here for ∂ ln g^sk/∂ ln τ = 3:

    >>> import jax
    >>> model = jk.models.get("kramers-weyl-d4")
    >>> surface = jk.fermi_surface(model, -1.2, sampler=jk.Lines(8), replicas=2)
    >>> def g_zz(tau):
    ...     return jk.gyrotropic_response(surface, jk.RelaxationTime(tau, 50.0)).g["skew"].mean[0, 2, 2].imag
    >>> round(float(jax.grad(g_zz)(0.7) * 0.7 / g_zz(0.7)), 9)
    3.0
    """
    sums = transport(surface, disorder, frequency, solver, skew_order, theory, progress, shelf)
    return from_sums(surface, disorder, sums, solver)


def from_sums(surface: Surface, disorder: Disorder, sums: Transport, solver: Solver) -> GyrotropicResponse:
    """The response that the sums over the shells make."""
    parts = {name: sums.gyrotropic[name] for name in MECHANISMS["complete"] if name in sums.gyrotropic}
    parts["total"] = sum(parts.values())
    return GyrotropicResponse(
        surface=surface,
        disorder=disorder,
        frequency=sums.frequency,
        g={name: Estimate(samples[:, 1:], surface.evaluations) for name, samples in parts.items()},
        static={name: Estimate(samples[:, 0], surface.evaluations) for name, samples in parts.items()},
        tau=Estimate(sums.tau, surface.evaluations),
        transport=sums,
        solver=solver,
        warnings=(
            *surface.warnings,
            *_forbidden(surface, disorder, parts["total"]),
            *sums.quality.warnings(),
            *scales.dilute_warning(surface, sums.tau),
        ),
    )


def _forbidden(surface: Surface, disorder: Disorder, total: AnyArray) -> tuple[str, ...]:
    """A line where stated, not computed, skew scattering or side jumps break an inversion that H(k) has."""
    if not isinstance(disorder, RelaxationTime) or is_traced(surface, disorder):
        return ()
    if not disorder.elastic or not np.any(total) or not is_symmetry(surface.model, Operation(-np.eye(3))):
        return ()
    return (
        "H(k) has an inversion centre, which forbids every component of g: what is here comes from the `axis` of the "
        "stated skew scattering and side jump, which scattering in this crystal cannot have; give tau_skew = inf and "
        "side_jump = 0, or impurities.",
    )
