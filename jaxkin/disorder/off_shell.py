"""Scattering through states off the shell by a potential of finite range: Schwinger's principle.

With trial states a, which need be no eigenstates, and G = (ε − H)⁻¹ in its principal value,

    K = V + V Re G K ≈ V + V|a⟩Q⟨a|V,   Q = (V_aa − B)⁻¹ − V_aa⁻¹,   B = ∫(dk) ⟨a|V|k⟩ Re G ⟨k|V|a⟩,

is stationary: exact to the second order in V whatever the trial states, and wrong in the third by what V among the
states that matter differs from V|a⟩V_aa⁻¹⟨a|V. They are points of the surface, and with them states off it
where Re G V takes the former.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex

from jaxkin.disorder.form_factors import FormFactors
from jaxkin.disorder.orbital_moments import hermitian
from jaxkin.disorder.pivots import Separable, compiled_potential, filled_rank, pivots_of
from jaxkin.disorder.states import ShellStates
from jaxkin.errors import AccuracyWarning
from jaxkin.hamiltonian.bloch import BlochModel
from jaxkin.hamiltonian.linear import solve
from jaxkin.hamiltonian.tiles import over_tiles, scanned
from jaxkin.namespace import AnyArray, Number, is_traced, namespace
from jaxkin.surface.continuation import continued
from jaxkin.surface.contour import (
    ORDER,
    Resolved,
    kernel,
    kernel_mean,
    resolved_at,
    singular_integral,
)
from jaxkin.surface.green import COLUMN
from jaxkin.surface.green_rule import RuleNodes, rule_nodes
from jaxkin.surface.surface import Surface
from jaxkin.surface.zone import Goal

RTOL, BUDGET = 1e-2, 2_000_000
"""Of ∫(dk) ⟨a|V|k⟩ Re G ⟨k|V|a⟩."""
PROBES = 12
"""Trial states on the shell by which the nodes of the integral are decided."""
CANDIDATES = 512
"""States of the surface, and as many off it, that the trial states are chosen from."""
SPANNED, LOOSE = 1e-4, 1e-3
"""Error of V between the candidates, relative to its largest element, with which there are trial states enough; and a
larger one: what T changes by between the two is the error that is told ..."""
ENOUGH = 0.03
"""... where it is larger, relative to T."""
NEAR = 0.05
"""Part of the nodes next to the level that count as far from it as the last of them."""
BYTES = 2**26
"""What ⟨k α|V|a⟩ of a tile of nodes takes."""


class States(NamedTuple):
    """Cartesian k in Å⁻¹ (A, 3) and |u⟩ (A, n), zero where one stands for none."""

    k: AnyArray
    u: AnyArray


class TrialStates(eqx.Module):
    """States in the order in which V needs them, and which are of the surface.

    The first ``few`` would do for a LOOSE interpolation of V.
    """

    k: AnyArray
    u: AnyArray
    shell: AnyArray
    few: int = eqx.field(static=True)


class OffShell(eqx.Module):
    """What a potential of strength one, at one position, does through states off the shell.

    Attributes:
        trial: the trial states.
        overlap: V_aa, (A, A).
        green: ⟨a|V (ε + i0 − H)⁻¹ V|a⟩, (E, A, A), at the energies ``levels`` in eV, (E,): B is its Hermitian part.
    """

    trial: TrialStates
    overlap: Complex[AnyArray, "A A"]
    green: Complex[AnyArray, "E A A"]
    levels: AnyArray

    def at(self, level: AnyArray) -> OffShell:
        """At the nearest of its energies."""
        nearest = namespace(self.levels, level).argmin(abs(self.levels - level))
        return OffShell(self.trial, self.overlap, self.green[nearest][None], self.levels[nearest][None])

    def uncertainty(self, scale: Number) -> Array:
        """What T of ``scale`` times V gains on the shell by the last of the trial states, the worst of all energies."""
        v, m = jnp.asarray(self.overlap), self.trial.few
        mine = jnp.asarray(self.trial.shell)[:, None] * v

        def amplitude(green: Array, count: int) -> Array:
            left = mine[:, :count]
            return left @ jnp.linalg.solve(v[:count, :count] - scale * green[:count, :count], left.conj().T)

        def change(green: Array) -> Array:
            t = amplitude(green, len(v))
            return jnp.linalg.norm(t - amplitude(green, m)) / jnp.linalg.norm(t)

        return jnp.max(jax.lax.map(change, jnp.asarray(self.green)))

    def added(self, scale: Number) -> Separable:
        """V|a⟩q⟨a|V, with which ``scale`` times V is K over ``scale``."""
        v, b = jnp.asarray(self.overlap), scale * hermitian(jnp.asarray(self.green[0]))
        return Separable(
            jnp.asarray(self.trial.k),
            jnp.asarray(self.trial.u),
            hermitian(jnp.linalg.solve(v, b) @ jnp.linalg.inv(v - b)),
        )


class OffShellRule(eqx.Module):
    """Trial states and the nodes of B, decided where the surface was sampled; numbers, as both serve nearby models too.

    Attributes:
        trial: the trial states.
        parts: nodes at real k.
    """

    trial: TrialStates
    parts: tuple[RuleNodes, ...]

    def __call__(self, model: BlochModel, energies: AnyArray, factors: FormFactors, members: Array) -> OffShell:
        """For a model, energies (E,) in eV, and the form factors of V of strength one."""
        k, u = jnp.asarray(self.trial.k), jnp.asarray(self.trial.u)
        overlap = _overlap(factors, k, u, members)
        green = jnp.zeros((len(energies), len(k), len(k)), complex)
        for part in self.parts:
            chosen = np.array(part.levels)
            given = part.shifts, model, jnp.asarray(energies)[chosen], factors, members, self.trial
            tiles = [jnp.asarray(part.k), jnp.asarray(part.weight)]
            if is_traced(given):
                found = scanned(jax.checkpoint(lambda *tile, given=given: _tile(*given, *tile)), tuple(tiles))
            else:
                found = sum(_tile_of(*given, *tile) for tile in zip(*tiles, strict=True))
            green = green.at[chosen].set(model.measure * found)
        return OffShell(self.trial, overlap, green, energies)


def _overlap(factors: FormFactors, k: Array, u: Array, members: Array) -> Array:
    absent = jnp.sum(jnp.abs(u) ** 2, axis=1) == 0
    return compiled_potential(factors, k, u, members) + jnp.diag(absent.astype(complex))


def around(
    factors: FormFactors, members: Array, k: Complex[Array, "I 3"], trial: TrialStates | States
) -> tuple[Complex[Array, "I A n"], Complex[Array, "I n A"]]:
    """⟨a|V|k α⟩ and ⟨k α|V|a⟩ at real or complex k."""
    there, u = jnp.asarray(trial.k), jnp.asarray(trial.u)
    left = jnp.einsum("sai,ns,an->ian", factors.continued(there, k), members, u.conj())
    return left, jnp.einsum("sia,ns,an->ina", factors.continued(k, there), members, u)


def _periodic(model: BlochModel, factors: FormFactors, members: Array, k: Array, trial: TrialStates | States):
    """The same with the orbitals' positions left out of their phases, as in H̃; k in model coordinates."""
    k = k @ model.basis
    left, right = around(factors, members, k, trial)
    turn = jnp.exp(1j * (k @ jnp.asarray(model.centres).T))
    return left / turn[:, None], turn[:, :, None] * right


