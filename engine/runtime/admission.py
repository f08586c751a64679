"""Admission: the one place that says when a call may be made.

    grant = await admission.admit(ask)      # first come, first served, per model
    … the call …
    admission.settle(grant, feedback)       # exactly once per grant

An async shell: `core.quota`, `core.breaker` and `core.cost.Purse` decide, this module waits. Only
the head of a line looks at the clock; whoever stands behind it waits for its turn, so thousands of
waiters cost no more than one. Between two awaits nothing changes but by us, so there is no lock,
and a waiter that is cancelled holds nothing.

Several processes on one quota: give each a `share` (1/4 of every limit, simple and always right),
or let them lease from one file (`runtime.lease`), which leaves nothing unused when one is idle.
"""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import anyio
from msgspec import Struct

from engine.core.asking import UNPAID, Ask, Feedback, Grant, PastCall, QuotaView
from engine.core.breaker import DOWN, Breaker
from engine.core.cost import Purse
from engine.core.pacific import ZONE, day_bounds
from engine.core.quota import Quota
from engine.errors import ProviderError
from engine.observe.events import Event, Notice
from engine.runtime import clock, stopped
from engine.runtime.lease import Lease
from engine.runtime.stopped import Stopped
from schemas.config import Limits
from schemas.outcome import ErrorKind

__all__ = ["Admission", "AdmissionView", "Ask", "Feedback", "Grant", "PastCall", "Stopped"]

NAP_S_MAX = 60.0
"""No wait is longer without a look at the wall clock: machines sleep and clocks are set."""
DAY_SLACK_S = 5.0
DAY_JITTER_S = 30.0
"""After midnight Pacific, so much later at most the day turns for us; clocks differ."""
DAY_GRACE_S = 300.0
"""A daily refusal so shortly after midnight is the far side's clock, not a used-up day."""
LEASE_LATE_S = 0.5
"""A lease is not used later than this after its stretch: others have theirs then."""
LEASE_BUSY_S = 0.003
STARVED_S = 900.0
"""A model that only ever refuses for so long is given up."""
SAME_INVALID_MAX = 5
FIRST_CALLS = 8
FIRST_ANSWER_S = 0.5
"""Before a model's first answer no more than so many calls are in flight for so long: a wrong key, which is turned down
in a moment, is not tried five hundred times, and a slow first picture holds up nothing."""


class AdmissionView(Struct, frozen=True, kw_only=True):
    """What the live display and the summary show. Cheap: no lists are walked."""

    models: dict[str, QuotaView]
    spent_usd: float
    """Over all sessions of the run."""
    reserved_usd: float
    """Held for calls in flight."""
    budget_usd: float | None
    down: dict[str, str]
    """Models whose far side counts as down, with the last error."""
    stopped: str | None


class _Ticket:
    __slots__ = ("event",)

    def __init__(self) -> None:
        self.event = anyio.Event()


class _Line:
    """One model: its quota, its breaker, and those who wait, in order."""

    __slots__ = (
        "answered",
        "breaker",
        "day_opens_at",
        "holds",
        "leased",
        "leased_from",
        "leased_until",
        "probing",
        "quota",
        "said",
        "sleeps_until",
        "stopped",
        "tickets",
    )

    def __init__(self, quota: Quota, breaker: Breaker) -> None:
        self.quota = quota
        self.breaker = breaker
        self.tickets: deque[_Ticket] = deque()
        self.answered = False
        self.sleeps_until = math.inf
        self.probing = False
        self.stopped: Stopped | None = None
        self.day_opens_at = -math.inf
        """Wall moment at which a day closed by the far side opens again."""
        self.holds: dict[int, float] = {}
        """Money held per grant in flight."""
        self.said = ""
        self.leased = 0
        """Calls left of the current lease, which runs between these two moments."""
        self.leased_from = self.leased_until = -math.inf

    def wake(self) -> None:
        """Have the head of the line look again."""
        if self.tickets:
            self.tickets[0].event.set()


