"""Every fault of the simulator's catalogue, on the wire: none of them may look like a good answer."""

from __future__ import annotations

import io
import json
from typing import Any

import aiohttp
import pybase64
import pytest
from PIL import Image, ImageStat

from engine.simulator import CATALOGUE, Faults, Simulator
from engine.simulator.faults import BLOCK_REASONS, FINISH_REASONS, STATUSES

IMAGE_MODEL = "gemini-nano-banana-2.1"
TEXT_MODEL = "gemini-3.1-flash-lite"
SCHEMA = {
    "type": "object",
    "properties": {"caption": {"type": "string"}, "tags": {"type": "array", "items": {"type": "string"}}},
    "required": ["caption", "tags"],
}
BAD_SENTENCES = {"placeholder_texts", "terse_texts", "foreign_texts"}
LIKE_GOOD_ONES = {"thought_pictures", "several_pictures", "fenced_json", "duplicate_keys", *BAD_SENTENCES}
"""Answers that a careful client can use, or that show their fault only to one who looks closely."""


class Unusable(Exception):
    """What a careful client says of a spoiled answer."""


async def ask(simulator: Simulator, *, picture: bool, prompt: str = "A march", timeout_s: float = 5) -> Any:
    """One call; the decoded JSON. Raises what aiohttp raises, TimeoutError, or Unusable."""
    model = IMAGE_MODEL if picture else TEXT_MODEL
    config = {} if picture else {"responseMimeType": "application/json", "responseJsonSchema": SCHEMA}
    body = {"contents": [{"parts": [{"text": prompt}]}], "generationConfig": config}
    url = f"{simulator.base_url}/v1beta/models/{model}:generateContent"
    timeout = aiohttp.ClientTimeout(total=timeout_s)
    headers = {"x-goog-api-key": "k"}
    async with (
        aiohttp.ClientSession(timeout=timeout) as session,
        session.post(url, json=body, headers=headers) as answer,
    ):
        raw = await answer.read()
        if answer.status != 200:
            raise Unusable(answer.status, raw)
    try:
        return json.loads(raw, parse_constant=lambda c: (_ for _ in ()).throw(ValueError(c)))
    except ValueError as e:
        raise Unusable(str(e)) from e


def check_picture(answer: Any) -> None:
    """Raises Unusable for anything but one good picture."""
    try:
        (candidate,) = answer["candidates"]
        parts = [p for p in candidate["content"]["parts"] if not p.get("thought")]
        (blob,) = [p["inlineData"] for p in parts]
        data = pybase64.b64decode(blob["data"], validate=True)
        with Image.open(io.BytesIO(data)) as image:
            image.load()
            variance = max(ImageStat.Stat(image.convert("RGB")).var)
            good = Image.MIME[image.format or ""] == blob["mimeType"] and min(image.size) >= 16 and variance > 10
    except Exception as e:
        raise Unusable(repr(e)) from e
    if not good or candidate["finishReason"] != "STOP":
        raise Unusable("a picture, but a bad one")


def check_text(answer: Any) -> None:
    """Raises Unusable for anything but text that keeps the schema, strictly."""
    try:
        (candidate,) = answer["candidates"]
        (part,) = candidate["content"]["parts"]
        told = json.loads(part["text"], parse_constant=lambda c: (_ for _ in ()).throw(ValueError(c)))
        part["text"].encode()
        json.dumps(told, ensure_ascii=False).encode()
        good = set(told) == {"caption", "tags"} and isinstance(told["caption"], str) and isinstance(told["tags"], list)
    except (Exception, RecursionError) as e:
        raise Unusable(repr(e)) from e
    if not good or candidate["finishReason"] != "STOP":
        raise Unusable("text, but a bad one")


@pytest.mark.parametrize("kind", sorted(CATALOGUE))
async def test_a_fault_spoils_its_call_and_no_other(kind: str) -> None:
    fault = CATALOGUE[kind]
    picture = fault.of != "text"
    check = check_picture if picture else check_text
    slow = kind in ("hang", "stalled_body", "slow_drip", "endless_body")
    async with Simulator(
        picture="pool" if slow else "tiny", format="jpeg", faults=Faults(script={1: kind})
    ) as simulator:
        if kind in LIKE_GOOD_ONES:
            answer = await ask(simulator, picture=picture)
            if kind == "several_pictures":
                with pytest.raises(Unusable):
                    check(answer)
                assert len(answer["candidates"][0]["content"]["parts"]) == 3
            elif kind == "thought_pictures":
                check(answer)
                assert [bool(p.get("thought")) for p in answer["candidates"][0]["content"]["parts"]] == [1, 1, 1, 0]
            elif kind in BAD_SENTENCES:
                check(answer)
                assert json.loads(answer["candidates"][0]["content"]["parts"][0]["text"])["caption"].endswith(
                    {"placeholder_texts": "1 here]", "terse_texts": "M1", "foreign_texts": "foto 1."}[kind]
                )
            elif kind == "duplicate_keys":
                pairs = json.loads(answer["candidates"][0]["content"]["parts"][0]["text"], object_pairs_hook=list)
                assert [key for key, _ in pairs].count("caption") == 2
            else:
                with pytest.raises(Unusable):
                    check(answer)
        else:
            with pytest.raises((aiohttp.ClientError, TimeoutError, Unusable)):
                check(await ask(simulator, picture=picture, timeout_s=1 if slow else 5))
        check(await ask(simulator, picture=picture))
        assert simulator.stats.by_fault[kind] <= 1  # a call that hangs is counted when it ends
        assert simulator.stats.paid == (2 if fault.paid else 1)
        assert simulator.stats.ok == 1


