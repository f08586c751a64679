"""The wire: one aiohttp session for both transports, and what its failures mean.

It has no ceiling of connections (the scheduler decides how many calls are in flight), reuses them,
bounds every answer in size and time, and tells "nothing was sent" from "sent, and the answer was
lost", because the second may have been paid for. The fast transport sends over its connections by way of `lines`.
"""

from __future__ import annotations

import asyncio
import urllib.request
from asyncio.sslproto import SSLProtocol
from collections.abc import Iterable
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from aiohttp.client_reqrep import ClientRequest
from aiohttp.tracing import Trace

from engine.errors import ProviderError
from engine.providers.classify import lower_headers, tidy
from engine.providers.http1 import BODY_BYTES_MAX, BodyTooLarge, NotHttp, Reply
from engine.providers.lines import KEEPALIVE_S, SCRATCH_BYTES, NothingSent
from schemas.outcome import ErrorKind

CONNECT_S_MAX = 30.0
"""A connection that is not there by then will not come; most of a call's deadline is left for the answer."""
NO_ROUNDING_S = 3600.0
"""aiohttp rounds longer deadlines up to whole seconds; ours mean what they say."""
CONNECTING_MAX = 16
"""Connections being made at a time. A TLS handshake takes the loop about a millisecond and holds 256 KiB, and thousands
may be ready at once. Waiting counts as connecting: 16 make 160 a second where each takes 0.1 s."""
TLS_READ_BYTES_MIN = 16 * 1024
TLS_READ_BYTES_MAX = SCRATCH_BYTES
TLS_READ_BYTES_ALL = 8 * 1024 * 1024
"""What all TLS connections may read at a time, together: few read in large portions, which costs less CPU, thousands
in small ones, because each keeps what OpenSSL grew to for its largest portion, and a third more, until it is closed."""
READ_BUFFER_BYTES = BODY_BYTES_MAX // 2
"""aiohttp stops reading at twice this, so that no body waits for room."""
LOOK_S = 0.25
"""How often a body of unknown length is looked at while it comes."""


class _Answer(aiohttp.ClientResponse):
    """What the SDK reads from: bounded, and never failing for its encoding or its content type."""

    async def read(self) -> bytes:
        if self._body is None:
            self._body = bytes(await receive(self))
        return self._body

    async def text(self, encoding: str | None = None, errors: str = "strict") -> str:
        del encoding, errors
        return (await self.read()).decode("utf-8", "surrogateescape")

    async def json(self, **_: Any) -> Any:
        try:
            return await super().json()
        except (ValueError, LookupError) as error:
            # The SDK takes this one as "not JSON" and keeps the status; a JSONDecodeError would lose it.
            raise aiohttp.ContentTypeError(self.request_info, self.history, message="not JSON") from error


class Connector(aiohttp.TCPConnector):
    """Gives up connecting well before the call's deadline, whoever calls: a late connection was never sent on.

    Makes few connections at a time, and lets those over TLS share what they read into.
    """

    def __init__(self, *, connect_s: float, **options: Any) -> None:
        super().__init__(**options)
        self.bounded = aiohttp.ClientTimeout(connect=connect_s, ceil_threshold=NO_ROUNDING_S)
        self._connecting = asyncio.Semaphore(CONNECTING_MAX)
        self._tls_reads = memoryview(bytearray(TLS_READ_BYTES_MAX))

    async def connect(self, req: ClientRequest, traces: list[Trace], timeout: aiohttp.ClientTimeout) -> Any:
        del timeout
        connection = await super().connect(req, traces, self.bounded)
        self.share(connection.transport, len(self._acquired))
        return connection

    def share(self, transport: asyncio.Transport | None, in_use: int) -> None:
        """Have a connection over TLS read in portions that fit the number of those in use."""
        portion = TLS_READ_BYTES_ALL // (1 + in_use)
        share_reads(transport, self._tls_reads[: max(TLS_READ_BYTES_MIN, portion)])

    async def _create_connection(self, req: ClientRequest, traces: list[Trace], timeout: aiohttp.ClientTimeout) -> Any:
        async with self._connecting:
            return await super()._create_connection(req, traces, timeout)


def share_reads(transport: asyncio.Transport | None, buffer: memoryview) -> bool:
    """Makes a TLS connection of asyncio's read into this buffer; False where its class is not as expected.

    asyncio's own reads 256 KiB at a time into a buffer that each connection keeps: with 3,000 of them, 1.7 GB.
    One buffer serves all connections of a loop, because between being read into and being emptied into
    OpenSSL nothing else runs. The attributes are not public: elsewhere this does nothing, which only costs memory.
    """
    protocol: Any = getattr(transport, "_ssl_protocol", None)
    if not isinstance(protocol, SSLProtocol) or not isinstance(getattr(protocol, "_ssl_buffer_view", None), memoryview):
        return False
    fields: Any = protocol
    fields._ssl_buffer = fields._ssl_buffer_view = buffer
    fields.max_size = len(buffer)
    return True


