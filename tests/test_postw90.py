"""What postw90 printed for tellurium, on its own 125 points from the same .chk, .eig, .mmn and .uHu.

Conventions of that code (gyrotropic module): positions about the origin (``equivariant=False``); k = centre − ½ box +
box i/n; a Gaussian of 0.1 eV, cut at five of it, for −∂f/∂ε; bands with a neighbour closer than 1 meV are left out of
D, D̃ and K; frequencies are ω + 0.1i eV and real parts are taken. Its columns of the NOA tensor are yzx, zxy, xyz, yzy,
yzz, zxz, xyy, xyx (printed as yzz again) and zxx. The moment of a band holds r_nn × Im B_nn besides, which depends on
the origin, and vanishes where the Wannier functions' space holds the band whole.
"""

import numpy as np
import pytest
from scipy import constants

import jaxkin as jk
from jaxkin import units

DIGITS = 2.5e-5
"""Of the largest component; worst 2.4e-5, of D at μ = 8 eV (zz is 1e-4 of the largest there), else 1.6e-5: bands near
each other amplify the last of the 12 digits of .mmn and .eig."""
WIDTH, APART, SMEARED = 0.1, 1e-3, 5.0


@pytest.fixture(scope="module")
def folder(shared_data):
    return shared_data / "w90_te"


@pytest.fixture(scope="module")
def tellurium(folder):
    return jk.read_wannier90(folder / "Te.chk.fmt.bz2", equivariant=False)


@pytest.fixture(scope="module")
def k():
    across = 0.2 * np.arange(5) / 5 - 0.1
    box = np.stack(np.meshgrid(across, across, across, indexing="ij"), -1).reshape(-1, 3)
    return box + np.array([0.33333, 0.33333, 0.5])


@pytest.fixture(scope="module")
def states(tellurium, k):
    """Energies, states, velocities, and A_nm = −i⟨n|D_aH|m⟩/(ε_n − ε_m) off the diagonal."""
    found = [tuple(map(np.asarray, tellurium.hamiltonian_and_derivative(q))) for q in k]
    energies, vectors = np.linalg.eigh(np.stack([h for h, _ in found]))
    d = np.swapaxes(vectors.conj(), 1, 2)[:, None] @ np.stack([one for _, one in found]) @ vectors[:, None]
    gap = energies[:, None, :, None] - energies[:, None, None, :]
    off = ~np.eye(energies.shape[1], dtype=bool)
    return energies, vectors, np.real(np.einsum("kann->kna", d)), np.where(off, d / np.where(off, 1j * gap, 1), 0)


def printed(file):
    rows = [line.split() for line in file.read_text().splitlines() if line.strip()]
    return np.array([row for row in rows if not row[0].startswith("#")], float)


def printed_tensor(row):
    xx, yy, zz, xy, xz, yz, x, y, z = row
    return np.array([[xx, xy + z, xz - y], [xy - z, yy, yz + x], [xz + y, yz - x, zz]])


def weights(tellurium, energies, level):
    x = (energies - level) / WIDTH
    delta = np.where(np.abs(x) < SMEARED, np.exp(-(x**2)) / np.sqrt(np.pi) / WIDTH, 0.0)
    return delta * 0.2**3 / len(energies) / float(tellurium.cell_volume)


def separate(energies):
    close = np.diff(energies, axis=1) <= APART
    apart = np.ones(energies.shape, bool)
    apart[:, 1:] &= ~close
    apart[:, :-1] &= ~close
    return apart


def on_bands(tellurium, states, level, values):
    """Σ v_a F_b, as g, K and D are made."""
    weight = np.where(separate(states[0]), weights(tellurium, states[0], level), 0.0)
    return np.einsum("kn,kna,knb->ab", weight, states[2], values)


def geometry(tellurium, k):
    bands = [jk.band_geometry(tellurium, k, band) for band in range(tellurium.size)]
    return [
        np.stack([getattr(b, name) for b in bands], 1) for name in ("velocity", "berry_curvature", "orbital_moment")
    ]


def agrees(found, expected):
    size = np.abs(expected).max()
    if size == 0:
        return np.all(found == 0)
    return np.abs(found - expected).max() < DIGITS * size


def test_density_of_states(tellurium, states, folder):
    for level, expected in printed(folder / "Te-gyrotropic-DOS.dat"):
        assert weights(tellurium, states[0], level).sum() == pytest.approx(
            expected, rel=6e-6
        )  # half a printed digit, and tails of Gaussians


