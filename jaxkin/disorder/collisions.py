"""What disorder does on one shell: the collision operator and all that follows from it."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from jaxkin import units
from jaxkin.disorder.pairs import Kernel, pair_apply, pair_integral
from jaxkin.disorder.states import States
from jaxkin.errors import JaxkinError
from jaxkin.namespace import AnyArray, is_traced, namespace


class Collisions(abc.ABC):
    """Scattering among the N states of one shell, as operators on functions of the state.

    S_{pp'} = w^S δ(ε−ε') and A_{pp'} = w^A δ(ε−ε') act by ∫(dp') → Σ_j W_j; L = Γ − S, Eq. (47).
    Rates in 1/ps, velocities in eV Å.

    Args:
        states: weights and velocities of the shell.
    """

    def __init__(self, states: States):
        self.weights, self.velocity, self.sheet = states.weights, states.velocity, states.sheet

    @abc.abstractmethod
    def symmetric(self, x: AnyArray) -> AnyArray:
        """S x for x (N, m)."""

    @abc.abstractmethod
    def antisymmetric(self, x: AnyArray) -> AnyArray:
        """A x for x (N, m)."""

    @property
    @abc.abstractmethod
    def antisymmetric_size(self) -> float:
        """A bound of max_p ∫(dp') |w^A| δ(ε−ε'), to compare its integral with."""

    @property
    @abc.abstractmethod
    def side_jump_velocity(self) -> AnyArray:
        """v_sj = ∫(dp') w^S_{pp'} δr_{pp'} δ(ε−ε'), Eqs. (9), (68), (N, 3): ħ times Å/ps."""

    @property
    def optical_theorem(self) -> float | None:
        """Largest violation of 2 Im T_pp = −ħΓ_p/n, relative; None where T has no imaginary part (Born)."""
        return None

    @cached_property
    def _of_velocity(self) -> tuple[AnyArray, AnyArray]:
        xp = namespace(self.weights)
        columns = xp.concatenate([xp.ones((len(self.weights), 1)), self.velocity], axis=1)
        return self.symmetric(columns), self.antisymmetric(columns)

    @property
    def rate(self) -> AnyArray:
        """Γ_p = ∫(dp') w^S_{pp'} δ(ε−ε') in 1/ps, (N,)."""
        return self._of_velocity[0][:, 0]

    @property
    def transport_time(self) -> Any:
        """τ in ps: 1/τ = ⟨v|L|v⟩/⟨v|v⟩."""
        if not len(self.weights):
            return 0.0
        loss = self.rate[:, None] * self.velocity - self._of_velocity[0][:, 1:]
        xp, w = namespace(self.weights), self.weights[:, None]
        rate = xp.sum(w * self.velocity * loss) / xp.sum(w * self.velocity**2)
        if is_traced(rate):
            return 1 / rate
        if not rate > 0:
            raise JaxkinError(f"w^S gives the transport rate {rate:.3g}/ps; it must be positive (or pass tau).")
        return float(1 / rate)

    @property
    def skew_acceleration(self) -> AnyArray:
        """Q = ∫(dp') w^A_{pp'} δ(ε−ε') (v' − v) in eV Å / ps, (N, 3).

        The order of the velocities is opposite to that printed in Eq. (8), so that m_sk = eτ² Q×v,
        Eq. (6), follows from the Boltzmann equation with w_{pp'} for p' → p (docs/theory.md).
        """
        a = self._of_velocity[1]
        return a[:, 1:] - a[:, :1] * self.velocity

    @property
    def flux_violation(self) -> float:
        """Largest |∫(dp') w^A δ| relative to ∫(dp') |w^A| δ; Eqs. (34), (35) say zero."""
        largest = float(np.max(np.abs(self._of_velocity[1][:, 0]), initial=0.0))
        return largest / self.antisymmetric_size if largest else 0.0


class DenseCollisions(Collisions):
    """Kernels as (N, N) matrices.

    Args:
        states: the shell.
        symmetric, antisymmetric: w^S and w^A in eV Å^d / ps.
        side_jump: v_sj (N, 3).
        optical_theorem: its relative violation, if T is complex.
    """

    def __init__(
        self,
        states: States,
        symmetric: AnyArray,
        antisymmetric: AnyArray | None,
        side_jump: AnyArray,
        optical_theorem: float | None = None,
    ):
        super().__init__(states)
        self._s, self._a = symmetric, antisymmetric
        self._jump, self._optical = side_jump, optical_theorem

    def symmetric(self, x: AnyArray) -> AnyArray:
        return self._s @ (self.weights[:, None] * x)

    def antisymmetric(self, x: AnyArray) -> AnyArray:
        if self._a is None:
            return 0.0 * x
        return self._a @ (self.weights[:, None] * x)

    @cached_property
    def antisymmetric_size(self) -> float:
        return 0.0 if self._a is None else float(np.max(np.abs(self._a) @ np.abs(self.weights)))

    @property
    def side_jump_velocity(self) -> AnyArray:
        return self._jump

    @property
    def optical_theorem(self) -> float | None:
        return self._optical


class TiledCollisions(Collisions):
    """Kernels as JAX functions of two states or of tiles, summed in tiles: no N×N array is made.

    Args:
        states: the shell.
        arguments: pytree with leaves (N, ...), of which the kernels get two members (p, p').
        symmetric, antisymmetric: w^S and w^A in eV Å^d / ps; None is zero.
        jump: w^S δr (3,) in eV Å^{d+1} / ps; None is zero.
        transport_time: τ in ps instead of that of w^S.
    """

    def __init__(
        self,
        states: States,
        arguments,
        symmetric: Kernel | None,
        antisymmetric: Kernel | None,
        jump: Kernel | None,
        transport_time: Any = None,
    ):
        super().__init__(states)
        self._arguments, self._kernels, self._jump = arguments, (symmetric, antisymmetric), jump
        self._tau = transport_time
        self._size = 0.0

    def symmetric(self, x: AnyArray) -> AnyArray:
        return self._apply(self._kernels[0], x)[0]

    def antisymmetric(self, x: AnyArray) -> AnyArray:
        y, total = self._apply(self._kernels[1], x)
        if not is_traced(total):
            self._size = float(np.max(total, initial=0.0))
        return y

    def _apply(self, kernel: Kernel | None, x: AnyArray) -> tuple[AnyArray, AnyArray]:
        if kernel is None or not len(x):
            return 0.0 * x, np.zeros(len(x))
        return pair_apply(kernel, self._arguments, self.weights, x)

    @property
    def antisymmetric_size(self) -> float:
        return self._size

    @property
    def transport_time(self) -> Any:
        return super().transport_time if self._tau is None else self._tau

    @cached_property
    def side_jump_velocity(self) -> AnyArray:
        if self._jump is None or not len(self.weights):
            return 0.0 * self.velocity
        return units.HBAR * pair_integral(self._jump, self._arguments, self.weights)


class SummedCollisions(Collisions):
    """Several kinds of impurities: their kernels add."""

    def __init__(self, states: States, parts: Sequence[Collisions]):
        super().__init__(states)
        self.parts = tuple(parts)

    def symmetric(self, x: AnyArray) -> AnyArray:
        return sum(part.symmetric(x) for part in self.parts)

    def antisymmetric(self, x: AnyArray) -> AnyArray:
        return sum(part.antisymmetric(x) for part in self.parts)

    @property
    def antisymmetric_size(self) -> float:
        return float(sum(part.antisymmetric_size for part in self.parts))

    @cached_property
    def side_jump_velocity(self) -> AnyArray:
        return sum(part.side_jump_velocity for part in self.parts)

    @property
    def optical_theorem(self) -> float | None:
        known = [part.optical_theorem for part in self.parts if part.optical_theorem is not None]
        return max(known, default=None)
