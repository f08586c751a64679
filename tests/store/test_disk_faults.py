"""Real faults of real disks: full, limited, read-only, gone, out of handles; and the n-th call failing."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from engine.errors import StoreError
from engine.store import (
    PICTURE_THREADS,
    PictureWriter,
    Reserve,
    RunDir,
    adopt_orphans,
    check_space,
    check_writable,
    create_run,
    inline,
    open_writer,
    read_records,
    recover,
    threads,
    verify,
    write_picture,
)
from schemas.record import ImageRecord, Start

Kit = Any


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def fill(run: RunDir, kit: Kit, count: int, *, fs: Any = None, size: int = 24) -> tuple[list[int], list[str]]:
    """Do jobs until the disk refuses: the indices that were acknowledged, and what the user was told."""
    more = {} if fs is None else {"fs": fs}
    acknowledged: list[int] = []
    told: list[str] = []
    try:
        attempts = open_writer(run.attempts_log, offload=inline, **more)
    except StoreError as error:
        return [], [str(error)]
    try:
        log = open_writer(run.images_log, offload=inline, **more)
        pictures = PictureWriter(run, offload=inline, **more)
        try:
            for index in range(1, count + 1):
                await attempts.append(kit.a_start(index))
                asset = await pictures.save(index, kit.image_id(index), kit.a_picture(index, size))
                await log.append(kit.an_image_line(index, asset))
                acknowledged.append(index)
        finally:
            await log.aclose()
    except StoreError as error:
        told.append(str(error))
    finally:
        try:
            await attempts.aclose()
        except StoreError as error:
            told.append(str(error))
    return acknowledged, told


def check_afterwards(run: RunDir, acknowledged: list[int]) -> None:
    """What the next start finds: every acknowledged line with its picture, and no damage."""
    ended: set[int] = set()
    assert (
        recover(run.images_log, run.quarantine, take=lambda lines: ended.update(line.index for line in lines)).damaged
        == ()
    )
    assert recover(run.attempts_log, run.quarantine).damaged == ()
    assert set(acknowledged) <= ended
    started = list(read_records(run.attempts_log, Start))
    adopt_orphans(run, [(start.index, start.image_id) for start in started if start.index not in ended])
    assert {finding.kind for finding in verify(run).findings} <= {"interrupted"}
    for record in read_records(run.images_log, ImageRecord):
        assert record.asset is not None
        assert (run.root / record.asset.path).is_file()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EROFS])
async def test_whichever_call_is_the_first_to_fail_nothing_acknowledged_is_lost(
    memory: Path, kit: Kit, code: int
) -> None:
    """As SQLite tests it: fail the n-th call, for every n, until a run goes through."""
    for nth in range(1, 500):
        run = RunDir(memory / str(nth))
        create_run(run, kit.MANIFEST, durability="none")

        def when(name: str, calls: int, nth: int = nth) -> None:
            if name != "close" and calls >= nth:  # and so do all later ones
                raise OSError(code, os.strerror(code))

        disk = kit.Sick(when)
        acknowledged, told = await fill(run, kit, 3, fs=disk)
        if disk.calls < nth:
            assert acknowledged == [1, 2, 3]
            assert nth > 20
            return
        assert len(told) == 1 or acknowledged == [1, 2, 3]
        for each in told:
            assert str(run.root) in each
            assert os.strerror(code) in each
            assert "again to continue" in each
        check_afterwards(run, acknowledged)
        _, told = await fill(run, kit, 3)  # the disk is well again
        assert told == []
        shutil.rmtree(run.root)
    pytest.fail("no run ever went through")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A tmpfs of 1 MB."""
    place = tmp_path / "small"
    place.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m,nr_inodes=400", "tmpfs", str(place)], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip(f"a tmpfs cannot be mounted here: {done.stderr.decode().strip()}")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def remount(place: Path, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", str(place)], check=True)


