"""Integrals over all states of functions with a pole or a step at an energy: G(ε), and the filled bands' response."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from numpy.typing import ArrayLike

from jaxkin.errors import AccuracyWarning
from jaxkin.hamiltonian.bloch import BlochModel
from jaxkin.hamiltonian.eigensystem import DEGENERACY_TOLERANCE
from jaxkin.hamiltonian.kdotp import KdotP
from jaxkin.hamiltonian.linear import solve
from jaxkin.observable import Observable, summed
from jaxkin.surface.continuation import covariant_derivative
from jaxkin.surface.contour import (
    ORDER,
    Integrand,
    Points,
    Resolved,
    kernel,
    kernel_mean,
    mesh_points,
    singular_integral,
)
from jaxkin.surface.folding import GreenFolding, Places, green_folding
from jaxkin.surface.nodes import Nodes
from jaxkin.surface.occupations import occupation_moment
from jaxkin.surface.plan import Progress
from jaxkin.surface.search import Pocket, find_pockets
from jaxkin.surface.shifted import shifted_lattices
from jaxkin.surface.spectrum import Spectrum, tile_rows
from jaxkin.surface.thermal import Thermal
from jaxkin.surface.tiles import over_tiles
from jaxkin.surface.zone import Goal, Integral, adaptive_integral, first_mesh

COLUMN = 2.0
"""What n columns add to the time of a factorisation."""
ENOUGH = 1e-4
"""Relative error of the filled Berry curvature that is worth a warning."""
ROOM = 2
"""How many times the points of its first mesh a tree must be able to spend, to become better than shifted lattices."""
LEAST = 0.25
"""Quanta e²/h, in 3D e²/h over the edge of a cube of the cell's volume, below which accuracy is not relative."""
_NEXT, _PREVIOUS = np.array([1, 2, 0]), np.array([2, 0, 1])
_CURRENT = Observable.current()


@dataclass(frozen=True)
class ZoneIntegral:
    """Values with an estimate of their absolute error, the number of H(k) diagonalised, and the rules used."""

    values: np.ndarray
    error: float
    evaluations: int
    rules: tuple = ()


def local_green_function(
    model: BlochModel,
    energies: ArrayLike,
    orbitals: Sequence[int],
    cells: ArrayLike | None = None,
    *,
    rtol: float = 1e-3,
    budget: int = 2_000_000,
) -> ZoneIntegral:
    """G_mm'(ε) = 𝒱 ∫(dk) e^{ik·(r_m−r_m')} ⟨m|(ε + i0 − H)⁻¹|m'⟩, (E, m, m) in 1/eV.

    Both parts, on the orbitals of an impurity with positions r_m = R_m + τ_m. In a k·p model the box is
    the cutoff, and the unit is 1/(eV Å^d). Many energies share eigensystems, for few the columns of the orbitals are
    solved for.

    Args:
        model: any.
        energies: ε in eV, (E,); real, which stands for ε + i0, or complex in the upper half plane.
        orbitals: m orbital indices.
        cells: (m, d) integers, the cell of each; zeros by default.
        rtol: accuracy relative to the largest element.
        budget: diagonalisations that may be spent.

    Warns:
        AccuracyWarning: ``rtol`` was not reached.

    >>> import jaxkin as jk, numpy as np
    >>> chain = jk.TightBinding([[1.0, 0, 0]], [[1], [-1]], -np.ones((2, 1, 1)), [[0.0]])
    >>> green = local_green_function(chain, [3.0], [0])
    >>> round(float(green.values[0, 0, 0].real), 6)  # 1/√(ε² − 4t²)
    0.447214
    """
    m = len(orbitals)
    where = np.zeros((m, model.dimension), int) if cells is None else np.asarray(cells, int)
    found = local_green_functions(model, energies, [Places(tuple(orbitals), where)], rtol=rtol, budget=budget)
    return replace(found, values=found.values.reshape(-1, m, m))


def local_green_functions(
    model: BlochModel,
    energies: ArrayLike,
    places: Sequence[Places],
    *,
    rtol: float = 1e-3,
    budget: int = 2_000_000,
    pockets: Sequence[Pocket] | None = None,
) -> ZoneIntegral:
    """:func:`local_green_function` of several impurities, values (E, Σ m²).

    Args:
        model, energies, rtol, budget: as there.
        places: the orbitals of each impurity.
        pockets: where the energies are inside of bands; searched for if not given.

    Warns:
        AccuracyWarning: ``rtol`` was not reached.
    """
    levels = np.atleast_1d(energies)
    if not len(levels):
        return ZoneIntegral(np.zeros((0, sum(len(place.orbitals) ** 2 for place in places)), complex), 0.0, 0)
    integrand = _Green(model, levels, places, green_folding(model, places, rtol))
    result = singular_integral(model, integrand, Goal(rtol, budget), pockets)
    _warn(result, rtol, "a local Green function", "raise the impurity's `rtol` if that is enough")
    return ZoneIntegral(result.values, float(result.error.max()), result.evaluations, result.rules)


