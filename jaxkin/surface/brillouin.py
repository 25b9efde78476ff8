"""The first Brillouin zone: its edges, and meshes brought into it, for pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise, product

import jax
import numpy as np

from jaxkin.hamiltonian.bloch import BlochModel
from jaxkin.surface.mesh import Mesh
from jaxkin.surface.search import Pocket

REACH = 2
"""Reciprocal vectors on either side that may bound the zone."""


def zone_edges(model: BlochModel) -> np.ndarray:
    """(E, 2, 3) ends of the edges of the first Brillouin zone in Å⁻¹; of a k·p model, of its box.

    >>> import jaxkin as jk
    >>> zone_edges(jk.models.get("weyl")).shape  # a cube
    (12, 2, 3)
    """
    d, basis = model.dimension, np.asarray(model.basis)
    if not model.periodic or d == 1:
        ends = np.array(list(product(*model.zone))) @ basis
        bits = np.array(list(product((0, 1), repeat=d)))
        pairs = [(i, j) for i in range(len(bits)) for j in range(i) if np.abs(bits[i] - bits[j]).sum() == 1]
        return ends[np.array(pairs)]
    from scipy.spatial import Voronoi

    axes = np.linalg.qr(basis.T)[0]  # of the plane that the vectors lie in
    lattice = _vectors(model) @ axes
    cells = Voronoi(lattice)
    origin = int(np.argmin(np.sum(lattice**2, axis=1)))
    edges = set()
    for pair, ridge in zip(cells.ridge_points, cells.ridge_vertices, strict=True):
        if origin in pair:
            corners = ridge if d == 2 else _round(cells.vertices, ridge)
            around = corners if d == 2 else [*corners, corners[0]]
            edges |= {tuple(sorted(two)) for two in pairwise(around)}
    return cells.vertices[np.array(sorted(edges))] @ axes.T


def _round(vertices: np.ndarray, ridge: list[int]) -> list[int]:
    """The corners of a face one after another."""
    offset = vertices[ridge] - vertices[ridge].mean(axis=0)
    plane = np.linalg.svd(offset)[2][:2]
    return [ridge[n] for n in np.argsort(np.arctan2(*(plane @ offset.T)))]


def _vectors(model: BlochModel) -> np.ndarray:
    steps = np.array(list(product(range(-REACH, REACH + 1), repeat=model.dimension)))
    return steps @ np.asarray(model.basis)


def folded(mesh: Mesh, model: BlochModel, pockets: Sequence[Pocket]) -> Mesh:
    """The mesh in the first Brillouin zone: closed pockets moved as a whole, open sheets cut at its boundary."""
    if not model.periodic or not len(mesh.vertices):
        return mesh
    vectors, parts = _vectors(model), []
    for number in np.unique(mesh.pocket):
        part, pocket = mesh.part(mesh.pocket == number), pockets[number]
        if pocket.closed.all():
            centre = np.asarray(model.cartesian(pocket.origin + 0.5 * pocket.edges))
            parts.append(_moved(part, vectors[np.argmin(np.sum((centre + vectors) ** 2, axis=1))], model))
        else:
            parts += [_inside(_moved(part, vector, model), vectors) for vector in vectors]
    return _joined(parts)


def _joined(parts: list[Mesh]) -> Mesh:
    starts = np.cumsum([0, *(len(part.vertices) for part in parts)])
    simplices = np.concatenate([part.simplices + start for part, start in zip(parts, starts, strict=False)])
    band, pocket = (np.concatenate([getattr(part, name) for part in parts]) for name in ("band", "pocket"))
    columns = zip(*(jax.tree.leaves(part.each(lambda x: x)) for part in parts), strict=True)
    values = jax.tree.unflatten(jax.tree.structure(parts[0].each(lambda x: x)), map(np.concatenate, columns))
    return replace(parts[0], simplices=simplices, band=band, pocket=pocket, **values)


def _moved(mesh: Mesh, vector: np.ndarray, model: BlochModel) -> Mesh:
    return replace(mesh, vertices=mesh.vertices + vector, k=mesh.k + np.asarray(model.dual) @ vector)


def _inside(mesh: Mesh, vectors: np.ndarray) -> Mesh:
    """What is nearer to the origin than to any other of the ``vectors``."""
    for vector in vectors[np.any(vectors != 0, axis=1)]:
        if not len(mesh.simplices):
            break
        mesh = _cut(mesh, mesh.vertices @ vector - 0.5 * (vector @ vector))
    return mesh.part(np.isin(np.arange(len(mesh.vertices)), mesh.simplices))


def _cut(mesh: Mesh, beyond: np.ndarray) -> Mesh:
    """Without the side on which ``beyond`` (V,) is positive; cut simplices end where it is zero."""
    outside = beyond[mesh.simplices] > 0
    count = outside.sum(axis=1)
    if not count.any():
        return mesh
    d, whole = mesh.simplices.shape[1], mesh.simplices[count == 0]
    ends, faces, size = [], [whole], len(mesh.vertices)
    for out in range(1, d):
        some = count == out
        turn = np.argmax(outside[some] & ~np.roll(outside[some], 1, axis=1), axis=1)  # the first that is outside
        order = np.take_along_axis(mesh.simplices[some], (turn[:, None] + np.arange(d)) % d, axis=1)
        new = size + np.arange(len(order))
        if d == 2:
            ends.append(order)
            faces.append(np.where(turn[:, None] == 0, np.stack([new, order[:, 1]], 1), np.stack([order[:, 1], new], 1)))
        elif out == 1:  # a beyond: quadrangle ab, b, c, ac
            a, b, c = order.T
            ends += [np.stack([a, b], 1), np.stack([a, c], 1)]
            other = new + len(order)
            faces += [np.stack([new, b, c], 1), np.stack([new, c, other], 1)]
        else:  # a and b beyond: triangle ac, bc, c
            a, b, c = order.T
            ends += [np.stack([a, c], 1), np.stack([b, c], 1)]
            faces.append(np.stack([new, new + len(order), c], 1))
        size = len(mesh.vertices) + sum(map(len, ends))
    if not ends:
        return replace(mesh, simplices=whole)
    pairs = np.concatenate(ends)
    t = beyond[pairs[:, 0]] / (beyond[pairs[:, 0]] - beyond[pairs[:, 1]])

    def between(x: np.ndarray) -> np.ndarray:
        share = t.reshape(-1, *(1,) * (x.ndim - 1))
        return np.concatenate([x, (1 - share) * x[pairs[:, 0]] + share * x[pairs[:, 1]]])

    band, pocket = (np.concatenate([x, x[pairs[:, 0]]]) for x in (mesh.band, mesh.pocket))
    return replace(mesh, simplices=np.concatenate(faces), band=band, pocket=pocket, **mesh.each(between))
