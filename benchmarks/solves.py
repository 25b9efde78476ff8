"""Roots and geometry by linear solves against eigensystems, processor time a point, in turns in one run.

    python benchmarks/solves.py [points]      # 128 at n = 200 orbitals, ten times as many at n = 24

n = 24 is ``te_sparse`` 20 meV below the valence-band top (the built-in tellurium where the data are not here), n = 200
a random local model with 300 translations. Roots: lines are given, and estimates of the roots on them that are off as a
search's elements leave them; both ways get the same. Geometry: velocity, Berry curvature, and moment at the roots,
whose energies are known. "Eigensystems" are secants of eigenvalues, and one diagonalisation a point. Tiles are filled
up, which counts where points are few: at n = 200 a tile has 64.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import jax
import numpy as np
from main_job import DEPTH, valence_top
from record import save, shared_data

import jaxkin as jk
from jaxkin.hamiltonian.spectrum import Spectrum, hamiltonians
from jaxkin.hamiltonian.tiles import tile_rows
from jaxkin.surface.newton import Approach, solved_roots
from jaxkin.surface.points import kept_vectors, point_geometry
from jaxkin.surface.roots import bracketed_roots, polished_roots

ROUNDS = 3
FACES = 17
"""Of cells on a line, to see roots in."""
CELL = 0.01
"""Length of a cell on a line, in model coordinates; tolerances are relative to it."""
OFF = 5e-4
"""Of the zone's edge: how far estimates are from the roots at most."""
SEPARATE = 0.02
"""eV: roots whose band is this far from the next one; others are left to eigensystems either way."""


