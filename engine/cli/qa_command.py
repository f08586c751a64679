"""`groundswell qa DIR`: look at everything, write the report, say the main things on the terminal."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from engine.qa.model import Options, Progress, QAReport

TICK_S = 0.2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own arguments."""
    parser.add_argument("dir", type=Path, metavar="DIR", help="run directory")
    parser.add_argument("--json", action="store_true", help="print the report as JSON on stdout, and nothing else")
    parser.add_argument("--recheck", action="store_true", help="look at every image again, not only at changed ones")
    parser.add_argument("--no-html", action="store_true", help="write report.json and the tables only")
    parser.add_argument("--threads", type=int, metavar="N", help="decoding threads (default: one per core)")


class _Line:
    """One line of progress on a terminal, or nothing when stderr is none."""

    def __init__(self) -> None:
        self._shown = sys.stderr.isatty()
        self._next = 0.0
        self._width = 0

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        if not self._shown or (now < self._next and progress.done != progress.total):
            return
        self._next = now + TICK_S
        text = f"{progress.step}: {progress.done:,}"
        if progress.total:
            bar = int(20 * progress.done / progress.total)
            text += f" of {progress.total:,} [{'#' * bar}{'.' * (20 - bar)}]"
        self._width = max(self._width, len(text))
        sys.stderr.write("\r" + text.ljust(self._width))
        sys.stderr.flush()

    def close(self) -> None:
        if self._shown and self._width:
            sys.stderr.write("\r" + " " * self._width + "\r")
            sys.stderr.flush()


def run(args: argparse.Namespace) -> int:
    """Make the pass; 3 when critical findings remain, else 0. EngineError for what cannot be read or written."""
    from engine.qa.run import run_qa  # polars takes a third of a second to import

    line = _Line()
    options = Options(
        threads=args.threads, recheck=args.recheck, html=False if args.no_html else None, on_progress=line
    )
    try:
        report = run_qa(args.dir, options=options)
    finally:
        line.close()
    if args.json:
        sys.stdout.buffer.write(report.json())
        sys.stdout.buffer.flush()
    else:
        sys.stdout.write(summary(report, args.dir))
    return report.exit_code


def summary(report: QAReport, directory: Path) -> str:
    """The report for a terminal: verdict, numbers, findings, what to do next."""
    from engine.qa.model import FLAGS
    from engine.qa.money import in_words

    s, images = report.summary, report.images
    lines = [
        f"Quality: {s['dataset_quality']}   score {report.score:.0f} of 100   critical findings: {report.critical:,}",
        "",
        f"  images      {s['valid_images']:,} of {s['total_images']:,} valid ({s['validation_rate']:.1f} %); "
        f"asked {images['asked']['asked']:,}, refused {images['asked']['refused']:,}, "
        f"failed {images['asked']['failed']:,}",
    ]
    for name, part in (("captions", report.captions), ("labels", report.labels), ("comments", report.comments)):
        told = "" if part["asked"] else "  (not asked for)"
        lines.append(f"  {name:<11} {part['total_files']:,} ({part['coverage_percent']:.1f} %){told}")
    lines.append(f"  duplicates  {s['duplicates_found']:,} pairs")
    if cost := in_words(report.statistics["money"]):
        lines.append(f"  cost        {cost}")
    if report.flags:
        lines += ["", "Findings"]
        lines += [
            f"  {FLAGS[name].severity:<8}  {count:>8,}  {FLAGS[name].title}"
            for name, count in sorted(report.flags.items(), key=lambda kv: (_rank(FLAGS[kv[0]].severity), -kv[1]))
        ]
    if report.actions:
        lines += ["", "What to do"]
        for action in report.actions:
            lines.append(f"  {action.priority:<7} {action.title}: {action.reason}")
            if action.command:
                lines.append(f"          {action.command}")
    page = directory / "qa" / "report.html"
    lines += ["", f"Report: {page if page.exists() else page.with_suffix('.json')}", ""]
    return "\n".join(lines)


def _rank(severity: str) -> int:
    return ("critical", "warning", "info").index(severity)
