"""p-type tellurium with one kind of substituted atom: what the impurity itself gives for τ/τ_sk and m_kin/m_int.

    python examples/tellurium_point_impurity.py [Te_tb.dat.gz] [PICTURE.png]

The paper's estimate for p-Te, Eqs. (88)-(90), takes τ = 0.6 ps from the mobility and *assumes* τ/τ_sk = 10⁻³ to 10⁻²,
so that the kinetic moment is 0.1 to 1 of the intrinsic one. Here nothing is assumed but the impurity: a potential V,
the same on all orbitals of one Te atom, in the dilute limit and to all orders (T-matrix), with the partners of the site
that the screw axis makes of it, and the exact collision operator. Only the density is adjusted, to τ = 0.6 ps. The
Fermi level is 20 meV below the top of the valence band. Besides the paper's mechanisms the two that it leaves out are
shown, nonlocal collisions and Gaussian skew scattering (docs/complete_theory.md).

Without a file the built-in p-orbital tellurium is taken.
"""

from __future__ import annotations

import sys
import time

import numpy as np

import jaxkin as jk
from jaxkin.output.uncertainty import with_uncertainty

TAU = 0.6  # ps
DEPTH = 0.020  # eV
POTENTIALS = (-4.0, -2.0, -1.0, -0.5, 0.5, 1.0, 2.0, 4.0, 8.0)  # eV
ASSUMED = (1e-3, 1e-2)  # τ/τ_sk
PAPER = (0.1, 1.0)  # m_kin/m_int
KINETIC = ("skew", "side_jump", "nonlocal", "gaussian_skew")
COLOURS = ("#c0392b", "#e0a100", "#2471a3", "#7d3c98")


def atom_of(model: jk.TightBinding, orbital: int = 0) -> list[int]:
    """The orbitals centred within 0.5 Å of one of them."""
    centres = np.asarray(model.centres)
    return [int(m) for m in np.flatnonzero(np.linalg.norm(centres - centres[orbital], axis=1) < 0.5)]


def valence_top(model: jk.TightBinding) -> float:
    """Highest energy near H of the band below the six antibonding p bands."""
    grid = np.stack(np.meshgrid(*[np.linspace(-0.02, 0.02, 5)] * 2, np.linspace(-0.04, 0.04, 17)), axis=-1)
    k = np.array([1 / 3, 1 / 3, 0.5]) + grid.reshape(-1, 3)
    return max(float(model.bands(point)[model.size - 7]) for point in k)


def main(*arguments: str, n: int = 16, potentials: tuple[float, ...] = POTENTIALS) -> dict[str, float]:
    """Print the table over V; return what the tests and the documentation compare."""
    file = next((a for a in arguments if "dat" in a), None)
    picture = next((a for a in arguments if a.endswith(".png")), None)
    start = time.perf_counter()
    model = jk.read_wannier90(file) if file else jk.models.get("tellurium")
    level = valence_top(model) - DEPTH
    surface = jk.fermi_surface(model, level, sampler=jk.Lines(n), replicas=4)
    atom = atom_of(model)
    print(f"{len(surface)} surface points at {level:.4f} eV, {time.perf_counter() - start:.0f} s; orbitals {atom}")
    print(
        f"{'V (eV)':>7} {'n (cm^-3)':>10} {'tau/tau_sk':>10} {'a_sj (A)':>9} "
        + " ".join(f"{name:>14}" for name in KINETIC)
        + "   over intrinsic, for E and M along z"
    )
    sites = [site.orbitals for site in jk.PointImpurity(1.0, atom, 1e-4).symmetrized(model).sites]
    rows, density = [], 1e-4
    for potential in potentials:
        for _ in range(2):  # the second time with the density that gives τ
            impurity = jk.PointImpurity(potential, sites, density)
            response = jk.gyrotropic_response(surface, impurity, [0.0], solver="exact")
            density, used = density * float(response.tau.mean) / TAU, density
        chi = {name: np.real(1j * e.samples[:, 0, 2, 2]) for name, e in response.chi.items()}
        ratios = {name: jk.Estimate(chi[name] / chi["intrinsic"].mean()) for name in KINETIC}
        skew = float(response.tau.mean / response.skew_time().mean)
        rows.append((potential, skew, ratios))
        shown = [with_uncertainty(float(e.mean), float(e.stderr)) for e in ratios.values()]
        print(
            f"{potential:7.1f} {1e24 * used:10.2g} {skew:10.2g} {float(response.side_jump_length().mean):9.2g} "
            + " ".join(f"{one:>14}" for one in shown),
            flush=True,
        )
    seconds = time.perf_counter() - start
    print(f"the paper assumes tau/tau_sk = {ASSUMED[0]:g} to {ASSUMED[1]:g} and finds |skew/int| of about {PAPER}")
    print(f"{seconds:.0f} s in all")
    if picture:
        _draw(rows, picture)
    largest = {name: max((row[2][name] for row in rows), key=lambda e: abs(float(e.mean))) for name in KINETIC}
    return {
        "seconds": seconds,
        "largest_skew_ratio": max(row[1] for row in rows),
        "smallest_skew_ratio": min(row[1] for row in rows),
        "largest_kinetic_error": float(largest["skew"].stderr) / abs(float(largest["skew"].mean)),
        **{f"largest_{name}": float(estimate.mean) for name, estimate in largest.items()},
    }


def _draw(rows: list, path: str) -> None:
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    v = np.array([row[0] for row in rows])
    left.semilogy(v, [row[1] for row in rows], "o-", color="#c0392b")
    left.axhspan(*ASSUMED, color="0.9")
    left.text(0.5, 0.9, "assumed in the paper", fontsize=9, ha="center", transform=left.transAxes)
    left.set_ylabel("$\\tau/\\tau_{sk}$")
    for name, colour in zip(KINETIC, COLOURS, strict=True):
        mean, error = (np.array([float(getattr(row[2][name], what)) for row in rows]) for what in ("mean", "stderr"))
        right.errorbar(v, mean, yerr=error, marker="o", color=colour, capsize=3, label=name.replace("_", " "))
    right.axhline(0, color="0.7", lw=1)
    right.set_ylabel("$\\chi_{zz}$ relative to the intrinsic part")
    right.legend(frameon=False)
    for ax in (left, right):
        ax.set_xlabel("potential $V$ on one Te atom (eV)")
        ax.grid(alpha=0.25)
    figure.savefig(path, dpi=130)
    print(path)


if __name__ == "__main__":
    main(*sys.argv[1:])
