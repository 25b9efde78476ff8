"""The memory budget: one number that batches, tiles and matrices are sized by.

>>> from jaxkin.memory import memory_limit
>>> with memory_limit("2 GiB"):
...     limit() == 2 * 2**30
True
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

import jax

from jaxkin.errors import JaxkinError

SMALLEST = 2**26
"""Bytes: below this no tile is worth its overhead."""
SHARE = 8
"""A batch may take this part of the budget: what it is made from, its results and its copies live beside it."""
_UNITS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
_LIMIT: ContextVar[int | None] = ContextVar("jaxkin memory limit", default=None)


@contextmanager
def memory_limit(size: str | float) -> Iterator[None]:
    """Let what is computed inside take ``size`` bytes, or ``"2 GiB"``, ``"500 MB"``, beyond what is in use.

    Without it half of the machine's memory (of the accelerator's, if that is less) may be used. Threads and
    processes started inside do not inherit it. What it limits: docs/questions.md, "It takes all memory, or all cores".

    Raises:
        JaxkinError: not a size, or less than 64 MiB.
    """
    token = _LIMIT.set(parse_size(size))
    try:
        yield
    finally:
        _LIMIT.reset(token)


def limit() -> int:
    """The budget in bytes."""
    chosen = _LIMIT.get()
    return _machine() // 2 if chosen is None else chosen


def batch_bytes() -> int:
    """What one batch may take."""
    return limit() // SHARE


def demand(needed: float, what: str, mend: str) -> None:
    """Refuse what cannot be had in parts and is beyond the budget.

    Raises:
        JaxkinError: what is needed, what is allowed, and how to mend it.
    """
    if needed > limit():
        raise JaxkinError(f"{what} need {_readable(needed)}, and the memory budget is {_readable(limit())}: {mend}.")


def parse_size(size: str | float) -> int:
    """Bytes of a number or of text such as ``"2GiB"`` (2³⁰) or ``"2 GB"`` (10⁹).

    >>> parse_size("1.5 GiB"), parse_size("200MB")
    (1610612736, 200000000)
    """
    match = re.fullmatch(r"\s*([0-9.]+(?:e[0-9]+)?)\s*(?:([kmgt]?)(i?)b)?\s*", str(size).lower())
    try:
        number = float(match[1]) if match else -1.0
    except ValueError:
        number = -1.0
    if match is None or not 0 <= number < float("inf") or (match[3] and not match[2]):
        raise JaxkinError(f'memory={size!r} is not a size; write bytes, or for example "2GiB" or "500MB".')
    total = int(min(number * (1024 if match[3] else 1000) ** _UNITS[match[2] or ""], 2.0**62))
    if total < SMALLEST:
        raise JaxkinError(f"memory={size!r} is too little to compute in: at least {_readable(SMALLEST)} are needed.")
    return total


def _readable(size: float) -> str:
    power = min(int(max(size, 1)).bit_length() // 10, 4)
    return f"{size / 1024**power:.3g} {('B', 'KiB', 'MiB', 'GiB', 'TiB')[power]}"


def _machine() -> int:
    """Memory of the machine, of the control group this process may not leave, or of the accelerator."""
    sizes = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")] if hasattr(os, "sysconf") else [2**33]
    group = Path("/sys/fs/cgroup/memory.max")
    if group.exists() and (text := group.read_text().strip()).isdigit():
        sizes.append(int(text))
    if jax.default_backend() != "cpu":
        sizes.append((jax.devices()[0].memory_stats() or {}).get("bytes_limit", sizes[0]))
    return min(sizes)
