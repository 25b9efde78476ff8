"""The chiral honeycomb stack at kT = 0.1 eV, ours and WannierBerri's, in turns on the same cores.

    JAXKIN_PEER_PYTHON=... python benchmarks/chiral_against_peer.py

K_ab = ∫(dk) v_a m_b (−f⁰') of ``jk.models.get("haldane-chiral")`` (two bands) at μ = −2.2 eV. The peer reads the
same model from a ``_tb.dat`` that is written here, with D3 and time reversal, and averages its T = 0 curve over
a mesh of Fermi levels 2.5 meV apart. Errors are relative to the largest component; ours are RMS over seeds.
The reference is our grid at n = 96, checked against the peer's finest.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np
from peer import (
    AMPERE,
    clocked,
    kme,
    peer_python,
    peer_run,
    picture,
    ratios,
    relative_error,
    thermal,
    write_tb,
)
from record import save

import jaxkin as jk

NAME = "chiral_against_peer"
LEVEL, WIDTH = -2.2, 0.1
MESH = np.arange(LEVEL - 16.5 * WIDTH, LEVEL + 16.5 * WIDTH + 1e-9, 0.0025)
SEEDS, REPLICAS = 4, 2
OURS = {
    "jaxkin grid": [jk.Grid(n) for n in (8, 12, 16, 24, 32, 48)],
    "jaxkin lines": [jk.Lines(n) for n in (8, 12, 16, 24)],
}
PEER = {
    "WannierBerri, surface": [("surface", nk) for nk in (12, 18, 24, 36, 48, 72)],
    "WannierBerri, sea": [("sea", nk) for nk in (12, 24, 48)],
}
LIMIT = 480.0
ERRORS = (1e-2, 3e-3, 1e-3, 3e-4, 1e-4)


def sampled(model: jk.TightBinding, sampler, seed: int, replicas: int = REPLICAS):
    kelvin = WIDTH / jk.units.BOLTZMANN
    return clocked(lambda: jk.fermi_surface(model, LEVEL, kelvin, sampler, replicas, seed))


def main() -> None:
    python = peer_python()
    model = jk.models.get("haldane-chiral")
    first = sampled(model, jk.Grid(16), 0)[1]
    compiling = first - sampled(model, jk.Grid(16), 0)[1]
    best = kme(sampled(model, jk.Grid(96), 1000, 4)[0])
    reference = best.mean
    rows = []
    peers = [(method, *job) for method, jobs in PEER.items() for job in jobs]
    own = [(method, sampler) for method, samplers in OURS.items() for sampler in samplers]
    for turn in range(max(len(peers), len(own))):
        if turn < len(own):
            rows.append(ours(model, *own[turn], reference))
            print(rows[-1], flush=True)
        if turn < len(peers):
            row = peer(python, model, *peers[turn], reference)
            if row is not None:
                rows.append(row)
                print(row, flush=True)
        report(rows, reference, best, compiling)


def ours(model: jk.TightBinding, method: str, sampler, reference: np.ndarray) -> dict:
    """Median time and RMS error over seeds; one more seed comes first and compiles."""
    sampled(model, sampler, 0)
    runs = [sampled(model, sampler, seed) for seed in range(1, SEEDS + 1)]
    errors = [relative_error(kme(surface).mean, reference) for surface, _, _ in runs]
    return {
        "method": method,
        "n": sampler.n,
        "replicas": REPLICAS,
        "error": float(np.sqrt(np.mean(np.square(errors)))),
        "seconds": float(np.median([seconds for _, seconds, _ in runs])),
        "cpu_seconds": float(np.median([cpu for _, _, cpu in runs])),
        "points": len(runs[0][0]),
        "evaluations": runs[0][0].evaluations,
    }


def peer(python: str, model: jk.TightBinding, method: str, form: str, nk: int, reference: np.ndarray) -> dict | None:
    with tempfile.TemporaryDirectory() as folder:
        tb = Path(folder) / "chiral_tb.dat"
        write_tb(model, tb)
        job = {"form": form, "tetra": False, "grid": {"nk": nk}, "fermi_levels": MESH.tolist()}
        answer = peer_run(python, LIMIT, tb_file=str(tb), **job)
    if answer is None:
        return None
    tensor = thermal(MESH, np.array(answer.pop("K")), LEVEL, WIDTH) / AMPERE
    return {
        "method": method,
        "n": nk,
        "error": relative_error(tensor, reference),
        "K": tensor.tolist(),
        **answer,
        "load": os.getloadavg()[0],
    }


def report(rows: list[dict], reference: np.ndarray, best: jk.Estimate, compiling: float) -> None:
    mine = [row for row in rows if row["method"].startswith("jaxkin")]
    theirs = [row for row in rows if not row["method"].startswith("jaxkin")]
    table = {}
    if mine and theirs:
        table = {clock: ratios(mine, theirs, ERRORS, clock) for clock in ("seconds", "cpu_seconds")}
    save(
        NAME,
        rows,
        reference=reference.tolist(),
        reference_stderr=float(best.stderr.max() / np.abs(reference).max()),
        compile_seconds=compiling,
        ratios=table,
    )
    names = dict.fromkeys(row["method"] for row in rows)
    curves = {name: [(row["cpu_seconds"], row["error"]) for row in rows if row["method"] == name] for name in names}
    docs = Path(__file__).parents[1] / "docs"
    picture(
        docs / "chiral_against_peer.png",
        curves,
        "chiral stack, kT = 0.1 eV",
        "processor seconds",
    )


if __name__ == "__main__":
    main()
