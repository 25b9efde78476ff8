"""What linear response takes from the shells of a surface, gathered in one pass over them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any, Protocol, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from numpy.typing import ArrayLike

from jaxkin import units
from jaxkin.checks import MOST_VALUES, check_count, check_kind, check_progress, numbers, shown
from jaxkin.devices import spread
from jaxkin.disorder.collisions import check_transport_time
from jaxkin.disorder.kernels import Disorder, Scatterer
from jaxkin.disorder.relaxation_time import RelaxationTime
from jaxkin.disorder.states import ShellStates, States, filled_size
from jaxkin.errors import JaxkinError
from jaxkin.memory import demand, limit
from jaxkin.namespace import AnyArray, is_traced, namespace
from jaxkin.response.krylov import TOLERANCE
from jaxkin.response.quality import Quality, check_residual
from jaxkin.response.resolvent import Method
from jaxkin.response.shell import (
    Measures,
    ShellResponse,
    SkewOrder,
    Solver,
    check_solver,
    compiled_response,
    packed,
    scattered_response,
    unpacked,
)
from jaxkin.response.sums import CURRENTS, MECHANISMS, Theory
from jaxkin.response.vanishing import Vanishing
from jaxkin.shelf import Shelf, digest
from jaxkin.surface.plan import Progress
from jaxkin.surface.rule import LatticeRule
from jaxkin.surface.surface import Shell, Surface

COLUMNS = (160, 600)
"""Of the Krylov spaces that are tried, after one of ``FEW`` for shells of more than ``LARGE`` points ..."""
FEW, LARGE = 48, 16384
CAPACITY = 288
"""... or that derivatives are taken through, ..."""
DENSE = 4000
"""... and before a problem of at most so many unknowns is solved with matrices, ..."""
MATRICES = 4
"""... of which so many exist at once, if the memory budget allows them."""

BACKWARD = 1e-3
"""Of the current: what a shell may carry against the field."""

Options = tuple[Solver, SkewOrder, Theory]


class Transport(eqx.Module):
    """Sums over the shells, replica by replica.

    Attributes:
        frequency: f = ω/2π in THz.
        gyrotropic: parts of g in S (in 2D: S m), (replicas, 1 + frequency, 3, 3), ω = 0 first; that of spin is in the
            intrinsic part, too.
        conductivity: parts of σ in S/m (in 2D: S), the same.
        tau: transport time in ps, thermally averaged, (replicas,).
        skew_acceleration: Q at the surface's points, (N, 3), eV Å / ps.
        side_jump_velocity: v_sj at the surface's points, (N, 3), eV Å.
        quality: diagnostics.
        left_out: parts that this disorder does not determine; they are zero.
    """

    frequency: AnyArray
    gyrotropic: dict[str, AnyArray]
    conductivity: dict[str, AnyArray]
    tau: AnyArray
    skew_acceleration: AnyArray
    side_jump_velocity: AnyArray
    quality: Quality
    left_out: tuple[str, ...] = eqx.field(static=True, default=())


def transport(
    surface: Surface,
    disorder: Disorder,
    frequency: ArrayLike,
    solver: Solver,
    skew_order: SkewOrder,
    theory: Theory,
    progress: Progress | None = None,
    shelf: Shelf | None = None,
) -> Transport:
    """Sum :func:`jaxkin.response.shell.shell_response` over all shells.

    Shell by shell, each filled up to a size of which few compile, where the surface and the disorder are known; in
    one compiled loop, which reverse mode computes again shell by shell, where they are traced.

    Raises:
        JaxkinError: a frequency that is not finite, an unknown solver, weights that are negative where scattering
            between pairs of points or the exact solver cannot have them, an exact solver that did not converge, a
            thermal lattice evaluated elsewhere.
    """
    check_solver(solver, skew_order, theory)
    check_kind("surface", surface, Surface, "a surface, from jaxkin.fermi_surface")
    check_kind("disorder", disorder, Disorder, "disorder, such as jaxkin.RelaxationTime(tau=1.0)")
    check_progress(progress)
    f, angular = angular_frequencies(frequency)
    check_sums(surface, len(f), 9 * (len(MECHANISMS[theory]) + 1 + len(CURRENTS[theory])))
    omega = jnp.append(0.0, angular)
    check_bins(surface, disorder)
    if not len(surface.layout):  # a gap: no states to scatter, or to screen with
        return _gathered(surface, f, _nothing(len(f) + 1, theory), np.zeros((0, 3)), np.zeros((0, 3)))
    traced = is_traced(surface, disorder, frequency)
    scatterer = disorder.on(surface)
    if traced and scatterer.bloch and surface.bloch is None:  # states that are known would not follow
        surface = surface.at()
        scatterer = disorder.on(surface)
    scatterer, states = with_states(scatterer, surface, theory)
    options = (solver, skew_order, theory)
    left_out = ("gaussian_skew",) if theory == "complete" and not scatterer.orbitals else ()
    if traced:
        return replace(_compiled(surface, scatterer, states, f, omega, options), left_out=left_out)
    parts = []

    def attempt(here: Scatterer, one: States, shell: Shell, *how: Any) -> ShellResponse:
        return compiled_response(here, one, omega, *options, *how)

    def kept(shell: Shell, make: Callable[[], ShellResponse]) -> ShellResponse:
        if shelf is None:
            return make()
        name = f"shell-{digest(surface.fermi_level, surface.temperature)}/{digest(np.asarray(surface.k[shell.points]))}"
        return unpacked(shelf.piece(name, lambda: packed(make())))

    for shell, part in solved_shells(surface, scatterer, states, solver, attempt, progress, kept):
        count = shell.points.stop - shell.points.start
        parts.append(eqx.tree_at(_points, part, tuple(x[:count] for x in _points(part))))
    skew, jump = (np.concatenate([_points(part)[n] for part in parts]) for n in range(2))
    sums = [eqx.tree_at(_points, part, (None, None)) for part in parts]
    found = _gathered(surface, f, jax.tree.map(lambda *x: np.stack(x), *sums), skew, jump)
    currents = np.array([np.trace(part.conductivity["drude"][0].real) for part in parts])
    worst = int(np.argmin(currents))
    if not currents[worst] >= -BACKWARD * np.maximum(currents, 0).sum():  # of few points in a bin of energies
        check_transport_time(parts[worst].tau, "the current that the exact solver finds on one shell")
    check_residual(found.quality.residual)
    return replace(found, left_out=left_out)


def angular_frequencies(frequency: ArrayLike) -> tuple[AnyArray, Array]:
    """f in THz, (frequency,), and ω = 2πf in 1/ps.

    Raises:
        JaxkinError: they are no finite numbers, or too many.
    """
    traced = is_traced(frequency)
    f: AnyArray = jnp.asarray(frequency, float) if traced else numbers("frequency", frequency, "finite numbers in THz")
    f = namespace(f).atleast_1d(f)
    if f.ndim != 1 or not f.size:
        raise JaxkinError(f"frequency={shown(frequency)} must be one number in THz or a list of them.")
    check_count("frequency: the number of them", f.size, most=MOST_VALUES)
    return f, 2 * jnp.pi * jnp.asarray(f)


def check_sums(surface: Surface, frequencies: int, numbers: int) -> None:
    """Refuse more frequencies, and ω = 0, than the budget holds of so many complex ``numbers`` of each shell.

    They are kept shell by shell, put together, and summed to replicas.
    """
    copies = 2 * len(surface.layout) + surface.replicas
    demand(
        16.0 * (1 + frequencies) * numbers * copies,
        f"frequency: {frequencies} for each of {len(surface.layout)} shells",
        "ask for fewer at a time",
    )


def check_weights(surface: Surface, scatterer: Scatterer, solver: Solver) -> None:
    """Refuse weights that are negative where pairs of points or the exact solver cannot have them."""
    if (scatterer.pairs or solver == "exact") and np.any(surface.level_weight < 0):
        raise JaxkinError(
            "scattering between pairs of points, and solver='exact', need positive weights: use Lines, or Grid with "
            "smearing='gaussian'."
        )


def with_states(scatterer: Scatterer, surface: Surface, theory: Theory) -> tuple[Scatterer, ShellStates]:
    """The scatterer, and the states, with all that a theory needs of the surface."""
    if theory == "paper":
        return scatterer, ShellStates(surface, scatterer.bloch)
    scatterer = scatterer.completed(surface)
    return scatterer, ShellStates(surface, scatterer.bloch, scatterer.orbitals)


class Solved(Protocol):
    """What is solved for on one shell."""

    @property
    def tau(self) -> AnyArray:
        """Transport time in ps."""
        ...

    @property
    def residual(self) -> AnyArray:
        """Of the exact solver, relative."""
        ...


Part = TypeVar("Part", bound=Solved)


def solved_shells(
    surface: Surface,
    scatterer: Scatterer,
    states: ShellStates,
    solver: Solver,
    attempt: Callable[..., Part],
    progress: Progress | None,
    kept: Callable[[Shell, Callable[[], Part]], Part] = lambda shell, make: make(),
) -> Iterator[tuple[Shell, Part]]:
    """Every shell with what is solved for on it, in NumPy.

    Args:
        surface, scatterer, states, solver: see :func:`transport`.
        attempt: the scatterer at a shell's energy, its states, filled up, the shell, the method and the columns of its
            space → what is solved for.
        progress: called with (done, total, what).
        kept: a shell and how its part is made → the part.

    Raises:
        JaxkinError: negative weights, or a transport time that is not positive.
    """

    def solved(shell: Shell) -> Part:
        count = shell.points.stop - shell.points.start
        one = states.of(shell, filled_size(count, scatterer.pairs))
        one = jax.tree.map(lambda x: spread(jnp.asarray(x)), one)  # on the device once, however often it is tried
        part = _until_solved(partial(attempt, scatterer.at(shell.energy), one, shell), len(one))
        return jax.tree.map(np.asarray, part)

    check_weights(surface, scatterer, solver)
    report: Progress = progress or (lambda done, total, what: None)
    shells = surface.shells
    for done, shell in enumerate(shells):
        report(done, len(shells), "disorder kernels")
        part = kept(shell, partial(solved, shell))
        if solver == "rta":
            check_transport_time(part.tau)
        yield shell, part
    report(len(shells), len(shells), "disorder kernels")


def _until_solved(attempt: Callable[[Method, int], Part], count: int) -> Part:
    """With larger and larger spaces until the exact solver's residual on ``count`` states is rounding."""
    fewest, *more = COLUMNS if count <= LARGE else (FEW, *COLUMNS)
    part = attempt("krylov", fewest)
    for columns in more:
        if part.residual <= TOLERANCE:
            break
        part = attempt("krylov", columns)
    if part.residual > TOLERANCE and count <= DENSE and MATRICES * 16 * (2 * count) ** 2 <= limit():
        return attempt("dense", 0)
    return part


