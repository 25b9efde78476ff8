"""Impurities with a potential of finite range: the on-shell T-matrix of V(q) or V(r)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxkin.checks import check_kind, check_number, check_positive, numbers, shown
from jaxkin.disorder.amplitude import Order, check_order
from jaxkin.disorder.collisions import Collisions, SummedCollisions
from jaxkin.disorder.form_factors import (
    FARTHEST,
    ContinuumLayout,
    FormFactors,
    GivenLayout,
    Layout,
    PeriodicLayout,
    ReciprocalLayout,
    SiteLayout,
    reciprocal_vectors,
)
from jaxkin.disorder.kernels import Disorder, Scatterer
from jaxkin.disorder.onshell import demand_matrices, on_shell_collisions
from jaxkin.disorder.onshell_pairs import OnShellPairs, demand_orbitals, dressed_orbitals
from jaxkin.disorder.orbital_moments import hermitian
from jaxkin.disorder.potentials import Gaussian
from jaxkin.disorder.real_space import RealSpace, cells_within
from jaxkin.disorder.states import States
from jaxkin.errors import JaxkinError
from jaxkin.hamiltonian.bloch import BlochModel
from jaxkin.hamiltonian.tight_binding import TightBinding
from jaxkin.namespace import Number, is_traced, leaf
from jaxkin.surface.surface import Surface
from jaxkin.surface.tiles import map_over_tiles

SITES_PER_VECTOR = 30
"""Sites of a potential that cost as much as one reciprocal vector of its transform, measured."""


class FiniteRangeImpurity(Disorder):
    """An impurity with the potential V(r) = ∫(dq) V(q) e^{iq·(r−r₀)}, in the dilute limit.

    It acts on every orbital α at its own position τ_α, so that between Bloch states

    ⟨p|V|p'⟩ = Σ_α u*_α u'_α Σ_G V(k − k' + G) e^{iG·(τ_α − r₀)},

    which does not depend on the choice of the cell. T = V − iπVWT on the surface's points (Heitler): the
    real part of the Green function is left out, the optical theorem and flux conservation are exact.

    Args:
        form_factor: V(q)/strength, a JAX function of Cartesian q (3,) in Å⁻¹: :class:`Gaussian`,
            :class:`ScreenedCoulomb`, or your own; or V(r)/strength as :class:`RealSpace`.
        strength: eV Å^d (eV for RealSpace; for ScreenedCoulomb, the charge in units of |e|, positive repels). Like
            the ``density`` it may be a JAX array that is differentiated (docs/gradients.md).
        density: impurities per Å^d.
        periodic: V(q) already has the reciprocal lattice's period; ``strength`` is then in eV, per cell,
            and V = Σ_R V_R e^{−iq·R} is the same for all orbitals of a cell.
        order: ``"tmatrix"``, ``"third"`` or ``"born"``, see :class:`PointImpurity`.
        positions: r₀ in reduced coordinates, (3,) or several equivalent ones that share the density.

    Raises:
        JaxkinError: a density that is not positive, V(q) that does not fall off, ``periodic`` with RealSpace.

    >>> import jaxkin as jk
    >>> model = jk.models.get("kramers-weyl-d4")
    >>> impurity = jk.FiniteRangeImpurity(jk.Gaussian(1.2), strength=3.0, density=0.01)
    >>> surface = jk.fermi_surface(model, -1.2, sampler=jk.Lines(n=8), replicas=2)
    >>> bool(impurity.collisions(surface, surface.shells[0]).flux_violation < 1e-10)
    True
    """

    form_factor: Callable
    strength: Number
    density: Number
    periodic: bool = eqx.field(static=True)
    order: Order = eqx.field(static=True)
    positions: tuple[tuple[float, ...], ...] = eqx.field(static=True)

    def __init__(
        self,
        form_factor: Callable,
        strength: Number,
        density: Number,
        periodic: bool = False,
        *,
        order: Order = "tmatrix",
        positions: Sequence[float] | Sequence[Sequence[float]] = (0.0, 0.0, 0.0),
    ):
        check_order(order)
        check_positive("density", density, "a positive number of impurities per Å^d")
        check_number("strength", strength, "a finite number in eV Å^d (eV for RealSpace, a charge for ScreenedCoulomb)")
        kinds = "Gaussian, ScreenedCoulomb, RealSpace or a JAX function of q"
        check_kind("form_factor", form_factor, (Callable, RealSpace), kinds)
        if periodic and isinstance(form_factor, RealSpace):
            raise JaxkinError("periodic=True is for a V(q) with the lattice's period; leave it out with RealSpace.")
        self.form_factor = form_factor
        if not isinstance(form_factor, eqx.Module):
            _check_function(form_factor)
        self.strength, self.density = leaf(strength), leaf(density)
        self.periodic, self.order = periodic, order
        rows = np.atleast_2d(numbers("positions", positions, "three reduced coordinates, or several such rows"))
        if rows.ndim != 2 or not rows.size:
            raise JaxkinError(f"positions={shown(positions)} must be three reduced coordinates, or several such rows.")
        self.positions = tuple(map(tuple, rows.tolist()))

    def on(self, surface: Surface) -> FiniteRangeScatterer:
        if is_traced(self.form_factor):
            raise JaxkinError(
                "the form factor's own parameters are not differentiated, as they decide which terms its sums have: "
                "differentiate in `strength`."
            )
        model, sampled = surface.model, surface.sampled
        with jax.ensure_compile_time_eval():  # which terms there are is decided where the surface was sampled
            layouts = self._layouts(sampled)
            index, group = _distinct(np.asarray(sampled.model.centres))
        centres = jnp.asarray(model.centres)[np.array(index)]
        potential = bind(surface) if (bind := getattr(self.form_factor, "on", None)) else self.form_factor
        lattice = model.lattice if isinstance(model, TightBinding) else jnp.zeros((model.dimension, 3))
        factors = [
            layout.factors(potential, lattice, centres - np.array(p)[: model.dimension] @ lattice)
            for layout, p in zip(layouts, self._origins(model), strict=True)
        ]
        scale = self.strength * (model.state_volume if self.periodic else 1.0)
        return FiniteRangeScatterer(tuple(factors), scale, self.density / len(factors), group, self.order)

    def _origins(self, model: BlochModel) -> tuple[tuple[float, ...], ...]:
        """Where the impurities sit; a k·p model has one place."""
        return self.positions if isinstance(model, TightBinding) else ((0.0, 0.0, 0.0),)

    def _layouts(self, surface: Surface) -> tuple[Layout, ...]:
        model, d = surface.model, surface.model.dimension
        if self.periodic and not model.periodic:
            raise JaxkinError("periodic=True needs a crystal; a k·p model has no reciprocal lattice.")
        centres = np.asarray(model.centres)
        sites = centres[np.array(_distinct(centres)[0])]
        if not isinstance(model, TightBinding):
            return (self._layout(surface, sites),)
        return tuple(self._layout(surface, sites - np.array(p)[:d] @ np.asarray(model.lattice)) for p in self.positions)

    def _layout(self, surface: Surface, x: np.ndarray) -> Layout:
        """What is cheapest for the potential: its transform, or itself."""
        model, potential = surface.model, self.form_factor
        bind = getattr(potential, "on", None)
        if bind is not None:
            potential = bind(surface)
        if self.periodic:
            return PeriodicLayout()
        if not isinstance(model, TightBinding):
            if not isinstance(potential, RealSpace):
                return ContinuumLayout()
            k = np.asarray(model.cartesian(surface.k))
            return GivenLayout(potential.on_ball(model.dimension, np.ptp(k, axis=0) if len(k) else np.zeros(3)))
        lattice = np.asarray(model.lattice)
        if isinstance(potential, RealSpace):
            return SiteLayout(*potential.cells(lattice, x))
        vectors, missed = reciprocal_vectors(potential, np.asarray(model.basis))
        if isinstance(potential, Gaussian):
            local = potential.in_real_space(model.dimension)
            size = sum(len(cells_within(lattice, one, local.radius)) for one in x)
            if size and (missed or size < SITES_PER_VECTOR * len(vectors)):
                return SiteLayout(*local.cells(lattice, x))
        if missed:
            raise JaxkinError(
                f"V(q) falls off too slowly to be summed over the reciprocal lattice: beyond {FARTHEST} vectors it is "
                f"still {missed:.1g} of its largest value. Smooth the potential (a larger `core` of ScreenedCoulomb), "
                "give it as RealSpace, or use PointImpurity for a potential that sits on one site."
            )
        return ReciprocalLayout(vectors)


def _check_function(form_factor: Callable) -> None:
    """Raise unless V(q) is a JAX function of q (3,) with one number as its value."""
    try:
        value = jax.eval_shape(form_factor, jax.ShapeDtypeStruct((3,), float))
    except jax.errors.TracerArrayConversionError:
        raise JaxkinError("V(q) must be a JAX function: write it with jax.numpy instead of numpy.") from None
    if getattr(value, "shape", None) != ():
        raise JaxkinError(f"V(q) of one q (3,) must be a number, not of shape {getattr(value, 'shape', value)}.")


def _distinct(centres: np.ndarray) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """One orbital at each distinct position, and the number of the position of every orbital."""
    _, index, group = np.unique(np.round(centres, 9), axis=0, return_index=True, return_inverse=True)
    return tuple(index.tolist()), tuple(group.ravel().tolist())


class FiniteRangeScatterer(Scatterer):
    """A potential of finite range on a surface.

    Attributes:
        factors: its form factors, of each equivalent position.
        scale: that they are multiplied with.
        density: of each position, Å^-d.
        group: which of the different positions each orbital is at.
        order: of the kernels in V.
    """

    factors: tuple[FormFactors, ...]
    scale: Number
    density: Number
    group: tuple[int, ...] = eqx.field(static=True)
    order: Order = eqx.field(static=True)
    bloch: ClassVar[bool] = True  # pyright: ignore[reportIncompatibleMethodOverride]
    pairs: ClassVar[bool] = True  # pyright: ignore[reportIncompatibleMethodOverride]

    @property
    def orbitals(self) -> tuple[int, ...]:
        return tuple(range(len(self.group)))

    def side_jump_of(self, states: States) -> Array:
        return self(states).side_jump_velocity

    @property
    def weak(self) -> bool:
        return self.order != "tmatrix"

    def two_impurities(self, states: States) -> OnShellPairs | None:
        if states.reduced is None:
            return None
        demand_orbitals(states)
        kinds = []
        for one in self.factors:
            v, bra = self._matrices(states, one)[0], self._from_orbitals(states, one)
            kinds.append(dressed_orbitals(states, self.order, self.density, v, bra))
        return OnShellPairs(states, kinds)

    def __call__(self, states: States) -> Collisions:
        demand_matrices(len(states))
        parts = []
        for one in self.factors:
            v, slope = self._matrices(states, one)
            parts.append(on_shell_collisions(states, self.order, v, v, slope, self.density))
        return parts[0] if len(parts) == 1 else SummedCollisions(states, parts)

    def _matrices(self, states: States, factors: FormFactors) -> tuple[Array, Array]:
        """⟨p|V|p'⟩ (M, M) and ⟨D_a p|V|p'⟩, along k with the derivative of V's phases, (3, M, M)."""
        assert states.bloch is not None
        k, u, du = map(jnp.asarray, (states.k, *states.bloch))
        group = np.array(self.group)
        members = jnp.asarray(group[:, None] == np.arange(group.max() + 1), float)  # (n, s)

        def rows(*mine: Array) -> tuple[Array, Array]:
            return _rows(factors, mine, k, u, members, states.along_k)

        v, slope = map_over_tiles(rows, factors.rows, k, u, du)
        v, slope = self.scale * v, self.scale * jnp.swapaxes(slope, 0, 1)
        return hermitian(v), slope

    def _from_orbitals(self, states: States, factors: FormFactors) -> Array:
        """⟨k_i α|V|p_j⟩, (α, M, M)."""
        assert states.bloch is not None
        k, u = jnp.asarray(states.k), jnp.asarray(states.bloch[0])
        f = map_over_tiles(lambda mine: jnp.swapaxes(factors(mine, k)[0], 0, 1), factors.rows, k)  # (I, s, J)
        return self.scale * jnp.swapaxes(f, 0, 1)[np.array(self.group)] * u.T[:, None, :]


def _rows(factors: FormFactors, mine: tuple[Array, ...], others: Array, u_others: Array, members: Array, along_k: bool):
    """Rows of V and of its slopes, (I, J) and (I, 3, J)."""
    k, u, du = mine
    f, slopes = factors(k, others)  # (s, I, J), (3, s, I, J)
    overlap = jnp.einsum("im,ms,jm->sij", u.conj(), members, u_others)
    moved = jnp.einsum("iam,ms,jm->asij", du.conj(), members, u_others)
    changed = f * moved + slopes * overlap if along_k else f * moved
    return jnp.sum(f * overlap, axis=0), jnp.swapaxes(jnp.sum(changed, axis=1), 0, 1)
