"""The report in a real browser: offline, without scripts, light and dark, wide and narrow, safe, readable."""

from __future__ import annotations

import hashlib
import io
import re
from html import unescape
from pathlib import Path

import msgspec
import numpy as np
import pytest
from PIL import Image

from engine.qa import run_qa
from schemas.config import RunConfig
from schemas.outcome import Asset, Usage
from schemas.record import ImageRecord, MetadataRecord, RunManifest, encode_line

EVIL = '</code></style><script>window.owned=1</script><img src="x" onerror="window.owned=2"><svg onload=window.owned=3>'
pytestmark = [pytest.mark.web, pytest.mark.slow]


def drawn(seed: int) -> bytes:
    rng = np.random.default_rng(seed)
    out = io.BytesIO()
    coarse = Image.fromarray(rng.integers(0, 256, (12, 12, 3), dtype=np.uint8)).resize(
        (192, 192), Image.Resampling.BICUBIC
    )
    coarse.save(out, "PNG")
    return out.getvalue()


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> Path:
    """A run with a bit of everything, and markup wherever texts come from outside."""
    root = tmp_path_factory.mktemp("report") / "run"
    (root / "log").mkdir(parents=True)
    (root / "images" / "0000").mkdir(parents=True)
    manifest = RunManifest(
        run_id="r" + EVIL, created_at="2026-01-21T00:00:00Z", run_date="20260121", versions={}, fingerprints={},
        config=RunConfig().model_dump(mode="json"),
    )  # fmt: skip
    (root / "run.json").write_bytes(msgspec.json.encode(manifest))
    images, answers = (root / "log" / "images.jsonl").open("wb"), (root / "log" / "metadata.jsonl").open("wb")
    common = {"final": True, "generated_at": "2026-01-21T00:00:00Z", "latency_s": 1.0, "attempt": 1, "usage": Usage()}
    with images, answers:
        for i in range(1, 41):
            data = drawn(i if i < 30 else i - 20)
            name = f"images/0000/sm_20260121_{i:04d}.png"
            (root / name).write_bytes(data if i != 7 else data[:900])
            asset = Asset(
                path=name, sha256=hashlib.sha256(data).hexdigest(), size_bytes=len(data), mime_type="image/png",
                width=192, height=192,
            )  # fmt: skip
            images.write(encode_line(ImageRecord(
                job=f"{i:032x}", status="ok", stage="image", image_id=f"sm_20260121_{i:04d}", index=i,
                model="m" + EVIL, cost_usd=0.039, prompt=f"A march number {i} {EVIL}",
                source_data={"atropia": {"theme": "protests" + EVIL}, "demographics": {
                    "gender": "female" if i % 2 else "male", "age_group": "25-34", "others": []}},
                style="realistic", complexity=None, aspect_ratio=None, resolution=None, asset=asset, **common,
            )))  # fmt: skip
            caption = f"Young women carry banners along the street {EVIL} {i}"
            answers.write(encode_line(MetadataRecord(
                job=f"{i:031x}m", status="ok", stage="metadata", image_id=f"sm_20260121_{i:04d}", index=i, model="t",
                cost_usd=0.001, tasks=("caption", "labels", "comments"), caption=caption, captions=(caption,),
                labels={"scene_type": EVIL, EVIL: "x", "setting": "street"}, comments=(EVIL,) * 5, **common,
            )))  # fmt: skip
    run_qa(root)
    return root / "qa" / "report.html"


def opened(browser, report: Path, *, width: int = 1280, scheme: str = "light", scripts: bool = True):
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, java_script_enabled=scripts
    )
    page = context.new_page()
    page.told = []
    page.asked = []
    page.on("console", lambda message: page.told.append(message.text))
    page.on("pageerror", lambda error: page.told.append(str(error)))
    page.on("request", lambda request: page.asked.append(request.url))
    page.goto(report.as_uri())
    return page


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_overflows_the_page_and_everything_can_be_read(browser, report, width, scheme):
    page = opened(browser, report, width=width, scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    ink, ground = (page.evaluate(f"getComputedStyle(document.body).{prop}") for prop in ("color", "backgroundColor"))
    light, dark = sorted((luminance(ink), luminance(ground)), reverse=True)
    assert (light + 0.05) / (dark + 0.05) > 7
    assert (luminance(ground) < 0.1) == (scheme == "dark")
    assert page.locator("h2").count() >= 8
    page.context.close()


def luminance(css: str) -> float:
    parts = [int(v) / 255 for v in re.findall(r"\d+", css)[:3]]
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_markup_in_texts_stays_text_and_nothing_is_fetched(browser, report):
    page = opened(browser, report)
    assert page.evaluate("window.owned") is None
    assert page.locator("script").count() == 0
    assert page.locator("img[src='x']").count() == 0
    for part in ("#pairs", ".near"):
        assert "<script>window.owned=1</script>" in page.locator(part).first.inner_text()
    assert [u for u in page.asked if not u.startswith(("file:", "data:"))] == []
    assert page.told == []  # no refusal of the content security policy either
    page.context.close()


def test_it_is_whole_without_scripts(browser, report):
    page = opened(browser, report, scripts=False)
    text = page.inner_text("main")
    for said in ("What to do", "Torn or damaged", "Image and prompt", "Representation", "Method"):
        assert said in text
    page.context.close()


def test_pictures_are_drawn_and_bars_have_their_length(browser, report):
    page = opened(browser, report)
    page.evaluate("document.querySelectorAll('img').forEach(i => i.loading = 'eager')")
    page.wait_for_function("[...document.images].every(i => i.complete)")
    widths = page.evaluate("[...document.images].map(i => i.naturalWidth)")
    assert len(widths) > 20
    assert min(widths) > 0
    bar = page.locator("#score .bar-value").first.bounding_box()
    assert bar is not None
    assert bar["width"] > 50
    page.context.close()


def test_every_link_of_the_contents_leads_somewhere(browser, report):
    page = opened(browser, report)
    for target in page.eval_on_selector_all("nav a", "links => links.map(l => l.getAttribute('href'))"):
        assert page.locator(target).count() == 1, target
    page.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_paper_it_is_black_on_white_whatever_the_screen_was(browser, report, scheme):
    page = opened(browser, report, scheme=scheme)
    assert len(page.pdf(format="A4")) > 20_000
    page.emulate_media(media="print", color_scheme=scheme)
    command, badge = page.locator(".command").first, page.locator(".badge.critical").first
    for element in (page.locator("body"), command, badge):
        ink, ground = (element.evaluate(f"e => getComputedStyle(e).{p}") for p in ("color", "backgroundColor"))
        paper = 1.0 if ground == "rgba(0, 0, 0, 0)" else luminance(ground)
        assert paper > 0.7
        assert (paper + 0.05) / (luminance(ink) + 0.05) > 4.5
    assert not page.locator("nav").is_visible()
    assert page.get_by_text("nothing is inferred from pixels").is_visible(), "what is folded is open on paper"
    page.context.close()


def test_it_stays_small_and_has_a_strict_policy(report):
    html = unescape(report.read_text().split("<style>")[0]) + report.read_text().split("<style>")[1]
    assert report.stat().st_size < 1_500_000
    assert "default-src 'none'" in html
    assert "unsafe" not in html.split("<style>")[0]
    tags = re.findall(r"<[a-z][^>]*>", report.read_text().split("</style>", 1)[1])
    assert len(tags) > 200
    assert [t for t in tags if re.search(r"\son\w+=", re.sub(r'"[^"]*"', "", t))] == []
