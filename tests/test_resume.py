"""Runs that are killed, stopped, or cannot write: nothing that is finished is lost, and one line says what happened."""

import errno
import gc
import json
import os
import pkgutil
import shutil
import signal
import subprocess
import sys
import time
import weakref
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
from test_cli import run

import jaxkin as jk
from jaxkin.cli import stop
from jaxkin.cli.aside import Aside
from jaxkin.cli.record import Record
from jaxkin.output import dataset as ds
from jaxkin.output import folder as folders

SCAN = ["run", "massive-dirac-2d", "--set", "fermi_level=[0.25, 0.27, 0.3]", "--set", "n=4", "--set", "replicas=2"]
SCAN += ["--set", "frequency=[0.0, 1.0]", "--set", "hall=false"]


def result(out: Path):
    """All numbers of a folder; times are no results."""
    document, data = json.loads((out / "result.json").read_text()), ds.load(out / "result.nc")
    for one in (document, *document.get("points", [])):
        del one["seconds"]
    return document, {name: data[name].values.tobytes() for name in data.variables}


@pytest.fixture(scope="module", autouse=True)
def no_pictures():
    """They take most of the time of runs as small as these; tests/test_cli.py has them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jaxkin.output.pictures.draw", lambda *_: [])
        yield


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """An undisturbed run."""
    out = tmp_path_factory.mktemp("finished") / "out"
    run(*SCAN, "--out", out, "--json")
    return out


@pytest.fixture
def begun(finished, tmp_path):
    """The same run as it is when it was killed after two points, writing the third."""
    shutil.copytree(finished / "points", tmp_path / "out" / "points")
    (tmp_path / "out" / "points" / "00002.nc").rename(tmp_path / "out" / "points" / ".00002.nc.1.part")
    return tmp_path / "out"


@pytest.mark.parametrize("kills", [3, pytest.param(100, marks=pytest.mark.slow)])
def test_killed_at_random_moments(tmp_path, kills):
    worker = Path(__file__).with_name("killed_runs.py")
    done = subprocess.run(
        [sys.executable, worker, tmp_path, str(kills), "1"], capture_output=True, text=True, timeout=1800
    )
    assert done.returncode == 0, done.stderr
    counted = json.loads(done.stdout)
    assert counted["kills"] >= kills and counted["the same result"] >= 1


def wait_for(file, process):
    while not file.exists():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.02)


def test_a_run_that_is_killed_and_one_that_is_stopped_go_on(finished, tmp_path):
    """SIGKILL, then SIGTERM, then the rest: bitwise the undisturbed result."""
    out = tmp_path / "out"

    def start():
        command = [sys.executable, "-m", "jaxkin", *SCAN, "--out", str(out), "--resume"]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

    with start() as process:
        wait_for(out / "points" / "00000.nc", process)
        process.kill()
    with start() as process:
        wait_for(out / "points" / "00001.nc", process)
        process.send_signal(signal.SIGTERM)
        said = process.stderr.read()
    if process.returncode == 0:
        pytest.skip("the machine was too quick")
    assert process.returncode == 143, said
    assert said.startswith("jaxkin: interrupted after ") and said.count("\n") == 1
    assert f"kept in {out}; go on with: jaxkin run massive-dirac-2d" in said and said.endswith("--resume\n")
    text, _ = run(*SCAN, "--out", out, "--resume")
    assert "μ = 0.25 eV, T = 0 K: kept from before" in text
    assert result(out) == result(finished)


def test_resume_takes_what_is_there(begun, finished):
    """Without SOURCE the configuration is the stored one; what was half written is tidied away."""
    run("run", "--resume", "--out", begun)
    assert result(begun) == result(finished)
    assert sorted(one.name for one in (begun / "points").iterdir()) == [
        *(f"0000{n}.nc" for n in range(3)),
        "config.toml",
    ]
    assert not (begun / folders.LOCK).exists()


def test_a_damaged_point_is_computed_again(begun, finished):
    damaged = begun / "points" / "00000.nc"
    data = bytearray(damaged.read_bytes())
    data[len(data) // 2] ^= 4
    damaged.write_bytes(data)
    text, _ = run("run", "--resume", "--out", begun)
    assert "00000.nc: not a NetCDF file of jaxkin (it is damaged" in text.replace("\n", " ")
    assert result(begun)[1] == result(finished)[1]


WEYL = ["run", "weyl", "--set", "fermi_level=0.1", "--set", "replicas=4", "--set", "hall=false", "--set", "n=4"]
QUANTUM = ["run", "haldane", "--set", "solver=quantum", "--set", "fermi_level=-2.0", "--set", "replicas=4"]
QUANTUM += ["--set", "frequency=0.0", "--set", "quantum.grid=8", "--set", "quantum.sea=false", "--set"]
QUANTUM += ['impurities=[{kind="point",strength=1.0,orbitals=[0,1],density=0.1,order="born"}]']
LONG_POINTS = {
    "replicas at T = 0": (WEYL, "jaxkin.surface.plan.Plan._replica", 4),
    "replicas at T > 0": ([*WEYL, "--set", "temperature=300.0"], "jaxkin.surface.plan.Plan._replica", 4),
    "shells": (WEYL, "jaxkin.response.transport.compiled_response", 4),
    "shifts": (QUANTUM, "jaxkin.quantum.gyrotropic.Run.parts", 4),
}


@pytest.mark.parametrize("case", LONG_POINTS)
def test_a_long_point_keeps_its_pieces(tmp_path, monkeypatch, case):
    """Stopped in the third piece it goes on with that one, and ends to the last bit as if it had not been."""
    arguments, name, pieces = LONG_POINTS[case]
    run(*arguments, "--out", tmp_path / "undisturbed", "--json")
    owner, _, function = name.rpartition(".")
    made, stop_at = [], [3]
    work = pkgutil.resolve_name(name)

    def counted(*given, **options):
        if len(made) + 1 == stop_at[0]:
            raise KeyboardInterrupt
        made.append(work(*given, **options))
        return made[-1]

    monkeypatch.setattr(pkgutil.resolve_name(owner), function, counted)
    monkeypatch.setattr("jaxkin.shelf.LONG", 0.0)
    out = tmp_path / "out"
    run(*arguments, "--out", out, "--json", code=130)
    assert len(made) == 2 and (out / "points" / "aside").is_dir()
    stop_at[0] = 0
    run(*arguments, "--out", out, "--resume", "--json")
    assert len(made) == pieces
    assert result(out) == result(tmp_path / "undisturbed")
    assert not (out / "points" / "aside").exists()


def test_pieces_of_another_run_are_not_taken(tmp_path, monkeypatch):
    """Nor damaged ones, nor any through a link; without --resume all are made anew."""
    shelf = Aside(tmp_path / "aside")
    shelf.put("shell-a/1", {"x": np.arange(3.0)})
    shelf.put("sampled-a/1", {"x": np.arange(4.0)})
    shelf.put("shell-b/1", {"x": np.arange(5.0)})  # the point of a is over
    assert shelf.take("shell-a/1") is None and len(shelf.take("sampled-a/1")["x"]) == 4
    file = tmp_path / "aside" / "shell-b" / "1.npz"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 4
    file.write_bytes(data)
    assert shelf.take("shell-b/1") is None
    (tmp_path / "linked").symlink_to(tmp_path / "elsewhere")
    Aside(tmp_path / "linked").put("shell-a/1", {"x": np.arange(3.0)})
    assert not (tmp_path / "elsewhere").exists()
    monkeypatch.setattr("jaxkin.shelf.LONG", 0.0)
    out = tmp_path / "out"
    Aside(out / "points" / "aside").put("sampled-a/1", {"x": np.arange(4.0)})
    run(*WEYL, "--out", out, "--json")
    assert not (out / "points" / "aside").exists()


def test_another_configuration_is_refused_by_key(begun):
    _, error = run(*SCAN, "--set", "tau=1.0", "--set", "seed=3", "--out", begun, "--resume", code=1)
    assert error.startswith("jaxkin: --resume: surface.seed, disorder.tau differ from the run in")
    assert error.count("\n") == 1


def test_a_run_that_has_not_ended_is_not_overwritten(begun):
    _, error = run(*SCAN, "--out", begun, code=1)
    assert "holds 2 of 3 points of a run that has not ended; go on with --resume" in error and error.count("\n") == 1
    assert (begun / "points" / "00001.nc").exists()


def test_a_finished_run_is_replaced_with_a_word(finished, tmp_path):
    """Named are the settings that differ; the same run again says nothing, and its log counts the points."""
    out = tmp_path / "out"
    shutil.copytree(finished, out)
    text, _ = run(*SCAN, "--out", out)
    assert "replaces" not in text and [f"\n{n} of 3: μ = " in f"\n{text}" for n in (1, 2, 3, 4)] == [True] * 3 + [False]
    text, _ = run(*SCAN, "--set", "tau=1.0", "--out", out)
    assert "holds a finished run with other disorder.tau: this one replaces it" in text.replace("\n", " ")


@pytest.mark.parametrize("swallowed", [None, jk.FileFormatError, ValueError])
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_in_the_middle_of_a_point(begun, finished, monkeypatch, number, status, swallowed):
    """It comes after the file is there and before the run knows of it; a library may make an error of it."""
    read = Record.read.__func__

    def interrupted(cls, path):
        if path.name == "00002.nc":
            monkeypatch.undo()
            try:
                os.kill(os.getpid(), number)
                time.sleep(0.1)
            except KeyboardInterrupt:
                if swallowed is None:
                    raise
                raise swallowed("it cannot be read") from None
        return read(cls, path)

    monkeypatch.setattr(Record, "read", classmethod(interrupted))
    _, error = run("run", "--resume", "--out", begun, "--json", code=status)
    assert "interrupted after 3 of 3 points" in error
    assert result(begun) == result(finished)


def test_resuming_nothing_is_one_line(tmp_path):
    _, error = run("run", "--resume", "--out", tmp_path / "nowhere", code=1)
    assert "there is no run in" in error and error.count("\n") == 1 and not (tmp_path / "nowhere").exists()


def test_all_points_are_there_before_the_run_is_read_again(finished, tmp_path, monkeypatch):
    shutil.copytree(finished, tmp_path / "out")

    def interrupted(*_):
        raise stop.Stopped("", signal.SIGINT)

    monkeypatch.setattr("jaxkin.cli.study.prepare", interrupted)
    _, error = run("run", "--resume", "--out", tmp_path / "out", code=130)
    assert "interrupted; the 3 points of before are kept in" in error and "go on with: jaxkin run" in error


STARTING = """
import os, signal, sys, weakref
from jaxkin.cli import app

