"""What a user has before the pages' first line: Wannier90 files, a spectrum, a file of TBmodels, foreign objects."""

from __future__ import annotations

import gzip
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import test_foreign_models
from scipy import constants

import jaxkin as jk

S_LEVEL, S_HOPPING, BOND = -9.0, 0.6, 2.9
"""The s orbitals below the origin of the built-in tellurium, their hopping to s and p along its bonds (eV, Å)."""
TOP = [[1 / 3, 1 / 3, 0.5 + 0.0226]]
"""Of the valence band, in reduced coordinates."""


def put(folder: Path) -> None:
    """All files, under the names that the pages use."""
    write_tb(folder / "Te_tb.dat.gz", tellurium(top=6.07))
    metal = jk.models.get("kramers-weyl-d3")
    write_tb(folder / "X_tb.dat", shifted(metal, 5.90 + 1.5))
    spectrum(folder / "spectrum.csv")
    test_foreign_models.written(folder / "X.hdf5")


def shifted(model: jk.TightBinding, energy: float) -> jk.TightBinding:
    """The model with its zero of energy moved, as a file's is anywhere."""
    steps = np.concatenate([np.zeros((1, 3), int), np.asarray(model.translations)])
    h = np.concatenate([energy * np.eye(model.size)[None], np.asarray(model.hoppings)])
    return jk.TightBinding(model.lattice, steps, h, model.positions)


def tellurium(top: float) -> jk.TightBinding:
    """The built-in model with an s shell, 24 functions, s of the three atoms, then p; the valence band's top in eV."""
    te = jk.models.get("tellurium")
    steps, lattice, atoms = np.asarray(te.translations).astype(int), np.asarray(te.lattice), np.asarray(te.centres)[::6]
    h = np.zeros((len(steps), 24, 24), complex)
    h[:, 6:, 6:] = np.asarray(te.hoppings)
    for number, step in enumerate(steps):
        for i, j in np.ndindex(3, 3):
            bond = atoms[j] - atoms[i] + step @ lattice
            length, s_i, s_j = np.linalg.norm(bond), slice(2 * i, 2 * i + 2), slice(2 * j, 2 * j + 2)
            if length < 1e-6:
                h[number, s_i, s_j] = S_LEVEL * np.eye(2)
            elif length < BOND:
                along = S_HOPPING * np.kron(bond / length, np.eye(2))
                h[number, s_i, s_j] = -S_HOPPING * np.eye(2)
                h[number, s_i, 6 + 6 * j : 12 + 6 * j], h[number, 6 + 6 * i : 12 + 6 * i, s_j] = along, -along.T
    places = np.concatenate([np.repeat(atoms, 2, axis=0), np.asarray(te.centres)]) @ np.linalg.inv(lattice)
    model = jk.TightBinding(lattice, steps, h, places)
    return shifted(model, top - model.bands(TOP)[0, 17])


def write_tb(path: Path, model: jk.TightBinding) -> None:
    """As Wannier90 writes it."""
    steps, centres = np.asarray(model.translations).astype(int), np.asarray(model.centres)
    pairs = [(i, j) for j in range(model.size) for i in range(model.size)]
    rows = ["by a test", *(" ".join(map(str, row)) for row in np.asarray(model.lattice))]
    rows += [str(model.size), str(len(steps)), " ".join(["1"] * len(steps))]
    for step, matrix in zip(steps, np.asarray(model.hoppings), strict=True):
        rows += ["", " ".join(map(str, step))]
        rows += [f"{i + 1} {j + 1} {matrix[i, j].real:.12g} {matrix[i, j].imag:.12g}" for i, j in pairs]
    for step in steps:
        rows += ["", " ".join(map(str, step))]
        for i, j in pairs:
            where = centres[i] if i == j and not step.any() else np.zeros(3)
            rows.append(f"{i + 1} {j + 1} " + " ".join(f"{x:.12g} 0.0" for x in where))
    text = ("\n".join(rows) + "\n").encode()
    path.write_bytes(gzip.compress(text, 1) if path.suffix == ".gz" else text)


def spectrum(path: Path, tau: float = 0.6) -> None:
    """Rotation and dichroism of g_zz(ω) = −i[1.6·10⁻⁴/(1−iωτ) − 6·10⁻⁵/(1−iωτ)³] S, with 1 % noise."""
    rng = np.random.default_rng(0)
    frequency = np.geomspace(0.05, 3.0, 24)
    omega = 2 * np.pi * frequency * 1e12
    drude = 1 / (1 - 1j * omega * tau * 1e-12)
    rho = 0.5 * constants.mu_0 * omega * -1j * (1.6e-4 * drude - 6e-5 * drude**3)
    degrees = rho * 180 / np.pi / 1e3  # per mm
    error = 0.01 * np.abs(degrees).max()
    measured = degrees + error * (rng.standard_normal(24) + 1j * rng.standard_normal(24))
    rows = [f"{f}, {y.real}, {error}, {y.imag}, {error}" for f, y in zip(frequency, measured, strict=True)]
    head = "frequency[THz], rotation[deg/mm], rotation_error[deg/mm], dichroism[deg/mm], dichroism_error[deg/mm]"
    path.write_text("\n".join([head, *rows]) + "\n")


def objects() -> dict:
    """Models of other programs, by the names that the pages give them; those whose program is there."""
    model = jk.models.get("haldane-chiral")
    system = SimpleNamespace(
        real_lattice=np.asarray(model.lattice),
        periodic=np.ones(3, bool),
        wannier_centers_cart=np.asarray(model.centres),
        rvec=SimpleNamespace(iRvec=np.asarray(model.translations).astype(int)),
        has_R_mat=lambda name: name == "Ham",
        get_R_mat=lambda name: np.asarray(model.hoppings),
    )
    found = {"system": system}
    try:
        import pythtb
    except ImportError:
        pass
    else:
        found["their_model"] = test_foreign_models.haldane_of(pythtb)
    try:
        import ase
    except ImportError:
        pass
    else:
        found["ase_atoms"] = ase.Atoms("CsCl", cell=4.1 * np.eye(3), scaled_positions=[[0, 0, 0], [0.5] * 3])
    return found
