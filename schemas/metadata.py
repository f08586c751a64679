"""What the text model must answer about a picture: one pydantic model per configuration.

The same model gives the JSON Schema that is sent for structured output and checks the answer
again when it comes. Observations (labels) stand before captions and comments, because the model
writes the members in this order and looks before it tells.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, create_model

from schemas.config import Metadata
from schemas.vocabulary import VOCABULARY

__all__ = ["VOCABULARY", "answer_model", "answer_schema", "slug"]

_Line = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2000)]
_Word = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid", protected_namespaces=())


@lru_cache(maxsize=1024)
def slug(category: str) -> str:
    """A label category as a JSON member name: "digital text" is asked for as "digital_text"."""
    return re.sub(r"\W+", "_", category.strip().lower()).strip("_") or "label"


def _label_type(category: str) -> Any:
    values = VOCABULARY.get(category)
    if values is not None:
        return Literal[values]
    if category == "primary_subjects":
        return Annotated[
            list[_Word], Field(min_length=1, max_length=4, description="main subjects, most important first")
        ]
    if slug(category) == "digital_text":
        return Annotated[_Word, Field(description="text that can be read in the picture, or none")]
    return Annotated[_Word, Field(description=f"{category}, in a few words")]


@lru_cache(maxsize=64)
def _model(categories: tuple[str, ...], captions: int, comments: int, tasks: tuple[str, ...]) -> type[BaseModel]:
    fields: dict[str, Any] = {}
    if "labels" in tasks:
        members = {slug(c): (_label_type(c), ...) for c in categories}
        fields["labels"] = (_create("Labels", members), ...)
    if "caption" in tasks:
        fields["captions"] = (Annotated[list[_Line], Field(min_length=captions, max_length=captions)], ...)
    if "comments" in tasks:
        fields["comments"] = (Annotated[list[_Line], Field(min_length=comments, max_length=comments)], ...)
    return _create("Answer", fields)


def _create(name: str, fields: dict[str, Any]) -> type[BaseModel]:
    # create_model takes the fields as keyword arguments, which no type checker can tell from its options.
    return create_model(name, __base__=_Answer, **fields)  # pyright: ignore[reportArgumentType, reportCallIssue]


def answer_model(metadata: Metadata, tasks: Sequence[str]) -> type[BaseModel]:
    """The model an answer must satisfy for these tasks."""
    return _model(
        metadata.label_categories, metadata.num_caption_variations, metadata.num_comments_per_image, tuple(tasks)
    )


def answer_schema(metadata: Metadata, tasks: Sequence[str]) -> dict[str, Any]:
    """The JSON Schema to request, without titles and with nested models in place. Shared: do not change it."""
    return _schema(answer_model(metadata, tasks))


@lru_cache(maxsize=64)
def _schema(model: type[BaseModel]) -> dict[str, Any]:
    # Kept, because every image's request asks for it, and making it takes a millisecond of the event loop.
    schema = model.model_json_schema()
    definitions: dict[str, Any] = schema.pop("$defs", {})

    def plain(node: Any) -> Any:
        if isinstance(node, list):
            return [plain(item) for item in node]
        if not isinstance(node, dict):
            return node
        if "$ref" in node:
            return plain(definitions[node["$ref"].rsplit("/", 1)[1]])
        kept = {k: v for k, v in node.items() if k not in {"title", "additionalProperties", "properties"}}
        members = {"properties": {k: plain(v) for k, v in node["properties"].items()}} if "properties" in node else {}
        return {**members, **{k: plain(v) for k, v in kept.items()}}

    return plain(schema)
