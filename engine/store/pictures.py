"""Saving pictures as they come: those that wait for a thread are saved together by the next one that is free.

The log's group commit, for files. A picture by itself switches between threads sixteen times, with others eleven times.
"""

from __future__ import annotations

import anyio

from engine.errors import StoreError
from engine.offload import Offload
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


class _Portion:
    """Pictures that are saved together."""

    __slots__ = ("arrivals", "done", "outcomes")

    def __init__(self) -> None:
        self.arrivals: list[Arrival] = []
        self.outcomes: list[Asset | BadPicture | StoreError] | None = None
        self.done = anyio.Event()


class PictureWriter:
    """Saves the pictures of one run; made in the loop it is used in. `offload` is a pool of PICTURE_THREADS."""

    def __init__(self, run: RunDir, *, durability: Durability = "strict", offload: Offload, fs: Fs = DISK) -> None:
        self._run = run
        self._durability: Durability = durability
        self._offload = offload
        self._fs = fs
        self._threads = anyio.Semaphore(PICTURE_THREADS)
        self._open: _Portion | None = None

    async def save(self, index: int, image_id: str, data: Buffer) -> Asset:
        """Check a picture and put it where it belongs; returns when it may be recorded. Raises as `write_picture`."""
        portion, leads = self._open, False
        if portion is None or len(portion.arrivals) >= PORTION_MAX:
            portion = self._open = _Portion()
            leads = True
        place = len(portion.arrivals)
        portion.arrivals.append(Arrival(index, image_id, data))
        if leads:
            await self._lead(portion)
        else:
            await portion.done.wait()
        outcomes = portion.outcomes or await self._write([Arrival(index, image_id, data)])
        outcome = outcomes[place if portion.outcomes else 0]
        if isinstance(outcome, Asset):
            return outcome
        raise outcome

    async def _lead(self, portion: _Portion) -> None:
        try:
            with anyio.CancelScope(shield=True):
                async with self._threads:
                    self._seal(portion)
                    portion.outcomes = await self._write(portion.arrivals)
        finally:
            # Without outcomes, whoever leads was cancelled in a way that pierces shields: each saves its own then.
            self._seal(portion)
            portion.done.set()

    def _seal(self, portion: _Portion) -> None:
        if self._open is portion:
            self._open = None

    async def _write(self, arrivals: list[Arrival]) -> list[Asset | BadPicture | StoreError]:
        return await self._offload(
            lambda: write_pictures(self._run, arrivals, durability=self._durability, fs=self._fs)
        )
