"""The three sources together: problems of all at once, and what the sources command shows."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from engine import sources
from engine.core.plan import build_plan
from engine.errors import SourceError
from engine.sources.preview import preview
from schemas.config import RunConfig


def config(**source_data: object) -> RunConfig:
    return RunConfig.model_validate({"source_data": source_data})


def test_problems_of_all_sources_come_at_once(tmp_path: Path) -> None:
    wanted = config(atropia={"path": "no-news"}, worldbank={"path": "no-people"}, social_media={"path": "no-guides"})
    with pytest.raises(SourceError) as caught:
        sources.load(wanted, tmp_path)
    for name in ("no-news", "no-people", "no-guides"):
        assert name in str(caught.value)


def test_nothing_is_written_by_looking(tmp_path: Path) -> None:
    seen = preview(RunConfig(), tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert [origin.name for origin in seen.origins] == ["atropia", "worldbank", "social_media"]
    assert all(origin.path == "bundled" and origin.licence and len(origin.sha256) == 64 for origin in seen.origins)


def test_the_preview_is_plain_and_adds_up(tmp_path: Path) -> None:
    seen = preview(RunConfig(), tmp_path, samples=3)
    plain = json.loads(msgspec.json.encode(seen))
    assert sum(plain["themes"].values()) == plain["origins"][0]["items"]
    for fact, shares in plain["demographics"].items():
        assert sum(shares.values()) == pytest.approx(1, abs=0.01), fact
    assert len(plain["prompts"]) == 3
    assert 60 <= plain["words"]["min"] <= plain["words"]["max"] <= 140


def test_paths_count_from_the_project_and_are_no_part_of_the_fingerprint(tmp_path: Path) -> None:
    news = [
        {"id": f"n{k}", "title": "t", "excerpt": "A protest over water cuts.", "theme": "protests"} for k in range(5)
    ]
    prints: list[str] = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "news.json").write_text(json.dumps(news))
        wanted = config(atropia={"path": "news.json"})
        prints.append(build_plan(wanted, sources.load(wanted, tmp_path / name), "20260121").fingerprint)
    assert prints[0] == prints[1]
    news[0]["excerpt"] = "A protest over wages."
    (tmp_path / "a" / "news.json").write_text(json.dumps(news))
    wanted = config(atropia={"path": "news.json"})
    assert build_plan(wanted, sources.load(wanted, tmp_path / "a"), "20260121").fingerprint != prints[0]


def test_warnings_of_every_source_are_gathered(tmp_path: Path) -> None:
    wanted = config(atropia={"focus_themes": ["elections", "knitting"]}, worldbank={"demographic_categories": ["hats"]})
    warnings = sources.load(wanted, tmp_path).warnings
    assert any("knitting" in w for w in warnings)
    assert any("hats" in w for w in warnings)
