"""Keys and endpoints: where they are looked for, and that they stay secret."""

from __future__ import annotations

import os
import pickle
from datetime import date
from pathlib import Path

import pytest

from engine.settings import Secret, find_credentials, find_key, load, redact

KEY, OTHER = "AIzaSyExampleOnly0000000000000000000000", "AIzaSyAnotherOne000000000000000000000000"
TODAY = date(2026, 11, 22)


def env(folder: Path, text: str, name: str = "config/.env") -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def revealed(base_dir: Path, environ: dict[str, str]) -> str | None:
    key = find_key(base_dir, environ)
    return key.reveal() if key else None


def test_the_environment_wins_over_config_env_which_wins_over_env(tmp_path: Path) -> None:
    env(tmp_path, "GOOGLE_API_KEY=three-dot-env", ".env")
    assert revealed(tmp_path, {}) == "three-dot-env"
    env(tmp_path, "GOOGLE_API_KEY='two-config-env'")
    assert revealed(tmp_path, {}) == "two-config-env"
    assert revealed(tmp_path, {"GEMINI_API_KEY": "one-environment"}) == "one-environment"


def test_google_api_key_wins_over_gemini_api_key_and_the_user_is_told(tmp_path: Path) -> None:
    found = find_credentials(tmp_path, {"GEMINI_API_KEY": OTHER, "GOOGLE_API_KEY": KEY})
    assert found.key is not None
    assert found.key.reveal() == KEY
    assert found.key_from == "GOOGLE_API_KEY in the environment"
    assert any("GEMINI_API_KEY" in n for n in found.notes)
    assert KEY not in "".join(found.notes)


@pytest.mark.parametrize("value", ["your_gemini_api_key_here", "your-key", "<key>", "changeme", "YOUR_KEY", "a key"])
def test_placeholders_are_no_keys(tmp_path: Path, value: str) -> None:
    env(tmp_path, f'GOOGLE_API_KEY="{value}"')
    found = find_credentials(tmp_path, {})
    assert found.key is None
    assert "placeholder" in found.notes[0]


def test_nothing_is_written_into_the_environment(tmp_path: Path) -> None:
    env(tmp_path, f"GOOGLE_API_KEY={KEY}\nOUTPUT_DIR=x\n")
    before = dict(os.environ)
    find_key(tmp_path, {})
    env(tmp_path, "{}", "config/generation_config.yaml")
    load(tmp_path, today=TODAY)
    assert dict(os.environ) == before


def test_a_secret_shows_itself_nowhere(tmp_path: Path) -> None:
    found = find_credentials(tmp_path, {"GOOGLE_API_KEY": KEY})
    for text in (repr(found), str(found.key), f"{found.key}", f"{found.key:>9}", repr([found.key])):
        assert KEY not in text
    with pytest.raises(TypeError):
        pickle.dumps(Secret(KEY))


def test_redact_takes_the_key_out_of_texts_and_urls() -> None:
    key = Secret("a+b/c=d-0815")
    assert redact("https://x/?key=a%2Bb%2Fc%3Dd-0815 and a+b/c=d-0815", key) == "https://x/?key=*** and ***"
    assert redact("nothing", None) == "nothing"


def test_unreadable_env_files_are_said(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config/.env").write_bytes(b"\xff\xfe\xff")
    assert "UTF-8" in find_credentials(tmp_path, {}).notes[0]


def test_vertex_and_endpoint_settings_with_the_originals_names(tmp_path: Path) -> None:
    env(tmp_path, "GOOGLE_GENAI_USE_VERTEXAI=true\nPROJECT_ID=p-1\nREGION=us-central1\n")
    found = find_credentials(tmp_path, {"GOOGLE_GEMINI_BASE_URL": "http://127.0.0.1:1"})
    assert (found.vertex, found.project, found.location, found.base_url) == (
        True,
        "p-1",
        "us-central1",
        "http://127.0.0.1:1",
    )


def test_the_originals_env_names_have_their_effect_or_a_warning(tmp_path: Path) -> None:
    env(tmp_path, "output: {output_dir: a}\n", "config/generation_config.yaml")
    env(
        tmp_path,
        "OUTPUT_DIR=b\nLOG_LEVEL=DEBUG\nLOG_FILE=x.log\nRAW_DATA_DIR=r\nQA_DIR=q\n"
        "ATROPIA_DATA_URL=https://a\nWORLDBANK_DATA_URL=https://b\n",
    )
    loaded = load(tmp_path, today=TODAY)
    assert loaded.config.output.output_dir == "b"
    assert loaded.config.logging.level == "DEBUG"
    assert loaded.config.logging.log_file == "x.log"
    told = "\n".join(loaded.warnings)
    assert "OUTPUT_DIR=b in config/.env wins over output.output_dir" in told
    for name in ("RAW_DATA_DIR", "QA_DIR", "ATROPIA_DATA_URL", "WORLDBANK_DATA_URL"):
        assert f"{name} in config/.env has no effect here" in told


def test_a_log_level_in_the_shell_belongs_to_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    env(tmp_path, "{}", "config/generation_config.yaml")
    monkeypatch.setenv("LOG_LEVEL", "DEBUG")
    assert load(tmp_path, today=TODAY).config.logging.level == "INFO"
