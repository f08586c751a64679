"""Hashes are imagehash's own, and find a picture's mirror image and crops."""

from __future__ import annotations

import io

import imagehash
import numpy as np
import pytest
from PIL import Image, ImageOps

from engine.qa.hashes import VARIANTS, phash, variant_hashes
from engine.qa.look import Expected, look_at


def looked(tmp_path, data: bytes, name: str):
    (tmp_path / name).write_bytes(data)
    return look_at(tmp_path, Expected(name, None, None, None, None, None))


def as_int(value: imagehash.ImageHash) -> int:
    return int(str(value), 16)


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P", "LA", "1"])
@pytest.mark.parametrize("size", [(256, 256), (320, 180), (97, 211), (1024, 768)])
def test_a_png_hashes_to_every_bit_of_imagehash(tmp_path, draw, encode, mode, size):
    data = encode(draw(sum(size), size).convert(mode))
    look = looked(tmp_path, data, "a.png")
    with Image.open(io.BytesIO(data)) as image:
        assert look.phash == as_int(imagehash.phash(image))


def test_many_pngs_hash_to_every_bit_of_imagehash(tmp_path, draw, encode):
    for seed in range(60):
        data = encode(draw(seed, (200 + seed, 200)))
        with Image.open(io.BytesIO(data)) as image:
            assert looked(tmp_path, data, "a.png").phash == as_int(imagehash.phash(image)), seed


def test_a_jpeg_hashes_as_imagehash_does_on_the_same_reduced_decode_and_near_the_full_one(tmp_path, draw, encode):
    apart = []
    for seed in range(30):
        data = encode(draw(seed, (1024, 1024)), "JPEG", quality=90)
        look = looked(tmp_path, data, "a.jpg")
        with Image.open(io.BytesIO(data)) as image:
            image.draft("YCbCr", (256, 256))
            assert look.phash == as_int(imagehash.phash(image))
        with Image.open(io.BytesIO(data)) as image:
            apart.append((look.phash ^ as_int(imagehash.phash(image))).bit_count())
    assert max(apart) <= 4
    assert np.mean(apart) < 1


def test_the_mirror_variant_is_the_hash_of_the_mirrored_picture(draw):
    picture = draw(3).convert("L")
    small = np.asarray(picture.resize((32, 32), Image.Resampling.LANCZOS))
    turned = np.asarray(ImageOps.mirror(picture).resize((32, 32), Image.Resampling.LANCZOS))
    variants = dict(zip(VARIANTS, variant_hashes(small, picture.size), strict=True))
    assert variants["plain"] == phash(small)
    assert (variants["mirror"] ^ phash(turned)).bit_count() <= 2


@pytest.mark.parametrize("size", [(512, 512), (768, 432)])
def test_a_crop_variant_is_near_the_hash_of_the_cropped_picture(draw, size):
    picture = draw(8, size).convert("L")
    small = np.asarray(picture.resize((32, 32), Image.Resampling.LANCZOS))
    variants = dict(zip(VARIANTS, variant_hashes(small, picture.size), strict=True))
    w, h = size
    cropped = picture.crop((w // 20, h // 20, w - w // 20, h - h // 20)).resize((32, 32), Image.Resampling.LANCZOS)
    hash_of_crop = phash(np.asarray(cropped))
    assert (variants["crop 0.90"] ^ hash_of_crop).bit_count() <= 6


@pytest.mark.parametrize("size", [(512, 512), (768, 512), (512, 768)])
@pytest.mark.parametrize("degrees", [-4, -2, 2, 4])
def test_a_turn_variant_is_near_the_hash_of_the_turned_picture(draw, degrees, size):
    """The picture is turned on a larger canvas and cut, as an editor does; the sign must be the same."""
    w, h = size
    picture = draw(11, size).convert("L")
    turned = picture.rotate(degrees, Image.Resampling.BICUBIC)
    share = np.tan(np.radians(abs(degrees))) / 2 * max(w / h, h / w)
    cut = turned.crop((share * w, share * h, w - share * w, h - share * h)).resize((32, 32), Image.Resampling.LANCZOS)
    small = np.asarray(picture.resize((32, 32), Image.Resampling.LANCZOS))
    variants = dict(zip(VARIANTS, variant_hashes(small, picture.size), strict=True))
    apart = {v: (h ^ phash(np.asarray(cut))).bit_count() for v, h in variants.items()}
    assert apart[f"rotate {degrees:+d}"] <= 6
    assert apart[f"rotate {degrees:+d}"] < apart[f"rotate {-degrees:+d}"]
