"""Wannier90's minimal-distance replicas: read, made, missed; against a model that a mesh of k has folded."""

import gzip
import itertools
import re

import numpy as np
import pytest

import jaxkin as jk
from jaxkin.symmetry.verify import violation

LATTICE = np.array([[3.0, 0.0, 0.0], [-0.7, 2.6, 0.0], [0.2, 0.4, 3.4]])
CENTRES = np.array([[0.05, 0.1, 0.0], [0.42, 0.31, 0.58], [0.73, 0.86, 0.21]])
GRID = np.array([3, 2, 2])
N = len(CENTRES)
EXACT = 1e-12  # eV; worst 4e-15


def supercell_images(step, i, j):
    """Every R + T of a large box with T a multiple of the mesh, and its distance between centres j there and i."""
    images = [step + GRID * np.array(s) for s in itertools.product(range(-4, 5), repeat=3)]
    way = [np.linalg.norm((image + CENTRES[j] - CENTRES[i]) @ LATTICE) for image in images]
    return images, np.array(way)


def nearest(step, i, j):
    images, way = supercell_images(step, i, j)
    return [tuple(images[n].tolist()) for n in np.flatnonzero(way < way.min() + 1e-6)]


def _truth():
    """{R: (H, r)} of short range: only the nearest of its images is a hopping, or several that are equal."""
    rng, truth = np.random.default_rng(3), {}
    for step in itertools.product(range(-1, 2), repeat=3):
        for i, j in itertools.product(range(N), repeat=2):
            images = nearest(np.array(step), i, j)
            if step not in images:
                continue
            value = rng.normal(size=8) @ np.kron(np.eye(4), [[1], [1j]])  # H and x, y, z
            value = value.real + 0j if len(images) > 1 or (i == j and not any(step)) else value
            for image in images:
                back = tuple(-s for s in image)
                for where, a, b, part in ((image, i, j, value), (back, j, i, value.conj())):
                    truth.setdefault(where, np.zeros((N, N, 4), complex))[a, b] += part
    for i in range(N):
        truth[0, 0, 0][i, i, 1:] = CENTRES[i] @ LATTICE
    return truth


TRUTH = _truth()


def wigner_seitz():
    """R of the supercell's Wigner–Seitz cell with their degeneracies."""
    found = {}
    for step in itertools.product(*(range(n) for n in GRID)):
        images = [np.array(step) + GRID * np.array(s) for s in itertools.product(range(-3, 4), repeat=3)]
        length = np.linalg.norm(np.array(images) @ LATTICE, axis=1)
        near = np.flatnonzero(length < length.min() + 1e-6)
        found |= {tuple(images[n].tolist()): len(near) for n in near}
    return found


CELL = wigner_seitz()


def folded():
    """⟨0i|·|Rj⟩ as a mesh of k gives it: the sum over all images."""
    result = {step: np.zeros((N, N, 4), complex) for step in CELL}
    for step, whole in result.items():
        for where, matrix in TRUTH.items():
            if not np.any((np.array(where) - step) % GRID):
                whole += matrix
    return result


def write_tb(matrices, weights=CELL):
    rows = ["a test", *(" ".join(map(repr, row)) for row in LATTICE.tolist()), str(N), str(len(matrices))]
    rows.append(" ".join(str(weights.get(step, 1)) for step in matrices))
    for part in (slice(0, 1), slice(1, 4)):
        for step, matrix in matrices.items():
            rows += ["", " ".join(map(str, step))]
            for j, i in itertools.product(range(N), repeat=2):
                numbers = [f"{x:.17e}" for z in matrix[i, j, part] for x in (z.real, z.imag)]
                rows.append(f"{i + 1} {j + 1} " + " ".join(numbers))
    return "\n".join(rows) + "\n"


def write_wsvec(matrices):
    rows = ["## written by a test  with use_ws_distance=.true."]
    for step, i, j in itertools.product(matrices, range(N), range(N)):
        images = nearest(np.array(step), i, j)
        rows += [" ".join(map(str, (*step, i + 1, j + 1))), str(len(images))]
        rows += [" ".join(map(str, np.array(image) - step)) for image in images]
    return "\n".join(rows) + "\n"


