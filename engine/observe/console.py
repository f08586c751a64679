"""Live progress for people: bars in a terminal, plain lines elsewhere. Always on stderr.

Observers: the events only fold numbers; drawing happens in `watch`, a few times a second, so a
thousand images a second cost no more to show than one.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any

import anyio
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from engine.observe.events import Event, Notice, RunOpened, StageEnded
from engine.observe.tally import StageTally, Tally

LIVE_EVERY_S = 0.2
PLAIN_EVERY_S = 10.0
_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}


def duration(seconds: float | None) -> str:
    """`2 h 05 min`, `3 min 20 s`, `12 s`, or a dash."""
    if seconds is None:
        return "–"
    seconds = round(seconds)
    if seconds >= 86_400:
        return f"{seconds // 86_400} d {seconds % 86_400 // 3600:02d} h"
    if seconds >= 3600:
        return f"{seconds // 3600} h {seconds % 3600 // 60:02d} min"
    return f"{seconds // 60} min {seconds % 60:02d} s" if seconds >= 60 else f"{seconds} s"


def stderr_to_nobody() -> None:
    """From now on what is written to stderr goes nowhere, without an error: also at the end of the program."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stderr.fileno())
        os.close(nowhere)


class Progress:
    """An observer that shows a run. `quota` answers what the scheduler knows per model."""

    def __init__(self, *, level: str = "INFO", timestamps: bool = True, live: bool | None = None) -> None:
        self._console = Console(stderr=True, highlight=False)
        drawable = self._console.is_terminal and not self._console.is_dumb_terminal
        self.live = drawable if live is None else live
        """Whether bars are drawn, and not plain lines from time to time."""
        self._level = _LEVELS[level.lower()]
        self._timestamps = timestamps
        self.tally = Tally()
        self.quota: Callable[[], Mapping[str, Any]] | None = None

    def __call__(self, event: Event, /) -> None:
        self.tally.take(event, time.monotonic())
        match event:
            case Notice() if _LEVELS.get(event.level, 20) >= self._level:
                self.say(event.message, event.level)
            case RunOpened():
                for note in event.notes:
                    self.say(note)
            case StageEnded() if not self.live:
                self.say(self._plain_line())
            case _:
                pass

    def say(self, message: str, level: str = "info") -> None:
        """One line above the bars."""
        style = {"warning": "yellow", "error": "bold red", "critical": "bold red"}.get(level, "")
        stamp = f"{datetime.now().astimezone():%H:%M:%S} " if self._timestamps else ""
        try:
            self._console.print(Text(stamp + message, style=style), soft_wrap=True)
        except (OSError, SystemExit):  # rich ends the program when its reader has gone
            self._speak_to_nobody()

    def _speak_to_nobody(self) -> None:
        """The terminal went away, or whoever read our pipe. What was paid for is worth more than telling of it."""
        self.live = False
        self._console.quiet = True
        stderr_to_nobody()

    async def watch(self) -> None:
        """Draw until cancelled."""
        if not self.live:
            while True:
                await anyio.sleep(PLAIN_EVERY_S)
                self.say(self._plain_line())
        with Live(self._picture(), console=self._console, auto_refresh=False, transient=False) as live:
            try:
                while True:
                    await anyio.sleep(LIVE_EVERY_S)
                    self._draw(live)
            finally:
                self._draw(live)

    def _draw(self, live: Live) -> None:
        try:
            live.update(self._picture(), refresh=True)
        except (OSError, SystemExit):
            self._speak_to_nobody()

    def _plain_line(self) -> str:
        now, tally = time.monotonic(), self.tally
        parts = [
            f"{name} {s.settled}/{s.asked} ({s.per_minute(now, tally.started_at):.0f}/min"
            f"{_troubles(s)}, left {duration(s.left_s(now, tally.started_at))})"
            for name, s in tally.stages.items()
        ]
        return "; ".join([*parts, f"${tally.cost_usd:.2f}"])

    def _picture(self) -> RenderableType:
        now, tally = time.monotonic(), self.tally
        table = Table.grid(padding=(0, 1))
        for name, s in tally.stages.items():
            table.add_row(
                Text(name, style="bold"),
                ProgressBar(total=max(s.asked, 1), completed=s.settled, width=28),
                f"{s.settled}/{s.asked}",
                f"{s.per_minute(now, tally.started_at):.0f}/min",
                f"{s.in_flight} in flight",
                f"left {duration(s.left_s(now, tally.started_at))}",
                Text(_troubles(s).removeprefix(", "), style="yellow"),
            )
        money = Text(f"${tally.cost_usd:.2f} in {duration(now - tally.started_at)}", style="dim")
        rows: list[RenderableType] = [table, money]
        rows += [Text(line, style="dim") for line in self._quota_lines()]
        return Group(*rows)

    def _quota_lines(self) -> list[str]:
        if self.quota is None:
            return []
        return [f"{model}: {said}" for model, said in self.quota().items()]


def _troubles(stage: StageTally) -> str:
    counts = {"refused": stage.refused, "failed": stage.failed, "retried": stage.retries, "turned away": stage.rejected}
    told = [f"{n} {word}" for word, n in counts.items() if n]
    worst = ", ".join(f"{kind} {n}" for kind, n in stage.failures.most_common(3))
    if worst:
        told.append(f"[{worst}]")
    return ", " + ", ".join(told) if told else ""
