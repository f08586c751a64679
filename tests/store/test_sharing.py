"""A long log tells on two cores what it tells on one, whatever becomes of the process beside."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from subprocess import Popen
from typing import Any
from unittest.mock import patch

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.store import inspect, scan, sharing
from engine.store.scan import Damage, Settled, Sifted, sift
from engine.store.sharing import GREETING, Span, sift_settled
from engine.store.sifting import answer
from tests.store.test_scan import GOOD, ODD, a_start_line, an_image_line, simply, spoilt

Told = tuple[list[tuple[Any, ...]], list[Damage], int, bytes]


def told(parts: Iterator[Sifted[Settled]]) -> Told:
    """All that parts say, however the lines are divided among them."""
    records: list[tuple[Any, ...]] = []
    damage: list[Damage] = []
    end, newest = 0, b""
    for part in parts:
        records += map(msgspec.structs.astuple, part.records)
        if part.records:
            end, newest = part.end, part.newest
        if part.damage is not None:
            damage.append(part.damage)
    return records, damage, end, newest


class Scripted(sharing._Other):  # pyright: ignore[reportPrivateUsage]
    """The process beside, played: of what it says, so many bytes arrive each time it is listened to."""

    def __init__(self, file: int, portions: list[int], strange_after: int | None) -> None:
        super().__init__(None)
        self._file, self._portions = file, portions
        self._sent, self._strange_after = bytearray(GREETING), strange_after
        self._ears = 0

    @property
    def trusted(self) -> bool:
        return self._ears >= 0

    def ask(self, span: Span) -> None:
        self._asked += 1
        self._sent += answer(self._file, b"%d %d\n" % (span.start, span.stop))
        if self._strange_after is not None:
            self._strange_after -= 1
            if self._strange_after < 0:
                self._sent += (3).to_bytes(8, "big") + b"\xc1no"

    def _listen(self) -> None:
        size = self._portions.pop() if self._portions else 1 << 20
        self._said += self._sent[:size]
        del self._sent[:size]


@settings(max_examples=200, deadline=None)
@given(
    pieces=st.lists(st.one_of(GOOD, GOOD, ODD, spoilt()), max_size=12),
    torn=st.integers(0, 50),
    span_bytes=st.sampled_from([1, 300, 2000, 1 << 17]),
    arriving=st.lists(st.sampled_from([0, 0, 1, 9, 500, 5000]), max_size=30),
    strange_after=st.none() | st.integers(0, 4),
)
def test_two_tell_what_one_tells(
    tmp_path_factory: pytest.TempPathFactory,
    pieces: list[bytes],
    torn: int,
    span_bytes: int,
    arriving: list[int],
    strange_after: int | None,
) -> None:
    log = tmp_path_factory.getbasetemp() / "shared.jsonl"
    data = b"".join(pieces)
    log.write_bytes(data[: len(data) - torn])
    with (
        patch.object(scan, "CHUNK_BYTES", 1000),
        patch.object(scan, "LINE_BYTES_MAX", 20_000),
        patch.object(scan, "NEAR_BYTES", 100),
        patch.object(sharing, "SPAN_BYTES", span_bytes),
        patch.object(sharing, "LOG_BYTES_MIN", 0),
        patch.object(sharing, "cores", lambda: 2),
        patch.object(sharing, "beside", nobody),
        log.open("rb") as file,
        ExitStack() as stack,
    ):
        other = Scripted(file.fileno(), arriving, strange_after)
        stack.enter_context(patch.object(sharing, "_Other", lambda _: other))
        alone, together = told(sift(log, Settled, heads=True)), told(sift_settled(log))
    assert together == alone
    assert other.trusted or strange_after is not None
    good, bad = simply(log.read_bytes())
    assert together[0] == [msgspec.structs.astuple(record) for _, record in good]
    assert together[1] == bad


@contextmanager
def nobody(*_: object, **__: object) -> Generator[None]:
    yield None


LINES = [an_image_line(n, "a text", None) if n % 3 else a_start_line(n, "gemini-x") for n in range(2000)]
LINES[700] = b"not ours\n"
beside = sharing.beside


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A log that is long as things are set here."""
    monkeypatch.setattr(sharing, "LOG_BYTES_MIN", 0)
    monkeypatch.setattr(sharing, "SPAN_BYTES", 5000)
    monkeypatch.setattr(sharing, "cores", lambda: 2)
    path = tmp_path / "log.jsonl"
    path.write_bytes(b"".join(LINES))
    return path


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> list[Popen[bytes]]:
    """The processes that were started; each is waited for until it says its first word."""
    started: list[Popen[bytes]] = []

    @contextmanager
    def awaited(module: str, *arguments: str, **more: Any) -> Generator[Popen[bytes] | None]:
        with beside(module, *arguments, **more) as process:
            assert process is not None
            assert process.stdout is not None
            select.select([process.stdout], [], [])
            started.append(process)
            yield process

    monkeypatch.setattr(sharing, "beside", awaited)
    return started


