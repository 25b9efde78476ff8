"""A sampled surface as a differentiable function of the model, the Fermi level and the temperature.

What the search and the sampler decided is frozen: lines, bands, pockets, which roots there are. What follows from it,
where the roots lie, their weights and their geometry, is a JAX function again.
"""

from __future__ import annotations

import abc
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from numpy.typing import ArrayLike

from jaxkin import units
from jaxkin.errors import JaxkinError
from jaxkin.geometry import BandGeometry, Eigen, mean_geometry
from jaxkin.hamiltonian.bloch import BlochModel
from jaxkin.hamiltonian.perturbation import smooth_eigensystem
from jaxkin.surface.frozen_green import FrozenGreen
from jaxkin.surface.frozen_lines import line_profile, recognised_lines
from jaxkin.surface.lines import Lines
from jaxkin.surface.shells import Surface
from jaxkin.surface.spectrum import SMALLEST_BUCKET, tile_rows
from jaxkin.surface.thermal import Thermal
from jaxkin.surface.thermal_grid import ThermalGrid
from jaxkin.surface.traced import Layout, TracedShells, TracedSurface, frozen_greens, layout

PointFunction = Callable[[Array, BandGeometry], Any]
"""F(k, geometry) of one point, k in model coordinates; any pytree of arrays."""
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


class FrozenPoints(eqx.Module):
    """What is kept of every point; leaves (tiles, rows, ...), the last rows filled up with points of no weight.

    Attributes:
        k: a root, or a node, at the reference, model coordinates.
        band: its band.
        shell: number of its shell.
        volume: what it stands for in model coordinates, zero where there is no point.
        reference: weight at the reference.
    """

    k: Float[Array, "tiles rows d"]
    band: Int[Array, "tiles rows"]
    shell: Int[Array, "tiles rows"]
    volume: Float[Array, "tiles rows"]
    reference: Float[Array, "tiles rows"]

    @abc.abstractmethod
    def traced(self, model: BlochModel, mu: Array, kt: Array) -> Traced:
        """The points of one tile, leaves (rows, ...), for a model, μ and kT in eV."""


class Traced(NamedTuple):
    """Points where they now are.

    Attributes:
        k: model coordinates, (rows, d).
        geometry: leaves (rows, ...).
        weights: in ∫(dk) δ(ε−level) and in ∫(dk)(−f⁰'), (rows, 2).
        lost: weight at the reference of roots that are gone, (rows,).
    """

    k: Array
    geometry: BandGeometry
    weights: Array
    lost: Array


class Roots(FrozenPoints):
    """Roots on lines: ``volume`` is ∏edges/n^{d−1}.

    Attributes:
        box: edges of its pocket's box, one a row, in model coordinates (turned where the pocket is an image).
        axis: the edge that its line is parallel to.
        height: (level − μ)/kT, zero at T = 0.
        share: thermal weight of its level.
        power: of the lines' partition of unity.
    """

    box: Float[Array, "tiles rows d d"]
    axis: Int[Array, "tiles rows"]
    height: Float[Array, "tiles rows"]
    share: Float[Array, "tiles rows"]
    power: float = eqx.field(static=True)

    def traced(self, model: BlochModel, mu: Array, kt: Array) -> Traced:
        level = mu + self.height * kt
        direction = jnp.take_along_axis(self.box, self.axis[:, None, None], axis=1)[:, 0]
        t = jax.vmap(lambda *point: _root(model, *point))(self.k, direction, self.band, level)
        k = self.k + t[:, None] * direction
        geometry = _geometry(model, k, self.band)
        slope = jnp.einsum("pij,pj->pi", self.box, geometry.velocity @ model.basis.T)
        gone = jnp.abs(geometry.energy - level) > GONE * jnp.max(jnp.abs(slope), axis=1)
        weight = jnp.where(gone, 0.0, model.measure * self.volume * line_profile(slope, self.axis, self.power))
        both = jnp.stack([weight, self.share * weight], axis=1)
        return Traced(k, geometry, both, jnp.where(gone, self.reference, 0.0))


