"""`verify` finds every kind of damage, and `--repair` mends it without losing a good byte."""

from __future__ import annotations

import fcntl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.errors import RunLocked, StoreError
from engine.store import LOST, RunDir, RunLock, VerifyReport, read_records, scan_settled, verify, write_picture
from schemas.outcome import Usage
from schemas.record import ImageRecord, MetadataRecord, check_line, encode_line

Kit = Any


def a_metadata_line(index: int, kit: Kit) -> MetadataRecord:
    return MetadataRecord(
        job=f"{index + 500:032x}",
        status="ok",
        stage="metadata",
        image_id=kit.image_id(index),
        index=index,
        attempt=1,
        final=True,
        generated_at="2026-01-21T00:00:00Z",
        latency_s=1.0,
        model="m",
        usage=Usage(),
        cost_usd=0.001,
        tasks=("caption",),
        caption="A crowd.",
    )


@pytest.fixture
def full(run: RunDir, kit: Kit) -> RunDir:
    """A finished run of four images, as a run would have left it."""
    with run.images_log.open("wb") as images, run.attempts_log.open("wb") as attempts:
        for index in range(1, 5):
            attempts.write(encode_line(kit.a_start(index)))
            asset = write_picture(run, index, kit.image_id(index), kit.a_picture(index))
            images.write(encode_line(kit.an_image_line(index, asset)))
    run.metadata_log.write_bytes(b"".join(encode_line(a_metadata_line(index, kit)) for index in range(1, 5)))
    return run


def picture(run: RunDir, index: int) -> Path:
    return run.images / "0000" / f"sm_20260121_{index:04d}.png"


def kinds(report: VerifyReport) -> list[str]:
    return [finding.kind for finding in report.findings]


def snapshot(run: RunDir) -> dict[str, bytes]:
    return {str(path.relative_to(run.root)): path.read_bytes() for path in run.root.rglob("*") if path.is_file()}


def test_a_sound_run_is_sound_and_not_a_byte_changes(full: RunDir) -> None:
    before = snapshot(full)
    report = verify(full)
    assert report.sound
    assert report.findings == ()
    assert report.pictures == 4
    assert report.lines == {"attempts": 4, "images": 4, "metadata": 4, "reviews": 0}
    assert snapshot(full) == before
    assert verify(full, repair=True).findings == ()
    assert {name: data for name, data in snapshot(full).items() if name != "run.lock"} == before


def _edit(path: Path, change: Callable[[bytes], bytes]) -> None:
    path.write_bytes(change(path.read_bytes()))