def _compiled(
    surface: Surface,
    scatterer: Scatterer,
    states: ShellStates,
    f: AnyArray,
    omega: Array,
    options: Options,
) -> Transport:
    @jax.checkpoint
    def one(shell: States) -> ShellResponse:
        return scattered_response(scatterer.at(shell.level), shell, omega, *options, "differentiable", CAPACITY)

    parts = jax.lax.map(one, states.stacked())
    place, present = states.layout
    where = np.zeros(len(surface), int)
    where[place[present]] = np.flatnonzero(present)
    skew, jump = (x.reshape(-1, 3)[where] for x in _points(parts))
    return _gathered(surface, f, eqx.tree_at(_points, parts, (None, None)), skew, jump)


def _points(part: ShellResponse) -> tuple:
    return part.skew_acceleration, part.side_jump_velocity


def _gathered(surface: Surface, f: AnyArray, parts: ShellResponse, skew: AnyArray, jump: AnyArray) -> Transport:
    """Sums by replica of shells' parts, leaves (shells, ...)."""
    xp, d = namespace(parts.tau), surface.model.dimension
    member = np.arange(surface.replicas)[:, None] == np.array(surface.layout.replica, int)  # (replicas, shells)
    starts = surface.layout.starts
    dos = xp.stack([surface.weight[a:b].sum() for a, b in pairwise(starts)]) if len(starts) > 1 else np.zeros(0)
    current = xp.maximum(xp.trace(parts.conductivity["drude"][:, 0].real, axis1=1, axis2=2), 0.0)
    g_unit = 1e-12 * units.moment_velocity_density(d) * units.ELEMENTARY_CHARGE
    sigma_unit = 1e-12 * units.velocity_velocity_density(d) * units.ELEMENTARY_CHARGE**2

    def summed(values: AnyArray) -> AnyArray:
        return xp.tensordot(member.astype(float), values, axes=1)

    return Transport(
        frequency=f,
        gyrotropic={name: g_unit * summed(part) for name, part in parts.gyrotropic.items()},
        conductivity={name: sigma_unit * summed(part) for name, part in parts.conductivity.items()},
        tau=summed(parts.tau * dos) / xp.maximum(summed(dos), 1e-300),
        skew_acceleration=skew,
        side_jump_velocity=jump,
        quality=Quality.of(parts.measures, dos, current, member.astype(float), all_points=d == 1),
    )


