"""Pillow's Lanczos reduction of a luma picture, bit for bit, as a few products of matrices: three times as fast.

Pillow adds integers: weights of 22 bits times pixels of 8, a row at a time. All sums stay far below 2^53, so a
product of 64-bit floats is exact in any order. Neighbouring columns of the result see mostly the same pixels; they are
computed in groups, each from the pixels that it sees.

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
_PAYS_FROM_PX = 128
_GROUP = 8
_ROWS = 128
"""Rows at a time, so that they stay in the nearest caches."""
_UNIT = 1 << 22
SIZES_MAX = 4096

Weights = tuple[slice, slice, NDArray[np.float64]]


def _lanczos(x: float) -> float:
    if x == 0.0:
        return 1.0
    a, b = x * math.pi, x / 3 * math.pi
    return math.sin(a) / a * (math.sin(b) / b) if -3.0 <= x < 3.0 else 0.0


@functools.lru_cache(maxsize=64)
def _weights(width: int, out: int) -> list[Weights]:
    """For each group: columns of the picture, columns of the result, and what each counts there; as Pillow does it."""
    scale = width / out
    support = 3.0 * scale
    whole = np.zeros((width, out))
    edges: list[tuple[int, int]] = []
    for column in range(out):
        centre = (column + 0.5) * scale
        start, stop = max(0, int(centre - support + 0.5)), min(width, int(centre + support + 0.5))
        shares = np.array([_lanczos((x - centre + 0.5) * (1.0 / scale)) for x in range(start, stop)])
        shares /= np.cumsum(shares)[-1]  # one after the other, as C adds
        whole[start:stop, column] = np.trunc(shares * _UNIT + np.where(shares < 0, -0.5, 0.5)) / _UNIT
        edges.append((start, stop))
    groups: list[Weights] = []
    for first in range(0, out, _GROUP):
        last = min(out, first + _GROUP)
        seen = slice(edges[first][0], edges[last - 1][1])
        groups.append((seen, slice(first, last), np.ascontiguousarray(whole[seen, first:last])))
    return groups


_agrees: dict[tuple[int, int], bool | None] = {}
"""By size: whether the product gave what Pillow gives; None until a second picture of the size comes."""


def reduced(luma: Image.Image, side_px: int, *, by_product: bool = _PAYS) -> Image.Image:
    """`luma.resize((side_px, side_px), LANCZOS)` of an L picture.

    By product only for sizes that come again and again, after a comparison with Pillow's own on one picture of each:
    whichever version of Pillow that is, the result is its result.
    """
    size = luma.size
    # Pillow goes down the columns first in pictures that are about twice as high as wide.
    if not by_product or size[0] < max(_PAYS_FROM_PX, side_px) or size[1] > size[0] * 3 // 2:
        return luma.resize((side_px, side_px), Image.Resampling.LANCZOS)
    if (agrees := _agrees.get(size, False)) is True:
        return _product(luma, side_px)
    exact = luma.resize((side_px, side_px), Image.Resampling.LANCZOS)
    if size not in _agrees and len(_agrees) < SIZES_MAX:
        _agrees[size] = None
    elif agrees is None:
        _agrees[size] = _product(luma, side_px).tobytes() == exact.tobytes()
    return exact


def _product(luma: Image.Image, side_px: int) -> Image.Image:
    pixels = np.asarray(luma)
    groups = _weights(luma.width, side_px)
    sums = np.empty((luma.height, side_px))
    rows = np.empty((min(_ROWS, luma.height), luma.width))
    for top in range(0, luma.height, _ROWS):
        some = pixels[top : top + _ROWS]
        here = rows[: len(some)]
        here[:] = some
        for seen, columns, weights in groups:
            np.matmul(here[:, seen], weights, out=sums[top : top + _ROWS, columns])
    sums += 0.5
    narrow = np.clip(sums, 0.0, 255.0, out=sums).astype(np.uint8)
    # What is left is a thirtieth of the work, and Pillow's own.
    return Image.fromarray(narrow).resize((side_px, side_px), Image.Resampling.LANCZOS)
