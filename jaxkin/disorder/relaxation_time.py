"""Phenomenological disorder: τ, τ_sk and a_sj."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, ClassVar, Literal

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxkin import units
from jaxkin.brief import brief, listed
from jaxkin.checks import SMALLEST, cartesian, check_number, check_positive
from jaxkin.disorder.collisions import Collisions
from jaxkin.disorder.kernels import Disorder, Scatterer
from jaxkin.disorder.states import States
from jaxkin.errors import JaxkinError
from jaxkin.namespace import AnyArray, Number, is_traced, leaf
from jaxkin.surface.surface import Surface


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
        axis: helix axis z, Cartesian, of any length.
        direction: e is the unit vector of the ``"velocity"`` (periodic in any crystal) or of the
            ``"momentum"`` (k·p models, measured from k = 0).

    Attributes:
        skew_rate: 1/τ_sk in 1/ps, zero for none.

    Raises:
        JaxkinError: times that are not positive, an axis of length zero, an unknown direction. Traced times, under
            ``jax.grad``, are not checked.

    >>> import jaxkin as jk
    >>> disorder = jk.RelaxationTime(tau=1.0, tau_skew=100.0, side_jump=0.5)
    >>> float(disorder.skew_rate)
    0.01
    """

    tau: Float[AnyArray, ""]
    skew_rate: Float[AnyArray, ""]
    side_jump: Float[AnyArray, ""]
    axis: Float[AnyArray, " 3"]
    direction: Literal["velocity", "momentum"] = eqx.field(static=True)

    def __init__(
        self,
        tau: Number = 1.0,
        tau_skew: Number | None = None,
        side_jump: Number = 0.0,
        axis: Sequence[float] = (0, 0, 1),
        direction: Literal["velocity", "momentum"] = "velocity",
    ):
        check_positive("tau", tau, "a positive time in ps")
        handed = "a non-zero time in ps (its sign is the handedness), or None"
        check_number("tau_skew", tau_skew, handed, least=-np.inf, most=np.inf, optional=True)
        if tau_skew is not None and not is_traced(tau_skew) and not abs(tau_skew) >= SMALLEST:
            raise JaxkinError(f"tau_skew={tau_skew} must be {handed}.")
        check_number("side_jump", side_jump, "a finite length in Å")
        z = cartesian(axis, "axis")
        if direction not in ("velocity", "momentum"):
            raise JaxkinError(f"direction={direction!r} must be 'velocity' or 'momentum'.")
        self.tau, self.side_jump = leaf(tau), leaf(side_jump)
        self.skew_rate = leaf(0.0 if tau_skew is None else 1 / tau_skew)
        self.axis, self.direction = z / np.linalg.norm(z), direction

    @brief
    def __repr__(self) -> str:
        return (
            f"RelaxationTime(tau={self.tau:.4g} ps, tau_skew={float(self.tau_skew):.4g} ps, "
            f"side_jump={self.side_jump:.4g} Å, axis=({listed(self.axis)}), direction={self.direction!r})"
        )

    @property
    def tau_skew(self) -> Any:
        """τ_sk in ps, infinite for none."""
        with np.errstate(divide="ignore"):
            return 1 / self.skew_rate

    @property
    def elastic(self) -> bool:
        return is_traced(self.skew_rate, self.side_jump) or bool(self.skew_rate) or bool(self.side_jump)

    def on(self, surface: Surface) -> RelaxationScatterer:
        if self.direction == "momentum" and surface.model.periodic:
            raise JaxkinError(
                "direction='momentum' has no meaning in a crystal, where k is periodic; use direction='velocity'."
            )
        return RelaxationScatterer(self)


class RelaxationScatterer(Scatterer):
    """The same on any surface."""

    disorder: RelaxationTime
    bloch: ClassVar[bool] = False  # pyright: ignore[reportIncompatibleMethodOverride]
    pairs: ClassVar[bool] = False  # pyright: ignore[reportIncompatibleMethodOverride]

    def __call__(self, states: States) -> RelaxationCollisions:
        return RelaxationCollisions(states, self.disorder)


