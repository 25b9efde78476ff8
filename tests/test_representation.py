"""Representations of point operations on orbitals, found on H(k), and the partners of an impurity."""

from functools import cache
from itertools import product

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import expm
from scipy.spatial.transform import Rotation

import jaxkin as jk
from jaxkin.models.pauli import SPIN
from jaxkin.models.tellurium import ATOMS, LATTICE, PARAMETERS, symmetrised_hoppings, with_spin
from jaxkin.symmetry import Operation, orbital_representation, partners, point_group
from jaxkin.symmetry.operations import rotation

EXACT = 1e-12  # of an exact model; worst 1e-14 (tellurium, H in eV)
FILE = 1e-7  # of the tellurium file, symmetric to 1e-7 eV; worst 3e-9

GROUPS = {
    "kramers-weyl-o": point_group("O"),
    "kramers-weyl-d4": point_group("D4"),
    "kramers-weyl-d3": point_group("D3", turn=np.pi / 2),
    "haldane": point_group("C3"),
    "haldane-chiral": point_group("D3", turn=np.pi / 2),
    "tellurium": point_group("D3", turn=np.pi / 2),
}
QUARTER = Operation(rotation((0, 0, 1), 4))
THIRD = Operation(rotation((0, 0, 1), 3))
INVERSION = Operation(-np.eye(3))
MODELS = {name: jk.models.get(name) for name in GROUPS}


def p_shell(*, lift: bool = False, noise: float = 0.0):
    """Square lattice: s at the corner, p_x and p_y in the middle, no spin. Point group D4h.

    Args:
        lift: p_y in the next cell along x, the same crystal.
        noise: random hoppings of this size (eV) on top.
    """
    steps = [(0, 0), (1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, -1), (1, -1), (-1, 1)]
    hop = {step: np.zeros((3, 3), complex) for step in steps}
    hop[0, 0] = np.diag([-1.0, 0.3, 0.3]).astype(complex)
    for x in (0, -1):
        for y in (0, -1):
            bond = np.zeros((3, 3))
            bond[0, 1:] = 0.4 * np.array([2 * x + 1, 2 * y + 1])
            hop[x, y] += bond
            hop[-x, -y] += bond.T
    for step in ((1, 0), (-1, 0)):
        hop[step] += np.diag([-0.2, 0.5, -0.1])
    for step in ((0, 1), (0, -1)):
        hop[step] += np.diag([-0.2, -0.1, 0.5])
    rng = np.random.default_rng(3)
    for step in steps:
        extra = noise * (rng.normal(size=(3, 3)) + 1j * rng.normal(size=(3, 3)))
        hop[step] = hop[step] + extra
        hop[-step[0], -step[1]] = hop[-step[0], -step[1]] + extra.conj().T
    positions = np.array([[0, 0], [0.5, 0.5], [0.5, 0.5]])
    if lift:
        positions[2, 0] += 1
        moved: dict[tuple[int, int], np.ndarray] = {}
        for (x, y), matrix in hop.items():
            for a in range(3):
                for b in range(3):
                    there = (x + (a == 2) - (b == 2), y)
                    moved.setdefault(there, np.zeros((3, 3), complex))[a, b] = matrix[a, b]
        hop = moved
    return jk.TightBinding(np.eye(2), list(hop), list(hop.values()), positions)


@cache
def matrices(name):
    """(operation, U) of every operation of a model in CRYSTALS."""
    model, group = CRYSTALS[name]
    return [(operation, orbital_representation(model, operation)) for operation in group]


def cartesian_points(model, count=3):
    return np.asarray(model.cartesian(np.random.default_rng(5).uniform(-0.5, 0.5, (count, model.dimension))))


def hamiltonians(model, cartesian):
    return np.asarray(jax.vmap(model.hamiltonian)(cartesian @ np.asarray(model.dual).T))


def up_to_phase(one, other):
    """Largest difference of two arrays, one of them times the best phase."""
    overlap = np.vdot(other, one)
    return np.abs(one - overlap / max(abs(overlap), 1e-300) * other).max()


def product_error(group):
    """Largest deviation of U(g) U(h) from U(gh), up to phases."""
    return max(
        up_to_phase(u @ v, w)
        for (g, u), (h, v) in product(group, repeat=2)
        for both, w in group
        if both.same_as(Operation(g.rotation @ h.rotation))
    )


