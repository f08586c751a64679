"""What went wrong on the far side, as a ProviderError. Pure: same answer, same error.

Both transports end here, so that an error means the same whichever way it came. Facts behind the
tables: Google answers quota questions in three places that disagree (RetryInfo, Retry-After and the
message), and says "check your plan and billing details" also when only a minute's quota is used up.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Any
from urllib.parse import quote

import orjson

from engine.errors import ProviderError
from schemas.outcome import ErrorKind, Usage

SECRET_CHARS_MIN = 8
"""Real keys have 39 characters."""
MESSAGE_CHARS_MAX = 300
RETRY_AFTER_S_MAX = 48 * 3600.0
"""No quota of Gemini's is longer than a day; a far side that asks for more is not believed."""

_STATUS_CODES = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "OUT_OF_RANGE": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "RESOURCE_EXHAUSTED": 429,
    "CANCELLED": 499,
    "INTERNAL": 500,
    "UNKNOWN": 500,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}

# ---------------------------------------------------------------------------------- messages

_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]+")
_SECRET = re.compile(
    r"AIza[0-9A-Za-z_-]{10,}|AQ\.[0-9A-Za-z_.-]{20,}|ya29\.[0-9A-Za-z_.-]+|(?<=Bearer )\S+|(?<=[?&]key=)[^&\s\"']+"
)


def tidy(text: str, secrets: Iterable[str] = ()) -> str:
    """The text on one line of at most 300 characters, without keys, control or direction characters."""
    text = hide(text, secrets)
    text = _SECRET.sub("[key]", _UNPRINTABLE.sub(" ", text[: 8 * MESSAGE_CHARS_MAX]))
    text = " ".join(text.split())
    return text if len(text) <= MESSAGE_CHARS_MAX else text[: MESSAGE_CHARS_MAX - 1] + "…"


def hide(text: str, secrets: Iterable[str]) -> str:
    """The text without the secrets, as they are, URL-quoted or JSON-escaped, and otherwise unchanged."""
    for secret in secrets:
        for form in _forms(secret):
            if form in text:
                text = text.replace(form, "[key]")
    return text


@lru_cache(maxsize=8)
def _forms(secret: str) -> tuple[str, ...]:
    """How a secret may be written; mostly it is the same in all ways."""
    if len(secret) < SECRET_CHARS_MIN:
        return ()  # a stand-in such as "k" for a test server: hiding it would tear words apart
    return tuple(dict.fromkeys((secret, quote(secret, safe=""), quote(secret), json.dumps(secret)[1:-1])))


# ------------------------------------------------------------------------------- how long to wait

_UNIT_S = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = r"\d+(?:\.\d+)?(?:ns|us|µs|ms|s|m|h|d)"
_DURATION = re.compile(rf"(?:{_PART})+")
_RETRY_IN = re.compile(rf"retry in ((?:{_PART})+)", re.IGNORECASE)


def duration_s(text: str) -> float | None:
    """Seconds in a duration as Google and Go write it ("14s", "370.9ms", "22h13m6.5s"); None if it is not one."""
    if not _DURATION.fullmatch(text):
        return None
    return sum(float(n) * _UNIT_S[unit] for n, unit in re.findall(r"(\d+(?:\.\d+)?)([a-zµ]+)", text))


def _retry_after_header_s(headers: Mapping[str, str]) -> float | None:
    value = headers.get("retry-after", "").strip()
    if not value:
        return None
    if re.fullmatch(r"\d{1,9}(\.\d+)?", value):
        return float(value)
    try:  # An HTTP date counts from the server's own clock, which came along.
        return (parsedate_to_datetime(value) - parsedate_to_datetime(headers["date"])).total_seconds()
    except (KeyError, TypeError, ValueError):
        return None


