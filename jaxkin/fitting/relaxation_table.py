"""The table of phenomenological disorder: τ, τ_sk and a_sj are its parameters."""

from __future__ import annotations

import equinox as eqx
import jax.numpy as jnp

from jaxkin.disorder import RelaxationTime
from jaxkin.fitting.table import Table, Values, gather, shell_sums
from jaxkin.response.sums import RelaxedSums, Theory
from jaxkin.surface.surface import Surface


class RelaxationTable(Table):
    """Parameters ``tau`` (ps), ``tau_skew`` (ps), ``side_jump`` (Å).

    Its sums are those of τ = 1 ps, τ_sk = 1 ps and a_sj = 1 Å.

    Attributes:
        given: the disorder's own τ, τ_sk and a_sj.
    """

    given: tuple[float, float, float] = eqx.field(static=True)

    @classmethod
    def of(
        cls, surface: Surface, disorder: RelaxationTime, theory: Theory, window: tuple[float, float] | None = None
    ) -> RelaxationTable:
        """Gather it from a surface."""
        whole = gather(surface, window)
        unit = RelaxationTime(1.0, 1.0, 1.0, tuple(disorder.axis), disorder.direction)
        sums = shell_sums(surface, unit.on(surface), whole.shells, theory)
        given = (float(disorder.tau), float(disorder.tau_skew), float(disorder.side_jump))
        return cls(whole.energies, sums, *whole[1:4], given)

    @property
    def disorder_values(self) -> dict[str, float]:
        return dict(zip(("tau", "tau_skew", "side_jump"), self.given, strict=True))

    @property
    def linear(self) -> tuple[str, ...]:
        return ("moment_scale", "skew_rate", "side_jump")

    def at(self, values: Values) -> RelaxedSums:
        tau = jnp.asarray(values["tau"])
        rate = jnp.asarray(values["skew_rate"]) if "skew_rate" in values else 1 / jnp.asarray(values["tau_skew"])
        jump = jnp.asarray(values["side_jump"]) / tau
        scale = {"drude": 1.0, "skew": rate, "side_jump": jump, "nonlocal": jump, "gaussian_skew": 0.0}
        scale["intrinsic"] = jnp.asarray(values["moment_scale"])
        return RelaxedSums(
            tau,
            {name: scale[name] * tensor for name, tensor in self.sums.moments.items()},
            {name: scale[name] * tensor for name, tensor in self.sums.currents.items()},
        )
