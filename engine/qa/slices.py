"""Tables that are never held whole: written as they come, in files of a bounded number of rows, read one at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from msgspec import Struct
from numpy.typing import NDArray
from polars.io.plugins import register_io_source

SLICE_ROWS = 20_000


class Slices(Struct, frozen=True):
    """A table as Parquet files, its rows counted over all of them in order."""

    parts: list[Path]
    edges: list[int]
    """Where each part begins, and where the last one ends."""

    @property
    def height(self) -> int:
        return self.edges[-1]

    def frames(self, *columns: str) -> Iterator[tuple[int, pl.DataFrame]]:
        """Each part with the number of its first row; these columns of it, or all."""
        for part, edge in zip(self.parts, self.edges, strict=False):
            yield edge, pl.read_parquet(part, columns=[*columns] or None)

    def at(self, rows: NDArray[Any], *columns: str) -> Iterator[tuple[NDArray[np.intp], pl.DataFrame]]:
        """Columns at these rows, a part at a time: which of `rows`, and their values."""
        order = np.argsort(rows, kind="stable")
        cuts = np.searchsorted(rows, self.edges, sorter=order)
        for part, edge, (first, last) in zip(self.parts, self.edges, pairwise(cuts), strict=False):
            if last > first:
                which = order[first:last]
                found = pl.read_parquet(part, columns=[*columns])
                yield which, found.select(pl.all().gather((rows[which] - edge).astype(np.uint32)))

    def lazy(self) -> pl.LazyFrame:
        """The table for a query. It has at least one part."""
        return pl.scan_parquet(self.parts)


def slices_of(parts: list[Path]) -> Slices:
    """The table that these files make up."""
    heights = (pl.scan_parquet(part).select(pl.len()).collect().item() for part in parts)
    return Slices(parts, [*accumulate(heights, initial=0)])


def write_slices(frames: Iterable[pl.DataFrame], folder: Path) -> Slices:
    """Each frame as a part of a table in this new folder."""
    folder.mkdir()
    parts: list[Path] = []
    edges = [0]
    for frame in frames:
        part = folder / f"part-{len(parts):06d}.parquet"
        frame.write_parquet(part, compression="zstd", compression_level=1, statistics=False)
        parts.append(part)
        edges.append(edges[-1] + frame.height)
    return Slices(parts, edges)


def write_table(frames: Iterator[pl.DataFrame], schema: pl.Schema, path: Path, row_group: int) -> None:
    """All frames, one after the other, as one Parquet file."""

    def source(
        columns: list[str] | None, predicate: pl.Expr | None, rows: int | None, batch_rows: int | None
    ) -> Iterator[pl.DataFrame]:
        assert columns is None
        assert predicate is None
        assert rows is None
        return frames

    write_lazy(register_io_source(source, schema=schema), path, row_group)


def write_lazy(rows: pl.LazyFrame, path: Path, row_group: int) -> None:
    """What a query gives as one Parquet file, in order, without holding it."""
    rows.sink_parquet(path, compression="zstd", row_group_size=row_group, maintain_order=True)
