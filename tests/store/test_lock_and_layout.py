"""One process writes a run; a run directory is made whole or not at all; ids and paths stay inside."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from engine.errors import RunLocked, StoreError
from engine.store import (
    RunDir,
    RunLock,
    check_handles,
    check_space,
    check_writable,
    create_run,
    free_bytes,
    is_live,
    load_manifest,
)

Kit = Any

HOLDER = """
import sys, time
from engine.store import RunDir, RunLock
with RunLock(RunDir(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_process_is_refused_and_the_first_is_named_until_it_dies(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(run.root)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        assert is_live(run)
        with pytest.raises(RunLocked) as caught, RunLock(run):
            pass
        assert f"{run.root}: another process writes this run (pid {holder.pid} host " in str(caught.value)
        assert " started 20" in str(caught.value)
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    assert run.lock.read_text(), "the text is stale now"
    assert not is_live(run)
    with RunLock(run):
        assert run.lock.read_text().startswith(f"pid {os.getpid()} host ")
    assert run.lock.read_bytes() == b""


def test_the_same_process_cannot_open_a_run_twice_either(run: RunDir) -> None:
    with RunLock(run):
        with pytest.raises(RunLocked), RunLock(run):
            pass
        assert is_live(run), "the refused one has not freed the lock"
    with RunLock(run):
        pass


def test_removing_the_lock_file_of_a_live_run_lets_nobody_in(run: RunDir) -> None:
    """People do that with what they take for a stale one."""
    with RunLock(run):
        run.lock.unlink()
        assert is_live(run)
        with pytest.raises(RunLocked, match="another process writes this run"), RunLock(run):
            pass
    assert not is_live(run)
    with RunLock(run):
        assert is_live(run)


def test_looking_whether_a_run_is_live_never_makes_one_fail_to_start(run: RunDir) -> None:
    with RunLock(run):
        pass
    with run.lock.open("rb") as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)
        with pytest.raises(RunLocked), RunLock(run):  # somebody who never lets go
            pass
        fcntl.flock(looking, fcntl.LOCK_UN)
    with RunLock(run):
        pass


def test_a_file_system_without_locks_is_refused_in_plain_words(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(fd: int, how: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(StoreError, match=r"run\.lock: this file system cannot lock files \(No locks available\)"):
        RunLock(run).__enter__()


def test_a_full_disk_does_not_keep_a_run_from_being_locked(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with RunLock(run):
        assert is_live(run)


def test_a_symlink_in_the_place_of_the_lock_is_not_followed(run: RunDir, tmp_path: Path) -> None:
    run.lock.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match="symbolic link"):
        RunLock(run).__enter__()
    assert not (tmp_path / "elsewhere").exists()


def test_paths_are_the_pinned_ones(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    named = {
        "run.json": run.run_json,
        "log/images.jsonl": run.images_log,
        "log/metadata.jsonl": run.metadata_log,
        "log/attempts.jsonl": run.attempts_log,
        "log/reviews.jsonl": run.reviews_log,
        "events.jsonl": run.events,
        "run.lock": run.lock,
        "quarantine": run.quarantine,
        "qa": run.qa,
        "images/0000/sm_20260121_0001.png": run.image_path(1, "sm_20260121_0001", ".png"),
        "images/0000/sm_20260121_1000.png": run.image_path(1000, "sm_20260121_1000", ".png"),
        "images/0001/sm_20260121_1001.jpg": run.image_path(1001, "sm_20260121_1001", ".jpg"),
        "images/9999/x.png": run.image_path(10_000_000, "x", ".png"),
        "images/10000/x.png": run.image_path(10_000_001, "x", ".png"),
    }
    for name, path in named.items():
        assert path == tmp_path / name
        assert run.relative(path) == name


@pytest.mark.parametrize("suffix", ["", "png", "./png", ".PNG", "..", ".a/b"])
def test_strange_suffixes_are_refused(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(StoreError, match="suffix"):
        RunDir(tmp_path).image_path(1, "x", suffix)


def test_a_run_is_made_with_its_manifest_last(tmp_path: Path, kit: Kit) -> None:
    run = RunDir(tmp_path / "a" / "b" / "run")
    disk = kit.Sick(lambda name, n: None)
    create_run(run, kit.MANIFEST, fs=disk)
    assert load_manifest(run) == kit.MANIFEST
    assert disk.seen[-2:] == ["rename", "sync_dir"]
    with pytest.raises(StoreError, match="already there"):
        create_run(run, kit.MANIFEST)


def test_a_run_that_could_not_be_made_is_no_run(tmp_path: Path, kit: Kit) -> None:
    for nth, call in enumerate(("mkdir", "sync_dir", "create", "write", "sync", "rename")):
        run = RunDir(tmp_path / str(nth))
        with pytest.raises(StoreError, match="free space"):
            create_run(run, kit.MANIFEST, fs=kit.failing(call, errno.ENOSPC))
        assert not run.run_json.exists()
        create_run(run, kit.MANIFEST)  # once there is room, the same command does it
        assert load_manifest(run) == kit.MANIFEST


def test_a_run_is_not_begun_over_the_logs_of_another(run: RunDir, kit: Kit) -> None:
    run.run_json.unlink()
    run.attempts_log.write_bytes(b"x")
    with pytest.raises(StoreError, match=r"run\.json is gone, but log/attempts\.jsonl holds lines"):
        create_run(run, kit.MANIFEST)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (None, "holds no run"),
        (b"", "damaged"),
        (b"{}", "damaged"),
        (b"\xff\xfe", "damaged"),
        (b'{"v":2}', "damaged"),
    ],
)
def test_a_manifest_that_cannot_be_read_is_named(run: RunDir, data: bytes | None, said: str) -> None:
    run.run_json.unlink() if data is None else run.run_json.write_bytes(data)
    with pytest.raises(StoreError, match=said):
        load_manifest(run)


def test_a_manifest_of_a_newer_format_says_update(run: RunDir) -> None:
    run.run_json.write_bytes(run.run_json.read_bytes().replace(b'"v": 1', b'"v": 7'))
    with pytest.raises(StoreError, match="written in format 7, this version knows up to 1; update"):
        load_manifest(run)


def test_a_run_that_cannot_fit_is_refused_before_it_costs_anything(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "not" / "made" / "yet")
    free = free_bytes(run.root)
    assert free > 0
    assert check_space(run, 1000, spare_bytes=0) > 0
    with pytest.raises(StoreError, match=r"free, .* TB needed and 64\.0 MB|67\.1 MB to spare"):
        check_space(run, free + 10**15)
    assert not run.root.exists()


def test_a_place_that_cannot_be_written_is_found_beforehand(run: RunDir, kit: Kit, tmp_path: Path) -> None:
    check_writable(run)
    assert not list(run.root.glob(".probe*"))
    for code, said in ((errno.EROFS, "read-only"), (errno.EACCES, "give this user permission")):
        with pytest.raises(StoreError, match=said):
            check_writable(run, fs=kit.failing("create", code))
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError, match="in the way"):
        check_writable(RunDir(tmp_path / "file" / "run"))


def test_too_few_file_handles_are_found_beforehand() -> None:
    assert check_handles(1) > 0
    with pytest.raises(StoreError, match=r"run `ulimit -n \d+`"):
        check_handles(10**8)
