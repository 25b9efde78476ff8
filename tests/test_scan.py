"""Many Fermi levels and temperatures from one run; thermal lattices that keep the crystal's symmetry."""

import numpy as np
import pytest
from scipy import stats

import jaxkin as jk
from jaxkin.surface.cosets import random_shifts
from jaxkin.surface.maps import zone_maps
from jaxkin.surface.thermal import Thermal, levels

LEVELS = (-1.3, -1.2, -1.1)


def moment_velocity(surface):
    return surface.orbital_moment[:, :, None] * surface.velocity[:, None, :]


def tensors(surfaces):
    return [surface.integrate(moment_velocity(surface)) for surface in surfaces]


@pytest.fixture(scope="module")
def d3():
    return jk.models.get("kramers-weyl-d3")


@pytest.fixture(scope="module")
def operations(d3):
    return jk.find_symmetries(d3)


@pytest.mark.parametrize("kelvin", [100.0, 300.0])
@pytest.mark.parametrize("shift", [0.0, 0.37, 0.999])
def test_one_set_of_energies_serves_every_level(kelvin, shift):
    """The shifted sum of −f⁰' is 1 within 2x/sinh x = 1.02e-4, x = 2π²/1.5, for every level, as for a level alone."""
    thermals = [Thermal(mu, kelvin) for mu in (0.0, 0.013, 0.5)]
    energies = levels(thermals, shift)
    assert len(np.unique(energies)) == len(energies)
    for thermal in thermals:
        assert abs(thermal.share(energies).sum() - 1) < 1.03e-4
    gap = energies[(energies > 0.17) & (energies < 0.34)] if kelvin == 100.0 else []
    assert not len(gap)  # nothing where no level needs it


@pytest.mark.parametrize(("sampler", "kelvin"), [(jk.Lines(12), 0.0), (jk.Lines(6), 600.0), (jk.Grid(16), 1200.0)])
def test_a_scan_agrees_with_single_levels(d3, sampler, kelvin):
    scan = jk.fermi_surfaces(d3, LEVELS, kelvin, sampler, replicas=4)
    assert [surface.fermi_level for surface in scan] == list(LEVELS)
    for together, level in zip(scan, LEVELS, strict=True):
        alone = jk.fermi_surface(d3, level, kelvin, sampler, replicas=4, seed=1)
        a, b = together.integrate(moment_velocity(together)), alone.integrate(moment_velocity(alone))
        error = np.hypot(a.stderr, b.stderr)
        largest = np.abs(b.mean).max()
        assert np.all(np.abs(a.mean - b.mean) < 6 * error + 1e-6 * largest)
        assert error.max() < 0.1 * largest
        mine, theirs = (s.carrier_density()["electrons"] for s in (together, alone))
        assert abs(mine.mean - theirs.mean) < 6 * np.hypot(mine.stderr, theirs.stderr) + 1e-6 * theirs.mean
        assert len(together.pockets) > together.pocket.max()


@pytest.mark.parametrize(("levels", "kelvin"), [([-1.2], 300.0), ([-1.1, -1.2], 0.0)])
def test_what_shares_no_points_is_as_alone(d3, levels, kelvin):
    alone = jk.fermi_surface(d3, levels[-1], kelvin, jk.Lines(6), replicas=2)
    scanned = jk.fermi_surfaces(d3, levels, kelvin, jk.Lines(6), replicas=2)[-1]
    np.testing.assert_array_equal(alone.k, scanned.k)
    np.testing.assert_array_equal(alone.weight, scanned.weight)


@pytest.mark.parametrize("kelvin", [0.0, 300.0])
def test_costs_and_refinement_do_not_depend_on_what_was_taken_before(kelvin):
    """Energies that the search of another level has left behind count as if they had to be found."""
    model = jk.models.get("massive-dirac-2d")

    def scan():
        return jk.fermi_surfaces(model, [0.28, 0.3], [[kelvin], [200.0]], jk.Lines(4), 2, rtol=0.02, target=speed)

    def speed(surface):
        return np.linalg.norm(surface.velocity, axis=1)

    after, first = scan(), scan()
    for surface in (after[3], after[1], after[0]):
        surface.carrier_density()  # looks for more pockets
    for number in (0, 1):
        again, alone = after[number], first[number]
        assert (again.evaluations, again.verdict) == (alone.evaluations, alone.verdict)
        np.testing.assert_array_equal(again.weight, alone.weight)
    assert after.evaluations < sum(surface.evaluations for surface in (after[0], after[1], after[2]))


def test_levels_and_temperatures_broadcast(d3):
    scan = jk.fermi_surfaces(d3, [[-1.2], [-1.1]], [600.0, 1200.0], jk.Grid(16), replicas=4)
    assert [(s.fermi_level, s.temperature) for s in scan] == [(mu, t) for mu in (-1.2, -1.1) for t in (600.0, 1200.0)]
    assert len(scan[1:3]) == 2 and scan[1:3][0].temperature == 1200.0
    alone = jk.fermi_surface(d3, -1.1, 1200.0, jk.Grid(24), replicas=4).density_of_states()
    wide = scan[3].density_of_states()
    assert abs(wide.mean - alone.mean) < 6 * np.hypot(wide.stderr, alone.stderr) + 1e-3 * alone.mean
    with pytest.raises(jk.JaxkinError, match="do not fit together"):
        jk.fermi_surfaces(d3, [0.1, 0.2], [1.0, 2.0, 3.0])


