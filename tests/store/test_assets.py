"""Pictures reach their place whole, never over another file, and never outside the run."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path
from typing import Any

import anyio
import pytest

from engine.errors import StoreError
from engine.store import (
    PICTURE_THREADS,
    BadPicture,
    PictureWriter,
    RunDir,
    adopt_orphans,
    inline,
    quarantine,
    threads,
    write_atomic,
    write_picture,
)

Kit = Any


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return request.param


async def test_pictures_saved_at_the_same_time_all_arrive(run: RunDir, kit: Kit) -> None:
    pictures = {index: kit.a_picture(index) for index in range(990, 1030)}
    saved: dict[int, Any] = {}
    writer = PictureWriter(run, offload=threads(PICTURE_THREADS))

    async def save(index: int) -> None:
        saved[index] = await writer.save(index, kit.image_id(index), pictures[index])

    async with anyio.create_task_group() as group:
        for index in pictures:
            group.start_soon(save, index)
    for index, asset in saved.items():
        folder = "0000" if index <= 1000 else "0001"
        assert asset.path == f"images/{folder}/{kit.image_id(index)}.png"
        data = (run.root / asset.path).read_bytes()
        assert data == pictures[index], "written as received"
        assert asset.sha256 == hashlib.sha256(data).hexdigest()
        assert (asset.size_bytes, asset.mime_type, asset.width, asset.height) == (len(data), "image/png", 24, 24)
    assert not list(run.images.rglob(".*"))


async def test_bad_bytes_leave_no_trace(run: RunDir) -> None:
    with pytest.raises(BadPicture):
        await PictureWriter(run, offload=inline).save(1, "x", b"<html>")
    assert list(run.images.iterdir()) == []


def test_the_bytes_decide_the_suffix(run: RunDir, kit: Kit) -> None:
    assert write_picture(run, 1, "a", kit.a_picture(1, 24, "JPEG")).path == "images/0000/a.jpg"
    assert write_picture(run, 1, "a", kit.a_picture(1, 24, "WEBP")).path == "images/0000/a.webp"


def test_another_file_in_its_place_is_kept_aside_and_the_same_bytes_are_kept(run: RunDir, kit: Kit) -> None:
    first, second = kit.a_picture(1), kit.a_picture(2)
    asset = write_picture(run, 1, "a", first)
    path = run.root / asset.path
    before = path.stat().st_ino
    assert write_picture(run, 1, "a", first) == asset
    assert path.stat().st_ino == before
    assert not run.quarantine.exists()
    write_picture(run, 1, "a", second)
    assert path.read_bytes() == second
    (kept,) = run.quarantine.iterdir()
    assert kept.read_bytes() == first
    assert kept.name.startswith("a.replaced.")
    assert kept.suffix == ".png"


@pytest.mark.parametrize("bad", ["", ".x", "..", "a/b", "a\\b", "a\0b", "é", "a b", "x" * 129, "/etc/passwd", "a\n"])
def test_ids_that_could_leave_their_folder_are_refused(run: RunDir, kit: Kit, bad: str) -> None:
    with pytest.raises(StoreError, match="image id"):
        write_picture(run, 1, bad, kit.a_picture())


def test_the_longest_allowed_id_fits(run: RunDir, kit: Kit) -> None:
    asset = write_picture(run, 1, "x" * 128, kit.a_picture())
    assert (run.root / asset.path).is_file()


@pytest.mark.parametrize("index", [0, -1])
def test_an_index_counts_from_one(run: RunDir, kit: Kit, index: int) -> None:
    with pytest.raises(StoreError, match="counts from 1"):
        write_picture(run, index, "a", kit.a_picture())


@pytest.mark.parametrize("where", ["images", "images/0000"])
def test_nothing_is_written_through_a_symlinked_folder(run: RunDir, kit: Kit, tmp_path: Path, where: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    link = run.root / where
    if where == "images":
        link.rmdir()
    link.symlink_to(outside)
    with pytest.raises(StoreError, match=r"symbolic link|is not the one it was"):
        write_picture(run, 1, "a", kit.a_picture())
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize("where", ["images", "images/0000"])
def test_a_folder_that_was_fine_for_one_picture_is_looked_at_again_for_the_next(
    run: RunDir, kit: Kit, tmp_path: Path, where: str
) -> None:
    write_picture(run, 1, "a", kit.a_picture(1))
    outside = tmp_path / "outside"
    (run.root / where).rename(outside)
    (run.root / where).symlink_to(outside)
    with pytest.raises(StoreError, match="was moved or removed while it was in use"):
        write_picture(run, 2, "b", kit.a_picture(2))
    assert not list(outside.rglob("b*"))


def test_a_symlink_in_the_place_of_a_picture_is_moved_and_its_target_untouched(
    run: RunDir, kit: Kit, tmp_path: Path
) -> None:
    target = tmp_path / "precious"
    target.write_bytes(b"precious")
    (run.images / "0000").mkdir()
    (run.images / "0000" / "a.png").symlink_to(target)
    asset = write_picture(run, 1, "a", kit.a_picture())
    assert target.read_bytes() == b"precious"
    assert not (run.root / asset.path).is_symlink()
    assert [path.is_symlink() for path in run.quarantine.iterdir()] == [True]


def test_a_run_whose_directory_was_removed_is_not_made_again(run: RunDir, kit: Kit, tmp_path: Path) -> None:
    write_picture(run, 1, "a", kit.a_picture())
    run.root.rename(tmp_path / "moved")
    with pytest.raises(StoreError, match="was moved or removed while it was in use"):
        write_picture(run, 2, "b", kit.a_picture())
    assert not run.root.exists()


def test_bytes_kept_aside_have_safe_names_and_never_meet(run: RunDir) -> None:
    for name in ("../../etc/passwd", "a.png", "a.png", "\0\u202e", "." * 300):
        path = quarantine(run, name, b"bytes", "bad image: <html>")
        assert path.parent == run.quarantine
        assert path.read_bytes() == b"bytes"
    names = [path.name for path in run.quarantine.iterdir()]
    assert len(set(names)) == 5
    assert all(not name.startswith(".") and name.isascii() and "<" not in name for name in names)


@pytest.mark.parametrize("left", ["final", "temporary"])
def test_a_picture_left_by_a_crash_is_taken_up_if_it_is_whole(run: RunDir, kit: Kit, left: str) -> None:
    data = kit.a_picture(7)
    folder = run.images / "0000"
    folder.mkdir()
    (folder / ("a.png" if left == "final" else ".a.01234567.tmp")).write_bytes(data)
    adoption = adopt_orphans(run, [(5, "a"), (6, "b")])
    assert set(adoption.assets) == {"a"}
    assert adoption.assets["a"].sha256 == hashlib.sha256(data).hexdigest()
    assert (run.root / adoption.assets["a"].path).read_bytes() == data
    assert [path.name for path in folder.iterdir()] == ["a.png"]
    assert adoption.kept_aside == ()


def test_what_is_not_whole_goes_aside_and_what_belongs_to_others_stays(run: RunDir, kit: Kit) -> None:
    data = kit.a_picture(7)
    folder = run.images / "0000"
    folder.mkdir()
    (folder / "a.png").write_bytes(data[:-5])
    (folder / ".a.1.tmp").write_bytes(b"")
    (folder / ".a.2.tmp").write_bytes(data[:100])
    (folder / "other.png").write_bytes(b"not mine")
    (folder / ".other.3.tmp").write_bytes(b"not mine")
    (folder / "b.png").write_bytes(data)
    adoption = adopt_orphans(run, [(5, "a"), (6, "b")], known=["images/0000/b.png"])
    assert adoption.assets == {}
    assert sorted(path.name for path in folder.iterdir()) == [".other.3.tmp", "b.png", "other.png"]
    assert sorted(path.read_bytes() for path in adoption.kept_aside) == [data[:100], data[:-5]]


def test_two_whole_pictures_of_one_call_give_one_and_the_other_goes_aside(run: RunDir, kit: Kit) -> None:
    folder = run.images / "0000"
    folder.mkdir()
    (folder / "a.png").write_bytes(kit.a_picture(1))
    (folder / ".a.1.tmp").write_bytes(kit.a_picture(2))
    adoption = adopt_orphans(run, [(5, "a")])
    assert (run.root / adoption.assets["a"].path).read_bytes() == kit.a_picture(1)
    assert [path.read_bytes() for path in adoption.kept_aside] == [kit.a_picture(2)]


def test_adopting_makes_the_picture_durable_before_anyone_records_it(run: RunDir, kit: Kit) -> None:
    folder = run.images / "0000"
    folder.mkdir()
    (folder / "a.png").write_bytes(kit.a_picture(1))
    disk = kit.Sick(lambda name, n: None)
    adopt_orphans(run, [(5, "a")], fs=disk)
    assert "sync" in disk.seen
    assert disk.seen[-1] == "sync_dir"


@pytest.mark.parametrize("call", ["create", "write", "sync", "rename", "sync_dir"])
def test_a_disk_that_refuses_leaves_no_half_picture(run: RunDir, kit: Kit, call: str) -> None:
    (run.images / "0000").mkdir()
    write_picture(run, 1, "first", kit.a_picture(1))
    with pytest.raises(StoreError) as caught:
        write_picture(run, 2, "a", kit.a_picture(2), fs=kit.failing(call, errno.ENOSPC))
    assert str(run.images / "0000" / "a.png") in str(caught.value)
    assert "free space on this file system, then run the same command again" in str(caught.value)
    names = sorted(path.name for path in (run.images / "0000").iterdir())
    assert names == (["a.png", "first.png"] if call == "sync_dir" else ["first.png"])


def test_a_whole_file_replaces_another_in_one_step_or_not_at_all(tmp_path: Path, kit: Kit) -> None:
    path = tmp_path / "report.json"
    write_atomic(path, b"old")
    for call in ("create", "write", "sync", "rename"):
        with pytest.raises(StoreError, match=r"report\.json: cannot write it"):
            write_atomic(path, b"new", fs=kit.failing(call, errno.EIO))
        assert path.read_bytes() == b"old"
        assert os.listdir(tmp_path) == ["report.json"]  # noqa: PTH208
    write_atomic(path, b"new")
    assert path.read_bytes() == b"new"
