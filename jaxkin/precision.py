"""Double precision, turned on where a model is made.

JAX computes in single precision unless told otherwise, and Fermi-surface integrals need double.
Importing jaxkin changes nothing; constructing a model turns on JAX's 64-bit mode for the process,
because a scoped switch does not survive a user's own ``jax.jit``.
"""

import jax


def use_double() -> None:
    """Turn on JAX's 64-bit mode (idempotent)."""
    if not jax.config.jax_enable_x64:  # pyright: ignore[reportAttributeAccessIssue]
        jax.config.update("jax_enable_x64", True)
