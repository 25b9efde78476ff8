"""Compiling for a CPU what runs for a moment, and what runs for long."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax

QUICK = {"xla_backend_optimization_level": 0, "xla_cpu_use_fusion_emitters": False}
"""Options of XLA by which a CPU compiles in a quarter of the time what then takes up to twice as long."""
FEW = 4096
"""States of a shell up to which compiling takes longer than running."""


def compiled_for(function: Callable) -> Callable[..., Any]:
    """``function(count, ...)`` compiled, its arrays as arguments, so that it suits ``count`` states."""
    thorough = eqx.filter_jit(function)
    quick = eqx.filter_jit(function, compiler_options=QUICK)  # pyright: ignore[reportCallIssue, reportArgumentType]

    def call(count: int, *arguments: Any) -> Any:
        few = count <= FEW and jax.default_backend() == "cpu"
        return (quick if few else thorough)(*arguments)

    return call
