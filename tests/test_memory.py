"""The memory budget is kept: peaks measured in processes of their own, and refusals that say how to mend them."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import jaxkin as jk
from jaxkin.cli import config
from jaxkin.cli.ingredients import memory
from jaxkin.disorder.states import filled_size
from jaxkin.hamiltonian.spectrum import Spectrum
from jaxkin.hamiltonian.tiles import tile_rows
from jaxkin.memory import batch_bytes, limit, memory_limit, parse_size
from jaxkin.surface.nodes import Nodes

STATUS = Path("/proc/self/status")
MEASURE = """
import numpy as np, jax.numpy as jnp, jaxkin as jk
from jaxkin.memory import memory_limit
from jaxkin.surface.points import point_geometry

def status(key):
    return next(1024 * int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(key))

def compute(full):
{body}

compute(False)
open("/proc/self/clear_refs", "w").write("5")  # the peak starts anew
before = status("VmRSS")
with memory_limit({budget}):
    compute(True)
print(status("VmHWM") - before)
"""
CASES = {
    "search and geometry": (
        "64 MiB",
        """
    model = jk.models.get("tellurium")
    jk.fermi_surface(model, -0.05 if full else -0.02, sampler=jk.Lines(n=16 if full else 6), replicas=1)
""",
    ),
    "geometry of 100 orbitals": (
        "256 MiB",
        """
    rng = np.random.default_rng(0)
    hop = rng.normal(size=(7, 100, 100))
    hop[4:] = np.swapaxes(hop[1:4], 1, 2)
    hop[0] += hop[0].T
    steps = np.concatenate([np.zeros((1, 3)), np.eye(3), -np.eye(3)])
    model = jk.TightBinding(3 * np.eye(3), steps, hop, rng.random((100, 3)))
    k = rng.random((300 if full else 2, 3))
    point_geometry(model, k, np.full(len(k), 50))
""",
    ),
    "Fermi surface of 100 orbitals": (
        "256 MiB",
        """
    n, rng, steps = 100, np.random.default_rng(0), np.concatenate([np.eye(3), -np.eye(3)])
    hop = np.where(rng.random((3, n, n)) < 0.03, 0.15 * rng.normal(size=(3, n, n)), 0)
    hop[:, 0] = hop[:, :, 0] = 0
    hop[:, 0, 0] = 0.4  # a band of its own, at the top
    home = np.diag(np.append(12, 2 * rng.uniform(-1, 1, n - 1)))
    home[0, 1:6] = home[1:6, 0] = 0.3
    hop = np.concatenate([home[None], hop, np.swapaxes(hop, 1, 2)])
    model = jk.TightBinding(8 * np.eye(3), np.concatenate([np.zeros((1, 3)), steps]), hop, rng.random((n, 3)))
    if full:
        surface = jk.fermi_surface(model, 14.2, sampler=jk.Lines(n=16), replicas=2, symmetry=False)
        assert len(surface) > 500 and set(surface.band) == {n - 1}
    else:
        point_geometry(model, rng.random((2, 3)), np.array([0, 1]))
""",
    ),
    "pairwise kernel": (
        "64 MiB",
        """
    states = jnp.asarray(np.random.default_rng(0).random((5000 if full else 10, 3)))
    kernel = lambda p, q: jnp.cross(p, q) * jnp.exp(-jnp.sum((p - q) ** 2))
    jk.pair_integral(kernel, states, np.ones(len(states)))
""",
    ),
    "smeared grid": (
        "160 MiB",  # 120 measured
        """
    model = jk.models.get("kramers-weyl-d4")
    jk.fermi_surface(model, -1.2, sampler=jk.Grid(n=144 if full else 8, width=0.005), replicas=1)
""",
    ),
    "thermal lattice": (
        "192 MiB",  # 140 measured
        """
    model = jk.models.get("kramers-weyl-d4")
    jk.fermi_surface(model, -1.2, 100.0, sampler=jk.Grid(n=112 if full else 8), replicas=1)
""",
    ),
    "lines in parts": (
        "160 MiB",  # 450 bytes for each of 150,000 points
        """
    model = jk.models.get("kramers-weyl-d4")
    jk.fermi_surface(model, -1.2, sampler=jk.Lines(n=160 if full else 8), replicas=1)
""",
    ),
    "lines that are refused": (
        "500 MB",
        """
    model = jk.models.get("kramers-weyl-d4")
    try:
        jk.fermi_surface(model, -1.2, sampler=jk.Lines(n=4000 if full else 8), replicas=1)
        assert not full
    except jk.JaxkinError as error:
        assert "points and more of one pocket need" in str(error) and "ask for a smaller n" in str(error)
