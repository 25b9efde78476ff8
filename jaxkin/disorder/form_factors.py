"""F_s(k − k') = 𝒱 Σ_R V(R + x_s) e^{−i(k−k')·(R+x_s)} between all points, and its derivative, in two ways.

x_s = τ_s − r₀ are the distinct positions of orbitals, seen from the impurity. By Poisson's formula

𝒱 Σ_R V(R + x) e^{−iq·(R+x)} = Σ_G V(q + G) e^{iG·x},

so that a potential may be summed over sites in its range, or its transform over reciprocal vectors.
"""

from __future__ import annotations

import abc
from collections.abc import Callable
from itertools import product
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from jaxkin.disorder.products import inner_products, real_form
from jaxkin.hamiltonian.tiles import scanned, sum_over_tiles
from jaxkin.namespace import namespace

NEGLIGIBLE = 1e-13
"""Reciprocal vectors on which V(q + G) is below this part of its largest value are left out, whatever is asked for."""
FARTHEST = 8
"""Shells of reciprocal vectors that are tried."""
TOGETHER = 64
"""Reciprocal vectors whose terms exist at a time."""
CHUNK = 512
"""Sites whose phases exist at a time."""


class FormFactors(eqx.Module):
    """F_s between two sets of k, one for each distinct position of orbitals."""

    rows: eqx.AbstractClassVar[int]
    """Points on the left that are worth taking together."""

    @abc.abstractmethod
    def __call__(
        self, left: Float[Array, "I 3"], right: Float[Array, "J 3"]
    ) -> tuple[Complex[Array, "s I J"], Complex[Array, "3 s I J"]]:
        """F_s(k_i − k_j) and ∂F_s/∂k_i in Å."""

    @abc.abstractmethod
    def continued(self, left: Complex[Array, "I 3"], right: Complex[Array, "J 3"]) -> Complex[Array, "s I J"]:
        """F_s(k_i − k_j) at k of which one may be complex: no complex conjugates."""

    @property
    @abc.abstractmethod
    def strip(self) -> float:
        """|Im q| in Å⁻¹ up to which F_s is analytic and not much larger than at real q; 0 if that is not known."""


class ReciprocalSum(FormFactors):
    """Σ_G V(q + G) e^{iG·x}, with q brought to the first cell by e^{−iG₀·x}.

    Args:
        form_factor: V(q).
        positions: x, (s, 3) in Å.
        basis: reciprocal lattice (d, 3), or None for a continuum, where it is V(q) itself.
        vectors: the G that count, (g, 3), see :func:`reciprocal_vectors`, and others so that few shapes compile.
        counts: one for those that count, zero for the others, (g,).
    """

    form_factor: Callable
    positions: Array | np.ndarray
    basis: Array | np.ndarray | None
    vectors: Array | np.ndarray
    counts: Array | np.ndarray
    rows: ClassVar[int] = 64

    def __call__(self, left, right):
        q = left[:, None, :] - right
        x = jnp.asarray(self.positions)
        back, vectors, phases = self._back(q), jnp.asarray(self.vectors), self._phases(x)
        inside, turn = (q - back).reshape(-1, 3), jnp.exp(-1j * jnp.einsum("ija,sa->sij", back, x))

        def whole(total):
            """Real and imaginary parts (..., IJ, 2s) as (..., s, I, J)."""
            parts = jnp.moveaxis(total, -1, -2).reshape(*total.shape[:-2], 2, len(x), *q.shape[:2])
            return jax.lax.complex(parts[..., 0, :, :, :], parts[..., 1, :, :, :]) * turn

        sums = _radial_sums if getattr(self.form_factor, "radial", None) is not None else _sums
        values, slopes = sums(self.form_factor, inside, vectors, phases)
        return whole(values), whole(slopes)

    def continued(self, left, right):
        q, x = left[:, None, :] - right, jnp.asarray(self.positions)
        back = self._back(q.real)
        inside, function = q - back, jax.vmap(jax.vmap(self.form_factor))

        def terms(some, waves):
            return jnp.tensordot(waves, jax.vmap(lambda g: function(inside + g))(some), axes=(0, 0))

        total = sum_over_tiles(terms, TOGETHER, jnp.asarray(self.vectors), self._phases(x))
        return total * jnp.exp(-1j * jnp.einsum("ija,sa->sij", back, x))

    @property
    def strip(self) -> float:
        return getattr(self.form_factor, "strip", 0.0)

    def _back(self, q: Array) -> Array:
        """The reciprocal vector next to q."""
        if self.basis is None:
            return jnp.zeros_like(q)
        basis = jnp.asarray(self.basis)
        return jnp.round(q @ jnp.linalg.pinv(basis)) @ basis

    def _phases(self, x: Array) -> Array:
        """e^{iG·x} of the G that count, (g, s)."""
        return jnp.asarray(self.counts)[:, None] * jnp.exp(1j * (jnp.asarray(self.vectors) @ x.T))