async def test_a_disk_that_is_full_for_real_stops_the_run_with_one_error_and_the_next_continues(
    small_disk: Path, kit: Kit
) -> None:
    run = RunDir(small_disk / "run")
    create_run(run, kit.MANIFEST)
    acknowledged, told = await fill(run, kit, 2000, size=90)
    assert 5 < len(acknowledged) < 100
    assert len(told) == 1
    assert "No space left on device; free space on this file system" in told[0]
    with pytest.raises(StoreError, match="needed and"):
        check_space(run, 1)
    check_afterwards(run, acknowledged)
    remount(small_disk, "size=4m")
    again, told = await fill(run, kit, len(acknowledged) + 5, size=90)
    assert told == []
    assert len(again) == len(acknowledged) + 5


async def test_what_was_under_way_when_the_disk_became_full_still_finds_its_place(small_disk: Path, kit: Kit) -> None:
    run = RunDir(small_disk / "run")
    create_run(run, kit.MANIFEST)
    with Reserve(run, size_bytes=300_000) as reserve:
        async with (
            open_writer(run.attempts_log, fs=reserve) as attempts,
            open_writer(run.images_log, fs=reserve) as log,
        ):
            pictures = PictureWriter(run, offload=threads(PICTURE_THREADS), fs=reserve)
            todo = iter(range(1, 1000))
            saved: list[int] = []

            async def worker() -> None:
                for index in todo:
                    if reserve.spent:
                        return
                    await attempts.append(kit.a_start(index))
                    await anyio.lowlevel.checkpoint()  # the call that costs money
                    asset = await pictures.save(index, kit.image_id(index), kit.a_picture(index, 64))
                    await log.append(kit.an_image_line(index, asset))
                    saved.append(index)

            async with anyio.create_task_group() as group:
                for _ in range(8):
                    group.start_soon(worker)
        assert reserve.spent
        assert "Free space on this file system" in str(reserve.refusal())
    assert len(saved) > 20
    assert len(saved) == len(list(read_records(run.attempts_log, Start))), "every call that was begun was kept"
    check_afterwards(run, saved)
    assert not list(run.root.glob(".*"))


def test_a_reserve_that_does_not_fit_keeps_the_run_from_starting(small_disk: Path, kit: Kit) -> None:
    run = RunDir(small_disk / "run")
    create_run(run, kit.MANIFEST)
    with pytest.raises(StoreError, match="cannot set 64 MiB aside for answers under way: No space left"), Reserve(run):
        pass
    assert not list(run.root.glob(".*"))


def test_a_reserve_left_by_a_killed_process_is_no_damage_and_is_replaced(run: RunDir) -> None:
    Reserve(run, size_bytes=1 << 20).__enter__()
    assert verify(run).findings == ()
    with Reserve(run, size_bytes=1 << 20) as reserve:
        assert repr(reserve) == "<Reserve 1 MiB held>"
    assert not list(run.root.glob(".*"))
    assert not reserve.spent


async def test_a_read_only_disk_is_told_from_a_full_one(small_disk: Path, kit: Kit) -> None:
    run = RunDir(small_disk / "run")
    create_run(run, kit.MANIFEST)
    acknowledged, _ = await fill(run, kit, 3)
    remount(small_disk, "ro")
    with pytest.raises(StoreError, match="read-only: remount it, or choose another --out"):
        check_writable(run)
    _, told = await fill(run, kit, 3)
    assert len(told) == 1
    assert "read-only" in told[0]
    assert verify(run).sound, "looking needs no writing"
    remount(small_disk, "rw")
    check_afterwards(run, acknowledged)


