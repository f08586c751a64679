"""Files written past the page cache hold the same bytes, whatever their size and wherever they lie."""

from __future__ import annotations

import errno
import os
import random
from pathlib import Path
from typing import Any

import pytest

from engine.store import DISK, Reserve, RunDir, direct
from engine.store.fs import write_new

PAGE = 4096
SIZES = [pages * PAGE + more for pages in (1, 2, 3) for more in (-1, 0, 1)]


@pytest.fixture(autouse=True)
def from_the_first_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small files too, in pieces of two pages; what was learned of a device stays within a test."""
    monkeypatch.setattr(direct, "DIRECT_MIN_BYTES", 1)
    monkeypatch.setattr(direct, "BUFFER_BYTES", 2 * PAGE)
    monkeypatch.setattr(direct, "_buffers", None)
    monkeypatch.setattr(direct, "_unwilling", set())


def some_bytes(size: int) -> bytes:
    return random.Random(size).randbytes(size)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("where", ["disk", "memory"])
def test_the_bytes_arrive_as_they_are(tmp_path: Path, memory: Path, size: int, where: str) -> None:
    path = (tmp_path if where == "disk" else memory) / "a.png"
    write_new(DISK, path, [some_bytes(size)], sync=True)
    assert path.read_bytes() == some_bytes(size)


def test_a_file_system_that_does_not_offer_it_is_asked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def refuse(fd: int, data: Any, at: int) -> int:
        asked.append(at)
        if at == 0:
            return real(fd, data, at)  # the second piece is where it turns out
        raise OSError(errno.EINVAL, "Invalid argument")

    real = os.pwrite
    monkeypatch.setattr(os, "pwrite", refuse)
    for name in ("a", "b"):
        write_new(DISK, tmp_path / name, [some_bytes(3 * PAGE + 1)], sync=True)
        assert (tmp_path / name).read_bytes() == some_bytes(3 * PAGE + 1)
    assert len(asked) <= 2


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("taken", [PAGE, PAGE + 100])
def test_a_write_that_is_cut_short_is_carried_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, taken: int
) -> None:
    """As a disk that is nearly full takes them; a whole picture mostly goes in one piece."""
    monkeypatch.setattr(direct, "BUFFER_BYTES", 8 * PAGE)
    real = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, at: real(fd, data[: PAGE if at else taken], at))
    write_new(DISK, tmp_path / "a", [some_bytes(size)], sync=True)
    assert (tmp_path / "a").read_bytes() == some_bytes(size)


def test_a_full_disk_takes_the_reserve_and_the_file_is_whole(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    left = [errno.ENOSPC]
    tried = []

    def full_once(fd: int, data: Any) -> bool:
        tried.append(fd)
        done = direct.write_direct(fd, data)
        if left:
            raise OSError(left.pop(), "No space left on device")
        return done

    monkeypatch.setattr(type(DISK), "write_direct", lambda _self, fd, data: full_once(fd, data))
    with Reserve(run, size_bytes=1 << 20) as reserve:
        write_new(reserve, run.root / "a.png", [some_bytes(3 * PAGE - 1)], sync=True)
        assert reserve.spent
    assert len(tried) == 2
    assert (run.root / "a.png").read_bytes() == some_bytes(3 * PAGE - 1)


def test_without_a_sync_the_page_cache_is_left_to_do_its_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "pwrite", None)
    write_new(DISK, tmp_path / "a", [some_bytes(PAGE)], sync=False)
    assert (tmp_path / "a").read_bytes() == some_bytes(PAGE)
