"""The contract of a provider, kept alike by the scripted double and by both transports over a real socket."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gc
import hashlib
import logging
import ssl
import traceback
import tracemalloc
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from engine.errors import ConfigError, ProviderError
from engine.providers import http1, wire
from engine.providers.base import Picture, Provider, Response
from engine.providers.gemini import open_gemini
from engine.providers.scripted import ScriptedProvider
from schemas.job import Request
from schemas.outcome import ErrorKind, Usage
from schemas.prompt import Reference

PICTURE = Request(model="gemini-nano-banana-2.1", text="A vigil at dusk", aspect_ratio="1:1", resolution="1K", seed=7)
TEXT = Request(model="gemini-3.1-flash-lite", text="Describe it", answer_schema={"type": "object"})
TRANSPORTS = ("sdk", "fast")


@pytest.fixture(params=TRANSPORTS)
def transport(request: pytest.FixtureRequest) -> Any:
    return request.param


@asynccontextmanager
async def provider_at(url: str, transport: Any, **more: Any) -> AsyncIterator[Provider]:
    key = more.pop("api_key", "AIzaSyCANARY-key-that-must-never-be-seen-0")
    async with open_gemini(
        api_key=key, base_url=url, transport=transport, timeout_s=more.pop("timeout_s", 20), **more
    ) as provider:
        yield provider
        assert provider.transport == transport, "the fast transport gave up on the way"


async def failure_of(provider: Provider, request: Request = PICTURE) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        await provider.call(request)
    return caught.value


# ------------------------------------------------------------- one contract, three providers


class Case:
    """What the far side says, and what the caller must get."""

    def __init__(self, request: Request, said: dict[str, Any], expected: Response | ProviderError) -> None:
        self.request, self.said, self.expected = request, said, expected


def cases(far_side: Any) -> dict[str, Case]:
    usage = Usage(prompt_tokens=20, output_tokens=1230, total_tokens=1250, image_tokens=1120, thinking_tokens=30)
    png = far_side.PNG
    known = {"usage": usage, "model_version": "gemini-x-001"}
    picture = Picture(data=png, mime_type="image/png")
    answer, part = far_side.answer, far_side.picture_part
    refused = ProviderError(ErrorKind.REFUSED, "", http_status=200, finish_reason="IMAGE_SAFETY", usage=usage)
    blocked = ProviderError(ErrorKind.REFUSED, "", http_status=200, finish_reason="PROHIBITED_CONTENT", usage=usage)
    cut = ProviderError(ErrorKind.TRUNCATED, "", http_status=200, finish_reason="MAX_TOKENS", usage=usage)
    none = ProviderError(ErrorKind.NO_PICTURE, "", http_status=200, finish_reason="STOP", usage=usage)
    return {
        "a picture": Case(PICTURE, answer(part()), Response(picture=picture, finish_reason="STOP", **known)),
        "a picture among thoughts, text and other pictures": Case(
            PICTURE,
            answer(
                {"text": "let me think", "thought": True},
                part(b"a draft" * 200, thought=True),
                {"text": "Here "},
                part(thoughtSignature="c2ln" * 300),
                {"text": "it is."},
                part(b"a second" * 200),
            ),
            Response(picture=picture, extra_pictures=1, text="Here it is.", finish_reason="STOP", **known),
        ),
        "a text": Case(
            TEXT,
            answer({"text": '{"caption": "Ein \\"Platz\\"'}, {"text": "thinking", "thought": True}, {"text": "}"}),
            Response(text='{"caption": "Ein \\"Platz\\"}', finish_reason="STOP", **known),
        ),
        "a refused answer": Case(PICTURE, answer(reason="IMAGE_SAFETY"), refused),
        "a blocked prompt": Case(
            PICTURE, {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, "usageMetadata": far_side.USAGE}, blocked
        ),
        "a text where a picture was asked": Case(PICTURE, answer({"text": "I cannot draw"}), none),
        "a text cut by its length": Case(TEXT, answer({"text": '{"capt'}, reason="MAX_TOKENS"), cut),
    }


CASES = (
    "a picture",
    "a picture among thoughts, text and other pictures",
    "a text",
    "a refused answer",
    "a blocked prompt",
    "a text where a picture was asked",
    "a text cut by its length",
)


@pytest.mark.parametrize("kind", ["scripted", *TRANSPORTS])
@pytest.mark.parametrize("name", CASES)
async def test_every_provider_gives_the_same_answer_or_the_same_error(far_side: Any, kind: Any, name: str) -> None:
    case = cases(far_side)[name]
    async with contextlib.AsyncExitStack() as stack:
        provider: Provider
        if kind == "scripted":
            provider = ScriptedProvider([case.expected])
        else:
            server = await stack.enter_async_context(far_side.serve(far_side.says(far_side.http(case.said))))
            provider = await stack.enter_async_context(provider_at(server.url, kind))
        if isinstance(case.expected, Response):
            assert await provider.call(case.request) == case.expected
            return
        error = await failure_of(provider, case.request)
        for what in ("kind", "http_status", "finish_reason", "usage"):
            assert getattr(error, what) == getattr(case.expected, what)


@pytest.mark.parametrize("kind", ["scripted", *TRANSPORTS])
async def test_cancelling_a_call_passes_through_and_closes_its_connection(far_side: Any, kind: Any) -> None:
    arrived = asyncio.Event()

    async def silent(*_: Any) -> None:
        arrived.set()
        await asyncio.sleep(30)

    async with far_side.serve(silent) as server, contextlib.AsyncExitStack() as stack:
        provider: Provider = ScriptedProvider(latency_s=30)
        if kind == "scripted":
            arrived.set()
        else:
            provider = await stack.enter_async_context(provider_at(server.url, kind))
        call = asyncio.create_task(provider.call(PICTURE))
        await arrived.wait()
        await asyncio.sleep(0)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        if kind == "scripted":
            assert provider.in_flight == 0  # type: ignore[union-attr]
        else:
            connector: Any = provider._session.connector  # type: ignore[attr-defined]
            assert not connector._acquired
            assert not connector._conns, "a connection with an answer under way must not be used again"


# --------------------------------------------------------------------------- what goes out


async def test_a_request_says_what_was_asked_in_geminis_words(far_side: Any, transport: Any) -> None:
    async with far_side.serve(far_side.says(far_side.http(far_side.answer(far_side.picture_part())))) as server:
        async with provider_at(server.url, transport) as provider:
            await provider.call(PICTURE)
        (seen,) = server.seen
        assert seen.line == "POST /v1beta/models/gemini-nano-banana-2.1:generateContent HTTP/1.1"
        assert seen.headers["accept-encoding"] == "identity"
        assert seen.headers["x-goog-api-key"] == far_side.CANARY
        assert far_side.CANARY not in seen.line
        assert seen.json == {
            "contents": [{"role": "user", "parts": [{"text": "A vigil at dusk"}]}],
            "generationConfig": {
                "seed": 7,
                "responseModalities": ["IMAGE"],
                "imageConfig": {"aspectRatio": "1:1", "imageSize": "1K"},
            },
        }


async def test_reference_pictures_are_sent_and_must_be_the_planned_ones(
    far_side: Any, transport: Any, tmp_path: Any
) -> None:
    path = tmp_path / "reference.png"
    path.write_bytes(far_side.PNG)
    digest = hashlib.sha256(far_side.PNG).hexdigest()
    reference = Reference(path=str(path), sha256=digest, mime_type="image/png")
    request = Request(model="gemini-3.1-flash-lite", text="What is it?", references=(reference,), answer_schema={})
    async with far_side.serve(far_side.says(far_side.http(far_side.answer({"text": "{}"})))) as server:
        async with provider_at(server.url, transport) as provider:
            await provider.call(request)
            await provider.call(request)
            path.write_bytes(b"something else")
            changed = await failure_of(provider, request)
            path.unlink()
            missing = await failure_of(provider, request)
        assert len(server.seen) == 2
        assert server.seen[0].body == server.seen[1].body
        blob = server.seen[0].json["contents"][0]["parts"][0]["inlineData"]
        assert base64.urlsafe_b64decode(blob["data"]) == far_side.PNG
    assert (changed.kind, missing.kind) == (ErrorKind.INVALID, ErrorKind.INVALID)
    assert "changed since it was planned" in changed.message
    assert "reference.png" in missing.message


async def test_a_request_that_the_sdk_refuses_is_invalid_and_nothing_is_sent(far_side: Any, transport: Any) -> None:
    odd = Request(model="gemini-x", text="t", temperature="warm")  # type: ignore[arg-type]
    async with far_side.serve(far_side.says(b"")) as server, provider_at(server.url, transport) as provider:
        error = await failure_of(provider, odd)
        assert not server.seen
    assert error.kind is ErrorKind.INVALID
    assert "temperature" in error.message


async def test_three_hundred_calls_are_in_flight_at_once_and_then_reuse_their_connections(
    far_side: Any, transport: Any
) -> None:
    wanted = 300
    everyone_here = asyncio.Event()
    said = far_side.http(far_side.answer({"text": "{}"}))

    async def together(server: Any, _: Any, writer: asyncio.StreamWriter) -> None:
        if len(server.seen) >= wanted:
            everyone_here.set()
        await everyone_here.wait()
        writer.write(said)

    async with far_side.serve(together) as server, provider_at(server.url, transport) as provider:
        async with asyncio.timeout(30):
            await asyncio.gather(*(provider.call(TEXT) for _ in range(wanted)))
            assert server.connections == wanted
            await asyncio.gather(*(provider.call(TEXT) for _ in range(wanted)))
        assert server.connections == wanted, "kept connections must be used again"


# ---------------------------------------------------------------- faults over a real socket

Fault = Callable[[Any, Any, asyncio.StreamWriter], Awaitable[None]]


def _faults(far_side: Any) -> dict[str, tuple[Fault, ErrorKind]]:
    whole = far_side.http(far_side.answer(far_side.picture_part(b"p" * 60_000)))

    async def reset_before_headers(_: Any, __: Any, writer: asyncio.StreamWriter) -> None:
        far_side.reset(writer)

    async def close_before_headers(_: Any, __: Any, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async def reset_in_body(_: Any, __: Any, writer: asyncio.StreamWriter) -> None:
        writer.write(whole[:30_000])
        await writer.drain()
        await asyncio.sleep(0.02)
        far_side.reset(writer)

    async def close_in_body(_: Any, __: Any, writer: asyncio.StreamWriter) -> None:
        writer.write(whole[:-10])
        writer.close()

    async def close_in_chunk(_: Any, __: Any, writer: asyncio.StreamWriter) -> None:
        writer.write(far_side.http(b'1000\r\n{"candi', Transfer_Encoding="chunked", transfer_encoding="chunked"))
        writer.close()

    async def never(*_: Any) -> None:
        await asyncio.sleep(30)

    async def stall_in_body(_: Any, __: Any, writer: asyncio.StreamWriter) -> None:
        writer.write(whole[:30_000])
        await asyncio.sleep(30)

    async def drip(_: Any, __: Any, writer: asyncio.StreamWriter) -> None:
        for at in range(len(whole)):
            writer.write(whole[at : at + 1])
            await writer.drain()
            await asyncio.sleep(0.01)

    async def promise_too_much(_: Any, __: Any, writer: asyncio.StreamWriter) -> None:
        writer.write(far_side.http(b"{}", content_length=str(wire.BODY_BYTES_MAX + 1)))

    async def endless(_: Any, __: Any, writer: asyncio.StreamWriter) -> None:
        writer.write(far_side.http(b"", transfer_encoding="chunked"))
        while not writer.is_closing():
            writer.write(b"10000\r\n" + b" " * 65536 + b"\r\n")
            await writer.drain()

    def say(raw: bytes) -> Fault:
        return far_side.says(raw)

    html = b"<html><title>Sign in to WiFi</title></html>"
    return {
        "reset before headers": (reset_before_headers, ErrorKind.UNKNOWN),
        "closed before headers": (close_before_headers, ErrorKind.UNKNOWN),
        "reset in the body": (reset_in_body, ErrorKind.UNKNOWN),
        "closed in the body": (close_in_body, ErrorKind.UNKNOWN),
        "closed in a chunk": (close_in_chunk, ErrorKind.UNKNOWN),
        "no answer at all": (never, ErrorKind.UNKNOWN),
        "stalled body": (stall_in_body, ErrorKind.UNKNOWN),
        "dripping body": (drip, ErrorKind.UNKNOWN),
        "a length beyond all bounds": (promise_too_much, ErrorKind.INVALID),
        "an endless body": (endless, ErrorKind.INVALID),
        "not HTTP": (say(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"), ErrorKind.UNKNOWN),
        "empty body": (say(far_side.http(b"")), ErrorKind.UNKNOWN),
        "broken JSON": (say(far_side.http(b'{"candidates": [{"content"')), ErrorKind.UNKNOWN),
        "JSON that is no answer": (say(far_side.http(b"[1, 2]")), ErrorKind.BAD_ANSWER),
        "a page instead of JSON": (say(far_side.http(html, content_type="text/html")), ErrorKind.BAD_ANSWER),
        "a page with 502": (say(far_side.http(html, 502, "text/html")), ErrorKind.SERVER),
        "a page with 403": (say(far_side.http(html, 403, "text/html")), ErrorKind.BAD_ANSWER),
        "broken JSON with 503": (say(far_side.http(b'{"error": {', 503)), ErrorKind.OVERLOADED),
        "bytes that are no text with 500": (say(far_side.http(b"\xff\xfe\x00", 500)), ErrorKind.SERVER),
        "a redirect": (say(far_side.http(b"", 302, Location="http://127.0.0.1:9/elsewhere")), ErrorKind.BAD_ANSWER),
        "204": (say(b"HTTP/1.1 204 No Content\r\n\r\n"), ErrorKind.BAD_ANSWER),
        "invalid base64": (
            say(far_side.http(far_side.answer({"inlineData": {"mimeType": "image/png", "data": "*" * 4000}}))),
            ErrorKind.BAD_IMAGE,
        ),
        "an error inside a 200": (
            say(far_side.http({"error": {"code": 503, "status": "UNAVAILABLE", "message": "overloaded"}})),
            ErrorKind.OVERLOADED,
        ),
    }


FAULTS = (
    "reset before headers",
    "closed before headers",
    "reset in the body",
    "closed in the body",
    "closed in a chunk",
    "no answer at all",
    "stalled body",
    "dripping body",
    "a length beyond all bounds",
    "an endless body",
    "not HTTP",
    "empty body",
    "broken JSON",
    "JSON that is no answer",
    "a page instead of JSON",
    "a page with 502",
    "a page with 403",
    "broken JSON with 503",
    "bytes that are no text with 500",
    "a redirect",
    "204",
    "invalid base64",
    "an error inside a 200",
)


def test_every_fault_is_listed(far_side: Any) -> None:
    assert tuple(_faults(far_side)) == FAULTS
    assert tuple(cases(far_side)) == CASES


@pytest.mark.parametrize("name", FAULTS)
async def test_a_fault_becomes_one_error_after_one_request(
    far_side: Any, transport: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "BODY_BYTES_MAX", 1 << 20)
    monkeypatch.setattr(http1, "BODY_BYTES_MAX", 1 << 20)
    script, kind = _faults(far_side)[name]
    async with far_side.serve(script) as server:
        async with provider_at(server.url, transport, timeout_s=0.4) as provider:
            error = await failure_of(provider)
        assert error.kind is kind, error.message
        assert len(server.seen) == 1, "what may have been paid for is not asked for twice behind our back"
        assert error.__cause__ is None
        assert error.__context__ is None


async def test_after_a_fault_the_next_call_works(far_side: Any, transport: Any) -> None:
    async def first_breaks(server: Any, _: Any, writer: asyncio.StreamWriter) -> None:
        if len(server.seen) == 1:
            far_side.reset(writer)
        else:
            writer.write(far_side.http(far_side.answer(far_side.picture_part())))

    async with far_side.serve(first_breaks) as server, provider_at(server.url, transport) as provider:
        assert (await failure_of(provider)).kind is ErrorKind.UNKNOWN
        assert (await provider.call(PICTURE)).picture is not None


@pytest.mark.parametrize("what", ["refused", "no such host", "TLS to a server without", "a proxy's refusal"])
async def test_where_nothing_was_sent_nothing_was_paid(
    far_side: Any, transport: Any, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with far_side.serve(far_side.says(far_side.http(b"no", 407))) as server:
        url = {
            "refused": "http://127.0.0.1:1",
            "no such host": "http://no-such-host.invalid",
            "TLS to a server without": server.url.replace("http:", "https:"),
            "a proxy's refusal": "https://gemini.example",
        }[what]
        if what == "a proxy's refusal":
            monkeypatch.setenv("https_proxy", server.url)
        # A server that knows no TLS waits for ever: there the end of the time for connecting is what counts.
        async with provider_at(url, transport, timeout_s=3 if "TLS" in what else 30) as provider:
            assert (await failure_of(provider)).kind is ErrorKind.CONNECT


async def test_a_certificate_that_is_not_trusted_is_told_and_nothing_was_sent(
    far_side: Any, transport: Any, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(*certificate)
    async with far_side.serve(far_side.says(b""), ssl=serving) as server:  # by its number, which is not its name
        async with provider_at(server.url, transport) as provider:
            error = await failure_of(provider)
        assert not server.seen
    assert error.kind is ErrorKind.CONNECT
    assert "certificate verify failed" in error.message


async def test_a_gzipped_answer_is_read_though_it_was_not_asked_for(far_side: Any, transport: Any) -> None:
    import gzip

    body = gzip.compress(far_side.http(far_side.answer(far_side.picture_part())).split(b"\r\n\r\n", 1)[1])
    raw = far_side.http(body, Content_Encoding="gzip")
    async with far_side.serve(far_side.says(raw)) as server, provider_at(server.url, transport) as provider:
        response = await provider.call(PICTURE)
        assert response.picture is not None
        assert response.picture.data == far_side.PNG


async def test_a_quota_error_brings_its_numbers_along(far_side: Any, transport: Any) -> None:
    body = {
        "error": {
            "code": 429,
            "status": "RESOURCE_EXHAUSTED",
            "message": "You exceeded your current quota, please check your plan and billing details.\n"
            "Please retry in 51.386s.",
            "details": [
                {
                    "@type": "type.googleapis.com/google.rpc.QuotaFailure",
                    "violations": [
                        {"quotaId": "GenerateRequestsPerMinutePerProjectPerModel-PaidTier2", "quotaValue": "360"}
                    ],
                },
                {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "14s"},
            ],
        }
    }
    script = far_side.says(far_side.http(body, 429, Retry_After="3"))
    async with far_side.serve(script) as server, provider_at(server.url, transport) as provider:
        error = await failure_of(provider)
    assert error.kind is ErrorKind.RATE_LIMITED
    assert (error.retry_after_s, error.quota_limit, error.http_status) == (51.386, 360, 429)


# ------------------------------------------------------------------------------------ secrets


async def test_the_key_is_nowhere_but_in_its_header(far_side: Any, transport: Any, caplog: Any) -> None:
    caplog.set_level(logging.DEBUG)
    echo = {"error": {"code": 400, "status": "INVALID_ARGUMENT", "message": f"bad key {far_side.CANARY} in ?key=abc"}}
    shown: list[str] = []
    async with (
        far_side.serve(far_side.says(far_side.http(echo, 400))) as server,
        provider_at(server.url, transport) as provider,
    ):
        shown.append(repr(provider))
        for request in (PICTURE, TEXT):
            error = await failure_of(provider, request)
            shown += [repr(error), str(error), *traceback.format_exception(error)]
        with pytest.raises(ProviderError) as listed:
            await provider.list_models()  # type: ignore[attr-defined]
        shown += traceback.format_exception(listed.value)
    for url in ("http://127.0.0.1:1", f"http://user:{far_side.CANARY}@no-such-host.invalid"):
        async with provider_at(url, transport) as provider:
            shown += traceback.format_exception(await failure_of(provider))
    shown.append(caplog.text)
    assert not [text for text in shown if "CANARY" in text]


async def test_missing_settings_are_named_before_any_call() -> None:
    with pytest.raises(ConfigError, match="GEMINI_API_KEY"):
        async with open_gemini(api_key=" "):
            pass
    with pytest.raises(ConfigError, match="http://"):
        async with open_gemini(api_key="k", base_url="localhost:80"):
            pass


# --------------------------------------------------------------------------------- no growth


def live() -> Counter[str]:
    """Live objects that the garbage collector knows of, by type."""
    gc.collect()
    return Counter(type(thing).__qualname__ for thing in gc.get_objects())


def mostly_good(far_side: Any) -> Any:
    """Nine pictures, then an error."""
    said = far_side.http(far_side.answer(far_side.picture_part()))
    refused = far_side.http({"error": {"code": 500, "status": "INTERNAL", "message": "x"}}, 500)
    turn = iter(range(10**6))

    async def script(server: Any, _: Any, writer: asyncio.StreamWriter) -> None:
        server.seen.clear()
        writer.write(said if next(turn) % 10 else refused)

    return script


async def calls(provider: Provider, count: int) -> None:
    async def one() -> None:
        with contextlib.suppress(ProviderError):
            await provider.call(PICTURE)

    for _ in range(count // 20):
        await asyncio.gather(*(one() for _ in range(20)))


async def grown_by(provider: Provider, count: int) -> Counter[str]:
    """Which objects are more after so many calls than before."""
    await calls(provider, 300)
    before = live()
    await calls(provider, count)
    return live() - before


@pytest.mark.slow
async def test_thousands_of_calls_leave_nothing_behind(far_side: Any, transport: Any) -> None:
    async with far_side.serve(mostly_good(far_side)) as server, provider_at(server.url, transport) as provider:
        grown = await grown_by(provider, 2200)
        assert grown.total() < 400, f"left behind by 2200 calls: {grown.most_common(6)}"
        tracemalloc.start()
        try:
            await calls(provider, 100)
            gc.collect()
            before = tracemalloc.get_traced_memory()[0]
            await calls(provider, 400)
            gc.collect()
            kept = tracemalloc.get_traced_memory()[0] - before
        finally:
            tracemalloc.stop()
        assert kept < 100_000, f"{kept} bytes after 400 calls: one answer kept would be 4 KB each"


async def test_responses_that_stay_alive_would_be_seen(
    far_side: Any, transport: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The SDK is known to have kept its asynchronous responses alive; so may a release to come."""
    kept: list[Any] = []
    receive, end = wire.receive, http1.Reading._end

    async def receive_and_keep(response: Any) -> bytes:
        kept.append(response)
        return await receive(response)

    def end_and_keep(reading: Any) -> None:
        kept.append(reading)
        end(reading)

    monkeypatch.setattr(wire, "receive", receive_and_keep)
    monkeypatch.setattr(http1.Reading, "_end", end_and_keep)
    async with far_side.serve(mostly_good(far_side)) as server, provider_at(server.url, transport) as provider:
        grown = await grown_by(provider, 200)
    assert grown["_Answer"] + grown["Reading"] == 200
    assert grown.total() > 400, "what the test above allows"
