"""A latch lets all through once it is set, on either kind of loop."""

from __future__ import annotations

import anyio
import pytest

from engine.latch import latch

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return request.param


async def test_all_who_wait_are_let_through_when_it_is_set_and_nobody_before() -> None:
    door, through = latch(), list[int]()

    async def visitor(n: int) -> None:
        await door.wait()
        through.append(n)

    async with anyio.create_task_group() as group:
        for n in range(3):
            group.start_soon(visitor, n)
        await anyio.wait_all_tasks_blocked()
        assert (through, door.is_set()) == ([], False)
        door.set()
        door.set()
    assert (sorted(through), door.is_set()) == ([0, 1, 2], True)


async def test_who_comes_late_does_not_wait() -> None:
    door = latch()
    door.set()
    with anyio.fail_after(5):
        await door.wait()


async def test_one_who_is_cancelled_takes_no_other_along() -> None:
    door, through = latch(), list[str]()

    async def patient() -> None:
        await door.wait()
        through.append("patient")

    async with anyio.create_task_group() as group:
        group.start_soon(patient)
        with anyio.move_on_after(0):
            await door.wait()
            through.append("hasty")
        door.set()
    assert through == ["patient"]
