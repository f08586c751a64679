"""The log writer: what is acknowledged is on disk, in whole lines, however many append at once."""

from __future__ import annotations

import asyncio
import errno
import random
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest
import trio
from msgspec import Struct
from trio.testing import MockClock

from engine.errors import LogDamaged, StoreError
from engine.store import (
    DISK,
    RunDir,
    follow,
    inline,
    open_writer,
    read_lines,
    read_records,
    recover,
    scan_settled,
    threads,
)
from engine.store.log import BATCH_RECORDS_MAX, COMMIT_EVERY_S
from schemas.record import ImageRecord, check_line, encode_line

Kit = Any


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.mark.parametrize("durability", ["strict", "batch", "none"])
async def test_everything_acknowledged_is_in_the_file_in_whole_lines(run: RunDir, kit: Kit, durability: Any) -> None:
    acknowledged: list[int] = []
    async with open_writer(run.images_log, durability=durability) as log:

        async def worker(first: int) -> None:
            for index in range(first, first + 40):
                await log.append(kit.an_image_line(index))
                acknowledged.append(index)
                on_disk = run.images_log.read_bytes()
                assert f'"index":{index},'.encode() in on_disk, "acknowledged before it was written"

        async with anyio.create_task_group() as group:
            for n in range(5):
                group.start_soon(worker, n * 40 + 1)
    lines = list(read_lines(run.images_log))
    assert all(check_line(line) for line in lines)
    assert sorted(r.index for r in read_records(run.images_log, ImageRecord)) == sorted(acknowledged)
    assert len(acknowledged) == 200


async def test_those_who_wait_together_share_one_sync(run: RunDir, kit: Kit) -> None:
    disk = kit.Sick(lambda name, n: None)
    async with open_writer(run.images_log, fs=disk) as log, anyio.create_task_group() as group:
        for index in range(1, 1001):
            group.start_soon(log.append, kit.an_image_line(index))
    assert len(list(read_lines(run.images_log))) == 1000
    assert disk.seen.count("sync") <= 2 + 1000 / BATCH_RECORDS_MAX
    assert disk.seen.count("sync") >= 1


async def test_an_idle_log_syncs_each_line_at_once(run: RunDir, kit: Kit) -> None:
    disk = kit.Sick(lambda name, n: None)
    async with open_writer(run.images_log, fs=disk, offload=inline) as log:
        for index in range(1, 6):
            await log.append(kit.an_image_line(index))
            assert disk.seen.count("sync") == index


@pytest.mark.parametrize("anyio_backend", [("trio", {"clock": MockClock(autojump_threshold=0)})], ids=["virtual time"])
async def test_lines_of_a_moment_share_a_sync_and_none_waits_longer_than_that(run: RunDir, kit: Kit) -> None:
    disk = kit.Sick(lambda name, n: None)
    async with open_writer(run.images_log, fs=disk, offload=inline) as log:
        await log.append(kit.an_image_line(1))
        began = anyio.current_time()
        async with anyio.create_task_group() as group:
            for index in (2, 3, 4):
                group.start_soon(log.append, kit.an_image_line(index))
                await anyio.sleep(COMMIT_EVERY_S / 10)
        assert anyio.current_time() - began == pytest.approx(COMMIT_EVERY_S)
        assert disk.seen.count("sync") == 2


async def test_none_never_syncs(run: RunDir, kit: Kit) -> None:
    disk = kit.Sick(lambda name, n: None)
    async with open_writer(run.images_log, durability="none", fs=disk) as log:
        for index in range(1, 6):
            await log.append(kit.an_image_line(index))
    assert not {"sync", "sync_dir"} & set(disk.seen)


