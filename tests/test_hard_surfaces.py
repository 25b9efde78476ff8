"""Surfaces that are hard to sample, against exact answers: where accuracy is lost the error bar grows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.special import ellipkm1

import jaxkin as jk


def square_dos(energy):
    """∫(dk) δ(ε + 2cos k_x + 2cos k_y) = K(1 − (ε/4)²)/2π²."""
    return ellipkm1((energy / 4) ** 2) / (2 * np.pi**2) if abs(energy) < 4 else 0.0


def cubic_dos(energy):
    """The same in three dimensions, as an integral over k_z of the square lattice's."""
    special = np.array([(-energy + edge) / 2 for edge in (-4, 0, 4)])
    special = np.arccos(special[np.abs(special) < 1 - 1e-12])
    return quad(lambda k: square_dos(energy + 2 * np.cos(k)), 0, np.pi, points=special, epsabs=1e-10)[0] / np.pi


def cosines(*bands, seed=0):
    """Bands e − 2t Σ_i cos 2π(κ_i − κ0_i) for each (κ0, t, e), on orbitals that a rotation mixes."""
    d, count = len(bands[0][0]), len(bands)
    steps = np.concatenate([np.zeros((1, d), int), np.eye(d, dtype=int), -np.eye(d, dtype=int)])
    hoppings = [np.append(e, -t * np.exp(-2j * np.pi * (steps[1:] @ np.asarray(k0)))) for k0, t, e in bands]
    turn = np.linalg.qr(np.random.default_rng(seed).normal(size=(count, count)))[0]
    mixed = np.einsum("an,nr,bn->rab", turn, hoppings, turn)
    return jk.TightBinding(np.eye(d), steps, mixed, np.zeros((count, d)))


def check(estimate, exact, cap):
    """Within five standard errors, and these within ``cap`` of the exact value."""
    assert abs(estimate.mean - exact) < 5 * estimate.stderr + 1e-9 * abs(exact)
    assert estimate.stderr < cap * abs(exact)


def speed_squared(surface):
    return surface.integrate(np.sum(surface.velocity**2, axis=1))


class TestFlatBands:
    """A bandwidth of a thousandth of the hopping."""

    WIDTH = 1e-3

    def model(self):
        """Lieb's lattice with alternating bonds: a flat band in a gap, given its width by a hopping of its own."""
        one, other, scale = 1.0, 0.6, self.WIDTH / 8
        steps = [(0, 0), (1, 0), (-1, 0), (0, 1), (0, -1)]
        hoppings = np.zeros((5, 3, 3))
        hoppings[1:] = -scale * np.eye(3)
        for site, (there, back) in ((1, (1, 2)), (2, (3, 4))):
            hoppings[0, 0, site] = hoppings[0, site, 0] = one
            hoppings[there, 0, site] = hoppings[back, site, 0] = other
        return jk.TightBinding(np.eye(2), steps, hoppings, np.zeros((3, 2))), scale

    @pytest.mark.parametrize("place", [-3.9, -1.3, 0.02])
    def test_density_of_states(self, place):
        model, scale = self.model()
        surface = jk.fermi_surface(model, place * scale, sampler=jk.Lines(24), replicas=6)
        check(surface.density_of_states(), square_dos(place) / scale, 0.03)
        assert set(surface.band) == {1}


class TestVanHove:
    """Levels at saddles: the density of states diverges in two dimensions and has a kink in three."""

    def at(self, level, n=24):
        return jk.fermi_surface(cosines(([0.1, 0.2], 1.0, 0.0)), level, sampler=jk.Lines(n), replicas=8)

    @pytest.mark.parametrize(("level", "cap"), [(1e-1, 0.01), (1e-2, 0.1), (1e-4, 0.3)])
    def test_near_the_divergence(self, level, cap):
        check(self.at(level).density_of_states(), square_dos(level), cap)

    def test_at_the_divergence(self):
        """What exists is exact, ∫v²δ = 8/π² and the filling ½; the error bar of what does not is large."""
        with pytest.warns(jk.AccuracyWarning, match="0 eV is a van Hove energy of band 0"):
            saddle = self.at(0.0)
        beside = self.at(0.5)
        check(speed_squared(saddle), 8 / np.pi**2, 1e-3)
        check(saddle.carrier_density()["electrons"], 0.5, 1e-3)
        states, smooth = saddle.density_of_states(), beside.density_of_states()
        assert states.stderr / states.mean > 1e3 * smooth.stderr / smooth.mean

    @pytest.mark.parametrize("level", [-2.0, 2.0])
    def test_kinks_of_the_cubic_lattice(self, level):
        """Necks of zero width: the pocket touches its images across the zone's faces."""
        with pytest.warns(jk.AccuracyWarning, match="2 eV is a van Hove energy of band 0"):
            surface = jk.fermi_surface(cosines(([0.3, 0.0, 0.1], 1.0, 0.0)), level, sampler=jk.Lines(16), replicas=6)
        check(surface.density_of_states(), cubic_dos(level), 0.02)


