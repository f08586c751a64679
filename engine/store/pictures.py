"""Saving pictures as they come: those that wait for a thread are saved together by the next one that is free.

The log's group commit, for files, with one difference: several portions may be on their way, so that a slow disk has
more to do at a time. But a second thread joins only where a full portion waits, for threads that run at the same time
wait for each other's turn at the interpreter more than they work: of 200 KB pictures at full speed on one core, two
and three threads took an eighth to a sixth more CPU per image of the whole engine than one.
"""

from __future__ import annotations

from collections import deque
from typing import cast

from engine.errors import StoreError
from engine.latch import latch
from engine.offload import Offload, to_the_end
from engine.store.assets import Arrival, write_pictures
from engine.store.fs import DISK, Buffer, Durability, Fs
from engine.store.layout import RunDir
from engine.store.picture import BadPicture
from schemas.outcome import Asset

PICTURE_THREADS = 3
"""Portions that are saved at a time. Per second, strict, on two cores, with 1, 2, 3, 4 and 8 threads: pictures of
1.5 MB 294, 331, 408, 395, 410; of 200 KB 1,169, 1,944, 2,618, 2,708, 2,596."""
PORTION_MAX = 16
"""Pictures that are saved together."""
PORTION_BYTES_MAX = 4 << 20
"""A portion that holds so much is full, too."""


class _Portion:
    """Pictures that are saved together."""

    __slots__ = ("arrivals", "done", "outcomes", "size_bytes", "turn")

    def __init__(self) -> None:
        self.arrivals: list[Arrival] = []
        self.size_bytes = 0
        self.outcomes: list[Asset | BadPicture | StoreError] | None = None
        self.turn = latch()
        """It may begin."""
        self.done = latch()


class PictureWriter:
    """Saves the pictures of one run; made in the loop it is used in. `offload` is a pool of PICTURE_THREADS."""

    def __init__(self, run: RunDir, *, durability: Durability = "strict", offload: Offload, fs: Fs = DISK) -> None:
        self._run = run
        self._durability: Durability = durability
        self._offload = offload
        self._fs = fs
        self._open: _Portion | None = None
        """Takes those that come; None when the last one is full or has begun."""
        self._waiting: deque[_Portion] = deque()
        self._active = 0

    async def save(self, index: int, image_id: str, data: Buffer) -> Asset:
        """Check a picture and put it where it belongs; returns when it may be recorded. Raises as `write_picture`."""
        arrival = Arrival(index, image_id, data)
        portion, leads = self._open, False
        if portion is None:
            portion, leads = _Portion(), True
            self._open = portion
            self._waiting.append(portion)
        place = len(portion.arrivals)
        portion.arrivals.append(arrival)
        portion.size_bytes += len(data)
        if place + 1 >= PORTION_MAX or portion.size_bytes >= PORTION_BYTES_MAX:
            self._close(portion)
        self._give_turns()
        if leads:
            await self._lead(portion)
        else:
            await portion.done.wait()
        if portion.outcomes is None:  # who led was cancelled in a way that pierces shields, or had no thread
            portion, place = _Portion(), 0
            portion.arrivals.append(arrival)
            await self._write(portion)
        outcome = cast(list[Asset | BadPicture | StoreError], portion.outcomes)[place]
        if isinstance(outcome, Asset):
            return outcome
        raise outcome

    def _give_turns(self) -> None:
        waiting = self._waiting
        while waiting and (not self._active or (self._active < PICTURE_THREADS and waiting[0] is not self._open)):
            self._active += 1
            waiting.popleft().turn.set()

    async def _lead(self, portion: _Portion) -> None:
        try:
            await to_the_end(lambda: self._bring(portion))
        finally:
            self._close(portion)
            if portion.turn.is_set():
                self._active -= 1
            else:
                self._waiting.remove(portion)
            portion.done.set()
            self._give_turns()

    async def _bring(self, portion: _Portion) -> None:
        if portion.outcomes is None:
            if not portion.turn.is_set():
                await portion.turn.wait()
            self._close(portion)
            await self._write(portion)

    def _close(self, portion: _Portion) -> None:
        if self._open is portion:
            self._open = None

    async def _write(self, portion: _Portion) -> None:
        def write() -> list[Asset | BadPicture | StoreError]:
            done = write_pictures(self._run, portion.arrivals, durability=self._durability, fs=self._fs)
            portion.outcomes = done  # here, where no cancel comes between
            return done

        await self._offload(write)