def _tile(
    shifts: tuple[np.ndarray, np.ndarray],
    model: BlochModel,
    energies: Array,
    factors: FormFactors,
    members: Array,
    trial: TrialStates,
    k: Array,
    weight: Array,
) -> Array:
    """Σ W ⟨a|V|k⟩ (ε + i0 − H)⁻¹ ⟨k|V|a⟩ of a tile of nodes, (E, A, A)."""
    left, right = _periodic(model, factors, members, k, trial)
    left = weight[:, None, None] * left
    one = jnp.eye(model.size, dtype=complex)

    def green(k: Array, energy: Array) -> Array:
        h = continued(model, k)
        return sum((c * solve((energy + shift) * one - h, one) for c, shift in zip(*shifts, strict=True)), 0 * one)

    def at(energy: Array) -> Array:
        return jnp.einsum("ian,inb->ab", left, jax.vmap(green, (0, None))(k, energy) @ right)

    return jax.lax.map(at, energies)


_tile_of = eqx.filter_jit(_tile)


class _Probed:
    """⟨a|V G V|a⟩ of some trial states, (N, E, P): by it the nodes are decided."""

    folding = None

    def __init__(self, model: BlochModel, levels: np.ndarray, factors: FormFactors, members: Array, probes: States):
        self.model, self.levels, self.given = model, levels, (factors, members, probes)
        self.measure, self.strip = float(model.measure), factors.strip

    def __call__(self, resolved: Resolved, width: float, jacobian: np.ndarray) -> np.ndarray:
        poles = kernel_mean(np.reciprocal, self.levels[:, None] - resolved.eigenvalues[:, None, :] + 0j, width)
        return self.measure * jacobian[:, None, None] * (poles @ self.products(resolved))

    def products(self, resolved: Resolved) -> np.ndarray:
        """⟨a|V|n⟩⟨n|V|a⟩, (N, n, P)."""
        rows = max(16, BYTES // (64 * self.model.size * PROBES))
        return over_tiles(partial(_products, self.model, *self.given), rows, resolved.k, resolved.right, resolved.left)

    def at(self, levels: np.ndarray) -> _Probed:
        return _Probed(self.model, levels, *self.given)

    def solves(self, width: float) -> float:
        return len(self.levels) * (ORDER if width else 1) * (1 + COLUMN * PROBES / self.model.size)

    def solved(self, k: np.ndarray, h: np.ndarray, width: float, jacobian: np.ndarray) -> np.ndarray:
        rows = max(16, BYTES // (64 * self.model.size * PROBES))
        found = over_tiles(partial(_solved, self.model, self.levels, kernel(width), *self.given), rows, k, h)
        return self.measure * jacobian[:, None, None] * found


@eqx.filter_jit
def _products(
    model: BlochModel, factors: FormFactors, members: Array, probes: States, k: Array, right: Array, left: Array
) -> Array:
    there, back = _periodic(model, factors, members, k, probes)
    return jnp.swapaxes(there @ right, 1, 2) * (left @ back)


@eqx.filter_jit
def _solved(
    model: BlochModel,
    levels: np.ndarray,
    shifts: tuple[np.ndarray, np.ndarray],
    factors: FormFactors,
    members: Array,
    probes: States,
    k: Array,
    h: Array,
) -> Array:
    there, back = _periodic(model, factors, members, k, probes)
    one = jnp.eye(h.shape[-1])

    def at(level: Array, h: Array, there: Array, back: Array) -> Array:
        parts = [
            c * jnp.sum(there.T * solve((level + s) * one - h, back), axis=0) for c, s in zip(*shifts, strict=True)
        ]
        return sum(parts, jnp.zeros(()))

    every = jax.vmap(lambda *mine: jax.vmap(lambda level: at(level, *mine))(jnp.asarray(levels)))
    return every(h, there, back)


def decide(surface: Surface, factors: FormFactors, members: Array) -> OffShellRule:
    """Trial states and nodes for a potential of strength one on a surface that was sampled.

    Warns:
        AccuracyWarning: the integral is known to less than RTOL.
    """
    rng, model = np.random.default_rng(0), surface.model
    if not len(surface):  # in a gap, or all of it is other processes'
        zero = np.zeros(PROBES)
        return OffShellRule(TrialStates(np.zeros((PROBES, 3)), np.zeros((PROBES, model.size), complex), zero, 1), ())
    some = np.sort(rng.permutation(len(surface))[:CANDIDATES])
    shell = States(*(np.asarray(x) for x in ShellStates(surface, bloch=True).some(some)))
    on_shell = np.ones(len(some))
    first = _chosen(shell, on_shell, factors, members)
    probes = States(first.k[:PROBES], first.u[:PROBES])
    integrand = _Probed(model, np.asarray(surface.levels), factors, members, probes)
    found = singular_integral(model, integrand, Goal(RTOL, BUDGET))
    excess = found.relative_error
    if excess > RTOL:
        warnings.warn(
            f"scattering through states off the shell is known to {excess:.1g} only: a potential much wider than the "
            "pockets, or a level at a band edge.",
            AccuracyWarning,
            stacklevel=4,
        )
    parts = rule_nodes(found, integrand.levels)
    every = States(*(np.concatenate(x) for x in zip(shell, _taken(integrand, parts, rng), strict=True)))
    on_shell = np.pad(on_shell, (0, len(every.k) - len(some)))
    return OffShellRule(_chosen(every, on_shell, factors, members), parts)


def warn_of_trial_states(every: Sequence[OffShell], scale: Number) -> None:
    """Say where V is so strong that its trial states are not enough."""
    change = max(float(one.uncertainty(scale)) for one in every)
    if change > ENOUGH:
        warnings.warn(
            f"the T-matrix of a potential of finite range changes by {change:.1g} with its last trial states: near a "
            "resonance, or stronger than Schwinger's principle has states for.",
            AccuracyWarning,
            stacklevel=4,
        )


def _chosen(states: States, on_shell: np.ndarray, factors: FormFactors, members: Array) -> TrialStates:
    """Those that V among all is interpolated through, and zeros."""
    k, u = states
    v = np.asarray(compiled_potential(factors, jnp.asarray(k), jnp.asarray(u), members))
    choice = pivots_of(v, SPANNED)
    chosen = choice.points[: choice.rank]
    fill = max(PROBES, filled_rank(choice.rank)) - len(chosen)
    k, u = (np.pad(x[chosen], ((0, fill), (0, 0))) for x in (k, u))
    return TrialStates(k, u, np.pad(on_shell[chosen], (0, fill)), max(1, pivots_of(v, LOOSE).rank))


def _taken(integrand: _Probed, parts: Sequence[RuleNodes], rng: np.random.Generator) -> States:
    """States near the nodes, drawn by how much G V takes the probes there."""
    model, share, found = integrand.model, [], []
    for part in parts:
        levels = integrand.levels[np.array(part.levels)]
        resolved = resolved_at(model, np.real(part.k).reshape(-1, model.dimension))
        distance = np.abs(levels[:, None] - resolved.eigenvalues[:, None, :])
        strength = np.real(integrand.products(resolved)).sum(axis=2)
        poles = 1 / np.maximum(distance, np.quantile(distance.min(axis=(1, 2)), NEAR))
        share.append(np.abs(part.weight.ravel()[:, None]) * poles.sum(axis=1) * strength)
        found.append(resolved)
    weight = np.concatenate(share)
    drawn = rng.choice(weight.size, min(CANDIDATES, np.count_nonzero(weight)), False, weight.ravel() / weight.sum())
    node, band = np.unravel_index(drawn, weight.shape)
    k = np.concatenate([one.k for one in found])[node] @ np.asarray(model.basis)
    u = np.concatenate([one.right for one in found])[node, :, band]
    return States(k, u * np.exp(-1j * (k @ np.asarray(model.centres).T)))
