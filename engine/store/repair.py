"""The few ways in which a run is mended. Nothing is dropped that is not in quarantine/ first.

Logs are append-only; the one exception is here: damaged lines leave a log by way of a new file that
replaces it in one step.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import msgspec
from msgspec import Struct

from engine.store.assets import move_aside
from engine.store.fs import DISK, Fs, refused, write_all
from engine.store.layout import RunDir
from engine.store.log import append_lines
from engine.store.recovery import AnyLine, Recovery, make_quarantine, recover, stamp
from engine.store.scan import CHUNK_BYTES, Damage, Settled
from schemas.record import encode_line

LOST = "lost"
"""Error kind of the line that makes a job pending again whose picture is gone."""
SUPERSEDED = "superseded"
"""Error kind of a line that settled a job which a later line settles too."""


def take_up(
    run: RunDir, path: Path, *, take: Callable[[list[Settled]], object] | None = None, fs: Fs = DISK
) -> tuple[Recovery, str | None]:
    """Make a log fit to be appended to, as `recover` does, holes of a power loss included. Hold the run's lock.

    Gives what was found, and what was done about holes. Real damage is left alone, and then so are holes.
    """
    found = recover(path, run.quarantine, take=take, fs=fs)
    if found.damaged or not found.holes:
        return found, None
    return found, Mender(run, fs).rewrite(path, found.holes, ())


class Mender:
    """Mends one run. Hold its lock. Every method raises StoreError when the disk refuses."""

    def __init__(self, run: RunDir, fs: Fs) -> None:
        self._run = run
        self._fs = fs

    def cut(self, path: Path) -> str:
        """Cut a log's torn tail off, kept aside; says what was done."""
        with _held(path):
            done = recover(path, self._run.quarantine, kind=AnyLine, fs=self._fs)
        if done.kept_at is None:
            return "the newline was added"
        return f"cut off, kept as {self._run.relative(done.kept_at)}"

    def set_aside(self, path: Path, reason: str) -> str:
        """Move a file to quarantine/; where it is now."""
        try:
            return self._run.relative(move_aside(self._run, path, reason, fs=self._fs))
        except OSError as error:
            raise refused(path, "move it aside", error) from error

    def record_lost(self, lines: Iterable[tuple[int, str]]) -> None:
        """Append to the image log that these pictures (offset of their line, why) are gone, so that they are due again.

        The lines cost nothing and used nothing: what the picture cost stays on the line that recorded it.
        """
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        encoded: list[bytes] = []
        for offset, why in lines:
            fields = _fields(_line_at(self._run.images_log, offset))
            changed: dict[str, Any] = {
                "status": "retry",
                "final": False,
                "generated_at": now,
                "latency_s": 0.0,
                "usage": dict.fromkeys(fields.get("usage") or (), 0),
                "cost_usd": 0.0,
                "error": {"kind": LOST, "message": f"the recorded picture is gone: {why}", "http_status": None},
                "asset": None,
            }
            encoded.append(_encode({**fields, **changed}))
        append_lines(self._run.images_log, encoded, fs=self._fs)

    def rewrite(self, path: Path, damaged: Sequence[Damage], superseded: Sequence[int]) -> str:
        """Replace a log by one without its damaged lines, and with superseded lines no longer final.

        The bytes that leave are kept aside, each line as it was. Says what was done.
        """
        with _held(path):
            return self._rewrite(path, damaged, superseded, stamp())

    def _rewrite(self, path: Path, damaged: Sequence[Damage], superseded: Sequence[int], moment: str) -> str:
        run, fs = self._run, self._fs
        changes: dict[int, tuple[int, bytes]] = {bad.offset: (bad.size_bytes, b"") for bad in damaged}
        for offset in superseded:
            line = _line_at(path, offset)
            error = {"kind": SUPERSEDED, "message": "a later line settles this job", "http_status": None}
            fields = {**_fields(line), "status": "retry", "final": False, "error": error}
            changes[offset] = (len(line) + 1, _encode(fields))
        kept_at = run.quarantine / f"{path.name}.lines.{moment}"
        fresh = path.with_name(f".{path.name}.{moment}.tmp")
        try:
            make_quarantine(run.quarantine, fs)
            self._copy(path, kept_at, [(at, at + size) for at, (size, _) in sorted(changes.items())], {})
            fs.sync_dir(run.quarantine)
            self._copy(path, fresh, _between(changes, path.stat().st_size), changes)
            fs.rename(fresh, path)
            fs.sync_dir(path.parent)
        except OSError as error:
            raise refused(path, "replace it without its damaged lines", error) from error
        return f"{len(changes)} line{'s' * (len(changes) != 1)} kept as {run.relative(kept_at)}"

    def _copy(
        self, source: Path, target: Path, spans: Iterable[tuple[int, int]], inserts: dict[int, tuple[int, bytes]]
    ) -> None:
        """Copy byte ranges of a file to a new one; where a range ends, put in what takes the place of the gap."""
        fs = self._fs
        fd = fs.create(target)
        try:
            with source.open("rb", buffering=0) as file:
                for start, end in spans:
                    file.seek(start)
                    while start < end:
                        part = file.read(min(CHUNK_BYTES, end - start))
                        if not part:
                            raise OSError(5, "the log became shorter while it was copied")
                        write_all(fs, fd, part)
                        start += len(part)
                    if end in inserts and inserts[end][1]:
                        write_all(fs, fd, inserts[end][1])
            fs.sync(fd)
        finally:
            fs.close(fd)


@contextmanager
def _held(path: Path) -> Generator[None]:
    """Keep those away who append to the reviews log without holding the run: they lock the log itself."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)
    except OSError as error:
        raise refused(path, "mend it", error) from error


def _between(changes: dict[int, tuple[int, bytes]], size: int) -> list[tuple[int, int]]:
    """The spans that stay; each but the last ends where a change begins."""
    spans: list[tuple[int, int]] = []
    at = 0
    for offset, (length, _) in sorted(changes.items()):
        spans.append((at, offset))
        at = offset + length
    return [*spans, (at, size)]


def _line_at(path: Path, offset: int) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(offset, os.SEEK_SET)
            return file.readline().removesuffix(b"\n")
    except OSError as error:
        raise refused(path, "read the log", error) from error


def _fields(line: bytes) -> dict[str, Any]:
    fields: dict[str, Any] = msgspec.json.decode(line)
    fields.pop("crc", None)
    fields.pop("synced", None)  # was said of the old line's place
    return fields


def _encode(fields: dict[str, Any]) -> bytes:
    return encode_line(cast("Struct", fields))  # the encoder takes any mapping
