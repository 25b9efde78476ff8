"""Values and types that make no sense: one line that names the argument, before any work starts."""

import gzip
import time

import numpy as np
import pytest

import jaxkin as jk
from jaxkin.checks import MOST_REPLICAS
from jaxkin.cli import config, running, study
from jaxkin.cli.execution import Wanted

NAN, INF = float("nan"), float("inf")
MODEL = jk.models.get("kramers-weyl-d4")
RELAX = jk.RelaxationTime(1.0)
PATIENCE = 60.0
"""Seconds: refusals come before the work; worst 2.4 on an idle machine, where the work takes hours."""


@pytest.fixture(scope="module")
def surface():
    return jk.fermi_surface(MODEL, -1.5, sampler=jk.Lines(6), replicas=2)


def sampled(**options):
    return jk.fermi_surface(**({"model": MODEL, "fermi_level": -1.5, "sampler": jk.Lines(6), "replicas": 2} | options))


def scanned(**options):
    defaults = {"model": MODEL, "fermi_levels": [-1.5], "sampler": jk.Lines(6), "replicas": 2}
    return jk.fermi_surfaces(**(defaults | options))[0]


def run(*settings):
    quick = ["n=6", "replicas=2", "frequency=[0.0]", "fermi_level=-1.5"]
    return study.run(study.prepare(config.load("kramers-weyl-d4", [*quick, *settings])), lambda *_: None)


def processes(count):
    settings = ["n=6", "replicas=2", "fermi_level=-1.5"]
    running.run(config.load("kramers-weyl-d4", settings), Wanted(), count, lambda words: pytest.fail("one was started"))


def impurity(text):
    return run(f"disorder.impurities=[{{strength=1.0, density=1e-3, {text}}}]")


def refused(call, key):
    start = time.perf_counter()
    with pytest.raises(jk.JaxkinError) as caught:
        call()
    message = str(caught.value)
    assert key in message and "\n" not in message and len(message) < 400, message
    assert time.perf_counter() - start < PATIENCE


SIZES = [0, -1, NAN, INF, "8", 8.5, True, None, [8]]
POSITIVE = [0.0, -1.0, NAN, INF, 1e300, 1e-300, "a", [1.0, 2.0]]
FINITE = [NAN, -INF, 1e300, "a", [1.0, 2.0], True]
VECTORS = [(NAN, 0, 0), (INF, 0, 0), "z", (1, 2), ([1], 2, [3, 4]), (1e300, 0, 0), 3.0]
COUNTS = [0, -1, 2.5, NAN, "8", 10**9]


def each(key, values, call):
    return [pytest.param(lambda value=value: call(value), key, id=f"{key}={str(value)[:20]}") for value in values]


