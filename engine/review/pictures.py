"""Picture bytes for the page: by image id only, from inside the run only, small copies on demand.

The log names a file; this module still trusts no path. What is served was opened below the run's
folder without following a single link.
"""

from __future__ import annotations

import io
import os
import stat
import struct
import threading
import warnings
from contextlib import suppress
from pathlib import Path, PurePosixPath

from PIL import Image, ImageOps

from schemas.outcome import Asset

__all__ = ["MIME_TYPES", "PictureMissing", "Pictures", "read_inside"]

MIME_TYPES = frozenset({"image/png", "image/jpeg", "image/webp"})
SIZES_PX = (192, 384, 1024)
"""Longest sides that copies come in."""
PIXELS_MAX = 50_000_000
BYTES_MAX = 64 << 20
DECODES_AT_ONCE = 2
"""A decode of 4K holds 50 MB; more at once would win nothing on a laptop."""

BROKEN = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    IndexError,
    TypeError,
    KeyError,
    struct.error,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)
"""What Pillow's decoders raise on bytes that are no whole picture."""


class PictureMissing(LookupError):
    """The file of a logged image is gone, is a link, lies elsewhere, or is no picture."""


def read_inside(root: Path, relative: str) -> bytes:
    """The bytes of a file below `root`. Raises PictureMissing for links, for `..`, for what is no file."""
    parts = PurePosixPath(relative).parts
    if not parts or relative.startswith("/") or "\\" in relative or any(part in {"..", "."} for part in parts):
        raise PictureMissing(relative)
    folder = -1
    try:
        folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        for part in parts[:-1]:
            below = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
            os.close(folder)
            folder = below
        # O_NONBLOCK: a named pipe in the place of a picture must not hold a thread for ever.
        fd = os.open(parts[-1], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
        with os.fdopen(fd, "rb") as file:
            about = os.fstat(fd)
            if not stat.S_ISREG(about.st_mode) or about.st_size > BYTES_MAX:
                raise PictureMissing(relative)
            return file.read()
    except OSError as error:
        raise PictureMissing(relative) from error
    finally:
        if folder >= 0:
            os.close(folder)


class Pictures:
    """Originals and small copies of a run's images. Copies are kept in qa/thumbs, rebuilt at will."""

    def __init__(self, root: Path, cache: Path) -> None:
        self._root = root
        self._cache = cache
        self._decoding = threading.Semaphore(DECODES_AT_ONCE)

    def original(self, asset: Asset) -> bytes:
        """The picture as it was received."""
        if asset.mime_type not in MIME_TYPES:
            raise PictureMissing(asset.path)
        return read_inside(self._root, asset.path)

    def small(self, asset: Asset, size_px: int) -> bytes:
        """A JPEG copy with a longest side of `size_px`, one of SIZES_PX."""
        if size_px not in SIZES_PX:
            raise PictureMissing(asset.path)
        kept = self._cache / str(size_px) / asset.sha256[:2] / f"{asset.sha256}.jpg"
        with suppress(OSError):
            return kept.read_bytes()
        data = self.original(asset)
        with self._decoding:
            copy = shrink(data, size_px)
        # A cache that cannot be written is no reason to show nothing.
        with suppress(OSError):
            kept.parent.mkdir(parents=True, exist_ok=True)
            part = kept.with_name(f".{kept.name}.{os.getpid()}.{threading.get_ident()}")
            part.write_bytes(copy)
            part.replace(kept)
        return copy


def shrink(data: bytes, size_px: int) -> bytes:
    """A JPEG copy of picture bytes. Raises PictureMissing when they are no picture."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data), formats=("PNG", "JPEG", "WEBP")) as picture:
                if picture.width * picture.height > PIXELS_MAX:
                    raise PictureMissing("too many pixels")
                picture.draft("RGB", (size_px, size_px))
                upright = ImageOps.exif_transpose(picture)
                flat = upright.convert("RGBA") if upright.mode in {"P", "LA", "PA", "RGBA"} else upright
                if flat.mode == "RGBA":
                    ground = Image.new("RGB", flat.size, (128, 128, 128))
                    ground.paste(flat, mask=flat.getchannel("A"))
                    flat = ground
                flat = flat.convert("RGB")
                flat.thumbnail((size_px, size_px), Image.Resampling.BILINEAR, reducing_gap=2.0)
                out = io.BytesIO()
                flat.save(out, "JPEG", quality=82, optimize=False)
                return out.getvalue()
    except BROKEN as error:
        raise PictureMissing(str(error)) from error
