"""Resolvents (ω + iL)⁻¹ of the collision operator of a shell.

In the scaled functions √W x the operator L is symmetric. A function that is constant on all sheets that the
impurities couple is its null vector on both sides (as it is of A, by flux conservation): solutions are kept
orthogonal to it, nothing is regularised. Points without weight have no equation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxkin.disorder.collisions import Collisions, unweighted
from jaxkin.memory import limit
from jaxkin.response.krylov import (
    Operator,
    Solutions,
    Subspace,
    dense_solutions,
    differentiable_solutions,
    krylov_solutions,
)

DECOUPLED = 1e-7
"""Sheets, or parts of them, with a smaller rate between them, relative to their own, are taken as not coupled.

The slow mode of the carriers' numbers is then lost in rounding and in the tolerance of the solves; nothing drives it.
"""
WEAK = 1e-5
"""Parts of a sheet of which no point scatters more of its rate into another are closed pieces, of zero mean velocity.

Without that the slow mode between such pieces is driven by the mean that random points leave.
"""
COPIES = 5
"""Of a basis that exist at once: itself, what is outside, and results on their way."""

Method = Literal["krylov", "dense", "differentiable"]


class Resolvent:
    """Solves with L, with L ∓ A, and for the first order in A, on one shell.

    Args:
        collisions: the shell; no weight may be negative.
        omega: angular frequencies in 1/ps, (frequency,).
        method: one Krylov space for all frequencies; matrices of all pairs of points; or solutions that follow
            what the collisions are made of, with a Krylov space for each frequency.
        columns: of a Krylov space, at most.
    """

    def __init__(
        self,
        collisions: Collisions,
        omega: Float[Array | np.ndarray, " frequency"],
        method: Method = "krylov",
        columns: int = 288,
    ):
        self.collisions, self.omega, self.method, self.columns = collisions, jnp.asarray(omega), method, columns
        w, self._rate = collisions.weights, collisions.rate  # cached before a loop is traced
        present = w > 0
        self.root = jnp.where(present, jnp.sqrt(jnp.where(present, w, 1.0)), 0.0)[:, None]
        self._pieces = self._indicators(*collisions.pieces(WEAK))
        self.null = self._constants()
        self._space = Subspace(self.null, self.root > 0)

    def _indicators(self, number: Array, count: int) -> Array:
        """√W on the states of each number, normalised, (M, count)."""
        parts = self.root * jax.nn.one_hot(number, count)
        squares = jnp.sum(parts**2, axis=0)
        return parts / jnp.sqrt(jnp.where(squares > 0, squares, 1.0))

    def _constants(self) -> Array:
        """Orthonormal null vectors of L: constants on the pieces that scattering connects, (M, pieces), or zero."""
        pieces = self._pieces
        inside = unweighted(pieces, self.root)
        coupling = jax.lax.stop_gradient(pieces.T @ (self.root * self.collisions.symmetric(inside)))
        count = len(coupling)
        strongest = jnp.max(jnp.abs(jnp.diagonal(coupling)))
        connected = (jnp.abs(coupling) > DECOUPLED * strongest) | jnp.eye(count, dtype=bool)
        for _ in range(max(int(np.ceil(np.log2(count))), 0)):
            connected = (connected.astype(float) @ connected.astype(float)) > 0
        part = jnp.argmax(connected, axis=1)  # the first piece of each
        sizes = jnp.sum(self.root * pieces, axis=0)
        null = pieces @ (sizes[:, None] * jax.nn.one_hot(part, count))
        squares = jnp.sum(null**2, axis=0)
        return null / jnp.sqrt(jnp.where(squares > 0, squares, 1.0))

    def scaled(self, x: Array) -> Array:
        """√W x without its null part, for which the exact integral ∫(dk) δ x is zero."""
        return self._space.project(self.root * x)

    def velocity(self) -> Array:
        """√W v. ∫(dk) δ(ε−μ) ∂ε/∂k vanishes on every closed piece, however weakly scattering connects it."""
        v = self.root * self.collisions.velocity
        return v - self._pieces @ (self._pieces.T @ v)

    def even(self, start: Array) -> Solutions:
        """R x = (ω + iL)⁻¹ x of a scaled x."""
        return self._solve(self._loss, start)

    def skewed(self, start: Array, sign: int) -> Solutions:
        """(ω + iL − i sign A)⁻¹ x of a scaled x: R̃ for sign = 1, its transpose for −1."""
        return self._solve(lambda y: self._loss(y) - sign * self._acting(self.collisions.antisymmetric, y), start)

    def first_order(self, start: Array, further: Sequence[Operator] = ()) -> list[Solutions]:
        """R x, and R iA R x of A and of ``further`` such operators, of a scaled x: from all of them together.

        Each A is enlarged to the size of L, so that the residual of all is that of any.
        """
        n, acts = len(start), [lambda x, a=a: self._acting(a, x) for a in (self.collisions.antisymmetric, *further)]
        some = start @ np.linspace(1.0, 0.5, start.shape[1])[:, None]  # any of them may vanish
        loss, *sizes = (jnp.linalg.norm(jax.lax.stop_gradient(act(some))) for act in (self._loss, *acts))
        scales = [jnp.where(size > 0, loss / jnp.where(size > 0, size, 1.0), 1.0) for size in sizes]

        def apply(every: Array) -> Array:
            m, parts = every.shape[1], list(every.reshape(1 + len(acts), n, -1))
            x = jnp.concatenate(parts, axis=1)
            lost = self._loss(x, lambda y: self.collisions.chained(y, m, scales[0]))
            images = list(jnp.swapaxes(lost.reshape(n, len(parts), m), 0, 1))
            for number, (scale, act) in enumerate(zip(scales[1:], acts[1:], strict=True), start=2):
                images[number] = images[number] - scale * act(parts[0])
            return jnp.concatenate(images)

        solved = self._solve(apply, jnp.concatenate([start, *(jnp.zeros_like(start) for _ in acts)]))
        return [solved.rows(n * number, n, scale) for number, scale in enumerate([jnp.ones(()), *scales])]

    def bracket(self, left: Solutions, weight: Array, right: Solutions) -> Array:
        """Σ_i weight_i x_c(i) y_d(i) of two solutions at all frequencies, (frequency, c, d)."""
        scaled = unweighted(weight, self.collisions.weights)
        middle = left.basis.T @ (scaled[:, None] * right.basis)
        return jnp.swapaxes(left.coefficients, 1, 2) @ (middle @ right.coefficients)

    def displaced(self, weight: Array, solutions: Solutions) -> Array:
        """Σ_i weight_i x_c(i) (D_b x_d)(i) of a solution with itself at all frequencies, (frequency, b, c, d)."""
        x = solutions.compact()
        functions = unweighted(x.basis, self.root)
        parts = (jnp.real(functions), jnp.imag(functions)) if jnp.iscomplexobj(functions) else (functions,)
        columns = jnp.concatenate(parts, axis=1)
        left = unweighted(weight[:, None] * columns, self.collisions.weights[:, None])
        c = jnp.concatenate([x.coefficients * factor for factor in (1, 1j)[: len(parts)]], axis=1)
        return jnp.einsum("fkc,bkl,fld->fbcd", c, self.collisions.displaced(left, columns), c, optimize=True)

    def project(self, functions: Array, right: Solutions) -> Array:
        """Σ_i f_a(i) y_d(i) of functions (M, a) and a solution, (frequency, a, d)."""
        return (unweighted(functions, self.root).T @ right.basis) @ right.coefficients

    def _loss(self, x: Array, gained: Operator | None = None) -> Array:
        """L x of a scaled x, with S or what is ``gained`` in its place."""
        gain = self.root * (gained or self.collisions.symmetric)(unweighted(x, self.root))
        return self._space.project(self._rate[:, None] * x - gain)

    def _acting(self, operator: Operator, x: Array) -> Array:
        """An operator on functions, of a scaled one."""
        return self._space.project(self.root * operator(unweighted(x, self.root)))

    def _solve(self, apply: Operator, start: Array) -> Solutions:
        """Of an operator on functions, or on several together."""
        space = self._space
        if (parts := len(start) // len(self.null)) > 1:
            null = jax.scipy.linalg.block_diag(*(self.null,) * parts)
            space = Subspace(null, jnp.concatenate([space.present] * parts))
        if self.method == "dense":
            return dense_solutions(apply, space, start, self.omega)
        halves = 2 if self.method == "differentiable" else 1  # real and imaginary parts, of which one may be zero
        room = int(limit() // (COPIES * 8 * halves * len(start)))
        columns = halves * min(self.columns, max(room, 3 * start.shape[1]), len(start) + start.shape[1])
        solutions = differentiable_solutions if self.method == "differentiable" else krylov_solutions
        return solutions(apply, space, start, self.omega, columns)
