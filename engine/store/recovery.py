"""What happens to a log when a run starts: the torn tail goes aside, damage is reported.

A crash can only leave junk after the last whole line: half a line, zeros, old bytes of the device.
That tail is copied to quarantine/ before it is cut off. A bad line *followed by good ones* is a hole
if a power loss explains it: the good lines say that it was not on the disk yet when they were written,
and sectors of it are zero. Nobody was told of such lines. Anything else is damage, reported and left alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from re import finditer
from typing import Any

import msgspec
from msgspec import Struct

from engine.store.fs import DISK, Fs, refused, write_all
from engine.store.scan import CHUNK_BYTES, LINE_BYTES_MAX, Damage, Settled, is_whole, sift
from engine.store.sharing import sift_settled

SECTOR_BYTES = 512
"""What a disk writes in one piece, at least."""
HOLE_BYTES_MAX = 64 << 20
"""More than a batch of lines can be; not looked at."""


class Recovery(Struct, frozen=True, kw_only=True):
    """What `recover` found in a log, and did."""

    path: Path
    lines: int = 0
    """Good lines."""
    size_bytes: int = 0
    """Of the log as it is now."""
    cut_bytes: int = 0
    kept_at: Path | None = None
    """Where the cut bytes are."""
    mended: bool = False
    """The last line was whole but for its newline, and got it."""
    damaged: tuple[Damage, ...] = ()
    """Bad lines that good ones follow."""
    holes: tuple[Damage, ...] = ()
    """The same, where a power loss took lines that were still on their way."""


class Inspection(Struct, frozen=True, kw_only=True):
    """The state of a log, looked at without touching it."""

    lines: int
    size_bytes: int
    good_end: int
    """Just after the last good line (and its newline)."""
    newline_missing: bool
    """The last line is good but for its newline; `good_end` is then the file's end."""
    damaged: tuple[Damage, ...]
    holes: tuple[Damage, ...]

    @property
    def torn_bytes(self) -> int:
        return self.size_bytes - self.good_end


def inspect(
    path: Path,
    take: Callable[[list[Any]], object] | None = None,
    *,
    seen: Callable[[int, bytes], object] | None = None,
    kind: type[Struct] = Settled,
) -> Inspection:
    """Read a log once, checking every line.

    `take` gets the `Settled` of the good lines, many at a time and in order; `seen` of each good line its offset and
    its bytes without newline. `kind` is what the lines' heads must be able to be read as, if they are of another sort.
    """
    good, good_end = 0, 0
    bad: list[Damage] = []
    bad_before_good = 0
    newest = b""
    quick = seen is None and kind is Settled
    with closing(sift_settled(path) if quick else sift(path, kind, heads=True, seen=seen)) as parts:
        for part in parts:
            if part.records:
                if take is not None:
                    take(part.records)
                good, good_end, newest = good + len(part.records), part.end, part.newest
                bad_before_good = len(bad)
            if part.damage is not None:
                bad.append(part.damage)
    end = max(good_end, bad[-1].offset + bad[-1].size_bytes if bad else 0)
    rest, size_bytes = _after(path, end)
    newline_missing = False
    if rest and is_whole(rest):
        try:
            last = msgspec.json.decode(rest, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError):
            pass  # whole, but none of ours
        else:
            newline_missing = True
            if take is not None:
                take([last])
            if seen is not None:
                seen(end, rest)
            good, good_end, bad_before_good, newest = good + 1, size_bytes, len(bad), rest
    holes = _holes(path, bad[:bad_before_good], newest)
    return Inspection(
        lines=good,
        size_bytes=size_bytes,
        good_end=good_end,
        newline_missing=newline_missing,
        damaged=tuple(each for each in bad[:bad_before_good] if each not in holes),
        holes=tuple(holes),
    )


class _Synced(Struct, frozen=True, gc=False):
    synced: int | None = None


