"""From logs to tables: the lines in force as Parquet, so that each statistic is one streaming polars query.

The newest line of an image counts, if it is final. Of texts the newest answer counts, as long as it speaks of the
picture there is: asking again never takes a text away before a better one is there. In metadata mode `separate` one
image has a line per task; the columns `for_caption`, `for_labels` and `for_comments` say which tasks a line speaks for.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import polars as pl
from msgspec import Struct
from numpy.typing import NDArray

from engine.qa.logs import Reading, spans
from engine.qa.parts import each
from engine.qa.rows import TASKS
from engine.qa.tabulate import Stage, Task, tabulate_all, write_empty
from engine.store.cores import cores
from schemas.config import Metadata
from schemas.metadata import slug

__all__ = ["OK", "ROW_GROUP", "TASKS", "Tables", "build_tables", "slug"]

ROW_GROUP = 20_000
PROCESSES_MAX = 4
"""Each needs some 200 MB."""
BYTES_PER_PROCESS = 24 << 20
"""Under this much of a log a process is not worth its start."""


class Tables(Struct, frozen=True):
    """The tables of a pass, each a folder of Parquet files, and what reading the logs met."""

    prompts: Path
    """One row per image whose job is settled, the newest final line of each."""
    metadata: Path
    """One row per metadata answer in force."""
    attempts: Path
    """One row per log line of both stages, narrow."""
    images_log: Reading
    metadata_log: Reading

    @property
    def near_texts(self) -> Path:
        """One row per text that repeats an earlier one, or nearly: what is found when they are compared."""
        return self.prompts.with_name("near_texts")


REDO = "redo"
"""The error of a line that asks again for what was settled."""
OK = pl.col("status") == "ok"


class _Lines(Struct, frozen=True):
    """All lines of a stage in order, in numbers."""

    line: NDArray[np.uint32]
    key: NDArray[np.uint64]
    attempt: NDArray[np.int64]
    final: NDArray[np.bool_]
    ok: NDArray[np.bool_]
    redo: NDArray[np.bool_]
    speaks: dict[str, NDArray[np.bool_]]
    """By flag, whether a line speaks for the task."""


def _lines(attempts: Path, stage: Stage, flags: Sequence[str]) -> _Lines:
    frame = pl.concat(
        pl.read_parquet(part, columns=["line", "attempt", "final", "status", "error", "image_id", *flags]).select(
            "line",
            pl.col("attempt").fill_null(0),
            *[pl.col(flag).fill_null(False) for flag in flags],
            final=pl.col("final").fill_null(False),
            ok=(pl.col("status") == "ok").fill_null(False),
            redo=(pl.col("error") == REDO).fill_null(False),
            key=pl.col("image_id").hash(0),
        )
        for part in sorted(attempts.glob(f"{stage}-*.parquet"))
    )
    columns = {name: frame[name].to_numpy() for name in frame.columns}
    return _Lines(
        **{name: columns[name] for name in ("line", "key", "attempt", "final", "ok", "redo")},
        speaks={flag: columns[flag] for flag in flags},
    )


class _Force(Struct, frozen=True):
    """Of every line, for which flags it counts (for images there is one, without a name), and of those that count how
    often was asked again, and the newest attempt."""

    flags: dict[str, NDArray[np.bool_]]
    redone: NDArray[np.uint32]
    newest: NDArray[np.int64]

    @property
    def any(self) -> NDArray[np.bool_]:
        return np.logical_or.reduce([*self.flags.values()])


def _in_force(lines: _Lines) -> _Force:
    """Which lines count. Of an image the newest, if it is final. Of a text the newest answer; without one, the newest
    final line."""
    count = len(lines.line)
    redone, newest = np.zeros(count, np.uint32), np.full(count, np.iinfo(np.int64).min)
    flags: dict[str, NDArray[np.bool_]] = {}
    for flag, speaks in lines.speaks.items() or [("", np.ones(count, np.bool_))]:
        flags[flag] = np.zeros(count, np.bool_)
        at = np.flatnonzero(speaks)
        if not len(at):
            continue
        at = at[np.argsort(lines.key[at], kind="stable")]  # those of one image together, in order
        key = lines.key[at]
        first = np.flatnonzero(np.concatenate([[True], key[1:] != key[:-1]]))
        last = np.append(first[1:], len(at)) - 1
        chosen = at[last]
        if flag:
            worth = np.where(lines.final[at], at + (lines.ok[at].astype(np.int64) << 40), -1)
            best = np.maximum.reduceat(worth, first)
            chosen = np.where(best < 0, chosen, best & ((1 << 40) - 1))
        counts = lines.final[chosen]
        again = np.add.reduceat(lines.redo[at], first, dtype=np.uint32)
        flags[flag][chosen[counts]] = True
        # A line that speaks for several tasks says the most of each.
        redone[chosen[counts]] = np.maximum(redone[chosen[counts]], again[counts])
        newest[chosen[counts]] = np.maximum(newest[chosen[counts]], lines.attempt[at[last]][counts])
    return _Force(flags, redone, newest)


def _settle(stage: Stage, work: Path, out: Path) -> None:
    """The rows of a stage into `out`: all that `work` has, or those in force where something was asked twice."""
    lines = _lines(work / "attempts", stage, [f"for_{task}" for task in TASKS] if stage == "metadata" else [])
    force = _in_force(lines)
    usual = (force.any == lines.final).all() and not force.redone[force.any].any()
    if not usual or any((force.flags[flag] != (speaks & lines.final)).any() for flag, speaks in lines.speaks.items()):

        def in_force(rows: pl.DataFrame) -> pl.DataFrame:
            at = np.searchsorted(lines.line, rows["line"].to_numpy())
            told = {flag: pl.Series(force.flags[flag][at]) for flag in lines.speaks}
            rows = rows.with_columns(
                redone=pl.Series(force.redone[at]), newest_attempt=pl.Series(force.newest[at]), **told
            )
            return rows.filter(pl.Series(force.any[at], dtype=pl.Boolean))

        _rewrite(work / stage, in_force)
    shutil.rmtree(out, ignore_errors=True)
    (work / stage).rename(out)


def _rewrite(table: Path, keep: Callable[[pl.DataFrame], pl.DataFrame]) -> None:
    """What `keep` makes of each part in its place."""
    for part in sorted(table.glob("*.parquet")):
        scratch = part.with_suffix(".tmp")
        rows = keep(pl.read_parquet(part))
        rows.write_parquet(scratch, compression="zstd", compression_level=1, statistics=False)
        scratch.replace(part)


def build_tables(
    images_log: Path,
    metadata_log: Path,
    asked: Metadata,
    *,
    work: Path,
    out: Path,
    tick: Callable[[str, int], None] = lambda stage, lines: None,
) -> Tables:
    """Read both logs once; write prompts, metadata and attempts under `out`.

    Texts are judged by what was `asked` while they are at hand. `work` is scratch the caller empties."""
    logs: dict[Stage, Path] = {"image": images_log, "metadata": metadata_log}
    readings: dict[Stage, Reading] = {"image": Reading(), "metadata": Reading()}
    size = sum(log.stat().st_size for log in logs.values() if log.exists())
    processes = max(1, min(cores(), PROCESSES_MAX, size // BYTES_PER_PROCESS))
    shares: list[list[Task]] = [[] for _ in range(processes)]
    attempts = work / "attempts"
    attempts.mkdir()
    for stage, log in logs.items():
        rows = work / stage
        rows.mkdir()
        write_empty(stage, asked, rows, attempts)
        for number, span in enumerate(spans(log, processes, readings[stage])):
            shares[number].append(
                Task(
                    stage=stage, log=str(log), span=span, number=number, rows=str(rows), attempts=str(attempts),
                    asked=asked.model_dump_json(),
                )
            )  # fmt: skip
    lines = dict.fromkeys(logs, 0)

    def told(stage: Stage, count: int) -> None:
        lines[stage] += count
        tick(stage, lines[stage])

    for share, found in zip(shares, tabulate_all(shares, told), strict=True):
        for task, reading in zip(share, found, strict=True):
            readings[task.stage].add(reading)
    tables = Tables(out / "prompts", out / "metadata", out / "attempts", readings["image"], readings["metadata"])
    drawn = _drawn_before(work / "image")
    _settle("image", work, tables.prompts)
    _settle("metadata", work, tables.metadata)
    _drop_outdated(tables.prompts, tables.metadata, drawn)
    shutil.rmtree(tables.attempts, ignore_errors=True)
    attempts.rename(tables.attempts)
    return tables


def _drawn_before(rows: Path) -> pl.DataFrame:
    """When a picture was first made, of those that were made more than once: a copy of it may have come again."""
    made = pl.col("status") == "ok"
    again = pl.concat(each(rows, lambda some: some.filter(made & (pl.col("attempt") > 1)).select("image_id"))).unique()
    if not again.height:
        return again
    anew = pl.col("image_id").is_in(again["image_id"].implode())
    columns = ("image_id", "sha256", "generated_at")
    return (
        pl.concat(each(rows, lambda some: some.filter(made & anew).select(*columns)))
        .group_by("image_id", "sha256")
        .agg(drawn_at=pl.col("generated_at").min())
    )


def _drop_outdated(prompts: Path, metadata: Path, drawn: pl.DataFrame) -> None:
    """Leave out texts that are older than their picture: they speak of one that was made anew since."""
    if not drawn.height:
        return
    shown = pl.concat(each(prompts, lambda some: some.select("image_id", "sha256").join(
        drawn.lazy(), on=["image_id", "sha256"]
    )))  # fmt: skip
    anew = shown.select("image_id", "drawn_at")

    def current(rows: pl.DataFrame) -> pl.DataFrame:
        drawn_at = rows.select("image_id").join(anew, on="image_id", how="left", maintain_order="left")["drawn_at"]
        return rows.filter(~(pl.col("generated_at") < drawn_at).fill_null(False))

    _rewrite(metadata, current)
