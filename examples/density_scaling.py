"""Which part of g depends on how many impurities there are: skew ∝ 1/n, side jump and intrinsic ∝ n⁰, relative to σ.

    python examples/density_scaling.py [PICTURE.png]

Every rate is proportional to the density n of the impurities, so that τ ∝ 1/n. With σ ∝ τ,

    g_int/σ ∝ τ/τ = n⁰,    g_sk/σ ∝ τ³ w^A/τ ∝ n⁻¹,    g_sj/σ ∝ τ² w^S δr/τ ∝ n⁰:

a sample that is made cleaner shows more and more of the skew part, in the dynamic chiral magnetic effect as in the
rotation; the side jump never outgrows the band's own moment. Here for one Fermi surface of the tetragonal Kramers-Weyl
lattice with impurities that sit on a bond (and on those that the fourfold axis makes of it), the whole T-matrix and the
exact collision operator, over three decades of n. An impurity on a single site with one scalar potential would have no
skew scattering at all: there T is a number.
"""

from __future__ import annotations

import sys

import numpy as np

import jaxkin as jk
from jaxkin.output.uncertainty import with_uncertainty

DENSITIES = np.geomspace(1e-5, 1e-2, 7)  # impurities per Å³
POTENTIAL = 1.5  # eV, on both spins of two neighbouring sites
MECHANISMS = ("intrinsic", "skew", "side_jump")


def main(picture: str | None = None) -> dict[str, float]:
    """Print |g|/σ by mechanism against n with the fitted powers; return the powers."""
    model = jk.models.get("kramers-weyl-d4")
    surface = jk.fermi_surface(model, -1.2, sampler=jk.Lines(n=12), replicas=4)
    ratio = {name: [] for name in MECHANISMS}
    print(f"{'n (1/Å³)':>10} {'τ (ps)':>9} " + " ".join(f"{name:>16}" for name in MECHANISMS) + "    |g|/σ_xx in Å")
    for density in DENSITIES:
        bond = jk.PointImpurity(POTENTIAL, [0, 1, 0, 1], density, cells=[[0, 0, 0]] * 2 + [[1, 0, 0]] * 2)
        disorder = bond.symmetrized(model)
        response = jk.gyrotropic_response(surface, disorder, [0.0], solver="exact")
        sigma = np.real(response.conductivity.sigma["drude"].samples[:, 0, 0, 0])
        cells = []
        for name in MECHANISMS:
            samples = 1e10 * np.linalg.norm(response.g[name].samples[:, 0], axis=(1, 2)) / sigma
            estimate = jk.Estimate(samples)
            ratio[name].append(estimate)
            cells.append(f"{with_uncertainty(float(estimate.mean), float(estimate.stderr)):>16}")
        print(f"{density:10.1e} {float(response.tau.mean):9.3g} " + " ".join(cells))
    powers = {
        name: float(np.polyfit(np.log(DENSITIES), np.log([float(e.mean) for e in values]), 1)[0])
        for name, values in ratio.items()
    }
    print("powers of n: " + ", ".join(f"{name} {power:+.6f}" for name, power in powers.items()))
    if picture:
        _draw(ratio, powers, picture)
    return powers


def _draw(ratio: dict[str, list], powers: dict[str, float], path: str) -> None:
    import matplotlib.pyplot as plt

    figure, ax = plt.subplots(figsize=(6.2, 4.4), layout="constrained")
    for name, colour in zip(MECHANISMS, ("#1b6ca8", "#c0392b", "#e0a100"), strict=True):
        mean = np.array([float(e.mean) for e in ratio[name]])
        error = np.array([float(e.stderr) for e in ratio[name]])
        label = f"{name.replace('_', ' ')}: $n^{{{powers[name]:+.2f}}}$"
        ax.errorbar(DENSITIES, mean, yerr=error, color=colour, marker="o", ms=4, capsize=3, label=label)
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlabel("impurities per Å$^3$")
    ax.set_ylabel("$|g|/\\sigma_{xx}$ (Å)")
    ax.grid(alpha=0.25)
    ax.legend(frameon=False)
    figure.savefig(path, dpi=130)
    print(path)


if __name__ == "__main__":
    main(*sys.argv[1:2])
