"""Mean and standard error over independent replicas."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Estimate:
    """A quantity known from independent, equally distributed replicas.

    Attributes:
        samples: (replicas, ...) one value per replica.
        evaluations: how many H(k) were diagonalised for it.
    """

    samples: np.ndarray
    evaluations: int = 0

    @property
    def mean(self) -> np.ndarray:
        """Mean over replicas."""
        return self.samples.mean(axis=0)

    @property
    def stderr(self) -> np.ndarray:
        """Standard error of the mean; of the real and imaginary parts for complex values; NaN from one replica.

        (mean − exact)/stderr follows Student's t with replicas − 1 degrees of freedom.
        """
        if np.iscomplexobj(self.samples):
            return _standard_error(np.real(self.samples)) + 1j * _standard_error(np.imag(self.samples))
        return _standard_error(self.samples)

    def map(self, function: Callable[[np.ndarray], np.ndarray]) -> Estimate:
        """The estimate of ``function`` of the value, applied replica by replica (leading axis kept)."""
        return Estimate(function(self.samples), self.evaluations)


def _standard_error(samples: np.ndarray) -> np.ndarray:
    count = len(samples)
    if count < 2:
        return np.full(samples.shape[1:], np.nan)
    return samples.std(axis=0, ddof=1) / np.sqrt(count)
