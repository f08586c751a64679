"""Pairs of pictures worth comparing: the nearest of all that their hashes propose, each once, in bounded memory.

A crowd of n pictures that show the same proposes n * n / 2 pairs. They are never all held: as soon as there are more
than are kept, those further off than the last that is kept are dropped as they come. Pictures are numbers here.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from engine.errors import StoreError
from engine.qa.hamming import U64, Found, Workers, each_between, each_pair

CANDIDATES_MAX = 2_000_000
SAME_HASH_ROWS_MAX = 8
"""How many pictures of one hash stand for it in the search; the others hang on the first."""
WAITING_MAX = 1 << 19
"""Pairs that come before the nearest are chosen anew."""
AT_ONCE = 1 << 16
"""Pairs that are looked at together."""
SPREAD_AT_ONCE = 1_024
"""Pairs of hashes; up to `SAME_HASH_ROWS_MAX` squared pairs of pictures each."""
_ROW_BITS, _VARIANT_BITS = 26, 4
ROWS_MAX = 1 << _ROW_BITS
_ROW = np.uint64(ROWS_MAX - 1)
_WAY_BITS = 7 + _VARIANT_BITS + 1
_WAY = np.uint64(_WAY_BITS)


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
        # One array for all time; what is not written to takes no memory.
        self._keys = np.empty(most + WAITING_MAX, np.uint64)
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
            while len(keys):
                if self._furthest is not None:
                    keys = keys[_line(keys) <= self._furthest]
                some = keys[: len(self._keys) - self._count]
                self._keys[self._count : self._count + len(some)] = some
                self._count += len(some)
                keys = keys[len(some) :]
                if self._count == len(self._keys):
                    self._choose()

    def worth(self, distance: NDArray[np.uint8], variant: int) -> NDArray[np.bool_]:
        """Which pairs of these distances could still be among the nearest."""
        furthest = self._furthest
        if furthest is None:
            return np.ones(len(distance), np.bool_)
        way = (distance.astype(np.uint64) << np.uint64(_VARIANT_BITS)) | np.uint64(variant)
        return way <= furthest >> np.uint64(2 * _ROW_BITS)

    def _choose(self) -> None:
        keys = self._keys[: self._count]
        keys.sort()
        self._keep(lambda some, before: np.append(before, some[:-1]) >> _WAY != some >> _WAY)
        if self._count > self._most:
            line = np.empty(self._count, np.uint64)
            for start in range(0, self._count, AT_ONCE):
                line[start : start + AT_ONCE] = _line(self._keys[start : min(start + AT_ONCE, self._count)])
            line.partition(self._most - 1)
            self._furthest = furthest = line[self._most - 1]
            self._keep(lambda some, _: _line(some) <= furthest)

    def _keep(self, which: Callable[[U64, np.uint64], NDArray[np.bool_]]) -> None:
        """Close the ranks: only those stay that are chosen, some at a time, with the key before them."""
        kept, before = 0, ~np.uint64(0)
        for start in range(0, self._count, AT_ONCE):
            some = self._keys[start : min(start + AT_ONCE, self._count)].copy()
            chosen = some[which(some, before)]
            self._keys[kept : kept + len(chosen)] = chosen
            kept, before = kept + len(chosen), some[-1]
        self._count = kept

    def result(self) -> Candidates:
        """The pairs, those of one row together."""
        self._choose()
        keys = self._keys[: self._count]
        a, b = _sides(keys)
        way = (keys >> np.uint64(1)).astype(np.uint16) & np.uint16((1 << (_WAY_BITS - 1)) - 1)
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
    edges: NDArray[np.uint32]
    """Those of hash i are `rows[edges[i] : edges[i + 1]]`."""
    rows: NDArray[np.uint32]

    def sizes(self, which: NDArray[np.intp]) -> NDArray[np.int64]:
        """How many pictures stand for these hashes."""
        return (self.edges[which + 1] - self.edges[which]).astype(np.int64)


def few_of(hashes: U64) -> tuple[Few, NDArray[np.uint32], NDArray[np.uint32]]:
    """The few that stand for each hash; and of pictures that share one, each later one beside the first."""
    order = np.argsort(hashes, kind="stable").astype(np.uint32)
    sorted_ = hashes[order]
    fresh = np.ones(len(order), np.bool_)
    np.not_equal(sorted_[1:], sorted_[:-1], out=fresh[1:])
    starts = np.flatnonzero(fresh).astype(np.uint32)
    sizes = np.diff(starts, append=np.uint32(len(order)))
    nth = np.arange(len(order), dtype=np.uint32)
    nth -= np.repeat(starts, sizes)
    edges = np.zeros(len(starts) + 1, np.uint32)
    np.cumsum(np.minimum(sizes, SAME_HASH_ROWS_MAX), out=edges[1:])
    few = Few(sorted_[starts], edges, order[nth < SAME_HASH_ROWS_MAX])
    return few, np.repeat(order[starts], sizes)[nth > 0], order[nth > 0]


def _spread(found: Found, left: Few, right: Few, variant: int, nearest: Nearest) -> None:
    """Add pairs of hashes as pairs of rows."""
    h, g, distance = found
    worth = nearest.worth(distance, variant)
    if not worth.all():
        h, g, distance = h[worth], g[worth], distance[worth]
    for start in range(0, len(h), SPREAD_AT_ONCE):
        cut = slice(start, start + SPREAD_AT_ONCE)
        i, j = np.searchsorted(left.hashes, h[cut]), np.searchsorted(right.hashes, g[cut])
        one, other = left.sizes(i), right.sizes(j)
        count = one * other
        pair = np.repeat(np.arange(len(i)), count)
        nth = np.arange(len(pair)) - np.repeat(np.cumsum(count) - count, count)
        a = left.rows[left.edges[i][pair] + nth // other[pair]]
        b = right.rows[right.edges[j][pair] + nth % other[pair]]
        apart = a != b
        nearest.add(a[apart], b[apart], distance[cut][pair][apart], variant)


class Search:
    """The search among pictures with these hashes: first `plain`, then `against` each variant."""

    def __init__(self, hashes: U64, workers: Workers) -> None:
        if len(hashes) >= ROWS_MAX:
            raise StoreError(
                f"{len(hashes)} pictures are more than the {ROWS_MAX} that are searched for duplicates; set "
                "validation.check_duplicates to false"
            )
        self._workers = workers
        self._nearest = Nearest(CANDIDATES_MAX)
        self._few, first, later = few_of(hashes)
        self._nearest.add(first, later, 0, 0)

    @property
    def distinct(self) -> int:
        """How many hashes there are."""
        return len(self._few.hashes)

    def plain(self, distance: int) -> None:
        """Pairs whose hashes are so near."""
        each_pair(
            self._few.hashes,
            distance,
            lambda some: _spread(some, self._few, self._few, 0, self._nearest),
            self._workers,
        )

    def against(self, hashes: U64, distance: int, variant: int) -> None:
        """Pairs of one picture and the changed other, by the hashes of all when changed in this way."""
        changed, _, _ = few_of(hashes)
        each_between(
            self._few.hashes, changed.hashes, distance,
            lambda some: _spread(some, self._few, changed, variant, self._nearest), self._workers,
        )  # fmt: skip

    def candidates(self) -> Candidates:
        """What is worth comparing."""
        return self._nearest.result()
