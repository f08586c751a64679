"""Writes the configuration file and its reference from the schema, so that neither can drift.

`python -m engine.settings` writes config/ and the generated part of docs/configuration.md anew.
"""

from __future__ import annotations

import json
import textwrap
import typing
from typing import Any

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from engine.settings import keys
from engine.settings.presets import Preset
from engine.settings.problems import wanted
from schemas.config import RunConfig

WIDTH = 100

_HEAD = """\
# What to generate, how fast, and where to keep it.
# Every key may be left out; then it has the value shown here. All keys: docs/configuration.md
#
#   groundswell doctor      checks this file, the key and the folders
#   groundswell estimate    says what it will cost, before anything is spent
#   groundswell run         starts, and carries on after any interruption
#
# The API key does not belong here: copy config/.env.example to config/.env and put it there.
"""

_EXAMPLES = {
    "qa.targets": '{ time_of_day: { day: 0.7, night: 0.2 }, crowd_size: { "21-100": 0.5, ">1000": 0.1 } }',
    "rate_limiting.models": "{ gemini-3.1-flash-lite: { requests_per_minute: 300 } }",
    "prices.models": "{ gemini-9-image: { input_usd_per_m: 1.5, text_usd_per_m: 7.5, image_usd_per_m: 30 } }",
}


def render(config: RunConfig | None = None) -> str:
    """The whole configuration file, each key with its meaning. Keys without effect are left out."""
    return _HEAD + "\n" + _section(RunConfig, config or RunConfig(), (), 0)


def render_preset(preset: Preset) -> str:
    """A configuration file that holds only what a preset sets."""
    lines = [f"# {line}" for line in textwrap.wrap(preset.about, WIDTH - 2)]
    lines += ["# Use it as it is (--config), or start from it: groundswell init --preset " + preset.name, ""]
    data: dict[str, Any] = {}
    for dotted, value in preset.sets.items():
        data = keys.put(data, keys.split(dotted), value)
    return "\n".join(lines) + "\n" + _plain(data, 0)


def reference() -> str:
    """The generated part of docs/configuration.md."""
    parts: list[str] = []
    for path, model in _sections(RunConfig, ()):
        rows = [
            _row(name, info)
            for name, info in model.model_fields.items()
            if keys.section_of(info.annotation) is None and not moot(info)
        ]
        if not rows:
            continue
        title = ".".join(path) or "top level"
        parts.append(f"### `{title}`\n\n{_doc(model)}\n\n| key | default | values | meaning |\n|---|---|---|---|")
        parts[-1] += "\n" + "\n".join(rows)
    parts.append(
        "### Keys of the original without effect here\n\n"
        "They are accepted, and a warning says why they do nothing.\n\n| key | why |\n|---|---|\n"
        + "\n".join(f"| `{'.'.join(path)}` | {moot(info)} |" for path, info in keys.fields() if moot(info))
    )
    return "\n\n".join(parts) + "\n"


def moot(info: FieldInfo) -> str | None:
    """Why a key has no effect, if it has none."""
    extra = info.json_schema_extra
    return str(extra["moot"]) if isinstance(extra, dict) and "moot" in extra else None


def _sections(model: type[BaseModel], path: keys.Path) -> list[tuple[keys.Path, type[BaseModel]]]:
    found = [(path, model)]
    for name, info in model.model_fields.items():
        inner = keys.section_of(info.annotation)
        named = keys.named_sections(info.annotation)
        if inner is not None:
            found += _sections(inner, (*path, name))
        elif named is not None:
            found.append(((*path, name, "<model>"), named))
    return found


def _row(name: str, info: FieldInfo) -> str:
    default = info.get_default(call_default_factory=True, validated_data={})
    meaning = (info.description or "").replace("|", "\\|")
    return f"| `{name}` | {_short(default)} | {_values(info)} | {meaning} |"


