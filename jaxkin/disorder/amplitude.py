"""From a scattering amplitude to the kernels w^S, w^A and w^S δr, order by order.

The algebra is the same in the orbitals of a local impurity and on the points of a surface; what
differs is the spectral density ρ between two scatterings.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Complex

from jaxkin import units
from jaxkin.errors import JaxkinError, nearest
from jaxkin.hamiltonian.linear import solve_alone
from jaxkin.namespace import Number

Order = Literal["born", "third", "tmatrix"]
ORDERS = ("born", "third", "tmatrix")


class Term(NamedTuple):
    """A part Re[c ⟨p|X|p'⟩⟨p|Y|p'⟩*] of w_{pp'} ħ/2πn."""

    factor: complex
    left: Complex[Array, "d d"]
    right: Complex[Array, "d d"]


class Terms(NamedTuple):
    """All parts of w^S and of w^A, and the amplitude T that the coordinate shift belongs to.

    ``unitary`` says whether it is the whole T, which obeys the optical theorem.
    """

    symmetric: tuple[Term, ...]
    antisymmetric: tuple[Term, ...]
    amplitude: Complex[Array, "d d"]
    unitary: bool


def scattering_terms(
    order: Order, potential: Complex[Array, "d d"], reaction: Complex[Array, "d d"], density: Complex[Array, "d d"]
) -> Terms:
    """Kernels of w = (2π/ħ) n |T|², Eqs. (32), (33), to an order in the potential.

    - ``"born"``: T = V, so w^A = 0.
    - ``"third"``: w^S = |V|² and w^A of third order, 2π Im[V*_{pp'} (VρV)_{pp'}].
    - ``"tmatrix"``: T = K (1 + iπρK)⁻¹ with the Hermitian reaction matrix K = (1 − V Re G)⁻¹V, which
      is (1 − VG)⁻¹V for G = Re G − iπρ and satisfies the optical theorem for any K.

    Args:
        order: as above.
        potential: V, Hermitian.
        reaction: K, Hermitian.
        density: ρ = Σ W |p⟩⟨p|, Hermitian.
    """
    if order == "born":
        return Terms((Term(1, potential, potential),), (), potential, False)
    if order == "third":
        second = potential @ density @ potential
        return Terms((Term(1, potential, potential),), (Term(-2j * jnp.pi, second, potential),), potential, False)
    identity = jnp.eye(len(reaction))
    # K(1 + iπρK)⁻¹ = (1 + iπKρ)⁻¹K
    t = solve_alone(identity + 1j * jnp.pi * reaction @ density, reaction)
    back = t.conj().T
    return Terms((Term(0.5, t, t), Term(0.5, back, back)), (Term(0.5, t, t), Term(-0.5, back, back)), t, True)


def golden_rule(density: Number) -> Number:
    """2πn/ħ in 1/(eV ps Å^d)."""
    return 2 * float(jnp.pi) / units.HBAR * density


def optical_theorem(amplitude: Array, scale: Number, rate: Array, forward: Callable[[Array], Array]) -> Array:
    """max |Γ + (2n/ħ) Im T_pp| / max Γ.

    Args:
        amplitude: T.
        scale: 2πn/ħ, see :func:`golden_rule`.
        rate: Γ in 1/ps, (M,).
        forward: (T − T†)/2i → its expectation value Im T_pp in every state, (M,).
    """
    imaginary = (amplitude - amplitude.conj().T) / 2j
    return jnp.max(jnp.abs(rate + scale / jnp.pi * forward(imaginary))) / jnp.max(jnp.abs(rate))


def saturation(amplitude: Array, potential: Array, density: Array | None = None) -> Array:
    """The part of Born scattering that unitarity takes away, s = 1 − Tr[ρTρT†]/Tr[ρVρV].

    Without Re G it is sin²δ = π²v²/(1 + π²v²) in a channel of tan δ = −πv, where v is an eigenvalue of √W V √W;
    s is its mean weighted with v², the channel's part of Born scattering.

    Args:
        amplitude: T.
        potential: V.
        density: ρ, or None for 1.
    """
    if density is None:
        born, whole = (jnp.sum(jnp.abs(one) ** 2) for one in (potential, amplitude))
    else:
        once = potential @ density
        born = jnp.real(jnp.sum(once * once.T))
        whole = jnp.real(jnp.sum((amplitude @ density) * (density @ amplitude).conj()))
    return jnp.where(born > 0, 1 - whole / jnp.where(born > 0, born, 1.0), 0.0)


def check_order(order: str) -> None:
    """Refuse an unknown order.

    Raises:
        JaxkinError: with the nearest name.
    """
    if order not in ORDERS:
        raise JaxkinError(f"order={order!r} is unknown{nearest(order, ORDERS)}; choose one of {', '.join(ORDERS)}.")
