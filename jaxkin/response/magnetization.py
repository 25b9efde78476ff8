"""The magnetization of the ground state: orbital and spin, of all filled states."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import equinox as eqx
import numpy as np
from jaxtyping import Array, Float

from jaxkin import units
from jaxkin.brief import brief, lines
from jaxkin.checks import check_kind, check_number, check_positive
from jaxkin.errors import AccuracyWarning, ModelError
from jaxkin.hamiltonian.bloch import BlochModel
from jaxkin.hamiltonian.tight_binding import TightBinding
from jaxkin.output.uncertainty import with_uncertainty
from jaxkin.surface.filled_moments import FilledMoments
from jaxkin.surface.plan import Progress
from jaxkin.surface.sea import filled_integral
from jaxkin.surface.search import Pocket
from jaxkin.surface.thermal import HOTTEST, Thermal
from jaxkin.surface.zone import Goal

LEAST = 0.01
"""μ_B a cell (a state of the box of a k·p model) below which accuracy is not relative."""
UNITS = {3: "A/m", 2: "A", 1: "A m"}


class Magnetization(eqx.Module):
    """Spontaneous magnetization per cell (k·p: per Å^d), orbital and spin, with the signs of electrons.

    What it is: docs/theory.md, "The ground state's magnetization".

    Attributes:
        orbital: (3,) in μ_B, what electrons circulate within and between the orbitals; of the model's Hamiltonian.
        spin: (3,) in μ_B, zero for a model without spin operators.
        orbital_error, spin_error: of each component, in μ_B.
        evaluations: how many H(k) were diagonalised.
        density: value of one μ_B per cell in ``unit``.
        unit: A/m, in two dimensions A.
        lacking: what the model's operators leave out, in words; empty where nothing is known to be missing.
    """

    orbital: Float[Array | np.ndarray, "3"]
    spin: Float[Array | np.ndarray, "3"]
    orbital_error: float
    spin_error: float
    evaluations: int = eqx.field(static=True)
    density: float
    unit: str = eqx.field(static=True)
    lacking: str = eqx.field(static=True)

    @property
    def total(self) -> Float[Array | np.ndarray, "3"]:
        """Both, in μ_B per cell."""
        return self.orbital + self.spin

    @property
    def total_error(self) -> float:
        """Of :attr:`total`, in μ_B per cell: both are found at the same k, so their errors add."""
        return self.orbital_error + self.spin_error

    @brief
    def __repr__(self) -> str:
        def text(values, error: float) -> str:
            return f"({', '.join(with_uncertainty(float(value), error) for value in values)})"

        return lines(
            f"Magnetization in μ_B per cell, one of which is {self.density:.4g} {self.unit}",
            f"orbital {text(self.orbital, self.orbital_error)}",
            f"spin {text(self.spin, self.spin_error)}",
            f"lacking: {self.lacking}" if self.lacking else "",
            "ask for .orbital, .spin, .total, .orbital_error, .spin_error, .density",
        )


def spontaneous_magnetization(
    model: BlochModel,
    fermi_level: float,
    temperature: float = 0.0,
    *,
    rtol: float = 1e-4,
    budget: int = 500_000,
    pockets: Sequence[Pocket] | None = None,
    progress: Progress | None = None,
) -> Magnetization:
    """Orbital and spin magnetization of all filled states, without a field or a current.

    - orbital: M = ∫(dk) Σ_n [f⁰_n m_n + (|e|/ħ) kT ln(1 + e^{(μ−ε_n)/kT}) Ω_n], with m and Ω of :func:`band_geometry`;
      at T = 0 the second factor is (|e|/ħ)(μ − ε_n) of filled states (D. Xiao, J. Shi, Q. Niu, PRL 95, 137204 (2005);
      T. Thonhauser et al., PRL 95, 137205 (2005); at T > 0 D. Xiao et al., PRL 97, 026603 (2006));
    - spin: M = −½ g_s μ_B ∫(dk) Σ_n f⁰_n ⟨σ⟩.

    It is summed over pairs of states, so that filled states may touch. In an insulator dM/dμ = (|e|/ħ) ∫(dk) Σ f⁰ Ω
    (P. Středa). The way of integration is that of the filled states' Hall conductivity.

    Args:
        model: any without a prescribed moment. In a k·p model the integral goes over the box, and on to infinity if the
            model is ``unbounded``.
        fermi_level: μ in eV.
        temperature: T in K.
        rtol: accuracy relative to the largest component of each part, or to 0.01 μ_B per cell if that is more.
        budget: diagonalisations that may be spent, beside those of a search for the surface.
        pockets: those of the surface at μ; searched for if not given.
        progress: called with (done, total, what).

    Raises:
        ModelError: a model with a prescribed moment, which is that of one state and not of what circulates at edges.
        JaxkinError: arguments that make no sense.

    Warns:
        AccuracyWarning: ``rtol`` was not reached.

    >>> import jaxkin as jk
    >>> low, high = (jk.spontaneous_magnetization(jk.models.get("haldane"), level) for level in (-0.1, 0.1))
    >>> slope = float((high.orbital - low.orbital)[2]) / 0.2  # μ_B per cell and eV, in the gap
    >>> round(slope / jk.units.MAGNETON_PER_EV_A2 * 2 * 3.14159265 / 0.8660254, 6)  # Chern number
    -1.0
    """
    check_kind("model", model, BlochModel, "a Bloch model, such as jaxkin.models.get('haldane')")
    check_number("fermi_level", fermi_level, "an energy in eV")
    check_number("temperature", temperature, "a temperature in K", least=0, most=HOTTEST)
    check_positive("rtol", rtol, "a positive number")
    check_number("budget", budget, "how many H(k) may be diagonalised", least=1)
    if model.moment is not None:
        raise ModelError("the magnetization needs the bands that a moment comes from: this model's is prescribed.")
    lo, hi = np.array(model.zone).T
    volume, states = float(model.state_volume), float(model.measure) * float(np.prod(hi - lo))
    integrand = FilledMoments(model, Thermal(fermi_level, temperature))
    goal = Goal(rtol, int(budget), LEAST * states)
    found = filled_integral(model, integrand, goal, pockets=pockets, progress=progress, what="magnetization")
    worst = found.relative_error
    if worst > rtol:
        warnings.warn(
            f"the magnetization is known to {worst:.1g} only (asked: {rtol:g}): small pockets, bands that nearly "
            "touch or more surface than a tree of cells resolves; raise `budget` or `rtol`.",
            AccuracyWarning,
            stacklevel=2,
        )
    (orbital, spin), (orbital_error, spin_error) = volume * found.values, volume * found.error
    return Magnetization(
        orbital,
        spin,
        float(orbital_error),
        float(spin_error) if model.spin is not None else 0.0,
        found.evaluations,
        units.BOHR_MAGNETON * units.per_volume(model.dimension) / volume,
        UNITS[model.dimension],
        _lacking(model),
    )


def _lacking(model: BlochModel) -> str:
    parts = [] if model.spin is not None else ["spin, of which the model has no operators"]
    if isinstance(model, TightBinding) and model.position_matrices is not None and model.hr_matrices is None:
        parts.append("⟨Hr⟩ and ⟨rHr⟩ of the Wannier functions (.uHu) in the orbital part")
    return "; ".join(parts)
