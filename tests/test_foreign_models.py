"""Models of other programs: the same bands and geometry as the built-in ones, and as the same file read here."""

import gzip
import shutil
from types import SimpleNamespace

import h5py
import numpy as np
import pytest

import jaxkin as jk
from jaxkin.errors import FileFormatError, ModelError

K = np.random.default_rng(1).uniform(-0.5, 0.5, (7, 3))
TOLERANCE = 1e-12  # eV; worst 2e-14
PAULI = jk.models.pauli.SPIN
HONEYCOMB = ([[1.0, 0.0], [0.5, np.sqrt(3) / 2]], [[0.0, 0.0], [1 / 3, 1 / 3]])
STEPS = ([0, 0], [-1, 0], [0, -1])
CIRCLE = ([1, 0], [-1, 1], [0, -1])


@pytest.fixture(scope="module")
def pythtb():
    return pytest.importorskip("pythtb", exc_type=ImportError)


def made(pythtb, lattice, orbitals, spins=1, periodic=None):
    """The same model in PythTB 1.8 and 2."""
    if not hasattr(pythtb, "TBModel"):
        per = list(range(len(lattice))) if periodic is None else periodic
        return pythtb.tb_model(len(per), len(lattice), lat=lattice, orb=orbitals, per=per, nspin=spins)
    there = ... if periodic is None else periodic
    return pythtb.TBModel(pythtb.Lattice(lattice, orbitals, periodic_dirs=there), spinful=spins == 2)


def haldane_of(pythtb, hopping=-1.0, second=0.15, flux=np.pi / 2, mass=0.2):
    model = made(pythtb, *HONEYCOMB)
    model.set_onsite([mass, -mass])
    for step in STEPS:
        model.set_hop(hopping, 0, 1, step)
    for step in CIRCLE:
        model.set_hop(second * np.exp(1j * flux), 0, 0, step)
        model.set_hop(second * np.exp(-1j * flux), 1, 1, step)
    return model


def test_haldane_model_of_pythtb_is_the_built_in_one(pythtb):
    ours, theirs = jk.models.get("haldane"), jk.from_pythtb(haldane_of(pythtb))
    np.testing.assert_allclose(theirs.bands(K[:, :2]), ours.bands(K[:, :2]), atol=TOLERANCE)
    one, other = (jk.band_geometry(model, K[:, :2], np.zeros(7, int)) for model in (ours, theirs))
    np.testing.assert_allclose(one.berry_curvature, other.berry_curvature, atol=1e-10)
    np.testing.assert_allclose(one.orbital_moment, other.orbital_moment, atol=1e-10)


def test_ssh_chain_of_pythtb(pythtb):
    v, w = 0.7, 1.1
    chain = made(pythtb, [[2.0]], [[0.0], [0.5]])
    chain.set_hop(v, 0, 1, [0])
    chain.set_hop(w, 1, 0, [1])
    k = np.linspace(-0.5, 0.5, 9)[:, None]
    size = np.abs(v + w * np.exp(-2j * np.pi * k[:, 0]))
    np.testing.assert_allclose(jk.from_pythtb(chain).bands(k), np.stack([-size, size], axis=1), atol=TOLERANCE)


def test_kane_mele_model_of_pythtb_with_spin(pythtb):
    """Two Haldane models with flux ±π/2, one for each spin; Rashba's term mixes them as PythTB's own bands say."""
    soc = 0.15
    model = made(pythtb, *HONEYCOMB, spins=2)
    model.set_onsite([0.2, -0.2])
    for step in STEPS:
        model.set_hop(-1.0, 0, 1, step)
    for step in CIRCLE:
        model.set_hop(1j * soc * PAULI[2], 0, 0, step)
        model.set_hop(-1j * soc * PAULI[2], 1, 1, step)
    found = jk.from_pythtb(model)
    spins = [jk.models.get("haldane", flux=flux).bands(K[:, :2]) for flux in (np.pi / 2, -np.pi / 2)]
    np.testing.assert_allclose(found.bands(K[:, :2]), np.sort(np.concatenate(spins, axis=1), axis=1), atol=TOLERANCE)
    h = np.asarray(found.hamiltonian(K[0, :2]))
    np.testing.assert_allclose(h @ found.spin[2], found.spin[2] @ h, atol=TOLERANCE)
    np.testing.assert_allclose(found.spin[0] @ found.spin[1], 1j * found.spin[2], atol=1e-14)
    for step, way in zip(STEPS, ((0.5, -np.sqrt(3) / 2), (-1.0, 0.0), (0.5, np.sqrt(3) / 2)), strict=True):
        model.set_hop(0.1j * (way[0] * PAULI[0] + way[1] * PAULI[1]), 0, 1, step, mode="add")
    theirs = model.solve_ham(K[:, :2]) if hasattr(model, "solve_ham") else model.solve_all(K[:, :2]).T
    np.testing.assert_allclose(jk.from_pythtb(model).bands(K[:, :2]), theirs, atol=1e-10)


