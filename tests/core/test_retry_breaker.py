"""The breaker: pauses when nothing answers, probes, and gives up."""

from __future__ import annotations

import math

from engine.core.breaker import Breaker
from schemas.outcome import ErrorKind


def fail(breaker: Breaker, now: float, times: int = 1, *, probe: bool = False) -> None:
    for _ in range(times):
        breaker.failed(ErrorKind.CONNECT, "connection refused", now, 0.5, probe=probe)


def test_single_failures_between_successes_never_pause() -> None:
    breaker = Breaker()
    for i in range(100):
        fail(breaker, float(i), 4)
        breaker.succeeded()
    assert not breaker.open


def test_five_in_a_row_pause_and_calls_that_were_in_flight_do_not_prolong_it() -> None:
    breaker = Breaker()
    fail(breaker, 0.0, 5)
    until = breaker.until
    assert breaker.open
    assert 0.5 <= until <= 2.0
    fail(breaker, 0.4, 50)
    assert breaker.until == until


def test_failed_probes_come_at_growing_distances_and_one_success_closes() -> None:
    breaker = Breaker()
    fail(breaker, 0.0, 5)
    waits = []
    now = breaker.until
    for _ in range(8):
        fail(breaker, now, probe=True)
        waits.append(breaker.until - now)
        now = breaker.until
    assert waits == sorted(waits)
    assert waits[-1] <= 60.0
    assert breaker.succeeded() == "closed"
    assert breaker.until == -math.inf
    assert breaker.succeeded() is None


def test_it_gives_up_early_when_nothing_ever_answered_and_late_in_an_outage() -> None:
    unseen, seen = Breaker(), Breaker()
    seen.succeeded()
    for breaker in (unseen, seen):
        assert breaker.gives_up_at() == math.inf
        fail(breaker, 10.0, 5)
    assert unseen.gives_up_at() == 70.0
    assert seen.gives_up_at() == 910.0


def test_a_far_side_that_says_it_is_overloaded_is_given_more_time() -> None:
    breaker = Breaker()
    for _ in range(5):
        breaker.failed(ErrorKind.OVERLOADED, "overloaded", 10.0, 0.5, probe=False)
    assert breaker.gives_up_at() == 910.0
