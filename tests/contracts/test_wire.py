"""The fast path: its requests are the SDK's byte for byte, its reading of answers is a JSON parser's."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import logging
from typing import Any

import httpx
import pybase64
import pytest
import respx
from aiohttp.client_reqrep import ClientRequest
from google import genai
from google.genai import types
from hypothesis import given, settings
from hypothesis import strategies as st
from yarl import URL

from engine.errors import ProviderError
from engine.providers import gemini, lines, sdk, template
from engine.providers.answer import read_answer
from engine.providers.gemini import open_gemini
from engine.providers.template import Template, picture_mark, shape_of
from schemas.job import Request
from schemas.outcome import ErrorKind, Usage
from schemas.prompt import Reference

PICTURE = Request(model="gemini-nano-banana-2.1", text="A vigil at dusk", aspect_ratio="16:9", resolution="2K")
SCHEMA = {
    "type": "object",
    "properties": {"caption": {"type": "string"}, "labels": {"type": "array", "items": {"type": "string"}}},
    "required": ["caption"],
}

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60)
SHAPES = st.builds(
    lambda text, system, ratio, size, temperature, seed, schema, limit, model, count: Request(
        model=model,
        text=text,
        system=system,
        aspect_ratio=ratio,
        resolution=size,
        temperature=temperature,
        seed=seed,
        answer_schema=schema,
        output_tokens_max=limit,
        references=tuple(Reference(path=str(n), sha256="", mime_type=f"image/{n}") for n in range(count)),
    ),
    TEXTS,
    st.none() | TEXTS,
    st.sampled_from([None, "1:1", "16:9"]),
    st.sampled_from([None, "0.5K", "1K", "2K", "4K"]),
    st.none() | st.floats(0, 2),
    st.none() | st.integers(0, 2**31 - 1),
    st.sampled_from([None, SCHEMA, {"type": "string", "enum": ['"', "é"]}]),
    st.none() | st.integers(1, 9999),
    st.sampled_from(
        ["gemini-nano-banana-2.1", "gemini-3.1-flash-lite-image", "models/gemini-next", "tunedModels/mine"]
    ),
    st.integers(0, 2),
)


# ----------------------------------------------------------------------------------- requests


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def captured(provider: Any, request: Request, pictures: list[bytes]) -> template.Captured:
    call = template.Watch(capture=True)
    token = template.watching.set(call)
    try:
        with pytest.raises(template.Caught):
            await provider._generate(request, pictures)
    finally:
        template.watching.reset(token)
    assert call.captured is not None, "google-genai no longer sends through the middleware of the session it is given"
    return call.captured


CHANGED = f"google-genai {genai.__version__} is not as engine/providers/gemini.py, sdk.py and template.py rely on: "
FALLS_BACK = "; runs use transport sdk, after one warning, at about ten times the CPU per call"


async def test_the_installed_sdk_is_one_that_the_fast_path_knows() -> None:
    async with open_gemini(api_key="k", base_url="http://127.0.0.1:1") as provider:
        sent_on_ours = sdk.sends_on(provider._client, provider._session)
        assert sent_on_ours, f"{CHANGED}it no longer sends on HttpOptions.aiohttp_client{FALLS_BACK}"
        try:
            await provider._capture(PICTURE)
        except template.TemplateError as error:
            pytest.fail(f"{CHANGED}{error}{FALLS_BACK}")


def test_a_template_gives_the_bytes_that_the_sdk_would_send() -> None:
    import anyio

    async def check(request: Request, pictures: list[bytes]) -> None:
        async with open_gemini(api_key="k", base_url="http://127.0.0.1:1") as provider:
            for _ in range(2):  # The second is filled from what the first left.
                template = await provider._template(request, shape_of(request))
                assert template is not None, "the SDK's requests can no longer be cut into templates"
                body = template.fill(text=request.text, system=request.system, seed=request.seed, pictures=pictures)
                sdk = await captured(provider, request, pictures)
                assert body == sdk.body, f"{CHANGED}it would send something else than the template filled"
                assert template.captured.url == sdk.url
                assert dict(template.captured.headers) == dict(sdk.headers)

    @settings(max_examples=40, deadline=None)
    @given(SHAPES, st.lists(st.binary(min_size=1, max_size=50), min_size=2, max_size=2))
    def law(request: Request, pictures: list[bytes]) -> None:
        anyio.run(check, request, pictures[: len(request.references)], backend="asyncio")

    law()


async def test_one_template_serves_all_prompts_of_its_shape() -> None:
    async with open_gemini(api_key="k", base_url="http://127.0.0.1:1") as provider:
        template = await provider._template(PICTURE, shape_of(PICTURE))
        other = Request(
            model=PICTURE.model, text="Another", aspect_ratio=PICTURE.aspect_ratio, resolution=PICTURE.resolution
        )
        assert await provider._template(other, shape_of(other)) is template
        wide = Request(model=PICTURE.model, text="Another", aspect_ratio="1:1", resolution="2K")
        assert await provider._template(wide, shape_of(wide)) is not template


async def test_the_number_of_templates_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gemini, "TEMPLATES_MAX", 3)
    async with open_gemini(api_key="k", base_url="http://127.0.0.1:1") as provider:
        for n in range(6):
            request = Request(model="gemini-x", text="t", temperature=n / 10)
            await provider._template(request, shape_of(request))
        assert len(provider._templates) == 3


@pytest.mark.parametrize("broken", ["session unused", "mark gone", "connections of another make"])
async def test_an_sdk_that_changed_is_used_the_plain_way_with_one_warning(
    far_side: Any, broken: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    if broken == "session unused":
        monkeypatch.setattr(sdk, "sends_on", lambda *_: False)
    elif broken == "mark gone":
        monkeypatch.setattr(gemini, "marked", lambda request: request)  # As if the SDK rewrote what it is given.
    else:

        def unknown(*_: Any) -> None:
            raise AttributeError("'Connection' object has no attribute 'protocol'")

        monkeypatch.setattr(lines._Line, "__init__", unknown)  # As if aiohttp called it something else.
    caplog.set_level(logging.WARNING)
    script = far_side.says(far_side.http(far_side.answer(far_side.picture_part())))
    async with far_side.serve(script) as server, open_gemini(api_key="k", base_url=server.url) as provider:
        for _ in range(3):
            assert (await provider.call(PICTURE)).picture is not None
        assert provider.transport == "sdk"
    assert len([r for r in caplog.records if "using transport sdk" in r.getMessage()]) == 1


async def test_vertex_templates_carry_a_fresh_token_every_minute(
    far_side: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import google.auth
    from google.auth.credentials import Credentials

    tokens = iter(f"token-{n}" for n in range(1, 9))

    class Renewing(Credentials):
        @property
        def expired(self) -> bool:
            return True

        def refresh(self, request: Any) -> None:
            self.token = next(tokens)

    monkeypatch.setattr(google.auth, "default", lambda **_: (Renewing(), "project-1"))  # type: ignore[no-untyped-call]
    now = 1000.0
    monkeypatch.setattr(gemini.time, "monotonic", lambda: now)
    script = far_side.says(far_side.http(far_side.answer(far_side.picture_part())))
    async with (
        far_side.serve(script) as server,
        open_gemini(
            backend="vertex",
            api_key="a-developer-key",
            project="project-1",
            location="global",
            base_url=server.url,
        ) as provider,
    ):
        await provider.call(PICTURE)
        await provider.call(PICTURE)
        now += 61
        await provider.call(PICTURE)
    assert [seen.headers["authorization"] for seen in server.seen] == ["Bearer token-1"] * 2 + ["Bearer token-2"]
    assert server.connections == 1, "a new token needs no new connection"
    assert server.seen[0].line == (
        "POST /v1beta1/projects/project-1/locations/global/publishers/google/models/"
        "gemini-nano-banana-2.1:generateContent HTTP/1.1"
    )
    assert "x-goog-api-key" not in server.seen[0].headers


async def test_a_template_refuses_a_request_that_holds_a_mark_twice() -> None:
    body = json.dumps({"a": "groundswell-mark-of-the-text", "b": "groundswell-mark-of-the-text"}).encode()
    request = ClientRequest("POST", URL("http://x"), loop=asyncio.get_running_loop())
    with pytest.raises(Exception, match="2 times"):
        Template(template.Captured(request, body), pictures=0, system=False, seed=False, made_at=0.0)


async def test_our_request_is_the_one_an_sdk_user_would_write_by_hand() -> None:
    """The SDK over its httpx transport, written as its documentation has it, watched by respx."""
    with respx.mock(base_url="https://generativelanguage.googleapis.com") as router:
        route = router.post("/v1beta/models/gemini-nano-banana-2.1:generateContent").respond(json={"candidates": []})
        async with httpx.AsyncClient() as http_client:
            options = types.HttpOptions(httpx_async_client=http_client, api_version="v1beta")
            client = genai.Client(api_key="k", http_options=options)
            await client.aio.models.generate_content(
                model="gemini-nano-banana-2.1",
                contents="A vigil at dusk",
                config=types.GenerateContentConfig(
                    response_modalities=["IMAGE"],
                    image_config=types.ImageConfig(aspect_ratio="16:9", image_size="2K"),
                ),
            )
            client.close()
        by_hand = json.loads(route.calls.last.request.content)
    async with open_gemini(api_key="k") as provider:
        ours = json.loads((await captured(provider, PICTURE, [])).body)
    assert ours == by_hand


# ------------------------------------------------------------------------------------ answers


def reference_reading(body: bytes) -> tuple[bytes | None, int, str | None]:
    """Picture, number of further ones, text: by a plain JSON parser."""
    parts = json.loads(body)["candidates"][0]["content"]["parts"]
    shown = [part for part in parts if not part.get("thought")]
    pictures = [base64.b64decode(part["inlineData"]["data"]) for part in shown if "inlineData" in part]
    texts = [part["text"] for part in shown if part.get("text") and "inlineData" not in part]
    return (pictures[0] if pictures else None), max(0, len(pictures) - 1), "".join(texts) or None


BLOBS = st.binary(min_size=0, max_size=1500)
PARTS = st.lists(
    st.one_of(
        st.builds(
            lambda data: {"inlineData": {"mimeType": "image/png", "data": base64.b64encode(data).decode()}}, BLOBS
        ),
        st.builds(
            lambda data: {"inlineData": {"data": base64.b64encode(data).decode()}, "thought": True, "extra": 1}, BLOBS
        ),
        st.builds(lambda text: {"text": text}, st.sampled_from(['"data": "', "data", '"data"', "@0", "@1", "plain"])),
        st.builds(lambda text: {"text": text, "thought": True}, st.text(max_size=8)),
        st.builds(lambda data: {"thoughtSignature": base64.b64encode(data).decode(), "data": "@0"}, BLOBS),
    ),
    max_size=6,
)


@given(PARTS, st.sampled_from([None, 0, 2]), st.booleans())
def test_reading_by_cutting_equals_reading_by_parsing(
    parts: list[Any], indent: int | None, wants_picture: bool
) -> None:
    answer = {
        "candidates": [{"content": {"parts": parts}, "finishReason": "STOP"}],
        "usageMetadata": {"totalTokenCount": 9},
    }
    body = json.dumps(answer, indent=indent).encode()
    picture, extra, text = reference_reading(body)
    for buffer in (body, bytearray(body)):
        if (picture is None) if wants_picture else (text is None):
            with pytest.raises(ProviderError) as caught:
                read_answer(buffer, {}, wants_picture=wants_picture)
            assert caught.value.usage == Usage(total_tokens=9)
            continue
        response = read_answer(buffer, {}, wants_picture=wants_picture)
        assert response.extra_pictures == extra
        assert response.text == text
        if wants_picture:
            assert response.picture is not None
            assert response.picture.data == picture


DATA = hashlib.shake_256(b"data").digest(3001) + b"\xff\xfe\xfb" * 40


def said(encoded: str) -> bytes:
    return (
        b'{"candidates":[{"content":{"parts":[{"inlineData":{"mimeType":"image/png","data":"%b"}}]}}]}'
        % encoded.encode()
    )


@pytest.mark.parametrize(
    "encoded",
    [
        base64.b64encode(DATA).decode(),
        base64.b64encode(DATA).decode().rstrip("="),
        base64.urlsafe_b64encode(DATA).decode(),
        base64.urlsafe_b64encode(DATA).decode().rstrip("="),
        base64.b64encode(DATA).decode().replace("/", r"\/"),
        base64.b64encode(DATA).decode().replace("+", r"\u002b").replace("=", r"\u003d"),
        base64.encodebytes(DATA).decode().replace("\n", r"\n"),
        base64.encodebytes(DATA).decode().replace("\n", r"\r\n"),
    ],
    ids=["plain", "unpadded", "urlsafe", "urlsafe unpadded", "escaped slashes", "escaped", "lines", "crlf"],
)
def test_base64_is_read_in_every_dress_it_wears(encoded: str) -> None:
    response = read_answer(said(encoded), {}, wants_picture=True)
    assert response.picture is not None
    assert response.picture.data == DATA


@pytest.mark.parametrize("damage", ["A", "*", "é", "\\\\", "\\uD800"])
def test_damaged_base64_is_a_bad_image_and_its_bytes_are_kept(damage: str) -> None:
    encoded = pybase64.b64encode(DATA).decode()
    body = said(encoded[:100] + damage + encoded[100 + (damage != "A") :])
    with pytest.raises(ProviderError) as caught:
        read_answer(body, {}, wants_picture=True)
    assert caught.value.kind is ErrorKind.BAD_IMAGE
    assert caught.value.bad_bytes is not None
    assert caught.value.bad_bytes.startswith(encoded[:100].encode())


def test_an_empty_picture_is_a_picture_of_no_bytes_for_the_store_to_refuse() -> None:
    response = read_answer(said(""), {}, wants_picture=True)
    assert response.picture is not None
    assert response.picture.data == b""


@given(st.binary(max_size=200))
def test_any_200_body_is_an_answer_or_a_provider_error(body: bytes) -> None:
    for candidate in (body, b'{"candidates":[' + body, b'{"data":"' + b"A" * 600 + body):
        with pytest.raises(ProviderError):
            read_answer(candidate, {}, wants_picture=True)


def test_finish_message_reaches_the_reader() -> None:
    body = json.dumps(
        {"candidates": [{"finishReason": "IMAGE_SAFETY", "finishMessage": "Try a different prompt"}]}
    ).encode()
    with pytest.raises(ProviderError, match="IMAGE_SAFETY: Try a different prompt"):
        read_answer(body, {}, wants_picture=True)


def test_picture_marks_show_a_change_of_alphabet() -> None:
    mark = base64.urlsafe_b64encode(picture_mark(3))
    assert b"-" in mark
    assert b"_" in mark
