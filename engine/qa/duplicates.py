"""Images that show the same: hashes propose, thumbnails confirm, clusters say which one to keep.

Three kinds of pair. `file`: the same bytes. `same`: hashes at least as similar as validation.duplicate_threshold
says, in percent of 64 bits, as in the original. `edited`: further off, or alike only after mirroring, cropping
or turning. All but `file` must agree on their thumbnails. Blank pictures are set aside, equal hashes are
collapsed before the search, so that no crowd of look-alikes makes it explode.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from msgspec import Struct
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from engine.qa.cache import heavy
from engine.qa.confirm import edges, similarity, start_for
from engine.qa.hamming import Pairs, expected_chance_pairs, near_between, near_pairs
from engine.qa.hashes import THUMB_PX, VARIANTS

CONFIRM = 0.70
"""Least correlation of aligned thumbnails."""
CONFIRM_EDGES = 0.67
"""Least correlation of their edges. A copy in other hues has the edges of its original; another scene in the same light
has not: of planted copies the least is 0.70, of drawn scenes that are no copies the most 0.65."""
SURE = 0.97
"""Thumbnails so alike need no second look."""
SAME_HASH_ROWS_MAX = 8
"""How many images of one hash stand for it in the search; the others hang on the first."""
CANDIDATES_MAX = 2_000_000
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

    pairs: pl.DataFrame
    """image_a, image_b (a before b in the run), kind, edit, distance, similarity_percent, correlation."""
    clusters: pl.DataFrame
    """cluster (from 1, largest first), image_id, keep, and widest: the largest hash distance inside."""
    method: dict[str, Any]
    """Distances, sizes, chance pairs: what the numbers rest on."""


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


def find_duplicates(pictures: pl.DataFrame, looks: list[Path], *, threshold_percent: float) -> Duplicates:
    """Pairs and clusters among pictures that were decoded; `looks` are the parts of the scan's cache."""
    rows = pictures.with_row_index("row").filter(pl.col("phash").is_not_null())
    not_blank = ~pl.col("flags").list.contains("blank")
    usable = rows.filter(not_blank).select("row", "sha256", "integrity", "phash", "place")
    limit = threshold_distance(threshold_percent)
    plain, variant = wide_distance(usable.height)
    capped = min(limit, max(plain, 4))
    method: dict[str, Any] = {
        "pictures": usable.height,
        "blank_set_aside": rows.height - usable.height,
        "threshold_percent": threshold_percent,
        "threshold_distance": limit,
        "threshold_distance_used": capped,
        "search_distance": max(plain, capped),
        "variant_distance": variant,
        "variants": list(VARIANTS),
        "confirmed_at_correlation": CONFIRM,
        "confirmed_at_correlation_of_edges": CONFIRM_EDGES,
    }
    same_file = _same_file(usable)
    firsts = usable.join(same_file.select(row="b"), on="row", how="anti", maintain_order="left")
    candidates = _candidates(firsts, looks, max(plain, capped), variant, method)
    confirmed = _confirmed(candidates, firsts, looks)
    method["candidates"] = candidates.height
    method["confirmed"] = confirmed.height
    pairs = pl.concat([same_file, confirmed]) if confirmed.height else same_file
    return Duplicates(pairs=_named(pairs, pictures, capped), clusters=_clusters(pairs, pictures), method=method)


_ROWS: dict[str, pl.DataType] = {
    "a": pl.UInt32(),
    "b": pl.UInt32(),
    "distance": pl.UInt8(),
    "variant": pl.UInt8(),
    "correlation": pl.Float32(),
}


def _same_file(usable: pl.DataFrame) -> pl.DataFrame:
    whole = usable.filter(pl.col("sha256").is_not_null() & (pl.col("integrity").list.len() == 0))
    return (
        whole.select("row", a=pl.col("row").first().over("sha256"))
        .filter(pl.col("row") != pl.col("a"))
        .select("a", b="row", distance=pl.lit(0), variant=pl.lit(255), correlation=pl.lit(1.0))
        .cast(_ROWS)  # pyright: ignore[reportArgumentType]
    )