def test_a_buckled_chain_of_pythtb_keeps_its_positions_across(pythtb):
    """One periodic direction of two, the second one: ⟨r⟩ across it is whole in the position operator."""
    chain = made(pythtb, [[1.0, 0.0], [0.0, 2.0]], [[0.0, 0.0], [0.3, 0.5]], periodic=[1])
    chain.set_hop(-1.0, 0, 1, [0, 0])
    chain.set_hop(-0.5, 0, 1, [0, -1])
    model = jk.from_pythtb(chain)
    assert model.dimension == 1
    np.testing.assert_allclose(model.bands([[0.0], [0.5]]), [[-1.5, 1.5], [-0.5, 0.5]], atol=TOLERANCE)
    r = np.asarray(model.position(np.array([0.2])))
    np.testing.assert_allclose(np.diagonal(r, axis1=1, axis2=2), [[0.0, 0.3], [0.0, 0.0], [0.0, 0.0]], atol=1e-14)


def test_what_is_no_model_of_pythtb_is_refused_in_a_line():
    with pytest.raises(ModelError, match=r"model=dict must be a PythTB model, pythtb.tb_model or pythtb.TBModel"):
        jk.from_pythtb({})
    cluster = SimpleNamespace(_hoppings=[], _site_energies=[0.0], _dim_r=2, _dim_k=0, _nspin=1)
    cluster._lat, cluster._orb, cluster._per = np.eye(2), np.zeros((1, 2)), []
    with pytest.raises(ModelError, match="has 0 periodic directions in 2 dimensions"):
        jk.from_pythtb(cluster)


def version_2(**changed):
    """The part of a PythTB 2 model that is read, for machines with version 1.8: a chain with one hop."""
    parts = {
        "lattice": None, "onsite": np.array([0.5]), "dim_r": 1, "dim_k": 1, "nspin": 1, "lat_vecs": np.array([[2.0]]),
        "orb_vecs": np.zeros((1, 1)), "periodic_dirs": [0], "parameters": [],
        "hoppings": [{"amplitude": -1.0, "from_orbital": 0, "to_orbital": 0, "lattice_vector": [1]}],
    }  # fmt: skip
    return SimpleNamespace(**(parts | changed))


def test_objects_of_pythtb_2():
    np.testing.assert_allclose(jk.from_pythtb(version_2()).bands([[0.0], [0.5]]), [[-1.5], [2.5]], atol=TOLERANCE)
    open_ = [{"kind": "onsite", "names": ["delta", "m"]}, {"kind": "hopping", "names": ["delta"]}]
    with pytest.raises(ModelError, match="parameters without a value, delta, m: set_parameters first"):
        jk.from_pythtb(version_2(parameters=open_))


class Stored:
    """What is read of a WannierBerri system, of the files that it keeps one in, matrices (m, n, R, ...)."""

    def __init__(self, folder):
        def load(name):
            return np.load(folder / f"{name}.npz", allow_pickle=True)["arr_0"]

        self.real_lattice, self.periodic = load("real_lattice"), load("periodic")
        self.wannier_centers_cart, self.rvec = load("wannier_centers_cart"), SimpleNamespace(iRvec=load("iRvec"))
        self.matrices = {name: np.moveaxis(load(f"_XX_R_{name}"), 2, 0) for name in ("Ham", "AA", "SS")}

    def has_R_mat(self, name):
        return name in self.matrices

    def get_R_mat(self, name):
        return self.matrices[name]


def test_a_stored_system_of_wannierberri_has_the_bands_of_the_file_it_was_made_of(shared_data):
    system = Stored(shared_data / "wb_te_qe")
    model = jk.from_wannierberri(system)
    file = jk.read_wannier90(shared_data / "te_qe_tb.dat.gz")
    np.testing.assert_allclose(model.bands(K), file.bands(K), atol=TOLERANCE)
    assert np.abs(np.linalg.eigvalsh(model.pauli(K[0])[2])).max() == pytest.approx(1.0, abs=1e-5)
    saved = jk.from_wannierberri(shared_data / "wb_te_qe")
    np.testing.assert_array_equal(saved.spin, model.spin)
    assert model.position_matrices is not None
    assert jk.from_wannierberri(system, position_matrices=False).position_matrices is None


