"""The review log while people decide: every decision is on disk before anybody is told so.

Several servers and pages may share one run. A write holds an exclusive `flock` on the log itself
(never run.lock: the run may be live), repairs a tail that a killed writer left, appends one line and
makes it durable. What others appended meanwhile is read on the way.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Lock

import msgspec
from msgspec import Struct

from engine.core.reviews import Decision, ReviewFold
from engine.errors import ConfigError, StoreError
from engine.store.reviews import read_reviews
from schemas.record import encode_line

__all__ = ["Merged", "ReviewLog", "merge", "moment_after"]

TAIL_BYTES_MAX = 1 << 20
"""How far back the start of a torn last line is looked for at a time; a line is far shorter."""


def moment_after(earlier: str | None) -> str:
    """Now, in milliseconds, as the logs write it; but always after `earlier`.

    Of two decisions the later one stands, also when the clock was set back between them.
    """
    now = datetime.now(UTC)
    if earlier is not None:
        now = max(now, datetime.fromisoformat(earlier) + timedelta(milliseconds=1))
    return now.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class ReviewLog:
    """log/reviews.jsonl, open for reading and appending. Use from threads: calls block on the disk."""

    def __init__(self, path: Path, quarantine: Path) -> None:
        self.path = path
        self._quarantine = quarantine
        self._guard = Lock()
        self._end = 0
        self._broken: str | None = None
        self.fold = ReviewFold()
        self.damaged: list[int] = []
        """Byte offsets of lines that could not be read."""
        self.cut_bytes = 0
        """Bytes of torn tails that were moved to the quarantine."""
        self.history: list[Decision] = []
        """Every line, in the order of the file."""
        self._listeners: list[Callable[[Decision], None]] = []

    def on_line(self, listener: Callable[[Decision], None]) -> None:
        """Call `listener` for each new line, this process's own and others'; from the reading thread."""
        self._listeners.append(listener)

    def refresh(self) -> int:
        """Take in what has been appended since; returns how many lines were new."""
        with self._guard:
            return self._take_in()

    def _take_in(self) -> int:
        with suppress(FileNotFoundError):
            if self.path.stat().st_size == self._end:
                return 0
        lines = read_reviews(self.path, self._end)
        self._end = lines.end
        self.damaged.extend(lines.damaged)
        new = 0
        for decision in lines.decisions:
            if self.fold.add(decision):
                new += 1
                self.history.append(decision)
                for listener in self._listeners:
                    listener(decision)
        return new

    def append(self, decisions: Sequence[Decision]) -> int:
        """Write decisions that are not in the log yet; returns how many. Durable when this returns.

        Raises StoreError when the disk refused; then nothing of `decisions` counts, and they may be
        sent again with the same ids.
        """
        with self._guard:
            if self._broken is not None:
                raise StoreError(self._broken)
            try:
                return self._append(decisions)
            except OSError as error:
                raise StoreError(
                    f"{self.path}: the decision could not be saved ({error.strerror or error}); "
                    "make room or check the disk, then decide again"
                ) from error

    def _append(self, decisions: Sequence[Decision]) -> int:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        fresh = not self.path.exists()
        fd = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            # flock is per open file and freed by close, also by the death of the process.
            fcntl.flock(fd, fcntl.LOCK_EX)
            self._cut_torn_tail(fd)
            self._take_in()
            new: dict[str, bytes] = {}
            for decision in decisions:
                if decision.id not in self.fold and decision.id not in new:
                    new[decision.id] = encode_line(decision)
            if not new:
                return 0
            size = os.fstat(fd).st_size
            data = b"".join(new.values())
            try:
                _write_all(fd, data)
                os.fdatasync(fd)
            except OSError:
                # The line must not come back to life after the page was told that it failed.
                self._take_back(fd, size)
                raise
            if fresh:
                _sync_folder(self.path.parent)
            self._take_in()
            return len(new)
        finally:
            os.close(fd)

    def _take_back(self, fd: int, size: int) -> None:
        try:
            os.ftruncate(fd, size)
            os.fdatasync(fd)
        except OSError as error:
            self._broken = f"{self.path}: the disk no longer takes writes ({error}); start the review again"

    def repair(self) -> int:
        """Move a torn last line to the quarantine and read everything; returns the bytes moved."""
        with self._guard:
            if self.path.exists():
                try:
                    fd = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
                except OSError as error:
                    raise StoreError(
                        f"{self.path}: cannot be opened for writing ({error.strerror}); decisions need it"
                    ) from error
                try:
                    fcntl.flock(fd, fcntl.LOCK_EX)
                    self._cut_torn_tail(fd)
                finally:
                    os.close(fd)
            self._take_in()
            return self.cut_bytes

    def _cut_torn_tail(self, fd: int) -> None:
        """Under the lock nobody is in the middle of a line: what lies behind the last newline is torn."""
        size = os.fstat(fd).st_size
        if size == 0 or os.pread(fd, 1, size - 1) == b"\n":
            return
        start = max(0, size - TAIL_BYTES_MAX)
        tail = os.pread(fd, size - start, start)
        while start > 0 and b"\n" not in tail:
            start = max(0, start - TAIL_BYTES_MAX)
            tail = os.pread(fd, size - start, start)
        whole = start + tail.rfind(b"\n") + 1
        torn = tail[whole - start :]
        self._quarantine.mkdir(parents=True, exist_ok=True)
        kept = self._quarantine / f"{self.path.name}.{whole}.{time.time_ns()}.torn"
        with kept.open("xb") as file:
            file.write(torn)
            file.flush()
            os.fsync(file.fileno())
        os.ftruncate(fd, whole)
        os.fdatasync(fd)
        self.cut_bytes += len(torn)


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


class Merged(Struct, frozen=True, kw_only=True):
    """What a merge did."""

    added: int
    known: int
    """Lines that the log had already."""
    unknown_images: tuple[str, ...]
    """Images that this run does not have; their decisions were left out."""


def merge(log: ReviewLog, files: Iterable[Path], known_images: Callable[[str], bool]) -> Merged:
    """Add decisions from downloaded files; the same file may be merged any number of times.

    All files are read before the first line is written. Raises ConfigError naming file and line of
    whatever is not a decision.
    """
    found: list[Decision] = []
    problems: list[str] = []
    decoder = msgspec.json.Decoder(Decision)
    for path in files:
        try:
            data = path.read_bytes()
        except OSError as error:
            problems.append(f"{path}: cannot be read ({error.strerror}); give a file that the page let you download")
            continue
        for number, line in enumerate(data.splitlines(), start=1):
            if not line.strip():
                continue
            try:
                found.append(decoder.decode(line))
            except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                problems.append(f"{path}:{number}: not a decision ({error}); download the file again or remove it")
    if problems:
        raise ConfigError(problems[:20])
    unknown = sorted({d.image_id for d in found if not known_images(d.image_id)})
    ours = [d for d in found if known_images(d.image_id)]
    added = log.append(ours) if ours else 0
    return Merged(added=added, known=len(ours) - added, unknown_images=tuple(unknown))
