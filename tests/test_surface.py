"""Surface samplers: accuracy, honest errors, pockets, temperature, rtol, reproducibility."""

import warnings

import numpy as np
import pytest
from scipy import stats

import jaxkin as jk
from jaxkin.hamiltonian.spectrum import Spectrum
from jaxkin.surface.bundle import Bundle
from jaxkin.surface.maps import zone_maps
from jaxkin.surface.nodes import Nodes
from jaxkin.surface.roots import bracketed_roots
from jaxkin.surface.search import find_pockets

D4_LEVEL = -1.6


def moment_velocity(surface):
    return surface.orbital_moment[:, :, None] * surface.velocity[:, None, :]


@pytest.fixture(scope="module")
def d4():
    return jk.models.get("kramers-weyl-d4")


@pytest.fixture(scope="module")
def d4_tensor(d4):
    """Converged ∫ m_a v_b δ(ε−μ): lines at n = 96, standard error 1e-9 of the largest component."""
    surface = jk.fermi_surface(d4, D4_LEVEL, sampler=jk.Lines(96), replicas=2)
    return surface.integrate(moment_velocity(surface)).mean


def test_kramers_weyl_accuracy(d4, d4_tensor):
    """RMS over shifts ≤ 1e-5 with ≤ 5e5 evaluations of H; measured 2.9e-6 with 9.1e4 at n = 32."""
    errors = []
    for seed in range(8):
        surface = jk.fermi_surface(d4, D4_LEVEL, sampler=jk.Lines(40), replicas=1, seed=seed)
        assert surface.evaluations <= 5e5
        estimate = surface.integrate(moment_velocity(surface))
        errors.append(np.abs(estimate.mean - d4_tensor).max() / np.abs(d4_tensor).max())
    assert np.sqrt(np.mean(np.square(errors))) <= 1e-5


def test_grid_agrees_with_lines(d4, d4_tensor):
    """An independent route to the same tensor: smeared grid, 1.6e-3 measured at n = 48."""
    surface = jk.fermi_surface(d4, D4_LEVEL, sampler=jk.Grid(48), replicas=2)
    estimate = surface.integrate(moment_velocity(surface))
    assert np.abs(estimate.mean - d4_tensor).max() < 1e-2 * np.abs(d4_tensor).max()


@pytest.mark.parametrize("smearing", ["gaussian", "mp1", "cold", "fermi-dirac"])
def test_every_smearing(smearing):
    model = jk.models.get("massive-dirac-2d", velocity=1.0, mass=0.1)
    surface = jk.fermi_surface(model, 0.3, sampler=jk.Grid(96, smearing, width=0.012), replicas=4)
    exact = 0.3 / (2 * np.pi)  # ν = ε/2πv²
    assert abs(surface.density_of_states().mean / exact - 1) < 5e-3  # 1.6e-3, fermi-dirac's tails


def test_wrong_smearing_is_named():
    with pytest.raises(ValueError, match="'gausian' is unknown; choose one of gaussian, mp1"):
        jk.Grid(smearing="gausian")


class TestHonestErrors:
    """Pulls (mean − exact)/σ over 400 seeds follow Student's t of replicas − 1 degrees of freedom."""

    REPLICAS = 8

    def pulls(self, model, level, n, exact, values):
        results = []
        for seed in range(400):
            surface = jk.fermi_surface(model, level, sampler=jk.Lines(n), replicas=self.REPLICAS, seed=seed)
            estimate = surface.integrate(values(surface))
            results.append((estimate.mean - exact) / estimate.stderr)
        # To a unit normal through both distribution functions: nothing is left of the few replicas.
        return stats.norm.ppf(stats.t.cdf(results, self.REPLICAS - 1))

    def check(self, pulls):
        assert abs(pulls.mean()) < 0.15
        assert 0.85 < pulls.std() < 1.15

    def test_density_of_states_of_a_circle(self):
        model = jk.models.get("massive-dirac-2d", velocity=1.0, mass=0.1)
        self.check(self.pulls(model, 0.3, 6, 0.3 / (2 * np.pi), lambda s: np.ones(len(s))))

    @pytest.mark.slow
    def test_moment_tensor_of_a_kramers_weyl_metal(self, d4, d4_tensor):
        self.check(self.pulls(d4, D4_LEVEL, 8, d4_tensor[2, 2], lambda s: s.orbital_moment[:, 2] * s.velocity[:, 2]))


