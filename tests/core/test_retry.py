"""Retries: every kind has a rule, every job ends, and retries never outgrow their part of the calls."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.core.retry import (
    DELAY_S_MAX,
    RETRY_AFTER_S_MAX,
    RULES,
    Leave,
    Requeue,
    Retry,
    RetryBudget,
    RetryPolicy,
    Settle,
    Stop,
    decide,
    policy_of,
)
from schemas.config import RateLimiting
from schemas.outcome import ErrorKind

JITTER = st.floats(0, 1, exclude_max=True)


def test_every_kind_of_error_has_a_rule() -> None:
    assert set(RULES) == set(ErrorKind)


@pytest.mark.parametrize(
    ("kind", "calls", "end"),
    [
        (ErrorKind.REFUSED, 1, Settle("refused")),
        (ErrorKind.INVALID, 1, Settle("failed")),
        (ErrorKind.TOO_LARGE, 1, Settle("failed")),
        (ErrorKind.NO_PICTURE, 2, Settle("refused")),
        (ErrorKind.BAD_IMAGE, 2, Settle("failed")),
        (ErrorKind.BAD_ANSWER, 2, Settle("failed")),
        (ErrorKind.TRUNCATED, 2, Settle("failed")),
        (ErrorKind.SERVER, 3, Settle("failed")),
        (ErrorKind.UNKNOWN, 3, Settle("failed")),
        (ErrorKind.AUTH, 1, Stop("auth")),
        (ErrorKind.NO_QUOTA, 1, Stop("no_quota")),
        (ErrorKind.MODEL, 1, Stop("model")),
        (ErrorKind.REGION, 1, Stop("region")),
        (ErrorKind.INTERNAL, 1, Stop("internal")),
    ],
)
def test_so_many_calls_are_made_by_default_before_a_job_is_over(kind: ErrorKind, calls: int, end: object) -> None:
    policy = policy_of(RateLimiting())
    for attempt in range(1, calls):
        assert isinstance(decide(policy, attempt, kind, None, 0.0, 0.5), Retry)
    assert decide(policy, calls, kind, None, 0.0, 0.5) == end


@given(st.integers(1, 9), st.integers(1, 9), JITTER)
def test_what_was_too_large_is_asked_smaller_at_once_whatever_was_tried_before_and_only_where_it_can(
    tries_max: int, attempt: int, jitter: float
) -> None:
    policy = RetryPolicy(tries_max=tries_max)
    smaller = decide(policy, attempt, ErrorKind.TOO_LARGE, None, 7.0, jitter, shrinkable=True)
    assert smaller == Retry(7.0)
    assert decide(policy, attempt, ErrorKind.TOO_LARGE, None, 7.0, jitter) == Settle("failed")


@given(
    st.sampled_from([k for k, rule in RULES.items() if rule.then == "requeue"]), st.integers(1, 5), st.integers(0, 49)
)
def test_what_a_quota_turned_away_or_never_left_is_not_an_attempt(kind: ErrorKind, attempt: int, away: int) -> None:
    verdict = decide(RetryPolicy(), attempt, kind, 14.0, 100.0, 0.5, turned_away=away)
    assert isinstance(verdict, Requeue)
    assert 100.0 <= verdict.at <= 100.0 + DELAY_S_MAX


def test_a_429_goes_back_at_once_because_the_gate_knows_when() -> None:
    assert decide(RetryPolicy(), 1, ErrorKind.RATE_LIMITED, 14.0, 100.0, 0.9, turned_away=3) == Requeue(100.0)


@given(st.sampled_from(ErrorKind), st.integers(1, 60))
def test_every_job_ends(kind: ErrorKind, tries_max: int) -> None:
    policy = RetryPolicy(tries_max=tries_max)
    attempt, away = 1, 0
    for _ in range(200):
        verdict = decide(policy, attempt, kind, None, 0.0, 0.5, turned_away=away)
        if isinstance(verdict, Leave | Settle | Stop):
            return
        attempt += isinstance(verdict, Retry)
        away += isinstance(verdict, Requeue)
    raise AssertionError(f"{kind} never ends")


@given(JITTER, st.integers(1, 19), st.floats(0, 1e4))
def test_backoff_is_full_jitter_and_bounded(jitter: float, attempt: int, now: float) -> None:
    policy = RetryPolicy(tries_max=20)
    verdict = decide(policy, attempt, ErrorKind.SERVER, None, now, jitter)
    assert isinstance(verdict, Retry)
    longest = min(DELAY_S_MAX, 2.0 * 2.0 ** (attempt - 1))
    assert now <= verdict.at <= now + longest
    assert abs(verdict.at - (now + longest * jitter)) < 1e-6


def test_without_exponential_backoff_only_the_initial_delay_counts() -> None:
    policy = policy_of(RateLimiting(enable_exponential_backoff=False, initial_retry_delay=3, max_retries=9))
    assert decide(policy, 7, ErrorKind.SERVER, None, 0.0, 0.5) == Retry(1.5)


def test_a_moment_that_the_far_side_named_is_kept_within_reason() -> None:
    assert decide(RetryPolicy(), 1, ErrorKind.SERVER, 30.0, 0.0, 0.1) == Retry(30.0)
    assert decide(RetryPolicy(), 1, ErrorKind.SERVER, 1e9, 0.0, 0.1) == Retry(RETRY_AFTER_S_MAX)


def test_no_retries_means_one_call() -> None:
    assert decide(policy_of(RateLimiting(max_retries=0)), 1, ErrorKind.SERVER, None, 0.0, 0.5) == Settle("failed")


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 0.5)), max_size=400))
def test_retries_never_exceed_a_tenth_of_the_calls_a_floor_and_a_trickle(steps: list[tuple[bool, float]]) -> None:
    budget, now, fresh, retries = RetryBudget(), 0.0, 0, 0
    for is_fresh, gap in steps:
        now += gap
        if is_fresh:
            budget.fresh()
            fresh += 1
        elif budget.earliest(now) <= now:
            budget.spend(now)
            retries += 1
        assert retries <= budget.FLOOR + budget.PART * fresh + budget.TRICKLE_PER_S * now + 1e-6


@given(st.integers(0, 100))
def test_the_retry_budget_always_names_a_moment_that_holds(spent: int) -> None:
    budget, now = RetryBudget(), 0.0
    for _ in range(spent):
        now = max(now, budget.earliest(now))
        budget.spend(now)
    at = budget.earliest(now)
    assert at - now <= 1.0 / budget.TRICKLE_PER_S + 1e-6
    assert budget.earliest(at) <= at
