"""The original workshop pipeline's exact tree, so that scripts written for it work unchanged.

Names, keys and types are those of its OutputHandler. What it computed per file is here written in one
pass, and pictures are hard links. Readers of the original look for `*.<image_format>`: a picture of
another type is converted to it (the run keeps the bytes as the model sent them).
"""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from PIL import Image

from engine.export.files import CsvFile, place, write_json
from engine.export.reading import Item, RunReading
from schemas.config import Output

_PIL_FORMAT = {"png": "PNG", "jpg": "JPEG", "jpeg": "JPEG", "webp": "WEBP"}
_SUFFIXES = {"png": (".png",), "jpg": (".jpg", ".jpeg"), "jpeg": (".jpg", ".jpeg"), "webp": (".webp",)}
CONTEXT_CHARS = 200


def write(reading: RunReading, dest: Path, *, named: Path, link: bool = True) -> dict[str, Any]:
    """Write the tree into `dest`; `named` is where it will lie, as the files themselves say. Gives counts."""
    output = reading.config.output
    folders = {
        kind: dest / getattr(output, f"{kind}_dir") for kind in ("images", "captions", "labels", "comments", "metadata")
    }
    for folder in folders.values():
        folder.mkdir(parents=True, exist_ok=True)
    counts = {"images": 0, "linked": 0, "converted": 0, "captions": 0, "labels": 0, "comments": 0}
    categories = list(reading.config.metadata.label_categories)
    with ExitStack() as stack:
        tables = _Tables(stack, dest, output, categories)
        log = stack.enter_context(_GenerationLog(dest / "generation_log.json"))
        for item in reading:
            name = _picture(item, folders["images"], output.image_format, link, counts)
            at = named / output.images_dir / name
            write_json(
                folders["metadata"] / f"{item.image.image_id}_metadata.json", _metadata(item, at, folders, output)
            )
            _texts(item, folders, categories, reading.config.metadata.num_comments_per_image, counts)
            tables.add(item, at)
            log.add(item, at)
            counts["images"] += 1
    tables.drop_empty(dest)
    return counts


def _picture(item: Item, folder: Path, wanted: str, link: bool, counts: dict[str, int]) -> str:
    if item.path.suffix.lower() in _SUFFIXES[wanted]:
        name = f"{item.image.image_id}.{wanted}"
        counts["linked"] += place(item.path, folder / name, link=link)
        return name
    name = f"{item.image.image_id}.{wanted}"
    with Image.open(item.path) as picture:
        flat = picture.convert("RGB") if wanted in {"jpg", "jpeg"} and picture.mode not in {"RGB", "L"} else picture
        flat.save(folder / name, format=_PIL_FORMAT[wanted])
    counts["converted"] += 1
    return name


def _metadata(item: Item, at: Path, folders: dict[str, Path], output: Output) -> dict[str, Any]:
    image = item.image
    with Image.open(folders["images"] / at.name) as picture:  # reads the header only
        mode, size = picture.mode, list(picture.size)
    return {
        "image_id": image.image_id,
        "image_filename": at.name,
        "image_path": str(at),
        "image_size": size,
        "image_mode": mode,
        "image_format": output.image_format,
        "generated_at": naive(image.generated_at),
        "prompt": image.prompt,
        "source_data": image.source_data,
        "generation_config": {"style": image.style or "", "complexity": image.complexity or ""},
    }