def filled_berry_curvature(
    model: BlochModel,
    fermi_level: float,
    temperature: float = 0.0,
    *,
    rtol: float = 1e-8,
    budget: int = 500_000,
    pockets: Sequence[Pocket] | None = None,
    progress: Progress | None = None,
) -> ZoneIntegral:
    """∫(dk) Σ_n f⁰(ε_n) Ω_n in Å^{2−d}, (3,), of all bands below the Fermi level.

    In a k·p model the integral goes over the box, and on to infinity if the model is ``unbounded``. Where a crystal has
    more pockets than an adaptive tree resolves within the budget, shifted lattices are summed instead, with the error
    that they have.

    Args:
        model: any.
        fermi_level: μ in eV.
        temperature: T in K.
        rtol: accuracy relative to the largest component, or to a quarter of the quantum (1/2π)(Q/2π)^{d−2} if that is
            more, with Q^d the volume of the zone.
        budget: diagonalisations that may be spent, beside those of a search for the surface.
        pockets: those of the surface at μ; searched for if not given.
        progress: called with (done, total, what).

    Warns:
        AccuracyWarning: neither ``rtol`` nor 1e-4 was reached.

    >>> import jaxkin as jk
    >>> flux = filled_berry_curvature(jk.models.get("haldane"), 0.0)
    >>> abs(round(2 * 3.141592653589793 * float(flux.values[2]), 8))  # Chern number
    1.0
    """
    found = filled_response(
        model,
        fermi_level,
        temperature,
        _CURRENT,
        Goal(rtol, budget, LEAST * quantum(model)),
        pockets=pockets,
        progress=progress,
    )
    _warn(found, max(rtol, ENOUGH), "the filled states' Berry curvature", "raise `hall_budget`, or give hall=False")
    return ZoneIntegral(found.values[0], float(found.error[0]), found.evaluations)


def filled_response(
    model: BlochModel,
    fermi_level: float,
    temperature: float,
    observable: Observable,
    goal: Goal,
    *,
    power: int = 0,
    pockets: Sequence[Pocket] | None = None,
    progress: Progress | None = None,
) -> Integral:
    """∫(dk) Σ_n f⁰(ε_n) F_n,ab with F_n,ab = −2 Im⟨D_a u|D_b u⟩, |D_a u⟩ = Σ_m |m⟩⟨m|O_a|u⟩/(ε_n − ε_m), (1, 9).

    Of the current, O_a = D_aH, it is the Berry curvature, F_ab = ε_abc Ω_c, (1, 3). In Å^{1−d}/eV times the unit of O.

    Args:
        model: any.
        fermi_level: μ in eV.
        temperature: T in K.
        observable: three operators.
        goal: error and budget.
        power: p of the sum over levels of −f⁰' (ε−μ)^p times what is filled below them: f⁰ is replaced by
            :func:`occupation_moment`, for p = 1 kT times the entropy of a state.
        pockets: those of the surface at μ; searched for if not given.
        progress: called with (done, total, what).
    """
    integrand = _Flux(model, Thermal(fermi_level, temperature), observable, power)
    return filled_integral(model, integrand, goal, pockets=pockets, progress=progress, what="Hall integral")


def filled_integral(
    model: BlochModel,
    integrand: Integrand,
    goal: Goal,
    *,
    pockets: Sequence[Pocket] | None = None,
    progress: Progress | None = None,
    what: str,
) -> Integral:
    """Over all k, of what has a step at one energy: on a tree, on shifted lattices, and beyond an unbounded box.

    Args:
        model: any.
        integrand: whose levels are all the Fermi level.
        goal: error and budget.
        pockets: those of the surface; searched for if not given.
        progress: called with (done, total, ``what``).
        what: is integrated, in words.
    """
    if progress is not None:
        goal = replace(goal, report=partial(_reported, progress, what))
    spectrum, level = Spectrum(model), float(np.real(integrand.levels[0]))
    if pockets is None:
        pockets = find_pockets(Nodes(spectrum), (level, level))
    if model.periodic and pockets:
        result = _of_a_metal(model, integrand, goal, pockets)
    else:
        result = singular_integral(model, integrand, goal, pockets)
    if isinstance(model, KdotP) and model.unbounded:
        for part in _beyond_the_box(model, integrand, goal.after(result.evaluations)):
            result = result + part
    return replace(result, evaluations=result.evaluations + spectrum.evaluations)


