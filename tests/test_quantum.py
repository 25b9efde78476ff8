"""The quantum calculation: against closed forms, clean perturbation theory, and the Boltzmann equation."""

import functools

import jax
import numpy as np
import pytest
from scipy import constants as si

import jaxkin as jk
from jaxkin import quantum
from jaxkin.errors import JaxkinError
from jaxkin.quantum.averaged import Dressed, Zone, self_energy
from jaxkin.quantum.gyrotropic import Run
from jaxkin.quantum.scatterers import scatterers
from jaxkin.response.observables import LEVI_CIVITA

QUANTUM = si.e**2 / si.h
"""S: g and σ in units of e²/2πħ."""


def plane():
    """The two-dimensional model of the checked cases: two orbitals, no symmetry but time reversal."""
    bonds = {(0, 0): -1.0, (-1, 0): -0.7, (0, -1): -1.2}
    terms: dict[tuple[int, int], np.ndarray] = {}
    for step, value in bonds.items():
        terms.setdefault(step, np.zeros((2, 2)))[0, 1] += value
        terms.setdefault((-step[0], -step[1]), np.zeros((2, 2)))[1, 0] += value
    terms[0, 0] += np.diag([0.6, -0.6])
    for step, orbital, value in (((1, 0), 0, 0.15), ((0, 1), 1, -0.1)):
        for sign in (1, -1):
            place = sign * step[0], sign * step[1]
            terms.setdefault(place, np.zeros((2, 2)))[orbital, orbital] += value
    lattice, positions = [[1, 0], [0.5, np.sqrt(3) / 2]], [[1 / 3, 1 / 3], [2 / 3, 2 / 3]]
    return jk.TightBinding(lattice, list(terms), list(terms.values()), positions)


def plane_impurity(w2, potential=(1.0, 0.4), **options):
    """W² impurities of V = diag(potential) per cell."""
    return jk.PointImpurity(np.diag(potential), [0, 1], w2 / (np.sqrt(3) / 2), **options)


def static(model, disorder, level, grid, bands="bare"):
    """K and its slope of G^R G^A at ω = 0 on a grid through the middle, without units."""
    zone = Zone(model, grid, np.full(len(grid), 0.5))
    return Run(model, scatterers(model, disorder), zone, level, bands).pair(0.0, 0.0, True)


def test_born_self_energy_of_one_level():
    """An orbital without hopping: Σ = W²/(ε − Σ), a semicircle of states, and a decaying one outside of it."""
    chain = jk.TightBinding([[1.0, 0, 0]], [[0]], np.zeros((1, 1, 1)), [[0.0]])
    kinds = scatterers(chain, jk.PointImpurity(0.5, [0], 0.04, order="born"))
    dressed, zone, w2 = Dressed(chain, kinds, np.zeros((1, 1))), Zone(chain, (2,), np.zeros(1)), 0.01
    for level in (0.05, 0.15, 0.5):
        found = self_energy(dressed, kinds, zone, level, -0.1j * np.eye(1), 1e-12).s[0, 0]
        exact = 0.5 * (level - np.sqrt(complex(level**2 - 4 * w2)))
        assert abs(found - exact) < 1e-10


def test_self_consistent_t_matrix_of_one_level():
    """Σ = nV/(1 − VG), G = 1/(ε − Σ): a quadratic equation; dressed bands contain Re Σ."""
    chain = jk.TightBinding([[1.0, 0, 0]], [[0]], np.zeros((1, 1, 1)), [[0.0]])
    n, v, level = 0.2, 0.7, 0.4
    kinds = scatterers(chain, jk.PointImpurity(v, [0], n))
    dressed, zone = Dressed(chain, kinds, np.zeros((1, 1))), Zone(chain, (2,), np.zeros(1))
    s = self_energy(dressed, kinds, zone, level, -0.1j * np.eye(1), 1e-12).s[0, 0]
    # (ε − Σ) Σ − V Σ = nV (ε − Σ)
    exact = np.roots([-1, level - v + n * v, -n * v * level])
    assert np.abs(s - exact).min() < 1e-10
    assert s.imag < 0
    s = self_energy(dressed, kinds, zone, level, -0.1j * np.eye(1), 1e-12, absorbed=True).s[0, 0]
    assert abs(s - n * v / (1 - v / (level - 1j * s.imag))) < 1e-10


def test_plane_at_the_grid_of_an_independent_program():
    """W²K and W²g of another program (another gauge, derivatives by hand), W² = 0.2 on 60 × 50 points."""
    found = static(plane(), plane_impurity(0.2, order="born"), -2.4, (60, 50))
    np.testing.assert_allclose(np.diag(0.2 * found.value).real[:2], [0.700640256522, 1.083493711969], rtol=1e-9)
    g = 0.5 * 0.2 * (found.slope[0, 1] - found.slope[1, 0]).imag
    np.testing.assert_allclose(g[:2], [-0.002771137472, -0.02333821891], rtol=1e-8)
    assert found.ward < 1e-9
    assert np.abs(found.slope + np.swapaxes(found.slope, 0, 1)).max() < 1e-11 * np.abs(found.slope).max()