def _texts(
    item: Item, folders: dict[str, Path], categories: list[str], comments_wanted: int, counts: dict[str, int]
) -> None:
    image_id, prompt = item.image.image_id, item.image.prompt[:CONTEXT_CHARS]
    if item.caption is not None:
        caption = {
            "image_id": image_id,
            "caption": item.caption,
            "generated_at": naive(item.captioned_at),
            "context": {"original_prompt": f"Social movement scene: {prompt}"},
        }
        write_json(folders["captions"] / f"{image_id}_caption.json", caption)
        counts["captions"] += 1
    if item.labels is not None:
        labels = {
            "image_id": image_id,
            "labels": item.labels,
            "generated_at": naive(item.labelled_at),
            "context": {"categories": categories},
        }
        write_json(folders["labels"] / f"{image_id}_labels.json", labels)
        counts["labels"] += 1
    if item.comments is not None:
        comments = {
            "image_id": image_id,
            "comments": list(item.comments),
            "num_comments": len(item.comments),
            "generated_at": naive(item.commented_at),
            "context": {"num_requested": comments_wanted},
        }
        write_json(folders["comments"] / f"{image_id}_comments.json", comments)
        counts["comments"] += 1


class _Tables:
    """all_captions.csv, all_labels.csv, all_comments.csv; with metadata_format csv also all_metadata.csv."""

    def __init__(self, stack: ExitStack, dest: Path, output: Output, categories: list[str]) -> None:
        self._categories = categories
        self._files: dict[str, CsvFile] = {}

        def table(name: str, header: list[str]) -> None:
            self._files[name] = stack.enter_context(CsvFile(dest / f"all_{name}.csv", header))

        if output.export_csv_summaries:
            table("captions", ["image_id", "caption", "generated_at"])
            table("labels", ["image_id", *categories])
            table("comments", ["image_id", "comment_index", "comment"])
        if output.metadata_format == "csv":
            table(
                "metadata",
                ["image_id", "image_filename", "generated_at", "prompt", "style", "complexity", "source_data"],
            )

    def add(self, item: Item, at: Path) -> None:
        image = item.image
        if item.caption is not None and "captions" in self._files:
            self._files["captions"].write([image.image_id, item.caption, naive(item.captioned_at)])
        if item.labels is not None and "labels" in self._files:
            # By category, so that no label named image_id can take the id's place.
            self._files["labels"].write([image.image_id, *(item.labels.get(c) for c in self._categories)])
        if item.comments is not None and "comments" in self._files:
            for n, comment in enumerate(item.comments, start=1):
                self._files["comments"].write([image.image_id, n, comment])
        if "metadata" in self._files:
            self._files["metadata"].write(
                [
                    image.image_id,
                    at.name,
                    naive(image.generated_at),
                    image.prompt,
                    image.style,
                    image.complexity,
                    image.source_data,
                ]
            )

    def drop_empty(self, dest: Path) -> None:
        """The original wrote no table without rows."""
        for name, file in self._files.items():
            if not file.rows:
                (dest / f"all_{name}.csv").unlink()


class _GenerationLog:
    """generation_log.json, streamed. Its totals stand first, so entries are kept aside until they are known."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._entries = path.with_suffix(".entries")
        self._file = self._entries.open("w", encoding="utf-8")
        self._count = 0
        self._first: str | None = None
        self._last: str | None = None

    def add(self, item: Item, at: Path) -> None:
        stamp = naive(item.image.generated_at)
        entry = {"index": item.image.index, "image_id": item.image.image_id, "image_path": str(at), "timestamp": stamp}
        self._file.write(("    " if not self._count else ",\n    ") + json.dumps(entry, ensure_ascii=False))
        self._count += 1
        self._first = stamp if self._first is None else min(self._first, stamp)
        self._last = stamp if self._last is None else max(self._last, stamp)

    def __enter__(self) -> _GenerationLog:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        with self._path.open("w", encoding="utf-8") as out, self._entries.open(encoding="utf-8") as entries:
            out.write(
                f'{{\n  "total_generated": {self._count},\n  "generation_started": {json.dumps(self._first)},\n'
                f'  "generation_completed": {json.dumps(self._last)},\n  "log_entries": [\n'
            )
            while chunk := entries.read(1 << 20):
                out.write(chunk)
            out.write("\n  ]\n}\n")
        self._entries.unlink()


def naive(stamp: str | None) -> str:
    """A time as the original writes it: ISO 8601 without a zone. Ours is UTC."""
    return (stamp or "").removesuffix("Z")
