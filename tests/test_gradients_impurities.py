"""Derivatives of responses through the kernels of impurities: differences, closed forms, surfaces sampled anew."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import constants as si

import jaxkin as jk

SAME = 5e-9  # a surface evaluated again against itself, relative to the largest part; worst measured 7e-10
EXACT = 1e-10  # forward against reverse, relative to the largest; worst measured 4e-14
DIFFERENCE = 1e-5  # against central differences on the same lines, relative; worst measured 2.4e-6 (third, exact)
CLOSED = 1e-6  # against the closed forms' derivatives, relative to the largest; worst measured 3.4e-7
RESAMPLED = 1e-4  # against central differences of surfaces sampled anew from the same seed; worst measured 9.8e-6
STEP = 1e-5

D4 = {"hopping": 0.5, "hopping_z": 0.35, "spin_orbit": 0.4, "spin_orbit_z": 0.25}
MATRIX = np.array([[1.0, 0.3 - 0.2j], [0.3 + 0.2j, 2.0]])
FREQUENCY = [0.0, 0.3]


def unit(name: str) -> jk.TightBinding:
    return jk.models.get("kramers-weyl-d4", **{other: float(other == name) for other in D4})


UNITS = jnp.stack([unit(name).hoppings for name in D4])
TEMPLATE = unit("hopping")
START = jnp.array(list(D4.values()))


def build(numbers) -> jk.TightBinding:
    return eqx.tree_at(lambda m: m.hoppings, TEMPLATE, jnp.tensordot(jnp.asarray(numbers), UNITS, axes=1))


def sampled(level=-1.2, temperature=0.0, n=6, model=None, **options):
    sampler = options.pop("sampler", jk.Lines(n))
    return jk.fermi_surface(model or build(START), level, temperature, sampler, options.pop("replicas", 2), **options)


def relative(found, expected) -> float:
    return float(np.max(np.abs(np.asarray(found) - expected)) / np.max(np.abs(expected)))


def gyrotropic(surface, disorder, frequency=(0.0,), solver="rta", order="first", **at):
    """Samples of g by mechanism on the same lines elsewhere."""
    g = jk.gyrotropic_response(surface.at(**at), disorder, frequency, solver, skew_order=order).g
    return {name: estimate.samples for name, estimate in g.items()}


def currents(surface, disorder, frequency=(0.0,), solver="rta", order="first", **at):
    """Samples of the parts of σ that are made at the surface."""
    sigma = jk.conductivity(surface.at(**at), disorder, frequency, solver, skew_order=order).sigma
    return {name: sigma[name].samples for name in ("drude", "skew", "side_jump")}


def disorder_of(kind: str, strength=1.0, density=0.01) -> jk.Disorder:
    if kind == "gauss":
        return jk.FiniteRangeImpurity(jk.Gaussian(1.2), 3.0 * strength, density)
    if kind == "coulomb":
        return jk.FiniteRangeImpurity(jk.ScreenedCoulomb(10.0), strength, density, order="third")
    if kind == "real space":
        well = jk.RealSpace(lambda r: jnp.exp(-(r @ r)), 4.0)
        return jk.FiniteRangeImpurity(well, strength, density, positions=[[0.0, 0.0, 0.0], [0.5, 0.5, 0.0]])
    if kind == "cluster":
        return jk.PointImpurity(1.5 * strength, [0, 1, 0, 1], density, cells=[[0] * 3] * 2 + [[1, 0, 0]] * 2)
    return jk.PointImpurity(strength * jnp.asarray(MATRIX), [0, 1], density, order=kind)


MIXTURE = disorder_of("tmatrix") + disorder_of("cluster") + disorder_of("real space")
KERNELS = jk.RelaxationTime(1.0, 20.0, 0.3) + jk.KernelDisorder(
    lambda p, q: (1 + p.velocity @ q.velocity) / q.density_of_states
)


@pytest.mark.parametrize(
    ("disorder", "solver", "order", "temperature"),
    [
        pytest.param(MIXTURE, "rta", "first", 0.0, id="mixture", marks=pytest.mark.slow),
        pytest.param(disorder_of("gauss"), "exact", "all", 0.0, id="gauss-exact", marks=pytest.mark.slow),
        pytest.param(KERNELS, "rta", "first", 0.0, id="kernels", marks=pytest.mark.slow),
        pytest.param(disorder_of("coulomb"), "exact", "first", 0.0, id="coulomb-exact", marks=pytest.mark.slow),
        pytest.param(disorder_of("tmatrix"), "rta", "first", 60.0, id="thermal", marks=pytest.mark.slow),
    ],
)
def test_values(disorder, solver, order, temperature):
    """All parts of g and σ of the surface evaluated where it is, compiled, are its own."""
    level = -1.9 if temperature else -1.2
    surface = sampled(level, temperature, n=4 if temperature else 8)
    expected = jk.gyrotropic_response(surface, disorder, FREQUENCY, solver, skew_order=order)

    @jax.jit
    def tensors(mu):
        options = (disorder, FREQUENCY, solver, order)
        return [f(surface, *options, fermi_level=mu) for f in (gyrotropic, currents)]

    found, hall = tensors(level)
    scale = np.abs(expected.g["total"].samples).max()
    for mechanism, samples in found.items():
        assert np.abs(samples - expected.g[mechanism].samples).max() < SAME * scale, mechanism
    sigma = expected.conductivity.sigma
    scale = np.abs(sigma["drude"].samples).max()
    for mechanism, samples in hall.items():
        assert np.abs(samples - sigma[mechanism].samples).max() < SAME * scale, mechanism


@pytest.mark.parametrize(
    ("kind", "solver", "temperature"),
    [
        ("tmatrix", "rta", 0.0),
        pytest.param("gauss", "exact", 0.0, marks=pytest.mark.slow),
        pytest.param("third", "exact", 0.0, marks=pytest.mark.slow),
        pytest.param("born", "rta", 0.0, marks=pytest.mark.slow),
        pytest.param("cluster", "exact", 0.0, marks=pytest.mark.slow),
        pytest.param("coulomb", "rta", 0.0, marks=pytest.mark.slow),
        pytest.param("real space", "rta", 0.0, marks=pytest.mark.slow),
        pytest.param("tmatrix", "rta", 60.0, marks=pytest.mark.slow),
    ],
)
def test_every_parameter(kind, solver, temperature):
    """Forward mode, reverse mode and differences agree for μ, and for relative changes of V, n, T and four hoppings.

    At the reference the values are those of the surface.
    """
    level = -1.9 if temperature else -1.2
    surface = sampled(level, temperature, n=4)
    expected = jk.gyrotropic_response(surface, disorder_of(kind), FREQUENCY, solver).g
    mechanisms = ("intrinsic", "side_jump") if kind == "born" else ("intrinsic", "skew", "side_jump")

    def of(g):
        parts = [g[name].mean(0)[1, a, a] for name in mechanisms for a in (0, 2)]
        return jnp.concatenate([jnp.stack([z.real, z.imag]) for z in parts])

    def responses(u):
        g = gyrotropic(
            surface,
            disorder_of(kind, 1 + u[1], 0.01 * (1 + u[2])),
            FREQUENCY,
            solver,
            model=build(START * (1 + u[4:])),
            fermi_level=level + u[0],
            temperature=temperature * (1 + u[3]) if temperature else None,
        )
        return of(g)

    zero, value = jnp.zeros(8), jax.jit(responses)
    assert relative(value(zero), of({name: part.samples for name, part in expected.items()})) < SAME
    forward = jax.jit(jax.jacfwd(responses))(zero)
    scale = np.abs(forward).max(axis=1, keepdims=True)
    row = np.random.default_rng(0).normal(size=len(scale)) / scale[:, 0]
    reverse = jax.jit(jax.grad(lambda u: responses(u) @ row))(zero)
    steps = STEP * np.eye(8)
    difference = np.stack([(value(s) - value(-s)) / (2 * STEP) for s in steps], axis=1)
    assert np.all(np.isfinite(forward)) and np.all(scale > 0)
    assert np.all(np.abs(forward).max(axis=0)[[3]] > 0) == bool(temperature)
    assert relative(reverse, row @ forward) < EXACT
    assert np.max(np.abs(forward - difference) / scale) < DIFFERENCE


class TestMassiveDiracBand:
    """Sinitsyn et al., PRB 75, 045315, third order: the closed forms, differentiated by μ = ε, Δ, v, V and n."""

    QUANTUM, STRENGTH, DENSITY = si.e**2 / si.hbar, 0.7, 1e-3

    def closed(self, x):
        level, mass, velocity, strength, density = x
        square, cap_lambda = level**2 - mass**2, level**2 + 3 * mass**2
        rate = density * strength**2 * cap_lambda / (4 * velocity**2 * level)  # ħ/τ in eV
        pi = jnp.pi
        drude = square / rate / (4 * pi * level)
        side_jump = -mass / (4 * pi * level) * 4 * square / cap_lambda
        skew = -1 / (2 * pi) / (density * strength) * square**2 * mass / cap_lambda**2
        return self.QUANTUM * jnp.stack([drude, side_jump, skew])

    @pytest.mark.parametrize("solver", ["rta", pytest.param("exact", marks=pytest.mark.slow)])
    def test_derivatives(self, solver):
        x = jnp.array([0.5, 0.2, 1.3, self.STRENGTH, self.DENSITY])
        model = jk.models.get("massive-dirac-2d", velocity=1.3, mass=0.2)
        surface = sampled(0.5, model=model, n=256)

        def parts(x):
            changed = eqx.tree_at(lambda m: (m.function.args[1], m.function.args[0]), model, (x[1], x[2]))
            impurity = jk.PointImpurity(x[3], [0, 1], x[4], order="third")
            sigma = currents(surface, impurity, [0.0], solver, model=changed, fermi_level=x[0])
            xx, side_jump, skew = (sigma[name].mean(0)[0, 0].real for name in ("drude", "side_jump", "skew"))
            return jnp.stack([xx[0], side_jump[1], skew[1]])

        found, expected = jax.jit(jax.jacfwd(parts))(x), jax.jacfwd(self.closed)(x)
        scale = np.abs(expected * x).max(axis=1, keepdims=True)
        assert np.max(np.abs((found - expected) * x) / scale) < CLOSED


@pytest.mark.slow
def test_against_surfaces_sampled_anew():
    """∂/∂μ and ∂/∂V are the derivatives of what gyrotropic_response gives for surfaces of the same seed."""

    def anew(mu, strength):
        return jk.gyrotropic_response(sampled(mu), impurity(strength)).g["skew"].mean[0]

    def impurity(strength):
        return jk.PointImpurity(strength * jnp.asarray(MATRIX), [0, 1], 0.01, rtol=1e-6)

    surface = sampled()
    by_mu, by_strength = jax.jit(
        jax.jacfwd(lambda *x: gyrotropic(surface, impurity(x[1]), fermi_level=x[0])["skew"].mean(0)[0], (0, 1))
    )(-1.2, 1.0)
    h = 1e-4
    for slope, step in ((by_mu, (h, 0.0)), (by_strength, (0.0, h))):
        ahead, behind = (anew(-1.2 + sign * step[0], 1.0 + sign * step[1]) for sign in (1, -1))
        assert relative(slope, (ahead - behind) / (2 * h)) < RESAMPLED


def test_degenerate_bands_are_refused():
    single = build(START)
    double = jk.TightBinding(
        single.lattice,
        single.translations,
        np.kron(np.asarray(single.hoppings), np.eye(2)),
        np.repeat(np.asarray(single.positions), 2, axis=0),
    )
    surface = sampled(model=double, n=4, replicas=1)
    with pytest.raises(jk.JaxkinError, match="bands of this surface are degenerate"):
        gyrotropic(surface, jk.PointImpurity(1.0, [0, 1, 2, 3], 0.01))


@pytest.mark.slow
def test_near_a_crossing():
    """At 1e-9 eV from a Weyl node derivatives are finite."""
    surface = sampled(float(build(START).bands(jnp.zeros(3))[0]) + 1e-9, n=4)

    def value(x):
        return gyrotropic(surface, disorder_of("third"), model=build(x))["total"].imag.sum()

    assert np.all(np.isfinite(jax.jit(jax.grad(value))(START)))


@pytest.mark.slow
def test_three_bands():
    """A Green function by LAPACK's inverse, and states of an eigensystem without a closed form."""
    rng = np.random.default_rng(1)
    steps = np.array([[0, 0], [1, 0], [-1, 0], [0, 1], [0, -1]])
    blocks = [rng.normal(size=(3, 3)) + 1j * rng.normal(size=(3, 3)) for _ in range(3)]
    onsite = blocks[0] + blocks[0].conj().T + np.diag([-6.0, 0.0, 6.0])
    hoppings = np.array([onsite, blocks[1], blocks[1].conj().T, blocks[2], blocks[2].conj().T])
    model = jk.TightBinding(2.0 * np.eye(2), steps, hoppings, [[0.0, 0.0], [0.3, 0.1], [0.6, 0.5]])
    level = float(np.quantile(jax.vmap(model.bands)(jnp.asarray(rng.random((400, 2))))[:, 0], 0.3))
    surface = sampled(level, model=model, n=8, replicas=1)
    impurity = jk.PointImpurity(np.diag([1.0, -2.0, 0.5]), [0, 1, 2], 0.01, rtol=0.03)
    names = ("drude", "skew", "side_jump")

    @jax.jit
    def parts(x):
        changed = eqx.tree_at(lambda m: m.hoppings, model, (1 + x[1]) * model.hoppings)
        sigma = currents(surface, impurity, model=changed, fermi_level=level + x[0])
        return jnp.stack([sigma[name][0, 0] for name in names]).real

    expected = jk.conductivity(surface, impurity).sigma
    for found, name in zip(parts(jnp.zeros(2)), names, strict=True):
        assert np.abs(found - expected[name].samples[0, 0].real).max() < SAME * np.abs(expected["drude"].mean).max()
    slope, steps = jax.jit(jax.jacfwd(parts))(jnp.zeros(2)), STEP * np.eye(2)
    difference = np.stack([(parts(s) - parts(-s)) / (2 * STEP) for s in steps], axis=-1)
    assert relative(slope, difference) < DIFFERENCE


