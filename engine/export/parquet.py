"""A table of the run as Parquet, with the pictures beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from engine.export.card import About, card, gather
from engine.export.files import place
from engine.export.reading import RunReading
from engine.export.rows import columns, row, schema, sink

LOADING = """```python
import polars as pl

images = pl.read_parquet("images.parquet")   # one row per image
```

`file_name` is the name of the picture in `images/`."""


def write_table(reading: RunReading, path: Path) -> None:
    """images.parquet: one row per image."""
    categories = reading.config.metadata.label_categories
    sink(path, lambda: (row(item, categories) for item in reading), schema(columns(reading)))


def write_pictures(reading: RunReading, folder: Path, *, link: bool = True) -> dict[str, int]:
    """The pictures of a run in one folder."""
    folder.mkdir(parents=True, exist_ok=True)
    counts = {"images": 0, "linked": 0}
    for item in reading:
        counts["linked"] += place(item.path, folder / item.file_name, link=link)
        counts["images"] += 1
    return counts


def write(reading: RunReading, dest: Path, *, about: About, link: bool = True) -> dict[str, Any]:
    """images.parquet, images/ and a card."""
    write_table(reading, dest / "images.parquet")
    counts = write_pictures(reading, dest / "images", link=link)
    text = card(gather(reading), about, columns(reading), loading=LOADING)
    (dest / "README.md").write_text(text, encoding="utf-8")
    return counts
