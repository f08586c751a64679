"""What a decoded picture looks like in a few numbers: tones, edges, colours."""

from __future__ import annotations

import math

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray
from PIL import Image

_TONES = np.arange(256.0)
_SQUARES = _TONES**2
_STRONG = 0.995
"""Share of all edges that the strong ones are sharper than."""
COLOUR_SIDE_PX = 64


class Tones(Struct, frozen=True):
    """Of luma, 0 to 255."""

    mean: float
    std: float
    p5: float
    p99: float
    entropy_bits: float
    """8 is everything, 0 one tone."""


def tones(histogram: list[int]) -> Tones:
    """Of a picture by the histogram of its luma."""
    counts = np.array(histogram, np.float64)
    total = float(counts.sum())
    mean = float(counts @ _TONES) / total
    reached = counts.cumsum()
    p5, p99 = np.searchsorted(reached, (0.05 * total - 1e-4, 0.99 * total - 1e-4))
    return Tones(
        mean=mean,
        std=max(0.0, float(counts @ _SQUARES) / total - mean * mean) ** 0.5,
        p5=float(p5),
        p99=float(p99),
        entropy_bits=float(np.log2(total) - counts @ np.log2(np.maximum(counts, 1.0)) / total),
    )


def sharpness(pixels: NDArray[np.uint8], contrast: float) -> float:
    """The sharpest half percent of the picture's edges over its contrast."""
    height, width = pixels.shape
    if min(height, width) < 3:
        return 0.0
    # In one row, as then nothing that is added lies apart; the two columns at the sides are left out in the end.
    p = pixels.astype(np.int16).reshape(-1)
    edges = p[width:-width] * np.int16(4)
    for beside in (p[: -2 * width], p[2 * width :], p[width - 1 : -width - 1], p[width + 1 : p.size - width + 1]):
        edges -= beside
    inside = np.abs(edges, out=edges).reshape(-1, width)[:, 1:-1].reshape(-1)
    return int(_ranked(inside, math.ceil(_STRONG * inside.size) - 1)) / (contrast + 1.0)


def _ranked(values: NDArray[np.int16], rank: int) -> np.int16:
    """`np.sort(values)[rank]` for a high rank, from the few values that are likely to be high."""
    sample = np.sort(values[::64])
    high = values[values > sample[len(sample) * 31 // 32]]
    rank -= values.size - high.size
    return np.sort(high)[rank] if rank >= 0 else np.sort(values)[rank + values.size - high.size]


def chroma_std(image: Image.Image) -> float:
    """How far colours spread around grey, 0 for a grey-scale picture."""
    if image.mode in {"L", "LA", "1", "I", "F", "I;16"}:
        return 0.0
    few = image.resize((COLOUR_SIDE_PX, COLOUR_SIDE_PX), Image.Resampling.NEAREST).convert("YCbCr")
    colours = np.frombuffer(few.tobytes(), np.uint8).reshape(-1, 3)[:, 1:].astype(np.float32) - 128.0
    return float(np.vdot(colours, colours) / colours.size) ** 0.5