def _of_a_metal(model: BlochModel, integrand: Integrand, goal: Goal, pockets: Sequence[Pocket]) -> Integral:
    """On a tree or on shifted lattices: which one, the errors after as many points as the tree's first mesh decide.

    Once its cells are small enough a tree gains more than the square of its points, lattices gain less than their
    number, but from the first on. Real bands are often too entangled for any tree that can be paid for.
    """
    lattices = partial(shifted_lattices, Points(model, integrand), model.dimension)
    first = mesh_points(model, pockets, goal.budget // ROOM)
    if first is None:
        return lattices(goal)
    lattice = lattices(replace(goal, budget=first))
    if lattice.relative_error <= goal.rtol:
        return lattice
    tree = singular_integral(model, integrand, replace(goal.after(lattice.evaluations), budget=first), pockets)
    spent = lattice.evaluations + tree.evaluations
    if tree.relative_error <= goal.rtol:
        return replace(tree, evaluations=spent)
    left, found = goal.after(spent), [lattice, tree]
    if left.budget > first:
        promising = tree.relative_error < lattice.relative_error * (left.budget / (ROOM * first)) ** 2
        found.append(singular_integral(model, integrand, left, pockets) if promising else lattices(left))
        spent += found[-1].evaluations
    return replace(min(found, key=lambda one: one.relative_error), evaluations=spent)


def quantum(model: BlochModel) -> float:
    """(1/2π)(Q/2π)^{d−2} in Å^{2−d}: what one Chern number of every plane of k adds."""
    lo, hi = np.array(model.zone).T
    density = float(model.measure) * float(np.prod(hi - lo))  # (Q/2π)^d
    return density ** (1 - 2 / len(lo)) / (2 * np.pi)


def _reported(progress: Progress, what: str, done: int, total: int) -> None:
    progress(min(done, total), total, f"{what}, at most")


class _Green:
    """𝒱 Σ_n R_xn L_ny / (ε − λ_n) for orbitals x, y of one place after the other, times the measure of the zone."""

    strip = np.inf

    def __init__(
        self, model: BlochModel, levels: np.ndarray, places: Sequence[Places], folding: GreenFolding | None = None
    ):
        self.model, self.levels, self.folding, self.given = model, levels, folding, places
        self.measure = float(model.measure) * float(model.state_volume)
        needed = places if folding is None else folding.places
        self.orbitals = np.unique([orbital for place in needed for orbital in place.orbitals])
        pairs = []
        for orbitals, cells in needed:
            number, (x, y) = np.searchsorted(self.orbitals, orbitals), np.indices((len(orbitals),) * 2).reshape(2, -1)
            pairs.append(np.column_stack([number[x], number[y], cells[x] - cells[y]]))
        self.x, self.y, *steps = np.concatenate(pairs).T
        self.steps, self.step = np.unique(np.array(steps).T, axis=0, return_inverse=True)

    def __call__(self, resolved: Resolved, width: float, jacobian: np.ndarray) -> np.ndarray:
        energies = self.levels[:, None] - resolved.eigenvalues[:, None, :]  # (N, E, n)
        poles = kernel_mean(np.reciprocal, energies, width)
        right, left = resolved.right[:, self.orbitals], resolved.left[:, :, self.orbitals].swapaxes(1, 2)
        phase = self._phases(resolved.k, jacobian)
        if len(self.levels) < len(self.orbitals):  # fewer numbers than all pairs of orbitals
            green = (right[:, None] * poles[:, :, None, :]) @ left.swapaxes(1, 2)[:, None]
            return green[:, :, self.x, self.y] * phase
        pairs = right[:, self.x] * left[:, self.y]  # (N, C, n)
        return poles @ pairs.swapaxes(1, 2) * phase

    def _phases(self, k: np.ndarray, jacobian: np.ndarray) -> np.ndarray:
        """(N, 1, C), with all factors."""
        phase = np.exp(2j * np.pi * k @ self.steps.T) * (self.measure * jacobian)[:, None]
        return phase[:, None, self.step.ravel()]

    def solves(self, width: float) -> float:
        return len(self.levels) * (ORDER if width else 1) * (1 + COLUMN * len(self.orbitals) / self.model.size)

    def solved(self, k: np.ndarray, h: np.ndarray, width: float, jacobian: np.ndarray) -> np.ndarray:
        """𝒱 ⟨x|(ε − H̃)⁻¹|y⟩ on the impurities' columns only."""
        coefficients, shifts = kernel(width)
        levels = self.levels.astype(complex)[:, None] + shifts
        rows = min(4096, tile_rows(self.model, arrays=4 * levels.size))
        (green,) = over_tiles(lambda part: (_resolvents(part, levels, coefficients, self.orbitals),), rows, h)
        return green[:, :, self.x, self.y] * self._phases(k, jacobian)

    def at(self, levels: np.ndarray) -> _Green:
        return _Green(self.model, levels, self.given, self.folding)


@eqx.filter_jit
def _resolvents(h: Array, levels: np.ndarray, coefficients: np.ndarray, orbitals: np.ndarray) -> Array:
    """Σ_j c_j ⟨m|(ε_ij − H̃)⁻¹|m'⟩, (N, E, m, m)."""
    one = jnp.eye(h.shape[-1])

    def at(level: Array, h: Array) -> Array:
        return solve(level * one - h, one[:, orbitals].astype(complex))[orbitals]

    every = jax.vmap(lambda h: jax.vmap(jax.vmap(lambda level: at(level, h)))(levels))(h)
    return jnp.einsum("j,nejab->neab", coefficients, every)


class _Flux:
    """Re i Σ_nm O_a,nm v_b,mn [g(λ_n) − g(λ_m)]/(λ_n − λ_m)²: Σ_n f⁰(ε_n) F_n,ab at real k.

    g is analytic below the real axis of λ, and Re g = f⁰ on it: :func:`occupation_moment` of x = μ − λ; or a higher.
    """

    strip, folding = np.inf, None

    def __init__(
        self,
        model: BlochModel,
        thermal: Thermal,
        observable: Observable = _CURRENT,
        power: int = 0,
    ):
        self.model, self.thermal, self.observable, self.power = model, thermal, observable, power
        self.levels, self.measure = np.array([thermal.fermi_level]), float(model.measure)

    def __call__(self, resolved: Resolved, width: float, jacobian: np.ndarray) -> np.ndarray:
        x = self.thermal.fermi_level - resolved.eigenvalues.astype(complex)
        filling = kernel_mean(self._filling, x, 0.0 if self.thermal.width else width)
        parts = (resolved.k, resolved.eigenvalues, resolved.right, resolved.left, filling)
        rows = min(4096, tile_rows(self.model, arrays=16))
        (flux,) = over_tiles(lambda *part: (_flux(self.model, self.observable, *part),), rows, *parts)
        return np.real(self.measure * jacobian[:, None] * flux)[:, None, :]

    def at(self, levels: np.ndarray) -> _Flux:
        del levels  # one Fermi level
        return self

    def _filling(self, x: np.ndarray) -> np.ndarray:
        return occupation_moment(x, self.thermal.width, self.power)


@eqx.filter_jit
def _flux(
    model: BlochModel, observable: Observable, k: Array, eigenvalues: Array, right: Array, left: Array, filling: Array
) -> Array:
    """Complex integrand of :class:`_Flux`, (N, 9), of the current (N, 3)."""

    def one(k, energies, right, left, filling):
        slope, own = covariant_derivative(model, k)
        v = left @ slope @ right
        gap = energies[:, None] - energies[None, :]
        apart = jnp.abs(gap) > DEGENERACY_TOLERANCE
        quotient = jnp.where(apart, (filling[:, None] - filling[None, :]) / jnp.where(apart, gap, 1.0) ** 2, 0.0)
        if observable.matrices is not None:
            o = left @ summed(model, observable.matrices, k) @ right
            return 1j * jnp.einsum("anm,bmn->ab", o * quotient, v).ravel()
        flux = 1j * jnp.sum(v[_NEXT] * jnp.swapaxes(v[_PREVIOUS], 1, 2) * quotient, axis=(1, 2))
        if own is not None:
            flux = flux + jnp.einsum("nm,amp,pn,n->a", left, own, right, filling)
        return flux

    return jax.vmap(one)(k, eigenvalues, right, left, filling)


def _beyond_the_box(model: KdotP, integrand: Integrand, goal: Goal) -> Iterator[Integral]:
    """The outside of a k·p box: pyramids k = c + (b − c)/t on its faces b, c the centre, 0 < t < 1.

    An integrand that falls off like |k|^{−d−1} is analytic in t.
    """
    lo, hi = np.array(model.zone).T
    centre, half, d = 0.5 * (lo + hi), 0.5 * (hi - lo), len(lo)
    values = Points(model, integrand)
    for axis, side in product(range(d), (-1, 1)):

        def pyramid(x: np.ndarray, axis: int = axis, side: int = side) -> np.ndarray:
            t = x[:, :1]
            face = np.insert(2 * x[:, 1:] - 1, axis, side, axis=1) * half
            volume = 2 ** (d - 1) * np.prod(half) / t ** (d + 1)
            return volume[:, :, None] * values(centre + face / t)

        yield adaptive_integral(pyramid, first_mesh(((0.0, 1.0),) * d, [], False)[0], goal)


def _warn(result: Integral, enough: float, what: str, mend: str) -> None:
    known = result.relative_error
    if known > enough:
        warnings.warn(
            f"an integral over the whole zone is known to {known:.1g} only (asked: {enough:g}), {what}: small "
            f"pockets, bands that nearly touch or a van Hove energy nearby; {mend}.",
            AccuracyWarning,
            stacklevel=3,
        )
