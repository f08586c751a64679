"""One look at one picture: is the file what the record says, and what does the picture look like?

Integrity comes from the bytes (digest, structure) and from a full decode; neither alone is enough: a plain
decode misses torn PNG tails, wrong extensions and bit-rotted JPEGs. Quality measures are taken from the same
decode, reduced to about 256 px. What the measures mean is decided in `judge`, so that a threshold can change
without looking again.
"""

from __future__ import annotations

import hashlib
import io
import os
from pathlib import Path

import numpy as np
import polars as pl
from msgspec import Struct
from numpy.typing import NDArray
from PIL import Image

from engine.errors import StoreError
from engine.qa.hashes import ALGORITHM, THUMB_PX, dhash, variant_hashes
from engine.qa.lanczos import reduced as lanczos
from engine.store.inside import plain_file
from engine.store.picture import PIXELS_MAX, SIZE_BYTES_MAX, BadPicture, Picture, check_picture

LOOK = f"1 {ALGORITHM}"
"""Version of everything measured here; another one means looking again."""
SIDE_PX = 256
FAULT_CHARS_MAX = 600
_TONES = np.arange(256.0)
SUFFIXES = {"image/png": (".png",), "image/jpeg": (".jpg", ".jpeg"), "image/webp": (".webp",)}

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
    "dhash": pl.UInt64(),
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
    dhash: int | None = None
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
    found = Look(integrity=[])
    try:
        with plain_file(root, expected.path).open("rb") as file:
            # As large as the file is: room for the largest there may be would cost a millisecond of page faults.
            data = file.read(min(os.fstat(file.fileno()).st_size, SIZE_BYTES_MAX + 1))
    except FileNotFoundError:
        found.say("missing", "there is no such file")
        return found
    except OSError as error:
        found.say("missing", f"cannot be read: {error.strerror or error}")
        return found
    except StoreError as error:
        found.say("missing", str(error))
        return found
    _compare(found, data, expected)
    picture = _structure(found, data, expected)
    if picture is not None:
        _decode(found, data)
    return found


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


def _decode(found: Look, data: bytes) -> None:
    try:
        # The structural check has bounded the announced pixels; Pillow's own bomb warning comes far above that.
        image = Image.open(io.BytesIO(data), formats=("PNG", "JPEG", "WEBP"))
        if image.width * image.height > PIXELS_MAX:
            found.say("bomb", f"{image.width}x{image.height} pixels")
            return
        if image.format == "JPEG":
            image.draft("YCbCr", (SIDE_PX, SIDE_PX))  # every byte of the scan is still parsed
        image.load()
        _measure(found, image)
    except Image.DecompressionBombError as bomb:
        found.say("bomb", str(bomb))
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, TypeError, KeyError, MemoryError) as error:
        # The kinds of exception that Pillow's decoders are known to let out for damaged input.
        found.say("torn" if "truncated" in str(error) else "undecodable", f"decoding fails: {error}")


def _measure(found: Look, image: Image.Image) -> None:
    luma = image.convert("L")
    small = lanczos(luma, THUMB_PX)
    factor = max(1, min(luma.size) // SIDE_PX)
    reduced = luma.reduce(factor) if factor > 1 else luma
    pixels = np.asarray(reduced)
    _tones(found, reduced.histogram())
    found.sharpness = _sharpness(pixels, found.luma_std or 0.0)
    found.chroma_std = _chroma(image)
    thumb = np.asarray(small)
    half = max(1, min(reduced.size) // 128)
    small_luma = reduced.reduce(half) if half > 1 else reduced
    hashes = variant_hashes(thumb, small_luma)
    found.phash, found.variants = hashes[0], hashes[1:]
    found.dhash = dhash(small_luma)
    found.thumb = thumb.tobytes()


def _tones(found: Look, histogram: list[int]) -> None:
    counts = np.array(histogram, np.float64)
    shares = counts / counts.sum()
    mean = float(shares @ _TONES)
    found.luma_mean = mean
    found.luma_std = float(np.sqrt(max(0.0, shares @ (_TONES - mean) ** 2)))
    reached = np.cumsum(shares)
    found.luma_p5 = float(np.searchsorted(reached, 0.05))
    found.luma_p99 = float(np.searchsorted(reached, 0.99 - 1e-9))
    some = shares[shares > 0]
    found.entropy_bits = float(-(some @ np.log2(some)))


def _sharpness(pixels: NDArray[np.uint8], contrast: float) -> float:
    if min(pixels.shape) < 3:
        return 0.0
    p = pixels.astype(np.int16)
    edges = np.abs(4 * p[1:-1, 1:-1] - p[:-2, 1:-1] - p[2:, 1:-1] - p[1:-1, :-2] - p[1:-1, 2:])
    counts = np.bincount(edges.reshape(-1))
    strong = int(np.searchsorted(np.cumsum(counts), 0.995 * edges.size))
    return strong / (contrast + 1.0)


def _chroma(image: Image.Image) -> float:
    """How far colours spread around grey, 0 for a grey-scale picture."""
    if image.mode in {"L", "LA", "1", "I", "F", "I;16"}:
        return 0.0
    few = image.resize((64, 64), Image.Resampling.NEAREST)
    chroma = np.asarray(few.convert("YCbCr"), dtype=np.float32)[:, :, 1:]
    return float(np.sqrt(np.mean((chroma - 128.0) ** 2)))
