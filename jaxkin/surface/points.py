"""Band geometry of many points, tile by tile.

Where the energy of each point is known two or three linear solves give it. Bands whose energy is not known, or that
another comes too near, are diagonalised; those of the same k share that.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxkin.devices import spread
from jaxkin.geometry import Eigen, Trust, diagonalised, mean_geometry, pair_geometry, separate_geometry
from jaxkin.hamiltonian.bloch import BlochModel
from jaxkin.hamiltonian.eigenpair import generic_vectors
from jaxkin.hamiltonian.eigensystem import DEGENERACY, DEGENERACY_TOLERANCE
from jaxkin.hamiltonian.linear import solve
from jaxkin.hamiltonian.spectrum import Spectrum
from jaxkin.hamiltonian.tiles import buckets, over_tiles, tile_rows
from jaxkin.namespace import AnyArray, is_traced

VECTORS = ("energy", "velocity", "berry_curvature", "orbital_moment", "spin_moment")
STATES = ("state", "covariant_derivative")


SMALLEST_SOLVED = 6
"""Bands from which solves are faster than an eigensystem."""
CLOSE = 2e-13
"""‖δu‖ of a state that is exact ..."""
ROUNDING = 1e-15
"""... or this part of H over the gap."""
DOUBTFUL = 1e-4
"""eV: bands that come this near to the next are diagonalised, as they may be degenerate."""
OVER = 3
"""What a gap is overestimated by at most."""
NEAR = 10
"""Degeneracies from the next band within which a reduced resolvent is left to the eigensystem."""
PASSES = 3
"""Of two solves each. One is enough for energies good to 1e-13, two for 1e-4."""


def kept_vectors(model: BlochModel) -> tuple[str, ...]:
    """Those that may be other than zero."""
    return VECTORS if model.spin is not None else tuple(name for name in VECTORS if name != "spin_moment")


def point_geometry(
    model: BlochModel,
    k: np.ndarray,
    band: np.ndarray,
    names: tuple[str, ...] = VECTORS,
    energy: np.ndarray | None = None,
    *,
    degeneracy: float = DEGENERACY,
    start: np.ndarray | None = None,
    spectrum: Spectrum | None = None,
) -> dict[str, np.ndarray]:
    """The attributes ``names`` of the :class:`BandGeometry` of N points; degenerate sets are taken as a whole.

    Several bands of one k, wherever they stand, cost one diagonalisation.

    Args:
        model: any Bloch model.
        k: model coordinates, (N, d).
        band: indices, (N,).
        names: of what is wanted.
        energy: of these bands in eV, (N,), if it is known and no other band is as near: linear solves then replace
            the diagonalisation, except where another band comes near.
        degeneracy: eV, as in :func:`jaxkin.band_geometry`.
        start: states near those at these points, (N, n), if there are any.
        spectrum: counts diagonalisations and factorisations.

    >>> import jaxkin as jk, numpy as np
    >>> geometry = point_geometry(jk.models.get("tellurium"), np.array([[0.1, 0.2, 0.3]]), np.array([5]))
    >>> geometry["velocity"].shape
    (1, 3)
    """
    n = model.size
    shapes = {"energy": (), "state": (n,), "covariant_derivative": (3, n)}
    columns = {
        name: np.empty((len(k), *shapes.get(name, (3,))), complex if name in STATES else float) for name in names
    }
    left, spent = np.arange(len(k)), 0
    if energy is not None and n >= SMALLEST_SOLVED:
        left, spent = _by_solves(model, k, np.asarray(energy, float), degeneracy, start, columns)
    spent += _by_eigensystems(model, k, band, left, degeneracy, columns)
    if spectrum is not None:
        spectrum.evaluations += spent
    return columns


class _Start(NamedTuple):
    """Where :func:`pair_geometry` begins at every point: energy, and two vectors."""

    energy: Array | np.ndarray
    state: Array | np.ndarray
    other: Array | np.ndarray


def _by_solves(
    model: BlochModel,
    k: np.ndarray,
    energy: np.ndarray,
    degeneracy: float,
    start: np.ndarray | None,
    columns: dict[str, np.ndarray],
) -> tuple[np.ndarray, int]:
    """Fill ``columns`` where an eigenpair is sure; the points that are left, and the number of factorisations."""
    model, (first, other) = model.packed(), generic_vectors(model.size)
    live, left, spent = np.arange(len(k)), [np.arange(0)], 0
    state = np.broadcast_to(first, (len(k), model.size)) if start is None else start
    now = _Start(energy, state, np.broadcast_to(other, (len(k), model.size)))
    for number in range(PASSES):
        again, onward, at = [np.arange(0)], [_Start(*(array[:0] for array in now))], k[live]
        for part, padded in buckets(np.arange(len(live)), tile_rows(model, arrays=12)):
            count = part.stop - part.start
            tile = (spread(array[padded]) for array in (at, *now))
            found, trust, then = jax.tree.map(
                lambda x, c=count: np.asarray(x)[:c], _pairs(model, tuple(columns), *tile)
            )
            spent += 2 * count
            sure, doubtful = _judged(trust, np.abs(then.energy - energy[live[part]]), degeneracy)
            for name, column in columns.items():
                column[live[part][sure]] = found[name][sure]
            left.append(live[part][doubtful])
            again.append(live[part][~sure & ~doubtful])
            onward.append(_Start(*(array[~sure & ~doubtful] for array in then)))
        live, now = np.concatenate(again), _Start(*map(np.concatenate, zip(*onward, strict=True)))
        if number == 0 and 2 * sum(map(len, left)) > len(k):  # degenerate everywhere
            break
    return np.sort(np.concatenate([*left, live])), spent


def _judged(trust: Trust, moved: np.ndarray, degeneracy: float) -> tuple[np.ndarray, np.ndarray]:
    """Which points are done, and which may not be left to solves; ``moved`` is how far off the energy was."""
    change, gap, scale = map(np.asarray, trust)
    doubtful = ~(gap > np.maximum(max(DOUBTFUL, OVER * degeneracy), 4 * moved))
    with np.errstate(divide="ignore", invalid="ignore"):
        exact = np.maximum(CLOSE, ROUNDING * scale / gap)
        return ~doubtful & (change < exact), doubtful


@eqx.filter_jit
def _pairs(
    model: BlochModel, names: tuple[str, ...], *points: Array | np.ndarray
) -> tuple[dict[str, Array], Trust, _Start]:
    def one(k: Array, energy: Array, state: Array, other: Array) -> tuple[dict[str, Array], Trust, _Start]:
        geometry, onward, trust = pair_geometry(model, k, energy, state, other)
        found = {name: getattr(geometry, name) for name in names}
        return found, trust, _Start(onward.energy, onward.state, onward.other)

    return jax.vmap(one)(*map(jnp.asarray, points))


def reduced_resolvents(
    model: BlochModel,
    k: AnyArray,
    energy: AnyArray,
    state: AnyArray,
    orbitals: tuple[int, ...],
    degeneracy: float = DEGENERACY,
) -> AnyArray:
    """⟨m|Q|m'⟩ of Q = Σ_{n: ε_n ≠ ε} |n⟩⟨n|/(ε − ε_n), without the band and its degenerate set, (N, o, o) in 1/eV.

    Q = (ε − H + s|u⟩⟨u|)⁻¹ − |u⟩⟨u|/s for any s, here the size of H, by solves; where another band comes near the
    ``degeneracy`` and nothing is traced, from the eigensystem.

    Args:
        model: any Bloch model.
        k: model coordinates, (N, d).
        energy: ε in eV, (N,).
        state: |u⟩, (N, n).
        orbitals: indices of o orbitals.
        degeneracy: eV, bands that lie closer count as one set.
    """
    model, rows = model.packed(), tile_rows(model, arrays=8)
    found = over_tiles(lambda *tile: _reduced(model, orbitals, *tile), rows, k, energy, state)
    if is_traced(found):
        return found
    doubtful = np.flatnonzero(~(np.abs(found).max(axis=(1, 2)) * NEAR * degeneracy < 1))
    for part, padded in buckets(doubtful, rows):
        chosen, count = doubtful[part], part.stop - part.start
        eigen = diagonalised(model, np.asarray(k)[padded], count)
        gap = np.asarray(energy)[chosen, None] - np.asarray(eigen.energies)[:count]
        inverse = np.where(np.abs(gap) < degeneracy, 0.0, 1 / np.where(gap == 0, 1.0, gap))
        local = np.asarray(eigen.states)[:count, np.array(orbitals)]
        found[chosen] = (local * inverse[:, None, :]) @ local.conj().swapaxes(1, 2)
    return found


@eqx.filter_jit
def _reduced(model: BlochModel, orbitals: tuple[int, ...], k: Array, energy: Array, state: Array) -> Array:
    columns = jnp.eye(model.size)[:, np.array(orbitals)].astype(complex)

    def one(k: Array, energy: Array, u: Array) -> Array:
        h = model.hamiltonian(k)
        size = jax.lax.stop_gradient(jnp.max(jnp.abs(h)) + jnp.abs(energy) + 1e-300)
        band = u[:, None] * u.conj()
        inverse = solve(energy * jnp.eye(len(h)) - h + size * band, columns) - band[:, np.array(orbitals)] / size
        return jnp.where(jnp.any(u != 0), inverse[np.array(orbitals)], 0.0)

    return jax.vmap(one)(k, energy, state)


def _by_eigensystems(
    model: BlochModel,
    k: np.ndarray,
    band: np.ndarray,
    chosen: np.ndarray,
    degeneracy: float,
    columns: dict[str, np.ndarray],
) -> int:
    """Fill ``columns`` at the points ``chosen``; the number of diagonalisations."""
    model, names, spent = model.packed(), tuple(columns), 0
    for group in _sharing(k[chosen]):
        points = chosen[group]
        spent += len(points)
        for part, padded in buckets(points, tile_rows(model, arrays=12)):
            count = part.stop - part.start
            first = k[padded[:, 0]]
            eigen = diagonalised(model, first, count)
            separate = separate_geometry(model, spread(first), eigen, band[padded], names)
            found, distance = jax.tree.map(np.asarray, separate)
            degenerate = np.argwhere(distance[:count] < max(degeneracy, DEGENERACY_TOLERANCE))
            for name, column in columns.items():  # a JAX array would compile a slice for every length
                column[points[part]] = found[name][:count]
            if len(degenerate):
                sets = points[part][tuple(degenerate.T)]
                for name, values in _sets(model, first, eigen, degenerate[:, 0], band[sets], degeneracy, names).items():
                    columns[name][sets] = values
    return spent


def _sharing(k: np.ndarray) -> Iterator[np.ndarray]:
    """Yield (K, m) indices of the points at each of K k; sets of fewer than m repeat their last one.

    m is a power of two, and at least half of it are different.
    """
    if not len(k):
        return
    order = np.lexsort(k.T)
    new = np.any(k[order][1:] != k[order][:-1], axis=1)
    if new.all():
        yield np.arange(len(k))[:, None]
        return
    starts = np.flatnonzero(np.concatenate([[True], new]))
    counts = np.diff(np.append(starts, len(k)))
    size = 1
    while size < 2 * counts.max():
        chosen = (counts > size // 2) & (counts <= size)
        if chosen.any():
            yield order[starts[chosen, None] + np.minimum(np.arange(size), counts[chosen, None] - 1)]
        size *= 2


def _sets(
    model: BlochModel,
    k: np.ndarray,
    eigen: Eigen,
    place: np.ndarray,
    band: np.ndarray,
    degeneracy: float,
    names: tuple[str, ...],
) -> dict[str, np.ndarray]:
    """Geometry of the degenerate sets of ``band`` at ``k[place]``."""
    parts = []
    for part, padded in buckets(place, len(k)):
        bands = np.pad(band[part], (0, len(padded) - (part.stop - part.start)), mode="edge")
        found = mean_geometry(
            model, k[padded], jax.tree.map(lambda x, p=padded: x[p], eigen), bands, np.asarray(degeneracy)
        )
        parts.append({name: np.asarray(getattr(found, name))[: part.stop - part.start] for name in names})
    return {name: np.concatenate([part[name] for part in parts]) for name in names}
