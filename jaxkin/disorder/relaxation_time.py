"""Phenomenological disorder: τ, τ_sk and a_sj."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxkin.disorder.kernels import Disorder, KernelDisorder, Scatterer
from jaxkin.disorder.states import State
from jaxkin.errors import JaxkinError
from jaxkin.namespace import is_traced
from jaxkin.surface.shells import Surface


class RelaxationTime(Disorder):
    """Isotropic scattering with a helical skew and side-jump part, Sec. II.A.

    With e the direction of a state, z the helix axis and ν the density of states,

    - w^S_{pp'} = 1/(ντ),
    - w^A_{pp'} = −(1/ντ_sk) z·(e×e') (z·e + z·e') for p' → p, Eq. (11) with the sign that (12) and (14) need,
    - δr_{pp'} = a_sj (z·e + z·e') z×(e − e'), Eq. (17): the form Ω×(p−p') of a smooth potential,
      Eq. (16), for Ω ∝ z (z·e) averaged over the two states,

    so that on a sphere Q = −(v/3τ_sk)(z·e) z×e, Eq. (12), and v_sj = (a_sj/τ)(z·e) z×e, Eq. (18).

    Args:
        tau: transport time τ in ps.
        tau_skew: τ_sk in ps; None or infinity for no skew scattering.
        side_jump: a_sj in Å.
        axis: helix axis z, Cartesian.
        direction: e is the unit vector of the ``"velocity"`` (periodic in any crystal) or of the
            ``"momentum"`` (k·p models, measured from k = 0).

    Raises:
        JaxkinError: times that are not positive, an axis of length zero, an unknown direction. Traced times, under
            ``jax.grad``, are not checked.

    >>> import jaxkin as jk
    >>> disorder = jk.RelaxationTime(tau=1.0, tau_skew=100.0, side_jump=0.5)
    """

    tau: Float[Array, ""] | float
    tau_skew: Float[Array, ""] | float | None
    side_jump: Float[Array, ""] | float
    axis: tuple[float, float, float] = eqx.field(static=True)
    direction: Literal["velocity", "momentum"] = eqx.field(static=True)

    def __init__(
        self,
        tau: Float[Array, ""] | float = 1.0,
        tau_skew: Float[Array, ""] | float | None = None,
        side_jump: Float[Array, ""] | float = 0.0,
        axis: Sequence[float] = (0, 0, 1),
        direction: Literal["velocity", "momentum"] = "velocity",
    ):
        if not is_traced(tau) and not tau > 0:
            raise JaxkinError(f"tau={tau} must be a positive time in ps.")
        known = None if is_traced(tau_skew) else tau_skew
        if known is not None and not abs(known) > 0:
            raise JaxkinError("tau_skew must be a non-zero time in ps (its sign is the handedness), or None.")
        length = float(np.linalg.norm(axis))
        if len(axis) != 3 or not length > 0:
            raise JaxkinError(f"axis={axis} must be three Cartesian components, not all zero.")
        if direction not in ("velocity", "momentum"):
            raise JaxkinError(f"direction={direction!r} must be 'velocity' or 'momentum'.")
        self.tau, self.side_jump = tau, side_jump
        self.tau_skew = None if known is not None and abs(known) == np.inf else tau_skew
        self.axis = (axis[0] / length, axis[1] / length, axis[2] / length)
        self.direction = direction

    def on(self, surface: Surface) -> Scatterer:
        if self.direction == "momentum" and surface.model.periodic:
            raise JaxkinError(
                "direction='momentum' has no meaning in a crystal, where k is periodic; use direction='velocity'."
            )
        return KernelDisorder(
            symmetric=self.symmetric,
            antisymmetric=None if self.tau_skew is None else self.antisymmetric,
            shift=self.shift if is_traced(self.side_jump) or np.any(self.side_jump) else None,
            tau=self.tau,
        ).on(surface)

    def symmetric(self, p: State, q: State) -> Array:
        """w^S in eV Å^d / ps."""
        return 1 / (q.density_of_states * self.tau)

    def antisymmetric(self, p: State, q: State) -> Array:
        """w^A, Eq. (11), in eV Å^d / ps; zero without ``tau_skew``."""
        if self.tau_skew is None:
            return jnp.zeros(())
        z, e, f = jnp.array(self.axis), self._unit(p), self._unit(q)
        return -(z @ jnp.cross(e, f)) * (z @ (e + f)) / (q.density_of_states * self.tau_skew)

    def shift(self, p: State, q: State) -> Array:
        """δr, Eq. (17), in Å."""
        z, e, f = jnp.array(self.axis), self._unit(p), self._unit(q)
        return self.side_jump * (z @ (e + f)) * jnp.cross(z, e - f)

    def _unit(self, state: State) -> Array:
        vector = state.velocity if self.direction == "velocity" else state.k
        return vector / jnp.maximum(jnp.linalg.norm(vector), 1e-300)