class Thing:
    pass

@app.app.command
def start():
    thing = Thing()
    kept = weakref.ref(thing, lambda _: os.kill(os.getpid(), signal.SIGINT))
    del thing
    print("went on")

signal.signal(signal.SIGINT, signal.default_int_handler)  # it is ignored in what a shell starts in the background
sys.argv = ["jaxkin", "start"]
app.main()
"""


def test_ctrl_c_is_heard_where_python_drops_exceptions():
    done = subprocess.run([sys.executable, "-c", STARTING], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "jaxkin: interrupted.\n")


COMPUTING = """
import os, signal, sys, threading
from pathlib import Path
import jax, jax.numpy as jnp, killed_runs
from jaxkin.cli import app
from jaxkin.hamiltonian.linear import solve

class Computing(killed_runs.Cheap):
    def run(self, progress, done, share, kept, shelf):
        done(killed_runs.Point(0, self.places[0]))
        solved, a = jax.jit(jax.vmap(solve)), jnp.eye(24) + jnp.zeros((4096, 1, 1)) + 0j
        threading.Timer(1.0, lambda: os.kill(os.getpid(), signal.SIGTERM)).start()
        while True:
            [solved(a + x, a) for x in range(4)][-1].block_until_ready()

@app.app.command
def start():
    killed_runs.life(Path("out"), Computing)

