"""An event that happens once, for tasks of one loop to wait for.

`anyio.Event` costs 2 µs and more each time it is made, waited for and set, which is much where a call waits for half a
dozen of them. On asyncio a latch is a list of futures; on any other loop it is `anyio.Event`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Protocol

import anyio


class Latch(Protocol):
    """Closed until it is `set`, which lets through all who wait and all who come later."""

    def set(self) -> object: ...
    def is_set(self) -> bool: ...
    def wait(self) -> Awaitable[None]: ...


def on_asyncio() -> bool:
    """Whether who asks is a task of asyncio's; a loop of another kind may be asyncio's guest, and its tasks are not."""
    try:
        return asyncio.current_task() is not None
    except RuntimeError:  # no asyncio loop
        return False


def latch() -> Latch:
    """A closed latch for the loop that runs here."""
    return _Futures() if on_asyncio() else anyio.Event()


class _Futures:
    __slots__ = ("_loop", "_open", "_waiting")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._open = False
        self._waiting: list[asyncio.Future[None]] = []

    def is_set(self) -> bool:
        return self._open

    def set(self) -> None:
        self._open = True
        for waits in self._waiting:
            if not waits.done():  # cancelled
                waits.set_result(None)
        self._waiting.clear()

    def wait(self) -> asyncio.Future[None]:
        """To be awaited at once; where it is set already, the loop takes no turn.

        One future for each who waits: a cancelled one takes no other along, and is forgotten when it is set.
        """
        waits = self._loop.create_future()
        if self._open:
            waits.set_result(None)
        else:
            self._waiting.append(waits)
        return waits
