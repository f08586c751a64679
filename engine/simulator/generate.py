"""The simulated model: a request that was let in becomes an answer, with whatever fault it drew."""

from __future__ import annotations

import hashlib

import pybase64

from engine.simulator import wire
from engine.simulator.answers import answer_text
from engine.simulator.asked import Asked, text_tokens
from engine.simulator.faults import FaultKind, Where
from engine.simulator.refusals import Reply, reply
from engine.simulator.scenes import scene_of
from engine.simulator.spoil import finish_reason, spoiled_picture, spoiled_text
from engine.simulator.studio import Studio
from engine.simulator.wire import Json

_HOLE = "@picture@"
_HOLE_BYTES = _HOLE.encode()
_FILTERED_MESSAGES = {
    "IMAGE_SAFETY": "Unable to show the generated image. The image was filtered out because it violated Google's "
    "Generative AI Prohibited Use policy. You will not be charged for blocked images. Try rephrasing the prompt.",
    "IMAGE_OTHER": "Unable to show the generated image. The model could not generate the image based on the prompt "
    "provided. You will not be charged for this request. Try rephrasing the prompt.",
    "NO_IMAGE": "Unable to show the generated image. The model was expected to generate an image, but none was "
    "generated. Try rephrasing the prompt.",
}


async def generate(asked: Asked, studio: Studio, *, call: int, fault: FaultKind | None) -> Reply:
    """The answer to this call: a picture or text, spoiled where a fault of content says so."""
    kind = fault.name if fault is not None and fault.where is Where.CONTENT else ""
    response_id = _response_id(asked.digest, call)
    if kind.startswith("block_"):
        counts = wire.usage(prompt_text=asked.prompt_text_tokens, prompt_image=asked.prompt_image_tokens)
        return reply(
            200,
            wire.blocked(kind.removeprefix("block_").upper(), counts, model=asked.model.name, response_id=response_id),
        )
    if kind == "no_candidate":
        counts = wire.usage(prompt_text=asked.prompt_text_tokens, prompt_image=asked.prompt_image_tokens)
        return reply(200, wire.response([], counts, model=asked.model.name, response_id=response_id))
    finish = finish_reason(kind)
    if kind == "no_parts" or (finish != "STOP" and not _speaks(kind, asked)):
        message = _FILTERED_MESSAGES.get(finish)
        return _answered(asked, [wire.candidate(None, finish=finish, finish_message=message)], response_id, image=0)
    if asked.wants_picture:
        return await _pictured(asked, studio, kind, response_id)
    return _written(asked, kind, finish, response_id)


def _speaks(kind: str, asked: Asked) -> bool:
    """Whether an answer with this unusual finish reason has content nevertheless."""
    return kind in ("cut_json", "finish_max_tokens") and not asked.wants_picture


def _response_id(digest: str, call: int) -> str:
    raw = hashlib.blake2b(f"{digest}:{call}".encode(), digest_size=16).digest()
    return pybase64.urlsafe_b64encode(raw).decode().rstrip("=")


def _signature(asked: Asked) -> str | None:
    """Models of generation 3 sign their thoughts; clients must bear it."""
    if asked.model.name.startswith("gemini-2"):
        return None
    return pybase64.b64encode(hashlib.blake2b(asked.digest.encode()).digest() * 3).decode()


def _answered(asked: Asked, candidates: list[Json], response_id: str, *, image: int, text: int = 0) -> Reply:
    counts = wire.usage(
        prompt_text=asked.prompt_text_tokens,
        prompt_image=asked.prompt_image_tokens,
        text=text,
        image=image,
        thoughts=_thoughts(asked),
    )
    body = wire.response(candidates, counts, model=asked.model.name, response_id=response_id)
    return reply(200, body)


def _thoughts(asked: Asked) -> int:
    """Thinking tokens, around what the model's table says, the same for the same question."""
    planned = asked.model.thinking_tokens
    return planned * 3 // 4 + int(asked.digest[:8], 16) % (planned // 2) if planned > 1 else 0


async def _pictured(asked: Asked, studio: Studio, kind: str, response_id: str) -> Reply:
    pieces = await studio.picture(asked)
    mime_type = studio.mime_type
    if kind:
        data = pybase64.b64decode(b"".join(pieces))
        spoiled = spoiled_picture(kind, mime_type, data)
        parts = [wire.picture_part(mime_type, pybase64.b64encode(data).decode())] if spoiled is None else spoiled
        image = 0 if kind == "text_for_picture" else asked.image_tokens
        return _answered(asked, [wire.candidate(parts)], response_id, image=image, text=40 - 40 * bool(image))
    parts: list[Json] = []
    if asked.wants_thoughts:
        parts.append({"text": "Composing the scene, then checking it against the request.", "thought": True})
    if asked.wants_text_too:
        parts.append({"text": "Here is the picture you asked for."})
    parts.append(wire.picture_part(mime_type, _HOLE, signature=_signature(asked)))
    made = _answered(asked, [wire.candidate(parts)], response_id, image=asked.image_tokens, text=len(parts) * 8 - 8)
    # The picture goes into the hole as it is: two megabytes of base64 need no second look by an encoder.
    head, tail = made.body[0].split(_HOLE_BYTES)
    return Reply(body=(head, *pieces, tail))


def _written(asked: Asked, kind: str, finish: str, response_id: str) -> Reply:
    subject = asked.picture_prompts[0] if asked.picture_prompts else asked.text
    scene = scene_of(subject, "".join(asked.picture_digests) if not asked.picture_prompts else "")
    text = spoiled_text(kind, answer_text(asked.schema, scene, asked.text, as_json=asked.wants_json))
    tokens = text_tokens(text)
    if asked.max_output_tokens is not None and tokens > asked.max_output_tokens:
        tokens, finish = asked.max_output_tokens, "MAX_TOKENS"
        text = text[: tokens * 4]
    answer = _answered(asked, [wire.candidate([{"text": text}], finish=finish)], response_id, image=0, text=tokens)
    if kind == "lone_surrogates_outside":  # the encoder escaped the backslash, as it must
        return Reply(body=tuple(piece.replace(rb"\\ud800", rb"\ud800") for piece in answer.body))
    return answer
