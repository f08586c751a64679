"""Connections of the fast transport: aiohttp makes them, what goes over them is ours.

aiohttp looks up names, tries both IP families, does TLS and tells what failed. Once a connection stands, its
transport gets a protocol of ours that sends one request at a time and has `http1.Reading` read the answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import inf
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


class NothingSent(ConnectionError):
    """The connection was gone before anything of the request had been handed to it."""


class Changed(Exception):
    """aiohttp's connections are not as this module relies on. Nothing was sent."""


class Lines:
    """The connections of one session; none is ever waited for, so there are as many as calls in flight.

    One timer, set for the first, watches all deadlines: to set one for each call took as long as all else here.
    """

    def __init__(self, connector: Connector) -> None:
        self._connector = connector
        self._idle: dict[Any, dict[_Line, None]] = {}  # the one used last is last
        self._all: set[_Line] = set()
        self._in_use = 0
        self._scratch = bytearray(SCRATCH_BYTES)
        self._tidying: asyncio.TimerHandle | None = None
        self._watching: asyncio.TimerHandle | None = None
        self._watched = inf  # when it looks
        self._closed = False

    async def post(self, like: Captured, body: bytes, deadline: float) -> Reply:
        """One POST like the one that was caught, with another body; whole by the deadline, by the loop's clock.

        Raises what aiohttp raises while it connects and Changed, then NothingSent, OSError, TimeoutError, NotHttp and
        BodyTooLarge.
        """
        line = self._take(like.key)
        if line is None:
            try:
                async with asyncio.timeout_at(deadline):
                    line = await self._open(like)
            except (AttributeError, TypeError) as error:
                raise Changed(str(error)) from None
        if deadline < self._watched:
            self._watch(deadline)
        self._in_use += 1
        try:
            if line.below is not None:
                self._connector.share(line.transport, self._in_use)
            reply = await line.ask(like.head, body, deadline)
        except BaseException:
            self._drop(line)
            raise
        finally:
            self._in_use -= 1
        if line.reusable:
            self._keep(line)
        else:
            self._drop(line)
        return reply

    def close(self) -> None:
        """Close all connections; calls in flight fail. The loop closes their sockets in its next turn."""
        self._closed = True
        for timer in (self._tidying, self._watching):
            if timer is not None:
                timer.cancel()
        self._watched = inf
        for line in tuple(self._all):
            line.fail(ConnectionAbortedError("the provider was closed"))

    async def _open(self, like: Captured) -> _Line:
        connection = await self._connect(like)
        try:
            line = _Line(connection, self._idle.setdefault(like.key, {}), self._scratch, self._drop)
        except BaseException:
            connection.close()
            raise
        self._all.add(line)
        return line

    async def _connect(self, like: Captured) -> Connection:
        try:
            return await self._connector.connect(like.request, [], self._connector.bounded)
        except TimeoutError:
            raise aiohttp.ConnectionTimeoutError(f"{like.url.host}:{like.url.port}: it took too long") from None
        except aiohttp.ClientConnectionError:
            if self._closed:
                raise NothingSent("the provider was closed") from None
            raise

    def _take(self, key: Any) -> _Line | None:
        """The connection used last, since it is the least likely to have been closed."""
        idle = self._idle.get(key)
        while idle:
            line, _ = idle.popitem()
            if line.idle_since > monotonic() - KEEPALIVE_S:
                return line
            self._drop(line)
        return None

    def _keep(self, line: _Line) -> None:
        line.idle_since = monotonic()
        line.idle[line] = None
        if self._tidying is None:
            self._tidying = asyncio.get_running_loop().call_later(KEEPALIVE_S, self._tidy)

    def _tidy(self) -> None:
        """Closes what nobody has used for long, now and as long as anything is idle."""
        oldest = monotonic() - KEEPALIVE_S
        for idle in self._idle.values():
            while idle and (line := next(iter(idle))).idle_since <= oldest:
                self._drop(line)
        again = any(self._idle.values())
        self._tidying = asyncio.get_running_loop().call_later(KEEPALIVE_S, self._tidy) if again else None

    def _drop(self, line: _Line) -> None:
        self._all.discard(line)
        line.idle.pop(line, None)
        line.close()

    def _watch(self, deadline: float) -> None:
        if self._watching is not None:
            self._watching.cancel()
        self._watched = deadline
        self._watching = asyncio.get_running_loop().call_at(deadline, self._look)

    def _look(self) -> None:
        """Ends the calls whose deadline is over. The timer may be early by a tick of the clock, so it counts, too."""
        over = max(self._watched, asyncio.get_running_loop().time())
        self._watching, self._watched = None, inf
        for line in [line for line in self._all if line.deadline <= over]:
            line.fail(TimeoutError())
        if (first := min((line.deadline for line in self._all), default=inf)) < inf:
            self._watch(first)


