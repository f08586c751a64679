"""The dataset card: what the data is, how it was made, what it is good for, and what must be said of it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from engine.export.reading import RunReading
from engine.export.rows import Column

WORLD_BANK = (
    "Development Data Group, Data Analytics Unit. Synthetic Data for an Imaginary Country, Sample, 2023. World Bank. "
    "WLD_2023_SYNTH-SVY-EN_v01_M. https://doi.org/10.48529/MC1F-QH23"
)
ORIGINAL = (
    "Laura Dozal. (2026). AI/MLOps Pipeline Workshop - Synthetic Data Generation. College of Information, "
    "University of Arizona. https://doi.org/10.5281/zenodo.18407373"
)


SIMULATED_LOOKED_AT = 20
"""Pictures that are asked whether the simulator drew them; a run has one provider."""


class About(Struct, frozen=True, kw_only=True):
    """What a publisher says of the dataset."""

    name: str
    license: str | None = None
    """An SPDX name; None: to be chosen by the publisher."""


class Facts(Struct, frozen=True, kw_only=True):
    """What the run says of itself."""

    images: int
    refused: int
    failed: int
    captioned: int
    labelled: int
    commented: int
    models: tuple[str, ...]
    text_models: tuple[str, ...]
    first: str | None
    last: str | None
    usd: float | None
    reviewed: dict[str, int]
    themes: dict[str, int]
    simulated: bool


def gather(reading: RunReading) -> Facts:
    """One pass over the run."""
    models: Counter[str] = Counter()
    texts: Counter[str] = Counter()
    themes: Counter[str] = Counter()
    reviewed: Counter[str] = Counter()
    first = last = None
    captioned = labelled = commented = 0
    usd: float | None = 0.0
    simulated = False
    for item in reading:
        image = item.image
        models[image.model_version or image.model] += 1
        if item.metadata_model:
            texts[item.metadata_model] += 1
        news = image.source_data.get("atropia")
        theme = news.get("theme") if isinstance(news, dict) else None
        if isinstance(theme, str):
            themes[theme] += 1
        captioned += item.caption is not None
        labelled += item.labels is not None
        commented += item.comments is not None
        if item.verdict:
            reviewed[item.verdict.status] += 1
        first = min(first or image.generated_at, image.generated_at)
        last = max(last or image.generated_at, image.generated_at)
        usd = None if usd is None or image.cost_usd is None else usd + image.cost_usd + (item.metadata_usd or 0.0)
        if models.total() <= SIMULATED_LOOKED_AT:
            simulated = simulated or drawn_by_simulator(item.path)
    return Facts(
        images=models.total(),
        refused=reading.refused,
        failed=reading.failed,
        captioned=captioned,
        labelled=labelled,
        commented=commented,
        models=tuple(m for m, _ in models.most_common()),
        text_models=tuple(m for m, _ in texts.most_common()),
        first=first,
        last=last,
        usd=usd,
        reviewed=dict(reviewed.most_common()),
        themes=dict(themes.most_common(20)),
        simulated=simulated,
    )


def drawn_by_simulator(path: Path) -> bool:
    """Whether a picture says of itself that no model drew it."""
    try:
        with path.open("rb") as file:
            return b"groundswell simulator" in file.read(8192)
    except OSError:
        return False


def card(facts: Facts, about: About, of: Sequence[Column], *, loading: str, front: str = "") -> str:
    """README.md of an export. `front` is the YAML block of the Hugging Face Hub, `loading` how to read it."""
    licence = about.license or "**to be chosen by whoever publishes this** (see “Before you publish”)"
    simulated = (
        "> **Simulated.** No image model drew these pictures: groundswell's simulator did, for a rehearsal. "
        "They are of no use as data.\n\n"
        if facts.simulated
        else ""
    )
    table = "\n".join(f"| `{c.name}` | {c.about} |" for c in of)
    period = f"{(facts.first or '')[:10]} to {(facts.last or '')[:10]}" if facts.first else "–"
    cost = f"${facts.usd:,.2f}" if facts.usd is not None else "not known"
    return f"""{front}# {about.name}

