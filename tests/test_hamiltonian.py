"""Bloch Hamiltonians: convention, the common interface, and refusal of bad input."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

import jaxkin as jk
from jaxkin.hamiltonian.eigensystem import eigensystem, eigenvalues
from jaxkin.models.pauli import SPIN

EXACT = 1e-12  # of the scale; worst 6e-15: sums of a few phases in double precision
DIFFERENCE = 1e-8  # of the scale; worst 2e-10: central differences with a step of 1e-5 Å⁻¹
STEP = 1e-5


def random_model(dimension, n=3, *, position_matrices=False, seed=1):
    """Tight binding with random complex hoppings, orbital positions and a skew lattice."""
    rng = np.random.default_rng(seed)
    steps = np.vstack([np.zeros((1, dimension), int), np.eye(dimension, dtype=int), -np.eye(dimension, dtype=int)])
    lattice = 2 * np.eye(dimension, 3) + 0.3 * rng.normal(size=(dimension, 3))

    def hermitian(*shape):
        m = rng.normal(size=(dimension + 1, n, n, *shape)) + 1j * rng.normal(size=(dimension + 1, n, n, *shape))
        dagger = np.swapaxes(m.conj(), 1, 2)
        return np.concatenate([(m + dagger)[:1], m[1:], dagger[1:]])

    r = 0.2 * hermitian(3) if position_matrices else None
    return jk.TightBinding(lattice, steps, hermitian(), rng.uniform(size=(n, dimension)), r)


def random_kdotp(dimension, n=3, seed=2):
    rng = np.random.default_rng(seed)
    m = rng.normal(size=(dimension + 1, n, n)) + 1j * rng.normal(size=(dimension + 1, n, n))
    m = m + np.swapaxes(m.conj(), 1, 2)
    return jk.KdotP(lambda k: m[0] + jnp.tensordot(jnp.sin(k) + k**2, m[1:], axes=1), ((-1, 1),) * dimension)


MODELS = {"tight-binding": random_model, "kdotp": random_kdotp}
both_kinds = pytest.mark.parametrize("build", MODELS.values(), ids=MODELS)
dimensions = pytest.mark.parametrize("dimension", [1, 2, 3])


@dimensions
def test_hopping_phases_carry_the_orbital_positions(dimension):
    model = random_model(dimension)
    k = np.random.default_rng(3).uniform(size=dimension)
    lattice, centres = np.asarray(model.lattice), np.asarray(model.positions) @ np.asarray(model.lattice)
    expected = np.zeros((3, 3), complex)
    for step, hopping in zip(np.asarray(model.translations), np.asarray(model.hoppings), strict=True):
        for a in range(3):
            for b in range(3):
                distance = step @ lattice + centres[b] - centres[a]
                expected[a, b] += np.exp(1j * np.asarray(model.cartesian(k)) @ distance) * hopping[a, b]
    np.testing.assert_allclose(model.hamiltonian(k), expected, rtol=0, atol=EXACT * np.abs(expected).max())


@dimensions
def test_a_reciprocal_vector_changes_only_the_orbital_phases(dimension):
    model = random_model(dimension)
    rng = np.random.default_rng(4)
    k, g = rng.uniform(size=dimension), rng.integers(1, 4, dimension)
    v = np.diag(np.exp(2j * np.pi * np.asarray(model.positions) @ g))
    h = np.asarray(model.hamiltonian(k))
    np.testing.assert_allclose(model.hamiltonian(k + g), v.conj().T @ h @ v, rtol=0, atol=EXACT * np.abs(h).max())


@dimensions
@both_kinds
def test_jit_vmap_and_grad_work_on_every_kind_of_model(build, dimension):
    model = build(dimension)
    k = np.random.default_rng(5).uniform(0.1, 0.9, (4, dimension))
    one_by_one = np.array([model.hamiltonian(point) for point in k])
    assert one_by_one.dtype == complex
    together = np.asarray(jax.jit(jax.vmap(model.hamiltonian))(k))
    np.testing.assert_allclose(together, one_by_one, rtol=0, atol=EXACT)
    np.testing.assert_allclose(together, np.swapaxes(together.conj(), 1, 2), rtol=0, atol=EXACT)
    geometry = jk.band_geometry(model, k, 1)
    energy, gradient = jax.jit(jax.vmap(jax.value_and_grad(lambda point: model.bands(point)[1])))(k)
    np.testing.assert_allclose(geometry.energy, energy, rtol=0, atol=EXACT)
    gradient = np.asarray(gradient) @ np.asarray(model.dual)
    np.testing.assert_allclose(geometry.velocity, gradient, rtol=0, atol=EXACT * np.abs(gradient).max())


@both_kinds
def test_methods_can_be_given_to_jit_as_they_are(build):
    model = build(2)
    k = np.array([0.1, 0.2])
    np.testing.assert_allclose(jax.jit(model.hamiltonian)(k), model.hamiltonian(k), rtol=0, atol=EXACT)
    np.testing.assert_allclose(jax.jit(model.bands)(k), model.bands(k), rtol=0, atol=EXACT)


@dimensions
@both_kinds
def test_derivative_equals_central_differences_along_cartesian_axes(build, dimension):
    model = build(dimension)
    k = np.random.default_rng(6).uniform(0.1, 0.9, dimension)
    derivative, hamiltonian = np.asarray(model.derivative(k)), model.hamiltonian
    for a in range(3):
        shift = STEP * np.asarray(model.dual)[:, a]
        difference = (hamiltonian(k + shift) - hamiltonian(k - shift)) / (2 * STEP)
        np.testing.assert_allclose(derivative[a], difference, rtol=0, atol=DIFFERENCE * np.abs(derivative).max())


def test_position_matrices_add_their_commutator_and_curvature():
    model = random_model(3, position_matrices=True)
    plain = jk.TightBinding(model.lattice, model.translations, model.hoppings, model.positions)
    k = np.array([0.1, 0.4, 0.7])
    h, r = np.asarray(model.hamiltonian(k)), np.asarray(model.position(k))
    expected = np.asarray(plain.derivative(k)) - 1j * (r @ h - h @ r)
    np.testing.assert_allclose(model.derivative(k), expected, rtol=0, atol=EXACT * np.abs(expected).max())
    assert plain.position(k) is None and plain.wannier_curvature(k) is None
    curvature, position = np.asarray(model.wannier_curvature(k)), model.position
    for a, b, c in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        da, db = (STEP * np.asarray(model.dual)[:, axis] for axis in (a, b))
        da_rb = (position(k + da)[b] - position(k - da)[b]) / (2 * STEP)
        db_ra = (position(k + db)[a] - position(k - db)[a]) / (2 * STEP)
        expected = da_rb - db_ra - 1j * (r[a] @ r[b] - r[b] @ r[a])
        np.testing.assert_allclose(curvature[c], expected, rtol=0, atol=DIFFERENCE * np.abs(expected).max())


def test_two_dimensional_model_is_the_same_with_two_or_three_components():
    flat = jk.models.get("haldane")
    lattice, steps, positions = (np.asarray(x) for x in (flat.lattice, flat.translations, flat.positions))
    pad = ((0, 0), (0, 1))
    forms = [
        jk.TightBinding(lattice[:, :2], steps, flat.hoppings, positions),
        jk.TightBinding(lattice, np.pad(steps, pad), flat.hoppings, np.pad(positions, pad, constant_values=0.3)),
    ]
    for form in forms:
        assert form.dimension == 2 and form.lattice.shape == (2, 3)
        np.testing.assert_allclose(form.hamiltonian([0.2, 0.3]), flat.hamiltonian([0.2, 0.3]), rtol=0, atol=1e-14)


def test_a_tilted_sheet_has_its_curvature_along_its_normal():
    flat = jk.models.get("haldane")
    turn = Rotation.from_euler("xyz", [0.4, 1.1, -0.7]).as_matrix()
    tilted = jk.TightBinding(flat.lattice @ turn.T, flat.translations, flat.hoppings, flat.positions)
    expected, found = (jk.band_geometry(model, np.array([[0.2, 0.3]]), 0) for model in (flat, tilted))
    assert np.all(np.asarray(expected.berry_curvature)[0, :2] == 0) and expected.velocity[0, 2] == 0
    for name in ("velocity", "berry_curvature", "orbital_moment"):
        vector = np.asarray(getattr(expected, name))
        np.testing.assert_allclose(getattr(found, name), vector @ turn.T, rtol=0, atol=EXACT * np.linalg.norm(vector))


@dimensions
def test_measure_is_the_zone_over_its_two_pi_power(dimension):
    model = random_model(dimension)
    zone = np.sqrt(np.linalg.det(model.basis @ model.basis.T))
    np.testing.assert_allclose(model.measure, zone / (2 * np.pi) ** dimension, rtol=EXACT)
    np.testing.assert_allclose(model.basis @ model.dual.T, np.eye(dimension), rtol=0, atol=EXACT)


CHAIN = {
    "lattice": [[2.0, 0, 0]],
    "translations": [[0], [1], [-1]],
    "hoppings": np.ones((3, 2, 2)),
    "positions": [[0.0], [0.5]],
}
ONES_R = np.ones((3, 2, 2, 3))


def with_entry(shape, index, value):
    array = np.ones(shape, complex)
    array[index] = value
    return array


BAD_TIGHT_BINDING = {
    "one translation too many": ({"translations": [[0], [1], [-1], [2]]}, r"hoppings have shape \(3, 2, 2\).*4 trans"),
    "hoppings not square": ({"hoppings": np.ones((3, 2, 1))}, "hoppings have shape"),
    "translations of two components": ({"translations": [[0, 1], [1, 0], [-1, 0]]}, "translations need 1 integers"),
    "fractional translation": ({"translations": [[0], [0.5], [-0.5]]}, "translations must be integers"),
    "positions of one orbital": ({"positions": [[0.0]]}, "positions"),
    "positions of three orbitals": ({"positions": [[0.0], [0.1], [0.2]]}, "positions"),
    "NaN position": ({"positions": [[0.0], [np.nan]]}, "positions"),
    "NaN hopping": ({"hoppings": with_entry((3, 2, 2), (1, 0, 1), np.nan)}, "hoppings hold NaN"),
    "infinite hopping": ({"hoppings": with_entry((3, 2, 2), (1, 0, 1), np.inf)}, "hoppings hold NaN or inf"),
    "not Hermitian": ({"hoppings": with_entry((3, 2, 2), (1, 0, 1), 1.5)}, r"not Hermitian.*R = \(1,\).*0\.5"),
    "partner missing": ({"translations": [[0], [1], [2]]}, r"not Hermitian.*partner -R is missing"),
    "position matrix shape": ({"position_matrices": np.ones((3, 2, 2))}, "position_matrices have shape"),
    "position matrix NaN": (
        {"position_matrices": with_entry((3, 2, 2, 3), (0, 0, 1, 2), np.nan)},
        "position_matr.*NaN",
    ),
    "position matrix not Hermitian": (
        {"position_matrices": with_entry((3, 2, 2, 3), (1, 0, 1, 2), 2)},
        r"position_matrices \(axis z\) are not Hermitian",
    ),
    "zero lattice": ({"lattice": [[0.0, 0, 0]]}, "linearly dependent"),
    "NaN lattice": ({"lattice": [[np.nan, 0, 0]]}, "not finite"),
    "lattice of two components": ({"lattice": [[1.0, 0.0]]}, "lattice has shape"),
    "spin of another size": ({"spin": np.ones((3, 3, 3))}, "spin"),
}


@pytest.mark.parametrize(("change", "message"), BAD_TIGHT_BINDING.values(), ids=BAD_TIGHT_BINDING)
def test_bad_tight_binding_is_refused(change, message):
    jk.TightBinding(**CHAIN, position_matrices=ONES_R)
    with pytest.raises(jk.ModelError, match=message):
        jk.TightBinding(**(CHAIN | change))


BOX = ((-1, 1), (-1, 1))
BAD_KDOTP = {
    "empty box": (lambda k: jnp.eye(2), (), "box must be"),
    "four directions": (lambda k: jnp.eye(2), ((-1, 1),) * 4, "box must be"),
    "box upside down": (lambda k: jnp.eye(2), ((-1, 1), (1, -1)), "lo < hi"),
    "box NaN": (lambda k: jnp.eye(2), ((-1, 1), (0, np.nan)), "lo < hi"),
    "box of single numbers": (lambda k: jnp.eye(2), (1.0, 1.0), "box must be"),
    "scalar instead of a matrix": (lambda k: k @ k, BOX, r"returned shape \(\).*\(n, n\)"),
    "not square": (lambda k: jnp.ones((2, 3)), BOX, r"returned shape \(2, 3\)"),
    "not traceable": (lambda k: jnp.eye(2) * float(k[0]), BOX, "could not be traced"),
    "three components of a two-dimensional k": (
        lambda k: jnp.eye(2) * (k @ jnp.ones(3)),
        BOX,
        r"could not be traced.* shape \(2,\)",
    ),
    "unpacks three components of a two-dimensional k": (lambda k: _unpack_three(k), BOX, r"shape \(2,\)"),
    "nothing returned": (lambda k: None, BOX, "hamiltonian"),
    "not Hermitian": (lambda k: jnp.array([[0, 1.0], [0, 0]]), BOX, "not Hermitian at k = .*off by 1 eV"),
    "NaN": (lambda k: jnp.full((2, 2), jnp.nan), BOX, "(?i)nan"),
}


def _unpack_three(k):
    kx, ky, kz = k
    return jnp.eye(2) * (kx + ky + kz)


@pytest.mark.parametrize(("function", "box", "message"), BAD_KDOTP.values(), ids=BAD_KDOTP)
def test_bad_kdotp_is_refused(function, box, message):
    with pytest.raises(jk.ModelError, match=message):
        jk.KdotP(function, box)


def test_kdotp_spin_of_another_size_is_refused():
    with pytest.raises(jk.ModelError, match="spin"):
        jk.KdotP(lambda k: jnp.eye(2), BOX, spin=np.ones((3, 3, 3)))


def test_double_precision_comes_with_the_first_model_and_not_with_the_import():
    script = (
        "import jax, jaxkin\n"
        "assert not jax.config.jax_enable_x64, 'import'\n"
        "h = jaxkin.models.get('weyl').hamiltonian([0.1, 0.2, 0.3])\n"
        "assert h.dtype == 'complex128', h.dtype"
    )
    environment = {key: value for key, value in os.environ.items() if key != "JAX_ENABLE_X64"}
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run([sys.executable, "-c", script], cwd=root, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@both_kinds
def test_hamiltonian_and_derivative_come_together(build):
    model = build(3)
    k = np.random.default_rng(7).uniform(size=(5, 3))
    h, derivative = jax.jit(jax.vmap(model.hamiltonian_and_derivative))(k)
    plain, slopes = jax.vmap(model.hamiltonian)(k), jax.vmap(jax.jacfwd(model.hamiltonian))(k)
    expected = np.einsum("ia,kmni->kamn", model.dual, slopes)
    np.testing.assert_allclose(h, plain, rtol=0, atol=EXACT)
    np.testing.assert_allclose(derivative, expected, rtol=0, atol=EXACT * np.abs(expected).max())


def test_repeated_translations_are_added_up_and_negligible_partners_may_be_missing():
    chain = jk.TightBinding([[2.0, 0, 0]], [[1], [-1], [0]], -np.ones((3, 1, 1)), [[0.0]])
    steps = [[1], [0], [-1], [1], [3]]
    parts = jk.TightBinding([[2.0, 0, 0]], steps, np.reshape([-0.25, -1, -1, -0.75, 1e-9], (5, 1, 1)), [[0.0]])
    for k in ([0.1], [0.37]):
        np.testing.assert_allclose(parts.bands(k), chain.bands(k), rtol=0, atol=2e-9)


@settings(max_examples=30)
@given(st.integers(0, 2**16), st.sampled_from([1.0, 1e-6, 1e-12, 0.0]), st.sampled_from([1.0, -1.0]))
def test_two_bands_have_a_closed_form(seed, splitting, sign):
    """Against the exact projectors of c + d·σ, however small d is: rounding is relative to |d|, not to |c|."""
    rng = np.random.default_rng(seed)
    d = splitting * rng.normal(size=3) * [1, 1, sign]
    h = 0.25 * np.eye(2) + np.tensordot(d, SPIN, axes=1)
    energies, states = map(np.asarray, eigensystem(jnp.asarray(h)))
    size = np.linalg.norm(d)
    np.testing.assert_allclose(energies, [0.25 - size, 0.25 + size], rtol=0, atol=EXACT)
    np.testing.assert_array_equal(eigenvalues(jnp.asarray(h)), energies)
    np.testing.assert_allclose(states.conj().T @ states, np.eye(2), rtol=0, atol=EXACT)
    np.testing.assert_allclose(h @ states, states * energies, rtol=0, atol=EXACT)
    if size:
        spin = np.einsum("mb,amn,nb->ba", states.conj(), SPIN, states).real
        lost = 1e-16 * 0.25 / size  # by the rounding of H itself
        np.testing.assert_allclose(spin, np.outer([-1, 1], d / size), rtol=0, atol=EXACT + 4 * lost)


def test_two_bands_differentiate_to_finite_numbers_where_they_touch():
    node = jk.KdotP(lambda k: jnp.tensordot(k, jnp.asarray(SPIN), axes=1), ((-1, 1),) * 3)
    slopes = jax.jacfwd(lambda k: node.bands(k))(jnp.zeros(3))
    assert np.all(np.isfinite(slopes))
    along = jax.jacfwd(lambda k: node.bands(k))(jnp.array([0.0, 0.0, -0.1]))
    np.testing.assert_allclose(along, [[0, 0, 1], [0, 0, -1]], rtol=0, atol=EXACT)


class Honeycomb(jk.BlochModel):
    """A model of a user's own: a gapped lattice in a gauge of reduced k."""

    mass: float
    dimension = property(lambda self: 2)
    size = property(lambda self: 2)
    zone = property(lambda self: ((0.0, 1.0),) * 2)
    basis = property(lambda self: 2 * jnp.pi * jnp.eye(2, 3))
    dual = property(lambda self: jnp.eye(2, 3) / (2 * jnp.pi))
    measure = property(lambda self: jnp.ones(()))
    state_volume = property(lambda self: jnp.ones(()))

    def hamiltonian(self, k):
        off = 1 + jnp.exp(2j * jnp.pi * k[0]) + jnp.exp(2j * jnp.pi * k[1])
        return jnp.array([[self.mass, off], [jnp.conj(off), -self.mass]])


def test_a_model_of_ones_own():
    """Subclasses of BlochModel are sampled, scatter and respond as the same model in tight binding does."""
    hop = np.array([[0.3, 1.0], [1.0, -0.3]]), np.array([[0, 1.0], [0, 0]])
    steps = [[0, 0], [1, 0], [-1, 0], [0, 1], [0, -1]]
    hoppings = [hop[0], hop[1], hop[1].T, hop[1], hop[1].T]
    known = jk.TightBinding(np.eye(2, 3), steps, hoppings, np.zeros((2, 2)))
    parts = []
    for model in (Honeycomb(0.3), known):
        surface = jk.fermi_surface(model, -2.4, sampler=jk.Lines(24), replicas=2)
        impurity = jk.PointImpurity(1.0, [0], 0.01, rtol=1e-4)
        parts.append(jk.conductivity(surface, impurity).sigma["drude"].mean[0])
    np.testing.assert_allclose(parts[0], parts[1], rtol=0, atol=2e-4 * np.abs(parts[1]).max())
