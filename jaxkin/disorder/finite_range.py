"""Impurities with a potential of finite range: the T-matrix of V(q) or V(r), on the shell or through all states."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jaxkin.brief import brief, constructed
from jaxkin.checks import check_flag, check_kind, check_number, check_positive, numbers, shown
from jaxkin.disorder.amplitude import Order, check_order
from jaxkin.disorder.finite_range_scatterers import (
    FiniteRangeMixture,
    FiniteRangeScatterer,
    MatrixScatterer,
    SmoothScatterer,
)
from jaxkin.disorder.form_factors import (
    FARTHEST,
    NEGLIGIBLE,
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
from jaxkin.disorder.off_shell import OffShell, OffShellRule, decide, warn_of_trial_states
from jaxkin.disorder.onshell_pairs import affordable
from jaxkin.disorder.pivots import Choice, choose_pivots, located, members
from jaxkin.disorder.potentials import Gaussian
from jaxkin.disorder.real_space import RealSpace, cell_count, cells_within
from jaxkin.errors import JaxkinError
from jaxkin.hamiltonian.bloch import BlochModel
from jaxkin.hamiltonian.tight_binding import TightBinding
from jaxkin.namespace import Number, is_traced, leaf
from jaxkin.surface.surface import Surface

SITES_PER_VECTOR = 30
"""Sites of a potential that cost as much as one reciprocal vector of its transform, measured."""
LEFT_OUT = 1e-3
"""Of the accuracy that is asked for: what each reciprocal vector that is left out may take."""
FULL = 4
"""Points of a shell for each pivot below which matrices of all pairs cost less."""


class FiniteRangeImpurity(Disorder):
    """An impurity with the potential V(r) = ∫(dq) V(q) e^{iq·(r−r₀)}, in the dilute limit.

    It acts on every orbital α at its own position τ_α, so that between Bloch states

    ⟨p|V|p'⟩ = Σ_α u*_α u'_α Σ_G V(k − k' + G) e^{iG·(τ_α − r₀)},

    which does not depend on the choice of the cell. T = V − iπVWT on the surface's points (Heitler): the
    real part of the Green function is left out, the optical theorem and flux conservation are exact. With ``off_shell``
    it is T = K − iπKWT with K = V + V Re G K, which takes all states of all bands, by Schwinger's principle
    (:mod:`jaxkin.disorder.off_shell`): what resonances and bound states need.

    Args:
        form_factor: V(q)/strength, a JAX function of Cartesian q (3,) in Å⁻¹: :class:`Gaussian`,
            :class:`ScreenedCoulomb`, or your own (with a method ``radial`` of q² where it depends on |q| alone: four
            times faster); or V(r)/strength as :class:`RealSpace`.
        strength: eV Å^d (eV for RealSpace; for ScreenedCoulomb, the charge in units of |e|, positive repels). Like
            the ``density`` it may be a JAX array that is differentiated (docs/gradients.md).
        density: impurities per Å^d.
        periodic: V(q) already has the reciprocal lattice's period; ``strength`` is then in eV, per cell,
            and V = Σ_R V_R e^{−iq·R} is the same for all orbitals of a cell.
        order: ``"tmatrix"``, ``"third"`` or ``"born"``, see :class:`PointImpurity`.
        positions: r₀ in reduced coordinates, (3,) or several equivalent ones that share the density.
        rtol: accuracy of V on the shell, relative to its largest element, by which as many points are chosen to
            interpolate it through; side jumps and Gaussian skew scattering are off by √rtol at worst
            (docs/impurities.md).
        off_shell: whether Re G is there; it is integrated once a surface, whatever strength and density. That of
            Gaussian skew scattering's own Green functions is left out.

    Raises:
        JaxkinError: a density that is not positive, V(q) that does not fall off, ``periodic`` with RealSpace; points in
            the functions of V beyond the memory budget; ``off_shell`` of an order that has no G.

    Warns:
        AccuracyWarning: the integral of Re G, or its trial states, are known to less than they should.

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
    rtol: float = eqx.field(static=True)
    off_shell: bool = eqx.field(static=True)

    def __init__(
        self,
        form_factor: Callable,
        strength: Number,
        density: Number,
        periodic: bool = False,
        *,
        order: Order = "tmatrix",
        positions: Sequence[float] | Sequence[Sequence[float]] = (0.0, 0.0, 0.0),
        rtol: float = 1e-7,
        off_shell: bool = False,
    ):
        check_order(order)
        check_flag("off_shell", off_shell)
        check_flag("periodic", periodic)
        if off_shell and order != "tmatrix":
            raise JaxkinError(f"order={order!r} has no Green function: leave off_shell out, or ask for 'tmatrix'.")
        check_number("rtol", rtol, "a number above 0 and below 1", least=1e-14, most=1)
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
        self.periodic, self.order, self.rtol, self.off_shell = periodic, order, rtol, off_shell
        rows = np.atleast_2d(numbers("positions", positions, "three reduced coordinates, or several such rows"))
        if rows.ndim != 2 or not rows.size:
            raise JaxkinError(f"positions={shown(positions)} must be three reduced coordinates, or several such rows.")
        self.positions = tuple(map(tuple, rows.tolist()))

    @brief
    def __repr__(self) -> str:
        return constructed(self, "rtol")

    def on(self, surface: Surface) -> FiniteRangeScatterer:
        if is_traced(self.form_factor):
            raise JaxkinError(
                "the form factor's own parameters are not differentiated, as they decide which terms its sums have: "
                "differentiate in `strength`."
            )
        sampled = surface.sampled
        with jax.ensure_compile_time_eval():  # terms and pivots are decided where the surface was sampled
            layouts = self._layouts(sampled)
            index, group = _distinct(np.asarray(sampled.model.centres))
            choices = self._choices(sampled, layouts, index, group)
            rules = self._rules(sampled, layouts, index, group) if self.off_shell else None
        factors = self._factors(surface, layouts, index)
        scale = self.strength * (surface.model.state_volume if self.periodic else 1.0)
        beyond = (
            None
            if rules is None
            else tuple(
                rule(surface.model, surface.levels, one, members(group)) if surface.elsewhere else known
                for (rule, known), one in zip(rules, factors, strict=True)
            )
        )
        if beyond is not None and not is_traced(beyond, scale):
            warn_of_trial_states(beyond, scale)
        given = factors, scale, self.density / len(factors), beyond, group, self.order
        if choices is None:
            return MatrixScatterer(*given)
        return SmoothScatterer(*given, tuple(located(surface, chosen) for chosen in choices), surface.levels)

    @classmethod
    def together(cls, parts: Sequence[Self], surface: Surface) -> Scatterer:
        """Several in one sample, which interfere: by matrices where one of them is.

        Args:
            parts: impurities of finite range.
            surface: that they are on.
        """
        found = [part.on(surface) for part in parts]
        if any(isinstance(one, MatrixScatterer) for one in found):
            found = [one.by_matrices if isinstance(one, SmoothScatterer) else one for one in found]
        return found[0] if len(found) == 1 else FiniteRangeMixture(tuple(found))

    def _choices(
        self, sampled: Surface, layouts: tuple[Layout, ...], index: tuple[int, ...], group: tuple[int, ...]
    ) -> list[Choice] | None:
        """Pivots for each position, whatever strength and density, once a surface; None where matrices are better."""
        largest = int(np.diff(sampled.layout.starts).max(initial=0))
        most = largest // FULL if affordable(largest, max(group) + 1) else largest
        kept, key = sampled.costly.value, (self._shape, self.rtol, most)
        if key not in kept:
            factors = self._factors(sampled, layouts, index)
            kept[key] = choose_pivots(sampled, factors, group, self.rtol, most)
        return kept[key]

    def _rules(
        self, sampled: Surface, layouts: tuple[Layout, ...], index: tuple[int, ...], group: tuple[int, ...]
    ) -> list[tuple[OffShellRule, OffShell]]:
        """Trial states and nodes of Re G of each position, and what they give where the surface was sampled."""
        kept, key = sampled.costly.value, (self._shape, "off shell")
        if key not in kept:
            at, levels, found = members(group), np.asarray(sampled.levels), []
            for one in self._factors(sampled, layouts, index):
                rule = decide(sampled, one, at)
                found.append((rule, jax.tree.map(np.asarray, rule(sampled.model, levels, one, at))))
            kept[key] = found
        return kept[key]

    @property
    def _shape(self) -> tuple:
        """V but for its strength."""
        leaves, structure = jax.tree.flatten((self.form_factor, self.positions, self.periodic))
        return tuple(np.asarray(x).tobytes() if eqx.is_array_like(x) else x for x in leaves), structure

    def _factors(
        self, surface: Surface, layouts: tuple[Layout, ...], index: tuple[int, ...]
    ) -> tuple[FormFactors, ...]:
        """Of each position of the impurity, between orbitals at the positions of those of ``index``."""
        model = surface.model
        centres = jnp.asarray(model.centres)[np.array(index)]
        potential = bind(surface) if (bind := getattr(self.form_factor, "on", None)) else self.form_factor
        lattice = model.lattice if isinstance(model, TightBinding) else jnp.zeros((model.dimension, 3))
        return tuple(
            layout.factors(potential, lattice, centres - np.array(p)[: model.dimension] @ lattice)
            for layout, p in zip(layouts, self._origins(model), strict=True)
        )

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
            k = np.asarray(model.cartesian(np.array(model.zone).T if self.off_shell else surface.k))
            return GivenLayout(potential.on_ball(model.dimension, np.ptp(k, axis=0) if len(k) else np.zeros(3)))
        lattice = np.asarray(model.lattice)
        if isinstance(potential, RealSpace):
            return SiteLayout(*potential.cells(lattice, x))
        vectors, missed = reciprocal_vectors(potential, np.asarray(model.basis), max(NEGLIGIBLE, LEFT_OUT * self.rtol))
        if isinstance(potential, Gaussian):
            local = potential.in_real_space(model.dimension)
            most = SITES_PER_VECTOR * len(vectors)
            if missed or len(x) * cell_count(lattice, local.radius) < 2 * most:
                size = sum(len(cells_within(lattice, one, local.radius)) for one in x)
                if size and (missed or size < most):
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
