"""Kernels of impurities: closed forms, equality of the evaluations, conservation laws."""

import jax.numpy as jnp
import numpy as np
import pytest
from on_shell import evaluated
from scipy import constants as si

import jaxkin as jk
from jaxkin.disorder.states import ShellStates

VELOCITY, MASS, LEVEL, STRENGTH, DENSITY = 1.3, 0.2, 0.5, 0.7, 1e-3
X, CAP_LAMBDA = LEVEL**2 - MASS**2, LEVEL**2 + 3 * MASS**2


@pytest.fixture(scope="module")
def circle():
    model = jk.models.get("massive-dirac-2d", velocity=VELOCITY, mass=MASS)
    return jk.fermi_surface(model, LEVEL, sampler=jk.Lines(256, power=8), replicas=2)


@pytest.fixture(scope="module")
def tetragonal():
    return jk.fermi_surface(jk.models.get("kramers-weyl-d4"), -1.2, sampler=jk.Lines(10), replicas=2)


def impurity(**options):
    return jk.PointImpurity(STRENGTH, [0, 1], DENSITY, **options)


@pytest.mark.parametrize("solver", ["rta", "exact"])
def test_massive_dirac_band(circle, solver):
    """Sinitsyn et al., PRB 75, 045315: σ_xx, side jump and third-order skew within 1e-8 (worst 6e-11)."""
    quantum = si.e**2 / si.hbar
    rate = DENSITY * STRENGTH**2 * CAP_LAMBDA / (4 * VELOCITY**2 * LEVEL)  # ħ/τ in eV
    exact = {
        "drude": quantum * X / rate / (4 * np.pi * LEVEL),
        "side_jump": -quantum * MASS / (4 * np.pi * LEVEL) * 4 * X / CAP_LAMBDA,
        "skew": -quantum / (2 * np.pi) / (DENSITY * STRENGTH) * X**2 * MASS / CAP_LAMBDA**2,
    }
    sigma = jk.conductivity(circle, impurity(order="third"), [0.0], solver).sigma
    for name, value in exact.items():
        component = sigma[name].mean[0, 0, 0 if name == "drude" else 1]
        assert abs(component / value - 1) < 1e-8, name


def test_side_jump_halves(circle):
    """Accumulation ⟨v_sj|R|v⟩ and anomalous distribution ⟨v|R|v_sj⟩ contribute half each."""
    collisions = impurity(order="third").collisions(circle, circle.shells[0])
    v, jump, w = collisions.velocity, collisions.side_jump_velocity, collisions.weights
    tau = collisions.transport_time
    accumulation, distribution = -tau * np.sum(w * jump[:, 0] * v[:, 1]), tau * np.sum(w * v[:, 0] * jump[:, 1])
    half = -MASS / (4 * np.pi * LEVEL) * 2 * X / CAP_LAMBDA * jk.units.HBAR
    assert abs(accumulation / half - 1) < 1e-8
    assert abs(distribution / half - 1) < 1e-8


def collisions_by(way, impurity, surface):
    """The collisions of the first shell by one of the three ways."""
    return evaluated(impurity.on(surface), ShellStates(surface, bloch=True).of(surface.shells[0]), way)


@pytest.mark.parametrize("order", ["born", "third", "tmatrix"])
def test_three_evaluations_agree(tetragonal, order):
    """Pairwise tiles, factorised and on-shell: the same actions, to 1e-10 (worst 3e-13)."""
    matrix = np.array([[1.0, 0.3 - 0.2j], [0.3 + 0.2j, 2.0]])
    x = np.random.default_rng(0).normal(size=(tetragonal.shells[0].points.stop, 2))
    results = []
    for evaluation in ("pairwise", "factorised", "on-shell"):
        c = collisions_by(evaluation, jk.PointImpurity(matrix, [0, 1], 0.01, order=order), tetragonal)
        results.append((c.rate, c.symmetric(x), c.antisymmetric(x), c.side_jump_velocity))
    scale = [np.abs(part).max() for part in results[0]]
    for other in results[1:]:
        for a, b, size in zip(results[0], other, scale, strict=True):
            assert np.abs(a - b).max() <= 1e-10 * max(size, 1e-12)
    assert (scale[2] > 1e-3 * scale[1]) == (order != "born")