class Nodes(FrozenPoints):
    """Nodes of a thermal lattice, which stay where they are.

    Attributes:
        bin: width in kT of the energy bins that are its shells.
    """

    bin: float = eqx.field(static=True)

    def traced(self, model: BlochModel, mu: Array, kt: Array) -> Traced:
        geometry = _geometry(model, self.k, self.band)
        density = 0.25 / jnp.cosh(0.5 * (geometry.energy - mu) / kt) ** 2 / kt
        weight = model.measure * self.volume
        both = jnp.stack([weight / (self.bin * kt), weight * density], axis=1)
        return Traced(self.k, geometry, both, jnp.zeros_like(self.volume))


class FrozenSurface(eqx.Module):
    """Random lines, kept, with the roots, weights and band geometry on them as functions of what is differentiated.

    Made by :func:`freeze`. At the model, μ and T of the surface it reproduces the surface's integrals to rounding;
    nearby it is what the same random lines give there, so that its derivative is the exact derivative of
    the quadrature, and an unbiased estimate of the integral's derivative, replica by replica. The nodes of a
    thermal lattice are kept in the same way.

    Each root solves ε_n(k₀ + t e; θ) = μ + x kT, by Newton's method at fixed line, band and x, and is differentiated
    as the implicit function it is, dt = (dμ + x k dT − ∂_θε dθ)/∂_tε, with dε by Hellmann–Feynman
    (:mod:`jaxkin.hamiltonian.perturbation`). Forward and reverse mode and derivatives of any order work. Where more
    than 1e-4 of the weight sits on roots that are gone, results are NaN: sample a new surface there.

    In a degenerate set energies, velocities and set means are exact where the set stays degenerate; where a
    parameter splits it, only what depends on energies and velocities alone has a derivative.

    Attributes:
        model, fermi_level, temperature: the reference.
    """

    model: BlochModel
    fermi_level: float = eqx.field(static=True)
    temperature: float = eqx.field(static=True)
    replicas: int = eqx.field(static=True)
    replica: Int[Array, " shells"]
    points: FrozenPoints
    layout: Layout
    sheets: int = eqx.field(static=True)
    greens: dict[tuple, FrozenGreen]
    reference: Reference | None = eqx.field(static=True)

    def integrate(
        self,
        function: PointFunction,
        model: BlochModel | None = None,
        fermi_level: ArrayLike | None = None,
        temperature: ArrayLike | None = None,
    ) -> Any:
        """∫(dk)(−f⁰')F of every replica, leaves (replicas, ...): their mean is the integral.

        Args:
            function: F(k, geometry) of one point, with its :class:`BandGeometry`; may return a pytree.
            model: of the same bands and zone; by default the reference, as are
            fermi_level: μ in eV, and
            temperature: T in K.

        Raises:
            JaxkinError: a temperature for a surface at T = 0.

        >>> import jax, jaxkin as jk
        >>> surface = jk.fermi_surface(jk.models.get("helical-isotropic"), 0.5, sampler=jk.Lines(24), replicas=2)
        >>> frozen = jk.freeze(surface)
        >>> dos = lambda mu: frozen.integrate(lambda k, geometry: 1.0, fermi_level=mu).mean()
        >>> round(float(0.5 * jax.jit(jax.grad(dos))(0.5) / dos(0.5)), 2)  # ν ∝ √μ
        0.5
        """
        _, thermal = self.shell_sums(function, model, fermi_level, temperature)
        return jax.tree.map(self.by_replica, thermal)

    def by_replica(self, values: Array) -> Array:
        """Sums over the shells of each replica, (replicas, ...), of (shells, ...)."""
        return jnp.zeros((self.replicas, *values.shape[1:]), values.dtype).at[self.replica].add(values)

    def shell_sums(
        self,
        function: PointFunction,
        model: BlochModel | None = None,
        fermi_level: ArrayLike | None = None,
        temperature: ArrayLike | None = None,
    ) -> tuple[Any, Any]:
        """∫(dk) δ(ε−ε_shell)F, and its part of ∫(dk)(−f⁰')F, of every shell: leaves (shells, ...).

        Arguments as in :meth:`integrate`. On a thermal lattice the first is a mean over a bin of energy whose points
        stay in it, so that it follows another model at fixed k, not at fixed energy.
        """
        mu, kelvin = self.fermi_level if fermi_level is None else fermi_level, self.checked(temperature)
        sums = _sums(self.anonymous, function, model or self.model, jnp.asarray(mu, float), jnp.asarray(kelvin, float))
        return jax.tree.map(lambda x: x[:, 0], sums), jax.tree.map(lambda x: x[:, 1], sums)

    def checked(self, temperature: ArrayLike | None) -> ArrayLike:
        """A temperature that the surface may have, by default its own.

        Raises:
            JaxkinError: a temperature for a surface at T = 0.
        """
        if temperature is not None and not self.temperature:
            raise JaxkinError("a surface at T = 0 has no temperature to vary: sample it at T > 0.")
        return self.temperature if temperature is None else temperature

    @property
    def anonymous(self) -> FrozenSurface:
        """Without the surface it was made from, so that others like it share what is compiled."""
        return replace(self, reference=None)

    def traced(self, model: BlochModel, mu: Array, kelvin: Array, greens: dict[tuple, FrozenGreen]) -> TracedSurface:
        """All points at a model, μ and T, for what cannot be had from sums over single points.

        Args:
            model, mu, kelvin: as in :meth:`integrate`.
            greens: from :func:`frozen_greens`.
        """
        kt = units.BOLTZMANN * kelvin
        points = jax.lax.map(jax.checkpoint(lambda tile: tile.traced(model, mu, kt)), self.points)
        points = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), points)
        intact = jnp.sum(points.lost) <= LOST * jnp.sum(self.points.reference)
        present, (place, _, sheet, level, height) = jnp.asarray(self.layout.present), self.layout
        k, geometry = jax.tree.map(lambda x: x[place], (points.k, points.geometry))
        weights = jnp.where(present[..., None], jnp.where(intact, points.weights, jnp.nan)[place], 0.0)
        levels = mu + height * kt
        bloch = (
            jnp.where(present[..., None], geometry.state, 0.0),
            jnp.where(present[..., None, None], geometry.covariant_derivative, 0.0),
        )
        return TracedSurface(
            model,
            levels,
            TracedShells(levels[level], weights[..., 0], weights[..., 1], k @ model.basis, geometry, bloch, sheet),
            jnp.sum(weights[..., 1]) / self.replicas,
            tuple(greens.values()),
            tuple(greens),
        )


