"""`groundswell sources`: notebook 02 of the original. Where each source came from, and what becomes of it."""

from __future__ import annotations

import argparse
import shutil
import sys
import textwrap

from engine.cli.arguments import how_many


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--config", metavar="F", help="configuration file (default: config/generation_config.yaml)")
    parser.add_argument(
        "--samples", type=how_many, default=5, metavar="N", help="how many combinations to show (default 5)"
    )
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="any configuration key, dotted")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")


def run(args: argparse.Namespace) -> int:
    """Load, show; errors name the source."""
    import msgspec

    from engine import settings as settings_
    from engine.cli.run_command import assignments
    from engine.sources.preview import preview

    settings = settings_.load(args.config, overrides=assignments(args.set))
    found = preview(settings.config, settings.base_dir, args.samples)
    for warning in (*settings.warnings, *found.warnings):
        sys.stderr.write(f"groundswell: {warning}\n")
    if args.json:
        sys.stdout.buffer.write(msgspec.json.encode(found) + b"\n")
        return 0
    out: list[str] = []
    for origin in found.origins:
        used = f"{origin.items:,} of {origin.found:,} used" if origin.items != origin.found else f"{origin.items:,}"
        out += [f"{origin.name}: {origin.path}", f"  {origin.kind}; {used}; {origin.licence}"]
        out += [f"  {note}" for note in origin.notes]
    out += ["", "News by theme", *_bars({k: float(v) for k, v in found.themes.items()}, "{:.0f}")]
    for fact, spread in found.demographics.items():
        out += ["", f"People by {fact.replace('_', ' ')} (weighted)", *_bars(dict(list(spread.items())[:10]), "{:.1%}")]
    out += ["", f"{found.combinations:,} combinations before one comes again; prompts of {found.words['min']:.0f} to "
            f"{found.words['max']:.0f} words, {found.words['mean']:.0f} on average"]  # fmt: skip
    width = min(100, shutil.get_terminal_size().columns)
    for prompt in found.prompts:
        news = prompt.source_data.get("atropia", {})
        out += ["", f"Prompt {prompt.index}: {news.get('title', '')} ({news.get('date', '')})"]
        out += textwrap.wrap(prompt.text, width, initial_indent="  ", subsequent_indent="  ")
    sys.stdout.write("\n".join(out) + "\n")
    return 0


def _bars(values: dict[str, float], form: str) -> list[str]:
    top = max(values.values(), default=0) or 1
    width = max((len(str(k)) for k in values), default=0)
    return [f"  {k!s:<{width}}  {'█' * max(1, round(24 * v / top))} {form.format(v)}" for k, v in values.items() if v]
