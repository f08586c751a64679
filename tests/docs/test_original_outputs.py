"""What the original's outputs, quality assurance and next steps promised, row by row of docs/from-the-original.md.

One small run on the simulator serves them all.
"""

from __future__ import annotations

import ast
import csv
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import engine
from engine.cli.main import call
from engine.core.reviews import Decision
from engine.export import export
from engine.export.reading import RunReading
from engine.qa import Options, run_qa
from engine.qa.model import QAReport
from engine.runtime.status import read_status
from engine.settings import load
from engine.simulator import Simulator
from engine.store.picture import check_picture
from schemas.record import encode_line

ROOT = Path(__file__).parents[2]
IMAGES = 6
KEY = "a-key-of-the-documentation-tests"
QUICK: dict[str, Any] = {"output": {"durability": "none"}, "logging": {"log_to_file": False}}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with Simulator.in_thread(latency=0.0) as running:
        yield running


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, simulator: Simulator) -> Iterator[Path]:
    """A finished run of the command line, in a project folder of its own."""
    folder = tmp_path_factory.mktemp("project")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("GOOGLE_API_KEY", KEY)
        patch.setenv("GOOGLE_GEMINI_BASE_URL", simulator.base_url)
        assert call(["run", "--images", str(IMAGES), "--out", "run", "--quiet", "--json"]) == 0
        yield folder / "run"


@pytest.fixture(scope="module")
def tree(made: Path) -> Path:
    export(made, ["workshop"], made.with_name("workshop"))
    return made.with_name("workshop")


@pytest.fixture(scope="module")
def downstream(made: Path) -> Path:
    export(made, ["downstream"], made.with_name("downstream"))
    return made.with_name("downstream")


@pytest.fixture(scope="module")
def report(made: Path) -> QAReport:
    return run_qa(made)


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Path:
    """The same run, to spoil."""
    return shutil.copytree(made, tmp_path / "copy")


def images(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "log/images.jsonl").read_text().splitlines()]


