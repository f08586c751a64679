"""`groundswell demo`: images, metadata and QA on the embedded simulator, over real HTTP with the real SDK."""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from engine.cli.arguments import how_many

IMAGES = 24


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--images", type=how_many, default=IMAGES, metavar="N", help=f"how many (default {IMAGES})")
    parser.add_argument("--out", default="runs/demo", metavar="DIR", help="where to (default runs/demo)")
    parser.add_argument("--json", action="store_true", help="the run's summary as one JSON object on stdout")


def run(args: argparse.Namespace) -> int:
    """Run the pipeline and say where everything is."""
    from engine import settings as settings_
    from engine.cli.driving import drive, tell
    from engine.cli.run_command import check_afterwards, simulated

    out = Path(args.out)
    overrides: dict[str, Any] = {"generation.num_images": args.images}
    settings = settings_.load({}, overrides=overrides)
    with ExitStack() as stack:
        options = {"config": settings.config, "out": out, **simulated(stack, latency=0.4)}
        summary = drive(settings.config, options)
    code = tell(summary, as_json=args.json)
    if summary.stopped_by is not None:
        return code
    checked = check_afterwards(out, settings.config)
    lines = {
        "images": out / "images",
        "log": out / "log" / "images.jsonl",
        "metadata": out / "log" / "metadata.jsonl",
        "QA": out / "qa" / "report.json",
        "report": out / "qa" / "report.html",
    }
    for name, path in lines.items():
        if path.exists():
            sys.stderr.write(f"{name:<10}{path}\n")
    return code or checked
