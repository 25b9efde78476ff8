"""Wannier90 files: what is read, and that a damaged file is refused by name and line."""

import gzip
import itertools
import json
import re
import warnings

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import jaxkin as jk

LATTICE = np.array([[2.0, 0.0, 0.0], [-0.5, 1.8, 0.0], [0.1, 0.2, 3.0]])
STEPS = np.array([[-1, 0, 1], [0, 0, 0], [1, 0, -1]])
WEIGHTS = np.array([2, 1, 2])
PRINTED = 1e-14  # worst 7e-16: the writers print 16 digits
REFERENCE = 1e-10  # of the largest over bands at each k; worst 1.4e-11, where bands nearly touch


def _hermitian(rng, *shape):
    m = rng.normal(size=(2, 2, 2, *shape)) + 1j * rng.normal(size=(2, 2, 2, *shape))
    dagger = np.swapaxes(m.conj(), 1, 2)
    return np.array([m[1], m[0] + dagger[0], dagger[1]])


_RNG = np.random.default_rng(0)
HOPPINGS, POSITION = _hermitian(_RNG), _hermitian(_RNG, 3)
CENTRES = np.real(POSITION[1, [0, 1], [0, 1]])
MODEL = jk.TightBinding(LATTICE, STEPS, HOPPINGS, CENTRES @ np.linalg.inv(LATTICE), POSITION)


def _numbers(values):
    return " ".join(f"{value:.15E}" for value in values)


def _pairs(values):
    """Real and imaginary parts in turn."""
    return _numbers(np.array([np.real(values), np.imag(values)]).T.ravel())


def write_tb():
    rows = ["written by a test", *(_numbers(row) for row in LATTICE), "2", "3", " ".join(map(str, WEIGHTS))]
    for matrices in (HOPPINGS, POSITION):
        for step, weight, matrix in zip(STEPS, WEIGHTS, matrices, strict=True):
            rows += ["", " ".join(map(str, step))]
            rows += [f"{i + 1} {j + 1} {_pairs(weight * np.atleast_1d(matrix[i, j]))}" for j in (0, 1) for i in (0, 1)]
    return "\n".join(rows) + "\n"


def write_hr():
    rows = ["written by a test", "2", "3", " ".join(map(str, WEIGHTS))]
    for step, weight, matrix in zip(STEPS, WEIGHTS, HOPPINGS, strict=True):
        where = " ".join(map(str, step))
        rows += [f"{where} {i + 1} {j + 1} {_pairs([weight * matrix[i, j]])}" for j in (0, 1) for i in (0, 1)]
    return "\n".join(rows) + "\n"


WIN = "num_wann = 2\n\nBegin Unit_Cell_Cart\n{unit}\n{rows}\nEnd Unit_Cell_Cart  ! comment\n"
TB, HR = write_tb(), write_hr()
XYZ = "4\n written by a test\n" + "".join(f"X {_numbers(c)}\n" for c in CENTRES) + "Te 0 0 0\nTe 1 1 1\n"


def win(unit="Ang", scale=1.0):
    return WIN.format(unit=unit, rows="\n".join(_numbers(row / scale) for row in LATTICE))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("wannier90")


def put(folder, name, content):
    path = folder / name
    data = content.encode() if isinstance(content, str) else content
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return path


def refusal(path, **options):
    """The message of the FileFormatError that reading ``path`` raises: one line that begins with the file."""
    with pytest.raises(jk.FileFormatError) as caught:
        read(path, **options)
    message = str(caught.value)
    assert "\n" not in message and message.startswith(str(path)), message
    return message.removeprefix(str(path))


def read(path, **options):
    """The model, of files whose replicas are not what the test is about."""
    return jk.read_wannier90(path, **{"minimal_distance": False} | options)


def same_model(found, expected, *, position_matrices):
    names = ["lattice", "translations", "hoppings", "positions"] + ["position_matrices"] * position_matrices
    for name in names:
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), rtol=0, atol=PRINTED)
    assert position_matrices or found.position_matrices is None


