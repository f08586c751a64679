"""Fictional news: from the original's file, saved pages, tables, or the bundled world."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from engine.errors import SourceError
from engine.sources import atropia, world
from engine.sources.issues import actor_of, caused, mended, nearest, place_of, subject_of
from schemas.config import Atropia

ORIGINAL = Path(__file__).parents[2] / ".." / "shared" / "data" / "workshop" / "atropia_samples.json"


def load(folder: Path, seed: int = 1, **config: Any) -> tuple[list[Any], Any]:
    return atropia.load(Atropia(**config), folder, seed)


def test_the_bundled_world_tells_consistent_news(tmp_path: Path) -> None:
    news, origin = load(tmp_path)
    assert origin.path == "bundled"
    assert len(news) == origin.items == world.ITEMS
    w = world.world()
    issues = {issue.phrase: issue for issue in w.issues}
    provinces = {p.name: p for p in w.provinces}
    for item in news:
        issue = issues[item.issue]
        assert item.theme in issue.themes
        assert item.actor in issue.actors
        assert item.demand in issue.demands
        assert provinces[item.details["province"]].character in issue.where
        assert item.place in provinces[item.details["province"]].spots
        assert int(item.date[5:7]) in issue.months
        assert item.date.startswith(str(w.year))
        assert "{" not in item.title + item.excerpt
        assert all(1 <= len(slogan.split()) <= 4 for slogan in item.slogans)
    assert len({item.id for item in news}) == len(news)
    assert len({item.theme for item in news}) == len(world.themes())


def test_the_world_says_what_is_invented_and_names_its_sources() -> None:
    w = world.world()
    assert "not affiliated with or endorsed by the US Army" in w.notice
    assert len(w.provinces) == 10
    known = {source["id"] for source in w.sources}
    assert all(fact["origin"] == "date" and fact["source"] in known for fact in w.country)
    for thing in (*w.parties, *w.groups, *w.outlets, w.currency):
        assert thing["origin"] == "invented"
    named = {party["name"] for party in w.parties} | {group["name"] for group in w.groups}
    assert {actor for issue in w.issues for actor in issue.actors} <= named, "nobody acts who is not introduced"
    characters = {p.character for p in w.provinces}
    assert {c for issue in w.issues for c in issue.where} <= characters


def test_news_of_the_world_is_the_same_every_time_and_for_more_items(tmp_path: Path) -> None:
    few, _ = load(tmp_path, num_samples=20)
    many, _ = load(tmp_path, num_samples=500, seed=99)
    assert many[:20] == few
    assert len(many) == 500


def test_focus_themes_keep_only_their_news(tmp_path: Path) -> None:
    news, origin = load(tmp_path, focus_themes=("elections", "gender_violence"))
    assert {item.theme for item in news} == {"elections", "gender_violence"}
    assert origin.warnings == ()


def test_an_unknown_focus_theme_is_warned_of_with_the_nearest(tmp_path: Path) -> None:
    news, origin = load(tmp_path, focus_themes=("election", "protests"))
    assert {item.theme for item in news} == {"protests"}
    assert "'election'" in origin.warnings[0]
    assert "elections" in origin.warnings[0]


def test_focus_themes_that_leave_nothing_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"leaves nothing.*elections"):
        load(tmp_path, focus_themes=("knitting",))


@pytest.mark.skipif(not ORIGINAL.exists(), reason="the original's sample file is not on this machine")
def test_the_originals_file_is_read_whole_and_mended(tmp_path: Path) -> None:
    news, origin = load(tmp_path, path=str(ORIGINAL.resolve()))
    assert len(news) == origin.found == 100
    for item in news:
        assert item.issue, item.excerpt
        assert item.cause.split()[0] in {"for", "over", "against"}
        assert item.slogans, item.excerpt
        assert item.place.startswith(("in ", "near ")), item.place
        assert not item.excerpt.endswith(" of."), item.excerpt
        assert "gender_violence" not in item.excerpt
        assert "ers clash" not in item.issue


@pytest.mark.skipif(not ORIGINAL.exists(), reason="the original's sample file is not on this machine")
def test_the_originals_configuration_warns_of_the_theme_it_has_no_news_on(tmp_path: Path) -> None:
    focus = ("political_unrest", "protests", "elections", "civil_society", "government_response", "gender_violence")
    news, origin = load(tmp_path, path=str(ORIGINAL.resolve()), num_samples=100, focus_themes=focus)
    assert len(news) == 71
    assert any("gender_violence" in warning for warning in origin.warnings)


def test_samples_are_drawn_by_the_seed_and_keep_their_order(tmp_path: Path) -> None:
    rows = [
        {"id": f"a{n}", "title": f"Protest {n}", "excerpt": f"A protest over water, number {n}."} for n in range(50)
    ]
    (tmp_path / "news.json").write_text(json.dumps(rows))
    first, _ = load(tmp_path, path="news.json", num_samples=10, seed=1)
    again, _ = load(tmp_path, path="news.json", num_samples=10, seed=1)
    other, _ = load(tmp_path, path="news.json", num_samples=10, seed=2)
    assert first == again
    assert first != other
    numbers = [int(item.id[1:]) for item in first]
    assert numbers == sorted(numbers)


def test_items_that_share_an_id_are_kept_apart_and_copies_dropped(tmp_path: Path) -> None:
    row = {"id": "a", "title": "Protest", "excerpt": "A protest over water."}
    (tmp_path / "n.json").write_text(json.dumps([row, row, {**row, "excerpt": "A protest over wages."}]))
    news, _ = load(tmp_path, path="n.json")
    assert [(item.id, item.issue) for item in news] == [("a", "water"), ("a-2", "wages")]


def test_a_csv_table_is_read_with_its_own_words(tmp_path: Path) -> None:
    (tmp_path / "n.csv").write_text(
        "\ufefftitle;excerpt;date;theme;location;issue;demand;actor\n"
        "T;Something happened;2025-03-01;Civil Society;Old Harbour;night buses;a night bus;the Riders\n",
        encoding="utf-8",
    )
    (item,), _ = load(tmp_path, path="n.csv")
    assert (item.issue, item.cause, item.demand, item.actor) == (
        "night buses",
        "over night buses",
        "a night bus",
        "the Riders",
    )
    assert item.theme == "civil_society"
    assert item.place == "in Old Harbour"


PAGE = """<!DOCTYPE html><html><head><title>Political: Atropia</title><script>alert('evil script')</script></head>
<body><nav>Home Politics Navigation links to everything else on this site and much more</nav>
<h1>Political: Atropia</h1><h2>Human Rights</h2>
<p>Authorities restrict freedom of assembly and detain organisers, and people call for civil liberties in public.</p>
<h2>Ports</h2><p>There are two ports with several cranes and a long quay where ships are loaded by day and by night.</p>
<h3>Corruption</h3>
<ul><li>Corruption among officials is widespread, and a bribe is expected for nearly every permit.</li></ul>
<footer>Corruption corruption corruption corruption corruption corruption, in more than twelve words here
now</footer>
</body></html>"""


def test_saved_pages_are_split_by_headings_without_navigation_and_script(tmp_path: Path) -> None:
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages" / "atropia.html").write_text(PAGE)
    (tmp_path / "pages" / "more.md").write_text(
        "# Social\n\n## Elections\n\nThe **elections** were watched by [observers](http://x.example) in every "
        "district, and ballots were counted twice.\n\n```\ncorruption code\n```\n"
    )
    (tmp_path / "pages" / "plain.txt").write_text(
        "Schools\n=======\nTeachers speak of crowded schools, and parents ask for smaller classes in every village.\n"
    )
    news, origin = load(tmp_path, path="pages")
    by_section = {item.details["section"]: item for item in news}
    assert set(by_section) == {"Human Rights", "Corruption", "Elections", "Schools"}
    assert by_section["Corruption"].theme == "political_unrest"
    assert by_section["Human Rights"].details["file"] == "atropia.html"
    assert len(by_section["Human Rights"].details["sha256"]) == 64
    told = json.dumps([item.as_source_data() for item in news])
    for hidden in ("evil", "Navigation", "twelve words here", "corruption code", "http", "**"):
        assert hidden not in told
    assert any("passed over" in note for note in origin.notes), "ports speak of no theme"


def test_a_page_saved_as_a_single_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "p.mhtml").write_text(
        "MIME-Version: 1.0\nContent-Type: multipart/related; boundary=B\n\n--B\nContent-Type: text/html\n\n"
        "<h1>Atropia</h1><h2>Elections</h2><p>The elections were watched in every district, and ballots were counted "
        "twice by hand.</p>\n--B\nContent-Type: text/css\n\nbody{}\n--B--\n"
    )
    (item,), _ = load(tmp_path, path="p.mhtml")
    assert item.theme == "elections"


def test_focus_themes_may_be_written_with_spaces_and_capitals(tmp_path: Path) -> None:
    news, origin = load(tmp_path, focus_themes=("Gender violence",))
    assert {item.theme for item in news} == {"gender_violence"}
    assert origin.warnings == ()


def test_symlinks_in_a_folder_are_not_followed(tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("A secret protest over corruption that is told in more than a dozen words, all of them hidden.")
    folder = tmp_path / "pages"
    folder.mkdir()
    (folder / "link.txt").symlink_to(secret)
    with pytest.raises(SourceError, match="holds no HTML"):
        load(tmp_path, path="pages")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.json", "{not json", "not valid JSON"),
        ("a.json", "[1, 2]", "item 1 is int"),
        ("a.json", '[{"colour": "red"}]', "items need title"),
        ("a.jsonl", '{"title": "x"}\nnope\n', "line 2"),
        ("a.json", "", "is empty"),
        ("a.html", "<p>too short</p>", "no news item or section"),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path: Path, name: str, content: str, words: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(SourceError, match=words):
        load(tmp_path, path=name)


def test_a_missing_path_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="nowhere does not exist"):
        load(tmp_path, path="nowhere")


@pytest.mark.parametrize(
    ("broken", "whole"),
    [
        ("Women march drawing hundreds of.", "Women march drawing hundreds of people."),
        (
            "Online messaging for a corruption pushes for reform getting attention from several hundred.",
            "Online messaging about corruption pushes for reform, getting attention from several hundred people.",
        ),
        ("clash over gender_violence.", "clash over gender-based violence."),
        (
            "Large rally held in Downtown with estimated thousands of participants.",
            "A large rally held in Downtown with thousands of participants.",
        ),
        ("A whole sentence stays as it is.", "A whole sentence stays as it is."),
    ],
)
def test_broken_excerpts_are_mended(broken: str, whole: str) -> None:
    assert mended(broken) == whole


def test_issues_demands_actors_and_places_are_read_out_of_sentences() -> None:
    issue, demand, slogans = subject_of(
        "Citizens gather to protest voting rights. Demonstrators call for fair elections."
    )
    assert (issue, demand) == ("voting rights", "fair elections")
    assert "Count Every Vote" in slogans
    assert actor_of("Student groups organise a sit-in") == "several student groups"
    assert place_of("Atropia City (capital)") == "in Atropia City"
    assert place_of("Market District") == "in the Market District"
    assert place_of("Pineland Province") == "in Pineland Province"
    assert caused("corruption") == "against corruption"
    assert caused("fair elections") == "for fair elections"
    assert caused("fuel prices") == "over fuel prices"
    assert nearest("protest", ["elections", "protests"]) == "protests"
