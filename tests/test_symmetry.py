"""Point groups: the 32 of them, what they allow, and which ones a model has."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import special_ortho_group

import jaxkin as jk
from jaxkin.symmetry import Operation, allowed_components, group_name, point_group, project_gyrotropic
from jaxkin.symmetry.operations import lattice_rotations, rotation

ORDERS = {
    **{"C1": 1, "Ci": 2, "Cs": 2, "C2": 2, "C2h": 4, "D2": 4, "C2v": 4, "D2h": 8},
    **{"C4": 4, "S4": 4, "C4h": 8, "D4": 8, "C4v": 8, "D2d": 8, "D4h": 16},
    **{"C3": 3, "S6": 6, "D3": 6, "C3v": 6, "D3d": 12},
    **{"C6": 6, "C3h": 6, "C6h": 12, "D6": 12, "C6v": 12, "D3h": 12, "D6h": 24},
    **{"T": 12, "Th": 24, "O": 24, "Td": 24, "Oh": 48},
}
INVERSION = Operation(-np.eye(3))
TIME_REVERSAL = Operation(np.eye(3), antiunitary=True)


# --- the groups --------------------------------------------------------------------------------


def test_there_are_32_groups():
    assert len(ORDERS) == 32
    assert {group_name(point_group(name)) for name in ORDERS} == set(ORDERS)


@pytest.mark.parametrize("name", ORDERS)
def test_a_group_is_closed_has_its_order_and_is_identified_in_any_frame(name):
    operations = point_group(name)
    matrices = np.array([op.rotation for op in operations])
    assert len(operations) == ORDERS[name]
    products = np.einsum("iab,jbc->ijac", matrices, matrices).reshape(-1, 3, 3)
    distance = np.abs(products[:, None] - matrices[None]).max(axis=(2, 3))
    assert np.all((distance < 1e-10).sum(axis=1) == 1)
    frame = special_ortho_group.rvs(3, random_state=1)
    assert group_name([Operation(frame @ m @ frame.T) for m in matrices]) == name
    assert group_name(point_group(name, turn=0.3)) == name


@pytest.mark.parametrize(
    ("matrix", "name"),
    [
        (np.eye(3), "identity"),
        (-np.eye(3), "inversion"),
        (rotation((0, 0, 1), 3), "C3 about [0 0 1]"),
        (rotation((0, -1, 0), 2), "C2 about [0 1 0]"),
        (-rotation((1, 0, 0), 2), "mirror perpendicular to [1 0 0]"),
        (-rotation((0, 0, 1), 4), "S4 about [0 0 1]"),
        (-rotation((0, 0, 1), 3), "S6 about [0 0 1]"),
        (-rotation((0, 0, 1), 6), "S3 about [0 0 1]"),
    ],
)
def test_operations_have_their_names(matrix, name):
    assert Operation(matrix).name == name
    primed = "time reversal" if name == "identity" else f"{name} with time reversal"
    assert Operation(matrix, antiunitary=True).name == primed


def test_unknown_group_is_refused_with_the_nearest_name():
    with pytest.raises(jk.ConfigError, match=r"'D33' is not a Schoenflies name.*'D3"):
        point_group("D33")


# --- what they allow ---------------------------------------------------------------------------


def allowed(name, tensors):
    """Whether the group leaves anything of some of these tensors."""
    return np.abs(project_gyrotropic(point_group(name), np.array(tensors, float))).max() > 1e-9


def test_which_groups_allow_a_gyrotropic_tensor_its_symmetric_part_and_its_trace():
    """Sec. V.D: 21 noncentrosymmetric groups, 18 gyrotropic, 15 optically active, 11 with a trace."""
    units = np.eye(9).reshape(9, 3, 3)
    polar = {name for name in ORDERS if not any(op.same_as(INVERSION) for op in point_group(name))}
    gyrotropic = {name for name in ORDERS if allowed_components(point_group(name)).any()}
    optical = {name for name in ORDERS if allowed(name, units + np.swapaxes(units, 1, 2))}
    trace = {name for name in ORDERS if allowed(name, [np.eye(3)])}
    assert len(polar) == 21 and polar - gyrotropic == {"C3h", "D3h", "Td"} and gyrotropic < polar
    assert len(gyrotropic) == 18 and gyrotropic - optical == {"C3v", "C4v", "C6v"}
    assert len(optical) == 15 and optical - trace == {"Cs", "C2v", "S4", "D2d"}
    assert trace == {"C1", "C2", "C3", "C4", "C6", "D2", "D3", "D4", "D6", "T", "O"}


def test_allowed_components_of_some_groups():
    diagonal = np.eye(3, dtype=bool)
    axial = np.array([[1, 1, 0], [1, 1, 0], [0, 0, 1]], bool)
    np.testing.assert_array_equal(allowed_components(point_group("D3")), diagonal)
    np.testing.assert_array_equal(allowed_components(point_group("O")), diagonal)
    np.testing.assert_array_equal(allowed_components(point_group("C3")), axial)
    np.testing.assert_array_equal(allowed_components(point_group("Cs")), ~axial)
    np.testing.assert_array_equal(allowed_components(point_group("D2d")), np.diag([1, 1, 0]).astype(bool))
    g = np.random.default_rng(0).normal(size=(3, 3))
    np.testing.assert_allclose(project_gyrotropic(point_group("T"), g), np.trace(g) / 3 * np.eye(3), rtol=0, atol=1e-12)


@given(st.sampled_from(sorted(ORDERS)), st.integers(0, 999))
def test_projection_is_idempotent_and_invariant_and_blind_to_time_reversal(name, seed):
    operations, g = point_group(name), np.random.default_rng(seed).normal(size=(3, 3))
    kept = project_gyrotropic(operations, g)
    np.testing.assert_allclose(project_gyrotropic(operations, kept), kept, rtol=0, atol=1e-12)
    grey = operations + [Operation(op.rotation, antiunitary=True) for op in operations]
    np.testing.assert_allclose(project_gyrotropic(grey, g), kept, rtol=0, atol=1e-12)
    for op in operations:
        turned = np.linalg.det(op.rotation) * op.rotation @ kept @ op.rotation.T
        np.testing.assert_allclose(turned, kept, rtol=0, atol=1e-12)


# --- lattices ----------------------------------------------------------------------------------

LATTICES = {
    "cubic": (np.eye(3), "Oh"),
    "face-centred": (1 - np.eye(3), "Oh"),
    "body-centred": (1 - 2 * np.eye(3), "Oh"),
    "hexagonal": ([[1, 0, 0], [-0.5, np.sqrt(0.75), 0], [0, 0, 1.7]], "D6h"),
    "rhombohedral": ([[1, 0.2, 0.2], [0.2, 1, 0.2], [0.2, 0.2, 1]], "D3d"),
    "tetragonal": (np.diag([1, 1, 1.3]), "D4h"),
    "body-centred tetragonal": ([[-1, 1, 1.4], [1, -1, 1.4], [1, 1, -1.4]], "D4h"),
    "orthorhombic": (np.diag([1, 1.2, 1.7]), "D2h"),
    "monoclinic": ([[1, 0, 0], [0.3, 1.2, 0], [0, 0, 1.7]], "C2h"),
    "triclinic": ([[1, 0, 0], [0.3, 1.2, 0], [0.2, 0.25, 1.7]], "Ci"),
}


@pytest.mark.parametrize("shear", [(), ((2, 1, 2),), ((0, 1, -2), (2, 0, 3))], ids=str)
@pytest.mark.parametrize(("lattice", "name"), LATTICES.values(), ids=LATTICES)
def test_a_lattice_has_its_holohedry_whatever_vectors_span_it(lattice, name, shear):
    rows = np.array(lattice, float)
    for i, j, times in shear:
        rows[i] += times * rows[j]
    found = lattice_rotations(rows)
    assert group_name([Operation(matrix) for matrix in found]) == name


# --- models ------------------------------------------------------------------------------------


MODELS = [
    *((name, {}) for name in jk.models.available() if name not in ("helical-isotropic", "massive-dirac-2d")),
    ("weyl", {"inversion": False}),
    ("haldane", {"mass": 0.0}),
    ("haldane-chiral", {"mass": 0.0}),
    ("haldane-chiral", {"chirality": -1}),
]


@pytest.mark.parametrize(("name", "parameters"), MODELS, ids=str)
def test_built_in_model_has_exactly_the_point_group_it_states(name, parameters):
    model = jk.models.get(name, **parameters)
    verified = jk.verify_point_group(model)
    found = jk.find_symmetries(model)
    assert group_name(verified) == group_name(found) == model.point_group
    for op in verified:
        assert any(op.same_as(other) for other in found), op.name
    reversible = name not in ("weyl", "haldane")
    assert any(op.same_as(TIME_REVERSAL) for op in found) == reversible


@pytest.mark.parametrize("name", ["helical-isotropic", "massive-dirac-2d"])
def test_model_without_a_crystal_states_no_group(name):
    with pytest.raises(jk.SymmetryError, match="states no point group"):
        jk.verify_point_group(jk.models.get(name))


@pytest.mark.parametrize(
    ("name", "wrong", "message"),
    [
        ("kramers-weyl-d4", "O", r"C3 about \[.*the energy of band \d differs by .* eV at k = .*point group D4\.$"),
        ("kramers-weyl-d3", "D6", r"C[26] about \[.*point group D3\.$"),
        ("kramers-weyl-o", "Oh", r"is not a symmetry.*orbital moment.*point group O\.$"),
        ("haldane-chiral", "D3h", r"point group D3\.$"),
        ("weyl", "D4h", r"C2 about \[.*point group C4h\.$"),
    ],
)
def test_wrong_group_is_refused_with_an_operation_and_the_right_group(name, wrong, message):
    with pytest.raises(jk.SymmetryError, match=f"point group {wrong}: .*{message}"):
        jk.verify_point_group(jk.models.get(name), wrong)


def test_inversion_is_told_from_time_reversal():
    """Both leave the energies of a Kramers–Weyl metal: the moment, which must be even or odd, tells them apart."""
    model = jk.models.get("kramers-weyl-d4")
    jk.verify_symmetries(model, [TIME_REVERSAL])
    with pytest.raises(jk.SymmetryError, match=r"inversion is not a symmetry of .* the orbital moment does not follow"):
        jk.verify_symmetries(model, [INVERSION])
    weyl = jk.models.get("weyl")
    jk.verify_symmetries(weyl, [INVERSION])
    with pytest.raises(jk.SymmetryError, match=r"time reversal is not a symmetry of .*does not follow"):
        jk.verify_symmetries(weyl, [TIME_REVERSAL])


def test_kdotp_symmetries_are_found_among_those_of_cube_and_hexagonal_prism():
    found = jk.find_symmetries(jk.models.get("massive-dirac-2d"))
    names = {op.name for op in found}
    assert {"C4 about [0 0 1]", "C6 about [0 0 1]", "C3 about [0 0 1]"} <= names
    assert "time reversal" not in names and "inversion" not in names
    assert not any(op.determinant < 0 and not op.antiunitary for op in found)
    assert any(op.determinant < 0 and op.antiunitary for op in found)  # a mirror with time reversal


def test_tellurium_file_has_d3_with_its_twofold_axis_along_y(shared_data):
    model = jk.read_wannier90(shared_data / "te_sparse_tb.dat.gz")
    operations = jk.verify_point_group(model, "D3")
    assert "C2 about [0 1 0]" in {op.name for op in operations}
    assert group_name(jk.find_symmetries(model)) == "D3"
    with pytest.raises(jk.SymmetryError, match=r"^C2 about \[1 0 0\] is not a symmetry of H\(k\): the energy of band"):
        jk.verify_symmetries(model, [Operation(rotation((1, 0, 0), 2))])