sys.argv = ["jaxkin", "start"]
app.main()
"""


def test_a_signal_while_compiled_code_works_in_other_threads(tmp_path):
    """The exit code is the signal's: nothing is tidied up beneath them."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    command = [sys.executable, "-c", COMPUTING]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 143, done.stderr
    assert done.stderr.count("\n") == 1 and "interrupted after 1 of 10 points; what was computed is kept" in done.stderr


ENDLESS = """
import sys
from pathlib import Path
import jax, killed_runs

class Endless(killed_runs.Cheap):
    def run(self, progress, done, share, kept, shelf):
        done(killed_runs.Point(0, self.places[0]))
        Path("begun").touch()
        jax.jit(lambda x: jax.lax.while_loop(lambda x: x > 0, lambda x: 0.5 * x + 1, x))(1.0).block_until_ready()

killed_runs.life(Path("out"), Endless)
"""


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_that_compiled_code_does_not_hear(tmp_path, number, status):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    command = [sys.executable, "-c", ENDLESS]
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True) as process:
        wait_for(tmp_path / "begun", process)
        time.sleep(1.0)  # it is compiled
        process.send_signal(number)
        try:
            _, said = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == status
    assert "interrupted after 1 of 10 points; what was computed is kept in out; go on with: jaxkin" in said
    assert len(json.loads((tmp_path / "out" / "result.json").read_text())["g"]) == 2


