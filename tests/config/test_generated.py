"""What is generated from the schema: the file `init` writes, the presets, the reference. None may drift."""

from __future__ import annotations

import argparse
import json
from datetime import date
from pathlib import Path

import pytest

from engine.cli import init_command
from engine.errors import ConfigError
from engine.settings import keys, load
from engine.settings.__main__ import generated
from engine.settings.presets import PRESETS
from engine.settings.template import moot, reference, render
from schemas.config import RunConfig

REPOSITORY = Path(__file__).parents[2]
TODAY = date(2026, 11, 22)


def init(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    init_command.add_arguments(parser)
    return init_command.run(parser.parse_args(arguments))


@pytest.mark.parametrize("path", [str(p.relative_to(REPOSITORY)) for p in generated(REPOSITORY)])
def test_committed_files_are_what_the_schema_says(path: str) -> None:
    expected = generated(REPOSITORY)[REPOSITORY / path]
    assert (REPOSITORY / path).read_text(encoding="utf-8") == expected, "run: python -m engine.settings"


def test_the_template_holds_the_defaults_without_a_warning(tmp_path: Path) -> None:
    path = tmp_path / "config" / "generation_config.yaml"
    path.parent.mkdir()
    path.write_text(render(), encoding="utf-8")
    loaded = load(path, today=TODAY)
    assert loaded.config == RunConfig()
    assert loaded.warnings == ()


def test_every_key_with_an_effect_stands_in_template_and_reference() -> None:
    template, table = render(), reference()
    for path, info in keys.fields():
        assert f"`{path[-1]}`" in table or moot(info), path
        assert (f"{path[-1]}:" in template) != bool(moot(info)), path


def test_every_key_is_explained() -> None:
    assert [path for path, info in keys.fields() if not info.description] == []


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_presets_load_without_surprises_and_belong_to_the_project_folder(name: str) -> None:
    loaded = load(REPOSITORY / "config" / "presets" / f"{name}.yaml", today=TODAY)
    assert loaded.base_dir == REPOSITORY
    allowed = ("requests_per_day is 250", "decides")
    assert [w for w in loaded.warnings if not any(a in w for a in allowed)] == []
    for dotted, value in PRESETS[name].sets.items():
        got = loaded.get(dotted)
        assert (list(got) if isinstance(got, tuple) else got) == value


def test_init_writes_what_loads(tmp_path: Path) -> None:
    assert init(str(tmp_path / "new")) == 0
    assert load(tmp_path / "new", today=TODAY).config == RunConfig()
    assert "your_gemini_api_key_here" in (tmp_path / "new/config/.env.example").read_text()
    assert ".env\n" in (tmp_path / "new/config/.gitignore").read_text()


def test_init_overwrites_nothing_without_force(tmp_path: Path) -> None:
    init(str(tmp_path))
    mine = tmp_path / "config" / "generation_config.yaml"
    mine.write_text("generation: {num_images: 3}\n")
    with pytest.raises(ConfigError, match=r"already there.*--force"):
        init(str(tmp_path))
    assert mine.read_text() == "generation: {num_images: 3}\n"
    assert init(str(tmp_path), "--force") == 0
    assert mine.read_text() == render()


def test_init_twice_changes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    init(str(tmp_path))
    capsys.readouterr()
    assert init(str(tmp_path), "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["written"] == []
    assert len(told["unchanged"]) == 3


def test_init_with_a_preset_writes_its_values(tmp_path: Path) -> None:
    init(str(tmp_path), "--preset", "draft")
    config = load(tmp_path, today=TODAY).config
    assert config.budget.usd == 0.75
    assert config.generation.num_images == 10
