"""The review page in a real browser: keyboard, undo, tabs, a killed server, hostile texts, from disk."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.core.reviews import Decision, standing
from engine.review import export_static, merge, notebook_html, open_board
from engine.review.queue import Filter
from engine.store.reviews import read_reviews

CHROMIUM = Path("/usr/bin/chromium")
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = [
    pytest.mark.web,
    pytest.mark.skipif(not CHROMIUM.exists(), reason="/usr/bin/chromium is not installed"),
]

MakeRun = Callable[..., Path]
ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
IMAGES = 200

SERVER = """
import argparse, sys
from engine.cli.review_command import add_arguments, run
parser = argparse.ArgumentParser()
add_arguments(parser)
sys.exit(run(parser.parse_args(sys.argv[1:])))
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as api:
        opened = api.chromium.launch(executable_path=str(CHROMIUM), args=ARGS)
        yield opened
        opened.close()


class Page:
    """A tab, with what went wrong in it."""

    def __init__(self, context: Any, address: str) -> None:
        self.tab = context.new_page()
        self.tab.set_default_timeout(15_000)
        self.problems: list[str] = []
        self.hosts: set[str] = set()
        self.tab.on("pageerror", lambda error: self.problems.append(str(error)))
        self.tab.on("console", lambda line: self.problems.append(line.text) if line.type == "error" else None)
        self.tab.on("dialog", lambda dialog: (self.problems.append("a dialog opened"), dialog.dismiss()))
        self.tab.on("request", lambda request: self.hosts.add(request.url.split("/")[2]))
        self.tab.goto(address)
        self.ready()

    def ready(self) -> None:
        self.tab.wait_for_selector("html[data-shown]")

    @property
    def shown(self) -> str:
        return self.tab.evaluate("document.documentElement.dataset.shown")

    @property
    def decided(self) -> int:
        return int(self.tab.get_attribute("#bar", "aria-valuenow") or 0)

    def press(self, *keys: str) -> None:
        for key in keys:
            self.tab.keyboard.press(key)

    def decide(self, key: str) -> str:
        """Press a key as a person does: on what is seen. Returns the image it was meant for."""
        before, count = self.tab.evaluate(
            "[document.documentElement.dataset.shown, +document.querySelector('#bar').getAttribute('aria-valuenow')]"
        )
        self.press(key)
        self.tab.wait_for_function(
            "([count, id]) => Number(document.querySelector('#bar').getAttribute('aria-valuenow')) === count + 1"
            " && (document.documentElement.dataset.shown !== id || !document.querySelector('#done').hidden)",
            arg=[count, before],
        )
        return before

    def text(self, selector: str) -> str:
        return self.tab.inner_text(selector)


