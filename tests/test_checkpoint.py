"""Models of whole Wannier90 calculations: one whose answer is known, tellurium, iron; and WannierBerri's folders."""

import bz2
import gzip
import re
import shutil

import equinox as eqx
import numpy as np
import pytest
from scipy import constants as si
from wannierised import Calculation, crystal

import jaxkin as jk
from jaxkin import units
from jaxkin.cli.config import ModelConfig, load
from jaxkin.cli.defaults import completed
from jaxkin.cli.terms import terms
from jaxkin.errors import ConfigError, FileFormatError, JaxkinError
from jaxkin.geometry import ELECTRON_G
from jaxkin.surface.contour import Points
from jaxkin.surface.filled_moments import FilledMoments
from jaxkin.surface.sea import _Flux
from jaxkin.surface.shifted import shifted_lattices
from jaxkin.surface.thermal import Thermal
from jaxkin.surface.zone import Goal

K = np.random.default_rng(0).random((4, 3))


@pytest.fixture(scope="module")
def calculation():
    return Calculation(crystal(), (3, 3, 2), bands=4, frozen=1)


@pytest.fixture(scope="module")
def files(calculation, tmp_path_factory):
    return calculation.write(tmp_path_factory.mktemp("unformatted"))


@pytest.fixture(scope="module")
def model(files):
    return jk.read_wannier90(files)


def operators(model):
    names = ("hoppings", "position_matrices", "spin", "hr_matrices", "rhr_matrices")
    return {name: np.asarray(getattr(model, name)) for name in names}


def test_formatted_unformatted_and_packed_files_are_the_same(calculation, files, model, tmp_path):
    formatted = jk.read_wannier90(calculation.write(tmp_path, formatted=True))
    for name, matrices in operators(model).items():
        np.testing.assert_allclose(getattr(formatted, name), matrices, atol=1e-13, err_msg=name)
    for kind, pack in (("chk", gzip), ("eig", bz2), ("mmn", gzip), ("uHu", bz2), ("spn", gzip)):
        ending = "gz" if pack is gzip else "bz2"
        (tmp_path / f"p.{kind}.{ending}").write_bytes(pack.compress((files.parent / f"x.{kind}").read_bytes()))
    packed = jk.read_wannier90(tmp_path / "p.chk.gz")
    for name, matrices in operators(model).items():
        np.testing.assert_array_equal(getattr(packed, name), matrices, err_msg=name)


def test_on_the_mesh_bands_and_spin_are_those_of_the_calculation(calculation, model):
    for number in (0, 5, 11):
        k, v = calculation.k[number], calculation.wannier[number]
        h = v.conj().T @ np.diag(calculation.energies[number]) @ v
        np.testing.assert_allclose(model.bands(k), np.linalg.eigvalsh(h), atol=1e-12)
        u = calculation.states[number] @ v
        sigma = u.conj().T @ np.kron(np.eye(2), [[1, 0], [0, -1]]) @ u
        np.testing.assert_allclose(np.linalg.eigvalsh(model.pauli(k)[2]), np.linalg.eigvalsh(sigma), atol=1e-12)


def test_the_moment_of_a_band_tends_to_that_of_the_whole_crystal(tmp_path):
    """One band in the frozen window of two Wannier functions of four bands: errors of finite differences, ∝ b²."""
    exact = jk.band_geometry(crystal(), K, 0)
    errors = []
    for mesh in (4, 8):
        (tmp_path / str(mesh)).mkdir()
        found = jk.read_wannier90(Calculation(crystal(), (mesh,) * 3, 4, frozen=1).write(tmp_path / str(mesh)))
        plain = eqx.tree_at(lambda m: (m.hr_matrices, m.rhr_matrices), found, (None, None))
        row = []
        for model in (found, plain):
            band = jk.band_geometry(model, K, 0)
            moment = band.orbital_moment - band.spin_moment
            for value, right in ((band.berry_curvature, exact.berry_curvature), (moment, exact.orbital_moment)):
                row.append(float(np.abs(value - right).max() / np.abs(right).max()))
        errors.append(row)
    (curvature, moment, _, _), (finer_curvature, finer_moment, _, incomplete) = errors
    assert finer_curvature < 0.04 and finer_moment < 0.12, errors  # 0.026 and 0.083
    assert finer_curvature < curvature / 3 and finer_moment < moment / 3, errors
    assert incomplete > 2 * finer_moment, errors  # 0.21 without ⟨Hr⟩ and ⟨rHr⟩, at which mesh ever


