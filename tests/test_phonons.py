"""Phonons: closed forms of one band, the same by other means, what must be conserved, derivatives."""

import jax
import numpy as np
import pytest
from scipy import constants as si
from scipy.integrate import quad
from test_impurities import two_site_chain

import jaxkin as jk

POTENTIAL, MASS_DENSITY, SOUND, KELVIN, LEVEL = 6.0, 6.2e3, 2.6e3, 300.0, 0.5
EVERY = 1e6
"""Å⁻¹: a cutoff that leaves nothing out, but lets pairs of states be summed."""
SI_SIZE = si.k * KELVIN * (POTENTIAL * si.e) ** 2 / (MASS_DENSITY * SOUND**2)  # J² m³


def acoustic(**options):
    return jk.AcousticPhonons(
        **{"deformation_potential": POTENTIAL, "mass_density": MASS_DENSITY, "sound_velocity": SOUND} | options
    )


@pytest.fixture(scope="module")
def sphere():
    return jk.fermi_surface(jk.models.get("helical-isotropic", moment=1.0), LEVEL, sampler=jk.Lines(20), replicas=2)


@pytest.fixture(scope="module")
def warm():
    model = jk.models.get("helical-isotropic", moment=1.0)
    return jk.fermi_surface(model, LEVEL, KELVIN, sampler=jk.Lines(8), replicas=2)


@pytest.fixture(scope="module")
def tetragonal():
    return jk.fermi_surface(jk.models.get("kramers-weyl-d4"), -1.2, sampler=jk.Lines(8), replicas=2)


@pytest.fixture(scope="module")
def circle():
    model = jk.models.get("massive-dirac-2d", velocity=1.3, mass=0.2)
    return jk.fermi_surface(model, LEVEL, sampler=jk.Lines(128, power=8), replicas=2)


def scattered(disorder, surface):
    return disorder.collisions(surface, surface.shells[0])


K_F = np.sqrt(2 * si.electron_mass * LEVEL * si.e) / si.hbar
NU = si.electron_mass * K_F / (2 * np.pi**2 * si.hbar**2)


def parabolic(correlation):
    """1/τ in 1/ps, (2π/ħ) ν ∫ dcosθ/2 (1 − cosθ) C(2k_F sin θ/2), for C(q) in SI."""

    def integrand(cosine):
        return 0.5 * (1 - cosine) * correlation(K_F * np.sqrt(2 - 2 * cosine))

    return 2 * np.pi / si.hbar * NU * quad(integrand, -1, 1, epsabs=0, epsrel=1e-11)[0] * 1e-12


def bloch_gruneisen(kelvin):
    def correlation(q):
        half = 0.5 * si.hbar * SOUND * q / (si.k * kelvin)
        return SI_SIZE * kelvin / KELVIN * (half / np.sinh(half)) ** 2 if 0 < half < 300 else 0.0

    return correlation


def polar(q):
    size = si.e**2 * 0.011 * si.e / (2 * si.epsilon_0) * (1 / 23 - 1 / 33) / np.tanh(0.0055 * si.e / (si.k * KELVIN))
    return size * q**2 / (q**2 + 1 / (30 * si.angstrom) ** 2) ** 2


@pytest.mark.parametrize(
    ("phonons", "correlation", "accuracy"),
    [
        pytest.param(acoustic(temperature=KELVIN), lambda q: SI_SIZE, 3e-5, id="equipartition"),
        pytest.param(acoustic(temperature=KELVIN, cutoff=EVERY), lambda q: SI_SIZE, 3e-5, id="pairs"),
        pytest.param(acoustic(temperature=20.0, bloch_gruneisen=True), bloch_gruneisen(20.0), 3e-5, id="20 K"),
        pytest.param(jk.PolarPhonons(0.011, 23.0, 33.0, 30.0, KELVIN), polar, 2e-4, id="polar"),
    ],
)
def test_parabolic_band(sphere, phonons, correlation, accuracy):
    """The transport rate on a sphere; worst 9e-6, which is the error of ν; polar 5e-5."""
    assert abs(scattered(phonons, sphere).transport_time * parabolic(correlation) - 1) < accuracy


def test_bloch_gruneisen_limits(sphere):
    """1/τ ∝ T⁵ where k_BT is far below ħc·2k_F (here 144 K), and equipartition far above."""
    rates = [parabolic(bloch_gruneisen(kelvin)) for kelvin in (4.0, 8.0)]
    assert abs(np.log2(rates[1] / rates[0]) - 5) < 0.1
    hot = [scattered(acoustic(temperature=1e4, bloch_gruneisen=which), sphere).transport_time for which in (0, 1)]
    assert abs(hot[0] / hot[1] - 1) < 1e-3


