"""Standard output of a run: it may be closed, or full, and the run goes on where its results are kept elsewhere."""

from __future__ import annotations

import errno
import os
import sys

from rich.console import Console, RenderableType

from jaxkin.errors import JaxkinError

WIDTH = 140
"""Of tables where standard output is no terminal: their numbers have to fit."""


class Page:
    """Where tables, or one JSON object, are printed.

    Args:
        quiet: nothing is printed but what :meth:`write` gets.
        silent: nothing at all, for the processes that leave it to another.
        kept: the results are in a folder too, so that an output that is lost does not matter.
    """

    def __init__(self, *, quiet: bool = False, silent: bool = False, kept: bool = False):
        self._console = console(quiet or silent)
        self._silent, self._kept = silent, kept
        self.lost: OSError | None = None
        """Why nothing can be printed any more."""

    def print(self, *objects: RenderableType, style: str | None = None) -> None:
        """Print tables or lines.

        Raises:
            JaxkinError: it cannot be printed, and is kept nowhere else.
        """
        self._trying(lambda: self._console.print(*objects, style=style, soft_wrap=bool(style)))

    def write(self, text: str) -> None:
        """Print a text as it is; raises as :meth:`print`."""
        if not self._silent:
            self._trying(lambda: print(text, flush=True))

    def _trying(self, function) -> None:
        if self.lost is not None:
            return
        try:
            function()
        except OSError as error:
            self.lost = error
            discard_output()
            if not self._kept:
                raise JaxkinError(
                    f"standard output: {error.strerror}; --out DIR keeps results all the same."
                ) from error

    def check(self) -> None:
        """Say in the end that not all could be printed, unless a reader had simply seen enough.

        Raises:
            JaxkinError: the output was full, or failed otherwise.
        """
        if self.lost is not None and self.lost.errno != errno.EPIPE:
            raise JaxkinError(f"standard output: {self.lost.strerror}; the results are in the folder of --out.")


class _Console(Console):
    def on_broken_pipe(self) -> None:
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


def console(quiet: bool = False) -> Console:
    """Standard output, wide enough for the tables when it is not a terminal; brackets are brackets."""
    made = _Console(highlight=False, markup=False, quiet=quiet)
    return made if made.is_terminal else _Console(highlight=False, markup=False, quiet=quiet, width=WIDTH)


def discard_output() -> None:
    """Send what is still in Python's buffer nowhere, so that its last flush does not fail."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
    except (OSError, ValueError):  # not a file, as in tests
        return
