"""Potentials of finite range by V(q) and by V(r): Poisson's formula, equality, limits, conservation laws."""

from dataclasses import replace

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest
from test_impurities import two_site_chain

import jaxkin as jk
from jaxkin.disorder.form_factors import ReciprocalSum, reciprocal_vectors

LATTICE = np.array([[2.0, 0.3, 0.0], [-0.4, 1.7, 0.2], [0.1, 0.5, 2.2]])
EXACT = 1e-13
"""rtol by which what interpolation through pivots adds is below what is compared."""


def gaussian(width, dimension, widths=8.2):
    """The Gaussian's V(r), as a user would write it, to a radius of so many widths."""
    norm = (2 * np.pi * width**2) ** (-0.5 * dimension)
    return jk.RealSpace(lambda r: norm * jnp.exp(-0.5 * (r @ r) / width**2), radius=widths * width)


def by_transform(width):
    """The Gaussian as a V(q) of which no V(r) is known."""
    shape = jk.Gaussian(width)
    return lambda q: shape(q)


def actions(disorder, surface):
    c = disorder.collisions(surface, surface.shells[0])
    x = np.random.default_rng(0).normal(size=(len(c.weights), 2))
    return c.symmetric(x), c.antisymmetric(x), c.side_jump_velocity


def assert_equal(a, b, tolerance):
    for one, two in zip(a, b, strict=True):
        assert np.abs(one - two).max() <= tolerance * np.abs(one).max()


@pytest.fixture(scope="module")
def tetragonal():
    return jk.fermi_surface(jk.models.get("kramers-weyl-d4"), -1.2, sampler=jk.Lines(7), replicas=2)


@pytest.fixture(scope="module")
def circle():
    model = jk.models.get("massive-dirac-2d", velocity=1.3, mass=0.2)
    return jk.fermi_surface(model, 0.5, sampler=jk.Lines(64, power=8), replicas=2)


@pytest.mark.parametrize("dimension", [2, 3])
def test_poisson_formula(dimension):
    """Σ_G V(q+G)e^{iG·x} = 𝒱 Σ_R V(R+x)e^{−iq·(R+x)} and its derivative, far outside the first cell too (4e-13)."""
    jk.models.get("haldane")  # a model turns on 64-bit mode
    lattice = LATTICE[:dimension]
    basis = 2 * np.pi * np.linalg.pinv(lattice).T
    x = np.array([[0.1, 0.4, 0.3], [1.1, -0.7, 2.0]]) @ np.linalg.pinv(lattice) @ lattice
    shape = jk.Gaussian(1.1)
    vectors, missed = reciprocal_vectors(shape, basis)
    assert missed == 0
    k = np.random.default_rng(1).uniform(-2, 2, (40, dimension)) @ basis
    one, two = (
        ReciprocalSum(shape, x, basis, vectors @ basis, np.ones(len(vectors))),
        shape.in_real_space(dimension).on_sites(lattice, x),
    )
    call = eqx.filter_jit(lambda factors: factors(jnp.asarray(k), jnp.asarray(k)))
    for a, b in zip(call(one), call(two), strict=True):
        assert np.abs(a - b).max() < 1e-11 * np.abs(a).max()


@pytest.mark.parametrize("shape", [jk.Gaussian(1.1), jk.ScreenedCoulomb(10.0, 5.0, core=1.5)])
@pytest.mark.parametrize("dimension", [2, 3])
def test_slopes_of_what_depends_on_the_length_alone(shape, dimension):
    """By dV/dq² and by the derivative of V(q), in the dimension that V is of, at q = 0 too (worst 4e-15)."""
    jk.models.get("haldane")  # a model turns on 64-bit mode
    if isinstance(shape, jk.ScreenedCoulomb):
        shape = replace(shape, dimension=dimension)
    lattice = LATTICE[:dimension]
    basis = 2 * np.pi * np.linalg.pinv(lattice).T
    vectors = reciprocal_vectors(shape, basis)[0] @ basis
    k = np.random.default_rng(1).uniform(-1, 1, (20, dimension)) @ basis

    def of(function):
        factors = ReciprocalSum(function, LATTICE[:2], basis, vectors, np.ones(len(vectors)))
        return eqx.filter_jit(lambda f: f(jnp.asarray(k), jnp.asarray(k)))(factors)

    for a, b in zip(of(shape), of(lambda q: shape(q)), strict=True):
        assert np.abs(a - b).max() < 1e-13 * np.abs(a).max()


@pytest.mark.parametrize("order", ["born", "third", "tmatrix"])
@pytest.mark.parametrize("position", [[0, 0, 0], [0.3, 0.1, 0.45], [[0.5, 0.5, 0], [0, 0.5, 0.5]]])
def test_crystal(tetragonal, order, position):
    """V(r) summed over sites, and V(q) summed over reciprocal vectors (worst 4e-14)."""
    one = jk.FiniteRangeImpurity(by_transform(1.2), 3.0, 0.01, order=order, positions=position, rtol=EXACT)
    two = jk.FiniteRangeImpurity(gaussian(1.2, 3), 3.0, 0.01, order=order, positions=position, rtol=EXACT)
    a, b = actions(one, tetragonal), actions(two, tetragonal)
    if order == "born":
        assert not a[1].any()
        assert not b[1].any()
        a, b = a[::2], b[::2]
    assert_equal(a, b, 1e-10)


