"""Connections of the fast transport: aiohttp makes them, what goes over them is ours.

aiohttp looks up names, tries both IP families, does TLS and tells what failed. Once a connection stands, its
transport gets a protocol of ours that sends one request at a time and has `http1.Reading` read the answer.
"""

from __future__ import annotations

import asyncio
from collections import deque
from time import monotonic
from typing import TYPE_CHECKING, Any

import aiohttp

from engine.providers.http1 import BodyTooLarge, NotHttp, Reading, Reply

if TYPE_CHECKING:
    from aiohttp.client_reqrep import ClientRequest
    from aiohttp.connector import Connection

    from engine.providers.template import Captured
    from engine.providers.wire import Connector

KEEPALIVE_S = 60.0
SCRATCH_BYTES = 256 * 1024
_TOGETHER_BYTES_MAX = 64 * 1024
"""A larger body is sent after its head instead of being copied behind it."""


def head_of(request: ClientRequest) -> bytes:
    """The head of a request without its Content-Length, which comes last. It holds the key."""
    lines = [f"{request.method} {request.url.raw_path_qs} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in request.headers.items() if name.lower() != "content-length"]
    if any("\r" in line or "\n" in line or "\0" in line for line in lines):
        raise ValueError("a header of the request holds a line break")  # and must not show which: it may be the key
    return "\r\n".join([*lines, "Content-Length: "]).encode("utf-8")


class Lines:
    """The connections of one session; none is ever waited for, so there are as many as calls in flight."""

    def __init__(self, connector: Connector) -> None:
        self._connector = connector
        self._idle: dict[Any, deque[_Line]] = {}
        self._all: set[_Line] = set()
        self._in_use = 0
        self._scratch = bytearray(SCRATCH_BYTES)

    async def post(self, like: Captured, body: bytes) -> Reply:
        """One POST like the one that was caught, with another body. The deadline is the caller's.

        Raises what aiohttp raises while it connects, then OSError, NotHttp and BodyTooLarge.
        """
        key = like.request.connection_key
        line = self._take(key)
        if line is None:
            try:
                connection = await self._connector.connect(like.request, [], self._connector.bounded)
            except TimeoutError:
                raise aiohttp.ConnectionTimeoutError("it took too long") from None
            line = _Line(connection, self._scratch)
            self._all.add(line)
        self._in_use += 1
        try:
            self._connector.share(line.transport, self._in_use)
            reply = await line.ask(like.head, body)
        except BaseException:
            self._drop(line)
            raise
        finally:
            self._in_use -= 1
        if line.reusable:
            line.idle_since = monotonic()
            self._idle.setdefault(key, deque()).append(line)
        else:
            self._drop(line)
        return reply

    def close(self) -> None:
        """Close all connections; calls in flight fail."""
        self._idle.clear()
        for line in tuple(self._all):
            self._drop(line)

    def _take(self, key: Any) -> _Line | None:
        """The connection used last, since it is the least likely to have been closed; old ones go."""
        idle = self._idle.get(key)
        if not idle:
            return None
        oldest = monotonic() - KEEPALIVE_S
        while idle and (idle[0].idle_since < oldest or not idle[0].reusable):
            self._drop(idle.popleft())
        while idle:
            line = idle.pop()
            if line.reusable:
                return line
            self._drop(line)
        return None

    def _drop(self, line: _Line) -> None:
        self._all.discard(line)
        line.close()


class _Line(asyncio.BufferedProtocol):
    """One connection. All of them receive into one scratch buffer: between receiving and reading nothing else runs."""

    def __init__(self, connection: Connection, scratch: bytearray) -> None:
        transport = connection.transport
        assert transport is not None, "a new connection has a transport"
        self.transport = transport
        self.reusable = False
        self.idle_since = 0.0
        self._connection = connection
        self._scratch = scratch
        self._view = memoryview(scratch)
        self._reading: Reading | None = None
        self._ends: asyncio.Future[Reply] | None = None
        self._lost = transport.is_closing()
        transport.set_protocol(self)

    async def ask(self, head: bytes, body: bytes) -> Reply:
        if self._lost:
            raise ConnectionResetError("the server closed the connection before it was asked")
        self._reading = reading = Reading()
        self._ends = ends = asyncio.get_running_loop().create_future()
        self.reusable = False
        start = head + b"%d\r\n\r\n" % len(body)
        if len(body) <= _TOGETHER_BYTES_MAX:
            self.transport.write(start + body)
        else:
            self.transport.write(start)
            self.transport.write(body)
        try:
            reply = await ends
        finally:
            self._reading = self._ends = None
        self.reusable = reading.reusable and not self._lost and not self.transport.get_write_buffer_size()
        return reply

    def close(self) -> None:
        self.reusable = False
        self._lost = True
        self._connection.close()

    def get_buffer(self, sizehint: int) -> memoryview:
        del sizehint
        return self._view

    def buffer_updated(self, nbytes: int) -> None:
        reading = self._reading
        if reading is None or reading.reply is not None:
            self._fail(NotHttp("it came without having been asked for"))
            return
        try:
            reading.feed(self._scratch, nbytes)
        except (NotHttp, BodyTooLarge) as error:
            self._fail(error)
            return
        self._look(reading)

    def eof_received(self) -> bool:
        if self._reading is not None:
            self._reading.closed()
            self._look(self._reading)
        self.reusable = False
        self._lost = True
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(exc or ConnectionResetError("the server closed the connection before its answer was whole"))

    def _look(self, reading: Reading) -> None:
        if reading.reply is not None and self._ends is not None and not self._ends.done():
            self._ends.set_result(reading.reply)

    def _fail(self, error: Exception) -> None:
        if self._ends is not None and not self._ends.done():
            self._ends.set_exception(error)
        self.close()
