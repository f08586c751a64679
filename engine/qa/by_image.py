"""What is known of each image, in numbers, found by its id: two tables are told together without a join of texts.

A join holds one table whole, texts and all. Here one side is a few bytes per image, the other comes some at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
from msgspec import Struct
from numpy.typing import NDArray

from engine.qa.parts import each

KEY = pl.col("image_id").hash(0).alias("key")
"""The id as 64 bits: that two of a million images share it happens once in forty million runs."""


class ByImage(Struct, frozen=True):
    """Columns of numbers, a row per image."""

    keys: NDArray[np.uint64]
    """In order."""
    columns: pl.DataFrame

    def beside(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Those of the rows, which have a `key`, whose image is known; with what is known of it."""
        at, known = self._find(rows)
        some = rows.filter(pl.Series(known, dtype=pl.Boolean)).drop("key")
        return some.hstack(self.columns.select(pl.all().gather(at[known])))

    def if_known(self, rows: pl.DataFrame) -> pl.DataFrame:
        """What is known of each row's image, nulls where nothing is."""
        at, known = self._find(rows)
        places = pl.select(pl.when(pl.Series(known, dtype=pl.Boolean)).then(pl.Series(at))).to_series()
        return self.columns.select(pl.all().gather(places))

    def _find(self, rows: pl.DataFrame) -> tuple[NDArray[np.uint32], NDArray[np.bool_]]:
        wanted = rows["key"].to_numpy()
        at = np.searchsorted(self.keys, wanted)
        known = at < len(self.keys)
        known[known] = self.keys[at[known]] == wanted[known]
        return at.astype(np.uint32), known


def by_image(table: Path, shape: Callable[[pl.LazyFrame], pl.LazyFrame]) -> ByImage:
    """What `shape` makes of a table: `key` and columns of numbers, one row per image."""
    rows = pl.concat(each(table, shape), rechunk=True).sort("key")
    return ByImage(rows["key"].to_numpy(), rows.drop("key"))
