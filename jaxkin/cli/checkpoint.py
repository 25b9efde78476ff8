"""The finished points of a run: on disk as soon as they are there, and taken from there by the run that goes on."""

from __future__ import annotations

import re
from pathlib import Path

from jaxkin.cli import config as cfg
from jaxkin.cli import levels
from jaxkin.cli.aside import Aside
from jaxkin.cli.record import Record
from jaxkin.errors import ConfigError, FileFormatError
from jaxkin.output.folder import Folder, replace_file

POINTS = "points"
"""The folder in the result's folder; it holds each point and the configuration they belong to."""
CONFIG = "config.toml"
ASIDE = "aside"
"""In it, the pieces of the point under way."""
NAME = re.compile(r"(\d+)\.nc")
FREE = ("resources.",)
"""Keys that may be others when a run goes on: the same numbers to rounding, and a run may have stopped for memory."""


class Checkpoint:
    """The points of one configuration in a folder.

    Args:
        folder: of the results, which this process has for itself.
        config: completed.
        resume: take what is there; otherwise begin anew.

    Raises:
        ConfigError: ``resume`` with another configuration; without it, points of a run that has not ended.
    """

    def __init__(self, folder: Folder, config: cfg.Config, resume: bool):
        self.kept: dict[int, Record] = {}
        self.damaged: list[str] = []
        """What was there and could not be read: those points are computed again."""
        self.replaced = ""
        """What is said of a run with other settings that was there, and ends when this one has results."""
        self._place = folder.part(POINTS)
        self._aside = aside(folder.path)
        before, files = stored(folder.path), self._files()
        if before is not None and resume:
            self._compare(before, config, folder.path)
            self.refresh()
            return
        wanted = 0 if before is None else levels.count(before.surface)
        if 0 < len(files) < wanted:
            raise ConfigError(
                f"--out {folder.path}: holds {len(files)} of {wanted} points of a run that has not ended; "
                f"go on with --resume, or remove {self._place} to begin anew."
            )
        if files and before is not None and (keys := self._others(before, config)):
            self.replaced = (
                f"{folder.path} holds a finished run with other {', '.join(keys)}: this one replaces it "
                "(--out names another folder)"
            )
        (self._place / CONFIG).unlink(missing_ok=True)  # first: without it the files mean nothing
        for file in files.values():
            file.unlink()
        self._aside.clear()
        replace_file(self._place / CONFIG, cfg.as_toml(config).encode())

    def save(self, number: int, record: Record) -> None:
        """Keep a point for good, as it is on disk.

        Raises:
            JaxkinError: it cannot be written.
        """
        file = replace_file(self._place / f"{number:05d}.nc", record.encode())
        self.kept[number] = Record.read(file)

    def refresh(self) -> None:
        """Take the points on disk that are not in :attr:`kept` yet, such as one that a signal came upon."""
        for number, file in self._files().items():
            if number not in self.kept:
                self._take(number, file)

    def finish(self) -> None:
        """Nothing is under way any more."""
        self._aside.clear()

    def _files(self) -> dict[int, Path]:
        found = {int(match[1]): one for one in self._place.iterdir() if (match := NAME.fullmatch(one.name))}
        return dict(sorted(found.items()))

    @staticmethod
    def _others(before: cfg.Config, config: cfg.Config) -> list[str]:
        return [key for key in cfg.differing(before, config) if not key.startswith(FREE)]

    def _compare(self, before: cfg.Config, config: cfg.Config, path: Path) -> None:
        if keys := self._others(before, config):
            raise ConfigError(
                f"--resume: {', '.join(keys)} differ{'s' * (len(keys) == 1)} from the run in {path}; leave out SOURCE "
                "and --set to go on as it began, or give another --out."
            )

    def _take(self, number: int, file: Path) -> None:
        try:
            self.kept[number] = Record.read(file)
        except FileFormatError as error:
            self.damaged.append(f"{error} It is computed again.")


def aside(folder: Path) -> Aside:
    """The shelf in a result's folder, for every process of its run."""
    return Aside(folder / POINTS / ASIDE)


def stored(folder: Path) -> cfg.Config | None:
    """The configuration of the points in a result's folder; None where there are none.

    >>> stored(Path("nowhere"))
    """
    file = folder / POINTS / CONFIG
    return cfg.load(str(file), []) if file.is_file() else None
