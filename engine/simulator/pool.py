"""Pictures of realistic size at almost no cost: a few prebuilt ones, each answer made unique by one chunk.

A benchmark's server must not be its bottleneck. The base64 of a pooled picture is built once; an
answer inserts a PNG text chunk (or a JPEG comment) whose length keeps the base64 grid, so that only
those few bytes are encoded anew and yet no two answers have the same digest.
"""

from __future__ import annotations

import itertools
from typing import Literal

import numpy as np
import pybase64
from msgspec import Struct
from PIL import Image

from engine.simulator.encode import jpeg, png
from engine.simulator.marks import JPEG_HEAD_BYTES, PNG_HEAD_BYTES, jpeg_segment, png_chunk

Format = Literal["png", "jpeg"]
POOL_SIZE = 4


class _Prepared(Struct, frozen=True):
    head: bytes
    """Raw bytes in front of the inserted chunk."""
    rest: bytes
    """Base64 of everything behind it."""


class Pool:
    """Prebuilt pictures of one size and format. `pieces()` are base64 pieces of a picture never given before."""

    def __init__(self, width: int, height: int, kind: Format, *, textured: bool, seed: int = 0) -> None:
        self.mime_type = f"image/{kind}"
        self._kind = kind
        self._serials = itertools.count(1)
        count = POOL_SIZE if textured else 3 * POOL_SIZE
        self._pictures = [_prepare(_draw(width, height, seed * 1000 + i, textured), kind) for i in range(count)]

    def pieces(self) -> tuple[bytes, bytes]:
        """Base64 of a picture in two pieces, to be sent one behind the other."""
        serial = next(self._serials)
        picture = self._pictures[serial % len(self._pictures)]
        label = b"Serial\0%014d" % serial  # 21 bytes: with the chunk around it, the grid of three holds
        chunk = png_chunk(b"tEXt", label) if self._kind == "png" else jpeg_segment(0xFE, label)
        return pybase64.b64encode(picture.head + chunk), picture.rest


def _prepare(image: Image.Image, kind: Format) -> _Prepared:
    data = png(image, "", level=1) if kind == "png" else jpeg(image, "", quality=90)
    cut = PNG_HEAD_BYTES if kind == "png" else JPEG_HEAD_BYTES
    return _Prepared(data[:cut], pybase64.b64encode(data[cut:]))


def _draw(width: int, height: int, seed: int, textured: bool) -> Image.Image:
    """A soft colour field with noise, about 1.5 MB as a PNG of 1024 x 1024."""
    chance = np.random.default_rng(seed)
    coarse = chance.integers(40, 216, (5, 5, 3), np.uint8)
    field = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    if not textured:
        return field
    pixels = np.asarray(field).astype(np.int16)
    grain = chance.normal(0, 2.6, (height, width, 1)).round().astype(np.int16)
    return Image.fromarray(np.clip(pixels + grain, 0, 255).astype(np.uint8))