@pytest.mark.parametrize("sampler", [jk.Lines(6), jk.Grid(12)])
def test_fifty_levels_cost_less_than_five(d3, sampler):
    """Diagonalisations, which are the time of a large model: measured 1.7 and 1.5 times those of one level."""
    many = np.linspace(-1.3, -1.1, 50)
    fifty = jk.fermi_surfaces(d3, many, 600.0, sampler, replicas=2)
    one = jk.fermi_surface(d3, many[25], 600.0, sampler, replicas=2)
    assert fifty[0].evaluations < 5 * one.evaluations


def test_a_level_without_states_warns_when_it_is_taken(d3):
    scan = jk.fermi_surfaces(d3, [-1.2, 55.0], 0.0, jk.Lines(4), replicas=2)
    assert len(scan[0]) > 0
    with pytest.warns(jk.AccuracyWarning, match="no state was found at 55 eV: the Fermi level lies in a gap"):
        assert len(scan[1]) == 0


def test_rtol_is_met_by_every_level(d3):
    scan = jk.fermi_surfaces(d3, LEVELS, 1200.0, jk.Grid(8), replicas=4, rtol=0.02)
    for estimate in tensors(scan):
        assert estimate.stderr.max() <= 0.02 * np.abs(estimate.mean).max()
    assert all("met" in surface.verdict for surface in scan)


class TestSymmetricLattice:
    def test_same_answer_from_fewer_diagonalisations(self, d3, operations):
        off = jk.fermi_surface(d3, -1.2, 1500.0, jk.Grid(28), replicas=4, symmetry=False)
        on = jk.fermi_surface(d3, -1.2, 1500.0, jk.Grid(28), replicas=4, symmetry=operations)
        for values in (
            moment_velocity,
            lambda s: np.ones(len(s)),
            lambda s: np.einsum("na,nb->nab", s.velocity, s.velocity),
        ):
            a, b = off.integrate(values(off)), on.integrate(values(on))
            error, largest = np.hypot(a.stderr, b.stderr), np.abs(a.mean).max()
            assert np.all(np.abs(a.mean - b.mean) < 6 * error + 1e-6 * largest)
            assert np.max(error) < 0.05 * largest
        assert on.evaluations < 0.3 * off.evaluations  # 0.2 measured
        carriers = [s.carrier_density()["electrons"] for s in (off, on)]
        error = np.hypot(carriers[0].stderr, carriers[1].stderr)
        assert abs(carriers[0].mean - carriers[1].mean) < 6 * error < 0.01 * carriers[0].mean

    def test_generators_give_the_whole_group(self, d3, operations):
        """C3z, C2 and time reversal: their products are used as well."""
        chosen = [next(op for op in operations if op.order == 3 and not op.antiunitary)]
        chosen += [next(op for op in operations if op.order == 2 and not op.antiunitary)]
        chosen += [next(op for op in operations if op.antiunitary and np.allclose(op.rotation, np.eye(3)))]
        some, every = zone_maps(d3, chosen), zone_maps(d3, operations)
        assert {one.matrix.tobytes() for one in some} == {one.matrix.tobytes() for one in every}

    @pytest.mark.parametrize("name", ["kramers-weyl-d3", "kramers-weyl-d4", "kramers-weyl-o", "haldane"])
    def test_shifts_average_to_a_finer_lattice(self, name):
        """Over the shifts the mean of e^{2πi h·s} vanishes for the shortest h, and each kept map keeps the lattice."""
        model = jk.models.get(name)
        maps = zone_maps(model, jk.find_symmetries(model))
        d, rng = model.dimension, np.random.default_rng(0)
        for choice in random_shifts(maps, 2 * np.pi * np.asarray(model.dual)):
            turns = np.linspace(0, 1, 12, endpoint=False)
            shifts = (choice.family[:, None, :] + turns[:, None] * choice.axis).reshape(-1, d)
            for h in np.concatenate([np.eye(d, dtype=int), -np.eye(d, dtype=int)]):
                assert abs(np.exp(2j * np.pi * shifts @ h).mean()) < 1e-12
            shift, kept = choice.draw(rng)
            for one in kept:
                moved = one.matrix @ (rng.integers(0, 9, d) + shift) - shift
                np.testing.assert_allclose(moved, np.rint(moved), atol=1e-9)

    def test_the_error_bar_is_honest(self, d3, operations):
        """24 seeds, pulls through Student's t: measured mean −0.03 and −0.09, standard deviation 0.91 and 0.97."""
        exact = tensors([jk.fermi_surface(d3, -1.2, 1500.0, jk.Grid(48), 4, symmetry=operations)])[0].mean
        pulls = []
        for seed in range(24):
            (estimate,) = tensors([jk.fermi_surface(d3, -1.2, 1500.0, jk.Grid(12), 4, seed, symmetry=operations)])
            pulls.append(((estimate.mean - exact) / estimate.stderr)[[0, 2], [0, 2]])
        normal = stats.norm.ppf(stats.t.cdf(np.array(pulls), 3))
        assert np.all(np.abs(normal.mean(axis=0)) < 0.6)  # 0.2 is one standard deviation
        assert np.all((normal.std(axis=0) > 0.6) & (normal.std(axis=0) < 1.4))
