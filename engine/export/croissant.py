"""Croissant 1.0: a description of the dataset that search engines and loaders understand, with its data.

The table and the pictures are those of the Parquet export; croissant.json says what every column is, where
the files are and what their digests are, and answers the questions of the responsible-AI vocabulary.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from engine.export import parquet
from engine.export.card import ORIGINAL, WORLD_BANK, About, Facts, card, gather
from engine.export.reading import RunReading
from engine.export.rows import Column, columns

_TYPES = {"text": "sc:Text", "texts": "sc:Text", "int": "sc:Integer", "float": "sc:Float"}
_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
LOADING = """```python
import mlcroissant as mlc

dataset = mlc.Dataset("croissant.json")
for record in dataset.records("images"):
    ...
```"""


def write(reading: RunReading, dest: Path, *, about: About, link: bool = True) -> dict[str, Any]:
    """croissant.json, images.parquet, images/ and README.md."""
    parquet.write_table(reading, dest / "images.parquet")
    counts = parquet.write_pictures(reading, dest / "images", link=link)
    facts, of = gather(reading), columns(reading)
    described = describe(facts, about, of, _digest(dest / "images.parquet"))
    (dest / "croissant.json").write_text(json.dumps(described, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    (dest / "README.md").write_text(card(facts, about, of, loading=LOADING), encoding="utf-8")
    return counts


def describe(facts: Facts, about: About, of: tuple[Column, ...], table_sha256: str) -> dict[str, Any]:
    """The contents of croissant.json."""
    described: dict[str, Any] = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "name": about.name,
        "description": f"{facts.images:,} synthetic images of fictional social movements with captions, labels and "
        "invented comments. No picture shows a real person, place or event.",
        "conformsTo": ["http://mlcommons.org/croissant/1.0", "http://mlcommons.org/croissant/RAI/1.0"],
        "citeAs": ORIGINAL,
        "creator": {"@type": "sc:Organization", "name": "to be named by whoever publishes this"},
        "datePublished": (facts.last or "1970-01-01")[:10],
        "url": ".",
        "version": "1.0.0",
        "license": f"https://spdx.org/licenses/{about.license}" if about.license else "to be chosen by the publisher",
        "keywords": ["synthetic", "fictional", "social movements", "images", "captions"],
        "rai:dataCollection": "Generated: prompts from fictional news, synthetic people and visual guides; drawn by "
        f"{', '.join(facts.models) or 'no model'}; described by {', '.join(facts.text_models) or 'no model'}.",
        "rai:dataCollectionType": ["Synthetic data generation"],
        "rai:dataCollectionTimeframe": [t for t in (facts.first, facts.last) if t],
        "rai:dataAnnotationProtocol": "Captions, labels and comments by a text model, checked against a schema. "
        + (f"People reviewed a part: {facts.reviewed}." if facts.reviewed else "Not reviewed by people."),
        "rai:dataBiases": "Those of the image model and the text model. The people asked for are recorded; who was "
        "drawn was not measured. Refused prompts are missing, not at random.",
        "rai:personalSensitiveInformation": "None: all people, places and events are fictional.",
        "rai:dataUseCases": "Teaching and research on methods. Not for estimating real movements, for surveillance, "
        "for persuasion, or for passing as news.",
        "rai:dataLimitations": "Texts are a model's and can be wrong; comments imitate social media by design.",
        "rai:dataSocialImpact": "Pictures must be shown as synthetic wherever they appear.",
        "isBasedOn": [WORLD_BANK, ORIGINAL],
        "distribution": [
            {
                "@type": "cr:FileObject",
                "@id": "images.parquet",
                "name": "images.parquet",
                "description": "One row per image.",
                "contentUrl": "images.parquet",
                "encodingFormat": "application/x-parquet",
                "sha256": table_sha256,
            },
            {
                "@type": "cr:FileSet",
                "@id": "pictures",
                "name": "pictures",
                "description": "The picture files, named as the column file_name says; their digests are in sha256.",
                "encodingFormat": ["image/png", "image/jpeg", "image/webp"],
                "includes": "images/*",
            },
        ],
        "recordSet": [
            {
                "@type": "cr:RecordSet",
                "@id": "images",
                "name": "images",
                "description": "One record per image.",
                "key": {"@id": "images/image_id"},
                "field": [_field(c) for c in of],
            }
        ],
    }
    return described


def _field(column: Column) -> dict[str, Any]:
    field: dict[str, Any] = {
        "@type": "cr:Field",
        "@id": f"images/{column.name}",
        "name": column.name,
        "description": column.about,
        "dataType": _TYPES[column.kind],
        "source": {"fileObject": {"@id": "images.parquet"}, "extract": {"column": column.name}},
    }
    if column.kind == "texts":
        field["repeated"] = True
    return field


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
