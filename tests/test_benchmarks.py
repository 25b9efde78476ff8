"""The tables of the pages are those of the results."""

import subprocess
import sys
from pathlib import Path

REPORT = Path(__file__).parents[1] / "benchmarks" / "report.py"


def test_pages_show_the_results():
    done = subprocess.run([sys.executable, REPORT, "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
