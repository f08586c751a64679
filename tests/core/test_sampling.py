"""The prompt stream's chance is seekable, balanced and without repeats."""

from __future__ import annotations

import random
from collections import Counter
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.core import crowd
from engine.core.context import Column, People
from engine.core.sampling import (
    Chance,
    Sizes,
    combination,
    digest,
    draws,
    golden,
    permuted,
    share,
    shuffled,
    stratified,
)

seeds = st.integers(0, 2**63 - 1)


@given(n=st.integers(1, 400), seed=seeds, tweak=st.integers(0, 2**40))
def test_a_permutation_visits_every_element_exactly_once(n: int, seed: int, tweak: int) -> None:
    assert sorted(permuted(i, n, seed, "test", tweak) for i in range(n)) == list(range(n))


@given(n=st.integers(2, 2**62), seed=seeds, start=st.integers(0, 2**62))
def test_a_huge_range_is_shuffled_without_walking_through_it(n: int, seed: int, start: int) -> None:
    places = [permuted((start + i) % n, n, seed, "test") for i in range(min(n, 50))]
    assert len(set(places)) == len(places)
    assert all(0 <= place < n for place in places)


def test_another_tweak_seed_or_domain_is_another_shuffle() -> None:
    def order(seed: int, domain: str, tweak: int) -> tuple[int, ...]:
        return tuple(permuted(i, 200, seed, domain, tweak) for i in range(200))

    orders = {order(s, d, t) for s in (1, 2) for d in ("a", "b") for t in (0, 1)}
    assert len(orders) == 8


@given(n=st.integers(1, 30), seed=seeds, block=st.integers(0, 1000))
def test_a_stratified_choice_takes_each_value_once_per_block(n: int, seed: int, block: int) -> None:
    assert sorted(stratified(block * n + i, n, seed, "test") for i in range(n)) == list(range(n))


@given(
    themes=st.integers(1, 6), settings=st.integers(1, 6), news=st.integers(1, 7), guides=st.integers(1, 5), seed=seeds
)
def test_no_combination_comes_twice_until_all_have_come(
    themes: int, settings: int, news: int, guides: int, seed: int
) -> None:
    sizes = Sizes(themes, settings, news, guides)
    seen = {combination(i, sizes, seed)[:4] for i in range(sizes.combinations)}
    assert len(seen) == sizes.combinations
    again = {combination(i, sizes, seed)[:4] for i in range(sizes.combinations, 2 * sizes.combinations)}
    assert again == seen


@given(seed=seeds, block=st.integers(0, 10_000))
def test_themes_and_settings_are_balanced_in_every_stretch(seed: int, block: int) -> None:
    sizes = Sizes(7, 8, 240, 30)
    chosen = [combination(block * 56 + i, sizes, seed) for i in range(56)]
    assert len({(c.theme, c.setting) for c in chosen}) == 56
    for start in range(0, 56, 7):
        assert {c.theme for c in chosen[start : start + 7]} == set(range(7))
        assert len({c.setting for c in chosen[start : start + 7]}) == 7
    assert max(Counter(c.news for c in chosen).values()) <= 2, "news is spread as well"


def test_all_news_and_guides_come_up_early() -> None:
    chosen = [combination(i, Sizes(7, 8, 100, 30), 5) for i in range(56 * 6)]
    assert len({c.news for c in chosen}) == 100
    assert len({c.guide for c in chosen}) == 30


@given(seed=seeds, i=st.integers(0, 10**9))
def test_shares_of_the_people_sequence_neither_overlap_nor_leave_gaps(seed: int, i: int) -> None:
    here, there = share(i, (3, 4, 5, 6), seed, "crowd"), share(i + 1, (3, 4, 5, 6), seed, "crowd")
    assert here.first + here.points == there.first
    assert here.points in (3, 4, 5, 6)


def test_golden_draws_follow_the_weights_far_closer_than_lots() -> None:
    rng = random.Random(7)
    weights = [rng.randint(1, 500) for _ in range(112)]
    totals = [sum(weights[: k + 1]) for k in range(112)]
    people = People(columns={}, cumulative=totals)

    def distance(points: list[int]) -> float:
        counts = Counter(people.locate(p) for p in points)
        return sum(abs(counts[k] / len(points) - w / totals[-1]) for k, w in enumerate(weights)) / 2

    even = distance([golden(i, 20260121, "people") for i in range(10_000)])
    lots = distance([rng.getrandbits(64) for _ in range(10_000)])
    assert even < 0.012
    assert even * 2.5 < lots


