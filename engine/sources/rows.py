"""Rows of a JSONL, CSV or Parquet file, streamed, each with the line it stands on.

Reading may start at a mark taken on an earlier pass, so that a resumed run does not read a long
file from its beginning. What cannot be read is answered as a problem in the row's place, so that
one pass can list all of them.
"""

from __future__ import annotations

import csv
import datetime
import decimal
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import orjson
import polars as pl
from msgspec import Struct

from engine.errors import SourceError

LINE_BYTES_MAX: Final = 4 << 20
"""Longest line of a text file."""
_BATCH_ROWS: Final = 2_000
_BOM: Final = b"\xef\xbb\xbf"


class Mark(Struct, frozen=True):
    """A place between two rows."""

    offset: int = 0
    """Bytes before it; rows for Parquet."""
    line: int = 0
    """Lines before it."""


class Row(Struct, frozen=True):
    """One row, or why there is none."""

    line: int
    """From 1; the row's number for Parquet."""
    after: Mark
    values: dict[str, Any] = {}
    problem: str = ""


Reader = Callable[[Path, Mark], Iterator[Row]]


def reader_of(path: Path) -> Reader:
    """How to read a file, by its suffix. Raises SourceError for others."""
    readers: dict[str, Reader] = {
        ".jsonl": json_lines,
        ".ndjson": json_lines,
        ".csv": table,
        ".tsv": table,
        ".parquet": parquet,
    }
    reader = readers.get(path.suffix.lower())
    if reader is None:
        hint = "write one object per line and name it .jsonl" if path.suffix.lower() == ".json" else "use one of these"
        raise SourceError(f"{path}: prompt files are .jsonl, .csv, .tsv or .parquet; {hint}")
    return reader


def unit_of(path: Path) -> str:
    """What a row's number counts."""
    return "row" if path.suffix.lower() == ".parquet" else "line"


def json_lines(path: Path, start: Mark) -> Iterator[Row]:
    """One JSON object per line; blank lines are passed over."""
    with path.open("rb") as file:
        file.seek(start.offset)
        number = start.line
        while raw := file.readline(LINE_BYTES_MAX + 1):
            number += 1
            mark = Mark(file.tell(), number)
            if len(raw) > LINE_BYTES_MAX:
                yield Row(number, mark, problem=f"longer than {LINE_BYTES_MAX:,} bytes; is this one object per line?")
                return
            if number == 1:
                raw = raw.removeprefix(_BOM)
            if not raw.strip():
                continue
            try:
                value = orjson.loads(raw)
            except orjson.JSONDecodeError as error:
                yield Row(number, mark, problem=f"not valid JSON ({error.msg})")
                continue
            if isinstance(value, dict):
                yield Row(number, mark, value)
            else:
                yield Row(number, mark, problem=f"an object is needed, this is {type(value).__name__}")


class _Lines:
    """Decoded lines of an open file for the csv module, counting what it has taken."""

    def __init__(self, path: Path, start: Mark) -> None:
        self._file = path.open("rb")
        self._file.seek(start.offset)
        self.line = start.line
        self.offset = start.offset

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        raw = self._file.readline(LINE_BYTES_MAX + 1)
        if not raw:
            raise StopIteration
        self.line += 1
        self.offset += len(raw)
        if len(raw) > LINE_BYTES_MAX:
            raise csv.Error(f"longer than {LINE_BYTES_MAX:,} bytes")
        if self.line == 1:
            raw = raw.removeprefix(_BOM)
        try:
            return raw.decode()
        except UnicodeDecodeError as error:
            raise csv.Error(f"not UTF-8 (byte {error.start + 1} of the line); save the file as UTF-8") from error

    def close(self) -> None:
        self._file.close()


def table(path: Path, start: Mark) -> Iterator[Row]:
    """A table with a header, separated by commas, semicolons or tabs."""
    header, separator, first = _header(path)
    if not header:
        yield Row(1, first, problem="the header is missing or not readable; the first line must name a column prompt")
        return
    lines = _Lines(path, start if start.offset else first)
    try:
        rows = csv.reader(lines, delimiter=separator, strict=True)
        while True:
            began = lines.line + 1
            try:
                fields = next(rows)
            except StopIteration:
                return
            except csv.Error as error:
                yield Row(lines.line, Mark(lines.offset, lines.line), problem=str(error))
                return
            mark = Mark(lines.offset, lines.line)
            if not any(field.strip() for field in fields):
                continue
            if len(fields) != len(header):
                yield Row(began, mark, problem=f"has {len(fields)} fields, the header has {len(header)}")
            else:
                yield Row(began, mark, dict(zip(header, fields, strict=True)))
    finally:
        lines.close()


def _header(path: Path) -> tuple[list[str], str, Mark]:
    lines = _Lines(path, Mark())
    try:
        text = next(lines, "")
        separator = max(",;\t", key=text.count)
        names = [name.strip() for name in next(csv.reader([text], delimiter=separator), [])]
        return (names if any(names) else []), separator, Mark(lines.offset, lines.line)
    except csv.Error:
        return [], ",", Mark(lines.offset, lines.line)
    finally:
        lines.close()


def parquet(path: Path, start: Mark) -> Iterator[Row]:
    """The rows of a Parquet file, in batches."""
    try:
        frames = pl.scan_parquet(path).slice(start.offset).collect_batches(maintain_order=True, chunk_size=_BATCH_ROWS)
        number = start.line
        for frame in frames:
            for values in frame.iter_rows(named=True):
                number += 1
                mark = Mark(number, number)
                try:
                    yield Row(number, mark, {name: _plain(v) for name, v in values.items() if v is not None})
                except ValueError as error:
                    yield Row(number, mark, problem=str(error))
    except pl.exceptions.PolarsError as error:
        text = (str(error).splitlines() or ["not readable"])[0][:200]
        yield Row(start.line + 1, start, problem=f"cannot be read as Parquet: {text}")


def _plain(value: Any) -> Any:
    """A Parquet value as JSON has it."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else None
        case datetime.date() | datetime.time():
            return value.isoformat()
        case datetime.timedelta():
            return value.total_seconds()
        case decimal.Decimal():
            return float(value)
        case dict():
            return {str(k): _plain(v) for k, v in value.items()}
        case list() | tuple():
            return [_plain(v) for v in value]
        case _:
            raise ValueError(
                f"holds a value of type {type(value).__name__}, which JSON has no word for; drop the column"
            )
