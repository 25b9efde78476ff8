"""Short texts for people at a prompt: what an object is, its numbers, and what to ask it for."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable
from typing import Any

import jax
import numpy as np
from jax.core import Tracer

LISTED = 4
"""Numbers of a list that are written one by one."""


def brief(text: Callable[[Any], str]) -> Callable[[Any], str]:
    """A ``__repr__`` of a pytree that is asked for where its leaves are numbers, and else says that they are not.

    Under ``jax.jit``, ``jax.grad`` and ``jax.vmap`` leaves are traced, and between them they may be anything.
    """

    @functools.wraps(text)
    def __repr__(self: Any) -> str:
        if any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(self)):
            return f"{type(self).__name__} (traced)"
        try:
            return text(self)
        except (AttributeError, IndexError, TypeError, ValueError):  # axes, masks or nothing in place of arrays
            return f"{type(self).__name__} (without numbers)"

    return __repr__


def lines(head: str, *rest: str) -> str:
    """A headline and what belongs to it, indented; empty lines are left out.

    >>> print(lines("Surface: 2 points", "", "μ = 0 eV"))
    Surface: 2 points
      μ = 0 eV
    """
    return "\n  ".join([head, *filter(None, rest)])


def constructed(thing: Any, *without: str) -> str:
    """The call that makes a small object ``without`` some fields, numbers with four digits, functions by their name.

    >>> import jaxkin as jk
    >>> print(constructed(jk.Gaussian(2.0)))
    Gaussian(width=2)
    """
    fields = (
        f"{one.name}={_argument(getattr(thing, one.name))}"
        for one in dataclasses.fields(thing)
        if one.name not in without
    )
    return f"{type(thing).__name__}({', '.join(fields)})"


def _argument(value: Any) -> str:
    if isinstance(value, np.ndarray | np.generic | jax.Array | float):
        return f"{float(value):.4g}" if np.ndim(value) == 0 else f"array of shape {np.shape(value)}"
    return getattr(value, "__name__", None) or repr(value)


def listed(values: Iterable[Any]) -> str:
    """A few numbers, or the first, the last, and how many.

    >>> listed([0.0, 0.5]), listed([0, 1, 2, 3, 4])
    ('0, 0.5', '0 … 4 (5 values)')
    """
    found = np.asarray(list(values), float).ravel()
    if len(found) <= LISTED:
        return ", ".join(f"{x:.4g}" for x in found)
    return f"{found[0]:.4g} … {found[-1]:.4g} ({len(found)} values)"


def ranged(values: Any) -> str:
    """The one number, or the smallest and the largest.

    >>> ranged(2.0), ranged([3.0, 1.0])
    ('2', '1 … 3')
    """
    found = np.asarray(values, float)
    if not found.size:
        return "none"
    low, high = f"{found.min():.4g}", f"{found.max():.4g}"
    return low if low == high else f"{low} … {high}"


def plural(count: int, noun: str) -> str:
    """``count`` and its noun.

    >>> plural(1, "pocket"), plural(2, "pocket")
    ('1 pocket', '2 pockets')
    """
    return f"{count} {noun}{'s' * (count != 1)}"
