"""Fit the built-in tellurium model to a Wannier model of tellurium.

The 18 p-like orbitals of the built-in model start from the p block of the Wannier model, in which the
s orbitals have been folded down at the energy of the valence band top. :func:`jaxkin.fit_bands` then fits
the energies, most of all those of the two highest valence bands near H, and with a small weight their
orbital moment and Berry curvature there.

    python scripts/fit_tellurium.py te_sparse_tb.dat.gz

prints the table of jaxkin/models/tellurium.py and the quality of the fit (half a minute on one core).
The file is the 24-orbital spinor Wannier model of tellurium in the test data of WannierBerri
(orbitals: s of the three atoms, then p_z, p_x, p_y of each, spin fastest).
"""

from __future__ import annotations

import argparse
import importlib
import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import minimize
from threadpoolctl import threadpool_limits

import jaxkin as jk
from jaxkin.geometry import batched_geometry
from jaxkin.hamiltonian import TightBinding, read_wannier90

te = importlib.import_module("jaxkin.models.tellurium")  # the module, not the function of that name

jax.config.update("jax_enable_x64", True)

FREE_NUMBERS: dict["te.Bond", int] = {  # independent bonds and how many numbers their symmetry leaves free
    (2, 2, (0, 0, 0)): 4,
    (0, 1, (0, 0, 0)): 6,
    (0, 1, (1, 0, 0)): 9,
    (0, 1, (0, 0, 1)): 6,
    (2, 2, (1, 0, 0)): 9,
    (2, 2, (0, 1, 0)): 5,
    (0, 1, (1, 0, 1)): 9,
    (2, 2, (0, 0, 1)): 2,
    (0, 1, (0, 1, 1)): 9,
}
S_BANDS, TOP = 6, 17  # bands of the file below the p bands; its highest valence band
H_POINT = np.array([1 / 3, 1 / 3, 1 / 2])
REGULARISATION = 0.3  # eV: how far a parameter may wander from the starting guess for one unit of residual


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", help="te_sparse_tb.dat or te_sparse_tb.dat.gz")
    parser.add_argument("--steps", type=int, default=40, help="Levenberg-Marquardt steps")
    arguments = parser.parse_args()
    with threadpool_limits(1):
        reference = read_wannier90(arguments.file)
        top = band_top(reference, TOP)
        start = starting_guess(reference, top)
        fitted = fit(reference, top, start, arguments.steps)
        fitted[:3] -= band_top(Family()(fitted), TOP - S_BANDS)  # on-site energies: the valence band top is 0
        print_table(fitted)
        report(reference, top, Family()(np.round(fitted, 6)))


def band_top(model: TightBinding, band: int) -> float:
    """Maximum of a band on the line through H along k_z, in eV."""
    bands = jax.jit(lambda q: model.bands(q))
    result = minimize(lambda x: -float(bands(H_POINT + np.array([0, 0, x[0]]))[band]), [0.02], method="Nelder-Mead",
                      options={"xatol": 1e-7, "fatol": 1e-12})  # fmt: skip
    return -float(result.fun)


@eqx.filter_jit
def _spectrum(model: TightBinding, k: jax.Array) -> jax.Array:
    return jax.lax.map(lambda q: model.bands(q), k)


def spectrum(model: TightBinding, k) -> np.ndarray:
    """Energies (N, n) in eV."""
    return np.asarray(_spectrum(model, jnp.asarray(k)))


