"""g(ω) and σ(ω) as JAX functions of the model, μ, T and the disorder's parameters, for their derivatives."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float
from numpy.typing import ArrayLike

from jaxkin import units
from jaxkin.disorder import Disorder, RelaxationTime
from jaxkin.errors import JaxkinError
from jaxkin.geometry import BandGeometry
from jaxkin.hamiltonian.bloch import BlochModel
from jaxkin.namespace import is_traced
from jaxkin.response.boltzmann import MAGNETON, SkewOrder, Solver, check_solver
from jaxkin.response.observables import LEVI_CIVITA
from jaxkin.response.traced import traced_parts
from jaxkin.surface.frozen import FrozenSurface, Nodes

Tensors = dict[str, Complex[Array, "replicas frequency 3 3"]]


def gyrotropic_tensor(
    frozen: FrozenSurface,
    disorder: Disorder,
    frequency: ArrayLike = (0.0,),
    solver: Solver = "rta",
    *,
    skew_order: SkewOrder = "first",
    model: BlochModel | None = None,
    fermi_level: ArrayLike | None = None,
    temperature: ArrayLike | None = None,
) -> Tensors:
    """:func:`jaxkin.gyrotropic_response`, g of Eqs. (10), (74), differentiable in all arguments.

    The kernels of :class:`RelaxationTime` are polynomials of the states' directions, so that Q, Eq. (12), and v_sj,
    Eq. (18), follow from a few sums over each shell. Of any other disorder the kernels are made as
    :func:`jaxkin.gyrotropic_response` makes them, from states and a Green function that follow the model and μ.

    Args:
        frozen: from :func:`jaxkin.freeze`.
        disorder: any; its numbers, as τ, an impurity's potential, strength and density, may be what JAX differentiates.
        frequency: f = ω/2π in THz.
        solver: ``"rta"``, or ``"exact"``, with the collision operator as a matrix.
        skew_order: ``"first"`` order in w^A, or ``"all"`` (exact solver only).
        model, fermi_level, temperature: as in :meth:`FrozenSurface.integrate`.

    Returns:
        g in S (in 2D: S m) by mechanism, (replicas, frequency, 3, 3), keys as in :class:`GyrotropicResponse`.

    Raises:
        JaxkinError: a thermal lattice with any disorder but RelaxationTime, or with another model where that has
            ``tau_skew`` or ``side_jump``; matrices beyond the memory budget; a form factor whose own parameters are
            differentiated.

    >>> import jax, jaxkin as jk
    >>> surface = jk.fermi_surface(jk.models.get("kramers-weyl-d4"), -1.2, sampler=jk.Lines(8), replicas=2)
    >>> frozen = jk.freeze(surface)
    >>> g_zz = lambda disorder: jk.gyrotropic_tensor(frozen, disorder)["total"].mean(0)[0, 2, 2].imag
    >>> slope = jax.jit(jax.grad(g_zz))(jk.RelaxationTime(tau=1.0, tau_skew=50.0))
    >>> float(slope.tau_skew) != 0
    True
    """
    unit = 1e-12 * units.moment_velocity_density(frozen.model.dimension) * units.ELEMENTARY_CHARGE
    if not isinstance(disorder, RelaxationTime) or solver != "rta":
        parts = traced_parts(frozen, disorder, frequency, solver, skew_order, model, fermi_level, temperature)[0]
        parts = {name: unit * part for name, part in parts.items()}
        return {**parts, "total": sum(parts.values(), jnp.zeros(()))}
    check_solver(solver, skew_order)
    sums, relaxed = _sums(frozen, disorder, model, fermi_level, temperature), _relaxed(disorder, frequency)
    moments = {
        "intrinsic": (1, sums.moment),
        "skew": (3, MAGNETON * jnp.einsum("acd,scdb->sab", LEVI_CIVITA, sums.skewed)),
        "side_jump": (2, MAGNETON * jnp.einsum("acd,scdb->sab", LEVI_CIVITA, sums.jumped)),
    }
    parts = {
        name: -1j * unit * relaxed**power * _traceless(frozen.by_replica(shells))[:, None]
        for name, (power, shells) in moments.items()
    }
    return {**parts, "total": sum(parts.values(), jnp.zeros(()))}


def conductivity_tensor(
    frozen: FrozenSurface,
    disorder: Disorder,
    frequency: ArrayLike = (0.0,),
    solver: Solver = "rta",
    *,
    skew_order: SkewOrder = "first",
    model: BlochModel | None = None,
    fermi_level: ArrayLike | None = None,
    temperature: ArrayLike | None = None,
) -> Tensors:
    """The parts of :func:`jaxkin.conductivity` that are made at the Fermi surface, differentiable in all arguments.

    Arguments as for :func:`gyrotropic_tensor`. The intrinsic part, an integral over the filled states, is
    left out.

    Returns:
        σ in S/m (in 2D: S), (replicas, frequency, 3, 3), keys ``drude``, ``skew`` and ``side_jump``.

    Raises:
        JaxkinError: as :func:`gyrotropic_tensor`.

    >>> import jax, jaxkin as jk
    >>> surface = jk.fermi_surface(jk.models.get("helical-isotropic"), 0.5, sampler=jk.Lines(24), replicas=2)
    >>> frozen = jk.freeze(surface)
    >>> drude = lambda mu: jk.conductivity_tensor(
    ...     frozen, jk.RelaxationTime(1.0), fermi_level=mu
    ... )["drude"].mean(0)[0, 0, 0].real
    >>> round(float(0.5 * jax.jit(jax.grad(drude))(0.5) / drude(0.5)), 2)  # σ ∝ n ∝ μ^{3/2}
    1.5
    """
    unit = 1e-12 * units.velocity_velocity_density(frozen.model.dimension) * units.ELEMENTARY_CHARGE**2
    if not isinstance(disorder, RelaxationTime) or solver != "rta":
        parts = traced_parts(frozen, disorder, frequency, solver, skew_order, model, fermi_level, temperature)[1]
        return {name: unit * part for name, part in parts.items()}
    check_solver(solver, skew_order)
    sums, relaxed = _sums(frozen, disorder, model, fermi_level, temperature), _relaxed(disorder, frequency)
    parts = {
        "drude": (1, sums.drude),
        "skew": (2, _antisymmetric(0.5 * sums.skew_current)),
        "side_jump": (1, _antisymmetric(sums.jump_current)),
    }
    return {name: unit * relaxed**power * frozen.by_replica(shells)[:, None] for name, (power, shells) in parts.items()}


class _Sums(eqx.Module):
    """Sums over the points of every shell, thermally weighted, (shells, ...)."""

    moment: Array
    """Σ m_a v_b."""
    drude: Array
    """Σ v_a v_b."""
    skewed: Array
    """Σ Q_c v_d v_b for the part of Q that is not along v."""
    jumped: Array
    """Σ v_sj,c v_d v_b."""
    skew_current: Array
    """Σ v_a Q_b but for what is symmetric."""
    jump_current: Array
    """Σ v_a v_sj,b."""


class _Directions(eqx.Module):
    """Products of a state's direction e, r = z×e and its velocity."""

    basis: Float[Array, "d 3"]
    axis: tuple[float, float, float] = eqx.field(static=True)
    momentum: bool = eqx.field(static=True)

    def __call__(self, k: Array, geometry: BandGeometry) -> dict[str, Any]:
        v, z = geometry.velocity, jnp.array(self.axis)
        e = _unit(k @ self.basis if self.momentum else v)
        along, r = z @ e, jnp.cross(z, e)
        weighted = jnp.stack([jnp.ones_like(along), along])  # each with and without z·e
        return {
            "number": jnp.ones(()),
            "moment": geometry.orbital_moment[:, None] * v,
            "e": weighted[:, None] * e,
            "ev": weighted[:, None, None] * e[:, None] * v,
            "v": weighted[:, None] * v,
            "vv": weighted[:, None, None] * v[:, None] * v,
            "rv": weighted[:, None, None] * r[:, None] * v,
            "rvv": weighted[:, None, None, None] * r[:, None, None] * v[:, None] * v,
        }


