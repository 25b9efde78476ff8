"""Symmetry operations as maps of the zone in reduced coordinates."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

import numpy as np

from jaxkin.errors import SymmetryError
from jaxkin.hamiltonian.bloch import BlochModel
from jaxkin.symmetry.operations import Operation
from jaxkin.symmetry.verify import find_symmetries, strictly_kept, verify_symmetries

PAYS = 8
"""Bands from which on finding the symmetries costs less than it saves."""
EXACT = 1e-5
"""eV: a symmetry that holds less well than this is not used unless it is asked for."""
FAITHFUL = 1e-5
"""Of their size: where velocities, moments and curvatures follow less well, pockets are not taken as images."""


class ZoneMap(NamedTuple):
    """An operation on the zone: κ → ``matrix`` κ in reduced coordinates (integers).

    Polar vectors (k, v) turn with ``polar``, axial ones (Ω, m) with ``axial``; time reversal flips both.
    ``vectors`` says whether they follow the operation as exactly as the energies do.
    """

    matrix: np.ndarray
    polar: np.ndarray
    axial: np.ndarray
    vectors: bool


def zone_maps(model: BlochModel, symmetry: bool | Sequence[Operation]) -> tuple[ZoneMap, ...]:
    """Maps of the zone by the operations given, verified, or by those found on H(k), and all their products.

    ``True`` looks for symmetries only where diagonalising costs more than looking. Empty without a
    lattice: a k·p model's box has no images.

    Raises:
        SymmetryError: an operation given that H(k) or the lattice does not have.
    """
    if isinstance(symmetry, bool):
        if not symmetry or not model.periodic or model.size < PAYS:
            return ()
        operations: Sequence[Operation] = find_symmetries(model, tolerance=EXACT)
        strict = strictly_kept(model, operations, tolerance=EXACT, vectors=FAITHFUL)
    else:
        operations = strict = list(symmetry)
        verify_symmetries(model, strict)
        if not model.periodic:
            return ()
    maps = [zone_map(model, op, any(op is other for other in strict)) for op in operations]
    exact = _group([one for one in maps if one.vectors])
    return _group([*exact, *maps])


def _group(maps: Sequence[ZoneMap]) -> tuple[ZoneMap, ...]:
    """``maps`` and all products of them; a product follows vectors if both factors do."""
    if not maps:
        return ()
    size = len(maps[0].matrix)
    every = {one.matrix.tobytes(): one for one in (ZoneMap(np.eye(size, dtype=int), np.eye(3), np.eye(3), True),)}
    for one in maps:
        every.setdefault(one.matrix.tobytes(), one)
    while True:
        before = list(every.values())
        for a, b in product(before, maps):
            matrix = a.matrix @ b.matrix
            if matrix.tobytes() not in every:
                every[matrix.tobytes()] = ZoneMap(matrix, a.polar @ b.polar, a.axial @ b.axial, a.vectors and b.vectors)
        if len(every) == len(before):
            return tuple(before)


def zone_map(model: BlochModel, op: Operation, vectors: bool) -> ZoneMap:
    """The map of one operation of the lattice.

    Raises:
        SymmetryError: the lattice does not have it.
    """
    sign = -1 if op.antiunitary else 1
    matrix = sign * np.asarray(model.dual) @ op.rotation @ np.asarray(model.basis).T
    rounded = np.rint(matrix).astype(int)
    if np.abs(matrix - rounded).max() > 1e-4:
        raise SymmetryError(f"{op.name} does not map the lattice of this model on itself.")
    return ZoneMap(rounded, sign * op.rotation, sign * op.determinant * op.rotation, vectors)


def canonical_nodes(
    maps: Sequence[ZoneMap], shape: tuple[int, ...], node: np.ndarray, shift: np.ndarray | None = None
) -> np.ndarray:
    """For integer nodes (N, d) inside a periodic grid the number of the first of their equivalents, (N,).

    ``shift`` moves the grid, by so many of its spacings; the maps must keep the grid as it is.
    """
    first = np.asarray(np.ravel_multi_index(node.T, shape))
    for one in maps:
        image = node @ one.matrix.T
        if shift is not None:
            image += np.rint(one.matrix @ shift - shift).astype(int)
        first = np.minimum(first, np.ravel_multi_index((image % shape).T, shape))
    return first
