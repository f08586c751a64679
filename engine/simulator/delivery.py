"""How an answer gets onto the wire, whole or spoiled on the way.

Faults of delivery write to the transport themselves: the point is to send what no HTTP library
would. Every one of them ends: by the client's disconnect, by a bound in time, or by the server's end.
"""

from __future__ import annotations

import asyncio
import gzip
import socket
import struct
import zlib
from http import HTTPStatus

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

from engine.simulator.refusals import Reply

STALL_MAX_S = 600.0
"""How long a stalled or endless answer holds its connection at most."""
_DRIP_BYTES, _DRIP_S = 48, 0.02
_ENDLESS_CHUNK = b" " * 65536
_TEAR_S = 0.02  # lets what was written reach the client before the reset overtakes it


class Answer(web.StreamResponse):
    """A whole answer: its pieces one behind the other, without joining them."""

    def __init__(self, reply: Reply, *, chunked: bool = False, gzipped: bool = False) -> None:
        super().__init__(status=reply.status)
        self.headers["Content-Type"] = reply.content_type
        for name, value in reply.headers:
            self.headers[name] = value
        self._pieces = reply.body
        if gzipped and reply.body:
            self._pieces = (gzip.compress(b"".join(reply.body), compresslevel=zlib.Z_BEST_SPEED),)
            self.headers["Content-Encoding"] = "gzip"
        self.bytes_sent = sum(map(len, self._pieces))
        if chunked:
            self.enable_chunked_encoding()
        else:
            self.content_length = self.bytes_sent

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        writer = await super().prepare(request)
        for piece in self._pieces:
            await self.write(piece)
        self._pieces = ()
        return writer


class Spoiled(web.StreamResponse):
    """An answer that a fault of delivery spoils. The connection never serves another request."""

    def __init__(self, kind: str, reply: Reply) -> None:
        super().__init__(status=reply.status)
        self.force_close()
        self._kind, self._reply = kind, reply
        self.bytes_sent = 0

    async def deliver(self, request: web.BaseRequest) -> None:
        """Write what there is to be written; to be called before the response is returned."""
        transport = request.transport
        if transport is not None and not transport.is_closing():
            await self._send(transport)

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Nothing: `deliver` wrote it."""
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        """Nothing: `deliver` wrote it."""

    def _head(self, *framing: str) -> bytes:
        status = HTTPStatus(self._reply.status)
        lines = (f"HTTP/1.1 {status.value} {status.phrase}", f"Content-Type: {self._reply.content_type}", *framing)
        return "\r\n".join((*lines, "Connection: close", "", "")).encode()

    async def _send(self, transport: asyncio.Transport) -> None:
        body = b"".join(self._reply.body)
        half = body[: len(body) // 2]
        whole_length = f"Content-Length: {len(body)}"
        match self._kind:
            case "reset_before_headers":
                _reset(transport)
            case "reset_after_headers":
                await self._put(transport, self._head(whole_length))
                await asyncio.sleep(_TEAR_S)
                _reset(transport)
            case "reset_mid_body":
                await self._put(transport, self._head(whole_length) + half)
                await asyncio.sleep(_TEAR_S)
                _reset(transport)
            case "length_long":
                await self._put(transport, self._head(f"Content-Length: {len(body) + 1000}") + body)
                transport.close()
            case "length_short":
                await self._put(transport, self._head(f"Content-Length: {len(half)}") + body)
                transport.close()
            case "truncated_json":
                await self._put(transport, self._head(f"Content-Length: {len(half)}") + half)
                transport.close()
            case "slow_drip":
                await self._drip(transport, self._head(whole_length), body)
            case "stalled_body":
                await self._put(transport, self._head(whole_length) + half)
                await _until_gone(transport)
            case "endless_body":
                await self._flood(transport)
            case "hang":
                await _until_gone(transport)
            case "close_before_headers":
                transport.close()
            case _:
                raise AssertionError(f"{self._kind} is not a fault of delivery")

    async def _put(self, transport: asyncio.Transport, data: bytes) -> None:
        transport.write(data)
        self.bytes_sent += len(data)

    async def _drip(self, transport: asyncio.Transport, head: bytes, body: bytes) -> None:
        await self._put(transport, head)
        for start in range(0, len(body), _DRIP_BYTES):
            if transport.is_closing():
                return
            await self._put(transport, body[start : start + _DRIP_BYTES])
            await asyncio.sleep(_DRIP_S)
        transport.close()

    async def _flood(self, transport: asyncio.Transport) -> None:
        await self._put(transport, self._head("Transfer-Encoding: chunked"))
        await self._put(transport, b'a\r\n{"data": "\r\n')
        chunk = b"%x\r\n%b\r\n" % (len(_ENDLESS_CHUNK), _ENDLESS_CHUNK)
        loop = asyncio.get_running_loop()
        end = loop.time() + STALL_MAX_S
        while not transport.is_closing() and loop.time() < end:
            if transport.get_write_buffer_size() < 4 * len(chunk):
                await self._put(transport, chunk)
                await asyncio.sleep(0)
            else:
                await asyncio.sleep(0.005)
        transport.close()


def _reset(transport: asyncio.Transport) -> None:
    """Close with RST instead of FIN."""
    sock = transport.get_extra_info("socket")
    if sock is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


async def _until_gone(transport: asyncio.Transport) -> None:
    """Hold the connection open until the client leaves, at most for a bounded time."""
    loop = asyncio.get_running_loop()
    end = loop.time() + STALL_MAX_S
    while not transport.is_closing() and loop.time() < end:  # noqa: ASYNC110 - a transport has no event for it
        await asyncio.sleep(0.05)
