"""What an accelerator is worth here, in one command of at most nine minutes, its compilations included.

    python benchmarks/gpu_check.py [--small] [--limit SECONDS] [SECTION ...]      # or scripts/gpu_check

The sections of ``gpu_sections.py``, or the first and those that are named, in order of importance; ``--small`` runs
them on a CPU in small sizes. Each has a time limit. It runs in a worker process that is killed at the limit, or may
crash, and the next section gets a new one. What no longer fits in the total limit is named as skipped. Nothing
beside the package is needed: its model is the built-in tellurium, or the data in the folder $JAXKIN_SHARED.

One JSON line a section is appended to ``gpu_check.jsonl`` in the folder $OUT, and all of the run is written to
``gpu_check-DEVICE.json``. The folder is benchmarks/results by default, one that is thrown away for ``--small``. Ends
with 1 if a section is not ok.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import multiprocessing
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
TOTAL = 540.0
"""Seconds of a whole run ..."""
CLOSING = 5.0
"""... of which these are left for killing and writing."""


class Section(NamedTuple):
    """A function of a module by its name, its time limit, and the seconds below which it is not begun."""

    name: str
    limit: float
    least: float


SECTIONS = (
    Section("machine", 60, 10),
    Section("eigen", 70, 15),
    Section("solves", 45, 10),
    Section("geometry", 60, 15),
    Section("operator", 60, 15),
    Section("job", 180, 30),
    Section("answers", 120, 30),
    Section("package", 120, 20),
)


class Report:
    """What a section says: rows of figures, and checks that hold or not."""

    def __init__(self, send: Callable[[str, object], None], small: bool):
        self._send, self.small = send, small

    def row(self, **facts) -> None:
        self._send("row", facts)

    def check(self, what: str, holds: bool) -> None:
        """Note that ``what`` must hold."""
        if not holds:
            self._send("failed", what)


def work(pipe: Connection, module: str, small: bool) -> None:
    """A worker: does the sections that it is told, and says how they went."""
    os.setsid()  # with what it starts it can be killed
    pipe.send(("ready", None))
    while name := pipe.recv():
        try:
            getattr(importlib.import_module(module), name)(Report(lambda kind, what: pipe.send((kind, what)), small))
        except SystemExit as stop:
            pipe.send(("stop", str(stop)))
        except BaseException:
            pipe.send(("error", traceback.format_exc()[-2000:]))
        pipe.send(("done", None))


class Worker:
    """The process that sections run in; another one after it had to be killed."""

    def __init__(self, module: str, small: bool):
        self._arguments = module, small
        self._process = None

    def run(self, name: str, seconds: float) -> dict:
        """Rows, failed checks and what went wrong, within a time limit."""
        begin = time.monotonic()
        found = {"ok": False, "rows": [], "failed": []}
        if self._process is None:
            self._start()
        try:
            self._pipe.send(name)
            while True:
                if not self._pipe.poll(max(begin + seconds - time.monotonic(), 0)):
                    self.stop()
                    return found | {"error": f"cut at {seconds:.0f} s"}
                kind, what = self._pipe.recv()
                if kind == "done":
                    return found | {"ok": not found["failed"] and "error" not in found}
                if kind in ("row", "failed"):
                    found["rows" if kind == "row" else kind].append(what)
                elif kind in ("stop", "error"):
                    found |= {"error": what, "stop": kind == "stop"}
        except (EOFError, OSError):
            self._process.join(1)
            code = self._process.exitcode
            self.stop()
            return found | {"error": f"its process died with exit code {code}"}

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, other = context.Pipe()
        self._process = context.Process(target=work, args=(other, *self._arguments))
        self._process.start()
        other.close()

    def stop(self) -> None:
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if self._process.pid == os.getpgid(self._process.pid):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.kill()
        self._process.join()
        self._pipe.close()
        self._process = None


def run(sections: tuple[Section, ...], module: str, small: bool, total: float, say: Callable[[dict], None]) -> bool:
    """All sections of ``module`` within ``total`` seconds, a document of each to ``say``; whether all are ok."""
    end, ok, stopped = time.monotonic() + total - min(CLOSING, 0.1 * total), True, ""
    worker = Worker(module, small)
    try:
        for name, limit, least in sections:
            begin = time.monotonic()
            left = end - begin
            if stopped or left < least:
                document = {"ok": False, "skipped": stopped or f"{left:.0f} s are left, it needs {least:.0f}"}
            else:
                document = worker.run(name, min(limit, left))
                if document.pop("stop", False):
                    stopped = document["error"]
            ok &= document["ok"]
            say({"section": name, "seconds": round(time.monotonic() - begin, 2), **document})
    finally:
        worker.stop()
    return ok


def prepare(small: bool, cache: str) -> None:
    """The environment of the worker."""
    path = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    os.environ["PYTHONPATH"] = os.pathsep.join(path)
    sys.path.insert(1, str(ROOT))  # which a worker inherits
    if small:  # runs for a moment: compiled quickly, as in the tests
        os.environ["JAX_PLATFORMS"] = "cpu"
        os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false")
    for name, value in {
        "OPENBLAS_NUM_THREADS": "1",
        "TF_CPP_MIN_LOG_LEVEL": "3",  # XLA wonders at every program of the CPU that comes from its own cache
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
        "JAX_COMPILATION_CACHE_DIR": cache,
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }.items():
        os.environ.setdefault(name, value)


def summary(documents: list[dict], small: bool) -> tuple[str, dict]:
    """The name of the device as ``record.py`` writes it, and the whole run."""
    rows = [row for document in documents for row in document.get("rows", [])]
    facts = next((row for row in rows if "device" in row), {"device": "unknown", "jax": None, "cores": None})
    whole = {"benchmark": "gpu_check", **{key: facts[key] for key in ("device", "jax", "cores")}, "small": small}
    return facts["device"].replace(" ", "-").lower(), whole | {"rows": documents}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=", ".join(one.name for one in SECTIONS))
    parser.add_argument("--small", action="store_true", help="a dry run on a CPU")
    parser.add_argument("--limit", type=float, default=TOTAL, help="seconds of the whole run")
    chosen = parser.parse_args(arguments)
    if unknown := set(chosen.sections) - {one.name for one in SECTIONS}:
        parser.error(f"no section is named {', '.join(sorted(unknown))}")
    sections = tuple(one for one in SECTIONS if not chosen.sections or one.name in ("machine", *chosen.sections))
    documents = []
    with tempfile.TemporaryDirectory(prefix="jaxkin-") as temporary:
        prepare(chosen.small, str(Path(temporary) / "compiled"))
        default = Path(temporary) if chosen.small else ROOT / "benchmarks" / "results"
        folder = Path(os.environ.get("OUT") or default)
        folder.mkdir(parents=True, exist_ok=True)

        def say(document: dict) -> None:
            documents.append(document)
            line = json.dumps(document)
            print(line, flush=True)
            with (folder / "gpu_check.jsonl").open("a") as file:
                file.write(line + "\n")

        ok = run(sections, "gpu_sections", chosen.small, chosen.limit, say)
        label, whole = summary(documents, chosen.small)
        (folder / f"gpu_check-{label}.json").write_text(json.dumps(whole, indent=1) + "\n")
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