def operator(model, local, k, q):
    """⟨k α|V|q β⟩ (n, n) of a local potential, for Cartesian k, q."""
    potential, orbitals, cells = local
    at = (np.asarray(model.positions)[list(orbitals)] + cells) @ np.asarray(model.lattice)
    matrix = np.zeros((model.size, model.size), complex)
    dressed = np.exp(-1j * at @ k)[:, None] * potential * np.exp(1j * at @ q)
    np.add.at(matrix, (np.array(orbitals)[:, None], np.array(orbitals)), dressed)
    return matrix


def random_hermitian(seed, m):
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(m, m)) + 1j * rng.normal(size=(m, m))
    return matrix + matrix.conj().T


CRYSTALS = {name: (MODELS[name], GROUPS[name]) for name in GROUPS} | {"lifted": (p_shell(lift=True), point_group("D4"))}


# --- the matrices U ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", GROUPS)
def test_u_is_unitary_and_maps_h_at_every_k(name):
    model = MODELS[name]
    k = cartesian_points(model)
    for operation, u in matrices(name):
        assert np.allclose(u @ u.conj().T, np.eye(model.size), atol=EXACT)
        mapped = hamiltonians(model, k @ operation.rotation.T)
        assert np.abs(u @ hamiltonians(model, k) @ u.conj().T - mapped).max() < EXACT


@pytest.mark.parametrize("name", ["kramers-weyl-o", "kramers-weyl-d3", "kramers-weyl-d4"])
def test_a_spin_turns_by_half_the_angle(name):
    for operation, u in matrices(name):
        angle = Rotation.from_matrix(operation.rotation).as_rotvec()
        spinor = expm(-0.5j * np.tensordot(angle, SPIN, axes=1))
        assert up_to_phase(u, spinor) < EXACT


def test_p_orbitals_with_spin_turn_as_vectors_times_spinors_and_atoms_go_round_the_screw():
    u = orbital_representation(MODELS["tellurium"], THIRD)
    round_the_screw = np.roll(np.eye(3), -1, axis=0)  # atom 0 to 2, 2 to 1, 1 to 0
    spinor = expm(-1j * np.pi / 3 * SPIN[2])
    assert up_to_phase(u, np.kron(round_the_screw, np.kron(THIRD.rotation, spinor))) < EXACT


@pytest.mark.parametrize("name", ["haldane-chiral", "kramers-weyl-o", "tellurium"])
def test_products_of_operations_are_products_of_matrices(name):
    """U(g) U(h) ∝ U(gh): a projective representation, whatever the phases."""
    assert product_error(matrices(name)) < EXACT


def test_sublattices_are_exchanged_where_the_masses_are_equal():
    half = Operation(rotation((0, 0, 1), 2))
    u = orbital_representation(jk.models.get("haldane", mass=0.0), half)
    assert up_to_phase(u, SPIN[0]) < EXACT
    with pytest.raises(jk.SymmetryError, match=r"C2 about \[0 0 1\] is not a symmetry of H\(k\).*0\.4 eV"):
        orbital_representation(MODELS["haldane"], half)


@pytest.mark.parametrize("lift", [False, True])
def test_inequivalent_sites_with_different_numbers_of_orbitals(lift):
    u = orbital_representation(p_shell(lift=lift), QUARTER)
    assert up_to_phase(u, np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]])) < EXACT


def test_noise_of_a_few_mev_enters_u_in_proportion():
    exact = orbital_representation(p_shell(), QUARTER)
    deviations = [up_to_phase(orbital_representation(p_shell(noise=size), QUARTER), exact) for size in (5e-5, 2.5e-4)]
    assert deviations[1] < 5e-3  # 1.1e-3
    assert deviations[1] / deviations[0] == pytest.approx(5, rel=0.05)
    with pytest.raises(jk.SymmetryError, match=r"C4 about .* matrix elements differ by 0\.0"):
        orbital_representation(p_shell(noise=1e-3), QUARTER)


# --- what has no U -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "operation", "message"),
    [
        ("kramers-weyl-d4", Operation(rotation((1, 1, 1), 3)), r"C3 about .* is not a symmetry of H\(k\)"),
        ("kramers-weyl-o", INVERSION, r"inversion is not a symmetry of H\(k\)"),
        ("kramers-weyl-o", THIRD, r"C3 about \[0 0 1\] does not map the lattice"),
        ("haldane", Operation(rotation((1, 0, 0), 4)), r"C4 about \[1 0 0\] does not map the lattice"),
        ("tellurium", INVERSION, "inversion does not map the sites"),
    ],
)
def test_an_operation_that_is_no_symmetry_is_named(name, operation, message):
    with pytest.raises(jk.SymmetryError, match=message):
        orbital_representation(MODELS[name], operation)
    with pytest.raises(jk.SymmetryError, match=message):
        partners(MODELS[name], [[1.0]], [0], operations=[operation])


