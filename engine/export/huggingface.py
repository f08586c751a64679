"""A dataset for the Hugging Face Hub: Parquet shards with the pictures inside, and a card.

`datasets.load_dataset(folder)` reads it as it is, the Hub's viewer shows it, and it is pushed with
`huggingface-cli upload`. Pictures keep their bytes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

from engine.errors import StoreError
from engine.export.card import About, card, front_matter, gather
from engine.export.reading import Item, RunReading
from engine.export.rows import columns, row, schema, sink

SHARD_BYTES = 400 << 20
"""The Hub's advice is 200 MB to 500 MB a shard."""
ROW_GROUP = 100
_FEATURE = {"text": "string", "int": "int64", "float": "float64", "texts": "list"}

LOADING = """```python
from datasets import load_dataset

images = load_dataset("path/to/this/folder", split="train")   # images[0]["image"] is a PIL picture
```"""


def write(reading: RunReading, dest: Path, *, about: About) -> dict[str, Any]:
    """data/train-*.parquet and README.md."""
    of = columns(reading)
    shards = plan_shards(reading)
    data = dest / "data"
    data.mkdir(parents=True, exist_ok=True)
    features = [("image", "image"), *((c.name, _FEATURE[c.kind]) for c in of)]
    note = {"huggingface": json.dumps({"info": {"features": {n: _feature(kind) for n, kind in features}}})}
    of_rows: dict[str, Any] = {"image": pl.Struct({"bytes": pl.Binary(), "path": pl.String()}), **schema(of)}
    items = iter(reading)
    categories = reading.config.metadata.label_categories
    for n, count in enumerate(shards):
        path = data / f"train-{n:05d}-of-{len(shards):05d}.parquet"

        def rows(count: int = count) -> Iterator[dict[str, Any]]:
            for _, item in zip(range(count), items, strict=False):
                yield {"image": {"bytes": _bytes(item), "path": item.file_name}, **row(item, categories)}

        sink(path, rows, of_rows, row_group=ROW_GROUP, metadata=note, weigh=lambda r: len(r["image"]["bytes"]))
    facts = gather(reading)
    front = front_matter(facts, about, features, "data/train-*.parquet")
    (dest / "README.md").write_text(card(facts, about, of, loading=LOADING, front=front), encoding="utf-8")
    return {"images": facts.images, "shards": len(shards)}


def plan_shards(reading: RunReading, limit_bytes: int = SHARD_BYTES) -> list[int]:
    """How many images each shard holds; at least one shard."""
    counts = [0]
    size = 0
    for item in reading:
        asset = item.image.asset
        weight = asset.size_bytes if asset else 0
        if counts[-1] and size + weight > limit_bytes:
            counts.append(0)
            size = 0
        counts[-1] += 1
        size += weight
    return counts


def _feature(kind: str) -> dict[str, Any]:
    if kind == "image":
        return {"_type": "Image"}
    if kind == "list":
        return {"feature": {"dtype": "string", "_type": "Value"}, "_type": "Sequence"}
    return {"dtype": kind, "_type": "Value"}


def _bytes(item: Item) -> bytes:
    try:
        return item.path.read_bytes()
    except OSError as error:
        raise StoreError(f"{item.path}: cannot be read ({error.strerror}); run groundswell verify --repair") from error
