"""What a scattering kernel may know of a state."""

from __future__ import annotations

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxkin.surface.fermi import Shell, Surface


class State(eqx.Module):
    """A state on a constant-energy surface; kernels get two of them.

    Attributes:
        k: Cartesian, Å⁻¹.
        energy: eV.
        velocity: ∂ε/∂k in eV Å.
        berry_curvature: Å².
        orbital_moment: μ_B.
        density_of_states: ν of the whole surface at this energy, 1/(eV Å^d).
    """

    k: Float[Array, "... 3"]
    energy: Float[Array, "..."]
    velocity: Float[Array, "... 3"]
    berry_curvature: Float[Array, "... 3"]
    orbital_moment: Float[Array, "... 3"]
    density_of_states: Float[Array, "..."]


def shell_states(surface: Surface, shell: Shell) -> State:
    """All states of a shell, (N, ...)."""
    part = shell.points
    count = part.stop - part.start
    return State(
        k=jnp.asarray(surface.model.cartesian(jnp.asarray(surface.k[part]))),
        energy=jnp.asarray(surface.energy[part]),
        velocity=jnp.asarray(surface.velocity[part]),
        berry_curvature=jnp.asarray(surface.berry_curvature[part]),
        orbital_moment=jnp.asarray(surface.orbital_moment[part]),
        density_of_states=jnp.full(count, np.sum(surface.level_weight[shell.points])),
    )
