"""The label mix that is wanted beside the one there is, in numbers and in a sentence."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from engine.qa.targets import REST, target_mix
from schemas.config import RunConfig


def labels(**counts: int) -> dict[str, dict[str, object]]:
    return {"time_of_day": {"n": sum(counts.values()), "values": [[v, n] for v, n in counts.items()]}}


def test_a_value_is_off_only_when_its_whole_interval_is() -> None:
    (mix,) = target_mix(labels(day=180, night=4, dusk=16), {"time_of_day": {"day": 0.9, "night": 0.1}})
    off = {v["value"]: v["off"] for v in mix["values"]}
    assert off == {"day": "", "night": "fewer", REST: ""}
    assert "night is 2.0 % where 10 % are wanted (clearly fewer)" in mix["sentence"]
    assert mix["total_variation"] == pytest.approx(0.08)


def test_shares_that_are_not_named_belong_to_any_other_value() -> None:
    (mix,) = target_mix(labels(day=70, night=30, dusk=100), {"time_of_day": {"day": 0.35, "night": 0.15}})
    rest = mix["values"][-1]
    assert (rest["value"], rest["wanted"], rest["count"], rest["off"]) == (REST, 0.5, 100, "")
    assert mix["total_variation"] == 0
    assert "no value is clearly more or less frequent than wanted" in mix["sentence"]


def test_nothing_is_claimed_of_too_few() -> None:
    (mix,) = target_mix(labels(day=29), {"time_of_day": {"night": 1.0}})
    assert not mix["enough"]
    assert "too few" in mix["sentence"]
    assert not any(v["off"] for v in mix["values"])


@pytest.mark.parametrize(
    ("targets", "told"),
    [
        ({"time_of_day": {"noon": 0.5}}, "has no value 'noon'; use dawn, day, dusk, night"),
        ({"time_of_day": {"day": 0.9, "night": 0.3}}, "add up to 1.2"),
        ({"weather": {"rain": 0.3}}, "no entry of metadata.label_categories"),
    ],
)
def test_a_target_that_cannot_be_is_refused_with_a_reason(targets: object, told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        RunConfig.model_validate({"qa": {"targets": targets}})


def test_the_report_has_target_beside_actual(make_run, draw, encode) -> None:
    from engine.qa import run_qa

    run = make_run({"qa": {"targets": {"time_of_day": {"day": 0.5, "Night": 0.5}, "crowd_size": {"21-100": 1.0}}}})
    for index in range(1, 41):
        run.image(index, encode(draw(index, (64, 64))))
        run.answer(index)
    report = run_qa(run.root)
    by_category = {t["category"]: t for t in report.statistics["targets"]}
    assert by_category["time_of_day"]["total_variation"] == 0.5
    assert by_category["crowd_size"]["total_variation"] == 0
    assert any(c.name == "mix" and c.value == 0.5 for c in report.components)
    assert any("time_of_day closer to the mix" in a.title for a in report.actions)
    page = (run.root / "qa" / "report.html").read_text()
    assert "day is 100 % where 50 % are wanted (clearly more)" in page
