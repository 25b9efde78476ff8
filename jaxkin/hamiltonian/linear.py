"""Linear equations with one small matrix, by the fastest solver of the machine, differentiable to any order."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Primitive
from jax.interpreters import batching, mlir
from jaxtyping import Array, Complex

from jaxkin.threads import in_threads


def solve(matrix: Complex[Array, "n n"], right: Complex[Array, "n r"]) -> Complex[Array, "n r"]:
    """X of AX = B; dX = A⁻¹(dB − dA X). NaN or infinite where A is exactly singular.

    Under ``vmap`` a batch, which a CPU solves by NumPy's LAPACK on all cores: for n = 24 and four columns in 0.014 ms a
    matrix on one core where XLA's solver takes 0.021 ms, and without LAPACK calls of XLA, of which two batches in
    one compiled function can wait for each other's threads for ever.

    >>> import jax, jax.numpy as jnp
    >>> x = lambda a: solve(jnp.array([[a, 0], [0, 1]]) + 0j, jnp.array([[1.0], [0]]) + 0j)[0, 0].real
    >>> float(x(2.0)), float(jax.grad(x)(2.0)), float(jax.grad(jax.grad(x))(2.0))
    (0.5, -0.25, 0.25)
    """
    return _differentiable(_solved, matrix, right)


def solve_alone(matrix: Complex[Array, "n n"], right: Complex[Array, "n r"]) -> Complex[Array, "n r"]:
    """The same, one matrix after the other under ``vmap``: without Python, so that what is compiled can be kept."""

    def solved(a: Array, b: Array) -> Array:
        return jax.lax.platform_dependent(a, b, cpu=_one_by_one, default=jnp.linalg.solve)

    kind = jnp.result_type(matrix, right)
    return _differentiable(solved, matrix.astype(kind), right.astype(kind))


@jax.custom_batching.sequential_vmap
def _one_by_one(matrix: Array, right: Array) -> Array:
    return jnp.linalg.solve(matrix, right)


def _differentiable(solved: Callable[[Array, Array], Array], matrix: Array, right: Array) -> Array:
    constant = jax.lax.stop_gradient(matrix)
    return jax.lax.custom_linear_solve(
        lambda x: matrix @ x,
        right,
        solve=lambda _, b: solved(constant, b),
        transpose_solve=lambda _, b: solved(constant.T, b),
    )


def _solved(matrix: Array, right: Array) -> Array:
    return _solve_p.bind(matrix, right)


def _on_cpu(ctx, *operands):
    """NumPy gets the arrays themselves.

    ``jax.pure_callback`` first puts them on a device, and that waits for ever if it needs the thread that the callback
    is run by.
    """
    return mlir.emit_python_callback(
        ctx,
        _batches,
        None,
        list(operands),
        ctx.avals_in,
        ctx.avals_out,
        has_side_effect=False,
        returns_token=False,
    )[0]


def _batches(matrix: np.ndarray, right: np.ndarray) -> tuple[np.ndarray]:
    flat = [array.reshape(-1, *array.shape[-2:]) for array in (matrix, right)]
    return (in_threads(_solve_each, *flat)[0].reshape(right.shape),)


def _solve_each(matrix: np.ndarray, right: np.ndarray) -> tuple[np.ndarray]:
    try:
        return (np.linalg.solve(matrix, right),)
    except np.linalg.LinAlgError:  # NumPy gives up all of them for one that is singular
        if len(matrix) == 1:
            return (np.full_like(right, np.nan),)
        half = len(matrix) // 2
        halves = [_solve_each(matrix[part], right[part])[0] for part in (slice(half), slice(half, None))]
        return (np.concatenate(halves),)


def _batched(arguments, axes):
    size = next(x.shape[axis] for x, axis in zip(arguments, axes, strict=True) if axis is not None)
    matrix, right = (
        jnp.broadcast_to(x, (size, *x.shape)) if axis is None else jnp.moveaxis(x, axis, 0)
        for x, axis in zip(arguments, axes, strict=True)
    )
    return _solve_p.bind(matrix, right), 0


_solve_p = Primitive("jaxkin_solve")
_solve_p.def_impl(jax.jit(_solve_p.bind))
_solve_p.def_abstract_eval(lambda matrix, right: right)
batching.primitive_batchers[_solve_p] = _batched
mlir.register_lowering(_solve_p, mlir.lower_fun(jnp.linalg.solve, multiple_results=False))
mlir.register_lowering(_solve_p, _on_cpu, platform="cpu")
