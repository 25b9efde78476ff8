"""Bands of many k, paths, exact edges, pockets' extents, atoms, and what ``jaxkin info`` says of all that."""

import json
import sys
from io import StringIO

import jax
import numpy as np
import pytest
import test_foreign_models

import jaxkin as jk
from jaxkin.cli.app import main
from jaxkin.errors import FileFormatError, JaxkinError, ModelError
from jaxkin.hamiltonian.structure import spin_order
from jaxkin.surface import pocket_extents
from jaxkin.symmetry import Operation, group_name

EXACT = 1e-6  # eV, as band_edges says; worst here 2e-9
TE = [[0.274, 0.274, 0.0], [-0.274, 0.0, 1 / 3], [0.0, -0.274, 2 / 3]]
TE_CELL = np.array([[4.457, 0, 0], [-2.2285, 3.8598752, 0], [0, 0, 5.9581176]])


def two_bands(*phases):
    """ε_m(k) = Σ_i w_i cos(k_i − φ_mi) of two orbitals that do not mix, on a square lattice."""
    steps, matrices = [], []
    for i, weight in enumerate((1.0, 0.3)):
        for way in (1, -1):
            steps.append([way * (i == 0), way * (i == 1)])
            matrices.append(np.diag([0.5 * weight * np.exp(-1j * way * phase[i]) for phase in phases]))
    return jk.TightBinding(np.eye(2), steps, matrices, np.zeros((2, 2)))


def test_bands_of_many_k_are_those_of_each():
    model = jk.models.get("tellurium")
    k = np.random.default_rng(2).uniform(-0.5, 0.5, (3, 5, 3))
    each = [[np.asarray(model.bands(one)) for one in row] for row in k]
    np.testing.assert_allclose(model.bands(k), each, atol=1e-12)
    np.testing.assert_allclose(jax.jit(model.bands)(k), each, atol=1e-12)
    with pytest.raises(ModelError, match="its last axis must be the 3 coordinates"):
        model.bands(np.zeros((4, 2)))


def test_edges_of_smooth_bands():
    phi, psi = 0.7, 0.31
    edges = jk.band_edges(two_bands((phi, psi), (phi, psi)))
    np.testing.assert_allclose([edges.lowest, edges.highest], [[-1.3, -1.3], [1.3, 1.3]], atol=EXACT)
    top = np.array([phi, psi]) / (2 * np.pi)
    np.testing.assert_allclose(np.asarray(edges.k_highest[0]) - top, np.rint(edges.k_highest[0] - top), atol=1e-4)


@pytest.mark.parametrize(("phi", "psi"), [(0.9, 0.4), (0.31, 1.7), (2.0, -0.13)])
def test_edges_on_a_ridge_where_bands_cross(phi, psi):
    """The lower of two bands is at most their mean, which is highest half way, where they cross."""
    edges = jk.band_edges(two_bands((0, 0), (phi, psi)))
    ridge = np.cos(phi / 2) + 0.3 * np.cos(psi / 2)
    np.testing.assert_allclose([edges.highest[0], edges.lowest[1]], [ridge, -ridge], atol=EXACT)
    np.testing.assert_allclose([edges.lowest[0], edges.highest[1]], [-1.3, 1.3], atol=EXACT)


def test_edges_at_points_where_bands_touch():
    """Dirac points of graphene, off the grid's symmetric points along a strained direction, and Weyl points."""
    graphene = jk.band_edges(jk.models.get("haldane", mass=0.0, second_hopping=0.0))
    np.testing.assert_allclose([*graphene.highest, *graphene.lowest], [0, 3, -3, 0], atol=EXACT)
    assert abs(graphene.gaps[0]) < EXACT
    weyl = jk.band_edges(jk.models.get("weyl"))
    np.testing.assert_allclose([weyl.highest[0], weyl.lowest[1]], 0.0, atol=EXACT)


def test_edges_in_a_box_lie_on_its_faces():
    cone = jk.models.get("massive-dirac-2d", mass=0.1)
    edges = jk.band_edges(cone)
    corner = float(np.max([np.asarray(cone.bands(np.array(k)))[1] for k in np.transpose(cone.zone)]))
    np.testing.assert_allclose([edges.lowest[1], edges.highest[1]], [0.1, corner], atol=EXACT)


