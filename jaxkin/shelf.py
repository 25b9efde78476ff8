"""Pieces of a long calculation that are put aside as they are finished, for a run that goes on after this one ended."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from typing import Any

import numpy as np

LONG = 5.0
"""Seconds from which on a piece is worth a file."""

Arrays = dict[str, np.ndarray]


class Shelf:
    """Where pieces are put, each under a name; this one keeps nothing.

    A name is ``"kind-group/piece"``. Of each kind the pieces of one group are kept: with those of another group it is
    over. Shelves that keep something have :meth:`take` and :meth:`put` of their own.

    >>> Shelf().piece("sampled-0/3", lambda: {"k": np.zeros(2)})["k"]
    array([0., 0.])
    """

    @property
    def keeps(self) -> bool:
        """Whether this one keeps anything."""
        return type(self).take is not Shelf.take

    def take(self, name: str) -> Arrays | None:
        """What was put there, to the last bit; None where nothing was."""
        return None

    def put(self, name: str, arrays: Arrays) -> None:
        """Keep ``arrays``."""

    def piece(self, name: str, make: Callable[[], Arrays]) -> Arrays:
        """The piece of that name: from here, or made now, and kept if that took long."""
        found = self.take(name)
        if found is not None:
            return found
        start = time.perf_counter()
        made = make()
        if time.perf_counter() - start >= LONG:
            self.put(name, made)
        return made


def digest(*values: Any) -> str:
    """Twelve hexadecimal digits for a name: of the bits of an array, of what else has all its digits in its repr.

    >>> digest(0.1) == digest(0.1 + 1e-18), digest(np.zeros(2)) == digest(np.zeros(3))
    (True, False)
    """
    parts = (one.tobytes() if isinstance(one, np.ndarray) else repr(one).encode() for one in values)
    return hashlib.sha256(b" ".join(parts)).hexdigest()[:12]
