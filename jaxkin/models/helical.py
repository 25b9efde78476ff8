"""The isotropic helical metal of Sec. II.A."""

from __future__ import annotations

import jax.numpy as jnp
from jax.tree_util import Partial

from jaxkin import units
from jaxkin.checks import check_positive
from jaxkin.hamiltonian.kdotp import KdotP
from jaxkin.precision import use_double


def helical_isotropic(mass: float = 1.0, moment: float = 0.0, box: float = 2.0) -> KdotP:
    """Isotropic helical metal: ε = ħ²k²/2m with a prescribed moment m = μ_int z (z·e), Eq. (21).

    The spectrum is isotropic; the helix axis z shows in the moment and in the disorder kernels,
    Eqs. (11) and (17): :class:`jaxkin.RelaxationTime`. Symmetry D_∞ about z; no crystallographic group.

    Args:
        mass: m in electron masses.
        moment: μ_int in Bohr magnetons.
        box: half edge of the box of k in Å⁻¹; it must hold the Fermi sphere.

    Raises:
        JaxkinError: a mass or a box that is not positive, or numbers that are not finite.
    """
    check_positive("mass", mass, "a positive number of electron masses")
    use_double()
    return KdotP(
        Partial(_parabola, jnp.asarray(units.HBAR2_OVER_2M / mass)),
        ((-box, box),) * 3,
        moment=Partial(_moment, jnp.asarray(moment)),
    )


def _parabola(coefficient, k):
    return coefficient * (k @ k)[None, None]


def _moment(size, k):
    return size * k[2] / jnp.linalg.norm(k) * jnp.array([0.0, 0.0, 1.0])
