"""What the five scripts share: where things are, waiting for async work, and showing results.

In a notebook pictures, charts and progress appear inline; run as a script, pictures and charts are
written below data/figures and named. Charts need matplotlib; without it they are drawn with text.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
import textwrap
import threading
import time
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, ExitStack, contextmanager
from html import escape
from pathlib import Path
from typing import Any, TypeVar

from engine.errors import EngineError
from engine.observe.console import duration
from engine.observe.events import AttemptEnded, Event, Notice, RunEnded, RunOpened
from engine.observe.tally import StageTally, Tally
from engine.runtime.live import Run
from engine.runtime.summary import Summary
from engine.settings import Settings, find_credentials, load

T = TypeVar("T")
GRACE_S = 180.0
"""How long an interrupt waits for calls in flight: as long as a picture may take."""
DRAW_EVERY_S = 0.25
"""A thousand images a second cost no more to show than four."""
PREVIEW_EVERY_S = 1.0
WRAP_AT = 100
BARS_MAX = 12


def in_notebook() -> bool:
    """Whether this runs in Jupyter or in an editor's interactive window."""
    shell = sys.modules.get("IPython")
    found = shell.get_ipython() if shell is not None else None
    return found is not None and hasattr(found, "kernel")


# --- where things are ----------------------------------------------------------------------------


class Stopped(Exception):
    """Ends a cell with a sentence instead of a traceback."""

    def _render_traceback_(self) -> list[str]:
        return [str(self)]


def _stopped(message: str, code: int) -> BaseException:
    if in_notebook():
        return Stopped(message)
    print(message, file=sys.stderr)
    return SystemExit(code)


def settings(**overrides: Any) -> Settings:
    """The nearest configuration, with overrides: `settings(**{"generation.num_images": 20})`.

    IMAGES in the environment sets the number of images, as the automatic tests do.
    """
    if "IMAGES" in os.environ:
        overrides.setdefault("generation.num_images", int(os.environ["IMAGES"]))
    try:
        return load(overrides=overrides)
    except EngineError as error:
        raise _stopped(str(error), 2) from None


def out_dir(chosen: Settings) -> Path:
    """The run directory all scripts work on: OUT in the environment, else output.output_dir.

    Without a key another one beside it: simulated and real pictures never share a directory.
    """
    if "OUT" in os.environ:
        return Path(os.environ["OUT"])
    real = chosen.resolve(chosen.config.output.output_dir)
    return real if has_key(chosen) else real.with_name(real.name + "_simulated")


def has_key(chosen: Settings) -> bool:
    """Whether there is an API key; SIMULATE=1 in the environment says to do without."""
    return not os.environ.get("SIMULATE") and find_credentials(chosen.base_dir, os.environ).key is not None


@contextmanager
def gemini(*, simulate: bool) -> Iterator[dict[str, Any]]:
    """Arguments of engine.run: none for Gemini itself, or those that reach a simulator started here.

    An interrupt and an error of the engine end the block with one sentence.
    """
    with ExitStack() as stack:
        reach: dict[str, Any] = {}
        if simulate:
            import engine
            from engine.runtime.pipeline import SIMULATED_KEY

            simulator = stack.enter_context(engine.Simulator.in_thread())
            print("Simulating: no key is used and nothing is paid.")
            reach = {"base_url": simulator.base_url, "api_key": SIMULATED_KEY}
        try:
            yield reach
        except (KeyboardInterrupt, asyncio.CancelledError):
            raise _stopped("Stopped. What was paid for is saved; run this again to carry on.", 130) from None
        except EngineError as error:
            raise _stopped(str(error), 2) from None


# --- waiting and progress ------------------------------------------------------------------------


