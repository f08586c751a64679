"""A run as exports see it: one item per picture, in the order of its index, metadata joined.

Two passes. The first keeps eight bytes per image and task: where its newest line starts. The second reads
the lines again, one image at a time, so that memory does not depend on what prompts and texts hold.
Only the committed prefix of the logs is read, and nothing else is state.
"""

from __future__ import annotations

import errno
import io
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec
from msgspec import Struct
from pydantic import ValidationError

from engine.core.reviews import Verdict, standing, verdicts
from engine.errors import StoreError
from engine.store.inside import plain_file
from engine.store.layout import RunDir, load_manifest
from engine.store.reviews import read_reviews
from engine.store.scan import is_whole, read_blocks
from schemas.config import RunConfig
from schemas.record import ImageRecord, MetadataRecord, RunManifest

TASKS = ("caption", "labels", "comments")
ABSENT = -1
Choice = Literal["all", "not-rejected", "accepted"]


class Item(Struct, frozen=True, kw_only=True):
    """A picture and what is known about it."""

    image: ImageRecord
    path: Path
    """Where the file is."""
    caption: str | None
    captions: tuple[str, ...]
    captioned_at: str | None
    labels: dict[str, Any] | None
    labelled_at: str | None
    comments: tuple[str, ...] | None
    commented_at: str | None
    metadata_model: str | None
    metadata_usd: float | None
    verdict: Verdict | None

    @property
    def file_name(self) -> str:
        return self.path.name


class _Line(Struct, frozen=True, gc=False):
    """What the first pass needs of a line."""

    status: str
    final: bool
    index: int
    tasks: tuple[str, ...] = ()


