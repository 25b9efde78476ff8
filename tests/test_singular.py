"""Flat bands at and near the level, and levels at van Hove energies: said, or counted, and cheap."""

import warnings

import numpy as np
import pytest

import jaxkin as jk

KT = jk.units.BOLTZMANN * 300.0


def decoupled(d, on_site, hoppings, cell=None):
    """Orbitals with ε_n = e_n − 2 t_n Σ_i cos k_i on the cubic lattice, in the cell ``cell``."""
    cell = np.eye(d) if cell is None else np.array(cell, float)
    steps = np.rint(np.eye(d) @ np.linalg.inv(cell)).astype(int)
    blocks = np.concatenate([np.diag(on_site)[None], np.repeat(-np.diag(hoppings)[None], 2 * d, axis=0)])
    moves = np.concatenate([0 * steps[:1], steps, -steps])
    return jk.TightBinding(cell, moves, blocks.astype(complex), np.zeros((len(on_site), d)))


@pytest.mark.parametrize("d", [1, 2, 3])
class TestFlatBand:
    def test_at_the_level(self, d):
        """An orbital without hopping: one line says so, after few diagonalisations, no density of states is made up."""
        with pytest.warns(jk.AccuracyWarning, match=r"band 0 is flat at 0 eV in 100% of the zone") as caught:
            surface = jk.fermi_surface(decoupled(d, [0.0, 8.0], [0.0, 1.0]), 0.0, replicas=2)
        assert len(caught) == 1
        assert surface.density_of_states().mean == 0
        assert surface.evaluations < 2e4

    @pytest.mark.parametrize("distance", [0.0, 2.0])
    def test_counts_at_finite_temperature(self, d, distance):
        """−f⁰'(ε) states per eV, f⁰(ε) electrons, exactly: nothing varies."""
        model, level = decoupled(d, [0.0, 8.0], [0.0, 1.0]), -distance * KT
        surface = jk.fermi_surface(model, level, 300.0, jk.Grid(16), replicas=2)
        exact = 0.25 / np.cosh(0.5 * distance) ** 2 / KT
        assert surface.density_of_states().mean == pytest.approx(exact, rel=1e-9)
        density = surface.carrier_density()
        filled = 1 / (np.exp(distance) + 1)
        assert density["electrons"].mean == pytest.approx(filled, rel=1e-9)
        assert surface.evaluations < 1e5


@pytest.mark.parametrize("d", [1, 2, pytest.param(3, marks=pytest.mark.slow)])
def test_flat_beside_a_band_that_crosses_it(d):
    """Half a minute in three dimensions, as the other band's surface is resolved."""
    with pytest.warns(jk.AccuracyWarning, match="is flat at 0 eV"):
        surface = jk.fermi_surface(decoupled(d, [0.0, 0.0], [0.0, 1.0]), 0.0, sampler=jk.Lines(8), replicas=2)
    assert 0 <= surface.density_of_states().mean < 1  # of the other band alone: 0.16 in one dimension


@pytest.mark.parametrize("cell", [[[1, 0], [0, 1]], [[2, 1], [1, 1]]])
@pytest.mark.parametrize("sampler", [jk.Lines(16), jk.Grid(32)])
def test_van_hove_energy_in_two_dimensions(cell, sampler):
    """The square lattice at its saddle has a doubt, 0.05 eV beside it none."""
    model = decoupled(2, [0.3], [1.0], cell)
    with pytest.warns(jk.AccuracyWarning, match=r"0.3 eV is a van Hove energy of band 0 .* move the level by more"):
        jk.fermi_surface(model, 0.3, sampler=sampler, replicas=2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        jk.fermi_surface(model, 0.35, sampler=sampler, replicas=2)


@pytest.mark.parametrize("level", [-2.0, 2.0])
def test_band_edges_in_one_dimension(level):
    """1/√ε from the edge on: at it nothing is known."""
    with pytest.warns(jk.AccuracyWarning, match="is a van Hove energy of band 0"):
        surface = jk.fermi_surface(decoupled(1, [0.0], [1.0]), level, replicas=2)
    assert np.all(np.isfinite(surface.density_of_states().samples))
    density = surface.carrier_density()
    assert density["electrons"].mean + density["holes"].mean in (0.0, 1.0)
