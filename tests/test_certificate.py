"""What the search for pockets says it cannot have missed: the bound as a property, and planted pockets."""

import equinox as eqx
import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import jaxkin as jk
from jaxkin.hamiltonian.spectrum import Spectrum
from jaxkin.surface.certificate import cells_for, covering_diameter, curvature_bound, free_of_levels, undecided
from jaxkin.surface.maps import zone_maps
from jaxkin.surface.nodes import Nodes
from jaxkin.surface.search import _overlooked, certain_diameter, find_pockets
from jaxkin.symmetry.verify import find_symmetries

SIZE = 5
STEPS = np.array([(0, 0), (1, 0), (0, 1), (1, 1), (-1, 0), (0, -1), (-1, -1)])


def planted(k0, hopping=1.0):
    """−2t Σ cos 2π(κ_i − κ0_i): one band with its bottom at any place."""
    steps = np.concatenate([np.eye(len(k0), dtype=int), -np.eye(len(k0), dtype=int)])
    hoppings = -hopping * np.exp(-2j * np.pi * (steps @ k0))
    return jk.TightBinding(np.eye(len(k0)), steps, hoppings.reshape(-1, 1, 1), np.zeros((1, len(k0))))


def random_crystal(seed):
    """Five orbitals anywhere in a skew cell of two dimensions, with hoppings of all ranges between them."""
    rng = np.random.default_rng(seed)
    there = rng.normal(size=(4, SIZE, SIZE)) + 1j * rng.normal(size=(4, SIZE, SIZE))
    there[0] = 3 * (there[0] + there[0].conj().T)
    hoppings = np.concatenate([there, np.swapaxes(there[1:].conj(), 1, 2)])
    return jk.TightBinding(np.eye(2) + 0.5 * rng.random((2, 2)), STEPS, hoppings, rng.random((SIZE, 2))), rng


@eqx.filter_jit
def hamiltonians(model, k):
    return jax.vmap(model.hamiltonian)(k)


def ball(model, k, radius, rng, count=200):
    """Random points, half of them on its circle, of a ball in Cartesian k about ``k``, in model coordinates."""
    angle = 2 * np.pi * rng.random(count)
    length = radius * np.where(rng.random(count) < 0.5, 1, np.sqrt(rng.random(count)))
    step = length[:, None] * np.stack([np.cos(angle), np.sin(angle), np.zeros(count)], axis=-1)
    return k + step @ np.asarray(model.dual).T


