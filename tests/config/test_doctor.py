"""The doctor: what it finds, what it says to do, and that it leaves nothing behind."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import pytest

from engine.cli import doctor_command
from engine.errors import StoreError
from engine.runtime.doctor import Diagnosis, examine, local
from engine.runtime.pipeline import SIMULATED_KEY
from engine.settings import Credentials, Secret, load
from engine.simulator import Simulator
from engine.store import RunDir, RunLock, create_run
from schemas.config import RunConfig
from schemas.record import RunManifest

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
KEY = "AIzaSyExampleOnly0000000000000000000000"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def project(tmp_path: Path) -> Callable[..., Path]:
    def write(text: str = "", env: str | None = None) -> Path:
        (tmp_path / "config").mkdir(exist_ok=True)
        (tmp_path / "config/generation_config.yaml").write_text(text)
        if env is not None:
            (tmp_path / "config/.env").write_text(env)
        return tmp_path

    return write


async def see(
    folder: Path, *, base_url: str | None = None, api_key: str | None = None, network: bool = True, live: bool = False
) -> Diagnosis:
    return await examine(
        load(folder, today=NOW.date()),
        environ={},
        now=NOW,
        base_url=base_url,
        api_key=api_key,
        network=network,
        live=live,
        live_dir=folder / "doctor",
    )


def rehearsed(**other: Any) -> RunManifest:
    given: dict[str, Any] = {
        "run_id": "r", "created_at": "2026-11-22T10:00:00Z", "run_date": "20261122", "versions": {},
        "fingerprints": {"answers": "simulator"}, "config": RunConfig().model_dump(mode="json"),
    }  # fmt: skip
    return RunManifest(**(given | other))


def of(found: Diagnosis, name: str) -> list[tuple[str, str]]:
    return [(c.status, c.detail) for c in found.checks if c.name == name]


async def test_all_is_well_against_a_server_that_knows_the_models(project: Callable[..., Path]) -> None:
    folder = project("generation: {num_images: 30}\n", env=f"GOOGLE_API_KEY={KEY}\n")
    async with Simulator(api_key=KEY) as simulator:
        found = await see(folder, base_url=simulator.base_url)
    assert found.works
    assert [c.detail for c in found.checks if c.status == "fail"] == []
    assert of(found, "key") == [("ok", "found: GOOGLE_API_KEY in config/.env")]
    assert {m.name: m.configured_as for m in found.models}["gemini-nano-banana-2.1"] == "generation.model"
    assert found.models[0].configured_as == "generation.model"
    assert [s.images for s in found.costs] == [10, 30, 50, 100, 200]
    assert "generation.num_images = 30" in "".join(d for _, d in of(found, "configuration"))
    assert simulator.stats.paid == 0  # looking costs nothing


async def test_live_makes_one_picture_and_one_caption_with_time_and_price(project: Callable[..., Path]) -> None:
    folder = project()
    async with Simulator() as simulator:
        found = await see(folder, base_url=simulator.base_url, api_key=SIMULATED_KEY, live=True)
    assert found.works
    trial = found.live
    assert trial is not None
    assert trial.image_path is not None
    assert await anyio.Path(trial.image_path).read_bytes() == (folder / "doctor/test_image.png").read_bytes()
    assert trial.caption
    assert 0.03 < (trial.image_usd or 0) < 0.05
    assert 0 < (trial.caption_usd or 0) < 0.01
    assert trial.image_s is not None


async def test_a_wrong_key_fails_with_its_next_step_and_is_not_shown(project: Callable[..., Path]) -> None:
    folder = project(env="GOOGLE_API_KEY=wrong-key-0123456789\n")
    async with Simulator(api_key=KEY) as simulator:
        found = await see(folder, base_url=simulator.base_url)
    (failed,) = [c for c in found.checks if c.status == "fail"]
    assert failed.name == "connection"
    assert "aistudio.google.com" in (failed.next_step or "")
    assert "wrong-key" not in repr(found)


async def test_a_model_the_key_cannot_use_fails_with_the_nearest_ones(project: Callable[..., Path]) -> None:
    folder = project("generation: {model: gemini-nano-banana-9}\n")
    async with Simulator() as simulator:
        found = await see(folder, base_url=simulator.base_url, api_key=SIMULATED_KEY)
    (failed,) = [c for c in found.checks if c.status == "fail"]
    assert "generation.model: gemini-nano-banana-9 is not among" in failed.detail
    assert "gemini-nano-banana-2.1" in (failed.next_step or "")


async def test_nobody_answering_is_a_failure_in_words(project: Callable[..., Path]) -> None:
    found = await see(project(env=f"GEMINI_API_KEY={KEY}"), base_url="http://127.0.0.1:9")
    assert [(s) for s, _ in of(found, "connection")] == ["fail"]
    assert KEY not in repr(found)


async def test_without_a_key_the_rest_is_still_examined(project: Callable[..., Path]) -> None:
    found = await see(project(env="GOOGLE_API_KEY=your_gemini_api_key_here"))
    assert not found.works
    ((status, detail),) = of(found, "key")
    assert status == "fail"
    assert "placeholder" in detail
    assert of(found, "connection")[0][0] == "skip"
    assert of(found, "disk space")[0][0] == "ok"


async def test_the_doctor_leaves_nothing_behind(project: Callable[..., Path]) -> None:
    folder = project()
    before = sorted(folder.rglob("*"))
    await see(folder, network=False)
    assert sorted(folder.rglob("*")) == before


async def test_a_plan_that_does_not_fit_the_disk_fails(project: Callable[..., Path]) -> None:
    found = await see(project("generation: {num_images: 900_000_000}\n"), network=False)
    ((status, detail),) = of(found, "disk space")
    assert status == "fail"
    assert "GB free" in detail


async def test_a_file_in_the_place_of_the_output_folder_fails(project: Callable[..., Path]) -> None:
    folder = project("output: {output_dir: taken}\n")
    (folder / "taken").write_text("x")
    found = await see(folder, network=False)
    assert of(found, "output folder")[0][0] == "fail"


async def test_a_folder_with_pictures_of_the_other_kind_fails_before_a_run_does(project: Callable[..., Path]) -> None:
    folder = project("output: {output_dir: rehearsed}\n")
    create_run(RunDir(folder / "rehearsed"), rehearsed(), durability="none")
    ((status, detail),) = of(await see(folder, network=False), "output folder")
    assert status == "fail"
    assert "pictures of the simulator" in detail
    async with Simulator() as simulator:
        found = await see(folder, base_url=simulator.base_url, api_key=SIMULATED_KEY)
    assert of(found, "output folder")[0][0] == "ok"  # rehearsing once more is fine


async def test_a_run_that_is_being_made_is_told_of(project: Callable[..., Path]) -> None:
    folder = project("output: {output_dir: busy}\n")
    run = RunDir(folder / "busy")
    create_run(run, rehearsed(fingerprints={}), durability="none")
    with RunLock(run):
        found = await see(folder, network=False)
    ((status, detail),) = of(found, "output folder")
    assert (status, "right now" in detail) == ("warn", True)


async def test_every_failure_and_warning_says_what_to_do(
    project: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_few(calls: int) -> int:
        raise StoreError("only 16 files may be open")

    monkeypatch.setattr(local, "check_handles", too_few)
    folder = project(
        "generation: {num_images: 900_000_000, model: gemini-nano-banana-9}\noutput: {output_dir: taken}\n"
    )
    (folder / "taken").write_text("x")
    found = await see(folder, base_url="http://127.0.0.1:9")
    failed = [c for c in found.checks if c.status == "fail"]
    assert {c.name for c in failed} >= {"key", "output folder", "open files"}
    assert [c.name for c in failed if len(c.next_step or "") < 15] == []


def test_vertex_needs_a_project_and_no_key() -> None:
    assert local.key(Credentials(), "vertex", given=False).status == "fail"
    assert local.key(Credentials(project="p"), "vertex", given=False).status == "ok"
    mixed = local.key(Credentials(key=Secret(KEY), key_from="x", vertex=True), "developer", given=False)
    assert mixed.status == "warn"
    assert "generation.backend" in (mixed.next_step or "")


def test_the_clock_knows_when_the_day_turns() -> None:
    assert "20 h 00 min" in local.clock(NOW).detail  # noon UTC is 04:00 Pacific
    assert local.clock(datetime(1970, 1, 1, tzinfo=UTC)).status == "fail"


def doctor(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    doctor_command.add_arguments(parser)
    return doctor_command.run(parser.parse_args(arguments))


def test_the_command_gives_2_when_a_run_could_not_work(
    project: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(project())
    monkeypatch.delenv("GOOGLE_API_KEY", raising=False)
    monkeypatch.delenv("GEMINI_API_KEY", raising=False)
    assert doctor() == 2
    shown = capsys.readouterr().out
    assert "config/.env.example" in shown
    assert "no quota set" in shown  # what the times come from
    assert "could not work yet: key" in shown


def test_the_command_takes_the_options_that_a_run_takes(
    project: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = project()
    monkeypatch.chdir(folder)
    words = ("--images", "7", "--model", "gemini-3-pro-image", "--out", "here", "--set", "generation.resolution=2K")
    assert doctor("--simulate", "--json", *words) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["config"]["generation"]["num_images"] == 7
    assert told["config"]["generation"]["model"] == "gemini-3-pro-image"
    assert told["config"]["generation"]["resolution"] == "2K"
    assert told["config"]["output"]["output_dir"] == str(folder / "here")


def test_it_fits_a_terminal_of_eighty_columns(
    project: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(project())
    monkeypatch.setenv("COLUMNS", "80")
    assert doctor("--simulate") == 0
    assert [line for line in capsys.readouterr().out.splitlines() if len(line) > 80] == []


def test_the_command_in_json_and_on_the_simulator(
    project: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(project())
    assert doctor("--simulate", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["works"] is True
    assert told["config"]["generation"]["num_images"] == 50
    assert doctor("--simulate") == 0
    assert "Ready" in capsys.readouterr().out