OBJECTS = [
    *each("n=", SIZES, jk.Lines),
    *each("n=", SIZES, jk.Grid),
    *each("n=", SIZES, jk.ThermalGrid),
    *each("power=", [0, NAN, INF, "a", 1e9], lambda x: jk.Lines(8, power=x)),
    *each("width=", POSITIVE, lambda x: jk.Grid(8, width=x)),
    *each("adaptive=", POSITIVE, lambda x: jk.Grid(8, adaptive=x)),
    *each("smearing=", [[1], 3, "gauss"], lambda x: jk.Grid(8, smearing=x)),
    *each("tau=", POSITIVE, jk.RelaxationTime),
    *each("tau_skew=", [0.0, NAN, "a", 1e-310], lambda x: jk.RelaxationTime(1.0, x)),
    *each("side_jump=", FINITE, lambda x: jk.RelaxationTime(1.0, None, x)),
    *each("axis=", [*VECTORS, (0, 0, 0), (1e-320, 0, 0)], lambda x: jk.RelaxationTime(1.0, axis=x)),
    *each("tau=", [NAN, "a"], lambda x: jk.KernelDisorder(lambda p, q: 1.0, tau=x)),
    *each("width=", POSITIVE, jk.Gaussian),
    *each("dielectric=", POSITIVE, jk.ScreenedCoulomb),
    *each("dielectric=", POSITIVE, lambda x: jk.IonisedImpurities([1], x)),
    *each("compensation=", [-0.1, 1.0, NAN, "a"], lambda x: jk.IonisedImpurities([1, -1], 10.0, x)),
    *each("deformation_potential=", POSITIVE, lambda x: jk.AcousticPhonons(x, 1.0, 1.0)),
    *each("mass_density=", POSITIVE, lambda x: jk.AcousticPhonons(1.0, x, 1.0)),
    *each("sound_velocity=", POSITIVE, lambda x: jk.AcousticPhonons(1.0, 1.0, x)),
    *each("cutoff=", POSITIVE, lambda x: jk.AcousticPhonons(1.0, 1.0, 1.0, cutoff=x)),
    *each("energy=", POSITIVE, lambda x: jk.PolarPhonons(x, 10.0, 20.0)),
    *each("static_dielectric=", POSITIVE, lambda x: jk.PolarPhonons(0.01, 10.0, x)),
    *each("correlator=", [None, 1.0, "a"], jk.Phonons),
    *each("temperature=", POSITIVE, lambda x: jk.Phonons(lambda q, kelvin: kelvin, x)),
    *each("tau=", POSITIVE, jk.PhononRate),
    *each("exponent=", FINITE[:-1], lambda x: jk.PhononRate(1.0, x)),
    *each("reference=", POSITIVE, lambda x: jk.PhononRate(1.0, reference=x)),
    *each("length=", POSITIVE, lambda x: jk.ScreenedCoulomb(10.0, x)),
    *each("core=", [-1.0, NAN, INF, "a"], lambda x: jk.ScreenedCoulomb(10.0, 1.0, x)),
    *each("radius", POSITIVE, lambda x: jk.RealSpace(lambda r: 1.0, x)),
    *each("potential=", [NAN, INF, "a", [[1, 2], [3]]], lambda x: jk.PointImpurity(x, [0, 1], 1e-3)),
    *each("orbitals=", [[], [[]], ["a"], [0.5], 0, "ab", [0, [1]], [NAN]], lambda x: jk.PointImpurity(1.0, x, 1e-3)),
    *each("density=", POSITIVE, lambda x: jk.PointImpurity(1.0, [0], x)),
    *each("cells=", [[[0, 0, 0], [1]], "a", [[NAN] * 3] * 2, [[0.5] * 3] * 2, [[0] * 3], 3], lambda x: jk.PointImpurity(
        1.0, [0, 1], 1e-3, cells=x)),
    *each("rtol=", [0, -1, NAN, INF, "a"], lambda x: jk.PointImpurity(1.0, [0], 1e-3, rtol=x)),
    *each("order=", [3, None, "bornn"], lambda x: jk.PointImpurity(1.0, [0], 1e-3, order=x)),
    *each("strength=", FINITE, lambda x: jk.FiniteRangeImpurity(jk.Gaussian(1.0), x, 1e-3)),
    *each("form_factor=", [3, None], lambda x: jk.FiniteRangeImpurity(x, 1.0, 1e-3)),
    *each("positions=", [(NAN, 0, 0), "a", []], lambda x: jk.FiniteRangeImpurity(
        jk.Gaussian(1.0), 1.0, 1e-3, positions=x)),
    *each("start", [NAN, INF, "a"], lambda x: jk.Parameter("tau", x)),
    *each("bounds=", [(NAN, 1), (2, 1), "ab", (1, 2, 3), 5], lambda x: jk.Parameter("tau", bounds=x)),
    *each("prior=", [(NAN, 1), (1, 0), (1, INF), "ab", (1, 2, 3), 5], lambda x: jk.Parameter("tau", prior=x)),
    *each("name=", [3, None], jk.Parameter),
    *each("value", [["a"], [NAN], "a"], lambda x: jk.Data("conductivity", x, 1.0)),
    *each("path=", [None, 3], jk.read_wannier90),
    *each("box", [((0, NAN),), "a", 3, ((0,),)], lambda x: jk.KdotP(lambda k: np.eye(2), x)),
    *each("hamiltonian=", [None, 3], lambda x: jk.KdotP(x, ((-1, 1),))),
    *each("lattice", ["a", [[1, 0, 0], [1]]], lambda x: jk.TightBinding(x, [[1], [-1]], np.ones((2, 1, 1)), [[0.0]])),
    *each("translations", ["a", [[1], [1, 2]], [[0.5], [-0.5]], []], lambda x: jk.TightBinding(
        [[1, 0, 0]], x, np.ones((2, 1, 1)), [[0.0]])),
    *each("hoppings", ["a", [[[1]], [[1, 2]]], [1, 1], []], lambda x: jk.TightBinding(
        [[1, 0, 0]], [[1], [-1]], x, [[0.0]])),
    *each("spin", ["a", 3], lambda x: jk.TightBinding([[1, 0, 0]], [[1], [-1]], np.ones((2, 1, 1)), [[0.0]], spin=x)),
    *each("model", [3, None, ["x"]], jk.models.get),
    *each("mass=", ["a", NAN, INF, [1.0, 2.0]], lambda x: jk.models.get("haldane", mass=x)),
    *each("mass=", [0.0, -1.0], lambda x: jk.models.get("helical-isotropic", mass=x)),
    *each("node=", [0.0, 0.5], lambda x: jk.models.get("weyl", node=x)),
    *each("lattice_constant=", [0.0], lambda x: jk.models.get("kramers-weyl-d3", lattice_constant=x)),
    *each("spin=", ["a", 1], lambda x: jk.models.get("tellurium", spin=x)),
    *each("k=", ["a", (NAN, 0, 0), [[1], [1, 2]]], lambda x: jk.band_geometry(MODEL, x, 0)),
    *each("band", ["a", 0.5, NAN, 9], lambda x: jk.band_geometry(MODEL, (0.1, 0.2, 0.3), x)),
    *each("tolerance=", POSITIVE, lambda x: jk.find_symmetries(MODEL, tolerance=x)),
    *each("model=", ["te", None], jk.find_symmetries),
    *each("point group", [3, "X", None], lambda x: jk.verify_point_group(jk.models.get("helical-isotropic"), x)),
    *each("tolerance=", [1e9], lambda x: jk.find_symmetries(MODEL, tolerance=x)),
    *each("lattice=", [2.0, 1e200 * np.eye(3)], lambda x: jk.TightBinding(x, [[0, 0, 0]], [[[1]]], [[0, 0, 0]])),
    *each("minimal_distance=", ["yes", 1], lambda x: jk.read_wannier90("a_tb.dat", minimal_distance=x)),
    *each("samples=", ["abc", np.zeros(0), [1.0], np.array("a")], jk.Estimate),
    *each("k=", ["a", [[0, 0, 0], [1]], [NAN, 0, 0]], MODEL.bands),
    *each("k has shape", [0.0, [0, 0]], MODEL.bands),
    *each("n=", [1, 10**9], lambda x: jk.band_path(MODEL, n=x)),
    *each("density=", [[1e-3], None, NAN], lambda x: jk.fermi_level(MODEL, x)),
    *each("densities=", [[]], lambda x: jk.fermi_levels(MODEL, x)),
    *each("memory=", ["1e400", NAN, INF, [1], "-1", "a"], lambda x: jk.memory_limit(x).__enter__()),
]  # fmt: skip

