"""NumPy's LAPACK on batches of matrices, one batch for each core."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from threading import Lock

import numpy as np
from threadpoolctl import ThreadpoolController

SMALLEST_PART = 2**14
"""Numbers in matrices that are worth a thread: 28 matrices of 24 orbitals, or one of 200."""
_BUSY = Lock()


def in_threads(function: Callable, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
    """The arrays that a NumPy function of batches returns, from one batch for each core with one LAPACK thread.

    Callers wait for each other: each takes all cores, and the number of LAPACK's threads is the process's.

    >>> import numpy as np
    >>> (inverse,) = in_threads(lambda part: (np.linalg.inv(part),), np.array([[[2.0]], [[4.0]]]))
    >>> inverse.ravel().tolist()
    [0.5, 0.25]
    """
    count = len(arrays[0])
    with _BUSY, _controller().limit(limits=1):  # a 40-fold loss was measured without
        parts = min(_workers(), count, max(1, arrays[0].size // SMALLEST_PART))
        if parts <= 1:
            return tuple(function(*arrays))
        split = [np.array_split(array, parts) for array in arrays]
        return tuple(map(np.concatenate, zip(*_pool().map(function, *split), strict=True)))


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()


def _workers() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_workers(), thread_name_prefix="jaxkin")