def in_a_process(run: RunDir, prelude: str) -> tuple[list[int], list[str]]:
    """Fill a run in a process of its own, crippled by `prelude`; what was acknowledged and told."""
    script = textwrap.dedent("""
        import asyncio, importlib.util, json, sys
        spec = importlib.util.spec_from_file_location("kit", sys.argv[2] + "/conftest.py")
        kit = sys.modules["kit"] = importlib.util.module_from_spec(spec); spec.loader.exec_module(kit)
        spec = importlib.util.spec_from_file_location("faults", sys.argv[2] + "/test_disk_faults.py")
        faults = importlib.util.module_from_spec(spec); spec.loader.exec_module(faults)
        from engine.store import RunDir
        run = RunDir(sys.argv[1])
        {prelude}
        print(json.dumps(asyncio.run(faults.fill(run, kit, 60))))
    """).format(prelude=textwrap.indent(textwrap.dedent(prelude), " " * 0))
    done = subprocess.run(
        [sys.executable, "-c", script, str(run.root), str(Path(__file__).parent)],
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    acknowledged, told = json.loads(done.stdout)
    return acknowledged, told


def test_the_file_size_limit_of_a_user_is_hit_without_a_signal_and_without_a_half_line(run: RunDir, kit: Kit) -> None:
    prelude = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
"""
    acknowledged, told = in_a_process(run, prelude)
    assert 3 < len(acknowledged) < 60
    assert len(told) == 1
    assert "images.jsonl" in told[0]
    assert "File too large; raise the file-size limit (ulimit -f)" in told[0]
    assert run.images_log.read_bytes().endswith(b"}\n")
    check_afterwards(run, acknowledged)


def test_running_out_of_file_handles_is_one_clear_error(run: RunDir, kit: Kit) -> None:
    prelude = """
import os, resource
resource.setrlimit(resource.RLIMIT_NOFILE, (200, 200))
hold, plain, count = [], faults.PictureWriter.save, 0
async def hungry(*arguments, **more):
    global count
    count += 1
    try:
        while count == 8:
            hold.append(os.open("/dev/null", os.O_RDONLY))
    except OSError:
        pass
    return await plain(*arguments, **more)
faults.PictureWriter.save = hungry
"""
    acknowledged, told = in_a_process(run, prelude)
    assert acknowledged == [1, 2, 3, 4, 5, 6, 7]
    assert len(told) == 1
    assert "Too many open files; raise the limit of open files (ulimit -n)" in told[0]
    check_afterwards(run, acknowledged)


async def test_a_device_that_is_always_full(run: RunDir, kit: Kit) -> None:
    """/dev/full takes no byte."""

    class Full(kit.Sick):  # type: ignore[misc,name-defined]
        def append_to(self, path: Path) -> int:
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            full = os.open("/dev/full", os.O_WRONLY)
            os.dup2(full, fd)
            os.close(full)
            return fd

    disk = Full(lambda name, n: None)
    log = open_writer(run.images_log, offload=inline, fs=disk)
    with pytest.raises(StoreError, match="No space left on device"):
        await log.append(kit.an_image_line(1))
    await log.aclose()
    assert run.images_log.read_bytes() == b""


def test_folders_that_may_not_be_written_are_told_with_the_path(run: RunDir, kit: Kit) -> None:
    """Permission bits do not hold back root; the immutable flag does, where the file system has it."""
    (run.images / "0000").mkdir()
    if os.geteuid() == 0:
        done = subprocess.run(["chattr", "+i", str(run.images / "0000")], capture_output=True, check=False)
        if done.returncode:
            pytest.skip("no immutable flag here, and permission bits do not hold back root")
        undo = ["chattr", "-i", str(run.images / "0000")]
    else:
        (run.images / "0000").chmod(0o500)
        undo = ["chmod", "700", str(run.images / "0000")]
    try:
        with pytest.raises(StoreError, match=r"a\.png: cannot save the picture: .*; give this user permission"):
            write_picture(run, 1, "a", kit.a_picture())
    finally:
        subprocess.run(undo, check=True)
    write_picture(run, 1, "a", kit.a_picture())


@pytest.mark.parametrize("what", ["run", "images", "log"])
async def test_a_folder_removed_in_mid_run_stops_it(run: RunDir, kit: Kit, what: str) -> None:
    pictures = PictureWriter(run, offload=inline)
    async with open_writer(run.attempts_log) as attempts, open_writer(run.images_log) as log:
        for index in range(1, 50):
            if index == 5:
                shutil.rmtree({"run": run.root, "images": run.images, "log": run.log}[what])
            try:
                await attempts.append(kit.a_start(index))
                asset = await pictures.save(index, kit.image_id(index), kit.a_picture(index))
                await log.append(kit.an_image_line(index, asset))
            except StoreError as error:
                told = str(error)
                break
    assert index == 5, "stopped at the first call after it"
    assert "moved or removed while it was in use" in told
    assert not run.root.exists() or what != "run"
