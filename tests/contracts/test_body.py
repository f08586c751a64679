"""Pictures are decoded while they come in, and nobody can tell from the answer."""

from __future__ import annotations

import base64
import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import ProviderError
from engine.providers.answer import read_answer
from engine.providers.body import Body
from engine.providers.http1 import Reading

CUTS = st.lists(st.integers(0, 1 << 20), max_size=12)
PLAIN = base64.b64encode(bytes(range(256)) * 9).decode()


def taken(raw: bytes, cuts: list[int], *, looking: bool = True) -> Body:
    """`raw` in portions that end at `cuts`, through one buffer that is used again and again."""
    body, buffer = Body(looking=looking), bytearray(len(raw) + 3)
    edges = sorted({0, len(raw), *(cut % (len(raw) + 1) for cut in cuts)})
    for start, stop in pairwise(edges):
        buffer[3 : 3 + stop - start] = raw[start:stop]
        body.take(buffer, 3, 3 + stop - start)
        buffer[:] = b"\xee" * len(buffer)
    body.close()
    assert body.size_bytes == len(raw)
    return body


def put_back(body: Body) -> bytes:
    text = bytes(body.text)
    for n, picture in enumerate(body.pictures):
        text = text.replace(b'"@%d"' % n, b'"%b"' % base64.b64encode(picture), 1)
    return text


def outcome(read: Any) -> tuple[Any, ...]:
    """What a caller gets, or is told."""
    try:
        response = read()
    except ProviderError as error:
        return error.kind, error.message, error.usage, error.bad_bytes
    return response.picture, response.extra_pictures, response.text, response.usage, response.finish_reason


def outcome_of(came: Body, *, wants_picture: bool = True) -> tuple[Any, ...]:
    return outcome(lambda: read_answer(bytes(came.text), {}, wants_picture=wants_picture, pictures=came.pictures))


def answer_of(parts: list[Any], indent: int | None = None) -> bytes:
    content = {"candidates": [{"content": {"parts": parts}, "finishReason": "STOP"}], "usageMetadata": {}}
    return json.dumps(content, indent=indent).encode()


ENCODED = st.one_of(
    st.binary(max_size=900).map(lambda data: base64.b64encode(data).decode()),
    st.binary(min_size=600, max_size=900).map(lambda data: base64.urlsafe_b64encode(data).decode()),
    st.binary(min_size=600, max_size=900).map(lambda data: base64.b64encode(data).decode().rstrip("=")),
    st.binary(min_size=600, max_size=900).map(lambda data: base64.encodebytes(data).decode()),
    st.tuples(st.integers(0, len(PLAIN)), st.sampled_from(["=", "==", "*", "A", "\\", "é", '"', " "])).map(
        lambda at: PLAIN[: at[0]] + at[1] + PLAIN[at[0] :]
    ),
)
PARTS = st.lists(
    st.one_of(
        ENCODED.map(lambda data: {"inlineData": {"mimeType": "image/png", "data": data}}),
        st.sampled_from(['"data": "', "data", '"data"', "@0", "@1", "plain"]).map(lambda text: {"text": text}),
        ENCODED.map(lambda data: {"thoughtSignature": data, "data": "@0"}),
    ),
    max_size=4,
)


@given(PARTS, st.sampled_from([None, 0, 2]), CUTS, st.booleans(), st.integers(0, 200))
def test_an_answer_reads_the_same_whether_its_pictures_were_decoded_on_the_way(
    parts: list[Any], indent: int | None, cuts: list[int], wants_picture: bool, missing: int
) -> None:
    raw = answer_of(parts, indent)
    for body in (raw, raw[: len(raw) - missing]):
        came = taken(body, cuts)
        assert outcome_of(came, wants_picture=wants_picture) == outcome(
            lambda body=body: read_answer(body, {}, wants_picture=wants_picture)
        )


@given(st.lists(st.one_of(st.binary(max_size=40), st.just(b'"data": "'), st.just(PLAIN.encode()), st.just(b'"'))), CUTS)
def test_nothing_of_any_body_is_lost(pieces: list[bytes], cuts: list[int]) -> None:
    raw = b"".join(pieces)
    assert put_back(taken(raw, cuts)) == raw
    assert taken(raw, cuts, looking=False).text == raw


@given(CUTS)
def test_of_a_picture_that_was_decoded_no_base64_is_kept(cuts: list[int]) -> None:
    came = taken(answer_of([{"inlineData": {"mimeType": "image/png", "data": PLAIN}}] * 2), cuts)
    assert came.pictures == [base64.b64decode(PLAIN)] * 2
    assert len(came.text) < 400


@pytest.mark.parametrize(
    ("status", "header", "decoded"),
    [(200, "", True), (200, "Content-Encoding: identity\r\n", True), (500, "", False)],
)
def test_only_good_answers_are_looked_through(status: int, header: str, decoded: bool) -> None:
    body = answer_of([{"inlineData": {"mimeType": "image/png", "data": PLAIN}}])
    raw = f"HTTP/1.1 {status} OK\r\n{header}Content-Length: {len(body)}\r\n\r\n".encode() + body
    reading = Reading(pictures=True)
    reading.feed(bytearray(raw), len(raw))
    assert reading.reply is not None
    assert len(reading.reply.pictures) == decoded
    assert (reading.reply.body == body) != decoded


@pytest.mark.parametrize("indent", [None, 2])
def test_a_picture_is_found_wherever_a_portion_ends(indent: int | None) -> None:
    raw = answer_of([{"inlineData": {"mimeType": "image/png", "data": PLAIN}}], indent)
    begins, ends = raw.index(b'"data"'), raw.index(PLAIN.encode()) + len(PLAIN)
    for cut in (*range(begins - 1, begins + 18), *range(ends - 6, ends + 3)):
        assert taken(raw, [cut]).pictures == [base64.b64decode(PLAIN)], f"cut after {cut - begins} bytes"


def test_base64_that_goes_on_after_its_padding_is_damaged_wherever_a_portion_ends() -> None:
    padded = base64.b64encode(bytes(601)).decode()
    raw = answer_of([{"inlineData": {"mimeType": "image/png", "data": padded + PLAIN}}])
    whole = outcome(lambda: read_answer(raw, {}, wants_picture=True))
    at = raw.index(padded.encode()) + len(padded)
    for cut in range(at - 5, at + 6):
        came = taken(raw, [cut])
        assert put_back(came) == raw
        assert outcome_of(came) == whole
