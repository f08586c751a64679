"""Pairs of pictures worth comparing: the nearest of all that their hashes propose, each once, in bounded memory.

A crowd of n pictures that show the same proposes n * n / 2 pairs. They are never all held: as soon as there are more
than are kept, those further off than the last that is kept are dropped as they come. Pictures are numbers here.
"""

from __future__ import annotations

import threading

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from engine.errors import StoreError
from engine.qa.hamming import U64, Found, each_between, each_pair

CANDIDATES_MAX = 2_000_000
SAME_HASH_ROWS_MAX = 8
"""How many pictures of one hash stand for it in the search; the others hang on the first."""
WAITING_MAX = 1 << 19
"""Pairs that come before the nearest are chosen anew."""
SPREAD_AT_ONCE = 4_096
"""Pairs of hashes; up to `SAME_HASH_ROWS_MAX` squared pairs of pictures each."""
_ROW_BITS, _VARIANT_BITS = 26, 4
ROWS_MAX = 1 << _ROW_BITS
_ROW = np.uint64(ROWS_MAX - 1)
_WAY_BITS = 7 + _VARIANT_BITS + 1


class Candidates(Struct, frozen=True):
    """Pairs side by side; `variant` is how the second must be changed to look like the first."""

    a: NDArray[np.uint32]
    b: NDArray[np.uint32]
    distance: NDArray[np.uint8]
    variant: NDArray[np.uint8]

    @property
    def count(self) -> int:
        return len(self.a)


