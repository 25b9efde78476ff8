"""Double precision, turned on where a model is made.

JAX computes in single precision unless told otherwise, and Fermi-surface integrals need double.
Importing jaxkin changes nothing; constructing a model turns on JAX's 64-bit mode for the process,
because a scoped switch does not survive a user's own ``jax.jit``.
"""

import jax
import jax.numpy as jnp
from jax.core import Tracer

from jaxkin.errors import JaxkinError


def use_double() -> None:
    """Turn on JAX's 64-bit mode (idempotent).

    Raises:
        JaxkinError: inside ``jax.jit``, where it is too late.
    """
    if not jax.config.jax_enable_x64:  # pyright: ignore[reportAttributeAccessIssue]
        if isinstance(jnp.zeros(()), Tracer):
            raise JaxkinError(
                "the first model is made inside jax.jit, after its arguments became single precision: make one before, "
                "or call jax.config.update('jax_enable_x64', True)."
            )
        jax.config.update("jax_enable_x64", True)
