"""The original's tree: names, keys, types, as its own OutputHandler writes and reads them."""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from engine.cli import export_command
from engine.errors import ConfigError, StoreError
from engine.export import export
from engine.export.files import MARKER, CsvFile, neutral

KEYS = {
    "metadata": [
        "image_id",
        "image_filename",
        "image_path",
        "image_size",
        "image_mode",
        "image_format",
        "generated_at",
        "prompt",
        "source_data",
        "generation_config",
    ],
    "caption": ["image_id", "caption", "generated_at", "context"],
    "labels": ["image_id", "labels", "generated_at", "context"],
    "comments": ["image_id", "comments", "num_comments", "generated_at", "context"],
}


def tree(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file() and p.name != MARKER)


def load(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_tree_has_the_originals_names(run: Any, tmp_path: Path) -> None:
    dest = tmp_path / "generated"
    export(run.dir.root, ["workshop"], dest)
    ids = [f"sm_20260121_000{n}" for n in (1, 2, 4)]
    assert tree(dest) == sorted(
        ["all_captions.csv", "all_comments.csv", "all_labels.csv", "generation_log.json"]
        + [f"images/{i}.png" for i in ids]
        + [f"{kind}/{i}_{kind.removesuffix('s') if kind == 'captions' else kind}.json"
           for kind in ("captions", "labels", "comments", "metadata") for i in ids]
    )  # fmt: skip


def test_every_file_has_the_originals_keys_in_order_and_types(run: Any, tmp_path: Path) -> None:
    dest = tmp_path / "generated"
    export(run.dir.root, ["workshop"], dest)
    metadata = load(dest / "metadata/sm_20260121_0001_metadata.json")
    assert list(metadata) == KEYS["metadata"]
    assert metadata["image_path"] == str(dest / "images/sm_20260121_0001.png")
    assert metadata["image_size"] == [32, 32]
    assert (metadata["image_mode"], metadata["image_format"]) == ("RGB", "png")
    assert metadata["generation_config"] == {"style": "realistic", "complexity": "medium"}
    assert metadata["source_data"]["atropia"]["theme"] == "protests"
    caption = load(dest / "captions/sm_20260121_0001_caption.json")
    assert list(caption) == KEYS["caption"]
    labels = load(dest / "labels/sm_20260121_0001_labels.json")
    assert list(labels) == KEYS["labels"]
    assert labels["labels"]["digital text"] == "none"
    comments = load(dest / "comments/sm_20260121_0001_comments.json")
    assert list(comments) == KEYS["comments"]
    assert comments["num_comments"] == len(comments["comments"]) == 3
    for each in (metadata, caption, labels, comments):
        assert datetime.fromisoformat(each["generated_at"]).tzinfo is None  # as datetime.now().isoformat()
    log = load(dest / "generation_log.json")
    assert list(log) == ["total_generated", "generation_started", "generation_completed", "log_entries"]
    assert log["total_generated"] == 3
    assert [list(e) for e in log["log_entries"]] == [["index", "image_id", "image_path", "timestamp"]] * 3


def test_tables_have_the_originals_columns(run: Any, tmp_path: Path) -> None:
    dest = tmp_path / "generated"
    export(run.dir.root, ["workshop"], dest)
    assert list(rows(dest / "all_captions.csv")[0]) == ["image_id", "caption", "generated_at"]
    labels = rows(dest / "all_labels.csv")
    assert list(labels[0])[:3] == ["image_id", "scene_type", "setting"]
    assert len(labels[0]) == 11
    comments = rows(dest / "all_comments.csv")
    assert list(comments[0]) == ["image_id", "comment_index", "comment"]
    assert [c["comment_index"] for c in comments[:3]] == ["1", "2", "3"]
    assert len(comments) == 9


def test_cells_that_a_spreadsheet_would_run_become_text(run: Any, tmp_path: Path) -> None:
    export(run.dir.root, ["workshop"], tmp_path / "g")
    said = [c["comment"] for c in rows(tmp_path / "g/all_comments.csv")[:3]]
    assert said[1:] == ["'=HYPERLINK(1)", "'@you where is this?"]
    truth = load(tmp_path / "g/comments/sm_20260121_0001_comments.json")["comments"]
    assert truth[1] == "=HYPERLINK(1)"  # JSON holds what the model said


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_every_formula_start_is_neutral(start: str) -> None:
    assert neutral(start + "1") == "'" + start + "1"


def test_tables_survive_commas_quotes_and_newlines(tmp_path: Path) -> None:
    with CsvFile(tmp_path / "t.csv", ["a", "b"]) as table:
        table.write(['x,"y"', "two\nlines"])
    assert rows(tmp_path / "t.csv") == [{"a": 'x,"y"', "b": "two\nlines"}]


def test_a_label_cannot_take_the_place_of_the_id(make_run: Callable[..., Any], tmp_path: Path) -> None:
    made = make_run(metadata={"label_categories": ["scene_type"]})
    made.image(1)
    made.metadata(1, labels={"scene_type": "march", "image_id": "stolen"})
    export(made.dir.root, ["workshop"], tmp_path / "g")
    assert rows(tmp_path / "g/all_labels.csv") == [{"image_id": "sm_20260121_0001", "scene_type": "march"}]


def test_pictures_are_links_to_the_same_bytes(run: Any, tmp_path: Path) -> None:
    export(run.dir.root, ["workshop"], tmp_path / "g")
    source = run.dir.image_path(1, "sm_20260121_0001", ".png")
    assert (tmp_path / "g/images/sm_20260121_0001.png").stat().st_ino == source.stat().st_ino
    export(run.dir.root, ["workshop"], tmp_path / "g", link=False)
    copied = tmp_path / "g/images/sm_20260121_0001.png"
    assert copied.stat().st_ino != source.stat().st_ino
    assert copied.read_bytes() == source.read_bytes()


def test_pictures_of_another_type_are_converted_so_that_the_originals_readers_find_them(
    make_run: Callable[..., Any], tmp_path: Path
) -> None:
    made = make_run()
    made.image(1, kind="JPEG")
    (done,) = export(made.dir.root, ["workshop"], tmp_path / "g")
    assert done.counts["converted"] == 1
    with Image.open(tmp_path / "g/images/sm_20260121_0001.png") as picture:
        assert picture.format == "PNG"
    jpg = make_run("jpg", output={"image_format": "jpg"})
    jpg.image(1, kind="JPEG")
    (done,) = export(jpg.dir.root, ["workshop"], tmp_path / "j")
    assert (done.counts["linked"], done.counts["converted"]) == (1, 0)
    assert (tmp_path / "j/images/sm_20260121_0001.jpg").is_file()


def test_the_configured_folders_and_switches_have_their_effect(make_run: Callable[..., Any], tmp_path: Path) -> None:
    made = make_run(output={"images_dir": "pics", "export_csv_summaries": False, "metadata_format": "csv"})
    made.image(1)
    made.metadata(1)
    export(made.dir.root, ["workshop"], tmp_path / "g")
    assert (tmp_path / "g/pics/sm_20260121_0001.png").is_file()
    assert not (tmp_path / "g/all_captions.csv").exists()
    assert rows(tmp_path / "g/all_metadata.csv")[0]["image_id"] == "sm_20260121_0001"


def test_exporting_again_replaces_the_whole_tree(run: Any, tmp_path: Path) -> None:
    dest = tmp_path / "g"
    export(run.dir.root, ["workshop"], dest)
    run.image(1, status="retry", final=False)
    run.image(5)
    export(run.dir.root, ["workshop"], dest)
    assert sorted(p.stem for p in (dest / "images").iterdir()) == [f"sm_20260121_000{n}" for n in (2, 4, 5)]
    assert not (dest / "captions/sm_20260121_0001_caption.json").exists()
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_a_failed_export_leaves_what_was_there(run: Any, tmp_path: Path) -> None:
    dest = tmp_path / "g"
    export(run.dir.root, ["workshop"], dest)
    before = tree(dest)
    run.image(6, file=False)
    with pytest.raises(StoreError, match="groundswell verify"):
        export(run.dir.root, ["workshop"], dest)
    assert tree(dest) == before
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_folders_with_other_files_are_left_alone(run: Any, tmp_path: Path) -> None:
    dest = tmp_path / "mine"
    dest.mkdir()
    (dest / "thesis.txt").write_text("years of work")
    with pytest.raises(ConfigError, match="no export made"):
        export(run.dir.root, ["workshop"], dest)
    assert (dest / "thesis.txt").read_text() == "years of work"


@pytest.mark.parametrize("where", [".", "images", "log/x", ".."])
def test_exports_do_not_go_into_the_run(run: Any, where: str) -> None:
    with pytest.raises(ConfigError):
        export(run.dir.root, ["workshop"], run.dir.root / where)


def test_a_run_without_pictures_says_so(make_run: Callable[..., Any], tmp_path: Path) -> None:
    made = make_run()
    with pytest.raises(StoreError, match="holds no picture yet"):
        export(made.dir.root, ["workshop"], tmp_path / "g")


def command(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    export_command.add_arguments(parser)
    return export_command.run(parser.parse_args(arguments))


def test_several_formats_get_a_folder_each(run: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(str(run.dir.root), "--format", "workshop,downstream", "--to", str(tmp_path / "e"), "--json") == 0
    told = json.loads(capsys.readouterr().out)["exported"]
    assert [t["format"] for t in told] == ["workshop", "downstream"]
    assert (tmp_path / "e/workshop/generation_log.json").is_file()
    assert (tmp_path / "e/downstream/edges.csv").is_file()


def test_unknown_formats_are_refused_with_the_known_ones(run: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"workshop, parquet, huggingface"):
        command(str(run.dir.root), "--format", "csv", "--to", str(tmp_path / "e"))
