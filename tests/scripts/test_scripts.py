"""The five scripts, end to end on the simulator: as scripts, as notebooks, and inside a running loop."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from PIL import Image

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
    assert "Ready." in said["01_setup_and_test"]
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
        assert any("await engine.run" in c.source for c in notebook.cells if c.cell_type == "code")
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


def test_charts_are_text_where_matplotlib_is_missing(
    workshop: ModuleType, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    workshop.bars({"crowd_size": {"1-5": 3, ">1000": 6}, "empty": {}}, "x")
    out = capsys.readouterr().out
    assert "crowd size" in out
    assert out.index(">1000") < out.index("1-5")


def test_a_grid_of_nothing_says_so(workshop: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    workshop.grid([], "x")
    assert "no pictures" in capsys.readouterr().out


@pytest.mark.parametrize("name", NAMES)
def test_scripts_are_short_and_explained(name: str) -> None:
    text = (SCRIPTS / f"{name}.py").read_text()
    assert len(text.splitlines()) <= 160
    assert text.count("# %% [markdown]") >= 4