# --- what is read ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["x_tb.dat", "x_tb.dat.gz"])
@pytest.mark.parametrize("position_matrices", [False, True])
def test_tb_file_gives_the_model_back(tmp_path, name, position_matrices):
    found = read(put(tmp_path, name, TB), position_matrices=position_matrices, point_group="C1")
    same_model(found, MODEL, position_matrices=position_matrices)
    assert found.point_group == "C1"


@pytest.mark.parametrize("name", ["x_hr.dat", "x_hr.dat.gz"])
@pytest.mark.parametrize(("unit", "scale"), [("Ang", 1.0), ("", 1.0), ("bohr", 0.529177210544)])
def test_hr_file_takes_lattice_and_centres_from_its_neighbours(tmp_path, name, unit, scale):
    put(tmp_path, "x.win", win(unit, scale))
    put(tmp_path, "x_centres.xyz", XYZ)
    same_model(read(put(tmp_path, name, HR)), MODEL, position_matrices=False)


def test_hr_file_takes_lattice_and_centres_from_the_caller(tmp_path):
    path = put(tmp_path, "x_hr.dat", HR)
    same_model(read(path, lattice=LATTICE, positions=MODEL.positions), MODEL, position_matrices=False)


def swapped(text, first, second):
    lines = text.splitlines()
    lines[first], lines[second] = lines[second], lines[first]
    return "\n".join(lines) + "\n"


def other_order_of_positions(text):
    """The R blocks of the position matrices from the last to the first."""
    lines = text.splitlines()
    blocks = [lines[start : start + 6] for start in range(len(lines) - 18, len(lines), 6)]
    return "\n".join([*lines[:-18], *itertools.chain(*reversed(blocks))]) + "\n"


def fortran(text):
    return re.sub(r"E([+-])", r"D\1", text)


def no_letter(text):
    """As Fortran writes exponents of three digits."""
    return re.sub(r"E([+-])(\d\d)\b", r"\g<1>0\2", text)


def tiny_without_a_letter(text):
    """One imaginary part on the diagonal at R = 0, which is zero, as Fortran prints what rounding has left of it."""
    return edited(text, line_number(text, "0 0 0 1 1"), last_field("0.1-100"))


USUAL = [
    ("rows of H swapped", "x_tb.dat", lambda: swapped(TB, 10, 12), "rows in another order"),
    ("rows of hr swapped", "x_hr.dat", lambda: swapped(HR, 4, 6), "rows in another order"),
    ("blocks of r reversed", "x_tb.dat", lambda: other_order_of_positions(TB), "another order were read as they"),
    ("counts on one line", "x_tb.dat", lambda: TB.replace("\n2\n3\n", "\n2 3\n"), "counts that share a line"),
    ("count with a comment", "x_hr.dat", lambda: HR.replace("\n2\n3\n", "\n2 ! num_wann\n3 # R\n"), "before a comment"),
    ("exponents with D", "x_tb.dat", lambda: fortran(TB), "written with D, or without a letter"),
    ("exponents with d", "x_hr.dat", lambda: fortran(HR).replace("D", "d"), "written with D, or without a letter"),
    ("exponent without a letter", "x_hr.dat", lambda: no_letter(HR), "written with D, or without a letter"),
    ("number without a letter", "x_hr.dat", lambda: tiny_without_a_letter(HR), "written with D, or without a letter"),
    ("no last newline", "x_tb.dat", lambda: TB[:-1], "the last line has no end"),
    ("no last newline, hr", "x_hr.dat", lambda: HR[:-1], "the last line has no end"),
]
SILENT = [
    ("form feed in the comment", "x_tb.dat", lambda: TB.replace("by a", "by\fa\vb\x1c", 1)),
    ("line separator in the comment", "x_hr.dat", lambda: HR.replace("by a", "by\u2028a\x85", 1)),
    ("Windows line ends", "x_tb.dat", lambda: TB.replace("\n", "\r\n")),
    ("blank lines at the end", "x_hr.dat", lambda: HR + "\n  \n"),
    ("appended name", "x_hr.dat_symm", lambda: HR),
    ("appended name, gz", "x_tb.dat.new.gz", lambda: TB),
    ("appended name, underscore", "x_hr.dat_nonsymm", lambda: HR),
]


