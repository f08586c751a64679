"""events.jsonl: what happened, as structured log lines for machines. Not truth; rebuilt by nobody.

structlog renders each event as one JSON object; the one that comes with every call, the end of an attempt, is encoded
straight away, in a quarter of the time. Lines are held back and written by the loop once a second: losing the last
of them in a crash loses nothing that was paid for.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

import msgspec
import structlog
from msgspec import Struct

from engine.observe.events import AttemptEnded, AttemptStarted, Event, Notice, Rejected, RunEnded, RunOpened, StageEnded
from schemas.outcome import Failure

_BUFFER_CHARS = 64 * 1024
_LEVELS = {"DEBUG": 10, "INFO": 20, "WARNING": 30, "ERROR": 40, "CRITICAL": 50}


class _Ended(Struct, frozen=True, gc=False):
    """The line about an attempt, in the order that structlog gives its lines."""

    stage: str
    image_id: str
    attempt: int
    status: str
    latency_s: float | None
    cost_usd: float | None
    error: Failure | None
    at: str
    what: str = "attempt_ended"


_encode = msgspec.json.Encoder().encode


class EventLog:
    """An observer that writes events.jsonl (and, if wished, a second copy elsewhere).

    Files are opened at the first event that is worth a line, so that a run with nothing to do
    changes no byte.
    """

    def __init__(self, *paths: Path, level: str = "INFO", redact: Callable[[str], str] = str) -> None:
        self._paths = paths
        self._files: list[TextIO] = []
        self._lines: list[str] = []
        self._chars = 0
        self._error: OSError | None = None
        self._level = _LEVELS[level]
        self._redact = redact
        self._log: Any = structlog.wrap_logger(
            self,
            processors=[
                structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
                structlog.processors.EventRenamer("what"),
                structlog.processors.JSONRenderer(serializer=_dumps),
            ],
            wrapper_class=structlog.make_filtering_bound_logger(0),
        ).bind()  # once: the proxy that comes without it would bind anew for every line
        self._pending_open: RunOpened | None = None

    def msg(self, line: str) -> None:
        """structlog's way out."""
        if self._error is not None:
            raise self._error
        try:
            if not self._files:
                for path in self._paths:
                    path.parent.mkdir(parents=True, exist_ok=True)
                    self._files.append(path.open("a", encoding="utf-8", buffering=_BUFFER_CHARS))
            self._lines.append(line)
            self._chars += len(line)
            if self._chars >= _BUFFER_CHARS:
                self._write()
        except OSError as error:
            self._give_up(error)
            raise

    info = msg

    def __call__(self, event: Event, /) -> None:
        match event:
            case RunOpened():
                self._pending_open = event
            case RunEnded() | StageEnded() if not self._files:
                return
            case _:
                self._tell(event)

    def _tell(self, event: Event) -> None:
        if self._pending_open is not None:
            opened, self._pending_open = self._pending_open, None
            self._log.info("run_opened", **_fields(opened))
        match event:
            case AttemptStarted():
                if self._level <= _LEVELS["DEBUG"]:
                    self._log.info("attempt_started", **_fields(event))
            case AttemptEnded(record=r):
                ended = _Ended(
                    r.stage, r.image_id, r.attempt, r.status, r.latency_s, r.cost_usd, r.error, r.generated_at
                )
                self.msg(_encode(ended).decode())
            case Notice():
                if _LEVELS.get(event.level.upper(), 20) >= self._level:
                    self._log.info("notice", **_fields(event))
            case Rejected():
                self._log.info("rejected", **_fields(event))
            case _:
                self._log.info(_snake(type(event).__name__), **_fields(event))

    def flush(self) -> None:
        """Hand what is buffered to the operating system. What the disk refuses is raised by the next event."""
        try:
            self._write()
            for file in self._files:
                file.flush()
        except OSError as error:
            self._give_up(error)

    def close(self) -> None:
        """Write what is buffered."""
        self.flush()
        self._give_up(None)

    def _write(self) -> None:
        if self._lines:
            lines, self._lines, self._chars = self._lines, [], 0
            text = self._redact("\n".join(lines)) + "\n"
            for file in self._files:
                file.write(text)

    def _give_up(self, error: OSError | None) -> None:
        files, self._files, self._error = self._files, [], self._error or error
        for file in files:
            with suppress(OSError):
                file.close()


def _fields(event: Any) -> dict[str, Any]:
    return msgspec.to_builtins(event)


def _dumps(event: dict[str, Any], **_: Any) -> str:
    return _encode(event).decode()


def _snake(name: str) -> str:
    return "".join(("_" + c.lower()) if c.isupper() else c for c in name).lstrip("_")