def test_midpoints_do_not_know_in_which_cell_a_function_is_counted(tmp_path):
    moments = {}
    for cell in ((0, 0, 0), (1, 0, -1)):
        (tmp_path / str(cell)).mkdir()
        path = Calculation(crystal(), (3, 3, 3), cell=cell).write(tmp_path / str(cell))
        for equivariant in (True, False):
            model = jk.read_wannier90(path, equivariant=equivariant)
            moments[cell, equivariant] = np.asarray(jk.band_geometry(model, K, 0).orbital_moment)
    size = np.abs(moments[(0, 0, 0), True]).max()
    difference = {one: np.abs(moments[(0, 0, 0), one] - moments[(1, 0, -1), one]).max() / size for one in (True, False)}
    assert difference[True] < 1e-9 < 1e-2 < difference[False]


def test_what_is_not_there_is_left_out_or_named(files, tmp_path):
    for name in ("x.chk", "x.uHu", "x.spn"):
        shutil.copy(files.parent / name, tmp_path)
    with pytest.raises(FileFormatError, match=r"the energies are missing: put the calculation's \.eig next to it"):
        jk.read_wannier90(tmp_path / "x.chk")
    shutil.copy(files.parent / "x.eig", tmp_path)
    with pytest.raises(FileFormatError, match="of no use without the overlaps"):
        jk.read_wannier90(tmp_path / "x.chk")
    alone = jk.read_wannier90(tmp_path / "x.chk", position_matrices=False)
    assert alone.position_matrices is None and alone.hr_matrices is None and alone.spin is not None
    (tmp_path / "x.uHu").unlink()
    shutil.copy(files.parent / "x.mmn", tmp_path)
    assert jk.read_wannier90(tmp_path / "x.chk").hr_matrices is None
    with pytest.raises(FileFormatError, match="a checkpoint holds lattice and positions"):
        jk.read_wannier90(tmp_path / "x.chk", lattice=np.eye(3))


def test_replicas_are_made_unless_the_input_says_no(files, tmp_path):
    for name in ("x.chk", "x.eig"):
        shutil.copy(files.parent / name, tmp_path)
    default, with_, without = (
        jk.read_wannier90(tmp_path / "x.chk", minimal_distance=choice) for choice in (None, True, False)
    )
    (tmp_path / "x.win").write_text("use_ws_distance = .false.\nnum_wann = 2\n")
    said = jk.read_wannier90(tmp_path / "x.chk")
    np.testing.assert_array_equal(default.hoppings, with_.hoppings)
    np.testing.assert_array_equal(said.hoppings, without.hoppings)
    assert np.abs(with_.bands(K) - without.bands(K)).max() > 1e-3


def test_replicas_are_an_independent_sum_over_images(files):
    """Each H_ij(R) on the mesh's cell goes to the nearest of its images, in equal parts."""
    from itertools import product

    model = jk.read_wannier90(files, position_matrices=False)
    plain = jk.read_wannier90(files, position_matrices=False, minimal_distance=False)
    lattice, mesh, tau = np.asarray(model.lattice), (3, 3, 2), np.asarray(model.positions)
    sums = {}  # plain H_ij(R) folded onto the mesh
    for step, h in zip(np.asarray(plain.translations, int), np.asarray(plain.hoppings), strict=True):
        key = tuple(step % mesh)
        sums[key] = sums.get(key, 0) + h
    images = np.array(list(product(range(-2, 3), repeat=3))) * mesh
    for k in K[:2]:
        h = np.zeros((2, 2), complex)
        for cell, matrix in sums.items():
            for i, j in product(range(2), repeat=2):
                r = np.array(cell) + images
                lengths = np.linalg.norm((r + tau[j] - tau[i]) @ lattice, axis=1)
                nearest = r[lengths < lengths.min() + 1e-3]
                h[i, j] += matrix[i, j] * np.exp(2j * np.pi * nearest @ k).mean()
        np.testing.assert_allclose(model.bands(k), np.linalg.eigvalsh(h), atol=1e-12)


