"""One text for numbers and for their derivatives: NumPy for arrays, ``jax.numpy`` for what is traced."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jaxkin.errors import ModelError

AnyArray = Any
"""An array of NumPy or of JAX."""
Number = Any
"""A number, or a scalar array of JAX that may be differentiated."""


def namespace(*arrays: Any) -> Any:
    """``jax.numpy`` if one of the arrays is JAX's, else ``numpy``.

    >>> namespace(np.ones(2)) is np, namespace(np.ones(2), jnp.ones(2)) is jnp
    (True, True)
    """
    return jnp if any(isinstance(array, jax.Array) for array in arrays) else np


def is_traced(*values: Any) -> bool:
    """Whether a leaf of one of the pytrees has no value yet, so that it cannot be checked."""
    return any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(values))


def known_array(name: str, x: Any, dtype: type) -> Any:
    """``x`` as a NumPy array of its own, or as a traced one where any part of it is traced.

    Raises:
        JaxkinError: it is no array of numbers.
    """
    try:
        return np.array(x, dtype)
    except jax.errors.JAXTypeError:
        return jnp.array(x, dtype)
    except (TypeError, ValueError):
        raise ModelError(f"{name} must be an array of numbers with rows of one length.") from None


def leaf(x: Any) -> Any:
    """A number as an array of NumPy's, so that another one compiles nothing; what is traced, an array or None stays.

    What is no number stays too: whoever knows its name refuses it.

    >>> leaf(1.5), leaf(None)
    (array(1.5), None)
    """
    if x is None or is_traced(x) or isinstance(x, jax.Array):
        return x
    try:
        return np.asarray(x, float)
    except (TypeError, ValueError):
        return x
