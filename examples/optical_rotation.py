"""Optical rotation of an isotropic helical metal, against the paper's estimate ρ ~ 0.1 rad/mm, Eq. (80).

The estimate, in four lines. The skew part of the gyrotropic tensor, Eq. (14), for ε = ħ²k²/2m without spin
degeneracy, where ν_F v_F = k_F²/2π²ħ and v_F τ = ℓ, is

    g_zz = i (2/45) (e²/2π²ħ) (k_F ℓ)² (τ/τ_sk) / (1−iωτ)³,

so that with x = ωτ the complex rotation per length along the helix axis, Eq. (78), is

    ρ = ½ μ₀ ω g_zz = i (ρ₀/45π²) x/(1−ix)³,   ρ₀ = ½ μ₀ (e²/ħτ) (k_F ℓ)² (τ/τ_sk).

The intrinsic moment of the model, Eq. (21), is along z and gives g_zz = 0, Eq. (22): the rotation along the axis is
all kinetic. The mass has dropped out; k_F ℓ = 2 ε_F τ/ħ sets the Fermi level.

For k_F ℓ = 10, τ/τ_sk = 0.01 and τ = 1 ps: ρ₀ = 0.15 rad/mm, which is the paper's 0.1 rad/mm. The number that Eqs. (14)
and (78) give is smaller: the angular averages of the helical kernel leave 1/45π² = 1/444, and the frequency factor is
x²(3−x²)/(1+x²)³ ≤ 0.38 for the rotation Re ρ (largest at ωτ = 0.63) and |x/(1−ix)³| ≤ 0.38 for |ρ| (at ωτ = 0.71).
Together that is 1.3e-4 rad/mm. Eq. (80) is therefore right as a count of powers of k_F ℓ and τ/τ_sk with every
number set to one; to have 0.1 rad/mm in this model with τ and τ/τ_sk as given, k_F ℓ must be about 280.
"""

from __future__ import annotations

import numpy as np

import jaxkin as jk
from jaxkin.output.uncertainty import with_uncertainty

KF_L, TAU, SKEW = 10.0, 1.0, 0.01  # k_F ℓ, τ in ps, τ/τ_sk
PAPER = 0.1  # rad/mm, Eq. (80)
MASS = 0.1  # in electron masses; drops out


def scale() -> float:
    """ρ₀ in rad/mm: ρ with every numerical factor dropped."""
    e2_over_hbar = jk.units.ELEMENTARY_CHARGE / (jk.units.HBAR * 1e-12)  # S
    return 1e-3 * 0.5 * jk.units.VACUUM_PERMEABILITY * e2_over_hbar / (TAU * 1e-12) * KF_L**2 * SKEW


def closed_form(x: np.ndarray) -> np.ndarray:
    """Complex ρ in rad/mm from Eqs. (14) and (78) at x = ωτ."""
    return 1j * scale() / (45 * np.pi**2) * x / (1 - 1j * x) ** 3


def main() -> dict[str, float]:
    """Print ρ(ω) from the package and from the closed form; return the numbers that the tests compare."""
    fermi_level = KF_L * jk.units.HBAR / (2 * TAU)
    k_fermi = np.sqrt(MASS * fermi_level / jk.units.HBAR2_OVER_2M)
    model = jk.models.get("helical-isotropic", mass=MASS, moment=1.0, box=1.5 * k_fermi)
    surface = jk.fermi_surface(model, fermi_level, sampler=jk.Lines(n=16), replicas=8)

    x = np.array([0.1, 0.3, np.sqrt(4 - np.sqrt(13)), np.sqrt(0.5), 1.0, 2.0, 3.0])
    disorder = jk.RelaxationTime(TAU, TAU / SKEW, direction="momentum")
    response = jk.gyrotropic_response(surface, disorder, frequency=x / (2 * np.pi * TAU))
    rho = response.rotatory_power()["skew"].map(lambda values: 1e-3 * values)  # rad/mm
    exact = closed_form(x)

    print(f"isotropic helical metal: k_F l = {KF_L:g}, tau = {TAU:g} ps, tau/tau_sk = {SKEW:g}")
    print(f"Fermi level {1e3 * fermi_level:.3g} meV; rho in 1e-4 rad/mm, error of the last digits in brackets")
    print(f"{'omega tau':>10} {'f (THz)':>9} {'Re rho':>14} {'Im rho':>14} {'Re exact':>10} {'Im exact':>10}")
    for i, value in enumerate(x):
        mean, error = 1e4 * rho.mean[i], 1e4 * rho.stderr[i]
        rotation = with_uncertainty(float(mean.real), float(error.real))
        dichroism = with_uncertainty(float(mean.imag), float(error.imag))
        print(
            f"{value:10.3f} {response.frequency[i]:9.4f} {rotation:>14} {dichroism:>14} "
            f"{1e4 * exact[i].real:10.4f} {1e4 * exact[i].imag:10.4f}"
        )
    largest = float(np.abs(rho.mean.real).max())
    needed = KF_L * np.sqrt(PAPER / largest)
    print(f"largest rotation {largest:.3g} rad/mm; the paper's Eq. (80): about {PAPER:g} rad/mm")
    print(f"the same without 1/(45 pi^2) and the frequency factor: rho_0 = {scale():.3g} rad/mm")
    print(f"k_F l that would give {PAPER:g} rad/mm here: {needed:.0f}")
    return {
        "largest_rotation": largest,
        "largest_rotation_stderr": float(rho.stderr[2].real),
        "sign": float(np.sign(rho.mean[2].real)),
        "scale": scale(),
        "paper": PAPER,
        "numerical_factor": largest / scale(),
        "worst_deviation": float(np.max(np.abs(rho.mean - exact) / np.abs(exact))),
        "intrinsic": float(np.abs(response.rotatory_power()["intrinsic"].mean).max()) * 1e-3,
    }


if __name__ == "__main__":
    main()
