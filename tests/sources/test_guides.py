"""Visual references: scrubbed text by default; pictures only with consent and licence, without a trace."""

from __future__ import annotations

import hashlib
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from engine.errors import SourceError
from engine.sources import guides
from engine.sources.guides import scrubbed
from engine.sources.pictures import sanitised
from schemas.config import SocialMedia


def load(folder: Path, cache: Path | None = None, seed: int = 1, **config: Any) -> tuple[list[Any], Any]:
    return guides.load(SocialMedia(**config), folder, seed, cache)


def picture(size: tuple[int, int] = (1600, 1200), colour: str = "navy", fmt: str = "JPEG", **extra: Any) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, colour).save(out, fmt, **extra)
    return out.getvalue()


def geotagged() -> bytes:
    exif = Image.Exif()
    exif[0x010F] = "SecretCameraMaker"
    exif[0x0112] = 6
    exif.get_ifd(0x8825)[1] = "N"
    exif.get_ifd(0x8825)[2] = (40.0, 22.0, 0.0)
    return picture(exif=exif, comment=b"by @someone", icc_profile=b"profile-of-mine")


def listed(folder: Path, *items: dict[str, Any], name: str = "refs.json") -> None:
    (folder / name).write_text(json.dumps(list(items)))


def test_the_bundled_guides_are_text_with_kinds(tmp_path: Path) -> None:
    told, origin = load(tmp_path)
    assert len(told) == origin.items == 30
    assert {guide.kind for guide in told} == {"scene", "graphic"}
    assert all(guide.reference is None for guide in told)
    assert all(scrubbed(guide.description) == guide.description for guide in told)


def test_the_originals_list_is_read_with_its_labels(tmp_path: Path) -> None:
    listed(
        tmp_path,
        {
            "description": "An infographic about voting",
            "label_1": "informational",
            "label_2": "digital image with text",
            "path": "a/b.jpg",
        },
        {"id": "visual_001", "description": "Women holding signs", "setting": "urban street", "activity_level": "high"},
        {"description": "", "label_1": "", "label_2": ""},
    )
    told, origin = load(tmp_path, path="refs.json")
    assert [guide.kind for guide in told] == ["graphic", "scene"]
    assert told[0].label_1 == "informational"
    assert told[1].activity_level == "high"
    assert "b.jpg" not in json.dumps([g.as_source_data() for g in told]), "file names never leave"
    assert origin.found == 3


@pytest.mark.parametrize(
    ("raw", "gone"),
    [
        ("A march, photo by Jane Doe", "Jane"),
        ("Crowd at the gate @real_handle and @other.one", "@"),
        ("See https://example.org/x?y=1 or www.site.org/abc", "example"),
        ("Write to jane.doe@example.org about it", "jane"),
        ("Taken at 40.3777, 49.8920 in spring", "40.3777"),
        ("Call +1 (555) 010-9999 for details", "555"),
        ("President Jane Doe speaks to a crowd", "Jane"),
        ("A woman named Jane Doe with a sign", "Jane"),
        ("Image credit: John Q Public. A square", "Public"),
        ("hidden\u202etext \u200bhere\x00", "\u202e"),
        ("A crowd at 12 Main Street shouting", "Main"),
    ],
)
def test_whoever_and_wherever_it_was_is_scrubbed(raw: str, gone: str) -> None:
    assert gone not in scrubbed(raw)


def test_what_is_nobodys_stays() -> None:
    text = "A group of women hold hand-painted signs in front of a brick building, one sign larger than the rest"
    assert scrubbed(text) == text
    assert scrubbed("Two people #solidarity") == "Two people solidarity"


@example(text="@")
@example(text="a @bc")
@example(text="@b#c")
@example(text="@ann@bob")
@given(text=st.text(max_size=200))
def test_scrubbing_takes_anything_and_is_done_at_once(text: str) -> None:
    once = scrubbed(text)
    assert not re.search(r"(?<!\S)@[A-Za-z]{2}", once)
    assert "\n" not in once
    assert '"' not in once


def test_csv_jsonl_and_folders_with_sidecars(tmp_path: Path) -> None:
    (tmp_path / "g.csv").write_text("file_name,caption,license\na.jpg,A row of tents,CC0\n")
    (tmp_path / "g.jsonl").write_text('{"text": "A circle of chairs"}\n\n{"caption": "A banner"}\n')
    folder = tmp_path / "refs"
    folder.mkdir()
    (folder / "one.jpg").write_bytes(picture((32, 32)))
    (folder / "one.txt").write_text("A raised cardboard sign")
    (folder / "two.png").write_bytes(picture((32, 32), fmt="PNG"))
    (folder / "two.json").write_text('{"description": "A poster", "licence": "CC0", "consent": true}')
    (folder / "three.txt").write_text("A crowd from behind")
    assert [g.description for g in load(tmp_path, path="g.csv")[0]] == ["A row of tents"]
    assert [g.description for g in load(tmp_path, path="g.jsonl")[0]] == ["A circle of chairs", "A banner"]
    told, _ = load(tmp_path, path="refs")
    assert {g.description for g in told} == {"A raised cardboard sign", "A poster", "A crowd from behind"}
    assert all(g.reference is None for g in told), "text is the default"


