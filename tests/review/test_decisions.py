"""The review log: durable, shared, repaired, merged."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from engine.core.reviews import Decision, standing
from engine.errors import ConfigError, StoreError
from engine.review.decisions import ReviewLog, merge
from engine.store.reviews import read_reviews
from schemas.record import check_line, encode_line


def decision(number: int, status: str = "accept", **changes: object) -> Decision:
    base: dict[str, object] = {
        "status": status,
        "image_id": f"sm_{number}",
        "index": number,
        "id": f"decision-{number:06d}",
        "reviewer": "ana",
        "generated_at": "2026-01-21T10:00:00.000Z",
    }
    return Decision(**{**base, **changes})  # pyright: ignore[reportArgumentType]


@pytest.fixture
def log(tmp_path: Path) -> ReviewLog:
    return ReviewLog(tmp_path / "log" / "reviews.jsonl", tmp_path / "quarantine")


def test_a_decision_is_one_checked_line_with_the_pinned_members_first(log: ReviewLog) -> None:
    log.append([decision(1, notes="café \u202e <b>")])
    (line,) = log.path.read_bytes().splitlines(keepends=True)
    assert line.startswith(b'{"v":1,"job":null,"status":"accept","stage":"review",')
    assert line.endswith(b'"}\n')
    assert check_line(line)
    assert read_reviews(log.path).decisions == (decision(1, notes="café \u202e <b>"),)


def test_a_decision_sent_twice_counts_once(log: ReviewLog) -> None:
    assert log.append([decision(1)]) == 1
    assert log.append([decision(1), decision(2), decision(2)]) == 1
    assert len(read_reviews(log.path).decisions) == 2


def test_two_servers_see_each_others_decisions(log: ReviewLog) -> None:
    other = ReviewLog(log.path, log.path.parent.parent / "quarantine")
    log.append([decision(1)])
    other.append([decision(2, reviewer="ben")])
    log.refresh()
    assert log.fold.get("sm_2", "ben") is not None
    assert other.fold.get("sm_1", "ana") is not None
    assert other.append([decision(1)]) == 0


def test_writers_at_once_lose_nothing(log: ReviewLog) -> None:
    servers = [ReviewLog(log.path, log.path.parent.parent / "quarantine") for _ in range(4)]

    def decide(number: int) -> int:
        return servers[number % 4].append([decision(number)])

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(decide, range(1, 121))) == 120
    lines = read_reviews(log.path)
    assert len(lines.decisions) == 120
    assert lines.damaged == ()


def test_a_torn_tail_is_kept_aside_and_cut(log: ReviewLog) -> None:
    log.append([decision(1)])
    whole = log.path.read_bytes()
    log.path.write_bytes(whole + encode_line(decision(2))[:40])
    again = ReviewLog(log.path, log.path.parent.parent / "quarantine")
    assert again.repair() == 40
    assert log.path.read_bytes() == whole
    (kept,) = (log.path.parent.parent / "quarantine").iterdir()
    assert kept.read_bytes() == encode_line(decision(2))[:40]


def test_a_live_server_repairs_what_another_left_torn(log: ReviewLog) -> None:
    log.append([decision(1)])
    with log.path.open("ab") as file:
        file.write(b'{"v":1,"job":null')
    log.append([decision(2)])
    assert [d.image_id for d in read_reviews(log.path).decisions] == ["sm_1", "sm_2"]


def test_damage_before_good_lines_is_reported_and_left_where_it_is(log: ReviewLog) -> None:
    log.append([decision(1), decision(2), decision(3)])
    data = bytearray(log.path.read_bytes())
    second = data.index(b"\n") + 1
    data[second + 60] ^= 1
    log.path.write_bytes(data)
    again = ReviewLog(log.path, log.path.parent.parent / "quarantine")
    again.repair()
    assert again.damaged == [second]
    assert [d.image_id for d in again.history] == ["sm_1", "sm_3"]
    assert log.path.read_bytes() == data


def test_a_full_disk_leaves_no_half_line_and_the_decision_can_be_made_again(
    log: ReviewLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.append([decision(1)])
    before = log.path.read_bytes()
    real = os.write

    def full(fd: int, data: bytes) -> int:
        if len(data) < 50:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(fd, data[: len(data) // 2])

    monkeypatch.setattr("engine.review.decisions.os.write", full)
    with pytest.raises(StoreError, match="could not be saved"):
        log.append([decision(2)])
    monkeypatch.undo()
    assert log.path.read_bytes() == before
    assert log.append([decision(2)]) == 1


def test_a_decision_is_synced_before_it_is_told(log: ReviewLog, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    real = os.fdatasync

    def watched(fd: int) -> None:
        real(fd)
        synced.append(os.fstat(fd).st_size)

    monkeypatch.setattr("engine.review.decisions.os.fdatasync", watched)
    log.append([decision(1)])
    assert synced == [log.path.stat().st_size]


KILLED = """
import os, sys
from pathlib import Path
from engine.core.reviews import Decision
from engine.review.decisions import ReviewLog
log = ReviewLog(Path(sys.argv[1]), Path(sys.argv[2]))
n = 0
while True:
    n += 1
    log.append([Decision(status="accept", image_id=f"sm_{n}", index=n, id=f"decision-{n:06d}", reviewer="ana",
                         generated_at="2026-01-21T10:00:00.000Z")])
    os.write(1, b"%d\\n" % n)
