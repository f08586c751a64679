"""What a person, or a program, is told when a command cannot do what it was asked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engine.cli.main import call


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty folder, and an environment without a key."""
    monkeypatch.chdir(tmp_path)
    for name in ("GOOGLE_API_KEY", "GEMINI_API_KEY", "GOOGLE_GEMINI_BASE_URL", "GOOGLE_GENAI_USE_VERTEXAI"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    "line",
    [
        "run --images 2 --json",
        "run --images two --json",
        "run --budgt 5 --json",
        "run --config nowhere.yaml --json",
        "status nowhere --json",
        "status --json",
        "qa nowhere --json",
        "verify nowhere --json",
        "export nowhere --format parquet --to there --json",
        "export nowhere --format nothing --to there --json",
        "estimate --images 0 --json",
        "estimate --config nowhere.yaml --json",
        "doctor --config nowhere.yaml --json",
        "sources --config nowhere.yaml --json",
        "review nowhere --json",
        "demo --images 0 --json",
    ],
)
def test_a_command_that_fails_still_answers_a_program_with_one_object(
    line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code = call(line.split())
    out, err = capsys.readouterr()
    told = json.loads(out)
    assert code == told["exit_code"] == 2, err
    assert out.count("\n") == 1
    assert told["error"]
    assert told["next_step"]
    assert all(f"groundswell: {part}" in err for part in told["error"].splitlines()), "people read it, too"
    assert "Traceback" not in err


def test_without_json_standard_output_stays_empty_when_a_command_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["status", "nowhere"]) == 2
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("line", "guess"),
    [
        ("satus nowhere", "status"),
        ("run --budgt 5", "--budget"),
        ("run --prompt mine.csv", "--prompts"),
    ],
)
def test_a_slip_of_the_finger_is_answered_with_what_was_meant(
    line: str, guess: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(line.split()) == 2
    assert f"did you mean {guess}?" in capsys.readouterr().err


@pytest.mark.parametrize("out", ["a-file", "a-file/below"])
def test_a_run_directory_that_is_a_file_is_wrong_usage(out: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("a-file").write_text("mine")
    assert call(["run", "--simulate", "--images", "1", "--out", out, "--quiet"]) == 2
    assert "a-file is a file; choose another --out" in capsys.readouterr().err
    assert Path("a-file").read_text() == "mine"


def test_a_port_that_is_none_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["simulate", "--port", "99999"]) == 2
    assert "'99999' is not a port; give a number from 0 to 65535" in capsys.readouterr().err


def test_a_prompt_file_that_is_not_there_is_not_answered_with_our_sample(capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["run", "--simulate", "--prompts", "nowhere.csv", "--quiet"]) == 2
    said = capsys.readouterr().err
    assert "nowhere.csv does not exist" in said
    assert "our sample" not in said


@pytest.mark.parametrize(
    "line", ["run --images many", "demo --images 0", "estimate --images -1", "sources --samples 0"]
)
def test_a_number_that_is_none_is_named(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(line.split()) == 2
    assert f"'{line.split()[-1]}' is not a whole number above 0; give one, such as 500" in capsys.readouterr().err