""",
    ),
    "finite range": (
        490 * 1024**2,  # through pivots, as matrices would take more than half of it; 390 to 450 MiB measured
        """
    model = jk.models.get("kramers-weyl-d4")
    surface = jk.fermi_surface(model, -1.2, sampler=jk.Lines(n=12 if full else 3), replicas=1)
    impurity = jk.FiniteRangeImpurity(jk.Gaussian(1.2), strength=3.0, density=0.01)
    impurity.collisions(surface, surface.shells[0])
""",
    ),
}


@pytest.mark.skipif(not STATUS.exists(), reason="the peak is read from /proc")
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * name.startswith("Fermi")) for name in CASES]
)
def test_peak_stays_within_the_budget(name):
    budget, body = CASES[name]
    script = MEASURE.format(body=body, budget=repr(budget))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < parse_size(budget)


def test_tiles_follow_the_budget():
    model = jk.models.get("tellurium")
    with memory_limit("64 MiB"):
        assert limit() == 2**26 and batch_bytes() == 2**23
        small = tile_rows(model, arrays=12)
    assert 12 * 16 * small * model.size**2 <= 2**23 < tile_rows(model, arrays=12) * 12 * 16 * model.size**2


def test_the_budget_ends_with_its_context():
    before = limit()
    with memory_limit("1 GiB"), memory_limit("100 MB"):
        assert limit() == 100_000_000
    with pytest.raises(RuntimeError), memory_limit("1 GiB"):
        raise RuntimeError
    assert limit() == before > 2**26


@pytest.mark.parametrize("size", ["2 GiB", "2gib", "2048MiB", 2**31, 2.0**31, "2147483648", "2147483648 B"])
def test_sizes_are_read(size):
    assert parse_size(size) == 2**31


@pytest.mark.parametrize(
    "size", ["", "2 G iB", "much", "-1 GiB", "1..2 GiB", "ib", float("nan"), float("inf"), "1 MB", 0]
)
def test_what_is_no_size_is_refused(size):
    with pytest.raises(jk.JaxkinError, match=r"memory=.*(is not a size|too little)"), memory_limit(size):
        pass


def test_a_rough_potential_beyond_the_budget_is_refused_and_a_point_impurity_is_not():
    model = jk.models.get("kramers-weyl-d4")
    surface = jk.fermi_surface(model, -1.2, sampler=jk.Lines(n=12), replicas=1)
    extended = jk.FiniteRangeImpurity(jk.Gaussian(1.2), strength=3.0, density=0.01)
    local = jk.PointImpurity(2.0, orbitals=[0, 1], density=0.01, order="born")
    with memory_limit("100 MiB"):
        refusal = r"points.* need \d+ MiB, and the memory budget is 100 MiB: raise it, .*larger rtol"
        with pytest.raises(jk.JaxkinError, match=refusal):
            extended.collisions(surface, surface.shells[0])
        assert local.collisions(surface, surface.shells[0]).transport_time > 0
    assert filled_size(400, fine=True) == 512 and filled_size(5000, fine=True) == 5120


def test_what_would_outgrow_the_budget_says_how_to_mend_it():
    model = jk.models.get("kramers-weyl-d4")
    with memory_limit("64 MiB"):
        with pytest.raises(
            jk.JaxkinError, match=r"the \d+ points of 1 of 2 replicas need .* fewer replicas or a smaller n"
        ):
            jk.fermi_surface(model, -1.2, sampler=jk.Lines(n=160), replicas=2)
        with pytest.raises(jk.JaxkinError, match=r"the \d+ points and more of one pocket need .* a smaller n"):
            jk.fermi_surface(model, -1.2, sampler=jk.Lines(n=400), replicas=2)
        with pytest.raises(jk.JaxkinError, match=r"the \d+ nodes of a lattice .* a smaller n"):
            jk.fermi_surface(model, -1.2, 300.0, sampler=jk.Grid(n=128), replicas=1)
        every = np.stack(np.meshgrid(*[np.arange(128)] * 3), axis=-1)
        with pytest.raises(jk.JaxkinError, match=r"energies at \d+ nodes of the search .* a larger `smallest_pocket`"):
            Nodes(Spectrum(model)).energies(128, every)


def test_the_configuration_states_the_budget():
    asked = config.load("kramers-weyl-d4", ["memory=3 GiB"])
    assert asked.resources.memory == "3 GiB" and 'memory = "3 GiB"' in config.as_toml(asked)
    with memory(asked.resources):
        assert limit() == 3 * 2**30
    with memory(config.load("kramers-weyl-d4", ["resources.memory=2e9"]).resources):
        assert limit() == 2_000_000_000
