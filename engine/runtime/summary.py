"""What a run came to: the answer of `engine.run`, and of `groundswell run --json` to the letter."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from engine.core.ledger import Ledger

_EXITS = {
    "budget": 4,
    "daily_quota": 4,
    "interrupted": 130,
    "left": 130,
    "fatal": 2,
}


class Counts(Struct, frozen=True, kw_only=True):
    """One stage, over all sessions of the run. `asked` counts jobs."""

    asked: int = 0
    ok: int = 0
    refused: int = 0
    failed: int = 0

    @property
    def settled(self) -> int:
        return self.ok + self.refused + self.failed

    @property
    def pending(self) -> int:
        return self.asked - self.settled


def counts_of(images: Ledger, texts: Ledger, count: int, groups: int) -> tuple[Counts, Counts]:
    """Images and texts, where the first `count` images are asked for, and `groups` texts of each that can be drawn.

    What earlier sessions settled beyond that was asked for, too: `asked` is never less than what is settled.
    """
    _ok, refused, failed = images.within(count)
    return _counts(images, count, count), _counts(texts, groups * (count - refused - failed), count)


def _counts(ledger: Ledger, asked: int, index: int) -> Counts:
    settled = ledger.ok + ledger.refused + ledger.failed
    beyond = settled - sum(ledger.within(index))
    asked = max(asked + beyond, settled)
    return Counts(asked=asked, ok=ledger.ok, refused=ledger.refused, failed=ledger.failed)


class Summary(Struct, frozen=True, kw_only=True):
    """The state of a run when a session ended."""

    run: str
    """The run directory."""
    images: Counts
    metadata: Counts
    attempts: int
    """Attempts that ended, over all sessions. A call turned away by a quota is none."""
    rate_limited: int
    """Calls turned away in this session."""
    cost_usd: float
    """What all attempts of the run cost, as far as prices are known."""
    elapsed_s: float
    """Of this session."""
    images_per_s: float
    """Of this session."""
    stopped_by: str | None = None
    """None when everything asked for is settled; else budget, daily_quota, interrupted, fatal, down, disk,
    incomplete …"""
    message: str | None = None
    """Why it stopped, in a sentence that says what to do next."""

    @property
    def exit_code(self) -> int:
        """As the command line documents them."""
        if self.stopped_by is not None:
            return _EXITS.get(self.stopped_by, 1)
        return 3 if self.images.failed or self.metadata.failed else 0

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return msgspec.to_builtins(self)
