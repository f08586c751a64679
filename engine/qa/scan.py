"""Looking at every picture once: all cores, a cache that survives interruption, memory that stays flat.

Many pictures are looked at in processes beside this one, few in threads: decoders release the interpreter's lock, what
is measured of a picture does not, and a process takes half a second to start. Looks are
kept in `qa/looks/part-*.parquet`, appended a part at a time. A picture whose path, recorded digest, size and
modification time did not change is not read again; an interrupted pass goes on where it stopped.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import msgspec
import polars as pl

from engine.qa.look import COLUMNS, LOOK, Expected, Look, look_at
from engine.qa.lookers import Item, Key, looks_beside
from engine.store.beside import cores

PART_ROWS = 2_000
IN_FLIGHT_PER_THREAD = 4
"""Bounds the pictures held in memory."""
BESIDE_FROM = 1_000
"""Pictures. The start of processes takes 0.6 s, which some 700 PNG of 1024 x 1024 px win back."""
_KEY = ("path", "sha256", "file_bytes", "file_mtime_ns")
_PART_SCHEMA: dict[str, pl.DataType] = {
    "look": pl.String(),
    "path": pl.String(),
    "sha256": pl.String(),
    "file_bytes": pl.Int64(),
    "file_mtime_ns": pl.Int64(),
    **COLUMNS,
}
HEAVY = ("variants", "thumb")
"""Columns that are read only for what needs them."""


def _stamps(root: Path, paths: list[str]) -> tuple[list[int], list[int]]:
    """Size and modification time of each file; -1 where there is none."""
    sizes: list[int] = []
    times: list[int] = []
    base = str(root)
    for path in paths:
        try:
            found = os.stat(f"{base}/{path}")  # noqa: PTH116  a Path per file costs more than the call
            sizes.append(found.st_size)
            times.append(found.st_mtime_ns)
        except OSError:
            sizes.append(-1)
            times.append(-1)
    return sizes, times


def _parts(folder: Path) -> list[Path]:
    """The parts of the cache that can be read; one that cannot is removed, its pictures are looked at again."""
    good: list[Path] = []
    for part in sorted(folder.glob("part-*.parquet")):
        try:
            schema = pl.read_parquet_schema(part)
        except (pl.exceptions.PolarsError, OSError):
            schema = {}
        if dict(schema) == _PART_SCHEMA:
            good.append(part)
        else:
            part.unlink(missing_ok=True)
    return good


def _cached(folder: Path) -> pl.LazyFrame:
    parts = _parts(folder)
    return pl.scan_parquet(parts) if parts else pl.LazyFrame(schema=_PART_SCHEMA)


def _write_part(folder: Path, rows: list[tuple[Key, Look]]) -> None:
    columns: dict[str, list[object]] = {name: [] for name in _PART_SCHEMA}
    for key, look in rows:
        values = {"look": LOOK, **key, **msgspec.structs.asdict(look)}
        for name, column in columns.items():
            column.append(values[name])
    number = max((int(p.stem.removeprefix("part-")) for p in folder.glob("part-*.parquet")), default=0) + 1
    part = folder / f"part-{number:06d}.parquet"
    temporary = part.with_suffix(".tmp")
    pl.DataFrame(columns, schema=_PART_SCHEMA).write_parquet(temporary, compression="zstd", compression_level=1)
    temporary.replace(part)


def _items(todo: pl.DataFrame) -> Iterator[Item]:
    for row in todo.iter_rows(named=True):
        expected = Expected(
            row["path"], row["sha256"], row["size_bytes"], row["mime_type"], row["width"], row["height"]
        )
        yield {name: row[name] for name in _KEY}, expected


def _looks(root: Path, todo: pl.DataFrame, cores: int) -> Iterator[tuple[Key, Look]]:
    """Looks, with a bounded number of pictures in memory."""
    items = _items(todo)
    if todo.height >= BESIDE_FROM:
        items = yield from looks_beside(root, items, cores)
    yield from _in_threads(root, items, cores)


def _in_threads(root: Path, items: Iterator[Item], threads: int) -> Iterator[tuple[Key, Look]]:
    waiting: deque[tuple[Key, Future[Look]]] = deque()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="qa-look")
    try:
        for key, expected in items:
            waiting.append((key, pool.submit(look_at, root, expected)))
            if len(waiting) >= threads * IN_FLIGHT_PER_THREAD:
                done_key, future = waiting.popleft()
                yield done_key, future.result()
        while waiting:
            done_key, future = waiting.popleft()
            yield done_key, future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def scan_pictures(
    root: Path,
    records: pl.DataFrame,
    folder: Path,
    *,
    threads: int | None = None,
    recheck: bool = False,
    tick: Callable[[int, int], None] = lambda done, total: None,
) -> pl.DataFrame:
    """One row per record with what was found, without the `HEAVY` columns.

    `records` has path, sha256, size_bytes, mime_type, width and height; `folder` is the cache. Interrupting
    keeps the looks that are done.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if recheck:
        for part in folder.glob("part-*.parquet"):
            part.unlink()
    sizes, times = _stamps(root, records["path"].to_list())
    records = records.with_columns(
        file_bytes=pl.Series(sizes, dtype=pl.Int64), file_mtime_ns=pl.Series(times, dtype=pl.Int64)
    )
    known = _cached(folder).filter(pl.col("look") == LOOK).select(_KEY).collect(engine="streaming")
    todo = records.join(known, on=_KEY, how="anti", nulls_equal=True, maintain_order="left")
    total, done = records.height, records.height - todo.height
    tick(done, total)
    rows: list[tuple[Key, Look]] = []
    try:
        for row in _looks(root, todo, threads or cores()):
            rows.append(row)
            done += 1
            tick(done, total)
            if len(rows) >= PART_ROWS:
                _write_part(folder, rows)
                rows = []
    finally:
        if rows:
            _write_part(folder, rows)
    light = _cached(folder).filter(pl.col("look") == LOOK).drop("look", *HEAVY).unique(_KEY, keep="last")
    found = records.join(
        light.collect(engine="streaming"), on=_KEY, how="left", nulls_equal=True, maintain_order="left"
    )
    _shed(folder, found)
    return found


