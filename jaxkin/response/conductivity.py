"""Local conductivity σ_ab(ω) and its Hall parts."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import equinox as eqx
import numpy as np
from numpy.typing import ArrayLike
from scipy import constants as si

from jaxkin.brief import brief, lines, listed
from jaxkin.checks import cartesian, check_count, check_flag, check_number, shown
from jaxkin.disorder.kernels import Disorder
from jaxkin.errors import AccuracyWarning, JaxkinError
from jaxkin.estimate import Estimate
from jaxkin.namespace import AnyArray, is_traced, namespace
from jaxkin.response import observables
from jaxkin.response.observables import LEVI_CIVITA
from jaxkin.response.quality import scattering_warnings
from jaxkin.response.shell import SkewOrder, Solver
from jaxkin.response.sums import Theory
from jaxkin.response.transport import Transport, transport
from jaxkin.surface.plan import Progress
from jaxkin.surface.sea import filled_berry_curvature
from jaxkin.surface.surface import Surface
from jaxkin.symmetry.operations import Operation
from jaxkin.symmetry.verify import violation

HALL = ("intrinsic", "skew", "side_jump", "gaussian_skew", "total")
"""Mechanisms of the Hall conductivity in the order of tables."""
UNITS = {3: "S/m", 2: "S", 1: "S m"}
"""Of σ in each dimension."""
DIMENSIONS = {unit: dimension for dimension, unit in UNITS.items()}
HALL_RTOL = 1e-2
"""Accuracy of the intrinsic part: that of the rest of a usual run."""
HALL_BUDGET = 200_000
"""Diagonalisations that it may take."""


class Conductivity(eqx.Module):
    """σ_ab(ω) by mechanism: docs/theory.md, "Response".

    Keys ``drude``, ``intrinsic``, ``skew``, ``side_jump``, ``gaussian_skew`` and ``total``; the four before it are
    antisymmetric and vanish with time reversal (the parts of scattering to sampling error). With ``hall=False``, and of
    a surface whose model or level is traced, there is no ``intrinsic``, an integral over the filled states, and it is
    not in ``total``.

    Attributes:
        frequency: f = ω/2π in THz, (frequency,).
        sigma: by mechanism in ``unit``, each an Estimate (frequency, 3, 3).
        unit: S/m, in two dimensions S, in one S m.
        time_reversal: how well H(k) has it, in words: with it the intrinsic part is zero and not computed.
    """

    frequency: AnyArray
    sigma: dict[str, Estimate]
    unit: str = eqx.field(static=True)
    time_reversal: str = eqx.field(static=True, default="not looked at")

    @property
    def hall(self) -> dict[str, Estimate]:
        """Hall conductivity (σ_ab − σ_ba)/2 by mechanism, (frequency, 3, 3) in ``unit``; without ``drude``.

        >>> import jaxkin as jk
        >>> surface = jk.fermi_surface(jk.models.get("massive-dirac-2d"), 0.3, sampler=jk.Lines(8), replicas=2)
        >>> hall = jk.conductivity(surface, jk.RelaxationTime(1.0)).hall["total"][0].real
        >>> bool(hall.mean[0, 1] == -hall.mean[1, 0] != 0)
        True
        """
        parts = {name: one.map(_antisymmetric) for name, one in self.sigma.items() if name != "drude"}
        return {name: parts[name] for name in HALL if name in parts}

    def electric_field(self, current: ArrayLike) -> Estimate:
        """E = ρj in V/m for j (3,) in A/m² (in 2D: A/m), ρ = σ⁻¹ of all mechanisms; (frequency, 3).

        Raises:
            JaxkinError: a current out of the plane of a two-dimensional model.
        """
        dimension, density = DIMENSIONS[self.unit], cartesian(current, "current")
        if np.any(density[dimension:]):
            raise JaxkinError(f"current={shown(current)}: this model has {dimension} dimensions, the rest must be 0.")
        return self.sigma["total"].map(lambda sigma: observables.electric_field(sigma, density, dimension))

    @brief
    def __repr__(self) -> str:
        at, static = listed(self.frequency), int(np.argmin(np.abs(self.frequency)))
        diagonal = [str(self.sigma["total"][static, a, a].real) for a in range(3)]
        hall = (
            []
            if self.time_reversal.startswith("holds")
            else [
                f"{name.replace('_', ' ')} {part[static, 0, 1].real}"
                for name, part in self.hall.items()
                if np.any(part.mean[static, 0, 1])
            ]
        )
        return lines(
            f"Conductivity in {self.unit} at f = {at} THz",
            f"σ_xx, σ_yy, σ_zz at {self.frequency[static]:g} THz: {', '.join(diagonal)}",
            f"Hall, (σ_xy − σ_yx)/2: {', '.join(hall)}" if hall else "",
            f"time reversal: {self.time_reversal}",
            "ask for .sigma[mechanism].mean, .stderr (frequency, 3, 3), .hall[mechanism]",
        )


def _antisymmetric(sigma: AnyArray) -> AnyArray:
    return 0.5 * (sigma - sigma.swapaxes(-1, -2))


class IntrinsicHall(NamedTuple):
    """σ_ab of the filled states in S/m (in 2D: S), (3, 3), and its error, as antisymmetric as itself.

    Also how well H(k) has time reversal, in words.
    """

    tensor: np.ndarray
    error: np.ndarray
    time_reversal: str


def conductivity(
    surface: Surface,
    disorder: Disorder,
    frequency: ArrayLike = (0.0,),
    solver: Solver = "rta",
    *,
    skew_order: SkewOrder = "first",
    theory: Theory = "complete",
    hall: bool = True,
    hall_rtol: float = HALL_RTOL,
    hall_budget: int = HALL_BUDGET,
    progress: Progress | None = None,
) -> Conductivity:
    """Local conductivity by mechanism: docs/theory.md, "Response".

    - Drude: σ_ab = −ie²⟨v_a|R|v_b⟩, e² τ/(1−iωτ) ∫(dk)(−f⁰') v_a v_b in the relaxation-time approximation;
    - intrinsic: σ_ab = −(e²/ħ) ε_abc ∫(dk) f⁰ Ω_c, for models that break time reversal (X. Wang, J. Yates, I. Souza,
      D. Vanderbilt, PRB 74, 195118 (2006));
    - skew: −ie²⟨v_a|R iA R|v_b⟩, antisymmetrised;
    - side jump: −ie²[⟨v_a|R|v_sj,b⟩ − ⟨v_sj,a|R|v_b⟩], half accumulation and half anomalous distribution;
    - Gaussian skew: as skew, of w^A ∝ n², where the disorder has a potential (:func:`gyrotropic_response`).

    These are the results without crossed diagrams.

    Args:
        surface: from :func:`fermi_surface`.
        disorder: any.
        frequency: f = ω/2π in THz.
        solver: ``"rta"`` or ``"exact"``.
        skew_order: ``"first"`` order in w^A, or ``"all"`` (exact solver only).
        theory: ``"paper"`` leaves out the Gaussian part.
        hall: whether to compute the intrinsic part where time reversal is broken.
        hall_rtol: its accuracy, relative to its largest component or a quarter of e²/h (in 3D e²/h over the cell's
            edge); the error that is left is in its ``stderr``.
        hall_budget: diagonalisations that may be spent on it, beside those of the search for the surface.
        progress: called with (done, total, what).

    Raises:
        JaxkinError: an unknown solver, order or theory, frequencies that are none, a transport time that is not
            positive, a solution that was not found.

    Warns:
        AccuracyWarning: the budget was spent before ``hall_rtol`` was reached; a potential of finite range is too
            strong for its T-matrix.

    >>> import jaxkin as jk
    >>> surface = jk.fermi_surface(jk.models.get("helical-isotropic"), 0.5, sampler=jk.Lines(n=16), replicas=2)
    >>> sigma = jk.conductivity(surface, jk.RelaxationTime(tau=1.0)).sigma["total"]
    >>> round(float(sigma.mean[0, 0, 0].real) / 1e7, 1)  # n e² τ/m for n = 8.03e26 m⁻³
    2.3
    """
    check_flag("hall", hall)
    check_number("hall_rtol", hall_rtol, "a number above 0 and below 1", least=1e-12, most=1)
    check_count("hall_budget", hall_budget)
    sums = transport(surface, disorder, frequency, solver, skew_order, theory, progress)
    for line in scattering_warnings(sums.quality.saturation, sums.quality.coarseness):
        warnings.warn(line, AccuracyWarning, stacklevel=2)
    return from_transport(surface, sums, hall=hall, hall_rtol=hall_rtol, hall_budget=hall_budget, progress=progress)


def from_transport(
    surface: Surface,
    sums: Transport,
    *,
    hall: bool = True,
    hall_rtol: float = HALL_RTOL,
    hall_budget: int = HALL_BUDGET,
    progress: Progress | None = None,
) -> Conductivity:
    """σ from the sums over the shells, with the intrinsic part added."""
    parts = {name: samples[:, 1:] for name, samples in sums.conductivity.items()}
    shared: dict[str, AnyArray] = {}
    reversal = "not looked at"
    if hall and not is_traced(surface.model, surface.fermi_level, surface.temperature):
        found = intrinsic_conductivity(surface, hall_rtol, hall_budget, progress)
        xp, shape = namespace(parts["drude"]), parts["drude"].shape
        parts["intrinsic"] = xp.broadcast_to(xp.asarray(found.tensor, complex), shape)
        reversal = found.time_reversal
        if found.error.any():
            shared["intrinsic"] = shared["total"] = np.broadcast_to(found.error, shape[1:])
    parts["total"] = sum(parts.values())
    sigma = {name: Estimate(samples, surface.evaluations, shared.get(name)) for name, samples in parts.items()}
    return Conductivity(sums.frequency, sigma, UNITS[surface.model.dimension], reversal)


def intrinsic_conductivity(
    surface: Surface, rtol: float = HALL_RTOL, budget: int = HALL_BUDGET, progress: Progress | None = None
) -> IntrinsicHall:
    """−(e²/ħ) ε_abc ∫(dk) f⁰ Ω_c; zero at once where time reversal holds."""
    model, nothing = surface.model, np.zeros((3, 3))
    if model.dimension == 1:
        return IntrinsicHall(nothing, nothing, "not needed in one dimension")
    reversal = violation(model, Operation(np.eye(3), antiunitary=True))
    if reversal.fault is None:
        return IntrinsicHall(nothing, nothing, f"holds, energies to {reversal.energy:.1g} eV")
    flux = filled_berry_curvature(
        model,
        surface.fermi_level,
        surface.temperature,
        rtol=rtol,
        budget=budget,
        pockets=None if surface.temperature or surface.elsewhere else surface.pockets,
        progress=progress,
    )
    to_si = si.elementary_charge**2 / si.hbar * si.angstrom ** (2 - model.dimension)
    uncertain = np.full(3, flux.error) if model.dimension == 3 else np.array([0.0, 0.0, flux.error])
    tensor = -to_si * np.einsum("abc,c->ab", LEVI_CIVITA, flux.values)
    error = to_si * np.einsum("abc,c->ab", LEVI_CIVITA, uncertain)
    return IntrinsicHall(tensor, error, f"broken: energies differ by {reversal.energy:.1g} eV, {reversal.fault}")
