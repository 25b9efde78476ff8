"""Band geometry against closed forms, plain sums over states, finite differences and symmetry."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.tree_util import Partial
from scipy.constants import physical_constants
from scipy.spatial.transform import Rotation
from scipy.stats import ortho_group, unitary_group

import jaxkin as jk
from jaxkin.geometry import batched_geometry, diagonalised, geometry_of_all_bands
from jaxkin.hamiltonian import eigensolvers
from jaxkin.hamiltonian.spectrum import Spectrum
from jaxkin.models.pauli import SIGMA, SPIN, Hoppings
from jaxkin.surface import points
from jaxkin.units import MAGNETON_PER_EV_A2

CLOSED = 1e-13  # relative; worst 2e-15
ROUNDING = 1e-11  # of the largest over bands; worst 7e-14: gaps of 0.1 eV enlarge the rounding of 1e-16
PLAQUETTE = 1e-5  # of the largest; worst 2e-6: Fukui's flux through a plaquette of edge 1e-3 Å⁻¹
DIFFERENCE = 1e-6  # of the largest; worst 3e-8: covariant central differences with a step of 1e-4 Å⁻¹
VECTORS = ("velocity", "berry_curvature", "orbital_moment")
CYCLIC = ((1, 2), (2, 0), (0, 1))
seeds = st.integers(0, 2**16)


def random_hoppings(seed, n, dimension=3):
    rng = np.random.default_rng(seed)
    terms = Hoppings(dimension, n)
    m = rng.normal(size=(dimension + 2, n, n)) + 1j * rng.normal(size=(dimension + 2, n, n))
    terms.onsite(m[0] + m[0].conj().T + np.diag(3.0 * np.arange(n)))
    for step, matrix in zip([*np.eye(dimension, dtype=int), np.ones(dimension)], m[1:], strict=True):
        terms.add(step, 0.4 * matrix)
    return terms


def random_model(seed=0, n=4, *, positions=None):
    rng = np.random.default_rng(seed + 1000)
    lattice = 2 * np.eye(3) + 0.3 * rng.normal(size=(3, 3))
    terms = random_hoppings(seed, n)
    positions = rng.uniform(size=(n, 3)) if positions is None else positions
    return jk.TightBinding(lattice, terms.translations, terms.matrices, positions)


def every_band(model, k):
    """Geometry of all bands at one k as a dictionary of arrays (n, ...)."""
    geometry = jk.band_geometry(model, np.tile(k, (model.size, 1)), np.arange(model.size))
    return {name: np.asarray(value) for name, value in vars(geometry).items()}


compiled = eqx.filter_jit(jk.band_geometry)
derivative = eqx.filter_jit(lambda model, k: model.derivative(k))
wannier_curvature = eqx.filter_jit(lambda model, k: model.wannier_curvature(k))


def assert_same(found, expected, names=("energy", *VECTORS), tolerance=ROUNDING):
    for name in names:
        scale = np.abs(expected[name]).max()
        assert scale > 1e-3, f"{name} vanishes: nothing is tested"
        np.testing.assert_allclose(found[name], expected[name], rtol=0, atol=tolerance * scale, err_msg=name)


# --- closed forms ------------------------------------------------------------------------------


@given(st.floats(0.2, 3), st.floats(0.05, 1), st.sampled_from([-1, 1]), st.floats(-0.9, 0.9), st.floats(-0.9, 0.9))
def test_massive_dirac_curvature_and_moment(v, mass, sign, kx, ky):
    """Ω_z = ∓v²Δ/2ε³ of the upper and lower band; m_z = −v²Δ/2ε² (|e|/ħ) of both."""
    delta = sign * mass
    # NumPy scalars are traced, so that one compilation serves all examples
    found = every_band(jk.models.get("massive-dirac-2d", velocity=np.float64(v), mass=np.float64(delta)), [kx, ky])
    energy = np.sqrt(v**2 * (kx**2 + ky**2) + delta**2)
    curvature = -(v**2) * delta / (2 * energy**3)
    moment = -(v**2) * delta / (2 * energy**2) * MAGNETON_PER_EV_A2
    np.testing.assert_allclose(found["berry_curvature"][:, 2], [-curvature, curvature], rtol=CLOSED)
    np.testing.assert_allclose(found["orbital_moment"][:, 2], [moment, moment], rtol=CLOSED)
    np.testing.assert_allclose(found["energy"], [-energy, energy], rtol=CLOSED)
    velocity = v**2 * np.array([kx, ky, 0]) / energy
    np.testing.assert_allclose(found["velocity"], [-velocity, velocity], rtol=0, atol=CLOSED * v)


@pytest.mark.parametrize("chirality", [1, -1])
def test_weyl_node_is_a_monopole(chirality):
    """H = χv k·σ: Ω = ∓χ k/2k³ of the upper and lower band, m = −χv k/2k² (|e|/ħ) of both."""
    v, k = 1.3, np.array([0.3, -0.2, 0.5])
    model = jk.KdotP(lambda q: chirality * v * jnp.tensordot(q, jnp.asarray(SPIN), axes=1), ((-1, 1),) * 3)
    found, size = every_band(model, k), np.linalg.norm(k)
    curvature = -chirality * k / (2 * size**3)
    moment = -chirality * v * k / (2 * size**2) * MAGNETON_PER_EV_A2
    np.testing.assert_allclose(found["berry_curvature"], [-curvature, curvature], rtol=CLOSED)
    np.testing.assert_allclose(found["orbital_moment"], [moment, moment], rtol=CLOSED)
    np.testing.assert_allclose(found["velocity"], [-v * k / size, v * k / size], rtol=CLOSED)


def test_spin_moment_is_opposite_to_the_spin_and_prescribed_moment_is_added():
    """Zeeman levels −B·σ: the lower level has ⟨σ⟩ ∥ B, so its moment is −(g/2) B/|B| μ_B."""
    field, extra = np.array([0.1, -0.2, 0.2]), np.array([1.0, 2.0, 3.0])
    model = jk.KdotP(
        lambda k: k @ k * jnp.eye(2) - jnp.asarray(np.tensordot(field, SPIN, axes=1)),
        ((-1, 1),) * 3,
        spin=SPIN,
        moment=lambda k: k[0] * jnp.asarray(extra),
    )
    spin = abs(physical_constants["electron g factor"][0]) / 2 * field / np.linalg.norm(field)
    found = every_band(model, [0.5, 0.1, 0.2])["orbital_moment"]
    np.testing.assert_allclose(found, [0.5 * extra - spin, 0.5 * extra + spin], rtol=CLOSED)
    both = compiled(model, np.array([0.5, 0.1, 0.2]), (0, 1)).orbital_moment
    np.testing.assert_allclose(both, extra, rtol=CLOSED)


def test_chern_number_of_haldane_is_the_sum_of_its_curvature():
    n = 24
    k = (np.stack(np.meshgrid(*[np.arange(n)] * 2), axis=-1).reshape(-1, 2) + 0.5) / n

    def chern(**parameters):
        model = jk.models.get("haldane", **parameters)
        zone = (2 * np.pi) ** 2 * float(model.measure)  # area in Å⁻²
        curvature = jk.band_geometry(model, k, 0).berry_curvature[:, 2]
        return float(curvature.mean()) * zone / (2 * np.pi)

    found = np.array([chern(), chern(flux=-np.pi / 2), chern(mass=2.0)])
    np.testing.assert_allclose(np.abs(found), [1, 1, 0], rtol=0, atol=1e-6)  # worst 2e-8 on this grid
    assert found[0] * found[1] < 0


# --- other ways to the same numbers ------------------------------------------------------------


def sum_over_states(model, k):
    """Eqs. (15), (4) by loops over states, with ∂H from the phases written out."""
    lattice, centres = np.asarray(model.lattice), np.asarray(model.positions) @ np.asarray(model.lattice)
    h, dh = 0, 0
    for step, hopping in zip(np.asarray(model.translations), np.asarray(model.hoppings), strict=True):
        distance = step @ lattice + centres[None, :] - centres[:, None]
        term = np.exp(1j * distance @ np.asarray(model.cartesian(k))) * hopping
        h, dh = h + term, dh + 1j * np.moveaxis(distance, -1, 0) * term
    energy, u = np.linalg.eigh(h)
    v = u.conj().T @ dh @ u
    n = len(energy)
    curvature, moment = np.zeros((n, 3)), np.zeros((n, 3))
    for b in range(n):
        for m in set(range(n)) - {b}:
            gap = energy[b] - energy[m]
            for z, (x, y) in enumerate(CYCLIC):
                term = np.imag(v[x][b, m] * v[y][m, b]) / gap**2
                curvature[b, z] -= 2 * term
                moment[b, z] -= gap * term * MAGNETON_PER_EV_A2
    velocity = np.real(np.diagonal(v, axis1=1, axis2=2)).T
    return {"energy": energy, "velocity": velocity, "berry_curvature": curvature, "orbital_moment": moment}


@given(seeds)
def test_geometry_equals_a_plain_sum_over_states(seed):
    model = random_model(seed)
    k = np.random.default_rng(seed).uniform(size=3)
    assert_same(every_band(model, k), sum_over_states(model, k))


def test_curvature_is_the_flux_through_small_plaquettes():
    model, k, edge = random_model(3), np.array([0.15, 0.35, 0.6]), 1e-3
    flux = np.zeros((4, 3))
    for z, (x, y) in enumerate(CYCLIC):
        dx, dy = edge * np.asarray(model.dual)[:, x], edge * np.asarray(model.dual)[:, y]
        corners = [k + s * dx + t * dy for s, t in ((-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5))]
        u = [np.linalg.eigh(model.hamiltonian(corner))[1] for corner in corners]
        links = [np.einsum("ab,ab->b", u[i].conj(), u[(i + 1) % 4]) for i in range(4)]
        flux[:, z] = -np.angle(np.prod(links, axis=0)) / edge**2
    assert_same(every_band(model, k), {"berry_curvature": flux}, ["berry_curvature"], PLAQUETTE)


def test_covariant_derivative_equals_gauge_smoothed_differences():
    """D|u⟩ from states at k ± h, each with ⟨u_k|u⟩ made 1; Ω = i⟨Du|×|Du⟩ and m follow from it."""
    model, k, step = random_model(4), np.array([0.7, 0.2, 0.45]), 1e-4
    found, h = every_band(model, k), np.asarray(model.hamiltonian(k))
    shifts = step * np.asarray(model.dual).T
    after, before = ([np.linalg.eigh(model.hamiltonian(k + side * s))[1] for s in shifts] for side in (1, -1))
    expected = {"covariant_derivative": [], "berry_curvature": [], "orbital_moment": []}
    for band, u in enumerate(found["state"]):
        smooth = [[w[a][:, band] / (u.conj() @ w[a][:, band]) for a in range(3)] for w in (after, before)]
        du = (np.array(smooth[0]) - smooth[1]) / (2 * step)
        rest = du @ (h - found["energy"][band] * np.eye(4)).T  # (h − ε)|Du⟩
        curvature = [np.real(1j * (du[x].conj() @ du[y] - du[y].conj() @ du[x])) for x, y in CYCLIC]
        moment = [np.real(0.5j * (du[x].conj() @ rest[y] - du[y].conj() @ rest[x])) for x, y in CYCLIC]
        expected["covariant_derivative"].append(du)
        expected["berry_curvature"].append(curvature)
        expected["orbital_moment"].append(-MAGNETON_PER_EV_A2 * np.array(moment))  # e = −|e|
        assert np.abs(found["covariant_derivative"][band] @ u.conj()).max() < ROUNDING
    assert_same(found, {name: np.array(value) for name, value in expected.items()}, expected, DIFFERENCE)


# --- invariance --------------------------------------------------------------------------------


@given(seeds)
def test_mixing_orbitals_at_one_site_changes_nothing(seed):
    model = random_model(5, positions=np.tile([0.2, 0.5, 0.1], (4, 1)))
    w = unitary_group.rvs(4, random_state=seed)
    hoppings = w.conj().T @ np.asarray(model.hoppings) @ w
    mixed = jk.TightBinding(model.lattice, model.translations, hoppings, model.positions)
    k = np.random.default_rng(seed).uniform(size=3)
    assert_same(every_band(mixed, k), every_band(model, k))


def test_a_phase_of_the_orbitals_is_carried_by_the_state_only():
    model, k = random_model(6), np.array([0.3, 0.6, 0.2])
    phase = np.exp(2j * np.pi * np.random.default_rng(0).uniform(size=4))
    hoppings = phase.conj()[:, None] * np.asarray(model.hoppings) * phase
    turned = jk.TightBinding(model.lattice, model.translations, hoppings, model.positions)
    expected, found = every_band(model, k), every_band(turned, k)
    assert_same(found, expected)
    overlap = np.sum(expected["state"].conj() * phase * found["state"], axis=1)
    np.testing.assert_allclose(np.abs(overlap), 1, rtol=ROUNDING)
    for name in ("state", "covariant_derivative"):
        same = (found[name].T * overlap.conj()).T * phase
        np.testing.assert_allclose(same, expected[name], rtol=0, atol=ROUNDING * np.abs(expected[name]).max())


def _warped(matrices, k):
    return jnp.tensordot(jnp.concatenate([k, k**2, jnp.sin(2 * k)]), matrices, axes=1)


def _turned(matrices, turn, k):
    return _warped(matrices, turn.T @ k)


@given(seeds)
def test_a_rotated_or_reflected_model_has_rotated_vectors(seed):
    """H'(k) = H(R⁻¹k): v turns as a polar vector, Ω and m as axial ones."""
    rng = np.random.default_rng(7)
    matrices = rng.normal(size=(9, 3, 3)) + 1j * rng.normal(size=(9, 3, 3))
    matrices = jnp.asarray(matrices + np.swapaxes(matrices.conj(), 1, 2))
    turn = ortho_group.rvs(3, random_state=seed)
    box, k = ((-2, 2),) * 3, np.random.default_rng(seed).uniform(0.3, 0.8, 3)
    original = every_band(jk.KdotP(Partial(_warped, matrices), box), k)
    found = every_band(jk.KdotP(Partial(_turned, matrices, jnp.asarray(turn)), box), turn @ k)
    det = np.linalg.det(turn)
    parity = {"velocity": 1, "berry_curvature": det, "orbital_moment": det}
    expected = {name: parity[name] * original[name] @ turn.T for name in VECTORS}
    assert_same(found, expected | {"energy": original["energy"]})


