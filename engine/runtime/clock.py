"""The scheduling clock: the loop's own, so that a test on a virtual clock governs it."""

from __future__ import annotations

import asyncio

import anyio


def now() -> float:
    """Seconds, from a start of their own; as `anyio.current_time`, which takes ten calls to find the loop."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return anyio.current_time()
    return loop.time()
