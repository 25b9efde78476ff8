"""Carrier densities: whatever the cell, the sampler and the temperature, against independent sums."""

import numpy as np
import pytest

import jaxkin as jk
from jaxkin.hamiltonian.spectrum import Spectrum

# The surfaces are sampled coarsely, and say so: densities do not depend on it.
pytestmark = pytest.mark.filterwarnings("ignore::jaxkin.AccuracyWarning")

CELLS = {
    1: [[[1]]],
    2: [[[1, 0], [0, 1]], [[1, 1], [0, 1]], [[2, 1], [1, 1]], [[3, 1], [-1, 0]]],
    3: [[[1, 0, 0], [0, 1, 0], [0, 0, 1]], [[1, 1, 0], [0, 1, 0], [1, 0, 1]], [[2, 1, 0], [1, 1, 0], [1, 1, 1]]],
}
"""Bases of the same cubic lattice, of volume one."""


def crystal(hoppings, cell=None, on_site=(0.0,), signs=(1.0,)):
    """Orbitals with ε_n = e_n − 2 s_n Σ_i t_i cos k_i of the cubic lattice, described in the cell ``cell``."""
    d, count = len(hoppings), len(on_site)
    cell = np.eye(d, dtype=int) if cell is None else np.array(cell)
    steps = np.rint(np.eye(d) @ np.linalg.inv(cell)).astype(int)
    home, hop = np.diag(on_site)[None], np.array(hoppings)[:, None, None] * np.diag(-np.array(signs))
    blocks = np.concatenate([home, hop, hop]).astype(complex)
    return jk.TightBinding(
        cell.astype(float), np.concatenate([0 * steps[:1], steps, -steps]), blocks, np.zeros((count, d))
    )


def filled(hoppings, level, kelvin=0.0):
    """∫f⁰(ε) of ε = −2 Σ t_i cos k_i: exact along the first direction at T = 0, a lattice that has converged above."""
    k = 2 * np.pi * (np.arange(1200 if len(hoppings) < 3 else 240) + 0.5) / (1200 if len(hoppings) < 3 else 240)
    first = 0 if kelvin else 1
    energy = sum(np.meshgrid(*[-2 * t * np.cos(k) for t in hoppings[first:]], indexing="ij"), np.zeros(()))
    if kelvin:
        return float(np.mean(1 / (1 + np.exp((energy - level) / (jk.units.BOLTZMANN * kelvin)))))
    return float(np.mean(np.arccos(np.clip((energy - level) / (2 * hoppings[0]), -1, 1))) / np.pi)


def check(estimate, exact, cap):
    assert abs(estimate.mean - exact) < 5 * estimate.stderr + 1e-6 * exact  # the reference's and the tails' error
    assert estimate.stderr <= cap * max(exact, 1e-12)


CASES = [
    ((1.0,), 0.5, 0.0),
    ((1.0,), 0.5, 300.0),
    ((1.0, 0.1), -1.0, 0.0),  # two open lines
    ((1.0, 0.1), -1.0, 300.0),
    ((1.0, 1.0), -3.0, 0.0),  # closed
    ((1.0, 0.1, 0.1), -1.0, 0.0),  # two open sheets
    ((1.0, 0.1, 0.1), -1.0, 1000.0),
    ((1.0, 1.0, 0.2), -2.2, 0.0),  # a tube
    ((1.0, 1.0, 0.2), -2.2, 1000.0),
    ((1.0, 1.0, 1.0), 0.3, 0.0),  # open in all directions
]


@pytest.mark.parametrize(
    ("hoppings", "level", "kelvin", "cell"),
    [(*case, cell) for case in CASES for cell in CELLS[len(case[0])]],
)
def test_electrons_in_every_cell(hoppings, level, kelvin, cell):
    surface = jk.fermi_surface(crystal(hoppings, cell), level, kelvin, jk.Grid(8), replicas=8)
    density, exact = surface.carrier_density(), filled(hoppings, level, kelvin)
    check(density["electrons"], exact, 5e-3)
    assert np.all(density["holes"].samples == 0)


