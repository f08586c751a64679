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
_POWERS = (1 << np.arange(63, -1, -1, dtype=np.uint64)).astype(np.uint64)
_MIRROR_SIGNS = np.where(np.arange(8) % 2, -1.0, 1.0)


def _bits(values: NDArray[np.bool_]) -> int:
    return int((values.reshape(-1).astype(np.uint64) * _POWERS).sum())


def _low(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    # The same two calls as imagehash, so that rounding, and with it every bit, is the same.
    dct = scipy.fftpack.dct(scipy.fftpack.dct(pixels, axis=0), axis=1)
    return np.asarray(dct[:8, :8], dtype=np.float64)


def phash(pixels: NDArray[np.uint8]) -> int:
    """The 64-bit hash of a 32 x 32 luma picture; the first bit is the most significant, as imagehash prints it."""
    low = _low(pixels)
    return _bits(low > np.median(low))


def dhash(luma: Image.Image) -> int:
    """imagehash.dhash of this luma picture."""
    pixels = np.asarray(luma.resize((9, 8), Image.Resampling.LANCZOS))
    return _bits(pixels[:, 1:] > pixels[:, :-1])


def variant_hashes(pixels: NDArray[np.uint8], luma: Image.Image) -> list[int]:
    """Hashes in the order of `VARIANTS`. `pixels` is the 32 x 32 picture, `luma` a reduced one of 128 px or so."""
    low = _low(pixels)
    mirrored = low * _MIRROR_SIGNS  # reversing a row flips the sign of the odd cosines
    found = [_bits(low > np.median(low)), _bits(mirrored > np.median(mirrored))]
    w, h = luma.size
    for share in CROPS:
        dx, dy = w * (1 - share) / 2, h * (1 - share) / 2
        found.append(_crop_hash(luma, (dx, dy, w - dx, h - dy)))
    half = luma.reduce(2)
    return found + [phash(np.asarray(_turned(half, degrees))) for degrees in ROTATIONS]


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


def _crop_hash(luma: Image.Image, box: tuple[float, float, float, float]) -> int:
    small = luma.resize((THUMB_PX, THUMB_PX), Image.Resampling.BILINEAR, box=box)
    return phash(np.asarray(small))
