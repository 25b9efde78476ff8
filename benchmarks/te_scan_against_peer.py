"""Six Fermi levels of tellurium at kT = 10 meV, ours and WannierBerri's, in turns on the same cores.

    JAXKIN_PEER_PYTHON=... python benchmarks/te_scan_against_peer.py [--continue]

K_ab = ∫(dk) v_a m_b (−f⁰') of the ``te_sparse`` Wannier model at 100, 80, 60, 40, 20 and 0 meV below the
valence-band top. Four of them have a converged value (240³ points) in the reference data; errors are relative
to the largest component, and "error" is that of the worst level. Times are those of all six levels; the
peer has them in one pass over a mesh of Fermi levels, averaged with −f⁰' (its smoother's rule). It runs in its
quickest form: surface, no tetrahedra (at this temperature they gain nothing), D3 and time reversal.
"""

from __future__ import annotations

import gzip
import json
import os
import sys
import tempfile
from pathlib import Path

import numpy as np
from peer import AMPERE, clocked, earlier, kme, peer_python, peer_run, picture, ratios, relative_error, thermal
from record import save, shared_data

import jaxkin as jk

NAME = "te_scan_against_peer"
MANY = np.linspace(5.9718, 6.0718, 50)
LEVELS = (5.9718, 5.9918, 6.0118, 6.0318, 6.0518, 6.0718)
WIDTH = 0.010
MESH = np.arange(LEVELS[0] - 0.165, LEVELS[-1] + 0.1651, 0.001)
REPLICAS, SEEDS = 2, 4
OURS = {
    "jaxkin grid": [jk.Grid(n) for n in (48, 64, 80, 96, 112, 144)],
    "jaxkin lines": [jk.Lines(12), jk.Lines(24)],
}
PEER = (80, 120, 160)
LIMIT = 540.0
ERRORS = (3e-2, 1e-2, 5e-3, 3e-3)


def scanned(model: jk.TightBinding, operations, levels, sampler, seed: int) -> tuple:
    """Tensors of all levels and the evaluations, with the processor and wall seconds they took."""

    def run():
        surfaces = [
            *jk.fermi_surfaces(model, levels, WIDTH / jk.units.BOLTZMANN, sampler, REPLICAS, seed, symmetry=operations)
        ]
        return [kme(surface).mean * AMPERE for surface in surfaces], surfaces[0].evaluations

    return clocked(run)


def ours(model: jk.TightBinding, operations, sampler, expected: dict[float, np.ndarray]) -> dict:
    """One row: the six levels together; RMS error and median time over seeds, each of which has compiled before."""
    for seed in range(1, SEEDS + 1):
        scanned(model, operations, LEVELS, sampler, seed)
    runs = [scanned(model, operations, LEVELS, sampler, seed) for seed in range(1, SEEDS + 1)]
    errors = {
        mu: float(np.sqrt(np.mean([relative_error(run[0][0][LEVELS.index(mu)], k) ** 2 for run in runs])))
        for mu, k in expected.items()
    }
    return {
        "n": sampler.n,
        "replicas": REPLICAS,
        "error": max(errors.values()),
        "errors": errors,
        "seconds": float(np.median([run[1] for run in runs])),
        "cpu_seconds": float(np.median([run[2] for run in runs])),
        "evaluations": runs[0][0][1],
    }


def many(model: jk.TightBinding, operations) -> dict[str, float]:
    """Processor seconds of fifty levels over those of the middle one, medians of three in turns."""
    ratios = {}
    for sampler in (jk.Grid(64), jk.Lines(12)):
        parts = [
            [scanned(model, operations, levels, sampler, s)[2] for levels in (MANY, MANY[24:25])] for s in range(4)
        ]
        fifty, one = np.median(parts[1:], axis=0)  # the first compiles
        ratios[repr(sampler)] = float(fifty / one)
    return ratios


def main() -> None:
    data, python = shared_data(), peer_python()
    if data is None:
        sys.exit(f"{NAME}: the reference data are not here; set JAXKIN_SHARED to their folder.")
    reference = json.loads((data / "te_sparse_ref.json").read_text())["converged_internal_kT"]
    expected = {mu: np.array(k) for mu, k in zip(reference["EF_eV"], reference["K_A"], strict=True)}
    model = jk.read_wannier90(data / "te_sparse_tb.dat.gz")
    rows = earlier(NAME) if "--continue" in sys.argv else []
    operations = jk.find_symmetries(model, tolerance=1e-5)  # the peer is told, too
    turns: list[tuple] = []
    for number in range(max(len(PEER), *map(len, OURS.values()))):
        turns += [("WannierBerri, surface", nk) for nk in PEER[number : number + 1]]
        turns += [(method, one) for method, several in OURS.items() for one in several[number : number + 1]]
    for method, what in turns:
        size = what if isinstance(what, int) else what.n
        if any(row["method"] == method and row["n"] == size for row in rows):
            continue
        row = peer(python, data, what, expected) if isinstance(what, int) else ours(model, operations, what, expected)
        if row is not None:
            rows.append({"method": method, **row, "load": os.getloadavg()[0]})
            print(rows[-1], flush=True)
            report(rows, {})
    report(rows, many(model, operations))


def peer(python: str, data: Path, nk: int, expected: dict[float, np.ndarray]) -> dict | None:
    with tempfile.TemporaryDirectory() as folder:
        tb = Path(folder) / "te_tb.dat"
        tb.write_bytes(gzip.decompress((data / "te_sparse_tb.dat.gz").read_bytes()))
        job = {"form": "surface", "tetra": False, "grid": {"nk": nk}, "fermi_levels": MESH.tolist()}
        answer = peer_run(python, LIMIT, tb_file=str(tb), **job)
    if answer is None:
        return None
    tensors = np.array(answer.pop("K"))
    errors = {mu: relative_error(thermal(MESH, tensors, mu, WIDTH), k) for mu, k in expected.items()}
    return {"n": nk, "error": max(errors.values()), "errors": errors, **answer}


def report(rows: list[dict], fifty: dict[str, float]) -> None:
    mine = [row for row in rows if row["method"].startswith("jaxkin")]
    theirs = [row for row in rows if not row["method"].startswith("jaxkin")]
    table = {}
    if mine and theirs:
        table = {clock: ratios(mine, theirs, ERRORS, clock) for clock in ("seconds", "cpu_seconds")}
    save(NAME, rows, ratios=table, fifty_levels_over_one=fifty)
    names = dict.fromkeys(row["method"] for row in rows)
    curves = {name: [(row["cpu_seconds"], row["error"]) for row in rows if row["method"] == name] for name in names}
    docs = Path(__file__).parents[1] / "docs"
    picture(
        docs / "te_scan_against_peer.png",
        curves,
        "tellurium, six levels, kT = 10 meV",
        "processor seconds",
    )


if __name__ == "__main__":
    main()
