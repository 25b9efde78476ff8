"""A Wannier90 calculation whose ab-initio code is a tight-binding model: every file it reads and writes."""

from pathlib import Path

import numpy as np
from scipy.io import FortranFile

import jaxkin as jk

CELL = np.array([[3.0, 0.2, 0.0], [-0.4, 3.3, 0.3], [0.5, 0.0, 2.8]])
PAULI = np.array([[[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]])

STEPS = [[0, 0, 1], [0, 1, 0], [1, 0, 0], [0, 1, 1], [1, 0, 1], [1, 1, 0], [1, 1, 1], [1, -1, 0], [1, 0, -1]]


def crystal(seed: int = 3, gap: float = 6.0, lattice: np.ndarray = CELL) -> jk.TightBinding:
    """Two orbitals low, two high, with hoppings without any symmetry."""
    rng = np.random.default_rng(seed)
    steps = [(0, 0, 0), *((s * a, s * b, s * c) for a, b, c in ((1, 0, 0), (0, 1, 0), (0, 0, 1)) for s in (1, -1))]
    hop = {step: 0.12 * (rng.normal(size=(4, 4)) + 1j * rng.normal(size=(4, 4))) for step in steps}
    for step in steps:
        back = (-step[0], -step[1], -step[2])
        hop[back] = hop[step].conj().T if step != back else 0.5 * (hop[step] + hop[step].conj().T)
    hop[0, 0, 0] = hop[0, 0, 0] + np.diag([-0.5, -0.25, 0.25, 0.5]) * gap
    positions = [[0.1, 0.2, 0.0], [0.6, 0.5, 0.4], [0.3, 0.8, 0.7], [0.9, 0.1, 0.5]]
    return jk.TightBinding(lattice, steps, [hop[step] for step in steps], positions)


class Calculation:
    """Wannier functions of the lower bands of a model, projected on its first orbitals.

    Args:
        model: the crystal, whose orbitals are points.
        mesh: of k.
        bands: that the ab-initio code knows.
        functions: Wannier functions.
        frozen: bands that are in their space whole; the rest of it is what the projections like best.
        cell: lattice vector by which the first function is moved.
        steps: of the mesh to one of each pair of neighbours k ± b.
    """

    def __init__(self, model, mesh, bands=2, functions=2, frozen=None, cell=(0, 0, 0), steps=STEPS):
        self.model, self.mesh, self.bands, self.functions = model, mesh, bands, functions
        self.k = np.stack(np.meshgrid(*(np.arange(n) / n for n in mesh), indexing="ij"), axis=-1).reshape(-1, 3)
        self.tau = np.asarray(model.positions)
        self.h = np.stack([np.asarray(model.hamiltonian(k)) for k in self.k])
        self.energies, states = np.linalg.eigh(self.h)
        rng = np.random.default_rng(5)
        self.states = states[:, :, :bands] * np.exp(2j * np.pi * rng.random((len(self.k), 1, bands)))
        self.energies = self.energies[:, :bands]
        self.steps = np.concatenate([steps, np.negative(steps)])
        moved = np.rint(self.k * mesh)[:, None] + self.steps
        self.cells = np.floor(moved / mesh + 1e-9).astype(int)
        self.neighbours = np.ravel_multi_index(np.moveaxis(np.rint(moved).astype(int) % mesh, -1, 0), mesh)
        self.wannier = np.stack([self._smooth(k, u, frozen) for k, u in zip(self.k, self.states, strict=True)])
        self.cell, self.at_home = np.asarray(cell), self.wannier.copy()
        self.wannier[:, :, 0] *= np.exp(-2j * np.pi * self.k @ self.cell)[:, None]

    def _smooth(self, k, u, frozen):
        trial = (u.conj() * np.exp(-2j * np.pi * self.tau @ k)[:, None]).T[:, : self.functions]
        if frozen is not None:
            kept = np.zeros((self.bands, self.functions), complex)
            kept[:frozen, :frozen] = np.eye(frozen)
            rest = trial.copy()
            rest[:frozen] = 0
            left, _, _ = np.linalg.svd(rest, full_matrices=False)
            kept[:, frozen:] = left[:, : self.functions - frozen]
            trial = kept @ kept.conj().T @ trial
        left, _, right = np.linalg.svd(trial, full_matrices=False)
        return left @ right

    @property
    def around(self):
        """|u⟩ of all bands at every k + b, (K, B, orbitals, bands)."""
        phases = np.exp(-2j * np.pi * self.cells @ self.tau.T)
        return phases[..., None] * self.states[self.neighbours]

    @property
    def overlaps(self):
        return self.states.conj().swapaxes(1, 2)[:, None] @ self.around

    def centres(self, overlaps):
        b = (self.steps / self.mesh) @ (2 * np.pi * np.linalg.inv(np.asarray(self.model.lattice)).T)
        lengths = np.round(np.linalg.norm(b, axis=1), 8)
        shells = [b[lengths == length] for length in np.unique(lengths)]
        squares = np.stack([(s[:, :, None] * s[:, None, :]).sum(axis=0).ravel() for s in shells], axis=1)
        weights = np.linalg.lstsq(squares, np.eye(3).ravel(), rcond=1e-8)[0][
            np.searchsorted(np.unique(lengths), lengths)
        ]
        v, total = self.at_home, np.zeros((self.functions, 3))
        total[0] = self.cell @ np.asarray(self.model.lattice)  # where logarithms would be on another branch
        for n, (w, step) in enumerate(zip(weights, b, strict=True)):
            s = np.einsum("kin,kij,kjn->kn", v.conj(), overlaps[:, n], v[self.neighbours[:, n]])
            total -= w * np.mean(np.imag(np.log(s)), axis=0)[:, None] * step
        return total

    def write(self, folder: Path, seed: str = "x", formatted: bool = False) -> Path:
        """All files; the path of the checkpoint."""
        overlaps, count, each = self.overlaps, len(self.k), len(self.steps)
        nb, n = self.bands, self.functions
        with (folder / f"{seed}.eig").open("w") as file:
            for k, row in enumerate(self.energies):
                file.writelines(f"{b + 1:5d}{k + 1:5d}{e:22.15f}\n" for b, e in enumerate(row))
        with (folder / f"{seed}.mmn").open("w") as file:
            file.write(f"made by a test\n{nb} {count} {each}\n")
            for k in range(count):
                for b in range(each):
                    file.write(f"{k + 1} {self.neighbours[k, b] + 1} {' '.join(map(str, self.cells[k, b]))}\n")
                    file.writelines(f"{x.real:.17e} {x.imag:.17e}\n" for x in overlaps[k, b].T.ravel())
        chk = folder / (f"{seed}.chk.fmt" if formatted else f"{seed}.chk")
        lattice = np.asarray(self.model.lattice)
        disentangled = nb != n
        items = [np.int32(nb), np.int32(0), np.zeros(0, np.int32), lattice.T, 2 * np.pi * np.linalg.inv(lattice)]
        items += [np.int32(count), np.array(self.mesh, np.int32), self.k, np.int32(each), np.int32(n), "postwann"]
        items += [np.int32(disentangled)]
        if disentangled:
            items += [0.0, np.ones((count, nb), np.int32), np.full(count, nb, np.int32), self.wannier.swapaxes(1, 2)]
        u = np.tile(np.eye(n, dtype=complex), (count, 1, 1)) if disentangled else self.wannier
        items += [u.swapaxes(1, 2), np.zeros((count, each, n, n), complex), self.centres(overlaps), np.ones(n)]
        _write(chk, ["written by a test", *items], formatted, text=20)
        ends = self.around
        displaced = ends.conj().swapaxes(2, 3)[:, None] @ (self.h[:, None] @ ends)[:, :, None]  # [k, b₂, b₁]
        displaced = displaced.reshape(-1, nb, nb)
        _write(
            folder / f"{seed}.uHu", ["a test", np.array([nb, count, each], np.int32), *displaced], formatted, text=60
        )
        if len(self.tau) == 4:
            sigma = [self.states[k].conj().T @ np.kron(np.eye(2), PAULI) @ self.states[k] for k in range(count)]
            row, column = np.tril_indices(nb)
            packed = [np.ascontiguousarray(s[:, column, row].T) for s in sigma]
            _write(folder / f"{seed}.spn", ["a test", np.array([nb, count], np.int32), *packed], formatted, text=60)
        return chk


def _write(path: Path, items: list, formatted: bool, text: int) -> None:
    if formatted:
        with path.open("w") as file:
            for item in items:
                if isinstance(item, str):
                    file.write(f"{item}\n")
                    continue
                array = np.atleast_1d(item).ravel()
                if np.iscomplexobj(array):
                    file.writelines(f"{x.real:.17e} {x.imag:.17e}\n" for x in array)
                elif array.size:
                    width = {9: 9, 3: 3}.get(array.size, 3 if array.dtype == float and array.size % 3 == 0 else 1)
                    rows = array.reshape(-1, width)
                    file.writelines(" ".join(repr(x.item()) for x in row) + "\n" for row in rows)
        return
    with FortranFile(path, "w") as file:
        for item in items:
            file.write_record(np.frombuffer(item.ljust(text).encode(), np.uint8) if isinstance(item, str) else item)
