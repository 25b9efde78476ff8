"""What the search for pockets cannot have missed.

Nodes on a lattice of spacing h meet every ball of diameter X = the lattice's covering diameter, so a pocket that
contains one shows at a node. On request the nodes are as dense as a given X asks, wherever a band can be:
|ε_n(k) − ε_n(k₀)| ≤ ‖H(k) − H(k₀)‖ ≤ Σ_i |κ_i − κ₀_i| max‖∂_iH‖ (Weyl) excludes the rest, cell by cell.
"""

from __future__ import annotations

from itertools import product

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxkin.hamiltonian.bloch import BlochModel
from jaxkin.hamiltonian.tight_binding import TightBinding

SLOPE_POINTS = {1: 256, 2: 48, 3: 16}
"""Points per direction at which ‖∂_iH‖ is computed."""
MARGIN = 1.5
"""Factor on sampled slopes where nothing bounds them between the samples (k·p models)."""


def covering_diameter(model: BlochModel, per_edge: int) -> float:
    """Diameter in Å⁻¹ of the largest ball that misses the nodes of the grid with ``per_edge`` cells per edge.

    An upper bound: twice the distance from a cell's centre to its farthest corner.
    """
    lo, hi = np.array(model.zone).T
    edges = ((hi - lo) / per_edge)[:, None] * np.asarray(model.basis)
    signs = np.array(list(product((-1, 1), repeat=len(edges))))
    return float(np.linalg.norm(signs @ edges, axis=1).max())


def cells_for(model: BlochModel, diameter: float, base: int) -> int:
    """Cells per edge, ``base`` doubled, whose nodes no ball of ``diameter`` (Å⁻¹) misses."""
    per_edge = base
    while covering_diameter(model, per_edge) > diameter:
        per_edge *= 2
    return per_edge


def slopes(model: BlochModel) -> np.ndarray:
    """Bounds of ‖∂H/∂κ_i‖ over the zone in eV per unit of κ_i, (d,).

    The largest norm on a grid, and for a crystal the most that the norms of the terms of ∂_i∂_jH let it grow between
    the grid's points: a bound. For a k·p model the sampled norm with a margin: an estimate.
    """
    d, count = model.dimension, SLOPE_POINTS[model.dimension]
    lo, hi = np.array(model.zone).T
    axis = (np.arange(count) + 0.5) / count
    k = lo + (hi - lo) * np.stack(np.meshgrid(*[axis] * d, indexing="ij"), axis=-1).reshape(-1, d)
    norms = np.array([np.asarray(_norms(model, part)).max(axis=0) for part in np.array_split(k, max(1, len(k) // 64))])
    largest = norms.max(axis=0)
    if not isinstance(model, TightBinding):
        return MARGIN * largest
    tau = np.asarray(model.positions)
    steps = np.asarray(model.translations)[:, None, None, :] + tau[None, None, :, :] - tau[None, :, None, :]
    steps, hoppings = 2 * np.pi * steps, np.asarray(model.hoppings)
    growth = np.zeros(d)
    for i, j in product(range(d), repeat=2):
        bent = np.linalg.norm(steps[..., i] * steps[..., j] * hoppings, ord=2, axis=(1, 2)).sum()  # ≥ ‖∂_i∂_jH‖
        growth[i] += 0.5 / count * bent
    return largest + growth


@eqx.filter_jit
def _norms(model: BlochModel, k: np.ndarray) -> Array:
    """‖∂H/∂κ_i‖ at each k, (K, d)."""

    def one(point):
        slope = jnp.moveaxis(jax.jacfwd(model.hamiltonian)(point), -1, 0)
        return jnp.max(jnp.abs(jnp.linalg.eigvalsh(slope)), axis=1)

    return jax.vmap(one)(k)


def undecided(nodes, window: tuple[float, float], base: int, per_edge: int) -> tuple[np.ndarray, np.ndarray]:
    """The cells, ``per_edge`` on an edge, that the bound does not exclude: corners (N, d) and bands (N, n).

    Args:
        nodes: :class:`jaxkin.surface.search.Nodes`, which diagonalises the cells' centres.
        window: energies in eV.
        base, per_edge: cells on an edge to begin and to end with.
    """
    model = nodes.spectrum.model
    d, (lo, hi) = model.dimension, np.array(model.zone).T
    reach = 0.5 * float(np.sum(slopes(model) * (hi - lo)))  # for a cell as large as the zone
    corner = np.stack(np.meshgrid(*[np.arange(base)] * d, indexing="ij"), axis=-1).reshape(-1, d)
    size = base
    halves = np.array(list(product(range(2), repeat=d)))
    while True:
        energies = nodes.energies(2 * size, 2 * corner + 1)
        near = (energies > window[0] - reach / size) & (energies < window[1] + reach / size)
        kept = near.any(axis=1)
        corner, near = corner[kept], near[kept]
        if size >= per_edge or not len(corner):
            return corner, near
        corner, size = (2 * corner[:, None, :] + halves).reshape(-1, d), 2 * size