def test_at_most_so_many_descriptions_are_used(tmp_path: Path) -> None:
    told, origin = load(tmp_path, max_descriptions=7)
    assert len(told) == 7
    assert origin.found == 30


def test_pictures_lose_everything_but_their_pixels(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(geotagged())
    listed(tmp_path, {"description": "A march", "path": "a.jpg", "consent": True, "licence": "CC BY 4.0"})
    (guide,), origin = load(tmp_path, tmp_path / "cache", path="refs.json", mode="images")
    data = Path(guide.reference.path).read_bytes()
    assert Path(guide.reference.path).name == f"{guide.reference.sha256}.jpg"
    assert hashlib.sha256(data).hexdigest() == guide.reference.sha256
    for trace in (
        b"Exif",
        b"SecretCameraMaker",
        b"@someone",
        b"profile-of-mine",
        b"ICC_PROFILE",
        b"http://ns.adobe.com",
    ):
        assert trace in geotagged() or trace == b"http://ns.adobe.com"
        assert trace not in data
    with Image.open(io.BytesIO(data)) as image:
        assert image.size == (768, 1024), "turned upright and made smaller"
        assert not image.getexif()
    assert origin.licence == "CC BY 4.0"


def test_a_later_session_sends_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.jpg").write_bytes(picture())
    listed(tmp_path, {"description": "A march", "path": "a.jpg", "consent": True, "licence": "CC0"})
    config = {"path": "refs.json", "mode": "images"}
    (first,), _ = load(tmp_path, tmp_path / "cache", **config)
    monkeypatch.setattr("engine.sources.pictures._QUALITY", 20)
    (again,), _ = load(tmp_path, tmp_path / "cache", **config)
    assert again == first, "the cache decides, not the encoder of the day"
    Path(first.reference.path).write_bytes(b"spoilt")
    (repaired,), _ = load(tmp_path, tmp_path / "cache", **config)
    assert hashlib.sha256(Path(repaired.reference.path).read_bytes()).hexdigest() == repaired.reference.sha256


def test_without_a_cache_pictures_are_checked_and_nothing_is_written(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(picture())
    listed(tmp_path, {"description": "A march", "path": "a.jpg", "consent": True, "licence": "CC0"})
    before = sorted(tmp_path.rglob("*"))
    (guide,), _ = load(tmp_path, path="refs.json", mode="images")
    assert guide.reference.path == ""
    assert sorted(tmp_path.rglob("*")) == before


def test_pictures_without_consent_or_licence_are_all_listed(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(picture((32, 32)))
    good = {"description": "x", "path": "a.jpg", "consent": True, "licence": "CC0"}
    listed(
        tmp_path,
        good,
        {**good, "consent": False},
        {**good, "licence": "Unknown"},
        {"description": "y", "path": "a.jpg"},
    )
    with pytest.raises(SourceError) as caught:
        load(tmp_path, tmp_path / "cache", path="refs.json", mode="images")
    message = str(caught.value)
    assert "item 1:" not in message
    assert "item 2: consent: true is missing" in message
    assert "item 3: a licence is missing" in message
    assert "item 4: consent: true and a licence is missing" in message
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("../outside.jpg", "lies outside"),
        ("/etc/passwd", "lies outside"),
        ("link.jpg", "symbolic link"),
        ("sub/inner.jpg", "symbolic link|lies outside"),
        ("gone.jpg", "is not there"),
        ("a.gif", "no PNG, JPEG or WebP"),
        ("text.jpg", "no picture that can be read"),
        ("bomb.png", "at most 50,000,000"),
    ],
)
def test_pictures_that_may_not_be_read_are_refused(tmp_path: Path, path: str, words: str) -> None:
    folder = tmp_path / "refs"
    folder.mkdir()
    (tmp_path / "outside.jpg").write_bytes(picture((32, 32)))
    (folder / "link.jpg").symlink_to(tmp_path / "outside.jpg")
    (folder / "sub").symlink_to(tmp_path)
    (tmp_path / "inner.jpg").write_bytes(picture((32, 32)))
    (folder / "a.gif").write_bytes(picture((32, 32), fmt="GIF"))
    (folder / "text.jpg").write_text("not a picture")
    bomb = io.BytesIO()
    Image.new("1", (8000, 8000)).save(bomb, "PNG")
    (folder / "bomb.png").write_bytes(bomb.getvalue())
    listed(folder, {"description": "x", "path": path, "consent": True, "licence": "CC0"})
    with pytest.raises(SourceError, match=words):
        load(tmp_path, tmp_path / "cache", path="refs/refs.json", mode="images")


def test_transparent_pictures_are_put_on_white() -> None:
    out = io.BytesIO()
    Image.new("RGBA", (64, 64), (0, 0, 0, 0)).save(out, "PNG")
    with Image.open(io.BytesIO(sanitised(out.getvalue(), "x"))) as image:
        assert image.getpixel((32, 32)) == (255, 255, 255)


def test_mode_images_needs_pictures_of_ones_own(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="bundled guides are text"):
        load(tmp_path, mode="images")
    listed(tmp_path, {"description": "only words"})
    with pytest.raises(SourceError, match="no item with a picture"):
        load(tmp_path, path="refs.json", mode="images")