"""


def test_a_killed_server_loses_nothing_that_it_told(log: ReviewLog, tmp_path: Path) -> None:
    command = [sys.executable, "-c", KILLED, str(log.path), str(tmp_path / "quarantine")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        told = 0
        for _ in range(40):
            told = int(server.stdout.readline())
        server.kill()
        rest = server.stdout.read().split()
    told = int(rest[-1]) if rest else told
    log.repair()
    assert told <= len(log.history) <= told + 1
    assert log.damaged == []


def test_a_downloaded_file_is_merged_once(log: ReviewLog, tmp_path: Path) -> None:
    download = tmp_path / "reviews.jsonl"
    lines = [decision(1, drawn="sample", blind=True), decision(2, "reject"), decision(99)]
    download.write_bytes(b"".join(msgspec.json.encode(one) + b"\n" for one in lines))
    done = merge(log, [download], {"sm_1", "sm_2"}.__contains__)
    assert (done.added, done.known, done.unknown_images) == (2, 0, ("sm_99",))
    again = merge(log, [download, download], {"sm_1", "sm_2"}.__contains__)
    assert (again.added, again.known) == (0, 4)
    assert all(check_line(line) for line in log.path.read_bytes().splitlines())


def test_an_older_offline_decision_does_not_push_aside_a_later_one(log: ReviewLog, tmp_path: Path) -> None:
    log.append([decision(1, "reject", generated_at="2026-01-21T12:00:00.000Z")])
    download = tmp_path / "reviews.jsonl"
    download.write_bytes(msgspec.json.encode(decision(1, id="an-offline-one")) + b"\n")
    merge(log, [download], lambda image_id: True)
    assert [d.status for d in standing(log.history)] == ["reject"]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b'{"status":"accept"', "offline.jsonl:2"),
        (b'{"status":"perhaps","image_id":"a","index":1,"id":"12345678","reviewer":"x"}', "perhaps"),
        (msgspec.json.encode({**msgspec.to_builtins(decision(3)), "generated_at": "yesterday"}), "generated_at"),
        (msgspec.json.encode({**msgspec.to_builtins(decision(3)), "notes": "x" * 5000}), "notes"),
    ],
)
def test_a_file_that_is_no_download_is_refused_whole(log: ReviewLog, tmp_path: Path, line: bytes, why: str) -> None:
    download = tmp_path / "offline.jsonl"
    download.write_bytes(msgspec.json.encode(decision(1)) + b"\n" + line + b"\n")
    with pytest.raises(ConfigError, match=why):
        merge(log, [download], lambda image_id: True)
    assert not log.path.exists()
