"""Text files of numbers, as Fortran programs write them: read with a cursor, refused by line."""

from __future__ import annotations

import bz2
import gzip
import re
import warnings
import zlib
from pathlib import Path
from typing import NoReturn

import numpy as np

from jaxkin.checks import LARGEST, MOST_EXACT
from jaxkin.errors import FileFormatError, FileFormatWarning, nearest_file
from jaxkin.memory import demand

LINE_ENDS = re.compile(r"\r\n|\n|\r")
"""str.splitlines also splits at form feeds and U+2028, which may stand in a comment."""
ODD_EXPONENT = re.compile(r"([+-]?(?:\d+(?:\.\d*)?|\.\d+))(?:[dD]([+-]?\d+)|([+-]\d+))", re.ASCII)
"""1.0D+00, and 0.1-100 where the exponent left no room for its letter."""
POSITIVE = re.compile(r"0*[1-9][0-9]{0,17}")
"""Integers that are counts."""
PACKED: dict[str, type[gzip.GzipFile] | type[bz2.BZ2File]] = {".gz": gzip.GzipFile, ".bz2": bz2.BZ2File}
FARTHEST = 1e4
"""Reduced coordinates, Å: more is damage."""
CHUNK = 2**22
"""Bytes that are unpacked at once."""
COPIES = 8
"""Of a text's bytes exist at once as text, lines and numbers."""


class TextFile:
    """The lines of a file with a cursor; errors name the file and the line, and what was put right is said.

    Args:
        path: plain, or packed with a name that ends in ``.gz`` or ``.bz2``.
        data: its content, where that has been read.

    Raises:
        FileFormatError: no such file, unreadable, or larger than the memory budget.
    """

    def __init__(self, path: Path, data: bytes | None = None):
        self.path, self.cursor, self.notes = path, 0, dict[str, None]()
        data = content(path) if data is None else data
        self.lines = LINE_ENDS.split(data.decode(errors="replace"))
        self.ended = not self.lines[-1]
        if self.ended:
            self.lines.pop()

    def fail(self, what: str, line: int | None = None) -> NoReturn:
        """Refuse the file because of ``line`` (from 0), or of the one at the cursor."""
        number = (self.cursor if line is None else line) + 1
        raise FileFormatError(f"{self.path}, line {number}: {what}.")

    def note(self, what: str) -> None:
        """Remember what is not as usual, and what was made of it."""
        self.notes[what] = None

    def truncated(self) -> NoReturn:
        raise FileFormatError(f"{self.path}, line {len(self.lines)}: the file ends too early (truncated?).")

    def tell(self) -> None:
        """Warn of all that was noted."""
        for note in self.notes:
            warnings.warn(f"{self.path}: {note}.", FileFormatWarning, stacklevel=4)

    def skip(self, count: int = 1) -> None:
        self.cursor += count

    def line(self) -> str:
        """The one at the cursor."""
        if self.cursor >= len(self.lines):
            self.truncated()
        return self.lines[self.cursor]

    def skip_blank(self) -> None:
        while not self.line().strip():
            self.cursor += 1

    def counts(self, *names: str) -> list[int]:
        """Positive integers, one on a line or several, perhaps with a comment behind them."""
        found: list[int] = []
        while len(found) < len(names):
            line = self.line()
            text = re.split(r"[!#]", line)[0].strip()
            fields = text.split()
            if text != line.strip() or len(fields) > 1:
                self.note("counts that share a line, or stand before a comment, were read")
            if not fields or len(found) + len(fields) > len(names):
                self.fail(f"expected {names[len(found)]} (a positive integer), found {line.strip()[:60]!r}")
            for field in fields:
                if not POSITIVE.fullmatch(field):
                    self.fail(f"expected {names[len(found)]} (a positive integer), found {field[:60]!r}")
                found.append(int(field))
            self.cursor += 1
        return found

    def numbers(self, count: int, what: str) -> np.ndarray:
        """The ``count`` numbers of the next line."""
        return self.table(1, count, what)[0]

    def integers(self, what: str, count: int = 3) -> tuple[int, ...]:
        """The ``count`` of the next line."""
        return tuple(self.whole(self.table(1, count, what), what, self.cursor - 1)[0].tolist())

    def whole(self, rows: np.ndarray, what: str, start: int) -> np.ndarray:
        """``rows`` of numbers, of the lines from ``start``, as the integers that they must be."""
        wrong = np.any((rows != np.rint(rows)) | (np.abs(rows) > MOST_EXACT), axis=1)
        if wrong.any():
            number = int(np.argmax(wrong))
            self.fail(f"expected integers ({what}), found {' '.join(map(str, rows[number]))}", start + number)
        return rows.astype(int)

    def table(self, rows: int, columns: int, what: str) -> np.ndarray:
        """The next ``rows`` lines as numbers; checks count, format and size line by line on failure."""
        block = self.lines[self.cursor : self.cursor + rows]
        text = " ".join(block)
        try:
            if "_" in text or not text.isascii():  # Python would read 1_0 as ten
                raise ValueError
            values = np.array(text.split(), dtype=float)
        except ValueError:
            values = self._fortran(text.split())
        if values is None or values.size != rows * columns or not np.all(np.abs(values) <= LARGEST):
            self._find_fault(block, columns, what)
            self.truncated()
        self.cursor += rows
        return values.reshape(rows, columns)

    def _fortran(self, fields: list[str]) -> np.ndarray | None:
        try:
            values = np.array([as_number(field) for field in fields])
        except ValueError:
            return None
        self.note("exponents written with D, or without a letter, were read as Fortran means them")
        return values

    def _find_fault(self, block: list[str], columns: int, what: str) -> None:
        for offset, line in enumerate(block):
            fields, number = line.split(), self.cursor + offset
            if len(fields) != columns:
                if number == len(self.lines) - 1 and not self.ended:
                    return  # cut in mid-line: truncated
                self.fail(f"expected {columns} numbers ({what}), found {len(fields)}: {line.strip()[:60]!r}", number)
            for field in fields:
                try:
                    value = as_number(field)
                except ValueError:
                    self.fail(f"{field[:60]!r} is not a number ({what})", number)
                if not abs(value) <= LARGEST:
                    self.fail(f"{field[:60]} where {what} should stand", number)

    def finish(self) -> None:
        """Check that nothing but white space is left, and that the last number was not cut."""
        while self.cursor < len(self.lines):
            if self.lines[self.cursor].strip():
                self.fail(f"content after the end: {self.lines[self.cursor].strip()[:60]!r}")
            self.cursor += 1
        last = next((number for number in reversed(range(len(self.lines))) if self.lines[number].strip()), 0)
        if self.ended or last < len(self.lines) - 1:
            return
        fields = self.lines[last].split()
        like = self.lines[last - 1].split()
        if len(like) != len(fields) or not fields or _shape(like[-1]) != _shape(fields[-1]):
            self.fail("the last line has no end (truncated?)", last)
        self.note("the last line has no end, but a number as long as those before")


