"""Saved pages (HTML, Markdown, text) as sections: headings and the words below them, nothing else."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from email import message_from_bytes
from pathlib import Path
from typing import Final

from msgspec import Struct
from selectolax.lexbor import LexborHTMLParser, LexborNode

from engine.errors import SourceError
from engine.sources.files import clean, decoded, read_bytes

SUFFIXES: Final = frozenset([".html", ".htm", ".mhtml", ".mht", ".md", ".markdown", ".txt"])
SECTIONS_MAX: Final = 5_000
"""Most sections taken of one page."""
_WORDS_MIN: Final = 12
"""A section with fewer words is a stub or a caption."""
_NOISE: Final = (
    "script, style, noscript, template, nav, header, footer, aside, form, iframe, svg, table.infobox, sup.reference, "
    ".mw-editsection, .toc, #toc, [role=navigation], [aria-hidden=true], [hidden]"
)
_HEADINGS: Final = frozenset(["h1", "h2", "h3", "h4"])
_TEXTS: Final = frozenset(["p", "li", "blockquote", "dd", "td"])
_MARKDOWN: Final = re.compile(r"^#{1,4}\s+(.*?)\s*#*$")
_MARKUP: Final = re.compile(r"!?\[([^\]]*)\]\([^)]*\)|[*_`]{1,3}|^\s*(?:[-*+]|\d+\.)\s+|^>\s?", re.MULTILINE)


class Section(Struct, frozen=True):
    """Words below one heading."""

    title: str
    """Of the page."""
    heading: str
    text: str
    sha256: str
    """Of heading and text."""


def sections(path: Path) -> list[Section]:
    """The sections of a saved page, in order, without stubs."""
    suffix = path.suffix.lower()
    data = read_bytes(path)
    text = _unwrapped(data, path) if suffix in (".mhtml", ".mht") else decoded(data, path)
    html = suffix in (".html", ".htm", ".mhtml", ".mht")
    title, pairs = _of_html(text, path) if html else _of_text(text, path)
    found: list[Section] = []
    for heading, body in pairs:
        body = clean(body)
        if len(body.split()) >= _WORDS_MIN:
            heading = clean(heading)
            digest = hashlib.sha256(f"{heading}\n{body}".encode()).hexdigest()
            found.append(Section(title, heading, body, digest))
        if len(found) == SECTIONS_MAX:
            break
    return found


def _unwrapped(data: bytes, path: Path) -> str:
    """The HTML inside a page saved as a single file (MHTML)."""
    for part in message_from_bytes(data).walk():
        if part.get_content_type() == "text/html":
            payload = part.get_payload(decode=True)
            if isinstance(payload, bytes):
                return decoded(payload, path)
    raise SourceError(f"{path} holds no HTML part")


def _of_html(text: str, path: Path) -> tuple[str, Iterator[tuple[str, str]]]:
    tree = LexborHTMLParser(text)
    for node in tree.css(_NOISE):
        if node.tag not in ("html", "body"):
            node.decompose()
    heading = tree.css_first("h1")
    named = heading if heading is not None else tree.css_first("title")
    title = clean(named.text()) if named is not None else path.stem
    body = tree.body
    if body is None:
        raise SourceError(f"{path} holds no HTML body")
    return title or path.stem, _walked(body)


def _walked(body: LexborNode) -> Iterator[tuple[str, str]]:
    heading, texts = "", []
    for node in body.traverse():
        tag = node.tag
        if tag in _HEADINGS:
            if texts:
                yield heading, " ".join(texts)
            heading, texts = node.text(), []
        elif tag in _TEXTS and not _inside_text(node):
            texts.append(node.text(separator=" "))
    if texts:
        yield heading, " ".join(texts)


def _inside_text(node: LexborNode) -> bool:
    parent = node.parent
    while parent is not None:
        if parent.tag in _TEXTS:
            return True
        parent = parent.parent
    return False


def _of_text(text: str, path: Path) -> tuple[str, Iterator[tuple[str, str]]]:
    text = re.sub(r"\A---\n.*?\n---\n", "", text, flags=re.DOTALL)  # front matter
    headings = [m[1] for line in text.splitlines() if (m := _MARKDOWN.match(line))]
    title = clean(headings[0]) if headings else path.stem.replace("_", " ")
    return title, _split(text.splitlines())


def _split(lines: list[str]) -> Iterator[tuple[str, str]]:
    heading, body, fenced = "", list[str](), False
    for n, line in enumerate(lines):
        if line.startswith("```"):
            fenced = not fenced
            continue
        if fenced:
            continue
        under = lines[n + 1] if n + 1 < len(lines) else ""
        named = _MARKDOWN.match(line)
        if named or (line.strip() and re.fullmatch(r"=+\s*|-{3,}\s*", under)):
            yield heading, _MARKUP.sub(lambda m: m[1] or " ", "\n".join(body))
            heading, body = named[1] if named else line, []
        elif not re.fullmatch(r"=+\s*|-{3,}\s*", line):
            body.append(line)
    yield heading, _MARKUP.sub(lambda m: m[1] or " ", "\n".join(body))
