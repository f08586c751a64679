"""Every planted defect of a file is told by its name, and whole files by none; one bad file ends nothing."""

from __future__ import annotations

import io

import polars as pl
import pytest
from PIL import Image

from engine.qa import FLAGS, run_qa
from engine.qa.model import INTEGRITY


def flags_of(root) -> dict[int, set[str]]:
    frame = pl.read_parquet(root / "qa" / "images.parquet")
    return {index: set(flags) for index, flags in frame.select("index", "flags").iter_rows()}


def rotten(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 4]) + data[middle + 1 :]


def test_each_damage_is_told_by_name_and_whole_files_are_left_alone(make_run, draw, encode):
    run = make_run()
    png, jpg = encode(draw(1)), encode(draw(2), "JPEG", quality=92)
    whole = {"sha256": None}
    cases: list[tuple[str, bytes, str, str]] = [
        ("torn png", png[:-5], ".png", "torn"),
        ("torn jpeg", jpg[:-3], ".jpg", "torn"),
        ("half a png", png[: len(png) // 2], ".png", "torn"),
        ("half a jpeg", jpg[: len(jpg) // 2], ".jpg", "torn"),
        ("a rotten png", rotten(png), ".png", "torn"),
        ("a rotten jpeg", rotten(jpg), ".jpg", "digest"),
        ("an error page", b"<!doctype html><html>502</html>" * 30, ".png", "not_an_image"),
        ("nothing", b"", ".png", "empty"),
    ]
    import hashlib

    for index, (_, data, suffix, _) in enumerate(cases, start=1):
        clean = png if suffix == ".png" else jpg
        whole = {"sha256": hashlib.sha256(clean).hexdigest(), "size_bytes": len(clean), "width": 256, "height": 256}
        run.image(index, data, suffix=suffix, recorded=whole)
    for index in range(20, 30):
        run.image(index, encode(draw(index), "JPEG" if index % 2 else "PNG"), suffix=".jpg" if index % 2 else ".png")
    report = run_qa(run.root)
    found = flags_of(run.root)
    for index, (name, _, _, flag) in enumerate(cases, start=1):
        assert flag in found[index], name
    assert all(not found[i] & set(INTEGRITY) for i in range(20, 30))
    assert report.images["invalid"] == len(cases)
    assert report.exit_code == 3


def test_a_file_that_is_gone_is_missing(make_run, draw, encode):
    run = make_run()
    run.image(1, encode(draw(1)))
    next((run.root / "images").rglob("*.png")).unlink()
    run_qa(run.root)
    assert flags_of(run.root)[1] == {"missing"}


def test_wrong_type_and_extension_and_dimensions_are_told_apart(make_run, draw, encode):
    run = make_run()
    run.image(1, encode(draw(1), "JPEG"), suffix=".png", recorded={"mime_type": "image/jpeg"})
    run.image(2, encode(draw(2)), recorded={"mime_type": "image/webp"})
    run.image(3, encode(draw(3)), recorded={"width": 512})
    run_qa(run.root)
    found = flags_of(run.root)
    assert found[1] & set(INTEGRITY) == {"extension"}
    assert found[2] & set(INTEGRITY) == {"type"}
    assert found[3] & set(INTEGRITY) == {"dimensions"}


def test_a_decompression_bomb_is_not_decoded(make_run, draw, encode):
    run = make_run()
    import struct
    import zlib

    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")
    run.image(1, bomb)
    run_qa(run.root)
    assert "bomb" in flags_of(run.root)[1]


@pytest.mark.parametrize(
    ("flag", "make"),
    [
        ("blank", lambda image: Image.new("RGB", image.size, (90, 120, 40))),
        ("dark", lambda image: image.point(lambda v: v // 8)),
        ("light", lambda image: image.point(lambda v: 255 - (255 - v) // 14)),
        ("grey", lambda image: image.convert("L")),
        ("aspect", lambda image: image.resize((1024, 256))),
    ],
)
def test_a_picture_of_poor_quality_is_flagged_and_its_original_is_not(make_run, draw, encode, flag, make):
    run = make_run()
    run.image(1, encode(make(draw(1, (512, 512)))))
    run.image(2, encode(draw(2, (512, 512))))
    run.image(3, encode(draw(3, (512, 512))))
    run_qa(run.root)
    found = flags_of(run.root)
    assert flag in found[1]
    assert flag not in found[2] | found[3]


def test_a_blurred_picture_is_flagged(make_run, draw, encode):
    from PIL import ImageFilter

    run = make_run()
    run.image(1, encode(draw(1, (512, 512)).filter(ImageFilter.GaussianBlur(9))))
    run.image(2, encode(draw(2, (512, 512))))
    run_qa(run.root)
    assert "blurred" in flags_of(run.root)[1]
    assert "blurred" not in flags_of(run.root)[2]


def test_nothing_outside_qa_is_touched(make_run, draw, encode):
    run = make_run()
    run.image(1, encode(draw(1)))
    run.answer(1)

    def state() -> dict[str, tuple[int, bytes]]:
        files = (p for p in run.root.rglob("*") if p.is_file() and "qa" not in p.relative_to(run.root).parts)
        return {str(p): (p.stat().st_mtime_ns, p.read_bytes()) for p in files}

    before = state()
    run_qa(run.root)
    assert state() == before


def test_every_flag_of_integrity_is_critical_and_made_again():
    assert len(INTEGRITY) == 11
    assert all(FLAGS[name].severity == "critical" and FLAGS[name].redo for name in INTEGRITY)
    assert "blank" not in INTEGRITY


def test_an_unchanged_picture_is_not_read_again_and_a_changed_one_is(make_run, draw, encode, monkeypatch):
    run = make_run()
    run.image(1, encode(draw(1)))
    run.image(2, encode(draw(2)))
    run_qa(run.root)
    from engine.qa import scan

    seen: list[str] = []
    original = scan.look_at

    def counted(root, expected):
        seen.append(expected.path)
        return original(root, expected)

    monkeypatch.setattr(scan, "look_at", counted)
    run_qa(run.root)
    assert seen == []
    changed = next((run.root / "images").rglob("*0002.png"))
    changed.write_bytes(encode(draw(9)) + b"")
    run_qa(run.root)
    assert [p.rsplit("/", 1)[1] for p in seen] == ["sm_20260121_0002.png"]
    assert "digest" in flags_of(run.root)[2]


def test_an_interrupted_pass_keeps_what_it_has_seen(make_run, draw, encode, monkeypatch):
    run = make_run()
    for i in range(1, 13):
        run.image(i, encode(draw(i)))
    from engine.qa import scan

    original = scan.look_at
    calls: list[str] = []

    def breaking(root, expected):
        calls.append(expected.path)
        if expected.path.endswith("0009.png"):
            raise KeyboardInterrupt
        return original(root, expected)

    monkeypatch.setattr(scan, "look_at", breaking)
    with pytest.raises(KeyboardInterrupt):
        run_qa(run.root)
    again: list[str] = []

    def watching(root, expected):
        again.append(expected.path)
        return original(root, expected)

    monkeypatch.setattr(scan, "look_at", watching)
    report = run_qa(run.root)
    assert report.summary["valid_images"] == 12
    assert len(again) == 4  # the first eight were kept


def test_an_image_of_an_unknown_kind_of_bytes_does_not_end_the_pass(make_run, draw, encode):
    run = make_run()
    run.image(1, b"\x89PNG\r\n\x1a\n" + b"\xff" * 3000)
    run.image(2, b"\xff\xd8\xff" + b"\x00" * 3000 + b"\xff\xd9")
    run.image(3, b"RIFF" + (2992).to_bytes(4, "little") + b"WEBP" + b"\x01" * 2988)
    out = io.BytesIO()
    draw(4).save(out, "GIF")
    run.image(4, out.getvalue())
    run.image(5, encode(draw(5)))
    report = run_qa(run.root)
    assert report.images["invalid"] == 4
    assert report.images["valid"] == 1


def test_thresholds_come_from_the_configuration(make_run, draw, encode):
    run = make_run({"validation": {"thresholds": {"dark_p99": 255}}})
    run.image(1, encode(draw(1)))
    run_qa(run.root)
    assert "dark" in flags_of(run.root)[1]
