"""Pace: one dimension of a quota, spent smoothly (the generic cell rate algorithm).

A quota of L per window W is spent one unit every T = (W + J) / L seconds. Any window of any server,
fixed or sliding and whatever its phase, then holds at most L units as long as calls are late or
early by less than the margin J; the price is J / (W + J) of the quota, one percent. A bucket that
saves up a whole minute, the usual way, lets 2 L into the window that starts badly.

A call that leaves late may be followed by one that leaves early, by at most `CREDIT_S`: without
that credit every late timer is lost quota (on a busy machine that is several percent), with much
more of it a laptop that slept would burst. Credit and the jitter of the way must stay below J together.

Mutable, because it is on the hot path; pure, because every moment is handed in.
"""

from __future__ import annotations

import math

from engine.core.window import Learned, limit_at

__all__ = ["CREDIT_S", "Pace", "Tally", "margin_s"]

CREDIT_S = 0.2
"""Measured: with timers up to 0.2 s late, 0.05 s of credit leaves 97 % of a quota used, 0.2 s all 99 %."""
RAMP_S_MAX = 60.0
RAMP_PER_S2 = 10.0
"""The ramp's steepness: the rate grows by at most so many calls per second, each second."""
RAMP_FROM = 0.1
"""The part of the full rate a ramp starts with."""
IDLE_S = 300.0
"""After so long without a call the ramp begins anew."""


def margin_s(limit: float, window_s: float) -> float:
    """J for calls that count one each, in seconds. Few calls per minute travel with more jitter each."""
    return min(2.1, max(0.6, 90.0 / limit)) * window_s / 60.0


class Tally:
    """What was used in the last window, in `SLOTS` slots; O(1) to add to, old slots fall out."""

    SLOTS = 60
    __slots__ = ("_ends", "_last", "_slot", "_slot_s", "_starts", "_sum", "_used")

    def __init__(self, window_s: float) -> None:
        self._slot_s = window_s / self.SLOTS
        self._used = [0.0] * self.SLOTS
        self._sum = 0.0
        self._last = -(2**62)
        self._slot = 0
        self._starts = self._ends = -math.inf
        """Between these moments it is `_slot` that is added to: every call adds to half a dozen of them."""

    def _turn(self, now: float) -> int:
        slot = math.floor(now / self._slot_s)
        if slot > self._last:
            if slot - self._last >= self.SLOTS:
                self._used = [0.0] * self.SLOTS
                self._sum = 0.0
            else:
                for old in range(self._last + 1, slot + 1):
                    self._sum -= self._used[old % self.SLOTS]
                    self._used[old % self.SLOTS] = 0.0
            self._last = slot
            self._starts, self._ends = slot * self._slot_s, (slot + 1) * self._slot_s
            self._slot = slot % self.SLOTS
        return slot % self.SLOTS

    def add(self, amount: float, now: float) -> None:
        """Count `amount` (negative: take back) at `now`."""
        slot = self._slot if self._starts <= now < self._ends else self._turn(now)
        self._used[slot] += amount
        self._sum += amount

    def total(self, now: float) -> float:
        """What the last window holds."""
        self._turn(now)
        return max(0.0, self._sum)


class Pace:
    """One dimension of one model's quota. `free_at` is the moment from which the next call may leave.

    `whole`: every call costs one (requests, images); then the margin depends on the limit and the
    start is ramped. Else costs differ (tokens, money) and the heaviest call is allowed for.
    """

    __slots__ = ("_cost_max", "_ramp_from", "_used_at", "free_at", "learned", "margin", "tally", "whole", "window_s")

    def __init__(
        self, limit: float | None, window_s: float = 60.0, *, whole: bool = True, margin: float | None = None
    ) -> None:
        self.learned = Learned(configured=limit)
        self.window_s = window_s
        self.whole = whole
        self.margin = margin
        self.free_at = -math.inf
        self.tally = Tally(window_s)
        self._cost_max = 0.0
        self._used_at = -math.inf
        self._ramp_from = -math.inf

    def limit(self, now: float) -> float | None:
        """The limit that holds now, configured or learned; None: none."""
        return limit_at(self.learned, now)

    def spacing_s(self, now: float) -> float:
        """Seconds per unit; 0 without a limit."""
        limit = limit_at(self.learned, now)
        if limit is None:
            return 0.0
        margin = self.margin
        if margin is None:
            margin = margin_s(limit, self.window_s)
        if not self.whole:
            # A window may end with a whole call, not a part of one: where the margin does not cover the
            # heaviest call, the pace is so much lower that the last call never tips the window over.
            spare = (self.window_s + margin) / (self.window_s + CREDIT_S)
            limit = min(limit, max(limit / 2.0, (limit - self._cost_max) * spare))
        return (self.window_s + margin) / limit

    def take(self, cost: float, now: float) -> None:
        """Spend `cost` at `now`; the next call waits until it is paid off."""
        self.tally.add(cost, now)
        if cost > self._cost_max:
            self._cost_max = cost
        earliest = now - CREDIT_S
        if now - self._used_at > IDLE_S:
            self._ramp_from = earliest = now
        self._used_at = now
        learned = self.learned
        if learned.configured is None and learned.ceiling is None:
            return  # as most dimensions of most runs
        start = max(self.free_at, earliest)
        spacing = self.spacing_s(now)
        self.free_at = start + self._ramped(cost * spacing, start, spacing)

    def _ramped(self, length_s: float, start: float, spacing: float) -> float:
        """`length_s` of full-rate time, stretched where it lies in the ramp."""
        if not self.whole:
            return length_s
        ramp_s = min(RAMP_S_MAX, 1.0 / (spacing * RAMP_PER_S2))
        begun = start - self._ramp_from
        if begun >= ramp_s:
            return length_s
        # The rate is RAMP_FROM + rise * u of the full one at u seconds into the ramp; this solves
        # for the moment at which its integral has grown by length_s.
        rise = (1.0 - RAMP_FROM) / ramp_s
        begun = max(0.0, begun)
        done = RAMP_FROM * begun + rise * begun * begun / 2.0
        whole_ramp = (1.0 + RAMP_FROM) / 2.0 * ramp_s
        target = done + length_s
        if target >= whole_ramp:
            return ramp_s + (target - whole_ramp) - begun
        return (math.sqrt(RAMP_FROM * RAMP_FROM + 2.0 * rise * target) - RAMP_FROM) / rise - begun

    def reconcile(self, reserved: float, actual: float, now: float) -> None:
        """Correct a reservation: refund what was not used (never below now), debit what was used beyond."""
        change = actual - reserved
        if change == 0.0:
            return
        self.tally.add(change, now)
        if actual > self._cost_max:
            self._cost_max = actual
        learned = self.learned
        spacing = 0.0 if learned.configured is None and learned.ceiling is None else self.spacing_s(now)
        if change > 0.0:
            self.free_at = max(self.free_at, now - CREDIT_S) + change * spacing
        elif self.free_at > now:
            self.free_at = max(now, self.free_at + change * spacing)
