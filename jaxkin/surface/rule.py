"""What a sampler decided, evaluated anywhere: its points at another model, Fermi level or temperature.

What the search and the sampler decided stays: lines, bands, pockets, which roots there are. What follows from it,
where the roots lie, their weights and their geometry, is a JAX function of what is differentiated.
"""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import Any, NamedTuple, Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxkin.errors import JaxkinError
from jaxkin.geometry import BandGeometry, Eigen, mean_geometry
from jaxkin.hamiltonian.bloch import BlochModel
from jaxkin.hamiltonian.perturbation import smooth_eigensystem
from jaxkin.hamiltonian.tiles import over_tiles, tile_rows
from jaxkin.namespace import AnyArray, namespace

MATRICES = 64
"""Complex (n, n) matrices that a point's geometry and its derivatives take."""
NEWTON_STEPS = 12
LONGEST = 0.1
"""Of an edge of the pocket's box: the longest Newton step."""
CLOSED = 1e-10
"""Of that edge: the step that is the last one."""
LOST = 1e-4
"""Part of the weight that may sit on roots that have disappeared."""
GONE = 1e-6
"""Distance in energy, relative to the slope along the box's steepest edge, from which on a root is none."""


class Evaluated(NamedTuple):
    """Points where they now are, leaves (N, ...).

    Attributes:
        k: model coordinates.
        geometry: of their bands.
        level_weight, weight: in ∫(dk) δ(ε−level)F and in ∫(dk)(−f⁰')F.
        intact: whether nearly all the weight sits on points that are still there, one truth value.
    """

    k: AnyArray
    geometry: BandGeometry
    level_weight: AnyArray
    weight: AnyArray
    intact: AnyArray


class Rule(eqx.Module):
    """Points as a sampler decided them, leaves (N, ...).

    Attributes:
        start: roots, or nodes, at the reference, model coordinates.
        band, pocket: of each.
        volume: what it stands for, in model coordinates.
    """

    start: Float[AnyArray, "N d"]
    band: Int[AnyArray, " N"]
    pocket: Int[AnyArray, " N"]
    volume: Float[AnyArray, " N"]

    @abc.abstractmethod
    def at(self, model: BlochModel, mu: AnyArray, kt: AnyArray, degeneracy: float) -> Evaluated:
        """The points for a model, μ and kT in eV, and the distance in eV below which bands are one set."""

    def __len__(self) -> int:
        return len(self.start)

    def joined(self, others: list[Self], pockets: list[int]) -> Self:
        """Points of several rules of a kind as one, the numbers of pockets moved by ``pockets``."""
        moved = [
            eqx.tree_at(lambda r: r.pocket, r, r.pocket + n) for r, n in zip((self, *others), pockets, strict=True)
        ]
        return jax.tree.map(lambda *columns: np.concatenate(columns), *moved)


class LineRule(Rule):
    """Roots on lines: each solves ε_n(k₀ + t e; θ) = μ + x kT at fixed line, band and x.

    By Newton's method, and differentiated as the implicit function it is, dt = (dμ + x k dT − ∂_θε dθ)/∂_tε, with dε
    by Hellmann–Feynman. Forward and reverse mode work, and forward mode over either to any order; reverse mode over
    reverse mode for the points of one tile only, as JAX differentiates a loop over tiles without the rule for roots
    (and says so). ``volume`` is ∏edges/n^{d−1}.

    Attributes:
        axis: the edge of its pocket's box that a root's line is parallel to.
        height: x = (level − μ)/kT, zero at T = 0.
        share: thermal weight of its level.
        reference: weight at the reference.
        boxes: edges of each pocket's box, one a row, in model coordinates (turned where the pocket is an image).
        power: of the lines' partition of unity.
    """

    axis: Int[AnyArray, " N"]
    height: Float[AnyArray, " N"]
    share: Float[AnyArray, " N"]
    reference: Float[AnyArray, " N"]
    boxes: Float[AnyArray, "pockets d d"]
    power: float = eqx.field(static=True)

    def at(self, model: BlochModel, mu: AnyArray, kt: AnyArray, degeneracy: float) -> Evaluated:
        k, geometry, weight, gone = over_tiles(
            _on_lines,
            tile_rows(model, MATRICES),
            *(self.start, self.band, self.pocket, self.axis, self.volume, mu + self.height * kt),
            given=(model.packed(), jnp.asarray(self.boxes), jnp.asarray(self.power, float), jnp.asarray(degeneracy)),
        )
        xp = namespace(weight)
        intact = xp.sum(xp.where(gone, self.reference, 0.0)) <= LOST * np.sum(self.reference)
        return Evaluated(k, geometry, weight, self.share * weight, intact)


