"""The processes of one calculation: how they find each other, and how they end together."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import contextmanager
from types import TracebackType
from typing import NoReturn

import jax

from jaxkin.parallel.share import Share

TASKS = ("SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE")
"""Where srun and mpirun say how many processes they started."""


def initialize(address: str | None = None, count: int | None = None, index: int | None = None) -> Share:
    """Connect this process with the others, and return its share; before JAX computes anything.

    From then on an error ends the process without waiting for the others, and process 0 alone hears Ctrl-C. An example:
    docs/parallel.md, "What is shared".

    Args:
        address: host:port of process 0. Without arguments JAX finds everything in what SLURM or Open MPI
            have put into the environment.
        count: number of processes.
        index: this process's number; with an ``address`` on this machine also that of its GPU.
    """
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(address, count, index, local_device_ids=index)
    sys.excepthook = _end
    signal.signal(signal.SIGINT, signal.SIG_IGN if share().index else signal.default_int_handler)
    with _nothing_printed():  # the first message makes gloo report its connections on standard output
        share().total(1)
    return share()


def connected() -> bool:
    """Whether :func:`initialize` has been called."""
    return jax.distributed.is_initialized()


def share() -> Share:
    """This process's share: everything if it is alone."""
    return Share(jax.process_index(), jax.process_count()) if connected() else Share()


def tasks() -> int:
    """How many processes a cluster's launcher started; 1 without one."""
    return next((int(os.environ[name]) for name in TASKS if name in os.environ), 1)


def leave(status: int) -> NoReturn:
    """End this process after an error; where it has others, without waiting for them as a usual exit does."""
    if connected():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


def _end(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> NoReturn:
    sys.__excepthook__(kind, error, trace)
    leave(1)


@contextmanager
def _nothing_printed():
    """Silence standard output, that of compiled code too."""
    sys.stdout.flush()
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)