def test_one_dimension_is_exact():
    chain = jk.TightBinding([[1.0, 0, 0]], [[1], [-1]], -np.ones((2, 1, 1)), [[0.0]])
    surface = jk.fermi_surface(chain, 0.5, replicas=3)
    exact = 2 / (2 * np.pi * np.sqrt(4 - 0.25))  # two points, |v| = 2 sin ka
    np.testing.assert_allclose(surface.density_of_states().mean, exact, rtol=1e-9)
    filled = np.arccos(-0.25) / np.pi
    np.testing.assert_allclose(surface.carrier_density()["electrons"].mean, filled, rtol=1e-9)


def test_two_dimensional_circle():
    model = jk.models.get("massive-dirac-2d", velocity=1.0, mass=0.1)
    surface = jk.fermi_surface(model, 0.3, sampler=jk.Lines(32), replicas=8)
    dos, n = surface.density_of_states(), surface.carrier_density()["electrons"]
    assert abs(dos.mean - 0.3 / (2 * np.pi)) < 5 * dos.stderr
    assert dos.stderr < 1e-7
    assert abs(n.mean - 0.08 / (4 * np.pi)) < 5 * n.stderr


def test_holes_count_as_holes():
    model = jk.KdotP(lambda k: np.array([[-3.81]]) * (k @ k), ((-1, 1),) * 3)
    surface = jk.fermi_surface(model, -0.5, sampler=jk.Lines(16), replicas=6)
    density = surface.carrier_density()
    exact = (0.5 / 3.81) ** 1.5 / (6 * np.pi**2)
    assert density["electrons"].mean == 0
    assert abs(density["holes"].mean - exact) < 5 * density["holes"].stderr
    assert density["holes"].stderr < 5e-3 * exact


@pytest.mark.parametrize("size", [0.005, 0.02, 0.1])
def test_small_pockets_are_found_and_resolved(size):
    """Two spheres of radius ``size`` half zones in a periodic band: exact volume 2·4πr³/3 to leading order."""
    model = jk.TightBinding(
        np.eye(3),
        [(1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 2), (0, 0, -2)],
        -0.5 * np.ones((6, 1, 1)),
        [[0.13, 0.2, 0.3]],
    )
    radius = np.pi * size
    surface = jk.fermi_surface(model, -3 + 0.5 * radius**2, sampler=jk.Lines(16), replicas=4)
    assert len(surface.pockets) == 2
    exact = 2 * 4 * np.pi * radius / 2 / (2 * np.pi) ** 3  # ν of ε = k²/2 (k_z halved and doubled again)
    assert abs(surface.density_of_states().mean / exact - 1) < 2e-3 + radius**2


def test_pocket_across_the_zone_boundary_is_one():
    model = jk.TightBinding(np.eye(2), [(1, 0), (-1, 0), (0, 1), (0, -1)], 0.5 * np.ones((4, 1, 1)), [[0.0, 0.0]])
    pockets = find_pockets(Nodes(Spectrum(model)), (-1.8, -1.8))  # round (1/2, 1/2)
    assert len(pockets) == 1
    assert pockets[0].closed.all()
    moved = find_pockets(Nodes(Spectrum(model)), (1.8, 1.8))  # round 0, cut by the boundary
    assert len(moved) == 1
    assert moved[0].closed.all()


def test_concentric_pockets_share_a_box(d4):
    surface = jk.fermi_surface(d4, 0.0, sampler=jk.Lines(8), replicas=1)
    bands = [pocket.bands for pocket in surface.pockets]
    assert sum(len(b) for b in bands) == len({(i, b) for i, group in enumerate(bands) for b in group})
    assert set(surface.band) <= {0, 1}


def test_seed_reproduces(d4):
    one, two = (jk.fermi_surface(d4, D4_LEVEL, sampler=jk.Lines(8), replicas=2, seed=5) for _ in range(2))
    other = jk.fermi_surface(d4, D4_LEVEL, sampler=jk.Lines(8), replicas=2, seed=6)
    np.testing.assert_array_equal(one.k, two.k)
    assert not np.array_equal(one.k[: len(other.k)], other.k[: len(one.k)])


