"""Whatever is read by its types is read as the tolerant reader reads it."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import event, example, given, settings
from hypothesis import strategies as st

from engine.errors import ProviderError
from engine.providers import usual
from engine.providers.answer import read_answer

PICTURES = [b"\x89PNG the first", b"words, and not a picture: sekret-key-0815"]
SECRETS = ("sekret-key-0815", "image/png")
SAID: dict[str, Any] = {
    "candidates": [
        {
            "content": {
                "parts": [
                    {"text": "let me think", "thought": True},
                    {"inlineData": {"mimeType": "image/png", "data": "@0"}, "thoughtSignature": "c2ln"},
                    {"text": "Here it is, \u00e9 sekret-key-0815"},
                    {"inlineData": {"mimeType": "image/jpeg", "data": "@1"}},
                ],
                "role": "model",
            },
            "finishReason": "STOP",
            "finishMessage": "done",
            "index": 0,
            "safetyRatings": [{"category": "X", "probability": 0.5}],
        }
    ],
    "usageMetadata": {
        "promptTokenCount": 20,
        "toolUsePromptTokenCount": 3,
        "candidatesTokenCount": 1200,
        "thoughtsTokenCount": 30,
        "totalTokenCount": 1250,
        "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 1120}, {"modality": "TEXT", "tokenCount": 80}],
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 20}],
    },
    "modelVersion": "gemini-x-001",
    "responseId": "x" * 22,
}

VALUES = st.one_of(
    st.sampled_from(
        [None, True, False, "", "STOP", "IMAGE_SAFETY", "MAX_TOKENS", "@0", "@1", "@2", "@\u0663", "image/png"]
    ),
    st.sampled_from([0, -1, 7, 1 << 53, 1 << 64, 1.0, 0.5, 1e30, [], {}, [None], [{}], [1], {"data": "@0"}, "\ud800"]),
    st.sampled_from(
        [{"code": 500, "message": "no"}, {"mimeType": "image/png", "data": "@1"}, {"blockReason": "SAFETY"}]
    ),
    st.text(max_size=4),
).map(copy.deepcopy)
KEYS = st.sampled_from(
    [
        *("text", "thought", "inlineData", "inline_data", "mimeType", "mime_type", "data", "parts", "content", "error"),
        *("candidates", "finishReason", "finishMessage", "modelVersion", "usageMetadata", "promptFeedback", "other"),
        *("promptTokenCount", "candidatesTokenCount", "candidatesTokensDetails", "modality", "tokenCount"),
    ]
)


def places(value: Any) -> list[tuple[Any, Any]]:
    """Everything in a value that can be changed: its containers, with each key."""
    keys = list(value) if isinstance(value, dict) else list(range(len(value))) if isinstance(value, list) else []
    return [(value, key) for key in keys] + [place for key in keys for place in places(value[key])]


@st.composite
def spoilt(draw: st.DrawFn) -> bytes:
    said = copy.deepcopy(SAID)
    for _ in range(draw(st.integers(0, 3))):
        found = places(said)
        if not found:
            break
        inside, key = found[draw(st.integers(0, len(found) - 1))]
        what = draw(st.sampled_from(["other", "gone", "more", "mover"]))
        if what == "gone":
            del inside[key]
        elif what == "other":
            inside[key] = draw(VALUES)
        elif isinstance(inside, dict):
            new = draw(KEYS)
            inside[new] = draw(VALUES) if what == "more" else copy.deepcopy(inside[key])
        else:
            inside.append(draw(VALUES))
    body = json.dumps(said, indent=draw(st.sampled_from([None, 2])), ensure_ascii=draw(st.booleans()))
    raw = body.encode("utf-8", "surrogatepass")
    for _ in range(draw(st.integers(0, 1))):
        at, gone = draw(st.integers(0, len(raw))), draw(st.integers(0, 2))
        raw = raw[:at] + draw(SPOILERS) + raw[at + gone :]
    return raw


SPOILERS = st.sampled_from(
    [
        *(
            b"",
            b"\xff",
            b"\x00",
            b"\n",
            b" ",
            b",",
            b'"',
            b"{",
            b"}",
            b"]",
            b"\\",
            b"\\ud800",
            b"\\u0041",
            b"\xed\xa0\x80",
        ),
        *(b"1e999", b"-", b"0", b"1.", b".5", b"NaN", b"null", b'"text":"again",', b'"error":{},', b'"data":', b"// x"),
    ]
)


def outcome(body: bytes, *, wants_picture: bool) -> Any:
    """What the caller gets, or is told."""
    try:
        return read_answer(body, {}, wants_picture=wants_picture, secrets=SECRETS, pictures=PICTURES)
    except ProviderError as error:
        names = ("kind", "message", "http_status", "retry_after_s", "finish_reason", "usage", "bad_bytes")
        return [getattr(error, name) for name in names]


WITH_AN_ERROR = {**SAID, "error": {"code": 503, "message": "overloaded"}}
OTHERWISE_NAMED = {"candidates": [{"content": {"parts": [{"inline_data": {"mimeType": "image/png", "data": "@1"}}]}}]}


@settings(max_examples=600, deadline=None)
@given(spoilt(), st.booleans())
@example(json.dumps(WITH_AN_ERROR).encode(), True)
@example(json.dumps(OTHERWISE_NAMED).encode(), True)
@example(json.dumps({**SAID, "other": 10**400}).encode(), True)
@example(json.dumps(SAID).encode(), True)
@example(json.dumps(SAID).encode(), False)
def test_answers_read_by_their_types_are_read_as_by_the_tolerant_reader(body: bytes, wants_picture: bool) -> None:
    by_types = usual.read(body, len(PICTURES)) is not None
    event("by types" if by_types else "tolerantly")
    got = outcome(body, wants_picture=wants_picture)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(usual, "read", lambda *_: None)
        assert got == outcome(body, wants_picture=wants_picture)


def test_the_usual_answers_are_read_by_their_types(far_side: Any) -> None:
    picture = {"inlineData": {"mimeType": "image/png", "data": "@0"}, "thoughtSignature": "c2ln" * 300}
    for parts in ([picture], [{"text": "thinking", "thought": True}, picture], [{"text": '{"caption": "x"}'}]):
        assert usual.read(json.dumps(far_side.answer(*parts)).encode(), 1) is not None
    assert usual.read(json.dumps(SAID).encode(), 2) is not None