@pytest.mark.parametrize("kind", ["chk", "eig", "mmn", "uHu", "spn"])
def test_damaged_files_are_refused_in_a_line(kind, files, tmp_path):
    """Cut, or with bytes changed: one line that names the file, or a model with finite numbers."""
    for file in files.parent.iterdir():
        shutil.copy(file, tmp_path)
    path, whole = tmp_path / f"x.{kind}", (files.parent / f"x.{kind}").read_bytes()
    rng, refused, tries = np.random.default_rng(7), 0, 60
    for number in range(tries):
        data = bytearray(whole)
        if number % 3 == 0:
            data = data[: int(rng.integers(0, len(data)))]
        else:
            for place in rng.integers(0, min(len(data), 400 if number % 3 == 1 else len(data)), size=3):
                data[place] = int(rng.integers(256))
        path.write_bytes(bytes(data))
        try:
            model = jk.read_wannier90(tmp_path / "x.chk")
            assert np.all(np.isfinite(model.hoppings))
        except JaxkinError as error:
            refused += 1
            assert "\n" not in str(error) and len(str(error)) < 400
    assert refused > tries // 3


def test_files_of_another_calculation_are_refused(files, calculation, tmp_path):
    other = Calculation(crystal(), (2, 2, 2), bands=3, functions=2, frozen=1).write(tmp_path)
    for kind, what in (("eig", "content after the end"), ("mmn", "bands at"), ("spn", "of .*x.chk they are")):
        kept = (tmp_path / f"x.{kind}").read_bytes()
        shutil.copy(files.parent / f"x.{kind}", tmp_path)
        with pytest.raises(FileFormatError, match=rf"x\.{kind}.*{what}"):
            jk.read_wannier90(other)
        (tmp_path / f"x.{kind}").write_bytes(kept)


def test_info_says_which_terms_are_in_and_how_large_they_are(files, model, tmp_path):
    lines = dict(terms(ModelConfig(file=str(files)), model))
    assert lines["spin"] == "in"
    share = float(re.fullmatch("in: (.*) of the Berry curvature", lines["⟨r⟩ between functions"])[1])
    k = np.random.default_rng(0).random((16, 3))
    plain = eqx.tree_at(lambda m: (m.position_matrices, m.hr_matrices, m.rhr_matrices), model, (None,) * 3)
    whole, inner = ([jk.band_geometry(m, k, b).berry_curvature for b in (0, 1)] for m in (model, plain))
    assert share == pytest.approx(np.linalg.norm(np.subtract(whole, inner)) / np.linalg.norm(np.array(whole)), rel=0.06)
    for name in ("x.chk", "x.eig", "x.mmn"):
        shutil.copy(files.parent / name, tmp_path)
    poorer = jk.read_wannier90(tmp_path / "x.chk")
    lines = dict(terms(ModelConfig(file=str(tmp_path / "x.chk")), poorer))
    assert re.fullmatch(
        r"not in the files \(.mmn and .uHu\): the moment lacks what they add, of the order of .* μ_B",
        lines["⟨Hr⟩ and ⟨rHr⟩"],
    )


def test_a_configuration_knows_all_files_of_a_calculation(files, tmp_path):
    for file in files.parent.iterdir():
        shutil.copy(file, tmp_path)
    settings = ["fermi_level=0", "tau=1", "tau_skew=10", "side_jump=1", f"file={tmp_path / 'x.chk'}"]
    first = completed(load(None, settings))
    with (tmp_path / "x.spn").open("r+b") as file:
        file.seek(200)
        file.write(b"\x01")
    with pytest.raises(ConfigError, match="is not the file of"):
        completed(load(None, [*settings, f"sha256={first.model.sha256}"]))


# --- files of real programs ------------------------------------------------------------------
def test_centres_of_tellurium_and_iron_are_those_that_wannier90_wrote(shared_data, iron):
    """−Σ w b Im ln S_nn of the overlaps: the order of bands, neighbours, windows, and every phase."""
    for path in (shared_data / "w90_te" / "Te.chk.fmt.bz2", iron / "Fe.chk.gz"):
        found = jk.read_wannier90(path, equivariant=True)
        assert np.all(np.isfinite(found.hoppings))
        home = int(np.flatnonzero(~np.asarray(found.translations).any(axis=1))[0])
        own = np.diagonal(np.asarray(found.position_matrices)[home])
        assert np.abs(own).max() < 0.02  # Å, what finite differences differ by from logarithms


def test_iron_has_its_spin(iron):
    """Exchange-split bands along z: ⟨σ_z⟩ near ±1, and no moment across on a high-symmetry line."""
    model = jk.read_wannier90(iron / "Fe.chk.gz")
    assert model.size == 18 and model.spin.ndim == 4
    bands = [jk.band_geometry(model, [0.0, 0.0, 0.0], band) for band in range(6)]
    spin = np.array([-2 * b.spin_moment / ELECTRON_G for b in bands])
    assert np.abs(np.abs(spin[:, 2]) - 1).max() < 0.02
    assert np.abs(spin[:, :2]).max() < 0.05