def test_more_replicas_keep_the_first_ones(d4):
    few = jk.fermi_surface(d4, D4_LEVEL, sampler=jk.Lines(8), replicas=2)
    many = jk.fermi_surface(d4, D4_LEVEL, sampler=jk.Lines(8), replicas=3)
    np.testing.assert_array_equal(few.k, many.k[many.replica < 2])


def test_every_point_lies_on_the_surface(d4):
    surface = jk.fermi_surface(d4, D4_LEVEL, sampler=jk.Lines(12), replicas=1)
    assert np.abs(surface.energy - D4_LEVEL).max() < 1e-9


def test_rtol_is_met_or_says_why(d4):
    met = jk.fermi_surface(d4, D4_LEVEL, sampler=jk.Lines(8), rtol=1e-4)
    assert met.verdict.startswith("rtol = 0.0001 met")
    estimate = met.integrate(moment_velocity(met))
    assert estimate.stderr.max() <= 1e-4 * np.abs(estimate.mean).max()
    with pytest.warns(jk.AccuracyWarning, match=r"budget of 60000 evaluations spent before rtol.*\(a\).*\(b\).*\(c\)"):
        missed = jk.fermi_surface(d4, D4_LEVEL, sampler=jk.Lines(8), rtol=1e-9, budget=60_000)
    assert missed.verdict.startswith("budget of 60000 evaluations spent")


def test_level_at_a_node_shows_in_the_error(d4):
    """Singular integrand: the Weyl node at Γ lies at −2(2t + t_z)."""
    node = float(d4.bands([0.0, 0.0, 0.0])[0])
    at = jk.fermi_surface(d4, node, sampler=jk.Lines(16), replicas=8)
    off = jk.fermi_surface(d4, node + 0.2, sampler=jk.Lines(16), replicas=8)
    relative = [e.stderr.max() / np.abs(e.mean).max() for e in (s.integrate(moment_velocity(s)) for s in (at, off))]
    assert relative[0] > 3 * relative[1]


def test_gap_and_box_warn():
    model = jk.models.get("massive-dirac-2d", velocity=1.0, mass=0.1, box=0.2)
    with pytest.warns(jk.AccuracyWarning, match="no state was found at 0.05 eV"):
        empty = jk.fermi_surface(model, 0.05)
    assert len(empty) == 0
    assert empty.density_of_states().mean == 0
    with pytest.warns(jk.AccuracyWarning, match="leaves the k·p model's box"):
        jk.fermi_surface(model, 0.25)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"fermi_level": np.nan}, "fermi_level=nan must be a finite energy"),
        ({"fermi_level": 0.0, "temperature": -1.0}, "temperature=-1.0 must be"),
        ({"fermi_level": 0.0, "replicas": 0}, "replicas=0"),
        ({"fermi_level": 0.0, "replicas": 1, "rtol": 1e-3}, "2 for rtol"),
    ],
)
def test_bad_input_is_one_line(d4, arguments, message):
    with pytest.raises(jk.JaxkinError, match=message) as caught:
        jk.fermi_surface(d4, **arguments)
    assert "\n" not in str(caught.value)


def test_integrate_takes_functions_and_refuses_wrong_lengths(d4):
    surface = jk.fermi_surface(d4, D4_LEVEL, sampler=jk.Lines(8), replicas=2)
    by_function = surface.integrate(lambda k, band: jk.band_geometry(d4, k, band).velocity ** 2)
    by_values = surface.integrate(surface.velocity**2)
    np.testing.assert_allclose(by_function.mean, by_values.mean, rtol=1e-9)
    with pytest.raises(jk.JaxkinError, match="the first axis must be the"):
        surface.integrate(np.ones(3))


def test_thermal_samplers_agree_in_a_crystal(d4):
    """Lines over energies against a grid over the volume, tensor ∫ m_a v_b (−f⁰')."""
    results = []
    for sampler in (jk.Lines(10), jk.Grid(40)):
        surface = jk.fermi_surface(d4, -1.5, 600.0, sampler, replicas=4)
        results.append(surface.integrate(moment_velocity(surface)))
    error = np.hypot(results[0].stderr, results[1].stderr)
    scale = np.abs(results[0].mean).max()
    assert np.all(np.abs(results[0].mean - results[1].mean) < 5 * error + 1e-4 * scale)
    assert error.max() < 1e-2 * scale


