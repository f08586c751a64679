"""An answer that looks as nearly all of them do, read by its types.

msgspec checks and reads in one step what takes a hundred in Python. Whoever reads an answer in two ways must read it
alike: so whatever is not exactly as below is left to the tolerant reader (`providers.answer`), and
`test_answers_read_by_their_types_are_read_as_by_the_tolerant_reader` compares the two.
"""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple

import msgspec
from msgspec import Meta, Struct

from schemas.outcome import Usage

_BYTES_MAX = 64 * 1024
"""A longer one holds more than words: its strings are not to be copied."""

_Count = Annotated[int, Meta(ge=0, le=1 << 53)]


class Told(NamedTuple):
    """What an answer says."""

    encoded: tuple[str, str] | None
    """MIME type and base64 of the first picture, or `@n` for the n-th that was decoded on the way."""
    extra_pictures: int
    text: str | None
    usage: Usage
    reason: str | None
    message: str | None
    version: str | None


class _Shape(Struct, rename="camel", gc=False):
    pass


class _Blob(_Shape):
    mime_type: Literal["image/png", "image/jpeg", "image/webp"]
    data: str


class _Part(_Shape):
    text: str | None = None
    thought: bool | None = None
    inline_data: _Blob | None = None
    otherwise_named: None = msgspec.field(default=None, name="inline_data")


class _Content(_Shape):
    parts: list[_Part]


class _Candidate(_Shape):
    content: _Content
    finish_reason: str | None = None
    finish_message: str | None = None


class _Detail(_Shape):
    modality: str
    token_count: _Count = 0


class _Metadata(_Shape):
    prompt_token_count: _Count = 0
    tool_use_prompt_token_count: _Count = 0
    candidates_token_count: _Count = 0
    thoughts_token_count: _Count = 0
    total_token_count: _Count = 0
    candidates_tokens_details: list[_Detail] = []


class _Answer(_Shape):
    candidates: Annotated[list[_Candidate], Meta(min_length=1)]
    usage_metadata: _Metadata = msgspec.field(default_factory=_Metadata)
    model_version: str | None = None
    error: None = None


_decode = msgspec.json.Decoder(_Answer).decode


def read(body: bytes | bytearray, pictures: int) -> Told | None:
    """What the answer says; None where it is another than the usual. So many of its pictures were decoded already."""
    if len(body) > _BYTES_MAX:
        return None
    try:
        # All of it must be UTF-8, also what is not looked at: so `decode`, which costs next to nothing.
        answer = _decode(body.decode())
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    candidate = answer.candidates[0]
    encoded: tuple[str, str] | None = None
    extra = 0
    text: str | None = None
    for part in candidate.content.parts:
        if part.thought:
            continue
        if (blob := part.inline_data) is not None:
            if encoded is None:
                encoded = blob.mime_type, blob.data
            else:
                extra += 1
        elif part.text:
            text = part.text if text is None else text + part.text
    if encoded is not None and not _was_decoded(encoded[1], pictures):
        return None
    counts = answer.usage_metadata
    usage = usage_of(
        prompt=counts.prompt_token_count + counts.tool_use_prompt_token_count,
        candidates=counts.candidates_token_count,
        thinking=counts.thoughts_token_count,
        total=counts.total_token_count,
        image=sum([d.token_count for d in counts.candidates_tokens_details if d.modality == "IMAGE"]),
    )
    reason, message, version = candidate.finish_reason, candidate.finish_message, answer.model_version
    return Told(encoded, extra, text, usage, reason or None, message or None, version or None)


def _was_decoded(data: str, pictures: int) -> bool:
    return data[:1] == "@" and data[1:].isdecimal() and int(data[1:]) < pictures


def usage_of(*, prompt: int, candidates: int, thinking: int, total: int, image: int) -> Usage:
    """What is counted, from what the answer tells."""
    output = candidates + thinking
    return Usage(
        prompt_tokens=prompt,
        output_tokens=output,
        total_tokens=total or prompt + output,
        image_tokens=image,
        thinking_tokens=thinking,
    )
