"""What the search for pockets cannot have missed.

The nodes of a lattice meet every ball of diameter X, twice its covering radius: a pocket that contains one shows at a
node. On request the nodes are as dense as a given X asks, wherever a band can be; :func:`free_of_levels` excludes the
rest, ball by ball.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from scipy.spatial import Voronoi

from jaxkin.devices import spread
from jaxkin.hamiltonian.bloch import BlochModel
from jaxkin.hamiltonian.eigensolvers import batched_eigensystems, batched_eigenvalues
from jaxkin.hamiltonian.spectrum import operators
from jaxkin.hamiltonian.tight_binding import TightBinding
from jaxkin.hamiltonian.tiles import buckets, tile_rows

if TYPE_CHECKING:
    from jaxkin.surface.nodes import Nodes

CURVATURE_POINTS = {1: 256, 2: 48, 3: 16}
"""Points per direction at which ‖∂²H‖ is computed where no sum over hoppings bounds it (k·p models) ..."""
MARGIN = 1.5
"""... and the factor on it."""


def covering_diameter(model: BlochModel, per_edge: int) -> float:
    """Diameter in Å⁻¹ of the largest ball that misses the nodes of the grid with ``per_edge`` cells per edge.

    Twice the covering radius of the lattice of nodes, and no less than its spacings: then a level set that
    separates neighbouring nodes passes within this radius of one of the two.
    """
    return _covering(_spacings(model))[0] / per_edge


def cells_for(model: BlochModel, diameter: float, base: int) -> int:
    """Cells per edge, ``base`` doubled, whose nodes no ball of ``diameter`` (Å⁻¹) misses."""
    per_edge = base
    while covering_diameter(model, per_edge) > diameter:
        per_edge *= 2
    return per_edge


def _spacings(model: BlochModel) -> np.ndarray:
    """Edges of the zone as rows (d, d), in axes that are turned so that d components suffice."""
    lo, hi = np.array(model.zone).T
    edges = (hi - lo)[:, None] * np.asarray(model.basis)
    return np.linalg.cholesky(edges @ edges.T)


def _covering(rows: np.ndarray) -> tuple[float, np.ndarray]:
    """(diameter, neighbours) of the lattice with basis ``rows``.

    The Voronoi cell of a node is taken with respect to ``neighbours`` (N, d), nodes up to two steps away. In
    a lattice so skewed that others would cut it, it is too large, and covers space all the same.
    """
    steps = np.array(list(product(range(-2, 3), repeat=len(rows))))
    centre = len(steps) // 2
    longest = float(np.linalg.norm(rows, axis=1).max())
    neighbours = np.delete(steps, centre, axis=0)
    if len(rows) == 1:
        return longest, neighbours
    voronoi = Voronoi(steps @ rows / longest)
    corners = voronoi.vertices[voronoi.regions[voronoi.point_region[centre]]]
    return longest * max(1.0, 2 * float(np.linalg.norm(corners, axis=1).max())), neighbours


def curvature_bound(model: BlochModel) -> float:
    """b ≥ ‖∂²H(k₀ + su)/∂s²‖ in eV Å² for all k₀ and unit vectors u.

    For a crystal a bound: the elements of ∂_u²H are at most Σ_R |R + τ_β − τ_α|² |H_R| in size, and no matrix has a
    larger norm than the one of its elements' sizes. For a k·p model the norm of the (dn, dn) matrix ∂_i∂_jH
    on a grid, with a margin: an estimate, exact if H is quadratic.
    """
    if isinstance(model, TightBinding):
        tau = np.asarray(model.positions)
        steps = np.asarray(model.translations)[:, None, None, :] + tau[None, None, :, :] - tau[None, :, None, :]
        squared = np.sum((steps @ np.asarray(model.lattice)) ** 2, axis=-1)
        return float(np.linalg.norm(np.sum(squared * np.abs(model.hoppings), axis=0), ord=2))
    d, count = model.dimension, CURVATURE_POINTS[model.dimension]
    lo, hi = np.array(model.zone).T
    axis = (np.arange(count) + 0.5) / count
    k = lo + (hi - lo) * np.stack(np.meshgrid(*[axis] * d, indexing="ij"), axis=-1).reshape(-1, d)
    return MARGIN * max(float(_bend(model, part).max()) for part in np.array_split(k, max(1, len(k) // 64)))


@eqx.filter_jit
def _bend(model: BlochModel, k: np.ndarray) -> Array:
    """max_u ‖∂_u²H‖ ≤ ‖∂_i∂_jH‖ as a matrix of rows (i, m), columns (j, n), at each k, (K,)."""

    def one(point):
        plain = jax.jacfwd(jax.jacfwd(model.hamiltonian))(point)  # (n, n, d, d)
        bent = jnp.einsum("mnij,ia,jb->ambn", plain, model.dual, model.dual)
        return jnp.max(jnp.abs(jnp.linalg.eigvalsh(bent.reshape(3 * model.size, -1))))

    return jax.vmap(one)(k)


def free_of_levels(
    model: BlochModel, k: np.ndarray, window: tuple[float, float], radius: float, bend: float
) -> np.ndarray:
    """Whether no band can be in ``window`` within ``radius`` of k, (N,).

    With the eigensystem E_n, |n⟩ of H(k₀), V_a = ⟨m|∂H/∂k_a|n⟩, the distance g_n of E_n from the window, and b
    of :func:`curvature_bound`, no eigenvalue of H(k₀ + q) is in the window for any |q| ≤ r if

        G_n = g_n − ½ b r² > 0 for all n,    and    r ‖Σ_a (G^{−1/2} V_a G^{−1/2})²‖^{1/2} < 1.

    Derivation: H(k₀ + q) = E + W, and W differs from q·V by ½ b r² at most (Taylor). Let A_a = G^{−1/2} V_a G^{−1/2}
    and y = G^{1/2}x ≠ 0: |x†(q·V)x| ≤ |q| (Σ_a (y†A_a y)²)^{1/2} ≤ r (Σ_a |A_a y|²)^{1/2} |y| < |y|² = x†Gx, so that
    |x†Wx| < x†gx. A level λ of the window has |E_n − λ| ≥ g_n; so D⁻¹WD⁻¹ with D = |E − λ|^{1/2} has a norm below
    one, and H − λ = D (±1 + D⁻¹WD⁻¹) D is not singular. Bands far from the level count little: V_mn is weighed
    with (G_m G_n)^{−1/2}, which is what Schur complements give, without choosing which bands are near.

    Args:
        k: (N, d) model coordinates.
        window: energies in eV.
        radius: r in Å⁻¹.
        bend: b in eV Å².
    """
    free = np.empty(len(k), bool)
    if isinstance(model, TightBinding):  # without position matrices the covariant derivative is ∂H/∂k_a
        model = eqx.tree_at(lambda m: m.position_matrices, model, None, is_leaf=lambda leaf: leaf is None)
    for part, padded in buckets(k, tile_rows(model, arrays=16)):
        h, slopes = operators(model, spread(padded))
        energies, states = batched_eigensystems(h)
        room = np.maximum(window[0] - np.asarray(energies), np.asarray(energies) - window[1]) - 0.5 * bend * radius**2
        possible = room.min(axis=1) > 0
        squares = _squares(states, slopes, np.where(possible[:, None], room, np.inf))
        steepest = np.asarray(batched_eigenvalues(squares))[:, -1]
        free[part] = (possible & (radius**2 * steepest < 1))[: part.stop - part.start]
    return free


@jax.jit
def _squares(states: Array, slopes: Array, room: Array | np.ndarray) -> Array:
    """Σ_a A_a² with A_a = G^{−1/2} V_a G^{−1/2}, (N, n, n)."""
    weighted = jnp.asarray(states) / jnp.sqrt(room)[:, None, :]
    a = jnp.conj(jnp.swapaxes(weighted, 1, 2))[:, None] @ slopes @ weighted[:, None]
    return jnp.sum(a @ a, axis=1)


def undecided(nodes: Nodes, window: tuple[float, float], base: int, per_edge: int) -> np.ndarray:
    """Nodes (N, d), of the grid with ``per_edge`` cells per edge, near which a band can be in ``window``.

    What is farther from all of them than half the :func:`covering_diameter` is excluded. Begins with ``base`` cells per
    edge and doubles; of a finer grid only nodes are looked at whose Voronoi cells overlap that of a coarser node kept.
    """
    model = nodes.spectrum.model
    diameter, neighbours = _covering(_spacings(model))
    bend, overlapping = curvature_bound(model), _overlapping(_spacings(model), diameter, neighbours)
    size = base
    node = np.stack(np.meshgrid(*[np.arange(nodes.per_axis(size))] * model.dimension, indexing="ij"), axis=-1)
    node = node.reshape(-1, model.dimension)
    while True:
        node = node[~nodes.free_of_levels(size, node, window, 0.5 * diameter / size, bend)]
        if size >= per_edge or not len(node):
            return node
        size *= 2
        node = nodes.distinct(size, (2 * node[:, None, :] + overlapping).reshape(-1, model.dimension))


def _overlapping(rows: np.ndarray, diameter: float, neighbours: np.ndarray) -> np.ndarray:
    """Nodes (N, d) whose Voronoi cells overlap the twice as large one about the origin: n·m < 3|m|²/2 for all m."""
    reach = np.floor(1.5 * diameter * np.linalg.norm(np.linalg.inv(rows), axis=0)).astype(int)
    steps = np.array(list(product(*[range(-most, most + 1) for most in reach])))
    along, squared = (steps @ rows) @ (neighbours @ rows).T, np.sum((neighbours @ rows) ** 2, axis=1)
    return steps[np.all(along < 1.5 * squared * (1 - 1e-9), axis=1)]
