"""What one call asks of a quota, how it ended, and how a quota is shown: the words that
`core.quota` and `runtime.admission` share.
"""

from __future__ import annotations

from msgspec import Struct

from engine.errors import ProviderError
from schemas.outcome import ErrorKind, Usage

__all__ = ["REJECTED", "UNPAID", "Ask", "Feedback", "Grant", "PastCall", "QuotaView", "dimension_of"]

UNPAID = frozenset(
    {
        ErrorKind.RATE_LIMITED,
        ErrorKind.QUOTA_DAY,
        ErrorKind.QUOTA_SPEND,
        ErrorKind.NO_QUOTA,
        ErrorKind.OVERLOADED,
        ErrorKind.CONNECT,
        ErrorKind.SERVER,
        ErrorKind.INVALID,
        ErrorKind.TOO_LARGE,
        ErrorKind.AUTH,
        ErrorKind.MODEL,
        ErrorKind.REGION,
    }
)
"""Kinds of errors for which nothing is charged: their tokens and money are given back."""
REJECTED = frozenset({ErrorKind.RATE_LIMITED, ErrorKind.QUOTA_SPEND, ErrorKind.OVERLOADED, ErrorKind.QUOTA_DAY})
"""Kinds that say: not now."""


class Ask(Struct, frozen=True):
    """What one call is expected to use."""

    model: str
    tokens: int = 0
    """Input tokens."""
    images: int = 0
    usd: float = 0.0


class Feedback(Struct, frozen=True):
    """How a call ended. `error` None: well. Unknown usage or cost leaves the estimate standing."""

    error: ProviderError | None = None
    usage: Usage | None = None
    cost_usd: float | None = None
    latency_s: float = 0.0


class PastCall(Struct, frozen=True):
    """A call of an earlier session, from log/attempts.jsonl: starts less rejections."""

    model: str
    wall_at: float
    """Unix time."""
    tokens: int = 0
    images: int = 0
    usd: float = 0.0
    calls: int = 1
    """More than one of them together, where only their number matters: those before the rolling windows."""


class Grant:
    """Permission for one call, with what was reserved for it. Settled exactly once."""

    __slots__ = ("ask", "at", "day", "epoch", "open", "probe", "tokens", "usd")

    def __init__(self, ask: Ask, at: float, epoch: int, day: int, tokens: float, usd: float) -> None:
        self.ask = ask
        self.at = at
        self.epoch = epoch
        self.day = day
        self.tokens = tokens
        self.usd = usd
        self.open = True
        self.probe = False

    def __repr__(self) -> str:
        return f"Grant({self.ask!r}, at={self.at:.3f}, {'open' if self.open else 'settled'})"


class QuotaView(Struct, frozen=True, kw_only=True):
    """One model's quota as `status` and the live display show it. Rates are per minute."""

    model: str
    requests: int
    rejected: int
    in_flight: int
    waiting: int = 0
    in_flight_max: int | None
    requests_last_minute: float
    requests_per_minute: float | None
    """The limit that holds now; None: none."""
    requests_per_minute_configured: float | None
    tokens_last_minute: float
    tokens_per_minute: float | None
    images_last_minute: float
    images_per_minute: float | None
    usd_last_10_minutes: float
    usd_per_10_minutes: float | None
    requests_today: int
    requests_per_day: int | None
    utilisation: float | None
    """The last window's use of the tightest limited dimension, 0 to 1; None without limits."""
    gate_until: float | None
    """The scheduling moment until which the gate is closed; None when open."""
    next_at: float | None
    """The earliest moment for the next call; None: when a call in flight ends, or the day does."""
    learned: bool
    """Whether a limit is in force that the far side taught, not the configuration."""
    calls_per_minute: float | None
    """What all limits together allow, for calls like those so far: what a forecast divides by. None: no limit."""
    latency_s: float | None
    """Running mean of calls that went well."""


def dimension_of(quota_id: str | None) -> str:
    """Which dimension a 429's quota id or metric speaks of: requests, tokens, images or usd."""
    name = (quota_id or "").lower()
    if "token" in name:
        return "tokens"
    if "spend" in name or "usd" in name or "cost" in name:
        return "usd"
    if "image" in name.replace("flash-image", "").replace("pro-image", ""):
        return "images"
    return "requests"
