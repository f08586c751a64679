"""Requests the SDK built once, to be filled in many times.

The SDK's converters cost about a millisecond per call, for a request of which only the prompt, the
seed and the pictures change. So a request is built by the SDK with marks in these places, and cut
there; filling it gives, byte for byte, what the SDK would have sent.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from json.encoder import encode_basestring_ascii
from typing import Any, Literal

import aiohttp
import orjson
import pybase64
from aiohttp.client_reqrep import ClientRequest

from engine.providers import classify
from engine.providers.lines import head_of
from schemas.job import Request

TEXT_MARK = "groundswell-mark-of-the-text"
SYSTEM_MARK = "groundswell-mark-of-the-system-instruction"
SEED_MARK = 1_610_612_741

_QUOTE = b'"%b"'

Hole = Literal["text", "system", "seed"] | int
"""What differs from one request to the next; a number is a picture's."""


class TemplateError(Exception):
    """The SDK built something that cannot be cut: a mark is missing, or is there twice."""


def picture_mark(n: int) -> bytes:
    """Stands for the n-th picture. Its base64 has `-` and `_`, so that a change of alphabet shows."""
    return b"\xfb\xff\xfe" * 2 + b"groundswell-mark-%04d" % n + b"\xfb\xff\xfe"


class Captured:
    """One HTTP request as the SDK was about to send it. Its headers hold the key; it has no telling repr."""

    __slots__ = ("body", "head", "headers", "key", "request", "url")

    def __init__(self, request: ClientRequest, body: bytes) -> None:
        self.request = request
        self.key = request.connection_key
        """Requests with the same one may go over the same connection."""
        self.url = request.url
        self.headers = request.headers.copy()
        self.headers.pop("Content-Length", None)
        self.head = head_of(request)
        self.body = body


class Template:
    """A captured request with its body cut at the marks."""

    __slots__ = ("_begins", "_holes", "captured", "made_at")

    def __init__(self, captured: Captured, *, pictures: int, system: bool, seed: bool, made_at: float) -> None:
        marks: dict[Hole, bytes] = {"text": _QUOTE % TEXT_MARK.encode()}
        if system:
            marks["system"] = _QUOTE % SYSTEM_MARK.encode()
        if seed:
            marks["seed"] = b'"seed": %d' % SEED_MARK
        for n in range(pictures):
            marks[n] = _QUOTE % base64.urlsafe_b64encode(picture_mark(n))
        self.captured = captured
        self.made_at = made_at
        self._begins, self._holes = _cut(captured.body, marks)

    def fill(self, *, text: str, system: str | None, seed: int | None, pictures: Sequence[bytes]) -> bytes:
        """The body for one request. `pictures` are raw bytes, in their order."""
        pieces = [self._begins]
        for hole, fixed in self._holes:
            if hole == "text":
                pieces.append(_string(text))
            elif hole == "seed":
                pieces.append(b'"seed": %d' % (seed or 0))
            elif hole == "system":
                pieces.append(_string(system or ""))
            else:
                encoded = pybase64.b64encode(pictures[hole], altchars=b"-_")
                pieces += (b'"', encoded, b'"')
            pieces.append(fixed)
        return b"".join(pieces)


def _string(text: str) -> bytes:
    """What json.dumps makes of a text, without the way there."""
    return encode_basestring_ascii(text).encode()


def _cut(body: bytes, marks: Mapping[Hole, bytes]) -> tuple[bytes, list[tuple[Hole, bytes]]]:
    """What stands before the first mark; then each mark's name, and what follows it."""
    found: list[tuple[int, Hole]] = []
    for name, mark in marks.items():
        if body.count(mark) != 1:
            what = f"picture {name}" if isinstance(name, int) else name
            raise TemplateError(f"the SDK's request holds the mark of the {what} {body.count(mark)} times, not once")
        found.append((body.index(mark), name))
    found.sort()
    ends = [*(start for start, _ in found[1:]), len(body)]
    holes: list[tuple[Hole, bytes]] = [
        (name, body[start + len(marks[name]) : end]) for (start, name), end in zip(found, ends, strict=True)
    ]
    return body[: found[0][0]], holes


# ------------------------------------------------------------------------------------- shapes


def shape_of(request: Request) -> tuple[Any, ...]:
    """Everything of a request that its template holds fast."""
    return (
        request.model,
        request.aspect_ratio,
        request.resolution,
        request.temperature,
        request.output_tokens_max,
        None if request.answer_schema is None else orjson.dumps(request.answer_schema),
        request.system is not None,
        request.seed is not None,
        tuple([reference.mime_type for reference in request.references]) if request.references else (),
    )


def marked(request: Request) -> Request:
    return Request(
        model=request.model,
        text=TEXT_MARK,
        system=None if request.system is None else SYSTEM_MARK,
        references=request.references,
        aspect_ratio=request.aspect_ratio,
        resolution=request.resolution,
        temperature=request.temperature,
        seed=None if request.seed is None else SEED_MARK,
        answer_schema=request.answer_schema,
        output_tokens_max=request.output_tokens_max,
    )


# ----------------------------------------------------------------------------------- catching


class Watch:
    """What the session's middleware learns about the call that is being made in its context."""

    __slots__ = ("answered", "capture", "captured")

    def __init__(self, *, capture: bool = False) -> None:
        self.capture = capture
        self.captured: Captured | None = None
        self.answered = False


class Caught(Exception):
    """Ends a request that was only to be looked at. Nothing has been sent."""


watching: ContextVar[Watch | None] = ContextVar("groundswell_call", default=None)


async def tap(request: ClientRequest, handler: Any) -> aiohttp.ClientResponse:
    """Middleware of the session that the SDK was given: catches a request, or notes that it was answered."""
    call = watching.get()
    if call is not None and call.capture:
        body = await request.body.as_bytes() if not isinstance(request.body, bytes) else request.body
        try:
            call.captured = Captured(request, body)
        except AttributeError as error:
            raise TemplateError(f"aiohttp: {error}") from None
        raise Caught
    response: aiohttp.ClientResponse = await handler(request)
    if call is not None:
        call.answered = True
    if 300 <= response.status < 400:
        # The SDK would let it be followed, key and all, to wherever it points.
        response.close()
        raise classify.http_failure(response.status, classify.lower_headers(response.headers.items()), b"")
    return response
