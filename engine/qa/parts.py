"""Tables of a pass, each a folder of Parquet files of up to 5,000 rows, read a few files at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import polars as pl

PARTS_AT_ONCE = 4
TOTALS_WAITING = 200_000
"""Rows that are added up together."""


def each(table: Path, shape: Callable[[pl.LazyFrame], pl.LazyFrame]) -> Iterator[pl.DataFrame]:
    """What a query makes of a table, some parts of it at a time, so that it never is in memory."""
    parts = sorted(table.glob("*.parquet"))
    for first in range(0, len(parts), PARTS_AT_ONCE):
        yield shape(pl.scan_parquet(parts[first : first + PARTS_AT_ONCE])).collect()


def few(frames: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """The frames as one, each with texts of its own.

    A few rows of many hold on to the texts of all, so that a frame that is kept must not be what a filter leaves.
    """
    return pl.concat(pl.DataFrame(frame.to_dict(as_series=False), schema=frame.schema) for frame in frames)


def totals(frames: Iterable[pl.DataFrame], by: str) -> pl.DataFrame:
    """Numbers added up by a column, over frames that have them; in order."""
    waiting: list[pl.DataFrame] = []
    for some in frames:
        waiting.append(some)
        if sum(frame.height for frame in waiting[1:]) > TOTALS_WAITING:
            waiting = [_added(waiting, by)]
    return _added(waiting, by).sort(by)


def _added(frames: list[pl.DataFrame], by: str) -> pl.DataFrame:
    return pl.concat(frames).group_by(by).sum()