def _sums(frozen: FrozenSurface, disorder: RelaxationTime, model, fermi_level, temperature) -> _Sums:
    """The sums that both tensors are made of.

    With A = Σ_j W_j e_j, A' = Σ_j W_j (z·e_j) e_j and B, B' the same times v_j, r = z×e, for p' → p:

    Q_p = −(1/ντ_sk) r_p·[(z·e_p) B + B'] + ... v_p, from Eq. (11), and
    v_sj = (ħa_sj/ντ) [ν (z·e_p) r_p + (z·A) r_p − (z·e_p) z×A − z×A'], from Eq. (17).
    """
    model = model or frozen.model
    momentum = disorder.direction == "momentum"
    if isinstance(frozen.points, Nodes) and model is not frozen.model and _elastic(disorder):
        raise JaxkinError(
            "skew scattering and side jumps on a thermal lattice are not differentiated in the model: its points stay "
            "in their bins of energy; sample the surface with Lines, or leave out tau_skew and side_jump."
        )
    if momentum and model.periodic:
        raise JaxkinError("direction='momentum' has no meaning in a crystal; use direction='velocity'.")
    directions = _Directions(model.basis, disorder.axis, momentum)
    elastic, thermal = frozen.shell_sums(directions, model, fermi_level, temperature)
    z, states = jnp.array(disorder.axis), elastic["number"]
    a, ev = (elastic[name] / states.reshape(-1, *(1,) * rank) for name, rank in (("e", 2), ("ev", 3)))  # over ν
    skew = 0.0 if disorder.tau_skew is None else -1 / jnp.asarray(disorder.tau_skew)
    jump = units.HBAR * jnp.asarray(disorder.side_jump) / disorder.tau
    rv, rvv = thermal["rv"], thermal["rvv"]
    across = jnp.cross(z, a)  # z×A, z×A'
    return _Sums(
        moment=thermal["moment"],
        drude=thermal["vv"][:, 0],
        # pairs (z·e_p, 1) of the state with (1, z·e_j) of the others
        skewed=skew * jnp.einsum("swidb,swic->scdb", rvv[:, ::-1], ev),
        jumped=jump
        * (
            rvv[:, 1]
            + (a[:, 0] @ z)[:, None, None, None] * rvv[:, 0]
            - jnp.einsum("swc,swdb->scdb", across, thermal["vv"][:, ::-1])
        ),
        skew_current=skew * jnp.einsum("swia,swib->sab", rv[:, ::-1], ev),
        jump_current=jump
        * (
            jnp.swapaxes(rv[:, 1] + (a[:, 0] @ z)[:, None, None] * rv[:, 0], 1, 2)
            - jnp.einsum("swa,swb->sab", thermal["v"][:, ::-1], across)
        ),
    )


def _elastic(disorder: RelaxationTime) -> bool:
    """Whether averages over states of one energy are needed."""
    return disorder.tau_skew is not None or is_traced(disorder.side_jump) or bool(np.any(disorder.side_jump))


def _relaxed(disorder: RelaxationTime, frequency: ArrayLike) -> Complex[Array, "frequency 1 1"]:
    """τ/(1−iωτ) in ps."""
    omega = 2 * jnp.pi * jnp.atleast_1d(jnp.asarray(frequency, float))
    return (disorder.tau / (1 - 1j * omega * disorder.tau))[:, None, None]


def _unit(vector: Float[Array, "3"]) -> Float[Array, "3"]:
    square = vector @ vector
    return vector / jnp.sqrt(jnp.where(square == 0, 1.0, square))


def _traceless(current: Array) -> Array:
    """K_ab − δ_ab Tr K."""
    return current - jnp.trace(current, axis1=-2, axis2=-1)[..., None, None] * jnp.eye(3)


def _antisymmetric(current: Array) -> Array:
    return current - jnp.swapaxes(current, -1, -2)
