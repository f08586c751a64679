"""The pictures of a run in its order, from what the logs say to what was found of each: always some at a time."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl

from engine.qa import cache
from engine.qa.judge import Thresholds, flag_pictures, usual_side
from engine.qa.scan import Seen
from engine.qa.slices import SLICE_ROWS, Slices, write_slices

_RECORD = (
    "image_id", "index", "job", "path", "sha256", "size_bytes", "mime_type", "width", "height", "aspect_ratio",
    "newest_attempt", "redone",
)  # fmt: skip


def in_order(prompts: Path) -> Iterator[pl.DataFrame]:
    """The records of pictures that are there, by index, some at a time, at least one frame.

    The log has them nearly in order, so each part of the table is read about once.
    """
    there = (pl.col("status") == "ok") & pl.col("path").is_not_null()
    part = "part"
    found = pl.scan_parquet(prompts, include_file_paths=part).filter(there)
    spans = found.group_by(part).agg(low=pl.col("index").min(), high=pl.col("index").max()).collect(engine="streaming")
    index = found.select("index").collect(engine="streaming")["index"].sort()
    numbers = index.drop_nulls().to_numpy()
    cuts = [*np.unique(numbers[::SLICE_ROWS]).tolist(), *(numbers[-1:] + 1).tolist()]

    def records(where: list[str] | Path, which: pl.Expr) -> pl.DataFrame:
        some = pl.scan_parquet(where).filter(there & which)
        some = some.select(*_RECORD, prompt_chars=pl.col("prompt_size").struct.field("chars"))
        return some.collect(engine="streaming").sort("index", "image_id")

    if index.null_count() or not len(numbers):
        yield records(prompts, pl.col("index").is_null())
    for low, high in pairwise(cuts):
        parts = spans.filter((pl.col("low") < high) & (pl.col("high") >= low))[part].sort().to_list()
        yield records(parts, (pl.col("index") >= low) & (pl.col("index") < high))


def judged(seen: Seen, limits: Thresholds, folder: Path) -> Slices:
    """What was found of each picture, beside its record, and the `flags` that follow from both; in a new folder."""
    usual_px = usual_side(cache.light(seen.looks, seen.places, "width_found", "height_found"))

    def frames() -> Iterator[pl.DataFrame]:
        for first, records in seen.pictures.frames():
            found = cache.light(seen.looks, seen.places[first : first + records.height])
            yield flag_pictures(records.hstack(found), limits, usual_px)

    return write_slices(frames(), folder)


def prints(pictures: Slices, seen: Seen) -> pl.DataFrame:
    """Of each picture that was decoded: its number and all in numbers that the search for duplicates has to hold.

    row, place in the cache, phash, digest (of a whole file whose digest is known), blank, and how many flags it has.
    """
    whole = pl.col("sha256").is_not_null() & (pl.col("integrity").list.len() == 0)
    narrow: list[pl.DataFrame] = []
    for first, frame in pictures.frames("sha256", "integrity", "phash", "flags"):
        narrow.append(
            frame.select(
                pl.int_range(first, first + pl.len(), dtype=pl.UInt32).alias("row"),
                pl.Series("place", seen.places[first : first + frame.height]),
                "phash",
                digest=pl.when(whole).then(pl.col("sha256").hash(0)),
                blank=pl.col("flags").list.contains("blank"),
                faults=pl.col("flags").list.len().cast(pl.UInt8),
            ).filter(pl.col("phash").is_not_null())
        )
    return pl.concat(narrow, rechunk=True)
