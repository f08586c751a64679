"""From logs to tables: the lines in force as Parquet, so that each statistic is one streaming polars query.

The newest line of an image counts, if it is final. Of texts the newest answer counts, as long as it speaks of the
picture there is: asking again never takes a text away before a better one is there. In metadata mode `separate` one
image has a line per task; the columns `for_caption`, `for_labels` and `for_comments` say which tasks a line speaks for.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import polars as pl
from msgspec import Struct

from engine.qa.logs import Reading, spans
from engine.qa.rows import TASKS
from engine.qa.tabulate import Stage, Task, tabulate_all, write_empty
from engine.store.cores import cores
from schemas.config import Metadata
from schemas.metadata import slug

__all__ = ["ROW_GROUP", "TASKS", "Tables", "build_tables", "slug"]

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


def _in_force(lines: pl.DataFrame, flags: Sequence[str]) -> pl.DataFrame:
    """Lines that count, with what each speaks for, how often it was asked for again, and the newest attempt at it.

    Of an image the newest line, if it is final. Of a text the newest answer; without one, the newest final line.
    """
    force: list[pl.DataFrame] = []
    for flag in flags or ["all"]:
        some = lines.filter(pl.col(flag)) if flags else lines
        again = some["key"].is_duplicated()
        once = some.filter(~again & pl.col("final"))
        force.append(
            once.select("line", redone=pl.col("redo").cast(pl.UInt32), newest_attempt="attempt").with_columns(
                pl.lit(True).alias(flag)
            )
        )
        some = some.filter(again)
        chosen = pl.col("line").arg_max()
        if flags:
            worth = pl.col("line").cast(pl.Int64) + pl.col("ok").cast(pl.Int64) * 2**40
            chosen = pl.when("final").then(worth).otherwise(-1).arg_max()
        newest = (
            some.group_by("key")
            .agg(
                pl.col("line", "final").get(chosen),
                redone=pl.col("redo").sum().cast(pl.UInt32),
                newest_attempt=pl.col("attempt").get(pl.col("line").arg_max()),
            )
            .filter("final")
        )
        force.append(newest.select("line", "redone", "newest_attempt", pl.lit(True).alias(flag)))
    found = pl.concat(force, how="diagonal")
    return found if len(flags) < 2 else found.group_by("line").agg(pl.all().max())


def _settle(stage: Stage, work: Path, out: Path) -> None:
    """The rows of a stage into `out`: all that `work` has, or those in force where something was asked twice."""
    speaks_for = [f"for_{task}" for task in TASKS] if stage == "metadata" else []
    lines = (
        pl.scan_parquet(work / "attempts" / f"{stage}-*.parquet")
        .select(
            "line",
            "attempt",
            *speaks_for,
            final=pl.col("final").fill_null(False),
            ok=(pl.col("status") == "ok").fill_null(False),
            redo=(pl.col("error") == REDO).fill_null(False),
            key=pl.col("image_id").hash(0),
        )
        .collect()
    )
    force = _in_force(lines, speaks_for)
    final = lines.filter("final")
    told = {flag: int(final[flag].sum()) for flag in speaks_for}
    usual = force.height == final.height and not force["redone"].sum()
    if not usual or any(force[flag].sum() != n for flag, n in told.items()):
        wide = pl.scan_parquet(work / stage).drop(*speaks_for, "redone", "newest_attempt")
        joined = wide.join(force.lazy(), on="line", how="inner", maintain_order="left")
        speaks = [pl.col(flag).fill_null(False) for flag in speaks_for]
        _replace(joined.with_columns(speaks) if speaks else joined.drop("all"), work / stage, work / "in-force")
    shutil.rmtree(out, ignore_errors=True)
    (work / stage).rename(out)


def _replace(rows: pl.LazyFrame, table: Path, scratch: Path) -> None:
    """These rows in place of what the table had."""
    scratch.mkdir()
    rows.sink_parquet(
        scratch / "rows.parquet", compression="zstd", compression_level=1, row_group_size=ROW_GROUP, maintain_order=True
    )
    shutil.rmtree(table)
    scratch.rename(table)


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
    _drop_outdated(tables.prompts, tables.metadata, drawn, work)
    shutil.rmtree(tables.attempts, ignore_errors=True)
    attempts.rename(tables.attempts)
    return tables


def _drawn_before(rows: Path) -> pl.DataFrame:
    """When a picture was first made, of those that were made more than once: a copy of it may have come again."""
    made = (
        pl.scan_parquet(rows).filter(pl.col("status") == "ok").select("image_id", "sha256", "generated_at", "attempt")
    )
    return (
        made.join(made.filter(pl.col("attempt") > 1).select("image_id").unique(), on="image_id", how="semi")
        .group_by("image_id", "sha256")
        .agg(drawn_at=pl.col("generated_at").min())
        .collect(engine="streaming")
    )


def _drop_outdated(prompts: Path, metadata: Path, drawn: pl.DataFrame, work: Path) -> None:
    """Leave out texts that are older than their picture: they speak of one that was made anew since."""
    if not drawn.height:
        return
    anew = pl.scan_parquet(prompts).select("image_id", "sha256").join(drawn.lazy(), on=["image_id", "sha256"])
    older = pl.col("generated_at") < pl.col("drawn_at")
    texts = pl.scan_parquet(metadata)
    outdated = (
        texts.select("image_id", "line", "generated_at")
        .join(anew.select("image_id", "drawn_at"), on="image_id")
        .filter(older)
        .select("line")
        .collect(engine="streaming")
    )
    if outdated.height:
        kept = texts.join(outdated.lazy(), on="line", how="anti", maintain_order="left")
        _replace(kept, metadata, work / "current")