class Server:
    """`groundswell review` as a process of its own."""

    def __init__(self, run: Path, *options: str) -> None:
        command = [sys.executable, "-c", SERVER, str(run), "--json", *options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert self.process.stdout is not None
        self.link: str = json.loads(self.process.stdout.readline())["link"]
        self.port = int(self.link.split(":")[2].split("/")[0])

    def stop(self, how: signal.Signals = signal.SIGINT) -> int:
        self.process.send_signal(how)
        with self.process:
            return self.process.wait(10)


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    started: list[Server] = []

    def start(run: Path, *options: str) -> Server:
        # Any free port: several test runs share this machine.
        chosen = () if "--port" in options else ("--port", "0")
        started.append(Server(run, *chosen, *options))
        return started[-1]

    yield start
    for server in started:
        if server.process.poll() is None:
            server.stop(signal.SIGKILL)


@pytest.fixture
def context(browser: Any) -> Iterator[Any]:
    opened = browser.new_context(viewport={"width": 1366, "height": 768}, accept_downloads=True)
    yield opened
    opened.close()


def lines(run: Path) -> tuple[Decision, ...]:
    return read_reviews(run / "log/reviews.jsonl").decisions


def choose_all(page: Page) -> None:
    page.press("f")
    page.tab.click("#dialog .draws button:last-child")
    page.tab.click("#apply")
    page.tab.wait_for_function("() => document.querySelector('#queue-name').textContent.startsWith('All')")


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_hundreds_of_images_are_judged_with_the_keyboard(make_run: MakeRun, serve: Any, context: Any) -> None:
    run = make_run(IMAGES, size_px=32)
    server = serve(run, "--sample", str(IMAGES))
    page = Page(context, server.link)
    meant: list[tuple[str, str]] = []
    keys = {"a": "accept", "r": "reject", "u": "unsure"}
    began = time.perf_counter()
    for number in range(IMAGES):
        key = "arau"[number % 4]
        meant.append((page.decide(key), keys[key]))
    each_s = (time.perf_counter() - began) / IMAGES
    written = lines(run)
    assert [(d.image_id, d.status) for d in written] == meant
    assert len({d.image_id for d in written}) == IMAGES
    assert {d.drawn for d in written} == {"sample"}
    assert f"All {IMAGES} images decided" in page.text("#done")
    assert "null" not in page.text("body")
    assert page.problems == []
    assert page.hosts == {f"127.0.0.1:{server.port}"}
    # The page itself must not be what a reviewer waits for; the bound is loose for a busy machine.
    assert each_s < 0.5
    assert server.stop() == 0


def test_answers_tags_corrections_and_notes_are_kept(run_dir: Path, serve: Any, context: Any) -> None:
    page = Page(context, serve(run_dir, "--reviewer", "ana").link)
    page.press("1", "2", "2", "3", "3", "3", "5", "5", "5", "5", "Shift+Digit2", "Shift+Digit5")
    page.press("n")
    page.tab.keyboard.type("Six fingers: a, r, u are no decisions here.")
    page.press("Escape", "e")
    page.tab.keyboard.press("Control+a")
    page.tab.keyboard.type("A corrected caption.")
    page.press("Escape", "b")
    page.tab.keyboard.press("Control+a")
    page.tab.keyboard.type("march")
    page.press("Escape")
    judged = page.decide("r")
    (line,) = lines(run_dir)
    assert (line.image_id, line.status, line.reviewer) == (judged, "reject", "ana")
    assert line.answers == {"quality": "good", "relevance": "fair", "caption": "poor"}
    assert line.tags == ("anatomy", "stereotype")
    assert line.notes.startswith("Six fingers")
    assert line.corrections is not None
    assert line.corrections.caption == "A corrected caption."
    assert line.corrections.labels == {"scene_type": "march"}
    assert line.ms > 0
    # Going back shows them; a change there is kept when one goes on.
    page.press("ArrowLeft")
    page.tab.wait_for_selector("#verdict .reject[aria-pressed=true]")
    page.press("1")
    page.press("ArrowRight")
    page.tab.wait_for_selector("#verdict .reject[aria-pressed=false]")
    first, second = lines(run_dir)
    assert (second.image_id, second.status, second.answers["quality"]) == (first.image_id, "reject", "fair")
    assert second.notes == first.notes


def test_undo_goes_back_and_keeps_what_was_answered(run_dir: Path, serve: Any, context: Any) -> None:
    page = Page(context, serve(run_dir).link)
    first = page.decide("a")
    page.press("1", "Shift+Digit1")
    second = page.decide("r")
    page.press("z")
    page.tab.wait_for_function("(id) => document.documentElement.dataset.shown === id", arg=second)
    assert page.decided == 1
    assert page.tab.get_attribute("#verdict .reject", "aria-pressed") == "false"
    assert page.tab.is_visible("#questions .good[aria-pressed=true]")
    page.press("Backspace")
    page.tab.wait_for_function("(id) => document.documentElement.dataset.shown === id", arg=first)
    page.press("z")
    page.tab.wait_for_function("() => document.querySelector('#live').textContent === 'Nothing to undo.'")
    assert [d.status for d in lines(run_dir)] == ["accept", "reject", "undo", "undo"]
    assert standing(lines(run_dir)) == ()


def test_drafts_and_place_survive_a_closed_tab(run_dir: Path, serve: Any, context: Any) -> None:
    link = serve(run_dir).link
    page = Page(context, link)
    page.decide("a")
    page.press("1", "1")
    here = page.shown
    page.tab.close()
    again = Page(context, link)
    assert again.shown == here
    assert again.decided == 1
    assert again.tab.is_visible("#questions .fair[aria-pressed=true]")
    assert "token" not in again.tab.url


def test_filters_and_grid(run_dir: Path, serve: Any, context: Any) -> None:
    page = Page(context, serve(run_dir).link)
    page.press("f")
    page.tab.click("#dialog .draws button:last-child")
    page.tab.select_option("#dialog select[name=theme]", "protest")
    page.tab.click("#apply")
    page.tab.wait_for_function("() => document.querySelector('#count').textContent === '0 of 3'")
    assert page.text("#queue-name") == "All images · protest"
    page.press("g")
    page.tab.wait_for_selector(".cell")
    assert page.tab.locator(".cell").count() == 3
    page.press("r")  # the focused one; the focus goes on
    page.tab.wait_for_selector(".cell.reject")
    page.press("Space", "ArrowRight", "Space", "a")
    page.tab.wait_for_function("() => document.querySelectorAll('.cell.accept').length === 2")
    assert [(d.image_id[-2:], d.status, d.drawn) for d in lines(run_dir)] == [
        ("04", "reject", "filter"),
        ("08", "accept", "filter"),
        ("12", "accept", "filter"),
    ]
    page.press("z")
    page.tab.wait_for_function("() => document.querySelectorAll('.cell.accept').length === 1")
    page.press("Enter")
    page.tab.wait_for_selector("#one:not([hidden])")
    assert page.problems == []


def test_two_tabs_and_two_reviewers_at_once_lose_nothing(make_run: MakeRun, serve: Any, browser: Any) -> None:
    run = make_run(30, size_px=32)
    server = serve(run, "--sample", "30", "--blind")
    contexts = [browser.new_context() for _ in range(2)]
    try:
        ana, ana_too = (Page(contexts[0], f"{server.link}&reviewer=ana") for _ in range(2))
        ben = Page(contexts[1], f"{server.link}&reviewer=ben")
        for _ in range(5):
            ana.press("a")
            ben.press("r")
            ana_too.press("u")
            for page in (ana, ben, ana_too):
                page.tab.wait_for_timeout(60)
        for page in (ana, ben, ana_too):
            page.tab.wait_for_function("() => document.querySelector('#bar').getAttribute('aria-valuenow') === '5'")
        written = lines(run)
        assert len(written) == 15
        assert {(d.reviewer, d.status) for d in written} == {("ana", "accept"), ("ana", "unsure"), ("ben", "reject")}
        # Both saw the same sample in the same order, blind; the figures tell.
        ben.press("s")
        ben.tab.wait_for_selector("#dialog table")
        assert "0 %" in ben.text("#dialog table")
        for page in (ana, ana_too, ben):
            assert page.problems == []
    finally:
        for each in contexts:
            each.close()


@pytest.mark.timeout(90)
def test_a_server_killed_in_mid_review_loses_nothing_at_all(make_run: MakeRun, serve: Any, context: Any) -> None:
    run = make_run(60, size_px=32)
    server = serve(run, "--sample", "60")
    page = Page(context, server.link)
    for _ in range(10):
        page.decide("a")
    # Killed while decisions are on their way, as keys come faster than the disk.
    for number in range(6):
        page.press("r")
        if number == 3:
            server.stop(signal.SIGKILL)
    page.press("r")
    page.tab.wait_for_selector("#banner:not([hidden])")
    told = page.decided
    kept = len(lines(run))
    assert told <= kept <= told + 1
    assert "kept in this browser" in page.text("#banner")
    again = serve(run, "--sample", "60", "--port", str(server.port))
    page.tab.wait_for_function("() => document.querySelector('#banner').textContent.includes('no longer valid')")
    fresh = Page(context, again.link)
    # The keystroke in flight was sent by the browser on its own.
    assert len(lines(run)) == told + 1
    assert fresh.decided == told + 1
    assert len({d.image_id for d in lines(run)}) == told + 1
    fresh.decide("a")


HOSTILE = (
    "</script><script>window.hacked=1</script>",
    "<img src=x onerror=window.hacked=1><svg onload=window.hacked=1>",
    "\u202eevil\u202c \u2066 \u200f مرحبا שלום <b>bold</b>",
    "👩‍👩‍👧‍👦🏳️‍🌈 ${window.hacked=1} {{7*7}} `x` \u2028\u2029 -->",
    "javascript:window.hacked=1",
)


def hostile_run(make_run: MakeRun) -> Path:
    evil = " ".join(HOSTILE)
    return make_run(
        3,
        image=lambda i: {
            "prompt": evil,
            "source_data": {"atropia": {"theme": evil, "title": evil, evil: evil}, evil: {"x": [evil, {evil: evil}]}},
            "style": evil,
        },
        metadata=lambda i: {
            "caption": evil,
            "captions": (evil, evil + "2"),
            "labels": {"scene_type": evil, evil: [evil], "__proto__": evil, "constructor": evil},
            "comments": HOSTILE,
        },
    )


def assert_inert(page: Page) -> None:
    for text in HOSTILE:
        assert page.tab.evaluate(
            "(t) => [...document.querySelectorAll('.comments li')].some(e => e.textContent === t)", text
        )
    assert page.tab.input_value("#caption").replace("\n", "") == " ".join(HOSTILE).replace("\n", "")
    assert page.tab.locator("#panel b, #panel svg, #panel script, #panel img").count() == 0
    page.decide("r")
    page.press("g")
    page.tab.wait_for_selector(".cell")
    page.press("g", "f")
    page.tab.wait_for_selector("#dialog select")
    page.press("Escape", "?", "Escape")
    assert page.tab.evaluate("typeof window.hacked") == "undefined"
    assert page.tab.evaluate("typeof ({}).hacked") == "undefined"
    assert page.problems == []


def test_hostile_texts_stay_texts(make_run: MakeRun, serve: Any, context: Any) -> None:
    server = serve(hostile_run(make_run))
    page = Page(context, server.link)
    assert_inert(page)
    page.press("s")
    page.tab.wait_for_selector("#dialog .tile")
    assert page.hosts == {f"127.0.0.1:{server.port}"}
    assert page.problems == []


def test_hostile_texts_stay_texts_in_a_static_page(make_run: MakeRun, context: Any, tmp_path: Path) -> None:
    board, pictures = open_board(hostile_run(make_run))
    export_static(board, pictures, tmp_path / "page.html")
    assert_inert(Page(context, (tmp_path / "page.html").as_uri()))


@pytest.mark.parametrize("dest", ["page.html", "folder"])
def test_a_static_page_works_from_disk_and_its_decisions_come_home(
    make_run: MakeRun, context: Any, tmp_path: Path, dest: str
) -> None:
    run = make_run(40)
    board, pictures = open_board(run)
    written = export_static(board, pictures, tmp_path / dest)
    assert (written.images, written.missing) == (10, ())
    page = Page(context, Path(written.path).as_uri())
    assert page.tab.evaluate("document.querySelector('#frame img').naturalWidth") == 64
    for key in "araua":
        page.decide(key)
    page.press("z")
    page.tab.wait_for_function("() => document.querySelector('#bar').getAttribute('aria-valuenow') === '4'")
    page.tab.reload()
    page.ready()
    assert page.decided == 4
    with page.tab.expect_download() as download:
        page.press("d")
    file = tmp_path / "reviews.jsonl"
    download.value.save_as(file)
    assert page.problems == []
    assert page.hosts <= {""}
    first = merge(board.log, [file], board.catalogue.__contains__)
    assert (first.added, merge(board.log, [file], board.catalogue.__contains__).added) == (6, 0)
    stands = standing(lines(run))
    assert sorted(d.status for d in stands) == ["accept", "accept", "reject", "unsure"]
    assert {d.drawn for d in stands} == {"sample"}
    assert board.queue(Filter(), "reviewer").decided in (0, 4)
    assert board.queue(Filter(), stands[0].reviewer).decided == 4


def test_the_page_works_inside_a_notebooks_frame(run_dir: Path, context: Any, tmp_path: Path) -> None:
    board, pictures = open_board(run_dir)
    # A frame without an origin of its own is the strictest host: no storage, no downloads.
    frame = notebook_html(board, pictures).replace("<iframe ", '<iframe sandbox="allow-scripts" ', 1)
    (tmp_path / "notebook.html").write_text(f"<!doctype html><meta charset=utf-8>{frame}", encoding="utf-8")
    tab = context.new_page()
    tab.goto((tmp_path / "notebook.html").as_uri())
    inside = tab.frame_locator("iframe")
    inside.locator("html[data-shown]").wait_for()
    inside.locator("#frame").press("a")
    inside.locator("#bar[aria-valuenow='1']").wait_for(state="attached")
    assert "download your decisions" in inside.locator("#banner").inner_text()


CONTRAST = """
() => {
  const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  const rgba = (colour) => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const over = (top, under) => top.slice(0, 3).map((c, i) => c * top[3] / 255 + under[i] * (1 - top[3] / 255));
  const light = (c) => { const [r, g, b] = c.map((v) => (v /= 255) <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
    return .2126 * r + .7152 * g + .0722 * b; };
  const found = [];
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    if (!own && !element.matches("input, textarea, select")) continue;
    if (!element.checkVisibility({opacityProperty: true, visibilityProperty: true})) continue;
    if (element.matches(".unseen, .skip, :disabled, option")) continue;
    const chain = []; let opacity = 1;
    for (let e = element; e; e = e.parentElement) { chain.unshift(e); opacity *= getComputedStyle(e).opacity; }
    let ground = [255, 255, 255];
    for (const e of chain) ground = over(rgba(getComputedStyle(e).backgroundColor), ground);
    const ink = rgba(getComputedStyle(element).color); ink[3] *= opacity;
    const [a, b] = [light(over(ink, ground)), light(ground)].sort((x, y) => y - x);
    const ratio = (a + .05) / (b + .05);
    const name = `${element.tagName}.${element.className} ${element.textContent.slice(0, 30)}`;
    if (ratio < 4.5) found.push(`${name} ${ratio.toFixed(2)}`);
  }
  return found;
}
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_has_enough_contrast_and_every_control_a_name(
    run_dir: Path, serve: Any, browser: Any, scheme: str
) -> None:
    context = browser.new_context(color_scheme=scheme, viewport={"width": 1366, "height": 768})
    try:
        page = Page(context, serve(run_dir).link)
        page.press("1", "2", "2", "3", "3", "3", "Shift+Digit1")
        page.decide("a")
        page.press("ArrowLeft")
        page.tab.wait_for_selector("#verdict .accept[aria-pressed=true]")
        views = [("one", None), ("help", "?"), ("filter", "f"), ("summary", "s"), ("grid", "g")]
        for name, key in views:
            if key:
                page.press(key)
                page.tab.wait_for_timeout(250)
            assert page.tab.evaluate(CONTRAST) == [], name
            names = "e.ariaLabel || e.textContent.trim() || e.closest('label') || e.title"
            nameless = f"e => e.checkVisibility() && !({names})"
            controls = "document.querySelectorAll('button, input, select, textarea')"
            assert page.tab.evaluate(f"[...{controls}].filter({nameless}).map(e => e.outerHTML)") == []

            if key in ("?", "f", "s"):
                page.press("Escape")
    finally:
        context.close()


@pytest.mark.parametrize(("width", "height"), [(360, 740), (820, 1180), (1024, 768), (1920, 1080)])
def test_nothing_is_cut_off_on_any_screen(run_dir: Path, serve: Any, browser: Any, width: int, height: int) -> None:
    context = browser.new_context(viewport={"width": width, "height": height}, has_touch=width < 1000)
    try:
        page = Page(context, serve(run_dir).link)
        assert page.tab.evaluate("document.documentElement.scrollWidth") <= width
        outside = """[...document.querySelectorAll('#verdict button, #top button')].filter(e => e.checkVisibility())
            .filter(e => { const r = e.getBoundingClientRect();
                return r.left < 0 || r.right > innerWidth || r.bottom > innerHeight; })
            .map(e => e.outerHTML)"""
        assert page.tab.evaluate(outside) == []
        picture = page.tab.evaluate(
            "(() => { const p = document.querySelector('#frame img').getBoundingClientRect(),"
            " f = document.querySelector('#frame').getBoundingClientRect();"
            " return p.top >= f.top && p.bottom <= f.bottom && p.left >= f.left && p.right <= f.right })()"
        )
        assert picture
        page.tab.click("#verdict .accept")
        page.tab.wait_for_function("() => document.querySelector('#bar').getAttribute('aria-valuenow') === '1'")
    finally:
        context.close()


def test_keys_can_be_changed_and_stay_changed(run_dir: Path, serve: Any, context: Any) -> None:
    link = serve(run_dir).link
    page = Page(context, link)
    page.press("?")
    page.tab.click("[aria-label='Change the key of: Accept']")
    page.press("y")
    page.tab.wait_for_function("() => document.querySelector('#verdict .accept kbd').textContent === 'Y'")
    page.press("Escape")
    page.press("a")  # means nothing now
    page.decide("y")
    again = Page(context, link)
    again.decide("y")
    assert [d.status for d in lines(run_dir)] == ["accept", "accept"]
    again.press("?")
    again.tab.get_by_text("Reset all keys").click()
    again.press("Escape")
    again.decide("a")


def test_zoom_pans_and_fits_again(run_dir: Path, serve: Any, context: Any) -> None:
    page = Page(context, serve(run_dir).link)
    size = "document.querySelector('#frame img').getBoundingClientRect().width"
    before = page.tab.evaluate(size)
    page.press("+", "+")
    assert page.tab.evaluate(size) > 1.9 * before
    page.press("0")
    assert page.tab.evaluate(size) == before
    page.press("Space")
    assert page.tab.evaluate(size) >= 2 * before
    page.decide("a")
    assert page.tab.evaluate(size) == before  # the next image starts whole


def test_a_missing_picture_is_told_and_can_still_be_judged(run_dir: Path, serve: Any, context: Any) -> None:
    for picture in (run_dir / "images/0000").iterdir():
        picture.unlink()
    page = Page(context, serve(run_dir).link)
    assert "groundswell verify" in page.text("#frame")
    page.decide("r")
    assert len(lines(run_dir)) == 1


def test_a_full_disk_is_told_and_the_page_stays(run_dir: Path, serve: Any, context: Any) -> None:
    page = Page(context, serve(run_dir).link)
    (run_dir / "log/reviews.jsonl").mkdir()  # a folder where the log should be: no write can work
    here = page.shown
    page.press("a")
    page.tab.wait_for_selector("#banner:not([hidden])")
    assert "reviews.jsonl" in page.text("#banner")
    assert (page.shown, page.decided) == (here, 0)
    (run_dir / "log/reviews.jsonl").rmdir()
    assert page.decide("a") == here
    assert page.tab.is_hidden("#banner")


def test_ctrl_c_ends_a_review_well(run_dir: Path, serve: Any) -> None:
    assert serve(run_dir).stop() == 0


def test_a_taken_port_is_named(run_dir: Path, serve: Any) -> None:
    taken = serve(run_dir).port
    command = [sys.executable, "-c", SERVER, str(run_dir), "--port", str(taken)]
    with contextlib.suppress(subprocess.TimeoutExpired):
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, env={**os.environ}, check=False)
        assert f"127.0.0.1:{taken}" in done.stderr
        assert done.returncode != 0
        return
    pytest.fail("a second server took the same port")
