"""A displacement of k into the complex that keeps the poles of (ε + i0 − H)⁻¹ away from the integrand.

∫dk F(k) = ∫dk det(1 + i∂h) F(k + ih(k)) for an analytic F and a smooth real h, if no pole is crossed on
the way. With Φ(k) = Tr X(H(k)), X' = χ a bump round ε, and

    h = −α g/(1 + |g|²/s²),   g = ∇Φ = Σ_n χ(ε_n) v_n,

Im(ε − ε_n(k + ih)) ≈ −h·v_n = α χ v² is positive wherever a band meets ε, as +i0 asks for: no width has to go
to zero, and a rule for smooth functions converges geometrically. The Jacobian needs the Hessian of Φ,

    ∂_i∂_jΦ = Σ_nm [χ(ε_n) − χ(ε_m)]/(ε_n − ε_m) (∂_iH)_nm (∂_jH)_mn + Tr χ(H) ∂_i∂_jH,

which is invariant under the gauge and finite where bands touch (Duchemin et al., arXiv:2204.07063, use the
same displacement on uniform grids).
"""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import erf
from jaxtyping import Array

from jaxkin.hamiltonian.bloch import BlochModel
from jaxkin.hamiltonian.eigensolvers import batched_eigensystems
from jaxkin.surface.continuation import continued, hessian_trace, slopes
from jaxkin.surface.search import Pocket

STRENGTH = 0.5
"""α ⟨v²⟩ over the depth: in a parabola, k + ih = k (1 − i/4)."""
WIDTH = 0.6
"""Width of the flanks of χ over that depth."""
SATURATION = 4.0
"""s over the root mean square velocity."""
REACH = 8.0
"""Widths beyond which χ is zero to rounding."""
SAMPLE = 256
"""Points of every pocket that the depth, the velocity and the check are taken from."""
SLACK = 1e-3
"""Displacement to the wrong side, over the depth, that is called a crossing."""
EDGE = 8
"""In a k·p box h_i is multiplied with 1 − x_i^8, which vanishes on the faces x_i = ±1."""


class Deformation(eqx.Module):
    """The displacement for levels from ``low`` to ``high`` (eV).

    Attributes:
        depth: distance in eV from the levels to the farther end of the bands in a pocket.
        speed: root mean square velocity in eV Å.
    """

    low: np.ndarray = eqx.field(converter=np.asarray)  # arrays, so that no value compiles anew
    high: np.ndarray = eqx.field(converter=np.asarray)
    depth: np.ndarray = eqx.field(converter=np.asarray)
    speed: np.ndarray = eqx.field(converter=np.asarray)

    def shallower(self) -> Deformation:
        return Deformation(self.low, self.high, 0.5 * self.depth, self.speed)

    def within(self, strip: float) -> Deformation:
        """With |h| = depth/speed at most ``strip`` (Å⁻¹)."""
        return Deformation(self.low, self.high, np.minimum(self.depth, strip * self.speed), self.speed)

    def reaches(self, energies: np.ndarray) -> np.ndarray:
        """Which of (N, n) energies have a part in the displacement: k where none has stay real."""
        margin = (REACH + 2) * WIDTH * self.depth
        return (energies > self.low - margin) & (energies < self.high + margin)


def find_deformation(model: BlochModel, pockets: list[Pocket], low: float, high: float) -> Deformation | None:
    """The displacement that suits the pockets, which may hold a level in [low, high]; None if none does."""
    found = []
    for pocket, k in zip(pockets, _samples(pockets), strict=True):
        bands = list(pocket.bands)
        states = _states(model, k)
        energies, speeds = np.asarray(states[0])[:, bands], np.asarray(_speeds(model, k, states[1]))[:, bands]
        found.append((min(energies.max() - low, high - energies.min()), energies, speeds))
    depths = [depth for depth, *_ in found if depth > 0]
    if not depths:
        return None
    # small and large pockets share one scale: what is too wide for the former costs less than the reverse
    depth = np.sqrt(min(depths) * max(depths))
    squares, total = 0.0, 0.0
    for _, energies, speeds in found:
        weight = np.exp(-(((energies - np.clip(energies, low, high)) / (0.5 * depth)) ** 2))
        squares, total = squares + np.sum(weight * speeds**2), total + np.sum(weight)
    return Deformation(low, high, depth, np.sqrt(squares / total))


def crosses(model: BlochModel, deformation: Deformation, pockets: list[Pocket]) -> bool:
    """Whether an eigenvalue of H(k + ish) comes to the wrong side of the levels on the way, s = ⅓, ⅔, 1."""
    for k in _samples(pockets):
        states = _states(model, k)
        for part in np.array([1 / 3, 2 / 3, 1.0])[:, None]:
            values = np.linalg.eigvals(np.asarray(_on_the_way(model, deformation, k, *states, part)))
            distance = np.abs(values.real - np.clip(values.real, deformation.low, deformation.high))
            if np.any(values.imag - distance > SLACK * deformation.depth):
                return True
    return False


