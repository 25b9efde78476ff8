"""Mean and standard error over independent replicas."""

from __future__ import annotations

from collections.abc import Callable

import equinox as eqx

from jaxkin.namespace import AnyArray, namespace


class Estimate(eqx.Module):
    """A quantity known from independent, equally distributed replicas; a pytree, so that it can be differentiated.

    Attributes:
        samples: (replicas, ...) one value per replica.
        evaluations: how many H(k) were diagonalised or factorised for it.
        shared: error that all replicas have in common, so that their scatter does not show it; shape of the value.
    """

    samples: AnyArray
    evaluations: int = eqx.field(static=True, default=0)
    shared: AnyArray | None = None

    @property
    def mean(self) -> AnyArray:
        """Mean over replicas."""
        return self.samples.mean(axis=0)

    @property
    def stderr(self) -> AnyArray:
        """Standard error of the mean; of the real and imaginary parts for complex values; NaN from one replica.

        (mean − exact)/stderr follows Student's t with replicas − 1 degrees of freedom; a ``shared`` error
        is added to it in squares.
        """
        xp = namespace(self.samples)
        if xp.iscomplexobj(self.samples):
            return self._error(xp.real) + 1j * self._error(xp.imag)
        return self._error(lambda x: x)

    def _error(self, part: Callable[[AnyArray], AnyArray]) -> AnyArray:
        scatter = _standard_error(part(self.samples))
        return scatter if self.shared is None else namespace(scatter).hypot(scatter, part(self.shared))

    def map(self, function: Callable[[AnyArray], AnyArray]) -> Estimate:
        """The estimate of ``function`` of the value, applied replica by replica (leading axis kept)."""
        samples = function(self.samples)
        if self.shared is None:
            return Estimate(samples, self.evaluations)
        moved = (function(self.samples + self.shared) - samples).mean(axis=0)
        return Estimate(samples, self.evaluations, moved)


def _standard_error(samples: AnyArray) -> AnyArray:
    xp, count = namespace(samples), len(samples)
    if count < 2:
        return xp.full(samples.shape[1:], xp.nan)
    return samples.std(axis=0, ddof=1) / count**0.5