class RelaxationCollisions(Collisions):
    """Kernels that are polynomials of the states' directions, so that their actions follow from a few sums.

    With r = z×e and Σ' = Σ_j W_j over the shell, for p' → p:

    A x = −(1/ντ_sk) r·[(z·e) Σ'e'x' + Σ'(z·e')e'x'], from Eq. (11), and
    v_sj = (ħa_sj/ντ) [ν (z·e) r + (z·Σ'e') r − (z·e) z×Σ'e' − z×Σ'(z·e')e'], from Eq. (17), which is D·1 of

    ⟨x|D|y⟩ = (ħa_sj/ντ) Σ x [(z·e) r Σ'y' + r Σ'(z·e')y' − (z·e) Σ'r'y' − Σ'(z·e')r'y'].

    Args:
        states: the shell.
        disorder: its parameters.
    """

    def __init__(self, states: States, disorder: RelaxationTime):
        super().__init__(states)
        z = jnp.asarray(disorder.axis)
        vectors = self.velocity if disorder.direction == "velocity" else jnp.asarray(states.k)
        square = jnp.sum(vectors**2, axis=1, keepdims=True)
        self._unit = vectors / jnp.sqrt(jnp.where(square == 0, 1.0, square))
        self._along, self._across = self._unit @ z, jnp.cross(z, self._unit)
        self._tau, self._skew_rate = jnp.asarray(disorder.tau), jnp.asarray(disorder.skew_rate)
        self._jump = jnp.asarray(disorder.side_jump)
        self._states, self._axis = jnp.sum(self.weights), z

    def symmetric(self, x: Array) -> Array:
        return jnp.broadcast_to(self.weights @ x, x.shape) / (self._states * self._tau)

    def antisymmetric(self, x: Array) -> Array:
        weighted = self.weights[:, None] * x
        plain, along = self._unit.T @ weighted, (self._along[:, None] * self._unit).T @ weighted  # (3, m)
        total = self._along[:, None] * (self._across @ plain) + self._across @ along
        return -self._skew_rate / self._states * total

    @property
    def transport_time(self) -> Array:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self._tau

    @property
    def own_scattering(self) -> tuple[Array, Array]:
        """None: τ is what it is, however few points there are."""
        return jnp.zeros_like(self.weights), self.rate

    @cached_property
    def antisymmetric_size(self) -> Array:  # pyright: ignore[reportIncompatibleMethodOverride]
        """∫|w^A|δ ≤ √(ν ∫(w^A)²δ)."""
        w, along, unit = self.weights, self._along, self._unit
        moments = [jnp.einsum("i,ia,ib->ab", jnp.abs(w) * along**n, unit, unit) for n in range(3)]
        squares = sum(
            factor * along ** (2 - n) * jnp.einsum("ia,ab,ib->i", self._across, moment, self._across)
            for n, (factor, moment) in enumerate(zip((1, 2, 1), moments, strict=True))
        )
        largest = jnp.max(jnp.where(w != 0, squares, 0.0))
        return jnp.abs(self._skew_rate / self._states) * jnp.sqrt(jnp.sum(jnp.abs(w)) * jnp.maximum(largest, 0.0))

    @cached_property
    def side_jump_velocity(self) -> Array:  # pyright: ignore[reportIncompatibleMethodOverride]
        mean = self.weights @ self._unit / self._states
        along = (self.weights * self._along) @ self._unit / self._states
        z, r, height = self._axis, self._across, self._along[:, None]
        shift = height * r + (z @ mean) * r - height * jnp.cross(z, mean) - jnp.cross(z, along)
        return units.HBAR * self._jump / self._tau * shift

    def displaced(self, left: Array, right: Array) -> Array:
        along = self._along[:, None]
        functions = jnp.concatenate([jnp.ones_like(along), along, self._across, along * self._across], axis=1)
        x, y = (functions.T @ (self.weights[:, None] * f) for f in (left, right))  # Σ of 1, z·e, r, (z·e)r

        def product(a: Array, b: Array) -> Array:
            return a[..., :, None] * b[..., None, :]

        total = product(x[5:], y[0]) + product(x[2:5], y[1]) - product(x[1], y[2:5]) - product(x[0], y[5:])
        return units.HBAR * self._jump / (self._tau * self._states) * total
