"""Everything linear response needs of one shell, with R = 1/(ω+i/τ) or with the exact R, as one compiled function."""

from __future__ import annotations

from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from jaxkin.compilation import compiled_for
from jaxkin.disorder.collisions import Collisions, unweighted
from jaxkin.disorder.kernels import Scatterer
from jaxkin.disorder.states import States
from jaxkin.disorder.two_impurities import TwoImpurityScattering
from jaxkin.errors import JaxkinError, nearest
from jaxkin.namespace import AnyArray
from jaxkin.response.krylov import Solutions
from jaxkin.response.observables import LEVI_CIVITA
from jaxkin.response.resolvent import Method, Resolvent
from jaxkin.response.sums import (
    MAGNETON,
    MECHANISMS,
    Theory,
    antisymmetric,
    conductivity_parts,
    gyrotropic_parts,
    one_shell,
    relaxed_sums,
    rotated,
    traceless,
)
from jaxkin.response.vanishing import Vanishing
from jaxkin.shelf import Arrays

Solver = Literal["rta", "exact"]
SkewOrder = Literal["first", "all"]
SOLVERS, SKEW_ORDERS = ("rta", "exact"), ("first", "all")

SLOW = 1e-6
"""v_sj over v that does not matter."""

Parts = dict[str, Complex[AnyArray, "frequency 3 3"]]


class Measures(eqx.Module):
    """How well a shell obeys what it must; numbers.

    Attributes:
        flux: |∫(dp') w^A δ| relative to ∫(dp') |w^A| δ.
        lost: Σ w v_a ∫(dp') w^A δ, which vanishes with it.
        spread: √(Σ W²)/Σ W: one over the root of the number of points.
        optical_theorem: its relative violation; None without an imaginary part of T.
        saturation: the part of Born scattering that unitarity takes away; None unless T leaves out Re G.
        coarseness: the part of scattering that is from a point to itself.
        reversal: Σ w (Rv)_a v_c (Rv)_b, λ_abc + λ_bac in zeroth order in w^A, which time reversal forbids.
        continuity: |⟨1|D_c|v_b⟩ + ⟨v_sj,c|v_b⟩|, relative: electrons that jump leave one place and arrive at another.
        residual: of the linear solves, relative.
    """

    flux: Float[AnyArray, "..."]
    lost: Vanishing
    spread: Float[AnyArray, "..."]
    optical_theorem: Float[AnyArray, "..."] | None
    saturation: Float[AnyArray, "..."] | None
    coarseness: Float[AnyArray, "..."]
    reversal: Vanishing
    continuity: Float[AnyArray, "..."]
    residual: Float[AnyArray, "..."]


class ShellResponse(eqx.Module):
    """One shell's part of the responses, tensors (frequency, 3, 3) before the factors of the units.

    Attributes:
        gyrotropic: parts of g in μ_B eV Å ps times 1/(eV Å^d).
        conductivity: parts of σ in (eV Å)² ps times 1/(eV Å^d).
        tau: transport time in ps.
        skew_acceleration, side_jump_velocity: Q in eV Å / ps and v_sj in eV Å of its states, (M, 3).
        measures: diagnostics.
    """

    gyrotropic: Parts
    conductivity: Parts
    tau: Float[AnyArray, "..."]
    skew_acceleration: Float[AnyArray, "M 3"]
    side_jump_velocity: Float[AnyArray, "M 3"]
    measures: Measures

    @property
    def residual(self) -> Float[AnyArray, "..."]:
        """Of the linear solves, relative."""
        return self.measures.residual


