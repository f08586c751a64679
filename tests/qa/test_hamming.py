"""Laws of the pair search: nothing within the distance is missed, nothing outside it is told, nothing twice."""

from __future__ import annotations

from itertools import combinations
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.qa import hamming
from engine.qa.hamming import blocks_for, expected_chance_pairs, near_between, near_pairs


def told(pairs: hamming.Pairs) -> dict[frozenset[int], int]:
    sides = zip(pairs.a.tolist(), pairs.b.tolist(), pairs.distance.tolist(), strict=True)
    found = {frozenset((a, b)): d for a, b, d in sides}
    assert len(found) == pairs.count, "a pair was told twice"
    return found


def truth(hashes: list[int], distance: int) -> dict[frozenset[int], int]:
    apart = {frozenset((a, b)): (a ^ b).bit_count() for a, b in combinations(hashes, 2)}
    return {pair: d for pair, d in apart.items() if d <= distance}


# Hashes near each other, so that there is something to find.
flips = st.lists(st.integers(0, 63), max_size=9)
crowds = st.lists(st.tuples(st.integers(0, 3), flips), max_size=40).map(
    lambda items: sorted({_flipped(0x0123456789ABCDEF * (seed + 1) % 2**64, bits) for seed, bits in items})
)


def _flipped(value: int, bits: list[int]) -> int:
    for bit in bits:
        value ^= 1 << bit
    return value


@pytest.mark.parametrize("distance", [0, 1, 3, 6, 10])
@given(crowds)
@settings(deadline=None, max_examples=40)
def test_block_search_finds_exactly_what_comparing_all_finds(distance, hashes):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hamming, "BRUTE_MAX", 0)
        assert told(near_pairs(np.array(hashes, np.uint64), distance)) == truth(hashes, distance)


@given(crowds, crowds)
@settings(deadline=None, max_examples=40)
def test_search_between_two_sets_finds_every_pair_and_equal_ones(left, right):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hamming, "BRUTE_MAX", 0)
        found = near_between(np.array(left, np.uint64), np.array(right, np.uint64), 4)
    sides = sorted(zip(found.a.tolist(), found.b.tolist(), strict=True))
    assert sides == sorted((a, b) for a in left for b in right if (a ^ b).bit_count() <= 4)


def test_a_large_set_is_searched_as_exactly_as_by_comparing_all(monkeypatch):
    rng = np.random.default_rng(4)
    hashes = rng.integers(0, 2**64, 15_000, dtype=np.uint64)
    near = hashes[:600] ^ (np.uint64(1) << rng.integers(0, 64, 600).astype(np.uint64))
    near ^= np.uint64(1) << rng.integers(0, 64, 600).astype(np.uint64)
    every = np.unique(np.concatenate([hashes, near]))
    found = told(near_pairs(every, 3))
    monkeypatch.setattr(hamming, "BRUTE_MAX", len(every))
    assert found == told(near_pairs(every, 3))


def test_enough_bits_are_shared_that_neighbours_stay_few():
    for n, distance in ((1_000_000, 3), (1_000_000, 6), (10_000_000, 3)):
        m = blocks_for(n, distance)
        assert (m - distance) * 64 / m >= np.log2(n)
        assert comb(m, distance) <= 250


def test_chance_pairs_follow_the_binomial():
    assert expected_chance_pairs(1_000_000, 10) == pytest.approx(4_990, rel=0.02)
    assert expected_chance_pairs(1_000_000, 4) == pytest.approx(0.018, rel=0.05)
