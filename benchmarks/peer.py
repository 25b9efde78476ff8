"""The peer, WannierBerri, called in a process of its own; curves of error against time, and their ratio.

The peer is GPL: it is called, never imported here. It needs a Python with ``wannierberri`` and, for its
tetrahedra and its parallel workers, ``numba``, ``pyfftw`` and ``ray``:

    python -m venv peer && peer/bin/pip install wannierberri numba pyfftw ray
    export JAXKIN_PEER_PYTHON=peer/bin/python      # this Python if not set
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from record import RESULTS
from scipy import constants

import jaxkin as jk

WORKER = Path(__file__).with_name("peer_worker.py")
AMPERE = constants.physical_constants["Bohr magneton"][0] * 1e20
"""The peer's K_ab (A) per our ∫(dk) v_a m_b δ(ε−μ) (μ_B/Å², v = ∂ε/∂k in eV Å): μ_B/Å² = 9.274e-4 A, sign included."""
D3 = ("C3z", "C2y", "TimeReversal")
"""Generators of the peer's symmetry group, those that jaxkin finds on H(k) of both models (C2x is not one)."""


def peer_python() -> str:
    """The Python that has the peer; ends the program with advice if there is none."""
    python = os.environ.get("JAXKIN_PEER_PYTHON", sys.executable)
    try:
        found = subprocess.run([python, "-c", "import wannierberri, numba"], capture_output=True, check=False)
    except OSError as error:
        sys.exit(f"JAXKIN_PEER_PYTHON={python}: {error}")
    if found.returncode:
        sys.exit(
            f"{python} has no wannierberri with numba: `pip install wannierberri numba pyfftw ray` in a virtual "
            "environment and set JAXKIN_PEER_PYTHON to its python."
        )
    return python