def complete_moment(lattice, steps, tau, h, r, b, c, k):
    """The same by sums over states, in the gauge without centres in the phases, curl by finite differences; eV Å²."""
    cells = steps @ lattice
    a, b = r, b + h[..., None] * tau[None, None]

    def sums(matrices, q):
        return np.tensordot(np.exp(1j * cells @ q), matrices, axes=1)

    q = k @ (2 * np.pi * np.linalg.inv(lattice).T)
    e, u = np.linalg.eigh(sums(h, q))
    slopes = [u.conj().T @ sums(1j * cells[:, x, None, None] * h, q) @ u for x in range(3)]
    rotated = [[u.conj().T @ sums(one[..., x], q) @ u for x in range(3)] for one in (a, b)]
    position, weighed = rotated
    curl = [
        sum(
            s * (u.conj().T @ sums(1j * cells[:, x, None, None] * a[..., y], q) @ u)
            for s, x, y in ((1, (z + 1) % 3, (z + 2) % 3), (-1, (z + 2) % 3, (z + 1) % 3))
        )
        for z in range(3)
    ]
    # i(C_ab − C_ba) about the centres, brought to the origin
    about = [None] * 3
    for z in range(3):
        x, y = (z + 1) % 3, (z + 2) % 3
        back = {s: np.stack([b[..., s][i].conj().T for i in range(len(steps))]) for s in (x, y)}
        place = {tuple(step): i for i, step in enumerate(steps.tolist())}
        mirror = np.array([place[tuple(step)] for step in (-steps).tolist()])
        left = {s: back[s][mirror] for s in (x, y)}  # ⟨0m|r H|Rn⟩
        t = tau
        delta = -1j * c[..., z]
        delta = delta + t[:, None, x] * b[..., y] - t[:, None, y] * b[..., x]
        delta = delta + left[x] * t[None, :, y] - left[y] * t[None, :, x]
        delta = delta - h * (t[:, None, x] * t[None, :, y] - t[:, None, y] * t[None, :, x])
        about[z] = u.conj().T @ sums(delta, q) @ u  # C_ab − C_ba
    n = len(e)
    result = np.zeros((n, 3))
    sets = np.cumsum(np.diff(e, prepend=e[0]) >= 1e-3)
    for z in range(3):
        x, y = (z + 1) % 3, (z + 2) % 3
        for s in range(n):
            out = sets != sets[s]
            gap = np.where(out, e[s] - e, 1.0)
            d = {w: np.where(out, slopes[w][:, s] / gap, 0) - 1j * np.where(out, position[w][:, s], 0) for w in (x, y)}
            total = np.imag(np.sum(d[x].conj() * (e - e[s]) * d[y]))  # ⟨D_x u|(h − ε)|D_y u⟩ inside
            outer = {w: weighed[w][:, s] - e * position[w][:, s] for w in (x, y)}
            total += np.real(np.sum(d[y].conj() * outer[x]) - np.sum(d[x].conj() * outer[y]))
            inside = (
                about[z][s, s]
                - np.sum(position[x][s] * weighed[y][:, s] - position[y][s] * weighed[x][:, s])
                - np.sum(weighed[x][:, s].conj() * position[y][:, s] - weighed[y][:, s].conj() * position[x][:, s])
                + np.sum(position[x][s] * e * position[y][:, s] - position[y][s] * e * position[x][:, s])
            )
            total += np.real(inside / 2j)
            curvature = curl[z][s, s] - 1j * np.sum(
                position[x][s] * position[y][:, s] - position[y][s] * position[x][:, s]
            )
            result[s, z] = total + 0.5 * e[s] * np.real(curvature)
    return np.stack([result[sets == sets[s]].mean(axis=0) for s in range(n)])


