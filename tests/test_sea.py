"""Integrals over the whole zone against closed forms: values, and errors that are not larger than stated."""

from itertools import pairwise

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import constants as si
from scipy import integrate, special

import jaxkin as jk
from jaxkin.surface.continuation import covariant_derivative
from jaxkin.surface.contour import Points
from jaxkin.surface.green import local_green_function
from jaxkin.surface.sea import _Flux, filled_berry_curvature
from jaxkin.surface.shifted import shifted_lattices
from jaxkin.surface.thermal import Thermal
from jaxkin.surface.zone import Goal, adaptive_integral, first_mesh


def simple_lattice(d):
    """H = −2 Σ cos k_i on a chain, a square or a cubic lattice of lattice constant 1 Å."""
    steps = np.concatenate([np.eye(d, dtype=int), -np.eye(d, dtype=int)])
    return jk.TightBinding(np.eye(d), steps, -np.ones((2 * d, 1, 1)), np.zeros((1, d)))


def chain_green(level):
    return np.sign(level) / np.sqrt(level**2 - 4) if abs(level) > 2 else -1j / np.sqrt(4 - level**2)


def square_green(level):
    """Complete elliptic integrals K(m): (sgn ε K(ε²/16) − i K(1 − ε²/16))/2π in the band, 2K(16/ε²)/πε outside."""
    m = level**2 / 16
    if m > 1:
        return 2 / (np.pi * level) * special.ellipkm1(1 - 1 / m) + 0j
    return (np.sign(level) * special.ellipkm1(1 - m) - 1j * special.ellipkm1(m)) / (2 * np.pi)


def cubic_green(level):
    """∫_0^π dk_z/π of the square lattice's at ε + 2 cos k_z, piecewise between its logarithms and its kink at 0."""
    cosines = [(edge - level) / 2 for edge in (-4, 0, 4)]
    ends = [0.0, *sorted(np.arccos([c for c in cosines if abs(c) < 1])), np.pi]
    x, w = np.polynomial.legendre.leggauss(60)
    t = 0.5 * (x + 1)
    smooth, slope = t**3 * (10 - 15 * t + 6 * t**2), 30 * t**2 * (1 - t) ** 2  # flattens the logarithms
    total = 0.0
    for a, b in pairwise(ends):
        values = [square_green(level + 2 * np.cos(a + (b - a) * s)) for s in smooth]
        total += (b - a) / np.pi * np.sum(0.5 * w * slope * values)
    return total


def joyce_green(level):
    """Simple cubic lattice outside the band, G. S. Joyce, J. Phys. A 31, 5105 (1998)."""
    z = 6 / abs(level)
    xi = np.sqrt((1 - np.sqrt(1 - z**2 / 9)) / (1 + np.sqrt(1 - z**2)))
    m = 16 * xi**3 / ((1 - xi) ** 3 * (1 + 3 * xi))
    return (1 - 9 * xi**4) / ((1 - xi) ** 3 * (1 + 3 * xi)) * (2 / np.pi * special.ellipk(m)) ** 2 / level


def assert_known(found, exact, cap):
    """|found − exact| ≤ stated error ≤ cap of the largest element."""
    exact = np.reshape(exact, found.values.shape)
    scale, true = np.abs(exact).max(), np.abs(found.values - exact).max()
    assert true <= max(found.error, 1e-14 * scale)
    assert found.error <= cap * scale


CASES = [(1, chain_green, level, 1e-10) for level in (-1.99, 0.3, 1.0, 2.5, -2.01)]
CASES += [(2, square_green, level, 1e-9) for level in (0.1, 3.99, -6.0)]
CASES += [(3, cubic_green, level, 1e-5) for level in (0.5, -3.5)]
CASES += [(3, joyce_green, level, 1e-6) for level in (6.5, -8.0)]


@pytest.mark.parametrize(("d", "exact", "level", "rtol"), CASES)
def test_lattice_green_functions(d, exact, level, rtol):
    """Inside and outside the band, both parts, near van Hove energies too (true/stated error at most 0.09)."""
    assert_known(local_green_function(simple_lattice(d), level, [0], rtol=rtol), exact(level), rtol)


def test_two_forms_of_the_cubic_oracle_agree():
    """The quadrature of elliptic integrals and Joyce's product of two, to 1e-12 (worst 6e-15)."""
    for level in (6.2, 8.0):
        assert abs(cubic_green(level) / joyce_green(level) - 1) < 1e-12


