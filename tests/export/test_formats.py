"""Parquet, Hugging Face, WebDataset and Croissant: what their readers rely on."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import yaml
from PIL import Image

from engine.export import export, huggingface, webdataset
from engine.export.card import About
from engine.export.reading import RunReading
from engine.export.rows import columns


def test_parquet_holds_one_row_per_image_and_every_column_is_on_the_card(run: Any, tmp_path: Path) -> None:
    export(run.dir.root, ["parquet"], tmp_path / "p")
    frame = pl.read_parquet(tmp_path / "p/images.parquet")
    assert frame["image_id"].to_list() == [f"sm_20260121_000{n}" for n in (1, 2, 4)]
    assert frame.columns == [c.name for c in columns(RunReading(run.dir.root))]
    first = frame.row(0, named=True)
    assert first["theme"] == "protests"
    assert first["label_primary_subjects"] == ["banners", "people"]
    assert json.loads(first["source_data"])["demographics"]["occupation"] == "teacher"
    file = tmp_path / "p/images" / first["file_name"]
    assert hashlib.sha256(file.read_bytes()).hexdigest() == first["sha256"]
    card = (tmp_path / "p/README.md").read_text()
    assert all(f"`{name}`" in card for name in frame.columns)


def test_prompt_files_keep_their_further_columns(make_run: Callable[..., Any], tmp_path: Path) -> None:
    made = make_run()
    made.image(1, source_data={"topic": "bread", "weight": 3})
    export(made.dir.root, ["parquet"], tmp_path / "p")
    row = pl.read_parquet(tmp_path / "p/images.parquet").row(0, named=True)
    assert json.loads(row["source_data"]) == {"topic": "bread", "weight": 3}
    assert row["theme"] is None


def test_hugging_face_shards_hold_the_pictures_bytes_and_say_their_features(run: Any, tmp_path: Path) -> None:
    export(run.dir.root, ["huggingface"], tmp_path / "h", license="CC-BY-4.0", name="A: test")
    (shard,) = (tmp_path / "h/data").iterdir()
    assert shard.name == "train-00000-of-00001.parquet"
    frame = pl.read_parquet(shard)
    picture = frame["image"][0]
    assert picture["bytes"] == run.dir.image_path(1, "sm_20260121_0001", ".png").read_bytes()
    assert Image.open(io.BytesIO(picture["bytes"])).size == (32, 32)
    features = json.loads(pl.read_parquet_metadata(shard)["huggingface"])["info"]["features"]
    assert features["image"] == {"_type": "Image"}
    assert list(features) == frame.columns
    front = yaml.safe_load((tmp_path / "h/README.md").read_text().split("---")[1])
    assert front["license"] == "CC-BY-4.0"
    assert front["pretty_name"] == "A: test"
    assert [f["name"] for f in front["dataset_info"]["features"]] == frame.columns
    assert front["configs"][0]["data_files"][0]["split"] == "train"


def test_shards_are_cut_by_size_and_lose_nothing(
    make_run: Callable[..., Any], tmp_path: Path, monkeypatch: Any
) -> None:
    made = make_run()
    for n in range(1, 8):
        made.image(n)
    reading = RunReading(made.dir.root)
    size = next(iter(reading)).image.asset.size_bytes  # type: ignore[union-attr]
    monkeypatch.setattr(huggingface.plan_shards, "__defaults__", (int(size * 2.5),))
    huggingface.write(reading, tmp_path, about=About(name="x"))
    shards = sorted((tmp_path / "data").iterdir())
    assert len(shards) == 4
    assert [i for s in shards for i in pl.read_parquet(s)["index"]] == [1, 2, 3, 4, 5, 6, 7]


def test_webdataset_samples_share_a_key_and_shards_are_the_same_each_time(
    make_run: Callable[..., Any], tmp_path: Path
) -> None:
    made = make_run()
    made.image(1)
    made.image(2, image_id="a.b.c", kind="JPEG")
    made.metadata(1)
    reading = RunReading(made.dir.root)
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        webdataset.write(reading, tmp_path / name, about=About(name="x"), shard_samples=1)
    with tarfile.open(tmp_path / "one/data-000000.tar") as tar:
        assert tar.getnames() == ["sm_20260121_0001" + s for s in (".png", ".txt", ".json")]
        record = json.load(tar.extractfile("sm_20260121_0001.json"))  # type: ignore[arg-type]
        assert record["labels"]["scene_type"] == "march"
    with tarfile.open(tmp_path / "one/data-000001.tar") as tar:
        assert tar.getnames() == ["000000002-a_b_c.jpg", "000000002-a_b_c.json"]  # a dot would end the key
    assert json.loads((tmp_path / "one/sizes.json").read_text()) == {"data-000000.tar": 1, "data-000001.tar": 1}
    for shard in ("data-000000.tar", "data-000001.tar"):
        assert (tmp_path / "one" / shard).read_bytes() == (tmp_path / "two" / shard).read_bytes()


def test_croissant_describes_every_column_and_the_tables_digest(run: Any, tmp_path: Path) -> None:
    export(run.dir.root, ["croissant"], tmp_path / "c")
    said = json.loads((tmp_path / "c/croissant.json").read_text())
    table = next(d for d in said["distribution"] if d["@id"] == "images.parquet")
    data = (tmp_path / "c/images.parquet").read_bytes()
    assert table["sha256"] == hashlib.sha256(data).hexdigest()
    fields = {f["source"]["extract"]["column"] for f in said["recordSet"][0]["field"]}
    assert fields == set(pl.read_parquet(io.BytesIO(data)).columns)
    assert "fictional" in said["rai:personalSensitiveInformation"]


def test_cards_say_that_it_is_synthetic_and_what_to_do_before_publishing(run: Any, tmp_path: Path) -> None:
    export(run.dir.root, ["parquet"], tmp_path / "p")
    card = (tmp_path / "p/README.md").read_text()
    for word in (
        "**synthetic**",
        "Before you publish",
        "FAIR",
        "CARE",
        "10.48529/MC1F-QH23",
        "10.5281/zenodo.18407373",
    ):
        assert word in card
    assert "refused by the provider: 1" in card
    assert "**Simulated.**" not in card


def test_pictures_of_the_simulator_are_called_so(run: Any, tmp_path: Path) -> None:
    path = run.dir.image_path(1, "sm_20260121_0001", ".png")
    path.write_bytes(path.read_bytes()[:33] + b"tEXtSoftware\0groundswell simulator")
    export(run.dir.root, ["parquet"], tmp_path / "p")
    assert "**Simulated.**" in (tmp_path / "p/README.md").read_text()
