"""Visual references: descriptions that guide a prompt, scrubbed of whoever and wherever they were about.

Text is the default. Pictures are sent along only in mode images, and only with consent and a
licence for each (engine.sources.pictures).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import orjson

from engine.core.context import Guide
from engine.core.wording import clipped
from engine.errors import SourceError
from engine.sources import pictures
from engine.sources.atropia import sampled
from engine.sources.files import (
    bundled,
    clean,
    csv_rows,
    decoded,
    existing,
    json_rows,
    read_bytes,
    sha256_of,
    sha256_of_all,
    walk,
)
from engine.sources.models import Origin
from schemas.config import SocialMedia

ITEMS_MAX: Final = 1_000_000
_WORDS_MAX: Final = 80
_TABLES: Final = frozenset([".json", ".jsonl", ".ndjson", ".csv", ".tsv"])
_SIDECARS: Final = frozenset([".txt", ".json"])
_DESCRIPTIONS: Final = ("description", "caption", "text", "alt_text", "title")
_PATHS: Final = ("path", "file_name", "filename", "image", "image_path", "uri")
_GRAPHIC: Final = re.compile(
    r"\b(?:poster|info ?-?graphic|graphic|illustration|cartoon|drawing|comic|meme|screen ?-?shot|flyer|leaflet|logo"
    r"|typograph\w*|text overlay|digital (?:image|art)|social media post|slide|carousel"
    r"|comment thread|chart|diagram)\b",
    re.IGNORECASE,
)
_MADE: Final = "[Pp]hoto(?:graph)?|[Ii]mage|[Pp]icture|[Pp]ic|[Vv]ideo|[Dd]esign"
_NAME: Final = r"(?:[A-Z](?:\.|[\w'’-]*)(?:\s+|$|(?=[).,;]))){1,4}"
_SCRUBS: Final = (
    (re.compile(r"(?:https?://|www\.)\S+", re.I), ""),
    (re.compile(r"\b[\w.+-]+@[\w-]+\.[\w.-]+\b"), ""),
    (re.compile(r"(?<![\w])@[\w.@]{2,}"), ""),
    (re.compile(r"#(\w+)"), r" \1"),
    (re.compile(r"\+?\d[\d ()./-]{7,}\d"), ""),
    (re.compile(r"[-+]?\d{1,3}\.\d{3,}\s*°?\s*[NSEW]?\s*,\s*[-+]?\d{1,3}\.\d{3,}\s*°?\s*[NSEW]?", re.I), ""),
    (re.compile(r"\d{1,3}°\s*\d{1,2}['′][^,;.]{0,20}[NSEW]\b", re.I), ""),
    (re.compile(rf"\(?\b(?:(?:{_MADE})\s+)?(?:credits?|courtesy)\s*(?:of|by|to)?\s*:?\s*{_NAME}\)?"), ""),
    (re.compile(rf"\(?\b(?:{_MADE}|taken|drawn|painted|posted|reposted|shot)\s*(?:by|from|:)\s*{_NAME}\)?"), ""),
    (
        re.compile(
            r"\b(?:Mr|Mrs|Ms|Dr|Prof|President|Senator|Mayor|Governor|Minister|Rep)\.?\s+[A-Z][\w'’-]+(?:\s+[A-Z][\w'’-]+)?"
        ),
        "a speaker",
    ),
    (re.compile(r"\b(?:named|called|tagged|featuring|ft\.?)\s+[A-Z][\w'’-]+(?:\s+[A-Z][\w'’-]+)*"), ""),
    (re.compile(r"\b(?:at|in|from)\s+\d+\s+[A-Z][\w ]+(?:Street|St|Avenue|Ave|Road|Rd|Boulevard|Blvd)\b\.?"), ""),
    (re.compile(r"\(\s*\)|\[\s*\]|\"\s*\""), ""),
    (re.compile(r"\s+([,.;:!?])"), r"\1"),
    (re.compile(r"([,.;:])(?:\s*[,.;:])+"), r"\1"),
    (re.compile(r"\s{2,}"), " "),
)


def load(config: SocialMedia, base_dir: Path, seed: int, cache_dir: Path | None) -> tuple[list[Guide], Origin]:
    """The guides and where they came from. Raises SourceError when nothing usable is there."""
    if config.path is None:
        return _bundled(config, seed)
    path = existing(base_dir / config.path, "source_data.social_media.path")
    if path.is_dir():
        rows, found = _folder_rows(path)
        root, kind = path, "folder with sidecars"
        sha256 = sha256_of_all((str(f.relative_to(path)), sha256_of(f)) for f in found)
    else:
        if path.suffix.lower() not in _TABLES:
            raise SourceError(f"source_data.social_media.path: {path} is no JSON, JSONL, CSV or folder")
        rows = csv_rows(path) if path.suffix.lower() in (".csv", ".tsv") else json_rows(path)
        root, kind, sha256 = path.parent, f"{path.suffix.lower().lstrip('.').upper()} list", sha256_of(path)
    guides, scrubbed = _guides(rows, path)
    images = config.mode == "images"
    if images:
        guides = [guide for guide in guides if guide[1]]
    if not guides:
        lacking = "item with a picture" if images else "item with a description"
        raise SourceError(
            f"source_data.social_media.path: {path} has no {lacking}; "
            "give one, or leave the key out for the bundled guides"
        )
    limit = config.max_reference_images if images else config.max_descriptions
    kept = sampled(guides, limit, seed, "guide-sample")
    notes = [f"{scrubbed} descriptions had names, handles, links or places taken out"] if scrubbed else []
    if images:
        told, refused = (
            pictures.attached(kept, root, cache_dir),
            "pictures re-encoded without EXIF, GPS, XMP or profile, at most 1024 pixels",
        )
        notes.append(refused)
    else:
        told = [guide for guide, _ in kept]
    licences = sorted({guide.licence for guide in told if guide.licence})
    origin = Origin(
        name="social_media",
        path=str(path),
        kind=kind + (", pictures sent" if images else ", text only"),
        items=len(told),
        found=len(rows),
        sha256=sha256,
        licence=", ".join(licences[:5]) or "not stated; only scrubbed descriptions are used",
        notes=tuple(notes),
    )
    return told, origin


def scrubbed(text: str) -> str:
    """A description without links, addresses, handles, numbers, coordinates, credits and named persons.

    By rule, so it errs on both sides; what it misses is still only a description.
    """
    text = clean(text).replace('"', "'")
    for pattern, instead in _SCRUBS:
        text = pattern.sub(instead, text)
    return clean(text).strip(" ,;:-–|")


def _bundled(config: SocialMedia, seed: int) -> tuple[list[Guide], Origin]:
    if config.mode == "images":
        raise SourceError(
            "source_data.social_media.mode is images, but the bundled guides are text; "
            "set source_data.social_media.path to your pictures"
        )
    data = bundled("visual_guides.json")
    rows: list[dict[str, Any]] = orjson.loads(data)
    guides = [Guide(**row) for row in rows]
    kept = sampled(guides, config.max_descriptions, seed, "guide-sample")
    origin = Origin(
        name="social_media",
        path="bundled",
        kind="text guides written for groundswell",
        items=len(kept),
        found=len(guides),
        sha256=hashlib.sha256(data).hexdigest(),
        licence="GPL-3.0, part of groundswell",
    )
    return kept, origin


def _guides(rows: Sequence[Mapping[str, Any]], path: Path) -> tuple[list[tuple[Guide, pictures.Wanted | None]], int]:
    if len(rows) > ITEMS_MAX:
        raise SourceError(f"{path} has {len(rows):,} items; at most {ITEMS_MAX:,} are read")
    guides: list[tuple[Guide, pictures.Wanted | None]] = []
    touched = 0
    for n, row in enumerate(rows, 1):
        raw = _first(row, _DESCRIPTIONS)
        text = scrubbed(raw)
        label_1, label_2 = (scrubbed(_text(row.get(key)))[:80] for key in ("label_1", "label_2"))
        picture = _first(row, _PATHS)
        if not text and not label_1 and not picture:
            continue
        touched += text != clean(raw).replace('"', "'").strip(" ,;:-–|")
        description = clipped(text, _WORDS_MAX) or ", ".join(x for x in (label_1, label_2) if x)
        setting = scrubbed(_text(row.get("setting")))[:60]
        named = row.get("kind")
        kind: Literal["scene", "graphic"] = (
            "graphic"
            if named == "graphic"
            or (named != "scene" and _GRAPHIC.search(f"{description} {label_1} {label_2} {setting}"))
            else "scene"
        )
        licence = clean(_text(row.get("licence") or row.get("license")))[:120]
        guide = Guide(
            id=f"visual_{n:03d}",
            description=description,
            kind=kind,
            label_1=label_1,
            label_2=label_2,
            setting=setting,
            activity_level=scrubbed(_text(row.get("activity_level")))[:40],
            licence=licence,
        )
        consent = str(row.get("consent", "")).strip().lower() in ("true", "yes", "1")
        guides.append((guide, pictures.Wanted(n, picture, consent, licence) if picture else None))
    return guides, touched


def _text(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None or isinstance(value, (dict, list)) else str(value)


def _first(row: Mapping[str, Any], keys: Sequence[str]) -> str:
    return next((v for key in keys if isinstance(v := row.get(key), str) and v.strip()), "")


def _folder_rows(folder: Path) -> tuple[list[dict[str, Any]], list[Path]]:
    """A row per picture with its sidecar, per lone sidecar, or the rows of the folder's tables."""
    images = walk(folder, pictures.SUFFIXES)
    texts = walk(folder, _TABLES | _SIDECARS)
    by_stem = {image.with_suffix(""): image for image in images}
    rows: dict[Path, dict[str, Any]] = {
        stem: {"path": image.relative_to(folder).as_posix()} for stem, image in by_stem.items()
    }
    lists: list[dict[str, Any]] = []
    for file in texts:
        stem = file.with_suffix("")
        stem = stem.with_suffix("") if stem.suffix.lower() in pictures.SUFFIXES else stem
        if file.suffix.lower() == ".txt":
            rows.setdefault(stem, {})["description"] = decoded(read_bytes(file, 1 << 20), file)
        elif file.suffix.lower() == ".json" and (stem in by_stem or _is_object(file)):
            rows.setdefault(stem, {}).update(_sidecar(file))
        else:
            lists += csv_rows(file) if file.suffix.lower() in (".csv", ".tsv") else json_rows(file)
    return [*(row for _, row in sorted(rows.items())), *lists], sorted({*images, *texts})


def _is_object(file: Path) -> bool:
    return read_bytes(file).lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"{"


def _sidecar(file: Path) -> dict[str, Any]:
    try:
        value: Any = json.loads(decoded(read_bytes(file, 1 << 20), file))
    except json.JSONDecodeError as error:
        raise SourceError(f"{file}: not valid JSON ({error})") from error
    return {k: v for k, v in value.items() if k not in _PATHS} if isinstance(value, dict) else {}