class TestBound:
    """What the balls exclude."""

    @given(st.integers(0, 10_000))
    def test_no_band_enters_a_free_ball(self, seed):
        """In the largest ball that the bound calls free, for windows in gaps and of any width."""
        model, rng = random_crystal(seed)
        k = rng.random(2)
        energies = Spectrum(model)(k[None])[0]
        edge = rng.integers(0, SIZE - 1)
        low, high = np.sort(energies[edge] + np.diff(energies)[edge] * rng.uniform(0.2, 0.8, 2))
        bend, radius = curvature_bound(model), 1.0
        while not free_of_levels(model, k[None], (low, high), radius, bend)[0]:
            radius *= 0.8
        inside = Spectrum(model)(ball(model, k, radius, rng))
        assert np.all((inside < low) | (inside > high))
        assert np.all(np.sum(inside < low, axis=1) == edge + 1)
        # Not more careful than it must be: two bands that meet halfway with the largest slope leave such a ball.
        slope = np.linalg.norm(model.derivative(k), ord=2, axis=(1, 2))
        gap = min(low - energies[edge], energies[edge + 1] - high)
        assert radius > 0.5 * min(gap / np.linalg.norm(slope), np.sqrt(gap / bend))

    @given(st.integers(0, 10_000))
    def test_curvature(self, seed):
        """‖H(k+q) + H(k−q) − 2H(k)‖ ≤ b|q|², and within a factor ten of it somewhere."""
        model, rng = random_crystal(seed)
        k, q = rng.random((2, 50, 2)) * [[[1.0]], [[0.05]]]
        h = [np.asarray(hamiltonians(model, points)) for points in (k + q, k, k - q)]
        length = np.linalg.norm(np.asarray(model.cartesian(q)), axis=1)
        bent = np.linalg.norm(h[0] - 2 * h[1] + h[2], ord=2, axis=(1, 2)) / length**2
        assert 0.1 * curvature_bound(model) < bent.max() <= curvature_bound(model)

    def test_position_matrices_play_no_part(self):
        """They are in the covariant derivative, not in the energies."""
        model, rng = random_crystal(1)
        r = rng.normal(size=(len(STEPS), SIZE, SIZE, 3))
        r[0] += np.swapaxes(r[0], 0, 1)
        r[4:] = np.swapaxes(r[1:4], 1, 2)
        positions = np.asarray(model.positions)
        with_r = jk.TightBinding(model.lattice, model.translations, model.hoppings, positions, 5 * r)
        k = rng.random((200, 2))
        free = [free_of_levels(m, k, (0.0, 0.0), 0.1, curvature_bound(m)) for m in (model, with_r)]
        np.testing.assert_array_equal(*free)
        assert 20 < free[0].sum() < 180

    @pytest.mark.parametrize("name", ["haldane-chiral", "massive-dirac-2d"])
    def test_every_state_in_the_window_is_near_an_undecided_node(self, name):
        """For a crystal with its symmetries and for a k·p model."""
        model = jk.models.get(name)
        nodes = Nodes(Spectrum(model), zone_maps(model, find_symmetries(model)) if model.periodic else ())
        d, (lo, hi) = model.dimension, np.array(model.zone).T
        k = lo + (hi - lo) * np.random.default_rng(0).random((2**14, d))
        energies = nodes.spectrum(k)
        window = np.quantile(energies, 0.6), np.quantile(energies, 0.62)
        k = k[np.any((energies > window[0]) & (energies < window[1]), axis=1)]
        kept = undecided(nodes, window, 12, 24)
        assert 0 < len(kept) < 0.6 * nodes.per_axis(24) ** d
        steps = np.stack(np.meshgrid(*[(-1, 0, 1)] * d, indexing="ij"), axis=-1).reshape(-1, d)
        place = 24 * (k - lo) / (hi - lo)
        around = np.rint(place)[:, None, :].astype(int) + steps
        distance = np.linalg.norm(np.asarray(model.cartesian((around - place[:, None, :]) / 24 * (hi - lo))), axis=-1)
        around = around % 24 if model.periodic else around.clip(0, 24)
        known = np.isin(*(np.ravel_multi_index(np.moveaxis(x, -1, 0), (25,) * d) for x in (around, kept)))
        assert np.where(known, distance, np.inf).min(axis=1).max() <= 0.5 * covering_diameter(model, 24)

    @given(st.integers(0, 1000))
    def test_covering_diameter(self, seed):
        """No ball of that diameter misses all nodes, in a skew lattice too; of half of it some do."""
        rng = np.random.default_rng(seed)
        model = jk.TightBinding(np.eye(2) + 0.5 * rng.random((2, 2)), [[0, 0]], [[[0.0]]], [[0.0, 0.0]])
        diameter = covering_diameter(model, 8)
        nodes = np.stack(np.meshgrid(*[np.arange(-9, 18)] * 2, indexing="ij"), axis=-1).reshape(-1, 2) / 8
        centres = np.asarray(model.cartesian(rng.random((200, 2))))
        nearest = np.linalg.norm(centres[:, None] - np.asarray(model.cartesian(nodes)), axis=-1).min(axis=1)
        assert nearest.max() <= 0.5 * diameter
        assert nearest.max() > 0.25 * diameter

    def test_covering_diameter_in_closed_form(self):
        """The diagonal of a cube; of a hexagonal cell only 2/√3 of its edge."""
        assert covering_diameter(planted(np.zeros(3)), 4) == pytest.approx(2 * np.pi / 4 * np.sqrt(3))
        hexagonal = jk.TightBinding([[1, 0], [-0.5, np.sqrt(0.75)]], [[0, 0]], [[[0.0]]], [[0.0, 0.0]])
        assert covering_diameter(hexagonal, 4) == pytest.approx(2 * np.pi / np.sqrt(0.75) / 4 * 2 / np.sqrt(3))


class TestSearch:
    """Pockets that are asked for by their diameter."""

    RADIUS = 0.0025 * 2 * np.pi

    @settings(max_examples=6)
    @given(st.tuples(*[st.floats(0, 1)] * 3))
    def test_planted_pockets_are_found(self, k0):
        """A pocket of 0.5 % of the zone's width, anywhere; its states are all there."""
        model, level = planted(np.array(k0)), -6 + self.RADIUS**2
        surface = jk.fermi_surface(model, level, sampler=jk.Lines(10), replicas=2, smallest_pocket=2 * self.RADIUS)
        assert surface.smallest_pocket == 2 * self.RADIUS
        exact = self.RADIUS / (4 * np.pi**2)  # k_F/(2π)² of ε = k²
        assert abs(surface.density_of_states().mean / exact - 1) < 0.02

    def test_pocket_that_the_first_pass_did_not_hand_on(self):
        """The bound and the nodes alone lead to it, and a pocket already known is not found twice."""
        nodes = Nodes(Spectrum(planted(np.array([0.123, 0.456]))))
        level = -4 + self.RADIUS**2
        cells = _overlooked(nodes, [], (level, level), 2 * self.RADIUS)
        assert 0 < len(cells.corner) < 50
        centre = (cells.corner + 0.5) / cells.per_edge
        assert np.abs(centre - [0.123, 0.456]).max() < 0.01
        [pocket] = find_pockets(nodes, (level, level))
        assert not len(_overlooked(nodes, [(pocket, None)], (level, level), 2 * self.RADIUS).corner)

    def test_cost_for_tellurium(self, shared_data):
        """24 orbitals, 20 meV below the valence-band top, no pocket of 0.05 1/Å missed: 8,057 diagonalisations."""
        model = jk.read_wannier90(shared_data / "te_sparse_tb.dat.gz")
        nodes, level = Nodes(Spectrum(model), zone_maps(model, True)), 6.071840612 - 0.02
        assert cells_for(model, 0.05, 12) == 48
        assert certain_diameter(model) == pytest.approx(0.0899, abs=1e-4)
        assert len(find_pockets(nodes, (level, level), smallest=0.05)) == 2
        assert nodes.evaluations < 10_000
