"""Contact sheets: the pictures of many clusters as one, so that thousands of them fit into a page.

A page that holds each as a picture of its own is a fifth larger and has thousands of pictures to open.
"""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from msgspec import Struct
from PIL import Image

from engine.errors import StoreError
from engine.qa.decode import decoded, opened
from engine.store.cores import cores
from engine.store.inside import plain_file
from engine.store.picture import PIXELS_MAX, SIZE_BYTES_MAX

ROWS, COLUMNS = 12, 10
"""Of clusters on a sheet, each with room for two pictures."""
SHEET_CLUSTERS = ROWS * COLUMNS
KEPT_PX = 64
"""Side of the square copies that are kept for the next page."""
THREADS_MAX = 4
UNREADABLE = (
    OSError, StoreError, SyntaxError, ValueError, EOFError, IndexError, TypeError, KeyError, MemoryError,
    Image.DecompressionBombError,
)  # fmt: skip
"""What opening a picture is known to raise where it is damaged, or no longer what it was."""


class Picture(Struct, frozen=True):
    """One to draw. `sha256` where the file is known to have it, so that its copy can be kept by that."""

    path: str
    sha256: str | None


Pair = tuple[Picture, Picture | None]
"""What is shown of a cluster; None where the second has the bytes of the first."""


def fineness(clusters: int) -> tuple[int, int]:
    """Side in px and WebP quality for so many clusters on a page: 1.7 KB each where they are few, 0.6 KB beyond."""
    return (64, 50) if clusters <= 100 else (56, 30) if clusters <= 400 else (48, 15)


class Sheets:
    """Draws contact sheets of a run's pictures, and keeps their small copies in `kept`."""

    def __init__(self, root: Path, kept: Path) -> None:
        self._root = root
        self._kept = kept

    def draw(self, pairs: Sequence[Pair], *, side_px: int, quality: int) -> Iterator[bytes]:
        """Sheets as WebP, each of the next `SHEET_CLUSTERS` pairs. Some are drawn ahead, not all."""
        waiting: list[Future[bytes]] = []
        with ThreadPoolExecutor(min(THREADS_MAX, cores())) as pool:
            for start in range(0, len(pairs), SHEET_CLUSTERS):
                some = pairs[start : start + SHEET_CLUSTERS]
                tiles = list(pool.map(lambda pair: [p and self._tile(p) for p in pair], some))
                # It waits behind the next sheet's pictures, so that no thread stands still meanwhile.
                waiting.append(pool.submit(_sheet, tiles, side_px, quality))
                if len(waiting) > 1:
                    yield waiting.pop(0).result()
            for last in waiting:
                yield last.result()

    def _tile(self, picture: Picture) -> Image.Image | None:
        """The middle of a picture as a small square, None where it cannot be shown."""
        sha256 = picture.sha256
        kept = f"{sha256[:2]}/{sha256}.jpg" if sha256 and sha256.isalnum() else None
        if kept is not None:
            with suppress(*UNREADABLE):
                copy = opened(plain_file(self._kept, kept).read_bytes())
                if copy.size == (KEPT_PX, KEPT_PX):
                    copy.load()
                    return copy
        with suppress(*UNREADABLE):
            tile = _square(plain_file(self._root, picture.path))
            if kept is not None:
                _keep(self._kept / kept, tile)
            return tile
        return None


def _square(file: Path) -> Image.Image:
    with file.open("rb") as opened_file:
        data = opened_file.read(SIZE_BYTES_MAX + 1)
    image = opened(data)
    if image.width * image.height > PIXELS_MAX:
        raise ValueError(f"{image.width} x {image.height} pixels")
    image = decoded(image, data, KEPT_PX)
    side = min(image.size)
    left, top = (image.width - side) / 2, (image.height - side) / 2
    box = (left, top, left + side, top + side)
    return image.convert("RGB").resize((KEPT_PX, KEPT_PX), Image.Resampling.LANCZOS, box=box, reducing_gap=2.0)


def _keep(place: Path, tile: Image.Image) -> None:
    """A copy for the next page; one that cannot be written is no reason to show nothing."""
    with suppress(OSError):
        place.parent.mkdir(parents=True, exist_ok=True)
        part = place.with_name(f".{place.name}.{os.getpid()}.{threading.get_ident()}")
        tile.save(part, "JPEG", quality=90)
        part.replace(place)


def _sheet(pairs: Iterable[Sequence[Image.Image | None]], side_px: int, quality: int) -> bytes:
    sheet = Image.new("RGB", (2 * COLUMNS * side_px, ROWS * side_px), (128, 128, 128))
    for number, pair in enumerate(pairs):
        row, column = divmod(number, COLUMNS)
        for which, tile in enumerate(pair):
            if tile is not None:
                small = tile if tile.width == side_px else tile.resize((side_px, side_px), Image.Resampling.LANCZOS)
                sheet.paste(small, ((2 * column + which) * side_px, row * side_px))
    out = io.BytesIO()
    sheet.save(out, "WEBP", quality=quality, method=4)
    return out.getvalue()
