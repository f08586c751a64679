"""What the far side's words mean. Pure: no socket, no clock."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.providers.classify import (
    MESSAGE_CHARS_MAX,
    RETRY_AFTER_S_MAX,
    answered,
    duration_s,
    finish_failure,
    hide,
    http_failure,
    tidy,
)
from schemas.outcome import ErrorKind, Usage

TYPE = "type.googleapis.com/google.rpc."
BOILERPLATE = "You exceeded your current quota, please check your plan and billing details."


def quota(quota_id: str, value: str | None = None) -> dict[str, Any]:
    violation = {"quotaMetric": "generativelanguage.googleapis.com/x", "quotaId": quota_id}
    if value is not None:
        violation["quotaValue"] = value
    return {"@type": TYPE + "QuotaFailure", "violations": [violation]}


def retry_info(delay: Any) -> dict[str, Any]:
    return {"@type": TYPE + "RetryInfo", "retryDelay": delay}


def error(code: int, status: str, message: str, *details: dict[str, Any]) -> bytes:
    return json.dumps({"error": {"code": code, "status": status, "message": message, "details": details}}).encode()


def exhausted(message: str, *details: dict[str, Any]) -> bytes:
    return error(429, "RESOURCE_EXHAUSTED", message, *details)


PER_MINUTE = "GenerateContentPaidTierInputTokensPerModelPerMinute-PaidTier2"
PER_DAY = "GenerateRequestsPerDayPerProjectPerModel-PaidTier1"


@pytest.mark.parametrize(
    ("body", "kind", "limit", "quota_id"),
    [
        (exhausted(BOILERPLATE, quota(PER_MINUTE, "3000000")), ErrorKind.RATE_LIMITED, 3e6, PER_MINUTE),
        (exhausted(BOILERPLATE, quota(PER_DAY, "250")), ErrorKind.QUOTA_DAY, 250, PER_DAY),
        (exhausted(BOILERPLATE, quota(PER_MINUTE, "10"), quota(PER_DAY, "250")), ErrorKind.QUOTA_DAY, 250, PER_DAY),
        (exhausted(BOILERPLATE, quota(PER_MINUTE, "0"), retry_info("14s")), ErrorKind.NO_QUOTA, 0, PER_MINUTE),
        (exhausted(f"{BOILERPLATE}\n* metric: x, limit: 0, model: y", quota(PER_DAY)), ErrorKind.NO_QUOTA, 0, PER_DAY),
        (
            exhausted(f"{BOILERPLATE}\n* metric: x, limit: 20, model: y", quota(PER_DAY)),
            ErrorKind.QUOTA_DAY,
            20,
            PER_DAY,
        ),
        (exhausted("* Quota exceeded for metric: x, limit: 60, model: y"), ErrorKind.RATE_LIMITED, 60, None),
        (exhausted("Your prepayment credits are depleted."), ErrorKind.NO_QUOTA, None, None),
        (exhausted("Billing account is disabled"), ErrorKind.NO_QUOTA, None, None),
        (exhausted("Your project has exceeded its monthly spending cap."), ErrorKind.NO_QUOTA, None, None),
        (
            exhausted("slow down", quota("SpendPer10MinutesPerProject-PaidTier1", "10")),
            ErrorKind.QUOTA_SPEND,
            10,
            "SpendPer10MinutesPerProject-PaidTier1",
        ),
        (exhausted("Spend-based rate limit exceeded, wait and retry"), ErrorKind.QUOTA_SPEND, None, None),
        (exhausted("Resource has been exhausted (e.g. check quota)."), ErrorKind.OVERLOADED, None, None),
        (exhausted("Resource exhausted. Please try again later."), ErrorKind.OVERLOADED, None, None),
        (exhausted(BOILERPLATE), ErrorKind.OVERLOADED, None, None),
        (exhausted(BOILERPLATE, retry_info("9s")), ErrorKind.RATE_LIMITED, None, None),
        (
            exhausted(
                "Quota exceeded",
                {
                    "reason": "RATE_LIMIT_EXCEEDED",
                    "metadata": {"quota_limit": "RpmPerRegion", "quota_limit_value": "5"},
                },
            ),
            ErrorKind.RATE_LIMITED,
            5,
            "RpmPerRegion",
        ),
        (b"<html>Too many</html>", ErrorKind.OVERLOADED, None, None),
    ],
)
def test_a_429_is_told_apart_by_what_it_says(
    body: bytes, kind: ErrorKind, limit: float | None, quota_id: str | None
) -> None:
    failure = http_failure(429, {}, body)
    assert (failure.kind, failure.quota_limit, failure.quota_id) == (kind, limit, quota_id)
    assert failure.http_status == 429


@pytest.mark.parametrize(
    ("code", "body", "kind"),
    [
        (400, error(400, "INVALID_ARGUMENT", "Unknown field"), ErrorKind.INVALID),
        (400, error(400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key."), ErrorKind.AUTH),
        (400, error(400, "INVALID_ARGUMENT", "no", {"reason": "API_KEY_INVALID"}), ErrorKind.AUTH),
        (400, error(400, "FAILED_PRECONDITION", "User location is not supported for the API use."), ErrorKind.REGION),
        (400, error(400, "FAILED_PRECONDITION", "Please enable billing on your project"), ErrorKind.REGION),
        (400, error(400, "FAILED_PRECONDITION", "The file is not ready"), ErrorKind.INVALID),
        (401, error(401, "UNAUTHENTICATED", "Request had invalid credentials"), ErrorKind.AUTH),
        (403, error(403, "PERMISSION_DENIED", "Your API key was reported as leaked."), ErrorKind.AUTH),
        (403, error(403, "PERMISSION_DENIED", "API never used", {"reason": "SERVICE_DISABLED"}), ErrorKind.AUTH),
        (403, error(403, "PERMISSION_DENIED", "no", {"reason": "BILLING_DISABLED"}), ErrorKind.NO_QUOTA),
        (403, error(403, "PERMISSION_DENIED", "Please enable billing on project #1"), ErrorKind.NO_QUOTA),
        (404, error(404, "NOT_FOUND", "models/gemini-9 is not found for API version v1beta"), ErrorKind.MODEL),
        (408, error(408, "CANCELLED", "late"), ErrorKind.SERVER),
        (413, b"<html>Request Entity Too Large</html>", ErrorKind.TOO_LARGE),
        (413, error(413, "INVALID_ARGUMENT", "Request payload size exceeds the limit"), ErrorKind.TOO_LARGE),
        (
            400,
            error(400, "INVALID_ARGUMENT", "Request payload size exceeds the limit: 20971520 bytes."),
            ErrorKind.TOO_LARGE,
        ),
        (499, error(499, "CANCELLED", "The operation was cancelled."), ErrorKind.SERVER),
        (500, error(500, "INTERNAL", "An internal error has occurred"), ErrorKind.SERVER),
        (501, error(501, "UNIMPLEMENTED", "x"), ErrorKind.SERVER),
        (502, b"", ErrorKind.SERVER),
        (503, error(503, "UNAVAILABLE", "The model is overloaded."), ErrorKind.OVERLOADED),
        (504, error(504, "DEADLINE_EXCEEDED", "late"), ErrorKind.SERVER),
        (200, error(429, "RESOURCE_EXHAUSTED", "Resource has been exhausted"), ErrorKind.OVERLOADED),
        (200, json.dumps({"error": {"status": "PERMISSION_DENIED", "message": "x"}}).encode(), ErrorKind.AUTH),
        (400, b"[" + error(400, "INVALID_ARGUMENT", "as a list") + b"]", ErrorKind.INVALID),
        # Kinds that end a run need Gemini's own words.
        (403, b"<html>Blocked by your organisation</html>", ErrorKind.BAD_ANSWER),
        (401, b"proxy login", ErrorKind.BAD_ANSWER),
        (404, b"<title>Error 404 (Not Found)!!1</title>", ErrorKind.BAD_ANSWER),
        (400, b'{"message": "some gateway"}', ErrorKind.BAD_ANSWER),
    ],
)  # fmt: skip
def test_each_status_has_its_kind(code: int, body: bytes, kind: ErrorKind) -> None:
    assert http_failure(code, {}, body).kind is kind


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("14s", 14), ("47.200s", 47.2), ("370.93ms", 0.37093), ("22h13m6.5s", 79986.5), ("1m", 60), ("0s", 0)],
)
def test_durations_are_read_as_google_writes_them(text: str, seconds: float) -> None:
    assert duration_s(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "14", "s", "-3s", "1e9s", "14s!", "NaNs"])
def test_what_is_no_duration_is_none(text: str) -> None:
    assert duration_s(text) is None


@pytest.mark.parametrize(
    ("headers", "message", "details", "wait_s"),
    [
        ({}, "Please retry in 51.386192716s.", [retry_info("14s")], 51.386192716),
        ({}, "Please retry in 370.93ms.", [retry_info("47.200s")], 47.2),
        ({"retry-after": "90"}, "Please retry in 1s.", [retry_info("14s")], 90),
        ({"retry-after": "Sun, 22 Nov 2026 10:01:00 GMT", "date": "Sun, 22 Nov 2026 10:00:00 GMT"}, "", [], 60),
        ({"retry-after": "Sun, 22 Nov 2026 09:00:00 GMT", "date": "Sun, 22 Nov 2026 10:00:00 GMT"}, "", [], 0),
        ({"retry-after": "Sun, 22 Nov 2026 10:01:00 GMT"}, "", [], None),
        ({"retry-after": "soon"}, "", [retry_info("soon")], None),
        ({}, "", [retry_info({"seconds": 3, "nanos": 500_000_000})], 3.5),
        ({"retry-after": "999999999"}, "", [], RETRY_AFTER_S_MAX),
    ],
)
def test_the_longest_wait_named_anywhere_counts(
    headers: dict[str, str], message: str, details: list[dict[str, Any]], wait_s: float | None
) -> None:
    assert http_failure(429, headers, exhausted(message, *details)).retry_after_s == wait_s


@pytest.mark.parametrize(
    ("reason", "for_picture", "for_text"),
    [
        *((r, ErrorKind.REFUSED, ErrorKind.REFUSED) for r in ("SAFETY", "PROHIBITED_CONTENT", "SPII", "BLOCKLIST")),
        *((r, ErrorKind.REFUSED, ErrorKind.REFUSED) for r in ("RECITATION", "IMAGE_SAFETY", "MODEL_ARMOR")),
        *((r, ErrorKind.REFUSED, ErrorKind.REFUSED) for r in ("IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION")),
        *((r, ErrorKind.NO_PICTURE, ErrorKind.BAD_ANSWER) for r in ("IMAGE_OTHER", "NO_IMAGE", "STOP", "OTHER", None)),
        ("MAX_TOKENS", ErrorKind.TRUNCATED, ErrorKind.TRUNCATED),
        ("PUP_LIMITED_DISABLED", ErrorKind.AUTH, ErrorKind.AUTH),
        ("SOMETHING_NEW", ErrorKind.NO_PICTURE, ErrorKind.BAD_ANSWER),
    ],
)
def test_each_finish_reason_has_its_kind(reason: str | None, for_picture: ErrorKind, for_text: ErrorKind) -> None:
    for wants_picture, kind in ((True, for_picture), (False, for_text)):
        failure = finish_failure(reason, "why", wants_picture=wants_picture, usage=Usage(total_tokens=3))
        assert failure.kind is kind
        assert failure.finish_reason == reason
        assert failure.usage == Usage(total_tokens=3), "what was refused may have been paid for"
        assert "why" in failure.message


def test_a_paid_picture_is_kept_unless_it_was_refused() -> None:
    assert answered("MAX_TOKENS", wants_picture=True)
    assert answered("SOMETHING_NEW", wants_picture=True)
    assert not answered("IMAGE_SAFETY", wants_picture=True)
    assert not answered("MAX_TOKENS", wants_picture=False)


def test_messages_hold_no_key_no_control_characters_and_no_novel() -> None:
    key = "my-own-secret"
    text = f"\x1b[31mbad\u202e {key} AIzaSyA1234567890abcdefg Bearer ya29.abc ?key=hush&x=1\0\nline " + "z" * 5000
    message = http_failure(400, {}, error(400, "INVALID_ARGUMENT", text), secrets=(key,)).message
    for hidden in (key, "AIza", "ya29", "hush", "\x1b", "\u202e", "\0", "\n"):
        assert hidden not in message
    assert "bad" in message
    assert "x=1" in message
    assert len(message) == MESSAGE_CHARS_MAX


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(("error", "code", "status", "message", "details", "violations", "quotaId", "quotaValue"))
            | st.sampled_from(("retryDelay", "metadata", "quota_limit", "quota_limit_value", "reason", "seconds")),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)


@given(status=st.integers(100, 599), answer=JSON, raw=st.binary(max_size=40), wrap=st.booleans())
def test_nothing_the_far_side_says_is_an_error_of_ours(status: int, answer: Any, raw: bytes, wrap: bool) -> None:
    for body in (json.dumps({"error": answer} if wrap else answer).encode(), raw):
        failure = http_failure(status, {"retry-after": raw.decode("latin-1")}, body)
        assert failure.message
        assert failure.retry_after_s is None or 0 <= failure.retry_after_s <= RETRY_AFTER_S_MAX
        assert failure.quota_limit is None or failure.quota_limit >= 0


@given(st.text(), st.text(min_size=8))
def test_tidying_hides_a_secret_wherever_it_stands(text: str, secret: str) -> None:
    if secret not in "[key] …":
        assert secret not in tidy(f"{text}{secret}", (secret,)).replace("[key]", "")


def test_a_stand_in_key_of_one_letter_tears_no_words_apart() -> None:
    assert hide("dusk over the park", ["k"]) == "dusk over the park"
    assert "sekret-key-0815" not in hide("it says sekret-key-0815 here", ["sekret-key-0815"])
