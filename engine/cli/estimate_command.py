"""`groundswell estimate`: what it will cost, before anything is spent. Offline; needs no key."""

from __future__ import annotations

import argparse
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from engine.cli.arguments import how_many
from engine.settings import load

if TYPE_CHECKING:
    from engine.runtime.estimate import Estimate, Sum

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `groundswell estimate`."""
    parser.add_argument("--config", type=Path, metavar="F", help="configuration file (default: the nearest)")
    parser.add_argument(
        "--images", type=how_many, nargs="+", default=[], metavar="N", help="numbers of images to price"
    )
    parser.add_argument("--model", metavar="NAME", help="image model; wins over generation.model")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="any configuration key, dotted")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")


def run(args: argparse.Namespace) -> int:
    """Print the estimate of a configuration."""
    import msgspec

    from engine.cli.run_command import assignments
    from engine.runtime.estimate import estimate, original_names

    overrides = assignments(args.set) | ({"generation.model": args.model} if args.model else {})
    settings = load(args.config, overrides=overrides)
    for warning in settings.warnings:
        sys.stderr.write(f"warning: {warning}\n")
    result = estimate(settings.config, images=args.images, today=datetime.now(UTC).date())
    if args.json:
        told = {**msgspec.to_builtins(result), "original": original_names(result, settings.config)}
        sys.stdout.write(json.dumps(told, default=str) + "\n")
    else:
        show(result)
    return 0


def show(result: Estimate) -> None:
    """The estimate as tables."""
    from rich.console import Console
    from rich.table import Table

    console, today = Console(highlight=False, soft_wrap=False), datetime.now(UTC).date().isoformat()
    console.print(
        f"\n[bold]{result.image_model}[/] at {result.resolution}, metadata by [bold]{result.metadata_model}[/]"
    )
    table = Table(title="Per image, by stage (USD)", title_justify="left", box=None, pad_edge=False, header_style="dim")
    for heading in ("stage", "interactive", "batch", "flex"):
        table.add_column(heading, justify="left" if heading == "stage" else "right")
    for stage, prices in result.stages.items():
        table.add_row(
            stage,
            *(
                _usd(prices[m], unknown="–" if m != "standard" else "unknown", digits=4)
                for m in ("standard", "batch", "flex")
            ),
        )
    console.print(table)
    table = Table(title="\nIn all", title_justify="left", box=None, pad_edge=False, header_style="dim")
    for heading in ("images", "pictures", "metadata", "total", "time", "quota days", "disk"):
        table.add_column(heading, justify="right")
    for s in result.sums:
        table.add_row(*_row(s))
    console.print(table)
    console.print(f"Pace: about {result.images_per_minute:,.4g} images a minute, set by {result.paced_by}.")
    table = Table(
        title="\nOne image, by model, size and mode (USD)",
        title_justify="left",
        box=None,
        pad_edge=False,
        header_style="dim",
    )
    for heading in ("model", "size", "interactive", "batch", "flex", "ends"):
        prices = heading in {"interactive", "batch", "flex"}
        table.add_column(heading, justify="right" if prices else "left", no_wrap=True)
    for name, size in dict.fromkeys((m.model, m.resolution) for m in result.models):
        rows = {m.mode: m for m in result.models if (m.model, m.resolution) == (name, size)}
        first = rows["standard"]
        cells = [
            _usd(rows[m].usd_per_image if m in rows else None, unknown="–", digits=4)
            for m in ("standard", "batch", "flex")
        ]
        over = first.shutdown is not None and first.shutdown <= today
        ends = "ended" if over else first.shutdown or ""
        table.add_row(name, size or "metadata", *cells, ends, style="dim" if over else None)
    console.print(table)
    console.print(f"\nPrices as of {result.prices_as_of}, {result.prices_source}.")
    for remark in result.remarks:
        line = Table.grid(padding=(0, 1))
        line.add_row("-", remark)
        console.print(line)


def _row(s: Sum) -> list[str]:
    return [
        f"{s.images:,}",
        _usd(s.image_usd),
        _usd(s.metadata_usd),
        f"[bold]{_usd(s.total_usd)}[/]",
        duration(s.seconds),
        f"{s.quota_days:,}",
        size(s.disk_bytes),
    ]


def _usd(value: float | None, *, unknown: str = "unknown", digits: int = 2) -> str:
    return unknown if value is None else f"{value:,.{digits}f}"


def duration(seconds: float) -> str:
    """Such as "18 s", "5 min", "3 h 20 min", "4 days"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    if seconds < 36 * 3600:
        hours, minutes = divmod(round(seconds / 60), 60)
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    return f"{seconds / 86_400:.1f} days"


def size(count: int) -> str:
    """Bytes in the largest fitting unit."""
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:.3g} TB"
