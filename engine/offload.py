"""Where blocking work runs: a bounded set of threads, or right here.

Who has such work does not decide this. A run hands in `threads(n)`; tests on a virtual clock hand in `inline`,
because a thread would let real time into a world that has none.
"""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, Protocol, TypeVar

import anyio
import anyio.to_thread
import sniffio

T = TypeVar("T")


class Offload(Protocol):
    """Runs a blocking function and gives its result, without holding up the loop."""

    async def __call__(self, work: Callable[[], T], /) -> T: ...


def threads(count: int) -> Offload:
    """At most `count` pieces of work at a time, each in a worker thread. Belongs to the loop it is used in.

    Work that has begun is waited for, also by a caller who is cancelled.
    """
    do: Offload | None = None

    async def offload(work: Callable[[], T], /) -> T:
        nonlocal do
        if do is None:
            do = _Pool(count) if sniffio.current_async_library() == "asyncio" else _limited(count)
        return await do(work)

    return offload


def _limited(count: int) -> Offload:
    limiter = anyio.CapacityLimiter(count)

    async def offload(work: Callable[[], T], /) -> T:
        return await anyio.to_thread.run_sync(work, limiter=limiter)

    return offload


async def inline(work: Callable[[], T], /) -> T:
    """Runs the work at once on the loop. For tests in virtual time."""
    return work()


class _Pool:
    """Threads of an asyncio loop, at a third of what `anyio.to_thread` costs per piece of work.

    Pieces that end while the loop is busy are told to it in one wake-up. The threads hold the counter, not
    the pool, and leave when nobody can bring work any more.
    """

    def __init__(self, count: int) -> None:
        self._counter = _Counter(asyncio.get_running_loop())
        self._count = count
        self._threads = 0
        weakref.finalize(self, _Counter.close, self._counter, count)

    async def __call__(self, work: Callable[[], T], /) -> T:
        ends = self._begin(work)
        with anyio.CancelScope(shield=True):
            await ends
        return ends.result()

    def _begin(self, work: Callable[[], T]) -> asyncio.Future[T]:
        counter = self._counter
        if self._threads < min(counter.open + 1, self._count):
            try:
                threading.Thread(target=counter.serve, name="groundswell disk", daemon=True).start()
                self._threads += 1
            except RuntimeError:  # the system gives no more threads: those that are there do it
                if not self._threads:
                    raise
        counter.open += 1
        ends: asyncio.Future[T] = counter.loop.create_future()
        counter.waiting.put((work, ends))
        return ends


class _Counter:
    """Where a loop hands in work and threads hand back results."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.waiting: SimpleQueue[tuple[Callable[[], Any], asyncio.Future[Any]] | None] = SimpleQueue()
        self.open = 0
        """Pieces handed in and not yet handed back; counted by the loop."""
        self._ended: deque[tuple[asyncio.Future[Any], Any, BaseException | None]] = deque()
        self._told = False
        """The loop knows that there are ends, and has not begun to take them."""

    def serve(self) -> None:
        """One thread's life."""
        while (piece := self.waiting.get()) is not None:
            work, ends = piece
            try:
                self._ended.append((ends, work(), None))
            except BaseException as error:  # noqa: BLE001 - it belongs to whoever asked for the work
                self._ended.append((ends, None, error))
            del piece, work, ends  # a picture's bytes shall not wait here for the next one
            # Looked at after the append, and taken back by `_settle` before it looks: no end is missed.
            if not self._told:
                self._told = True
                with suppress(RuntimeError):  # the loop has been closed: nobody waits
                    self.loop.call_soon_threadsafe(self._settle)

    def _settle(self) -> None:
        self._told = False
        while self._ended:
            ends, result, error = self._ended.popleft()
            self.open -= 1
            if ends.done():  # cancelled by somebody who knows nothing of shields
                continue
            if error is None:
                ends.set_result(result)
            else:
                ends.set_exception(error)

    def close(self, threads_max: int) -> None:
        """Have the threads leave once their work is done."""
        for _ in range(threads_max):
            self.waiting.put(None)
