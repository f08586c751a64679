"""The quick way through a log tells what the slow and simple way tells, whatever the bytes are."""

from __future__ import annotations

import zlib
from typing import Any
from unittest.mock import patch

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.store import RunDir, scan
from engine.store.scan import Damage, Settled, is_whole, read_blocks, sift
from schemas.outcome import Failure, Usage
from schemas.record import MetadataRecord, Start, check_line, encode_line

Kit = Any


def sealed(body: bytes) -> bytes:
    """Any bytes as a line with a good checksum."""
    return b'%b,"crc":"%08x"}\n' % (body, zlib.crc32(b"}", zlib.crc32(body)))


def simply(data: bytes) -> tuple[list[tuple[int, Settled]], list[Damage]]:
    """Every line on its own: split, checked as the format says, parsed whole."""
    good: list[tuple[int, Settled]] = []
    bad: list[Damage] = []
    at = 0
    for number, line in enumerate(data.split(b"\n")[:-1], 1):
        try:
            if not check_line(line):
                raise ValueError
            good.append((at, msgspec.json.decode(line, type=Settled)))
        except ValueError:
            bad.append(Damage(number, at, len(line) + 1))
        at += len(line) + 1
    return good, bad


def a_text_line(index: int, text: str, tasks: tuple[str, ...]) -> bytes:
    return encode_line(
        MetadataRecord(
            job=f"{index:032x}", status="ok", stage="metadata", image_id=f"sm_{index}", index=index, attempt=1,
            final=True, generated_at="2026-01-21T00:00:00.000Z", latency_s=1.5, model="gemini-x", usage=Usage(),
            cost_usd=None, tasks=tasks, caption=text, labels={"caption": text, "prompt": 1},
        )
    )  # fmt: skip


def an_image_line(index: int, text: str, error: str | None) -> bytes:
    fields = {
        "v": 1, "job": f"{index:032x}", "status": "ok", "stage": "image", "image_id": "x", "index": index,
        "attempt": 2, "final": True, "generated_at": "2026-01-21T00:00:00.000Z", "latency_s": 1.5, "model": text[:30],
        "usage": {"prompt_tokens": 7, "output_tokens": 1290, "total_tokens": 1297}, "cost_usd": 0.039,
        "error": None if error is None else msgspec.to_builtins(Failure(kind="server", message=error)),
        "prompt": text, "source_data": {"prompt": text, "caption": ',"prompt":', "status": "no"},
    }  # fmt: skip
    return sealed(msgspec.json.encode(fields)[:-1])


def a_start_line(index: int, text: str) -> bytes:
    return encode_line(
        Start(
            job=f"{index:032x}", status="start", stage="image", image_id=text[:9], index=index, attempt=1,
            generated_at="2026-01-21T00:00:00Z", model=text,
        )
    )  # fmt: skip


TEXT = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=30),
    st.sampled_from(['","prompt":"', "\\", '{"}', "é" * 900, "x" * 5000, ',"caption":', ',"crc":"00000000"}']),
)
INDEX = st.integers(0, 2**40)
GOOD = st.one_of(
    st.builds(an_image_line, INDEX, TEXT, st.none() | TEXT),
    st.builds(a_text_line, INDEX, TEXT, st.sampled_from([(), ("caption",), ("caption", "labels")])),
    st.builds(a_start_line, INDEX, TEXT),
)
ODD = st.one_of(
    st.just(b"\n"),
    st.binary(max_size=60).map(lambda noise: noise + b"\n"),
    st.integers(0, 4000).map(lambda count: bytes(count) + b"\n"),
    st.sampled_from(
        [
            b'"crc":"00000000"}\n',
            b',"crc":"' + b"%08x" % zlib.crc32(b"}") + b'"}\n',
            sealed(b""),
            sealed(b"{"),
            sealed(b'{"v":1,"colour":"blue"'),
            sealed(b'{"job":"a","job":"b","status":"ok","status":"retry","index":1,"index":2'),
            sealed(b'{"job":"\\ud800","status":"ok"'),
            sealed(b'{"job":"a","status":"\\udc00\\ud800"'),
            sealed(b'{"job":"\xff","status":"ok"'),
            sealed(b'{"job":"a","status":"ok","index":"one"'),
            sealed(b'{"status":"ok","prompt":"' + b"x" * 700 + b'","job":"late"'),
            sealed(b'{"job":"a","status":"ok","note":{"n":"' + b"x" * 700 + b'","prompt":1},"index":5'),
            b"x" * 40_000 + b"\n",
            b"x" * 200_000 + b"\n",
        ]
    ),
)