@pytest.mark.parametrize(("name", "text", "said"), [c[1:] for c in USUAL], ids=[c[0] for c in USUAL])
def test_what_has_one_meaning_is_read_and_said(tmp_path, name, text, said):
    assert text() not in (TB, HR)
    with pytest.warns(jk.FileFormatWarning, match=said) as caught:
        found = read(put(tmp_path, name, text()), lattice=LATTICE, positions=MODEL.positions)
    assert len(caught) == 1
    same_model(found, MODEL, position_matrices=False)


@pytest.mark.parametrize(("name", "text"), [c[1:] for c in SILENT], ids=[c[0] for c in SILENT])
def test_what_does_not_touch_the_numbers_is_read_in_silence(tmp_path, name, text):
    found = read(put(tmp_path, name, text()), lattice=LATTICE, positions=MODEL.positions)
    same_model(found, MODEL, position_matrices=False)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("Begin Unit_Cell_Cart", "\tBEGIN\t  unit_cell_cart"),
        lambda text: text.replace("Begin Unit_Cell_Cart", "begin  unit_cell_cart ! cell"),
        lambda text: text.replace("\nAng\n", "\nAngstrom\n"),
        lambda text: text.replace("\nAng\n", "\n  ANG  # of course\n"),
        lambda text: text.replace("E+", "D+").replace("E-", "d-"),
        lambda text: text.replace(" ", "\t"),
    ],
)
def test_win_as_people_write_it(tmp_path, change):
    put(tmp_path, "x.win", change(win()))
    put(tmp_path, "x_centres.xyz", XYZ)
    same_model(read(put(tmp_path, "x_hr.dat", HR)), MODEL, position_matrices=False)


@pytest.mark.parametrize(("error", "accepted"), [(3e-6, True), (3e-4, False)])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3, 1e8])
def test_hermiticity_is_judged_by_each_element(error, accepted, scale):
    """An on-site energy of any size hides nothing, and rounding is allowed in models of any size."""
    hoppings = np.array([np.diag([scale, 0.0]), [[0, 0.001], [0, 0]], [[0, 0], [0.001, 0]]], complex)
    hoppings[1, 0, 1] += error
    if accepted:
        jk.TightBinding(LATTICE, [[0, 0, 0], [1, 0, 0], [-1, 0, 0]], hoppings, np.zeros((2, 3)))
        return
    with pytest.raises(jk.ModelError, match="not Hermitian"):
        jk.TightBinding(LATTICE, [[0, 0, 0], [1, 0, 0], [-1, 0, 0]], hoppings, np.zeros((2, 3)))


# --- what is refused ---------------------------------------------------------------------------


def line_number(text, needle):
    return next(number for number, line in enumerate(text.splitlines(), 1) if line.startswith(needle))


def edited(text, number, change):
    """``text`` with line ``number`` (from 1) replaced by change(line)."""
    lines = text.splitlines()
    lines[number - 1] = change(lines[number - 1])
    return "\n".join(lines) + "\n"


def last_field(value):
    return lambda line: " ".join([*line.split()[:-1], value])


HR_ROW, TB_ROW = line_number(HR, "0 0 0 2 1"), line_number(TB, "0 0 0") + 2  # ⟨2|·|1⟩ at R = 0
TB_POSITION = len(TB.splitlines()) - 3 * 6 + 1 + line_number("\n".join(TB.splitlines()[-18:]), "0 0 0") + 1

FAULTS = {
    "malformed number": (last_field("1.0x"), r"'1\.0x' is not a number"),
    "Fortran overflow": (last_field("*****"), r"is not a number"),
    "NaN": (last_field("NaN"), r"NaN where"),
    "infinity": (last_field("Infinity"), r"Infinity where"),
    "number missing": (lambda line: " ".join(line.split()[:-1]), r"expected \d numbers .*found \d"),
    "number too many": (lambda line: line + " 0.0", r"expected \d numbers .*found \d"),
    "line empty": (lambda line: "", r"expected \d numbers .*found 0"),
}


