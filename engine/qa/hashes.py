"""Perceptual hashes of one decode: imagehash's pHash bit for bit, and variants that find edited copies.

`phash` is `imagehash.phash` of the picture as decoded. PNG and WebP are decoded whole; JPEG is decoded at
1/2, 1/4 or 1/8 in the DCT domain (libjpeg's own scaling, luma as stored), which is several times faster and
moves a bit or two at most. `ALGORITHM` names all this and is part of every cached row.

The variants are hashes of what an edited copy may show: the mirror image, centre crops, small rotations.
A pair is a candidate when one picture's plain hash is near any variant of the other.
"""

from __future__ import annotations

import numpy as np
import scipy.fftpack
from numpy.typing import NDArray
from PIL import Image

ALGORITHM = "phash64-imagehash4/2"
THUMB_PX = 32
CROPS = (0.97, 0.94, 0.90, 0.85)
"""Centre crops, as the share of each side that is left."""
ROTATIONS = (-4.0, -2.0, 2.0, 4.0)
"""Degrees; the rotated picture is cropped to what has no border."""
VARIANTS = ("plain", "mirror", *(f"crop {c:.2f}" for c in CROPS), *(f"rotate {r:+.0f}" for r in ROTATIONS))
_MIRROR_SIGNS = np.where(np.arange(8) % 2, -1.0, 1.0)


def _low(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The 8 x 8 lowest frequencies of each of n 32 x 32 pictures."""
    # The same two transforms as imagehash, so that rounding, and with it every bit, is the same; rows do not depend
    # on each other, so the second need not look at those that are not kept.
    down = scipy.fftpack.dct(pixels, axis=1)[:, :8]
    return np.asarray(scipy.fftpack.dct(down, axis=2)[:, :, :8], dtype=np.float64)


def _hashes(low: NDArray[np.float64]) -> list[int]:
    flat = low.reshape(len(low), 64)
    middle = np.sort(flat, axis=1)[:, 31:33].sum(1, keepdims=True) / 2  # numpy's median, without its overhead
    return [int.from_bytes(bits.tobytes()) for bits in np.packbits(flat > middle, axis=1)]


def phash(pixels: NDArray[np.uint8]) -> int:
    """The 64-bit hash of a 32 x 32 luma picture; the first bit is the most significant, as imagehash prints it."""
    return _hashes(_low(pixels[None]))[0]


def dhash(luma: Image.Image) -> int:
    """imagehash.dhash of this luma picture."""
    pixels = np.asarray(luma.resize((9, 8), Image.Resampling.LANCZOS))
    return int.from_bytes(np.packbits(pixels[:, 1:] > pixels[:, :-1]).tobytes())


def variant_hashes(pixels: NDArray[np.uint8], luma: Image.Image) -> list[int]:
    """Hashes in the order of `VARIANTS`. `pixels` is the 32 x 32 picture, `luma` a reduced one of 128 px or so."""
    shown = [pixels]
    w, h = luma.size
    for share in CROPS:
        dx, dy = w * (1 - share) / 2, h * (1 - share) / 2
        shown.append(_crop(luma, (dx, dy, w - dx, h - dy)))
    half = luma.reduce(2)
    shown += [np.asarray(_turned(half, degrees)) for degrees in ROTATIONS]
    low = _low(np.stack(shown))
    mirrored = low[:1] * _MIRROR_SIGNS  # reversing a row flips the sign of the odd cosines
    return _hashes(np.concatenate([low[:1], mirrored, low[1:]]))


def _turned(luma: Image.Image, degrees: float) -> Image.Image:
    """The picture turned, and cropped to what has no border, straight to 32 x 32."""
    w, h = luma.size
    angle = np.radians(degrees)
    inside = 1 - abs(np.tan(angle)) * max(w, h) / min(w, h)
    cos, sin = np.cos(angle) * inside, np.sin(angle) * inside
    a, b, d, e = cos * w / THUMB_PX, -sin * h / THUMB_PX, sin * w / THUMB_PX, cos * h / THUMB_PX
    centre = THUMB_PX / 2
    matrix = (a, b, w / 2 - (a + b) * centre, d, e, h / 2 - (d + e) * centre)
    return luma.transform((THUMB_PX, THUMB_PX), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)


def _crop(luma: Image.Image, box: tuple[float, float, float, float]) -> NDArray[np.uint8]:
    return np.asarray(luma.resize((THUMB_PX, THUMB_PX), Image.Resampling.BILINEAR, box=box))
