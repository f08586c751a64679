"""`groundswell qa DIR`: look at everything, write the report, say the main things on the terminal."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from engine.errors import ConfigError
from engine.qa.model import Options, Progress, QAReport
from schemas.config import RunConfig

TICK_S = 0.2
JUDGING = ("validation", "qa")
"""Sections of the configuration that say how a run is judged, not what was asked for."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own arguments."""
    parser.add_argument("dir", type=Path, metavar="DIR", help="run directory")
    parser.add_argument("--json", action="store_true", help="print the report as JSON on stdout, and nothing else")
    parser.add_argument("--recheck", action="store_true", help="look at every image again, not only at changed ones")
    parser.add_argument("--no-html", action="store_true", help="write report.json and the tables only")
    parser.add_argument("--config", metavar="F", help="judge by the sections validation and qa of this file")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="a key of validation or qa, dotted"
    )
    parser.add_argument("--threads", type=int, metavar="N", help="pictures looked at at a time (default: one per core)")


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
        text = f"{progress.step}: {progress.done:,}" if progress.done or progress.total else f"{progress.step} …"
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
        config=_judged_by(args.dir, args.config, args.set),
        threads=args.threads,
        recheck=args.recheck,
        html=False if args.no_html else None,
        on_progress=line,
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


def _judged_by(directory: Path, file: str | None, words: list[str]) -> RunConfig | None:
    """The run's own configuration with other thresholds and targets; None where its own are meant.

    What was asked for stays: other sections of the file have no part in it.
    """
    if file is None and not words:
        return None
    from engine import settings
    from engine.cli.run_command import assignments
    from engine.qa.run import config_of
    from engine.store.layout import RunDir, load_manifest

    overrides = assignments(words)
    foreign = [key for key in overrides if key.split(".")[0] not in JUDGING]
    if foreign:
        raise ConfigError(
            f"--set {foreign[0]}: QA can only be given keys of {' and '.join(JUDGING)}; the run is as it is"
        )
    own = config_of(load_manifest(RunDir(directory))).model_dump(mode="json")
    if file is not None:
        given = settings.load(file).config.model_dump(mode="json")
        own |= {section: given[section] for section in JUDGING}
    return settings.load(own, overrides=overrides).config


def summary(report: QAReport, directory: Path) -> str:
    """The report for a terminal: verdict, numbers, findings, what to do next."""
    from engine.qa.model import FLAGS
    from engine.qa.money import in_words
    from engine.qa.score import verdict

    s, images = report.summary, report.images
    lines = [
        f"{verdict(report.score, report.critical).word}   score {report.score:.0f} of 100   "
        f"critical findings: {report.critical:,}   grade by the original's rule: {s['dataset_quality']}",
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
    if images["strangers"]:
        lines.append(
            f"  strangers   {images['strangers']:,} files in images/ that no record names (such as "
            f"{images['strangers_first'][0]}); they are not part of the run, see groundswell verify {directory}"
        )
    if not s["total_images"]:
        lines[0] = "Nothing to judge yet: no image of this run is there."
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
