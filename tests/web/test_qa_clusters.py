"""Every cluster of duplicates in a real browser: all there, small ones folded up, drawn where they belong, on paper."""

from __future__ import annotations

import hashlib
import io
import re
from pathlib import Path
from urllib.parse import unquote

import msgspec
import numpy as np
import polars as pl
import pytest
from PIL import Image

from engine.qa import run_qa
from schemas.config import RunConfig
from schemas.outcome import Asset, Usage
from schemas.record import ImageRecord, RunManifest, encode_line

CLUSTERS = 150
EVIL = '"><script>window.owned=1</script><img src=x onerror="window.owned=2">'
pytestmark = [pytest.mark.web, pytest.mark.slow]


def drawn(seed: int, quality: int) -> bytes:
    """A picture that is hard to compress, with a colour of its own."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 160, (9, 9, 3), dtype=np.uint8)).resize((96, 96), Image.Resampling.BICUBIC)
    grain = rng.normal(0, 6, (96, 96, 1)) + rng.integers(0, 96, 3)
    out = io.BytesIO()
    Image.fromarray((np.asarray(coarse) + grain).clip(0, 255).astype(np.uint8)).save(out, "JPEG", quality=quality)
    return out.getvalue()


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """150 clusters of two, every third of the same file; ids and file names that are markup."""
    root = tmp_path_factory.mktemp("clusters") / "run"
    (root / "log").mkdir(parents=True)
    (root / "images").mkdir()
    manifest = RunManifest(
        run_id="r", created_at="2026-01-21T00:00:00Z", run_date="20260121", versions={}, fingerprints={},
        config=RunConfig().model_dump(mode="json"),
    )  # fmt: skip
    (root / "run.json").write_bytes(msgspec.json.encode(manifest))
    with (root / "log" / "images.jsonl").open("wb") as log:
        for i in range(1, 2 * CLUSTERS + 1):
            pair, copy = divmod(i - 1, 2)
            data = drawn(pair, 90 if pair % 3 == 0 else 95 - 15 * copy)
            name = f'images/{i:04d} "><b>&.jpg'
            (root / name).write_bytes(data)
            asset = Asset(
                path=name, sha256=hashlib.sha256(data).hexdigest(), size_bytes=len(data), mime_type="image/jpeg",
                width=96, height=96,
            )  # fmt: skip
            log.write(encode_line(ImageRecord(
                job=f"{i:032x}", status="ok", stage="image", image_id=f"{i:04d}{EVIL}", index=i, model="m",
                cost_usd=0.039, prompt=f"A march number {i}", source_data={}, style=None, complexity=None,
                aspect_ratio=None, resolution=None, asset=asset, final=True, generated_at="2026-01-21T00:00:00Z",
                latency_s=1.0, attempt=1, usage=Usage(),
            )))  # fmt: skip
    run_qa(root)
    return root


@pytest.fixture
def page(browser, run, request):
    """The report, by width, scheme and whether scripts may run."""
    asked = {"width": 1280, "scheme": "light", "scripts": True, **getattr(request, "param", {})}
    context = browser.new_context(
        viewport={"width": asked["width"], "height": 900}, color_scheme=asked["scheme"],
        java_script_enabled=asked["scripts"],
    )  # fmt: skip
    page = context.new_page()
    page.told = []
    page.on("console", lambda message: page.told.append(message.text))
    page.on("pageerror", lambda error: page.told.append(str(error)))
    page.goto((run / "qa" / "report.html").as_uri())
    yield page
    context.close()


def test_every_cluster_is_shown_once(page, run):
    clusters = pl.read_parquet(run / "qa" / "clusters.parquet")["cluster"].unique().to_list()
    large = [int(re.findall(r"\d+", title)[0]) for title in page.locator(".cluster h3").all_text_contents()]
    small = [int(n) for n in page.locator(".mosaic li b").all_text_contents()]
    assert len(clusters) == CLUSTERS
    assert sorted(large + small) == sorted(clusters)
    assert f"The other {len(small)} clusters" in page.inner_text(".all summary")


def test_small_ones_cost_no_room_until_they_are_opened(page):
    before = page.evaluate("document.documentElement.scrollHeight")
    assert not page.locator(".mosaic li").first.is_visible()
    page.locator(".all summary").click()
    assert page.locator(".mosaic li").first.is_visible()
    assert page.evaluate("document.documentElement.scrollHeight") > before + 1_000


@pytest.mark.parametrize(
    "page", [{"scripts": False}, {"scripts": False, "width": 420, "scheme": "dark"}], indirect=True
)
@pytest.mark.parametrize("at", [0, 57, 119, 120, -1])
def test_each_small_picture_is_of_the_file_that_it_leads_to_without_scripts(page, run, at):
    page.locator(".all summary").click()
    cell = page.locator(".mosaic li").nth(at)
    cell.scroll_into_view_if_needed()
    links = cell.locator("a")
    assert links.count() == (1 if "same file" in cell.inner_text() else 2)
    for n in range(links.count()):
        file = (run / "qa" / unquote(links.nth(n).get_attribute("href"))).resolve()
        shown = Image.open(io.BytesIO(links.nth(n).screenshot())).convert("RGB").resize((8, 8), Image.Resampling.BOX)
        real = Image.open(file).convert("RGB").resize((8, 8), Image.Resampling.BOX)
        middle = slice(1, -1)  # corners are round
        apart = np.asarray(shown, float)[middle, middle] - np.asarray(real, float)[middle, middle]
        assert np.abs(apart).mean() < 12, file


def test_names_of_images_and_files_stay_text(page):
    page.locator(".all summary").click()
    assert EVIL in page.locator(".mosaic a").first.get_attribute("title")
    assert page.evaluate("window.owned") is None
    assert page.locator("script, [onerror], .mosaic img").count() == 0
    assert page.told == []  # no refusal of the content security policy either


@pytest.mark.parametrize("page", [{"width": 420}, {"width": 900}], indirect=True)
def test_opened_it_is_no_wider_than_the_screen(page):
    page.locator(".all summary").click()
    assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]


def test_on_paper_a_stated_number_of_them_is_printed(page):
    page.emulate_media(media="print")
    lists = page.locator(".mosaic ol")
    assert [lists.nth(n).is_visible() for n in range(lists.count())] == [True, False]
    said = page.evaluate("getComputedStyle(document.querySelector('.all summary'), '::after').content")
    assert "on paper the first 120" in said
    assert lists.first.locator("li").count() == 120
    assert len(page.pdf(format="A4")) > 20_000


def test_some_hundred_clusters_do_not_make_it_heavy(run):
    page = run / "qa" / "report.html"
    assert page.stat().st_size < 1_500_000
    sheets = sum(map(len, re.findall(r"\.s\d+ a\{[^}]*\}", page.read_text())))
    assert sheets / CLUSTERS < 2_000
