"""Answers are read the same however the bytes fall, and connections are used again only when that is safe."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import gzip
import ssl
import zlib
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import ProviderError
from engine.providers import http1, lines, wire
from engine.providers.gemini import open_gemini
from engine.providers.http1 import BodyTooLarge, NotHttp, Reading, Reply
from schemas.job import Request
from schemas.outcome import ErrorKind

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
        sized(b"{}", b"Connection: TE, close"),
        sized(b"{}", b"Connection: close", b"Connection: TE"),
        sized(b"{}").replace(b"HTTP/1.1", b"HTTP/1.0"),
        chunked([b"{}"]).replace(b"Chunked", b"chunked\r\nContent-Length: 7"),
    ],
    ids=[
        "more than was asked for",
        "connection: close",
        "close in a list",
        "close and more",
        "HTTP/1.0",
        "two lengths",
    ],
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
        b"HTTP/1.1 200 OK\r\nContent-Length: " + b"1" * 5000 + b"\r\n\r\n",
        b"HTTP/1.1 20\xd9\xa3 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\rContent-Length: 0\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n",
        sized(b"{}", b"Content-Length: 3"),
        chunked([b"ab"]).replace(b"2\r\nab", b"0x2\r\nab"),
        chunked([b"ab"]).replace(b"2\r\nab", b"+2\r\nab"),
        chunked([b"ab"]).replace(b"2\r\nab", b"0_2\r\nab"),
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


def test_a_length_told_twice_and_bare_line_feeds_in_the_head_are_put_up_with() -> None:
    assert whole(read(sized(b"{}", b"Content-Length: 2"))).body == b"{}"
    assert whole(read(sized(b"{}").replace(b"\r\n", b"\n"), [*range(1, 99)])).body == b"{}"


def test_compression_is_read_in_every_dress_it_wears() -> None:
    bare = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    for body, encoding in (
        (gzip.compress(b"0123456789"), b"gzip"),
        (gzip.compress(b"01234") + gzip.compress(b"56789"), b"x-gzip"),
        (zlib.compress(b"0123456789"), b"deflate"),
        (bare.compress(b"0123456789") + bare.flush(), b"Deflate"),
        (b"0123456789", b"none"),
    ):
        assert whole(read(sized(body, b"Content-Encoding: " + encoding))).body == b"0123456789"


SPOILERS = st.sampled_from(
    [
        *(b"\r\n", b"\n", b"\r", b"\0", b" ", b"0", b"5", b"F", b"0x", b"_", b"+", b"-", b";", b":", b",", b"\xff"),
        *(b"close", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: x\r\n"),
    ]
)


def second_opinion(raw: bytes) -> bytes | None:
    """The body as h11 reads it; None where it refuses or misses something."""
    far = h11.Connection(h11.CLIENT)
    far.send(h11.Request(method="POST", target="/", headers=[("Host", "x"), ("Content-Length", "0")]))
    far.send(h11.EndOfMessage())
    far.receive_data(raw)
    far.receive_data(b"")
    body = b""
    try:
        while not isinstance(event := far.next_event(), h11.EndOfMessage):
            if event is h11.PAUSED or isinstance(event, h11.ConnectionClosed):
                return None
            body += bytes(event.data) if isinstance(event, h11.Data) else b""
    except h11.RemoteProtocolError:
        return None
    return body


@settings(max_examples=300)
@given(
    st.sampled_from([sized(b"0123456789"), chunked([b"0123", b"\r\n0\r\n"]), b"HTTP/1.1 200 OK\r\n\r\n0123"]),
    st.lists(st.tuples(st.integers(0, 200), st.integers(0, 3), SPOILERS), max_size=4),
    CUTS,
)
def test_whatever_was_spoilt_on_the_way_is_read_as_others_read_it_or_refused(
    raw: bytes, spoilt: list[tuple[int, int, bytes]], cuts: list[int]
) -> None:
    for at, gone, instead in spoilt:
        raw = raw[: at % (len(raw) + 1)] + instead + raw[at % (len(raw) + 1) + gone :]
    try:
        reading = read(raw, cuts, closed=True)
    except (NotHttp, BodyTooLarge):
        return
    other = second_opinion(raw)
    if reading.reply is not None and other is not None:
        assert reading.reply.body == other


GOOGLES_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=UTF-8\r\nVary: Origin\r\nVary: X-Origin\r\n"
    b"Date: Mon, 23 Nov 2026 09:00:00 GMT\r\nServer: scaffolding on HTTPServer2\r\nX-XSS-Protection: 0\r\n"
    b"X-Content-Type-Options: nosniff\r\nServer-Timing: gfet4t7; dur=9431\r\nTransfer-Encoding: chunked\r\n\r\n"
)


def test_the_usual_head_is_read_in_one_step_and_its_headers_when_somebody_looks() -> None:
    for raw in (GOOGLES_HEAD, GOOGLES_HEAD.replace(b"Transfer-Encoding: chunked", b"content-length: 10")):
        assert http1._USUAL.fullmatch(raw) is not None
    headers = whole(read(GOOGLES_HEAD + b"0\r\n\r\n")).headers
    assert headers.get("server-timing") == "gfet4t7; dur=9431"
    assert headers.get("vary") == "X-Origin"
    assert headers.get("retry-after") is None
    assert len(headers) == len(list(headers)) == 8


ALL = [*range(1, 2000)]
HEADERS = st.sampled_from(
    [
        *(
            "Content-Length: 2",
            "CONTENT-LENGTH:\t 2 ",
            "Content-Length: 2, 2",
            "Content-Length: 3",
            "Content-Length: +2",
        ),
        *(
            "Transfer-Encoding: chunked",
            "transfer-encoding:Chunked\t",
            "Transfer-Encoding: identity",
            "Connection: close",
        ),
        *("Content-Encoding: identity", "Content-Encoding: gzip", "Content-Encoding:", "Connection: keep-alive"),
        *(
            "Content-Length : 2",
            " Content-Length: 2",
            "\u00a0Content-Length: 2",
            "Content-Length\u0085: 2",
            ": x",
            "X:",
        ),
        *(
            "Tran\u017ffer-Encoding: chunked",
            "Content-Lengthy: 9",
            "X-Content-Length: 9",
            "a b: c",
            "\u00e9: \u00e9",
            "x",
        ),
        *("X: a\x0bb", "X: a\rb", "X: a\0b", "X:a:b", "Content-Type: application/json"),
    ]
)


@settings(max_examples=400)
@given(
    st.sampled_from(["HTTP/1.1 200 OK"] * 6 + ["HTTP/1.1 200", "HTTP/1.0 200 OK", "http/1.1 200 OK", "HTTP/1.1 200OK"]),
    st.lists(HEADERS, max_size=5),
    st.sampled_from(["\r\n"] * 6 + ["\n", "\r\r\n"]),
    st.sampled_from([b"{}", b"2\r\n{}\r\n0\r\n\r\n", b"1\r\n{\r\n1\r\n}\r\n0\r\nA: b\r\n\r\n", b"2\r\n{}\r\n1\r\n}"]),
)
def test_an_answer_is_read_the_same_at_once_and_byte_by_byte(
    first: str, lines: list[str], end: str, body: bytes
) -> None:
    raw = (end.join([first, *lines]) + end + end).encode() + body

    def told(cuts: list[int]) -> Any:
        try:
            reading = read(raw, cuts, closed=True)
        except (NotHttp, BodyTooLarge) as error:
            return type(error)
        reply = reading.reply
        return reply and (reply.status, dict(reply.headers), reply.body)

    assert told([]) == told(ALL)


@given(
    st.lists(st.binary(min_size=1, max_size=60), min_size=2, max_size=8),
    st.integers(0, 300),
    st.integers(0, 2),
    SPOILERS,
    CUTS,
)
def test_spoilt_chunks_are_read_the_same_however_they_fall(
    pieces: list[bytes], at: int, gone: int, instead: bytes, some: list[int]
) -> None:
    good = chunked(pieces)
    begins = good.index(b"\r\n\r\n") + 4
    at = begins + at % (len(good) - begins)
    raw = good[:at] + instead + good[at + gone :]

    def told(cuts: list[int]) -> Any:
        try:
            reading = read(raw, cuts)
        except (NotHttp, BodyTooLarge) as error:
            return type(error)
        return reading.reply and reading.reply.body

    assert told([]) == told(some) == told(ALL)


def test_half_a_chunks_end_is_not_followed_by_a_whole_one() -> None:
    raw = chunked([b"ab", b"cd"]).replace(b"ab\r\n", b"ab\r\r\n")
    for cut in range(len(raw)):
        with pytest.raises(NotHttp):
            read(raw, [cut])


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


@pytest.mark.parametrize("what", ["closed", "spoken on"])
async def test_a_new_connection_that_was_closed_or_spoken_on_before_it_was_asked_costs_no_call(
    monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if what == "spoken on":
            writer.write(b"HTTP/1.1 503 Full\r\nContent-Length: 0\r\n\r\n")
            asked.append(await reader.read())
        writer.close()

    make = lines.Lines._connect

    async def and_wait(self: Any, like: Any) -> Any:
        connection = await make(self, like)
        await until(lambda: connection.transport is None or connection.protocol.should_close)
        return connection

    asked: list[bytes] = []
    monkeypatch.setattr(lines.Lines, "_connect", and_wait)
    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, open_gemini(api_key="k", base_url=url) as provider:
        for _ in range(2):
            with pytest.raises(ProviderError, match="nothing was sent") as raised:
                await provider.call(PICTURE)
            assert raised.value.kind is ErrorKind.CONNECT, "a call that was never made counts as one in doubt"
        assert provider.transport == "fast", "one connection that was refused changed the transport of the whole run"
    await until(lambda: len(asked) == (2 if what == "spoken on" else 0))
    assert not any(asked)


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


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  what is waited for has no event
            await asyncio.sleep(0.005)


async def test_a_damaged_answer_that_ends_with_its_connection_is_one_error_and_no_log_line(far_side: Any) -> None:
    async def damaged(_: Any, __: Any, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\nnot gzip")
        writer.close()

    heard: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: heard.append(str(context)))
    async with far_side.serve(damaged) as server, open_gemini(api_key="k", base_url=server.url) as provider:
        with pytest.raises(ProviderError, match="compression is damaged"):
            await provider.call(PICTURE)
    assert not heard


async def test_a_call_that_is_given_up_while_it_is_sent_sends_no_more(far_side: Any) -> None:
    """What was not sent whole is not paid for, so it must not go on in the background."""
    received = 0
    begun, look, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal received
        received += len(await reader.read(1000))
        begun.set()
        await look.wait()
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(1 << 20):
                received += len(data)
        writer.close()
        ended.set()

    listener = await asyncio.start_server(slow, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    long = Request(model=PICTURE.model, text="x" * 40_000_000)
    async with listener, open_gemini(api_key="k", base_url=url) as provider:
        call = asyncio.create_task(provider.call(long))
        await begun.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        look.set()
        await asyncio.wait_for(ended.wait(), 10)
    assert received < 40_000_000


async def test_idle_connections_are_let_go_of_when_the_far_side_closes_them_and_when_they_are_old(
    far_side: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    writers: list[asyncio.StreamWriter] = []
    together = asyncio.Barrier(10)

    async def answer(_: Any, __: Any, writer: asyncio.StreamWriter) -> None:
        await together.wait()
        writers.append(writer)
        writer.write(far_side.http(far_side.answer(far_side.picture_part())))

    monkeypatch.setattr(lines, "KEEPALIVE_S", 0.3)
    async with far_side.serve(answer) as server, open_gemini(api_key="k", base_url=server.url) as provider:
        await asyncio.gather(*(ask(provider) for _ in range(10)))
        for writer in writers[2:7]:
            writer.close()
        await until(lambda: len(provider._lines._all) <= 5)
        await until(lambda: server.open_connections == 0)
        assert not provider._lines._all
        assert server.connections == 10


async def test_closing_the_provider_ends_calls_at_once_whatever_the_far_side_does(
    far_side: Any, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over TLS a polite end waits for the other's, half a minute long."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(*certificate)
    asked = asyncio.Event()

    async def deaf(_: Any, __: Any, writer: asyncio.StreamWriter) -> None:
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.transport._ssl_protocol._transport.pause_reading()  # type: ignore[attr-defined]
        asked.set()
        try:
            await asyncio.sleep(30)
        finally:
            writer.transport.abort()

    async with far_side.serve(deaf, ssl=serving) as server:
        async with open_gemini(api_key="k", base_url=server.url.replace("127.0.0.1", "localhost")) as provider:
            call = asyncio.create_task(provider.call(PICTURE))
            await asked.wait()
        async with asyncio.timeout(5):
            with pytest.raises(ProviderError, match="the provider was closed"):
                await call


async def test_a_call_that_was_still_connecting_when_the_provider_closed_has_sent_nothing(
    far_side: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    connecting, go = asyncio.Event(), asyncio.Event()
    make = wire.Connector._create_connection

    async def slowly(*arguments: Any) -> Any:
        connecting.set()
        await go.wait()
        return await make(*arguments)

    monkeypatch.setattr(wire.Connector, "_create_connection", slowly)
    async with far_side.serve(far_side.says(b"")) as server:
        async with open_gemini(api_key="k", base_url=server.url) as provider:
            call = asyncio.create_task(provider.call(PICTURE))
            await connecting.wait()
        go.set()
        with pytest.raises(ProviderError) as raised:
            await call
        assert raised.value.kind is ErrorKind.CONNECT
        await until(lambda: server.connections == 1 and server.open_connections == 0)
        assert not server.seen


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
async def test_a_connection_with_a_request_half_sent_is_not_used_again(
    far_side: Any, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, tls: bool
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(*certificate)
    refusal = far_side.http({"error": {"code": 400, "message": "enough", "status": "INVALID_ARGUMENT"}})

    seen = asyncio.Event()

    async def early(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        writer.write(refusal)
        await seen.wait()
        writer.transport.abort()

    listener = await asyncio.start_server(early, "localhost", 0, ssl=serving if tls else None)
    url = f"{'https' if tls else 'http'}://localhost:{listener.sockets[0].getsockname()[1]}"
    async with listener, open_gemini(api_key="k", base_url=url) as provider:
        with pytest.raises(ProviderError, match="enough"):
            await provider.call(Request(model=PICTURE.model, text="x" * 40_000_000))
        assert not provider._lines._all
        seen.set()
        await asyncio.sleep(0.02)