SURFACES = [
    *each("model=", ["te", None, jk.models], lambda x: sampled(model=x)),
    *each("fermi_level=", [*FINITE, None], lambda x: sampled(fermi_level=x)),
    *each("temperature=", [-1.0, *FINITE], lambda x: sampled(temperature=x)),
    *each("sampler=", [64, "lines", jk.Lines], lambda x: sampled(sampler=x)),
    *each("replicas=", COUNTS, lambda x: sampled(replicas=x)),
    *each("seed=", [-1, 1.5, "a", None], lambda x: sampled(seed=x)),
    *each("symmetry=", [5, None, "yes"], lambda x: sampled(symmetry=x)),
    *each("smallest_pocket=", [0, -1, NAN, INF, 1e-12, "a"], lambda x: sampled(smallest_pocket=x)),
    *each("rtol=", [0, -1, NAN, INF, "a"], lambda x: sampled(rtol=x)),
    *each("budget=", [0, -1, NAN, "a"], lambda x: sampled(rtol=0.1, budget=x)),
    *each("fermi_levels", [[], [NAN], "a", [[1, 2], [3]], np.zeros(10**6)], lambda x: scanned(fermi_levels=x)),
    *each("temperatures", [[], [NAN], "a"], lambda x: scanned(temperatures=x)),
    *each("n = 1000000", [jk.Lines(10**6), jk.Grid(10**6)], lambda x: sampled(sampler=x)),
    *each("progress=", [3, "a"], lambda x: sampled(progress=x)),
    *each("progress=", [3], lambda x: scanned(progress=x)),
    *each("memory budget", [jk.Lines(90_000)], lambda x: sampled(sampler=x)),
    *each("memory budget", [jk.ThermalGrid(10**6)], lambda x: sampled(sampler=x, temperature=300.0)),
]