def strangers(root: Path, records: pl.DataFrame) -> list[str]:
    """Files under images/ that no record in force names, relative to the run. They are nobody's business here."""
    known = set(records["path"])
    found: list[str] = []
    for folder, _, names in os.walk(root / "images"):
        inside = Path(folder).relative_to(root).as_posix()
        found += [path for name in names if (path := f"{inside}/{name}") not in known]
    return sorted(found)


def _shed(folder: Path, found: pl.DataFrame) -> None:
    """Rewrite the cache once more than half of it speaks of pictures that are no longer there."""
    rows = _cached(folder).select(pl.len()).collect().item()
    if rows <= 2 * found.height + PART_ROWS:
        return
    parts = _parts(folder)
    live = found.select(_KEY).lazy()
    fresh = folder / f"part-{int(parts[-1].stem.removeprefix('part-')) + 1:06d}.parquet"
    temporary = fresh.with_suffix(".tmp")
    current = _cached(folder).filter(pl.col("look") == LOOK)
    current.join(live, on=_KEY, how="semi", nulls_equal=True).sink_parquet(temporary)
    temporary.replace(fresh)
    for part in parts:
        part.unlink()


def heavy_columns(folder: Path, found: pl.DataFrame, columns: tuple[str, ...]) -> pl.DataFrame:
    """`HEAVY` columns for these rows of `scan_pictures`, in their order."""
    wanted = found.select(_KEY)
    some = (
        _cached(folder)
        .filter(pl.col("look") == LOOK)
        .select(*_KEY, *columns)
        .join(wanted.lazy(), on=_KEY, how="semi", nulls_equal=True)
        .collect(engine="streaming")
        .unique(_KEY, keep="last")
    )
    return wanted.join(some, on=_KEY, how="left", nulls_equal=True, maintain_order="left").select(columns)