def test_conductivity_is_drudes_formula(warm):
    """At T > 0 every energy has its own τ ∝ 1/(T√ε): σ = e²∫(−f⁰')ν v²τ/3."""
    sigma = jk.conductivity(warm, acoustic(), [0.0]).sigma["drude"].mean[0, 0, 0]
    rate = 2 * np.pi / si.hbar * SI_SIZE  # over ν, which cancels that of the sum over states
    x = np.linspace(-40, 40, 4001)
    energy = LEVEL * si.e + x * si.k * KELVIN
    weight = np.where(energy > 0, 2 * np.maximum(energy, 0) / si.electron_mass / 3, 0.0) / (4 * np.cosh(x / 2) ** 2)
    exact = si.e**2 / rate * np.trapezoid(weight, x)
    assert abs(sigma / exact - 1) < 2e-3  # so many lines have


@pytest.mark.parametrize("solver", ["rta", "exact"])
def test_matthiessen(warm, solver):
    """Isotropic rates add, energy by energy, and with them the exact solver is the relaxation-time approximation.

    To rounding, and to the mean velocity that random lines leave (measured 2e-4).
    """
    phonons = jk.PhononRate(0.5, exponent=1.5, reference=150.0, edge=0.1, energy_exponent=0.5, energy=0.1)
    both = jk.conductivity(warm, jk.RelaxationTime(0.8) + phonons, [0.0, 0.5], solver).sigma["drude"].mean
    tau = 1 / (1 / 0.8 + 2**1.5 * np.sqrt(np.abs(warm.energy - 0.1) / 0.1) / 0.5)
    omega = 2 * np.pi * np.array([0.0, 0.5])[:, None]
    unit = jk.units.velocity_velocity_density(3) * si.e**2 * 1e-12
    squares = (tau / (1 - 1j * omega * tau)) * warm.velocity[:, 0] ** 2
    exact = unit * np.array([warm.integrate(row).mean for row in squares])
    np.testing.assert_allclose(both[:, 0, 0], exact, rtol=1e-9 if solver == "rta" else 5e-4)


def test_rates_of_a_function(warm):
    def time(energy, kelvin):
        return 0.5 * (150.0 / kelvin) ** 1.5 / (abs(energy - 0.1) / 0.1) ** 0.5

    powers = jk.PhononRate(0.5, exponent=1.5, reference=150.0, edge=0.1, energy_exponent=0.5, energy=0.1)
    found = [jk.conductivity(warm, one, [0.0]).sigma["drude"].mean for one in (powers, jk.PhononRate(time))]
    np.testing.assert_allclose(found[0], found[1], rtol=1e-12)


@pytest.mark.parametrize("solver", ["rta", "exact"])
def test_massive_dirac_band(circle, solver):
    """Side jump and Gaussian skew scattering of white noise, N. Sinitsyn et al., PRB 75, 045315, whatever its size."""
    x, spread = LEVEL**2 - 0.04, LEVEL**2 + 3 * 0.04
    intrinsic = -(si.e**2) * 0.2 / (4 * np.pi * si.hbar * LEVEL)
    for kelvin, cutoff in ((30.0, None), (300.0, EVERY)):
        phonons = acoustic(mass_density=1e-6, temperature=kelvin, cutoff=cutoff)
        sigma = jk.conductivity(circle, phonons, [0.0], solver).sigma
        assert abs(sigma["side_jump"].mean[0, 0, 1] / (intrinsic * 4 * x / spread) - 1) < 1e-8
        if cutoff is None:
            assert abs(sigma["gaussian_skew"].mean[0, 0, 1] / (intrinsic * 3 * x**2 / spread**2) - 1) < 1e-8
        else:
            assert not sigma["gaussian_skew"].mean.any()


def test_pairs_and_orbitals_agree(tetragonal):
    """O(N) in the orbitals, and by pairs of states: the same actions (worst 4e-15)."""
    x = np.random.default_rng(0).normal(size=(tetragonal.shells[0].points.stop, 2))
    parts = [
        (c.symmetric(x), c.side_jump_velocity, c.displaced(x, x))
        for c in (scattered(acoustic(temperature=KELVIN, cutoff=cutoff), tetragonal) for cutoff in (None, EVERY))
    ]
    for a, b in zip(*parts, strict=True):
        assert np.abs(a - b).max() < 1e-12 * np.abs(a).max()