def test_neighbouring_site_of_the_chain():
    """G(R) = −i e^{iκ|R|}/√(4 − ε²), 2 cos κ = −ε, on a cluster of two cells."""
    level, kappa = 0.7, np.arccos(-0.35)
    found = local_green_function(simple_lattice(1), level, [0, 0], [[0], [3]], rtol=1e-10)
    far = np.exp(3j * kappa)
    assert_known(found, chain_green(level) * np.array([[1, far], [far, 1]]), 1e-10)


def test_sum_of_sines_slightly_above_the_axis():
    """∫d³x/(iη + Σ sin x_i) over [0, 2π]³ = −i(2π)³∫_0^∞ e^{−ηt}J_0(t)³dt = −221.4503334459 i at η = 0.01."""
    steps = np.concatenate([np.eye(3, dtype=int), -np.eye(3, dtype=int)])
    hop = 0.5j * np.repeat([1, -1], 3)[:, None, None]
    model = jk.TightBinding(np.eye(3), steps, hop, np.zeros((1, 3)))
    found = local_green_function(model, 0.01j, [0], rtol=1e-5)
    assert_known(found, -221.4503334459j / (2 * np.pi) ** 3, 1e-5)


@pytest.mark.parametrize(("levels", "share"), [((-1.2, -1.15, -1.1), 1.5), ((-1.4, -1.2), 2.5)])
def test_several_energies_share_the_work(levels, share):
    """The values of each alone; evaluations over the dearest's: 1.1 in general, 1.9 on both sides of a Weyl node."""
    model = jk.models.get("kramers-weyl-d4")
    together = local_green_function(model, levels, [0, 1], rtol=1e-2)
    alone = [local_green_function(model, level, [0, 1], rtol=1e-2) for level in levels]
    for value, one in zip(together.values, alone, strict=True):
        assert np.abs(value - one.values[0]).max() <= together.error + one.error
    assert together.evaluations < share * max(one.evaluations for one in alone)


def test_kramers_weyl_converges():
    """1e-4 for 2e5 evaluations (1.7e5), against rtol = 1e-6 with another displacement (true error 4e-8)."""
    model = jk.models.get("kramers-weyl-d4")
    found = local_green_function(model, -1.2, [0, 1], rtol=1e-4)
    assert_known(found, (-0.53677992 - 0.64462122j) * np.eye(2), 1e-4)
    assert found.evaluations < 200_000


def test_imaginary_part_is_that_of_the_surface():
    """Im G = −π 𝒱 Σ W u u† of the line quadrature, within both errors."""
    model = jk.models.get("kramers-weyl-d4")
    surface = jk.fermi_surface(model, -1.2, sampler=jk.Lines(28, power=8), replicas=4)
    u = np.asarray(jk.band_geometry(model, surface.k, surface.band).state)
    density = surface.integrate(u[:, :, None] * u[:, None, :].conj())
    found = local_green_function(model, -1.2, [0, 1], rtol=1e-4)
    anti = (found.values[0] - found.values[0].conj().T) / 2j
    volume = float(model.state_volume)
    expected, error = -np.pi * volume * density.mean, 5 * np.pi * volume * np.abs(density.stderr).max()
    assert error < 2e-3
    assert np.abs(anti - expected).max() <= error + found.error


@pytest.mark.slow
def test_small_pockets_of_a_wannier_file(shared_data):
    """Tellurium, 20 meV below the top of the valence band: 1e-3 stated, for fewer than 2e5 evaluations."""
    model = jk.read_wannier90(shared_data / "te_sparse_tb.dat.gz")
    found = local_green_function(model, 6.0518, [0], rtol=1e-3)
    assert_known(found, TELLURIUM, 1e-3)
    assert found.evaluations < 200_000


TELLURIUM = 0.09029912 - 0.00042618j
"""1/eV, with rtol = 2e-5."""


# --- the massive Dirac band --------------------------------------------------------------------

VELOCITY, MASS, LEVEL, BOX = 1.3, 0.2, 0.5, 1.0


def dirac():
    return jk.models.get("massive-dirac-2d", velocity=VELOCITY, mass=MASS, box=BOX)


def dirac_green():
    """(ε + Δσ_z) ∫_box (dk)/(x − v²k² + i0), x = ε² − Δ², the radial integral by hand."""
    x = LEVEL**2 - MASS**2

    def angle(phi):
        return -0.5 / VELOCITY**2 * np.log((VELOCITY * BOX / np.cos(phi)) ** 2 / x - 1)

    real = 8 * integrate.quad(angle, 0, np.pi / 4, epsabs=1e-13)[0] / (4 * np.pi**2)
    return (real - 0.25j / VELOCITY**2) * np.diag([LEVEL + MASS, LEVEL - MASS])


