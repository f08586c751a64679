"""The numbers people watch, folded from events: what live display, plain lines and summary share."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field

from engine.core.asking import REJECTED
from engine.observe.events import AttemptEnded, AttemptStarted, Event, Rejected, RunOpened
from schemas.job import Stage

_WINDOW_S = 60.0


@dataclass(slots=True)
class StageTally:
    """One stage so far. Counts of `before` were settled in earlier sessions."""

    asked: int = 0
    before: int = 0
    ok: int = 0
    refused: int = 0
    failed: int = 0
    retries: int = 0
    rejected: int = 0
    in_flight: int = 0
    cost_usd: float = 0.0
    failures: Counter[str] = field(default_factory=Counter[str])
    recent: deque[float] = field(default_factory=deque[float])

    @property
    def settled(self) -> int:
        return self.before + self.ok + self.refused + self.failed

    def per_minute(self, now: float, since: float) -> float:
        """Settled jobs per minute over the last minute, or since the start if that is shorter."""
        while self.recent and self.recent[0] < now - _WINDOW_S:
            self.recent.popleft()
        span_s = min(_WINDOW_S, max(now - since, 1.0))
        return len(self.recent) * 60.0 / span_s

    def left_s(self, now: float, since: float) -> float | None:
        """Seconds to go at the present rate, None while nobody can know."""
        rate = self.per_minute(now, since)
        left = max(0, self.asked - self.settled)
        return left / rate * 60.0 if rate > 0 else (0.0 if left == 0 else None)


@dataclass(slots=True)
class Tally:
    """The whole run so far."""

    started_at: float = 0.0
    stages: dict[Stage, StageTally] = field(default_factory=dict[Stage, StageTally])

    def take(self, event: Event, now: float) -> None:
        """Fold one event; `now` on any steady clock."""
        match event:
            case RunOpened():
                self.started_at = now
                for stage, asked in event.asked.items():
                    self.stages[stage] = StageTally(asked=asked, before=event.settled.get(stage, 0))
            case AttemptStarted():
                self.stage(event.stage).in_flight += 1
            case Rejected():
                tally = self.stage(event.stage)
                tally.in_flight -= 1
                if event.kind in REJECTED:
                    tally.rejected += 1
                else:
                    tally.failures[event.kind] += 1
            case AttemptEnded(record=record):
                tally = self.stage(record.stage)
                tally.in_flight -= 1
                tally.cost_usd += record.cost_usd or 0.0
                if record.error is not None:
                    tally.failures[record.error.kind] += 1
                if not record.final:
                    tally.retries += 1
                    return
                tally.recent.append(now)
                tally.ok += record.status == "ok"
                tally.refused += record.status == "refused"
                tally.failed += record.status == "failed"
            case _:
                pass

    def stage(self, name: Stage) -> StageTally:
        return self.stages.setdefault(name, StageTally())

    @property
    def cost_usd(self) -> float:
        return sum(stage.cost_usd for stage in self.stages.values())
