"""Quota: everything that limits the calls to one model, as one all-or-nothing reservation.

Requests, input tokens and images per minute, money per rolling ten minutes, requests per Pacific
day, calls in flight, and the gate that a 429 closes. `earliest` says when the next call may leave,
`reserve` takes its share of every dimension at once, `settle` gives back what was not used and
learns from what the far side said. The caller serves its queue first come, first served, so that
no heavy call starves behind light ones.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from engine.core.asking import REJECTED, UNPAID, Ask, Feedback, Grant, PastCall, QuotaView, dimension_of
from engine.core.pace import Pace
from engine.core.window import cut, told
from engine.errors import ProviderError
from schemas.config import Limits
from schemas.outcome import ErrorKind

__all__ = ["GATE_S_MAX", "Quota"]

GATE_S_MAX = 65.0
"""A per-minute refusal never closes the gate for longer."""
SPEND_GATE_S_MAX = 600.0
GATE_SLACK_S = 0.1
"""Added to the moment the far side named, for the way there and its rounding."""
BACKOFF_S = 1.0
BACKOFF_S_MAX = 60.0
SPEND_BACKOFF_S = 15.0
SPEND_WINDOW_S = 600.0
SPEND_MARGIN_S = 9.0
TOKEN_MARGIN_S = 0.6
ESTIMATE_WEIGHT = 0.05
"""Weight of one call in the running correction of token and money estimates."""

OVERLOAD_WEIGHT = 0.02
OVERLOAD_PART = 0.2
"""Below this part of overloaded answers, one by one, only their jobs wait; above it all slow down."""
OVERLOAD_PART_429 = 0.03
"""The same for a 429 without details, which is more likely to mean our rate: two close together."""
EVIDENCE = 20.0
"""Calls of the first minute that say enough about a quota to make a limit of it."""


def _scaled(limit: float | None, share: float) -> float | None:
    return None if limit is None else limit * share


class Quota:
    """The quota of one model. All moments are of one scheduling clock; `share` scales every limit."""

    def __init__(self, model: str, limits: Limits, share: float = 1.0) -> None:
        self.model = model
        self.share = share
        self.requests = Pace(_scaled(limits.requests_per_minute, share))
        self.images = Pace(_scaled(limits.images_per_minute, share))
        self.tokens = Pace(_scaled(limits.tokens_per_minute, share), whole=False, margin=TOKEN_MARGIN_S)
        self.usd = Pace(_scaled(limits.usd_per_10_minutes, share), SPEND_WINDOW_S, whole=False, margin=SPEND_MARGIN_S)
        day = limits.requests_per_day
        self.day_max = None if day is None else max(1, int(day * share))
        window = limits.max_in_flight
        self.in_flight_max = None if window is None else max(1, int(window * share))
        self.in_flight = 0
        self.day = 0
        """Number of the current day, so that a call of yesterday refunds nothing today."""
        self.day_used = 0
        self.day_closed = False
        """The far side said that the day's quota is used up."""
        self.gate_until = -math.inf
        self.epoch = 0
        """Counts gate closings. A refusal of a call from before the last one teaches nothing new."""
        self.setbacks = 0
        """Refusals in a row, one per epoch, since a call of the current epoch went well."""
        self.started = 0
        self.rejected = 0
        self.overloaded = 0.0
        """Running part of answers that said overloaded."""
        self.refused_since: float | None = None
        """The first setback of those in a row."""
        self.began_at: float | None = None
        self.tokens_factor = 1.0
        self.usd_factor = 1.0
        self.last_ask: Ask | None = None
        self.latency_s: float | None = None
        """Running mean of calls that went well."""

    # --- asking ---

    @property
    def day_full(self) -> bool:
        """Whether nothing more may be sent before the Pacific day turns."""
        return self.day_closed or (self.day_max is not None and self.day_used >= self.day_max)

    def earliest(self, now: float) -> float:
        """The moment from which the next call may leave: `now` or before means at once.

        Infinite when only a call that ends makes room, or the day is used up (`day_full`).
        """
        if self.in_flight_max is not None and self.in_flight >= self.in_flight_max:
            return math.inf
        if self.day_closed or (self.day_max is not None and self.day_used >= self.day_max):
            return math.inf
        return max(self.gate_until, self.requests.free_at, self.images.free_at, self.tokens.free_at, self.usd.free_at)

    def paid_off_at(self) -> float:
        """The moment at which everything spent so far is paid off."""
        return max(self.requests.free_at, self.images.free_at, self.tokens.free_at, self.usd.free_at)

    def hold_until(self, moment: float) -> None:
        """Let no call leave before `moment`, and none catch up afterwards on time before it."""
        for pace in (self.requests, self.images, self.tokens, self.usd):
            pace.free_at = max(pace.free_at, moment)

    def reserve(self, ask: Ask, now: float) -> Grant:
        """Take a call's share of every dimension. Only when `earliest` is not after `now`."""
        tokens = ask.tokens * self.tokens_factor
        usd = ask.usd * self.usd_factor
        self._spend(tokens, ask.images, usd, now)
        if self.began_at is None:
            self.began_at = now
        self.last_ask = ask
        self.in_flight += 1
        self.day_used += 1
        self.started += 1
        return Grant(ask, now, self.epoch, self.day, tokens, usd)

    def _spend(self, tokens: float, images: int, usd: float, now: float) -> None:
        self.requests.take(1.0, now)
        if images:
            self.images.take(images, now)
        if tokens:
            self.tokens.take(tokens, now)
        if usd:
            self.usd.take(usd, now)

    # --- learning ---

    def settle(self, grant: Grant, feedback: Feedback, now: float, jitter: float = 0.5) -> None:
        """Free the place, reconcile the estimates, learn from a refusal. Once per grant."""
        assert grant.open, f"settled twice: {grant!r}"
        grant.open = False
        self.in_flight -= 1
        error = feedback.error
        if error is None or error.kind is not ErrorKind.OVERLOADED:
            self.overloaded -= OVERLOAD_WEIGHT * self.overloaded
        if error is None:
            self._reconcile(grant, feedback, now)
            if grant.epoch == self.epoch:
                self.setbacks = 0
                self.refused_since = None
            self.latency_s = (
                feedback.latency_s
                if self.latency_s is None
                else self.latency_s + ESTIMATE_WEIGHT * (feedback.latency_s - self.latency_s)
            )
            return
        if error.kind in UNPAID:
            self._refund(grant, now)
        else:
            self._reconcile(grant, feedback, now)
        if error.kind in REJECTED:
            self._learn(grant, error, now, jitter)

    def withdraw(self, grant: Grant, now: float) -> None:
        """Give a grant back whose call was never made."""
        assert grant.open, f"settled twice: {grant!r}"
        grant.open = False
        self.in_flight -= 1
        self.started -= 1
        self._refund(grant, now)
        self.requests.reconcile(1.0, 0.0, now)

    def _reconcile(self, grant: Grant, feedback: Feedback, now: float) -> None:
        ask = grant.ask
        usage = feedback.usage
        if usage is not None and usage.prompt_tokens:
            self.tokens.reconcile(grant.tokens, usage.prompt_tokens, now)
            if ask.tokens:
                self.tokens_factor += ESTIMATE_WEIGHT * (usage.prompt_tokens / ask.tokens - self.tokens_factor)
        if feedback.cost_usd is not None:
            self.usd.reconcile(grant.usd, feedback.cost_usd, now)
            if ask.usd and feedback.error is None:
                self.usd_factor += ESTIMATE_WEIGHT * (feedback.cost_usd / ask.usd - self.usd_factor)

    def _refund(self, grant: Grant, now: float) -> None:
        """Nothing was used but the place in the minute's requests."""
        self.tokens.reconcile(grant.tokens, 0.0, now)
        self.usd.reconcile(grant.usd, 0.0, now)
        self.images.reconcile(grant.ask.images, 0.0, now)
        if grant.day == self.day:
            self.day_used -= 1

    def _learn(self, grant: Grant, error: ProviderError, now: float, jitter: float) -> None:
        self.rejected += 1
        self.requests.tally.add(-1.0, now)
        if error.kind is ErrorKind.QUOTA_DAY:
            if error.quota_limit:
                limit = max(1, int(error.quota_limit * self.share))
                self.day_max = limit if self.day_max is None else min(limit, self.day_max)
            if grant.day == self.day:
                self.day_closed = True
            return
        if error.kind is ErrorKind.OVERLOADED:
            self.overloaded += OVERLOAD_WEIGHT * (1.0 - self.overloaded)
            bearable = OVERLOAD_PART_429 if error.http_status == 429 else OVERLOAD_PART
            if self.overloaded < bearable:
                return
        if grant.epoch != self.epoch:
            return
        self.epoch += 1
        self.setbacks += 1
        if self.refused_since is None:
            self.refused_since = now
        pause_s = self._pause_s(error, jitter)
        self.gate_until = now + pause_s
        if error.kind is ErrorKind.QUOTA_SPEND:
            pace = self.usd
        elif error.kind is ErrorKind.RATE_LIMITED:
            pace = self.pace(dimension_of(error.quota_id)) if error.quota_id else self._fullest(now)
        else:
            pace = self.requests
        used = pace.tally.total(now)
        if error.quota_limit and error.kind is not ErrorKind.OVERLOADED:
            pace.learned = told(pace.learned, now, error.quota_limit * self.share, used, pause_s=pause_s)
            return
        elapsed_s = now - (now if self.began_at is None else self.began_at)
        whole = elapsed_s >= pace.window_s
        if pace.limit(now) is None and not whole:
            if used < EVIDENCE:
                return  # too little to make a limit of; the gate is closed, the next refusal will say more
            if error.quota_id is None:
                # Shared capacity is a rate, not a window's worth: what half a minute took, a whole takes twice.
                used *= pace.window_s / max(1.0, elapsed_s)
        pace.learned = cut(pace.learned, now, used, whole=whole, pause_s=pause_s)

    def _pause_s(self, error: ProviderError, jitter: float) -> float:
        spend = error.kind is ErrorKind.QUOTA_SPEND
        told = error.retry_after_s
        # Waits that were named are obeyed; when they prove too short time and again, ours grows beside them.
        patience = 0 if told is None else 3
        wait_s = 0.0
        if self.setbacks > patience:
            first = SPEND_BACKOFF_S if spend else BACKOFF_S
            longest = min(BACKOFF_S_MAX, first * 2.0 ** min(self.setbacks - patience - 1, 10))
            wait_s = longest * (0.5 + 0.5 * jitter)
        if told is not None:
            wait_s = max(wait_s, told + GATE_SLACK_S)
        return min(wait_s, SPEND_GATE_S_MAX if spend else GATE_S_MAX)

    def _fullest(self, now: float) -> Pace:
        """The per-minute dimension that a refusal without a name most likely means."""
        best, most = self.requests, 0.0
        for pace in (self.requests, self.images, self.tokens):
            limit = pace.limit(now)
            if limit and pace.tally.total(now) / limit > most:
                best, most = pace, pace.tally.total(now) / limit
        return best

    def pace(self, dimension: str) -> Pace:
        """The pace of a dimension by its name: requests, tokens, images, usd."""
        return {"requests": self.requests, "tokens": self.tokens, "images": self.images, "usd": self.usd}[dimension]

    # --- the day, and earlier sessions ---

    def turn_day(self) -> None:
        """A new Pacific day has begun."""
        self.day += 1
        self.day_used = 0
        self.day_closed = False

    def remember(self, call: PastCall, at: float, *, today: bool) -> None:
        """Count a call of an earlier session; `at` is its moment on the scheduling clock. In order of time."""
        self._spend(call.tokens, call.images, call.usd, at)
        if today:
            self.day_used += 1

    # --- showing ---

    def spacing_s(self, ask: Ask, now: float) -> float:
        """Seconds that a call like this one takes of the tightest dimension; 0 without limits."""
        return max(
            self.requests.spacing_s(now),
            ask.images * self.images.spacing_s(now),
            ask.tokens * self.tokens_factor * self.tokens.spacing_s(now),
            ask.usd * self.usd_factor * self.usd.spacing_s(now),
        )

    def calls_per_minute(self, now: float) -> float | None:
        """How many calls per minute the limits allow, if they are like the last one; None without limits."""
        spacing_s = self.spacing_s(self.last_ask, now) if self.last_ask is not None else self.requests.spacing_s(now)
        rates = [60.0 / spacing_s] if spacing_s else []
        if self.in_flight_max is not None and self.latency_s:
            rates.append(60.0 * self.in_flight_max / self.latency_s)
        return min(rates) if rates else None

    def view(self, now: float, waiting: int = 0) -> QuotaView:
        """The state as numbers to show."""
        uses: list[float] = []
        limits: Mapping[str, float | None] = {
            name: self.pace(name).limit(now) for name in ("requests", "tokens", "images", "usd")
        }
        for name, limit in limits.items():
            if limit:
                uses.append(self.pace(name).tally.total(now) / limit)
        earliest = self.earliest(now)
        return QuotaView(
            model=self.model,
            requests=self.started,
            rejected=self.rejected,
            in_flight=self.in_flight,
            waiting=waiting,
            in_flight_max=self.in_flight_max,
            requests_last_minute=self.requests.tally.total(now),
            requests_per_minute=limits["requests"],
            requests_per_minute_configured=self.requests.learned.configured,
            tokens_last_minute=self.tokens.tally.total(now),
            tokens_per_minute=limits["tokens"],
            images_last_minute=self.images.tally.total(now),
            images_per_minute=limits["images"],
            usd_last_10_minutes=self.usd.tally.total(now),
            usd_per_10_minutes=limits["usd"],
            requests_today=self.day_used,
            requests_per_day=self.day_max,
            utilisation=max(uses) if uses else None,
            gate_until=self.gate_until if self.gate_until > now else None,
            next_at=None if math.isinf(earliest) and earliest > 0 else max(now, earliest),
            learned=any(self.pace(n).learned.ceiling is not None for n in limits),
            calls_per_minute=self.calls_per_minute(now),
            latency_s=self.latency_s,
        )
