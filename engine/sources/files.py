"""Reading other people's files safely: bounded sizes, no symlinks, no path out of an archive.

Everything a user points at goes through here first, so that a wrong, huge or hostile file ends in
one clear message.
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
import unicodedata
import zipfile
from collections.abc import Iterable, Iterator
from importlib.resources import files
from pathlib import Path, PurePosixPath
from typing import Any, Final

import orjson

from engine.errors import SourceError

TEXT_BYTES_MAX: Final = 64 << 20
"""Largest text file (JSON, CSV, HTML …) read whole."""
FILES_MAX: Final = 20_000
"""Most files of one folder."""
MEMBER_BYTES_MAX: Final = 8 << 30
"""Largest archive member unpacked (the full census is about 1 GB)."""
RATIO_MAX: Final = 200
"""Greatest compression of an archive member; beyond it is a bomb."""
DEPTH_MAX: Final = 8
"""Deepest folder read."""

_CONTROLS: Final = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]|[\ud800-\udfff]"
)


def bundled(name: str) -> bytes:
    """A file of engine/data, also from an installed wheel."""
    return files("engine.data").joinpath(name).read_bytes()


def sha256_of(path: Path) -> str:
    """Of a file's bytes, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_of_all(digests: Iterable[tuple[str, str]]) -> str:
    """One digest for several files, by name and digest in order of name."""
    lines = "".join(f"{digest}  {name}\n" for name, digest in sorted(digests))
    return hashlib.sha256(lines.encode()).hexdigest()


def clean(text: str) -> str:
    """The text in NFC, without control, invisible or direction-changing characters, single spaces."""
    return re.sub(r"\s+", " ", _CONTROLS.sub("", unicodedata.normalize("NFC", text))).strip()


def existing(path: Path, what: str, *, instead: str = ", or leave the key out for our sample") -> Path:
    """The path, if there is a file or folder of the user's own there; else SourceError."""
    if not path.exists():
        raise SourceError(f"{what}: {path} does not exist; give the path of one that does{instead}")
    if path.is_file() and path.stat().st_size == 0:
        raise SourceError(f"{what}: {path} is empty; give one with something in it{instead}")
    return path


def read_bytes(path: Path, limit: int = TEXT_BYTES_MAX) -> bytes:
    """A whole file within the limit."""
    try:
        size = path.stat().st_size
        if size > limit:
            raise SourceError(f"{path} has {size:,} bytes; at most {limit:,} are read. Split the file")
        return path.read_bytes()
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror or error}") from error


def decoded(data: bytes, path: Path | str) -> str:
    """UTF-8 (a BOM is dropped), else UTF-16 with a BOM, else Windows-1252; NULs are refused."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16", errors="replace")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("cp1252", errors="replace")
    if "\0" in text:
        raise SourceError(f"{path} holds NUL bytes and is no text file")
    return text


def walk(folder: Path, suffixes: frozenset[str]) -> list[Path]:
    """Files of a folder by suffix, sorted by name; symlinks and hidden files are passed over."""
    found: list[Path] = []
    waiting = [(folder, 0)]
    while waiting:
        here, depth = waiting.pop()
        for entry in sorted(here.iterdir()):
            if entry.is_symlink() or entry.name.startswith("."):
                continue
            if entry.is_dir() and depth < DEPTH_MAX:
                waiting.append((entry, depth + 1))
            elif entry.is_file() and entry.suffix.lower() in suffixes:
                found.append(entry)
                if len(found) > FILES_MAX:
                    raise SourceError(f"{folder} holds more than {FILES_MAX:,} files; point at a smaller folder")
    return sorted(found)


def json_rows(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSON list (or of the first list in a JSON object), or of JSON lines."""
    text = decoded(read_bytes(path), path)
    if path.suffix.lower() in (".jsonl", ".ndjson"):
        return list(_json_lines(text, path))
    try:
        value: Any = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise SourceError(f"{path}: not valid JSON ({error})") from error
    if isinstance(value, dict):
        lists = [v for v in value.values() if isinstance(v, list) and v and isinstance(v[0], dict)]
        value = lists[0] if lists else [value]
    if not isinstance(value, list):
        raise SourceError(f"{path}: a list of objects is needed, this is {type(value).__name__}")
    for n, row in enumerate(value, 1):
        if not isinstance(row, dict):
            raise SourceError(f"{path}: item {n} is {type(row).__name__}, an object is needed")
    return value


def _json_lines(text: str, path: Path) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise SourceError(f"{path}, line {number}: not valid JSON ({error})") from error
        if not isinstance(row, dict):
            raise SourceError(f"{path}, line {number}: an object is needed")
        yield row


def csv_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a CSV file with a header; comma, semicolon or tab."""
    text = decoded(read_bytes(path), path)
    first = text.split("\n", 1)[0]
    delimiter = max(",;\t", key=first.count)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        return [{(k or "").strip().lower(): v for k, v in row.items() if k} for row in reader]
    except csv.Error as error:
        raise SourceError(f"{path}, line {reader.line_num}: {error}") from error


def member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, folder: Path) -> Path:
    """One member unpacked into a folder of ours under its bare name; bounded, never outside the folder."""
    name = PurePosixPath(info.filename.replace("\\", "/")).name
    if info.file_size > MEMBER_BYTES_MAX or info.file_size > RATIO_MAX * max(info.compress_size, 1024):
        raise SourceError(f"{archive.filename}: {name} would unpack to {info.file_size:,} bytes; refused")
    target = folder / f"{len(list(folder.iterdir()))}_{name}"
    written = 0
    with archive.open(info) as source, target.open("xb") as sink:
        while piece := source.read(1 << 20):
            written += len(piece)
            if written > info.file_size:
                raise SourceError(f"{archive.filename}: {name} is larger than it says; refused")
            sink.write(piece)
    return target