def test_the_process_beside_takes_its_part_and_goes(
    log: Path, processes: list[Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    here: list[Span] = []
    alone = sharing.sifted

    def noted(file: int, span: Span) -> Any:
        here.append(span)
        assert processes[0].stdout is not None
        select.select([processes[0].stdout], [], [], 10.0)  # the other side is never the slower one
        return alone(file, span)

    monkeypatch.setattr(sharing, "sifted", noted)
    assert told(sift_settled(log)) == told(sift(log, Settled, heads=True))
    assert 0 < len(here) < log.stat().st_size / 5000 * 0.8
    assert processes[0].returncode is not None


def test_a_reader_that_fails_leaves_no_process(log: Path, processes: list[Popen[bytes]]) -> None:
    with pytest.raises(ValueError, match="enough"):
        inspect(log, lambda _: (_ for _ in ()).throw(ValueError("enough")))
    assert processes[0].returncode is not None


def test_a_log_that_grows_is_read_to_its_end(log: Path, processes: list[Popen[bytes]]) -> None:
    more = b"".join(LINES[:1000])
    parts = sift_settled(log)
    first = next(parts)
    with log.open("ab") as file:
        file.write(more)
    records, _, end, _ = told(parts)
    assert len(first.records) + len(records) == 2998
    assert end == log.stat().st_size
    assert processes[0].returncode is not None


@pytest.mark.parametrize("how", ["unlinked", "replaced"])
def test_a_log_that_goes_away_is_read_as_it_was(log: Path, processes: list[Popen[bytes]], how: str) -> None:
    parts = sift_settled(log)
    first = next(parts)
    log.unlink()
    if how == "replaced":
        log.write_bytes(LINES[0])
    assert len(first.records) + len(told(parts)[0]) == 1999
    assert len(processes) == 1


def no_log(path: Path) -> None:
    path.unlink()


def short(path: Path) -> None:
    path.write_bytes(LINES[1] * 3)


@pytest.mark.parametrize(("change", "cores"), [(no_log, 2), (short, 2), (lambda _: None, 1)])
def test_no_process_is_started_where_it_would_not_pay(
    log: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], None], cores: int
) -> None:
    change(log)
    monkeypatch.setattr(sharing, "beside", None)
    monkeypatch.setattr(sharing, "cores", lambda: cores)
    monkeypatch.setattr(sharing, "LOG_BYTES_MIN", 100_000)
    assert told(sift_settled(log)) == told(sift(log, Settled, heads=True))


@pytest.mark.parametrize(
    "does",
    ["exit 1", "echo something else altogether", "printf 'sifting\\n'; exec head -c 30000 /dev/zero", "exec sleep 60"],
)
def test_a_process_that_is_of_no_use_changes_nothing(
    log: Path, processes: list[Popen[bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, does: str
) -> None:
    useless = tmp_path / "python"
    useless.write_text(f"#!/bin/sh\n{does}\n")
    useless.chmod(0o755)
    if "sleep" in does:
        monkeypatch.setattr(sharing, "beside", beside)
    monkeypatch.setattr(sys, "executable", str(useless))
    assert told(sift_settled(log)) == told(sift(log, Settled, heads=True))


@pytest.mark.parametrize("executable", ["", "/nowhere/python"])
def test_a_process_that_cannot_be_started_changes_nothing(
    log: Path, monkeypatch: pytest.MonkeyPatch, executable: str
) -> None:
    monkeypatch.setattr(sys, "executable", executable)
    assert told(sift_settled(log)) == told(sift(log, Settled, heads=True))


PROGRAM = """
import os, select, signal, sys
sys.path[:] = [*map(os.path.relpath, filter(os.path.isdir, sys.path)), ""]
from contextlib import contextmanager
from pathlib import Path
from engine.store import inspect, sharing
beside = sharing.beside
@contextmanager
def awaited(*arguments, **more):
    with beside(*arguments, **more) as process:
        select.select([process.stdout], [], [])
        assert os.read(process.stdout.fileno(), 1) == b"s"  # its own first word, so it found its modules
        print(process.pid, flush=True)
        yield None
sharing.LOG_BYTES_MIN, sharing.cores, sharing.beside = 0, lambda: 2, awaited
"""


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_a_program_that_is_ended_leaves_no_process(log: Path, tmp_path: Path, end: signal.Signals) -> None:
    code = PROGRAM + "inspect(Path('log.jsonl'), lambda _: sys.stdin.read())"
    program = Popen(
        [sys.executable, "-c", code],
        cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    with program:
        assert program.stdout is not None
        assert program.stderr is not None
        handle = os.pidfd_open(int(program.stdout.readline()))
        os.killpg(program.pid, end)
        assert select.select([handle], [], [], 30.0)[0]
        os.close(handle)
        said = program.stderr.read().decode()
    assert said.splitlines()[-1:] == ["KeyboardInterrupt"] * (end == signal.SIGINT)


def test_a_program_in_any_place_hears_nothing_of_the_process(log: Path, tmp_path: Path) -> None:
    code = PROGRAM + "print(inspect(Path('log.jsonl')).lines)"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.split()[1] == "1999"
    assert done.stderr == ""
