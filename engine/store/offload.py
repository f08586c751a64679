"""Where blocking work runs: a bounded set of threads, or right here.

The store never decides this. A run hands in `threads(n)`; tests on a virtual clock hand in `inline`,
because a thread would let real time into a world that has none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

import anyio
import anyio.to_thread

T = TypeVar("T")


class Offload(Protocol):
    """Runs a blocking function and gives its result, without holding up the loop."""

    async def __call__(self, work: Callable[[], T], /) -> T: ...


def threads(count: int) -> Offload:
    """At most `count` pieces of work at a time, each in a worker thread. Belongs to the loop it is used in."""
    limiter: anyio.CapacityLimiter | None = None

    async def offload(work: Callable[[], T], /) -> T:
        nonlocal limiter
        if limiter is None:
            limiter = anyio.CapacityLimiter(count)
        return await anyio.to_thread.run_sync(work, limiter=limiter)

    return offload


async def inline(work: Callable[[], T], /) -> T:
    """Runs the work at once on the loop. For tests in virtual time."""
    return work()
