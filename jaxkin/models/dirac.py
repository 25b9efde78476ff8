"""The massive Dirac band in two dimensions."""

from __future__ import annotations

import jax.numpy as jnp
from jax.tree_util import Partial

from jaxkin.hamiltonian.kdotp import KdotP
from jaxkin.precision import use_double


def massive_dirac_2d(velocity: float = 1.0, mass: float = 0.1, box: float = 1.0) -> KdotP:
    """H = v (k_x σ_x + k_y σ_y) + Δ σ_z: one massive Dirac cone, time reversal broken.

    Continuous rotations about z; no crystallographic group. H holds for all k: the box is where the Fermi
    surface is looked for, and the cutoff of the local Green function. Its conductivity: docs/theory.md, "Closed forms",
    and N. Sinitsyn et al., PRB 75, 045315 (2007).

    Args:
        velocity: ħv in eV Å.
        mass: Δ in eV.
        box: half edge of the box of k in Å⁻¹.

    Raises:
        ModelError: a box that is not positive, or numbers that are not finite.
    """
    use_double()
    return KdotP(Partial(_dirac, jnp.asarray(velocity), jnp.asarray(mass)), ((-box, box),) * 2, unbounded=True)


def _dirac(velocity, mass, k):
    # no conjugate: analytic in k
    return jnp.array([[mass, velocity * (k[0] - 1j * k[1])], [velocity * (k[0] + 1j * k[1]), -mass]])