@eqx.filter_jit
def displaced(model: BlochModel, deformation: Deformation, k: Array, energies: Array, states: Array, count: int):
    """κ = k + ih (K, d), det(1 + i∂h) (K,), H̃(κ) (K, n, n), and by how much a level goes to the wrong side (K,).

    ``count``: how many bands have a part in it (:meth:`Deformation.reaches`), at most.
    """

    def one(point, bands, vectors):
        h, jacobian, wrong = _displacement(model, deformation, point, bands, vectors, count)
        kappa = point + 1j * h
        return kappa, jnp.linalg.det(jnp.eye(len(point)) + 1j * jacobian), continued(model, kappa), wrong

    return jax.vmap(one)(k, energies, states)


def _displacement(model: BlochModel, deformation: Deformation, k: Array, energies: Array, states: Array, count: int):
    """h (d,), ∂_jh_i (d, d) and the worst wrong-sided level, of the ``count`` bands next to the levels.

    χ is zero for the others: they are in the Hessian as partners of these only.
    """
    d, low, high = deformation, deformation.low, deformation.high
    width, alpha, limit = WIDTH * d.depth, STRENGTH * d.depth / d.speed**2, SATURATION * d.speed
    distance = jnp.abs(energies - jnp.clip(energies, low, high))
    near = jnp.argsort(distance)[:count]
    v = states.conj().T @ (slopes(model, k) @ states[:, near])  # ⟨m|∂_iH|n⟩, (d, n, count)
    up, down = (energies - low) / width + 2, (energies - high) / width - 2
    chi = 0.5 * (erf(up) - erf(down))
    slope = (jnp.exp(-(up**2)) - jnp.exp(-(down**2))) / (jnp.sqrt(jnp.pi) * width)
    gap = energies[:, None] - energies[near]
    apart = jnp.abs(gap) > 1e-5 * width
    quotient = (chi[:, None] - chi[near]) / jnp.where(apart, gap, 1.0)
    quotient = jnp.where(apart, quotient, 0.5 * (slope[:, None] + slope[near]))
    twice = jnp.full(len(energies), 2.0).at[near].set(1.0)  # a pair of two of them is there in both orders
    weighted = (twice[:, None] * quotient) * v
    velocity = jnp.real(v[:, near, jnp.arange(count)])  # (d, count)
    bump = (states[:, near] * chi[near]) @ states[:, near].conj().T
    hessian = hessian_trace(model, k, bump) + jnp.real(jnp.einsum("imn,jmn->ij", weighted, v.conj()))
    metric = model.dual @ model.dual.T  # Cartesian length of a gradient
    gradient = velocity @ chi[near]
    raised = metric @ gradient
    damping = 1 / (1 + gradient @ raised / limit**2)
    h = -alpha * damping * raised
    jacobian = -alpha * damping * (metric @ hessian - 2 * damping / limit**2 * jnp.outer(raised, raised @ hessian))
    if not model.periodic:
        lo, hi = jnp.array(model.zone).T
        x = (2 * k - lo - hi) / (hi - lo)
        jacobian = (1 - x**EDGE)[:, None] * jacobian - jnp.diag(EDGE * x ** (EDGE - 1) * 2 / (hi - lo) * h)
        h = (1 - x**EDGE) * h
    return h, jacobian, jnp.max(h @ velocity - distance[near])


def _samples(pockets: list[Pocket]) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [pocket.origin + pocket.edges * rng.random((SAMPLE, len(pocket.edges))) for pocket in pockets]


def _states(model: BlochModel, k: np.ndarray) -> tuple[Array, Array]:
    """Energies and states of H̃ at real k; raises where they are not found, as no level is then no answer."""
    return batched_eigensystems(hamiltonians(model, k))


@eqx.filter_jit
def hamiltonians(model: BlochModel, k: Array | np.ndarray) -> Array:
    """H̃ (K, n, n) at real k, in the periodic gauge."""
    return jax.vmap(lambda point: continued(model, point))(k)


@eqx.filter_jit
def _speeds(model: BlochModel, k: Array | np.ndarray, states: Array) -> Array:
    """|v_n| in eV Å, (K, n)."""

    def one(point, states):
        v = jnp.real(jnp.einsum("mb,imn,nb->ib", states.conj(), slopes(model, point), states))
        return jnp.linalg.norm(model.dual.T @ v, axis=0)

    return jax.vmap(one)(k, states)


@eqx.filter_jit
def _on_the_way(
    model: BlochModel, deformation: Deformation, k: Array | np.ndarray, energies: Array, states: Array, part: np.ndarray
) -> Array:
    def one(point, energies, states):
        h = _displacement(model, deformation, point, energies, states, model.size)[0]
        return continued(model, point + 1j * part * h)

    return jax.vmap(one)(k, energies, states)