@pytest.mark.parametrize(
    ("kind", "code", "status", "words"),
    [(f"http_{s}", s, None, None) for s in STATUSES if s != 429]
    + [
        ("http_429", 429, "RESOURCE_EXHAUSTED", "PerMinute"),
        ("quota_zero", 429, "RESOURCE_EXHAUSTED", "limit: 0, model: "),
        ("quota_day", 429, "RESOURCE_EXHAUSTED", "GenerateRequestsPerDayPerProjectPerModel"),
        ("quota_prepay", 429, "RESOURCE_EXHAUSTED", "prepayment credits are depleted"),
        ("leaked_key", 403, "PERMISSION_DENIED", "reported as leaked"),
        ("bad_key", 400, "INVALID_ARGUMENT", "API_KEY_INVALID"),
        ("wrong_region", 400, "FAILED_PRECONDITION", "User location is not supported"),
        ("no_billing", 400, "FAILED_PRECONDITION", "billing"),
    ],
)
async def test_an_error_has_googles_shape(kind: str, code: int, status: str | None, words: str | None) -> None:
    async with Simulator(picture="tiny", faults=Faults({kind: 1.0})) as simulator:
        with pytest.raises(Unusable) as caught:
            await ask(simulator, picture=True)
    http_status, raw = caught.value.args
    error = json.loads(raw)["error"]
    assert http_status == error["code"] == code
    assert error["message"]
    assert error["status"] == status if status else error["status"].isupper()
    assert words is None or words in raw.decode()


async def test_a_bare_429_has_no_details_and_the_disagreeing_one_two_delays() -> None:
    async with Simulator(picture="tiny", faults=Faults(script={1: "quota_bare", 2: "quota_disagrees"})) as simulator:
        with pytest.raises(Unusable) as caught:
            await ask(simulator, picture=True)
        assert set(json.loads(caught.value.args[1])["error"]) == {"code", "message", "status"}
        with pytest.raises(Unusable) as caught:
            await ask(simulator, picture=True)
        error = json.loads(caught.value.args[1])["error"]
        assert "Please retry in 51.386192716s." in error["message"]
        assert error["details"][-1]["retryDelay"] == "14s"


@pytest.mark.parametrize("reason", BLOCK_REASONS)
async def test_a_blocked_prompt_has_no_candidates_and_a_reason(reason: str) -> None:
    async with Simulator(picture="tiny", faults=Faults({f"block_{reason.lower()}": 1.0})) as simulator:
        answer = await ask(simulator, picture=True)
        assert answer["promptFeedback"] == {"blockReason": reason}
        assert "candidates" not in answer
        assert simulator.stats.paid == 0


@pytest.mark.parametrize("reason", FINISH_REASONS)
async def test_a_filtered_picture_has_a_finish_reason_and_no_parts(reason: str) -> None:
    async with Simulator(picture="tiny", faults=Faults({f"finish_{reason.lower()}": 1.0})) as simulator:
        (candidate,) = (await ask(simulator, picture=True))["candidates"]
    assert candidate["finishReason"] == reason
    assert candidate["content"] == {"role": "model"}


async def test_resets_are_resets_and_lengths_lie() -> None:
    faults = Faults(
        script={1: "reset_before_headers", 2: "reset_mid_body", 3: "length_long", 4: "close_before_headers"}
    )
    async with Simulator(picture="tiny", faults=faults) as simulator:
        with pytest.raises(aiohttp.ClientOSError, match="reset"):
            await ask(simulator, picture=True)
        for expected in (aiohttp.ClientPayloadError, aiohttp.ClientPayloadError, aiohttp.ServerDisconnectedError):
            with pytest.raises((expected, aiohttp.ClientOSError)):
                await ask(simulator, picture=True)


async def test_a_plan_for_a_prompt_ends_and_then_it_succeeds() -> None:
    faults = Faults(when={"march": ["http_500", None, "http_503"]})
    async with Simulator(picture="tiny", faults=faults) as simulator:
        seen: list[int] = []
        for prompt in ("A march", "A vigil", "A march", "A march", "A march"):
            try:
                check_picture(await ask(simulator, picture=True, prompt=prompt))
                seen.append(200)
            except Unusable as e:
                seen.append(e.args[0])
    assert seen == [500, 200, 200, 503, 200]


def chosen(faults: Faults, order: list[int]) -> dict[int, str | None]:
    kinds: dict[int, str | None] = {}
    for call, i in enumerate(order, 1):
        fault = faults.choose(call=call, time=1, digest=f"digest {i}", text=f"prompt {i}", picture=True)
        kinds[i] = None if fault is None else fault.name
    return kinds


def test_chance_depends_on_the_seed_and_the_question_not_on_the_order() -> None:
    chances = {"http_500": 0.2, "blank_picture": 0.1, "cut_json": 0.1}
    forward = chosen(Faults(chances, seed=1), list(range(2000)))
    assert forward == chosen(Faults(chances, seed=1), list(reversed(range(2000))))
    assert forward != chosen(Faults(chances, seed=2), list(range(2000)))
    counts = {kind: list(forward.values()).count(kind) for kind in (*chances, None)}
    assert 330 < counts["http_500"] < 470
    assert 140 < counts["blank_picture"] < 260
    assert counts["cut_json"] == 0  # it happens to texts only


@pytest.mark.parametrize("bad", [{"no_such": 0.1}, {"http_500": 1.5}, {"http_500": 0.7, "http_503": 0.7}])
def test_faults_that_make_no_sense_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError):
        Faults(bad)
