"""Estimates are calculated with replica by replica: values, honest errors, shared errors, and their text."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxkin as jk
from jaxkin import Estimate

RNG = np.random.default_rng(5)
A, B = Estimate(2 + RNG.normal(size=(6, 2, 3)), 40), Estimate(7 + RNG.normal(size=(6, 2, 3)), 60)


@pytest.mark.parametrize(
    ("found", "samples"),
    [
        (A + B, A.samples + B.samples),
        (A - B, A.samples - B.samples),
        (A * B, A.samples * B.samples),
        (A / B, A.samples / B.samples),
        (1 - A, 1 - A.samples),
        (2 / A, 2 / A.samples),
        (-A, -A.samples),
        (sum([A, B]), A.samples + B.samples),
        (A * np.arange(3.0), A.samples * np.arange(3.0)),
        (np.arange(3.0) * A, A.samples * np.arange(3.0)),
        (A[0, 1] * np.ones(6), A.samples[:, 0, 1, None] * np.ones(6)),  # as many numbers as replicas
        (A[0, 1] * A, A.samples[:, 0, 1, None, None] * A.samples),
        (A[:, 1:], A.samples[:, :, 1:]),
        ((A + 2j * B).imag, 2 * B.samples),
    ],
)
def test_arithmetic_is_that_of_every_replica(found, samples):
    np.testing.assert_allclose(found.samples, samples, rtol=1e-15)


def test_powers_and_absolute_values():
    np.testing.assert_array_equal((A**2).samples, A.samples**2)
    np.testing.assert_array_equal(abs(-1j * A).samples, np.abs(A.samples))


def test_an_array_of_jax_on_the_left():
    np.testing.assert_allclose((jnp.arange(3.0) * A).samples, A.samples * np.arange(3.0), rtol=1e-6)  # its precision


def test_evaluations_of_the_same_replicas_are_counted_once():
    assert (A + B).evaluations == 60 and (A * 2).evaluations == A[0].evaluations == 40


def test_iteration_ends():
    for one in (A, Estimate(jnp.asarray(A.samples))):
        assert [part.shape for part in one] == [(3,), (3,)]
    with pytest.raises(TypeError, match="one number"):
        list(A[0, 0])


def test_other_replicas_are_one_line():
    with pytest.raises(jk.JaxkinError, match=r"6 and 5 replicas .* give both surfaces the same"):
        A + Estimate(B.samples[:5])


def test_errors_of_combinations_are_honest():
    """(combination − exact)/stderr of correlated replicas over 4,000 runs: Student's t of 7 degrees of freedom.

    Taken as independent, the difference of two that have ρ = 0.9 would have an error 3.2 times too large.
    """
    x = RNG.normal(size=(4000, 8, 2)) @ np.linalg.cholesky(np.array([[1.0, 0.9], [0.9, 1.0]])).T
    a, b = (Estimate(np.moveaxis(0.01 * x[..., k], 1, 0) + mean) for k, mean in ((0, 3.0), (1, 2.0)))
    for found, exact in ((a + b, 5.0), (a - b, 1.0), (a * b, 6.0), (a / b, 1.5), (3 * a - 1, 8.0)):
        pull = (found.mean - exact) / found.stderr
        assert abs(pull.mean()) < 5 * np.sqrt(7 / 5 / 4000)
        assert abs(pull.std() / np.sqrt(7 / 5) - 1) < 0.06  # worst 0.03


class TestShared:
    """An error that all replicas have in common is not in their scatter, and does not get lost on the way."""

    ONE = Estimate(np.full((4, 2), 10.0), shared=np.array([0.3, -0.4]))
    OTHER = Estimate(np.full((4, 2), 5.0), shared=np.array([0.1, 0.1]))

    @pytest.mark.parametrize("signs", [(1, 1), (1, -1)])
    def test_sizes_add_in_sums_and_differences(self, signs):
        """Whether the cause is one is not known; the larger of what either gives is taken."""
        found = signs[0] * self.ONE + signs[1] * self.OTHER
        np.testing.assert_allclose(found.stderr, [0.4, 0.5], rtol=1e-12)

    def test_it_is_scaled_divided_and_indexed(self):
        np.testing.assert_allclose((self.ONE * np.array([2.0, 3.0])).stderr, [0.6, 1.2], rtol=1e-12)
        ratio = (self.ONE / self.OTHER).stderr
        np.testing.assert_allclose(ratio, [0.3 / 5 + 2 * 0.1 / 5.1, 0.4 / 5 + 2 * 0.1 / 5.1], rtol=1e-12)
        assert abs(self.ONE[1].stderr - 0.4) < 1e-15

    def test_the_hall_conductivity_keeps_that_of_the_filled_states(self):
        surface = jk.fermi_surface(jk.models.get("massive-dirac-2d"), 0.3, sampler=jk.Lines(6), replicas=2)
        sigma = jk.conductivity(surface, jk.RelaxationTime(1.0))
        assert "drude" not in sigma.hall
        for name in ("intrinsic", "total"):
            hall, whole = sigma.hall[name][0].real, sigma.sigma[name][0].real
            np.testing.assert_array_equal(hall.mean, -hall.mean.T)
            np.testing.assert_allclose(hall.mean, (whole.mean - whole.mean.T) / 2, rtol=1e-12)
            shared = abs(sigma.sigma["intrinsic"].shared[0, 0, 1])
            assert hall.stderr[0, 1] >= (1 - 1e-12) * shared > 0  # replicas agree to rounding
        errors = [one["intrinsic"][0, 0, 1].real.stderr for one in (sigma.hall, sigma.sigma)]
        np.testing.assert_allclose(*errors, rtol=1e-12)


class TestText:
    """Means with the error of the last digits in brackets, in a few lines."""

    @pytest.mark.parametrize(
        ("samples", "spec", "text"),
        [
            ([1.0, 1.2, 1.4], "", "1.20(12)"),
            ([1.0, 1.2, 1.4], ".1u", "1.2(1)"),
            ([1.0, 1.2, 1.4], ".3u", "1.200(115)"),
            ([1.0], "", "1(?)"),
            ([2.0, 2.0], "", "2"),
            ([1e-4j, 3e-4j], "", "2.0(10)e-04j"),
            ([[1.0, 5.0], [2.0, 5.0]], "", "[1.5(5) 5]"),
        ],
    )
    def test_of_numbers(self, samples, spec, text):
        assert format(Estimate(np.array(samples)), spec) == text

    @pytest.mark.parametrize("spec", ["g", ".2f", ".0u"])
    def test_other_formats_are_refused(self, spec):
        with pytest.raises(jk.JaxkinError, match=r"write '\.2u'"):
            format(A, spec)

    def test_of_large_arrays_is_short(self):
        large = Estimate(np.random.default_rng(0).normal(size=(8, 50, 3, 3)))
        assert len(repr(large).splitlines()) == 1 and "largest" in repr(large)
        assert len(str(large).splitlines()) < 15

    def test_of_what_has_no_numbers(self):
        seen = []
        jax.jit(lambda one: seen.append(f"{one} {one!r}"))(A)
        assert seen == ["Estimate (traced) Estimate (traced)"]
        assert repr(jax.tree.map(lambda x: None, A)) == "Estimate (without numbers)"


class TestResults:
    """What one meets at a prompt takes some lines, with its key numbers and what to ask for."""

    @pytest.fixture(scope="class")
    @staticmethod
    def response():
        surface = jk.fermi_surface(jk.models.get("kramers-weyl-d4"), -1.2, sampler=jk.Lines(6), replicas=2)
        return jk.gyrotropic_response(surface, jk.RelaxationTime(0.6, 200.0, 1.0), [0.0, 1.0])

    def test_texts_are_short_and_say_what_and_how_much(self, response):
        surface = response.surface
        a, b = np.unravel_index(np.argmax(np.abs(response.g["total"].mean[0])), (3, 3))
        wanted = [
            (response, [f"{response.g['skew'][0, a, b]}", "solver 'rta'", ".magnetization(E)"]),
            (response.conductivity, ["S/m", str(response.conductivity.sigma["total"][0, 2, 2].real), "time reversal"]),
            (surface, [f"{len(surface)} points", "μ = -1.2 eV", str(surface.density_of_states()), ".integrate(F)"]),
            (surface.model, ["2 bands", "D4", "translation"]),
            (response.disorder, ["tau=0.6 ps", "tau_skew=200 ps", "side_jump=1 Å"]),
            (response.quality, ["flux", "Onsager"]),
            (jk.band_geometry(surface.model, np.zeros((5, 3)), 0), ["5 k points", "eV Å", "μ_B"]),
            (jk.PointImpurity(2.0, [0, 1], 0.01), ["2 eV on orbitals [0, 1]", "density=0.01"]),
            (jk.PointImpurity([[1.0, 2.0], [2.0, 1.0]], [0, 1], 0.01), ["eigenvalues -1 … 3 eV"]),
            (jk.FiniteRangeImpurity(jk.Gaussian(1.2), 3.0, 0.01), ["Gaussian(width=1.2)", "strength=3"]),
        ]
        for thing, parts in wanted:
            text = repr(thing)
            assert len(text.splitlines()) <= 15 and max(map(len, text.splitlines())) <= 160, text
            for part in parts:
                assert part in text, (part, text)

    def test_scans(self, response):
        scan = jk.fermi_surfaces(response.surface.model, [-1.5, -1.4], 300.0, jk.Grid(6), replicas=2)
        assert "2 of μ = -1.5 … -1.4 eV, T = 300 K; 0 sampled" in repr(scan)

    def test_traced_ones_are_one_line(self, response):
        seen = []

        def g(tau):
            there = jk.gyrotropic_response(response.surface, jk.RelaxationTime(tau, 50.0))
            seen.extend(map(repr, (there, there.g["skew"], there.disorder, there.conductivity)))
            return there.g["skew"].mean[0, 2, 2].imag

        jax.grad(g)(0.6)
        jax.jit(lambda model: seen.append(repr(model)))(response.surface.model)
        assert all(text.endswith("(traced)") for text in seen) and len(seen) == 5