class Reference:
    """The surface that was frozen, compared by identity: what is decided on it is decided once."""

    def __init__(self, surface: Surface):
        self.surface = surface


def freeze(surface: Surface) -> FrozenSurface:
    """Make a surface differentiable in the model, the Fermi level and the temperature.

    Args:
        surface: sampled by :class:`Lines`, or at T > 0 by :class:`Grid`. The quadratures of the Green functions that
            a response has computed on it are frozen too; those that are needed later become constants of what
            is compiled, which takes longer.

    Raises:
        JaxkinError: a smeared grid at T = 0, or a surface without points.

    >>> import jax, jaxkin as jk
    >>> surface = jk.fermi_surface(jk.models.get("kramers-weyl-d4"), -1.2, sampler=jk.Lines(8), replicas=2)
    >>> frozen = jk.freeze(surface)
    >>> dos = frozen.integrate(lambda k, geometry: 1.0)
    >>> abs(float(dos.mean()) / float(surface.density_of_states().mean) - 1) < 1e-10
    True
    """
    if not len(surface):
        raise JaxkinError("the surface has no points: there is nothing to differentiate.")
    shell, height = np.empty(len(surface), int), np.empty(len(surface))
    kt = units.BOLTZMANN * surface.temperature
    for number, one in enumerate(surface.shells):
        shell[one.points], height[one.points] = number, (one.energy - surface.fermi_level) / (kt or 1.0)
    columns: dict[str, Any] = {"k": surface.k, "band": surface.band, "shell": shell, "reference": surface.level_weight}
    if isinstance(surface.sampler, Lines):
        columns |= recognised_lines(surface, surface.sampler.power)
        columns |= {"height": height, "share": surface.weight / surface.level_weight}
        points = Roots(**columns, power=surface.sampler.power)
    elif isinstance(surface.sampler, ThermalGrid):
        width = surface.sampler.bin_width(Thermal(surface.fermi_level, surface.temperature))
        columns["volume"] = surface.level_weight * width / float(surface.model.measure)
        points = Nodes(**columns, bin=width / kt)
    else:
        raise JaxkinError("a grid at T = 0 is smeared, which is not differentiated: sample the surface with Lines.")
    return FrozenSurface(
        model=surface.model,
        fermi_level=surface.fermi_level,
        temperature=surface.temperature,
        replicas=surface.replicas,
        replica=jnp.array([one.replica for one in surface.shells]),
        layout=layout(surface),
        greens=frozen_greens(surface),
        sheets=len(np.unique(surface.pocket * surface.model.size + surface.band)),
        reference=Reference(surface),
        points=_tiled(points, tile_rows(surface.model, MATRICES)),
    )


