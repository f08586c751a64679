"""What is settled, as a fold over log records: the only state a run has.

The fold keeps a few bytes per job, by place in the run, so that a million records cost some tens
of megabytes: folding a prefix and then the rest gives the same ledger as folding all at once. The newest
line of a job wins; a line that is not final makes its job pending again (a picture that was lost,
or is asked for once more).
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

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


class Error(Protocol):
    """The part of an error that counts here."""

    @property
    def kind(self) -> str: ...


class End(Protocol):
    """A line that says how an attempt ended."""

    @property
    def job(self) -> str: ...
    @property
    def status(self) -> str: ...
    @property
    def index(self) -> int: ...
    @property
    def attempt(self) -> int: ...
    @property
    def final(self) -> bool: ...
    @property
    def cost_usd(self) -> float | None: ...
    @property
    def tasks(self) -> tuple[str, ...]: ...
    @property
    def error(self) -> Error | None: ...


class _Plane:
    """What is known of one job of each image, some bytes each. A stage with one call per image fills one plane."""

    __slots__ = ("attempts", "codes", "jobs")

    def __init__(self) -> None:
        self.jobs = array("Q")
        self.codes = bytearray()
        self.attempts = array("H")

    def reach(self, at: int) -> None:
        missing = max(at + 1 - len(self.codes), len(self.codes) // 4, 256)
        self.jobs.frombytes(bytes(8 * missing))
        self.attempts.frombytes(bytes(2 * missing))
        self.codes.extend(bytes(missing))


class Ledger:
    """The state of one stage. Mutable; feed it lines in log order."""

    def __init__(self) -> None:
        self._planes = (_Plane(), _Plane(), _Plane(), _Plane())
        self._in_doubt: dict[int, int] = {}
        self.reopened: set[int] = set()
        """Places that were settled well once and are asked again: their pictures were redone or lost."""
        self.too_large: set[int] = set()
        """Places whose whole request a far side found too large: they are asked with fewer reference pictures."""
        self.counts: list[int] = [0, 0, 0, 0]
        self.attempts = 0
        self.cost_usd = 0.0

    def fold(self, lines: Iterable[End]) -> None:
        """Lines of images.jsonl or metadata.jsonl, in order."""
        for line in lines:
            error, tasks = line.error, line.tasks
            self.ended(
                slot(line.index, tasks) if tasks else line.index * 4, line.job, line.status, line.final,
                line.attempt, line.cost_usd, None if error is None else error.kind,
            )  # fmt: skip

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
        plane, at = self._planes[place & 3], place >> 2
        if at >= len(plane.codes):
            plane.reach(at)
        before = plane.codes[at]
        after = _CODES.get(status, NONE) if final else NONE
        if before != after:
            if before:
                self.counts[before] -= 1
            if after:
                self.counts[after] += 1
            if before == OK:
                self.reopened.add(place)
            plane.codes[at] = after
        plane.jobs[at] = int(job[:16], 16) or 1
        if attempt > plane.attempts[at]:
            plane.attempts[at] = attempt if attempt < 0xFFFF else 0xFFFF
        if error_kind is not None:
            if error_kind == "too_large":
                self.too_large.add(place)
            self.attempts -= error_kind in NOT_ATTEMPTS
        if self._in_doubt and self._in_doubt.get(place, attempt + 1) <= attempt:
            del self._in_doubt[place]
        self.attempts += 1
        if cost_usd:
            self.cost_usd += cost_usd

    def started(self, place: int, attempt: int) -> bool:
        """A call was about to be made; whether it is in doubt: unless its end is known, it is."""
        attempts, at = self._planes[place & 3].attempts, place >> 2
        if attempt <= (attempts[at] if at < len(attempts) else 0):
            return False
        self._in_doubt[place] = attempt
        return True

    def rejected(self, place: int, attempt: int) -> None:
        """The call was turned away unpaid."""
        if self._in_doubt.get(place) == attempt:
            del self._in_doubt[place]

    def settled(self, place: int) -> bool:
        return self.code(place) != NONE

    def code(self, place: int) -> int:
        """NONE, OK, REFUSED or FAILED."""
        codes, at = self._planes[place & 3].codes, place >> 2
        return codes[at] if at < len(codes) else NONE

    def asks_the_same(self, place: int, job: str) -> bool:
        """Whether the job known at this place, if any, is this one."""
        jobs, at = self._planes[place & 3].jobs, place >> 2
        return at >= len(jobs) or jobs[at] in (0, fingerprint(job))

    def last_attempt(self, place: int) -> int:
        """The number of the newest attempt that ended, 0 if none did."""
        attempts, at = self._planes[place & 3].attempts, place >> 2
        return attempts[at] if at < len(attempts) else 0

    def unsettled(self, index_max: int) -> Iterator[int]:
        """Indexes from 1 to `index_max` of images whose place (`slot(index)`) is not settled when it is its turn."""
        codes, index = self._planes[0].codes, 0
        while (index := index + 1) <= index_max:
            if index < len(codes):
                found = codes.find(NONE, index)
                index = found if found >= 0 else len(codes)
                if index > index_max:
                    return
            yield index

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
        ok, refused, failed = (
            sum(plane.codes.count(code, 0, index + 1) for plane in self._planes) for code in (OK, REFUSED, FAILED)
        )
        return ok, refused, failed

    def __repr__(self) -> str:
        return f"<Ledger {self.ok} ok, {self.refused} refused, {self.failed} failed, {len(self._in_doubt)} in doubt>"