def told(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


# --- the table and its tests ---------------------------------------------------------------------


def rows_of_the_page() -> list[str]:
    """First cells of the tables `original | here`, without code marks."""
    text = (ROOT / "docs/from-the-original.md").read_text(encoding="utf-8")
    tables = re.findall(r"\| original \| here \|[^\n]*\n\|[-| ]+\n((?:\|[^\n]*\n?)+)", text)
    return [line.split(" | ")[0].strip("| ").replace("`", "") for table in tables for line in table.splitlines()]


def rows_of_the_tests() -> set[str]:
    """The arguments of every mark `original` in this folder."""
    found: set[str] = set()
    for path in Path(__file__).parent.glob("test_original_*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.original":
                found |= {ast.literal_eval(argument) for argument in node.args}
    return found


def test_every_row_of_the_page_has_its_test_and_every_test_its_row() -> None:
    page = rows_of_the_page()
    assert len(page) > 50
    assert len(page) == len(set(page))
    assert sorted(set(page) - rows_of_the_tests()) == []
    assert sorted(rows_of_the_tests() - set(page)) == []


# --- configuration of outputs, checks and logs ---------------------------------------------------


@pytest.mark.original(
    "output.output_dir, images_dir … metadata_dir", "output.image_format, metadata_format, export_csv_summaries"
)
async def test_output_options_shape_the_workshop_tree(tmp_path: Path) -> None:
    output = {
        "images_dir": "pictures", "captions_dir": "texts", "image_format": "jpg", "metadata_format": "csv",
        "export_csv_summaries": False, "durability": "none",
    }  # fmt: skip
    config = {**QUICK, "generation": {"num_images": 1}, "output": output}
    await engine.run(config, out=tmp_path / "run", provider=engine.ScriptedProvider())
    export(tmp_path / "run", ["workshop"], tmp_path / "tree")
    names = {str(p.relative_to(tmp_path / "tree")).replace("\\", "/") for p in (tmp_path / "tree").rglob("*.*")}
    assert any(re.fullmatch(r"pictures/sm_\d{8}_0001\.jpg", n) for n in names)
    assert any(n.startswith("texts/") for n in names)
    assert "all_metadata.csv" in names
    assert "all_captions.csv" not in names


@pytest.mark.original("validation.*")
def test_validation_options_have_their_effect(copy: Path) -> None:
    def check(**validation: Any) -> QAReport:
        config = load({"generation": {"num_images": IMAGES}, "validation": validation}).config
        return run_qa(copy, options=Options(config=config))

    assert check(min_image_size_kb=100_000).flags["small_file"] == IMAGES
    assert check(check_duplicates=False).duplicates["checked"] is False
    assert check(generate_qa_report=False).score > 0
    assert not (copy / "qa/report.html").exists()
    assert check(generate_qa_report=True).duplicates["checked"] is True
    assert (copy / "qa/report.html").exists()


@pytest.mark.original("logging.*")
async def test_events_and_the_log_file_of_ones_own_are_written(tmp_path: Path) -> None:
    options = {"log_to_file": True, "log_file": str(tmp_path / "mine.log")}
    config = {**QUICK, "generation": {"num_images": 1}, "logging": options}
    await engine.run(config, out=tmp_path / "run", provider=engine.ScriptedProvider())
    events = (tmp_path / "run/events.jsonl").read_text().splitlines()
    assert events
    assert all(isinstance(json.loads(line), dict) for line in events)
    assert (tmp_path / "mine.log").read_text()


# --- from sources to pictures --------------------------------------------------------------------


@pytest.mark.original("DataCombiner.sample_combined", "build_batch_prompts")
def test_every_image_keeps_its_prompt_and_the_three_contexts(made: Path) -> None:
    for line in images(made):
        assert {"atropia", "demographics", "visual_reference"} <= set(line["source_data"])
        assert line["source_data"]["atropia"]["theme"]
        assert line["prompt"]
        assert (line["style"], line["complexity"]) == ("realistic", "medium")


@pytest.mark.original("validate_prompt (never called)")
async def test_a_prompt_of_two_letters_is_a_finding(tmp_path: Path) -> None:
    (tmp_path / "p.jsonl").write_text('{"prompt": "hi"}\n')
    await engine.run(QUICK, out=tmp_path / "r", prompts=tmp_path / "p.jsonl", provider=engine.ScriptedProvider())
    assert run_qa(tmp_path / "r").flags["prompt_short"] == 1


@pytest.mark.original("notebook 01: packages, imports, configuration, key, models, test image, costs, folders")
def test_the_doctor_looks_at_everything_and_shows_no_key(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["doctor", "--live", "--json"]) == 0
    shown = capsys.readouterr().out
    found = json.loads(shown)
    names = {check["name"] for check in found["checks"]}
    wanted = {"packages", "configuration", "key", "connection", "model", "test image", "test caption", "output folder"}
    assert wanted <= names
    assert found["live"]["image_usd"] > 0.03
    assert [row["images"] for row in found["costs"]][:2] == [10, 50]
    assert KEY not in shown


@pytest.mark.original("notebook 03: preview, cost, resume, progress, preview every five, statistics, grid of six")
def test_the_same_command_resumes_without_asking_again(
    made: Path, simulator: Simulator, capsys: pytest.CaptureFixture[str]
) -> None:
    paid = simulator.stats.paid
    assert call(["run", "--images", str(IMAGES), "--out", str(made), "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["images"]["ok"] == IMAGES
    assert simulator.stats.paid == paid


# --- outputs -------------------------------------------------------------------------------------


@pytest.mark.original("sm_YYYYMMDD_%04d")
def test_ids_are_the_originals_with_one_date_for_the_run(made: Path) -> None:
    ids = sorted(line["image_id"] for line in images(made))
    date = told(made / "run.json")["run_date"]
    assert ids == [f"sm_{date}_{n:04d}" for n in range(1, IMAGES + 1)]


@pytest.mark.original("images/ captions/ labels/ comments/ metadata/, all_*.csv, generation_log.json")
def test_the_tree_is_the_originals(made: Path, tree: Path) -> None:
    for kind in ("images", "captions", "labels", "comments", "metadata"):
        assert len(list((tree / kind).iterdir())) == IMAGES
    assert len(rows(tree / "all_captions.csv")) == len(rows(tree / "all_labels.csv")) == IMAGES
    assert len(rows(tree / "all_comments.csv")) == 5 * IMAGES
    log = told(tree / "generation_log.json")
    assert log["total_generated"] == len(log["log_entries"]) == IMAGES


@pytest.mark.original("analysis/")
def test_what_analysis_held_is_in_downstream_and_qa(report: QAReport, made: Path, downstream: Path) -> None:
    assert {p.name for p in downstream.iterdir()} >= {"images.parquet", "texts.parquet", "edges.csv"}
    assert (made / "qa/report.json").is_file()


@pytest.mark.original("get_summary, check_completeness")
def test_status_and_report_say_what_is_there(made: Path, report: QAReport) -> None:
    status = read_status(made)
    assert (status.images.ok, status.metadata.ok) == (IMAGES, IMAGES)
    assert [part["coverage_percent"] for part in (report.captions, report.labels, report.comments)] == [100.0] * 3


@pytest.mark.original("load_image, load_metadata", "comparison of multimodal models")
def test_images_are_read_with_their_texts_one_by_one(made: Path) -> None:
    items = list(RunReading(made))
    assert len(items) == IMAGES
    for item in items:
        assert check_picture(item.path.read_bytes()).width == 1024
        assert item.caption
        assert item.labels
        assert len(item.comments or ()) == 5
        assert item.metadata_model == "gemini-3.1-flash-lite"


def test_what_the_simulator_said_is_not_taken_for_a_key(made: Path) -> None:
    assert [item.caption for item in RunReading(made) if "[key]" in (item.caption or "")] == []


# --- quality assurance ---------------------------------------------------------------------------


@pytest.mark.original("size, verify, 100×100, mode, blank")
def test_a_picture_with_a_changed_byte_is_found(copy: Path) -> None:
    path = next((copy / "images/0000").iterdir())
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    spoiled = run_qa(copy)
    assert spoiled.images["invalid"] == 1
    assert {"digest", "torn"} & set(spoiled.flags)


@pytest.mark.original("metadata checks")
async def test_images_without_texts_are_findings(tmp_path: Path) -> None:
    config = {**QUICK, "generation": {"num_images": 2}}
    await engine.run(config, out=tmp_path / "r", provider=engine.ScriptedProvider(), stages=["image"])
    flags = run_qa(tmp_path / "r").flags
    assert (flags["no_caption"], flags["no_labels"], flags["no_comments"]) == (2, 2, 2)


@pytest.mark.original("8×8 average hash, all pairs in Python")
async def test_the_same_picture_twice_is_a_pair_of_a_hundred_percent(made: Path, tmp_path: Path) -> None:
    data = next((made / "images/0000").iterdir()).read_bytes()
    picture = engine.Picture(data=data, mime_type="image/png")
    provider = engine.ScriptedProvider(lambda request, number: engine.Response(picture=picture))
    config = {**QUICK, "generation": {"num_images": 2}}
    await engine.run(config, out=tmp_path / "r", provider=provider, stages=["image"])
    found = run_qa(tmp_path / "r").duplicates
    assert found["num_duplicates"] == 1
    assert found["duplicate_pairs"][0]["similarity"] == 100.0


@pytest.mark.original('report with grades (always "Needs Improvement")')
def test_a_good_set_is_graded_excellent_with_the_originals_names(made: Path, report: QAReport) -> None:
    saved = told(made / "qa/report.json")
    wanted = "validation_timestamp output_directory images metadata captions labels comments duplicates summary"
    assert set(wanted.split()) <= set(saved)
    assert saved["summary"]["dataset_quality"] == "Excellent"
    assert {"total_images", "valid_images", "validation_rate", "duplicates_found"} <= set(saved["summary"])
    money = saved["statistics"]["money"]["per_image"]["total"]
    assert 0.8 < money["real"] / money["estimated"] < 1.2


@pytest.mark.original("notebook 05: distributions, caption lengths, duplicates, sample, verdict")
def test_the_report_has_distributions_lengths_and_next_steps(report: QAReport) -> None:
    assert report.statistics["labels"]["crowd_size"]["n"] == IMAGES
    assert report.statistics["texts"]["captions"]["lengths"]["words"]["mean"] > 5
    assert [action.title for action in report.actions]


@pytest.mark.original("human review of 5 %, five questions, notes")
def test_what_people_decide_is_kept_and_counts(copy: Path, tmp_path: Path) -> None:
    first = next(iter(RunReading(copy)))
    decision = Decision(
        status="reject", image_id=first.image.image_id, index=1, id="decision-0001", reviewer="ann",
        generated_at="2026-11-23T10:00:00Z", sha256=first.image.asset.sha256 if first.image.asset else None,
    )  # fmt: skip
    (copy / "log/reviews.jsonl").write_bytes(encode_line(decision))
    assert run_qa(copy).flags["rejected"] == 1
    (done,) = export(copy, ["workshop"], tmp_path / "kept", choice="not-rejected")
    assert done.counts["images"] == IMAGES - 1


@pytest.mark.original("promised: word frequency, bias detection, prompt beside image, recommendations")
def test_what_the_original_only_promised_is_in_the_report(made: Path, report: QAReport) -> None:
    assert report.statistics["texts"]["captions"]["words"]["top"]
    assert report.bias["method"]
    page = (made / "qa/report.html").read_text(encoding="utf-8")
    for section in ("What to do", "Image and prompt", "Captions and comments", "Cost, time, refusals"):
        assert section in page
    assert "Estimated" in page


# --- next steps ----------------------------------------------------------------------------------


@pytest.mark.original("CLIP embeddings, UMAP, HDBSCAN")
def test_the_table_for_embeddings_has_a_path_and_a_text_per_image(downstream: Path) -> None:
    table = pl.read_parquet(downstream / "images.parquet")
    assert table.height == IMAGES
    assert all(Path(p).is_file() for p in table["path"])
    assert table["text_normalised"].str.len_chars().min() > 20  # type: ignore[operator]


@pytest.mark.original("lemmas, emoji to text, hashtag split")
def test_texts_are_normalised(downstream: Path) -> None:
    table = pl.read_parquet(downstream / "texts.parquet")
    assert set(table["kind"]) == {"caption", "comment"}
    assert table.filter(pl.col("text_normalised").str.contains("[#A-Z]")).height == 0
    split = [tag for tags in table["hashtags_split"] for tag in tags]
    assert "we are here" in split or "community" in split or "solidarity" in split


@pytest.mark.original("bipartite and similarity graphs")
def test_edges_name_images_and_what_they_share(made: Path, downstream: Path) -> None:
    ids = {line["image_id"] for line in images(made)}
    for edge in rows(downstream / "edges.csv"):
        assert {edge["source"], edge["target"]} <= ids
        assert 0.3 <= float(edge["weight"]) <= 1
        assert edge["shared_labels"]
    assert {row["image_id"] for row in rows(downstream / "image_labels.csv")} == ids


@pytest.mark.original("dataset packaging")
def test_packages_come_with_a_card_that_says_synthetic(made: Path, tmp_path: Path) -> None:
    formats = ["huggingface", "webdataset", "croissant"]
    export(made, formats, tmp_path / "packed")
    assert "synthetic" in (tmp_path / "packed/huggingface/README.md").read_text(encoding="utf-8").lower()
    assert list((tmp_path / "packed/webdataset").rglob("*.tar"))
    assert list((tmp_path / "packed/croissant").rglob("*.json"))
