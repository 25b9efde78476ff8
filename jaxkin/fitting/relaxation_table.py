"""The table of phenomenological disorder: τ, τ_sk and a_sj are its parameters."""

from __future__ import annotations

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxkin.disorder import RelaxationTime
from jaxkin.fitting.table import Kinetics, Table, Values, current, gather, turned
from jaxkin.fitting.thermal import padded
from jaxkin.surface.shells import Surface


class RelaxationTable(Table):
    """Parameters ``tau`` (ps), ``tau_skew`` (ps), ``side_jump`` (Å).

    Attributes:
        skew: Σ W (Q×v)_a v_b of each shell for τ_sk = 1 ps, (R, E, 3, 3).
        jump: Σ W (v_sj×v)_a v_b for τ = 1 ps and a_sj = 1 Å.
        skew_current: Σ W v_a Q_b for τ_sk = 1 ps.
        jump_current: Σ W v_a v_sj,b for τ = 1 ps and a_sj = 1 Å.
        given: the disorder's own τ, 1/τ_sk and a_sj.
    """

    skew: Float[Array, "R E 3 3"]
    jump: Float[Array, "R E 3 3"]
    skew_current: Float[Array, "R E 3 3"]
    jump_current: Float[Array, "R E 3 3"]
    given: tuple[float, float, float] = eqx.field(static=True)

    @classmethod
    def of(
        cls, surface: Surface, disorder: RelaxationTime, window: tuple[float, float] | None = None
    ) -> RelaxationTable:
        """Gather it from a surface."""
        whole = gather(surface, window)
        unit = RelaxationTime(1.0, 1.0, 1.0, disorder.axis, disorder.direction)
        scatterer = unit.on(surface)
        rows: list[list[list[np.ndarray]]] = [[], [], [], []]
        for row in whole.states:
            collisions = [(states, scatterer(states)) for states in row]
            for number, tensor in ((0, turned), (2, current)):
                rows[number].append([tensor(surface, s, c.skew_acceleration) for s, c in collisions])
                rows[number + 1].append([tensor(surface, s, c.side_jump_velocity) for s, c in collisions])
        skew, jump, skewed, jumped = (jnp.asarray(padded(part, (3, 3))) for part in rows)
        tau, slow = float(disorder.tau), disorder.tau_skew
        return cls(
            *whole[:6],
            skew,
            jump,
            skewed,
            jumped,
            (tau, float("inf") if slow is None else float(slow), float(disorder.side_jump)),
        )

    @property
    def disorder_values(self) -> dict[str, float]:
        return dict(zip(("tau", "tau_skew", "side_jump"), self.given, strict=True))

    @property
    def linear(self) -> tuple[str, ...]:
        return ("moment_scale", "skew_rate", "side_jump")

    def kinetics(self, values: Values) -> Kinetics:
        tau = jnp.asarray(values["tau"])
        rate = jnp.asarray(values["skew_rate"]) if "skew_rate" in values else 1 / jnp.asarray(values["tau_skew"])
        jump = jnp.asarray(values["side_jump"]) / tau
        return Kinetics(
            tau,
            {
                "intrinsic": jnp.asarray(values["moment_scale"]) * self.moment,
                "skew": rate * self.skew,
                "side_jump": jump * self.jump,
            },
            {"skew": rate * self.skew_current, "side_jump": jump * self.jump_current},
        )
