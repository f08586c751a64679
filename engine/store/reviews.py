"""Reading log/reviews.jsonl, for everybody who uses decisions: the page itself, QA, export, redo.

Any number of processes may append while others read; a reader takes whole lines only.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
from msgspec import Struct

from engine.core.reviews import Decision
from engine.errors import StoreError
from schemas.record import check_line

__all__ = ["ReviewLines", "read_reviews"]

_decode = msgspec.json.Decoder(Decision).decode


class ReviewLines(Struct, frozen=True, kw_only=True):
    """What a stretch of the review log holds."""

    decisions: tuple[Decision, ...]
    damaged: tuple[int, ...]
    """Byte offsets of lines that are not whole decisions. They count for nothing and stay where they are."""
    end: int
    """Byte offset behind the last whole line: where to read on."""


def read_reviews(path: Path, offset: int = 0) -> ReviewLines:
    """The decisions from `offset` (the start of a line) to the last newline; none when there is no file.

    Raises StoreError when the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            file.seek(offset)
            data = file.read()
    except FileNotFoundError:
        return ReviewLines(decisions=(), damaged=(), end=offset)
    except OSError as error:
        raise StoreError(f"{path}: cannot be read ({error.strerror}); the decisions are in it") from error
    decisions: list[Decision] = []
    damaged: list[int] = []
    at = 0
    while (newline := data.find(b"\n", at)) >= 0:
        line = data[at:newline]
        decision = _parse(line)
        if decision is None:
            damaged.append(offset + at)
        else:
            decisions.append(decision)
        at = newline + 1
    return ReviewLines(decisions=tuple(decisions), damaged=tuple(damaged), end=offset + at)


def _parse(line: bytes) -> Decision | None:
    if not check_line(line):
        return None
    try:
        return _decode(line)
    except msgspec.MsgspecError:
        return None
