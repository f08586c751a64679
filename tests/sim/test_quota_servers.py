"""Hours of backlog against every kind of server, in seconds: the quota is used up and never exceeded."""

from __future__ import annotations

import random
from types import SimpleNamespace

import pytest

from engine.core.asking import Ask
from engine.core.quota import Quota
from schemas.config import Limits

HOUR = 3600.0
SEED = random.SystemRandom().randrange(2**32)
"""Another one each time; a failure prints it."""


def quota(rpm: float | None, **kwargs: float) -> Quota:
    return Quota("m", Limits.model_validate({"requests_per_minute": rpm, "max_in_flight": 2000, **kwargs}))


def servers(sim: SimpleNamespace, limit: float, rng: random.Random) -> dict[str, object]:
    phase_s = rng.uniform(0, 60)
    return {
        "fixed": sim.Fixed(limit, phase_s),
        "fixed, counts rejected": sim.Fixed(limit, phase_s, counts_rejects=True),
        "sliding": sim.Sliding(limit),
        "sliding, counts rejected": sim.Sliding(limit, counts_rejects=True),
        "counter": sim.Counter(limit, phase_s),
        "bucket": sim.Bucket(limit, limit),
        "small bucket": sim.Bucket(limit, limit / 6),
    }


@pytest.mark.parametrize(("rpm", "least"), [(10, 0.96), (60, 0.97), (150, 0.985), (600, 0.985), (1000, 0.985)])
def test_a_quota_is_used_up_without_one_rejection_whatever_the_server(
    sim: SimpleNamespace, rpm: int, least: float
) -> None:
    rng = random.Random(SEED)
    for name, server in servers(sim, rpm, rng).items():
        if rpm == 10 and name == "counter":
            continue  # guesses that its last window was spread evenly, which ten calls are not
        out = sim.backlog(quota(rpm), server, HOUR if rpm < 600 else HOUR / 4, seed=SEED)
        end = out.accepted[-1]
        spot = f"{name} at {rpm}, seed {SEED}"
        assert not out.rejected, spot
        assert out.used(120, end, rpm) >= least, spot


@pytest.mark.slow
@pytest.mark.parametrize("rpm", [3000, 6000])
def test_large_quotas_too(sim: SimpleNamespace, rpm: int) -> None:
    rng = random.Random(SEED)
    for name in ("fixed, counts rejected", "sliding, counts rejected", "small bucket"):
        out = sim.backlog(quota(rpm), servers(sim, rpm, rng)[name], 400.0, seed=SEED)
        assert not out.rejected, f"{name} at {rpm}, seed {SEED}"
        assert out.used(120, 400, rpm) >= 0.985, f"{name} at {rpm}, seed {SEED}"


@pytest.mark.slow
@pytest.mark.parametrize("tell", ["wait", "limit", "nothing", "bare", "minute", "limit, minute"])
@pytest.mark.parametrize("name", ["fixed", "fixed, counts rejected", "sliding", "sliding, counts rejected", "counter"])
def test_a_quota_configured_too_high_converges_on_the_real_one(sim: SimpleNamespace, name: str, tell: str) -> None:
    server = servers(sim, 600, random.Random(SEED))[name]
    out = sim.backlog(quota(1000), server, 2 * HOUR, seed=SEED, tell=tell)
    spot = f"{name}, told {tell}, seed {SEED}"
    assert out.rejections(HOUR, 2 * HOUR) < 3.0, spot
    # Where each refusal costs a whole minute of silence, no search can use more than this.
    assert out.used(HOUR, 2 * HOUR, 600) >= (0.93 if "minute" in tell else 0.95), spot


@pytest.mark.slow
@pytest.mark.parametrize("tell", ["wait", "limit", "nothing"])
def test_without_any_limit_of_ours_the_real_one_is_found(sim: SimpleNamespace, tell: str) -> None:
    for name in ("fixed", "sliding"):
        used: list[float] = []
        for seed in range(SEED, SEED + 3):
            out = sim.backlog(quota(None), servers(sim, 600, random.Random(seed))[name], HOUR, seed=seed, tell=tell)
            used.append(out.used(HOUR / 2, HOUR, 600))
            assert out.rejections(HOUR / 2, HOUR) < 3.0, f"{name}, told {tell}, seed {seed}"
        # Where refusals tell nothing, one start in fifty or so settles too low at first (ARCHITECTURE, known flaws).
        least, median, _ = sorted(used)
        assert median >= 0.95, f"{name}, told {tell}, seeds from {SEED}"
        assert least >= (0.7 if tell == "nothing" else 0.95), f"{name}, told {tell}, seeds from {SEED}"


@pytest.mark.slow
@pytest.mark.parametrize("tell", ["wait", "limit", "nothing"])
@pytest.mark.parametrize(("before", "after", "within_s"), [(600, 300, 900), (1000, 200, 900), (600, 1000, 3600)])
def test_a_quota_that_is_lowered_or_raised_during_the_run_is_followed(
    sim: SimpleNamespace, before: int, after: int, within_s: float, tell: str
) -> None:
    for server in (sim.Fixed(before, 23.0), sim.Sliding(before)):
        changed = HOUR / 2
        out = sim.backlog(
            quota(1000), server, changed + within_s + 900, seed=SEED, tell=tell,
            change=(changed, lambda server=server: setattr(server, "limit", after)),
        )  # fmt: skip
        spot = f"{type(server).__name__} {before} to {after}, told {tell}, seed {SEED}"
        assert out.used(changed + within_s, changed + within_s + 900, after) >= 0.95, spot
        assert out.rejections(changed + within_s, changed + within_s + 900) < 3.0, spot


def test_tokens_are_used_up_although_their_estimates_are_wrong(sim: SimpleNamespace) -> None:
    limit = 120_000
    for server in (sim.Fixed(limit, 17.0), sim.Sliding(limit)):
        out = sim.backlog(
            quota(None, tokens_per_minute=limit), server, HOUR, seed=SEED, ask=Ask("m", tokens=300),
            actual_tokens=lambda rng: rng.randint(300, 500),
        )  # fmt: skip
        per_hour = len(out.accepted) * 400 / (limit * 60)
        assert out.rejections(600, HOUR) < 3.0, f"seed {SEED}"
        assert 0.94 < per_hour < 1.01, f"seed {SEED}"


def test_money_per_ten_minutes_is_used_up_and_never_exceeded(sim: SimpleNamespace) -> None:
    limit, each = 10.0, 0.0336
    spent = quota(1000, usd_per_10_minutes=limit)
    out = sim.backlog(spent, sim.Sliding(1000), 2 * HOUR, seed=SEED, latency_s=20.0, ask=Ask("m", images=1, usd=each))
    for start in range(0, int(2 * HOUR) - 600, 30):
        used = sum(each for at in out.sent if start <= at < start + 600)
        assert used <= limit + 1e-9
        if start > 600:
            assert used >= 0.97 * limit


def test_five_minutes_of_sleep_end_in_no_burst(sim: SimpleNamespace) -> None:
    slept = quota(600)
    now, sent = 0.0, list[float]()
    while now < 300:
        now = max(now, slept.earliest(now))
        slept.reserve(Ask("m"), now)
        slept.in_flight = 0
        sent.append(now)
    now += 240
    woke = now
    while now < woke + 60:
        now = max(now, slept.earliest(now))
        slept.reserve(Ask("m"), now)
        slept.in_flight = 0
        sent.append(now)
    assert sum(woke <= at < woke + 1 for at in sent) <= 12
    assert sum(woke <= at < woke + 60 for at in sent) <= 600