@pytest.mark.parametrize("name", ["kramers-weyl-d3", "haldane-chiral"])
def test_time_reversal_turns_every_vector_round(name):
    model, k = jk.models.get(name), np.array([0.13, 0.31, 0.22])
    there, back = every_band(model, k), every_band(model, -k)
    assert_same(back, {key: value if key == "energy" else -value for key, value in there.items()})


def test_inversion_keeps_curvature_and_moment():
    model, k = jk.models.get("weyl"), np.array([0.13, 0.31, 0.22])
    there, back = every_band(model, k), every_band(model, -k)
    assert_same(back, there | {"velocity": -there["velocity"]})


# --- degenerate bands --------------------------------------------------------------------------


@settings(max_examples=5)
@given(seeds)
def test_doubled_bands_have_the_geometry_of_the_single_ones(seed):
    """H ⊗ 1 with the two spin states of every orbital mixed by its own unitary."""
    single = random_model(8, n=3)
    mix = np.zeros((6, 6), complex)
    for site in range(3):
        pair = slice(2 * site, 2 * site + 2)
        mix[pair, pair] = unitary_group.rvs(2, random_state=seed + site)
    hoppings = mix.conj().T @ np.kron(single.hoppings, np.eye(2)) @ mix
    double = jk.TightBinding(single.lattice, single.translations, hoppings, np.repeat(single.positions, 2, axis=0))
    k = np.random.default_rng(seed).uniform(size=3)
    expected = every_band(single, k)
    assert_same(every_band(double, k), {name: np.repeat(value, 2, axis=0) for name, value in expected.items()})
    pair = compiled(double, k, (2, 3))
    for name in VECTORS:
        trace = 2 * expected[name][1]
        np.testing.assert_allclose(getattr(pair, name), trace, rtol=0, atol=ROUNDING * np.abs(expected[name]).max())
    covariant = every_band(double, k)["covariant_derivative"][2]
    states = np.linalg.eigh(double.hamiltonian(k))[1][:, 2:4]
    assert np.abs(covariant @ states.conj()).max() < ROUNDING  # orthogonal to the whole pair


