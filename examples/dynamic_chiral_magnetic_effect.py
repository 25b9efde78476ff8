"""Tr g of a Weyl node and of a cubic chiral metal with on-site impurities, by mechanism.

    python examples/dynamic_chiral_magnetic_effect.py [PICTURE.png]

Only Tr g survives in the cubic groups T and O and in polycrystals. In the relaxation-time approximation skew scattering
and side jumps have none, so that the paper finds the intrinsic part alone, at every frequency. Nonlocal collisions have
one of the same order (docs/complete_theory.md).

- An isotropic Weyl node, H = χħv k·σ, with impurities that do not act on its spin: w δr = χ πnV² e×e'/ħk for unit
  vectors e, e' of p, p', and 1/τ = 2πnV²ν/3ħ, so that g_nl/g_int = ½/(1 − iωτ) whatever V, n, v, χ and the level.
- The cubic Kramers-Weyl lattice (point group O), V on its site in Born approximation, against the level; and at one
  level against ωτ.
"""

from __future__ import annotations

import sys

import jax.numpy as jnp
import numpy as np

import jaxkin as jk

SIGMA = np.array([[[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]])
LEVEL = -1.6  # eV
DISORDER = 0.01  # eV², impurities per cell times V²
PARTS = {"intrinsic": "#2471a3", "nonlocal": "#c0392b", "total": "black"}
ZERO = ("skew", "side_jump", "gaussian_skew")


def impurity(model: jk.BlochModel) -> jk.PointImpurity:
    """V = 1 eV on both spins of the site."""
    return jk.PointImpurity(1.0, [0, 1], DISORDER / float(model.state_volume), order="born")


def traces(response: jk.GyrotropicResponse) -> dict[str, np.ndarray]:
    """Tr g of each part in e²/2πħ."""
    quantum = jk.units.ELEMENTARY_CHARGE / (2 * np.pi * jk.units.HBAR * 1e-12)  # S, as ħ is in eV ps
    return {name: estimate.mean / quantum for name, estimate in response.trace().items()}


def main(*arguments: str, n: int = 10, levels: int = 27, frequencies: int = 49) -> dict[str, float]:
    """Print where the trace changes sign; return what the tests compare."""
    weyl = jk.KdotP(lambda k: jnp.tensordot(k, jnp.asarray(SIGMA), axes=1), ((-1, 1),) * 3)
    node = jk.fermi_surface(weyl, 0.3, sampler=jk.Lines(n), replicas=2)
    scattered = jk.gyrotropic_response(node, jk.PointImpurity(1.0, [0, 1], 0.01, order="born"), [0.0], "exact")
    of_node = traces(scattered)
    ratio = float(np.real(of_node["nonlocal"][0] / of_node["intrinsic"][0]))
    print(f"Weyl node: nonlocal/intrinsic = {ratio:.4f} at ω = 0, exactly 1/2")

    model = jk.models.get("kramers-weyl-o")
    mu = np.linspace(-3.1, -0.5, levels)
    found = []
    for level in mu:
        surface = jk.fermi_surface(model, float(level), sampler=jk.Lines(n), replicas=2)
        found.append(traces(jk.gyrotropic_response(surface, impurity(model), [0.0], "exact")))
    static = {name: np.array([one[name][0].imag for one in found]) for name in found[0]}
    change = _zeros(mu, static["total"])
    print("Kramers-Weyl lattice: Tr g at ω = 0 changes sign at " + ", ".join(f"{x:.2f}" for x in change) + " eV")

    surface = jk.fermi_surface(model, LEVEL, sampler=jk.Lines(n), replicas=2)
    phase = np.geomspace(1e-2, 1e2, frequencies)
    tau = float(jk.gyrotropic_response(surface, impurity(model), [0.0], "exact").tau.mean)
    response = jk.gyrotropic_response(surface, impurity(model), phase / (2 * np.pi * tau), "exact")
    spectrum = traces(response)
    excess = np.abs(spectrum["nonlocal"] / spectrum["intrinsic"])
    takeover = float(np.exp(np.interp(0.0, -np.log(excess), np.log(phase))))
    print(
        f"at {LEVEL} eV |nonlocal/intrinsic| = {excess[0]:.3f} at ω = 0; "
        f"the intrinsic part is larger from ωτ = {takeover:.2f}"
    )
    for path in arguments:
        _draw(mu, static, phase, spectrum, change, path)
    largest = np.abs(static["intrinsic"]).max()
    return {
        "weyl_ratio": ratio,
        "sign_changes": len(change),
        "first_change": float(change[0]) if len(change) else float("nan"),
        "takeover": takeover,
        "low": float(excess[0]),
        "high": float(excess[-1] * phase[-1] / excess[0]),
        "others": float(max(np.abs(static[name]).max() for name in ZERO) / largest),
    }


def _zeros(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Where y changes sign, by lines between the points."""
    at = np.flatnonzero(np.sign(y[1:]) != np.sign(y[:-1]))
    return x[at] - y[at] * (x[at + 1] - x[at]) / (y[at + 1] - y[at])


def _draw(mu: np.ndarray, static: dict, phase: np.ndarray, spectrum: dict, change: np.ndarray, path: str) -> None:
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for name, colour in PARTS.items():
        left.plot(mu, static[name], "o-", ms=3, color=colour, label=name)
        right.loglog(phase, np.abs(spectrum[name]), color=colour, label=name)
    left.axhline(0, color="0.7", lw=1)
    for x in change:
        left.axvline(x, color="0.7", lw=1, ls="--")
    left.set(
        xlabel="Fermi level (eV)",
        ylabel="Im Tr $g$ at $\\omega = 0$  ($e^2/2\\pi\\hbar$)",
        title="on-site impurities, point group O",
    )
    right.set(xlabel="$\\omega\\tau$", ylabel="|Tr $g$|  ($e^2/2\\pi\\hbar$)", title=f"Fermi level {LEVEL} eV")
    left.legend(frameon=False)
    right.legend(frameon=False)
    for axes in (left, right):
        axes.grid(alpha=0.25)
    figure.savefig(path, dpi=130)
    print(path)


if __name__ == "__main__":
    main(*sys.argv[1:])