def test_the_top_of_tellurium_is_found_between_the_points_of_the_grid(shared_data):
    edges = jk.band_edges(jk.read_wannier90(shared_data / "te_sparse_tb.dat.gz"))
    assert edges.highest[17] == pytest.approx(6.07184061, abs=EXACT)  # a 20^3 grid: 6.0599
    assert edges.highest[5] == pytest.approx(-2.75599299, abs=EXACT)  # lobes 42 µeV above a crossing, 1e-3 of the zone


def test_paths():
    model = jk.models.get("haldane")
    path = jk.band_path(model)
    assert path.labels == ("Γ", "M", "K", "Γ")
    np.testing.assert_allclose(path.ticks, np.cumsum([0, 2 * np.pi / 3**0.5, 2 * np.pi / 3, 4 * np.pi / 3]), rtol=1e-12)
    gap = np.diff(model.bands(path.k), axis=1)[:, 0]
    mass = 0.15 * 3 * 3**0.5  # t2 = 0.15, M = 0.2: 2|M ± 3√3 t2| at the two K
    there = gap[np.argmin(np.abs(path.distance - path.ticks[2]))]
    assert min(abs(there - 2 * (mass - 0.2)), abs(there - 2 * (mass + 0.2))) < 1e-9
    two = jk.band_path(model, [[[0, 0], [0.5, 0]], [[0, 0.5], [0, 0]]], [["Γ", "X"], ["Y", "Γ"]], n=11)
    assert two.labels == ("Γ", "X|Y", "Γ") and [part.stop for part in two.lines] == [6, 12]
    np.testing.assert_allclose(two.distance[5], two.distance[6])
    assert jk.band_path(jk.models.get("massive-dirac-2d")).labels == ("−x", "0", "x|−y", "0", "y")
    for points, labels, match in (
        ([[0, 0, 0], [1, 0, 0]], None, "rows of 2 model coordinates, two at least"),
        ([[0, 0]], None, "rows of 2 model coordinates, two at least"),
        ([[0, 0], [0.5, 0]], ["Γ"], "labels must be one for each"),
        ([[0, 0], [0, 0]], None, "the path has no length"),
        ("ΓX", None, "must be rows of 2 model coordinates"),
        (0.5, None, "must be rows of model coordinates"),
    ):
        with pytest.raises(JaxkinError, match=match):
            jk.band_path(model, points, labels)


def test_standard_path_with_and_without_seekpath(monkeypatch):
    model = jk.models.get("tellurium")
    monkeypatch.setitem(sys.modules, "seekpath", None)
    path = jk.band_path(model)
    assert path.labels == ("Γ", "M", "K", "Γ", "A", "L", "H", "A") and 'pip install "jaxkin[structure]"' in path.origin
    corner = path.k[int(np.argmin(np.abs(path.distance - path.ticks[6])))]
    np.testing.assert_allclose(corner, [1 / 3, 1 / 3, 0.5], atol=1e-12)
    cubic = jk.TightBinding(np.eye(3), [[0, 0, 0]], [[[0.0]]], [[0, 0, 0]])
    assert jk.band_path(cubic).labels[:2] == ("Γ", "(0.5 0 0)")
    monkeypatch.undo()
    pytest.importorskip("seekpath")
    path = jk.band_path(model)
    assert path.labels[:7] == ("Γ", "M", "K", "Γ", "A", "L", "H")
    place = path.k[[int(np.argmin(np.abs(path.distance - tick))) for tick in path.ticks]]
    np.testing.assert_allclose(
        np.abs(np.asarray(model.cartesian(place[4]))), [0, 0, 0.5 * model.basis[2, 2]], atol=1e-12
    )


def test_extents_of_a_circle_and_of_open_sheets():
    """A Dirac cone's circle: k_F² = μ² − m² over v² = 1, and k_F²/4π carriers, negative below the gap."""
    model, area = jk.models.get("massive-dirac-2d", mass=0.1), (0.15**2 - 0.1**2) / (4 * np.pi)
    for level, sign in ((0.15, 1), (-0.15, -1)):
        (circle,) = pocket_extents(jk.fermi_surface(model, level, sampler=jk.Lines(32), replicas=4))
        assert circle.closed and circle.density is not None
        assert float(circle.density.mean) == pytest.approx(sign * area, rel=1e-3)
        np.testing.assert_allclose(circle.size[:2], 2 * np.sqrt(4 * np.pi * area), rtol=1e-2)
    sheets = pocket_extents(jk.fermi_surface(two_bands((0, 0), (0, 0)), 0.5, sampler=jk.Lines(16), replicas=2))
    assert sheets and not any(sheet.closed or sheet.density is not None for sheet in sheets)