def test_inversion_with_time_reversal_leaves_no_trace_of_curvature():
    """Massive Dirac fermion v τ_x σ·k + Δ τ_z: each band is a Kramers pair of opposite Ω and m."""
    v, mass, k = 1.2, 0.3, np.array([0.3, -0.4, 0.2])
    dirac = jnp.asarray(np.kron(SIGMA[1], SPIN))
    gap = mass * np.kron(SIGMA[3], SIGMA[0])
    model = jk.KdotP(lambda q: v * jnp.tensordot(q, dirac, axes=1) + gap, ((-1, 1),) * 3)
    size = v**2 / mass**2  # Å²
    single, pair = every_band(model, k), vars(compiled(model, k, (2, 3)))
    for found in (single, pair):
        assert np.abs(found["berry_curvature"]).max() < ROUNDING * size
        assert np.abs(found["orbital_moment"]).max() < ROUNDING * size * mass
    energy = np.sqrt(v**2 * k @ k + mass**2)
    np.testing.assert_allclose(single["velocity"][2:], [v**2 * k / energy] * 2, rtol=ROUNDING)


def test_kramers_pairs_carry_nothing_at_a_time_reversal_invariant_point():
    """Two spinful orbitals with time reversal: no mean v, Ω, m at k = −k, although each orbital pair mixes."""
    rng = np.random.default_rng(9)
    terms = Hoppings(3, 4)
    for step in ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0)):
        quaternion = np.array([1, 1j, 1j, 1j])[:, None, None] * SIGMA  # each commutes with time reversal
        matrix = sum(np.kron(rng.normal(size=(2, 2)), q) for q in quaternion)
        terms.add(step, matrix if any(step) else matrix + matrix.conj().T)
    model = jk.TightBinding(2 * np.eye(3), terms.translations, terms.matrices, np.zeros((4, 3)))
    for k in ([0, 0, 0], [0.5, 0, 0.5]):
        found, near = every_band(model, k), every_band(model, np.add(k, 0.01))
        np.testing.assert_allclose(found["energy"][::2], found["energy"][1::2], rtol=0, atol=1e-12)
        for name in VECTORS:
            assert np.abs(found[name]).max() < ROUNDING * np.abs(near[name]).max()


