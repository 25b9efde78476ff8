"""Modes of the collision operator: kernels whose eigenvalues are known, sums that they make up, and symmetry."""

import numpy as np
import pytest

import jaxkin as jk
from jaxkin.errors import JaxkinError
from jaxkin.response import modes as module
from jaxkin.symmetry.operations import Operation

DIPOLE, QUADRUPOLE = 0.4, 0.2
REVERSAL = Operation(np.eye(3), antiunitary=True)


def kernel(p, q):
    """Γ (1 + 3a cos θ + 5b P₂(cos θ))/ν of velocities on a sphere: rates 0, Γ(1 − a), Γ(1 − b) and Γ, with Γ = 2/ps."""
    e, other = (x.velocity / (x.velocity @ x.velocity) ** 0.5 for x in (p, q))
    c = e @ other
    return 2 * (1 + 3 * DIPOLE * c + 5 * QUADRUPOLE * (1.5 * c * c - 0.5)) / q.density_of_states


@pytest.fixture(scope="module")
def sphere():
    return jk.fermi_surface(jk.models.get("helical-isotropic"), 0.5, sampler=jk.Lines(14), replicas=4)


@pytest.mark.parametrize("dense", [True, False])
def test_rates_of_spherical_harmonics(sphere, dense, monkeypatch):
    """One conserved number, three dipoles that carry the current, five quadrupoles; as a matrix and by iteration."""
    if not dense:
        monkeypatch.setattr(module, "DENSE", 0)
    found = jk.relaxation_modes(sphere, jk.KernelDisorder(kernel), 9)
    expected = [0.0] + [2 * (1 - DIPOLE)] * 3 + [2 * (1 - QUADRUPOLE)] * 5
    np.testing.assert_allclose(found.rates.mean, expected, atol=2e-3)
    assert np.abs(found.rates.mean - expected).max() < 5 * found.rates.stderr.max() + 1e-9
    np.testing.assert_allclose(found.share.mean[1:4].sum(axis=0), 1, atol=1e-2)
    np.testing.assert_allclose(found.parity(REVERSAL)[[0, 1, 2, 3]], [1, -1, -1, -1], atol=0.1)
    np.testing.assert_allclose(found.parity(REVERSAL)[4:], 1, atol=0.1)


def test_all_modes_carry_the_conductivity():
    """Σ_n of the shares is one, of impurities in a crystal, in the replica all of whose modes are found."""
    surface = jk.fermi_surface(jk.models.get("kramers-weyl-d4"), -1.2, sampler=jk.Lines(6), replicas=2)
    sizes = np.diff(surface.layout.starts)
    found = jk.relaxation_modes(surface, jk.PointImpurity(2.0, [0, 1], 0.01), int(sizes.min()))
    share = found.share.samples[int(np.argmin(sizes))]
    assert share.min() >= 0
    np.testing.assert_allclose(share.sum(axis=0), 1, atol=1e-8)


def test_picture(sphere, tmp_path):
    """It can be written, in two dimensions and in three."""
    plane = jk.fermi_surface(jk.models.get("massive-dirac-2d"), 0.3, sampler=jk.Lines(16), replicas=2)
    for surface, name in ((sphere, "space"), (plane, "plane")):
        found = jk.relaxation_modes(surface, jk.RelaxationTime(1.0), 6)
        found.figure().savefig(tmp_path / f"{name}.png")
        assert (tmp_path / f"{name}.png").stat().st_size > 5000
        assert "RelaxationModes" in repr(found)


def test_refusals(sphere):
    with pytest.raises(JaxkinError, match="count=100000: the shell"):
        jk.relaxation_modes(sphere, jk.RelaxationTime(1.0), 100000)
