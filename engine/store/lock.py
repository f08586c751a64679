"""One process writes a run at a time.

`flock`, not `lockf`: a POSIX record lock is dropped when any handle of the file is closed in the
process. The kernel frees a flock when its holder dies, so a file left by a dead process never blocks.
The text in the file only names the holder; it is emptied on release, so that a finished run that is
started again changes no byte. The run directory itself is locked, too, for those who remove a file that
they take for a stale one.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from engine.errors import ConfigError, RunLocked
from engine.store.fs import refused
from engine.store.layout import RunDir, make_root

TRIES = 3
"""A reader that looks whether a run is live holds the lock for an instant; wait it out."""
PAUSE_S = 0.02


class RunLock:
    """Context manager: this process writes the run, or RunLocked names who does.

    Makes the run directory if it is not there.
    """

    def __init__(self, run: RunDir) -> None:
        self.run = run
        self._fd: int | None = None
        self._folder_fd: int | None = None

    def __repr__(self) -> str:
        return f"<RunLock {self.run.lock} {'held' if self._fd is not None else 'free'}>"

    def __enter__(self) -> Self:
        path = self.run.lock
        try:
            make_root(self.run.root)
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        except (NotADirectoryError, FileExistsError) as error:
            file = next(at for at in (self.run.root, *self.run.root.parents) if at.exists() and not at.is_dir())
            raise ConfigError(f"{file} is a file; choose another --out (output.output_dir)") from error
        except OSError as error:
            raise refused(path, "lock the run", error) from error
        try:
            if not _take(fd, path) or not self._take_folder():
                raise RunLocked(
                    f"{self.run.root}: another process writes this run{_holder(path)}; "
                    "wait for it or stop it, or choose another --out"
                )
            try:
                started = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
                os.ftruncate(fd, 0)
                os.pwrite(fd, f"pid {os.getpid()} host {socket.gethostname()} started {started}\n".encode(), 0)
            except OSError:
                pass  # the text is a courtesy; a full disk must not keep a run from being continued or repaired
        except BaseException:
            os.close(fd)
            self._free_folder()
            raise
        self._fd = fd
        return self

    def _take_folder(self) -> bool:
        fd = os.open(self.run.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            taken = _flocked(fd)
        except OSError:
            taken = None  # folders cannot be locked everywhere
        if taken:
            self._folder_fd = fd
        else:
            os.close(fd)
        return taken is not False

    def _free_folder(self) -> None:
        fd, self._folder_fd = self._folder_fd, None
        if fd is not None:
            os.close(fd)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        fd, self._fd = self._fd, None
        self._free_folder()
        if fd is None:
            return
        try:
            os.ftruncate(fd, 0)
        except OSError:
            pass  # a stale text never blocks
        finally:
            os.close(fd)  # frees the lock


@contextmanager
def only_here(folder: Path, otherwise: str) -> Generator[None]:
    """Keep others who ask so out of a folder while the block lasts; RunLocked(`otherwise`) if one is in there.

    Where folders cannot be locked, nobody is kept out. Raises OSError if the folder is not there.
    """
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with suppress(OSError):
            if not _flocked(fd):
                raise RunLocked(otherwise)
        yield
    finally:
        os.close(fd)


def is_live(run: RunDir) -> bool:
    """Whether some process writes this run now. Needs only to read."""
    return _is_held(run.lock, os.O_NOFOLLOW) or _is_held(run.root, os.O_DIRECTORY)


def _is_held(path: Path, flags: int) -> bool:
    try:
        fd = os.open(path, os.O_RDONLY | flags | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno in (errno.EWOULDBLOCK, errno.EAGAIN)
    finally:
        os.close(fd)
    return False


def _take(fd: int, path: Path) -> bool:
    try:
        return _flocked(fd)
    except OSError as error:
        refusal = refused(path, "lock the run", error)
        refusal.args = (
            f"{path}: this file system cannot lock files ({error.strerror}); "
            "choose an --out on a local disk, so that two processes cannot write one run",
        )
        raise refusal from error


def _flocked(fd: int) -> bool:
    """Take a lock, or give False if somebody holds it. Raises OSError where there are no locks."""
    for n in range(TRIES):
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EAGAIN):
                raise
            if n + 1 < TRIES:
                time.sleep(PAUSE_S)
        else:
            return True
    return False


def _holder(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
    printable = "".join(c for c in text[:200] if c.isprintable())
    return f" ({printable})" if printable else ""
