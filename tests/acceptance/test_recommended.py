"""What the report recommends can be pasted as it stands, in any folder."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

QUICK = ("--stages", "image", "--set", "validation.min_image_size_kb=0", "--set", "validation.check_duplicates=false")
ROWS = '{"prompt": "a red square on white"}\n{"prompt": "a blue circle on black"}\n{"prompt": "a green line"}\n'


@pytest.mark.parametrize("prompts", [None, "mine.jsonl"])
def test_the_command_that_mends_a_picture_works_from_a_folder_with_another_configuration(
    tmp_path: Path, shell: Any, prompts: str | None
) -> None:
    project, elsewhere = tmp_path / "my project", tmp_path / "elsewhere"
    for folder, style in ((project, "artistic"), (elsewhere, "documentary")):
        (folder / "config").mkdir(parents=True)
        (folder / "config/generation_config.yaml").write_text(f"prompts:\n  style: {style}\n")
    (project / "mine.jsonl").write_text(ROWS)
    given = ("--prompts", prompts) if prompts else ()
    words = ("run", "--simulate", "--out", "data/it's mine", "--images", "2", "--json", *given, *QUICK)
    made = shell.call(*words, "--set", "generation.seed=7", cwd=project)
    assert made.code == 0, made.err
    run = project / "data/it's mine"
    broken = min((run / "images").rglob("*.png"))
    broken.write_bytes(broken.read_bytes()[:-20])
    report = json.loads(shell.call("qa", "data/it's mine", "--json", cwd=project).out)
    command = next(a["command"] for a in report["actions"] if "--redo qa" in (a["command"] or ""))
    name, *rest = shlex.split(command)
    assert name == "groundswell"
    mended = shell.call(*rest, "--stages", "image", "--json", cwd=elsewhere)
    assert mended.code == 0, mended.err
    assert json.loads(mended.out)["images"] == {"asked": 2, "ok": 2, "refused": 0, "failed": 0}
    assert shell.call("qa", run, "--json", cwd=elsewhere).code == 0
    manifest = json.loads((run / "run.json").read_text())
    assert manifest["origin"]["project"] == str(project), "where it was taken up from does not change where it belongs"
