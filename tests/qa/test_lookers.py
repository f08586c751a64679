"""Pictures looked at beside the pass: the same looks as within it, whatever becomes of the processes."""

from __future__ import annotations

import hashlib
import subprocess
import tempfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from PIL import Image

from engine.qa import beside, cache, lookers, scan
from engine.qa import look as look_module
from engine.qa.lanczos import reduced
from engine.qa.look import FAULT_CHARS_MAX, HANDFUL, Expected, Look, look_at, looks_at
from engine.qa.lookers import looks_beside

DEADLY = """
import os, signal
from pathlib import Path
from engine.qa import look, looker

opened = look._opened

def deadly(root, expected):
    died = Path(root, "died")
    if "always" in expected.path or ("once" in expected.path and not died.exists()):
        died.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return opened(root, expected)

look._opened = deadly
main = looker.main
"""


def asked(path: Path, **more: Any) -> Expected:
    data = path.read_bytes() if path.exists() else b""
    facts = {"sha256": hashlib.sha256(data).hexdigest(), "size_bytes": len(data), "mime_type": None, **more}
    return Expected(path=path.name, width=None, height=None, **facts)


def beside_looks(root: Path, pictures: list[Expected], processes: int = 2) -> dict[str, Look]:
    return {
        str(key["path"]): look
        for key, look in looks_beside(root, ((({"path": p.path}), p) for p in pictures), processes)
    }


@pytest.fixture
def damaged(tmp_path: Path, draw: Callable[..., Image.Image], encode: Callable[..., bytes]) -> list[Expected]:
    """Whole and broken files of all kinds."""
    png, jpg = encode(draw(1, (640, 512))), encode(draw(2, (700, 600)), "JPEG", quality=92)
    middle = len(png) // 2
    files = {
        "torn.png": png[:-5], "torn.jpg": jpg[:-3], "half.png": png[:middle], "half.jpg": jpg[: len(jpg) // 2],
        "rotten.png": png[:middle] + bytes([png[middle] ^ 4]) + png[middle + 1 :], "page.png": b"<html>" * 90,
        "empty.png": b"", "named.png": jpg, "picture.webp": encode(draw(3), "WEBP"),
        "grey.png": encode(draw(4).convert("L")), "palette.png": encode(draw(5).convert("P")),
        "blank.png": encode(Image.new("RGB", (512, 512), (9, 120, 40))), "tall.png": encode(draw(6, (150, 600))),
        **{f"{n}.png": encode(draw(n, (512, 512))) for n in range(20, 32)},
        **{f"{n}.jpg": encode(draw(n, (1024, 768)), "JPEG") for n in range(20, 32)},
    }  # fmt: skip
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "other.png").write_bytes(png)
    (tmp_path / "linked.png").symlink_to(tmp_path / "20.png")
    pictures = [asked(tmp_path / name) for name in (*files, "gone.png", "linked.png")]
    return [*pictures, Expected("../out.png", None, None, None, 5, 5), asked(tmp_path / "other.png", sha256="0" * 64)]


def test_a_picture_looks_the_same_beside_the_pass_as_in_it(tmp_path: Path, damaged: list[Expected]) -> None:
    alone = {picture.path: look_at(tmp_path, picture) for picture in damaged}
    assert beside_looks(tmp_path, damaged) == alone
    assert len({flag for look in alone.values() for flag in look.integrity}) >= 6


def test_pictures_looked_at_together_look_as_they_do_alone(
    tmp_path: Path, damaged: list[Expected], draw: Callable[..., Image.Image], encode: Callable[..., bytes]
) -> None:
    for n in range(100, 100 + 2 * HANDFUL):
        (tmp_path / f"{n}.jpg").write_bytes(encode(draw(n, (300, 300)), "JPEG"))
    pictures = [*damaged, *(asked(tmp_path / f"{n}.jpg") for n in range(100, 100 + 2 * HANDFUL))]
    alone = [look_at(tmp_path, picture) for picture in pictures]
    for order in (1, -1):
        assert list(looks_at(tmp_path, pictures[::order])) == alone[::order]


def test_a_picture_that_cannot_be_measured_harms_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, draw: Callable[..., Image.Image], encode: Callable[..., bytes]
) -> None:
    for n in range(5):
        (tmp_path / f"{n}.jpg").write_bytes(encode(draw(n, (300 + n, 300)), "JPEG"))

    def picky(image: Image.Image) -> float:
        if image.width == 302:
            raise ValueError("unknown colours")
        return 1.0

    monkeypatch.setattr(look_module, "chroma_std", picky)
    looks = list(looks_at(tmp_path, [asked(tmp_path / f"{n}.jpg") for n in range(5)]))
    assert [look.integrity for look in looks] == [[], [], ["undecodable"], [], []]
    assert [look.phash is None for look in looks] == [False, False, True, False, False]


