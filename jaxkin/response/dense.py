"""Resolvents (ω + iL)⁻¹ of small shells as matrices of JAX: what is differentiated, all frequencies one by one."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from jaxkin.disorder.collisions import Collisions
from jaxkin.memory import demand
from jaxkin.response.resolvent import DECOUPLED

MATRICES = 24
"""Complex (M, M) matrices that exist at a time while a shell is solved and differentiated, an estimate."""

Solution = Complex[Array, "frequency M m"]


class DenseResolvent:
    """:class:`jaxkin.response.resolvent.Resolvent` by LU decomposition of ω + i(L + P), and its derivatives.

    P projects on the null vectors of L, constants on the sheets that scattering connects, with a rate of the size
    of Γ: solutions orthogonal to them do not depend on it. Points without weight have no equation.

    Args:
        collisions: of JAX arrays.
        omega: angular frequencies in 1/ps, (frequency,).
        sheets: how many different sheets the whole surface has, numbered from 0 in ``collisions.sheet``.

    Raises:
        JaxkinError: matrices beyond the memory budget.
    """

    def __init__(self, collisions: Collisions, omega: Float[Array, " frequency"], sheets: int):
        self.collisions, self.omega, count = collisions, omega, len(collisions.weights)
        demand(
            16 * MATRICES * count**2,
            f"the collision operator of {count} points as a matrix",
            "raise it, use fewer points (a smaller n), or solver='rta'",
        )
        w = collisions.weights
        self._present = w > 0
        members = jax.nn.one_hot(collisions.sheet, sheets) * self._present[:, None]
        size = w @ members
        self._sheets, self._sizes = members, jnp.where(size > 0, size, 1.0)
        gain = collisions.symmetric(jnp.eye(count))
        self._null, self._null_sizes = self._constants(gain)
        rate = collisions.rate
        typical = jnp.sum(w * rate) / jnp.sum(w)
        projector = (self._null / self._null_sizes) @ (self._null * w[:, None]).T
        self._loss = self._project_matrix(jnp.diag(rate) - gain) + jax.lax.stop_gradient(typical) * projector
        self._skew = self._project_matrix(collisions.antisymmetric(jnp.eye(count)))

    def _constants(self, gain: Array) -> tuple[Array, Array]:
        """One on the sheets that scattering connects, (M, parts), and ∫δ of each part."""
        w = self.collisions.weights
        coupling = (self._sheets * w[:, None]).T @ gain @ self._sheets
        root = jnp.sqrt(self._sizes)
        strength = jax.lax.stop_gradient(jnp.abs(coupling / root[:, None] / root))
        connected = (strength > DECOUPLED * jnp.max(jnp.diag(strength))) | jnp.eye(len(strength), dtype=bool)
        for _ in range(max(int(np.ceil(np.log2(len(strength)))), 0)):
            connected = (connected.astype(float) @ connected.astype(float)) > 0
        part = jnp.argmax(connected, axis=1)  # the first sheet of each
        null = self._sheets @ jax.nn.one_hot(part, len(strength))
        size = w @ null
        return null, jnp.where(size > 0, size, 1.0)

    def _project(self, x: Array) -> Array:
        w = self.collisions.weights[:, None]
        return x - self._null @ ((self._null.T @ (w * x)) / self._null_sizes[:, None])

    def _project_matrix(self, matrix: Array) -> Array:
        """The operator on functions without null part, so that rounding of the sums leaves none."""
        w = self.collisions.weights
        left = self._project(matrix)
        return left - ((left @ self._null) / self._null_sizes) @ (self._null * w[:, None]).T

    def scaled(self, x: Array) -> Array:
        """X without its null part."""
        return self._project(jnp.where(self._present[:, None], x, 0.0))

    def velocity(self) -> Array:
        """V without its mean over each sheet, which vanishes."""
        v = jnp.where(self._present[:, None], self.collisions.velocity, 0.0)
        means = (self._sheets.T @ (self.collisions.weights[:, None] * v)) / self._sizes[:, None]
        return v - self._sheets @ means

    def even(self, start: Array) -> Solution:
        """R x = (ω + iL)⁻¹ x."""
        return self._solve(self._loss, start)

    def skewed(self, start: Array, sign: int) -> Solution:
        """(ω + iL − i sign A)⁻¹ x: R̃ for sign = 1, its transpose for −1."""
        return self._solve(self._loss - sign * self._skew, start)

    def first_order(self, start: Array) -> tuple[Solution, Solution]:
        """R x and R iA R x."""
        x = self.even(start)
        return x, self._solve(self._loss, 1j * (self._skew @ x))

    def _solve(self, operator: Array, right: Array) -> Solution:
        absent = jnp.diag(jnp.where(self._present, 0.0, 1.0))
        right = jnp.broadcast_to(right, (len(self.omega), *right.shape[-2:])).astype(complex)

        def one(pair: tuple[Array, Array]) -> Array:
            omega, b = pair
            matrix = jnp.where(self._present[:, None], omega * jnp.eye(len(operator)) + 1j * operator, absent)
            return jnp.linalg.solve(matrix, b)

        return jax.lax.map(one, (self.omega, right))

    def bracket(self, left: Solution, weight: Array, right: Solution) -> Array:
        """Σ_i weight_i x_c(i) y_d(i), (frequency, c, d)."""
        return jnp.einsum("fic,i,fid->fcd", left, weight, right)

    def project(self, functions: Array, right: Solution) -> Array:
        """Σ_i f_a(i) y_d(i), (frequency, a, d)."""
        return jnp.einsum("ia,fid->fad", functions, right)