def test_a_signal_ends_the_process_though_results_cannot_be_made(tmp_path):
    """Whatever goes wrong with them; what was finished is on disk as before."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    fault = "def dataset(self, *_):\n        raise AttributeError('no g')\n    def run"
    command = [sys.executable, "-c", ENDLESS.replace("def run", fault)]
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True) as process:
        wait_for(tmp_path / "begun", process)
        time.sleep(1.0)
        process.send_signal(signal.SIGTERM)
        try:
            _, said = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 143 and "interrupted; its results were not written (no g)" in said
    assert (tmp_path / "out" / "points" / "00000.nc").exists()


def test_progress_raises_what_a_callback_has_swallowed(monkeypatch):
    """Python cannot raise out of the callback of a weak reference; it says nothing of it either."""

    class Thing:
        pass

    monkeypatch.setattr(sys, "unraisablehook", lambda dropped: pytest.fail(f"{dropped} is printed"))
    with stop.stoppable(lambda *_: None) as progress:
        thing = Thing()
        kept = weakref.ref(thing, lambda _: (os.kill(os.getpid(), signal.SIGTERM), time.sleep(0.1)))
        del thing
        assert kept() is None
        with pytest.raises(stop.Stopped) as caught:
            progress(1, 2, "work")
    assert caught.value.status == 143


@pytest.mark.parametrize("circle", [False, True])
def test_what_a_signal_left_half_made_says_nothing(monkeypatch, circle):
    """The destructor of a file that was not opened yet fails, when the exception that holds it is gone."""

    class File:
        def __init__(self):
            self.me = self if circle else None
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.1)
            self.writable = True

        def __del__(self):
            finished.append(self.writable)

    finished, dropped = [], []
    monkeypatch.setattr(sys, "unraisablehook", lambda one: dropped.append(one.exc_type))
    with pytest.raises(stop.Stopped), stop.stoppable(lambda *_: None):
        try:
            File()
        except KeyboardInterrupt as first:
            raise first from None
    gc.collect()
    assert not dropped and not finished
    broken = type("Broken", (), {"__del__": lambda self: self.writable})
    with stop.stoppable(lambda *_: None):
        broken()
    assert dropped == [AttributeError]


def test_two_runs_in_one_folder(begun):
    with folders.Folder(begun):
        _, error = run("run", "--resume", "--out", begun, code=1)
    assert f"process {os.getpid()} on " in error and "is writing there" in error and error.count("\n") == 1


def test_a_lock_of_a_dead_process_blocks_nobody(tmp_path):
    (tmp_path / folders.LOCK).write_text("process 1 on nowhere")
    folders.Folder(tmp_path).close()
    assert not (tmp_path / folders.LOCK).exists()


def test_links_are_not_followed(begun, finished, tmp_path):
    """A result's name that is a link is replaced; a link in place of the folder of points is refused."""
    outside = tmp_path / "precious.json"
    outside.write_text("precious")
    (begun / "result.json").symlink_to(outside)
    run("run", "--resume", "--out", begun)
    assert outside.read_text() == "precious" and not (begun / "result.json").is_symlink()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "points").symlink_to(finished / "points")
    _, error = run(*SCAN, "--out", tmp_path / "other", code=1)
    assert "points: is a link" in error and error.count("\n") == 1
    assert len(list((finished / "points").iterdir())) == 4


@pytest.mark.parametrize("where", ["file", "file/below", "locked"])
def test_a_folder_that_cannot_be_written_is_refused_before_the_work(tmp_path, where, monkeypatch):
    (tmp_path / "file").write_text("")
    (tmp_path / "locked").mkdir(mode=0o500)
    if where == "locked" and os.geteuid() == 0:
        pytest.skip("root writes everywhere")
    monkeypatch.setattr("jaxkin.cli.study.prepare", lambda *_: pytest.fail("work has begun"))
    _, error = run(*SCAN, "--out", tmp_path / where, code=1)
    assert f"--out {tmp_path / where}: cannot be written to" in error and error.count("\n") == 1


def test_a_full_disk_is_one_line(begun, monkeypatch):
    """It becomes full at the third point; what was there before stays."""
    (begun / "result.json").write_text("earlier")

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(folders.os, "fsync", full)
    _, error = run("run", "--resume", "--out", begun, code=1)
    assert "No space left on device" in error and "go on with --resume" in error and error.count("\n") == 1
    assert (begun / "result.json").read_text() == "earlier"
    assert not list(begun.rglob(f"*{folders.PART}"))