def test_independent_of_the_cell():
    """Orbitals moved by lattice vectors, H_R relabelled: sites are where they are."""
    results = []
    for shift in (0, 1):
        model = jk.TightBinding(np.eye(2) * 3.0, *two_site_chain(shift), [[0.1, 0.0], [0.6 + shift, 0.3]])
        surface = jk.fermi_surface(model, 0.4, sampler=jk.Lines(12), replicas=1)
        for shape in (gaussian(1.0, 2), jk.Gaussian(1.0), by_transform(1.0)):
            results.append(actions(jk.FiniteRangeImpurity(shape, 2.0, 0.01, positions=[0.1, 0.2], rtol=EXACT), surface))
    for other in results[1:]:
        assert_equal(results[0], other, 1e-9)


def test_continuum(circle):
    """In k·p models ∫V(r)e^{−iq·r} is found from V(r) (worst 2e-12), in two dimensions and in three."""
    helix = jk.fermi_surface(jk.models.get("helical-isotropic"), 0.5, sampler=jk.Lines(8), replicas=2)
    for surface, width, strength in ((circle, 1.5, 1.0), (circle, 6.0, 5.0), (helix, 1.0, 3.0)):
        one = jk.FiniteRangeImpurity(jk.Gaussian(width), strength, 1e-3, rtol=EXACT)
        two = jk.FiniteRangeImpurity(gaussian(width, surface.model.dimension), strength, 1e-3, rtol=EXACT)
        a, b = actions(one, surface), actions(two, surface)
        if surface is helix:  # one band without geometry: nothing to compare in w^A and the side jump
            a, b = a[:1], b[:1]
        assert_equal(a, b, 1e-10)


def test_yukawa_is_the_screened_charge():
    """e²e^{−r/λ}/4πε₀εr, singular at r = 0: its transform is 4πe²/(q² + λ⁻²) (worst 6e-9)."""
    surface = jk.fermi_surface(jk.models.get("helical-isotropic"), 0.5, sampler=jk.Lines(8), replicas=2)
    length, dielectric = 0.5, 12.0
    charge = jk.ScreenedCoulomb(dielectric, length, core=0.0)
    coulomb = float(charge([0.0, 0.0, 0.0])) / (4 * np.pi * length**2)

    def yukawa(r):
        distance = jnp.linalg.norm(r)
        return coulomb * jnp.exp(-distance / length) / distance

    one = jk.FiniteRangeImpurity(charge, 1.0, 1e-3, rtol=EXACT)
    two = jk.FiniteRangeImpurity(jk.RealSpace(yukawa, radius=22 * length), 1.0, 1e-3, rtol=EXACT)
    assert_equal(actions(one, surface)[:1], actions(two, surface)[:1], 1e-8)


def test_smooth_potential_limit(circle):
    """Eq. (16): δr = Ω×(p − p') for a potential smooth on the scale of k_F, up to (k_Fξ)⁻² = 1e-2 (worst 3e-3)."""
    c = jk.FiniteRangeImpurity(gaussian(30.0, 2, 6.0), 1.0, 1e-3, order="born").collisions(circle, circle.shells[0])
    part = circle.shells[0].points
    k, omega = np.pad(circle.k[part], ((0, 0), (0, 1))), circle.berry_curvature[part]
    expected = jk.units.HBAR * np.cross(omega, c.rate[:, None] * k - c.symmetric(k))
    np.testing.assert_allclose(c.side_jump_velocity, expected, atol=1e-2 * np.abs(expected).max())


@pytest.mark.parametrize("order", ["third", "tmatrix"])
def test_flux_and_optical_theorem(tetragonal, circle, order):
    """Eqs. (34), (35) and the optical theorem, for a potential without symmetry."""
    lopsided = jk.RealSpace(lambda r: jnp.exp(-(r @ r)) * (1 + 0.5 * r[0] - 0.3 * r[1]), radius=6.0)
    for surface in (tetragonal, circle):
        disorder = jk.FiniteRangeImpurity(lopsided, 2.0, 0.01, order=order, positions=[0.2, 0.1, 0.3])
        c = disorder.collisions(surface, surface.shells[0])
        assert np.abs(c.skew_acceleration).max() > 0
        assert c.flux_violation < 1e-11
        if order == "tmatrix":
            assert c.optical_theorem < 1e-11


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda v: jk.RealSpace(v, radius=0.0), "positive length"),
        (lambda v: jk.FiniteRangeImpurity(jk.RealSpace(v, 3.0), 1.0, 0.1, periodic=True), "periodic=True is for"),
        (lambda v: jk.FiniteRangeImpurity(jk.RealSpace(lambda r: r, 3.0), 1.0, 0.1), "one real number"),
        (lambda v: jk.FiniteRangeImpurity(jk.RealSpace(lambda r: 1 / jnp.linalg.norm(r), 3.0), 1.0, 0.1), "not finite"),
        (lambda v: jk.FiniteRangeImpurity(jk.RealSpace(v, 0.3), 1.0, 0.1, positions=[0.5, 0.5, 0.5]), "no orbital"),
    ],
)
def test_bad_input_is_one_line(tetragonal, make, message):
    with pytest.raises(jk.JaxkinError, match=message) as caught:
        make(lambda r: jnp.exp(-(r @ r))).on(tetragonal)
    assert "\n" not in str(caught.value)


def test_cut_off_too_early_is_a_warning(tetragonal, circle):
    for surface in (tetragonal, circle):
        disorder = jk.FiniteRangeImpurity(jk.RealSpace(lambda r: jnp.exp(-(r @ r)), radius=2.0), 1.0, 0.1)
        with pytest.warns(jk.AccuracyWarning, match="raise `radius`"):
            disorder.on(surface)


def test_unresolved_jump_is_a_warning(circle):
    well = jk.RealSpace(lambda r: jnp.where(r @ r < 4.1, 1.0, 0.0), radius=5.0)
    with pytest.warns(jk.AccuracyWarning, match="it jumps"):
        jk.FiniteRangeImpurity(well, 1.0, 0.1).on(circle)
