"""Perceptual hashes of one decode: imagehash's pHash bit for bit, and variants that find edited copies.

`phash` is `imagehash.phash` of the picture as decoded. PNG and WebP are decoded whole; JPEG is decoded at
1/2, 1/4 or 1/8 in the DCT domain (libjpeg's own scaling, luma as stored), which is several times faster and
moves a bit or two at most. `ALGORITHM` names all this and is part of every cached row.

The variants are hashes of what an edited copy may show: the mirror image, centre crops, small rotations.
A pair is a candidate when one picture's plain hash is near any variant of the other. All that a hash sees of a picture
are slow waves; those of a crop or of a turned picture follow from those of the whole by one product of matrices.
"""

from __future__ import annotations

import functools
import math

import numpy as np
import scipy.fftpack
from numpy.typing import NDArray

ALGORITHM = "phash64-imagehash4/3"
THUMB_PX = 32
CROPS = (0.97, 0.94, 0.90, 0.85)
"""Centre crops, as the share of each side that is left."""
ROTATIONS = (-4.0, -2.0, 2.0, 4.0)
"""Degrees; the rotated picture is cropped to what has no border."""
VARIANTS = ("plain", "mirror", *(f"crop {c:.2f}" for c in CROPS), *(f"rotate {r:+.0f}" for r in ROTATIONS))
_HASHED = 8
_WAVES = 16
"""Of each side, what an edited picture is made of: twice what is hashed, as edges of a crop mix neighbouring waves."""
_RATIO_STEPS = 16
"""Per doubling of width over height. Rotations of pictures of nearly one shape are the same."""
_MIRROR_SIGNS = np.where(np.arange(_HASHED) % 2, -1.0, 1.0)


def _low(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The 8 x 8 lowest frequencies of each of n 32 x 32 pictures."""
    # The same two transforms as imagehash, so that rounding, and with it every bit, is the same; rows do not depend
    # on each other, so the second need not look at those that are not kept.
    down = scipy.fftpack.dct(pixels, axis=1)[:, :_HASHED]
    return np.asarray(scipy.fftpack.dct(down, axis=2)[:, :, :_HASHED], dtype=np.float64)


def _hashes(low: NDArray[np.float64]) -> list[int]:
    flat = low.reshape(len(low), 64)
    middle = np.sort(flat, axis=1)[:, 31:33].sum(1, keepdims=True) / 2  # numpy's median, without its overhead
    return np.packbits(flat > middle, axis=1).view(">u8").reshape(-1).tolist()


def phash(pixels: NDArray[np.uint8]) -> int:
    """The 64-bit hash of a 32 x 32 luma picture; the first bit is the most significant, as imagehash prints it."""
    return _hashes(_low(pixels[None]))[0]


def variant_hashes(pixels: NDArray[np.uint8], size: tuple[int, int]) -> list[int]:
    """Hashes in the order of `VARIANTS`. `pixels` is the 32 x 32 picture, `size` width and height of the whole."""
    low = _low(pixels[None])
    mirrored = low * _MIRROR_SIGNS  # reversing a row flips the sign of the odd cosines
    edited = _edits(round(math.log2(size[0] / size[1]) * _RATIO_STEPS))
    waves = _COSINES @ pixels.astype(np.float32) @ _COSINES.T
    # Not the product of BLAS, which would wake other threads for it.
    shown = np.einsum("ij,j->i", edited, waves.reshape(-1)).reshape(-1, _HASHED, _HASHED)
    return _hashes(np.concatenate([low, mirrored, shown]))


def _cosines(waves: int, at: NDArray[np.float64]) -> NDArray[np.float64]:
    """The first cosines of a side (row by row) at these points of it, 0 to 1."""
    return np.cos(np.pi * np.arange(waves)[:, None] * at)


_MIDDLES = (np.arange(THUMB_PX) + 0.5) / THUMB_PX
_COSINES = _cosines(_WAVES, _MIDDLES).astype(np.float32)


@functools.lru_cache(maxsize=64)
def _edits(ratio: int) -> NDArray[np.float32]:
    """For all crops and rotations: from the waves of a picture to those of the edited one that are hashed."""
    wide = 2.0 ** (ratio / _RATIO_STEPS)
    return np.concatenate([_edit(*frame) for frame in [*map(_cropped, CROPS), *(_turned(r, wide) for r in ROTATIONS)]])


Frame = tuple[float, float, float, float]
"""Where a point (x, y) of the edited picture was, both from the centre in shares of a side: a x + b y, d x + e y."""


def _cropped(share: float) -> Frame:
    return share, 0.0, 0.0, share


def _turned(degrees: float, wide: float) -> Frame:
    """Turned, and cropped to what has no border. `wide` is width over height."""
    angle = math.radians(degrees)
    inside = max(0.5, 1 - abs(math.tan(angle)) * max(wide, 1 / wide))
    cos, sin = math.cos(angle) * inside, math.sin(angle) * inside
    return cos, -sin / wide, sin * wide, cos


def _edit(a: float, b: float, d: float, e: float) -> NDArray[np.float32]:
    x, y = (grid.reshape(-1) for grid in np.meshgrid(_MIDDLES - 0.5, _MIDDLES - 0.5))
    weights = np.where(np.arange(_WAVES), 2.0, 1.0)  # of each wave, as the inverse transform has them
    across = weights[:, None] * _cosines(_WAVES, a * x + b * y + 0.5)
    down = weights[:, None] * _cosines(_WAVES, d * x + e * y + 0.5)
    whole = (down[:, None] * across[None]).reshape(_WAVES**2, -1)
    kept = _cosines(_HASHED, y + 0.5)[:, None] * _cosines(_HASHED, x + 0.5)[None]
    return (kept.reshape(_HASHED**2, -1) @ whole.T).astype(np.float32)