def test_nearest_image():
    """In a hexagonal crystal with two places, against a search through images, one pair at a time."""
    surface = jk.fermi_surface(jk.models.get("haldane"), -1.2, sampler=jk.Lines(6), replicas=1)
    model, width = surface.model, 0.7
    phonons = jk.Phonons(lambda q, kelvin: jax.numpy.exp(-width * (q @ q)), temperature=1.0)
    c = scattered(phonons, surface)
    basis, places = np.asarray(model.basis), np.asarray(model.centres)
    k = np.asarray(model.cartesian(surface.k))
    u = np.linalg.eigh(np.asarray(jax.vmap(model.hamiltonian)(surface.k)))[1]
    u = u[np.arange(len(u)), :, surface.band]
    images = np.stack(np.meshgrid(*[np.arange(-3, 4)] * 2), axis=-1).reshape(-1, 2) @ basis
    q = k[:, None] - k
    nearest = np.argmin(np.linalg.norm(q[:, :, None] - images, axis=-1), axis=-1)
    assert len(set(nearest.ravel())) == 7
    amplitude = np.einsum("im,ijm,jm->ij", u.conj(), np.exp(-1j * images[nearest] @ places.T), u)
    kernel = np.exp(-width * np.sum((q - images[nearest]) ** 2, axis=-1)) * np.abs(amplitude) ** 2
    np.testing.assert_allclose(c.rate, 2 * np.pi / jk.units.HBAR * kernel @ surface.weight, rtol=1e-10)


def test_independent_of_the_cell():
    """Orbitals moved by lattice vectors: the potential is smooth in the cell, and does not notice."""
    rates = []
    for shift in (0, 1):
        model = jk.TightBinding(np.eye(2) * 3.0, *two_site_chain(shift=shift), [[0.1, 0.0], [0.6 + shift, 0.3]])
        surface = jk.fermi_surface(model, 0.4, sampler=jk.Lines(12), replicas=1)
        c = scattered(acoustic(mass_density=1e-6, temperature=KELVIN), surface)
        rates.append((c.rate, c.side_jump_velocity))
    for a, b in zip(*rates, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9 * np.abs(a).max())


@pytest.mark.parametrize(
    "phonons",
    [
        acoustic(temperature=KELVIN),
        acoustic(temperature=KELVIN, cutoff=1.0),
        jk.PolarPhonons(0.011, 23.0, 33.0, 3.0, KELVIN),
        jk.PhononRate(0.3, temperature=KELVIN),
    ],
    ids=["orbitals", "pairs", "polar", "rate"],
)
def test_electrons_are_conserved(tetragonal, phonons):
    """∫L x = 0 and L 1 = 0 to rounding beside impurities; shifts are odd, as continuity needs."""
    c = scattered(jk.PointImpurity(1.0, [0], 0.01, rtol=0.1) + phonons, tetragonal)
    x = np.random.default_rng(1).normal(size=(len(c.weights), 2))
    loss = c.rate[:, None] * x - c.symmetric(x)
    assert np.abs(c.weights @ loss).max() < 1e-12 * (c.weights @ np.abs(loss)).max()
    assert np.abs(c.rate[:, None] - c.symmetric(np.ones((len(x), 1)))).max() < 1e-12 * c.rate.max()
    moved = c.displaced(x, x)
    assert np.abs(moved + np.swapaxes(moved, 1, 2)).max() <= 1e-12 * np.abs(moved).max()


def test_gaussian_skew_beside_impurities(tetragonal):
    """Weak impurities and phonons are one random potential: cross terms of two kinds included (worst 2e-9)."""
    half = acoustic(deformation_potential=POTENTIAL / np.sqrt(2), temperature=KELVIN)
    size = scattered(acoustic(temperature=KELVIN), tetragonal).rate[0]
    point = jk.PointImpurity(1e-6, [0, 1], 1.0, rtol=0.1)
    point = jk.PointImpurity(1e-6, [0, 1], 0.5 * size / scattered(point, tetragonal).rate[0], rtol=0.1)
    both = jk.gyrotropic_response(tetragonal, point + half).g
    alone = jk.gyrotropic_response(tetragonal, acoustic(temperature=KELVIN)).g
    scale = np.abs(alone["gaussian_skew"].mean).max()
    assert scale > 0
    assert np.abs(both["gaussian_skew"].mean - alone["gaussian_skew"].mean).max() < 1e-6 * scale
    two = jk.gyrotropic_response(tetragonal, half + half).g
    assert np.abs(two["gaussian_skew"].mean - alone["gaussian_skew"].mean).max() < 1e-10 * scale


