"""Symmetry of a Green function's integral over the zone: one of many equivalent cells is summed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import product
from typing import NamedTuple

import numpy as np

from jaxkin.errors import SymmetryError
from jaxkin.hamiltonian.bloch import BlochModel
from jaxkin.hamiltonian.spectrum import Spectrum
from jaxkin.hamiltonian.tight_binding import TightBinding
from jaxkin.surface.maps import EXACT, PAYS, zone_map
from jaxkin.surface.zone import Cells
from jaxkin.symmetry.operations import Operation, lattice_rotations
from jaxkin.symmetry.representation import Crystal, SpaceOperation

NOISE = 1e-3
"""Of the accuracy that is asked for: error of what an operation does to the orbitals."""
TESTED = 4
"""Random k at which energies are compared first."""
STEPS = 3 * 2**30
"""Of corners of cells per edge of the zone: thirds, bisected."""


class Places(NamedTuple):
    """Orbitals that one impurity acts on, with the cell of each, (m, d)."""

    orbitals: tuple[int, ...]
    cells: np.ndarray


class ZoneOperation(NamedTuple):
    """A symmetry operation, and k → ``matrix`` k in reduced coordinates (integers)."""

    matrix: np.ndarray
    orbitals: SpaceOperation


class GreenFolding:
    """⟨x|G P_k|y⟩ of places x, y of one impurity, P_k the states at k, averaged over the images g k of k.

    S G P_k S⁻¹ = G P_gk of a unitary operation S = {g|t}, and with time reversal S G†P_k S⁻¹ = G P_gk. So, where
    ⟨x|S = Σ_a W_xa ⟨a|, ⟨x|G P_gk|y⟩ = Σ_ab W_xa F_ab W*_yb with F_ab = ⟨a|G P_k|b⟩, and F_ba in its place.

    Args:
        places: of each impurity.
        operations: whose ``matrix`` permutes and reflects the reciprocal vectors, so that cells are mapped on cells.
        crystal: whose they are.

    Attributes:
        places: those of the impurities and their images, on which F is needed.
    """

    def __init__(self, places: Sequence[Places], operations: Sequence[ZoneOperation], crystal: Crystal):
        self.places: list[Places] = []
        self._matrices = np.array([operation.matrix for operation in operations])
        self._known: dict[tuple, np.ndarray] = {}
        self._turns = [[self._turn(place, operation, crystal) for operation in operations] for place in places]

    def _turn(self, place: Places, operation: ZoneOperation, crystal: Crystal) -> tuple[np.ndarray, np.ndarray]:
        """W, and where F_ab stands among all numbers, (m', m')."""
        amplitude, orbitals, cells = crystal.preimage(operation.orbitals, *place)
        cells = cells - cells[0]  # a translation of all changes nothing
        key = orbitals, cells.tobytes()
        if key not in self._known:
            m, before = len(orbitals), sum(numbers.size for numbers in self._known.values())
            self._known[key] = before + np.arange(m * m).reshape(m, m)
            self.places.append(Places(orbitals, cells))
        numbers = self._known[key]
        return amplitude, numbers.T if operation.orbitals.reverses else numbers

    def average(self, values: np.ndarray) -> np.ndarray:
        """F on the impurities' own places, one after the other, of F on all (..., C)."""
        means = []
        for turns in self._turns:
            images = [w @ values[..., numbers] @ w.conj().T for w, numbers in turns]
            mean = sum(images[1:], start=images[0]) / len(images)
            means.append(mean.reshape(*mean.shape[:-2], -1))
        return np.concatenate(means, axis=-1)

    def folded(self, cells: Cells) -> Cells:
        """Of cells that are images of one another the first, which stands for all."""
        keys = _keys(self._images(cells)).reshape(len(self._matrices), len(cells), -1)
        first = keys[0]
        for key in keys[1:]:
            column = np.argmax(key != first, axis=1)[:, None]
            less = np.take_along_axis(key, column, 1) < np.take_along_axis(first, column, 1)
            first = np.where(less, key, first)
        return _merged(cells, first)

    def unfolded(self, cells: Cells) -> Cells:
        """Every cell with its images, of the same volume together."""
        images = self._images(cells)
        return _merged(images, _keys(images))

    def _images(self, cells: Cells) -> Cells:
        corners = np.stack([cells.low, cells.low + cells.size])
        corners = np.einsum("gij,snj->sgni", self._matrices, corners).reshape(2, -1, cells.low.shape[1])
        low, high = corners.min(axis=0), corners.max(axis=0)
        count = np.tile(cells.count / len(self._matrices), len(self._matrices))
        return Cells(low - np.floor(low + 0.5 / STEPS), high - low, count)


def green_folding(model: BlochModel, places: Sequence[Places], rtol: float) -> GreenFolding | None:
    """By the symmetries of H(k), where finding them pays and there are any.

    An operation is used where what it does to the orbitals is known to a thousandth of ``rtol``.
    """
    if not isinstance(model, TightBinding) or model.size < PAYS:
        return None
    crystal, unit = Crystal(model), np.eye(model.dimension, dtype=int)
    found = {unit.tobytes(): ZoneOperation(unit, crystal.identity)}
    for matrix, operation in _candidates(model):
        if matrix.tobytes() not in found:
            with suppress(SymmetryError):
                image = crystal.image(operation, EXACT)
                if image.noise <= NOISE * rtol:
                    found[matrix.tobytes()] = ZoneOperation(matrix, image)
    closed = all((a.matrix @ b.matrix).tobytes() in found for a, b in product(found.values(), repeat=2))
    return GreenFolding(places, list(found.values()), crystal) if closed and len(found) > 1 else None


def _candidates(model: TightBinding) -> Iterator[tuple[np.ndarray, Operation]]:
    """Operations that permute and reflect the reciprocal vectors, and leave energies as they are."""
    k = np.random.default_rng(12).random((TESTED, model.dimension))
    energies = Spectrum(model)(k)
    for rotation in lattice_rotations(np.asarray(model.lattice)):
        for operation in (Operation(rotation), Operation(rotation, antiunitary=True)):
            matrix = zone_map(model, operation, False).matrix
            permutes = np.abs(matrix).sum(axis=1).max() == 1
            if permutes and np.abs(Spectrum(model)(k @ matrix.T) - energies).max() < EXACT:
                yield matrix, operation


def _keys(cells: Cells) -> np.ndarray:
    """Corners and edges as integers, (N, 2d)."""
    return np.rint(np.concatenate([cells.low, cells.size], axis=1) * STEPS).astype(np.int64)


def _merged(cells: Cells, keys: np.ndarray) -> Cells:
    """One cell of each key, which stands for all that have it."""
    _, chosen, number = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    return Cells(cells.low[chosen], cells.size[chosen], np.bincount(number.ravel(), weights=cells.count))
