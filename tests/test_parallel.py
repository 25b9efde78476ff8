"""Several processes: the same numbers as one, and one line where something fails."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import jaxkin as jk
from jaxkin.errors import JaxkinError
from jaxkin.parallel import Share, cluster, launcher
from jaxkin.response.joined import joined

ROUNDING = 1e-12
"""Relative to the largest component; measured: 3e-13, in standard errors that are zero but for rounding."""
QUICK = ["--set", "fermi_level=-1.5", "--set", "n=6", "--set", "replicas=4", "--set", "frequency=[0.0, 1.0]", "--json"]


def command(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "jaxkin", *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "JAX_PLATFORMS": "cpu", **environment},  # one GPU cannot serve two
    )


def assert_same(one, other, path=""):
    """Equal to rounding, but for the times."""
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one.keys() - {"seconds"}:
            assert_same(one[key], other[key], f"{path}.{key}")
    elif isinstance(one, str) or (isinstance(one, list) and one and isinstance(one[0], str)):
        assert one == other, path
    else:
        one, other = np.asarray(one, float), np.asarray(other, float)
        np.testing.assert_allclose(other, one, ROUNDING, ROUNDING * np.abs(one).max(initial=0), err_msg=path)


@pytest.fixture(scope="module")
def one_process():
    done = command("run", "kramers-weyl-d4", *QUICK)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_two_processes_give_what_one_gives(one_process, tmp_path):
    done = command("run", "kramers-weyl-d4", *QUICK, "--processes", "2", "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert_same(one_process, json.loads(done.stdout))
    assert json.loads((tmp_path / "result.json").read_text()) == json.loads(done.stdout)
    assert (tmp_path / "result.nc").exists()


@pytest.mark.slow
def test_processes_that_srun_started(one_process):
    def task(index):
        return {
            "SLURM_JOB_ID": str(os.getpid()),
            "SLURM_STEP_NODELIST": "localhost",
            "SLURM_NTASKS": "2",
            "SLURM_STEP_NUM_TASKS": "2",
            "SLURM_STEP_NUM_NODES": "1",
            "SLURM_PROCID": str(index),
            "SLURM_LOCALID": str(index),
        }

    done = [None, None]

    def start(index):
        done[index] = command("run", "kramers-weyl-d4", *QUICK, "--processes", "2", **task(index))

    in_threads(2, start)
    assert [one.returncode for one in done] == [0, 0], done[0].stderr + done[1].stderr
    assert_same(one_process, json.loads(done[0].stdout))
    assert done[1].stdout == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "replicas=2", "--processes", "3"], "--processes 3 share 2 replicas: raise replicas, or use fewer"),
        (["--processes", "0"], "--processes 0: at least 1 is needed"),
    ],
)
def test_errors_are_one_line(arguments, message):
    done = command("run", "kramers-weyl-d4", "--set", "n=6", *arguments)
    assert done.returncode == 1
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


def test_srun_must_agree():
    done = command("run", "kramers-weyl-d4", "--processes", "2", SLURM_STEP_NUM_TASKS="3")
    assert done.returncode == 1
    assert "--processes 2: srun or mpirun has started 3" in done.stderr


def fail_in_one(arguments):
    """Process 1 fails, or is killed, while process 0 waits for it; or process 0 has been ended by SIGTERM."""
    if arguments == ["143"]:
        os._exit(143) if not cluster.share().index else threading.Event().wait()
    if cluster.share().index:
        if arguments:
            os.kill(os.getpid(), int(arguments[0]))
        raise JaxkinError("no more of this")
    cluster.share().total(1)


def test_one_failure_ends_all(monkeypatch):
    monkeypatch.setattr(launcher, "PATIENCE", 0.5)
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    with pytest.raises(JaxkinError, match=r"^no more of this$"):
        launcher.launch(2, fail_in_one, [])
    with pytest.raises(JaxkinError, match=r"^process 1 of 2 ended without a word \(exit code -9\)"):
        launcher.launch(2, fail_in_one, ["9"])
    with pytest.raises(SystemExit, match=r"^143$"):
        launcher.launch(2, fail_in_one, ["143"])
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_all_and_keeps_what_is_finished(tmp_path, number):
    """SIGTERM to the process that started the others; SIGINT to all, as a terminal sends it."""
    arguments = ["kramers-weyl-d4", "--set", "fermi_level=[-1.5, -1.45, -1.4]", "--set", "n=4", "--set", "replicas=2"]
    start = [sys.executable, "-m", "jaxkin", "run", *arguments, "--processes", "2", "--out", str(tmp_path / "out")]
    options = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True, "start_new_session": True}
    with subprocess.Popen(start, env={**os.environ, "JAX_PLATFORMS": "cpu"}, **options) as process:
        while not (tmp_path / "out" / "points" / "00000.nc").exists():
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.02)
        (os.killpg if number == signal.SIGINT else os.kill)(process.pid, number)
        _, said = process.communicate(timeout=120)
    if process.returncode == 0:
        pytest.skip("the machine was too quick")
    assert process.returncode == 128 + number, said
    assert said.startswith("jaxkin: interrupted after ") and said.count("\n") == 1, said
    assert said.endswith("--resume\n") and "--processes 2" in said
    kept = len(list((tmp_path / "out" / "points").glob("0*.nc")))
    assert f"interrupted after {kept} of 3 points" in said


def test_every_replica_is_made_once():
    for numbers in (range(7), range(2, 9), range(5, 5)):
        parts = [Share(index, 3).of(numbers) for index in range(3)]
        assert sorted(number for part in parts for number in part) == list(numbers)
        assert all(number % 3 == index for index, part in enumerate(parts) for number in part)


def in_threads(count, function):
    """function(index) in ``count`` threads at once; their results."""
    results, errors = [None] * count, []

    def call(index):
        try:
            results[index] = function(index)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=call, args=(index,), daemon=True) for index in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=300)
    if errors:
        raise errors[0]
    return results


@pytest.fixture
def three_at_once(monkeypatch):
    """Run a function of a Share in three threads that exchange messages as processes do."""
    barrier, slots, where = threading.Barrier(3), [None] * 3, threading.local()

    def exchange(message):
        slots[where.index] = message
        barrier.wait(timeout=120)
        together = np.stack(slots)
        barrier.wait(timeout=120)
        return together

    def run(function):
        def start(index):
            where.index = index
            try:
                return function(Share(index, 3))
            except BaseException:
                barrier.abort()
                raise

        return in_threads(3, start)

    monkeypatch.setattr("jaxkin.parallel.share.process_allgather", exchange)
    return run


def test_messages_keep_order_and_digits(three_at_once):
    samples = np.random.default_rng(0).normal(size=(7, 2, 3)) / 3
    counts, nothing = np.arange(7), np.zeros((7, 0))

    def send(share):
        own = share.of(range(7))
        arrays = share.gather_all([part[own] for part in (samples * (1 + 2j), counts, nothing)], 7)
        return arrays, share.lines(["same", f"μ{share.index}"][share.index :])

    for (values, numbers, empty), lines in three_at_once(send):
        assert np.array_equal(values, samples * (1 + 2j))
        assert np.array_equal(numbers, counts)
        assert empty.shape == (7, 0)
        assert lines == ["same", "μ0", "μ1"]


@pytest.mark.filterwarnings("ignore::jaxkin.AccuracyWarning")
@pytest.mark.parametrize(
    ("name", "level", "temperature", "rtol", "replicas", "made"),
    [("kramers-weyl-d4", -1.45, 0.0, 3e-3, 3, 12), ("massive-dirac-2d", 0.3, 300.0, None, 4, 4)],
)
def test_refinement_takes_the_same_decisions(three_at_once, name, level, temperature, rtol, replicas, made):
    """More lines, then more replicas at T = 0; unequal shares at T > 0; every result of the response."""
    model = jk.models.get(name)

    def compute(share=None):
        surface = jk.fermi_surface(model, level, temperature, jk.Lines(6), replicas, rtol=rtol, share=share)
        response = jk.gyrotropic_response(surface, jk.RelaxationTime(0.6, 200.0, 1.0), [1.0])
        response = joined(response, share or Share())
        estimates = {
            **{name: estimate.map(np.imag) for name, estimate in response.g.items()},
            **response.surface.carrier_density(),
            "states": response.surface.density_of_states(),
            "skew time": response.skew_time(),
            "side jump": response.side_jump_length(),
            "mean free path": response.mean_free_path(),
        }
        return {
            "words": [response.surface.verdict, *response.warnings],
            "points": [len(response.surface), response.surface.evaluations],
            "energies": [shell.energy for shell in response.surface.shells],
            "quality": [1 + response.quality.flux, 1 + response.quality.onsager, response.quality.weight],
            **{name: estimate.samples.tolist() for name, estimate in estimates.items()},
        }

    one = compute()
    assert len(one["states"]) == made
    for other in three_at_once(compute):
        assert_same(one, other)


def test_a_thermal_t_matrix_does_not_depend_on_the_sharing(three_at_once):
    """Re G is an adaptive integral at the energies of all processes' shells; with their own it was 7e-5 off."""
    model = jk.models.get("massive-dirac-2d")
    impurity = jk.PointImpurity([[20.0, 0.0], [0.0, 5.0]], orbitals=[0, 1], density=1e-3, rtol=0.1)

    def compute(share=None):
        surface = jk.fermi_surface(model, 0.3, 300.0, jk.Lines(6), 3, share=share)
        response = jk.gyrotropic_response(surface, impurity, [0.0])
        response = joined(response, share or Share())
        tensors = {**response.transport.gyrotropic, **response.transport.conductivity}
        return {name: np.asarray(samples).view(float).tolist() for name, samples in tensors.items()}

    one = compute()
    for other in three_at_once(compute):
        assert_same(one, other)


def test_joined_saturation(three_at_once):
    """That of all processes' shells, weighted with the current each carries; a process has no points at some energies.

    Pivots are chosen among a process's own points: the same to rtol of the impurity.
    """
    strong = jk.FiniteRangeImpurity(jk.Gaussian(3.0), 100.0, 1e-3, rtol=1e-10)

    def compute(share=None):
        surface = jk.fermi_surface(jk.models.get("massive-dirac-2d"), 0.3, 300.0, jk.Lines(6), 3, share=share)
        response = joined(jk.gyrotropic_response(surface, strong), share or Share())
        quality = response.quality
        return {"words": list(response.warnings), "saturation": [quality.saturation, quality.current]}

    one = compute()
    assert 0.3 < one["saturation"][0] < 1
    for other in three_at_once(compute):
        assert other["words"] == one["words"]
        np.testing.assert_allclose(other["saturation"], one["saturation"], rtol=1e-8)
