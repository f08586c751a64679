"""Settled records on their way to those who read them."""

from __future__ import annotations

from collections import Counter
from typing import Any

import anyio
import pytest

from engine.runtime.live import RECORDS_HELD_MAX, _Records  # pyright: ignore[reportPrivateUsage]

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return request.param


async def test_a_slow_reader_holds_back_those_who_write_and_gets_all_of_it() -> None:
    records: Any = _Records()
    written: list[int] = []
    read: list[int] = []

    async def write(first: int) -> None:
        for n in range(first, 500, 5):
            await records.put(n)
            written.append(n)

    async with anyio.create_task_group() as group:
        for first in range(5):
            group.start_soon(write, first)
        await anyio.wait_all_tasks_blocked()
        assert len(written) == RECORDS_HELD_MAX
        read += [await anext(records) for _ in range(500)]
        records.end()
        with pytest.raises(StopAsyncIteration):
            await anext(records)
    assert sorted(read) == list(range(500))


async def test_several_readers_share_the_records_and_all_come_to_an_end() -> None:
    records: Any = _Records()
    read: Counter[int] = Counter()

    async def reader() -> None:
        async for n in records:
            read[n] += 1

    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(reader)
        for n in range(100):
            await records.put(n)
        await anyio.wait_all_tasks_blocked()
        records.end()
    assert read == Counter(range(100))


async def test_a_writer_who_is_cancelled_takes_no_room_from_the_others() -> None:
    records: Any = _Records()
    for n in range(RECORDS_HELD_MAX):
        await records.put(n)
    through: list[str] = []

    async def write(name: str) -> None:
        await records.put(name)
        through.append(name)

    async with anyio.create_task_group() as group:
        hasty = anyio.CancelScope()

        async def cancelled() -> None:
            with hasty:
                await write("hasty")

        group.start_soon(cancelled)
        await anyio.wait_all_tasks_blocked()
        group.start_soon(write, "patient")
        await anyio.wait_all_tasks_blocked()
        await anext(records)  # hasty's turn, which he does not take
        hasty.cancel()
        await anyio.wait_all_tasks_blocked()
        assert through in (["patient"], ["hasty"])
        await anext(records)
    assert "patient" in through


async def test_once_nobody_reads_records_go_nowhere_and_nobody_waits() -> None:
    records: Any = _Records()

    async def write() -> None:
        for n in range(3 * RECORDS_HELD_MAX):
            await records.put(n)

    async with anyio.create_task_group() as group:
        group.start_soon(write)
        await anyio.wait_all_tasks_blocked()
        records.forget()
    assert [n async for n in records] == []
