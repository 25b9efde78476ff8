"""The anomalous Hall conductivity of bcc iron against its resistivity, by mechanism, for one kind of impurity.

    python examples/iron_hall.py Fe.chk [PICTURE.png]

The file is Wannier90's checkpoint of a ferromagnet with spin-orbit coupling, its companions beside it. A substituted
atom shifts all orbitals of its site by 0.5 eV; kernels to third order in that, the exact collision operator. Every rate
is proportional to the density n of the atoms, so one surface makes the whole curve: with σ ∝ 1/n along the current,

    skew ∝ n⁻¹ ∝ σ,    intrinsic, side jump, Gaussian skew ∝ n⁰:

at low resistivity a line through the origin, at high resistivity a plateau, the intrinsic one with what impurities add
at its order. The intrinsic part is integrated over all filled states, where the curvature of iron is a few spikes: its
error is the largest on the picture.
"""

from __future__ import annotations

import sys

import numpy as np

import jaxkin as jk
from jaxkin.output.uncertainty import with_uncertainty

POTENTIAL = 0.5  # eV
ONE = 0.01  # of the atoms are substituted, where numbers are printed
MOMENT_RTOL = 0.03  # of its orbital part, which needs the more
PARTS = ("intrinsic", "side_jump", "gaussian_skew", "skew")
COLOURS = dict(zip((*PARTS, "total"), ("#1b6ca8", "#e0a100", "#8e5bb5", "#c0392b", "#222222"), strict=True))


def main(file: str, picture: str | None = None, lines: int = 16) -> dict[str, float]:
    """Print σ_xy about the magnetization by mechanism, and draw it against σ_xx; return the parts in S/cm."""
    model = jk.read_wannier90(file)
    level = 17.717  # eight of eighteen bands filled, of 24³ k
    surface = jk.fermi_surface(model, level, sampler=jk.Lines(lines), replicas=4)
    moment = jk.spontaneous_magnetization(model, level, rtol=MOMENT_RTOL, pockets=surface.pockets)
    axis = moment.spin / np.linalg.norm(moment.spin)
    print(moment)
    density = ONE / float(model.cell_volume)
    impurity = jk.PointImpurity(POTENTIAL, list(range(model.size)), density, order="third")
    found = jk.conductivity(surface, impurity, solver="exact")
    hall = {
        name: part[0].real.map(lambda x: 0.01 * np.stack([x[:, 1, 2], x[:, 2, 0], x[:, 0, 1]], axis=1) @ axis)
        for name, part in found.hall.items()
    }  # S/cm
    along = found.sigma["drude"][0].real.map(lambda x: 0.01 * np.trace(x, axis1=1, axis2=2) / 3)
    print(f"{100 * ONE:g} % of the atoms: σ = {along} S/cm, resistivity {1e6 / float(along.mean):.2g} μΩ cm")
    for name in (*PARTS, "total"):
        print(f"  {name.replace('_', ' '):>14} {hall[name]} S/cm")
    if picture:
        _draw(hall, along, picture)
    return {name: float(part.mean) for name, part in hall.items()}


def _draw(hall: dict[str, jk.Estimate], along: jk.Estimate, path: str) -> None:
    import matplotlib.pyplot as plt

    figure, ax = plt.subplots(figsize=(6.4, 4.4), layout="constrained")
    scale = np.geomspace(0.003, 3, 60)  # of 1/n
    sigma = scale * float(along.mean)
    for name in PARTS:
        mean, error = float(hall[name].mean), float(hall[name].stderr)
        factor = scale if name == "skew" else np.ones_like(scale)
        label = f"{name.replace('_', ' ')}: {with_uncertainty(mean, error)} S/cm at {100 * ONE:g} %"
        ax.plot(sigma, factor * mean, color=COLOURS[name], label=label)
        ax.fill_between(sigma, factor * (mean - error), factor * (mean + error), color=COLOURS[name], alpha=0.2, lw=0)
    constant = sum((hall[name] for name in PARTS[:-1]), 0 * hall["skew"])
    total = np.array([(constant + float(one) * hall["skew"]).mean for one in scale])
    ax.plot(sigma, total, color=COLOURS["total"], lw=2, label="total")
    ax.set_xscale("log")
    ax.set_yscale("symlog", linthresh=100)
    ax.set_xlabel("$\\sigma_{xx}$ (S/cm)")
    ax.set_ylabel("Hall conductivity about the magnetization (S/cm)")
    ax.grid(alpha=0.25)
    ax.legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=130)
    print(path)


if __name__ == "__main__":
    main(*sys.argv[1:3])