def test_wannierberri_reads_the_same_model_of_a_file(shared_data, tmp_path):
    """The same centres, bands, curvatures and moments, off-diagonal ⟨r⟩ included."""
    pytest.importorskip("wannierberri", exc_type=ImportError)
    from wannierberri import System_R

    plain = tmp_path / "te_tb.dat"
    with gzip.open(shared_data / "te_sparse_tb.dat.gz") as packed, plain.open("wb") as file:
        shutil.copyfileobj(packed, file)
    theirs = jk.from_wannierberri(System_R.from_tb_file(str(plain), berry=True))
    ours = jk.read_wannier90(plain, position_matrices=True)
    np.testing.assert_allclose(theirs.bands(K), ours.bands(K), atol=TOLERANCE)
    np.testing.assert_allclose(theirs.centres, ours.centres, atol=1e-10)
    one, other = (jk.band_geometry(model, K, np.full(7, 17)) for model in (ours, theirs))
    np.testing.assert_allclose(one.berry_curvature, other.berry_curvature, rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(one.orbital_moment, other.orbital_moment, rtol=1e-8, atol=1e-8)


def written(path, *, sparse=False, **left_out):
    """A file as TBmodels 1.4 writes it, of Haldane's model: half of H(R), the home cell halved."""
    model = jk.models.get("haldane")
    steps = np.asarray(model.translations).astype(int)
    with h5py.File(path, "w") as file:
        parts = {"uc": np.asarray(model.lattice)[:, :2], "pos": np.asarray(model.positions), "size": 2, "dim": 2}
        for name, value in (parts | {"occ": 1, "sparse": sparse, "type_tag": "tbmodels.model"}).items():
            if name not in left_out:
                file[name] = value
        for number, (step, matrix) in enumerate(zip(steps, np.asarray(model.hoppings), strict=True)):
            if tuple(step) < (0, 0):
                continue
            group = file.create_group(f"hop/{number}")
            group["R"], half = step, matrix * (1.0 if step.any() else 0.5)
            if sparse:
                i, j = np.nonzero(half)
                group["data"], group["indices"], group["shape"] = half[i, j], j, half.shape
                group["indptr"] = np.concatenate([[0], np.cumsum(np.bincount(i, minlength=2))])
            else:
                group["mat"] = half
    return path


@pytest.mark.parametrize("sparse", [False, True])
def test_files_of_tbmodels(tmp_path, sparse):
    model = jk.read_tbmodels(written(tmp_path / "haldane.hdf5", sparse=sparse))
    np.testing.assert_allclose(model.bands(K[:, :2]), jk.models.get("haldane").bands(K[:, :2]), atol=TOLERANCE)
    np.testing.assert_allclose(model.positions, jk.models.get("haldane").positions, atol=1e-15)


def test_tbmodels_itself_writes_what_is_read(tmp_path):
    tbmodels = pytest.importorskip("tbmodels", exc_type=ImportError)
    hop = {(0, 0, 0): np.diag([0.5, 1.0]), (1, 0, 0): np.array([[0.1, 0.2j], [0.3, 0.4]])}
    theirs = tbmodels.Model(hop=hop, uc=2 * np.eye(3), pos=[[0, 0, 0], [0.5, 0, 0]], occ=1, contains_cc=False)
    theirs.to_hdf5_file(str(tmp_path / "model.hdf5"))
    found = jk.read_tbmodels(tmp_path / "model.hdf5").bands(K)
    np.testing.assert_allclose(found, [theirs.eigenval(k) for k in K], atol=TOLERANCE)


def test_files_that_are_none_of_tbmodels_are_refused_in_a_line(tmp_path):
    (tmp_path / "text.hdf5").write_text("no")
    with pytest.raises(FileFormatError, match=r"text.hdf5: could not be read \("):
        jk.read_tbmodels(tmp_path / "text.hdf5")
    with pytest.raises(FileFormatError, match="the model has no unit cell; give its `uc`"):
        jk.read_tbmodels(written(tmp_path / "no_cell.hdf5", uc=None))
    with pytest.raises(FileFormatError, match="no file of TBmodels: `hop` and `pos` are not in it"):
        jk.read_tbmodels(written(tmp_path / "other.hdf5", pos=None))
    path = written(tmp_path / "nan.hdf5")
    with h5py.File(path, "r+") as file:
        file["pos"][0, 0] = np.nan
    with pytest.raises(FileFormatError, match=r"pos=.* must be finite numbers"):
        jk.read_tbmodels(path)