FOLDED = folded()
TB, WSVEC = write_tb(FOLDED), write_wsvec(FOLDED)
MODEL = jk.TightBinding(
    LATTICE,
    np.array(list(TRUTH)),
    np.array([matrix[..., 0] for matrix in TRUTH.values()]),
    CENTRES,
    np.array([matrix[..., 1:] for matrix in TRUTH.values()]),
)
K = np.random.default_rng(1).random((5, 3))


def h_and_r(model, k):
    return np.asarray(model.hamiltonian(k)), np.asarray(model.position(k))


def assert_is_the_truth(model):
    for k in K:
        for found, exact in zip(h_and_r(model, k), h_and_r(MODEL, k), strict=True):
            assert np.abs(found - exact).max() < EXACT


def test_the_test_folds_something():
    """Bands at points of the mesh are those of the model whatever replicas are taken, elsewhere only with them."""
    assert sum(1 / weight for weight in CELL.values()) == pytest.approx(np.prod(GRID))
    assert max(CELL.values()) > 1 and len(TRUTH) > len(CELL)


@pytest.mark.parametrize("name", ["x_wsvec.dat", "x_wsvec.dat.gz"])
def test_wsvec_beside_the_file_is_read(tmp_path, name):
    (tmp_path / "x_tb.dat").write_text(TB)
    (tmp_path / name).write_bytes(gzip.compress(WSVEC.encode()) if name.endswith("gz") else WSVEC.encode())
    assert_is_the_truth(jk.read_wannier90(tmp_path / "x_tb.dat", position_matrices=True))


def test_replicas_are_made_from_centres_lattice_and_the_list_of_r(tmp_path):
    (tmp_path / "x_tb.dat").write_text(TB)
    assert_is_the_truth(jk.read_wannier90(tmp_path / "x_tb.dat", position_matrices=True, minimal_distance=True))


def test_what_their_absence_means_is_said_and_true(tmp_path):
    (tmp_path / "x_tb.dat").write_text(TB)
    with pytest.warns(jk.FileFormatWarning, match=r"no x_wsvec\.dat; bands differ by up to") as caught:
        found = jk.read_wannier90(tmp_path / "x_tb.dat")
    said = float(re.search(r"up to (\S+) eV", str(caught[0].message))[1])
    assert 0.05 < said < 20
    mesh = [np.array(point) / GRID for point in np.ndindex(*GRID)]
    plain = jk.TightBinding(MODEL.lattice, MODEL.translations, MODEL.hoppings, CENTRES)
    assert max(np.abs(found.bands(k) - plain.bands(k)).max() for k in mesh) < EXACT
    assert max(np.abs(found.bands(k) - plain.bands(k)).max() for k in K) > 0.05
    silent = jk.read_wannier90(tmp_path / "x_tb.dat", minimal_distance=False)
    np.testing.assert_array_equal(found.hoppings, silent.hoppings)


def test_a_file_that_has_its_replicas_in_it_is_read_in_silence_and_not_given_others(tmp_path):
    """As exporters write it: R beyond the Wigner–Seitz cell, all degeneracies one."""
    path = tmp_path / "x_tb.dat"
    path.write_text(write_tb(TRUTH, weights={}))
    assert_is_the_truth(jk.read_wannier90(path, position_matrices=True))
    with pytest.raises(jk.FileFormatError, match="no Wigner-Seitz cell of a mesh of k"):
        jk.read_wannier90(path, minimal_distance=True)


