"""Pieces of the point under way, in files: a run that is killed in a long point loses the piece that it works on."""

from __future__ import annotations

import io
import shutil
import zipfile
import zlib
from pathlib import Path

import numpy as np

from jaxkin.errors import JaxkinError
from jaxkin.output.folder import replace_file
from jaxkin.shelf import Arrays, Shelf


class Aside(Shelf):
    """A shelf that is a folder of files ``kind-group/piece.npz``.

    What cannot be written is not kept, and what is damaged is made again: neither is a result.

    Args:
        place: the folder; it need not be there.

    >>> import tempfile
    >>> shelf = Aside(Path(tempfile.mkdtemp()))
    >>> shelf.put("sampled-0/3", {"k": np.ones(1)})
    >>> shelf.take("sampled-0/3"), shelf.take("sampled-0/4")
    ({'k': array([1.])}, None)
    """

    def __init__(self, place: Path):
        self.place = place

    def take(self, name: str) -> Arrays | None:
        try:
            with np.load(self._file(name), allow_pickle=False) as file:
                return dict(file)
        except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error):
            return None

    def put(self, name: str, arrays: Arrays) -> None:
        file, buffer = self._file(name), io.BytesIO()
        if self.place.is_symlink() or file.parent.is_symlink():
            return
        np.savez(buffer, allow_pickle=False, **arrays)
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            replace_file(file, buffer.getbuffer())
        except (OSError, JaxkinError):
            return
        kind = file.parent.name.partition("-")[0]
        for other in self.place.glob(f"{kind}-*"):
            if other != file.parent:
                shutil.rmtree(other, ignore_errors=True)

    def clear(self) -> None:
        """Remove all of them."""
        shutil.rmtree(self.place, ignore_errors=True)

    def _file(self, name: str) -> Path:
        return self.place / f"{name}.npz"
