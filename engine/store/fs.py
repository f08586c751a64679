"""The few system calls that change a disk, behind one small seam.

Everything the store writes goes through an `Fs`, so that tests can record the calls, enumerate what
a power loss may leave of them, and make the n-th one fail. Reading needs no seam: it changes nothing.
Foreign errors end here too: `refused` turns an OSError into the one sentence that a user reads.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Literal, Protocol

from engine.errors import StoreError
from engine.store.direct import open_new, worth_it, write_direct

Durability = Literal["strict", "batch", "none"]
"""What an acknowledged write has survived.

`strict`: power loss. `batch`: the end of the process; after a power loss the last second of log
lines may be gone, but no line points at a picture that is not there. `none`: the end of the process;
after a power loss anything written since the kernel last flushed may be gone or torn.
"""

Buffer = bytes | bytearray | memoryview
AnyPath = str | os.PathLike[str]


class Fs(Protocol):
    """The calls that change a disk. Each raises OSError, and nothing else."""

    def create(self, path: AnyPath, *, direct: bool = False) -> int:
        """Open a file that must not exist yet, for writing; with `direct`, for `write_direct`."""
        ...

    def append_to(self, path: AnyPath) -> int:
        """Open a file for appending; made if absent. A symlink in its place is refused."""
        ...

    def open_existing(self, path: AnyPath) -> int:
        """Open a file that must exist, for truncating and syncing."""
        ...

    def write(self, fd: int, data: Buffer) -> int: ...
    def write_direct(self, fd: int, data: Buffer) -> bool:
        """Write all bytes of a file made for it past the page cache; False where that is not to be had."""
        ...

    def truncate(self, fd: int, size_bytes: int) -> None: ...
    def sync(self, fd: int) -> None:
        """The file's bytes and size reach the medium (fdatasync)."""
        ...

    def close(self, fd: int) -> None: ...
    def rename(self, source: AnyPath, target: AnyPath) -> None: ...
    def unlink(self, path: AnyPath) -> None: ...
    def mkdir(self, path: AnyPath) -> None: ...
    def sync_dir(self, path: AnyPath) -> None:
        """Names made, renamed or removed in this folder reach the medium."""
        ...


def _full_sync(fd: int) -> None:
    """macOS: a plain fsync leaves the bytes in the drive's cache."""
    fcntl.fcntl(fd, fcntl.F_FULLFSYNC)  # type: ignore[attr-defined]


_sync: Callable[[int], object] = _full_sync if hasattr(fcntl, "F_FULLFSYNC") else os.fdatasync


class Disk:
    """The real file system."""

    def create(self, path: AnyPath, *, direct: bool = False) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        return open_new(path, flags) if direct else os.open(path, flags, 0o644)

    def append_to(self, path: AnyPath) -> int:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)

    def open_existing(self, path: AnyPath) -> int:
        return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC)

    def write(self, fd: int, data: Buffer) -> int:
        return os.write(fd, data)

    def write_direct(self, fd: int, data: Buffer) -> bool:
        return write_direct(fd, data)

    def truncate(self, fd: int, size_bytes: int) -> None:
        os.ftruncate(fd, size_bytes)

    def sync(self, fd: int) -> None:
        _sync(fd)

    def close(self, fd: int) -> None:
        os.close(fd)

    def rename(self, source: AnyPath, target: AnyPath) -> None:
        os.rename(source, target)  # noqa: PTH104 - the plain call, as the model records it

    def unlink(self, path: AnyPath) -> None:
        os.unlink(path)  # noqa: PTH108

    def mkdir(self, path: AnyPath) -> None:
        os.mkdir(path)  # noqa: PTH102

    def sync_dir(self, path: AnyPath) -> None:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


DISK: Fs = Disk()


def write_all(fs: Fs, fd: int, data: Buffer) -> None:
    """Write every byte, however many calls the kernel wants for it."""
    written = fs.write(fd, data)
    if written == len(data):
        return
    rest = memoryview(data)
    while written < len(rest):
        more = fs.write(fd, rest[written:])
        if more <= 0:
            raise OSError(errno.EIO, "the file system took no more bytes and gave no reason")
        written += more


def write_new(fs: Fs, path: AnyPath, parts: Sequence[Buffer], *, sync: bool) -> None:
    """Make a file of these bytes under a name that must be free; leaves no half file behind on an error.

    The name itself is durable only after `sync_dir` of its folder.
    """
    fd = begin_new(fs, path, parts, sync=sync)
    try:
        end_new(fs, fd, sync=sync)
    except BaseException:
        take_back(fs, path)
        raise


def begin_new(fs: Fs, path: AnyPath, parts: Sequence[Buffer], *, sync: bool) -> int:
    """The first half of `write_new`: all is written and nothing is synced. `end_new` or `take_back` must follow."""
    direct = sync and len(parts) == 1 and worth_it(parts[0])
    fd = fs.create(path, direct=direct)
    try:
        if not (direct and fs.write_direct(fd, parts[0])):
            for part in parts:
                write_all(fs, fd, part)
    except BaseException:
        take_back(fs, path, fd)
        raise
    return fd


def end_new(fs: Fs, fd: int, *, sync: bool) -> None:
    """The second half of `write_new`. After an error the file is closed, and to be taken back."""
    try:
        if sync:
            fs.sync(fd)
    finally:
        fs.close(fd)


def take_back(fs: Fs, path: AnyPath, fd: int = -1) -> None:
    """Remove a file that did not come to be, and close it if it is open; the next start takes care of a left-over."""
    if fd >= 0:
        with suppress(OSError):  # the first error says more
            fs.close(fd)
    with suppress(OSError):
        fs.unlink(path)


_NEXT_STEP = {
    errno.ENOSPC: "free space on this file system",
    errno.EDQUOT: "free space within your disk quota, or have it raised",
    errno.EFBIG: "raise the file-size limit (ulimit -f)",
    errno.EROFS: "the file system is read-only: remount it, or choose another --out",
    errno.EACCES: "give this user permission to write there, or choose another --out",
    errno.EPERM: "give this user permission to write there, or choose another --out",
    errno.EMFILE: "raise the limit of open files (ulimit -n), or lower max_in_flight",
    errno.ENFILE: "the whole machine is out of file handles: close programs",
    errno.ENOENT: "the run directory was moved or removed while it was in use: put it back",
    errno.ESTALE: "the run directory was moved or removed while it was in use: put it back",
    errno.ENOTDIR: "something that is no folder is in the way: move it away",
    errno.ELOOP: "a symbolic link is in the way: a run writes only inside its own directory; move the link away",
    errno.EEXIST: "something is in the way: move it away",
    errno.EIO: "the device reports errors: check the disk and the kernel log, copy the run elsewhere",
    errno.ENAMETOOLONG: "use shorter ids or a shorter --out",
}


def refused(path: AnyPath, doing: str, error: OSError) -> StoreError:
    """The StoreError for what the disk just said: path, what was tried, the reason, the next step."""
    reason = error.strerror or type(error).__name__
    step = _NEXT_STEP.get(error.errno or 0, "check the disk")
    mended = StoreError(f"{path}: cannot {doing}: {reason}; {step}, then run the same command again to continue")
    mended.__cause__ = error
    return mended
