"""Models and disorder are built under jit and grad: what is traced is not validated, everything else is."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxkin as jk

K = np.array([0.2])


@pytest.fixture(scope="module", autouse=True)
def double():
    """A model made before anything is traced turns on double precision."""
    return jk.models.get("weyl")


def test_a_first_model_inside_jit_is_refused():
    code = "import jax, jaxkin as jk; jax.jit(lambda x: jk.models.get('weyl').bands(x))([0.0, 0.0, 0.0])"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "make one before" in ended.stderr


def chain(hopping, spacing=2.0, onsite=0.3, shift=0.25):
    """Two orbitals in a cell, t between all neighbours: every argument may be traced."""
    hop = jnp.array([[onsite, hopping], [hopping, -onsite]]) * jnp.ones((1, 1, 1))
    out = jnp.array([[0.0, 0.0], [hopping, 0.0]])
    hoppings = jnp.concatenate([hop, out[None], out.T[None]])
    return jk.TightBinding([[spacing, 0, 0]], [[0], [1], [-1]], hoppings, [[0.0], [shift]])


def test_tight_binding_is_differentiable_through_its_constructor():
    """ε = √(Δ² + 4t²cos²(πκ)), and its derivatives by t, Δ and, of the velocity, by the lattice constant."""
    root = lambda t, delta: np.sqrt(delta**2 + 4 * t**2 * np.cos(np.pi * K[0]) ** 2)  # noqa: E731
    t, delta = 1.3, 0.3
    energy = lambda t, delta: chain(t, onsite=delta).bands(K)[1]  # noqa: E731
    assert float(jax.jit(energy)(t, delta)) == pytest.approx(root(t, delta), rel=1e-12)
    slopes = jax.grad(energy, (0, 1))(t, delta)
    assert float(slopes[0]) == pytest.approx(4 * t * np.cos(np.pi * K[0]) ** 2 / root(t, delta), rel=1e-12)
    assert float(slopes[1]) == pytest.approx(delta / root(t, delta), rel=1e-12)

    def velocity(spacing):
        return jk.band_geometry(chain(t, spacing), K, 1).velocity[0]

    assert float(jax.grad(velocity)(2.0)) == pytest.approx(float(velocity(2.0)) / 2.0, rel=1e-9)


@pytest.mark.parametrize("name", ["kramers-weyl-d4", "kramers-weyl-d3", "haldane-chiral"])
def test_hoppings_of_built_in_models_may_be_traced(name):
    k = np.array([0.13, 0.27, 0.41])

    def energy(hopping):
        return jk.models.get(name, hopping=hopping).bands(k)[0]

    step = 1e-5
    difference = (float(energy(0.6 + step)) - float(energy(0.6 - step))) / (2 * step)
    assert float(jax.grad(energy)(0.6)) == pytest.approx(difference, rel=1e-8)


def test_k_dot_p_is_differentiable_through_its_constructor():
    def energy(mass):
        return jk.KdotP(lambda k: jnp.array([[k @ k / mass]]), ((-1, 1),) * 3).bands(jnp.array([0.5, 0.0, 0.0]))[0]

    assert float(jax.grad(energy)(2.0)) == pytest.approx(-0.25 / 4)


def test_relaxation_time_is_differentiable_through_its_constructor():
    surface = jk.fermi_surface(jk.models.get("kramers-weyl-d4"), -1.2, sampler=jk.Lines(8), replicas=2)

    def skew(tau, tau_skew):
        return jk.gyrotropic_response(surface, jk.RelaxationTime(tau, tau_skew)).g["skew"].mean[0, 2, 2].imag

    value, slopes = jax.value_and_grad(skew, (0, 1))(0.7, 40.0)
    assert float(slopes[0]) == pytest.approx(3 * float(value) / 0.7, rel=1e-9)  # ∝ τ³/τ_sk
    assert float(slopes[1]) == pytest.approx(-float(value) / 40.0, rel=1e-9)


def test_known_numbers_are_still_checked_beside_traced_ones():
    with pytest.raises(jk.JaxkinError, match="axis"):
        jax.jit(lambda tau: jk.RelaxationTime(tau, axis=(0, 0, 0)).tau)(1.0)
    with pytest.raises(jk.ModelError, match="linearly dependent"):
        jax.jit(lambda t: chain(t, spacing=0.0).hoppings)(1.0)
    with pytest.raises(jk.ModelError, match="shape"):
        jax.jit(lambda t: jk.TightBinding([[1.0, 0, 0]], [[0]], t * jnp.ones((2, 1, 1)), [[0.0]]).hoppings)(1.0)


def test_double_integrals_of_any_number_of_states():
    """Tiles of traced states are whole blocks, whatever their number."""
    for count in (100, 300):
        x = np.random.default_rng(0).normal(size=count)
        traced = jax.jit(lambda x: jk.pair_integral(lambda p, q: jnp.exp(-((p - q) ** 2)), x, x))(x)
        np.testing.assert_allclose(traced, np.exp(-((x[:, None] - x) ** 2)) @ x, rtol=1e-12)