def test_shells_hold_single_energies(d4):
    lines = jk.fermi_surface(d4, -1.5, 300.0, jk.Lines(6), replicas=2)
    for shell in lines.shells:
        np.testing.assert_allclose(lines.energy[shell.points], shell.energy, atol=1e-9)
    grid = jk.fermi_surface(d4, -1.5, 300.0, jk.Grid(24), replicas=2)
    single = 0
    for shell in grid.shells:  # a bin, or several if fewer would hold less than 48 points
        bins = np.floor((grid.energy[shell.points] + 1.5) / (0.5 * jk.units.BOLTZMANN * 300))
        _, counts = np.unique(bins, return_counts=True)
        single += len(counts) == 1
        assert any(max(counts[:n].sum(), counts[n + 1 :].sum()) < 48 for n in range(len(counts)))
    assert single > len(grid.shells) / 2


def test_wannier_surface_runs_without_warnings(shared_data):
    model = jk.read_wannier90(shared_data / "te_sparse_tb.dat.gz")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        surface = jk.fermi_surface(model, 6.0518, sampler=jk.Lines(10), replicas=2)
    assert len(surface.pockets) == 2  # H and H'
    holes = surface.carrier_density()["holes"].mean * 1e24
    assert 1e17 < holes < 1e19


def test_exactly_degenerate_bands_share_their_values(shared_data):
    """te_qe has no spin-orbit coupling: every band twofold; a pair's points carry equal geometry."""
    model = jk.read_wannier90(shared_data / "te_qe_tb.dat.gz")
    top = max(float(model.bands(k)[17]) for k in np.random.default_rng(0).random((40, 3)))
    surface = jk.fermi_surface(model, top - 0.3, sampler=jk.Lines(6), replicas=1)
    assert np.all(np.isfinite(surface.berry_curvature))
    assert np.all(np.isfinite(surface.orbital_moment))


def test_roots_to_rounding():
    rng = np.random.default_rng(3)
    shift, steep = rng.uniform(0.1, 0.9, 500), rng.uniform(0.5, 8, 500)

    def function(t, index):
        return np.tanh(steep[index] * (t - shift[index])) + 0.1 * (t - shift[index]) ** 3

    zeros, ones = np.zeros(500), np.ones(500)
    every = np.arange(500)
    roots = bracketed_roots(function, zeros, ones, function(zeros, every), function(ones, every))
    assert np.abs(roots - shift).max() < 1e-10


@pytest.mark.parametrize("sampler", [jk.Lines(10), jk.Grid(32)])
def test_nondegenerate_carriers(sampler):
    """μ four kT below the band edge: every state lies in the tail of −f⁰', and still counts in full."""
    from scipy.integrate import quad

    model, kelvin = jk.models.get("helical-isotropic", box=0.4), 300.0
    width = jk.units.BOLTZMANN * kelvin
    level = -4 * width

    def occupied(k):
        return k**2 / (2 * np.pi**2) / (np.exp((jk.units.HBAR2_OVER_2M * k**2 - level) / width) + 1)

    exact = quad(occupied, 0, 0.4, epsabs=0, epsrel=1e-10)[0]
    density = jk.fermi_surface(model, level, kelvin, sampler, replicas=6).carrier_density()["electrons"]
    tail = 1e-6 * exact  # what is cut at 16.5 kT: 3.3e-8 measured, where the grid's own error is 3e-10
    assert abs(density.mean - exact) < 5 * density.stderr + tail
    assert density.stderr < 0.02 * exact


@pytest.mark.parametrize(
    ("name", "level"),
    [("kramers-weyl-d4", -1.2), ("kramers-weyl-d4", 0.1), ("kramers-weyl-o", -2.9), ("haldane-chiral", 0.6)],
)
def test_elements_find_the_roots_of_a_scan(name, level):
    """Line by line the same roots; pairs that only one of the two sees graze the level, where P_i is zero."""
    spectrum = Spectrum(jk.models.get(name))
    d = spectrum.model.dimension
    across = np.random.default_rng(1).random((400, d - 1))
    compared = grazing = 0
    for pocket in find_pockets(Nodes(spectrum), (level, level)):
        for axis in range(d):
            bundle = Bundle(spectrum, pocket, level, axis, across)
            fast, sure = bundle.roots(), bundle._scanned(np.ones((len(pocket.bands), len(across)), bool))
            for line in range(len(across)):
                for band in pocket.bands:
                    one, two = (np.sort(r.t[(r.line == line) & (r.band == band)]) for r in (fast, sure))
                    compared += 1
                    if len(one) == len(two):
                        assert np.abs(one - two).max(initial=0.0) < 1e-9  # worst 3e-11
                    else:
                        grazing += 1
                        pair = np.sort(np.setxor1d(np.round(one, 8), np.round(two, 8)))
                        assert len(pair) == 2
                        assert min(np.ptp(pair), 1 - np.ptp(pair)) < 0.5 / pocket.cells[axis]
    assert compared > 1000
    assert grazing < 2e-3 * compared


