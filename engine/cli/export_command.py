"""`groundswell export DIR --format … --to DEST`: a run as a dataset."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from engine.cli.estimate_command import size

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `groundswell export`."""
    from engine.export import FORMATS

    width = max(map(len, FORMATS))
    parser.epilog = "formats:\n" + "\n".join(f"  {name:<{width}}  {about}" for name, about in FORMATS.items())
    parser.add_argument("dir", type=Path, metavar="DIR", help="the run")
    parser.add_argument("--format", required=True, metavar="F[,F…]", help="one or more formats, see below")
    parser.add_argument(
        "--to", type=Path, required=True, metavar="DEST", help="folder; several formats get one each in it"
    )
    parser.add_argument(
        "--choice",
        choices=("all", "not-rejected", "accepted"),
        default="all",
        help="which images, by what people said in review (default: all)",
    )
    parser.add_argument("--name", metavar="NAME", help="name of the dataset, for its card")
    parser.add_argument("--license", metavar="SPDX", help="licence of the dataset, for its card, such as CC-BY-4.0")
    parser.add_argument("--copy", action="store_true", help="copy pictures instead of hard-linking them")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")


def run(args: argparse.Namespace) -> int:
    """Export, and say what was written where."""
    import msgspec

    from engine.export import export

    formats = [word.strip() for word in args.format.split(",") if word.strip()]
    done = export(
        args.dir,
        formats,
        args.to,
        choice=args.choice,
        name=args.name,
        license=args.license,
        link=not args.copy,
    )
    if args.json:
        sys.stdout.write(json.dumps({"exported": [msgspec.to_builtins(each) for each in done]}) + "\n")
        return 0
    for each in done:
        counts = ", ".join(f"{n:,} {word}" for word, n in each.counts.items())
        sys.stdout.write(f"{each.format}: {each.path} ({counts}; {size(each.size_bytes)})\n")
    return 0