def _tiled(columns: FrozenPoints, rows: int) -> FrozenPoints:
    count = len(columns.k)
    rows = min(rows, max(SMALLEST_BUCKET, count))
    missing = -count % rows

    def tiled(values: np.ndarray) -> Array:
        padded = np.concatenate([values, np.repeat(values[-1:], missing, axis=0)])
        return jnp.asarray(padded.reshape(-1, rows, *values.shape[1:]))

    present = np.arange(count + missing).reshape(-1, rows) < count
    tiles = jax.tree.map(tiled, columns)
    return eqx.tree_at(lambda p: (p.volume, p.reference), tiles, (present * tiles.volume, present * tiles.reference))


# --- roots, weights and geometry on them -----------------------------------------------------------
@eqx.filter_jit
def _sums(frozen: FrozenSurface, function: PointFunction, model: BlochModel, mu: Array, kelvin: Array) -> Any:
    """Leaves (shells, 2, ...): weights of the level, thermal weights."""

    @jax.checkpoint
    def terms(points: FrozenPoints) -> tuple[Any, Array]:
        traced = points.traced(model, mu, units.BOLTZMANN * kelvin)

        def weighted(value: Array) -> Array:
            value = jnp.asarray(value)
            return traced.weights.reshape(*traced.weights.shape, *(1,) * (value.ndim - 1)) * value[:, None]

        return jax.tree.map(weighted, jax.vmap(function)(traced.k, traced.geometry)), traced.lost

    def add(total: Any, points: FrozenPoints) -> tuple[Any, Array]:
        values, lost = terms(points)
        return jax.tree.map(lambda t, v: t.at[points.shell].add(v), total, values), lost

    first = jax.tree.map(lambda x: x[0], frozen.points)
    zeros = jax.tree.map(
        lambda x: jnp.zeros((len(frozen.replica), *x.shape[1:]), x.dtype), jax.eval_shape(terms, first)[0]
    )
    sums, lost = jax.lax.scan(add, zeros, frozen.points)
    intact = jnp.sum(lost) <= LOST * jnp.sum(frozen.points.reference)
    return jax.tree.map(lambda x: jnp.where(intact, x, jnp.nan), sums)


def _geometry(model: BlochModel, k: Array, band: Array) -> BandGeometry:
    h, derivative = jax.vmap(model.hamiltonian_and_derivative)(k)
    return mean_geometry(model, k, Eigen(*jax.vmap(smooth_eigensystem)(h), derivative), band)


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
