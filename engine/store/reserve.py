"""Space held back for what is already paid for, when the disk turns out to be full.

A file of some MiB lies in the run directory while calls are in flight. The first write that finds the
disk full removes it and is tried again, so that the answers under way still reach the disk; whoever
runs the show looks at `spent`, stops asking for more, and tells the user what `refusal` says.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import ParamSpec, Self, TypeVar

from engine.errors import StoreError
from engine.store.fs import DISK, AnyPath, Buffer, Fs, refused
from engine.store.layout import RunDir

RESERVE_BYTES = 64 << 20
"""Some forty pictures of the usual size."""
RESERVE_NAME = ".reserve.tmp"
_FULL = (errno.ENOSPC, errno.EDQUOT)

P = ParamSpec("P")
T = TypeVar("T")


class Reserve:
    """An `Fs` that gives its reserve up for the first call that finds the disk full.

    Use it as a context manager around the paid part of a run, holding the run's lock; hand it as `fs`
    to the logs and to `PictureWriter`. Entering raises StoreError if not even the reserve fits.
    """

    def __init__(self, run: RunDir, *, size_bytes: int = RESERVE_BYTES, disk: Fs = DISK) -> None:
        self._run = run
        self._path = run.root / RESERVE_NAME
        self._size_bytes = size_bytes
        self._disk = disk
        self._held = False
        self._lock = threading.Lock()  # protects the two flags: many threads may find the disk full at once
        self.spent = False
        """The disk was full and the reserve is gone: ask for nothing more."""

    def __repr__(self) -> str:
        state = "spent" if self.spent else "held" if self._held else "not held"
        return f"<Reserve {self._size_bytes >> 20} MiB {state}>"

    def __enter__(self) -> Self:
        try:
            with suppress(FileNotFoundError):
                self._disk.unlink(self._path)  # left by a process that died
            fd = self._disk.create(self._path)
            try:
                if hasattr(os, "posix_fallocate"):
                    os.posix_fallocate(fd, 0, self._size_bytes)
            except OSError as error:
                if error.errno in _FULL:
                    raise
                # A file system that cannot set space aside: the run goes on without a reserve.
            finally:
                self._disk.close(fd)
        except OSError as error:
            with suppress(OSError):
                self._disk.unlink(self._path)
            raise refused(
                self._run.root, f"set {self._size_bytes >> 20} MiB aside for answers under way", error
            ) from error
        self._held, self.spent = True, False
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._give_up()

    def refusal(self) -> StoreError:
        """What to tell the user once the reserve is spent."""
        return StoreError(
            f"{self._run.root}: the disk is full; what was under way was written into the {self._size_bytes >> 20} MiB "
            "held back for it. Free space on this file system, then run the same command again to continue"
        )

    def _give_up(self) -> bool:
        with self._lock:
            if not self._held:
                return False
            self._held = False
            with suppress(OSError):
                self._disk.unlink(self._path)
            return True

    def _try(self, call: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
        try:
            return call(*arguments, **options)
        except OSError as error:
            if error.errno not in _FULL or not (self._give_up() or self.spent):
                raise
            self.spent = True
            return call(*arguments, **options)

    def create(self, path: AnyPath, *, direct: bool = False) -> int:
        return self._try(self._disk.create, path, direct=direct)

    def append_to(self, path: AnyPath) -> int:
        return self._try(self._disk.append_to, path)

    def open_existing(self, path: AnyPath) -> int:
        return self._disk.open_existing(path)

    def write(self, fd: int, data: Buffer) -> int:
        return self._try(self._disk.write, fd, data)

    def write_direct(self, fd: int, data: Buffer) -> bool:
        return self._try(self._disk.write_direct, fd, data)

    def truncate(self, fd: int, size_bytes: int) -> None:
        self._disk.truncate(fd, size_bytes)

    def sync(self, fd: int) -> None:
        self._disk.sync(fd)  # never tried twice: see `LogWriter`

    def close(self, fd: int) -> None:
        self._disk.close(fd)

    def rename(self, source: AnyPath, target: AnyPath) -> None:
        self._try(self._disk.rename, source, target)

    def unlink(self, path: AnyPath) -> None:
        self._disk.unlink(path)

    def mkdir(self, path: AnyPath) -> None:
        self._try(self._disk.mkdir, path)

    def sync_dir(self, path: AnyPath) -> None:
        self._disk.sync_dir(path)
