"""The simulator as a client meets it: through the real google-genai SDK, over a real socket."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import signal
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal

import aiohttp
import imagehash
import pytest
from google import genai
from google.genai import errors, types
from PIL import Image
from pydantic import BaseModel, Field

from engine.simulator import Faults, Latency, Quota, Simulator

IMAGE_MODEL = "gemini-nano-banana-2.1"
TEXT_MODEL = "gemini-3.1-flash-lite"


@asynccontextmanager
async def client_of(simulator: Simulator, key: str = "any") -> AsyncIterator[Any]:
    # A session of ours: the SDK's own subclass of aiohttp's warns, and warnings are errors here.
    async with aiohttp.ClientSession() as session:
        options = types.HttpOptions(
            base_url=simulator.base_url,
            api_version="v1beta",
            aiohttp_client=session,
            retry_options=types.HttpRetryOptions(attempts=1),
        )
        yield genai.Client(api_key=key, http_options=options).aio


async def draw(
    client: Any, prompt: str = "A rally on the square at dusk", model: str = IMAGE_MODEL, **image: Any
) -> Any:
    config = types.GenerateContentConfig(response_modalities=["IMAGE"], image_config=types.ImageConfig(**image))
    return await client.models.generate_content(model=model, contents=prompt, config=config)


def blob(response: Any) -> Any:
    (part,) = response.candidates[0].content.parts
    return part.inline_data


def opened(response: Any) -> Image.Image:
    data = blob(response)
    image = Image.open(io.BytesIO(data.data))
    assert Image.MIME[image.format or ""] == data.mime_type
    image.load()
    return image


@pytest.mark.parametrize(
    ("model", "ratio", "size", "pixels"),
    [
        (IMAGE_MODEL, "1:1", "1K", (1024, 1024)),
        (IMAGE_MODEL, "16:9", "1K", (1376, 768)),
        (IMAGE_MODEL, "9:16", "1K", (768, 1376)),
        (IMAGE_MODEL, "4:3", "2K", (2400, 1792)),
        ("gemini-2.5-flash-image", "16:9", "1K", (1344, 768)),
        ("gemini-3.1-flash-image", "1:1", "0.5K", (512, 512)),
    ],
)
async def test_a_picture_has_the_pixels_that_were_asked_for(
    model: str, ratio: str, size: str, pixels: tuple[int, int]
) -> None:
    async with Simulator(format="jpeg") as simulator, client_of(simulator) as client:
        response = await draw(client, model=model, aspect_ratio=ratio, image_size=size)
        assert opened(response).size == pixels
        assert response.candidates[0].finish_reason == "STOP"
        assert response.model_version == model
        assert response.response_id


async def test_usage_counts_prompt_thoughts_and_picture_apart() -> None:
    async with Simulator(picture="tiny") as simulator, client_of(simulator) as client:
        usage = (await draw(client, "A march " * 40)).usage_metadata
        assert usage.prompt_token_count == 80
        assert usage.candidates_token_count == 1120
        assert [(d.modality, d.token_count) for d in usage.candidates_tokens_details] == [("IMAGE", 1120)]
        assert usage.thoughts_token_count > 0
        assert usage.total_token_count == 80 + 1120 + usage.thoughts_token_count


async def test_the_same_prompt_is_drawn_the_same_and_others_look_different() -> None:
    prompts = ["A march at dawn", "A vigil by night", "Farmers in a village", "Students on the campus at noon"]
    async with Simulator(format="jpeg") as simulator, client_of(simulator) as client:
        first = [await draw(client, p) for p in prompts]
    async with Simulator(format="jpeg", seed=5) as simulator, client_of(simulator) as client:
        again = await draw(client, prompts[0])
    assert blob(again).data == blob(first[0]).data
    hashes = [imagehash.phash(opened(r)) for r in first]
    distances = [a - b for i, a in enumerate(hashes) for b in hashes[:i]]
    assert min(distances) > 10


@pytest.mark.parametrize("format", ["png", "jpeg"])
@pytest.mark.parametrize("picture", ["drawn", "pool", "tiny"])
async def test_every_picture_says_that_it_is_simulated_and_no_two_answers_are_equal(
    format: Literal["png", "jpeg"], picture: Literal["drawn", "pool", "tiny"]
) -> None:
    async with Simulator(format=format, picture=picture) as simulator, client_of(simulator) as client:
        pictures = [blob(await draw(client, f"A rally, take {i}")).data for i in range(5)]
    assert len({hashlib.sha256(p).digest() for p in pictures}) == 5
    for data in pictures:
        with Image.open(io.BytesIO(data)) as image:
            image.load()
            software = image.info.get("Software") or image.getexif().get(0x0131)
            assert software == "groundswell simulator"
            assert min(image.size) >= 16
    if picture == "pool":
        expected = 1_500_000 if format == "png" else 200_000
        assert 0.7 * expected < len(pictures[0]) < 1.3 * expected


class Labels(BaseModel):
    time_of_day: Literal["dawn", "day", "dusk", "night"]
    crowd_size: Literal["1-5", "6-20", "21-100", "101-1000", ">1000"]
    signs: bool
    confidence: float = Field(ge=0.5, le=0.9)


class Told(BaseModel):
    labels: Labels
    captions: list[str] = Field(min_length=2, max_length=2)
    comments: list[str] = Field(min_length=5, max_length=5)
    note: str | None


async def test_structured_text_keeps_the_schema_and_speaks_of_the_attached_picture() -> None:
    config = types.GenerateContentConfig(response_mime_type="application/json", response_schema=Told)
    async with Simulator() as simulator, client_of(simulator) as client:
        night = blob(await draw(client, "A vigil of hundreds by night before the parliament", aspect_ratio="21:9"))
        day = blob(await draw(client, "A handful of people by day in the park", aspect_ratio="21:9"))
        told: list[Told] = []
        for picture in (night, day):
            part = types.Part.from_bytes(data=picture.data, mime_type=picture.mime_type)
            answer = await client.models.generate_content(
                model=TEXT_MODEL, contents=[part, "Label and caption it."], config=config
            )
            assert answer.usage_metadata.prompt_tokens_details[1].modality == "IMAGE"
            told.append(answer.parsed)
        assert [t.labels.time_of_day for t in told] == ["night", "day"]
        assert [t.labels.crowd_size for t in told] == ["101-1000", "6-20"]
        assert "government building" in told[0].captions[0]
        assert "park" in told[1].captions[0]
        assert len(set(told[0].comments)) == 5
        assert told[0].comments != told[1].comments


async def test_an_answer_longer_than_allowed_is_cut_with_max_tokens() -> None:
    config = types.GenerateContentConfig(
        response_mime_type="application/json", response_json_schema=Told.model_json_schema(), max_output_tokens=20
    )
    async with Simulator() as simulator, client_of(simulator) as client:
        answer = await client.models.generate_content(model=TEXT_MODEL, contents="Tell", config=config)
    assert answer.candidates[0].finish_reason == "MAX_TOKENS"
    with pytest.raises(json.JSONDecodeError):
        json.loads(answer.text)


async def test_models_are_listed_in_pages_and_an_unknown_one_is_googles_404() -> None:
    async with Simulator(models=["gemini-9-image"]) as simulator, client_of(simulator) as client:
        names = [m.name async for m in await client.models.list(config={"page_size": 3})]
        assert len(names) == len(set(names)) > 6
        assert "models/gemini-9-image" in names
        assert (await client.models.get(model=IMAGE_MODEL)).name == f"models/{IMAGE_MODEL}"
        assert (await client.models.count_tokens(model=TEXT_MODEL, contents="a" * 400)).total_tokens == 100
        with pytest.raises(errors.ClientError) as caught:
            await draw(client, model="gemini-2.5-pro-image")
    assert caught.value.code == 404
    assert "models/gemini-2.5-pro-image is not found for API version v1beta" in str(caught.value)


async def test_keys_are_refused_in_googles_words() -> None:
    async with Simulator(picture="tiny", api_key="good", leaked_keys=["leaked"]) as simulator:
        async with client_of(simulator, "good") as client:
            assert blob(await draw(client)).data
        for key, code, words in (("bad", 400, "API key not valid"), ("leaked", 403, "reported as leaked")):
            async with client_of(simulator, key) as client:
                with pytest.raises(errors.ClientError, match=words) as caught:
                    await draw(client)
                assert caught.value.code == code
        async with aiohttp.ClientSession() as session:
            url = f"{simulator.base_url}/v1beta/models"
            async with session.get(url) as answer:
                assert answer.status == 403
            async with session.get(url, params={"key": "good"}) as answer:
                assert answer.status == 200


@pytest.mark.parametrize(
    ("model", "config", "words"),
    [
        (IMAGE_MODEL, {"image_config": {"aspect_ratio": "7:5"}}, "aspect_ratio must be one of"),
        ("gemini-3.1-flash-lite-image", {"image_config": {"image_size": "4K"}}, "image_size must be one of"),
        (TEXT_MODEL, {"response_modalities": ["IMAGE"]}, "not supported by the model"),
        (IMAGE_MODEL, {"response_mime_type": "application/json"}, "JSON mode is not enabled"),
    ],
)
async def test_what_no_model_can_do_is_a_400(model: str, config: dict[str, Any], words: str) -> None:
    async with Simulator(picture="tiny") as simulator, client_of(simulator) as client:
        with pytest.raises(errors.ClientError, match=words) as caught:
            await client.models.generate_content(model=model, contents="x", config=config)
        assert caught.value.code == 400
        assert simulator.stats.paid == 0


async def test_a_quota_rejects_with_googles_body_and_can_be_changed_while_it_runs() -> None:
    async with Simulator(picture="tiny", quotas=Quota(rpm=2)) as simulator, client_of(simulator) as client:
        for _ in range(2):
            await draw(client)
        with pytest.raises(errors.ClientError) as caught:
            await draw(client)
        assert caught.value.code == 429
        details = {d["@type"].rsplit(".", 1)[1]: d for d in caught.value.details["error"]["details"]}
        violation = details["QuotaFailure"]["violations"][0]
        assert violation["quotaValue"] == "2"
        assert violation["quotaId"] == "GenerateRequestsPerMinutePerProjectPerModel-PaidTier2"
        assert violation["quotaDimensions"]["model"] == IMAGE_MODEL
        delay_s = float(details["RetryInfo"]["retryDelay"].removesuffix("s"))
        assert 55 < delay_s <= 60
        assert f"limit: 2, model: {IMAGE_MODEL}\nPlease retry in " in caught.value.message
        simulator.set_quota(Quota(rpm=3))
        await draw(client)
        with pytest.raises(errors.ClientError):
            await draw(client)
        # The other model has a quota of its own.
        await client.models.generate_content(model=TEXT_MODEL, contents="x")
        assert (simulator.stats.rejected, simulator.stats.ok) == (2, 4)


async def test_calls_wait_side_by_side_and_are_counted() -> None:
    latency = Latency(median_s=0.08, sigma=0.2)
    async with Simulator(picture="tiny", latency=latency) as simulator, client_of(simulator) as client:
        began = asyncio.get_running_loop().time()
        await asyncio.gather(*(draw(client, f"A rally, take {i % 10}") for i in range(30)))
        took_s = asyncio.get_running_loop().time() - began
        stats = simulator.stats
        assert 0.08 < took_s < 30 * 0.08 / 2
        assert 15 < stats.in_flight_max <= 30
        assert (stats.calls, stats.ok, stats.paid, stats.in_flight) == (30, 30, 30, 0)
        assert (len(stats.paid_for), stats.paid_twice) == (10, 20)


async def test_it_streams_one_chunk() -> None:
    async with Simulator(picture="tiny") as simulator, client_of(simulator) as client:
        chunks = [c async for c in await client.models.generate_content_stream(model=TEXT_MODEL, contents="Tell")]
    assert "".join(c.text for c in chunks)


@pytest.mark.parametrize("asks", ["gzip", "identity"])
async def test_it_compresses_only_for_those_who_ask(asks: str) -> None:
    body = {"contents": [{"parts": [{"text": "A march"}]}]}
    url_path = f"/v1beta/models/{IMAGE_MODEL}:generateContent"
    headers = {"x-goog-api-key": "k", "Accept-Encoding": asks}
    async with (
        Simulator(picture="tiny", gzip=True, chunked=True) as simulator,
        aiohttp.ClientSession() as session,
        session.post(simulator.base_url + url_path, json=body, headers=headers) as answer,
    ):
        assert answer.headers.get("Content-Encoding") == ("gzip" if asks == "gzip" else None)
        assert answer.headers.get("Transfer-Encoding") == "chunked"
        assert (await answer.json())["candidates"]


async def test_vertex_paths_take_a_bearer_token() -> None:
    path = f"/v1beta1/projects/p/locations/global/publishers/google/models/{IMAGE_MODEL}"
    body = {"contents": {"role": "user", "parts": [{"text": "A march"}]}}
    async with Simulator(picture="tiny") as simulator, aiohttp.ClientSession() as session:
        url = f"{simulator.base_url}{path}:generateContent"
        async with session.post(url, json=body, headers={"Authorization": "Bearer t"}) as answer:
            assert (await answer.json())["candidates"][0]["finishReason"] == "STOP"
        async with session.post(url, json=body) as answer:
            assert answer.status == 401
        async with session.post(url.replace(IMAGE_MODEL, "nope"), json=body, headers={"Authorization": "B"}) as answer:
            assert answer.status == 404
            assert "Publisher Model" in await answer.text()


def test_it_runs_in_a_thread_and_is_counted_and_steered_from_outside() -> None:
    def ask(path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {"x-goog-api-key": "k", "Content-Type": "application/json"}
        with urllib.request.urlopen(urllib.request.Request(simulator.base_url + path, data, headers)) as answer:
            return json.load(answer)

    path = f"/v1beta/models/{IMAGE_MODEL}:generateContent"
    body = {"contents": [{"parts": [{"text": "A march"}]}]}
    with Simulator.in_thread(picture="tiny") as simulator:
        assert ask(path, body)["candidates"]
        assert ask("/_sim/stats")["ok"] == 1
        ask("/_sim/config", {"quotas": {"*": {"rpm": 1}}, "faults": {"no_candidate": 1.0}, "reset_stats": True})
        assert ask(path, body)["candidates"] == []
        with pytest.raises(urllib.error.HTTPError, match="429") as caught:
            ask(path, body)
        caught.value.close()
        stats = ask("/_sim/stats?questions")
        assert (stats["ok"], stats["rejected"], stats["by_fault"]) == (0, 1, {"no_candidate": 1})
        assert list(stats["asked"].values()) == [1]
        with pytest.raises(urllib.error.HTTPError, match="400") as caught:
            ask("/_sim/config", {"faults": {"no_such": 0.5}})
        assert "no_such" in json.load(caught.value)["error"]
        caught.value.close()


def test_a_port_that_is_taken_is_said_in_the_callers_thread() -> None:
    with (
        Simulator.in_thread(picture="tiny") as first,
        pytest.raises(OSError, match="address already in use"),
        Simulator.in_thread(port=int(first.base_url.rsplit(":", 1)[1])),
    ):
        pass


def test_it_listens_on_loopback_only() -> None:
    with pytest.raises(ValueError, match=r"0\.0\.0\.0"):
        Simulator(host="0.0.0.0")


@pytest.mark.slow
def test_the_command_says_first_where_it_listens_and_ends_on_interrupt() -> None:
    command = [sys.executable, "-m", "engine.simulator", "--picture", "tiny", "--rpm", "100", "--fault", "http_503=0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        line = process.stdout.readline()
        assert line.startswith("listening on http://127.0.0.1:")
        with urllib.request.urlopen(f"{line.split()[-1]}/_sim/stats") as answer:
            assert json.load(answer)["calls"] == 0
        assert "GOOGLE_GEMINI_BASE_URL=" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
        assert process.stderr.read() == ""


async def test_clients_that_leave_early_leave_no_trace_in_the_logs(caplog: pytest.LogCaptureFixture) -> None:
    async with Simulator(picture="pool", format="jpeg", latency=0.05) as simulator:
        host, port = simulator.base_url.removeprefix("http://").split(":")
        body = b'{"contents": [{"parts": [{"text": "A march"}]}]}'
        head = (
            f"POST /v1beta/models/{IMAGE_MODEL}:generateContent HTTP/1.1\r\nHost: {host}\r\nx-goog-api-key: k\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        ).encode()
        for sent in (head[:40], head + body[:10], head + body, head + body):
            _, writer = await asyncio.open_connection(host, int(port))
            writer.write(sent)
            await writer.drain()
            writer.transport.abort()
        async with client_of(simulator) as client:
            await draw(client)
    assert simulator.stats.in_flight == 0
    assert [r for r in caplog.records if r.levelname in ("ERROR", "CRITICAL")] == []


async def test_ending_the_server_does_not_wait_for_slow_answers() -> None:
    began = asyncio.get_running_loop().time()
    faults = Faults(when={"HANG": "hang"})
    async with asyncio.TaskGroup() as tasks, Simulator(latency=300, faults=faults) as simulator:

        async def ask(prompt: str) -> None:
            async with client_of(simulator) as client:
                with pytest.raises((aiohttp.ClientError, errors.APIError)):
                    await draw(client, prompt)

        for prompt in ("A march", "HANG"):
            tasks.create_task(ask(prompt))
        while simulator.stats.in_flight < 2:  # noqa: ASYNC110 - what is awaited happens on the other side of a socket
            await asyncio.sleep(0.01)
    assert asyncio.get_running_loop().time() - began < 5


async def test_it_speaks_tls_with_a_certificate_of_ones_own(tmp_path: Any) -> None:
    x509 = pytest.importorskip("cryptography.x509")
    import datetime
    import ssl

    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    cert_file, key_file = tmp_path / "cert.pem", tmp_path / "key.pem"
    cert_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    key_file.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain))
    trusting = ssl.create_default_context(cafile=str(cert_file))
    async with (
        Simulator(host="localhost", tls=(str(cert_file), str(key_file))) as simulator,
        aiohttp.ClientSession() as session,
    ):
        assert simulator.base_url.startswith("https://localhost:")
        url = f"{simulator.base_url}/v1beta/models?key=k"
        async with session.get(url, ssl=trusting) as answer:
            assert answer.status == 200
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await session.get(url)
