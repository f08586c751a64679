"""Record: one log line. Written once, never changed; version 1.

`encode_line` and `check_line` are the two ends of the format; `seal` makes the lines of logs, which
also say how much of their log was on disk when they were written. The last member of a line is
`"crc"`, the CRC-32 of the line's bytes without that member, its comma and the newline.
"""

from __future__ import annotations

import zlib
from typing import Any, Literal

import msgspec
from msgspec import Struct, field

from schemas.job import Stage
from schemas.outcome import Asset, Failure, Usage

VERSION = 1
Status = Literal["ok", "refused", "failed", "retry"]


class Start(Struct, frozen=True, kw_only=True):
    """A line of log/attempts.jsonl, durable before the call is made.

    `status` is `start`; or `rejected` for a call that a quota turned away unpaid (a 429 is not
    an attempt, but the start it answers is no longer in doubt).
    """

    v: int = VERSION
    job: str
    status: Literal["start", "rejected"]
    stage: Stage
    image_id: str
    index: int
    attempt: int
    generated_at: str
    """When the call was started, or when the rejection came."""
    model: str
    cost_usd: float | None = None
    """The estimate that was reserved."""
    tokens: int = 0
    """Input tokens reserved."""
    tasks: tuple[str, ...] = ()
    """Which tasks a metadata call is about."""
    limit_per_minute: float | None = None
    """In a rejection: the requests per minute that are kept from now on, if the far side taught a limit."""
    error: Failure | None = None


class Record(Struct, frozen=True, kw_only=True):
    """What every line of log/images.jsonl and log/metadata.jsonl has."""

    v: int = VERSION
    job: str
    status: Status
    stage: Stage
    image_id: str
    index: int
    attempt: int
    final: bool
    generated_at: str
    latency_s: float
    model: str
    model_version: str | None = None
    """The model that answered, if it said so."""
    finish_reason: str | None = None
    usage: Usage
    cost_usd: float | None
    error: Failure | None = None
    adopted: bool = False
    """The picture was found whole after a crash; its answer's details are lost."""


class ImageRecord(Record, frozen=True, kw_only=True):
    """A line of log/images.jsonl."""

    prompt: str
    source_data: dict[str, Any]
    style: str | None
    complexity: str | None
    aspect_ratio: str | None
    resolution: str | None
    asset: Asset | None = None


class MetadataRecord(Record, frozen=True, kw_only=True):
    """A line of log/metadata.jsonl. What the job did not ask for is null."""

    tasks: tuple[str, ...]
    caption: str | None = None
    captions: tuple[str, ...] = ()
    labels: dict[str, Any] | None = None
    comments: tuple[str, ...] | None = None


class RunManifest(Struct, frozen=True, kw_only=True):
    """run.json: what was asked, fixed when the run is created. Holds no secret."""

    v: int = VERSION
    run_id: str
    created_at: str
    run_date: str
    """YYYYMMDD, part of every image id."""
    versions: dict[str, str]
    fingerprints: dict[str, str]
    """Digests of what is asked: `prompts` (sources, style, seed …), `image`, `metadata`."""
    config: dict[str, Any]
    """The resolved configuration."""
    origin: dict[str, str] = field(default_factory=dict[str, str])
    """Where the newest session found what it was given: `project`, the folder that relative paths of the configuration
    start from, and `prompts`, the prompt file. So that the run can be taken up from elsewhere."""


_encoder = msgspec.json.Encoder()


def encode_body(record: Struct) -> bytes:
    """The record as JSON, to be sealed."""
    return _encoder.encode(record)


def seal(body: bytes, synced: int) -> bytes:
    """A record as a log line that also says how many bytes of its log were on disk when it was written.

    After a power loss this tells a hole in lines that were on their way from damage to older ones.
    """
    body = b'%b,"synced":%d' % (body[:-1], synced)
    return b'%b,"crc":"%08x"}\n' % (body, zlib.crc32(b"}", zlib.crc32(body)))


def encode_line(record: Struct) -> bytes:
    """The record as one log line, crc and newline included."""
    body = _encoder.encode(record)
    return b'%b,"crc":"%08x"}\n' % (body[:-1], zlib.crc32(body))


_CRC_MEMBER = len(b',"crc":"00000000"}')


def check_line(line: bytes) -> bool:
    """Whether a line (with or without its newline) is whole and unchanged."""
    line = line.removesuffix(b"\n")
    crc = zlib.crc32(b"}", zlib.crc32(line[:-_CRC_MEMBER]))
    return line[:1] == b"{" and line[-_CRC_MEMBER:] == b',"crc":"%08x"}' % crc


def body_of(line: bytes) -> bytes:
    """What was encoded: a line of `encode_line` without its crc and newline."""
    return line[: -_CRC_MEMBER - 1] + b"}"
