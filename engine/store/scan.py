"""Reading logs: whole lines only, in a stream, also while somebody writes.

A reader sees the lines up to the last newline. `scan_settled` decodes only what the ledger, `status`
and the quotas need, so that a million lines cost seconds and no memory to speak of.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Generator, Iterable, Iterator
from pathlib import Path
from typing import Generic, TypeVar

import msgspec
from msgspec import Struct

from engine.errors import LogDamaged
from engine.store.crc import crc32
from engine.store.fs import refused

CHUNK_BYTES = 1 << 17
"""Read at a time: lines are checked while they are still in the processor's cache."""
LINE_BYTES_MAX = 32 << 20
"""A line longer than this was not written by us; it is damage, and is not held in memory."""
NEAR_BYTES = 1 << 13
"""Where the next newline nearly always is."""
FOLLOW_BYTES_MAX = 8 << 20
HEAD_BYTES_MIN = 256
"""No line's head is shorter."""
HEAD_LINE_BYTES_MIN = 600
"""A shorter line is parsed whole: looking for its head would not pay."""
HEAD_ENDS = (b',"prompt":', b',"caption":')
"""What follows the members that `Settled` has, in the image log and in the metadata log: texts of any length."""
_TAIL_BYTES = len(b',"crc":"00000000"}')

R = TypeVar("R", bound=Struct)
T = TypeVar("T")
_NOT_OURS = (msgspec.DecodeError, UnicodeDecodeError)


class Reason(Struct, frozen=True, gc=False):
    """The part of `error` that counts."""

    kind: str = ""
    message: str = ""


class Settled(Struct, frozen=True, kw_only=True, gc=False):
    """What a log line says about its job's progress. Reads images, metadata and attempts alike."""

    job: str
    status: str
    """`ok`, `refused`, `failed`, `retry`; in the attempts log `start`, `rejected`."""
    stage: str = ""
    image_id: str = ""
    index: int = 0
    attempt: int = 0
    final: bool = False
    generated_at: str = ""
    model: str = ""
    cost_usd: float | None = None
    tokens: int = 0
    """Input tokens reserved; in the attempts log only."""
    tasks: tuple[str, ...] = ()
    """Which tasks a metadata line is about."""
    limit_per_minute: float | None = None
    """A limit that a rejection taught; in the attempts log only."""
    error: Reason | None = None

    @property
    def error_kind(self) -> str | None:
        return None if self.error is None else self.error.kind


class Damage(Struct, frozen=True):
    """A line that is not what was written, with good lines after it."""

    line: int
    """Counted from 1."""
    offset: int
    size_bytes: int


class Portion(Struct, frozen=True, gc=False):
    """Some consecutive whole lines of a log, as they lie in the file."""

    offset: int
    """Of the first line's first byte."""
    data: bytes
    """The lines with their newlines, and perhaps the beginning of one more. Nothing of an over-long line."""
    skipped: int = 0
    """Bytes of the one over-long line, if this portion is one."""


class Block(Struct, frozen=True, gc=False):
    """Some consecutive whole lines of a log, cut apart."""

    offset: int
    """Of the first line's first byte."""
    lines: list[bytes]
    """Without their newlines. An over-long line is given as `b""`, with its size in `skipped`."""
    skipped: int = 0


class Sifted(Struct, Generic[R], frozen=True):
    """Some consecutive good lines, and the bad one after them, if one is."""

    records: list[R]
    end: int
    """Where the last good line ends, its newline included. Says nothing if there is none."""
    newest: bytes
    """The last good line, without its newline."""
    damage: Damage | None


def read_portions(path: Path) -> Iterator[Portion]:
    """All whole lines of a file, some at a time. No file, no lines. Raises StoreError."""
    return read_open(path, portions)


def read_open(path: Path, read: Callable[[int], Iterator[T]]) -> Iterator[T]:
    """What `read` gives of the open file. No file, nothing. Raises StoreError."""
    try:
        with path.open("rb", buffering=0) as file:
            yield from read(file.fileno())
    except FileNotFoundError:
        return
    except OSError as error:
        raise refused(path, "read the log", error) from error


def portions(file: int, start: int = 0, stop: int = sys.maxsize) -> Iterator[Portion]:
    """The whole lines of an open file, or those between two line ends of it. Raises OSError."""
    offset, size = start, CHUNK_BYTES
    while offset < stop:
        # A line that is not all there yet is read once more: cheaper than to join every chunk to its rest.
        data = os.pread(file, min(size, stop - offset), offset)
        end = data.rfind(b"\n") + 1
        if end:
            yield Portion(offset, data)
            offset, size = offset + end, CHUNK_BYTES
        elif len(data) < size:
            return
        elif size <= LINE_BYTES_MAX:
            size *= 2
        else:
            rest = to_newline(file, offset + size)
            if not rest:
                return
            yield Portion(offset, b"", size + rest)
            offset, size = offset + size + rest, CHUNK_BYTES


def to_newline(file: int, start: int) -> int:
    """How many bytes it is to the next newline, itself included; 0 if there is none. Raises OSError."""
    at = start
    while data := os.pread(file, NEAR_BYTES, at):
        end = data.find(b"\n") + 1
        if end:
            return at + end - start
        at += len(data)
    return 0