def test_strained_lattice():
    """The lattice, positions and hoppings move with a finite-range potential's sums, and through the exact solver."""
    model = build(START)
    surface = sampled(n=4, replicas=1)
    rng = np.random.default_rng(0)
    names = ("lattice", "hoppings", "positions")
    direction = [0.1 * rng.normal(size=getattr(model, name).shape) for name in names]

    def value(h):
        leaves = [getattr(model, name) + h * d for name, d in zip(names, direction, strict=True)]
        changed = eqx.tree_at(lambda m: [getattr(m, name) for name in names], model, leaves)
        g = gyrotropic(surface, disorder_of("gauss"), solver="exact", model=changed)
        return g["skew"].mean(0)[0, 2, 2].imag

    compiled = jax.jit(value)
    slope = float(jax.jit(jax.jacfwd(value))(0.0))
    assert slope == pytest.approx(float(compiled(STEP) - compiled(-STEP)) / (2 * STEP), rel=DIFFERENCE)


def _not_analytic(k):
    off = k[0] - 1j * k[1]
    return jnp.array([[0.3 + k @ k, off], [jnp.conj(off), -0.3 + 0j]])


def test_a_model_that_is_not_analytic():
    """Where k cannot be displaced the Green function elsewhere is that of a kernel at real k."""
    model = jk.KdotP(_not_analytic, ((-1.2, 1.2),) * 2)
    surface = sampled(0.9, model=model, n=12, replicas=1)
    impurity = jk.PointImpurity([[2.0, 0.5], [0.5, 1.0]], [0, 1], 0.01, rtol=1e-2)
    expected = jk.conductivity(surface, impurity).sigma
    found = currents(surface, impurity)
    for name in ("drude", "skew", "side_jump"):
        assert np.abs(found[name] - expected[name].samples).max() < SAME * np.abs(expected["drude"].samples).max()


def test_refusals():
    surface = sampled(n=4)
    with pytest.raises(jk.JaxkinError, match="bins of energy"):
        gyrotropic(sampled(temperature=600.0, sampler=jk.Grid(6)), disorder_of("born"))

    def of_width(width):
        return gyrotropic(surface, jk.FiniteRangeImpurity(jk.Gaussian(width), 1.0, 0.01))["total"].imag.sum()

    with pytest.raises(jk.JaxkinError, match="own parameters"):
        jax.grad(of_width)(1.0)
    with pytest.raises(jk.JaxkinError, match="needs solver='exact'"):
        gyrotropic(surface, jk.RelaxationTime(1.0), order="all")


def test_far_from_the_reference():
    surface = sampled(n=4)
    far = jax.jit(lambda mu: gyrotropic(surface, disorder_of("born"), fermi_level=mu)["total"])(5.0)
    assert np.isnan(far).all()
