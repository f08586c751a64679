"""Marks inside picture files: what made them, and of what.

A picture says of itself that the simulator drew it (PNG text, EXIF and JPEG comment) and for which
prompt; a simulated model that is shown the picture later reads that instead of looking at it.
"""

from __future__ import annotations

import struct
import zlib

import pybase64

SOFTWARE = "groundswell simulator"
PNG_HEAD_BYTES = 33
"""Signature and IHDR: what precedes the first chunk we may insert; a multiple of three, as base64 likes it."""
JPEG_HEAD_BYTES = 20
"""SOI and the JFIF segment as Pillow writes them; what precedes the first segment we may insert."""
_PROMPT_MAX = 1500
_SCAN_BYTES = 6144


def png_chunk(kind: bytes, data: bytes) -> bytes:
    """One PNG chunk: length, kind, data, CRC."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(data, zlib.crc32(kind)))


def png_marks(prompt: str) -> bytes:
    """The chunks that mark a PNG as simulated and name its prompt."""
    description = b"Description\0\0\0\0\0" + prompt[:_PROMPT_MAX].encode(errors="replace")
    return (
        png_chunk(b"tEXt", b"Software\0" + SOFTWARE.encode())
        + png_chunk(b"tEXt", b"Source\0simulated, no model was asked")
        + png_chunk(b"iTXt", description)
    )


def jpeg_segment(marker: int, data: bytes) -> bytes:
    """One JPEG segment: marker, length, data."""
    return struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data


def jpeg_marks(prompt: str) -> bytes:
    """EXIF with the software's name, and a comment that names the prompt."""
    software = SOFTWARE.encode() + b"\0"
    # One IFD with one ASCII entry (0x0131, Software), its text right behind the directory.
    ifd = struct.pack(">HHHIII", 1, 0x0131, 2, len(software), 26, 0)
    exif = b"Exif\0\0MM\0\x2a\0\0\0\x08" + ifd + software
    return jpeg_segment(0xE1, exif) + jpeg_segment(
        0xFE, b"Description\0" + prompt[:_PROMPT_MAX].encode(errors="replace")
    )


def read_prompt(data: str) -> str | None:
    """The prompt a simulated picture was drawn for, from its base64; None for any other picture."""
    head_length = min(len(data) & ~3, _SCAN_BYTES)
    try:
        head = pybase64.b64decode(data[:head_length], altchars=b"-_" if "-" in data or "_" in data else None)
    except ValueError:
        return None
    if SOFTWARE.encode() not in head:
        return None
    start = head.find(b"Description\0")
    if start < 4:
        return None
    if head[:4] == b"\x89PNG":
        (length,) = struct.unpack_from(">I", head, start - 8)
        return head[start + 16 : start + length].decode(errors="replace")
    (length,) = struct.unpack_from(">H", head, start - 2)
    return head[start + 12 : start + length - 2].decode(errors="replace")
