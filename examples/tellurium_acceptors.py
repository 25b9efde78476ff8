"""Magnetization by a current in p-type tellurium with charged acceptors, by mechanism, against the density of holes.

    python examples/tellurium_acceptors.py te_tb.dat.gz [PICTURE.png]

The file is a Wannier model with spin-orbit coupling, spins in turn (↑↓↑↓), 18 bands filled. As many singly charged
acceptors as holes scatter these, screened by them. Elastic scattering never leaves its energy, so that of

    g(n, T) = ∫dε (−f⁰'(ε−μ)) g_ε(n, λ),    σ likewise,

each g_ε is a problem at T = 0: a few surfaces below the top of the valence band serve all densities n and temperatures
T, which differ in the Fermi level μ, the screening length λ, λ⁻² ∝ ∫dε (−f⁰') ν(ε), and the weights of the energies.
What is done is kept beside the picture (.json) and not computed again.
"""

from __future__ import annotations

import json
import sys
from itertools import product
from pathlib import Path

import numpy as np
from scipy.special import expit

import jaxkin as jk
from jaxkin.disorder.potentials import COULOMB
from jaxkin.response.observables import gauss, rotatory_power

FILLED = 18
DENSITIES = (1e16, 1e17, 1e18, 1e19)  # holes, cm⁻³
TEMPERATURES = (10.0, 77.0, 300.0)  # K
DEPTHS = np.geomspace(1.5e-3, 0.3, 8)  # eV below the top
FINE = np.geomspace(1e-2 * DEPTHS[0], DEPTHS[-1], 20_000)
LINES, REPLICAS = 6, 2
DIELECTRIC, CORE = 30.0, 4.0  # of the lattice, an order of magnitude; Å
CURRENT = 1e7  # A/m² along the c axis: 1000 A/cm²
TERAHERTZ = 1.0
MINORITY = 1.3  # times more holes than acceptors: electrons, which are not sampled here, count too
NEGLIGIBLE = 3e-3  # of a conductivity ∝ ε³: energies that add less are left out
PARTS = ("intrinsic", "skew", "side_jump", "nonlocal", "gaussian_skew", "total")
COLOURS = dict(zip(PARTS, ("#1b6ca8", "#c0392b", "#e0a100", "#2f9e6e", "#8e5bb5", "#222222"), strict=True))
WARMTH = dict(zip(TEMPERATURES, ("#1b6ca8", "#8e5bb5", "#c0392b"), strict=True))

Samples = dict[str, np.ndarray]


