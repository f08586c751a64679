"""Texts that nearly repeat each other: MinHash proposes, exact sets of three-word runs confirm.

In numpy over flat arrays, some thousands of texts at a time, so that memory follows the signatures and not the texts.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.qa.texts import MIX

SHINGLE_WORDS = 3
HASHES, ROWS_PER_BAND = 15, 3
JACCARD = 0.8
NEAR_TEXTS_MAX = 200_000
"""Among so many texts a habit of repeating shows; equal texts are counted among all."""
AGREEING_MIN = 8
"""Of 15 hashes; a pair at 0.8 has fewer once in 250."""
EXACT_MAX = 100_000
PAIRS_AT_ONCE = 20_000
"""Their texts are held together."""
SLICE_ROWS = 2_000
BLOCK_ROWS = 1_000
THREADS = 2
"""numpy works outside the interpreter's lock; each holds a slice of texts."""
_ODD = (np.random.default_rng(5).integers(0, 2**31, HASHES, dtype=np.uint32) << np.uint32(1)) | np.uint32(1)


def _shingles(texts: pl.DataFrame) -> tuple[pl.Series, NDArray[np.uint32], NDArray[np.int64]]:
    """Which texts have `SHINGLE_WORDS` words, a number for each run of so many, and where each text's begin and end."""
    # Split at blanks: a third of the work of finding words, and punctuation changes little here.
    split = pl.col("text").str.to_lowercase().str.split(" ")
    words = texts.select("row", w=split).filter(pl.col("w").list.len() >= SHINGLE_WORDS)
    if not words.height:
        return words["row"], np.empty(0, np.uint32), np.zeros(1, np.int64)
    length = words["w"].list.len().to_numpy().astype(np.int64)
    word = words.select(pl.col("w").explode().hash(1)).to_series().to_numpy()
    with np.errstate(over="ignore"):
        # One number for three words in order; those that reach over the end of a text are taken out again.
        shingle = word[:-2] * MIX[0] + word[1:-1] * MIX[1] + word[2:] * MIX[2]
    ends = np.cumsum(length)
    inside = np.ones(len(word), np.bool_)
    inside[ends - 1] = inside[ends - 2] = False
    shingle = shingle[inside[:-2]]
    shingle ^= shingle >> np.uint64(29)
    edges = np.concatenate([[0], np.cumsum(length - SHINGLE_WORDS + 1)])
    return words["row"], (shingle >> np.uint64(32)).astype(np.uint32), edges


def _signatures(texts: pl.DataFrame) -> pl.DataFrame:
    """The MinHash signature of each text: numpy over flat arrays, since each text has a hundred shingles."""
    rows, shingles, edges = _shingles(texts)
    least = np.empty((HASHES, len(rows)), np.uint32)
    with np.errstate(over="ignore"):
        for first in range(0, len(rows), BLOCK_ROWS):  # few enough for the processor's cache
            block = edges[first : first + BLOCK_ROWS + 1]
            some, starts = shingles[block[0] : block[-1]], block[:-1] - block[0]
            for i, odd in enumerate(_ODD):
                least[i, first : first + len(starts)] = np.minimum.reduceat(some * odd, starts)
    return pl.DataFrame({"row": rows, **{f"h{i}": least[i] for i in range(HASHES)}})


def _alike(signatures: pl.DataFrame) -> pl.DataFrame:
    """For each text the earlier one that is most like it by signature, if one is enough alike to be compared.

    Of those that share a band each is compared with the first and with the one before it, so that a crowd of
    look-alikes costs as much as it has members, not their square.
    """
    rows = signatures["row"].to_numpy()
    best = np.zeros(len(rows), np.uint8)
    partner = np.full(len(rows), -1, np.int64)
    hashes = [signatures[f"h{i}"].to_numpy() for i in range(HASHES)]
    for b in range(0, HASHES, ROWS_PER_BAND):
        with np.errstate(over="ignore"):
            key = hashes[b] * MIX[0] + hashes[b + 1] * MIX[1] + hashes[b + 2] * MIX[2]
        order = np.argsort(key, kind="stable")
        same = key[order][1:] == key[order][:-1]
        later = np.flatnonzero(same) + 1
        starts = np.concatenate([[True], ~same])
        firsts = np.maximum.accumulate(np.where(starts, np.arange(len(order)), 0))
        for earlier in (firsts[later], later - 1):
            at, of = order[later], order[earlier]
            agreeing = np.zeros(len(at), np.uint8)
            for values in hashes:
                agreeing += values[at] == values[of]
            better = agreeing > best[at]
            best[at[better]], partner[at[better]] = agreeing[better], of[better]
    found = np.flatnonzero(best >= AGREEING_MIN)
    return pl.DataFrame({"a": rows[partner[found]], "b": rows[found], "agreeing": best[found]}).sort("a", "b")


