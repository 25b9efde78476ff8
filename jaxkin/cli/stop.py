"""Ctrl-C and SIGTERM: a run stops where nothing is lost, and says how to go on."""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from jaxkin.surface.plan import Progress


PATIENCE = 3.0
"""Seconds in which a run may stop by itself."""
SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(KeyboardInterrupt):
    """A signal has ended the run: one line for the user, and the signal's number.

    >>> Stopped("interrupted", 2).status
    130
    """

    @property
    def line(self) -> str:
        """What to say."""
        return str(self.args[0])

    @property
    def status(self) -> int:
        """The exit code by which shells know the signal."""
        return 128 + int(self.args[1])


def end(line: str, status: int) -> NoReturn:
    """Say why and leave at once: an exit that tidies up would crash what compiled code still does in other threads."""
    cursor = "\x1b[?25h" if sys.stderr.isatty() else ""  # a progress bar hides it
    print(f"{cursor}jaxkin: {line}", file=sys.stderr, flush=True)
    with suppress(OSError, ValueError):
        sys.stdout.flush()
    os._exit(status)


@contextmanager
def interruptible() -> Iterator[None]:
    """Ctrl-C ends the process at once, also where Python drops exceptions, until :func:`stoppable` takes over."""
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, lambda number, frame: end("interrupted.", 130))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@contextmanager
def stoppable(progress: Progress, first: bool = True) -> Iterator[Progress]:
    """Raise :class:`Stopped` on SIGINT and SIGTERM; the ``progress`` that is handed back raises it too.

    The second way is for a signal that comes where Python drops exceptions, such as in a callback of a library.
    Of several processes the ``first`` hears signals and the others end with it; only a main thread can hear.
    """
    came: list[int] = []

    def hear(number: int, frame: FrameType | None) -> None:
        came.append(number)
        raise Stopped("", number)

    def report(done: int, total: int, what: str) -> None:
        if came:
            raise Stopped("", came[0])
        progress(done, total, what)

    report.came = came  # pyright: ignore[reportFunctionMemberAccess]

    def drop(dropped: sys.UnraisableHookArgs) -> None:
        if not came:  # the signal's own is raised again by what follows; the others are of things half made
            unraisable(dropped)

    before, unraisable = {}, sys.unraisablehook
    if threading.current_thread() is threading.main_thread():
        for number in SIGNALS:
            before[number] = signal.signal(number, hear if first else signal.SIG_IGN)
    sys.unraisablehook = drop
    try:
        yield report
    except Stopped as stopped:
        _let_go(stopped)
        raise
    finally:
        sys.unraisablehook = unraisable
        for number, one in before.items():
            signal.signal(number, one)


def cause(error: BaseException, progress: Progress) -> BaseException:
    """The signal that came before an ``error``: libraries make errors of what is raised in their callbacks."""
    came = getattr(progress, "came", ())
    return Stopped("", came[0]) if came and not isinstance(error, KeyboardInterrupt) else error


@contextmanager
def stopped_in_time(end: Callable[[int], None]) -> Iterator[None]:
    """Call ``end`` with a signal's number, in another thread, where the main one does not hear it for PATIENCE.

    Python hears signals between its own instructions, and a large compiled function may be one of many minutes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    heard, written = os.pipe()
    os.set_blocking(written, False)
    over = threading.Event()

    def watch() -> None:
        while number := os.read(heard, 1)[0]:
            if number in SIGNALS and not over.wait(PATIENCE):
                end(number)
        os.close(heard)

    before = signal.set_wakeup_fd(written, warn_on_full_buffer=False)
    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        over.set()
        signal.set_wakeup_fd(before)
        os.write(written, b"\0")
        os.close(written)


def _let_go(error: BaseException) -> None:
    """End what was half made when ``error`` was raised, here, where its complaints are heard by nobody."""
    one: BaseException | None = error
    while one is not None:
        traceback.clear_frames(one.__traceback__)
        one = one.__context__
    gc.collect()
