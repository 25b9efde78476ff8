"""Magnetization of an isotropic helical metal in a field: the paper's ~5 G per 10⁴ V/m, after Eq. (14).

The estimate. Skew scattering adds no trace to g, Eq. (75), so χ = g, Eq. (86), and M = −iχE, Eq. (87). For
ε = ħ²k²/2m without spin degeneracy ν_F v_F = k_F²/2π²ħ, v_F τ = ℓ, and Eq. (14) at ω = 0 becomes

    g_ab = −i (1/45) (e²/2π²ħ) (k_F ℓ)² (τ/τ_sk) diag(1, 1, −2),

so that a field along z gives M_z = M₀/45π² with M₀ = (e²/ħ) (k_F ℓ)² (τ/τ_sk) E, and one along x gives M_x of half the
size and the other sign. The mass has dropped out; k_F ℓ = 2 ε_F τ/ħ sets the Fermi level.

For k_F ℓ = 100, τ/τ_sk = 0.01 and E = 10⁴ V/m: μ₀M₀ = 3.1 G, or 6.1 G with two spins: the paper's 5 G. What Eq. (14)
gives is μ₀M₀/45π² = 0.0069 G per spin: the angular averages of the helical kernel leave 1/45π² = 1/444. The 5 G is
right as a count of powers of k_F ℓ and τ/τ_sk with every number set to one; with the numbers in, 5 G need k_F ℓ of
about 2700 at this τ/τ_sk.
"""

from __future__ import annotations

import numpy as np

import jaxkin as jk
from jaxkin.output.uncertainty import with_uncertainty

KF_L, TAU, SKEW = 100.0, 1.0, 0.01  # k_F ℓ, τ in ps, τ/τ_sk
FIELD = 1e4  # V/m
PAPER = 5.0  # gauss
MASS = 0.1  # in electron masses; drops out of the skew part


def scale() -> float:
    """μ₀M₀ in gauss: the magnetization with every numerical factor dropped."""
    e2_over_hbar = jk.units.ELEMENTARY_CHARGE / (jk.units.HBAR * 1e-12)  # S
    return jk.units.VACUUM_PERMEABILITY * jk.units.TESLA_TO_GAUSS * e2_over_hbar * KF_L**2 * SKEW * FIELD


def main() -> dict[str, float]:
    """Print μ₀M by mechanism for a field along and across the axis; return the numbers that the tests compare."""
    fermi_level = KF_L * jk.units.HBAR / (2 * TAU)
    k_fermi = np.sqrt(MASS * fermi_level / jk.units.HBAR2_OVER_2M)
    model = jk.models.get("helical-isotropic", mass=MASS, moment=1.0, box=1.5 * k_fermi)
    surface = jk.fermi_surface(model, fermi_level, sampler=jk.Lines(n=16), replicas=8)
    disorder = jk.RelaxationTime(TAU, TAU / SKEW, side_jump=1.0, direction="momentum")
    response = jk.gyrotropic_response(surface, disorder)

    along = response.magnetization_gauss([0.0, 0.0, FIELD])
    across = response.magnetization_gauss([FIELD, 0.0, 0.0])
    exact = scale() / (45 * np.pi**2)
    print(f"isotropic helical metal: k_F l = {KF_L:g}, tau/tau_sk = {SKEW:g}, E = {FIELD:g} V/m")
    print("moment of the bands 1 Bohr magneton, side jump 1 Angstrom; mu_0 M in 1e-3 gauss")
    print(f"{'':>12} {'M_z, E along z':>18} {'M_x, E along x':>18}")
    for name in ("skew", "intrinsic", "side_jump"):
        cells = []
        for estimate, a in ((along[name], 2), (across[name], 0)):
            component = estimate.map(lambda m, a=a: 1e3 * m[:, 0, a].real)
            cells.append(with_uncertainty(float(component.mean), float(component.stderr)))
        print(f"{name:>12} {cells[0]:>18} {cells[1]:>18}")
    print(f"{'Eq. (14)':>12} {1e3 * exact:18.5g} {-0.5e3 * exact:18.5g}")
    skew = along["skew"].map(lambda m: m[:, 0, 2].real)
    value = float(skew.mean)
    print(f"the paper: about {PAPER:g} G; without 1/(45 pi^2): {scale():.3g} G, {2 * scale():.3g} G with two spins")
    print(f"k_F l that would give {PAPER:g} G here: {KF_L * np.sqrt(PAPER / abs(value)):.0f}")
    return {
        "skew": value,
        "skew_stderr": float(skew.stderr),
        "skew_across": float(across["skew"].mean[0, 0].real),
        "intrinsic": float(along["intrinsic"].mean[0, 2].real),
        "side_jump": float(along["side_jump"].mean[0, 2].real),
        "exact": exact,
        "scale": scale(),
        "paper": PAPER,
    }


if __name__ == "__main__":
    main()
