"""The Pacific day, also where it has 23 or 25 hours."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from engine.core.pacific import ZONE, day_bounds

PACIFIC = ZoneInfo(ZONE)


def bounds(text: str) -> tuple[str, str]:
    start, end = day_bounds(datetime.fromisoformat(text).timestamp(), PACIFIC)
    return tuple(f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M}" for at in (start, end))  # type: ignore[return-value]


def test_the_day_turns_at_seven_or_eight_utc() -> None:
    assert bounds("2026-07-01T06:59:59+00:00") == ("2026-06-30T07:00", "2026-07-01T07:00")
    assert bounds("2026-07-01T07:00:00+00:00") == ("2026-07-01T07:00", "2026-07-02T07:00")
    assert bounds("2026-12-01T07:59:59+00:00") == ("2026-11-30T08:00", "2026-12-01T08:00")


def test_days_on_which_clocks_are_set_have_23_and_25_hours() -> None:
    assert bounds("2026-03-08T20:00:00+00:00") == ("2026-03-08T08:00", "2026-03-09T07:00")
    assert bounds("2026-11-01T08:30:00+00:00") == ("2026-11-01T07:00", "2026-11-02T08:00")
    assert bounds("2026-11-01T09:30:00+00:00") == ("2026-11-01T07:00", "2026-11-02T08:00")  # the hour that comes twice


@given(st.floats(1.6e9, 2.2e9))
def test_every_moment_lies_in_its_day_and_days_meet(at: float) -> None:
    start, end = day_bounds(at, PACIFIC)
    assert start <= at < end
    assert 23 * 3600 <= end - start <= 25 * 3600
    assert day_bounds(end, PACIFIC)[0] == end
    assert day_bounds(start - 1, PACIFIC)[1] == start
