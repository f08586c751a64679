"""How varied are captions and comments? Lengths, words, distinct n-grams, compression, growth of the vocabulary.

Measures that depend on the amount of text are taken on a fixed seeded sample, so that runs of different size
can be compared (Shaib et al. 2024; Deshpande et al. 2025). Words are counted in about `WORDS_SAMPLE` texts, lengths and
repetitions in all; what nearly repeats is in `near_texts`.
"""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from msgspec import Struct
from numpy.typing import NDArray

from engine.qa.parts import each, few, totals

SAMPLE = 5_000
TOKEN_BUDGET = 50_000
WORD = r"[\p{L}\p{N}']+"
WORDS_SAMPLE = 250_000
TOP_WORDS = 60
KEYS_AT_ONCE = 1 << 18
STOP_WORDS = frozenset({
    "a", "about", "above", "after", "again", "all", "also", "am", "an", "and", "any", "are", "as", "at", "be",
    "because", "been", "before", "being", "below", "between", "both", "but", "by", "can", "could", "did", "do",
    "does", "doing", "down", "during", "each", "few", "for", "from", "further", "had", "has", "have", "having",
    "he", "her", "here", "hers", "him", "his", "how", "i", "if", "in", "into", "is", "it", "its", "itself", "just",
    "me", "more", "most", "my", "no", "nor", "not", "of", "off", "on", "once", "only", "or", "other", "our",
    "ours", "out", "over", "own", "same", "she", "should", "so", "some", "such", "than", "that", "the", "their",
    "theirs", "them", "then", "there", "these", "they", "this", "those", "through", "to", "too", "under", "until",
    "up", "very", "was", "we", "were", "what", "when", "where", "which", "while", "who", "whom", "why", "will",
    "with", "would", "you", "your", "yours", "s", "t", "one", "it's", "i'm", "we're", "they're", "don't",
})  # fmt: skip
MIX = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9], np.uint64)
"""Odd numbers that mix words into runs of words."""

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


class Texts(Struct, frozen=True):
    """Texts of one kind in a table of a pass: `shape` makes `text` and `size`, their measures, of its rows."""

    table: Path
    shape: Callable[[pl.LazyFrame], pl.LazyFrame]

    def lazy(self) -> pl.LazyFrame:
        """All of them."""
        return self.shape(pl.scan_parquet(self.table))

    def each(self, query: Callable[[pl.LazyFrame], pl.LazyFrame]) -> Iterator[pl.DataFrame]:
        """What a query makes of them, some at a time."""
        return each(self.table, lambda rows: query(self.shape(rows)))


class Sizes(Struct, frozen=True):
    """The measures of all texts there are."""

    keys: NDArray[np.uint64]
    """In order; texts that share one differ in case and blanks at most."""
    counts: dict[str, pl.DataFrame]
    """How many have so many `chars`, so many `words`."""

    @property
    def height(self) -> int:
        return len(self.keys)


def sizes(texts: Texts) -> Sizes:
    """Of all texts, from their measures. A key takes 8 bytes, the rest does not grow with their number."""
    keys = bytearray()
    counts: dict[str, list[pl.DataFrame]] = {"chars": [], "words": []}
    there = pl.col("chars").is_not_null()
    for some in texts.each(lambda rows: rows.select("size").unnest("size").filter(there)):
        keys += some["key"].to_numpy().tobytes()
        for unit, found in counts.items():
            found.append(some.group_by(unit).len())
    sorted_ = np.frombuffer(keys, np.uint64)
    sorted_.sort()
    return Sizes(
        sorted_,
        {unit: pl.concat(found).group_by(unit).agg(pl.col("len").sum()).sort(unit) for unit, found in counts.items()},
    )


def lengths(measured: Sizes) -> dict[str, Any]:
    """Characters and words: count, mean, median, extremes and a histogram."""
    return {"n": measured.height, **{unit: _spread(counts, unit) for unit, counts in measured.counts.items()}}


def repeated(measured: Sizes) -> int:
    """How many texts say, but for case and spaces, the same as an earlier one."""
    return int((measured.keys[1:] == measured.keys[:-1]).sum())


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


def how_many(measured: Sizes, seed: int, count: int) -> int:
    """How many texts `sampled` takes."""
    n = measured.height
    if n <= count:
        return n
    slices = (pl.DataFrame({"key": measured.keys[at : at + KEYS_AT_ONCE]}) for at in range(0, n, KEYS_AT_ONCE))
    return sum(int(some.select(_drawn(pl.col("key"), n, seed, count).sum()).item()) for some in slices)


def top_words(texts: Texts, measured: Sizes, seed: int) -> dict[str, Any]:
    """The most frequent words without the commonest English ones, and the size of the vocabulary."""
    n = measured.height

    def words(rows: pl.LazyFrame) -> pl.LazyFrame:
        some = sampled(rows, n, seed, WORDS_SAMPLE).select(word=_words(pl.col("text")))
        return some.explode("word").drop_nulls().group_by("word").len()

    counted = totals(texts.each(words), "word")
    telling = counted.filter(~pl.col("word").is_in(list(STOP_WORDS)) & (pl.col("word").str.len_chars() > 1))
    top = telling.sort(["len", "word"], descending=[True, False]).head(TOP_WORDS)
    return {
        "texts": how_many(measured, seed, WORDS_SAMPLE),
        "tokens": int(counted["len"].sum() or 0),
        "vocabulary": counted.height,
        "once": counted.filter(pl.col("len") == 1).height,
        "top": [[w, int(count)] for w, count in top.iter_rows()],
    }


def sample_texts(texts: Texts, n: int, seed: int) -> list[str]:
    """A fixed-size sample that depends on the seed and the texts only, in a reproducible order."""

    def drawn(count: int) -> Iterator[pl.DataFrame]:
        return texts.each(lambda rows: sampled(rows, n, seed, count).select("text", key=_KEY.hash(seed)))

    some = few(drawn(SAMPLE + SAMPLE // 4))
    if some.height < min(n, SAMPLE):  # many equal texts share their hash
        some = few(frame.bottom_k(SAMPLE, by=["key", "text"]) for frame in drawn(n))
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
            out = (out ^ (out >> np.uint64(29))) * MIX[0] + tokens[at : at + len(out)].astype(np.uint64) * MIX[1]
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
