"""What follows from a failed attempt: one table, one function, and a budget for retries.

A 429 is not an attempt: the job goes back to the head of its queue and admission decides when.
Neither is a call that never left (CONNECT). What the far side may get right next time is tried
again after full jitter; what it will never get right is settled or stops the run. What was too
large is asked at once, with less.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from schemas.config import RateLimiting
from schemas.outcome import ErrorKind

__all__ = [
    "RULES",
    "Decision",
    "Leave",
    "Requeue",
    "Retry",
    "RetryBudget",
    "RetryPolicy",
    "Rule",
    "Settle",
    "Stop",
    "decide",
    "policy_of",
]

DELAY_S_MAX = 60.0
"""Backoff never grows beyond this; a moment that the far side named may be later."""
RETRY_AFTER_S_MAX = 600.0
TURNED_AWAY_MAX = 50
"""How often one job may be turned away in a session before it is left open for the next, so that a run ends."""


class Retry(Struct, frozen=True):
    """Try again at `at`, as the next attempt."""

    at: float


class Requeue(Struct, frozen=True):
    """Nothing was attempted: the same attempt again at `at`, before all other work."""

    at: float


class Leave(Struct, frozen=True):
    """Nothing was attempted, and this session does not try any more: the job stays open for the next one."""


class Settle(Struct, frozen=True):
    """The job is over."""

    status: Literal["refused", "failed"]


class Stop(Struct, frozen=True):
    """No call of this run can work."""

    reason: str


Decision = Retry | Requeue | Leave | Settle | Stop


class Rule(Struct, frozen=True):
    """What follows from one kind of error."""

    then: Literal["requeue", "retry", "shrink", "settle", "stop"]
    tries_max: int | None = None
    """Attempts in all for this kind; None: as many as the policy says."""
    status: Literal["refused", "failed"] = "failed"
    """How the job is settled when its tries are used up."""


RULES: dict[ErrorKind, Rule] = {
    ErrorKind.REFUSED: Rule("settle", status="refused"),
    ErrorKind.NO_PICTURE: Rule("retry", tries_max=2, status="refused"),
    ErrorKind.BAD_IMAGE: Rule("retry", tries_max=2),
    ErrorKind.BAD_ANSWER: Rule("retry", tries_max=2),
    ErrorKind.TRUNCATED: Rule("retry", tries_max=2),
    ErrorKind.RATE_LIMITED: Rule("requeue"),
    ErrorKind.QUOTA_DAY: Rule("requeue"),
    ErrorKind.QUOTA_SPEND: Rule("requeue"),
    ErrorKind.OVERLOADED: Rule("requeue"),
    ErrorKind.CONNECT: Rule("requeue"),
    ErrorKind.SERVER: Rule("retry"),
    ErrorKind.UNKNOWN: Rule("retry", tries_max=3),
    ErrorKind.INVALID: Rule("settle"),
    ErrorKind.TOO_LARGE: Rule("shrink"),
    ErrorKind.NO_QUOTA: Rule("stop"),
    ErrorKind.AUTH: Rule("stop"),
    ErrorKind.MODEL: Rule("stop"),
    ErrorKind.REGION: Rule("stop"),
    ErrorKind.INTERNAL: Rule("stop"),
}
"""Every kind of error and what follows."""

SPREAD = frozenset({ErrorKind.OVERLOADED, ErrorKind.CONNECT})
"""Kinds after which a job that keeps its place still waits, longer each time."""


class RetryPolicy(Struct, frozen=True, kw_only=True):
    """How often and how late to try again. The defaults are those of `rate_limiting`."""

    delay_s: float = 2.0
    multiplier: float = 2.0
    exponential: bool = True
    tries_max: int = 3
    """Attempts in all, the first included."""
    turned_away_max: int = TURNED_AWAY_MAX


def policy_of(config: RateLimiting) -> RetryPolicy:
    """The policy a configuration asks for. `max_retries` counts tries in all, as the original did."""
    return RetryPolicy(
        delay_s=config.initial_retry_delay,
        multiplier=config.backoff_multiplier,
        exponential=config.enable_exponential_backoff,
        tries_max=max(1, config.max_retries),
    )


def decide(
    policy: RetryPolicy,
    attempt: int,
    kind: ErrorKind,
    retry_after_s: float | None,
    now: float,
    jitter: float,
    *,
    turned_away: int = 0,
    shrinkable: bool = False,
) -> Decision:
    """What follows when attempt number `attempt` (from 1) ended with `kind`.

    `jitter` is uniform in [0, 1). `turned_away`: how often this job was requeued before.
    `shrinkable`: what is asked was whole so far and can be made smaller.
    """
    rule = RULES[kind]
    if rule.then == "stop":
        return Stop(kind.value)
    if rule.then == "shrink":
        # A smaller question, not the same again: no wait, and no try of those that the policy counts.
        return Retry(now) if shrinkable else Settle(rule.status)
    if rule.then == "requeue":
        if turned_away >= policy.turned_away_max:
            return Leave()
        if kind not in SPREAD:
            return Requeue(now)
        # What met a far side in trouble waits by itself, too, so that one unlucky job is no hammer.
        return Requeue(now + _wait_s(policy, turned_away + 1, retry_after_s, jitter))
    tries_max = policy.tries_max if rule.tries_max is None else min(rule.tries_max, policy.tries_max)
    if rule.then == "settle" or attempt >= tries_max:
        return Settle(rule.status)
    return Retry(now + _wait_s(policy, attempt, retry_after_s, jitter))


def _wait_s(policy: RetryPolicy, failures: int, retry_after_s: float | None, jitter: float) -> float:
    """Full jitter up to a bound that grows with the failures in a row; never before the moment that was named."""
    growth = policy.multiplier ** min(failures - 1, 64) if policy.exponential else 1.0
    wait_s = min(DELAY_S_MAX, policy.delay_s * growth) * jitter
    return wait_s if retry_after_s is None else max(wait_s, min(retry_after_s, RETRY_AFTER_S_MAX))


class RetryBudget:
    """At most a tenth of the calls may be retries, beyond a small trickle that lets small runs retry.

    When everything fails, retries must not double the load on a far side that is down already; and
    since the trickle never dries, every retry comes to its turn.
    """

    PART = 0.1
    FLOOR = 10.0
    TRICKLE_PER_S = 1.0
    HELD_MAX = 1000.0

    __slots__ = ("_at", "_held")

    def __init__(self) -> None:
        self._held = self.FLOOR
        self._at: float | None = None

    def _refill(self, now: float) -> None:
        if self._at is None:
            self._at = now
        elif now > self._at:
            if self._held < self.FLOOR:
                self._held = min(self.FLOOR, self._held + (now - self._at) * self.TRICKLE_PER_S)
            self._at = now

    def fresh(self) -> None:
        """A first try was made: a tenth of a retry is earned."""
        self._held = min(self.HELD_MAX, self._held + self.PART)

    def earliest(self, now: float) -> float:
        """When the next retry may go: `now`, or later."""
        self._refill(now)
        return now if self._held >= 1.0 - 1e-9 else now + (1.0 - self._held) / self.TRICKLE_PER_S

    def spend(self, now: float) -> None:
        """A retry was made."""
        self._refill(now)
        self._held -= 1.0
