"""Any observable by mechanism: against the conductivity, closed forms, plain sums, and the quantum calculation."""

import importlib
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import constants as si
from scipy.integrate import quad
from test_quantum import plane

import jaxkin as jk
from jaxkin import units
from jaxkin.errors import JaxkinError
from jaxkin.hamiltonian.spectrum import operators
from jaxkin.quantum.averaged import Dressed, Zone
from jaxkin.quantum.scatterers import scatterers
from jaxkin.response.linear import Driven

AREA = np.sqrt(3) / 2
PAULI = np.array([[[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]])
LEVEL = -2.4


def magnetic(phase):
    """The plane of the checked cases with complex second neighbours."""
    base = plane()
    steps, hoppings = np.array(base.translations), np.array(base.hoppings)
    hoppings[:, 0, 0] *= np.exp(1j * phase * np.where(steps[:, 1] == 0, steps[:, 0], 0))
    hoppings[:, 1, 1] *= np.exp(0.7j * phase * np.where(steps[:, 0] == 0, steps[:, 1], 0))
    return jk.TightBinding(base.lattice, steps, hoppings, base.positions)


def impurity(order="born"):
    return jk.PointImpurity(np.diag([1.0, 0.4]), [0, 1], 1 / AREA, order=order)


@pytest.fixture(scope="module")
def contour():
    return jk.fermi_surface(magnetic(0.9), LEVEL, sampler=jk.Lines(40), replicas=2)


@pytest.fixture(scope="module")
def warm():
    return jk.fermi_surface(magnetic(0.9), LEVEL, 40.0, sampler=jk.Lines(12), replicas=4)


@pytest.mark.parametrize("solver", ["rta", "exact"])
def test_current_is_the_conductivity(contour, solver):
    """All mechanisms, two ways: the current as an operator, and the velocity of the bands."""
    disorder = impurity("third")
    found = jk.linear_response(contour, jk.Observable.current(), disorder, [0.0, 1.0], solver=solver)
    known = jk.conductivity(contour, disorder, [0.0, 1.0], solver=solver)
    size = np.abs(known.sigma["side_jump"].mean).max()
    for name in ("intrinsic", "skew", "side_jump", "gaussian_skew"):
        part, other = found.chi[name].mean, known.sigma[name].mean
        assert np.abs(other).max() > 1e-6 * size, name
        np.testing.assert_allclose(0.5 * (part - part.swapaxes(1, 2)), other, atol=1e-9 * size, err_msg=name)
        if name in ("intrinsic", "side_jump"):
            np.testing.assert_allclose(part, other, atol=1e-9 * size, err_msg=name)
    np.testing.assert_allclose(found.chi["drude"].mean, known.sigma["drude"].mean, rtol=1e-9, atol=1e-9 * size)


def test_current_with_a_smooth_potential(contour):
    """Finite range, Born: V(p − p') stays as it is when a field couples to an operator, and its slopes cancel in δr."""
    disorder = jk.FiniteRangeImpurity(jk.Gaussian(0.6), 1.0, 0.1, order="born", rtol=1e-12)
    found = jk.linear_response(contour, jk.Observable.current(), disorder, intrinsic=False)
    known = jk.conductivity(contour, disorder, hall=False).sigma["side_jump"].mean
    np.testing.assert_allclose(found.chi["side_jump"].mean, known, atol=1e-8 * np.abs(known).max())
    assert found.left_out == ("intrinsic",)


def test_spin_is_that_of_the_magnetization():
    """M = −iχ^me E of the spin's moment is the mean value of that moment."""
    one = jk.models.get("kramers-weyl-d4")
    model = jk.TightBinding(one.lattice, one.translations, one.hoppings, one.positions, spin=PAULI)
    surface = jk.fermi_surface(model, -1.2, sampler=jk.Lines(8), replicas=2)
    disorder, field = jk.PointImpurity(1.0, [0], 0.01), [3e3, 1e3, -2e3]
    found = jk.linear_response(surface, jk.Observable.spin_moment(model), disorder, [0.0, 1.0], solver="exact")
    other = jk.gyrotropic_response(surface, disorder, [0.0, 1.0], solver="exact").of_moment("spin")
    expected = other.magnetization(field)["intrinsic"].mean
    np.testing.assert_allclose(found.induced(field)["drude"].mean, expected, rtol=1e-9, atol=1e-9 * abs(expected).max())
    assert not found.chi["intrinsic"].mean.any()  # time reversal
    assert found.left_out == ("the operators' change of T",)


def test_density_does_not_answer(contour):
    """Of the density, 1, there is no interband part, and the mean velocity vanishes."""
    found = jk.linear_response(contour, jk.Observable(np.eye(2)), impurity(), solver="exact")
    size = np.abs(jk.linear_response(contour, jk.Observable(np.diag([1.0, -1.0])), impurity()).chi["total"].mean).max()
    for name, part in found.chi.items():
        assert np.abs(part.mean).max() < 1e-9 * size, name


def kubo(model, observable, level, temperature, n):
    """∫(dk) Σ f⁰ F_ab on a grid of n^d k, and the same of the entropy."""
    k = np.stack(np.meshgrid(*(np.arange(n) / n,) * model.dimension, indexing="ij"), -1).reshape(-1, model.dimension)
    h, slope = map(np.asarray, operators(model, k))
    o = np.asarray(jax.vmap(lambda q: observable.at(model, q))(k))
    energies, states = np.linalg.eigh(h)
    v, o = (np.einsum("kmi,kamn,knj->kaij", states.conj(), x, states) for x in (slope, o))
    gap = energies[:, :, None] - energies[:, None, :] + 1e300 * np.eye(model.size)
    each = -2 * np.imag(np.einsum("kanm,kbmn,knm->knab", o, v, gap**-2.0))
    x = (energies - level) / (units.BOLTZMANN * temperature)
    f = 1 / (1 + np.exp(x))
    entropy = units.BOLTZMANN * temperature * (np.log1p(np.exp(-x)) + x * f)
    measure = float(model.measure) / len(k)
    return [measure * np.einsum("kn,knab->ab", weight, each) for weight in (f, entropy)]


def test_intrinsic_part_is_the_sum_over_a_grid():
    """Of operators within and between orbitals, at 1200 K, of a field and of a gradient of temperature."""
    model, temperature = magnetic(0.9), 1200.0
    observable = jk.Observable(np.stack([np.diag([1.0, -1.0]), PAULI[0], PAULI[1], np.diag([0.0, 1.0])]))
    surface = jk.fermi_surface(model, LEVEL, temperature, sampler=jk.Lines(8), replicas=2)
    plain, entropic = kubo(model, observable, LEVEL, temperature, 400)
    to_si = 1e-10 * units.per_volume(2)
    disorder = jk.RelaxationTime(1.0)
    found = jk.linear_response(surface, observable, disorder, rtol=1e-6).chi["intrinsic"].mean[0]
    np.testing.assert_allclose(found, to_si * plain, atol=1e-5 * to_si * np.abs(plain).max())
    found = jk.linear_response(surface, observable, disorder, force="thermal", rtol=1e-6).chi["intrinsic"].mean[0]
    expected = -to_si * entropic / temperature
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


def test_thermoelectric_conductivity_of_the_massive_dirac_band():
    """α = ∫dε (−f⁰')(ε−μ)/(eT) σ(ε): Drude part with one τ and intrinsic part, by quadrature of closed forms."""
    mass, level, temperature, tau = 0.1, 0.16, 300.0, 0.3
    model = jk.models.get("massive-dirac-2d", velocity=1.0, mass=mass)
    surface = jk.fermi_surface(model, level, temperature, sampler=jk.Lines(24), replicas=8)
    found = jk.linear_response(surface, jk.Observable.current(), jk.RelaxationTime(tau), force="thermal")
    kt = units.BOLTZMANN * temperature

    def averaged(sigma):
        def weight(e):
            return (e - level) / temperature / (4 * kt * np.cosh((e - level) / (2 * kt)) ** 2) * sigma(e)

        parts = (level - 40 * kt, -mass, mass, level + 40 * kt)
        # (ε−μ)/eT in volts a kelvin, e < 0
        return -sum(quad(weight, a, b, epsabs=1e-16, epsrel=1e-10)[0] for a, b in pairwise(parts))

    def drude(e):
        inside = max(e * e - mass * mass, 0.0)
        return si.e**2 * inside * tau / (4 * np.pi * units.HBAR * max(abs(e), mass)) / si.hbar

    def intrinsic(e):
        return -(si.e**2) * mass / (4 * np.pi * si.hbar * max(abs(e), mass))

    alpha = found.chi["drude"].real
    for a in range(2):
        one = alpha[0, a, a]
        assert abs(one.mean - averaged(drude)) < 5 * one.stderr
        assert one.stderr < 0.02 * abs(one.mean)
    hall = found.chi["intrinsic"].real.mean[0]
    np.testing.assert_allclose(hall[0, 1], averaged(intrinsic), rtol=2e-2)
    np.testing.assert_allclose(hall[1, 0], -hall[0, 1])


def test_heat_that_a_field_drives_is_that_of_a_gradient(warm):
    """Kelvin's relation Π = Tα, tensor by tensor: what E drives of heat is T times what −∇T drives of charge."""
    disorder = jk.PointImpurity(np.diag([1.0, 0.3]), [0, 1], 0.1, order="third")
    heat = jk.linear_response(warm, jk.Observable.heat_current(), disorder, solver="exact", rtol=1e-4)
    charge = jk.linear_response(warm, jk.Observable.current(), disorder, solver="exact", force="thermal", rtol=1e-4)
    for name, part in heat.chi.items():
        size = np.abs(part.mean).max()
        assert size > 1e-12, name
        assert np.abs(part.mean - warm.temperature * charge.chi[name].mean).max() < 1e-9 * size, name


def test_heat_conductivity_is_that_of_wiedemann_and_franz(warm):
    """κ = (π²/3)(k_B/e)² T σ in every mechanism, but for (kT)² over squares of the bands' energies."""
    lorenz = np.pi**2 / 3 * (si.k / si.e) ** 2
    disorder = jk.PointImpurity(np.diag([1.0, 0.3]), [0, 1], 0.1, order="third")
    kappa = jk.linear_response(warm, jk.Observable.heat_current(), disorder, force="thermal", rtol=1e-5)
    sigma = jk.linear_response(warm, jk.Observable.current(), disorder, rtol=1e-5)
    for name, part in kappa.chi.items():
        expected = lorenz * warm.temperature * sigma.chi[name].mean
        size, error = np.abs(expected).max(), np.abs(part.stderr).max()
        assert error < 0.04 * size, name
        assert np.abs(part.mean - expected).max() < 5 * error + 2e-3 * size, name
    intrinsic = lorenz * warm.temperature * sigma.chi["intrinsic"].mean
    np.testing.assert_allclose(kappa.chi["intrinsic"].mean, intrinsic, atol=1e-4 * np.abs(intrinsic).max())


def test_thermal_hall_conductivity_of_the_massive_dirac_band():
    """κ_ab = ∫dε (−f⁰')(ε−μ)²/(e²T) σ_ab(ε) with kT of the size of the gap: quadrature of closed forms."""
    mass, level, temperature = 0.1, 0.16, 400.0
    model = jk.models.get("massive-dirac-2d", velocity=1.0, mass=mass)
    surface = jk.fermi_surface(model, level, temperature, sampler=jk.Lines(16), replicas=2)
    heat = jk.Observable.heat_current()
    found = jk.linear_response(surface, heat, jk.RelaxationTime(0.3), force="thermal", rtol=1e-4)
    kt = units.BOLTZMANN * temperature

    def weighted(e):
        hall = -(si.e**2) * mass / (4 * np.pi * si.hbar * max(abs(e), mass))
        return (e - level) ** 2 / temperature / (4 * kt * np.cosh((e - level) / (2 * kt)) ** 2) * hall

    parts = (level - 40 * kt, -mass, mass, level + 40 * kt)
    expected = sum(quad(weighted, a, b, epsabs=1e-16, epsrel=1e-10)[0] for a, b in pairwise(parts))
    np.testing.assert_allclose(found.chi["intrinsic"].mean[0, 0, 1].real, expected, rtol=1e-3)


class Measured(Dressed):
    """With operators among the vertices that are measured."""

    observable = jk.Observable(np.stack([np.diag([1.0, -1.0]), np.diag([1.0, 0.3])]))

    def current(self, k):
        (three,) = self.observable.triples()
        o = jax.vmap(lambda q: three.at(self.model, q))(k)
        return jnp.concatenate([super().current(k), jnp.moveaxis(o, 0, -1)], axis=0)

    curl = None  # slopes are not asked for


def test_side_jump_of_operators_against_the_quantum_calculation(contour, monkeypatch):
    """Occupations, even under time reversal: what is even in it of G^R G^A with the ladder, as n → 0.

    The Boltzmann equation's n⁰ is the clean bubble's interband part, the side jumps of both kinds and Gaussian skew.
    """
    module = importlib.import_module("jaxkin.quantum.gyrotropic")
    monkeypatch.setattr(module, "Dressed", Measured)

    def even(w2, n):
        disorder = jk.PointImpurity(np.diag([1.0, 0.4]), [0, 1], w2 / AREA, order="born")
        halves = []
        for phase in (0.9, -0.9):
            model = magnetic(phase)
            zone = Zone(model, (n, n), np.full(2, 0.5))
            run = module.Run(model, scatterers(model, disorder), zone, LEVEL, "bare")
            halves.append(run.pair(0.0, 0.0, True).value[3:5, :2].real)
        return 0.5 * (halves[0] + halves[1])

    h, half, quarter = even(0.2, 80), even(0.1, 140), even(0.05, 280)
    limit = (h - 6 * half + 8 * quarter) / 3
    observable = Measured.observable
    response = jk.linear_response(contour, observable, impurity(), solver="exact", intrinsic=False)
    to_bubble = -2 * np.pi * AREA / 1e10
    scattered = to_bubble * sum(response.chi[name].mean[0, :, :2].real for name in ("side_jump", "gaussian_skew"))
    v = np.asarray(operators(contour.model, np.asarray(contour.k))[1])
    state, mixed = Driven(contour, observable, None).couplings[0]
    each = np.imag(np.einsum("sam,sbmn,sn->sab", mixed.conj(), v, state))
    clean = -2 * np.pi * AREA * np.einsum("s,sab->ab", contour.weight, each)[:2, :2] / contour.replicas
    assert np.abs(scattered).max() > 0.1
    np.testing.assert_allclose(clean + scattered, limit, atol=2e-4)


def test_doubled_bands_respond_twice(contour):
    """Spin that nothing depends on: sets of two, whatever states are taken in them."""
    single, o = contour.model, np.stack([np.diag([1.0, -1.0]), PAULI[0]])
    turn = np.linalg.qr(np.random.default_rng(3).normal(size=(2, 2)))[0]

    def doubled(x):
        return np.kron(np.eye(2), x)

    hop = np.stack([doubled(h) for h in np.asarray(single.hoppings)])
    model = jk.TightBinding(single.lattice, single.translations, hop, np.tile(single.positions, (2, 1)))
    surface = jk.fermi_surface(model, LEVEL, sampler=jk.Lines(40), replicas=2)
    disorder = jk.PointImpurity(np.kron(np.eye(2), np.diag([1.0, 0.4])), [0, 1, 2, 3], 1 / AREA, order="born")
    how = {"theory": "paper", "rtol": 1e-8}
    both = jk.linear_response(surface, jk.Observable(np.stack([doubled(x) for x in o])), disorder, **how)
    one = jk.linear_response(contour, jk.Observable(o), impurity(), **how)
    for name in ("drude", "side_jump", "intrinsic"):
        scale = np.abs(one.chi[name].mean).max()
        np.testing.assert_allclose(both.chi[name].mean, 2 * one.chi[name].mean, atol=1e-6 * scale, err_msg=name)
    field = np.kron(turn @ np.diag([1.0, -1.0]) @ turn.T, np.eye(2))  # a spin along a direction
    found = jk.linear_response(surface, jk.Observable(field), disorder, **how)
    assert np.abs(found.chi["total"].mean).max() < 1e-9 * np.abs(one.chi["drude"].mean).max()


def test_values_without_operators(contour):
    """Numbers of the states have the parts that need no operator, the others are named."""
    observable = jk.Observable(np.diag([1.0, -1.0]))
    whole = jk.linear_response(contour, observable, impurity(), intrinsic=False)
    values = Driven(contour, observable, None).values
    part = jk.linear_response(contour, values, impurity())
    for name in ("drude", "skew", "gaussian_skew"):
        np.testing.assert_allclose(part.chi[name].mean, whole.chi[name].mean)
    assert part.left_out == ("what bands mix, of values without operators",)
    assert whole.left_out == ("intrinsic",)


def test_a_gap_has_the_part_of_its_filled_bands():
    """Nothing scatters, or screens, and the Hall conductivity is the quantum."""
    model = jk.models.get("haldane")
    with pytest.warns(jk.AccuracyWarning, match="in a gap"):
        surface = jk.fermi_surface(model, 0.0, sampler=jk.Lines(8), replicas=2)
    disorder = jk.FiniteRangeImpurity(jk.ScreenedCoulomb(10.0), 1.0, 0.01)
    found = jk.linear_response(surface, jk.Observable.current(), disorder).chi
    assert abs(found["total"].mean[0, 0, 1]) == pytest.approx(si.e**2 / si.h, rel=1e-6)
    assert not any(found[name].mean.any() for name in ("drude", "skew", "side_jump", "gaussian_skew"))


def test_many_operators_are_each_by_itself(contour):
    """Four, three at a time, and an order of their own."""
    every = np.stack([np.diag([1.0, 0.0]), PAULI[0], PAULI[1], np.diag([0.3, -2.0])])
    found = jk.linear_response(contour, jk.Observable(every), impurity(), intrinsic=False)
    alone = jk.linear_response(contour, jk.Observable(every[3]), impurity(), intrinsic=False)
    np.testing.assert_allclose(found.chi["total"].mean[:, 3:], alone.chi["total"].mean, rtol=1e-9)


@pytest.mark.parametrize(
    "refused,message",
    [
        (lambda s: jk.Observable([[0, 1], [0, 0]]), "Hermitian"),
        (lambda s: jk.Observable(np.zeros((2, 3))), "shape"),
        (lambda s: jk.Observable(np.eye(2), ["a", "b"]), "names"),
        (lambda s: jk.Observable.spin_moment(s.model), "no spin operators"),
        (lambda s: jk.Observable.occupation(s.model, [[5]]), "orbital 5 is outside 0..1"),
        (lambda s: jk.linear_response(s, jk.Observable(np.eye(3)), impurity()), "acts on 3 orbitals, the model has 2"),
        (lambda s: jk.linear_response(s, [1.0], impurity()), "points"),
        (lambda s: jk.linear_response(s, jk.Observable(np.eye(2)), impurity(), force="thermal"), "T > 0"),
        (lambda s: jk.linear_response(s, jk.Observable(np.eye(2)), impurity(), force="heat"), "force='heat'"),
    ],
)
def test_refusals(contour, refused, message):
    with pytest.raises(JaxkinError, match=message):
        refused(contour)
