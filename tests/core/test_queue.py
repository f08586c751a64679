"""The order of work: turned away, then due retries, then fresh; bounded, and nothing is ever lost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.core.queue import WorkQueue
from engine.core.retry import RetryBudget


def test_turned_away_comes_first_then_retries_that_are_due_then_fresh() -> None:
    queue: WorkQueue[str] = WorkQueue()
    for item in ("fresh 1", "fresh 2"):
        queue.push(item)
    queue.retry("retry late", 20.0)
    queue.retry("retry early", 5.0)
    queue.requeue("away 1")
    queue.requeue("away 2")
    queue.requeue("away later", 8.0)
    assert [queue.pop(10.0) for _ in range(6)] == [
        "away 1", "away 2", "away later", "retry early", "fresh 1", "fresh 2",
    ]  # fmt: skip
    assert queue.pop(10.0) is None
    assert queue.next_moment(10.0) == 20.0
    assert queue.pop(20.0) == "retry late"
    assert queue.next_moment(20.0) is None


def test_fresh_work_goes_on_while_the_retry_budget_is_spent_and_every_retry_comes_in_the_end() -> None:
    queue: WorkQueue[int] = WorkQueue(fresh_max=10_000, budget=RetryBudget())
    for i in range(100):
        queue.retry(i, 0.0)
    for i in range(100, 200):
        queue.push(i)
    order = [queue.pop(0.0) for _ in range(110)]
    assert sum(i is not None and i < 100 for i in order) <= 20
    now, got = 0.0, [i for i in order if i is not None]
    while (moment := queue.next_moment(now)) is not None:
        now = moment
        item = queue.pop(now)
        assert item is not None, "next_moment must be true"
        got.append(item)
    assert sorted(got) == list(range(200))
    assert now < 100


def test_too_many_waiting_retries_hold_back_fresh_work() -> None:
    queue: WorkQueue[int] = WorkQueue(fresh_max=3, retries_max=2)
    assert queue.room == 3
    queue.retry(1, 9.0)
    queue.retry(2, 9.0)
    assert queue.room == 0
    with pytest.raises(OverflowError):
        queue.push(3)
    assert queue.pop(9.0) == 1
    assert queue.room == 3


STEPS = st.lists(
    st.tuples(st.sampled_from(["push", "retry", "requeue", "later", "pop"]), st.floats(0, 3)), max_size=200
)


@given(STEPS)
def test_nothing_is_lost_or_doubled(steps: list[tuple[str, float]]) -> None:
    queue: WorkQueue[int] = WorkQueue(fresh_max=1000, budget=RetryBudget())
    now, count, out = 0.0, 0, list[int]()
    for what, amount in steps:
        now += amount
        if what == "pop":
            item = queue.pop(now)
            if item is not None:
                out.append(item)
            continue
        count += 1
        match what:
            case "push":
                queue.push(count)
            case "retry":
                queue.retry(count, now + amount)
            case "requeue":
                queue.requeue(count)
            case _:
                queue.requeue(count, now + amount)
        assert len(queue) == count - len(out)
    while (moment := queue.next_moment(now)) is not None:
        now = moment
        item = queue.pop(now)
        assert item is not None, "there was to be something at that moment"
        out.append(item)
    assert sorted(out) == list(range(1, count + 1))
    assert len(queue) == 0