@pytest.mark.parametrize(("change", "message"), FAULTS.values(), ids=FAULTS)
@pytest.mark.parametrize(
    ("name", "text", "number"),
    [("f_hr.dat", HR, HR_ROW), ("f_tb.dat", TB, TB_ROW), ("f_tb.dat.gz", TB, TB_POSITION), ("f_tb.dat", TB, 2)],
    ids=["hr", "tb hopping", "tb position", "tb lattice"],
)
def test_a_bad_number_is_refused_with_its_line(folder, name, text, number, change, message):
    found = refusal(put(folder, name, edited(text, number, change)), lattice=LATTICE, positions=MODEL.positions)
    assert found.startswith(f", line {number}: ") and re.search(message, found), found


WRONG = {
    "hr orbitals swapped": ("w_hr.dat", HR, HR_ROW, "0 0 0 1 2 0 0", HR_ROW, "expected orbitals 2 1, found 1 2"),
    "tb orbitals swapped": ("w_tb.dat", TB, TB_ROW, "1 2 0 0", TB_ROW, "expected orbitals 2 1, found 1 2"),
    "tb position orbitals": ("w_tb.dat", TB, TB_POSITION, "1 2 0 0 0 0 0 0", TB_POSITION, "expected orbitals 2 1"),
    "tb other R of the positions": (
        "w_tb.dat",
        TB,
        TB_POSITION - 2,
        "0 0 7",
        TB_POSITION - 2,
        "is not among those of H",
    ),
    "tb R not integer": ("w_tb.dat", TB, TB_ROW - 2, "0 0.5 0", TB_ROW - 2, "integer"),
    "hr R changes in its block": ("w_hr.dat", HR, HR_ROW, "0 0 1 2 1 0 0", HR_ROW, "R vector changes"),
    "hr not Hermitian": ("w_hr.dat", HR, HR_ROW, "0 0 0 2 1 9 9", None, r"line \d+: .*not Hermitian"),
    "tb not Hermitian": ("w_tb.dat", TB, TB_ROW, "2 1 9 9", None, r"line \d+: .*not Hermitian"),
    "tb R twice": ("w_tb.dat", TB, TB_ROW + 4, "0 0 0", TB_ROW + 4, r"R = \(0, 0, 0\) for the second time"),
    "hr no R = 0": ("w_hr.dat", re.sub(r"(?m)^0 0 0 ", "0 0 5 ", HR), 1, "x", None, "must appear once, found 0"),
    "hr R twice": ("w_hr.dat", HR.replace("\n1 0 -1 ", "\n0 0 0 "), 1, "x", HR_ROW + 3, "for the second time"),
    "tb trailing content": ("w_tb.dat", TB + "\n", len(TB.splitlines()) + 1, "0 0 9", None, "content after the end"),
    "hr trailing content": ("w_hr.dat", HR + "\n", len(HR.splitlines()) + 1, "1 0 0 1 1 0 0", None, "content after"),
    "counts three": ("w_tb.dat", TB, 5, "2 3 4", 5, "expected"),
    "count a word": ("w_tb.dat", TB, 5, "two", 5, "expected the number of Wannier functions"),
    "one R fewer than said": ("w_hr.dat", HR, 3, "4", None, "degeneracy weights|expected|too early"),
    "underscore in a number": ("w_tb.dat", TB, TB_ROW, "2 1 1_0 0", TB_ROW, "'1_0' is not a number"),
    "weights too many": ("w_tb.dat", TB, 7, "2 1 2 1", 7, "4 degeneracy weights for 3"),
    "weight zero": ("w_tb.dat", TB, 7, "2 0 2", 7, "must be positive integers"),
    "orbital number not integer": ("w_tb.dat", TB, 5, "2.5", 5, "number of Wannier functions"),
    "orbital number negative": ("w_tb.dat", TB, 5, "-2", 5, "number of Wannier functions"),
    "orbital number absurd": ("w_tb.dat", TB, 5, "2000000000", None, ""),
    "cell absurd": ("w_tb.dat", TB, 6, "2000000000", None, ""),
    "lattice flat": ("w_tb.dat", TB, 4, _numbers(LATTICE[0] + LATTICE[1]), None, "lattice"),
}