def packed(part: ShellResponse) -> Arrays:
    """Its arrays, named by their place: ``"measures/lost/values"``; what is None is left out."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(part)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): np.asarray(leaf) for path, leaf in leaves}


def unpacked(arrays: Arrays) -> ShellResponse:
    """What :func:`packed` was given."""
    tree: dict[str, Any] = {}
    for path, one in arrays.items():
        *above, name = path.split("/")
        here = tree
        for branch in above:
            here = here.setdefault(branch, {})
        here[name] = one
    measures = dict.fromkeys(Measures.__dataclass_fields__) | tree.pop("measures")
    vanishing = {name: Vanishing(**measures[name]) for name in ("lost", "reversal")}
    return ShellResponse(**tree, measures=Measures(**measures | vanishing))


def check_solver(solver: str, skew: str, theory: str) -> None:
    """Refuse an unknown solver, order or theory.

    Raises:
        JaxkinError: with the nearest name.
    """
    given = (("solver", solver, SOLVERS), ("skew_order", skew, SKEW_ORDERS), ("theory", theory, tuple(MECHANISMS)))
    for name, value, choices in given:
        if value not in choices:
            raise JaxkinError(f"{name}={value!r} is unknown{nearest(value, choices)}; choose {' or '.join(choices)}.")
    if solver == "rta" and skew == "all":
        raise JaxkinError("skew_order='all' needs solver='exact'; the relaxation-time formulas are of first order.")


def shell_response(
    collisions: Collisions,
    two: TwoImpurityScattering | None,
    weight: Array,
    moment: Array,
    omega: Array,
    solver: Solver = "rta",
    skew: SkewOrder = "first",
    theory: Theory = "complete",
    method: Method = "krylov",
    columns: int = 288,
    spin: Array | None = None,
) -> ShellResponse:
    """Everything linear response needs of one shell.

    With ⟨a|O|b⟩ = ∫(dp) f⁰' a O b, R = (ω+iL)⁻¹, R̃ = (ω+iL−iA)⁻¹:

    - σ_ab = −ie²⟨v_a|R̃|v_b⟩ and −ie²[⟨v_a|R|v_sj,b⟩ − ⟨v_sj,a|R|v_b⟩];
    - λ^int_abc = e[ε_acd⟨m_d|R|v_b⟩ − ε_bcd⟨m_d|R|v_a⟩], that is g_ab = e(K_ab − δ_ab Tr K) with
      K_ab = ⟨m_a|R|v_b⟩;
    - λ^sk_abc = −ie²⟨v_a|R̃ v_c R̃|v_b⟩ antisymmetrised in (a, b);
    - λ^sj_abc = −ie²[⟨v_a|R v_c R|v_sj,b⟩ − ⟨v_sj,a|R v_c R|v_b⟩], and g_ab = ½ε_cda λ_cdb, Eq. (71);
    - λ^nl_abc = −ie²⟨v_a|R D_c R|v_b⟩ of nonlocal collisions, :meth:`Collisions.displaced`;
    - Gaussian skew scattering as λ^sk and σ^sk of first order, with the A of :class:`TwoImpurities`.

    Args:
        collisions: the shell.
        two: its scattering by two impurities, if that is known; else the Gaussian part is zero.
        weight: (M,) thermal weights, −f⁰'.
        moment: intrinsic moments (M, 3) in μ_B.
        omega: angular frequencies in 1/ps.
        solver: ``"rta"`` replaces R by 1/(ω+i/τ), Eqs. (10), (59), (67); ``"exact"`` solves.
        skew: first order in w^A, or ``"all"`` (exact solver only).
        theory: ``"paper"`` leaves out the last two.
        method, columns: of the exact solver, as for :class:`Resolvent`.
        spin: the part of the moments that is spin's, (M, 3) in μ_B; what it makes is ``gyrotropic["spin"]``, which is
            in the intrinsic part too.
    """
    weight, moment, omega = map(jnp.asarray, (weight, moment, omega))
    moments = {"intrinsic": moment, **({} if spin is None else {"spin": spin})}
    respond = _relaxed if solver == "rta" else _exact
    return respond(collisions, two, weight, moments, omega, theory, skew, method, columns)


def scattered_response(scatterer: Scatterer, states: States, omega: Array, *options: Any) -> ShellResponse:
    """:func:`shell_response` of one shell's states."""
    weights = (jnp.asarray(states.thermal), jnp.asarray(states.orbital_moment))
    spin = jnp.asarray(states.spin_moment)
    return shell_response(*scatterer.scattering(states), *weights, omega, *options, spin=spin)


_compiled = compiled_for(scattered_response)


def compiled_response(scatterer: Scatterer, states: States, omega: Array, *options: Any) -> ShellResponse:
    """:func:`scattered_response`, compiled."""
    return _compiled(len(states), scatterer, states, omega, *options)


def _relaxed(
    collisions: Collisions,
    two: TwoImpurityScattering | None,
    weight: Array,
    moments: dict[str, Array],
    omega: Array,
    theory: Theory,
    *_: Any,
) -> ShellResponse:
    sums, v = relaxed_sums(collisions, two, weight, moments, theory), collisions.velocity
    return ShellResponse(
        gyrotropic_parts(sums, omega, one_shell),
        conductivity_parts(sums, omega, one_shell),
        sums.tau,
        collisions.skew_acceleration,
        collisions.side_jump_velocity,
        _measures(collisions, theory, weight, v, jnp.zeros(())),
    )


