"""Small pictures inside the report, within a budget of bytes."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

from PIL import Image

from engine.errors import StoreError
from engine.qa.markup import Safe, tag
from engine.store.inside import plain_file

BUDGET_BYTES = 960_000
"""Of all pictures together; base64 adds a third, and the page stays under 1.5 MB."""
BUDGET_BYTES_MIN = 700_000
"""Of these, however much the small ones of duplicates take."""
PATH_CHARS = 300


def link_to(path: str) -> str | None:
    """Where the file lies, seen from the page in qa/; None where the path is none of ours."""
    parts = path.split("/")
    return f"../{quote(path, errors='replace')}" if len(path) <= PATH_CHARS and ".." not in parts and parts[0] else None


def _small(root: Path, name: str, side_px: int) -> bytes | None:
    try:
        with Image.open(plain_file(root, name), formats=("PNG", "JPEG", "WEBP")) as image:
            if image.format == "JPEG":
                image.draft("RGB", (side_px, side_px))
            image.thumbnail((side_px, side_px), Image.Resampling.LANCZOS)
            out = io.BytesIO()
            image.convert("RGB").save(out, "WEBP", quality=68, method=4)
            return out.getvalue()
    except (
        OSError,
        StoreError,
        SyntaxError,
        ValueError,
        EOFError,
        IndexError,
        TypeError,
        KeyError,
        Image.DecompressionBombError,
    ):
        return None  # what cannot be decoded is shown as such


class Album:
    """Pictures of one page: drawn in parallel beforehand, handed out while the budget lasts."""

    def __init__(self, root: Path, *, spent_bytes: int = 0, threads: int = 2) -> None:
        self._root = root
        self._threads = threads
        self._drawn: dict[tuple[str, int], bytes | None] = {}
        self._left = max(BUDGET_BYTES_MIN, BUDGET_BYTES - spent_bytes)

    def draw(self, paths: Iterable[str], side_px: int) -> None:
        """Prepare these pictures."""
        fresh = [p for p in dict.fromkeys(paths) if (p, side_px) not in self._drawn]
        with ThreadPoolExecutor(self._threads) as pool:
            for path, data in zip(fresh, pool.map(lambda p: _small(self._root, p, side_px), fresh), strict=True):
                self._drawn[path, side_px] = data

    def image(self, path: str, side_px: int, alt: str) -> Safe:
        """The picture as an element, or a sentence why there is none."""
        data = self._drawn.get((path, side_px))
        if data is None:
            return tag("span", "cannot be shown", cls="none")
        if len(data) > self._left:
            return tag("span", "left out to keep this page small", cls="none")
        self._left -= len(data)
        source = "data:image/webp;base64," + base64.b64encode(data).decode()
        return tag("img", src=source, alt=alt, loading="lazy", decoding="async")
