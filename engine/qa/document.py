"""A page of the report as a file: one document that needs no network, no script and no other file."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from importlib.resources import files

from engine.qa.markup import Safe, tag


def document(title: str, nav: Sequence[Safe], main: Safe, *, sheets: str = "") -> bytes:
    """The page. `sheets` is a stylesheet of pictures: it comes last, so that a reader does not wait for it."""
    style = files("engine.qa").joinpath("report.css").read_text(encoding="utf-8")
    hashes = " ".join(_digest(text) for text in (style, sheets) if text)
    policy = f"default-src 'none'; img-src data:; style-src {hashes}; base-uri 'none'; form-action 'none'"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="referrer", content="no-referrer"),
        tag("title", title),
        tag("style", Safe(style)),
    )
    contents = tag(
        "nav",
        tag("span", "groundswell", cls="brand"),
        tag("ol", *[tag("li", link) for link in nav]),
        aria_label="Sections",
    )
    body = tag("div", contents, main, cls="page")
    # A style element may stand in a body as a part of an SVG.
    last = ("<svg hidden><style>", sheets, "</style></svg>") if sheets else ()
    parts = ('<!doctype html>\n<html lang="en">', head, "<body>", body, *last, "</body></html>\n")
    return b"".join(part.encode() for part in parts)


def _digest(style: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()}'"
