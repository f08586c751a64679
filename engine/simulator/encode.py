"""Pixels to files: a PNG writer that is several times quicker than Pillow's on flat drawings, and JPEG."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO

import numpy as np
from PIL import Image

from engine.simulator.marks import JPEG_HEAD_BYTES, jpeg_marks, png_chunk, png_marks

_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def ihdr(width: int, height: int) -> bytes:
    """Signature and IHDR of an 8-bit RGB PNG."""
    return _SIGNATURE + png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))


def idat(image: Image.Image, level: int) -> bytes:
    """The picture's pixels as one IDAT chunk, every row filtered by the one above (Up)."""
    pixels = np.asarray(image).reshape(image.height, -1)
    rows = np.empty((image.height, 1 + pixels.shape[1]), np.uint8)
    rows[:, 0] = 2
    rows[0, 1:] = pixels[0]
    np.subtract(pixels[1:], pixels[:-1], out=rows[1:, 1:])
    packer = zlib.compressobj(level, zlib.DEFLATED, 15, 9)
    return png_chunk(b"IDAT", packer.compress(rows.data) + packer.flush())


def png(image: Image.Image, prompt: str, *, level: int = 1) -> bytes:
    """The RGB picture as a PNG that says of itself that it is simulated."""
    return ihdr(image.width, image.height) + png_marks(prompt) + idat(image, level) + png_chunk(b"IEND", b"")


def jpeg(image: Image.Image, prompt: str, *, quality: int = 88) -> bytes:
    """The RGB picture as a JPEG that says of itself that it is simulated."""
    out = BytesIO()
    image.save(out, "JPEG", quality=quality)
    data = out.getvalue()
    return data[:JPEG_HEAD_BYTES] + jpeg_marks(prompt) + data[JPEG_HEAD_BYTES:]
