"""What a stranger may put into files that a run reads, and into answers that it keeps."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine.cli.main import call
from engine.providers.scripted import ScriptedProvider, answer_to

Command = Callable[..., tuple[int, str]]


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """A command line in this process, in a folder of its own; gives exit code and everything it said."""
    monkeypatch.chdir(tmp_path)
    for name in ("GOOGLE_API_KEY", "GOOGLE_GEMINI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GEMINI_API_KEY", "AIza" + "k" * 35)

    def run(*words: str) -> tuple[int, str]:
        code = call([*words])
        said = capsys.readouterr()
        return code, said.out + said.err

    return run


def tree(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*")}


BAD_ROWS: dict[str, dict[str, Any]] = {
    "a path upwards": {"id": "../../escaped"},
    "an absolute path": {"id": "/tmp/escaped"},
    "a hidden name": {"id": ".bashrc"},
    "a NUL in a name": {"id": "a\x00b"},
    "a name turned round": {"id": "a\u202egnp.b"},
    "a name longer than any file's": {"id": "x" * 300},
    "a name with a separator of Windows": {"id": "..\\escaped"},
    "a prompt of a megabyte": {"prompt": "word " * 250_000},
    "nothing but invisible characters": {"prompt": "\u202e\u200b\x00\x07"},
    "a picture outside of the folder": {"reference_images": ["../secret.png"]},
    "a picture by absolute path": {"reference_images": ["/etc/hostname"]},
    "a picture behind a link": {"reference_images": ["link.png"]},
}


def test_hostile_rows_are_all_named_and_nothing_is_made_or_asked(
    tmp_path: Path, command: Command, simulator: Any
) -> None:
    sim = simulator()
    (tmp_path / "secret.txt").write_text("not yours")
    (tmp_path / "link.png").symlink_to(tmp_path / "secret.txt")
    rows = [{"prompt": f"A quiet square, seen from above, {n}", **row} for n, row in enumerate(BAD_ROWS.values())]
    (tmp_path / "p.jsonl").write_text("\n".join(map(json.dumps, rows)))
    before = tree(tmp_path)
    code, said = command("run", "--prompts", "p.jsonl", "--out", "out", "--base-url", sim.base_url)
    assert code == 2
    for n, what in enumerate(BAD_ROWS, 1):
        assert f"line {n}" in said or f":{n}" in said, f"{what} was not refused: {said}"
    assert len(said) < 20_000
    assert not any(mark in said for mark in ("\x00", "\u202e", "\x07", "Traceback"))
    assert tree(tmp_path) == before
    assert sim.stats.calls == 0


def test_invisible_characters_are_not_sent_and_emoji_are(tmp_path: Path, command: Command, simulator: Any) -> None:
    sim = simulator()
    prompt = "A square\x00 with\u202e a flag \U0001f3f3\ufe0f\u200d\U0001f308 and e\u0301\x1b[31m crowds"
    (tmp_path / "p.jsonl").write_text(json.dumps({"prompt": prompt, "id": "one"}))
    code, said = command("run", "--prompts", "p.jsonl", "--out", "out", "--base-url", sim.base_url, "--quiet")
    assert code == 0, said
    asked = sim.stats.seen[0].text
    assert "\U0001f3f3\ufe0f\u200d\U0001f308" in asked
    assert not any(mark in asked for mark in "\x00\u202e\x1b")
    assert (tmp_path / "out/images/0000/one.png").is_file()


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(f"k{n}: &k{n} [{', '.join([f'*k{n - 1}' if n else '*a'] * 9)}]\n" for n in range(12)),  # noqa: E501
        "generation: &g\n  num_images: *g\n",
        "[" * 100_000,
        "generation: {num_images: 1, num_images: 2}\n",
        "generation: !!python/object/apply:os.system ['touch hacked']\n",
        "rate_limiting: {requests_per_minute: .inf, call_timeout_s: .nan, max_in_flight: -1}\n",
        "generation: \x00\n",
        "x" * (2 << 20),
    ],
    ids=["aliases", "itself", "brackets", "twice", "python", "infinity", "nul", "large"],
)  # fmt: skip
def test_a_hostile_configuration_is_refused_at_once(tmp_path: Path, command: Command, text: str) -> None:
    (tmp_path / "c.yaml").write_text(text)
    code, said = command("run", "--config", "c.yaml", "--out", "out", "--simulate")
    assert code == 2, said
    assert "c.yaml" in said
    assert "Traceback" not in said
    assert len(said) < 5_000
    assert tree(tmp_path) == {"c.yaml"}


@pytest.mark.parametrize("name", ["images", "log", "quarantine"])
def test_no_run_is_led_out_of_its_folder_by_a_link(name: str, tmp_path: Path, command: Command, simulator: Any) -> None:
    sim = simulator()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).symlink_to(tmp_path / "elsewhere")
    code, said = command(
        "run", "--out", "out", "--images", "2", "--stages", "image", "--base-url", sim.base_url, "--quiet"
    )
    assert code == (0 if name == "quarantine" else 1), said
    assert tree(tmp_path / "elsewhere") == set()
    assert sim.stats.calls == (2 if name == "quarantine" else 0), "a picture was paid for that could not be kept"


async def test_formulas_and_markup_in_answers_are_shown_as_text(tmp_path: Path) -> None:
    """A model that was talked into it by a prompt: the answer is kept as it is and harmless wherever it is shown."""
    import engine
    from engine.export import export
    from engine.qa.model import Options
    from engine.qa.run import run_qa

    evil = '=HYPERLINK("http://x","</script><img src=x onerror=alert(1)>")'

    def answer(request: Any, _n: int) -> Any:
        made = answer_to(request)
        if made.text is None:
            return None
        data = json.loads(made.text)
        data["captions"] = [evil + " people" for _ in data["captions"]]
        return msgspec.structs.replace(made, text=json.dumps(data))

    out = tmp_path / "r"
    summary = await engine.run({"generation": {"num_images": 2}}, out, provider=ScriptedProvider(answer))
    assert summary.metadata.ok == 2
    run_qa(out, options=Options())
    page = (out / "qa/report.html").read_text()
    assert "<img src=x" not in page
    assert "</script><img" not in page
    export(out, ["workshop"], tmp_path / "export")
    tables = [p.read_text().splitlines() for p in (tmp_path / "export").rglob("*.csv")]
    cells = [cell for table in tables for row in csv.reader(table) for cell in row]
    assert any("HYPERLINK" in c for c in cells)
    assert not any(c.startswith(("=", "+", "@", "\t", "\r")) for c in cells)


@pytest.mark.parametrize("trick", ["link", "linked folder", "pipe"])
def test_what_lies_in_the_place_of_a_picture_is_not_followed_and_holds_nobody(
    trick: str, tmp_path: Path, command: Command
) -> None:
    """A run directory from a stranger: links to files of the reader, pipes that never end."""
    run = tmp_path / "run"
    code, said = command("run", "--simulate", "--images", "2", "--out", "run", "--stages", "image")
    assert code == 0, said
    picture = next(run.glob("images/0000/*_0002.png"))
    secret = tmp_path / "secret.png"
    picture.rename(secret)
    if trick == "linked folder":
        secret.rename(picture)
        picture.parent.rename(tmp_path / "elsewhere")
        picture.parent.symlink_to(tmp_path / "elsewhere")
    elif trick == "link":
        picture.symlink_to(secret)
    else:
        os.mkfifo(picture)
    code, said = command("qa", "run")
    assert code == 3, said
    for form in ("workshop", "webdataset", "huggingface", "parquet"):
        code, said = command("export", "run", "--format", form, "--to", form)
        assert code == 1, (form, said)
        assert "groundswell verify" in said
        assert "Traceback" not in said
        assert not (tmp_path / form).exists()
    assert command("verify", "run")[0] == 3
