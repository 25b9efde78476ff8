"""A folder of results with one writer, and files that are there whole or not at all."""

from __future__ import annotations

import errno
import os
import socket
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import TracebackType

from jaxkin.errors import ConfigError, JaxkinError

try:
    import fcntl
except ImportError:  # Windows: two runs into one folder are not noticed there
    fcntl = None

LOCK = ".jaxkin.lock"
PART = ".part"
"""How the name of a file ends that is being written."""
NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}
"""File systems that know no locks are used without."""


def replace_file(path: Path, data: bytes | memoryview) -> Path:
    """Write a file such that it is whole, or as it was before, whenever the machine stops; return its path.

    A link of that name is replaced and not followed.

    Raises:
        JaxkinError: no space, no permission, a folder of that name.

    >>> import tempfile
    >>> replace_file(Path(tempfile.mkdtemp()) / "result.txt", b"whole").read_text()
    'whole'
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}{PART}")
    try:
        temporary.unlink(missing_ok=True)
        try:
            with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666), "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        _sync(path.parent)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        mend = "; free some and go on with --resume" if full else ""
        raise JaxkinError(f"{path}: cannot be written ({error.strerror}){mend}.") from error
    return path


class Folder:
    """A folder that this process alone writes to until it is closed, made if it is not there.

    The lock is the operating system's: a process that was killed leaves the file, but holds nothing.

    Raises:
        ConfigError: it cannot be written to, or another process is writing there.

    >>> import tempfile
    >>> with Folder(Path(tempfile.mkdtemp())) as folder:
    ...     replace_file(folder.part("points") / "0.txt", b"done").parent.name
    'points'
    """

    def __init__(self, path: Path):
        self.path = path
        try:
            path.mkdir(parents=True, exist_ok=True)
            self._lock = _locked(path / LOCK)
            _tidy(path)
        except OSError as error:
            raise ConfigError(f"--out {path}: cannot be written to ({error.strerror}).") from error

    def part(self, name: str) -> Path:
        """A folder inside, made if it is not there.

        Raises:
            ConfigError: a link, which may lead out of the folder, or a file of that name.
        """
        path = self.path / name
        if path.is_symlink():
            raise ConfigError(f"{path}: is a link, through which no results are written; remove it.")
        try:
            path.mkdir(exist_ok=True)
            _tidy(path)
        except OSError as error:
            raise ConfigError(f"{path}: cannot be written to ({error.strerror}).") from error
        return path

    def close(self) -> None:
        """Let others write."""
        (self.path / LOCK).unlink(missing_ok=True)
        os.close(self._lock)

    def __enter__(self) -> Folder:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None):
        self.close()


def folder(path: Path | None) -> AbstractContextManager[Folder | None]:
    """:class:`Folder`, or nothing where no results are wanted in files.

    >>> with folder(None) as nothing:
    ...     nothing
    """
    return nullcontext() if path is None else Folder(path)


def _locked(path: Path) -> int:
    """The descriptor of the lock file, which says who holds it."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
        try:
            if fcntl is not None:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in NO_LOCKS:
                owner = os.read(descriptor, 200).decode(errors="replace").strip() or "another process"
                os.close(descriptor)
                raise ConfigError(
                    f"--out {path.parent}: {owner} is writing there; wait for it, or give another folder."
                ) from error
        if _is(descriptor, path):  # the one before may have removed it meanwhile
            os.truncate(descriptor, 0)
            os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode())
            return descriptor
        os.close(descriptor)


def _is(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.lstat(path))
    except FileNotFoundError:
        return False


def _tidy(path: Path) -> None:
    """Remove what a process that was killed had begun to write."""
    for one in path.glob(f".*{PART}"):
        one.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    """Make the names in a folder permanent, where the system can."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    except OSError:
        pass
    finally:
        os.close(descriptor)
