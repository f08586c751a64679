"""Inputs of the next steps: normalised text, and the graph of images that share labels."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.export import downstream, export
from engine.export.text import emoji, hashtags, normalise, split_hashtag, without_emoji

LABELS: dict[str, Any] = {
    "scene_type": "march",
    "setting": "street",
    "activity_level": "high",
    "crowd_size": "21-100",
    "time_of_day": "day",
    "sentiment": "hopeful",
    "primary_subjects": ["banners", "people"],
    "digital text": "none",
    "informational": "no",
    "illustrations": "no",
}


@pytest.mark.parametrize(
    ("tag", "words"),
    [
        ("ClimateStrike", "climate strike"),
        ("SaveOurPlanet2024", "save our planet 2024"),
        ("BLMMarch", "blm march"),
        ("peace_now", "peace now"),
        ("solidarity", "solidarity"),
        ("WirSindMehr", "wir sind mehr"),
        ("ÉgalitéPourTous", "égalité pour tous"),
    ],
)
def test_hashtags_are_split_into_words(tag: str, words: str) -> None:
    assert split_hashtag(tag) == words


def test_the_docs_own_examples() -> None:
    assert normalise("Join the #ClimateStrike #SaveOurPlanet") == "join the climate strike save our planet"
    assert normalise("Great protest today! 🎉") == "great protest today! party popper"
    assert without_emoji("today! 🎉") == "today! :party_popper:"


def test_joined_and_toned_emoji_become_their_parts() -> None:
    assert emoji("✊🏽👩‍🔧❤️") == ["✊", "👩", "🔧", "❤"]
    assert normalise("✊🏽") == "raised fist"


def test_links_and_mentions_are_no_words() -> None:
    assert normalise("@ann see https://x.example/y now") == "see now"
    assert hashtags("#one and #two_three") == ["one", "two_three"]


@given(st.text(max_size=200))
def test_normalising_twice_changes_nothing_more_and_leaves_no_capitals(text: str) -> None:
    once = normalise(text)
    assert once == " ".join(once.split())
    assert not any(c in once for c in "\u200d\ufe0f")
    assert not emoji(once)


def edges(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_images_are_joined_by_the_labels_they_share(make_run: Callable[..., Any], tmp_path: Path) -> None:
    made = make_run()
    other = {k: "other " + str(v) for k, v in LABELS.items()}
    for n, labels in enumerate((LABELS, LABELS, {**LABELS, "setting": "park"}, other), start=1):
        made.image(n)
        made.metadata(n, labels=labels)
    export(made.dir.root, ["downstream"], tmp_path / "d")
    found = {(e["source"][-1], e["target"][-1]): float(e["weight"]) for e in edges(tmp_path / "d/edges.csv")}
    # "none" and "no" say nothing, so seven categories give eight labels; one differs in the third image.
    shared = pytest.approx(7 / 9, abs=1e-3)
    assert found == {("1", "2"): 1.0, ("1", "3"): shared, ("2", "3"): shared}
    pairs = edges(tmp_path / "d/image_labels.csv")
    assert {"image_id": "sm_20260121_0001", "category": "primary_subjects", "label": "banners"} in pairs


def test_texts_come_with_everything_that_is_read_downstream(run: Any, tmp_path: Path) -> None:
    export(run.dir.root, ["downstream"], tmp_path / "d")
    texts = pl.read_parquet(tmp_path / "d/texts.parquet")
    assert texts.height == 3 * 4
    comment = texts.filter(kind="comment", position=1).row(0, named=True)
    assert comment["text_normalised"] == "solidarity! raised fist climate strike"
    assert comment["hashtags_split"] == ["climate strike"]
    assert comment["emoji"] == ["✊"]
    images = pl.read_parquet(tmp_path / "d/images.parquet")
    assert images.height == 3
    assert Path(images["path"][0]).is_file()
    assert "scene_type=march" in images["labels"][0].to_list()


def test_images_without_labels_have_no_edges(make_run: Callable[..., Any], tmp_path: Path) -> None:
    made = make_run()
    made.image(1)
    made.image(2)
    export(made.dir.root, ["downstream"], tmp_path / "d")
    assert edges(tmp_path / "d/edges.csv") == []


@given(st.lists(st.lists(st.integers(0, 12), unique=True, max_size=6), min_size=1, max_size=30))
def test_edges_are_those_of_comparing_every_pair(
    tmp_path_factory: pytest.TempPathFactory, sets: list[list[int]]
) -> None:
    path = tmp_path_factory.mktemp("edges") / "edges.csv"
    ids = [f"i{n:02d}" for n in range(len(sets))]
    downstream._edges(path, ids, sets, [f"l{n}" for n in range(13)])
    with path.open(newline="") as file:
        told = {(row["source"], row["target"]): float(row["weight"]) for row in csv.DictReader(file)}
    likeness = {
        (a, b): len(set(one) & set(other)) / len(set(one) | set(other))
        for (a, one), (b, other) in itertools.combinations(zip(ids, sets, strict=True), 2)
        if set(one) | set(other)
    }
    near = {pair for pair, j in likeness.items() if j >= downstream.JACCARD_MIN}
    assert set(told) <= near
    for pair, weight in told.items():
        assert weight == pytest.approx(likeness[pair], abs=1e-4)
    for pair in near - set(told):  # left out only where both ends have enough that are at least as near
        for end in pair:
            better = [j for p, j in likeness.items() if end in p and j >= likeness[pair] and p != pair]
            assert len(better) >= downstream.NEIGHBOURS_MAX
