"""What the simulator saw: counts for tests and benchmarks that ask whether anything was paid twice."""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from typing import Any

from msgspec import Struct

SEEN_MAX = 10_000
"""Calls that `Stats.seen` remembers."""
QUESTIONS_MAX = 500_000
"""Different questions whose calls are counted; the oldest are forgotten beyond it."""


class Seen(Struct, frozen=True):
    """One generateContent call, as it was answered."""

    call: int
    at_s: float
    """Moment of arrival on the server's monotonic clock."""
    took_s: float
    model: str
    digest: str
    status: int
    """HTTP status; 0 where none was sent."""
    fault: str | None
    text: str
    """The beginning of the prompt."""


class Stats:
    """Counts since the start or the last reset. Read it at any time, also from another thread."""

    def __init__(self) -> None:
        self.calls = 0
        """generateContent calls that arrived."""
        self.ok = 0
        """Calls answered as asked."""
        self.rejected = 0
        """Calls a quota turned away."""
        self.paid = 0
        """Calls for which the model worked, whatever became of the answer."""
        self.in_flight = 0
        self.in_flight_max = 0
        self.bytes_sent = 0
        self.requests = 0
        """HTTP requests of any kind, without /_sim."""
        self.by_status: Counter[int] = Counter()
        self.by_fault: Counter[str] = Counter()
        self.by_model: Counter[str] = Counter()
        self.seen: deque[Seen] = deque(maxlen=SEEN_MAX)
        self.asked: OrderedDict[str, int] = OrderedDict()
        """Per question (digest of what is asked) how often it arrived and was not rejected."""
        self.paid_for: OrderedDict[str, int] = OrderedDict()
        """Per question how often it was paid."""

    @property
    def paid_twice(self) -> int:
        """Paid calls beyond the first for the same question."""
        return self.paid - len(self.paid_for)

    def arrived(self) -> int:
        """Count a call; its number from 1."""
        self.calls += 1
        self.in_flight += 1
        self.in_flight_max = max(self.in_flight_max, self.in_flight)
        return self.calls

    def time_asked(self, digest: str) -> int:
        """Count a call that was let in; how often this question was, from 1."""
        return _count(self.asked, digest)

    def pay(self, digest: str) -> None:
        """Count a call for which the model worked."""
        self.paid += 1
        _count(self.paid_for, digest)

    def as_dict(self, *, questions: bool = False) -> dict[str, Any]:
        """The counts as JSON; with `questions`, also how often each question was asked and paid."""
        counts: dict[str, Any] = {
            "calls": self.calls,
            "ok": self.ok,
            "rejected": self.rejected,
            "paid": self.paid,
            "paid_questions": len(self.paid_for),
            "paid_twice": self.paid_twice,
            "in_flight": self.in_flight,
            "in_flight_max": self.in_flight_max,
            "bytes_sent": self.bytes_sent,
            "requests": self.requests,
            "by_status": {str(k): v for k, v in sorted(self.by_status.items())},
            "by_fault": dict(sorted(self.by_fault.items())),
            "by_model": dict(sorted(self.by_model.items())),
        }
        if questions:
            counts["asked"] = dict(self.asked)
            counts["paid_for"] = dict(self.paid_for)
        return counts

    def __repr__(self) -> str:
        return (
            f"Stats(calls={self.calls}, ok={self.ok}, rejected={self.rejected}, paid={self.paid}, "
            f"in_flight={self.in_flight} (max {self.in_flight_max}), by_status={dict(self.by_status)}, "
            f"by_fault={dict(self.by_fault)})"
        )


def _count(counts: OrderedDict[str, int], key: str) -> int:
    n = counts[key] = counts.get(key, 0) + 1
    if len(counts) > QUESTIONS_MAX:
        counts.popitem(last=False)
    return n
