"""HTML as values: whatever is not markup already is escaped, so no caption or prompt can become any."""

from __future__ import annotations

import html
import re

_CONTROL = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufdd0-\ufdef\ufffe\uffff]"
)
"""Characters that HTML forbids, and those that turn or hide text."""
_VOID = frozenset({"img", "br", "meta", "hr", "wbr"})
_CLOSED = frozenset({"path", "rect", "line", "circle"})
"""SVG elements without content: these must be closed, or what follows is taken to be inside them."""


class Safe(str):
    """Text that is markup."""

    __slots__ = ()


def text(value: object) -> Safe:
    """The value as text of a page."""
    if isinstance(value, Safe):
        return value
    plain = str(value).encode("utf-8", "replace").decode()
    return Safe(html.escape(_CONTROL.sub("\N{REPLACEMENT CHARACTER}", plain), quote=True))


def join(*parts: object) -> Safe:
    """Parts in a row; None is nothing."""
    return Safe("".join(text(p) for p in parts if p is not None))


def tag(element: str, /, *children: object, **attributes: object) -> Safe:
    """An element. `cls` is class; underscores in attribute names are hyphens; None and False leave one out."""
    told = [
        f" {'class' if key == 'cls' else key.replace('_', '-')}" + ("" if value is True else f'="{text(value)}"')
        for key, value in attributes.items()
        if value is not None and value is not False
    ]
    if element in _CLOSED:
        return Safe(f"<{element}{''.join(told)}/>")
    head = f"<{element}{''.join(told)}>"
    return Safe(head if element in _VOID else f"{head}{join(*children)}</{element}>")


def shorten(value: str | None, chars_max: int) -> str:
    """The text, cut at a word with an ellipsis if it is longer."""
    value = value or ""
    if len(value) <= chars_max:
        return value
    cut = value[:chars_max].rsplit(None, 1)
    return (cut[0] if len(cut) > 1 and len(cut[0]) > chars_max // 2 else value[:chars_max]) + " …"
