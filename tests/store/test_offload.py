"""Blocking work in threads: bounded, waited for, its results and faults handed back; on asyncio and on trio."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Callable
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from engine.offload import to_the_end
from engine.store import inline, threads


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return request.param


pytestmark = pytest.mark.anyio


async def test_results_and_faults_come_back_to_whoever_asked() -> None:
    offload = threads(3)
    got: list[int] = []

    async def one(n: int) -> None:
        if n % 7 == 0:
            with pytest.raises(ZeroDivisionError):
                await offload(lambda: n // 0)
        else:
            got.append(await offload(lambda: n))

    async with anyio.create_task_group() as group:
        for n in range(200):
            group.start_soon(one, n)
    assert sorted(got) == [n for n in range(200) if n % 7]


async def test_never_more_pieces_at_a_time_than_said() -> None:
    offload = threads(3)
    gate = threading.Semaphore(3)

    def work() -> None:
        assert gate.acquire(blocking=False), "a fourth piece at the same time"
        threading.Event().wait(0.001)
        gate.release()

    async with anyio.create_task_group() as group:
        for _ in range(50):
            group.start_soon(offload, work)


async def test_work_that_has_begun_is_waited_for_when_the_caller_is_cancelled() -> None:
    offload = threads(1)
    began, goes_on, ended = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        began.set()
        goes_on.wait()
        ended.set()

    async def cancel_then_let_it_end(scope: anyio.CancelScope) -> None:
        while not began.is_set():
            await anyio.lowlevel.checkpoint()
        scope.cancel()
        for _ in range(10):
            await anyio.lowlevel.checkpoint()
        goes_on.set()

    async with anyio.create_task_group() as group:
        with anyio.CancelScope() as scope:
            group.start_soon(cancel_then_let_it_end, scope)
            await offload(work)
        assert ended.is_set()


async def test_what_a_cancel_must_not_stop_is_taken_up_again_and_the_cancel_told_afterwards() -> None:
    done: list[str] = []

    async def step() -> None:
        if not done:
            done.append("half")
            await anyio.sleep(60)
        await anyio.lowlevel.checkpoint()
        done.append("whole")

    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as group:
            group.start_soon(to_the_end, step)
            await anyio.wait_all_tasks_blocked()
            scope.cancel()
    assert done == ["half", "whole"]
    assert scope.cancelled_caught


async def test_a_cancel_is_told_also_when_what_it_must_not_stop_fails_afterwards() -> None:
    tries: list[int] = []
    ends: list[str] = []

    async def step() -> None:
        tries.append(1)
        if len(tries) == 1:
            await anyio.sleep(60)
        raise RuntimeError("can't start new thread")

    async def caller() -> None:
        try:
            await to_the_end(step)
        except anyio.get_cancelled_exc_class():
            ends.append("cancelled")
            raise

    async with anyio.create_task_group() as group:
        group.start_soon(caller)
        await anyio.wait_all_tasks_blocked()
        group.cancel_scope.cancel()
    assert (len(tries), ends) == (2, ["cancelled"])


async def test_inline_stays_on_the_thread_of_the_loop() -> None:
    assert await inline(threading.get_ident) == threading.get_ident()


def test_a_bare_cancel_of_asyncio_costs_only_the_one_who_was_cancelled() -> None:
    async def main() -> list[int]:
        offload, goes_on = threads(1), threading.Event()
        first = asyncio.create_task(_number(offload, lambda: goes_on.wait() and 1))
        second = asyncio.create_task(_number(offload, lambda: 2))
        await asyncio.sleep(0)
        first.cancel()
        goes_on.set()
        return [n for n in await asyncio.gather(first, second, return_exceptions=True) if isinstance(n, int)]

    assert asyncio.run(main()) == [2]


async def _number(offload: Any, work: Callable[[], Any]) -> Any:
    return await offload(work)


def test_threads_leave_when_nobody_can_bring_work_any_more() -> None:
    before = set(threading.enumerate())

    async def main() -> set[threading.Thread]:
        offload = threads(4)
        async with anyio.create_task_group() as group:
            for _ in range(8):
                group.start_soon(offload, lambda: None)
        return set(threading.enumerate()) - before

    started = asyncio.run(main())
    gc.collect()
    assert 0 < len(started) <= 4
    for thread in started:
        thread.join(timeout=10)
        assert not thread.is_alive()


def test_where_no_thread_is_to_be_had_the_caller_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def main() -> None:
        offload = threads(2)
        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", refuse)
            with pytest.raises(RuntimeError, match="can't start"):
                await offload(lambda: 1)
        assert await offload(lambda: 1) == 1

    asyncio.run(main())
