"""Looking at every picture once: all cores, a cache that survives interruption, memory that stays flat.

Many pictures are looked at in processes beside this one, few in threads: decoders release the interpreter's lock, what
is measured of a picture does not, and a process takes half a second to start. A picture whose path, recorded digest,
size and modification time did not change is not read again (`cache`); an interrupted pass goes on where it stopped.
"""

from __future__ import annotations

import contextlib
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import polars as pl
from msgspec import Struct
from numpy.typing import NDArray

from engine.qa import cache
from engine.qa.look import Expected, Look, look_at
from engine.qa.lookers import Item, Key, looks_beside
from engine.qa.slices import Slices, write_slices
from engine.store.cores import cores

IN_FLIGHT_PER_THREAD = 4
"""Bounds the pictures held in memory."""
BESIDE_FROM = 1_000
"""Pictures. The start of processes takes 0.6 s, which some 700 PNG of 1024 x 1024 px win back."""


class Seen(Struct, frozen=True):
    """What a scan found."""

    pictures: Slices
    """The records, with what was found of their files: `file_bytes` and `file_mtime_ns`."""
    looks: Slices
    """The cache."""
    places: NDArray[np.uint32]
    """Where in it the look at each picture is."""


def _stamped(root: Path, records: pl.DataFrame) -> pl.DataFrame:
    """Records with sizes and modification times of their files; -1 where there is none."""
    stamps = np.full((2, records.height), -1, np.int64)
    base = str(root)
    for at, path in enumerate(records["path"].to_list()):
        with contextlib.suppress(OSError):
            found = os.stat(f"{base}/{path}")  # noqa: PTH116  a Path per file costs more than the call
            stamps[0, at], stamps[1, at] = found.st_size, found.st_mtime_ns
    return records.with_columns(file_bytes=pl.Series(stamps[0]), file_mtime_ns=pl.Series(stamps[1]))


def _items(pictures: Slices, todo: NDArray[np.bool_]) -> Iterator[Item]:
    for first, frame in pictures.frames():
        some = frame.filter(pl.Series(todo[first : first + frame.height], dtype=pl.Boolean))
        for row in some.iter_rows(named=True):
            expected = Expected(
                row["path"], row["sha256"], row["size_bytes"], row["mime_type"], row["width"], row["height"]
            )
            yield {name: row[name] for name in cache.KEY}, expected


def _looks(root: Path, items: Iterator[Item], count: int, cores: int) -> Iterator[tuple[Key, Look]]:
    """Looks, with a bounded number of pictures in memory."""
    if count >= BESIDE_FROM:
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
    records: Iterable[pl.DataFrame],
    folder: Path,
    *,
    work: Path,
    threads: int | None = None,
    recheck: bool = False,
    tick: Callable[[int, int], None] = lambda done, total: None,
) -> Seen:
    """Look at what was not looked at yet.

    `records` have path, sha256, size_bytes, mime_type, width and height, some at a time; `folder` is the cache,
    `work` a folder to be made for what is found. Interrupting keeps the looks that are done.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if recheck:
        cache.clear(folder)
    pictures = write_slices((_stamped(root, some) for some in records), work)
    numbers = [cache.numbers(rows) for _, rows in pictures.frames(*cache.KEY)]
    wanted = np.concatenate([*numbers, np.empty(0, np.uint64)])
    cache.tidy(folder, wanted)
    looks = cache.looks(folder)
    places = cache.places(looks, wanted)
    todo = places == cache.NOWHERE
    total, left = len(todo), int(todo.sum())
    done = total - left
    tick(done, total)
    if not left:
        return Seen(pictures, looks, places)
    rows: list[tuple[Key, Look]] = []
    try:
        for row in _looks(root, _items(pictures, todo), left, threads or cores()):
            rows.append(row)
            done += 1
            tick(done, total)
            if len(rows) >= cache.PART_ROWS:
                cache.keep(folder, rows)
                rows = []
    finally:
        if rows:
            cache.keep(folder, rows)
    looks = cache.looks(folder)
    return Seen(pictures, looks, cache.places(looks, wanted))


def strangers(root: Path, pictures: Slices) -> list[str]:
    """Files under images/ that no record in force names, relative to the run. They are nobody's business here."""
    numbers = [rows["path"].hash(0).to_numpy() for _, rows in pictures.frames("path")]
    known = np.sort(np.concatenate([*numbers, np.empty(0, np.uint64)]))
    found: list[str] = []
    for folder, _, names in os.walk(root / "images"):
        inside = Path(folder).relative_to(root).as_posix()
        paths = pl.Series([f"{inside}/{name}" for name in names], dtype=pl.String)
        numbers = paths.hash(0).to_numpy()
        foreign = np.searchsorted(known, numbers, "left") == np.searchsorted(known, numbers, "right")
        found += paths.filter(pl.Series(foreign, dtype=pl.Boolean)).to_list()
    return sorted(found)
