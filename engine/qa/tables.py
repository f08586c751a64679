"""From logs to tables: the lines in force as Parquet, so that each statistic is one streaming polars query.

The newest line of an image counts, if it is final. In metadata mode `separate` one image has a line
per task; the columns `caption_counts`, `labels_count` and so on say which task a line speaks for.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import polars as pl
from msgspec import Struct
from polars.io.plugins import register_io_source

from engine.qa.logs import IMAGE_SCHEMA, METADATA_SCHEMA, Reading, read_frames

TASKS = ("caption", "labels", "comments")
ROW_GROUP = 20_000
PEOPLE = (
    "gender", "age_group", "occupation", "education_level", "area", "household_composition", "women_asked", "men_asked",
)  # fmt: skip
"""Who was asked for: the first person of the prompt's crowd, and how many women and men in all."""
_SOURCE_FIELDS: dict[str, pl.DataType] = {
    "atropia": pl.String(),
    "demographics": pl.String(),
    "visual_reference": pl.String(),
    "theme": pl.String(),
    "setting": pl.String(),
}
_PERSON_FIELDS: dict[str, pl.DataType] = {
    name: pl.String()
    for name in ("gender", "age_group", "occupation", "education_level", "setting", "household_composition", "others")
}
_NEWS_FIELDS: dict[str, pl.DataType] = {"theme": pl.String(), "location": pl.String(), "id": pl.String()}
ATTEMPT_COLUMNS = (
    "line",
    "image_id",
    "index",
    "status",
    "final",
    "attempt",
    "generated_at",
    "latency_s",
    "model",
    "finish_reason",
    "cost_usd",
)


class Tables(Struct, frozen=True):
    """The Parquet files of a pass, and what reading the logs met."""

    prompts: Path
    """One row per image whose job is settled, the newest final line of each."""
    metadata: Path
    """One row per metadata answer in force."""
    attempts: Path
    """One row per log line of both stages, narrow."""
    images_log: Reading
    metadata_log: Reading


