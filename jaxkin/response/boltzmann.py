"""The brackets ⟨a|…|b⟩ of one shell that g and σ are made of, with R = 1/(ω+i/τ) or with the exact R.

Both solvers give the same dictionaries, so that everything after them is shared.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from jaxkin import units
from jaxkin.disorder.collisions import Collisions
from jaxkin.errors import JaxkinError, nearest
from jaxkin.namespace import namespace
from jaxkin.response.observables import LEVI_CIVITA
from jaxkin.response.resolvent import Resolvent

Solver = Literal["rta", "exact"]
SkewOrder = Literal["first", "all"]
SOLVERS, SKEW_ORDERS = ("rta", "exact"), ("first", "all")
MECHANISMS = ("intrinsic", "skew", "side_jump")
"""Parts of g."""
CURRENTS = ("drude", "skew", "side_jump")
"""Parts of σ that scattering makes."""
MAGNETON = -units.KINETIC_MOMENT / units.BOHR_MAGNETON
"""e v²τ in μ_B for 1 (eV Å)² and 1 ps, for electrons (e = −|e|)."""


@dataclass(frozen=True)
class ShellResponse:
    """One shell's part of the responses, all (frequency, 3, 3), before the factors of the units.

    Attributes:
        gyrotropic: parts of g in μ_B eV Å ps times 1/(eV Å^d).
        conductivity: parts of σ in (eV Å)² ps times 1/(eV Å^d).
        tau: transport time in ps.
        onsager: |λ_abc + λ_bac| of the zeroth order in w^A, which time reversal forbids, relative.
        residual: of the linear solves, relative.
    """

    gyrotropic: dict[str, np.ndarray]
    conductivity: dict[str, np.ndarray]
    tau: float
    onsager: float
    residual: float


def shell_response(
    collisions: Collisions,
    weight: np.ndarray,
    moment: np.ndarray,
    omega: np.ndarray,
    solver: Solver = "rta",
    skew: SkewOrder = "first",
) -> ShellResponse:
    """Everything linear response needs of one shell.

    With ⟨a|O|b⟩ = ∫(dp) f⁰' a O b, R = (ω+iL)⁻¹, R̃ = (ω+iL−iA)⁻¹:

    - σ_ab = −ie²⟨v_a|R̃|v_b⟩ and −ie²[⟨v_a|R|v_sj,b⟩ − ⟨v_sj,a|R|v_b⟩];
    - λ^int_abc = e[ε_acd⟨m_d|R|v_b⟩ − ε_bcd⟨m_d|R|v_a⟩], that is g_ab = e(K_ab − δ_ab Tr K) with
      K_ab = ⟨m_a|R|v_b⟩;
    - λ^sk_abc = −ie²⟨v_a|R̃ v_c R̃|v_b⟩ antisymmetrised in (a, b);
    - λ^sj_abc = −ie²[⟨v_a|R v_c R|v_sj,b⟩ − ⟨v_sj,a|R v_c R|v_b⟩], and g_ab = ½ε_cda λ_cdb, Eq. (71).

    Args:
        collisions: the shell.
        weight: (N,) thermal weights, −f⁰'.
        moment: intrinsic moments (N, 3) in μ_B.
        omega: angular frequencies in 1/ps.
        solver: ``"rta"`` replaces R by 1/(ω+i/τ), Eqs. (10), (59), (67); ``"exact"`` solves.
        skew: first order in w^A, or ``"all"`` (exact solver only).
    """
    if not len(weight):
        nothing = np.zeros((len(omega), 3, 3), complex)
        g: dict[str, np.ndarray] = dict.fromkeys(MECHANISMS, nothing)
        sigma: dict[str, np.ndarray] = dict.fromkeys(CURRENTS, nothing)
        return ShellResponse(g, sigma, 0.0, 0.0, 0.0)
    return (_relaxed if solver == "rta" else _exact)(collisions, weight, moment, omega, skew)


def check_solver(solver: str, skew: str) -> None:
    """Refuse an unknown solver or order.

    Raises:
        JaxkinError: with the nearest name.
    """
    for name, value, choices in (("solver", solver, SOLVERS), ("skew_order", skew, SKEW_ORDERS)):
        if value not in choices:
            raise JaxkinError(f"{name}={value!r} is unknown{nearest(value, choices)}; choose {' or '.join(choices)}.")
    if solver == "rta" and skew == "all":
        raise JaxkinError("skew_order='all' needs solver='exact'; the relaxation-time formulas are of first order.")


class Brackets(NamedTuple):
    """Parts of :class:`ShellResponse` without its diagnostics, of NumPy's arrays or JAX's."""

    gyrotropic: dict[str, Any]
    conductivity: dict[str, Any]


def relaxed_brackets(collisions: Collisions, weight: Any, moment: Any, omega: Any) -> Brackets:
    """With R = 1/(ω+i/τ); arguments as for :func:`shell_response`."""
    xp, v, w, tau = namespace(weight), collisions.velocity, weight[:, None], collisions.transport_time
    relaxed = (tau / (1 - 1j * omega * tau))[:, None, None]  # iR
    q, jump = collisions.skew_acceleration, collisions.side_jump_velocity
    g = {
        "intrinsic": -1j * relaxed * _traceless((w * moment).T @ v),
        "skew": -1j * relaxed**3 * _traceless(MAGNETON * (w * xp.cross(q, v)).T @ v),
        "side_jump": -1j * relaxed**2 * _traceless(MAGNETON * (w * xp.cross(jump, v)).T @ v),
    }
    vq, vj = (w * v).T @ q, (w * v).T @ jump
    sigma = {
        "drude": relaxed * ((w * v).T @ v),
        "skew": relaxed**2 * 0.5 * (vq - vq.T),
        "side_jump": relaxed * (vj - vj.T),
    }
    return Brackets(g, sigma)


def exact_brackets(solve: Any, weight: Any, moment: Any, skew: SkewOrder) -> tuple[Brackets, list[Any]]:
    """With the exact R of a :class:`Resolvent` or :class:`DenseResolvent`, and the solutions, R v first."""
    xp, v = namespace(weight), solve.collisions.velocity
    w, start = weight[:, None], solve.velocity()
    x, z = solve.first_order(start)  # R v and R iA R v
    s = solve.even(solve.scaled(solve.collisions.side_jump_velocity))
    solved = [x, s]

    def crossed(left, right):
        """Σ w (left × right)_a v_b, (frequency, a, b)."""
        planes = xp.stack([solve.bracket(left, weight * v[:, b], right) for b in range(3)], axis=-1)
        return xp.einsum("acd,fcdb->fab", LEVI_CIVITA, planes)

    if skew == "first":
        skewed = crossed(z, x)
        hall = solve.project(w * v, z)
    else:
        forward, backward = solve.skewed(start, 1), solve.skewed(start, -1)
        solved += [forward, backward]
        skewed = -0.5 * crossed(backward, forward)
        hall = solve.project(w * v, forward)
    g = {
        "intrinsic": _traceless(solve.project(w * moment, x)),
        "skew": 1j * MAGNETON * skewed,
        "side_jump": 1j * MAGNETON * crossed(s, x),
    }
    jumped = solve.project(w * v, s)
    sigma = {
        "drude": 1j * solve.project(w * v, x),
        "skew": 0.5j * (hall - xp.swapaxes(hall, 1, 2)),
        # ⟨v_sj,a|R|v_b⟩ = ⟨v_b|R|v_sj,a⟩, as L is symmetric under ⟨·|·⟩
        "side_jump": 1j * (jumped - xp.swapaxes(jumped, 1, 2)),
    }
    return Brackets(g, sigma), solved


def _relaxed(collisions: Collisions, weight, moment, omega, skew) -> ShellResponse:
    v = collisions.velocity
    onsager = _onsager(v, v, v, weight[:, None])
    return ShellResponse(*relaxed_brackets(collisions, weight, moment, omega), collisions.transport_time, onsager, 0.0)


def _exact(collisions: Collisions, weight, moment, omega, skew) -> ShellResponse:
    solve = Resolvent(collisions, omega)
    parts, solved = exact_brackets(solve, weight, moment, skew)
    x, v = solved[0], collisions.velocity
    static = int(np.argmin(np.abs(omega)))
    mean_path = np.real(1j * (x.basis @ x.coefficients[static]) / solve.root)
    speed = float(np.sum(weight[:, None] * v * v))
    tau = float(np.real(np.trace(parts.conductivity["drude"][static]))) / speed
    onsager = _onsager(mean_path, v, mean_path, weight[:, None])
    return ShellResponse(*parts, tau, onsager, max(part.residual for part in solved))


def _traceless(current):
    """K_ab − δ_ab Tr K."""
    return current - namespace(current).trace(current, axis1=-2, axis2=-1)[..., None, None] * np.eye(3)


def _onsager(left: Any, middle: Any, right: Any, w: Any) -> float:
    """Largest |Σ w l_a v_c r_b| over Σ w |l||v||r|."""
    cubic = np.einsum("ia,ic,ib->abc", w * left, middle, right, optimize=True)
    lengths = np.prod([np.linalg.norm(part, axis=1) for part in (left, middle, right)], axis=0)
    return float(np.max(np.abs(cubic)) / max(float(np.sum(np.abs(w[:, 0]) * lengths)), 1e-300))