def _retry_after_s(headers: Mapping[str, str], details: list[dict[str, Any]], message: str) -> float | None:
    """The longest wait that was named anywhere: Google's RetryInfo and its own message disagree."""
    waits = [_retry_after_header_s(headers)]
    for detail in details:
        delay = detail.get("retryDelay")
        if isinstance(delay, str):
            waits.append(duration_s(delay))
        elif isinstance(delay, dict):
            seconds, nanos = delay.get("seconds", 0), delay.get("nanos", 0)
            if isinstance(seconds, int | float | str) and isinstance(nanos, int | float):
                waits.append(_number(seconds, 0.0) + nanos * 1e-9)
    waits += [duration_s(found) for found in _RETRY_IN.findall(message)]
    known = [wait for wait in waits if wait is not None]
    return min(max(0.0, *known), RETRY_AFTER_S_MAX) if known else None


def _number(value: Any, default: float) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return default


# ---------------------------------------------------------------------------------- quotas (429)

_LIMIT = re.compile(r"limit: (\d+(?:\.\d+)?)")
_TOO_LARGE = re.compile(r"(?:payload|request)(?: entity)?(?: size)? (?:exceeds|is too large|too large)", re.IGNORECASE)
"""Google also says this with status 400."""
_NO_MONEY = re.compile(
    r"prepay|prepaid|credits? (?:are|is|have been|has been)? ?(?:depleted|exhausted|used up)|out of credits"
    r"|billing (?:account )?(?:is |has been |must be )?(?:not |closed|disabled|suspended|enabled)"
    r"|enable billing|month(?:ly)? spend|monthly.{0,20}\b(?:cap|budget)\b|spend(?:ing)? cap",
    re.IGNORECASE,
)
_SPEND = re.compile(r"spend|usd|dollar", re.IGNORECASE)
_DAY = re.compile(r"per_?day|per day|\bdaily\b|rpd", re.IGNORECASE)


def _quota(code: int, message: str, details: list[dict[str, Any]]) -> tuple[ErrorKind, float | None, str | None]:
    """Kind, limit and id of the quota that a 429 (or its like) tells of: the longest-lasting of those named."""
    named: list[tuple[str, float | None]] = []
    for detail in details:
        for violation in detail.get("violations") or ():
            if isinstance(violation, dict):
                quota_id = str(
                    violation.get("quotaId") or violation.get("quotaMetric") or violation.get("subject") or ""
                )
                value = violation.get("quotaValue")
                named.append((quota_id, None if value is None else _number(value, -1.0)))
        metadata = detail.get("metadata")
        if isinstance(metadata, dict) and metadata.get(
            "quota_limit"
        ):  # ErrorInfo, as Vertex and older services say it.
            value = metadata.get("quota_limit_value")
            named.append((str(metadata["quota_limit"]), None if value is None else _number(value, -1.0)))
    told = [float(found) for found in _LIMIT.findall(message)]
    named = [(quota_id, limit if limit is None or limit >= 0 else None) for quota_id, limit in named]
    if len(told) == len(named):
        named = [
            (quota_id, words if limit is None else limit) for (quota_id, limit), words in zip(named, told, strict=True)
        ]

    zero = next((q for q, limit in named if limit == 0), None)
    if zero is not None or 0.0 in told:
        return ErrorKind.NO_QUOTA, 0.0, zero
    if _NO_MONEY.search(message):
        return ErrorKind.NO_QUOTA, None, named[0][0] if named else None
    for kind, pattern in ((ErrorKind.QUOTA_DAY, _DAY), (ErrorKind.QUOTA_SPEND, _SPEND)):
        for quota_id, limit in named:
            if pattern.search(quota_id):
                return kind, limit, quota_id
    if named:
        # Of several minute quotas the message's first is the one that was hit first.
        return ErrorKind.RATE_LIMITED, named[0][1], named[0][0] or None
    limit = told[0] if told else None
    if _DAY.search(message):
        return ErrorKind.QUOTA_DAY, limit, None
    if _SPEND.search(message):
        return ErrorKind.QUOTA_SPEND, limit, None
    return (ErrorKind.RATE_LIMITED if limit is not None else ErrorKind.OVERLOADED), limit, None


# --------------------------------------------------------------------------------- HTTP failures