def test_an_antiunitary_operation_has_no_matrix():
    with pytest.raises(jk.ConfigError, match="time reversal is antiunitary"):
        orbital_representation(MODELS["kramers-weyl-o"], Operation(np.eye(3), antiunitary=True))


def test_spin_degenerate_bands_and_unconnected_orbitals_leave_u_open():
    translations, blocks = symmetrised_hoppings(PARAMETERS)
    spinful = jk.TightBinding(LATTICE, translations, with_spin(translations, blocks, 0.0), np.repeat(ATOMS, 6, axis=0))
    apart = jk.TightBinding(np.eye(1), [[1], [-1]], [np.diag([1.0, 0.7])] * 2, [[0.0], [0.5]])
    for model, operation in ((spinful, THIRD), (apart, Operation(np.eye(3)))):
        with pytest.raises(jk.SymmetryError, match=r"not unique.*list the equivalent sites by hand"):
            orbital_representation(model, operation)


# --- the partners of an impurity ---------------------------------------------------------------


def test_a_scalar_potential_on_one_atom_of_tellurium_has_three_partners():
    found = partners(MODELS["tellurium"], 0.5 * np.eye(6), range(6))
    assert [orbitals for _, orbitals, _ in found] == [tuple(range(6 * a, 6 * a + 6)) for a in range(3)]
    for potential, _, cells in found:
        assert np.allclose(potential, 0.5 * np.eye(6), atol=EXACT)
        assert cells.shape == (6, 3)
        assert not cells.any()


def test_a_potential_with_the_symmetry_of_its_site_has_fewer_partners_than_one_without():
    te, group = MODELS["tellurium"], GROUPS["tellurium"]
    p_y = np.diag([0, 0, 1.0, 1.0, 0, 0])  # atom 2 lies on the C2 axis along y
    assert len(partners(te, p_y, range(12, 18), operations=group)) == 3
    found = partners(te, random_hermitian(0, 6), range(12, 18), operations=group)
    assert len(found) == 6
    spectra = [np.linalg.eigvalsh(potential) for potential, _, _ in found]
    assert np.ptp(spectra, axis=0).max() < EXACT


def test_a_magnetic_impurity_points_along_every_cubic_axis():
    found = partners(MODELS["kramers-weyl-o"], SPIN[2], [0, 1], operations=GROUPS["kramers-weyl-o"])
    moments = [[np.trace(potential @ s).real / 2 for s in SPIN] for potential, _, _ in found]
    assert sorted(np.round(moments, 9).tolist()) == sorted([*np.eye(3).tolist(), *(-np.eye(3) + 0.0).tolist()])


def test_orbitals_without_amplitude_are_left_out():
    found = partners(p_shell(), [[1.0]], [1], operations=point_group("D4"))
    assert [orbitals for _, orbitals, _ in found] == [(1,), (2,)]
    assert len(partners(p_shell(), [[1.0]], [0], operations=point_group("D4"))) == 1


def test_a_bond_of_the_cubic_lattice_has_three_partners():
    swap = np.kron([[0, 1], [1, 0]], np.eye(2))
    cells = [[0, 0, 0]] * 2 + [[1, 0, 0]] * 2
    found = partners(MODELS["kramers-weyl-o"], swap, [0, 1, 0, 1], cells, GROUPS["kramers-weyl-o"])
    assert len(found) == 3
    bonds = {tuple(np.abs(cells[-1] - cells[0]).tolist()) for _, _, cells in found}
    assert bonds == {(1, 0, 0), (0, 1, 0), (0, 0, 1)}
    assert all(not cells[0].any() for _, _, cells in found)


def test_where_a_cluster_starts_does_not_matter():
    """A bond that a lattice translation away is the same, and so is the one listed backwards."""
    model, group = MODELS["kramers-weyl-o"], GROUPS["kramers-weyl-o"]
    swap = np.kron([[0, 1], [1, 0]], np.eye(2))
    far = np.array([[5, 1, -2]] * 2 + [[4, 1, -2]] * 2)
    found = partners(model, swap, [1, 0, 1, 0], far, group)
    assert len(found) == 3
    assert np.array_equal(found[0][2], far)


