"""Do two thumbnails show the same picture? Correlation after the best small affine alignment.

Hashes propose, this decides: 32 x 32 luma, one turned into the frame of the other by Gauss-Newton steps on six
parameters (shift, scale, shear, rotation), then the normalised correlation over what both show. Candidates
go together through numpy, some thousands at a time, so that a hundred thousand take seconds; thumbnails wait in a file.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from engine.qa.candidates import Candidates
from engine.qa.hashes import CROPS, ROTATIONS, THUMB_PX, VARIANTS

F32 = NDArray[np.float32]
CONFIRM = 0.70
"""Least correlation of aligned thumbnails."""
CONFIRM_EDGES = 0.67
"""Least correlation of their edges. A copy in other hues has the edges of its original; another scene in the same light
has not: of planted copies the least is 0.70, of drawn scenes that are no copies the most 0.65."""
SURE = 0.97
"""Thumbnails so alike need no second look."""
AT_ONCE = 4_096
"""Pairs whose thumbnails are held."""
_THUMB_BYTES = THUMB_PX**2
STEPS = 12
BATCH = 512
HOPELESS = 0.45
"""Correlation under which four steps have not helped enough to go on."""
OVERLAP_MIN = 0.6
"""Share of the frame both must show."""
_AXIS = (np.arange(THUMB_PX, dtype=np.float32) - (THUMB_PX - 1) / 2) / (THUMB_PX / 2)
_X: F32 = np.tile(_AXIS, THUMB_PX)
_Y: F32 = np.repeat(_AXIS, THUMB_PX)


def start_for(variant: int) -> F32:
    """The affine map that brings variant `variant` of a picture into the frame of its plain one.

    Six numbers (a, b, c, d, e, f): x' = a x + b y + c, y' = d x + e y + f, the frame reaching from -1 to 1.
    """
    name = VARIANTS[variant]
    if name == "mirror":
        return np.array([-1, 0, 0, 0, 1, 0], np.float32)
    if name.startswith("crop"):
        share = CROPS[variant - 2]
        return np.array([share, 0, 0, 0, share, 0], np.float32)
    if name.startswith("rotate"):
        angle = np.radians(ROTATIONS[variant - 2 - len(CROPS)])
        share = 1 - abs(np.tan(angle))
        c, s = share * np.cos(angle), share * np.sin(angle)
        return np.array([c, -s, 0, s, c, 0], np.float32)
    return np.array([1, 0, 0, 0, 1, 0], np.float32)


def _sample(images: F32, maps: F32) -> tuple[F32, NDArray[np.bool_]]:
    """Bilinear samples of each image under its map, and where the map stays inside."""
    half = THUMB_PX / 2
    x = (maps[:, 0:1] * _X + maps[:, 1:2] * _Y + maps[:, 2:3]) * half + (THUMB_PX - 1) / 2
    y = (maps[:, 3:4] * _X + maps[:, 4:5] * _Y + maps[:, 5:6]) * half + (THUMB_PX - 1) / 2
    inside = (x >= 0) & (x <= THUMB_PX - 1) & (y >= 0) & (y <= THUMB_PX - 1)
    x, y = x.clip(0, THUMB_PX - 1.001), y.clip(0, THUMB_PX - 1.001)
    x0, y0 = x.astype(np.int32), y.astype(np.int32)
    fx, fy = x - x0, y - y0
    flat = y0 * THUMB_PX + x0
    rows = np.arange(len(images))[:, None]
    top = images[rows, flat] * (1 - fx) + images[rows, flat + 1] * fx
    low = images[rows, flat + THUMB_PX] * (1 - fx) + images[rows, flat + THUMB_PX + 1] * fx
    return (top * (1 - fy) + low * fy).astype(np.float32), inside


def _normal(images: F32, weight: F32) -> F32:
    total = weight.sum(1, keepdims=True) + 1e-6
    centred = images - (images * weight).sum(1, keepdims=True) / total
    scale = np.sqrt((centred * centred * weight).sum(1, keepdims=True) / total)
    return (centred / (scale + 1e-3)).astype(np.float32)


def _gradients(images: F32) -> tuple[F32, F32]:
    grid = images.reshape(-1, THUMB_PX, THUMB_PX)
    gx, gy = np.zeros_like(grid), np.zeros_like(grid)
    gx[:, :, 1:-1] = (grid[:, :, 2:] - grid[:, :, :-2]) * (THUMB_PX / 4)
    gy[:, 1:-1] = (grid[:, 2:] - grid[:, :-2]) * (THUMB_PX / 4)
    return gx.reshape(len(images), -1), gy.reshape(len(images), -1)


def similarity(left: NDArray[np.uint8], right: NDArray[np.uint8], maps: F32) -> F32:
    """Correlation, at most 1, of each pair of thumbnails (n x 1024) after alignment beginning at `maps`.

    The map takes the frame of `left` into `right`. The better of before and after alignment counts; too
    little overlap counts as nothing in common.
    """
    out = np.empty(len(left), np.float32)
    for start in range(0, len(left), BATCH):
        stop = start + BATCH
        out[start:stop] = _batch(
            left[start:stop].astype(np.float32), right[start:stop].astype(np.float32), maps[start:stop].copy()
        )
    return out


def edges(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Thumbnails (n x 1024) of where things end: alike whatever the colours are, and unlike in two scenes that share
    no more than light and shade. The root keeps one hard edge from outweighing all others."""
    out = np.empty_like(images)
    for start in range(0, len(images), BATCH):
        some = slice(start, start + BATCH)
        gx, gy = _gradients(images[some].astype(np.float32))
        strength = np.sqrt(np.hypot(gx, gy))
        out[some] = strength / (strength.max(1, keepdims=True) + 1e-6) * 255
    return out


