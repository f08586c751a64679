"""Which decisions stand, and how far reviewers agree."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.core.reviews import (
    Decision,
    acceptance,
    agreement,
    cohen_kappa,
    consensus,
    krippendorff_alpha,
    standing,
    verdicts,
    wilson,
)


def decision(number: int, status: str = "accept", **changes: object) -> Decision:
    base: dict[str, object] = {
        "status": status,
        "image_id": "sm_1",
        "index": 1,
        "id": f"decision-{number:04d}",
        "reviewer": "ana",
        "generated_at": f"2026-01-21T10:00:{number % 60:02d}.000Z",
        "sha256": "a" * 64,
    }
    return Decision(**{**base, **changes})  # pyright: ignore[reportArgumentType]


def statuses(decisions: list[Decision], **options: object) -> list[tuple[str, str, str]]:
    return [(d.image_id, d.reviewer, d.status) for d in standing(decisions, **options)]  # pyright: ignore[reportArgumentType]


def test_the_latest_decision_of_a_reviewer_stands() -> None:
    assert statuses([decision(1), decision(2, "reject"), decision(3, reviewer="ben")]) == [
        ("sm_1", "ana", "reject"),
        ("sm_1", "ben", "accept"),
    ]


def test_undo_brings_back_what_was_decided_before() -> None:
    lines = [decision(1), decision(2, "reject"), decision(3, "undo", undoes="decision-0002")]
    assert statuses(lines) == [("sm_1", "ana", "accept")]
    assert statuses([*lines, decision(4, "undo", undoes="decision-0001")]) == []


def test_nobody_takes_back_the_decision_of_another() -> None:
    lines = [decision(1), decision(2, "undo", undoes="decision-0001", reviewer="ben")]
    assert statuses(lines) == [("sm_1", "ana", "accept")]


def test_a_picture_made_anew_has_not_been_judged() -> None:
    lines = [decision(1, "reject")]
    assert statuses(lines, sha256s={"sm_1": "a" * 64}) == [("sm_1", "ana", "reject")]
    assert statuses(lines, sha256s={"sm_1": "b" * 64}) == []


@st.composite
def histories(draw: st.DrawFn) -> list[Decision]:
    lines: list[Decision] = []
    for number in range(draw(st.integers(0, 14))):
        who, image = draw(st.sampled_from(["ana", "ben"])), draw(st.integers(1, 2))
        change: dict[str, object] = {"reviewer": who, "image_id": f"sm_{image}", "index": image}
        if lines and draw(st.booleans()):
            undone = draw(st.sampled_from(lines)).id
            lines.append(decision(number, "undo", undoes=undone, **change))
        else:
            lines.append(decision(number, draw(st.sampled_from(["accept", "reject", "unsure"])), **change))
    return lines


@given(histories(), st.randoms(use_true_random=False))
def test_order_and_repetition_change_nothing(lines: list[Decision], chance: object) -> None:
    shuffled = [*lines, *lines[: len(lines) // 2]]
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    assert standing(shuffled) == standing(lines)


@given(histories())
def test_there_is_at_most_one_decision_per_image_and_reviewer(lines: list[Decision]) -> None:
    stand = standing(lines)
    assert len({(d.image_id, d.reviewer) for d in stand}) == len(stand)
    undone = {(d.image_id, d.reviewer, d.undoes) for d in lines if d.status == "undo"}
    assert not any((d.image_id, d.reviewer, d.id) in undone for d in stand)


def test_consensus_needs_more_than_half() -> None:
    assert consensus(["accept", "accept", "reject"]) == "accept"
    assert consensus(["accept", "reject"]) == "disputed"
    assert consensus(["accept", "reject", "unsure"]) == "disputed"
    assert consensus(["reject"]) == "reject"


def test_a_verdict_gathers_what_the_reviewers_said() -> None:
    lines = [decision(1, "reject", tags=("anatomy",)), decision(2, "reject", reviewer="ben", tags=("unsafe",))]
    verdict = verdicts(standing(lines))["sm_1"]
    assert (verdict.status, verdict.votes, verdict.tags) == ("reject", {"reject": 2}, ("anatomy", "unsafe"))


def test_only_the_sample_speaks_for_the_run() -> None:
    lines = [
        decision(1, "accept", image_id="a", drawn="sample"),
        decision(2, "unsure", image_id="b", drawn="sample"),
        decision(3, "reject", image_id="c", drawn="flagged"),
    ]
    sample, every = acceptance(standing(lines), {"sample"}), acceptance(standing(lines))
    assert (sample.accepted, sample.judged, sample.share) == (1, 2, 0.5)
    assert (every.accepted, every.judged) == (1, 3)
    nothing = acceptance([])
    assert (nothing.share, nothing.low, nothing.high) == (None, None, None)


def test_wilson_has_its_textbook_values() -> None:
    # Wallis (2013), and the classic "0 of 10": 0 to 0.2775.
    assert wilson(0, 10) == pytest.approx((0.0, 0.27753), abs=1e-4)
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-3)
    assert wilson(0, 0) is None


@given(st.integers(0, 500), st.integers(1, 500))
def test_wilson_holds_the_share(successes: int, trials: int) -> None:
    successes = min(successes, trials)
    low, high = wilson(successes, trials) or (math.nan, math.nan)
    assert 0 <= low <= successes / trials <= high + 1e-12 <= 1 + 1e-9


def test_kappa_has_its_textbook_values() -> None:
    # The two examples every text has: 20/5/10/15 gives 0.4; 45/15/25/15 gives 0.1304.
    def table(a: int, b: int, c: int, d: int) -> list[tuple[str, str]]:
        return [("y", "y")] * a + [("y", "n")] * b + [("n", "y")] * c + [("n", "n")] * d

    assert cohen_kappa(table(20, 5, 10, 15)) == pytest.approx(0.4)
    assert cohen_kappa(table(45, 15, 25, 15)) == pytest.approx(0.1304, abs=1e-4)
    assert cohen_kappa(table(5, 0, 0, 5)) == 1
    assert cohen_kappa([]) is None
    assert cohen_kappa([("y", "y")] * 9) is None


def test_alpha_has_krippendorffs_values() -> None:
    # Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011): two observers 0.095, four with gaps 0.743.
    first, second = "0100001000", "1110010000"
    assert krippendorff_alpha(zip(first, second, strict=True)) == pytest.approx(0.095, abs=5e-4)
    a = "123321412***"
    b = "1233224125*3"
    c = "*3332342251*"
    d = "12332441251*"
    units = [[rating for rating in unit if rating != "*"] for unit in zip(a, b, c, d, strict=True)]
    assert krippendorff_alpha(units) == pytest.approx(0.743, abs=5e-4)
    assert krippendorff_alpha([["x"], []]) is None
    assert krippendorff_alpha([["x", "x"], ["x", "x"]]) is None
    assert krippendorff_alpha([["x", "x"], ["y", "y"]]) == 1


def test_agreement_is_told_by_pair_and_question() -> None:
    lines = []
    for number, (one, other) in enumerate([("accept", "accept"), ("reject", "reject"), ("accept", "reject")], start=1):
        image = {"image_id": f"sm_{number}", "index": number}
        lines.append(decision(2 * number, one, **image, answers={"quality": "good"}))
        lines.append(decision(2 * number + 1, other, reviewer="ben", **image, answers={"quality": "fair"}))
    lines.append(decision(40, "accept", image_id="sm_9", index=9))
    found = agreement(standing(lines))
    assert (found.reviewers, found.images, found.disputed) == (("ana", "ben"), 3, ("sm_3",))
    assert [(p.images, p.agreed) for p in found.pairs] == [(3, 2)]
    assert found.pairs[0].kappa == pytest.approx(0.4)
    assert found.questions["quality"] is not None
    assert found.questions["quality"] < 0
    assert found.questions["caption"] is None
