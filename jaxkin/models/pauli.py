"""Hopping lists of two-band models H = Σ_j d_j(k) σ_j built from cosines and sines."""

from __future__ import annotations

import numpy as np

from jaxkin.namespace import known_array

SIGMA = np.array([[[1, 0], [0, 1]], [[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]], complex)
"""σ_0, σ_x, σ_y, σ_z."""
SPIN = SIGMA[1:]


class Hoppings:
    """Collects H_R; every term added is Hermitian together with its partner at −R."""

    def __init__(self, dimension: int, size: int = 2):
        self._terms: dict[tuple[int, ...], np.ndarray] = {}
        self.dimension, self.size = dimension, size

    def add(self, translation, matrix) -> None:
        """H_R += matrix, and H_{−R} += matrix† (once for R = 0, where matrix must be Hermitian)."""
        step = tuple(int(t) for t in translation)
        matrix = known_array("a term", matrix, complex)
        self._insert(step, matrix)
        if any(step):
            self._insert(tuple(-t for t in step), matrix.conj().T)

    def onsite(self, matrix) -> None:
        self.add((0,) * self.dimension, matrix)

    def cosine(self, translation, matrix) -> None:
        """matrix · cos(k·R) for a Hermitian matrix."""
        self.add(translation, 0.5 * known_array("a term", matrix, complex))

    def sine(self, translation, matrix) -> None:
        """matrix · sin(k·R) for a Hermitian matrix."""
        self.add(translation, -0.5j * known_array("a term", matrix, complex))

    def _insert(self, step: tuple[int, ...], matrix: np.ndarray) -> None:
        self._terms[step] = self._terms.get(step, np.zeros((self.size, self.size), complex)) + matrix

    @property
    def translations(self) -> np.ndarray:
        return np.array(list(self._terms))

    @property
    def matrices(self) -> np.ndarray:
        return known_array("the terms", list(self._terms.values()), complex)


def along(direction) -> np.ndarray:
    """σ·n for a vector n."""
    return np.tensordot(np.asarray(direction, float), SPIN, axes=1)