@pytest.mark.parametrize("cell", CELLS[2])
@pytest.mark.parametrize("kelvin", [0.0, 300.0])
def test_holes_near_a_saddle(cell, kelvin):
    """μ = 0.1 beyond the saddle at 0: the empty states are enclosed, also where kT reaches beyond it."""
    for sampler in (jk.Grid(8), jk.Lines(4)):
        density = jk.fermi_surface(crystal((1.0, 1.0), cell), 0.1, kelvin, sampler, replicas=8).carrier_density()
        check(density["holes"], 1 - filled((1.0, 1.0), 0.1, kelvin), 1e-2)
        assert np.all(density["electrons"].samples == 0)


@pytest.mark.parametrize("cell", CELLS[3])
@pytest.mark.parametrize("kelvin", [0.0, 600.0])
def test_a_semimetal_has_both(cell, kelvin):
    """A pocket of electrons about Γ in one band, one of holes about R in another."""
    model = crystal((1.0, 1.0, 1.0), cell, on_site=(5.0, -5.0), signs=(1.0, 1.0))
    density = jk.fermi_surface(model, 0.2, kelvin, jk.Grid(8) if kelvin else jk.Lines(4), replicas=8).carrier_density()
    electrons, holes = filled((1.0,) * 3, 0.2 - 5, kelvin), filled((1.0,) * 3, -0.2 - 5, kelvin)
    check(density["electrons"], electrons, 2e-2)
    check(density["holes"], holes, 2e-2)


@pytest.mark.parametrize("kelvin", [100.0, 300.0])
def test_minority_carriers(kelvin):
    """Holes at μ, electrons beyond a gap of 0.4 eV: 46 kT at 100 K, farther than the surface's own window reaches."""
    gap, bands = 0.4, {"on_site": (6.2, -6.2), "signs": (1.0, -1.0)}  # edges at ±0.2
    level = -0.5 * gap + 0.01
    density = jk.fermi_surface(crystal((1.0,) * 3, **bands), level, kelvin, jk.Grid(8), replicas=8).carrier_density()
    k = 2 * np.pi * (np.arange(400) + 0.5) / 400
    e = 2 * (1 - np.cos(k[k < 1.3]))  # near the edge, weights below exp(−20) of the whole left out
    above = np.add.outer(np.add.outer(e, e), e)
    for name, distance in (("electrons", 0.5 * gap - level), ("holes", level + 0.5 * gap)):
        x = (above + distance) / (jk.units.BOLTZMANN * kelvin)
        check(density[name], 8 * np.sum(1 / (np.exp(np.minimum(x, 700)) + 1)) / 400**3, 2e-2)


