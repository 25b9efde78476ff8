"""``jaxkin run``: which configuration, and in which processes."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

from jaxkin.cli import config as cfg
from jaxkin.cli import quantum, study
from jaxkin.cli.checkpoint import stored
from jaxkin.cli.defaults import completed
from jaxkin.cli.execution import Wanted, again, execute
from jaxkin.cli.origin import origin
from jaxkin.cli.stop import Stopped, stoppable
from jaxkin.errors import ConfigError
from jaxkin.parallel import Share, cluster
from jaxkin.parallel.launcher import launch

MOST_PROCESSES = 1024
"""That one run is shared by."""


def run(config: cfg.Config, wanted: Wanted, processes: int, command: Callable[[list[str]], None]) -> None:
    """A configuration, here or in ``processes`` that each get the ``command``.

    Raises:
        ConfigError: a number of processes that does not go with the launcher's, the replicas or the solver.
        Stopped: by a signal; says what is kept.
    """
    config = completed(config)
    alone = config.response.solver == "quantum"
    if alone and processes > 1:
        raise ConfigError(f"--processes {processes}: solver = 'quantum' runs in one process; leave --processes out.")
    _check_processes(processes, config.surface.replicas)
    share = _share(processes)
    if share is not None:
        execute(config, quantum.prepare if alone else study.prepare, wanted, share)
        return
    try:
        with stoppable(lambda done, total, what: None):
            launch(processes, command, sys.argv[1:])
    except Stopped as error:
        if error.line:  # of the process that prints
            raise
        kept = "" if wanted.out is None else f"; what is finished is kept in {wanted.out}; go on with: {again()}"
        raise Stopped(f"interrupted{kept}", error.args[1]) from error


def configuration(source: str | None, result: Path | None, settings: list[str], begun: Path | None) -> cfg.Config:
    """From SOURCE, or a result, or what was ``begun`` in a folder.

    Raises:
        ConfigError: both a SOURCE and a result, a folder without a run, or what :func:`jaxkin.cli.config.load` refuses.
    """
    if result is not None and source is not None:
        raise ConfigError(f"--from {result}: leave out SOURCE {source!r}; a result has its own configuration.")
    if result is not None:
        return origin(result, settings)
    if source is not None or begun is None:
        return cfg.load(source, settings)
    before = stored(begun)
    if before is None:
        raise ConfigError(f"--resume: there is no run in {begun}; name its folder, or give SOURCE to begin one.")
    return cfg.convert(cfg.applied(tomllib.loads(cfg.as_toml(before)), settings), None)


def _check_processes(processes: int, replicas: int) -> None:
    """Before any of them is started."""
    if not 1 <= processes <= MOST_PROCESSES:
        raise ConfigError(f"--processes {processes}: at least 1 is needed, and at most {MOST_PROCESSES} are started.")
    if processes > 1 and replicas < processes:
        raise ConfigError(f"--processes {processes} share {replicas} replicas: raise replicas, or use fewer processes.")


def _share(processes: int) -> Share | None:
    """This process's share; None where the processes are still to be started."""
    if processes == 1 or cluster.connected():
        return cluster.share()
    if cluster.tasks() == 1:
        return None
    if cluster.tasks() != processes:
        raise ConfigError(
            f"--processes {processes}: srun or mpirun has started {cluster.tasks()}; give both one number."
        )
    return cluster.initialize()