def test_a_folder_of_wannierberri_has_its_complete_moment_and_spin(shared_data):
    folder = shared_data / "wb_te_qe"
    model = jk.from_wannierberri(folder)

    def load(name):
        return np.load(folder / f"{name}.npz")["arr_0"]

    h, a, b, c, s = (np.moveaxis(load(f"_XX_R_{name}"), 2, 0) for name in ("Ham", "AA", "BB", "CC", "SS"))
    lattice, steps, tau = load("real_lattice"), load("iRvec"), load("wannier_centers_cart")
    home = int(np.flatnonzero(~steps.any(axis=1))[0])
    a = a.copy()
    a[home, np.arange(24), np.arange(24)] += tau
    for k in ([0.13, 0.27, 0.41], [0.31, 0.05, 0.47]):
        bands = [jk.band_geometry(model, k, band) for band in range(24)]
        found = np.array([band.orbital_moment - band.spin_moment for band in bands])
        expected = units.MAGNETON_PER_EV_A2 * complete_moment(lattice, steps, tau, h, a, b, c, np.array(k))
        np.testing.assert_allclose(found, expected, atol=1e-10)
        assert np.abs(expected).max() > 0.5
        _, u = np.linalg.eigh(np.tensordot(np.exp(2j * np.pi * steps @ k), h, axes=1))
        sigma = np.tensordot(np.exp(2j * np.pi * steps @ k), s, axes=1)
        spin = -0.5 * ELECTRON_G * np.real(np.einsum("mb,mna,nb->ba", u.conj(), sigma, u))
        spin = spin.reshape(12, 2, 3).mean(axis=1).repeat(2, axis=0)  # twofold bands
        np.testing.assert_allclose([band.spin_moment for band in bands], spin, atol=1e-10)


def test_wannierberri_folders_that_are_none(tmp_path, shared_data):
    with pytest.raises(FileFormatError, match="no such folder"):
        jk.from_wannierberri(tmp_path / "nothing")
    for file in (shared_data / "wb_te_qe").iterdir():
        shutil.copy(file, tmp_path)
    (tmp_path / "iRvec.npz").chmod(0o644)
    (tmp_path / "iRvec.npz").write_bytes(b"PK\x03\x04 damaged")
    with pytest.raises(FileFormatError, match=re.escape("iRvec.npz: could not be read")):
        jk.from_wannierberri(tmp_path)
    (tmp_path / "iRvec.npz").unlink()
    with pytest.raises(FileFormatError, match=re.escape("iRvec.npz: missing in this WannierBerri system")):
        jk.from_wannierberri(tmp_path)


@pytest.mark.slow  # 3 minutes: 2e5 H(k) of 18 orbitals
def test_intrinsic_hall_conductivity_of_iron(iron):
    """Near the 757 S/cm of other meshes in size; lattices a tenth as large agree within their errors, for all seeds."""
    model = jk.read_wannier90(iron / "Fe.chk.gz")
    level = 17.717  # eight of eighteen bands filled, of 24³ k
    flux = Points(model, _Flux(model, Thermal(level, 0.0)))
    to_s_per_cm = si.elementary_charge**2 / si.hbar / si.angstrom / 100
    fine = shifted_lattices(flux, 3, Goal(1e-9, 200_000))
    value, error = to_s_per_cm * fine.values[0], to_s_per_cm * fine.error[0]
    assert 600 < np.linalg.norm(value) < 900 and error < 60
    pulls = []
    for seed in range(1, 9):
        coarse = shifted_lattices(flux, 3, Goal(1e-9, 5_000), seed=seed)
        pulls.append((coarse.values[0] - fine.values[0]) / np.hypot(coarse.error[0], fine.error[0]))
    assert np.abs(pulls).max() < 4 and np.sqrt(np.mean(np.square(pulls))) < 1.3


@pytest.mark.slow  # half a minute: 1e4 H(k) of 18 orbitals
def test_magnetization_of_iron(iron):
    """Pulls of 1,728 points for 6 seeds against 1e6 k, orbital and spin; without the search for a surface."""
    model = jk.read_wannier90(iron / "Fe.chk.gz")
    integrand = Points(model, FilledMoments(model, Thermal(17.717, 0.0)))
    known, volume, pulls = np.array([IRON_ORBITAL, IRON_SPIN]), float(model.cell_volume), []
    for seed in range(1, 7):
        coarse = shifted_lattices(integrand, 3, Goal(1e-9, 1_728), seed=seed)
        pulls.append((volume * coarse.values - known) / (volume * coarse.error[:, None]))
        assert volume * coarse.error[0] < 0.01 and volume * coarse.error[1] < 0.05
    assert np.abs(pulls).max() < 4 and np.sqrt(np.mean(np.square(pulls))) < 1.3


IRON_ORBITAL, IRON_SPIN = (-0.0223, 0.0087, 0.0341), (0.0075, -0.0044, 2.3874)
"""μ_B per cell, of a lattice of 100³ k: each ± 1e-4."""