@contextmanager
def failing(output):
    """A page that no longer takes what is written to it; with what is left in it, it does not close without error."""
    if output == "pipe":
        reading, output = os.pipe()
        os.close(reading)
    page = open(output, "w")  # noqa: PTH123, SIM115
    try:
        yield page
    finally:
        with suppress(OSError):
            page.close()


@pytest.mark.parametrize("output", ["pipe", "/dev/full"])
@pytest.mark.parametrize("form", [["--json"], []], ids=["json", "tables"])
def test_standard_output_that_fails_loses_nothing(finished, begun, output, form):
    if output != "pipe" and not Path(output).exists():
        pytest.skip(f"no {output}")
    code = int(output != "pipe")  # a reader that has seen enough is no error
    with failing(output) as page:
        error = run("run", "--resume", "--out", begun, *form, code=code, out=page)[1]
    assert error == "" if not code else "standard output: No space left on device; the results are in" in error
    assert result(begun) == result(finished)


def test_without_a_folder_a_lost_output_ends_the_run():
    with failing("pipe") as page:
        error = run(*SCAN, code=1, out=page)[1]
    assert "Broken pipe" in error and "--out DIR" in error and error.count("\n") == 1


@pytest.mark.parametrize("file", ["result.nc", "result.json"])
def test_the_same_numbers_from_a_result(finished, tmp_path, file):
    run("run", "--from", finished / file, "--out", tmp_path / "again")
    assert result(tmp_path / "again") == result(finished)
    _, error = run("run", "weyl", "--from", finished / file, code=1)
    assert "leave out SOURCE" in error


def test_results_say_what_computed_them(finished):
    document, data = json.loads((finished / "result.json").read_text()), ds.load(finished / "result.nc")
    for key in ("jaxkin_version", "jax_version", "numpy_version", "python_version", "device"):
        assert document["versions"][key] == data.attrs[key]
    assert document["seed"] == data.attrs["seed"] == 0
    assert document["error_budget"]["relative_stderr"] > 0
    assert data.sigma_parts.sel(sigma_mechanism="total").values[0, 0].tobytes() == data.sigma.values[0, 0].tobytes()


def damage(data: bytes, rng) -> bytes:
    """Bits flipped, an end cut off, a piece zeroed or repeated."""
    kind, some = rng.integers(4), bytearray(data)
    at, length = int(rng.integers(len(data))), int(rng.integers(1, 200))
    if kind == 0:
        for place in rng.integers(len(data), size=rng.integers(1, 9)):
            some[place] ^= 1 << int(rng.integers(8))
    elif kind == 1:
        del some[at:]
    elif kind == 2:
        some[at : at + length] = bytes(len(some[at : at + length]))
    else:
        some[at:at] = some[at : at + length]
    return bytes(some)


@pytest.mark.parametrize("count", [60, pytest.param(5000, marks=pytest.mark.slow)])
def test_damaged_files_are_one_line_or_the_same_numbers(finished, tmp_path, count):
    """What is read in spite of damage (to the digest itself, or to nothing) is the whole truth."""
    whole, rng, path = (finished / "result.nc").read_bytes(), np.random.default_rng(0), tmp_path / "damaged.nc"
    exact, refused = ds.load(finished / "result.nc"), 0
    damaged = [one for one in (damage(whole, rng) for _ in range(count)) if one != whole]  # zeros may be zeroed
    for one in damaged:
        path.write_bytes(one)
        try:
            found = ds.load(path)
        except jk.JaxkinError as error:
            assert "\n" not in str(error) and len(str(error)) < 400
            refused += 1
        else:
            assert all(found[name].values.tobytes() == exact[name].values.tobytes() for name in exact.variables)
    assert len(damaged) > 0.8 * count and refused > 0.98 * len(damaged)


def test_verify(monkeypatch):
    """The table and the exit code; the closed forms themselves are tests of their own."""
    from jaxkin.cli import verify

    text, _ = run("verify")
    assert text.count("pass") == 13 and "FAIL" not in text
    wrong = verify.Check("wrong", "S", 1.0, 1e-4, 1.1)
    monkeypatch.setattr(verify, "GROUPS", (lambda: iter([wrong]),))
    text, error = run("verify", code=1)
    assert "FAIL" in text and "1 of 1 closed forms are not met" in error
    assert not verify.Check("unknown", "", float("nan"), 0.0, 1.0).passed
