"""What README and pages show runs: Python, configurations and commands, page by page, on files as a user has them.

Blocks of a page share one folder and one namespace. A comment before a block, or anywhere on a page, says what is
special:

- ``<!-- slow: reason -->``: more than some twenty seconds, runs with ``--all`` only;
- ``<!-- alone: reason -->``: Python that has to be the first of its process;
- ``<!-- refused: reason -->``: commands that end with an error, in one line;
- ``<!-- needs: name -->``: a package, or a file of the reference data (``file as name``).
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
import warnings
from contextlib import redirect_stderr, redirect_stdout
from doctest import ELLIPSIS, NORMALIZE_WHITESPACE, OutputChecker
from io import StringIO
from pathlib import Path

import pytest
import user_files
from sybil import Example, Sybil
from sybil.evaluators.python import PythonEvaluator
from sybil.parsers.markdown import CodeBlockParser

from jaxkin.cli import app, config, fit
from jaxkin.cli.defaults import completed
from jaxkin.cli.ingredients import build_disorder, build_model, build_sampler

ROOT = Path(__file__).resolve().parents[1]
PAGES = {str(page.relative_to(ROOT)): page for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))}
REMARK = re.compile(r"<!-- (?P<what>slow|alone|refused|needs): (?P<value>.+) -->")
OTHERS = {"pip", "python", "srun", "mpirun", "mkdocs", "export", "test", "demo", "gpu_check"}
"""Programs that pages call and that do not run here; scripts/test and examples have tests of their own."""
ONE_TASK = {
    "SLURM_JOB_ID": str(os.getpid()),
    "SLURM_STEP_NODELIST": "localhost",
    **dict.fromkeys(("SLURM_NTASKS", "SLURM_STEP_NUM_TASKS", "SLURM_STEP_NUM_NODES"), "1"),
    **dict.fromkeys(("SLURM_PROCID", "SLURM_LOCALID"), "0"),
}


def remark(example: Example) -> dict[str, str]:
    """Of the line before a block."""
    before = example.document.text[: example.region.start].rstrip("\n").rpartition("\n")[2]
    found = REMARK.fullmatch(before)
    return {found["what"]: found["value"]} if found else {}


def run_python(example: Example) -> None:
    if "alone" in remark(example):
        source, settings = str(example.parsed), os.environ | ONE_TASK
        done = subprocess.run([sys.executable, "-c", source], env=settings, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        return
    printed = StringIO()
    with redirect_stdout(printed):
        PythonEvaluator()(example)
    example.namespace["_printed"] = printed.getvalue()


def run_toml(example: Example) -> None:
    """Kept under the name in its first line; read by the command that it belongs to, and everything in it built."""
    named = re.match(r"# (\S+\.toml)\n", example.parsed)
    path = Path(named[1] if named else "block.toml")
    path.write_text(example.parsed)
    whole = "fit" in tomllib.loads(example.parsed)
    settings = fit.load(path)[0] if whole else completed(config.load(str(path), []))
    build_sampler(settings.surface)
    build_disorder(settings.disorder, build_model(settings.model))


def run_console(example: Example) -> None:
    """Every command of jaxkin, in this process; of the others their names, and that a script is there."""
    printed = ""
    for line in re.sub(r"\\\n\s*", " ", example.parsed).splitlines():
        assert line.startswith("$ "), "commands begin with $; what they print is a block of text"
        words = shlex.split(line[2:], comments=True)
        program = Path(next(word for word in words if "=" not in word)).name  # after settings of its environment
        assert program in {*OTHERS, "jaxkin"}, f"what is {program}?"
        scripts = [word for word in words if word.startswith(("examples/", "scripts/", "benchmarks/"))]
        assert all((ROOT / word).exists() for word in scripts), line
        if words[0] == "jaxkin":
            printed += jaxkin(words, refused="refused" in remark(example))
    example.namespace["_printed"] = printed


def jaxkin(words: list[str], refused: bool) -> str:
    """What a command prints, on standard output and then on standard error."""
    before, sys.argv = sys.argv, words
    status = 0
    out, err = StringIO(), StringIO()
    try:
        with warnings.catch_warnings(), redirect_stdout(out), redirect_stderr(err):
            warnings.simplefilter("default")
            app.main()
    except SystemExit as stop:
        status = stop.code or 0
    finally:
        sys.argv = before
    assert status == refused, f"{shlex.join(words)}: {err.getvalue()}"
    return out.getvalue() + err.getvalue()


def compare(example: Example) -> None:
    """A block of text after commands or Python that printed is what they printed, with ... for what may differ."""
    printed, shown = example.namespace.pop("_printed", ""), str(example.parsed)
    same = OutputChecker().check_output(f"...{shown.strip()}...", printed + "\n", ELLIPSIS | NORMALIZE_WHITESPACE)
    assert same or not printed, f"printed is\n{printed}\nand not\n{shown}"


KINDS = {"python": run_python, "toml": run_toml, "console": run_console, "text": compare}
SYBIL = Sybil(parsers=[CodeBlockParser(language, run) for language, run in KINDS.items()])


def is_slow(page: Path) -> bool:
    return any(found["what"] == "slow" for found in REMARK.finditer(page.read_text()))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    user_files.put(tmp_path)
    return tmp_path


def run(page: Path, slow: bool, request: pytest.FixtureRequest, folder: Path) -> None:
    """The page's blocks in their order; without ``slow`` those that are not marked so."""
    for found in REMARK.finditer(page.read_text()):
        if found["what"] == "needs":
            name, _, here = found["value"].partition(" as ")
            if not here:
                pytest.importorskip(name, exc_type=ImportError)
                continue
            data = request.getfixturevalue("shared_data")
            shutil.copy(data / name, folder / here)
    document = SYBIL.parse(page)
    document.namespace.update(user_files.objects())
    for example in document.examples():
        if slow or "slow" not in remark(example):
            try:
                example.evaluate()
            except Exception as error:
                raise AssertionError(f"{page.relative_to(ROOT)}, line {example.line}: {error}") from error
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


@pytest.mark.parametrize("name", PAGES)
def test_page(name, request, folder):
    run(PAGES[name], False, request, folder)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, page in PAGES.items() if is_slow(page)])
def test_page_with_what_is_slow(name, request, folder):
    run(PAGES[name], True, request, folder)


def test_every_block_says_its_language():
    """A block of another language, or of none, would not be run."""
    for name, page in PAGES.items():
        fences = re.findall(r"^ *```(.*)$", page.read_text(), re.M)
        assert set(fences[::2]) <= KINDS.keys() and set(fences[1::2]) <= {""}, name
        assert not re.search(r"^    (?:\$ )?(jaxkin|python|scripts/) ?", page.read_text(), re.M), name
