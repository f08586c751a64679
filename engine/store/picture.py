"""Is this a whole picture? Answered from its structure, without decoding a pixel.

Bytes decide, not the declared type. PNG: signature, header, the CRC of every chunk, up to IEND. JPEG:
every segment up to the scan, and the end marker at the end. WebP: the RIFF sizes and the frame header.
A torn download, an HTML page, a 1x1 answer and a decompression bomb all fail here, for well under a
millisecond; QA decodes later.
"""

from __future__ import annotations

import struct

from msgspec import Struct

from engine.store.crc import clear_registers, crc32

SIZE_BYTES_MAX = 64 << 20
PIXELS_MAX = 50_000_000
SIDE_PIXELS_MIN = 16
PADDING_BYTES_MAX = 4096
"""Zero bytes after the end that are let pass: some encoders pad to a block."""

_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}


class BadPicture(ValueError):
    """These bytes are no whole picture of a type and size that we keep. `str()` is the reason."""


class Picture(Struct, frozen=True):
    """What a whole picture says about itself."""

    mime_type: str
    width: int
    height: int
    suffix: str
    """With its dot."""


def check_picture(data: bytes | bytearray | memoryview) -> Picture:
    """The picture's type and dimensions; BadPicture with the reason if it is not whole, or not acceptable."""
    view = memoryview(data).cast("B")
    size = len(view)
    if size == 0:
        raise BadPicture("no bytes at all")
    if size > SIZE_BYTES_MAX:
        raise BadPicture(f"{size} bytes, more than the {SIZE_BYTES_MAX} that are allowed")
    head = bytes(view[:16])
    try:
        if head.startswith(_PNG):
            picture = _png(view)
        elif head.startswith(b"\xff\xd8\xff"):
            picture = _jpeg(view)
        elif head.startswith(b"RIFF") and head[8:12] == b"WEBP":
            picture = _webp(view)
        else:
            raise BadPicture(f"neither PNG, JPEG nor WebP; it begins with {_quoted(head)}")
    except (struct.error, IndexError) as error:
        raise BadPicture("cut off in the middle of its structure") from error
    if min(picture.width, picture.height) < SIDE_PIXELS_MIN:
        raise BadPicture(f"{picture.width}x{picture.height} pixels, smaller than {SIDE_PIXELS_MIN} on a side")
    if picture.width * picture.height > PIXELS_MAX:
        raise BadPicture(f"{picture.width}x{picture.height} pixels, more than the {PIXELS_MAX} that are allowed")
    return picture


def _png(view: memoryview) -> Picture:
    at, size = 8, len(view)
    width = height = 0
    has_pixels = False
    while True:
        if at + 12 > size:
            raise BadPicture(f"PNG cut off after {size} bytes: no IEND")
        length, kind = struct.unpack_from(">I4s", view, at)
        end = at + 12 + length
        if end > size:
            raise BadPicture(f"PNG cut off after {size} bytes: the {_quoted(kind)} chunk at {at} ends at {end}")
        if crc32(view[at + 4 : end - 4]) != struct.unpack_from(">I", view, end - 4)[0]:
            raise BadPicture(f"PNG damaged: the {_quoted(kind)} chunk at {at} has a wrong CRC")
        if at == 8:
            if kind != b"IHDR" or length != 13:
                raise BadPicture("PNG without a header")
            width, height, depth, colour, compression, filtering, interlace = struct.unpack_from(">IIBBBBB", view, 16)
            if depth not in _PNG_DEPTHS.get(colour, ()) or compression or filtering or interlace > 1:
                raise BadPicture("PNG with an impossible header")
        elif kind == b"IDAT":
            has_pixels = has_pixels or length > 0
        elif kind == b"IEND":
            break
        at = end
    clear_registers()
    if not has_pixels:
        raise BadPicture("PNG without pixel data")
    _only_padding_after(view, end, "IEND")
    return Picture("image/png", width, height, ".png")


def _jpeg(view: memoryview) -> Picture:
    at, size = 2, len(view)
    width = height = 0
    while True:
        if view[at] != 0xFF:
            raise BadPicture(f"JPEG damaged: no marker at {at}")
        while view[at + 1] == 0xFF:  # fill bytes
            at += 1
        marker = view[at + 1]
        if marker == 0xD9:
            raise BadPicture("JPEG without pixel data")
        if marker == 0x01 or 0xD0 <= marker <= 0xD7:
            at += 2
            continue
        (length,) = struct.unpack_from(">H", view, at + 2)
        end = at + 2 + length
        if length < 2 or end > size:
            raise BadPicture(f"JPEG cut off after {size} bytes: segment {marker:02x} at {at} ends at {end}")
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", view, at + 5)
        at = end
        if marker == 0xDA:
            break
    if not width or not height:
        raise BadPicture("JPEG without dimensions")
    # In the scan FF is always followed by 00 or a restart marker, so a cut scan cannot end in FF D9.
    # What follows the first EOI may be another JPEG (a gain map): the last bytes decide.
    stop = size
    if view[stop - 1] == 0:
        stop -= len(tail := bytes(view[-PADDING_BYTES_MAX - 2 :])) - len(tail.rstrip(b"\0"))
    if stop - 2 <= at or bytes(view[stop - 2 : stop]) != b"\xff\xd9":
        raise BadPicture(f"JPEG cut off after {size} bytes: no end marker")
    return Picture("image/jpeg", width, height, ".jpg")


def _webp(view: memoryview) -> Picture:
    (riff,) = struct.unpack_from("<I", view, 4)
    end = 8 + riff
    if end > len(view):
        raise BadPicture(f"WebP cut off after {len(view)} bytes of {end}")
    at, dimensions, has_pixels = 12, None, False
    while at < end:
        kind, length = struct.unpack_from("<4sI", view, at)
        body, at = at + 8, at + 8 + length + (length & 1)
        if body + length > end:
            raise BadPicture(f"WebP damaged: the {_quoted(kind)} chunk at {body - 8} ends after the file")
        if kind == b"VP8X" and length >= 10:
            dimensions = (1 + _three(view, body + 4), 1 + _three(view, body + 7))
        elif kind == b"VP8 " and length > 10:
            if bytes(view[body + 3 : body + 6]) != b"\x9d\x01\x2a":
                raise BadPicture("WebP damaged: no frame header")
            width, height = struct.unpack_from("<HH", view, body + 6)
            dimensions, has_pixels = dimensions or (width & 0x3FFF, height & 0x3FFF), True
        elif kind == b"VP8L" and length > 5:
            if view[body] != 0x2F:
                raise BadPicture("WebP damaged: no frame header")
            (bits,) = struct.unpack_from("<I", view, body + 1)
            dimensions, has_pixels = dimensions or (1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)), True
        elif kind == b"ANMF":
            has_pixels = True
    if dimensions is None or not has_pixels:
        raise BadPicture("WebP without pixel data")
    _only_padding_after(view, end, "its end")
    return Picture("image/webp", *dimensions, ".webp")


def _three(view: memoryview, at: int) -> int:
    return int.from_bytes(view[at : at + 3], "little")


def _only_padding_after(view: memoryview, end: int, what: str) -> None:
    extra = len(view) - end
    if extra and (extra > PADDING_BYTES_MAX or any(view[end:])):
        raise BadPicture(f"{extra} bytes after {what}: not only a picture")


def _quoted(raw: bytes) -> str:
    return repr(raw)[1:]
