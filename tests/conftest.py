"""Shared fixtures: the reference data, and a repeatable hypothesis profile."""

import os
import re
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


FOLLOWS = [("getrf", "trsm"), ("getrf", "trsm"), ("geqrf", "trsm"), ("geqrf", "mqr|gqr")]
PARTS = re.compile(r"func\.func .*?@([\w.]+)\(|custom_call @(lapack_\w+)\(.* : \((.*)\) ->| call @([\w.]+)\(")


def lapack_batches(text: str) -> list[str]:
    """LAPACK calls of a compiled function on more than one matrix that need not wait for each other.

    Each waits on one of XLA's threads for work that it hands to these threads: as many calls as cores wait for ever.
    Factors and what is done with them come one after the other: LU and two triangular equations, QR and one.
    """
    functions, calls = {}, []
    for function, lapack, operands, called in PARTS.findall(text):
        if function:
            calls = functions[function] = []
        elif called:
            calls.append(called)
        else:
            shapes = [[int(n) for n in re.findall(r"(\d+)x", one)] for one in re.findall(r"tensor<([^>]*)", operands)]
            calls += [lapack] * any(len(shape) > 2 and max(shape[:-2]) > 1 for shape in shapes)

    def inlined(name):
        return [one for call in functions[name] for one in (inlined(call) if call in functions else [call])]

    names = inlined("main")
    for factors, follows in FOLLOWS:
        for _ in range(sum(factors in name for name in names)):
            after = next((name for name in names if re.search(follows, name)), None)
            if after is not None:
                names.remove(after)
    return names


@pytest.fixture(scope="session")
def compiled_batches():
    """The functions that were compiled with more than one batch of LAPACK calls."""
    from jax._src import compiler

    found, compile_ = [], compiler.backend_compile_and_load

    def watched(backend, module, *arguments, **options):
        batches = lapack_batches(module.operation.get_asm(large_elements_limit=16))
        if len(batches) > 1:
            found.append(f"{module.operation.attributes['sym_name']}: {', '.join(batches)}")
        return compile_(backend, module, *arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiler, "backend_compile_and_load", watched)
        yield found


@pytest.fixture(autouse=True)
def no_batches_that_wait_for_each_other(compiled_batches):
    """Every test is one of this, too: two cores are enough to hang, now and then."""
    yield
    found = list(compiled_batches)
    compiled_batches.clear()
    assert not found, found


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
