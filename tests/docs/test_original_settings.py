"""What the original's configuration, sources and prompts promised, row by row of docs/from-the-original.md."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import engine
from engine import sources
from engine.cli.main import call
from engine.core.plan import build_plan, prompt_at
from engine.errors import ConfigError, ProviderError
from engine.providers.scripted import answer_to
from engine.runtime.estimate import estimate, original_names
from engine.runtime.status import read_status
from engine.settings import find_credentials, load
from engine.sources.preview import Preview, preview
from schemas.config import RunConfig
from schemas.models import PRICES_AS_OF
from schemas.outcome import ErrorKind

QUICK: dict[str, Any] = {"output": {"durability": "none"}, "logging": {"log_to_file": False}}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def settings_of(**sections: Any) -> RunConfig:
    return load({**QUICK, **sections}).config


def prompts(n: int = 40, base_dir: Path = Path(), **sections: Any) -> list[str]:
    config = settings_of(**sections)
    plan = build_plan(config, sources.load(config, base_dir), "20260121")
    return [prompt_at(plan, i).text for i in range(1, n + 1)]


def look(base_dir: Path = Path(), **sections: Any) -> Preview:
    return preview(settings_of(**sections), base_dir, 3)


async def played(out: Path, images: int, provider: engine.ScriptedProvider, **sections: Any) -> engine.Summary:
    """A run that a provider plays from memory."""
    generation = {"num_images": images, **sections.pop("generation", {})}
    stages = sections.pop("stages", ["image"])
    config = {**QUICK, **sections, "generation": generation}
    return await engine.run(config, out=out, provider=provider, stages=stages, wait_for_day=False)


# --- configuration -------------------------------------------------------------------------------


@pytest.mark.original("generation.num_images, resolution, model, aspect_ratio")
async def test_size_shape_and_model_are_really_sent(tmp_path: Path) -> None:
    asked = {"model": "gemini-3-pro-image", "resolution": "2K", "aspect_ratio": "16:9"}
    provider = engine.ScriptedProvider()
    await played(tmp_path / "run", 2, provider, generation=asked)
    assert len(provider.requests) == 2
    for request in provider.requests:
        assert (request.model, request.resolution, request.aspect_ratio) == tuple(asked.values())


@pytest.mark.original(
    "generation.batch_size, enable_checkpoints, checkpoint_file",
    "output.save_intermediate, date_organized",
)
def test_keys_that_have_become_moot_are_accepted_and_say_why() -> None:
    told = load(
        {
            "generation": {"batch_size": 10, "enable_checkpoints": True, "checkpoint_file": "x.json"},
            "output": {"save_intermediate": True, "date_organized": True},
        }
    ).warnings
    for key in ("batch_size", "enable_checkpoints", "checkpoint_file", "save_intermediate", "date_organized"):
        (warning,) = [w for w in told if key in w]
        assert "has no effect here" in warning


@pytest.mark.original("prompts.*")
@pytest.mark.parametrize(
    "change",
    [
        {"style": "documentary"},
        {"style": "artistic"},
        {"style": "photojournalistic"},
        {"complexity": "simple"},
        {"complexity": "complex"},
        {"include_temporal_context": False},
        {"include_demographics": False},
        {"themes": ["political_rally"]},
        {"settings": ["public_park"]},
    ],
    ids=str,
)
def test_every_prompt_option_changes_the_prompts(change: dict[str, Any]) -> None:
    assert set(prompts(prompts=change)) != set(prompts())


@pytest.mark.original(
    "metadata.num_comments_per_image, include_hashtags, include_emojis, num_caption_variations, label_categories"
)
async def test_metadata_options_are_in_the_request_and_its_schema(tmp_path: Path) -> None:
    async def asked(**options: Any) -> Any:
        provider = engine.ScriptedProvider()
        name = hashlib.md5(repr(options).encode()).hexdigest()
        await played(tmp_path / name, 1, provider, metadata=options, stages=["image", "metadata"])
        return provider.requests[-1]

    plain = await asked()
    wishes = await asked(
        num_comments_per_image=3, include_hashtags=False, include_emojis=False, num_caption_variations=2,
        label_categories=["weather"],
    )  # fmt: skip
    assert plain.text != wishes.text
    schema = json.dumps(wishes.answer_schema)
    assert "weather" in schema
    assert "crowd_size" not in schema
    assert '"minItems": 3' in schema
    for one in ("include_hashtags", "include_emojis"):
        without = await asked(**{one: False})
        assert (without.text, without.system) != (plain.text, plain.system)
    assert (await asked(num_caption_variations=2)).answer_schema != plain.answer_schema


@pytest.mark.original(
    "rate_limiting.requests_per_minute, requests_per_day", "rate limiter that sleeps, per client, lost on restart"
)
async def test_the_day_is_counted_from_the_log_and_survives_a_restart(tmp_path: Path) -> None:
    provider = engine.ScriptedProvider()
    limits = {"requests_per_day": 3}
    first = await played(tmp_path / "run", 10, provider, rate_limiting=limits)
    again = await played(tmp_path / "run", 10, provider, rate_limiting=limits)
    assert (first.images.ok, first.stopped_by) == (3, "daily_quota")
    assert (again.images.ok, again.stopped_by) == (3, "daily_quota")
    assert len(provider.requests) == 3


@pytest.mark.original("rate_limiting.requests_per_minute, requests_per_day")
def test_requests_per_minute_set_the_pace() -> None:
    told = estimate(settings_of(rate_limiting={"requests_per_minute": 12}), images=[100], today=PRICES_AS_OF)
    assert told.images_per_minute == 12


@pytest.mark.original("rate_limiting.enable_exponential_backoff, initial_retry_delay, max_retries, backoff_multiplier")
async def test_so_many_retries_are_made_and_none_where_they_are_hopeless(tmp_path: Path) -> None:
    retries = {"initial_retry_delay": 0.001, "max_retries": 3, "backoff_multiplier": 1.0}
    shaky = engine.ScriptedProvider(lambda request, number: ProviderError(ErrorKind.SERVER, "oops"))
    await played(tmp_path / "shaky", 1, shaky, rate_limiting=retries)
    assert len(shaky.requests) == 3
    refusing = engine.ScriptedProvider([ProviderError(ErrorKind.REFUSED, "no")])
    await played(tmp_path / "refused", 1, refusing, rate_limiting=retries)
    assert len(refusing.requests) == 1


@pytest.mark.original("source_data.atropia.num_samples, focus_themes")
def test_news_are_as_many_and_of_the_themes_asked_for() -> None:
    found = look(source_data={"atropia": {"num_samples": 12, "focus_themes": ["elections", "protests"]}})
    assert sum(found.themes.values()) == 12
    assert set(found.themes) == {"elections", "protests"}


@pytest.mark.original("source_data.worldbank.demographic_categories, num_profiles")
def test_people_are_as_many_and_told_by_the_categories_asked_for() -> None:
    assert look(source_data={"worldbank": {"num_profiles": 30}}).people == 30
    ageless = look(source_data={"worldbank": {"demographic_categories": ["gender"]}})
    everyone = look()
    assert ageless.prompts[0].text != everyone.prompts[0].text
    assert {"gender", "household_size"} <= set(everyone.demographics)


@pytest.mark.original("source_data.social_media.max_reference_images, max_descriptions")
def test_at_most_so_many_guides_are_used() -> None:
    found = look(source_data={"social_media": {"max_descriptions": 7}})
    assert [o.items for o in found.origins if o.name == "social_media"] == [7]


# --- .env and Config() ---------------------------------------------------------------------------


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """A folder with the original's config/.env, and an environment that says nothing."""
    for name in ("GOOGLE_API_KEY", "GEMINI_API_KEY", "PROJECT_ID", "REGION", "OUTPUT_DIR", "LOG_LEVEL", "LOG_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)

    def write(env: str) -> Path:
        (tmp_path / "config").mkdir(exist_ok=True)
        (tmp_path / "config/generation_config.yaml").write_text("generation: {num_images: 30}\n")
        (tmp_path / "config/.env").write_text(env)
        return tmp_path

    return write


@pytest.mark.original(".env: GOOGLE_API_KEY")
def test_the_key_of_the_env_file_is_found_and_its_placeholder_is_not(project: Callable[[str], Path]) -> None:
    assert find_credentials(project("GOOGLE_API_KEY=a-key-of-some-length\n"), {}).key is not None
    assert find_credentials(project("GEMINI_API_KEY=a-key-of-some-length\n"), {}).key is not None
    assert find_credentials(project("GOOGLE_API_KEY=your_gemini_api_key_here\n"), {}).key is None


@pytest.mark.original(".env: PROJECT_ID, REGION")
def test_project_and_region_are_those_of_vertex(project: Callable[[str], Path]) -> None:
    found = find_credentials(project("PROJECT_ID=p-1\nREGION=us-central1\n"), {})
    assert (found.project, found.location) == ("p-1", "us-central1")


@pytest.mark.original(".env: OUTPUT_DIR, LOG_LEVEL, LOG_FILE")
def test_folder_and_log_of_the_env_file_win(project: Callable[[str], Path]) -> None:
    project("OUTPUT_DIR=elsewhere\nLOG_LEVEL=DEBUG\nLOG_FILE=mine.log\n")
    config = load().config
    assert config.output.output_dir == "elsewhere"
    assert (config.logging.level, config.logging.log_file) == ("DEBUG", "mine.log")


@pytest.mark.original(".env: ATROPIA_DATA_URL, WORLDBANK_DATA_URL, RAW_DATA_DIR, QA_DIR")
def test_addresses_and_folders_without_effect_say_so(project: Callable[[str], Path]) -> None:
    names = ("ATROPIA_DATA_URL", "WORLDBANK_DATA_URL", "RAW_DATA_DIR", "QA_DIR")
    project("".join(f"{name}=x\n" for name in names))
    told = " ".join(load().warnings)
    assert [name for name in names if name not in told] == []


@pytest.mark.original("Config(): upward search, section check")
def test_the_configuration_is_found_above_and_all_its_problems_are_told(
    project: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = project("")
    (folder / "notebooks").mkdir()
    monkeypatch.chdir(folder / "notebooks")
    assert load().config.generation.num_images == 30
    (folder / "config/generation_config.yaml").write_text("generation: {num_images: -1}\nprompts: {style: loud}\n")
    with pytest.raises(ConfigError) as told:
        load()
    assert "num_images" in str(told.value)
    assert "style" in str(told.value)


@pytest.mark.original(
    "cfg.generation['num_images'], cfg.get('a.b', default)",
    "cfg.set('generation.num_images', 20)",
    "cfg.get_output_path(), get_data_path()",
)
def test_values_are_read_by_name_set_for_once_and_paths_start_at_the_project(project: Callable[[str], Path]) -> None:
    folder = project("")
    settings = load(overrides={"generation.num_images": 20})
    assert settings.config.generation.num_images == settings.get("generation.num_images") == 20
    assert settings.get("generation.nothing", 7) == 7
    assert settings.resolve("data/generated") == folder / "data/generated"


@pytest.mark.original("cfg.estimate_cost()")
def test_the_estimate_has_the_originals_names() -> None:
    config = settings_of(metadata={"mode": "separate"})
    told = original_names(estimate(config, today=PRICES_AS_OF), config)
    assert set(told) >= {
        "num_images", "resolution", "image_generation", "captions", "labels", "comments", "total_estimated", "currency",
    }  # fmt: skip
    assert told["total_estimated"] > 50 * 0.03  # and not 50 * 0.001


@pytest.mark.original("cfg.setup_logging()")
async def test_a_run_leaves_its_hosts_logging_alone(tmp_path: Path) -> None:
    before = (list(logging.root.handlers), logging.root.level)
    await played(tmp_path / "run", 1, engine.ScriptedProvider(), logging={"level": "DEBUG", "log_to_file": True})
    assert (list(logging.root.handlers), logging.root.level) == before


# --- sources -------------------------------------------------------------------------------------


@pytest.mark.original("100 Atropia items from 12 templates, theme independent of text")
def test_the_originals_news_cache_is_read_and_ours_hangs_together(tmp_path: Path) -> None:
    item = {
        "id": "atropia_001", "title": "Atropia News: Elections", "theme": "elections", "date": "2025-05-19",
        "excerpt": "Voters queue in Market District.", "location": "Market District",
    }  # fmt: skip
    (tmp_path / "news.json").write_text(json.dumps([item]))
    given = look(tmp_path, source_data={"atropia": {"path": "news.json"}})
    assert given.prompts[0].source_data["atropia"]["id"] == "atropia_001"
    ours = look().prompts[0].source_data["atropia"]
    assert {"id", "title", "excerpt", "date", "theme", "location", "issue", "actor"} <= set(ours)
    assert ours["actor"].lower() in ours["excerpt"].lower()


@pytest.mark.original("web fetch, else generated")
def test_a_folder_of_saved_pages_is_read(tmp_path: Path) -> None:
    (tmp_path / "pages").mkdir()
    text = "Nurses in Atropia held a vigil on Tuesday and asked for safe staffing in every ward of the city. " * 3
    page = f"<html><body><article><h1>Atropia</h1><h2>Nurses rally</h2><p>{text}</p></article></body></html>"
    (tmp_path / "pages/one.html").write_text(page)
    found = look(tmp_path, source_data={"atropia": {"path": "pages", "focus_themes": []}})
    assert any("urses" in p.source_data["atropia"]["excerpt"] for p in found.prompts)


@pytest.mark.original("50 World Bank profiles, uniform and independent")
def test_the_originals_profiles_are_read_and_ours_are_weighted(tmp_path: Path) -> None:
    (tmp_path / "people.csv").write_text(
        "profile_id,age_group,occupation,education_level,setting,household_size\n"
        "wb_001,35-44,service,undergraduate,urban,2\n"
    )
    assert look(tmp_path, source_data={"worldbank": {"path": "people.csv"}}).people == 1
    ages = look().demographics["age_group"]
    assert max(ages.values()) > 2 * min(ages.values())  # of a survey, not of dice


@pytest.mark.original("visual references: JSON list of descriptions and labels, placeholders")
def test_the_originals_visual_list_is_read(tmp_path: Path) -> None:
    (tmp_path / "v.json").write_text(
        json.dumps([{"description": "A crowd with banners", "label_1": "protest", "label_2": "sign"}])
    )
    assert look(tmp_path, source_data={"social_media": {"path": "v.json"}}).guides == {"protest": 1}


@pytest.mark.original("notebook 02: previews, counts, charts", "get_prompt_preview(200)")
def test_sources_shows_counts_charts_and_prompts(
    project: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    project("")
    assert call(["sources", "--samples", "2"]) == 0
    shown = capsys.readouterr().out
    assert "News by theme" in shown
    assert "█" in shown
    assert "Prompt 2:" in shown
    assert "Prompt 3:" not in shown


# --- prompts -------------------------------------------------------------------------------------


@pytest.mark.original("PromptBuilder: style, scene, people, place, time, details, quality")
def test_prompts_are_the_same_every_time_and_never_the_same_twice() -> None:
    some = prompts(200)
    assert some == prompts(200)
    assert len(set(some)) == 200


@pytest.mark.original("seasons declared and never used")
def test_seasons_are_told() -> None:
    told = " ".join(prompts(100))
    assert [season for season in ("spring", "summer", "autumn", "winter") if season not in told] == []


@pytest.mark.original("PromptTemplate: social_movement, minimal, detailed")
async def test_prompts_are_longer_with_complexity_or_a_users_own(tmp_path: Path) -> None:
    def words(complexity: str) -> int:
        return sum(len(p.split()) for p in prompts(prompts={"complexity": complexity}))

    assert words("simple") < words("medium") < words("complex")
    (tmp_path / "p.jsonl").write_text('{"prompt": "A bicycle leans against a red wall."}\n')
    provider = engine.ScriptedProvider()
    await engine.run(QUICK, out=tmp_path / "r", prompts=tmp_path / "p.jsonl", provider=provider, stages=["image"])
    assert [r.text for r in provider.requests] == ["A bicycle leans against a red wall."]


# --- generation ----------------------------------------------------------------------------------


@pytest.mark.original("temperature .9, top_p .95, top_k 40")
async def test_the_temperature_is_sent(tmp_path: Path) -> None:
    provider = engine.ScriptedProvider()
    await played(tmp_path / "run", 1, provider, generation={"temperature": 0.4})
    assert provider.requests[0].temperature == 0.4


@pytest.mark.original("FLUX on a GPU")
def test_a_flux_model_is_refused_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match="not a Gemini image model") as told:
        load({"generation": {"model": "black-forest-labs/FLUX.1-schnell"}})
    assert "gemini-nano-banana-2.1" in str(told.value)


@pytest.mark.original("caption, labels, comments: three uploads per image")
@pytest.mark.parametrize(("mode", "calls"), [("together", 1), ("separate", 3)])
async def test_one_call_or_three(tmp_path: Path, mode: str, calls: int) -> None:
    provider = engine.ScriptedProvider()
    await played(tmp_path / "run", 2, provider, metadata={"mode": mode}, stages=["image", "metadata"])
    assert len(provider.requests) == 2 * (1 + calls)


@pytest.mark.original("code fences stripped, raw_labels, newline split")
async def test_an_answer_that_is_no_json_is_asked_for_again(tmp_path: Path) -> None:
    def answer(request: Any, number: int) -> Any:
        if number == 2:
            return engine.Response(text="Sure! Here are the labels: a march, a crowd")
        return answer_to(request)

    provider = engine.ScriptedProvider(answer)
    retries = {"initial_retry_delay": 0.001}
    await played(tmp_path / "run", 1, provider, stages=["image", "metadata"], rate_limiting=retries)
    assert len(provider.requests) == 3
    assert read_status(tmp_path / "run").metadata.ok == 1
