"""What the next start makes of a log: the torn tail goes aside, damage is told, good lines stay."""

from __future__ import annotations

import os
import random
import time
import tracemalloc
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import StoreError
from engine.store import RunDir, inspect, read_lines, recover
from engine.store import scan as scan_module
from engine.store.scan import Settled, is_whole
from schemas.record import Start, check_line, encode_line

Kit = Any


def lines_of(kit: Kit, count: int) -> list[bytes]:
    return [encode_line(kit.an_image_line(index)) for index in range(1, count + 1)]


@pytest.mark.parametrize(
    "tail",
    [
        b'{"v":1,"job":"half',
        bytes(5000),
        b"\x00" * 511 + b"\n" + b"\x00" * 100,
        b"garbage\nmore garbage\n\xff\xfe\n",
        b"\n",
        b'{"v":1}\n',
    ],
    ids=["half a line", "zeros", "zeros with a newline", "garbage lines", "an empty line", "a line without crc"],
)
def test_a_torn_tail_is_kept_aside_and_cut_off(run: RunDir, kit: Kit, tail: bytes) -> None:
    good = b"".join(lines_of(kit, 3))
    run.images_log.write_bytes(good + tail)
    found = recover(run.images_log, run.quarantine)
    assert run.images_log.read_bytes() == good
    assert found.kept_at is not None
    assert found.kept_at.read_bytes() == tail
    assert found.kept_at.name.startswith(f"images.jsonl.tail-at-{len(good)}.20")
    assert (found.lines, found.cut_bytes, found.size_bytes, found.damaged) == (3, len(tail), len(good), ())


def test_a_whole_log_is_not_touched(run: RunDir, kit: Kit) -> None:
    run.images_log.write_bytes(b"".join(lines_of(kit, 3)))
    before = run.images_log.stat()
    found = recover(run.images_log, run.quarantine)
    assert run.images_log.stat().st_mtime_ns == before.st_mtime_ns
    assert not run.quarantine.exists()
    assert (found.lines, found.cut_bytes, found.kept_at, found.mended) == (3, 0, None, False)


def test_no_log_is_an_empty_log(run: RunDir) -> None:
    found = recover(run.images_log, run.quarantine)
    assert (found.lines, found.size_bytes, found.damaged) == (0, 0, ())
    assert not run.images_log.exists()


def test_a_last_line_that_only_lacks_its_newline_gets_it(run: RunDir, kit: Kit) -> None:
    good = b"".join(lines_of(kit, 2))
    run.images_log.write_bytes(good[:-1])
    seen: list[int] = []
    found = recover(run.images_log, run.quarantine, take=lambda lines: seen.extend(line.index for line in lines))
    assert found.mended
    assert seen == [1, 2]
    assert run.images_log.read_bytes() == good
    assert found.size_bytes == len(good)


def test_damage_in_the_middle_is_told_and_left_alone(run: RunDir, kit: Kit) -> None:
    lines = lines_of(kit, 5)
    flipped = bytearray(lines[1])
    flipped[200] ^= 4
    lines[1], lines[3] = bytes(flipped), b"rubbish\n"
    data = b"".join(lines)
    run.images_log.write_bytes(data)
    seen: list[int] = []
    found = recover(run.images_log, run.quarantine, take=lambda lines: seen.extend(line.index for line in lines))
    assert [(bad.line, bad.offset, bad.size_bytes) for bad in found.damaged] == [
        (2, len(lines[0]), len(lines[1])),
        (4, sum(map(len, lines[:3])), 8),
    ]
    assert seen == [1, 3, 5]
    assert run.images_log.read_bytes() == data


def test_damage_and_a_torn_tail_are_told_apart(run: RunDir, kit: Kit) -> None:
    lines = lines_of(kit, 3)
    run.images_log.write_bytes(lines[0] + b"bad\n" + lines[2] + b"bad too\n" + lines[1][:-40])
    found = recover(run.images_log, run.quarantine)
    assert [bad.line for bad in found.damaged] == [2]
    assert run.images_log.read_bytes() == lines[0] + b"bad\n" + lines[2]
    assert found.kept_at is not None
    assert found.kept_at.read_bytes() == b"bad too\n" + lines[1][:-40]


