"""What is settled, as a fold over log records: the only state a run has.

The fold keeps a few bytes per job, by place in the run, so that a million records cost some tens
of megabytes: folding a prefix and then the rest gives the same ledger as folding all at once. The newest
line of a job wins; a line that is not final makes its job pending again (a picture that was lost,
or is asked for once more).
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence

NONE, OK, REFUSED, FAILED = 0, 1, 2, 3
_CODES = {"ok": OK, "refused": REFUSED, "failed": FAILED}
_TASKS = ("caption", "labels", "comments")
NOT_ATTEMPTS = frozenset({"redo", "lost"})
"""Errors of lines that say that a job is asked again, and not how a call ended."""


def slot(index: int, tasks: Sequence[str] = ()) -> int:
    """The place of a job in its stage: four per image, so that separate metadata calls have their own."""
    return index * 4 if len(tasks) != 1 else index * 4 + 1 + _TASKS.index(tasks[0])


def fingerprint(job: str) -> int:
    """The first 64 bits of a job id, never 0."""
    return int(job[:16], 16) or 1


class Ledger:
    """The state of one stage. Mutable; feed it lines in log order."""

    def __init__(self) -> None:
        self._jobs = array("Q")
        self._codes = bytearray()
        self._attempts = array("H")
        self._in_doubt: dict[int, int] = {}
        self.reopened: set[int] = set()
        """Places that were settled well once and are asked again: their pictures were redone or lost."""
        self.too_large: set[int] = set()
        """Places whose whole request a far side found too large: they are asked with fewer reference pictures."""
        self.counts: list[int] = [0, 0, 0, 0]
        self.attempts = 0
        self.cost_usd = 0.0

    def _reach(self, place: int) -> None:
        missing = place + 1 - len(self._codes)
        if missing > 0:
            missing = max(missing, len(self._codes) // 4, 1024)
            self._jobs.frombytes(bytes(8 * missing))
            self._attempts.frombytes(bytes(2 * missing))
            self._codes.extend(bytes(missing))

    def ended(
        self,
        place: int,
        job: str,
        status: str,
        final: bool,
        attempt: int,
        cost_usd: float | None,
        error_kind: str | None = None,
    ) -> None:
        """An attempt ended: one line of images.jsonl or metadata.jsonl."""
        # A million lines come through here when a run is taken up: no call that is not needed.
        if place >= len(self._codes):
            self._reach(place)
        before = self._codes[place]
        after = _CODES.get(status, NONE) if final else NONE
        if before != after:
            if before:
                self.counts[before] -= 1
            if after:
                self.counts[after] += 1
            if before == OK:
                self.reopened.add(place)
            self._codes[place] = after
        self._jobs[place] = int(job[:16], 16) or 1
        if attempt > self._attempts[place]:
            self._attempts[place] = attempt if attempt < 0xFFFF else 0xFFFF
        if error_kind is not None:
            if error_kind == "too_large":
                self.too_large.add(place)
            self.attempts -= error_kind in NOT_ATTEMPTS
        if self._in_doubt and self._in_doubt.get(place, attempt + 1) <= attempt:
            del self._in_doubt[place]
        self.attempts += 1
        if cost_usd:
            self.cost_usd += cost_usd

    def started(self, place: int, attempt: int) -> None:
        """A call was about to be made; in doubt unless its end is known."""
        if place >= len(self._codes):
            self._reach(place)
        if attempt > self._attempts[place]:
            self._in_doubt[place] = attempt

    def rejected(self, place: int, attempt: int) -> None:
        """The call was turned away unpaid."""
        if self._in_doubt.get(place) == attempt:
            del self._in_doubt[place]

    def settled(self, place: int) -> bool:
        return place < len(self._codes) and self._codes[place] != NONE

    def code(self, place: int) -> int:
        """NONE, OK, REFUSED or FAILED."""
        return self._codes[place] if place < len(self._codes) else NONE

    def asks_the_same(self, place: int, job: str) -> bool:
        """Whether the job known at this place, if any, is this one."""
        return place >= len(self._jobs) or self._jobs[place] in (0, fingerprint(job))

    def last_attempt(self, place: int) -> int:
        """The number of the newest attempt that ended, 0 if none did."""
        return self._attempts[place] if place < len(self._attempts) else 0

    def in_doubt(self, place: int) -> int | None:
        """The number of an attempt that was started and never ended, if there is one."""
        return self._in_doubt.get(place)

    def doubts(self) -> Iterator[tuple[int, int]]:
        """(place, attempt) of all that may have been paid without a trace."""
        yield from sorted(self._in_doubt.items())

    @property
    def ok(self) -> int:
        return self.counts[OK]

    @property
    def refused(self) -> int:
        return self.counts[REFUSED]

    @property
    def failed(self) -> int:
        return self.counts[FAILED]

    def within(self, index: int) -> tuple[int, int, int]:
        """How many jobs of the first `index` images are ok, refused and failed."""
        end = slot(index + 1)
        return self._codes.count(OK, 0, end), self._codes.count(REFUSED, 0, end), self._codes.count(FAILED, 0, end)

    def __repr__(self) -> str:
        return f"<Ledger {self.ok} ok, {self.refused} refused, {self.failed} failed, {len(self._in_doubt)} in doubt>"
