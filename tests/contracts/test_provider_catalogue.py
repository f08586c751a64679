"""Every fault that the simulator knows, over a real socket, by both transports: one outcome each."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from engine.errors import ProviderError
from engine.providers import wire
from engine.providers.gemini import open_gemini
from engine.simulator import CATALOGUE, Faults, Quota, Simulator
from schemas.job import Request
from schemas.outcome import ErrorKind

K = ErrorKind
PICTURE = Request(model="gemini-nano-banana-2.1", text="A vigil at dusk", aspect_ratio="1:1", resolution="1K", seed=7)
TEXT = Request(
    model="gemini-3.1-flash-lite",
    text="Describe it",
    answer_schema={"type": "object", "properties": {"caption": {"type": "string"}}, "required": ["caption"]},
)
ANSWERED = "an answer, for the store or the stage to judge"

EXPECTED: dict[str, ErrorKind | str] = {
    "http_400": K.INVALID,
    "http_401": K.AUTH,
    "http_403": K.AUTH,
    "http_404": K.MODEL,
    "http_408": K.SERVER,
    "http_413": K.TOO_LARGE,
    "http_499": K.SERVER,
    "http_500": K.SERVER,
    "http_501": K.SERVER,
    "http_502": K.SERVER,
    "http_503": K.OVERLOADED,
    "http_504": K.SERVER,
    "http_429": K.RATE_LIMITED,
    "quota_bare": K.OVERLOADED,
    "quota_zero": K.NO_QUOTA,
    "quota_day": K.QUOTA_DAY,
    "quota_spend": K.QUOTA_SPEND,
    "quota_prepay": K.NO_QUOTA,
    "quota_disagrees": K.RATE_LIMITED,
    "quota_retry_after": K.RATE_LIMITED,
    "bad_key": K.AUTH,
    "leaked_key": K.AUTH,
    "disabled_api": K.AUTH,
    "wrong_region": K.REGION,
    "no_billing": K.REGION,
    "html_200": K.BAD_ANSWER,
    "html_502": K.SERVER,
    "error_in_200": K.OVERLOADED,
    "empty_200": K.UNKNOWN,
    "hang": K.UNKNOWN,
    "close_before_headers": K.UNKNOWN,
    "no_candidate": K.NO_PICTURE,
    "no_parts": K.NO_PICTURE,
    "block_safety": K.REFUSED,
    "block_other": K.REFUSED,
    "block_blocklist": K.REFUSED,
    "block_prohibited_content": K.REFUSED,
    "block_image_safety": K.REFUSED,
    "block_model_armor": K.REFUSED,
    "block_jailbreak": K.REFUSED,
    "finish_max_tokens": K.TRUNCATED,
    "finish_safety": K.REFUSED,
    "finish_recitation": K.REFUSED,
    "finish_language": K.NO_PICTURE,
    "finish_other": K.NO_PICTURE,
    "finish_blocklist": K.REFUSED,
    "finish_prohibited_content": K.REFUSED,
    "finish_spii": K.REFUSED,
    "finish_malformed_function_call": K.NO_PICTURE,
    "finish_image_safety": K.REFUSED,
    "finish_image_prohibited_content": K.REFUSED,
    "finish_image_other": K.NO_PICTURE,
    "finish_no_image": K.NO_PICTURE,
    "finish_image_recitation": K.REFUSED,
    "finish_unexpected_tool_call": K.NO_PICTURE,
    "finish_malformed_response": K.NO_PICTURE,
    "finish_pup_limited_disabled": K.AUTH,
    "finish_continuation": K.NO_PICTURE,
    "text_for_picture": K.NO_PICTURE,
    "several_pictures": ANSWERED,
    "thought_pictures": ANSWERED,
    "wrong_mime": ANSWERED,
    "invalid_base64": K.BAD_IMAGE,
    "not_a_picture": ANSWERED,
    "truncated_picture": ANSWERED,
    "corrupt_picture": ANSWERED,
    "tiny_picture": ANSWERED,
    "blank_picture": ANSWERED,
    "bomb_picture": ANSWERED,
    "empty_picture": ANSWERED,
    "cut_json": K.TRUNCATED,
    "schema_violation": ANSWERED,
    "prose": ANSWERED,
    "fenced_json": ANSWERED,
    "placeholder_texts": ANSWERED,
    "terse_texts": ANSWERED,
    "foreign_texts": ANSWERED,
    "duplicate_keys": ANSWERED,
    "lone_surrogates": ANSWERED,
    "lone_surrogates_outside": ANSWERED,
    "deep_nesting": ANSWERED,
    "nan_numbers": ANSWERED,
    "reset_before_headers": K.UNKNOWN,
    "reset_after_headers": K.UNKNOWN,
    "reset_mid_body": K.UNKNOWN,
    "length_long": K.UNKNOWN,
    "length_short": K.UNKNOWN,
    "truncated_json": K.UNKNOWN,
    "slow_drip": K.UNKNOWN,
    "stalled_body": K.UNKNOWN,
    "endless_body": K.INVALID,
}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def test_every_fault_of_the_catalogue_has_its_outcome_here() -> None:
    assert set(EXPECTED) == set(CATALOGUE)


@pytest.mark.parametrize("transport", ["sdk", "fast"])
@pytest.mark.parametrize("name", EXPECTED)
async def test_a_fault_of_the_catalogue_has_one_outcome(
    name: str, transport: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "BODY_BYTES_MAX", 1 << 19)
    request = TEXT if CATALOGUE[name].of == "text" else PICTURE
    expected = EXPECTED[name]
    late = name in ("hang", "slow_drip", "stalled_body")
    faults = Faults(script={1: name})
    async with (
        Simulator(picture="tiny", faults=faults, api_key="AIzaSyCANARY") as simulator,
        open_gemini(
            api_key="AIzaSyCANARY", base_url=simulator.base_url, transport=transport, timeout_s=0.4 if late else 10
        ) as provider,
    ):
        if expected == ANSWERED:
            response = await provider.call(request)
            assert (response.picture is not None) == request.wants_picture
            assert response.usage.total_tokens > 0
            (response.text or "").encode()  # Half surrogate pairs would raise here, and in every log.
        else:
            with pytest.raises(ProviderError) as caught:
                await provider.call(request)
            error = caught.value
            assert error.kind is expected, error.message
            assert "CANARY" not in repr(error)
            if CATALOGUE[name].paid and name.startswith(("finish_", "text_", "invalid_")):
                assert error.usage is not None
                assert error.usage.total_tokens > 0, "a refusal that was paid for says what it cost"
        assert simulator.stats.requests == 1
        if name != "slow_drip":
            assert (await provider.call(TEXT)).text, "the next call works"
        assert provider.transport == transport


@pytest.mark.parametrize("transport", ["sdk", "fast"])
async def test_the_simulators_quota_is_read_with_its_numbers(transport: Any) -> None:
    async with (
        Simulator(picture="tiny", quotas=Quota(rpm=2)) as simulator,
        open_gemini(api_key="k", base_url=simulator.base_url, transport=transport) as provider,
    ):
        outcomes = await asyncio.gather(*(provider.call(PICTURE) for _ in range(3)), return_exceptions=True)
    (error,) = [outcome for outcome in outcomes if isinstance(outcome, ProviderError)]
    assert error.kind is K.RATE_LIMITED
    assert error.quota_limit == 2
    assert error.retry_after_s is not None
    assert 0 < error.retry_after_s <= 61


@pytest.mark.parametrize("transport", ["sdk", "fast"])
async def test_doctors_questions_are_answered_by_both_transports(transport: Any) -> None:
    async with (
        Simulator(picture="tiny", api_key="right") as simulator,
        open_gemini(api_key="right", base_url=simulator.base_url, transport=transport) as provider,
        open_gemini(api_key="wrong", base_url=simulator.base_url, transport=transport) as stranger,
    ):
        names = [model.name for model in await provider.list_models()]
        assert PICTURE.model in names
        assert await provider.count_tokens(PICTURE) > 0
        for question in (stranger.list_models(), stranger.count_tokens(PICTURE)):
            with pytest.raises(ProviderError) as caught:
                await question
            assert caught.value.kind is K.AUTH
