"""WebDataset: tar shards that training reads in sequence, each sample a picture, its caption and its record.

The same run gives the same bytes: members are in the order of the run and carry no time or owner.
"""

from __future__ import annotations

import io
import json
import tarfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from engine.errors import StoreError
from engine.export.card import About, card, gather
from engine.export.reading import Item, RunReading
from engine.export.rows import columns, row

SHARD_BYTES = 500 << 20
SHARD_SAMPLES = 10_000

LOADING = """```python
import webdataset as wds

samples = wds.WebDataset("data-{000000..%06d}.tar").decode("pil").to_tuple("png;jpg;webp", "txt", "json")
```

`sizes.json` holds the number of samples of each shard."""


def write(
    reading: RunReading,
    dest: Path,
    *,
    about: About,
    shard_bytes: int = SHARD_BYTES,
    shard_samples: int = SHARD_SAMPLES,
) -> dict[str, Any]:
    """data-*.tar, sizes.json and README.md."""
    categories = reading.config.metadata.label_categories
    sizes: dict[str, int] = {}
    name, filled = "", 0
    with ExitStack() as last:
        tar: tarfile.TarFile | None = None
        for item in reading:
            asset = item.image.asset
            weight = asset.size_bytes if asset else 0
            if tar is None or sizes[name] >= shard_samples or (filled and filled + weight > shard_bytes):
                last.close()
                name, filled = f"data-{len(sizes):06d}.tar", 0
                sizes[name] = 0
                tar = last.enter_context(tarfile.open(dest / name, "w", format=tarfile.PAX_FORMAT))
            _add(tar, item, {**row(item, categories), "source_data": item.image.source_data, "labels": item.labels})
            sizes[name] += 1
            filled += weight
    (dest / "sizes.json").write_text(json.dumps(sizes, indent=2) + "\n", encoding="utf-8")
    text = card(gather(reading), about, columns(reading), loading=LOADING % max(0, len(sizes) - 1))
    (dest / "README.md").write_text(text, encoding="utf-8")
    return {"images": sum(sizes.values()), "shards": len(sizes)}


def _add(tar: tarfile.TarFile, item: Item, record: dict[str, Any]) -> None:
    key = sample_key(item)
    try:
        data = item.path.read_bytes()
    except OSError as error:
        raise StoreError(f"{item.path}: cannot be read ({error.strerror}); run groundswell verify --repair") from error
    members = [(item.path.suffix, data)]
    if item.caption is not None:
        members.append((".txt", item.caption.encode()))
    members.append((".json", json.dumps(record, ensure_ascii=False, default=str).encode()))
    for suffix, content in members:
        info = tarfile.TarInfo(key + suffix)
        info.size, info.mode = len(content), 0o644
        tar.addfile(info, io.BytesIO(content))


def sample_key(item: Item) -> str:
    """The name that a sample's members share. WebDataset ends it at the first dot, so no id with dots can be one."""
    image = item.image
    return image.image_id if "." not in image.image_id else f"{image.index:09d}-{image.image_id.replace('.', '_')}"
