"""Where blocking work runs: a bounded set of threads, or right here.

Who has such work does not decide this. A run hands in `threads(n)`; tests on a virtual clock hand in `inline`,
because a thread would let real time into a world that has none.
"""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, Generic, Protocol, TypeVar, cast

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


async def to_the_end(step: Callable[[], Awaitable[None]]) -> None:
    """Do what a cancel must not stop, and pass the cancel on afterwards.

    `step` is called again after a cancel, then under a shield, and must take up where it was: a shield for each
    time that nobody cancels would cost more than what it guards.
    """
    try:
        await step()
    except anyio.get_cancelled_exc_class() as cancel:
        try:
            with anyio.CancelScope(shield=True):
                await step()
        except Exception as error:
            raise cancel from error  # else who cancels would wait for somebody who goes on
        raise


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
        piece = self._begin(work)
        try:
            return await piece.ends
        except asyncio.CancelledError:
            # A shield around each wait would cost a quarter of it, and nearly nobody is cancelled.
            if not piece.over:
                piece.late = asyncio.Event()
                with anyio.CancelScope(shield=True):
                    await piece.late.wait()
            raise

    def _begin(self, work: Callable[[], T]) -> _Piece[T]:
        counter = self._counter
        if self._threads < min(counter.open + 1, self._count):
            try:
                threading.Thread(target=counter.serve, name="groundswell disk", daemon=True).start()
                self._threads += 1
            except RuntimeError:  # the system gives no more threads: those that are there do it
                if not self._threads:
                    raise
        counter.open += 1
        piece = _Piece(work, counter.loop.create_future())
        counter.waiting.put(piece)
        return piece


class _Piece(Generic[T]):
    """A piece of work on its way through a thread."""

    __slots__ = ("ends", "error", "late", "over", "result", "work")

    def __init__(self, work: Callable[[], T], ends: asyncio.Future[T]) -> None:
        self.work: Callable[[], T] | None = work
        self.ends = ends
        self.over = False
        self.late: asyncio.Event | None = None
        """Set for a caller who was cancelled when it is over."""
        self.result: T | None = None
        self.error: BaseException | None = None

    def do(self) -> None:
        """In a thread: the work, and what came of it."""
        work, self.work = cast(Callable[[], T], self.work), None
        try:
            self.result = work()
        except BaseException as error:  # noqa: BLE001 - it belongs to whoever asked for the work
            self.error = error
        finally:
            del work  # nor shall a picture's bytes wait here, or in the error's traceback, for the collector

    def settle(self) -> None:
        """On the loop: told to who waits."""
        self.over = True
        if self.late is not None:
            self.late.set()
        elif self.ends.done():  # cancelled, and not yet waiting for the end
            return
        elif self.error is None:
            self.ends.set_result(cast(T, self.result))
        else:
            error, self.error = self.error, None  # its traceback knows this piece
            self.ends.set_exception(error)


class _Counter:
    """Where a loop hands in work and threads hand back results."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.waiting: SimpleQueue[_Piece[Any] | None] = SimpleQueue()
        self.open = 0
        """Pieces handed in and not yet handed back; counted by the loop."""
        self._ended: deque[_Piece[Any]] = deque()
        self._told = False
        """The loop knows that there are ends, and has not begun to take them."""

    def serve(self) -> None:
        """One thread's life."""
        while (piece := self.waiting.get()) is not None:
            piece.do()
            self._ended.append(piece)
            del piece
            # Looked at after the append, and taken back by `_settle` before it looks: no end is missed.
            if not self._told:
                self._told = True
                with suppress(RuntimeError):  # the loop has been closed: nobody waits
                    self.loop.call_soon_threadsafe(self._settle)

    def _settle(self) -> None:
        self._told = False
        while self._ended:
            self.open -= 1
            self._ended.popleft().settle()

    def close(self, threads_max: int) -> None:
        """Have the threads leave once their work is done."""
        for _ in range(threads_max):
            self.waiting.put(None)