{simulated}{facts.images:,} **synthetic** images of fictional social movements, with captions, labels and invented
social-media comments. No picture shows a real person, place or event, and no comment was written by a person.

| | |
|---|---|
| images | {facts.images:,} (refused by the provider: {facts.refused:,}; failed: {facts.failed:,}) |
| with caption / labels / comments | {facts.captioned:,} / {facts.labelled:,} / {facts.commented:,} |
| drawn by | {", ".join(facts.models) or "–"} |
| described by | {", ".join(facts.text_models) or "–"} |
| made | {period} |
| reviewed by people | {_counts(facts.reviewed) or "no"} |
| cost | {cost} |
| licence | {licence} |

## Loading

{loading}

## How it was made

Each prompt combines three contexts: fictional news of Atropia (the imaginary country of training scenarios; ours are
invented or paraphrased), synthetic people of the World Bank's imaginary country, drawn through their survey weights,
and textual visual guides. The prompt stream is deterministic: the seed and the configuration give it again. An image
model drew each prompt; a text model looked at each picture and wrote caption, labels and comments, which were checked
against a schema. Made with groundswell.

Themes of the news: {_counts(facts.themes) or "–"}.

## Columns

| column | meaning |
|---|---|
{table}

## Uses

Teaching and research on methods: pipelines, labelling, retrieval, clustering, network analysis, robustness of
detectors of synthetic media. **Not for** estimating how real movements look or speak, for training systems that watch,
identify or profile people, for persuasion, or for passing as news or as evidence.

## Known limits and biases

- Image models carry the biases of their training data: who is shown, in which role, light and dress. The people asked
  for are known (`demographics`); who was drawn was not measured.
- Captions, labels and comments are a model's, unless `review` says that people looked; they can be wrong.
- Comments imitate social media. They are supportive, critical, emotional or informational by design, not by frequency.
- Refused prompts are missing, and they are not missing at random.

## Ethics

**Before you publish**, say in every place where an image is shown that it is synthetic and fictional; keep the
provenance marks in the files (pictures are byte for byte as the model sent them, with its watermark); have people look
at a sample; choose a licence, and check the image provider's terms of use.

*FAIR.* Findable and citable once you give it a DOI; accessible and interoperable through open formats (PNG or JPEG,
Parquet, JSON); reusable with the full provenance of each image (`prompt`, `source_data`, models, times).
*CARE.* No community's data was collected. The scenes nevertheless touch on how people protest: benefit, control,
responsibility and ethics are with those who publish, and a community that recognises itself should be heard.

## Citation

- {ORIGINAL}
- {WORLD_BANK}
"""


def front_matter(facts: Facts, about: About, features: Sequence[tuple[str, str]], data_files: str) -> str:
    """The YAML block that the Hugging Face Hub and `datasets` read."""
    size = next(
        (name for limit, name in _SIZES if facts.images < limit),
        "n>1M",
    )
    lines = [
        "---",
        f"pretty_name: {json.dumps(about.name)}",
        f"license: {about.license or 'other'}",
        *([] if about.license else ["license_name: to-be-chosen"]),
        "language:",
        "- en",
        "task_categories:",
        "- image-to-text",
        "- image-classification",
        "- text-to-image",
        "size_categories:",
        f"- {size}",
        "tags:",
        "- synthetic",
        "- fictional",
        "- social-movements",
        "dataset_info:",
        "  features:",
    ]
    for name, kind in features:
        lines.append(f"  - name: {name}")
        if kind == "list":
            lines.append("    sequence: string")
        else:
            lines.append(f"    dtype: {kind}")
    lines += [
        "configs:",
        "- config_name: default",
        "  data_files:",
        "  - split: train",
        f"    path: {data_files}",
        "---",
    ]
    return "\n".join(lines) + "\n\n"


_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {n:,}" for name, n in counts.items())
