"""Skew scattering and side jump in a cubic chiral metal: zero in the relaxation-time approximation, not beyond it.

    python examples/cubic_beyond_relaxation_time.py [PICTURE.png]

The point groups T and O allow g_ab ∝ δ_ab only, and in the relaxation-time approximation the extrinsic parts of Tr g
vanish. With the exact collision operator they are of first order in w^A, and of second order in the anisotropy of the
surface (docs/beyond_relaxation_time.md). The model here shows both:

    H = k² + λ k·σ + b [k_x⁴ + k_y⁴ + k_z⁴ − (3/5) k⁴]    (λ = 0.8, μ = 1; eV and Å),

a chiral sphere with a cubic warping b; the bracket has zero mean over directions. Impurities have a Gaussian potential
of 1 Å, on-shell T-matrix. A term of first order in b would be the average over directions of a harmonic of fourth
degree in an isotropic metal, which is zero: so Tr g^sk ∝ b².
"""

from __future__ import annotations

import sys

import jax.numpy as jnp
import numpy as np

import jaxkin as jk
from jaxkin.output.uncertainty import with_uncertainty

HELICITY, LEVEL = 0.8, 1.0
WARPINGS = (0.0, 0.04, 0.08, 0.12, 0.16)  # eV Å⁴
SIGMA = np.array([[[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]])


def warped(b: float) -> jk.KdotP:
    """The chiral sphere with cubic warping ``b``."""

    def hamiltonian(k):
        square = k @ k
        scalar = square + b * (jnp.sum(k**4) - 0.6 * square**2)
        return scalar * jnp.eye(2) + HELICITY * jnp.tensordot(k, jnp.asarray(SIGMA), axes=1)

    return jk.KdotP(hamiltonian, ((-2.2, 2.2),) * 3)


def main(picture: str | None = None, n: int = 14, warpings: tuple[float, ...] = WARPINGS) -> dict[str, float]:
    """Print Tr g^sk and Tr g^sj against the warping; return what the tests compare."""
    disorder = jk.FiniteRangeImpurity(jk.Gaussian(1.0), strength=6.0, density=0.01)
    traces: dict[str, list[jk.Estimate]] = {"skew": [], "side_jump": []}
    largest_rta = 0.0
    print(f"{'b (eV Å⁴)':>10} {'points':>7} {'Im Tr g^sk (S)':>18} {'Im Tr g^sj (S)':>18} {'relaxation time':>16}")
    for b in warpings:
        surface = jk.fermi_surface(warped(b), LEVEL, sampler=jk.Lines(n), replicas=4)
        exact = jk.gyrotropic_response(surface, disorder, [0.0], solver="exact").trace()
        rta = jk.gyrotropic_response(surface, disorder, [0.0], solver="rta").trace()
        for name in traces:
            traces[name].append(exact[name].map(lambda t: np.imag(t[:, 0])))
        zero = max(float(np.abs(rta[name].mean).max()) for name in traces)
        largest_rta = max(largest_rta, zero)
        cells = " ".join(
            f"{with_uncertainty(float(traces[name][-1].mean), float(traces[name][-1].stderr)):>18}" for name in traces
        )
        print(f"{b:10.2f} {len(surface):7d} {cells} {zero:16.1e}")
    numbers = {"rta": largest_rta}
    for name, values in traces.items():
        sphere, *rest = values
        mean = np.array([float(e.mean) for e in rest])
        numbers[f"{name}_power"] = float(np.polyfit(np.log(warpings[1:]), np.log(np.abs(mean)), 1)[0])
        numbers[f"{name}_largest"] = float(mean[-1])
        numbers[f"{name}_significance"] = float(abs(mean[-1]) / rest[-1].stderr)
        numbers[f"{name}_sphere"] = float(sphere.mean)
        numbers[f"{name}_sphere_stderr"] = float(sphere.stderr)
    print(f"powers of b: skew {numbers['skew_power']:.3f}, side jump {numbers['side_jump_power']:.3f}")
    if picture:
        _draw(traces, picture)
    return numbers


def _draw(traces: dict[str, list[jk.Estimate]], path: str) -> None:
    import matplotlib.pyplot as plt

    figure, ax = plt.subplots(figsize=(6.2, 4.4), layout="constrained")
    b = np.array(WARPINGS[1:])
    for name, colour in (("skew", "#c0392b"), ("side_jump", "#e0a100")):
        mean = np.array([float(e.mean) for e in traces[name][1:]])
        error = np.array([float(e.stderr) for e in traces[name][1:]])
        ax.errorbar(b, mean, yerr=error, color=colour, marker="o", ms=5, ls="none", capsize=3)
        ax.plot(b, mean[-1] * (b / b[-1]) ** 2, color=colour, lw=1.2, label=f"{name.replace('_', ' ')}, and $b^2$")
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlabel("cubic warping $b$ (eV Å$^4$)")
    ax.set_ylabel("Im Tr $g$ (S), exact collision operator")
    ax.set_title("relaxation time: zero to rounding; sphere: zero within the error", fontsize=10)
    ax.grid(alpha=0.25)
    ax.legend(frameon=False)
    figure.savefig(path, dpi=130)
    print(path)


if __name__ == "__main__":
    main(*sys.argv[1:2])