def test_a_reduction_by_product_is_pillows_to_the_last_bit() -> None:
    rng = np.random.default_rng(7)
    sides = (128, 129, 250, 256, 301, 768, 1024, 1344)
    for width, height in [*pairwise(sides), *((b, a) for a, b in pairwise(sides)), (200, 900), (1500, 40)]:
        for high in (1, 256, 2, 256):  # a blank one first: it says nothing about the others
            pixels = rng.integers(0, high, (height, width), dtype=np.uint8) * (255 // max(1, high - 1))
            luma = Image.fromarray(pixels)
            expected = luma.resize((32, 32), Image.Resampling.LANCZOS)
            assert reduced(luma, 32, by_product=True).tobytes() == expected.tobytes(), (width, height, high)


@pytest.fixture
def deadly(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Processes that are killed while they look at certain pictures."""
    folder = tmp_path_factory.mktemp("deadly")
    (folder / "deadly_looker.py").write_text(DEADLY)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setattr(lookers, "start", lambda module, **_: beside.start("deadly_looker"))


def scanned(root: Path, records: pl.DataFrame, folder: Path) -> pl.DataFrame:
    """What a scan finds of these pictures, in their order."""
    with tempfile.TemporaryDirectory() as work:
        seen = scan.scan_pictures(root, [records], folder, work=Path(work) / "records")
    return cache.light(seen.looks, seen.places)


@pytest.mark.usefixtures("deadly")
def test_a_process_that_dies_loses_nothing_and_a_picture_that_kills_two_is_found(
    tmp_path: Path, draw: Callable[..., Image.Image], encode: Callable[..., bytes]
) -> None:
    names = [
        *(f"{n}.png" for n in range(20)),
        "once.png",
        *(f"{n}.png" for n in range(20, 30)),
        "always.png",
        "last.png",
    ]
    for n, name in enumerate(names):
        (tmp_path / name).write_bytes(encode(draw(n, (64, 64))))
    found = beside_looks(tmp_path, [asked(tmp_path / name) for name in names])
    assert sorted(found) == sorted(names)
    assert found.pop("always.png").integrity == ["undecodable"]
    assert all(not look.integrity and look.phash is not None for look in found.values())


def test_pictures_are_left_to_the_caller_where_no_process_can_be_had(
    tmp_path: Path, damaged: list[Expected], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookers, "start", lambda module, **_: beside.start("no_such_module"))
    monkeypatch.setattr(scan, "BESIDE_FROM", 1)
    columns = ("path", "sha256", "size_bytes", "mime_type", "width", "height")
    todo = pl.DataFrame([{name: getattr(p, name) for name in columns} for p in damaged], infer_schema_length=None)
    assert scanned(tmp_path, todo, tmp_path / "looks")["integrity"].null_count() == 0


def test_an_interrupted_pass_keeps_the_looks_it_got_and_leaves_no_process(
    make_run: Any, draw: Callable[..., Image.Image], encode: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run()
    small = {f"{n}.png": encode(draw(n, (64, 64))) for n in range(40)}
    for name, data in small.items():
        (run.root / name).write_bytes(data)
    todo = pl.DataFrame({"path": [*small]}).with_columns(
        pl.lit(None, pl.String).alias(name) for name in ("sha256", "size_bytes", "mime_type", "width", "height")
    )
    started: list[subprocess.Popen[bytes]] = []

    def start(module: str, **environment: str) -> subprocess.Popen[bytes]:
        started.append(beside.start(module, **environment))
        return started[-1]

    def interrupting(done: int, total: int) -> None:
        if done == 15:
            raise KeyboardInterrupt

    monkeypatch.setattr(lookers, "start", start)
    monkeypatch.setattr(scan, "BESIDE_FROM", 1)
    with pytest.raises(KeyboardInterrupt):
        scan.scan_pictures(run.root, [todo], run.root / "looks", work=run.root / "first", tick=interrupting)
    assert started
    assert all(process.returncode is not None for process in started)
    seen: list[int] = []
    count = lambda done, total: seen.append(done)  # noqa: E731
    scan.scan_pictures(run.root, [todo], run.root / "looks", work=run.root / "second", tick=count)
    assert seen[0] == 15
    assert seen[-1] == 40


def test_a_fault_is_told_in_no_more_words_than_anybody_reads(tmp_path: Path) -> None:
    look = look_at(tmp_path, Expected("x/" * 5_000 + "a.png", None, None, None, None, None))
    assert look.integrity == ["missing"]
    assert len(look.fault or "") <= FAULT_CHARS_MAX


def test_looks_in_many_short_parts_are_put_together_and_still_found(
    tmp_path: Path, damaged: list[Expected], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "PART_ROWS", 3)
    monkeypatch.setattr(cache, "PARTS_SPARE", 2)
    columns = ("path", "sha256", "size_bytes", "mime_type", "width", "height")
    todo = pl.DataFrame([{name: getattr(p, name) for name in columns} for p in damaged], infer_schema_length=None)
    folder = tmp_path / "looks"
    for count in range(1, todo.height + 1):  # as of a run that grows
        scanned(tmp_path, todo.head(count), folder)
    assert len(cache.parts_of(folder)) < todo.height
    looked: list[int] = []
    halves = [todo.head(3), todo.slice(3)]
    again = scan.scan_pictures(
        tmp_path, halves, folder, work=tmp_path / "again", tick=lambda done, _total: looked.append(done)
    )
    assert looked == [todo.height], "nothing was looked at again"
    found = cache.light(again.looks, again.places)
    assert found.equals(scanned(tmp_path, todo, tmp_path / "fresh"))
    thumbs: dict[str, bytes | None] = {}
    for which, some in again.looks.at(again.places, "thumb"):
        thumbs.update(zip(todo["path"].gather(which), some["thumb"], strict=True))
    assert thumbs == {p: look_at(tmp_path, Expected(p, None, None, None, None, None)).thumb for p in todo["path"]}