def near_texts(frame: pl.LazyFrame, column: str) -> pl.DataFrame:
    """Texts that nearly repeat an earlier one, each with that one: three-word shingles overlap by `JACCARD` or more.

    MinHash proposes (15 hashes in bands of three: 97 % of pairs at 0.8, 99.9 % at 0.9); exact sets confirm, or,
    where there are more than `EXACT_MAX` of them, the signatures alone. Equal texts are linked to their first.
    """
    texts = frame.filter(pl.col(column).is_not_null()).select("image_id", text=column).with_row_index("row")
    keys: list[pl.DataFrame] = []
    signed: list[pl.DataFrame] = []
    waiting: deque[Future[pl.DataFrame]] = deque()
    with ThreadPoolExecutor(THREADS) as pool:
        for batch in texts.collect_batches(chunk_size=SLICE_ROWS, maintain_order=True):
            keys.append(batch.select("row", "image_id", key=pl.col("text").str.to_lowercase().hash(0)))
            waiting.append(pool.submit(_signatures, batch))
            if len(waiting) > THREADS:
                signed.append(waiting.popleft().result())
        signed.extend(future.result() for future in waiting)
    if not keys:
        return pl.DataFrame(schema={"image_a": pl.String, "image_b": pl.String, "jaccard": pl.Float64})
    collected = pl.concat(keys)
    first = collected.unique("key", keep="first", maintain_order=True)
    signatures = pl.concat(signed)
    signed.clear()
    proposed = _alike(signatures.join(first.select("row"), on="row", how="semi", maintain_order="left"))
    del signatures
    if proposed.height > EXACT_MAX:
        likely = proposed.select("a", "b", jaccard=pl.col("agreeing") / HASHES)
        confirmed = [likely.filter(pl.col("jaccard") >= JACCARD)]
    else:
        confirmed = [_jaccard(pairs, texts) for pairs in proposed.drop("agreeing").iter_slices(PAIRS_AT_ONCE)]
    equal = (
        collected.join(first.select("key", a="row"), on="key", maintain_order="left")
        .filter(pl.col("row") != pl.col("a"))
        .select("a", b="row", jaccard=pl.lit(1.0))
    )
    ids = collected.select("row", "image_id")
    return (
        pl.concat([equal, *confirmed])
        .join(ids.rename({"row": "a", "image_id": "image_a"}), on="a")
        .join(ids.rename({"row": "b", "image_id": "image_b"}), on="b")
        .sort("a", "b")
        .select("image_a", "image_b", "jaccard")
    )


def keep_near(found: pl.DataFrame, texts: str, folder: Path) -> None:
    """Write what `near_texts` found into a table, a file for each kind of `texts`, named in the column of that name."""
    folder.mkdir(exist_ok=True)
    kept = folder / f"{texts}.parquet"
    temporary = kept.with_suffix(".tmp")
    found.select(pl.lit(texts).alias("texts"), *found.columns).write_parquet(temporary, compression="zstd")
    temporary.replace(kept)


def repeating(table: Path, texts: str) -> pl.Series:
    """Images whose text repeats an earlier one, or nearly."""
    return pl.scan_parquet(table).filter(pl.col("texts") == texts).select("image_b").collect()["image_b"]


def examples(table: Path, texts: str, most: int) -> pl.DataFrame:
    """Texts that most others nearly repeat: image_a, the image_b most like it, their jaccard, how many they are."""
    nearly = pl.scan_parquet(table).filter((pl.col("texts") == texts) & (pl.col("jaccard") < 1))
    return (
        nearly.sort("jaccard", "image_b", descending=[True, False])
        .group_by("image_a", maintain_order=True)
        .agg(pl.col("image_b", "jaccard").first(), others=pl.len())
        .sort("others", "jaccard", "image_a", descending=[True, True, False])
        .head(most)
        .collect(engine="streaming")
    )


def _jaccard(pairs: pl.DataFrame, texts: pl.LazyFrame) -> pl.DataFrame:
    """Pairs whose shingles overlap enough, counted one by one."""
    touched = pl.concat([pairs["a"], pairs["b"]]).unique()
    # Not a join, which would hold texts until it knows which side is the smaller.
    some = texts.filter(pl.col("row").is_in(touched.implode())).select("row", "text")
    sets: dict[int, NDArray[np.uint32]] = {}
    for batch in some.collect_batches(chunk_size=SLICE_ROWS):
        rows, shingles, edges = _shingles(batch)
        for row, start, end in zip(rows, edges[:-1], edges[1:], strict=True):
            sets[row] = np.unique(shingles[start:end])
    kept: list[tuple[int, int, float]] = []
    for a, b in pairs.iter_rows():
        one, other = sets[a], sets[b]
        both = len(np.intersect1d(one, other, assume_unique=True))
        kept.append((a, b, both / (len(one) + len(other) - both)))
    schema = {"a": pl.UInt32, "b": pl.UInt32, "jaccard": pl.Float64}
    return pl.DataFrame(kept, schema=schema, orient="row").filter(pl.col("jaccard") >= JACCARD)
