"""The quota of one model: reservations of all dimensions, refunds, refusals."""

from __future__ import annotations

import math

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.core.asking import Ask, Feedback, Grant, PastCall, dimension_of
from engine.core.quota import Quota
from engine.errors import ProviderError
from schemas.config import Limits
from schemas.outcome import ErrorKind, Usage


def limits(**kwargs: float) -> Limits:
    return Limits.model_validate(kwargs)


def refusal(kind: ErrorKind = ErrorKind.RATE_LIMITED, **kwargs: float | str | None) -> Feedback:
    status = 503 if kind is ErrorKind.OVERLOADED else 429
    return Feedback(error=ProviderError(kind, "quota", http_status=status, **kwargs))  # type: ignore[arg-type]


def send(quota: Quota, now: float, **kwargs: float) -> tuple[Grant, float]:
    """Reserve at the earliest moment; the grant and its moment."""
    at = max(now, quota.earliest(now))
    return quota.reserve(Ask("m", **kwargs), at), at  # type: ignore[arg-type]


@given(
    st.integers(1, 300),
    st.integers(1, 300),
    st.floats(1_000, 100_000),
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 1), st.floats(0, 0.2)), min_size=1, max_size=150),
)
@settings(max_examples=60)
def test_every_dimension_holds_in_every_window_and_one_of_them_is_always_the_reason_to_wait(
    rpm: int, ipm: int, tpm: float, calls: list[tuple[int, int, float]]
) -> None:
    quota = Quota("m", limits(requests_per_minute=rpm, images_per_minute=ipm, tokens_per_minute=tpm))
    sent: list[tuple[float, int, int]] = []
    now = 0.0
    for tokens, images, gap in calls:
        free = quota.earliest(now)
        if free > now:
            paces = (quota.requests, quota.images, quota.tokens)
            assert any(abs(pace.free_at - free) < 1e-9 for pace in paces)
        grant, now = send(quota, now + gap, tokens=tokens, images=images)
        quota.settle(grant, Feedback(), now)
        sent.append((now, images, tokens))
    for start, _, _ in sent:
        window = [(i, t) for at, i, t in sent if start <= at < start + 60.0]
        assert len(window) <= rpm
        assert sum(i for i, _ in window) <= ipm
        # The heaviest call may not be known yet when its window began.
        assert sum(t for _, t in window) <= tpm + 400


def test_a_heavy_call_waits_no_longer_than_a_light_one_and_pays_afterwards() -> None:
    quota = Quota("m", limits(tokens_per_minute=60_600))
    _, first = send(quota, 0.0, tokens=100)
    _, heavy = send(quota, first, tokens=30_000)
    assert heavy - first < 0.2
    _, after = send(quota, heavy, tokens=100)
    assert 29.0 < after - heavy < 70.0


def test_what_a_call_did_not_use_is_given_back() -> None:
    quota = Quota("m", limits(tokens_per_minute=6_000))
    grant, _ = send(quota, 0.0, tokens=1_000)
    assert quota.earliest(0.0) > 10.0
    quota.settle(grant, Feedback(usage=Usage(prompt_tokens=100)), 0.5)
    assert quota.earliest(0.5) < 1.5


def test_estimates_that_are_always_wrong_are_corrected() -> None:
    quota = Quota("m", limits(tokens_per_minute=1e9))
    for i in range(200):
        grant, _ = send(quota, float(i), tokens=100)
        quota.settle(grant, Feedback(usage=Usage(prompt_tokens=250)), i + 0.5)
    grant = quota.reserve(Ask("m", tokens=100), 201.0)
    assert 240 < grant.tokens < 260


def test_a_call_that_was_turned_away_gives_back_its_tokens_money_and_day_but_not_its_place_in_the_minute() -> None:
    quota = Quota("m", limits(requests_per_minute=60, tokens_per_minute=600, usd_per_10_minutes=1, requests_per_day=5))
    grant, _ = send(quota, 0.0, tokens=500, usd=0.5)
    quota.settle(grant, refusal(retry_after_s=0.0), 0.1)
    view = quota.view(0.2)
    assert view.requests_today == 0
    assert view.rejected == 1
    assert view.usd_last_10_minutes == 0.0
    assert view.tokens_last_minute == 0.0
    assert quota.requests.free_at > 0.2


def test_a_refusal_closes_the_gate_once_however_many_calls_bring_it_home() -> None:
    quota = Quota("m", limits(requests_per_minute=600))
    grants = [send(quota, float(i))[0] for i in range(5)]
    quota.settle(grants[0], refusal(retry_after_s=20.0), 10.0)
    gate, limit = quota.gate_until, quota.requests.limit(10.0)
    assert math.isclose(gate, 30.1)
    for i, grant in enumerate(grants[1:]):
        quota.settle(grant, refusal(retry_after_s=40.0), 10.5 + i)
    assert quota.gate_until == gate
    assert quota.requests.limit(10.0) == limit
    assert quota.rejected == 5


def test_no_refusal_per_minute_closes_the_gate_for_longer_than_65_seconds() -> None:
    quota = Quota("m", limits(requests_per_minute=600))
    quota.settle(send(quota, 0.0)[0], refusal(retry_after_s=3600.0), 0.0)
    assert quota.gate_until == 65.0


