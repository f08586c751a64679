"""What the workshop's next steps read: texts for embeddings, and the graph of images that share labels.

Models and graph measures are theirs; this writes their inputs. `images.parquet` has one text per image,
`texts.parquet` every text by itself, `edges.csv` images that share labels (weight: Jaccard), and
`image_labels.csv` the bipartite graph of images and labels.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from engine.export.files import CsvFile
from engine.export.reading import Item, RunReading
from engine.export.rows import as_list, sink, text_of
from engine.export.text import emoji, hashtags, lemmatiser, normalise, split_hashtag, without_emoji

JACCARD_MIN = 0.3
NEIGHBOURS_MAX = 20
"""Strongest neighbours kept per image: a label that half of all images carry would else give n² edges."""
EDGES_IMAGES_MAX = 100_000
"""Beyond this only the bipartite graph is written; all pairs are compared."""
Places = np.ndarray[Any, np.dtype[np.int32]]
UNSAID = {"", "none", "n/a", "no", "unknown"}
"""Values that say nothing about an image, and connect none."""


def write(reading: RunReading, dest: Path) -> dict[str, Any]:
    """images.parquet, texts.parquet, image_labels.csv, edges.csv and README.md."""
    lemmas = lemmatiser()
    categories = reading.config.metadata.label_categories
    strings = {"text": pl.String(), "text_normalised": pl.String(), "text_lemmas": pl.String()}
    sink(
        dest / "images.parquet",
        lambda: (_image_row(item, categories, lemmas) for item in reading),
        {
            "image_id": pl.String(),
            "path": pl.String(),
            "theme": pl.String(),
            "caption": pl.String(),
            "labels": pl.List(pl.String()),
            "hashtags": pl.List(pl.String()),
            **strings,
        },
    )
    sink(
        dest / "texts.parquet",
        lambda: (r for item in reading for r in _text_rows(item, lemmas)),
        {
            "image_id": pl.String(),
            "kind": pl.String(),
            "position": pl.Int64(),
            **strings,
            "text_emoji_as_words": pl.String(),
            "hashtags": pl.List(pl.String()),
            "hashtags_split": pl.List(pl.String()),
            "emoji": pl.List(pl.String()),
        },
    )
    ids: list[str] = []
    label_sets: list[list[int]] = []
    names: dict[str, int] = {}
    with CsvFile(dest / "image_labels.csv", ["image_id", "category", "label"]) as table:
        for item in reading:
            mine: list[int] = []
            for category, value in label_pairs(item, categories):
                table.write([item.image.image_id, category, value])
                mine.append(names.setdefault(f"{category}={value}", len(names)))
            ids.append(item.image.image_id)
            label_sets.append(mine)
    edges = _edges(dest / "edges.csv", ids, label_sets, list(names))
    (dest / "README.md").write_text(_ABOUT + ("" if lemmas else _NO_LEMMAS), encoding="utf-8")
    return {"images": len(ids), "edges": edges, "labels": len(names)}


def label_pairs(item: Item, categories: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """The labels of an image as (category, value), lists apart, values that say nothing left out."""
    seen: set[tuple[str, str]] = set()
    for category in categories:
        for value in as_list((item.labels or {}).get(category)):
            pair = (category, " ".join(value.lower().split()))
            if pair[1] not in UNSAID and pair not in seen:
                seen.add(pair)
                yield pair


def _image_row(item: Item, categories: tuple[str, ...], lemmas: Any) -> dict[str, Any]:
    pairs = list(label_pairs(item, categories))
    text = " ".join([item.caption or "", *(item.comments or ())]).strip()
    normal = normalise(text)
    news = item.image.source_data.get("atropia")
    return {
        "image_id": item.image.image_id,
        "path": str(item.path.absolute()),
        "theme": text_of(news.get("theme")) if isinstance(news, dict) else None,
        "caption": item.caption,
        "labels": [f"{category}={value}" for category, value in pairs],
        "hashtags": [split_hashtag(tag) for comment in item.comments or () for tag in hashtags(comment)],
        "text": text,
        "text_normalised": normal,
        "text_lemmas": lemmas(normal) if lemmas else None,
    }


def _text_rows(item: Item, lemmas: Any) -> Iterator[dict[str, Any]]:
    texts = [("caption", n, t) for n, t in enumerate(item.captions or ((item.caption,) if item.caption else ()), 1)]
    texts += [("comment", n, t) for n, t in enumerate(item.comments or (), 1)]
    for kind, position, text in texts:
        normal, tags = normalise(text), hashtags(text)
        yield {
            "image_id": item.image.image_id,
            "kind": kind,
            "position": position,
            "text": text,
            "text_normalised": normal,
            "text_lemmas": lemmas(normal) if lemmas else None,
            "text_emoji_as_words": without_emoji(text),
            "hashtags": tags,
            "hashtags_split": [split_hashtag(tag) for tag in tags],
            "emoji": emoji(text),
        }


def _edges(path: Path, ids: list[str], label_sets: list[list[int]], names: list[str]) -> int:
    """Images that share labels, strongest first per image; each pair once. Gives their number.

    Memory follows the number of labels that images carry, not that of all pairs or of all names.
    """
    with CsvFile(path, ["source", "target", "weight", "shared_labels"]) as table:
        if len(ids) > EDGES_IMAGES_MAX or not names:
            return 0
        carriers = _carriers(label_sets, len(names))
        sizes = np.array([len(mine) for mine in label_sets], dtype=np.int32)
        neighbours: list[list[int]] = []
        for one, mine in enumerate(label_sets):
            nearest = _nearest(one, mine, carriers, sizes)
            neighbours.append([other for other, _ in nearest])
            for other, weight in nearest:
                if other < one and one in neighbours[other]:
                    continue  # written when its turn was the other's
                first, second = min(one, other), max(one, other)
                common = sorted(set(mine) & set(label_sets[other]))
                table.write([ids[first], ids[second], round(weight, 4), [names[n] for n in common]])
        return table.rows


def _carriers(label_sets: list[list[int]], names: int) -> list[Places]:
    """The images that carry each label, in order; an empty one where it is a single image, which it joins to none."""
    flat = np.array([label for mine in label_sets for label in mine], dtype=np.int32)
    owners = np.repeat(np.arange(len(label_sets), dtype=np.int32), [len(mine) for mine in label_sets])
    counts = np.bincount(flat, minlength=names)
    parts = np.split(owners[np.argsort(flat, kind="stable")], np.cumsum(counts)[:-1])
    return [part if len(part) > 1 else part[:0] for part in parts]


def _nearest(one: int, mine: list[int], carriers: list[Places], sizes: Places) -> list[tuple[int, float]]:
    """The images most like this one with their Jaccard similarity; ties by place, so that a run gives one graph."""
    found = [carriers[label] for label in mine if len(carriers[label])]
    if not found:
        return []
    shared = np.bincount(np.concatenate(found), minlength=len(sizes))
    shared[one] = 0
    near = np.flatnonzero(shared * (1 + JACCARD_MIN) >= JACCARD_MIN * (sizes + len(mine)) - 1e-9)
    near = near[shared[near] > 0]
    likeness = shared[near] / (sizes[near] + len(mine) - shared[near])
    if len(near) > NEIGHBOURS_MAX:
        least = np.partition(likeness, -NEIGHBOURS_MAX)[-NEIGHBOURS_MAX]
        above, equal = np.flatnonzero(likeness > least), np.flatnonzero(likeness == least)
        kept = np.concatenate([above, equal[: NEIGHBOURS_MAX - len(above)]])
        near, likeness = near[kept], likeness[kept]
    order = np.lexsort((near, -likeness))
    return [(int(near[n]), float(likeness[n])) for n in order]


_ABOUT = f"""# For the next steps of the workshop

`images.parquet`
: for embeddings and clustering: one row per image with its path, caption, labels, all its text, the text normalised

`texts.parquet`
: for language models and evaluation: one row per caption and comment, normalised, emoji as words, hashtags split

`image_labels.csv`
: for bipartite graphs: `image_id, category, label`

`edges.csv`
: for networks: `source, target, weight, shared_labels`; the weight is the Jaccard similarity of the label sets,
from {JACCARD_MIN}, at most the {NEIGHBOURS_MAX} strongest per image

Normalised text: lower case, `#ClimateStrike` as "climate strike", emoji by their Unicode names, links and mentions out.

```python
import networkx as nx, polars as pl

edges = pl.read_csv("edges.csv")
graph = nx.Graph()
graph.add_weighted_edges_from(edges.select("source", "target", "weight").rows())
texts = pl.read_parquet("images.parquet")["text_normalised"].to_list()   # to your sentence encoder
```

All images, texts and people are synthetic and fictional.
"""
_NO_LEMMAS = "\n`text_lemmas` is empty: install simplemma and export again for base forms.\n"
