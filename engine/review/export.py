"""The review page without a server: one HTML file, or a folder with the pictures beside it.

The same page and script; the data is inside, decisions stay in the browser until they are downloaded,
and `groundswell review DIR --merge` takes them in. Works from disk and inside a notebook.
"""

from __future__ import annotations

import base64
import hashlib
import html
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from engine.errors import ConfigError, StoreError
from engine.review.app import static_file
from engine.review.board import Board
from engine.review.messages import Shown
from engine.review.pictures import MIME_TYPES, PictureMissing, Pictures
from engine.review.queue import Filter

__all__ = ["EMBEDDED_IMAGES_MAX", "Exported", "export_static", "notebook_html"]

EMBEDDED_IMAGES_MAX = 2_000
"""More in one file, at some 200 kB each, is more than a browser opens with pleasure."""
LARGE_PX = 1024
SMALL_PX = 384
SUFFIXES = {"image/png": ".png", "image/jpeg": ".jpg", "image/webp": ".webp"}


class Exported(Struct, frozen=True, kw_only=True):
    """What was written."""

    path: str
    """The file to open."""
    images: int
    size_bytes: int
    missing: tuple[str, ...]
    """Images whose picture could not be read; the page says so where it would stand."""


def export_static(board: Board, pictures: Pictures, dest: Path, wanted: Filter | None = None) -> Exported:
    """Write the page for the images of a filter (default: the sample).

    `dest` ending in `.html` is one file with smaller pictures inside; anything else a folder with the
    originals. Raises ConfigError for a folder that holds something else.
    """
    wanted = wanted or Filter()
    chosen = _chosen(board, wanted)
    missing: list[str] = []
    if dest.suffix.lower() in {".html", ".htm"}:
        page = _embedded_page(board, pictures, chosen, wanted, missing)
        dest.parent.mkdir(parents=True, exist_ok=True)
        _replace(dest, page)
        return Exported(path=str(dest), images=len(chosen), size_bytes=len(page), missing=tuple(missing))
    index = dest / "index.html"
    if dest.exists() and (not dest.is_dir() or (any(dest.iterdir()) and not index.is_file())):
        raise ConfigError(f"--static {dest}: holds something else; name a new folder, or a file ending in .html")
    for size in ("large", "small"):
        (dest / size).mkdir(parents=True, exist_ok=True)
    files: dict[str, dict[str, str]] = {}
    size = 0
    for shown in chosen:
        try:
            size += _copy_out(pictures, shown, dest, files)
        except PictureMissing:
            missing.append(shown.id)
    page = _page(_data(board, chosen, files, wanted))
    _replace(index, page)
    return Exported(path=str(index), images=len(chosen), size_bytes=size + len(page), missing=tuple(missing))


def notebook_html(board: Board, pictures: Pictures, wanted: Filter | None = None, *, height_px: int = 820) -> str:
    """The page as an `<iframe srcdoc>` for `IPython.display.HTML`; for a sample, not for thousands."""
    wanted = wanted or Filter()
    page = _embedded_page(board, pictures, _chosen(board, wanted), wanted, [])
    source = html.escape(page.decode(), quote=True)
    return f'<iframe srcdoc="{source}" style="width:100%;height:{int(height_px)}px;border:1px solid #8888"></iframe>'


def _chosen(board: Board, wanted: Filter) -> list[Shown]:
    return [board.shown(board.catalogue.ids[p], "") for p in board.select(wanted, "")]


def _embedded_page(
    board: Board, pictures: Pictures, chosen: Sequence[Shown], wanted: Filter, missing: list[str]
) -> bytes:
    if len(chosen) > EMBEDDED_IMAGES_MAX:
        raise ConfigError(
            f"{len(chosen)} images are too many for one file (at most {EMBEDDED_IMAGES_MAX}); "
            "take fewer with --sample, or name a folder"
        )
    files: dict[str, dict[str, str]] = {}
    for shown in chosen:
        try:
            data = base64.b64encode(pictures.small(shown.asset, LARGE_PX)).decode()
            files[shown.id] = {"large": f"data:image/jpeg;base64,{data}"}
        except PictureMissing:
            missing.append(shown.id)
    return _page(_data(board, chosen, files, wanted))


