"""The configuration loader: what is accepted, what is refused, and in which words."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.errors import ConfigError
from engine.settings import load
from engine.settings.keys import split
from engine.settings.yamlfile import SIZE_BYTES_MAX
from schemas.config import RunConfig

TODAY = date(2026, 11, 22)

WORKSHOP = """\
generation:
  num_images: 50
  batch_size: 10
  resolution: "1K"
  model: "black-forest-labs/FLUX.1-schnell"
  aspect_ratio: "1:1"
  enable_checkpoints: true
  checkpoint_file: "data/checkpoints/generation_checkpoint.json"
prompts:
  style: "realistic"
  complexity: "medium"
  include_temporal_context: true
  include_demographics: true
  themes: [protest, civic_engagement, political_rally, social media post]
  settings: [urban_city_center, town_square, online comments, digital posts]
metadata:
  num_comments_per_image: 5
  include_hashtags: true
  include_emojis: true
  num_caption_variations: 1
  label_categories: [scene_type, setting, activity_level, crowd_size, digital text, informational]
rate_limiting:
  requests_per_minute: 10
  requests_per_day: 1000
  enable_exponential_backoff: true
  initial_retry_delay: 2
  max_retries: 3
  backoff_multiplier: 2
source_data:
  atropia:
    num_samples: 100
    focus_themes: [political_unrest, protests, elections, civil_society, government_response, gender_violence]
  worldbank:
    demographic_categories: [age_group, occupation, education_level, urban_rural, household_composition, gender]
    num_profiles: 50
  social_media:
    max_reference_images: 50
    max_descriptions: 50
output:
  save_intermediate: true
  image_format: "png"
  metadata_format: "json"
  export_csv_summaries: true
  date_organized: true
  output_dir: "data/generated"
  images_dir: "images"
  captions_dir: "captions"
  labels_dir: "labels"
  comments_dir: "comments"
  metadata_dir: "metadata"
validation:
  auto_validate: true
  min_image_size_kb: 10
  check_duplicates: true
  duplicate_threshold: 95
  validate_metadata: true
  generate_qa_report: true
logging:
  level: "INFO"
  log_to_file: true
  log_file: "logs/pipeline.log"
  log_to_console: true
  include_timestamps: true
"""


def write(folder: Path, text: str, name: str = "config/generation_config.yaml") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def problems(source: object, **kwargs: object) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        load(source, today=TODAY, **kwargs)  # type: ignore[arg-type]
    return caught.value.problems


# --- the original's file -------------------------------------------------------------------------


def test_the_originals_file_has_one_error_its_flux_model(tmp_path: Path) -> None:
    path = write(tmp_path, WORKSHOP)
    (only,) = problems(path)
    assert str(path) in only
    assert ":5:" in only
    assert 'generation.model is "black-forest-labs/FLUX.1-schnell"' in only
    assert "gemini-nano-banana-2.1" in only


def test_with_a_gemini_model_the_originals_file_loads_and_warns_of_each_moot_key(tmp_path: Path) -> None:
    loaded = load(write(tmp_path, WORKSHOP), overrides={"generation.model": "gemini-nano-banana-2.1"}, today=TODAY)
    assert loaded.base_dir == tmp_path
    assert loaded.config.metadata.label_categories[4] == "digital text"
    assert loaded.config.rate_limiting.initial_retry_delay == 2
    moot = {w.split()[0] for w in loaded.warnings}
    assert moot == {
        "generation.batch_size",
        "generation.enable_checkpoints",
        "generation.checkpoint_file",
        "output.save_intermediate",
        "output.date_organized",
    }


# --- finding the file ----------------------------------------------------------------------------


def test_without_a_file_the_defaults_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    loaded = load(today=TODAY)
    assert loaded.config == RunConfig()
    assert loaded.path is None
    assert loaded.warnings == ()


def test_the_file_is_found_in_folders_above(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "generation: {num_images: 7}\n")
    deep = tmp_path / "scripts" / "more"
    deep.mkdir(parents=True)
    monkeypatch.chdir(deep)
    loaded = load(today=TODAY)
    assert loaded.config.generation.num_images == 7
    assert loaded.base_dir == tmp_path
    assert loaded.resolve("data/generated") == tmp_path / "data/generated"


def test_a_file_outside_a_config_folder_has_its_own_folder_as_project(tmp_path: Path) -> None:
    assert load(write(tmp_path, "", "mine.yaml"), today=TODAY).base_dir == tmp_path


def test_a_project_folder_can_be_named_instead_of_its_file(tmp_path: Path) -> None:
    write(tmp_path, "generation: {num_images: 7}\n")
    assert load(tmp_path, today=TODAY).config.generation.num_images == 7


def test_missing_files_say_how_to_write_one(tmp_path: Path) -> None:
    (only,) = problems(tmp_path / "nowhere.yaml")
    assert "nowhere.yaml" in only
    assert "groundswell init" in only


# --- all problems at once ------------------------------------------------------------------------


def test_all_problems_come_in_one_round_each_with_file_line_key_value_and_next_step(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        """\
generation:
  num_images: -5
  resolution: 5K
  requests_per_minute: 10
  aspect_ratio: "16:10"
