"""Documentation that cannot drift: commands run, links lead somewhere, keys exist, prices are the real ones."""

from __future__ import annotations

import argparse
import ast
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from engine.cli.estimate_command import duration
from engine.cli.main import _EXITS as EXITS
from engine.cli.main import COMMANDS, call, parser_for
from engine.errors import LogDamaged, NoRun, RunLocked, RunMismatch, SourceError
from engine.runtime.estimate import MONTHLY_USD, estimate
from engine.settings import keys, load
from engine.settings.environment import ENV_FILES
from engine.simulator import Simulator
from schemas.models import MODELS, PRICES_AS_OF
from schemas.outcome import ErrorKind

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
LINKING = sorted({*PAGES, *ROOT.glob("*.md"), *(ROOT / "benchmarks").glob("*.md")})
SERVERS = {"review", "simulate"}
"""Commands that do not end by themselves; their arguments are parsed only."""


ORIGINAL = """
num_images batch_size resolution model aspect_ratio enable_checkpoints checkpoint_file prompts.*
num_comments_per_image include_hashtags include_emojis num_caption_variations label_categories
requests_per_minute requests_per_day enable_exponential_backoff initial_retry_delay max_retries
backoff_multiplier num_samples focus_themes demographic_categories num_profiles max_reference_images
max_descriptions save_intermediate image_format metadata_format export_csv_summaries date_organized output_dir
images_dir metadata_dir validation.* logging.* GOOGLE_API_KEY PROJECT_ID REGION ATROPIA_DATA_URL
WORLDBANK_DATA_URL OUTPUT_DIR RAW_DATA_DIR QA_DIR LOG_LEVEL LOG_FILE estimate_cost setup_logging
get_output_path get_data_path PromptBuilder PromptTemplate validate_prompt build_batch_prompts
get_prompt_preview DataCombiner FLUX generation_log.json get_summary check_completeness load_image
load_metadata raw_labels
"""
"""Names of the original that its users look for."""


ELSEWHERE = {
    "make demo": "tests/acceptance and tests/runs run `groundswell demo`, which is all that it does once installed",
    "make test": "this is it",
    "pip install .": "tests/acceptance/test_wheel.py installs the wheel",
    "pip install jupyterlab jupytext matplotlib": "an installation of others",
    "jupytext --to ipynb scripts/0*.py": "tests/scripts converts and executes each of them",
    "jupyter lab scripts/01_setup_and_test.ipynb": "needs a person",
}
"""Commands of shell blocks that are no command of ours, and where they are tested, or why not."""


