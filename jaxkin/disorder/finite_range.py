"""Impurities with a potential of finite range: the on-shell T-matrix of V(q)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex

from jaxkin.disorder.amplitude import Order, check_order
from jaxkin.disorder.collisions import Collisions, SummedCollisions
from jaxkin.disorder.kernels import Disorder, Scatterer
from jaxkin.disorder.onshell import on_shell_collisions
from jaxkin.disorder.states import ShellStates
from jaxkin.errors import JaxkinError
from jaxkin.hamiltonian.tight_binding import TightBinding
from jaxkin.surface.fermi import Surface

NEGLIGIBLE = 1e-13
"""Reciprocal vectors on which V(q + G) is below this part of its largest value are left out."""
FARTHEST = 8
"""Shells of reciprocal vectors that are tried."""
ROWS = 128
"""Rows of the N×N matrices that are computed at a time."""


class FiniteRangeImpurity(Disorder):
    """An impurity with the potential V(r) = ∫(dq) V(q) e^{iq·(r−r₀)}, in the dilute limit.

    It acts on every orbital α at its own position τ_α, so that between Bloch states

    ⟨p|V|p'⟩ = Σ_α u*_α u'_α Σ_G V(k − k' + G) e^{iG·(τ_α − r₀)},

    which does not depend on the choice of the cell. T = V − iπVWT on the surface's points (Heitler): the
    real part of the Green function is left out, the optical theorem and flux conservation are exact.

    Args:
        form_factor: V(q)/strength, a JAX function of Cartesian q (3,) in Å⁻¹: :class:`Gaussian`,
            :class:`ScreenedCoulomb`, or your own.
        strength: eV Å^d (for ScreenedCoulomb, the charge in units of |e|, positive repels).
        density: impurities per Å^d.
        periodic: V(q) already has the reciprocal lattice's period; ``strength`` is then in eV, per cell,
            and V = Σ_R V_R e^{−iq·R} is the same for all orbitals of a cell.
        order: ``"tmatrix"``, ``"third"`` or ``"born"``, see :class:`PointImpurity`.
        positions: r₀ in reduced coordinates, (3,) or several equivalent ones that share the density.

    Raises:
        JaxkinError: a density that is not positive, V(q) that does not fall off.

    >>> import jaxkin as jk
    >>> model = jk.models.get("kramers-weyl-d4")
    >>> impurity = jk.FiniteRangeImpurity(jk.Gaussian(1.2), strength=3.0, density=0.01)
    >>> surface = jk.fermi_surface(model, -1.2, sampler=jk.Lines(n=8), replicas=2)
    >>> impurity.collisions(surface, surface.shells[0]).flux_violation < 1e-10
    True
    """

    form_factor: Callable
    strength: float
    density: float
    periodic: bool = eqx.field(static=True)
    order: Order = eqx.field(static=True)
    positions: tuple[tuple[float, ...], ...] = eqx.field(static=True)

    def __init__(
        self,
        form_factor: Callable,
        strength: float,
        density: float,
        periodic: bool = False,
        *,
        order: Order = "tmatrix",
        positions: Sequence[float] | Sequence[Sequence[float]] = (0.0, 0.0, 0.0),
    ):
        check_order(order)
        if not (np.isfinite(density) and density > 0):
            raise JaxkinError(f"density={density} must be a positive number of impurities per Å^d.")
        self.form_factor, self.strength, self.density = form_factor, float(strength), float(density)
        self.periodic, self.order = periodic, order
        self.positions = tuple(tuple(map(float, row)) for row in np.atleast_2d(np.asarray(positions, float)))

    def on(self, surface: Surface) -> Scatterer:
        model, d = surface.model, surface.model.dimension
        if self.periodic and not model.periodic:
            raise JaxkinError("periodic=True needs a crystal; a k·p model has no reciprocal lattice.")
        bind = getattr(self.form_factor, "on", None)
        form_factor = self.form_factor if bind is None else bind(surface)
        vectors = np.zeros((1, 3))
        if isinstance(model, TightBinding) and not self.periodic:
            vectors = _reciprocal_vectors(form_factor, np.asarray(model.basis))
        centres = np.asarray(model.centres)
        sites, group = np.unique(np.round(centres, 9), axis=0, return_inverse=True)
        origins = (
            [np.asarray(p)[:d] @ np.asarray(model.lattice) for p in self.positions]
            if isinstance(model, TightBinding)
            else [np.zeros(3)]
        )
        scale = self.strength * (float(model.state_volume) if self.periodic else 1.0)

        def scatterer(states: ShellStates) -> Collisions:
            parts = []
            for origin in origins:
                factors = _Factors(form_factor, vectors, sites - origin, self.periodic)
                v, slope = _matrices(states, factors, group.ravel(), scale)
                parts.append(on_shell_collisions(states, self.order, v, v, slope, self.density / len(origins)))
            return parts[0] if len(parts) == 1 else SummedCollisions(states, parts)

        return scatterer


class _Factors(eqx.Module):
    """f_s(q) = Σ_G V(q + G) e^{iG·(τ_s − r₀)} of every distinct orbital position s."""

    form_factor: Callable
    vectors: Array | np.ndarray
    sites: Array | np.ndarray
    periodic: bool = eqx.field(static=True)

    def __call__(self, q: Array) -> Complex[Array, " s"]:
        if self.periodic:  # the potential of a cell: only the phases of the orbitals' positions are left
            return jnp.exp(-1j * (jnp.asarray(self.sites) @ q)) * self.form_factor(q)
        vectors = jnp.asarray(self.vectors)
        values = jax.vmap(self.form_factor)(q + vectors)
        return jnp.exp(1j * (jnp.asarray(self.sites) @ vectors.T)) @ values.astype(complex)


def _reciprocal_vectors(form_factor: Callable, basis: np.ndarray) -> np.ndarray:
    """All G on which V(k − k' + G) counts for some k and k' in the zone."""
    d = len(basis)
    corners = np.array(list(product((-1.0, -0.5, 0.0, 0.5, 1.0), repeat=d))) @ basis
    evaluate = jax.jit(jax.vmap(form_factor))
    largest = float(np.max(np.abs(evaluate(jnp.asarray(corners)))))
    for reach in range(1, FARTHEST + 1):
        steps = np.array(list(product(range(-reach, reach + 1), repeat=d)))
        g = steps @ basis
        q = (g[:, None, :] + corners).reshape(-1, 3)
        size = np.abs(np.asarray(evaluate(jnp.asarray(q)))).reshape(len(g), -1).max(axis=1)
        edge = np.abs(steps).max(axis=1) == reach
        if np.all(size[edge] <= NEGLIGIBLE * largest):
            return g[size > NEGLIGIBLE * largest]
    raise JaxkinError(
        f"V(q) falls off too slowly to be summed over the reciprocal lattice: beyond {FARTHEST} vectors it is still "
        f"{size[edge].max() / largest:.1g} of its largest value. Smooth the potential (a larger `core` of "
        "ScreenedCoulomb), or use PointImpurity for a potential that sits on one site."
    )


def _matrices(states: ShellStates, factors: _Factors, group: np.ndarray, scale: float) -> tuple[Array, Array]:
    """⟨p|V|p'⟩ (N, N) and ⟨D_a p|V|p'⟩ with the derivative of V's phases included (3, N, N)."""
    k = jnp.asarray(states.k)
    u, du = map(jnp.asarray, states.bloch)
    members = jnp.asarray(group[:, None] == np.arange(group.max() + 1), float)  # (n, s)
    rows = []
    for start in range(0, len(k), ROWS):
        part = slice(start, min(start + ROWS, len(k)))
        fill = ROWS - (part.stop - part.start)
        mine = tuple(jnp.pad(x[part], ((0, fill), *((0, 0),) * (x.ndim - 1))) for x in (k, u, du))
        v, slope = _rows(factors, mine, k, u, members)
        rows.append((v[: ROWS - fill], slope[:, : ROWS - fill]))
    potential = scale * jnp.concatenate([r[0] for r in rows])
    return 0.5 * (potential + potential.conj().T), scale * jnp.concatenate([r[1] for r in rows], axis=1)


@eqx.filter_jit
def _rows(factors: _Factors, mine: tuple[Array, ...], others: Array, u_others: Array, members: Array):
    k, u, du = mine
    q = k[:, None, :] - others

    def with_slope(one: Array):
        values, slope = factors(one), jax.jacfwd(factors)(one)
        return values, slope

    f, df = jax.vmap(jax.vmap(with_slope))(q)  # (I, J, s), (I, J, s, 3)
    overlap = jnp.einsum("im,ms,jm->ijs", u.conj(), members, u_others)
    moved = jnp.einsum("iam,ms,jm->aijs", du.conj(), members, u_others)
    return jnp.sum(f * overlap, axis=-1), jnp.sum(f * moved, axis=-1) + jnp.einsum("ijs,ijsa->aij", overlap, df)