@pytest.mark.parametrize("order", ["third", "tmatrix"])
def test_size_of_skew_scattering_is_a_bound(tetragonal, order):
    """What flux conservation is compared with: ∫|w^A| or, factorised, not much more (worst 1.8 times)."""
    matrix = np.array([[1.0, 0.3 - 0.2j], [0.3 + 0.2j, 2.0]])
    exact, bound = (
        collisions_by(way, jk.PointImpurity(matrix, [0, 1], 0.01, order=order, rtol=0.1), tetragonal).antisymmetric_size
        for way in ("on-shell", "factorised")
    )
    assert exact <= bound <= 3 * exact


@pytest.mark.parametrize("order", ["third", "tmatrix"])
@pytest.mark.parametrize("kind", ["point", "cluster", "gaussian", "coulomb"])
def test_flux_and_optical_theorem(tetragonal, kind, order):
    """Eqs. (34), (35) and the optical theorem hold at any resolution (worst 1e-13)."""
    disorder = {
        "point": jk.PointImpurity(np.array([[1.0, 0.3j], [-0.3j, 2.0]]), [0, 1], 0.01, order=order),
        "cluster": jk.PointImpurity(1.5, [0, 1, 0, 1], 0.01, cells=[[0] * 3] * 2 + [[1, 0, 0]] * 2, order=order),
        "gaussian": jk.FiniteRangeImpurity(jk.Gaussian(1.2), 3.0, 0.01, order=order),
        "coulomb": jk.FiniteRangeImpurity(jk.ScreenedCoulomb(10.0, core=1.0), 1.0, 0.01, order=order),
    }[kind]
    c = disorder.collisions(tetragonal, tetragonal.shells[0])
    assert np.abs(c.skew_acceleration).max() > 0
    assert c.flux_violation < 1e-11
    assert np.all(c.rate >= 0)
    if order == "tmatrix":
        assert c.optical_theorem < 1e-11
    else:
        assert c.optical_theorem is None


def test_born_has_no_skew(tetragonal):
    c = jk.PointImpurity(1.0, [0, 1], 0.01, order="born").collisions(tetragonal, tetragonal.shells[0])
    assert c.optical_theorem is None
    assert not c.skew_acceleration.any()


def test_independent_of_the_cell(tetragonal):
    """Orbitals moved by lattice vectors, H_R relabelled: the periodised potential does not notice."""
    model = jk.TightBinding(np.eye(2) * 3.0, *two_site_chain(), [[0.1, 0.0], [0.6, 0.3]])
    moved = jk.TightBinding(np.eye(2) * 3.0, *two_site_chain(shift=1), [[0.1, 0.0], [1.6, 0.3]])
    rates = []
    for m in (model, moved):
        surface = jk.fermi_surface(m, 0.4, sampler=jk.Lines(12), replicas=1)
        disorder = jk.FiniteRangeImpurity(jk.Gaussian(1.0), 2.0, 0.01, positions=[0.1, 0.0], rtol=1e-13)
        rates.append(disorder.collisions(surface, surface.shells[0]).rate)
    np.testing.assert_allclose(rates[0], rates[1], rtol=1e-10)


def two_site_chain(shift: int = 0):
    """Hoppings of two orbitals; ``shift`` moves the second one by a cell along the first axis."""
    steps: dict = {}

    def add(r, a, b, t):
        r = (r[0] + shift * ((a == 1) - (b == 1)), r[1])
        for step, i, j in ((r, a, b), (tuple(-c for c in r), b, a)):
            steps.setdefault(step, np.zeros((2, 2), complex))[i, j] += t if step is r else np.conj(t)

    add((0, 0), 0, 1, -1.0)
    add((1, 0), 1, 0, -0.6)
    add((0, 1), 0, 0, -0.3)
    add((0, 1), 1, 1, 0.2)
    return np.array(list(steps)), np.array(list(steps.values()))


def test_mixture_adds(tetragonal):
    a, b = jk.PointImpurity(1.0, [0], 0.01), jk.FiniteRangeImpurity(jk.Gaussian(1.0), 2.0, 0.02)
    shell = tetragonal.shells[0]
    one, two, both = (d.collisions(tetragonal, shell) for d in (a, b, a + b))
    np.testing.assert_allclose(both.rate, one.rate + two.rate, rtol=1e-12)
    np.testing.assert_allclose(both.skew_acceleration, one.skew_acceleration + two.skew_acceleration, atol=1e-12)


