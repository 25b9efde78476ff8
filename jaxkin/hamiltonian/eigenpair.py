"""One eigenvalue and its state by linear solves, where an energy near it is known.

Everything rests on the bordered equations

    [ H − ε   c ] [ X ]   [ R ]
    [   c†    0 ] [ s ] = [ l ],

which stay regular at an eigenvalue ε with the state u as long as it is not degenerate and ⟨c|u⟩ ≠ 0: with R = 0, l = 1
they are inverse iteration from c (X ∝ (H − ε)⁻¹c), with c = u, l = 0 the reduced resolvent, X = (H − ε)⁺R. One solution
takes a tenth of an eigensystem. What they cannot say is *which* eigenvalue was found; that the next one is
far is measured, from above, on a vector iterated along.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from jaxkin.hamiltonian.eigensystem import eigensystem
from jaxkin.hamiltonian.linear import solve

CLOSED = 2
"""Matrices up to this size have a closed form."""
ITERATIONS = 4
"""Of :func:`nearest_eigenpair`: errors are cubed by each but the first two."""
NEWTON_STEPS = 12
"""After which a root is given up; three or four are taken where the band is smooth."""
CONVERGED = 1e-12
"""Newton step on a line, in units of its direction, that is the last."""
LONGEST = 0.1
"""Newton step on a line that is not exceeded."""


class Eigenpair(NamedTuple):
    """An eigenvalue and its state, and what they can be trusted by.

    Attributes:
        energy: ε.
        state: |u⟩, normalised, its phase as it came.
        residual: ‖(H − ε)u‖, rounding apart: an eigenvalue lies within it, the state is off by ``residual/gap``.
        gap: estimate, from above, of the distance to the next eigenvalue; that of the energy asked for must be
            well below it, or another eigenvalue may be as near. Zero where the equations are singular.
    """

    energy: Float[Array, ""]
    state: Complex[Array, " n"]
    residual: Float[Array, ""]
    gap: Float[Array, ""]


class Iterate(NamedTuple):
    """One inverse iteration: Rayleigh quotient, normalised state, its residual, the other vector, and the gap."""

    energy: Float[Array, ""]
    state: Complex[Array, " n"]
    residual: Float[Array, ""]
    other: Complex[Array, " n"]
    gap: Float[Array, ""]


def bordered(
    h: Complex[Array, "n n"],
    energy: Float[Array, ""],
    border: Complex[Array, " n"],
    right: Complex[Array, "n r"],
    last: Complex[Array, " r"] | np.ndarray,
) -> tuple[Complex[Array, "n r"], Complex[Array, " r"]]:
    """X and s of the bordered equations."""
    n = len(h)
    matrix = jnp.block([[h - energy * jnp.eye(n), border[:, None]], [border.conj()[None], jnp.zeros((1, 1))]])
    solution = solve(matrix, jnp.concatenate([right, jnp.asarray(last, complex)[None]]))
    return solution[:n], solution[n]


def reduced_resolvent(
    h: Complex[Array, "n n"], energy: Float[Array, ""], state: Complex[Array, " n"], right: Complex[Array, "n r"]
) -> Complex[Array, "n r"]:
    """(ε − H)⁺R = Σ_{m≠u} |m⟩⟨m|R/(ε − ε_m) of an eigenpair, by one bordered solve.

    >>> import jax.numpy as jnp
    >>> h = jnp.diag(jnp.array([1.0, 2.0, 3.0])).astype(complex)
    >>> reduced_resolvent(h, 1.0, jnp.array([1.0, 0, 0]) + 0j, jnp.ones((3, 1)) + 0j)[1:, 0].real.tolist()
    [-1.0, -0.5]
    """
    return -bordered(h, energy, state, right, np.zeros(right.shape[1]))[0]


def iterate(
    h: Complex[Array, "n n"], energy: Float[Array, ""], border: Complex[Array, " n"], other: Complex[Array, " n"]
) -> Iterate:
    """One inverse iteration at ``energy`` from ``border``; ``other``, taken along, measures how far the next one is."""
    (x, y), (s, t) = (part.T for part in bordered(h, energy, border, _columns(jnp.zeros_like(other), other), _FIRST))
    norm = jnp.sum(jnp.abs(x) ** 2)
    along = jnp.vdot(x, y) / norm
    image = other - (t - along * s) * border  # (H − ε) of the other vector without its part along x
    shift = -jnp.real(s * jnp.vdot(x, border)) / norm  # (H − ε)x = −s c
    state = x / jnp.sqrt(norm)
    residual = jnp.linalg.norm(-s / jnp.sqrt(norm) * border - shift * state)
    rest, gap = _gap(y - along * x, image)
    return Iterate(energy + shift, state, residual, rest, gap)


def nearest_eigenpair(
    h: Complex[Array, "n n"],
    energy: Float[Array, ""] | float,
    start: Complex[Array, " n"] | None = None,
    iterations: int = ITERATIONS,
) -> Eigenpair:
    """The eigenvalue of a Hermitian matrix nearest to ``energy``, and its state, by inverse iteration.

    Two iterations are at ``energy``, the others at the Rayleigh quotient, which a poor start may put anywhere.
    Differentiable to any order in H, in forward and reverse mode, where ε is not degenerate: dε = ⟨u|dH|u⟩,
    d|u⟩ = (ε − H)⁺dH|u⟩ with ⟨u|du⟩ = 0.

    Args:
        h: (n, n); up to n = 2 in closed form.
        energy: nearer to the eigenvalue than to others; iterations converge like the ratio of the distances.
        start: a vector that is not orthogonal to the state, by default a generic one.
        iterations: number of solves.

    >>> import jax, jax.numpy as jnp, jaxkin as jk
    >>> jk.precision.use_double()
    >>> h = lambda x: jnp.array([[1.0, x, 0], [x, 2.0, 0], [0, 0, 4.0]]).astype(complex)
    >>> pair = nearest_eigenpair(h(0.0), 1.001)
    >>> round(float(pair.energy), 12), bool(pair.residual < 1e-12), round(float(pair.gap), 1)
    (1.0, True, 1.0)
    >>> slope = jax.grad(lambda x: nearest_eigenpair(h(x), 1.001).energy)  # ε ≈ 1 − x²
    >>> round(float(jax.grad(slope)(0.0)), 9)
    -2.0
    """
    start = jnp.asarray(generic_vectors(len(h))[0] if start is None else start, complex)
    constants = jax.lax.stop_gradient((jnp.asarray(energy, float), start))
    return Eigenpair(*_nearest(iterations, h, *constants))


def _nearest_of(iterations: int, h: Array, energy: Array, start: Array) -> tuple[Array, Array, Array, Array]:
    if len(h) <= CLOSED:
        energies, states = eigensystem(h)
        place = jnp.argmin(jnp.abs(energies - energy))
        gap = jnp.min(jnp.abs(energies - energies[place]).at[place].set(jnp.inf))
        return energies[place], states[:, place], jnp.zeros_like(energy), gap
    step = iterate(h, energy, start, jnp.asarray(generic_vectors(len(h))[1]))
    for number in range(1, iterations):
        step = iterate(h, energy if number == 1 else step.energy, step.state, step.other)
    return step.energy, step.state, step.residual, step.gap


_nearest = jax.custom_jvp(_nearest_of, nondiff_argnums=(0,))


@_nearest.defjvp
def _differential(iterations, primals, tangents):
    h, energy, start = primals
    dh = 0.5 * (tangents[0] + tangents[0].conj().T)
    energy, state, residual, gap = _nearest(iterations, h, energy, start)
    image = dh @ state
    slope = jnp.real(jnp.vdot(state, image))
    change = reduced_resolvent(h, energy, state, image[:, None])[:, 0]
    return (energy, state, residual, gap), (slope, change, jnp.zeros_like(residual), jnp.zeros_like(gap))


class LineRoot(NamedTuple):
    """Where a band meets a level on a line.

    Attributes:
        t: ε(t) = level; an implicit function of what H and the level depend on.
        state: near the eigenstate there, without derivative: the start of :func:`nearest_eigenpair`.
        step: length of the last Newton step; above ``CONVERGED``, or NaN, where no root was found.
        gap: that of the last iteration; see :class:`Eigenpair`.
    """

    t: Float[Array, ""]
    state: Complex[Array, " n"]
    step: Float[Array, ""]
    gap: Float[Array, ""]


def line_root(
    hamiltonian: Callable[[Array], Complex[Array, "n n"]],
    level: Float[Array, ""] | float,
    start: Complex[Array, " n"] | None = None,
) -> LineRoot:
    """t near 0 with an eigenvalue ``level`` of H(t), by nonlinear inverse iteration.

    One bordered solve at ε = level gives u, ⟨u|H|u⟩ and ⟨u|∂_tH|u⟩, and these a Newton step for t.

    Args:
        hamiltonian: t → H(t), Hermitian, (n, n).
        level: ε; at t = 0 no other eigenvalue may be as near to it.
        start: see :func:`nearest_eigenpair`.

    >>> import jax, jax.numpy as jnp, jaxkin as jk
    >>> jk.precision.use_double()
    >>> h = lambda t: jnp.array([[t, 0.1, 0], [0.1, 1.0, 0], [0, 0, 4.0]]).astype(complex)
    >>> root = lambda level: line_root(h, level).t  # t = μ + 0.01/(1 − μ)
    >>> round(float(root(0.01)), 9), round(float(jax.grad(root)(0.01)), 9)
    (0.02010101, 1.010203041)
    """
    size = jax.eval_shape(hamiltonian, jnp.zeros(())).shape[0]
    start = jnp.asarray(generic_vectors(size)[0] if start is None else start, complex)
    level = jnp.asarray(level, float)

    def distance(t: Array) -> Array:
        return nearest_eigenpair(hamiltonian(t), level, start).energy - level

    def newton(function: Callable, first: Array) -> tuple[Array, tuple[Array, Array, Array]]:
        del function  # the same, without what its derivative needs

        def step(now: tuple) -> tuple:
            t, state, _, _, count = now
            h, along = jax.jvp(hamiltonian, (t,), (jnp.ones_like(t),))
            energy, state, _, gap = _nearest_of(1, h, level, state)
            slope = jnp.real(jnp.vdot(state, along @ state))
            move = jnp.clip((level - energy) / jnp.where(slope == 0, jnp.inf, slope), -LONGEST, LONGEST)
            return t + move, state, jnp.where(slope == 0, jnp.nan, jnp.abs(move)), gap, count + 1

        def open_(now: tuple) -> Array:
            return (now[2] > CONVERGED) & (now[4] < NEWTON_STEPS)

        endless = jnp.full_like(first, jnp.inf)
        t, state, last, gap, _ = jax.lax.while_loop(open_, step, (first, start, endless, endless, jnp.array(0)))
        return t, (state, last, gap)

    t, others = jax.lax.custom_root(
        distance, jnp.zeros_like(level), newton, lambda linear, y: y / linear(jnp.ones_like(y)), has_aux=True
    )
    return LineRoot(t, *others)


@cache
def generic_vectors(n: int) -> Complex[np.ndarray, "2 n"]:
    """Two normalised vectors that no symmetry knows of."""
    parts = np.random.default_rng(0).normal(size=(2, 2, n))
    vectors = parts[0] + 1j * parts[1]
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


_FIRST = np.array([1.0, 0.0])


def _columns(*vectors: Array) -> Array:
    return jnp.stack(vectors, axis=1)


def _gap(vector: Array, image: Array) -> tuple[Array, Array]:
    """The vector normalised, and ‖(H − ε)v‖/‖v‖; zero for what is not finite."""
    length = jnp.linalg.norm(vector)
    gap = jnp.linalg.norm(image) / length
    sound = jnp.isfinite(length) & jnp.isfinite(gap)
    return vector / length, jnp.where(sound, gap, 0.0)
