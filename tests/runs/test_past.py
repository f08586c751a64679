"""What the scheduler is told of earlier sessions."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from engine.core.asking import PastCall
from engine.runtime.past import Past
from engine.store import Settled

NOON = datetime(2026, 1, 21, 20, tzinfo=UTC).timestamp()
"""In Los Angeles."""
MIDNIGHT = NOON - 12 * 3600


def a_line(wall_at: float, model: str = "m", status: str = "start", tokens: int = 7) -> Settled:
    at = datetime.fromtimestamp(wall_at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return Settled(
        job="j", status=status, stage="image", generated_at=at, model=model, cost_usd=0.04, tokens=tokens
    )  # fmt: skip


def test_calls_of_the_last_ten_minutes_are_told_one_by_one_and_those_of_the_day_by_number() -> None:
    past = Past(NOON)
    for wall_at in (MIDNIGHT - 0.5, MIDNIGHT, MIDNIGHT + 1, NOON - 601, NOON - 599, NOON - 1):
        past.add(a_line(wall_at))
    assert list(past) == [
        PastCall("m", MIDNIGHT, calls=3),
        PastCall("m", NOON - 599, 7, 1, 0.04),
        PastCall("m", NOON - 1, 7, 1, 0.04),
    ]
    assert len(past) == 5


def test_what_was_turned_away_is_not_told() -> None:
    past = Past(NOON)
    for wall_at, tokens in ((NOON - 3600, 7), (NOON - 30, 7), (NOON - 20, 9), (NOON - 10, 7)):
        past.add(a_line(wall_at, tokens=tokens))
    past.drop(a_line(NOON - 5, status="rejected", tokens=9))
    past.drop(a_line(NOON - 5, status="rejected", model="other", tokens=7))
    assert [call.wall_at for call in past] == [MIDNIGHT, NOON - 30, NOON - 10]
    for _ in range(5):
        past.drop(a_line(NOON - 5, status="rejected"))
    assert sum(call.calls for call in past) == len(past) == 0


@given(st.lists(st.tuples(st.sampled_from(["a", "b"]), st.integers(0, 20 * 3600)), max_size=60))
def test_no_call_of_the_day_is_missed_and_none_is_told_twice(calls: list[tuple[str, int]]) -> None:
    past = Past(NOON)
    for model, age_s in sorted(calls, key=lambda call: -call[1]):
        past.add(a_line(NOON - age_s, model))
    for name in ("a", "b"):
        told = sum(call.calls for call in past if call.model == name and call.wall_at >= MIDNIGHT)
        assert told == sum(model == name and age_s <= 12 * 3600 for model, age_s in calls)
