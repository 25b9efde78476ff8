"""A run from its configuration to tables and files: points are kept as they come, results are written in the end."""

from __future__ import annotations

import importlib.util
import shlex
import signal
import sys
import threading
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import xarray as xr
from rich.console import Group

from jaxkin.cli import config as cfg
from jaxkin.cli import record as records
from jaxkin.cli.checkpoint import Checkpoint, aside
from jaxkin.cli.ingredients import memory
from jaxkin.cli.levels import Place
from jaxkin.cli.page import Page
from jaxkin.cli.progress import reporting
from jaxkin.cli.record import Record
from jaxkin.cli.stop import Stopped, cause, end, stoppable, stopped_in_time
from jaxkin.errors import JaxkinError, in_one_line
from jaxkin.output import dataset as ds
from jaxkin.output.folder import Folder, replace_file
from jaxkin.output.scan import scan_tables
from jaxkin.parallel import Share
from jaxkin.shelf import Shelf
from jaxkin.surface.plan import Progress


class Point(Protocol):
    """A finished point of a study."""

    @property
    def number(self) -> int: ...
    @property
    def record(self) -> Record: ...
    def summary(self) -> Group: ...


class Study(Protocol):
    """What can be run: :class:`jaxkin.cli.study.Study`, :class:`jaxkin.cli.quantum.Study`."""

    config: cfg.Config
    warnings: list[str]

    @property
    def places(self) -> list[Place]: ...
    def run(
        self, progress: Progress, done: Callable[[Any], None], share: Share, kept: Collection[int], shelf: Shelf
    ) -> None: ...
    def dataset(self, records: Sequence[Record], cautions: Sequence[str]) -> xr.Dataset: ...


Prepare = Callable[[cfg.Config, Progress | None], Study]


class Wanted(NamedTuple):
    """Where results go."""

    out: Path | None = None
    json: bool = False
    resume: bool = False


def execute(config: cfg.Config, prepare: Prepare, wanted: Wanted, share: Share) -> None:
    """Run a completed configuration.

    Raises:
        Stopped: by a signal; what is finished is kept.
        JaxkinError: what stopped it, and what has become of the points that were finished.
    """
    first = share.index == 0  # prints and writes for all
    with ExitStack() as stack:
        folder = stack.enter_context(Folder(wanted.out)) if wanted.out is not None and first else None
        checkpoint = None if folder is None else Checkpoint(folder, config, wanted.resume)
        page = Page(quiet=wanted.json, silent=not first, kept=folder is not None)
        report = stack.enter_context(reporting(quiet=wanted.json or not first))
        progress = stack.enter_context(stoppable(report, first))
        stack.enter_context(memory(config.resources))
        run = Execution(wanted, page, checkpoint)
        if first:
            stack.enter_context(stopped_in_time(run.leave))
        try:
            run.compute(config, prepare, progress, share)
        except (KeyboardInterrupt, Exception) as error:
            known = cause(error, progress)
            if not first or not isinstance(known, (KeyboardInterrupt, JaxkinError, MemoryError)):
                raise
            raise run.ended(known) from error
        if first:
            run.results()
            page.check()
            if checkpoint is not None:
                checkpoint.finish()