def test_atoms_point_group_and_sites():
    te = jk.Structure(TE_CELL, TE, ["Te"] * 3)
    assert te.names == ("Te1", "Te2", "Te3")
    model = jk.TightBinding(TE_CELL, [[0, 0, 0]], [np.eye(6)], np.add(np.repeat(TE, 2, axis=0), [0.01, 0, 1]))
    assert te.sites(model).atom.tolist() == [0, 0, 1, 1, 2, 2]
    np.testing.assert_allclose(te.sites(model).distance, 0.04457, atol=1e-6)
    assert te.orbitals(model, "Te2") == [2, 3] and te.orbitals(model, "Te") == [[0, 1], [2, 3], [4, 5]]
    with pytest.raises(ModelError, match=r"atom 'Te4' is not in this structure \(did you mean 'Te'\?\); it has Te1"):
        te.orbitals(model, "Te4")
    assert spin_order(model) == "in turn"
    pytest.importorskip("spglib")
    operations = [Operation(rotation) for rotation in te.rotations()]
    assert group_name(operations) == "D3" and te.space_group() in ("P3_121 (152)", "P3_221 (154)")
    ase = pytest.importorskip("ase")
    atoms = ase.Atoms("Te3", cell=TE_CELL, scaled_positions=TE, pbc=True)
    for same in (jk.Structure.of(atoms), jk.Structure.of((TE_CELL, TE, [52] * 3))):
        np.testing.assert_allclose(same.positions, TE, atol=1e-12)
        assert len(same.rotations()) == 6
    with pytest.raises(ModelError, match=r"atoms=str must be ASE Atoms, or \(lattice, positions, species\)"):
        jk.Structure.of("Te")


def test_atoms_of_a_win(tmp_path):
    cell = "begin unit_cell_cart\nbohr\n7.0 0 0\n0 7.0 0\n0 0 7.0\nend unit_cell_cart\n"
    win = tmp_path / "x.win"
    win.write_text(cell + "Begin Atoms_Cart\nbohr\ncs 0 0 0\nCL 3.5 3.5d0 3.5 ! middle\nEnd Atoms_Cart\n")
    found = jk.Structure.from_win(win)
    assert found is not None and found.names == ("Cs", "Cl")
    np.testing.assert_allclose(found.positions, [[0, 0, 0], [0.5, 0.5, 0.5]], atol=1e-12)
    win.write_text(cell)
    assert jk.Structure.from_win(win) is None
    win.write_text(cell + "begin atoms_frac\nTe 0 0\nend atoms_frac\n")
    with pytest.raises(FileFormatError, match=r"x.win: the block atoms_frac has no end, or a line that is no atom"):
        jk.Structure.from_win(win)


def told(*arguments) -> str:
    """What the command prints."""
    before, sys.argv, sys.stdout = (sys.argv, sys.stdout), ["jaxkin", "info", *map(str, arguments)], StringIO()
    try:
        main()
    except SystemExit as left:
        assert not left.code
    finally:
        text = sys.stdout.getvalue()
        sys.argv, sys.stdout = before
    return text


def test_info_of_a_file_of_tbmodels_as_json(tmp_path):
    pytest.importorskip("matplotlib")
    file = test_foreign_models.written(tmp_path / "haldane.hdf5")
    found = json.loads(told(file, "--set", "fermi_level=1.0", "--json", "--out", tmp_path / "out"))
    assert (found["point_group"], found["time_reversal"], found["gyrotropic"]) == ("C3", False, True)
    assert found["hall_allowed"] == ["xy"]
    assert found["hall_forbidden"][0]["components"] == ["yz", "zx"]
    assert found["band_edges"]["highest"][0] == pytest.approx(-(3 * 3**0.5 * 0.15 - 0.2), abs=EXACT)
    (level,) = found["levels"]
    closed = [one for one in level["pockets"] if one["closed"]]
    assert sum(one["density"] for one in closed) == pytest.approx(level["electrons"] - level["holes"], rel=2e-2)
    assert (tmp_path / "out" / "bands.png").stat().st_size > 10_000


