"""Shared fixtures: the reference data, and a repeatable hypothesis profile."""

import os
import shutil
import tarfile
from pathlib import Path

# Before SciPy loads its OpenBLAS, which diagonalises for JAX: its threads gain nothing on matrices
# this small, and on a busy machine they wait for each other (24 bands: 100 times slower).
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# A test runs what it compiles once or twice: without these passes of the compiler the suite takes half the time.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false")

import equinox as eqx
import hypothesis
import jax
import pytest

hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None, max_examples=15)
hypothesis.settings.load_profile("repeatable")

MAPS = Path("/proc/self/maps")
MOST_MAPS = 30_000
"""Half of the 65,530 that Linux lets a process have: compiled functions take them, and the one too many crashes."""


@pytest.fixture(scope="module", autouse=True)
def compiled_functions_in_bounds():
    """Forget what earlier modules compiled before the process runs out of memory maps."""
    yield
    if MAPS.exists() and MAPS.read_bytes().count(b"\n") > MOST_MAPS:
        jax.clear_caches()
        eqx.clear_caches()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the reference data: $JAXKIN_SHARED, or ../shared/data next to the repository."""
    default = Path(__file__).resolve().parents[1].parent / "shared" / "data"
    folder = Path(os.environ.get("JAXKIN_SHARED") or default)
    if not folder.is_dir():
        pytest.skip("no reference data: set JAXKIN_SHARED to their folder")
    return folder


@pytest.fixture(scope="session")
def iron(shared_data, tmp_path_factory) -> Path:
    """The folder of a Wannier90 calculation of bcc iron, unpacked."""
    folder = tmp_path_factory.mktemp("iron")
    for name in ("Fe.chk.gz", "Fe.eig", "Fe.spn.gz", "Fe.win"):
        shutil.copy(shared_data / "w90_fe" / name, folder)
    with tarfile.open(shared_data / "w90_fe" / "Fe.mmn.tar.gz") as packed:
        packed.extract("Fe.mmn", folder, filter="data")
    return folder