# --- sets of bands -----------------------------------------------------------------------------


def test_a_tuple_of_bands_is_a_trace():
    model, k = random_model(10), np.array([0.35, 0.15, 0.8])
    one_by_one, pair = every_band(model, k), compiled(model, k, (2, 1))
    for name in ("velocity", "berry_curvature"):  # mixing inside the set cancels in Ω
        total = one_by_one[name][1:3].sum(axis=0)
        np.testing.assert_allclose(getattr(pair, name), total, rtol=0, atol=ROUNDING * np.abs(one_by_one[name]).max())
    np.testing.assert_allclose(pair.orbital_moment, _projected_moment(model, k, (1, 2)), rtol=1e-9)
    everything = compiled(model, k, (0, 1, 2, 3))
    assert np.abs(everything.berry_curvature).max() == 0 and np.abs(everything.orbital_moment).max() == 0


def _projected_moment(model, k, bands):
    """m with the whole set projected out of D, by the sum over the states outside it."""
    energy, u = np.linalg.eigh(model.hamiltonian(k))
    v = u.conj().T @ np.asarray(derivative(model, k)) @ u
    pairs = [(b, m) for b in bands for m in range(model.size) if m not in bands]
    terms = [[np.imag(v[x][b, m] * v[y][m, b]) / (energy[m] - energy[b]) for x, y in CYCLIC] for b, m in pairs]
    return np.sum(terms, axis=0) * MAGNETON_PER_EV_A2


