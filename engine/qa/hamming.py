"""All pairs of 64-bit hashes within a Hamming distance: exact, not approximate, in memory that follows n.

Block combinations (Manku, Jain, Das Sarma, WWW 2007): cut the 64 bits into m blocks; two hashes that differ
in at most k bits are equal in at least m - k of the blocks. So for each choice of m - k blocks, move those
blocks to the top, sort, and compare neighbours that share the top. A pair is taken only under the first
choice of blocks that it shares, so nothing is met twice and nothing needs to be made unique. Pairs are handed over some
at a time, as crowds of look-alikes have more of them than fit into memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations
from math import comb
from queue import SimpleQueue

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from engine.store.cores import cores

U64 = NDArray[np.uint64]
Found = tuple[U64, U64, NDArray[np.uint8]]
"""Some pairs: one side, the other, distances."""
Take = Callable[[Found], None]
"""What is called with pairs as they are found, from several threads."""
Room = list[U64]
THREADS_MAX = 4
"""Each has its own sorted copy of the hashes."""
BRUTE_MAX = 12_000
"""Up to here comparing everything with everything is quicker."""
_BRUTE_ROWS = 64
_CHUNK = 1 << 18


class Pairs(Struct, frozen=True):
    """Pairs of hashes and their distances, side by side."""

    a: U64
    b: U64
    distance: NDArray[np.uint8]

    @property
    def count(self) -> int:
        return len(self.a)


def _joined(found: list[Found]) -> Pairs:
    if not found:
        nothing = np.empty(0, np.uint64)
        return Pairs(nothing, nothing, np.empty(0, np.uint8))
    a, b, d = (np.concatenate(part) for part in zip(*found, strict=True))
    return Pairs(a, b, d)


def expected_chance_pairs(n: int, distance: int) -> float:
    """Pairs that n independent uniform hashes would have within this distance. Real hashes have somewhat more."""
    return n * (n - 1) / 2 * sum(comb(64, d) for d in range(distance + 1)) / 2.0**64


def blocks_for(n: int, distance: int) -> int:
    """Into how many blocks to cut: enough shared bits that neighbours are rare, and no more passes than that."""
    wanted_bits = max(14.0, np.log2(max(n, 2)) + 0.5)
    for m in range(distance + 1, 25):
        if (m - distance) * (64 / m) >= wanted_bits:
            return m
    return 24


class _Pass(Struct, frozen=True):
    """One choice of blocks: how to bring them to the top, and which pairs are this choice's own."""

    pieces: tuple[tuple[int, int, int], ...]
    """(mask of what moves, where it lies, where it goes)."""
    shared_bits: int
    choice: tuple[int, ...]
    blocks: dict[int, tuple[int, int]]
    """Each block's (mask, place) after the move."""


def _passes(m: int, distance: int) -> Iterator[_Pass]:
    edges = [round(64 * i / m) for i in range(m + 1)]
    width = [edges[i + 1] - edges[i] for i in range(m)]
    for choice in combinations(range(m), m - distance):
        rest = [i for i in range(m) if i not in choice]
        at = 64
        blocks: dict[int, tuple[int, int]] = {}
        pieces: list[tuple[int, int, int]] = []
        before = -2
        for block in (*choice, *rest):
            at -= width[block]
            low, mask = 64 - edges[block + 1], (1 << width[block]) - 1
            blocks[block] = (mask, at)
            if block == before + 1:  # blocks that stay side by side move as one
                mask |= pieces.pop()[0] << width[block]
            pieces.append((mask, low, at))
            before = block
        yield _Pass(tuple(pieces), sum(width[i] for i in choice), choice, blocks)


def _moved(hashes: U64, turn: _Pass, out: U64, scratch: U64) -> None:
    out.fill(0)
    for mask, low, at in turn.pieces:
        np.right_shift(hashes, np.uint64(low), out=scratch)
        np.bitwise_and(scratch, np.uint64(mask), out=scratch)
        np.left_shift(scratch, np.uint64(at), out=scratch)
        np.bitwise_or(out, scratch, out=out)


def _moved_back(hashes: U64, turn: _Pass) -> U64:
    out = np.zeros_like(hashes)
    for mask, low, at in turn.pieces:
        out |= ((hashes >> np.uint64(at)) & np.uint64(mask)) << np.uint64(low)
    return out


def _own(difference: U64, turn: _Pass) -> NDArray[np.bool_]:
    """Whether this choice is the first m - k of the blocks in which each pair is equal."""
    own = np.ones(len(difference), np.bool_)
    for block in range(turn.choice[-1]):
        if block not in turn.choice:  # an earlier block left out of the choice must differ
            mask, at = turn.blocks[block]
            own &= ((difference >> np.uint64(at)) & np.uint64(mask)) != 0
    return own


