"""One image as a table row: the columns that the Parquet, Hugging Face and Croissant exports share."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
from msgspec import Struct
from polars.io.plugins import register_io_source

from engine.export.reading import Item, RunReading
from schemas.metadata import slug

BATCH_ROWS = 2_000
BATCH_BYTES = 64 << 20


class Column(Struct, frozen=True):
    """A column: its name, type, and what it holds in words."""

    name: str
    kind: str
    """text, int, float, texts (a list)."""
    about: str


BASE = (
    Column("image_id", "text", "Id of the image."),
    Column("index", "int", "Place of the image in the run, from 1."),
    Column("file_name", "text", "File name of the picture."),
    Column("sha256", "text", "SHA-256 of the picture file."),
    Column("size_bytes", "int", "Size of the picture file."),
    Column("mime_type", "text", "Type of the picture file."),
    Column("width", "int", "Width in pixels."),
    Column("height", "int", "Height in pixels."),
    Column("prompt", "text", "What the image model was asked."),
    Column("style", "text", "Prompt style."),
    Column("complexity", "text", "Prompt complexity."),
    Column("theme", "text", "Theme of the fictional news the prompt was made of."),
    Column("location", "text", "Fictional place of the news."),
    Column("atropia", "text", "The fictional news item, as JSON."),
    Column("demographics", "text", "The synthetic people of the prompt, as JSON."),
    Column("visual_reference", "text", "The visual guide of the prompt, as JSON."),
    Column("source_data", "text", "All source data, as JSON; for prompt files their further columns."),
    Column("caption", "text", "Caption by the text model."),
    Column("captions", "texts", "All caption variations."),
    Column("comments", "texts", "Invented social-media comments."),
    Column("labels", "text", "All labels, as JSON."),
    Column("image_model", "text", "Model that drew the image."),
    Column("metadata_model", "text", "Model that wrote caption, labels and comments."),
    Column("generated_at", "text", "When the image was made (UTC)."),
    Column("image_usd", "float", "What the image cost, in USD."),
    Column("metadata_usd", "float", "What its texts cost, in USD."),
    Column("review", "text", "What people decided: accept, reject, unsure, disputed, or nothing."),
)

_POLARS: Mapping[str, Any] = {
    "text": pl.String(),
    "int": pl.Int64(),
    "float": pl.Float64(),
    "texts": pl.List(pl.String()),
}


def columns(reading: RunReading) -> tuple[Column, ...]:
    """The columns of a run: the common ones and one per label category."""
    taken = {c.name for c in BASE}
    labels: list[Column] = []
    for category in reading.config.metadata.label_categories:
        name = f"label_{slug(category)}"
        if name not in taken:
            taken.add(name)
            labels.append(Column(name, "texts" if category == "primary_subjects" else "text", f"Label: {category}."))
    return (*BASE, *labels)


def schema(of: Sequence[Column]) -> dict[str, Any]:
    """The columns as a polars schema."""
    return {c.name: _POLARS[c.kind] for c in of}


def row(item: Item, categories: Sequence[str]) -> dict[str, Any]:
    """The values of one image, by column."""
    image, asset = item.image, item.image.asset
    assert asset is not None, "an item has its picture"
    source: dict[str, Any] = image.source_data or {}
    news = source.get("atropia") if isinstance(source.get("atropia"), dict) else {}
    values: dict[str, Any] = {
        "image_id": image.image_id,
        "index": image.index,
        "file_name": item.file_name,
        "sha256": asset.sha256,
        "size_bytes": asset.size_bytes,
        "mime_type": asset.mime_type,
        "width": asset.width,
        "height": asset.height,
        "prompt": image.prompt,
        "style": image.style,
        "complexity": image.complexity,
        "theme": text_of((news or {}).get("theme") or source.get("theme")),
        "location": text_of((news or {}).get("location")),
        "atropia": _json(source.get("atropia")),
        "demographics": _json(source.get("demographics")),
        "visual_reference": _json(source.get("visual_reference")),
        "source_data": _json(source),
        "caption": item.caption,
        "captions": list(item.captions),
        "comments": None if item.comments is None else list(item.comments),
        "labels": _json(item.labels),
        "image_model": image.model_version or image.model,
        "metadata_model": item.metadata_model,
        "generated_at": image.generated_at,
        "image_usd": image.cost_usd,
        "metadata_usd": item.metadata_usd,
        "review": item.verdict.status if item.verdict else None,
    }
    for category in categories:
        value = (item.labels or {}).get(category)
        if category == "primary_subjects":
            values[f"label_{slug(category)}"] = as_list(value) if value is not None else None
        else:
            values.setdefault(f"label_{slug(category)}", text_of(value))
    return values


def text_of(value: Any) -> str | None:
    """A label or name as text; lists are joined."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, list | tuple):
        return "; ".join(map(str, value))
    return _json(value) if isinstance(value, dict) else str(value)


def as_list(value: Any) -> list[str]:
    """A label's values as texts."""
    if value is None:
        return []
    return [str(v) for v in value] if isinstance(value, list | tuple) else [str(value)]


def _json(value: Any) -> str | None:
    return None if value is None else json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)


def sink(
    path: Path,
    rows: Callable[[], Iterator[dict[str, Any]]],
    of: Mapping[str, Any],
    *,
    row_group: int = 20_000,
    metadata: dict[str, str] | None = None,
    weigh: Callable[[dict[str, Any]], int] = lambda _: 0,
) -> None:
    """Stream rows into one Parquet file. `weigh` gives a row's bytes, so that batches stay small."""

    def source(
        with_columns: list[str] | None, predicate: pl.Expr | None, n_rows: int | None, batch_size: int | None
    ) -> Iterator[pl.DataFrame]:
        del batch_size, n_rows
        for batch in _batches(rows(), weigh):
            frame = pl.DataFrame(batch, schema=dict(of), orient="row")
            frame = frame.select(with_columns) if with_columns is not None else frame
            yield frame.filter(predicate) if predicate is not None else frame

    register_io_source(io_source=source, schema=pl.Schema(dict(of))).sink_parquet(
        path,
        compression="zstd",
        compression_level=3,
        row_group_size=row_group,
        maintain_order=True,
        metadata=metadata,
    )


def _batches(rows: Iterator[dict[str, Any]], weigh: Callable[[dict[str, Any]], int]) -> Iterator[list[dict[str, Any]]]:
    batch: list[dict[str, Any]] = []
    weight = 0
    for each in rows:
        batch.append(each)
        weight += weigh(each)
        if len(batch) >= BATCH_ROWS or weight >= BATCH_BYTES:
            yield batch
            batch, weight = [], 0
    if batch:
        yield batch
