"""Shared fixtures: the reference data, and a repeatable hypothesis profile."""

import os
from pathlib import Path

# Before SciPy loads its OpenBLAS, which diagonalises for JAX: its threads gain nothing on matrices
# this small, and on a busy machine they wait for each other (24 bands: 100 times slower).
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# A test runs what it compiles once or twice: without these passes of the compiler the suite takes half the time.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false")

import hypothesis
import pytest

hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None, max_examples=15)
hypothesis.settings.load_profile("repeatable")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the reference data: $JAXKIN_SHARED, or ../shared/data next to the repository."""
    default = Path(__file__).resolve().parents[1].parent / "shared" / "data"
    folder = Path(os.environ.get("JAXKIN_SHARED") or default)
    if not folder.is_dir():
        pytest.skip("no reference data: set JAXKIN_SHARED to their folder")
    return folder