def _spread(found: Pairs, left: pl.DataFrame, right: pl.DataFrame, variant: int) -> pl.DataFrame:
    """Pairs of hashes as pairs of rows."""
    pairs = pl.DataFrame({"h": found.a, "g": found.b, "distance": found.distance})
    return (
        pairs.join(left.select(h="hash", a="row"), on="h")
        .join(right.select(g="hash", b="row"), on="g")
        .filter(pl.col("a") != pl.col("b"))
        .select("a", "b", "distance", variant=pl.lit(variant, pl.UInt8))
    )


def _few(hashes: pl.DataFrame) -> pl.DataFrame:
    return hashes.group_by("hash", maintain_order=True).head(SAME_HASH_ROWS_MAX)


def _candidates(
    firsts: pl.DataFrame, looks: list[Path], plain: int, variant: int, method: dict[str, Any]
) -> pl.DataFrame:
    """Pairs of rows worth comparing, `variant` being how the second must be changed to look like the first."""
    hashes = firsts.select("row", hash="phash")
    first = pl.col("row").first().over("hash")
    equal = hashes.select("row", a=first).filter(pl.col("row") != pl.col("a"))
    best = equal.select("a", b="row", distance=pl.lit(0, pl.UInt8), variant=pl.lit(0, pl.UInt8))
    few = _few(hashes)
    distinct = few["hash"].unique().to_numpy()
    method["distinct_hashes"] = len(distinct)
    method["expected_chance_pairs"] = expected_chance_pairs(len(distinct), plain)
    method["expected_chance_pairs_at_threshold"] = expected_chance_pairs(
        len(distinct), method["threshold_distance_used"]
    )
    best = _nearest(best, _spread(near_pairs(distinct, plain), few, few, 0))
    others = np.zeros((len(VARIANTS) - 1, firsts.height), np.uint64)
    for which, some in heavy(looks, firsts["place"].to_numpy(), "variants"):
        others[:, which] = np.array(some.to_list(), np.uint64).T
    for number in range(1, len(VARIANTS)):
        changed = _few(pl.DataFrame({"row": firsts["row"], "hash": others[number - 1]}))
        found = near_between(distinct, changed["hash"].unique().to_numpy(), variant)
        best = _nearest(best, _spread(found, few, changed, number))
    return best


def _nearest(best: pl.DataFrame, more: pl.DataFrame) -> pl.DataFrame:
    """A pair that is proposed several ways is compared once, the nearest way, the plain one first."""
    return (
        pl.concat([best, more])
        .with_columns(low=pl.min_horizontal("a", "b"), high=pl.max_horizontal("a", "b"))
        .sort("distance", "variant", "a", "b")
        .unique(["low", "high"], keep="first", maintain_order=True)
        .drop("low", "high")
        .head(CANDIDATES_MAX)
    )


def _confirmed(candidates: pl.DataFrame, firsts: pl.DataFrame, looks: list[Path]) -> pl.DataFrame:
    if not candidates.height:
        return pl.DataFrame(schema=_ROWS)
    touched = pl.concat([candidates["a"], candidates["b"]]).unique().sort()
    some = firsts.select("row", "place").join(pl.DataFrame({"row": touched}), on="row", how="semi").sort("row")
    pixels = np.empty((some.height, THUMB_PX**2), np.uint8)
    for which, thumbs in heavy(looks, some["place"].to_numpy(), "thumb"):
        pixels[which] = np.frombuffer(b"".join(thumbs.to_list()), np.uint8).reshape(len(thumbs), -1)
    left = np.searchsorted(touched, candidates["a"].to_numpy())
    right = np.searchsorted(touched, candidates["b"].to_numpy())
    starts = np.stack([start_for(v) for v in range(len(VARIANTS))])
    maps = starts[candidates["variant"].to_numpy()]
    agreed = _in_slices(pixels, left, right, maps)
    sure = agreed >= SURE
    open_ = np.flatnonzero((agreed >= CONFIRM) & ~sure)
    if len(open_):
        outlines = edges(pixels)
        sure[open_] = _in_slices(outlines, left[open_], right[open_], maps[open_]) >= CONFIRM_EDGES
    confirmed = candidates.with_columns(correlation=pl.Series(agreed)).filter(pl.Series(sure))
    return confirmed.cast(_ROWS)  # pyright: ignore[reportArgumentType]


