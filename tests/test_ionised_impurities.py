"""Ionised impurities: Brooks and Herring's rate, both limits of screening, neutrality, signs, anisotropy."""

import jax
import numpy as np
import pytest
from scipy import constants as si

import jaxkin as jk
from jaxkin.disorder.potentials import COULOMB

DIELECTRIC, LEVEL = 12.0, 0.1
MODEL = jk.models.get("helical-isotropic")


@pytest.fixture(scope="module")
def sphere():
    return jk.fermi_surface(MODEL, LEVEL, sampler=jk.Lines(16), replicas=2)


@pytest.fixture(scope="module")
def tetragonal():
    return jk.fermi_surface(jk.models.get("kramers-weyl-d4"), -1.2, sampler=jk.Lines(8), replicas=2)


def screening(surface, dielectric=DIELECTRIC):
    return float(jk.ScreenedCoulomb(dielectric, core=0.0).on(surface).length)


def test_lattice_constant_of_nature():
    np.testing.assert_allclose(COULOMB, si.e / (4 * np.pi * si.epsilon_0) * 1e10, rtol=1e-9)


def test_thomas_and_fermi(sphere):
    """λ⁻² = 3 n e²/2 E_F ε₀ε of a parabolic band."""
    n = sphere.carrier_density()["electrons"].mean
    exact = (4 * np.pi * COULOMB / DIELECTRIC * 1.5 * n / LEVEL) ** -0.5
    assert abs(screening(sphere) / exact - 1) < 1e-3


def test_debye():
    """λ⁻² = n e²/ε₀ε k_BT of a dilute gas, here to e^{μ/k_BT} = 4e-4."""
    model = jk.models.get("helical-isotropic", moment=1.0)
    gas = jk.fermi_surface(model, -0.2, 300.0, replicas=2, rtol=1e-3)
    n = gas.carrier_density()["electrons"].mean
    exact = (4 * np.pi * COULOMB / DIELECTRIC * n / (jk.units.BOLTZMANN * 300.0)) ** -0.5
    assert abs(screening(gas) / exact - 1) < 2e-3


@pytest.mark.parametrize("charge", [1, 2])
def test_brooks_and_herring(sphere, charge):
    """1/τ = (2π/ħ) n_i ν (Ze²/ε₀ε)²/8k⁴ [ln(1 + b) − b/(1 + b)], b = (2kλ)²; as many ions as electrons over Z."""
    born = jk.IonisedImpurities([charge], DIELECTRIC, core=0.0, order="born")
    found = born.impurities(sphere).collisions(sphere, sphere.shells[0]).transport_time
    nu, n = sphere.density_of_states().mean, sphere.carrier_density()["electrons"].mean
    square = LEVEL / jk.units.HBAR2_OVER_2M
    b = 4 * square * screening(sphere) ** 2
    size = (4 * np.pi * COULOMB * charge / DIELECTRIC) ** 2 / (8 * square**2)
    exact = 2 * np.pi / jk.units.HBAR * n / charge * nu * size * (np.log1p(b) - b / (1 + b))
    assert abs(found * exact - 1) < 3e-3


@pytest.mark.parametrize("compensation", [0.0, 0.3])
def test_neutrality(sphere, compensation):
    dopants = jk.IonisedImpurities({1: 1.0, 2: 3.0, -1: 1.0, -2: 0.5}, DIELECTRIC, compensation)
    found = dopants.densities(sphere)
    net = sphere.carrier_density()["electrons"].mean
    np.testing.assert_allclose(sum(z * n for z, n in found.items()), net, rtol=1e-12)
    np.testing.assert_allclose(found[2] / found[1], 3.0)
    np.testing.assert_allclose(found[-1] + 2 * found[-2], compensation * (found[1] + 2 * found[2]), rtol=1e-12)
    holes = jk.IonisedImpurities([-1], DIELECTRIC, density=-2e-6).densities(sphere)
    assert holes == {-1: 2e-6}


def test_they_follow_the_level_of_a_density():
    """At μ(T) of 10¹⁸ cm⁻³ there are 10¹⁸ ions, at every T; the level itself falls."""
    levels = []
    for kelvin in (77.0, 300.0):
        level = jk.fermi_level(MODEL, 1e-6, kelvin, carriers="electrons", filled=0, rtol=5e-3, replicas=2)
        surface = jk.fermi_surface(MODEL, level, kelvin, sampler=jk.Lines(6), replicas=2)
        assert abs(jk.IonisedImpurities([1], DIELECTRIC).densities(surface)[1] / 1e-6 - 1) < 0.01
        levels.append(level)
    assert levels[1] < levels[0]


