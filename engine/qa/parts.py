"""Tables of a pass, each a folder of Parquet files of up to 5,000 rows, read a few files at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl

PARTS_AT_ONCE = 4


def each(table: Path, shape: Callable[[pl.LazyFrame], pl.LazyFrame]) -> Iterator[pl.DataFrame]:
    """What a query makes of a table, some parts of it at a time, so that it never is in memory."""
    parts = sorted(table.glob("*.parquet"))
    for first in range(0, len(parts), PARTS_AT_ONCE):
        yield shape(pl.scan_parquet(parts[first : first + PARTS_AT_ONCE])).collect()
