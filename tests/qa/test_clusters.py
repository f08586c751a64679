"""Contact sheets and the pages that have them: all clusters, whatever their number, and nothing drawn twice."""

from __future__ import annotations

import io
import re

import pytest
from PIL import Image

from engine.qa import run_qa
from engine.qa.clusters import page_name
from engine.qa.model import Options
from engine.qa.sheets import COLUMNS, ROWS, Picture, Sheets, fineness
from engine.qa.thumbs import link_to


@pytest.fixture
def crowd(make_run, draw, encode):
    """Thirty clusters of two."""
    run = make_run()
    for index in range(1, 61):
        run.image(index, encode(draw((index + 1) // 2, (64, 64))))
    return run


def numbers(html: str) -> list[int]:
    small = re.findall(r"<li[^>]*>(?:<a [^>]*></a>)+<b>(\d+)</b>", html)
    return [int(n) for n in (*re.findall(r"<h3>Cluster (\d+):", html), *small)]


def test_more_clusters_than_one_page_holds_are_on_pages_beside_it(crowd, monkeypatch):
    monkeypatch.setattr("engine.qa.clusters.PAGE_CLUSTERS_MAX", 10)
    report = run_qa(crowd.root)
    qa = crowd.root / "qa"
    pages = [qa / page_name(0), *sorted(qa.glob("clusters-*.html"))]
    assert [p.name for p in pages] == ["report.html", "clusters-2.html", "clusters-3.html"][: len(pages)]
    shown = [n for page in pages for n in numbers(page.read_text())]
    assert sorted(shown) == list(range(1, report.duplicates["clusters"] + 1))
    for page in pages[1:]:
        assert f'href="{page.name}"' in pages[0].read_text()
        assert 'href="report.html"' in page.read_text()


def test_pages_of_an_earlier_pass_go(crowd, monkeypatch):
    with monkeypatch.context() as few:
        few.setattr("engine.qa.clusters.PAGE_CLUSTERS_MAX", 5)
        run_qa(crowd.root)
    assert (crowd.root / "qa" / "clusters-2.html").exists()
    run_qa(crowd.root)
    assert list((crowd.root / "qa").glob("clusters-*.html")) == []
    run_qa(crowd.root, options=Options(html=False))
    assert list((crowd.root / "qa").glob("*.html")) == []


def test_how_far_drawing_is_can_be_followed(crowd):
    told = []
    report = run_qa(crowd.root, options=Options(on_progress=told.append))
    drawn = [(p.done, p.total) for p in told if p.step == "drawing clusters of duplicates"]
    assert drawn[-1][0] == drawn[-1][1] > 0
    assert drawn[-1][1] < report.duplicates["clusters"]


def cell(sheet: bytes, number: int, which: int) -> tuple[int, ...]:
    picture = Image.open(io.BytesIO(sheet)).convert("RGB")
    side = picture.width // (2 * COLUMNS)
    assert picture.size == (2 * COLUMNS * side, ROWS * side)
    row, column = divmod(number, COLUMNS)
    return picture.getpixel(((2 * column + which) * side + side // 2, row * side + side // 2))


def test_a_picture_is_decoded_once_and_one_that_cannot_be_is_a_grey_square(tmp_path, encode):
    (tmp_path / "red.png").write_bytes(encode(Image.new("RGB", (300, 200), (200, 30, 30))))
    (tmp_path / "torn.png").write_bytes(encode(Image.new("RGB", (300, 200), (30, 200, 30)))[:60])
    pairs = [(Picture("red.png", "a" * 64), Picture("torn.png", None)), (Picture("../red.png", None), None)]
    sheets = Sheets(tmp_path, tmp_path / "kept")
    first = list(sheets.draw(pairs, side_px=48, quality=50))
    assert len(first) == 1
    assert cell(first[0], 0, 0)[0] > 150
    for number, which in ((0, 1), (1, 0)):
        assert max(cell(first[0], number, which)) - min(cell(first[0], number, which)) < 12
    (tmp_path / "red.png").unlink()
    assert list(sheets.draw(pairs, side_px=48, quality=50)) == first


def test_thousands_take_less_room_each():
    sizes = [fineness(n) for n in (10, 300, 5_000)]
    assert sizes == sorted(sizes, reverse=True)


@pytest.mark.parametrize(
    ("path", "link"),
    [
        ("images/0000/a.png", "../images/0000/a.png"),
        ('images/"><b>.png', "../images/%22%3E%3Cb%3E.png"),
        ("javascript:alert(1)", "../javascript%3Aalert%281%29"),
        ("//elsewhere.example/a.png", None),
        ("images/../../a.png", None),
    ],
)
def test_links_lead_into_the_run_and_nowhere_else(path, link):
    assert link_to(path) == link