def random_model(n: int = 200, pairs: int = 150, seed: int = 0) -> jk.TightBinding:
    """Levels 0, 1, ... eV, and random hopping to ``pairs`` translations and back, which falls with their length."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*[np.arange(-4, 5)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    half = grid[[tuple(step) > (0, 0, 0) for step in grid]]
    steps = half[np.argsort(np.sum(half**2, axis=1), kind="stable")[:pairs]]
    size = np.exp(-np.linalg.norm(steps, axis=1))[:, None, None] * (0.3 / np.sqrt(n) + 0.5 * np.eye(n))
    hop = size * (rng.normal(size=(pairs, n, n)) + 1j * rng.normal(size=(pairs, n, n)))
    home = np.diag(np.arange(n)).astype(complex)[None]
    every = np.concatenate([home, hop, hop.conj().swapaxes(1, 2)])
    translations = np.concatenate([np.zeros((1, 3), int), steps, -steps])
    return jk.TightBinding(np.diag([4.0, 5.0, 6.0]), translations, every, rng.random((n, 3)))


def roots_of(
    model: jk.TightBinding, level: float, bands: np.ndarray, box: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray, Approach]:
    """Points of the level on lines along the third direction, their energies, and estimates of them that are off."""
    rng, spectrum, direction = np.random.default_rng(1), Spectrum(model), np.array([0, 0, 1.0])
    (low, high), t = box, np.linspace(0.0, 1.0, FACES)
    lines = np.repeat((low + (high - low) * rng.random((max(count // 2, 4), 3)))[:, None], FACES, axis=1)
    lines[..., 2] = low[2] + (high[2] - low[2]) * t
    excess = spectrum(lines.reshape(-1, 3)).reshape(*lines.shape[:2], -1)[:, :, bands] - level
    line, cell, own = np.argwhere((excess[:, :-1] < 0) != (excess[:, 1:] < 0))[:count].T
    origin, band, rows = lines[line, 0], bands[own], np.arange(len(line))
    origin[:, 2] = 0.0

    def above(t: np.ndarray, index: np.ndarray) -> np.ndarray:
        return spectrum(origin[index] + t[:, None] * direction)[np.arange(len(index)), band[index]] - level

    ends = (lines[line, cell, 2], lines[line, cell + 1, 2], excess[line, cell, own], excess[line, cell + 1, own])
    t, step = bracketed_roots(above, *ends), 1e-3
    before, at, after = (above(t + shift, rows) for shift in (-step, 0.0, step))
    slope, bend = (after - before) / (2 * step), (after - 2 * at + before) / (2 * step**2)
    k = origin + (t - at / slope)[:, None] * direction
    energies, off = spectrum(k), OFF * rng.uniform(-1, 1, len(k))
    gap = np.partition(np.abs(energies - energies[rows, band, None]), 1, axis=1)[:, 1]
    # lines that graze the surface, and bands that nearly touch, are for eigensystems either way
    chosen = (gap > SEPARATE) & (np.abs(slope) > 8 * np.abs(bend) * OFF)
    doubt = 1.5 * np.abs(slope) * OFF + SEPARATE / 4  # the first energy is of a state from elsewhere
    near = Approach(k + off[:, None] * direction, band, direction, slope + 2 * bend * off, bend, doubt)
    kept = Approach(*(x if x is direction else x[chosen] for x in near))
    return k[chosen], energies[rows, band][chosen], kept


def timed(function: Callable) -> tuple[float, float, tuple]:
    wall, cpu = time.perf_counter(), time.process_time()
    result = function()
    return time.perf_counter() - wall, time.process_time() - cpu, result


def compared(name: str, model: jk.TightBinding, level: float, bands: np.ndarray, box: np.ndarray, count: int) -> dict:
    k, energy, near = roots_of(model, level, bands, box, count)
    size, rows = len(k), np.arange(len(k))

    def roots_by_solves(spectrum: Spectrum):
        return solved_roots(spectrum, near, level, box[1] - box[0], CELL)

    def roots_by_eigenvalues(spectrum: Spectrum):
        def excess(t: np.ndarray, index: np.ndarray) -> np.ndarray:
            energies = spectrum(near.k[index] + t[:, None] * near.direction)
            return energies[np.arange(len(index)), near.band[index]] - level

        return polished_roots(excess, np.zeros(size), near.slope, near.bend, CELL)

    jobs = {
        "roots by solves": roots_by_solves,
        "roots by eigensystems": roots_by_eigenvalues,
        "hamiltonian": lambda _: jax.block_until_ready(hamiltonians(model, k)),
        "geometry by solves": lambda spectrum: point_geometry(model, k, near.band, energy=energy, spectrum=spectrum),
        "geometry by eigensystems": lambda spectrum: point_geometry(model, k, near.band, spectrum=spectrum),
    }
    times, spent, results = {job: [] for job in jobs}, {}, {}
    for number in range(ROUNDS + 1):  # the first one compiles
        for job, function in jobs.items():
            spectrum = Spectrum(model)
            wall, cpu, results[job] = timed(lambda f=function, s=spectrum: f(s))
            spent[job] = spectrum.evaluations / size
            if number:
                times[job].append((cpu, wall))
    each = {job: np.median(np.array(rounds), axis=0) / size for job, rounds in times.items()}
    (t, good), (t2, good2) = results["roots by solves"], results["roots by eigensystems"]
    both = good & good2
    solved, expected = results["geometry by solves"], results["geometry by eigensystems"]
    names = kept_vectors(model)
    agreement = {key: float(np.abs(solved[key] - expected[key]).max() / np.abs(expected[key]).max()) for key in names}
    left = Spectrum(model)(near.k + t[:, None] * near.direction)[rows, near.band] - level
    ratio = {
        what: float(each[f"{what} by eigensystems"][0] / each[f"{what} by solves"][0]) for what in ("roots", "geometry")
    }
    total = [sum(each[f"{what} by {way}"][0] for what in ("roots", "geometry")) for way in ("eigensystems", "solves")]
    return {
        "model": name,
        "rows_of_a_tile": tile_rows(model, arrays=8),
        "orbitals": model.size,
        "translations": len(model.translations),
        "points": size,
        "cpu_ms": {job: 1e3 * float(cpu) for job, (cpu, _) in each.items()},
        "wall_ms": {job: 1e3 * float(wall) for job, (_, wall) in each.items()},
        "evaluations": spent,
        "ratio": ratio | {"together": float(total[0] / total[1])},
        "roots_found": {"solves": float(good.mean()), "eigensystems": float(good2.mean())},
        "roots_differ": float(np.abs(t - t2)[both].max()),
        "energy_left": float(np.abs(left[good]).max()),
        "geometry_differs": agreement,
    }


def main(points: int = 128) -> None:
    data = shared_data()
    te = jk.read_wannier90(data / "te_sparse_tb.dat.gz") if data else jk.models.get("tellurium")
    corner = np.array([1 / 3, 1 / 3, 0.5])
    valence = np.stack([corner - np.array([0.03, 0.03, 0.06]), corner + np.array([0.03, 0.03, 0.06])])
    level = valence_top(te) - DEPTH
    zone = np.array([[0.0] * 3, [1.0] * 3])
    rows = []
    for arguments in (
        ("te_sparse" if data else "tellurium", te, level, np.array([te.size - 7]), valence, 10 * points),
        ("random", random_model(), 100.0, np.array([99, 100, 101]), zone, points),
    ):
        rows.append(compared(*arguments))
        print(rows[-1], flush=True)
    print(save("solves", rows, rounds=ROUNDS))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