def test_minority_carriers_of_tellurium():
    """Electrons beyond the gap at a level in the valence band: the midpoint sum of 40³ k is good to 1e-4 of them."""
    model, level, kelvin, n = jk.models.get("tellurium"), -0.0145, 300.0, 40
    k = np.stack(np.meshgrid(*[(np.arange(n) + 0.5) / n] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    x = (Spectrum(model)(k)[:, 12:] - level) / (jk.units.BOLTZMANN * kelvin)
    exact = np.sum(1 / (np.exp(np.minimum(x, 700)) + 1)) / n**3 / abs(np.linalg.det(model.lattice))
    assert abs(exact - 4.332e-11) < 1e-14
    electrons = jk.fermi_surface(model, level, kelvin, jk.Grid(8), replicas=2).carrier_density()["electrons"]
    assert abs(electrons.mean - exact) < 5 * electrons.stderr + 1e-4 * exact
    assert electrons.stderr < 3e-4 * exact


def test_nested_sheets_hold_what_lies_between():
    """ε = (k² − k₀²)²: the filled shell between two spheres, whether or not the search tells the spheres apart."""
    for level in (1e-2, 1e-3):
        model = jk.KdotP(lambda k: ((k @ k - 0.25) ** 2)[None, None], ((-0.8, 0.9),) * 3)
        density = jk.fermi_surface(model, level, sampler=jk.Lines(8), replicas=8).carrier_density()
        radii = np.sqrt(0.25 + np.array([-1, 1]) * level**0.5)
        check(density["electrons"], (radii[1] ** 3 - radii[0] ** 3) / (6 * np.pi**2), 1e-2)
        assert np.all(density["holes"].samples == 0)


def test_an_enclosed_pocket_beside_open_sheets():
    """Open sheets and, in the same band, a pocket of its own: both count in the band's electrons."""
    steps = np.array([[0, 0], [1, 0], [-1, 0], [0, 1], [0, -1], [2, 0], [-2, 0]])
    hops = np.array([0, -0.4, -0.4, -0.12, -0.12, -1.0, -1.0])  # −0.8 cos x − 0.24 cos y − 2 cos 2x: two valleys
    k = 2 * np.pi * (np.arange(4000) + 0.5) / 4000
    x, y = -0.8 * np.cos(k) - 2 * np.cos(2 * k), -0.24 * np.cos(k)
    for level in (-1.3, -1.1, -0.9):
        exact = np.mean(np.searchsorted(np.sort(x), level - y) / len(x))  # a step in k is 2.5e-4 of the zone
        for cell in CELLS[2]:
            moved = np.rint(steps @ np.linalg.inv(cell)).astype(int)
            model = jk.TightBinding(np.array(cell, float), moved, hops[:, None, None], np.zeros((1, 2)))
            electrons = jk.fermi_surface(model, level, sampler=jk.Lines(8), replicas=8).carrier_density()["electrons"]
            assert abs(electrons.mean - exact) < 5 * electrons.stderr + 1e-4
            assert electrons.stderr < 2e-3


def test_full_and_empty_bands_have_no_carriers():
    model = crystal((1.0, 1.0), on_site=(10.0, -10.0), signs=(1.0, 1.0))
    with pytest.warns(jk.AccuracyWarning, match="no state was found"):
        density = jk.fermi_surface(model, 0.0, replicas=2).carrier_density()
    assert density["electrons"].mean == density["holes"].mean == 0


@pytest.mark.parametrize("cell", CELLS[2])
def test_grid_cells_that_pockets_share_count_once(cell):
    """The smeared δ reaches from one sheet into the cells of the next; they were counted for both: 0.271."""
    model = crystal((1.0, 0.1), cell)
    found = jk.fermi_surface(model, -1.0, sampler=jk.Grid(128), replicas=2).density_of_states()
    energy = -1.0 + 0.2 * np.cos(2 * np.pi * (np.arange(4000) + 0.5) / 4000)
    exact = np.mean(1 / (np.pi * np.sqrt(4 - energy**2)))
    assert abs(found.mean - exact) < 1e-4 * exact


@pytest.mark.parametrize("sampler", [None, jk.Lines(16), jk.Grid(32)])
@pytest.mark.parametrize("cell", CELLS[2][:2])
def test_open_lines_whatever_the_sampler(sampler, cell):
    """They were closed by their boxes: electrons 0.0218 and holes 0.0211 in one cell, 0.846 and 0.149 in the other."""
    density = jk.fermi_surface(crystal((1.0, 0.1), cell), -1.0, sampler=sampler, replicas=4).carrier_density()
    assert filled((1.0, 0.1), -1.0) == pytest.approx(0.3327, abs=5e-5)
    check(density["electrons"], filled((1.0, 0.1), -1.0), 1e-3)
    assert np.all(density["holes"].samples == 0)


def test_the_default_near_a_saddle_at_room_temperature():
    assert filled((1.0, 1.0), 0.1, 300.0) == pytest.approx(0.5301, abs=5e-5)
    density = jk.fermi_surface(crystal((1.0, 1.0)), 0.1, 300.0, replicas=4).carrier_density()
    check(density["holes"], 1 - filled((1.0, 1.0), 0.1, 300.0), 1e-3)
    assert np.all(density["electrons"].samples == 0)
