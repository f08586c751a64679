"""Dotted keys of the configuration: walking the schema, splitting names, finding the nearest one.

Model names hold dots (`gemini-3.1-flash-lite`), so a dotted key can only be split with the schema
at hand: below `rate_limiting.models` the last word is the key and all before it is the name.
"""

from __future__ import annotations

import difflib
import typing
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from schemas.config import RunConfig

Path = tuple[str, ...]

_SHORT = {
    "rpm": "requests_per_minute",
    "rpd": "requests_per_day",
    "tpm": "tokens_per_minute",
    "ipm": "images_per_minute",
    "concurrency": "max_in_flight",
    "timeout": "call_timeout_s",
    "n": "num_images",
    "images": "num_images",
}
"""What people call some keys elsewhere."""


def section_of(annotation: Any) -> type[BaseModel] | None:
    """The section class an annotation names, if it names one."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return None


def named_sections(annotation: Any) -> type[BaseModel] | None:
    """The section class of a `dict[str, Section]`, if the annotation is one."""
    if typing.get_origin(annotation) is dict:
        return section_of(typing.get_args(annotation)[1])
    return None


def fields(model: type[BaseModel] = RunConfig, path: Path = ()) -> Iterator[tuple[Path, FieldInfo]]:
    """Every key that holds a value, with its path, in the order of the schema."""
    for name, info in model.model_fields.items():
        inner = section_of(info.annotation)
        if inner is not None:
            yield from fields(inner, (*path, name))
        else:
            yield (*path, name), info


def field_at(path: Path) -> FieldInfo | None:
    """The field at a path; under `….models.<name>.` the field of the inner section."""
    model: type[BaseModel] | None = RunConfig
    info: FieldInfo | None = None
    i = 0
    while i < len(path):
        if model is None:
            return None
        info = model.model_fields.get(path[i])
        if info is None:
            return None
        inner = named_sections(info.annotation)
        if inner is not None and i + 1 < len(path):
            model, i = inner, i + 1
            info = None
        else:
            model = section_of(info.annotation)
        i += 1
    return info


def split(dotted: str) -> Path:
    """A dotted key as a path, keeping model names whole."""
    words = dotted.split(".")
    model: type[BaseModel] | None = RunConfig
    path: list[str] = []
    for i, word in enumerate(words):
        path.append(word)
        info = model.model_fields.get(word) if model is not None else None
        if info is None:
            return (*path, *words[i + 1 :])
        rest = words[i + 1 :]
        inner = named_sections(info.annotation)
        if inner is not None and rest:
            if rest[-1] in inner.model_fields and len(rest) > 1:
                return (*path, ".".join(rest[:-1]), rest[-1])
            return (*path, ".".join(rest))
        model = section_of(info.annotation)
    return tuple(path)


def is_section(path: Path) -> bool:
    """Whether a path names a section (or a table of named sections) rather than a value."""
    info = field_at(path)
    return info is not None and (section_of(info.annotation) or named_sections(info.annotation)) is not None


def put(data: dict[str, Any], path: Path, value: Any) -> dict[str, Any]:
    """A copy of nested data with one value set; what stands in the way of the path is replaced."""
    head, *rest = path
    below = data.get(head)
    new = put(dict(below) if isinstance(below, Mapping) else {}, tuple(rest), value) if rest else value
    return {**data, head: new}


def has(data: Mapping[str, Any], path: Path) -> bool:
    """Whether nested data sets a key."""
    here: Any = data
    for word in path:
        if not isinstance(here, Mapping) or word not in here:
            return False
        here = here[word]
    return True


def nearest(path: Path) -> str | None:
    """The known key that an unknown one was probably meant to be, also from another section."""
    word, above = _SHORT.get(path[-1], path[-1]), path[:-1]
    table = field_at(above[:-1])
    inner = named_sections(table.annotation) if table is not None else None
    if inner is not None:
        close = difflib.get_close_matches(word, inner.model_fields, n=1, cutoff=0.5)
        return ".".join((*above, close[0])) if close else None
    values = [p for p, _ in fields()]
    sections = sorted({p[:n] for p in values for n in range(1, len(p))})
    same_word = [".".join(p) for p in values if p[-1] == word]
    if same_word:
        return max(same_word, key=lambda dotted: difflib.SequenceMatcher(None, ".".join(path), dotted).ratio())
    near = [p for p in values if len(p) >= len(path) and p[: len(above)] == above]
    siblings = {p[len(above)]: ".".join(p[: len(path)]) for p in near}
    close = difflib.get_close_matches(word, siblings, n=1, cutoff=0.6)
    if close:
        return siblings[close[0]]
    elsewhere = {p[-1]: ".".join(p) for p in (*sections, *values)}
    close = difflib.get_close_matches(word, elsewhere, n=1, cutoff=0.75)
    return elsewhere[close[0]] if close else None
