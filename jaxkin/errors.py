"""What jaxkin raises and warns with: one line that says what, where, and how to mend it."""

import difflib
from collections.abc import Iterable
from pathlib import Path


class JaxkinError(ValueError):
    """Base of every error jaxkin raises on bad input."""


class ModelError(JaxkinError):
    """A model's arrays do not fit together, or its Hamiltonian is not Hermitian."""


class FileFormatError(JaxkinError):
    """A file is truncated, malformed, non-Hermitian or holds NaN; names the file and the line."""


class SymmetryError(JaxkinError):
    """A stated symmetry is not one of H(k); names the operation."""


class ConfigError(JaxkinError):
    """A configuration key or value is not understood; names the nearest valid one."""


class AccuracyWarning(UserWarning):
    """A result is less certain than asked for; says why and which argument to change."""


class FileFormatWarning(UserWarning):
    """A file is not quite as usual, or lacks a companion; says what was made of it."""


def in_one_line(error: Exception) -> str:
    """What an error of another program says, on one line."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return shortened(str(error)) or type(error).__name__


def shortened(text: str, most: int = 120) -> str:
    """A text in a message: on one line, and not too long.

    >>> shortened("more\\nthan a line", 12)
    'more than...'
    """
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 3]}..."


def nearest(word: object, choices: Iterable[str]) -> str:
    """' (did you mean X?)' for the closest of ``choices``, or nothing."""
    close = difflib.get_close_matches(str(word), list(choices), n=1, cutoff=0.5)
    return f" (did you mean {close[0]!r}?)" if close else ""


def nearest_file(path: Path) -> str:
    """' (did you mean X?)' for the closest name in the folder of a file that is not there, or the folder that is not.

    >>> nearest_file(Path("results of yesterday/result.nc"))
    " (there is no folder 'results of yesterday')"
    """
    if path.is_dir():
        return " (it is a folder)"
    folder = path.parent
    if folder.is_dir():
        return nearest(path.name, (one.name for one in folder.iterdir()))
    while not folder.parent.is_dir():
        folder = folder.parent
    hint = nearest(folder.name, (one.name for one in folder.parent.iterdir() if one.is_dir()))
    return f" (there is no folder {str(folder)!r}{hint.replace(' (', '; ').removesuffix(')')})"
