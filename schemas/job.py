"""Job: one thing to ask of a model, named by a digest of everything that is asked.

The same question always has the same id, so resume is a set difference and a changed question is
noticed. Workers, limits, retries and paths are not part of what is asked.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, Literal

import msgspec
from msgspec import Struct

from schemas.prompt import Prompt, Reference

Stage = Literal["image", "metadata"]


class Request(Struct, frozen=True, kw_only=True):
    """What a provider is asked, in our words. Exactly one of picture or JSON comes back."""

    model: str
    text: str
    """The prompt."""
    system: str | None = None
    """System instruction, for text models."""
    references: tuple[Reference, ...] = ()
    """Pictures sent along, read from disk when the call is made."""
    aspect_ratio: str | None = None
    resolution: str | None = None
    """"1K", "2K", "4K"; set for pictures."""
    temperature: float | None = None
    seed: int | None = None
    answer_schema: dict[str, Any] | None = None
    """JSON Schema of the answer. None asks for a picture."""
    output_tokens_max: int | None = None

    @property
    def wants_picture(self) -> bool:
        return self.answer_schema is None


class Job(Struct, frozen=True, kw_only=True):
    """A request with its place in the run."""

    id: str
    stage: Stage
    image_id: str
    index: int
    request: Request
    prompt: Prompt | None = None
    """The prompt of an image job."""
    tasks: tuple[str, ...] = ()
    """Which of caption, labels, comments a metadata job asks for."""


def job_id(stage: Stage, image_id: str, request: Request, tasks: tuple[str, ...] = ()) -> str:
    """32 hex digits over stage, image id and everything in the request.

    Reference pictures count by their sha256, not by where they lie.
    """
    asked: Request | dict[str, Any] = request
    if request.references:
        asked = {**msgspec.structs.asdict(request), "references": [r.sha256 for r in request.references]}
    return hashlib.blake2b(_sorted((1, stage, image_id, asked, tasks)), digest_size=16).hexdigest()


def job_ids(stage: Stage, request: Request, tasks: tuple[str, ...] = ()) -> Callable[[str, str, str], str]:
    """`job_id` of image id, sha256 of the one reference and text, for jobs that share the rest of the request.

    What they share, an answer's schema above all, is put into JSON once.
    """
    gap = msgspec.Raw(b"\0")  # no JSON holds this byte
    shared = {**msgspec.structs.asdict(request), "references": [gap], "text": gap}
    # In alphabetical order: references come before the text.
    head, left, right, tail = _sorted((1, stage, gap, shared, tasks)).split(b"\0")

    def identify(image_id: str, sha256: str, text: str) -> str:
        parts = (head, _json(image_id), left, _json(sha256), right, _json(text), tail)
        return hashlib.blake2b(b"".join(parts), digest_size=16).hexdigest()

    return identify


_sorted = msgspec.json.Encoder(order="sorted").encode
_json = msgspec.json.Encoder().encode
