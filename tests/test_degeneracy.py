"""Bands that Wannier functions split by less than a meV count as one set; inversion forbids a stated skew part."""

import numpy as np
import pytest

import jaxkin as jk

SPIN = np.array([[[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]])


def kramers_pairs(split):
    """A lattice with inversion and time reversal, every band twofold, whose pairs a small random term splits.

    Four orbitals, s and p with spin: H = [2.5 − Σcos k] τ_z + Σ sin k_i τ_x σ_i.
    """
    tau_x, tau_z = SPIN[0], SPIN[2]
    rng = np.random.default_rng(2)
    steps, hoppings = [[0, 0, 0]], [2.5 * np.kron(tau_z, np.eye(2))]
    for axis in range(3):
        for sign in (1, -1):
            step = np.zeros(3, int)
            step[axis] = sign
            steps.append(step)
            hoppings.append(-0.5 * np.kron(tau_z, np.eye(2)) - 0.5j * sign * np.kron(tau_x, SPIN[axis]))
    noise = rng.normal(size=(4, 4, 2)) @ [1, 1j]
    hoppings[0] = hoppings[0] + 0.25 * split * (noise + noise.conj().T)
    return jk.TightBinding(2.0 * np.eye(3), steps, np.array(hoppings), np.zeros((4, 3)))


K = np.random.default_rng(0).uniform(0, 1, (8, 3))


@pytest.mark.parametrize("split", [1e-6, 1e-4, 3e-4])
def test_split_kramers_pairs_have_the_moments_of_the_pair(split):
    """Their traces are those of the twofold bands, which inversion and time reversal make zero."""
    noisy, exact = kramers_pairs(split), kramers_pairs(0.0)
    gaps = [np.diff(np.asarray(noisy.bands(k))) for k in K]
    assert max(gap[0] for gap in gaps) < 1e-3 < min(gap[1] for gap in gaps)
    for band in range(4):
        found = jk.band_geometry(noisy, K, np.full(len(K), band))
        true = jk.band_geometry(exact, K, np.full(len(K), band))
        for name in ("orbital_moment", "berry_curvature"):
            difference = np.abs(np.asarray(getattr(found, name) - getattr(true, name))).max()
            assert difference < 2 * split, (name, difference)  # worst 0.46 split, in μ_B and Å²
            assert np.abs(np.asarray(getattr(true, name))).max() < 1e-10


def test_alone_they_have_moments_however_small_the_splitting():
    """What the threshold is for, and that it is an argument: 0.4 μ_B and 4 Å² where symmetry says zero."""
    for split in (3e-4, 3e-5):
        found = jk.band_geometry(kramers_pairs(split), K, np.zeros(len(K), int), degeneracy=0.0)
        assert np.abs(np.asarray(found.berry_curvature)).max() > 1.0
    wide = jk.band_geometry(kramers_pairs(0.02), K, np.zeros(len(K), int))
    as_one = jk.band_geometry(kramers_pairs(0.02), K, np.zeros(len(K), int), degeneracy=0.1)
    assert np.abs(np.asarray(wide.berry_curvature - as_one.berry_curvature)).max() > 0.1


def test_the_velocity_stays_that_of_the_band():
    """Line weights are its inverse: central differences of the band's own energy."""
    model, h = kramers_pairs(3e-4), 1e-5
    found = jk.band_geometry(model, K, np.zeros(len(K), int))
    for axis in range(3):
        step = h * np.eye(3)[axis]
        slope = [(model.bands(k + step)[0] - model.bands(k - step)[0]) / (2 * h) / np.pi for k in K]  # κ/k = a/2π
        assert np.abs(np.asarray(found.velocity)[:, axis] - np.array(slope)).max() < 1e-6


def test_surfaces_state_it_and_follow_it():
    model = kramers_pairs(3e-4)
    options = {"sampler": jk.Lines(4), "replicas": 2, "symmetry": False}
    surface = jk.fermi_surface(model, 1.2, **options)
    assert surface.degeneracy == 1e-3
    assert np.abs(surface.orbital_moment).max() < 1e-2
    apart = jk.fermi_surface(model, 1.2, degeneracy=0.0, **options)
    assert apart.degeneracy == 0.0 and np.abs(apart.orbital_moment).max() > 0.1
    again = surface.at(fermi_level=1.2)
    np.testing.assert_allclose(again.orbital_moment, surface.orbital_moment, atol=1e-6)


@pytest.mark.parametrize("name", ["weyl", "kramers-weyl-d4"])
def test_inversion_forbids_a_stated_skew_part(name):
    model = jk.models.get(name)
    level = 0.1 if name == "weyl" else -1.5
    surface = jk.fermi_surface(model, level, sampler=jk.Lines(8), replicas=2)

    def said(disorder):
        return any(
            "inversion centre, which forbids" in line for line in jk.gyrotropic_response(surface, disorder).warnings
        )

    assert said(jk.RelaxationTime(1.0, 50.0, axis=(1, 1, 1))) == (name == "weyl")
    assert not said(jk.RelaxationTime(1.0))
