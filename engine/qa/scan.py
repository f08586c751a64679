"""Looking at every picture once: all cores, a cache that survives interruption, memory that stays flat.

Many pictures are looked at in processes beside this one, few in threads: decoders release the interpreter's lock, what
is measured of a picture does not, and a process takes half a second to start. A picture whose path, recorded digest,
size and modification time did not change is not read again (`cache`); an interrupted pass goes on where it stopped.
"""

from __future__ import annotations

import contextlib
import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import polars as pl
from msgspec import Struct
from numpy.typing import NDArray

from engine.qa import cache
from engine.qa.look import Expected, Look, look_at
from engine.qa.lookers import Item, Key, looks_beside
from engine.store.cores import cores

AT_ONCE = 10_000
"""Paths held as texts of Python."""
IN_FLIGHT_PER_THREAD = 4
"""Bounds the pictures held in memory."""
BESIDE_FROM = 1_000
"""Pictures. The start of processes takes 0.6 s, which some 700 PNG of 1024 x 1024 px win back."""


class Seen(Struct, frozen=True):
    """What a scan found."""

    pictures: pl.DataFrame
    """One row per record with what was found, and its `place` in the cache, where the wide columns are."""
    parts: list[Path]
    """The cache."""


def _stamps(root: Path, paths: pl.Series) -> NDArray[np.int64]:
    """Sizes and modification times of the files; -1 where there is none."""
    stamps = np.full((2, len(paths)), -1, np.int64)
    base = str(root)
    for some in range(0, len(paths), AT_ONCE):
        for at, path in enumerate(paths.slice(some, AT_ONCE).to_list(), start=some):
            with contextlib.suppress(OSError):
                found = os.stat(f"{base}/{path}")  # noqa: PTH116  a Path per file costs more than the call
                stamps[0, at], stamps[1, at] = found.st_size, found.st_mtime_ns
    return stamps


def _items(todo: pl.DataFrame) -> Iterator[Item]:
    for row in todo.iter_rows(named=True):
        expected = Expected(
            row["path"], row["sha256"], row["size_bytes"], row["mime_type"], row["width"], row["height"]
        )
        yield {name: row[name] for name in cache.KEY}, expected


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
) -> Seen:
    """Look at what was not looked at yet.

    `records` has path, sha256, size_bytes, mime_type, width and height; `folder` is the cache. Interrupting
    keeps the looks that are done.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if recheck:
        cache.clear(folder)
    sizes, times = _stamps(root, records["path"])
    records = records.with_columns(file_bytes=pl.Series(sizes), file_mtime_ns=pl.Series(times))
    cache.tidy(folder, records)
    todo = records.filter(cache.places(cache.parts_of(folder), records).is_null())
    total, done = records.height, records.height - todo.height
    tick(done, total)
    rows: list[tuple[Key, Look]] = []
    try:
        for row in _looks(root, todo, threads or cores()):
            rows.append(row)
            done += 1
            tick(done, total)
            if len(rows) >= cache.PART_ROWS:
                cache.keep(folder, rows)
                rows = []
    finally:
        if rows:
            cache.keep(folder, rows)
    parts = cache.parts_of(folder)
    where = cache.places(parts, records)
    return Seen(records.with_columns(where).hstack(cache.light(parts, where)), parts)


def strangers(root: Path, records: pl.DataFrame) -> list[str]:
    """Files under images/ that no record in force names, relative to the run. They are nobody's business here."""
    known = np.sort(records["path"].hash(0).to_numpy())
    found: list[str] = []
    for folder, _, names in os.walk(root / "images"):
        inside = Path(folder).relative_to(root).as_posix()
        paths = pl.Series([f"{inside}/{name}" for name in names], dtype=pl.String)
        numbers = paths.hash(0).to_numpy()
        foreign = np.searchsorted(known, numbers, "left") == np.searchsorted(known, numbers, "right")
        found += paths.filter(pl.Series(foreign, dtype=pl.Boolean)).to_list()
    return sorted(found)