def test_ohmic_tensor_and_berry_curvature_dipole(tellurium, states, folder, k):
    velocity, curvature, _ = geometry(tellurium, k)
    ampere_per_cm = constants.e**2 / constants.h * 1e8
    for name, values, scale in (("C", velocity, ampere_per_cm), ("D", curvature, 1.0)):
        for level, _, *row in printed(folder / f"Te-gyrotropic-{name}.dat"):
            assert agrees(scale * on_bands(tellurium, states, level, values), printed_tensor(row)), (name, level)


def test_orbital_moment_on_the_fermi_surface(tellurium, states, folder, k):
    _, _, moment = geometry(tellurium, k)
    theirs = moment + units.MAGNETON_PER_EV_A2 * intraband(tellurium, states[1], k)
    ampere = constants.physical_constants["Bohr magneton"][0] * 1e20
    for level, _, *row in printed(folder / "Te-gyrotropic-K_orb.dat"):
        assert agrees(ampere * on_bands(tellurium, states, level, theirs), printed_tensor(row)), level
    level, _, *row = printed(folder / "Te-gyrotropic-K_orb.dat")[0]
    ours = ampere * on_bands(tellurium, states, level, moment)
    difference = np.abs(ours - printed_tensor(row)).max() / np.abs(row).max()
    assert 1e-3 < difference < 1e-2  # what the term that depends on the origin makes


def intraband(model, vectors, k):
    """r_nn × Im B_nn about the origin, in eV Å²."""
    tau, total = np.asarray(model.centres).T, []
    for q, u in zip(k, vectors, strict=True):
        h, (b, _) = np.asarray(model.hamiltonian(q)), model.hamiltonian_moments(q)
        r = np.asarray(model.position(q)) + tau[:, :, None] * np.eye(model.size)
        both = r, np.asarray(b) + h * tau[:, None, :]
        r, b = (np.einsum("mn,amp,pn->na", u.conj(), one, u) for one in both)
        total.append(np.cross(r.real, b.imag))
    return np.stack(total)


def test_interband_curvature_at_frequencies(tellurium, states, folder):
    energies, _, _, a = states
    squares = (energies[:, None, :] - energies[:, :, None]) ** 2
    for level, frequency, *row in printed(folder / "Te-gyrotropic-tildeD.dat"):
        factor = np.real(squares / (squares - (frequency + 1j * WIDTH) ** 2))
        pairs = [factor * a[:, x] * np.swapaxes(a[:, y], 1, 2) for x, y in ((1, 2), (2, 0), (0, 1))]
        curvature = np.stack([-2 * np.imag(pair.sum(axis=2)) for pair in pairs], axis=-1)
        assert agrees(on_bands(tellurium, states, level, curvature), printed_tensor(row)), (level, frequency)


def test_natural_optical_activity(tellurium, states, folder):
    """Eqs. (C10), (C12) of S. S. Tsirkin, P. A. Puente, I. Souza, PRB 97, 035158 (2018)."""
    energies, _, velocity, a = states
    up = energies[:, None, :] - energies[:, :, None]  # ε_m − ε_n at [n, m]
    weighed = up[:, None] * a
    both = velocity[:, :, None] + velocity[:, None, :]
    b = np.zeros((len(a), 3, 3, *up.shape[1:]), complex)
    for x in range(3):
        for c in range(3):
            b[:, x, c] = -weighed[:, x] @ a[:, c] - a[:, c] @ weighed[:, x] - 1j * both[..., x] * a[:, c]
    columns = ((1, 2, 0), (2, 0, 1), (0, 1, 2), (1, 2, 1), (1, 2, 2), (2, 0, 2), (0, 1, 1), (0, 1, 0), (2, 0, 0))
    angstrom = constants.e / constants.epsilon_0 * 1e10 * 0.2**3 / len(a) / float(tellurium.cell_volume)
    for level, frequency, *row in printed(folder / "Te-gyrotropic-NOA_orb.dat"):
        square = (frequency + 1j * WIDTH) ** 2
        used = (energies[:, :, None] < level) & (energies[:, None, :] >= level)
        safe = np.where(used, up, 1.0)
        one = np.where(used, np.real(1 / (safe**2 - square)), 0.0)
        two = np.where(used, np.real((3 * safe**2 - square) / (safe**2 - square) ** 2), 0.0)
        back = np.swapaxes(a, 2, 3)
        found = [
            np.sum(one * np.real(back[:, y] * b[:, x, c] - back[:, x] * b[:, y, c]))
            - np.sum(two * both[..., c] * np.imag(a[:, x] * back[:, y]))
            for x, y, c in columns
        ]
        assert agrees(angstrom * np.array(found), np.array(row)), (level, frequency)
