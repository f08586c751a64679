"""Several processes on one quota: each leases its next second or two of calls from one small file.

Two ways to share a quota on one machine:

* a static share, `Admission(share=1/4)`: simple, always right, and unused when the others are idle;
* this: `Admission(lease=Lease(path))` with the same path, and the whole limits, in every process.

The file says, per model, until when its quota is spoken for. A process that has work takes the next
stretch (`LEASE_S` of calls at the pace of its own quota) under `flock`, and makes its calls there at
the usual spacing; the others' stretches lie before and behind it. So all of them together keep the
pace of one, whoever is idle costs nothing, and a process that dies loses a stretch at most. The day's
requests are counted in the file, too, and a gate that a 429 closed is closed for all; what a limit
really is, each process learns by itself. Money budgets belong to a run and are not shared.

Moments in the file are wall-clock time, since processes share no other clock; a clock that was set
costs at most one stretch, because nothing is believed that lies further ahead than a window.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import msgspec
from msgspec import Struct

from engine.core.pace import CREDIT_S

__all__ = ["LEASE_S", "Lease", "Stretch"]

LEASE_S = 1.5
"""Seconds of calls per lease: long enough to lock the file rarely, short enough to share fairly."""
AHEAD_S_MAX = 660.0
"""Moments further ahead than the longest window and gate are a clock's fault."""
FILE_BYTES_MAX = 1 << 20


class _Model(Struct):
    free_at: float = 0.0
    """Until when the quota is spoken for."""
    gate_until: float = 0.0
    day: float = 0.0
    """The Pacific day `day_used` counts for, by its start."""
    day_used: int = 0


class _State(Struct):
    v: int = 1
    models: dict[str, _Model] = {}


class Stretch(Struct, frozen=True):
    """So many calls may be made, from `start` (Unix time) on, at the usual spacing."""

    start: float
    calls: int
    day_used: int
    """What all processes used today before this stretch."""


class Lease:
    """A lease file. `path` is created when missing; every process opens it for itself (no fork)."""

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def __repr__(self) -> str:
        return f"Lease({str(self._path)!r})"

    def close(self) -> None:
        """Close the file; what was leased and not used is lost to the others for a second."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def take(
        self,
        model: str,
        wall: float,
        *,
        spacing_s: float,
        owed_s: float,
        day: float,
        day_used: int,
        unused: int = 0,
        day_max: int | None,
    ) -> Stretch | None:
        """The next stretch of calls, `spacing_s` apart; None when another process holds the file just now.

        `owed_s`: what calls of the last stretch used beyond it, which delays everybody. `unused`: calls
        of the last stretch that were not made. `day_used`: what the caller knows to be used today. No
        calls (0) are left when the day is used up.
        """
        with _Locked(self._fd) as locked:
            if not locked:
                return None
            state = self._read()
            entry = state.models.setdefault(model, _Model())
            if entry.day != day:
                entry.day, entry.day_used, unused = day, 0, 0
            entry.day_used -= min(unused, entry.day_used)
            entry.day_used = max(entry.day_used, day_used)
            calls = max(1, round(LEASE_S / spacing_s)) if spacing_s > 0.0 else 1 << 10
            if day_max is not None:
                calls = min(calls, max(0, day_max - entry.day_used))
            start = max(wall - CREDIT_S, _sane(entry.free_at, wall) + owed_s, _sane(entry.gate_until, wall))
            stretch = Stretch(start, calls, entry.day_used)
            if calls:
                entry.free_at = start + calls * spacing_s
                entry.day_used += calls
                self._write(state)
            return stretch

    def shut(self, model: str, until: float) -> None:
        """Have nobody call before `until` (Unix time): a 429 closed the gate."""
        with _Locked(self._fd, wait=True):
            state = self._read()
            entry = state.models.setdefault(model, _Model())
            entry.gate_until = max(entry.gate_until, until)
            self._write(state)

    def _read(self) -> _State:
        data = os.pread(self._fd, FILE_BYTES_MAX, 0)
        try:
            return msgspec.json.decode(data, type=_State) if data else _State()
        except msgspec.DecodeError:
            return _State()  # torn by a crash: the pace begins anew, a second of calls may double

    def _write(self, state: _State) -> None:
        data = msgspec.json.encode(state)
        os.pwrite(self._fd, data, 0)
        os.ftruncate(self._fd, len(data))


def _sane(moment: float, wall: float) -> float:
    return moment if moment <= wall + AHEAD_S_MAX else wall


class _Locked:
    """`flock` on the file for a moment. Yields whether it was had."""

    def __init__(self, fd: int, *, wait: bool = False) -> None:
        self._fd = fd
        self._how = fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB
        self._had = False

    def __enter__(self) -> bool:
        try:
            fcntl.flock(self._fd, self._how)
            self._had = True
        except BlockingIOError:
            self._had = False
        return self._had

    def __exit__(self, *exc: object) -> None:
        if self._had:
            fcntl.flock(self._fd, fcntl.LOCK_UN)
