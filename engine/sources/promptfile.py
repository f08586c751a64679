"""A prompt file as a source: any image set from JSONL, CSV or Parquet, checked whole, then streamed.

Opening reads the file once and keeps only counts, hashes of ids and a mark every thousand rows, so that a
file of ten million rows is opened in a few hundred megabytes and can be entered anywhere.
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
import unicodedata
from array import array
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson

from engine.errors import SourceError
from engine.sources.files import clean, existing
from engine.sources.pictures import SUFFIXES, inside
from engine.sources.rows import Mark, Row, reader_of, unit_of
from schemas.prompt import IMAGE_ID_PATTERN, Prompt, Reference

PROMPT_CHARS_MAX: Final = 32_000
PROBLEMS_MAX: Final = 20
REFERENCES_MAX: Final = 14
"""Most pictures sent with one prompt."""
REFERENCE_BYTES_MAX: Final = 20 << 20
SOURCE_DATA_BYTES_MAX: Final = 64 << 10
"""Largest JSON of one row's further columns."""
_ROWS_MAX: Final = 100_000_000
_MARK_EVERY: Final = 1_000
_ID: Final = re.compile(IMAGE_ID_PATTERN)
_OWN: Final = frozenset(["prompt", "id", "image_id", "reference_images", "style", "complexity"])
_STRIPPED: Final = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]"
)
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