async def test_batch_syncs_within_a_second_and_when_it_closes(run: RunDir, kit: Kit) -> None:
    disk = kit.Sick(lambda name, n: None)
    alarms: list[tuple[float, Callable[[], None]]] = []
    cancelled: list[int] = []

    def later(wait_s: float, call: Callable[[], None]) -> Callable[[], None]:
        alarms.append((wait_s, call))
        return lambda: cancelled.append(1)

    log = open_writer(run.images_log, durability="batch", fs=disk, later=later)
    for index in range(1, 4):
        await log.append(kit.an_image_line(index))
    assert [wait_s for wait_s, _ in alarms] == [1.0], "one alarm for all lines of that second"
    assert "sync" not in disk.seen
    alarms[0][1]()
    assert disk.seen.count("sync") == 1
    await log.append(kit.an_image_line(4))
    assert len(alarms) == 2
    await log.aclose()
    assert disk.seen.count("sync") == 2
    assert cancelled
    alarms[1][1]()  # an alarm that rings after the end finds nothing to do
    assert disk.seen.count("sync") == 2


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EFBIG])
async def test_when_the_disk_refuses_a_write_everyone_waiting_hears_one_clear_error(
    run: RunDir, kit: Kit, code: int
) -> None:
    disk = kit.failing("write", code, after=1)
    log = open_writer(run.images_log, fs=disk)
    await log.append(kit.an_image_line(1))
    whole = run.images_log.read_bytes()
    heard: list[str] = []

    async def worker(index: int) -> None:
        with pytest.raises(StoreError) as caught:
            await log.append(kit.an_image_line(index))
        heard.append(str(caught.value))

    async with anyio.create_task_group() as group:
        for index in range(2, 30):
            group.start_soon(worker, index)
    assert len(heard) == 28
    assert len(set(heard)) == 1
    assert str(run.images_log) in heard[0]
    assert errno.errorcode[code] in heard[0]
    assert "again to continue" in heard[0]
    await worker(30)
    await log.aclose()
    assert run.images_log.read_bytes() == whole


async def test_half_a_batch_that_a_full_disk_took_is_cut_off_again(run: RunDir, kit: Kit) -> None:
    writes = 0

    def when(name: str, _: int) -> int | None:
        nonlocal writes
        if name != "write":
            return None
        writes += 1
        if writes == 2:
            return 700  # a short write
        if writes > 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        return None

    log = open_writer(run.images_log, fs=kit.Sick(when))
    await log.append(kit.an_image_line(1))
    whole = run.images_log.read_bytes()
    with pytest.raises(StoreError, match="No space left on device; free space"):
        await log.append(kit.an_image_line(2))
    assert run.images_log.read_bytes() == whole
    await log.aclose()


async def test_a_short_write_is_carried_on_with(run: RunDir, kit: Kit) -> None:
    disk = kit.Sick(lambda name, n: 100 if name == "write" else None)
    async with open_writer(run.images_log, fs=disk) as log:
        await log.append(kit.an_image_line(1))
    assert [r.index for r in read_records(run.images_log, ImageRecord)] == [1]


async def test_after_a_failed_sync_the_handle_is_never_synced_again(run: RunDir, kit: Kit) -> None:
    disk = kit.failing("sync", errno.EIO, after=1)
    log = open_writer(run.images_log, fs=disk)
    await log.append(kit.an_image_line(1))
    for index in (2, 3):
        with pytest.raises(StoreError, match="check the disk and the kernel log"):
            await log.append(kit.an_image_line(index))
    await log.aclose()
    assert disk.seen.count("sync") == 2, "the good one and the bad one"
    assert [r.index for r in read_records(run.images_log, ImageRecord)] == [1], "the refused line does not come back"


async def test_a_failed_late_sync_stops_the_next_append_and_is_told_by_closing(run: RunDir, kit: Kit) -> None:
    for next_thing in ("append", "close"):
        alarms: list[Callable[[], None]] = []

        def later(
            wait_s: float, call: Callable[[], None], into: list[Callable[[], None]] = alarms
        ) -> Callable[[], None]:
            into.append(call)
            return lambda: None

        run.images_log.unlink(missing_ok=True)
        log = open_writer(
            run.images_log, durability="batch", fs=kit.failing("sync", errno.EIO), later=later, offload=inline
        )
        await log.append(kit.an_image_line(1))
        alarms[0]()
        with pytest.raises(StoreError, match="cannot sync the log"):
            await (log.append(kit.an_image_line(2)) if next_thing == "append" else log.aclose())
        await log.aclose()


