"""Answers are read the same however the bytes fall, and connections are used again only when that is safe."""

from __future__ import annotations

import asyncio
import gc
import zlib
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import ProviderError
from engine.providers import http1, lines
from engine.providers.gemini import open_gemini
from engine.providers.http1 import BodyTooLarge, NotHttp, Reading, Reply
from schemas.job import Request

PICTURE = Request(model="gemini-nano-banana-2.1", text="A vigil at dusk")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def read(raw: bytes, cuts: list[int] | None = None, *, closed: bool = False) -> Reading:
    """`raw` fed in portions that end at `cuts`, through one buffer that is used again and again."""
    reading, buffer = Reading(), bytearray(max(1, len(raw)))
    edges = sorted({0, len(raw), *(cut % (len(raw) + 1) for cut in cuts or [])})
    for start, stop in pairwise(edges):
        buffer[: stop - start] = raw[start:stop]
        reading.feed(buffer, stop - start)
        buffer[: stop - start] = b"\xee" * (stop - start)
    if closed:
        reading.closed()
    return reading


def whole(reading: Reading) -> Reply:
    assert reading.reply is not None, "no whole answer"
    return reading.reply


def chunked(pieces: list[bytes], *, extension: bytes = b"", trailers: bytes = b"") -> bytes:
    body = b"".join(b"%X%b\r\n%b\r\n" % (len(piece), extension, piece) for piece in pieces)
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n" + body + b"0\r\n" + trailers + b"\r\n"


def sized(body: bytes, *headers: bytes) -> bytes:
    return b"\r\n".join([b"HTTP/1.1 200 OK", b"Content-Length: %d" % len(body), *headers, b"", body])


CUTS = st.lists(st.integers(0, 10_000), max_size=12)


@given(st.lists(st.binary(min_size=1, max_size=60), max_size=8), CUTS, st.sampled_from([b"", b";a=b", b" ; c"]))
def test_chunks_are_put_together_however_they_fall(pieces: list[bytes], cuts: list[int], extension: bytes) -> None:
    reading = read(chunked(pieces, extension=extension, trailers=b"X-After: 1\r\n"), cuts)
    assert whole(reading).body == b"".join(pieces)
    assert reading.reusable


@given(st.binary(max_size=300), CUTS)
def test_a_body_that_tells_its_length_is_read_however_it_falls(body: bytes, cuts: list[int]) -> None:
    reading = read(sized(body, b"X-Name:  two words "), cuts)
    assert whole(reading).body == body
    assert whole(reading).headers["x-name"] == "two words"
    assert reading.reusable


@given(st.binary(max_size=300), CUTS)
def test_a_body_that_tells_no_length_ends_with_the_connection(body: bytes, cuts: list[int]) -> None:
    raw = b"HTTP/1.1 200 OK\r\n\r\n" + body
    assert read(raw, cuts).reply is None
    reading = read(raw, cuts, closed=True)
    assert whole(reading).body == body
    assert not reading.reusable


@given(st.binary(min_size=1, max_size=200), CUTS, st.integers(1, 400))
def test_an_answer_that_breaks_off_is_no_answer(body: bytes, cuts: list[int], missing: int) -> None:
    for raw in (sized(body), chunked([body, body])):
        assert read(raw[: max(0, len(raw) - missing)], cuts, closed=True).reply is None


def test_words_in_between_are_no_answer() -> None:
    reading = read(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + sized(b"{}"))
    assert whole(reading).status == 200
    assert whole(reading).body == b"{}"


@pytest.mark.parametrize(
    "raw",
    [
        sized(b"{}") + b"HTTP/1.1 200",
        sized(b"{}", b"Connection: Close"),
        sized(b"{}").replace(b"HTTP/1.1", b"HTTP/1.0"),
    ],
    ids=["more than was asked for", "connection: close", "HTTP/1.0"],
)
def test_a_connection_is_not_used_again_after(raw: bytes) -> None:
    reading = read(raw)
    assert whole(reading).body == b"{}"
    assert not reading.reusable


