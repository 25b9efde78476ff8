"""Compiling for a CPU what runs for a moment, and what runs for long."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import equinox as eqx
import jax

QUICK = {"xla_backend_optimization_level": 0, "xla_cpu_use_fusion_emitters": False}
"""Options of XLA by which a CPU compiles in a quarter of the time what then takes up to twice as long."""
FEW = 4096
"""States of a shell up to which compiling takes longer than running."""
WORTH = 0.2
"""Seconds of compiling from which on the result is kept."""


def keep_compiled() -> None:
    """Keep what is compiled in the user's cache folder, so that the next process finds it; JAX's own settings win."""
    if jax.config.jax_compilation_cache_dir is None:  # pyright: ignore[reportAttributeAccessIssue]
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        jax.config.update("jax_compilation_cache_dir", str(home / "jaxkin" / "xla"))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", WORTH)


def compiled_for(function: Callable) -> Callable[..., Any]:
    """``function(count, ...)`` compiled, its arrays as arguments, so that it suits ``count`` states."""
    thorough = eqx.filter_jit(function)
    quick = eqx.filter_jit(function, compiler_options=QUICK)  # pyright: ignore[reportCallIssue, reportArgumentType]

    def call(count: int, *arguments: Any) -> Any:
        few = count <= FEW and jax.default_backend() == "cpu"
        return (quick if few else thorough)(*arguments)

    return call