def test_evaluations_per_surface_point(shared_data):
    """N = 64 lines through the tellurium pockets: within 4 energies or eigensystems for each surface point."""
    model = jk.read_wannier90(shared_data / "te_sparse_tb.dat.gz")
    counts = [jk.fermi_surface(model, 6.05184, sampler=jk.Lines(n), replicas=1) for n in (16, 64)]
    few, many = ((s.evaluations, len(s)) for s in counts)
    assert 12 < many[1] / few[1] < 18  # ∝ N²: 16
    assert (many[0] - few[0]) / (many[1] - few[1]) < 4.0  # 3.91: three energies and one eigensystem


class TestSymmetry:
    """Equivalent nodes are diagonalised once, equivalent pockets sampled once; the result stays."""

    def test_off_gives_the_same_answer(self):
        model = jk.models.get("tellurium")
        on, off = (
            jk.fermi_surface(model, -0.02, sampler=jk.Lines(12), replicas=10, symmetry=symmetry)
            for symmetry in (True, False)
        )
        assert on.evaluations < 0.5 * off.evaluations
        assert len(on.pockets) == len(off.pockets) == 2
        a, b = (s.integrate(s.orbital_moment[:, :, None] * s.velocity[:, None, :]) for s in (on, off))
        error = np.hypot(a.stderr, b.stderr)
        assert np.all(np.abs(a.mean - b.mean) < 5 * error)
        assert error.max() < 0.02 * np.abs(a.mean).max()
        for s in (on, off):  # every point, image or not, is on the surface with its own velocity
            chosen = np.random.default_rng(0).integers(0, len(s), 40)
            geometry = jk.band_geometry(model, s.k[chosen], s.band[chosen])
            assert np.abs(np.asarray(geometry.energy) + 0.02).max() < 1e-8
            for name in ("velocity", "berry_curvature", "orbital_moment"):
                mine, exact = getattr(s, name)[chosen], np.asarray(getattr(geometry, name))
                assert np.abs(mine - exact).max() < 1e-5 * np.abs(exact).max()
        holes = [s.carrier_density()["holes"] for s in (on, off)]
        assert abs(holes[0].mean - holes[1].mean) < 5 * np.hypot(holes[0].stderr, holes[1].stderr)

    def test_only_faithful_operations_copy_pockets(self, shared_data):
        """te_sparse: energies follow D3 to 3e-8 eV, orbital moments only C2 along y and time reversal."""
        maps = zone_maps(jk.read_wannier90(shared_data / "te_sparse_tb.dat.gz"), True)
        assert len(maps) == 12
        assert sum(one.vectors for one in maps) == 4

    def test_operations_given_are_verified(self):
        model = jk.models.get("kramers-weyl-d4")
        surface = jk.fermi_surface(model, -1.2, sampler=jk.Lines(8), replicas=2, symmetry=jk.symmetry.point_group("D4"))
        plain = jk.fermi_surface(model, -1.2, sampler=jk.Lines(8), replicas=2, symmetry=False)
        np.testing.assert_allclose(surface.density_of_states().mean, plain.density_of_states().mean, rtol=1e-12)
        assert surface.evaluations < plain.evaluations
        with pytest.raises(jk.SymmetryError, match="not a symmetry"):
            jk.fermi_surface(model, -1.2, sampler=jk.Lines(8), symmetry=jk.symmetry.point_group("O"))


def test_accuracy_of_a_surface_without_moments():
    """There is no ∫ m v to be accurate in: that of v v is taken."""
    met = jk.fermi_surface(jk.models.get("helical-isotropic"), -0.2, 300.0, rtol=1e-3)
    estimate = met.integrate(met.velocity[:, :, None] * met.velocity[:, None, :])
    assert "rtol = 0.001 met" in met.verdict and estimate.stderr.max() < 1e-3 * estimate.mean.max()