def parse_json(body: bytes | bytearray | memoryview | str) -> Any:
    """The body as JSON; None when it is not JSON.

    Half surrogate pairs, which strict parsers refuse, become `?`, and numbers beyond all bounds the largest there is:
    they can stand beside a picture that is paid for.
    """
    try:
        return orjson.loads(body)
    except (orjson.JSONDecodeError, RecursionError):
        pass
    try:
        text = body if isinstance(body, str) else bytes(body)
        lenient = json.loads(text, parse_constant=_no_constant, parse_float=_finite, parse_int=_whole)
        return orjson.loads(json.dumps(lenient, ensure_ascii=False).encode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None


def _no_constant(name: str) -> Any:
    raise ValueError(name)


def _finite(number: str) -> float:
    return max(-sys.float_info.max, min(sys.float_info.max, float(number)))


def _whole(number: str) -> int | float:
    return int(number) if len(number) < 300 else _finite(number)


def _error_object(answer: Any) -> dict[str, Any] | None:
    if isinstance(answer, list) and answer:
        answer = answer[0]
    error = answer.get("error") if isinstance(answer, dict) else None
    return error if isinstance(error, dict) else None


def has_error(answer: Any) -> bool:
    """Whether a parsed body is Google's error envelope, whatever status it came with."""
    return _error_object(answer) is not None


def http_failure(
    status: int,
    headers: Mapping[str, str],
    body: bytes | bytearray | memoryview | str,
    *,
    answer: Any = None,
    secrets: Iterable[str] = (),
) -> ProviderError:
    """The error that an HTTP answer tells of. `headers` has lower-case names.

    `answer` is the parsed body where the caller has it already. Kinds that end a run (key, model,
    region, billing) are believed only when Google's own error object says so: a proxy's page cannot.
    """
    answer = parse_json(body) if answer is None else answer
    error = _error_object(answer)
    secrets = tuple(secrets)
    if error is None:
        return _foreign(status, headers, body, secrets)

    message = str(error.get("message") or error.get("status") or "no message")
    name = str(error.get("status") or "")
    code = error.get("code")
    if isinstance(code, bool) or not isinstance(code, int) or not 400 <= code < 600:
        code = _STATUS_CODES.get(name, status if status >= 400 else 500)
    details = (
        [d for d in error.get("details") or () if isinstance(d, dict)] if isinstance(error.get("details"), list) else []
    )
    reasons = {str(d.get("reason") or "") for d in details}
    retry_after_s = _retry_after_s(headers, details, message)

    limit: float | None = None
    quota_id: str | None = None
    if code == 429 or name == "RESOURCE_EXHAUSTED":
        kind, limit, quota_id = _quota(code, message, details)
        if kind is ErrorKind.OVERLOADED and retry_after_s is not None:
            kind = ErrorKind.RATE_LIMITED  # It named a moment: that is a quota, not a crowd.
    else:
        kind = _kind(code, name, message, reasons)
    return ProviderError(
        kind,
        tidy(f"{code} {name}: {message}" if name else f"{code}: {message}", secrets),
        http_status=code,
        retry_after_s=retry_after_s,
        quota_limit=limit,
        quota_id=None if quota_id is None else tidy(quota_id, secrets),
    )


def _kind(code: int, name: str, message: str, reasons: set[str]) -> ErrorKind:
    if "API_KEY_INVALID" in reasons or re.search(r"api key (?:not valid|not found|expired)", message, re.IGNORECASE):
        return ErrorKind.AUTH
    if code == 413 or (code == 400 and _TOO_LARGE.search(message)):
        return ErrorKind.TOO_LARGE
    if "BILLING_DISABLED" in reasons or (code == 403 and _NO_MONEY.search(message)):
        return ErrorKind.NO_QUOTA
    if code in (401, 403):
        return ErrorKind.AUTH
    if code == 404:
        return ErrorKind.MODEL
    if name == "FAILED_PRECONDITION" and re.search(r"location|region|country|billing", message, re.IGNORECASE):
        return ErrorKind.REGION
    return _plain_kind(code)


def _plain_kind(code: int) -> ErrorKind:
    if code == 503:
        return ErrorKind.OVERLOADED
    if code in (408, 499) or code >= 500:
        return ErrorKind.SERVER
    return ErrorKind.TOO_LARGE if code == 413 else ErrorKind.INVALID


def _foreign(status: int, headers: Mapping[str, str], body: Any, secrets: tuple[str, ...]) -> ProviderError:
    """Not Gemini's words: a proxy, a load balancer, a captive portal."""
    content_type = headers.get("content-type") or "no content type"
    excerpt = body if isinstance(body, str) else bytes(body[:1200]).decode("utf-8", "replace")
    message = f"{status}: the answer is {content_type}, not Gemini's JSON"
    if excerpt.strip():
        message += f": {re.sub(r'<[^>]*>', ' ', excerpt)}"
    if status == 429:
        kind = ErrorKind.OVERLOADED
    elif status in (408, 413, 499) or status >= 500:
        kind = _plain_kind(status)
    else:
        kind = ErrorKind.BAD_ANSWER
    retry_after_s = _retry_after_s(headers, [], "")
    if status == 429 and retry_after_s is not None:
        kind = ErrorKind.RATE_LIMITED
    return ProviderError(kind, tidy(message, secrets), http_status=status, retry_after_s=retry_after_s)


# ------------------------------------------------------------------------------- answers (200)

REFUSALS = frozenset(
    (
        "SAFETY",
        "RECITATION",
        "BLOCKLIST",
        "PROHIBITED_CONTENT",
        "SPII",
        "IMAGE_SAFETY",
        "IMAGE_PROHIBITED_CONTENT",
        "IMAGE_RECITATION",
        "MODEL_ARMOR",
    )
)
"""Finish reasons that are final: asking again gives the same."""

_WHOLE = frozenset(("STOP", "MAX_TOKENS", "FINISH_REASON_UNSPECIFIED"))


def finish_failure(
    reason: str | None, message: str, *, wants_picture: bool, usage: Usage, secrets: Iterable[str] = ()
) -> ProviderError:
    """Why a candidate without what was asked for is none. `message` is `finishMessage`, or the text that came."""
    if reason in REFUSALS:
        kind = ErrorKind.REFUSED
    elif reason == "PUP_LIMITED_DISABLED":
        kind = ErrorKind.AUTH
    elif reason == "MAX_TOKENS":
        kind = ErrorKind.TRUNCATED
    elif wants_picture:
        kind = ErrorKind.NO_PICTURE
    else:
        kind = ErrorKind.BAD_ANSWER
    asked = "picture" if wants_picture else "text"
    head = (
        f"{reason}" if reason and reason not in _WHOLE else f"no {asked} in the answer ({reason or 'no reason given'})"
    )
    return ProviderError(
        kind,
        tidy(f"{head}: {message}" if message else head, secrets),
        http_status=200,
        finish_reason=None if reason is None else hide(reason, secrets),
        usage=usage,
    )


def answered(reason: str | None, *, wants_picture: bool) -> bool:
    """Whether content that came with this finish reason is to be used.

    A whole picture is kept whatever harmless reason came after it: it is paid for. A text must have ended.
    """
    if reason is None or reason in ("STOP", "FINISH_REASON_UNSPECIFIED"):
        return True
    return wants_picture and reason not in REFUSALS and reason != "PUP_LIMITED_DISABLED"


def block_failure(reason: str, message: str, *, usage: Usage, secrets: Iterable[str] = ()) -> ProviderError:
    """The prompt was blocked before anything was made."""
    text = f"the prompt was blocked ({reason})" + (f": {message}" if message else "")
    return ProviderError(
        ErrorKind.REFUSED, tidy(text, secrets), http_status=200, finish_reason=hide(reason, secrets), usage=usage
    )


# ------------------------------------------------------------------------------------- headers


def lower_headers(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Headers with lower-case names; of repeated ones the last."""
    return dict(_lowered(headers))


def _lowered(headers: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    for name, value in headers:
        yield name.lower(), value