def _flip(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def _swap_path(to: str) -> Callable[[RunDir, Kit], None]:
    def plant(run: RunDir, kit: Kit) -> None:
        records = list(read_records(run.images_log, ImageRecord))
        fields = [kit.to_dict(record) for record in records]
        fields[1]["asset"]["path"] = to
        run.images_log.write_bytes(b"".join(map(encode_line, fields)))

    return plant


def _symlink(run: RunDir, kit: Kit) -> None:
    outside = run.root.parent / "outside.png"
    picture(run, 2).rename(outside)
    picture(run, 2).symlink_to(outside)


def _no_asset(run: RunDir, kit: Kit) -> None:
    fields = [kit.to_dict(record) for record in read_records(run.images_log, ImageRecord)]
    fields[1]["asset"] = None
    run.images_log.write_bytes(b"".join(map(encode_line, fields)))


PLANTED: dict[str, tuple[str, Callable[[RunDir, Kit], object]]] = {
    "a picture is gone": ("missing", lambda run, kit: picture(run, 2).unlink()),
    "a bit of a picture flipped": ("corrupt", lambda run, kit: _edit(picture(run, 2), lambda d: _flip(d, 300))),
    "a picture was cut": ("corrupt", lambda run, kit: _edit(picture(run, 2), lambda d: d[:-20])),
    "a picture is empty": ("corrupt", lambda run, kit: picture(run, 2).write_bytes(b"")),
    "a picture is another one": ("corrupt", lambda run, kit: picture(run, 2).write_bytes(kit.a_picture(99))),
    "a line points up and out": ("outside", _swap_path("images/../../secret.png")),
    "a line points to the root": ("outside", _swap_path("/etc/passwd")),
    "a line points at a log": ("outside", _swap_path("log/images.jsonl")),
    "a line points at a folder": ("outside", _swap_path("images/0000")),
    "a picture is a symlink out": ("outside", _symlink),
    "an ok line has no picture": ("no_asset", _no_asset),
    "the image log is torn": ("torn_tail", lambda run, kit: _edit(run.images_log, lambda d: d + b'{"v":1,"jo')),
    "the image log ends in zeros": ("torn_tail", lambda run, kit: _edit(run.images_log, lambda d: d + bytes(999))),
    "the attempts log is torn": ("torn_tail", lambda run, kit: _edit(run.attempts_log, lambda d: d + b"x")),
    "the metadata log is torn": ("torn_tail", lambda run, kit: _edit(run.metadata_log, lambda d: d[:-9])),
    "the review log is torn": ("torn_tail", lambda run, kit: run.reviews_log.write_bytes(b'{"v":1')),
    "a newline is missing": ("torn_tail", lambda run, kit: _edit(run.images_log, lambda d: d[:-1])),
    "a bit of a line flipped": ("damaged_line", lambda run, kit: _edit(run.images_log, lambda d: _flip(d, 1000))),
    "a line of starts flipped": ("damaged_line", lambda run, kit: _edit(run.attempts_log, lambda d: _flip(d, 20))),
    "a metadata line flipped": ("damaged_line", lambda run, kit: _edit(run.metadata_log, lambda d: _flip(d, 20))),
    "a stranger in the folder": ("orphan", lambda run, kit: (run.images / "0000" / "x.png").write_bytes(b"hello")),
    "a file beside the folders": ("orphan", lambda run, kit: (run.images / "notes.txt").write_bytes(b"hello")),
    "a symlink in the folder": ("orphan", lambda run, kit: (run.images / "0000" / "l").symlink_to("/etc")),
    "a temporary picture": ("temporary", lambda run, kit: (run.images / "0000" / ".x.1.tmp").write_bytes(b"part")),
    "a job settled twice": (
        "settled_twice",
        lambda run, kit: _edit(run.metadata_log, lambda d: d + encode_line(a_metadata_line(2, kit))),
    ),
}


@pytest.mark.parametrize("what", PLANTED)
def test_planted_damage_is_found_told_and_mended_without_losing_a_good_byte(full: RunDir, kit: Kit, what: str) -> None:
    kind, plant = PLANTED[what]
    plant(full, kit)
    before = snapshot(full)

    looked = verify(full)
    assert not looked.sound
    assert kind in kinds(looked)
    assert len(looked.findings) <= 2, "one cause, hardly more than one finding"
    assert snapshot(full) == before, "looking changes nothing"

    mended = verify(full, repair=True)
    assert mended.sound, mended.findings
    assert kind in kinds(mended)
    assert mended.repaired

    again = verify(full)
    assert again.sound, again.findings
    assert again.repaired == ()
    for log in full.logs:
        if log.exists():
            assert all(check_line(line) for line in log.read_bytes().splitlines())
    everything = b"\n".join(snapshot(full).values())
    for name, data in before.items():
        for part in data.splitlines() if name.endswith(".jsonl") else [data]:
            assert part in everything, f"{name}: bytes are gone"


@pytest.mark.parametrize("what", ["a picture is gone", "a bit of a picture flipped", "a line points up and out"])
def test_a_lost_picture_makes_its_job_due_again_and_costs_nothing_twice(full: RunDir, kit: Kit, what: str) -> None:
    PLANTED[what][1](full, kit)
    before = full.images_log.read_bytes()
    verify(full, repair=True)
    assert full.images_log.read_bytes().startswith(before), "the log stays append-only"
    newest = {line.index: line for line in scan_settled(full.images_log)}
    assert {index: line.final for index, line in newest.items()} == {1: True, 2: False, 3: True, 4: True}
    assert (newest[2].status, newest[2].error_kind, newest[2].cost_usd) == ("retry", LOST, 0.0)
    assert sum(line.cost_usd or 0 for line in scan_settled(full.images_log)) == pytest.approx(4 * 0.039)
    *_, lost = read_records(full.images_log, ImageRecord)
    assert lost.asset is None
    assert lost.usage.total_tokens == 0
    assert lost.error is not None
    assert "the recorded picture is gone" in lost.error.message
    # The run asks again, and all is well.
    asset = write_picture(full, 2, kit.image_id(2), kit.a_picture(77))
    with full.images_log.open("ab") as log:
        log.write(encode_line(kit.an_image_line(2, asset, attempt=2)))
    assert verify(full).findings == ()


def test_of_two_lines_for_one_job_the_newer_stays_and_the_older_keeps_its_cost(full: RunDir, kit: Kit) -> None:
    asset = write_picture(full, 2, kit.image_id(2), kit.a_picture(55))
    with full.images_log.open("ab") as log:
        log.write(encode_line(kit.an_image_line(2, asset, attempt=2)))
    assert "settled_twice" in kinds(verify(full))
    verify(full, repair=True)
    lines = [line for line in scan_settled(full.images_log) if line.index == 2]
    assert [(line.status, line.final, line.attempt, line.cost_usd) for line in lines] == [
        ("retry", False, 1, 0.039),
        ("ok", True, 2, 0.039),
    ]
    assert verify(full).findings == ()


def test_several_kinds_of_damage_in_one_log_are_mended_together(full: RunDir, kit: Kit) -> None:
    lines = full.images_log.read_bytes().splitlines(keepends=True)
    twice = encode_line(kit.an_image_line(9, None, status="failed"))
    full.images_log.write_bytes(
        b"".join([twice, b"rubbish\n", lines[0], b"\n", twice, _flip(lines[1], 50), *lines[2:], b"torn"])
    )
    assert sorted(set(kinds(verify(full)))) == ["damaged_line", "interrupted", "settled_twice", "torn_tail"]
    assert verify(full, repair=True).sound
    assert [line.index for line in scan_settled(full.images_log)] == [9, 1, 9, 3, 4]
    assert verify(full).sound


def test_what_an_interrupted_run_left_for_the_next_one_is_no_damage(full: RunDir, kit: Kit) -> None:
    with full.attempts_log.open("ab") as log:
        log.write(encode_line(kit.a_start(5)) + encode_line(kit.a_start(6)))
    picture(full, 5).write_bytes(kit.a_picture(5))
    (full.images / "0000" / f".{kit.image_id(6)}.0a.tmp").write_bytes(b"half")
    for repair in (False, True):
        report = verify(full, repair=repair)
        assert report.sound
        assert kinds(report) == ["interrupted", "interrupted"]
        assert picture(full, 5).exists()


def test_a_picture_whose_job_is_due_again_is_no_damage(full: RunDir, kit: Kit) -> None:
    """As a crash leaves it between the line that reopens a job and the moving of its old picture."""
    with full.images_log.open("ab") as log:
        log.write(encode_line(kit.an_image_line(2, None, status="retry")))
    report = verify(full)
    assert report.sound
    assert kinds(report) == ["interrupted"]


def test_a_manifest_that_did_not_take_its_place_is_no_damage_and_is_tidied_up(full: RunDir) -> None:
    left = full.root / ".run.json.0123.tmp"
    left.write_bytes(b"part")
    report = verify(full)
    assert report.sound
    assert kinds(report) == ["temporary"]
    verify(full, repair=True)
    assert not left.exists()
    assert [path.read_bytes() for path in full.quarantine.iterdir()] == [b"part"]


def test_a_live_run_may_be_looked_at_but_not_repaired(full: RunDir, kit: Kit) -> None:
    with RunLock(full):
        _edit(full.images_log, lambda data: data + b'{"v":1')
        (full.images / "0000" / "unrecorded-yet.png").write_bytes(b"")
        report = verify(full)
        assert report.live
        assert report.sound
        picture(full, 1).unlink()
        assert not verify(full).sound
        with pytest.raises(RunLocked):
            verify(full, repair=True)


def test_a_damaged_manifest_is_found_and_is_nothing_that_repair_can_invent(full: RunDir) -> None:
    full.run_json.write_bytes(b"{")
    for repair in (False, True):
        report = verify(full, repair=repair)
        assert not report.sound
        assert kinds(report) == ["manifest"]


def test_a_folder_that_is_no_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="holds no run"):
        verify(RunDir(tmp_path))


def test_repair_waits_for_a_reviewer_who_is_writing(full: RunDir) -> None:
    """The review page locks its log, not the run."""
    full.reviews_log.write_bytes(b"torn")
    with full.reviews_log.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        fcntl.flock(file, fcntl.LOCK_UN)
    assert verify(full, repair=True).sound
    assert full.reviews_log.read_bytes() == b""


def test_a_report_says_each_thing_in_a_sentence(full: RunDir) -> None:
    picture(full, 2).unlink()
    (said,) = verify(full, repair=True).repaired
    assert said == (
        "images/0000/sm_20260121_0002.png: sm_20260121_0002: recorded, but not there; the next run asks for it again"
    )
