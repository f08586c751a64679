"""Lines of a log into Parquet files, a span at a time: in this process, or in one per core beside it.

Reading is most of the work of a pass without pictures, and Python holds it to one core; so spans are given to
processes of their own, which know nothing but their task (`main`, tasks on stdin, progress on stdout; see
`beside`).
"""

from __future__ import annotations

import contextlib
import gc
import selectors
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any, Literal

import msgspec
import polars as pl
from msgspec import Struct

from engine.qa.beside import end, start
from engine.qa.logs import Damage, Reading, Span, chunks, lines_before
from engine.qa.marks import mark_answers, mark_prompts
from engine.qa.rows import TASKS, Labels, image_columns, image_line, metadata_columns, metadata_line
from schemas.config import Metadata
from schemas.record import check_line

ROWS_PER_PART = 5_000
"""Bounds what a process holds, 25 KB a line, and what a streaming scan reads ahead."""
Stage = Literal["image", "metadata"]
ATTEMPT_COLUMNS = (
    "stage", "line", "image_id", "index", "status", "final", "attempt", "generated_at", "latency_s", "model",
    "finish_reason", "cost_usd", "error", "tokens", "theme", *(f"for_{task}" for task in TASKS),
)  # fmt: skip
_ATTEMPTS_ONLY = ("final", "tokens")


class Task(Struct, frozen=True, kw_only=True):
    """A span of a log, and where its tables belong. Parts are named so that their order is the log's."""

    stage: Stage
    log: str
    span: Span
    number: int
    rows: str
    """Folder for the final lines, wide."""
    attempts: str
    """Folder for all lines, narrow."""
    asked: str
    """`metadata` of the configuration, as JSON."""


class _Told(Struct):
    """What a process says: how many lines went by, or in the end what it met, task by task."""

    stage: Stage = "image"
    lines: int = 0
    readings: list[Reading] | None = None


def tabulate(task: Task, tick: Callable[[Stage, int], None]) -> Reading:
    """Carry out a task; `tick` is told how many lines of which stage went by."""
    reading = Reading()
    log = Path(task.log)
    first = lines_before(log, task.span.start) + 1
    parse: Callable[[bytes], Any] = image_line if task.stage == "image" else metadata_line
    asked = Metadata.model_validate_json(task.asked)
    labels = Labels(asked.label_categories)
    records: list[Any] = []
    numbers: list[int] = []
    parts = 0

    def write() -> None:
        name = f"{task.stage}-{task.number:03d}-{parts:06d}.parquet"
        _write(_frame(task.stage, records, numbers, labels), asked, name, Path(task.rows), Path(task.attempts))

    for at, lines in chunks(log, task.span):
        offset = at
        for number, line in enumerate(lines, start=first + reading.lines):
            if not check_line(line):
                reading.note(Damage(number, offset, "checksum"))
            else:
                try:
                    records.append(parse(line))
                    numbers.append(number)
                except ValueError:
                    reading.note(Damage(number, offset, "not a record of this version"))
            offset += len(line) + 1
        reading.lines += len(lines)
        if len(records) >= ROWS_PER_PART:
            write()
            parts += 1
            records.clear()
            numbers.clear()
        tick(task.stage, len(lines))
    if records:
        write()
    return reading


def _frame(stage: Stage, records: list[Any], numbers: list[int], labels: Labels) -> pl.DataFrame:
    frame = image_columns(records) if stage == "image" else metadata_columns(records, labels)
    return frame.with_columns(pl.Series("line", numbers, dtype=pl.UInt32), pl.lit(stage).alias("stage"))


def _write(frame: pl.DataFrame, asked: Metadata, name: str, rows: Path, attempts: Path) -> None:
    absent = [pl.lit(None, kind).alias(n) for n, kind in _ABSENT.items() if n not in frame.columns]
    narrow = frame.with_columns(absent).select(ATTEMPT_COLUMNS)
    narrow.write_parquet(attempts / name, compression="zstd", compression_level=1)
    wide = (
        frame.filter(pl.col("final").fill_null(False))
        # How it is where nothing was asked twice.
        .with_columns(redone=pl.lit(0, pl.UInt32), newest_attempt="attempt")
        .drop("stage", *_ATTEMPTS_ONLY)
    )
    wide = mark_prompts(wide) if "prompt" in wide.columns else mark_answers(wide, asked)
    wide.write_parquet(rows / name, compression="zstd", compression_level=1, statistics=False)


def write_empty(stage: Stage, asked: Metadata, rows: Path, attempts: Path) -> None:
    """Tables without a row, so that there is something to scan whatever the log holds."""
    _write(_frame(stage, [], [], Labels(asked.label_categories)), asked, f"{stage}-000-empty.parquet", rows, attempts)


_ABSENT: dict[str, pl.DataType] = {"theme": pl.String(), **{f"for_{task}": pl.Boolean() for task in TASKS}}


def tabulate_all(tasks: Sequence[Sequence[Task]], tick: Callable[[Stage, int], None]) -> list[list[Reading]]:
    """Each list of tasks in a process of its own, if there are several; what they met, in the order of the tasks."""
    if len(tasks) < 2 or not sys.executable:
        return [[tabulate(task, tick) for task in some] for some in tasks]
    workers: list[subprocess.Popen[bytes]] = []
    found: list[list[Reading] | None] = [None] * len(tasks)
    with selectors.DefaultSelector() as ready:
        try:
            for at, some in enumerate(tasks):
                with contextlib.suppress(OSError):  # no such process, or it ended at once: see below
                    worker = start("engine.qa.tabulate")
                    workers.append(worker)
                    assert worker.stdin is not None
                    assert worker.stdout is not None
                    ready.register(worker.stdout, selectors.EVENT_READ, at)
                    with worker.stdin:
                        worker.stdin.write(msgspec.json.encode(some))
            while ready.get_map():
                for key, _ in ready.select():
                    stream: IO[bytes] = key.fileobj  # pyright: ignore[reportAssignmentType]
                    line = stream.readline()
                    if not line.endswith(b"\n"):
                        ready.unregister(stream)
                        continue
                    told = msgspec.json.decode(line, type=_Told)
                    found[key.data] = told.readings
                    tick(told.stage, told.lines)
        finally:
            for worker in workers:
                end(worker)
    # A process that could not do its part says nothing; done here again, the reason shows.
    return [
        [tabulate(task, tick) for task in some] if done is None else done
        for some, done in zip(tasks, found, strict=True)
    ]


def main() -> None:
    """A process beside the pass: tasks on stdin, progress and findings on stdout."""
    gc.disable()  # records make no cycles, and looking for some among them is a twelfth of the work
    tasks = msgspec.json.decode(sys.stdin.buffer.read(), type=list[Task])

    def say(told: _Told) -> None:
        sys.stdout.buffer.write(msgspec.json.encode(told) + b"\n")
        sys.stdout.buffer.flush()

    say(_Told(readings=[tabulate(task, lambda stage, lines: say(_Told(stage, lines))) for task in tasks]))
