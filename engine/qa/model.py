"""The words of QA: what can be wrong with a picture or a text, how bad it is, and what to do about it.

Every flag a pass can raise is in `FLAGS`, so that the report, the tables and `run --redo qa` speak of
the same things.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import msgspec
from msgspec import Struct

from schemas.config import RunConfig

REPORT_VERSION = 1
Severity = Literal["critical", "warning", "info"]
Subject = Literal["image", "caption", "labels", "comments", "log"]


class Flag(Struct, frozen=True):
    """One thing that can be wrong."""

    severity: Severity
    subject: Subject
    title: str
    meaning: str
    redo: bool = False
    """Whether `run --redo qa` asks again for the image, or the text, that has it."""


FLAGS: dict[str, Flag] = {
    # Integrity: the file is not what the log says was paid for.
    "missing": Flag("critical", "image", "File missing", "The log names a file that is not there.", True),
    "empty": Flag("critical", "image", "Empty file", "The file has no bytes.", True),
    "not_an_image": Flag("critical", "image", "Not a picture", "The bytes are no PNG, JPEG or WebP.", True),
    "torn": Flag("critical", "image", "Torn or damaged", "The file ends early, or a checksum inside is wrong.", True),
    "digest": Flag("critical", "image", "Bytes changed", "The SHA-256 differs from the one recorded.", True),
    "size": Flag("critical", "image", "Size changed", "The file has another length than recorded.", True),
    "type": Flag("critical", "image", "Wrong type", "The bytes are of another type than recorded.", True),
    "extension": Flag("critical", "image", "Wrong extension", "The file name promises another type.", True),
    "dimensions": Flag(
        "critical", "image", "Wrong dimensions", "The picture is not as wide or high as recorded.", True
    ),
    "bomb": Flag("critical", "image", "Decompression bomb", "The header announces more pixels than is sane.", True),
    "undecodable": Flag("critical", "image", "Cannot be decoded", "The structure is whole, yet decoding fails.", True),
    "blank": Flag("critical", "image", "Blank", "One colour, or nearly so.", True),
    # Quality: a picture, but perhaps not one to keep.
    "dark": Flag("warning", "image", "Too dark", "Even the brightest parts are dark.", True),
    "light": Flag("warning", "image", "Too light", "Even the darkest parts are light.", True),
    "blurred": Flag("warning", "image", "Blurred", "No sharp edge anywhere.", True),
    "low_information": Flag("warning", "image", "Little information", "Very few tones or hardly any detail."),
    "grey": Flag("info", "image", "Without colour", "A grey-scale picture."),
    "aspect": Flag("warning", "image", "Odd aspect ratio", "Not the aspect ratio asked for, or extremely narrow."),
    "odd_size": Flag("warning", "image", "Odd size", "Much smaller or larger than the others."),
    "tiny": Flag("warning", "image", "Tiny picture", "Under 100 x 100 pixels."),
    "small_file": Flag("warning", "image", "Small file", "Fewer bytes than validation.min_image_size_kb."),
    "duplicate": Flag("warning", "image", "Duplicate", "Shows the same as another image, which is kept.", True),
    "not_as_asked": Flag("warning", "image", "Not as asked for", "The labels say other than the prompt asked for."),
    "rejected": Flag("critical", "image", "Rejected by a person", "A reviewer decided against it.", True),
    # Texts.
    "no_caption": Flag("warning", "caption", "No caption", "Asked for, and not there.", True),
    "caption_empty": Flag("critical", "caption", "Empty caption", "Answered with nothing but blanks.", True),
    "caption_short": Flag("warning", "caption", "Short caption", "Under 10 characters.", True),
    "caption_long": Flag("warning", "caption", "Long caption", "Over 500 characters.", True),
    "caption_placeholder": Flag(
        "critical", "caption", "Placeholder caption", "Boilerplate instead of a description.", True
    ),
    "caption_variations": Flag(
        "warning", "caption", "Caption variations missing", "Fewer captions than asked for.", True
    ),
    "caption_repeated": Flag(
        "info",
        "caption",
        "Repeated caption",
        "Equal, or nearly, to an earlier image's, which near_texts/ names. Of more than 200,000 a sample is compared.",
    ),
    "no_labels": Flag("warning", "labels", "No labels", "Asked for, and not there.", True),
    "labels_missing": Flag("warning", "labels", "Label categories missing", "A category asked for has no value.", True),
    "labels_unknown": Flag("warning", "labels", "Label outside its vocabulary", "Not a value of its category.", True),
    "no_comments": Flag("warning", "comments", "No comments", "Asked for, and not there.", True),
    "comments_count": Flag("warning", "comments", "Wrong number of comments", "Not as many as asked for.", True),
    "comments_empty": Flag("critical", "comments", "Empty comment", "A comment with nothing but blanks.", True),
    "comments_placeholder": Flag(
        "critical", "comments", "Placeholder comment", "Boilerplate instead of a comment.", True
    ),
    "comments_repeated": Flag("warning", "comments", "Repeated comments", "An image has the same comment twice.", True),
    "hashtags": Flag("info", "comments", "Hashtags though switched off", "metadata.include_hashtags is false."),
    "emojis": Flag("info", "comments", "Emojis though switched off", "metadata.include_emojis is false."),
    "language": Flag("warning", "caption", "Other language", "Does not read as the language asked for.", True),
    "contradiction": Flag("warning", "labels", "Contradiction", "Caption and labels disagree.", True),
    "prompt_short": Flag("warning", "caption", "Short prompt", "Under 20 characters."),
    "prompt_long": Flag("info", "caption", "Long prompt", "Over 8,000 characters."),
    # Logs.
    "log_damaged": Flag("critical", "log", "Damaged log line", "A line whose checksum is wrong, before good ones."),
}
"""Flag by its name in the tables."""

INTEGRITY = tuple(name for name in FLAGS if FLAGS[name].severity == "critical" and FLAGS[name].subject == "image")[:11]
"""The flags that make a file unusable as what was recorded."""


class Progress(Struct, frozen=True):
    """How far a pass is."""

    step: str
    done: int
    total: int
    """0 where not known beforehand."""


class Options(Struct, frozen=True, kw_only=True):
    """How a pass is made. The defaults are right for most."""

    config: RunConfig | None = None
    """Thresholds and what was asked for; None takes the run's own from run.json."""
    threads: int | None = None
    """Pictures looked at at a time, in threads or, if they are many, processes; None: one per core."""
    recheck: bool = False
    """Look at every image again, also at those that did not change since the last pass."""
    html: bool | None = None
    """Write report.html; None asks validation.generate_qa_report."""
    seed: int = 0
    """Which images the report samples."""
    on_progress: Callable[[Progress], None] | None = None