@pytest.mark.parametrize("what", ["file", "folder", "replaced"])
async def test_a_log_that_was_taken_away_in_mid_run_is_noticed(
    run: RunDir, kit: Kit, tmp_path: Path, what: str
) -> None:
    log = open_writer(run.images_log)
    await log.append(kit.an_image_line(1))
    if what == "folder":
        run.root.rename(tmp_path / "moved")
    else:
        run.images_log.unlink()
        if what == "replaced":
            run.images_log.write_bytes(b"")
    with pytest.raises(StoreError, match="was moved or removed while it was in use"):
        await log.append(kit.an_image_line(2))
    await log.aclose()


async def test_cancelled_appenders_leave_whole_lines_and_hold_nobody_up(run: RunDir, kit: Kit) -> None:
    log = open_writer(run.images_log)
    done: list[int] = []
    for round_ in range(20):
        with anyio.move_on_after(0) as scope:
            async with anyio.create_task_group() as group:
                for n in range(5):
                    group.start_soon(log.append, kit.an_image_line(round_ * 10 + n + 1))
                scope.cancel()
        with anyio.fail_after(10):
            await log.append(kit.an_image_line(round_ * 10 + 9))
        done.append(round_ * 10 + 9)
    await log.aclose()
    lines = list(read_lines(run.images_log))
    assert all(check_line(line) for line in lines)
    assert set(done) <= {r.index for r in read_records(run.images_log, ImageRecord)}


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=False)
async def test_a_bare_asyncio_cancel_of_the_leader_does_not_strand_its_followers(
    run: RunDir, kit: Kit, anyio_backend: str
) -> None:
    entered, leave = threading.Event(), threading.Event()
    slow = kit.Sick(lambda name, n: None)

    def when(name: str, _: int) -> None:
        if name == "sync" and not entered.is_set():
            entered.set()
            leave.wait(10)

    slow._when = when
    log = open_writer(run.images_log, fs=slow)
    leader = asyncio.ensure_future(log.append(kit.an_image_line(1)))
    await anyio.to_thread.run_sync(entered.wait)
    second = asyncio.ensure_future(log.append(kit.an_image_line(2)))  # opens and leads the next batch
    follower = asyncio.ensure_future(log.append(kit.an_image_line(3)))
    await anyio.wait_all_tasks_blocked()
    second.cancel()
    threading.Timer(0.05, leave.set).start()
    with pytest.raises(asyncio.CancelledError):
        await second
    with anyio.fail_after(5):
        await leader
        await follower
    await log.aclose()
    assert [r.index for r in read_records(run.images_log, ImageRecord)] == [1, 2, 3]


async def test_a_slow_sync_does_not_hold_up_the_loop(run: RunDir, kit: Kit) -> None:
    leave = threading.Event()
    log = open_writer(run.images_log, fs=kit.Sick(lambda name, n: leave.wait(10) and None if name == "sync" else None))
    turns = 0
    async with anyio.create_task_group() as group:
        group.start_soon(log.append, kit.an_image_line(1))
        for _ in range(50):
            await anyio.lowlevel.checkpoint()
            turns += 1
        leave.set()
    assert turns == 50
    await log.aclose()


async def test_a_closed_log_takes_nothing_more(run: RunDir, kit: Kit) -> None:
    log = open_writer(run.images_log)
    await log.aclose()
    await log.aclose()
    with pytest.raises(RuntimeError, match="closed log"):
        await log.append(kit.an_image_line(1))


async def test_a_log_that_ends_in_half_a_line_is_refused_until_it_is_recovered(run: RunDir, kit: Kit) -> None:
    run.images_log.write_bytes(encode_line(kit.an_image_line(1)) + b'{"v":1,"job"')
    with pytest.raises(StoreError, match="half a line"):
        open_writer(run.images_log)
    recover(run.images_log, run.quarantine)
    async with open_writer(run.images_log) as log:
        await log.append(kit.an_image_line(2))
    assert [r.index for r in read_records(run.images_log, ImageRecord)] == [1, 2]


async def test_a_symlink_in_the_place_of_a_log_is_not_followed(run: RunDir, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(b"")
    run.images_log.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match="symbolic link is in the way"):
        open_writer(run.images_log)


