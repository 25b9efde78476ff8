"""Point operations: orthogonal matrices, with or without time reversal, and their names."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np

_ORDERS = {-1: 2, 0: 3, 1: 4, 2: 6, 3: 1}  # trace of the proper part → order of the rotation


@dataclass(frozen=True, eq=False)
class Operation:
    """A point operation, with or without time reversal: docs/theory.md, "Symmetry".

    Attributes:
        rotation: orthogonal, (3, 3), in Cartesian axes, no unit.
        antiunitary: whether time is reversed, too.

    >>> Operation(-np.eye(3)).name, Operation(np.diag([1.0, 1.0, -1.0]), antiunitary=True).name
    ('inversion', 'mirror perpendicular to [0 0 1] with time reversal')
    """

    rotation: np.ndarray
    antiunitary: bool = False

    @property
    def determinant(self) -> int:
        """−1 of what turns a right hand into a left one, else 1."""
        return round(float(np.linalg.det(self.rotation)))

    @property
    def order(self) -> int:
        """n of the proper part C_n."""
        return _ORDERS[round(float(np.trace(self.determinant * self.rotation)))]

    @property
    def axis(self) -> np.ndarray | None:
        """Unit vector of the proper part's axis; None for the identity."""
        if self.order == 1:
            return None
        values, vectors = np.linalg.eig(self.determinant * self.rotation)
        axis = np.real(vectors[:, np.argmin(np.abs(values - 1))])
        lead = axis[np.flatnonzero(np.abs(axis) > 1e-6)[-1]]
        return axis / (np.linalg.norm(axis) * np.sign(lead))

    @property
    def name(self) -> str:
        """In words, such as 'C3 about [0 0 1]' or 'mirror perpendicular to [1 0 0]'."""
        proper = self.determinant > 0
        if self.order == 1:
            word = "identity" if proper else "inversion"
        else:
            axis = self.axis
            assert axis is not None
            where = "[" + " ".join(f"{value:.3g}" for value in np.round(axis, 6) + 0.0) + "]"
            rotoreflection = {2: f"mirror perpendicular to {where}", 3: f"S6 about {where}"}
            word = (
                f"C{self.order} about {where}"
                if proper
                else rotoreflection.get(self.order, f"S{ {4: 4, 6: 3}.get(self.order) } about {where}")
            )
        if not self.antiunitary:
            return word
        return "time reversal" if word == "identity" else f"{word} with time reversal"

    def same_as(self, other: Operation) -> bool:
        """Whether both do the same, to about 10⁻⁵ in the matrices' elements."""
        return self.antiunitary == other.antiunitary and np.allclose(self.rotation, other.rotation, atol=1e-6)


def rotation(axis, order: int) -> np.ndarray:
    """Rotation by 2π/order about ``axis``."""
    x, y, z = np.asarray(axis, float) / np.linalg.norm(axis)
    angle = 2 * np.pi / order
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def generated(generators: list[np.ndarray]) -> list[np.ndarray]:
    """The finite group that some orthogonal matrices generate."""
    group = [np.eye(3)]
    frontier = group
    while frontier:
        new = []
        for known, generator in product(frontier, generators):
            candidate = generator @ known
            if not any(np.allclose(candidate, member, atol=1e-6) for member in [*group, *new]):
                new.append(candidate)
        group, frontier = [*group, *new], new
    return group


def lattice_rotations(lattice: np.ndarray) -> list[np.ndarray]:
    """Orthogonal matrices that map a Bravais lattice (rows a_i, 1 to 3 of them) on itself."""
    reduced = _reduce(lattice)
    d = len(reduced)
    metric = reduced @ reduced.T
    inverse = np.linalg.pinv(reduced)
    maps = np.array(list(product((-1, 0, 1), repeat=d * d))).reshape(-1, d, d)
    off = np.abs(maps @ metric @ np.swapaxes(maps, 1, 2) - metric).max(axis=(1, 2))
    rest = np.eye(3) - inverse @ reduced
    return [(inverse @ w @ reduced).T + rest for w in maps[off <= 1e-4 * metric.max()]]


def _reduce(lattice: np.ndarray) -> np.ndarray:
    """The shortest lattice vectors, so that symmetries have entries −1, 0, 1."""
    short = np.array(lattice, float)
    d = len(short)
    steps = [np.array([n for n in product((-1, 0, 1), repeat=d) if n[i] == 1]) for i in range(d)]
    changed = True
    while changed:
        changed = False
        for i in range(d):
            candidates = steps[i] @ short
            lengths = np.linalg.norm(candidates, axis=1)
            best = int(np.argmin(lengths))
            if lengths[best] < (1 - 1e-9) * np.linalg.norm(short[i]):
                short[i], changed = candidates[best], True
    return short
