"""Images that show the same: hashes propose, thumbnails confirm, clusters say which one to keep.

Three kinds of pair. `file`: the same bytes. `same`: hashes at least as similar as validation.duplicate_threshold
says, in percent of 64 bits, as in the original. `edited`: further off, or alike only after mirroring, cropping
or turning. All but `file` must agree on their thumbnails. Blank pictures are set aside, equal hashes are
collapsed before the search, so that no crowd of look-alikes makes it explode. What is held of a picture are numbers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from msgspec import Struct
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from engine.qa.candidates import Candidates, Search
from engine.qa.confirm import CONFIRM, CONFIRM_EDGES, confirmed, thumbs_in
from engine.qa.hamming import Workers, expected_chance_pairs
from engine.qa.hashes import VARIANTS
from engine.qa.slices import SLICE_ROWS, Slices, write_table

ROW_GROUP = 20_000
LINKS_AT_ONCE = 1 << 18
_PAIR_SCHEMA: dict[str, pl.DataType] = {
    "image_a": pl.String(),
    "image_b": pl.String(),
    "kind": pl.String(),
    "edit": pl.String(),
    "distance": pl.UInt8(),
    "similarity_percent": pl.Float32(),
    "correlation": pl.Float32(),
}


class Duplicates(Struct, frozen=True, kw_only=True):
    """What the search found."""

    table: Path
    """image_a, image_b (a before b in the run), kind, edit, distance, similarity_percent, correlation of each pair."""
    clusters: pl.DataFrame
    """cluster (from 1, largest first), image_id, keep, and widest: the largest hash distance inside."""
    redundant: NDArray[np.uint32]
    """Rows of pictures that show the same as one that is kept."""
    method: dict[str, Any]
    """Distances, sizes, chance pairs: what the numbers rest on."""

    @property
    def pairs(self) -> pl.LazyFrame:
        """The table, for a query."""
        return pl.scan_parquet(self.table)


def threshold_distance(percent: float) -> int:
    """The largest Hamming distance of 64-bit hashes that are this similar, in percent."""
    return math.floor(64 * (1 - percent / 100) + 1e-9)


def wide_distance(n: int) -> tuple[int, int]:
    """How far to look for edited copies among n pictures: plain hashes, and against variants."""
    for most, plain, variant in (
        (4_000, 16, 12),
        (12_000, 12, 12),
        (60_000, 10, 8),
        (250_000, 8, 6),
        (1_500_000, 6, 4),
    ):
        if n <= most:
            return plain, variant
    return 4, 3


def find_duplicates(
    prints: pl.DataFrame, pictures: Slices, looks: Slices, *, threshold_percent: float, work: Path
) -> Duplicates:
    """Pairs and clusters among pictures that were decoded.

    `prints` and `pictures` are those of `engine.qa.pictures`, `looks` the scan's cache. The table of pairs is left in
    `work`, which holds what does not fit into memory meanwhile.
    """
    usable = prints.filter(~pl.col("blank"))
    limit = threshold_distance(threshold_percent)
    plain, variant = wide_distance(usable.height)
    capped = min(limit, max(plain, 4))
    method: dict[str, Any] = {
        "pictures": usable.height,
        "blank_set_aside": prints.height - usable.height,
        "threshold_percent": threshold_percent,
        "threshold_distance": limit,
        "threshold_distance_used": capped,
        "search_distance": max(plain, capped),
        "variant_distance": variant,
        "variants": list(VARIANTS),
        "confirmed_at_correlation": CONFIRM,
        "confirmed_at_correlation_of_edges": CONFIRM_EDGES,
    }
    first, copy = _same_file(usable)
    firsts = usable.filter(~pl.Series(_among(usable["row"].to_numpy(), np.sort(copy)), dtype=pl.Boolean))
    candidates = _candidates(firsts, looks, max(plain, capped), variant, method, work)
    method["candidates"] = candidates.count
    pairs = pl.concat([_of_same_file(first, copy), _confirmed(candidates, firsts, looks, work)])
    del candidates, firsts
    method["confirmed"] = pairs.height - len(copy)
    table = work / "duplicates.parquet"
    write_table(_named(pairs, pictures, capped), pl.Schema(_PAIR_SCHEMA), table, ROW_GROUP)
    clusters, redundant = _clusters(pairs, prints, pictures)
    return Duplicates(table=table, clusters=clusters, redundant=redundant, method=method)


_ROWS: dict[str, pl.DataType] = {
    "a": pl.UInt32(),
    "b": pl.UInt32(),
    "distance": pl.UInt8(),
    "variant": pl.UInt8(),
    "correlation": pl.Float32(),
}
U32 = NDArray[np.uint32]


def _among(values: U32, some: U32) -> NDArray[np.bool_]:
    """Which values are among some sorted ones."""
    return np.searchsorted(some, values, "left") != np.searchsorted(some, values, "right")


def _same_file(usable: pl.DataFrame) -> tuple[U32, U32]:
    """Rows of files that have the bytes of an earlier one: the earlier ones, and they."""
    whole = usable.filter(pl.col("digest").is_not_null())
    digest, row = whole["digest"].to_numpy(), whole["row"].to_numpy()
    order = np.argsort(digest, kind="stable")
    digest, row = digest[order], row[order]
    fresh = np.ones(len(row), np.bool_)
    np.not_equal(digest[1:], digest[:-1], out=fresh[1:])
    heads = row[fresh][np.cumsum(fresh) - 1]
    return heads[~fresh], row[~fresh]


def _of_same_file(first: U32, copy: U32) -> pl.DataFrame:
    pairs = pl.DataFrame({"a": first, "b": copy})
    return pairs.with_columns(distance=0, variant=255, correlation=1.0).cast(_ROWS)  # pyright: ignore[reportArgumentType]


def _candidates(
    firsts: pl.DataFrame, looks: Slices, plain: int, variant: int, method: dict[str, Any], work: Path
) -> Candidates:
    """Pairs worth comparing, pictures by their number among `firsts`."""
    with Workers() as workers:
        search = Search(firsts["phash"].to_numpy(), workers)
        method["distinct_hashes"] = search.distinct
        method["expected_chance_pairs"] = expected_chance_pairs(search.distinct, plain)
        method["expected_chance_pairs_at_threshold"] = expected_chance_pairs(
            search.distinct, method["threshold_distance_used"]
        )
        search.plain(plain)
        # One hash of each at a time: the hashes of all variants would be nine times those that are searched.
        files = [work / f"variant-{number}" for number in range(1, len(VARIANTS))]
        order = _write_variants(firsts["place"].to_numpy(), looks, files)
        changed = np.empty(firsts.height, np.uint64)
        for number, file in enumerate(files, start=1):
            changed[order] = np.fromfile(file, np.uint64)
            file.unlink()
            search.against(changed, variant, number)
        return search.candidates()


def _write_variants(places: U32, looks: Slices, files: list[Path]) -> U32:
    """The hashes of each variant into a file, in the order that is returned."""
    order: list[U32] = [np.empty(0, np.uint32)]
    for file in files:
        file.touch()
    for which, frame in looks.at(places, "variants"):
        order.append(which.astype(np.uint32))
        hashes = frame["variants"].explode().to_numpy().reshape(len(which), len(files))
        for file, column in zip(files, hashes.T, strict=True):
            with file.open("ab") as out:
                out.write(column.tobytes())
    return np.concatenate(order)


def _confirmed(candidates: Candidates, firsts: pl.DataFrame, looks: Slices, work: Path) -> pl.DataFrame:
    """The candidates that show the same, pictures by their rows."""
    rows = firsts["row"].to_numpy()
    touched = np.zeros(len(rows), np.bool_)
    touched[candidates.a] = touched[candidates.b] = True
    place = np.cumsum(touched, dtype=np.uint32) - np.uint32(1)
    with thumbs_in(work / "thumbs") as thumbs, thumbs_in(work / "outlines") as outlines:
        for which, frame in looks.at(firsts["place"].to_numpy()[touched], "thumb"):
            for at, thumb in zip(which.tolist(), frame["thumb"].to_list(), strict=True):
                thumbs.put(at, thumb)
        same, agreed = confirmed(candidates, thumbs, outlines, place)
    return pl.DataFrame(
        {
            "a": rows[candidates.a[same]],
            "b": rows[candidates.b[same]],
            "distance": candidates.distance[same],
            "variant": candidates.variant[same],
            "correlation": agreed[same],
        },
        schema=_ROWS,
    )


def _touched(pairs: pl.DataFrame) -> U32:
    """Rows that are in a pair, in order."""
    a, b = pairs["a"].to_numpy(), pairs["b"].to_numpy()
    hit = np.zeros(1 + max(a.max(initial=0), b.max(initial=0)), np.bool_)
    hit[a] = hit[b] = True
    return np.flatnonzero(hit).astype(np.uint32) if len(a) else np.empty(0, np.uint32)


def _named(pairs: pl.DataFrame, pictures: Slices, limit: int) -> Iterator[pl.DataFrame]:
    """Pairs as people read them, those of the first picture first, some at a time."""
    touched = _touched(pairs)
    ids = _ids(pictures, touched)
    edits = [v.split()[0] for v in VARIANTS]
    same = (pl.col("variant") == 0) & (pl.col("distance") <= limit)
    kind = pl.when(pl.col("variant") == 255).then(pl.lit("file")).when(same).then(pl.lit("same"))
    low, high = (
        pairs.select(pl.min_horizontal("a", "b")).to_series(),
        pairs.select(pl.max_horizontal("a", "b")).to_series(),
    )
    order = np.argsort((low.to_numpy().astype(np.uint64) << np.uint64(32)) | high.to_numpy())
    for start in range(0, max(1, len(order)), SLICE_ROWS):
        some = order[start : start + SLICE_ROWS]
        yield (
            pairs.select(pl.all().gather(some))
            .with_columns(
                image_a=ids.gather(np.searchsorted(touched, low.gather(some).to_numpy())),
                image_b=ids.gather(np.searchsorted(touched, high.gather(some).to_numpy())),
                kind=kind.otherwise(pl.lit("edited")),
            )
            .with_columns(
                edit=pl.col("variant").replace_strict(
                    list(range(len(edits))), edits, default=None, return_dtype=pl.String
                ),
                similarity_percent=(100 * (1 - pl.col("distance") / 64)).cast(pl.Float32),
            )
            .select(list(_PAIR_SCHEMA))
        )


def _ids(pictures: Slices, rows: U32) -> pl.Series:
    """The image ids of these rows, which are in order."""
    found = [pl.Series("image_id", [], dtype=pl.String)]
    found += [frame["image_id"] for _, frame in pictures.at(rows, "image_id")]
    return pl.concat(found)


def _linked(count: int, a: U32, b: U32) -> NDArray[np.int32]:
    """Of each of so many pictures a number that it shares with those it is linked with, over however many links."""
    label = np.arange(count, dtype=np.int32)
    for start in range(0, len(a), LINKS_AT_ONCE):
        some = slice(start, start + LINKS_AT_ONCE)
        left, right = label[a[some]], label[b[some]]
        graph = coo_array((np.ones(len(left), np.bool_), (left, right)), shape=(count, count))
        label = connected_components(graph, directed=False)[1][label]
    return label


def _clusters(pairs: pl.DataFrame, prints: pl.DataFrame, pictures: Slices) -> tuple[pl.DataFrame, U32]:
    """Clusters, and the rows of those that are not to be kept."""
    schema = {"cluster": pl.UInt32(), "image_id": pl.String(), "keep": pl.Boolean(), "widest": pl.UInt8()}
    if not pairs.height:
        return pl.DataFrame(schema=schema), np.empty(0, np.uint32)
    touched = _touched(pairs)
    a = np.searchsorted(touched, pairs["a"].to_numpy()).astype(np.uint32)
    b = np.searchsorted(touched, pairs["b"].to_numpy()).astype(np.uint32)
    label = _linked(len(touched), a, b)
    order = np.argsort(label, kind="stable")
    at = np.searchsorted(prints["row"].to_numpy(), touched)
    hashes, flags = prints["phash"].to_numpy()[at], prints["faults"].to_numpy()[at]
    keep = np.zeros(len(touched), np.bool_)
    widest = np.zeros(len(touched), np.uint8)
    size = np.zeros(len(touched), np.int64)
    edges = [0, *(np.flatnonzero(np.diff(label[order])) + 1).tolist(), len(order)]
    for first, last in pairwise(edges):
        members = order[first:last]
        some = members[:500]  # enough to find a middle one in a crowd
        apart = np.bitwise_count(hashes[some][:, None] ^ hashes[some][None, :])
        # The one to keep: least flagged, then most like all others, then first in the run.
        best = np.lexsort((some, apart.sum(1, dtype=np.int64), flags[some]))[0]
        keep[some[best]] = True
        widest[members] = apart.max()
        size[members] = len(members)
    frame = pl.DataFrame(
        {
            "label": label,
            "size": size,
            "row": touched,
            "image_id": _ids(pictures, touched),
            "keep": keep,
            "widest": widest,
        }
    )
    clusters = (
        frame.with_columns(head=pl.col("row").min().over("label"))
        .sort(["size", "head", "keep", "row"], descending=[True, False, True, False])
        .with_columns(cluster=pl.col("label").rle_id() + 1)
        .select(list(schema))
        .cast(schema)  # pyright: ignore[reportArgumentType]
    )
    return clusters, touched[~keep]
