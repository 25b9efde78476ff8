"""Scattering between two states of equal energy, and what the response needs of it."""

from __future__ import annotations

import abc
from collections.abc import Callable
from dataclasses import dataclass

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxkin import units
from jaxkin.disorder.pairs import pair_integral
from jaxkin.disorder.states import State, shell_states
from jaxkin.errors import JaxkinError
from jaxkin.surface.fermi import Shell, Surface

Kernel = Callable[[State, State], Array]


@dataclass(frozen=True)
class Scattering:
    """What disorder does to the states of one shell.

    Attributes:
        tau: transport time in ps.
        skew_acceleration: Q = ∫(dp') w^A_{pp'} δ(ε−ε') (v − v'), Eqs. (8), (60), (N, 3), eV Å / ps.
        side_jump_velocity: v_sj = ∫(dp') w^S_{pp'} δr_{pp'} δ(ε−ε'), Eqs. (9), (68), (N, 3), in eV Å
            like every velocity (ħ times Å/ps).
        flux_violation: largest |∫(dp') w^A δ(ε−ε')| over ∫(dp') |w^A| δ(ε−ε'); Eqs. (34), (35) say zero.
    """

    tau: float
    skew_acceleration: np.ndarray
    side_jump_velocity: np.ndarray
    flux_violation: float


class Disorder(eqx.Module):
    """Base of everything that scatters."""

    @abc.abstractmethod
    def transport_time(self, surface: Surface, shell: Shell) -> float:
        """τ of one shell in ps."""

    @abc.abstractmethod
    def scatter(self, surface: Surface, shell: Shell) -> Scattering:
        """Evaluate the disorder's actions on one shell."""


class KernelDisorder(Disorder):
    """Disorder given by its kernels as JAX functions of two states (p, p'), for scattering p' → p.

    Args:
        symmetric: w^S in eV Å^d / ps, so that ∫(dk') w^S δ(ε−ε') is a rate in 1/ps.
        antisymmetric: w^A in the same unit, or None.
        shift: coordinate shift δr (3,) in Å, or None.
        tau: transport time in ps; None takes it from w^S,
            1/τ = ⟨v·∫w^S(v−v')δ⟩/⟨v·v⟩.

    >>> import jaxkin as jk
    >>> isotropic = jk.KernelDisorder(lambda p, q: 1 / q.density_of_states)  # 1 per ps
    >>> model = jk.models.get("helical-isotropic")
    >>> surface = jk.fermi_surface(model, 0.5, sampler=jk.Lines(n=8), replicas=2)
    >>> abs(isotropic.scatter(surface, surface.shells[0]).tau - 1) < 0.02
    True
    """

    symmetric: Kernel
    antisymmetric: Kernel | None = None
    shift: Kernel | None = None
    tau: Float[Array, ""] | float | None = None

    def transport_time(self, surface: Surface, shell: Shell) -> float:
        if self.tau is not None:
            return float(self.tau)
        states, weights = shell_states(surface, shell), surface.level_weight[shell.points]
        loss = pair_integral(_LossColumns(self.symmetric), states, weights)
        v = surface.velocity[shell.points]
        rate = np.sum(weights[:, None] * v * loss) / np.sum(weights[:, None] * v * v)
        if not rate > 0:
            raise JaxkinError(f"w^S gives the transport rate {rate:.3g}/ps; it must be positive (or pass tau).")
        return float(1 / rate)

    def scatter(self, surface: Surface, shell: Shell) -> Scattering:
        states, weights = shell_states(surface, shell), surface.level_weight[shell.points]
        skew, jump, flux = np.zeros((len(weights), 3)), np.zeros((len(weights), 3)), 0.0
        if self.antisymmetric is not None:
            columns = pair_integral(_SkewColumns(self.antisymmetric), states, weights)
            skew = columns[:, :3]
            flux = float(np.max(np.abs(columns[:, 3])) / max(np.max(columns[:, 4]), 1e-300))
        if self.shift is not None:
            jump = units.HBAR * pair_integral(_JumpColumns(self.symmetric, self.shift), states, weights)
        return Scattering(self.transport_time(surface, shell), skew, jump, flux)


class _SkewColumns(eqx.Module):
    """w^A (v − v'), w^A, |w^A|."""

    kernel: Kernel

    def __call__(self, p: State, q: State) -> Array:
        w = self.kernel(p, q)
        return jnp.concatenate([w * (p.velocity - q.velocity), jnp.stack([w, jnp.abs(w)])])


class _JumpColumns(eqx.Module):
    """w^S δr."""

    kernel: Kernel
    shift: Kernel

    def __call__(self, p: State, q: State) -> Array:
        return self.kernel(p, q) * self.shift(p, q)


class _LossColumns(eqx.Module):
    """w^S (v − v')."""

    kernel: Kernel

    def __call__(self, p: State, q: State) -> Array:
        return self.kernel(p, q) * (p.velocity - q.velocity)
