"""The statistics against values known from elsewhere, and laws they must keep."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from engine.qa.numbers import (
    balance,
    cramers_v,
    discoveries,
    goodness_of_fit,
    jensen_shannon,
    log_odds,
    total_variation,
    wilson,
)

mixes = st.dictionaries(st.sampled_from("abcde"), st.floats(0.01, 10), min_size=1)


@given(st.integers(0, 500), st.integers(0, 500))
def test_wilson_is_scipys_and_holds_the_share(a, b):
    hits, n = min(a, b), max(a, b)
    low, high = wilson(hits, n)
    assert 0 <= low <= high <= 1
    if n:
        known = stats.binomtest(hits, n).proportion_ci(method="wilson")
        assert (low, high) == (pytest.approx(known.low, abs=1e-9), pytest.approx(known.high, abs=1e-9))


@given(mixes, mixes)
def test_distances_of_mixes_are_symmetric_bounded_and_zero_for_equal(p, q):
    for distance in (total_variation, jensen_shannon):
        assert distance(p, q) == pytest.approx(distance(q, p), abs=1e-9)
        assert -1e-9 <= distance(p, q) <= 1 + 1e-9
        assert distance(p, p) == pytest.approx(0, abs=1e-9)


def test_mixes_with_nothing_in_common_are_as_far_as_can_be():
    assert total_variation({"a": 1}, {"b": 1}) == jensen_shannon({"a": 1}, {"b": 1}) == 1


def test_goodness_of_fit_is_scipys():
    counts = {"a": 50, "b": 30, "c": 20}
    chi2, p, w = goodness_of_fit(counts, {"a": 0.4, "b": 0.4, "c": 0.2})
    known = stats.chisquare([50, 30, 20], [40, 40, 20])
    assert (chi2, p) == (pytest.approx(known.statistic), pytest.approx(known.pvalue))
    assert w == pytest.approx((known.statistic / 100) ** 0.5)


def test_cramers_v_is_one_for_a_copy_and_nothing_for_independence():
    v, p = cramers_v(np.diag([50.0, 50.0, 50.0]))
    assert v == pytest.approx(1, abs=0.02)
    assert p < 1e-10
    v, p = cramers_v(np.full((3, 4), 25.0))
    assert v == 0
    assert p == pytest.approx(1)


def test_discoveries_are_those_of_benjamini_and_hochberg():
    p = [0.001, 0.008, 0.039, 0.041, 0.042, 0.06, 0.074, 0.205, 0.212, 0.216]
    known = stats.false_discovery_control(p) <= 0.05
    assert discoveries(p) == known.tolist()


def test_log_odds_point_to_the_side_that_uses_a_word():
    left, right = np.array([40.0, 10, 50]), np.array([10.0, 40, 50])
    delta, z = log_odds(left, right, (left + right) / 10)
    assert delta[0] > 0 > delta[1]
    assert z[0] > 2
    assert abs(z[2]) < 1


def test_balance_is_one_only_for_equal_classes():
    assert balance([5, 5, 5]) == pytest.approx(1)
    assert balance([15, 0, 0]) == 0
    assert 0 < balance([10, 4, 1]) < 1
