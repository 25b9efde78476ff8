"""The T-matrix of a supercell's defect against many of them at random in a large supercell, solved exactly."""

from typing import NamedTuple

import jax
import numpy as np
import pytest
import scipy.sparse as sp
from scipy.sparse.linalg import splu
from test_supercell import planted

import jaxkin as jk

L, SHARE, CONFIGURATIONS, ETA = 96, 0.005, 10, 0.06
"""Cells along an axis, of which so many have a defect, how often, and the imaginary part of the energy in eV."""
STEPS = np.array([[0, 0], [1, 0], [-1, 0], [0, 1], [0, -1]])


class Defect(NamedTuple):
    """V in eV on the orbitals of a cell, or the orbitals that are lost."""

    potential: np.ndarray
    lost: list[int]


SUBSTITUTION, VACANCY = Defect(np.array([[1.5, 0.3], [0.3, 0.0]]), []), Defect(np.zeros((2, 2)), [0])


@pytest.fixture(scope="module")
def host():
    """Two orbitals on a square lattice, hybridised within the cell and to one side."""
    inside = np.array([[0.0, -0.6], [-0.6, 1.5]])
    right, up = np.array([[-1.0, 0.0], [-0.3, -0.4]]), np.array([[-1.0, -0.2], [0.0, 0.3]])
    return jk.TightBinding(2.0 * np.eye(2), STEPS, [inside, right, right.T, up, up.T], [[0, 0], [0.5, 0.3]])


def impurity(host, defect):
    """By the Hamiltonian of a supercell with the defect at its origin."""
    cell = np.diag([5, 5])
    supercell = planted(host, cell, defect.potential, [0, 1], np.zeros((2, 2), int), lost=defect.lost)
    return jk.PointImpurity.from_supercell(host, supercell, cell, density=SHARE / 4.0, rtol=1e-4)


def scattered(host, defect, z, mesh):
    """t(z) on the orbitals of the cell, from a sum over a mesh."""
    k = np.stack(np.meshgrid(*[(np.arange(mesh) + 0.5) / mesh] * 2, indexing="ij"), axis=-1).reshape(-1, 2)
    green = np.zeros((2, 2), complex)
    for part in np.array_split(k, -(-len(k) // 250_000)):
        phase = np.exp(2j * np.pi * part @ np.asarray(host.positions).T)
        inverse = np.linalg.inv(z * np.eye(2) - np.asarray(jax.vmap(host.hamiltonian)(part)))
        green += np.sum(phase[:, :, None] * inverse * phase.conj()[:, None], axis=0) / len(k)
    if not defect.lost:
        return np.linalg.solve(np.eye(2) - defect.potential @ green, defect.potential)
    found = np.zeros((2, 2), complex)
    found[np.ix_(defect.lost, defect.lost)] = -np.linalg.inv(green[np.ix_(defect.lost, defect.lost)])
    return found


def width(host, k, state, t):
    """−2 Im⟨u|t|u⟩ of one defect a cell."""
    on_orbitals = np.exp(2j * np.pi * np.asarray(host.positions) @ k) * state
    return -2 * np.imag(on_orbitals.conj() @ t @ on_orbitals)


@pytest.mark.parametrize("defect", [SUBSTITUTION, VACANCY], ids=["substitution", "vacancy"])
def test_rate_is_that_of_the_t_matrix(host, defect):
    """... at a real energy, to which sums at three complex ones are extrapolated (worst 7e-4, of that)."""
    surface = jk.fermi_surface(host, -0.74, sampler=jk.Lines(64), replicas=1)
    rate = np.asarray(impurity(host, defect).collisions(surface, surface.shells[0]).rate)
    t1, t2, t3 = (scattered(host, defect, -0.74 + 1j * eta, 1200) for eta in (0.015, 0.03, 0.045))
    differences = []
    for point in range(0, len(surface), 29):
        state = np.linalg.eigh(np.asarray(host.hamiltonian(surface.k[point])))[1][:, surface.band[point]]
        expected = SHARE * width(host, surface.k[point], state, 3 * t1 - 3 * t2 + t3)
        differences.append(abs(jk.units.HBAR * rate[point] / expected - 1))
    assert max(differences) < 1e-3


@pytest.mark.parametrize("defect", [SUBSTITUTION, VACANCY], ids=["substitution", "vacancy"])
def test_width_of_a_state_among_random_defects(host, defect):
    """Σ = z − H(k) − ⟨k|(z − H)⁻¹|k⟩⁻¹, averaged, is n t(z) to first order in n (measured 0.992(6) and 0.997(7))."""
    rng, cells, centres = np.random.default_rng(1), L * L, np.asarray(host.positions)
    place = np.stack(np.meshgrid(np.arange(L), np.arange(L), indexing="ij"), axis=-1).reshape(-1, 2)
    hops = [np.ravel_multi_index(((place + step) % L).T, (L, L)) for step in STEPS]
    crystal = sum(
        sp.kron(sp.csr_matrix((np.ones(cells), (np.arange(cells), to)), (cells, cells)), hopping)
        for to, hopping in zip(hops, np.asarray(host.hoppings), strict=True)
    )
    k = np.array([round(0.27 * L), round(0.18 * L)]) / L
    h = np.asarray(host.hamiltonian(k))
    energies, states = np.linalg.eigh(h)
    z, state = energies[0] + 1j * ETA, states[:, 0]
    wave = np.exp(2j * np.pi * (place[:, None] + centres) @ k)[:, :, None] * np.eye(2) / L
    wave, count, green = wave.reshape(-1, 2), round(SHARE * cells), []
    for _ in range(CONFIGURATIONS):
        there = np.zeros(cells)
        there[rng.choice(cells, count, replace=False)] = 1
        kept = np.setdiff1d(np.arange(2 * cells), np.add.outer(2 * np.flatnonzero(there), defect.lost).astype(int))
        sample = (z * sp.identity(2 * cells) - crystal - sp.kron(sp.diags(there), defect.potential)).tocsc()
        green.append(wave[kept].conj().T @ splu(sample[kept][:, kept]).solve(wave[kept]))

    def found(chosen):
        sigma = z * np.eye(2) - h - np.linalg.inv(np.mean(chosen, axis=0))
        return -2 * np.imag(state.conj() @ sigma @ state)

    expected = count / cells * width(host, k, state, scattered(host, defect, z, 600))
    without_one = [found(np.delete(green, one, axis=0)) for one in range(CONFIGURATIONS)]
    error = np.std(without_one) * np.sqrt(CONFIGURATIONS - 1) / expected
    assert error < 0.01
    assert abs(found(green) / expected - 1) < 5 * error