COMMANDS = [
    *each("count", [-1, 0, 10**9], lambda x: run(f"fermi_level={{start=-1.5, stop=-1.4, count={x}}}")),
    *each("frequency: count", [10**9], lambda x: run(f"frequency={{start=0, stop=1, count={x}}}")),
    *each("fermi_level: start", ["nan", "inf"], lambda x: run(f"fermi_level={{start={x}, stop=-1.4, count=3}}")),
    *each("fermi_level", ["inf", "[nan]", "[]"], lambda x: run(f"fermi_level={x}")),
    *each("temperature", ["nan", "[-1.0]"], lambda x: run(f"temperature={x}")),
    *each("field=", ["[nan, 0, 0]"], lambda x: run(f"field={x}")),
    *each("optic_axis=", ["[0, 0, 0]", "[nan, 0, 1]"], lambda x: run(f"optic_axis={x}")),
    *each("hall_budget=", [-1], lambda x: run(f"hall_budget={x}")),
    *each("[surface]: power=", ["nan"], lambda x: run(f"power={x}")),
    *each("[surface]: width=", ["nan"], lambda x: run("sampler=grid", f"width={x}")),
    *each("--processes", [0, 3, 1_000_000], lambda x: processes(x)),
    *each("folder", ["tests", "/tmp"], lambda x: config.load(x, [])),
    *each("replicas=", [10**9], lambda x: run(f"replicas={x}")),
    *each("n = 1000000", [10**6], lambda x: run(f"n={x}")),
    *each("seed=", [-1], lambda x: run(f"seed={x}")),
    *each("smallest_pocket=", [0], lambda x: run(f"smallest_pocket={x}")),
    *each("rtol=", [-1, "nan"], lambda x: run(f"rtol={x}")),
    *each("tau=", ["inf", "1e300"], lambda x: run(f"tau={x}")),
    *each("orbital", ["[[]]", "[]", "[-7]"], lambda x: impurity(f'kind="point", orbitals={x}')),
    *each("cells=", ["[[0], [1, 1]]"], lambda x: impurity(f'kind="point", orbitals=[0, 1], cells={x}')),
    *each("positions=", ["[[nan, 0, 0]]"], lambda x: impurity(f'kind="gaussian", width=5.0, positions={x}')),
]


@pytest.mark.parametrize(("call", "key"), OBJECTS)
def test_objects(call, key):
    refused(call, key)


@pytest.mark.parametrize(("call", "key"), SURFACES)
def test_surfaces(call, key):
    refused(call, key)


@pytest.mark.parametrize(("call", "key"), COMMANDS)
def test_commands(call, key):
    refused(call, key)


