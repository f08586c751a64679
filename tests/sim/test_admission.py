"""Admission in virtual time: trio's clock jumps, so hours of waiting take seconds."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

import anyio
import pytest
import trio.testing

from engine.errors import ProviderError
from engine.observe.events import Event, Notice
from engine.runtime.admission import Admission, Ask, Feedback, Grant, PastCall, Stopped
from schemas.config import Limits
from schemas.outcome import ErrorKind, Usage

NOON = datetime(2026, 11, 22, 20, 0, tzinfo=UTC).timestamp()  # noon in Los Angeles
ASK = Ask("m", tokens=100, images=1, usd=0.04)


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "trio", {"clock": trio.testing.MockClock(autojump_threshold=0)}


def made(
    limits: dict[str, float] | None = None,
    *,
    wall_at: float = NOON,
    events: list[Event] | None = None,
    **kwargs: Any,
) -> Admission:
    rng = random.Random(7)
    began = anyio.current_time()
    return Admission(
        {"m": Limits.model_validate(limits or {})},
        wall=lambda: wall_at + anyio.current_time() - began,
        jitter=rng.random,
        on_event=events.append if events is not None else None,
        **kwargs,
    )


def failed(kind: ErrorKind, message: str = "no", **kwargs: Any) -> Feedback:
    return Feedback(error=ProviderError(kind, message, **kwargs))


async def calls(
    admission: Admission, count: int, *, took_s: float = 0.0, answer: Callable[[int], Feedback] = lambda i: Feedback()
) -> list[float]:
    """Make calls one after another as they are admitted, each ending after `took_s`; when each left."""
    start = anyio.current_time()
    moments: list[float] = []

    async def call(grant: Grant, i: int) -> None:
        await anyio.sleep(took_s)
        admission.settle(grant, answer(i))

    ended: Stopped | None = None
    async with anyio.create_task_group() as group:
        for i in range(count):
            try:
                grant = await admission.admit(ASK)
            except Stopped as stopped:
                ended = stopped  # calls in flight still end
                break
            moments.append(anyio.current_time() - start)
            if took_s:
                group.start_soon(call, grant, i)
            else:
                admission.settle(grant, answer(i))
    if ended is not None:
        raise ended
    return moments


async def test_a_demo_without_quotas_is_not_slowed_down_at_all() -> None:
    assert (await calls(made({"max_in_flight": 256}), 24))[-1] == 0.0


async def test_calls_leave_at_the_configured_pace() -> None:
    moments = await calls(made({"requests_per_minute": 600}), 601, took_s=8.0)
    assert 60.0 < moments[-1] < 61.5


async def test_calls_in_flight_are_bounded() -> None:
    moments = await calls(made({"max_in_flight": 3}), 9, took_s=10.0)
    assert moments == [0, 0, 0, 10, 10, 10, 20, 20, 20]


async def test_waiters_are_served_in_order_and_the_heavy_one_is_not_passed() -> None:
    admission = made({"tokens_per_minute": 6_000})
    order: list[int] = []

    async def wait(i: int, tokens: int) -> None:
        admission.settle(await admission.admit(Ask("m", tokens=tokens)), Feedback())
        order.append(i)

    async with anyio.create_task_group() as group:
        for i, tokens in enumerate([50, 50, 5_000, 50, 50, 50]):
            group.start_soon(wait, i, tokens)
            await trio.testing.wait_all_tasks_blocked()
    assert order == [0, 1, 2, 3, 4, 5]


async def test_a_cancelled_waiter_leaks_nothing_wherever_it_stood() -> None:
    admission = made({"max_in_flight": 1})
    first = await admission.admit(ASK)
    granted: list[str] = []
    scopes: dict[str, anyio.CancelScope] = {}

    async def wait(name: str) -> None:
        with anyio.CancelScope() as scopes[name]:
            grant = await admission.admit(ASK)
            granted.append(name)
            admission.settle(grant, Feedback())

    async with anyio.create_task_group() as group:
        for name in ("head", "middle", "tail"):
            group.start_soon(wait, name)
            await trio.testing.wait_all_tasks_blocked()
        assert admission.snapshot().models["m"].waiting == 3
        scopes["head"].cancel()
        scopes["middle"].cancel()
        await trio.testing.wait_all_tasks_blocked()
        admission.settle(first, Feedback())
    assert granted == ["tail"]
    view = admission.snapshot()
    assert view.models["m"].in_flight == 0
    assert view.models["m"].waiting == 0
    assert view.models["m"].requests == 2
    assert view.reserved_usd == pytest.approx(0.0)


async def test_cancelling_at_any_moment_never_loses_a_place() -> None:
    rng = random.Random(3)
    admission = made({"max_in_flight": 2, "requests_per_minute": 600})

    async def worker() -> None:
        for _ in range(30):
            with anyio.move_on_after(rng.random() * 0.3):
                grant = await admission.admit(ASK)
                try:
                    await anyio.sleep(rng.random() * 0.3)
                finally:
                    admission.settle(grant, Feedback())

    async with anyio.create_task_group() as group:
        for _ in range(8):
            group.start_soon(worker)
    view = admission.snapshot().models["m"]
    assert (view.in_flight, view.waiting) == (0, 0)
    with anyio.fail_after(5):
        await admission.admit(ASK)


async def test_retry_info_closes_the_gate_once_until_its_moment_for_everybody() -> None:
    admission = made({"requests_per_minute": 6000})
    grants = [await admission.admit(ASK) for _ in range(10)]
    start = anyio.current_time()
    for grant in grants:
        admission.settle(grant, failed(ErrorKind.RATE_LIMITED, retry_after_s=14.0, http_status=429))
    assert (await calls(admission, 1))[0] == pytest.approx(14.1, abs=0.02)
    view = admission.snapshot().models["m"]
    assert view.rejected == 10
    assert view.requests_per_minute is not None
    assert view.requests_per_minute > 5000, "ten refusals of one moment are one lesson"
    assert anyio.current_time() - start < 15


# --- the day ---


async def test_a_used_up_day_is_waited_out_until_midnight_pacific() -> None:
    events: list[Event] = []
    moments = await calls(made({"requests_per_day": 3}, events=events), 4)
    assert moments[:3] == [0, 0, 0]
    assert 12 * 3600 <= moments[3] <= 12 * 3600 + 60
    said = [e.message for e in events if isinstance(e, Notice)]
    assert len(said) == 1
    assert "2026-11-23 00:00 PST (08:00 UTC)" in said[0]


async def test_a_used_up_day_stops_the_run_where_waiting_is_not_wanted_and_says_when_to_come_back() -> None:
    admission = made({"requests_per_day": 3}, wait_for_day=False)
    with pytest.raises(Stopped) as stopped:
        await calls(admission, 4)
    assert stopped.value.exit_code == 4
    assert stopped.value.reason == "daily_quota"
    assert "2026-11-23 00:00 PST" in str(stopped.value)


async def test_a_daily_refusal_closes_the_day_without_any_limit_of_ours() -> None:
    admission = made()
    admission.settle(await admission.admit(ASK), failed(ErrorKind.QUOTA_DAY, http_status=429, quota_limit=250.0))
    assert (await calls(admission, 1))[0] >= 12 * 3600
    assert admission.snapshot().models["m"].requests_per_day == 250


async def test_a_daily_refusal_just_after_midnight_is_the_clocks_not_the_day() -> None:
    admission = made(wall_at=NOON + 12 * 3600 + 20, wait_for_day=False)
    admission.settle(await admission.admit(ASK), failed(ErrorKind.QUOTA_DAY, http_status=429))
    assert 250 <= (await calls(admission, 1))[0] <= 400


async def test_a_wall_clock_that_jumps_ahead_is_noticed_while_waiting() -> None:
    jump = 0.0
    admission = Admission(
        {"m": Limits(requests_per_day=1)}, wall=lambda: NOON + jump + anyio.current_time(), jitter=lambda: 0.5
    )
    await calls(admission, 1)
    start = anyio.current_time()
    async with anyio.create_task_group() as group:
        group.start_soon(calls, admission, 1)
        await anyio.sleep(100)
        jump = 13 * 3600.0  # the machine slept over midnight, and its monotonic clock with it
    assert anyio.current_time() - start < 200


async def test_a_restart_remembers_the_day_the_minute_and_the_ten_minutes() -> None:
    past = [PastCall("m", NOON - 40_000 + i, 100, 1, 0.04) for i in range(50)]  # today, long ago
    past += [PastCall("m", NOON - 13 * 3600, 100, 1, 0.04)] * 100  # yesterday
    past += [PastCall("m", NOON - 5 - i * 0.1, 100, 1, 0.04) for i in range(40)]  # a burst just now
    admission = made({"requests_per_minute": 60, "requests_per_day": 91, "usd_per_10_minutes": 10}, past=past)
    moments = await calls(admission, 1)
    assert moments[0] > 25, "the burst of the last session is paid off first"
    view = admission.snapshot().models["m"]
    assert view.requests_today == 91
    assert view.usd_last_10_minutes == pytest.approx(41 * 0.04)


# --- money ---


async def test_the_budget_is_never_passed_and_stops_the_run_when_the_next_call_does_not_fit() -> None:
    admission = made(budget_usd=1.0, spent_usd=0.5)
    with pytest.raises(Stopped) as stopped:
        await calls(admission, 100, took_s=5.0, answer=lambda i: Feedback(cost_usd=0.04))
    assert (stopped.value.reason, stopped.value.exit_code) == ("budget", 4)
    assert 0.96 < admission.snapshot().spent_usd <= 1.0


async def test_calls_in_flight_that_cost_less_than_reserved_make_room_for_others() -> None:
    admission = made(budget_usd=1.0)
    made_calls = 0

    def cheap(_: int) -> Feedback:
        nonlocal made_calls
        made_calls += 1
        return Feedback(cost_usd=0.01)

    with pytest.raises(Stopped):
        await calls(admission, 200, took_s=5.0, answer=cheap)
    assert made_calls > 90
    assert admission.snapshot().spent_usd <= 1.0


async def test_a_call_that_was_turned_away_costs_nothing_and_one_that_was_lost_costs_its_estimate() -> None:
    admission = made(budget_usd=1.0)
    admission.settle(await admission.admit(ASK), failed(ErrorKind.RATE_LIMITED, retry_after_s=0.0))
    assert admission.snapshot().spent_usd == 0.0
    admission.settle(await admission.admit(ASK), failed(ErrorKind.UNKNOWN))
    assert admission.snapshot().spent_usd == pytest.approx(0.04)


# --- stopping ---


@pytest.mark.parametrize(
    ("kind", "word"),
    [
        (ErrorKind.AUTH, "GOOGLE_API_KEY"),
        (ErrorKind.NO_QUOTA, "billing"),
        (ErrorKind.MODEL, "doctor"),
        (ErrorKind.REGION, "Vertex"),
    ],
)
async def test_what_no_call_can_get_right_stops_everybody_at_once_and_says_what_to_do(
    kind: ErrorKind, word: str
) -> None:
    admission = made({"max_in_flight": 1})
    grant = await admission.admit(ASK)
    caught: list[Stopped] = []

    async def wait(model: str) -> None:
        try:
            await admission.admit(Ask(model))
        except Stopped as stopped:
            caught.append(stopped)

    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(wait, "m")
        await trio.testing.wait_all_tasks_blocked()
        admission.settle(grant, failed(kind, "the far side's words"))
        group.start_soon(wait, "another")
    assert [(s.reason, s.exit_code) for s in caught] == [("fatal", 2)] * 4
    assert word in str(caught[0])
    assert "the far side's words" in str(caught[0])


async def test_five_equal_invalid_answers_in_a_row_stop_the_run_four_and_different_ones_do_not() -> None:
    admission = made()
    for message in ["same"] * 4 + ["other"] + ["same"] * 4:
        admission.settle(await admission.admit(ASK), failed(ErrorKind.INVALID, message))
    admission.settle(await admission.admit(ASK), failed(ErrorKind.INVALID, "same"))
    with pytest.raises(Stopped, match="same"):
        await admission.admit(ASK)


async def test_closing_sends_waiters_home_and_lets_calls_in_flight_settle() -> None:
    admission = made({"max_in_flight": 1})
    grant = await admission.admit(ASK)

    async def wait() -> None:
        with pytest.raises(Stopped, match="interrupted"):
            await admission.admit(ASK)

    async with anyio.create_task_group() as group:
        group.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        admission.close("interrupted")
        admission.close("interrupted")
    admission.settle(grant, Feedback(usage=Usage(prompt_tokens=90), cost_usd=0.05))
    assert admission.snapshot().spent_usd == 0.05
    with pytest.raises(AssertionError, match="settled twice"):
        admission.settle(grant, Feedback())


# --- a far side that is down ---


async def outage(admission: Admission, down: Iterable[tuple[float, float]], until: float) -> list[tuple[float, bool]]:
    """Calls one after another against a far side that is down at times; when each left, and how it went."""
    start = anyio.current_time()
    spans = list(down)
    log: list[tuple[float, bool]] = []
    while (now := anyio.current_time() - start) < until:
        grant = await admission.admit(ASK)
        now = anyio.current_time() - start
        bad = any(a <= now < b for a, b in spans)
        log.append((now, not bad))
        await anyio.sleep(0.1)
        admission.settle(grant, failed(ErrorKind.CONNECT, "connection refused") if bad else Feedback())
    return log


async def test_an_outage_is_waited_out_with_few_calls_and_everybody_is_told() -> None:
    events: list[Event] = []
    admission = made(events=events)
    log = await outage(admission, [(10.0, 310.0)], 400.0)
    assert sum(not ok for _, ok in log) < 20
    recovered = min(t for t, ok in log if ok and t > 310.0)
    assert recovered < 310.0 + 61.0
    said = [e.message for e in events if isinstance(e, Notice)]
    assert "does not answer (connection refused)" in said[0]
    assert "answers again" in said[-1]


async def test_a_far_side_that_never_answered_ends_the_run_in_a_minute_one_that_did_in_fifteen() -> None:
    start = anyio.current_time()
    with pytest.raises(Stopped, match="connection refused") as stopped:
        await outage(made(), [(0.0, 1e9)], 1e9)
    assert anyio.current_time() - start <= 61.0
    assert (stopped.value.reason, stopped.value.exit_code) == ("down", 1)
    start = anyio.current_time()
    with pytest.raises(Stopped):
        await outage(made(), [(10.0, 1e9)], 1e9)
    assert 900.0 <= anyio.current_time() - start <= 915.0


async def test_while_a_probe_is_out_nobody_else_is_admitted() -> None:
    admission = made()
    for _ in range(5):
        admission.settle(await admission.admit(ASK), failed(ErrorKind.SERVER, "500"))
    probe = await admission.admit(ASK)
    with anyio.move_on_after(20) as scope:
        await admission.admit(ASK)
    assert scope.cancelled_caught
    admission.settle(probe, Feedback())
    with anyio.fail_after(0.1):
        await admission.admit(ASK)


async def test_a_model_that_only_ever_refuses_is_given_up_in_the_end() -> None:
    admission = made({"requests_per_minute": 100})
    with pytest.raises(Stopped, match="turned away every call"):
        await calls(admission, 100_000, answer=lambda i: failed(ErrorKind.RATE_LIMITED, retry_after_s=30.0))