def with_spin(file: str) -> jk.TightBinding:
    """The model, whose orbitals are ↑ and ↓ in turn: σ acts on each pair."""
    pauli = np.array([[[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]])
    return jk.read_wannier90(file, spin=np.kron(np.eye(jk.read_wannier90(file).size // 2), pauli))


def weights(factor: np.ndarray, power: float) -> np.ndarray:
    """What y at each of the DEPTHS adds to ∫dε factor(ε) y, the factor on FINE, where y/ε^power is linear in ln ε."""
    shares = np.array([np.interp(np.log(FINE), np.log(DEPTHS), one) for one in np.eye(len(DEPTHS))])
    return np.trapezoid(shares * factor * FINE**power, FINE, axis=1) / DEPTHS**power


def at_energy(surface: jk.Surface, density: float, length: float) -> dict[str, list[float]]:
    """Im χ_zz by mechanism and of either moment, σ_zz, and Re g_zz at a THz, of one energy, replica by replica."""
    acceptors = jk.IonisedImpurities([-1], DIELECTRIC, density=-density, length=length, core=CORE, order="third")
    response = jk.gyrotropic_response(surface, acceptors, [0.0, TERAHERTZ])
    found = {name: part.samples[:, 0, 2, 2].imag for name, part in response.chi.items()}
    for kind in ("orbital", "spin"):
        found[kind] = response.of_moment(kind).chi["intrinsic"].samples[:, 0, 2, 2].imag
    found |= {f"g {name}": part.samples[:, 1, 2, 2].real for name, part in response.g.items()}
    found["sigma"] = response.conductivity.sigma["drude"].samples[:, 0, 2, 2].real
    return {name: np.asarray(samples).tolist() for name, samples in found.items()}


def averaged(one: dict[int, dict[str, list[float]]], weight: np.ndarray) -> Samples:
    """Thermal averages: μ₀M_z in gauss of the current, rotation in rad/m, σ_zz in S/cm."""
    names = next(iter(one.values()))
    total = {name: sum(weight[i] * np.array(part[name]) for i, part in one.items()) for name in names}
    made = {name: gauss(total[name] * CURRENT / total["sigma"]) for name in (*PARTS, "orbital", "spin")}
    for name in PARTS:
        g = total[f"g {name}"][:, None, None] * np.diag([0, 0, 1.0])
        made[f"rotation {name}"] = rotatory_power(g, TERAHERTZ)
    return made | {"sigma": 0.01 * total["sigma"]}


def main(
    file: str,
    picture: str | None = None,
    densities: tuple[float, ...] = DENSITIES,
    temperatures: tuple[float, ...] = TEMPERATURES,
) -> dict[tuple[float, float], dict[str, jk.Estimate]]:
    """Print and draw μ₀M by mechanism; return it, by density and temperature."""
    model = with_spin(file)
    store = Path(picture).with_suffix(".json") if picture else None
    known = json.loads(store.read_text()) if store and store.exists() else {}

    def kept(name: str, make):
        if name not in known:
            known[name] = make()
            if store:
                store.write_text(json.dumps(known))
        return known[name]

    pairs = list(product(temperatures, densities))
    top = kept("top", lambda: float(jk.band_edges(model).highest[FILLED - 1]))
    written = [f"{n:g} cm^-3 holes" for _, n in pairs]
    levels = kept(
        f"levels {pairs}",
        lambda: [float(one) for one in jk.fermi_levels(model, written, [t for t, _ in pairs], filled=FILLED)],
    )
    surfaces = [None] * len(DEPTHS)

    def surface(i: int) -> jk.Surface:
        if surfaces[i] is None:
            surfaces[i] = jk.fermi_surface(model, top - DEPTHS[i], 0.0, jk.Lines(LINES), REPLICAS)
        return surfaces[i]

    states = [kept(f"states {i}", lambda i=i: float(surface(i).density_of_states().mean)) for i in range(len(DEPTHS))]
    results = {}
    for (kelvin, density), level in zip(pairs, levels, strict=True):
        width = jk.units.BOLTZMANN * kelvin
        empty = expit((top - level - FINE) / width)  # states at these depths
        spread = empty * (1 - empty) / width  # −f⁰'
        holes = 1e24 * float(weights(empty, 0.5) @ states)
        if holes > MINORITY * density:
            print(f"{density:g} cm⁻³, {kelvin:g} K: {holes:.2g} holes and electrons across the gap, left out")
            continue
        length = float((4 * np.pi * COULOMB / DIELECTRIC * (weights(spread, 0.5) @ states)) ** -0.5)
        weight, each = weights(spread, 3.0), {}
        adds = weight * DEPTHS**3
        for i in np.flatnonzero(adds > NEGLIGIBLE * adds.sum()).tolist():
            made = f"{density:g} {kelvin:g} {i}"
            each[i] = kept(made, lambda i=i, n=density * 1e-24, length=length: at_energy(surface(i), n, length))
        found = {name: jk.Estimate(samples) for name, samples in averaged(each, weight).items()}
        results[density, kelvin] = found
        print(
            f"{density:g} cm⁻³, {kelvin:g} K: μ {1e3 * (top - level):.2f} meV below the top, λ = {length:.0f} Å, "
            f"{holes:.3g} holes of the energies used"
        )
        print(f"  σ = {found['sigma']} S/cm; rotation at 1 THz {found['rotation total']} rad/m")
        print("  μ₀M (G): " + ", ".join(f"{name} {found[name]}" for name in (*PARTS, "orbital", "spin")), flush=True)
    if picture:
        _draw(results, densities, temperatures, picture)
    return results


def _draw(results: dict, densities: tuple[float, ...], temperatures: tuple[float, ...], path: str) -> None:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 3, figsize=(12.5, 7.6), layout="constrained")

    def curve(ax, kelvin: float, name: str, **style) -> None:
        there = np.array([n for n in densities if (n, kelvin) in results])
        found = [results[n, kelvin][name] for n in there]
        mean, error = (np.array([getattr(one, kind) for one in found], float) for kind in ("mean", "stderr"))
        low = np.minimum(error, 0.9 * np.abs(mean))  # on a logarithmic axis
        ax.errorbar(there, np.abs(mean), [low, error], capsize=2, lw=1.2, **style)
        plus = mean > 0
        ax.plot(there[plus], mean[plus], "o", color=style["color"], ms=6)
        ax.plot(there[~plus], -mean[~plus], "o", mfc="white", color=style["color"], ms=6)

    for ax, kelvin in zip(axes[0], temperatures, strict=False):
        for name in PARTS:
            curve(ax, kelvin, name, color=COLOURS[name], label=name.replace("_", " "))
        ax.set_title(f"{kelvin:g} K, acceptors alone")
    axes[0, 0].set_ylabel("|μ₀M| along c (G) at 1000 A/cm²")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=6, frameon=False)
    for kelvin in temperatures:
        colour = WARMTH.get(kelvin, "#222222")
        curve(axes[1, 0], kelvin, "orbital", color=colour, label=f"orbital, {kelvin:g} K")
        curve(axes[1, 0], kelvin, "spin", color=colour, ls="--", label=f"spin, {kelvin:g} K")
        both = [(n, results[n, kelvin]) for n in densities if (n, kelvin) in results]
        for_each = {n: (one["total"] - one["intrinsic"]) / one["intrinsic"] for n, one in both}
        mean, error = (
            np.array([float(getattr(one, kind)) for one in for_each.values()]) for kind in ("mean", "stderr")
        )
        axes[1, 1].errorbar(
            list(for_each), np.abs(mean), error, fmt="o-", color=colour, capsize=2, label=f"{kelvin:g} K"
        )
        curve(axes[1, 2], kelvin, "rotation total", color=colour, label=f"{kelvin:g} K")
    axes[1, 1].axhline(1, color="#888888", lw=0.8)
    for ax, label in zip(
        axes[1], ("|μ₀M| (G), intrinsic parts", "|extrinsic / intrinsic|", "|rotation at 1 THz| (rad/m)"), strict=True
    ):
        ax.set_ylabel(label)
        ax.legend(frameon=False, fontsize=8)
    for ax in axes.flat:
        ax.set_xscale("log")
        ax.set_yscale("log")
        ax.set_xlabel("holes (cm⁻³)")
        ax.grid(alpha=0.25)
    figure.suptitle("filled: along the current, open: against it", fontsize=10)
    figure.savefig(path, dpi=130)
    print(path)


if __name__ == "__main__":
    main(*sys.argv[1:3])