class LatticeRule(Rule):
    """Nodes of a thermal lattice, which stay where they are, each with the ``volume`` of a node.

    Attributes:
        width: in kT, (N,), of the energy bins that are its shells, in which every node stays.
    """

    width: np.ndarray

    def at(self, model: BlochModel, mu: AnyArray, kt: AnyArray, degeneracy: float) -> Evaluated:
        rows = tile_rows(model, MATRICES)
        geometry = over_tiles(_at_nodes, rows, self.start, self.band, given=(model.packed(), jnp.asarray(degeneracy)))
        xp = namespace(geometry.energy, mu, kt)
        density = 0.25 / xp.cosh(0.5 * xp.clip((geometry.energy - mu) / kt, -700, 700)) ** 2 / kt
        weight = xp.asarray(model.measure) * self.volume
        return Evaluated(self.start, geometry, weight / (self.width * kt), weight * density, np.array(True))


class SmearedRule(Rule):
    """Points near a surface at T = 0, whose δ is smeared: which of them count is not a function of μ or the model."""

    def at(self, model: BlochModel, mu: AnyArray, kt: AnyArray, degeneracy: float) -> Evaluated:
        raise JaxkinError("a grid at T = 0 is smeared, and does not follow μ or a model: sample with Lines.")


def line_profile(slope: AnyArray, axis: AnyArray, power: AnyArray) -> AnyArray:
    """P_i/|∂_iε| of points with slopes (N, d), so written that nothing overflows where all slopes are small.

    Zero where all are zero: a band that only touches the level does not cross it.
    """
    xp = namespace(slope)
    steepest = xp.maximum(xp.abs(jax.lax.stop_gradient(slope) if xp is jnp else slope).max(axis=1), 1e-300)
    relative = xp.abs(slope) / steepest[:, None]
    own = relative[np.arange(len(slope)), axis]
    return own ** (power - 1) / xp.maximum((relative**power).sum(axis=1), 0.5) / steepest


@eqx.filter_jit
def _on_lines(start: Array, band: Array, pocket: Array, axis: Array, volume: Array, level: Array, model: BlochModel,
              boxes: Array, power: Array, degeneracy: Array) -> Any:  # fmt: skip
    """k, geometry, weight of the level, and whether the root is gone."""
    box = boxes[pocket]
    direction = jnp.take_along_axis(box, axis[:, None, None], axis=1)[:, 0]
    t = jax.vmap(lambda *point: _root(model, *point))(start, direction, band, level)
    k = start + t[:, None] * direction
    geometry = geometry_at(model, k, band, degeneracy)
    slope = jnp.einsum("pij,pj->pi", box, geometry.velocity @ model.basis.T)
    gone = jnp.abs(geometry.energy - level) > GONE * jnp.max(jnp.abs(slope), axis=1)
    weight = jnp.where(gone, 0.0, model.measure * volume * line_profile(slope, axis, power))
    return k, geometry, weight, gone


@eqx.filter_jit
def _at_nodes(k: Array, band: Array, model: BlochModel, degeneracy: Array) -> BandGeometry:
    return geometry_at(model, k, band, degeneracy)


def geometry_at(model: BlochModel, k: Array, band: Array, degeneracy: Array) -> BandGeometry:
    """Geometry of N points, differentiable also where bands are degenerate."""
    h, derivative = jax.vmap(model.hamiltonian_and_derivative)(k)
    return mean_geometry(model, k, Eigen(*jax.vmap(smooth_eigensystem)(h), derivative), band, degeneracy)


def _root(model: BlochModel, k: Array, direction: Array, band: Array, level: Array) -> Array:
    """t with ε(k + t direction) = level near t = 0, an implicit function of model and level."""

    def distance(t: Array) -> Array:
        return smooth_eigensystem(model.hamiltonian(k + t * direction))[0][band] - level

    def newton(function: Callable, start: Array) -> Array:
        def step(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
            t, _, count = state
            value, slope = jax.jvp(function, (t,), (jnp.ones_like(t),))
            move = jnp.clip(jnp.where(slope == 0, 0.0, -value / jnp.where(slope == 0, 1.0, slope)), -LONGEST, LONGEST)
            return t + move, jnp.abs(move), count + 1

        def open_(state: tuple[Array, Array, Array]) -> Array:
            return (state[1] > CLOSED) & (state[2] < NEWTON_STEPS)

        return jax.lax.while_loop(open_, step, (start, jnp.ones_like(start), jnp.array(0)))[0]

    return jax.lax.custom_root(distance, jnp.zeros_like(level), newton, lambda linear, y: y / linear(1.0))
