"""Content faults: what the model made, made wrong. Each function is one row of the catalogue."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable

import orjson
import pybase64
from PIL import Image

from engine.simulator import wire
from engine.simulator.encode import png
from engine.simulator.marks import png_chunk
from engine.simulator.wire import Json

_NESTING = 10_000
SENTENCE_SPACES_MIN = 3
"""A string with fewer is a label or a name, which these faults leave alone."""


def _encoded(data: bytes) -> str:
    return pybase64.b64encode(data).decode()


def _solid(width: int, height: int) -> str:
    return _encoded(png(Image.new("RGB", (width, height), (200, 200, 200)), ""))


def _bomb() -> str:
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    return _encoded(
        b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", b"\0" * 64) + png_chunk(b"IEND", b"")
    )


def _corrupt(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes(b ^ 0xFF for b in data[middle : middle + 64]) + data[middle + 64 :]


def spoiled_picture(kind: str, mime_type: str, data: bytes) -> list[Json] | None:
    """The parts of an answer whose picture is spoiled this way; None if the kind is of another sort."""
    other = "image/jpeg" if mime_type == "image/png" else "image/png"
    good = _encoded(data)
    match kind:
        case "wrong_mime":
            return [wire.picture_part(other, good)]
        case "invalid_base64":
            middle = len(good) // 2
            return [wire.picture_part(mime_type, f"{good[:middle]}*&^%{good[middle:]}")]
        case "not_a_picture":
            return [
                wire.picture_part(mime_type, _encoded(b"this is not a picture, whatever its mime type says. " * 40))
            ]
        case "truncated_picture":
            return [wire.picture_part(mime_type, _encoded(data[: len(data) * 2 // 3]))]
        case "corrupt_picture":
            return [wire.picture_part(mime_type, _encoded(_corrupt(data)))]
        case "tiny_picture":
            return [wire.picture_part("image/png", _solid(1, 1))]
        case "blank_picture":
            return [wire.picture_part("image/png", _solid(1024, 1024))]
        case "bomb_picture":
            return [wire.picture_part("image/png", _bomb())]
        case "empty_picture":
            return [wire.picture_part(mime_type, "")]
        case "text_for_picture":
            return [{"text": "I can't draw that, but here is a description: a crowd on a square, seen from above."}]
        case "several_pictures":
            return [wire.picture_part(mime_type, good)] + [
                wire.picture_part("image/png", _solid(64 + i, 64)) for i in range(2)
            ]
        case "thought_pictures":
            thoughts = [wire.picture_part("image/png", _solid(64 + i, 64), thought=True) for i in range(2)]
            return [{"text": "Composing the scene.", "thought": True}, *thoughts, wire.picture_part(mime_type, good)]
        case _:
            return None


def _violate(text: str) -> str:
    """A wrong type at every first member, and a member that was never asked for."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return '{"unexpected": true}'
    if isinstance(value, dict) and value:
        first = next(iter(value))
        return orjson.dumps({**value, first: 12345, "unexpected": True}).decode()
    return '{"unexpected": true}'


def _duplicated(text: str) -> str:
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return '{"a": 1, "a": 2}'
    if isinstance(value, dict) and value:
        first, member = next(iter(value.items()))
        return f"{{{json.dumps(first)}: {json.dumps(member)}, {text.strip()[1:]}"
    return '{"a": 1, "a": 2}'


def _surrogates(text: str) -> str:
    r"""`\ud800` in front of every string value: legal escapes in JSON, no text in UTF-8."""
    return text.replace(':"', ':"\\ud800').replace('["', '["\\ud800')


def _said(words: str) -> Callable[[str], str]:
    """Every sentence replaced, each by words of its own; what is shorter than a sentence stays."""

    def spoil(text: str) -> str:
        try:
            value = orjson.loads(text)
        except orjson.JSONDecodeError:
            return text
        number = 0

        def instead(node: Json | list[Json] | str | None) -> object:
            nonlocal number
            if isinstance(node, dict):
                return {key: instead(member) for key, member in node.items()}
            if isinstance(node, list):
                return [instead(item) for item in node]
            if not isinstance(node, str) or node.count(" ") < SENTENCE_SPACES_MIN:
                return node
            number += 1
            return words.format(number)

        return orjson.dumps(instead(value)).decode()

    return spoil


_TEXT: dict[str, Callable[[str], str]] = {
    "cut_json": lambda text: text[: max(1, len(text) * 2 // 3)],
    "finish_max_tokens": lambda text: text[: max(1, len(text) * 2 // 3)],
    "schema_violation": _violate,
    "prose": lambda _: "Sure! Here is what I see in the picture: a crowd of people on a square.",
    "fenced_json": lambda text: f"```json\n{text}\n```",
    "placeholder_texts": _said("[insert text {} here]"),
    "terse_texts": _said("M{}"),
    "foreign_texts": _said(
        "Los vecinos del barrio caminan por la avenida con las pancartas y piden justicia, foto {}."
    ),
    "duplicate_keys": _duplicated,
    "lone_surrogates": _surrogates,
    "lone_surrogates_outside": lambda text: rf"\ud800{text}",
    "deep_nesting": lambda _: "[" * _NESTING + "]" * _NESTING,
    "nan_numbers": lambda text: '{"score": NaN, "limit": Infinity, ' + (text.strip()[1:] if text[:1] == "{" else "}"),
}


def spoiled_text(kind: str, text: str) -> str:
    """The text of an answer, spoiled this way; unchanged if the kind is of another sort."""
    spoil = _TEXT.get(kind)
    return text if spoil is None else spoil(text)


def finish_reason(kind: str) -> str:
    """The finishReason that comes with this kind of fault."""
    if kind == "cut_json":
        return "MAX_TOKENS"
    return kind.removeprefix("finish_").upper() if kind.startswith("finish_") else "STOP"
