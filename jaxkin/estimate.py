"""Mean and standard error over independent replicas."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import equinox as eqx
import jax
import numpy as np

from jaxkin.brief import brief, plural
from jaxkin.checks import shown
from jaxkin.errors import JaxkinError
from jaxkin.namespace import AnyArray, namespace
from jaxkin.output.uncertainty import with_uncertainty

WRITTEN = 9
"""Values that ``repr`` writes all; of more the largest."""
ROUNDING = 1e-13
"""Of the largest of some numbers."""
SHOWN = 60
"""Values of an array that are printed; of a larger one those at the ends."""


class Estimate(eqx.Module):
    """A quantity known from independent, equally distributed replicas; a pytree, so that it can be differentiated.

    It is calculated with replica by replica, so that errors which two estimates of one surface have in common cancel or
    add as they should: +, −, ×, / with numbers, arrays and other estimates of as many replicas, powers, ``abs``,
    indices of the value, :attr:`real`, :attr:`imag`, and any function by :meth:`map`. Its text is the mean with the
    standard error of the last digits in brackets; ``f"{estimate:.2u}"`` shows two digits of the error. Why replicas:
    docs/method.md, "Standard errors".

    Attributes:
        samples: (replicas, ...) one value per replica, in any unit.
        evaluations: how many H(k) were diagonalised or factorised for it.
        shared: error that all replicas have in common, so that their scatter does not show it; shape and unit of the
            value, with the sign by which it would move it.

    Raises:
        JaxkinError: samples that are no array of numbers, or none.

    >>> a, b = Estimate(np.array([1.0, 2.0, 3.0])), Estimate(np.array([3.0, 2.0, 1.0]))
    >>> print(a, a + b, a / 10)
    2.0(6) 4 0.20(6)
    >>> Estimate(np.array([[1.0, 5.0], [2.0, 5.0]]))[0]
    Estimate: 1.5(5), 2 replicas
    """

    __array_ufunc__ = None  # a NumPy array on the left leaves the operation to the estimate

    samples: AnyArray
    evaluations: int = eqx.field(static=True, default=0)
    shared: AnyArray | None = None

    def __check_init__(self):
        x = self.samples
        if not isinstance(x, np.ndarray | jax.Array) or x.dtype.kind not in "biufc" or not x.ndim or not len(x):
            raise JaxkinError(
                f"samples={shown(x)} must be an array of numbers, at least one replica in its first axis."
            )

    @property
    def mean(self) -> AnyArray:
        """Mean over replicas, in the samples' unit."""
        return self.samples.mean(axis=0)

    @property
    def stderr(self) -> AnyArray:
        """Standard error of the mean, in its unit; of real and imaginary parts of complex values; NaN from one replica.

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

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the value, without the replicas."""
        return self.samples.shape[1:]

    @property
    def real(self) -> Estimate:
        """Its real part, in the samples' unit."""
        return self.map(lambda x: x.real)

    @property
    def imag(self) -> Estimate:
        """Its imaginary part, in the samples' unit."""
        return self.map(lambda x: x.imag)

    def map(self, function: Callable[[AnyArray], AnyArray]) -> Estimate:
        """The estimate of ``function`` of the value, in its unit, applied replica by replica (leading axis kept)."""
        samples = function(self.samples)
        if self.shared is None:
            return Estimate(samples, self.evaluations)
        moved = (function(self.samples + self.shared) - samples).mean(axis=0)
        return Estimate(samples, self.evaluations, moved)

    def __getitem__(self, index: Any) -> Estimate:
        """The estimate of an element or part of the value, by any index of an array."""
        index = index if isinstance(index, tuple) else (index,)
        shared = None if self.shared is None else self.shared[index]
        return Estimate(self.samples[(slice(None), *index)], self.evaluations, shared)

    def __iter__(self) -> Iterator[Estimate]:
        if not self.shape:
            raise TypeError("an Estimate of one number cannot be iterated over")
        return (self[number] for number in range(self.shape[0]))

    def __add__(self, other: Any) -> Estimate:
        return self._with(other, operator.add)

    def __radd__(self, other: Any) -> Estimate:
        return self._with(other, operator.add)

    def __sub__(self, other: Any) -> Estimate:
        return self._with(other, operator.sub)

    def __rsub__(self, other: Any) -> Estimate:
        return self._with(other, lambda mine, theirs: theirs - mine)

    def __mul__(self, other: Any) -> Estimate:
        return self._with(other, operator.mul)

    def __rmul__(self, other: Any) -> Estimate:
        return self._with(other, operator.mul)

    def __truediv__(self, other: Any) -> Estimate:
        return self._with(other, operator.truediv)

    def __rtruediv__(self, other: Any) -> Estimate:
        return self._with(other, lambda mine, theirs: theirs / mine)

    def __pow__(self, power: float) -> Estimate:
        return self.map(lambda x: x**power)

    def __neg__(self) -> Estimate:
        return self.map(operator.neg)

    def __abs__(self) -> Estimate:
        return self.map(abs)

    def _with(self, other: Any, function: Callable[[AnyArray, AnyArray], AnyArray]) -> Estimate:
        """``function`` of two values, each replica of one with the same of the other.

        Whether two shared errors have one cause is not known: their sizes add.
        """
        if not isinstance(other, Estimate):
            dimensions = np.ndim(other)
            return self.map(lambda x: function(_aligned(x, dimensions), other))
        if len(self.samples) != len(other.samples):
            raise JaxkinError(
                f"estimates of {len(self.samples)} and {len(other.samples)} replicas cannot be combined replica by "
                "replica: give both surfaces the same `replicas`, or combine means and standard errors."
            )
        mine, theirs = (_aligned(one.samples, max(len(self.shape), len(other.shape))) for one in (self, other))
        samples = function(mine, theirs)
        errors = []
        for one, moved in ((self, lambda x: function(x, theirs)), (other, lambda x: function(mine, x))):
            if one.shared is not None:
                there = _aligned(one.samples + one.shared, samples.ndim - 1)
                errors.append((moved(there) - samples).mean(axis=0))
        shared = _sizes_added(*errors) if len(errors) == 2 else next(iter(errors), None)
        return Estimate(samples, max(self.evaluations, other.evaluations), shared)

    @brief
    def __str__(self) -> str:
        return _text(self, None)

    @brief
    def __repr__(self) -> str:
        replicas, mean = plural(len(self.samples), "replica"), np.asarray(self.mean)
        if not mean.shape:
            return f"Estimate: {self}, {replicas}"
        if mean.size <= WRITTEN:
            return f"Estimate of shape {mean.shape}, {replicas}:\n{self}"
        largest = self[np.unravel_index(int(np.argmax(np.abs(mean))), mean.shape)]
        return f"Estimate of shape {mean.shape}, {replicas}, largest {largest}"

    def __format__(self, spec: str) -> str:
        """Mean with its error in brackets; ``".2u"``: two digits of the error."""
        digits = re.fullmatch(r"(?:\.(\d+)u)?", spec)
        if digits is None or digits[1] == "0":
            raise JaxkinError(
                f"format {spec!r} of an Estimate: write '.2u' for two digits of the uncertainty, or none."
            )
        return _text(self, int(digits[1])) if digits[1] else str(self)