metadata:
  num_coments_per_image: 3
  tasks: caption
rate_limiting:
  models:
    gemini-3.1-flash-lite:
      rpm: 5
prompts:
  style: Realistic
""",
    )
    found = problems(path)
    assert [p.split(": ", 1)[1] for p in found] == [
        "generation.num_images is -5; give a number above 0",
        'generation.resolution is "5K"; use one of 0.5K, 1K, 2K, 4K (did you mean 0.5K?)',
        "generation.requests_per_minute is not a key we know; did you mean rate_limiting.requests_per_minute?",
        'prompts.style is "Realistic"; use one of realistic, artistic, documentary, photojournalistic'
        " (did you mean realistic?)",
        'metadata.tasks is "caption"; write a list: `- first`, `- second`, one below the other',
        "metadata.num_coments_per_image is not a key we know; did you mean metadata.num_comments_per_image?",
        "rate_limiting.models.gemini-3.1-flash-lite.rpm is not a key we know; did you mean "
        "rate_limiting.models.gemini-3.1-flash-lite.requests_per_minute?",
        "generation.aspect_ratio is '16:10', but gemini-nano-banana-2.1 draws 1:1, 2:3, 3:2, 3:4, 4:3, 4:5, 5:4, "
        "9:16, 16:9, 21:9, 1:4, 4:1, 1:8, 8:1; choose one of these",
    ]
    lines = [p.split(":")[1] for p in found[:-1]]
    assert lines == ["2", "3", "4", "14", "8", "7", "12"]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"generation": {"num_images": True}}, "generation.num_images is true; give a whole number"),
        ({"generation": {"model": "gemini-3.1-flash-lite"}}, "writes text and draws no pictures"),
        ({"metadata": {"model": "gemini-3-pro-image"}}, "not a Gemini text model"),
        ({"metadata": {"tasks": ["caption", "caption"]}}, "twice"),
        ({"output": {"images_dir": "../x"}}, "plain folder name"),
        ({"output": [1]}, "output is [1]; write its keys below it"),
        ({"generation": {"model": "gemini-3.1-flash-lite-image", "resolution": "4K"}}, "draws 1K"),
        ({"prompts": {"themes": [3]}}, "prompts.themes.0 is 3; put it in quotes"),
        ({"prompts": {"themes": []}}, "give at least 1 entry"),
        ({"rate_limiting": {"requests_per_minute": 0}}, "give a number above 0, or null for none"),
        ({"genration": {}}, "genration is not a key we know; did you mean generation?"),
        ({"zzz": 1}, "docs/configuration.md"),
        ({"generation": {"aspect_ratio": "wide"}}, 'write it like "16:9"'),
    ],
)
def test_each_kind_of_mistake_names_key_and_next_step(data: dict[str, object], said: str) -> None:
    (only,) = problems(data)
    assert said in only


# --- YAML that is not what it seems --------------------------------------------------------------


def test_aspect_ratios_need_no_quotes(tmp_path: Path) -> None:
    path = write(tmp_path, "generation:\n  aspect_ratio: 16:9\n")
    assert load(path, today=TODAY).config.generation.aspect_ratio == "16:9"


def test_duplicate_keys_are_refused_with_both_lines(tmp_path: Path) -> None:
    (only,) = problems(write(tmp_path, "generation:\n  num_images: 3\n  seed: 1\n  num_images: 4\n"))
    assert ":4: generation.num_images stands here and in line 2" in only


@pytest.mark.parametrize("value", [".nan", ".inf", "-.inf"])
def test_nan_and_infinity_are_refused(tmp_path: Path, value: str) -> None:
    (only,) = problems(write(tmp_path, f"budget:\n  usd: {value}\n"))
    assert f"budget.usd is {value}; give a finite number" in only


def test_aliases_are_fine_in_moderation(tmp_path: Path) -> None:
    text = "rate_limiting:\n  models:\n    gemini-a: &a {requests_per_minute: 5}\n    gemini-b:\n      <<: *a\n"
    limits = load(write(tmp_path, text), today=TODAY).config.rate_limiting.models
    assert limits["gemini-b"].requests_per_minute == 5


def test_alias_bombs_are_refused_quickly(tmp_path: Path) -> None:
    layers = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    layers += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 10)]
    (only,) = problems(write(tmp_path, "\n".join(layers)))
    assert "aliases" in only


def test_a_bomb_of_merged_mappings_is_refused_before_it_is_merged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    merged: list[int] = []
    flatten = yaml.SafeLoader.flatten_mapping

    def noted(loader: Any, node: Any) -> None:
        flatten(loader, node)
        merged.append(len(node.value))

    monkeypatch.setattr(yaml.SafeLoader, "flatten_mapping", noted)
    keys = ", ".join(f"k{n}: 1" for n in range(2000))
    (only,) = problems(write(tmp_path, f"a: &a {{{keys}}}\nb: {{<<: [{', '.join(['*a'] * 99)}]}}\n"))
    assert "grows beyond 100,000 values" in only
    assert max(merged) <= 100_000
    (only,) = problems(
        write(
            tmp_path,
            "a0: &a0 {x: 1}\n" + "".join(f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}]}}\n" for n in range(1, 40)),
        )
    )
    assert "grows beyond 100,000 values" in only
    assert max(merged) <= 100_000


def test_an_alias_to_itself_is_refused(tmp_path: Path) -> None:
    (only,) = problems(write(tmp_path, "prompts: &p\n  themes: [*p]\n"))
    assert "contains itself" in only


def test_deep_nesting_is_refused(tmp_path: Path) -> None:
    (only,) = problems(write(tmp_path, "a: " + "[" * 5000))
    assert "nests deeper than 20 levels" in only


def test_large_files_are_refused_unread(tmp_path: Path) -> None:
    (only,) = problems(write(tmp_path, "#" * (SIZE_BYTES_MAX + 1)))
    assert "at most" in only


@pytest.mark.parametrize(
    "text",
    [
        "generation: [",
        "\tgeneration: 1",
        "!!python/object/apply:os.system ['id']",
        "- a\n- b",
        "just words",
        "a: 1\n---\nb: 2",
    ],
)
def test_what_is_no_plain_mapping_is_refused_with_the_file_named(tmp_path: Path, text: str) -> None:
    path = write(tmp_path, text)
    (only,) = problems(path)
    assert only.startswith(str(path))


def test_files_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_bytes(b"\xff\xfe\x00binary")
    (only,) = problems(path)
    assert "UTF-8" in only


def test_empty_sections_are_as_if_not_there(tmp_path: Path) -> None:
    assert load(write(tmp_path, "budget:\ngeneration:\n  # num_images: 3\n"), today=TODAY).config == RunConfig()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=300) | st.text(alphabet="abc:- \n[]{}&*!#'\"<>|?,.123", max_size=120).map(str.encode))
def test_whatever_the_bytes_the_answer_is_settings_or_a_config_error(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "fuzz.yaml"
    path.write_bytes(data)
    try:
        load(path, today=TODAY)
    except ConfigError as e:
        told = e.problems
    else:
        told = ()
    assert all("fuzz.yaml" in p for p in told)


# --- overrides -----------------------------------------------------------------------------------


def test_overrides_are_dotted_and_win_over_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, "generation: {num_images: 5, seed: 3}\n")
    loaded = load(
        path,
        overrides={
            "generation.num_images": 20,
            "rate_limiting.models.gemini-3.1-flash-lite.requests_per_minute": 9,
        },
        today=TODAY,
    )
    assert loaded.get("generation.num_images") == 20
    assert loaded.get("generation.seed") == 3
    assert loaded.get("nothing.here", "default") == "default"
    assert loaded.config.limits_for("gemini-3.1-flash-lite").requests_per_minute == 9


def test_a_bad_override_is_told_like_any_other_problem(tmp_path: Path) -> None:
    (only,) = problems({}, overrides={"generation.num_image": 3})
    assert "did you mean generation.num_images?" in only


def test_model_names_with_dots_stay_whole() -> None:
    assert split("prices.models.gemini-3.1-flash-lite.input_usd_per_m") == (
        "prices",
        "models",
        "gemini-3.1-flash-lite",
        "input_usd_per_m",
    )
    assert split("generation.num_images") == ("generation", "num_images")


# --- warnings ------------------------------------------------------------------------------------


def warned(data: dict[str, object], today: date = TODAY) -> str:
    return "\n".join(load(data, today=today).warnings)


def test_models_past_their_shutdown_are_named_with_the_current_ones() -> None:
    told = warned({"generation": {"model": "gemini-2.5-flash-image"}})
    assert "shut down on 2026-10-02" in told
    assert "gemini-nano-banana-2.1" in told
    assert "is to be shut down on 2026-10-02" in warned(
        {"generation": {"model": "gemini-2.5-flash-image"}}, date(2026, 9, 1)
    )


def test_unknown_gemini_models_are_accepted_with_a_warning() -> None:
    assert "gemini-9-ultra-image is not a model we know" in warned({"generation": {"model": "gemini-9-ultra-image"}})


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"generation": {"num_images": 5000}, "rate_limiting": {"requests_per_day": 1000}}, "5 quota days"),
        ({"generation": {"num_images": 1000}, "budget": {"usd": 3.36}}, "enough for about 100 of 1000 images"),
        ({"rate_limiting": {"requests_per_minute": 300, "usd_per_10_minutes": 10}}, "30 images a minute"),
        ({"rate_limiting": {"models": {"gemini-x": {"requests_per_minute": 1}}}}, "does not use"),
        ({"source_data": {"worldbank": {"demographic_categories": ["gendr"]}}}, "did you mean gender?"),
        ({"source_data": {"worldbank": {"demographic_categories": []}}}, "nothing to say"),
        ({"source_data": {"atropia": {"focus_themes": ["protest"]}}}, "did you mean protests?"),
        ({"source_data": {"social_media": {"mode": "images"}}}, "no path is set"),
        ({"prompts": {"themes": ["protest", "protest"]}}, "twice"),
        ({"metadata": {"num_comments_per_image": 0}}, "asks for nothing"),
    ],
)
def test_what_does_not_fit_together_is_said(data: dict[str, object], said: str) -> None:
    assert said in warned(data)


def test_the_defaults_warn_of_nothing() -> None:
    assert load({}, today=TODAY).warnings == ()
