"""One look at one picture: is the file what the record says, and what does the picture look like?

Integrity comes from the bytes (digest, structure) and from a full decode; neither alone is enough: a plain
decode misses torn PNG tails, wrong extensions and bit-rotted JPEGs. Quality measures are taken from the same
decode, reduced to about 256 px. What the measures mean is decided in `judge`, so that a threshold can change
without looking again.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import polars as pl
from msgspec import Struct
from PIL import Image

from engine.errors import StoreError
from engine.qa.decode import decoded, opened
from engine.qa.hashes import ALGORITHM, THUMB_PX, variant_hashes
from engine.qa.lanczos import reduced as lanczos
from engine.qa.measures import chroma_std, sharpness, tones
from engine.store.inside import plain_file
from engine.store.picture import PIXELS_MAX, SIZE_BYTES_MAX, BadPicture, Picture, check_picture

LOOK = f"1 {ALGORITHM}"
"""Version of everything measured here; another one means looking again."""
SIDE_PX = 256
HANDFUL = 16
HANDFUL_PIXELS = 1 << 20
"""Decoded pictures held at a time: so many small ones, or one large one more than that."""
FAULT_CHARS_MAX = 600
SUFFIXES = {"image/png": (".png",), "image/jpeg": (".jpg", ".jpeg"), "image/webp": (".webp",)}

_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, IndexError, TypeError, KeyError, MemoryError)
"""The kinds of exception that Pillow's decoders are known to let out for damaged input."""

COLUMNS: dict[str, pl.DataType] = {
    "integrity": pl.List(pl.String()),
    "fault": pl.String(),
    "mime_found": pl.String(),
    "width_found": pl.Int32(),
    "height_found": pl.Int32(),
    "luma_mean": pl.Float32(),
    "luma_std": pl.Float32(),
    "luma_p5": pl.Float32(),
    "luma_p99": pl.Float32(),
    "entropy_bits": pl.Float32(),
    "sharpness": pl.Float32(),
    "chroma_std": pl.Float32(),
    "phash": pl.UInt64(),
    "variants": pl.List(pl.UInt64()),
    "thumb": pl.Binary(),
}


class Expected(Struct, frozen=True):
    """What the record says of a picture. `sha256` None when there is nothing to compare with."""

    path: str
    sha256: str | None
    size_bytes: int | None
    mime_type: str | None
    width: int | None
    height: int | None


class Look(Struct):
    """What was found; field for field a row of `COLUMNS`."""

    integrity: list[str]
    fault: str | None = None
    """In words, the first thing that is wrong with the file."""
    mime_found: str | None = None
    width_found: int | None = None
    height_found: int | None = None
    luma_mean: float | None = None
    luma_std: float | None = None
    luma_p5: float | None = None
    luma_p99: float | None = None
    entropy_bits: float | None = None
    """Of the luma histogram: 8 is everything, 0 one tone."""
    sharpness: float | None = None
    """The sharpest half percent of the picture's edges over its contrast."""
    chroma_std: float | None = None
    phash: int | None = None
    variants: list[int] | None = None
    thumb: bytes | None = None
    """32 x 32 luma."""

    def say(self, flag: str, fault: str) -> None:
        """Note a flag; the first fault's words are kept, as far as anybody would read them."""
        if flag not in self.integrity:
            self.integrity.append(flag)
        self.fault = self.fault or fault[:FAULT_CHARS_MAX]


def look_at(root: Path, expected: Expected) -> Look:
    """Read, check, decode and measure one picture of a run directory. Never raises for what the file holds."""
    return next(looks_at(root, [expected]))


def looks_at(root: Path, pictures: Iterable[Expected]) -> Iterator[Look]:
    """A look at each, in order. Never raises for what a file holds.

    Small pictures are measured a handful at a time, each step for all of them: between two decodes every step would
    begin with code and tables gone from the caches, which makes a JPEG a fifth dearer.
    """
    handful: list[tuple[Look, Image.Image | None]] = []
    pixels = 0
    for expected in pictures:
        found, image = _opened(root, expected)
        handful.append((found, image))
        pixels += 0 if image is None else image.width * image.height
        if len(handful) >= HANDFUL or pixels >= HANDFUL_PIXELS:
            yield from _measured(handful)
            handful, pixels = [], 0
    yield from _measured(handful)