def _exact(
    collisions: Collisions,
    two: TwoImpurityScattering | None,
    weight: Array,
    moments: dict[str, Array],
    omega: Array,
    theory: Theory,
    skew: SkewOrder,
    method: Method,
    columns: int,
) -> ShellResponse:
    collisions = collisions.for_solving()
    solve = Resolvent(collisions, omega, method, columns)
    v, w, start = collisions.velocity, weight[:, None], solve.velocity()
    x, z, *gaussian = solve.first_order(start, [] if two is None else [two.skew])  # R v, and R iA R v of each
    s = solve.even(solve.scaled(collisions.side_jump_velocity))
    solved = [x, s]

    def crossed(left: Solutions, right: Solutions) -> Array:
        """Σ w (left × right)_a v_b, (frequency, a, b)."""
        planes = jnp.stack([solve.bracket(left, weight * v[:, b], right) for b in range(3)], axis=-1)
        return jnp.einsum("acd,fcdb->fab", LEVI_CIVITA, planes)

    if skew == "first":
        skewed = crossed(z, x)
        hall = solve.project(w * v, z)
    else:
        forward, backward = solve.skewed(start, 1), solve.skewed(start, -1)
        solved += [forward, backward]
        skewed = -0.5 * crossed(backward, forward)
        hall = solve.project(w * v, forward)
    jumped = solve.project(w * v, s)
    parts = {
        **{name: traceless(solve.project(w * moment, x)) for name, moment in moments.items()},
        "skew": 1j * MAGNETON * skewed,
        "side_jump": 1j * MAGNETON * crossed(s, x),
    }
    currents = {
        "skew": 0.5j * antisymmetric(hall),
        # ⟨v_sj,a|R|v_b⟩ = ⟨v_b|R|v_sj,a⟩, as L is symmetric under ⟨·|·⟩
        "side_jump": 1j * antisymmetric(jumped),
    }
    if theory == "complete":
        parts["nonlocal"] = 1j * MAGNETON * rotated(solve.displaced(weight, x))
        parts["gaussian_skew"] = sum((1j * MAGNETON * crossed(y, x) for y in gaussian), jnp.zeros_like(skewed))
        turned = sum((solve.project(w * v, y) for y in gaussian), jnp.zeros_like(hall))
        currents["gaussian_skew"] = 0.5j * antisymmetric(turned)
    drude = 1j * solve.project(w * v, x)
    static = jnp.argmin(jnp.abs(omega))
    residual = jnp.max(jnp.stack([one.residual for one in solved]))
    path = jnp.real(1j * unweighted(x.at(static), solve.root))
    return ShellResponse(
        parts,
        {"drude": drude, **currents},
        jnp.real(jnp.trace(drude[static])) / jnp.sum(w * v * v),
        collisions.skew_acceleration,
        collisions.side_jump_velocity,
        _measures(collisions, theory, weight, path, residual),
    )


def _measures(collisions: Collisions, theory: Theory, weight: Array, path: Array, residual: Array) -> Measures:
    """Of a shell with mean free paths R v, (M, 3), in any unit."""
    w = collisions.weights
    found = Measures(
        flux=collisions.flux_violation,
        lost=_lost(collisions, weight),
        spread=jnp.linalg.norm(w) / jnp.maximum(jnp.abs(jnp.sum(w)), 1e-300),
        optical_theorem=collisions.optical_theorem,
        saturation=collisions.saturation,
        coarseness=collisions.coarseness(path),
        reversal=_reversal(path, collisions.velocity, weight),
        continuity=_continuity(collisions) if theory == "complete" else jnp.zeros(()),
        residual=residual,
    )
    return jax.lax.stop_gradient(found)


def _lost(collisions: Collisions, weight: Array) -> Vanishing:
    v = collisions.velocity
    speed = jnp.linalg.norm(v, axis=1)
    return Vanishing((weight * collisions.lost) @ v, jnp.sum(jnp.abs(weight) * speed) * collisions.antisymmetric_size)


def _reversal(path: Array, v: Array, weight: Array) -> Vanishing:
    squares, speed = jnp.sum(path**2, axis=1), jnp.linalg.norm(v, axis=1)
    sums = jnp.einsum("ia,ic,ib->abc", weight[:, None] * path, v, path)
    return Vanishing(sums.ravel(), jnp.sum(jnp.abs(weight) * squares * speed))


def _continuity(collisions: Collisions) -> Array:
    v, jump, w = collisions.velocity, collisions.side_jump_velocity, collisions.weights[:, None]
    gained = collisions.displaced(jnp.ones_like(w), v)[:, 0]
    speed, moved = (jnp.linalg.norm(x, axis=1, keepdims=True) for x in (v, jump))
    size = jnp.sum(jnp.abs(w) * speed * jnp.maximum(moved, SLOW * speed))
    return jnp.max(jnp.abs(gained + (w * jump).T @ v)) / jnp.maximum(size, 1e-300)
