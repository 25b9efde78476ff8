"""Sums over shells that are zero in the mean, and whether the replicas say so."""

from __future__ import annotations

import equinox as eqx
from jaxtyping import Float

from jaxkin.estimate import Estimate
from jaxkin.namespace import AnyArray, Number, namespace

SIGNIFICANT = 5.0
"""Standard errors from which on a sum that must vanish is no noise of the sampling."""


class Vanishing(eqx.Module):
    """Sums that must vanish, of each shell or replica.

    Attributes:
        values: the sums.
        size: the sum without signs.

    >>> import numpy as np
    >>> noise = Vanishing(np.array([[0.3], [-0.4], [0.2]]), np.ones(3))
    >>> round(float(noise.violation), 3), noise.exceeds(0.02)
    (0.033, False)
    """

    values: Float[AnyArray, "... n"]
    size: Float[AnyArray, "..."]

    def gathered(self, member: Float[AnyArray, "replicas shells"]) -> Vanishing:
        """Of replicas from those of their shells."""
        return Vanishing(member @ self.values, member @ self.size)

    @property
    def violation(self) -> Number:
        """Largest mean over replicas, of the size."""
        return self._largest(Estimate(self.values).mean)

    @property
    def error(self) -> Number:
        """Its standard error; NaN from one replica."""
        return self._largest(Estimate(self.values).stderr)

    def exceeds(self, limit: float) -> bool:
        """Whether the violation is above a limit, and no noise."""
        return bool(self.violation > limit and not self.violation < SIGNIFICANT * self.error)

    def _largest(self, values: AnyArray) -> Number:
        xp = namespace(values)
        return xp.max(xp.abs(values)) / xp.maximum(xp.mean(self.size), 1e-300)
