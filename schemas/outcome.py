"""Outcome: what came of one attempt, in memory. A `Record` is what reaches the disk."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct


class Usage(Struct, frozen=True, kw_only=True):
    """Tokens as the provider reported them; zero where it said nothing."""

    prompt_tokens: int = 0
    output_tokens: int = 0
    """Everything that came out: text, thinking and pictures."""
    total_tokens: int = 0
    image_tokens: int = 0
    """The part of `output_tokens` that was picture, if the provider told it."""
    thinking_tokens: int = 0


class Asset(Struct, frozen=True, kw_only=True):
    """A file in the run directory, as the log records it."""

    path: str
    """Relative to the run directory, with forward slashes."""
    sha256: str
    size_bytes: int
    mime_type: str
    width: int
    height: int


class ErrorKind(StrEnum):
    """Why an attempt did not give what was asked. What follows from each: `engine.core.retry`."""

    REFUSED = "refused"
    """The provider blocked the prompt or the answer; final, with its reason."""
    NO_PICTURE = "no_picture"
    """Answered, paid or not, without a picture (IMAGE_OTHER, NO_IMAGE, text only)."""
    BAD_IMAGE = "bad_image"
    """A picture came whose bytes are not one: wrong type, torn, 1x1, a bomb."""
    BAD_ANSWER = "bad_answer"
    """The structured answer broke its schema, or the response was not Gemini's."""
    TRUNCATED = "truncated"
    """MAX_TOKENS cut the answer."""
    RATE_LIMITED = "rate_limited"
    """429, per minute: pace. Not an attempt."""
    QUOTA_DAY = "quota_day"
    """429, per day: wait for midnight Pacific, or stop."""
    QUOTA_SPEND = "quota_spend"
    """429, spend per rolling ten minutes."""
    OVERLOADED = "overloaded"
    """429 without details, 503: shared capacity, back off."""
    NO_QUOTA = "no_quota"
    """429 with limit 0, depleted credits, billing: fatal."""
    SERVER = "server"
    """500, 502, 504 and other 5xx."""
    CONNECT = "connect"
    """Refused, DNS, TLS: nothing was sent."""
    UNKNOWN = "unknown"
    """Sent, but the answer was lost (reset, time-out, cut body): may have been paid."""
    INVALID = "invalid"
    """400: this request can never work."""
    TOO_LARGE = "too_large"
    """413: asked once more with fewer reference pictures; where there are none to spare, it is INVALID."""
    AUTH = "auth"
    """401, 403: wrong, leaked or disabled key. Fatal."""
    MODEL = "model"
    """404: the model is not there for this key. Fatal."""
    REGION = "region"
    """FAILED_PRECONDITION: location or billing. Fatal."""
    INTERNAL = "internal"
    """Our own fault; fatal, with the traceback in events.jsonl."""


class Failure(Struct, frozen=True, kw_only=True):
    """Why an attempt failed, as `error` in the log. The message never holds a secret."""

    kind: str
    """A value of `ErrorKind`."""
    message: str
    http_status: int | None = None
