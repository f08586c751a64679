"""Servers of our own, and a backlog that is sent at them in simulated time.

How Google counts is not published, so every way is here: fixed windows of any phase, a sliding log,
a sliding counter, buckets large and small; each also counting the calls that it rejects. They share
no code with the engine's simulator, so that both can be wrong only independently.
"""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Protocol

import pytest

from engine.core.asking import Ask, Feedback
from engine.core.quota import Quota
from engine.errors import ProviderError
from schemas.outcome import ErrorKind, Usage

WINDOW_S = 60.0


class Server(Protocol):
    limit: float

    def ask(self, now: float, cost: float = 1.0) -> float | None:
        """None: accepted. Else how long until this call would have been."""
        ...


class Fixed:
    """So many per window, windows beginning at `phase_s`."""

    def __init__(self, limit: float, phase_s: float = 0.0, *, counts_rejects: bool = False, window_s: float = WINDOW_S):
        self.limit, self.phase_s, self.counts_rejects, self.window_s = limit, phase_s, counts_rejects, window_s
        self._window, self._used = -1, 0.0

    def ask(self, now: float, cost: float = 1.0) -> float | None:
        window = int((now + self.phase_s) // self.window_s)
        if window != self._window:
            self._window, self._used = window, 0.0
        if self._used + cost <= self.limit:
            self._used += cost
            return None
        if self.counts_rejects:
            self._used += cost
        return (window + 1) * self.window_s - self.phase_s - now


class Sliding:
    """So many in any window, by a log of arrivals."""

    def __init__(self, limit: float, *, counts_rejects: bool = False, window_s: float = WINDOW_S):
        self.limit, self.counts_rejects, self.window_s = limit, counts_rejects, window_s
        self._log: deque[tuple[float, float]] = deque()
        self._used = 0.0

    def ask(self, now: float, cost: float = 1.0) -> float | None:
        while self._log and self._log[0][0] <= now - self.window_s:
            self._used -= self._log.popleft()[1]
        fits = self._used + cost <= self.limit + 1e-6
        if fits or self.counts_rejects:
            self._log.append((now, cost))
            self._used += cost
        return None if fits else self._log[0][0] + self.window_s - now


class Counter:
    """The usual approximation of a sliding window: this fixed window plus the part left of the one before."""

    def __init__(self, limit: float, phase_s: float = 0.0):
        self.limit, self.phase_s = limit, phase_s
        self._window, self._used, self._before = -1, 0.0, 0.0

    def ask(self, now: float, cost: float = 1.0) -> float | None:
        at = (now + self.phase_s) / WINDOW_S
        window = int(at)
        if window != self._window:
            self._before = self._used if window == self._window + 1 else 0.0
            self._window, self._used = window, 0.0
        if self._used + cost + self._before * (1.0 - (at - window)) <= self.limit:
            self._used += cost
            return None
        return 1.0


class Bucket:
    """Tokens drip in at limit per window, at most `burst` of them."""

    def __init__(self, limit: float, burst: float):
        self.limit, self.burst = limit, burst
        self._level, self._at = burst, 0.0

    def ask(self, now: float, cost: float = 1.0) -> float | None:
        self._level = min(self.burst, self._level + (now - self._at) * self.limit / WINDOW_S)
        self._at = now
        if self._level >= cost:
            self._level -= cost
            return None
        return (cost - self._level) * WINDOW_S / self.limit


@dataclass
class Outcome:
    """What came of a simulation. Moments are those of arrival at the server."""

    accepted: list[float] = field(default_factory=list)
    rejected: list[float] = field(default_factory=list)
    sent: list[float] = field(default_factory=list)
    gates: int = 0

    def used(self, since: float, until: float, limit: float) -> float:
        """The part of the quota that was used in a span."""
        return sum(since <= t < until for t in self.accepted) / (limit * (until - since) / WINDOW_S)

    def rejections(self, since: float, until: float) -> float:
        """Rejections per thousand calls in a span."""
        bad = sum(since <= t < until for t in self.rejected)
        return 1000.0 * bad / max(1, bad + sum(since <= t < until for t in self.accepted))


def backlog(
    quota: Quota,
    server: Server,
    until: float,
    *,
    seed: int = 0,
    latency_s: float = 8.0,
    sigma: float = 0.4,
    way_s: tuple[float, float] = (0.01, 0.08),
    late_s: float = 0.002,
    tell: str = "wait",
    ask: Ask | None = None,
    actual_tokens: Callable[[random.Random], int] | None = None,
    change: tuple[float, Callable[[], None]] | None = None,
) -> Outcome:
    """Calls without end, sent as soon as the quota allows, against one server, until a moment.

    `tell`: what a rejection says: "wait" (RetryInfo), "limit" (wait and limit), "nothing", "minute"
    (RetryInfo always names a whole minute), or "bare" (not even that it is about a quota).
    """
    rng = random.Random(seed)
    ask = ask or Ask("m")
    outcome = Outcome()
    events: list[tuple[float, int, str, object]] = []
    count = 0
    now = 0.0

    def later(at: float, what: str, item: object) -> None:
        nonlocal count
        count += 1
        heapq.heappush(events, (at, count, what, item))

    if change is not None:
        later(change[0], "change", change[1])
    while now < until:
        free = quota.earliest(now)
        if free <= now and (not events or events[0][0] > now):
            grant = quota.reserve(ask, now)
            outcome.sent.append(now)
            later(now + rng.uniform(*way_s), "arrive", grant)
            continue
        # A timer never fires early and always a little late.
        wake = max(now, free) + rng.random() * late_s
        if not events or wake < events[0][0]:
            now = wake
            continue
        now, _, what, item = heapq.heappop(events)
        if what == "change":
            item()  # type: ignore[operator]
        elif what == "arrive":
            tokens = actual_tokens(rng) if actual_tokens else 1
            wait_s = server.ask(now, tokens if actual_tokens else 1.0)
            if wait_s is None:
                outcome.accepted.append(now)
                took = latency_s * rng.lognormvariate(0.0, sigma)
                later(now + took, "end", (item, Feedback(usage=Usage(prompt_tokens=tokens), latency_s=took)))
            else:
                outcome.rejected.append(now)
                told = {"nothing": None, "bare": None, "minute": WINDOW_S, "limit, minute": WINDOW_S}.get(tell, wait_s)
                limit = server.limit if tell.startswith("limit") else None
                quota_id = None if tell in {"nothing", "bare"} else "PerMinute" + ("Tokens" if actual_tokens else "")
                kind = ErrorKind.OVERLOADED if tell == "bare" else ErrorKind.RATE_LIMITED
                error = ProviderError(
                    kind, "quota", http_status=429, retry_after_s=told, quota_limit=limit, quota_id=quota_id
                )
                later(now + 0.03, "end", (item, Feedback(error=error)))
        else:
            grant, feedback = item  # type: ignore[misc]
            before = quota.epoch
            quota.settle(grant, feedback, now, rng.random())
            outcome.gates += quota.epoch != before
    return outcome


@pytest.fixture
def sim() -> SimpleNamespace:
    """The servers and the backlog, under one name."""
    return SimpleNamespace(
        Fixed=Fixed, Sliding=Sliding, Counter=Counter, Bucket=Bucket, backlog=backlog, Outcome=Outcome
    )
