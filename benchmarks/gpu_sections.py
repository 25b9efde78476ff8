"""The sections of ``gpu_check.py``: ceilings of the machine, small matrices, geometry, operator, main job, answers.

Each is a function of a :class:`gpu_check.Report`. Nothing here needs the command line, files of results, or data.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import equinox as eqx
import jax
import jax.numpy as jnp
import main_job
import numpy as np
import scipy
from disorder_costs import sample
from gpu_check import Report

import jaxkin as jk
from jaxkin.disorder import orbital_moments
from jaxkin.disorder.amplitude import Terms
from jaxkin.disorder.factorised import FactorisedCollisions
from jaxkin.disorder.kernels import Scatterer
from jaxkin.disorder.states import States
from jaxkin.hamiltonian import eigensolvers
from jaxkin.hamiltonian.eigenpair import nearest_eigenpair
from jaxkin.hamiltonian.eigensystem import eigensystem
from jaxkin.hamiltonian.linear import solve
from jaxkin.hamiltonian.spectrum import Spectrum
from jaxkin.response.shell import compiled_response
from jaxkin.surface.points import VECTORS, point_geometry
from jaxkin.threads import in_threads

jk.precision.use_double()
ROOT = Path(__file__).resolve().parents[1]
GEOMETRY = 1e-11
"""Difference of the device's geometry from the host's, relative to the largest vector."""
ANSWERS = 1e-10
"""Difference of g, relative to its largest component."""
SEPARATE = 1e-2
"""eV: bands this far from the next one are compared; rounding grows as the square of the inverse."""
TESTS = ("eigenpair", "solved_points", "geometry", "exact_solver")
FEW_TESTS = (
    "eigenpair.py::test_spin_one_in_a_field",
    "solved_points.py::test_one_root_is_not_taken_for_two_bands",
)


def median(function: Callable, *arguments, repeat: int = 5) -> float:
    """Seconds of a call after a first one."""
    jax.block_until_ready(function(*arguments))
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        jax.block_until_ready(function(*arguments))
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def hermitian(batch: int, n: int) -> np.ndarray:
    rng = np.random.default_rng(n)
    h = rng.normal(size=(batch, n, n)) + 1j * rng.normal(size=(batch, n, n))
    return h + h.conj().swapaxes(1, 2)


def model() -> tuple[jk.TightBinding, str]:
    """te_sparse where $JAXKIN_SHARED has it, else the built-in tellurium: 24 orbitals both."""
    path = Path(os.environ.get("JAXKIN_SHARED", "")) / "te_sparse_tb.dat.gz"
    return (jk.read_wannier90(path), "te_sparse") if path.is_file() else (jk.models.get("tellurium"), "tellurium")


@contextlib.contextmanager
def on_the_host() -> Iterator[None]:
    """All of the package on the CPU, as if there were no other device."""
    cpu = jax.devices("cpu")[0]
    with (
        jax.default_device(cpu),
        mock.patch.object(jax, "default_backend", lambda: "cpu"),
        mock.patch.object(jax, "local_devices", lambda: [cpu]),
    ):
        yield


def relative(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(np.asarray(found) - expected).max() / np.abs(expected).max())


def machine(report: Report) -> None:
    """What is here, and the rates that nothing exceeds."""
    if jax.default_backend() == "cpu" and not report.small:
        raise SystemExit("no accelerator is visible to jax; the dry run on a CPU is --small")
    device = jax.devices()[0]
    query = ["nvidia-smi", "--query-gpu=name,driver_version,clocks.sm", "--format=csv,noheader"]
    try:
        card = subprocess.run(query, capture_output=True, text=True, check=False, timeout=20).stdout.strip()
    except OSError:
        card = ""
    report.row(
        device=device.device_kind,
        devices=jax.local_device_count(),
        card=card,
        memory_bytes=(device.memory_stats() or {}).get("bytes_limit"),
        cores=os.cpu_count(),
        jax=jax.__version__,
        numpy=np.__version__,
        scipy=scipy.__version__,
        equinox=eqx.__version__,
        python=platform.python_version(),
    )
    size, numbers = (512, 2**20) if report.small else (8192, 2**27)
    square = jnp.ones((size // 2, size // 2), complex)
    complex_rate = 8 * (size // 2) ** 3 / median(jax.jit(lambda z: z @ z), square)
    host = np.random.default_rng(0).normal(size=numbers)
    here = jnp.asarray(host)
    up, down = median(lambda: jax.device_put(host)), median(lambda: np.asarray(here + 0.0))
    add, few = jax.jit(lambda x: x + 1), np.ones(8)
    few_here = jnp.asarray(few)
    report.row(
        product_tflops=main_job.product_rate(size) / 1e12,
        complex_product_tflops=complex_rate / 1e12,
        copy_gb_s=main_job.copy_rate(numbers) / 1e9,
        to_device_gb_s=host.nbytes / up / 1e9,
        to_host_gb_s=host.nbytes / down / 1e9,
        launch_us=1e6 * median(lambda: add(few_here), repeat=100),
        launch_and_transfers_us=1e6 * median(lambda: np.asarray(add(few)), repeat=100),
    )


def eigen(report: Report) -> None:
    """Every eigensolver of the device against LAPACK on all cores, and how often each is wrong."""
    cases = [(24, 512), (24, 16384), (24, 65536), (33, 16384), (64, 4096), (100, 1024), (200, 512)]
    for n, batch in [(24, 64), (24, 256)] if report.small else cases:
        host = hermitian(min(batch, 2048), n)
        start = time.perf_counter()
        in_threads(np.linalg.eigh, host)
        row = {"n": n, "batch": batch, "lapack_us": 1e6 * (time.perf_counter() - start) / len(host)}
        h = jnp.asarray(np.resize(host, (batch, n, n)))
        for name, solver in _eigensolvers(n).items():
            try:
                energies, states = solver(h)
                right = np.asarray(eigensolvers._solves(h, energies, states))
                row[f"{name}_wrong"] = int(np.sum(~right))
                row[f"{name}_nan"] = int(jnp.sum(jnp.isnan(energies).any(axis=1)))
                row[f"{name}_us"] = 1e6 * median(solver, h, repeat=2) / batch
            except Exception as error:  # one that this device does not have
                row[f"{name}_error"] = repr(error)[:200]
        report.row(**row)
        mended, states = eigensolvers.batched_eigensystems(h)
        report.check(f"eigensystems, n = {n}", bool(np.all(eigensolvers._solves(h, mended, states))))


def _eigensolvers(n: int) -> dict[str, Callable]:
    """The package's own choice, and the others of an accelerator."""
    solvers = {"package": jax.jit(jax.vmap(eigensystem))}
    kinds = getattr(jax.lax.linalg, "EighImplementation", None)
    if jax.default_backend() == "cpu" or kinds is None:
        return solvers
    for name, kind in {"jacobi": kinds.JACOBI, "qr": kinds.QR}.items():
        if name == "qr" or n <= 64:

            def solver(h: jax.Array, kind=kind) -> tuple[jax.Array, jax.Array]:
                states, energies = jax.lax.linalg.eigh(h, lower=False, implementation=kind)
                return energies, states

            solvers[name] = jax.jit(solver)
    return solvers