def _copy_out(pictures: Pictures, shown: Shown, dest: Path, files: dict[str, dict[str, str]]) -> int:
    """Copy the original and a small one; returns their size. Ids are file names by their pattern."""
    assert shown.asset.mime_type in MIME_TYPES, shown.asset.mime_type
    large = f"large/{shown.id}{SUFFIXES[shown.asset.mime_type]}"
    small = f"small/{shown.id}.jpg"
    original = pictures.original(shown.asset)
    copy = pictures.small(shown.asset, SMALL_PX)
    _replace(dest / large, original)
    _replace(dest / small, copy)
    files[shown.id] = {"large": large, "small": small}
    return len(original) + len(copy)


def _data(board: Board, chosen: Sequence[Shown], files: dict[str, dict[str, str]], wanted: Filter) -> dict[str, Any]:
    ids = {shown.id for shown in chosen}
    session = board.session()
    session.update(board.facets([board.catalogue.position(shown.id) for shown in chosen]))
    flagged = [s for s in chosen if s.duplicates or any(f.severity != "info" for f in s.findings)]
    checks = {f.check for s in chosen for f in s.findings}
    session.update(
        sample=len(chosen),
        images=len(chosen),
        drawn=wanted.drawn,
        flagged=len(flagged),
        reviewers={},
        findings={c: n for c, n in session["findings"].items() if c in checks},
    )
    images: list[dict[str, Any]] = []
    for shown in chosen:
        image = msgspec.to_builtins(shown)
        # What others decided stays at home: an exported page is a blind one.
        image.update(mine=None, others=[], duplicates=[d for d in image["duplicates"] if d["id"] in ids])
        images.append(image)
    return {"session": session, "images": images, "pictures": files}


def _page(data: dict[str, Any]) -> bytes:
    """One HTML document with style, script and data inside, allowed by their digests alone."""
    style, script = static_file("review.css"), static_file("review.js")
    # Inside a script element only "<" could end it or begin a comment; JSON lets us write it as \u003c.
    payload = msgspec.json.encode(data).replace(b"<", rb"\u003c").replace(b"\xe2\x80\xa8", rb"\u2028")
    policy = (
        f"default-src 'none'; script-src '{_digest(script)}'; style-src '{_digest(style)}'; "
        "img-src 'self' file: data: blob:; base-uri 'none'; form-action 'none'"
    )
    page = static_file("review.html")
    head = (
        b'<meta http-equiv="Content-Security-Policy" content="' + html.escape(policy, quote=True).encode() + b'">\n'
        b"<style>" + style + b"</style>"
    )
    tail = (
        b'<script type="application/json" id="run-data">' + payload + b"</script>\n"
        b'<script type="module">' + script + b"</script>\n</body>"
    )
    link, module = (
        b'<link rel="stylesheet" href="review.css">',
        b'<script type="module" src="review.js"></script>\n',
    )
    assert page.count(link) == 1, "review.html names its style sheet once"
    assert page.count(module) == 1, "review.html names its script once"
    # partition, not replace: the script's own text must not be searched for the next mark.
    before, _, after = page.replace(module, b"").partition(link)
    body, _, end = after.rpartition(b"</body>")
    return before + head + body + tail + end


def _digest(source: bytes) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(source).digest()).decode()


def _replace(path: Path, data: bytes) -> None:
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        part.write_bytes(data)
        part.replace(path)
    except OSError as error:
        with suppress(OSError):
            part.unlink()
        raise StoreError(f"{path}: cannot be written ({error.strerror}); make room or name another place") from error
