"""Thousands of connections over TLS: what they read into is shared, and few are made at a time."""

from __future__ import annotations

import asyncio
import hashlib
import ssl
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from engine.providers import wire
from engine.providers.gemini import open_gemini
from schemas.job import Request

PICTURE = Request(model="gemini-nano-banana-2.1", text="A vigil at dusk", aspect_ratio="1:1", resolution="1K")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_calls_over_tls_get_whole_answers_while_their_connections_share_one_read_buffer(
    far_side: Any, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    together = asyncio.Barrier(20)

    async def drawn_to_order(_: Any, seen: Any, writer: asyncio.StreamWriter) -> None:
        await together.wait()  # All answers come in at once, in portions that mix on the loop.
        text = seen.json["contents"][0]["parts"][0]["text"]
        writer.write(far_side.http(far_side.answer(far_side.picture_part(drawn(text)))))

    def drawn(text: str) -> bytes:
        return b"\x89PNG" + hashlib.shake_256(text.encode()).digest(300_000)

    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(*certificate)
    async with (
        far_side.serve(drawn_to_order, ssl=serving) as server,
        open_gemini(api_key="k", base_url=server.url.replace("127.0.0.1", "localhost"), timeout_s=20) as provider,
    ):
        for _ in range(2):  # The second round reuses what the first has opened.
            texts = [f"picture {n}" for n in range(20)]
            answers = await asyncio.gather(
                *(provider.call(Request(model=PICTURE.model, text=text, aspect_ratio="1:1")) for text in texts)
            )
            assert [answer.picture and answer.picture.data for answer in answers] == [drawn(text) for text in texts]
        assert server.connections == 20
        kept = [line.transport for idle in provider._lines._idle.values() for line in idle]
        views = [getattr(transport._ssl_protocol, "_ssl_buffer_view", None) for transport in kept]  # type: ignore[attr-defined]
    assert len(views) == 20
    assert len({id(getattr(view, "obj", None)) for view in views}) == 1, (
        "asyncio.sslproto.SSLProtocol no longer reads into `_ssl_buffer_view`, so wire.share_reads does "
        "nothing: calls work, but thousands of TLS connections may cost up to half a megabyte each. Look how it reads "
        "now, and measure with benchmarks/inflight.py --tls"
    )


def test_a_connection_of_another_make_is_left_as_it_is() -> None:
    buffer = memoryview(bytearray(10))
    assert not wire.share_reads(None, buffer)
    assert not wire.share_reads(asyncio.Transport(), buffer)


async def test_few_connections_are_made_at_a_time_and_all_are_made(
    far_side: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    connecting = most = 0
    make = aiohttp.TCPConnector._create_connection

    async def counted(*arguments: Any) -> Any:
        nonlocal connecting, most
        connecting += 1
        most = max(most, connecting)
        try:
            return await make(*arguments)
        finally:
            connecting -= 1

    monkeypatch.setattr(wire, "CONNECTING_MAX", 3)
    monkeypatch.setattr(aiohttp.TCPConnector, "_create_connection", counted)
    together = asyncio.Barrier(30)

    async def answer_when_all_are_there(_: Any, __: Any, writer: asyncio.StreamWriter) -> None:
        await together.wait()
        writer.write(far_side.http(far_side.answer(far_side.picture_part())))

    async with (
        far_side.serve(answer_when_all_are_there) as server,
        open_gemini(api_key="k", base_url=server.url, timeout_s=20) as provider,
    ):
        answers = await asyncio.gather(*(provider.call(PICTURE) for _ in range(30)))
    assert all(answer.picture for answer in answers)
    assert server.connections == 30
    assert most == 3, (
        "aiohttp no longer makes connections in BaseConnector._create_connection, which engine.providers.wire bounds: "
        "thousands of calls that start at once hold the loop for seconds"
    )
