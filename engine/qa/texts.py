"""How varied are captions and comments? Lengths, words, distinct n-grams, compression, near-repeated texts.

Measures that depend on the amount of text are taken on a fixed seeded sample, so that runs of different size
can be compared (Shaib et al. 2024; Deshpande et al. 2025). Words are counted in about `WORDS_SAMPLE` texts, near
repetitions looked for among about `NEAR_TEXTS_MAX`, lengths and repetitions counted in all.
"""

from __future__ import annotations

import math
import re
import zlib
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

SAMPLE = 5_000
TOKEN_BUDGET = 50_000
WORD = r"[\p{L}\p{N}']+"
WORDS_SAMPLE = 250_000
TOP_WORDS = 60
STOP_WORDS = frozenset(
    {
        "a",
        "about",
        "above",
        "after",
        "again",
        "all",
        "also",
        "am",
        "an",
        "and",
        "any",
        "are",
        "as",
        "at",
        "be",
        "because",
        "been",
        "before",
        "being",
        "below",
        "between",
        "both",
        "but",
        "by",
        "can",
        "could",
        "did",
        "do",
        "does",
        "doing",
        "down",
        "during",
        "each",
        "few",
        "for",
        "from",
        "further",
        "had",
        "has",
        "have",
        "having",
        "he",
        "her",
        "here",
        "hers",
        "him",
        "his",
        "how",
        "i",
        "if",
        "in",
        "into",
        "is",
        "it",
        "its",
        "itself",
        "just",
        "me",
        "more",
        "most",
        "my",
        "no",
        "nor",
        "not",
        "of",
        "off",
        "on",
        "once",
        "only",
        "or",
        "other",
        "our",
        "ours",
        "out",
        "over",
        "own",
        "same",
        "she",
        "should",
        "so",
        "some",
        "such",
        "than",
        "that",
        "the",
        "their",
        "theirs",
        "them",
        "then",
        "there",
        "these",
        "they",
        "this",
        "those",
        "through",
        "to",
        "too",
        "under",
        "until",
        "up",
        "very",
        "was",
        "we",
        "were",
        "what",
        "when",
        "where",
        "which",
        "while",
        "who",
        "whom",
        "why",
        "will",
        "with",
        "would",
        "you",
        "your",
        "yours",
        "s",
        "t",
        "one",
        "it's",
        "i'm",
        "we're",
        "they're",
        "don't",
    }
)
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
_MIX = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9], np.uint64)

_find = re.compile(r"[^\W_]+(?:'[^\W_]+)?").findall


def _words(text: pl.Expr) -> pl.Expr:
    return text.str.to_lowercase().str.extract_all(WORD)


def _plain(texts: pl.Series) -> pl.Series:
    """Lower case, single blanks. Most texts are so already but for the case, and looking costs a tenth of replacing."""
    lower = texts.str.to_lowercase().str.strip_chars()
    odd = lower.str.contains("  ", literal=True)
    for blank in ("\n", "\t", "\r"):
        odd |= lower.str.contains(blank, literal=True)
    at = odd.fill_null(False).arg_true()
    return lower.scatter(at, lower.gather(at).str.replace_all(r"\s+", " ")) if len(at) else lower


MEASURES = pl.Struct({"chars": pl.UInt32(), "words": pl.UInt32(), "key": pl.UInt64()})


def measures(texts: pl.Series) -> pl.Series:
    """Of each text its characters, its words, and a key that texts share which differ in case and blanks at most."""
    plain = _plain(texts)
    return pl.DataFrame(
        {
            "chars": texts.str.len_chars().cast(pl.UInt32),
            "words": plain.str.count_matches(" ", literal=True).cast(pl.UInt32) + (plain != "").cast(pl.UInt32),
            "key": plain.hash(0),
        }
    ).to_struct("measures")


def sizes(texts: pl.LazyFrame) -> pl.DataFrame:
    """The measures of all texts there are, from their column `size`."""
    measured = texts.select("size").unnest("size").filter(pl.col("chars").is_not_null())
    return measured.collect(engine="streaming")


def lengths(measured: pl.DataFrame) -> dict[str, Any]:
    """Characters and words: count, mean, median, extremes and a histogram."""
    counts = {unit: measured.group_by(unit).len().sort(unit) for unit in ("chars", "words")}
    return {"n": measured.height, **{unit: _spread(c, unit) for unit, c in counts.items()}}


def repeated(measured: pl.DataFrame) -> int:
    """How many texts say, but for case and spaces, the same as an earlier one."""
    return measured.height - measured["key"].n_unique()


def _spread(counts: pl.DataFrame, unit: str) -> dict[str, Any]:
    """Summary of a table of (value, how often), which stays small however many texts there are."""
    if not counts.height:
        return {"mean": None, "median": None, "min": None, "max": None, "p5": None, "p95": None, "histogram": []}
    values = counts[unit].to_numpy().astype(float)
    often = counts["len"].to_numpy().astype(float)
    reached = np.cumsum(often) / often.sum()

    def at(share: float) -> float:
        return float(values[int(np.searchsorted(reached, share - 1e-12))])

    low, high = values[0], max(at(0.995), values[0] + 1)
    width = max(1, math.ceil((high - low + 1) / 24))
    edges = np.arange(low, high + width, width)
    bins, _ = np.histogram(np.minimum(values, edges[-1] - 1e-9), bins=edges, weights=often)
    return {
        "mean": round(float((values * often).sum() / often.sum()), 2),
        "median": at(0.5),
        "min": float(values[0]),
        "max": float(values[-1]),
        "p5": at(0.05),
        "p95": at(0.95),
        "histogram": [[float(e), int(b)] for e, b in zip(edges[:-1], bins, strict=True)],
    }