class Nearest:
    """The nearest pairs of all that are added: of each pair the nearest way, the plain one first; in all, so many.

    A pair is one number, so that sorting needs no second array: the lower row, the higher, and the way it was proposed,
    which is distance, variant, and whether the higher row is `a`.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept = np.empty(0, np.uint64)
        self._waiting: list[U64] = []
        self._count = 0
        self._furthest: np.uint64 | None = None
        """The place in line of the last that is kept, once something had to be left out."""
        self._lock = threading.Lock()

    def add(
        self, a: NDArray[np.integer], b: NDArray[np.integer], distance: NDArray[np.integer] | int, variant: int
    ) -> None:
        """Pairs of rows (below `ROWS_MAX`, a never b), from any thread."""
        low, high = np.minimum(a, b).astype(np.uint64), np.maximum(a, b).astype(np.uint64)
        way = (np.asarray(distance).astype(np.uint64) << np.uint64(_VARIANT_BITS)) | np.uint64(variant)
        keys = (low << np.uint64(_ROW_BITS)) | high
        keys <<= np.uint64(_WAY_BITS)
        keys |= (way << np.uint64(1)) | (a > b)
        with self._lock:
            if self._furthest is not None:
                keys = keys[_line(keys) <= self._furthest]
            self._waiting.append(keys)
            self._count += len(keys)
            if self._count > WAITING_MAX:
                self._choose()

    def worth(self, distance: NDArray[np.uint8], variant: int) -> NDArray[np.bool_]:
        """Which pairs of these distances could still be among the nearest."""
        furthest = self._furthest
        if furthest is None:
            return np.ones(len(distance), np.bool_)
        way = (distance.astype(np.uint64) << np.uint64(_VARIANT_BITS)) | np.uint64(variant)
        return way <= furthest >> np.uint64(2 * _ROW_BITS)

    def _choose(self) -> None:
        keys = np.concatenate([self._kept, *self._waiting])
        self._waiting.clear()
        self._count = 0
        keys.sort()
        pairs = keys >> np.uint64(_WAY_BITS)
        first = np.ones(len(keys), np.bool_)
        np.not_equal(pairs[1:], pairs[:-1], out=first[1:])
        keys = keys[first]
        if len(keys) > self._most:
            line = _line(keys)
            furthest = np.partition(line, self._most - 1)[self._most - 1]
            keys = keys[line <= furthest]
            self._furthest = furthest
        self._kept = keys

    def result(self) -> Candidates:
        """The pairs, those of one row together."""
        self._choose()
        a, b = _sides(self._kept)
        way = (self._kept >> np.uint64(1)).astype(np.uint16) & np.uint16((1 << (_WAY_BITS - 1)) - 1)
        return Candidates(
            a.astype(np.uint32),
            b.astype(np.uint32),
            (way >> _VARIANT_BITS).astype(np.uint8),
            (way & ((1 << _VARIANT_BITS) - 1)).astype(np.uint8),
        )


def _sides(keys: U64) -> tuple[U64, U64]:
    low, high = keys >> np.uint64(_WAY_BITS + _ROW_BITS), (keys >> np.uint64(_WAY_BITS)) & _ROW
    turned = (keys & np.uint64(1)).astype(np.bool_)
    return np.where(turned, high, low), np.where(turned, low, high)


def _line(keys: U64) -> U64:
    """Where pairs stand in line: by distance, variant, a, b."""
    a, b = _sides(keys)
    way = (keys >> np.uint64(1)) & np.uint64((1 << (_WAY_BITS - 1)) - 1)
    return (way << np.uint64(2 * _ROW_BITS)) | (a << np.uint64(_ROW_BITS)) | b


class Few(Struct, frozen=True):
    """Distinct hashes in order, and the first few pictures of each."""

    hashes: U64
    edges: NDArray[np.int64]
    """Those of hash i are `rows[edges[i] : edges[i + 1]]`."""
    rows: NDArray[np.uint32]


def few_of(hashes: U64) -> tuple[Few, NDArray[np.uint32], NDArray[np.uint32]]:
    """The few that stand for each hash; and of pictures that share one, each later one beside the first."""
    order = np.argsort(hashes, kind="stable").astype(np.uint32)
    sorted_ = hashes[order]
    fresh = np.ones(len(order), np.bool_)
    np.not_equal(sorted_[1:], sorted_[:-1], out=fresh[1:])
    starts = np.flatnonzero(fresh)
    sizes = np.diff(np.append(starts, len(order)))
    nth = np.arange(len(order)) - np.repeat(starts, sizes)
    rows = order[nth < SAME_HASH_ROWS_MAX]
    edges = np.concatenate([[0], np.cumsum(np.minimum(sizes, SAME_HASH_ROWS_MAX))])
    later = nth > 0
    return Few(sorted_[starts], edges, rows), np.repeat(order[starts], sizes)[later], order[later]


def _spread(found: Found, left: Few, right: Few, variant: int, nearest: Nearest) -> None:
    """Add pairs of hashes as pairs of rows."""
    h, g, distance = found
    worth = nearest.worth(distance, variant)
    if not worth.all():
        h, g, distance = h[worth], g[worth], distance[worth]
    for start in range(0, len(h), SPREAD_AT_ONCE):
        cut = slice(start, start + SPREAD_AT_ONCE)
        i, j = np.searchsorted(left.hashes, h[cut]), np.searchsorted(right.hashes, g[cut])
        one, other = left.edges[i + 1] - left.edges[i], right.edges[j + 1] - right.edges[j]
        count = one * other
        pair = np.repeat(np.arange(len(i)), count)
        nth = np.arange(len(pair)) - np.repeat(np.cumsum(count) - count, count)
        a = left.rows[left.edges[i][pair] + nth // other[pair]]
        b = right.rows[right.edges[j][pair] + nth % other[pair]]
        apart = a != b
        nearest.add(a[apart], b[apart], distance[cut][pair][apart], variant)


class Search:
    """The search among pictures with these hashes: first `plain`, then `against` each variant."""

    def __init__(self, hashes: U64) -> None:
        if len(hashes) >= ROWS_MAX:
            raise StoreError(
                f"{len(hashes)} pictures are more than the {ROWS_MAX} that are searched for duplicates; set "
                "validation.check_duplicates to false"
            )
        self._nearest = Nearest(CANDIDATES_MAX)
        self._few, first, later = few_of(hashes)
        self._nearest.add(first, later, 0, 0)

    @property
    def distinct(self) -> int:
        """How many hashes there are."""
        return len(self._few.hashes)

    def plain(self, distance: int) -> None:
        """Pairs whose hashes are so near."""
        each_pair(self._few.hashes, distance, lambda some: _spread(some, self._few, self._few, 0, self._nearest))

    def against(self, hashes: U64, distance: int, variant: int) -> None:
        """Pairs of one picture and the changed other, by the hashes of all when changed in this way."""
        changed, _, _ = few_of(hashes)
        each_between(
            self._few.hashes, changed.hashes, distance,
            lambda some: _spread(some, self._few, changed, variant, self._nearest),
        )  # fmt: skip

    def candidates(self) -> Candidates:
        """What is worth comparing."""
        return self._nearest.result()
