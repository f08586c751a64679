"""Logs as polars frames: the committed prefix only, every line checked, damage counted instead of fatal.

polars loses a whole scan at the first malformed line, so lines are checked against their `crc` first and
polars parses what is whole, a chunk at a time: memory does not depend on the length of the log.
"""

from __future__ import annotations

import io
import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import msgspec
import polars as pl
from msgspec import Struct, field

from schemas.record import check_line

CHUNK_BYTES = 8 << 20
AHEAD = 2
"""Chunks that are parsed at the same time."""
DAMAGE_KEPT_MAX = 100

_COMMON: dict[str, pl.DataType] = {
    "job": pl.String(),
    "status": pl.String(),
    "image_id": pl.String(),
    "index": pl.Int64(),
    "attempt": pl.Int64(),
    "final": pl.Boolean(),
    "generated_at": pl.String(),
    "latency_s": pl.Float64(),
    "model": pl.String(),
    "model_version": pl.String(),
    "finish_reason": pl.String(),
    "usage": pl.Struct({"prompt_tokens": pl.Int64(), "output_tokens": pl.Int64(), "total_tokens": pl.Int64()}),
    "cost_usd": pl.Float64(),
    "error": pl.Struct({"kind": pl.String(), "message": pl.String(), "http_status": pl.Int64()}),
    "adopted": pl.Boolean(),
}
IMAGE_SCHEMA: dict[str, pl.DataType] = {
    **_COMMON,
    "prompt": pl.String(),
    "source_data": pl.String(),  # as JSON text: a prompt file may put anything in it
    "style": pl.String(),
    "complexity": pl.String(),
    "aspect_ratio": pl.String(),
    "resolution": pl.String(),
    "asset": pl.Struct(
        {
            "path": pl.String(),
            "sha256": pl.String(),
            "size_bytes": pl.Int64(),
            "mime_type": pl.String(),
            "width": pl.Int64(),
            "height": pl.Int64(),
        }
    ),
}
METADATA_SCHEMA: dict[str, pl.DataType] = {
    **_COMMON,
    "tasks": pl.List(pl.String()),
    "caption": pl.String(),
    "captions": pl.List(pl.String()),
    "labels": pl.String(),  # as JSON text: categories are the user's
    "comments": pl.List(pl.String()),
}


RAW = ("source_data", "labels")
"""Members whose shape is the user's. polars' own JSON text of an object does not escape its keys, so these are
taken from the line as they stand."""


class _Raw(Struct):
    source_data: msgspec.Raw = msgspec.Raw(b"null")
    labels: msgspec.Raw = msgspec.Raw(b"null")


_decode_raw = msgspec.json.Decoder(_Raw).decode


class Damage(Struct, frozen=True):
    """A bad line in the committed part of a log."""

    line: int
    """From 1."""
    offset: int
    reason: str


class Reading(Struct):
    """What was met while a log was read; filled as `read_frames` goes."""

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


def _chunks(path: Path, chunk_bytes: int, reading: Reading) -> Iterator[tuple[int, bytes]]:
    """Whole lines up to the last newline the file had when it was opened, with their offsets."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    with file:
        end = os.fstat(file.fileno()).st_size
        offset, rest = 0, b""
        while offset + len(rest) < end:
            data = file.read(min(chunk_bytes, end - offset - len(rest)))
            if not data:
                break
            data = rest + data
            cut = data.rfind(b"\n") + 1
            if cut:
                yield offset, data[:cut]
            offset, rest = offset + cut, data[cut:]
        reading.pending_bytes = len(rest)


class _Chunk(Struct):
    """What one chunk of lines gave; made in a thread of its own."""

    frames: list[pl.DataFrame] = field(default_factory=list)
    damage: list[Damage] = field(default_factory=list)


def _parse(lines: list[tuple[int, int, bytes]], schema: dict[str, pl.DataType], chunk: _Chunk) -> None:
    """Frames of lines that are whole; a line that is not as the format says is noted and left out."""
    if not lines:
        return
    plain = {name: kind for name, kind in schema.items() if name not in RAW}
    try:
        frame = pl.read_ndjson(io.BytesIO(b"\n".join(line for _, _, line in lines)), schema=plain)
        raw = [_decode_raw(line) for _, _, line in lines]
        added = [pl.Series("line", [n for n, _, _ in lines], dtype=pl.UInt32)]
        for name in RAW:
            if name in schema:
                texts = [bytes(getattr(r, name)).decode() for r in raw]
                added.append(pl.Series(name, texts, dtype=pl.String).replace("null", None))
        chunk.frames.append(frame.with_columns(added))
    except (pl.exceptions.PolarsError, ValueError):
        if len(lines) == 1:
            chunk.damage.append(Damage(lines[0][0], lines[0][1], "not a record of this version"))
            return
        middle = len(lines) // 2
        _parse(lines[:middle], schema, chunk)
        _parse(lines[middle:], schema, chunk)


def _read_chunk(start: int, first_line: int, data: bytes, schema: dict[str, pl.DataType]) -> _Chunk:
    chunk = _Chunk()
    whole: list[tuple[int, int, bytes]] = []
    offset = start
    for number, line in enumerate(data.split(b"\n")[:-1], start=first_line):
        if check_line(line):
            whole.append((number, offset, line))
        else:
            chunk.damage.append(Damage(number, offset, "checksum"))
        offset += len(line) + 1
    _parse(whole, schema, chunk)
    return chunk


def read_frames(
    path: Path, schema: dict[str, pl.DataType], reading: Reading, *, chunk_bytes: int = CHUNK_BYTES
) -> Iterator[pl.DataFrame]:
    """The log's records in order, one frame per chunk, with the column `line` (from 1).

    Lines with a wrong checksum are noted in `reading` and left out. A log that is not there is empty. Chunks are
    parsed one ahead, because polars parses outside the interpreter's lock.
    """
    waiting: deque[Future[_Chunk]] = deque()

    def done(chunk: _Chunk) -> list[pl.DataFrame]:
        for damage in chunk.damage:
            reading.note(damage)
        return chunk.frames

    with ThreadPoolExecutor(AHEAD, thread_name_prefix="qa-log") as pool:
        for start, data in _chunks(path, chunk_bytes, reading):
            waiting.append(pool.submit(_read_chunk, start, reading.lines + 1, data, schema))
            reading.lines += data.count(b"\n")
            if len(waiting) > AHEAD:
                yield from done(waiting.popleft().result())
        while waiting:
            yield from done(waiting.popleft().result())