def test_dirac_green_function_of_the_box():
    assert_known(local_green_function(dirac(), LEVEL, [0, 1], rtol=1e-9), dirac_green(), 1e-9)


def conjugated(k):
    off = VELOCITY * (k[0] - 1j * k[1])
    return jnp.array([[MASS, off], [jnp.conj(off), -MASS]])


def test_hamiltonian_that_is_not_analytic():
    """A complex conjugate of k forbids the displacement: the kernel at real k (true error 9e-9)."""
    model = jk.KdotP(conjugated, ((-BOX, BOX),) * 2)
    assert_known(local_green_function(model, LEVEL, [0, 1], rtol=1e-4), dirac_green(), 1e-4)


def test_dirac_intrinsic_hall_conductivity():
    """−e²Δ/(4πħε) of the whole plane within 1e-8 (worst 3e-10)."""
    surface = jk.fermi_surface(dirac(), LEVEL, sampler=jk.Lines(8), replicas=2)
    sigma = jk.conductivity(surface, jk.PointImpurity(0.7, [0, 1], 1e-3), hall_rtol=1e-8).sigma["intrinsic"]
    exact = -(si.e**2) / si.hbar * MASS / (4 * np.pi * LEVEL)
    assert abs(sigma.mean[0, 0, 1] / exact - 1) < 1e-8
    assert abs(sigma.mean[0, 1, 0] / exact + 1) < 1e-8


@pytest.mark.parametrize("temperature", [0.0, 30.0, 300.0])
def test_dirac_filled_curvature(temperature):
    """(Δ/4π) ∫dε (−f⁰')/max(ε, Δ): the thermal average of the closed form, to 1e-8 (worst 3e-10, stated 5e-9)."""
    found = filled_berry_curvature(dirac(), LEVEL, temperature)
    kt = jk.units.BOLTZMANN * temperature
    x = np.arange(-30, 30, 1e-3)  # the kink at Δ has a weight of e^{−11.6} at 300 K
    average = np.sum(1e-3 / (4 * np.cosh(x / 2) ** 2) / np.maximum(np.abs(LEVEL + kt * x), MASS))
    exact = MASS / (4 * np.pi) * average
    assert found.error < 1e-8 * exact
    assert abs(found.values[2] - exact) < found.error + 1e-10 * exact
    assert not found.values[:2].any()


def test_dirac_point_impurity_in_all_orders():
    """Rate and skew acceleration of T = (V⁻¹ − G)⁻¹ with the box's G by quadrature, to 1e-8 (worst 6e-10)."""
    strength, density = 0.7, 1e-3
    surface = jk.fermi_surface(dirac(), LEVEL, sampler=jk.Lines(128, power=8), replicas=1)
    c = jk.PointImpurity(strength, [0, 1], density, rtol=1e-6).collisions(surface, surface.shells[0])
    t1, t2 = 1 / (1 / strength - np.diag(dirac_green()))
    up, down = (1 + MASS / LEVEL) / 2, (1 - MASS / LEVEL) / 2
    golden = 2 * np.pi / jk.units.HBAR * density * LEVEL / (2 * np.pi * VELOCITY**2)
    rate = golden * (abs(t1) ** 2 * up**2 + abs(t2) ** 2 * down**2)
    assert np.abs(c.rate / rate - 1).max() < 1e-8
    v = c.velocity
    q = -golden * up * down * np.imag(t1 * np.conj(t2)) * np.stack([v[:, 1], -v[:, 0], 0 * v[:, 0]], axis=1)
    assert np.abs(c.skew_acceleration - q).max() < 1e-8 * np.abs(q).max()
    assert c.optical_theorem < 1e-11


# --- the rest ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("mass", "chern"), [(0.0, 1.0), (3.0, 0.0)])
def test_chern_number_of_the_haldane_model(mass, chern):
    """2π ∫(dk) Ω of a filled band, to 1e-8 (worst 3e-12)."""
    flux = filled_berry_curvature(jk.models.get("haldane", mass=mass), 0.0)
    assert abs(abs(2 * np.pi * flux.values[2]) - chern) < 1e-8


def test_filled_curvature_of_a_weyl_semimetal():
    """Nodes at k_z = ±0.2, μ at the nodes: the planes beyond them have Chern number 1 (true/stated error 0.03)."""
    model = jk.models.get("weyl", node=0.2)
    flux = filled_berry_curvature(model, 0.0, rtol=1e-4)
    assert abs(abs(flux.values[2]) - 0.6 / (2 * np.pi)) <= flux.error
    assert flux.error < 1e-4


