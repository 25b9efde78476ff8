"""Damaged files of every reader: one line that names the file, or what is read is sound; never a traceback or a hang.

Sound: numbers are finite, matrices Hermitian and of fitting shapes, and nothing in the file contradicts what was read.
Another digit of a number that nothing else in the file tells of is read as it stands. Results of jaxkin, which end with
a digest, are in tests/test_resume.py.
"""

import bz2
import gzip
import io
import json
import time
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import test_wannier90 as w90
import xarray as xr
from test_fitting import CONFIG as FIT
from test_foreign_models import written
from test_resume import damage
from wannierised import Calculation, crystal

import jaxkin as jk
from jaxkin.cli import config, fit
from jaxkin.cli.origin import origin
from jaxkin.fitting.data import read_data
from jaxkin.hamiltonian.replicas import minimal_distance
from jaxkin.hamiltonian.tight_binding import asymmetry, partners
from jaxkin.output import dataset as ds

pytestmark = [pytest.mark.filterwarnings(f"ignore::jaxkin.{kind}") for kind in ("AccuracyWarning", "FileFormatWarning")]
LONGEST = 5.0
"""Seconds of a processor that a file may take."""
WORDS = [b"nan", b"-inf", b"1e400", b"1e300", b"-1", b"0", b"0.5", b"999999999999", b"9" * 23, b"9" * 9000, b"1d0"]
WORDS += [b"1_0", b"letters", b"", "１".encode(), b"[" * 3000, b'"""']
NUMBERS = [np.nan, -np.inf, 1e300, 1e30, -1, 0, 0.5, 999999999999, 1e23]
MATRICES = ("position_matrices", "hr_matrices", "rhr_matrices", "spin")


def rearrange(parts: list, kind: int, one: int, other: int) -> None:
    """One of the parts dropped, doubled, or swapped with another."""
    if kind == 0:
        del parts[one]
    elif kind == 1:
        parts.insert(other, parts[one])
    else:
        parts[one], parts[other] = parts[other], parts[one]


def damaged_text(data: bytes, rng) -> bytes:
    """A line dropped, doubled, or swapped with another; a word replaced; else as :func:`damaged_bytes`."""
    kind, lines = rng.integers(6), data.splitlines(keepends=True)
    one, other = rng.integers(len(lines), size=2)
    if kind < 3:
        rearrange(lines, kind, one, other)
    elif kind < 5 and (words := lines[one].split()):
        word = words[rng.integers(len(words))]
        lines[one] = lines[one].replace(word, WORDS[rng.integers(len(WORDS))])
    else:
        return damaged_bytes(data, rng)
    return b"".join(lines)


def damaged_bytes(data: bytes, rng) -> bytes:
    """Bytes flipped, zeroed, cut, repeated, or put in."""
    if rng.integers(5):
        return damage(data, rng)
    at = rng.integers(len(data) + 1)
    return data[:at] + rng.bytes(rng.integers(1, 9)) + data[at:]


