"""Reference pictures made safe to send: inside their folder, with consent and licence, without a trace.

A picture is decoded and encoded anew, so that no EXIF, GPS, XMP, IPTC or colour profile survives,
and made no larger than 1024 pixels. The cache keeps which original became which picture, so that a
later session with another encoder sends the very same bytes.
"""

from __future__ import annotations

import hashlib
import io
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import orjson
from msgspec import Struct
from PIL import Image, ImageOps

from engine.core.context import Guide
from engine.errors import SourceError
from engine.sources.files import read_bytes
from schemas.prompt import Reference

SUFFIXES: Final = frozenset([".png", ".jpg", ".jpeg", ".webp"])
PIXELS_MAX: Final = 50_000_000
SIDE_MAX: Final = 1024
_BYTES_MAX: Final = 64 << 20
_PROBLEMS_MAX: Final = 20
_QUALITY: Final = 90
_NO_LICENCE: Final = frozenset(["", "unknown", "none", "n/a", "na", "not known", "unlicensed"])


class Wanted(Struct, frozen=True):
    """The picture an item names, and what its owner allowed."""

    item: int
    path: str
    consent: bool
    licence: str


def attached(items: Sequence[tuple[Guide, Wanted | None]], root: Path, cache_dir: Path | None) -> list[Guide]:
    """The guides with sanitised pictures. SourceError lists every item that may not or cannot be sent."""
    problems = [told for _, wanted in items if wanted is not None and (told := _refusal(wanted))]
    if problems:
        raise _refused(problems)
    cache = _Cache(cache_dir)
    guides: list[Guide] = []
    for guide, wanted in items:
        if wanted is None:
            continue
        try:
            guides.append(msgspec.structs.replace(guide, reference=cache.reference(inside(root, wanted.path))))
        except SourceError as error:
            problems.append(f"item {wanted.item}: {error}")
    if problems:
        raise _refused(problems)
    cache.keep()
    return guides


def inside(root: Path, name: str) -> Path:
    """A picture's path under `root`: no way out of it, no symlink on the way, an allowed suffix."""
    if "\0" in name or not name.strip():
        raise SourceError("the path of the picture is not usable")
    path = root / name
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise SourceError(f"{name} lies outside {root}; keep pictures beside their list")
    if path.is_symlink() or any(p.is_symlink() for p in path.parents if p != root and p.is_relative_to(root)):
        raise SourceError(f"{name} is a symbolic link; copy the picture itself")
    if not path.resolve().is_relative_to(root.resolve()):
        raise SourceError(f"{name} lies outside {root}; keep pictures beside their list")
    if not path.is_file():
        raise SourceError(f"{name} is not there")
    if path.suffix.lower() not in SUFFIXES:
        raise SourceError(f"{name} is no PNG, JPEG or WebP picture")
    return path


def sanitised(data: bytes, name: str) -> bytes:
    """The picture as a new JPEG of at most 1024 pixels, upright, with nothing but its pixels."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data), formats=("PNG", "JPEG", "WEBP")) as opened:
                if opened.width * opened.height > PIXELS_MAX:
                    raise SourceError(
                        f"{name} has {opened.width}x{opened.height} pixels; at most {PIXELS_MAX:,} are read"
                    )
                opened.draft("RGB", (SIDE_MAX, SIDE_MAX))
                upright = ImageOps.exif_transpose(opened)
                upright.thumbnail((SIDE_MAX, SIDE_MAX), Image.Resampling.LANCZOS)
                flat = Image.new("RGB", upright.size, "white")
                if upright.mode in ("RGBA", "LA", "PA") or "transparency" in upright.info:
                    rgba = upright.convert("RGBA")
                    flat.paste(rgba, mask=rgba.getchannel("A"))
                else:
                    flat.paste(upright.convert("RGB"))
    except SourceError:
        raise
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise SourceError(f"{name} is no picture that can be read: {error}") from error
    out = io.BytesIO()
    flat.save(out, "JPEG", quality=_QUALITY, optimize=True)
    return out.getvalue()


class _Cache:
    """Sanitised pictures by digest of their originals; in memory only without a folder."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._index: dict[str, str] = {}
        if folder is not None and (folder / "index.json").is_file():
            try:
                loaded: Any = orjson.loads((folder / "index.json").read_bytes())
                self._index = {str(k): str(v) for k, v in loaded.items()}
            except (orjson.JSONDecodeError, AttributeError):
                self._index = {}

    def reference(self, path: Path) -> Reference:
        data = read_bytes(path, _BYTES_MAX)
        original = hashlib.sha256(data).hexdigest()
        known = self._known(original)
        if known is not None:
            return known
        safe = sanitised(data, path.name)
        sha256 = hashlib.sha256(safe).hexdigest()
        self._index[original] = sha256
        if self._folder is None:
            return Reference(path="", sha256=sha256, mime_type="image/jpeg")
        target = self._folder / f"{sha256}.jpg"
        _write(target, safe)
        return Reference(path=str(target), sha256=sha256, mime_type="image/jpeg")

    def _known(self, original: str) -> Reference | None:
        sha256 = self._index.get(original)
        if sha256 is None or self._folder is None:
            return None
        target = self._folder / f"{sha256}.jpg"
        if not target.is_file() or hashlib.sha256(target.read_bytes()).hexdigest() != sha256:
            return None
        return Reference(path=str(target), sha256=sha256, mime_type="image/jpeg")

    def keep(self) -> None:
        if self._folder is not None and self._index:
            _write(self._folder / "index.json", orjson.dumps(self._index, option=orjson.OPT_SORT_KEYS))


def _write(target: Path, data: bytes) -> None:
    """Whole or not at all."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f".{target.name}.{os.getpid()}.part")
        part.write_bytes(data)
        part.replace(target)
    except OSError as error:
        raise SourceError(f"{target} cannot be written: {error.strerror or error}") from error


def _refusal(wanted: Wanted) -> str:
    """What the owner of a picture has not allowed; "" if all is well."""
    licence = wanted.licence.lower().strip(" ?.") not in _NO_LICENCE
    lacks = " and ".join(w for w, given in (("consent: true", wanted.consent), ("a licence", licence)) if not given)
    return f"item {wanted.item}: {lacks} is missing" if lacks else ""


def _refused(problems: Sequence[str]) -> SourceError:
    shown = list(problems[:_PROBLEMS_MAX])
    if len(problems) > _PROBLEMS_MAX:
        shown.append(f"and {len(problems) - _PROBLEMS_MAX} more")
    return SourceError(
        "source_data.social_media: in mode images each picture needs consent and a licence and must be readable; "
        "complete the items, or set mode: text\n" + "\n".join(shown)
    )