@pytest.mark.parametrize(("name", "text", "edit", "line", "number", "message"), WRONG.values(), ids=WRONG)
def test_wrong_content_is_refused(folder, name, text, edit, line, number, message):
    found = refusal(
        put(folder, name, edited(text, edit, lambda _: line)),
        **({"lattice": LATTICE, "positions": MODEL.positions} if "_hr" in name else {}),
    )
    assert re.search(message, found), found
    assert number is None or found.startswith(f", line {number}: "), found


def test_missing_home_cell_is_refused(folder):
    lines = TB.replace("\n0 0 0\n", "\n0 0 5\n")
    assert "R = (0, 0, 0) must appear once, found 0 times" in refusal(put(folder, "h_tb.dat", lines))


def cut_is_refused_or_harmless(path, whole, keep):
    """A file cut to ``keep`` is refused; it may pass only if nothing but white space is gone."""
    options = {"lattice": LATTICE, "positions": MODEL.positions}
    if whole[keep:].strip():
        refusal(path, **options)
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", jk.FileFormatWarning)  # that the last line has no end
        found = read(path, **options)
    same_model(found, MODEL, position_matrices=False)


@pytest.mark.parametrize(("name", "text"), [("c_tb.dat", TB), ("c_hr.dat", HR)])
def test_a_file_cut_after_any_line_is_refused(folder, name, text):
    for keep in [0, *(found.end() for found in re.finditer("\n", text))]:
        for end in {keep, max(keep - 1, 0)}:
            cut_is_refused_or_harmless(put(folder, name, text[:end]), text, end)


@pytest.mark.parametrize(("name", "text"), [("b_tb.dat", TB), ("b_hr.dat", HR)])
def test_a_file_cut_at_any_byte_is_refused(folder, name, text):
    @given(st.integers(0, len(text)))
    @example(len(text) - 1)
    def check(keep):
        cut_is_refused_or_harmless(put(folder, name, text[:keep]), text, keep)

    check()


@pytest.mark.parametrize(("name", "text"), [("e_tb.dat", TB), ("e_hr.dat", HR)])
def test_a_file_cut_inside_its_last_number_is_refused(folder, name, text):
    for missing in range(2, len(text.split()[-1]) + 2):
        cut_is_refused_or_harmless(put(folder, name, text[:-missing]), text, len(text) - missing)


@given(st.data())
def test_a_gzip_file_cut_or_damaged_at_any_byte_is_refused(folder, data):
    whole = gzip.compress(TB.encode(), mtime=0)
    where = data.draw(st.integers(10, len(whole) - 1))
    refusal(_raw(folder, "cut_tb.dat.gz", whole[:where]))
    flipped = bytes([whole[where] ^ data.draw(st.integers(1, 255))])
    refusal(_raw(folder, "flip_tb.dat.gz", whole[:where] + flipped + whole[where + 1 :]))


def _raw(folder, name, data):
    path = folder / name
    path.write_bytes(data)
    return path


def test_wrong_or_missing_names_are_refused(tmp_path):
    assert "must end in _tb.dat, _hr.dat or .chk" in refusal(put(tmp_path, "x.dat", TB))
    assert "no such file" in refusal(tmp_path / "absent_tb.dat")
    assert "no such file" in refusal(tmp_path / "absent_tb.dat.gz")
    (tmp_path / "folder_tb.dat").mkdir()
    assert "could not be read" in refusal(tmp_path / "folder_tb.dat")
    put(tmp_path, "plain_tb.dat", TB).rename(tmp_path / "plain_tb.dat.gz")
    assert "could not be read" in refusal(tmp_path / "plain_tb.dat.gz")


def test_hr_file_alone_says_what_to_add(tmp_path):
    path = put(tmp_path, "x_hr.dat", HR)
    assert re.search(r"no lattice; pass lattice=.* x\.win", refusal(path))
    assert re.search(r"no orbital positions; pass positions=.* x_centres\.xyz", refusal(path, lattice=LATTICE))
    both = {"lattice": LATTICE, "positions": MODEL.positions}
    assert "no position matrices" in refusal(path, **both, position_matrices=True)


