"""The simulator's pure parts: quotas never let more through than they say, answers keep any schema."""

from __future__ import annotations

import io
import re
from typing import Any

import orjson
import pybase64
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from engine.simulator.answers import answer_text, answer_value
from engine.simulator.encode import jpeg, png
from engine.simulator.marks import read_prompt
from engine.simulator.pictures import draw
from engine.simulator.quotas import Meter, Quota
from engine.simulator.scenes import scene_of

WINDOWS = ("fixed", "sliding", "bucket")


@given(
    gaps=st.lists(st.floats(0, 30), min_size=5, max_size=120),
    limit=st.integers(1, 12),
    window=st.sampled_from(WINDOWS),
    phase_s=st.floats(0, 60),
    count_rejected=st.booleans(),
)
def test_no_more_calls_pass_than_the_window_allows(
    gaps: list[float], limit: int, window: Any, phase_s: float, count_rejected: bool
) -> None:
    meter = Meter(Quota(rpm=limit, window=window, phase_s=phase_s, count_rejected=count_rejected), 100.0)
    now, passed = 100.0, list[float]()
    for gap in gaps:
        now += gap
        if meter.ask(now, tokens=1, images=1, usd=0.0) is None:
            passed.append(now)
    allowed = {"sliding": limit, "fixed": 2 * limit, "bucket": 2 * limit}[window]
    for start in passed:
        assert sum(start <= t < start + 60 for t in passed) <= allowed
    assert passed, "the first call always passes"


@given(gaps=st.lists(st.floats(0, 5), min_size=5, max_size=60), window=st.sampled_from(WINDOWS))
def test_who_waits_as_long_as_told_passes(gaps: list[float], window: Any) -> None:
    meter = Meter(Quota(rpm=3, tpm=50, window=window), 0.0)
    now = 0.0
    for gap in gaps:
        now += gap
        rejection = meter.ask(now, tokens=10, images=0, usd=0.0)
        if rejection is not None:
            assert 0 < rejection.wait_s <= 60
            assert meter.ask(now + rejection.wait_s + 1e-6, tokens=10, images=0, usd=0.0) is None
            now += rejection.wait_s + 1e-6


def test_every_limit_is_named_when_it_is_met() -> None:
    quota = Quota(rpm=10, rpd=10, tpm=100, ipm=1, usd_per_10min=0.05)
    meter = Meter(quota, 0.0)
    assert meter.ask(0.0, tokens=90, images=1, usd=0.04) is None
    rejection = meter.ask(1.0, tokens=20, images=1, usd=0.04)
    assert rejection is not None
    assert dict(rejection.violated) == {"tpm": 100, "ipm": 1, "usd_per_10min": 0.05}
    assert rejection.wait_s == pytest.approx(599)


def test_a_limit_of_zero_rejects_everything() -> None:
    for window in WINDOWS:
        meter = Meter(Quota(rpm=0, window=window), 0.0)
        assert all(meter.ask(float(t), tokens=1, images=1, usd=0.0) for t in range(0, 200, 20))