def content(path: Path) -> bytes:
    """The bytes of a file, unpacked where its name ends in ``.gz`` or ``.bz2``.

    Raises:
        FileFormatError: no such file, unreadable, or larger than the memory budget.
    """
    unpack = PACKED.get(path.suffix)
    try:
        if unpack is None:
            _demand(path.stat().st_size, path)
            return path.read_bytes()
        parts, size = [], 0
        with unpack(path, "rb") as file:
            while part := file.read(CHUNK):
                parts.append(part)
                size += len(part)
                _demand(size, path)
        return b"".join(parts)
    except FileNotFoundError:
        raise FileFormatError(f"{path}: no such file{nearest_file(path)}.") from None
    except (OSError, EOFError, zlib.error) as error:
        raise FileFormatError(f"{path}: could not be read ({error}).") from error


def _demand(size: int, path: Path) -> None:
    demand(COPIES * size, f"{path}: {size} bytes of text and what is made of them", "raise it, or split the file")


def as_number(field: str) -> float:
    """A number as Fortran or Python write it.

    Raises:
        ValueError: it is none; nor is what Python alone reads, 1_0 or digits of other scripts.
    """
    odd = ODD_EXPONENT.fullmatch(field)
    if odd:
        return float(f"{odd[1]}e{odd[2] or odd[3]}")
    if "_" in field or not field.isascii():
        raise ValueError
    return float(field)


def _shape(field: str) -> tuple[int, int]:
    """How many digits stand behind the point, and characters in the exponent."""
    mantissa, _, exponent = re.sub("[dD]", "e", field.lower()).partition("e")
    return len(mantissa.partition(".")[2]), len(exponent)