class Workers:
    """Threads for several searches: numpy sorts outside the interpreter's lock.

    Always the same ones, each with room for what it sorts: arrays that come and go in threads that come and go leave
    holes in as many heaps, 400 MB of them after a search among a million pictures.
    """

    def __init__(self, threads: int | None = None) -> None:
        self._count = threads or min(THREADS_MAX, cores())
        self._pool = ThreadPoolExecutor(self._count)

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()

    def each(self, turns: Iterator[_Pass], one: Callable[[_Pass, Room], None], sizes: Sequence[int]) -> None:
        """Carry out all passes, which do not depend on each other, with room of these sizes for each thread."""
        rooms: SimpleQueue[Room] = SimpleQueue()
        for _ in range(self._count):
            rooms.put([np.empty(size, np.uint64) for size in sizes])

        def in_room(turn: _Pass) -> None:
            room = rooms.get()
            try:
                one(turn, room)
            finally:
                rooms.put(room)

        for _ in self._pool.map(in_room, turns):
            pass


def each_pair(hashes: U64, distance: int, take: Take, workers: Workers) -> None:
    """Hand over every pair of these distinct hashes that differs in at most `distance` bits, each once."""
    if len(hashes) <= BRUTE_MAX:
        _brute(hashes, hashes, distance, take, same=True)
        return

    def one(turn: _Pass, room: Room) -> None:
        moved, scratch = room
        _moved(hashes, turn, moved, scratch)
        moved.sort()
        loose = np.uint64(64 - turn.shared_bits)
        shared = np.empty(len(moved) - 1, np.bool_)
        for start in range(0, len(shared), _CHUNK):
            some = moved[start : start + _CHUNK + 1]
            shared[start : start + _CHUNK] = (some[1:] ^ some[:-1]) >> loose == 0
        for start in range(0, len(shared), _CHUNK):
            at = np.flatnonzero(shared[start : start + _CHUNK]) + start
            step = 1
            while len(at):
                difference = moved[at] ^ moved[at + step]
                bits = np.bitwise_count(difference)
                near = bits <= distance
                near[near] = _own(difference[near], turn)
                if near.any():
                    hit = at[near]
                    take((_moved_back(moved[hit], turn), _moved_back(moved[hit + step], turn), bits[near]))
                # Neighbours further off share the top only where every step between does.
                at = at[at + step < len(shared)]
                at = at[shared[at + step]]
                step += 1

    workers.each(_passes(blocks_for(len(hashes), distance), distance), one, [len(hashes)] * 2)


def each_between(left: U64, right: U64, distance: int, take: Take, workers: Workers) -> None:
    """Hand over every pair of a hash of `left` and one of `right` (each distinct) within `distance`, equal ones too."""
    if len(left) * len(right) <= BRUTE_MAX * BRUTE_MAX:
        _brute(left, right, distance, take, same=False)
        return

    def one(turn: _Pass, room: Room) -> None:
        a, b, scratch = room
        _moved(left, turn, a, scratch[: len(a)])
        _moved(right, turn, b, scratch[: len(b)])
        a.sort()
        b.sort()
        loose = np.uint64((1 << (64 - turn.shared_bits)) - 1)
        for start in range(0, len(b), _CHUNK):
            some = b[start : start + _CHUNK]
            partner = np.searchsorted(a, some & ~loose, side="left")
            last = np.searchsorted(a, some | loose, side="right")
            while True:
                open_ = partner < last
                some, partner, last = some[open_], partner[open_], last[open_]
                if not len(some):
                    break
                difference = some ^ a[partner]
                bits = np.bitwise_count(difference)
                near = bits <= distance
                near[near] = _own(difference[near], turn)
                if near.any():
                    take((_moved_back(a[partner[near]], turn), _moved_back(some[near], turn), bits[near]))
                partner += 1

    most = max(len(left), len(right))
    workers.each(_passes(blocks_for(most, distance), distance), one, [len(left), len(right), most])


def near_pairs(hashes: U64, distance: int, *, threads: int | None = None) -> Pairs:
    """What `each_pair` hands over, all together."""
    found: list[Found] = []
    with Workers(threads) as workers:
        each_pair(hashes, distance, found.append, workers)
    return _joined(found)


def near_between(left: U64, right: U64, distance: int, *, threads: int | None = None) -> Pairs:
    """What `each_between` hands over, all together."""
    found: list[Found] = []
    with Workers(threads) as workers:
        each_between(left, right, distance, found.append, workers)
    return _joined(found)


def _brute(left: U64, right: U64, distance: int, take: Take, *, same: bool) -> None:
    for start in range(0, len(left), _BRUTE_ROWS):
        rows = left[start : start + _BRUTE_ROWS]
        others = right[start if same else 0 :]
        bits = np.bitwise_count(rows[:, None] ^ others[None, :])
        i, j = np.nonzero(bits <= distance)
        if same:
            keep = j > i
            i, j = i[keep], j[keep]
        if len(i):
            take((rows[i], others[j], bits[i, j]))
