"""Roots of ε_n = level on lines by linear solves, where it is known about where they are.

Nonlinear inverse iteration: one solve with H − level gives the nearest eigenvalue, its state, and by that the slope
of the band. The states of a few eigensystems on the surface are where all of them start.
"""

from __future__ import annotations

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from scipy.spatial import KDTree

from jaxkin.devices import spread
from jaxkin.hamiltonian.bloch import BlochModel
from jaxkin.hamiltonian.eigenpair import iterate
from jaxkin.hamiltonian.eigensolvers import batched_eigensystems
from jaxkin.hamiltonian.spectrum import Spectrum, hamiltonians
from jaxkin.hamiltonian.tiles import buckets, tile_rows
from jaxkin.surface.points import DOUBTFUL
from jaxkin.surface.roots import FARTHEST, POLISHED

STEPS = 5
"""Newton steps after which a root is given up; two are taken where elements are good."""
REFERENCES = 64
"""Eigensystems at most whose states roots start from, and one for each ..."""
SHARE = 32
"""... roots at least."""
SAFETY = 0.1
"""What is left after the last step over ``POLISHED``: an energy that is off costs the geometry two more solves."""
APART = 3.0
"""The next band must be farther from the level than the band by this factor."""


class Approach(NamedTuple):
    """Estimates of N roots.

    Attributes:
        k: model coordinates, (N, d).
        band: index, (N,).
        direction: k moves by it per unit of t, (d,).
        slope: dε/dt, (N,).
        bend: half of d²ε/dt², (N,).
        doubt: by how much the energy may be off, (N,).
    """

    k: np.ndarray
    band: np.ndarray
    direction: np.ndarray
    slope: np.ndarray
    bend: np.ndarray
    doubt: np.ndarray


def solved_roots(
    spectrum: Spectrum, near: Approach, level: float, edges: np.ndarray, cell: float
) -> tuple[np.ndarray, np.ndarray]:
    """t of each root from its estimate, and whether it is one that surely belongs to its band.

    It belongs to it if the first energy found is within the doubt, the next band is ``APART``, the slope has the
    sign it should have, and the root is not ``FARTHEST`` cells away. Others are for eigenvalues to find. It is for
    smooth elements to exclude that a band crosses another one between the estimate and the root: it would be followed.

    Args:
        spectrum: of three bands at least; it counts every factorisation.
        near: the estimates.
        level: in eV.
        edges: of the box in which distances between roots are taken, (d,).
        cell: length in t that tolerances are relative to.
    """
    t, good = np.zeros(len(near.k)), np.zeros(len(near.k), bool)
    if not len(t):
        return t, good
    chosen = np.linspace(0, len(t) - 1, min(REFERENCES, -(-len(t) // SHARE))).astype(int)
    states, gaps = _references(spectrum, near.k[chosen], near.band[chosen])
    if np.mean(gaps < DOUBTFUL) > 0.5:  # degenerate everywhere
        return t, good
    _, closest = KDTree(_place(near, chosen, edges)).query(_place(near, slice(None), edges))
    state, other = states[closest].swapaxes(0, 1)
    live, last = np.arange(len(t)), np.full(len(t), cell)
    for count in range(STEPS):
        spectrum.evaluations += len(live)
        k = near.k[live] + t[live, None] * near.direction
        excess, slope, gap, state, other = _tiles(spectrum.model, k, level, near.direction, state, other)
        bend = near.bend[live]
        with np.errstate(all="ignore"):
            root = np.sqrt(slope**2 - 4 * bend * excess)
            step = -2 * excess / (slope + np.copysign(root, slope))
            left = np.maximum(np.abs(bend / slope) * step**2, np.abs(step) ** 3 / last[live] ** 2)  # quadratic
        sure = (gap > np.maximum(DOUBTFUL, APART * np.abs(excess))) & (slope * near.slope[live] > 0)
        sure &= np.isfinite(step) & (np.abs(t[live] + step) < FARTHEST * cell)
        if count == 0:
            sure &= np.abs(excess) <= near.doubt[live]
        t[live[sure]] += step[sure]
        last[live] = step
        done = sure & (left < SAFETY * POLISHED * cell) & (count > 0)  # the first state is an estimate
        good[live[done]] = True
        again = sure & ~done
        live, state, other = live[again], state[again], other[again]
        if not len(live):
            break
    return t, good


def _references(spectrum: Spectrum, k: np.ndarray, band: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """States of the bands and of the ones next to them, (K, 2, n), and their distances, (K,)."""
    spectrum.evaluations += len(k)
    found, gaps = [], []
    for part, padded in buckets(k, tile_rows(spectrum.model, arrays=4)):
        count = part.stop - part.start
        solved = batched_eigensystems(hamiltonians(spectrum.model, spread(padded)))
        energies, states = (np.asarray(array)[:count] for array in solved)
        rows, own = np.arange(count), band[part]
        distance = np.abs(energies - energies[rows, own, None])
        distance[rows, own] = np.inf
        found.append(np.stack([states[rows, :, own], states[rows, :, distance.argmin(axis=1)]], axis=1))
        gaps.append(distance.min(axis=1))
    return np.concatenate(found), np.concatenate(gaps)


def _place(near: Approach, chosen: np.ndarray | slice, edges: np.ndarray) -> np.ndarray:
    """Box coordinates, with bands far from each other."""
    band = np.asarray(near.band, float)[chosen, None]
    return np.concatenate([near.k[chosen] / edges, 1e3 * band], axis=1)


def _tiles(
    model: BlochModel, k: np.ndarray, level: float, direction: np.ndarray, state: np.ndarray, other: np.ndarray
) -> list[np.ndarray]:
    """Excess over the level, its slope along the direction and the gap (N,), state and the other vector (N, n)."""
    model, parts, same = model.packed(), [], (np.asarray(level), np.asarray(direction, float))
    for part, padded in buckets(np.arange(len(k)), tile_rows(model, arrays=8)):
        tile = (spread(array[padded]) for array in (k, state, other))
        parts.append([np.asarray(x)[: part.stop - part.start] for x in _step(model, *same, *tile)])
    return [np.concatenate(column) for column in zip(*parts, strict=True)]


@eqx.filter_jit
def _step(
    model: BlochModel, level: np.ndarray, direction: np.ndarray, *points: Array | np.ndarray
) -> tuple[Array, ...]:
    def one(k: Array, state: Array, other: Array) -> tuple[Array, ...]:
        h, along = jax.jvp(model.hamiltonian, (k,), (jnp.asarray(direction),))
        found = iterate(h, jnp.asarray(level), state, other)
        slope = jnp.real(jnp.vdot(found.state, along @ found.state))
        return found.energy - level, slope, found.gap, found.state, found.other

    return jax.vmap(one)(*map(jnp.asarray, points))