def test_signs(tetragonal):
    """Ions that attract and repel scatter alike in Born order, and skew to opposite sides; together the sum."""
    options = {"density": 1e-3, "order": "third", "core": 1.0}
    donors = jk.IonisedImpurities([1], DIELECTRIC, **options).impurities(tetragonal)
    assert donors.strength == -1
    both = jk.IonisedImpurities([1, -1], DIELECTRIC, 0.25, **options)
    repelling = jk.FiniteRangeImpurity(jk.ScreenedCoulomb(DIELECTRIC), 1.0, 1e-3, order="third")
    parts = [one.collisions(tetragonal, tetragonal.shells[0]) for one in (donors, repelling, both)]
    attracted, repelled, mixed = ((c.rate, c.skew_acceleration) for c in parts)
    scale = np.abs(attracted[1]).max()
    assert scale > 0
    np.testing.assert_allclose(attracted[0], repelled[0], rtol=1e-12)
    np.testing.assert_allclose(attracted[1], -repelled[1], atol=1e-12 * scale)
    np.testing.assert_allclose(mixed[0], (1 + 0.25) / 0.75 * attracted[0], rtol=1e-12)
    np.testing.assert_allclose(mixed[1], attracted[1], atol=1e-12 * scale)  # (1 − K)/(1 − K)


def test_anisotropic_dielectric():
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    principal, q = np.array([20.0, 20.0, 35.0]), np.array([0.1, -0.2, 0.3])
    one = jk.ScreenedCoulomb(12.0, 5.0)(q)
    for same in ([12.0] * 3, 12.0 * np.eye(3)):
        np.testing.assert_allclose(jk.ScreenedCoulomb(same, 5.0)(q), one, rtol=1e-14)
    along = jk.ScreenedCoulomb(principal, 5.0)
    np.testing.assert_allclose(jk.ScreenedCoulomb(turn @ np.diag(principal) @ turn.T, 5.0)(turn @ q), along(q))
    mean = np.prod(principal) ** (1 / 3)
    np.testing.assert_allclose(along(np.zeros(3)), 4 * np.pi * COULOMB * 25.0 / mean)
    far = 1e3 * np.eye(3)
    bare = [jk.ScreenedCoulomb(principal, 5.0, core=0.0)(one) for one in far]
    np.testing.assert_allclose(bare, 4 * np.pi * COULOMB / (principal * 1e6), rtol=1e-6)


def test_derivative_by_the_level():
    """Through what screens; against differences."""
    few = jk.fermi_surface(jk.models.get("kramers-weyl-d4"), -1.2, sampler=jk.Lines(4), replicas=1)

    @jax.jit
    def rate(level):
        there = few.at(fermi_level=level)
        dopants = jk.IonisedImpurities([1], DIELECTRIC, density=1e-3, order="born")
        return 1 / jk.gyrotropic_response(there, dopants, theory="paper").tau.mean

    slope = jax.grad(rate)(-1.2)
    assert abs(slope / ((rate(-1.2 + 3e-5) - rate(-1.2 - 3e-5)) / 6e-5) - 1) < 1e-5


def test_refusals(sphere, tetragonal):
    for charges in ([0], [1.5], [1, 1], [], 1, [True], {1: -1.0}):
        with pytest.raises(jk.JaxkinError, match="charges"):
            jk.IonisedImpurities(charges, DIELECTRIC)
    with pytest.raises(jk.JaxkinError, match="needs charges of both signs"):
        jk.IonisedImpurities([1, 2], DIELECTRIC, 0.5)
    with pytest.raises(jk.JaxkinError, match="compensation=1"):
        jk.IonisedImpurities([1, -1], DIELECTRIC, 1.0)
    with pytest.raises(jk.JaxkinError, match="electrons need positive ions"):
        jk.IonisedImpurities([-1], DIELECTRIC).densities(sphere)
    with pytest.raises(jk.JaxkinError, match="give the `density`"):
        jk.IonisedImpurities([1], DIELECTRIC).densities(tetragonal.at(fermi_level=-1.19))
    for dielectric in ([1.0, 2.0], [1.0, 2.0, -3.0], [[1.0, 2.0, 0], [0, 1, 0], [0, 0, 1]], -1.0):
        with pytest.raises(jk.JaxkinError, match="dielectric="):
            jk.ScreenedCoulomb(dielectric)
    circle = jk.fermi_surface(jk.models.get("massive-dirac-2d"), 0.5, sampler=jk.Lines(16), replicas=1)
    with pytest.raises(jk.JaxkinError, match="in two give one number"):
        jk.ScreenedCoulomb([1.0, 2.0, 3.0]).on(circle)
