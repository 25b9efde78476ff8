"""Potentials of finite range through states off the shell, against clusters of sites and Schrödinger's equation."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.special import spherical_jn, spherical_yn
from test_low_rank import by_matrices, states_of

import jaxkin as jk
from jaxkin.disorder.real_space import cells_within

WIDTH, RADIUS = 1.2, 3.0
"""Å, of a Gaussian dent that is cut off."""
DENSITY = 0.01


def dent():
    return jk.RealSpace(lambda r: jnp.exp(-(r @ r) / (2 * WIDTH**2)), radius=RADIUS)


def impurity(strength, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", jk.AccuracyWarning)  # cut off as it is, it is the same on the cluster
        return jk.FiniteRangeImpurity(dent(), strength, DENSITY, **{"off_shell": True, **options})


def cluster(model, strength, rtol=1e-4):
    """The same as a PointImpurity on every orbital within the radius."""
    orbitals, cells, values = [], [], []
    for number, centre in enumerate(np.asarray(model.centres)):
        for cell in cells_within(np.asarray(model.lattice), centre, RADIUS).astype(int):
            r = cell @ np.asarray(model.lattice) + centre
            orbitals.append(number), cells.append(cell), values.append(strength * np.exp(-(r @ r) / (2 * WIDTH**2)))
    return jk.PointImpurity(np.diag(values), orbitals, DENSITY, cells=cells, rtol=rtol)


@pytest.fixture(scope="module")
def crystal():
    """Two orbitals at different places in two dimensions, without symmetry."""
    hops = np.array([[[1.0, 0.1], [0.3, 0.7]], [[0.8, -0.2], [0.1j, 0.9]]])
    hoppings = -0.5 * np.stack([hops[0], hops[0].conj().T, hops[1], hops[1].conj().T])
    model = jk.TightBinding(2.0 * np.eye(2), [[1, 0], [-1, 0], [0, 1], [0, -1]], hoppings, [[0.0, 0.0], [0.5, 0.3]])
    return jk.fermi_surface(model, -1.0, sampler=jk.Lines(24), replicas=1)


def on(surface, disorder):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", jk.AccuracyWarning)
        return disorder.on(surface)


def actions(scatterer, states):
    c = scatterer(states)
    x = jnp.concatenate([jnp.ones((len(states), 1)), c.velocity], axis=1)
    return c.symmetric(x), c.antisymmetric(x), c.side_jump_velocity


@pytest.mark.parametrize("strength", [0.3, 2.0, -1.0, -4.0])
def test_a_cluster_of_sites(crystal, strength):
    """w^S, w^A and the side jump are those of a PointImpurity, by pivots and by matrices; on the shell they are not."""
    states, exact = states_of(crystal), cluster(crystal.model, strength).on(crystal)
    known = actions(exact, states)
    full = on(crystal, impurity(strength, rtol=1e-10))
    for scatterer in (full, by_matrices(full)):
        for one, other in zip(actions(scatterer, states), known, strict=True):
            assert np.abs(one - other).max() < 0.01 * np.abs(other).max()  # both integrals of Re G; worst 
    shell = actions(on(crystal, impurity(strength, off_shell=False)), states)
    assert np.abs(shell[0] - known[0]).max() > 0.05 * np.abs(known[0]).max()
