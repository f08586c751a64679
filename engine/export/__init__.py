"""Exports: a run in the formats people train on, analyse and publish. Logs and images in, files out.

Each format is one module; all read the run through `reading` and are built beside their destination, which
they replace in one step. An export is never state: delete it and write it again.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

from engine.errors import ConfigError, StoreError
from engine.export.files import building, check_destination, size_of

__all__ = ["FORMATS", "Exported", "export"]

FORMATS = {
    "workshop": "the original pipeline's exact tree: images/, captions/, labels/, comments/, metadata/, CSV tables",
    "parquet": "one table of everything, pictures beside it",
    "huggingface": "Parquet shards with the pictures inside, and a dataset card",
    "webdataset": "tar shards for sequential training",
    "croissant": "a Croissant description with table and pictures",
    "downstream": "texts for embeddings and the graph of images that share labels",
}


class Exported(Struct, frozen=True, kw_only=True):
    """One format that was written."""

    format: str
    path: str
    counts: dict[str, Any]
    size_bytes: int


def export(
    run: Path | str,
    formats: Sequence[str],
    to: Path | str,
    *,
    choice: str = "all",
    name: str | None = None,
    license: str | None = None,
    link: bool = True,
) -> tuple[Exported, ...]:
    """Write a run in these formats. One format fills `to` itself; several get a folder each in it.

    `choice` is `all`, `not-rejected` or `accepted` (what people said in review). Raises ConfigError for a
    destination that holds other files, StoreError when a recorded picture is missing.
    """
    from engine.export.card import About
    from engine.export.reading import RunReading

    unknown = [f for f in formats if f not in FORMATS]
    if unknown or not formats:
        raise ConfigError(f"--format {','.join(formats)!r}: choose of {', '.join(FORMATS)}")
    if choice not in ("all", "not-rejected", "accepted"):
        raise ConfigError(f"--choice {choice!r}: choose all, not-rejected or accepted")
    reading = RunReading(run, choice=choice)
    home = Path(to).absolute()
    chosen = tuple(dict.fromkeys(formats))
    places = {f: home if len(chosen) == 1 else home / f for f in chosen}
    for dest in places.values():
        check_destination(dest, reading.run.root)
    if not len(reading):
        raise StoreError(f"{reading.run.root}: holds no picture yet; groundswell run {reading.run.root} makes some")
    about = About(name=name or f"Synthetic social movements {reading.manifest.run_id}", license=license)
    done: list[Exported] = []
    for each, dest in places.items():
        marker = {"format": each, "run_id": reading.manifest.run_id, "choice": choice}
        with building(dest, marker) as folder:
            counts = _write(each, reading, folder, dest, about, link)
        done.append(Exported(format=each, path=str(dest), counts=counts, size_bytes=size_of(dest)))
    return tuple(done)


def _write(kind: str, reading: Any, folder: Path, dest: Path, about: Any, link: bool) -> dict[str, Any]:
    match kind:
        case "workshop":
            from engine.export import workshop

            return workshop.write(reading, folder, named=dest, link=link)
        case "parquet":
            from engine.export import parquet

            return parquet.write(reading, folder, about=about, link=link)
        case "huggingface":
            from engine.export import huggingface

            return huggingface.write(reading, folder, about=about)
        case "webdataset":
            from engine.export import webdataset

            return webdataset.write(reading, folder, about=about)
        case "croissant":
            from engine.export import croissant

            return croissant.write(reading, folder, about=about, link=link)
        case _:
            from engine.export import downstream

            return downstream.write(reading, folder)
