"""Solutions of (ω + iM)x = b for all frequencies from one Krylov space, and as differentiable functions.

A shift leaves a Krylov space as it is, so the space that is grown for ω = 0 serves every frequency: a
thousand cost little more than one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float

TOLERANCE = 1e-11
"""Residual of the solutions relative to their right-hand side."""
LOOSE = 1e-6
"""Residual above which differentiable solutions are none: NaN."""
DEPENDENT = 1e-13
"""A new direction shorter than this part of what it was made from is rounding."""
OFTEN, SELDOM = 96, 4
"""In spaces of more columns the residual is looked at every so many steps only."""

Operator = Callable[[Array], Array]
"""M x for real x (rows, columns)."""


class Subspace(NamedTuple):
    """The functions that an operator acts on.

    Attributes:
        null: orthonormal null vectors, which it leaves out, (rows, parts); zero columns are none.
        present: rows that have an equation, (rows, 1).
    """

    null: Array
    present: Array

    def project(self, x: Array) -> Array:
        """The part of x (rows, m) in it."""
        return jnp.where(self.present, x - self.null @ (self.null.T @ x), 0.0)


class Solutions(eqx.Module):
    """x(ω) = Q c(ω), the solutions for the m columns of b at all frequencies.

    Attributes:
        basis: Q, (rows, k).
        coefficients: c, (frequency, k, m).
        residual: largest ‖(ω + iM)x − b‖/‖b‖.
    """

    basis: Array
    coefficients: Complex[Array, "frequency k m"]
    residual: Float[Array, ""]

    def rows(self, start: int, count: int, scale: Array) -> Solutions:
        """Some of the rows over ``scale``, for an operator on several functions together."""
        return Solutions(self.basis[start : start + count] / scale, self.coefficients, self.residual)

    def compact(self) -> Solutions:
        """Themselves as the basis, where they are fewer than it has (real) columns."""
        frequencies, k, m = self.coefficients.shape
        if 2 * frequencies * m >= k:
            return self
        return of_vectors(jax.lax.map(lambda c: self.basis @ c, self.coefficients), self.residual)

    def at(self, number: int | Array) -> Array:
        """x at one of the frequencies, (rows, m)."""
        return self.basis @ self.coefficients[number]


def of_vectors(x: Complex[Array, "frequency rows m"], residual: Array) -> Solutions:
    """Solutions that are known one by one, as the space that they span."""
    frequencies, rows, m = x.shape
    basis = jnp.moveaxis(x, 1, 0).reshape(rows, frequencies * m)
    every = jnp.eye(frequencies * m, dtype=complex).reshape(frequencies * m, frequencies, m)
    return Solutions(basis, every.swapaxes(0, 1), residual)


def krylov_solutions(apply: Operator, space: Subspace, start: Array, omega: Array, columns: int) -> Solutions:
    """From the block Krylov space of b = ``start`` with at most ``columns`` columns, orthogonalised in full.

    Every new direction is projected on the ``space``: rounding must not bring back a null vector.
    """
    start = space.project(start)
    rows, m = start.shape
    blocks = max(columns // m, 1)
    k = blocks * m
    size = jnp.linalg.norm(start, axis=0)
    present = size > 0
    hardest = jnp.stack([jnp.abs(omega).min(), jnp.abs(omega).max()])
    first, _ = _orthonormal(start, jnp.max(size, initial=0.0))
    basis = jnp.zeros((rows, k + m)).at[:, :m].set(first)
    right = jnp.zeros((k, m)).at[:m].set(first.T @ start)

    def galerkin(projected: Array, count: Array, omega: Array) -> Array:
        """(ω + iQᵀMQ)⁻¹Qᵀb, (frequency, k, m), in the first ``count`` blocks."""
        own = jnp.arange(k) < count * m
        empty = (jnp.max(jnp.abs(projected), axis=0) == 0) & (jnp.max(jnp.abs(projected), axis=1) == 0)
        used = own & ~empty  # directions that were rounding are none
        inside = used[:, None] & used

        def one(w: Array) -> Array:
            matrix = jnp.where(inside, w * jnp.eye(k) + 1j * projected, jnp.eye(k))
            return jnp.linalg.solve(matrix, jnp.where(used[:, None], right, 0.0).astype(complex))

        return jax.lax.map(one, omega)

    def measured(projected: Array, beyond: Array, count: Array) -> Array:
        last = jax.lax.dynamic_slice_in_dim(galerkin(projected, count, hardest), (count - 1) * m, m, axis=1)
        lengths = jnp.linalg.norm(beyond @ last, axis=1)
        return jnp.max(jnp.where(present, lengths / jnp.where(present, size, 1.0), 0.0), initial=0.0)

    def step(state: tuple[Array, Array, Array, Array]) -> tuple[Array, Array, Array, Array]:
        basis, projected, count, _ = state
        block = jax.lax.dynamic_slice_in_dim(basis, count * m, m, axis=1)
        image = apply(block)
        scale = jnp.max(jnp.linalg.norm(image, axis=0))
        along = basis.T @ image
        image = image - basis @ along
        new, beyond = _orthonormal(image, scale)
        # once more, as short directions are mostly rounding along the basis; they have length one by now
        new = space.project(new)
        new, _ = _orthonormal(new - basis @ (basis.T @ new), 0.5 / DEPENDENT)
        projected = jax.lax.dynamic_update_slice_in_dim(projected, along[:k], count * m, axis=1)
        below = new.T @ image
        padded = jnp.zeros((k + m, k)).at[:k].set(projected)
        padded = jax.lax.dynamic_update_slice(padded, below, ((count + 1) * m, count * m))
        basis = jax.lax.dynamic_update_slice_in_dim(basis, new, (count + 1) * m, axis=1)
        count = count + 1
        every = 1 if k <= OFTEN else SELDOM
        residual = jax.lax.cond(
            (count % every == 0) | (count == blocks),
            lambda: measured(padded[:k], beyond, count),
            lambda: jnp.array(jnp.inf),
        )
        return basis, padded[:k], count, residual

    def open_(state: tuple[Array, Array, Array, Array]) -> Array:
        return (state[3] > TOLERANCE) & (state[2] < blocks)

    begin = (basis, jnp.zeros((k, k)), jnp.array(0), jnp.array(jnp.inf))
    basis, projected, count, residual = jax.lax.while_loop(open_, step, begin)
    return Solutions(basis[:, :k], galerkin(projected, count, omega), residual)


def dense_solutions(apply: Operator, space: Subspace, start: Array, omega: Array) -> Solutions:
    """By LU decomposition of M as a matrix, with its null vectors made harmless."""
    rows, size = len(start), jnp.linalg.norm(start, axis=0)
    matrix = apply(jnp.eye(rows))
    matrix = matrix + jnp.max(jnp.abs(jnp.diagonal(matrix))) * space.null @ space.null.T

    def one(w: Array) -> tuple[Array, Array]:
        whole = w * jnp.eye(rows) + 1j * matrix + jnp.diag(jnp.where(jnp.diagonal(matrix) == 0, 1.0 + 0j, 0.0))
        x = jnp.linalg.solve(whole, start.astype(complex))
        return x, jnp.max(jnp.linalg.norm(whole @ x - start, axis=0) / jnp.maximum(size, 1e-300))

    x, residual = jax.lax.map(one, omega)
    return of_vectors(x, jnp.max(residual))


def differentiable_solutions(apply: Operator, space: Subspace, start: Array, omega: Array, columns: int) -> Solutions:
    """As :func:`krylov_solutions`, each frequency with its own space, as implicit functions of all that M holds.

    At ω = 0 the equations do not say how a null vector that moves changes the solution; that this stays
    orthogonal to it does: the projection on the ``space`` is differentiated.
    """
    m, fixed = start.shape[1], jax.lax.stop_gradient(space)

    def solve(matvec: Callable, b: Array, w: Array) -> Array:
        def operator(y: Array) -> Array:
            """M y, or that of its transpose: of a real y ``matvec`` makes ωy + iMy."""
            halves = (y[:, :m], y[:, m:])
            return jnp.concatenate([jnp.imag(matvec(half.astype(complex))) for half in halves], axis=1)

        found = krylov_solutions(operator, fixed, jnp.concatenate([b.real, b.imag], axis=1), w[None], columns)
        x = found.at(0)
        return jnp.where(found.residual < LOOSE, x[:, :m] + 1j * x[:, m:], jnp.nan)

    def one(w: Array) -> Array:
        def matvec(x: Array) -> Array:
            return w * x + 1j * jax.lax.complex(apply(x.real), apply(x.imag))

        def at(matvec: Callable, b: Array) -> Array:
            return solve(matvec, b, w)

        x = jax.lax.custom_linear_solve(matvec, start.astype(complex), at, transpose_solve=at)
        return space.project(x)

    return of_vectors(jax.lax.map(one, omega), jnp.zeros(()))


def _orthonormal(new: Array, scale: Array | float) -> tuple[Array, Array]:
    """Orthonormal directions of ``new``, zero where they are rounding of vectors of length ``scale``; and ``new`` in
    all of its directions, (m, m)."""
    q, r = jnp.linalg.qr(new)
    u, values, v = jnp.linalg.svd(r)
    kept = values > DEPENDENT * scale
    return jnp.where(kept, q @ u, 0.0), values[:, None] * v