def lenient_fields(texts: pl.Series, fields: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """Members of JSON objects as columns; what is no string arrives as its JSON text, null stays null.

    A text that is no proper JSON object gives a row of nulls.
    """
    # A member's text holds no raw newline: JSON escapes them.
    return _fields([t if t and t.startswith("{") else "{}" for t in texts.to_list()], fields)


def _fields(lines: list[str], fields: Mapping[str, pl.DataType]) -> pl.DataFrame:
    if not lines:
        return pl.DataFrame(schema=fields)
    try:
        frame = pl.read_ndjson(io.BytesIO("\n".join(lines).encode("utf-8", "replace")), schema=fields)
        if frame.height == len(lines):
            return frame
    except pl.exceptions.PolarsError:
        pass
    if len(lines) == 1:
        return pl.DataFrame({name: [None] for name in fields}, schema=fields)
    middle = len(lines) // 2
    return pl.concat([_fields(lines[:middle], fields), _fields(lines[middle:], fields)])


def slug(category: str) -> str:
    """A category as a column name, as the metadata stage names its answer's members."""
    return re.sub(r"\W+", "_", category.strip().lower()).strip("_") or "label"


def _with_sources(frame: pl.DataFrame) -> pl.DataFrame:
    source = lenient_fields(frame["source_data"], _SOURCE_FIELDS)
    news = lenient_fields(source["atropia"], _NEWS_FIELDS)
    person = lenient_fields(source["demographics"], _PERSON_FIELDS)
    people = [person["gender"].str.to_lowercase(), person["others"].str.to_lowercase()]
    count = {
        sex: (people[0] == sex).fill_null(False).cast(pl.UInt8)
        + people[1].str.count_matches(f'"gender": ?"{sex}"').fill_null(0).cast(pl.UInt8)
        for sex in ("female", "male")
    }
    return frame.with_columns(
        theme=pl.coalesce(news["theme"], source["theme"]),
        form=source["theme"],
        asked_setting=source["setting"],
        location=news["location"],
        news_id=news["id"],
        gender=people[0],
        age_group=person["age_group"],
        occupation=person["occupation"],
        education_level=person["education_level"],
        area=person["setting"],
        household_composition=person["household_composition"],
        women_asked=count["female"],
        men_asked=count["male"],
    ).drop("source_data")


def _sink(path: Path, frames: Callable[[], Iterator[pl.DataFrame]], schema: dict[str, pl.DataType]) -> None:
    """Frames into one Parquet file, one at a time."""

    def source(
        with_columns: list[str] | None, predicate: pl.Expr | None, n_rows: int | None, batch_size: int | None
    ) -> Iterator[pl.DataFrame]:
        for frame in frames():
            chosen = frame.select(with_columns) if with_columns is not None else frame
            yield chosen.filter(predicate) if predicate is not None else chosen

    register_io_source(io_source=source, schema=schema).sink_parquet(
        path, compression="zstd", compression_level=1, row_group_size=ROW_GROUP, maintain_order=True
    )


def _narrow(frame: pl.DataFrame, stage: str) -> pl.DataFrame:
    extra = [pl.col("theme")] if "theme" in frame.columns else [pl.lit(None, pl.String).alias("theme")]
    return frame.select(
        pl.lit(stage).alias("stage"),
        *ATTEMPT_COLUMNS,
        pl.col("error").struct.field("kind").alias("error"),
        pl.col("usage").struct.field("total_tokens").alias("tokens"),
        *extra,
    )


def _with_labels(frame: pl.DataFrame, categories: Sequence[str]) -> pl.DataFrame:
    """The column `label`: a struct with one member per category asked for, named by its slug."""
    fields = {name: pl.String() for category in categories for name in (category, slug(category))}
    answered = lenient_fields(frame["labels"], fields)
    members = [
        pl.coalesce(*[pl.col(n) for n in dict.fromkeys((slug(category), category))]).alias(slug(category))
        for category in categories
    ]
    struct = answered.select(pl.struct(members).alias("label")) if members else None
    return frame if struct is None else frame.with_columns(struct["label"])


def _image_row(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.select(
        "line", "image_id", "index", "job", "status", "attempt", "generated_at", "latency_s", "model",
        "finish_reason", "cost_usd", "adopted",
        pl.col("error").struct.field("kind").alias("error"),
        pl.col("error").struct.field("message").alias("error_message"),
        "prompt", "theme", "form", "asked_setting", "location", "news_id", *PEOPLE,
        "style", "complexity", "aspect_ratio", "resolution",
        pl.col("asset").struct.field("path", "sha256", "size_bytes", "mime_type", "width", "height"),
    )  # fmt: skip


def _metadata_row(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.select(
        "line", "image_id", "index", "job", "status", "attempt", "model", "tasks",
        pl.col("error").struct.field("kind").alias("error"),
        "caption", "captions", "comments", "labels", "label",
        *[_speaks(task).alias(f"for_{task}") for task in TASKS],
    )  # fmt: skip


def _speaks(task: str) -> pl.Expr:
    return pl.col("tasks").list.contains(task).fill_null(False)


def _in_force(lines: pl.DataFrame, flags: Sequence[str]) -> pl.DataFrame:
    """Lines that are the newest of their image (and task) and final, with what each speaks for.

    A line that is not final and comes after a final one reopens the job: then nothing is in force.
    """
    force: pl.DataFrame | None = None
    for flag in flags or ["all"]:
        some = lines.filter(pl.col(flag)) if flags else lines
        newest = some.group_by("key").agg(pl.all().get(pl.col("line").arg_max())).filter("final")
        one = newest.select("line", pl.lit(True).alias(flag))
        force = one if force is None else force.join(one, on="line", how="full", coalesce=True)
    assert force is not None
    return force


def _settle(
    log: Path,
    schema: dict[str, pl.DataType],
    stage: str,
    prepare: Callable[[pl.DataFrame], pl.DataFrame],
    row: Callable[[pl.DataFrame], pl.DataFrame],
    tasks: Sequence[str],
    work: Path,
    out: Path,
    tick: Callable[[int], None],
) -> Reading:
    """One pass over a log: every line narrow into `work`, the final ones in force wide into `out`."""
    reading = Reading()
    keys: list[pl.DataFrame] = []
    empty = prepare(pl.DataFrame(schema={**schema, "line": pl.UInt32()}))

    def frames() -> Iterator[pl.DataFrame]:
        for part, raw in enumerate(read_frames(log, schema, reading)):
            frame = prepare(raw)
            _narrow(frame, stage).write_parquet(work / f"attempts-{stage}-{part:06d}.parquet", compression="lz4")
            final = pl.col("final").fill_null(False)
            keys.append(
                frame.select(
                    "line",
                    final.alias("final"),
                    pl.col("image_id").hash(0).alias("key"),
                    *[_speaks(task).alias(f"for_{task}") for task in tasks],
                )
            )
            tick(reading.lines)
            yield row(frame.filter(final))

    all_final = work / f"{stage}.parquet"
    _sink(all_final, frames, dict(row(empty).schema))
    _narrow(empty, stage).write_parquet(work / f"attempts-{stage}-none.parquet")
    if not keys:
        all_final.replace(out)
        return reading
    lines = pl.concat(keys)
    force = _in_force(lines, [f"for_{task}" for task in tasks])
    final = lines.filter("final")
    told = {f"for_{task}": int(final[f"for_{task}"].sum()) for task in tasks}
    if force.height == final.height and all(force[flag].sum() == n for flag, n in told.items()):
        all_final.replace(out)  # the usual case: nothing was asked twice, nothing to leave out
        return reading
    speaks_for = [f"for_{task}" for task in tasks]
    wide = pl.scan_parquet(all_final).drop(speaks_for)
    joined = wide.join(force.lazy(), on="line", how="inner", maintain_order="left")
    told = [pl.col(flag).fill_null(False) for flag in speaks_for]
    joined = joined.with_columns(told) if told else joined.drop("all")
    joined.sink_parquet(out, compression="zstd", compression_level=1, row_group_size=ROW_GROUP, maintain_order=True)
    return reading


def build_tables(
    images_log: Path,
    metadata_log: Path,
    categories: Sequence[str],
    *,
    work: Path,
    out: Path,
    tick: Callable[[str, int], None] = lambda stage, lines: None,
) -> Tables:
    """Read both logs once; write prompts, metadata and attempts under `out`. `work` is scratch the caller empties."""
    prompts, metadata, attempts = out / "prompts.parquet", out / "metadata.parquet", out / "attempts.parquet"
    images_reading = _settle(
        images_log, IMAGE_SCHEMA, "image", _with_sources, _image_row, (), work, prompts,
        lambda lines: tick("image", lines),
    )  # fmt: skip
    metadata_reading = _settle(
        metadata_log, METADATA_SCHEMA, "metadata", lambda f: _with_labels(f, categories), _metadata_row,
        TASKS, work, metadata,
        lambda lines: tick("metadata", lines),
    )  # fmt: skip
    pl.scan_parquet(sorted(work.glob("attempts-*.parquet"))).sink_parquet(
        attempts, compression="zstd", compression_level=1, row_group_size=ROW_GROUP
    )
    return Tables(
        prompts=prompts, metadata=metadata, attempts=attempts, images_log=images_reading, metadata_log=metadata_reading
    )
