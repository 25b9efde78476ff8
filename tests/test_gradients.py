"""Derivatives of surface integrals and responses: against finite differences, closed forms, and each other."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxkin as jk
from jaxkin.hamiltonian.perturbation import smooth_eigensystem

SAME = 1e-9  # a surface evaluated again against itself, relative; worst measured 1.1e-12
EXACT = 1e-10  # forward against reverse, relative to the largest; worst measured 4e-15
DIFFERENCE = 5e-6  # against central differences on the same lines, relative; worst measured 1.1e-6
RESAMPLED = 1e-4  # against central differences of surfaces sampled anew from the same seed; worst measured 1.3e-5
STEP = 1e-5

D4 = {"hopping": 0.5, "hopping_z": 0.35, "spin_orbit": 0.4, "spin_orbit_z": 0.25}
DISORDER = jk.RelaxationTime(tau=0.7, tau_skew=20.0, side_jump=0.6, axis=(0.1, 0.2, 1.0))
FREQUENCY = [0.0, 0.3]


def unit(name: str) -> jk.TightBinding:
    return jk.models.get("kramers-weyl-d4", **{other: float(other == name) for other in D4})


UNITS = jnp.stack([unit(name).hoppings for name in D4])
TEMPLATE = unit("hopping")
START = jnp.array(list(D4.values()))


def build(numbers) -> jk.TightBinding:
    """The D4 model, linear in its four parameters."""
    return eqx.tree_at(lambda m: m.hoppings, TEMPLATE, jnp.tensordot(jnp.asarray(numbers), UNITS, axes=1))


def sampled(level=-1.2, temperature=0.0, sampler=None, replicas=2, model=None, **options):
    return jk.fermi_surface(model or build(START), level, temperature, sampler or jk.Lines(8), replicas, **options)


def moment_velocity(surface, **at):
    """∫ m_a v_b (−f⁰') on the same lines elsewhere, its mean over replicas."""
    there = surface.at(**at)
    return there.integrate(there.orbital_moment[:, :, None] * there.velocity[:, None, :]).mean


def relative(found, expected) -> float:
    return float(np.max(np.abs(np.asarray(found) - expected)) / np.max(np.abs(expected)))


def gyrotropic(surface, disorder, frequency=(0.0,), solver="rta", **at):
    """Samples of g by mechanism on the same lines elsewhere."""
    g = jk.gyrotropic_response(surface.at(**at), disorder, frequency, solver).g
    return {name: estimate.samples for name, estimate in g.items()}


def currents(surface, disorder, frequency=(0.0,), solver="rta", **at):
    """Samples of the parts of σ that are made at the surface."""
    sigma = jk.conductivity(surface.at(**at), disorder, frequency, solver).sigma
    return {name: sigma[name].samples for name in ("drude", "skew", "side_jump")}


@pytest.fixture(scope="module")
def surface() -> jk.Surface:
    return sampled()


@pytest.mark.parametrize(
    ("name", "level", "temperature", "sampler"),
    [
        pytest.param("kramers-weyl-d4", -1.2, 500.0, jk.Lines(8, power=6), marks=pytest.mark.slow),
        ("kramers-weyl-d4", -1.2, 600.0, jk.Grid(10)),
        ("haldane", 0.9, 0.0, jk.Lines(12)),
    ],
)
def test_values(name, level, temperature, sampler):
    """A surface evaluated where it is, compiled, gives its own responses."""
    surface = sampled(level, temperature, sampler, model=jk.models.get(name))
    expected = jk.gyrotropic_response(surface, DISORDER, FREQUENCY)

    @jax.jit
    def tensors(mu):
        return [f(surface, DISORDER, FREQUENCY, fermi_level=mu) for f in (gyrotropic, currents)]

    found, hall = tensors(level)
    for mechanism, samples in found.items():
        scale = np.abs(expected.g["total"].samples).max()
        assert np.abs(samples - expected.g[mechanism].samples).max() < SAME * scale, mechanism
    sigma = expected.conductivity.sigma
    for mechanism, samples in hall.items():
        scale = np.abs(sigma["drude"].samples).max()
        assert np.abs(samples - sigma[mechanism].samples).max() < SAME * scale, mechanism


def test_momentum_direction_and_moment():
    model = jk.models.get("helical-isotropic", moment=1.0)
    surface = sampled(0.5, model=model)
    disorder = jk.RelaxationTime(0.7, 20.0, 0.6, direction="momentum")
    found = gyrotropic(surface, disorder)["total"]
    assert relative(found, jk.gyrotropic_response(surface, disorder).g["total"].samples) < SAME
    with pytest.raises(jk.JaxkinError, match="no meaning in a crystal"):
        gyrotropic(sampled(), disorder)


@pytest.mark.slow
def test_image_pockets():
    """The pocket at H', sampled as the image of that at H, keeps the turned lines that it has there."""
    surface = sampled(-0.02, model=jk.models.get("tellurium"), sampler=jk.Lines(5))
    boxes = surface.rule.boxes
    assert np.abs(boxes - np.einsum("pii,ij->pij", boxes, np.eye(3))).max() > 0.01
    found, expected = (
        s.integrate(s.velocity[:, :, None] * s.velocity[:, None, :]).samples for s in (surface.at(), surface)
    )
    assert relative(found, expected) < SAME


@pytest.mark.parametrize("temperature", [0.0, pytest.param(500.0, marks=pytest.mark.slow)])
def test_every_parameter(temperature):
    """Forward mode, reverse mode and differences agree for μ, T, τ, τ_sk, a_sj and four hoppings."""
    surface = sampled(temperature=temperature, sampler=jk.Lines(6))

    def responses(x):
        disorder = jk.RelaxationTime(x[2], x[3], x[4], axis=(0.1, 0.2, 1.0))
        at = {"model": build(x[5:]), "fermi_level": x[0], "temperature": x[1] if temperature else None}
        g = gyrotropic(surface, disorder, FREQUENCY, **at)
        sigma = currents(surface, disorder, FREQUENCY, **at)["drude"].mean(0)[1, 0, 0] * 1e-9
        parts = [g[name].mean(0)[1, a, a] for name in ("intrinsic", "skew", "side_jump") for a in (0, 2)]
        return jnp.concatenate([jnp.stack([z.real, z.imag]) for z in [*parts, sigma]])

    x = jnp.concatenate([jnp.array([-1.2, temperature, 0.7, 20.0, 0.6]), START])
    forward, reverse = jax.jit(jax.jacfwd(responses))(x), jax.jit(jax.jacrev(responses))(x)
    steps = STEP * jnp.diag(jnp.maximum(jnp.abs(x), 0.1))
    values = jax.jit(jax.vmap(responses))
    ahead, behind = values(x + steps), values(x - steps)
    difference = ((ahead - behind) / (2 * jnp.diag(steps))[:, None]).T
    scale = np.abs(forward).max(axis=1, keepdims=True)
    assert np.all(np.isfinite(forward)) and np.all(scale > 0)
    assert np.max(np.abs(forward - reverse) / scale) < EXACT
    assert np.max(np.abs(forward - difference) / scale) < DIFFERENCE


def test_leaves_of_the_model(surface):
    """Every leaf: hoppings, lattice (strain at fixed reduced k) and positions, along one random direction."""
    model = build(START)
    names = ("lattice", "hoppings", "positions")
    rng = np.random.default_rng(0)
    direction = {name: 0.1 * jnp.asarray(rng.normal(size=getattr(model, name).shape)) for name in names}
    direction["hoppings"] = direction["hoppings"] * (1 + 0.5j)

    def value(leaves):
        changed = eqx.tree_at(lambda m: [getattr(m, name) for name in names], model, [leaves[n] for n in names])
        return moment_velocity(surface, model=changed)[2, 2]

    at = {name: getattr(model, name) for name in names}
    slope = jax.jit(jax.grad(value))(at)
    along = sum(float(jnp.sum(slope[name] * direction[name]).real) for name in names)
    moved = jax.jit(lambda h: value(jax.tree.map(lambda a, b: a + h * b, at, direction)))
    assert along == pytest.approx(float(moved(STEP) - moved(-STEP)) / (2 * STEP), rel=DIFFERENCE)


def test_against_surfaces_sampled_anew(surface):
    """It is the derivative of what :func:`jaxkin.fermi_surface` gives with the same seed."""
    value = jax.jit(lambda mu: moment_velocity(surface, fermi_level=mu))

    def anew(mu):
        return moment_velocity(sampled(mu))

    h = 1e-4
    assert relative(jax.jacfwd(value)(-1.2), (anew(-1.2 + h) - anew(-1.2 - h)) / (2 * h)) < RESAMPLED


def test_second_derivative(surface):
    slope = jax.jit(jax.grad(lambda mu: moment_velocity(surface, fermi_level=mu)[2, 2]))
    difference = (slope(-1.2 + STEP) - slope(-1.2 - STEP)) / (2 * STEP)
    assert float(jax.grad(slope)(-1.2)) == pytest.approx(float(difference), rel=1e-5)
    assert float(jax.jacfwd(slope)(-1.2)) == pytest.approx(float(difference), rel=1e-5)


class TestIsotropicMetal:
    """ε = c k²: ν ∝ √μ c^{-3/2}, and g of Eq. (22) ∝ ν v ∝ μ/c."""

    @pytest.fixture(scope="class")
    @classmethod
    def slopes(cls):
        model = jk.models.get("helical-isotropic", moment=1.0)
        surface = sampled(0.5, model=model, sampler=jk.Lines(20))
        curvature = model.function.args[0]

        def logarithms(mu, c):
            changed = eqx.tree_at(lambda m: m.function.args[0], model, c)
            states = surface.at(model=changed, fermi_level=mu).density_of_states().mean
            g = gyrotropic(surface, jk.RelaxationTime(1.0), model=changed, fermi_level=mu)["intrinsic"]
            return jnp.log(jnp.stack([states, g.mean(0)[0, 0, 0].imag]))

        by_mu, by_c = jax.jit(jax.jacrev(logarithms, (0, 1)))(0.5, curvature)
        return 0.5 * by_mu, curvature * by_c

    def test_density_of_states(self, slopes):
        np.testing.assert_allclose([slopes[0][0], slopes[1][0]], [0.5, -1.5], rtol=2e-3)  # of 20² lines

    def test_intrinsic_response(self, slopes):
        np.testing.assert_allclose([slopes[0][1], slopes[1][1]], [1.0, -1.0], rtol=2e-3)


def test_spin_degenerate_bands():
    """Two copies of every band: twice the integrals, twice their derivatives, in both modes."""
    single = build(START)
    double = jk.TightBinding(
        single.lattice,
        single.translations,
        np.kron(np.asarray(single.hoppings), np.eye(2)),
        np.repeat(np.asarray(single.positions), 2, axis=0),
    )

    def slopes(model, copies, modes):
        surface = sampled(model=model, sampler=jk.Lines(4))

        def value(x):
            hoppings = jnp.kron(jnp.tensordot(x[1:], UNITS, axes=1), jnp.eye(copies))
            changed = eqx.tree_at(lambda m: m.hoppings, model, hoppings)
            return moment_velocity(surface, model=changed, fermi_level=x[0])[jnp.array([0, 2]), jnp.array([0, 2])]

        x = jnp.concatenate([jnp.array([-1.2]), START])
        return [jax.jit(mode(value))(x) for mode in modes]

    forward, reverse = slopes(double, 2, (jax.jacfwd, jax.jacrev))
    (expected,) = slopes(single, 1, (jax.jacfwd,))
    assert relative(forward, 2 * expected) < 1e-8  # measured 1e-14
    assert relative(reverse, 2 * expected) < 1e-8


def test_near_a_crossing():
    """At 1e-9 eV from a Weyl node derivatives are finite."""
    surface = sampled(float(build(START).bands(jnp.zeros(3))[0]) + 1e-9, sampler=jk.Lines(4))
    slope = jax.jit(jax.jacfwd(lambda x: moment_velocity(surface, model=build(x))))(START)
    assert np.all(np.isfinite(slope))


@pytest.mark.slow
def test_many_models_at_once(surface):
    def value(x):
        return moment_velocity(surface, model=build(x))[2, 2]

    batch = START * jnp.array([[1.0], [1.001], [0.999]])
    slopes = jax.jit(jax.vmap(jax.grad(value)))(batch)
    np.testing.assert_allclose(slopes[1], jax.jit(jax.grad(value))(batch[1]), rtol=1e-9)


def test_roots_that_disappear(surface):
    with pytest.raises(jk.JaxkinError, match="are gone"):
        surface.at(fermi_level=5.0)
    assert np.isnan(jax.jit(lambda mu: surface.at(fermi_level=mu).density_of_states().mean)(5.0))


def test_refusals(surface):
    with pytest.raises(jk.JaxkinError, match="smeared"):
        sampled(sampler=jk.Grid(16)).at(fermi_level=-1.2)
    with pytest.raises(jk.JaxkinError, match="no temperature to vary"):
        surface.at(temperature=10.0)
    with pytest.raises(jk.JaxkinError, match="sample one there"):
        surface.at(fermi_level=-1.21).carrier_density()
    with pytest.warns(jk.AccuracyWarning):
        empty = sampled(9.0)
    with pytest.raises(jk.JaxkinError, match="no points"):
        empty.at(fermi_level=9.0)


def test_thermal_lattice_refuses_elastic_averages_of_another_model():
    """Its points stay in their bins of energy: only what needs no bins follows the model."""
    surface = sampled(temperature=600.0, sampler=jk.Grid(6))
    for tensor in (gyrotropic, currents):
        for disorder in (jk.RelaxationTime(1.0, tau_skew=20.0), jk.RelaxationTime(1.0, side_jump=0.5)):
            with pytest.raises(jk.JaxkinError, match="do not follow another model"):
                tensor(surface, disorder, model=build(START))
        with pytest.raises(jk.JaxkinError, match="do not follow another model"):
            jax.jit(lambda jump, f=tensor: f(surface, jk.RelaxationTime(1.0, side_jump=jump), model=build(START)))(0.0)


@pytest.mark.slow
def test_thermal_lattice():
    """ε = c k²: g^skew ∝ ∫(−f⁰')ε² and σ ∝ c^{-1/2}∫(−f⁰')ε^{3/2}, in μ, T and c."""
    model, kelvin = jk.models.get("helical-isotropic"), 600.0
    surface = sampled(0.5, kelvin, jk.Grid(24), model=model)
    curvature, thermal = model.function.args[0], (np.pi * jk.units.BOLTZMANN * kelvin) ** 2 / 3

    def skew(mu, kelvin):
        g = gyrotropic(surface, jk.RelaxationTime(1.0, 20.0), fermi_level=mu, temperature=kelvin)
        return jnp.log(g["skew"].mean(0)[0, 0, 0].imag)

    def drude(c):
        changed = eqx.tree_at(lambda m: m.function.args[0], model, c)
        sigma = currents(surface, jk.RelaxationTime(1.0), model=changed)
        return jnp.log(sigma["drude"].mean(0)[0, 0, 0].real)

    by_mu, by_temperature = jax.jit(jax.jacfwd(skew, (0, 1)))(0.5, kelvin)
    assert 0.5 * by_mu == pytest.approx(0.5 / (0.25 + thermal), rel=0.03)  # of the lattice; measured 0.015
    assert kelvin * by_temperature == pytest.approx(2 * thermal / (0.25 + thermal), rel=0.08)  # measured 0.031
    assert curvature * jax.jit(jax.grad(drude))(curvature) == pytest.approx(-0.5, rel=0.03)  # measured 0.014


class TestPerturbation:
    def test_projectors(self):
        """dP of every band against differences, also with an exact degeneracy that dH keeps."""
        rng = np.random.default_rng(1)
        a, b = (x + x.conj().T for x in rng.normal(size=(2, 3, 3)) + 1j * rng.normal(size=(2, 3, 3)))
        for copies in (1, 2):

            def projector(x, copies=copies):
                energies, states = smooth_eigensystem(jnp.kron(jnp.asarray(a + x * b), jnp.eye(copies)))
                return energies[0], states[:, :copies] @ states[:, :copies].conj().T

            energy, slope = jax.jacfwd(projector)(0.0)
            ahead, behind = projector(STEP), projector(-STEP)
            assert float(energy) == pytest.approx(float(ahead[0] - behind[0]) / (2 * STEP), rel=1e-8)
            np.testing.assert_allclose(slope, (ahead[1] - behind[1]) / (2 * STEP), atol=1e-8)

    def test_a_set_that_splits(self):
        """One by one the energies of a set have no linear derivative; each moves with the mean."""
        slopes = jax.jacrev(lambda x: smooth_eigensystem(x * jnp.diag(jnp.array([1.0, 2.0, 6.0])).astype(complex))[0])
        np.testing.assert_allclose(slopes(0.0), 3.0, atol=1e-14)
