"""One timer watches all calls, and each ends at its own deadline: in virtual time, over connections from memory."""

from __future__ import annotations

import asyncio
import gc
import selectors
import weakref
from collections.abc import Callable
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.providers.http1 import NotHttp, Reply
from engine.providers.lines import Lines

DEADLINE_S = 60.0
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\n" + b"x" * 40


class Leap(selectors.SelectSelector):
    """Where the loop would wait, time passes at once."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        self.now += timeout or 0.0
        return super().select(0)


class Leaping(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.leap = Leap()
        super().__init__(self.leap)

    def time(self) -> float:
        return self.leap.now


class Wire(asyncio.Transport):
    """Answers each request after so long, at once or a byte at a time; None never answers."""

    def __init__(self, after_s: float | None, between_s: float) -> None:
        super().__init__()
        self.after_s, self.between_s = after_s, between_s
        self.closed = False

    def set_protocol(self, protocol: Any) -> None:
        self.protocol = protocol

    def is_closing(self) -> bool:
        return self.closed

    def get_write_buffer_size(self) -> int:
        return 0

    def abort(self) -> None:
        self.closed = True

    def write(self, data: Any) -> None:
        if self.after_s is not None:
            pieces = [ANSWER] if not self.between_s else [ANSWER[at : at + 1] for at in range(len(ANSWER))]
            for n, piece in enumerate(pieces):
                loop = asyncio.get_running_loop()
                loop.call_later(self.after_s + n * self.between_s, self._say, piece)

    def _say(self, piece: bytes) -> None:
        if not self.closed:
            self.protocol.get_buffer(-1)[: len(piece)] = piece
            self.protocol.buffer_updated(len(piece))


class Maker:
    """A connector whose connections take so long to make."""

    bounded = aiohttp.ClientTimeout()

    async def connect(self, call: Any, *_: Any) -> Any:
        await asyncio.sleep(call.connects_s)
        transport = Wire(call.after_s, call.between_s)
        call.wires.append(transport)
        protocol = SimpleNamespace(should_close=False)
        return SimpleNamespace(transport=transport, protocol=protocol, close=lambda: None)


CALLS = st.lists(
    st.tuples(
        st.floats(0, 200),
        st.sampled_from([0.0, 0.5, 29.0, 61.0]),
        st.none() | st.floats(0, 100),
        st.sampled_from([0.0, 0.01, 1.0]),
        st.booleans(),
    ),
    max_size=12,
)


@given(CALLS)
def test_each_call_ends_with_its_answer_or_at_its_own_deadline(calls: list[tuple[Any, ...]]) -> None:
    async def ended(lines: Lines, begins_s: float, call: Any) -> tuple[float, Any]:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(begins_s)
        like: Any = SimpleNamespace(key=call.key, head=b"POST / HTTP/1.1\r\n", request=call)
        try:
            reply: Any = await lines.post(like, b"{}", loop.time() + DEADLINE_S)
        except TimeoutError as error:
            reply = error
        return loop.time() - begins_s, reply

    async def check() -> None:
        lines = Lines(Maker())  # type: ignore[arg-type]
        asked = [
            SimpleNamespace(
                connects_s=connects_s, after_s=after_s, between_s=between_s, key="all" if alike else n, wires=[]
            )
            for n, (_, connects_s, after_s, between_s, alike) in enumerate(calls)
        ]
        async with asyncio.timeout(1000):  # of virtual time: a call that never ends must not hold the test
            ends = await asyncio.gather(*(ended(lines, call[0], asks) for call, asks in zip(calls, asked, strict=True)))
        for (_, connects_s, after_s, between_s, alike), asks, (took_s, reply) in zip(calls, asked, ends, strict=True):
            assert took_s <= DEADLINE_S + 1e-6
            if isinstance(reply, TimeoutError):
                assert took_s >= DEADLINE_S - 1e-6
            if not alike:  # it had a connection of its own
                whole_s = connects_s + (1e9 if after_s is None else after_s + between_s * (len(ANSWER) - 1))
                if abs(whole_s - DEADLINE_S) > 1e-3:
                    assert isinstance(reply, Reply) == (whole_s < DEADLINE_S)
                assert not isinstance(reply, TimeoutError) or all(wire.closed for wire in asks.wires)
        lines.close()
        await asyncio.sleep(1000)

    with asyncio.Runner(loop_factory=Leaping) as runner:
        runner.run(check())


def test_one_timer_serves_all_calls_and_none_is_left_when_none_is_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    async def check() -> None:
        loop = asyncio.get_running_loop()
        timers: list[float] = []
        make = loop.call_at
        monkeypatch.setattr(loop, "call_at", lambda when, *more, **m: timers.append(when) or make(when, *more, **m))
        lines = Lines(Maker())  # type: ignore[arg-type]
        like: Any = SimpleNamespace(
            key=1, head=b"", request=SimpleNamespace(connects_s=0, after_s=0, between_s=0, wires=[])
        )
        for _ in range(100):
            await lines.post(like, b"{}", loop.time() + DEADLINE_S)
        assert len([when for when in timers if when >= DEADLINE_S]) == 3, "connecting, the deadlines, what is idle"
        await asyncio.sleep(10 * DEADLINE_S)
        assert lines._watching is None
        lines.close()

    with asyncio.Runner(loop_factory=Leaping) as runner:
        runner.run(check())


def test_a_call_that_begins_after_the_end_has_its_deadline_too() -> None:
    async def check() -> None:
        lines = Lines(Maker())  # type: ignore[arg-type]
        like: Any = SimpleNamespace(
            key=1, head=b"", request=SimpleNamespace(connects_s=1, after_s=None, between_s=0, wires=[])
        )
        first, second = (asyncio.create_task(lines.post(like, b"", end_s)) for end_s in (DEADLINE_S, DEADLINE_S + 1))
        await asyncio.sleep(0.5)
        last = asyncio.create_task(lines.post(like, b"", DEADLINE_S + 2))
        await asyncio.sleep(0.6)  # two are under way, and one connects
        lines.close()
        ends = await asyncio.wait_for(asyncio.gather(first, second, last, return_exceptions=True), 10 * DEADLINE_S)
        assert [type(end) for end in ends] == [ConnectionAbortedError, ConnectionAbortedError, TimeoutError]

    with asyncio.Runner(loop_factory=Leaping) as runner:
        runner.run(check())


class Sent(bytes):
    """What a request carries: many megabytes, with pictures."""


def test_what_a_call_carried_is_let_go_with_the_call_however_it_ends() -> None:
    async def check(ends: Callable[[Wire, Any], object]) -> None:
        loop = asyncio.get_running_loop()
        lines = Lines(Maker())  # type: ignore[arg-type]
        like: Any = SimpleNamespace(
            key=1, head=b"", request=SimpleNamespace(connects_s=0, after_s=None, between_s=0, wires=[])
        )
        call = asyncio.create_task(lines.post(like, Sent(b"{}"), loop.time() + DEADLINE_S))
        await asyncio.sleep(1)
        loop.call_soon(ends, like.request.wires[0], weakref.ref(call))
        with suppress(OSError, NotHttp, asyncio.CancelledError):
            await call
        del call
        await asyncio.sleep(1)  # asyncio holds an error for as long as the step lasts that it began
        assert not [thing for thing in gc.get_objects() if type(thing) is Sent]
        lines.close()

    for ends in (
        lambda _, __: None,  # its deadline comes
        lambda wire, _: wire.protocol.connection_lost(ConnectionResetError()),
        lambda wire, _: wire.protocol.eof_received(),
        lambda wire, _: wire._say(b"what is no HTTP"),
        lambda _, call: call().cancel(),
    ):
        gc.collect()
        gc.disable()  # it would find them in the end
        try:
            with asyncio.Runner(loop_factory=Leaping) as runner:
                runner.run(check(ends))
        finally:
            gc.enable()