def damaged_records(data: bytes, rng) -> bytes:
    """A record of a Fortran file dropped, doubled, swapped, cut, or with another number in it."""
    kind, records, place = rng.integers(7), [], 0
    if kind == 0:
        return damaged_bytes(data, rng)
    while place < len(data):
        length = int.from_bytes(data[place : place + 4], "little")
        records.append(bytearray(data[place + 4 : place + 4 + length]))
        place += length + 8
    one, other = rng.integers(len(records), size=2)
    if kind < 4:
        rearrange(records, kind - 1, one, other)
    elif kind == 4:
        del records[one][rng.integers(len(records[one]) + 1) :]
    else:
        number = NUMBERS[rng.integers(len(NUMBERS))]
        whole = len(records[one]) % 8 or rng.integers(2)
        new = np.array(np.clip(np.nan_to_num(number), -1, 2**31 - 1), "<i4") if whole else np.array(number, "<f8")
        at = rng.integers(len(records[one]) // new.nbytes + 1) * new.nbytes
        records[one][at : at + new.nbytes] = new.tobytes()
    marks = [len(record).to_bytes(4, "little") for record in records]
    return b"".join(mark + record + mark for mark, record in zip(marks, records, strict=True))


def damaged_array(array: np.ndarray, rng) -> np.ndarray:
    """Another number, shape or type."""
    kind, new = rng.integers(8), array.copy()
    if array.dtype.kind not in "biufc":
        return np.array(0.5)
    if kind < 3 and array.size:
        with warnings.catch_warnings(action="ignore"):
            new = new.astype(np.result_type(array, float) if kind else array.dtype)
            new.flat[rng.integers(new.size)] = np.array(NUMBERS)[rng.integers(len(NUMBERS))].astype(new.dtype)
        return new
    changes: list[Callable[[np.ndarray], np.ndarray]] = [
        lambda a: a[:-1] if a.ndim else a[None],
        lambda a: np.concatenate([a, a[-1:]]) if a.ndim else np.array([a, a]),
        lambda a: a.T,
        lambda a: a.ravel(),
        lambda a: a[..., None],
        lambda a: a[..., :0] if a.ndim else a,
        lambda a: a.astype("S4"),
        lambda a: a.real.astype(bool),
        lambda a: a.real.astype(np.int64),
        lambda a: a.astype(np.complex64),
        lambda a: np.array(b"letters"),
        lambda a: np.zeros(a.shape, [("r", float), ("x", float)]),
    ]
    with warnings.catch_warnings(action="ignore"):
        return changes[rng.integers(len(changes))](new)


def packed(name: str, data: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(name, data)
    return file.getvalue()


def damaged_npz(data: bytes, rng) -> bytes:
    """Damage within an array, within what ``numpy.save`` makes of it, or of the archive."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        (name,) = archive.namelist()
        inside = archive.read(name)
    kind, file = rng.integers(4), io.BytesIO()
    if kind == 0:
        return damaged_bytes(data, rng)
    if kind == 1:
        return packed(name, damaged_text(inside, rng) if rng.integers(2) else damaged_bytes(inside, rng))
    if kind == 2 and not rng.integers(8):
        return packed("other" if rng.integers(2) else "arr_0.npy/", inside)
    np.save(file, damaged_array(np.load(io.BytesIO(inside)), rng))
    return packed(name, file.getvalue())


def damaged_hdf5(data: bytes, rng) -> bytes:
    """A dataset or group dropped, or put in another's place; another array; else cut.

    No other bytes: HDF5's own library may crash on them, and what has no digest cannot be checked before.
    """
    kind = rng.integers(8)
    if kind == 0:
        return data[: rng.integers(len(data))]
    content, names = io.BytesIO(data), []
    with h5py.File(content, "r+") as file:
        file.visit(names.append)
        one, other = (names[n] for n in rng.integers(len(names), size=2))
        if kind == 1 or isinstance(file[one], h5py.Group):
            if rng.integers(2) and not one.startswith(other) and not other.startswith(one):
                file.move(other, f"{one}.")
                del file[one]
                file.move(f"{one}.", one)
            else:
                del file[one]
        else:
            old = file[one]
            new = damaged_array(np.asarray(old), rng)
            if new.shape == old.shape and new.dtype == old.dtype:
                old[...] = new
            else:
                del file[one]
                file[one] = new
                file[one].attrs.update({key: old.attrs[key] for key in ("units",) if key in old.attrs})
    return content.getvalue()


def sound(model: jk.TightBinding) -> None:
    """H and what goes with it are finite, Hermitian, and of one size."""
    steps, n = np.asarray(model.translations), model.size
    h, partner = np.asarray(model.hoppings), partners(steps)
    assert h.shape == (len(steps), n, n) and np.all(partner >= 0)
    assert model.positions.shape == (n, model.dimension) and np.all(np.isfinite(model.positions))
    assert np.all(np.isfinite(model.lattice)) and abs(np.linalg.det(model.lattice @ model.lattice.T)) > 0
    given = [one for name in MATRICES if (one := getattr(model, name)) is not None]
    for matrices in [h, *map(np.asarray, given)]:
        assert np.all(np.isfinite(matrices))
    for name in ("position_matrices", "rhr_matrices", "spin"):
        if (matrices := getattr(model, name)) is not None and matrices.ndim == 4:
            assert asymmetry(np.asarray(matrices), partner)[0].max() < 2
    assert asymmetry(h, partner)[0].max() < 2
    k = np.array([0.1, 0.2, 0.3])[: model.dimension]
    assert np.all(np.isfinite(np.linalg.eigvalsh(np.tensordot(np.exp(2j * np.pi * steps @ k), h, axes=1))))


def sound_config(path: Path) -> None:
    """What was read is written and read again as it is."""
    text = config.as_toml(config.load(str(path), []))
    path.write_text(text)
    assert config.as_toml(config.load(str(path), [])) == text


def sound_fit(path: Path) -> None:
    fit.load(path)


def sound_data(path: Path) -> None:
    for one in read_data(path):
        assert len({len(x) for x in (one.value, one.error, one.frequency)}) == 1 and len(one)
        assert np.all(np.isfinite([one.value, one.error, one.frequency])) and np.all(one.error > 0)


@dataclass(frozen=True)
class Reader:
    """Files, those of them that are damaged in turn, and how; what reads them and looks at what was read."""

    files: dict[str, bytes]
    damaged: tuple[str, ...]
    change: Callable[[bytes, Any], bytes]
    read: Callable[[Path], None]

    def accepts(self, folder: Path, name: str, content: bytes) -> bool:
        """Whether it is read with another content of a file; else it is refused in one line that names a file."""
        path = folder / name
        path.write_bytes(content)
        try:
            self.read(path)
        except jk.JaxkinError as error:
            said = str(error)
            assert "\n" not in said and len(said) < 500 + 2 * len(str(folder)), said
            assert any(f"{folder / file}" in said for file in (*self.files, "")), said
            return False
        finally:
            path.write_bytes(self.files[name])
        return True


def wannier90(name: str, **options) -> Callable[[Path], None]:
    return lambda path: sound(jk.read_wannier90(path.parent / name, **options))


def sound_atoms(path: Path) -> None:
    atoms = jk.Structure.from_win(path)
    assert atoms is None or np.all(np.isfinite(atoms.positions))


def texts() -> dict[str, Reader]:
    """Of Wannier90's Hamiltonians and what stands beside them, of measured data and of configurations."""
    tb, hr, atoms = w90.TB.encode(), w90.HR.encode(), b"begin atoms_frac\nTe 0 0 0\nTe 0.5 0.5 0.5\nend atoms_frac\n"
    beside = {"x.win": (w90.win() + "mp_grid = 2 1 1\n").encode() + atoms, "x_centres.xyz": w90.XYZ.encode()}
    made = minimal_distance(w90.STEPS, (2, 1, 1), w90.LATTICE, np.asarray(w90.MODEL.positions))
    rows = ["by a test"]
    for r, i, j in np.ndindex(3, 2, 2):
        shifts = made.shift[(made.element == [r, i, j]).all(axis=1)]
        rows += [" ".join(map(str, [*w90.STEPS[r], i + 1, j + 1])), str(len(shifts))]
        rows += [" ".join(map(str, shift)) for shift in shifts]
    wsvec = "\n".join([*rows, ""]).encode()
    table = b"frequency[THz], temperature[K], rotation[deg/mm], rotation_error[deg/mm]\n"
    table += b"0.1, 77, -0.2, 0.01\n1, 77, 3, 0.02"
    impurity = "{kind = 'point', strength = 1.0, density = 1e-3, orbitals = [0, 1]}"
    settings = ["model.parameters.spin=true", "fermi_level=[0.1, 0.2]", f"disorder.impurities=[{impurity}]"]
    whole = config.as_toml(config.load("tellurium", settings))
    result = json.dumps({"config": whole, "versions": ds.versions()}, indent=1)
    files = {"x_hr.dat": hr} | beside
    read_tb = wannier90("x_tb.dat", position_matrices=True)
    found = {
        "hr": Reader(files, ("x_hr.dat",), damaged_text, wannier90("x_hr.dat")),
        "win": Reader(files, ("x.win",), damaged_text, wannier90("x_hr.dat", minimal_distance=True)),
        "centres": Reader(files, ("x_centres.xyz",), damaged_text, wannier90("x_hr.dat")),
        "atoms": Reader(files, ("x.win",), damaged_text, sound_atoms),
        "tb": Reader({"x_tb.dat": tb}, ("x_tb.dat",), damaged_text, read_tb),
        "wsvec": Reader({"x_tb.dat": tb, "x_wsvec.dat": wsvec}, ("x_wsvec.dat",), damaged_text, read_tb),
        "csv": Reader({"x.csv": table}, ("x.csv",), damaged_text, sound_data),
        "toml": Reader({"x.toml": whole.encode()}, ("x.toml",), damaged_text, sound_config),
        "fit": Reader({"x.toml": FIT.format(extra="").encode()}, ("x.toml",), damaged_text, sound_fit),
        "json": Reader({"x.json": result.encode()}, ("x.json",), damaged_text, lambda path: origin(path, [])),
    }
    for name, pack in (("x_tb.dat.gz", gzip), ("x_tb.dat.bz2", bz2)):
        found[name[9:]] = Reader({name: pack.compress(tb)}, (name,), damaged_bytes, wannier90(name))
    return found


def checkpoints(folder: Path) -> dict[str, Reader]:
    """Of a whole calculation, formatted and unformatted."""
    readers, solid = {}, crystal(lattice=np.diag([3.0, 3.3, 2.8]))
    calculation = Calculation(solid, (1, 1, 2), bands=3, functions=2, frozen=1, steps=np.eye(3, dtype=int))
    for formatted, change in ((False, damaged_records), (True, damaged_text)):
        chk = calculation.write(folder, formatted=formatted).name
        parts = {one: (folder / one).read_bytes() for one in (chk, "x.eig", "x.mmn", "x.uHu", "x.spn")}
        for kind, needs in ((chk, []), ("x.eig", [chk]), ("x.mmn", [chk]), ("x.uHu", [chk, "x.mmn"]), ("x.spn", [chk])):
            files = {one: parts[one] for one in (*needs, "x.eig", kind)}
            fortran = kind not in ("x.eig", "x.mmn")
            name = kind[2:] + ".fmt" * (formatted and kind != chk)
            if fortran or not formatted:
                readers[name] = Reader(files, (kind,), change if fortran else damaged_text, wannier90(chk))
    return readers


def foreign(folder: Path) -> dict[str, Reader]:
    """Of WannierBerri's folders, of TBmodels, and of NetCDF that others wrote."""
    moments = np.zeros((*w90.HOPPINGS.shape, 3), complex)
    parts = {"iRvec": w90.STEPS, "real_lattice": w90.LATTICE, "periodic": np.ones(3, bool)}
    parts |= {"wannier_centers_cart": w90.CENTRES, "_XX_R_Ham": w90.HOPPINGS, "_XX_R_AA": w90.POSITION}
    parts |= {f"_XX_R_{name}": moments for name in ("BB", "CC", "SS")}
    for name, array in parts.items():
        np.savez(folder / name, array)
    npz = {f"{name}.npz": (folder / f"{name}.npz").read_bytes() for name in parts}
    units = {"frequency": "THz", "rotation": "deg/mm", "rotation_error": "deg/mm"}
    columns = {name: ("point", [0.1, 0.2], {"units": unit}) for name, unit in units.items()}
    data = {"x.nc": bytes(xr.Dataset(columns).to_netcdf(engine="h5netcdf"))}
    berri = Reader(npz, tuple(npz), damaged_npz, lambda path: sound(jk.from_wannierberri(path.parent)))
    found = {"wannierberri": berri, "netcdf": Reader(data, ("x.nc",), damaged_hdf5, sound_data)}
    for name in ("tbmodels", "sparse"):
        file = {"x.hdf5": written(folder / "x.hdf5", sparse=name == "sparse").read_bytes()}
        found[name] = Reader(file, ("x.hdf5",), damaged_hdf5, lambda path: sound(jk.read_tbmodels(path)))
    return found


@pytest.fixture(scope="module")
def readers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("valid")
    return texts() | checkpoints(folder) | foreign(folder)


@pytest.fixture
def reader(readers, name, tmp_path):
    """One reader, with its files in ``tmp_path``, which it reads."""
    found = readers[name]
    for file, content in found.files.items():
        (tmp_path / file).write_bytes(content)
    assert found.accepts(tmp_path, found.damaged[0], found.files[found.damaged[0]])
    return found


SMALL, MANY = 40, 100_000
NAMES = ["hr", "tb", "gz", "bz2", "wsvec", "win", "centres", "atoms", "chk", "chk.fmt", "eig", "mmn", "uHu", "uHu.fmt"]
NAMES += ["spn", "spn.fmt", "wannierberri", "tbmodels", "sparse", "csv", "netcdf", "toml", "fit", "json"]
COUNTS = [(name, SMALL) for name in NAMES]
COUNTS += [pytest.param(name, 5000 if name == "netcdf" else MANY, marks=pytest.mark.slow) for name in NAMES]


@pytest.mark.parametrize(("name", "count"), COUNTS)
def test_damaged_files(reader, tmp_path, name, count):
    """Input ``number`` is the same in every run."""
    refused = slowest = 0
    with jk.memory_limit("256 MiB"):
        for number in range(count):
            file = reader.damaged[number % len(reader.damaged)]
            content = reader.change(reader.files[file], np.random.default_rng(number))
            start = time.process_time()
            try:
                refused += not reader.accepts(tmp_path, file, content)
            except Exception as error:
                raise AssertionError(f"{name}: input {number}") from error
            slowest = max(slowest, time.process_time() - start)
            assert slowest < LONGEST, number
    print(f"{name}: {count} inputs, {refused} refused, the slowest took {slowest:.2g} s")
    assert refused > count / 4


DIGITS = b"9" * 4301
"""More than Python turns into an integer."""
FAULTS = [
    ("hr", "x_hr.dat", b"\n2\n3\n", b"\n" + DIGITS + b"\n3\n", "expected the number of Wannier functions"),
    ("hr", "x_hr.dat", b"\n2 1 2\n", b"\n2 " + DIGITS + b" 2\n", "degeneracy weights must be positive integers"),
    ("hr", "x_hr.dat", b"\n0 0 0 1 1 ", b"\n0 0 0 1 1 " + 20 * DIGITS, "line 9: 9{60} where"),
    ("tb", "x_tb.dat", b"\n-1 0 1\n", b"\n-1 0 1e300\n", "1e300 where R vector should stand"),
    ("tb", "x_tb.dat", b"\n-1 0 1\n", b"\n-1 0 1e19\n", "expected integers"),
    ("tb", "x_tb.dat", b"2.000000000000000E+00", b"2e9", "a lattice vector is far too long"),
    ("wsvec", "x_wsvec.dat", b"\n0 0 0\n", b"\n0 0 0_1\n", "expected 3 integers"),
    ("wsvec", "x_wsvec.dat", b"\n0 0 0\n", b"\n0 0 99999999999999999999999\n", "expected 3 integers"),
    ("win", "x.win", b"mp_grid = 2 1 1", b"mp_grid = 2 0 1", "expected mp_grid = three positive integers"),
    ("win", "x.win", b"mp_grid = 2 1 1", b"mp_grid = 2 1 " + DIGITS, "expected mp_grid = three positive integers"),
    ("win", "x.win", b"2.000000000000000E+00", b"1e300", "block not found or malformed"),
    ("atoms", "x.win", b"2.000000000000000E+00", b"0", "the lattice vectors are linearly dependent"),
    ("centres", "x_centres.xyz", b"\nX ", b"\nX 1e30 ", "is NaN, or far too far away"),
    ("eig", "x.eig", b"    2    1", b"  2.5    1", "line 2: expected integers"),
    ("eig", "x.eig", b"    2    1", b" 1e30    1", "line 2: expected integers"),
    ("mmn", "x.mmn", b"\n3 2 6\n", b"\n3 2 6.5\n", "line 2: expected integers"),
    ("chk.fmt", "x.chk.fmt", b"\n3.0 ", b"\n3.1 ", "lattice and reciprocal lattice vectors do not belong together"),
    ("tb", "x_tb.dat", b"\n1 1 ", "\n１ 1 ".encode(), "'１' is not a number"),
    ("win", "x.win", b"2.000000000000000E+00", b"2_0", "block not found or malformed"),
    ("csv", "x.csv", b"77", b"7_7", "line 2: 'temperature' is not a number"),
    ("csv", "x.csv", b"frequency", DIGITS, "column '9{60}' is unknown"),
    ("toml", "x.toml", b"seed = 0", b"seed = " + DIGITS, "x.toml: Exceeds the limit"),
    ("toml", "x.toml", b"seed = 0", b"seed = " + b"[" * 3000, "x.toml: maximum recursion depth"),
    ("toml", "x.toml", b"seed = 0", DIGITS + b" = 0", "unknown key '9{57}...'"),
    (
        "fit",
        "x.toml",
        b"starts = 2",
        b'method = """a\n' + DIGITS + b'"""',
        r"enum value 'a.n9*\.\.\. in \[fit\].method",
    ),
    ("json", "x.json", b'"versions": {', b'"versions": [[', "holds no configuration"),
    ("json", "x.json", b'"versions": {', b'"versions": ' + b"[" * 9000, "holds no configuration"),
    ("json", "x.json", b'theory = \\"complete', b'theory = \\"complet', "x.json: invalid enum value 'complet'"),
]


@pytest.mark.parametrize(("name", "file", "old", "new", "message"), FAULTS)
def test_faults_that_were_found(reader, tmp_path, name, file, old, new, message):
    content = reader.files[file]
    assert old in content
    (tmp_path / file).write_bytes(content.replace(old, new, 1))
    with pytest.raises(jk.JaxkinError, match=message) as caught:
        reader.read(tmp_path / file)
    assert len(str(caught.value)) < 500 + len(str(tmp_path))


ARRAYS = [
    ("iRvec", np.array([[1, 0, 0], [2, 0, 0], [-1, 0, 0]]), "no home cell"),
    ("iRvec", np.full((3, 3), 1e30), "iRvec=.* must be integers"),
    ("real_lattice", np.ones((3, 3)), "are linearly dependent"),
    ("real_lattice", 1j * np.eye(3), "must be finite numbers"),
    ("wannier_centers_cart", np.array(b"letters"), "must be finite numbers"),
    ("_XX_R_Ham", np.zeros((3, 2, 2, 3)), r"has shape \(3, 2, 2, 3\), not \(3, 2, 2\)"),
    ("_XX_R_AA", np.zeros(()), r"has shape \(\)"),
]


@pytest.mark.parametrize("name", ["wannierberri"])
@pytest.mark.parametrize(("array", "value", "message"), ARRAYS)
def test_arrays_of_wannierberri_that_do_not_fit(reader, tmp_path, name, array, value, message):
    np.savez(tmp_path / f"{array}.npz", value)
    with pytest.raises(jk.FileFormatError, match=message):
        jk.from_wannierberri(tmp_path)


DATASETS = [
    ("tbmodels", "size", 3, "`size` is not the 2"),
    ("tbmodels", "pos", np.full((2, 2), 1j), "pos=.* must be finite numbers"),
    ("tbmodels", "hop/4/R", [0, 0], r"R = \(0, 0\) for the second time"),
    ("tbmodels", "hop/4/R", [1e300, 0], "R=.* must be finite numbers"),
    ("tbmodels", "hop/4/mat", np.zeros((2, 3)), r"`mat` has shape \(2, 3\), not \(2, 2\)"),
    ("sparse", "hop/4/indptr", [0, 10**12, 0], "`indices` and `indptr` of a matrix do not fit"),
    ("sparse", "hop/4/shape", [10**9, 10**9], r"the shape of a matrix is not \(2, 2\)"),
]


@pytest.mark.parametrize(("name", "dataset", "value", "message"), DATASETS)
def test_datasets_of_tbmodels_that_do_not_fit(reader, tmp_path, name, dataset, value, message):
    with h5py.File(tmp_path / "x.hdf5", "r+") as file:
        del file[dataset]
        file[dataset] = value
    with pytest.raises(jk.FileFormatError, match=message):
        jk.read_tbmodels(tmp_path / "x.hdf5")


def test_what_is_larger_than_the_memory_budget_is_not_unpacked(tmp_path, readers):
    for file, content in readers["wannierberri"].files.items():
        (tmp_path / file).write_bytes(content)
    np.savez_compressed(tmp_path / "_XX_R_SS.npz", np.zeros(2**24))
    with h5py.File(written(tmp_path / "x.hdf5"), "r+") as file:
        del file["hop/4/mat"]
        file.create_dataset("hop/4/mat", (2**20, 2**20), float)
    with jk.memory_limit("64 MiB"):
        with pytest.raises(jk.JaxkinError, match=r"SS.npz: what is in it need .* memory budget"):
            jk.from_wannierberri(tmp_path)
        with pytest.raises(jk.JaxkinError, match=r"x.hdf5: .*`mat` need .* memory budget"):
            jk.read_tbmodels(tmp_path / "x.hdf5")
