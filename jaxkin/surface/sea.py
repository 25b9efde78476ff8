"""Integrals over all states of functions with a step at an energy: the filled bands' response."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import product

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxkin.hamiltonian.bloch import BlochModel
from jaxkin.hamiltonian.eigensystem import DEGENERACY_TOLERANCE
from jaxkin.hamiltonian.kdotp import KdotP
from jaxkin.hamiltonian.spectrum import Spectrum
from jaxkin.hamiltonian.tiles import over_tiles, tile_rows
from jaxkin.observable import Observable, summed
from jaxkin.surface.continuation import covariant_derivative
from jaxkin.surface.contour import (
    Integrand,
    Points,
    Resolved,
    ZoneIntegral,
    kernel_mean,
    mesh_points,
    singular_integral,
    warn_of,
)
from jaxkin.surface.nodes import Nodes
from jaxkin.surface.occupations import occupation_moment
from jaxkin.surface.plan import Progress
from jaxkin.surface.search import Pocket, find_pockets
from jaxkin.surface.shifted import shifted_lattices
from jaxkin.surface.thermal import Thermal
from jaxkin.surface.zone import Goal, Integral, adaptive_integral, first_mesh

ENOUGH = 1e-4
"""Relative error of the filled Berry curvature that is worth a warning."""
ROOM = 2
"""How many times the points of its first mesh a tree must be able to spend, to become better than shifted lattices."""
LEAST = 0.25
"""Quanta e²/h, in 3D e²/h over the edge of a cube of the cell's volume, below which accuracy is not relative."""
_NEXT, _PREVIOUS = np.array([1, 2, 0]), np.array([2, 0, 1])
_CURRENT = Observable.current()


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
    warn_of(found, max(rtol, ENOUGH), "the filled states' Berry curvature", "raise `hall_budget`, or give hall=False")
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