@st.composite
def spoilt(draw: st.DrawFn) -> bytes:
    """A good line, and then not."""
    line = bytearray(draw(GOOD))
    at = draw(st.integers(0, len(line) - 1))
    how = draw(st.sampled_from(["flip", "cut", "insert", "newline"]))
    if how == "flip":
        line[at] ^= draw(st.sampled_from([1, 4, 32, 128]))
    elif how == "cut":
        del line[at : at + draw(st.integers(1, 40))]
    else:
        line[at:at] = b"\n" if how == "newline" else draw(st.binary(min_size=1, max_size=20))
    return bytes(line)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.one_of(GOOD, GOOD, ODD, spoilt()), max_size=12),
    st.integers(0, 50),
    st.sampled_from([1, 64, 1000, 1 << 17]),
)
def test_sifting_tells_the_good_lines_and_the_damage_of_any_bytes(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[bytes], torn: int, chunk_bytes: int
) -> None:
    log = tmp_path_factory.getbasetemp() / "any.jsonl"
    data = b"".join(pieces)
    data = data[: len(data) - torn]
    log.write_bytes(data)
    good, bad = simply(data)
    seen: list[tuple[int, bytes]] = []
    with patch.object(scan, "CHUNK_BYTES", chunk_bytes), patch.object(scan, "LINE_BYTES_MAX", 20_000):
        parts = list(sift(log, Settled, heads=True, seen=lambda at, line: seen.append((at, line))))
        whole = [record for part in sift(log, Settled) for record in part.records]
        blocks = list(read_blocks(log))
    assert [record for part in parts for record in part.records] == whole == [record for _, record in good]
    assert [part.damage for part in parts if part.damage is not None] == bad
    assert [at for at, _ in seen] == [at for at, _ in good]
    assert all(data[at:].startswith(line + b"\n") for at, line in seen)
    ends = dict.fromkeys(at + len(line) + 1 for at, line in seen)
    assert all(part.end in ends and data[: part.end].endswith(part.newest + b"\n") for part in parts if part.records)
    rebuilt = b"".join(
        data[block.offset : block.offset + block.skipped]
        if block.skipped
        else b"".join(line + b"\n" for line in block.lines)
        for block in blocks
    )
    assert rebuilt == data[: data.rfind(b"\n") + 1]


@given(st.binary(max_size=40), st.booleans())
def test_a_line_of_any_bytes_is_whole_exactly_if_the_format_says_so(body: bytes, good: bool) -> None:
    line = sealed(b"{" + body)[:-1] if good else body
    assert is_whole(line) == check_line(line)
    for at in range(max(0, len(line) - 18), len(line)):
        other = line[:at] + bytes([line[at] ^ 32]) + line[at + 1 :]
        assert is_whole(other) == check_line(other)


def test_a_change_in_the_last_two_bytes_of_a_line_is_damage(run: RunDir, kit: Kit) -> None:
    line = encode_line(kit.an_image_line(1))
    run.images_log.write_bytes(line[:-3] + b"x}\n" + line[:-2] + b"]\n" + line)
    found = [part.damage for part in sift(run.images_log, Settled, heads=True)]
    assert [bad.line for bad in found if bad is not None] == [1, 2]