class Family:
    """Tight-binding models as a linear function of the parameters (hoppings, then spin-orbit coupling)."""

    def __init__(self) -> None:
        self.count = sum(FREE_NUMBERS.values()) + 1
        whole = self.hoppings(np.zeros(self.count))[0]
        self.translations = whole
        self.basis = jnp.asarray([self.hoppings(unit)[1] for unit in np.eye(self.count)])
        self.template = TightBinding(te.LATTICE, whole, self.basis[0], np.repeat(te.ATOMS, 6, axis=0))

    @staticmethod
    def table(parameters: np.ndarray) -> dict["te.Bond", np.ndarray]:
        """The numbers of each bond."""
        ends = np.cumsum(list(FREE_NUMBERS.values()))
        return dict(zip(FREE_NUMBERS, np.split(parameters[: ends[-1]], ends[:-1]), strict=True))

    def hoppings(self, parameters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Translations and hoppings (R, 18, 18)."""
        translations, blocks = te.symmetrised_hoppings(self.table(parameters))
        return translations, te.with_spin(translations, blocks, float(parameters[-1]))

    def __call__(self, parameters) -> TightBinding:
        """The model, differentiable in its parameters."""
        hoppings = jnp.tensordot(jnp.asarray(parameters, complex), self.basis, axes=1)
        return eqx.tree_at(lambda model: model.hoppings, self.template, hoppings)


def starting_guess(reference: TightBinding, energy: float) -> np.ndarray:
    """Hoppings of the p orbitals after folding down the s orbitals at ``energy``, which becomes zero."""
    mesh = np.array(list(itertools.product(np.arange(8) / 8, repeat=3)))
    atoms = np.concatenate([np.repeat(np.arange(3), 2), np.repeat(np.arange(3), 6)])
    cells = np.array([[0, 0, 0], [1, 1, 0], [0, 0, 0]])[atoms]  # the file has atom 1 in the cell (1, 1, 0)
    phases = np.exp(2j * np.pi * mesh @ (np.asarray(reference.positions) - cells).T)
    h = phases[:, :, None] * np.asarray(jax.vmap(reference.hamiltonian)(jnp.asarray(mesh))) * phases.conj()[:, None]
    admixture = np.linalg.solve(energy * np.eye(6) - h[:, :6, :6], h[:, :6, 6:])
    effective = h[:, 6:, 6:] + h[:, 6:, :6] @ admixture - energy * np.eye(18)
    norm, states = np.linalg.eigh(np.eye(18) + admixture.conj().transpose(0, 2, 1) @ admixture)
    root = (states / np.sqrt(norm)[:, None, :]) @ states.conj().transpose(0, 2, 1)
    spatial = (root @ effective @ root)[:, ::2, ::2]
    order = [3 * atom + p for atom in range(3) for p in (1, 2, 0)]
    spatial = spatial[:, order][:, :, order]
    numbers = []
    for (i, j, step), free in FREE_NUMBERS.items():
        matrix = np.tensordot(np.exp(-2j * np.pi * mesh @ step), spatial, axes=1) / len(mesh)
        block = matrix[3 * i : 3 * i + 3, 3 * j : 3 * j + 3].real.ravel()
        vector = (np.array(step) + te.ATOMS[j] - te.ATOMS[i]) @ te.LATTICE
        shapes = [te.hopping_block(unit, vector).ravel() for unit in np.eye(free)]
        numbers.append(np.linalg.lstsq(np.array(shapes).T, block, rcond=None)[0])
    return np.append(np.concatenate(numbers), 0.316)


def near_top(count: int, seed: int) -> np.ndarray:
    """Random k in the cylinder |k_∥| < 0.1 Å⁻¹, |k_z| < 0.13 Å⁻¹ about H (reduced coordinates)."""
    rng = np.random.default_rng(seed)
    angle, radius = rng.uniform(0, 2 * np.pi, count), 0.1 * np.sqrt(rng.uniform(0, 1, count))
    offset = np.stack([radius * np.cos(angle), radius * np.sin(angle), rng.uniform(-0.13, 0.13, count)], axis=1)
    return H_POINT + offset @ te.LATTICE.T / (2 * np.pi)


def fit(reference: TightBinding, top: float, start: np.ndarray, steps: int) -> np.ndarray:
    rng = np.random.default_rng(1)
    # Energies: near H, on the lines of high symmetry where the gap is small, and all over the zone.
    line = np.linspace(0, 0.5, 9)[:, None]
    axis, edge = line * [0, 0, 1], np.array([0.5, 0, 0.5]) + line * (H_POINT - [0.5, 0, 0.5]) * 1.6
    k = np.concatenate([near_top(70, 2), axis, edge, rng.uniform(0, 1, (50, 3))])
    target = spectrum(reference, k)[:, S_BANDS:] - top
    # 1/weight in eV: 1.5 meV at the valence band top, growing away from the gap.
    depth = np.where(target < 0.2, np.maximum(-target, 0), target - 0.2)
    spread = 0.0015 + 0.12 * depth + 0.02 * (target > 0.2)
    near = np.zeros(len(k), bool)
    near[:70] = True
    spread = np.where(near[:, None], spread, 0.02 + 2 * spread)
    # Geometry: moment and Berry curvature of the two highest valence bands near H.
    points = np.concatenate(
        [H_POINT + np.outer(np.linspace(0.01, 0.07, 5), [0, 0, te.C / (2 * np.pi)]), near_top(7, 3)]
    )
    kg = jnp.asarray(np.concatenate([points, points]))
    bands = jnp.repeat(jnp.array([TOP, TOP - 1]), len(points))
    goal = batched_geometry(reference, kg, bands)
    scale_m = 0.5 + 0.2 * jnp.abs(goal.orbital_moment)
    scale_c = 5.0 + 0.2 * jnp.abs(goal.berry_curvature)

    def geometry(model):
        # One point after the other: two batched eigh at a time can lock up XLA's threads on two cores.
        found = jax.lax.map(lambda kb: batched_geometry(model, kb[0][None], kb[1][None]), (kg, bands - S_BANDS))
        return (
            (found.orbital_moment[:, 0] - goal.orbital_moment) / scale_m,
            (found.berry_curvature[:, 0] - goal.berry_curvature) / scale_c,
        )

    result = jk.fit_bands(Family(), start, k, target, spread, prior=REGULARISATION, residuals=geometry, max_steps=steps)
    print(f"# χ² = {result.chi2:.4g} for {result.degrees_of_freedom} degrees of freedom, {result.steps} steps")
    return np.array(result.values)


def print_table(parameters: np.ndarray) -> None:
    print("PARAMETERS = {")
    for (i, j, step), numbers in Family.table(parameters).items():
        print(f"    ({i}, {j}, {step}): ({', '.join(f'{x:.6f}' for x in numbers)}),")
    print(f"}}\nSPIN_ORBIT = {parameters[-1]:.6f}")


def report(reference: TightBinding, top: float, model: TightBinding) -> None:
    """Deviations from the file: energies near the valence band top, moment along k_z, zone-wide check."""
    k = jnp.asarray(near_top(600, 11))
    exact = spectrum(reference, k)[:, S_BANDS:] - top
    ours = spectrum(model, k)
    for depth in (0.05, 0.1, 0.2, 0.3):
        chosen = exact[:, 11] > -depth
        pair = (exact[:, 10:12] > -depth) & (exact[:, 10:12] < 0.1)
        error = (ours - exact)[:, 10:12][pair]
        print(f"# within {1e3 * depth:.0f} meV of the top: rms {1e3 * np.sqrt(np.mean(error**2)):.2f} meV, "
              f"worst {1e3 * np.abs(error).max():.2f} meV ({chosen.sum()} k)")  # fmt: skip
    kz = np.array([0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.07, 0.08])
    k = jnp.asarray(H_POINT + np.outer(kz, [0, 0, te.C / (2 * np.pi)]))
    for name, shift in (("top", 11), ("second", 10)):
        a = batched_geometry(model, k, jnp.full(len(kz), shift))
        b = batched_geometry(reference, k, jnp.full(len(kz), shift + S_BANDS))
        print(f"# {name} band along k_z = {kz}:")
        print("#   energy", np.round(1e3 * np.asarray(a.energy), 2), np.round(1e3 * (np.asarray(b.energy) - top), 2))
        print("#   m_z", np.round(a.orbital_moment[:, 2], 2), np.round(b.orbital_moment[:, 2], 2))
        print("#   curvature_z", np.round(a.berry_curvature[:, 2], 1), np.round(b.berry_curvature[:, 2], 1))
    grid = jnp.asarray(list(itertools.product(np.arange(18) / 18, repeat=3)))
    exact = spectrum(reference, grid)[:, S_BANDS:] - top
    ours = spectrum(model, grid)
    print("# rms of the bands on an 18³ grid in meV:", np.round(1e3 * np.sqrt(np.mean((ours - exact) ** 2, axis=0))))
    print(f"# lowest conduction band: {ours[:, 12].min():.3f}, file {exact[:, 12].min():.3f} eV")
    print(f"# states between -0.1 and 0.2 eV: {np.sum((ours > -0.1) & (ours < 0.2))}, "
          f"file {np.sum((exact > -0.1) & (exact < 0.2))}")  # fmt: skip
    for name, point in {"H": H_POINT, "A": [0, 0, 0.5], "L": [0.5, 0, 0.5], "Γ": [0, 0, 0]}.items():
        exact = np.asarray(reference.bands(jnp.asarray(point)))[S_BANDS:] - top
        print(f"# {name}:", np.round(model.bands(jnp.asarray(point))[8:16], 3), np.round(exact[8:16], 3))


if __name__ == "__main__":
    main()