def test_impurities_keep_their_gaussian_skew_beside_a_rate(tetragonal):
    """A rate has no potential: of mechanism n only [τ/τ_impurities]ⁿ changes."""
    impurity = jk.PointImpurity(np.diag([1.0, 2.0]), [0, 1], 0.01, order="born")
    alone = jk.gyrotropic_response(tetragonal, impurity)
    both = jk.gyrotropic_response(tetragonal, impurity + jk.PhononRate(0.01, temperature=KELVIN))
    ratio = both.tau.samples / alone.tau.samples
    np.testing.assert_allclose(1 / both.tau.samples, 1 / alone.tau.samples + 1 / 0.01, rtol=1e-12)
    for name, power in (("intrinsic", 1), ("side_jump", 2), ("gaussian_skew", 3)):
        expected = ratio[:, None, None, None] ** power * alone.g[name].samples
        assert np.abs(both.g[name].samples - expected).max() < 1e-9 * np.abs(expected).max()
    assert "gaussian_skew" not in both.left_out


@pytest.mark.parametrize(
    ("phonons", "solver"),
    [
        pytest.param(lambda s, t: acoustic(deformation_potential=POTENTIAL * s, temperature=t), "rta", id="orbitals"),
        pytest.param(lambda s, t: acoustic(sound_velocity=s * SOUND, temperature=t, cutoff=2.0), "exact", id="pairs"),
        pytest.param(lambda s, t: jk.PolarPhonons(0.011 * s, 23.0, 33.0, temperature=t), "rta", id="polar"),
        pytest.param(lambda s, t: jk.PhononRate(0.3, exponent=s, reference=150.0, temperature=t), "exact", id="rate"),
    ],
)
def test_derivatives(phonons, solver):
    """By a parameter and by the lattice's temperature, against differences (worst 2e-9)."""
    model = jk.models.get("kramers-weyl-d4")
    surface = jk.fermi_surface(model, -1.2, sampler=jk.Lines(4), replicas=1)
    check_derivatives(lambda s, kelvin: (surface, phonons(s, kelvin)), solver)


def test_derivatives_by_the_temperature_of_a_surface():
    """Which is that of carriers and of phonons."""
    model = jk.models.get("helical-isotropic", moment=1.0)
    surface = jk.fermi_surface(model, LEVEL, KELVIN, sampler=jk.Lines(3), replicas=1)
    check_derivatives(lambda s, kelvin: (surface.at(temperature=kelvin), jk.PhononRate(0.3 * s, edge=0.1)), "rta")


def check_derivatives(sample, solver):
    @jax.jit
    def response(s, kelvin):
        surface, phonons = sample(s, kelvin)
        found = jk.gyrotropic_response(surface, jk.RelaxationTime(0.5, 40.0) + phonons, solver=solver)
        return found.g["total"].mean[0, 2, 2].imag * 1e6

    slopes = jax.grad(response, argnums=(0, 1))(1.0, KELVIN)
    for place, step in enumerate((1e-4, 0.03)):
        ends = [response(*(np.array([1.0, KELVIN]) + sign * step * (np.arange(2) == place))) for sign in (1, -1)]
        assert abs(slopes[place] / ((ends[0] - ends[1]) / (2 * step)) - 1) < 1e-6


def test_refusals(sphere, circle):
    for phonons in (acoustic(), jk.PolarPhonons(0.01, 10.0, 20.0), jk.PhononRate(1.0)):
        with pytest.raises(jk.JaxkinError, match=f"{type(phonons).__name__}: the surface is at T = 0"):
            jk.conductivity(sphere, phonons)
    with pytest.raises(jk.JaxkinError, match="static_dielectric=5 must be above"):
        jk.PolarPhonons(0.01, 10.0, 5.0)
    with pytest.raises(jk.JaxkinError, match="three dimensions"):
        jk.conductivity(circle, jk.PolarPhonons(0.01, 10.0, 20.0, 30.0, KELVIN))
    with pytest.raises(jk.JaxkinError, match=r"gives τ = -1 ps at 0\.5 eV and 300 K"):
        scattered(jk.PhononRate(lambda energy, kelvin: -1.0, temperature=KELVIN), sphere)
