"""Several processes of one calculation on this machine, as the command line starts them."""

from __future__ import annotations

import multiprocessing as mp
import os
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Literal, NamedTuple

import numpy as np

from jaxkin.errors import JaxkinError
from jaxkin.parallel.cluster import initialize

ENDED_BY_SIGNAL = (128 + signal.SIGINT, 128 + signal.SIGTERM)
"""Exit codes of a process that has kept what it has and said how to go on."""
Entry = Callable[[list[str]], Any]
PATIENCE = 5.0
"""Seconds in which the others may still say, or keep, what they have after one has failed."""


def launch(count: int, entry: Entry, arguments: list[str]) -> None:
    """Call ``entry(arguments)`` in ``count`` connected processes with equal shares of the cores.

    What one of them raises ends all of them and is raised here. SIGTERM is for process 0, as Ctrl-C is, which a
    terminal sends to all.

    Raises:
        JaxkinError: also for a process that was killed.
        SystemExit: process 0 has ended by a signal, and has said so.
    """
    context = mp.get_context("spawn")
    address = f"127.0.0.1:{_free_port()}"
    receivers: list[Connection] = []
    members: list[BaseProcess] = []
    with _signals_to_first(members):
        try:
            for index, cores in enumerate(_cores(count)):
                receiver, sender = context.Pipe(duplex=False)
                member = context.Process(
                    target=_member,
                    args=(address, count, index, entry, arguments, sender),
                    name=f"process {index} of {count}",
                )
                with _on(cores):
                    member.start()
                sender.close()
                receivers.append(receiver)
                members.append(member)
            word = _watch(receivers, members)
        finally:
            for member in reversed(members):  # process 0 last: the others complain when they lose it
                member.kill()
                member.join()
    if word:
        sys.stderr.write(word.trace)
        raise word.error


class Word(NamedTuple):
    """What ended a process; of several words the smallest is the cause, the others may be consequences."""

    rank: Literal["0 said", "1 silent", "2 unexpected"]
    index: int
    error: BaseException
    trace: str = ""


def _watch(receivers: list[Connection], members: list[BaseProcess]) -> Word | None:
    """Wait until all have ended, or for PATIENCE after the first has failed; the cause of failure."""
    running, words = list(receivers), []
    deadline = None
    while running and (ready := wait(running, deadline and max(deadline - time.monotonic(), 0.0))):
        for receiver in [one for one in running if one in ready]:
            running.remove(receiver)
            index = receivers.index(receiver)
            if word := _last_word(index, receiver, members[index]):
                words.append(word)
        if words and min(words)[:2] == ("0 said", 0):
            break  # nothing can come before it
        if words and not deadline:
            deadline = time.monotonic() + PATIENCE
    return min(words, default=None)


def _last_word(index: int, receiver: Connection, member: BaseProcess) -> Word | None:
    """None if it ended well."""
    try:
        return receiver.recv()
    except EOFError:
        member.join()
    if not member.exitcode:
        return None
    if index == 0 and member.exitcode in ENDED_BY_SIGNAL:
        return Word("0 said", index, SystemExit(member.exitcode))
    text = f"{member.name} ended without a word (exit code {member.exitcode})"
    return Word("1 silent", index, JaxkinError(f"{text}; too little memory is the usual cause: use fewer processes."))


def _member(address: str, count: int, index: int, entry: Entry, arguments: list[str], sender: Connection) -> None:
    """What each process does; after an error it waits to be ended with the others."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        initialize(address, count, index)
        entry(arguments)
    except (JaxkinError, KeyboardInterrupt) as error:
        sender.send(Word("0 said", index, error))
    except Exception as error:
        plain = JaxkinError(f"{mp.current_process().name}: {error!r}")
        sender.send(Word("2 unexpected", index, plain, traceback.format_exc()))
    else:
        return
    threading.Event().wait()


def _end_with_parent() -> None:
    parent = mp.parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)


def _cores(count: int) -> list[set[int]]:
    """Equal parts of the cores this process may use; a core serves several where there are too few."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0]
    if count > len(cores):
        return [{cores[index % len(cores)]} for index in range(count)]
    return [set(part.tolist()) for part in np.array_split(cores, count)]


@contextmanager
def _on(cores: set[int]):
    """What is started meanwhile runs on ``cores``."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def _signals_to_first(members: list[BaseProcess]):
    """Ctrl-C does nothing here, nor in the processes started meanwhile, but in process 0; SIGTERM is handed to it."""
    before = {
        signal.SIGINT: signal.signal(signal.SIGINT, signal.SIG_IGN),
        signal.SIGTERM: signal.signal(
            signal.SIGTERM, lambda *_: members[0].terminate() if members else sys.exit(128 + signal.SIGTERM)
        ),
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
