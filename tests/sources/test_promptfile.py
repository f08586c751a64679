"""Prompt files: any image set from JSONL, CSV or Parquet, checked whole, streamed, problems by line."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from engine.errors import SourceError
from engine.sources.promptfile import PROBLEMS_MAX, PromptFile, open_promptfile, spoken

ROWS: list[dict[str, Any]] = [
    {"prompt": "A red door", "id": "door-1", "style": "plain", "mood": "calm"},
    {"prompt": "A blue door,\nwith a second line", "id": "", "style": "", "mood": "brisk"},
    {"prompt": "Tür “drei” 🚪", "id": "door.3", "style": "", "mood": ""},
]


def opened(path: Path) -> PromptFile:
    return open_promptfile(path, "20260121")


def written(folder: Path, rows: list[dict[str, Any]], suffix: str) -> Path:
    path = folder / f"prompts{suffix}"
    if suffix == ".jsonl":
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    elif suffix == ".parquet":
        pl.DataFrame(rows).write_parquet(path)
    else:
        out = io.StringIO(newline="")
        writer = csv.DictWriter(out, rows[0], delimiter="\t" if suffix == ".tsv" else ",")
        writer.writeheader()
        writer.writerows(rows)
        path.write_text(out.getvalue(), encoding="utf-8", newline="")
    return path


def problems(path: Path) -> list[str]:
    with pytest.raises(SourceError) as caught:
        opened(path)
    return str(caught.value).splitlines()


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".tsv", ".parquet"])
def test_every_format_gives_the_same_prompts(tmp_path: Path, suffix: str) -> None:
    file = opened(written(tmp_path, ROWS, suffix))
    first, second, third = file.prompts()
    assert file.count == 3
    assert (first.index, first.image_id, first.text, first.style) == (1, "door-1", "A red door", "plain")
    assert (second.image_id, second.text, second.style) == (
        "sm_20260121_0002",
        "A blue door,\nwith a second line",
        None,
    )
    assert (third.image_id, third.text) == ("door.3", "Tür “drei” 🚪")
    assert first.source_data == {"mood": "calm"}


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
@pytest.mark.parametrize("start", [1, 2, 999, 1000, 1001, 1002, 2000, 2001, 2500])
def test_the_stream_can_be_entered_anywhere(tmp_path: Path, suffix: str, start: int) -> None:
    rows = [{"prompt": f"Door {n}\nsecond line" if n % 7 == 0 else f"Door {n}"} for n in range(1, 2501)]
    file = opened(written(tmp_path, rows, suffix))
    told = list(file.prompts(start))
    assert [p.index for p in told] == list(range(start, 2501))
    assert told[0].text.startswith(f"Door {start}")
    assert told[0].image_id == f"sm_20260121_{start:04d}"


def test_a_bom_crlf_and_blank_lines_do_no_harm(tmp_path: Path) -> None:
    table = tmp_path / "a.csv"
    table.write_bytes('\ufeffprompt;id\r\n"one; two";a\r\n\r\nthree;b\r\n'.encode())
    assert [(p.text, p.image_id) for p in opened(table).prompts()] == [("one; two", "a"), ("three", "b")]
    lines = tmp_path / "a.jsonl"
    lines.write_bytes('\ufeff{"prompt": "one"}\r\n\r\n  \n{"prompt": "two"}'.encode())
    assert [p.text for p in opened(lines).prompts()] == ["one", "two"]


def test_problems_name_file_and_line_and_come_all_at_once(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text(
        '{"prompt": "good"}\n'
        '{"prompt": ""}\n'
        '{"prompt": 7}\n'
        "{broken\n"
        '["a list"]\n'
        '{"prompt": "x", "id": "../../etc/passwd"}\n'
        '{"prompt": "x", "id": ".hidden"}\n'
        '{"prompt": "x", "style": 3}\n'
        '{"prompt": "\\ud800 half"}\n'
        '{"prompt": "x", "reference_images": "a.png"}\n'
        '{"prompt": "\\u202e\\u0000"}\n'
    )
    told = problems(path)
    assert [line.split(":")[0].rsplit(" ", 1)[1] for line in told] == [str(n) for n in range(2, 12)]
    assert all(line.startswith(f"{path}, line ") for line in told)
    for words, line in zip(
        [
            "missing or empty",
            "int",
            "not valid JSON",
            "list",
            "not usable",
            "not usable",
            "style",
            "surrogate",
            "not there",
            "invisible",
        ],
        told,
        strict=True,
    ):
        assert words in line, line


def test_at_most_twenty_problems_are_told(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text('{"prompt": "ok"}\n' + '{"prompt": "x", "id": "a b"}\n' * 500)
    told = problems(path)
    assert len(told) == PROBLEMS_MAX + 1
    assert "rest was not read" in told[-1]


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".jsonl"])
def test_an_id_may_not_come_twice(tmp_path: Path, suffix: str) -> None:
    rows = [{"prompt": "a", "id": "same"}, {"prompt": "b", "id": "other"}, {"prompt": "c", "id": "same"}]
    (told,) = problems(written(tmp_path, rows, suffix))
    assert "id 'same'" in told
    unit = "row" if suffix == ".parquet" else "line"
    first = {".csv": 2, ".parquet": 1, ".jsonl": 1}[suffix]
    assert f"{unit} {first} already" in told
    assert f"{unit} {first + 2}:" in told


def test_a_given_id_may_not_be_that_of_a_numbered_row(tmp_path: Path) -> None:
    rows = [{"prompt": "a", "id": "sm_20260121_0002"}, {"prompt": "b", "id": ""}]
    (told,) = problems(written(tmp_path, rows, ".jsonl"))
    assert "sm_20260121_0002" in told


def test_a_wrong_file_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text("[]")
    (tmp_path / "p.csv").write_text("text,id\nhello,1\n")
    (tmp_path / "q.csv").write_text("prompt\n")
    (tmp_path / "p.parquet").write_bytes(b"PAR1 not really")
    (tmp_path / "empty.jsonl").write_text("")
    cases = {
        "p.json": ".jsonl",
        "p.csv": "no column prompt",
        "q.csv": "no prompts",
        "p.parquet": "Parquet",
        "empty.jsonl": "empty",
        "gone.csv": "does not exist",
    }
    for name, words in cases.items():
        told = problems(tmp_path / name)
        assert len(told) == 1
        assert words in told[0]
    assert "is a folder" in problems(tmp_path)[0]


def test_tables_that_do_not_hold_together_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text("prompt,id\none,a\ntwo,b,extra\nthree\n")
    assert ["line 3: has 3 fields, the header has 2" in problems(path)[0], "line 4" in problems(path)[1]] == [
        True,
        True,
    ]
    path.write_bytes(b"prompt\nok\n\xff\xfe\n")
    assert "not UTF-8" in problems(path)[0]
    path.write_text('prompt\n"never closed\nand more\n')
    assert "unexpected end of data" in problems(path)[0]


def test_what_is_too_large_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text(json.dumps({"prompt": "x" * 32_001}) + "\n" + json.dumps({"prompt": "x" * 32_000}) + "\n")
    assert "32,001 characters" in problems(path)[0]
    path.write_text(json.dumps({"prompt": "x", "notes": "y" * 70_000}) + "\n")
    assert "further columns" in problems(path)[0]
    path.write_text('{"prompt": "' + "x" * 5_000_000 + '"}\n')
    assert "longer than" in problems(path)[0]
    path.write_text('{"prompt": "x", "deep": ' + "[" * 400 + "]" * 400 + "}\n")
    assert "line 1" in problems(path)[0]


def test_a_file_that_changes_while_it_is_read_stops_the_stream(tmp_path: Path) -> None:
    path = written(tmp_path, ROWS, ".jsonl")
    file = opened(path)
    path.write_text('{"prompt": "something else"}\n')
    with pytest.raises(SourceError, match="changed while"):
        list(file.prompts())


def test_reference_images_lie_beside_the_file_and_are_known_by_content(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    Image.new("RGB", (20, 20)).save(folder / "a.png")
    Image.new("RGB", (20, 20)).save(folder / "b.jpg", format="WEBP")
    path = folder / "p.csv"
    path.write_text('prompt,reference_images\none,a.png|b.jpg\ntwo,"[""a.png""]"\nthree,\n')
    one, two, three = opened(path).prompts()
    assert [r.mime_type for r in one.references] == ["image/png", "image/webp"], "by content, not by name"
    assert two.references == (one.references[0],)
    assert three.references == ()
    assert "reference_images" not in one.source_data


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("../a.png", "lies outside"),
        ("/etc/passwd", "lies outside"),
        ("link.png", "symbolic link"),
        ("text.png", "by its content"),
        ("gone.png", "not there"),
    ],
)
def test_reference_images_that_may_not_be_sent_are_refused(tmp_path: Path, name: str, words: str) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    Image.new("RGB", (20, 20)).save(tmp_path / "a.png")
    (folder / "link.png").symlink_to(tmp_path / "a.png")
    (folder / "text.png").write_text("hello")
    told = problems(written(folder, [{"prompt": "x", "reference_images": [name]}], ".jsonl"))
    assert words in told[0]


def test_more_references_than_can_be_sent_are_refused(tmp_path: Path) -> None:
    told = problems(written(tmp_path, [{"prompt": "x", "reference_images": ["a.png"] * 15}], ".jsonl"))
    assert "at most 14" in told[0]


def test_source_data_of_an_earlier_run_is_laid_open(tmp_path: Path) -> None:
    path = written(tmp_path, [{"prompt": "x", "source_data": {"atropia": {"theme": "protests"}}, "n": 3}], ".jsonl")
    (prompt,) = opened(path).prompts()
    assert prompt.source_data == {"atropia": {"theme": "protests"}, "n": 3}


def test_parquet_values_become_plain_json(tmp_path: Path) -> None:
    import datetime

    frame = pl.DataFrame(
        {"prompt": ["x"], "day": [datetime.date(2025, 1, 2)], "share": [float("nan")], "tags": [["a", "b"]], "id": [7]}
    )
    frame.write_parquet(tmp_path / "p.parquet")
    (prompt,) = opened(tmp_path / "p.parquet").prompts()
    assert prompt.source_data == {"day": "2025-01-02", "share": None, "tags": ["a", "b"]}
    assert prompt.image_id == "7"


@given(text=st.text(max_size=300))
def test_what_is_sent_holds_no_controls_and_stays_as_it_is(text: str) -> None:
    told = spoken(text)
    assert not any(ord(c) < 32 and c != "\n" for c in told)
    assert not any(c in told for c in "\u202e\u202d\u2066\u2069\ufeff\u200b\x7f")
    assert spoken(told) == told


PRINTABLE = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cf", "Cs", "Zl", "Zp"]), max_size=40)
FILLED = PRINTABLE.filter(lambda t: bool(spoken(t)))


@settings(max_examples=40)
@given(rows=st.lists(st.fixed_dictionaries({"prompt": FILLED, "note": PRINTABLE}), min_size=1, max_size=20))
def test_any_text_survives_each_format(tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]]) -> None:
    folder = tmp_path_factory.mktemp("formats")
    for suffix in (".jsonl", ".csv", ".parquet"):
        told = list(opened(written(folder, rows, suffix)).prompts())
        assert [p.text for p in told] == [spoken(row["prompt"]) for row in rows]


@settings(max_examples=60)
@given(data=st.binary(max_size=400), suffix=st.sampled_from([".jsonl", ".csv", ".parquet", ".tsv"]))
def test_garbage_is_refused_with_a_message_or_read(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, suffix: str
) -> None:
    path = tmp_path_factory.mktemp("garbage") / f"p{suffix}"
    path.write_bytes(data)
    told = ""
    try:
        list(opened(path).prompts())
    except SourceError as error:
        told = str(error)
    else:
        told = str(path)
    assert str(path) in told