def _sums(function: Callable, inside: Array, vectors: Array, phases: Array) -> tuple[Array, Array]:
    """Σ_G V(q + G) e^{iG·x} and its slopes, real and imaginary parts (P, 2s) and (3, P, 2s), of q (P, 3)."""
    with_slope = jax.vmap(_value_and_slope(function))

    def summed(v, waves):
        real = jnp.tensordot(v.real, real_form(waves), axes=(-2, 0))
        return real + jnp.tensordot(v.imag, real_form(1j * waves), axes=(-2, 0)) if jnp.iscomplexobj(v) else real

    def terms(some, waves):
        """Values and slopes at some of the vectors: who needs no slopes does not pay for them."""
        values, slopes = jax.vmap(with_slope)(inside + some[:, None])
        return summed(values, waves), summed(jnp.moveaxis(slopes, -1, 0), waves)

    return sum_over_tiles(terms, TOGETHER, vectors, phases)


def _radial_sums(function: Any, inside: Array, vectors: Array, phases: Array) -> tuple[Array, Array]:
    """The same of V(q) = V(q²), whose slope is 2q dV/dq²: one number a vector in place of three."""

    def terms(some, waves):
        square = sum((inside[:, a] + some[:, a, None]) ** 2 for a in range(3))
        values, slopes = jax.jvp(function.radial, (square,), (jnp.ones_like(square),))
        moved = jnp.concatenate([waves, *(some[:, a, None] * waves for a in range(3))], axis=1)
        return jnp.tensordot(values, real_form(waves), axes=(0, 0)), jnp.tensordot(slopes, real_form(moved), (0, 0))

    values, slopes = sum_over_tiles(terms, TOGETHER, vectors, phases)
    own, *others = jnp.moveaxis(slopes.reshape(len(inside), 2, 4, -1), 2, 0).reshape(4, len(inside), -1)
    return values, 2 * jnp.stack([inside[:, a, None] * own + others[a] for a in range(3)])


class PeriodicFactor(FormFactors):
    """V(q) e^{−iq·x} of a V(q) that has the reciprocal lattice's period itself.

    Args:
        form_factor: V(q).
        positions: x, (s, 3) in Å.
    """

    form_factor: Callable
    positions: Array | np.ndarray
    rows: ClassVar[int] = 64

    def __call__(self, left, right):
        x = jnp.asarray(self.positions)

        def factors(q):
            return jnp.exp(-1j * (x @ q)) * self.form_factor(q)

        q = left[:, None, :] - right
        values, slope = (jax.vmap(jax.vmap(of))(q) for of in (factors, jax.jacfwd(factors)))
        return jnp.moveaxis(values, -1, 0), jnp.transpose(slope, (3, 2, 0, 1))

    def continued(self, left, right):
        q, x = left[:, None, :] - right, jnp.asarray(self.positions)
        return jnp.exp(-1j * jnp.einsum("ija,sa->sij", q, x)) * jax.vmap(jax.vmap(self.form_factor))(q)

    @property
    def strip(self) -> float:
        return getattr(self.form_factor, "strip", 0.0)


class SiteSum(FormFactors):
    """Σ_r V_r e^{−iq·r} of real V_r: matrix products between the plane waves on the sites.

    Args:
        points: r for each of s positions, (s, m, 3) in Å.
        values: V_r with the factor 𝒱 or of a quadrature, (s, m); zero where there is no site.
    """

    points: Array | np.ndarray
    values: Array | np.ndarray
    rows: ClassVar[int] = 1024

    def __call__(self, left, right):
        size = self._chunk
        points, values = self._chunks(size)

        def terms(r, v):
            bra, wave = real_form(jnp.exp(1j * (left @ r.T))), jnp.exp(1j * (right @ r.T))
            # ∂_a brings down −i r_a
            weights = v * jnp.concatenate([jnp.ones((1, size)), r.T])
            parts = [jax.lax.complex(*inner_products(bra, w * wave)) for w in weights]
            return jnp.stack(parts)

        total = jnp.stack([scanned(terms, one) for one in zip(points, values, strict=True)], axis=1)
        return total[0], -1j * total[1:]

    def continued(self, left, right):
        def terms(r, v):
            return (v * jnp.exp(-1j * (left @ r.T))) @ jnp.exp(1j * (right @ r.T)).T

        return jnp.stack([scanned(terms, one) for one in zip(*self._chunks(self._chunk), strict=True)])

    @property
    def strip(self) -> float:
        size = np.abs(np.asarray(self.values))
        return float(np.sum(size) / np.sum(size * np.linalg.norm(self.points, axis=2).clip(1e-3)))

    @property
    def _chunk(self) -> int:
        """Sites that are summed together."""
        return min(CHUNK, max(16, 1 << (self.points.shape[1] - 1).bit_length()))

    def _chunks(self, size: int) -> tuple[Array, Array]:
        """The sites in chunks, filled up with some that do nothing, (s, chunks, size, 3) and without the last axis."""
        fill = -self.points.shape[1] % size
        points = jnp.pad(self.points, ((0, 0), (0, fill), (0, 0))).reshape(len(self.points), -1, size, 3)
        return points, jnp.pad(self.values, ((0, 0), (0, fill))).reshape(points.shape[:3])


