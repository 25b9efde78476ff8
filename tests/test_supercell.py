"""Impurities from supercells: a planted potential comes back, whatever order and phases the orbitals have."""

import numpy as np
import pytest

import jaxkin as jk
from jaxkin.disorder.supercell import _cells, _fold, defect_potential

RNG = np.random.default_rng(7)


def crystal(orbitals=3, seed=0):
    """Orbitals of three kinds, two of them on one centre, with generic complex hoppings to neighbours."""
    rng = np.random.default_rng(seed)
    steps = (
        [(0, 0, 0)] + [tuple(s * np.eye(3, dtype=int)[a]) for a in range(3) for s in (1, -1)] + [(1, 1, 0), (-1, -1, 0)]
    )
    hoppings = {}
    for step in steps:
        back = tuple(-x for x in step)
        block = rng.normal(size=(orbitals,) * 2) + 1j * rng.normal(size=(orbitals,) * 2)
        hoppings[step] = block + block.conj().T if step == back else hoppings.get(back, block).conj().T
    for step in steps[1:]:
        hoppings[tuple(-x for x in step)] = hoppings[step].conj().T
    positions = np.array([[0.1, 0.2, 0.3], [0.1, 0.2, 0.3], [0.6, 0.5, 0.8]])[:orbitals]
    lattice = [[3.0, 0.1, 0.0], [0.2, 3.3, 0.0], [0.0, 0.4, 4.0]]
    return jk.TightBinding(lattice, list(hoppings), np.array(list(hoppings.values())), positions)


def planted(host, matrix, potential, orbitals, cells, shift=0.0, lost=()):
    """A supercell with V on some orbitals, in another order, with other phases, energies and without some orbitals."""
    matrix = np.array(matrix)
    inside, number = _cells(matrix)
    folded = _fold(host, matrix, inside, number)
    hoppings, place = folded.hoppings.copy(), {tuple(s): n for n, s in enumerate(folded.steps.tolist())}
    zero = place[(0,) * len(matrix)]
    hoppings[zero] += shift * np.eye(len(folded.centres))
    over = np.floor(np.array(cells) @ np.linalg.inv(matrix) + 1e-9).astype(int)
    index = [number[tuple(c)] * host.size + o for c, o in zip((cells - over @ matrix).tolist(), orbitals, strict=True)]
    for i, a in enumerate(index):
        for j, b in enumerate(index):
            hoppings[place[tuple((over[j] - over[i]).tolist())], a, b] += potential[i, j]
    order = RNG.permutation(np.setdiff1d(np.arange(len(folded.centres)), lost))
    phase = np.exp(2j * np.pi * RNG.random(len(order)))
    hoppings = phase.conj()[:, None] * hoppings[:, order][:, :, order] * phase
    return jk.TightBinding(matrix @ np.asarray(host.lattice), folded.steps, hoppings, folded.centres[order])


def assert_same_potential(found, potential, orbitals, cells):
    """Equal but for the order of orbitals and a translation."""
    assert sorted(found.orbitals) == sorted(orbitals)
    first = found.orbitals.index(orbitals[0])
    wanted = [(*tuple(c - np.array(cells[0])), o) for c, o in zip(np.array(cells), orbitals, strict=True)]
    have = [(*tuple(c - found.cells[first]), o) for c, o in zip(found.cells, found.orbitals, strict=True)]
    order = [have.index(one) for one in wanted]
    np.testing.assert_allclose(found.potential[np.ix_(order, order)], potential, rtol=0, atol=1e-10)


@pytest.mark.parametrize("matrix", [np.diag([3, 3, 3]), [[3, 0, 0], [1, 3, 0], [0, -1, 3]]])
@pytest.mark.parametrize("shift", [0.0, 0.3])
def test_a_planted_cluster_comes_back(matrix, shift):
    host = crystal()
    orbitals, cells = [0, 2, 1], np.array([[1, 1, 1], [1, 1, 1], [2, 1, 1]])
    v = np.array([[0.9, 0.2 - 0.1j, 0.3j], [0.2 + 0.1j, -0.5, 0.15], [-0.3j, 0.15, 0.4]])
    found = defect_potential(host, planted(host, matrix, v, orbitals, cells, shift), matrix)
    assert_same_potential(found, v, orbitals, cells)
    assert found.tail < 1e-8
    assert abs(found.shift - shift) < 1e-10


def test_tellurium_has_orbitals_that_only_hoppings_tell_apart():
    host = jk.models.get("tellurium")
    v = np.diag([0.7, -0.2]).astype(complex)
    cells = np.zeros((2, 3), int)
    found = defect_potential(host, planted(host, np.diag([3, 3, 2]), v, [0, 1], cells), np.diag([3, 3, 2]))
    np.testing.assert_allclose(np.sort(np.linalg.eigvalsh(found.potential))[[0, -1]], [-0.2, 0.7], atol=1e-10)
    assert_same_potential(found, v, [0, 1], cells)


def test_the_impurity_has_the_planted_potential():
    host = crystal()
    orbitals, cells = [0, 2], np.array([[1, 1, 1], [1, 1, 1]])
    v = np.array([[0.9, 0.2j], [-0.2j, -0.5]])
    matrix = np.diag([3, 3, 3])
    made = jk.PointImpurity.from_supercell(host, planted(host, matrix, v, orbitals, cells, 0.1), matrix, density=1e-3)
    site = made.sites[0]
    assert site.orbitals == (0, 2)
    assert len(set(site.cells)) == 1
    np.testing.assert_allclose(np.asarray(site.potential), v, rtol=0, atol=1e-10)


def test_a_vacancy_is_out_of_reach():
    host = crystal()
    matrix = np.diag([3, 3, 3])
    lost = 13 * host.size + 2
    defect = planted(host, matrix, np.zeros((1, 1)), [0], np.zeros((1, 3), int), lost=[lost])
    found = defect_potential(host, defect, matrix)
    assert found.orbitals == [2]
    assert found.potential[0, 0] == 1e6


def test_what_does_not_fit_is_refused():
    host, v = crystal(), np.eye(1)
    matrix = np.diag([2, 2, 2])
    defect = planted(host, matrix, v, [0], np.zeros((1, 3), int))
    with pytest.raises(jk.JaxkinError, match="other vectors of the host's lattice"):
        defect_potential(host, defect, np.diag([2, 2, 3]))
    with pytest.raises(jk.JaxkinError, match="integers"):
        defect_potential(host, defect, np.zeros((3, 3)))
    with pytest.raises(jk.JaxkinError, match="is the host itself"):
        defect_potential(host, planted(host, matrix, 0 * v, [0], np.zeros((1, 3), int)), matrix)
    other = crystal(2)
    lattice = np.asarray(defect.lattice)
    elsewhere = jk.TightBinding(lattice, defect.translations, defect.hoppings, np.asarray(defect.positions) + 0.2)
    with pytest.raises(jk.JaxkinError, match=r"have none of the host within 0\.9 Å"):
        defect_potential(other, elsewhere, matrix)
    one, more = crystal(1), crystal(2)  # a second orbital on every centre
    with pytest.raises(jk.JaxkinError, match=r"have none of the host within 0\.9 Å"):
        defect_potential(one, planted(more, matrix, v, [0], np.zeros((1, 3), int)), matrix)
    with pytest.warns(jk.AccuracyWarning, match="is cut off"):
        two = planted(host, matrix, np.diag([1.0, 0.5]), [0, 2], np.array([[0, 0, 0], [1, 1, 1]]))
        defect_potential(host, two, matrix, smallest=0.6)
