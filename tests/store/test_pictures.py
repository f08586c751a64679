"""Pictures that come together are saved together, and each has its own fate."""

from __future__ import annotations

import asyncio
import errno
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import anyio
import pytest

from engine.errors import StoreError
from engine.offload import threads
from engine.store import PICTURE_THREADS, BadPicture, PictureWriter, RunDir
from engine.store.assets import Arrival, write_pictures
from engine.store.pictures import PORTION_MAX
from schemas.outcome import Asset

Kit = Any


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return request.param


def arrivals(kit: Kit, *indexes: int) -> list[Arrival]:
    return [Arrival(index, kit.image_id(index), kit.a_picture(index)) for index in indexes]


def left_over(run: RunDir) -> list[Path]:
    return [path for path in run.images.rglob("*") if path.is_file() and path.name.startswith(".")]


def test_the_folder_of_pictures_that_come_together_is_synced_once(run: RunDir, kit: Kit) -> None:
    write_pictures(run, arrivals(kit, 1, 1001))
    disk = kit.Sick(lambda name, n: None)
    done = write_pictures(run, arrivals(kit, 2, 1002, 3, 4), fs=disk)
    assert [asset.path for asset in done if isinstance(asset, Asset)] == [
        f"images/{folder}/{kit.image_id(n)}.png"
        for folder, n in (("0000", 2), ("0001", 1002), ("0000", 3), ("0000", 4))
    ]
    assert Counter(disk.seen)["sync_dir"] == 2
    steps = list(dict.fromkeys(name for name in disk.seen if name in ("create", "sync", "rename", "sync_dir")))
    assert steps == ["create", "sync", "rename", "sync_dir"], "no step begins before the one before it is done for all"
    assert disk.seen.index("rename") > len(disk.seen) - 1 - disk.seen[::-1].index("sync")


@pytest.mark.parametrize("call", ["create", "write", "sync", "rename"])
def test_a_picture_that_the_disk_refuses_harms_none_beside_it(run: RunDir, kit: Kit, call: str) -> None:
    write_pictures(run, arrivals(kit, 9))
    seen = Counter[str]()

    def when(name: str, _: int) -> None:
        seen[name] += 1
        if name == call and seen[name] == 2:
            raise OSError(errno.EIO, "Input/output error")

    bad = Arrival(4, kit.image_id(4), b"<html>")
    done = write_pictures(run, [*arrivals(kit, 1, 2, 3), bad], fs=kit.Sick(when))
    assert [type(one) for one in done] == [Asset, StoreError, Asset, BadPicture]
    assert "cannot save the picture: Input/output error" in str(done[1])
    found = sorted(path.stem for path in run.images.rglob("*.png"))
    assert found == [kit.image_id(n) for n in (1, 3, 9)]
    assert not left_over(run)


def test_a_folder_that_cannot_be_synced_fails_its_pictures_and_no_others(run: RunDir, kit: Kit) -> None:
    write_pictures(run, arrivals(kit, 9, 1009))
    left = [1]

    def when(name: str, _: int) -> None:
        if name == "sync_dir" and left:
            left.pop()
            raise OSError(errno.EIO, "Input/output error")

    done = write_pictures(run, arrivals(kit, 1, 1001, 2), fs=kit.Sick(when))
    assert [type(one) for one in done] == [StoreError, Asset, StoreError]


@pytest.mark.parametrize("call", ["create", "write", "sync", "rename"])
def test_a_fault_of_ours_leaves_no_half_pictures_and_no_open_files(run: RunDir, kit: Kit, call: str) -> None:
    write_pictures(run, arrivals(kit, 9))
    seen = Counter[str]()

    def when(name: str, _: int) -> None:
        seen[name] += 1
        if name == call and seen[name] == 2:
            raise ZeroDivisionError

    disk = kit.Sick(when)
    with pytest.raises(ZeroDivisionError):
        write_pictures(run, arrivals(kit, 1, 2, 3), fs=disk)
    assert not left_over(run)
    assert seen["close"] == seen["create"] - (call == "create")


async def test_pictures_wait_for_each_other_and_full_portions_take_further_threads(run: RunDir, kit: Kit) -> None:
    pool, go_on, begun, portions = threads(PICTURE_THREADS), threading.Event(), list[int](), list[int]()

    async def slow(work: Any, /) -> Any:
        begun.append(1)

        def held() -> Any:
            go_on.wait(10)
            done = work()
            portions.append(len(done))
            return done

        return await pool(held)

    writer = PictureWriter(run, offload=slow)
    saved: list[str] = []
    counts = [1, PORTION_MAX - 1, 1, PORTION_MAX, 2]
    threads_taken = [1, 1, 2, 3, 3]

    async def save(index: int) -> None:
        saved.append((await writer.save(index, kit.image_id(index), kit.a_picture(index))).path)

    async with anyio.create_task_group() as group:
        first = 1
        for count, taken in zip(counts, threads_taken, strict=True):
            for index in range(first, first + count):
                group.start_soon(save, index)
            first += count
            await anyio.wait_all_tasks_blocked()
            assert len(begun) == taken
        go_on.set()
    assert len(saved) == len(set(saved)) == sum(counts)
    assert sorted(portions) == [1, 2, PORTION_MAX, PORTION_MAX]


def test_when_the_one_who_leads_is_cancelled_the_others_are_saved_all_the_same(run: RunDir, kit: Kit) -> None:
    """By a bare cancel of asyncio, which no shield holds back."""

    async def main() -> None:
        writer = PictureWriter(run, offload=threads(1))
        tasks = [asyncio.create_task(writer.save(n, kit.image_id(n), kit.a_picture(n))) for n in range(1, 5)]
        await asyncio.sleep(0)
        tasks[0].cancel()
        done = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(done[0], asyncio.CancelledError)
        for n, asset in enumerate(done[1:], 2):
            assert isinstance(asset, Asset), asset
            assert (run.root / asset.path).read_bytes() == kit.a_picture(n)

    asyncio.run(main())
