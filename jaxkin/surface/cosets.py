"""Random shifts of a lattice of k that keep much of the crystal's symmetry.

A sum over the lattice k = (j + s)/N is off by Σ F̂(R) e^{2πi h·s} over direct-lattice vectors R = Σ_i h_i N_i a_i ≠ 0.
A uniform s makes the mean exact. Few symmetries map a lattice with a general s on itself, but those that leave an
axis w alone do for s = t w, and for t uniform in [0, 1) every R with h·w ≠ 0 drops out of the mean. Adding one of a
few s that keep these symmetries too and together make a finer lattice, drawn at random, takes the shortest of
the other R out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from itertools import combinations, product

import numpy as np

from jaxkin.surface.maps import ZoneMap

FINER = 1.7
"""The shortest R left in the mean is at least this much longer than the shortest of all with h·w = 0."""
DENOMINATORS = (2, 3)


@dataclass(frozen=True)
class RandomShift:
    """How to shift a lattice that maps of the zone keep.

    Attributes:
        axis: w, (d,) integers.
        family: the discrete shifts, (S, d).
        maps: those that leave w alone.
    """

    axis: np.ndarray
    family: np.ndarray
    maps: tuple[ZoneMap, ...]

    @cached_property
    def kept(self) -> tuple[tuple[ZoneMap, ...], ...]:
        """The maps that keep the lattice with each of the discrete shifts."""
        keeps = _keep(np.array([one.matrix for one in self.maps]), self.family)
        return tuple(tuple(one for one, yes in zip(self.maps, row, strict=True) if yes) for row in keeps)

    @property
    def cost(self) -> float:
        """Mean part of the nodes that must be looked at."""
        return float(np.mean([1 / len(maps) for maps in self.kept]))

    def draw(self, rng: np.random.Generator) -> tuple[np.ndarray, tuple[ZoneMap, ...]]:
        """A shift in units of the lattice's spacings and the maps that keep the lattice."""
        number = rng.integers(len(self.family))
        return self.family[number] + rng.random() * self.axis, self.kept[number]


def random_shifts(maps: Sequence[ZoneMap], lattice: np.ndarray) -> list[RandomShift]:
    """The shifts that leave the fewest nodes to look at, one for each of the equivalent axes; none without symmetry.

    Args:
        maps: a group of maps of the zone.
        lattice: (d, 3) vectors N_i a_i in Å.
    """
    found = []
    for axis in product((-1, 0, 1), repeat=len(lattice)):
        w = np.array(axis)
        own = tuple(one for one in maps if np.array_equal(one.matrix @ w, w))
        if axis > (0,) * len(axis) and len(own) > 1:  # one of w and −w
            families = _families(np.array([one.matrix for one in own]).tobytes(), len(axis))
            found += [RandomShift(w, families[i], own) for i in np.flatnonzero(_finer(families, w, lattice) >= FINER)]
    least = min((one.cost for one in found), default=0.0)
    cheapest = [one for one in found if one.cost <= 1.01 * least]
    fewest = min((len(one.family) for one in cheapest), default=0)
    return [one for one in cheapest if len(one.family) == fewest]


def mixed_directions(maps: Sequence[ZoneMap]) -> list[np.ndarray]:
    """Directions that the maps mix, as sets of axes; such directions need equally many points."""
    mixed = np.any([one.matrix != 0 for one in maps], axis=0)
    for _ in mixed:
        mixed = mixed @ mixed
    return [np.flatnonzero(row) for row in np.unique(mixed, axis=0)]


def _finer(families: Sequence[np.ndarray], w: np.ndarray, lattice: np.ndarray) -> np.ndarray:
    """Length of the shortest R that stays in the mean with each family, over that of the shortest without."""
    h = _translations(len(w))
    h = h[h @ w == 0]
    if not len(h):
        return np.full(len(families), np.inf)
    length = np.linalg.norm(h @ lattice, axis=1)
    left = [length[np.all(_near_integer(h @ family.T), axis=1)].min(initial=np.inf) for family in families]
    return np.array(left) / length.min()


@cache
def _translations(d: int) -> np.ndarray:
    """Small integers (N, d) that are not all zero."""
    h = np.array(list(product(range(-3, 4), repeat=d)))
    return h[h.any(axis=1)]


@lru_cache(maxsize=64)
def _families(matrices: bytes, d: int) -> tuple[np.ndarray, ...]:
    """Sets of shifts with denominators 1, 2 and 3, closed under addition and under the maps."""
    every = np.frombuffer(matrices, int).reshape(-1, d, d)
    return tuple(group for q in DENOMINATORS for group in _subgroups(q, d) if _invariant(every, group))


def _subgroups(q: int, d: int) -> list[np.ndarray]:
    """Sets of vectors of (ℤ/q)^d/q that are closed under addition, each (members, d), of d − 1 generators at most."""
    vectors = np.array(list(product(range(q), repeat=d)))
    found = {b"": np.zeros((1, d))}
    for count in range(1, d):
        factors = np.array(list(product(range(q), repeat=count)))
        for generators in combinations(vectors[1:], count):
            members = np.unique(factors @ np.array(generators) % q, axis=0)
            found[members.tobytes()] = members / q
    return list(found.values())


def _invariant(matrices: np.ndarray, family: np.ndarray) -> bool:
    difference = (family @ matrices.swapaxes(1, 2))[:, :, None, :] - family
    return bool(_near_integer(difference).all(axis=-1).any(axis=-1).all())


def _keep(matrices: np.ndarray, shifts: np.ndarray) -> np.ndarray:
    """Whether the lattice with each of the shifts is mapped on itself by each matrix, (shifts, matrices)."""
    return np.all(_near_integer(np.einsum("mab,sb->sma", matrices, shifts) - shifts[:, None]), axis=-1)


def _near_integer(x: np.ndarray) -> np.ndarray:
    return np.abs(x - np.rint(x)) < 1e-9
