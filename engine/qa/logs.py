"""Logs as lines that can be trusted: the committed prefix only, checked one by one, damage counted instead of fatal.

A log is read in line-aligned spans of bytes, so that several processes can share it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from msgspec import Struct, field

CHUNK_BYTES = 1 << 20
"""Small enough that the allocator keeps the memory between chunks."""
DAMAGE_KEPT_MAX = 100


class Damage(Struct, frozen=True):
    """A bad line in the committed part of a log."""

    line: int
    """From 1."""
    offset: int
    reason: str


class Reading(Struct):
    """What was met while a log was read; filled as reading goes."""

    lines: int = 0
    damaged: int = 0
    damage: list[Damage] = field(default_factory=list)
    """The first `DAMAGE_KEPT_MAX` of them."""
    pending_bytes: int = 0
    """Bytes after the last newline: a line that is being written, or a torn tail."""

    def note(self, damage: Damage) -> None:
        """Count a bad line, and keep it if it is among the first."""
        self.damaged += 1
        if len(self.damage) < DAMAGE_KEPT_MAX:
            self.damage.append(damage)

    def add(self, later: Reading) -> None:
        """What was met further on in the same log."""
        self.lines += later.lines
        self.damaged += later.damaged
        self.damage.extend(later.damage[: DAMAGE_KEPT_MAX - len(self.damage)])


class Span(Struct, frozen=True):
    """Whole lines of a log, as a range of its bytes."""

    start: int
    stop: int


def _line_end(file: int, at: int, stop: int) -> int:
    """Where the line that covers byte `at` ends, newline included; `stop` when it does not end before."""
    while at < stop:
        data = os.pread(file, min(1 << 16, stop - at), at)
        found = data.find(b"\n")
        if found >= 0:
            return at + found + 1
        if not data:
            break
        at += len(data)
    return stop


def _committed(file: int, size: int) -> int:
    """Where the last whole line ends."""
    at = size
    while at > 0:
        start = max(0, at - (1 << 16))
        found = os.pread(file, at - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        at = start
    return 0


def spans(path: Path, parts: int, reading: Reading) -> list[Span]:
    """The log as it stands now in `parts` ranges of about the same size; none when it is not there or empty."""
    try:
        file = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return []
    try:
        size = os.fstat(file).st_size
        stop = _committed(file, size)
        reading.pending_bytes = size - stop
        edges = [0, *(_line_end(file, stop * n // parts, stop) for n in range(1, parts)), stop]
    finally:
        os.close(file)
    return [Span(a, b) for a, b in pairwise(edges) if b > a]


def lines_before(path: Path, offset: int) -> int:
    """How many lines end before this offset."""
    count = 0
    with path.open("rb") as file:
        while offset > 0 and (data := file.read(min(CHUNK_BYTES, offset))):
            count += data.count(b"\n")
            offset -= len(data)
    return count


def chunks(path: Path, span: Span, chunk_bytes: int = CHUNK_BYTES) -> Iterator[tuple[int, list[bytes]]]:
    """The span's lines without their newlines, some at a time, each time with the offset of the first."""
    offset, rest = span.start, b""
    with path.open("rb") as file:
        file.seek(offset)
        while offset + len(rest) < span.stop:
            data = file.read(min(chunk_bytes, span.stop - offset - len(rest)))
            if not data:
                return
            data = rest + data if rest else data
            lines = data.split(b"\n")
            rest = lines.pop()
            if lines:
                yield offset, lines
                offset += len(data) - len(rest)