def side_by_side(values: Sequence[Estimate]) -> list[str]:
    """Texts of numbers (components of one tensor, mechanisms of one component), in which rounding of the largest is 0.

    >>> side_by_side([Estimate(np.array([1.0, 3.0])), Estimate(np.array([1e-16, 2e-16]))])
    ['2.0(10)', '0']
    """
    largest = max((float(abs(value.mean)) for value in values), default=0.0)
    return ["0" if abs(value.mean) < ROUNDING * largest else str(value) for value in values]


def _text(estimate: Estimate, digits: int | None) -> str:
    mean, stderr = np.asarray(estimate.mean), np.asarray(estimate.stderr)
    if mean.size == 1 and not mean.shape:
        return with_uncertainty(mean.item(), stderr.item(), digits)
    texts = np.empty(mean.shape, object)
    for index in np.ndindex(mean.shape):
        texts[index] = with_uncertainty(mean[index].item(), stderr[index].item(), digits)
    return np.array2string(texts, formatter={"all": str}, threshold=SHOWN, edgeitems=1, max_line_width=120)


def _aligned(samples: AnyArray, dimensions: int) -> AnyArray:
    """``samples`` whose values have at least so many axes, so that they meet other arrays from the last axis on."""
    missing = dimensions - (samples.ndim - 1)
    return samples.reshape(len(samples), *(1,) * missing, *samples.shape[1:]) if missing > 0 else samples


def _sizes_added(one: AnyArray, other: AnyArray) -> AnyArray:
    """Errors of which it is not known whether they are independent, with the sign of the first."""
    xp = namespace(one, other)
    if xp.iscomplexobj(one) or xp.iscomplexobj(other):
        one, other = xp.asarray(one, complex), xp.asarray(other, complex)
        return _sizes_added(one.real, other.real) + 1j * _sizes_added(one.imag, other.imag)
    return one + xp.copysign(other, one)


def _standard_error(samples: AnyArray) -> AnyArray:
    xp, count = namespace(samples), len(samples)
    if count < 2:
        return xp.full(samples.shape[1:], xp.nan)
    return samples.std(axis=0, ddof=1) / count**0.5
