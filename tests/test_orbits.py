"""States that the sampling kept and states of images by symmetry: the same as if all were solved for."""

from dataclasses import replace

import numpy as np
import pytest

import jaxkin as jk
from jaxkin.disorder.states import ShellStates
from jaxkin.memory import memory_limit
from jaxkin.shelf import Shelf
from jaxkin.surface.orbits import Orbits
from jaxkin.surface.points import STATES, point_geometry
from jaxkin.surface.surface import Kept

EXACT = 1e-10  # states and derivatives, relative to the largest; worst 3e-12
TELLURIUM = jk.models.get("tellurium")


class Noting(Shelf):
    """A shelf that keeps what it is given, as one on a disk."""

    def __init__(self):
        self.kept = {}

    def take(self, name):
        return self.kept.get(name)

    def put(self, name, arrays):
        self.kept[name] = arrays


def surfaces():
    at = {"sampler": jk.Lines(8), "replicas": 2}
    yield jk.fermi_surface(TELLURIUM, 0.35, **at)
    yield jk.fermi_surface(TELLURIUM, -0.15, 300.0, sampler=jk.Grid(24), replicas=2)


@pytest.fixture(scope="module", params=[0, 1], ids=["lines", "grid"])
def surface(request) -> jk.Surface:
    return list(surfaces())[request.param]


def orbits(surface: jk.Surface) -> Orbits:
    return surface.orbits.value


def assert_same(found, expected):
    """States up to a phase each, and the same phase for their derivatives."""
    phase = np.sum(expected[0].conj() * found[0], axis=1)
    assert np.abs(np.abs(phase) - 1).max() < EXACT
    assert np.abs(found[1] - phase[:, None, None] * expected[1]).max() < EXACT * np.abs(expected[1]).max()


def test_points_are_images_of_their_originals(surface):
    found = orbits(surface)
    assert np.mean(found.turn != 0) > 0.4
    for number, one in enumerate(found.maps):
        mine = found.turn == number
        image = surface.k[found.home[mine]] @ one.matrix.T
        assert np.abs((surface.k[mine] - image + 0.5) % 1.0 - 0.5).max(initial=0.0) < 1e-14
    np.testing.assert_array_equal(surface.band, surface.band[found.home])
    np.testing.assert_array_equal(surface.replica, surface.replica[found.home])


def test_states_are_those_that_solving_gives(surface):
    """Kept, by symmetry of solved ones, and in any order."""
    found = orbits(surface)
    assert found._known is not None
    shell = max(surface.shells, key=lambda shell: shell.points.stop - shell.points.start)
    k, energy = surface.k[shell.points], surface.energy[shell.points]
    expected = point_geometry(TELLURIUM, k, surface.band[shell.points], STATES, energy).values()
    expected = tuple(expected)
    forgotten = replace(surface, orbits=Kept(Orbits(TELLURIUM, found.number, found.turn, found.maps, None)))
    for one in (surface, forgotten):
        assert_same(ShellStates(one, True).of(shell).bloch, expected)
    some = np.random.default_rng(3).permutation(np.arange(shell.points.start, shell.points.stop))[:40]
    for one in (surface, forgotten):
        _, u = ShellStates(one, True).some(some)
        overlap = np.sum(u.conj() * expected[0][some - shell.points.start], axis=1)
        assert np.abs(np.abs(overlap) - 1).max() < EXACT


def test_states_are_kept_where_there_is_room():
    """Not beyond a small part of the memory, and not where replicas are put aside, whose results are to be the same."""
    with memory_limit("64 MiB"):
        assert orbits(jk.fermi_surface(TELLURIUM, 0.35, sampler=jk.Lines(100), replicas=1))._known is None
    (again,) = jk.fermi_surfaces(TELLURIUM, [0.35], 0.0, jk.Lines(8), 2, shelf=Noting())
    assert orbits(again)._known is None
    impurity = jk.PointImpurity(1.0, [0, 1], 1e-4, order="born")
    one, other = (jk.gyrotropic_response(each, impurity).g["total"].samples for each in (next(surfaces()), again))
    assert np.abs(one - other).max() < 1e-11 * np.abs(one).max()


def test_maps_that_states_do_not_follow_are_solved_for():
    """Orbital centres off their sites: energies follow every operation, derivatives do not."""
    model = jk.TightBinding(
        TELLURIUM.lattice,
        TELLURIUM.translations,
        TELLURIUM.hoppings,
        np.asarray(TELLURIUM.positions) + 1e-3 * np.random.default_rng(0).standard_normal((18, 3)),
    )
    surface = jk.fermi_surface(model, 0.35, sampler=jk.Lines(8), replicas=1)
    found = orbits(surface)
    assert len(found.maps) == 12
    assert [number for number in range(1, 12) if found._turn(number) is not None] == []
    shell = surface.shells[0]
    expected = tuple(point_geometry(model, surface.k, surface.band, STATES, surface.energy).values())
    assert_same(ShellStates(surface, True).of(shell).bloch, expected)