def test_cubic_at_the_grid_of_an_independent_program():
    impurity = jk.PointImpurity(1.0, [0, 1], 1.0, order="born")
    found = static(jk.models.get("kramers-weyl-o"), impurity, -1.6, (16, 18, 20))
    np.testing.assert_allclose(np.diag(found.value).real, [1.197690477343, 1.19766333994, 1.197696875454], rtol=1e-9)
    g = 0.5 * np.einsum("cda,cdb->ab", LEVI_CIVITA, found.slope).imag
    np.testing.assert_allclose(np.diag(g), [2.280638376704e-02, 2.280733036040e-02, 2.278695302825e-02], rtol=1e-8)


def test_nodes_where_green_functions_are_large():
    """Γ = 0.03 eV: 38,000 nodes of a tree and 800 × 800 points, which are known to 2e-5, agree."""
    impurity, unit = plane_impurity(0.04, order="born"), QUANTUM / (np.sqrt(3) / 2)
    found = quantum.gyrotropic(plane(), impurity, -2.4, rtol=1e-3, sea=False, bands="dressed")
    g, sigma = found.g["surface"], found.sigma["surface"]
    assert np.abs(1e10 * g.mean[0, 2, :2].imag / unit - [-0.025672, -0.469124]).max() < 4e-5  # measured 1.4e-5
    np.testing.assert_allclose(np.diag(sigma.mean[0].real)[:2] / unit, [15.861921, 24.647770], rtol=1e-5)
    assert found.quality.ward < 1e-9
    assert found.quality.grid < 1e-5
    assert g.evaluations < 2 * 2 * 45_000  # replicas, self-energy and bubble


def test_tree_at_a_frequency():
    """Fermi surfaces at all energies between μ ± ħω, and the filled states, against a grid."""
    impurity = plane_impurity(0.3, order="born")
    kubo = functools.partial(quantum.gyrotropic, plane(), impurity, -2.4, [50.0], nodes=3, replicas=1)
    grid, tree = kubo(grid=100).g, kubo(rtol=1e-3).g  # ħω = 0.2 eV, −Im Σ = 0.1 eV
    for side in ("surface", "sea"):
        difference = np.abs(tree[side].mean - grid[side].mean).max()
        assert difference < 1e-4 * np.abs(grid["total"].mean).max()  # measured 2e-5


def clean_slope(model, k, omega, step=1e-4):
    """∂/∂q of σ_ab(q, ω)/(e²/ħ) times the cell for an insulator of one filled band, by perturbation theory.

    (1/iω) [χ(ω) − χ(0)] with χ_ab = −Σ (f_n − f_m) ⟨n|v_a|m⟩⟨m|v_b|n⟩/(ω + ε_n − ε_m), n at k − q/2, m at k + q/2.
    """

    v = np.asarray(jax.vmap(model.derivative)(k))
    bloch = jax.vmap(model.hamiltonian)

    def sigma(q):
        half = 0.5 * np.asarray(model.dual) @ q
        (e, n), (f, m) = (np.linalg.eigh(np.asarray(bloch(k + sign * half))) for sign in (-1, 1))
        a = np.einsum("kin,kcij,kjm->cknm", n.conj(), v, m)
        occupied = np.array([1.0, 0.0])
        difference, gap = occupied[:, None] - occupied, e[:, :, None] - f[:, None, :]
        kernel = -difference * (1 / (omega + gap) - 1 / np.where(difference, gap, 1))
        return np.einsum("aknm,knm,bknm->ab", a, kernel, a.conj()) / (1j * omega * len(k))

    return np.stack([(sigma(step * q) - sigma(-step * q)) / (2 * step) for q in np.eye(3)], axis=-1)


def test_interband_part_of_an_insulator():
    """Without a Fermi surface all of g is between bands: the Kubo formula of the clean crystal, at any frequency."""
    model, size, omega = plane(), 24, 0.3
    k = np.stack(np.meshgrid(*[(np.arange(size) + 0.5) / size] * 2, indexing="ij"), axis=-1).reshape(-1, 2)
    exact = clean_slope(model, k, omega)
    kinds = scatterers(model, plane_impurity(1e-7, order="born"))
    run = Run(model, kinds, Zone(model, (size, size), np.full(2, 0.5)), 0.1, "bare")
    parts = run.parts(np.array([omega]), 12, True)
    found = (parts["surface_slope"][0] + parts["sea_slope"][0]) / (2 * np.pi)
    assert np.abs(exact).max() > 1e-3
    assert np.abs(found - exact).max() < 1e-6 * np.abs(exact).max()


@pytest.mark.parametrize("option", [{"order": "third"}, {}])
def test_refusals(option):
    model = plane()
    potential = [[0.0, 1.0], [1.0, 0.0]] if not option else 1.0
    with pytest.raises(JaxkinError, match="rtol"):
        quantum.gyrotropic(model, plane_impurity(0.1), -2.4, rtol=0.0)
    with pytest.raises(JaxkinError, match="third" if option else "different places"):
        quantum.gyrotropic(model, jk.PointImpurity(potential, [0, 1], 0.1, **option), -2.4, grid=8)
