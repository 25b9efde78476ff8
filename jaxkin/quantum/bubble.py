"""Two averaged Green functions with the ladder between them, at q → 0 and in first order of q."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex

from jaxkin.memory import demand
from jaxkin.quantum.averaged import Dressed, SelfEnergy, Zone, inverses, product
from jaxkin.quantum.scatterers import Scatterers

SLOW = 0.5
"""An eigenvalue of 1 − MΛ, about ωτ, below which the density's own equation is imposed."""


class Sums(NamedTuple):
    """Sums over k of what the ladder is made of; p pairs of located orbitals, 4 vertices (density, current).

    Derivatives are those with the 3 currents.

    Attributes:
        bare: Tr[J_a G J_b G'], (4, 4).
        right: P G J_b G' P† on the pairs, (p, 4).
        left: P G' J_a G P† transposed on the pairs, (4, p), so that left @ X is Tr[J_a G P†XP G'].
        step: X → P G P†XP G' P†, (p, p).
    """

    bare: Any
    right: Any
    left: Any
    step: Any


class Correlation(NamedTuple):
    """K_ab = ∫(dk) Tr[J_a G J_b G'] with its ladder, times the volume of the cell.

    Attributes:
        value: at q = 0, (3, 3).
        slope: ∂K_ab/∂q_c, (3, 3, 3).
        ward: violation of the Ward identity (z − z') ∫PGG'P† − M(S − S') = −∫P(G − G')P†, relative.
    """

    value: np.ndarray
    slope: np.ndarray
    ward: float


def correlation(
    dressed: Dressed,
    scatterers: Scatterers,
    zone: Zone,
    energies: tuple[complex, complex],
    selves: tuple[SelfEnergy, SelfEnergy],
    conserved: bool,
) -> Correlation:
    """K_ab(q) = ∫(dk) Tr[v_a G(k+q/2, z) J_b G(k−q/2, z')], J_b = v_b + the ladder of the irreducible vertex.

    With y = ∫ P G v G'P†, M = the step and Λ = the line, K = bare + z Λ (1 − MΛ)⁻¹ y. Its derivative needs
    those of the sums only:
    K' = bare' + z'Λx + wM'Λx + wy' with x = (1 − MΛ)⁻¹y and w = zΛ(1 − MΛ)⁻¹.

    Args:
        dressed: G and its currents.
        scatterers: the irreducible vertex.
        zone: the grid.
        energies: z and z' in eV.
        selves: the self-energies there.
        conserved: for a retarded G and an advanced G'. Then 1 − MΛ is singular as z → z', by particle conservation,
            and where it has a small eigenvalue the component of the solutions along that follows from
            ∫Tr[G J_b G'] = 0, the density that a uniform field induces: zero at every frequency, as q → 0 comes before
            ω → 0, on a grid that resolves G.

    Raises:
        JaxkinError: the matrices of the ladder are beyond the memory budget.
    """
    size, pairs, count = len(scatterers.orbitals), (scatterers.rows, scatterers.columns), len(scatterers.rows)
    demand(
        16 * (12 * size**4 + 12 * count**2),
        f"the ladder on {size} orbitals of the impurities",
        "raise it, or let the impurities act on fewer orbitals",
    )
    line = scatterers.line(selves[0].green, selves[1].green)
    z, s = np.array(energies, complex), np.stack([selves[0].s, selves[1].s])
    parts = (_sums(dressed, pairs, k, weights, z, s) for k, weights in zone.tiles())
    value, slope = jax.tree.map(np.asarray, functools.reduce(functools.partial(jax.tree.map, jnp.add), parts))
    ladder, driven, measured = np.eye(count) - value.step @ line, value.right, value.left @ line
    if conserved and np.abs(np.linalg.eigvals(ladder)).min() < SLOW:
        # the density does not answer, Σ Tr[J_0 G J_b G'] = 0, and neither with a and b exchanged
        ladder = np.block([[ladder, driven[:, :1]], [measured[:1], np.zeros((1, 1))]])
        driven = np.concatenate([driven, -value.bare[:1]])
        measured = np.concatenate([measured, -value.bare[:, :1]], axis=1)
    x = line @ np.linalg.solve(ladder, driven)[:count, 1:]
    w = np.linalg.solve(ladder.T, measured.T)[:count, 1:].T
    k0 = value.bare[1:, 1:] + value.left[1:] @ x
    dk = (
        slope.bare
        + np.einsum("apc,pb->abc", slope.left, x)
        + np.einsum("ap,pqc,qb->abc", w, slope.step, x, optimize=True)
        + np.einsum("ap,pbc->abc", w, slope.right)
    )
    return Correlation(k0, dk, _ward(value, scatterers, energies, selves))


def _ward(
    sums: Sums, scatterers: Scatterers, energies: tuple[complex, complex], selves: tuple[SelfEnergy, SelfEnergy]
) -> float:
    rows, columns = scatterers.rows, scatterers.columns
    s = (selves[0].s - selves[1].s)[rows, columns]
    green = (selves[0].green - selves[1].green)[rows, columns]
    violation = (energies[0] - energies[1]) * sums.right[:, 0] - sums.step @ s + green
    return float(np.abs(violation).max() / np.abs(selves[0].green).max())