def test_orbital_positions_do_not_change_the_local_green_function():
    """Positions in the phases are a gauge of G on one orbital."""
    lattice = [[1.0, 0, 0], [-0.5, 0.8660254037844386, 0]]
    steps = [[0, 0], [1, 0], [-1, 0], [0, 1], [0, -1]]
    hop = np.zeros((5, 2, 2))
    hop[0] = [[0, 1], [1, 0]]
    hop[[1, 3], 0, 1] = hop[[2, 4], 1, 0] = 1.0
    greens = [
        local_green_function(jk.TightBinding(lattice, steps, hop, where), 0.6, [0], rtol=1e-8)
        for where in ([[0, 0], [0, 0]], [[0.1, 0.2], [0.4, 0.9]])
    ]
    assert np.abs(greens[0].values - greens[1].values).max() <= greens[0].error + greens[1].error


def test_covariant_derivative_in_both_gauges():
    """D_aH and the orbitals' curvature of the model, e^{ik·τ} X e^{−ik·τ}, to 1e-12 (worst 4e-15)."""
    rng = np.random.default_rng(1)
    steps = np.array([[0, 0], [1, 0], [-1, 0], [0, 1], [0, -1]])
    h, r = rng.normal(size=(2, 5, 2, 2, 3, 2)) @ [1, 1j]
    h, r = (x + x[[0, 2, 1, 4, 3]].conj().swapaxes(1, 2) for x in (h[..., 0], r))
    model = jk.TightBinding([[1.0, 0, 0], [0.3, 0.9, 0]], steps, h, [[0.1, 0.2], [0.5, 0.7]], r)
    k = jnp.array([0.13, 0.41])
    derivative, own = covariant_derivative(model, k + 0j)
    phase = np.exp(2j * np.pi * np.asarray(model.positions) @ k)
    for found, expected in ((derivative, model.derivative(k)), (own, model.wannier_curvature(k))):
        turned = phase[:, None] * np.asarray(expected) * phase.conj()
        assert np.abs(found - turned).max() < 1e-12 * np.abs(turned).max()


def test_too_small_a_budget_is_a_warning():
    with pytest.warns(jk.AccuracyWarning, match="whole zone is known to"):
        found = local_green_function(simple_lattice(3), 3.5, [0], rtol=1e-8, budget=20_000)
    assert abs(found.values[0, 0, 0] - cubic_green(3.5)) <= found.error


def test_tree_finds_a_narrow_peak():
    """∫ of a Lorentzian of width 1e-3 of the box, off the nodes, in two dimensions."""
    width, mesh = 1e-3, first_mesh([(0.0, 1.0)] * 2, [], False)[0]
    result = adaptive_integral(
        lambda x: (width / (width**2 + (x[:, 0] - 0.317) ** 2) * np.cos(x[:, 1]))[:, None, None],
        mesh,
        Goal(1e-9, 100_000),
    )
    exact = (np.arctan(0.683 / width) + np.arctan(0.317 / width)) * np.sin(1)
    assert abs(result.values[0, 0] - exact) <= result.error[0] <= 1e-9 * exact


def test_boxes_are_resolved_by_the_first_mesh():
    """Cells that meet a box, also round the zone's edge, are no larger than it."""
    box = (np.array([0.98, 0.5]), np.array([0.05, 0.02]))
    mesh, resolved = first_mesh([(0.0, 1.0)] * 2, [box], True)
    assert resolved
    assert abs(np.prod(mesh.size, axis=1).sum() - 1) < 1e-12
    inside = (np.minimum(mesh.low[:, 0], 1 - mesh.low[:, 0]) < 0.01) & (np.abs(mesh.low[:, 1] - 0.51) < 0.01)
    assert inside.any()
    assert np.all(mesh.size[inside] <= 1.01 * box[1])


def near_transition():
    """Haldane's model with a gap of 0.17 eV: a Chern number −1 in two spikes."""
    model = jk.models.get("haldane", mass=0.7)
    return Points(model, _Flux(model, Thermal(0.0, 0.0)))


def test_shifted_lattices_know_their_error_on_spikes():
    """60 seeds on lattices whose cells are wider than the spikes."""
    flux, pulls = near_transition(), []
    for seed in range(60):
        found = shifted_lattices(flux, 2, Goal(1e-9, 7000), seed=seed)
        pulls.append((found.values[0, 2] + 0.5 / np.pi) / found.error[0])
        assert found.evaluations <= 7000
    assert 0.25 < np.sqrt(np.mean(np.square(pulls))) < 1.4 and np.abs(pulls).max() < 5
    fine = shifted_lattices(flux, 2, Goal(1e-9, 30_000))
    assert abs(fine.values[0, 2] + 0.5 / np.pi) < 5 * fine.error[0] < 5 * 0.006