class Component(Struct, frozen=True, kw_only=True):
    """One part of the score."""

    name: str
    title: str
    value: float
    """0 to 1."""
    weight: float
    explanation: str
    """How the value comes about, with its numbers."""
    raise_by: str
    """What would raise it; empty at 1."""


class Action(Struct, frozen=True, kw_only=True):
    """A recommendation that can be carried out."""

    priority: Literal["must", "should", "could"]
    title: str
    reason: str
    command: str | None = None


class QAReport(Struct, frozen=True, kw_only=True):
    """What qa/report.json holds. The members up to `summary` are the original pipeline's."""

    v: int = REPORT_VERSION
    validation_timestamp: str
    output_directory: str
    images: dict[str, Any]
    metadata: dict[str, Any]
    captions: dict[str, Any]
    labels: dict[str, Any]
    comments: dict[str, Any]
    duplicates: dict[str, Any]
    summary: dict[str, Any]
    run: dict[str, Any]
    flags: dict[str, int]
    """Images or lines by flag."""
    critical: int
    """How many critical findings there are."""
    score: float
    """0 to 100: the weighted geometric mean of the components."""
    components: tuple[Component, ...]
    actions: tuple[Action, ...]
    statistics: dict[str, Any]
    bias: dict[str, Any]
    reviews: dict[str, Any] | None = None
    method: dict[str, Any]
    """How each number comes about: thresholds, limits, versions."""

    @property
    def exit_code(self) -> int:
        """3 while critical findings remain, 0 otherwise."""
        return 3 if self.critical else 0

    def json(self) -> bytes:
        """The report as indented JSON, newline at the end."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n"
