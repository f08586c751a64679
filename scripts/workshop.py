"""What the five scripts share: where things are, waiting for async work, and showing results.

In a notebook pictures, charts and progress appear inline; run as a script, pictures and charts are
written below data/figures and named. Charts need matplotlib; without it they are drawn with text.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from engine.observe.events import AttemptEnded, Event, RunOpened
from engine.settings import Settings, find_credentials, load

T = TypeVar("T")


def in_notebook() -> bool:
    """Whether this runs in Jupyter or in an editor's interactive window."""
    shell = sys.modules.get("IPython")
    found = shell.get_ipython() if shell is not None else None
    return found is not None and hasattr(found, "kernel")


def settings(**overrides: Any) -> Settings:
    """The nearest configuration, with overrides: `settings(**{"generation.num_images": 20})`.

    IMAGES in the environment sets the number of images, as the automatic tests do.
    """
    if "IMAGES" in os.environ:
        overrides.setdefault("generation.num_images", int(os.environ["IMAGES"]))
    return load(overrides=overrides)


def out_dir(chosen: Settings) -> Path:
    """The run directory all scripts work on: OUT in the environment, else output.output_dir."""
    return Path(os.environ["OUT"]) if "OUT" in os.environ else chosen.resolve(chosen.config.output.output_dir)


def has_key(chosen: Settings) -> bool:
    """Whether there is an API key; SIMULATE=1 in the environment says to do without."""
    return not os.environ.get("SIMULATE") and find_credentials(chosen.base_dir, os.environ).key is not None


@contextmanager
def gemini(*, simulate: bool) -> Iterator[dict[str, Any]]:
    """Arguments of engine.run: none for Gemini itself, or those that reach a simulator started here."""
    if not simulate:
        yield {}
        return
    import engine

    with engine.Simulator.in_thread() as simulator:
        print("Simulating: no key is used and nothing is paid.")
        yield {"base_url": simulator.base_url, "api_key": "simulated"}


def wait(work: Coroutine[Any, Any, T]) -> T:
    """The result of async work, from ordinary code. In a notebook `await work` does the same."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    result: list[T] = []
    failure: list[BaseException] = []

    def run() -> None:
        try:
            result.append(asyncio.run(work))
        except BaseException as error:  # noqa: BLE001  it is raised again below, in the caller's thread
            failure.append(error)

    # A notebook's own loop is busy with this very cell, so the work gets a loop in a thread.
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return result[0]


class Progress:
    """An observer of a run: a bar, and every few images the latest one."""

    def __init__(self, out: Path, *, preview_every: int = 5) -> None:
        self._out = out
        self._every = preview_every
        self._asked: dict[str, int] = {}
        self._done: dict[str, int] = {}
        self._bar: Any = None
        self._picture: Any = None
        self._told = -1

    def __call__(self, event: Event, /) -> None:
        if isinstance(event, RunOpened):
            self._asked, self._done = dict(event.asked), dict(event.settled)
            for note in event.notes:
                print(note)
            self._show()
        elif isinstance(event, AttemptEnded) and event.record.final:
            stage = event.record.stage
            self._done[stage] = self._done.get(stage, 0) + 1
            self._show()
            asset = getattr(event.record, "asset", None)
            if asset is not None and self._done[stage] % self._every == 0 and in_notebook():
                self._preview(self._out / asset.path)

    def _show(self) -> None:
        lines = [
            f"{s:<9} {_bar(self._done.get(s, 0), n)} {self._done.get(s, 0)} of {n}" for s, n in self._asked.items()
        ]
        if in_notebook():
            from IPython.display import HTML, display

            text = HTML("<pre>" + "\n".join(lines) + "</pre>")
            if self._bar is None:
                self._bar = display(text, display_id=True)
            else:
                self._bar.update(text)
        else:
            tenth = 10 * sum(self._done.values()) // max(1, sum(self._asked.values()))
            if tenth != self._told:
                self._told = tenth
                print("   ".join(lines))

    def _preview(self, path: Path) -> None:
        from IPython.display import display

        small = thumbnail(path, 256)
        if self._picture is None:
            self._picture = display(small, display_id=True)
        else:
            self._picture.update(small)


def _bar(done: int, total: int, width: int = 24) -> str:
    full = width * min(done, total) // max(1, total)
    return "█" * full + "░" * (width - full)


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
    """Bar charts side by side, one per entry."""
    charts = {title: values for title, values in charts.items() if values}
    try:
        import matplotlib
    except ImportError:
        for title, values in charts.items():
            _text_bars(title, values)
        return
    if not in_notebook():
        matplotlib.use("agg")
    import matplotlib.pyplot as plt

    columns = min(columns, max(1, len(charts)))
    rows = -(-len(charts) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(5 * columns, 3.2 * rows), squeeze=False, layout="constrained")
    for axis in axes.flat[len(charts) :]:
        axis.axis("off")
    for axis, (title, values) in zip(axes.flat, charts.items(), strict=False):
        shown = dict(sorted(values.items(), key=lambda kv: -kv[1])[:12])
        axis.barh(list(shown)[::-1], list(shown.values())[::-1], color="#c8553d")
        axis.set_title(title.replace("_", " "))
        axis.spines[["top", "right"]].set_visible(False)
    if in_notebook():
        plt.show()
    else:
        path = _figure(name)
        figure.savefig(path, dpi=110)
        print(f"→ {path}")
    plt.close(figure)


def _text_bars(title: str, values: Mapping[str, float]) -> None:
    print(f"\n{title.replace('_', ' ')}")
    top = max(values.values()) or 1
    for label, value in sorted(values.items(), key=lambda kv: -kv[1])[:12]:
        print(f"  {label[:32]:<32} {'█' * max(1, round(24 * value / top))} {value:g}")


def _figure(name: str) -> Path:
    folder = Path(os.environ.get("FIGURES", settings().base_dir / "data" / "figures"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{name}.png"