@given(seeds)
def test_curvature_of_all_bands_adds_up_to_zero(seed):
    curvature = every_band(random_model(seed), np.random.default_rng(seed).uniform(size=3))["berry_curvature"]
    assert np.abs(curvature.sum(axis=0)).max() < ROUNDING * np.abs(curvature).max()


def test_batches_and_tuples_agree_with_single_points():
    model, k = random_model(11), np.random.default_rng(1).uniform(size=(3, 3))
    bands = np.array([2, 0, 1])
    batch = jk.band_geometry(model, k, bands)
    sets = compiled(model, k, (0, 1))
    for i in range(3):
        one, pair = compiled(model, k[i], bands[i]), compiled(model, k[i], (0, 1))
        for name in ("energy", *VECTORS):
            np.testing.assert_allclose(getattr(batch, name)[i], getattr(one, name), rtol=1e-9, atol=ROUNDING)
            np.testing.assert_allclose(getattr(sets, name)[i], getattr(pair, name), rtol=1e-9, atol=ROUNDING)


@pytest.mark.parametrize("band", [-1, 4, (0, 4), (), [-1, 0], np.array([0, 7])], ids=str)
def test_band_out_of_range_is_refused(band):
    k = np.zeros((2, 3)) if isinstance(band, np.ndarray) else np.zeros(3)
    with pytest.raises(jk.ModelError, match=r"band .*0\.\.3"):
        jk.band_geometry(random_model(), k, band)


