"""What happens during a run, as frozen data. Console, events.jsonl and callers' hooks are observers of these."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from msgspec import Struct

from schemas.job import Stage
from schemas.record import Record


class Event(Struct, frozen=True, kw_only=True):
    """Base of all events."""


class RunOpened(Event, frozen=True, kw_only=True):
    """The run directory is locked and recovered; nothing has been asked yet."""

    out: str
    resumed: bool
    asked: dict[Stage, int]
    settled: dict[Stage, int]
    notes: tuple[str, ...] = ()
    """What recovery found and did, in sentences."""


class AttemptStarted(Event, frozen=True, kw_only=True):
    """A call is about to be made; its start line is on disk."""

    stage: Stage
    image_id: str
    attempt: int


class AttemptEnded(Event, frozen=True, kw_only=True):
    """An attempt ended and its line is on disk."""

    record: Record


class Rejected(Event, frozen=True, kw_only=True):
    """A call that a quota turned away, or that never arrived; it keeps its place and is not an attempt."""

    stage: Stage
    image_id: str
    kind: str
    message: str


class Notice(Event, frozen=True, kw_only=True):
    """Something a user wants to know: a gate closed, a limit learned, the far side down."""

    level: str
    """debug, info, warning or error."""
    message: str
    data: dict[str, Any] = {}


class StageEnded(Event, frozen=True, kw_only=True):
    """A stage has nothing more to do, or was stopped."""

    stage: Stage
    counts: dict[str, int]


class RunEnded(Event, frozen=True, kw_only=True):
    """The last event of a run."""

    summary: Any


class Observer(Protocol):
    """Called with every event, in order, on the loop: be quick, do not block."""

    def __call__(self, event: Event, /) -> None: ...


def fan_out(*observers: Observer) -> Callable[[Event], None]:
    """Tell several observers, each on its own account.

    An observer's fault must not cost a paid-for answer: the one that failed is left alone from then on,
    and the others hear of it.
    """
    working = observers

    def tell(event: Event) -> None:
        nonlocal working
        faults: list[str] = []
        for observer in working:
            try:
                observer(event)
            except Exception as fault:  # noqa: BLE001 - whatever a caller's observer raises
                working = tuple(other for other in working if other is not observer)
                faults.append(repr(fault))
        for fault in faults:
            tell(Notice(level="error", message=f"an observer failed and is not called any more: {fault}"))

    return tell
