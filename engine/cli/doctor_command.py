"""`groundswell doctor`: notebook 01 of the original. Exit code 2 when a run could not work."""

from __future__ import annotations

import argparse
import json
import os
import sys
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.runtime.doctor import Check, Diagnosis

__all__ = ["add_arguments", "run"]

_MARKS = {"ok": "[green]✓[/]", "warn": "[yellow]![/]", "fail": "[red]✗[/]", "skip": "[dim]·[/]"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `groundswell doctor`."""
    parser.add_argument("--config", type=Path, metavar="F", help="configuration file (default: the nearest)")
    parser.add_argument("--out", metavar="DIR", help="run directory; wins over output.output_dir")
    parser.add_argument("--images", type=int, metavar="N", help="how many images; wins over generation.num_images")
    parser.add_argument("--model", metavar="NAME", help="image model; wins over generation.model")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="any configuration key, dotted")
    parser.add_argument(
        "--live", action="store_true", help="also make one test image and one test caption (a few cents)"
    )
    parser.add_argument("--offline", action="store_true", help="ask nobody outside this machine")
    parser.add_argument("--base-url", metavar="URL", help="another server that speaks Gemini")
    parser.add_argument("--simulate", action="store_true", help="ask the embedded simulator: no key, no cost")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")


def run(args: argparse.Namespace) -> int:
    """Examine, tell, and give 2 if a run could not work."""
    import anyio
    import msgspec

    from engine.cli.run_command import assignments
    from engine.errors import ConfigError
    from engine.runtime.doctor import examine
    from engine.settings import load

    if args.simulate and args.base_url:
        raise ConfigError("--simulate and --base-url contradict each other; give one of them")
    out = str(Path(args.out).absolute()) if args.out else None  # from here, as with run, not from the project
    told = {"output.output_dir": out, "generation.num_images": args.images, "generation.model": args.model}
    overrides = assignments(args.set) | {key: value for key, value in told.items() if value is not None}
    settings = load(args.config, overrides=overrides)
    # The order of checks is the order of telling: each is printed when it is done.
    tell = (lambda _: None) if args.json else _tell
    with ExitStack() as stack:
        base_url, api_key = args.base_url, None
        if args.simulate:
            from engine.cli.run_command import simulated

            reach = simulated(stack)
            base_url, api_key = reach["base_url"], reach["api_key"]

        async def ask() -> Diagnosis:
            return await examine(
                settings,
                environ=os.environ,
                now=datetime.now(UTC).astimezone(),
                base_url=base_url,
                api_key=api_key,
                network=not args.offline,
                live=args.live,
                live_dir=settings.base_dir / "data" / "doctor",
                on_check=tell,
            )

        found = anyio.run(ask)
    if args.json:
        told: dict[str, Any] = {"works": found.works, **msgspec.to_builtins(found)}
        sys.stdout.write(json.dumps(told) + "\n")
    else:
        _close(found)
    return 0 if found.works else 2


def _console() -> Any:
    from rich.console import Console

    return Console(highlight=False)


def _tell(check: Check) -> None:
    from rich.markup import escape
    from rich.table import Table

    line = Table.grid(padding=(0, 1))
    line.add_column(width=1)
    line.add_column(width=max(map(len, ("configuration", "output folder"))))
    line.add_column()
    line.add_row(_MARKS[check.status], f"[bold]{check.name}[/]", escape(check.detail))
    if check.next_step and check.status in {"warn", "fail"}:
        line.add_row("", "", f"[bold]→[/] {escape(check.next_step)}")
    _console().print(line)


def _close(found: Diagnosis) -> None:
    from rich.markup import escape
    from rich.table import Table

    from engine.cli.estimate_command import duration

    console = _console()
    if found.models:
        table = Table(title="\nModels this key can use", title_justify="left", box=None, header_style="dim")
        for heading in ("model", "kind", "configured as"):
            table.add_column(heading, no_wrap=True)
        for model in found.models:
            mark = f"[green]{model.configured_as}[/]" if model.configured_as else ""
            table.add_row(escape(model.name), {True: "images", False: "text"}.get(bool(model.draws), ""), mark)
        console.print(table)
    table = Table(title="\nWhat it costs (USD)", title_justify="left", box=None, header_style="dim")
    for heading in ("images", "pictures", "metadata", "total", "time", "quota days"):
        table.add_column(heading, justify="right")
    for s in found.costs:
        money = ["unknown" if usd is None else f"{usd:,.2f}" for usd in (s.image_usd, s.metadata_usd, s.total_usd)]
        style = "bold" if s.images == found.config["generation"]["num_images"] else None
        table.add_row(f"{s.images:,}", *money, duration(s.seconds), f"{s.quota_days:,}", style=style)
    console.print(table)
    console.print(f"[dim]Time by {escape(found.paced_by)}. groundswell estimate says more.[/]\n")
    failed = [c.name for c in found.checks if c.status == "fail"]
    if failed:
        console.print(f"[red]A run could not work yet: {', '.join(dict.fromkeys(failed))}.[/]")
    else:
        console.print("[green]Ready: groundswell run[/]")