def test_mixture_shares_the_green_function(tetragonal, monkeypatch):
    """One integral over the zone for all point impurities, on every orbital once; and none the next time."""
    from jaxkin.surface import green_rule
    from jaxkin.surface.green import _Green

    parts = [jk.PointImpurity(v, [m], 0.01, rtol=1e-2) for v, m in ((1.0, [0, 1]), (2.0, [1]), (-1.0, [0]))]
    parts.append(jk.PointImpurity(1.0, [0], 0.01, order="born"))
    shell, calls = tetragonal.shells[0], []
    separate = sum(part.collisions(tetragonal, shell).rate for part in parts)

    def counted(*arguments, **options):
        calls.append(tuple(_Green(*arguments).orbitals.tolist()))
        return green(*arguments, **options)

    green = green_rule.local_green_functions
    monkeypatch.setattr(green_rule, "local_green_functions", counted)
    fresh = tetragonal.as_sampled()
    together = sum(parts[1:], start=parts[0]).collisions(fresh, shell)
    assert calls == [(0, 1)]
    sum(parts[1:], start=parts[0]).collisions(fresh, shell)
    assert len(calls) == 1
    np.testing.assert_allclose(together.rate, separate, rtol=1e-2)
    assert together.optical_theorem < 1e-11


def test_smooth_potential_limit(circle):
    """Eq. (16): δr = Ω×(p − p') for a potential smooth on the scale of k_F, so v_sj → −Ω×⟨p' − p⟩ rate."""
    c = jk.FiniteRangeImpurity(jk.Gaussian(60.0), 1.0, 1e-3, order="born").collisions(circle, circle.shells[0])
    part = circle.shells[0].points
    k, omega = np.pad(circle.k[part], ((0, 0), (0, 1))), circle.berry_curvature[part]
    gain = c.symmetric(k)
    expected = jk.units.HBAR * np.cross(omega, c.rate[:, None] * k - gain)
    # corrections are of order (Δk ξ)⁰ × the change of Ω over Δk = 1/60 Å⁻¹
    np.testing.assert_allclose(c.side_jump_velocity, expected, atol=5e-3 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda s: jk.PointImpurity([[0, 1], [0, 0]], [0, 1], 0.1), "Hermitian"),
        (lambda s: jk.PointImpurity(1.0, [0], -1.0), "positive number of impurities"),
        (lambda s: jk.PointImpurity(1.0, [0], 0.1, order="tmatirx"), "did you mean|tmatrix"),
        (lambda s: jk.PointImpurity(1.0, [7], 0.1).on(s), "orbital 7"),
        (lambda s: jk.PointImpurity(1.0, [0, 0], 0.1).on(s), "twice"),
        (lambda s: jk.FiniteRangeImpurity(lambda q: 1 / (1 + q @ q), 1.0, 0.1).on(s), "falls off too slowly"),
        (lambda s: jk.FiniteRangeImpurity(jnp.exp, 1.0, 0.0), "positive number of impurities"),
        (lambda s: jk.FiniteRangeImpurity(lambda q: np.exp(-q @ q), 1.0, 0.1), "jax.numpy instead of numpy"),
        (lambda s: jk.FiniteRangeImpurity(lambda q: q, 1.0, 0.1), "must be a number"),
    ],
)
def test_bad_input_is_one_line(tetragonal, make, message):
    with pytest.raises(jk.JaxkinError, match=message) as caught:
        make(tetragonal)
    assert "\n" not in str(caught.value)


def test_spin_degenerate_bands():
    """Two copies of every band, and impurities that do not tell them apart: twice the tensor (worst 1e-13)."""
    single = jk.models.get("kramers-weyl-d4")
    double = jk.TightBinding(
        single.lattice,
        single.translations,
        np.kron(np.asarray(single.hoppings), np.eye(2)),
        np.repeat(np.asarray(single.positions), 2, axis=0),
    )
    matrix = np.array([[1.0, 0.3 - 0.2j], [0.3 + 0.2j, 2.0]])
    one, two = (
        jk.gyrotropic_response(
            jk.fermi_surface(model, -1.2, sampler=jk.Lines(4), replicas=1),
            jk.PointImpurity(np.kron(matrix, np.eye(copies)), list(range(2 * copies)), 0.01, order="third"),
        ).g
        for copies, model in ((1, single), (2, double))
    )
    for mechanism in ("intrinsic", "skew", "side_jump"):
        np.testing.assert_allclose(two[mechanism].mean, 2 * one[mechanism].mean, rtol=1e-9, atol=1e-15)