@pytest.mark.parametrize("level", [1e-2, 1e-4])
def test_camel_back(level):
    """ε = (k² − k₀²)²: an inner and an outer sphere, down to a shell of 4 % of its radius."""
    k0, s = 0.5, np.sqrt(level)
    model = jk.KdotP(lambda k: ((k @ k - k0**2) ** 2)[None, None], ((-0.8, 0.9),) * 3)
    surface = jk.fermi_surface(model, level, sampler=jk.Lines(20), replicas=6)
    spheres = np.sqrt(k0**2 + np.array([-s, s]))
    check(surface.density_of_states(), spheres.sum() / (8 * np.pi**2 * s), 1e-3)
    density = surface.carrier_density()
    filled = density["electrons"].samples + density["holes"].samples  # each sheet counts from its outside
    volume = (spheres[1] ** 3 - spheres[0] ** 3) / (6 * np.pi**2)
    assert abs(filled.mean() - volume) < 5 * filled.std(ddof=1) / np.sqrt(len(filled)) < 0.05 * volume


class TestSeveralBands:
    """Bands that touch, cross or coincide on the surface; each alone is known."""

    LEVEL = -3.5

    @pytest.mark.parametrize("distance", [1.0, 0.6])
    def test_touching_and_crossing_pockets(self, distance):
        """At the ``distance`` 1 two pockets touch in a point; nearer, they cross along a line on the surface."""
        across = 2 * np.arccos(-(self.LEVEL + 4) / 2) / (2 * np.pi) * distance
        model = cosines(([0.3, 0.2, 0.1], 1.0, 0.0), ([0.3 + across, 0.2, 0.1], 1.0, 0.0))
        surface = jk.fermi_surface(model, self.LEVEL, sampler=jk.Lines(8), replicas=4)
        check(surface.density_of_states(), 2 * cubic_dos(self.LEVEL), 2e-2)
        assert set(surface.band) == {0, 1} if distance < 1 else {0}

    def test_identical_bands_count_twice(self):
        """Two copies of a crystal on orbitals of both: every band twofold, every tensor doubled, line by line."""
        model = jk.models.get("haldane")
        turn = np.linalg.qr(np.random.default_rng(1).normal(size=(4, 4)))[0]
        both = turn @ np.kron(np.asarray(model.hoppings), np.eye(2)) @ turn.T
        model = jk.TightBinding(model.lattice, model.translations, model.hoppings, np.zeros((2, 2)))
        double = jk.TightBinding(model.lattice, model.translations, both, np.zeros((4, 2)))
        one, two = (jk.fermi_surface(m, -1.6, sampler=jk.Lines(10), replicas=2) for m in (model, double))
        assert len(two) == 2 * len(one)
        for name in ("velocity", "orbital_moment", "berry_curvature"):
            single, doubled = (
                s.integrate(getattr(s, name)[:, :, None] * s.velocity[:, None, :]).mean for s in (one, two)
            )
            np.testing.assert_allclose(doubled, 2 * single, atol=1e-8 * np.abs(single).max())

    @pytest.mark.parametrize("level", [0.0, 1e-6, 1e-3])
    def test_level_at_a_weyl_node(self, level):
        """ν = 2 ε²/2π²v³ of two spheres, here with v = t a/ħ, that shrink to nothing."""
        model = jk.models.get("weyl", hopping=0.5)
        exact = level**2 / (np.pi**2 * 0.5**3)
        if level > 1e-4:
            check(jk.fermi_surface(model, level, sampler=jk.Lines(12), replicas=6).density_of_states(), exact, 1e-2)
        else:
            with pytest.warns(jk.AccuracyWarning, match="no state was found"):
                surface = jk.fermi_surface(model, level, sampler=jk.Lines(12), replicas=6)
            assert surface.density_of_states().mean == 0


@pytest.mark.parametrize("place", [(0, 0, 0), (0.5, 0, 0.5), (0.5, 0.5, 0.5), (0.31, 0.17, 0.73)])
def test_pockets_cut_by_the_boundary(place):
    """At the zone's corner, on its edge, at the middle of the grid or nowhere special: one pocket, the same states."""
    surface = jk.fermi_surface(cosines((place, 1.0, 0.0)), -5.0, sampler=jk.Lines(16), replicas=6)
    assert len(surface.pockets) == 1
    assert surface.pockets[0].closed.all()
    check(surface.density_of_states(), cubic_dos(-5.0), 1e-4)


@settings(max_examples=2)
@given(st.tuples(*[st.floats(0, 1)] * 2), st.integers(0, 1000))
def test_planted_pocket_in_a_metal(place, seed):
    """0.5 % of the zone wide, anywhere, among sheets of other bands, which it may touch or cross."""
    radius, rng = 0.0025 * 2 * np.pi, np.random.default_rng(seed)
    level = -4 + radius**2
    sheets = [(rng.random(2), 0.5, level - 1.0), (rng.random(2), 0.4, level + 0.7)]
    model = cosines((place, 1.0, 0.0), *sheets, seed=seed)
    surface = jk.fermi_surface(model, level, sampler=jk.Lines(24), replicas=4, smallest_pocket=2 * radius)
    exact = square_dos(level) + sum(square_dos((level - e) / t) / t for _, t, e in sheets)
    check(surface.density_of_states(), exact, 0.1)
