"""The calls of earlier sessions, for the scheduler's warm start: of a million, few need to be known one by one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from engine.core.asking import PastCall
from engine.core.pacific import ZONE, day_bounds
from engine.store import Settled

RECENT_S = 600.0
"""The longest window of a quota but the day's."""
SAME_CALL_MAX = 10_000
"""So many newer calls may have been begun between a call and its rejection."""


class Past:
    """Calls of the last ten minutes each, and of the Pacific day before them how many.

    Feed it attempts.jsonl in order. `now` is in seconds since the epoch.
    """

    def __init__(self, now: float) -> None:
        self._day_start, _ = day_bounds(now, ZoneInfo(ZONE))
        self._day_start_at = _as_logged(self._day_start)
        self._recent_at = _as_logged(now - RECENT_S)
        self._today: Counter[str] = Counter()
        self._recent: list[PastCall] = []

    def add(self, line: Settled) -> None:
        """A start line."""
        at = line.generated_at
        if at >= self._recent_at:
            wall_at = datetime.fromisoformat(at).timestamp()
            drawn = int(line.stage == "image")
            self._recent.append(PastCall(line.model, wall_at, line.tokens, drawn, line.cost_usd or 0.0))
        elif at >= self._day_start_at:
            self._today[line.model] += 1

    def drop(self, line: Settled) -> None:
        """A rejection: the newest start that is like it was not paid for."""
        recent = self._recent
        for n in range(len(recent) - 1, max(-1, len(recent) - SAME_CALL_MAX), -1):
            if recent[n].model == line.model and recent[n].tokens == line.tokens:
                del recent[n]
                return
        if self._today[line.model]:
            self._today[line.model] -= 1

    def __len__(self) -> int:
        return len(self._recent) + self._today.total()

    def __iter__(self) -> Iterator[PastCall]:
        for model, calls in self._today.items():
            yield PastCall(model, self._day_start, calls=calls)
        yield from self._recent


def _as_logged(wall_at: float) -> str:
    """A moment as the log has it, for comparing."""
    return datetime.fromtimestamp(wall_at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