async def test_a_log_folder_that_is_a_symlink_is_refused(run: RunDir, tmp_path: Path) -> None:
    run.log.rename(tmp_path / "elsewhere")
    run.log.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match="a run writes only inside its own directory"):
        open_writer(run.images_log)
    assert list((tmp_path / "elsewhere").iterdir()) == []


async def test_when_no_thread_is_to_be_had_the_line_is_written_all_the_same(run: RunDir, kit: Kit) -> None:
    async def no_threads(work: Callable[[], Any], /) -> Any:
        raise RuntimeError("can't start new thread")

    log = open_writer(run.images_log, offload=no_threads)
    async with anyio.create_task_group() as group:
        for index in range(1, 6):
            group.start_soon(log.append, kit.an_image_line(index))
    assert sorted(r.index for r in read_records(run.images_log, ImageRecord)) == [1, 2, 3, 4, 5]


async def test_appending_on_a_virtual_clock_needs_no_thread(run: RunDir, kit: Kit) -> None:
    before = set(threading.enumerate())
    async with open_writer(run.images_log, offload=inline) as log, anyio.create_task_group() as group:
        for index in range(1, 50):
            group.start_soon(log.append, kit.an_image_line(index))
    assert set(threading.enumerate()) <= before  # of other tests some may have left meanwhile
    assert len(list(read_lines(run.images_log))) == 49


def test_a_loop_that_is_the_guest_of_an_asyncio_loop_commits_on_a_thread_as_any_other(run: RunDir, kit: Kit) -> None:
    on: set[int] = set()

    class Watched:
        def __getattr__(self, name: str) -> Any:
            if name == "write":
                on.add(threading.get_ident())
            return getattr(DISK, name)

    async def guest() -> None:
        async with open_writer(run.images_log, fs=Watched()) as log:  # pyright: ignore[reportArgumentType]
            for index in range(1, 4):
                await log.append(kit.an_image_line(index))

    async def host() -> None:
        loop = asyncio.get_running_loop()
        over: asyncio.Future[Any] = loop.create_future()
        trio.lowlevel.start_guest_run(
            guest, run_sync_soon_threadsafe=loop.call_soon_threadsafe, done_callback=over.set_result
        )
        (await over).unwrap()

    asyncio.run(host())
    assert len(list(read_lines(run.images_log))) == 3
    assert threading.get_ident() not in on


async def test_two_logs_can_share_the_threads_of_a_run(run: RunDir, kit: Kit) -> None:
    offload = threads(1)
    async with (
        open_writer(run.images_log, offload=offload) as images,
        open_writer(run.attempts_log, offload=offload) as attempts,
        anyio.create_task_group() as group,
    ):
        for index in range(1, 100):
            group.start_soon(images.append, kit.an_image_line(index))
            group.start_soon(attempts.append, kit.a_start(index))
    assert len(list(read_lines(run.images_log))) == len(list(read_lines(run.attempts_log))) == 99


async def test_the_representation_says_how_the_log_is_doing(run: RunDir, kit: Kit) -> None:
    log = open_writer(run.images_log, offload=inline)
    await log.append(kit.an_image_line(1))
    size = run.images_log.stat().st_size
    assert repr(log) == f"<LogWriter images.jsonl strict: 1 lines, {size} bytes, 0 waiting>"
    await log.aclose()


def test_a_follower_gets_every_whole_line_once_and_never_half_a_line(run: RunDir, kit: Kit) -> None:
    data = b"".join(encode_line(kit.an_image_line(index)) for index in range(1, 12))
    got: list[bytes] = []
    offset = 0
    assert follow(run.images_log, 0) == ([], 0)
    for end in range(0, len(data) + 1, 97):
        run.images_log.write_bytes(data[:end])
        lines, offset = follow(run.images_log, offset)
        assert all(check_line(line) for line in lines)
        got += lines
    run.images_log.write_bytes(data)
    lines, offset = follow(run.images_log, offset)
    assert got + lines == data.split(b"\n")[:-1]
    assert follow(run.images_log, offset) == ([], len(data))


def test_a_follower_with_a_small_limit_still_gets_long_lines(run: RunDir, kit: Kit) -> None:
    data = b"".join(encode_line(kit.an_image_line(index)) for index in range(1, 12))
    run.images_log.write_bytes(data)
    got: list[bytes] = []
    offset = 0
    while True:
        lines, offset = follow(run.images_log, offset, limit_bytes=100)
        if not lines:
            break
        got += lines
    assert got == data.split(b"\n")[:-1]