def _nothing(frequencies: int, theory: Theory) -> ShellResponse:
    """The parts of no shells."""
    none, tensors = np.zeros(0), np.zeros((0, frequencies, 3, 3), complex)
    return ShellResponse(
        gyrotropic=dict.fromkeys((*MECHANISMS[theory], "spin"), tensors),
        conductivity=dict.fromkeys(CURRENTS[theory], tensors),
        tau=none,
        skew_acceleration=none,
        side_jump_velocity=none,
        measures=Measures(
            none,
            Vanishing(np.zeros((0, 3)), none),
            none,
            None,
            None,
            none,
            Vanishing(np.zeros((0, 27)), none),
            none,
            none,
        ),
    )


def check_bins(surface: Surface, disorder: Disorder) -> None:
    """Raise where a thermal lattice was moved and scattering needs to know which of its points have one energy."""
    if not surface.elsewhere or not isinstance(surface.rule, LatticeRule) or not disorder.elastic:
        return
    if not isinstance(disorder, RelaxationTime):
        raise JaxkinError(
            "scattering on a thermal lattice is not known away from where it was sampled: its shells are bins of "
            "energy that points enter and leave; sample the surface with Lines, or anew."
        )
    if surface.model is not surface.sampled.model:
        raise JaxkinError(
            "skew scattering and side jumps on a thermal lattice do not follow another model: its points stay in their "
            "bins of energy; sample the surface with Lines, or leave out tau_skew and side_jump."
        )
