"""The ledger: a fold whose prefix and rest give what the whole gives."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from engine.core.ledger import NONE, OK, Ledger, slot

JOB = st.integers(0, 2**64 - 1).map(lambda n: f"{n:032x}")
END = st.tuples(
    st.just("end"), st.integers(1, 12), st.sampled_from(["ok", "refused", "failed", "retry"]), st.integers(1, 5)
)
START = st.tuples(st.sampled_from(["start", "rejected"]), st.integers(1, 12), st.just(""), st.integers(1, 5))


def feed(ledger: Ledger, events: list[tuple[str, int, str, int]]) -> Ledger:
    for what, index, status, attempt in events:
        place = slot(index)
        if what == "end":
            ledger.ended(place, f"{index:032x}", status, status != "retry", attempt, 0.5)
        elif what == "start":
            ledger.started(place, attempt)
        else:
            ledger.rejected(place, attempt)
    return ledger


def state(ledger: Ledger) -> object:
    places = range(slot(13))
    return (
        [(ledger.code(p), ledger.last_attempt(p)) for p in places],
        list(ledger.doubts()), ledger.ok, ledger.refused, ledger.failed,
        ledger.attempts, ledger.cost_usd, ledger.reopened,
    )  # fmt: skip


@given(st.lists(st.one_of(END, START), max_size=40), st.integers(0, 40))
def test_folding_a_prefix_and_then_the_rest_is_folding_all(events: list[tuple[str, int, str, int]], cut: int) -> None:
    apart = feed(feed(Ledger(), events[:cut]), events[cut:])
    assert state(apart) == state(feed(Ledger(), events))


@given(st.lists(END, max_size=60))
def test_counts_are_those_of_the_newest_lines(events: list[tuple[str, int, str, int]]) -> None:
    ledger = feed(Ledger(), events)
    newest = {index: status for _, index, status, _ in events}
    for name in ("ok", "refused", "failed"):
        assert getattr(ledger, name) == sum(status == name for status in newest.values())
    assert all(ledger.settled(slot(i)) == (s != "retry") for i, s in newest.items())


@given(st.lists(st.integers(1, 6), max_size=30), st.data())
def test_a_call_is_in_doubt_from_its_start_to_its_end(attempts: list[int], data: st.DataObject) -> None:
    ledger = Ledger()
    place = slot(3)
    for attempt in range(1, len(attempts) + 1):
        ledger.started(place, attempt)
        assert ledger.in_doubt(place) == attempt
        if data.draw(st.booleans()):
            ledger.rejected(place, attempt)
            assert ledger.in_doubt(place) is None
            ledger.started(place, attempt)
        ledger.ended(place, "ab" * 16, "retry", False, attempt, None)
        assert ledger.in_doubt(place) is None


def test_a_line_that_is_not_final_reopens_what_was_settled_well() -> None:
    ledger = Ledger()
    ledger.ended(slot(1), "aa" * 16, "ok", True, 1, 0.1)
    ledger.ended(slot(1), "aa" * 16, "retry", False, 1, 0.0)
    assert ledger.code(slot(1)) == NONE
    assert slot(1) in ledger.reopened
    ledger.ended(slot(1), "aa" * 16, "ok", True, 2, 0.1)
    assert ledger.code(slot(1)) == OK
    assert ledger.ok == 1


@given(JOB, JOB)
def test_a_changed_question_at_a_known_place_is_noticed(one: str, other: str) -> None:
    ledger = Ledger()
    assert ledger.asks_the_same(slot(5), one)
    ledger.ended(slot(5), one, "ok", True, 1, None)
    assert ledger.asks_the_same(slot(5), one)
    assert ledger.asks_the_same(slot(5), other) == (
        one[:16] == other[:16] or {int(one[:16], 16), int(other[:16], 16)} == {0, 1}
    )


def test_metadata_calls_of_one_image_have_places_of_their_own() -> None:
    tasks = [(), ("caption",), ("labels",), ("comments",), ("caption", "labels", "comments")]
    places = [slot(index, t) for index in (1, 2) for t in tasks[:4]]
    assert len(set(places)) == 8
    assert slot(7, tasks[4]) == slot(7)


@given(st.lists(END, max_size=40), st.integers(0, 300), st.integers(0, 14))
def test_the_images_still_to_be_made_are_those_that_are_not_settled(
    events: list[tuple[str, int, str, int]], far: int, index_max: int
) -> None:
    ledger = feed(Ledger(), [*events, ("end", 600 + far, "ok", 1)] if far else events)
    assert list(ledger.unsettled(index_max)) == [i for i in range(1, index_max + 1) if not ledger.settled(slot(i))]
    late = ledger.unsettled(3)
    ledger.ended(slot(1), "ab" * 16, "ok", True, 1, None)
    assert 1 not in late, "what was settled in the meantime is passed over"
    assert list(ledger.unsettled(2000))[-1] == 2000