RESPONSES = {
    "frequency": [[NAN], "a", [[1.0, 2.0]], [], np.zeros(500_000)],
    "solver": ["x", 3],
    "disorder": [None, 1.0, jk.RelaxationTime],
    "progress": [3],
}


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in RESPONSES.items() for value in values])
def test_responses(surface, key, value):
    options = {"disorder": RELAX} | {key: value}
    refused(lambda: jk.gyrotropic_response(surface, **options), key)
    refused(lambda: jk.conductivity(surface, **options), key)


@pytest.mark.parametrize("value", VECTORS)
def test_directions_and_fields(surface, value):
    response = jk.gyrotropic_response(surface, RELAX)
    refused(lambda: response.rotatory_power(value), "axis=")
    refused(lambda: response.magnetization(value), "field=")


def test_what_takes_a_surface(surface):
    refused(lambda: jk.gyrotropic_response(MODEL, RELAX), "surface=")
    refused(lambda: jk.conductivity(3, RELAX), "surface=")
    refused(lambda: jk.conductivity(surface, RELAX, hall_rtol=NAN), "hall_rtol=")
    refused(lambda: jk.conductivity(surface, RELAX, hall_budget=-1), "hall_budget=")
    refused(lambda: surface.integrate("a"), "values=")
    refused(lambda: surface.integrate(np.full(len(surface), NAN)), "values")
    refused(lambda: jk.conductivity(surface, RELAX, hall="no"), "hall=")
    refused(lambda: surface.export(None), "path=")
    refused(lambda: surface.at(model="x"), "model=")
    refused(lambda: surface.at(fermi_level="a"), "fermi_level=")
    refused(lambda: surface.at(fermi_level=NAN), "fermi_level=")


@pytest.mark.parametrize(("key", "kernels"), [
    ("symmetric", [lambda p, q: p.velocity]),
    ("symmetric", [lambda p: 1.0]),
    ("symmetric", [3]),
    ("symmetric", [lambda p, q: np.exp(p.energy)]),
    ("antisymmetric", [lambda p, q: 1.0, lambda p, q: q.k]),
    ("shift", [lambda p, q: 1.0, None, lambda p, q: 1.0]),
])  # fmt: skip
def test_kernels(surface, key, kernels):
    refused(lambda: jk.conductivity(surface, jk.KernelDisorder(*kernels)), key)


def test_potentials_of_too_many_cells(surface):
    def scattered(form_factor):
        return jk.conductivity(surface, jk.FiniteRangeImpurity(form_factor, 1.0, 1e-3))

    refused(lambda: scattered(jk.RealSpace(lambda r: 1.0 / (1.0 + r), 1e5)), "memory budget")
    refused(lambda: scattered(jk.Gaussian(1e5)), "too few points")  # one reciprocal vector


def test_sums_beyond_the_memory_budget_are_refused(surface):
    with jk.memory_limit("64 MiB"):
        refused(lambda: jk.conductivity(surface, RELAX, np.linspace(0, 1, 50_000)), "memory budget")


def test_a_file_that_unpacks_beyond_the_memory_budget_is_refused(tmp_path):
    """200 MB of zeros in 200 kB."""
    path = tmp_path / "bomb_hr.dat.gz"
    with gzip.open(path, "wb", compresslevel=9) as file:
        for _ in range(100):
            file.write(b"0" * 2_000_000)
    with jk.memory_limit("256 MiB"):
        refused(lambda: jk.read_wannier90(path), "memory budget")


def test_what_makes_sense_is_taken():
    """NumPy's numbers, whole ones of any kind, limits themselves, and no skew scattering."""
    assert jk.Lines(np.int64(8), power=np.float32(6)).n == 8
    assert float(jk.RelaxationTime(np.float64(1.0), np.inf).skew_rate) == 0.0
    assert jk.PointImpurity(np.array(1.0), np.array([0, 1]), np.float32(1e-3)).sites[0].orbitals == (0, 1)
    assert jk.PointImpurity(1.0, [[0, 1], [2, 3]], 1e-3).sites[1].orbitals == (2, 3)
    assert len(sampled(fermi_level=np.array(-1.5), temperature=0, seed=np.int32(3)).k)
    assert MOST_REPLICAS >= 10_000