NEIGHBOURS = {
    "win without the block": ("n.win", "num_wann = 2\n", "unit_cell_cart block not found"),
    "win block cut": ("n.win", win()[: win().index("End")], "unit_cell_cart block not found"),
    "win unknown unit": ("n.win", win("furlong"), "unit_cell_cart block not found"),
    "win malformed number": ("n.win", win().replace("E+00", "E+0x", 1), "unit_cell_cart block not found"),
    "win flat lattice": ("n.win", WIN.format(unit="", rows="1 0 0\n0 1 0\n1 1 0"), "lattice"),
    "centres one short": ("n_centres.xyz", XYZ.replace("X ", "C ", 1), "found 1 Wannier centres.* for 2 orbitals"),
    "centres malformed": ("n_centres.xyz", XYZ.replace("E", "x", 1), r"line \d+: not a centre"),
    "centres NaN": ("n_centres.xyz", re.sub("X \\S+", "X nan", XYZ, count=1), "(?i)nan|finite"),
    "centres cut in a line": ("n_centres.xyz", XYZ[: XYZ.rindex("X ") + 8], "found|truncated"),
}


@pytest.mark.parametrize(("name", "content", "message"), NEIGHBOURS.values(), ids=NEIGHBOURS)
def test_bad_neighbour_of_an_hr_file_is_refused_by_name(tmp_path, name, content, message):
    files = {"n_hr.dat": HR, "n.win": win(), "n_centres.xyz": XYZ} | {name: content}
    for other, text in files.items():
        put(tmp_path, other, text)
    with pytest.raises(jk.FileFormatError) as caught:
        jk.read_wannier90(tmp_path / "n_hr.dat")
    assert re.search(message, str(caught.value)) and "\n" not in str(caught.value)
    assert str(tmp_path / "n") in str(caught.value)


# --- against an independent code ---------------------------------------------------------------


@pytest.fixture(scope="module")
def reference(shared_data):
    values = json.loads((shared_data / "te_sparse_ref.json").read_text())
    return shared_data / "te_sparse_tb.dat.gz", values["pointwise"]


def assert_as_reference(found, expected):
    expected = np.array(expected)
    scale = np.abs(expected).max(axis=tuple(range(1, expected.ndim)), keepdims=True)
    worst = np.max(np.abs(np.asarray(found) - expected) / scale)
    assert worst < REFERENCE, worst


def every_band(model, k):
    n = model.size
    bands = np.tile(np.arange(n), len(k))
    geometry = jk.band_geometry(model, np.repeat(k, n, axis=0), bands, degeneracy=1e-4)  # as the reference
    return lambda name: np.asarray(getattr(geometry, name)).reshape(len(k), n, *getattr(geometry, name).shape[1:])


def test_tellurium_file_gives_the_reference_energies_velocities_curvatures_and_moments(reference):
    path, expected = reference
    found = every_band(jk.read_wannier90(path), np.array(expected["k_red"]))
    assert_as_reference(found("energy"), expected["E_eV"])
    assert_as_reference(found("velocity"), expected["v_eVA"])
    assert_as_reference(found("berry_curvature"), expected["Omega_int_A2"])
    assert_as_reference(found("orbital_moment"), expected["m_int_muB"])


def test_position_matrices_of_the_tellurium_file_give_the_reference_curvature(reference):
    path, expected = reference
    found = every_band(jk.read_wannier90(path, position_matrices=True), np.array(expected["k_red"]))
    assert_as_reference(found("velocity"), expected["v_eVA"])
    assert_as_reference(found("berry_curvature"), expected["Omega_ext_A2"])


def test_first_principles_tellurium_file_is_read(shared_data):
    model = jk.read_wannier90(shared_data / "te_qe_tb.dat.gz")
    assert model.size == 24 and model.dimension == 3
    bands = model.bands([1 / 3, 1 / 3, 1 / 2])
    assert 0.1 < bands[18] - bands[17] < 0.6  # eV: the gap of tellurium at H
