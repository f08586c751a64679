"""Laws of one paced dimension, from both sides: never over in any window, never slower than it must be."""

from __future__ import annotations

import itertools
import math

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.core.pace import CREDIT_S, IDLE_S, Pace, Tally, margin_s

LIMITS = st.floats(min_value=1, max_value=20_000)
GAPS = st.lists(st.one_of(st.just(0.0), st.floats(0, 0.2), st.floats(0, 30)), min_size=1, max_size=300)


def most_in_window(moments: list[float], costs: list[float], window_s: float) -> float:
    """The heaviest window of any phase; a window begins with a call."""
    worst = held = 0.0
    first = 0
    for i, moment in enumerate(moments):
        held += costs[i]
        while moments[first] <= moment - window_s:
            held -= costs[first]
            first += 1
        worst = max(worst, held)
    return worst


@given(LIMITS, GAPS)
def test_no_window_of_a_minute_ever_holds_more_calls_than_the_limit(limit: float, gaps: list[float]) -> None:
    pace, now, moments = Pace(limit), 1000.0, list[float]()
    for gap in gaps:
        now = max(now + gap, pace.free_at)
        pace.take(1.0, now)
        moments.append(now)
    # Half a call cannot be sent: a limit of 1.5 is three calls in two minutes.
    assert most_in_window(moments, [1.0] * len(moments), 60.0) <= math.ceil(limit)


@given(st.integers(1, 500), st.lists(st.floats(0, 0.3), min_size=2, max_size=300))
def test_calls_that_arrive_late_by_less_than_the_margin_never_overfill_a_window(limit: int, late: list[float]) -> None:
    pace, now, arrivals = Pace(float(limit)), 0.0, list[float]()
    for late_s in late:
        now = max(now, pace.free_at)
        pace.take(1.0, now)
        arrivals.append(now + late_s)
    arrivals.sort()
    assert most_in_window(arrivals, [1.0] * len(arrivals), 60.0) <= limit


@given(
    st.floats(1_000, 1e6),
    st.lists(st.tuples(st.floats(0, 2), st.floats(0.0001, 0.3)), min_size=1, max_size=200),
)
def test_no_window_holds_more_tokens_than_the_limit_once_the_heaviest_call_is_known(
    limit: float, calls: list[tuple[float, float]]
) -> None:
    pace = Pace(limit, whole=False, margin=0.6)
    heaviest = max(part for _, part in calls) * limit
    pace.take(heaviest, 0.0)
    now, moments, costs = pace.free_at, list[float](), list[float]()
    for gap, part in calls:
        now = max(now + gap, pace.free_at)
        pace.take(part * limit, now)
        moments.append(now)
        costs.append(part * limit)
    assert most_in_window(moments, costs, 60.0) <= limit * (1 + 1e-9)


@given(st.floats(20, 20_000))
def test_a_backlog_uses_all_of_the_quota_but_the_margin(limit: float) -> None:
    pace, now, calls = Pace(limit), 0.0, 400
    for _ in range(calls):
        now = max(now, pace.free_at)
        pace.take(1.0, now)
    ramp_s = 0.45 * min(60.0, limit / 60.0 / 10.0)  # what a ramp from a tenth costs
    fair_s = (calls - 1) * (60.0 + margin_s(limit, 60.0)) / limit
    assert now <= fair_s + ramp_s + 0.02


@given(st.floats(60, 6_000), st.lists(st.floats(0, CREDIT_S), min_size=50, max_size=200))
def test_late_timers_cost_no_quota(limit: float, late: list[float]) -> None:
    pace, now = Pace(limit), 0.0
    for late_s in late:
        now = max(now, pace.free_at) + late_s
        pace.take(1.0, now)
    spacing = (60.0 + margin_s(limit, 60.0)) / limit
    ramp_s = 0.45 * min(60.0, 1 / (spacing * 10.0))
    # All lateness but the last call's is made up for, where a call's own spacing leaves room for it.
    assert pace.free_at <= len(late) * spacing + ramp_s + sum(max(0.0, x - spacing) for x in late) + CREDIT_S + 0.02


def test_after_a_long_sleep_calls_leave_at_the_usual_pace_not_in_a_burst() -> None:
    pace, now = Pace(600.0), 0.0
    for _ in range(100):
        now = max(now, pace.free_at)
        pace.take(1.0, now)
    now += IDLE_S / 2
    woke, moments = now, list[float]()
    for _ in range(50):
        now = max(now, pace.free_at)
        pace.take(1.0, now)
        moments.append(now)
    assert sum(t < woke + 1.0 for t in moments) <= 12


def test_a_start_ramps_up_and_twenty_images_hardly_notice() -> None:
    def seconds(limit: float, calls: int) -> list[float]:
        pace, now, moments = Pace(limit), 0.0, list[float]()
        for _ in range(calls):
            now = max(now, pace.free_at)
            pace.take(1.0, now)
            moments.append(now)
        return moments

    assert seconds(600, 20)[-1] < 19 * 0.101 + 0.6
    gaps = [b - a for a, b in itertools.pairwise(seconds(6000, 800))]
    assert gaps[0] > 5 * gaps[-1]
    assert all(a >= b - 1e-9 for a, b in itertools.pairwise(gaps))
    assert abs(gaps[-1] - 60.6 / 6000) < 1e-6


def test_without_a_limit_nothing_ever_waits() -> None:
    pace = Pace(None)
    for _ in range(1000):
        assert pace.free_at <= 5.0
        pace.take(1.0, 5.0)


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 2)), min_size=1, max_size=100))
def test_a_refund_never_lets_the_next_call_leave_in_the_past(calls: list[tuple[float, float]]) -> None:
    pace, now = Pace(1000.0, whole=False, margin=0.6), 0.0
    for reserved, actual in calls:
        now = max(now, pace.free_at)
        pace.take(reserved * 100, now)
        pace.reconcile(reserved * 100, actual * 100, now)
        assert pace.free_at >= now - CREDIT_S - 1e-9


def test_a_clock_that_goes_backward_stops_no_pace() -> None:
    for pace in (Pace(600.0), Pace(600.0, whole=False)):
        pace.take(1.0, 1000.0)
        for _ in range(500):
            pace.free_at = -math.inf
            pace.take(1.0, 990.0)
        assert 989.0 < pace.free_at < 992.0


def test_what_was_used_beyond_the_estimate_is_paid_for_by_those_who_follow() -> None:
    exact, low = Pace(1000.0, whole=False, margin=0.6), Pace(1000.0, whole=False, margin=0.6)
    exact.take(100.0, 0.0)
    low.take(10.0, 0.0)
    low.reconcile(10.0, 100.0, 0.0)
    assert abs(exact.free_at - low.free_at) < 2 * CREDIT_S


@given(st.lists(st.tuples(st.floats(0, 20), st.floats(0, 100)), max_size=100))
@settings(max_examples=50)
def test_the_tally_holds_what_the_last_window_held(calls: list[tuple[float, float]]) -> None:
    tally, now, seen = Tally(60.0), 0.0, list[tuple[float, float]]()
    for gap, amount in calls:
        now += gap
        tally.add(amount, now)
        seen.append((now, amount))
    # Slots are a second long, so the window is exact to one.
    low = sum(a for t, a in seen if t > now - 59.0)
    high = sum(a for t, a in seen if t > now - 61.0)
    assert low - 1e-6 <= tally.total(now) <= high + 1e-6
