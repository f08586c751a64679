"""The five scripts, end to end on the simulator: as scripts, as notebooks, and inside a running loop."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import subprocess
import sys
import threading
from pathlib import Path
from types import ModuleType

import pytest
from PIL import Image

import engine
from engine.errors import RunMismatch
from engine.observe.events import AttemptEnded, RunEnded, RunOpened
from engine.runtime.status import read_status
from schemas.outcome import Usage
from schemas.record import ImageRecord

SCRIPTS = Path(__file__).parents[2] / "scripts"
NAMES = (
    "01_setup_and_test",
    "02_prepare_source_data",
    "03_generate_images",
    "04_generate_metadata",
    "05_quality_assurance",
)


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


def environment(folder: Path) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if k in {"PATH", "HOME", "LANG", "TMPDIR"}}
    return {
        **kept,
        "SIMULATE": "1",
        "IMAGES": "4",
        "OUT": str(folder / "run"),
        "FIGURES": str(folder / "figures"),
        "MPLCONFIGDIR": str(folder / "mpl"),
        "PYTHONUTF8": "1",
    }


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What each script said when it was run in a project folder of its own."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "config").mkdir()
    (folder / "config/generation_config.yaml").write_text("metadata: {num_comments_per_image: 3}\n")
    told: dict[str, str] = {"folder": str(folder)}
    for name in NAMES:
        done = subprocess.run(
            [sys.executable, str(SCRIPTS / f"{name}.py")],
            cwd=folder,
            env=environment(folder),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"{name}:\n{done.stdout}\n{done.stderr}"
        told[name] = done.stdout
    return told


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_all_five_run_as_scripts_one_after_the_other(said: dict[str, str]) -> None:
    assert "Ready to simulate." in said["01_setup_and_test"]
    assert "combinations" in said["02_prepare_source_data"]
    assert "4 of 4 images, 0 refused, 0 failed" in said["03_generate_images"]
    assert "captions  4 of 4 (100.0 %)" in said["04_generate_metadata"]
    assert "score" in said["05_quality_assurance"]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_they_leave_what_they_name(said: dict[str, str]) -> None:
    folder = Path(said["folder"])
    assert (folder / "data/doctor/test_image.png").is_file()
    assert len(list((folder / "run/images/0000").glob("*.png"))) == 4
    assert len(list((folder / "run_workshop/comments").glob("*.json"))) == 4
    assert (folder / "run_downstream/edges.csv").is_file()
    assert (folder / "run/qa/report.json").is_file()
    with Image.open(folder / "figures/03_samples.png") as sheet:
        assert sheet.size == (3 * 256, 2 * 256)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", NAMES)
def test_each_runs_as_a_notebook(name: str, said: dict[str, str], tmp_path: Path) -> None:
    """Cells in order in one kernel, with top-level await, on the run that the scripts have made."""
    jupytext = pytest.importorskip("jupytext")
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    notebook = jupytext.read(SCRIPTS / f"{name}.py")
    if name in {"03_generate_images", "04_generate_metadata"}:
        assert any("await finish(engine.open_run" in c.source for c in notebook.cells if c.cell_type == "code")
    here = {**environment(Path(said["folder"])), "PYTHONPATH": str(SCRIPTS)}
    with pytest.MonkeyPatch.context() as patch:
        for key, value in here.items():
            patch.setenv(key, value)
        nbclient.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": said["folder"]}}).execute()
    outputs = [o for c in notebook.cells for o in c.get("outputs", [])]
    assert not [o for o in outputs if o.output_type == "error"]
    if name != "02_prepare_source_data":
        assert any("image/png" in o.get("data", {}) for o in outputs)


@pytest.fixture(scope="module")
def workshop() -> ModuleType:
    spec = importlib.util.spec_from_file_location("workshop_under_test", SCRIPTS / "workshop.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


async def nap() -> str:
    await asyncio.sleep(0)
    return "done"


async def fail() -> None:
    raise ValueError("as it was")


def test_waiting_works_without_a_loop(workshop: ModuleType) -> None:
    assert workshop.wait(nap()) == "done"


async def test_waiting_works_inside_a_running_loop_as_in_an_editors_cells(workshop: ModuleType) -> None:
    assert workshop.wait(nap()) == "done"
    with pytest.raises(ValueError, match="as it was"):
        workshop.wait(fail())


async def test_an_interrupt_while_waiting_stops_the_work_too(
    workshop: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the run would go on asking, and paying, in a thread behind the interrupted cell."""
    ended: list[str] = []
    joins = iter([KeyboardInterrupt()])
    join = threading.Thread.join

    def interrupted(self: threading.Thread, timeout: float | None = None) -> None:
        if (error := next(joins, None)) is not None:
            raise error
        join(self, timeout)

    async def long() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            ended.append("tidied up")

    monkeypatch.setattr(threading.Thread, "join", interrupted)
    with pytest.raises(KeyboardInterrupt):
        workshop.wait(long())
    assert ended == ["tidied up"]


