"""`groundswell verify DIR`: is everything that the log records there, whole, and nothing else?"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("dir", metavar="DIR", help="the run directory")
    parser.add_argument(
        "--repair", action="store_true", help="bring the run back to a consistent state; loses no good byte"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")


def run(args: argparse.Namespace) -> int:
    """Verify; exit code 3 where damage was found (and not mended)."""
    import msgspec

    from engine.store import RunDir
    from engine.store.verify import verify

    root = Path(args.dir)
    report = verify(RunDir(root), repair=args.repair)
    if args.json:
        sys.stdout.buffer.write(msgspec.json.encode(report) + b"\n")
    else:
        for finding in report.findings:
            sys.stdout.write(f"{finding}\n")
        state = "sound" if report.sound else "damaged; --repair mends what can be mended"
        sys.stdout.write(
            f"{root}: {report.pictures} pictures ({report.size_bytes} bytes), "
            f"{sum(report.lines.values())} lines: {state}\n"
        )
    return 0 if report.sound else 3