def _schemas() -> st.SearchStrategy[dict[str, Any]]:
    spans = st.tuples(st.integers(-50, 50), st.integers(0, 40))
    leaves = st.one_of(
        st.just({"type": "boolean"}),
        st.just({"type": "STRING", "nullable": True}),
        st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=5, unique=True).map(
            lambda v: {"type": "string", "enum": v}
        ),
        spans.map(lambda s: {"type": "integer", "minimum": s[0], "maximum": s[0] + s[1]}),
        spans.map(lambda s: {"type": "number", "minimum": s[0], "maximum": s[0] + s[1]}),
        spans.map(lambda s: {"type": "string", "minLength": abs(s[0]), "maxLength": abs(s[0]) + s[1] + 1}),
        st.just({"type": ["string", "null"]}),
        st.just({"const": "fixed"}),
    )
    names = st.text("abcdefgh_", min_size=1, max_size=6)

    def deeper(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
        return st.one_of(
            st.dictionaries(names, inner, min_size=1, max_size=4).map(
                lambda p: {"type": "object", "properties": p, "required": list(p)}
            ),
            st.tuples(inner, st.integers(0, 4), st.integers(0, 3)).map(
                lambda t: {"type": "array", "items": t[0], "minItems": t[1], "maxItems": t[1] + t[2]}
            ),
            st.lists(inner, min_size=1, max_size=3).map(lambda options: {"anyOf": options}),
        )

    return st.recursive(leaves, deeper, max_leaves=12)


def keeps(schema: dict[str, Any], value: Any) -> bool:
    """A small validator of what the strategy above makes."""
    if "anyOf" in schema:
        return any(keeps(option, value) for option in schema["anyOf"])
    if "const" in schema:
        return value == schema["const"]
    if "enum" in schema:
        return value in schema["enum"]
    match str(schema["type"]).lower() if isinstance(schema["type"], str) else "string":
        case "object":
            members = schema["properties"]
            return (
                isinstance(value, dict)
                and set(value) == set(members)
                and all(keeps(s, value[n]) for n, s in members.items())
            )
        case "array":
            fits = isinstance(value, list) and schema["minItems"] <= len(value) <= schema["maxItems"]
            return fits and all(keeps(schema["items"], v) for v in value)
        case "boolean":
            return isinstance(value, bool)
        case "integer":
            return type(value) is int and schema["minimum"] <= value <= schema["maximum"]
        case "number":
            return isinstance(value, float) and schema["minimum"] <= value <= schema["maximum"]
        case _:
            return isinstance(value, str) and schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", 9e9)


@settings(max_examples=150)
@given(_schemas(), st.text(max_size=40))
def test_an_answer_keeps_any_schema_and_is_the_same_again(schema: dict[str, Any], text: str) -> None:
    scene = scene_of(text)
    value = answer_value(schema, scene)
    assert keeps(schema, value), (schema, value)
    assert answer_value(schema, scene) == value
    assert orjson.loads(answer_text(schema, scene, as_json=True)) == value


def test_references_recursion_and_order_are_followed() -> None:
    schema = {
        "$ref": "#/$defs/Node",
        "$defs": {
            "Node": {
                "type": "object",
                "properties": {
                    "name": {"type": "string"},
                    "score": {"type": "integer", "multipleOf": 5, "minimum": 11, "maximum": 16},
                    "children": {"type": "array", "items": {"$ref": "#/$defs/Node"}, "maxItems": 2},
                },
                "required": ["name", "score", "children"],
                "propertyOrdering": ["score", "name", "children"],
            }
        },
    }
    value = answer_value(schema, scene_of("a march"))
    assert list(value) == ["score", "name", "children"]
    assert value["score"] == 15


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("A candlelit vigil of dozens before the courthouse", ("night", "government", "vigil")),
        ("Students march across campus at golden hour", ("dusk", "campus", "march")),
        ("A polling queue on a market in the early morning", ("dawn", "market", "voting_queue")),
    ],
)
def test_a_scene_is_what_the_prompt_says(prompt: str, expected: tuple[str, str, str]) -> None:
    scene = scene_of(prompt)
    assert (scene.time, scene.setting, scene.form) == expected


@pytest.mark.parametrize("size", [(1024, 1024), (384, 3072), (3072, 384), (64, 48), (16, 16)])
@pytest.mark.parametrize("write", [png, jpeg])
def test_a_drawing_of_any_shape_is_a_whole_file_that_names_its_prompt(size: tuple[int, int], write: Any) -> None:
    prompt = "Eine Kundgebung, été, 集会 🕯️"
    data = write(draw(scene_of(prompt), *size), prompt)
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        assert image.size == size
    assert read_prompt(pybase64.b64encode(data).decode()) == prompt
    assert read_prompt(pybase64.b64encode(b"\x89PNG not ours" * 40).decode()) is None


def test_settings_draw_times_and_weathers_apart() -> None:
    seen: set[bytes] = set()
    for setting in ("city", "square", "campus", "government", "park", "street march", "market", "village"):
        for rest in ("by day, clear", "at night in rain", "at dawn in snow", "at dusk in fog"):
            scene = scene_of(f"A rally of hundreds, {setting}, {rest}")
            assert re.match(r"day|night|dawn|dusk", scene.time)
            seen.add(draw(scene, 96, 96).reduce(12).tobytes())
    assert len(seen) == 32
