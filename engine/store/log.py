"""Appending to a log: one line per record, group-committed, acknowledged when durable.

Lines that arrive while a batch is on its way to the disk, or within COMMIT_EVERY_S of its start, form the next
batch, so an idle log adds no wait and a busy one shares each sync among all who wait. The one who opens a batch
leads it; the others wait for its end. Once the disk has refused, the log is poisoned: pages of a failed sync may be
marked clean without ever having reached the medium, so the handle is not synced again and every
append from then on raises the same StoreError.
"""

from __future__ import annotations

import asyncio
import math
import os
import threading
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import anyio
from msgspec import Struct

from engine.errors import StoreError
from engine.latch import latch, on_asyncio
from engine.offload import Offload, threads, to_the_end
from engine.store.fs import DISK, Durability, Fs, refused, write_all
from engine.store.recovery import Damage, Recovery, recover
from engine.store.scan import follow, read_lines, read_records, scan_settled
from schemas.record import body_of, encode_body, seal

__all__ = [
    "Damage",
    "LogWriter",
    "Recovery",
    "append_lines",
    "follow",
    "open_writer",
    "read_lines",
    "read_records",
    "recover",
    "scan_settled",
]

BATCH_RECORDS_MAX = 256
BATCH_BYTES_MAX = 1 << 20
COMMIT_EVERY_S = 0.005
"""At least so long from one batch to the next. A call takes seconds, and a sync shared by all lines of 5 ms saves a
busy run an eighth of its CPU (JPEG on one core: 1.24 ms without, 1.08 with it)."""
BATCH_LOSS_S = 1.0
"""With durability `batch`, a line is synced at most this long after it was written."""

Later = Callable[[float, Callable[[], None]], Callable[[], None]]
"""Calls a function after so many seconds on some other thread; gives the function that cancels it."""


class _Batch:
    """Lines that are written and synced together."""

    __slots__ = ("done", "error", "lines", "previous", "settled", "size_bytes")

    def __init__(self, previous: _Batch | None) -> None:
        self.lines: list[bytes] = []
        self.size_bytes = 0
        self.previous = previous
        self.settled = False
        self.error: StoreError | None = None
        self.done = latch()

    @property
    def full(self) -> bool:
        return len(self.lines) >= BATCH_RECORDS_MAX or self.size_bytes >= BATCH_BYTES_MAX


class LogWriter:
    """The only writer of one log. Made by `open_writer`; close it with `aclose` or use `async with`."""

    def __init__(
        self, path: Path, fd: int, end: int, *, durability: Durability, offload: Offload, fs: Fs, later: Later
    ) -> None:
        self.path = path
        self.durability: Durability = durability
        self.lines_written = 0
        self.end = end
        """Size of the file up to the last acknowledged line."""
        self._synced = end
        self._fd = fd
        self._offload = offload
        self._fs = fs
        self._later = later
        self._identity = _identity(fd)
        self._open: _Batch | None = None
        self._last: _Batch | None = None
        self._queue: deque[_Batch] = deque()
        self._gate = threading.Lock()  # protects the handle, `end` and the order of batches
        self._error: StoreError | None = None
        self._next_at = -math.inf  # when the next batch may go to the disk
        self._told = False
        self._closed = False
        self._dirty = False
        self._cancel_sync: Callable[[], None] | None = None

    def __repr__(self) -> str:
        waiting = sum(len(batch.lines) for batch in tuple(self._queue))
        state = "poisoned" if self._error else "closed" if self._closed else f"{waiting} waiting"
        return f"<LogWriter {self.path.name} {self.durability}: {self.lines_written} lines, {self.end} bytes, {state}>"

    async def __aenter__(self) -> LogWriter:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def append(self, record: Struct) -> None:
        """Write one record; returns when it is as durable as this log promises.

        Raises StoreError if the disk refused; the record is then not in the log. If the caller is
        cancelled while it waits, it is told so, and the record is written all the same: what was paid for is not
        dropped.
        """
        if self._closed:
            raise RuntimeError(f"{self.path}: append to a closed log")
        self._raise_if(self._error)
        line = encode_body(record)
        batch = self._open
        leads = batch is None or batch.full
        if batch is None or leads:
            batch = self._open = self._last = _Batch(self._last)
            self._queue.append(batch)
        batch.lines.append(line)
        batch.size_bytes += len(line)
        if leads:
            await self._lead(batch)
        else:
            await batch.done.wait()
        self._raise_if(batch.error)

    async def aclose(self) -> None:
        """Wait for what is under way, sync what is not yet, close the file. Idempotent.

        Raises StoreError if that last sync is what fails, or a late one that no append has told of.
        """
        if self._closed:
            return
        self._closed = True
        await to_the_end(self._end)
        if not self._told:
            self._raise_if(self._error)

    async def _end(self) -> None:
        if self._last is not None:
            await self._last.done.wait()
        await self._offload(self._close)

    def _raise_if(self, error: StoreError | None) -> None:
        if error is not None:
            self._told = True
            raise _again(error)

    async def _lead(self, batch: _Batch) -> None:
        try:
            await to_the_end(lambda: self._bring(batch))
        except BaseException as error:
            # Cancelled in a way that pierces shields (a second bare asyncio cancel), or no thread was to be
            # had: those who follow must not wait for ever, so commit here, at the price of one sync
            # on the loop. The gate makes this wait for a thread that is at it already.
            if not batch.settled:
                self._seal(batch)
                self._commit(batch)
            if not isinstance(error, Exception):
                raise
        finally:
            batch.previous = None
            batch.done.set()

    async def _bring(self, batch: _Batch) -> None:
        """To the disk, when its turn has come."""
        if batch.settled:
            return
        time, sleep = _clock()
        starts_at = time()
        if batch.previous is not None:  # the first of all waits for nobody
            if not batch.previous.done.is_set():
                await batch.previous.done.wait()
            now = time()
            starts_at = max(now, self._next_at)
            await sleep(starts_at - now)  # if only for a turn of the loop, whose lines come along
        self._next_at = starts_at + COMMIT_EVERY_S
        self._seal(batch)
        await self._offload(lambda: self._commit(batch))

    def _seal(self, batch: _Batch) -> None:
        if self._open is batch:
            self._open = None

    def _commit(self, batch: _Batch) -> None:
        """Write all batches up to and with this one, in order. Runs in a thread."""
        with self._gate:
            while not batch.settled:
                self._write(self._queue.popleft())

    def _write(self, batch: _Batch) -> None:
        if self._error is None:
            try:
                data = b"".join([seal(line, self._synced) for line in batch.lines])
                write_all(self._fs, self._fd, data)
                self._check_still_there()
                if self.durability == "strict":
                    self._fs.sync(self._fd)
                elif self.durability == "batch" and not self._dirty:
                    self._dirty = True
                    self._cancel_sync = self._later(BATCH_LOSS_S, self._sync_late)
            except OSError as error:
                self._poison(refused(self.path, "append to the log", error))
            else:
                self.end += len(data)
                self.lines_written += len(batch.lines)
                if self.durability == "strict":
                    self._synced = self.end
        batch.error = self._error
        batch.settled = True

    def _check_still_there(self) -> None:
        """A removed or replaced file takes writes without complaint, and nobody would ever read them."""
        found = self.path.lstat()
        if (found.st_dev, found.st_ino) != self._identity:
            raise FileNotFoundError(2, "another file has taken the place of the log")

    def _sync_late(self) -> None:
        with self._gate:
            if self._dirty and not self._closed:
                self._sync()

    def _sync(self) -> None:
        self._dirty = False
        if self._error is not None:
            return
        try:
            self._fs.sync(self._fd)
        except OSError as error:
            self._poison(refused(self.path, "sync the log", error))
        else:
            self._synced = self.end

    def _poison(self, error: StoreError) -> None:
        """From now on nothing is written. Bytes that were not acknowledged are cut off if that is possible."""
        self._error = error
        with suppress(OSError):  # else the next start cuts the tail
            self._fs.truncate(self._fd, self.end)

    def _close(self) -> None:
        with self._gate:
            if self._fd < 0:
                return
            if self._cancel_sync is not None:
                self._cancel_sync()
            if self._dirty:
                self._sync()
            fd, self._fd = self._fd, -1
            try:
                self._fs.close(fd)
            except OSError as error:
                if self._error is None:
                    self._error = refused(self.path, "close the log", error)


