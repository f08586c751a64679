"""A provider that plays from memory: for tests, rehearsals and examples. No network, no clock of its own.

It passes the same contract suite as the real ones, and runs on asyncio and trio (virtual time included).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Awaitable, Callable, Iterable, Mapping
from hashlib import blake2b
from typing import Any

import anyio
import msgspec

from engine.errors import ProviderError
from engine.providers.base import Picture, Response
from schemas.job import Request
from schemas.outcome import ErrorKind, Usage

Step = Response | ProviderError | None
"""What one call ends in; None stands for an ordinary good answer."""

_SIDE_PIXELS = 32
_PICTURE_TOKENS = 1120


class ScriptedProvider:
    """Answers each call by the script, in the order in which calls begin; when the script has ended, with `answer_to`.

    `script` is a sequence of steps, or a function (also an async one) of the request and of the
    number of the call, from 1. `latency_s` passes before each answer. `requests` keeps what was asked.
    """

    def __init__(
        self,
        script: Iterable[Step] | Callable[[Request, int], Step | Awaitable[Step]] = (),
        *,
        latency_s: float = 0.0,
    ) -> None:
        self._steps = None if callable(script) else iter(script)
        self._script = script if callable(script) else None
        self._latency_s = latency_s
        self._closed = False
        self.requests: list[Request] = []
        self.in_flight = 0
        self.in_flight_max = 0

    async def call(self, request: Request) -> Response:
        """The next answer of the script. Raises the ProviderError it holds."""
        if self._closed:
            raise ProviderError(ErrorKind.CONNECT, "the provider is closed")
        self.requests.append(request)
        number = len(self.requests)
        step = next(self._steps, None) if self._steps is not None else None
        self.in_flight += 1
        self.in_flight_max = max(self.in_flight_max, self.in_flight)
        try:
            await anyio.sleep(self._latency_s)
            if self._script is not None:
                outcome = self._script(request, number)
                step = await outcome if isinstance(outcome, Awaitable) else outcome
        finally:
            self.in_flight -= 1
        if isinstance(step, ProviderError):
            raise step
        return answer_to(request) if step is None else step

    async def aclose(self) -> None:
        """Later calls fail with kind CONNECT."""
        self._closed = True


def answer_to(request: Request) -> Response:
    """A good answer: a small whole PNG, its colours made of the request, or JSON that its schema accepts."""
    prompt_tokens = max(1, len(request.text) // 4)
    if request.answer_schema is None:
        data = tiny_png(msgspec.json.encode([request.model, request.text, request.seed]))
        picture = Picture(data=data, mime_type="image/png")
        usage = Usage(
            prompt_tokens=prompt_tokens,
            output_tokens=_PICTURE_TOKENS,
            total_tokens=prompt_tokens + _PICTURE_TOKENS,
            image_tokens=_PICTURE_TOKENS,
        )
        return Response(picture=picture, usage=usage, finish_reason="STOP", model_version=request.model)
    text = msgspec.json.encode(_instance(request.answer_schema, request.answer_schema)).decode()
    output_tokens = max(1, len(text) // 4)
    usage = Usage(prompt_tokens=prompt_tokens, output_tokens=output_tokens, total_tokens=prompt_tokens + output_tokens)
    return Response(text=text, usage=usage, finish_reason="STOP", model_version=request.model)


def tiny_png(seed: bytes) -> bytes:
    """A whole PNG of 32 x 32 pixels; different for different seeds."""
    row = blake2b(seed, digest_size=48).digest() * 2
    pixels = b"".join(b"\0" + row[y:] + row[:y] for y in range(_SIDE_PIXELS))
    header = struct.pack(">IIBBBBB", _SIDE_PIXELS, _SIDE_PIXELS, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", header)
        + _chunk(b"IDAT", zlib.compress(pixels, 1))
        + _chunk(b"IEND", b"")
    )


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _instance(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Any:
    """The plainest value that a JSON Schema accepts (of those that `schemas.metadata` and Gemini know)."""
    if isinstance(reference := schema.get("$ref"), str):
        target: Any = root
        for step in reference.removeprefix("#/").split("/"):
            target = target[step]
        return _instance(target, root)
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][0]
    for choice in ("anyOf", "oneOf"):
        if schema.get(choice):
            return _instance(schema[choice][0], root)
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = kind[0]
    match str(kind).lower():
        case "object":
            return {name: _instance(inner, root) for name, inner in schema.get("properties", {}).items()}
        case "array":
            return [_instance(schema.get("items", {}), root) for _ in range(schema.get("minItems", 1))]
        case "integer" | "number":
            return schema.get("minimum", 1)
        case "boolean":
            return True
        case "null":
            return None
        case _:
            return "A crowd in a square".ljust(schema.get("minLength", 0), "!")
