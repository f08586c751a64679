"""What was seen of each picture, kept in `qa/looks/part-*.parquet`, so that it is looked at once.

A part has a bounded number of rows and is never changed, so memory stays flat however many there are: keys are numbers,
what is wide is read a part at a time. A row is found again by its place, counted over all parts in their order.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.qa.look import COLUMNS, LOOK, Look

PART_ROWS = 2_000
PARTS_SPARE = 64
"""Short parts, of interrupted passes or of a run that grows, before they are put together."""
KEY = ("path", "sha256", "file_bytes", "file_mtime_ns")
"""What must not change for a look to hold."""
HEAVY = ("variants", "thumb")
"""Columns that are read only for what needs them."""
_SCHEMA: dict[str, pl.DataType] = {
    "look": pl.String(),
    "path": pl.String(),
    "sha256": pl.String(),
    "file_bytes": pl.Int64(),
    "file_mtime_ns": pl.Int64(),
    **COLUMNS,
}
_LIGHT = [name for name in COLUMNS if name not in HEAVY]
_NUMBER = pl.struct(KEY).hash(0)
"""The key as 64 bits: that two of a million pictures share it happens once in ten million passes."""


def clear(folder: Path) -> None:
    """Forget all looks."""
    for part in folder.glob("part-*.parquet"):
        part.unlink()


def keep(folder: Path, rows: list[tuple[dict[str, object], Look]]) -> None:
    """Add looks, each with its `KEY`, as one part."""
    columns: dict[str, list[object]] = {name: [] for name in _SCHEMA}
    for key, look in rows:
        values = {"look": LOOK, **key, **msgspec.structs.asdict(look)}
        for name, column in columns.items():
            column.append(values[name])
    _put(folder, pl.DataFrame(columns, schema=_SCHEMA))


def _put(folder: Path, rows: pl.DataFrame) -> None:
    number = max((int(p.stem.removeprefix("part-")) for p in folder.glob("part-*.parquet")), default=0) + 1
    part = folder / f"part-{number:06d}.parquet"
    temporary = part.with_suffix(".tmp")
    rows.write_parquet(temporary, compression="zstd", compression_level=1)
    temporary.replace(part)


def parts_of(folder: Path) -> list[Path]:
    """The parts that can be read, in order; one that cannot is removed, its pictures are looked at again.

    Places hold for this list: the names of parts that another pass removes are not used again.
    """
    good: list[Path] = []
    for part in sorted(folder.glob("part-*.parquet")):
        try:
            schema = pl.read_parquet_schema(part)
        except (pl.exceptions.PolarsError, OSError):
            schema = {}
        if dict(schema) == _SCHEMA:
            good.append(part)
        else:
            part.unlink(missing_ok=True)
    return good


def _rows(parts: list[Path]) -> pl.LazyFrame:
    return pl.scan_parquet(parts) if parts else pl.LazyFrame(schema=_SCHEMA)


def places(parts: list[Path], records: pl.DataFrame) -> pl.Series:
    """Where the newest look at each of these is, null where there is none. `records` has the columns `KEY`."""
    newest = (
        _rows(parts)
        .with_row_index("place")
        .filter(pl.col("look") == LOOK)
        .select("place", number=_NUMBER)
        .collect(engine="streaming")
        .group_by("number")
        .agg(pl.col("place").max())
    )
    return records.select(number=_NUMBER).join(newest, on="number", how="left", maintain_order="left")["place"]


def light(parts: list[Path], where: pl.Series) -> pl.DataFrame:
    """What was found at these places, without the `HEAVY` columns; nulls where the place is null."""
    return _rows(parts).select(_LIGHT).collect(engine="streaming").select(pl.all().gather(where))


def heavy(parts: list[Path], where: NDArray[np.uint32], column: str) -> Iterator[tuple[NDArray[np.intp], pl.Series]]:
    """A `HEAVY` column at these places, a part at a time: which of them, and their values."""
    order = np.argsort(where, kind="stable")
    heights = [pl.scan_parquet(part).select(pl.len()).collect().item() for part in parts]
    edges = [0, *accumulate(heights)]
    cuts = np.searchsorted(where[order], edges)
    for part, edge, first, last in zip(parts, edges, cuts[:-1], cuts[1:], strict=False):
        if last > first:
            which = order[first:last]
            yield which, pl.read_parquet(part, columns=[column])[column].gather(where[which] - np.uint32(edge))


def tidy(folder: Path, records: pl.DataFrame) -> None:
    """Write the parts anew once most of what they hold is of no use for these records, or many of them are short."""
    parts = parts_of(folder)
    rows = int(_rows(parts).select(pl.len()).collect().item())
    if rows <= 2 * records.height + PART_ROWS and len(parts) <= 2 * (rows // PART_ROWS) + PARTS_SPARE:
        return
    used = records.select(number=_NUMBER)
    waiting: list[pl.DataFrame] = []
    for part in parts:
        some = pl.read_parquet(part).filter(pl.col("look") == LOOK).with_columns(number=_NUMBER)
        waiting.append(some.join(used, on="number", how="semi", maintain_order="left").drop("number"))
        if sum(frame.height for frame in waiting) >= PART_ROWS:
            _put(folder, pl.concat(waiting))
            waiting = []
    if any(frame.height for frame in waiting):
        _put(folder, pl.concat(waiting))
    for part in parts:
        part.unlink()
