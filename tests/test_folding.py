"""Green functions by symmetry: one cell for all its images, the same numbers as without."""

import equinox as eqx
import jax
import numpy as np
import pytest

import jaxkin as jk
from jaxkin.surface import folding
from jaxkin.surface.continuation import continued
from jaxkin.surface.folding import Places, green_folding
from jaxkin.surface.green import local_green_functions
from jaxkin.surface.green_rule import surface_green_function
from jaxkin.surface.zone import Cells

EXACT = 1e-12  # F at an image of k against what the operation makes of F at k, relative; worst 2e-15
TELLURIUM = jk.models.get("tellurium")
LEVEL = 0.35  # eV, in the lowest conduction band
HOME = int(np.flatnonzero(~np.any(np.asarray(TELLURIUM.translations), axis=1))[0])
ATOM = Places((0, 1, 2, 3, 4, 5), np.zeros((6, 3), int))
PART = Places((0, 7, 13), np.array([[0, 0, 0], [1, 0, 0], [0, -1, 2]]))  # orbitals of three atoms in three cells


def changed(matrix: np.ndarray) -> jk.TightBinding:
    """Tellurium with a matrix (18, 18) in eV added to what acts within a cell."""
    return eqx.tree_at(lambda m: m.hoppings, TELLURIUM, TELLURIUM.hoppings.at[HOME].add(matrix))


MAGNETISED = changed(0.1 * np.kron(np.eye(9), np.diag([1, -1])))  # along z: C3, and C2 with time reversal


def direct(model: jk.TightBinding, places: list[Places], k: np.ndarray, z: complex) -> np.ndarray:
    """⟨x|G P_k|y⟩ of all places, from its definition."""
    inverse, values = np.linalg.inv(z * np.eye(model.size) - np.asarray(continued(model, k))), []
    for orbitals, cells in places:
        phase = np.exp(2j * np.pi * cells @ k)
        values.append((phase[:, None] / phase * inverse[np.ix_(orbitals, orbitals)]).ravel())
    return np.concatenate(values)


@pytest.mark.parametrize("model", [TELLURIUM, MAGNETISED], ids=["D3 and time reversal", "magnetised"])
def test_images_of_complex_k(model):
    """The average over images from what is known at one k, with subsets of orbitals in several cells."""
    found = green_folding(model, [ATOM, PART], 1e-3)
    assert found is not None
    assert len(found._matrices) == (4 if model is TELLURIUM else 2)
    rng = np.random.default_rng(0)
    for _ in range(3):
        k, z = rng.random(3) + 0.05j * rng.standard_normal(3), 0.1 + 0.3j
        expected = np.mean([direct(model, [ATOM, PART], m @ k, z) for m in found._matrices], axis=0)
        average = found.average(direct(model, found.places, k, z))
        assert np.abs(average - expected).max() < EXACT * np.abs(expected).max()


def test_what_has_no_symmetry_is_not_folded():
    """Few orbitals, a k·p model, a crystal whose symmetry is broken by 1 meV, not one that is off by rounding."""
    random = np.diag(np.random.default_rng(1).standard_normal(18))
    found = [green_folding(changed(size * random), [ATOM], 1e-3) for size in (1e-3, 1e-12)]
    assert found[0] is None
    assert found[1] is not None
    assert green_folding(jk.models.get("kramers-weyl-d4"), [Places((0,), np.zeros((1, 3), int))], 1e-3) is None
    assert green_folding(jk.models.get("helical-isotropic"), [Places((0,), np.zeros((1, 3), int))], 1e-3) is None


def test_cells_are_folded_and_unfolded():
    """The same volume, and ∫e^{ik·R} over images, after random bisections that break the symmetry."""
    found, rng = green_folding(TELLURIUM, [ATOM], 1e-3), np.random.default_rng(2)
    assert found is not None
    corner = np.array(list(np.ndindex(3, 3, 3))) / 3
    cells = found.folded(Cells(corner, np.full((27, 3), 1 / 3)))
    assert len(cells) < 27 / 2
    for _ in range(3):
        cells = found.folded(cells.bisected(rng.random((len(cells), 3)) < 0.4))
    every = found.unfolded(cells)
    assert cells.volume.sum() == pytest.approx(1, rel=1e-14)
    assert every.volume.sum() == pytest.approx(1, rel=1e-14)
    steps = np.array([[1, 0, 0], [0, 2, 1], [1, -1, 3]])

    def waves(cells: Cells) -> np.ndarray:
        """∫dk e^{2πik·R} over the cells, in closed form."""
        x = 2j * np.pi * steps[:, None, :]
        low, high = cells.low, cells.low + cells.size
        with np.errstate(invalid="ignore", divide="ignore"):
            edges = np.where(x == 0, cells.size, (np.exp(x * high) - np.exp(x * low)) / x)
        return np.prod(edges, axis=2) @ cells.count

    assert np.abs(waves(every)).max() < 1e-13  # the zone's is zero
    assert np.abs(waves(cells)).max() > 1e-3  # that of a part is not


@pytest.mark.parametrize("levels", [[LEVEL], [0.36, 0.44 + 0.01j]])
def test_whole_integrals_agree(levels, monkeypatch):
    """Within both errors, for less than half of the points."""
    folded = local_green_functions(TELLURIUM, levels, [ATOM, PART], rtol=2e-2)
    monkeypatch.setattr(folding, "PAYS", 100)
    whole = local_green_functions(TELLURIUM, levels, [ATOM, PART], rtol=2e-2)
    scale = np.abs(whole.values).max()
    assert np.abs(folded.values - whole.values).max() < folded.error + whole.error < 0.05 * scale
    assert folded.evaluations < 0.5 * whole.evaluations


def test_derivatives_that_break_the_symmetry():
    """dG by the energy of one orbital, for which only the nodes may be symmetric; 1e-3 for rtol = 2e-3."""
    orbitals, groups = tuple((n, (0, 0, 0)) for n in range(6)), (tuple(range(6)),)
    surface = jk.fermi_surface(TELLURIUM, LEVEL, sampler=jk.Lines(6), replicas=1)

    def green(shift: jax.Array) -> jax.Array:
        there = surface.at(model=changed(shift * np.diag(np.arange(18) == 0)))
        return surface_green_function(there, orbitals, groups, 2e-3)[0][0]

    value, slope = jax.jvp(green, (0.0,), (1.0,))
    assert np.abs(value - surface_green_function(surface, orbitals, groups, 2e-3)[0][0]).max() < 1e-12
    assert abs(slope[0, 0] - WITHOUT) < 2e-3 * abs(WITHOUT)


WITHOUT = 0.06152978 + 0.10616239j
"""1/eV², without symmetry, with rtol = 2e-4."""
