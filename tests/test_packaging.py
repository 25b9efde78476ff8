"""What is distributed: a wheel with types and the page's template, and a citation that matches."""

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import jaxkin

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.slow
def test_a_wheel_holds_every_module_the_types_and_the_template(tmp_path):
    command = [sys.executable, "-m", "pip", "wheel", str(ROOT), "--no-deps", "-q", "-w", str(tmp_path)]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    if built.returncode and "hatchling" in built.stderr:
        pytest.skip("no network to fetch the build's backend from")
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.name == f"jaxkin-{jaxkin.__version__}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (metadata,) = (archive.read(name).decode() for name in names if name.endswith("METADATA"))
    here = {str(path.relative_to(ROOT)) for path in (ROOT / "jaxkin").rglob("*.py")}
    assert here | {"jaxkin/py.typed", "jaxkin/__init__.pyi", "jaxkin/output/viewer.html"} <= names
    assert not [name for name in names if name.startswith(("tests", "docs"))]
    assert "License-Expression: Apache-2.0" in metadata


def test_version_and_citation_are_one():
    citation = (ROOT / "CITATION.cff").read_text()
    assert re.search(r"^version: (.*)$", citation, re.M)[1] == jaxkin.__version__
    for part in ("The jaxkin developers", "035120", "Kinetic orbital moments", "10.1103/PhysRevB.96.035120"):
        assert part in citation
