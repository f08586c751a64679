"""Reading logs: whole lines only, in a stream, also while somebody writes.

A reader sees the lines up to the last newline. `scan_settled` decodes only what the ledger, `status`
and the quotas need, so that a million lines cost seconds and no memory to speak of.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec import Struct

from engine.errors import LogDamaged
from engine.store.fs import refused

CHUNK_BYTES = 1 << 20
LINE_BYTES_MAX = 32 << 20
"""A line longer than this was not written by us; it is damage, and is not held in memory."""
FOLLOW_BYTES_MAX = 8 << 20
HEAD_BYTES_MIN = 600
"""A shorter line is parsed whole: looking for its head would not pay."""
HEAD_BYTES_MAX = 4096
"""Where to look for the end of a line's head; beyond it the whole line is parsed."""

R = TypeVar("R", bound=Struct)


class Reason(Struct, frozen=True, gc=False):
    """The part of `error` that counts."""

    kind: str = ""


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


class Block(Struct, frozen=True, gc=False):
    """Some consecutive whole lines of a log."""

    offset: int
    """Of the first line's first byte."""
    number: int
    """Of the first line, from 1."""
    lines: list[bytes]
    """Without their newlines. A line over LINE_BYTES_MAX is given as `b""`, with its size in `skipped`."""
    skipped: int = 0
    """Bytes of the one over-long line, if this block is one."""


def read_blocks(path: Path) -> Iterator[Block]:
    """All whole lines of a file, some MiB at a time. No file, no lines. Raises StoreError."""
    try:
        with path.open("rb", buffering=0) as file:
            offset, number, carry, skipped = 0, 1, b"", 0
            while chunk := file.read(CHUNK_BYTES):
                if skipped:  # in the middle of an over-long line
                    end = chunk.find(b"\n")
                    if end < 0:
                        skipped += len(chunk)
                        continue
                    skipped += end + 1
                    yield Block(offset, number, [b""], skipped)
                    offset, number, skipped = offset + skipped, number + 1, 0
                    chunk = chunk[end + 1 :]
                lines = (carry + chunk).split(b"\n") if carry else chunk.split(b"\n")
                carry = lines.pop()
                if lines:
                    yield Block(offset, number, lines)
                    number += len(lines)
                    offset += sum(map(len, lines)) + len(lines)
                if len(carry) > LINE_BYTES_MAX:
                    skipped, carry = len(carry), b""
    except FileNotFoundError:
        return
    except OSError as error:
        raise refused(path, "read the log", error) from error


def read_lines(path: Path) -> Iterator[bytes]:
    """The whole lines of a log, without their newlines, unchecked."""
    for block in read_blocks(path):
        yield from block.lines


def is_whole(line: bytes) -> bool:
    """`schemas.record.check_line` for a line without newline, at a third of its cost."""
    try:
        return line[-18:-10] == b',"crc":"' and int(line[-10:-2], 16) == zlib.crc32(b"}", zlib.crc32(line[:-18]))
    except ValueError:
        return False


def head_of(line: bytes) -> bytes:
    """A line cut short after the members that `Settled` has: a sixth of the bytes to parse.

    The members that follow hold texts of any length; a key cannot stand inside a text, where its quotes
    would be escaped.
    """
    if len(line) < HEAD_BYTES_MIN:
        return line
    end = line.find(b',"prompt":', 0, HEAD_BYTES_MAX)
    if end < 0:
        end = line.find(b',"caption":', 0, HEAD_BYTES_MAX)
    return line[:end] + b"}" if end > 0 else line


def read_records(
    path: Path,
    kind: type[R],
    *,
    on_damage: Callable[[Damage], None] | None = None,
    part: Callable[[bytes], bytes] | None = None,
) -> Iterator[R]:
    """The records of a log, each line checked.

    A line that is damaged is handed to `on_damage` and passed over; without it, LogDamaged is raised.
    `part` cuts a checked line down to what `kind` needs.
    """
    decode = msgspec.json.Decoder(kind).decode
    for block in read_blocks(path):
        at = block.offset
        for n, line in enumerate(block.lines):
            size = block.skipped or len(line) + 1
            try:
                record = decode(part(line) if part else line) if is_whole(line) else None
            except (msgspec.DecodeError, UnicodeDecodeError):
                record = None
            if record is not None:
                yield record
            elif on_damage is None:
                raise LogDamaged(
                    f"{path}: line {block.number + n} (byte {at}) is damaged; "
                    f"run `groundswell verify {path.parent.parent} --repair`"
                )
            else:
                on_damage(Damage(block.number + n, at, size))
            at += size


def scan_settled(path: Path, *, on_damage: Callable[[Damage], None] | None = None) -> Iterator[Settled]:
    """What each line says about its job, in the order of writing; see `Settled`."""
    return read_records(path, Settled, on_damage=on_damage, part=head_of)


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