class Admission:
    """Gives permission for calls within `limits` (per model; the key "*" or nothing: no limits).

    `wall` (Unix time) serves the Pacific day only; pacing runs on the loop's clock. `past` are
    the calls of earlier sessions, `spent_usd` the money of the whole run so far, `share` a part of
    every limit; `lease` shares the whole of them with other processes. `wait_for_day` False raises
    `Stopped` instead of waiting for midnight Pacific.
    `give_up_s`: how long a far side may be down before the run ends; `give_up_unseen_s` the same
    while it never answered well.
    """

    def __init__(
        self,
        limits: Mapping[str, Limits],
        *,
        budget_usd: float | None = None,
        spent_usd: float = 0.0,
        past: Iterable[PastCall] = (),
        wall: Callable[[], float],
        wait_for_day: bool = True,
        share: float = 1.0,
        give_up_s: float = 900.0,
        give_up_unseen_s: float = 60.0,
        lease: Lease | None = None,
        on_event: Callable[[Event], None] | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        if not 0.0 < share <= 1.0:
            raise ValueError(f"share is {share}; give a part of the quota above 0 and at most 1, such as 1/4")
        self._limits = limits
        self._share = share
        self._purse = Purse(budget_usd, spent_usd)
        self._past = past
        self._wall = wall
        self._wait_for_day = wait_for_day
        self._give_up_s = give_up_s
        self._give_up_unseen_s = give_up_unseen_s
        self._lease = lease
        self._on_event = on_event
        self._jitter = jitter
        self._zone = ZoneInfo(ZONE)
        self._lines: dict[str, _Line] = {}
        self._stopped: Stopped | None = None
        self._invalid = ("", 0)
        self._day_start = self._turn_at = -math.inf
        self._turn_day(wall())

    # --- asking ---

    async def admit(self, ask: Ask) -> Grant:
        """Wait until the call may be made. Raises Stopped when none will be."""
        line, now = self._line(ask.model), clock.now()
        answer = self._try(line, ask, now) if not line.tickets else None
        if isinstance(answer, Grant):
            return answer
        ticket = _Ticket()
        line.tickets.append(ticket)
        try:
            while True:
                if self._stopped is not None:
                    raise self._stopped
                if line.tickets[0] is not ticket:
                    await ticket.event.wait()
                else:
                    if answer is None:
                        now = clock.now()
                        answer = self._try(line, ask, now)
                    if isinstance(answer, Grant):
                        return answer
                    line.sleeps_until = answer
                    with anyio.move_on_after(min(answer - now, NAP_S_MAX)):
                        await ticket.event.wait()
                    answer = None
                if ticket.event.is_set():
                    ticket.event = anyio.Event()
        finally:
            line.tickets.remove(ticket)
            line.wake()

    def at_once(self, ask: Ask) -> Grant | None:
        """A grant if the call may be made now and nobody waits before it."""
        line = self._line(ask.model)
        if line.tickets or self._stopped is not None or line.stopped is not None:
            return None
        try:
            answer = self._try(line, ask, clock.now())
        except Stopped:  # whoever waits is told why
            return None
        return answer if isinstance(answer, Grant) else None

    def settle(self, grant: Grant, feedback: Feedback) -> None:
        """Report how a call ended: frees its place, reconciles, learns. Once per grant."""
        line = self._lines[grant.ask.model]
        now = clock.now()
        before = line.quota.epoch
        line.quota.settle(grant, feedback, now, self._jitter())
        line.answered = True
        self._pay(line, grant, feedback)
        self._judge(line, grant, feedback.error, now)
        if line.quota.epoch != before and feedback.error is not None:
            self._tell_gate(line, feedback.error, now)
            if self._lease is not None:
                self._lease.shut(line.quota.model, self._wall() + line.quota.gate_until - now)
        if line.tickets and (line.sleeps_until == math.inf or line.quota.earliest(now) < line.sleeps_until):
            line.wake()
        if self._purse.budget_usd is not None:
            for other in self._lines.values():
                if other is not line and other.sleeps_until == math.inf:
                    other.wake()

    def withdraw(self, grant: Grant) -> None:
        """Give back a grant whose call was never made: it leaves no trace."""
        line = self._lines[grant.ask.model]
        line.quota.withdraw(grant, clock.now())
        self._purse.reserved_usd -= line.holds.pop(id(grant), 0.0)
        if grant.probe:
            line.probing = False
        line.wake()

    def close(self, reason: str) -> None:
        """Admit no more: whoever waits gets Stopped(reason). Calls in flight may still be settled. Idempotent."""
        self._stop(stopped.by_order(reason))

    @property
    def stopped(self) -> Stopped | None:
        """Why nothing is admitted any more; None while something is."""
        return self._stopped

    def snapshot(self) -> AdmissionView:
        """The state as numbers to show."""
        now = clock.now()
        return AdmissionView(
            models={name: line.quota.view(now, len(line.tickets)) for name, line in self._lines.items()},
            spent_usd=self._purse.spent_usd,
            reserved_usd=self._purse.reserved_usd,
            budget_usd=self._purse.budget_usd,
            down={name: line.breaker.last for name, line in self._lines.items() if line.breaker.open},
            stopped=None if self._stopped is None else self._stopped.detail,
        )

    # --- deciding: no await below this line ---

    def _try(self, line: _Line, ask: Ask, now: float) -> Grant | float:
        """A grant, or the moment to look again (infinite: when something is settled)."""
        if self._stopped is not None:
            raise self._stopped
        if line.stopped is not None:
            raise line.stopped
        wall = self._wall()
        if wall >= self._turn_at or wall < self._day_start:
            self._turn_day(wall)
        quota, breaker = line.quota, line.breaker
        if quota.day_full and wall >= line.day_opens_at > -math.inf:
            line.day_opens_at = -math.inf
            quota.day_closed = False
        if quota.day_full:
            return self._day_over(line, now, wall)
        if breaker.open:
            gives_up_at = breaker.gives_up_at()
            if now >= gives_up_at:
                self._give_up(line, now)
            if line.probing:
                return gives_up_at
            if now < breaker.until:
                return min(breaker.until, gives_up_at)
        if quota.refused_since is not None and now - quota.refused_since >= STARVED_S:
            line.stopped = stopped.starved(ask.model, STARVED_S)
            raise line.stopped
        earliest = quota.earliest(now)
        if not line.answered and quota.in_flight >= FIRST_CALLS and quota.began_at is not None:
            earliest = max(earliest, quota.began_at + FIRST_ANSWER_S)
        if self._lease is not None and earliest <= now:
            earliest = self._leased(line, ask, now, wall)
        if earliest > now:
            return earliest
        hold = self._purse.hold_for(ask.model, ask.usd)
        if not self._purse.affords(hold):
            if self._purse.hopeless(hold) or self._purse.reserved_usd <= 1e-9:
                raise stopped.out_of_money(ask.model, self._purse, hold)
            return math.inf
        grant = quota.reserve(ask, now)
        if hold:
            self._purse.hold(hold)
            line.holds[id(grant)] = hold
        if breaker.open:
            grant.probe = line.probing = True
        line.leased -= 1
        line.sleeps_until = math.inf
        return grant

    def _leased(self, line: _Line, ask: Ask, now: float, wall: float) -> float:
        """From when the lease allows the next call, taking a new one when the last is used up."""
        assert self._lease is not None
        if line.leased <= 0 or now > line.leased_until + LEASE_LATE_S:
            quota = line.quota
            spacing_s = quota.spacing_s(ask, now)
            # Debits that came in after the stretch had ended are everybody's to wait for.
            owed_s = max(0.0, quota.paid_off_at() - max(now, line.leased_until))
            stretch = self._lease.take(
                quota.model,
                wall,
                spacing_s=spacing_s,
                owed_s=owed_s,
                day=self._day_start,
                day_used=quota.day_used,
                unused=max(0, line.leased),
                day_max=quota.day_max,
            )
            if stretch is None:
                return now + LEASE_BUSY_S
            quota.day_used = max(quota.day_used, stretch.day_used)
            if not stretch.calls:
                quota.day_used = max(quota.day_used, quota.day_max or 0)
                return now + LEASE_BUSY_S  # the day is full: the next look says so
            line.leased = stretch.calls
            quota.hold_until(now + (stretch.start - wall))
            line.leased_from = now + (stretch.start - wall)
            line.leased_until = line.leased_from + stretch.calls * spacing_s
        return line.leased_from

    def _line(self, model: str) -> _Line:
        line = self._lines.get(model)
        if line is None:
            if self._past:
                self._remember()
            line = self._lines.get(model) or self._open(model)
        return line

    def _open(self, model: str) -> _Line:
        limits = self._limits.get(model) or self._limits.get("*") or Limits()
        breaker = Breaker(give_up_s=self._give_up_s, give_up_unseen_s=self._give_up_unseen_s)
        line = self._lines[model] = _Line(Quota(model, limits, self._share), breaker)
        return line

    def _remember(self) -> None:
        """Count the calls of earlier sessions: the last windows, and the day since midnight Pacific."""
        now, wall = clock.now(), self._wall()
        past, self._past = self._past, ()
        recent: list[PastCall] = []
        for call in past:  # may be a million: only the last windows are kept
            if call.wall_at >= wall - 600.0:
                recent.append(call)
            elif call.wall_at >= self._day_start:
                (self._lines.get(call.model) or self._open(call.model)).quota.day_used += call.calls
        for call in sorted(recent, key=lambda call: call.wall_at):
            line = self._lines.get(call.model) or self._open(call.model)
            age_s = max(0.0, wall - call.wall_at)
            line.quota.remember(call, now - age_s, today=call.wall_at >= self._day_start)

    def _pay(self, line: _Line, grant: Grant, feedback: Feedback) -> None:
        hold = line.holds.pop(id(grant), 0.0)
        cost = feedback.cost_usd
        if cost is None:
            # Not told: nothing for what was turned away, the estimate for what may have been paid.
            cost = 0.0 if feedback.error is not None and feedback.error.kind in UNPAID else grant.ask.usd
        self._purse.settle(grant.ask.model, grant.ask.usd, hold, cost)

    def _judge(self, line: _Line, grant: Grant, error: ProviderError | None, now: float) -> None:
        """What an answer says about the far side as a whole."""
        if grant.probe:
            line.probing = False
        kind = None if error is None else error.kind
        if error is not None and error.kind in DOWN:
            if line.breaker.failed(error.kind, error.message, now, self._jitter(), probe=grant.probe):
                gives_up_at = line.breaker.gives_up_at()
                self._notice(
                    "warning",
                    f"{line.quota.model} does not answer ({error.message}); "
                    + (f"next try in {line.breaker.until - now:.0f} s, " if line.breaker.until < gives_up_at else "")
                    + f"giving up in {gives_up_at - now:.0f} s",
                )
        elif line.breaker.succeeded():
            self._notice("info", f"{line.quota.model} answers again")
        if error is not None and kind is ErrorKind.QUOTA_DAY:
            self._close_day(line)
        if error is not None and error.kind in stopped.ADVICE:
            self._stop(stopped.fatal(line.quota.model, error))
        if error is not None and kind is ErrorKind.INVALID:
            same = self._invalid[1] + 1 if error.message == self._invalid[0] else 1
            self._invalid = (error.message, same)
            if same >= SAME_INVALID_MAX:
                self._stop(stopped.all_invalid(line.quota.model, error, same))
        elif kind is not ErrorKind.TOO_LARGE:  # that is half a verdict: the smaller request gives the other half
            self._invalid = ("", 0)

    def _stop(self, why: Stopped) -> None:
        if self._stopped is None:
            self._stopped = why
        for line in self._lines.values():
            for ticket in line.tickets:
                ticket.event.set()

    def _give_up(self, line: _Line, now: float) -> None:
        line.stopped = stopped.silent(line.quota.model, line.breaker)
        self._notice("error", line.stopped.detail)
        raise line.stopped

    # --- the day ---

    def _turn_day(self, wall: float) -> None:
        start, end = day_bounds(wall, self._zone)
        if start > self._day_start > -math.inf:
            for line in self._lines.values():
                line.quota.turn_day()
                line.day_opens_at = -math.inf
                line.said = ""
        self._day_start = start
        self._turn_at = end + DAY_SLACK_S + DAY_JITTER_S * self._jitter()

    def _close_day(self, line: _Line) -> None:
        wall = self._wall()
        if wall - self._day_start < DAY_GRACE_S:
            line.day_opens_at = wall + DAY_GRACE_S

    def _day_over(self, line: _Line, now: float, wall: float) -> float:
        opens_at = line.day_opens_at if line.day_opens_at > wall else self._turn_at
        back = datetime.fromtimestamp(opens_at, UTC)
        quota = line.quota
        used = f"{quota.day_max} requests a day" if quota.day_max else f"{quota.day_used} requests today"
        detail = (
            f"the daily quota of {quota.model} is used up ({used}); it comes back at "
            f"{back.astimezone(self._zone):%Y-%m-%d %H:%M %Z} ({back:%H:%M} UTC)"
        )
        if not self._wait_for_day and line.day_opens_at <= wall:
            raise stopped.day_over(detail)
        if line.said != "day":
            line.said = "day"
            self._notice("warning", f"{detail}; waiting")
        return now + max(0.001, opens_at - wall)

    # --- telling ---

    def _tell_gate(self, line: _Line, error: ProviderError, now: float) -> None:
        quota = line.quota
        wait_s = max(0.0, quota.gate_until - now)
        limit = quota.requests.limit(now)
        pace = "" if limit is None else f"; now at {limit:.0f} requests per minute"
        self._notice(
            "info" if wait_s >= NAP_S_MAX / 12 else "debug",
            f"{quota.model} turned a call away ({error.message}); waiting {wait_s:.1f} s{pace}",
            model=quota.model,
            wait_s=wait_s,
            requests_per_minute=limit,
        )

    def _notice(self, level: str, message: str, **data: object) -> None:
        if self._on_event is not None:
            self._on_event(Notice(level=level, message=message, data=data))