def test_a_follower_notices_that_the_log_became_shorter(run: RunDir, kit: Kit) -> None:
    run.images_log.write_bytes(encode_line(kit.an_image_line(1)))
    with pytest.raises(LogDamaged, match="became shorter"):
        follow(run.images_log, 100_000)


def test_scanning_tells_what_the_ledger_needs_of_images_and_starts(run: RunDir, kit: Kit) -> None:
    records: list[Struct] = [kit.an_image_line(1), kit.an_image_line(2, status="retry"), kit.a_start(3, attempt=2)]
    run.images_log.write_bytes(b"".join(map(encode_line, records)))
    first, second, third = scan_settled(run.images_log)
    assert (first.job, first.status, first.final, first.index, first.cost_usd) == (f"{1:032x}", "ok", True, 1, 0.039)
    assert (second.status, second.final, second.error_kind) == ("retry", False, None)
    assert (third.status, third.attempt, third.image_id, third.model) == ("start", 2, kit.image_id(3), "gemini-x")


def test_reading_stops_at_damage_unless_somebody_takes_note_of_it(run: RunDir, kit: Kit) -> None:
    lines = [encode_line(kit.an_image_line(index)) for index in range(1, 4)]
    run.images_log.write_bytes(lines[0] + lines[1].replace(b"ok", b"no") + lines[2])
    with pytest.raises(LogDamaged, match=r"line 2 \(byte \d+\) is damaged; run `groundswell verify"):
        list(read_records(run.images_log, ImageRecord))
    noted = []
    assert [r.index for r in read_records(run.images_log, ImageRecord, on_damage=noted.append)] == [1, 3]
    assert [(bad.line, bad.offset, bad.size_bytes) for bad in noted] == [(2, len(lines[0]), len(lines[1]))]


def test_a_log_that_is_not_there_has_no_lines(run: RunDir) -> None:
    assert list(read_lines(run.images_log)) == []
    assert list(run.log.iterdir()) == []


@pytest.mark.parametrize("seed", range(25))
async def test_whatever_is_cancelled_or_refused_the_file_says_what_the_appenders_were_told(
    run: RunDir, kit: Kit, seed: int
) -> None:
    rng = random.Random(seed)
    fails_at = rng.choice([10**9, rng.randrange(1, 60)])
    code = rng.choice([errno.ENOSPC, errno.EIO])

    def when(name: str, calls: int) -> int | None:
        if name in ("write", "sync") and calls >= fails_at:
            raise OSError(code, "no")
        return rng.choice([None, None, rng.randrange(1, 900)]) if name == "write" else None

    async def slow(work: Callable[[], Any], /) -> Any:
        for _ in range(rng.randrange(4)):
            await anyio.lowlevel.checkpoint()
        return work()

    written: set[int] = set()
    refused: set[int] = set()
    log = open_writer(run.images_log, fs=kit.Sick(when), offload=slow)

    async def worker(first: int) -> None:
        for index in range(first, first + 10):
            for _ in range(rng.randrange(3)):
                await anyio.lowlevel.checkpoint()
            try:
                await log.append(kit.an_image_line(index))
            except StoreError:
                refused.add(index)
            else:
                written.add(index)

    scopes: list[anyio.CancelScope] = []

    async def doomed(first: int) -> None:
        with anyio.CancelScope() as scope:
            scopes.append(scope)
            await worker(first)

    async with anyio.create_task_group() as group:
        for n in range(8):
            group.start_soon(doomed, n * 10 + 1)
        for _ in range(rng.randrange(60)):
            await anyio.lowlevel.checkpoint()
        for scope in rng.sample(scopes, k=min(len(scopes), rng.randrange(8))):
            scope.cancel()
    await log.aclose()
    lines = list(read_lines(run.images_log))
    assert all(check_line(line) for line in lines)
    in_file = [record.index for record in read_records(run.images_log, ImageRecord)]
    assert len(in_file) == len(set(in_file)), "a line was written twice"
    assert written <= set(in_file)
    assert not refused & set(in_file)
