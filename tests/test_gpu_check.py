"""The check of an accelerator: what guards its sections, and a dry run of all of it on a CPU."""

import ast
import importlib.util
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
BENCHMARKS = ROOT / "benchmarks"
MOST = 540
"""Seconds of a run."""
FILES = 8
MISSING = ("cyclopts", "msgspec", "h5netcdf", "blackjax")
"""Packages that a machine with a GPU may lack: the command line's, and those of files."""
SECTIONS = """
import os, subprocess, sys, time

def works(report):
    report.row(small=report.small, pid=os.getpid())

def fails(report):
    report.row(number=1)
    report.check("one is two", False)

def raises(report):
    raise ValueError("of no use")

def dies(report):
    os._exit(3)

def sleeps(report):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(100)"])
    report.row(child=child.pid)
    time.sleep(100)

def stops(report):
    raise SystemExit("nothing to run on")
"""


@pytest.fixture
def check(tmp_path, monkeypatch):
    """``gpu_check`` as a module, and as that of its sections ``made_up``."""
    (tmp_path / "made_up.py").write_text(SECTIONS)
    for folder in (BENCHMARKS, tmp_path):
        monkeypatch.syspath_prepend(folder)
    spec = importlib.util.spec_from_file_location("gpu_check", BENCHMARKS / "gpu_check.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "gpu_check", module)
    spec.loader.exec_module(module)
    return module


def of(check, names, limit=20.0, total=60.0, least=0.1):
    documents, begin = [], time.monotonic()
    sections = tuple(check.Section(name, limit if name == "sleeps" else 20.0, least) for name in names)
    ok = check.run(sections, "made_up", True, total, documents.append)
    assert [document["section"] for document in documents] == list(names)
    return ok, documents, time.monotonic() - begin


def test_a_section_that_fails_is_recorded_and_the_next_goes_on(check):
    ok, (first, failed, raised, died, last), _ = of(check, ("works", "fails", "raises", "dies", "works"))
    assert not ok
    assert first["ok"]
    assert first["rows"][0]["small"]
    assert (failed["ok"], failed["failed"], failed["rows"]) == (False, ["one is two"], [{"number": 1}])
    assert "ValueError: of no use" in raised["error"]
    assert "exit code 3" in died["error"]
    assert last["ok"]
    assert last["rows"][0]["pid"] != first["rows"][0]["pid"]
    assert of(check, ("works",))[0]


def test_a_section_that_sleeps_is_cut_and_what_it_started_is_killed(check):
    ok, (cut, after), seconds = of(check, ("sleeps", "works"), limit=3.0)
    assert not ok
    assert "cut at 3 s" in cut["error"]
    assert after["ok"]
    assert seconds < 15
    child = Path(f"/proc/{cut['rows'][0]['child']}/stat")
    for _ in range(50):
        if not child.exists() or child.read_text().split()[2] in "ZX":
            break
        time.sleep(0.1)
    else:
        pytest.fail("its child is still there")


def test_the_whole_is_limited_and_what_does_not_fit_is_named(check):
    ok, (cut, skipped), seconds = of(check, ("sleeps", "works"), total=5.0, least=1.0)
    assert not ok
    assert seconds < 7
    assert "cut at 4 s" in cut["error"]
    assert "it needs 1" in skipped["skipped"]


def test_nothing_to_run_on_ends_it(check):
    ok, (stopped, skipped), _ = of(check, ("stops", "works"))
    assert not ok
    assert stopped["error"] == skipped["skipped"] == "nothing to run on"


def test_limits_and_sections(check):
    """Any one may take all of its time and the next ones of importance are still begun."""
    assert check.TOTAL <= MOST
    functions = {node.name for node in ast.parse((BENCHMARKS / "gpu_sections.py").read_text()).body if _is_def(node)}
    assert {section.name for section in check.SECTIONS} <= functions
    spent = 0.0
    for section in check.SECTIONS[:7]:
        assert section.least < section.limit
        assert spent + section.least < check.TOTAL - check.CLOSING
        spent += section.limit
    assert [section.name for section in check.SECTIONS[:2]] == ["machine", "eigen"]


def _is_def(node):
    return isinstance(node, ast.FunctionDef)


@pytest.mark.slow
def test_dry_run(tmp_path):
    """Every section in small size, without what a machine with a GPU lacks, on a PYTHONPATH that was there."""
    absent, out = tmp_path / "absent", tmp_path / "out"
    absent.mkdir()
    for name in MISSING:
        (absent / f"{name}.py").write_text(f"raise ModuleNotFoundError('{name} is not here')\n")
    hidden = ("JAXKIN_SHARED", "JAX_COMPILATION_CACHE_DIR")
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    environment |= {"OUT": str(out), "PYTHONPATH": str(absent), "PYTHON": sys.executable, "TMPDIR": str(tmp_path)}
    begin = time.monotonic()
    done = subprocess.run(
        [ROOT / "scripts" / "gpu_check", "--small"],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert time.monotonic() - begin < MOST
    documents = [json.loads(line) for line in (out / "gpu_check.jsonl").read_text().splitlines()]
    names = ["machine", "eigen", "solves", "geometry", "operator", "job", "answers", "package"]
    assert [document["section"] for document in documents] == names
    assert all(document["ok"] and document["rows"] for document in documents)
    assert len([path for path in out.rglob("*") if path.is_file()]) <= FILES
    assert sum(path.stat().st_size for path in out.iterdir()) < 2**20
    assert sorted(path.name for path in tmp_path.iterdir()) == ["absent", "out"]
    whole = json.loads((out / "gpu_check-cpu.json").read_text())
    assert whole["rows"] == documents
    assert whole["device"] == "cpu"