class Execution:
    """The points that are finished, and what is done with them."""

    def __init__(self, wanted: Wanted, page: Page, checkpoint: Checkpoint | None):
        self.wanted, self.page, self.checkpoint = wanted, page, checkpoint
        self.start = time.perf_counter()
        self.found: dict[int, Record] = {} if checkpoint is None else checkpoint.kept
        self.study: Study | None = None
        self._ending = threading.Lock()

    def compute(self, config: cfg.Config, prepare: Prepare, progress: Progress, share: Share) -> None:
        """All points that are not there yet, each on disk before it is printed."""
        kept = {int(line) for line in share.lines([str(number) for number in self.found])}
        self.study = study = prepare(config, progress)
        if self.checkpoint is not None:
            study.warnings += self.checkpoint.damaged
            if self.checkpoint.replaced:
                self.page.print(self.checkpoint.replaced, style="yellow")

        def where(number: int) -> str:
            mu, kelvin, _ = study.places[number]
            return f"μ = {mu:g} eV, T = {kelvin:g} K"

        for number in sorted(self.found):
            self.page.print(f"{where(number)}: kept from before", style="dim")

        def done(point: Point) -> None:
            if self.checkpoint is None:
                self.found[point.number] = point.record
            else:
                self.checkpoint.save(point.number, point.record)  # among what is found, too
            if len(study.places) > 1:
                self.page.print(f"{len(self.found)} of {len(study.places)}: {where(point.number)}", style="dim")
            else:
                self.page.print(point.summary())
                self.page.print("")

        shelf = Shelf() if self.wanted.out is None else aside(self.wanted.out)
        study.run(progress, done, share, kept, shelf)

    def results(self) -> None:
        """The files, and the tables or the JSON object, of all points; none is left out because another fails."""
        study, points = self.study, [self.found[number] for number in sorted(self.found)]
        assert study is not None
        seconds = time.perf_counter() - self.start
        cautions = list(dict.fromkeys([*study.warnings, *(line for point in points for line in point.cautions)]))
        document = records.joined(points, cautions, seconds, cfg.as_toml(study.config))
        failure, written, data, out = None, [], None, self.wanted.out
        if out is not None:
            data = study.dataset(points, cautions)
            try:
                written += _write(study, data, records.as_json(document), out)
            except JaxkinError as error:
                failure = error
        if self.wanted.json:
            self.page.write(records.as_json(document))
        else:
            self._say(len(study.places) > 1, points, cautions)
        if out is not None and data is not None and failure is None:
            try:
                written += _draw(data, out)
            except JaxkinError as error:
                failure = error
        if written:
            self.page.print("wrote " + ", ".join(map(str, written)), style="dim")
        self.page.print(f"{seconds:.1f} s in all", style="dim")
        if failure is not None:
            raise failure

    def _say(self, scan: bool, points: list[Record], cautions: list[str]) -> None:
        """The tables of a scan, and cautions that no point has printed by itself."""
        if scan:
            self.page.print(*scan_tables([point.data for point in points]))
        said = [] if scan else [line for point in points for line in point.document["warnings"]]
        for line in cautions:
            if not any(line.endswith(one) for one in said):
                self.page.print(f"warning: {line}", style="yellow")

    def leave(self, number: int) -> None:
        """End the process as a signal does, in place of a main thread that does not hear it, unless that does now."""
        if not self._ending.acquire(blocking=False):
            return
        try:
            said = self._ended(Stopped("", number)).args[0]
        except Exception as error:  # a fault of ours: the process has to end all the same
            said = f"interrupted; its results were not written ({in_one_line(error)})"
        end(said, 128 + number)

    def ended(self, error: BaseException) -> BaseException:
        """What to raise in place of an error, once all that is finished is written and printed."""
        self._ending.acquire()
        return self._ended(error)

    def _ended(self, error: BaseException) -> BaseException:
        if self.checkpoint is not None:
            self.checkpoint.refresh()
        stopped, count = isinstance(error, KeyboardInterrupt), len(self.found)
        cause = "too little memory" if isinstance(error, MemoryError) else str(error)
        if self.study is None and count:
            said = f"interrupted; the {count} points of before are kept in {self.wanted.out}" if stopped else cause
        elif self.study is None or not count:
            said = "interrupted before the first result" if stopped else cause
        else:
            said = f"{'interrupted' if stopped else 'stopped'} after {count} of {len(self.study.places)} points"
            said += "" if stopped else f" ({cause.rstrip('.')})"
            try:
                self.results()
            except JaxkinError as second:
                said += f"; {second}" if str(second) != cause else ""
            kept = f"kept in {self.wanted.out}" if self.wanted.out else "shown, --out DIR would keep it"
            said += f"; what was computed is {kept}"
        if self.wanted.out is not None and (stopped or isinstance(error, MemoryError)):
            said += f"; go on with: {again()}"
        if stopped:
            return Stopped(said, error.args[1] if isinstance(error, Stopped) else signal.SIGINT)
        return error if said == str(error) else JaxkinError(said.rstrip(".") + ".")


def again() -> str:
    """The command that goes on."""
    return shlex.join(["jaxkin", *(one for one in sys.argv[1:] if one != "--resume"), "--resume"])


def _write(study: Study, data: xr.Dataset, text: str, folder: Path) -> list[Path]:
    """``result.nc``, ``result.json`` and ``config.toml``."""
    return [
        ds.save(data, folder / "result.nc"),
        replace_file(folder / "result.json", text.encode()),
        replace_file(folder / "config.toml", cfg.as_toml(study.config).encode()),
    ]


def _draw(data: xr.Dataset, folder: Path) -> list[Path]:
    """The pictures, where matplotlib is."""
    if importlib.util.find_spec("matplotlib") is None:
        return []
    from jaxkin.output import pictures

    return pictures.draw(data, folder)