def shell_lines(page: Path) -> Iterator[list[str]]:
    """The commands of a page's shell blocks, in order, without comments."""
    for block in re.findall(r"```(?:bash|sh|shell|console)\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words:
                yield words


def commands(page: Path) -> list[list[str]]:
    """The groundswell commands of a page, and the copying between them."""
    lines = [[words[0].removeprefix(".venv/bin/"), *words[1:]] for words in shell_lines(page)]
    return [words for words in lines if words[0] in {"groundswell", "cp"}]


def in_text(page: Path) -> Iterator[list[str]]:
    """The groundswell commands that a page mentions in running text, such as `groundswell qa DIR`."""
    for code in re.findall(r"(?<!`)`groundswell ([^`]+)`(?!`)", page.read_text(encoding="utf-8")):
        yield shlex.split(code.replace("\n", " "))


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with Simulator.in_thread(picture="tiny") as running:
        yield running


@pytest.fixture
def project(tmp_path: Path, simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder as a reader of the documentation has it, with a key that a server accepts and a finished run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GOOGLE_API_KEY", "a-key-of-the-documentation-tests")
    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", simulator.base_url)
    (tmp_path / "prompts.jsonl").write_text('{"prompt": "A bicycle leans against a red wall.", "id": "bicycle-1"}\n')
    assert call(["run", "--images", "3", "--out", "data/generated", "--quiet"]) == 0
    return tmp_path


def small(words: list[str]) -> list[str]:
    """The same command for fewer images, so that the test is quick; nothing else is changed."""
    if words[0] not in {"run", "demo"}:
        return words
    told = list(words)
    if "--images" in told:
        at = told.index("--images") + 1
        told[at] = str(min(int(told[at]), 2))
    elif "--prompts" not in told:
        told += ["--images", "2"]
    return told


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_every_command_of_a_page_works(page: Path, project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if page.name == "from-the-original.md":
        (project / "config").mkdir()
        config = "generation: {model: black-forest-labs/FLUX.1-schnell, batch_size: 10}\n"
        (project / "config/generation_config.yaml").write_text(config)
    if page.name == "review.md":
        assert call(["run", "--images", "3", "--out", "runs/a", "--quiet"]) == 0
        (project / "reviews-ana.jsonl").write_text("")
    for first, *words in commands(page):
        if first == "cp":
            shutil.copy(*words)
            continue
        if words[0] in SERVERS and "--static" not in words and "--merge" not in words:
            parser_for(words[0]).parse_args(words)
            continue
        code = call(small(words))
        said = capsys.readouterr()
        # Tiny pictures of the simulator are findings of QA; that is QA's answer, not a broken command.
        allowed = {0, 3} if words[0] == "qa" else {0}
        assert code in allowed, f"groundswell {' '.join(words)}: {code}\n{said.out}\n{said.err}"


@pytest.mark.parametrize("page", LINKING, ids=lambda p: p.name)
def test_every_other_command_of_a_page_is_tested_elsewhere(page: Path) -> None:
    if page.parent.name == "benchmarks" or page.name == "CONTRIBUTING.md":
        return  # commands of measurements, and the targets of the Makefile
    others = [" ".join(w) for w in shell_lines(page) if w[0].removeprefix(".venv/bin/") not in {"groundswell", "cp"}]
    assert [command for command in others if command not in ELSEWHERE] == []


async def test_the_python_of_the_readme_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (block,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    played = block.replace("config)", "config, provider=engine.ScriptedProvider())")
    played = played.replace('out="runs/a")', 'out="runs/a", provider=engine.ScriptedProvider())')
    assert played.count("ScriptedProvider") == 2
    names: dict[str, Any] = {}
    await eval(compile(played, "README.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), names)
    assert names["summary"].images.ok == 20


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_what_python_blocks_import_is_there(page: Path) -> None:
    for block in re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
        tree = compile(block, page.name, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT | ast.PyCF_ONLY_AST)
        imports = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
        exec(compile(ast.Module(imports, type_ignores=[]), page.name, "exec"), {})


def test_the_python_of_the_configuration_page_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert call(["init"]) == 0
    page = (ROOT / "docs/configuration.md").read_text(encoding="utf-8")
    names: dict[str, Any] = {}
    exec(re.findall(r"```python\n(.*?)```", page, re.DOTALL)[0], names)
    assert names["settings"].get("generation.num_images") == 20


def test_pages_have_commands_to_run() -> None:
    assert sum(len(commands(page)) for page in PAGES) > 25


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_commands_in_running_text_exist_with_their_options(page: Path) -> None:
    for words in in_text(page):
        assert words[0] in COMMANDS, words
        parser = parser_for(words[0])
        options = set(_options(parser, words[0]))
        for word in words[1:]:
            if word.startswith("--"):
                assert word.split("=")[0] in options, f"{page.name}: groundswell {' '.join(words)}"


def _options(parser: argparse.ArgumentParser, command: str) -> Iterator[str]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices[command]._actions:
                yield from inner.option_strings


@pytest.mark.parametrize("page", LINKING, ids=lambda p: p.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target, anchor in re.findall(r"\]\(([^)#]*)(?:#([^)]*))?\)", page.read_text(encoding="utf-8")):
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        to = page.parent / target if target else page
        assert to.exists(), f"{page.name}: {target}"
        if anchor:
            headings = re.findall(r"^#+ (.*)$", to.read_text(encoding="utf-8"), re.MULTILINE)
            known = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert anchor in known, f"{page.name}: {target}#{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_yaml_of_a_page_is_a_sound_configuration(page: Path, tmp_path: Path) -> None:
    for n, block in enumerate(re.findall(r"```yaml\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)):
        path = tmp_path / f"{n}.yaml"
        path.write_text(block)
        load(path, today=PRICES_AS_OF)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_keys_named_in_a_page_exist(page: Path) -> None:
    known = {".".join(path) for path, _ in keys.fields()}
    sections = {key.split(".")[0] for key in known}
    endings = (".py", ".md", ".yaml", ".json", ".jsonl", ".csv", ".parquet", ".html")
    for code in re.findall(r"`([a-z_]+(?:\.[a-z_0-9]+)+)(?::[^`]*)?`", page.read_text(encoding="utf-8")):
        if code.split(".")[0] in sections and not code.endswith(endings):
            assert any(k == code or k.startswith(code + ".") for k in known), f"{page.name}: {code}"


def test_the_price_table_is_what_estimate_says() -> None:
    rows = {}
    for m in estimate(load({}, today=PRICES_AS_OF).config, today=PRICES_AS_OF).models:
        rows.setdefault((m.model, m.resolution or "metadata"), {})[m.mode] = m.usd_per_image
    table = "| model | size | interactive | batch |\n|---|---|---:|---:|\n" + "".join(
        f"| {model} | {size} | {p['standard']:.4f} | {p['batch']:.4f} |\n" for (model, size), p in rows.items()
    )
    text = (ROOT / "docs/costs-and-limits.md").read_text(encoding="utf-8")
    written = text.split("checks this table -->\n")[1].split("<!-- end of costs")[0]
    assert written == table
    assert f"Prices as of {PRICES_AS_OF}" in text


def test_the_readme_says_what_estimate_says() -> None:
    written = re.findall(r"^\| [\d,]+ \|.*$", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    found: list[str] = []
    for images in (50, 1_000, 50_000):
        cells = [f"{images:,}"]
        for tier, cap in ((1, 10), (2, 50), (3, 200)):
            config = load({"rate_limiting": {"usd_per_10_minutes": cap}}, today=PRICES_AS_OF).config
            (told,) = estimate(config, images=[images], today=PRICES_AS_OF).sums
            assert told.total_usd is not None
            cells += [f"${told.total_usd:,.2f}"] if tier == 1 else []
            over = told.total_usd > MONTHLY_USD[tier]
            cells.append(f"over its ${MONTHLY_USD[tier]} a month" if over else duration(told.seconds))
        found.append(f"| {' | '.join(cells)} |")
    assert written == found


def test_troubleshooting_knows_every_kind_and_error_and_quotes_the_code() -> None:
    text = (ROOT / "docs/troubleshooting.md").read_text(encoding="utf-8")
    assert [kind.value for kind in ErrorKind if f"`{kind.value}`" not in text] == []
    for error in (RunLocked, RunMismatch, SourceError, LogDamaged, NoRun):
        assert f"`{error.__name__}`" in text
    code = "\n".join(p.read_text(encoding="utf-8") for p in (ROOT / "engine").rglob("*.py"))
    for title in re.findall(r"^\*\*(.+?)\*\*", text, re.MULTILINE):
        for quoted in re.findall(r'"([^"]+)"|`([a-z][^`:]* [^`:]*)`', title):
            assert "".join(quoted) in code, title


def test_exit_codes_are_those_of_the_help() -> None:
    text = (ROOT / "docs/troubleshooting.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| (\d+) \|", text, re.MULTILINE) == re.findall(r"^  (\d+)", EXITS, re.MULTILINE)


def test_every_key_of_the_original_has_its_row() -> None:
    text = (ROOT / "docs/from-the-original.md").read_text(encoding="utf-8")
    assert [name for name in re.findall(r"\S+", ORIGINAL) if name not in text] == []


def test_env_files_and_names_are_documented() -> None:
    text = (ROOT / "docs/configuration.md").read_text(encoding="utf-8")
    for name in (*ENV_FILES, "GOOGLE_API_KEY", "GEMINI_API_KEY", "GOOGLE_GEMINI_BASE_URL", "GOOGLE_CLOUD_PROJECT"):
        assert name in text


def test_models_in_the_documentation_are_known() -> None:
    for page in PAGES:
        for name in re.findall(r"gemini-[a-z0-9.-]*[a-z0-9]", page.read_text(encoding="utf-8")):
            assert name in MODELS or name.startswith("gemini-9"), f"{page.name}: {name}"


def test_the_citation_credits_the_original() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert cited["cff-version"] == "1.2.0"
    assert "10.5281/zenodo.18407373" in {r["doi"] for r in cited["references"]}
