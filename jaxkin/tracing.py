"""What constructors check of numbers that JAX traces: nothing, as their values are not known yet."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer


def concrete(x: Any) -> bool:
    """Whether the value of a number or array is known, so that it can be checked.

    >>> concrete(1.0), bool(jax.jit(lambda x: concrete(x))(1.0))
    (True, False)
    """
    return not isinstance(x, Tracer)


def known_array(x: Any, dtype: type) -> Any:
    """``x`` as a NumPy array of its own, or as a traced one where any part of it is traced."""
    try:
        return np.array(x, dtype)
    except jax.errors.JAXTypeError:
        return jnp.array(x, dtype)
