"""Units: eV, Å, ps, K, THz and Bohr magnetons inside and at the boundary, SI for responses.

Every constant comes from ``scipy.constants``; a conversion factor is defined here once and
derived a second way in the tests.
"""

from scipy import constants as _si

ELEMENTARY_CHARGE = _si.elementary_charge
"""C, positive; every response of this package is even in the carrier's charge."""
HBAR = _si.hbar / _si.elementary_charge * 1e12
"""ħ in eV ps."""
BOLTZMANN = _si.Boltzmann / _si.elementary_charge
"""k_B in eV / K."""
VACUUM_PERMEABILITY = _si.mu_0
"""μ₀ in T m / A."""
HBAR2_OVER_2M = _si.hbar**2 / (2 * _si.electron_mass * _si.elementary_charge) * 1e20
"""ħ²/2mₑ in eV Å²: a band of mass m has ε = HBAR2_OVER_2M k²/m."""

MAGNETON_PER_EV_A2 = 1 / HBAR2_OVER_2M
"""(|e|/ħ)/μ_B = 2mₑ/ħ² in 1/(eV Å²): from Im⟨Du|×(h−ε)|Du⟩ in eV Å² to a moment in μ_B."""

BOHR = _si.physical_constants["Bohr radius"][0] / _si.angstrom
"""Å."""

_VELOCITY = _si.angstrom * _si.elementary_charge / _si.hbar  # m/s for 1 eV Å of ∂ε/∂k
_PER_EV = 1 / _si.elementary_charge  # 1/J for 1/eV
_BOHR_MAGNETON = _si.physical_constants["Bohr magneton"][0]
_PS = _si.pico

BOHR_MAGNETON = _BOHR_MAGNETON
"""A m²."""
VELOCITY = _VELOCITY
"""m/s in 1 eV Å of ∂ε/∂k."""
KINETIC_MOMENT = ELEMENTARY_CHARGE * _VELOCITY**2 * _PS
"""|e| v² τ in A m² for 1 (eV Å)² and 1 ps: the unit of Q×v τ² and of v_sj×v τ."""


def per_volume(dimension: int) -> float:
    """Å^-d in m^-d."""
    return _si.angstrom**-dimension


def per_cm(dimension: int) -> float:
    """Å^-d in cm^-d, the unit of carrier densities in tables and files.

    >>> f"{per_cm(3):.0e}"
    '1e+24'
    """
    return (_si.centi / _si.angstrom) ** dimension


def moment_velocity_density(dimension: int) -> float:
    """SI value (A s⁻¹ m^{3-d} J⁻¹) of ∫(dk) m v δ(ε−μ) given in μ_B (eV Å) / (eV Å^d)."""
    return _BOHR_MAGNETON * _VELOCITY * per_volume(dimension) * _PER_EV


def velocity_velocity_density(dimension: int) -> float:
    """SI value of ∫(dk) v v δ(ε−μ) given in (eV Å)² / (eV Å^d); times e² and a time, it is a conductivity."""
    return _VELOCITY**2 * per_volume(dimension) * _PER_EV


TESLA_TO_GAUSS = 1e4