def test_info_names_atoms_of_a_win_and_what_forbids(tmp_path):
    """A chiral stack of honeycombs; of the atoms alone the group is larger, with mirrors that H(k) lacks."""
    pytest.importorskip("spglib")
    model = jk.models.get("haldane-chiral")
    steps = np.asarray(model.translations).astype(int)
    text = ["", *(" ".join(map(str, row)) for row in np.asarray(model.lattice)), "2", str(len(steps))]
    text.append(" ".join(["1"] * len(steps)))
    for step, matrix in zip(steps, np.asarray(model.hoppings), strict=True):
        text += ["", " ".join(map(str, step))]
        text += [f"{a + 1} {b + 1} {matrix[a, b].real} {matrix[a, b].imag}" for b in range(2) for a in range(2)]
    for step in steps:
        text += ["", " ".join(map(str, step))]
        for b, a in np.ndindex(2, 2):
            where = np.asarray(model.centres)[a] if a == b and not step.any() else np.zeros(3)
            text.append(f"{a + 1} {b + 1} " + " ".join(f"{x} 0.0" for x in where))
    (tmp_path / "bn_tb.dat").write_text("\n".join(text) + "\n")
    rows, places = (
        "\n".join(" ".join(map(str, row)) for row in part)
        for part in (np.asarray(model.lattice).tolist(), np.asarray(model.positions).tolist())
    )
    atoms = "\n".join(f"{name} {place}" for name, place in zip(("B", "N"), places.split("\n"), strict=True))
    win = f"begin unit_cell_cart\n{rows}\nend unit_cell_cart\nbegin atoms_frac\n{atoms}\nend atoms_frac\n"
    (tmp_path / "bn.win").write_text(win)
    page = told(tmp_path / "bn_tb.dat", "--set", "fermi_level=0.40", "--set", "minimal_distance=false")
    assert "P-6m2 (187)" in page and "D3, time reversal" in page
    assert "mirror perpendicular to [0 0 1], of the atoms but not of H(k)" in page
    assert "no σ_yz, σ_zx, σ_xy: time reversal" in page and "g_xx, g_yy, g_zz, and those of χ" in page
    assert "closed, holes" in page and "0.434933" in page
    assert [line.split("│")[3].strip() for line in page.splitlines() if line.startswith(("│ B ", "│ N "))] == ["0", "1"]


def test_info_states_by_how_much_operations_are_violated():
    """Haldane's flux φ breaks time reversal and mirrors by at most 2·2t₂ sin φ·3√3/2 eV, and not their product."""
    bound = {flux: 1e3 * 2 * 0.15 * 3 * 3**0.5 * np.sin(flux) for flux in (1e-4, 0.1)}
    found = json.loads(told("haldane", "--set", "model.parameters.flux=1e-4", "--json"))
    off = {one["name"]: one["violation"] for one in found["operations"]}
    assert 0.05 * bound[1e-4] < off["time reversal"] <= bound[1e-4]
    assert 0.05 * bound[1e-4] < off["mirror perpendicular to [1 0 0]"] <= bound[1e-4]
    assert max(off["C3 about [0 0 1]"], off["mirror perpendicular to [1 0 0] with time reversal"]) < 1e-9
    page = told("haldane", "--set", "model.parameters.flux=0.1")
    said = float(page.split("time reversal violated by ")[1].split(" meV")[0])
    assert 0.05 * bound[0.1] < said <= bound[0.1]


def test_the_order_of_spins_is_named():
    places = np.array([[0.0, 0, 0], [0.5, 0.5, 0.5]])
    for positions, order in (
        (np.repeat(places, 2, axis=0), "in turn"),
        (np.concatenate([places, places]), "halves"),
        (np.random.default_rng(0).random((4, 3)), None),
    ):
        assert spin_order(jk.TightBinding(4 * np.eye(3), [[0, 0, 0]], [np.eye(4)], positions)) == order