_KEY = pl.col("size").struct.field("key")


def _drawn(key: pl.Expr, n: int, seed: int, count: int) -> pl.Expr:
    """Whether a text is among about `count` of n, by the hash of its key: it depends on the seed and the text only."""
    return key.hash(seed) < int(2**64 * count / n)


def sampled(texts: pl.LazyFrame, n: int, seed: int, count: int) -> pl.LazyFrame:
    """All of the n texts, or about `count` of them. `size` is their measures, so that no other text is looked at."""
    return texts.filter(pl.col("text").is_not_null() if n <= count else _drawn(_KEY, n, seed, count))


def how_many(measured: pl.DataFrame, seed: int, count: int) -> int:
    """How many texts `sampled` takes."""
    n = measured.height
    return n if n <= count else int(measured.select(_drawn(pl.col("key"), n, seed, count).sum()).item())


def top_words(texts: pl.LazyFrame, measured: pl.DataFrame, seed: int) -> dict[str, Any]:
    """The most frequent words without the commonest English ones, and the size of the vocabulary."""
    n = measured.height
    some = sampled(texts, n, seed, WORDS_SAMPLE)
    words = some.select(word=_words(pl.col("text")))
    counted = words.explode("word").drop_nulls().group_by("word").len().collect(engine="streaming")
    telling = counted.filter(~pl.col("word").is_in(list(STOP_WORDS)) & (pl.col("word").str.len_chars() > 1))
    top = telling.sort(["len", "word"], descending=[True, False]).head(TOP_WORDS)
    return {
        "texts": how_many(measured, seed, WORDS_SAMPLE),
        "tokens": int(counted["len"].sum() or 0),
        "vocabulary": counted.height,
        "once": counted.filter(pl.col("len") == 1).height,
        "top": [[w, int(count)] for w, count in top.iter_rows()],
    }


def sample_texts(texts: pl.LazyFrame, n: int, seed: int) -> list[str]:
    """A fixed-size sample that depends on the seed and the texts only, in a reproducible order."""

    def drawn(count: int) -> pl.LazyFrame:
        return sampled(texts, n, seed, count).select("text", key=_KEY.hash(seed))

    some = drawn(SAMPLE + SAMPLE // 4).collect(engine="streaming")
    if some.height < min(n, SAMPLE):  # many equal texts share their hash
        some = drawn(n).bottom_k(SAMPLE, by=["key", "text"]).collect(engine="streaming")
    return some.sort("key", "text").head(SAMPLE)["text"].to_list()


def variety(sample: Sequence[str]) -> dict[str, Any]:
    """Distinct-n at a fixed number of tokens, compression ratio, repeated long n-grams, vocabulary growth."""
    known: dict[str, int] = {}
    texts = [np.array([known.setdefault(w, len(known)) for w in _find(t.lower())], np.int64) for t in sample]
    tokens = np.concatenate(texts)[:TOKEN_BUDGET] if texts else np.empty(0, np.int64)
    out: dict[str, Any] = {"texts": len(sample), "tokens": len(tokens)}
    for n in (1, 2, 3):
        grams = _grams(tokens, n)
        out[f"distinct_{n}"] = round(len(np.unique(grams)) / len(grams), 4) if len(grams) else None
    joined = "\n".join(sample).encode()
    out["compression_ratio"] = round(len(joined) / len(zlib.compress(joined, 9)), 3) if joined else None
    out["texts_sharing_six_words"] = round(_sharing(texts, 6) / len(sample), 4) if sample else None
    # Words are numbered as they come, so the largest number so far tells how many there are.
    reached = np.maximum.accumulate(tokens) + 1
    marks = sorted({len(tokens) * share // 20 for share in range(1, 21)} - {0})
    out["vocabulary_growth"] = [[at, int(reached[at - 1])] for at in marks]
    return out


def _grams(tokens: NDArray[np.int64], n: int) -> NDArray[np.uint64]:
    """A number for each run of n words: two runs share it by chance once in 2**64."""
    out = np.zeros(max(0, len(tokens) - n + 1), np.uint64)
    with np.errstate(over="ignore"):
        for at in range(n):
            out = (out ^ (out >> np.uint64(29))) * _MIX[0] + tokens[at : at + len(out)].astype(np.uint64) * _MIX[1]
    return out


def _sharing(texts: Sequence[NDArray[np.int64]], n: int) -> int:
    """How many texts have n words in a row that another text has too."""
    runs = [_grams(text, n) for text in texts]
    if not runs:
        return 0
    of = np.repeat(np.arange(len(runs), dtype=np.uint32), [len(r) for r in runs])
    frame = pl.DataFrame({"gram": np.concatenate(runs), "text": of})
    shared = frame.group_by("gram").agg(first=pl.col("text").min(), last=pl.col("text").max())
    shared = shared.filter(pl.col("first") != pl.col("last")).select("gram")
    return frame.join(shared, on="gram", how="semi")["text"].n_unique()


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
        shingle = word[:-2] * _MIX[0] + word[1:-1] * _MIX[1] + word[2:] * _MIX[2]
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
            key = hashes[b] * _MIX[0] + hashes[b + 1] * _MIX[1] + hashes[b + 2] * _MIX[2]
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
