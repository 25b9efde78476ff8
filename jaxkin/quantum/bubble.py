"""Two averaged Green functions with the ladder between them, at q → 0 and in first order of q."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex

from jaxkin.memory import demand
from jaxkin.quantum.averaged import Dressed, SelfEnergy, Zone
from jaxkin.quantum.scatterers import Scatterers

SLOW = 0.5
"""An eigenvalue of 1 − MΛ, about ωτ, below which the density's own equation is imposed."""


class Sums(NamedTuple):
    """Sums over k of what the ladder is made of; p pairs of located orbitals, 4 vertices (density, current).

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
    those of the sums only, which are taken by forward differentiation:
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
    x = np.linalg.solve(ladder, driven)[:count]
    w = np.linalg.solve(ladder.T, measured.T)[:count].T
    k0 = value.bare + value.left @ line @ x
    dk = (
        slope.bare
        + np.einsum("apc,pb->abc", slope.left, line @ x)
        + np.einsum("ap,pqc,qb->abc", w, slope.step, line @ x, optimize=True)
        + np.einsum("ap,pbc->abc", w, slope.right)
    )
    return Correlation(k0[1:, 1:], dk[1:, 1:], _ward(value, scatterers, energies, selves))


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
    """The sums of one tile and their derivatives by q, whose index is the last."""

    def both(q: Array) -> tuple[Sums, Sums]:
        found = _sums_at(dressed, pairs, k, weights, z, s, q)
        return found, found

    slope, value = jax.jacfwd(both, has_aux=True)(jnp.zeros(3))
    return value, slope


def _sums_at(dressed: Dressed, pairs: Any, k: Array, weights: Array, z: Any, s: Any, q: Array) -> Sums:
    half = 0.5 * (dressed.model.dual @ q)
    rows, columns = pairs

    def one(point: Complex[Array, " d"], weight: Array):
        ends = jnp.stack([point + half, point - half])
        p, p_ = jax.vmap(dressed.projector)(ends)
        # both inverted as one batch: two in one compiled function can wait for each other's threads for ever
        g, g_ = jax.vmap(dressed.green)(ends, z, s)
        g = weight * g
        measured, driven = (dressed.currents(point, q, side) for side in (-1, 1))
        forth, back = g @ driven @ g_, g_ @ measured @ g
        bare = jnp.einsum("aij,bji->ab", measured, forth)
        right = (p @ forth @ p_.conj().T)[:, rows, columns]
        left = (p_ @ back @ p.conj().T)[:, columns, rows]
        return bare, right, left, p @ g @ p.conj().T, p_ @ g_ @ p_.conj().T

    bare, right, left, a, b = jax.vmap(one)(k, weights)
    step = jnp.einsum("kij,klm->imjl", a, b)  # [m n, m' n'] = G_mm' G'_n'n
    step = step[rows, columns][:, rows, columns]
    return Sums(bare.sum(0), right.sum(0).T, left.sum(0), step)