def read_blocks(path: Path) -> Iterator[Block]:
    """All whole lines of a file, cut apart, some at a time. No file, no lines. Raises StoreError."""
    for portion in read_portions(path):
        lines = portion.data.split(b"\n")
        if not portion.skipped:
            del lines[-1]
        yield Block(portion.offset, lines, portion.skipped)


def read_lines(path: Path) -> Iterator[bytes]:
    """The whole lines of a log, without their newlines, unchecked."""
    for block in read_blocks(path):
        yield from block.lines


def is_whole(line: bytes) -> bool:
    """`schemas.record.check_line` for a line without newline, at a third of its cost."""
    return line[-_TAIL_BYTES:] == b',"crc":"%08x"}' % crc32(b"}", crc32(line[:-_TAIL_BYTES]))


def sift(
    path: Path, kind: type[R], *, heads: bool = False, seen: Callable[[int, bytes], object] | None = None
) -> Generator[Sifted[R]]:
    """Read a log, every line checked, so many lines at a time that one costs two microseconds.

    With `heads`, lines are parsed up to the first of HEAD_ENDS only: a sixth of an image line. `seen` gets
    offset and bytes (without newline) of each good line. Raises StoreError.
    """
    return sift_portions(read_portions(path), kind, heads=heads, seen=seen)


def sift_portions(
    read: Iterable[Portion], kind: type[R], *, heads: bool = False, seen: Callable[[int, bytes], object] | None = None
) -> Generator[Sifted[R]]:
    """`sift`, of lines from anywhere. They are counted from 1."""
    decode = msgspec.json.Decoder(kind).decode
    head_end, other_end = HEAD_ENDS
    lines = 0
    for portion in read:
        offset, data = portion.offset, portion.data
        view, find = memoryview(data), data.find
        records: list[R] = []
        good_start = good_stop = start = 0
        stop = find(b"\n")
        while stop >= 0:
            tail, record = stop - _TAIL_BYTES, None
            if data[tail:stop] == b',"crc":"%08x"}' % crc32(b"}", crc32(view[start:tail])):
                cut = -1
                if heads and stop - start >= HEAD_LINE_BYTES_MIN:
                    # A key cannot stand inside a text, where its quotes would be escaped.
                    cut = find(head_end, start + HEAD_BYTES_MIN, stop)
                    if cut < 0:
                        head_end, other_end = other_end, head_end
                        cut = find(head_end, start + HEAD_BYTES_MIN, stop)
                try:
                    record = decode(view[start:stop] if cut < 0 else data[start:cut] + b"}")
                except _NOT_OURS:
                    record = _decoded(decode, view[start:stop])
            if record is not None:
                records.append(record)
                good_start, good_stop = start, stop
                if seen is not None:
                    seen(offset + start, data[start:stop])
            else:
                lines += len(records) + 1
                bad = Damage(lines, offset + start, stop + 1 - start)
                yield Sifted(records, offset + good_stop + 1, data[good_start:good_stop], bad)
                records = []
            start = stop + 1
            stop = find(b"\n", start)
        if records:
            lines += len(records)
            yield Sifted(records, offset + good_stop + 1, data[good_start:good_stop], None)
        if portion.skipped:
            lines += 1
            yield Sifted(records, 0, b"", Damage(lines, offset, portion.skipped))


def _decoded(decode: Callable[[memoryview], R], line: memoryview) -> R | None:
    try:
        return decode(line)
    except _NOT_OURS:
        return None


def read_records(
    path: Path, kind: type[R], *, on_damage: Callable[[Damage], None] | None = None, heads: bool = False
) -> Iterator[R]:
    """The records of a log, each line checked.

    A line that is damaged is handed to `on_damage` and passed over; without it, LogDamaged is raised.
    `heads` as for `sift`.
    """
    for part in sift(path, kind, heads=heads):
        yield from part.records
        bad = part.damage
        if bad is not None and on_damage is None:
            raise LogDamaged(
                f"{path}: line {bad.line} (byte {bad.offset}) is damaged; "
                f"run `groundswell verify {path.parent.parent} --repair`"
            )
        if bad is not None and on_damage is not None:
            on_damage(bad)


def scan_settled(path: Path, *, on_damage: Callable[[Damage], None] | None = None) -> Iterator[Settled]:
    """What each line says about its job, in the order of writing; see `Settled`."""
    return read_records(path, Settled, on_damage=on_damage, heads=True)


def follow(path: Path, offset: int, *, limit_bytes: int = FOLLOW_BYTES_MAX) -> tuple[list[bytes], int]:
    """New whole lines since `offset` (start with 0), and the offset to ask with next time.

    For a log that another task or process is writing. At most about `limit_bytes` at a time: ask again
    until nothing comes. Raises StoreError, also when the log has become shorter than `offset`.
    """
    try:
        with path.open("rb", buffering=0) as file:
            file.seek(offset)
            data = file.read(limit_bytes)
            while data and b"\n" not in data and len(data) <= LINE_BYTES_MAX:
                more = file.read(limit_bytes)
                if not more:
                    break
                data += more
            if not data and file.seek(0, 2) < offset:
                raise LogDamaged(f"{path}: became shorter while it was read; run `groundswell verify`")
    except FileNotFoundError:
        return [], offset
    except OSError as error:
        raise refused(path, "read the log", error) from error
    end = data.rfind(b"\n") + 1
    return (data[:end].split(b"\n")[:-1] if end else []), offset + end
