"""Breaker: notices that the far side is down, pauses admission, probes, and gives up in the end.

Not one call after another into the void: after `TRIP` failures with no success between them,
nothing is sent for a while; then one probe at a time, at growing distances, until one succeeds. A
run that never had a success gives up early, since that is a wrong address more often than an outage.
"""

from __future__ import annotations

import math
from typing import Literal

from schemas.outcome import ErrorKind

__all__ = ["DOWN", "Breaker"]

DOWN = frozenset({ErrorKind.CONNECT, ErrorKind.SERVER, ErrorKind.UNKNOWN, ErrorKind.OVERLOADED})
"""Kinds that speak of the far side, not of the request."""
PAUSE_S = 1.0
PAUSE_S_MAX = 60.0


class Breaker:
    """The state of the far side as one model's calls see it."""

    TRIP = 5

    __slots__ = (
        "_failures_from",
        "_overloaded",
        "_pauses",
        "_succeeded",
        "failures",
        "give_up_s",
        "give_up_unseen_s",
        "last",
        "until",
    )

    def __init__(self, *, give_up_s: float = 900.0, give_up_unseen_s: float = 60.0) -> None:
        self.give_up_s = give_up_s
        """From the first failure in a row until the run stops."""
        self.give_up_unseen_s = give_up_unseen_s
        """The same, while nothing has ever succeeded, unless the far side says that it is only overloaded."""
        self.failures = 0
        """Failures in a row."""
        self.last = ""
        self.until = -math.inf
        """Nothing is sent before this moment; with `open`, one probe at a time after it."""
        self._failures_from = 0.0
        self._pauses = 0
        self._succeeded = False
        self._overloaded = False

    @property
    def open(self) -> bool:
        """Whether the far side counts as down."""
        return self._pauses > 0

    def gives_up_at(self) -> float:
        """When the run stops if nothing succeeds before; infinite while closed."""
        if not self.open:
            return math.inf
        patient = self._succeeded or self._overloaded
        return self._failures_from + (self.give_up_s if patient else self.give_up_unseen_s)

    def succeeded(self) -> Literal["closed", None]:
        """The far side answered; `closed` if it had counted as down."""
        self._succeeded = True
        was_open = self.open
        self.failures = 0
        self._pauses = 0
        self.until = -math.inf
        return "closed" if was_open else None

    def failed(
        self, kind: ErrorKind, message: str, now: float, jitter: float, *, probe: bool
    ) -> Literal["opened", None]:
        """A call failed in a way that speaks of the far side; `opened` if a pause begins with it."""
        if not self.failures:
            self._failures_from = now
        self.failures += 1
        self.last = message
        self._overloaded = kind is ErrorKind.OVERLOADED
        if self.open and not probe:
            return None  # was in flight when the breaker opened
        if self.failures < self.TRIP and not self.open:
            return None
        self._pauses += 1
        longest = min(PAUSE_S_MAX, PAUSE_S * 2.0 ** min(self._pauses, 10))
        self.until = now + longest * (0.5 + 0.5 * jitter)
        return "opened"