def open_session(base_url: str, *, timeout_s: float, middlewares: Iterable[Any] = ()) -> aiohttp.ClientSession:
    """A session for calls to `base_url`.

    Proxies are looked up once, here; with `trust_env` aiohttp would look them up in a thread for every call.
    """
    return aiohttp.ClientSession(
        connector=Connector(
            connect_s=min(CONNECT_S_MAX, 0.9 * timeout_s),
            limit=0,
            keepalive_timeout=KEEPALIVE_S,
            ttl_dns_cache=300,
        ),
        cookie_jar=aiohttp.DummyCookieJar(),
        response_class=_Answer,
        read_bufsize=READ_BUFFER_BYTES,
        proxy=_proxy(base_url),
        middlewares=tuple(middlewares),
    )


def _proxy(base_url: str) -> str | None:
    url = urlsplit(base_url)
    if not url.hostname or urllib.request.proxy_bypass(url.hostname):
        return None
    proxies = urllib.request.getproxies()
    proxy = proxies.get(url.scheme) or proxies.get("all")
    return proxy if proxy and proxy.startswith(("http://", "https://")) else None


_NO_TIMEOUT = aiohttp.ClientTimeout()


async def post(session: aiohttp.ClientSession, url: Any, headers: Any, body: bytes, *, ssl: Any) -> Reply:
    """One POST by way of aiohttp, which knows proxies. The deadline is the caller's. Raises what aiohttp raises."""
    async with session.post(
        url,
        headers=headers,
        data=body,
        ssl=ssl,
        timeout=_NO_TIMEOUT,
        allow_redirects=False,
        middlewares=(),
    ) as response:
        return Reply(response.status, lower_headers(response.headers.items()), await receive(response))


async def receive(response: aiohttp.ClientResponse) -> bytes:
    """The whole body, joined once. Whatever goes wrong closes the connection. Raises BodyTooLarge.

    It waits for the end, not for each piece: a picture comes in dozens of pieces, and waking the task
    for each costs more than receiving them. What is waiting is bounded by the session's read buffer.
    """
    content = response.content
    try:
        while not content.is_eof():
            if (error := content.exception()) is not None:
                raise error
            if max(content.total_bytes, response.content_length or 0) > BODY_BYTES_MAX:
                raise BodyTooLarge
            with suppress(asyncio.TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await content.wait_eof()
        if content.total_bytes > BODY_BYTES_MAX:
            raise BodyTooLarge
        body = content.read_nowait()
    except BaseException:
        response.close()
        raise
    response.release()
    return body


_NOTHING_SENT = (
    aiohttp.ClientConnectorError,
    aiohttp.ClientConnectorCertificateError,
    aiohttp.ClientSSLError,
    aiohttp.ConnectionTimeoutError,
    aiohttp.ClientHttpProxyError,
    NothingSent,
)


def transport_failure(error: BaseException, *, timeout_s: float, secrets: Iterable[str] = ()) -> ProviderError | None:
    """The ProviderError for an exception of the wire; None for an exception that is none of its."""
    name = type(error).__name__
    if isinstance(error, BodyTooLarge):
        return ProviderError(
            ErrorKind.INVALID,
            f"the answer is larger than {BODY_BYTES_MAX >> 20} MiB; it was cut off. Ask for a smaller resolution",
            http_status=200,
        )
    if isinstance(error, _NOTHING_SENT):
        words = (
            f"{error.host}:{error.port}: {error.os_error}" if isinstance(error, aiohttp.ClientConnectorError) else error
        )
        return ProviderError(ErrorKind.CONNECT, tidy(f"no connection, nothing was sent: {words} ({name})", secrets))
    if isinstance(error, aiohttp.InvalidURL):
        return ProviderError(ErrorKind.INVALID, tidy(f"not a usable address: {error}", secrets))
    if isinstance(error, asyncio.TimeoutError):
        return ProviderError(ErrorKind.UNKNOWN, f"no whole answer within {timeout_s:g} s; it may have been paid for")
    if isinstance(error, NotHttp):
        return ProviderError(ErrorKind.UNKNOWN, f"the answer is not HTTP: {error}")
    if isinstance(error, aiohttp.ClientResponseError):
        # Bytes came that are not HTTP. Its own str() holds the address and the request's headers.
        return ProviderError(ErrorKind.UNKNOWN, tidy(f"the answer is not HTTP: {error.message}", secrets))
    if isinstance(error, aiohttp.ClientError | OSError):
        return ProviderError(
            ErrorKind.UNKNOWN,
            tidy(f"the connection broke after sending; it may have been paid for: {error} ({name})", secrets),
        )
    return None