@given(weights=st.lists(st.integers(1, 2**40), min_size=1, max_size=50), point=st.integers(0, 2**64 - 1))
def test_every_point_belongs_to_somebody(weights: list[int], point: int) -> None:
    totals = [sum(weights[: k + 1]) for k in range(len(weights))]
    people = People(columns={"age": Column(bytes(len(weights)), (40,))}, cumulative=totals)
    k = people.locate(point)
    below = totals[k - 1] if k else 0
    assert below * 2**64 <= point * totals[-1] + 2**64 - 1
    assert (point * totals[-1]) >> 64 < totals[k]
    assert people.person(k).age == 40


def test_a_choice_in_one_domain_never_shifts_another() -> None:
    first, second = Chance(1, "look", 9), Chance(1, "frame", 9)
    expected = [Chance(1, "frame", 9).below(1000) for _ in range(1)]
    for _ in range(500):
        first.below(7)
    assert [second.below(1000)] == expected


@given(seed=seeds, i=st.integers(0, 2**60), n=st.integers(1, 10**6))
def test_choices_stay_in_range_however_many_are_made(seed: int, i: int, n: int) -> None:
    chance = Chance(seed, "test", i)
    assert all(0 <= chance.below(n) < n for _ in range(200))


def test_choices_are_even() -> None:
    counts = Counter(Chance(3, "test", i).below(5) for i in range(20_000))
    assert all(abs(count - 4000) < 300 for count in counts.values())


def test_some_are_different_ones() -> None:
    chosen = Chance(3, "test", 1).some("abcdef", 4)
    assert len(set(chosen)) == 4
    assert sorted(Chance(3, "test", 1).some("ab", 9)) == ["a", "b"]


@given(seed=seeds, tweak=st.integers(0, 2**40), n=st.integers(1, 64))
def test_a_short_shuffle_is_what_drawing_one_after_the_other_gives(seed: int, tweak: int, n: int) -> None:
    assert list(shuffled(n, seed, "test", tweak)) == Chance(seed, "test", tweak).some(range(n), n)


@given(seed=seeds, n=st.integers(0, 6), count=st.integers(0, 7))
def test_one_choice_among_all_draws_is_drawing_one_after_the_other(seed: int, n: int, count: int) -> None:
    ways = draws(n, count)
    assert len(set(ways)) == len(ways)
    assert list(ways[digest(seed, "test", 1) % len(ways)]) == Chance(seed, "test", 1).some(range(n), count)


@given(seed=seeds, sizes=st.lists(st.integers(1, 9), max_size=60))
def test_choices_are_the_digits_of_the_digest(seed: int, sizes: list[int]) -> None:
    chance, bits = Chance(seed, "test", 1), digest(seed, "test", 1)
    for size in sizes:
        bits, k = divmod(bits, size)
        assert chance.below(size) == k


@pytest.mark.parametrize("kept", [0, crowd.PORTRAITS_KEPT])
@given(weights=st.lists(st.integers(1, 2**40), min_size=1, max_size=50), seed=seeds, first=st.integers(0, 10**12))
def test_who_is_drawn_is_who_stands_at_the_points_of_the_sequence(
    kept: int, weights: list[int], seed: int, first: int
) -> None:
    survey = People(columns={}, cumulative=list(accumulate(weights)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(crowd, "PORTRAITS_KEPT", kept)
        drawn = crowd.casting(survey, frozenset(["gender"]), seed)(first, 5)
    expected = dict.fromkeys(f"wb_{survey.locate(golden(first + n, seed, 'people')) + 1:06d}" for n in range(5))
    assert [portrait.told["profile_id"] for portrait in drawn] == list(expected)


@pytest.mark.parametrize(
    ("seed", "expected"),
    [
        (
            0,
            [
                (5, 1, 80, 13, 0),
                (6, 7, 222, 17, 0),
                (6, 3, 215, 17, 0),
                (3, 2, 177, 0, 1),
                (5, 3, 195, 0, 17857),
                (3, 2, 175, 22, 17857142857),
            ],
        ),
        (
            2**63 - 1,
            [
                (6, 3, 120, 22, 0),
                (1, 5, 138, 8, 0),
                (5, 7, 4, 12, 0),
                (0, 1, 201, 29, 1),
                (3, 5, 33, 18, 17857),
                (5, 5, 134, 28, 17857142857),
            ],
        ),
    ],
)
def test_the_stream_stays_the_same_between_releases(seed: int, expected: list[tuple[int, ...]]) -> None:
    """Resumed runs depend on it: a change here needs a higher GRAMMAR in engine.core.plan."""
    told = [combination(i, Sizes(7, 8, 240, 30), seed) for i in (0, 1, 55, 56, 10**6, 10**12)]
    assert [tuple(c) for c in told] == expected