def _score(left: F32, right: F32, maps: F32) -> tuple[F32, F32, F32]:
    moved, inside = _sample(right, maps)
    weight = inside.astype(np.float32)
    a, b = _normal(left, weight), _normal(moved, weight)
    total = weight.sum(1)
    ncc = (a * b * weight).sum(1) / np.maximum(total, 1)
    return np.where(total >= OVERLAP_MIN * THUMB_PX**2, ncc, 0).astype(np.float32), a, b


def _batch(left: F32, right: F32, maps: F32) -> F32:
    best, a, b = _score(left, right, maps)
    open_ = np.flatnonzero(best < SURE)  # what is certain already, and later what is hopeless, is not aligned further
    for number in range(STEPS):
        if number:
            worth = best[open_] >= (HOPELESS if number >= STEPS // 3 else -1)
            open_ = open_[worth & (best[open_] < SURE)]
        if not len(open_):
            break
        if number:
            _, a, b = _score(left[open_], right[open_], maps[open_])
        else:
            a, b = a[open_], b[open_]
        maps[open_] = _composed(maps[open_], _step(a, b))
        now, _, _ = _score(left[open_], right[open_], maps[open_])
        best[open_] = np.maximum(best[open_], now)
    return best


def _step(a: F32, b: F32) -> NDArray[Any]:
    """One Gauss-Newton step of the six parameters that brings `b` nearer to `a`."""
    gx, gy = _gradients(b)
    design = np.stack([gx * _X, gx * _Y, gx, gy * _X, gy * _Y, gy], axis=2)  # n x 1024 x 6
    across = design.transpose(0, 2, 1)
    normal = across @ design + np.eye(6, dtype=np.float32) * 20
    push = across @ (a - b)[:, :, None]
    found: Any = np.linalg.solve(normal, push)
    return np.asarray(found[:, :, 0].clip(-0.08, 0.08), dtype=np.float32)


def _composed(m: NDArray[Any], s: NDArray[Any]) -> NDArray[Any]:
    """The step, which is in the frame of the sampled picture, before the map so far."""
    return np.stack(
        [
            m[:, 0] * (1 + s[:, 0]) + m[:, 1] * s[:, 3],
            m[:, 0] * s[:, 1] + m[:, 1] * (1 + s[:, 4]),
            m[:, 0] * s[:, 2] + m[:, 1] * s[:, 5] + m[:, 2],
            m[:, 3] * (1 + s[:, 0]) + m[:, 4] * s[:, 3],
            m[:, 3] * s[:, 1] + m[:, 4] * (1 + s[:, 4]),
            m[:, 3] * s[:, 2] + m[:, 4] * s[:, 5] + m[:, 5],
        ],
        axis=1,
    )


class Thumbs:
    """Thumbnails in a file, so that only those that are being compared are held."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def put(self, at: int, thumb: bytes) -> None:
        self._file.seek(at * _THUMB_BYTES)
        self._file.write(thumb)

    def get(self, which: Iterable[int], count: int) -> NDArray[np.uint8]:
        """These, as rows of 1024."""
        out = np.empty((count, _THUMB_BYTES), np.uint8)
        for row, at in zip(out, which, strict=True):
            self._file.seek(at * _THUMB_BYTES)
            self._file.readinto(row)  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
        return out


@contextmanager
def thumbs_in(path: Path) -> Generator[Thumbs]:
    """A new file of thumbnails, gone in the end."""
    with path.open("w+b", buffering=0) as file:
        yield Thumbs(file)
    path.unlink()


def confirmed(
    candidates: Candidates, thumbs: Thumbs, outlines: Thumbs, place: NDArray[np.uint32]
) -> tuple[NDArray[np.bool_], F32]:
    """Which pairs show the same picture, and the correlation of each. `place` is where a row's thumbnail is."""
    starts = np.stack([start_for(v) for v in range(len(VARIANTS))])
    same = np.empty(candidates.count, np.bool_)
    agreed = np.empty(candidates.count, np.float32)
    drawn = np.zeros(int(place.max(initial=0)) + 1, np.bool_)

    def outlined(which: NDArray[np.integer]) -> NDArray[np.uint8]:
        fresh = which[~drawn[which]]
        for at, outline in zip(fresh.tolist(), edges(thumbs.get(fresh.tolist(), len(fresh))), strict=True):
            outlines.put(at, outline.tobytes())
        drawn[fresh] = True
        return outlines.get(which.tolist(), len(which))

    for start in range(0, candidates.count, AT_ONCE):
        cut = slice(start, start + AT_ONCE)
        left, right = place[candidates.a[cut]], place[candidates.b[cut]]
        maps = starts[candidates.variant[cut]]
        which, both = np.unique(np.concatenate([left, right]), return_inverse=True)
        pixels = thumbs.get(which.tolist(), len(which))
        alike = similarity(pixels[both[: len(left)]], pixels[both[len(left) :]], maps)
        sure = alike >= SURE
        open_ = np.flatnonzero((alike >= CONFIRM) & ~sure)
        if len(open_):
            which, both = np.unique(np.concatenate([left[open_], right[open_]]), return_inverse=True)
            pixels = outlined(which)
            alike_edges = similarity(pixels[both[: len(open_)]], pixels[both[len(open_) :]], maps[open_])
            sure[open_] = alike_edges >= CONFIRM_EDGES
        same[cut], agreed[cut] = sure, alike
    return same, agreed
