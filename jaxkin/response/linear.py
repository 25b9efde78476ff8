"""What a field or a gradient of temperature does to the mean value of any observable, by mechanism."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any, Literal, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float
from numpy.typing import ArrayLike
from scipy import constants as si

from jaxkin import units
from jaxkin.brief import brief, lines, listed
from jaxkin.checks import cartesian, check_count, check_kind, check_number, numbers
from jaxkin.compilation import compiled_for
from jaxkin.disorder.kernels import Disorder, Scatterer
from jaxkin.disorder.states import States, first_together
from jaxkin.errors import AccuracyWarning, JaxkinError, nearest
from jaxkin.estimate import Estimate
from jaxkin.memory import demand
from jaxkin.namespace import AnyArray, is_traced
from jaxkin.observable import Coupled, Observable
from jaxkin.response.filled import filled_tensor
from jaxkin.response.quality import check_residual, of_current, scattering_warnings
from jaxkin.response.resolvent import Method, Resolvent
from jaxkin.response.shell import Solver, check_solver
from jaxkin.response.sums import CURRENTS, Theory, relaxed
from jaxkin.response.transport import angular_frequencies, check_bins, check_sums, solved_shells, with_states
from jaxkin.surface.plan import Progress
from jaxkin.surface.points import point_geometry
from jaxkin.surface.surface import Shell, Surface

Force = Literal["electric", "thermal"]
FORCES = get_args(Force)
PARTS = ("drude", "intrinsic", "skew", "side_jump", "gaussian_skew", "total")
"""Mechanisms in the order of tables."""
RTOL, BUDGET = 1e-2, 200_000


class LinearResponse(eqx.Module):
    """⟨O_a⟩ per volume = χ_ab F_b, F the electric field in V/m or −∇T in K/m, as :func:`linear_response` finds it.

    What the parts are: docs/observables.md.

    Attributes:
        frequency: f = ω/2π in THz.
        chi: by mechanism in ``unit``, each an Estimate (frequency, m, 3).
        names: of the m operators.
        unit: of χ.
        force: what drives.
        left_out: what is not in it.
    """

    frequency: AnyArray
    chi: dict[str, Estimate]
    names: tuple[str, ...] = eqx.field(static=True)
    unit: str = eqx.field(static=True)
    force: Force = eqx.field(static=True)
    left_out: tuple[str, ...] = eqx.field(static=True, default=())

    def induced(self, force: ArrayLike) -> dict[str, Estimate]:
        """⟨O⟩ per volume by mechanism, (frequency, m), of a field in V/m (or −∇T in K/m), (3,).

        Raises:
            JaxkinError: a force that is not three finite components.
        """
        given = cartesian(force, "force")
        return {name: part.map(lambda chi: chi @ given) for name, part in self.chi.items()}

    @brief
    def __repr__(self) -> str:
        static = int(np.argmin(np.abs(self.frequency)))
        total = np.abs(self.chi["total"].mean[static])
        a, b = np.unravel_index(int(np.argmax(total)), total.shape)
        return lines(
            f"LinearResponse of {', '.join(self.names)} to {'a field' if self.force == 'electric' else '−∇T'}, "
            f"f = {listed(self.frequency)} THz",
            f"largest component at {self.frequency[static]:g} THz, {self.names[a]} for a force along {'xyz'[b]}, in "
            f"{self.unit}:",
            *(f"  {name.replace('_', ' ')} {part[static, a, b].real}" for name, part in self.chi.items()),
            f"left out: {', '.join(self.left_out)}" if self.left_out else "",
            "ask for .chi[mechanism].mean, .stderr (frequency, m, 3), .induced(field)",
        )


def linear_response(
    surface: Surface,
    observable: Observable | ArrayLike,
    disorder: Disorder,
    frequency: ArrayLike = (0.0,),
    solver: Solver = "rta",
    *,
    force: Force = "electric",
    theory: Theory = "complete",
    intrinsic: bool = True,
    rtol: float = RTOL,
    budget: int = BUDGET,
    progress: Progress | None = None,
) -> LinearResponse:
    """Mean value of an observable in first order of a uniform force, by mechanism.

    With R = (ω+iL)⁻¹, ⟨a|X|b⟩ = ∫(dp) f⁰' a X b, o = ⟨u|O|u⟩ and the charge e = −|e|, in the notation of the paper's
    Eqs. (44)–(69), whose conductivity is that of O = e∂H/ħ∂k:

    - drude: χ_ab = −ie⟨o_a|R|v_b⟩, the distribution;
    - skew: −ie⟨o_a|R iA R|v_b⟩, and Gaussian skew with the A of two impurities;
    - side jump: −ie[⟨o_a|R|v_sj,b⟩ − ⟨o_sj,a|R|v_b⟩]: the field's work in a jump, and what scattering mixes into the
      states, o_sj being v_sj, Eq. (68), with |D_a u⟩ → Σ_m |m⟩⟨m|O_a|u⟩/(ε − ε_m);
    - intrinsic: −e ∫(dk) f⁰ F_ab, F_ab = −2 Im⟨D_a u|D_b u⟩ with that D_a: the field mixes bands.

    In a crystal with time reversal an observable that is odd under it, such as spin, has the first alone (to first
    order in w^A), and one that is even has the others alone.

    A gradient of temperature drives with (ε−μ)/(eT) in place of 1: each energy counts with that factor. The intrinsic
    part then is the entropy's, ∫(dk) s F_ab; of the current it is the transport current, from which the magnetization
    current has been taken away (D. Xiao et al., PRL 97, 026603 (2006)). So it is of :meth:`Observable.heat_current`, of
    which each energy counts with ε−μ once more.

    Args:
        surface: from :func:`fermi_surface`.
        observable: operators; or values (N,) or (N, m), in any unit, of the states at the surface's points, whose
            operators are not known: what bands mix is then left out, and named.
        disorder: any. What the operators gain by scattering is known where there is a potential; for a T-matrix
            without the change of T itself by a field that couples to them, which is left out, and named.
        frequency: f = ω/2π in THz, small against distances between bands.
        solver: ``"rta"`` or ``"exact"``.
        force: ``"electric"``, or ``"thermal"`` for −∇T.
        theory: ``"paper"`` leaves out the Gaussian part.
        intrinsic: whether to integrate over the filled states.
        rtol: accuracy of that, relative to its largest component.
        budget: diagonalisations that it may take.
        progress: called with (done, total, what).

    Warns:
        AccuracyWarning: a potential of finite range is too strong for its T-matrix.

    Raises:
        JaxkinError: an observable for another model, a gradient of temperature at T = 0, a traced surface.

    >>> import jaxkin as jk
    >>> one = jk.models.get("kramers-weyl-d4")
    >>> sigma = [[[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]]
    >>> model = jk.TightBinding(one.lattice, one.translations, one.hoppings, one.positions, spin=sigma)
    >>> surface = jk.fermi_surface(model, -1.2, sampler=jk.Lines(n=8), replicas=2)
    >>> spin = jk.Observable.spin_moment(model)
    >>> response = jk.linear_response(surface, spin, jk.RelaxationTime(1.0), intrinsic=False)
    >>> other = jk.gyrotropic_response(surface, jk.RelaxationTime(1.0)).of_moment("spin").magnetization([0, 0, 1e4])
    >>> bool(np.allclose(response.induced([0, 0, 1e4])["drude"].mean, other["intrinsic"].mean))
    True
    """
    check_solver(solver, "first", theory)
    check_kind("surface", surface, Surface, "a surface, from jaxkin.fermi_surface")
    check_kind("disorder", disorder, Disorder, "disorder, such as jaxkin.RelaxationTime(tau=1.0)")
    check_number("rtol", rtol, "a number above 0 and below 1", least=1e-12, most=1)
    check_count("budget", budget)
    if force not in FORCES:
        raise JaxkinError(f"force={force!r} is unknown{nearest(force, FORCES)}; choose {' or '.join(FORCES)}.")
    if is_traced(surface):
        raise JaxkinError("observables are not known on a traced surface: sample one with values.")
    operators = observable.checked(surface.model) if isinstance(observable, Observable) else None
    if not surface.temperature and (force == "thermal" or (operators is not None and operators.heat)):
        raise JaxkinError("heat and force='thermal' need a surface at T > 0: at T = 0 electrons at μ carry no heat.")
    driven = Driven(surface, operators, None if operators is not None else observable)
    f, omega = angular_frequencies(frequency)
    check_sums(surface, len(f), 3 * len(driven.names) * len(PARTS))
    parts, left_out = _scattered(driven, disorder, omega, (solver, theory), force, progress)
    # e/ħ (eV Å) ps 1/(eV Å^d) per (V/m); −∇T drives with (ε−μ)/eT in its place
    scale = -1 / units.HBAR * si.angstrom * units.per_volume(surface.model.dimension) * driven.scale
    if force == "thermal":
        scale = -scale / surface.temperature
    sampled = {name: scale * part for name, part in parts.items()}
    shared: dict[str, AnyArray] = {}
    if operators is None:
        left_out = ("what bands mix, of values without operators", *left_out)
    elif intrinsic:
        tensor, error = filled_tensor(surface, operators, force == "thermal", rtol, budget, progress)
        shape = sampled["drude"].shape
        sampled["intrinsic"] = np.broadcast_to(driven.scale * tensor + 0j, shape)
        shared["intrinsic"] = shared["total"] = np.broadcast_to(driven.scale * error, shape[1:])
    else:
        left_out = ("intrinsic", *left_out)
    sampled["total"] = sum(sampled.values())
    chi = {name: Estimate(sampled[name], surface.evaluations, shared.get(name)) for name in PARTS if name in sampled}
    unit = f"{driven.unit}/m^{surface.model.dimension} per {'V/m' if force == 'electric' else 'K/m'}"
    return LinearResponse(f, chi, driven.names, unit, force, left_out)


class Driven:
    """An observable at the points of a surface.

    Args:
        surface: the points.
        observable: operators, or None.
        values: of every state, without them.
    """

    def __init__(self, surface: Surface, observable: Observable | None, values: Any):
        self.surface, self.observable = surface, observable
        self.couplings: list[tuple[np.ndarray, np.ndarray]] = []
        if observable is None:
            given = numbers("observable", values, "an Observable, or finite values at the surface's points")
            self.values = given[:, None] if given.ndim == 1 else given
            if self.values.ndim != 2 or len(self.values) != len(surface):
                raise JaxkinError(f"observable has shape {given.shape}; the surface has {len(surface)} points.")
            self.names = tuple(f"O{number}" for number in range(self.values.shape[1]))
            self.unit, self.scale, self.heat = "1", 1.0, False
            return
        self.names, self.unit = observable.names, observable.unit
        self.scale, self.heat = observable.scale, observable.heat
        parts = [self._geometry(part) for part in observable.triples()]
        self.values = np.concatenate([part["velocity"] for part in parts], axis=1)[:, : len(observable)]
        self.couplings = [(part["state"], part["covariant_derivative"]) for part in parts]

    def _geometry(self, part: Observable) -> dict[str, np.ndarray]:
        surface, n = self.surface, self.surface.model.size
        demand(4 * 16 * len(surface) * n, f"the states of {len(surface)} points", "raise it, or use fewer points")
        k, names = np.asarray(surface.k), ("velocity", "state", "covariant_derivative")
        return point_geometry(
            Coupled(surface.model, part),
            k[first_together(k)],
            surface.sampled.band,
            names,
            np.asarray(surface.energy),
            degeneracy=surface.degeneracy,
        )


class Induced(eqx.Module):
    """What one shell adds.

    Attributes:
        parts: (frequency, m, 3) in eV Å ps times 1/(eV Å^d) and the observable's unit.
        tau: transport time in ps.
        residual: of the linear solves, relative.
        saturation: the part of Born scattering that unitarity takes away, if T leaves out Re G, ...
        coarseness: ... that of scattering that is from a point to itself, and ...
        current: the shell's Drude conductivity in any unit, to weigh it with.
        known: whether what the operators gain by scattering is in it.
    """

    parts: dict[str, Complex[AnyArray, "frequency m 3"]]
    tau: Float[AnyArray, ""]
    residual: Float[AnyArray, ""]
    saturation: Float[AnyArray, ""] | None
    coarseness: Float[AnyArray, ""]
    current: Float[AnyArray, ""]
    known: bool = eqx.field(static=True)


def _scattered(
    driven: Driven,
    disorder: Disorder,
    omega: Array,
    options: tuple[Solver, Theory],
    force: Force,
    progress: Progress | None,
) -> tuple[dict[str, AnyArray], tuple[str, ...]]:
    """The parts that scattering makes, replica by replica; what of them is not known."""
    surface, (solver, theory) = driven.surface, options
    shape = (surface.replicas, len(omega), len(driven.names), 3)
    totals = {name: np.zeros(shape, complex) for name in CURRENTS[theory]}
    check_bins(surface, disorder)
    if not len(surface.layout):  # a gap: no states to scatter, or to screen with
        return totals, ()
    scatterer, states = with_states(disorder.on(surface), surface, theory)

    def attempt(here: Scatterer, one: States, shell: Shell, *how: Any) -> Induced:
        fill = len(one) - (shell.points.stop - shell.points.start)
        values, couplings = jax.tree.map(
            lambda x: np.pad(x[shell.points], ((0, fill), *((0, 0),) * (x.ndim - 1))),
            (driven.values, driven.couplings),
        )
        power = (force == "thermal") + driven.heat
        one = replace(one, thermal=one.thermal * (one.energy - surface.fermi_level) ** power)
        return _compiled(len(one), here, one, couplings, values, omega, solver, theory, *how)

    known, saturated, coarse, currents = True, [], [], []
    for shell, part in solved_shells(surface, scatterer, states, solver, attempt, progress):
        check_residual(part.residual)
        known = part.known
        saturated += [] if part.saturation is None else [part.saturation]
        coarse, currents = [*coarse, part.coarseness], [*currents, part.current]
        for name, total in totals.items():
            total[shell.replica] += part.parts[name]
    weights = np.array(currents)
    saturation = of_current(np.array(saturated), weights) if saturated else None
    coarseness = of_current(np.array(coarse), weights) if surface.model.dimension > 1 else 0.0
    for line in scattering_warnings(saturation, coarseness):
        warnings.warn(line, AccuracyWarning, stacklevel=3)
    left_out: tuple[str, ...] = ()
    if not known:
        left_out = ("what scattering mixes into the states",)
    elif driven.couplings and not scatterer.weak:
        left_out = ("the operators' change of T",)
    unknown = ("gaussian skew",) if theory == "complete" and not scatterer.orbitals else ()
    return totals, (*left_out, *unknown)


def induced(
    scatterer: Scatterer,
    states: States,
    couplings: list[tuple[Array, Array]],
    values: Array,
    omega: Array,
    solver: Solver,
    theory: Theory,
    method: Method = "krylov",
    columns: int = 288,
) -> Induced:
    """⟨o|R|v⟩ and the like of one shell, see :func:`linear_response`.

    Args:
        scatterer: disorder at the shell's energy.
        states: the shell; ``thermal`` weighs it.
        couplings: |u⟩ and |D_a u⟩ of three operators each.
        values: o, (M, m).
        omega: angular frequencies in 1/ps.
        solver, theory, method, columns: as for the gyrotropic tensor.
    """
    collisions, two = scatterer.scattering(states)
    v, jump, w = collisions.velocity, collisions.side_jump_velocity, jnp.asarray(states.thermal)[:, None]
    jumps = [scatterer.side_jump_of(replace(states, bloch=pair, along_k=False)) for pair in couplings]
    known = [one for one in jumps if one is not None]
    own = jnp.concatenate(known, axis=1)[:, : values.shape[1]] if known else jnp.zeros_like(values)
    tau, all_known = collisions.transport_time, len(known) == len(jumps)
    current = jnp.maximum(tau, 0.0) * jnp.sum(jnp.abs(w) * v**2)
    measured = collisions.saturation, collisions.coarseness(), current, all_known
    if solver == "rta":
        r = relaxed(tau, omega)[:, None, None]
        o = w * values
        parts = {
            "drude": r * (o.T @ v),
            "skew": r**2 * (o.T @ collisions.skew_acceleration),
            "side_jump": r * (o.T @ jump - (w * own).T @ v),
        }
        if theory == "complete":
            parts["gaussian_skew"] = r**2 * (o.T @ (jnp.zeros_like(v) if two is None else two.skew(v)))
        return Induced(parts, tau, jnp.zeros(()), *measured)
    solve = Resolvent(collisions, omega, method, columns)
    x, z, *gaussian = solve.first_order(solve.velocity(), [] if two is None else [two.skew])
    s = solve.even(solve.scaled(jump))
    o = w * values
    parts = {
        "drude": 1j * solve.project(o, x),
        "skew": 1j * solve.project(o, z),
        "side_jump": 1j * (solve.project(o, s) - solve.project(w * own, x)),
    }
    if theory == "complete":
        parts["gaussian_skew"] = sum((1j * solve.project(o, y) for y in gaussian), jnp.zeros_like(parts["skew"]))
    return Induced(parts, tau, jnp.maximum(x.residual, s.residual), *measured)


_compiled = compiled_for(induced)
