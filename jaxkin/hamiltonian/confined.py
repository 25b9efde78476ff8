"""Where orbitals stand in directions without translations: no Bloch phase carries that, the position operator does."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def confined(
    lattice: np.ndarray, periodic: Sequence[int], steps: np.ndarray, positions: np.ndarray
) -> np.ndarray | None:
    """⟨0α|r|Rβ⟩ in Å, (R, n, n, 3), of orbitals at ``positions``; None where translations go in all directions.

    Args:
        lattice: rows in Å, also of the directions without translations.
        periodic: indices of the others.
        steps: (R, d) translations, the zero one among them.
        positions: (n, rows of the lattice) reduced.

    >>> confined(np.eye(3), [0, 1, 2], np.zeros((1, 3)), np.zeros((2, 3))) is None
    True
    """
    if len(periodic) == len(lattice):
        return None
    n = len(positions)
    r = np.zeros((len(steps), n, n, 3), complex)
    home = int(np.flatnonzero(~np.any(steps, axis=1))[0])
    r[home, np.arange(n), np.arange(n)] = positions @ lattice
    return r
