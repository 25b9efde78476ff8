"""The few tensors of a shell that its response in the relaxation-time approximation is made of, and how.

Responses, their derivatives and the tables of fits all take them from here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxkin import units
from jaxkin.disorder.collisions import Collisions, unweighted
from jaxkin.disorder.kernels import Scatterer
from jaxkin.disorder.states import States
from jaxkin.disorder.two_impurities import TwoImpurityScattering
from jaxkin.namespace import AnyArray
from jaxkin.response.observables import LEVI_CIVITA, magnetoelectric

Theory = Literal["complete", "paper"]
"""To the order of the intrinsic part, or without what J. Rou et al. (2017) leave out at that order."""
MECHANISMS = {
    "complete": ("intrinsic", "skew", "side_jump", "nonlocal", "gaussian_skew"),
    "paper": ("intrinsic", "skew", "side_jump"),
}
"""Parts of g."""
CURRENTS = {
    "complete": ("drude", "skew", "side_jump", "gaussian_skew"),
    "paper": ("drude", "skew", "side_jump"),
}
"""Parts of σ that scattering makes."""
POWERS = {"intrinsic": 1, "spin": 1, "skew": 3, "side_jump": 2, "nonlocal": 2, "gaussian_skew": 3}
"""Powers of τ/(1−iωτ) of each mechanism in g, and of the spin's part of the intrinsic, Eqs. (22), (14), (20) ..."""
CURRENT_POWERS = {"drude": 1, "skew": 2, "side_jump": 1, "gaussian_skew": 2}
"""... and in σ."""
MAGNETON = -units.KINETIC_MOMENT / units.BOHR_MAGNETON
"""e v²τ in μ_B for 1 (eV Å)² and 1 ps, for electrons (e = −|e|)."""


class RelaxedSums(eqx.Module):
    """Sums over the points of one shell or, with leading axes, of many.

    Attributes:
        tau: transport time in ps, a number or one for each shell.
        moments: K_ab = Σ W x_a v_b for x = m in μ_B, Q×v and v_sj×v as moments, by mechanism; of nonlocal collisions
            what stands in its place; (..., 3, 3).
        currents: Σ W v_a x_b for x = v, Q and v_sj, of the parts of σ.
    """

    tau: Float[AnyArray, "..."]
    moments: dict[str, Float[AnyArray, "... 3 3"]]
    currents: dict[str, Float[AnyArray, "... 3 3"]]


def relaxed_sums(
    collisions: Collisions,
    two: TwoImpurityScattering | None,
    weight: Array,
    intrinsic: dict[str, Array],
    theory: Theory,
) -> RelaxedSums:
    """The sums of one shell, with thermal weights (M,) and ``intrinsic`` moments, each (M, 3) in μ_B, by name.

    ``two`` is None where scattering by two impurities is not known, and its sums are zero.
    """
    v, q, jump = collisions.velocity, collisions.skew_acceleration, collisions.side_jump_velocity
    w = jnp.asarray(weight)[:, None]
    moments = {
        **{name: (w * moment).T @ v for name, moment in intrinsic.items()},
        "skew": MAGNETON * (w * jnp.cross(q, v)).T @ v,
        "side_jump": MAGNETON * (w * jnp.cross(jump, v)).T @ v,
    }
    currents = {name: (w * v).T @ x for name, x in zip(CURRENTS["paper"], (v, q, jump), strict=True)}
    if theory == "complete":
        left = unweighted(w * v, collisions.weights[:, None])
        moments["nonlocal"] = MAGNETON * magnetoelectric(rotated(collisions.displaced(left, v)))
        turned = jnp.zeros_like(v) if two is None else two.skew(v)
        moments["gaussian_skew"] = MAGNETON * (w * jnp.cross(turned, v)).T @ v
        currents["gaussian_skew"] = (w * v).T @ turned
    return RelaxedSums(tau=collisions.transport_time, moments=moments, currents=currents)


def scattered_sums(scatterer: Scatterer, states: States, theory: Theory) -> RelaxedSums:
    """:func:`relaxed_sums` of one shell's states."""
    moment = {"intrinsic": jnp.asarray(states.orbital_moment)}
    return relaxed_sums(*scatterer.scattering(states), jnp.asarray(states.thermal), moment, theory)


Weigh = Callable[[Array, Array], Array]
"""(coefficient of each frequency, or of each and of each shell; tensors of the shells) → their sum."""


def gyrotropic_parts(sums: RelaxedSums, omega: Array, weigh: Weigh) -> dict[str, Array]:
    """g by mechanism in μ_B eV Å ps times 1/(eV Å^d), Eqs. (10), (74): −i (τ/(1−iωτ))ⁿ (K_ab − δ_ab Tr K)."""
    return {
        name: -1j * weigh(relaxed(sums.tau, omega) ** POWERS[name], traceless(tensor))
        for name, tensor in sums.moments.items()
    }


def conductivity_parts(sums: RelaxedSums, omega: Array, weigh: Weigh) -> dict[str, Array]:
    """σ by mechanism in (eV Å)² ps times 1/(eV Å^d)."""
    return {
        name: weigh(relaxed(sums.tau, omega) ** CURRENT_POWERS[name], _hall(name, tensor))
        for name, tensor in sums.currents.items()
    }


def relaxed(tau: AnyArray, omega: AnyArray) -> Array:
    """τ/(1−iωτ) in ps, (frequency, ...) for τ (...); of an ω that has axes of τ already, with them."""
    w = jnp.asarray(omega)
    w = w.reshape(-1, *(1,) * jnp.ndim(tau)) if w.ndim < 2 else w
    return tau / (1 - 1j * w * tau)


def one_shell(coefficient: Array, tensor: Array) -> Array:
    """To :func:`gyrotropic_parts` and :func:`conductivity_parts` of a single shell: (frequency, 3, 3)."""
    return coefficient[:, None, None] * tensor


def rotated(displaced: Array) -> Array:
    """−½ ε_acd B_bcd of B_bcd = ⟨x_c|D_b|y_d⟩: g_ab = ½ε_cda λ_cdb, Eq. (71), with λ_cdb ∝ B_bcd.

    That it is traceless(K) of K = :func:`magnetoelectric` of itself makes it a part like the others.
    """
    return -0.5 * jnp.einsum("acd,...bcd->...ab", LEVI_CIVITA, displaced)


def traceless(current: AnyArray) -> Array:
    """K_ab − δ_ab Tr K."""
    return current - jnp.trace(current, axis1=-2, axis2=-1)[..., None, None] * jnp.eye(3)


def _hall(name: str, current: Any) -> Array:
    """The part of σ from Σ W v_a x_b: of skew scattering and side jumps what is antisymmetric counts."""
    if name == "drude":
        return current
    return (1.0 if name == "side_jump" else 0.5) * antisymmetric(current)


def antisymmetric(current: Array) -> Array:
    """K_ab − K_ba."""
    return current - jnp.swapaxes(current, -1, -2)
