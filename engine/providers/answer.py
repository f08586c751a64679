"""From the bytes of a 200 answer to a Response, without parsing the picture.

Nearly all answers look alike, and those are read by their types (`providers.usual`). What differs in anything is read
here, step by step and tolerantly, to the same end.

A picture of 1.5 MB is 2 MB of base64 between two quotes. A JSON parser would copy it into a string
first; here it is found with `bytes.find`, cut out, and decoded straight from the receive buffer,
while the JSON parser gets the few hundred bytes around it. Surprises (escaped slashes, URL-safe
alphabet, line breaks) take the slower way and end the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson
import pybase64

from engine.errors import ProviderError
from engine.providers import classify, usual
from engine.providers.base import Picture, Response
from engine.providers.usual import Told, usage_of
from schemas.outcome import ErrorKind, Usage

_KEY = b'"data"'
_OPENING = re.compile(rb'\s*:\s*"')
_SPAN_BYTES_MIN = 512
"""Shorter strings are left to the parser."""
_SPANS_MAX = 64
_SIGNATURES = (b"\x89PNG", b"\xff\xd8\xff", b"RIFF")
"""How pictures begin."""

Body = bytes | bytearray


def read_answer(
    body: Body,
    headers: Mapping[str, str],
    *,
    wants_picture: bool,
    secrets: Iterable[str] = (),
    pictures: Sequence[bytes] = (),
) -> Response:
    """The response that a 200 body holds. Raises ProviderError when there is none.

    `headers` have lower-case names. `pictures` were decoded already and stand as `@0`, `@1` … in the body.
    """
    if not body:
        raise ProviderError(ErrorKind.UNKNOWN, "200 with an empty body: the answer was lost", http_status=200)
    if (told := usual.read(body, len(pictures))) is not None:
        return _response(told, pictures, wants_picture, tuple(secrets))
    skeleton, spans = _cut(body, pictures)
    answer = classify.parse_json(skeleton)
    if answer is None and spans:
        # What looked like a picture was something else: let the parser see all of it.
        body, spans = _as_it_came(body, pictures), []
        answer = classify.parse_json(body)
    if not isinstance(answer, dict) or classify.has_error(answer):
        raise _not_an_answer(body, headers, answer, secrets)
    return _response(_told(answer, wants_picture, tuple(secrets)), spans, wants_picture, tuple(secrets))


def _not_an_answer(body: Body, headers: Mapping[str, str], answer: Any, secrets: Iterable[str]) -> ProviderError:
    if answer is None and body.lstrip()[:1] == b"{" and "html" not in headers.get("content-type", ""):
        return ProviderError(
            ErrorKind.UNKNOWN,
            f"200 whose JSON breaks off or is damaged after {len(body)} bytes: the answer was lost",
            http_status=200,
        )
    return classify.http_failure(200, headers, body, answer=answer, secrets=secrets)


def _as_it_came(body: Body, pictures: Sequence[bytes]) -> Body:
    for n, picture in enumerate(pictures):
        body = body.replace(b'"@%d"' % n, b'"%b"' % pybase64.b64encode(picture), 1)
    return body


def _cut(body: Body, pictures: Sequence[bytes]) -> tuple[Body, list[bytes | memoryview]]:
    """The body with each long `"data": "…"` replaced by `"@n"`, and what the n-th one is: a picture, or base64.

    `@` is in no base64 alphabet. `"data"` cannot match within a string: its quotes would be escaped there.
    """
    spans: list[bytes | memoryview] = [*pictures]
    pieces: list[bytes | bytearray] = []
    copied = at = 0
    while len(spans) < _SPANS_MAX and (at := body.find(_KEY, at)) >= 0:
        opening = _OPENING.match(body, at + len(_KEY))
        if opening is None:
            at += len(_KEY)
            continue
        start = opening.end()
        end = body.find(b'"', start)
        if end < 0:
            break
        if end - start >= _SPAN_BYTES_MIN:
            pieces += (body[copied:start], b"@%d" % len(spans))
            spans.append(memoryview(body)[start:end])
            copied = end
        at = end
    if not pieces:
        return body, spans
    pieces.append(body[copied:])
    return b"".join(pieces), spans


def _told(answer: dict[str, Any], wants_picture: bool, secrets: tuple[str, ...]) -> Told:
    usage = read_usage(answer.get("usageMetadata"))
    candidate = _first(answer.get("candidates"))
    if candidate is None:
        raise _no_candidate(answer, wants_picture, usage, secrets)
    encoded, extra, texts = _parts(candidate)
    return Told(
        encoded,
        extra,
        "".join(texts) if texts else None,
        usage,
        _text(candidate.get("finishReason")),
        _text(candidate.get("finishMessage")),
        _text(answer.get("modelVersion")),
    )


def _response(
    told: Told, spans: Sequence[bytes | memoryview], wants_picture: bool, secrets: tuple[str, ...]
) -> Response:
    encoded, extra, text, usage, reason, message, version = told
    has_content = encoded is not None if wants_picture else bool(text)
    if not has_content or not classify.answered(reason, wants_picture=wants_picture):
        words = message or text or ""
        raise classify.finish_failure(reason, words, wants_picture=wants_picture, usage=usage, secrets=secrets)
    picture = None
    if wants_picture and encoded is not None:
        mime_type, data = encoded
        decoded = _decode(data, spans, reason, usage, secrets)
        picture = Picture(data=decoded, mime_type=classify.hide(mime_type, secrets))
    return Response(
        picture=picture,
        extra_pictures=extra,
        text=None if text is None else classify.hide(text, secrets),
        usage=usage,
        finish_reason=None if reason is None else classify.hide(reason, secrets),
        model_version=None if version is None else classify.hide(version, secrets),
    )


def _no_candidate(answer: dict[str, Any], wants_picture: bool, usage: Usage, secrets: tuple[str, ...]) -> ProviderError:
    feedback = answer.get("promptFeedback")
    if isinstance(feedback, dict):
        reason = _text(feedback.get("blockReason"))
        if reason and reason != "BLOCK_REASON_UNSPECIFIED":
            words = _text(feedback.get("blockReasonMessage")) or ""
            return classify.block_failure(reason, words, usage=usage, secrets=secrets)
    return classify.finish_failure(None, "no candidate", wants_picture=wants_picture, usage=usage, secrets=secrets)


def _parts(candidate: dict[str, Any]) -> tuple[tuple[str, str] | None, int, list[str]]:
    """(mime type, base64) of the first picture, the number of further ones, the texts; thoughts left out."""
    content = candidate.get("content")
    parts = content.get("parts") if isinstance(content, dict) else None
    encoded: tuple[str, str] | None = None
    extra = 0
    texts: list[str] = []
    for part in parts if isinstance(parts, list) else ():
        if not isinstance(part, dict) or part.get("thought") is True:
            continue
        blob = part.get("inlineData") or part.get("inline_data")
        if isinstance(blob, dict):
            if encoded is None:
                mime_type = _text(blob.get("mimeType")) or _text(blob.get("mime_type")) or ""
                encoded = (classify.tidy(mime_type), _text(blob.get("data")) or "")
            else:
                extra += 1
        elif (text := part.get("text")) and isinstance(text, str):
            texts.append(text)
    return encoded, extra, texts


# --------------------------------------------------------------------------------------- base64


def _decode(
    data: str,
    spans: Sequence[bytes | memoryview],
    reason: str | None,
    usage: Usage,
    secrets: tuple[str, ...],
) -> bytes:
    raw: bytes | memoryview = b""
    if data[:1] == "@" and data[1:].isdecimal() and int(data[1:]) < len(spans):
        raw = spans[int(data[1:])]
        if isinstance(raw, bytes):
            return raw if raw.startswith(_SIGNATURES) else _harmless(raw, secrets)
    else:
        raw = data.encode("utf-8", "surrogatepass")
    try:
        decoded = pybase64.b64decode(raw, validate=True)
    except ValueError:
        decoded = _decode_unusual(bytes(raw))
    if decoded is None:
        raise ProviderError(
            ErrorKind.BAD_IMAGE,
            f"the picture's base64 is damaged ({len(raw)} characters)",
            http_status=200,
            finish_reason=None if reason is None else classify.hide(reason, secrets),
            usage=usage,
            bad_bytes=_harmless(bytes(raw), secrets),
        )
    return decoded if decoded.startswith(_SIGNATURES) else _harmless(decoded, secrets)


def _harmless(data: bytes, secrets: tuple[str, ...]) -> bytes:
    """Bytes that are no picture are kept aside for people to read: they may be words, and hold the key."""
    text = data.decode("latin-1")
    return data if (hidden := classify.hide(text, secrets)) is text else hidden.encode("latin-1", "replace")


def _decode_unusual(raw: bytes) -> bytes | None:
    """Base64 that is right but not plain: JSON escapes, URL-safe alphabet, line breaks, no padding."""
    if b"\\" in raw:
        try:
            raw = orjson.loads(b'"%b"' % raw).encode("utf-8", "surrogatepass")
        except orjson.JSONDecodeError:
            return None
    raw = b"".join(raw.split()).translate(_URL_SAFE)
    raw += b"=" * (-len(raw) % 4)
    try:
        return pybase64.b64decode(raw, validate=True)
    except ValueError:
        return None


_URL_SAFE = bytes.maketrans(b"-_", b"+/")


# ---------------------------------------------------------------------------------------- usage


def read_usage(metadata: Any) -> Usage:
    """`usageMetadata` as Usage. Anything missing or odd counts as zero."""
    if not isinstance(metadata, dict):
        return Usage()
    details = metadata.get("candidatesTokensDetails")
    image = sum(
        _count(detail.get("tokenCount"))
        for detail in (details if isinstance(details, list) else ())
        if isinstance(detail, dict) and detail.get("modality") == "IMAGE"
    )
    return usage_of(
        prompt=_count(metadata.get("promptTokenCount")) + _count(metadata.get("toolUsePromptTokenCount")),
        candidates=_count(metadata.get("candidatesTokenCount")),
        thinking=_count(metadata.get("thoughtsTokenCount")),
        total=_count(metadata.get("totalTokenCount")),
        image=image,
    )


def _count(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _first(value: Any) -> dict[str, Any] | None:
    return value[0] if isinstance(value, list) and value and isinstance(value[0], dict) else None