DAMAGE = {
    "cut": (lambda rows: rows[:-1], "ends too early"),
    "of another file": (lambda rows: [rows[0], "9 9 9 1 1", *rows[2:]], r"line 2: R = \(9, 9, 9\).*not in the Ham"),
    "orbital too many": (lambda rows: [rows[0], rows[1][:-1] + "4", *rows[2:]], "line 2: .*not in the Hamiltonian"),
    "twice": (lambda rows: [*rows[:4], *rows[1:4], *rows[7:]], "for the second time"),
    "no number": (lambda rows: [*rows[:2], "x", *rows[3:]], "line 3: expected 1 integers"),
    "no replica": (lambda rows: [*rows[:2], "0", *rows[3:]], "line 3: expected the number of replicas"),
    "trailing": (lambda rows: [*rows, "1 2 3"], "content after the end"),
}


@pytest.mark.parametrize(("change", "message"), DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_wsvec_is_refused(tmp_path, change, message):
    (tmp_path / "x_tb.dat").write_text(TB)
    (tmp_path / "x_wsvec.dat").write_text("\n".join(change(WSVEC.splitlines())) + "\n")
    with pytest.raises(jk.FileFormatError, match=message) as caught:
        jk.read_wannier90(tmp_path / "x_tb.dat")
    assert "x_wsvec.dat" in str(caught.value) and "\n" not in str(caught.value)


# --- ⟨r⟩ and centres ---------------------------------------------------------------------------


def test_position_matrices_are_made_hermitian(tmp_path):
    """½(r_R + r†_{−R}), as postw90 does; said with the size, and refused with its line where it is damage."""
    rng = np.random.default_rng(5)
    crooked = {
        step: matrix + 0.02 * np.concatenate([np.zeros((N, N, 1)), rng.uniform(-1, 1, (N, N, 3))], axis=2)
        for step, matrix in FOLDED.items()
    }
    for i in range(N):
        crooked[0, 0, 0][i, i] = FOLDED[0, 0, 0][i, i]
    path = tmp_path / "x_tb.dat"
    path.write_text(write_tb(crooked))
    with pytest.warns(jk.FileFormatWarning, match=r"not Hermitian, by up to 0\.0\d Å.*as postw90 does"):
        found = jk.read_wannier90(path, position_matrices=True, minimal_distance=False)
    k = K[0]
    phases = {step: np.exp(2j * np.pi * k @ np.array(step)) / CELL[step] for step in CELL}
    total = sum(phases[step] * crooked[step][..., 1:] for step in CELL)
    gauge = np.exp(2j * np.pi * (CENTRES @ k))
    exact = 0.5 * (total + total.conj().swapaxes(0, 1)) * (gauge.conj()[:, None] * gauge)[..., None]
    exact[np.arange(N), np.arange(N)] -= CENTRES @ LATTICE
    assert np.abs(np.moveaxis(exact, -1, 0) - np.asarray(found.position(k))).max() < EXACT

    step = next(step for step in CELL if any(step))
    crooked[step][1, 2, 1] += 3.0
    path.write_text(write_tb(crooked))
    rows = path.read_text().splitlines()
    block = max(number for number, row in enumerate(rows) if row == " ".join(map(str, step)))
    line = 1 + next(n for n in range(block + 1, len(rows)) if rows[n].startswith("2 3 "))
    with pytest.raises(jk.FileFormatError, match="position matrices are not Hermitian") as caught:
        jk.read_wannier90(path, position_matrices=True, minimal_distance=False)
    partner = max(n for n, row in enumerate(rows) if row == " ".join(str(-s) for s in step))
    other = 1 + next(n for n in range(partner + 1, len(rows)) if rows[n].startswith("3 2 "))
    assert int(re.search(r"line (\d+):", str(caught.value))[1]) in (line, other)
    jk.read_wannier90(path, minimal_distance=False)  # not asked for, not looked at


def test_centres_that_were_moved_to_the_home_cell_are_noticed(tmp_path):
    """A ring of hoppings across cell boundaries: H knows in which cell each function is."""
    chain = np.array([[0.1, 0.2, 0.3], [1.2, 0.2, 0.3], [-0.4, 0.7, 0.3]])
    steps = np.array(list(itertools.product(range(-2, 3), repeat=3)))
    way = (steps[:, None, None] + chain - chain[:, None]) @ (3 * np.eye(3))
    hoppings = np.exp(-np.linalg.norm(way, axis=-1))
    rows = ["a test", "3", str(len(steps)), " ".join(["1"] * len(steps))]
    for step, matrix in zip(steps, hoppings, strict=True):
        for j, i in itertools.product(range(3), repeat=2):
            rows.append(f"{' '.join(map(str, step))} {i + 1} {j + 1} {matrix[i, j]:.12f} 0.0")
    path = tmp_path / "x_hr.dat"
    path.write_text("\n".join(rows) + "\n")
    options = {"lattice": 3 * np.eye(3), "minimal_distance": False}
    with pytest.warns(jk.FileFormatWarning, match=r"home cell.*\(2 by \[1, 0, 0\], 3 by \[-1, 0, 0\]\)"):
        jk.read_wannier90(path, positions=chain - np.floor(chain), **options)
    jk.read_wannier90(path, positions=chain, **options)
    jk.read_wannier90(path, positions=chain - chain[0], **options)


# --- a file as Wannier90 wrote it --------------------------------------------------------------


def test_tellurium_with_centres_in_the_home_cell(shared_data):
    """Of its 12 operations 2 are left, and a line says why; with what the line says to add they are 12 again."""
    path = shared_data / "te_sparse_tb.dat.gz"
    centres = np.asarray(jk.read_wannier90(path).positions)
    home = centres - np.floor(centres)
    with pytest.warns(jk.FileFormatWarning, match="seem to have been moved to the home cell"):
        moved = jk.read_wannier90(path, positions=home)
    assert len(jk.find_symmetries(moved)) == 2
    assert len(jk.find_symmetries(jk.read_wannier90(path, positions=centres))) == 12


def test_gallium_arsenide_has_its_symmetry_with_replicas(shared_data):
    """T_d to 6 meV with them, to 0.1 eV and more without; time reversal; the mesh's own k have the same H.

    To 1 meV they keep the eight operations of D2d, an axis of Wannier functions that were made on a 2 × 2 × 2 mesh.
    """
    path = shared_data / "GaAs_tb.dat.gz"
    with pytest.warns(jk.FileFormatWarning, match="use_ws_distance"):
        plain = jk.read_wannier90(path)
    made = jk.read_wannier90(path, minimal_distance=True)
    broken = {
        name: max(violation(model, op).energy for op in jk.symmetry.point_group("Td"))
        for name, model in (("plain", plain), ("made", made))
    }
    assert broken["made"] < 8e-3 and broken["plain"] > 0.1, broken
    found = jk.find_symmetries(made)
    unitary = [operation for operation in found if not operation.antiunitary]
    assert len(unitary) == 8 and sum(operation.determinant < 0 for operation in unitary) == 4
    assert len(found) == 16 > len(jk.find_symmetries(plain))
    assert violation(made, jk.symmetry.Operation(np.eye(3), antiunitary=True)).fault is None
    for k in np.ndindex(2, 2, 2):
        assert np.abs(np.asarray(plain.hamiltonian(np.array(k) / 2) - made.hamiltonian(np.array(k) / 2))).max() < EXACT
    with pytest.warns(jk.FileFormatWarning, match="as postw90 does"):
        jk.read_wannier90(path, minimal_distance=True, position_matrices=True)


@pytest.mark.parametrize("name", ["te_qe_tb.dat.gz", "te_sparse_tb.dat.gz"])
def test_home_cell_centres_of_real_files_are_noticed(shared_data, name, tmp_path):
    """By the very vectors they were moved by."""
    from jaxkin.hamiltonian.replicas import shifted_centres

    model = jk.read_wannier90(shared_data / name)
    steps, hoppings, lattice = (np.asarray(x) for x in (model.translations, model.hoppings, model.lattice))
    centres = np.asarray(model.positions)
    moved = np.floor(centres + 1e-6)
    assert moved.any() and not shifted_centres(steps, hoppings, lattice, centres).any()
    found = shifted_centres(steps, hoppings, lattice, centres - moved)
    np.testing.assert_array_equal(found - found[0], moved - moved[0])