class RunReading:
    """A run opened for export. Iterating gives its items; iterate as often as you like."""

    def __init__(self, root: Path | str, *, choice: Choice = "all") -> None:
        self.run = RunDir(root)
        self.manifest: RunManifest = load_manifest(self.run)
        self.config = _config_of(self.manifest)
        self.choice: Choice = choice
        self.damaged = 0
        """Lines that are not what was written; left out. `groundswell verify` tells more."""
        self.refused = 0
        self.failed = 0
        self._images = array("q")
        self._earlier: dict[int, list[int]] = {}
        """Where lines of pictures start that were made anew since, by index."""
        self._metadata = {task: array("q") for task in TASKS}
        self._index_images()
        self._index_metadata()
        self._verdicts: dict[str, Verdict] = {}
        self._read_verdicts()

    def __len__(self) -> int:
        """Pictures in the run, whatever people said of them."""
        return sum(1 for offset in self._images if offset != ABSENT)

    def __repr__(self) -> str:
        return f"<RunReading {self.run.root}: {len(self)} pictures, {self.damaged} damaged lines>"

    def __iter__(self) -> Iterator[Item]:
        if not len(self):
            return
        with _opened(self.run.images_log) as images, _opened(self.run.metadata_log) as metadata:
            for index, offset in enumerate(self._images):
                if offset == ABSENT:
                    continue
                image = _record(images, offset, _decode_image)
                item = self._item(index, image, metadata)
                if item is not None:
                    yield item

    # --- first pass ----------------------------------------------------------------------------

    def _index_images(self) -> None:
        settled = bytearray()
        for offset, line in self._lines(self.run.images_log):
            _reach(self._images, line.index)
            settled.extend(bytes(max(0, line.index + 1 - len(settled))))
            good = line.final and line.status == "ok"
            if self._images[line.index] != ABSENT:
                self._earlier.setdefault(line.index, []).append(self._images[line.index])
            self._images[line.index] = offset if good else ABSENT
            settled[line.index] = {"refused": 1, "failed": 2}.get(line.status, 0) if line.final else 0
        self.refused, self.failed = settled.count(1), settled.count(2)

    def _index_metadata(self) -> None:
        for offset, line in self._lines(self.run.metadata_log):
            for task in line.tasks:
                places = self._metadata.get(task)
                # Asking again takes no text away before a newer one is there.
                if places is not None and line.final and line.status == "ok":
                    _reach(places, line.index)
                    places[line.index] = offset

    def _lines(self, path: Path) -> Iterator[tuple[int, _Line]]:
        for block in read_blocks(path):
            at = block.offset
            for line in block.lines:
                size = block.skipped or len(line) + 1
                try:
                    seen = _decode_line(line) if is_whole(line) else None
                except (msgspec.DecodeError, UnicodeDecodeError):
                    seen = None
                if seen is None or seen.index < 1:
                    self.damaged += 1
                else:
                    yield at, seen
                at += size

    def _read_verdicts(self) -> None:
        decisions = read_reviews(self.run.reviews_log).decisions
        if decisions:
            digests = {i.image.image_id: i.image.asset.sha256 for i in self._all() if i.image.asset is not None}
            self._verdicts = verdicts(standing(decisions, digests))

    def _all(self) -> Iterator[Item]:
        """Every item, before people's choice is known."""
        choice, self.choice = self.choice, "all"
        try:
            yield from self
        finally:
            self.choice = choice

    # --- second pass ---------------------------------------------------------------------------

    def _drawn_at(self, index: int, image: ImageRecord) -> str:
        """When this very picture was made first: one that is made anew may come out as it was."""
        assert image.asset is not None, "a line with status ok has its picture"
        moments = [image.generated_at]
        for offset in self._earlier.get(index, ()):
            with _opened(self.run.images_log) as images:
                before: ImageRecord = _record(images, offset, _decode_image)
            if before.asset is not None and before.asset.sha256 == image.asset.sha256:
                moments.append(before.generated_at)
        return min(moments)

    def _item(self, index: int, image: ImageRecord, metadata: io.BufferedReader) -> Item | None:
        verdict = self._verdicts.get(image.image_id)
        said = verdict.status if verdict else None
        if (self.choice == "accepted" and said != "accept") or (self.choice == "not-rejected" and said == "reject"):
            return None
        asset = image.asset
        assert asset is not None, "a line with status ok has its picture"
        found: dict[str, MetadataRecord] = {}
        lines: dict[int, MetadataRecord] = {}
        for task in TASKS:
            offset = self._metadata[task][index] if index < len(self._metadata[task]) else ABSENT
            if offset == ABSENT:
                continue
            record = lines.get(offset) or _record(metadata, offset, _decode_metadata)
            lines[offset] = record
            # A text older than the picture speaks of a picture that was made anew since.
            if record.generated_at >= self._drawn_at(index, image):
                found[task] = record
        caption, labels, comments = (found.get(task) for task in TASKS)
        used = [r for r in lines.values() if r in found.values()]
        costs = [r.cost_usd for r in used]
        return Item(
            image=image,
            path=_inside(self.run.root, asset.path),
            caption=caption.caption if caption else None,
            captions=caption.captions if caption else (),
            captioned_at=caption.generated_at if caption else None,
            labels=labels.labels if labels else None,
            labelled_at=labels.generated_at if labels else None,
            comments=comments.comments if comments else None,
            commented_at=comments.generated_at if comments else None,
            metadata_model=used[0].model if used else None,
            metadata_usd=None if not used or None in costs else sum(c for c in costs if c is not None),
            verdict=verdict,
        )


_decode_line = msgspec.json.Decoder(_Line).decode
_decode_image = msgspec.json.Decoder(ImageRecord).decode
_decode_metadata = msgspec.json.Decoder(MetadataRecord).decode
_T = TypeVar("_T", ImageRecord, MetadataRecord)


def _record(file: io.BufferedReader, offset: int, decode: Any) -> Any:
    file.seek(offset)
    return decode(file.readline())


def _opened(path: Path) -> io.BufferedReader:
    try:
        return path.open("rb")
    except FileNotFoundError:
        return io.BufferedReader(io.BytesIO())  # type: ignore[arg-type]
    except OSError as error:
        raise StoreError(f"{path}: cannot be read ({error.strerror}); check its permissions") from error


def _reach(places: array[int], index: int) -> None:
    missing = index + 1 - len(places)
    if missing > 0:
        places.extend(array("q", [ABSENT]) * missing)


def _inside(root: Path, relative: str) -> Path:
    """The path of a picture; what lies outside the run, or behind a link, is not taken along."""
    try:
        return plain_file(root, relative)
    except OSError as error:
        if error.errno != errno.ENOENT:
            raise StoreError(f"{root / relative}: cannot be read ({error.strerror}); check its permissions") from error
        return root / relative  # told by whoever copies it


def _config_of(manifest: RunManifest) -> RunConfig:
    """The run's configuration; what a later version cannot read any more falls back to the defaults."""
    try:
        return RunConfig.model_validate(manifest.config)
    except ValidationError:
        return RunConfig()
