"""Long logs are sifted on two cores: a process beside us takes spans of lines and hands back what they say.

What comes out is what `sift` alone would give, in the same order. Nobody waits for that process: what it has not
answered when its turn comes is sifted here. If it cannot be started, is slow or ends early, that costs time only.
"""

from __future__ import annotations

import fcntl
import os
import sys
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from pathlib import Path
from subprocess import Popen
from typing import cast

import msgspec
from msgspec import Struct

from engine.store.beside import beside
from engine.store.cores import cores
from engine.store.scan import Damage, Settled, Sifted, portions, read_open, sift, sift_portions, to_newline

LOG_BYTES_MIN = 256 << 20
"""A shorter log is read before a process beside us would pay."""
SPAN_BYTES = 512 << 10
AHEAD_MAX = 16
"""Spans that are held until their turn comes; bounds the memory."""
ASKED_MAX = 4
"""Spans the other side has at a time, so that it need not wait until we listen."""
PIPE_BYTES = 1 << 20
"""Room for its answers; for the same reason."""
GREETING = b"sifting\n"
SIZE_BYTES = 8
"""An answer begins with its size."""

Parts = list[Sifted[Settled]]


class Row(Settled, frozen=True, kw_only=True, gc=False, array_like=True):
    """`Settled` without names, for the way between two processes: read at a tenth of the cost of an image line."""


class Answer(Struct, frozen=True):
    """What a span says."""

    start: int
    """Of the span."""
    parts: list[Sifted[Row]]


class Span(Struct, frozen=True, gc=False):
    """Whole lines of a log, as a range of its bytes."""

    start: int
    stop: int


def sift_settled(path: Path) -> Generator[Sifted[Settled]]:
    """`sift(path, Settled, heads=True)`; of a long log on two cores, if we have two. Close it if it is not used up."""
    try:
        shared = path.stat().st_size >= LOG_BYTES_MIN and cores() > 1
    except OSError:
        shared = False
    return _numbered(read_open(path, _shared)) if shared else sift(path, Settled, heads=True)


def sifted(file: int, span: Span) -> Parts:
    """What a span of an open log says. Raises OSError."""
    return list(sift_portions(portions(file, span.start, span.stop), Settled, heads=True))


def _numbered(parts: Iterator[Sifted[Settled]]) -> Generator[Sifted[Settled]]:
    """With lines counted from the beginning of the log instead of the span."""
    lines = 0
    for part in parts:
        bad = part.damage
        lines += len(part.records) + (bad is not None)
        yield (
            part
            if bad is None
            else Sifted(part.records, part.end, part.newest, Damage(lines, bad.offset, bad.size_bytes))
        )


def _spans(file: int) -> Iterator[Span]:
    """An open log, cut between lines. The last span ends where the log does by then."""
    start = 0
    while rest := to_newline(file, start + SPAN_BYTES):
        stop = start + SPAN_BYTES + rest
        yield Span(start, stop)
        start = stop
    yield Span(start, sys.maxsize)


def _shared(file: int) -> Generator[Sifted[Settled]]:
    """The parts of each span in turn. Both sides take the next span that nobody has, as soon as they are free."""
    spans = _spans(file)
    taken: deque[Span] = deque()
    known: dict[int, Parts] = {}
    with beside("engine.store.sifting", str(file), files=[file]) as process:
        other = _Other(process)
        while True:
            # What was not waited for comes too late.
            known.update((start, parts) for start, parts in other.answers() if taken and start >= taken[0].start)
            while other.free and len(taken) < AHEAD_MAX and (span := next(spans, None)) is not None:
                other.ask(span)
                taken.append(span)
            if taken and taken[0].start in known:
                yield from known.pop(taken.popleft().start)
            elif len(taken) < AHEAD_MAX and (span := next(spans, None)) is not None:
                taken.append(span)
                known[span.start] = sifted(file, span)
            elif taken:
                yield from sifted(file, taken.popleft())
            else:
                return


class _Other:
    """The process beside us, as far as it is there."""

    def __init__(self, process: Popen[bytes] | None) -> None:
        self._asked = 0
        self._greeted = False
        self._said = bytearray()
        self._ears = self._mouth = -1
        decode = msgspec.msgpack.Decoder(Answer).decode
        self._decode = cast("Callable[[memoryview], Answer]", decode)
        if process is not None and process.stdin is not None and process.stdout is not None:
            self._mouth, self._ears = process.stdin.fileno(), process.stdout.fileno()
            os.set_blocking(self._ears, False)
            with suppress(OSError, AttributeError):  # as large as it is, then
                fcntl.fcntl(self._ears, fcntl.F_SETPIPE_SZ, PIPE_BYTES)

    @property
    def free(self) -> bool:
        """Whether it would begin with one more span soon."""
        return self._greeted and self._ears >= 0 and self._asked < ASKED_MAX

    def ask(self, span: Span) -> None:
        """Hand it a span. It may never answer."""
        self._asked += 1
        try:
            os.write(self._mouth, b"%d %d\n" % (span.start, span.stop))
        except OSError:
            self._ears = -1

    def answers(self) -> Iterator[tuple[int, Parts]]:
        """What it has answered since, by where the spans start. Nothing more after anything strange."""
        self._listen()
        said, at = self._said, 0
        if not self._greeted and len(said) >= len(GREETING):
            self._greeted, at = True, len(GREETING)
            if said[:at] != GREETING:
                self._ears = -1
        while self._ears >= 0 and len(said) >= (begin := at + SIZE_BYTES):
            end = begin + int.from_bytes(said[at:begin])
            if len(said) < end:
                break
            try:
                answer = self._decode(memoryview(said)[begin:end])
            except msgspec.MsgspecError:
                self._ears = -1
                return
            at = end
            self._asked -= 1
            yield answer.start, cast("Parts", answer.parts)
        del said[:at]

    def _listen(self) -> None:
        if self._ears < 0:
            return
        try:
            heard = os.read(self._ears, PIPE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            heard = b""
        self._said += heard
        if not heard:
            self._ears = -1