def test_a_limit_that_is_named_is_obeyed_exactly_in_its_own_dimension() -> None:
    quota = Quota("m", limits(requests_per_minute=1000))
    quota.settle(send(quota, 0.0)[0], refusal(quota_limit=600.0, retry_after_s=1.0), 0.0)
    assert quota.requests.limit(0.0) == 600.0
    quota.settle(
        send(quota, 10.0, tokens=5)[0],
        refusal(
            quota_limit=3e6,
            quota_id="GenerateContentPaidTierInputTokensPerModelPerMinute-PaidTier2",
            retry_after_s=1.0,
        ),
        10.0,
    )
    assert quota.tokens.limit(10.0) == 3e6
    assert quota.requests.limit(10.0) < 601


def test_a_share_scales_configured_and_named_limits_alike() -> None:
    quota = Quota("m", limits(requests_per_minute=1000, requests_per_day=100, max_in_flight=10), share=0.25)
    assert quota.requests.limit(0.0) == 250
    assert quota.day_max == 25
    assert quota.in_flight_max == 2
    quota.settle(send(quota, 0.0)[0], refusal(quota_limit=600.0, retry_after_s=1.0), 0.0)
    assert quota.requests.limit(0.0) == 150


def test_without_a_limit_of_ours_the_first_refusal_makes_one_of_what_was_accepted() -> None:
    quota = Quota("m", Limits())
    grants = [quota.reserve(Ask("m"), 0.0) for _ in range(301)]
    quota.settle(grants[0], refusal(retry_after_s=30.0, quota_id="GenerateRequestsPerMinute"), 1.0)
    limit = quota.requests.limit(1.0)
    assert limit is not None
    assert 250 <= limit <= 300


def test_a_refusal_after_a_handful_of_calls_makes_no_limit_of_them() -> None:
    quota = Quota("m", Limits())
    grants = [quota.reserve(Ask("m"), 0.0) for _ in range(4)]
    quota.settle(grants[0], refusal(retry_after_s=30.0, quota_id="GenerateRequestsPerMinute"), 1.0)
    assert quota.requests.limit(1.0) is None
    assert quota.gate_until > 30.0


def test_single_overloaded_answers_slow_nobody_down_but_many_do() -> None:
    quota = Quota("m", limits(requests_per_minute=600))
    for i in range(100):
        grant, at = send(quota, float(i))
        quota.settle(grant, refusal(ErrorKind.OVERLOADED) if i % 20 == 0 else Feedback(), at)
    assert quota.epoch == 0
    for i in range(20):
        grant, at = send(quota, 200.0 + i)
        quota.settle(grant, refusal(ErrorKind.OVERLOADED), at)
    assert quota.epoch > 0
    assert (quota.requests.limit(260.0) or 0) < 600


def test_a_spend_refusal_pauses_and_lowers_the_money_not_the_requests() -> None:
    quota = Quota("m", limits(requests_per_minute=600, usd_per_10_minutes=10))
    for i in range(100):
        quota.settle(send(quota, i * 6.0, usd=0.08)[0], Feedback(), i * 6.0)
    quota.settle(send(quota, 600.0, usd=0.08)[0], refusal(ErrorKind.QUOTA_SPEND), 601.0)
    assert (quota.usd.limit(601.0) or 99) < 9
    assert quota.requests.limit(601.0) == 600
    assert 608 < quota.gate_until < 617


def test_a_day_that_is_used_up_closes_until_it_turns() -> None:
    quota = Quota("m", limits(requests_per_day=2))
    a, _ = send(quota, 0.0)
    send(quota, 0.0)
    assert quota.day_full
    assert quota.earliest(1.0) == math.inf
    quota.turn_day()
    assert quota.earliest(1.0) <= 1.0
    quota.settle(a, refusal(ErrorKind.QUOTA_DAY), 2.0)  # of yesterday: closes nothing, refunds nothing
    assert not quota.day_full
    assert quota.day_used == 0
    b, _ = send(quota, 3.0)
    quota.settle(b, refusal(ErrorKind.QUOTA_DAY), 3.0)
    assert quota.day_full


def test_calls_in_flight_are_bounded_and_a_withdrawn_grant_leaves_no_trace() -> None:
    quota = Quota("m", limits(max_in_flight=1, requests_per_minute=60))
    grant, _ = send(quota, 0.0, tokens=10)
    assert quota.earliest(5.0) == math.inf
    quota.withdraw(grant, 0.01)
    view = quota.view(0.01)
    assert (view.in_flight, view.requests, view.requests_today, view.requests_last_minute) == (0, 0, 0, 0)
    assert quota.earliest(0.1) <= 0.1


def test_earlier_sessions_count_their_burst_is_paid_off_first() -> None:
    quota = Quota("m", limits(requests_per_minute=60, requests_per_day=100))
    for _ in range(30):
        quota.remember(PastCall("m", 0.0), 990.0, today=True)
    assert quota.day_used == 30
    assert 1010 < quota.earliest(1000.0) < 1050


def test_quota_ids_tell_their_dimension() -> None:
    told = {
        "GenerateRequestsPerMinutePerProjectPerModel-FreeTier": "requests",
        "GenerateContentPaidTierInputTokensPerModelPerMinute-PaidTier2": "tokens",
        "generativelanguage.googleapis.com/generate_content_paid_tier_2_input_token_count": "tokens",
        "GenerateImagesPerMinutePerProject": "images",
        None: "requests",
    }
    assert {name: dimension_of(name) for name in told} == told
