"""What a reviewer is shown: the catalogue, samples, filters, blindness, decisions on the right picture."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import NoRun
from engine.review.board import Board
from engine.review.catalogue import NoSuchImage
from engine.review.messages import Judged, QueueGone, Refused
from engine.review.queue import Filter, allocate, sample_size, stratified_sample
from engine.review.server import open_board
from schemas.record import ImageRecord, MetadataRecord, encode_line

MakeRun = Callable[..., Path]


def judged(board: Board, image_id: str, status: str = "accept", **changes: object) -> Judged:
    base: dict[str, object] = {"id": uuid4().hex, "status": status, "image_id": image_id, "reviewer": "ana"}
    return Judged(**{**base, **changes})  # pyright: ignore[reportArgumentType]


def ids(board: Board, wanted: Filter, reviewer: str = "ana") -> list[str]:
    return [card.id for card in board.queue(wanted, reviewer, limit=500).cards]


def rewrite(path: Path, kind: type, change: Callable[[object], object]) -> None:
    lines = [change(msgspec.json.decode(line, type=kind)) for line in path.read_bytes().splitlines()]
    path.write_bytes(b"".join(encode_line(line) for line in lines))  # type: ignore[arg-type]


def test_an_image_is_shown_with_all_that_was_written_about_it(run_dir: Path) -> None:
    board, _ = open_board(run_dir)
    shown = board.shown("sm_20260121_0003", "ana")
    assert shown.index == 3
    assert shown.prompt.endswith("image 3.")
    assert set(shown.source_data) == {"atropia", "demographics", "visual_reference"}
    assert shown.caption == "People gather in a square, number 3."
    assert shown.labels is not None
    assert shown.labels["primary_subjects"] == ["people", "banners"]
    assert shown.comments is not None
    assert len(shown.comments) == 3
    assert shown.theme == "civic_engagement"
    with pytest.raises(NoSuchImage):
        board.shown("../../etc/passwd", "ana")


def test_failed_and_refused_images_are_not_reviewed(make_run: MakeRun) -> None:
    root = make_run(6, image=lambda i: {"status": "refused", "asset": None} if i % 2 else {})
    board, _ = open_board(root)
    assert ids(board, Filter(draw="all")) == ["sm_20260121_0002", "sm_20260121_0004", "sm_20260121_0006"]


def test_separate_metadata_jobs_come_together(make_run: MakeRun) -> None:
    root = make_run(1)
    log = root / "log/metadata.jsonl"
    whole = msgspec.json.decode(log.read_bytes(), type=MetadataRecord)
    parts = [
        msgspec.structs.replace(whole, tasks=("caption",), labels=None, comments=None),
        msgspec.structs.replace(whole, tasks=("labels",), caption=None, captions=(), comments=None),
        msgspec.structs.replace(whole, tasks=("comments",), caption=None, captions=(), labels=None),
    ]
    log.write_bytes(b"".join(map(encode_line, parts)))
    shown = open_board(root)[0].shown("sm_20260121_0001", "ana")
    assert (shown.caption, shown.labels, shown.comments) == (whole.caption, whole.labels, whole.comments)


def test_a_live_run_is_followed(make_run: MakeRun) -> None:
    root = make_run(5)
    images, texts = (root / "log/images.jsonl"), (root / "log/metadata.jsonl")
    image_lines = images.read_bytes().splitlines(keepends=True)
    text_lines = texts.read_bytes().splitlines(keepends=True)
    images.write_bytes(b"".join(image_lines[:3]) + image_lines[3][:50])
    texts.write_bytes(b"".join(text_lines[:1]))
    board, _ = open_board(root)
    assert board.session()["images"] == 3
    images.write_bytes(b"".join(image_lines))
    texts.write_bytes(b"".join(text_lines))
    assert len(ids(board, Filter(draw="all"))) == 5
    assert board.shown("sm_20260121_0005", "ana").caption is not None
    assert board.session()["labels"]["crowd_size"] == {"large": 5}


def test_odd_columns_of_a_prompt_file_hide_no_image(make_run: MakeRun) -> None:
    odd = [{"atropia": "a text", "theme": 7}, {}, {"theme": "elections"}, {"atropia": {"theme": ["x"]}}]
    root = make_run(4, image=lambda i: {"source_data": odd[i - 1]})
    board, _ = open_board(root)
    assert len(ids(board, Filter(draw="all"))) == 4
    assert board.session()["themes"] == {"": 3, "elections": 1}


def test_filters_by_theme_label_and_decision(run_dir: Path) -> None:
    board, _ = open_board(run_dir)
    assert [i[-2:] for i in ids(board, Filter(draw="all", theme="protest"))] == ["04", "08", "12"]
    vigils = ids(board, Filter(draw="all", category="scene_type", label="vigil"))
    assert [i[-2:] for i in vigils] == ["03", "06", "09", "12"]
    assert [i[-2:] for i in ids(board, Filter(draw="all", category="digital text", label="yes"))][:2] == ["02", "04"]
    assert ids(board, Filter(draw="all", category="scene_type", label="no such")) == []
    board.decide(judged(board, vigils[0], "reject"))
    board.decide(judged(board, vigils[1], "accept", reviewer="ben"))
    assert ids(board, Filter(draw="all", decision="reject")) == [vigils[0]]
    assert ids(board, Filter(draw="all", decision="decided", reviewer="ben")) == [vigils[1]]
    assert len(ids(board, Filter(draw="all", decision="undecided"))) == 10
    assert ids(board, Filter(draw="flagged")) == []


def test_a_queue_goes_on_where_the_reviewer_stopped(run_dir: Path) -> None:
    board, _ = open_board(run_dir)
    order = ids(board, Filter(draw="all"))
    for image_id in order[:4]:
        board.decide(judged(board, image_id))
    queue = board.queue(Filter(draw="all"), "ana")
    assert (queue.total, queue.decided, queue.start, queue.cards[0].id) == (12, 4, 4, order[4])
    assert board.queue(Filter(draw="all"), "ben").decided == 0
    assert [c.mine for c in board.page(queue.queue, "ana", 0, 5)] == ["accept"] * 4 + [None]
    with pytest.raises(QueueGone):
        board.page("none", "ana", 0, 5)


def test_undo_takes_back_ones_own_decision_only(run_dir: Path) -> None:
    board, _ = open_board(run_dir)
    made = board.decide(judged(board, "sm_20260121_0001", "reject", notes="hands"))
    last = board.last("ana")
    assert last is not None
    assert last.id == made.id
    with pytest.raises(Refused, match="no decision of ben"):
        board.decide(judged(board, "sm_20260121_0001", "undo", reviewer="ben", undoes=made.id))
    undo = judged(board, "sm_20260121_0001", "undo", undoes=made.id)
    board.decide(undo)
    board.decide(undo)  # The page did not hear the answer and asks again.
    assert board.shown("sm_20260121_0001", "ana").mine is None
    assert board.last("ana") is None
    assert len((run_dir / "log/reviews.jsonl").read_bytes().splitlines()) == 2


def test_a_picture_made_anew_comes_back_undecided(run_dir: Path) -> None:
    board, _ = open_board(run_dir)
    board.decide(judged(board, "sm_20260121_0002", "reject"))
    old = board.shown("sm_20260121_0002", "ana").version
    with (run_dir / "log/images.jsonl").open("r+b") as log:
        second = msgspec.json.decode(log.read().splitlines()[1], type=ImageRecord)
        assert second.asset is not None
        (run_dir / second.asset.path).write_bytes(b"another picture")
        digest = hashlib.sha256(b"another picture").hexdigest()
        log.write(
            encode_line(msgspec.structs.replace(second, asset=msgspec.structs.replace(second.asset, sha256=digest)))
        )
    assert board.queue(Filter(draw="all"), "ana").decided == 0
    assert board.shown("sm_20260121_0002", "ana").mine is None
    with pytest.raises(Refused, match="made anew"):
        board.decide(judged(board, "sm_20260121_0002", "accept", version=old))
    assert board.summary("ana").judged == 0


def test_a_blind_reviewer_sees_others_only_after_deciding(run_dir: Path) -> None:
    board, _ = open_board(run_dir, blind=True)
    board.decide(judged(board, "sm_20260121_0001", "reject", reviewer="ben", notes="secret"))
    before = board.shown("sm_20260121_0001", "ana")
    assert (before.mine, before.others) == (None, [])
    assert ids(board, Filter(draw="all", decision="reject")) == []
    assert ids(board, Filter(draw="all", decision="reject", reviewer="ben")) == []
    assert len(ids(board, Filter(draw="all", decision="undecided", reviewer="ben"))) == 12
    board.decide(judged(board, "sm_20260121_0001", "accept"))
    after = board.shown("sm_20260121_0001", "ana")
    assert [(d.reviewer, d.status, d.blind) for d in after.others] == [("ben", "reject", True)]
    summary = board.summary("ana")
    assert (summary.agreement.images, summary.agreement.disputed) == (1, ())


def test_the_summary_counts_the_sample_apart(run_dir: Path) -> None:
    board, _ = open_board(run_dir)
    board.decide(judged(board, "sm_20260121_0001", "accept", drawn="sample"))
    board.decide(
        judged(board, "sm_20260121_0002", "reject", drawn="sample", tags=("anatomy",), answers={"quality": "poor"})
    )
    board.decide(judged(board, "sm_20260121_0003", "accept", drawn="filter"))
    summary = board.summary("ana")
    assert (summary.sample.accepted, summary.sample.judged, summary.everything.judged) == (1, 2, 3)
    assert summary.tags == {"anatomy": 1}
    assert summary.grades["quality"] == {"good": 0, "fair": 0, "poor": 1}
    assert sum(rate.judged for rate in summary.by_theme.values()) == 3


def test_the_sample_is_that_of_the_original_and_the_same_for_everyone(make_run: MakeRun) -> None:
    assert [sample_size(n) for n in (4, 50, 200, 201, 1000)] == [4, 10, 10, 11, 50]
    root = make_run(40)
    first, second = (ids(open_board(root, seed=7)[0], Filter()) for _ in range(2))
    assert first == second
    assert len(first) == 10
    assert ids(open_board(root, seed=8)[0], Filter()) != first
    themes = Counter(int(i[-2:]) % 4 for i in first)
    assert set(themes.values()) <= {2, 3}


@given(st.dictionaries(st.text(max_size=3), st.integers(0, 400), max_size=8), st.integers(0, 600))
def test_places_are_shared_out_fairly(sizes: dict[str, int], wanted: int) -> None:
    shares = allocate(sizes, wanted)
    assert sum(shares.values()) == min(wanted, sum(sizes.values()))
    assert all(0 <= shares[name] <= n for name, n in sizes.items())
    filled = [n for n in sizes.values() if n]
    if wanted >= len(filled):
        assert all(shares[name] >= 1 for name, n in sizes.items() if n)
    whole = sum(sizes.values())
    for name, n in sizes.items():
        if n and whole:
            assert abs(shares[name] - min(wanted, whole) * n / whole) <= max(1.0, len(filled))


def test_the_part_of_a_sample_that_was_judged_is_itself_a_sample() -> None:
    strata = {"a": [f"a{i}" for i in range(1000)], "b": [f"b{i}" for i in range(1000)]}
    half = stratified_sample(strata, 400, seed=1)[:200]
    first = sum(1 for i in half if i.startswith("a"))
    assert abs(first - 100) < 4 * math.sqrt(200) / 2


def test_the_next_open_place_goes_round(run_dir: Path) -> None:
    board, _ = open_board(run_dir)
    queue = board.queue(Filter(draw="all"), "ana")
    for place in (2, 3, 11):
        board.decide(judged(board, queue.cards[place].id))
    assert [board.next_open(queue.queue, "ana", after) for after in (0, 1, 10, 11)] == [1, 4, 0, 0]
    for card in queue.cards:
        board.decide(judged(board, card.id))
    assert board.next_open(queue.queue, "ana", 5) is None


def test_the_later_decision_stands_also_when_the_clock_was_set_back(run_dir: Path) -> None:
    board, _ = open_board(run_dir)
    first = board.decide(judged(board, "sm_20260121_0001", "accept"))
    future = msgspec.structs.replace(first, id=uuid4().hex, generated_at="2199-01-01T00:00:00.000Z")
    board.log.append([future])
    board.decide(judged(board, "sm_20260121_0001", "reject"))
    mine = board.shown("sm_20260121_0001", "ana").mine
    assert mine is not None
    assert (mine.status, mine.generated_at) == ("reject", "2199-01-01T00:00:00.001Z")


def test_what_is_no_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(NoRun, match="holds no run"):
        open_board(tmp_path)