def test_a_supercell_knows_the_translations_within_it():
    chain = jk.TightBinding([[2.0, 0, 0]], [[0], [1], [-1]], _doubled_chain(), [[0.0], [0.5]])
    found = partners(chain, [[1.0]], [0], operations=[Operation(np.eye(3))])
    assert [orbitals for _, orbitals, _ in found] == [(0,), (1,)]


def _doubled_chain():
    """t between neighbours and an imaginary part, so that k → −k is no symmetry."""
    t = 1.0 + 0.3j
    return [[[0, t], [np.conj(t), 0]], [[0, 0], [t, 0]], [[0, np.conj(t)], [0, 0]]]


@pytest.mark.parametrize("name", ["kramers-weyl-d3", "haldane", "haldane-chiral", "tellurium", "lifted"])
@given(seed=st.integers(0, 10_000))
def test_the_images_of_any_cluster_are_the_transformed_operators(name, seed):
    """⟨gk|V'|gq⟩ = U ⟨k|V|q⟩ U† up to the phase of a translation: one partner for every operation."""
    model, group = CRYSTALS[name]
    rng = np.random.default_rng(seed)
    places = np.unique(
        rng.integers([0] + [-1] * model.dimension, [model.size] + [2] * model.dimension, (3, model.dimension + 1)),
        axis=0,
    )
    local = random_hermitian(seed, len(places)), tuple(places[:, 0].tolist()), places[:, 1:]
    found = partners(model, *local, group)
    assert len(group) % len(found) == 0
    k, q = cartesian_points(model, 2)
    for operation, u in matrices(name):
        expected = u @ operator(model, local, k, q) @ u.conj().T
        turned = operation.rotation @ k, operation.rotation @ q
        assert min(up_to_phase(operator(model, image, *turned), expected) for image in found) < 1e-10


@pytest.mark.parametrize("name", GROUPS)
def test_the_partners_together_have_the_symmetry_of_the_crystal(name):
    """One of each in every cell: Σ V_p(k), with U V(k) U† = V(gk)."""
    model, group = MODELS[name], GROUPS[name]
    cells = np.zeros((2, model.dimension), int)
    cells[1, 0] = 1
    found = partners(model, random_hermitian(1, 2), [0, 1], cells, group)
    (k,) = cartesian_points(model, 1)
    total = sum(operator(model, local, k, k) for local in found)
    for operation, u in matrices(name):
        turned = operation.rotation @ k
        after = sum(operator(model, local, turned, turned) for local in found)
        assert np.allclose(u @ total @ u.conj().T, after, atol=1e-10)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([[1.0]], [2]), r"orbitals=\[2\] must list integers from 0 to 1"),
        (([[1.0]], [0.0]), "must list integers"),
        (([[1.0]], []), "must list integers"),
        (([[1.0]], [0, 1]), r"Hermitian \(2, 2\)"),
        (([[0, 1j], [1j, 0]], [0, 1]), "Hermitian"),
        (([[1.0]], [0], [[0, 0]]), r"cells must be \(1, 3\) integers"),
        (([[1.0]], [0], [[0, 0, 0.5]]), r"cells must be \(1, 3\) integers"),
        ((np.eye(2), [0, 0]), r"orbitals=\[0, 0\] lists the same orbital of a cell twice"),
    ],
)
def test_a_potential_that_does_not_fit_is_refused(arguments, message):
    with pytest.raises(jk.ConfigError, match=message):
        partners(MODELS["kramers-weyl-o"], *arguments)


# --- a real Wannier file -----------------------------------------------------------------------


def test_the_tellurium_file_has_its_screw_and_three_partners(shared_data):
    te = jk.read_wannier90(shared_data / "te_sparse_tb.dat.gz")
    group = GROUPS["tellurium"]
    atom = [0, 1, *range(6, 12)]
    found = partners(te, np.eye(8), atom, operations=group)
    assert {orbitals for _, orbitals, _ in found} == {
        tuple(atom),
        (2, 3, *range(12, 18)),
        (4, 5, *range(18, 24)),
    }
    assert all(np.allclose(potential, np.eye(8), atol=FILE) for potential, _, _ in found)
    assert len(partners(te, random_hermitian(0, 8), atom, operations=group)) == 6
    assert len(partners(te, [[1.0]], [0], operations=group)) == 6  # s with spin up
    assert product_error([(operation, orbital_representation(te, operation)) for operation in group]) < FILE
