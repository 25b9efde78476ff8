"""The main job, stage by stage: g(ω) of p-type tellurium with one kind of impurity atom, exact collision operator.

    python benchmarks/main_job.py [points]        # 1,000,000 surface points by default

The ``te_sparse`` Wannier model (24 orbitals; the built-in tellurium where the data are not here), μ 20 meV below the
valence-band top, T = 0, one replica: V = 1 eV on the orbitals of one atom and its partners, T-matrix, 26 frequencies.
The number of lines is chosen for the number of points. What is called in tiles is compiled by a small run beforehand.
The parts of the complete theory are left out where their reduced resolvents are beyond the memory budget.

The floor of a stage is the larger of its operations at the rate of this machine's matrix products and its bytes at the
rate of a copy, both measured here. Operations counted: H and ∂H from their phases 4 × 2 R n², as R and −R go together;
8 real ones for each complex product and sum: eigenvalues 4/3 n³ of these, an eigensystem 14/3 n³, D|u⟩ 3 × 2 n²; the
rest as in the code.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from record import save, shared_data

import jaxkin as jk
from jaxkin.disorder.point import located_orbitals, located_site
from jaxkin.disorder.states import ShellStates, States, filled_size
from jaxkin.hamiltonian.spectrum import Spectrum, hamiltonians
from jaxkin.memory import limit
from jaxkin.response.shell import ShellResponse, compiled_response
from jaxkin.response.transport import FEW
from jaxkin.surface.green_rule import surface_green_function
from jaxkin.surface.pair_green import surface_pair_green
from jaxkin.surface.points import point_geometry

DEPTH = 0.020
FREQUENCIES = np.linspace(0.0, 5.0, 26)
POTENTIAL, DENSITY = 1.0, 1e-4
TWO, COMPILING = "for two impurities", "compiling, and once "
KERNELS, OPERATOR = "kernels: rate, side jump", "collision operator at 26 frequencies"
ROOT_ENERGIES = 3
"""Diagonalisations that a root takes, measured at N = 64 (tests/test_surface.py)."""


class Clock:
    """Wall and processor seconds of stages, the next beginning where the last ended."""

    def __init__(self):
        self.stages: dict[str, tuple[float, float]] = {}
        self._start()

    def _start(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def done(self, stage: str) -> None:
        wall, cpu = self.stages.get(stage, (0.0, 0.0))
        self.stages[stage] = wall + time.perf_counter() - self._wall, cpu + time.process_time() - self._cpu
        self._start()


def valence_top(model: jk.TightBinding) -> float:
    """Highest energy near H of the band below the six antibonding p bands."""
    grid = np.stack(np.meshgrid(*[np.linspace(-0.02, 0.02, 5)] * 2, np.linspace(-0.04, 0.04, 17)), axis=-1)
    k = np.array([1 / 3, 1 / 3, 0.5]) + grid.reshape(-1, 3)
    return float(Spectrum(model)(k)[:, model.size - 7].max())


def job(model: jk.TightBinding, level: float, n: int, impurity: jk.PointImpurity) -> tuple[Clock, jk.Surface, dict]:
    clock = Clock()
    stage = ["symmetry of the zone"]

    def progress(done: int, total: int, what: str) -> None:
        if what != stage[0]:
            clock.done(stage[0])
            stage[0] = what

    surface = jk.fermi_surface(model, level, sampler=jk.Lines(n), replicas=1, progress=progress)
    clock.done(stage[0])
    point_geometry(model, surface.k, surface.band, energy=surface.energy)
    clock.done("of which geometry")
    orbitals, groups = located_orbitals([located_site(site, model) for site in impurity.sites])
    surface_green_function(surface, orbitals, groups, impurity.rtol)
    clock.done("local Green function")
    surface_pair_green(surface, orbitals, groups, impurity.rtol)
    clock.done(f"{TWO}: pairs of Green functions")
    scatterer = impurity.on(surface).completed(surface)
    shell, size = surface.shells[0], filled_size(len(surface), False)
    states = ShellStates(surface, bloch=True).of(shell, size)
    clock.done("states")
    complete = 2 * 16 * size * len(scatterer.orbitals) ** 2 < limit()
    whole = states
    if complete:
        whole = ShellStates(surface, True, scatterer.orbitals).of(shell, size)
        clock.done("states once more, with reduced resolvents")
    omega = 2 * np.pi * FREQUENCIES

    def respond(stage: str, with_states: States, *options: str | int) -> ShellResponse:
        """Twice, as the size of the shell is compiled for: in a scan over impurities only the second time is spent."""
        for name in (f"{COMPILING}{stage}", stage):
            part = jax.block_until_ready(compiled_response(scatterer, with_states, omega, *options))
            clock.done(name)
        return part

    respond(KERNELS, states, "rta", "first", "paper")
    part = respond(OPERATOR, states, "exact", "first", "paper", "krylov", FEW)
    if complete:
        respond(f"{KERNELS}, all parts", whole, "rta", "first", "complete")
        part = respond(f"{OPERATOR}, all parts", whole, "exact", "first", "complete", "krylov", FEW)
    residual = float(part.measures.residual)
    return clock, surface, {"residual": residual, "g_zz": complex(part.gyrotropic["skew"][0, 2, 2]).imag}


def product_rate(size: int = 4096) -> float:
    """Flop/s of a float64 matrix product."""
    square = jnp.ones((size, size))
    return 2 * size**3 / _fastest(jax.jit(lambda a: a @ a), square)


def copy_rate(numbers: int = 2**25) -> float:
    """Bytes/s read and written."""
    return 16 * numbers / _fastest(jax.jit(lambda x: x + 1.0), jnp.ones(numbers))


def diagonalisation(model: jk.TightBinding, count: int = 4096) -> float:
    """Processor seconds of one of the model's H(k) by LAPACK's ``eigh``, at random k."""
    h = np.asarray(hamiltonians(model, np.random.default_rng(0).random((count, model.dimension))))
    times = []
    for _ in range(5):
        start = time.process_time()
        np.linalg.eigh(h)
        times.append(time.process_time() - start)
    return min(times) / count


def _fastest(function: Callable, argument: jax.Array) -> float:
    times = []
    for _ in range(6):
        start = time.perf_counter()
        function(argument).block_until_ready()
        times.append(time.perf_counter() - start)
    return min(times[1:])


def floors(model: jk.TightBinding, points: int, orbitals: int, sites: int) -> dict[str, tuple[float, float]]:
    """(operations, bytes) of the stages that grow with the number of points."""
    n, r, d = model.size, len(model.translations), orbitals
    h, vectors = 2 * r * n**2, 8 * 14 / 3 * n**3
    geometry = 4 * h + vectors + 8 * 6 * n**2
    roots = ROOT_ENERGIES * (h + 8 * 4 / 3 * n**3)
    states = 16.0 * points * 4 * n
    apply = 2 * 2 * (2 * d) ** 2  # of one column by one site: a moment and an expectation value
    return {
        "sampling the surface": (points * (roots + geometry), 2 * states),
        "of which geometry": (points * geometry, 2 * states),
        "states": (0.0, 2 * states),  # kept, or turned
        KERNELS: (points * sites * apply * 6, sites * states),
        # three columns of S, A and of both again, a dozen steps at least
        OPERATOR: (points * sites * apply * 3 * 12, 12 * 3 * 8.0 * points * 4),
    }


def main(points: int = 1_000_000) -> None:
    data = shared_data()
    model = jk.read_wannier90(data / "te_sparse_tb.dat.gz") if data else jk.models.get("tellurium")
    level = valence_top(model) - DEPTH
    centres = np.asarray(model.centres)
    atom = [int(m) for m in np.flatnonzero(np.linalg.norm(centres - centres[0], axis=1) < 0.5)]
    impurity = jk.PointImpurity(POTENTIAL, atom, DENSITY).symmetrized(model)
    start = time.perf_counter()
    few = len(job(model, level, 16, impurity)[1])
    compiling = time.perf_counter() - start
    n = round(16 * np.sqrt(points / few))
    clock, surface, checks = job(model, level, n, impurity)
    rate, copying, eigh = product_rate(), copy_rate(), diagonalisation(model)
    least = floors(model, len(surface), len(atom), len(impurity.sites))
    rows = []
    for stage, (wall, cpu) in clock.stages.items():
        row = {"stage": stage, "seconds": wall, "cpu_seconds": cpu}
        if stage in least:
            operations, moved = least[stage]
            row |= {"operations": operations, "bytes": moved, "floor_seconds": max(operations / rate, moved / copying)}
        rows.append(row)
        print(row, flush=True)
    facts = {
        "points": len(surface),
        "n": n,
        "evaluations": surface.evaluations,
        "model": "te_sparse" if data else "tellurium",
    }
    print(
        save(
            "main_job",
            rows,
            **facts,
            **checks,
            flops=rate,
            bytes_per_second=copying,
            eigh_seconds=eigh,
            first_run_seconds=compiling,
        )
    )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
