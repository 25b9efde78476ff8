"""Orbital and spin magnetization of filled states against plain sums, closed forms and a finite flake."""

import warnings

import equinox as eqx
import numpy as np
import pytest
from wannierised import Calculation, crystal

import jaxkin as jk
from jaxkin import units
from jaxkin.geometry import ELECTRON_G
from jaxkin.surface.continuation import continued
from jaxkin.surface.contour import Points, Resolved
from jaxkin.surface.filled_moments import FilledMoments
from jaxkin.surface.sea import filled_berry_curvature
from jaxkin.surface.thermal import Thermal

SIGMA = np.array([[[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]])
UNIT = units.MAGNETON_PER_EV_A2


def below(energy, level, kt):
    """kT ln(1 + e^{(μ−ε)/kT}) and f⁰, as they are written."""
    if kt == 0:
        return np.maximum(level - energy, 0), np.where(energy < level, 1.0, 0.0)
    y = (level - energy) / kt
    return kt * np.logaddexp(0, y), 1 / (1 + np.exp(-y))


def by_bands(model, k, level, temperature):
    """Σ_n f m + (|e|/ħ) L Ω and the spin's part of every k, (K, 2, 3) in μ_B, of the bands' own moments."""
    total = np.zeros((len(k), 2, 3))
    for band in range(model.size):
        g = jk.band_geometry(model, k, np.full(len(k), band), degeneracy=1e-9)
        once, f = below(np.asarray(g.energy), level, units.BOLTZMANN * temperature)
        own = np.asarray(g.orbital_moment - g.spin_moment)
        total[:, 0] += f[:, None] * own + UNIT * once[:, None] * np.asarray(g.berry_curvature)
        total[:, 1] += f[:, None] * np.asarray(g.spin_moment)
    return total


def mesh(count, dimension):
    return np.stack(np.meshgrid(*(np.arange(count) / count,) * dimension, indexing="ij"), -1).reshape(-1, dimension)


@pytest.fixture(scope="module")
def wannier(tmp_path_factory):
    """With ⟨r⟩, ⟨Hr⟩, ⟨rHr⟩ and spin: no symmetry at all."""
    files = Calculation(crystal(), (3, 3, 2), bands=4, functions=3, frozen=1).write(tmp_path_factory.mktemp("files"))
    return jk.read_wannier90(files)


@pytest.mark.parametrize("temperature", [0.0, 3000.0])
@pytest.mark.parametrize("level", [-3.0, -1.3, 2.0])
def test_pairs_of_states_are_the_sum_over_bands(wannier, level, temperature):
    """At one k, everything that a Wannier file can have included."""
    k = np.random.default_rng(2).random((6, 3))
    found = Points(wannier, FilledMoments(wannier, Thermal(level, temperature)))(k) / float(wannier.measure)
    expected = by_bands(wannier, k, level, temperature)
    np.testing.assert_allclose(found, expected, atol=1e-11 * np.abs(expected).max())
    assert np.abs(expected[:, 0]).max() > 1e-3 and np.abs(expected[:, 1]).max() > 0.1


@pytest.mark.parametrize("temperature", [0.0, 3000.0])
def test_the_integrand_is_analytic(wannier, temperature):
    """Its mean over a circle of complex k is its value at the centre, far from where a band meets μ."""
    integrand = FilledMoments(wannier, Thermal(-1.3, temperature))
    centre, direction = np.array([0.13, 0.41, 0.77]), np.array([0.3, -0.5, 0.4])
    k = centre + 0.02 * np.exp(2j * np.pi * np.arange(32) / 32)[:, None] * direction
    h = np.stack([np.asarray(continued(wannier, one)) for one in np.vstack([k, centre])])
    energies, right = np.linalg.eig(h)
    resolved = Resolved(np.vstack([k, centre]), energies, right, np.linalg.inv(right))
    values = integrand(resolved, 0.0, np.ones(33))
    assert np.abs(values[:-1].mean(axis=0) - values[-1]).max() < 1e-11 * np.abs(values[-1]).max()


# --- against plain sums and closed forms ----------------------------------------------------------


def haldane(mass=0.2, flux=0.9):
    """Without particle-hole symmetry: gapped from −0.9 to 0.2 eV at least for both masses used."""
    return jk.models.get("haldane", mass=mass, flux=flux)


@pytest.mark.parametrize("mass", [0.2, 1.2])
def test_haldane_in_its_gap(mass):
    """M of a mesh that converges geometrically, and dM/dμ of the Chern number, to 1e-8."""
    model, levels = haldane(mass), (-0.2, 0.05)
    found = [jk.spontaneous_magnetization(model, level, rtol=1e-9).orbital[2] for level in levels]
    plain = [by_bands(model, mesh(120, 2), level, 0.0).mean(axis=0)[0, 2] for level in levels]
    assert np.abs(np.subtract(found, plain)).max() < 1e-8 * np.abs(plain).max()
    slope = (found[1] - found[0]) / (levels[1] - levels[0])
    chern = 2 * np.pi * slope / (UNIT * float(model.cell_volume))
    assert abs(chern - (-1.0 if mass == 0.2 else 0.0)) < 1e-8


def test_haldane_as_a_metal_at_a_temperature():
    """A mesh converges here too, as kT is 0.2 eV; so does ∂M/∂μ = ∫(−f⁰')m + (|e|/ħ)∫f⁰Ω, term by term."""
    model, temperature, level, step = haldane(), 0.2 / units.BOLTZMANN, -1.2, 0.02
    k, volume = mesh(80, 2), float(model.cell_volume)
    found = {
        shift: jk.spontaneous_magnetization(model, level + shift, temperature, rtol=1e-9).orbital[2]
        for shift in (-2 * step, -step, 0.0, step, 2 * step)
    }
    plain = by_bands(model, k, level, temperature).mean(axis=0)[0, 2]
    assert abs(found[0.0] - plain) < 1e-8 * abs(plain)
    slope = (8 * (found[step] - found[-step]) - found[2 * step] + found[-2 * step]) / (12 * step)
    flux = filled_berry_curvature(model, level, temperature).values[2]
    moments = 0.0
    for band in range(2):
        g = jk.band_geometry(model, k, np.full(len(k), band))
        f = below(np.asarray(g.energy), level, 0.2)[1]
        moments += np.mean(f * (1 - f) / 0.2 * np.asarray(g.orbital_moment)[:, 2])
    assert abs(slope - moments - UNIT * volume * flux) < 1e-5 * abs(UNIT * volume * flux)  # (step/kT)⁴
    assert abs(moments) > 0.1 * abs(slope)


@pytest.mark.parametrize("temperature", [0.0, 300.0])
@pytest.mark.parametrize("level", [0.05, 0.5])
def test_massive_dirac_band(level, temperature):
    """(|e|/ħ)/4π times μ in the gap ±Δ, and beyond it Δ: the whole plane, averaged over −f⁰'."""
    mass = 0.2
    model = jk.models.get("massive-dirac-2d", velocity=1.3, mass=mass, box=1.0)
    found = jk.spontaneous_magnetization(model, level, temperature, rtol=1e-8)
    x = np.arange(-34, 34, 1e-3)
    weight = 1e-3 / (4 * np.cosh(x / 2) ** 2)
    exact = UNIT / (4 * np.pi) * np.sum(weight * np.clip(level + units.BOLTZMANN * temperature * x, -mass, mass))
    assert abs(found.orbital[2] - exact) < 1e-7 * exact
    assert found.unit == "A" and found.density == pytest.approx(units.BOHR_MAGNETON * 1e20)


def test_weyl_semimetal_is_as_symmetric_as_its_energies():
    """Energies ±ε: every pair of states has its mean at zero, and M = (|e|/ħ) μ ∫f⁰Ω in a metal, too."""
    model, level = jk.models.get("weyl", node=0.2), 0.2
    found = jk.spontaneous_magnetization(model, level, rtol=1e-2)
    flux = filled_berry_curvature(model, level, rtol=1e-2)
    scale = UNIT * float(model.cell_volume) * level
    assert np.abs(found.orbital - scale * flux.values).max() <= found.orbital_error + scale * flux.error
    assert found.orbital_error < 0.03 * abs(found.orbital[2])


def spinful(model, field=(0.0, 0.0, 0.0)):
    """Both spins of a model, in a field."""
    steps = np.vstack([model.translations, np.zeros(model.dimension)])
    zeeman = np.kron(np.eye(model.size), np.tensordot(field, SIGMA, axes=1))
    hoppings = np.concatenate([np.kron(np.asarray(model.hoppings), np.eye(2)), zeeman[None]])
    spin = np.stack([np.kron(np.eye(model.size), one) for one in SIGMA])
    return jk.TightBinding(np.asarray(model.lattice), steps, hoppings, np.repeat(model.positions, 2, axis=0), spin=spin)


@pytest.mark.parametrize("split", [0.0, 1e-9, 1e-6, 1e-4])
def test_bands_that_touch_everywhere(split):
    """Each twofold, or split by less than anything: twice the moment of one spin, to 1e-7 at T = 0 and in a metal."""
    model, both = haldane(), spinful(haldane(), (0.0, 0.0, 0.5 * split))
    for level, temperature in ((-0.1, 0.0), (-1.2, 0.0), (-1.2, 2000.0)):
        one, two = (jk.spontaneous_magnetization(m, level, temperature, rtol=1e-7) for m in (model, both))
        assert np.abs(two.orbital - 2 * one.orbital).max() < 2e-7 * abs(two.orbital[2]) + 2 * split
        assert np.abs(two.spin).max() <= two.spin_error + ELECTRON_G * split


def test_time_reversal_leaves_nothing():
    model = jk.models.get("kramers-weyl-d4")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = jk.spontaneous_magnetization(model, -1.5, rtol=0.1)
    assert np.abs(found.orbital).max() <= found.orbital_error
    assert np.abs(found.spin).max() <= found.spin_error


def test_spin_of_a_chain_in_a_field():
    """−½ g_s (n_+ − n_−) along the field, n_± = arccos((±B − μ)/2t)/π."""
    hopping, level, field = 0.7, 0.3, np.array([0.1, -0.2, 0.25])
    chain = jk.TightBinding([[2.0, 0, 0]], [[1], [-1]], np.full((2, 1, 1), -hopping), [[0.0]])
    found = jk.spontaneous_magnetization(spinful(chain, field), level, rtol=1e-9)
    b = np.linalg.norm(field)
    up, down = (np.arccos((sign * b - level) / (2 * hopping)) / np.pi for sign in (1, -1))
    np.testing.assert_allclose(found.spin, -0.5 * ELECTRON_G * (up - down) * field / b, rtol=1e-8)
    assert not np.any(found.orbital) and found.unit == "A m"


def test_finite_flake():
    """−(|e|/2) Tr P r×v of a flake tends to it as its size grows: two terms in the inverse size leave 1 %."""
    model = haldane(mass=1.2)
    step, hop, tau = (np.asarray(x) for x in (model.translations, model.hoppings, model.positions))
    sizes, moments = np.array([8, 12, 16, 20]), []
    for size in sizes:
        cells = mesh(size, 2) * size
        index = {tuple(cell): number for number, cell in enumerate(np.rint(cells).astype(int).tolist())}
        h = np.zeros((len(cells), 2, len(cells), 2), complex)
        for cell, number in index.items():
            for r, t in zip(step, hop, strict=True):
                other = index.get(tuple(np.rint(np.array(cell) + r).astype(int)))
                if other is not None:
                    h[number, :, other] += t
        h = h.reshape(2 * len(cells), -1)
        place = ((cells[:, None] + tau).reshape(-1, 2) @ np.asarray(model.lattice))[:, :2]
        energies, states = np.linalg.eigh(h)
        filled = states[:, energies < -0.1]
        vx, vy = (1j * (h * place[:, axis] - place[:, axis, None] * h) for axis in (0, 1))  # i[H, r]
        turn = place[:, 0, None] * vy - place[:, 1, None] * vx
        moments.append(-0.5 * UNIT * np.sum(filled.conj() * (turn @ filled)).real / len(cells))
    design = np.stack([np.ones(len(sizes)), 1 / sizes, 1 / sizes**2], axis=1)
    bulk = np.linalg.lstsq(design, moments, rcond=None)[0][0]
    found = jk.spontaneous_magnetization(model, -0.1).orbital[2]
    assert abs(bulk / found - 1) < 0.01
    assert abs(moments[0] / found - 1) > 0.02


# --- what is said ---------------------------------------------------------------------------------


def test_what_is_missing_is_named(wannier):
    plain = eqx.tree_at(lambda m: (m.hr_matrices, m.rhr_matrices), wannier, (None, None))
    with pytest.warns(jk.AccuracyWarning, match="the magnetization is known to"):
        found = jk.spontaneous_magnetization(plain, -1.3, rtol=1e-6, budget=9_000)
    assert found.lacking == "⟨Hr⟩ and ⟨rHr⟩ of the Wannier functions (.uHu) in the orbital part"
    assert "lacking: ⟨Hr⟩" in repr(found) and "A/m" in repr(found)
    assert jk.spontaneous_magnetization(haldane(), -0.1).lacking == "spin, of which the model has no operators"
    with pytest.raises(jk.ModelError, match="this model's is prescribed"):
        jk.spontaneous_magnetization(jk.models.get("helical-isotropic"), 0.5)
    with pytest.raises(jk.JaxkinError, match="temperature"):
        jk.spontaneous_magnetization(haldane(), 0.0, -1.0)


def test_progress_is_told():
    reports = []
    jk.spontaneous_magnetization(haldane(), -0.1, progress=lambda *one: reports.append(one))
    assert reports and {what for *_, what in reports} == {"magnetization, at most"}