@pytest.mark.parametrize("k", [[0.1, 0.2], 0.3, np.zeros((5, 2))], ids=["two", "scalar", "batch of two"])
def test_k_of_another_dimension_is_refused(k):
    with pytest.raises(jk.ModelError, match="3 coordinates"):
        jk.band_geometry(random_model(), k, 0)


# --- position matrices -------------------------------------------------------------------------


@settings(max_examples=5)
@given(seeds)
def test_position_matrices_describe_the_same_solid_in_mixed_orbitals(seed):
    """Mixing orbitals of different sites makes r = W†τW non-diagonal; with it nothing changes, without it much."""
    original = random_model(12, n=2)
    lattice, steps = np.asarray(original.lattice), np.asarray(original.translations)
    w = unitary_group.rvs(2, random_state=seed)
    r = np.zeros((len(steps), 2, 2, 3), complex)
    centres = np.asarray(original.positions) @ lattice
    r[np.flatnonzero(~steps.any(axis=1))[0]] = np.einsum("pa,px,pb->abx", w.conj(), centres, w)
    hoppings = w.conj().T @ np.asarray(original.hoppings) @ w
    positions = np.real(np.einsum("raax->ax", r)) @ np.linalg.inv(lattice)
    mixed = jk.TightBinding(lattice, steps, hoppings, positions, r)
    k = np.random.default_rng(seed).uniform(size=3)
    expected = every_band(original, k)
    assert_same(every_band(mixed, k), expected)
    assert np.abs(wannier_curvature(mixed, k)).max() < ROUNDING
    without = every_band(jk.TightBinding(lattice, steps, hoppings, positions), k)["berry_curvature"]
    assert np.abs(without - expected["berry_curvature"]).max() > 1e-3 * np.abs(expected["berry_curvature"]).max()


def test_curvature_of_an_incomplete_set_of_wannier_functions_is_that_of_the_whole_space():
    """Two of three bands of V(k) [h(k) ⊕ 9] V†(k): Wannier functions |V_a(k)⟩ have r = i⟨V|∂V⟩ and a curvature F."""
    h = random_hoppings(13, 2, 2)
    small = jk.TightBinding(np.eye(2), h.translations, h.matrices, np.zeros((2, 2)))
    one, two, three = (unitary_group.rvs(3, random_state=seed) for seed in (1, 2, 3))

    def turn(kx, ky):
        return np.diag(np.exp(2j * np.pi * np.array([kx, ky, 0])))

    def frame(k):
        return one @ turn(k[0], 0) @ two @ turn(0, k[1]) @ three

    def frame_derivative(k):  # Cartesian, for a square lattice of 1 Å
        x, y = 1j * np.diag([1, 0, 0]), 1j * np.diag([0, 1, 0])
        dx = one @ x @ turn(k[0], 0) @ two @ turn(0, k[1]) @ three
        dy = one @ turn(k[0], 0) @ two @ y @ turn(0, k[1]) @ three
        return np.array([dx, dy, 0 * dx])

    steps = np.array([(x, y) for x in range(-3, 4) for y in range(-3, 4)])
    grid = np.array([(x, y) for x in range(8) for y in range(8)]) / 8
    waves = np.exp(-2j * np.pi * steps @ grid.T) / len(grid)

    def fourier(function):
        """Matrices at R = steps of a function of k with no higher harmonics."""
        return np.tensordot(waves, np.array([function(k) for k in grid]), axes=1)

    def whole_hamiltonian(k):
        block = np.zeros((3, 3), complex)
        block[:2, :2], block[2, 2] = small.hamiltonian(k), 9.0
        return frame(k) @ block @ frame(k).conj().T

    def connection(k):
        v = frame(k)[:, :2]
        return np.moveaxis(1j * v.conj().T @ frame_derivative(k)[:, :, :2], 0, -1)

    whole = jk.TightBinding(np.eye(2), steps, fourier(whole_hamiltonian), np.zeros((3, 2)))
    r, hopping = fourier(connection), fourier(lambda k: np.asarray(small.hamiltonian(k)))
    home = np.flatnonzero(~steps.any(axis=1))[0]
    centres = np.real(np.einsum("aax->ax", r[home]))[:, :2]
    wannier = jk.TightBinding(np.eye(2), steps, hopping, centres, r)
    k = np.array([0.23, 0.61])
    np.testing.assert_allclose(whole.hamiltonian(k), whole_hamiltonian(k), rtol=0, atol=1e-12)
    expected, found = every_band(whole, k), every_band(wannier, k)
    assert_same(found, {name: value[:2] for name, value in expected.items()}, ("energy", "velocity", "berry_curvature"))
    assert np.abs(wannier_curvature(wannier, k)).max() > 0.1