def _short(value: Any) -> str:
    text = _scalar(value) if not isinstance(value, tuple) else ", ".join(map(str, value)) or "[]"
    return f"`{text}`"


def _values(info: FieldInfo) -> str:
    if keys.named_sections(info.annotation):
        return "one section per model name"
    if typing.get_origin(info.annotation) is dict:
        return "category: {value: share}"
    options = _options(info.annotation)
    if typing.get_origin(info.annotation) is tuple:
        return "list of " + (", ".join(options) if options else "texts")
    if options:
        return ", ".join(options)
    return wanted(info.annotation) + "".join(_bounds(info))


def _options(annotation: Any) -> list[str]:
    if typing.get_origin(annotation) is typing.Literal:
        return [f"`{v}`" for v in typing.get_args(annotation)]
    return [o for a in typing.get_args(annotation) for o in _options(a)]


def _bounds(info: FieldInfo) -> list[str]:
    signs = {Gt: ("gt", "above"), Ge: ("ge", "from"), Le: ("le", "to"), Lt: ("lt", "below")}
    found: list[str] = []
    for bound in _metadata(info):
        if type(bound) in signs:
            attribute, word = signs[type(bound)]
            number = getattr(bound, attribute)
            if abs(number) < 1e6:
                found.append(f", {word} {number:g}")
    return found


def _metadata(info: FieldInfo) -> list[Any]:
    found = list(info.metadata)
    stack: list[Any] = [info.annotation]
    while stack:
        at = stack.pop()
        if typing.get_origin(at) is typing.Annotated:
            for extra in at.__metadata__:
                found += extra.metadata if isinstance(extra, FieldInfo) else [extra]
        stack += typing.get_args(at)
    return found


def _doc(model: type[BaseModel]) -> str:
    return (model.__doc__ or "").strip().splitlines()[0]


def _section(model: type[BaseModel], config: BaseModel, path: keys.Path, depth: int) -> str:
    lines: list[str] = []
    pad = "  " * depth
    for name, info in model.model_fields.items():
        value = getattr(config, name)
        inner = keys.section_of(info.annotation)
        if inner is not None:
            lines += ["", f"{pad}# {_doc(inner)}", f"{pad}{name}:"]
            lines.append(_section(inner, value, (*path, name), depth + 1).rstrip("\n"))
        elif not moot(info):
            about = (info.description or "") + _choices(info)
            lines += [f"{pad}# {line}" for line in textwrap.wrap(about, WIDTH - len(pad) - 2)]
            example = _EXAMPLES.get(".".join((*path, name)))
            if example:
                lines.append(f"{pad}# {name}: {example}")
            lines.append(_entry(name, value, depth).rstrip("\n"))
    return "\n".join(lines).lstrip("\n") + "\n"


def _choices(info: FieldInfo) -> str:
    options = [o.strip("`") for o in _options(info.annotation)]
    missing = [o for o in options if o not in (info.description or "")]
    several = typing.get_origin(info.annotation) is tuple
    return f" {'Any' if several else 'One'} of: {', '.join(options)}." if missing else ""


def _entry(name: str, value: Any, depth: int) -> str:
    return _plain({name: value}, depth)


def _plain(data: dict[str, Any], depth: int) -> str:
    lines: list[str] = []
    pad = "  " * depth
    for name, value in data.items():
        if isinstance(value, BaseModel):
            value = value.model_dump(exclude_unset=True)
        if isinstance(value, dict) and value:
            lines += [f"{pad}{name}:", _plain(value, depth + 1).rstrip("\n")]
        elif isinstance(value, list | tuple) and value:
            lines += [f"{pad}{name}:", *(f"{pad}  - {_scalar(item)}" for item in value)]
        else:
            lines.append(f"{pad}{name}: {_scalar(value)}")
    return "\n".join(lines) + "\n"


def _scalar(value: Any) -> str:
    if isinstance(value, tuple):
        return "[]"
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return json.dumps(value, ensure_ascii=False)
