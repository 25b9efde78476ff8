"""Plot the bands and the orbital moment of the built-in tellurium model over those of the Wannier model.

python scripts/plot_tellurium_bands.py te_sparse_tb.dat.gz [docs/tellurium_bands.png]
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np

from jaxkin.geometry import batched_geometry
from jaxkin.hamiltonian import TightBinding, read_wannier90
from jaxkin.models.tellurium import tellurium

matplotlib.use("Agg")
import matplotlib.pyplot as plt

POINTS = {"L": [0.5, 0, 0.5], "H": [1 / 3, 1 / 3, 0.5], "A": [0, 0, 0.5], "Γ": [0, 0, 0], "K": [1 / 3, 1 / 3, 0]}
H_POINT = np.array(POINTS["H"])
WANNIER = {"color": "0.6", "lw": 3.0}
BUILT_IN = {"color": "tab:red", "lw": 1.1}


def spectrum(model: TightBinding, k: np.ndarray) -> np.ndarray:
    return np.asarray(jax.lax.map(lambda q: model.bands(q), jnp.asarray(k)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", help="te_sparse_tb.dat or te_sparse_tb.dat.gz")
    parser.add_argument("output", nargs="?", default=Path(__file__).parents[1] / "docs" / "tellurium_bands.png")
    arguments = parser.parse_args()
    pairs = [
        (read_wannier90(arguments.file), 17, WANNIER, "Wannier model, 24 orbitals"),
        (tellurium(), 11, BUILT_IN, "built-in, 18 orbitals"),
    ]
    dual = np.asarray(pairs[1][0].dual)
    line = np.linspace(-0.12, 0.12, 121)
    top = spectrum(pairs[0][0], H_POINT + np.outer(line, [0, 0, 1]) @ dual.T)[:, 17].max()
    figure, axes = plt.subplots(2, 2, figsize=(8, 5.8), layout="constrained")
    for model, valence, style, label in pairs:
        zero = top if valence == 17 else 0.0
        bands_along_path(axes[0, 0], model, zero, style, label)
        for axis, direction in ((axes[0, 1], [0, 0, 1]), (axes[1, 0], [0, 1, 0])):
            k = H_POINT + np.outer(line, direction) @ dual.T
            axis.plot(line, 1e3 * (spectrum(model, k)[:, valence - 1 : valence + 1] - zero), **style)
        inside = np.linspace(-0.072, 0.072, 96)
        k = jnp.asarray(H_POINT + np.outer(inside, [0, 0, 1]) @ dual.T)
        for band, dash in ((valence, "-"), (valence - 1, "--")):
            moment = batched_geometry(model, k, jnp.full(len(inside), band)).orbital_moment[:, 2]
            axes[1, 1].plot(inside, moment, ls=dash, label="top band" if dash == "-" else "second band", **style)
    axes[0, 0].set(ylabel="energy − valence band top (eV)", ylim=(-4, 2.2), title="bands")
    axes[0, 0].legend(loc="lower right", fontsize=8, framealpha=1)
    axes[0, 1].set(xlabel="$k_z$ from H (Å$^{-1}$)", title="two highest valence bands, along z")
    axes[1, 0].set(xlabel="$k_y$ from H (Å$^{-1}$)", title="two highest valence bands, in the plane")
    for axis in (axes[0, 1], axes[1, 0]):
        axis.set(ylabel="energy (meV)", ylim=(-420, 20))
    axes[1, 1].set(xlabel="$k_z$ from H (Å$^{-1}$)", ylabel=r"$m_z$ ($\mu_B$)", title="orbital moment")
    axes[1, 1].set(xlim=(-0.075, 0.075), xticks=[-0.06, -0.03, 0, 0.03, 0.06], ylim=(-12, 12))
    handles, labels = axes[1, 1].get_legend_handles_labels()
    axes[1, 1].legend(handles[2:], labels[2:], fontsize=8)
    for axis in axes.flat:
        axis.axhline(0, color="k", lw=0.4)
    figure.savefig(arguments.output, dpi=100, pil_kwargs={"optimize": True})


def bands_along_path(axis, model: TightBinding, zero: float, style: dict, label: str) -> None:
    corners, ticks, at = list(POINTS.values()), [0.0], 0.0
    for begin, end in itertools.pairwise(corners):
        step = np.linspace(0, 1, 60)[:, None]
        k = np.array(begin) + step * (np.array(end) - begin)
        length = float(np.linalg.norm(np.asarray(model.cartesian(k[-1] - k[0]))))
        lines = axis.plot(at + step[:, 0] * length, spectrum(model, k) - zero, **style)
        at += length
        ticks.append(at)
    lines[0].set_label(label)
    axis.set(xlim=(0, at), xticks=ticks, xticklabels=list(POINTS))
    for tick in ticks:
        axis.axvline(tick, color="k", lw=0.4)


if __name__ == "__main__":
    main()
