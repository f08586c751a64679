"""Decoding a whole picture: Pillow's pixels, PNG in two thirds of Pillow's time, JPEG in a little less than all of it.

Two thirds of what a PNG takes is inflating it, which Pillow's wheels for Linux leave to the system's zlib. ISA-L takes
half of that. So pixel data is inflated here, and Pillow reads it as the same stream without compression: all else it
does as always, the sum over all pixels too. Whatever goes wrong is Pillow's again from the beginning, so that
a damaged file is found, and said to be damaged, as without this.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import struct
from collections.abc import Iterator
from typing import Any

from PIL import Image, JpegImagePlugin, PngImagePlugin

_isal: Any = None
with contextlib.suppress(ImportError):  # no wheel for this machine: Pillow alone is as right, and slower
    _isal = importlib.import_module("isal.isal_zlib")

_PIECE = 1 << 14
"""Compressed bytes at a time: what they become stays in the nearest caches. Also bounds what a bomb becomes."""
_BLOCK = 65_535
_END = b"\x01\x00\x00\xff\xff"


def opened(data: bytes) -> Image.Image:
    """The picture, its pixels not yet decoded. Raises what Pillow raises."""
    return Image.open(io.BytesIO(data), formats=("PNG", "JPEG", "WEBP"))


def decoded(image: Image.Image, data: bytes, side_px: int) -> Image.Image:
    """`image`, as `opened`, with all its pixels; a JPEG no larger than `side_px` needs. Raises what Pillow raises."""
    if _isal is not None and isinstance(image, PngImagePlugin.PngImageFile) and not image.is_animated:
        if _inflated(image, data):
            return image
        image = opened(data)
    elif isinstance(image, JpegImagePlugin.JpegImageFile) and image.format == "JPEG":
        image.draft("YCbCr", (side_px, side_px))  # every byte of the scan is still parsed
        with contextlib.suppress(ValueError):
            return _at_once(image, data)
    image.load()
    return image


def _at_once(image: JpegImagePlugin.JpegImageFile, data: bytes) -> Image.Image:
    """The picture as it would be loaded, but not from copies of a part of the file at a time. ValueError: load it."""
    codec, _, _, options = image.tile[0]
    if not isinstance(options, tuple):
        raise ValueError(options)
    return Image.frombytes(image.mode, image.size, data, codec, *options, *(image.decoderconfig or ()))


def _inflated(image: PngImagePlugin.PngImageFile, data: bytes) -> bool:
    """Whether the picture is now loaded, from pixels inflated here."""
    pieces = _without_compression(data)
    image.load_read = lambda read_bytes: next(pieces, b"")
    try:
        image.load()
    except (_isal.error, OSError, SyntaxError, ValueError):
        return False
    return True


def _without_compression(data: bytes) -> Iterator[bytes]:
    """The zlib stream of a PNG's pixels, in blocks that are not compressed."""
    packed = _packed(data)
    # Raw: to sum up, ISA-L would leave vector registers in a state in which all that follows runs at a third.
    stream = _isal.decompressobj(-15)
    held = bytes(packed[:2])
    for at in range(2, len(packed), _PIECE):
        rows = stream.decompress(packed[at : at + _PIECE])
        for start in range(0, len(rows), _BLOCK):
            yield held
            block = rows[start : start + _BLOCK]
            held = struct.pack("<BHH", 0, len(block), len(block) ^ 0xFFFF) + block
        if stream.eof:
            # The sum comes with the last rows, or Pillow would not look at it.
            yield held + _END + stream.unused_data + packed[at + _PIECE : at + _PIECE + 4]
            return


def _packed(data: bytes) -> bytes | memoryview:
    """The same stream as it is in the file, whose structure was found whole."""
    view, parts, at = memoryview(data), list[memoryview](), 8
    while at < len(view):
        length, kind = struct.unpack_from(">I4s", view, at)
        if kind == b"IDAT":
            parts.append(view[at + 8 : at + 8 + length])
        elif parts:
            break
        at += 12 + length
    return parts[0] if len(parts) == 1 else b"".join(parts)