def open_writer(
    path: Path,
    *,
    durability: Durability = "strict",
    offload: Offload | None = None,
    fs: Fs = DISK,
    later: Later | None = None,
) -> LogWriter:
    """Open a log for appending; made if absent. Call `recover` first: a torn tail is refused here.

    `offload` runs the blocking part (default: one worker thread of its own). Hold the run's lock.
    """
    if path.parent.is_symlink():
        raise StoreError(f"{path.parent}: a symbolic link; a run writes only inside its own directory: move it away")
    try:
        fd = fs.append_to(path)
        try:
            end = _whole_size(path)
            if end:
                fs.sync(fd)  # lines of a session that was killed may not be on the disk yet, and count from now on
            if durability != "none":
                fs.sync_dir(path.parent)
                fs.sync_dir(path.parent.parent)
        except BaseException:
            fs.close(fd)
            raise
    except OSError as error:
        raise refused(path, "open the log", error) from error
    return LogWriter(
        path, fd, end, durability=durability, offload=offload or threads(1), fs=fs, later=later or _on_a_timer
    )


def append_lines(path: Path, lines: list[bytes], *, fs: Fs = DISK) -> None:
    """Append encoded lines and sync them, without a loop: for repairs."""
    try:
        fd = fs.append_to(path)
        try:
            end = _whole_size(path)
            try:
                fs.sync(fd)  # what a killed session wrote, so that the new lines may say that it is there
                write_all(fs, fd, b"".join([seal(body_of(line), end) for line in lines]))
                fs.sync(fd)
            except OSError:
                fs.truncate(fd, end)
                raise
        finally:
            fs.close(fd)
        fs.sync_dir(path.parent)
    except OSError as error:
        raise refused(path, "append to the log", error) from error


def _whole_size(path: Path) -> int:
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        if end:
            file.seek(end - 1)
            if file.read(1) != b"\n":
                raise StoreError(f"{path}: ends in half a line; recover it before it is appended to")
    return end


def _clock() -> tuple[Callable[[], float], Callable[[float], Awaitable[None]]]:
    """The time, and how to let some pass. anyio's take longer to find the loop than to do it."""
    if on_asyncio():
        return asyncio.get_running_loop().time, asyncio.sleep
    return anyio.current_time, anyio.sleep


def _identity(fd: int) -> tuple[int, int]:
    found = os.fstat(fd)
    return (found.st_dev, found.st_ino)


def _again(error: StoreError) -> StoreError:
    """The same words in an exception of one's own: one that many tasks raise would mix their tracebacks."""
    copy = type(error)(*error.args)
    copy.__cause__ = error.__cause__
    return copy


def _on_a_timer(wait_s: float, call: Callable[[], None]) -> Callable[[], None]:
    timer = threading.Timer(wait_s, call)
    timer.daemon = True
    timer.start()
    return timer.cancel
