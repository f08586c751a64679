"""Large files past the page cache, because filling it costs more CPU than the rest of a picture's write.

A picture is written once, synced at once and read back later if at all. Where the cache has to grow into fresh memory,
as it does through most of a long run, a write and its sync cost so much CPU through it and past it: 1.5 MB 2.7 and
0.5 ms, 200 KB 0.65 and 0.22, 64 KB 0.32 and 0.19; for 32 KB there is no difference.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import threading
from contextlib import suppress

DIRECT_MIN_BYTES = 48 << 10
BUFFER_BYTES = 2 << 20
"""Per thread that writes; larger files go in pieces of this size."""
BLOCK_BYTES = 4096
"""What offsets, lengths and memory are multiples of: the largest that usual devices ask for."""
_ZEROS = bytes(BLOCK_BYTES)
_NOT_OFFERED = (errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP)
_O_DIRECT: int = getattr(os, "O_DIRECT", 0)

_unwilling: set[int] = set()
"""Devices whose file system does not offer it; not asked again."""


class _Buffers(threading.local):
    """A page-aligned buffer per thread."""

    def __init__(self) -> None:
        self.view = memoryview(mmap.mmap(-1, BUFFER_BYTES))


_buffers: _Buffers | None = None


def worth_it(data: bytes | bytearray | memoryview) -> bool:
    """Whether a new file of these bytes is better written so."""
    return bool(_O_DIRECT) and len(data) >= DIRECT_MIN_BYTES


def open_new(path: str | os.PathLike[str], flags: int) -> int:
    """Open a new file for `write_direct`, with the flags of an ordinary one. Raises OSError."""
    if not (_unwilling and _device(path) in _unwilling):
        try:
            return os.open(path, flags | _O_DIRECT, 0o644)
        except OSError as error:
            if error.errno not in _NOT_OFFERED:
                raise
        _unwilling.add(_device(path))
        with suppress(FileNotFoundError):  # Linux makes the file and then finds that it cannot open it so
            os.unlink(path)  # noqa: PTH108
    return os.open(path, flags, 0o644)


def _device(path: str | os.PathLike[str]) -> int:
    return os.stat(os.path.dirname(path) or ".").st_dev  # noqa: PTH116, PTH120 - for each picture there


def write_direct(fd: int, data: bytes | bytearray | memoryview) -> bool:
    """Write the bytes of a file that `open_new` made, from its start, past the page cache. The caller syncs.

    False: not offered here, and the file is empty still: write it the ordinary way. Raises OSError as a write does (a
    full disk); called again it starts anew, so that a reserve can be given up in between.
    """
    if _unwilling and os.fstat(fd).st_dev in _unwilling:
        return False
    try:
        _write_blocks(fd, memoryview(data))
    except OSError as error:
        if error.errno not in _NOT_OFFERED:
            raise
        _unwilling.add(os.fstat(fd).st_dev)
        fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) & ~_O_DIRECT)
        os.ftruncate(fd, 0)
        return False
    if len(data) % BLOCK_BYTES:
        os.ftruncate(fd, len(data))  # the last block was filled up with zeros
    return True


def _write_blocks(fd: int, data: memoryview) -> None:
    global _buffers  # made by the first who needs it: most processes never do
    if _buffers is None:
        _buffers = _Buffers()
    buffer = _buffers.view
    at, size = 0, len(data)
    while at < size:
        piece = data[at : at + BUFFER_BYTES]
        length = len(piece)
        padded = -(-length // BLOCK_BYTES) * BLOCK_BYTES
        buffer[:length] = piece
        buffer[length:padded] = _ZEROS[: padded - length]
        written = os.pwrite(fd, buffer[:padded], at)
        if written < BLOCK_BYTES:
            raise OSError(errno.EIO, "the file system took no more bytes and gave no reason")
        at += length if written >= padded else written - written % BLOCK_BYTES
