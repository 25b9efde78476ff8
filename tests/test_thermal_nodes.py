"""Nodes of a thermal lattice that hardly count: taken at random, unbiased, with less noise than the lattice's error."""

import numpy as np
import pytest

import jaxkin as jk
from jaxkin.surface import thermal_grid
from jaxkin.surface.thermal import Thermal
from jaxkin.surface.thermal_grid import probability

KELVIN, LEVEL = 100.0, -0.30
KT = jk.units.BOLTZMANN * KELVIN


def cubic(hopping=0.1):
    """ε = −2t Σ cos k_i on a cube of 1 Å."""
    steps = np.concatenate([np.eye(3), -np.eye(3)])
    return jk.TightBinding(np.eye(3), steps, -hopping * np.ones((6, 1, 1)), np.zeros((1, 3)))


def exact(level, kelvin, hopping=0.1, count=160):
    """∫(dk)(−f⁰') and ∫(dk)(−f⁰')v_x² on a lattice that has converged."""
    k = 2 * np.pi * (np.arange(count) + 0.5) / count
    along = -2 * hopping * np.cos(k)
    energy = along[:, None, None] + along[:, None] + along
    width = jk.units.BOLTZMANN * kelvin
    weight = 0.25 / np.cosh(0.5 * np.clip((energy - level) / width, -700, 700)) ** 2 / width
    speed = (2 * hopping * np.sin(k)) ** 2
    return float(weight.mean()), float(np.mean(weight.mean(axis=(1, 2)) * speed))


def sums(surface):
    return surface.density_of_states(), surface.integrate(surface.velocity[:, 0] ** 2)


@pytest.fixture
def all_nodes(monkeypatch):
    """A way to switch the choice off."""
    return lambda: monkeypatch.setattr(thermal_grid, "MANY", 10**9)


def test_importance_is_the_thermal_factor_over_its_largest():
    energy = np.linspace(-0.5, 0.5, 101)
    metal = Thermal(0.1, 300.0)
    np.testing.assert_allclose(
        metal.importance(energy), metal.density(energy) / metal.density(np.array(0.1)), rtol=1e-12
    )
    gap = Thermal(0.0, 300.0, distance=0.2)
    beyond = energy[np.abs(energy) >= 0.2]
    np.testing.assert_allclose(gap.importance(beyond), gap.density(beyond) / gap.density(np.array(0.2)), rtol=1e-10)
    assert np.all(gap.importance(energy[np.abs(energy) < 0.2]) == 1)
    assert Thermal(0.0, 1e-3).importance(np.array([0.0, 1.0])).tolist() == [1.0, 0.0]


def test_probability_is_a_root_below_what_hardly_counts():
    thermal, other = Thermal(0.0, KELVIN), Thermal(0.2, KELVIN)
    energy = np.linspace(-0.6, 0.6, 201)
    coarse = probability([thermal], 8 * KT, energy)
    np.testing.assert_allclose(coarse, np.minimum(np.sqrt(thermal.importance(energy) / 0.01), 1))
    # a lattice that is off by less leaves less to chance: e^{−2π²/2} for points 2 kT apart
    fine = probability([thermal], 2 * KT, energy)
    np.testing.assert_allclose(fine, np.minimum(np.sqrt(thermal.importance(energy) / np.exp(-(np.pi**2))), 1))
    assert np.all(probability([thermal], 0.1 * KT, energy[np.abs(energy) < 16 * KT]) == 1)
    both = probability([thermal, other], 8 * KT, energy)
    np.testing.assert_allclose(both, np.maximum(coarse, probability([other], 8 * KT, energy)))


def test_fewer_nodes_and_the_same_integral(all_nodes):
    """On the same random lattices; the search is the same, and so are the nodes that matter."""
    some = jk.fermi_surface(cubic(), LEVEL, KELVIN, jk.Grid(36), replicas=2, seed=3, symmetry=False)
    all_nodes()
    every = jk.fermi_surface(cubic(), LEVEL, KELVIN, jk.Grid(36), replicas=2, seed=3, symmetry=False)
    assert len(some.k) < 0.6 * len(every.k)
    for one, other, true in zip(sums(some), sums(every), exact(LEVEL, KELVIN), strict=True):
        assert 0 < abs(one.mean / other.mean - 1) < 1e-4  # the noise of the choice
        assert abs(one.mean / true - 1) < 2e-3  # the lattice's error
    counts = np.abs(every.energy - LEVEL) < 4 * KT
    assert np.isin(every.k[counts].round(9), some.k.round(9)).all()


def test_the_choice_is_unbiased(all_nodes):
    """Replica by replica against all nodes of the same lattice: its noise alone, small beside the lattice's scatter."""
    seeds, values = range(12), []
    for switch in (lambda: None, all_nodes):
        switch()
        surfaces = [
            jk.fermi_surface(cubic(), LEVEL, KELVIN, jk.Grid(20), replicas=6, seed=seed, symmetry=False)
            for seed in seeds
        ]
        values.append(np.array([[one.samples for one in sums(surface)] for surface in surfaces]))
    some, every = values  # (seeds, sums, replicas)
    noise = np.moveaxis((some - every) / every.mean(axis=(0, 2))[:, None], 1, 0).reshape(2, -1)
    scatter = every.std(axis=2, ddof=1).mean(axis=0) / every.mean(axis=(0, 2))
    assert np.all(np.abs(noise.mean(axis=1)) < 5 * noise.std(axis=1) / np.sqrt(noise.shape[1]))
    assert np.all(noise.std(axis=1) < 3e-4) and np.all(noise.std(axis=1) > 0)
    assert np.all(noise.std(axis=1) < 0.1 * scatter)


def test_images_and_bands_of_a_node():
    """With symmetry, two bands and levels far apart: the same as without the choice, in sigma."""
    model, levels = jk.models.get("kramers-weyl-d4"), [-1.6, -1.2]
    found = [
        jk.fermi_surfaces(model, levels, 600.0, jk.Grid(36), replicas=6, seed=seed, symmetry=symmetry)
        for seed, symmetry in ((1, True), (2, False))
    ]
    for one, other in zip(*found, strict=True):
        a, b = (s.integrate(s.orbital_moment[:, :, None] * s.velocity[:, None, :]) for s in (one, other))
        scale = np.abs(a.mean).max()
        assert np.all(np.abs(a.mean - b.mean) < 5 * np.hypot(a.stderr, b.stderr) + 1e-5 * scale)
        assert max(a.stderr.max(), b.stderr.max()) < 1e-2 * scale


def test_elsewhere_it_still_serves():
    """Two kT off, and half as hot again, the nodes that were left to chance count more."""
    surface = jk.fermi_surface(cubic(), LEVEL, KELVIN, jk.Grid(26), replicas=6, seed=5, symmetry=False)
    # of −f⁰' there, what lies beyond the 16.5 kT of the surface itself
    for level, kelvin, tail in ((LEVEL - 2 * KT, KELVIN, np.exp(-14.5)), (LEVEL, 1.5 * KELVIN, 2 * np.exp(-11.0))):
        there = surface.at(fermi_level=level, temperature=kelvin)
        for one, true in zip(sums(there), exact(level, kelvin), strict=True):
            assert abs(one.mean - true) < 5 * one.stderr + tail * true
            assert one.stderr < 5e-3 * true