async def test_interrupting_a_cell_keeps_every_answer_that_is_paid_for(workshop: ModuleType, tmp_path: Path) -> None:
    answers = asyncio.Event()
    provider = engine.ScriptedProvider(lambda request, number: answered())

    async def answered() -> None:
        await answers.wait()

    config = {"generation": {"num_images": 50}, "rate_limiting": {"max_in_flight": 5}}
    opening = engine.open_run(tmp_path / "run", config, provider=provider, stages=["image"])
    cell = asyncio.create_task(workshop.finish(opening))
    while provider.in_flight < 5:  # noqa: ASYNC110  it tells nobody
        await asyncio.sleep(0)
    cell.cancel()
    await asyncio.sleep(0)
    answers.set()
    with pytest.raises(asyncio.CancelledError):
        await cell
    images = read_status(tmp_path / "run").images
    assert (images.ok, images.in_doubt, len(provider.requests)) == (5, 0, 5)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), asyncio.CancelledError()])
def test_an_interrupted_cell_ends_with_a_sentence(
    workshop: ModuleType, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    monkeypatch.setattr(workshop, "in_notebook", lambda: True)
    with (
        pytest.raises(workshop.Stopped, match="run this again to carry on") as stopped,
        workshop.gemini(simulate=False),
    ):
        raise error
    assert stopped.value._render_traceback_() == [str(stopped.value)]


def test_an_error_of_the_engine_is_one_line_in_a_script(
    workshop: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended, workshop.gemini(simulate=False):
        raise RunMismatch("choose another --out")
    assert ended.value.code == 2
    assert capsys.readouterr().err == "choose another --out\n"


def test_progress_of_a_thousand_images_is_a_few_lines(
    workshop: ModuleType, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    progress = workshop.Progress(tmp_path)
    progress(RunOpened(out="", resumed=False, asked={"image": 1000}, settled={}))
    for _ in range(1000):
        progress(AttemptEnded(record=a_record()))
    progress(RunEnded(summary=None))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 12
    assert "1,000 of 1,000" in lines[-1]


def a_record() -> ImageRecord:
    return ImageRecord(
        job="", status="ok", stage="image", image_id="sm_20261122_0001", index=1, attempt=1, final=True,
        generated_at="2026-11-22T00:00:00Z", latency_s=1.0, model="m", usage=Usage(), cost_usd=0.04, prompt="p",
        source_data={}, style=None, complexity=None, aspect_ratio=None, resolution=None,
    )  # fmt: skip


def test_without_a_key_pictures_go_beside_the_real_ones(
    workshop: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("OUT", "IMAGES", "GOOGLE_API_KEY", "GEMINI_API_KEY", "SIMULATE", "OUTPUT_DIR"):
        monkeypatch.delenv(name, raising=False)
    assert workshop.out_dir(workshop.settings()).name == "generated_simulated"
    monkeypatch.setenv("GOOGLE_API_KEY", "a-key-of-the-script-tests")
    assert workshop.out_dir(workshop.settings()).name == "generated"


def test_ranges_are_drawn_in_their_order_and_words_by_size(workshop: ModuleType) -> None:
    assert list(workshop.ordered({"101-1000": 9, ">1000": 1, "1-5": 2, "6-20": 5})) == [
        "1-5",
        "6-20",
        "101-1000",
        ">1000",
    ]
    assert list(workshop.ordered({"park": 1, "street": 5})) == ["street", "park"]
    assert len(workshop.ordered({str(n): n for n in range(40)})) == 12


def test_charts_are_text_where_matplotlib_is_missing(
    workshop: ModuleType, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    workshop.bars({"crowd_size": {"1-5": 3, ">1000": 6}, "empty": {}}, "x")
    out = capsys.readouterr().out
    assert "crowd size" in out
    assert out.index("1-5") < out.index(">1000")


def test_a_grid_of_nothing_says_so(workshop: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    workshop.grid([], "x")
    assert "no pictures" in capsys.readouterr().out


@pytest.mark.parametrize("name", NAMES)
def test_scripts_are_short_and_explained(name: str) -> None:
    text = (SCRIPTS / f"{name}.py").read_text()
    assert len(text.splitlines()) <= 160
    assert text.count("# %% [markdown]") >= 4
