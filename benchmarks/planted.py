"""A set of pictures with planted defects, and the list of what was planted where.

Scenes are drawn from a seed: sky, ground, buildings, a crowd, placards, grain. They share a composition, as
renders of one theme do, so telling copies from relatives is not made easy. Used by the tests and by
benchmarks/qa.py.

    python benchmarks/planted.py /tmp/planted --images 2000 --size 512
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageOps

Image_ = Image.Image


def scene(seed: int, size: int) -> Image_:
    """A busy picture; the same seed gives the same one."""
    rng = np.random.default_rng([7, seed])
    w = h = size
    horizon = rng.uniform(0.25, 0.65)
    sky, ground = rng.integers(90, 250, 3), rng.integers(30, 190, 3)
    ramp = np.linspace(0, 1, h)[:, None, None]
    base = np.where(ramp < horizon, sky * (1 - 0.5 * ramp), ground * (0.6 + 0.5 * ramp))
    pixels = np.broadcast_to(base, (h, w, 3)).copy()
    for cells, strength in ((4, 45), (9, 30), (20, 18), (48, 12)):  # clouds, shadows, texture
        noise = Image.fromarray(rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8))
        pixels += (np.asarray(noise.resize((w, h), Image.Resampling.BICUBIC), dtype=float) - 128) / 128 * strength
    image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    x = float(rng.uniform(-0.1, 0.1))
    while x < 1.0:  # buildings
        wide, tall = rng.uniform(0.08, 0.3), rng.uniform(0.1, horizon)
        colour = tuple(int(c) for c in rng.integers(30, 220, 3))
        draw.rectangle((x * w, (horizon - tall) * h, (x + wide) * w, horizon * h), fill=colour)
        for wy in np.arange(horizon - tall + 0.02, horizon - 0.02, rng.uniform(0.03, 0.06)):
            for wx in np.arange(x + 0.01, x + wide - 0.02, rng.uniform(0.02, 0.05)):
                if rng.random() < 0.7:
                    lit = tuple(int(c * rng.uniform(0.5, 1.4)) % 256 for c in colour)
                    draw.rectangle((wx * w, wy * h, (wx + 0.012) * w, (wy + 0.018) * h), fill=lit)
        x += wide + float(rng.uniform(-0.03, 0.12))
    people = int(rng.integers(5, 60))
    for y in sorted(rng.uniform(horizon, 1.05, people)):
        far = (y - horizon) / (1.05 - horizon) * 0.13 + 0.02
        px = rng.uniform(0, 1)
        body = tuple(int(c) for c in rng.integers(10, 245, 3))
        skin = tuple(int(c) for c in np.array([224, 172, 125]) * rng.uniform(0.35, 1.1))
        draw.ellipse(((px - far * 0.5) * w, (y - far * 1.6) * h, (px + far * 0.5) * w, (y + far) * h), fill=body)
        draw.ellipse(
            ((px - far * 0.22) * w, (y - far * 2.1) * h, (px + far * 0.22) * w, (y - far * 1.5) * h), fill=skin
        )
        if rng.random() < 0.25:
            sign = (px * w, (y - far * 3.2) * h, (px + far * 1.6) * w, (y - far * 2.2) * h)
            draw.rectangle(sign, fill=tuple(int(c) for c in rng.integers(150, 255, 3)), outline=(20, 20, 20))
            draw.line((sign[0] + 4, sign[1] + 5, sign[2] - 4, sign[1] + 5), fill=(20, 20, 20), width=2)
    grain = rng.normal(0, rng.uniform(2, 7), (h, w, 1))
    return Image.fromarray((np.asarray(image, dtype=float) + grain).clip(0, 255).astype(np.uint8))


def _png(image: Image_, level: int = 1) -> bytes:
    out = io.BytesIO()
    image.save(out, "PNG", compress_level=level)
    return out.getvalue()


def _jpeg(image: Image_, quality: int = 92) -> bytes:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality)
    return out.getvalue()


def _cropped(image: Image_, left: float, top: float, right: float, bottom: float) -> Image_:
    w, h = image.size
    return image.crop((int(left * w), int(top * h), int(w - right * w), int(h - bottom * h)))


def _hue(image: Image_, degrees: float) -> Image_:
    hsv = np.array(image.convert("HSV"))
    hsv[:, :, 0] = (hsv[:, :, 0].astype(int) + int(degrees / 360 * 256)) % 256
    bands = [Image.fromarray(np.ascontiguousarray(hsv[:, :, c])) for c in range(3)]
    return Image.merge("HSV", bands).convert("RGB")


def _marked(image: Image_, rng: np.random.Generator) -> Image_:
    out = image.copy()
    w, h = out.size
    x, y, s = rng.uniform(0.02, 0.7) * w, rng.uniform(0.02, 0.75) * h, rng.uniform(0.15, 0.25)
    ImageDraw.Draw(out).rectangle(
        (x, y, x + s * w, y + s * 0.6 * h), fill=tuple(int(c) for c in rng.integers(0, 256, 3))
    )
    return out


Edit = Callable[[Image_, np.random.Generator], Image_]


def _crop_by(amount: float) -> Edit:
    return lambda image, rng: _cropped(image, amount, amount, amount, amount).resize(
        image.size, Image.Resampling.BICUBIC
    )


def _small_crop(image: Image_, rng: np.random.Generator) -> Image_:
    return _cropped(image, *rng.uniform(0.0, 0.05, 4)).resize(image.size, Image.Resampling.BICUBIC)


def _combo(image: Image_, rng: np.random.Generator) -> Image_:
    a = rng.uniform(0.0, 0.03)
    smaller = _cropped(image, a, a, a, a).resize((image.width * 3 // 4,) * 2)
    return ImageEnhance.Brightness(smaller).enhance(rng.uniform(0.85, 1.15))


EDITS: dict[str, tuple[Edit, int]] = {
    # kind: (edit, how many in a set of 2,000)
    "resize50": (lambda i, r: i.resize((i.width // 2, i.height // 2), Image.Resampling.LANCZOS), 80),
    "jpeg60": (lambda i, r: Image.open(io.BytesIO(_jpeg(i, 60))), 80),
    "brightness": (lambda i, r: ImageEnhance.Brightness(i).enhance(1 + float(r.choice([-0.25, 0.25]))), 80),
    "contrast": (lambda i, r: ImageEnhance.Contrast(i).enhance(r.uniform(0.6, 1.4)), 40),
    "crop3": (_crop_by(0.03), 60),
    "crop8": (_crop_by(0.08), 60),
    "crop_any": (_small_crop, 40),
    "hue": (lambda i, r: _hue(i, r.uniform(20, 60)), 40),
    "rotate": (
        lambda i, r: i.rotate(float(r.choice([-3, 3])), Image.Resampling.BICUBIC, fillcolor=(128, 128, 128)),
        40,
    ),
    "watermark": (_marked, 40),
    "mirror": (lambda i, r: ImageOps.mirror(i), 40),
    "grey_copy": (lambda i, r: i.convert("L").convert("RGB"), 20),
    "combo": (_combo, 30),
}
EXACT = 100


def _dark(image: Image_, rng: np.random.Generator) -> Image_:
    return ImageEnhance.Brightness(image).enhance(rng.uniform(0.05, 0.2))


def _light(image: Image_, rng: np.random.Generator) -> Image_:
    strength = rng.uniform(0.05, 0.1)
    return Image.fromarray((255 - (255 - np.asarray(image, dtype=float)) * strength).astype(np.uint8))


def _near_blank(image: Image_, rng: np.random.Generator) -> Image_:
    flat = np.full((image.height, image.width, 3), rng.integers(20, 235, 3), dtype=float)
    flat += rng.normal(0, 0.6, flat.shape)
    return Image.fromarray(flat.clip(0, 255).astype(np.uint8))


QUALITY: dict[str, tuple[Edit, int, str]] = {
    # kind: (edit, how many, flag that says it)
    "dark": (_dark, 20, "dark"),
    "light": (_light, 20, "light"),
    "blurred": (lambda i, r: i.filter(ImageFilter.GaussianBlur(i.width * r.uniform(0.009, 0.016))), 30, "blurred"),
    "blank": (lambda i, r: Image.new("RGB", i.size, tuple(int(c) for c in r.integers(0, 256, 3))), 30, "blank"),
    "near_blank": (_near_blank, 30, "blank"),
    "aspect": (lambda i, r: i.resize((i.width * 2, i.height // 4)), 10, "aspect"),
    "odd_size": (lambda i, r: i.resize((i.width // 5, i.height // 5)), 10, "odd_size"),
    "grey": (lambda i, r: i.convert("L"), 15, "grey"),
}


def _rotten(data: bytes, rng: np.random.Generator) -> bytes:
    """A bit turned in the pixel data."""
    at = int(rng.integers(len(data) // 3, len(data) - 200))
    return data[:at] + bytes([data[at] ^ (1 << int(rng.integers(0, 8)))]) + data[at + 1 :]


Damage = Callable[[bytes, np.random.Generator], bytes]
DAMAGE: dict[str, tuple[str, Damage, int]] = {
    # kind: (type of the file, damage, how many)
    "bitrot_png": ("png", _rotten, 22),
    "bitrot_jpg": ("jpg", _rotten, 22),
    "torn_png": ("png", lambda d, r: d[: -int(r.integers(2, 13))], 16),
    "torn_jpg": ("jpg", lambda d, r: d[: -int(r.integers(2, 13))], 16),
    "truncated_png": ("png", lambda d, r: d[: int(len(d) * r.uniform(0.1, 0.95))], 35),
    "truncated_jpg": ("jpg", lambda d, r: d[: int(len(d) * r.uniform(0.1, 0.95))], 35),
    "html": ("png", lambda d, r: b"<!doctype html><html><body>502 Bad Gateway</body></html>" * 40, 25),
    "empty": ("png", lambda d, r: b"", 25),
    "jpeg_as_png": ("png", lambda d, r: _jpeg(Image.open(io.BytesIO(d)).convert("RGB")), 20),
    "png_as_jpeg": ("jpg", lambda d, r: _png(Image.open(io.BytesIO(d))), 20),
}


@dataclass
class Item:
    """One file of the set, and the truth about it."""

    name: str
    kind: str
    """What was planted: "clean", or a key of EDITS, QUALITY or DAMAGE, or "exact"."""
    family: int
    """Files of one family show the same."""
    written: bytes = field(repr=False, default=b"")
    """What is on disk; the clean bytes are what the record speaks of."""
    recorded: bytes = field(repr=False, default=b"")


def plan_set(images: int) -> list[tuple[str, int, str]]:
    """(kind, family, "png" or "jpg") for each file, scaled from the numbers above to `images`."""
    scale = images / 2_000
    out: list[tuple[str, int, str]] = []

    def some(count: int) -> int:
        return max(1, round(count * scale))

    def kind_of(n: int) -> str:
        return "png" if n % 2 else "jpg"

    broken = [(kind, type_) for kind, (type_, _, count) in DAMAGE.items() for _ in range(some(count))]
    poor = [(kind, kind_of(n)) for kind, (_, count, _) in QUALITY.items() for n in range(some(count))]
    out += [(kind, family, type_) for family, (kind, type_) in enumerate(broken + poor, start=1)]
    family = len(out)
    copies = [("exact", n) for n in range(some(EXACT))]
    copies += [(kind, n) for kind, (_, count) in EDITS.items() for n in range(some(count))]
    first = family + 1
    clean = max(images - len(out) - len(copies), len(copies))
    out += [("clean", first + n, kind_of(n)) for n in range(clean)]
    out += [(kind, first + n, kind_of(n)) for n, (kind, _) in enumerate(copies)]
    return out


def make_item(number: int, kind: str, family: int, type_: str, size: int) -> Item:
    """One file; depends on nothing but its arguments."""
    rng = np.random.default_rng([11, number])
    image = scene(family, size)
    encode = _png if type_ == "png" else _jpeg
    if kind in EDITS:
        image = EDITS[kind][0](image, rng)
    elif kind in QUALITY:
        image = QUALITY[kind][0](image, rng)
    data = encode(image)
    damaged = DAMAGE[kind][1](data, rng) if kind in DAMAGE else data
    return Item(f"p{number:05d}.{type_}", kind, family, damaged, data)


def write_set(folder: Path, images: int, size: int, threads: int = 2) -> list[dict[str, Any]]:
    """The files, and truth.json beside them; returns what truth.json holds."""
    (folder / "images").mkdir(parents=True, exist_ok=True)

    def one(job: tuple[int, tuple[str, int, str]]) -> dict[str, Any]:
        number, (kind, family, type_) = job
        item = make_item(number, kind, family, type_, size)
        (folder / "images" / item.name).write_bytes(item.written)
        with Image.open(io.BytesIO(item.recorded)) as opened:
            width, height = opened.size
        return {
            "name": item.name, "kind": item.kind, "family": item.family,
            "sha256": hashlib.sha256(item.recorded).hexdigest(), "size_bytes": len(item.recorded),
            "mime_type": "image/png" if type_ == "png" else "image/jpeg", "width": width, "height": height,
        }  # fmt: skip

    with ThreadPoolExecutor(threads) as pool:
        truth = list(pool.map(one, enumerate(plan_set(images), start=1)))
    (folder / "truth.json").write_text(json.dumps(truth))
    return truth


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=2_000)
    parser.add_argument("--size", type=int, default=512)
    args = parser.parse_args()
    truth = write_set(args.folder, args.images, args.size)
    print(f"{len(truth)} files in {args.folder}")


if __name__ == "__main__":
    main()
