"""The level of a density: back to levels whose filling is known, in any cell, and to the carriers of a surface."""

import pickle

import jax
import numpy as np
import pytest
from test_carriers import CELLS, crystal, filled

import jaxkin as jk


@pytest.mark.parametrize(
    ("hoppings", "level", "kelvin", "cap"),
    [
        ((1.0, 0.1), -1.0, 0.0, 1e-6),
        ((1.0, 0.1), -1.0, 300.0, 1e-5),
        ((1.0, 1.0), -3.0, 0.0, 1e-3),
        ((1.0, 1.0, 1.0), 0.3, 0.0, 1e-3),
    ],
)
def test_levels_of_known_fillings(hoppings, level, kelvin, cap):
    d = len(hoppings)
    for cell in CELLS[d][:1] if d == 3 else CELLS[d][1:3]:
        found = jk.fermi_level(crystal(hoppings, cell), filled(hoppings, level, kelvin), kelvin, filled=0)
        assert found.stderr < cap
        assert abs(found.mean - level) < 5 * found.stderr + 1e-6  # the reference's error


@pytest.mark.parametrize(("text", "sign"), [("3e13 cm^-2 electrons", 1), ("3e13 cm^-2 holes", -1)])
def test_both_sides_of_a_gap(text, sign):
    """Haldane's bands at a flux of π/2 are mirror images."""
    model = jk.models.get("haldane")
    level = jk.fermi_level(model, text, 100.0)
    other = jk.fermi_level(model, -sign * 3e-3, 100.0)
    assert abs(level.mean + other.mean) < 5 * np.hypot(level.stderr, other.stderr) + 1e-6
    surface = jk.fermi_surface(model, float(level.mean), 100.0, jk.Grid(128), replicas=2)
    densities = surface.carrier_density()
    assert abs(densities["electrons"].mean - densities["holes"].mean - sign * 3e-3) < 1e-5


@pytest.mark.parametrize(
    ("density", "options", "message"),
    [
        ("1e18 holes", {}, "write it as '1e18 cm\\^-2 holes'"),
        ("1e18 cm^-3 holes", {}, "cannot be read"),
        ("-1e13 cm^-2 holes", {}, "cannot be read"),
        ("1e20 cm^-2 holes", {}, "hold .* only"),
        (0.0, {}, "density=0"),
        (np.nan, {}, "density=nan"),
        ("1e13 cm^-2 holes", {"filled": 3}, "filled=3"),
        ("1e13 cm^-2 holes", {"carriers": "electrons"}, "write it as '1e18 cm\\^-2 electrons'\\."),
        (-1e-4, {"carriers": "holes"}, "must be a positive number"),
        (1e-4, {"carriers": "hole"}, "must be 'electrons' or 'holes'"),
    ],
)
def test_densities_that_cannot_be(density, options, message):
    with pytest.raises(jk.JaxkinError, match=message):
        jk.fermi_level(jk.models.get("haldane"), density, **options)


def test_several_gaps_to_count_from():
    chain = jk.TightBinding([[1.0]], [[0]], np.diag([0.0, 1.0, 2.0])[None], np.zeros((3, 1)))
    with pytest.raises(jk.JaxkinError, match=r"several, above \[1, 2\] bands: say how many bands are `filled`"):
        jk.fermi_level(chain, -0.1)


@pytest.mark.parametrize("kelvin", [0.0, 300.0])
def test_without_a_gap_electrons_are_counted_from_empty_bands_and_holes_from_full_ones(kelvin):
    """Square lattice: bands are mirror images, so that both levels are known from one filling."""
    hoppings, level = (1.0, 0.1), -1.0
    filling = filled(hoppings, level, kelvin)
    for carriers, exact in (("electrons", level), ("holes", -level)):
        found = jk.fermi_level(crystal(hoppings, CELLS[2][0]), filling, kelvin, carriers=carriers)
        assert found.stderr < 1e-5
        assert abs(found - exact) < 5 * found.stderr + 1e-6


def test_level_of_an_isotropic_metal():
    """n = k³/6π² of one band that is not degenerate."""
    model, momentum = jk.models.get("helical-isotropic"), 0.3
    found = jk.fermi_level(model, momentum**3 / (6 * np.pi**2), carriers="electrons", replicas=8)
    exact = float(model.bands(np.array([momentum, 0, 0]))[0])
    assert found.stderr < 5e-4 * exact  # measured: 2e-4
    assert abs(found - exact) < 5 * found.stderr


def test_a_level_is_a_number():
    level = jk.fermi_level(jk.models.get("haldane"), 3e-3, carriers="electrons")
    assert level == level.mean == float(level.estimate.mean)
    assert pickle.loads(pickle.dumps(level)).stderr == level.stderr
    surface = jk.fermi_surface(jk.models.get("haldane"), level, sampler=jk.Lines(4), replicas=2)
    there = jax.jit(lambda mu: surface.at(fermi_level=mu).density_of_states().mean)(level)
    assert np.isclose(there, surface.density_of_states().mean)


def test_levels_that_share_their_lattices():
    """Each as by itself, within the errors; fewer H(k) than two by themselves; both signs and any shape at once."""
    model = jk.models.get("haldane")
    densities, kelvin = np.array([[1e-3, 3e-3, -3e-3]]), np.array([[100.0], [300.0]])
    levels = jk.fermi_levels(model, densities, kelvin)
    alone = [jk.fermi_level(model, n, t) for t in (100.0, 300.0) for n in densities[0]]
    for level, other in zip(levels, alone, strict=True):
        assert abs(level - other) < 5 * np.hypot(level.stderr, other.stderr) + 1e-6  # states that rtol leaves out
    assert levels[-1].estimate.evaluations < sum(one.estimate.evaluations for one in alone) / 2
    with pytest.raises(jk.JaxkinError, match="do not fit together"):
        jk.fermi_levels(model, [1e-3, 2e-3], [100.0, 200.0, 300.0])


@pytest.mark.parametrize(("carriers", "sign"), [("electrons", 1), ("holes", -1)])
def test_densities_per_cubic_centimetre(carriers, sign):
    """The cubic lattice of 1 Å, whose bands are mirror images: f Å⁻³ = f·10²⁴ cm⁻³."""
    filling = filled((1.0, 1.0, 1.0), -2.5)
    found = jk.fermi_level(crystal((1.0, 1.0, 1.0)), density=f"{1e24 * filling:.8e} cm^-3 {carriers}")
    assert found.stderr < 2e-3
    assert abs(found + sign * 2.5) < 5 * found.stderr + 1e-5