def test_a_whole_line_of_another_sort_counts_as_damage(run: RunDir, kit: Kit) -> None:
    lines = lines_of(kit, 2)
    other = encode_line({"v": 1, "colour": "blue"})  # type: ignore[arg-type]
    run.images_log.write_bytes(lines[0] + other + lines[1])
    assert [bad.line for bad in recover(run.images_log, run.quarantine).damaged] == [2]


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_wherever_a_log_is_torn_the_good_lines_before_stay_and_nothing_is_lost(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    log = tmp_path_factory.mktemp("torn") / "log" / "attempts.jsonl"
    log.parent.mkdir()
    lines = [
        encode_line(
            Start(
                job=f"{n:032x}",
                status="start",
                stage="image",
                image_id=data.draw(st.text(max_size=20).filter(lambda s: s.isprintable())),
                index=n,
                attempt=1,
                generated_at="2026-01-21T00:00:00Z",
                model="m",
            )
        )
        for n in range(data.draw(st.integers(0, 6)))
    ]
    whole = b"".join(lines)
    cut = data.draw(st.integers(0, len(whole)))
    junk = data.draw(st.binary(max_size=200) | st.integers(0, 3000).map(bytes))
    torn = whole[:cut] + junk
    log.write_bytes(torn)
    found = recover(log, log.parent.parent / "quarantine")
    kept = found.kept_at.read_bytes() if found.kept_at else b""
    after = log.read_bytes()
    assert not found.damaged
    assert after.removesuffix(b"\n" if found.mended else b"") + kept == torn
    assert all(check_line(line) for line in after.splitlines())
    before_cut = sum(1 for n in range(len(lines)) if len(b"".join(lines[: n + 1])) <= cut)
    assert found.lines >= before_cut
    again = recover(log, log.parent.parent / "quarantine")
    assert (again.lines, again.cut_bytes, again.mended) == (found.lines, 0, False)


@settings(max_examples=80, deadline=None)
@given(st.binary(max_size=60), st.integers(0, 10_000))
def test_the_quick_check_of_a_line_agrees_with_the_format(noise: bytes, place: int) -> None:
    line = encode_line({"v": 1, "job": "0" * 32, "status": "ok", "text": "é\n«»"})[:-1]  # type: ignore[arg-type]
    at = place % (len(line) + 1)
    for each in (line, line[:at], line[:at] + noise + line[at:], noise, line[at:], b"", b"{}", b'"crc":"00000000"}'):
        each = each.replace(b"\n", b"")
        assert is_whole(each) == check_line(each)


@pytest.mark.parametrize("chunk", [64, 1000, 4096])
def test_lines_are_read_the_same_whatever_the_chunks(
    run: RunDir, kit: Kit, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    lines = lines_of(kit, 40)
    lines[20] = b"x" * 300 + b"\n"
    run.images_log.write_bytes(b"".join(lines) + b"tail")
    monkeypatch.setattr(scan_module, "CHUNK_BYTES", chunk)
    assert list(read_lines(run.images_log)) == [line[:-1] for line in lines]
    found = inspect(run.images_log)
    assert (found.lines, found.torn_bytes) == (39, 4)
    assert [bad.offset for bad in found.damaged] == [sum(map(len, lines[:20]))]


def test_an_endless_line_is_damage_and_is_not_held_in_memory(
    run: RunDir, kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan_module, "CHUNK_BYTES", 500)
    monkeypatch.setattr(scan_module, "LINE_BYTES_MAX", 2000)
    lines = lines_of(kit, 3)
    endless = random.Random(1).randbytes(20_000).replace(b"\n", b"") + b"\n"
    run.images_log.write_bytes(lines[0] + endless + lines[1] + lines[2])
    found = inspect(run.images_log)
    assert found.lines == 3
    assert [(bad.line, bad.offset, bad.size_bytes) for bad in found.damaged] == [(2, len(lines[0]), len(endless))]
    run.images_log.write_bytes(lines[0] + endless[:-1])
    found = recover(run.images_log, run.quarantine)
    assert found.cut_bytes == len(endless) - 1
    assert run.images_log.read_bytes() == lines[0]


@pytest.mark.slow
def test_resuming_a_long_log_is_quick_and_needs_no_memory(tmp_path: Path, kit: Kit) -> None:
    """A million lines of 1.5 KB take some 3 s (benchmarks); here fifty thousand, with room for a busy machine."""
    log = tmp_path / "log" / "images.jsonl"
    log.parent.mkdir()
    line = encode_line(msgspec.structs.replace(kit.an_image_line(1), prompt="p" * 1000))
    with log.open("wb") as file:
        for _ in range(50):
            file.write(line * 1000)
    tracemalloc.start()
    count = 0

    def take(lines: list[Settled]) -> None:
        nonlocal count
        count += len(lines)

    started = time.process_time()
    found = inspect(log, take)
    spent_s = time.process_time() - started
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == found.lines == 50_000
    assert peak < 16 << 20
    assert spent_s < 5


def test_a_disk_that_refuses_to_recover_says_so_and_the_tail_is_still_there(run: RunDir, kit: Kit) -> None:
    data = b"".join(lines_of(kit, 2)) + b"torn"
    run.images_log.write_bytes(data)
    for call in ("mkdir", "create", "write", "sync", "truncate", "sync_dir"):
        with pytest.raises(StoreError, match="cannot cut the torn tail off"):
            recover(run.images_log, run.quarantine, fs=kit.failing(call, 5))
        kept = [path.read_bytes() for path in run.quarantine.iterdir()] if run.quarantine.exists() else []
        assert run.images_log.read_bytes() == data or b"torn" in kept
        os.truncate(run.images_log, 0)
        run.images_log.write_bytes(data)
