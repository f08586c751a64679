"""Quotas as a server counts them. Pure: moments are handed in, so that benchmarks and tests share it.

Google says what its limits are, not how it counts them. So each way is here: a fixed window with
any phase, a sliding log, a bucket; counting rejected calls or not.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Literal

from msgspec import Struct

Window = Literal["fixed", "sliding", "bucket"]
_LIMITS = ("rpm", "rpd", "tpm", "ipm", "usd_per_10min")


class Quota(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The limits of one model. `None` is no limit; zero rejects everything, as the free tier does."""

    rpm: float | None = None
    rpd: float | None = None
    tpm: float | None = None
    """Input tokens per minute."""
    ipm: float | None = None
    usd_per_10min: float | None = None
    window: Window = "sliding"
    phase_s: float = 0.0
    """Where in its window a fixed window stands when the server starts."""
    count_rejected: bool = False
    """Whether a rejected call uses up quota, too."""
    burst: float | None = None
    """What a bucket holds at most; by default a whole window's worth."""
    tier: str = "PaidTier2"
    minute_s: float = 60.0
    """Length of the minute, so that a test need not wait for a real one; ten minutes are ten of it."""
    day_s: float = 86_400.0
    bare: bool = False
    """Answer without details, as shared capacity does."""


class Rejection(Struct, frozen=True):
    """Why a call may not be made now: the limits it met, and when it might be tried again."""

    violated: tuple[tuple[str, float], ...]
    wait_s: float


class Meter:
    """Counts the calls of one model against its quota. Not shared between threads."""

    def __init__(self, quota: Quota, now: float) -> None:
        self.quota = quota
        self._counts: dict[str, _Count] = {}
        self._origin = now
        self.change(quota)

    def change(self, quota: Quota) -> None:
        """Other limits from now on. What was used stays used where the window stays the same."""
        windows = ("window", "phase_s", "burst", "minute_s", "day_s")
        same = all(getattr(quota, w) == getattr(self.quota, w) for w in windows)
        before, self._counts, self.quota = self._counts, {}, quota
        for name in _LIMITS:
            limit = getattr(quota, name)
            if limit is not None:
                kept = before.get(name) if same else None
                self._counts[name] = kept or _count(quota, name, limit, self._origin)
                self._counts[name].set_limit(limit)

    def ask(self, now: float, *, tokens: int, images: int, usd: float) -> Rejection | None:
        """Count a call that arrives now, all or nothing; the rejection if some limit forbids it."""
        amounts = {"rpm": 1.0, "rpd": 1.0, "tpm": float(tokens), "ipm": float(images), "usd_per_10min": usd}
        waits = {name: count.wait_s(amounts[name], now) for name, count in self._counts.items() if amounts[name]}
        violated = tuple((name, float(getattr(self.quota, name))) for name, wait_s in waits.items() if wait_s > 0)
        if violated and not self.quota.count_rejected:
            return Rejection(violated, max(waits.values()))
        for name in waits:
            self._counts[name].add(amounts[name], now)
        return Rejection(violated, max(waits.values())) if violated else None


class _Count:
    """One limit. `wait_s` is 0 when the amount fits now."""

    _limit: float

    def set_limit(self, limit: float) -> None:
        self._limit = limit

    def wait_s(self, amount: float, now: float) -> float:
        raise AssertionError

    def add(self, amount: float, now: float) -> None:
        raise AssertionError


def _count(quota: Quota, name: str, limit: float, now: float) -> _Count:
    window_s = {"rpd": quota.day_s, "usd_per_10min": 10 * quota.minute_s}.get(name, quota.minute_s)
    if quota.window == "fixed" or name == "rpd":
        return _Fixed(limit, window_s, now - quota.phase_s)
    if quota.window == "bucket":
        return _Bucket(limit, window_s, quota.burst, now)
    return _Sliding(limit, window_s)


class _Fixed(_Count):
    def __init__(self, limit: float, window_s: float, origin: float) -> None:
        self._limit, self._window_s, self._origin = limit, window_s, origin
        self._index, self._used = 0, 0.0

    def _turn(self, now: float) -> None:
        index = int((now - self._origin) // self._window_s)
        if index != self._index:
            self._index, self._used = index, 0.0

    def wait_s(self, amount: float, now: float) -> float:
        self._turn(now)
        if self._used + amount <= self._limit:
            return 0.0
        return self._origin + (self._index + 1) * self._window_s - now

    def add(self, amount: float, now: float) -> None:
        self._turn(now)
        self._used += amount


class _Sliding(_Count):
    def __init__(self, limit: float, window_s: float) -> None:
        self._limit, self._window_s = limit, window_s
        self._log: deque[tuple[float, float]] = deque()
        self._used = 0.0

    def _drop(self, now: float) -> None:
        while self._log and self._log[0][0] <= now - self._window_s:
            self._used -= self._log.popleft()[1]
        if not self._log:
            self._used = 0.0  # rounding must not gather

    def wait_s(self, amount: float, now: float) -> float:
        self._drop(now)
        excess = self._used + amount - self._limit
        if excess <= 1e-9:
            return 0.0
        for moment, used in self._log:
            excess -= used
            if excess <= 1e-9:
                return max(moment + self._window_s - now, 1e-6)
        return self._window_s

    def add(self, amount: float, now: float) -> None:
        self._log.append((now, amount))
        self._used += amount


class _Bucket(_Count):
    def __init__(self, limit: float, window_s: float, burst: float | None, now: float) -> None:
        self._limit, self._window_s, self._burst = limit, window_s, burst
        self._level, self._at = limit if burst is None else burst, now

    def _fill(self, now: float) -> None:
        most = self._limit if self._burst is None else self._burst
        self._level = min(most, self._level + (now - self._at) * self._limit / self._window_s)
        self._at = now

    def wait_s(self, amount: float, now: float) -> float:
        self._fill(now)
        if self._level >= amount - 1e-9:
            return 0.0
        return (amount - self._level) * self._window_s / self._limit if self._limit > 0 else self._window_s

    def add(self, amount: float, now: float) -> None:
        self._fill(now)
        self._level = max(self._level - amount, -self._limit)


def quota_for(quotas: Mapping[str, Quota | None], model: str) -> Quota | None:
    """The quota of this model; the key `*` stands for every model not named."""
    return quotas.get(model, quotas.get("*"))