def _holes(path: Path, bad: list[Damage], newest: bytes) -> list[Damage]:
    """Those bad lines that had not reached the disk when the newest good line was written."""
    if not bad:
        return []
    synced = msgspec.json.decode(newest, type=_Synced).synced
    if synced is None:  # a line of a repair, or of a version that did not say: no evidence
        return []
    return [each for each in bad if each.offset >= synced and _has_zeroed_sectors(path, each)]


def _has_zeroed_sectors(path: Path, bad: Damage) -> bool:
    """Whether zeros begin with the line or a sector and end with a sector: no JSON of ours has any."""
    if bad.size_bytes > HOLE_BYTES_MAX:
        return False
    try:
        with path.open("rb") as file:
            file.seek(bad.offset)
            data = file.read(bad.size_bytes)
    except OSError as error:
        raise refused(path, "read the log", error) from error
    return any(
        (start == 0 or (bad.offset + start) % SECTOR_BYTES == 0) and (bad.offset + end) % SECTOR_BYTES == 0
        for start, end in (found.span() for found in finditer(rb"\0+", data))
    )


class AnyLine(Struct, frozen=True, gc=False):
    """A log line of any sort."""

    v: int


def recover(
    path: Path,
    quarantine: Path,
    *,
    take: Callable[[list[Any]], object] | None = None,
    kind: type[Struct] = Settled,
    fs: Fs = DISK,
) -> Recovery:
    """Make a log fit to be appended to, and read it on the way. Hold the run's lock.

    The torn tail is kept in `quarantine` and cut off; a whole log is not touched. `take` is given
    the good lines as for `inspect`, so that resuming reads the log once. Raises StoreError when the disk refuses,
    nothing for damage: that is in the answer.
    """
    found = inspect(path, take, kind=kind)
    kept_at: Path | None = None
    try:
        if found.torn_bytes:
            kept_at = _keep_tail(path, quarantine, found.good_end, fs)
            _change(path, fs, lambda fd: fs.truncate(fd, found.good_end))
        elif found.newline_missing:
            _change(path, fs, lambda fd: write_all(fs, fd, b"\n"))
    except OSError as error:
        raise refused(path, "cut the torn tail off", error) from error
    return Recovery(
        path=path,
        lines=found.lines,
        size_bytes=found.good_end + found.newline_missing,
        cut_bytes=found.torn_bytes,
        kept_at=kept_at,
        mended=found.newline_missing,
        damaged=found.damaged,
        holes=found.holes,
    )


def stamp() -> str:
    """The moment, as it stands in the names of files kept aside."""
    return datetime.now(UTC).strftime("%Y%m%dT%H%M%S%fZ")


def _after(path: Path, offset: int) -> tuple[bytes, int]:
    """The bytes after the last newline if they could be a line (else nothing), and the file's size."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            if size - offset > LINE_BYTES_MAX:
                return b"", size
            file.seek(offset)
            return file.read(), size
    except FileNotFoundError:
        return b"", 0
    except OSError as error:
        raise refused(path, "read the log", error) from error


def _keep_tail(path: Path, quarantine: Path, offset: int, fs: Fs) -> Path:
    make_quarantine(quarantine, fs)
    kept_at = quarantine / f"{path.name}.tail-at-{offset}.{stamp()}"
    fd = fs.create(kept_at)
    try:
        for part in _parts(path, offset):
            write_all(fs, fd, part)
        fs.sync(fd)
    finally:
        fs.close(fd)
    fs.sync_dir(quarantine)
    return kept_at


def make_quarantine(quarantine: Path, fs: Fs) -> None:
    """Make the folder for what is kept aside, durably. Raises OSError."""
    try:
        fs.mkdir(quarantine)
    except FileExistsError:
        if quarantine.is_symlink() or not quarantine.is_dir():
            raise
    fs.sync_dir(quarantine.parent)


def _parts(path: Path, offset: int) -> Iterator[bytes]:
    with path.open("rb", buffering=0) as file:
        file.seek(offset)
        while part := file.read(CHUNK_BYTES):
            yield part


def _change(path: Path, fs: Fs, change: Callable[[int], None]) -> None:
    fd = fs.open_existing(path)
    try:
        change(fd)
        fs.sync(fd)
    finally:
        fs.close(fd)
