"""Files that Fortran programs write item by item, formatted or not: one interface for both."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn, Protocol

import numpy as np

from jaxkin.checks import LARGEST
from jaxkin.errors import FileFormatError
from jaxkin.hamiltonian.text_file import TextFile, content


class FortranFile(Protocol):
    """Items in the order in which they were written; each method reads the next one.

    All raise a FileFormatError that names file and place where something else stands there.
    """

    path: Path

    def text(self) -> str: ...

    def integers(self, count: int, what: str) -> np.ndarray: ...

    def flags(self, count: int, what: str) -> np.ndarray: ...

    def reals(self, count: int, what: str) -> np.ndarray: ...

    def complexes(self, count: int, what: str) -> np.ndarray: ...

    def finish(self) -> None: ...

    def fail(self, what: str) -> NoReturn: ...


class Formatted:
    """A formatted file: complex numbers one on a line, logicals as 0 and 1 (or T and F)."""

    def __init__(self, path: Path, data: bytes):
        self.path, self._file = path, TextFile(path, data)

    def text(self) -> str:
        line = self._file.line().strip()
        self._file.skip()
        return line

    def integers(self, count: int, what: str) -> np.ndarray:
        if not count and not self._file.line().strip():  # an empty list may have a line of its own
            self._file.skip()
        start = self._file.cursor
        found = self.reals(count, what)
        lines = max(self._file.cursor - start, 1)
        return self._file.whole(found.reshape(lines, -1), what, start).ravel()

    def flags(self, count: int, what: str) -> np.ndarray:
        start, words = self._file.cursor, []
        while len(words) < count:
            words += self._file.line().split()
            self._file.skip()
        known = {"0": False, "1": True, "F": False, "T": True}
        if len(words) != count or not set(words) <= set(known):
            self._file.fail(f"expected {count} logicals, 0 or 1 ({what})", start)
        return np.array([known[word] for word in words])

    def reals(self, count: int, what: str) -> np.ndarray:
        if not count:
            return np.empty(0)
        width = len(self._file.line().split())
        if not width or count % width:
            self._file.fail(f"expected {count} numbers ({what}), found {self._file.line().strip()[:60]!r}")
        return self._file.table(count // width, width, what).ravel()

    def complexes(self, count: int, what: str) -> np.ndarray:
        rows = self._file.table(count, 2, what)
        return rows[:, 0] + 1j * rows[:, 1]

    def finish(self) -> None:
        self._file.finish()
        self._file.tell()

    def fail(self, what: str) -> NoReturn:
        self._file.fail(what, max(self._file.cursor - 1, 0))


class Unformatted:
    """A sequential unformatted file: records between two 4-byte lengths, of either byte order."""

    def __init__(self, path: Path, data: bytes):
        self.path, self._data, self._place, self._number = path, data, 0, 0
        self._order = "<" if self._data[:4] and int.from_bytes(self._data[:4], "little") < 2**20 else ">"

    def text(self) -> str:
        return self._record("a text").decode(errors="replace").strip()

    def integers(self, count: int, what: str) -> np.ndarray:
        return self._items(count, "i4", what).astype(int)

    def flags(self, count: int, what: str) -> np.ndarray:
        return self._items(count, "i4", what) != 0

    def reals(self, count: int, what: str) -> np.ndarray:
        return self._finite(self._items(count, "f8", what), what)

    def complexes(self, count: int, what: str) -> np.ndarray:
        return self._finite(self._items(count, "c16", what), what)

    def finish(self) -> None:
        if self._place != len(self._data):
            self._number += 1
            self.fail("content after the end")

    def fail(self, what: str) -> NoReturn:
        raise FileFormatError(f"{self.path}, record {self._number}: {what}.")

    def _finite(self, items: np.ndarray, what: str) -> np.ndarray:
        if not np.all(np.abs(items.view(float)) <= LARGEST):
            self.fail(f"NaN, infinity or what is far too large where {what} should stand")
        return items

    def _items(self, count: int, kind: str, what: str) -> np.ndarray:
        record, size = self._record(what), np.dtype(kind).itemsize
        if len(record) != count * size:
            self.fail(f"{len(record)} bytes where {count * size} were expected ({what})")
        return np.frombuffer(record, self._order + kind).astype(kind)

    def _record(self, what: str) -> bytes:
        self._number += 1
        length, start = self._marker(), self._place
        self._place += length
        if not 0 <= length <= len(self._data) - start - 4:
            self.fail(f"the file ends too early, or is no unformatted Fortran file ({what})")
        if self._marker() != length:
            self.fail(f"the lengths before and after a record differ ({what}): damaged, or not an unformatted file")
        return self._data[start : start + length]

    def _marker(self) -> int:
        mark = self._data[self._place : self._place + 4]
        if len(mark) < 4:
            self.fail("the file ends too early (truncated?)")
        self._place += 4
        return int(np.frombuffer(mark, self._order + "i4")[0])


def fortran_file(path: Path) -> FortranFile:
    """The file as what it is: unformatted where its first bytes are the length of a short record."""
    data = content(path)
    sizes = (int.from_bytes(data[:4], order) for order in ("little", "big"))
    short = len(data) >= 4 and any(0 < size < 2**10 for size in sizes)
    return Unformatted(path, data) if short else Formatted(path, data)
