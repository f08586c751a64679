"""What was seen of each picture, kept in `qa/looks/part-*.parquet`, so that it is looked at once.

A part has a bounded number of rows and is never changed, so memory stays flat however many there are: keys are numbers,
all else is read a part at a time. A row is found again by its place, counted over all parts in their order.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.qa.look import COLUMNS, LOOK, Look
from engine.qa.slices import Slices, slices_of

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
LIGHT = [name for name in COLUMNS if name not in HEAVY]
_NUMBER = pl.struct(KEY).hash(0)
"""The key as 64 bits: that two of a million pictures share it happens once in ten million passes."""
NOWHERE = np.uint32(2**32 - 1)
"""The place of a picture that was not looked at."""


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


def looks(folder: Path) -> Slices:
    """All that is kept."""
    return slices_of(parts_of(folder))


def numbers(rows: pl.DataFrame) -> NDArray[np.uint64]:
    """What these rows, which have the columns `KEY`, are found by."""
    return rows.select(number=_NUMBER)["number"].to_numpy()


def places(kept: Slices, wanted: NDArray[np.uint64]) -> NDArray[np.uint32]:
    """Where the newest look at each of these is, by their `numbers`; `NOWHERE` where there is none."""
    found: list[NDArray[np.uint64]] = []
    where: list[NDArray[np.uint32]] = []
    for edge, rows in kept.frames("look", *KEY):
        valid = (rows["look"] == LOOK).to_numpy()
        found.append(numbers(rows)[valid])
        where.append((np.flatnonzero(valid) + edge).astype(np.uint32))
    if not found:
        return np.full(len(wanted), NOWHERE)
    known, place = np.concatenate(found), np.concatenate(where)
    order = np.argsort(known, kind="stable")  # the newest of equal ones comes last
    known, place = known[order], place[order]
    if not len(known):
        return np.full(len(wanted), NOWHERE)
    last = np.searchsorted(known, wanted, side="right") - 1
    return np.where((last >= 0) & (known[last] == wanted), place[last], NOWHERE)


def light(kept: Slices, where: NDArray[np.uint32], *columns: str) -> pl.DataFrame:
    """What was found at these places, without the `HEAVY` columns, or these columns of it; nulls for `NOWHERE`."""
    names = [*columns] or LIGHT
    some = np.flatnonzero(where != NOWHERE)
    which: list[NDArray[np.intp]] = [np.flatnonzero(where == NOWHERE)]
    found = [pl.DataFrame(schema={name: COLUMNS[name] for name in names}).clear(len(which[0]))]
    for these, frame in kept.at(where[some], *names):
        which.append(some[these])
        found.append(frame)
    return pl.concat(found).select(pl.all().gather(np.argsort(np.concatenate(which))))


def tidy(folder: Path, used: NDArray[np.uint64]) -> None:
    """Write the parts anew once most of what they hold is of no use, or many of them are short.

    Of use are the looks with these `numbers`.
    """
    kept = looks(folder)
    parts, rows = kept.parts, kept.height
    if rows <= 2 * len(used) + PART_ROWS and len(parts) <= 2 * (rows // PART_ROWS) + PARTS_SPARE:
        return
    used = np.sort(used)
    waiting: list[pl.DataFrame] = []
    for part in parts:
        some = pl.read_parquet(part).filter(pl.col("look") == LOOK)
        number = numbers(some)
        known = np.searchsorted(used, number, "left") != np.searchsorted(used, number, "right")
        waiting.append(some.filter(pl.Series(known, dtype=pl.Boolean)))
        if sum(frame.height for frame in waiting) >= PART_ROWS:
            _put(folder, pl.concat(waiting))
            waiting = []
    if any(frame.height for frame in waiting):
        _put(folder, pl.concat(waiting))
    for part in parts:
        part.unlink()
