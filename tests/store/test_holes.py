"""Holes that a power loss leaves in lines on their way are set aside by the next start; other damage is not.

A sector of 512 bytes reaches the medium or it does not. What was never synced may be there in any
combination of its sectors, each as of some moment, with zeros where nothing had come; all are laid out.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from engine.store import RunDir, create_run, open_writer, verify
from engine.store.repair import take_up
from engine.store.scan import Settled, scan_settled
from schemas.record import seal

Kit = Any
SECTOR = 512


@pytest.fixture
def run(memory: Path, kit: Kit) -> RunDir:
    run = RunDir(memory / "run")
    create_run(run, kit.MANIFEST, durability="none")
    return run


async def yielding(work: Callable[[], Any], /) -> Any:
    await anyio.lowlevel.checkpoint()
    return work()


def write(run: RunDir, kit: Kit, *sizes: int, durability: Any = "strict", first: int = 1) -> list[int]:
    """One session that appends starts, so many at a time; gives the size of the log before and after each write."""
    log_file = run.attempts_log
    ends = [log_file.stat().st_size if log_file.exists() else 0]
    count = itertools.count(first)

    def noted(name: str, _nth: int) -> None:
        if name == "sync" and durability == "strict":
            ends.append(log_file.stat().st_size)

    async def main() -> None:
        log = open_writer(
            log_file, durability=durability, offload=yielding, fs=kit.Sick(noted), later=lambda s, f: lambda: None
        )
        for size in sizes:
            async with anyio.create_task_group() as group:
                for _ in range(size):
                    group.start_soon(log.append, kit.a_start(next(count)))
            ends.append(log.end)
        await log.aclose()

    anyio.run(main)
    return sorted(set(ends))


def states(whole: bytes, ends: list[int]) -> Iterator[bytes]:
    """What may be read after a power loss: `ends[0]` was synced, what was written until each later end was not."""
    sectors = range(ends[0] // SECTOR, -(-ends[-1] // SECTOR))
    for moments in itertools.product(ends, repeat=len(sectors)):
        yield as_of(whole, dict(zip(sectors, moments, strict=True)))


def as_of(whole: bytes, moments: dict[int, int]) -> bytes:
    """The log with each of these sectors as it was when the log had that size."""
    data = bytearray(whole)
    for sector, size in moments.items():
        start, end = max(size, sector * SECTOR), min(len(whole), (sector + 1) * SECTOR)
        if start < end:
            data[start:end] = bytes(end - start)
    return bytes(data)


def untouched(whole: bytes, state: bytes) -> bytes:
    """The lines that are in a state as they were written, but for one that begins where a hole ends.

    The newline before it is gone, so it is kept aside with the hole; nobody was told of it either.
    """
    kept, at = [], 0
    for line in whole.splitlines(keepends=True):
        if state[at : at + len(line)] == line and state[max(0, at - 1) : at] in (b"", b"\n"):
            kept.append(line)
        at += len(line)
    return b"".join(kept)


def start_on(run: RunDir, whole: bytes, state: bytes, synced: int) -> int:
    """Let the next session start on a log in this state, and check its promises; gives the number of holes."""
    for path in run.quarantine.glob("*"):
        path.unlink()
    run.attempts_log.write_bytes(state)
    seen: list[Settled] = []
    found, mended = take_up(run, run.attempts_log, take=seen.extend)
    assert found.damaged == (), "the run does not start"
    now = run.attempts_log.read_bytes()
    assert now[:synced] == whole[:synced], "an acknowledged line is gone"
    assert now == untouched(whole, state), "a good line is gone, or a bad one stayed"
    assert [line.index for line in seen] == [line.index for line in scan_settled(run.attempts_log)]
    kept = sum(path.stat().st_size for path in run.quarantine.glob("*"))
    assert kept == len(state) - len(now), "bytes left the log and were not kept aside"
    assert (mended is not None) == bool(found.holes)
    again, nothing = take_up(run, run.attempts_log)
    assert (again.cut_bytes, again.holes, again.damaged, nothing) == (0, (), (), None)
    return len(found.holes)


@pytest.mark.parametrize("before", [0, 1, 2, 5])
def test_any_sectors_of_a_batch_may_be_missing_and_the_next_run_starts(run: RunDir, kit: Kit, before: int) -> None:
    ends = write(run, kit, *([1] * before), 10)
    whole, synced = run.attempts_log.read_bytes(), ends[-2]
    tried = [start_on(run, whole, state, synced) for state in states(whole, ends[-2:])]
    assert len(tried) >= 64
    assert max(tried) >= 2, "there must have been holes"
    print(f"{len(tried)} states, {sum(map(bool, tried))} with holes")


def test_in_batch_durability_several_batches_may_be_on_their_way(run: RunDir, kit: Kit) -> None:
    """A sector may be there as it was after any of them: its old end is followed by zeros."""
    ends = write(run, kit, 2, 2, 3, durability="batch")
    whole = run.attempts_log.read_bytes()
    tried = [start_on(run, whole, state, 0) for state in states(whole, ends)]
    assert len(tried) >= 64
    assert sum(map(bool, tried)) > 20


@pytest.mark.parametrize("seed", range(4))
def test_large_batches_lose_pages_at_random(run: RunDir, kit: Kit, seed: int) -> None:
    rng = random.Random(seed)
    ends = write(run, kit, *(rng.randint(1, 120) for _ in range(4)))
    whole, synced = run.attempts_log.read_bytes(), ends[-2]
    sectors = range(synced // SECTOR, -(-len(whole) // SECTOR))
    page = rng.choice([1, 8])
    holes = 0
    for _ in range(50):
        lost = {sector for sector in sectors if random.Random(f"{rng.random()}{sector // page}").random() < 0.4}
        holes += start_on(run, whole, as_of(whole, dict.fromkeys(lost, synced)), synced)
    assert holes > 10


def test_what_a_killed_session_wrote_counts_as_written_once_the_next_one_has_opened_the_log(
    run: RunDir, kit: Kit
) -> None:
    write(run, kit, 6, durability="none")  # never synced: the process was killed
    ends = write(run, kit, 8, first=7)
    whole = run.attempts_log.read_bytes()
    for state in states(whole, ends[-2:]):
        start_on(run, whole, state, ends[-2])
    run.attempts_log.write_bytes(as_of(whole, {1: 0}))
    assert take_up(run, run.attempts_log)[0].damaged, "bytes that had reached the disk were given up"


def acknowledged_damage(whole: bytes, ends: list[int]) -> Iterable[tuple[str, bytes]]:
    """Each sector of the older batches zeroed, and single bits and other bytes anywhere but in the last line."""
    for sector in range(ends[-2] // SECTOR):
        yield f"sector {sector} is zero", as_of(whole, {sector: 0})
    last_line = whole[:-1].rfind(b"\n")
    for at in range(5, last_line, 97):
        yield f"a bit at {at}", whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :]
        yield f"zeros at {at}", whole[:at] + bytes(3) + whole[at + 3 :]
    for sector in range(1, last_line // SECTOR):
        at = sector * SECTOR
        yield f"old bytes in sector {sector}", whole[:at] + bytes([97]) * SECTOR + whole[at + SECTOR :]


def given_up(run: RunDir, whole: bytes, ends: list[int]) -> list[str]:
    """Damage to acknowledged lines that the next start takes for a hole, or touches at all."""
    wrong: list[str] = []
    count = 0
    for what, state in acknowledged_damage(whole, ends):
        count += 1
        run.attempts_log.write_bytes(state)
        found, mended = take_up(run, run.attempts_log)
        if not found.damaged or mended or run.attempts_log.read_bytes() != state:
            wrong.append(what)
    assert count > 60
    return wrong


def test_damage_to_what_was_acknowledged_is_never_taken_for_a_hole(run: RunDir, kit: Kit) -> None:
    ends = write(run, kit, 1, 4, 1, 3, 6, 2)
    assert given_up(run, run.attempts_log.read_bytes(), ends) == []


def test_a_writer_that_forgets_to_say_what_is_on_the_disk_is_caught(
    run: RunDir, kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.store.log.seal", lambda body, synced: seal(body, 0))
    ends = write(run, kit, 1, 4, 1, 3, 6, 2)
    assert any("is zero" in what for what in given_up(run, run.attempts_log.read_bytes(), ends))


def test_a_writer_that_promises_too_much_is_caught(run: RunDir, kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.store.log.seal", lambda body, synced: seal(body, synced + 4000))
    ends = write(run, kit, 2, 10)
    whole = run.attempts_log.read_bytes()
    with pytest.raises(AssertionError, match="does not start"):
        for state in states(whole, ends[-2:]):
            start_on(run, whole, state, ends[-2])


def test_lines_that_do_not_say_what_was_on_the_disk_prove_nothing(run: RunDir, kit: Kit) -> None:
    """Logs of earlier versions: as careful as before."""
    from schemas.record import encode_line

    whole = b"".join(encode_line(kit.a_start(n)) for n in range(1, 9))
    run.attempts_log.write_bytes(as_of(whole, {2: 0}))
    assert take_up(run, run.attempts_log)[0].damaged


def test_verify_tells_a_hole_and_repair_sets_it_aside(run: RunDir, kit: Kit) -> None:
    ends = write(run, kit, 2, 10)
    whole = run.attempts_log.read_bytes()
    run.attempts_log.write_bytes(as_of(whole, {ends[-2] // SECTOR + 1: ends[-2]}))
    report = verify(run)
    assert [finding.kind for finding in report.findings] == ["hole"]
    assert not report.sound
    assert "power loss" in str(report.findings[0])
    assert verify(run, repair=True).sound
    assert verify(run).findings == ()
