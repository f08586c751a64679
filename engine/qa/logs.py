"""Logs as polars frames: the committed prefix only, every line checked, damage counted instead of fatal.

polars loses a whole scan at the first malformed line, so lines are checked against their `crc` first and
polars parses what is whole, a chunk at a time: memory does not depend on the length of the log.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec
import polars as pl
from msgspec import Struct, field

from schemas.record import check_line

CHUNK_BYTES = 16 << 20
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

    def note(self, line: int, offset: int, reason: str) -> None:
        self.damaged += 1
        if len(self.damage) < DAMAGE_KEPT_MAX:
            self.damage.append(Damage(line, offset, reason))


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


def _parse(lines: list[tuple[int, int, bytes]], schema: dict[str, pl.DataType], reading: Reading) -> list[pl.DataFrame]:
    """Frames of lines that are whole; a line that is not as the format says is noted and left out."""
    if not lines:
        return []
    plain = {name: kind for name, kind in schema.items() if name not in RAW}
    try:
        frame = pl.read_ndjson(io.BytesIO(b"\n".join(line for _, _, line in lines)), schema=plain)
        raw = [_decode_raw(line) for _, _, line in lines]
        added = [pl.Series("line", [n for n, _, _ in lines], dtype=pl.UInt32)]
        for name in RAW:
            if name in schema:
                texts = [bytes(getattr(r, name)).decode() for r in raw]
                added.append(pl.Series(name, texts, dtype=pl.String).replace("null", None))
        return [frame.with_columns(added)]
    except (pl.exceptions.PolarsError, ValueError):
        if len(lines) == 1:
            reading.note(lines[0][0], lines[0][1], "not a record of this version")
            return []
        middle = len(lines) // 2
        return _parse(lines[:middle], schema, reading) + _parse(lines[middle:], schema, reading)


def read_frames(
    path: Path, schema: dict[str, pl.DataType], reading: Reading, *, chunk_bytes: int = CHUNK_BYTES
) -> Iterator[pl.DataFrame]:
    """The log's records in order, one frame per chunk, with the column `line` (from 1).

    Lines with a wrong checksum are noted in `reading` and left out. A log that is not there is empty.
    """
    for start, data in _chunks(path, chunk_bytes, reading):
        whole: list[tuple[int, int, bytes]] = []
        offset = start
        for line in data.split(b"\n")[:-1]:
            reading.lines += 1
            if check_line(line):
                whole.append((reading.lines, offset, line))
            else:
                reading.note(reading.lines, offset, "checksum")
            offset += len(line) + 1
        yield from _parse(whole, schema, reading)
