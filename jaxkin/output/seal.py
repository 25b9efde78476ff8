"""A digest at the end of a file, by which damage is found before anything is read from it.

HDF5 ends where its header says: what follows is invisible to every reader of NetCDF.
"""

from __future__ import annotations

import hashlib

MARK = b"\njaxkin sha256 "
LENGTH = len(MARK) + 64


def sealed(data: bytes) -> bytes:
    """``data`` with its digest.

    >>> unsealed(sealed(b"numbers"))
    b'numbers'
    """
    return data + MARK + hashlib.sha256(data).hexdigest().encode()


def unsealed(data: bytes) -> bytes:
    """``data`` without its digest; as it is where there is none, as in files that other programs wrote.

    Raises:
        ValueError: the digest is that of something else.
    """
    content, end = data[:-LENGTH], data[-LENGTH:]
    if not end.startswith(MARK):
        return data
    if sealed(content) != data:
        raise ValueError("it is damaged, or another program has changed it")
    return content