class Layout(eqx.Module):
    """Which terms a sum over a potential has, decided once; their values may then be differentiated."""

    @abc.abstractmethod
    def factors(self, potential: Callable, lattice: Array | np.ndarray, positions: Array | np.ndarray) -> FormFactors:
        """The sum for ``positions`` x (s, 3) in Å of a crystal (d, 3)."""


class ReciprocalLayout(Layout):
    """Reciprocal vectors with reduced coordinates ``steps``, (g, d)."""

    steps: Array | np.ndarray

    def factors(self, potential, lattice, positions):
        basis = 2 * np.pi * namespace(lattice).linalg.pinv(lattice).T
        steps, counts = filled_up(self.steps), filled_up(np.ones(len(self.steps)))
        return ReciprocalSum(potential, positions, basis, steps @ basis, counts)


class SiteLayout(Layout):
    """Sites in the first ``counts`` of ``cells`` (s, m, d) for each position."""

    cells: Array | np.ndarray
    counts: tuple[int, ...] = eqx.field(static=True)

    def factors(self, potential, lattice, positions):
        local = getattr(potential, "in_real_space", None)
        return (local(len(lattice)) if local else potential).on_cells(self.cells, self.counts, lattice, positions)


class PeriodicLayout(Layout):
    """A V(q) that has the reciprocal lattice's period."""

    def factors(self, potential, lattice, positions):
        return PeriodicFactor(potential, positions)


class ContinuumLayout(Layout):
    """V(q) itself."""

    def factors(self, potential, lattice, positions):
        return ReciprocalSum(potential, positions, None, np.zeros((1, 3)), np.ones(1))


class GivenLayout(Layout):
    """A sum that depends on no crystal."""

    given: FormFactors

    def factors(self, potential, lattice, positions):
        return self.given


def filled_up(rows: Array | np.ndarray) -> Array | np.ndarray:
    """With zeros to the next quarter of a power of two, so that few shapes compile."""
    step = max(1, 1 << (len(rows) - 1).bit_length() >> 3)
    return namespace(rows).pad(rows, ((0, -len(rows) % step), *((0, 0),) * (rows.ndim - 1)))


def _value_and_slope(function: Callable) -> Callable:
    """Of q (3,); reverse mode costs twice the value, forward mode, which complex values need, seven times as much."""
    if jnp.issubdtype(jax.eval_shape(function, jax.ShapeDtypeStruct((3,), float)).dtype, jnp.complexfloating):
        return lambda q: (function(q), jax.jacfwd(function)(q))
    return jax.value_and_grad(function)


def reciprocal_vectors(
    form_factor: Callable, basis: np.ndarray, negligible: float = NEGLIGIBLE
) -> tuple[np.ndarray, float]:
    """All G on which V(q + G) counts for some q in the first cell, reduced, and the part of V that is left out.

    ``negligible`` is the part of the largest V below which it does not count.
    """
    d = len(basis)
    inside = np.array(list(product((-0.5, -0.25, 0.0, 0.25, 0.5), repeat=d))) @ basis
    largest, missed = float(np.max(np.abs(_values(form_factor, inside)))), 0.0
    vectors = np.zeros((1, d))
    for reach in range(1, FARTHEST + 1):
        steps = np.array(list(product(range(-reach, reach + 1), repeat=d)))
        g = steps @ basis
        q = (g[:, None, :] + inside).reshape(-1, 3)
        size = np.abs(_values(form_factor, q)).reshape(len(g), -1).max(axis=1)
        missed = float(size[np.abs(steps).max(axis=1) == reach].max()) / largest
        vectors = steps[size > negligible * largest]
        if missed <= negligible:
            return vectors, 0.0
    return vectors, missed


@eqx.filter_jit
def _values(form_factor: Callable, q: np.ndarray) -> Array:
    """V(q)/strength at (N, 3) q."""
    return jax.vmap(form_factor)(q)
