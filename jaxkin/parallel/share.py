"""Which replicas a process makes, and how the processes' samples become one array again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jax.experimental.multihost_utils import process_allgather


@dataclass(frozen=True)
class Share:
    """The replicas numbered index, index + count, ... of one among ``count`` processes: docs/parallel.md.

    Replicas are independent and have numbered random streams, so who makes which changes no number. Only
    their sums are sent: a few kB for each gathering. All processes must gather the same things in the same order.

    Args:
        index: this process's number, from 0.
        count: of processes.

    >>> list(Share(1, 3).of(range(8)))
    [1, 4, 7]
    """

    index: int = 0
    count: int = 1

    def of(self, numbers: range) -> range:
        """Those of ``numbers`` that are this process's."""
        return range(numbers.start + (self.index - numbers.start) % self.count, numbers.stop, self.count)

    def gather(self, samples: np.ndarray, replicas: int) -> np.ndarray:
        """Those of all processes, (replicas, ...), ordered by number, in the samples' unit.

        Args:
            samples: of this process's replicas, (own replicas, ...), in any unit.
            replicas: number of all.
        """
        return self.gather_all([samples], replicas)[0]

    def gather_all(self, arrays: Sequence[np.ndarray], replicas: int) -> list[np.ndarray]:
        """As :meth:`gather`, of several arrays in one message.

        Args:
            arrays: of this process's replicas, each (own replicas, ...), in any unit.
            replicas: number of all.
        """
        if self.count == 1:
            return list(arrays)
        columns = [_bytes(array) for array in arrays]
        own = np.concatenate(columns, axis=1)
        padded = np.zeros((-(-replicas // self.count), own.shape[1]), np.uint8)
        padded[: len(own)] = own
        rows = np.swapaxes(process_allgather(padded), 0, 1).reshape(-1, own.shape[1])[:replicas]
        parts = np.split(rows, np.cumsum([column.shape[1] for column in columns])[:-1], axis=1)
        return [
            np.ascontiguousarray(part).view(array.dtype).reshape(replicas, *array.shape[1:])
            for part, array in zip(parts, arrays, strict=True)
        ]

    def numbers(self, own: float) -> np.ndarray:
        """One number of each process, in ``own``'s unit."""
        return self.gather(np.array([own]), self.count)

    def total(self, number: int) -> int:
        """Sum of the processes' numbers."""
        return int(self.numbers(number).sum())

    def distinct(self, own: np.ndarray) -> np.ndarray:
        """The different ones of all processes' numbers in ``own``'s unit, ascending."""
        row = np.full((1, int(self.numbers(len(own)).max())), np.nan)
        row[0, : len(own)] = own
        every = self.gather(row, self.count)
        return np.unique(every[np.isfinite(every)])

    def lines(self, own: Sequence[str]) -> list[str]:
        """The different lines of text that any of the processes has."""
        text = "\n".join(own).encode()
        row = np.zeros((1, 1 + int(self.numbers(len(text)).max())), np.uint8)
        row[0, : len(text)] = np.frombuffer(text, np.uint8)
        texts = [bytes(row).rstrip(b"\0").decode() for row in self.gather(row, self.count)]
        return list(dict.fromkeys(line for text in texts for line in text.splitlines()))


def _bytes(array: np.ndarray) -> np.ndarray:
    """(N, ...) → (N, bytes): what is sent keeps all its digits, whatever JAX's precision is set to."""
    flat = np.ascontiguousarray(array).reshape(len(array), -1)
    return flat.view(np.uint8).reshape(len(array), -1)
