"""What a run holds, small enough for memory and quick to build: one pass over the two logs.

Ids, themes, labels and digests are held; prompts, captions and comments stay on disk and are read by
the byte offset of their line when somebody looks at the image. A run that is still being written is
read on from where the last look ended.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from msgspec import UNSET, Struct, UnsetType

from engine.errors import StoreError
from schemas.record import ImageRecord, MetadataRecord, check_line

__all__ = ["Catalogue", "NoSuchImage"]

NO_THEME = ""
TASKS = ("caption", "labels", "comments")


class NoSuchImage(LookupError):
    """The run has no image of this id."""


class _News(Struct):
    theme: str | None = None


class _Sources(Struct):
    atropia: _News | None = None
    theme: str | None = None


class _Asset(Struct):
    sha256: str


class _ImageLine(Struct):
    status: str
    image_id: str
    index: int
    generated_at: str
    source_data: _Sources
    asset: _Asset | None = None


class _LooseImageLine(_ImageLine):
    """For prompt files whose columns happen to be named as ours."""

    source_data: Any  # pyright: ignore[reportIncompatibleVariableOverride]


class _MetadataLine(Struct):
    status: str
    image_id: str
    generated_at: str
    tasks: tuple[str, ...] = ()
    labels: dict[str, Any] | UnsetType | None = UNSET


_image_line = msgspec.json.Decoder(_ImageLine).decode
_loose_image_line = msgspec.json.Decoder(_LooseImageLine).decode
_metadata_line = msgspec.json.Decoder(_MetadataLine).decode
_image_record = msgspec.json.Decoder(ImageRecord).decode
_metadata_record = msgspec.json.Decoder(MetadataRecord).decode


class Catalogue:
    """The images of a run that were made, by position in the order they were first logged."""

    def __init__(self, images_log: Path, metadata_log: Path) -> None:
        self._images_log = images_log
        self._metadata_log = metadata_log
        self._images_end = 0
        self._metadata_end = 0
        self.ids: list[str] = []
        self.indexes = array("q")
        self._positions: dict[str, int] = {}
        self._digests = bytearray()
        self._line_at = array("Q")
        self._metadata_at = {task: array("q") for task in TASKS}
        self.themes: list[str] = []
        self.labels: list[tuple[int, ...]] = []
        """Per position, codes into `label_values`."""
        self.label_values: list[tuple[str, str]] = []
        """(category, value) by code."""
        self._label_codes: dict[tuple[str, str], int] = {}
        self._interned: dict[str, str] = {}
        self.unreadable = 0
        """Lines that are no JSON of ours."""
        self._orphans: dict[str, list[tuple[_MetadataLine, int]]] = {}
        self._anew_at: dict[int, str] = {}
        """When a picture was made anew, by position: texts from before speak of another one."""

    def __len__(self) -> int:
        return len(self.ids)

    def refresh(self) -> int:
        """Take in what has been logged since; returns how many images and answers were new."""
        if self._shrunk():
            self.__init__(self._images_log, self._metadata_log)
        before = self._images_end, self._metadata_end
        # Metadata first: its line always follows the image's, so none can be missed in between.
        metadata_end = _size(self._metadata_log)
        for at, line in _lines(self._images_log, self._images_end, _size(self._images_log)):
            self._images_end = at + len(line)
            self._take_image(at, line)
        for at, line in _lines(self._metadata_log, self._metadata_end, metadata_end):
            self._metadata_end = at + len(line)
            self._take_metadata(at, line)
        return int(before != (self._images_end, self._metadata_end))

    def _shrunk(self) -> bool:
        """A log that became shorter was repaired or replaced: read it anew."""
        return _size(self._images_log) < self._images_end or _size(self._metadata_log) < self._metadata_end

    def _take_image(self, at: int, line: bytes) -> None:
        try:
            image = _image_line(line)
            sources = image.source_data
            theme = (sources.atropia.theme if sources.atropia else None) or sources.theme or NO_THEME
        except msgspec.MsgspecError:
            try:
                image, theme = _loose_image_line(line), NO_THEME
            except msgspec.MsgspecError:
                self.unreadable += 1
                return
        if image.status != "ok" or image.asset is None:
            return
        digest = bytes.fromhex(image.asset.sha256)
        theme = self._interned.setdefault(theme, theme)
        position = self._positions.get(image.image_id)
        if position is None:
            position = len(self.ids)
            self._positions[image.image_id] = position
            self.ids.append(image.image_id)
            self.indexes.append(image.index)
            self._digests += digest
            self._line_at.append(at)
            self.themes.append(theme)
            self.labels.append(())
            for places in self._metadata_at.values():
                places.append(-1)
            for waiting, where in self._orphans.pop(image.image_id, ()):
                self._place(position, waiting, where)
        else:  # Made anew: the last picture is the one that counts.
            if digest != self._digests[32 * position : 32 * position + 32]:
                self._anew_at[position] = image.generated_at
                self.labels[position] = ()
                for places in self._metadata_at.values():
                    places[position] = -1
            self._digests[32 * position : 32 * position + 32] = digest
            self._line_at[position] = at
            self.themes[position] = theme

    def _take_metadata(self, at: int, line: bytes) -> None:
        try:
            answer = _metadata_line(line)
        except msgspec.MsgspecError:
            self.unreadable += 1
            return
        if answer.status != "ok":
            return
        position = self._positions.get(answer.image_id)
        if position is None:
            self._orphans.setdefault(answer.image_id, []).append((answer, at))
        else:
            self._place(position, answer, at)

    def _place(self, position: int, answer: _MetadataLine, at: int) -> None:
        if answer.generated_at < self._anew_at.get(position, ""):
            return
        for task in answer.tasks:
            if task in self._metadata_at:
                self._metadata_at[task][position] = at
        if isinstance(answer.labels, dict):
            self.labels[position] = tuple(self._codes(answer.labels))

    def _codes(self, labels: dict[str, Any]) -> Iterator[int]:
        for category, value in labels.items():
            for word in label_words(value):
                key = (category, word)
                code = self._label_codes.get(key)
                if code is None:
                    code = self._label_codes[key] = len(self.label_values)
                    self.label_values.append(key)
                yield code

    def position(self, image_id: str) -> int:
        """Where an image stands; raises NoSuchImage."""
        try:
            return self._positions[image_id]
        except KeyError:
            raise NoSuchImage(image_id) from None

    def __contains__(self, image_id: str) -> bool:
        return image_id in self._positions

    def sha256(self, position: int) -> str:
        """The digest of the present picture."""
        return self._digests[32 * position : 32 * position + 32].hex()

    def label_code(self, category: str, value: str) -> int | None:
        """The code of a label; None when no image has it."""
        return self._label_codes.get((category, value))

    def image(self, position: int) -> ImageRecord:
        """The whole log line of an image, from disk."""
        line = _line_at(self._images_log, self._line_at[position])
        return _image_record(line)

    def metadata(self, position: int) -> dict[str, MetadataRecord]:
        """What was written about an image, by task: `caption`, `labels`, `comments`; from disk."""
        found: dict[str, MetadataRecord] = {}
        read: dict[int, MetadataRecord] = {}
        for task, places in self._metadata_at.items():
            at = places[position]
            if at >= 0:
                if at not in read:
                    read[at] = _metadata_record(_line_at(self._metadata_log, at))
                found[task] = read[at]
        return found


def label_words(value: Any) -> list[str]:
    """A label's value as words: one for a text, several for a list, `yes` and `no` for a truth."""
    if value is None:
        return []
    if isinstance(value, bool):
        return ["yes" if value else "no"]
    if isinstance(value, list | tuple):
        return [word for part in value for word in label_words(part)]
    return [str(value)]


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _lines(path: Path, start: int, end: int) -> Iterator[tuple[int, bytes]]:
    """Whole lines between two offsets, each with its own offset; a tail without newline is left out."""
    if end <= start:
        return
    with path.open("rb", buffering=1 << 20) as file:
        file.seek(start)
        at = start
        for line in file:
            if at >= end or not line.endswith(b"\n"):
                return
            yield at, line
            at += len(line)


def _line_at(path: Path, at: int) -> bytes:
    with path.open("rb") as file:
        file.seek(at)
        line = file.readline()
    if not check_line(line):
        raise StoreError(f"{path}: the line at byte {at} is damaged; run `groundswell verify` on the run")
    return line
