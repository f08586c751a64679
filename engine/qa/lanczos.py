"""Pillow's Lanczos reduction of a luma picture, bit for bit, as a few products of matrices: in a third of the time.

Pillow adds integers: weights of 22 bits times pixels of 8, a row at a time. With the upper and the lower bits of the
weights apart no sum reaches 2^24, so products of 32-bit floats are exact in any order. Neighbouring columns of the
result see mostly the same pixels; they are computed in groups, each from the pixels that it sees.

The gain is there only if the product keeps to the thread that asks for it. BLAS decides that once, as numpy is
loaded, by its environment, so processes of our own have it (`ALONE`), and the user's has Pillow's.
"""

from __future__ import annotations

import functools
import math
import os

import numpy as np
from numpy.typing import NDArray
from PIL import Image

ALONE = {"OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "VECLIB_MAXIMUM_THREADS": "1"}
"""Environment in which BLAS keeps to the thread that asks."""
_PAYS = all(os.environ.get(name) == value for name, value in ALONE.items())
_PAYS_FROM_PX, _PAYS_TO_PX = 128, 5_000
"""Widths. The sums of a wider picture's lower bits might not be exact any more."""
_GROUP = 8
_ROWS = 128
"""Rows at a time, so that they stay in the nearest caches."""
_UNIT_BITS = 22
_UNIT = 1 << _UNIT_BITS
_LOW_BITS = 7
SIZES_MAX = 4096

Groups = list[tuple[slice, NDArray[np.float32]]]


def _lanczos(x: float) -> float:
    if x == 0.0:
        return 1.0
    a, b = x * math.pi, x / 3 * math.pi
    return math.sin(a) / a * (math.sin(b) / b) if -3.0 <= x < 3.0 else 0.0


def _weights(size: int, out: int) -> tuple[NDArray[np.float32], list[tuple[int, int]]]:
    """What each of `size` pixels counts in each of `out`, as Pillow has it: the upper bits, beside them the lower ones.
    And the pixels that each sees."""
    scale = size / out
    support = 3.0 * scale
    whole = np.zeros((size, out))
    edges: list[tuple[int, int]] = []
    for pixel in range(out):
        centre = (pixel + 0.5) * scale
        start, stop = max(0, int(centre - support + 0.5)), min(size, int(centre + support + 0.5))
        shares = np.array([_lanczos((x - centre + 0.5) * (1.0 / scale)) for x in range(start, stop)])
        shares /= np.cumsum(shares)[-1]  # one after the other, as C adds
        whole[start:stop, pixel] = np.trunc(shares * _UNIT + np.where(shares < 0, -0.5, 0.5))
        edges.append((start, stop))
    upper = np.round(whole / (1 << _LOW_BITS))
    return np.stack([upper, whole - upper * (1 << _LOW_BITS)], axis=1).astype(np.float32), edges


@functools.lru_cache(maxsize=64)
def _across(width: int, out: int) -> Groups:
    """For each group of columns of the result: those of the picture that it sees, and what each counts there."""
    weights, edges = _weights(width, out)
    groups: Groups = []
    for first in range(0, out, _GROUP):
        seen = slice(edges[first][0], edges[first + _GROUP - 1][1])
        groups.append((seen, weights[seen, :, first : first + _GROUP].reshape(-1, 2 * _GROUP)))
    return groups


@functools.lru_cache(maxsize=64)
def _down(height: int, out: int) -> NDArray[np.float32]:
    return np.ascontiguousarray(_weights(height, out)[0].reshape(height, 2 * out).T)


def _rounded(upper: NDArray[np.float32], lower: NDArray[np.float32]) -> NDArray[np.int32]:
    """What the two halves of the sums make together, as bytes are rounded and cut."""
    whole = upper.astype(np.int32)
    whole <<= _LOW_BITS
    whole += lower.astype(np.int32)
    whole += _UNIT // 2
    whole >>= _UNIT_BITS
    return np.clip(whole, 0, 255, out=whole)


_agrees: dict[tuple[int, int], bool | None] = {}
"""By size: whether the product gave what Pillow gives; None until a second picture of the size comes."""


def reduced(luma: Image.Image, side_px: int, *, by_product: bool = _PAYS) -> NDArray[np.uint8]:
    """`luma.resize((side_px, side_px), LANCZOS)` of an L picture.

    By product only for sizes that come again and again, after a comparison with Pillow's own on one picture of each:
    whichever version of Pillow that is, the result is its result.
    """
    size = luma.size
    # Pillow goes down the columns first in pictures that are about twice as high as wide.
    fits = min(size) >= _PAYS_FROM_PX and max(size) <= _PAYS_TO_PX
    pays = by_product and fits and size[1] <= size[0] * 3 // 2
    if pays and _agrees.get(size):
        return _product(luma, side_px)
    exact = np.asarray(luma.resize((side_px, side_px), Image.Resampling.LANCZOS))
    if pays and size not in _agrees:
        if len(_agrees) < SIZES_MAX:
            _agrees[size] = None
    elif pays and _agrees[size] is None:
        _agrees[size] = np.array_equal(_product(luma, side_px), exact)
    return exact


def _product(luma: Image.Image, side_px: int) -> NDArray[np.uint8]:
    pixels = np.asarray(luma)
    groups = _across(luma.width, side_px)
    sums = np.empty((len(groups), luma.height, 2 * _GROUP), np.float32)
    rows = np.empty((min(_ROWS, luma.height), luma.width), np.float32)
    for top in range(0, luma.height, _ROWS):
        some = pixels[top : top + _ROWS]
        here = rows[: len(some)]
        here[:] = some
        for group, (seen, weights) in enumerate(groups):
            np.matmul(here[:, seen], weights, out=sums[group, top : top + _ROWS])
    narrow = _rounded(sums[:, :, :_GROUP], sums[:, :, _GROUP:])
    columns = narrow.transpose(1, 0, 2).reshape(luma.height, side_px).astype(np.float32)
    small = _down(luma.height, side_px) @ columns
    return _rounded(small[:side_px], small[side_px:]).astype(np.uint8)
