"""The table of phenomenological disorder: τ, τ_sk and a_sj are its parameters."""

from __future__ import annotations

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxkin.disorder import RelaxationTime
from jaxkin.fitting.table import Kinetics, Table, Values, gather
from jaxkin.fitting.thermal import padded
from jaxkin.response.boltzmann import MAGNETON
from jaxkin.surface.shells import Surface


class RelaxationTable(Table):
    """Parameters ``tau`` (ps), ``tau_skew`` (ps), ``side_jump`` (Å).

    Attributes:
        skew: Σ W (Q×v)_a v_b of each shell for τ_sk = 1 ps, (R, E, 3, 3).
        jump: Σ W (v_sj×v)_a v_b for τ = 1 ps and a_sj = 1 Å.
        given: the disorder's own τ, 1/τ_sk and a_sj.
    """

    skew: Float[Array, "R E 3 3"]
    jump: Float[Array, "R E 3 3"]
    given: tuple[float, float, float] = eqx.field(static=True)

    @classmethod
    def of(
        cls, surface: Surface, disorder: RelaxationTime, window: tuple[float, float] | None = None
    ) -> RelaxationTable:
        """Gather it from a surface."""
        whole = gather(surface, window)
        unit = RelaxationTime(1.0, 1.0, 1.0, disorder.axis, disorder.direction)
        scatterer = unit.on(surface)
        skew, jump = [], []
        for row in whole.states:
            collisions = [scatterer(states) for states in row]
            for rows, which in ((skew, "skew_acceleration"), (jump, "side_jump_velocity")):
                rows.append(
                    [
                        MAGNETON
                        * (surface.weight[s.shell.points, None] * np.cross(getattr(c, which), s.velocity)).T
                        @ s.velocity
                        for c, s in zip(collisions, row, strict=True)
                    ]
                )
        tau, slow = float(disorder.tau), disorder.tau_skew
        return cls(
            *whole[:4],
            jnp.asarray(padded(skew, (3, 3))),
            jnp.asarray(padded(jump, (3, 3))),
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
        return Kinetics(
            tau,
            {
                "intrinsic": jnp.asarray(values["moment_scale"]) * self.moment,
                "skew": rate * self.skew,
                "side_jump": jnp.asarray(values["side_jump"]) / tau * self.jump,
            },
        )