class PromptFile:
    """A checked prompt file. `count` rows; `prompts(start)` streams them from index `start` on."""

    def __init__(self, path: Path, run_date: str, count: int, marks: list[Mark]) -> None:
        self.path = path
        self.count = count
        self._run_date = run_date
        self._marks = marks
        self._state = _state(path)

    def __repr__(self) -> str:
        return f"PromptFile({self.path.name!r}, {self.count} prompts)"

    def prompts(self, start: int = 1) -> Iterator[Prompt]:
        """The prompts from index `start` (from 1) on. SourceError if the file changed since it was opened."""
        if start < 1:
            raise ValueError(f"prompts are counted from 1, not {start}")
        self._assert_unchanged()
        block = min((start - 1) // _MARK_EVERY, len(self._marks) - 1)
        index = block * _MARK_EVERY
        for row in reader_of(self.path)(self.path, self._marks[block]):
            index += 1
            if index < start:
                continue
            if row.problem:
                raise SourceError(_located(self.path, row, row.problem))
            yield _prompt(self.path, row, index, self._run_date)
            if index == self.count:
                break
        self._assert_unchanged()

    def _assert_unchanged(self) -> None:
        if _state(self.path) != self._state:
            raise SourceError(f"{self.path} changed while it was being read; run the same command again")


def open_promptfile(path: Path, run_date: str) -> PromptFile:
    """Checks a prompt file whole and answers how to stream it. Raises SourceError with up to 20 problems."""
    path = existing(path, "--prompts", instead="")
    if path.is_dir():
        raise SourceError(f"--prompts: {path} is a folder; give a .jsonl, .csv or .parquet file")
    problems: list[str] = []
    marks: list[Mark] = []
    ids = _Ids(run_date)
    count, place = 0, Mark()
    missing = 0
    for row in reader_of(path)(path, place):
        if count % _MARK_EVERY == 0:
            marks.append(place)
        count += 1
        place = row.after
        found = row.problem or _problem(path, row.values)
        missing += found == _NO_PROMPT
        if found:
            problems.append(_located(path, row, found))
            if len(problems) >= PROBLEMS_MAX:
                problems.append(f"{path}: the first {PROBLEMS_MAX} problems are shown; the rest was not read")
                break
        ids.add(_id(row.values))
        if count > _ROWS_MAX:
            raise SourceError(f"{path} has more than {_ROWS_MAX:,} rows; split the file")
    if count == 0:
        raise SourceError(f"{path} has no prompts")
    if missing == count or missing >= PROBLEMS_MAX:
        raise SourceError(f"{path} has no column prompt; name the column with the prompts so")
    if not problems and ids.repeated():
        problems = _repeats(path, run_date)
    if problems:
        raise SourceError("\n".join(problems))
    return PromptFile(path, run_date, count, marks)


class _Ids:
    """Eight bytes per row, enough to notice that some id may come twice."""

    def __init__(self, run_date: str) -> None:
        self._hashes = array("Q")
        self._run_date = run_date
        self._given = False

    def add(self, image_id: str | None) -> None:
        self._given |= image_id is not None
        name = image_id or _numbered(self._run_date, len(self._hashes) + 1)
        self._hashes.append(_hash(name))

    def repeated(self) -> bool:
        """Whether two rows share a hash; numbered ids alone never do."""
        return self._given and _again(self._hashes).size > 0

    def suspects(self) -> frozenset[int]:
        return frozenset(_again(self._hashes).tolist())


def _again(hashes: array[int]) -> np.ndarray[Any, np.dtype[np.uint64]]:
    """The hashes that come more than once."""
    ordered = np.sort(np.frombuffer(hashes, dtype=np.uint64))
    return np.unique(ordered[1:][ordered[1:] == ordered[:-1]])


def _hash(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little")


def _repeats(path: Path, run_date: str) -> list[str]:
    """The second pass: which rows have the id of an earlier one. Empty if only hashes met."""
    ids = _Ids(run_date)
    for row in reader_of(path)(path, Mark()):
        ids.add(_id(row.values))
    suspects = ids.suspects()
    first: dict[str, int] = {}
    problems: list[str] = []
    for index, row in enumerate(reader_of(path)(path, Mark()), 1):
        name = _id(row.values) or _numbered(run_date, index)
        if _hash(name) not in suspects:
            continue
        if name in first:
            problems.append(_located(path, row, f"id {name!r} is that of {unit_of(path)} {first[name]} already"))
            if len(problems) >= PROBLEMS_MAX:
                break
        else:
            first[name] = row.line
    return problems


_NO_PROMPT: Final = "prompt is missing or empty"


def _problem(path: Path, values: Mapping[str, Any]) -> str:
    """What is wrong with a row; "" if nothing."""
    prompt = values.get("prompt")
    if prompt is None or (isinstance(prompt, str) and not prompt.strip()):
        return _NO_PROMPT
    if not isinstance(prompt, str):
        return f"prompt is {type(prompt).__name__}, text is needed"
    if len(prompt) > PROMPT_CHARS_MAX:
        return f"prompt has {len(prompt):,} characters; at most {PROMPT_CHARS_MAX:,} are sent"
    if _SURROGATE.search(prompt):
        return "prompt holds half of a surrogate pair, which is no character"
    if not spoken(prompt):
        return "prompt holds nothing but invisible characters"
    image_id = _id(values)
    if image_id is not None and not _ID.fullmatch(image_id):
        return f"id {image_id[:60]!r} is not usable; give 1 to 128 of A-Z a-z 0-9 . _ - and no dot first"
    for name in ("style", "complexity"):
        if not isinstance(values.get(name), str | None):
            return f"{name} is {type(values[name]).__name__}, text is needed"
    try:
        names = _references(values)
        for name in names:
            _kind(inside(path.parent, name))
        size = len(orjson.dumps(_source_data(values)))
    except (SourceError, ValueError) as error:
        return f"reference_images: {error}" if isinstance(error, SourceError) else str(error)
    except TypeError as error:  # orjson: not JSON, or nested too deep
        return f"further columns cannot be kept: {error}"
    if size > SOURCE_DATA_BYTES_MAX:
        return f"further columns hold {size:,} bytes; at most {SOURCE_DATA_BYTES_MAX:,} are kept with a prompt"
    return ""


def _prompt(path: Path, row: Row, index: int, run_date: str) -> Prompt:
    values = row.values
    return Prompt(
        index=index,
        image_id=_id(values) or _numbered(run_date, index),
        text=spoken(values["prompt"]),
        style=clean(values.get("style") or "")[:60] or None,
        complexity=clean(values.get("complexity") or "")[:60] or None,
        source_data=_source_data(values),
        references=tuple(_reference(inside(path.parent, name)) for name in _references(values)),
    )


def spoken(text: str) -> str:
    """A prompt as it is sent: NFC, no control or direction-changing characters, line breaks kept."""
    text = unicodedata.normalize("NFC", text).replace("\r\n", "\n").replace("\r", "\n").replace("\t", " ")
    return _STRIPPED.sub("", text).strip()


def _id(values: Mapping[str, Any]) -> str | None:
    value = values.get("id", values.get("image_id"))
    if value is None or value == "":
        return None
    return str(value).strip() if isinstance(value, int | str) and not isinstance(value, bool) else repr(value)


def _numbered(run_date: str, index: int) -> str:
    return f"sm_{run_date}_{index:04d}"


def _references(values: Mapping[str, Any]) -> list[str]:
    """The names in reference_images: a list, or in a table a JSON list or names parted by | or ;."""
    value = values.get("reference_images")
    if isinstance(value, str):
        text = value.strip()
        if text.startswith("["):
            try:
                value = orjson.loads(text)
            except orjson.JSONDecodeError as error:
                raise ValueError(f"reference_images is no valid JSON list ({error.msg})") from error
        else:
            value = [name.strip() for name in next(csv.reader(io.StringIO(text.replace(";", "|")), delimiter="|"), [])]
    names = [] if value is None else value
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError("reference_images must be a list of file names")
    names = [name for name in names if name]
    if len(names) > REFERENCES_MAX:
        raise ValueError(f"reference_images names {len(names)} pictures; at most {REFERENCES_MAX} are sent")
    return names


def _kind(path: Path) -> str:
    """The media type by the first bytes."""
    with path.open("rb") as file:
        head = file.read(16)
    if path.stat().st_size > REFERENCE_BYTES_MAX:
        raise SourceError(f"{path.name} has {path.stat().st_size:,} bytes; at most {REFERENCE_BYTES_MAX:,} are sent")
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if head.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "image/webp"
    raise SourceError(f"{path.name} is no {', '.join(sorted(s.lstrip('.') for s in SUFFIXES))} picture by its content")


def _reference(path: Path) -> Reference:
    info = path.stat()
    return _digested(str(path), info.st_size, info.st_mtime_ns)


@lru_cache(maxsize=4096)
def _digested(path: str, size: int, mtime_ns: int) -> Reference:
    del size, mtime_ns  # part of the key: a picture that changed is read again
    with Path(path).open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return Reference(path=path, sha256=sha256, mime_type=_kind(Path(path)))


def _source_data(values: Mapping[str, Any]) -> dict[str, Any]:
    """The further columns; a column source_data with an object in it is laid open."""
    told: dict[str, Any] = {}
    for name, value in values.items():
        if name == "source_data" and isinstance(value, dict):
            told.update({_plain(k): _plain(v) for k, v in value.items()})
        elif name not in _OWN or (name == "image_id" and "id" in values):
            told[_plain(name)] = _plain(value)
    return told


def _plain(value: Any) -> Any:
    match value:
        case str():
            return _STRIPPED.sub("", value)
        case dict():
            return {_plain(k): _plain(v) for k, v in value.items()}
        case list():
            return [_plain(v) for v in value]
        case _:
            return value


def _located(path: Path, row: Row, problem: str) -> str:
    return f"{path}, {unit_of(path)} {row.line}: {problem}"


def _state(path: Path) -> tuple[int, int]:
    try:
        info = path.stat()
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror or error}") from error
    return info.st_size, info.st_mtime_ns