def test_a_turned_crystal_turns_its_position_matrices():
    turn = Rotation.from_euler("xyz", [0.3, -0.8, 1.4]).as_matrix()
    model = random_model(14)
    rng = np.random.default_rng(15)
    r = np.zeros((*model.hoppings.shape, 3), complex)
    home = np.flatnonzero(~np.asarray(model.translations).any(axis=1))[0]
    m = rng.normal(size=(4, 4, 3)) + 1j * rng.normal(size=(4, 4, 3))
    r[home] = 0.2 * (m + np.swapaxes(m.conj(), 0, 1))
    arguments = model.translations, model.hoppings, model.positions
    straight = every_band(jk.TightBinding(model.lattice, *arguments, r), [0.2, 0.7, 0.4])
    turned = every_band(jk.TightBinding(model.lattice @ turn.T, *arguments, r @ turn.T), [0.2, 0.7, 0.4])
    expected = {name: straight[name] @ turn.T for name in VECTORS} | {"energy": straight["energy"]}
    assert_same(turned, expected)


# --- many points -------------------------------------------------------------------------------


def test_bands_of_one_k_share_its_diagonalisation(monkeypatch):
    model, rng = random_model(16), np.random.default_rng(17)
    k = rng.uniform(size=(40, 3))[rng.integers(0, 40, 90)]
    band = rng.integers(0, 4, 90)
    counts = []

    def counting(model, k, count):
        counts.append(len(k))
        return diagonalised(model, k, count)

    monkeypatch.setattr(points, "diagonalised", counting)
    monkeypatch.setattr(points, "buckets", lambda array, rows: [(slice(0, len(array)), array)])
    found = points.point_geometry(model, k, band, (*points.VECTORS, "state"))
    assert sum(counts) == len(np.unique(k, axis=0)) < 40
    expected = {name: np.asarray(value) for name, value in vars(jk.band_geometry(model, k, band)).items()}
    assert_same(found, expected)
    overlap = np.sum(found["state"].conj() * expected["state"], axis=1)
    np.testing.assert_allclose(np.abs(overlap), 1, rtol=ROUNDING)


def test_all_bands_of_a_k_at_once():
    """Also of sets: two copies of a model, so that every band is twofold."""
    single = random_model(19, n=4)
    double = jk.TightBinding(
        single.lattice, single.translations, np.kron(single.hoppings, np.eye(2)), np.repeat(single.positions, 2, axis=0)
    )
    k = np.random.default_rng(20).uniform(size=(5, 3))
    for model in (single, double):
        n = model.size
        one_by_one = batched_geometry(model, np.repeat(k, n, axis=0), np.tile(np.arange(n), len(k)))
        for name, found in geometry_of_all_bands(model, k).items():
            expected = np.asarray(getattr(one_by_one, name)).reshape(len(k), n, 3)
            np.testing.assert_allclose(found, expected, rtol=ROUNDING, atol=ROUNDING * np.abs(expected).max())


@pytest.mark.parametrize("n", [2, 5])
def test_rows_that_fill_a_bucket_up_are_not_diagonalised(n):
    rng = np.random.default_rng(21)
    h = rng.normal(size=(8, n, n)) + 1j * rng.normal(size=(8, n, n))
    h = jnp.asarray(h + h.conj().swapaxes(1, 2))
    energies, states = eigensolvers.batched_eigensystems(h)
    some, vectors = eigensolvers.batched_eigensystems(h, 3)
    assert some.shape == energies.shape and vectors.shape == states.shape
    np.testing.assert_array_equal(some[:3], energies[:3])
    np.testing.assert_array_equal(vectors[:3], states[:3])
    if n > 2:  # a closed form takes all at once
        np.testing.assert_array_equal(some[3:], np.broadcast_to(energies[2], (5, n)))
    np.testing.assert_array_equal(eigensolvers.batched_eigenvalues(h, 3), eigensolvers.batched_eigenvalues(h)[:3])