def peer_run(python: str, limit: float, **job) -> dict | None:
    """The worker's answer to a job, or None if it takes longer than ``limit`` seconds."""
    job.setdefault("symmetry", D3)
    try:
        done = subprocess.run(
            [python, str(WORKER)], input=json.dumps(job), capture_output=True, text=True, timeout=limit, check=False
        )
    except subprocess.TimeoutExpired:
        return None
    if done.returncode:
        raise RuntimeError(f"the peer failed: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def write_tb(model: jk.TightBinding, path: Path) -> None:
    """The model as a Wannier90 ``*_tb.dat``, all digits, with the orbital centres as its only positions."""
    steps = np.rint(np.asarray(model.translations)).astype(int)
    hoppings, n = np.asarray(model.hoppings), model.size
    centres = np.zeros((len(steps), n, n, 3))
    centres[np.flatnonzero(~steps.any(axis=1))[0], np.arange(n), np.arange(n)] = np.asarray(model.centres)
    lines = ["written by jaxkin's benchmarks"]
    lines += [" ".join(repr(float(x)) for x in row) for row in np.asarray(model.lattice)]
    lines += [str(n), str(len(steps)), " ".join("1" for _ in steps)]
    pairs = [(a, b) for b in range(n) for a in range(n)]
    for step, matrix in zip(steps, hoppings, strict=True):
        lines += ["", " ".join(map(str, step))]
        lines += [f"{a + 1} {b + 1} {float(matrix[a, b].real)!r} {float(matrix[a, b].imag)!r}" for a, b in pairs]
    for step, matrix in zip(steps, centres, strict=True):
        lines += ["", " ".join(map(str, step))]
        lines += [f"{a + 1} {b + 1} " + " ".join(f"{float(x)!r} 0.0" for x in matrix[a, b]) for a, b in pairs]
    path.write_text("\n".join(lines) + "\n")


def thermal(levels: np.ndarray, tensors: np.ndarray, mu: float, width: float) -> np.ndarray:
    """The peer's T = 0 curve on a uniform mesh of Fermi levels, averaged with −f⁰' of kT = ``width`` around ``mu``."""
    weight = 1 / np.cosh(np.clip((levels - mu) / (2 * width), -300, 300)) ** 2
    return np.tensordot(weight / weight.sum(), tensors, axes=1)


# --- our side ------------------------------------------------------------------------------------
def kme(surface: jk.Surface) -> jk.Estimate:
    """∫(dk) v_a m_b (−f⁰')."""
    return surface.integrate(surface.velocity[:, :, None] * surface.orbital_moment[:, None, :])


def clocked(function: Callable):
    """(result, wall seconds, processor seconds of all threads)."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = function()
    return result, time.perf_counter() - wall, time.process_time() - cpu


def relative_error(values: np.ndarray, reference: np.ndarray) -> float:
    """Largest deviation of any component, relative to the largest component."""
    return float(np.abs(values - reference).max() / np.abs(reference).max())


# --- curves of error against time ------------------------------------------------------------------
def envelope(points: Iterable[tuple[float, float]]) -> np.ndarray:
    """(seconds, error) of the points that no other beats in both, by rising time."""
    kept = []
    for seconds, error in sorted(points):
        if not kept or error < kept[-1][1]:
            kept.append((seconds, error))
    return np.array(kept)


def time_at(points: Iterable[tuple[float, float]], error: float) -> tuple[float, str]:
    """Seconds to reach ``error`` by log-log interpolation of the envelope, and how it was obtained.

    Beyond the points it is extrapolated from the best one by the fitted power law, or by the −2/3 of a rule
    of second order in the grid's spacing where that is steeper. Infinite for a single point that does not reach.
    """
    points = list(points)
    curve = np.log(envelope(points))
    goal = np.log(error)
    if goal >= curve[0, 1]:
        return float(np.exp(curve[0, 0])), "first point"
    if goal >= curve[-1, 1]:
        return float(np.exp(np.interp(-goal, -curve[:, 1], curve[:, 0]))), "measured"
    if len(points) < 3:
        return np.inf, "not reached"
    slope = min(power(points), -2 / 3)
    return float(np.exp(curve[-1, 0] + (goal - curve[-1, 1]) / slope)), "extrapolated"


def power(points: Iterable[tuple[float, float]]) -> float:
    """Exponent a of error ∝ seconds^a, least squares over the points."""
    x, y = np.log(np.array(sorted(points))).T
    return float(np.polyfit(x, y, 1)[0])


def ratios(ours: list[dict], peer: list[dict], errors: Iterable[float], clock: str) -> list[dict]:
    """Peer's over our time at equal error; rows have ``method``, ``error`` and the column ``clock``.

    For each error the quickest method of either side counts; a time that is not known is None.
    """
    table = []
    for error in errors:
        (mine, how, method), (theirs, by, rival) = quickest(ours, error, clock), quickest(peer, error, clock)
        row = {"error": error, "ours": mine, "by": how, "method": method, "peer": theirs, "peer_by": by}
        row |= {"peer_method": rival, "ratio": theirs / mine if np.isfinite([mine, theirs]).all() else None}
        table.append({key: None if value == np.inf else value for key, value in row.items()})
    return table


def quickest(rows: list[dict], error: float, clock: str) -> tuple[float, str, str]:
    """(time, how it was obtained, method) of the quickest method to reach ``error``."""
    times = []
    for method in dict.fromkeys(row["method"] for row in rows):
        points = [(row[clock], row["error"]) for row in rows if row["method"] == method]
        times.append((*time_at(points, error), method))
    return min(times)


def earlier(name: str) -> list[dict]:
    """Rows that an earlier run of the benchmark ``name`` saved, so that a long one can be continued."""
    paths = sorted(RESULTS.glob(f"{name}-*.json"))
    return json.loads(paths[0].read_text())["rows"] if paths else []


def picture(path: Path, curves: dict[str, list[tuple[float, float]]], title: str, xlabel: str) -> None:
    """Error against time, log-log; thick and full where the name starts with "jaxkin"."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullFormatter

    figure = Figure(figsize=(8, 4.2), layout="constrained")
    axes = figure.add_subplot(
        xscale="log", yscale="log", xlabel=xlabel, ylabel="error / largest component", title=title
    )
    for (name, points), marker in zip(curves.items(), "os^vDPX*<>", strict=False):
        x, y = zip(*sorted(points), strict=True)
        mine = name.startswith("jaxkin")
        axes.plot(x, y, marker + ("-" if mine else "--"), label=name, lw=2 if mine else 1, ms=6)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())  # or they overlap where there are two decades
    axes.grid(which="both", alpha=0.25)
    figure.legend(loc="outside right upper", fontsize=8)
    figure.savefig(path, dpi=110)