def solves(report: Report) -> None:
    """LU factorisations with four right-hand sides, and eigenpairs by them."""
    jitted = {"xla": jax.jit(jnp.linalg.solve), "package": jax.jit(jax.vmap(solve))}
    pairs = jax.jit(jax.vmap(nearest_eigenpair))
    cases = [(24, 16384), (24, 131072), (100, 8192), (200, 2048)]
    for n, batch in [(24, 256)] if report.small else cases:
        host = hermitian(min(batch, 1024), n)
        energies, states = np.linalg.eigh(host[:256])
        gaps = np.diff(energies, axis=1)
        chosen = 1 + np.minimum(gaps[:, :-1], gaps[:, 1:]).argmax(axis=1)  # the band that is farthest from others
        rows = np.arange(len(chosen))
        near = np.resize(energies[rows, chosen] + 1e-4, batch)
        h = jnp.asarray(np.resize(np.concatenate([host[:256]] * (len(host) // 256)), (batch, n, n)))
        right = jnp.asarray(np.random.default_rng(1).normal(size=(batch, n, 4)) + 0j)
        row = {"n": n, "batch": batch}
        for name, call in jitted.items():
            residual = float(jnp.max(jnp.abs(h @ call(h, right) - right)))
            row |= {f"{name}_us": 1e6 * median(call, h, right, repeat=3) / batch, f"{name}_residual": residual}
            report.check(f"solutions by {name}, n = {n}", residual < 1e-7)
        found = pairs(h, near)
        row["eigenpair_us"] = 1e6 * median(pairs, h, near, repeat=3) / batch
        row["eigenpair_error"] = float(np.abs(np.asarray(found.energy)[:256] - energies[rows, chosen]).max())
        overlap = np.abs(np.sum(states[rows, :, chosen].conj() * np.asarray(found.state)[:256], axis=1))
        report.check(f"eigenpairs, n = {n}", row["eigenpair_error"] < 1e-10 and abs(overlap - 1).max() < 1e-10)
        report.row(**row)


def geometry(report: Report) -> None:
    """Velocity, curvature and moment on the device against the host, and how often LAPACK had to help."""
    rng, count = np.random.default_rng(0), 200 if report.small else 5000
    with on_the_host():
        same, name = model()
        k, band = rng.random((count, same.dimension)), rng.integers(0, same.size, count)
        energies = Spectrum(same)(k)
        distance = np.abs(energies - energies[np.arange(count), band, None])
        chosen = np.partition(distance, 1, axis=1)[:, 1] > SEPARATE
        k, band, energy = k[chosen], band[chosen], energies[np.arange(count), band][chosen]
        expected = point_geometry(same, k, band)
    here = model()[0]
    for way, known in (("eigensystems", None), ("solves", energy)):
        mended, spectrum = [], Spectrum(here)

        def counted(function: Callable, *arrays: np.ndarray, mended=mended) -> tuple[np.ndarray, ...]:
            mended.append(len(arrays[0]))
            return in_threads(function, *arrays)

        point_geometry(here, k, band, energy=known)  # compiled
        start = time.perf_counter()
        with mock.patch.object(eigensolvers, "in_threads", counted):
            found = point_geometry(here, k, band, energy=known, spectrum=spectrum)
        seconds = time.perf_counter() - start
        errors = {key: relative(found[key], expected[key]) for key in VECTORS}
        repairs = sum(mended) if jax.default_backend() != "cpu" else 0
        report.row(
            model=name,
            by=way,
            points=len(k),
            us=1e6 * seconds / len(k),
            evaluations=spectrum.evaluations,
            repairs=repairs,
            errors=errors,
        )
        report.check(f"geometry by {way} as on the host", max(errors.values()) < GEOMETRY)


class Sampled(Scatterer):
    """Given matrix elements on the orbitals of an impurity."""

    local: jax.Array
    slope: jax.Array
    terms: Terms

    @property
    def bloch(self) -> bool:
        return False

    @property
    def pairs(self) -> bool:
        return False

    def __call__(self, states: States) -> FactorisedCollisions:
        terms = self.terms._replace(unitary=True)  # which is traced as a leaf
        return FactorisedCollisions(states, self.local, self.slope, terms, 0.01)


def operator(report: Report) -> None:
    """One application of the collision operator for each size of tile, and the exact response at 26 frequencies."""
    count = 4000 if report.small else 1_000_000
    states, u, terms = sample(count)
    orbitals = u.shape[1]
    rate = main_job.product_rate(512 if report.small else 4096)
    floor = 4 * count * (2 * orbitals) ** 2 * 3 / rate  # two real products for each of three columns
    scatterer = Sampled(u, np.zeros((count, 3, orbitals), complex), terms)
    scatterer, states, x = jax.device_put((scatterer, states, states.velocity))
    images = []
    for power in (18, 22, 25):
        with (
            mock.patch.object(orbital_moments, "TILE_NUMBERS", {}),
            mock.patch.object(orbital_moments, "LARGEST", 2**power),
        ):
            apply = jax.jit(lambda scatterer, states, x: scatterer(states).symmetric(x))
            seconds = median(apply, scatterer, states, x, repeat=3)
            images.append(np.asarray(apply(scatterer, states, x)))
        report.row(points=count, orbitals=orbitals, tile_numbers=f"2^{power}", seconds=seconds, floor_seconds=floor)
        report.check(f"the same with tiles of 2^{power}", relative(images[-1], images[0]) < 1e-12)
    omega = jnp.linspace(0.0, 5.0, 3 if report.small else 26)
    options = (omega, "exact", "first", "complete", "krylov", 48 if report.small else 160)
    start = time.perf_counter()
    part = jax.block_until_ready(compiled_response(scatterer, states, *options))
    first, residual = time.perf_counter() - start, float(part.measures.residual)
    again = median(lambda: compiled_response(scatterer, states, *options), repeat=1)
    report.row(points=count, frequencies=len(omega), first_seconds=first, seconds=again, residual=residual)
    report.check("residual of the exact response", residual < 1e-9)


def job(report: Report) -> None:
    """The main job by stages, few points with all that compiles and then many; compilations and peak memory."""
    te, name = model()
    level, centres = main_job.valence_top(te) - main_job.DEPTH, np.asarray(te.centres)
    atom = [int(m) for m in np.flatnonzero(np.linalg.norm(centres - centres[0], axis=1) < 0.5)]
    accuracy = {"rtol": 0.3} if report.small else {}
    impurity = jk.PointImpurity(main_job.POTENTIAL, atom, main_job.DENSITY, **accuracy).symmetrized(te)
    compiled: list[float] = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, seconds, **_: compiled.append(seconds) if "backend_compile" in event else None
    )
    few, n = 0, 6 if report.small else 16
    for points in (2000,) if report.small else (2000, 200_000):
        compiled.clear()
        n = round(n * np.sqrt(points / few)) if few else n
        start = time.perf_counter()
        clock, surface, checks = main_job.job(te, level, n, impurity)
        few = len(surface)
        report.row(
            model=name,
            points=few,
            lines=n,
            seconds=time.perf_counter() - start,
            stages={stage: round(wall, 3) for stage, (wall, _) in clock.stages.items()},
            evaluations=surface.evaluations,
            compilations=len(compiled),
            compile_seconds=sum(compiled),
            peak_bytes=(jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use"),
            **checks,
        )
        report.check(f"residual at {few} points", checks["residual"] < 1e-9)


def answers(report: Report) -> None:
    """g on the device and on the CPU, in one process where JAX has both, else in another."""
    start = time.perf_counter()
    here = gyrotropic(report.small)
    seconds, both = time.perf_counter() - start, "cpu" in _platforms()
    references = {}
    if both:
        with on_the_host():
            references["this process"] = gyrotropic(report.small)
    if report.small or not both:  # the dry run tries both
        environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
        command = [sys.executable, __file__, *(["--small"] if report.small else [])]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT, check=False)
        report.check(f"the process on the CPU: {done.stderr[-500:]}", done.returncode == 0)
        if done.returncode == 0:
            references["another process"] = json.loads(done.stdout)
    for where, expected in references.items():
        differences = {name: relative(g, np.array(expected[name])) for name, g in here.items()}
        report.row(cpu_in=where, seconds=seconds, differences=differences)
        for name, difference in differences.items():
            report.check(f"g of {name} as on the CPU, in {where}", difference < ANSWERS)
    report.check("there is something to compare with", bool(references))


def _platforms() -> list[str]:
    try:
        return ["cpu"] if jax.devices("cpu") else []
    except RuntimeError:
        return []


def gyrotropic(small: bool) -> dict[str, list[float]]:
    """Every component of the parts of g of a few disorders, real and imaginary."""
    weyl, te = jk.models.get("kramers-weyl-d4"), jk.models.get("tellurium")
    surface = jk.fermi_surface(weyl, -1.5, sampler=jk.Lines(n=6), replicas=2)
    potential = [[1.0, 0.3], [0.3, -0.5]]
    sampler = jk.Lines(n=6 if small else 12)
    holes = jk.fermi_surface(te, main_job.valence_top(te) - main_job.DEPTH, sampler=sampler, replicas=1)
    cases = {
        "relaxation time": (surface, jk.RelaxationTime(1.0, 50.0, 1.0), "rta"),
        "third order": (surface, jk.PointImpurity(potential, [0, 1], 0.01, order="third"), "exact"),
        "tellurium": (holes, jk.RelaxationTime(1.0), "rta"),
    }
    if not small:
        cases |= {
            "finite range": (surface, jk.FiniteRangeImpurity(jk.Gaussian(1.0), 1.0, 0.01), "exact"),
            "T-matrix": (surface, jk.PointImpurity(potential, [0, 1], 0.01, rtol=0.1), "rta"),
            "tellurium, third order": (holes, jk.PointImpurity(1.0, [0, 1], 1e-4, order="third"), "exact"),
        }
    found = {}
    for name, (points, disorder, solver) in cases.items():
        parts = jk.gyrotropic_response(points, disorder, solver=solver).g
        samples = [np.asarray(estimate.samples).ravel() for _, estimate in sorted(parts.items())]
        found[name] = np.concatenate(samples).astype(complex).view(float).tolist()
    return found


def package(report: Report) -> None:
    """Tests of the package that reach the device and need no command line."""
    if importlib.util.find_spec("pytest") is None:
        report.check("pytest is here", False)
        return
    chosen = FEW_TESTS if report.small else [f"{name}.py" for name in TESTS]
    command = [sys.executable, "-m", "pytest", "-q", "-m", "not slow", "-p", "no:cacheprovider", "--durations=5"]
    environment = {"XLA_FLAGS": " ", **os.environ}  # tests/conftest.py has flags of its own, for a CPU
    if report.small:
        environment = dict(os.environ)
    tests = [f"tests/test_{name}" for name in chosen]
    done = subprocess.run([*command, *tests], capture_output=True, text=True, env=environment, cwd=ROOT, check=False)
    report.row(tests=tests, end=done.stdout[-1500:])
    report.check("tests of the package", done.returncode == 0)


if __name__ == "__main__":
    print(json.dumps(gyrotropic("--small" in sys.argv)))