def _opened(root: Path, expected: Expected) -> tuple[Look, Image.Image | None]:
    """What the file says, and its picture decoded, if there is one."""
    found = Look(integrity=[])
    try:
        with plain_file(root, expected.path).open("rb") as file:
            # As large as the file is: room for the largest there may be would cost a millisecond of page faults.
            data = file.read(min(os.fstat(file.fileno()).st_size, SIZE_BYTES_MAX + 1))
    except FileNotFoundError:
        found.say("missing", "there is no such file")
        return found, None
    except OSError as error:
        found.say("missing", f"cannot be read: {error.strerror or error}")
        return found, None
    except StoreError as error:
        found.say("missing", str(error))
        return found, None
    _compare(found, data, expected)
    return found, None if _structure(found, data, expected) is None else _decode(found, data)


def _compare(found: Look, data: bytes, expected: Expected) -> None:
    if not data:
        found.say("empty", "the file is empty")
        return
    if expected.size_bytes is not None and len(data) != expected.size_bytes:
        found.say("size", f"{len(data)} bytes, recorded were {expected.size_bytes}")
    if expected.sha256 is not None and hashlib.sha256(data).hexdigest() != expected.sha256:
        found.say("digest", "the SHA-256 is not the recorded one")


def _structure(found: Look, data: bytes, expected: Expected) -> Picture | None:
    """The structural check, and what it says against the record. None: not worth decoding."""
    try:
        picture = check_picture(data)
    except BadPicture as bad:
        reason = str(bad)
        if not data:
            return None
        kind = "torn"
        if reason.startswith("neither"):
            kind = "not_an_image"
        elif "more than the" in reason:
            kind = "bomb"
        elif "smaller than" in reason:
            kind = "undecodable"
        found.fault = None  # the structure says it better than a digest
        found.say(kind, reason)
        return None
    found.mime_found, found.width_found, found.height_found = picture.mime_type, picture.width, picture.height
    if expected.mime_type is not None and picture.mime_type != expected.mime_type:
        found.say("type", f"the bytes are {picture.mime_type}, recorded was {expected.mime_type}")
    suffix = Path(expected.path).suffix.lower()
    if suffix not in SUFFIXES[picture.mime_type]:
        found.say("extension", f"{picture.mime_type} in a file named {suffix or 'without an extension'}")
    if expected.width and expected.height and (picture.width, picture.height) != (expected.width, expected.height):
        found.say(
            "dimensions",
            f"{picture.width}x{picture.height} pixels, recorded were {expected.width}x{expected.height}",
        )
    return picture


def _decode(found: Look, data: bytes) -> Image.Image | None:
    try:
        # The structural check has bounded the announced pixels; Pillow's own bomb warning comes far above that.
        image = opened(data)
        if image.width * image.height > PIXELS_MAX:
            found.say("bomb", f"{image.width}x{image.height} pixels")
            return None
        return decoded(image, data, SIDE_PX)
    except Image.DecompressionBombError as bomb:
        found.say("bomb", str(bomb))
    except _DAMAGE as error:
        found.say(*_damage(error))
    return None


def _damage(error: Exception) -> tuple[str, str]:
    return "torn" if "truncated" in str(error) else "undecodable", f"decoding fails: {error}"


def _measured(handful: list[tuple[Look, Image.Image | None]]) -> list[Look]:
    pictures = [(found, image) for found, image in handful if image is not None]
    try:
        _measure(pictures)
    except _DAMAGE:
        for found, image in pictures:  # one of them; alone it shows which
            try:
                _measure([(found, image)])
            except _DAMAGE as error:
                found.say(*_damage(error))
    return [found for found, _ in handful]


def _measure(pictures: list[tuple[Look, Image.Image]]) -> None:
    lumas = [image.convert("L") for _, image in pictures]
    thumbs = [lanczos(luma, THUMB_PX) for luma in lumas]
    small = [luma.reduce(factor) if (factor := min(luma.size) // SIDE_PX) > 1 else luma for luma in lumas]
    seen = [tones(luma.histogram()) for luma in small]
    edges = [sharpness(np.asarray(luma), tone.std) for luma, tone in zip(small, seen, strict=True)]
    colours = [chroma_std(image) for _, image in pictures]
    hashes = [variant_hashes(thumb, image.size) for thumb, (_, image) in zip(thumbs, pictures, strict=True)]
    for n, (found, _) in enumerate(pictures):
        tone = seen[n]
        found.luma_mean, found.luma_std, found.luma_p5, found.luma_p99 = tone.mean, tone.std, tone.p5, tone.p99
        found.entropy_bits, found.sharpness, found.chroma_std = tone.entropy_bits, edges[n], colours[n]
        found.phash, *found.variants = hashes[n]
        found.thumb = thumbs[n].tobytes()