def _in_slices(
    pixels: NDArray[np.uint8], left: NDArray[np.int64], right: NDArray[np.int64], maps: NDArray[np.float32]
) -> NDArray[np.float32]:
    parts: list[NDArray[np.float32]] = []
    for start in range(0, len(left), 8192):
        cut = slice(start, start + 8192)
        parts.append(similarity(pixels[left[cut]], pixels[right[cut]], maps[cut]))
    return np.concatenate(parts)


def _named(pairs: pl.DataFrame, pictures: pl.DataFrame, limit: int) -> pl.DataFrame:
    if not pairs.height:
        return pl.DataFrame(schema=_PAIR_SCHEMA)
    ids = pictures.select("image_id").with_row_index("row")
    low, high = pl.min_horizontal("a", "b"), pl.max_horizontal("a", "b")
    edits = [v.split()[0] for v in VARIANTS]
    same = (pl.col("variant") == 0) & (pl.col("distance") <= limit)
    kind = pl.when(pl.col("variant") == 255).then(pl.lit("file")).when(same).then(pl.lit("same"))
    return (
        pairs.with_columns(low=low, high=high)
        .sort("low", "high")
        .join(ids.select(low="row", image_a="image_id"), on="low", maintain_order="left")
        .join(ids.select(high="row", image_b="image_id"), on="high", maintain_order="left")
        .with_columns(kind=kind.otherwise(pl.lit("edited")))
        .with_columns(
            edit=pl.col("variant").replace_strict(list(range(len(edits))), edits, default=None, return_dtype=pl.String),
            similarity_percent=(100 * (1 - pl.col("distance") / 64)).cast(pl.Float32),
        )
        .select(list(_PAIR_SCHEMA))
    )


def _clusters(pairs: pl.DataFrame, pictures: pl.DataFrame) -> pl.DataFrame:
    schema = {"cluster": pl.UInt32(), "image_id": pl.String(), "keep": pl.Boolean(), "widest": pl.UInt8()}
    if not pairs.height:
        return pl.DataFrame(schema=schema)
    touched = pl.concat([pairs["a"], pairs["b"]]).unique().sort().to_numpy()
    a = np.searchsorted(touched, pairs["a"].to_numpy())
    b = np.searchsorted(touched, pairs["b"].to_numpy())
    graph = coo_array((np.ones(len(a), np.bool_), (a, b)), shape=(len(touched), len(touched)))
    _, label = connected_components(graph, directed=False)
    order = np.argsort(label, kind="stable")
    hashes = (
        pictures["phash"].to_numpy()[touched]
        if pictures["phash"].null_count() == 0
        else (pictures["phash"].fill_null(0).to_numpy()[touched])
    )
    flags = pictures["flags"].list.len().to_numpy()[touched]
    keep = np.zeros(len(touched), np.bool_)
    widest = np.zeros(len(touched), np.uint8)
    size = np.zeros(len(touched), np.int64)
    edges = np.flatnonzero(np.diff(label[order])) + 1
    for members in np.split(order, edges):
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
            "image_id": pictures["image_id"].gather(touched),
            "keep": keep,
            "widest": widest,
        }
    )
    return (
        frame.with_columns(head=pl.col("row").min().over("label"))
        .sort(["size", "head", "keep", "row"], descending=[True, False, True, False])
        .with_columns(cluster=pl.col("label").rle_id() + 1)
        .select(list(schema))
        .cast(schema)  # pyright: ignore[reportArgumentType]
    )
