"""Turns what pydantic says about a configuration into sentences: file, key, value, next step."""

from __future__ import annotations

import difflib
import json
import typing
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from engine.settings import keys
from engine.settings.yamlfile import Lines
from schemas.config import RunConfig

VALUE_CHARS_MAX = 80


def validate(data: Mapping[str, Any], name: str, lines: Lines) -> tuple[RunConfig | None, list[str]]:
    """The configuration, or every problem of the data at once."""
    found = _misread(data)
    broken = [path for path, _ in found]
    config: RunConfig | None = None
    try:
        config = RunConfig.model_validate(data)
    except ValidationError as e:
        for error in e.errors(include_url=False):
            path = tuple(str(part) for part in error["loc"])
            if not any(path == b[: len(path)] for b in broken if path):
                found.append((path, _sentence(path, error)))
                broken.append(path)
        if ("generation", "model") not in broken and all(broken):
            found += _second_look(data, broken)
    problems = [f"{_where(name, path, lines)}: {text}" for path, text in found]
    return (None if problems else config), problems


def _second_look(data: Mapping[str, Any], broken: list[keys.Path]) -> list[tuple[keys.Path, str]]:
    """Checks that need sound fields (does this model draw that size?), told in the same round."""
    rest: dict[str, Any] = dict(data)
    for path in broken:
        rest = _without(rest, path)
    try:
        RunConfig.model_validate(rest)
    except ValidationError as e:
        return [((), _sentence((), x)) for x in e.errors(include_url=False) if not x["loc"]]
    return []


def _without(data: dict[str, Any], path: keys.Path) -> dict[str, Any]:
    head, *rest = path
    below = data.get(head)
    if rest and isinstance(below, dict):
        return {**data, head: _without(below, tuple(rest))}
    return {k: v for k, v in data.items() if k != head}


def _misread(data: Mapping[str, Any], path: keys.Path = ()) -> list[tuple[keys.Path, str]]:
    """`num_images: yes` must not become 1: truth values where no truth value belongs."""
    found: list[tuple[keys.Path, str]] = []
    for key, value in data.items():
        here = (*path, str(key))
        if isinstance(value, Mapping):
            found += _misread(value, here)
        elif isinstance(value, bool):
            info = keys.field_at(here)
            if info is not None and bool not in (info.annotation, *typing.get_args(info.annotation)):
                found.append((here, f"{'.'.join(here)} is {_shown(value)}; give {wanted(info.annotation)}"))
    return found


def _where(name: str, path: keys.Path, lines: Lines) -> str:
    for n in range(len(path), 0, -1):
        line = lines.get(path[:n])
        if line is not None:
            return f"{name}:{line}"
    return name


def _sentence(path: keys.Path, error: Any) -> str:
    key, value, kind = ".".join(path), error["input"], error["type"]
    context: dict[str, Any] = error.get("ctx") or {}
    if kind == "extra_forbidden":
        guess = keys.nearest(path)
        meant = f"did you mean {guess}?" if guess else "remove it; docs/configuration.md lists every key"
        return f"{key} is not a key we know; {meant}"
    if kind == "value_error":
        reason = str(context.get("error", error["msg"]))
        return f"{key} is {_shown(value)}: {reason}" if path else reason
    if kind in {"model_type", "model_attributes_type", "dict_type"}:
        held = "is empty" if value is None else f"is {_shown(value)}"
        return f"{key} {held}; write its keys below it, indented, or remove it"
    info = keys.field_at(path) or keys.field_at(path[:-1])
    return f"{key} is {_shown(value)}; {_advice(kind, context, value, info.annotation if info else None)}"


def _advice(kind: str, context: dict[str, Any], value: Any, annotation: Any) -> str:
    match kind:
        case "literal_error":
            options = [o.strip("'") for o in str(context["expected"]).replace(" or ", ", ").split(", ")]
            close = difflib.get_close_matches(str(value).lower(), [o.lower() for o in options], n=1)
            picked = next((o for o in options if close and o.lower() == close[0]), None)
            meant = f" (did you mean {picked}?)" if picked else ""
            return f"use one of {', '.join(options)}{meant}"
        case "greater_than":
            return f"give a number above {context['gt']:g}" + _or_null(annotation)
        case "greater_than_equal":
            return f"give {context['ge']:g} or more" + _or_null(annotation)
        case "less_than" | "less_than_equal":
            return f"give at most {context.get('le', context.get('lt')):g}"
        case "finite_number":
            return "give a finite number"
        case "string_pattern_mismatch":
            return 'write it like "16:9"'
        case "too_short":
            return f"give at least {context['min_length']} entry" if context["min_length"] == 1 else "give more entries"
        case "too_long":
            return f"give at most {context['max_length']} entries"
        case "tuple_type":
            return "write a list: `- first`, `- second`, one below the other"
        case "string_type":
            return "put it in quotes" if isinstance(value, int | float) else "give a text"
        case _:
            return f"give {wanted(annotation)}"


def _or_null(annotation: Any) -> str:
    return ", or null for none" if type(None) in typing.get_args(annotation) else ""


def wanted(annotation: Any) -> str:
    """What kind of value a field takes, in words."""
    kinds = _leaves(annotation)
    names = {bool: "true or false", int: "a whole number", float: "a number", str: "a text in quotes"}
    wanted = next((text for kind, text in names.items() if kind in kinds), "a value as docs/configuration.md says")
    return wanted + (" or null" if type(None) in kinds else "")


def _leaves(annotation: Any) -> set[Any]:
    """The plain types inside unions and `Annotated`."""
    if typing.get_origin(annotation) is typing.Annotated:
        return _leaves(typing.get_args(annotation)[0])
    if typing.get_origin(annotation) is typing.Literal:
        return {type(v) for v in typing.get_args(annotation)}
    args = typing.get_args(annotation)
    if args and typing.get_origin(annotation) not in {tuple, list, dict}:
        return set[Any]().union(*(_leaves(a) for a in args))
    return {annotation}


def _shown(value: Any) -> str:
    try:
        text = json.dumps(value, ensure_ascii=False, default=str)
    except (TypeError, ValueError):
        text = str(value)
    return text if len(text) <= VALUE_CHARS_MAX else text[: VALUE_CHARS_MAX - 1] + "…"
