"""Reads YAML that a stranger may have written: strict, bounded, and with the line of every key.

PyYAML's safe loader takes the last of two equal keys silently, expands aliases without bound and
reads `aspect_ratio: 16:9` as the number 969 (YAML 1.1 counts in sixties). None of this may happen
to a configuration, so the node tree is checked and built here.
"""

from __future__ import annotations

import math
import re
from typing import Any

import yaml

from engine.errors import ConfigError

SIZE_BYTES_MAX = 1 << 18
"""A configuration has some ten thousand; a parser in Python takes seconds for a megabyte."""
DEPTH_MAX = 20
ALIASES_MAX = 100
NODES_MAX = 100_000
"""Nodes after aliases are expanded; a document of aliases to aliases grows exponentially."""

Lines = dict[tuple[str, ...], int]
"""Key path to the line (from 1) that sets it."""


class _Loader(yaml.SafeLoader):
    """The safe loader without numbers in base sixty and without dates."""


def _resolvers() -> dict[str, Any]:
    whole = re.compile(r"^(?:[-+]?0b[01_]+|[-+]?(?:0|[1-9][0-9_]*)|[-+]?0x[0-9a-fA-F_]+)$")
    real = re.compile(
        r"^(?:[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+"
        r"|\.[0-9][0-9_]*(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
    )
    replaced = {"tag:yaml.org,2002:int": whole, "tag:yaml.org,2002:float": real}
    kept: dict[str, Any] = {}
    first: Any
    entries: Any
    for first, entries in yaml.SafeLoader.yaml_implicit_resolvers.items():
        kept[first] = [
            (tag, replaced.get(tag, pattern)) for tag, pattern in entries if tag != "tag:yaml.org,2002:timestamp"
        ]
    return kept


_Loader.yaml_implicit_resolvers = _resolvers()


def read_yaml(data: bytes | str, name: str) -> tuple[dict[str, Any], Lines]:
    """The mapping a YAML text holds, and the line of each key. `name` is what errors call the file.

    Raises ConfigError with every duplicate key, NaN, infinity and key that is no text; or at once
    when the text is too large, too deep, or no YAML.
    """
    text = _decode(data, name)
    try:
        _bound(text, name)
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return {}, {}
            return _Builder(loader, name).whole(node)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as e:
        mark = e.problem_mark or e.context_mark
        where = f"{name}:{mark.line + 1}" if mark else name
        detail = " ".join(part for part in (e.problem, e.context) if part)
        raise ConfigError(f"{where}: is not valid YAML: {detail}; check indentation, colons and quotes there") from None
    except (yaml.YAMLError, ValueError, OverflowError) as e:
        raise ConfigError(f"{name}: is not valid YAML: {_one_line(str(e))}; save it as plain UTF-8 YAML") from None


def _decode(data: bytes | str, name: str) -> str:
    if len(data) > SIZE_BYTES_MAX:
        raise ConfigError(f"{name}: is {len(data):,} bytes; a configuration may have {SIZE_BYTES_MAX:,} at most")
    if isinstance(data, str):
        return data
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        raise ConfigError(f"{name}: is not UTF-8 text (byte {e.start}); save it as UTF-8") from None


def _bound(text: str, name: str) -> None:
    """Stop before anything is built when the text nests too deep or is full of aliases."""
    depth = aliases = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > DEPTH_MAX:
                line = _line(event.start_mark)
                raise ConfigError(f"{name}:{line}: nests deeper than {DEPTH_MAX} levels; flatten it")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        elif isinstance(event, yaml.AliasEvent):
            aliases += 1
            if aliases > ALIASES_MAX:
                raise ConfigError(f"{name}: has more than {ALIASES_MAX} aliases (*name); write the values out")


class _Builder:
    """Builds plain data from a node tree and collects what is wrong with it."""

    def __init__(self, loader: _Loader, name: str) -> None:
        self._loader = loader
        self._name = name
        self._too_much = f"{name}: grows beyond {NODES_MAX:,} values once aliases are expanded"
        self._problems: list[str] = []
        self._lines: Lines = {}
        self._nodes = 0

    def whole(self, node: yaml.Node) -> tuple[dict[str, Any], Lines]:
        if not isinstance(node, yaml.MappingNode):
            kind = "a list" if isinstance(node, yaml.SequenceNode) else "a single value"
            raise ConfigError(f"{self._name}: holds {kind}; it must hold sections such as `generation:`")
        built = self._mapping(node, (), frozenset())
        if self._problems:
            raise ConfigError(self._problems)
        return built, self._lines

    def _build(self, node: yaml.Node, path: tuple[str, ...], above: frozenset[int]) -> Any:
        self._nodes += 1
        if self._nodes > NODES_MAX:
            raise ConfigError(self._too_much)
        if id(node) in above:
            raise ConfigError(f"{self._where(node)}: {'.'.join(path)} contains itself through an alias")
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path, above)
        if isinstance(node, yaml.SequenceNode):
            inner = above | {id(node)}
            return [self._build(item, (*path, str(i)), inner) for i, item in enumerate(node.value)]
        value = self._loader.construct_object(node)
        if isinstance(value, float) and not math.isfinite(value):
            self._problems.append(f"{self._where(node)}: {'.'.join(path)} is {node.value}; give a finite number")
        return value

    def _mapping(self, node: yaml.MappingNode, path: tuple[str, ...], above: frozenset[int]) -> dict[str, Any]:
        seen: dict[str, int] = {}
        for key_node, _ in node.value:
            line = key_node.start_mark.line + 1
            key = str(key_node.value)
            dotted = ".".join((*path, key))
            if not isinstance(key_node, yaml.ScalarNode):
                raise ConfigError(f"{self._where(key_node)}: a key must be a plain word, not a list or mapping")
            if key_node.tag not in {"tag:yaml.org,2002:str", "tag:yaml.org,2002:merge"}:
                kind = key_node.tag.rpartition(":")[2]
                self._problems.append(f"{self._where(key_node)}: key {dotted} is read as {kind}; put it in quotes")
            elif key in seen:
                self._problems.append(
                    f"{self._where(key_node)}: {dotted} stands here and in line {seen[key]}; keep one of them"
                )
            seen.setdefault(key, line)
        if _spread(node, {}) > NODES_MAX:
            raise ConfigError(self._too_much)
        self._loader.flatten_mapping(node)
        inner = above | {id(node)}
        built: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = str(key_node.value)
            self._lines[(*path, key)] = key_node.start_mark.line + 1
            built[key] = self._build(value_node, (*path, key), inner)
        return built

    def _where(self, node: yaml.Node) -> str:
        return f"{self._name}:{node.start_mark.line + 1}"


def _spread(node: yaml.Node, known: dict[int, int]) -> int:
    """How many pairs a mapping has once those it merges (`<<`) are copied into it."""
    if id(node) in known:
        return known[id(node)]
    known[id(node)] = 0  # what merges itself adds nothing
    if isinstance(node, yaml.SequenceNode):
        count = sum(_spread(item, known) for item in node.value)
    elif isinstance(node, yaml.MappingNode):
        count = len(node.value)
        count += sum(_spread(value, known) for key, value in node.value if key.tag == "tag:yaml.org,2002:merge")
    else:
        count = 0
    known[id(node)] = count
    return count


def _line(mark: Any) -> int:
    return mark.line + 1


def _one_line(text: str) -> str:
    return " ".join(text.split())[:300]
