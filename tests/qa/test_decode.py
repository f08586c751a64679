"""Pictures inflated here are Pillow's to the last pixel, and what Pillow says of damaged ones is said."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable

import pytest
from PIL import Image

from engine.qa import decode

Draw = Callable[..., Image.Image]
Encode = Callable[..., bytes]
SIGNATURE = b"\x89PNG\r\n\x1a\n"


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_of(stream: bytes, size: tuple[int, int], *, piece: int = 1 << 20, colour: int = 2) -> bytes:
    """A PNG of pixels that are already a zlib stream, in chunks of `piece` bytes."""
    pieces = [stream[at : at + piece] for at in range(0, len(stream), piece)]
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", *size, 8, colour, 0, 0, 0))
    return SIGNATURE + header + b"".join(chunk(b"IDAT", p) for p in pieces) + chunk(b"IEND", b"")


def rows_of(image: Image.Image) -> bytes:
    """Unfiltered."""
    row = image.width * len(image.mode)
    pixels = image.tobytes()
    return b"".join(b"\0" + pixels[at : at + row] for at in range(0, len(pixels), row))


def pillows(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def ours(data: bytes) -> Image.Image:
    return decode.decoded(decode.opened(data), data, 256)


@pytest.fixture
def inflated(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each picture was inflated here."""
    pytest.importorskip("isal")
    told: list[bool] = []
    original = decode._inflated

    def watched(*args: object) -> bool:
        told.append(original(*args))  # pyright: ignore[reportArgumentType]
        return told[-1]

    monkeypatch.setattr(decode, "_inflated", watched)
    return told


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1", "I;16"])
def test_pixels_of_each_kind_of_png_are_pillows(draw: Draw, encode: Encode, inflated: list[bool], mode: str) -> None:
    for seed, size in enumerate([(300, 200), (16, 900), (1024, 64)]):
        picture = draw(seed, size)
        data = encode(picture.convert("L").convert(mode) if mode == "I;16" else picture.convert(mode))
        assert ours(data).tobytes() == pillows(data).tobytes()
    assert all(inflated)


@pytest.mark.parametrize("level", [0, 1, 9])
@pytest.mark.parametrize("piece", [1, 7, 8192, 1 << 20])
def test_pixel_data_may_come_in_chunks_of_any_size(draw: Draw, inflated: list[bool], level: int, piece: int) -> None:
    picture = draw(3, (128, 96))
    data = png_of(zlib.compress(rows_of(picture), level), picture.size, piece=piece)
    assert ours(data).tobytes() == picture.tobytes()
    assert inflated == [True]


def test_an_interlaced_picture_is_pillows(inflated: list[bool]) -> None:
    """Seven passes over 16 x 16 grey pixels, each of its own size."""
    passes = [(2, 2), (2, 2), (4, 2), (4, 4), (8, 4), (8, 8), (16, 8)]
    rows = b"".join(b"\0" + bytes((w * h + n) % 256 for n in range(w)) for w, h in passes for _ in range(h))
    data = png_of(zlib.compress(rows), (16, 16), colour=0)
    data = data[:28] + b"\x01" + data[29:]  # Adam7
    data = data[:29] + struct.pack(">I", zlib.crc32(data[12:29])) + data[33:]
    assert ours(data).tobytes() == pillows(data).tobytes()
    assert inflated == [True]


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "sum": lambda stream: stream[:-1] + bytes([stream[-1] ^ 1]),
    "no sum": lambda stream: stream[:-4],
    "head": lambda stream: b"\x79" + stream[1:],
    "half": lambda stream: stream[: len(stream) // 2],
    "bit": lambda stream: stream[:900] + bytes([stream[900] ^ 64]) + stream[901:],
    "nothing": lambda stream: b"",
    "more": lambda stream: stream + b"more",
    "too few rows": lambda stream: zlib.compress(zlib.decompress(stream)[:-500]),
    "too many rows": lambda stream: zlib.compress(zlib.decompress(stream) * 2),
    "no such filter": lambda stream: zlib.compress(b"\x09" + zlib.decompress(stream)[1:]),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_pixel_data_with_damage_that_no_chunk_tells_is_judged_as_pillow_judges_it(draw: Draw, damage: str) -> None:
    picture = draw(4, (160, 120))
    data = png_of(DAMAGE[damage](zlib.compress(rows_of(picture))), picture.size)

    def outcome(work: Callable[[bytes], Image.Image]) -> tuple[str, object]:
        try:
            return "pixels", work(data).tobytes()
        except (OSError, SyntaxError, ValueError) as error:
            return type(error).__name__, str(error)

    assert outcome(ours) == outcome(pillows)


@pytest.mark.parametrize(
    "options", [{"quality": 92}, {"subsampling": 0}, {"progressive": True}, {"restart_marker_rows": 1}]
)
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_jpeg_is_pillows_reduced_decode(draw: Draw, encode: Encode, mode: str, options: dict[str, int]) -> None:
    for size in ((1024, 700), (90, 300)):
        data = encode(draw(7, size).convert(mode), "JPEG", **options)
        expected = Image.open(io.BytesIO(data))
        expected.draft("YCbCr", (256, 256))
        found = ours(data)
        assert (found.mode, found.size, found.tobytes()) == (expected.mode, expected.size, expected.tobytes())


def test_half_a_jpeg_is_said_to_be_truncated(draw: Draw, encode: Encode) -> None:
    data = encode(draw(8, (512, 512)), "JPEG")
    with pytest.raises(OSError, match="truncated"):
        ours(data[: len(data) // 2])


def test_a_picture_that_moves_and_a_machine_without_isal_are_pillows(
    draw: Draw, encode: Encode, monkeypatch: pytest.MonkeyPatch
) -> None:
    moving = encode(draw(1), save_all=True, append_images=[draw(2)])
    assert ours(moving).tobytes() == pillows(moving).tobytes()
    monkeypatch.setattr(decode, "_isal", None)
    still = encode(draw(1))
    assert ours(still).tobytes() == pillows(still).tobytes()