@pytest.mark.parametrize("n", [17, 18, 24, 25, 26])
def test_eigensystems_of_all_sizes(n):
    """Also of those solved as a part of a larger matrix: in general, degenerate, diagonal, zero, tiny and huge ones."""
    rng = np.random.default_rng(22)
    x = rng.normal(size=(3, n, n)) + 1j * rng.normal(size=(3, n, n))
    h = x + x.conj().swapaxes(1, 2)
    ones = np.linalg.qr(x[0])[0] @ np.diag(np.repeat([-1.0, 2.0], [5, n - 5])) @ np.linalg.qr(x[0])[0].conj().T
    h = np.stack([*h, ones, np.diag(np.arange(n) - 3.0), -np.eye(n), 0 * ones, 1e-200 * h[0], 1e200 * h[0]])
    energies, states = map(np.asarray, eigensolvers.batched_eigensystems(jnp.asarray(h)))
    scale = np.maximum(np.abs(h).max(axis=(1, 2)), 1e-300)[:, None]
    assert np.abs((energies - np.linalg.eigvalsh(h)) / scale).max() < 1e-13
    assert (np.diff(energies, axis=1) >= 0).all()
    assert np.abs((h @ states - states * energies[:, None]) / scale[:, None]).max() < 1e-13
    assert np.abs(states.conj().swapaxes(1, 2) @ states - np.eye(n)).max() < 1e-13


def test_degenerate_and_separate_points_may_be_mixed():
    single, pauli = random_model(18, n=2), np.eye(2)
    double = jk.TightBinding(
        single.lattice, single.translations, np.kron(single.hoppings, pauli), np.repeat(single.positions, 2, axis=0)
    )
    split = np.zeros((len(single.translations), 4, 4), complex)
    split[np.flatnonzero(~np.asarray(single.translations).any(axis=1))[0]] = np.diag([0, 0, 5.0, 7.0])
    model = jk.TightBinding(double.lattice, double.translations, double.hoppings + split, double.positions)
    k = np.repeat(np.random.default_rng(19).uniform(size=(5, 3)), 4, axis=0)
    band = np.tile(np.arange(4), 5)
    for one in (double, model):
        expected = {name: np.asarray(value) for name, value in vars(jk.band_geometry(one, k, band)).items()}
        assert_same(points.point_geometry(one, k, band), expected)


@pytest.fixture
def accelerator(monkeypatch):
    """The path that is taken on an accelerator, on this machine."""
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(eigensolvers, "in_threads", lambda function, h: function(h))


def faulty(fault):
    """A solver that fails at every third matrix."""
    solver = eigensolvers._solver

    def solve(h):
        energies, states = solver(h)
        return (energies, states.at[::3].set(np.nan)) if fault == "NaN" else (energies.at[::3].add(1e-6), states)

    return solve


@pytest.mark.parametrize("fault", ["NaN", "wrong energies"])
def test_an_eigensolver_that_fails_is_found_out_and_helped(monkeypatch, accelerator, fault):
    model, k, band = random_model(20), np.random.default_rng(21).uniform(size=(50, 3)), np.arange(50) % 4
    expected, energies = points.point_geometry(model, k, band), Spectrum(model)(k)
    monkeypatch.setattr(eigensolvers, "_solver", faulty(fault))
    assert_same(points.point_geometry(model, k, band), expected)
    np.testing.assert_allclose(Spectrum(model)(k), energies, rtol=0, atol=ROUNDING)


def test_hamiltonians_that_nothing_diagonalises_are_refused(accelerator):
    model = jk.KdotP(lambda k: jnp.diag(jnp.sqrt(-k[0]) + jnp.arange(3.0)), ((-1, 1),))
    with pytest.raises(jk.JaxkinError, match="neither on the accelerator nor by LAPACK"):
        Spectrum(model)(np.array([[0.5], [-0.5]]))