def wait(work: Coroutine[Any, Any, T]) -> T:
    """The result of async work, from ordinary code. In a notebook `await work` does the same."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    # A notebook's own loop is busy with this very cell, so the work gets a loop in a thread.
    result: list[T] = []
    failure: list[BaseException] = []
    loop = asyncio.new_event_loop()
    task = loop.create_task(work)

    def run() -> None:
        try:
            result.append(loop.run_until_complete(task))
        except BaseException as error:  # noqa: BLE001  it is raised again below, in the caller's thread
            failure.append(error)
        finally:
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.run_until_complete(loop.shutdown_default_executor())
            loop.close()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        thread.join()
    except KeyboardInterrupt:
        loop.call_soon_threadsafe(task.cancel)  # else it would go on asking, and paying, in the background
        thread.join()
        raise
    if failure:
        raise failure[0]
    return result[0]


async def finish(opening: AbstractAsyncContextManager[Run]) -> Summary:
    """Do a whole run: `await finish(engine.open_run(…))`.

    `engine.run` does the same, but is gone at once when it is cancelled. Here an interrupt stops new calls and waits for
    those in flight: they are paid for.
    """
    started: list[Run] = []

    async def work() -> Summary:
        async with opening as run:
            started.append(run)
            return await run.wait()

    task = asyncio.create_task(work())
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        for run in started:
            print("Stopping: the calls in flight are paid for, so their answers are waited for.")
            run.stop()
        if not started:
            task.cancel()
        await asyncio.wait({task}, timeout=GRACE_S)
        task.cancel()  # without effect on what has ended
        await asyncio.gather(task, return_exceptions=True)
        raise


class Progress:
    """An observer of a run: bars that change in place, and every few images the latest one."""

    def __init__(self, out: Path, *, preview_every: int = 5) -> None:
        self._out = out
        self._every = preview_every
        self._tally = Tally()
        self._drawn_at = self._previewed_at = float("-inf")
        self._bars: Any = None
        self._picture: Any = None
        self._told = ""

    def __call__(self, event: Event, /) -> None:
        now = time.monotonic()
        self._tally.take(event, now)
        match event:
            case RunOpened():
                for note in event.notes:
                    print(note)
            case Notice(level="warning" | "error"):
                print(event.message)
            case AttemptEnded(record=record) if in_notebook():
                asset = getattr(record, "asset", None)
                turn = self._tally.stage(record.stage).settled % self._every == 0
                if asset is not None and turn and now - self._previewed_at >= PREVIEW_EVERY_S:
                    self._previewed_at = now
                    self._preview(self._out / asset.path)
            case _:
                pass
        last = isinstance(event, RunEnded)
        if last or now - self._drawn_at >= DRAW_EVERY_S:
            self._drawn_at = now
            self._draw(now, last=last)

    def _draw(self, now: float, *, last: bool) -> None:
        stages = {name: t for name, t in self._tally.stages.items() if t.asked}
        words = {name: self._words(t, now) for name, t in stages.items()}
        line = "   ".join(f"{name} {bar(t.settled, t.asked)} {words[name]}" for name, t in stages.items())
        if in_notebook():
            from IPython.display import HTML, display

            rows = "".join(
                f"<span>{escape(name)}</span><progress style='width: 18em' max='{t.asked}' value='{t.settled}'>"
                f"</progress><span>{escape(words[name])}</span>"
                for name, t in stages.items()
            )
            page = HTML(
                "<div style='display: inline-grid; grid-template-columns: auto auto auto; gap: 0.2em 1em; "
                f"align-items: center'>{rows}</div>"
            )
            if self._bars is None:
                self._bars = display(page, display_id=True)
            else:
                self._bars.update(page)
        elif sys.stdout.isatty():
            print(f"\r\033[K{line}", end="\n" if last else "", flush=True)
        elif (tenths := str([10 * t.settled // t.asked for t in stages.values()])) != self._told:
            self._told = tenths
            print(line)

    def _words(self, t: StageTally, now: float) -> str:
        words = [f"{t.settled:,} of {t.asked:,}"]
        if t.recent and (rate := t.per_minute(now, self._tally.started_at)):
            words.append(f"{rate:,.0f} a minute")
        left_s = t.left_s(now, self._tally.started_at)
        if t.settled < t.asked and left_s is not None:
            words.append(f"{duration(left_s)} to go")
        words += [f"{n} {what}" for n, what in ((t.refused, "refused"), (t.failed, "failed")) if n]
        words.append(f"${t.cost_usd:.2f}")
        return " · ".join(words)

    def _preview(self, path: Path) -> None:
        from IPython.display import display

        small = thumbnail(path, 256)
        if self._picture is None:
            self._picture = display(small, display_id=True)
        else:
            self._picture.update(small)


def bar(done: int, total: int, width: int = 24) -> str:
    """A bar of text."""
    full = width * min(done, total) // max(1, total)
    return "█" * full + "░" * (width - full)


# --- showing -------------------------------------------------------------------------------------


def say(text: str, indent: str = "") -> None:
    """Print a long text in lines of readable length."""
    print(textwrap.fill(text, WRAP_AT, initial_indent=indent, subsequent_indent=indent, break_long_words=False))


def told(value: Any) -> str:
    """A label as people write it."""
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def thumbnail(path: Path, size_px: int) -> Any:
    """A small copy of a picture."""
    from PIL import Image

    with Image.open(path) as picture:
        picture.draft("RGB", (size_px, size_px))
        small = picture.convert("RGB")
    small.thumbnail((size_px, size_px))
    return small


def show(picture: Any, name: str) -> None:
    """A Pillow picture: inline, or as a file below data/figures."""
    if in_notebook():
        from IPython.display import display

        display(picture)
    else:
        path = _figure(name)
        picture.save(path)
        print(f"→ {path}")


def grid(paths: Sequence[Path], name: str, *, columns: int = 3, size_px: int = 256) -> None:
    """Pictures side by side."""
    from PIL import Image

    if not paths:
        print("no pictures to show")
        return
    rows = -(-len(paths) // columns)
    sheet = Image.new("RGB", (columns * size_px, rows * size_px), "white")
    for n, path in enumerate(paths):
        small = thumbnail(path, size_px - 8)
        sheet.paste(small, (n % columns * size_px + 4, n // columns * size_px + 4))
    show(sheet, name)


def bars(charts: Mapping[str, Mapping[str, float]], name: str, *, columns: int = 3) -> None:
    """Bar charts side by side, one per entry, at most twelve bars each. Values up to 1 are shares."""
    shown = {title: ordered(values) for title, values in charts.items() if values}
    try:
        import matplotlib
    except ImportError:
        for title, values in shown.items():
            _text_bars(title, values)
        return
    if not shown:
        print("nothing to draw")
        return
    if not in_notebook():
        matplotlib.use("agg")
    import matplotlib.pyplot as plt

    columns = min(columns, len(shown))
    rows = [list(shown.items())[n : n + columns] for n in range(0, len(shown), columns)]
    heights = [0.9 + 0.27 * max(len(values) for _, values in row) for row in rows]
    figure, axes = plt.subplots(
        len(rows), columns, figsize=(5 * columns, sum(heights)), squeeze=False, layout="constrained",
        gridspec_kw={"height_ratios": heights},
    )  # fmt: skip
    figure.get_layout_engine().set(h_pad=0.12, w_pad=0.12)  # type: ignore[union-attr]
    for row, line in zip(axes, rows, strict=True):
        most = max(len(values) for _, values in line)
        for axis in row[len(line) :]:
            axis.axis("off")
        for axis, (title, values) in zip(row, line, strict=False):
            drawn = axis.barh([label.replace("_", " ") for label in values], list(values.values()), color="#c8553d")
            axis.bar_label(drawn, [_number(v) for v in values.values()], padding=3, fontsize=9, color="#555")
            axis.set_title(title.replace("_", " "), loc="left", fontweight="bold")
            axis.set_ylim(most - 0.4, -0.6)  # bars of one height in the whole row, first on top
            axis.set_xlim(0, 1.15 * max(values.values()) or 1)
            axis.xaxis.set_visible(False)
            axis.tick_params(length=0)
            axis.spines[:].set_visible(False)
    if in_notebook():
        plt.show()
    else:
        path = _figure(name)
        figure.savefig(path, dpi=110)
        print(f"→ {path}")
    plt.close(figure)


def ordered(values: Mapping[str, float]) -> dict[str, float]:
    """Numbers and ranges in their order, everything else by size; the twelve largest."""
    kept = sorted(values.items(), key=lambda kv: -kv[1])[:BARS_MAX]
    numbers = {label: re.match(r"\s*[<>]?\s*(\d+)", label) for label, _ in kept}
    if all(numbers.values()):
        kept.sort(key=lambda kv: (int(numbers[kv[0]][1]), ">" in kv[0]))  # type: ignore[index]
    return dict(kept)


def _number(value: float) -> str:
    return f"{value:.0%}" if 0 < value < 1 else f"{value:,g}"


def _text_bars(title: str, values: Mapping[str, float]) -> None:
    print(f"\n{title.replace('_', ' ')}")
    top = max(values.values()) or 1
    for label, value in values.items():
        print(f"  {label[:32].replace('_', ' '):<32} {'█' * max(1, round(24 * value / top))} {_number(value)}")


def _figure(name: str) -> Path:
    folder = Path(os.environ.get("FIGURES", settings().base_dir / "data" / "figures"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{name}.png"