class _Line(asyncio.BufferedProtocol):
    """One connection. All of them receive into one scratch buffer: between receiving and reading nothing else runs."""

    def __init__(
        self, connection: Connection, idle: dict[_Line, None], scratch: bytearray, drop: Callable[[_Line], None]
    ) -> None:
        transport, protocol = connection.transport, connection.protocol
        if transport is None or protocol is None:
            raise NothingSent("the server closed the connection before it was asked")
        self.transport = transport
        self.below: Any = getattr(getattr(transport, "_ssl_protocol", None), "_transport", None)
        """Over TLS the transport of what is encrypted."""
        self.idle = idle
        """Where it waits between calls, with those that go to the same server."""
        self.idle_since = 0.0
        self.reusable = False
        """Whether it may be asked again, once the answer has come."""
        self.deadline = inf
        """Of the call under way, by the loop's clock."""
        self._connection = connection
        self._scratch = scratch
        self._view = memoryview(scratch)
        self._drop = drop
        self._reading: Reading | None = None
        self._answer: asyncio.Future[Reply] | None = None
        self._lost = transport.is_closing() or protocol.should_close  # the second: it spoke without being asked
        transport.set_protocol(self)

    def ask(self, head: bytes, body: bytes, deadline: float) -> asyncio.Future[Reply]:
        """Sends a request; the answer is to come. Raises NothingSent."""
        if self._lost:
            raise NothingSent("the server closed the connection before it was asked")
        self._reading = Reading(pictures=True)
        self._answer = answer = asyncio.get_running_loop().create_future()
        self.deadline = deadline
        self.reusable = False
        start = b"%b%d\r\n\r\n" % (head, len(body))
        if len(body) <= _TOGETHER_BYTES_MAX:
            self.transport.write(start + body)
        else:
            self.transport.write(start)
            self.transport.write(body)
        return answer

    def fail(self, error: Exception) -> None:
        """Ends the call on this connection, and the connection."""
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)
        self._drop(self)

    def close(self) -> None:
        """At once: closed the polite way, it would first send what is waiting, of a call that nobody wants any more."""
        self.reusable = False
        self.deadline = inf
        self._reading = self._answer = None  # its error knows who waited, and he this connection: a cycle
        self._lost = True
        self.transport.abort()
        self._connection.close()

    def get_buffer(self, sizehint: int) -> memoryview:
        del sizehint
        return self._view

    def buffer_updated(self, nbytes: int) -> None:
        if self._reading is None:
            self.fail(NotHttp("it came without having been asked for"))
        else:
            self._read(self._reading, nbytes)

    def eof_received(self) -> bool:
        self.connection_lost(None)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is None and self._reading is not None:
            self._read(self._reading, None)
        self.fail(exc or ConnectionResetError("the server closed the connection before its answer was whole"))

    def _read(self, reading: Reading, nbytes: int | None) -> None:
        """What has come: so many bytes, or the end."""
        try:
            if nbytes is None:
                reading.closed()
            else:
                reading.feed(self._scratch, nbytes)
        except (NotHttp, BodyTooLarge) as error:
            self.fail(error)
            return
        if reading.reply is not None and self._answer is not None:
            self.reusable = reading.reusable and not self._lost and not self._unsent_bytes()
            self.deadline = inf
            answer, self._answer, self._reading = self._answer, None, None
            if not answer.done():
                answer.set_result(reading.reply)

    def _unsent_bytes(self) -> int:
        """How much is still waiting to be sent; over TLS asyncio itself counts only what is not yet encrypted."""
        size = self.transport.get_write_buffer_size()
        return size if self.below is None else size + int(self.below.get_write_buffer_size())
