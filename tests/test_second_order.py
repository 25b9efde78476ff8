"""The two mechanisms of the order of the intrinsic part: nonlocal collisions and Gaussian skew scattering."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from dense_boltzmann import HBAR, Dense, complete, mechanisms, odd
from on_shell import evaluated
from test_quantum import QUANTUM, plane, plane_impurity, static

import jaxkin as jk
from jaxkin.disorder import two_impurities
from jaxkin.disorder.states import ShellStates
from jaxkin.response.observables import LEVI_CIVITA, gyrotropic
from jaxkin.surface.green import local_green_function
from jaxkin.surface.pair_green import surface_pair_green

AREA = np.sqrt(3) / 2


@pytest.fixture(scope="module")
def contour():
    return jk.fermi_surface(plane(), -2.4, sampler=jk.Lines(50), replicas=2)


def test_plane_by_mechanism(contour):
    """All four parts and their sum in Born approximation, W² = 1; the sum is the n → 0 of a quantum calculation."""
    parts = mechanisms(Dense(contour, plane_impurity(1.0, order="born")))
    printed = {
        "intrinsic": (0.004129, -0.004729),
        "side_jump": (-0.004277, -0.011176),
        "nonlocal": (-0.000128, -0.004283),
        "gaussian_skew": (-0.000588, 0.001878),
        "skew": (0.0, 0.0),
    }
    for name, value in printed.items():
        np.testing.assert_allclose(AREA * np.imag(parts[name])[2, :2], value, atol=6e-7, err_msg=name)
    total = AREA * np.imag(sum(parts.values()))[2, :2]
    np.testing.assert_allclose(total, (-0.000864, -0.018308), atol=2e-6)


def test_plane_with_one_orbital_disordered(contour):
    """The amplitude of one orbital can be made real for all pairs of states: neither mechanism is there."""
    parts = mechanisms(Dense(contour, plane_impurity(1.0, (1.0, 0.0), order="born")))
    total = AREA * np.imag(sum(parts.values()))[2, :2]
    np.testing.assert_allclose(total, (-0.015256, -0.053241), atol=2e-6)
    for name in ("nonlocal", "gaussian_skew"):
        assert np.abs(parts[name]).max() < 1e-11


@pytest.mark.parametrize("n,error", [(7, 2e-3), pytest.param(12, 6e-5, marks=pytest.mark.slow)])
def test_cubic_by_mechanism(n, error):
    """Point group O, Born: the nonlocal part has a trace, and outweighs the intrinsic one."""
    surface = jk.fermi_surface(jk.models.get("kramers-weyl-o"), -1.6, sampler=jk.Lines(n), replicas=2)
    parts = mechanisms(Dense(surface, jk.PointImpurity(1.0, [0, 1], 1.0, order="born")))
    for name, value in {"intrinsic": -0.11225, "nonlocal": 0.14151, "side_jump": 0.0, "gaussian_skew": 0.0}.items():
        np.testing.assert_allclose(np.diag(parts[name]).imag, value, atol=error, err_msg=name)


def mixture():
    return jk.PointImpurity(np.diag([2.0, 0.8]), [0, 1], 0.3) + jk.PointImpurity(
        -1.5, [0, 1], 0.5, cells=[[0, 0], [1, 0]]
    )


def ones(matrices):
    return jnp.ones((len(matrices.w), 1))


@pytest.mark.parametrize("disorder", [plane_impurity(1.0, order="born"), plane_impurity(1.0, (3, -4)), mixture()])
def test_flux_conservation(contour, disorder, monkeypatch):
    """∫w⁽²⁾_{pp'} δ = ∫w⁽²⁾_{p'p} δ = Γ⁽²⁾ = −2 Im δE/ħ for the sum of the parts, and not for each."""
    matrices = Dense(contour, disorder)
    there, back = (np.asarray(part)[:, 0] for part in matrices.two.apply(ones(matrices)))
    size = np.abs(odd(matrices.two_impurities) @ np.diag(matrices.root[:, 0]) / matrices.root).sum(axis=1).max() / HBAR
    assert np.abs(there - back).max() < 1e-11 * size
    rate = np.zeros(len(there))
    for kind, change, local in zip(matrices.two.kinds, matrices.two.algebra.changes, matrices.local, strict=True):
        rate -= 2 * kind.amplitude.density * np.imag(np.einsum("na,ab,nb->n", local.conj(), change, local)) / HBAR
    if rate.any():
        assert np.abs(there - rate).max() < 1e-11 * np.abs(rate).max()
    without_step(monkeypatch)
    there, back = (np.asarray(part)[:, 0] for part in Dense(contour, disorder).two.apply(ones(matrices)))
    assert np.abs(there - back).max() > 1e-3 * size


def without_step(monkeypatch):
    monkeypatch.setattr(two_impurities, "step", lambda x, q, *_: jnp.zeros([1, q.shape[1] ** 2, q.shape[2] ** 2]))


def test_both_directions_belong_to_one_kernel(contour):
    matrices = Dense(contour, mixture())
    there, back = (np.asarray(part) for part in matrices.two.apply(jnp.eye(len(matrices.w)) / matrices.w))
    assert np.abs(there - back.T).max() < 1e-12 * np.abs(there).max()


DISORDERS = {
    "born": plane_impurity(1.0, order="born"),
    "t-matrix": plane_impurity(1.0),
    "two kinds, two cells": mixture(),
    "third order": plane_impurity(1.0, (0.3, -0.2), order="third"),
}


@pytest.mark.parametrize("name", DISORDERS)
def test_all_parts_are_those_of_matrices(contour, name):
    """The exact solver on factorised kernels against matrices of all pairs, inverted."""
    response = jk.gyrotropic_response(contour, DISORDERS[name], [0.0], "exact")
    parts = mechanisms(Dense(contour, DISORDERS[name]))
    unit = QUANTUM * 1e-10  # S m
    whole = np.abs(sum(parts.values())).max()
    for part, expected in parts.items():
        if (name, part) == ("third order", "skew"):
            continue  # |T|² of the matrices is V² there
        found = response.g[part].samples[0, 0] / unit
        np.testing.assert_allclose(found, expected, atol=1e-8 * whole, err_msg=part)


def test_relaxation_time_parts_from_the_kernels_themselves(contour):
    """With R → 1/(ω+i/τ): −½ε_acd ⟨v_c|D_b|v_d⟩ and Σ W (Q×v)_a v_b from matrices."""
    disorder = mixture()
    response = jk.gyrotropic_response(contour, disorder, [0.0], "rta")
    matrices, unit = Dense(contour, disorder), QUANTUM * 1e-10 * 2 * np.pi
    v, root, tau = matrices.v, matrices.root, float(response.tau.samples[0]) / HBAR
    moved = np.stack([(root * v).T @ odd(d) @ (root * v) for d in matrices.d])  # b c d
    expected = {"nonlocal": -1j * tau**2 * 0.5 * np.einsum("acd,bcd->ab", LEVI_CIVITA, moved)}
    turned = odd(matrices.two_impurities) @ (root * v)
    crossed = np.einsum("acd,ic,id,ib->ab", LEVI_CIVITA, turned, root * v, v)
    expected["gaussian_skew"] = 1j * tau**3 * (crossed - np.trace(crossed) * np.eye(3))
    for name, value in expected.items():
        np.testing.assert_allclose(response.g[name].samples[0, 0] / unit, value, atol=1e-10 * np.abs(value).max())


@pytest.mark.parametrize("order", ["tmatrix", "born"])
def test_fit_table_equals_the_response(contour, order):
    """At other strengths and densities, of an impurity on two sites that interfere."""

    def impurity(strength, density):
        return jk.PointImpurity(strength * np.array([[1.0, 0.2], [0.2, -0.4]]), [[0, 1], [1, 0]], density, order=order)

    table = jk.tabulate(contour, impurity(1.0, 0.3))
    found = table.gyrotropic({"strength": -1.7, "density": 0.1}, [0.0, 2.0])
    exact = jk.gyrotropic_response(contour, impurity(-1.7, 0.1), [0.0, 2.0]).g
    assert np.abs(exact["gaussian_skew"].mean).max() > 1e-3 * np.abs(exact["total"].mean).max()
    for name, estimate in exact.items():
        scale = np.abs(exact["total"].samples).max()
        np.testing.assert_allclose(found[name], estimate.samples, rtol=1e-9, atol=1e-11 * scale, err_msg=name)


@pytest.mark.parametrize("evaluation", ["pairwise", "on-shell"])
def test_displacement_is_the_same_in_all_evaluations(contour, evaluation):
    """⟨x|D|y⟩, antisymmetric, whose sum over the second state is v_sj."""
    rng = np.random.default_rng(1)
    disorder = mixture()
    shell = contour.shells[0]
    scatterer = disorder.on(contour).at(shell.energy)
    states = ShellStates(contour, True).of(shell)
    one = scatterer(states)
    other = evaluated(scatterer, states, evaluation)
    x, y = rng.normal(size=(2, len(states), 2))
    first, second = np.asarray(one.displaced(x, y)), np.asarray(other.displaced(x, y))
    assert np.abs(first - second).max() < 1e-11 * np.abs(first).max()
    back = np.asarray(one.displaced(y, x))
    assert np.abs(first + np.swapaxes(back, 1, 2)).max() < 1e-11 * np.abs(first).max()
    jump = (states.weights[:, None] * x).T @ np.asarray(one.side_jump_velocity)
    summed = np.asarray(one.displaced(x, np.ones((len(states), 1))))[:, :, 0]
    assert np.abs(summed.T - jump).max() < 1e-10 * np.abs(jump).max()


@pytest.mark.parametrize("mass", [0.1, 0.3])
def test_gaussian_skew_of_the_massive_dirac_band(mass, monkeypatch):
    """σ_xy = intrinsic·3x²/Λ², x = ε² − Δ², Λ = x + 4Δ²: two thirds from the ends, one from the step in between."""
    level, x = 0.5, 0.5**2 - mass**2
    surface = jk.fermi_surface(jk.models.get("massive-dirac-2d", mass=mass), level, sampler=jk.Lines(64), replicas=1)
    impurity = jk.PointImpurity(1.0, [0, 1], 0.02, order="born")
    scale = -mass / (2 * level) * QUANTUM * x**2 / (x + 4 * mass**2) ** 2
    for solver in ("rta", "exact"):
        found = jk.conductivity(surface, impurity, [0.0], solver).sigma["gaussian_skew"].mean[0, 0, 1]
        assert abs(found / (3 * scale) - 1) < 1e-8
    scatterer, shell = impurity.on(surface), surface.shells[0]
    states = ShellStates(surface, True, scatterer.orbitals).of(shell)
    v, w = states.velocity, states.weights[:, None]

    def current():
        return (w * v).T @ np.asarray(scatterer.two_impurities(states).skew(jnp.asarray(v)))

    whole = current()[0, 1]
    without_step(monkeypatch)
    assert abs(current()[0, 1] / whole - 2 / 3) < 1e-8


def test_sum_of_two_names_for_one_impurity(contour):
    """Half the density twice is the whole once: the two kinds have cross terms."""
    whole = jk.gyrotropic_response(contour, plane_impurity(1.0)).g
    halves = jk.gyrotropic_response(contour, plane_impurity(0.5) + plane_impurity(0.5)).g
    for name, estimate in whole.items():
        np.testing.assert_allclose(
            halves[name].mean, estimate.mean, rtol=1e-9, atol=1e-12 * np.abs(whole["total"].mean).max()
        )


@pytest.mark.parametrize("solver", ["rta", pytest.param("exact", marks=pytest.mark.slow)])
def test_derivatives(contour, solver):
    """With respect to potential, level and bands, where all five parts are traced."""
    model = plane()

    def total(potential, level, shift):
        hoppings = model.hoppings + shift * jnp.all(model.translations == 0, axis=1)[:, None, None] * jnp.diag(
            jnp.array([1.0, -1.0])
        )
        moved = jk.TightBinding(model.lattice, model.translations, hoppings, model.positions)
        there = contour.at(model=moved, fermi_level=level)
        g = jk.gyrotropic_response(
            there, jk.PointImpurity(potential * jnp.diag(jnp.array([1.0, 0.4])), [0, 1], 1.0), [0.0], solver
        ).g
        return jnp.stack([g[name].mean[0, 2, 0].imag for name in ("nonlocal", "gaussian_skew")])

    at, step = (1.0, -2.4, 0.0), 1e-4
    plain = jk.gyrotropic_response(contour, plane_impurity(np.sqrt(3) / 2), [0.0], solver).g
    value = total(*at)
    expected = [plain[name].mean[0, 2, 0].imag for name in ("nonlocal", "gaussian_skew")]
    np.testing.assert_allclose(value, expected, rtol=2e-8)
    slopes = jax.jacrev(total, argnums=(0, 1, 2))(*at)
    for number, slope in enumerate(slopes):
        up, down = (total(*(x + sign * step * (n == number) for n, x in enumerate(at))) for sign in (1, -1))
        difference = (up - down) / (2 * step)
        np.testing.assert_allclose(slope, difference, rtol=2e-5, atol=2e-5 * np.abs(difference).max())


def test_pair_of_green_functions(contour):
    """F is a symmetric form, and F[Γ] the change of G with a perturbation Γ of H, of one site and between two."""
    model, level, step = plane(), -2.4, 1e-3
    here, there = ((0, (0, 0)), (1, (0, 0))), ((1, (1, 0)),)
    pairs = surface_pair_green(contour, (*here, *there), ((0, 1), (2,)), 1e-6)
    own, other = pairs[0][0][0], pairs[0][1][0]
    swapped = own.reshape(2, 2, 2, 2).transpose(3, 2, 1, 0).reshape(4, 4)
    assert np.abs(own - swapped).max() < 1e-10 * np.abs(own).max()
    np.testing.assert_allclose(pairs[1][0][0].ravel(), other.reshape(2, 2).T.ravel(), rtol=1e-9)

    def green(shift):
        home = jnp.all(model.translations == 0, axis=1)[:, None, None]
        moved = jk.TightBinding(model.lattice, model.translations, model.hoppings + home * shift, model.positions)
        return local_green_function(moved, [level], [0, 1], rtol=1e-9).values[0] / AREA

    for gamma in (np.diag([1.0, 0.3]), np.array([[0.2, 1j], [-1j, 0.0]])):
        changed = (green(step * gamma) - green(-step * gamma)) / (2 * step)
        found = (own @ gamma.ravel()).reshape(2, 2)
        assert np.abs(found - changed).max() < 1e-4 * np.abs(changed).max()


# n g² of the quantum calculation with dressed bands, extrapolated to n → 0: B of g n² = A + B n, see below
STORED = {(2.0, 0.8): ((-0.0000757, -0.0036099), (0.0000003, -0.0195136))}


def test_t_matrix_against_stored_quantum_numbers(contour):
    """A(n⁻²) and B(n⁻¹) to all orders in w^A, and Onsager's relation for their sum."""
    first, second, violation = complete(Dense(contour, plane_impurity(1.0, (2.0, 0.8), rtol=1e-4)))
    a, b = STORED[2.0, 0.8]
    np.testing.assert_allclose(AREA * first.imag[2, :2], a, atol=2e-7)
    np.testing.assert_allclose(AREA * second.imag[2, :2], b, atol=1e-5)
    assert violation < 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("disorder", ["one", "two"])
def test_t_matrix_against_the_quantum_calculation(contour, disorder):
    """Strong potentials of one and of two kinds: λ n² = A + B n + …, both from the surface alone."""

    def sample(n):
        strong = plane_impurity(n, (3.0, -4.0), rtol=1e-4)
        return (
            strong
            if disorder == "one"
            else strong + plane_impurity(2 * n, (1.0, -2.0), cells=[[0, 0], [1, 0]], rtol=1e-4)
        )

    first, second, _ = (np.imag(part) for part in complete(Dense(contour, sample(1.0))))
    a, b = AREA * first[2, :2], AREA * second[2, :2]
    n, excess = np.array([0.16, 0.08, 0.04]) / (1 if disorder == "one" else 2), []
    for value, size in zip(n, (240, 400, 800), strict=True):
        slope = static(plane(), sample(value), -2.4, (size, size), "dressed").slope
        excess.append((gyrotropic(slope).imag[2, :2] * value**2 - a) / value)
    limit = np.polynomial.polynomial.polyfit(n, np.array(excess), 2)[0]
    assert np.abs(limit - b).max() < 0.01 * np.abs(b).max()  # worst 4e-3; the extrapolation's own change is 1e-2