@pytest.mark.parametrize(
    "raw",
    [
        b"SSH-2.0-OpenSSH_9.2",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 2000\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: b\r\n folded\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * http1.HEAD_BYTES_MAX + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1_0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        chunked([b"ab"]).replace(b"2\r\nab", b"x\r\nab"),
        chunked([b"ab"]).replace(b"2\r\nab", b"-2\r\nab"),
        chunked([b"ab"]).replace(b"2\r\nab\r\n", b"2\r\nabc\r\n"),
        chunked([b"ab"], extension=b";" + b"x" * http1.LINE_BYTES_MAX),
        sized(b"not gzip", b"Content-Encoding: gzip"),
        sized(zlib.compress(b"x" * 500)[:-5], b"Content-Encoding: deflate"),
        sized(b"{}", b"Content-Encoding: br"),
    ],
)
@pytest.mark.parametrize("cuts", [[], [*range(1, 200)]], ids=["at once", "byte by byte"])
def test_what_is_not_http_is_refused(raw: bytes, cuts: list[int]) -> None:
    with pytest.raises(NotHttp):
        read(raw, cuts)


def test_an_answer_beyond_all_bounds_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http1, "BODY_BYTES_MAX", 1000)
    bomb = zlib.compress(b" " * 5000)
    for raw in (
        b"HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n",
        chunked([b"x" * 600, b"x" * 600]),
        b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 1001,
        sized(bomb, b"Content-Encoding: gzip"),
    ):
        with pytest.raises(BodyTooLarge):
            read(raw)


def test_an_answer_is_let_go_of_without_the_collector() -> None:
    gc.collect()
    gc.disable()
    try:
        before = len(gc.get_objects())
        for _ in range(50):
            read(chunked([b"x" * 100]))
            read(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx")
        assert len(gc.get_objects()) - before < 20, "a cycle keeps every picture until the collector comes"
    finally:
        gc.enable()


async def ask(provider: Any) -> bool:
    return (await provider.call(PICTURE)).picture is not None


async def test_a_connection_that_was_idle_for_long_is_not_used_again(
    far_side: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(lines, "monotonic", lambda: now)
    good = far_side.says(far_side.http(far_side.answer(far_side.picture_part())))
    async with far_side.serve(good) as server, open_gemini(api_key="k", base_url=server.url) as provider:
        assert await ask(provider)
        now += lines.KEEPALIVE_S - 1
        assert await ask(provider)
        assert server.connections == 1
        now += lines.KEEPALIVE_S + 1
        assert await ask(provider)
        assert server.connections == 2


@pytest.mark.parametrize("what", ["closed", "spoken on"])
async def test_an_idle_connection_that_was_closed_or_spoken_on_costs_no_call(far_side: Any, what: str) -> None:
    async def and_then(_: Any, __: Any, writer: asyncio.StreamWriter) -> None:
        writer.write(far_side.http(far_side.answer(far_side.picture_part())))
        await writer.drain()
        await asyncio.sleep(0)
        if what == "closed":
            writer.close()
        else:
            asyncio.get_running_loop().call_later(0.02, writer.write, b"HTTP/1.1 408 Timeout\r\n\r\n")

    async with far_side.serve(and_then) as server, open_gemini(api_key="k", base_url=server.url) as provider:
        for _ in range(3):
            assert await ask(provider)
            await asyncio.sleep(0.05)
        assert server.connections == 3


async def test_large_requests_whose_answer_comes_early_do_not_spoil_the_next(far_side: Any, tmp_path: Any) -> None:
    """A far side that has seen enough answers before everything was sent."""
    served = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal served
        served += 1
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            size = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
            if served == 1:
                writer.write(far_side.http({"error": {"code": 400, "message": "enough", "status": "INVALID_ARGUMENT"}}))
                await writer.drain()
                await asyncio.sleep(0.2)
            await reader.readexactly(size)
            if served > 1:
                writer.write(far_side.http(far_side.answer(far_side.picture_part())))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    long = Request(model=PICTURE.model, text="x" * 20_000_000)
    async with listener, open_gemini(api_key="k", base_url=url, timeout_s=20) as provider:
        with pytest.raises(ProviderError, match="enough"):
            await provider.call(long)
        assert await ask(provider)
    assert served == 2


async def test_a_key_with_a_line_break_is_refused_and_not_shown(far_side: Any) -> None:
    async with (
        far_side.serve(far_side.says(b"")) as server,
        open_gemini(api_key="before\nX-Injected: after", base_url=server.url) as provider,
    ):
        with pytest.raises(ProviderError) as raised:
            await provider.call(PICTURE)
    assert not server.seen
    assert "Injected" not in str(raised.value)