@jax.jit
def _sums(dressed: Dressed, pairs: Any, k: Array, weights: Array, z: Any, s: Any) -> tuple[Sums, Sums]:
    """The sums of one tile, and the derivatives by q, whose index is the last, of those with currents.

    With X_c = ∂_c(H + P†SP) and J_b(q), M_a(q) the vertices of driven and measured current, G at k + q/2 and G' at
    k − q/2 have the derivatives ½GX_cG and −½G'X'_cG', so that

    ∂_c(G J_b G') = H_cb G',  H_cb = ½(GX_c GJ_b − GJ_b G'X'_c) + G ∂_cJ_b;

    likewise ∂_c(G' M_a G) = ½(G'M_a GX_c − G'X'_c G'M_a)G + G' ∂_cM_a G, and
    ∂_c Tr[M_a G J_b G'] = Tr[G'M_a H_cb] + Tr[∂_cM_a G J_b G']. Of most products the impurities' orbitals are enough.
    The phases of P(k ± q/2) depend on q as exp[±iq·(r_m − r_n)/2], on the sums as a whole. Matrices are (n, n, k).
    """
    rows, columns = pairs
    kept = jax.lax.optimization_barrier  # for what has several uses: the compiler would else repeat it in each
    # both inverted as one batch: two in one compiled function can wait for each other's threads for ever
    g, g_ = kept(inverses(jnp.stack([dressed.inverse(k, z[side], s[side]) for side in (0, 1)])))
    x, x_, v, phases = kept((dressed.slope(k, s[0]), dressed.slope(k, s[1]), dressed.current(k), dressed.phases(k)))
    forth, back, gx, gx_ = kept((product(g, v), weights * product(g_, v), product(g, x), product(g_, x_)))
    half = 0.5 * kept(product(gx[:, None], forth) - product(forth, gx_[:, None]))  # c b
    curl = dressed.curl
    if curl is not None:
        half = half + product(g, curl[..., None])
    every = jnp.concatenate([g[None], forth]), jnp.concatenate([weights * g_[None], back])  # with the density's
    bare = jnp.einsum("aijk,bjik->ab", every[1], every[0])
    bare_c = jnp.einsum("aijk,cbjik->abc", back, half)

    def top(m: Array) -> Array:
        return m[..., dressed.orbitals, :, :]

    def side(m: Array) -> Array:
        return m[..., dressed.orbitals, :]

    def local(m: Array, n: Array) -> Array:
        return phases * product(top(m), side(n))

    right, right_c = jnp.sum(local(every[0], weights * g_), axis=-1), jnp.sum(local(half, weights * g_), axis=-1)
    left = jnp.sum(local(every[1], g), axis=-1)
    left_c = product(top(back), product(gx, side(g))[:, None]) - product(top(gx_)[:, None], product(back, side(g)))
    left_c = jnp.sum(0.5 * phases * left_c, axis=-1)  # c a
    if curl is not None:
        bare_c = bare_c - jnp.einsum("caij,bjik,k->abc", curl, product(forth, g_), weights)
        left_c = left_c - jnp.sum(local(product(weights * g_, curl[..., None]), g), axis=-1)
    a, b = phases * top(side(weights * g)), phases * top(side(g_))
    step, step_c = _pairs(a, b), 0.5 * (_pairs(local(gx, weights * g), b) - _pairs(a, local(gx_, g_)))

    r = 0.5j * dressed.places
    plus = jnp.moveaxis(r[:, None] + r, -1, 0)  # c m n: from P(k+q/2) on the left and P†(k−q/2) on the right
    minus = jnp.moveaxis(r[:, None] - r, -1, 0)
    # [m n, m' n'] = G_mm' G'_n'n
    step_c = step_c + step * (minus[:, :, None, :, None] + minus[:, None, :, None, :])
    value = Sums(bare, right[:, rows, columns].T, left[:, columns, rows], step[rows, columns][:, rows, columns])
    slope = Sums(
        bare_c,
        jnp.transpose((right_c + plus[:, None] * right[1:])[..., rows, columns], (2, 1, 0)),
        jnp.transpose((left_c - plus[:, None] * left[1:])[..., columns, rows], (1, 2, 0)),
        jnp.moveaxis(step_c[:, rows, columns][:, :, rows, columns], 0, -1),
    )
    return value, slope


def _pairs(a: Complex[Array, "... D D K"], b: Complex[Array, "... D D K"]) -> Complex[Array, "... D D D D"]:
    """Σ_k a_mm' b_n'n as [m, n, m', n']."""
    size = a.shape[-2]
    left, right = (x.reshape(*x.shape[:-3], size**2, -1) for x in (a, b))
    both = left @ jnp.swapaxes(right, -1, -2)
    both = both.reshape(*both.shape[:-2], size, size, size, size)  # m m' n' n
    return jnp.moveaxis(both, -1, -3)
