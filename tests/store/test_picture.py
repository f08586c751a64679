"""What counts as a whole picture: judged by structure, refused with the reason."""

from __future__ import annotations

import io
import struct
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from engine.store import BadPicture, check_picture
from engine.store.picture import SIZE_BYTES_MAX

Kit = Any


@pytest.mark.parametrize(
    ("kind", "options", "mime_type", "suffix"),
    [
        ("PNG", {}, "image/png", ".png"),
        ("JPEG", {}, "image/jpeg", ".jpg"),
        ("JPEG", {"progressive": True, "quality": 90}, "image/jpeg", ".jpg"),
        ("JPEG", {"restart_marker_blocks": 1}, "image/jpeg", ".jpg"),
        ("JPEG", {"exif": b"Exif\0\0" + b"\xff\xd9" * 20, "comment": b"\xff\xd9"}, "image/jpeg", ".jpg"),
        ("WEBP", {}, "image/webp", ".webp"),
        ("WEBP", {"lossless": True}, "image/webp", ".webp"),
        ("WEBP", {"exif": b"Exif\0\0x"}, "image/webp", ".webp"),
    ],
)
def test_a_whole_picture_tells_its_type_and_size(
    kit: Kit, kind: str, options: dict[str, Any], mime_type: str, suffix: str
) -> None:
    data = kit.a_picture(1, 40, kind, **options)
    for same in (data, bytearray(data), memoryview(data)):
        picture = check_picture(same)
        assert (picture.mime_type, picture.suffix, picture.width, picture.height) == (mime_type, suffix, 40, 40)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_every_kind_of_png_that_pillow_writes_is_accepted(mode: str) -> None:
    out = io.BytesIO()
    Image.new(mode, (33, 20)).save(out, "PNG")
    assert (check_picture(out.getvalue()).width, check_picture(out.getvalue()).height) == (33, 20)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_picture_cut_anywhere_is_refused(kit: Kit, kind: str) -> None:
    data = kit.a_picture(2, 24, kind)
    for end in range(len(data)):
        with pytest.raises(BadPicture):
            check_picture(data[:end])


def test_any_flipped_bit_in_a_png_is_noticed(kit: Kit) -> None:
    data = kit.a_picture(3, 16)
    for place in range(len(data)):
        flipped = bytearray(data)
        flipped[place] ^= 1 << place % 8
        with pytest.raises(BadPicture):
            check_picture(flipped)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF\x40\0\0\0WEBP"]), st.binary(max_size=300))
def test_no_bytes_whatever_end_in_another_error(head: bytes, noise: bytes) -> None:
    with pytest.raises(BadPicture):
        check_picture(head + noise)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "no bytes at all"),
        (b"<!DOCTYPE html><html>sign in</html>", "neither PNG, JPEG nor WebP; it begins with '<!DOCTYPE html>"),
        (b"GIF89a" + bytes(100), "neither PNG"),
        (bytes(1000), "neither PNG"),
    ],
)
def test_what_is_no_picture_is_refused_with_the_reason(data: bytes, reason: str) -> None:
    with pytest.raises(BadPicture, match=reason):
        check_picture(data)


def test_tiny_and_bomb_sized_pictures_are_refused(kit: Kit) -> None:
    with pytest.raises(BadPicture, match="1x1 pixels, smaller than 16"):
        check_picture(kit.a_picture(0, 1))
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    bomb = kit.png_with((b"IHDR", header), (b"IDAT", b"x"), (b"IEND", b""))
    with pytest.raises(BadPicture, match="60000x60000 pixels, more than"):
        check_picture(bomb)
    with pytest.raises(BadPicture, match="more than the 67108864 that are allowed"):
        check_picture(kit.a_picture() + bytes(SIZE_BYTES_MAX))


def test_impossible_and_empty_pngs_are_refused(kit: Kit) -> None:
    good = struct.pack(">IIBBBBB", 20, 20, 8, 2, 0, 0, 0)
    for header in (b"\0" * 13, good[:-1] + b"\7", struct.pack(">IIBBBBB", 20, 20, 3, 2, 0, 0, 0)):
        with pytest.raises(BadPicture):
            check_picture(kit.png_with((b"IHDR", header), (b"IDAT", b"x"), (b"IEND", b"")))
    with pytest.raises(BadPicture, match="without pixel data"):
        check_picture(kit.png_with((b"IHDR", good), (b"IEND", b"")))
    with pytest.raises(BadPicture, match="without a header"):
        check_picture(kit.png_with((b"IDAT", good), (b"IEND", b"")))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_zero_padding_at_the_end_is_let_pass_and_anything_else_is_not(kit: Kit, kind: str) -> None:
    data = kit.a_picture(4, 24, kind)
    assert check_picture(data + bytes(100)) == check_picture(data)
    with pytest.raises(BadPicture):
        check_picture(data + bytes(5000))
    with pytest.raises(BadPicture):
        check_picture(data + b"PK\3\4 and a zip file")


def test_a_second_jpeg_behind_the_first_is_part_of_the_picture(kit: Kit) -> None:
    """Gain maps come that way."""
    assert check_picture(kit.a_picture(1, 24, "JPEG") + kit.a_picture(2, 16, "JPEG")).width == 24


def test_a_picture_of_usual_size_is_checked_in_a_blink(kit: Kit) -> None:
    data = kit.a_picture(5, 700)
    assert len(data) > 1_400_000
    best_s = min(_time(lambda: check_picture(data)) for _ in range(5))
    assert best_s < 0.005  # 0.35 ms on the machine of benchmarks/results.md


def _time(call: Any) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started
